//! A run that was judged in slices: the judgements of all of them as one.
//!
//! In: the judgement of each slice, in the order of their times. Out: one of the whole run. A slice ends where every
//! node is at rest, with no call and no job, so that no record of a later one belongs to an earlier one: what comes
//! late over such an end is an answer to a call that was never made, or a job that nobody called for, and found as
//! that.

use std::collections::BTreeMap;

use super::finding::{EXAMPLES_MAX, Finding, FindingKind};
use super::{Counts, Judgement, StepRow, Verdict};
use crate::history::ledger::{GatherEnd, Outcome};
use crate::verdict::case::{Requirement, Witness, WitnessCount};

/// Adds up judgements of slices.
#[derive(Debug, Default)]
pub struct Sum {
    slices: usize,
    findings: BTreeMap<FindingKind, Finding>,
    doubts: Vec<String>,
    counts: Counts,
    outcomes: BTreeMap<Outcome, u64>,
    gathers: BTreeMap<GatherEnd, u64>,
    witnesses: BTreeMap<Witness, u64>,
    steps: Vec<StepRow>,
}

impl Sum {
    /// Adds the judgement of the next slice. Its own verdict is found again from what is added.
    pub fn add(&mut self, slice: &Judgement) {
        self.slices += 1;
        for finding in slice.findings() {
            let none = Finding { count: 0, examples: Vec::new(), ..finding.clone() };
            let sum = self.findings.entry(finding.kind).or_insert(none);
            sum.count += finding.count;
            let room = EXAMPLES_MAX.saturating_sub(sum.examples.len());
            sum.examples.extend(finding.examples.iter().take(room).cloned());
        }
        let room = DOUBTS_MAX.saturating_sub(self.doubts.len());
        self.doubts.extend(slice.doubts.iter().take(room).map(|doubt| format!("slice {}: {doubt}", self.slices)));
        self.counts.add(&slice.counts);
        slice.outcomes.iter().for_each(|(&how, count)| *self.outcomes.entry(how).or_default() += count);
        slice.gathers.iter().for_each(|(&how, count)| *self.gathers.entry(how).or_default() += count);
        slice.witnesses.iter().for_each(|row| *self.witnesses.entry(row.witness).or_default() += row.count);
        for row in &slice.steps {
            match self.steps.iter_mut().find(|sum| (sum.from_us, &sum.name) == (row.from_us, &row.name)) {
                Some(sum) => sum.add(row),
                None => self.steps.push(row.clone()),
            }
        }
    }

    /// The whole run, whose nodes were so many processes, and which had to meet these cases.
    pub fn judgement(self, processes: u64, required: &[Requirement]) -> Judgement {
        let least = |witness| required.iter().filter(|r| r.witness == witness).map(|r| r.at_least).max().unwrap_or(0);
        let row = |(&witness, &count): (&Witness, &u64)| WitnessCount { witness, count, required: least(witness) };
        let witnesses: Vec<WitnessCount> = self.witnesses.iter().map(row).collect();
        let mut doubts = self.doubts;
        doubts.extend(witnesses.iter().filter_map(WitnessCount::doubt));
        let findings: Vec<Finding> = self.findings.into_values().collect();
        let verdict = match (findings.is_empty(), doubts.is_empty()) {
            (false, _) => Verdict::Unsafe(findings),
            (true, false) => Verdict::CouldNotTell(doubts.clone()),
            (true, true) => Verdict::Safe,
        };
        let mut steps = self.steps;
        // Rows without a time of their own are for what was outside every step.
        steps.sort_by_key(|row| (row.to_us == 0, row.from_us, row.to_us));
        let counts = Counts { processes, ..self.counts };
        let (outcomes, gathers) = (self.outcomes, self.gathers);
        Judgement { verdict, doubts, counts, outcomes, gathers, witnesses, steps }
    }
}

impl Counts {
    /// Adds those of another slice; the longest of a time is the longer one.
    fn add(&mut self, other: &Self) {
        let Self {
            processes,
            records,
            casts,
            answered,
            told,
            killed,
            lost,
            caller_died,
            stood_still,
            timed_out,
            jobs,
            executed_twice,
            orphans,
            wrong,
            reply_without_job,
            job_without_call,
            answered_twice,
            refused,
            answers_after_kill,
            crashed,
            orphan_max_us,
            monitors_silent,
            streams,
            items,
            streams_broken,
            questions,
            questions_astray,
            gathers,
            quorums,
            gathers_broken,
        } = *other;
        self.orphan_max_us = self.orphan_max_us.max(orphan_max_us);
        for (sum, more) in [
            (&mut self.processes, processes),
            (&mut self.records, records),
            (&mut self.casts, casts),
            (&mut self.answered, answered),
            (&mut self.told, told),
            (&mut self.killed, killed),
            (&mut self.lost, lost),
            (&mut self.caller_died, caller_died),
            (&mut self.stood_still, stood_still),
            (&mut self.timed_out, timed_out),
            (&mut self.jobs, jobs),
            (&mut self.executed_twice, executed_twice),
            (&mut self.orphans, orphans),
            (&mut self.wrong, wrong),
            (&mut self.reply_without_job, reply_without_job),
            (&mut self.job_without_call, job_without_call),
            (&mut self.answered_twice, answered_twice),
            (&mut self.refused, refused),
            (&mut self.answers_after_kill, answers_after_kill),
            (&mut self.crashed, crashed),
            (&mut self.monitors_silent, monitors_silent),
            (&mut self.streams, streams),
            (&mut self.items, items),
            (&mut self.streams_broken, streams_broken),
            (&mut self.questions, questions),
            (&mut self.questions_astray, questions_astray),
            (&mut self.gathers, gathers),
            (&mut self.quorums, quorums),
            (&mut self.gathers_broken, gathers_broken),
        ] {
            *sum += more;
        }
    }
}

impl StepRow {
    /// Adds the part of the same step, or of another, that lies in a later slice. Its rate is that of both.
    pub fn add(&mut self, part: &Self) {
        self.casts += part.casts;
        self.answered += part.answered;
        self.told += part.told;
        self.killed += part.killed;
        self.lost += part.lost;
        self.caller_died += part.caller_died;
        self.stood_still += part.stood_still;
        self.twice += part.twice;
        self.orphans += part.orphans;
        self.streams += part.streams;
        self.questions += part.questions;
        self.gathers += part.gathers;
        self.to_us = self.to_us.max(part.to_us);
        let micros = self.to_us.saturating_sub(self.from_us);
        if micros > 0 {
            self.casts_per_second = self.casts as f64 * 1e6 / micros as f64;
        }
    }
}

/// How many doubts of slices are kept: a run of a day has hundreds of slices.
const DOUBTS_MAX: usize = 40;
