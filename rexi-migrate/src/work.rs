//! What the rehearsal's nodes ask of each other: orders, and the function that carries them out.
//!
//! An order names its call as every ledger does, so that the worker can record it; what it must come to is determined
//! by the order alone, so that the caller can tell a right answer from a wrong one.

use std::sync::Arc;
use std::time::Duration;

use rexi_proto::Incarnation;
use rexi_server::{Answer, Bytes, Context, ExitReason};

use crate::ledger::{CallId, CallNumber, Ending, Entry, LedgerWriter, NodeIndex, Outcome, Work};

/// What one call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: CallId,
    pub(crate) work: Work,
    /// How long the job takes before its end, where it has one.
    pub(crate) pause: Duration,
    /// Bytes that the answer echoes.
    pub(crate) payload_bytes: u32,
}

impl Order {
    /// The order as an argument: 27 bytes, little endian, and a payload.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload_bytes as usize);
        bytes.extend(self.id.caller.0.to_le_bytes());
        bytes.extend(self.id.incarnation.0.to_le_bytes());
        bytes.extend(self.id.call.0.to_le_bytes());
        bytes.push(self.work.code());
        bytes.extend(u32::try_from(self.pause.as_micros()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(self.payload_bytes.to_le_bytes());
        // A pattern that differs from call to call, so that one call's answer cannot pass for another's.
        let seed = self.id.call.0.to_le_bytes()[0];
        bytes.extend((0..self.payload_bytes).map(|i| i.to_le_bytes()[0].wrapping_add(seed)));
        bytes.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let mut rest = &header[..];
        let caller = NodeIndex(u16::from_le_bytes(take(&mut rest)?));
        let incarnation = Incarnation(u64::from_le_bytes(take(&mut rest)?));
        let call = CallNumber(u64::from_le_bytes(take(&mut rest)?));
        let [work] = take(&mut rest)?;
        let pause = Duration::from_micros(u32::from_le_bytes(take(&mut rest)?).into());
        let payload_bytes = u32::from_le_bytes(take(&mut rest)?);
        let work = Work::from_code(work)?;
        let id = CallId { caller, incarnation, call };
        (payload.len() == payload_bytes as usize).then_some(Self { id, work, pause, payload_bytes })
    }

    /// What the job must answer: the whole argument, backwards.
    pub(crate) fn expected_reply(&self) -> Bytes {
        self.encode().iter().rev().copied().collect()
    }

    fn expected_failure(&self) -> String {
        format!("call {} of node {} asked to fail", self.id.call.0, self.id.caller.0)
    }

    /// What an answer to this order comes to in the ledger; `None` while the call goes on.
    pub(crate) fn outcome(&self, answer: &Answer) -> Option<Outcome> {
        Some(match answer {
            Answer::Ping => return None,
            Answer::Reply { last: false, .. } => Outcome::WrongReply,
            Answer::Reply { body, .. } => {
                let replies = matches!(self.work, Work::Reply | Work::Bulk);
                if replies && *body == self.expected_reply() { Outcome::Reply } else { Outcome::WrongReply }
            }
            Answer::Exit { reason: ExitReason::Failed(text), .. } => {
                let asked = self.work == Work::Fail && **text == *self.expected_failure();
                if asked { Outcome::FailedAsAsked } else { Outcome::OtherExit }
            }
            Answer::Exit { reason: ExitReason::ConnectionLost, .. } => Outcome::ConnectionLost,
            Answer::Exit { reason: ExitReason::Draining, .. } => Outcome::Draining,
            Answer::Exit { reason: ExitReason::ReplyDropped, .. } | Answer::Dropped => Outcome::Dropped,
            Answer::NoSuchServer(_) => Outcome::NoSuchServer,
            Answer::NoSuchFunction => Outcome::NoSuchFunction,
            Answer::Down(_) | Answer::Exit { reason: ExitReason::ServerEnded, .. } => Outcome::Down,
            Answer::Incompatible(_) => Outcome::Incompatible,
            _ => Outcome::OtherExit,
        })
    }
}

/// The function that a node registers: carries out an order, and records both of its ends.
pub(crate) async fn carry_out(ledger: Arc<LedgerWriter>, job: Context, argument: Bytes) -> Result<Bytes, String> {
    let order = Order::decode(&argument).ok_or("this is no order")?;
    record(&ledger, Entry::Started { id: order.id, server: job.server(), work: order.work });
    let mut end = EndRecord { ledger, id: order.id, how: Ending::Dropped };
    if !order.pause.is_zero() {
        tokio::time::sleep(order.pause).await;
    }
    match order.work {
        Work::Reply | Work::Bulk => {
            end.how = Ending::Done;
            Ok(argument.iter().rev().copied().collect())
        }
        Work::Fail => {
            end.how = Ending::Failed;
            Err(order.expected_failure())
        }
        Work::Hold => std::future::pending().await,
    }
}

/// Appends a record. A ledger that cannot be written is no evidence, so the process ends.
pub(crate) fn record(ledger: &LedgerWriter, entry: Entry) {
    if let Err(error) = ledger.append(entry) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// Records a job's end when it is dropped, however that comes about.
struct EndRecord {
    ledger: Arc<LedgerWriter>,
    id: CallId,
    how: Ending,
}

impl Drop for EndRecord {
    fn drop(&mut self) {
        record(&self.ledger, Entry::Ended { id: self.id, how: self.how });
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

const HEADER_BYTES: usize = 27;

/// The name that the function is registered by.
pub(crate) const FUNCTION: &str = "rehearsal.work";

#[cfg(test)]
mod tests {
    use super::*;

    fn order(work: Work, payload_bytes: u32) -> Order {
        let id = CallId { caller: NodeIndex(3), incarnation: Incarnation(1 << 50), call: CallNumber(77) };
        Order { id, work, pause: Duration::from_micros(250), payload_bytes }
    }

    #[test]
    fn an_order_survives_the_wire_and_nothing_else_passes_for_one() {
        for &work in Work::ALL {
            let order = order(work, 40);
            let bytes = order.encode();
            assert_eq!(Order::decode(&bytes), Some(order));
            for cut in 0..bytes.len() {
                assert_eq!(Order::decode(&bytes[..cut]), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn only_the_right_answer_counts_as_one() {
        let reply = order(Work::Reply, 8);
        let answer = |body: Bytes| Answer::Reply { body, last: true };
        assert_eq!(reply.outcome(&answer(reply.expected_reply())), Some(Outcome::Reply));
        assert_eq!(reply.outcome(&answer(reply.encode())), Some(Outcome::WrongReply));
        assert_eq!(order(Work::Hold, 8).outcome(&answer(reply.expected_reply())), Some(Outcome::WrongReply));
        let failed = |text: String| Answer::Exit { function: FUNCTION.into(), reason: ExitReason::Failed(text.into()) };
        let fail = order(Work::Fail, 0);
        assert_eq!(fail.outcome(&failed(fail.expected_failure())), Some(Outcome::FailedAsAsked));
        assert_eq!(fail.outcome(&failed("else".to_owned())), Some(Outcome::OtherExit));
        assert_eq!(reply.outcome(&failed(reply.expected_failure())), Some(Outcome::OtherExit));
        assert_eq!(reply.outcome(&Answer::Ping), None);
    }
}
