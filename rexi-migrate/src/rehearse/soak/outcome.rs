//! What came of a soak, in figures: each fault, each kind of fault, the calm between them, what processes took.
//!
//! In: the rows that the soak wrote and the judgement of its ledgers, whose steps have one for each window. Out: a
//! [`SoakOutcome`], and a judgement whose steps are those of the run alone.

use std::time::Duration;

use serde::Serialize;

use super::act::RECOVERY_LIMIT;
use super::fault::{Fault, FaultKind};
use super::usage::{LifeUsage, Trend, Usage, own_peak_kib};
use super::{Soak, Soaking};
use crate::history::evidence::StepWindow;
use crate::history::judge::{Judgement, StepRow};
use crate::screen::grouped;
use crate::verdict::conclusion::Conclusion;

/// One fault as it went. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultRow {
    /// From 1.
    pub number: usize,
    /// What it was.
    pub kind: FaultKind,
    /// Who was concerned: a node, two, or all.
    pub whom: String,
    /// All of it in words.
    pub what: String,
    /// When it began.
    pub began_us: u64,
    /// When it was over; of a kill: when the node was started again.
    pub healed_us: Option<u64>,
    /// When all was well again, as far as the run waited for it.
    pub recovered_us: Option<u64>,
    /// Milliseconds from its end until every node was ready and connected with every other.
    pub ready_ms: Option<u64>,
    /// Milliseconds from its end until a job had answered on each way between those that it concerned.
    pub answered_ms: Option<u64>,
    /// Casts from its beginning until all was well again.
    pub casts: u64,
    /// Of these: casts whose caller was told that they were not served.
    pub told: u64,
    #[serde(skip)]
    pub(crate) fault: Fault,
}

impl FaultRow {
    pub(super) fn new(number: usize, fault: Fault, began_us: u64) -> Self {
        Self {
            number,
            kind: fault.kind,
            whom: fault.whom(),
            what: fault.to_string(),
            began_us,
            healed_us: None,
            recovered_us: None,
            ready_ms: None,
            answered_ms: None,
            casts: 0,
            told: 0,
            fault,
        }
    }
}

/// All faults of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindRow {
    /// The kind.
    pub kind: FaultKind,
    /// How many there were.
    pub times: usize,
    /// The longest, in milliseconds.
    pub longest_ms: u64,
    /// The longest time until all nodes were ready, in milliseconds.
    pub ready_ms_max: u64,
    /// The median of the times until calls were answered again, in milliseconds.
    pub answered_ms_median: u64,
    /// The longest of these.
    pub answered_ms_max: u64,
    /// Casts from the beginnings of these faults until all was well again.
    pub casts: u64,
    /// Of these: casts whose caller was told that they were not served.
    pub told: u64,
}

/// The time in which nothing was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calm {
    /// How long it was, in milliseconds.
    pub ms: u64,
    /// Casts made.
    pub casts: u64,
    /// Of these: casts whose caller was told that they were not served.
    pub told: u64,
}

impl Calm {
    /// Casts a second.
    pub fn rate(&self) -> u64 {
        self.casts.saturating_mul(1_000) / self.ms.max(1)
    }
}

/// What came of a soak.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SoakOutcome {
    /// How long it was to last, in seconds; a script has no such time.
    pub asked_s: u64,
    /// How long it lasted, its rests included, in milliseconds.
    pub lasted_ms: u64,
    /// In how many slices it was judged.
    pub slices: usize,
    /// How long the judge took for all of them, in milliseconds.
    pub judged_ms: u64,
    /// How long it took for one of them at most, in milliseconds.
    pub judged_ms_max: u64,
    /// How large the ledgers of a slice were at most, in bytes.
    pub ledger_bytes_max: u64,
    /// The most memory of the process that judges, in KiB.
    pub tool_rss_kib_max: u64,
    /// Datagrams that the relay passed on.
    pub datagrams_passed: u64,
    /// Datagrams that it lost, as it was to.
    pub datagrams_dropped: u64,
    /// The machine's highest load average, over a minute.
    pub load_average_max: f64,
    /// Within how long after a fault all had to be well, in milliseconds.
    pub recovery_ms_limit: u64,
    /// The faults, by kind.
    pub kinds: Vec<KindRow>,
    /// The calm in between.
    pub calm: Calm,
    /// How what the node takes that is never killed has changed, where that can be said.
    pub witness: Option<Trend>,
    /// What each process took.
    pub lives: Vec<LifeUsage>,
    /// Every fault, in order.
    pub faults: Vec<FaultRow>,
    /// Why the run proves less than it should, if so.
    pub doubts: Vec<String>,
}

impl SoakOutcome {
    /// What it means for the run, beside what the ledgers say.
    pub fn conclusion(&self) -> Conclusion {
        if self.doubts.is_empty() { Conclusion::Safe } else { Conclusion::CouldNotTell }
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
    /// Adds up what came of it. The steps of the judgement that are windows of the soak become parts of the step of
    /// this title.
    pub(in crate::rehearse) fn outcome(
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
