//! One life of a node as its plan drives it: what it asks of others, and what it writes down besides that.
//!
//! Orders and their right answers are those of `workload/`, and the load that makes them is the rehearsal's, steered by
//! the plan. It watches every node; here it is told when to look again.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rexi_server::{Mailbox, Node};
use tokio::time::Instant;

use crate::history::ledger::{self, CallId, CallNumber, LedgerWriter, NodeIndex};
use crate::plan::Work;
use crate::workload::Functions;
use crate::workload::load::Load;
use crate::workload::work::{Order, record};
use crate::workload::{PhaseWatch, away};

/// Makes the calls of one life. Clones are the same one.
#[derive(Clone)]
pub(super) struct Caller(Arc<Mutex<Load>>);

impl Caller {
    /// A caller, and its task, which ends with the node's life.
    pub(super) fn new(
        node: Node,
        own: usize,
        functions: Functions,
        ledger: Arc<LedgerWriter>,
        numbers: Arc<AtomicU64>,
    ) -> (Self, impl Future<Output = ()>) {
        let started = Instant::now();
        let awake = Box::new(move || started.elapsed());
        let (mut load, mailbox) = Load::new(node.clone(), Arc::clone(&ledger), index(own), functions, 0, 0, awake);
        load.number_from(numbers);
        let caller = Self(Arc::new(Mutex::new(load)));
        let mut phases = PhaseWatch::of(&node);
        record(&ledger, &phases.news());
        let mut members = node.watch_members();
        let run = caller.clone().run(mailbox);
        let told = async move {
            loop {
                tokio::select! {
                    biased;
                    changed = phases.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        record(&ledger, &phases.news());
                    }
                    event = members.next() => record(&ledger, &away(&node, event)),
                }
            }
        };
        (caller, async move { _ = tokio::join!(biased; told, run) })
    }

    async fn run(self, mut mailbox: Mailbox) {
        self.load().watch_all(&mailbox);
        let mut again = None;
        loop {
            tokio::select! {
                biased;
                event = mailbox.recv() => self.load().handle(event, &mut mailbox),
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
            }
            again = self.load().watch_again(&mailbox);
        }
    }

    /// Casts. A cast that is refused on the spot counts as one that was told so.
    pub(super) fn cast(&self, to: usize, work: Work) -> Option<CallNumber> {
        self.load().cast(index(to), |id| order(id, work))
    }

    /// Kills a call, if it is one of this caller's.
    pub(super) fn kill(&self, call: CallNumber) {
        self.load().kill_open(|open| open == call);
    }

    /// Kills all that it has open, at once.
    pub(super) fn kill_all(&self) {
        self.load().kill_open(|_| true);
    }

    /// Asks all nodes, and is content with a majority. What still runs then is killed.
    pub(super) fn gather(&self) {
        self.load().gather_majority(LATER);
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.0.lock().expect("nothing panics while it holds the load")
    }
}

/// The node of this number, as ledgers name it.
pub(super) fn index(node: usize) -> NodeIndex {
    NodeIndex(u16::try_from(node).expect("a scenario has a handful of nodes"))
}

/// What a plan means by a word.
fn order(id: CallId, work: Work) -> Order {
    use ledger::Work as W;
    let of = |work| Order { id, work, pause: Duration::ZERO, payload_bytes: 16, parts: 0, window: 0, salt: 0 };
    match work {
        Work::Reply => of(W::Reply),
        Work::Later => Order { pause: LATER, ..of(W::Reply) },
        Work::Fail => of(W::Fail),
        Work::Hold => of(W::Hold),
        // So that some of them return their last item, and others send it.
        Work::Stream => {
            let salt = u32::try_from(id.call.0).unwrap_or_default();
            Order { pause: ITEM_INTERVAL, parts: ITEMS, window: WINDOW, salt, ..of(W::Stream) }
        }
        Work::Ask => Order { parts: 1, ..of(W::Question) },
        Work::Bulk => Order { payload_bytes: BULK_BYTES, ..of(W::Bulk) },
        Work::Large => Order { payload_bytes: BULK_BYTES, ..of(W::Hold) },
        Work::Larger => Order { payload_bytes: WINDOW_BYTES + 1_000, ..of(W::Hold) },
        Work::Largest => Order { payload_bytes: 3 * WINDOW_BYTES, ..of(W::Hold) },
    }
}

/// Items of a stream.
const ITEMS: u16 = 12;

/// Items that may be unacknowledged.
const WINDOW: u8 = 5;

const ITEM_INTERVAL: Duration = Duration::from_millis(15);

const LATER: Duration = Duration::from_millis(40);

/// Above the 32 KiB from which on a payload travels on a QUIC stream of its own.
const BULK_BYTES: u32 = 33_000;

/// What a node reads of each payload at once; beyond, of one at a time.
const WINDOW_BYTES: u32 = rexi_proto::STREAM_WINDOW_BYTES;

#[cfg(test)]
mod tests {
    use rexi_proto::Incarnation;
    use rexi_server::Limits;

    use super::*;

    #[test]
    fn each_word_asks_for_what_it_says() {
        let id = CallId { caller: index(0), incarnation: Incarnation(1), call: CallNumber(7) };
        let limits = Limits::default();
        for &work in Work::ALL {
            let order = order(id, work);
            let bulk = order.payload_bytes > limits.inline_bytes_max;
            let large = matches!(work, Work::Bulk | Work::Large | Work::Larger | Work::Largest);
            let holds = matches!(work, Work::Hold | Work::Large | Work::Larger | Work::Largest);
            assert_eq!((bulk, order.work == ledger::Work::Hold), (large, holds), "{work}");
            assert!(order.payload_bytes < limits.payload_bytes_max, "{work}");
        }
        let [larger, largest] = [Work::Larger, Work::Largest].map(|work| order(id, work).payload_bytes);
        let unread = 2 * rexi_proto::STREAM_WINDOW_BYTES;
        assert!(larger > unread / 2 && larger < unread && largest > unread, "it waits unread behind the other");
    }
}
