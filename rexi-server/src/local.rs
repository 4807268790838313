//! The node's connection to itself: what it sends comes back in. A local cast goes through the same states, bounds and
//! servers as a remote one (REXI.md R36).

use std::sync::Arc;

use bytes::BytesMut;
use rexi_proto::Session;

use crate::member::Member;
use crate::node::Shared;

/// Runs for as long as the node lives.
pub(crate) async fn run(shared: Arc<Shared>, member: Arc<Member>) {
    let hello = shared.hello();
    let id = member.attach_local(Session {
        incarnation: hello.incarnation,
        wire: hello.wire.newest,
        hosts: hello.hosts,
        frame_bytes_max: hello.frame_bytes_max,
        payload_bytes_max: hello.payload_bytes_max,
        phase_epoch: hello.phase_epoch,
    });
    let mut out = BytesMut::new();
    loop {
        member.writable.notified().await;
        loop {
            out.clear();
            let bulk = member.with(|peer, now| peer.take_outgoing(now, id, &mut out));
            if out.is_empty() {
                break;
            }
            member.with(|peer, now| {
                peer.handle_bytes(now, id, &out);
                for (bulk, body) in bulk {
                    let bytes = body.len();
                    peer.handle_bulk(now, id, bulk, body);
                    peer.handle_bulk_sent(now, id, bytes);
                }
            });
            if let Some(singleton) = &shared.singleton {
                singleton.room().await;
            }
        }
    }
}
