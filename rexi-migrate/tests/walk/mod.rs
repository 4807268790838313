//! A small cluster over an adversarial network, built from the real core as a shell would build it.
//!
//! Every operation is total: one that makes no sense in the present state does nothing. So any list of them is a run,
//! and any part of a list is one too, which is what makes shrinking work.

mod heal;
mod ledger;
mod network;
mod node;
mod notes;
mod pinned;
mod search;

use std::time::Duration;

use rexi_proto::{
    CallRef, CastRequest, CloseCode, DownReason, Ending, ExitReason, Incarnation, ItemStep, JobKey, Limits, MonitorRef,
    Mutants, Phase, Presence, Profile,
};

use ledger::{Call, Ledger, Monitor, payload};
use network::Wire;
use node::Node;
pub(crate) use notes::{Note, Place};
pub(crate) use pinned::pinned;
pub(crate) use search::{Found, Run, Seen, search};

/// What may happen. Numbers pick among what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Open,
    Cast { from: u8, to: u8, bulk: bool, times: u8 },
    Kill { node: u8, pick: u8 },
    KillAll { from: u8, to: u8 },
    Monitor { from: u8, to: u8 },
    Demonitor { pick: u8 },
    Reply { node: u8, pick: u8, bulk: bool, times: u8 },
    Item { node: u8, pick: u8, bulk: bool, times: u8 },
    Question { node: u8, pick: u8, bulk: bool },
    Start { node: u8, pick: u8 },
    Cancel { node: u8, pick: u8 },
    Ack { node: u8, pick: u8 },
    Respond { node: u8, pick: u8, bulk: bool },
    Ping { node: u8, pick: u8 },
    End { node: u8, pick: u8, how: u8 },
    Singleton { node: u8, steps: u8 },
    Dial { a: u8, b: u8 },
    Hello { wire: u8, side: bool },
    Connect { wire: u8, side: bool },
    Flush { wire: u8, side: bool },
    Deliver { wire: u8, side: bool, bytes: u8 },
    DeliverBulk { wire: u8, side: bool, pick: u8 },
    UnknownFrame { wire: u8, side: bool },
    LongFrame { wire: u8, side: bool },
    Exchange,
    Cut { wire: u8 },
    Notice { wire: u8, side: bool },
    Crash { node: u8 },
    Restart { node: u8, step: u8 },
    Drain { node: u8 },
    Depart { node: u8 },
    Ceiling { node: u8, phase: u8 },
    Advance { seconds: u8 },
}

/// The cluster, the network between its nodes, and an observer's record of all that happens.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Option<Node>>,
    /// The release that a node runs, or ran when it was last up.
    releases: Vec<usize>,
    wires: Vec<Wire>,
    pub(crate) ledger: Ledger,
    now: Duration,
    incarnations: u64,
    mutants: Mutants,
}

/// Small enough that every bound is met. Every third node takes less than the others send.
fn limits(node: usize) -> Limits {
    let limits = Limits {
        frame_bytes_max: if node % 3 == 1 { 1_200 } else { 2_048 },
        payload_bytes_max: if node % 3 == 1 { 36 } else { 64 },
        inline_bytes_max: 16,
        bulk_streams_max: 64,
        unwritten_bytes_max: 96,
        buffered_frames_max: 4,
        buffered_bytes_max: 256,
        buffered_frames_total_max: 6,
        buffered_bytes_total_max: 320,
        calls_open_max: 100,
        jobs_max: 4,
        jobs_total_max: 4,
        job_bytes_max: 12 * 64,
        job_bytes_total_max: 12 * 64,
        streams_max: 2,
        streams_total_max: 2,
        tombstones_max: if node % 3 == 2 { 0 } else { 256 },
        ..Limits::default()
    };
    limits.check().expect("the limits agree");
    limits
}

impl Cluster {
    pub(crate) fn new(releases: &[u8], mutants: Mutants) -> Self {
        Self::judged_by(releases, mutants, &[])
    }

    /// A cluster whose run is broken by these invariants alone; by any, if none is named.
    pub(crate) fn judged_by(releases: &[u8], mutants: Mutants, invariants: &[&str]) -> Self {
        let releases: Vec<usize> = releases.iter().map(|&r| usize::from(r) % 4).collect();
        let mut cluster = Self {
            nodes: releases.iter().map(|_| None).collect(),
            releases,
            wires: Vec::new(),
            ledger: Ledger::judging(invariants),
            now: Duration::ZERO,
            incarnations: 0,
            mutants,
        };
        (0..cluster.nodes.len()).for_each(|node| cluster.start(node));
        cluster
    }

    /// Runs the operations, heals the cluster and judges it.
    ///
    /// # Errors
    /// The first invariant that broke, in words.
    pub(crate) fn run(&mut self, ops: &[Op]) -> Result<(), String> {
        for (at, op) in ops.iter().enumerate() {
            self.apply(op);
            self.judge().map_err(|what| format!("{what} (op {at}: {op:?})"))?;
        }
        self.heal_and_judge()
    }

    fn judge(&self) -> Result<(), String> {
        self.ledger.violation.clone().map_or(Ok(()), Err)
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Cast { from, to, bulk, times } => (0..times).for_each(|_| self.cast(from.into(), to.into(), bulk)),
            Op::Kill { node, pick } => self.kill_one(node.into(), pick.into()),
            Op::KillAll { from, to } => self.kill_all(from.into(), to.into()),
            Op::Monitor { from, to } => self.monitor(from.into(), to.into()),
            Op::Demonitor { pick } => self.demonitor(pick.into()),
            Op::Reply { node, pick, bulk, times } => {
                (0..times).for_each(|_| self.work(node.into(), pick.into(), &Work::Reply(bulk)));
            }
            Op::Item { node, pick, bulk, times } => {
                (0..times).for_each(|_| self.work(node.into(), pick.into(), &Work::Item(bulk)));
            }
            Op::Question { node, pick, bulk } => self.work(node.into(), pick.into(), &Work::Question(bulk)),
            Op::Start { node, pick } => self.drive(node.into(), pick.into(), Drive::Start),
            Op::Cancel { node, pick } => self.drive(node.into(), pick.into(), Drive::Cancel),
            Op::Ack { node, pick } => self.drive(node.into(), pick.into(), Drive::Ack),
            Op::Respond { node, pick, bulk } => self.drive(node.into(), pick.into(), Drive::Respond(bulk)),
            Op::Ping { node, pick } => self.work(node.into(), pick.into(), &Work::Ping),
            Op::End { node, pick, how } => self.work(node.into(), pick.into(), &Work::End(how)),
            Op::Singleton { node, steps } => self.step_singleton(node.into(), steps.into()),
            Op::Dial { a, b } => self.dial(a.into(), b.into()),
            Op::Hello { wire, side } => self.hello(wire.into(), side.into()),
            Op::Connect { wire, side } => self.connect(wire.into(), side.into()),
            Op::Flush { wire, side } => self.flush(wire.into(), side.into()),
            Op::Deliver { wire, side, bytes } => self.deliver(wire.into(), side.into(), bytes.into()),
            Op::DeliverBulk { wire, side, pick } => self.deliver_bulk(wire.into(), side.into(), pick.into()),
            Op::UnknownFrame { wire, side } => self.send_unknown(wire.into(), side.into()),
            Op::LongFrame { wire, side } => self.send_long(wire.into(), side.into()),
            Op::Open => self.connect_all(2),
            Op::Exchange => self.exchange(),
            Op::Cut { wire } => self.cut(wire.into()),
            Op::Notice { wire, side } => self.notice(wire.into(), side.into()),
            Op::Crash { node } => self.crash(node.into()),
            Op::Restart { node, step } => self.restart(node.into(), step),
            Op::Drain { node } => self.drain_node(node.into()),
            Op::Depart { node } => self.depart(node.into()),
            Op::Ceiling { node, phase } => self.ceiling(node.into(), phase),
            Op::Advance { seconds } => self.advance(Duration::from_secs(seconds.into())),
        }
    }

    /// The living node of this number, if it lives.
    fn node(&mut self, index: usize) -> Option<&mut Node> {
        let count = self.nodes.len();
        self.nodes[index % count].as_mut()
    }

    /// A living node and another node's number.
    fn pair(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let count = self.nodes.len();
        let (from, to) = (from % count, to % count);
        let to = if to == from { (to + 1) % count } else { to };
        self.nodes[from].is_some().then_some((from, to))
    }

    fn local(&self, node: usize) -> Duration {
        self.nodes[node].as_ref().map_or(Duration::ZERO, |n| self.now - n.started)
    }

    /// Does what a node's state wants done, closing of connections included.
    fn drain(&mut self, index: usize) {
        let now = self.local(index);
        loop {
            let Some(node) = self.nodes[index].as_mut() else { return };
            let closes = node.drain(now, &mut self.ledger);
            if closes.is_empty() {
                return;
            }
            for (member, code) in closes {
                if code == CloseCode::BadFrame && self.take_long(index, member) {
                    self.ledger.saw("a frame that is too long was refused");
                } else if matches!(code, CloseCode::BadFrame | CloseCode::ProtocolBroken) {
                    self.ledger.violate("S8", &format!("{index} closed the connection to {member} with {code:?}"));
                }
                if code == CloseCode::TryAgain {
                    self.ledger.saw("a connection was closed to be tried again");
                }
                self.close_connected(index, member);
            }
        }
    }

    fn cast(&mut self, from: usize, to: usize, bulk: bool) {
        let Some((from, to)) = self.pair(from, to) else { return };
        let now = self.local(from);
        let mailbox = self.ledger.calls.len() as u32;
        let Some(node) = self.nodes[from].as_mut() else { return };
        let call = CallRef(node.next_ref);
        node.next_ref += 1;
        let (by, release) = (node.life(), node.release);
        let peer = node.peers.get_mut(&to).expect("a member");
        let body = payload(mailbox, 0, size(bulk, mailbox));
        let cast = CastRequest { call, function: "f".into(), time_left: None, nonce: 0, trace: None, body };
        self.ledger.note(Place::On(from), || format!("casts c{} to n{to}", call.0));
        self.ledger.calls.push(Call {
            by,
            release,
            to,
            to_release: self.releases[to],
            call,
            killed: false,
            spawned: 0,
            ran_at: None,
            sent: 0,
            got: 0,
            last: None,
            asked: false,
            started: None,
            unacked: 0,
            questions: Vec::new(),
            question: None,
        });
        if peer.cast(now, cast, mailbox).is_err() {
            self.ledger.saw("a cast was not accepted");
            self.ledger.calls[mailbox as usize].killed = true;
        }
        self.drain(from);
    }

    /// The calls of a node that are open, as its ledger says.
    fn open_calls(&self, node: usize) -> Vec<u32> {
        let Some(life) = self.nodes[node].as_ref().map(Node::life) else { return Vec::new() };
        let open = |c: &Call| c.by == life && !c.killed && c.last.is_none();
        (0..).zip(&self.ledger.calls).filter(|(_, call)| open(call)).map(|(mailbox, _)| mailbox).collect()
    }

    fn kill_one(&mut self, node: usize, pick: usize) {
        let node = node % self.nodes.len();
        let open = self.open_calls(node);
        if !open.is_empty() {
            let mailbox = open[pick % open.len()];
            let to = self.ledger.calls[mailbox as usize].to;
            self.kill(node, to, &[mailbox]);
        }
    }

    fn kill_all(&mut self, from: usize, to: usize) {
        let Some((from, to)) = self.pair(from, to) else { return };
        let mut open = self.open_calls(from);
        open.retain(|&mailbox| self.ledger.calls[mailbox as usize].to == to);
        if open.len() > 1 {
            self.ledger.saw("a batch was killed");
        }
        self.kill(from, to, &open);
    }

    fn kill(&mut self, from: usize, to: usize, mailboxes: &[u32]) {
        let Some(node) = self.nodes[from].as_mut() else { return };
        let target = node.rollout.phase().cast_target();
        let mut calls = Vec::new();
        self.ledger.note(Place::On(from), || format!("kills calls {mailboxes:?} (in the order of all casts)"));
        for &mailbox in mailboxes {
            let call = &mut self.ledger.calls[mailbox as usize];
            call.killed = true;
            calls.push(call.call);
            if call.ran_at.is_some_and(|at| at != target) {
                self.ledger.saw("a kill crossed the switch");
            }
        }
        node.peers.get_mut(&to).expect("a member").kill(&calls);
        self.drain(from);
    }

    fn monitor(&mut self, from: usize, to: usize) {
        let Some((from, to)) = self.pair(from, to) else { return };
        let Some(node) = self.nodes[from].as_mut() else { return };
        let by = node.life();
        let monitor = MonitorRef(node.next_ref);
        node.next_ref += 1;
        let peer = node.peers.get_mut(&to).expect("a member");
        let watched = match peer.presence() {
            Presence::Up(session, _) => session.incarnation,
            _ => Incarnation(0),
        };
        let mailbox = self.ledger.monitors.len() as u32;
        self.ledger.monitors.push(Monitor { by, watched: (to, watched), monitor, stopped: false, downs: 0 });
        peer.monitor(monitor, mailbox);
        self.drain(from);
        if watched == Incarnation(0) && self.ledger.monitors[mailbox as usize].downs != 1 {
            self.ledger.violate("R32", "a monitor of what is not connected is not down at once");
        }
    }

    fn demonitor(&mut self, pick: usize) {
        if self.ledger.monitors.is_empty() {
            return;
        }
        let pick = pick % self.ledger.monitors.len();
        let record = &mut self.ledger.monitors[pick];
        let (by, to, monitor) = (record.by, record.watched.0, record.monitor);
        let Some(node) = self.nodes[by.0].as_mut().filter(|node| node.life() == by) else { return };
        if record.downs == 0 {
            record.stopped = true;
        }
        node.peers.get_mut(&to).expect("a member").demonitor(monitor);
        self.drain(by.0);
    }

    /// Lets the caller of one of its open calls say something of its stream or to its question.
    fn drive(&mut self, node: usize, pick: usize, drive: Drive) {
        let node = node % self.nodes.len();
        let mut open = self.open_calls(node);
        open.retain(|&mailbox| self.ledger.calls[mailbox as usize].wants(drive));
        if !open.is_empty() {
            self.drive_call(node, open[pick % open.len()], drive);
        }
    }

    fn drive_call(&mut self, node: usize, mailbox: u32, drive: Drive) {
        let now = self.local(node);
        let Some(of) = self.nodes[node].as_mut() else { return };
        let call = &mut self.ledger.calls[mailbox as usize];
        let peer = of.peers.get_mut(&call.to).expect("a member");
        self.ledger.seen.entry("a stream's caller said something").and_modify(|times| *times += 1).or_insert(1);
        let said = match drive {
            Drive::Start | Drive::Cancel => {
                let start = matches!(drive, Drive::Start);
                call.started = Some(start);
                if start { peer.start_stream(call.call) } else { peer.cancel_stream(call.call) }
            }
            Drive::Ack => {
                call.unacked -= 1;
                peer.ack(call.call, 1)
            }
            Drive::Respond(bulk) => {
                let number = call.questions.remove(0);
                peer.respond(now, call.call, number, payload(mailbox, 0, size(bulk, mailbox).min(30)))
            }
        };
        if !said {
            self.ledger.violate("S5", &format!("{drive:?} of call {mailbox} was not taken"));
        }
        self.drain(node);
    }

    fn work(&mut self, node: usize, pick: usize, work: &Work) {
        let node = node % self.nodes.len();
        let Some(of) = self.nodes[node].as_mut() else { return };
        let Some((&job, &mailbox)) = of.jobs.iter().nth(pick % of.jobs.len().max(1)) else { return };
        self.work_on(node, job, mailbox, work);
    }

    fn work_on(&mut self, node: usize, job: JobKey, mailbox: u32, work: &Work) {
        let Some(of) = self.nodes[node].as_mut() else { return };
        let record = &mut self.ledger.calls[mailbox as usize];
        if let Work::End(how) = *work {
            let ending = match how % 4 {
                0 => Ending::Exit(ExitReason::Done),
                1 => Ending::Exit(ExitReason::Failed("no".into())),
                how => Ending::Reply(payload(mailbox, record.sent, size(how == 3, mailbox))),
            };
            record.sent += u32::from(matches!(ending, Ending::Reply(_)));
            of.jobs.remove(&job);
            of.with_server(job, |server| server.handle_end(job, ending));
            return self.drain(node);
        }
        let bulk = matches!(work, Work::Reply(true) | Work::Item(true) | Work::Question(true));
        let mut body = payload(mailbox, record.sent, size(bulk, mailbox));
        let bytes = body.len();
        let (sent, runs) = of.with_server(job, |server| match work {
            Work::Reply(_) => (true, server.handle_reply(job, body)),
            Work::Question(_) => {
                let number = server.handle_question(job, body);
                record.question = number.or(record.question);
                (true, number.is_some())
            }
            Work::Item(_) => match server.handle_item(job, &mut body, Some(WINDOW)) {
                ItemStep::Sent => (true, true),
                ItemStep::Wait => (false, true),
                ItemStep::Over => (false, false),
            },
            Work::Ping | Work::End(_) => (false, server.handle_ping(job)),
        });
        record.sent += u32::from(sent);
        if !runs && bytes > of.limits.payload_bytes_max as usize {
            self.ledger.saw("a reply was too large");
        }
        self.drain(node);
        // Its abort has come by now, as of any job that its server ends: for its reply, or for want of a stream.
        let still = self.nodes[node].as_ref().is_some_and(|of| of.jobs.contains_key(&job));
        if !runs && still {
            self.ledger.violate("S3", &format!("{job:?} was not aborted, but its server does not know it"));
        }
    }

    fn step_singleton(&mut self, node: usize, steps: usize) {
        if let Some(node) = self.node(node) {
            let index = node.index;
            node.step_singleton(steps);
            self.drain(index);
        }
    }

    fn start(&mut self, index: usize) {
        self.incarnations += 1;
        let incarnation = Incarnation(self.incarnations);
        let (count, release) = (self.nodes.len(), self.releases[index]);
        let node = Node::start(index, count, release, incarnation, self.now, (limits(index), self.mutants));
        let phase = node.rollout.phase();
        self.ledger.note(Place::On(index), || format!("starts as {}, {phase}", node.rollout.profile().release()));
        node.judge_raise(node.rollout.profile().lowest(), &mut self.ledger);
        self.nodes[index] = Some(node);
    }

    fn crash(&mut self, index: usize) {
        let index = index % self.nodes.len();
        if let Some(node) = self.nodes[index].take() {
            if !node.jobs.is_empty() {
                self.ledger.saw("a node crashed with jobs in flight");
            }
            self.ledger.note(Place::On(index), || "crashes".to_owned());
            self.ledger.bury(node.life());
            self.abandon_wires(index, false);
        }
    }

    fn restart(&mut self, index: usize, step: u8) {
        let index = index % self.nodes.len();
        self.crash(index);
        let release = self.releases[index];
        self.releases[index] = match step % 4 {
            0 | 1 => (release + 1).min(3),
            2 => release,
            _ => {
                self.ledger.saw("a rollback");
                release.saturating_sub(1)
            }
        };
        self.start(index);
    }

    /// A node takes no new casts, and is still there.
    fn drain_node(&mut self, index: usize) {
        let Some(node) = self.node(index) else { return };
        let index = node.index;
        node.peers.values_mut().for_each(rexi_proto::Peer::drain);
        if let Some(singleton) = &mut node.singleton {
            singleton.drain();
        }
        self.drain(index);
    }

    fn depart(&mut self, index: usize) {
        let index = index % self.nodes.len();
        let Some(node) = self.nodes[index].as_mut() else { return };
        node.step_singleton(usize::MAX);
        node.peers.values_mut().for_each(rexi_proto::Peer::drain);
        if let Some(singleton) = &mut node.singleton {
            singleton.drain();
            singleton.end(DownReason::Shutdown);
        }
        node.peers.values_mut().for_each(rexi_proto::Peer::end_server);
        self.drain(index);
        (0..self.wires.len()).for_each(|wire| self.flush_node(wire, index));
        self.ledger.note(Place::On(index), || "leaves in good order".to_owned());
        self.ledger.saw("a departure");
        if let Some(node) = self.nodes[index].take() {
            if !node.jobs.is_empty() {
                self.ledger.violate("R38", "a server that ended left jobs behind");
            }
            self.ledger.bury(node.life());
        }
        self.abandon_wires(index, true);
    }

    fn ceiling(&mut self, index: usize, phase: u8) {
        let index = index % self.nodes.len();
        let now = self.local(index);
        let Some(node) = self.nodes[index].as_mut() else { return };
        let ceiling = Phase::ALL.get(usize::from(phase)).copied();
        let before = node.rollout.phase();
        let set = node.rollout.set_ceiling(ceiling);
        let after = node.rollout.phase();
        if set.is_ok() {
            node.ceiling = ceiling;
        }
        node.sync_phase(now, &mut self.ledger);
        self.judge_ceiling(index, ceiling, set.is_ok(), (before, after));
        if matches!(set, Err(rexi_proto::PhaseError::Blocked { .. })) {
            self.ledger.saw("lowering was refused");
        }
        self.drain(index);
    }

    /// A ceiling that was accepted is kept to, and none is that would send to what a member has removed.
    fn judge_ceiling(&mut self, index: usize, ceiling: Option<Phase>, set: bool, (before, after): (Phase, Phase)) {
        self.ledger.note(Place::On(index), || match (ceiling, set) {
            (Some(ceiling), true) => format!("its operator sets the ceiling {ceiling}: {before} -> {after}"),
            (None, _) => format!("its operator lifts the ceiling: {before} -> {after}"),
            (Some(ceiling), false) => format!("its operator may not set the ceiling {ceiling}"),
        });
        if set && ceiling.is_some_and(|ceiling| after > ceiling) {
            self.ledger.violate("L5", &format!("{index} took the ceiling {ceiling:?} and stays at {after}"));
        }
        let lost = |member: &usize| {
            let hosts = Profile::train()[self.releases[*member]].hosts();
            self.is_connected(index, *member) && !hosts.contains(after.cast_target())
        };
        if after < before && (0..self.nodes.len()).any(|member| member != index && lost(&member)) {
            self.ledger.violate("S12", &format!("{index} was lowered to {after}, which a member has removed"));
        }
    }

    fn advance(&mut self, by: Duration) {
        self.ledger.note(Place::Everywhere, || format!("{} s pass", by.as_secs()));
        self.now += by;
        for index in 0..self.nodes.len() {
            let now = self.local(index);
            if let Some(node) = self.nodes[index].as_mut() {
                node.peers.values_mut().for_each(|peer| peer.handle_timeout(now));
                self.drain(index);
            }
        }
    }
}

/// Bytes of a payload: inside its frame, beside it, or now and then more than some nodes take.
fn size(bulk: bool, mailbox: u32) -> usize {
    match (bulk, mailbox % 4) {
        (false, _) => 8,
        (true, 3) => 40,
        (true, _) => 30,
    }
}

/// What a caller says.
#[derive(Clone, Copy, Debug)]
enum Drive {
    Start,
    Cancel,
    Ack,
    Respond(bool),
}

impl Call {
    /// Whether the caller has a reason to say that.
    fn wants(&self, drive: Drive) -> bool {
        match drive {
            Drive::Start | Drive::Cancel => self.asked && self.started.is_none(),
            Drive::Ack => self.unacked > 0,
            Drive::Respond(_) => !self.questions.is_empty(),
        }
    }
}

/// Items of a stream that may be unacknowledged.
const WINDOW: u32 = 2;

/// What a worker does.
enum Work {
    Reply(bool),
    Item(bool),
    Question(bool),
    Ping,
    End(u8),
}
