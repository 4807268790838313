//! What node processes take from the machine over their lives: memory and descriptors, and whether they take ever more.
//!
//! In: `/proc` of Linux, every few seconds; elsewhere nothing is known. Out: the samples of each process, and the
//! [`Trend`] of the one that lives from the beginning of a soak to its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::fault::WITNESS;
use crate::name::node_name;

/// What was seen of all processes.
#[derive(Debug)]
pub(crate) struct Usage {
    begun: Instant,
    looked: Option<Instant>,
    load_average_max: f64,
    /// By the number of the process.
    lives: BTreeMap<usize, (usize, Vec<Sample>)>,
}

/// What one process took at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the soak began.
    pub at_s: f64,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// What one process took over its life, as far as it lay in the soak.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LifeUsage {
    /// The node.
    pub node: String,
    /// How often it was looked at.
    pub samples: usize,
    /// The most memory, in KiB.
    pub rss_kib_max: u64,
    /// The memory when it was last looked at, in KiB.
    pub rss_kib_last: u64,
    /// The most descriptors.
    pub descriptors_max: u64,
}

/// How what the witness takes has changed: medians of the first and the last third of what is behind its warm-up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The node.
    pub node: String,
    /// Memory in the first third, in KiB.
    pub rss_kib_first: u64,
    /// Memory in the last third, in KiB.
    pub rss_kib_last: u64,
    /// The most memory at any time, in KiB.
    pub rss_kib_max: u64,
    /// Descriptors in the first third.
    pub descriptors_first: u64,
    /// Descriptors in the last third.
    pub descriptors_last: u64,
    /// The most descriptors at any time.
    pub descriptors_max: u64,
    /// Some of the samples, evenly spread.
    pub samples: Vec<Sample>,
}

impl Usage {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), looked: None, load_average_max: 0.0, lives: BTreeMap::new() }
    }

    /// Looks at processes, each with its node and its own number, where it is time to.
    pub(crate) fn look(&mut self, processes: impl Iterator<Item = (usize, usize, u32)>) {
        if self.looked.is_some_and(|looked| looked.elapsed() < INTERVAL) {
            return;
        }
        self.looked = Some(Instant::now());
        self.load_average_max = self.load_average_max.max(load_average().unwrap_or(0.0));
        let at_s = self.begun.elapsed().as_secs_f64();
        for (node, life, pid) in processes {
            let Some((rss_kib, descriptors)) = kib(&pid.to_string(), "VmRSS:").zip(descriptors(pid)) else { continue };
            let (_, samples) = self.lives.entry(life).or_insert_with(|| (node, Vec::new()));
            samples.push(Sample { at_s, rss_kib, descriptors });
        }
    }

    /// The highest load average of the machine, over a minute.
    pub(crate) fn load_average_max(&self) -> f64 {
        self.load_average_max
    }

    /// Each process, in the order of their starts.
    pub(crate) fn lives(&self) -> Vec<LifeUsage> {
        let of_life = |(node, samples): &(usize, Vec<Sample>)| LifeUsage {
            node: node_name(*node),
            samples: samples.len(),
            rss_kib_max: samples.iter().map(|sample| sample.rss_kib).max().unwrap_or(0),
            rss_kib_last: samples.last().map_or(0, |sample| sample.rss_kib),
            descriptors_max: samples.iter().map(|sample| sample.descriptors).max().unwrap_or(0),
        };
        self.lives.values().map(of_life).collect()
    }

    /// The trend of the process that is never killed; nothing where it was hardly looked at.
    pub(crate) fn trend(&self, soaked: Duration) -> Option<Trend> {
        let (_, samples) = self.lives.values().find(|(node, _)| *node == WITNESS)?;
        trend(samples, WARM_UP_MAX.min(soaked / WARM_UP_SHARE))
    }
}

fn trend(samples: &[Sample], warm_up: Duration) -> Option<Trend> {
    let warm: Vec<Sample> = samples.iter().copied().filter(|sample| sample.at_s >= warm_up.as_secs_f64()).collect();
    let third = warm.len() / 3;
    if third == 0 {
        return None;
    }
    let (first, last) = (&warm[..third], &warm[warm.len() - third..]);
    let (rss, fds) = (|sample: &Sample| sample.rss_kib, |sample: &Sample| sample.descriptors);
    Some(Trend {
        node: node_name(WITNESS),
        rss_kib_first: median(first, rss),
        rss_kib_last: median(last, rss),
        rss_kib_max: samples.iter().map(rss).max().unwrap_or(0),
        descriptors_first: median(first, fds),
        descriptors_last: median(last, fds),
        descriptors_max: samples.iter().map(fds).max().unwrap_or(0),
        samples: samples.iter().copied().step_by(samples.len().div_ceil(SHOWN_MAX)).collect(),
    })
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

impl Trend {
    /// Whether the memory of the last third is at most a tenth and 4 MiB above that of the first.
    pub fn memory_is_flat(&self) -> bool {
        self.rss_kib_last <= self.rss_kib_first + self.rss_kib_first / 10 + RSS_SLACK_KIB
    }

    /// Whether the last third has at most four descriptors more than the first.
    pub fn descriptors_are_flat(&self) -> bool {
        self.descriptors_last <= self.descriptors_first + DESCRIPTORS_SLACK
    }

    /// What grew, each in words: why the run could not tell.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let Self { node, rss_kib_first, rss_kib_last, descriptors_first, descriptors_last, .. } = self;
        let memory = (!self.memory_is_flat()).then(|| {
            let (first, last) = (mib(*rss_kib_first), mib(*rss_kib_last));
            format!("the memory of {node} grew: {first} MiB in the first third of the soak, {last} in the last")
        });
        let descriptors = (!self.descriptors_are_flat()).then(|| {
            let (first, last) = (descriptors_first, descriptors_last);
            format!("the descriptors of {node} grew: {first} in the first third of the soak, {last} in the last")
        });
        memory.into_iter().chain(descriptors).collect()
    }
}

/// KiB in MiB, with one digit.
pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// The most memory that this process ever had, in KiB.
pub(crate) fn own_peak_kib() -> u64 {
    kib("self", "VmHWM:").unwrap_or(0)
}

fn kib(process: &str, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn descriptors(pid: u32) -> Option<u64> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// How often processes are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is left out at the beginning of a soak: two minutes, and of a short one a tenth.
const WARM_UP_MAX: Duration = Duration::from_secs(120);
const WARM_UP_SHARE: u32 = 10;

/// How much more memory than a tenth is no growth, in KiB: what buffers and the allocator's pools come and go by.
const RSS_SLACK_KIB: u64 = 4 * 1024;

/// How many more descriptors are no growth.
const DESCRIPTORS_SLACK: u64 = 4;

/// How many samples a report has at most.
const SHOWN_MAX: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss_kib: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |at| Sample { at_s: at as f64, rss_kib: rss_kib(at), descriptors: descriptors(at) };
        (0..300).map(sample).collect()
    }

    #[test]
    fn a_peak_is_flat_and_what_grows_is_named() {
        let warm_up = Duration::from_secs(30);
        let peak = trend(&samples(|at| if at == 100 { 900_000 } else { 50_000 }, |_| 20), warm_up).expect("a trend");
        assert!(peak.doubts().is_empty() && peak.rss_kib_max == 900_000, "{peak:?}");
        let leak = trend(&samples(|at| 50_000 + at * 100, |at| 20 + at / 20), warm_up).expect("a trend");
        let doubts = leak.doubts();
        assert!(doubts.len() == 2 && doubts[0].starts_with("the memory of n1 grew: 56.2 MiB"), "{doubts:?}");
        assert!(doubts[1].starts_with("the descriptors of n1 grew: 23"), "{doubts:?}");
        let warming = trend(&samples(|at| if at < 30 { 10_000 } else { 50_000 }, |_| 20), warm_up).expect("a trend");
        assert!(warming.doubts().is_empty(), "{warming:?}");
    }

    #[test]
    fn what_may_be_added_is_a_tenth_and_four_mebibytes() {
        let of =
            |last| Trend { rss_kib_last: last, ..trend(&samples(|_| 40_960, |_| 9), Duration::ZERO).expect("one") };
        assert!(of(40_960 + 4_096 + 4_096).memory_is_flat());
        assert!(!of(40_960 + 4_096 + 4_097).memory_is_flat());
        assert!(trend(&[], Duration::ZERO).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_looked_at() {
        let mut usage = Usage::new();
        usage.look([(WITNESS, 3, std::process::id())].into_iter());
        let lives = usage.lives();
        assert!(lives.len() == 1 && lives[0].rss_kib_max > 0 && lives[0].descriptors_max > 2, "{lives:?}");
        assert!(own_peak_kib() >= lives[0].rss_kib_max);
    }
}
