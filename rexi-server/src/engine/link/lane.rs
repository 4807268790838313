//! The ordered lane as it is written. It goes before large payloads, but for the turns that these have where it would
//! take all of the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{Connection, SendStream, WriteError};
use tokio::time::{Instant, sleep_until};

/// Bytes of the lane go first.
pub(super) const LANE_PRIORITY: i32 = 1;

pub(super) const BULK_PRIORITY: i32 = -1;

/// The lane, and the payloads that travel beside it.
pub(super) struct Lane {
    stream: SendStream,
    connection: Connection,
    /// How many payloads were put beside it.
    put: usize,
    /// How many of them have been transferred, or failed.
    transferred: Arc<AtomicUsize>,
    turn: Turn,
    turn_ends: Instant,
}

/// Whose turn it is.
enum Turn {
    /// The lane's; so many payloads had been transferred when it began.
    Lane(usize),
    Shared,
}

/// A payload in transfer, until it is dropped.
pub(super) struct Transfer(Arc<AtomicUsize>);

impl Lane {
    pub(super) fn new(stream: SendStream, connection: &Connection) -> Self {
        Self {
            stream,
            connection: connection.clone(),
            put: 0,
            transferred: Arc::default(),
            turn: Turn::Lane(0),
            turn_ends: Instant::now(),
        }
    }

    /// A payload is put beside the lane.
    pub(super) fn transfer(&mut self) -> Transfer {
        if self.is_alone() {
            self.begin_turn();
        }
        self.put += 1;
        Transfer(Arc::clone(&self.transferred))
    }

    /// Whether no payload is in transfer.
    pub(super) fn is_alone(&self) -> bool {
        self.put == self.transferred()
    }

    /// Writes some of these bytes, as soon as there is room for them.
    ///
    /// # Errors
    /// The connection's end, or the peer's refusal to read.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        loop {
            tokio::select! {
                biased;
                written = self.stream.write(bytes) => return written,
                () = sleep_until(self.turn_ends), if self.takes_turns() => self.end_turn(),
            }
        }
    }

    /// Waits for something else than room, while turns go on.
    pub(super) async fn take_turns_until<T>(&mut self, event: impl Future<Output = T>) -> T {
        tokio::pin!(event);
        loop {
            tokio::select! {
                biased;
                come = &mut event => return come,
                () = sleep_until(self.turn_ends), if self.takes_turns() => self.end_turn(),
            }
        }
    }

    /// Says that nothing follows, and waits until the peer has all.
    pub(super) async fn finish(&mut self) {
        let _ = self.stream.finish();
        let _ = self.stream.stopped().await;
    }

    fn takes_turns(&self) -> bool {
        !self.is_alone() || matches!(self.turn, Turn::Shared)
    }

    fn end_turn(&mut self) {
        match self.turn {
            Turn::Lane(before) if before == self.transferred() => {
                self.turn = Turn::Shared;
                self.turn_ends = Instant::now() + self.connection.rtt().max(SHARED_MIN);
                self.give(BULK_PRIORITY);
            }
            _ => self.begin_turn(),
        }
    }

    /// Of the lane.
    fn begin_turn(&mut self) {
        self.give(LANE_PRIORITY);
        self.turn = Turn::Lane(self.transferred());
        self.turn_ends = Instant::now() + PATIENCE;
    }

    fn transferred(&self) -> usize {
        self.transferred.load(Ordering::Relaxed)
    }

    /// Counts from the next packet on that has bytes of the lane. Among streams of one priority, each packet is
    /// another's.
    fn give(&self, priority: i32) {
        // Fails only where the lane has ended, and then nothing waits.
        let _ = self.stream.set_priority(priority);
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long payloads wait behind the lane before they share a turn with it, if none of them has been transferred.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long they share it at least. Not less than a round trip, in which all that may be on its way is sent once.
const SHARED_MIN: Duration = Duration::from_millis(10);
