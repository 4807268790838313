//! From the wire to servers and callers. Every frame is answered, delivered or counted; none is dropped in silence.
//!
//! A frame that cannot be read ends the connection: on an ordered lane nothing behind it can be trusted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{ConnectionId, Output, Peer, to_mailbox};
use crate::bulk::{BulkError, Incomplete};
use crate::caller::{Answer, Held, Taken};
use crate::error::{CloseCode, DecodeError};
use crate::frame::FrameBuffer;
use crate::message::{
    Body, BulkId, Called, Cast, DownReason, Exit, ExitReason, ItemBatch, Message, Reply, ReplyForm, Response,
};
use crate::name::CallRef;
use crate::phase::ServerAddress;
use crate::pool::Pool;
use crate::reply_stream::StreamSignal;
use crate::server::{Caller, ServerRequest};
use crate::wire;

impl<M: Clone, P: Pool + Clone> Peer<M, P> {
    /// Takes bytes of the ordered lane, in any portions.
    pub fn handle_bytes(&mut self, now: Duration, connection: ConnectionId, bytes: &[u8]) {
        if !self.guards().heeds_frames(connection, self.connection) || self.link.session().is_none() {
            return;
        }
        if self.link.is_overrun(&self.config.limits) {
            let reason = "it asks and does not read the answers".to_owned();
            return self.end_connection(now, CloseCode::TooSlow, reason);
        }
        let mut frames = std::mem::replace(&mut self.frames, FrameBuffer::new(0));
        frames.extend(bytes);
        let read = self.handle_frames(now, &mut frames);
        if self.link.session().is_some() {
            self.frames = frames;
        }
        if let Err(error) = read {
            self.end_connection(now, CloseCode::BadFrame, error.to_string());
        }
    }

    /// Takes a payload that came on a QUIC stream of its own.
    pub fn handle_bulk(&mut self, now: Duration, connection: ConnectionId, id: BulkId, body: Bytes) {
        if !self.guards().heeds_payload(connection, self.connection) {
            self.late_payloads += 1;
            return;
        }
        if self.link.session().is_none() {
            return;
        }
        let held = self.inbound.handle_body(id, body, &self.config.limits);
        self.join(now, id, held);
    }

    /// Whether a payload that came on this connection is kept because its frame has not come yet.
    pub fn awaits_frame(&self, connection: ConnectionId, id: BulkId) -> bool {
        connection == self.connection && self.inbound.awaits_frame(id)
    }

    /// Bytes that wait for the rest of their frame: more than 0 at the end of a lane means that a frame was cut off.
    pub fn incomplete_bytes(&self) -> usize {
        self.frames.incomplete_bytes()
    }

    fn handle_frames(&mut self, now: Duration, frames: &mut FrameBuffer) -> Result<(), DecodeError> {
        while let Some(frame) = frames.next_frame()? {
            let Some(wire) = self.link.session().map(|session| session.wire) else { return Ok(()) };
            match wire::decode_guarded(wire, frame, self.guards()) {
                Ok(message) => self.handle_message(now, message),
                Err(DecodeError::UnknownKind { kind, .. }) => {
                    if self.guards().unknown_is_answered() {
                        self.unknown_frames += 1;
                        self.data(now, Message::Unsupported(kind));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, now: Duration, message: Message) {
        match message {
            Message::Cast(server, _)
            | Message::Kill(server, _)
            | Message::KillAll(server, _)
            | Message::Resume(server, _)
            | Message::Monitor(server, _)
            | Message::Demonitor(server, _)
            | Message::StreamStart(server, _)
            | Message::StreamCancel(server, _)
            | Message::Ack(server, ..)
            | Message::Response(server, _)
                if !self.serves(server, now) =>
            {
                self.handle_unserved(now, server, message);
            }
            Message::Cast(server, cast) => self.handle_cast(now, server, cast),
            Message::Kill(server, call) => self.handle_kill(server, vec![call]),
            Message::KillAll(server, calls) => self.handle_kill(server, calls),
            Message::Resume(server, calls) => self.request(server, ServerRequest::Resume(self.connection, calls)),
            Message::Monitor(server, monitor) => self.request(server, ServerRequest::Monitor(monitor)),
            Message::Demonitor(server, monitor) => self.request(server, ServerRequest::Demonitor(monitor)),
            Message::StreamStart(server, call) => {
                self.request(server, ServerRequest::Stream(call, StreamSignal::Start));
            }
            Message::StreamCancel(server, call) => {
                self.request(server, ServerRequest::Stream(call, StreamSignal::Cancel));
            }
            Message::Ack(server, call, total) => {
                self.request(server, ServerRequest::Stream(call, StreamSignal::Ack(total)));
            }
            Message::Response(server, response) => self.handle_response(now, server, response),
            Message::Reply(reply) => self.handle_reply_frame(now, reply),
            Message::Items(ItemBatch { call, number, list }) => {
                let count = list.len() as u64;
                self.count_replies(call, number, count);
                self.calls.count_items(call, count);
                self.handle_answer(call, Held::Complete(Answer::Items(list)));
            }
            Message::StreamInit(call) => self.handle_stream_init(call),
            Message::Sent(sent) => {
                if self.calls.awaits(sent.call) && self.calls.misses(self.guards().heard_whole(sent)) {
                    self.lose(sent.call);
                }
            }
            Message::Exit(exit) => {
                let Exit { call, replies, function, reason } = exit;
                let gap = reason == ExitReason::Done && !self.calls.has_all_replies(call, replies);
                let reason = if gap { ExitReason::ConnectionLost } else { reason };
                self.handle_answer(call, Held::Complete(Answer::Exit { function, reason }));
            }
            Message::NoSuchServer(server, call) => {
                self.handle_answer(call, Held::Complete(Answer::NoSuchServer(server)));
            }
            Message::NoSuchFunction(call) => self.handle_answer(call, Held::Complete(Answer::NoSuchFunction)),
            Message::Ping(call) => self.handle_answer(call, Held::Complete(Answer::Ping)),
            Message::Down(monitor, reason) => {
                if let Some((_, mailbox)) = self.calls.remove_monitor(monitor) {
                    self.outputs.push_back(Output::MonitorDown(mailbox, monitor, reason));
                }
            }
            Message::Announce(number, now) => {
                self.outputs.extend(self.incarnation.map(|life| Output::Announced(life, number, now)));
            }
            Message::Draining => self.handle_draining(),
            Message::Unsupported(kind) => self.outputs.push_back(Output::Unsupported(kind)),
        }
    }

    /// Answers what is for a server that is not here. It runs nothing, so what is said of its jobs needs no answer.
    fn handle_unserved(&mut self, now: Duration, server: ServerAddress, message: Message) {
        match message {
            Message::Cast(_, cast) if self.guards().missing_server_is_told() => {
                self.data(now, Message::NoSuchServer(server, cast.call));
            }
            // Every call to it is lost.
            Message::Resume(_, calls) => {
                if let Some(incarnation) = self.incarnation {
                    self.server.tell_unserved(Caller { peer: self.id, incarnation }, server, calls);
                    self.drain_server();
                }
            }
            Message::Monitor(_, monitor) => self.control(Message::Down(monitor, DownReason::NoServer)),
            _ => {}
        }
    }

    fn handle_cast(&mut self, now: Duration, server: ServerAddress, cast: Cast) {
        let Called::Number(number) = cast.function else { unreachable!("a name is never read from the wire") };
        let Some(function) = self.config.functions.name(number).map(Arc::clone) else {
            // The peer has our table, so it made the number up.
            return self.data(now, Message::NoSuchFunction(cast.call));
        };
        let mut cast = cast.map_function(|_| function);
        match cast.body {
            Body::Inline(ref mut bytes) => {
                let bytes = std::mem::take(bytes);
                self.request(server, ServerRequest::Cast(cast.map_body(|_| bytes)));
            }
            Body::Bulk(id, bytes) => self.hold(now, id, bytes, Incomplete::Cast(server, cast)),
        }
    }

    fn handle_kill(&mut self, server: ServerAddress, calls: Vec<CallRef>) {
        if self.guards().kill_ends_held_casts() {
            self.inbound.kill(server, &calls);
        }
        self.request(server, ServerRequest::Kill(calls));
    }

    fn handle_reply_frame(&mut self, now: Duration, reply: Reply) {
        let Reply { call, number, form, body } = reply;
        self.count_replies(call, number, 1);
        if form == ReplyForm::Item {
            self.calls.count_items(call, 1);
        }
        match body {
            Body::Inline(body) => self.handle_answer(call, Held::reply(form, number, body)),
            Body::Bulk(id, bytes) => {
                self.handle_answer(call, Held::Pending { id, number, form });
                self.hold(now, id, bytes, Incomplete::Reply(call));
            }
        }
    }

    /// Counts replies of which the first has that number. A call that misses one before them is lost.
    fn count_replies(&mut self, call: CallRef, number: u64, count: u64) {
        if !self.calls.count_replies(call, number, count) {
            self.lose(call);
        }
    }

    /// A job asks for a stream. One that asks again did not get the answer.
    fn handle_stream_init(&mut self, call: CallRef) {
        if self.calls.awaits(call) && !self.calls.note_asked(call) {
            return self.say_of_stream(call);
        }
        self.handle_answer(call, Held::Complete(Answer::StreamInit));
    }

    fn handle_response(&mut self, now: Duration, server: ServerAddress, response: Response) {
        let Response { call, number, body } = response;
        match body {
            Body::Inline(body) => self.request(server, ServerRequest::Response(call, number, body)),
            Body::Bulk(id, bytes) => self.hold(now, id, bytes, Incomplete::Response(server, call, number)),
        }
    }

    /// The peer refuses what is cast from now on, so nothing more is sent to it in this life. What waits in the buffer
    /// would be refused as well, and is answered here; a stream's words and responses to jobs that still run go on.
    fn handle_draining(&mut self) {
        if std::mem::replace(&mut self.peer_draining, true) {
            return;
        }
        for cast in self.link.take_waiting_casts(&mut self.pool) {
            self.refuse_as_draining(cast.call, cast.function.into_name());
        }
        self.outputs.push_back(Output::Draining);
        self.room = true;
    }

    fn handle_answer(&mut self, call: CallRef, held: Held) {
        let taken = self.calls.answer(call, held, &mut to_mailbox(&mut self.outputs));
        match taken {
            Taken::Delivered | Taken::Held => {}
            Taken::Stray => self.stray_answers += 1,
            // The peer broke no rule: its small replies overtake a large one. One call ends, and not all of them.
            Taken::TooMany => self.lose(call),
        }
    }

    /// A frame whose payload travels on a QUIC stream of its own, which may have come already.
    fn hold(&mut self, now: Duration, id: BulkId, bytes: u32, frame: Incomplete) {
        let held = self.inbound.handle_frame(id, bytes, frame, &self.config.limits);
        self.join(now, id, held);
    }

    /// Goes on with a frame and its payload, if both are there.
    fn join(&mut self, now: Duration, id: BulkId, joined: Result<Option<(Incomplete, Bytes)>, BulkError>) {
        match joined {
            Ok(None) => {}
            Ok(Some((Incomplete::Cast(server, cast), body))) => {
                self.request(server, ServerRequest::Cast(cast.map_body(|_| body)));
            }
            Ok(Some((Incomplete::Response(server, call, number), body))) => {
                self.request(server, ServerRequest::Response(call, number, body));
            }
            Ok(Some((Incomplete::Reply(call), body))) => {
                self.calls.complete(call, id, &body, &mut to_mailbox(&mut self.outputs));
            }
            Err(BulkError(reason)) => self.end_connection(now, CloseCode::ProtocolBroken, reason.to_owned()),
        }
    }

    fn end_connection(&mut self, now: Duration, code: CloseCode, reason: String) {
        self.close(code, reason);
        self.handle_disconnected(now, self.connection);
    }
}

#[cfg(test)]
mod tests;
