//! The load's streams: most are taken as they come, some slowly, some cancelled, some killed in the middle.
//!
//! Two of them are standing streams, open at every moment of the load: one is paced by its job, the other slowed down
//! by its caller, so that each step and each change of the phase meets open streams, at any rate of casts.

use std::cmp::Reverse;
use std::time::Duration;

use rand::RngExt;
use rexi_proto::{Answer, CallRef};
use rexi_server::Bytes;
use tokio::time::Instant;

use super::{Cast, Due, Load};
use crate::history::ledger::{CallId, Content, Entry, Outcome, Work};
use crate::workload::work::{Order, Part, index_in, record};

/// How the load takes one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    plan: Plan,
    /// How long after its receipt an item is acknowledged.
    ack_after: Duration,
    /// Items received.
    items: u16,
    said: Said,
    stands: Option<Stand>,
}

/// What the load means to do with a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Plan {
    /// To take it whole.
    #[default]
    Keep,
    /// To cancel it when its job asks.
    Cancel,
    /// To kill its job after this many items.
    KillAfter(u16),
}

/// What the load has said of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Start,
    Cancel,
}

/// Streams of which one is open at every moment of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Its job takes its time.
    Paced,
    /// Its caller does, so that the window is full.
    Slow,
}

impl Reading {
    /// What an outcome means for a stream that may have been cancelled.
    pub(super) fn end(&self, outcome: Outcome) -> Outcome {
        let cancelled = outcome == Outcome::StreamDone && self.said == Said::Cancel;
        if cancelled { Outcome::Cancelled } else { outcome }
    }
}

impl Load {
    /// A stream of up to 12 items, by the seed.
    pub(super) fn draw_stream(&mut self, id: CallId) -> (Order, Reading) {
        let parts = self.rng.random_range(1..=12);
        let pause_ms = if self.rng.random_bool(0.3) { self.rng.random_range(1..20) } else { 0 };
        let ack_ms = if self.rng.random_bool(0.2) { self.rng.random_range(5..60) } else { 0 };
        let plan = match self.rng.random_range(0..100) {
            0..6 => Plan::Cancel,
            6..18 => Plan::KillAfter(self.rng.random_range(1..=parts)),
            _ => Plan::Keep,
        };
        let window = self.rng.random_range(1..=8);
        let order = self.stream_order(id, parts, Duration::from_millis(pause_ms), window);
        (order, Reading { plan, ack_after: Duration::from_millis(ack_ms), ..Reading::default() })
    }

    /// Casts the streams that are to stand and do not.
    pub(super) fn keep_streams(&mut self, now: Instant) {
        if now < self.stand_again {
            return;
        }
        self.stand_again = now + STAND_AGAIN;
        for stand in [Stand::Paced, Stand::Slow] {
            if self.open.values().any(|open| open.reading.stands == Some(stand)) {
                continue;
            }
            let (parts, pause_ms, ack_ms, window) = match stand {
                Stand::Paced => (self.rng.random_range(12..=24), self.rng.random_range(40..80), 0, 5),
                Stand::Slow => (self.rng.random_range(12..=24), 2, self.rng.random_range(60..160), 2),
            };
            let id = self.next_id();
            let order = self.stream_order(id, parts, Duration::from_millis(pause_ms), window);
            let ack_after = Duration::from_millis(ack_ms);
            let reading = Reading { ack_after, stands: Some(stand), ..Reading::default() };
            let target = self.rng.random_range(0..self.targets.len());
            self.cast_all(now, vec![Cast { target, order, reading }]);
        }
    }

    fn stream_order(&mut self, id: CallId, parts: u16, pause: Duration, window: u8) -> Order {
        Order { id, work: Work::Stream, pause, payload_bytes: 16, parts, window, salt: self.rng.random() }
    }

    /// Kills the stream that its job paces, once it has begun: one that has not is cancelled when it asks. Its slow
    /// sibling ends soon, now that nothing is put off; if it does not, its job is stuck, which a kill would hide.
    pub(super) fn kill_paced(&mut self) {
        let begun = |reading: &Reading| reading.stands == Some(Stand::Paced) && reading.said == Said::Start;
        let paced: Vec<_> = self.open.iter().filter(|(_, open)| begun(&open.reading)).map(|(&call, _)| call).collect();
        self.kill(&paced);
    }

    /// A job asks for its stream.
    pub(super) fn answer_stream(&mut self, call: CallRef) {
        let Some(open) = self.open.get_mut(&call) else { return };
        let (order, reading) = (open.order, &mut open.reading);
        let number = order.id.call;
        // Standing streams are no longer wanted where the load is off.
        if reading.plan == Plan::Cancel || reading.stands.is_some() && !self.on {
            reading.said = Said::Cancel;
            record(&self.ledger, &[Entry::StreamCancelled { call: number }]);
            self.mailbox.cancel(call);
        } else {
            reading.said = Said::Start;
            let (items, window) = (order.parts, order.window);
            record(&self.ledger, &[Entry::StreamStarted { call: number, items, window }]);
            self.mailbox.start(call);
        }
    }

    /// An item has come. `wants_ack` as all but the last do.
    pub(super) fn take_item(&mut self, call: CallRef, body: &Bytes, wants_ack: bool) {
        let Some(open) = self.open.get_mut(&call) else { return };
        let (order, reading) = (open.order, &mut open.reading);
        let index = index_in(body).unwrap_or(reading.items);
        let right = *body == order.part(Part::Item, index);
        let content = if right { Content::Right } else { Content::Wrong };
        record(&self.ledger, &[Entry::ItemReceived { call: order.id.call, index, content, kib: kib(body) }]);
        reading.items = reading.items.saturating_add(1);
        let (items, plan, ack_after) = (reading.items, reading.plan, reading.ack_after);
        if wants_ack && matches!(plan, Plan::KillAfter(after) if items >= after) {
            self.kill(&[call]);
        } else if wants_ack && !ack_after.is_zero() && self.on {
            self.due.push(Reverse((Instant::now() + ack_after, Due::Ack(call))));
        } else if wants_ack {
            self.mailbox.ack(call, 1);
        }
    }

    /// Notes an item that has come behind the end of its stream.
    pub(super) fn handle_late(&self, call: CallRef, answer: &Answer) {
        let (Answer::Item { body } | Answer::Reply { body, .. }) = answer else { return };
        if let Some(&(_, number)) = self.closed.iter().find(|(closed, _)| *closed == call) {
            let (index, content) = (index_in(body).unwrap_or_default(), Content::Right);
            record(&self.ledger, &[Entry::ItemReceived { call: number, index, content, kib: kib(body) }]);
        }
    }
}

fn kib(body: &Bytes) -> u16 {
    u16::try_from(body.len() >> 10).unwrap_or(u16::MAX)
}

/// How many streams that ended lately are remembered.
pub(super) const CLOSED_MAX: usize = 256;

/// How often the standing streams are looked at: one that is refused at once is not cast again before.
const STAND_AGAIN: Duration = Duration::from_millis(25);
