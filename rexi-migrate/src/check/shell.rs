//! What the state machines of a node want done, as a shell does it: workers, mailboxes, the queue, the wire.
//!
//! An observer that knows every call looks on and notes what should not happen.

use bytes::{Bytes, BytesMut};
use rexi_proto::{
    Answer, CallRef, Caller, CloseCode, ExitReason, JobKey, JobOutput, Message, MonitorRef, Output, Presence,
    ServerAddress, ServerOutput, accepted,
};

use super::oracle::Oracle;
use super::state::{Job, NOW, PEER, State, frames, member_id, name, pair};
use super::step::Stepper;
use super::witness::Case;

/// What is wrong where a node closes on another: nothing that a sound one sends is a reason to blame it.
pub(super) fn fault(index: usize, member: usize, code: CloseCode, reason: &str) -> Option<String> {
    matches!(code, CloseCode::BadFrame | CloseCode::ProtocolBroken)
        .then(|| format!("{} closed on {}: {reason}", name(index), name(member)))
}

impl Stepper<'_> {
    /// Does all that a node's parts want done, and lets its writers take what is encoded.
    pub(super) fn drain(&mut self, index: usize) {
        loop {
            let mut closes = Vec::new();
            self.drain_outputs(index, &mut closes);
            if closes.is_empty() {
                break;
            }
            for member in closes {
                self.close(index, member);
            }
        }
        for member in self.touched_peers(index) {
            self.flush(index, member);
        }
    }

    fn drain_outputs(&mut self, index: usize, closes: &mut Vec<usize>) {
        loop {
            let mut quiet = true;
            for member in self.touched_peers(index) {
                while let Some(output) = self.peer(index, member).poll_output() {
                    quiet = false;
                    self.handle_output(index, member, output, closes);
                }
            }
            while self.has_touched_singleton(index)
                && let Some(output) = self.singleton(index).and_then(rexi_proto::Server::poll_output)
            {
                quiet = false;
                self.handle_server_output(index, output);
            }
            self.tell_phase(index);
            if quiet && self.told[index].0 == self.state.nodes[index].rollout.epoch() {
                return;
            }
        }
    }

    /// Tells all peers of a change of phase.
    fn tell_phase(&mut self, index: usize) {
        let rollout = &self.state.nodes[index].rollout;
        let (epoch, phase, profile) = (rollout.epoch(), rollout.phase(), rollout.profile());
        let (told_epoch, told_phase) = self.told[index];
        let allowed = profile.allows(phase);
        if told_epoch == epoch && told_phase == Some(phase) && allowed {
            return;
        }
        if told_epoch == epoch || !allowed {
            let what = format!("{} is at {phase}, and no transition has brought it there", name(index));
            self.breaks(Oracle::PhaseWithoutTransition, what);
        }
        if told_phase < Some(phase) {
            self.saw(Case::Raised);
        }
        let crosses = told_phase.is_some_and(|told| told.cast_target() != phase.cast_target());
        let state = &self.state;
        if crosses && state.calls.iter().any(|call| call.by == index && call.asked && state.is_open(call)) {
            self.saw(Case::StreamOverSwitch);
        }
        self.told[index] = (epoch, Some(phase));
        for member in (0..self.state.nodes.len()).filter(|&member| member != index) {
            self.peer(index, member).set_phase(NOW, epoch, phase);
        }
    }

    pub(super) fn handle_output(&mut self, index: usize, member: usize, output: Output<u8>, closes: &mut Vec<usize>) {
        match output {
            Output::Job(output) => self.handle_job_output(index, member, output),
            Output::Singleton(caller, request) => {
                if self.state.nodes[index].singleton.is_some() {
                    let caller = Caller { peer: member_id(member), ..caller };
                    self.node(index).queue.push_back((caller, request));
                } else {
                    let what = format!("{request:?} of {} needs the singleton of {}", name(member), name(index));
                    self.breaks(Oracle::RequestToNoSingleton, what);
                }
            }
            Output::Deliver(mailbox, call, answer) => self.answer(index, mailbox, call, &answer),
            Output::MonitorDown(mailbox, monitor, _) => self.down(index, mailbox, monitor),
            Output::Announced(life, epoch, phase) => {
                self.rollout(index).handle_announce(&name(member), life, epoch, phase);
            }
            Output::Unsupported(kind) => {
                let what = format!("{} sent kind {kind}, which {} does not know", name(index), name(member));
                self.breaks(Oracle::KindUnknownToPeer, what);
            }
            Output::Close(code, reason) => {
                if let Some(what) = fault(index, member, code, &reason) {
                    self.breaks(Oracle::ClosedOnSoundPeer, what);
                }
                closes.push(member);
            }
            _ => {}
        }
    }

    fn handle_server_output(&mut self, index: usize, output: ServerOutput) {
        match output {
            ServerOutput::Job(output) => {
                let (JobOutput::Spawn(job, _) | JobOutput::Abort(job) | JobOutput::Wake(job)) = &output;
                self.handle_job_output(index, job.caller.peer.0 as usize, output);
            }
            ServerOutput::Answer(caller, message) => self.pass_answer(index, caller, message),
        }
    }

    fn handle_job_output(&mut self, index: usize, member: usize, output: JobOutput) {
        match output {
            JobOutput::Spawn(job, cast) => self.spawn(index, member, job, &cast.body),
            JobOutput::Abort(job) => self.abort(index, member, job),
            JobOutput::Wake(job) => self.wake(index, member, job),
        }
    }

    fn pass_answer(&mut self, index: usize, caller: Caller, message: Message) {
        self.peer(index, caller.peer.0 as usize).answer(Caller { peer: PEER, ..caller }, message);
    }

    /// The writer takes what is encoded for a peer.
    fn flush(&mut self, index: usize, member: usize) {
        if !self.state.nodes[index].peer(member).wants_write() {
            return;
        }
        let Presence::Up(session, _) = self.state.nodes[index].peer(member).presence() else { return };
        let wire = session.wire;
        let peer = self.peer(index, member);
        let (connection, mut bytes) = (peer.connection(), BytesMut::new());
        let bulk = peer.take_outgoing(NOW, connection, &mut bytes).unwrap_or_default();
        bulk.iter().for_each(|(_, body)| peer.handle_bulk_sent(NOW, connection, body.len()));
        for frame in frames(&bytes) {
            let kind = State::kind(frame);
            if kind.is_none_or(|kind| accepted(kind, wire).is_none()) {
                let what = format!("{} sent {kind:?} to {}, which {wire} lacks", name(index), name(member));
                self.breaks(Oracle::KindNotOfVersion, what);
            }
        }
        // Where the other end is gone, and this one has not heard, it goes nowhere.
        if self.state.is_live(index, member) {
            let side = pair(index, member).1;
            let pair = self.pair(index, member);
            pair.lanes[side].extend_from_slice(&bytes);
            pair.bulks[side].extend(bulk);
        }
    }

    /// A node's state has let go of a connection.
    fn close(&mut self, index: usize, member: usize) {
        if self.state.is_live(index, member) {
            self.unlink(index, member);
            if self.hear_at_once() {
                self.disconnect(member, index);
            }
        }
        let peer = self.peer(index, member);
        let connection = peer.connection();
        peer.handle_disconnected(NOW, connection);
    }

    fn spawn(&mut self, index: usize, member: usize, job: JobKey, body: &Bytes) {
        let (mailbox, _) = numbers(body);
        let release = self.state.nodes[index].release;
        let by_release = self.state.nodes[member].release;
        let Some(call) = self.state.calls.get_mut(usize::from(mailbox)).filter(|call| !call.over) else {
            return self.breaks(Oracle::JobOfNoCall, format!("{} runs a job that nobody asked for", name(index)));
        };
        let (twice, before) = (call.ran_at.replace(job.server).is_some(), call.buffered_for.take());
        let right = (call.by, call.life, call.to) == (member, job.caller.incarnation, index);
        let own = call.call == job.call;
        let same_life = self.state.nodes[member].incarnation == job.caller.incarnation;
        let call = usize::from(mailbox);
        self.node(index).jobs.push(Job { key: job, member, call, waits: false });
        if twice {
            self.breaks(Oracle::JobTwice, format!("call {call} was started twice, now by {}", name(index)));
        }
        if !own {
            self.breaks(
                Oracle::JobOfAnotherPayload,
                format!("{} runs {:?} with what call {call} has sent", name(index), job.call),
            );
        }
        if !right {
            self.breaks(
                Oracle::JobOfAnotherCaller,
                format!("call {call} runs at {} for {}", name(index), name(member)),
            );
        }
        if same_life && release.abs_diff(by_release) > 1 {
            self.breaks(Oracle::JobOverSkew, format!("call {call} of {} runs at {}", name(member), name(index)));
        }
        if before.is_some_and(|before| before != release) {
            self.saw(Case::BufferedOverRelease);
        }
    }

    fn abort(&mut self, index: usize, member: usize, job: JobKey) {
        let jobs = &mut self.node(index).jobs;
        match jobs.iter().position(|of| of.member == member && of.key == job) {
            Some(at) => {
                let job = jobs.remove(at);
                if self.state.is_orphan(&self.state.calls[job.call]) {
                    self.saw(Case::Orphaned);
                }
            }
            None => self.breaks(Oracle::AbortOfNoJob, format!("{} aborts {job:?}, which does not run", name(index))),
        }
    }

    fn wake(&mut self, index: usize, member: usize, job: JobKey) {
        let jobs = &mut self.node(index).jobs;
        match jobs.iter_mut().find(|of| of.member == member && of.key == job) {
            Some(of) => of.waits = false,
            None => self.breaks(Oracle::WakeOfNoJob, format!("{} wakes {job:?}, which does not run", name(index))),
        }
    }

    /// A mailbox gets an answer.
    fn answer(&mut self, index: usize, mailbox: u8, call: CallRef, answer: &Answer) {
        let life = self.state.nodes[index].incarnation;
        if usize::from(mailbox) >= self.state.calls.len() {
            return self.breaks(Oracle::AnswerToNoCall, format!("{answer:?} to a call that nobody made"));
        }
        let runs = self.state.job_of(mailbox.into()).is_some();
        let of = &mut self.state.calls[usize::from(mailbox)];
        let mut broken = None;
        if (of.by, of.life, of.call) != (index, life, call) {
            broken = Some((Oracle::AnswerToAnotherCall, "it is in another call's mailbox"));
        } else if of.killed || of.answered {
            broken = Some((Oracle::AnswerBehindTheLast, "the call was over"));
        }
        match answer {
            Answer::StreamInit if of.asked => broken = broken.or(Some((Oracle::AskedTwice, "it was asked before"))),
            Answer::StreamInit => of.asked = true,
            Answer::Reply { body, .. } | Answer::Item { body } => {
                let number = numbers(body);
                if number.0 != mailbox {
                    broken = broken.or(Some((Oracle::ReplyOfAnotherJob, "it is another job's")));
                } else if number.1 != of.got {
                    broken =
                        broken.or(Some((Oracle::ReplyOutOfOrder, "it is out of order, or one before it was lost")));
                }
                of.got = of.got.saturating_add(1);
                of.unacked += u8::from(matches!(answer, Answer::Item { .. }));
                if answer.is_last() && of.got != of.sent {
                    broken = broken.or(Some((Oracle::LastReplyTooEarly, "it is the last, and not all before it came")));
                }
            }
            Answer::NoSuchServer(ServerAddress::Singleton) => {
                broken = broken.or(Some((Oracle::SingletonMissing, "the singleton was gone")));
            }
            Answer::NoSuchServer(_) => broken = broken.or(Some((Oracle::ServerMissing, "its server was not there"))),
            Answer::Exit { reason: ExitReason::DuplicateRef | ExitReason::Killed, .. } => {
                broken = broken.or(Some((Oracle::MetAnothersCall, "it met another's job or kill")));
            }
            Answer::Exit { reason: ExitReason::ConnectionLost, .. } if !of.lossy => {
                broken = broken.or(Some((Oracle::LostWithoutALoss, "no connection was lost")));
            }
            Answer::Dropped | Answer::TooLarge | Answer::Incompatible(_) if of.ran_at.is_some() => {
                broken = broken.or(Some((Oracle::ToldThatItDidNotRun, "its caller is told that it did not run")));
            }
            _ => {}
        }
        let lost = matches!(answer, Answer::Exit { reason: ExitReason::ConnectionLost, .. });
        of.answered |= answer.is_last();
        if lost {
            self.saw(Case::Lost);
        }
        if let Some((oracle, why)) = broken {
            let runs = if runs { ", and its job runs" } else { "" };
            self.breaks(oracle, format!("call {mailbox} of {} got {answer:?}: {why}{runs}", name(index)));
        }
    }

    /// A mailbox learns that what it monitors is down.
    fn down(&mut self, index: usize, mailbox: u8, monitor: MonitorRef) {
        let life = self.state.nodes[index].incarnation;
        self.saw(Case::Down);
        let Some(watch) = self.state.watches.get_mut(usize::from(mailbox)) else { return };
        watch.downs = watch.downs.saturating_add(1);
        let wrong = (watch.by, watch.life) != (index, life) || monitor.0 != u64::from(mailbox) || watch.downs > 1;
        if wrong {
            self.breaks(
                Oracle::MonitorFiredAgain,
                format!("monitor {mailbox} of {} fired once too often", name(index)),
            );
        }
    }
}

/// A payload that says whose it is.
pub(super) fn payload(mailbox: usize, number: u8) -> Bytes {
    Bytes::copy_from_slice(&[u8::try_from(mailbox).expect("there are few calls"), number])
}

/// What a payload says.
fn numbers(body: &[u8]) -> (u8, u8) {
    match *body {
        [mailbox, number] => (mailbox, number),
        _ => (u8::MAX, u8::MAX),
    }
}
