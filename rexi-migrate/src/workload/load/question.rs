//! The load's questions: a job asks, the caller responds, at once or after a while, and the job's last reply shows what
//! it has heard.

use std::cmp::Reverse;
use std::time::Duration;

use rand::RngExt;
use rexi_proto::CallRef;
use rexi_server::Bytes;
use tokio::time::Instant;

use super::{Due, Load};
use crate::history::ledger::{CallId, Content, Entry, Work};
use crate::workload::work::{Order, Part, record};

impl Load {
    /// A job with up to three questions, by the seed.
    pub(super) fn draw_question(&mut self, id: CallId) -> Order {
        let parts = self.rng.random_range(1..=3);
        let pause = Duration::from_millis(if self.rng.random_bool(0.5) { self.rng.random_range(1..100) } else { 0 });
        Order { id, work: Work::Question, pause, payload_bytes: 16, parts, window: 0, salt: self.rng.random() }
    }

    /// A job asks. A third of the responses are put off, so that some questions are open over a change of the phase.
    pub(super) fn hear_question(&mut self, call: CallRef, number: u64, body: &Bytes) {
        let Some(open) = self.open.get_mut(&call) else { return };
        let right = *body == open.order.part(Part::Question, open.questions);
        open.wrong_question |= !right;
        if self.on && self.rng.random_bool(0.33) {
            let later = Duration::from_millis(self.rng.random_range(20..600));
            self.due.push(Reverse((Instant::now() + later, Due::Respond(call, number))));
        } else {
            self.respond(call, number);
        }
    }

    /// Responds to the question that is open. A call that has ended meanwhile gets none.
    pub(super) fn respond(&mut self, call: CallRef, number: u64) {
        let Some(open) = self.open.get_mut(&call) else { return };
        let index = open.questions;
        open.questions = open.questions.saturating_add(1);
        let content = if std::mem::take(&mut open.wrong_question) { Content::Wrong } else { Content::Right };
        let (id, response) = (open.order.id, open.order.part(Part::Response, index));
        let entry = Entry::Responded { call: id.call, index: u8::try_from(index).unwrap_or(u8::MAX), content };
        record(&self.ledger, &[entry]);
        self.mailbox.respond(call, number, response);
    }
}
