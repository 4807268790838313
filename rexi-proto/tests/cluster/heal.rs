//! The end of every run: faults stop, all that can connect does, what remains is answered, and the ledger is judged.

use std::time::Duration;

use rexi_proto::ServerAddress;

use super::{Cluster, Drive, Work, node};

impl Cluster {
    pub(super) fn heal_and_judge(&mut self) -> Result<(), String> {
        self.settle();
        self.judge()?;
        self.advance(Duration::from_secs(16));
        self.settle();
        self.judge()?;
        self.judge_orphans();
        self.judge_views();
        self.judge()?;
        self.judge_streams();
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
                return self.ledger.violate("S3", &text);
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
                    self.ledger.violate("L5", &format!("the stream of {job:?} is stuck"));
                }
                if self.ledger.faulty {
                    self.ledger.saw("a stream went on after a connection broke");
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

    fn judge_leaks(&mut self) {
        let mut unknown = 0;
        for node in self.nodes.iter().flatten() {
            if let Some(lent) = node.lent() {
                return self
                    .ledger
                    .violate("L6", &format!("nothing is held at {}, and of its pool: {lent}", node.index));
            }
            for (member, peer) in &node.peers {
                let stats = peer.stats();
                unknown += stats.unknown_frames;
                if stats.calls + stats.jobs + stats.buffered > 0 {
                    let text = format!("{} still has this with {member}: {stats:?}", node.index);
                    return self.ledger.violate("L1", &text);
                }
            }
        }
        if unknown > 0 && !self.unknown_frames_sent {
            self.ledger.violate("S9", "a node sent what its peer does not know");
        }
    }
}
