//! The load's own thread: it keeps the rate whatever the node's thread is busy with, and takes its orders from that
//! thread.
//!
//! In: commands of the node process, each answered once it has been carried out. Out: figures that can be read at any
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rexi_server::Mailbox;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::{Load, LoadCounts};

/// A load that runs in a thread of its own, which ends with this value.
pub(crate) struct LoadThread {
    words: mpsc::Sender<(Word, oneshot::Sender<()>)>,
    shown: Arc<Shown>,
}

/// What the load is told.
enum Word {
    On(bool),
    /// To make no more casts, watch nobody, and put nothing off.
    Rest,
    GiveUp,
}

/// The load's thread has ended, which it does by itself only where it panicked: its standard error says why.
#[derive(Debug, thiserror::Error)]
#[error("the thread of the load has ended")]
pub(crate) struct LoadEnded;

/// The figures of the load, as they were a moment ago.
#[derive(Default)]
struct Shown {
    asked: AtomicU64,
    casts: AtomicU64,
    answered: AtomicU64,
    killed: AtomicU64,
    timed_out: AtomicU64,
    in_flight: AtomicUsize,
    /// By the node that gave them.
    replies: [AtomicU64; NODES_MAX],
}

impl LoadThread {
    /// Starts the thread; the load is off.
    pub(crate) fn start(load: impl FnOnce() -> (Load, Mailbox) + Send + 'static) -> std::io::Result<Self> {
        let (words, heard) = mpsc::channel(1);
        let shown = Arc::new(Shown::default());
        let (runtime, showing) =
            (tokio::runtime::Builder::new_current_thread().enable_all().build()?, Arc::clone(&shown));
        let run = move || runtime.block_on(async move { drive(load(), heard, &showing).await });
        std::thread::Builder::new().name("load".to_owned()).spawn(run)?;
        Ok(Self { words, shown })
    }

    /// Makes casts from now on, or no more. What is under way goes on.
    pub(crate) async fn set_on(&self, on: bool) -> Result<(), LoadEnded> {
        self.tell(Word::On(on)).await
    }

    /// Brings the load to rest: no more casts, nothing is watched, and nothing is put off any longer.
    pub(crate) async fn rest(&self) -> Result<(), LoadEnded> {
        self.tell(Word::Rest).await
    }

    /// Gives up what is still under way: see [`Load::give_up`].
    pub(crate) async fn give_up(&self) -> Result<(), LoadEnded> {
        self.tell(Word::GiveUp).await
    }

    async fn tell(&self, word: Word) -> Result<(), LoadEnded> {
        let (heeded, answer) = oneshot::channel();
        self.words.send((word, heeded)).await.map_err(|_| LoadEnded)?;
        answer.await.map_err(|_| LoadEnded)
    }

    /// Calls that are open, and those that gathers may have open.
    pub(crate) fn in_flight(&self) -> usize {
        self.shown.in_flight.load(Ordering::Acquire)
    }

    /// Replies to own casts, by the node that gave them; nodes behind the last that gave one are left out.
    pub(crate) fn replies(&self) -> Vec<u64> {
        let mut replies: Vec<u64> = self.shown.replies.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        replies.truncate(replies.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        replies
    }

    pub(crate) fn counts(&self) -> LoadCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shown { asked, casts, answered, killed, timed_out, .. } = &*self.shown;
        LoadCounts {
            asked: of(asked),
            casts: of(casts),
            answered: of(answered),
            killed: of(killed),
            timed_out: of(timed_out),
        }
    }
}

impl Shown {
    fn show(&self, load: &Load) {
        let LoadCounts { asked, casts, answered, killed, timed_out } = load.counts;
        self.asked.store(asked, Ordering::Relaxed);
        self.casts.store(casts, Ordering::Relaxed);
        self.answered.store(answered, Ordering::Relaxed);
        self.killed.store(killed, Ordering::Relaxed);
        self.timed_out.store(timed_out, Ordering::Relaxed);
        for (node, replies) in load.replies() {
            if let Some(shown) = self.replies.get(usize::from(node.0)) {
                shown.store(replies, Ordering::Relaxed);
            }
        }
        self.in_flight.store(load.in_flight(), Ordering::Release);
    }
}

async fn drive(
    (mut load, mut mailbox): (Load, Mailbox),
    mut words: mpsc::Receiver<(Word, oneshot::Sender<()>)>,
    shown: &Shown,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut heeded = None;
        tokio::select! {
            biased;
            word = words.recv() => {
                let Some((word, answer)) = word else { return };
                heeded = Some(answer);
                match word {
                    Word::On(on) => load.set_on(on),
                    Word::Rest => load.rest(&mailbox),
                    Word::GiveUp => load.give_up(),
                }
            }
            _ = ticks.tick() => {
                load.tick(&mailbox);
                load.time_out(&mut mailbox);
            }
            event = mailbox.recv() => load.handle(event, &mut mailbox),
        }
        // Before it is answered, so that the sender of a command reads its effect.
        shown.show(&load);
        // Fails where nobody waits for the answer.
        heeded.map(|answer| answer.send(()));
    }
}

/// As many nodes as a set of a ledger holds.
const NODES_MAX: usize = 32;

/// How often the load looks at what is due.
const TICK: Duration = Duration::from_millis(2);
