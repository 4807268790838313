//! What callers and jobs do: casts, kills, replies, items of streams, monitors.

use rexi_proto::{CallRef, Cast, Ending, ItemStep, JobKey, MonitorRef, Presence, Server, ServerAddress};

use super::oracle::Oracle;
use super::shell::payload;
use super::state::{Call, NOW, Watch, name};
use super::step::Stepper;
use super::witness::Case;

impl Stepper<'_> {
    pub(super) fn cast(&mut self, from: usize, to: usize, stream: bool) {
        self.state.used.jobs += 1;
        self.state.used.streams += u8::from(stream);
        let life = self.state.nodes[from].incarnation;
        let call = self.free_ref(from);
        let buffered = !self.state.nodes[from].is_up(to);
        let buffered_for = buffered.then(|| self.state.nodes[to].release);
        let record = Call { over: false, by: from, life, to, call, stream, buffered_for, ..Call::OVER };
        let mailbox = match self.state.calls.iter().position(|call| call.over) {
            Some(at) => {
                self.state.calls[at] = record;
                at
            }
            None => {
                self.state.calls.push(record);
                self.state.calls.len() - 1
            }
        };
        let body = payload(mailbox, 0);
        let cast = Cast { call, function: "f".into(), time_left: None, nonce: 0, trace: None, body };
        let mailbox = u8::try_from(mailbox).expect("there are few calls");
        if self.peer(from, to).cast(NOW, cast, mailbox).is_err() {
            self.breaks(Oracle::CastNotTaken, format!("a cast of {} is not taken", name(from)));
        }
        self.drain(from);
    }

    /// The least number that no call of this life bears: those of two nodes, or of two lives, may be the same.
    fn free_ref(&self, node: usize) -> CallRef {
        let life = self.state.nodes[node].incarnation;
        let own = |call: &&Call| !call.over && (call.by, call.life) == (node, life);
        let taken: Vec<CallRef> = self.state.calls.iter().filter(own).map(|call| call.call).collect();
        (0..).map(CallRef).find(|call| !taken.contains(call)).expect("there are few calls")
    }

    /// A caller kills these calls, which all go to the same node.
    pub(super) fn kill(&mut self, calls: &[usize]) {
        let Some(&first) = calls.first() else { return };
        let (by, to) = (self.state.calls[first].by, self.state.calls[first].to);
        let target = self.state.nodes[by].rollout.phase().cast_target();
        let mut refs = Vec::new();
        for &at in calls {
            let call = &mut self.state.calls[at];
            call.killed = true;
            refs.push(call.call);
            if call.ran_at.is_some_and(|ran_at| ran_at != target) && self.state.job_of(at).is_some() {
                self.saw(Case::KillAcrossSwitch);
            }
        }
        self.peer(by, to).kill(&refs);
        self.drain(by);
    }

    pub(super) fn start_stream(&mut self, at: usize) {
        let call = &mut self.state.calls[at];
        call.started = true;
        let (by, to, number) = (call.by, call.to, call.call);
        if !self.peer(by, to).start_stream(number) {
            self.breaks(Oracle::StreamNotStarted, format!("call {at} was asked for a stream that cannot be started"));
        }
        self.drain(by);
    }

    pub(super) fn ack(&mut self, at: usize) {
        let call = &mut self.state.calls[at];
        call.unacked -= 1;
        let (by, to, number) = (call.by, call.to, call.call);
        if !self.peer(by, to).ack(number, 1) {
            self.breaks(Oracle::ItemNotAcknowledged, format!("an item of call {at} cannot be acknowledged"));
        }
        self.drain(by);
    }

    /// A job ends with a reply.
    pub(super) fn end(&mut self, at: usize) {
        let Some((node, job)) = self.state.job_of(at) else { return };
        let body = payload(at, self.state.calls[at].sent);
        self.state.calls[at].sent += 1;
        self.node(node).jobs.retain(|other| other.call != at);
        self.with_server(node, job.member, job.key, |server| server.handle_end(job.key, Ending::Reply(body)));
        self.drain(node);
    }

    /// A job sends an item, or asks for its stream.
    pub(super) fn item(&mut self, at: usize) {
        let Some((node, job)) = self.state.job_of(at) else { return };
        let mut body = payload(at, self.state.calls[at].sent);
        let step =
            self.with_server(node, job.member, job.key, |server| server.handle_item(job.key, &mut body, Some(WINDOW)));
        match step {
            ItemStep::Sent => self.state.calls[at].sent += 1,
            ItemStep::Wait => {
                let jobs = &mut self.node(node).jobs;
                jobs.iter_mut().filter(|other| other.call == at).for_each(|job| job.waits = true);
            }
            ItemStep::Over => {
                self.breaks(
                    Oracle::JobUnknownToServer,
                    format!("the job of call {at} runs, and its server does not know it"),
                );
            }
        }
        self.drain(node);
    }

    pub(super) fn watch(&mut self, from: usize, to: usize) {
        let of = match self.state.nodes[from].peer(to).presence() {
            Presence::Up(session, _) => session.incarnation,
            _ => rexi_proto::Incarnation(0),
        };
        let at = self.state.watches.len();
        let life = self.state.nodes[from].incarnation;
        self.state.watches.push(Watch { by: from, life, to, of, downs: 0 });
        let mailbox = u8::try_from(at).expect("there are few monitors");
        self.peer(from, to).monitor(MonitorRef(at as u64), mailbox);
        self.drain(from);
    }

    /// A singleton takes the first request of its queue.
    pub(super) fn take(&mut self, index: usize) {
        if let Some((caller, request)) = self.node(index).queue.pop_front()
            && let Some(singleton) = self.singleton(index)
        {
            singleton.handle_request(caller, request);
        }
        self.drain(index);
    }

    /// Does something with the server that runs a job.
    fn with_server<T>(&mut self, index: usize, member: usize, job: JobKey, take: impl FnOnce(&mut Server) -> T) -> T {
        match job.server {
            ServerAddress::Singleton => take(self.singleton(index).expect("it runs a job")),
            ServerAddress::PerNode => self.peer(index, member).with_server(take),
        }
    }
}

/// Items that may be unacknowledged: with one, every item waits for its caller.
const WINDOW: u32 = 1;
