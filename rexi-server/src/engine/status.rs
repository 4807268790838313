//! What a node can say of itself and of its members at any time. Reading it changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rexi_proto::record::Kept;
use rexi_proto::{
    Incarnation, LimitingFactor, MigrationKey, NodeName, PeerStats, Phase, Presence, Refusal, StreamTimeouts, Total,
};

/// A node as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its name.
    pub name: NodeName,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its release.
    pub release: semver::Version,
    /// The phase of each migration, and what limits it: rexi's own first.
    pub rollouts: Vec<RolloutStatus>,
    /// Whether it takes no new casts.
    pub draining: bool,
    /// Jobs that its servers run now.
    pub jobs: usize,
    /// Calls that it has open now.
    pub calls: usize,
    /// Reply streams that its jobs have asked for or opened.
    pub streams: usize,
    /// Streams that ended since their callers did not drive them in time, since the start.
    pub stream_timeouts: StreamTimeouts,
    /// Requests that wait for the singleton.
    pub singleton_queue: usize,
    /// Datagrams that belonged to no connection, from addresses that no member has.
    pub stray_datagrams: u64,
    /// When its own authorities no longer accept its certificate, to the second: see
    /// [`Identity::expires`](crate::Identity::expires).
    pub certificate_expires: SystemTime,
    /// How often its identity was changed since the start.
    pub identity_changes: u64,
    /// Why the files of its identity are not followed, for as long as they are not; the last good identity is in use.
    pub identity_error: Option<String>,
    /// What it keeps of its cluster's record, as it is on its disk; `None` where it keeps none.
    pub record: Option<Arc<Kept>>,
    /// Whether a write of it has failed since the start: the node says no to every change until it is started again.
    pub record_is_broken: bool,
    /// Casts that its allow-list has denied since the start, of all members.
    pub denied_casts: u64,
    /// What is left of each total over all peers, beyond what is kept for each as its floor. At 0, peers that hold more
    /// than their floor are refused more; others are not.
    pub pool_left: [(Total, usize); Total::ALL.len()],
    /// The members, by name, the node itself among them.
    pub peers: Vec<PeerStatus>,
}

impl NodeStatus {
    /// Why no member takes this node, where none does and not for want of being there: each that answers has turned it
    /// away, or may not speak with it by its release, and it was never connected to one.
    pub fn turned_away_by_all(&self) -> Option<String> {
        let others = || self.peers.iter().filter(|peer| peer.name != self.name);
        if others().any(|peer| peer.presence == PeerPresence::Connected) {
            return None;
        }
        let never_connected = others().all(|peer| peer.incarnation.is_none());
        let refuses = |peer: &&PeerStatus| {
            peer.turned_away || never_connected && matches!(peer.presence, PeerPresence::Refused(_))
        };
        let reason = |peer: &PeerStatus| {
            let reason = peer.last_error.as_deref().unwrap_or("it does not say why");
            format!("{}: {reason}", peer.name)
        };
        let reasons: Vec<String> = others().filter(refuses).map(reason).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RolloutStatus {
    /// The migration.
    pub migration: MigrationKey,
    /// What the node says now.
    pub phase: Phase,
    /// What keeps the phase from being higher.
    pub limiting_factor: LimitingFactor,
}

/// A member as it is now, seen from here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its name.
    pub name: NodeName,
    /// Where it is dialed; `None` for the node itself, and where that is not known.
    pub address: Option<SocketAddr>,
    /// Whether it is there.
    pub presence: PeerPresence,
    /// Whether it has said that it leaves: casts to it are refused with `ExitReason::Draining`, until its next life.
    pub draining: bool,
    /// The life of it that connected last: a peer that restarts may look connected until the new life has.
    pub incarnation: Option<Incarnation>,
    /// The life that this node is to it: its own, or a later one where the peer had met a later one of its name.
    pub known_as: Incarnation,
    /// The release that it last connected with.
    pub release: Option<String>,
    /// Why the last try to connect failed, or why there is no address to dial, until it is connected.
    pub last_error: Option<String>,
    /// Whether the peer has turned this node away for who it is, in the last try to connect: `last_error` says why.
    pub turned_away: bool,
    /// The verdict of the last handshake, if it was a refusal, until one succeeds.
    pub refusal: Option<Refusal>,
    /// Casts of it that the allow-list has denied since the start.
    pub denied_casts: u64,
    /// Counts.
    pub stats: PeerStats,
}

/// Whether a member is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerPresence {
    /// Connected.
    Connected,
    /// Not connected; what is sent to it waits.
    Away,
    /// Not connected for longer than the stability period; what is sent to it is answered at once.
    Gone,
    /// The two releases may not speak; what is sent to it is answered at once.
    Refused(Box<Refusal>),
}

impl From<&Presence> for PeerPresence {
    fn from(presence: &Presence) -> Self {
        match presence {
            Presence::Up(..) => Self::Connected,
            Presence::Away(_) => Self::Away,
            Presence::Gone => Self::Gone,
            Presence::Refused(refusal) => Self::Refused(refusal.clone()),
        }
    }
}
