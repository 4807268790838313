//! Does a plan on real processes: tells the nodes, waits until they are where the plan wants them, and writes the rows.
//!
//! In: a plan and a [`Cluster`]. Out: a row for each step that began, and what ended the run early, if anything did.
//! The steps are the plan's operations, between the start and the end of the cluster. A load runs alongside, and on for
//! a while after most. What the end of a run means for its verdict is left to `rehearsal.rs`.

mod operated;

use std::time::Duration;

use rexi_proto::{Profile, Release};
use thiserror::Error;
use tokio::time::Instant;

use crate::history::ledger::now_us;
use crate::path::{Phases, Place};
use crate::plan::{Leave, Op, Plan, Whom};
use crate::rehearse::cluster::{Cluster, ClusterError, NodeState};
use crate::rehearse::control::Command;
use crate::rehearse::evidence::Judge;
use crate::rehearse::operate::Operating;
use crate::rehearse::pace::Allowance;
use crate::rehearse::progress::Progress;
use crate::rehearse::report::{KILL_NINE, StepRow};
use crate::rehearse::soak::{Soak, Soaking};
use crate::rehearse::workload::Clients;
use crate::screen::per_second;

/// What ended a run before its time.
#[derive(Debug, Error)]
pub(crate) enum Halt {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{node} refused the ceiling {ceiling}: {error}")]
    CeilingRefused { node: String, ceiling: String, error: String },
    #[error("a rehearsal cannot do {op:?}")]
    Impossible { op: String },
    #[error("the cluster did not come to rest: {who}")]
    NotSettled { who: String },
    #[error("interrupted by {signal}")]
    Interrupted { signal: &'static str },
    #[error("the run took more than {} s, several times what its plan should take", limit.as_secs())]
    TooLong { limit: Duration },
    #[error("the judge failed: {error}")]
    Judge { error: String },
    #[error("{why}")]
    Operation { why: String },
}

/// What a run does, one after the other, with a row for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Every node starts as the plan's first release, and the load with them.
    Start,
    /// An operation of the plan.
    Do(Op),
    /// The load runs on for so many seconds, while one fault follows another.
    Soak(u64),
    /// The load stops, what is under way ends, every node leaves.
    Finish,
}

impl Step {
    /// The steps of a plan.
    pub(crate) fn of(plan: &Plan, soak: Option<&Soak>) -> Vec<Self> {
        let ops = plan.ops.iter().copied().map(Self::Do);
        let soak = soak.map(|soak| Self::Soak(soak.lasts.as_secs()));
        std::iter::once(Self::Start).chain(ops).chain(soak).chain([Self::Finish]).collect()
    }
}

/// A run under way.
pub(crate) struct Run {
    /// What it does.
    pub(super) plan: Plan,
    /// What each node runs, or ran last.
    at: Vec<Place>,
    /// The nodes.
    pub(crate) cluster: Cluster,
    /// The clients of the service that is rehearsed, if one is.
    pub(crate) clients: Option<Box<dyn Clients>>,
    /// Where the run is shown.
    pub(crate) progress: Progress,
    /// How long the load runs on after each step.
    pub(crate) dwell: Duration,
    /// Casts a second that all nodes together are asked for.
    pub(super) rate: u32,
    /// Who judges its ledgers.
    pub(super) judge: Judge,
    /// Its soak, if it has one.
    pub(super) soaking: Option<Soaking>,
    /// Its operators, if its nodes keep a record.
    pub(super) operating: Option<Operating>,
    /// A row for each step that began.
    pub(crate) rows: Vec<StepRow>,
    /// Whether a step other than the start has begun: from then on, what fails is the upgrade.
    pub(crate) upgrading: bool,
}

impl Run {
    /// A run that has not begun.
    pub(crate) fn new(
        plan: Plan,
        cluster: Cluster,
        clients: Option<Box<dyn Clients>>,
        progress: Progress,
        (dwell, rate): (Duration, u32),
        judge: Judge,
    ) -> Self {
        let (at, rows, soaking, operating) = (vec![plan.first(); plan.nodes.into()], Vec::new(), None, None);
        Self { plan, at, cluster, clients, progress, dwell, rate, judge, soaking, operating, rows, upgrading: false }
    }

    /// The step under way was broken off from outside.
    pub(crate) fn break_off(&mut self, halt: &Halt) {
        if let Some(row) = self.rows.last_mut().filter(|row| row.error.is_none()) {
            row.ended_us = now_us();
            row.error = Some(text_of(halt));
        }
    }

    /// Does all steps, one after the other. Where it is cancelled, the step under way has to be broken off.
    pub(crate) async fn steps(&mut self, steps: &[Step]) -> Result<(), Halt> {
        for &step in steps {
            let before = self.cluster.totals();
            self.rows.push(self.row(step, before.in_flight));
            let row = self.rows.len() - 1;
            self.progress.begin(&self.rows[row], steps.len(), &self.cluster);
            self.upgrading |= matches!(step, Step::Do(op) if op.is_step());
            let begun = Instant::now();
            let done = self.step(step).await;
            let casts = self.cluster.totals().casts.saturating_sub(before.casts);
            let row = &mut self.rows[row];
            row.ended_us = now_us();
            row.casts_per_s = (begun.elapsed() >= RATE_WINDOW_MIN).then(|| per_second(casts, begun.elapsed()));
            match &done {
                Ok(ready) => row.ready_ms = ready.map(|time| time.as_millis().try_into().unwrap_or(u64::MAX)),
                Err(halt) => row.error = Some(text_of(halt)),
            }
            self.progress.end(row, &self.cluster);
            done?;
        }
        Ok(())
    }

    /// Does a step; tells how long the nodes took to be where it wants them, where that can be said.
    async fn step(&mut self, step: Step) -> Result<Option<Duration>, Halt> {
        match step {
            Step::Start => self.start_all().await.map(Some),
            Step::Do(op) => self.act(op).await.map(Some),
            Step::Soak(_) => self.soak().await.map(|()| None),
            Step::Finish => self.finish().await.map(|()| None),
        }
    }

    async fn act(&mut self, op: Op) -> Result<Duration, Halt> {
        if let Some(Restart { node, to, how }) = self.restart_by(op) {
            self.let_in(self.plan.train.release(to)).await?;
            return self.start_again(node, to, how).await;
        }
        let (lowest, highest) = (Phases::lowest(self.profile()), Phases::highest(self.profile()));
        match op {
            Op::Await => self.reach(&highest).await,
            Op::Lower { node: Whom::All } => self.flip(true, &lowest).await,
            Op::Raise { node: Whom::All } => self.flip(false, &highest).await,
            Op::Settle => self.settle().await,
            _ => Err(Halt::Impossible { op: op.to_string() }),
        }
    }

    /// What an operation restarts, if it does; a release that the train does not have is none.
    fn restart_by(&self, op: Op) -> Option<Restart> {
        let (Op::Upgrade { node, how } | Op::RollBack { node, how }) = op else { return None };
        let node = usize::from(node);
        let to = op.moves(*self.at.get(node)?).filter(|&to| to <= self.plan.train.last())?;
        Some(Restart { node, to, how })
    }

    /// What a node runs, or ran last.
    pub(super) fn release_of(&self, node: usize) -> Release {
        self.plan.train.release(self.at[node])
    }

    /// What the nodes may do: all run the same release wherever a plan waits for a phase or flips it.
    fn profile(&self) -> &Profile {
        self.plan.train.profile(self.at[0])
    }

    async fn start_all(&mut self) -> Result<Duration, Halt> {
        let begun = Instant::now();
        for (node, &at) in self.at.iter().enumerate() {
            self.cluster.start(node, self.plan.train.release(at))?;
        }
        self.begin_record().await?;
        self.all("ready", READY_LIMIT, |state| state.ready).await?;
        let ready = begun.elapsed();
        self.load().await?;
        self.dwell().await?;
        Ok(ready)
    }

    /// Turns the load on.
    pub(super) async fn load(&mut self) -> Result<(), Halt> {
        self.cluster.tell_all(&Command::Load { on: true }).await?;
        self.clients.iter_mut().for_each(|clients| clients.resume());
        Ok(())
    }

    async fn start_again(&mut self, node: usize, to: Place, how: Leave) -> Result<Duration, Halt> {
        match how {
            Leave::Kill => self.cluster.kill(node).await?,
            Leave::Drain => {
                self.cluster.tell(node, &drain()).await?;
                self.one(node, "drained", DRAIN_LIMIT, |state| !state.running).await?;
            }
        }
        let release = self.plan.train.release(to);
        let damage = self.damage(node, release).await?;
        let begun = Instant::now();
        self.cluster.start(node, release)?;
        self.at[node] = to;
        self.one(node, "ready", READY_LIMIT, |state| state.ready).await?;
        let ready = begun.elapsed();
        self.heal(node, damage).await?;
        self.cluster.tell(node, &Command::Load { on: true }).await?;
        self.dwell().await?;
        Ok(ready)
    }

    async fn reach(&mut self, phases: &Phases) -> Result<Duration, Halt> {
        let begun = Instant::now();
        let goal = format!("at phase {phases}");
        self.all(&goal, PHASE_LIMIT, |state| state.phases == *phases).await?;
        Ok(begun.elapsed())
    }

    async fn flip(&mut self, low: bool, reach: &Phases) -> Result<Duration, Halt> {
        let begun = Instant::now();
        self.cluster.tell_all(&Command::Ceiling { low }).await?;
        self.all("finished with the ceiling", PHASE_LIMIT, |state| state.ceiling.is_some()).await?;
        for (node, state) in self.cluster.states().enumerate() {
            if let Some(Err(error)) = &state.ceiling {
                let ceiling = if low { reach.to_string() } else { "none".to_owned() };
                let node = self.cluster.name(node).to_owned();
                return Err(Halt::CeilingRefused { node, ceiling, error: error.clone() });
            }
        }
        self.reach(reach).await?;
        let reached = begun.elapsed();
        self.dwell().await?;
        Ok(reached)
    }

    async fn settle(&mut self) -> Result<Duration, Halt> {
        let begun = Instant::now();
        let restless = self.quiesce().await?;
        if !restless.is_empty() {
            return Err(Halt::NotSettled { who: restless.join("; ") });
        }
        self.load().await?;
        Ok(begun.elapsed())
    }

    async fn finish(&mut self) -> Result<(), Halt> {
        self.close_way_back().await?;
        self.verify_trails().await?;
        if let Some(clients) = &mut self.clients {
            clients.finish().await;
        }
        // Not coming to rest is not a failure here: what did not end is in the ledgers, and the judge names it.
        for restless in self.quiesce().await? {
            self.progress.note(&restless);
        }
        self.cluster.tell_all(&drain()).await?;
        self.all("drained", DRAIN_LIMIT, |state| !state.running).await
    }

    /// Stops the load and waits until every call and job has ended; says of each node where they have not.
    pub(super) async fn quiesce(&mut self) -> Result<Vec<String>, Halt> {
        if let Some(clients) = &mut self.clients {
            clients.pause().await;
        }
        self.cluster.tell_all(&Command::Load { on: false }).await?;
        self.cluster.tell_all(&Command::Quiesce).await?;
        let progress = &mut self.progress;
        self.cluster
            .wait_until(QUIET_LIMIT, |cluster| {
                progress.show(cluster);
                cluster.states().all(|state| state.quiet.is_some())
            })
            .await?;
        let restless = |(node, state): (usize, &NodeState)| {
            let name = self.cluster.name(node);
            match state.quiet {
                Some((0, 0)) if state.stats.timed_out == 0 => None,
                Some((0, 0)) => Some(format!("{name} got no answer to {} calls", state.stats.timed_out)),
                Some((calls, jobs)) => Some(format!("{name} still has {calls} calls and {jobs} jobs")),
                None => Some(format!("{name} was not quiet within {} s", QUIET_LIMIT.as_secs())),
            }
        };
        Ok(self.cluster.states().enumerate().filter_map(restless).collect())
    }

    /// Lets the load run on, for longer where the machine gives it little; what happens to a node meanwhile ends it.
    async fn dwell(&mut self) -> Result<(), Halt> {
        let progress = &mut self.progress;
        let shown = |cluster: &Cluster| {
            progress.show(cluster);
            false
        };
        let mut allowance = Allowance::new(self.dwell).stretched_at_most(DWELL_STRETCH_MAX);
        self.cluster.wait_within(&mut allowance, shown).await?;
        Ok(())
    }

    pub(super) async fn all(
        &mut self,
        goal: &str,
        limit: Duration,
        there: impl Fn(&NodeState) -> bool,
    ) -> Result<(), Halt> {
        let progress = &mut self.progress;
        let done = |cluster: &Cluster| {
            progress.show(cluster);
            cluster.states().all(&there)
        };
        let begun = Instant::now();
        if self.cluster.wait_until(limit, done).await? {
            return Ok(());
        }
        Err(self.cluster.timed_out(goal, limit, begun.elapsed(), |_, state| !there(state)).into())
    }

    pub(super) async fn one(
        &mut self,
        node: usize,
        goal: &str,
        limit: Duration,
        there: impl Fn(&NodeState) -> bool,
    ) -> Result<(), Halt> {
        let progress = &mut self.progress;
        let done = |cluster: &Cluster| {
            progress.show(cluster);
            there(cluster.state(node))
        };
        let begun = Instant::now();
        if self.cluster.wait_until(limit, done).await? {
            return Ok(());
        }
        Err(self.cluster.timed_out(goal, limit, begun.elapsed(), |who, _| who == node).into())
    }

    fn row(&self, step: Step, in_flight: u64) -> StepRow {
        let how = match step {
            Step::Start => "start".to_owned(),
            Step::Do(Op::Upgrade { how, .. } | Op::RollBack { how, .. }) => match how {
                Leave::Drain => "drain".to_owned(),
                Leave::Kill => KILL_NINE.to_owned(),
            },
            Step::Do(Op::Await) => format!("await {}", Phases::highest(self.profile())),
            Step::Do(Op::Lower { .. }) => format!("ceiling {}", Phases::lowest(self.profile())),
            Step::Do(Op::Raise { .. }) => "ceiling none".to_owned(),
            Step::Do(op) => op.to_string(),
            Step::Soak(seconds) => format!("soak {seconds} s"),
            Step::Finish => "quiesce, drain".to_owned(),
        };
        let restart = if let Step::Do(op) = step { self.restart_by(op) } else { None };
        let release = |place| self.plan.train.release(place);
        let starts = (step == Step::Start).then(|| self.plan.first());
        let started_us = now_us();
        StepRow {
            number: self.rows.len() + 1,
            node: restart.as_ref().map_or("all", |restart| self.cluster.name(restart.node)).to_owned(),
            from: restart.as_ref().map(|restart| release(self.at[restart.node])),
            to: restart.as_ref().map(|restart| restart.to).or(starts).map(release),
            how,
            started_us,
            ended_us: started_us,
            ready_ms: None,
            casts_per_s: None,
            in_flight,
            error: None,
        }
    }
}

/// A node that is stopped and starts as another release.
struct Restart {
    node: usize,
    to: Place,
    how: Leave,
}

fn drain() -> Command {
    Command::Drain { deadline_ms: DRAIN_DEADLINE_MS }
}

/// An error and what it came from, on one line.
pub(crate) fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// How long a started node may take to be connected with every member.
pub const READY_LIMIT: Duration = Duration::from_secs(20);

/// How long the nodes may take to agree on a phase, or to answer for a ceiling.
pub const PHASE_LIMIT: Duration = Duration::from_secs(20);

/// How long the calls and jobs under way may take to end once the load is off.
pub const QUIET_LIMIT: Duration = Duration::from_secs(35);

/// How long a node that leaves may take to end its jobs, in milliseconds.
pub const DRAIN_DEADLINE_MS: u64 = 10_000;

/// How long it may take to be gone: its own calls learn of their ends, then the deadline, and half as long again.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(40);

/// By how many times the dwell is stretched at most.
const DWELL_STRETCH_MAX: u32 = 1;

/// The shortest step whose casts a second are told: the counters come every 200 ms.
const RATE_WINDOW_MIN: Duration = Duration::from_millis(500);
