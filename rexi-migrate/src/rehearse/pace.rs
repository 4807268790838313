//! What the machine gives a process: how long it had to wait for a core, and how much of a period it really had.
//!
//! In: the kernel's own account of each thread (`schedstat` of Linux; elsewhere it is unknown, and counts as none).
//! Out: a pace that a thread of this process keeps, for its ledger and its load; [`Waits`] of any process, with which a
//! limit of time is stretched by what the machine withheld. A limit that is not stretched is a guess about the machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::history::ledger::{BEAT, Entry, LedgerWriter};
use crate::workload::work::record;

/// How long the threads of one process have waited for a core.
#[derive(Debug)]
pub struct Waits {
    /// Where the kernel lists the threads of the process.
    threads: PathBuf,
    /// The account of each thread when it was last read, in nanoseconds.
    seen: BTreeMap<String, u64>,
}

impl Waits {
    /// Those of this process, from now on.
    pub fn of_self() -> Self {
        Self::at("/proc/self/task".into())
    }

    /// Those of another process, from now on.
    pub fn of(pid: u32) -> Self {
        Self::at(format!("/proc/{pid}/task").into())
    }

    fn at(threads: PathBuf) -> Self {
        let mut waits = Self { threads, seen: BTreeMap::new() };
        waits.since_last();
        waits
    }

    /// How long the thread that waited longest has waited since this was last asked. Zero for a process that is gone,
    /// and where the kernel keeps no account.
    pub fn since_last(&mut self) -> Duration {
        let before = std::mem::take(&mut self.seen);
        let Ok(threads) = std::fs::read_dir(&self.threads) else { return Duration::ZERO };
        let mut longest = 0;
        for thread in threads.flatten() {
            let account = std::fs::read_to_string(thread.path().join("schedstat")).ok();
            // Time on a core, time waiting for one, and how often it had one.
            let Some(waited) = account.as_deref().and_then(waited) else { continue };
            let name = thread.file_name().to_string_lossy().into_owned();
            longest = longest.max(waited.saturating_sub(before.get(&name).copied().unwrap_or(0)));
            self.seen.insert(name, waited);
        }
        Duration::from_nanos(longest)
    }
}

fn waited(account: &str) -> Option<u64> {
    account.split_whitespace().nth(1)?.parse().ok()
}

/// How much time this process has had: a clock that stands while the process does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace(Arc<AtomicU64>);

impl Pace {
    /// The time since the first beat, without what the process stood still.
    pub(crate) fn awake(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn add(&self, had: Duration) {
        self.0.fetch_add(u64::try_from(had.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The thread that writes a beat into the ledger every [`BEAT`], and keeps the pace. Ends when it is dropped.
pub(crate) struct Beats {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beats {
    pub(crate) fn start(ledger: Arc<LedgerWriter>, pace: Pace) -> std::io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&over);
        let beat = move || {
            let mut waits = Waits::of_self();
            let mut last = Instant::now();
            while !asked.load(Ordering::Relaxed) {
                let waited = waits.since_last();
                record(&ledger, &[Entry::Beat { waited_us: waited.as_micros().try_into().unwrap_or(u64::MAX) }]);
                // What was longer than a beat, the process did not run; nor while its threads waited.
                pace.add(last.elapsed().min(BEAT).saturating_sub(waited));
                last = Instant::now();
                std::thread::park_timeout(BEAT);
            }
        };
        let thread = std::thread::Builder::new().name("beat".to_owned()).spawn(beat)?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It panics with nothing but the ledger, which ends the process by itself.
            let _ = thread.join();
        }
    }
}

/// A limit of time for work of some processes: it passes by the time that they had, so that a machine that gives them
/// a tenth of its cores gives them ten times as long.
#[derive(Debug)]
pub struct Allowance {
    begun: Instant,
    limit: Duration,
    stretch_max: u32,
    withheld: Duration,
    looked: Option<Instant>,
    waits: BTreeMap<u32, Waits>,
}

impl Allowance {
    /// From now on.
    pub fn new(limit: Duration) -> Self {
        let (begun, stretch_max) = (Instant::now(), STRETCH_MAX);
        Self { begun, limit, stretch_max, withheld: Duration::ZERO, looked: None, waits: BTreeMap::new() }
    }

    /// Is stretched by no more than this many times the limit.
    #[must_use]
    pub fn stretched_at_most(self, stretch_max: u32) -> Self {
        Self { stretch_max, ..self }
    }

    /// How much longer it takes than its limit, so far, since the machine gave the processes less than that.
    pub fn stretched_by(&self) -> Duration {
        self.withheld.min(self.limit * self.stretch_max)
    }

    /// How much is left, as far as can be told now, for these processes and this one. Looks at their accounts five
    /// times a second at most.
    pub fn left(&mut self, processes: impl IntoIterator<Item = u32>) -> Duration {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL) {
            let elapsed = self.looked.unwrap_or(self.begun).elapsed();
            self.looked = Some(Instant::now());
            let mut longest = Duration::ZERO;
            for process in processes.into_iter().chain([std::process::id()]) {
                longest = longest.max(self.waits.entry(process).or_insert_with(|| Waits::of(process)).since_last());
            }
            // A thread that has waited for long may be told only when it got its core, so more than has passed since.
            self.withheld += longest.min(elapsed.max(LOOK_INTERVAL));
        }
        (self.limit + self.stretched_by()).saturating_sub(self.begun.elapsed())
    }
}

/// How often the accounts of processes are read.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How many times as long a limit may become: a machine that gives less than this share is not waited for.
const STRETCH_MAX: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_how_long_a_thread_has_waited() {
        assert_eq!(waited("9515945 608840 6\n"), Some(608_840));
        assert_eq!(waited("0 0 0"), Some(0));
        assert_eq!((waited(""), waited("12"), waited("a b c")), (None, None, None));
        assert_eq!(Waits::of(u32::MAX).since_last(), Duration::ZERO, "no such process");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_that_share_too_few_cores_are_seen_to_wait() {
        let spinners = 4 * std::thread::available_parallelism().map_or(1, usize::from);
        let mut waits = Waits::of_self();
        let over = AtomicBool::new(false);
        let mut waited = Duration::ZERO;
        std::thread::scope(|scope| {
            for _ in 0..spinners {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            // Bounded by the test's own limit; on any machine one of them waits for as long as another runs.
            while waited < Duration::from_millis(20) {
                std::thread::park_timeout(Duration::from_millis(1));
                waited += waits.since_last();
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(waited >= Duration::from_millis(20), "{waited:?}");
    }

    #[test]
    fn an_allowance_passes_where_nothing_is_withheld_and_is_stretched_so_far_and_no_further() {
        let mut allowance = Allowance::new(Duration::from_secs(3_600));
        assert!(allowance.left([]) <= Duration::from_secs(3_600));
        allowance.withheld = Duration::from_secs(10);
        let left = allowance.left([]);
        assert!(left > Duration::from_secs(3_600) && left <= Duration::from_secs(3_610 + 1), "{left:?}");
        allowance.withheld = Duration::from_secs(3_600 * 1_000);
        assert!(allowance.left([]) <= Duration::from_secs(3_600 * 31));
        let mut over = Allowance::new(Duration::ZERO);
        assert_eq!(over.left([]), Duration::ZERO);
    }

    #[test]
    fn beats_are_written_while_they_are_kept_and_the_pace_goes_on_with_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let header = crate::history::ledger::LedgerHeader::new(
            rexi_proto::NodeName::new("n1").expect("a name"),
            crate::history::ledger::NodeIndex(0),
            semver::Version::new(1, 0, 0),
            rexi_proto::Incarnation(1),
        );
        let path = dir.path().join("ledger");
        let ledger = Arc::new(LedgerWriter::create(&path, &header).expect("a ledger"));
        let pace = Pace::default();
        let beats = Beats::start(Arc::clone(&ledger), pace.clone()).expect("a thread");
        // Until it has beaten more than once; the pace has moved by then.
        while pace.awake() < Duration::from_millis(50) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        drop(beats);
        let written = crate::history::ledger::LedgerReader::read(&path).expect("it reads").records;
        assert!(written.len() >= 2, "{written:?}");
        assert!(written.iter().all(|record| matches!(record.entry, Entry::Beat { .. })), "{written:?}");
        assert!(pace.awake() < Duration::from_secs(60));
    }
}
