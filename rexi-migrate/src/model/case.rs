//! The cases that a driver of the model can count; each asks for those without which its runs prove nothing.

/// Declares each case with its bit and what it counts.
macro_rules! cases {
    ($($name:ident $sentence:literal,)+) => {
        /// A case that was met.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Case { $(#[doc = $sentence] $name,)+ }

        impl Case {
            /// Every case.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What it counts.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)+ }
            }
        }

        const _: () = assert!(Case::ALL.len() <= 64, "a set of cases has 64 bits");
    };
}

cases! {
    KillAcrossSwitch "kills across the switch",
    StreamOverSwitch "streams open across the switch",
    BufferedOverRelease "buffered casts delivered after their target changed release",
    RestartWithJobs "restarts with jobs in flight",
    Rollback "rollbacks",
    FlipWithJobs "phases lowered with jobs in flight",
    Refused "refused handshakes",
    Orphaned "jobs ended since their caller's life was over",
    Lost "calls lost with their connection",
    Expired "peers given up after the stability period",
    Departed "departures",
    Raised "phases raised",
    Down "monitors that fired",
    Straggler "things of an earlier connection that came late",
    BetweenParts "things that happened between two parts of a list",
    EarlierLife "hellos of an earlier life read after one of a later",
    EarlierWord "announcements read on an older connection after the hello of a newer one",
    PhaseMoved "phases moved between hello and attachment",
    OfThePast "connections to an earlier life let go when the later one was attached",
    HandshakeRefused "handshakes refused",
    Outlived "nodes that went on above a later life of theirs",
    StartsAhead "starts that lie too far ahead refused",
    RaisedOverTarget "phases raised over a change of cast target",
    LoweringRefused "lowerings refused",
    HoldoutNamed "removers kept out by a holdout",
    Replaced "connections replaced by a newer one",
    EndedInDown "calls ended in a down",
    EndedInRefusal "calls ended in a refusal",
    MetLeaving "casts that met a node that leaves",
    Dropped "casts dropped",
    DroppedInAll "casts dropped from buffers full in all",
    RefusedInAll "jobs refused by a node's total",
    ReplyDropped "replies dropped",
    TooLarge "arguments too large for their peer",
    PhaseOverCalls "phases changed with calls open",
    LongRefused "frames refused since they were too long",
    UnknownAnswered "unknown frames answered",
}

/// A set of cases: a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cases(u64);

impl Cases {
    /// Adds a case.
    pub const fn add(&mut self, case: Case) {
        self.0 |= 1 << case as u64;
    }

    /// Whether it has the case.
    pub const fn has(self, case: Case) -> bool {
        self.0 & 1 << case as u64 != 0
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
