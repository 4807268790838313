//! The level's run: every scope in turn, then the version vectors and the orders; one report of everything.

use std::time::{Duration, Instant};

use super::hellos::{self, Bounds};
use super::model::Cluster;
use super::orders;
use super::record;
use super::scope::Scope;
use super::searched::{Searched, UPGRADE_STUCK};
use super::tell::trace;
use super::vectors;
use super::witness::{CASES, is_required};
use crate::path::UpgradePath;
use crate::search::{Model, Options, Outcome, resident_bytes_max};
use crate::verdict::level::{Figure, Level, LevelReport, Met};

/// What to check, and within which bounds.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// What is searched, one after the other; the first that breaks something ends the run.
    pub scopes: Vec<Scope>,
    /// What is searched before them, with the handshake taken apart (`hellos.rs`).
    pub hellos: Vec<Bounds>,
    /// What is searched after those: operators who change a record (`record.rs`).
    pub records: Vec<record::Bounds>,
    /// Bounds of all searches together (states, time) and of each (threads, memory).
    pub search: Options,
    /// The releases of the version vectors and of the orders.
    pub train: UpgradePath,
    /// Whether all version vectors are tried (`vectors.rs`).
    pub vectors: bool,
    /// Whether all orders of upgrades are tried (`orders.rs`).
    pub orders: bool,
    /// Shows no progress.
    pub quiet: bool,
    /// The command line that does it again.
    pub command: String,
}

/// Counts over all scopes.
#[derive(Default)]
struct Totals {
    states: u64,
    transitions: u64,
    depth: u32,
    searching: Duration,
    kept_bytes: u64,
    met: [u64; CASES.len()],
}

/// Checks, and reports.
pub fn check(options: &CheckOptions) -> LevelReport {
    let started = Instant::now();
    let mut report = LevelReport::new(Level::Check, checked(options), &options.command);
    let mut totals = Totals::default();
    let left = |totals: &Totals, reach_goal| Options {
        states_max: options.search.states_max.saturating_sub(totals.states),
        time_max: options.search.time_max.map(|time| time.saturating_sub(started.elapsed())),
        reach_goal,
        ..options.search.clone()
    };
    for bounds in &options.hellos {
        let told = (options.quiet, options.command.as_str());
        totals.add(&hellos::report(bounds, &left(&totals, false), told, &mut report));
        if !report.breaches.is_empty() {
            break;
        }
    }
    let mut of_records = Vec::new();
    for bounds in &options.records {
        if !report.breaches.is_empty() {
            break;
        }
        let told = (options.quiet, options.command.as_str());
        let outcome = record::report(bounds, &left(&totals, true), told, &mut report);
        totals.add(&outcome);
        of_records.push(outcome.tally.met);
    }
    if !of_records.is_empty() {
        record::tell(of_records.iter().map(Vec::as_slice), &mut report);
    }
    let scopes = if report.breaches.is_empty() { options.scopes.as_slice() } else { &[] };
    for scope in scopes {
        let bounds = left(&totals, scope.reach_goal);
        let cluster = Cluster::new(scope.clone());
        let (name, quiet, command) = (scope.name.as_str(), options.quiet, options.command.as_str());
        let searched = Searched { name, bounds: scope.describe(), stuck: UPGRADE_STUCK, quiet, command };
        let outcome = searched.run(&cluster, &bounds, |path, broken| trace(scope, path, broken), &mut report);
        totals.add(&outcome);
        totals.met.iter_mut().zip(&outcome.tally.met).for_each(|(all, met)| *all += met);
        if !report.breaches.is_empty() {
            break;
        }
    }
    if !options.scopes.is_empty() {
        totals.tell(&options.train, &mut report);
    }
    if options.vectors {
        vectors::report(&options.train, &mut report);
    }
    if options.orders {
        orders::report(&options.train, &mut report);
    }
    report.concluded(started.elapsed())
}

fn checked(options: &CheckOptions) -> String {
    let mut parts = Vec::new();
    if let Some(nodes) = options.scopes.iter().map(|scope| scope.nodes).max() {
        let count = options.scopes.len();
        parts.push(format!("every state of up to {nodes} nodes in {count} scope{}", if count == 1 { "" } else { "s" }));
    }
    if !options.hellos.is_empty() {
        parts.push("hellos in every order".to_owned());
    }
    if !options.records.is_empty() {
        parts.push("a record and its operators in every order".to_owned());
    }
    if options.vectors {
        parts.push("all version vectors of three nodes".to_owned());
    }
    if options.orders {
        parts.push("all orders of upgrading three nodes".to_owned());
    }
    parts.join(", ")
}

impl Totals {
    fn add<M: Model>(&mut self, outcome: &Outcome<M>) {
        let tally = &outcome.tally;
        self.states += tally.states;
        self.transitions += tally.transitions;
        self.depth = self.depth.max(tally.depth);
        self.searching += outcome.elapsed;
        self.kept_bytes += outcome.kept_bytes;
    }

    fn tell(&self, train: &UpgradePath, report: &mut LevelReport) {
        let seconds = self.searching.as_secs_f64().max(f64::EPSILON);
        let figures = [
            ("states", self.states as f64, ""),
            ("transitions", self.transitions as f64, ""),
            ("depth", f64::from(self.depth), "steps"),
            ("rate", (self.states as f64 / seconds).round(), "states/s"),
            ("kept of each state", (self.kept_bytes as f64 / self.states.max(1) as f64).round(), "bytes"),
        ];
        report.figures.extend(figures.map(|(name, value, unit)| Figure::new(name, value, unit)));
        if let Some(bytes) = resident_bytes_max() {
            report.figures.push(Figure::new("peak memory", (bytes >> 20) as f64, "MiB"));
        }
        report.witnesses.extend(CASES.into_iter().zip(self.met).map(|(case, count)| Met {
            what: case.sentence().to_owned(),
            count,
            required: u64::from(is_required(case, train)),
        }));
    }
}
