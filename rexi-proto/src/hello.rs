//! The handshake: the first frame each way, and the verdict that both sides compute alike.
//!
//! Illegal skew is impossible to run: two nodes may speak only if they share a wire version and each hosts the server
//! that the other sends to now. The hello itself has no version of its own to negotiate; what it may gain later goes
//! into extensions, which a node that does not know them passes over.

use bytes::BytesMut;
use semver::Version;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::compat::Kind;
use crate::error::DecodeError;
use crate::guards::Guards;
use crate::limits::HELLO_BYTES_MAX;
use crate::name::{Incarnation, NodeName};
use crate::phase::{Phase, ServerAddress, Servers};
use crate::version::{VersionRange, WireVersion};
use crate::wire::{FrameReader, FrameWriter};

/// What a node says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// Its name; the certificate must name it too.
    pub node: NodeName,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its release.
    pub release: Version,
    /// The wire versions it speaks.
    pub wire: VersionRange,
    /// What it sends to now.
    pub phase: Phase,
    /// How often its phase has changed in this incarnation.
    pub phase_epoch: u64,
    /// The highest phase that its release and its operator let it reach.
    pub ceiling: Phase,
    /// The servers it runs.
    pub hosts: Servers,
    /// The members that, as far as it knows, still send to the singleton. At most 32 are named.
    pub holdouts: Vec<NodeName>,
    /// Optional abilities, a bit each; unknown bits are ignored. None is defined yet.
    pub capabilities: u64,
    /// Bytes of the longest frame it takes.
    pub frame_bytes_max: u32,
    /// Bytes of the longest payload it takes.
    pub payload_bytes_max: u32,
}

/// What two nodes have settled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// The wire version that both will use.
    pub wire: WireVersion,
}

/// One of the two in a [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Party {
    /// Its name.
    pub node: NodeName,
    /// Its release.
    pub release: Version,
    /// Its wire versions.
    pub wire: VersionRange,
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (release {}, wire {})", self.node, self.release, self.wire)
    }
}

/// Why two nodes may not speak. Neither is at fault alone; nothing was exchanged but the hellos.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// They share no wire version: they are more than one release apart. Final for these two releases.
    #[error("no common wire version: {first} and {second} are more than one release apart")]
    NoCommonWire {
        /// The one whose name sorts first.
        first: Party,
        /// The other.
        second: Party,
    },
    /// One sends to a server that the other does not run. Final if the sender cannot be raised, otherwise try
    /// again.
    #[error(
        "server not hosted: {sender} is in phase {phase} and sends to the {server}, which {receiver} does not run{}",
        if *can_be_raised { "; it may be raised" } else { "" }
    )]
    ServerNotHosted {
        /// The one that sends.
        sender: Party,
        /// Its phase.
        phase: Phase,
        /// The server it sends to.
        server: ServerAddress,
        /// The one that does not run it.
        receiver: Party,
        /// Whether the sender's release and operator let it reach a phase in which the two may speak.
        can_be_raised: bool,
    },
    /// One has removed the singleton while a third member still sends to it. To be tried again.
    #[error("singleton still in use: {holdout} sends to it, as {witness} knows, and {remover} does not run it")]
    SingletonInUse {
        /// The member in the way.
        holdout: NodeName,
        /// Who knows of it.
        witness: Party,
        /// The one without a singleton.
        remover: Party,
    },
    /// Both claim to be the same node.
    #[error("two nodes call themselves {first}")]
    SameName {
        /// The name, with the release of either.
        first: Party,
    },
}

impl Refusal {
    /// Whether the refusal holds for as long as both keep their releases and their operators' ceilings.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NoCommonWire { .. } | Self::SameName { .. } => true,
            Self::ServerNotHosted { can_be_raised, .. } => !can_be_raised,
            Self::SingletonInUse { .. } => false,
        }
    }
}

/// Whether two nodes may speak, and how. The same whichever of the two asks.
///
/// # Errors
/// [`Refusal`] names both nodes, their releases and what stands between them.
pub fn verdict(one: &Hello, other: &Hello) -> Result<Agreement, Box<Refusal>> {
    verdict_guarded(one, other, Guards::default())
}

/// The verdict of a node by its guards.
pub(crate) fn verdict_guarded(one: &Hello, other: &Hello, guards: Guards) -> Result<Agreement, Box<Refusal>> {
    let (first, second) = if one.node <= other.node { (one, other) } else { (other, one) };
    if first.node == second.node {
        return Err(Box::new(Refusal::SameName { first: first.party() }));
    }
    let Some(wire) = guards.common_wire(first.wire, second.wire) else {
        return Err(Box::new(Refusal::NoCommonWire { first: first.party(), second: second.party() }));
    };
    for (sender, receiver) in [(first, second), (second, first)] {
        let server = sender.phase.cast_target();
        if !guards.verdict_asks_host(receiver.hosts, server) {
            return Err(Box::new(Refusal::ServerNotHosted {
                sender: sender.party(),
                phase: sender.phase,
                server,
                receiver: receiver.party(),
                can_be_raised: receiver.hosts.contains(sender.ceiling.cast_target()),
            }));
        }
    }
    // A node without a singleton meets the members one by one, and may not have met the one that still sends to it. So
    // each member also speaks for those that it knows of.
    for (remover, witness) in [(first, second), (second, first)] {
        let in_the_way = witness.holdouts.iter().find(|node| guards.holdout_counts(node, &remover.node));
        if let (false, Some(holdout)) = (remover.hosts.contains(ServerAddress::Singleton), in_the_way) {
            let (holdout, witness, remover) = (holdout.clone(), witness.party(), remover.party());
            return Err(Box::new(Refusal::SingletonInUse { holdout, witness, remover }));
        }
    }
    Ok(Agreement { wire })
}

impl Hello {
    fn party(&self) -> Party {
        Party { node: self.node.clone(), release: self.release.clone(), wire: self.wire }
    }

    /// Appends the hello to `out` as one frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let release = self.release.to_string();
        let holdouts = self.holdouts.iter().take(HOLDOUTS_MAX).map(NodeName::as_str).collect();
        let layout = self.layout(&release, holdouts);
        let start = out.len();
        let mut frame = FrameWriter::open(out, Kind::Hello as u8);
        frame.header(&layout);
        frame.close(start, HELLO_BYTES_MAX).expect("names and releases are bounded, so a hello is");
    }

    fn layout<'a>(&'a self, release: &'a str, holdouts: Vec<&'a str>) -> Layout<'a> {
        Layout {
            magic: MAGIC,
            node: self.node.as_str(),
            incarnation: self.incarnation.0,
            release,
            wire_oldest: self.wire.oldest.0,
            wire_newest: self.wire.newest.0,
            phase: phase_code(self.phase),
            phase_epoch: self.phase_epoch,
            ceiling: phase_code(self.ceiling),
            hosts: self.hosts.bits(),
            holdouts,
            capabilities: self.capabilities,
            frame_bytes_max: self.frame_bytes_max,
            payload_bytes_max: self.payload_bytes_max,
            extensions: Vec::new(),
        }
    }

    /// Reads a hello out of the first frame of a connection, its length prefix taken off.
    ///
    /// # Errors
    /// [`DecodeError`] where the frame is not a canonical hello, or describes a node that cannot be.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let kind = Kind::Hello as u8;
        let malformed = |reason: String| DecodeError::Malformed { kind, reason };
        let (&first, body) = frame.split_first().ok_or_else(|| malformed("it is empty".to_owned()))?;
        if first != kind || !body.starts_with(&MAGIC) {
            return Err(malformed(
                "it does not open with rexi's magic, so the peer speaks another protocol".to_owned(),
            ));
        }
        let layout: Layout<'_> = FrameReader::new(Kind::Hello, body).only()?;
        let name = |name: &str| NodeName::new(name).map_err(|e| malformed(e.to_string()));
        let phase = |code: u8| {
            let known = Phase::ALL.get(usize::from(code)).copied();
            known.ok_or_else(|| malformed(format!("{code} is not a phase")))
        };
        let hello = Self {
            node: name(layout.node)?,
            incarnation: Incarnation(layout.incarnation),
            release: layout.release.parse().map_err(|e: semver::Error| malformed(format!("release: {e}")))?,
            wire: VersionRange::new(WireVersion(layout.wire_oldest), WireVersion(layout.wire_newest)),
            phase: phase(layout.phase)?,
            phase_epoch: layout.phase_epoch,
            ceiling: phase(layout.ceiling)?,
            hosts: Servers::from_bits(layout.hosts).ok_or_else(|| malformed("unknown servers".to_owned()))?,
            holdouts: layout.holdouts.into_iter().map(name).collect::<Result<_, _>>()?,
            capabilities: layout.capabilities,
            frame_bytes_max: layout.frame_bytes_max,
            payload_bytes_max: layout.payload_bytes_max,
        };
        hello.check_bounds()?;
        Ok(hello)
    }

    fn check_bounds(&self) -> Result<(), DecodeError> {
        let kind = Kind::Hello as u8;
        let out_of_bounds = |field, value, allowed| Err(DecodeError::OutOfBounds { kind, field, value, allowed });
        if !self.wire.is_valid() {
            return out_of_bounds("oldest wire version", self.wire.oldest.0.into(), "1 up to the newest");
        }
        if self.frame_bytes_max < FRAME_BYTES_MAX_LEAST {
            return out_of_bounds("frame_bytes_max", self.frame_bytes_max.into(), "at least 1024");
        }
        if self.holdouts.len() > HOLDOUTS_MAX {
            return out_of_bounds("number of holdouts", self.holdouts.len() as u64, "at most 32");
        }
        if !self.hosts.contains(self.phase.cast_target()) {
            return out_of_bounds("phase", phase_code(self.phase).into(), "one that sends to a server the node runs");
        }
        Ok(())
    }
}

/// Shows the layout of a hello.
#[cfg(feature = "schema")]
pub(crate) fn show(visitor: &mut impl crate::schema::LayoutVisitor) {
    visitor.header::<Layout<'_>>(Kind::Hello);
}

/// Opens every hello, so that a stranger's bytes are named as such.
const MAGIC: [u8; 4] = *b"REXI";

/// Names that a hello may list, so that it stays below its own bound.
const HOLDOUTS_MAX: usize = 32;

/// Below this no peer could even answer.
const FRAME_BYTES_MAX_LEAST: u32 = 1_024;

fn phase_code(phase: Phase) -> u8 {
    phase as u8
}

/// Frozen since release 1.0. New fields go into `extensions` as (id, bytes).
#[derive(Serialize, Deserialize)]
struct Layout<'a> {
    magic: [u8; 4],
    node: &'a str,
    incarnation: u64,
    release: &'a str,
    wire_oldest: u16,
    wire_newest: u16,
    phase: u8,
    phase_epoch: u64,
    ceiling: u8,
    hosts: u8,
    #[serde(borrow)]
    holdouts: Vec<&'a str>,
    capabilities: u64,
    frame_bytes_max: u32,
    payload_bytes_max: u32,
    #[serde(borrow)]
    extensions: Vec<(u16, &'a [u8])>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Profile;

    fn hello(name: &str, profile: &Profile, phase: Phase) -> Hello {
        Hello {
            node: NodeName::new(name).expect("a name"),
            incarnation: Incarnation(7),
            release: profile.release().clone(),
            wire: profile.wire(),
            phase,
            phase_epoch: 0,
            ceiling: profile.highest(),
            hosts: profile.hosts(),
            holdouts: Vec::new(),
            capabilities: 0,
            frame_bytes_max: 1 << 20,
            payload_bytes_max: 4 << 20,
        }
    }

    /// Every release at every phase it may be in.
    fn hellos(name: &str) -> Vec<Hello> {
        let at = |p: &Profile, q| p.allows(q).then(|| hello(name, p, q));
        Profile::train().iter().flat_map(|p| Phase::ALL.into_iter().filter_map(move |q| at(p, q))).collect()
    }

    #[test]
    fn a_hello_survives_the_wire() {
        for mut hello in hellos("n1") {
            hello.holdouts = vec![NodeName::new("n7").expect("a name")];
            let mut bytes = BytesMut::new();
            hello.encode(&mut bytes);
            assert_eq!(Hello::decode(&bytes[4..]), Ok(hello));
        }
    }

    #[test]
    fn both_sides_compute_the_same_verdict() {
        for a in hellos("n1") {
            for b in hellos("n2") {
                assert_eq!(verdict(&a, &b), verdict(&b, &a));
            }
        }
    }

    #[test]
    fn only_neighbours_may_speak() {
        let allowed: Vec<String> = hellos("n1")
            .iter()
            .flat_map(|a| hellos("n2").into_iter().map(move |b| (a.clone(), b)))
            .filter_map(|(a, b)| {
                let agreement = verdict(&a, &b).ok()?;
                Some(format!("{} {} - {} {}: {}", a.release, a.phase, b.release, b.phase, agreement.wire))
            })
            .collect();
        let one_way = [
            "1.0.0 singleton - 1.0.0 singleton: v1",
            "1.0.0 singleton - 1.1.0 introduce: v1",
            "1.1.0 introduce - 1.0.0 singleton: v1",
            "1.1.0 introduce - 1.1.0 introduce: v2",
            "1.1.0 introduce - 1.2.0 introduce: v2",
            "1.1.0 introduce - 1.2.0 switch: v2",
            "1.2.0 introduce - 1.1.0 introduce: v2",
            "1.2.0 introduce - 1.2.0 introduce: v2",
            "1.2.0 introduce - 1.2.0 switch: v2",
            "1.2.0 switch - 1.1.0 introduce: v2",
            "1.2.0 switch - 1.2.0 introduce: v2",
            "1.2.0 switch - 1.2.0 switch: v2",
            "1.2.0 switch - 2.0.0 remove: v2",
            "2.0.0 remove - 1.2.0 switch: v2",
            "2.0.0 remove - 2.0.0 remove: v3",
        ];
        assert_eq!(allowed, one_way);
    }

    #[test]
    fn a_refusal_names_both_releases_and_whether_it_is_final() {
        let [r10, r11, r12, r20] = Profile::train();
        let refusal = |p: &Profile, phase, q: &Profile| {
            *verdict(&hello("n1", p, phase), &hello("n2", q, q.highest())).expect_err("an illegal pair")
        };
        let cases = [
            (refusal(&r10, Phase::Singleton, &r12), true, ["1.0.0", "1.2.0", "no common wire"]),
            (refusal(&r11, Phase::Introduce, &r20), true, ["1.1.0", "2.0.0", "singleton"]),
            (refusal(&r12, Phase::Introduce, &r20), false, ["1.2.0", "2.0.0", "may be raised"]),
        ];
        for (refusal, is_final, parts) in cases {
            let text = refusal.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert_eq!(refusal.is_final(), is_final, "{text}");
        }
    }

    #[test]
    fn a_third_member_at_introduce_keeps_a_remover_out_by_name() {
        let [_, _, r12, r20] = Profile::train();
        let mut witness = hello("n1", &r12, Phase::Switch);
        witness.holdouts = vec![NodeName::new("n3").expect("a name")];
        let refusal = verdict(&hello("n2", &r20, Phase::Remove), &witness).expect_err("n3 is in the way");
        assert!(refusal.to_string().starts_with("singleton still in use: n3 sends to it"), "{refusal}");
        assert!(!refusal.is_final());
        assert!(verdict(&hello("n2", &r12, Phase::Switch), &witness).is_ok(), "who hosts it is let in");
    }

    #[test]
    fn garbage_is_no_hello() {
        let mut good = BytesMut::new();
        hello("n1", &Profile::train()[0], Phase::Singleton).encode(&mut good);
        let good = &good[4..];
        for cut in 0..good.len() {
            assert!(Hello::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        assert!(matches!(Hello::decode(&[good, &[0]].concat()), Err(DecodeError::TrailingBytes { bytes: 1, .. })));
        assert!(Hello::decode(b"GET / HTTP/1.1\r\n").expect_err("http").to_string().contains("another protocol"));
        for (at, what) in [(0, "another kind"), (1, "another magic")] {
            let mut changed = good.to_vec();
            changed[at] ^= 1;
            assert!(Hello::decode(&changed).expect_err(what).to_string().contains("another protocol"), "{what}");
        }
    }

    /// What becomes of a hello on the wire, with so many holdouts whatever its sender may name.
    fn sent(hello: &Hello, holdouts: usize) -> Result<Hello, DecodeError> {
        let (mut out, release) = (BytesMut::new(), hello.release.to_string());
        let layout = hello.layout(&release, vec!["n7"; holdouts]);
        FrameWriter::open(&mut out, Kind::Hello as u8).header(&layout);
        Hello::decode(&out[4..])
    }

    #[test]
    fn a_hello_is_refused_one_beyond_its_bounds_and_not_at_them() {
        let good = hello("n1", &Profile::train()[1], Phase::Introduce);
        let field = |hello: Result<Hello, DecodeError>| match hello {
            Err(DecodeError::OutOfBounds { field, value, .. }) => Some((field, value)),
            other => {
                assert!(other.is_ok(), "{other:?}");
                None
            }
        };
        for (frame_bytes_max, found) in [(1_024, None), (1_023, Some(("frame_bytes_max", 1_023)))] {
            assert_eq!(field(sent(&Hello { frame_bytes_max, ..good.clone() }, 0)), found);
        }
        assert_eq!(field(sent(&good, 32)), None);
        assert_eq!(field(sent(&good, 33)), Some(("number of holdouts", 33)));
        let reversed = VersionRange::new(WireVersion::V2, WireVersion::V1);
        assert_eq!(field(sent(&Hello { wire: reversed, ..good.clone() }, 0)), Some(("oldest wire version", 2)));
        let elsewhere = Hello { hosts: Servers::PER_NODE, ..good };
        assert_eq!(field(sent(&elsewhere, 0)), Some(("phase", 1)), "it sends to a server that it does not run");
    }

    #[test]
    fn a_hello_names_as_many_holdouts_as_it_may() {
        let mut crowded = hello("n1", &Profile::train()[1], Phase::Introduce);
        crowded.holdouts = (0..40).map(|n| NodeName::new(format!("n{n}")).expect("a name")).collect();
        let mut bytes = BytesMut::new();
        crowded.encode(&mut bytes);
        let read = Hello::decode(&bytes[4..]).expect("it keeps to the bound");
        assert_eq!(read.holdouts, crowded.holdouts[..32]);
    }

    #[test]
    fn a_refusal_names_the_two_in_the_order_of_their_names() {
        let [r10, _, r12, _] = Profile::train();
        let (a, b) = (hello("a", &r12, Phase::Switch), hello("b", &r10, Phase::Singleton));
        let said = "no common wire version: a (release 1.2.0, wire v2) and b (release 1.0.0, wire v1) are more than \
                    one release apart";
        for refusal in [verdict(&a, &b), verdict(&b, &a)] {
            assert_eq!(refusal.expect_err("two releases apart").to_string(), said);
        }
    }

    #[test]
    fn two_nodes_of_one_name_may_never_speak() {
        let node = hello("n1", &Profile::train()[1], Phase::Introduce);
        let refusal = verdict(&node, &node).expect_err("the same name");
        assert!(matches!(&*refusal, Refusal::SameName { first } if first.node == node.node), "{refusal}");
        assert!(refusal.is_final());
    }

    #[test]
    fn a_remover_is_let_in_where_it_was_the_last_to_send_to_the_singleton() {
        let [_, _, r12, r20] = Profile::train();
        let mut witness = hello("n1", &r12, Phase::Switch);
        witness.holdouts = vec![NodeName::new("n2").expect("a name")];
        assert!(verdict(&hello("n2", &r20, Phase::Remove), &witness).is_ok(), "what is known of it is of the past");
        witness.holdouts.push(NodeName::new("n3").expect("a name"));
        assert!(verdict(&hello("n2", &r20, Phase::Remove), &witness).is_err());
    }
}
