//! Plays plans by the thousand, on several threads, and makes one report of them.
//!
//! In: a simulation, a strategy and a seed. Scenario 17 of a seed is always the same plan, whichever thread plays it,
//! and of several that fail the first one counts: so a seed finds the same failure again. It is shrunk by proptest
//! first, then by `shrink.rs`.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::ledger::ScenarioEvent;
use super::outcome::Outcome;
use super::run::Simulation;
use crate::path::UpgradePath;
use crate::plan::{Plan, Upgrades, shrink};
use crate::verdict::case::{Requirement, Witness, WitnessCount};
use crate::verdict::conclusion::Conclusion;
use crate::verdict::level::{self, Figure, Level, LevelReport};

/// When to stop, unless something fails before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// After this many scenarios.
    Scenarios(u64),
    /// After this time; scenarios that have begun are played to their end.
    Time(Duration),
}

/// Many scenarios of one seed.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// How each is run.
    pub simulation: Simulation,
    /// What the plans are made of.
    pub plans: Upgrades,
    /// Which plans these are.
    pub seed: u64,
    /// How many.
    pub budget: Budget,
    /// On how many threads; a scenario has one to itself.
    pub threads: usize,
    /// Plays each plan again, and compares the two event for event, and datagram for datagram.
    pub twice: bool,
}

/// What a campaign has come to, so far or in the end.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Scenarios that were played.
    pub scenarios: u64,
    /// Those of them in which nodes of different releases ran side by side.
    pub mixed: u64,
    /// Calls that were made.
    pub calls: u64,
    /// Virtual time that passed, over all scenarios.
    pub passed: Duration,
    /// Time that it took to play them.
    pub elapsed: Duration,
    /// Time that it took to shrink the one that failed.
    pub shrinking: Duration,
    /// How often each case was met.
    pub met: BTreeMap<Witness, u64>,
    /// Scenarios that were played again and were the same.
    pub repeated: u64,
    /// The first scenario that failed, shrunk.
    pub failure: Option<FailedScenario>,
}

/// A scenario that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedScenario {
    /// Its number, from 0.
    pub number: u64,
    /// Its plan as it was found.
    pub found: Plan,
    /// The shrunk plan, and what becomes of it.
    pub outcome: Outcome,
    /// Where two runs of the plan as it was found differ. Nothing was shrunk then.
    pub differs: Option<String>,
    /// What the test's own code or the simulation panicked with.
    pub panicked: Option<String>,
}

/// What a thread has to say of one scenario.
struct Played {
    calls: u64,
    mixed: bool,
    passed: Duration,
    met: BTreeMap<Witness, u64>,
    repeated: bool,
}

impl Campaign {
    /// These plans of a seed, on two threads, once each: 400.
    pub fn new(plans: Upgrades, seed: u64) -> Self {
        Self { simulation: Simulation::new(), plans, seed, budget: Budget::Scenarios(400), threads: 2, twice: false }
    }

    /// The plan of a scenario.
    pub fn plan(&self, number: u64) -> Plan {
        self.tree(number).current()
    }

    fn tree(&self, number: u64) -> Box<dyn ValueTree<Value = Plan>> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&number.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        self.plans.new_tree(&mut runner).expect("plans are made without a filter, which alone could give up")
    }

    /// Plays them, and stops at the first that fails. `show` is called after each, in this thread.
    pub fn run(&self, mut show: impl FnMut(&Tally)) -> Tally {
        let started = Instant::now();
        let (next, first_failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let (send, played) = mpsc::channel();
            for _ in 0..self.threads.max(1) {
                let (send, next, first_failed) = (send.clone(), &next, &first_failed);
                scope.spawn(move || {
                    while let Some(number) = self.take(started, next, first_failed) {
                        match self.play(number) {
                            Some(one) => _ = send.send(one),
                            None => _ = first_failed.fetch_min(number, Ordering::SeqCst),
                        }
                    }
                });
            }
            drop(send);
            for one in played {
                tally.add(&one);
                tally.elapsed = started.elapsed();
                show(&tally);
            }
        });
        tally.elapsed = started.elapsed();
        let failed = first_failed.into_inner();
        if failed != u64::MAX {
            tally.scenarios += 1;
            tally.failure = Some(self.failure(failed));
        }
        tally.shrinking = started.elapsed() - tally.elapsed;
        tally
    }

    /// The next scenario to play, if there is another.
    fn take(&self, started: Instant, next: &AtomicU64, first_failed: &AtomicU64) -> Option<u64> {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let within = match self.budget {
            Budget::Scenarios(most) => number < most,
            Budget::Time(most) => started.elapsed() < most,
        };
        (within && number < first_failed.load(Ordering::SeqCst)).then_some(number)
    }

    /// `None`: it failed, or panicked, or was not the same again.
    fn play(&self, number: u64) -> Option<Played> {
        let plan = self.plan(number);
        let outcome = self.try_run(&plan).ok()?;
        if !outcome.is_safe() {
            return None;
        }
        if self.twice && self.differs(&plan, &outcome).is_some() {
            return None;
        }
        Some(Played::of(&outcome, self.twice))
    }

    fn differs(&self, plan: &Plan, outcome: &Outcome) -> Option<String> {
        self.try_run(plan).map_or_else(Some, |again| outcome.differs(&again))
    }

    /// Runs a plan; an error is what it panicked with.
    fn try_run(&self, plan: &Plan) -> Result<Outcome, String> {
        // A scenario leaves nothing behind but what it returns, so nobody sees what is broken.
        catch_unwind(AssertUnwindSafe(|| self.simulation.run(plan))).map_err(|panic| panic_text(&*panic).to_owned())
    }

    /// Plays a scenario that has failed again, and shrinks it.
    fn failure(&self, number: u64) -> FailedScenario {
        let found = self.plan(number);
        let outcome = match self.try_run(&found) {
            Ok(outcome) => outcome,
            // Not shrunk: one panic too many, while another unwinds, would end the process.
            Err(text) => {
                let outcome = Outcome::none(found.clone());
                return FailedScenario { number, found, outcome, differs: None, panicked: Some(text) };
            }
        };
        let broken = outcome.breaches.first().map(|breach| breach.invariant);
        if outcome.is_safe() {
            let differs = self.differs(&found, &outcome).or(Some("it failed once, but not again".to_owned()));
            return FailedScenario { number, found, outcome, differs, panicked: None };
        }
        let as_before = |outcome: Outcome| broken.map_or(outcome.own.is_some(), |broken| outcome.breaks(broken));
        let shrunk = self.shrink(number, &mut |plan| self.try_run(plan).is_ok_and(as_before));
        let outcome = self.try_run(&shrunk).unwrap_or(outcome);
        FailedScenario { number, found, outcome, differs: None, panicked: None }
    }

    fn shrink(&self, number: u64, fails: &mut dyn FnMut(&Plan) -> bool) -> Plan {
        let shrunk = shrink_tree(&mut *self.tree(number), fails);
        shrink(&shrunk, fails)
    }

    /// The report of what a run has come to. `command` does it all again, `again` one plan alone.
    pub fn report(&self, tally: &Tally, command: &str, again: impl Fn(&Plan) -> String) -> LevelReport {
        let checked =
            format!("{:?} of the real server over QUIC packets in virtual time, seed {}", self.plans, self.seed);
        let mut report = LevelReport::new(Level::Simulate, checked, command);
        // After a failure nothing is asked of what the run met before it.
        tally.tell(&mut report, self.plans.train(), self.twice, u64::from(tally.failure.is_none()));
        if let Some(failure) = &tally.failure {
            failure.tell(&mut report, &again);
        }
        let own = tally.failure.as_ref().is_some_and(|failure| failure.outcome.own.is_some());
        conclude(report, own, tally.elapsed + tally.shrinking)
    }
}

/// Closes a report. An invariant of the test's own has no row in the list, but what breaks it is just as unsafe.
fn conclude(report: LevelReport, own: bool, elapsed: Duration) -> LevelReport {
    let mut report = report.concluded(elapsed);
    if own {
        report.verdict = Conclusion::Unsafe;
    }
    report
}

impl Played {
    fn of(outcome: &Outcome, repeated: bool) -> Self {
        Self { calls: outcome.calls, mixed: outcome.mixed, passed: outcome.passed, met: outcome.met.clone(), repeated }
    }
}

impl Campaign {
    /// The report of one plan alone, of which nothing is asked but that it is safe. `command` plays it again.
    pub fn report_one(outcome: &Outcome, command: &str) -> LevelReport {
        let mut tally = Tally { elapsed: outcome.took, ..Tally::default() };
        let played = Played::of(outcome, false);
        tally.add(&played);
        let mut report = LevelReport::new(Level::Simulate, format!("one plan, {}", outcome.plan), command);
        tally.tell(&mut report, &outcome.plan.train, false, 0);
        tell_breaches(&mut report, outcome, &|_| command.to_owned());
        // Who asks about one plan asks about all of it.
        let skipped = outcome.events.iter().filter_map(|(_, event)| match event {
            ScenarioEvent::Skipped(op, why) => Some(format!("{op} was not done, since {why}")),
            _ => None,
        });
        report.doubts.extend(skipped);
        conclude(report, outcome.own.is_some(), outcome.took)
    }
}

/// What somebody panicked with; empty where it was no text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// Shrinks along the way on which proptest made the plan.
fn shrink_tree(tree: &mut dyn ValueTree<Value = Plan>, fails: &mut dyn FnMut(&Plan) -> bool) -> Plan {
    let mut best = tree.current();
    let mut more = tree.simplify();
    for _ in 0..TREE_RUNS_MAX {
        if !more {
            break;
        }
        let plan = tree.current();
        let failed = fails(&plan);
        if failed {
            best = plan;
        }
        more = if failed { tree.simplify() } else { tree.complicate() };
    }
    best
}

impl Tally {
    fn add(&mut self, one: &Played) {
        self.scenarios += 1;
        self.mixed += u64::from(one.mixed);
        self.calls += one.calls;
        self.passed += one.passed;
        self.repeated += u64::from(one.repeated);
        for (&witness, count) in &one.met {
            *self.met.entry(witness).or_default() += count;
        }
    }

    /// Scenarios a minute.
    pub fn rate(&self) -> f64 {
        self.scenarios as f64 * 60.0 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn tell(&self, report: &mut LevelReport, train: &UpgradePath, twice: bool, least: u64) {
        let mut figure = |name: &str, value: f64, unit| report.figures.push(Figure::new(name, value, unit));
        figure("scenarios", self.scenarios as f64, "");
        figure("scenarios of mixed releases", self.mixed as f64, "");
        figure("rate", self.rate().round(), "scenarios/min");
        if self.failure.is_some() {
            figure("shrinking", self.shrinking.as_secs_f64(), "s");
        }
        figure("calls", self.calls as f64, "");
        figure("virtual time", self.passed.as_secs_f64().round(), "s");
        if twice {
            figure("scenarios that were the same the second time", self.repeated as f64, "");
        }
        let count = |witness| self.met.get(&witness).copied().unwrap_or(0);
        let mut required = Requirement::of_simulation();
        required.retain(|requirement| can_be_met(train, requirement.witness));
        let mut rows: Vec<WitnessCount> = required
            .iter()
            .map(|&Requirement { witness, at_least }| WitnessCount {
                witness,
                count: count(witness),
                required: at_least.min(least),
            })
            .collect();
        let others = self.met.iter().filter(|(_, count)| **count > 0);
        let others = others.filter(|(witness, _)| required.iter().all(|required| required.witness != **witness));
        rows.extend(others.map(|(&witness, &count)| WitnessCount { witness, count, required: 0 }));
        report.witnesses = rows.into_iter().map(level::Met::from).collect();
    }
}

/// Whether nodes that go through these releases can come to the case at all.
fn can_be_met(train: &UpgradePath, witness: Witness) -> bool {
    match witness {
        Witness::KillAcrossSwitch | Witness::StreamOverSwitch => train.switches_servers(),
        Witness::BufferedOverRelease | Witness::Rollback => train.len() > 1,
        _ => true,
    }
}

impl FailedScenario {
    fn tell(&self, report: &mut LevelReport, again: &impl Fn(&Plan) -> String) {
        let Self { number, found, outcome, differs, panicked } = self;
        if let Some(text) = panicked {
            let again = again(&outcome.plan);
            report.doubts.push(format!("scenario {number} panicked: {text}; rerun: {again}"));
        }
        if let Some(differs) = differs {
            report.doubts.push(format!("scenario {number} is not the same twice: {differs}; rerun: {}", again(found)));
        }
        tell_breaches(report, outcome, again);
    }
}

/// A row for each breach; the trace is the first one's.
fn tell_breaches(report: &mut LevelReport, outcome: &Outcome, again: &impl Fn(&Plan) -> String) {
    let command = again(&outcome.plan);
    let own = outcome.own.iter().map(|what| format!("your invariant: {what}; rerun: {command}"));
    report.doubts.extend(own);
    let row = |(place, breach): (usize, &level::Breach)| level::Breach {
        trace: (place == 0).then(|| outcome.trace()),
        command: command.clone(),
        ..breach.clone()
    };
    report.breaches.extend(outcome.breaches.iter().enumerate().map(row));
}

/// Plans that are tried on proptest's way at most; the polish has the rest.
const TREE_RUNS_MAX: u32 = 400;
