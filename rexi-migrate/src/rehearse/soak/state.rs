//! A soak under way: what has gone wrong so far, when, and what the judged ledgers say; at its end, in figures.
//!
//! In: the rows that the soak writes and the judgement of its ledgers, whose steps have one for each window. Out: a
//! [`SoakOutcome`], and a judgement whose steps are those of the run alone.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::fault::{Fault, FaultKind, Faults};
use super::outcome::{Calm, FaultRow, KindRow, SoakOutcome};
use super::plan::{RECOVERY_LIMIT, Soak};
use super::usage::{Trend, Usage, own_peak_kib};
use crate::history::evidence::StepWindow;
use crate::history::judge::{Judgement, StepRow, Sum};
use crate::history::ledger::now_us;
use crate::rehearse::relay::Relay;
use crate::screen::grouped;
use crate::verdict::case::Requirement;

/// A soak under way.
#[derive(Debug)]
pub(crate) struct Soaking {
    pub(super) soak: Soak,
    pub(super) faults: Faults,
    pub(super) script: VecDeque<Fault>,
    pub(super) relay: Relay,
    pub(super) rows: Vec<FaultRow>,
    /// The times of the slice under way, each with what was wrong then, if anything.
    pub(super) windows: Vec<Window>,
    /// The windows of the slices before.
    pub(super) past: Vec<Window>,
    pub(super) sum: Sum,
    pub(super) slices: usize,
    /// How long the judge took, in all and for one slice at most.
    pub(super) judged: Duration,
    pub(super) judged_max: Duration,
    /// How large the ledgers of a slice were at most, in bytes.
    pub(super) ledger_bytes_max: u64,
    /// How long the soak took, once it is through.
    pub(super) soaked: Duration,
}

impl Soaking {
    /// Stands between these nodes, which are to be told of its relay before they start.
    ///
    /// # Errors
    /// Of the relay.
    pub(crate) fn new(soak: &Soak, nodes: &[SocketAddr], seed: u64) -> io::Result<Self> {
        Ok(Self {
            soak: soak.clone(),
            faults: Faults::new(seed, nodes.len()),
            script: soak.script.iter().copied().collect(),
            relay: Relay::start(nodes, seed)?,
            rows: Vec::new(),
            windows: Vec::new(),
            past: Vec::new(),
            sum: Sum::default(),
            slices: 0,
            judged: Duration::ZERO,
            judged_max: Duration::ZERO,
            ledger_bytes_max: 0,
            soaked: Duration::ZERO,
        })
    }

    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// How many processes were killed by it.
    pub(crate) fn kills(&self) -> usize {
        self.rows.iter().filter(|row| row.kind == FaultKind::Kill).count()
    }

    /// Whether it has gone on for long enough.
    pub(super) fn is_over(&self, soaked: Duration) -> bool {
        if self.soak.script.is_empty() { soaked >= self.soak.lasts } else { self.script.is_empty() }
    }

    pub(super) fn next_fault(&mut self) -> Fault {
        self.script.pop_front().unwrap_or_else(|| self.faults.draw())
    }

    pub(super) fn draw_calm(&mut self) -> Duration {
        self.faults.draw_calm(&self.soak.calm)
    }

    /// All slices so far as one; nothing where none was judged.
    pub(crate) fn so_far(&mut self, processes: usize, required: &[Requirement]) -> Option<Judgement> {
        (self.slices > 0).then(|| std::mem::take(&mut self.sum).judgement(processes as u64, required))
    }
}

/// A time of a soak, in which a fault was at work or none was.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) fault: Option<usize>,
    pub(super) from_us: u64,
    pub(super) to_us: u64,
}

impl Window {
    pub(super) fn calm(from_us: u64) -> Self {
        Self { fault: None, from_us, to_us: u64::MAX }
    }

    pub(super) fn of(fault: usize, from_us: u64) -> Self {
        Self { fault: Some(fault), from_us, to_us: u64::MAX }
    }

    /// As the judge knows it: no other has this name.
    pub(super) fn step(&self) -> StepWindow {
        let what = self.fault.map_or_else(|| "calm".to_owned(), |fault| format!("fault {}", fault + 1));
        StepWindow { name: format!("{what} from {}", self.from_us), from_us: self.from_us, to_us: self.to_us }
    }
}

impl Soaking {
    /// A fault begins; gives its row.
    pub(super) fn begin(&mut self, fault: Fault, at_us: u64) -> usize {
        self.end_window(at_us);
        let row = self.rows.len();
        self.rows.push(FaultRow::new(row + 1, fault, at_us));
        self.windows.push(Window::of(row, at_us));
        row
    }

    /// A fault is over, and what it did has to mend.
    pub(super) fn heal(&mut self, row: usize) -> Instant {
        self.rows[row].healed_us = Some(now_us());
        Instant::now()
    }

    pub(super) fn recovered(&mut self, row: usize, ready: Duration, at_us: u64) {
        self.end_window(at_us);
        let row = &mut self.rows[row];
        row.recovered_us = Some(at_us);
        row.ready_ms = Some(ready.as_millis().try_into().unwrap_or(u64::MAX));
        self.windows.push(Window::calm(at_us));
    }

    pub(super) fn end_window(&mut self, at_us: u64) {
        if let Some(window) = self.windows.last_mut() {
            window.to_us = window.to_us.min(at_us);
        }
    }
}

impl Soaking {
    /// Adds up what came of it. The steps of the judgement that are windows of the soak become parts of the step of
    /// this title.
    pub(crate) fn outcome(
        mut self,
        judgement: Option<&mut Judgement>,
        title: Option<&str>,
        usage: Option<&Usage>,
        due: Option<u32>,
    ) -> SoakOutcome {
        self.past.append(&mut self.windows);
        let mut calm = Calm::default();
        if let Some(judgement) = judgement {
            let (windows, mut steps): (Vec<_>, Vec<_>) =
                std::mem::take(&mut judgement.steps).into_iter().partition(|step| self.window_of(step).is_some());
            for step in &windows {
                if let Some(sum) = steps.iter_mut().find(|it| Some(it.name.as_str()) == title) {
                    sum.add(step);
                }
                match self.window_of(step).and_then(|window| window.fault) {
                    Some(fault) => {
                        let row = &mut self.rows[fault];
                        row.casts += step.casts;
                        row.told += step.told;
                    }
                    None => {
                        calm.ms += step.to_us.saturating_sub(step.from_us) / 1_000;
                        calm.casts += step.casts;
                        calm.told += step.told;
                    }
                }
            }
            judgement.steps = steps;
        }
        let kinds: Vec<KindRow> = FaultKind::ALL.into_iter().filter_map(|kind| self.kind(kind)).collect();
        let witness = usage.and_then(|usage| usage.trend(self.soaked));
        let mut doubts = doubts(&self.soak, &calm, due, &kinds);
        doubts.extend(witness.iter().flat_map(Trend::doubts));
        let carried = self.relay.carried_in_all();
        SoakOutcome {
            asked_s: self.soak.lasts.as_secs(),
            lasted_ms: millis(self.soaked),
            slices: self.slices,
            judged_ms: millis(self.judged),
            judged_ms_max: millis(self.judged_max),
            ledger_bytes_max: self.ledger_bytes_max,
            tool_rss_kib_max: own_peak_kib(),
            datagrams_passed: carried.passed,
            datagrams_dropped: carried.dropped,
            load_average_max: usage.map_or(0.0, Usage::load_average_max),
            recovery_ms_limit: millis(RECOVERY_LIMIT),
            kinds,
            calm,
            witness,
            lives: usage.map(Usage::lives).unwrap_or_default(),
            faults: self.rows,
            doubts,
        }
    }

    fn window_of(&self, step: &StepRow) -> Option<&Window> {
        self.past.iter().find(|window| window.from_us == step.from_us && window.step().name == step.name)
    }

    fn kind(&self, kind: FaultKind) -> Option<KindRow> {
        let of: Vec<&FaultRow> = self.rows.iter().filter(|row| row.kind == kind).collect();
        let longest = of.iter().map(|row| millis(row.fault.lasts)).max()?;
        let mut answered: Vec<u64> = of.iter().filter_map(|row| row.answered_ms).collect();
        answered.sort_unstable();
        Some(KindRow {
            kind,
            times: of.len(),
            longest_ms: longest,
            ready_ms_max: of.iter().filter_map(|row| row.ready_ms).max().unwrap_or(0),
            answered_ms_median: answered.get(answered.len() / 2).copied().unwrap_or(0),
            answered_ms_max: answered.last().copied().unwrap_or(0),
            casts: of.iter().map(|row| row.casts).sum(),
            told: of.iter().map(|row| row.told).sum(),
        })
    }
}

/// Why the soak proves less than it should. `due` is the rate that has to be reached, if one has.
fn doubts(soak: &Soak, calm: &Calm, due: Option<u32>, kinds: &[KindRow]) -> Vec<String> {
    let mut doubts = Vec::new();
    if kinds.is_empty() && !soak.lasts.is_zero() {
        doubts.push("no fault happened in the soak".to_owned());
    }
    if let Some(rate) = due.filter(|rate| calm.rate() * 100 < u64::from(*rate) * CALM_PERCENT_MIN) {
        let (rate, reached) = (grouped(rate.into()), grouped(calm.rate()));
        doubts.push(format!(
            "asked for {rate} casts/s, reached {reached} while nothing was wrong: the machine is too slow for this rate"
        ));
    }
    doubts
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// How much of the rate that was asked for the calm has to reach, in percent: as much as a run without a soak.
const CALM_PERCENT_MIN: u64 = 90;
