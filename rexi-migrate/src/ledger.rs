//! The ledger of a rehearsal: what one node process did and what it was told, as records that survive its death.
//!
//! A process appends one record for each thing that happens to a call, on the caller's side and on the worker's;
//! [`judge`](crate::judge) reads the files of all processes and holds every job from both ends. This file is the list
//! of what can be recorded; `ledger/record.rs` lays a record out in bytes, `ledger/file.rs` writes and reads files.

mod file;
mod record;

use rexi_proto::{Incarnation, Phase, ServerAddress};
use serde::{Deserialize, Serialize};

pub use file::{LedgerError, LedgerHeader, LedgerReader, LedgerWriter, ProcessLedger, now_us};
pub use record::{Damage, RECORD_BYTES};

/// A node's place in the rehearsed cluster, counted from 0: short, since every record carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIndex(pub u16);

/// The load generator's number for one of its calls, unique within its process.
///
/// It travels inside the request, so that the worker can record it. It is not the server's own `CallRef`, which is not
/// known before the cast, while a cast has to be in the ledger before it can be on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallNumber(pub u64);

/// The load generator's number for one of its monitors, unique within its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MonitorNumber(pub u64);

/// A call as every ledger of the cluster names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId {
    /// The node that made the call.
    pub caller: NodeIndex,
    /// Which life of that node.
    pub incarnation: Incarnation,
    /// The call's number within that life.
    pub call: CallNumber,
}

/// One record and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Microseconds since 1970. Never falls within one ledger.
    pub at_us: u64,
    /// What happened.
    pub entry: Entry,
}

/// One thing that happened to a node process.
///
/// Records must be made in the order that errs on no side when `kill -9` falls between two steps: `Cast` and `Killed`
/// before the server is asked to cast and to kill, `Started` first and `Ended` last in the job's future (from a drop
/// guard, so that a killed job records it too), `Answered` when the caller has the answer in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Caller: a cast is about to be made.
    Cast {
        /// The call's number.
        call: CallNumber,
        /// The node it is for.
        to: NodeIndex,
        /// What it asks for.
        work: Work,
        /// The caller's phase at that moment.
        phase: Phase,
    },
    /// Caller: a call ended.
    Answered {
        /// The call's number.
        call: CallNumber,
        /// How it ended.
        outcome: Outcome,
    },
    /// Caller: a call is about to be killed. Of work other than `Hold` this is a caller that gave up: it counts as lost
    /// unless an answer came.
    Killed {
        /// The call's number.
        call: CallNumber,
        /// The caller's phase at that moment.
        phase: Phase,
    },
    /// Worker: a job began to run.
    Started {
        /// The call that asked for it.
        id: CallId,
        /// The server that took the cast.
        server: ServerAddress,
        /// What the request says, as the worker decoded it.
        work: Work,
    },
    /// Worker: a job runs no more.
    Ended {
        /// The call that asked for it.
        id: CallId,
        /// Why it runs no more.
        how: Ending,
    },
    /// The node's effective phase is another now. The first one of a process says what it started in.
    PhaseChanged {
        /// The phase now.
        phase: Phase,
    },
    /// The load stopped and every call of this process ended.
    Quiet,
    /// The process was asked to drain, has drained, and is about to exit.
    Drained,
    /// A monitor was set.
    Monitored {
        /// The monitor's number.
        monitor: MonitorNumber,
        /// The node it watches.
        on: NodeIndex,
    },
    /// A monitor fired.
    MonitorDown {
        /// The monitor's number.
        monitor: MonitorNumber,
        /// The reason as the server gave it; the node process says what its numbers mean.
        reason: u8,
    },
    /// A monitor was taken away by its owner.
    Demonitored {
        /// The monitor's number.
        monitor: MonitorNumber,
    },
}

/// Declares an enum with a frozen one-byte code for each variant: codes are added, never changed or used again.
macro_rules! coded {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The frozen code of the value in ledger files.
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The value with this code; `None` for a code that no value has.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// The name in reports.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

coded! {
    /// What a call asks its job to do.
    pub enum Work {
        /// Give the value that the request determines.
        Reply = 1 "reply",
        /// Exit with the typed error that the request determines.
        Fail = 2 "fail",
        /// Run until killed.
        Hold = 3 "hold",
        /// As `Reply`, with a body that travels on a bulk lane.
        Bulk = 4 "bulk",
    }
}

coded! {
    /// How a call ended, as its caller was told.
    pub enum Outcome {
        /// The value that the request determines.
        Reply = 1 "reply",
        /// Another value.
        WrongReply = 2 "wrong_reply",
        /// The typed exit that a `Fail` job must give.
        FailedAsAsked = 3 "failed_as_asked",
        /// The target died, restarted or shut down.
        Down = 4 "down",
        /// The connection dropped under the call.
        ConnectionLost = 5 "connection_lost",
        /// Refused: the target has no such server.
        NoSuchServer = 6 "no_such_server",
        /// Refused: the target has no such function.
        NoSuchFunction = 7 "no_such_function",
        /// Refused: the target is about to shut down.
        Draining = 8 "draining",
        /// The outbound buffer overflowed and dropped the cast.
        Dropped = 9 "dropped",
        /// The handshake refused the peer.
        Incompatible = 10 "incompatible",
        /// An exit that the request does not ask for.
        OtherExit = 11 "other_exit",
        /// The load generator's own, generous limit passed: the protocol said nothing.
        TimedOut = 12 "timed_out",
    }
}

coded! {
    /// Why a job runs no more.
    pub enum Ending {
        /// It gave its value.
        Done = 1 "done",
        /// It exited with an error.
        Failed = 2 "failed",
        /// It was killed: its future was dropped before it was ready.
        Dropped = 3 "dropped",
    }
}

impl Outcome {
    /// Whether only a job that ran can have given this answer.
    pub const fn needs_job(self) -> bool {
        matches!(self, Self::Reply | Self::FailedAsAsked)
    }

    /// Whether the caller was told, by the type of the answer, that its call was not served.
    pub const fn is_told(self) -> bool {
        matches!(
            self,
            Self::Down
                | Self::ConnectionLost
                | Self::NoSuchServer
                | Self::NoSuchFunction
                | Self::Draining
                | Self::Dropped
                | Self::Incompatible
        )
    }
}

#[cfg(test)]
mod tests;
