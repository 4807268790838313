//! The end of every run: faults stop, all that can connect does, what remains is answered, and the ledger is judged.

use std::time::Duration;

use rexi_proto::{QuestionStep, ServerAddress};

use super::{Cluster, Drive, Node, Work, node};

impl Cluster {
    pub(super) fn heal_and_judge(&mut self) -> Result<(), String> {
        self.settle();
        self.judge()?;
        self.advance(Duration::from_secs(16));
        self.settle();
        self.judge()?;
        self.judge_orphans();
        self.judge_views();
        self.judge_phases();
        self.judge()?;
        self.judge_streams();
        self.judge()?;
        self.judge_questions();
        self.judge()?;
        for node in 0..self.nodes.len() {
            while let Some((&job, &mailbox)) = self.nodes[node].as_ref().and_then(|n| n.jobs.first_key_value()) {
                self.work_on(node, job, mailbox, &Work::End(2));
                self.judge()?;
            }
        }
        self.settle();
        self.ledger.judge_end();
        self.judge_leaks();
        self.judge()
    }

    /// Restarts who is down, connects who may speak.
    fn settle(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_none() {
                self.start(node);
            }
        }
        self.connect_all(4);
    }

    /// Connects all who may speak, and delivers all that is on its way.
    pub(super) fn connect_all(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for wire in 0..self.wires() {
                self.notice(wire, 0);
                self.notice(wire, 1);
            }
            for a in 0..self.nodes.len() {
                for b in 0..a {
                    if !self.is_connected(a, b) {
                        self.dial(a, b);
                    }
                }
            }
            for _ in 0..4 {
                self.exchange();
            }
        }
    }

    fn judge_orphans(&mut self) {
        for node in self.nodes.iter().flatten() {
            if let Some((job, mailbox)) = node.jobs.iter().find(|(_, mailbox)| self.ledger.is_over(**mailbox)) {
                let call = &self.ledger.calls[*mailbox as usize];
                let text = format!("{job:?} runs at {} for nobody: {call:?}", node.index);
                let id = if self.ledger.is_dead(call.by) { "L2" } else { "S3" };
                return self.ledger.violate(id, &text);
            }
        }
    }

    /// A stream whose caller has taken all that came is not stuck, whatever was lost on the way.
    fn judge_streams(&mut self) {
        for node in 0..self.nodes.len() {
            for mailbox in self.open_calls(node) {
                for drive in [Drive::Start, Drive::Ack, Drive::Ack] {
                    if self.ledger.calls[mailbox as usize].wants(drive) {
                        self.drive_call(node, mailbox, drive);
                    }
                }
            }
        }
        self.connect_all(1);
        let streaming = |call: &super::ledger::Call| call.started == Some(true) && call.last.is_none();
        for node in 0..self.nodes.len() {
            let jobs: Vec<_> = self.nodes[node].iter().flat_map(|n| &n.jobs).map(|(&job, &of)| (job, of)).collect();
            for (job, mailbox) in jobs {
                if !streaming(&self.ledger.calls[mailbox as usize]) {
                    continue;
                }
                let before = self.ledger.calls[mailbox as usize].sent;
                self.work_on(node, job, mailbox, &Work::Item(false));
                if self.ledger.calls[mailbox as usize].sent == before {
                    self.ledger.violate("S5", &format!("the stream of {job:?} is stuck"));
                }
                if self.ledger.faulty {
                    self.ledger.saw("a stream went on after a connection broke");
                }
            }
        }
    }

    /// A job whose caller has responded to all that came has the response that it waits for.
    fn judge_questions(&mut self) {
        for node in 0..self.nodes.len() {
            for mailbox in self.open_calls(node) {
                while self.ledger.calls[mailbox as usize].wants(Drive::Respond(false)) {
                    self.drive_call(node, mailbox, Drive::Respond(false));
                }
            }
        }
        self.connect_all(1);
        for node in self.nodes.iter_mut().flatten() {
            let jobs: Vec<_> = node.jobs.iter().map(|(&job, &mailbox)| (job, mailbox)).collect();
            for (job, mailbox) in jobs {
                let Some(question) = self.ledger.calls[mailbox as usize].question else { continue };
                if node.with_server(job, |server| server.take_response(job, question)) == QuestionStep::Wait {
                    return self.ledger.violate("L1", &format!("{job:?} waits for a response that was given"));
                }
                if self.ledger.faulty {
                    self.ledger.saw("a question was answered after a connection broke");
                }
            }
        }
    }

    /// What a node believes of those it is connected to is what they do.
    fn judge_views(&mut self) {
        for node in self.nodes.iter().flatten() {
            let hello = node.rollout.hello(node.incarnation, &node.limits);
            for other in self.nodes.iter().flatten().filter(|other| self.is_connected(node.index, other.index)) {
                let sends = other.rollout.phase().cast_target() == ServerAddress::Singleton;
                let believed = hello.holdouts.contains(&node::name(other.index));
                if sends != believed {
                    let text = format!("{} has a stale view of {}: {:?}", node.index, other.index, node.rollout);
                    return self.ledger.violate("S12", &text);
                }
            }
        }
    }

    /// Once faults have stopped, a node is as high as its operator lets it be, where all members serve what it needs.
    fn judge_phases(&mut self) {
        for node in self.nodes.iter().flatten() {
            let highest = node.rollout.profile().highest();
            let wanted = node.ceiling.map_or(highest, |ceiling| ceiling.min(highest));
            let serve = |other: &Node| other.rollout.profile().hosts().contains(wanted.cast_target());
            let free = self.nodes.iter().flatten().all(serve);
            if free && node.rollout.phase() != wanted {
                let text =
                    format!("{} stays at {}: {}", node.index, node.rollout.phase(), node.rollout.limiting_factor());
                return self.ledger.violate("L4", &text);
            }
        }
    }

    fn judge_leaks(&mut self) {
        for node in self.nodes.iter().flatten() {
            if let Some(lent) = node.lent() {
                return self
                    .ledger
                    .violate("L6", &format!("nothing is held at {}, and of its pool: {lent}", node.index));
            }
            for (member, peer) in &node.peers {
                let stats = peer.stats();
                if stats.calls + stats.jobs + stats.buffered > 0 {
                    let text = format!("{} still has this with {member}: {stats:?}", node.index);
                    return self.ledger.violate("L1", &text);
                }
            }
        }
    }
}
