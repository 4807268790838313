//! Tagged replies: understood by every release, written by none (R30 of docs/rexi.md). Once read, one cannot be told
//! from an untagged one.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rexi_proto::{
    Answer, Body, BulkId, CallRef, Cast, ExitReason, FrameBuffer, FunctionTable, Incarnation, Kind, LENGTH_BYTES,
    Limits, Message, Output, Peer, PeerConfig, PeerId, Phase, Reply, ReplyForm, Session, WireVersion, decode, emitted,
    encode,
};

const VERSIONS: [WireVersion; 3] = [WireVersion::V1, WireVersion::V2, WireVersion::V3];
const FORMS: [ReplyForm; 4] = [ReplyForm::Plain, ReplyForm::Last, ReplyForm::Item, ReplyForm::Question];

/// Golden bytes, with their length prefix, and the replies that they are. Added, never edited.
const GOLDEN: [(WireVersion, &str, ReplyForm, bool); 9] = [
    (WireVersion::V1, "0900000058ac02020000796573", ReplyForm::Plain, false),
    (WireVersion::V1, "0900000058ac02020100796573", ReplyForm::Last, false),
    (WireVersion::V1, "0900000058ac02020200796573", ReplyForm::Item, false),
    (WireVersion::V1, "0900000058ac02020300796573", ReplyForm::Question, false),
    (WireVersion::V1, "0a00000058ac0202010107c0b802", ReplyForm::Last, true),
    (WireVersion::V2, "0900000098ac02020100796573", ReplyForm::Last, false),
    (WireVersion::V2, "0a00000098ac0202020107c0b802", ReplyForm::Item, true),
    (WireVersion::V3, "09000000d8ac02020000796573", ReplyForm::Plain, false),
    (WireVersion::V3, "0a000000d8ac0202010107c0b802", ReplyForm::Last, true),
];

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// A tagged reply of call 1 as a node would write it that emits them.
fn tagged(version: WireVersion, number: u8, form: ReplyForm, body: &Body) -> Vec<u8> {
    let version_bits = u8::try_from(version.0 << 6).expect("three versions");
    let form = FORMS.iter().position(|&known| known == form).expect("one of four") as u8;
    let mut frame = vec![Kind::TaggedReply as u8 | version_bits, 1, number, form];
    match body {
        Body::Inline(bytes) => frame.extend([&[0][..], bytes].concat()),
        Body::Bulk(id, bytes) => frame.extend([1, id.0 as u8, u8::try_from(*bytes).expect("a short one")]),
    }
    [&(frame.len() as u32).to_le_bytes()[..], &frame].concat()
}

fn untagged(version: WireVersion, number: u8, form: ReplyForm, body: &Body) -> Vec<u8> {
    let reply = Reply { call: CallRef(1), number: number.into(), form, body: body.clone() };
    let mut out = BytesMut::new();
    encode(version, &Message::Reply(reply), 1 << 20, &mut out).expect("every version has replies");
    out.to_vec()
}

#[test]
fn a_tagged_reply_has_the_bytes_it_always_had_in_every_version() {
    for (version, hex, form, is_bulk) in GOLDEN {
        let bytes = unhex(hex);
        let (prefix, frame) = bytes.split_at(LENGTH_BYTES);
        assert_eq!(prefix, (frame.len() as u32).to_le_bytes(), "{hex}");
        let body = if is_bulk { Body::Bulk(BulkId(7), 40_000) } else { Body::Inline(Bytes::from_static(b"yes")) };
        let reply = Reply { call: CallRef(300), number: 2, form, body };
        assert_eq!(decode(version, frame), Ok(Message::Reply(reply)), "{hex}");
        let header = if is_bulk { frame.len() } else { frame.len() - 3 };
        for cut in 1..header {
            assert!(decode(version, &frame[..cut]).is_err(), "{hex} cut at {cut}");
        }
    }
}

#[test]
fn a_tagged_reply_is_written_in_no_version() {
    for version in VERSIONS {
        assert!(!emitted(Kind::TaggedReply, version));
        for form in FORMS {
            let body = Body::Inline(Bytes::from_static(b"yes"));
            let bytes = untagged(version, 0, form, &body);
            assert_ne!(bytes[LENGTH_BYTES] & 0x3f, Kind::TaggedReply as u8);
            assert_eq!(
                decode(version, &bytes[LENGTH_BYTES..]),
                decode(version, &tagged(version, 0, form, &body)[LENGTH_BYTES..]),
                "and what is read is the same"
            );
        }
    }
}

/// A node in that phase with one call open to the other end, sent.
fn caller(phase: Phase, wire: WireVersion) -> Peer<u32> {
    let (functions, limits) = (FunctionTable::new(["f"]).expect("a table"), Limits::default());
    let session = Session::with_twin(Incarnation(7), wire, phase, functions.clone(), &limits);
    let mut peer = Peer::new(PeerId(0), PeerConfig::in_phase(phase, functions, limits), Duration::ZERO);
    peer.handle_connected(Duration::ZERO, session);
    let (call, function, body) = (CallRef(1), "f".into(), Bytes::new());
    let cast = Cast { call, function, time_left: None, nonce: 0, trace: None, body };
    peer.cast(Duration::ZERO, cast, 5).expect("it is taken");
    peer
}

/// All that comes of these replies, and the kinds of frames that leave.
fn heard(
    mut peer: Peer<u32>,
    wire: WireVersion,
    written: fn(WireVersion, u8, ReplyForm, &Body) -> Vec<u8>,
    replies: &[(u8, ReplyForm, Body)],
) -> (Vec<Output<u32>>, Vec<u8>, Peer<u32>) {
    // What came of the connection and the cast.
    while peer.poll_output().is_some() {}
    for (number, form, body) in replies {
        peer.handle_bytes(Duration::ZERO, peer.connection(), &written(wire, *number, *form, body));
    }
    peer.handle_bulk(Duration::ZERO, peer.connection(), BulkId(9), Bytes::from_static(b"large"));
    let outputs = std::iter::from_fn(|| peer.poll_output()).collect();
    let mut out = BytesMut::new();
    peer.take_outgoing(Duration::ZERO, peer.connection(), &mut out);
    let mut frames = FrameBuffer::new(1 << 20);
    frames.extend(&out);
    let kinds =
        std::iter::from_fn(|| frames.next_frame().expect("whole frames").map(|frame| frame[0] & 0x3f)).collect();
    (outputs, kinds, peer)
}

#[test]
fn a_tagged_reply_is_handled_as_an_untagged_one_in_every_mode() {
    let small = || Body::Inline(Bytes::from_static(b"x"));
    let large = || Body::Bulk(BulkId(9), 5);
    let runs: [&[(u8, ReplyForm, Body)]; 4] = [
        &[(0, ReplyForm::Plain, small()), (1, ReplyForm::Last, small())],
        &[(0, ReplyForm::Item, small()), (1, ReplyForm::Question, small()), (2, ReplyForm::Plain, small())],
        // One that is held for its payload, and what comes behind it.
        &[(0, ReplyForm::Item, large()), (1, ReplyForm::Last, small())],
        // A gap: the call is lost, and its job killed.
        &[(1, ReplyForm::Plain, small())],
    ];
    for (phase, wire) in MODES {
        for replies in runs {
            let plain = heard(caller(phase, wire), wire, untagged, replies);
            let same = heard(caller(phase, wire), wire, tagged, replies);
            assert!(!plain.0.is_empty(), "something comes of them: {replies:?}");
            assert_eq!(same, plain, "{phase} {replies:?}");
            assert!(!same.1.contains(&(Kind::TaggedReply as u8)));
            assert_eq!(same.2.stats().unknown_frames, 0);
        }
        let (lost, kinds, _) = heard(caller(phase, wire), wire, tagged, runs[3]);
        let reason = ExitReason::ConnectionLost;
        let told = Output::Deliver(5, CallRef(1), Answer::Exit { function: "".into(), reason });
        assert_eq!(lost, [told, Output::Writable], "its kill is to be written");
        assert!(kinds.contains(&(Kind::Kill as u8)), "{kinds:?}");
    }
}

/// Each phase with a wire version that a node in it speaks.
const MODES: [(Phase, WireVersion); 4] = [
    (Phase::Singleton, WireVersion::V1),
    (Phase::Introduce, WireVersion::V1),
    (Phase::Switch, WireVersion::V2),
    (Phase::Remove, WireVersion::V3),
];
