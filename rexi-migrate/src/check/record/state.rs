//! Disks, processes, drivers, and what is on its way between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rexi_proto::record::{Driver, Facts, Keeper, KeeperAsk, Kept};

use crate::search::{Broken, Fingerprint};

/// A few members and operators.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) nodes: Vec<Arc<Node>>,
    /// By operator.
    pub(super) drivers: Vec<Option<Arc<Driving>>>,
    pub(super) flights: Vec<Arc<Flight>>,
    /// Wishes that operators have yet to say, by operator.
    pub(super) wishes: Vec<bool>,
    pub(super) used: Used,
    /// What operators were told is given up: the epoch, the attempt, and the command, or whatever had that attempt.
    pub(super) given_up: BTreeSet<(u64, u64, Option<u64>)>,
    pub(super) met: u64,
    pub(super) broken: Option<Box<Broken>>,
    pub(super) print: Fingerprint,
}

/// A member: its disk, and its process while there is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    /// How often it was started.
    pub(super) starts: u64,
    /// Whether its list names those that nobody listed at first.
    pub(super) lists_all: bool,
    /// Whether it never comes back.
    pub(super) is_lost: bool,
    /// Whether what its disk held is gone.
    pub(super) is_emptied: bool,
    /// Whether all lists were changed to leave it out, before there was a record that names it.
    pub(super) is_dropped: bool,
}

/// What a disk holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Disk {
    Empty,
    Holds(Kept),
    /// A file that cannot be read, of this before.
    Corrupt(Kept),
}

impl Disk {
    /// What it holds, readable or not.
    pub(super) fn held(&self) -> Option<&Kept> {
        match self {
            Self::Holds(kept) | Self::Corrupt(kept) => Some(kept),
            Self::Empty => None,
        }
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Holds(kept) => Some(kept),
            Self::Empty | Self::Corrupt(_) => None,
        }
    }
}

/// A process of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) keeper: Keeper,
    /// What is being written.
    pub(super) writing: Option<Kept>,
    /// The place of its release.
    pub(super) release: usize,
    /// Who waits for the answer to each number: an operator, its command, and the driver's round.
    pub(super) asked: BTreeMap<u64, (usize, u64, u64)>,
    pub(super) tickets: u64,
}

impl Process {
    /// It is asked something, under a number of its own.
    pub(super) fn ask(&mut self, ask: KeeperAsk, facts: &Facts, asked_by: Option<(usize, u64, u64)>) {
        let ticket = self.tickets;
        self.tickets += 1;
        self.asked.extend(asked_by.map(|by| (ticket, by)));
        self.keeper.handle(ticket, ask, facts);
    }
}

/// A command on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Driving {
    pub(super) driver: Driver,
    /// The number of the command.
    pub(super) number: u64,
}

/// Something that is asked of a member, on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    /// The operator, and the number of the command.
    pub(super) from: (usize, u64),
    pub(super) round: u64,
    pub(super) to: usize,
    pub(super) ask: KeeperAsk,
}

/// How much of each budget was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Used {
    pub(super) crashes: u8,
    pub(super) moves: u8,
    pub(super) misses: u8,
    pub(super) doubles: u8,
    pub(super) deserted: u8,
    pub(super) wipes: u8,
    pub(super) corruptions: u8,
    pub(super) failures: u8,
    pub(super) relists: u8,
    pub(super) meetings: u8,
    /// Times that operators gave up forgetting a member.
    pub(super) spared: u8,
}

impl State {
    pub(super) fn print_anew(&mut self) {
        let Self { nodes, drivers, flights, wishes, used, given_up, broken, .. } = self;
        flights.sort_by_cached_key(Fingerprint::of);
        self.print = Fingerprint::of(&(nodes, drivers, flights, wishes, used, given_up, broken.is_some()));
    }

    /// Whether a command is carried, or something that was asked is on its way.
    pub(super) fn is_busy(&self) -> bool {
        self.drivers.iter().any(Option::is_some) || !self.flights.is_empty()
    }

    /// Whether a member is about to be forgotten.
    pub(super) fn has_fence(&self) -> bool {
        self.nodes.iter().any(|node| node.disk.kept().is_some_and(|kept| kept.fence.is_some()))
    }

    /// The least number that nothing on its way has.
    pub(super) fn free_number(&self) -> u64 {
        let flying = self.flights.iter().map(|flight| flight.from.1);
        let driving = self.drivers.iter().flatten().map(|driving| driving.number);
        let asked = self.nodes.iter().filter_map(|node| node.process.as_ref());
        let asked = asked.flat_map(|process| process.asked.values().map(|&(_, number, _)| number));
        let taken: BTreeSet<u64> = flying.chain(driving).chain(asked).collect();
        (1..).find(|number| !taken.contains(number)).unwrap_or(0)
    }

    /// Whether an answer of a member may still come to an operator's driver.
    pub(super) fn may_answer(&self, operator: usize, index: usize) -> bool {
        let (Some(driving), Some(process)) = (&self.drivers[operator], &self.nodes[index].process) else {
            return false;
        };
        let (number, round) = (driving.number, driving.driver.round());
        let is_asked =
            |flight: &Arc<Flight>| (flight.from, flight.round, flight.to) == ((operator, number), round, index);
        process.asked.values().any(|&asked| asked == (operator, number, round)) || self.flights.iter().any(is_asked)
    }

    /// What was given up at an epoch that all have left behind is of no use.
    pub(super) fn forget_given_up(&mut self) {
        let epoch = self.nodes.iter().filter_map(|node| Some(node.disk.kept()?.epoch())).min().unwrap_or(0);
        self.given_up.retain(|&(of, ..)| of > epoch);
    }

    pub(super) fn node(&mut self, index: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[index])
    }
}
