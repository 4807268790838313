//! A soak: the load runs on for long, while one thing after the other goes wrong, and all has to be well in between.
//!
//! In: how long, or a script of faults. Out: a [`SoakOutcome`] for the report. `soak/fault.rs` draws what goes wrong,
//! `soak/act.rs` does it to a run, `soak/slice.rs` has the ledgers judged from rest to rest, so that neither they nor
//! the judge grow with the soak, `soak/usage.rs` follows what the processes take from the machine, and
//! `soak/outcome.rs` adds up what came of it.

pub(crate) mod act;
mod fault;
mod outcome;
mod slice;
pub(crate) mod usage;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::history::judge::{Judgement, Sum};
use crate::rehearse::relay::Relay;
use fault::Faults;
use outcome::Window;

pub use fault::{Fault, FaultKind};
pub use outcome::{Calm, FaultRow, KindRow, SoakOutcome};
pub use usage::{LifeUsage, Sample, Trend};

/// How to soak.
#[derive(Clone, Debug)]
pub struct Soak {
    /// For how long; with a script: until that is through.
    pub lasts: Duration,
    /// What goes wrong, one after the other; drawn from the run's seed where it is empty.
    pub script: Vec<Fault>,
    /// How long all is well after each fault and its recovery.
    pub calm: Range<Duration>,
    /// After how long the load comes to rest for a moment and the ledgers are judged.
    pub slice: Duration,
}

impl Soak {
    /// A soak of so many minutes at this many casts a second, of all nodes together.
    pub fn minutes(minutes: u32, rate: u32) -> Self {
        let slice = Duration::from_secs(SLICE_CASTS / u64::from(rate.max(1))).clamp(SLICE_MIN, SLICE_MAX);
        Self { lasts: Duration::from_secs(60) * minutes, script: Vec::new(), calm: CALM, slice }
    }
}

/// A soak under way.
#[derive(Debug)]
pub(crate) struct Soaking {
    soak: Soak,
    faults: Faults,
    script: VecDeque<Fault>,
    relay: Relay,
    rows: Vec<FaultRow>,
    /// The times of the slice under way, each with what was wrong then, if anything.
    windows: Vec<Window>,
    /// The windows of the slices before.
    past: Vec<Window>,
    sum: Sum,
    slices: usize,
    /// How long the judge took, in all and for one slice at most.
    judged: Duration,
    judged_max: Duration,
    /// How large the ledgers of a slice were at most, in bytes.
    ledger_bytes_max: u64,
    /// How long the soak took, once it is through.
    soaked: Duration,
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
    fn is_over(&self, soaked: Duration) -> bool {
        if self.soak.script.is_empty() { soaked >= self.soak.lasts } else { self.script.is_empty() }
    }

    fn next_fault(&mut self) -> Fault {
        self.script.pop_front().unwrap_or_else(|| self.faults.draw())
    }

    fn draw_calm(&mut self) -> Duration {
        self.faults.draw_calm(&self.soak.calm)
    }

    /// All slices so far as one; nothing where none was judged.
    pub(crate) fn so_far(&mut self, processes: usize, required: &[crate::verdict::case::Requirement]) -> Option<Judgement> {
        (self.slices > 0).then(|| std::mem::take(&mut self.sum).judgement(processes as u64, required))
    }
}

/// The most minutes of a soak: a day.
pub const MINUTES_MAX: u32 = 1_440;

/// How long all is well after each fault and its recovery.
const CALM: Range<Duration> = Duration::from_secs(3)..Duration::from_secs(6);

/// How many casts a slice has: its judge takes some seconds and some hundred MiB for them.
const SLICE_CASTS: u64 = 1_000_000;

const SLICE_MIN: Duration = Duration::from_secs(60);

const SLICE_MAX: Duration = Duration::from_secs(600);
