//! What a process has used, which core it runs on, and how long things took.

use std::time::Duration;

use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What this process has used since its start.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Of all its threads, in user and kernel.
    pub(crate) cpu_us: u64,
    /// Resident memory now; 0 where the system does not say.
    pub(crate) rss_kib: u64,
}

impl Usage {
    pub(crate) fn now() -> Result<Self, Failure> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let cpu = usage.user_time() + usage.system_time();
        Ok(Self { cpu_us: u64::try_from(cpu.num_microseconds()).unwrap_or_default(), rss_kib: rss_kib() })
    }
}

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

/// Pins this thread, and all that it starts later, to the core of this index. Where there is one core only, or the
/// system cannot pin, nothing happens.
pub(crate) fn pin(core: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.len() > 1 {
        core_affinity::set_for_current(cores[core % cores.len()]);
    }
}

/// Gives this process the lowest priority there is: others on its core run whenever they can.
pub(crate) fn give_way() -> Result<(), Failure> {
    Ok(rustix::process::setpriority_process(None, 19)?)
}

/// Latencies as they come, each task with its own, so that recording costs next to nothing. Counted in nanoseconds;
/// what took longer than 4 s counts as 4 s.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }

    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// The quantiles in microseconds, to three digits; 0 where nothing was recorded.
    pub(crate) fn quantiles_us<const N: usize>(&self, quantiles: [f64; N]) -> Result<[f64; N], Failure> {
        let mut histogram = Histogram::<u64>::new(3)?;
        for &took in &self.0 {
            histogram.record(u64::from(took))?;
        }
        Ok(quantiles.map(|quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut latencies = Latencies::default();
        for micros in 1..=100 {
            latencies.record(Duration::from_micros(micros));
        }
        let [p50, p99] = latencies.quantiles_us([0.5, 0.99]).expect("the values are in range");
        assert!((49.9..50.1).contains(&p50) && (98.8..99.2).contains(&p99), "{p50} {p99}");
    }

    #[test]
    fn a_process_has_used_something() {
        let usage = Usage::now().expect("the system says");
        assert!(usage.rss_kib > 100 || !cfg!(target_os = "linux"), "{usage:?}");
    }
}
