//! What nodes ask of each other: orders, and the function that carries them out.
//!
//! An order names its call as every ledger does, so that the worker can record it; its right answer is determined by
//! the order alone, so that the caller can tell a right answer from a wrong one. That holds for each item of a stream,
//! each question and each response too (`order.rs`); how a job sends them is in `work/talk.rs`.

mod order;
mod talk;

use std::sync::Arc;

use rexi_server::{Bytes, Context, jobs::IntoEnding};

use crate::history::ledger::{CallId, Ending, Entry, LedgerWriter, Work};

pub(crate) use order::{Order, Part, index_in, outcome_of};

/// The function that a node registers: carries out an order, and records both of its ends.
pub(crate) async fn carry_out(ledger: Arc<LedgerWriter>, job: Context, argument: Bytes) -> Result<Value, String> {
    let order = Order::decode(&argument).ok_or("this is not an order")?;
    let started = Entry::Started { id: order.id, server: job.server(), work: order.work };
    if order.pause.is_zero() && matches!(order.work, Work::Reply | Work::Bulk | Work::Fail) {
        return at_once(&ledger, started, &order, &argument);
    }
    record(&ledger, &[started]);
    let mut end = EndRecord { ledger: Arc::clone(&ledger), id: order.id, how: Ending::Dropped };
    match order.work {
        Work::Stream => {
            let value = talk::stream(&ledger, job, &order).await?;
            end.how = Ending::Done;
            Ok(value)
        }
        Work::Question => {
            let responses = talk::ask(&ledger, job, &order).await?;
            end.how = Ending::Done;
            Ok(Value::Reply(order.reply_with(&responses)))
        }
        Work::Vote => {
            // Each node takes another time, so that some are waited for in vain.
            let share = u32::try_from(job.call_ref().0 % 4).unwrap_or_default();
            pause(order.pause * share).await;
            end.how = Ending::Done;
            Ok(Value::Reply(order.expected_reply()))
        }
        Work::Reply | Work::Bulk => {
            pause(order.pause).await;
            end.how = Ending::Done;
            Ok(Value::Reply(backwards(&argument)))
        }
        Work::Fail => {
            pause(order.pause).await;
            end.how = Ending::Failed;
            Err(order.expected_failure())
        }
        Work::Hold => std::future::pending().await,
    }
}

/// What ends where it begins is written down in one go: nothing can come between.
fn at_once(ledger: &LedgerWriter, started: Entry, order: &Order, argument: &Bytes) -> Result<Value, String> {
    let how = if order.work == Work::Fail { Ending::Failed } else { Ending::Done };
    record(ledger, &[started, Entry::Ended { id: order.id, how }]);
    match how {
        Ending::Failed => Err(order.expected_failure()),
        Ending::Done | Ending::Dropped => Ok(Value::Reply(backwards(argument))),
    }
}

fn backwards(argument: &Bytes) -> Bytes {
    let mut reply = argument.to_vec();
    reply.reverse();
    reply.into()
}

/// What a job ends with.
pub(crate) enum Value {
    /// A value for its caller.
    Reply(Bytes),
    /// Nothing besides what it has sent.
    Nothing,
}

impl IntoEnding for Value {
    fn into_ending(self) -> rexi_server::proto::JobEnding {
        match self {
            Self::Reply(body) => body.into_ending(),
            Self::Nothing => ().into_ending(),
        }
    }
}

async fn pause(time: std::time::Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Appends records, in one write. A ledger that cannot be written is not evidence, so the process ends; the status says
/// that its surroundings were at fault.
pub(crate) fn record(ledger: &LedgerWriter, entries: &[Entry]) {
    if let Err(error) = ledger.append(entries) {
        eprintln!("{error}");
        std::process::exit(LEDGER_FAILED);
    }
}

/// The exit status of a process that cannot write its ledger: an error of input or output, as sysexits has it.
pub(crate) const LEDGER_FAILED: i32 = 74;

/// Records a job's end when it is dropped, however that comes about.
struct EndRecord {
    ledger: Arc<LedgerWriter>,
    id: CallId,
    how: Ending,
}

impl Drop for EndRecord {
    fn drop(&mut self) {
        record(&self.ledger, &[Entry::Ended { id: self.id, how: self.how }]);
    }
}
