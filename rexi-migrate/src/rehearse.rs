//! A rehearsal: runs a plan over real node processes, has their ledgers judged, and reports.
//!
//! In: the options of the command line and a judge. Out: a [`Report`], whatever happens on the way; an error only where
//! nothing could be started. A step that does not go through ends the run with what stood in the way. However it ends,
//! by a signal too, no node process is left. Which steps there are is `train.rs`'s, what a breach is the judge's.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rexi_proto::Phase;
use thiserror::Error;
use tokio::time::Instant;

use crate::cluster::{Cluster, ClusterError, Life, NodeState};
use crate::control::Command;
use crate::host::{Directory, Signals};
use crate::ledger::now_us;
use crate::process::Setup;
use crate::progress::{Progress, per_second};
use crate::report::{Counts, FORMAT_VERSION, Judged, Report, StepRow, Verdict};
use crate::train::{Release, Step, Stop, Train, plan};

/// What to rehearse, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes: [`NODES_MIN`] to [`NODES_MAX`].
    pub nodes: usize,
    /// Casts a second, of all nodes together: 1 to [`RATE_MAX`].
    pub rate: u32,
    /// Seed of plan and load.
    pub seed: u64,
    /// The releases to go through.
    pub train: Train,
    /// Share of the restarts that are a `kill -9`, 0 to 1.
    pub kill_share: f64,
    /// How long the load runs on after each step.
    pub dwell: Duration,
    /// The executable of a node.
    pub program: PathBuf,
    /// Other executables, by release.
    pub programs: BTreeMap<Release, PathBuf>,
    /// Where logs and ledgers lie and stay; else in a temporary directory that stays only after a failure.
    pub keep: Option<PathBuf>,
    /// The command line that repeats the run, for the report.
    pub command: String,
}

/// Why a rehearsal could not begin. Nothing was started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RehearsalError {
    /// The directory for logs and ledgers cannot be used. Who named it is at fault.
    #[error("cannot keep the run in {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The environment gives no directory, signals or certificates.
    #[error("cannot {what}: {source}")]
    Environment {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The environment gives no ports.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// All that a judge needs to know of a run that reached its end.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Every process with its ledger.
    pub lives: Vec<Life>,
    /// Every step, with its beginning and end on the wall clock that the nodes share.
    pub steps: Vec<StepRow>,
}

/// What ended a run before its time.
#[derive(Debug, Error)]
enum Halt {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{node} refused the ceiling {ceiling}: {error}")]
    CeilingRefused { node: String, ceiling: String, error: String },
    #[error("interrupted by {signal}")]
    Interrupted { signal: &'static str },
}

/// Makes the certificates of a cluster's nodes, once, before the first one starts.
///
/// A seam: the development authority of rexi-server takes its place.
///
/// # Errors
/// Where they cannot be written to `dir`.
pub fn prepare_identities(_dir: &Path, _names: &[String]) -> io::Result<()> {
    Ok(())
}

/// Judges a run by the ledgers of its processes.
///
/// A seam: `judge.rs` takes its place. Without it nothing can be told.
pub fn judge(evidence: &Evidence) -> Judged {
    Judged {
        verdict: Verdict::CouldNotTell,
        findings: vec![format!("this build has no judge for the {} ledgers", evidence.lives.len())],
        totals: Counts::default(),
        witnesses: Vec::new(),
        steps: Vec::new(),
    }
}

/// Rehearses `options`, has the ledgers judged by `judge`, and shows it on `progress`.
///
/// Takes about 1.5 s a restart beside the dwell. SIGINT, SIGTERM and SIGHUP end it early, with a report. Cancelling it
/// kills the nodes.
///
/// # Errors
/// [`RehearsalError`] where nothing could be started.
pub async fn rehearse(
    options: &Options,
    judge: impl FnOnce(&Evidence) -> Judged + Send + 'static,
    progress: Progress,
) -> Result<Report, RehearsalError> {
    let mut signals = Signals::new().map_err(environment("listen for signals"))?;
    let directory = match &options.keep {
        Some(path) => {
            Directory::named(path).map_err(|source| RehearsalError::Directory { path: path.clone(), source })?
        }
        None => Directory::temporary().map_err(environment("make a temporary directory"))?,
    };
    let setup = Setup {
        nodes: options.nodes,
        dir: directory.path().to_owned(),
        program: options.program.clone(),
        programs: options.programs.clone(),
        rate: options.rate,
        seed: options.seed,
    };
    prepare_identities(directory.path(), &setup.names()).map_err(environment("make certificates"))?;
    let steps = plan(&options.train, options.nodes, options.seed, options.kill_share);
    let mut run = Run {
        cluster: Cluster::new(setup)?,
        progress,
        dwell: options.dwell,
        planned: steps.len(),
        rows: Vec::new(),
        upgrading: false,
    };
    let begun = Instant::now();
    run.progress.note(&format!("seed {}; the same again: {}", options.seed, options.command));
    let ended = tokio::select! {
        biased;
        signal = signals.next() => Err(Halt::Interrupted { signal }),
        ended = run.steps(&steps) => ended,
    };
    // Whatever happened: no node is left.
    run.cluster.shut_down().await;
    let ended = match ended {
        Ok(()) => run.judged(judge, &mut signals).await,
        Err(halt) => Err(halt),
    };
    run.progress.clear();
    let interrupted = matches!(ended, Err(Halt::Interrupted { .. }));
    let report = run.report(options, begun.elapsed(), ended);
    if report.verdict != Verdict::Safe && !interrupted {
        run.progress.note(&format!("logs and ledgers: {}", directory.keep().display()));
    }
    Ok(report)
}

fn environment(what: &'static str) -> impl FnOnce(io::Error) -> RehearsalError {
    move |source| RehearsalError::Environment { what, source }
}

#[derive(Debug)]
struct Run {
    cluster: Cluster,
    progress: Progress,
    dwell: Duration,
    planned: usize,
    rows: Vec<StepRow>,
    /// Whether a step other than the start has begun: from then on, what fails is the upgrade.
    upgrading: bool,
}

impl Run {
    async fn steps(&mut self, steps: &[Step]) -> Result<(), Halt> {
        for step in steps {
            let before = self.cluster.totals();
            self.rows.push(self.row(step, before.in_flight));
            let row = self.rows.len() - 1;
            self.progress.begin(&self.rows[row], self.planned);
            self.upgrading |= matches!(step, Step::Restart { .. } | Step::Ceiling { .. });
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
    async fn step(&mut self, step: &Step) -> Result<Option<Duration>, Halt> {
        match step {
            Step::StartAll { release } => self.start_all(release).await.map(Some),
            Step::Restart { node, to, how, .. } => self.restart(*node, to, *how).await.map(Some),
            Step::AwaitPhase { phase } => self.reach(*phase).await.map(Some),
            Step::Ceiling { ceiling, reach } => self.flip(*ceiling, *reach).await.map(Some),
            Step::Finish => self.finish().await.map(|()| None),
        }
    }

    async fn start_all(&mut self, release: &Release) -> Result<Duration, Halt> {
        let begun = Instant::now();
        for node in 0..self.cluster.states().count() {
            self.cluster.start(node, release)?;
        }
        self.all("ready", READY_LIMIT, |state| state.ready).await?;
        let ready = begun.elapsed();
        self.cluster.tell_all(&Command::Load { on: true }).await?;
        self.dwell().await?;
        Ok(ready)
    }

    async fn restart(&mut self, node: usize, to: &Release, how: Stop) -> Result<Duration, Halt> {
        match how {
            Stop::Kill => self.cluster.kill(node).await?,
            Stop::Drain => {
                self.cluster.tell(node, &drain()).await?;
                self.one(node, "drained", DRAIN_LIMIT, |state| !state.running).await?;
            }
        }
        let begun = Instant::now();
        self.cluster.start(node, to)?;
        self.one(node, "ready", READY_LIMIT, |state| state.ready).await?;
        let ready = begun.elapsed();
        self.cluster.tell(node, &Command::Load { on: true }).await?;
        self.dwell().await?;
        Ok(ready)
    }

    async fn reach(&mut self, phase: Phase) -> Result<Duration, Halt> {
        let begun = Instant::now();
        self.all(&format!("at phase {phase}"), PHASE_LIMIT, |state| state.phase == Some(phase)).await?;
        Ok(begun.elapsed())
    }

    async fn flip(&mut self, ceiling: Option<Phase>, reach: Phase) -> Result<Duration, Halt> {
        let begun = Instant::now();
        self.cluster.tell_all(&Command::Ceiling { phase: ceiling }).await?;
        self.all("done with the ceiling", PHASE_LIMIT, |state| state.ceiling.is_some()).await?;
        for (node, state) in self.cluster.states().enumerate() {
            if let Some(Err(error)) = &state.ceiling {
                let ceiling = ceiling.map_or_else(|| "none".to_owned(), |phase| phase.to_string());
                let node = self.cluster.name(node).to_owned();
                return Err(Halt::CeilingRefused { node, ceiling, error: error.clone() });
            }
        }
        self.reach(reach).await?;
        let reached = begun.elapsed();
        self.dwell().await?;
        Ok(reached)
    }

    async fn finish(&mut self) -> Result<(), Halt> {
        self.cluster.tell_all(&Command::Load { on: false }).await?;
        self.cluster.tell_all(&Command::Quiesce).await?;
        let progress = &mut self.progress;
        // Not reaching it is no failure here: what did not end is in the ledgers, and the judge's to name.
        self.cluster
            .wait_until(QUIET_LIMIT, |cluster| {
                progress.show(cluster);
                cluster.states().all(|state| state.quiet.is_some())
            })
            .await?;
        for (node, state) in self.cluster.states().enumerate() {
            let name = self.cluster.name(node);
            match state.quiet {
                Some((0, 0)) => {}
                Some((calls, jobs)) => self.progress.note(&format!("{name} still has {calls} calls and {jobs} jobs")),
                None => self.progress.note(&format!("{name} is not quiet within {} s", QUIET_LIMIT.as_secs())),
            }
        }
        self.cluster.tell_all(&drain()).await?;
        self.all("drained", DRAIN_LIMIT, |state| !state.running).await
    }

    /// Lets the load run on; what happens to a node meanwhile ends it.
    async fn dwell(&mut self) -> Result<(), Halt> {
        let progress = &mut self.progress;
        let shown = |cluster: &Cluster| {
            progress.show(cluster);
            false
        };
        self.cluster.wait_until(self.dwell, shown).await?;
        Ok(())
    }

    async fn all(&mut self, goal: &str, limit: Duration, there: impl Fn(&NodeState) -> bool) -> Result<(), Halt> {
        let progress = &mut self.progress;
        let done = |cluster: &Cluster| {
            progress.show(cluster);
            cluster.states().all(&there)
        };
        if self.cluster.wait_until(limit, done).await? {
            return Ok(());
        }
        Err(self.cluster.timed_out(goal, limit, |_, state| !there(state)).into())
    }

    async fn one(
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
        if self.cluster.wait_until(limit, done).await? {
            return Ok(());
        }
        Err(self.cluster.timed_out(goal, limit, |who, _| who == node).into())
    }

    fn row(&self, step: &Step, in_flight: u64) -> StepRow {
        let (node, from, to, how) = match step {
            Step::StartAll { release } => (None, None, Some(release.clone()), "start".to_owned()),
            Step::Restart { node, from, to, how } => {
                (Some(*node), Some(from.clone()), Some(to.clone()), how.to_string())
            }
            Step::AwaitPhase { phase } => (None, None, None, format!("await {phase}")),
            Step::Ceiling { ceiling: Some(phase), .. } => (None, None, None, format!("ceiling {phase}")),
            Step::Ceiling { ceiling: None, .. } => (None, None, None, "ceiling none".to_owned()),
            Step::Finish => (None, None, None, "quiesce, drain".to_owned()),
        };
        let started_us = now_us();
        StepRow {
            number: self.rows.len() + 1,
            node: node.map_or("all", |node| self.cluster.name(node)).to_owned(),
            from,
            to,
            how,
            started_us,
            ended_us: started_us,
            ready_ms: None,
            casts_per_s: None,
            in_flight,
            error: None,
        }
    }

    async fn judged(
        &self,
        judge: impl FnOnce(&Evidence) -> Judged + Send + 'static,
        signals: &mut Signals,
    ) -> Result<Judged, Halt> {
        let evidence = Evidence { lives: self.cluster.lives().to_vec(), steps: self.rows.clone() };
        let judging = tokio::task::spawn_blocking(move || judge(&evidence));
        tokio::select! {
            biased;
            signal = signals.next() => Err(Halt::Interrupted { signal }),
            judged = judging => Ok(judged.unwrap_or_else(|error| Judged {
                verdict: Verdict::CouldNotTell,
                findings: vec![format!("the judge failed: {error}")],
                totals: Counts::default(),
                witnesses: Vec::new(),
                steps: Vec::new(),
            })),
        }
    }

    fn report(&mut self, options: &Options, elapsed: Duration, ended: Result<Judged, Halt>) -> Report {
        let verdict = match &ended {
            Ok(judged) => judged.verdict,
            Err(halt) => halt.verdict(self.upgrading),
        };
        let (judgement, stopped) = match ended {
            Ok(judged) => (Some(judged), None),
            Err(halt) => (None, Some(text_of(&halt))),
        };
        let steps = std::mem::take(&mut self.rows);
        Report {
            format_version: FORMAT_VERSION,
            command: options.command.clone(),
            seed: options.seed,
            nodes: options.nodes,
            rate: options.rate,
            train: options.train.clone(),
            elapsed_ms: elapsed.as_millis().try_into().unwrap_or(u64::MAX),
            kills: steps.iter().filter(|row| row.how == Stop::Kill.to_string()).count(),
            steps,
            steps_planned: self.planned,
            stopped,
            judgement,
            verdict,
            exit_code: verdict.code(),
        }
    }
}

impl Halt {
    /// What the end of a run before its time means: a breach where the upgrade is what failed, nothing where it was the
    /// environment or the operator.
    fn verdict(&self, upgrading: bool) -> Verdict {
        let breach = match self {
            Self::CeilingRefused { .. } | Self::Cluster(ClusterError::Refused { .. }) => true,
            Self::Cluster(ClusterError::TimedOut { refused, .. }) => *refused || upgrading,
            Self::Cluster(ClusterError::Ended { .. } | ClusterError::Failed { .. }) => upgrading,
            Self::Cluster(_) | Self::Interrupted { .. } => false,
        };
        if breach { Verdict::Unsafe } else { Verdict::CouldNotTell }
    }
}

fn drain() -> Command {
    Command::Drain { deadline_ms: DRAIN_DEADLINE_MS }
}

/// An error and what it came from, on one line.
fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The fewest nodes of a rehearsal: one has nobody to cast to.
pub const NODES_MIN: usize = 2;

/// The most nodes of a rehearsal.
pub const NODES_MAX: usize = 32;

/// The most casts a second, of all nodes together.
pub const RATE_MAX: u32 = 200_000;

/// How long a started node may take to be connected with every member.
pub const READY_LIMIT: Duration = Duration::from_secs(20);

/// How long the nodes may take to agree on a phase, or to answer for a ceiling.
pub const PHASE_LIMIT: Duration = Duration::from_secs(20);

/// How long the calls and jobs under way may take to end once the load is off.
pub const QUIET_LIMIT: Duration = Duration::from_secs(30);

/// How long a node that leaves may take to end its jobs, in milliseconds.
pub const DRAIN_DEADLINE_MS: u64 = 5_000;

/// How long it may take to be gone: the deadline, and as long again.
pub const DRAIN_LIMIT: Duration = Duration::from_millis(2 * DRAIN_DEADLINE_MS);

/// The shortest step whose casts a second are told: the counters come every 200 ms.
const RATE_WINDOW_MIN: Duration = Duration::from_millis(500);
