//! From callers and workers to the wire: casts, kills, monitors and answers.
//!
//! A cast gets its server when it leaves for the wire and not before, so that one that has waited in the buffer goes to
//! where this node sends then (M34 of docs/safety.md). A kill goes to where its cast went, and to where the phase says.
//! Kills, downs and announcements are never buffered or dropped: while the peer is away, the state itself is what
//! remembers them, and the resume or the next hello carries it over.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{ConnectionId, Output, Peer, to_mailbox};
use crate::caller::{Answer, CastError};
use crate::error::{CloseCode, EncodeError};
use crate::link::{Full, Presence};
use crate::message::{
    Body, BulkId, Called, Cast, DownReason, Exit, ExitReason, FunctionName, ItemBatch, Message, Reply, ReplyForm,
    Response, Sent,
};
use crate::name::{CallRef, MonitorRef};
use crate::phase::ServerAddress;
use crate::pool::Pool;
use crate::server::{Caller, JobEnding, JobKey, Server, ServerRequest};

impl<M: Clone, P: Pool + Clone> Peer<M, P> {
    /// Casts. Never waits; `mailbox` is told what becomes of it.
    ///
    /// # Errors
    /// [`CastError`] where it was not accepted; there is no answer to it then.
    pub fn cast(&mut self, now: Duration, cast: Cast<Bytes, FunctionName>, mailbox: M) -> Result<(), CastError> {
        let call = cast.call;
        self.check_cast(&cast)?;
        if !self.calls.insert(call, mailbox) {
            return Err(CastError::DuplicateRef(call));
        }
        let refusal = match &self.link.presence {
            Presence::Gone => Some(Answer::Down(DownReason::NoConnect)),
            Presence::Refused(refusal) => Some(Answer::Incompatible(refusal.clone())),
            Presence::Up(..) | Presence::Away(_) => None,
        };
        if let Some(answer) = refusal {
            self.end_call(call, answer);
            return Ok(());
        }
        if self.peer_draining {
            self.refuse_as_draining(call, cast.function.into());
            return Ok(());
        }
        let target = self.config.phase().cast_target();
        self.data(now, Message::Cast(target, cast.map_body(Body::Inline).map_function(Called::Name)));
        Ok(())
    }

    /// Lets go of these calls and ends their jobs. Calls that are not open are passed over.
    pub fn kill(&mut self, calls: &[CallRef]) {
        let mut kills = [(ServerAddress::Singleton, Vec::new()), (ServerAddress::PerNode, Vec::new())];
        for &call in calls {
            let Some(Some(sent_to)) = self.calls.remove(call) else { continue };
            let targets = self.guards().kill_goes_to_both(self.config.phase(), sent_to);
            kills.iter_mut().filter(|(server, _)| targets.contains(*server)).for_each(|(_, calls)| calls.push(call));
        }
        for (server, calls) in kills {
            self.send_kills(server, calls);
        }
    }

    /// Watches the server that casts go to now. If the peer is not connected, the mailbox is told so at once.
    pub fn monitor(&mut self, monitor: MonitorRef, mailbox: M) {
        if self.link.session().is_none() {
            self.outputs.push_back(Output::MonitorDown(mailbox, monitor, DownReason::NoConnect));
            return;
        }
        let server = self.config.phase().cast_target();
        self.calls.insert_monitor(monitor, server, mailbox);
        self.control(Message::Monitor(server, monitor));
    }

    /// Watches no longer. Unknown monitors are passed over.
    pub fn demonitor(&mut self, monitor: MonitorRef) {
        if let Some((server, _)) = self.calls.remove_monitor(monitor) {
            self.control(Message::Demonitor(server, monitor));
        }
    }

    /// Lets the job of this call send the stream that it asks for. `false`: it asks for none.
    pub fn start_stream(&mut self, call: CallRef) -> bool {
        self.answer_stream(call, true)
    }

    /// Tells the job of this call that the stream it asks for is not wanted; it ends. `false`: it asks for none.
    pub fn cancel_stream(&mut self, call: CallRef) -> bool {
        self.answer_stream(call, false)
    }

    fn answer_stream(&mut self, call: CallRef, start: bool) -> bool {
        let noted = self.calls.note_started(call, start);
        if self.guards().answers_stream(noted) {
            self.say_of_stream(call);
        }
        noted
    }

    fn said_of_stream(&self, call: CallRef) -> Vec<Message> {
        self.calls.said_of_stream(call, self.guards(), self.config.phase())
    }

    /// Says all that the caller has said of a call's stream.
    pub(super) fn say_of_stream(&mut self, call: CallRef) {
        self.said_of_stream(call).into_iter().for_each(|said| self.control(said));
    }

    /// Tells the job of this call that so many more of its items were consumed. `false`: there were not as many.
    pub fn ack(&mut self, call: CallRef, items: u64) -> bool {
        let noted = self.calls.note_acked(call, items);
        if noted && let Some(ack @ Message::Ack(..)) = self.said_of_stream(call).pop() {
            self.control(ack);
        }
        noted
    }

    /// Responds to a question of this call's job. `false`: the call is not open, or the response is above the limit.
    pub fn respond(&mut self, now: Duration, call: CallRef, number: u64, body: Bytes) -> bool {
        let Some(server) = self.calls.server_of(call) else { return false };
        let fits = body.len() <= self.config.limits.payload_bytes_max as usize;
        if fits {
            self.data(now, Message::Response(server, Response { call, number, body: Body::Inline(body) }));
        }
        fits
    }

    /// Whether a cast made now would go straight to the writer, or be answered at once.
    pub fn is_clear(&self) -> bool {
        match &self.link.presence {
            Presence::Gone | Presence::Refused(_) => true,
            Presence::Up(..) | Presence::Away(_) => self.peer_draining || self.link.is_clear(&self.config.limits),
        }
    }

    /// What the workers of the per-node server have for it; what comes of it is done.
    pub fn with_server<T>(&mut self, take: impl FnOnce(&mut Server<P>) -> T) -> T {
        let taken = take(&mut self.server);
        self.drain_server();
        taken
    }

    /// Takes the ends of workers of the per-node server, in this order.
    pub fn end_jobs(&mut self, ended: impl IntoIterator<Item = (JobKey, JobEnding)>) {
        for (job, ending) in ended {
            if let Some(answer) = self.server.end_of(job, ending) {
                self.pass_answer(job.caller, answer);
            }
        }
        self.drain_server();
    }

    /// Sends an answer of one of this node's servers, unless the caller's life is over.
    pub fn answer(&mut self, caller: Caller, message: Message) {
        self.pass_answer(caller, message);
        self.drain_server();
    }

    /// Tells the peer that a call was lost, if it is still on the connection on which it has said that it is open. On
    /// another it says so again; and what an end of an earlier one had not read, it may have read since.
    pub fn answer_lost(&mut self, caller: Caller, connection: ConnectionId, call: CallRef) {
        self.pass_lost(caller, connection, call);
        self.drain_server();
    }

    pub(super) fn pass_lost(&mut self, caller: Caller, connection: ConnectionId, call: CallRef) {
        if connection == self.connection && self.link.session().is_some() {
            let reason = ExitReason::ConnectionLost;
            self.pass_answer(caller, Message::Exit(Exit { call, replies: 0, function: "".into(), reason }));
        }
    }

    /// As [`Peer::answer`], without a look at what the per-node server wants done for it: that is up to its loop.
    pub(super) fn pass_answer(&mut self, caller: Caller, message: Message) {
        let given_up = matches!(self.link.presence, Presence::Gone | Presence::Refused(_));
        if self.incarnation != Some(caller.incarnation) || given_up {
            self.stale_answers += 1;
            return;
        }
        match message {
            Message::Down(..) => self.control(message),
            // The buffer's clock only shortens casts, so an answer needs no time of its own.
            _ => self.enqueue(Duration::ZERO, message),
        }
    }

    /// Whether there are bytes for the writer.
    pub fn wants_write(&self) -> bool {
        self.link.has_unwritten()
    }

    /// Hands the writer all encoded frames in `out` (which must be empty; its memory is used again) and the payloads
    /// that go behind them on QUIC streams of their own. Frames that waited for room are encoded for the next time.
    /// `None`: the connection is no longer in use, so what there is to be written is another writer's.
    pub fn take_outgoing(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        out: &mut BytesMut,
    ) -> Option<Vec<(BulkId, Bytes)>> {
        if connection != self.connection || self.link.session().is_none() {
            return None;
        }
        let bulk = self.link.take_unwritten(out);
        self.refill(now);
        Some(bulk)
    }

    /// The shell has sent a payload of so many bytes, or given it up.
    pub fn handle_bulk_sent(&mut self, now: Duration, connection: ConnectionId, bytes: usize) {
        if connection == self.connection {
            self.link.bulk_sent(bytes);
            self.refill(now);
        }
    }

    /// Tells a peer of the same life what is open, and what is watched.
    pub(super) fn resume(&mut self) {
        let Some(session) = self.link.session() else { return };
        self.calls.note_reconnected();
        let (hosts, calls_max) = (session.hosts, session.calls_per_frame());
        for server in hosts.iter() {
            let mut calls = self.calls.sent_to(server);
            // The peer may take shorter frames than we do. What the list cannot hold, its other end takes for killed.
            for call in calls.split_off(calls_max.min(calls.len())) {
                self.end_call(call, Answer::Exit { function: "".into(), reason: ExitReason::ConnectionLost });
            }
            self.control(Message::Resume(server, calls));
        }
        for call in self.calls.refs().collect::<Vec<_>>() {
            self.say_of_stream(call);
        }
        for (monitor, server) in self.calls.monitors().collect::<Vec<_>>() {
            self.control(Message::Monitor(server, monitor));
        }
    }

    /// Encodes what waits, for as long as there is room.
    pub(super) fn refill(&mut self, now: Duration) {
        while self.link.has_room(&self.config.limits)
            && let Some(waiting) = self.link.take_waiting(&mut self.pool)
        {
            let waited = now.saturating_sub(waiting.since);
            self.transmit(waiting.message, waited);
        }
        self.drain_server();
        self.room |= self.is_clear();
    }

    fn encode(&mut self, message: &mut Message) -> Result<(), EncodeError> {
        self.writable = true;
        self.link.encode(message, &self.config.limits)
    }

    /// Sends what must not be lost while the peer is there. While it is away this does nothing: see the file's head.
    pub(super) fn control(&mut self, mut message: Message) {
        if self.link.session().is_none() {
            return;
        }
        match self.encode(&mut message) {
            // What a version has no address for, no server of that peer can hold.
            Ok(()) | Err(EncodeError::Unaddressable { .. }) => {}
            Err(error) => self.close(CloseCode::ProtocolBroken, error.to_string()),
        }
    }

    /// Sends a cast or an answer, now or from the buffer. What the buffer drops for it, its caller is told.
    pub(super) fn data(&mut self, now: Duration, message: Message) {
        self.enqueue(now, message);
        self.drain_server();
    }

    fn enqueue(&mut self, now: Duration, message: Message) {
        if self.link.is_clear(&self.config.limits) {
            return self.transmit(message, Duration::ZERO);
        }
        for (dropped, full) in self.link.wait(message, now, &self.config.limits, &mut self.pool) {
            let (answer, reason) = match full {
                Full::ForPeer => (Answer::Dropped, ExitReason::ReplyDropped),
                Full::InAll => (Answer::DroppedInAll, ExitReason::ReplyDroppedInAll),
            };
            match dropped {
                Message::Cast(_, cast) => self.end_call(cast.call, answer),
                Message::Response(_, Response { call, .. }) => self.lose(call),
                Message::Reply(Reply { call, .. })
                | Message::Items(ItemBatch { call, .. })
                | Message::StreamInit(call)
                | Message::Sent(Sent { call, .. })
                | Message::Exit(Exit { call, .. })
                | Message::NoSuchServer(_, call)
                | Message::NoSuchFunction(call) => self.reply_dropped(call, reason),
                _ => {}
            }
        }
    }

    pub(super) fn end_call(&mut self, call: CallRef, answer: Answer) {
        self.calls.end(call, answer, &mut to_mailbox(&mut self.outputs));
    }

    /// Answers a cast as the peer would, which takes none any more. It did not run.
    pub(super) fn refuse_as_draining(&mut self, call: CallRef, function: Arc<str>) {
        self.end_call(call, Answer::Exit { function, reason: ExitReason::Draining });
    }

    /// Ends a call of which a reply was lost, and its job.
    pub(super) fn lose(&mut self, call: CallRef) {
        if let Some(mailbox) = self.calls.mailbox(call) {
            self.kill(&[call]);
            let answer = Answer::Exit { function: "".into(), reason: ExitReason::ConnectionLost };
            self.outputs.push_back(Output::Deliver(mailbox, call, answer));
        }
    }

    fn check_cast(&self, cast: &Cast<Bytes, FunctionName>) -> Result<(), CastError> {
        let (limits, Cast { function, body, .. }) = (&self.config.limits, cast);
        if function.is_empty() || function.len() > limits.function_bytes_max {
            return Err(CastError::FunctionName { bytes: function.len(), max: limits.function_bytes_max });
        }
        if body.len() > limits.payload_bytes_max as usize {
            return Err(CastError::PayloadTooLarge { bytes: body.len(), max: limits.payload_bytes_max as usize });
        }
        if self.calls.len() >= limits.calls_open_max {
            return Err(CastError::TooManyCalls { max: limits.calls_open_max });
        }
        Ok(())
    }

    fn send_kills(&mut self, server: ServerAddress, calls: Vec<CallRef>) {
        let Some(session) = self.link.session().cloned() else { return };
        if calls.len() > 1 && self.guards().may_send_kill_all(session.wire) {
            for calls in calls.chunks(session.calls_per_frame()) {
                self.control(Message::KillAll(server, calls.to_vec()));
            }
        } else {
            calls.into_iter().for_each(|call| self.control(Message::Kill(server, call)));
        }
    }

    /// Encodes one message for a peer that is there, after `waited` in the buffer.
    fn transmit(&mut self, mut message: Message, waited: Duration) {
        let Some(session) = self.link.session() else { return };
        let payload_bytes_max = session.payload_bytes_max as usize;
        let list_bytes_max = payload_bytes_max.min(session.frame_bytes_max as usize / 2);
        let mut cast_as = None;
        match &mut message {
            Message::Cast(server, cast) => match self.route(*server, cast, waited, payload_bytes_max) {
                Some(target) => (*server, cast_as) = (target, Some(cast.call)),
                None => return,
            },
            &mut Message::Reply(Reply { call, ref body, .. }) if body.is_longer_than(payload_bytes_max) => {
                self.abandon_jobs_of(call);
                let reason = ExitReason::ReplyTooLarge;
                message = Message::Exit(Exit { call, replies: 0, function: "".into(), reason });
            }
            &mut Message::Response(_, Response { call, number, ref body }) => {
                if body.is_longer_than(payload_bytes_max) {
                    return self.lose(call);
                }
                self.calls.note_responded(call, number);
            }
            Message::Items(items) if items.list.bytes().len() > list_bytes_max => {
                let list = std::mem::take(&mut items.list);
                let items = ItemBatch { list, ..*items };
                return self.transmit_apart(items, waited, payload_bytes_max);
            }
            _ => {}
        }
        match (self.encode(&mut message), cast_as) {
            (Ok(()), _) => {}
            (Err(EncodeError::TooLong { .. }), Some(call)) => self.end_call(call, Answer::TooLarge),
            (Err(error), _) => self.close(CloseCode::ProtocolBroken, error.to_string()),
        }
    }

    /// Sends items one by one to a peer that takes no frame with all of them.
    fn transmit_apart(&mut self, items: ItemBatch, waited: Duration, payload_bytes_max: usize) {
        for (number, body) in (items.number..).zip(items.list) {
            // Which is the end of its job.
            let is_last = body.len() > payload_bytes_max;
            let (call, form, body) = (items.call, ReplyForm::Item, Body::Inline(body));
            self.transmit(Message::Reply(Reply { call, number, form, body }), waited);
            if is_last {
                break;
            }
        }
    }

    /// The server that a cast leaves for, its function numbered; `None` where it must not leave.
    fn route(
        &mut self,
        made_for: ServerAddress,
        cast: &mut Cast,
        waited: Duration,
        payload_bytes_max: usize,
    ) -> Option<ServerAddress> {
        if cast.body.is_longer_than(payload_bytes_max) {
            self.end_call(cast.call, Answer::TooLarge);
            return None;
        }
        if let Some(left) = cast.time_left {
            let left = left.saturating_sub(waited);
            if left.is_zero() {
                let function = cast.function.clone().into_name();
                self.end_call(cast.call, Answer::Exit { function, reason: ExitReason::TimePassed });
                return None;
            }
            cast.time_left = Some(left);
        }
        if let Called::Name(function) = &cast.function {
            let Some(number) = self.link.session().and_then(|session| session.functions.number_to_cast(function))
            else {
                self.end_call(cast.call, Answer::NoSuchFunction);
                return None;
            };
            cast.function = Called::Number(number);
        }
        let target = self.guards().routed_when_sent(made_for, self.config.phase());
        self.calls.mark_sent(cast.call, target).then_some(target)
    }

    /// A reply, or an end, was dropped from the full buffer: its job, if it still runs, has no one to answer.
    fn reply_dropped(&mut self, call: CallRef, reason: ExitReason) {
        self.abandon_jobs_of(call);
        self.control(Message::Exit(Exit { call, replies: 0, function: "".into(), reason }));
    }

    fn abandon_jobs_of(&mut self, call: CallRef) {
        let Some(incarnation) = self.incarnation else { return };
        let caller = Caller { peer: self.id, incarnation };
        // What the server wants done for it is left to the loop that drains it: this may be a step of that very loop,
        // and as many answers may be dropped in a row as a peer has calls.
        self.server.abandon(caller, call);
        if self.config.hosts.contains(ServerAddress::Singleton) {
            self.outputs.push_back(Output::Singleton(caller, ServerRequest::Kill(vec![call])));
        }
    }
}

#[cfg(test)]
mod tests;
