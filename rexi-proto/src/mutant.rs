//! Deliberately broken variants of the protocol, for showing that the verifier notices (docs/safety.md).
//!
//! They exist only under the feature `mutants`, which a release build refuses to compile; without it [`Mutants`] is an
//! empty type and every question to it is answered at compile time. Each takes one guard away, all in `guards.rs`.
//! [`Mutant::ALL`] says what is expected of each; `rexi-migrate mutants` shows whether it holds.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!(
    "the feature `mutants` breaks the protocol on purpose and must not get into a release: build without it, or with a \
     profile that sets debug-assertions = true"
);

/// A mutant's row: what it takes away, and what is to come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// The mutant.
    pub mutant: Mutant,
    /// The name that selects it.
    pub name: &'static str,
    /// The mutants and bugs of docs/safety.md that it stands for, with spaces between; some have none.
    pub ids: &'static str,
    /// What it does, in a sentence.
    pub sentence: &'static str,
    /// The invariants that it may be caught by, with spaces between.
    pub breaks: &'static str,
    /// The second guard that makes it equivalent by itself; `None` where it is caught alone.
    pub covered_by: Option<&'static str>,
    /// The mutants that take the second guard away: with them it breaks `breaks`.
    pub with: &'static [Mutant],
}

/// Declares each mutant once: its name, its ids, its sentence, what it breaks, and what covers it.
macro_rules! mutants {
    ($($variant:ident $name:literal $ids:literal $sentence:literal breaks $breaks:literal
       $(covered by $guard:literal, with $($with:ident)+)?;)+) => {
        /// One way to break the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $(#[doc = concat!($sentence, " (", $ids, ")")] $variant,)+
        }

        impl Mutant {
            /// Every mutant with its row, in the order of their declaration.
            pub const ALL: &'static [Planted] = &[$(Planted {
                mutant: Self::$variant,
                name: $name,
                ids: $ids,
                sentence: $sentence,
                breaks: $breaks,
                covered_by: [$(Some($guard),)? None][0],
                with: &[$($(Self::$with),+)?],
            },)+];
        }
    };
}

mutants! {
    KillOnlyPerNode "kill-only-per-node" "M22 G7"
        "A kill goes to the per-node server alone, wherever its cast went."
        breaks "S3";
    KillOnlySingleton "kill-only-singleton" "M23"
        "A kill goes to the singleton alone, wherever its cast went."
        breaks "S3";
    KillFollowsPhase "kill-follows-phase" "M24 M48 G7"
        "A kill goes where casts go now, wherever its cast went."
        breaks "S3";
    LatePerNodeServers "late-per-node-servers" "M19 M21 G3"
        "Per-node servers start only some time after their peer counts as connected."
        breaks "S6";
    SilentMissingServer "silent-missing-server" "M14"
        "A cast to a missing server is dropped without an answer."
        breaks "S1"
        covered by "a node is never sent a cast for a server that it does not run (S6)", with LatePerNodeServers;
    UngatedKillAll "ungated-kill-all" "M11 G6"
        "A batch of kills is sent whatever version was negotiated."
        breaks "S8 S9";
    UngatedEncoder "ungated-encoder" "M3"
        "A message is encoded for a version that does not emit it."
        breaks "S9"
        covered by "the sender asks the same table first (`Peer::send_kills`), and no other message of v2 has a reason \
                    to be sent in v1", with UngatedKillAll;
    TrailingBytes "trailing-bytes" "M7"
        "Bytes behind a message's last field are passed over."
        breaks "S8";
    EarlyTaggedReply "early-tagged-reply" "M9 G5"
        "Replies are sent in the tagged form, which no release emits yet."
        breaks "S9 S1 L1"
        covered by "every release has accepted the tagged form since v1 (`compat.rs`)", with UnreadTaggedReply;
    UnreadTaggedReply "unread-tagged-reply" "M9 G5"
        "The tagged form of a reply is not understood."
        breaks "S9 S1 L1"
        covered by "no release emits it (`compat.rs`)", with EarlyTaggedReply;
    ForgetIgnored "forget-ignored" "M12 M28 G10 G14"
        "Ending the jobs of a caller's dead life is left to the caller."
        breaks "L2";
    OwnPhaseGate "own-phase-gate" "M13 G15"
        "A per-node server refuses what comes until its own node's phase casts there."
        breaks "S6";
    UnknownDropped "unknown-dropped" "M14"
        "A frame of an unknown kind is dropped without a count and an answer."
        breaks "S10";
    SharedJobKey "shared-job-key" "M16 G1"
        "The singleton takes all peers for one and the same."
        breaks "S7";
    LifelessJobKey "lifeless-job-key" "M17"
        "A job's key leaves out its caller's life, so a name that is used again meets old jobs."
        breaks "S7";
    HostsFollowPhase "hosts-follow-phase" "M18 G2"
        "A node announces only the forms that its own phase says."
        breaks "L4";
    LostPerNodeServer "lost-per-node-server" "M20 G4"
        "The per-node server does not outlive its connection."
        breaks "L3 S6 S3 S5";
    KillAnyCaller "kill-any-caller" "M25"
        "A kill ends the jobs of every caller whose call has that number."
        breaks "S4 S1";
    NoTombstones "no-tombstones" "M26"
        "A server forgets kills that met no job."
        breaks "S3"
        covered by "casts and kills come in order, and a cast that waits for its payload is let go by its kill \
                    (`Inbound::kill`)", with KillPassesHeld;
    KillPassesHeld "kill-passes-held" "M26"
        "A kill passes over a cast that waits for its payload."
        breaks "S3"
        covered by "the server's tombstone of the kill", with NoTombstones;
    AcksFollowPhase "acks-follow-phase" "M27 G12"
        "What a caller says of a stream goes where casts go now, wherever the job runs."
        breaks "S5";
    NeighboursUnchecked "neighbours-unchecked" "M29 M30"
        "Two nodes may speak though neither's release follows the other's."
        breaks "S11";
    WireUnchecked "wire-unchecked" "M29 M30"
        "Two nodes without a common wire version may speak."
        breaks "S11"
        covered by "releases that follow each other share a wire version (`Train::check`), and others may not speak",
        with NeighboursUnchecked;
    HostsUnchecked "hosts-unchecked" "M30 M32"
        "Two nodes may speak though one says a form that the other does not take."
        breaks "S11 S6 S8"
        covered by "`Peer::handle_connected` asks again with the phase of that moment", with ConnectUnchecked;
    ConnectUnchecked "connect-unchecked" "M37"
        "A connection is taken though our phase has moved since the hellos."
        breaks "S6 S8 S11"
        covered by "`Rollout::handle_hello` judges again with the phase of that moment, and a phase is not lowered \
                    once a member has said that it does not run the server", with SingleVerdict;
    SingleVerdict "single-verdict" "M37"
        "The hellos are judged as they were sent, whatever our phase is now."
        breaks "S6 S8 S11"
        covered by "`Peer::handle_connected` asks again with the phase of that moment", with ConnectUnchecked;
    PhaseUnchecked "phase-unchecked" "M37"
        "A peer that does not take what is said now is not let go."
        breaks "S6 S8"
        covered by "the phase does not move to what a member does not run (`Rollout::check`, `Rollout::obstacle`)",
        with LoweringUnchecked;
    LoweringUnchecked "lowering-unchecked" "M31 M32"
        "The phase may be lowered to a form that a member has removed."
        breaks "S12";
    RefusalOutlived "refusal-outlived" ""
        "A peer counts as refused for a phase that this node has left since."
        breaks "S11";
    HoldoutsIgnored "holdouts-ignored" "M33 M50"
        "A node that has removed a form is spoken to while a third still says it."
        breaks "S13";
    RoutedWhenCast "routed-when-cast" "M34"
        "A cast that waits in the buffer keeps the server that it was made for."
        breaks "S6 S8 S13";
    EarlierLifeBelieved "earlier-life-believed" "M35"
        "What an earlier life of a member announced counts after its next hello."
        breaks "S12"
        covered by "`Peer::handle_met` lets go of the connection to the earlier life", with PastConnectionKept;
    PastConnectionKept "past-connection-kept" ""
        "A connection to an earlier life is kept once a later one has said hello."
        breaks "S12"
        covered by "an announcement counts in the life that is known (`Rollout::handle_announce`)",
        with EarlierLifeBelieved;
    EarlierEpochBelieved "earlier-epoch-believed" "M35"
        "An older word of a member counts after a newer one."
        breaks "S12";
    DeadLifeWelcome "dead-life-welcome" "M36"
        "The hello of an earlier life is taken after that of a later one."
        breaks "S12 S2 S7 L1";
    ShutOutByLaterLife "shut-out-by-later-life" ""
        "A node whose peer has met a later life of it goes on as the earlier one."
        breaks "L7";
    FarStartBelieved "far-start-believed" ""
        "A start that lies far ahead of the clock is taken for one."
        breaks "L7";
    HoldoutsOfRemovers "holdouts-of-removers" ""
        "A node that has removed a form speaks for members that still say it."
        breaks "L7";
    FirstReleaseBelieved "first-release-believed" "M38 M45"
        "A member's first hello is believed for ever."
        breaks "S6 S12 L4";
    UnknownIsReady "unknown-is-ready" "M39"
        "A member that has not said hello does not hold the phase."
        breaks "S6";
    MajorityIsEnough "majority-is-enough" "M41"
        "The phase is raised once half of the members run what it needs."
        breaks "S6";
    ResumeKeepsJobs "resume-keeps-jobs" "M44"
        "Jobs whose kill was lost with a connection run on after the next."
        breaks "S3";
    ResumeTellsNothing "resume-tells-nothing" "M44"
        "Callers are not told of casts and replies that were lost with a connection."
        breaks "S1";
    AnnounceUnsent "announce-unsent" "M46"
        "A node does not tell its peers that its phase has changed."
        breaks "S12";
    PhaseUnheard "phase-unheard" "M46 G13"
        "Peers' states go on in the phase that the node started in."
        breaks "S12";
    CeilingIgnored "ceiling-ignored" "M47"
        "An operator's ceiling is accepted and not kept to."
        breaks "L5";
    NeverRaised "never-raised" "M51"
        "The phase is never raised, so the singleton stays in use."
        breaks "L4";
    ProbeOfTheNext "probe-of-the-next" "G16"
        "A member counts as ready only if it speaks the next release's wire version."
        breaks "L4";
    StreamUnanswered "stream-unanswered" "G17"
        "A caller does not answer a job that asks for its stream."
        breaks "S5";
    ResponseNotMissed "response-not-missed" ""
        "A response that was lost with a connection is not missed, and its job waits for it."
        breaks "L1";
    ZeroBoundPanics "zero-bound-panics" "G18"
        "A bound of zero is taken for one that was reached by something."
        breaks "L1";
    WrittenTwice "written-twice" "M43"
        "What was handed to the writer is handed to it again."
        breaks "S2 S4 S5 S8 L1";
    UnwrittenKept "unwritten-kept" "M44"
        "What was encoded for a connection that broke goes out on the next."
        breaks "S2 S3 S4 S5 S8 S9 L1";
    OldFramesHeeded "old-frames-heeded" ""
        "A frame that comes late from a connection that was replaced counts as if it came on the new one."
        breaks "S1 S2 S3 S4 S5 S7 S8 L1 L2";
    OldPayloadJoins "old-payload-joins" ""
        "A payload that comes late from a connection that was replaced joins a frame of the new one."
        breaks "S2 S7 S8 L1";
    OldEndHeeded "old-end-heeded" ""
        "The late end of a connection that was replaced is taken for the end of the new one."
        breaks "S1 S12 L1 L3";
    OldDepartureHeeded "old-departure-heeded" ""
        "A departure on a connection that was replaced ends the life that the new one is of."
        breaks "S1 L1 L2";
    OldRefusalHeeded "old-refusal-heeded" ""
        "A refused handshake of an earlier life ends the life that was connected since."
        breaks "S1 L1 L2";
    StartIgnoresFloor "start-ignores-floor" "M31"
        "A node starts without asking its floor."
        breaks "S12";
    PendingFloorUnbound "pending-floor-unbound" "M31 M45"
        "A yes to a floor binds its member only once it is the record."
        breaks "S12";
    VerdictIgnoresFloor "verdict-ignores-floor" "M31"
        "A member below the floor is spoken to."
        breaks "S12";
    AnsweredUnwritten "answered-unwritten" "M31"
        "A member answers before what it answers is on its disk."
        breaks "S12 S14 L5";
    CorruptIsMissing "corrupt-is-missing" "M31"
        "A file of the record that cannot be read is taken for one that is not there."
        breaks "S12 L4";
    TopBelowFloor "top-below-floor" "M32"
        "A window may be opened downwards, below a floor that is final."
        breaks "S12";
    ForgottenLetIn "forgotten-let-in" "M36 M40"
        "A member that was forgotten is let in with what it has kept."
        breaks "S12 S14";
    AnewSpeaks "anew-speaks" "M40 M43"
        "A member whose disk came new says yes and closes as if it knew what it had said."
        breaks "S14 L5";
    ForgottenAsked "forgotten-asked" "M40"
        "A member is asked whether it may be forgotten."
        breaks "L4";
    ForgetUnfenced "forget-unfenced" "M40"
        "A member is forgotten before the others have closed what it may have said yes to."
        breaks "S14 L4";
    FenceIgnored "fence-ignored" "M40"
        "A record is taken from a member that is about to be forgotten."
        breaks "S14";
    MajorityCommits "majority-commits" "M41"
        "A change is decided by half of the members and one more."
        breaks "S14 L5 L4"
        covered by "a member makes nothing the record that not all have said yes to (`Keeper::commit`)",
        with CommitUncounted;
    CommitUncounted "commit-uncounted" "M41"
        "A member makes an intent the record whoever has said yes to it."
        breaks "S14 L5 L4"
        covered by "who carries a change asks for the record once all have said yes (`Driver::voted`)",
        with MajorityCommits;
    SilenceIsYes "silence-is-yes" "M41"
        "A member that does not answer has said yes."
        breaks "S14 L5 S12 L4";
    DoneOnceSent "done-once-sent" "M41"
        "A change is called done once all members have been told."
        breaks "L5";
    TwoYes "two-yes" "M42"
        "A member says yes to a second intent of one epoch."
        breaks "S14 L4 L5";
    EpochUncompared "epoch-uncompared" "M42"
        "A member says yes to what does not follow from its record."
        breaks "S14 S12 L5 L4";
    TurnstileSkipped "turnstile-skipped" "M42"
        "All members are asked at once."
        breaks "S14 L4"
        covered by "a member says yes to one intent of an attempt, and what two have said yes to apart is let go \
                    (`Driver::abort`)",
        with TwoYes;
    CommitTwice "commit-twice" "M43"
        "A commit that comes a second time is another change."
        breaks "S14";
    VoteInMemory "vote-in-memory" "M43"
        "A yes is not written."
        breaks "S12 S14 L5";
    ResumeAnew "resume-anew" "M43"
        "Who goes on with a change begins another like it."
        breaks "S14 L4";
    OwnChangeUnknown "own-change-unknown" "M43"
        "An operator whose change another has ended is not told that it was made."
        breaks "L5";
    YesIsCommit "yes-is-commit" "M44"
        "Who goes on with a change takes the yes of one member for that of all."
        breaks "S14 L5 S12 L4";
    YesClosed "yes-closed" "M44"
        "A member closes an attempt that it has said yes to."
        breaks "S14 S12 L5 L4"
        covered by "a change is called given up once all members have let go of it (`Driver::aborted`)",
        with AbortedOnceSent;
    AbortedOnceSent "aborted-once-sent" "M44"
        "A change is called given up once one member has closed it."
        breaks "L5"
        covered by "a member that has said yes cannot close (`Keeper::close`)", with YesClosed;
    ClosedSaysYes "closed-says-yes" "M44"
        "A member says yes to an attempt that it has closed."
        breaks "S14 S12 L5 L4"
        covered by "what a member has closed does not become the record there (`Keeper::commit`)", with ClosedCommits;
    ClosedCommits "closed-commits" "M40 M44"
        "What a member has closed becomes the record there all the same."
        breaks "S14 L5 L4";
    YesUnbound "yes-unbound" "M45"
        "A yes is taken for that of whichever process runs by then."
        breaks "S12 S14";
    OtherRecordUnheard "other-record-unheard" "M46"
        "A member that hears of another record makes nothing of it."
        breaks "L4 S12";
    StatusFromMemory "status-from-memory" "M46"
        "What a member shows is what it is about to write."
        breaks "L5";
    RefusalIsDone "refusal-is-done" "M47"
        "A request that a member refuses is dropped, and called done."
        breaks "L5";
}

/// The mutants that are switched on in one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mutants {
    #[cfg(feature = "mutants")]
    on: u128,
}

impl Mutants {
    /// Whether `mutant` is on. Without the feature: no, at no cost.
    #[cfg_attr(not(feature = "mutants"), expect(clippy::unused_self, reason = "the feature's twin needs it"))]
    pub(crate) const fn has(self, mutant: Mutant) -> bool {
        #[cfg(feature = "mutants")]
        return self.on & (1 << mutant as u32) != 0;
        #[cfg(not(feature = "mutants"))]
        {
            let _ = mutant;
            false
        }
    }

    /// With `mutant` switched on.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub const fn with(self, mutant: Mutant) -> Self {
        Self { on: self.on | (1 << mutant as u32) }
    }

    /// Whether one of them breaks how the record of a cluster is kept or moved.
    #[cfg(feature = "mutants")]
    pub const fn break_the_record(self) -> bool {
        self.on >> Mutant::StartIgnoresFloor as u32 != 0
    }

    /// The mutants of a list.
    #[cfg(feature = "mutants")]
    pub fn of(mutants: &[Mutant]) -> Self {
        mutants.iter().fold(Self::default(), |on, &mutant| on.with(mutant))
    }

    /// The mutants of a list of names, joined by commas; an empty list for none.
    ///
    /// # Errors
    /// The first name that no mutant has.
    #[cfg(feature = "mutants")]
    pub fn from_names(names: &str) -> Result<Self, String> {
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(Self::default(), |on, name| {
            let known = Mutant::ALL.iter().find(|planted| planted.name == name);
            known.map(|planted| on.with(planted.mutant)).ok_or_else(|| name.to_owned())
        })
    }

    /// The names of those that are on, joined by commas.
    #[cfg(feature = "mutants")]
    pub fn names(self) -> String {
        let on = Mutant::ALL.iter().filter(|planted| self.has(planted.mutant));
        on.map(|planted| planted.name).collect::<Vec<_>>().join(",")
    }
}

/// Each mutant has a bit.
const _: () = assert!(Mutant::ALL.len() <= 128, "a set of mutants has 128 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_tell_mutants_apart_and_pairs_exist() {
        for (place, planted) in Mutant::ALL.iter().enumerate() {
            assert_eq!(planted.mutant as usize, place, "{planted:?}");
            assert_eq!(Mutant::ALL.iter().filter(|other| other.name == planted.name).count(), 1, "{planted:?}");
            assert!(!planted.breaks.is_empty() && planted.sentence.ends_with('.'), "{planted:?}");
            assert_eq!(planted.covered_by.is_some(), !planted.with.is_empty(), "{planted:?}");
        }
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_set_is_read_from_its_names_and_says_them() {
        let all = Mutants::of(&Mutant::ALL.iter().map(|planted| planted.mutant).collect::<Vec<_>>());
        assert_eq!(Mutants::from_names(&all.names()), Ok(all));
        assert_eq!(Mutants::from_names(" , "), Ok(Mutants::default()));
        assert_eq!(Mutants::from_names("kill-only-singleton,kill-nobody"), Err("kill-nobody".to_owned()));
    }
}
