//! The phases of a node's migrations, as its ledger has them.

use futures_util::future::select_all;
use rexi_proto::{Phase, SERVER_PER_NODE};
use rexi_server::Node;
use tokio::sync::watch;

use crate::history::ledger::Entry;

/// What a node says of each of its migrations, by number.
pub(crate) struct PhaseWatch {
    phases: Vec<watch::Receiver<Phase>>,
    /// Nothing was told of them yet.
    is_new: bool,
}

impl PhaseWatch {
    pub(crate) fn of(node: &Node) -> Self {
        Self { phases: node.rollouts().map(|rollout| rollout.watch()).collect(), is_new: true }
    }

    /// What has changed since it was asked last; at first all of them.
    pub(crate) fn news(&mut self) -> Vec<Entry> {
        let all = std::mem::take(&mut self.is_new);
        let news = (0..).zip(&mut self.phases).filter_map(|(migration, phase)| {
            let changed = phase.has_changed().unwrap_or(false);
            (all || changed).then(|| Entry::PhaseChanged { migration, phase: *phase.borrow_and_update() })
        });
        news.collect()
    }

    /// All of them are news again.
    pub(crate) fn tell_again(&mut self) {
        self.is_new = true;
    }

    /// Waits until there is news; an error where the node has ended. Cancel safe.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        select_all(self.phases.iter_mut().map(|phase| Box::pin(changed(phase)))).await.0
    }
}

/// Waits without taking note of the change.
async fn changed(phase: &mut watch::Receiver<Phase>) -> Result<(), watch::error::RecvError> {
    phase.changed().await?;
    phase.mark_changed();
    Ok(())
}

/// The node's phase in rexi's own migration, which decides where its casts go.
pub(crate) fn server_phase(node: &Node) -> Phase {
    node.rollout_of(SERVER_PER_NODE).expect("every train has it").phase()
}
