//! Runs a plan: real nodes on a network in memory, in virtual time, in this thread; and what a test adds to it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rexi_server::testing::{TestCluster, TestMembers};
use rexi_server::{Node, NodeBuilder, NodeName, Release};

use super::actions::Actions;
use super::ledger::{Ledger, ScenarioEvent};
use super::outcome::{Outcome, SentDatagram, Shows};
use super::verdict::Scenario;
use super::world::World;
use super::{plaintext, seeded_tls, settle};
use crate::history::judge::judge;
use crate::name::node_name;
use crate::plan::{NODES, Op, Plan};
use crate::verdict::case::Witness;

/// How connections are secured in a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not at all, at no cost: packets are as long, and certificates are shown.
    #[default]
    Plain,
    /// TLS 1.3 with keys and random numbers from the plan's seed.
    Real,
}

/// How plans are run, and what a test adds: its functions, its actions, its invariant. Cheap to clone.
///
/// ```
/// use rexi_migrate::demo;
/// use rexi_migrate::plan::Plan;
/// use rexi_migrate::simulate::Simulation;
///
/// let text = "nodes 3 start 1.2 seed 7; cast n1 n2 hold 1; pass 20; lower all; pass 5; kill 0";
/// let plan = Plan::parse(text, &demo::path())?;
/// let outcome = Simulation::new().run(&plan);
/// assert!(outcome.is_safe(), "{outcome}");
/// # Ok::<(), rexi_migrate::plan::PlanError>(())
/// ```
#[derive(Clone, Default)]
pub struct Simulation {
    tls: Tls,
    record: bool,
    actions: Actions,
    each: Option<Arc<dyn Fn(Self) -> Self + Send + Sync>>,
}

impl Simulation {
    /// Nodes that have no functions but the simulation's own, without TLS.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to each run by itself what the runs must not share, such as what their nodes keep over a crash.
    #[must_use]
    pub fn each(mut self, add: impl Fn(Self) -> Self + Send + Sync + 'static) -> Self {
        self.each = Some(Arc::new(add));
        self
    }

    /// How connections are secured. Default: [`Tls::Plain`].
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// Records every datagram, for [`Outcome::differs`] to compare. Costs a tenth of the time of a run.
    #[must_use]
    pub fn record_datagrams(self) -> Self {
        Self { record: true, ..self }
    }

    /// Adds to the description of each node at each of its starts, as the release that it starts as: its functions,
    /// above all. The caller of this keeps what has to survive a crash, by the node's name; what must not survive
    /// belongs in the functions' own state. What the release does not have is left out, so code of the newest release
    /// may define all of them; where an old release's code is to run beside the new, the release says which.
    #[must_use]
    pub fn define<D>(mut self, define: D) -> Self
    where
        D: Fn(NodeBuilder, &NodeName, Release) -> NodeBuilder + Send + Sync + 'static,
    {
        self.actions.define = Some(Arc::new(define));
        self
    }

    /// What [`Op::Act`] does on a node: a request of a client to it, say. It runs alongside the plan, and is dropped
    /// where it is when the node crashes, leaves or the scenario ends.
    #[must_use]
    pub fn act<F, Fut>(mut self, act: F) -> Self
    where
        F: Fn(Node, u16) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.actions.act = Some(Arc::new(move |node, number| Box::pin(act(node, number))));
        self
    }

    /// An invariant of the test's own, asked once all faults have stopped, every node runs and nothing is in flight. An
    /// error is what [`Outcome::own`] says then.
    #[must_use]
    pub fn check<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(Arc<TestCluster>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.actions.check = Some(Arc::new(move |cluster| Box::pin(check(cluster))));
        self
    }

    /// Breaks the protocol of every node on purpose, to show that it is noticed.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn mutants(mut self, mutants: rexi_server::Mutants) -> Self {
        self.actions.mutants = mutants;
        self
    }

    /// Runs a plan to its end and judges it: the same plan, the same outcome. Takes milliseconds, in which minutes may
    /// pass for the nodes.
    ///
    /// # Panics
    /// Within a tokio runtime, since it starts one; where the plan's number of nodes is not within [`NODES`]; where a
    /// definition of a node is not in order, or the test's own code panics.
    pub fn run(&self, plan: &Plan) -> Outcome {
        let started = std::time::Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without IO needs nothing of the system");
        let this = match &self.each {
            Some(add) => &add(Self { each: None, ..self.clone() }),
            None => self,
        };
        let outcome = runtime.block_on(this.play(plan));
        Outcome { took: started.elapsed(), ..outcome }
    }

    async fn play(&self, plan: &Plan) -> Outcome {
        let members = members(plan.nodes);
        let cluster = TestCluster::of(members, plan.seed);
        match self.tls {
            Tls::Plain => cluster.secure(|identity| Ok(plaintext::crypto(identity))),
            Tls::Real => {
                seeded_tls::seed(plan.seed);
                cluster.secure(seeded_tls::crypto);
            }
        }
        let ledger = Arc::new(Ledger::new());
        let datagrams = self.record.then(|| watch(&cluster, members, &ledger));
        let names = members.names().cloned().collect();
        let world = World::new(cluster, Arc::clone(&ledger), names, plan, self.actions.clone());
        for node in 0..usize::from(plan.nodes) {
            world.start(node, plan.first());
        }
        world.cluster.ready().await;
        for &op in &plan.ops {
            world.apply(op);
            match op {
                Op::Pass { ms } => tokio::time::sleep(Duration::from_millis(ms.into())).await,
                Op::Await => settle::risen(&world).await,
                Op::Settle => settle::calm(&world).await,
                _ => {}
            }
            world.inspect();
        }
        let settled = settle::settle(&world).await;
        let own = match &self.actions.check {
            Some(check) => check(Arc::clone(&world.cluster)).await.err(),
            None => None,
        };
        world.running().iter().for_each(|(_, node, _)| world.count_late(node));
        let now = ledger.now();
        let (evidence, events) = (ledger.evidence(&world.names, &plan.train), ledger.events());
        let (judged, tally) = (judge(&evidence), world.tally());
        let history = world.records.as_ref().map(|records| records.lock().clone()).unwrap_or_default();
        let scenario = Scenario {
            evidence: &evidence,
            events: &events,
            tally: &tally,
            settled: &settled,
            history: &history,
            train: &plan.train,
            now,
        };
        let shown = scenario.breaches(&judged);
        let shows = shown.first().map_or(Shows { at: now, call: None }, |first| first.shows);
        let met = judged.witnesses.iter().map(|row| (row.witness, row.count));
        let barred = events.iter().filter(|(_, event)| matches!(event, ScenarioEvent::Barred { .. })).count();
        let seen = [(Witness::LatePayload, tally.late_payloads), (Witness::StartBarred, barred as u64)];
        Outcome {
            plan: plan.clone(),
            breaches: shown.into_iter().map(|shown| shown.breach).collect(),
            own,
            shows,
            met: met.chain(seen).chain(history.met()).collect(),
            calls: judged.counts.casts + judged.counts.gathers,
            mixed: tally.mixed,
            passed: now,
            took: Duration::ZERO,
            events,
            datagrams: datagrams.map(|all| std::mem::take(&mut *lock(&all))).unwrap_or_default(),
        }
    }
}

/// Notes each datagram.
fn watch(cluster: &TestCluster, members: &'static TestMembers, ledger: &Arc<Ledger>) -> Arc<Mutex<Vec<SentDatagram>>> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let (into, ledger) = (Arc::clone(&all), Arc::clone(ledger));
    let number = |address| members.names().position(|name| Some(name) == members.at(address));
    cluster.observe(move |seen| {
        let at = ledger.now();
        let (from, to) = (number(seen.from), number(seen.to));
        let arrives = seen.arrives.map(|arrives| at + (arrives - seen.at));
        lock(&into).push(SentDatagram { at, from, to, bytes: seen.bytes.len(), hash: hash(seen.bytes), arrives });
    });
    all
}

fn lock(all: &Mutex<Vec<SentDatagram>>) -> std::sync::MutexGuard<'_, Vec<SentDatagram>> {
    all.lock().expect("nothing panics while it holds the datagrams")
}

/// FNV-1a, eight bytes at once.
fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
    })
}

/// The members of clusters of this many nodes, made once a process.
fn members(nodes: u8) -> &'static TestMembers {
    static MEMBERS: [OnceLock<TestMembers>; *NODES.end() as usize + 1] = [const { OnceLock::new() }; _];
    assert!(NODES.contains(&nodes), "a scenario has {} to {} nodes, not {nodes}", NODES.start(), NODES.end());
    let names: Vec<String> = (0..nodes).map(node_name).collect();
    MEMBERS[usize::from(nodes)].get_or_init(|| TestMembers::new(names.iter().map(String::as_str)))
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("tls", &self.tls).field("record", &self.record).finish_non_exhaustive()
    }
}
