//! What follows from a change of a member's state: answers to mailboxes, workers, connections, words to all who wait.

use std::sync::{Arc, MutexGuard};

use rexi_proto::{Answer, CloseCode, Incarnation, Output, PhaseNow, Server, ServerRequest};

use super::{Member, State};
use crate::engine::member_events::MemberEvent;
use crate::engine::shared::Shared;
use crate::engine::worker::{self, Owner, Started, Worker};
use crate::net::{canonical, close};

impl Member {
    /// Does what follows from a change, and releases the lock. A peer's word on its phase can move every member, so it
    /// is dealt with after that.
    pub(super) fn settle(self: &Arc<Self>, state: MutexGuard<'_, State>) {
        self.settle_in(self.shared.upgrade().as_ref(), state);
    }

    pub(super) fn settle_in(self: &Arc<Self>, shared: Option<&Arc<Shared>>, mut state: MutexGuard<'_, State>) {
        let Some(shared) = shared else { return };
        let mut started = Started::default();
        let announced = self.drain(shared, &mut state, &mut started);
        let mut killed = Vec::new();
        if started.aborted {
            // A kill that came with its cast.
            let is_over = |server: &Server<_>, worker: &Worker| !server.runs(worker.job());
            state.peer.with_server(|server| killed.extend(started.workers.extract_if(.., |of| is_over(server, of))));
        }
        drop(state);
        killed.into_iter().for_each(Worker::cancel);
        if !started.workers.is_empty() {
            worker::start_all(shared, self, started.now(), started.workers);
        }
        for (incarnation, number, now) in announced {
            shared.announced(&self.name, incarnation, number, now);
        }
    }

    fn drain(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        state: &mut State,
        started: &mut Started,
    ) -> Vec<(Incarnation, u8, PhaseNow)> {
        let mut announced = Vec::new();
        while let Some(output) = state.peer.poll_output() {
            match output {
                Output::Job(output) => {
                    let owner = || Owner::PerNode(Arc::clone(self));
                    if let Err((job, ending)) = worker::handle_output(output, &mut state.jobs, shared, owner, started) {
                        state.peer.end_jobs([(job, ending)]);
                    }
                }
                Output::Singleton(caller, request) => {
                    if let Some(singleton) = &shared.singleton {
                        if needs_singleton(&request) {
                            self.metrics.singleton_requests.increment(1);
                        }
                        singleton.push(caller, request);
                    }
                }
                Output::Deliver(inbox, call, answer) => {
                    if matches!(answer, Answer::Down(_)) {
                        self.metrics.downs.increment(1);
                    }
                    if !inbox.deliver(call, answer) {
                        state.peer.kill(&[call]);
                    }
                }
                Output::MonitorDown(inbox, monitor, reason) => {
                    self.metrics.downs.increment(1);
                    inbox.deliver_down(monitor, reason);
                }
                Output::Announced(incarnation, number, now) => announced.push((incarnation, number, now)),
                Output::Draining => {
                    if let Some(unsaid) = self.lines.leaving.next() {
                        tracing::info!(node = %shared.name, peer = %self.name, unsaid, "the peer is leaving");
                    }
                    self.presence_changed();
                }
                Output::Unsupported(kind) => {
                    if let Some(unsaid) = self.lines.unsupported.next() {
                        let (node, peer) = (&shared.name, &self.name);
                        tracing::warn!(%node, %peer, kind, unsaid, "the peer does not know this frame");
                    }
                }
                Output::Writable => self.writable.notify_one(),
                Output::Room => self.room.wake(),
                Output::More => self.go_on_later(shared),
                Output::Presence(before, now) => {
                    self.presence_changed();
                    self.tell(shared, before, now);
                }
                Output::Close(code, reason) => self.handle_close(state, shared, code, &reason),
                other => {
                    tracing::error!(node = %shared.name, peer = %self.name, ?other, "an output that nothing handles");
                }
            }
        }
        self.joined.wake();
        announced
    }

    fn handle_close(&self, state: &mut State, shared: &Shared, code: CloseCode, reason: &str) {
        let Some(connection) = state.connection.take() else { return };
        let address = canonical(connection.remote_address());
        if let Some(unsaid) = self.lines.closing.next() {
            let (node, peer) = (&shared.name, &self.name);
            tracing::warn!(%node, %peer, %address, ?code, reason, unsaid, "closing a connection");
        }
        state.last_error = Some(reason.to_owned());
        close(&connection, code, reason);
        self.presence_changed();
    }

    /// Says that the peer has come or gone, if it is another.
    fn tell(&self, shared: &Shared, before: Option<Incarnation>, now: Option<Incarnation>) {
        if before != now && !self.local {
            let down = before.map(|life| MemberEvent::Down(self.name.clone(), life));
            let up = now.map(|life| MemberEvent::Up(self.name.clone(), life));
            down.into_iter().chain(up).for_each(|event| shared.events.send(event));
        }
    }
}

/// Whether a peer needs the singleton for this request. In `switch` a kill goes to both servers, and a resume goes to
/// each with the calls that it has there: to the singleton, with none.
fn needs_singleton(request: &ServerRequest) -> bool {
    match request {
        ServerRequest::Kill(_) | ServerRequest::Forget => false,
        ServerRequest::Resume(_, calls) => !calls.is_empty(),
        _ => true,
    }
}
