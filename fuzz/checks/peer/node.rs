//! One of the two nodes: the peer's state, the singleton behind its queue, the workers, and the pool they share.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{
    Caller, FunctionTable, Incarnation, JobKey, Limits, Mutants, NodePool, Peer, PeerConfig, PeerId, Phase, PhaseNow,
    Pool, Server, ServerAddress, ServerRequest, Servers, Session, Total, WireVersion,
};

/// What a node's release runs, in the order of the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Release {
    Old,
    Both,
    New,
}

impl Release {
    pub(super) const ALL: [Self; 3] = [Self::Old, Self::Both, Self::New];

    pub(super) fn hosts(self) -> Servers {
        self.lowest().hosts()
    }

    fn lowest(self) -> Phase {
        match self {
            Self::Old => Phase::Singleton,
            Self::Both => Phase::Introduce,
            Self::New => Phase::Remove,
        }
    }

    /// Whether the two may be in one cluster.
    pub(super) fn is_near(self, other: Self) -> bool {
        (self as u8).abs_diff(other as u8) <= 1
    }

    /// The version that the two settle on.
    fn wire_with(self, other: Self) -> WireVersion {
        match (self.min(other), self.max(other)) {
            (Self::Old, _) => WireVersion::V1,
            (_, Self::Both | Self::Old) | (Self::Both, _) => WireVersion::V2,
            (Self::New, Self::New) => WireVersion::V3,
        }
    }

    /// The phase in which it may speak to the other.
    pub(super) fn phase_for(self, other: Self) -> Phase {
        match (self, other) {
            (Self::Both, Self::New) => Phase::Switch,
            _ => self.lowest(),
        }
    }

    /// `g` is not taken by the first.
    fn functions(self) -> FunctionTable {
        let all = ["f", "g"];
        FunctionTable::new(all.into_iter().take(if self == Self::Old { 1 } else { 2 })).expect("there are few")
    }
}

/// A worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) key: JobKey,
    /// The place of its call among those noted, if what it was given names one.
    pub(super) call: Option<usize>,
    /// The last question that it has asked.
    pub(super) question: Option<u64>,
    /// Its worker has ended by itself, and is yet to be aborted all the same.
    pub(super) over: bool,
}

/// One node in one of its lives.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) life: Incarnation,
    pub(super) release: Release,
    /// Every phase that this life was in.
    pub(super) phases: Vec<Phase>,
    pub(super) limits: Limits,
    pub(super) peer: Peer<u32, Rc<RefCell<NodePool>>>,
    pub(super) singleton: Option<Server<Rc<RefCell<NodePool>>>>,
    pub(super) queue: VecDeque<(Caller, ServerRequest)>,
    pub(super) jobs: Vec<Job>,
    /// The latest life of the other that has said hello.
    pub(super) met: Incarnation,
    /// The epoch of the other's phase, as it was told.
    pub(super) heard: u64,
    pub(super) draining: bool,
    /// The peer's state, and the singleton, have said that there is more to be done.
    pub(super) more: [bool; 2],
    /// The writer was woken, and has not found everything written since.
    pub(super) writable: bool,
    /// Bytes that may wait for the writer beyond the bound, for what was said and done since it last took them.
    pub(super) excused_bytes: usize,
    pool: Rc<RefCell<NodePool>>,
    /// What others hold of the pool.
    greed: [usize; Total::ALL.len()],
    whole: NodePool,
    mutants: Mutants,
}

impl Node {
    pub(super) fn start(
        index: usize,
        life: Incarnation,
        release: Release,
        part_calls_max: usize,
        mutants: Mutants,
    ) -> Self {
        let limits = Limits { part_calls_max, ..limits(index) };
        assert_eq!(limits.check(), Ok(()));
        let whole = NodePool::new(&limits, MEMBERS, release.hosts());
        let pool = Rc::new(RefCell::new(whole.clone()));
        let singleton = || Server::with_pool(ServerAddress::Singleton, &limits, pool.clone()).with_mutants(mutants);
        let mut node = Self {
            index,
            life,
            release,
            phases: vec![release.lowest()],
            singleton: release.hosts().contains(ServerAddress::Singleton).then(singleton),
            peer: peer(index, release, &limits, &pool, mutants, Duration::ZERO),
            queue: VecDeque::new(),
            jobs: Vec::new(),
            met: Incarnation(0),
            heard: 0,
            draining: false,
            more: [false; 2],
            writable: false,
            excused_bytes: 0,
            greed: [0; Total::ALL.len()],
            limits,
            pool,
            whole,
            mutants,
        };
        while node.peer.poll_output().is_some() {}
        node
    }

    pub(super) fn phase(&self) -> PhaseNow {
        PhaseNow { epoch: self.phases.len() as u64 - 1, phase: *self.phases.last().expect("it is in one") }
    }

    /// What it keeps of its hello and the other's.
    pub(super) fn session_with(&self, other: &Self) -> Session {
        Session {
            incarnation: other.life,
            wire: self.release.wire_with(other.release),
            hosts: other.release.hosts(),
            takes: [other.takes()].into(),
            said: [self.phase().epoch].into(),
            functions: other.release.functions(),
            frame_bytes_max: other.limits.frame_bytes_max,
            payload_bytes_max: other.limits.payload_bytes_max,
        }
    }

    /// Whether the peer's state, and the singleton, are behind with a list.
    pub(super) fn is_behind(&self) -> [bool; 2] {
        [self.peer.is_behind(), self.singleton.as_ref().is_some_and(Server::is_behind)]
    }

    /// The jobs that have ended, and whose workers are yet to be aborted.
    pub(super) fn ending(&self) -> impl Iterator<Item = JobKey> {
        self.peer.ending_jobs().chain(self.singleton.iter().flat_map(Server::ending))
    }

    fn takes(&self) -> rexi_proto::Forms {
        self.release.lowest().takes()
    }

    /// The other is a member no more, and then one again: it has a new state, which does not know of earlier calls.
    pub(super) fn forget_peer(&mut self, now: Duration) {
        self.peer = peer(self.index, self.release, &self.limits, &self.pool, self.mutants, now);
        self.peer.forget_earlier();
        if self.draining {
            self.peer.drain();
        }
        self.peer.set_phases(now, &[self.phase()]);
        while self.peer.poll_output().is_some() {}
    }

    /// The other members take of the pool, or give back.
    pub(super) fn share(&mut self, total: Total, amount: usize, takes: bool) {
        let held = &mut self.greed[total as usize];
        if takes && self.pool.take(total, amount) {
            *held += amount;
        } else if !takes {
            self.pool.give(total, std::mem::take(held));
        }
    }

    /// What is missing in the pool is what somebody holds beyond its floor, to the last byte.
    pub(super) fn judge_pool(&self) {
        for total in Total::ALL {
            let (floor, left) = (self.pool.floor(total), self.pool.borrow().left(total));
            let singleton = self.singleton.as_ref().map_or(0, |singleton| singleton.beyond(total, floor));
            let held = self.greed[total as usize] + self.peer.beyond(total, floor) + singleton;
            assert_eq!(left + held, self.whole.left(total), "{total:?} of node {}", self.index);
        }
    }

    /// Nobody but the other members holds anything of the pool.
    pub(super) fn judge_empty_pool(&self) {
        for total in Total::ALL {
            let left = self.pool.borrow().left(total);
            assert_eq!(left + self.greed[total as usize], self.whole.left(total), "{total:?} of node {}", self.index);
        }
    }

    /// The bounds that only the state itself knows: it is asked in its own words.
    pub(super) fn judge_within(&self) {
        let (peer, singleton) = (format!("{:?}", self.peer), format!("{:?}", self.singleton));
        for (text, servers) in [(peer, 1), (singleton, usize::from(self.singleton.is_some()))] {
            // Each is a list of callers with one call or monitor each, which tells it from what a node monitors itself.
            let most = |list: &str, of: &str| {
                let lists: Vec<_> = text.split(list).skip(1).collect();
                assert!(lists.len() >= servers, "a server has its {list}");
                let longest = lists.iter().map(|rest| rest[..closing(rest)].matches(of).count());
                longest.max().unwrap_or_default()
            };
            assert!(most("tombstones: [", "}, CallRef(") <= self.limits.tombstones_max);
            assert!(most("monitors: {", "}, MonitorRef(") <= self.limits.monitors_max);
        }
    }
}

/// Where the list ends that has just begun.
fn closing(rest: &str) -> usize {
    let mut depth = 1_usize;
    let ends = |c: char| {
        depth = match c {
            '[' | '{' => depth + 1,
            ']' | '}' => depth - 1,
            _ => depth,
        };
        depth == 0
    };
    rest.find(ends).expect("it ends")
}

fn peer(
    index: usize,
    release: Release,
    limits: &Limits,
    pool: &Rc<RefCell<NodePool>>,
    mutants: Mutants,
    now: Duration,
) -> Peer<u32, Rc<RefCell<NodePool>>> {
    let config = PeerConfig::in_phase(release.lowest(), release.functions(), limits.clone());
    let config = PeerConfig { hosts: release.hosts(), mutants, ..config };
    Peer::with_pool(PeerId(u32::from(index == 0)), config, pool.clone(), now)
}

/// Bounds that are soon reached.
fn limits(index: usize) -> Limits {
    Limits {
        frame_bytes_max: 1_024,
        payload_bytes_max: if index == 0 { 600 } else { 400 },
        inline_bytes_max: 48,
        bulk_streams_max: 2,
        bulk_frames_max: 6,
        unwritten_bytes_max: 200,
        buffered_frames_max: 5,
        buffered_bytes_max: 700,
        buffered_frames_total_max: 8,
        buffered_bytes_total_max: 1_300,
        calls_open_max: 12,
        jobs_max: 6,
        jobs_total_max: 9,
        job_bytes_max: 800,
        job_bytes_total_max: 1_300,
        streams_max: 2,
        streams_total_max: 3,
        monitors_max: 3,
        tombstones_max: if index == 0 { 2 } else { 0 },
        function_bytes_max: 8,
        stability_period: Duration::from_secs(15),
        ..Limits::default()
    }
}

/// The two, and a third that takes of the pool.
const MEMBERS: usize = 3;

/// The functions that a caller may name: what every node takes, what the oldest does not, what none does.
pub(super) fn function(number: usize) -> Arc<str> {
    ["f", "f", "g", "none"][number % 4].into()
}
