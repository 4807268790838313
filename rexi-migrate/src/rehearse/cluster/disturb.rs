//! What a soak does to the nodes of a cluster beyond starting and stopping them: it stops and wakes their processes,
//! lets them find each other through a relay, and has them go on in new ledgers.

use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, ClusterError, ProcessLife};
use crate::rehearse::control::Command;
use crate::rehearse::relay::Relay;
use crate::rehearse::soak::usage::Usage;

impl Cluster {
    /// From now on, nodes that start find each other through this relay.
    pub(crate) fn meet_through(&mut self, relay: &Relay) {
        self.views = (0..self.nodes.len()).map(|node| relay.seen_by(node).to_vec()).collect();
    }

    /// Stops a node's process by SIGSTOP, or lets it go on; one that has ended is heard of soon. One that is stopped
    /// reads nothing, not even that the rehearsal is gone. But it is the only one of its process group, and the system
    /// ends a stopped group (SIGHUP, SIGCONT) whose parent has ended.
    pub(crate) fn freeze(&mut self, node: usize, stop: bool) {
        let pid = self.nodes[node].process.as_ref().and_then(|process| process.child.id());
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            // Fails where the process has ended.
            let _ = kill_process(pid, if stop { Signal::STOP } else { Signal::CONT });
        }
    }

    /// Has every node that runs go on in a new ledger; gives the lives whose ledgers are closed by that, once all nodes
    /// have turned.
    ///
    /// # Errors
    /// As [`Cluster::tell`].
    pub(crate) async fn turn(&mut self, number: usize) -> Result<Vec<ProcessLife>, ClusterError> {
        let closed = self.open_lives();
        for node in 0..self.nodes.len() {
            let Some(life) = self.nodes[node].process.as_ref().map(|process| process.life) else { continue };
            let ledger = self.setup.ledger(node, life).with_extension(format!("{number}.ledger"));
            self.lives[life].ledger.clone_from(&ledger);
            self.tell(node, &Command::Turn { ledger }).await?;
        }
        for life in &mut self.lives {
            life.judged |= life.ended.is_some();
        }
        Ok(closed)
    }

    /// The lives whose ledgers were not judged yet, in the order of their starts.
    pub(crate) fn open_lives(&self) -> Vec<ProcessLife> {
        self.lives.iter().filter(|life| !life.judged).cloned().collect()
    }

    /// From now on, what the processes take from the machine is written down.
    pub(crate) fn watch_usage(&mut self) {
        self.usage = Some(Usage::new());
    }

    /// What was written down until now; no more is.
    pub(crate) fn take_usage(&mut self) -> Option<Usage> {
        self.usage.take()
    }

    /// Looks at what the processes take, where that is to be written down.
    pub(super) fn look_at_usage(&mut self) {
        let Some(usage) = &mut self.usage else { return };
        let of_node = |(number, node): (usize, &super::Node)| {
            let process = node.process.as_ref()?;
            Some((number, process.life, process.child.id()?))
        };
        usage.look(self.nodes.iter().enumerate().filter_map(of_node));
    }
}
