//! The end of every run: faults stop, all that can connect does, what remains is answered, and what was noted is
//! judged.

use std::time::Duration;

use rexi_migrate::model::{CallRecord, Deed, Monitor, Word, name};
use rexi_proto::{QuestionStep, SERVER_PER_NODE};

use super::{Shared, WINDOW, Walk, size};

impl Walk {
    pub(super) fn heal_and_judge(&mut self) -> Result<(), String> {
        self.settle();
        self.judge()?;
        self.advance(Duration::from_secs(16));
        self.settle();
        self.judge()?;
        for judge in [Self::judge_orphans, Self::judge_views, Self::judge_phases] {
            judge(self);
        }
        self.judge()?;
        self.judge_streams();
        self.judge()?;
        self.judge_questions();
        self.judge()?;
        for index in 0..self.len() {
            while let Some(&job) = self.jobs(index).first() {
                self.end_job(index, job, 2);
                self.judge()?;
            }
        }
        self.settle();
        self.judge()?;
        self.judge_end();
        self.judge_leaks();
        self.judge()
    }

    /// Restarts who is down, connects who may speak.
    fn settle(&mut self) {
        for index in 0..self.len() {
            if self.world.nodes[index].down {
                self.start(index, self.world.nodes[index].release);
            }
        }
        self.connect_all(4);
    }

    /// Connects all who may speak, and delivers all that is on its way.
    pub(super) fn connect_all(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for wire in 0..self.world.wires.len() {
                self.notice(wire, 0);
                self.notice(wire, 1);
            }
            for a in 0..self.len() {
                for b in 0..a {
                    if !self.world.is_connected(a, b) {
                        self.dial(a, b);
                    }
                }
            }
            (0..4).for_each(|_| self.exchange());
        }
    }

    fn judge_orphans(&mut self) {
        let calls = &self.world.notes.calls;
        let over = self.world.nodes.iter().find_map(|node| {
            let job = node.jobs.iter().find(|job| !calls[job.call].is_open())?;
            Some((node.index, *job))
        });
        if let Some((index, job)) = over {
            let call = &self.world.notes.calls[job.call];
            let text = format!("{job:?} runs at {index} for nobody: {call:?}");
            self.violate(if call.orphan { "L2" } else { "S3" }, &text);
        }
    }

    /// A stream whose caller has taken all that came is not stuck, whatever was lost on the way.
    fn judge_streams(&mut self) {
        for index in 0..self.len() {
            for at in self.open_calls(index) {
                for word in [Word::Start, Word::Ack, Word::Ack] {
                    if self.world.notes.calls[at].wants(word) {
                        self.say(index, at, word);
                    }
                }
            }
        }
        self.connect_all(1);
        for index in 0..self.len() {
            for job in self.jobs(index) {
                let call = &self.world.notes.calls[job.call];
                let before = call.sent;
                if !call.started || call.answered {
                    continue;
                }
                self.work_on(index, job, &Deed::Item(size(false, job.call), WINDOW));
                if self.world.notes.calls[job.call].sent == before {
                    self.violate("S5", &format!("the stream of {job:?} is stuck"));
                }
                if self.world.notes.faulty {
                    self.saw("a stream went on after a connection broke");
                }
            }
        }
    }

    /// A job whose caller has responded to all that came has the response that it waits for.
    fn judge_questions(&mut self) {
        for index in 0..self.len() {
            for at in self.open_calls(index) {
                let word = Word::Respond(size(false, at));
                while self.world.notes.calls[at].wants(word) {
                    self.say(index, at, word);
                }
            }
        }
        self.connect_all(1);
        for index in 0..self.len() {
            for job in self.jobs(index) {
                let Some(question) = self.world.notes.calls[job.call].question else { continue };
                let node = self.world.node(index);
                let step = node.with_server(job.member, job.key, |server| server.take_response(job.key, question));
                if step == QuestionStep::Wait {
                    return self.violate("L1", &format!("{job:?} waits for a response that was given"));
                }
                if self.world.notes.faulty {
                    self.saw("a question was answered after a connection broke");
                }
            }
        }
    }

    /// What a node believes of those it is connected to is what they do.
    fn judge_views(&mut self) {
        let nodes = self.world.nodes.clone();
        for node in &nodes {
            let hello = node.hello();
            for other in nodes.iter().filter(|other| self.world.is_connected(node.index, other.index)) {
                if other.says_old(0) != hello.servers().holdouts.contains(&name(other.index)) {
                    let text = format!("{} has a stale view of {}: {:?}", node.index, other.index, node.rollout);
                    return self.violate("S12", &text);
                }
            }
        }
    }

    /// Once faults have stopped, a node is as high as its operator lets it be, where all members serve what it needs.
    fn judge_phases(&mut self) {
        let nodes = self.world.nodes.clone();
        for node in &nodes {
            let (highest, phase) = (node.profile().server_stage().highest(), node.rollout.server_phase());
            let wanted = node.ceilings[0].map_or(highest, |ceiling| ceiling.min(highest));
            let free = nodes.iter().all(|other| other.profile().hosts().contains(wanted.cast_target()));
            if free && phase != wanted {
                let text = format!(
                    "{} stays at {phase}: {}",
                    node.index,
                    node.rollout.limiting_factor(SERVER_PER_NODE.key()).expect("every train has it")
                );
                return self.violate("L4", &text);
            }
        }
    }

    /// Everything is healed, quiet and answered.
    fn judge_end(&mut self) {
        if let Some(at) = self.world.notes.calls.iter().position(CallRecord::is_open) {
            self.violate("S1", &format!("call {at} ended in silence: {:?}", self.world.notes.calls[at]));
        }
        let blind = |set: &&Monitor| !set.stopped && set.downs == 0 && !set.orphan && set.gone;
        if let Some(set) = self.world.notes.monitors.iter().find(blind) {
            self.violate("R31", &format!("a monitor did not hear that its node is down: {set:?}"));
        }
    }

    fn judge_leaks(&mut self) {
        for index in 0..self.len() {
            let Shared { pool, whole } = &self.pools[index];
            if *pool.borrow() != *whole {
                let text = format!("nothing is held at {index}, and of its pool: {pool:?} of {whole:?}");
                return self.violate("L6", &text);
            }
            let node = &self.world.nodes[index];
            let held = node.members().map(|member| (member, node.peer(member).stats()));
            let leak = held.into_iter().find(|(_, stats)| stats.calls + stats.jobs + stats.buffered > 0);
            if let Some((member, stats)) = leak {
                return self.violate("L1", &format!("{index} still has this with {member}: {stats:?}"));
            }
        }
    }
}
