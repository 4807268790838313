//! A rehearsal: runs a plan over real node processes, has their ledgers judged, and reports.
//!
//! In: the options of the command line and a judge. Out: a [`Report`], whatever happens on the way; an error only where
//! nothing could be started. A step that does not go through ends the run with what stood in the way. However it ends,
//! even by a signal or its time limit, no node process is left. `run.rs` does the steps, and the judge decides what a
//! breach is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rexi_proto::NodeName;
use rexi_server::{DevAuthority, identity::DevCertsError};
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

use crate::columns::rerun;
use crate::history::evidence::Evidence;
use crate::history::judge::Judgement;
use crate::path::UpgradePath;
use crate::plan::{Op, rolling};
use crate::rehearse::cluster::{Cluster, ClusterError};
use crate::rehearse::control::Stats;
use crate::rehearse::evidence::{gather, required};
use crate::rehearse::host::{Directory, Signals, free_addresses};
use crate::rehearse::operate::{Operating, prepare_operators};
use crate::rehearse::process::Setup;
use crate::rehearse::progress::Progress;
use crate::rehearse::report::{FORMAT_VERSION, KILL_NINE, Load, Report, StepRow};
use crate::rehearse::run::{Halt, Run, Step, text_of};
use crate::rehearse::soak::{Soak, SoakOutcome, Soaking};
use crate::rehearse::workload::{Account, Workload};
use crate::verdict::conclusion::Conclusion;
use rexi_proto::Release;

/// What to rehearse, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes: [`NODES_MIN`] to [`NODES_MAX`].
    pub nodes: u8,
    /// Casts a second, of all nodes together: 1 to [`RATE_MAX`].
    pub rate: u32,
    /// Whether a run that does not reach that rate proves nothing. Otherwise it is as much as the machine gives.
    pub rate_is_due: bool,
    /// Seed of plan and load.
    pub seed: u64,
    /// The releases to go through.
    pub train: UpgradePath,
    /// Share of the restarts that are a `kill -9`, 0 to 1.
    pub kill_share: f64,
    /// How long the load runs on after each step.
    pub dwell: Duration,
    /// The executable of a node.
    pub program: PathBuf,
    /// Other executables, by release.
    pub programs: BTreeMap<Release, PathBuf>,
    /// Where logs and ledgers are put and stay; otherwise in a temporary directory that stays only after a failure.
    pub keep: Option<PathBuf>,
    /// The words between a node's executable and its subcommand.
    pub under: Vec<String>,
    /// Further arguments of every node.
    pub node_args: Vec<String>,
    /// The soak behind the steps of the plan, if there is to be one.
    pub soak: Option<Soak>,
    /// Whether the nodes keep the record of their cluster, and operators take it from release to release.
    pub operate: bool,
    /// Shows no progress.
    pub quiet: bool,
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
    /// The environment gives no directory or signals.
    #[error("cannot {what}: {source}")]
    Environment {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The certificates of the nodes cannot be made.
    #[error(transparent)]
    Identities(#[from] DevCertsError),
    /// The environment gives no ports.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Makes the certificates of a cluster's nodes, which are of use for development alone, before the first node starts.
///
/// A node reads `ca.pem`, and `.pem` and `.key` under its name, from `dir`. Logs a warning for each. Blocks.
///
/// # Errors
/// [`DevCertsError`] where they cannot be written to `dir`.
///
/// # Panics
/// Where one of `names` is not a node name: the caller's fault.
pub fn prepare_identities(dir: &Path, names: &[String]) -> Result<(), DevCertsError> {
    let authority = DevAuthority::open_or_create(dir)?;
    for name in names {
        let name = NodeName::new(name.as_str()).expect("the nodes of a rehearsal have legal names");
        authority.issue(&name)?;
    }
    Ok(())
}

/// Rehearses `options` with the clients of `workload`, has the ledgers judged by `judge`, and shows itself on
/// standard error.
///
/// Takes about 1.5 s a restart besides the dwell, and ends by itself after three times as long as it should, or
/// five minutes. SIGINT, SIGTERM and SIGHUP
/// end it early, with a report. Cancelling it kills the nodes.
///
/// # Errors
/// [`RehearsalError`] where nothing could be started.
pub async fn rehearse(
    options: &Options,
    workload: Option<&dyn Workload>,
    judge: impl Fn(&Evidence) -> Judgement + Send + Sync + 'static,
) -> Result<Report, RehearsalError> {
    let progress = Progress::new(options.quiet);
    let mut signals = Signals::new().map_err(environment("listen for signals"))?;
    let directory = match &options.keep {
        Some(path) => {
            Directory::named(path).map_err(|source| RehearsalError::Directory { path: path.clone(), source })?
        }
        None => Directory::temporary().map_err(environment("make a temporary directory"))?,
    };
    let mut setup = options.setup(directory.path());
    progress.note(&format!("seed {}\n{}", options.seed, rerun(&options.command)));
    prepare_identities(directory.path(), &setup.names())?;
    if options.operate {
        prepare_operators(directory.path())?;
        setup.operate = Some(free_addresses(setup.nodes).map_err(environment("find free ports"))?);
    }
    let operating = Operating::of(&setup, options.train.at(0).train());
    progress.note(&format!("development certificates made in {}", directory.path().display()));
    let plan = rolling(&options.train, options.nodes, options.seed, options.kill_share);
    let steps = Step::of(&plan, options.soak.as_ref());
    let (begun, limit) = (Instant::now(), time_limit(&steps, options.dwell, operating.is_some()));
    let mut cluster = Cluster::new(setup)?;
    let soaking = options.soak.as_ref().map(|soak| Soaking::new(soak, cluster.addresses(), options.seed));
    let soaking = soaking.transpose().map_err(environment("start a relay"))?;
    if let Some(soaking) = &soaking {
        cluster.meet_through(soaking.relay());
    }
    let clients = match workload {
        Some(workload) => Some(workload.clients(cluster.addresses(), options.seed).await),
        None => None,
    };
    let mut run = Run::new(plan, cluster, clients, progress, (options.dwell, options.rate), Arc::new(judge));
    (run.soaking, run.operating) = (soaking, operating);
    let stretched_us = run.cluster.stretched_us();
    let mut halt = tokio::select! {
        biased;
        halt = cut_short(&mut signals, begun, limit, &stretched_us) => Some(halt),
        ended = run.steps(&steps) => ended.err(),
    };
    if let Some(halt) = &halt {
        run.break_off(halt);
    }
    // Whatever happened: no node is left.
    run.cluster.shut_down().await;
    let mut judgement = None;
    if halt.as_ref().is_none_or(|halt| run.upgrading && halt.leaves_evidence()) {
        let judged = tokio::select! {
            biased;
            halt = cut_short(&mut signals, begun, limit, &stretched_us) => Err(halt),
            judged = run.judged() => judged,
        };
        match judged {
            Ok(judged) => judgement = Some(judged),
            Err(cut) => halt = halt.or(Some(cut)),
        }
    }
    run.progress.clear();
    let interrupted = matches!(halt, Some(Halt::Interrupted { .. }));
    let report = run.report(options, begun.elapsed(), steps.len(), halt.as_ref(), judgement);
    if report.verdict != Conclusion::Safe && !interrupted {
        run.progress.note(&format!("logs and ledgers: {}", directory.keep().display()));
    }
    Ok(report)
}

fn environment(what: &'static str) -> impl FnOnce(io::Error) -> RehearsalError {
    move |source| RehearsalError::Environment { what, source }
}

/// Waits for what ends a run from outside: a signal, or its time limit, which is stretched as its waits are.
async fn cut_short(signals: &mut Signals, begun: Instant, limit: Duration, stretched_us: &AtomicU64) -> Halt {
    let stretched = || limit + Duration::from_micros(stretched_us.load(Ordering::Relaxed));
    loop {
        let until = stretched();
        tokio::select! {
            biased;
            signal = signals.next() => return Halt::Interrupted { signal },
            () = sleep_until(begun + until) => {}
        }
        if stretched() == until {
            return Halt::TooLong { limit: until };
        }
    }
}

/// How long a run of these steps may take, its judgement included: [`SLACK`] times what it should, and 5 minutes at
/// least. Operators give some commands before a release and behind it.
fn time_limit(steps: &[Step], dwell: Duration, is_operated: bool) -> Duration {
    let restart = Duration::from_secs(if is_operated { 6 } else { 3 }) + dwell;
    let estimate = |step: &Step| match step {
        Step::Start | Step::Do(Op::Upgrade { .. } | Op::RollBack { .. }) => restart,
        Step::Do(Op::Lower { .. } | Op::Raise { .. }) => Duration::from_secs(1) + dwell,
        Step::Do(_) => Duration::from_secs(1),
        Step::Soak(seconds) => Duration::from_secs(60 + seconds),
        Step::Finish => Duration::from_secs(10),
    };
    (steps.iter().map(estimate).sum::<Duration>() * SLACK).max(TIME_LIMIT_MIN)
}

impl Options {
    fn setup(&self, dir: &Path) -> Setup {
        Setup {
            nodes: self.nodes.into(),
            dir: dir.to_owned(),
            program: self.program.clone(),
            programs: self.programs.clone(),
            rate: self.rate,
            seed: self.seed,
            under: self.under.clone(),
            node_args: self.node_args.clone(),
            operate: None,
        }
    }
}

impl Run {
    /// Has the ledgers read and judged outside the runtime, since both take their time.
    async fn judged(&mut self) -> Result<Judgement, Halt> {
        let (lives, rows) = (self.cluster.open_lives(), self.rows.clone());
        self.progress.note(&format!("judging the ledgers of {} processes", lives.len()));
        let failed = |error: tokio::task::JoinError| Halt::Judge { error: error.to_string() };
        if self.soaking.is_none() {
            let (judge, plan) = (Arc::clone(&self.judge), self.plan.clone());
            let disturbances = self.operating.as_ref().map(|operating| operating.repairs.clone()).unwrap_or_default();
            let judged = move || judge(&Evidence { disturbances, ..gather(&lives, &rows, &plan) });
            return tokio::task::spawn_blocking(judged).await.map_err(failed);
        }
        let slice = self.slice(lives);
        let judged = tokio::task::spawn_blocking(move || slice.judged()).await.map_err(failed)?;
        if let Some(soaking) = &mut self.soaking {
            soaking.take(&judged);
            self.progress.note(&judged.to_string());
        }
        Ok(self.judged_so_far().unwrap_or(judged.judgement))
    }

    /// What the slices of a soak show that were judged until now.
    fn judged_so_far(&mut self) -> Option<Judgement> {
        self.soaking.as_mut()?.so_far(self.cluster.lives().len(), &required(&self.plan))
    }

    fn report(
        &mut self,
        options: &Options,
        elapsed: Duration,
        steps_planned: usize,
        halt: Option<&Halt>,
        judgement: Option<Judgement>,
    ) -> Report {
        let mut judgement = judgement.or_else(|| self.judged_so_far());
        let steps_say = halt.map_or(Conclusion::Safe, |halt| halt.conclusion(self.upgrading));
        let ledgers_say = judgement.as_ref().map_or(Conclusion::CouldNotTell, |judged| (&judged.verdict).into());
        let steps = std::mem::take(&mut self.rows);
        let soak_kills = self.soaking.as_ref().map_or(0, Soaking::kills);
        let operations = self.operating.take().map(|operating| operating.done);
        let operators_kills = operations.as_ref().map_or(0, |done| usize::try_from(done.nodes_killed).unwrap_or(0));
        let kills = steps.iter().filter(|row| row.how == KILL_NINE).count() + soak_kills + operators_kills;
        let usage = self.cluster.take_usage();
        let due = options.rate_is_due.then_some(options.rate);
        let title = steps.iter().find(|row| row.how.starts_with("soak ")).map(StepRow::title);
        let soak = self
            .soaking
            .take()
            .map(|soaking| soaking.outcome(judgement.as_mut(), title.as_deref(), usage.as_ref(), due));
        let soak_says = soak.as_ref().map_or(Conclusion::Safe, SoakOutcome::conclusion);
        let account = self.clients.as_ref().map(|clients| clients.account(kills));
        let clients_say = account.as_ref().map_or(Conclusion::Safe, Account::conclusion);
        let load = Load::new(options, &self.cluster.totals());
        let load_says = load.doubt().map_or(Conclusion::Safe, |_| Conclusion::CouldNotTell);
        let is_broken = operations.as_ref().is_some_and(|done| !done.breaches.is_empty());
        let operators_say = if is_broken { Conclusion::Unsafe } else { Conclusion::Safe };
        let verdict = steps_say.max(ledgers_say).max(clients_say).max(load_says).max(soak_says).max(operators_say);
        Report {
            format_version: FORMAT_VERSION,
            command: options.command.clone(),
            seed: options.seed,
            nodes: options.nodes.into(),
            load,
            train: options.train.clone(),
            elapsed_ms: elapsed.as_millis().try_into().unwrap_or(u64::MAX),
            kills,
            workload: account,
            soak,
            operations,
            steps,
            steps_planned,
            stopped: halt.map(|halt| text_of(halt)),
            judgement,
            verdict,
            exit_code: verdict.code(),
        }
    }
}

impl Load {
    fn new(options: &Options, totals: &Stats) -> Self {
        // A soak has its rate when nothing is wrong, and says itself whether it does.
        let due = options.rate_is_due && options.soak.is_none();
        Self { rate: options.rate, due, asked: totals.asked, casts: totals.casts }
    }
}

impl Halt {
    /// What the end of a run before its time means: a breach where the upgrade is what failed, nothing where it was the
    /// environment or the operator.
    fn conclusion(&self, upgrading: bool) -> Conclusion {
        let breach = match self {
            Self::CeilingRefused { .. } | Self::Cluster(ClusterError::Refused { .. }) => true,
            // Where nobody has said no, a slow machine looks the same; without a life before it, so do taken ports.
            Self::Cluster(ClusterError::TimedOut { blocked, .. }) => *blocked,
            Self::Cluster(ClusterError::Failed { was_ready, .. }) => *was_ready && upgrading,
            Self::Cluster(ClusterError::Ended { .. }) => upgrading,
            // What did not end is in the ledgers, and the judge names it.
            Self::NotSettled { .. } => false,
            Self::Cluster(_) | Self::Impossible { .. } => false,
            // A machine that is too slow for the tools looks the same; what was wrong is a breach of its own.
            Self::Operation { .. } => false,
            Self::Interrupted { .. } | Self::TooLong { .. } | Self::Judge { .. } => false,
        };
        if breach { Conclusion::Unsafe } else { Conclusion::CouldNotTell }
    }

    /// Whether the ledgers are worth a judgement: where nobody waits for it any longer, they are not.
    fn leaves_evidence(&self) -> bool {
        matches!(
            self,
            Self::Cluster(_) | Self::CeilingRefused { .. } | Self::NotSettled { .. } | Self::Operation { .. }
        )
    }
}

/// The fewest nodes of a rehearsal: one has nobody to cast to.
pub const NODES_MIN: u8 = 2;

/// The most nodes of a rehearsal.
pub const NODES_MAX: u8 = 32;

/// How many casts a second a run aims at that is not told how many, of all nodes together.
pub const RATE_DEFAULT: u32 = 6_000;

/// The most casts a second, of all nodes together.
pub const RATE_MAX: u32 = 200_000;

/// How many times as long as it should a run may take.
const SLACK: u32 = 3;

/// The least time limit of a run.
const TIME_LIMIT_MIN: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_plan_may_take_longer_and_each_at_least_five_minutes() {
        let limit = |text: &str, dwell| {
            let plan = rolling(&crate::demo::path().select(text).expect("a path"), 5, 1, 0.4);
            time_limit(&Step::of(&plan, None), dwell, false)
        };
        assert_eq!(limit("1.0,1.1", Duration::ZERO), TIME_LIMIT_MIN);
        let usual = limit("1.0,1.1,1.2,2.0", Duration::from_secs(1));
        assert!(usual > TIME_LIMIT_MIN && usual < Duration::from_secs(600), "{usual:?}");
        assert!(limit("1.0,1.1,1.2,2.0", Duration::from_secs(600)) > Duration::from_secs(3 * 25 * 600));
    }

    #[tokio::test]
    async fn a_run_beyond_its_time_limit_could_not_tell() {
        let mut signals = Signals::new().expect("signals");
        let limit = Duration::from_millis(1);
        let halt = cut_short(&mut signals, Instant::now(), limit, &AtomicU64::new(0)).await;
        assert!(matches!(halt, Halt::TooLong { .. }) && !halt.leaves_evidence(), "{halt}");
        assert_eq!(halt.conclusion(true), Conclusion::CouldNotTell);
    }

    #[test]
    fn every_node_finds_its_identity() {
        let dir = tempfile::tempdir().expect("a directory");
        prepare_identities(dir.path(), &["n1".to_owned(), "n2".to_owned()]).expect("made");
        for file in ["ca.pem", "n1.pem", "n1.key", "n2.pem", "n2.key"] {
            assert!(dir.path().join(file).is_file(), "{file}");
        }
    }
}
