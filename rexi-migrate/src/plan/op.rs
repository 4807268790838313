//! What can happen in a simulated cluster, one operation at a time, and its text.
//!
//! Every operation is total: one that makes no sense in the cluster's present state (a kill without an open call, an
//! upgrade that would put the cluster two releases apart) does nothing. So any list of them is a plan, and any part of
//! it too, which is what shrinking needs. Nodes are numbered from 0, and taken modulo their count.

use std::fmt;
use std::str::FromStr;

use super::record::RecordOp;
use super::text::{number, one, whom, words};
use crate::name::node_name;
use crate::path::Place;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// A node casts to another, or to itself, this many times.
    Cast {
        /// Who casts.
        from: u8,
        /// To whom.
        to: u8,
        /// What the job is to do.
        work: Work,
        /// How often.
        count: u8,
    },
    /// The caller of an open call kills it.
    Kill {
        /// Which: its place among those that are open, the oldest first, modulo their number.
        call: u8,
    },
    /// A node kills all that it has open, at once.
    KillAll {
        /// Which node.
        node: u8,
    },
    /// A node asks all nodes, and is content with a majority.
    Gather {
        /// Who asks.
        from: u8,
    },
    /// A node does something of the test's own: see `Simulation::act`.
    Act {
        /// Which node.
        node: u8,
        /// What: any number, for the test to make sense of.
        number: u16,
    },
    /// Time passes.
    Pass {
        /// Milliseconds.
        ms: u16,
    },
    /// A node that runs stops and starts as the next release, where that leaves the cluster within one release.
    Upgrade {
        /// Which node.
        node: u8,
        /// How it stops.
        how: Leave,
    },
    /// As an upgrade, to the release before.
    RollBack {
        /// Which node.
        node: u8,
        /// How it stops.
        how: Leave,
    },
    /// A node crashes and starts as any release, whatever the others run: the operator's mistake that the handshake has
    /// to stop.
    Force {
        /// Which node.
        node: u8,
        /// The release; its place counts modulo the length of the train.
        release: Place,
    },
    /// The operator lowers the ceiling to the lowest phase that the release allows, while jobs run.
    Lower {
        /// Of which nodes.
        node: Whom,
    },
    /// The operator lifts the ceiling.
    Raise {
        /// Of which nodes.
        node: Whom,
    },
    /// A node ends as a process does that is killed.
    Crash {
        /// Which node.
        node: u8,
    },
    /// A node that does not run starts as the release that it ran last.
    Start {
        /// Which node.
        node: u8,
    },
    /// A node leaves in good order.
    Stop {
        /// Which node.
        node: u8,
    },
    /// All datagrams between two nodes are lost from now on.
    Cut {
        /// The one.
        one: u8,
        /// The other.
        other: u8,
    },
    /// All datagrams from one node to another are lost from now on.
    CutOneWay {
        /// The sender.
        from: u8,
        /// The receiver.
        to: u8,
    },
    /// All links are as they were at first.
    Heal,
    /// Datagrams between two nodes are lost at random.
    Lose {
        /// The one.
        one: u8,
        /// The other.
        other: u8,
        /// How many of a hundred.
        percent: u8,
    },
    /// Datagrams between two nodes arrive twice at random.
    Twice {
        /// The one.
        one: u8,
        /// The other.
        other: u8,
        /// How many of a hundred.
        percent: u8,
    },
    /// Datagrams between two nodes overtake each other.
    Reorder {
        /// The one.
        one: u8,
        /// The other.
        other: u8,
        /// By how much at most, in milliseconds.
        ms: u16,
    },
    /// Datagrams between two nodes take longer.
    Slow {
        /// The one.
        one: u8,
        /// The other.
        other: u8,
        /// How long, in milliseconds.
        ms: u16,
    },
    /// Every node that runs rises by itself to the highest phase that its release and the others allow.
    Await,
    /// Every call and job ends that does not wait for its kill. What was lost or orphaned shows here, before the next
    /// restart takes the evidence along.
    Settle,
    /// A node's wall clock is set.
    Clock {
        /// Which node.
        node: u8,
        /// By how many seconds, ahead or back.
        seconds: i32,
    },
    /// Something that has to do with the record.
    Record(RecordOp),
}

words! {
    /// What a job does.
    Work {
        /// It answers at once.
        Reply "reply",
        /// It answers after 40 ms.
        Later "later",
        /// It fails, as it was asked to.
        Fail "fail",
        /// It runs until it is killed.
        Hold "hold",
        /// It sends twelve items, 15 ms apart, with five of them unacknowledged at most.
        Stream "stream",
        /// It asks its caller a question, and answers with the response.
        Ask "ask",
        /// It is asked with 33 KB, which travel alongside the ordered lane, and answers with as much.
        Bulk "bulk",
        /// It is asked with 33 KB, and runs until it is killed.
        Large "large",
        /// The same with 132 KB: the end of it waits unread while another one as large is read.
        Larger "larger",
        /// The same with 393 KB.
        Largest "largest",
    }
}

words! {
    /// How a node that is to start as another release stops.
    Leave {
        /// As a process that is killed.
        Kill "kill",
        /// In good order: its jobs may end first.
        Drain "drain",
    }
}

/// One node, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All that run.
    All,
    /// This one.
    One(u8),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(node) => f.write_str(&node_name(*node)),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |node: u8| Whom::One(node);
        match *self {
            Self::Cast { from, to, work, count } => write!(f, "cast {} {} {work} {count}", n(from), n(to)),
            Self::Kill { call } => write!(f, "kill {call}"),
            Self::KillAll { node } => write!(f, "kill-all {}", n(node)),
            Self::Gather { from } => write!(f, "gather {}", n(from)),
            Self::Act { node, number } => write!(f, "act {} {number}", n(node)),
            Self::Pass { ms } => write!(f, "pass {ms}"),
            Self::Upgrade { node, how } => write!(f, "upgrade {} {how}", n(node)),
            Self::RollBack { node, how } => write!(f, "back {} {how}", n(node)),
            Self::Force { node, release } => write!(f, "force {} {}", n(node), release.0),
            Self::Lower { node } => write!(f, "lower {node}"),
            Self::Raise { node } => write!(f, "raise {node}"),
            Self::Crash { node } => write!(f, "crash {}", n(node)),
            Self::Start { node } => write!(f, "start {}", n(node)),
            Self::Stop { node } => write!(f, "stop {}", n(node)),
            Self::Cut { one, other } => write!(f, "cut {} {}", n(one), n(other)),
            Self::CutOneWay { from, to } => write!(f, "cut-one-way {} {}", n(from), n(to)),
            Self::Heal => f.write_str("heal"),
            Self::Lose { one, other, percent } => write!(f, "lose {} {} {percent}", n(one), n(other)),
            Self::Twice { one, other, percent } => write!(f, "twice {} {} {percent}", n(one), n(other)),
            Self::Reorder { one, other, ms } => write!(f, "reorder {} {} {ms}", n(one), n(other)),
            Self::Slow { one, other, ms } => write!(f, "slow {} {} {ms}", n(one), n(other)),
            Self::Await => f.write_str("await"),
            Self::Settle => f.write_str("settle"),
            Self::Clock { node, seconds } => write!(f, "clock {} {seconds}", n(node)),
            Self::Record(op) => op.fmt(f),
        }
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let Some(record) = RecordOp::parse(&words)? {
            return Ok(Self::Record(record));
        }
        let n = one;
        Ok(match words[..] {
            ["cast", from, to, work, count] => {
                Self::Cast { from: n(from)?, to: n(to)?, work: work.parse()?, count: number(count)? }
            }
            ["kill", call] => Self::Kill { call: number(call)? },
            ["kill-all", node] => Self::KillAll { node: n(node)? },
            ["gather", from] => Self::Gather { from: n(from)? },
            ["act", node, which] => Self::Act { node: n(node)?, number: number(which)? },
            ["pass", ms] => Self::Pass { ms: number(ms)? },
            ["upgrade", node, how] => Self::Upgrade { node: n(node)?, how: how.parse()? },
            ["back", node, how] => Self::RollBack { node: n(node)?, how: how.parse()? },
            ["force", node, release] => Self::Force { node: n(node)?, release: Place(number(release)?) },
            ["lower", node] => Self::Lower { node: whom(node)? },
            ["raise", node] => Self::Raise { node: whom(node)? },
            ["crash", node] => Self::Crash { node: n(node)? },
            ["start", node] => Self::Start { node: n(node)? },
            ["stop", node] => Self::Stop { node: n(node)? },
            ["cut", one, other] => Self::Cut { one: n(one)?, other: n(other)? },
            ["cut-one-way", from, to] => Self::CutOneWay { from: n(from)?, to: n(to)? },
            ["heal"] => Self::Heal,
            ["lose", one, other, percent] => Self::Lose { one: n(one)?, other: n(other)?, percent: number(percent)? },
            ["twice", one, other, percent] => Self::Twice { one: n(one)?, other: n(other)?, percent: number(percent)? },
            ["reorder", one, other, ms] => Self::Reorder { one: n(one)?, other: n(other)?, ms: number(ms)? },
            ["slow", one, other, ms] => Self::Slow { one: n(one)?, other: n(other)?, ms: number(ms)? },
            ["await"] => Self::Await,
            ["settle"] => Self::Settle,
            ["clock", node, seconds] => Self::Clock { node: n(node)?, seconds: number(seconds)? },
            _ => return Err(format!("{text:?} is not an operation, such as \"cast n1 n2 hold 1\" or \"pass 20\"")),
        })
    }
}

impl Op {
    /// Whether the operation is one of an operator who upgrades.
    pub fn is_step(self) -> bool {
        matches!(
            self,
            Self::Upgrade { .. } | Self::RollBack { .. } | Self::Force { .. } | Self::Lower { .. } | Self::Raise { .. }
        )
    }

    /// How a node stops that the operation starts again as a neighbouring release.
    pub fn stops(self) -> Option<Leave> {
        match self {
            Self::Upgrade { how, .. } | Self::RollBack { how, .. } => Some(how),
            _ => None,
        }
    }

    /// What a node runs after the operation that moves it from this release; the train may end before.
    pub fn moves(self, from: Place) -> Option<Place> {
        let to = match self {
            Self::Upgrade { .. } => from.0.checked_add(1),
            Self::RollBack { .. } => from.0.checked_sub(1),
            _ => None,
        };
        to.map(Place)
    }

    /// The same operation on the nodes that the numbers stand for in a cluster of this size.
    pub(crate) fn within(self, nodes: u8) -> Self {
        let n = |node: u8| node % nodes.max(1);
        let whom = |whom| match whom {
            Whom::One(node) => Whom::One(n(node)),
            Whom::All => Whom::All,
        };
        match self {
            Self::Cast { from, to, work, count } => Self::Cast { from: n(from), to: n(to), work, count },
            Self::KillAll { node } => Self::KillAll { node: n(node) },
            Self::Gather { from } => Self::Gather { from: n(from) },
            Self::Act { node, number } => Self::Act { node: n(node), number },
            Self::Upgrade { node, how } => Self::Upgrade { node: n(node), how },
            Self::RollBack { node, how } => Self::RollBack { node: n(node), how },
            Self::Force { node, release } => Self::Force { node: n(node), release },
            Self::Lower { node } => Self::Lower { node: whom(node) },
            Self::Raise { node } => Self::Raise { node: whom(node) },
            Self::Crash { node } => Self::Crash { node: n(node) },
            Self::Start { node } => Self::Start { node: n(node) },
            Self::Stop { node } => Self::Stop { node: n(node) },
            Self::Cut { one, other } => Self::Cut { one: n(one), other: n(other) },
            Self::CutOneWay { from, to } => Self::CutOneWay { from: n(from), to: n(to) },
            Self::Lose { one, other, percent } => Self::Lose { one: n(one), other: n(other), percent },
            Self::Twice { one, other, percent } => Self::Twice { one: n(one), other: n(other), percent },
            Self::Reorder { one, other, ms } => Self::Reorder { one: n(one), other: n(other), ms },
            Self::Slow { one, other, ms } => Self::Slow { one: n(one), other: n(other), ms },
            Self::Clock { node, seconds } => Self::Clock { node: n(node), seconds },
            Self::Record(op) => Self::Record(op.within(nodes)),
            Self::Kill { .. } | Self::Pass { .. } | Self::Heal | Self::Await | Self::Settle => self,
        }
    }

    /// Whether the operation makes a link worse.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Cut { .. }
                | Self::CutOneWay { .. }
                | Self::Lose { .. }
                | Self::Twice { .. }
                | Self::Reorder { .. }
                | Self::Slow { .. }
        )
    }

    /// Simpler operations to try in this one's place, the simplest first.
    pub(crate) fn simpler(self) -> Vec<Self> {
        let halves = |n: u16, least: u16| {
            let mut tried: Vec<u16> = [least, n / 8, n / 2, n.saturating_sub(1)].into();
            tried.retain(|&m| m < n && m >= least);
            tried.dedup();
            tried
        };
        match self {
            Self::Cast { from, to, work, count } => {
                let fewer = (count > 1).then_some(Self::Cast { from, to, work, count: 1 });
                let simpler = Work::ALL.iter().take_while(|&&simpler| simpler != work);
                let works = simpler.map(|&work| Self::Cast { from, to, work, count });
                fewer.into_iter().chain(works).collect()
            }
            Self::Kill { call } => (0..call.min(3)).map(|call| Self::Kill { call }).collect(),
            Self::Act { node, number } => {
                halves(number, 0).into_iter().map(|number| Self::Act { node, number }).collect()
            }
            Self::Pass { ms } => halves(ms, 1).into_iter().map(|ms| Self::Pass { ms }).collect(),
            Self::Upgrade { node, how: Leave::Drain } => vec![Self::Upgrade { node, how: Leave::Kill }],
            Self::RollBack { node, how: Leave::Drain } => vec![Self::RollBack { node, how: Leave::Kill }],
            Self::Slow { one, other, ms } => {
                halves(ms, 2).into_iter().map(|ms| Self::Slow { one, other, ms }).collect()
            }
            Self::Reorder { one, other, ms } => {
                halves(ms, 1).into_iter().map(|ms| Self::Reorder { one, other, ms }).collect()
            }
            Self::CutOneWay { from, to } => vec![Self::Cut { one: from, other: to }],
            Self::Record(op) => op.simpler(),
            _ => Vec::new(),
        }
    }
}
