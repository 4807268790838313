//! Frames that a node would not send now, and a peer may: each is whole and of the version of its connection.

use bytes::BytesMut;
use rexi_proto::{
    Body, BulkId, CallRef, Called, Cast, DownReason, Exit, ExitReason, ItemBatch, ItemList, LENGTH_BYTES, Message,
    MonitorRef, Phase, PhaseNow, Reply, ReplyForm, Response, Sent, ServerAddress, WireVersion, encode,
};

use super::Script;

/// A frame; nothing where the version has no such message.
pub(super) fn frame(script: &mut Script<'_>, version: WireVersion) -> Vec<u8> {
    let mut out = BytesMut::new();
    let kind = script.byte();
    if kind == UNKNOWN {
        let first = u8::try_from(version.0).expect("there are few") << 6 | UNKNOWN;
        return vec![3, 0, 0, 0, first, 100, 2];
    }
    match encode(version, &message(script, kind), FRAME_BYTES_MAX, &mut out) {
        Ok(()) => out.to_vec(),
        Err(_) => Vec::new(),
    }
}

/// Whether no version has its kind.
pub(super) fn is_unknown(frame: &[u8]) -> bool {
    frame.get(LENGTH_BYTES).is_some_and(|first| first & 0x3f == UNKNOWN)
}

fn message(script: &mut Script<'_>, kind: u8) -> Message {
    let server = if script.below(2) == 0 { ServerAddress::Singleton } else { ServerAddress::PerNode };
    let call = call(script);
    match kind % 24 {
        0 | 1 => Message::Cast(server, cast(script, call)),
        2 => Message::Kill(server, call),
        3 => Message::KillAll(server, calls(script)),
        4 => reply(script, call, ReplyForm::Plain),
        5 => reply(script, call, ReplyForm::Last),
        6 => items(reply(script, call, ReplyForm::Item)),
        7 => reply(script, call, ReplyForm::Question),
        8 => Message::StreamInit(call),
        9 => Message::StreamStart(server, call),
        10 => Message::StreamCancel(server, call),
        11 => Message::Ack(server, call, script.number()),
        12 => Message::Response(server, Response { call, number: script.number(), body: body(script) }),
        13 => {
            let question = (script.below(2) == 0).then(|| script.number());
            Message::Sent(Sent { call, replies: script.number(), question })
        }
        14 => Message::Exit(Exit { call, replies: script.number(), function: "f".into(), reason: reason(script) }),
        15 => Message::NoSuchServer(server, call),
        16 => Message::NoSuchFunction(call),
        17 => Message::Ping(call),
        18 => Message::Monitor(server, MonitorRef(script.number())),
        19 => Message::Demonitor(server, MonitorRef(script.number())),
        20 => Message::Down(MonitorRef(script.number()), DownReason::Shutdown),
        21 => Message::Resume(server, calls(script)),
        22 => Message::Announce(script.byte() % 2, phase(script)),
        _ if script.below(4) == 0 => Message::Draining,
        _ => Message::Unsupported(script.byte()),
    }
}

fn cast(script: &mut Script<'_>, call: CallRef) -> Cast {
    let function = Called::Number(u32::from(script.byte() % 3));
    let time_left = (script.below(4) == 0).then(|| std::time::Duration::from_millis(script.number() % 100_000));
    Cast { call, function, time_left, nonce: 0, trace: None, body: body(script) }
}

fn reply(script: &mut Script<'_>, call: CallRef, form: ReplyForm) -> Message {
    Message::Reply(Reply { call, number: script.number(), form, body: body(script) })
}

/// Every second item in a frame of two, of which one may be another's.
fn items(item: Message) -> Message {
    let Message::Reply(Reply { call, number, body: Body::Inline(body), .. }) = &item else { return item };
    let mut list = ItemList::default();
    if body.len().is_multiple_of(2) && list.push(body) && list.push(b"other") {
        return Message::Items(ItemBatch { call: *call, number: *number, list });
    }
    item
}

/// Most of the time one that a call has.
fn call(script: &mut Script<'_>) -> CallRef {
    CallRef(script.number())
}

fn calls(script: &mut Script<'_>) -> Vec<CallRef> {
    let (first, count) = (script.number(), u64::from(script.byte() % 90));
    (0..count).map(|more| CallRef(first.wrapping_add(more))).collect()
}

/// It says that it is of no call.
fn body(script: &mut Script<'_>) -> Body {
    let bytes = script.byte();
    if bytes.is_multiple_of(4) {
        Body::Bulk(BulkId(u64::from(bytes / 4 % 8)), 4 + u32::from(script.byte()) * 3)
    } else {
        Body::Inline(super::notes::payload(None, 0, usize::from(bytes)))
    }
}

fn reason(script: &mut Script<'_>) -> ExitReason {
    match script.below(6) {
        0 => ExitReason::Done,
        1 => ExitReason::Failed("why".into()),
        2 => ExitReason::DuplicateRef,
        3 => ExitReason::ConnectionLost,
        4 => ExitReason::Killed,
        _ => ExitReason::Draining,
    }
}

fn phase(script: &mut Script<'_>) -> PhaseNow {
    PhaseNow { epoch: script.number(), phase: Phase::ALL[script.below(Phase::ALL.len())] }
}

/// A kind that no version has.
const UNKNOWN: u8 = 45;

/// The longest that each of the two takes.
const FRAME_BYTES_MAX: u32 = 1_024;
