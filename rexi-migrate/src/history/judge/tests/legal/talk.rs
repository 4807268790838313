//! The scripts of calls whose ends say something to each other: streams and questions.

use rand::RngExt;

use super::super::*;
use super::script::Script;

impl Script<'_> {
    /// A stream: taken whole, cancelled, killed in the middle, or ended by its job's node with what its caller has not
    /// read.
    pub(super) fn stream(&mut self, started_us: u64) -> Option<()> {
        let (id, call) = (self.id, self.id.call);
        let (items, window) = (self.rng.random_range(1..=6_u16), self.rng.random_range(1..=3_u8));
        let asked_us = self.job_says(started_us, Entry::ItemSent { id, index: 0 })?;
        let heard_us = asked_us + self.latency();
        if self.rng.random_bool(0.2) {
            return self.cancel(heard_us);
        }
        let start = Entry::StreamStarted { call, items, window };
        let begun_us = self.caller_says(heard_us, start)?;
        let kill_after = self.rng.random_bool(0.3).then(|| self.rng.random_range(1..=items));
        let drop_after = self.rng.random_bool(0.05).then(|| self.rng.random_range(1..=items));
        // When each acknowledgement reached the job.
        let mut acked = Vec::new();
        let mut received_us = begun_us;
        let mut sent_us = begun_us + self.latency();
        for index in 0..items {
            if index > 0 {
                let at_us = sent_us + self.pause();
                sent_us = self.job_says(at_us, Entry::ItemSent { id, index })?;
            }
            // It goes once there is room for it in the window.
            let acks = usize::from(index + 1).saturating_sub(usize::from(window));
            let gone_us = if acks == 0 { sent_us } else { sent_us.max(acked[acks - 1]) };
            if drop_after == Some(index) {
                return self.reply_dropped(gone_us);
            }
            let at_us = received_us.max(gone_us + self.latency()) + 1;
            let kib = 0;
            let item = Entry::ItemReceived { call, index, content: Content::Right, kib };
            received_us = self.caller_says(at_us, item)?;
            if kill_after == Some(index + 1) && index + 1 < items {
                return self.kill_and_end(received_us);
            }
            acked.push(received_us + self.pause() + self.latency());
            sent_us = gone_us;
        }
        let ended_us = self.job_says(sent_us, Entry::Ended { id, how: Ending::Done })?;
        let at_us = received_us.max(ended_us + self.latency()) + 1;
        self.answer(Outcome::StreamDone, at_us)
    }

    /// Its caller cancels the stream, and learns of its end unless it dies first.
    fn cancel(&mut self, at_us: u64) -> Option<()> {
        let cancelled_us = self.caller_says(at_us, Entry::StreamCancelled { call: self.id.call })?;
        let ended = Entry::Ended { id: self.id, how: Ending::Dropped };
        let at_us = cancelled_us + self.latency();
        let ended_us = self.job_says(at_us, ended)?;
        let at_us = ended_us + self.latency();
        self.answer(Outcome::Cancelled, at_us)
    }

    /// The node's buffer was full, so the job is ended, and its caller learns of that unless it dies first.
    fn reply_dropped(&mut self, at_us: u64) -> Option<()> {
        let ended_us = self.job_says(at_us, Entry::Ended { id: self.id, how: Ending::Dropped })?;
        let at_us = ended_us + self.latency();
        self.answer(Outcome::Dropped, at_us)
    }

    pub(super) fn question(&mut self, started_us: u64) -> Option<()> {
        let (id, call, content) = (self.id, self.id.call, Content::Right);
        let mut at_us = started_us;
        for index in 0..self.rng.random_range(1..=3) {
            at_us += self.pause();
            let asked_us = self.job_says(at_us, Entry::Asked { id, index })?;
            let heard_us = asked_us + self.latency() + self.pause();
            let responded_us = self.caller_says(heard_us, Entry::Responded { call, index, content })?;
            at_us = responded_us + self.latency();
            at_us = self.job_says(at_us, Entry::ResponseHeard { id, index, content })?;
        }
        self.end_and_answer(at_us, Ending::Done, Outcome::Reply)
    }

    /// Its caller writes something down. Where it is dead by then, or the job was ended meanwhile, that is told.
    fn caller_says(&mut self, at_us: u64, entry: Entry) -> Option<u64> {
        self.go_on_until(at_us)?;
        let said = self.world.say(self.caller, at_us, entry);
        match said {
            Some(at_us) => self.heard_us = at_us,
            None => self.outlived(),
        }
        said
    }

    fn pause(&mut self) -> u64 {
        if self.rng.random_bool(0.7) { 0 } else { self.rng.random_range(1..60_000) }
    }
}
