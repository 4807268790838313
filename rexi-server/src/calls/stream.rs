//! The caller's end of a reply stream: items are delivered as they come and acknowledged as they are taken.
//!
//! Source: rexi.erl (`stream_start`, `stream_ack`); R18 to R24 of docs/rexi.md.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::Stream;
use rexi_proto::{Answer, CallRef, ExitReason};
use tokio::time::Instant;

use crate::calls::call::Call;
use crate::calls::error::CallError;
use crate::engine::{Delivered, Event, single};

/// The items that a job sends, and its plain replies among them, in the order in which it sent them. The stream is
/// started when the job asks for it, and items are acknowledged as they are taken. It ends after the job's end: with
/// an error if that was none. Dropping it kills the job.
#[must_use = "dropping a stream kills its job"]
pub struct Replies {
    parts: Parts,
}

impl Replies {
    pub(crate) fn new(call: Call) -> Self {
        Self { parts: Parts::new(call) }
    }

    /// The call's number.
    pub fn call_ref(&self) -> CallRef {
        self.parts.call.call_ref()
    }
}

impl Stream for Replies {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(Pin::new(&mut self.parts).poll_next(cx)).map(|part| match part {
            Part::Item(body) | Part::Last(body) => Ok(body),
            Part::Failed(error) => Err(error),
        }))
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Replies").field(&self.call_ref()).finish()
    }
}

/// What a job's stream consists of.
pub(crate) enum Part {
    /// An item, or a plain reply among them.
    Item(Bytes),
    /// The reply that the job has ended with.
    Last(Bytes),
    /// Its end, where that was none.
    Failed(CallError),
}

/// A call as the stream that its job sends. Starts it when the job asks.
pub(crate) struct Parts {
    call: Call,
    /// What has come and is not taken yet.
    ready: single::Queue<Delivered>,
    /// Items that were taken and are not acknowledged yet.
    taken: u64,
    /// When that was last done.
    acknowledged: Instant,
    over: bool,
}

impl Parts {
    pub(crate) fn new(call: Call) -> Self {
        Self { call, ready: single::Queue::default(), taken: 0, acknowledged: Instant::now(), over: false }
    }

    /// Acknowledges what lies here as one, with its last item, so that the job can fill its window again. Where that is
    /// much, the job learns of it while as much is still to be taken; and where items are taken slowly, of each, since
    /// its patience is limited.
    fn note_taken(&mut self) {
        self.taken += 1;
        // The clock costs as much as the rest, so it is asked for the first of those that were taken, then ever less.
        let slow = || self.taken.is_power_of_two() && self.acknowledged.elapsed() >= ACK_DELAY_MAX;
        let left = self.ready.len() as u64;
        if left == 0 || self.taken >= left.max(ACK_ITEMS_MIN) || slow() {
            self.call.ack(std::mem::take(&mut self.taken));
            self.acknowledged = Instant::now();
        }
    }
}

impl Stream for Parts {
    type Item = Part;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        while !self.over {
            let Some(event) = self.ready.pop().map(Delivered::read) else {
                self.ready = ready!(self.call.poll_all(cx));
                continue;
            };
            let Event::Answer(_, answer) = event else { continue };
            self.over = answer.is_last();
            let part = match answer {
                Answer::Ping => continue,
                Answer::StreamInit => {
                    self.call.start();
                    continue;
                }
                Answer::Item { body } => {
                    self.note_taken();
                    Part::Item(body)
                }
                Answer::Reply { body, last: false } => Part::Item(body),
                Answer::Reply { body, last: true } => Part::Last(body),
                Answer::Exit { reason: ExitReason::Done, .. } => continue,
                answer => {
                    self.over = true;
                    self.call.give_up();
                    Part::Failed(CallError::from_answer(answer))
                }
            };
            return Poll::Ready(Some(part));
        }
        Poll::Ready(None)
    }
}

/// Items that lie between two acknowledgements while more are to be taken, at least.
const ACK_ITEMS_MIN: u64 = 8;

/// How long a taken item may go without being acknowledged while more are taken.
const ACK_DELAY_MAX: Duration = Duration::from_millis(1);
