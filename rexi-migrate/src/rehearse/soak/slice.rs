//! A slice of a soak: what happened from one rest of the cluster to the next, judged for itself.
//!
//! In: the ledgers that were closed at the rest, and what was done to the nodes meanwhile. Out: the slice's judgement,
//! and for each fault when the nodes that it concerned answered each other again. At a rest no node has a call or a
//! job, so nothing in the ledgers of one slice belongs to another: see `judge/sum.rs`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use super::fault::{FaultKind, pairs};
use super::outcome::FaultRow;
use super::state::{Soaking, Window};
use crate::history::evidence::{Disturbance, Evidence};
use crate::history::judge::Judgement;
use crate::history::ledger::{CallNumber, Entry, NodeIndex, now_us};
use crate::plan::Plan;
use crate::rehearse::cluster::ProcessLife;
use crate::rehearse::evidence::{Judge, gather};
use crate::rehearse::report::StepRow;
use crate::screen::grouped;
use crate::verdict::conclusion::Conclusion;

/// What is to be judged.
pub(crate) struct Slice {
    number: usize,
    lives: Vec<ProcessLife>,
    rows: Vec<StepRow>,
    plan: Plan,
    nodes: usize,
    windows: Vec<Window>,
    faults: Vec<FaultRow>,
    judge: Judge,
}

/// What came of it.
pub(crate) struct Judged {
    number: usize,
    pub(crate) judgement: Judgement,
    /// Of each fault, by its number from 0: how long after its end the last of the pairs that it concerned was heard
    /// of.
    answered: BTreeMap<usize, Option<Duration>>,
    took: Duration,
    ledger_bytes: u64,
    lives: Vec<ProcessLife>,
}

impl Slice {
    pub(super) fn new(
        soaking: &Soaking,
        lives: Vec<ProcessLife>,
        rows: Vec<StepRow>,
        plan: Plan,
        nodes: usize,
        judge: Judge,
    ) -> Self {
        let mut windows = soaking.windows.clone();
        if let Some(window) = windows.last_mut() {
            window.to_us = window.to_us.min(now_us());
        }
        let faults = windows.iter().filter_map(|window| soaking.rows.get(window.fault?)).cloned().collect();
        Self { number: soaking.slices + 1, lives, rows, plan, nodes, windows, faults, judge }
    }

    /// Reads the ledgers and has them judged. Blocks, for some seconds a million casts.
    pub(crate) fn judged(self) -> Judged {
        let begun = Instant::now();
        let mut evidence = gather(&self.lives, &self.rows, &self.plan);
        // What the whole run must have met is asked of all slices together.
        evidence.required.clear();
        evidence.steps.extend(self.windows.iter().map(Window::step));
        evidence.disturbances = self.faults.iter().map(|row| self.disturbance(row)).collect();
        let judgement = (self.judge)(&evidence);
        let answered = self.answered(&evidence);
        let sizes = self.lives.iter().filter_map(|life| Some(std::fs::metadata(&life.ledger).ok()?.len()));
        let ledger_bytes = sizes.sum();
        Judged { number: self.number, judgement, answered, took: begun.elapsed(), ledger_bytes, lives: self.lives }
    }

    fn disturbance(&self, row: &FaultRow) -> Disturbance {
        let stopped = row.kind == FaultKind::Freeze;
        let to_us = row.recovered_us.unwrap_or(u64::MAX);
        Disturbance { nodes: row.fault.nodes(self.nodes), from_us: row.began_us, to_us, stopped }
    }

    /// When each fault's nodes answered each other again, each way: the longest of these.
    fn answered(&self, evidence: &Evidence) -> BTreeMap<usize, Option<Duration>> {
        let mut first: BTreeMap<(usize, usize, usize), u64> = BTreeMap::new();
        for ledger in evidence.processes.iter().filter_map(|process| process.ledger.as_ref().ok()) {
            let from = usize::from(ledger.header.index.0);
            let mut open: HashMap<CallNumber, NodeIndex> = HashMap::new();
            let mut healed = 0;
            for record in &ledger.records {
                match record.entry {
                    Entry::Cast { call, to, .. } => _ = open.insert(call, to),
                    Entry::Answered { call, outcome } => {
                        let to = open.remove(&call).filter(|_| outcome.needs_job());
                        let is_healed = |row: &FaultRow| row.healed_us.is_some_and(|at| at <= record.at_us);
                        healed += self.faults[healed..].iter().take_while(|row| is_healed(row)).count();
                        // The last one that is over: what came behind it is of its time.
                        let Some((to, fault)) = to.zip(healed.checked_sub(1)) else { continue };
                        first.entry((fault, from, to.0.into())).or_insert(record.at_us);
                    }
                    _ => {}
                }
            }
        }
        // A fresh process of the same node has a ledger of its own.
        let of_fault = |(index, row): (usize, &FaultRow)| {
            let concerned = pairs(self.nodes).filter(|&(from, to)| row.fault.is_between(from, to));
            let last = concerned.map(|(from, to)| first.get(&(index, from, to)).copied()).collect::<Option<Vec<u64>>>();
            let took = last.and_then(|times| times.into_iter().max()).zip(row.healed_us);
            (row.number - 1, took.map(|(at, healed)| Duration::from_micros(at.saturating_sub(healed))))
        };
        self.faults.iter().enumerate().map(of_fault).collect()
    }
}

impl Judged {
    /// Takes the ledgers off the disk.
    pub(crate) fn remove_ledgers(&self) {
        for life in &self.lives {
            // One that stays costs room, and nothing else.
            let _ = std::fs::remove_file(&life.ledger);
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = Conclusion::from(&self.judgement.verdict).words();
        let (casts, mib) = (grouped(self.judgement.counts.casts), self.ledger_bytes >> 20);
        let seconds = self.took.as_secs_f64();
        write!(f, "slice {}: {verdict}, {casts} casts in {mib} MiB, judged in {seconds:.1} s", self.number)
    }
}

impl Soaking {
    /// Adds a slice; tells what it means for itself.
    pub(crate) fn take(&mut self, judged: &Judged) -> Conclusion {
        self.sum.add(&judged.judgement);
        self.slices += 1;
        self.judged += judged.took;
        self.judged_max = self.judged_max.max(judged.took);
        self.ledger_bytes_max = self.ledger_bytes_max.max(judged.ledger_bytes);
        for (&fault, answered) in &judged.answered {
            if let Some(row) = self.rows.get_mut(fault) {
                row.answered_ms = answered.map(|time| time.as_millis().try_into().unwrap_or(u64::MAX));
            }
        }
        self.past.append(&mut self.windows);
        (&judged.judgement.verdict).into()
    }
}
