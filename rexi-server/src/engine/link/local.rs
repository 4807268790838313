//! The node's connection to itself: what it sends comes back in. A local cast goes through the same states, bounds and
//! servers as a remote one (R36 of docs/rexi.md).

use std::sync::Arc;

use bytes::BytesMut;
use rexi_proto::{Agreement, ConnectionId, Session};

use crate::engine::member::Member;
use crate::engine::shared::Shared;

/// Runs for as long as the node lives.
pub(crate) async fn run(shared: Arc<Shared>, member: Arc<Member>) {
    shared.wait_recorded().await;
    let mut out = BytesMut::new();
    // A stop wakes this task once more before it is dropped. It must not connect again, or what is asked of a node that
    // has stopped would wait for an answer.
    while !shared.has_stopped() {
        let id = attach(&shared, &member);
        while member.is_connected() {
            pass(&member, id, &mut out).await;
            if let Some(singleton) = &shared.singleton {
                singleton.room().await;
            }
            tokio::select! {
                biased;
                () = member.writable.notified() => {}
                () = member.wait_connected(false) => {}
            }
        }
    }
}

fn attach(shared: &Shared, member: &Arc<Member>) -> ConnectionId {
    let hello = shared.hello_to(&shared.name);
    let agreement = Agreement { wire: hello.wire.newest };
    member.attach_local(Session::of(&hello, &hello, agreement))
}

/// Hands everything that is to be written to the reading side.
async fn pass(member: &Arc<Member>, id: ConnectionId, out: &mut BytesMut) {
    loop {
        out.clear();
        let Some(bulk) = member.with(|peer, now| peer.take_outgoing(now, id, out)) else { return };
        if out.is_empty() {
            return;
        }
        let is_behind = member.with(|peer, now| {
            peer.handle_bytes(now, id, out);
            for (bulk, body) in bulk {
                let bytes = body.len();
                peer.handle_bulk(now, id, bulk, body);
                peer.handle_bulk_sent(now, id, bytes);
            }
            peer.is_behind()
        });
        if is_behind {
            member.wait_caught_up().await;
        }
    }
}
