//! What can be recorded: the entries of a ledger, and the numbers and words that they are made of.
//!
//! [`record`](super::record) lays each of them out in bytes.

use rexi_proto::{Incarnation, Phase, ServerAddress};
use serde::{Deserialize, Serialize};

/// A node's place in the rehearsed cluster, counted from 0: short, since every record carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// The place of a node of a cluster, which has few.
    pub(crate) fn of(node: usize) -> Self {
        Self(node.try_into().expect("a cluster has few nodes"))
    }
}

/// The load generator's number for one of its calls, unique within its process.
///
/// It travels inside the request, so that the worker can record it. It is not the server's own `CallRef`, which is not
/// known before the cast, while a cast has to be in the ledger before it can be on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallNumber(pub u64);

impl CallNumber {
    /// Whose turn it is among so many functions of a service: its place. Behind the last, it is that of the function
    /// which every node takes.
    pub(crate) fn turn(self, functions: usize) -> usize {
        let turns = functions as u64 + 1;
        usize::try_from(self.0 % turns).expect("no more than there are functions")
    }
}

impl std::fmt::Display for CallNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "call {}", self.0)
    }
}

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
/// guard, so that a killed job records it too), `Answered` when the caller has the answer in hand. In the same way,
/// what is sent or said is recorded before, what is received is recorded after, and an item before its acknowledgement.
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
    /// Worker: a job no longer runs.
    Ended {
        /// The call that asked for it.
        id: CallId,
        /// Why it no longer runs.
        how: Ending,
    },
    /// The node's effective phase of a migration is another now. The first one of a process says what it started in.
    PhaseChanged {
        /// The migration's number in the train; rexi's own is 0.
        migration: u8,
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
    /// Caller: a job has asked for its stream, which is about to be started.
    StreamStarted {
        /// The call's number.
        call: CallNumber,
        /// Items that the whole stream has.
        items: u16,
        /// Items that may be unacknowledged.
        window: u8,
    },
    /// Caller: a job has asked for its stream, which is about to be cancelled.
    StreamCancelled {
        /// The call's number.
        call: CallNumber,
    },
    /// Worker: an item of the job's stream is about to be sent. With item 0 the job asks for the stream.
    ItemSent {
        /// The call that asked for it.
        id: CallId,
        /// The item's place in the stream, from 0.
        index: u16,
    },
    /// Caller: an item of a stream has come, and is not acknowledged yet.
    ItemReceived {
        /// The call's number.
        call: CallNumber,
        /// The place in the stream that the item itself names; where it cannot be read, the one that was due.
        index: u16,
        /// Whether it is the item that the request determines for that place.
        content: Content,
        /// Its size in whole KiB.
        kib: u16,
    },
    /// Worker: the job is about to ask its caller a question.
    Asked {
        /// The call that asked for it.
        id: CallId,
        /// Which of its questions, from 0.
        index: u8,
    },
    /// Caller: a job's question was heard and is about to be responded to.
    Responded {
        /// The call's number.
        call: CallNumber,
        /// Which question of this call, counted as they came, from 0.
        index: u8,
        /// Whether it is the question that the request determines.
        content: Content,
    },
    /// Worker: the response to a question has come.
    ResponseHeard {
        /// The call that asked for it.
        id: CallId,
        /// Which question.
        index: u8,
        /// Whether it is the response that the request determines.
        content: Content,
    },
    /// Caller: several nodes are about to be asked the same. Their jobs bear the gather's number.
    GatherBegun {
        /// The gather's number, of the same sequence as those of calls.
        gather: CallNumber,
        /// How it gathers.
        form: GatherForm,
        /// How many must answer.
        need: u8,
        /// Who may be asked.
        members: NodeSet,
        /// By when it has to end, in milliseconds from now.
        limit_ms: u32,
    },
    /// Caller: a gather ended.
    GatherEnded {
        /// The gather's number.
        gather: CallNumber,
        /// How it ended.
        how: GatherEnd,
        /// Whose right answers it counted.
        votes: NodeSet,
        /// Whose answers have another value than the request determines.
        wrong: NodeSet,
        /// The first answer that is neither a value nor a word of a node that is down or leaving.
        odd: Option<Outcome>,
    },
    /// The process runs. A thread that does nothing else says so every [`BEAT`], so that a gap is a time in which the
    /// process stood still.
    Beat {
        /// How long the thread of the process that waited longest has waited for a core since the last beat, in
        /// microseconds.
        waited_us: u64,
    },
    /// The connection with a member is gone, as this node noticed.
    Away {
        /// The member.
        node: NodeIndex,
    },
}

/// Declares the names of the records once, in the order of their kinds.
macro_rules! named {
    ($($variant:ident = $name:literal,)+) => {
        impl Entry {
            /// The name of every record.
            pub const NAMES: &'static [&'static str] = &[$($name,)+];

            /// The record's name.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)+ }
            }
        }
    };
}

named! {
    Cast = "cast",
    Answered = "answered",
    Killed = "killed",
    Started = "started",
    Ended = "ended",
    PhaseChanged = "phase changed",
    Quiet = "quiet",
    Drained = "drained",
    Monitored = "monitored",
    MonitorDown = "monitor down",
    Demonitored = "demonitored",
    StreamStarted = "stream started",
    StreamCancelled = "stream cancelled",
    ItemSent = "item sent",
    ItemReceived = "item received",
    Asked = "asked",
    Responded = "responded",
    ResponseHeard = "response heard",
    GatherBegun = "gather begun",
    GatherEnded = "gather ended",
    Beat = "beat",
    Away = "away",
}

/// Some of the first 32 nodes of the cluster, which is as many as a rehearsal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSet(pub u32);

impl NodeSet {
    /// The set with this node; a node beyond the 32nd leaves it as it is.
    #[must_use]
    pub fn with(self, node: NodeIndex) -> Self {
        Self(self.0 | 1_u32.checked_shl(node.0.into()).unwrap_or(0))
    }

    /// Whether the node is in it.
    pub fn has(self, node: NodeIndex) -> bool {
        1_u32.checked_shl(node.0.into()).is_some_and(|bit| self.0 & bit != 0)
    }

    /// How many nodes are in it.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether no node is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The nodes in it, in their order.
    pub fn nodes(self) -> impl Iterator<Item = NodeIndex> {
        (0..32).map(NodeIndex).filter(move |&node| self.has(node))
    }
}

impl FromIterator<NodeIndex> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeIndex>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::default(), Self::with)
    }
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
        /// Send a stream of items, and end.
        Stream = 5 "stream",
        /// Ask the caller, and give a value that is made of its responses.
        Question = 6 "question",
        /// As `Reply`, for a caller that asks several nodes the same.
        Vote = 7 "vote",
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
        /// A bound refused it, here or there, or let it go from a full buffer.
        Dropped = 9 "dropped",
        /// The handshake refused the peer.
        Incompatible = 10 "incompatible",
        /// An exit that the request does not ask for.
        OtherExit = 11 "other_exit",
        /// The load generator's own, generous limit passed: the protocol said nothing.
        TimedOut = 12 "timed_out",
        /// The end of a stream, behind its last item.
        StreamDone = 13 "stream_done",
        /// The end of a stream that the caller has cancelled.
        Cancelled = 14 "stream_cancelled",
    }
}

coded! {
    /// Why a job no longer runs.
    pub enum Ending {
        /// It gave its value.
        Done = 1 "done",
        /// It exited with an error.
        Failed = 2 "failed",
        /// It was killed: its future was dropped before it was ready.
        Dropped = 3 "dropped",
    }
}

coded! {
    /// Whether what came is what the request determines.
    pub enum Content {
        /// It is.
        Right = 1 "right",
        /// It is something else.
        Wrong = 2 "wrong",
    }
}

coded! {
    /// How answers of several nodes are gathered.
    pub enum GatherForm {
        /// A fold that stops with the first so many, with a limit in all and one between messages.
        First = 1 "first",
        /// A quorum of more than half, all asked at once.
        Majority = 2 "majority",
        /// A quorum that asks as many nodes as it needs, and more only where those are slow or fail.
        Hedged = 3 "hedged",
    }
}

coded! {
    /// How a gather ended.
    pub enum GatherEnd {
        /// As many answered as were needed.
        Reached = 1 "reached",
        /// Too many failed for the others to suffice.
        TooFew = 2 "too_few",
        /// One of its limits passed.
        TimedOut = 3 "timed_out",
        /// It was not sent: a bound, which its caller was told of.
        Refused = 4 "refused",
        /// Its caller gave it up, since its process was about to end.
        GivenUp = 5 "given_up",
    }
}

impl Work {
    /// Whether the job runs for as long as its caller wants, so that a kill is not a sign of a caller that gave up.
    pub const fn ends_by_kill(self) -> bool {
        matches!(self, Self::Hold | Self::Stream)
    }
}

impl Outcome {
    /// Whether only a job that ran can have given this answer.
    pub const fn needs_job(self) -> bool {
        matches!(self, Self::Reply | Self::FailedAsAsked | Self::StreamDone | Self::Cancelled)
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

/// How often a process says that it runs.
pub const BEAT: std::time::Duration = std::time::Duration::from_millis(100);
