//! What must hold of the bytes on a connection's lane: each frame that is read is written again as it came, and a
//! peer's state takes whatever comes, within its bounds.
//!
//! In: a byte that says the wire version and how the rest is cut into portions, then the lane. Out: a panic where that
//! does not hold.

use std::time::Duration;

use bytes::BytesMut;
use rexi_proto::{
    FrameBuffer, FunctionTable, Incarnation, LENGTH_BYTES, Limits, Peer, PeerConfig, PeerId, Phase, Session,
    WireVersion, decode, emitted, encode,
};

use super::golden;

/// Panics where a rule is broken.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&how, lane)) = bytes.split_first() else { return };
    let version = VERSIONS[usize::from(how) % VERSIONS.len()];
    let portion_bytes = 1 + usize::from(how) / VERSIONS.len();
    check_frames(version, lane.chunks(portion_bytes));
    let limits = limits();
    let mut peer = connected(version, &limits);
    let connection = peer.connection();
    for portion in lane.chunks(portion_bytes) {
        peer.handle_bytes(SECOND, connection, portion);
        while peer.poll_output().is_some() {}
        if peer.take_outgoing(SECOND, connection, &mut BytesMut::new()).is_none() {
            // The peer was cut off.
            return;
        }
        assert!(peer.incomplete_bytes() <= INCOMPLETE_BYTES_MAX + portion_bytes);
        let stats = peer.stats();
        assert!(stats.jobs <= limits.jobs_max && stats.job_bytes <= limits.job_bytes_max, "{stats:?}");
        assert!(stats.buffered <= limits.buffered_frames_max, "{stats:?}");
    }
}

fn check_frames<'a>(version: WireVersion, portions: impl Iterator<Item = &'a [u8]>) {
    let mut frames = FrameBuffer::new(FRAME_BYTES_MAX);
    for portion in portions {
        frames.extend(portion);
        while let Some(frame) = frames.next_frame().unwrap_or_default() {
            check_frame(version, frame);
        }
        if frames.next_frame().is_err() {
            return;
        }
        assert!(frames.incomplete_bytes() <= INCOMPLETE_BYTES_MAX + portion.len());
    }
}

fn check_frame(version: WireVersion, frame: &[u8]) {
    let Ok(message) = decode(version, frame) else { return };
    if !emitted(message.kind(), version) {
        return;
    }
    let mut out = BytesMut::new();
    encode(version, &message, 2 * FRAME_BYTES_MAX, &mut out).expect("what is read can be written");
    let again = &out[LENGTH_BYTES..];
    if again[0] != frame[0] {
        // A reply in the form that is read and not written yet.
        assert_eq!(decode(version, again), Ok(message), "it is understood alike");
    } else if frame.len() < TEXT_BYTES_MAX {
        assert_eq!(again, frame, "{message:?}");
    } else {
        // An exit's text may have been cut.
        decode(version, again).expect("it can be read again");
    }
}

fn limits() -> Limits {
    Limits {
        frame_bytes_max: FRAME_BYTES_MAX,
        payload_bytes_max: 1 << 12,
        inline_bytes_max: 1 << 8,
        jobs_max: 16,
        job_bytes_max: 1 << 12,
        buffered_frames_max: 8,
        tombstones_max: 4,
        monitors_max: 4,
        calls_open_max: 16,
        ..Limits::default()
    }
}

fn connected(version: WireVersion, limits: &Limits) -> Peer<u32> {
    let phase = match version {
        WireVersion::V1 => Phase::Singleton,
        WireVersion::V2 => Phase::Switch,
        _ => Phase::Remove,
    };
    let functions = FunctionTable::new(["f", "g"]).expect("there are few");
    let session = Session::with_twin(Incarnation(1), version, phase, functions.clone(), limits);
    let mut peer = Peer::new(PeerId(1), PeerConfig::in_phase(phase, functions, limits.clone()), Duration::ZERO);
    peer.handle_connected(Duration::ZERO, session);
    peer
}

/// What a fuzzer begins with: each golden frame in one portion, and all of a version byte by byte.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    VERSIONS.into_iter().zip(0..).flat_map(|(version, number)| seeds_of(version, number)).collect()
}

fn seeds_of(version: WireVersion, number: u8) -> Vec<Vec<u8>> {
    let prefix = format!("{version} ");
    let golden = golden::GOLDEN.iter().filter(|(name, _)| name.starts_with(&prefix));
    let frames: Vec<Vec<u8>> = golden.map(|(_, hex)| golden::unhex(hex)).collect();
    let how = |portion_bytes: u8| number + 3 * (portion_bytes - 1);
    let mut seeds: Vec<_> = frames.iter().map(|frame| [&[how(80)][..], frame].concat()).collect();
    seeds.push([vec![how(1)], frames.concat()].concat());
    seeds
}

const VERSIONS: [WireVersion; 3] = [WireVersion::V1, WireVersion::V2, WireVersion::V3];

const SECOND: Duration = Duration::from_secs(1);

const FRAME_BYTES_MAX: u32 = 1 << 13;

const INCOMPLETE_BYTES_MAX: usize = FRAME_BYTES_MAX as usize + LENGTH_BYTES;

/// Bytes of a text that an exit carries; what is longer is cut.
const TEXT_BYTES_MAX: usize = 4_096;
