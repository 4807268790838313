//! Small calls on an open schedule, each measured from when it was due: one that stalls is not left out.
//!
//! tokio's timers are no finer than a millisecond, so the schedule is kept by a thread, which sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::measure::Latencies;
use crate::systems::Caller;
use crate::work::calls::{self, Call, Echo};
use crate::work::load::Tally;
use crate::work::{LARGE_BYTES, SMALL_BYTES};

/// Probes for so long, beside so many echoes of large payloads. The bytes are those of the large ones.
pub(crate) async fn run(caller: &impl Caller, beside: usize, time: Duration) -> Result<Tally, Failure> {
    let large = Echo::new(caller, LARGE_BYTES);
    let bulk = tokio::spawn(async move { calls::closed_loop(&large, beside, time).await });
    let latencies = probe(Echo::new(caller, SMALL_BYTES), time).await?;
    Ok(Tally { latencies, items: 0, bytes: bulk.await??.bytes })
}

async fn probe(call: impl Call, time: Duration) -> Result<Latencies, Failure> {
    let over = Arc::new(AtomicBool::new(false));
    let (sender, mut schedule) = mpsc::channel(DUE_MAX);
    let watched = Arc::clone(&over);
    let pacer = std::thread::spawn(move || pace(&sender, time, &watched));
    let mut calls = JoinSet::new();
    while let Some(due) = schedule.recv().await {
        let call = call.clone();
        calls.spawn(async move { call.call().await.map(|()| Instant::now().saturating_duration_since(due)) });
    }
    over.store(true, Ordering::Relaxed);
    let mut latencies = Latencies::default();
    while let Some(took) = calls.join_next().await {
        latencies.record(took??);
    }
    pacer.join().map_err(|_| Failure::new("the schedule's thread has panicked"))?;
    Ok(latencies)
}

/// Says each time that a call is due. Where the receiver does not keep up, this waits, and what is then said late was
/// due all the same.
fn pace(sender: &mpsc::Sender<Instant>, time: Duration, over: &AtomicBool) {
    let start = Instant::now();
    let mut due = start;
    while due < start + time && !over.load(Ordering::Relaxed) {
        due += INTERVAL;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
        if sender.blocking_send(due).is_err() {
            return;
        }
    }
}

/// How often a small call is due.
const INTERVAL: Duration = Duration::from_millis(2);

/// Calls that may be due before the first of them is made.
const DUE_MAX: usize = 4_096;
