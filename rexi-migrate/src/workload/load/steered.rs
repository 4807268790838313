//! A load that makes no choice of its own: a plan says what is cast, killed, asked of all and watched, and when.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rexi_proto::CallRef;
use rexi_server::Mailbox;
use tokio::time::Instant;

use super::stream::Reading;
use super::{Cast, Load};
use crate::history::ledger::{CallId, CallNumber, NodeIndex};
use crate::workload::work::Order;

impl Load {
    /// Numbers calls from this sequence on, which others may share: then a number names one call of all of theirs.
    pub(crate) fn number_from(&mut self, next: Arc<AtomicU64>) {
        self.next_call = next;
    }

    /// Makes one cast; a node that is not there gets none. What comes of it is taken as it comes: whole, and at once.
    pub(crate) fn cast(&mut self, to: NodeIndex, order: impl FnOnce(CallId) -> Order) -> Option<CallNumber> {
        let target = self.targets.iter().position(|target| target.index == to)?;
        let id = self.next_id();
        let order = order(id);
        self.targets[target].open += usize::from(!order.work.ends_by_kill());
        self.cast_all(Instant::now(), vec![Cast { target, order, reading: Reading::default() }]);
        Some(id.call)
    }

    /// Kills what is open and meant.
    pub(crate) fn kill_open(&mut self, meant: impl Fn(CallNumber) -> bool) {
        let open = self.open.iter().filter(|(_, open)| meant(open.order.id.call));
        let open: Vec<CallRef> = open.map(|(&call, _)| call).collect();
        self.kill(&open);
    }

    /// Watches every node from now on.
    pub(crate) fn watch_all(&mut self, mailbox: &Mailbox) {
        let now = Instant::now();
        self.unwatched = self.targets.iter().map(|target| (now, target.index)).collect();
        self.watch(now, mailbox);
    }

    /// Watches again what has been down for a while, and says when there is more to watch.
    pub(crate) fn watch_again(&mut self, mailbox: &Mailbox) -> Option<Instant> {
        self.watch(Instant::now(), mailbox);
        self.unwatched.iter().map(|(at, _)| *at).min()
    }
}
