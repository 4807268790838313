//! A small cluster over an adversarial network, driven by a list of operations over the model of the core.
//!
//! Every operation is total: one that makes no sense in the present state does nothing. So any list of them is a run,
//! and any part of a list is one too, which is what makes shrinking work.

mod broken;
mod heal;
mod pinned;
mod search;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rexi_migrate::model::{Build, Case, Deed, EndStage, Job, NodeModel, Parting, Seen as Learnt, Word, World, name};
use rexi_proto::{ExitReason, Incarnation, ItemStep, Limits, MonitorRef, Mutants, NodePool, Phase};

use broken::id;
pub(crate) use pinned::pinned;
pub(crate) use search::{Found, Run, Seen, search};

/// What may happen. Numbers pick among what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Open,
    Cast { from: u8, to: u8, bulk: bool, times: u8 },
    Kill { node: u8, pick: u8 },
    KillAll { from: u8, to: u8 },
    Monitor { from: u8, to: u8 },
    Demonitor { pick: u8 },
    Reply { node: u8, pick: u8, bulk: bool, times: u8 },
    Item { node: u8, pick: u8, bulk: bool, times: u8 },
    Question { node: u8, pick: u8, bulk: bool },
    Start { node: u8, pick: u8 },
    Cancel { node: u8, pick: u8 },
    Ack { node: u8, pick: u8 },
    Respond { node: u8, pick: u8, bulk: bool },
    Ping { node: u8, pick: u8 },
    End { node: u8, pick: u8, how: u8 },
    Singleton { node: u8, steps: u8 },
    Dial { a: u8, b: u8 },
    Hello { wire: u8, side: bool },
    Connect { wire: u8, side: bool },
    Flush { wire: u8, side: bool },
    Deliver { wire: u8, side: bool, bytes: u8 },
    DeliverBulk { wire: u8, side: bool, pick: u8 },
    UnknownFrame { wire: u8, side: bool },
    LongFrame { wire: u8, side: bool },
    Exchange,
    Cut { wire: u8 },
    Notice { wire: u8, side: bool },
    Crash { node: u8 },
    Restart { node: u8, step: u8 },
    Drain { node: u8 },
    Depart { node: u8 },
    Ceiling { node: u8, phase: u8 },
    Advance { seconds: u8 },
}

/// The cluster, and what its runs have met and broken.
pub(crate) struct Walk {
    world: World<Rc<RefCell<NodePool>>>,
    pools: Vec<Shared>,
    lives: u64,
    mutants: Mutants,
    /// The invariants that count; all, if none is named.
    judged: Vec<String>,
    violation: Option<String>,
    pub(crate) seen: Seen,
}

/// A node's pool, and the same when it is full.
struct Shared {
    pool: Rc<RefCell<NodePool>>,
    whole: NodePool,
}

/// Small enough that every bound is met. Every third node takes less than the others send.
fn limits(node: usize) -> Limits {
    let limits = Limits {
        frame_bytes_max: if node % 3 == 1 { 1_200 } else { 2_048 },
        payload_bytes_max: if node % 3 == 1 { 36 } else { 64 },
        inline_bytes_max: 16,
        bulk_streams_max: 64,
        unwritten_bytes_max: 96,
        buffered_frames_max: 4,
        buffered_bytes_max: 256,
        buffered_frames_total_max: 6,
        buffered_bytes_total_max: 320,
        calls_open_max: 100,
        jobs_max: 4,
        jobs_total_max: 4,
        job_bytes_max: 12 * 64,
        job_bytes_total_max: 12 * 64,
        streams_max: 2,
        streams_total_max: 2,
        tombstones_max: if node % 3 == 2 { 0 } else { 256 },
        ..Limits::default()
    };
    limits.check().expect("the limits agree");
    limits
}

impl Walk {
    /// A cluster whose run is broken by these invariants alone; by any, if none is named.
    pub(crate) fn new(releases: &[u8], mutants: Mutants, invariants: &[&str]) -> Self {
        let mut walk = Self {
            world: World::new(Vec::new(), false),
            pools: Vec::new(),
            lives: 0,
            mutants,
            judged: invariants.iter().map(|&id| id.to_owned()).collect(),
            violation: None,
            seen: BTreeMap::new(),
        };
        let started: Vec<_> = (0..releases.len())
            .map(|index| walk.started(index, releases.len(), usize::from(releases[index]) % 4))
            .collect();
        let (nodes, pools) = started.into_iter().unzip();
        (walk.world, walk.pools) = (World::new(nodes, false), pools);
        walk
    }

    /// Runs the operations, heals the cluster and judges it.
    ///
    /// # Errors
    /// The first invariant that broke, in words.
    pub(crate) fn run(&mut self, ops: &[Op], told: &mut impl FnMut(&Self, &Op)) -> Result<(), String> {
        for (at, op) in ops.iter().enumerate() {
            self.apply(op);
            let judged = self.judge();
            told(self, op);
            judged.map_err(|what| format!("{what} (op {at}: {op:?})"))?;
        }
        self.heal_and_judge()
    }

    /// Takes over what the model has noted.
    fn judge(&mut self) -> Result<(), String> {
        let met = std::mem::take(&mut self.world.notes.met);
        Case::ALL.iter().filter(|case| met.has(**case)).for_each(|case| self.saw(case.sentence()));
        for breach in std::mem::take(&mut self.world.notes.breaches) {
            if let Some(id) = id(breach.rule) {
                self.violate(id, &breach.what);
            }
        }
        self.violation.clone().map_or(Ok(()), Err)
    }

    fn violate(&mut self, id: &str, what: &str) {
        let counts = self.judged.is_empty() || self.judged.iter().any(|judged| judged == id);
        if counts && self.violation.is_none() {
            self.violation = Some(format!("{id}: {what}"));
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Cast { from, to, bulk, times } => (0..times).for_each(|_| self.cast(from.into(), to.into(), bulk)),
            Op::Kill { node, pick } => self.kill_one(node.into(), pick.into()),
            Op::KillAll { from, to } => self.kill_all(from.into(), to.into()),
            Op::Monitor { from, to } => self.monitor(from.into(), to.into()),
            Op::Demonitor { pick } => self.demonitor(pick.into()),
            Op::Reply { node, pick, bulk, times } => {
                (0..times).for_each(|_| self.work(node.into(), pick.into(), |size| Deed::Reply(size(bulk))));
            }
            Op::Item { node, pick, bulk, times } => {
                (0..times).for_each(|_| self.work(node.into(), pick.into(), |size| Deed::Item(size(bulk), WINDOW)));
            }
            Op::Question { node, pick, bulk } => self.work(node.into(), pick.into(), |size| Deed::Question(size(bulk))),
            Op::Start { node, pick } => self.drive(node.into(), pick.into(), |_| Word::Start),
            Op::Cancel { node, pick } => self.drive(node.into(), pick.into(), |_| Word::Cancel),
            Op::Ack { node, pick } => self.drive(node.into(), pick.into(), |_| Word::Ack),
            Op::Respond { node, pick, bulk } => {
                self.drive(node.into(), pick.into(), |at| Word::Respond(size(bulk, at).min(30)));
            }
            Op::Ping { node, pick } => self.work(node.into(), pick.into(), |_| Deed::Ping),
            Op::End { node, pick, how } => self.end(node.into(), pick.into(), how),
            Op::Singleton { node, steps } => self.step_singleton(node.into(), steps.into()),
            Op::Dial { a, b } => self.dial(a.into(), b.into()),
            Op::Hello { wire, side } => self.hello(wire.into(), side.into()),
            Op::Connect { wire, side } => self.connect(wire.into(), side.into()),
            Op::Flush { wire, side } => self.flush(wire.into(), side.into()),
            Op::Deliver { wire, side, bytes } => self.deliver(wire.into(), side.into(), bytes.into()),
            Op::DeliverBulk { wire, side, pick } => self.deliver_bulk(wire.into(), side.into(), pick.into()),
            Op::UnknownFrame { wire, side } => self.plant(wire.into(), side.into(), false),
            Op::LongFrame { wire, side } => self.plant(wire.into(), side.into(), true),
            Op::Open => self.connect_all(2),
            Op::Exchange => self.exchange(),
            Op::Cut { wire } => self.cut(wire.into()),
            Op::Notice { wire, side } => self.notice(wire.into(), side.into()),
            Op::Crash { node } => self.crash(node.into()),
            Op::Restart { node, step } => self.restart(node.into(), step),
            Op::Drain { node } => self.drain_node(node.into()),
            Op::Depart { node } => self.depart(node.into()),
            Op::Ceiling { node, phase } => self.ceiling(node.into(), phase),
            Op::Advance { seconds } => self.advance(Duration::from_secs(seconds.into())),
        }
    }

    /// What nodes, connections and calls are now, a line for each.
    fn state(&self) -> Vec<String> {
        let nodes = self.world.nodes.iter().map(|node| {
            let (name, jobs) = (name(node.index), node.jobs.iter().map(|job| job.call).collect::<Vec<_>>());
            let (release, phase, down) = (node.profile().release(), node.phases_in_words(), node.down);
            format!("{name} {release}, {phase}, runs {jobs:?}{}", if down { ", down" } else { "" })
        });
        let wires = self.world.wires.iter().map(|wire| {
            let stages = [0, 1].map(|side| match wire.ends[side].stage {
                EndStage::Opening(..) => "opening",
                EndStage::Agreed(..) => "agreed",
                EndStage::Attached => "attached",
                EndStage::Closed => "closed",
            });
            format!(
                "{} - {}: {stages:?}{}",
                name(wire.between[0]),
                name(wire.between[1]),
                if wire.cut { ", cut" } else { "" }
            )
        });
        let calls = self.world.notes.calls.iter().enumerate().map(|(at, call)| format!("call {at}: {call:?}"));
        nodes.chain(wires).chain(calls).collect()
    }

    fn len(&self) -> usize {
        self.world.nodes.len()
    }

    /// The number of a node that is up.
    fn up(&self, index: usize) -> Option<usize> {
        let index = index % self.len();
        (!self.world.nodes[index].down).then_some(index)
    }

    /// The numbers of all nodes that are up.
    fn all_up(&self) -> Vec<usize> {
        (0..self.len()).filter(|&index| !self.world.nodes[index].down).collect()
    }

    /// A node that is up and another node's number.
    fn pair(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let (from, to) = (self.up(from)?, to % self.len());
        Some((from, if to == from { (to + 1) % self.len() } else { to }))
    }

    fn cast(&mut self, from: usize, to: usize, bulk: bool) {
        let Some((from, to)) = self.pair(from, to) else { return };
        let bytes = size(bulk, self.world.notes.calls.len());
        self.world.at(from, |node, now, notes| node.cast(now, to, 0, (bytes, false), notes));
    }

    /// The calls of a node that are open.
    fn open_calls(&self, index: usize) -> Vec<usize> {
        let calls = self.world.notes.calls.iter().enumerate();
        calls.filter(|(_, call)| call.by == index && call.is_open()).map(|(at, _)| at).collect()
    }

    fn kill_one(&mut self, index: usize, pick: usize) {
        let Some(index) = self.up(index) else { return };
        let open = self.open_calls(index);
        if !open.is_empty() {
            let at = open[pick % open.len()];
            let to = self.world.notes.calls[at].to;
            self.world.at(index, |node, _, notes| node.kill(to, &[at], notes));
        }
    }

    fn kill_all(&mut self, from: usize, to: usize) {
        let Some((from, to)) = self.pair(from, to) else { return };
        let mut open = self.open_calls(from);
        open.retain(|&at| self.world.notes.calls[at].to == to);
        if open.len() > 1 {
            self.saw("a batch was killed");
        }
        self.world.at(from, |node, _, notes| node.kill(to, &open, notes));
    }

    fn monitor(&mut self, from: usize, to: usize) {
        let Some((from, to)) = self.pair(from, to) else { return };
        self.world.at(from, |node, _, notes| node.watch(to, notes));
        let set = self.world.notes.monitors.last().expect("it was set");
        if set.of == Incarnation(0) && set.downs != 1 {
            self.violate("R32", "a monitor of what is not connected is not down at once");
        }
    }

    fn demonitor(&mut self, pick: usize) {
        let count = self.world.notes.monitors.len();
        if count == 0 {
            return;
        }
        let set = &mut self.world.notes.monitors[pick % count];
        if !set.orphan {
            set.stopped |= set.downs == 0;
            let (by, to) = (set.by, set.to);
            self.world.at(by, |node, _, _| node.peer_mut(to).demonitor(MonitorRef((pick % count) as u64)));
        }
    }

    /// Lets the caller of one of its open calls say something of its stream or to its question.
    fn drive(&mut self, index: usize, pick: usize, word: impl Fn(usize) -> Word) {
        let Some(index) = self.up(index) else { return };
        let mut open = self.open_calls(index);
        open.retain(|&at| self.world.notes.calls[at].wants(word(at)));
        if !open.is_empty() {
            let at = open[pick % open.len()];
            self.say(index, at, word(at));
        }
    }

    fn say(&mut self, index: usize, at: usize, word: Word) {
        self.saw("a stream's caller said something");
        self.world.at(index, |node, now, notes| node.say(now, at, word, notes));
    }

    /// The jobs of a node, in the order of their keys.
    fn jobs(&self, index: usize) -> Vec<Job> {
        let mut jobs = self.world.nodes[index].jobs.clone();
        jobs.sort_by_key(|job| (job.key.server, job.member, job.key.caller.incarnation, job.key.call, job.key.id));
        jobs
    }

    fn job(&self, index: usize, pick: usize) -> Option<(usize, Job)> {
        let index = self.up(index)?;
        let jobs = self.jobs(index);
        jobs.get(pick % jobs.len().max(1)).map(|&job| (index, job))
    }

    fn end(&mut self, index: usize, pick: usize, how: u8) {
        if let Some((index, job)) = self.job(index, pick) {
            self.end_job(index, job, how);
        }
    }

    fn end_job(&mut self, index: usize, job: Job, how: u8) {
        let how = match how % 4 {
            0 => Err(ExitReason::Done),
            1 => Err(ExitReason::Failed("no".into())),
            how => Ok(size(how == 3, job.call)),
        };
        self.world.at(index, |node, _, notes| node.end(job, how, notes));
    }

    fn work(&mut self, index: usize, pick: usize, deed: impl Fn(&dyn Fn(bool) -> usize) -> Deed) {
        if let Some((index, job)) = self.job(index, pick) {
            self.work_on(index, job, &deed(&|bulk| size(bulk, job.call)));
        }
    }

    fn work_on(&mut self, index: usize, job: Job, deed: &Deed) {
        let mut step = ItemStep::Wait;
        self.world.at(index, |node, _, notes| step = node.work(job, deed, notes));
        let bytes = match *deed {
            Deed::Reply(bytes) | Deed::Item(bytes, _) | Deed::Question(bytes) => bytes,
            Deed::Ping => 0,
        };
        let node = &self.world.nodes[index];
        let is_too_large = bytes > node.limits.payload_bytes_max as usize;
        // Its abort has come by now, as of any job that its server ends: for its reply, or for want of a stream.
        let still = node.jobs.iter().any(|other| (other.member, other.key) == (job.member, job.key));
        if step == ItemStep::Over && is_too_large {
            self.saw("a reply was too large");
        }
        if step == ItemStep::Over && still {
            self.violate("S3", &format!("{job:?} was not aborted, but its server does not know it"));
        }
    }

    fn step_singleton(&mut self, index: usize, steps: usize) {
        if let Some(index) = self.up(index) {
            self.world.at(index, |node, _, _| {
                let _ = (0..steps).all(|_| node.take());
            });
        }
    }

    /// A node that has just started, with its pool.
    fn started(&mut self, index: usize, nodes: usize, release: usize) -> (NodeModel<Rc<RefCell<NodePool>>>, Shared) {
        self.lives += 1;
        let (train, limits) = (rexi_migrate::demo::path(), limits(index));
        let whole = NodePool::new(&limits, nodes, train.at(release).hosts());
        let pool = Rc::new(RefCell::new(whole.clone()));
        let build = Build { numbered: true, ..Build::new(nodes, &train, limits, pool.clone(), self.mutants) };
        let mut node = NodeModel::start(index, release, Incarnation(self.lives), &build);
        node.seen = vec![Learnt::default(); nodes];
        (node, Shared { pool, whole })
    }

    fn start(&mut self, index: usize, release: usize) {
        let (node, pool) = self.started(index, self.len(), release);
        self.pools[index] = pool;
        self.world.place(node);
    }

    fn crash(&mut self, index: usize) {
        if let Some(index) = self.up(index) {
            self.world.stop(index, Parting::Lost);
        }
    }

    fn restart(&mut self, index: usize, step: u8) {
        let index = index % self.len();
        self.crash(index);
        let release = self.world.nodes[index].release;
        let release = match step % 4 {
            0 | 1 => (release + 1).min(3),
            2 => release,
            _ => {
                self.world.notes.saw(Case::Rollback);
                release.saturating_sub(1)
            }
        };
        self.start(index, release);
    }

    /// A node takes no new casts, and is still there.
    fn drain_node(&mut self, index: usize) {
        if let Some(index) = self.up(index) {
            self.world.at(index, |node, _, _| node.refuse_casts());
        }
    }

    fn depart(&mut self, index: usize) {
        if let Some(index) = self.up(index) {
            self.world.depart(index);
        }
    }

    fn ceiling(&mut self, index: usize, phase: u8) {
        let Some(index) = self.up(index) else { return };
        match Phase::ALL.get(usize::from(phase)) {
            Some(&ceiling) => drop(self.world.lower(index, (0, ceiling))),
            None => self.world.at(index, |node, _, notes| node.lift(0, notes)),
        }
    }

    fn advance(&mut self, by: Duration) {
        self.world.now += by;
        for index in self.all_up() {
            self.world.at(index, |node, now, _| {
                node.members().for_each(|member| node.peer_mut(member).handle_timeout(now));
            });
        }
    }

    /// The place of a connection.
    fn wire_at(&self, wire: usize) -> Option<usize> {
        (!self.world.wires.is_empty()).then(|| wire % self.world.wires.len())
    }

    /// The place of a connection whose end is attached.
    fn attached(&self, wire: usize, side: usize) -> Option<usize> {
        self.wire_at(wire).filter(|&at| self.world.wires[at].ends[side].is_attached())
    }

    /// Opens a connection; an older one between the two is not touched.
    fn dial(&mut self, a: usize, b: usize) {
        let Some((a, b)) = self.pair(a, b).filter(|&(_, b)| !self.world.nodes[b].down) else { return };
        if self.world.wires.iter().filter(|wire| wire.is_between(a, b) && wire.is_open()).count() < 2 {
            self.world.wires.retain(|wire| wire.is_open());
            self.world.dial(a, b, self.world.wires.len());
        }
    }

    fn hello(&mut self, wire: usize, side: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let opening = |walk: &Self| matches!(walk.world.wires[at].ends[side].stage, EndStage::Opening(..));
        let was_opening = opening(self);
        self.world.hear(at, side);
        if was_opening && !opening(self) && self.world.wires[at].ends[side].is_open() {
            (0..2).for_each(|side| self.world.judge_holdouts(at, side));
        }
    }

    fn connect(&mut self, wire: usize, side: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let (index, member) = self.world.wires[at].of(side);
        if let Some(late) = self.world.attach(at, side) {
            self.world.deliver_late(index, member, late);
        }
        let apart = self.world.nodes[index].release.abs_diff(self.world.nodes[member].release);
        if apart > 1 && self.world.is_connected(index, member) {
            self.violate("S11", &format!("{index} and {member} are connected, {apart} releases apart"));
        }
    }

    /// The writer takes what is encoded.
    fn flush(&mut self, wire: usize, side: usize) {
        if let Some(at) = self.attached(wire, side) {
            let (index, member) = self.world.wires[at].of(side);
            self.world.write(index, member);
            self.world.drain(index);
        }
    }

    /// So many bytes of the ordered lane arrive; all of them for a large number.
    fn deliver(&mut self, wire: usize, side: usize, bytes: usize) {
        if let Some(at) = self.attached(wire, side) {
            self.world.deliver(at, side, Some(if bytes > 200 { usize::MAX } else { bytes }));
        }
    }

    /// A payload arrives, whichever.
    fn deliver_bulk(&mut self, wire: usize, side: usize, pick: usize) {
        let Some(at) = self.attached(wire, side) else { return };
        let payloads = self.world.wires[at].ends[side].way.bulk.len();
        if payloads > 0 {
            self.world.deliver_bulk(at, side, pick % payloads);
        }
    }

    fn plant(&mut self, wire: usize, side: usize, long: bool) {
        if let Some(at) = self.wire_at(wire) {
            self.world.plant(at, side, long);
        }
    }

    /// All that is on its way arrives, and every queue is worked off.
    fn exchange(&mut self) {
        for at in 0..self.world.wires.len() {
            for side in [0, 1, 0, 1] {
                self.hello(at, side);
                self.connect(at, side);
                self.flush(at, side);
                self.deliver(at, 1 - side, usize::MAX);
                let other = |walk: &Self| walk.world.wires[at].ends[1 - side].clone();
                while other(self).is_attached() && !other(self).way.bulk.is_empty() {
                    self.deliver_bulk(at, 1 - side, 0);
                }
            }
        }
        (0..self.len()).for_each(|index| self.step_singleton(index, usize::MAX));
    }

    fn cut(&mut self, wire: usize) {
        let cuts = |&at: &usize| self.world.wires[at].is_open() && !self.world.wires[at].cut;
        if let Some(at) = self.wire_at(wire).filter(cuts) {
            self.world.cut(at);
        }
    }

    fn notice(&mut self, wire: usize, side: usize) {
        if let Some(at) = self.wire_at(wire) {
            self.world.notice(at, side);
        }
    }
}

/// Bytes of a payload: inside its frame, beside it, or now and then more than some nodes take.
fn size(bulk: bool, mailbox: usize) -> usize {
    match (bulk, mailbox % 4) {
        (false, _) => 8,
        (true, 3) => 40,
        (true, _) => 30,
    }
}

/// Items of a stream that may be unacknowledged.
const WINDOW: u32 = 2;
