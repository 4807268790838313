//! What a server does for a job that waits for its caller: items of its stream, and questions.
//!
//! A worker asks again whenever it is woken. Whether an item may go is `reply_stream.rs`' to say.

use bytes::Bytes;

use super::{Caller, ItemStep, Job, JobKey, JobOutput, QuestionStep, Server, ServerOutput};
use crate::items::ItemList;
use crate::message::{Body, ExitReason, ItemBatch, Message, Reply, ReplyForm};
use crate::name::CallRef;
use crate::pool::{Pool, Total, grow};
use crate::reply_stream::{Heard, ReplyStream, StreamSignal};

impl<P: Pool> Server<P> {
    /// Takes an item of a job's stream, and sends it if its caller keeps up; the first asks the caller for the stream.
    /// `window` is how many items may be unacknowledged; with `None` the item wants no acknowledgement and waits for
    /// the start only. An item above the limit of payloads is the end of its job. `body` is taken unless it is to wait.
    pub fn handle_item(&mut self, job: JobKey, body: &mut Bytes, window: Option<u32>) -> ItemStep {
        let Some(running) = self.running(job) else { return ItemStep::Over };
        if running.stream == ReplyStream::Unopened {
            return self.open_stream(job);
        }
        if !running.stream.has_room(window) {
            return ItemStep::Wait;
        }
        let form = if window.is_some() { ReplyForm::Item } else { ReplyForm::Plain };
        if self.send(job, form, std::mem::take(body)).is_none() {
            return ItemStep::Over;
        }
        if let (ReplyForm::Item, Some(Job { stream: ReplyStream::Open { sent, .. }, .. })) = (form, self.running(job)) {
            *sent += 1;
        }
        ItemStep::Sent
    }

    /// As [`Server::handle_item`] with all of these, each small enough to stand in a frame: takes out as many as may go
    /// now, and says how many more may follow. `None`: the job is over.
    pub fn handle_items(&mut self, job: JobKey, items: &mut ItemList, window: u32) -> Option<usize> {
        let running = self.running(job)?;
        if running.stream == ReplyStream::Unopened {
            return (self.open_stream(job) != ItemStep::Over).then_some(0);
        }
        let room = running.stream.room(window);
        let list = items.take_first(room);
        let (call, number, count) = (job.call, running.replies, list.len());
        running.replies += count as u64;
        if let ReplyStream::Open { sent, .. } = &mut running.stream {
            *sent += count as u64;
        }
        let message = match count {
            0 => None,
            1 => list
                .into_iter()
                .next()
                .map(|body| Message::Reply(Reply { call, number, form: ReplyForm::Item, body: Body::Inline(body) })),
            _ => Some(Message::Items(ItemBatch { call, number, list })),
        };
        message.into_iter().for_each(|message| self.answer(job.caller, message));
        Some(room - count)
    }

    /// A job has waited for too long for its stream to be started, or for an acknowledgement: it ends.
    pub fn handle_stream_timeout(&mut self, job: JobKey) {
        let Some(running) = self.running(job) else { return };
        match running.stream {
            ReplyStream::Unopened => return,
            ReplyStream::Asked => self.timeouts.init_stream += 1,
            ReplyStream::Open { .. } => {
                self.timeouts.wait_for_ack += 1;
                self.timeouts.stream += 1;
            }
        }
        self.end_job(job, ExitReason::StreamTimeout);
    }

    /// Sends a job's question and gives its number; one that it asked before is forgotten. `None`: the job is over.
    pub fn handle_question(&mut self, job: JobKey, body: Bytes) -> Option<u64> {
        let number = self.send(job, ReplyForm::Question, body)?;
        if let Some(running) = self.running(job) {
            running.question = Some(Box::new((number, None)));
        }
        Some(number)
    }

    /// The response to a job's question, if it has come.
    pub fn take_response(&mut self, job: JobKey, question: u64) -> QuestionStep {
        let Some(running) = self.running(job) else { return QuestionStep::Over };
        match running.question.as_deref_mut() {
            Some((number, response)) if *number == question => match response.take() {
                Some(response) => {
                    running.question = None;
                    QuestionStep::Response(response)
                }
                None => QuestionStep::Wait,
            },
            _ => QuestionStep::Wait,
        }
    }

    fn open_stream(&mut self, job: JobKey) -> ItemStep {
        let share = self.shares.entry(job.caller.peer).or_default();
        let refusal = if share.streams >= self.limits.streams_max {
            Some(ExitReason::TooManyStreams)
        } else if !grow(&mut self.pool, Total::Streams, &mut share.streams, 1) {
            Some(ExitReason::TooManyStreamsInAll)
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.end_job(job, reason);
            return ItemStep::Over;
        }
        if let Some(running) = self.running(job) {
            running.stream = ReplyStream::Asked;
        }
        self.answer(job.caller, Message::StreamInit(job.call));
        ItemStep::Wait
    }

    pub(super) fn handle_signal(&mut self, caller: Caller, call: CallRef, signal: StreamSignal) {
        // A word to a job that is over comes too late, as a kill may.
        let Some(running) = self.jobs.get_mut(&(caller, call)) else { return };
        let (heard, id) = (running.stream.handle_signal(signal), running.id);
        let job = self.key(caller, call, id);
        match heard {
            Heard::Wake => self.outputs.push_back(ServerOutput::Job(JobOutput::Wake(job))),
            Heard::Nothing => {}
            Heard::Cancelled => self.end_job(job, ExitReason::Done),
            Heard::Invalid => self.end_job(job, ExitReason::InvalidStreamMessage),
            Heard::Mismatched => self.end_job(job, ExitReason::MismatchedAck),
        }
    }

    pub(super) fn handle_response(&mut self, caller: Caller, call: CallRef, number: u64, body: Bytes) {
        let Some(running) = self.jobs.get_mut(&(caller, call)) else { return };
        // One to a question that the job no longer waits with comes too late.
        if let Some((asked, response @ None)) = running.question.as_deref_mut()
            && *asked == number
        {
            *response = Some(body);
            let id = running.id;
            self.outputs.push_back(ServerOutput::Job(JobOutput::Wake(self.key(caller, call, id))));
        }
    }
}

#[cfg(test)]
mod tests;
