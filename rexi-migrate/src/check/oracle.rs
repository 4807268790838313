//! What the check asks of a step and of a state, one by one.

use crate::model::Rule;
use crate::verdict::oracle::oracles;

/// Declares the oracles of a search: those of a state, and those of a step, which are rules of the model.
macro_rules! declare {
    ($($of_state:ident $found:ident,)+ @steps $($rule:ident $broken:ident,)+) => {
        oracles! { $($of_state $found,)+ $($rule $broken,)+ }

        impl Oracle {
            /// The oracle that asks whether a step keeps a rule; `None` where this search does not ask.
            pub(super) const fn of(rule: Rule) -> Option<Self> {
                match rule {
                    $(Rule::$rule => Some(Self::$rule),)+
                    _ => None,
                }
            }
        }

        impl Oracles {
            /// What a step broke: the first thing that was noted and is asked.
            pub(super) fn broken(self, notes: &mut crate::model::Observer) -> Option<Box<crate::search::Broken>> {
                notes.breaches.drain(..).find_map(|breach| {
                    let oracle = Oracle::of(breach.rule).filter(|&oracle| self.has(oracle))?;
                    Some(Box::new(crate::search::Broken { invariant: oracle.invariant(), what: breach.what }))
                })
            }
        }
    };
}

pub(super) use declare;

declare! {
    // Of a state (`judge.rs`).
    ConnectedOverSkew S11,
    SendsToNoSingleton S13,
    SendsToNoServer S6,
    StaleView S12,
    RunsForOneGivenUp L2,
    KilledRuns S3,
    RunsForNobody L2,
    StreamWaitsForNothing S5,
    StreamWaitsUnasked S5,
    WaitsInSilence S1,
    MonitorSilent L1,
    @steps
    PhaseWithoutTransition S12,
    LoweredToRemoved S12,
    RequestToNoSingleton S13,
    KindUnknownToPeer S9,
    KindNotOfVersion S9,
    ClosedOnSoundPeer S8,
    JobOfNoCall S8,
    JobOfAnotherPayload S8,
    JobTwice S2,
    JobOfAnotherCaller S7,
    JobOverSkew S11,
    AbortOfNoJob S4,
    WakeOfNoJob S4,
    AnswerToNoCall S7,
    AnswerToAnotherCall S7,
    AnswerBehindTheLast L1,
    AskedTwice S5,
    ReplyOfAnotherJob S7,
    ReplyOutOfOrder S5,
    LastReplyTooEarly S5,
    SingletonMissing S13,
    ServerMissing S6,
    FunctionMissing S9,
    MetAnothersCall S4,
    LostWithoutALoss S1,
    ToldThatItDidNotRun S2,
    MonitorFiredAgain S7,
    RunsAfterDeparture L2,
    CeilingStays L5,
    RefusalOutlived S11,
    HelloUnread S8,
    CastNotTaken S1,
    StreamNotStarted S5,
    ItemNotAcknowledged S5,
    JobUnknownToServer S3,
}
