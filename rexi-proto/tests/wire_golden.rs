//! The exact bytes of every message in every wire version, and what decoding makes of any other bytes.
//!
//! Golden bytes are added, never edited: a test that fails on old ones has found a break of compatibility.

#[path = "wire_golden/golden.rs"]
mod golden;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use golden::{GOLDEN, HELLO, HELLO_AWAITED, HELLO_KNOWN, REFUSED, unhex};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rexi_proto::record::{Digest, RecordWord, Words};
use rexi_proto::{
    Body, BulkId, CallRef, Called, Cast, DecodeError, DownReason, EncodeError, Exit, ExitReason, Forms, FrameBuffer,
    FunctionTable, Hello, Incarnation, ItemBatch, ItemList, Kind, LENGTH_BYTES, Limits, Message, MigrationKey,
    MonitorRef, NodeName, Peer, PeerConfig, PeerId, Phase, PhaseNow, Release, Reply, ReplyForm, Response,
    SERVER_PER_NODE, Sent, ServerAddress, Session, Standing, TraceContext, VersionRange, WireVersion, decode, encode,
};

const FRAME_MAX: u32 = 1 << 20;
const VERSIONS: [WireVersion; 3] = [WireVersion::V1, WireVersion::V2, WireVersion::V3];
const SERVERS: [ServerAddress; 2] = [ServerAddress::Singleton, ServerAddress::PerNode];

fn functions() -> FunctionTable {
    FunctionTable::new(["f"]).expect("a table")
}

fn list(items: &[impl AsRef<[u8]>]) -> ItemList {
    let mut list = ItemList::default();
    assert!(items.iter().all(|item| list.push(item.as_ref())), "they are few and short");
    list
}

/// One or more examples of every kind of message, for that server where they are for one.
fn examples(server: ServerAddress) -> Vec<(String, Message)> {
    let cast = Cast {
        call: CallRef(1),
        function: Called::Number(1),
        time_left: None,
        nonce: 0,
        trace: None,
        body: Body::Inline(Bytes::from_static(b"hi")),
    };
    let full = Cast {
        call: CallRef(300),
        function: Called::Number(300),
        time_left: Some(Duration::from_millis(1_500)),
        nonce: u64::MAX,
        trace: Some(Box::new(TraceContext { trace_id: 1 << 63 | 5, span_id: 129, flags: 1 })),
        body: Body::Bulk(BulkId(7), 40_000),
    };
    let reply = |number, form, body| Message::Reply(Reply { call: CallRef(300), number, form, body });
    let response = |body| Message::Response(server, Response { call: CallRef(300), number: 2, body });
    let calls = || vec![CallRef(1), CallRef(300), CallRef(u64::MAX)];
    let mut all = vec![
        ("cast".to_owned(), Message::Cast(server, cast)),
        ("cast-full".to_owned(), Message::Cast(server, full)),
        ("kill".to_owned(), Message::Kill(server, CallRef(300))),
        ("kill-all".to_owned(), Message::KillAll(server, calls())),
        ("reply".to_owned(), reply(2, ReplyForm::Plain, Body::Inline(Bytes::from_static(b"yes")))),
        ("reply-last".to_owned(), reply(0, ReplyForm::Last, Body::Inline(Bytes::new()))),
        ("reply-bulk".to_owned(), reply(200, ReplyForm::Last, Body::Bulk(BulkId(0), 33_000))),
        ("no-such-server".to_owned(), Message::NoSuchServer(server, CallRef(300))),
        ("no-such-function".to_owned(), Message::NoSuchFunction(CallRef(300))),
        ("ping".to_owned(), Message::Ping(CallRef(300))),
        ("monitor".to_owned(), Message::Monitor(server, MonitorRef(3))),
        ("demonitor".to_owned(), Message::Demonitor(server, MonitorRef(3))),
        ("resume".to_owned(), Message::Resume(server, calls())),
        ("resume-empty".to_owned(), Message::Resume(server, Vec::new())),
        ("draining".to_owned(), Message::Draining),
        ("unsupported".to_owned(), Message::Unsupported(77)),
        ("stream-init".to_owned(), Message::StreamInit(CallRef(300))),
        ("item".to_owned(), reply(2, ReplyForm::Item, Body::Inline(Bytes::from_static(b"row")))),
        ("item-bulk".to_owned(), reply(200, ReplyForm::Item, Body::Bulk(BulkId(0), 33_000))),
        (
            "items".to_owned(),
            Message::Items(ItemBatch { call: CallRef(300), number: 2, list: list(&["row", "", "a row"]) }),
        ),
        ("question".to_owned(), reply(2, ReplyForm::Question, Body::Inline(Bytes::from_static(b"go?")))),
        ("stream-start".to_owned(), Message::StreamStart(server, CallRef(300))),
        ("stream-cancel".to_owned(), Message::StreamCancel(server, CallRef(300))),
        ("ack".to_owned(), Message::Ack(server, CallRef(300), 200)),
        ("response".to_owned(), response(Body::Inline(Bytes::from_static(b"go")))),
        ("response-bulk".to_owned(), response(Body::Bulk(BulkId(7), 40_000))),
        ("sent".to_owned(), Message::Sent(Sent { call: CallRef(300), replies: 200, question: Some(199) })),
    ];
    let exit = |(name, reason)| {
        let exit = Exit { call: CallRef(300), replies: 2, function: "f".into(), reason };
        (format!("exit-{name}"), Message::Exit(exit))
    };
    all.extend(exit_reasons().into_iter().map(exit));
    let reasons = [
        ("no-connect", DownReason::NoConnect),
        ("no-server", DownReason::NoServer),
        ("no-connection", DownReason::NoConnection),
        ("restarted", DownReason::Restarted),
        ("shutdown", DownReason::Shutdown),
        ("too-many-monitors", DownReason::TooManyMonitors),
    ];
    all.extend(reasons.map(|(name, reason)| (format!("down-{name}"), Message::Down(MonitorRef(3), reason))));
    all.extend(
        Phase::ALL.map(|phase| (format!("announce-{phase}"), Message::Announce(0, PhaseNow { epoch: 2, phase }))),
    );
    all
}

fn exit_reasons() -> Vec<(&'static str, ExitReason)> {
    vec![
        ("done", ExitReason::Done),
        ("failed", ExitReason::Failed("no".into())),
        ("panicked", ExitReason::Panicked("at 3".into())),
        ("duplicate-ref", ExitReason::DuplicateRef),
        ("too-many-jobs", ExitReason::TooManyJobs),
        ("time-passed", ExitReason::TimePassed),
        ("draining", ExitReason::Draining),
        ("connection-lost", ExitReason::ConnectionLost),
        ("reply-dropped", ExitReason::ReplyDropped),
        ("reply-too-large", ExitReason::ReplyTooLarge),
        ("killed", ExitReason::Killed),
        ("server-ended", ExitReason::ServerEnded),
        ("stream-timeout", ExitReason::StreamTimeout),
        ("invalid-stream-message", ExitReason::InvalidStreamMessage),
        ("mismatched-ack", ExitReason::MismatchedAck),
        ("too-many-streams", ExitReason::TooManyStreams),
        ("too-many-bytes", ExitReason::TooManyBytes),
        ("wrong-type", ExitReason::WrongType("no key".into())),
        ("too-many-jobs-in-all", ExitReason::TooManyJobsInAll),
        ("too-many-bytes-in-all", ExitReason::TooManyBytesInAll),
        ("too-many-streams-in-all", ExitReason::TooManyStreamsInAll),
        ("reply-dropped-in-all", ExitReason::ReplyDroppedInAll),
        ("not-allowed", ExitReason::NotAllowed),
    ]
}

/// Every example in every version and for every server that it differs by.
fn table() -> Vec<(String, WireVersion, Message)> {
    let mut table = Vec::new();
    for version in VERSIONS {
        for server in SERVERS {
            for (name, message) in examples(server) {
                let suffix = match message.server() {
                    Some(ServerAddress::Singleton) => " singleton",
                    Some(ServerAddress::PerNode) => " per-node",
                    None if server == ServerAddress::Singleton => "",
                    None => continue,
                };
                table.push((format!("{version} {name}{suffix}"), version, message));
            }
        }
    }
    table
}

fn bytes_of(version: WireVersion, message: &Message) -> Result<Vec<u8>, EncodeError> {
    let mut out = BytesMut::new();
    let encoded = encode(version, message, FRAME_MAX, &mut out);
    assert_eq!(encoded.is_err(), out.is_empty(), "a refused message leaves nothing behind");
    encoded.map(|()| out.to_vec())
}

/// The body of a frame whose prefix is right.
fn unframed(bytes: &[u8]) -> &[u8] {
    let (prefix, frame) = bytes.split_at(LENGTH_BYTES);
    assert_eq!(prefix, (frame.len() as u32).to_le_bytes(), "the prefix is the frame's length");
    frame
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

#[test]
fn every_message_has_the_bytes_it_always_had() {
    let golden: BTreeMap<&str, &str> = GOLDEN.iter().copied().collect();
    let mut missing = String::new();
    let mut met = 0;
    for (name, version, message) in table() {
        let Ok(bytes) = bytes_of(version, &message) else { continue };
        match golden.get(name.as_str()) {
            None => writeln!(missing, "    (\"{name}\", \"{}\"),", hex(&bytes)).expect("a string takes all"),
            Some(known) => {
                met += 1;
                assert_eq!(hex(&bytes), *known, "{name}: golden bytes are added, never edited");
                assert_eq!(decode(version, unframed(&unhex(known))), Ok(message), "{name}");
            }
        }
    }
    assert!(missing.is_empty(), "not golden yet:\n{missing}");
    assert_eq!(met, GOLDEN.len(), "golden bytes of messages that are no more: keep the example, or retire the version");
}

#[test]
fn what_a_version_lacks_is_not_sent_and_not_understood() {
    let mut refused = Vec::new();
    for (name, version, message) in table() {
        let Err(error) = bytes_of(version, &message) else { continue };
        let text = match error {
            EncodeError::NotEmitted { .. } => {
                let decoded = decode_as(version, &[message.kind() as u8, 0]);
                assert_eq!(decoded, Err(DecodeError::UnknownKind { kind: message.kind() as u8, version }), "{name}");
                "not emitted"
            }
            EncodeError::Unaddressable { .. } => "no address",
            other => panic!("{name}: {other}"),
        };
        refused.push(format!("{name}: {text}"));
    }
    assert_eq!(refused, REFUSED, "{refused:#?}");
}

#[test]
fn a_hello_has_the_bytes_it_always_had() {
    let hello = Hello {
        cluster: "inventory".into(),
        node: NodeName::new("n1.example").expect("a name"),
        incarnation: Incarnation(1_700_000_000_000_000),
        last_met: Some(Incarnation(1_600_000_000_000_000)),
        release: "1.2.1".parse().expect("a version"),
        stop: Release(1, 2, 0),
        follows: Some(Release(1, 1, 0)),
        wire: VersionRange::new(WireVersion::V2, WireVersion::V2),
        migrations: vec![
            Standing {
                key: SERVER_PER_NODE.key().clone(),
                phase: Phase::Switch,
                epoch: 3,
                ceiling: Phase::Switch,
                takes: Forms::BOTH,
                holdouts: vec![NodeName::new("n3").expect("a name")],
            },
            Standing {
                key: MigrationKey::constant("inventory.reads"),
                phase: Phase::Introduce,
                epoch: 0,
                ceiling: Phase::Introduce,
                takes: Forms::BOTH,
                holdouts: Vec::new(),
            },
        ],
        functions: FunctionTable::new(["get", "put"]).expect("a table"),
        record: RecordWord::Unkept,
        capabilities: 5,
        frame_bytes_max: 1 << 20,
        payload_bytes_max: 4 << 20,
    };
    let words = Words {
        origin: Digest::of("the first record"),
        epoch: 300,
        record: Digest::of("the last"),
        forgotten: Some(7),
        is_anew: true,
    };
    let known =
        [(RecordWord::Unkept, HELLO), (RecordWord::Awaited, HELLO_AWAITED), (RecordWord::Known(words), HELLO_KNOWN)];
    for (record, golden) in known {
        let hello = Hello { record, ..hello.clone() };
        let mut out = BytesMut::new();
        hello.encode(&mut out);
        assert_eq!(hex(&out), golden.concat(), "{record:?}");
        assert_eq!(Hello::decode(unframed(&unhex(&golden.concat()))), Ok(hello));
    }
}

#[test]
fn what_a_hello_says_of_the_record_is_said_once_and_whole() {
    let mut hello = unhex(&HELLO.concat())[LENGTH_BYTES..].to_vec();
    assert_eq!(hello.pop(), Some(0), "no extensions");
    for (extensions, says) in [
        (&[2, 1, 0, 1, 0][..], "it speaks of the record twice"),
        (&[1, 1, 1, 0][..], "end of"),
        (&[1, 1, 3, 0, 0, 0][..], "end of"),
    ] {
        let refused = Hello::decode(&[&hello[..], extensions].concat()).expect_err(says);
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

#[test]
fn a_hello_of_a_later_release_is_understood() {
    let mut later = unhex(&HELLO.concat())[LENGTH_BYTES..].to_vec();
    let known = Hello::decode(&later);
    assert_eq!(later.pop(), Some(0), "no extensions");
    later.extend([2, 9, 1, 0xff, 200, 1, 0]);
    assert_eq!(Hello::decode(&later), known, "extensions are passed over");
    later.pop();
    assert!(Hello::decode(&later).is_err(), "but not if they are cut off");
}

#[test]
fn a_frame_that_is_cut_or_has_a_byte_too_many_is_refused() {
    for (name, hex) in GOLDEN {
        let version = version_of(name);
        let bytes = unhex(hex);
        let frame = unframed(&bytes);
        let has_payload = matches!(decode(version, frame), Ok(message) if inline(&message));
        let header = if has_payload { header_bytes(version, frame) } else { frame.len() };
        for cut in 0..header {
            assert!(decode(version, &frame[..cut]).is_err(), "{name} cut at {cut}");
        }
        let longer = [frame, &[0]].concat();
        match decode(version, &longer) {
            Ok(message) => assert!(has_payload && inline(&message), "{name} with a trailing byte"),
            Err(error) => assert!(matches!(error, DecodeError::TrailingBytes { bytes: 1, .. }), "{name}: {error}"),
        }
    }
}

/// Whether the message's payload is the rest of its frame, so that a shorter frame is another payload.
fn inline(message: &Message) -> bool {
    matches!(
        message,
        Message::Cast(_, Cast { body: Body::Inline(_), .. })
            | Message::Reply(Reply { body: Body::Inline(_), .. })
            | Message::Response(_, Response { body: Body::Inline(_), .. })
    )
}

fn header_bytes(version: WireVersion, frame: &[u8]) -> usize {
    match decode(version, frame).expect("golden") {
        Message::Cast(_, Cast { body: Body::Inline(body), .. })
        | Message::Reply(Reply { body: Body::Inline(body), .. })
        | Message::Response(_, Response { body: Body::Inline(body), .. }) => frame.len() - body.len(),
        _ => frame.len(),
    }
}

fn version_of(name: &str) -> WireVersion {
    VERSIONS.into_iter().find(|version| name.starts_with(&version.to_string())).expect("a version's name")
}

#[test]
fn needless_bytes_and_lying_lengths_are_refused() {
    let (v1, v2) = (WireVersion::V1, WireVersion::V2);
    // A kill of call 5, written in two bytes; then a number of more than 64 bits.
    assert_eq!(decode_as(v1, &[2, 0x85, 0]), Err(DecodeError::NotCanonical { kind: 2, at: 0 }));
    assert!(matches!(
        decode_as(v1, &[2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]),
        Err(DecodeError::Malformed { .. })
    ));
    // The same in a list, in its length, and in a server's address.
    assert!(matches!(decode_as(v1, &[12, 1, 0x85, 0]), Err(DecodeError::NotCanonical { .. })));
    assert!(matches!(decode_as(v1, &[12, 0x81, 0, 5]), Err(DecodeError::NotCanonical { .. })));
    assert!(matches!(decode_as(v2, &[2, 0x80, 0, 5]), Err(DecodeError::NotCanonical { .. })));
    // Lists, texts and names that claim what is not there: nothing is allocated for them.
    let huge = [255, 255, 255, 255, 255, 255, 255, 255, 127];
    for (version, opening) in [(v1, &[12][..]), (v2, &[12, 0]), (v2, &[3, 1]), (v1, &[1, 1, 0, 0, 0]), (v1, &[5, 1, 0])]
    {
        let frame = [opening, &huge].concat();
        assert!(matches!(decode_as(version, &frame), Err(DecodeError::Malformed { .. })), "{frame:?}");
    }
    // Tags that nothing has: an address, an option, a truth value, a reason.
    for frame in [&[2, 2, 5][..], &[1, 0, 1, 2], &[4, 1, 0, 2, 0], &[5, 1, 0, 0, 23], &[24, 1, 0, 4, 0]] {
        assert!(matches!(decode_as(v2, frame), Err(DecodeError::Malformed { .. })), "{frame:?}");
    }
    assert!(decode(v2, &[]).is_err());
}

#[test]
fn a_frame_is_read_in_its_own_version_only() {
    for (name, version, message) in table() {
        let Ok(bytes) = bytes_of(version, &message) else { continue };
        for other in VERSIONS.into_iter().filter(|&other| other != version) {
            let read = decode(other, unframed(&bytes));
            assert_eq!(read, Err(DecodeError::OtherVersion { first: bytes[4], version: other }), "{name} as {other}");
        }
    }
}

/// Decodes a frame whose first byte is a mere kind, as of `version`.
fn decode_as(version: WireVersion, frame: &[u8]) -> Result<Message, DecodeError> {
    let (&kind, rest) = frame.split_first().expect("a kind");
    let version_bits = u8::try_from(version.0 << 6).expect("three versions");
    decode(version, &[&[kind | version_bits][..], rest].concat())
}

fn messages(server: ServerAddress) -> impl Strategy<Value = Message> {
    let call = prop_oneof![0..300_u64, any::<u64>()].prop_map(CallRef);
    let monitor = any::<u64>().prop_map(MonitorRef);
    let calls = vec(call.clone(), 0..20);
    let body = || {
        prop_oneof![
            vec(any::<u8>(), 0..40).prop_map(|bytes| Body::Inline(bytes.into())),
            (any::<u64>(), any::<u32>()).prop_map(|(id, bytes)| Body::Bulk(BulkId(id), bytes)),
        ]
    };
    let trace = (any::<u128>(), any::<u64>(), any::<u8>());
    let trace = trace.prop_map(|(trace_id, span_id, flags)| Box::new(TraceContext { trace_id, span_id, flags }));
    let time = any::<u32>().prop_map(|ms| Duration::from_millis(ms.into()));
    let cast = (call.clone(), any::<u32>(), option::of(time), any::<u64>(), option::of(trace), body()).prop_map(
        |(call, function, time_left, nonce, trace, body)| Cast {
            call,
            function: Called::Number(function),
            time_left,
            nonce,
            trace,
            body,
        },
    );
    let forms = [ReplyForm::Plain, ReplyForm::Last, ReplyForm::Item, ReplyForm::Question];
    let reply = (call.clone(), any::<u64>(), 0..forms.len(), body())
        .prop_map(move |(call, number, form, body)| Message::Reply(Reply { call, number, form: forms[form], body }));
    let items = (call.clone(), any::<u64>(), vec(vec(any::<u8>(), 0..40), 1..20))
        .prop_map(|(call, number, items)| Message::Items(ItemBatch { call, number, list: list(&items) }));
    let response = (call.clone(), any::<u64>(), body())
        .prop_map(move |(call, number, body)| Message::Response(server, Response { call, number, body }));
    let count = (call.clone(), any::<u64>());
    let reasons = || exit_reasons().into_iter().map(|(_, reason)| reason).collect::<Vec<_>>();
    let reason = prop_oneof![
        (0..reasons().len()).prop_map(move |i| reasons()[i].clone()),
        ".{0,20}".prop_map(|text| ExitReason::Failed(text.into())),
        ".{0,20}".prop_map(|text| ExitReason::Panicked(text.into())),
    ];
    let exit = (call.clone(), any::<u64>(), ".{0,20}", reason).prop_map(|(call, replies, function, reason)| {
        Message::Exit(Exit { call, replies, function: function.into(), reason })
    });
    let phase = (any::<u64>(), 0..4_usize)
        .prop_map(|(epoch, phase)| Message::Announce(0, PhaseNow { epoch, phase: Phase::ALL[phase] }));
    prop_oneof![
        cast.prop_map(move |cast| Message::Cast(server, cast)),
        call.clone().prop_map(move |call| Message::Kill(server, call)),
        calls.clone().prop_map(move |calls| Message::KillAll(server, calls)),
        calls.prop_map(move |calls| Message::Resume(server, calls)),
        reply,
        items,
        response,
        count.clone().prop_map(move |(call, total)| Message::Ack(server, call, total)),
        (count, any::<Option<u64>>()).prop_map(|((call, replies), question)| Message::Sent(Sent {
            call,
            replies,
            question
        })),
        call.clone().prop_map(Message::StreamInit),
        call.clone().prop_map(move |call| Message::StreamStart(server, call)),
        call.clone().prop_map(move |call| Message::StreamCancel(server, call)),
        exit,
        call.clone().prop_map(move |call| Message::NoSuchServer(server, call)),
        call.clone().prop_map(Message::NoSuchFunction),
        call.prop_map(Message::Ping),
        monitor.clone().prop_map(move |monitor| Message::Monitor(server, monitor)),
        monitor.prop_map(move |monitor| Message::Demonitor(server, monitor)),
        phase,
        any::<u8>().prop_map(Message::Unsupported),
    ]
}

fn sent() -> impl Strategy<Value = (WireVersion, Message)> {
    (0..3_usize, any::<bool>()).prop_flat_map(|(version, per_node)| {
        let version = VERSIONS[version];
        let per_node = version == WireVersion::V3 || version == WireVersion::V2 && per_node;
        let server = if per_node { ServerAddress::PerNode } else { ServerAddress::Singleton };
        messages(server).prop_map(move |message| (version, message))
    })
}

/// Bytes that look like frames: golden ones with a few bytes changed, frames of any content, or anything.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let changed =
        (0..GOLDEN.len(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(|(golden, changes)| {
            let mut bytes = unhex(GOLDEN[golden].1);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
    let framed = (0..28_u8, vec(any::<u8>(), 0..30)).prop_map(|(kind, rest)| {
        let length = (rest.len() as u32 + 1).to_le_bytes();
        [&length[..], &[kind], &rest].concat()
    });
    let piece = prop_oneof![4 => changed, 4 => framed, 1 => vec(any::<u8>(), 0..30)];
    vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_survives_the_wire((version, message) in sent()) {
        match bytes_of(version, &message) {
            Ok(bytes) => prop_assert_eq!(decode(version, unframed(&bytes)), Ok(message)),
            Err(error) => prop_assert!(matches!(error, EncodeError::NotEmitted { .. }), "{}", error),
        }
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(version in 0..3_usize, frame in stream()) {
        let version = VERSIONS[version];
        for frame in [&frame[..], frame.get(LENGTH_BYTES..).unwrap_or_default()] {
            let Ok(message) = decode(version, frame) else { continue };
            // What is read in two forms is written in one: see tagged_replies.rs.
            if frame[0] & 0x3f == Kind::TaggedReply as u8 {
                continue;
            }
            match bytes_of(version, &message) {
                Ok(bytes) => prop_assert_eq!(unframed(&bytes), frame),
                Err(error) => prop_assert!(false, "{:?} was read and cannot be written: {}", message, error),
            }
        }
    }

    #[test]
    fn any_hello_is_read_or_refused(
        bytes in vec(any::<u8>(), 0..80),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let _ = Hello::decode(&bytes);
        let _ = Hello::decode(&[&[0][..], b"REXI", &bytes].concat());
        let mut changed = unhex(&HELLO.concat())[LENGTH_BYTES..].to_vec();
        let at = at.index(changed.len());
        changed[at] = byte;
        let _ = Hello::decode(&changed);
    }

    #[test]
    fn no_bytes_panic_a_peer(
        version in 0..3_usize,
        stream in stream(),
        step in 1..50_usize,
        bulk in vec(0..3_u64, 0..4),
    ) {
        let mut buffer = FrameBuffer::new(64);
        buffer.extend(&stream);
        while let Ok(Some(_)) = buffer.next_frame() {}
        let mut peer = connected(VERSIONS[version]);
        for piece in stream.chunks(step) {
            peer.handle_bytes(Duration::ZERO, peer.connection(), piece);
        }
        for id in bulk {
            peer.handle_bulk(Duration::ZERO, peer.connection(), BulkId(id), Bytes::from_static(b"1234567"));
        }
        peer.handle_timeout(Duration::from_secs(60));
        while peer.poll_output().is_some() {}
    }
}

fn connected(version: WireVersion) -> Peer<u32> {
    let phase = match version {
        WireVersion::V1 => Phase::Singleton,
        WireVersion::V2 => Phase::Introduce,
        _ => Phase::Remove,
    };
    let limits = Limits::default();
    let session = Session::with_twin(Incarnation(1), version, phase, functions(), &limits);
    let mut peer = Peer::new(PeerId(0), PeerConfig::in_phase(phase, functions(), limits), Duration::ZERO);
    for call in [1, 300] {
        let cast = rexi_proto::Cast {
            call: CallRef(call),
            function: "f".into(),
            time_left: None,
            nonce: 0,
            trace: None,
            body: Bytes::new(),
        };
        peer.cast(Duration::ZERO, cast, 0).expect("it is taken");
    }
    peer.handle_connected(Duration::ZERO, session);
    peer
}
