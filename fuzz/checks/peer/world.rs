//! The two nodes and every connection between them, one thing at a time. What a node's state wants done is done at
//! once, as a shell would, and judged.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use rexi_proto::{
    CloseCode, DownReason, Incarnation, JobEnding, JobKey, JobOutput, LENGTH_BYTES, Mutants, NodePool, Output, Phase,
    Presence, Refusal, Server, ServerAddress, ServerOutput, WireVersion, accepted, emitted,
};

use super::link::{End, Link, Parting, Way};
use super::node::{Job, Node, Release};
use super::notes::Notes;

/// All there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) nodes: [Node; 2],
    pub(super) links: Vec<Link>,
    pub(super) notes: Notes,
    pub(super) now: Duration,
    parts: Parts,
    mutants: Mutants,
}

/// How long lists are worked off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) calls_max: usize,
    /// Others have their turn between two parts; otherwise the next is done at once.
    pub(super) later: bool,
}

impl World {
    pub(super) fn new(releases: [Release; 2], forged: bool, parts: Parts, mutants: Mutants) -> Self {
        let node = |index: usize| Node::start(index, Incarnation(1), releases[index], parts.calls_max, mutants);
        let notes = Notes { forged, ..Notes::default() };
        Self { nodes: [node(0), node(1)], links: Vec::new(), notes, now: Duration::ZERO, parts, mutants }
    }

    /// Does all that a node's state wants done, and judges what it holds then.
    pub(super) fn drain(&mut self, n: usize) {
        loop {
            if let Some(output) = self.nodes[n].peer.poll_output() {
                self.handle_output(n, output);
                continue;
            }
            match self.nodes[n].singleton.as_mut().and_then(Server::poll_output) {
                Some(ServerOutput::Job(output)) => self.handle_job(n, output),
                Some(ServerOutput::Answer(caller, message)) => self.nodes[n].peer.answer(caller, message),
                Some(ServerOutput::Lost(caller, connection, call)) => {
                    self.nodes[n].peer.answer_lost(caller, connection, call);
                }
                Some(ServerOutput::More) if self.parts.later => self.nodes[n].more[1] = true,
                Some(ServerOutput::More) => self.nodes[n].singleton.iter_mut().for_each(Server::go_on),
                None => break,
            }
        }
        self.judge(n);
    }

    fn handle_output(&mut self, n: usize, output: Output<u32>) {
        let life = self.nodes[n].life;
        match output {
            Output::Job(output) => self.handle_job(n, output),
            Output::Singleton(caller, request) => {
                assert!(self.nodes[n].singleton.is_some(), "{request:?} needs a singleton that is not there");
                self.nodes[n].queue.push_back((caller, request));
            }
            Output::Deliver(mailbox, call, answer) => {
                for answer in answer.one_by_one() {
                    self.notes.answered(n, life, mailbox, call, &answer);
                }
            }
            Output::MonitorDown(mailbox, monitor, reason) => self.notes.down(n, life, mailbox, monitor, reason),
            Output::Announced(life, number, now) if !self.notes.forged && life == self.nodes[1 - n].life => {
                let phase = usize::try_from(now.epoch).ok().and_then(|epoch| self.nodes[1 - n].phases.get(epoch));
                assert_eq!((number, phase), (0, Some(&now.phase)), "it was never in that phase");
                let heard = &mut self.nodes[n].heard;
                *heard = now.epoch.max(*heard);
            }
            Output::Unsupported(kind) => assert!(self.notes.forged, "kind {kind} was sent to who does not know it"),
            Output::Close(code, reason) => {
                let blames = matches!(code, CloseCode::BadFrame | CloseCode::ProtocolBroken);
                assert!(self.notes.forged || !blames, "node {n} closes on a sound one: {reason}");
                if let Some(l) = self.attached(n) {
                    self.close_end(l, n, Parting::Lost);
                }
                let connection = self.nodes[n].peer.connection();
                self.nodes[n].peer.handle_disconnected(self.now, connection);
            }
            Output::More if self.parts.later => self.nodes[n].more[0] = true,
            Output::More => self.nodes[n].peer.go_on(),
            Output::Writable => self.nodes[n].writable = true,
            _ => {}
        }
    }

    fn handle_job(&mut self, n: usize, output: JobOutput) {
        let jobs = &mut self.nodes[n].jobs;
        match output {
            JobOutput::Spawn(key, cast) => {
                let call = self.notes.started(1 - n, key, &cast.body);
                assert!(jobs.iter().all(|job| job.key != key), "{key:?} is started twice");
                jobs.push(Job { key, call, question: None, over: false });
            }
            JobOutput::Abort(key) => {
                let place = jobs.iter().position(|job| job.key == key);
                jobs.remove(place.expect("what is aborted runs"));
            }
            JobOutput::Wake(key) => {
                assert!(jobs.iter().any(|job| job.key == key), "{key:?} is woken, and does not run");
            }
        }
    }

    /// The bounds hold, and the state knows of what there is and of nothing else.
    fn judge(&self, n: usize) {
        let node = &self.nodes[n];
        let (limits, stats) = (&node.limits, node.peer.stats());
        assert!(stats.calls <= limits.calls_open_max, "{stats:?}");
        assert!(stats.jobs <= limits.jobs_max && stats.job_bytes <= limits.job_bytes_max, "{stats:?}");
        assert!(stats.streams <= limits.streams_max, "{stats:?}");
        assert!(stats.buffered <= limits.buffered_frames_max, "{stats:?}");
        assert!(stats.buffered_bytes <= limits.buffered_bytes_max, "{stats:?}");
        if let Some(singleton) = &node.singleton {
            assert!(singleton.jobs() <= limits.jobs_max && singleton.job_bytes() <= limits.job_bytes_max);
            assert!(singleton.streams() <= limits.streams_max);
        }
        assert!(!node.peer.wants_write() || node.writable, "the writer of node {n} was not woken");
        node.judge_pool();
        for (behind, more) in node.is_behind().into_iter().zip(node.more) {
            assert!(!behind || more, "node {n} is behind, and has not said that there is more");
        }
        let noted = self.notes.open_calls(n).map(|place| self.notes.calls[place].number);
        assert!(noted.eq(node.peer.open_calls()), "open calls of node {n}");
        let at = |server, (caller, call)| (server, caller, call);
        let mut served: Vec<_> = node.peer.jobs().map(|job| at(ServerAddress::PerNode, job)).collect();
        served.extend(node.singleton.iter().flat_map(Server::calls).map(|job| at(ServerAddress::Singleton, job)));
        let place = |key: JobKey| (key.server, key.caller, key.call);
        served.extend(node.ending().map(place));
        let mut run: Vec<_> = node.jobs.iter().map(|job| place(job.key)).collect();
        served.sort_unstable();
        run.sort_unstable();
        assert_eq!(run, served, "jobs of node {n}");
    }

    /// Something is done at a node that may say so much past its buffer.
    pub(super) fn at<T>(&mut self, n: usize, excused_bytes: usize, act: impl FnOnce(&mut Node, Duration) -> T) -> T {
        self.nodes[n].excused_bytes += excused_bytes;
        let done = act(&mut self.nodes[n], self.now);
        self.drain(n);
        done
    }

    /// Does something with the server that runs a job.
    pub(super) fn with_server<T>(
        &mut self,
        n: usize,
        job: JobKey,
        act: impl FnOnce(&mut Server<Rc<RefCell<NodePool>>>) -> T,
    ) -> T {
        self.at(n, DROPPED_BYTES, |node, _| match job.server {
            ServerAddress::Singleton => act(node.singleton.as_mut().expect("it runs a job")),
            ServerAddress::PerNode => node.peer.with_server(act),
        })
    }

    /// The peer's state and the singleton do a part of what is left of a list; whether anything was.
    pub(super) fn go_on(&mut self, n: usize) -> bool {
        self.at(n, DROPPED_BYTES * MANY, |node, _| {
            let [peer, singleton] = std::mem::take(&mut node.more);
            if peer {
                node.peer.go_on();
            }
            node.singleton.iter_mut().filter(|_| singleton).for_each(Server::go_on);
            peer | singleton
        })
    }

    /// The singleton takes the first request of its queue, unless it is behind with the one before; whether there was
    /// one.
    pub(super) fn take(&mut self, n: usize) -> bool {
        let [_, is_behind] = self.nodes[n].is_behind();
        !is_behind
            && self.at(n, DROPPED_BYTES * MANY, |node, _| {
                let Some((caller, request)) = node.queue.pop_front() else { return false };
                node.singleton.as_mut().expect("it has a queue").handle_request(caller, request);
                true
            })
    }

    /// Whether a job has ended without its worker's knowing.
    pub(super) fn is_ending(&self, n: usize, job: JobKey) -> bool {
        self.nodes[n].ending().any(|ending| ending == job)
    }

    /// A job ends.
    pub(super) fn end(&mut self, n: usize, place: usize, ending: JobEnding) {
        let job = self.nodes[n].jobs[place];
        if self.is_ending(n, job.key) {
            // Nobody hears of it.
            self.nodes[n].jobs[place].over = true;
            return self.with_server(n, job.key, |server| server.handle_end(job.key, ending));
        }
        self.nodes[n].jobs.remove(place);
        if let (JobEnding::Reply(_), Some(call)) = (&ending, job.call) {
            self.notes.calls[call].sent += 1;
        }
        self.with_server(n, job.key, |server| server.handle_end(job.key, ending));
    }

    /// The link whose end is that node's connection.
    pub(super) fn attached(&self, n: usize) -> Option<usize> {
        self.links.iter().position(|link| link.is_attached(n))
    }

    /// Both say hello on a new connection.
    pub(super) fn dial(&mut self) {
        let [one, other] = &self.nodes;
        let lives = [one.life, other.life];
        let ends = [(one, other), (other, one)].map(|(of, with)| End::Agreed(Box::new(of.session_with(with))));
        self.links.push(Link { lives, ends, ways: [Way::default(), Way::default()], cut: false });
        let epochs = [one.phase().epoch, other.phase().epoch];
        for n in 0..2 {
            (self.nodes[n].met, self.nodes[n].heard) = (lives[1 - n], epochs[1 - n]);
        }
    }

    /// An end becomes the connection to the peer, unless a later life has said hello since.
    pub(super) fn attach(&mut self, l: usize, n: usize) {
        let (life, met) = (self.links[l].lives[1 - n], self.nodes[n].met);
        let End::Agreed(session) = &self.links[l].ends[n] else { return };
        if life < met {
            self.close_end(l, n, Parting::Lost);
            return self.meet(n);
        }
        let session = (**session).clone();
        if let Some(old) = self.attached(n) {
            let connection = self.links[old].connection(n).expect("it is attached");
            self.links[old].ends[n] = End::Replaced(connection);
            self.links[old].ways[1 - n].parting = Some(Parting::Lost);
        }
        self.notes.lost();
        let connection = self.nodes[n].peer.handle_connected(self.now, session);
        self.links[l].ends[n] = End::Attached(connection);
        self.at(n, CONTROL_BYTES, |_, _| ());
    }

    /// The writer of a node takes what is encoded. One of a connection that was replaced gets nothing.
    pub(super) fn write(&mut self, l: usize, n: usize) -> bool {
        let Some(connection) = self.links[l].connection(n) else { return false };
        let mut out = BytesMut::new();
        let excused = self.nodes[n].excused_bytes;
        let taken = self.at(n, 0, |node, now| node.peer.take_outgoing(now, connection, &mut out));
        let link = &mut self.links[l];
        let Some(bulk) = taken else {
            assert!(out.is_empty());
            return false;
        };
        assert!(link.is_attached(n), "it is handed to the writer of a connection that was replaced");
        let node = &mut self.nodes[n];
        assert!(out.len() <= node.limits.unwritten_bytes_max + FRAME_BYTES + excused, "{} bytes", out.len());
        if out.is_empty() {
            node.writable = node.peer.wants_write();
        }
        node.excused_bytes = 0;
        if let Presence::Up(session, _) = node.peer.presence() {
            judge_kinds(session.wire, &out);
        }
        if link.cut || link.is_closed(1 - n) {
            return !out.is_empty();
        }
        let way = &mut link.ways[1 - n];
        way.lane.extend_from_slice(&out);
        way.bulk.extend(bulk.into_iter().map(|(id, body)| (id, body, false)));
        let in_transfer = way.bulk.iter().filter(|(.., told)| !told).count();
        assert!(self.notes.forged || in_transfer <= node.limits.bulk_frames_max / 2, "{in_transfer} in transfer");
        !out.is_empty()
    }

    /// So many bytes of the lane arrive at an end, which is not read while the peer's state is behind.
    pub(super) fn deliver(&mut self, l: usize, n: usize, bytes: usize) -> bool {
        let Some(connection) = self.links[l].connection(n) else { return false };
        if self.links[l].is_attached(n) && self.nodes[n].peer.is_behind() {
            return false;
        }
        let lane = &mut self.links[l].ways[n].lane;
        let bytes: Vec<u8> = lane.drain(..bytes.min(lane.len()).min(READ_BYTES)).collect();
        if bytes.is_empty() {
            return false;
        }
        self.at(n, bytes.len() * ANSWER_FACTOR, |node, now| node.peer.handle_bytes(now, connection, &bytes));
        assert!(self.nodes[n].peer.incomplete_bytes() <= FRAME_BYTES + bytes.len());
        true
    }

    /// A payload arrives at an end, one of those that may be in transfer at once.
    pub(super) fn deliver_bulk(&mut self, l: usize, n: usize, place: usize) -> bool {
        let link = &mut self.links[l];
        let (Some(connection), most) = (link.connection(n), self.nodes[n].limits.bulk_streams_max as usize) else {
            return false;
        };
        let way = &mut link.ways[n];
        way.held.retain(|&id| self.nodes[n].peer.awaits_frame(connection, id));
        let free = most.saturating_sub(way.held.len()).min(way.bulk.len());
        if free == 0 {
            return false;
        }
        self.tell_sent(l, n, place % free);
        let (id, body, _) = self.links[l].ways[n].bulk.remove(place % free);
        self.links[l].ways[n].held.push(id);
        self.at(n, DROPPED_BYTES, |node, now| node.peer.handle_bulk(now, connection, id, body));
        true
    }

    /// The sender of a payload that is in transfer is told that it has arrived.
    pub(super) fn tell_sent(&mut self, l: usize, n: usize, place: usize) {
        let connection = self.links[l].connection(1 - n);
        let Some((_, body, told @ false)) = self.links[l].ways[n].bulk.get_mut(place) else { return };
        *told = true;
        let bytes = body.len();
        if let Some(connection) = connection {
            self.at(1 - n, 0, |node, now| node.peer.handle_bulk_sent(now, connection, bytes));
        }
    }

    /// A connection breaks, and nobody knows yet.
    pub(super) fn cut(&mut self, l: usize) {
        self.links[l].cut = true;
        self.notes.lost();
    }

    /// An end learns that its connection is gone, if it is. What has not arrived yet never does.
    pub(super) fn learn(&mut self, l: usize, n: usize) {
        let Some(parting) = self.links[l].loss(n) else { return };
        let connection = self.links[l].connection(n);
        self.close_end(l, n, Parting::Lost);
        self.at(n, CONTROL_BYTES, |node, now| match (connection, parting) {
            (Some(connection), Parting::Lost) => node.peer.handle_disconnected(now, connection),
            (Some(connection), Parting::Departed) => node.peer.handle_departed(now, connection),
            (None, _) => {}
        });
        self.meet(n);
    }

    /// A handshake has come to its end: no connection to an earlier life than the last is in use.
    fn meet(&mut self, n: usize) {
        let met = self.nodes[n].met;
        self.at(n, 0, |node, now| node.peer.handle_met(now, met));
        if let Presence::Up(session, _) = self.nodes[n].peer.presence() {
            assert!(session.incarnation >= met, "node {n} speaks with a life that is over");
        }
    }

    /// An end is gone in that way. What it has sent may still be read.
    pub(super) fn close_end(&mut self, l: usize, n: usize, parting: Parting) {
        self.notes.lost();
        let link = &mut self.links[l];
        link.ends[n] = End::Closed;
        link.ways[n] = Way::default();
        link.ways[1 - n].parting = Some(parting);
    }

    /// The life of a node is over, and the next begins.
    pub(super) fn restart(&mut self, n: usize, release: Release, parting: Parting) {
        self.close_ends(n, parting);
        self.notes.buried(n);
        let life = Incarnation(self.nodes[n].life.0 + 1);
        let met = self.nodes[n].met;
        self.nodes[n] = Node::start(n, life, release, self.parts.calls_max, self.mutants);
        self.nodes[n].met = met;
    }

    /// A node leaves in good order, with all that it has to say about that, and starts again.
    pub(super) fn leave(&mut self, n: usize, release: Release) {
        while self.take(n) | self.go_on(n) {}
        self.refuse_casts(n);
        self.at(n, CONTROL_BYTES, |node, _| {
            node.peer.end_server();
            node.singleton.iter_mut().for_each(|singleton| singleton.end(DownReason::Shutdown));
        });
        assert!(self.nodes[n].jobs.is_empty(), "a node has left, and a job of it runs");
        while self.attached(n).is_some_and(|l| self.write(l, n)) {}
        self.restart(n, release, Parting::Departed);
    }

    pub(super) fn refuse_casts(&mut self, n: usize) {
        self.at(n, CONTROL_BYTES, |node, _| {
            node.draining = true;
            node.peer.drain();
            node.singleton.iter_mut().for_each(Server::drain);
        });
    }

    /// For this node, the other is a member no more, and then one again.
    pub(super) fn forget(&mut self, n: usize) {
        self.at(n, 0, |node, _| node.peer.stop());
        self.close_ends(n, Parting::Lost);
        // A state that is let go of does first what it has begun.
        while self.nodes[n].peer.is_behind() {
            self.go_on(n);
        }
        self.at(n, 0, |node, now| node.forget_peer(now));
    }

    fn close_ends(&mut self, n: usize, parting: Parting) {
        for l in 0..self.links.len() {
            if !self.links[l].is_closed(n) {
                self.close_end(l, n, parting);
            }
        }
    }

    /// A node that has a choice is in that phase from now on.
    pub(super) fn set_phase(&mut self, n: usize, phase: Phase) {
        if self.nodes[n].release == Release::Both && self.nodes[n].phase().phase != phase {
            self.at(n, CONTROL_BYTES, |node, now| {
                node.phases.push(phase);
                let phase = node.phase();
                node.peer.set_phases(now, &[phase]);
            });
            if let Presence::Refused(refusal) = self.nodes[n].peer.presence() {
                assert!(!matches!(**refusal, Refusal::NotTaken { .. }), "it was for another phase");
            }
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        for n in 0..2 {
            self.at(n, 0, |node, now| node.peer.handle_timeout(now));
        }
    }
}

/// Only what the version emits is written.
fn judge_kinds(version: WireVersion, mut lane: &[u8]) {
    while let Some((length, rest)) = lane.split_first_chunk() {
        let (frame, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        let kind = accepted(frame[0] & 0x3f, version);
        assert!(kind.is_some_and(|kind| emitted(kind, version)), "{version} has no {frame:?}");
        lane = rest;
    }
}

/// Bytes of the longest frame, its length with it.
const FRAME_BYTES: usize = 1_024 + LENGTH_BYTES;

/// Bytes that go past the buffer for a frame that it drops.
pub(super) const DROPPED_BYTES: usize = 48;

/// Calls that one request may name.
const MANY: usize = 100;

/// Bytes that what a node says past its buffer takes at most: all that is open, all that is watched.
pub(super) const CONTROL_BYTES: usize = 4_096;

/// Bytes of answers for each byte that comes.
const ANSWER_FACTOR: usize = 24;

/// Bytes that a reader takes off the lane at once.
const READ_BYTES: usize = 4_096;
