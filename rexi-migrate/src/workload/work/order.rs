//! One order: its bytes on the wire, and all that it determines.

use std::time::Duration;

use rexi_proto::Incarnation;
use rexi_server::{Answer, Bytes, ExitReason};

use crate::history::ledger::{CallId, CallNumber, NodeIndex, Outcome, Work};

/// What one call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: CallId,
    pub(crate) work: Work,
    /// How long the job takes before its end, where it has one, or between what it sends.
    pub(crate) pause: Duration,
    /// Bytes that the answer echoes.
    pub(crate) payload_bytes: u32,
    /// Items of the stream, at least one, or questions.
    pub(crate) parts: u16,
    /// Items that may be unacknowledged.
    pub(crate) window: u8,
    /// What the sizes of the parts are drawn from.
    pub(crate) salt: u32,
}

/// What an order's parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// An item of a stream.
    Item,
    /// A job's question.
    Question,
    /// Its caller's response.
    Response,
}

impl Order {
    /// The order as an argument: 34 bytes, little endian, and a payload.
    pub(crate) fn encode(&self) -> Bytes {
        self.argument().into()
    }

    fn argument(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload_bytes as usize);
        bytes.extend(self.id.caller.0.to_le_bytes());
        bytes.extend(self.id.incarnation.0.to_le_bytes());
        bytes.extend(self.id.call.0.to_le_bytes());
        bytes.push(self.work.code());
        bytes.extend(u32::try_from(self.pause.as_micros()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(self.payload_bytes.to_le_bytes());
        bytes.extend(self.parts.to_le_bytes());
        bytes.push(self.window);
        bytes.extend(self.salt.to_le_bytes());
        // A pattern that differs from call to call, so that one call's answer cannot pass for another's.
        let seed = self.id.call.0.to_le_bytes()[0];
        bytes.extend((0..self.payload_bytes).map(|i| i.to_le_bytes()[0].wrapping_add(seed)));
        bytes
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
        let parts = u16::from_le_bytes(take(&mut rest)?);
        let [window] = take(&mut rest)?;
        let salt = u32::from_le_bytes(take(&mut rest)?);
        let work = Work::from_code(work)?;
        let id = CallId { caller, incarnation, call };
        let order = Self { id, work, pause, payload_bytes, parts, window, salt };
        (payload.len() == payload_bytes as usize).then_some(order)
    }

    /// What the job must answer: the whole argument, backwards, and behind it what it has heard from its caller.
    pub(crate) fn expected_reply(&self) -> Bytes {
        if self.work != Work::Question {
            return self.reply_with(&[]);
        }
        let responses: Vec<Bytes> = (0..self.parts).map(|index| self.part(Part::Response, index)).collect();
        self.reply_with(&responses)
    }

    /// The answer of a job that has heard these responses.
    pub(crate) fn reply_with(&self, responses: &[Bytes]) -> Bytes {
        let mut reply = self.argument();
        reply.reverse();
        responses.iter().for_each(|response| reply.extend_from_slice(response));
        reply.into()
    }

    pub(crate) fn expected_failure(&self) -> String {
        format!("call {} of node {} asked to fail", self.id.call.0, self.id.caller.0)
    }

    /// A part of what is said between the job and its caller: whose it is, its place, and a pattern of its own.
    pub(crate) fn part(&self, part: Part, index: u16) -> Bytes {
        let size = self.part_bytes(index);
        let mut bytes = Vec::with_capacity(PART_HEADER_BYTES + size);
        bytes.push(part as u8);
        bytes.extend(index.to_le_bytes());
        bytes.extend(self.id.caller.0.to_le_bytes());
        bytes.extend(self.id.incarnation.0.to_le_bytes());
        bytes.extend(self.id.call.0.to_le_bytes());
        let seed = self.drawn(index).to_le_bytes()[7];
        bytes.extend((0..size).map(|i| i.to_le_bytes()[0].wrapping_mul(3).wrapping_add(seed)));
        bytes.into()
    }

    /// Mostly small; one in four up to 4 KiB, one in thirty-two too large for its lane.
    fn part_bytes(&self, index: u16) -> usize {
        let drawn = self.drawn(index);
        let of = |bytes: u64| usize::try_from((drawn >> 8) % bytes).unwrap_or_default();
        match drawn % 32 {
            0 => 33_000 + of(30_000),
            1..=8 => 200 + of(3_900),
            _ => 40,
        }
    }

    /// Whether a stream's last item is what the job returns, and not one that it sends before it ends.
    pub(crate) fn returns_last_item(&self) -> bool {
        self.salt.is_multiple_of(2)
    }

    /// A number that differs from call to call and from place to place (the finalizer of splitmix64).
    fn drawn(&self, index: u16) -> u64 {
        let mut word = self.id.call.0 << 16 ^ u64::from(index) ^ u64::from(self.salt) << 32;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// What an answer to this order comes to in the ledger; `None` while the call goes on.
    pub(crate) fn outcome(&self, answer: &Answer) -> Option<Outcome> {
        Some(match answer {
            Answer::Ping => return None,
            Answer::StreamInit | Answer::Item { .. } if self.work == Work::Stream => return None,
            Answer::Reply { last: false, .. } if self.work == Work::Stream => return None,
            Answer::Question { .. } if self.work == Work::Question => return None,
            Answer::Reply { last: false, .. } => Outcome::WrongReply,
            // The item itself is judged as one.
            Answer::Reply { .. } if self.work == Work::Stream => Outcome::StreamDone,
            Answer::Exit { reason: ExitReason::Done, .. } if self.work == Work::Stream => Outcome::StreamDone,
            Answer::Reply { body, .. } => {
                let replies = matches!(self.work, Work::Reply | Work::Bulk | Work::Question | Work::Vote);
                if replies && *body == self.expected_reply() { Outcome::Reply } else { Outcome::WrongReply }
            }
            Answer::Exit { reason: ExitReason::Failed(text), .. } => {
                let asked = self.work == Work::Fail && **text == *self.expected_failure();
                if asked { Outcome::FailedAsAsked } else { Outcome::OtherExit }
            }
            Answer::Exit { reason, .. } => outcome_of(reason),
            Answer::Dropped | Answer::DroppedInAll => Outcome::Dropped,
            Answer::NoSuchServer(_) => Outcome::NoSuchServer,
            Answer::NoSuchFunction => Outcome::NoSuchFunction,
            Answer::Down(_) => Outcome::Down,
            Answer::Incompatible(_) => Outcome::Incompatible,
            _ => Outcome::OtherExit,
        })
    }
}

/// What an exit comes to that no order asks for.
pub(crate) fn outcome_of(reason: &ExitReason) -> Outcome {
    use ExitReason as R;
    match reason {
        R::ConnectionLost => Outcome::ConnectionLost,
        R::Draining => Outcome::Draining,
        R::ServerEnded => Outcome::Down,
        R::ReplyDropped | R::ReplyDroppedInAll => Outcome::Dropped,
        R::TooManyJobs | R::TooManyBytes | R::TooManyStreams => Outcome::Dropped,
        R::TooManyJobsInAll | R::TooManyBytesInAll | R::TooManyStreamsInAll => Outcome::Dropped,
        _ => Outcome::OtherExit,
    }
}

/// The place that a part names; `None` where it is too short to name one.
pub(crate) fn index_in(mut part: &[u8]) -> Option<u16> {
    let [_] = take(&mut part)?;
    take(&mut part).map(u16::from_le_bytes)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

const HEADER_BYTES: usize = 34;

const PART_HEADER_BYTES: usize = 21;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::FUNCTION;

    fn order(work: Work, payload_bytes: u32) -> Order {
        let id = CallId { caller: NodeIndex(3), incarnation: Incarnation(1 << 50), call: CallNumber(77) };
        let pause = Duration::from_micros(250);
        Order { id, work, pause, payload_bytes, parts: 3, window: 5, salt: 9 }
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

    #[test]
    fn the_reply_to_a_question_holds_what_its_caller_has_responded() {
        let question = order(Work::Question, 8);
        let answer = |body: Bytes| question.outcome(&Answer::Reply { body, last: true });
        let responses: Vec<Bytes> = (0..3).map(|index| question.part(Part::Response, index)).collect();
        assert_eq!(answer(question.reply_with(&responses)), Some(Outcome::Reply));
        assert_eq!(answer(question.reply_with(&responses[..2])), Some(Outcome::WrongReply));
        assert_eq!(answer(question.reply_with(&[])), Some(Outcome::WrongReply));
        let mut swapped = responses;
        swapped.swap(0, 1);
        assert_eq!(answer(question.reply_with(&swapped)), Some(Outcome::WrongReply));
        assert_eq!(question.outcome(&Answer::Question { number: 0, body: Bytes::new() }), None, "it goes on");
    }

    #[test]
    fn no_two_parts_of_any_two_orders_are_alike() {
        let (one, mut other) = (order(Work::Stream, 16), order(Work::Stream, 16));
        other.id.call = CallNumber(78);
        let mut parts = Vec::new();
        for order in [one, other] {
            for part in [Part::Item, Part::Question, Part::Response] {
                parts.extend((0..3).map(|index| order.part(part, index)));
            }
        }
        let all = parts.len();
        parts.sort();
        parts.dedup();
        assert_eq!(parts.len(), all);
        assert_eq!(index_in(&one.part(Part::Item, 0x0203)), Some(0x0203));
        assert_eq!(index_in(&[0, 1]), None);
    }

    #[test]
    fn some_parts_are_too_large_for_the_lane_and_most_are_small() {
        let order = order(Work::Stream, 16);
        let inline = rexi_proto::Limits::default().inline_bytes_max as usize;
        let sizes: Vec<usize> = (0..3_200).map(|index| order.part(Part::Item, index).len()).collect();
        let large = sizes.iter().filter(|&&size| size > inline).count();
        assert!((50..200).contains(&large), "{large}");
        assert!(sizes.iter().filter(|&&size| size < 100).count() > 1_600);
    }

    #[test]
    fn what_belongs_to_a_stream_ends_it_only_at_its_end() {
        let stream = order(Work::Stream, 16);
        let body = stream.part(Part::Item, 0);
        for goes_on in
            [Answer::StreamInit, Answer::Item { body: body.clone() }, Answer::Reply { body: body.clone(), last: false }]
        {
            assert_eq!(stream.outcome(&goes_on), None);
            assert!(order(Work::Hold, 8).outcome(&goes_on).is_some(), "nobody else may send {goes_on:?}");
        }
        let done = Answer::Exit { function: FUNCTION.into(), reason: ExitReason::Done };
        assert_eq!(stream.outcome(&done), Some(Outcome::StreamDone));
        assert_eq!(stream.outcome(&Answer::Reply { body, last: true }), Some(Outcome::StreamDone));
        assert_eq!(order(Work::Reply, 8).outcome(&done), Some(Outcome::OtherExit));
    }
}
