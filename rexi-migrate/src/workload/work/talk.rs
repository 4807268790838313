//! What a job says to its caller before its end: the items of a stream, and questions.
//!
//! Each is recorded before it is said, so that `kill -9` leaves no item that was received but never recorded as sent.

use std::time::Duration;

use rexi_server::{Bytes, Context};

use super::{Order, Part, Value, pause, record};
use crate::history::ledger::{Content, Entry, LedgerWriter};

/// Sends the items of a stream. Some streams end with a last item and nothing, others return it.
pub(super) async fn stream(ledger: &LedgerWriter, mut job: Context, order: &Order) -> Result<Value, String> {
    job.set_stream_window(order.window.into());
    let last = order.parts.saturating_sub(1);
    for index in 0..last {
        record(ledger, &[Entry::ItemSent { id: order.id, index }]);
        job.stream(order.part(Part::Item, index)).await.map_err(|over| over.to_string())?;
        pause(order.pause).await;
    }
    record(ledger, &[Entry::ItemSent { id: order.id, index: last }]);
    let item = order.part(Part::Item, last);
    // A last item that is returned does not ask for the stream, so one that is alone is not.
    if order.returns_last_item() && last > 0 {
        return Ok(Value::Reply(item));
    }
    job.stream_last(item).await.map_err(|over| over.to_string())?;
    Ok(Value::Nothing)
}

/// Asks the caller, one question after the other, and gives what it has responded.
pub(super) async fn ask(ledger: &LedgerWriter, mut job: Context, order: &Order) -> Result<Vec<Bytes>, String> {
    let mut responses = Vec::new();
    for index in 0..order.parts {
        pause(order.pause).await;
        let (id, number) = (order.id, u8::try_from(index).unwrap_or(u8::MAX));
        record(ledger, &[Entry::Asked { id, index: number }]);
        let question = order.part(Part::Question, index);
        let response = job.sync_reply(question, RESPONSE_LIMIT).await.map_err(|error| error.to_string())?;
        let right = response == order.part(Part::Response, index);
        let content = if right { Content::Right } else { Content::Wrong };
        record(ledger, &[Entry::ResponseHeard { id, index: number, content }]);
        responses.push(response);
    }
    Ok(responses)
}

/// How long a job waits for a response: longer than the load waits for any answer, so that it is the load that tells of
/// silence.
const RESPONSE_LIMIT: Duration = Duration::from_secs(60);
