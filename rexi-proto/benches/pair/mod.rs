//! Two peers that are connected to each other by a buffer: what the core does of a cast, and nothing of IO.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rexi_proto::{
    CallRef, Cast, FunctionTable, Incarnation, JobEnding, JobOutput, Limits, Message, Output, Peer, PeerConfig, PeerId,
    Phase, Reply, ReplyForm, Session, WireVersion,
};

/// A caller and a callee at release 2.0.
pub(crate) struct Pair {
    caller: Peer<u32>,
    callee: Peer<u32>,
    next: u64,
    there: BytesMut,
    back: BytesMut,
    body: Bytes,
}

impl Pair {
    /// Casts and replies of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let (there, back) = (BytesMut::new(), BytesMut::new());
        Self { caller: peer(), callee: peer(), next: 0, there, back, body: vec![7; bytes].into() }
    }

    /// So many casts there and as many replies back, in one batch each way.
    pub(crate) fn round(&mut self, casts: u64) {
        for _ in 0..casts {
            let request = Cast {
                call: CallRef(self.next),
                function: "bench.echo".into(),
                time_left: None,
                nonce: 0,
                trace: None,
                body: self.body.clone(),
            };
            self.caller.cast(NOW, request, 0).expect("it is within its bounds");
            self.next += 1;
        }
        carry(&mut self.caller, &mut self.callee, &mut self.there);
        while let Some(output) = self.callee.poll_output() {
            if let Output::Job(JobOutput::Spawn(job, cast)) = output {
                self.callee.with_server(|server| server.handle_end(job, JobEnding::Reply(cast.body)));
            }
        }
        carry(&mut self.callee, &mut self.caller, &mut self.back);
        let mut answers = 0;
        while let Some(output) = self.caller.poll_output() {
            answers += u64::from(matches!(output, Output::Deliver(..)));
        }
        assert_eq!(answers, casts);
    }
}

fn carry(from: &mut Peer<u32>, to: &mut Peer<u32>, bytes: &mut BytesMut) {
    bytes.clear();
    let connection = from.connection();
    from.take_outgoing(NOW, connection, bytes);
    let connection = to.connection();
    to.handle_bytes(NOW, connection, bytes);
}

fn peer() -> Peer<u32> {
    let limits = Limits::default();
    let functions = FunctionTable::new(["bench.echo"]).expect("a table");
    let session = Session::with_twin(Incarnation(1), WireVersion::V3, Phase::Remove, functions.clone(), &limits);
    let mut peer = Peer::new(PeerId(1), PeerConfig::in_phase(Phase::Remove, functions, limits), NOW);
    peer.handle_connected(NOW, session);
    while peer.poll_output().is_some() {}
    peer
}

/// A reply of 64 bytes.
pub(crate) fn reply() -> Message {
    let body = rexi_proto::Body::Inline(vec![7; 64].into());
    Message::Reply(Reply { call: CallRef(300), number: 0, form: ReplyForm::Last, body })
}

const NOW: Duration = Duration::from_secs(1);
