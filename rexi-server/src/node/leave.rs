//! Makes sure that peers know that this node is leaving before it says its last words.
//!
//! A cast that was on its way when the node began to leave is refused, and its caller has to learn that: a refused cast
//! may be tried elsewhere, one lost with a closed connection may not. So a leaving node reads on until nothing more can
//! come. Behind its announcement it casts a mark to each peer, to a function that nobody has. A peer answers what it
//! reads in order, and casts nothing once it has read the announcement; so whatever it had cast stands before the
//! answer to the mark.

use std::sync::Arc;
use std::time::Duration;

use rexi_proto::NO_FUNCTION;
use tokio::time::Instant;

use crate::calls::{Mailbox, Request};
use crate::engine::{Running, Shared};

/// The word that a node leaves, on its way to all peers that are connected.
pub(crate) struct Announcement {
    shared: Arc<Shared>,
    /// One call for each peer that has not answered yet.
    marks: Mailbox,
    until: Instant,
}

impl Announcement {
    /// To be called once all peers were told.
    pub(crate) fn made(node: &Running) -> Self {
        let (shared, marks) = (Arc::clone(node.shared()), Mailbox::new(node.clone()));
        for member in shared.members().iter() {
            if member.address().is_some() && member.is_connected() {
                // One that is not taken is not waited for: the peer leaves too, or there are too many calls to it.
                let _ = marks.cast(member.name(), Request::new(NO_FUNCTION, ""));
            }
        }
        Self { shared, marks, until: Instant::now() + MARK_LIMIT }
    }

    /// Waits until the peers have read it and what they had cast before was answered. Not for long: one that does not
    /// read is not to hold the node.
    pub(crate) async fn heard(mut self) {
        let heard = async {
            while self.marks.open_calls() > 0 {
                self.marks.recv().await;
            }
            let members: Vec<_> = self.shared.members().iter().cloned().collect();
            for member in members {
                member.wait_for_payloads().await;
            }
            if let Some(singleton) = &self.shared.singleton {
                singleton.served().await;
            }
        };
        let _ = tokio::time::timeout_at(self.until, heard).await;
    }
}

/// How long a leaving node waits for its peers to have read that it leaves, from when it says so.
const MARK_LIMIT: Duration = Duration::from_secs(2);

#[cfg(feature = "testing")]
#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use rexi_proto::{Caller, Incarnation, PeerId};

    use super::*;
    use crate::testing::TestCluster;
    use crate::{SERVER_PER_NODE, Train};

    #[tokio::test(start_paused = true)]
    async fn a_node_that_leaves_waits_until_its_singleton_has_served_what_came() {
        let cluster = TestCluster::new(["n1"]);
        let train = Train::new("tests").release("1.0", |r| r).release("1.1", |r| r.introduce(SERVER_PER_NODE));
        let with_singleton = train.profile("1.0").expect("a train");
        let node = cluster.start("n1", &with_singleton).expect("it starts");
        let singleton = node.shared().singleton.clone().expect("its release has one");
        let (announcement, began) = (Announcement::made(&node.running), Instant::now());
        singleton.push(Caller { peer: PeerId(7), incarnation: Incarnation(1) }, rexi_proto::ServerRequest::Forget);
        let mut heard = pin!(announcement.heard());
        assert!(heard.as_mut().now_or_never().is_none(), "the singleton has not had its turn");
        heard.await;
        assert_eq!((singleton.queued(), began.elapsed()), (0, Duration::ZERO));
    }
}
