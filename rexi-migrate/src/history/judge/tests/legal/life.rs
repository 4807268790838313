//! The lives of a history's nodes: when each process begins, how it ends, when it stands still, and what it wrote.
//!
//! A record is made through [`World::say`], which knows that the dead write nothing and that a process that stands
//! still writes later. A script goes on only where its record was written, so nothing follows from what never was.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::super::*;

/// What may happen in a history besides restarts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    /// Connections break while both processes live.
    pub(super) breaks: bool,
    /// Processes stand still for a while, and machines are slow.
    pub(super) pauses: bool,
}

impl Features {
    pub(super) const ALL: Self = Self { breaks: true, pauses: true };
}

/// All processes of a history.
pub(super) struct World {
    pub(super) lives: Vec<Life>,
    pub(super) nodes: u16,
    /// When connections between two nodes break, though no process ends.
    pub(super) breaks: Vec<Break>,
}

/// A connection that breaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Break {
    between: [u16; 2],
    pub(super) at_us: u64,
    /// When each of them notices.
    noticed_us: [u64; 2],
}

impl Break {
    fn drawn(rng: &mut Xoshiro256PlusPlus, between: [u16; 2], at_us: u64) -> Self {
        Self { between, at_us, noticed_us: [at_us + noticed(rng), at_us + noticed(rng)] }
    }

    /// When a node notices.
    pub(super) fn noticed_by(&self, node: u16) -> u64 {
        self.noticed_us[usize::from(self.between[1] == node)]
    }
}

/// One process.
pub(super) struct Life {
    pub(super) node: u16,
    pub(super) began_us: u64,
    pub(super) stop: Stop,
    /// Times in which it stands still.
    holes: Vec<(u64, u64)>,
    torn: bool,
    next: u64,
    records: Vec<Record>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    Killed(u64),
    /// Asked, and gone.
    Drained(u64, u64),
    Never,
}

impl World {
    pub(super) fn drawn(seed: u64, features: Features) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5bd1);
        let nodes = rng.random_range(2..=3);
        let mut world = Self { lives: Vec::new(), nodes, breaks: Vec::new() };
        let paused = features.pauses && rng.random_bool(0.1);
        for node in 0..nodes {
            let mut began_us = 10 + u64::from(node);
            for last in [rng.random_bool(0.3), rng.random_bool(0.5), true] {
                let life = Life::drawn(&mut rng, node, began_us, last, paused);
                let gone_us = life.gone_us();
                world.lives.push(life);
                if last {
                    break;
                }
                began_us = gone_us + rng.random_range(1..800_000);
            }
        }
        if features.breaks && rng.random_bool(0.3) {
            let first = rng.random_range(0..nodes);
            let second = (first + rng.random_range(1..nodes)) % nodes;
            let at_us = rng.random_range(1_000..6 * SECOND);
            world.breaks.push(Break::drawn(&mut rng, [first, second], at_us));
        }
        let holes: Vec<_> =
            world.lives.iter().flat_map(|life| life.holes.iter().map(|hole| (life.node, *hole))).collect();
        for (node, (from_us, to_us)) in holes {
            // The others take it for gone once it was silent for as long as a connection may be.
            if to_us - from_us > 8 * SECOND {
                for other in (0..nodes).filter(|&other| other != node) {
                    world.breaks.push(Break::drawn(&mut rng, [node, other], from_us + 8 * SECOND));
                }
            }
        }
        world.note_breaks();
        world
    }

    /// Each end of a connection that breaks notes it, at its own time.
    fn note_breaks(&mut self) {
        for at in 0..self.breaks.len() {
            let broken = self.breaks[at];
            let [a, b] = broken.between;
            for (own, other) in [(a, b), (b, a)] {
                if let (Some(life), Some(_)) = (self.at(own, broken.at_us), self.at(other, broken.at_us)) {
                    self.say(life, broken.noticed_by(own), Entry::Away { node: NodeIndex(other) });
                }
            }
        }
    }

    /// The process of a node that runs at a time: an index.
    pub(super) fn at(&self, node: u16, at_us: u64) -> Option<usize> {
        self.lives.iter().position(|life| life.node == node && (life.began_us..life.gone_us()).contains(&at_us))
    }

    /// The process of a node that runs at a time, or the next one that will.
    pub(super) fn at_or_after(&self, node: u16, at_us: u64) -> Option<usize> {
        let next = |life: &Life| life.node == node && at_us < life.gone_us();
        self.lives.iter().position(next)
    }

    /// Some process.
    pub(super) fn any_life(&self, rng: &mut Xoshiro256PlusPlus) -> usize {
        *(0..self.lives.len()).collect::<Vec<_>>().choose(rng).expect("a history has lives")
    }

    /// Writes a record at this time, or as soon as the process runs again; `None` where it does not live to write it.
    pub(super) fn say(&mut self, life: usize, at_us: u64, entry: Entry) -> Option<u64> {
        let life = &mut self.lives[life];
        assert!(at_us >= life.began_us, "{entry:?} at {at_us}, before {} began", life.began_us);
        let at_us = life.awake_at(at_us);
        if at_us >= life.gone_us() {
            assert!(matches!(life.stop, Stop::Killed(_)), "{entry:?} at {at_us}: {:?} ended before", life.stop);
            life.torn |= matches!(life.stop, Stop::Killed(gone_us) if at_us < gone_us + 100);
            return None;
        }
        life.records.push(Record { at_us, entry });
        Some(at_us)
    }

    /// When the connection between two nodes breaks next, from a time on.
    pub(super) fn next_break(&self, a: u16, b: u16, from_us: u64) -> Option<Break> {
        let of_pair = self.breaks.iter().filter(|broken| broken.between == [a, b] || broken.between == [b, a]);
        of_pair.copied().find(|broken| broken.at_us >= from_us)
    }

    pub(super) fn into_records(self) -> Vec<ProcessRecord> {
        self.lives.into_iter().map(Life::into_record).collect()
    }
}

impl Life {
    fn drawn(rng: &mut Xoshiro256PlusPlus, node: u16, began_us: u64, last: bool, paused: bool) -> Self {
        let working = began_us + rng.random_range(1..3 * SECOND);
        let stop = match rng.random_range(0..10) {
            _ if paused && last => Stop::Never,
            0..5 => Stop::Killed(working),
            // Long enough for whatever it has asked for to end.
            _ if !last => Stop::Drained(working, working + 120 * SECOND),
            _ => Stop::Never,
        };
        let mut holes = Vec::new();
        if paused && rng.random_bool(0.5) {
            let from_us = began_us + rng.random_range(1..2 * SECOND);
            holes.push((from_us, from_us + rng.random_range(SECOND..22 * SECOND)));
        }
        let mut life = Self { node, began_us, stop, holes, torn: false, next: 1, records: Vec::new() };
        life.records
            .push(Record { at_us: began_us, entry: Entry::PhaseChanged { migration: 0, phase: Phase::Switch } });
        life.beat();
        if rng.random_bool(0.1) && !matches!(life.stop, Stop::Killed(_)) {
            let phase = if rng.random_bool(0.5) { Phase::Introduce } else { Phase::Switch };
            life.records.push(Record { at_us: began_us + 5, entry: Entry::PhaseChanged { migration: 0, phase } });
        }
        life
    }

    /// Shows that it is alive, ten times a second while it is, until long after its last hole.
    fn beat(&mut self) {
        let Some(&(_, last_us)) = self.holes.last() else { return };
        let until_us = (last_us + 5 * SECOND).min(self.gone_us());
        let mut at_us = self.began_us;
        while at_us < until_us {
            self.records.push(Record { at_us, entry: Entry::Beat { waited_us: 0 } });
            at_us = self.awake_at(at_us + BEAT_US);
        }
    }

    /// The next number of a call, a gather or a monitor.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// From when on it is gone.
    pub(super) fn gone_us(&self) -> u64 {
        match self.stop {
            Stop::Killed(at_us) | Stop::Drained(_, at_us) => at_us,
            Stop::Never => u64::MAX,
        }
    }

    /// Until when it asks others for anything.
    pub(super) fn asks_until_us(&self) -> u64 {
        match self.stop {
            Stop::Killed(at_us) | Stop::Drained(at_us, _) => at_us,
            Stop::Never => self.began_us + 4 * SECOND,
        }
    }

    /// From when on it takes no more casts.
    pub(super) fn takes_until_us(&self) -> u64 {
        match self.stop {
            Stop::Killed(at_us) | Stop::Drained(at_us, _) => at_us,
            Stop::Never => u64::MAX,
        }
    }

    /// This time, or the end of the hole that it lies in.
    pub(super) fn awake_at(&self, at_us: u64) -> u64 {
        let hole = self.holes.iter().find(|(from_us, to_us)| (from_us..to_us).contains(&&at_us));
        hole.map_or(at_us, |&(from_us, to_us)| to_us + (at_us - from_us) / 1_000)
    }

    fn into_record(mut self) -> ProcessRecord {
        self.records.sort_by_key(|record| record.at_us);
        let last_us = self.records.last().map_or(self.began_us, |record| record.at_us);
        let end = match self.stop {
            Stop::Killed(at_us) => ProcessEnd::KilledNine { at_us },
            Stop::Drained(at_us, gone_us) => {
                let ends = [Entry::Quiet, Entry::Drained].map(|entry| Record { at_us: gone_us, entry });
                self.records.extend(ends);
                ProcessEnd::Drained { at_us }
            }
            Stop::Never => {
                self.records.push(Record { at_us: last_us + 1, entry: Entry::Quiet });
                ProcessEnd::LiveAtEnd
            }
        };
        let mut process = process(self.node, "1.2.0", self.began_us);
        process.records = self.records;
        let record = Process { end, ..process }.record();
        if self.torn { torn(record) } else { record }
    }
}

/// How long after a connection broke one of its ends notices: mostly at once, sometimes by the idle time-out.
pub(super) fn noticed(rng: &mut Xoshiro256PlusPlus) -> u64 {
    if rng.random_bool(0.8) { rng.random_range(100..300_000) } else { rng.random_range(100..8 * SECOND) }
}

pub(super) const SECOND: u64 = 1_000_000;

/// How often a process shows that it is alive.
const BEAT_US: u64 = 100_000;
