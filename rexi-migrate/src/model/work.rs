//! What callers and jobs do, in the observer's sight: casts and kills, words on a stream, replies and items, monitors.
//!
//! Each is done at one node, which wants to be drained then.

use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{Cast, Incarnation, ItemStep, JobEnding, MonitorRef, Pool, Presence};

use super::build::FUNCTION;
use super::case::Case;
use super::node::{Job, NodeModel, name};
use super::observer::{CallRecord, Monitor, Observer, payload};
use super::rule::Rule;

/// What a caller says to its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Send the stream.
    Start,
    /// Send no stream.
    Cancel,
    /// An item was taken.
    Ack,
    /// The response to the first question, of so many bytes.
    Respond(usize),
}

/// What a job does; replies, items and questions have so many bytes at least.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Replies, and goes on.
    Reply(usize),
    /// Sends an item, or asks for its stream; of its items so many may be unacknowledged.
    Item(usize, u32),
    /// Asks its caller.
    Question(usize),
    /// Says that it is at work.
    Ping,
}

impl CallRecord {
    /// Whether its caller has a reason to say that.
    pub fn wants(&self, word: Word) -> bool {
        match word {
            Word::Start | Word::Cancel => self.asked && !self.started && !self.cancelled,
            Word::Ack => self.unacked > 0,
            Word::Respond(_) => !self.questions.is_empty(),
        }
    }
}

impl<P: Pool + Clone> NodeModel<P> {
    /// Casts to a member the function at this place of those that it calls, so many bytes at least; whether the job is
    /// to send a stream.
    pub fn cast(
        &mut self,
        now: Duration,
        to: usize,
        place: usize,
        (bytes, stream): (usize, bool),
        notes: &mut Observer,
    ) {
        let (by, life) = (self.index, self.life);
        let call = notes.free_ref(by, life);
        let buffered_for = (!self.is_up(to)).then(|| notes.releases[to]);
        let mailbox =
            notes.take_down(CallRecord { over: false, by, life, to, call, stream, buffered_for, ..CallRecord::OVER });
        let body = payload(mailbox, 0, bytes);
        let function = Arc::<str>::from(self.called()[place]).into();
        let cast = Cast { call, function, time_left: None, nonce: 0, trace: None, body };
        let place = u16::try_from(mailbox).expect("there are few calls");
        if self.peer_mut(to).cast(now, cast, place).is_err() {
            notes.calls[mailbox].killed = true;
            notes.breaks(Rule::CastNotTaken, format!("a cast of {} is not taken", name(by)));
        }
    }

    /// The functions that it calls now: what changes on the way, of a migration in the form that its phase says; where
    /// there is none, one that every node takes.
    pub fn called(&self) -> Vec<&str> {
        let phase = |number| self.rollout.phase_at(number);
        let called: Vec<&str> =
            self.train.changing().iter().filter_map(|of| of.called(self.profile(), phase)).collect();
        if called.is_empty() { vec![FUNCTION] } else { called }
    }

    /// Kills these of its calls, which all go to the same member.
    pub fn kill(&mut self, to: usize, calls: &[usize], notes: &mut Observer) {
        let target = self.rollout.server_phase().cast_target();
        let mut refs = Vec::new();
        for &at in calls {
            let call = &mut notes.calls[at];
            call.killed = true;
            refs.push(call.call);
            if call.runs && call.ran_at.is_some_and(|ran_at| ran_at != target) {
                notes.saw(Case::KillAcrossSwitch);
            }
        }
        self.peer_mut(to).kill(&refs);
    }

    /// Says something to the job of one of its calls.
    pub fn say(&mut self, now: Duration, at: usize, word: Word, notes: &mut Observer) {
        let call = &mut notes.calls[at];
        let (to, number) = (call.to, call.call);
        let peer = self.peer_mut(to);
        let (taken, rule) = match word {
            Word::Start => {
                call.started = true;
                (peer.start_stream(number), Rule::StreamNotStarted)
            }
            Word::Cancel => {
                call.cancelled = true;
                (peer.cancel_stream(number), Rule::StreamNotStarted)
            }
            Word::Ack => {
                call.unacked -= 1;
                (peer.ack(number, 1), Rule::ItemNotAcknowledged)
            }
            Word::Respond(bytes) => {
                let question = call.questions.remove(0);
                (peer.respond(now, number, question, payload(at, 0, bytes)), Rule::QuestionNotAnswered)
            }
        };
        if !taken {
            notes.breaks(rule, format!("{word:?} of call {at} is not taken"));
        }
    }

    /// Monitors a member's server.
    pub fn watch(&mut self, to: usize, notes: &mut Observer) {
        let of = match self.peer(to).presence() {
            Presence::Up(session, _) => session.incarnation,
            _ => Incarnation(0),
        };
        let (by, life, at) = (self.index, self.life, notes.monitors.len());
        let gone = of == Incarnation(0);
        notes.monitors.push(Monitor { by, life, orphan: false, to, of, gone, stopped: false, downs: 0 });
        let mailbox = u16::try_from(at).expect("there are few monitors");
        self.peer_mut(to).monitor(MonitorRef(at as u64), mailbox);
    }

    /// A job does something; what its server says to that.
    pub fn work(&mut self, job: Job, deed: &Deed, notes: &mut Observer) -> ItemStep {
        let call = &mut notes.calls[job.call];
        let (at, number) = (job.call, call.sent);
        let runs = |runs: bool| if runs { ItemStep::Sent } else { ItemStep::Over };
        let step = self.with_server(job.member, job.key, |server| match *deed {
            Deed::Reply(bytes) => runs(server.handle_reply(job.key, payload(at, number, bytes))),
            Deed::Item(bytes, window) => server.handle_item(job.key, &mut payload(at, number, bytes), Some(window)),
            Deed::Question(bytes) => {
                let asked = server.handle_question(job.key, payload(at, number, bytes));
                call.question = asked.or(call.question);
                runs(asked.is_some())
            }
            Deed::Ping => runs(server.handle_ping(job.key)),
        });
        call.sent += u16::from(step == ItemStep::Sent && !matches!(deed, Deed::Ping));
        if step == ItemStep::Over && self.is_ending(job.member, job.key) {
            self.jobs.iter_mut().filter(|other| other.call == at).for_each(|job| job.over = true);
        }
        if step == ItemStep::Wait {
            self.jobs.iter_mut().filter(|other| other.call == at).for_each(|job| job.waits = true);
        }
        step
    }

    /// A job ends: with a reply of so many bytes at least, or with an exit.
    pub fn end(&mut self, job: Job, how: Result<usize, rexi_proto::ExitReason>, notes: &mut Observer) {
        let is_heard = !self.is_ending(job.member, job.key);
        let call = &mut notes.calls[job.call];
        let ending = match how {
            Ok(bytes) => JobEnding::Reply(payload(job.call, call.sent, bytes)),
            Err(reason) => JobEnding::Exit(reason),
        };
        if is_heard {
            call.sent += u16::from(matches!(ending, JobEnding::Reply(_)));
            call.runs = false;
            self.jobs.retain(|other| other.call != job.call);
        } else {
            self.jobs.iter_mut().filter(|other| other.call == job.call).for_each(|job| job.over = true);
        }
        self.with_server(job.member, job.key, |server| server.handle_end(job.key, ending));
    }
}
