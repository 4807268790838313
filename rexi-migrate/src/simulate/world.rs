//! The cluster of a scenario as its plan changes it: nodes that run, stop and start again, links, ceilings, clocks.
//!
//! In: one operation at a time. Out: what the ledger notes. Each method is total: what makes no sense in the cluster's
//! present state is skipped and says so.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rexi_proto::Release;
use rexi_proto::record::Kept;
use rexi_server::status::{NodeStatus, RolloutStatus};
use rexi_server::testing::TestCluster;
use rexi_server::{Limits, Node, NodeBuilder, NodeName, PeerPresence, Profile, Stage, StartError};
use tokio::task::AbortHandle;

use super::actions::Actions;
use super::ledger::{Ledger, Life, LifeEnd, ScenarioEvent};
use super::life::Caller;
use super::records::{Records, forbids};
use super::seen::Tally;
use crate::history::ledger::{CallNumber, LedgerWriter};
use crate::path::{Place, UpgradePath};
use crate::plan::{Leave, Op, Plan, RecordOp, Whom};
use crate::workload::work::carry_out;
use crate::workload::{Functions, taken};

/// The cluster, and what is known of each of its nodes.
pub(super) struct World {
    pub(super) cluster: Arc<TestCluster>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) names: Vec<NodeName>,
    pub(super) train: UpgradePath,
    actions: Actions,
    nodes: Mutex<Vec<Member>>,
    /// What is counted on the way.
    pub(super) tally: Mutex<Tally>,
    /// Where nodes keep a record.
    pub(super) records: Option<Records>,
}

/// A node of the cluster, whether or not it runs.
struct Member {
    /// That of the last start.
    release: Place,
    running: Option<Running>,
    /// The ledger of the start that is being prepared, for the definition of the node to find.
    next: Option<Arc<LedgerWriter>>,
}

struct Running {
    life: Life,
    node: Node,
    caller: Caller,
    tasks: Vec<AbortHandle>,
    /// It is leaving, and starts as this release then, if as any.
    leaving: Option<Option<Place>>,
}

impl World {
    pub(super) fn new(
        cluster: TestCluster,
        ledger: Arc<Ledger>,
        names: Vec<NodeName>,
        plan: &Plan,
        actions: Actions,
    ) -> Arc<Self> {
        let member = || Member { release: Place(0), running: None, next: None };
        let nodes = Mutex::new(names.iter().map(|_| member()).collect());
        let cluster = Arc::new(cluster);
        let records = plan.is_recorded().then(|| Records::new(names.len(), &ledger));
        let (train, tally) = (plan.train.clone(), Mutex::default());
        let world = Arc::new(Self { cluster, ledger, names, train, actions, nodes, tally, records });
        for (number, name) in world.names.iter().enumerate() {
            let of = Arc::downgrade(&world);
            world.cluster.define(name.as_str(), move |builder| match of.upgrade() {
                Some(world) => world.define(number, builder),
                None => builder,
            });
        }
        world
    }

    fn define(&self, number: usize, builder: NodeBuilder) -> NodeBuilder {
        let ledger = self.next_ledger(number);
        let taken = taken(&self.train, builder.profile());
        let builder = taken.iter().fold(builder.limits(limits(number)), |builder, function| {
            let ledger = Arc::clone(&ledger);
            builder.function(function, move |job, argument| carry_out(Arc::clone(&ledger), job, argument))
        });
        let builder = match &self.records {
            Some(records) => records.keep(number, builder),
            None => builder,
        };
        let builder = self.actions.mutate(builder);
        self.actions.define(builder, &self.names[number])
    }

    /// The ledger of the life that is being started.
    pub(super) fn next_ledger(&self, number: usize) -> Arc<LedgerWriter> {
        self.lock()[number].next.take().expect("a node is defined while its start is prepared")
    }

    /// Does one operation, and notes it.
    pub(super) fn apply(self: &Arc<Self>, op: Op) {
        // Before what it brings about.
        let at_us = self.ledger.now_us();
        let done = self.try_apply(op);
        let event = if done { ScenarioEvent::Did(op) } else { ScenarioEvent::Skipped(op, self.why_not(op)) };
        self.ledger.note_at(at_us, event);
    }

    /// `false`: it makes no sense where the cluster stands.
    fn try_apply(self: &Arc<Self>, op: Op) -> bool {
        match op {
            Op::Cast { from, to, work, count } => self.with_caller(from, |caller| {
                let to = self.number(to);
                (0..count.max(1)).for_each(|_| _ = caller.cast(to, work));
            }),
            Op::Kill { call } => self.kill(call),
            Op::KillAll { node } => self.with_caller(node, Caller::kill_all),
            Op::Gather { from } => self.with_caller(from, Caller::gather),
            Op::Act { node, number } => self.act(node, number),
            Op::Pass { .. } | Op::Await | Op::Settle => true,
            Op::Upgrade { node, how } | Op::RollBack { node, how } => self.step(node, how, op),
            Op::Force { node, release } => self.force(node, release),
            Op::Lower { node } => self.set_ceiling(node, true),
            Op::Raise { node } => self.set_ceiling(node, false),
            Op::Crash { node } => self.crash(self.number(node)),
            Op::Start { node } => {
                let node = self.number(node);
                let release = self.lock()[node].release;
                self.start(node, release)
            }
            Op::Stop { node } => self.leave(self.number(node), None),
            Op::Clock { node, seconds } => self.set_clock(node, seconds),
            Op::Heal => {
                self.heal();
                true
            }
            Op::Record(op) => self.record_op(op),
            op => self.disturb(op),
        }
    }

    /// Why an operation was not done, where the cluster stands.
    fn why_not(&self, op: Op) -> String {
        let (node, does) = match op {
            Op::Upgrade { node, .. } | Op::RollBack { node, .. } => return self.why_no_step(self.number(node), op),
            Op::Cast { from: node, .. } | Op::Gather { from: node } => (node, "does not run"),
            Op::KillAll { node } | Op::Crash { node } => (node, "does not run"),
            Op::Stop { node } => (node, "does not run, or leaves already"),
            Op::Act { node, .. } => (node, "does not run, or has no such action"),
            Op::Start { node } => (node, "runs"),
            Op::Force { node, .. } => (node, "runs that release"),
            Op::Clock { node, .. } => (node, "has its clock moved by nothing"),
            Op::Kill { .. } => return "no call is open".to_owned(),
            Op::Lower { .. } | Op::Raise { .. } => return "no phase can move there".to_owned(),
            Op::Record(RecordOp::Forget { .. }) => return "its disk is whole, or it runs".to_owned(),
            Op::Record(RecordOp::Wipe { .. }) => return "the record may be on no other disk".to_owned(),
            Op::Record(_) => return "there is nobody to carry it, or no record".to_owned(),
            _ => return "both ends are one node".to_owned(),
        };
        format!("{} {does}", self.names[self.number(node)])
    }

    fn why_no_step(&self, number: usize, op: Op) -> String {
        let (name, nodes) = (&self.names[number], self.lock());
        let release = |place: Place| self.train.release(place);
        let from = nodes[number].release;
        let Some(to) = op.moves(from).filter(|&to| to <= self.train.last()) else {
            return format!("{name} is at {}, and no release is beyond", release(from));
        };
        let others = nodes.iter().enumerate().filter(|(other, _)| *other != number).map(|of| (of.0, next(of)));
        match { others }.find(|(_, other)| !other.is_near(to)) {
            Some((other, at)) => {
                let (other, at, to) = (&self.names[other], release(at), release(to));
                format!("{other} is at {at}, more than one release from {to}")
            }
            None => format!("{name} does not run, or leaves already, or the record does not let the release run"),
        }
    }

    /// Starts a node, unless it runs.
    pub(super) fn start(self: &Arc<Self>, number: usize, release: Place) -> bool {
        if self.lock()[number].running.is_some() {
            return false;
        }
        let (life, ledger) = self.ledger.begin_life(number, release);
        self.lock()[number].next = Some(Arc::clone(&ledger));
        let forbidden = self.records.as_ref().is_some_and(|records| records.forbid(number, self.release(release)));
        let node = match self.cluster.start(self.names[number].as_str(), self.train.profile(release)) {
            Err(StartError::Barred(..)) if forbidden => {
                self.ledger.bar_life(life);
                return false;
            }
            started => started.unwrap_or_else(|error| panic!("{} did not start: {error}", self.names[number])),
        };
        if forbidden {
            self.unbarred(format!("{} runs {}, which its disk forbids", self.names[number], self.release(release)));
        }
        self.ledger.runs(life, node.incarnation());
        let functions = Functions::called(&self.train, self.train.profile(release));
        let (caller, run) = Caller::new(node.clone(), number, functions, ledger, Arc::clone(&self.ledger.numbers));
        let leaves = Arc::clone(self).leave_once_barred(number, node.clone());
        let tasks = vec![tokio::spawn(run).abort_handle(), tokio::spawn(leaves).abort_handle()];
        let member = &mut self.lock()[number];
        member.release = release;
        member.running = Some(Running { life, node, caller, tasks, leaving: None });
        true
    }

    /// Ends a node as the end of its process would, whatever it was about.
    pub(super) fn crash(&self, number: usize) -> bool {
        self.end(number, LifeEnd::Crashed)
    }

    fn end(&self, number: usize, how: LifeEnd) -> bool {
        let Some(running) = self.lock()[number].running.take() else { return false };
        self.count_late(&running.node);
        // Before the node is gone, so that what it learns of its own end is not news.
        self.ledger.end_life(running.life, how);
        self.cluster.crash(self.names[number].as_str());
        running.tasks.iter().for_each(AbortHandle::abort);
        true
    }

    /// Counts what came to a node too late: it tells so as long as it runs.
    pub(super) fn count_late(&self, node: &Node) {
        let late = node.status().peers.iter().map(|peer| peer.stats.late_payloads).sum::<u64>();
        self.tally().late_payloads += late;
    }

    /// Lets a node leave in good order, and start as `then`, if as any.
    fn leave(self: &Arc<Self>, number: usize, then: Option<Place>) -> bool {
        let (life, node) = {
            let mut nodes = self.lock();
            let Some(running) = nodes[number].running.as_mut().filter(|running| running.leaving.is_none()) else {
                return false;
            };
            running.leaving = Some(then);
            (running.life, running.node.clone())
        };
        self.ledger.asked_to_leave(life);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            node.shutdown(LEAVE_LIMIT).await;
            let still = world.lock()[number].running.as_ref().is_some_and(|running| running.life == life);
            if still {
                world.end(number, LifeEnd::Left);
                if let Some(release) = then {
                    world.start(number, release);
                }
            }
        });
        true
    }

    /// One release on or back, where no other node is further than one release from that.
    fn step(self: &Arc<Self>, node: u8, how: Leave, op: Op) -> bool {
        let number = self.number(node);
        let (from, running, others) = {
            let nodes = self.lock();
            let others: Vec<Place> = nodes.iter().enumerate().filter(|(n, _)| *n != number).map(next).collect();
            let member = &nodes[number];
            (member.release, member.running.as_ref().is_some_and(|running| running.leaving.is_none()), others)
        };
        let to = op.moves(from).filter(|&to| running && to <= self.train.last());
        let Some(to) = to else { return false };
        let admits = |records: &Records| records.admit(number, self.release(to));
        if !others.iter().all(|&other| other.is_near(to)) || !self.records.as_ref().is_none_or(admits) {
            return false;
        }
        self.restart(number, how, to)
    }

    fn restart(self: &Arc<Self>, number: usize, how: Leave, to: Place) -> bool {
        match how {
            Leave::Kill => self.crash(number) && self.start(number, to),
            Leave::Drain => self.leave(number, Some(to)),
        }
    }

    fn force(self: &Arc<Self>, node: u8, release: Place) -> bool {
        let (number, release) = (self.number(node), Place(release.0 % (self.train.last().0 + 1)));
        if self.lock()[number].release == release {
            return false;
        }
        self.crash(number);
        self.start(number, release)
    }

    fn set_ceiling(&self, whom: Whom, lower: bool) -> bool {
        let mut any = false;
        for (number, node, release) in self.running() {
            if whom != Whom::All && !matches!(whom, Whom::One(one) if self.number(one) == number) {
                continue;
            }
            for (migration, stage) in self.train.profile(release).migrations().filter(|(_, stage)| stage.moves()) {
                let rollout = node.rollout_of(migration).expect("it is of the node's train");
                let ceiling = lower.then(|| stage.lowest());
                let set = rollout.set_ceiling(ceiling).is_ok();
                any |= set;
                let phase = rollout.phase();
                if set && ceiling.is_some_and(|ceiling| phase > ceiling) {
                    self.tally().unheeded.push((self.ledger.now(), number, phase));
                }
            }
        }
        any
    }

    /// Lifts every ceiling, as an operator does in the end.
    pub(super) fn raise_all(&self) {
        self.set_ceiling(Whom::All, false);
    }

    fn kill(&self, call: u8) -> bool {
        let found = {
            let mut state = self.ledger.lock();
            let open: Vec<_> = state.open().calls().filter(|(_, call)| call.to.is_some()).collect();
            let place = usize::from(call).checked_rem(open.len());
            place.map(|place| (open[place].0, open[place].1.by))
        };
        found.is_some_and(|(call, by)| self.kill_call(call, by))
    }

    pub(super) fn kill_call(&self, call: CallNumber, by: Life) -> bool {
        let caller = self.callers().find(|(life, _)| *life == by).map(|(_, caller)| caller);
        caller.map(|caller| caller.kill(call)).is_some()
    }

    fn act(&self, node: u8, action: u16) -> bool {
        let number = self.number(node);
        self.run_on(number, |node| self.actions.act(node, action))
    }

    /// Runs something on a node, for as long as it lives.
    pub(super) fn run_on<F>(&self, number: usize, run: impl FnOnce(Node) -> Option<F>) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut nodes = self.lock();
        let Some(running) = nodes[number].running.as_mut() else { return false };
        let Some(acting) = run(running.node.clone()) else { return false };
        running.tasks.push(tokio::spawn(acting).abort_handle());
        true
    }

    /// A process that the record does not let run any more ends, as one does that goes by `Node::barred`.
    async fn leave_once_barred(self: Arc<Self>, number: usize, node: Node) {
        node.barred().await;
        self.leave(number, None);
    }

    fn with_caller(&self, node: u8, call: impl FnOnce(&Caller)) -> bool {
        let caller = self.lock()[self.number(node)].running.as_ref().map(|running| running.caller.clone());
        caller.as_ref().map(call).is_some()
    }

    fn callers(&self) -> impl Iterator<Item = (Life, Caller)> {
        let nodes = self.lock();
        let callers: Vec<_> = nodes.iter().filter_map(|member| member.running.as_ref()).map(Running::caller).collect();
        callers.into_iter()
    }

    /// Who casts as this node now.
    pub(super) fn caller(&self, number: usize) -> Option<Caller> {
        self.lock()[number].running.as_ref().map(|running| running.caller.clone())
    }

    /// The nodes that run, each with its release.
    pub(super) fn running(&self) -> Vec<(usize, Node, Place)> {
        let nodes = self.lock();
        let running = |(number, member): (usize, &Member)| {
            member.running.as_ref().map(|running| (number, running.node.clone(), member.release))
        };
        nodes.iter().enumerate().filter_map(running).collect()
    }

    /// Whether a node is on its way out.
    pub(super) fn any_leaving(&self) -> bool {
        self.lock().iter().any(|member| member.running.as_ref().is_some_and(|running| running.leaving.is_some()))
    }

    /// The releases that the nodes run, or ran last.
    pub(super) fn releases(&self) -> Vec<Place> {
        self.lock().iter().map(|member| member.release).collect()
    }

    pub(super) fn profile(&self, release: Place) -> &Profile {
        self.train.profile(release)
    }

    pub(super) fn release(&self, place: Place) -> Release {
        self.train.release(place)
    }

    /// The place of a release that a record names.
    pub(super) fn place_of(&self, release: Release) -> Place {
        self.train.place(release).expect("operators name releases of the train")
    }

    /// The release that follows in the train, if there is one.
    pub(super) fn release_after(&self, release: Release) -> Option<Release> {
        self.train.places().map(|place| self.release(place)).filter(|after| *after > release).min()
    }

    /// Whether a node runs.
    pub(super) fn runs(&self, number: usize) -> bool {
        self.lock()[number].running.is_some()
    }

    /// Looks at what must hold at any time.
    pub(super) fn inspect(&self) {
        let now = self.ledger.now();
        let running = self.running();
        let seen: Vec<NodeStatus> = running.iter().map(|(_, node, _)| node.status()).collect();
        let connected = |by: &NodeStatus, other: &NodeStatus| {
            let peer = by.peers.iter().find(|peer| peer.name == other.name);
            peer.is_some_and(|peer| peer.presence == PeerPresence::Connected)
        };
        let mut tally = self.tally();
        tally.mixed |= running.windows(2).any(|two| two[0].2 != two[1].2);
        for ((number, node, release), own) in running.iter().zip(&seen) {
            for ((_, stage), rollout) in self.profile(*release).migrations().zip(&own.rollouts) {
                if !stage.allows(rollout.phase) {
                    tally.out_of_bounds.push((now, *number, rollout.phase));
                }
            }
            for ((other, _, theirs), peer) in running.iter().zip(&seen).filter(|((other, ..), _)| other != number) {
                if !connected(own, peer) || !connected(peer, own) {
                    continue;
                }
                // Before there is a record, nobody is kept away by what may become one.
                let bars = |kept: &Kept| kept.record.is_some() && forbids(kept, self.release(*theirs));
                if node.kept().is_some_and(|kept| bars(&kept)) {
                    self.unbarred(format!("{} speaks to {}, which its record bars", own.name, peer.name));
                }
                if !release.is_near(*theirs) && number < other {
                    tally.skewed.push((now, *number, *other));
                }
                let taken =
                    |((_, stage), rollout): ((_, Stage), &RolloutStatus)| stage.takes().contains(rollout.phase.says());
                if !self.profile(*theirs).migrations().zip(&own.rollouts).all(taken) {
                    tally.unhosted.push((now, *number, *other));
                }
            }
        }
    }

    pub(super) fn number(&self, node: u8) -> usize {
        usize::from(node) % self.names.len()
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nothing panics while it holds the tally")
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        self.nodes.lock().expect("nothing panics while it holds the nodes")
    }
}

impl Running {
    fn caller(&self) -> (Life, Caller) {
        (self.life, self.caller.clone())
    }
}

/// The release that a node runs next, as far as is known: where it is leaving to, or where it stands.
fn next((_, member): (usize, &Member)) -> Place {
    let leaving = member.running.as_ref().and_then(|running| running.leaving.flatten());
    leaving.unwrap_or(member.release)
}

/// How long the jobs of a node that leaves may take to end.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// The bounds of a simulated node: the server's own; but every third remembers no kill that met no job, since a bound
/// of zero is one, too.
fn limits(node: usize) -> Limits {
    let defaults = Limits::default();
    Limits { tombstones_max: if node % 3 == 2 { 0 } else { defaults.tombstones_max }, ..defaults }
}

#[cfg(test)]
mod tests;
