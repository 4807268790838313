//! All that a node knows of one remote node: calls to it, the way out, the per-node server that serves it.
//!
//! In: casts and kills of callers (`outbound.rs`), bytes of the connection (`inbound.rs`), what becomes of the
//! connection and of time (here). Out: [`Output`], to be drained after every call. One lock around a `Peer` is all that
//! a shell needs. A connection has a number; what comes late from one that was replaced is passed over.

mod config;
mod inbound;
mod outbound;
mod output;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::bulk::Inbound;
use crate::caller::{Answer, Calls};
use crate::error::CloseCode;
use crate::frame::FrameBuffer;
use crate::guards::Guards;
use crate::hello::Refusal;
use crate::link::{Link, Presence, Session};
use crate::message::{DownReason, Message};
use crate::migration::Forms;
use crate::name::{CallRef, Incarnation, PeerId};
use crate::phase::ServerAddress;
use crate::pool::{Pool, Total, Unlimited};
use crate::rollout::PhaseNow;
use crate::server::{Caller, JobKey, Server, ServerOutput, ServerRequest};

pub use config::PeerConfig;
use output::to_mailbox;
pub use output::{Output, PeerStats};

/// A connection to a peer, counted from the node's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// Its number once [`Peer::forget_past`] was called: that of the connection in use, or of any earlier one.
    #[must_use]
    pub fn forgotten(self, current: Self) -> Self {
        if self == current { Self::default() } else { Self(u64::MAX) }
    }
}

/// The state of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer<M, P = Unlimited> {
    id: PeerId,
    config: PeerConfig,
    link: Link,
    calls: Calls<M>,
    /// The per-node server: it serves this peer and no other.
    server: Server<P>,
    /// What it takes beyond its floors, of the node's totals.
    pool: P,
    inbound: Inbound,
    frames: FrameBuffer,
    connection: ConnectionId,
    /// The peer's life, from its first handshake until it is known to have ended.
    incarnation: Option<Incarnation>,
    /// This node takes no new casts.
    draining: bool,
    /// The peer, in this life, takes no new casts: it has said so.
    peer_draining: bool,
    /// The next connection is told what is open, although it is the first.
    tells_open: bool,
    unknown_frames: u64,
    stray_answers: u64,
    stale_answers: u64,
    late_payloads: u64,
    outputs: VecDeque<Output<M>>,
    /// Said once, behind the outputs, however often it has come about.
    writable: bool,
    room: bool,
    more: bool,
}

impl<M: Clone> Peer<M> {
    /// The peer with this node's own number `id`, not yet connected, on a node on which nothing is bounded in all.
    pub fn new(id: PeerId, config: PeerConfig, now: Duration) -> Self {
        Self::with_pool(id, config, Unlimited, now)
    }
}

impl<M: Clone, P: Pool + Clone> Peer<M, P> {
    /// The peer with this node's own number `id`, not yet connected, which takes out of `pool` what it holds beyond its
    /// floors. All clones of a pool are the same one.
    pub fn with_pool(id: PeerId, config: PeerConfig, pool: P, now: Duration) -> Self {
        Self {
            id,
            link: Link::new(Presence::Away(now + config.limits.stability_period), Guards::without(config.mutants)),
            calls: Calls::new(),
            server: Server::with_pool(ServerAddress::PerNode, &config.limits, pool.clone())
                .with_mutants(config.mutants),
            pool,
            inbound: Inbound::default(),
            frames: FrameBuffer::new(config.limits.frame_bytes_max),
            connection: ConnectionId::default(),
            incarnation: None,
            draining: false,
            peer_draining: false,
            tells_open: false,
            unknown_frames: 0,
            stray_answers: 0,
            stale_answers: 0,
            late_payloads: 0,
            outputs: VecDeque::new(),
            writable: false,
            room: false,
            more: false,
            config,
        }
    }

    /// This peer may have had to do with this life of the node before, as a member that has left since: the first
    /// connection tells it that nothing is open, so that it ends what it may still run for that time.
    pub fn forget_earlier(&mut self) {
        self.tells_open = true;
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output<M>> {
        let said = |flag: &mut bool, output| std::mem::take(flag).then_some(output);
        let next = self.outputs.pop_front();
        let next = next.or_else(|| said(&mut self.writable, Output::Writable));
        next.or_else(|| said(&mut self.room, Output::Room)).or_else(|| said(&mut self.more, Output::More))
    }

    /// Whether there is more to be done of what the peer has asked, or of its end: see [`Output::More`].
    pub fn is_behind(&self) -> bool {
        self.server.is_behind()
    }

    /// Does a part of what is left of it.
    pub fn go_on(&mut self) {
        self.server.go_on();
        self.drain_server();
    }

    /// Takes a completed handshake; any earlier connection is let go. With the peer's earlier life its calls and jobs
    /// end; with the same life both ends agree again on what is open.
    ///
    /// The connection is refused, with [`Output::Close`], where the peer does not host what this node sends to: the
    /// phase may have changed since the hellos.
    pub fn handle_connected(&mut self, now: Duration, session: Session) -> ConnectionId {
        self.connection.0 += 1;
        self.drop_connection();
        let same_life = self.incarnation == Some(session.incarnation);
        if !same_life {
            self.end_life(DownReason::Restarted);
        }
        self.incarnation = Some(session.incarnation);
        if same_life {
            self.config.hosts = self.guards().hosts_after_reconnect(self.config.hosts);
        }
        let (said, guards) = (Arc::clone(&session.said), self.guards());
        let taken = |(now, &takes): (&PhaseNow, &Forms)| guards.connection_asks_form(takes, now.phase);
        if !self.config.phases.iter().zip(&*session.takes).all(taken) {
            self.set_presence(Presence::Away(now + self.config.limits.stability_period));
            self.close(CloseCode::TryAgain, "the phase has changed since the hello".to_owned());
            return self.connection;
        }
        self.set_presence(Presence::Up(session, now));
        for (number, now) in (0_u8..).zip(&*Arc::clone(&self.config.phases)) {
            if said.get(usize::from(number)).is_none_or(|&epoch| epoch != now.epoch) {
                self.control(Message::Announce(number, *now));
            }
        }
        if self.draining {
            self.control(Message::Draining);
        }
        if std::mem::take(&mut self.tells_open) || same_life {
            self.resume();
        }
        self.refill(now);
        self.connection
    }

    /// The connection is lost. The peer keeps its calls, jobs and buffer for the stability period.
    pub fn handle_disconnected(&mut self, now: Duration, connection: ConnectionId) {
        if !self.guards().heeds_end(connection, self.connection) || self.link.session().is_none() {
            return;
        }
        self.drop_connection();
        self.set_presence(Presence::Away(now + self.config.limits.stability_period));
    }

    /// The peer has left in good order: its life is over. What waits for it is kept for its next life.
    pub fn handle_departed(&mut self, now: Duration, connection: ConnectionId) {
        if self.guards().heeds_departure(connection, self.connection) {
            self.handle_disconnected(now, self.connection);
            self.end_life(DownReason::Shutdown);
        }
    }

    /// That life of the peer is the latest that has said hello: a connection to an earlier one is of the past.
    pub fn handle_met(&mut self, now: Duration, latest: Incarnation) {
        if self.guards().connection_ends_with_its_life(self.incarnation, latest) {
            self.let_go_of_past(now);
        }
    }

    fn let_go_of_past(&mut self, now: Duration) {
        if self.link.session().is_some() {
            self.close(CloseCode::Replaced, "a later start of this node has said hello".to_owned());
            self.handle_disconnected(now, self.connection);
        }
    }

    /// The handshake with that life of the peer ended in a refusal. A final one answers every call at once; after
    /// another kind calls wait for as long as for a peer that is away. That of an earlier life, which a later one has
    /// overtaken, is passed over.
    pub fn handle_refused(&mut self, now: Duration, incarnation: Incarnation, refusal: Box<Refusal>) {
        if !self.guards().heeds_refusal(incarnation, self.incarnation) {
            return;
        }
        if self.incarnation.is_some_and(|known| known != incarnation) {
            self.let_go_of_past(now);
            self.end_life(DownReason::Restarted);
        }
        if self.link.session().is_some() {
            return;
        }
        if refusal.is_final() {
            self.give_up(&Answer::Incompatible(refusal.clone()), DownReason::NoConnection);
            self.set_presence(Presence::Refused(refusal));
        } else if matches!(self.link.presence, Presence::Refused(_)) {
            self.set_presence(Presence::Away(now + self.config.limits.stability_period));
        }
    }

    /// The time at which [`Peer::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Duration> {
        match self.link.presence {
            Presence::Away(until) => Some(until),
            _ => None,
        }
    }

    /// Gives up a peer that is away for longer than the stability period: its jobs end, its callers and monitors are
    /// told.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.deadline().is_some_and(|until| until <= now) {
            let reason = if self.incarnation.is_some() { DownReason::NoConnection } else { DownReason::NoConnect };
            self.give_up(&Answer::Down(DownReason::NoConnect), reason);
            self.set_presence(Presence::Gone);
        }
    }

    /// This node has stopped, or the peer is no longer a member: those who wait are told, and so are those who ask
    /// later. It must not be connected again.
    pub fn stop(&mut self) {
        self.drop_connection();
        self.give_up(&Answer::Down(DownReason::NoConnect), DownReason::NoConnection);
        self.set_presence(Presence::Gone);
    }

    /// This node's phases are these now, by number. Calls that were cast keep the server they were cast to. A peer that
    /// does not take what is said now is let go; one that was refused for the earlier phase may be spoken to now, so
    /// that calls wait for it as for one that is away. A phase whose epoch is not newer is passed over.
    pub fn set_phases(&mut self, now: Duration, phases: &[PhaseNow]) {
        let guards = self.guards();
        for (number, (place, &said)) in (0_u8..).zip(phases.iter().enumerate()) {
            if !guards.hears_phase(said.epoch, self.config.phases[place].epoch) {
                continue;
            }
            Arc::make_mut(&mut self.config.phases)[place] = said;
            if guards.phase_is_announced() {
                self.control(Message::Announce(number, said));
            }
            if let Presence::Refused(refusal) = &self.link.presence
                && matches!(**refusal, Refusal::NotTaken { .. })
                && guards.refusal_ends_with_phase()
            {
                self.set_presence(Presence::Away(now + self.config.limits.stability_period));
            }
            let takes = self.link.session().map(|session| session.takes[place]);
            if takes.is_some_and(|takes| !guards.new_phase_asks_form(takes, said.phase)) {
                self.close(CloseCode::TryAgain, format!("the phase is now {}", said.phase));
                self.handle_disconnected(now, self.connection);
            }
        }
    }

    /// From now on the per-node server refuses casts, and the peer is told.
    pub fn drain(&mut self) {
        self.draining = true;
        self.server.drain();
        self.control(Message::Draining);
    }

    /// Ends the per-node server: its jobs are aborted and answered, its monitors told.
    pub fn end_server(&mut self) {
        self.server.end(DownReason::Shutdown);
        self.drain_server();
    }

    /// Whether the peer has said that it leaves: it takes no casts any more in this life.
    pub fn is_leaving(&self) -> bool {
        self.peer_draining
    }

    /// Whether a frame has come whose payload is still on its way.
    pub fn awaits_payload(&self) -> bool {
        self.inbound.awaits_payload()
    }

    /// Whether the peer is there.
    pub fn presence(&self) -> &Presence {
        &self.link.presence
    }

    /// The connection in use, or the last one.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Counts.
    pub fn stats(&self) -> PeerStats {
        PeerStats {
            calls: self.calls.len(),
            jobs: self.server.jobs(),
            job_bytes: self.server.job_bytes(),
            streams: self.server.streams(),
            stream_timeouts: self.server.stream_timeouts(),
            buffered: self.link.buffered(),
            buffered_bytes: self.link.buffered_bytes(),
            waited: self.link.waited(),
            dropped: self.link.dropped(),
            unknown_frames: self.unknown_frames,
            stray_answers: self.stray_answers,
            stale_answers: self.stale_answers,
            late_payloads: self.late_payloads,
        }
    }

    /// What is held for the peer of that total beyond floors of so much.
    pub fn beyond(&self, total: Total, floor: usize) -> usize {
        let buffered = match total {
            Total::BufferedFrames => self.link.buffered(),
            Total::BufferedBytes => self.link.buffered_bytes(),
            Total::Jobs | Total::JobBytes | Total::Streams => 0,
        };
        self.server.beyond(total, floor) + buffered.saturating_sub(floor)
    }

    /// The calls that are open to the peer.
    pub fn open_calls(&self) -> impl Iterator<Item = CallRef> {
        self.calls.refs()
    }

    /// The mailbox of each of them.
    pub fn mailboxes(&self) -> impl Iterator<Item = &M> {
        self.calls.mailboxes()
    }

    /// The calls whose jobs the per-node server runs, by caller.
    pub fn jobs(&self) -> impl Iterator<Item = (Caller, CallRef)> {
        self.server.calls()
    }

    /// The jobs of the per-node server that have ended, and whose workers are yet to be aborted.
    pub fn ending_jobs(&self) -> impl Iterator<Item = JobKey> {
        self.server.ending()
    }

    /// Forgets what only tells of the past, so that a search does not take states apart for it: counts, the numbers of
    /// earlier connections, which hello began the session, and in the per-node server what [`Server::forget_past`]
    /// says. The caller must hold no number of an earlier connection; the one in use is to be asked for anew.
    pub fn forget_past(&mut self, may_come: impl Fn(CallRef) -> bool) {
        let current = std::mem::take(&mut self.connection);
        self.server.renumber(|_, connection| connection.forgotten(current));
        (self.unknown_frames, self.stray_answers) = (0, 0);
        (self.stale_answers, self.late_payloads) = (0, 0);
        self.link.forget_past();
        self.server.forget_past(|_, call| may_come(call));
    }

    fn guards(&self) -> Guards {
        Guards::without(self.config.mutants)
    }

    fn set_presence(&mut self, presence: Presence) {
        let life = |link: &Link| link.session().map(|session| session.incarnation);
        let before = life(&self.link);
        self.link.presence = presence;
        self.outputs.push_back(Output::Presence(before, life(&self.link)));
        self.room |= matches!(self.link.presence, Presence::Gone | Presence::Refused(_));
    }

    /// What was in transfer is lost: never sent again, and told by the resume where it mattered.
    fn drop_connection(&mut self) {
        self.link.forget_unwritten();
        // The next connection's resume asks again.
        self.link.retain_waiting(&mut self.pool, |message| !message.tells_lost());
        self.inbound = Inbound::default();
        self.frames = FrameBuffer::new(self.config.limits.frame_bytes_max);
        self.calls.forget_held();
    }

    /// The peer's life is over: calls that were sent to it are told, its jobs end, answers to it are let go. Casts that
    /// were never sent wait for its next life.
    fn end_life(&mut self, reason: DownReason) {
        if self.incarnation.is_none() {
            return;
        }
        self.peer_draining = false;
        self.calls.end_all(true, &Answer::Down(reason), &mut to_mailbox(&mut self.outputs));
        self.monitors_down(reason);
        self.link.retain_waiting(&mut self.pool, |message| matches!(message, Message::Cast(..)));
        self.forget_jobs();
        self.incarnation = None;
    }

    /// Ends every call. One that was sent may have run and is told `reason`; only of the rest, which are told
    /// `unsent`, is it known that they did not.
    fn give_up(&mut self, unsent: &Answer, reason: DownReason) {
        self.calls.end_all(true, &Answer::Down(reason), &mut to_mailbox(&mut self.outputs));
        self.calls.end_all(false, unsent, &mut to_mailbox(&mut self.outputs));
        self.monitors_down(reason);
        self.link.retain_waiting(&mut self.pool, |_| false);
        self.forget_jobs();
    }

    fn forget_jobs(&mut self) {
        for server in self.config.hosts.iter() {
            self.request(server, ServerRequest::Forget);
        }
    }

    fn monitors_down(&mut self, reason: DownReason) {
        for (monitor, mailbox) in self.calls.take_monitors() {
            self.outputs.push_back(Output::MonitorDown(mailbox, monitor, reason));
        }
    }

    /// Hands a request of the peer, in the life that is known, to one of this node's servers.
    fn request(&mut self, server: ServerAddress, request: ServerRequest) {
        let Some(incarnation) = self.incarnation else { return };
        let caller = self.guards().caller(self.id, incarnation, server);
        match server {
            ServerAddress::Singleton => self.outputs.push_back(Output::Singleton(caller, request)),
            ServerAddress::PerNode => {
                match request {
                    ServerRequest::Cast(cast) => match self.server.accept(caller, cast) {
                        Ok(spawn) => self.outputs.push_back(Output::Job(spawn)),
                        Err(refusal) => self.pass_answer(caller, refusal),
                    },
                    request => self.server.handle_request(caller, request),
                }
                self.drain_server();
            }
        }
    }

    fn drain_server(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                ServerOutput::Job(output) => self.outputs.push_back(Output::Job(output)),
                ServerOutput::Answer(caller, message) => self.pass_answer(caller, message),
                ServerOutput::Lost(caller, connection, call) => self.pass_lost(caller, connection, call),
                ServerOutput::More => self.more = true,
            }
        }
    }

    fn close(&mut self, code: CloseCode, reason: String) {
        self.outputs.push_back(Output::Close(code, reason));
    }

    /// Whether this node serves requests to `server` now.
    fn serves(&self, server: ServerAddress, now: Duration) -> bool {
        self.guards().serves(server, &self.config, &self.link.presence, now)
    }
}

#[cfg(test)]
mod tests;
