//! The status as JSON. Keys are added within a format version, and never renamed, removed or given another meaning.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::record::{Record, Transition};
use crate::engine::{
    NodeStatus, PeerPresence, PeerStatus, RolloutStatus,
    publish::{factor, total_name},
};

/// The version of the JSON at `/status`, its `format_version`.
pub const STATUS_FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
pub(super) struct StatusDocument {
    format_version: u32,
    node: String,
    /// Microseconds since 1970.
    incarnation: u64,
    release: String,
    /// By key.
    migrations: BTreeMap<String, Rollout>,
    draining: bool,
    jobs: usize,
    calls: usize,
    reply_streams: usize,
    stream_timeouts: StreamTimeouts,
    singleton_queue_length: usize,
    stray_datagrams: u64,
    /// Seconds since 1970.
    certificate_expires: u64,
    identity_changes: u64,
    identity_error: Option<String>,
    /// What the node keeps of its cluster's record, if it keeps one.
    record: Option<Record>,
    /// What is under way, as this node knows it.
    transition: Option<Transition>,
    /// Casts that the allow-list has denied, of all members.
    denied: u64,
    pool_left: BTreeMap<&'static str, usize>,
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Rollout {
    phase: &'static str,
    limiting_factor: LimitingFactor,
}

#[derive(Serialize)]
struct LimitingFactor {
    kind: &'static str,
    text: String,
}

#[derive(Serialize)]
struct StreamTimeouts {
    init: u64,
    stream: u64,
    ack: u64,
}

#[derive(Serialize)]
struct Peer {
    name: String,
    /// None for the node itself.
    address: Option<String>,
    presence: &'static str,
    incarnation: Option<u64>,
    known_as: u64,
    release: Option<String>,
    last_error: Option<String>,
    turned_away: bool,
    refusal: Option<String>,
    denied: u64,
    calls: usize,
    jobs: usize,
    job_bytes: usize,
    buffered_frames: usize,
    buffered_bytes: usize,
    dropped_frames: u64,
    unknown_frames: u64,
    stray_answers: u64,
    stale_answers: u64,
    late_payloads: u64,
}

impl From<NodeStatus> for StatusDocument {
    fn from(status: NodeStatus) -> Self {
        let timeouts = status.stream_timeouts;
        Self {
            format_version: STATUS_FORMAT_VERSION,
            node: status.name.to_string(),
            incarnation: status.incarnation.0,
            release: status.release.to_string(),
            migrations: status.rollouts.iter().map(Rollout::of).collect(),
            draining: status.draining,
            jobs: status.jobs,
            calls: status.calls,
            reply_streams: status.streams,
            stream_timeouts: StreamTimeouts {
                init: timeouts.init_stream,
                stream: timeouts.stream,
                ack: timeouts.wait_for_ack,
            },
            singleton_queue_length: status.singleton_queue,
            stray_datagrams: status.stray_datagrams,
            certificate_expires: status.certificate_expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            identity_changes: status.identity_changes,
            identity_error: status.identity_error,
            transition: status.record.as_deref().and_then(Transition::of),
            record: status.record.map(|kept| Record::of(&kept, status.record_is_broken)),
            denied: status.denied_casts,
            pool_left: status.pool_left.into_iter().map(|(total, left)| (total_name(total), left)).collect(),
            peers: status.peers.into_iter().map(Peer::from).collect(),
        }
    }
}

impl Rollout {
    fn of(status: &RolloutStatus) -> (String, Self) {
        let limiting = &status.limiting_factor;
        let limiting_factor = LimitingFactor { kind: factor(limiting), text: limiting.to_string() };
        (status.migration.to_string(), Self { phase: status.phase.as_str(), limiting_factor })
    }
}

impl From<PeerStatus> for Peer {
    fn from(status: PeerStatus) -> Self {
        let stats = status.stats;
        Self {
            name: status.name.to_string(),
            address: status.address.map(|address| address.to_string()),
            presence: match status.presence {
                PeerPresence::Connected => "connected",
                PeerPresence::Away => "away",
                PeerPresence::Gone => "gone",
                PeerPresence::Refused(_) => "refused",
            },
            incarnation: status.incarnation.map(|incarnation| incarnation.0),
            known_as: status.known_as.0,
            release: status.release,
            last_error: status.last_error,
            turned_away: status.turned_away,
            refusal: status.refusal.map(|refusal| refusal.to_string()),
            denied: status.denied_casts,
            calls: stats.calls,
            jobs: stats.jobs,
            job_bytes: stats.job_bytes,
            buffered_frames: stats.buffered,
            buffered_bytes: stats.buffered_bytes,
            dropped_frames: stats.dropped,
            unknown_frames: stats.unknown_frames,
            stray_answers: stats.stray_answers,
            stale_answers: stats.stale_answers,
            late_payloads: stats.late_payloads,
        }
    }
}
