//! What the tool of an operator asks a member, and what members tell of themselves for it.
//!
//! ```text
//!   tool ── OperatorAsk ──► one member ── Question (record/) ──► all members, itself included
//!        ◄─ OperatorReply ──            ◄─ RecordReply ───────
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::compat::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::function::Release;
use crate::migration::MigrationKey;
use crate::name::NodeName;
use crate::phase::Phase;
use crate::record::{Answer, ClusterChange, CommandOutcome, Digest, OperatorCommand, SeenLife, ceilings_told};
use crate::wire::FrameReader;

/// What an operator's tool asks a member. One ask, one stream; its end ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorAsk {
    /// What members are and keep: this one, or all that it lists.
    Look {
        /// Whether all are asked.
        all: bool,
        /// Who is not: it is known to be down, and would only be waited for.
        but: Option<NodeName>,
    },
    /// To carry a command.
    Command {
        /// The command.
        command: OperatorCommand,
        /// The record that the operator has looked at: the command is not begun on another.
        looked_at: Option<Digest>,
        /// Checks that were passed over, each with the operator's reason. For the trail.
        ignored: BTreeMap<String, String>,
    },
    /// The trail of this one, or of all that it lists: the newest lines, as many as have room in a reply.
    Trail {
        /// Whether all are asked.
        all: bool,
        /// From the first line that is of this time, in seconds since 1970.
        since: u64,
    },
}

/// What a member says to an [`OperatorAsk`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorReply {
    /// What each member is and keeps, or why it did not say.
    Looks(BTreeMap<NodeName, Result<MemberLook, String>>),
    /// What came of the command.
    Outcome(CommandOutcome),
    /// The lines of each member's trail, oldest first, or why it did not give them.
    Trails(BTreeMap<NodeName, Result<String, String>>),
    /// This operator may not. It is in the trail.
    Denied {
        /// The operator, by the certificate.
        operator: String,
        /// What was asked, in a word.
        verb: String,
    },
    /// The member keeps no record.
    Unkept,
    /// The command was not carried: what was asked could not be put down in the trail first.
    NoTrail(String),
}

/// What a member tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberLook {
    /// What its keeper answers, from the disk; `None` where it keeps no record.
    pub answer: Option<Answer>,
    /// The cluster that it is of.
    pub cluster: Arc<str>,
    /// What it is.
    pub life: SeenLife,
    /// Its release in full.
    pub version: Version,
    /// The rexi that it is built with: [`REXI`] there.
    pub rexi: Version,
    /// The releases of its train, oldest first.
    pub stops: Vec<Release>,
    /// Who it takes for members, itself included.
    pub members: BTreeSet<NodeName>,
    /// Where it stands in each migration.
    pub phases: Vec<PhaseLook>,
    /// Its connection to each other member.
    pub peers: BTreeMap<NodeName, PeerLook>,
    /// Its singleton, if its release runs one.
    pub singleton: Option<SingletonLook>,
    /// Who says from outside how far its migrations may go, if somebody does.
    pub source: Option<SourceLook>,
    /// Jobs that its servers run.
    pub jobs: u64,
    /// For how many milliseconds the oldest of them has run, of those that have had to wait for something.
    pub oldest_job_ms: Option<u64>,
    /// How many milliseconds it gives jobs when it leaves.
    pub drain_limit_ms: u64,
    /// Calls that it has open.
    pub calls: u64,
    /// Whether it is leaving.
    pub draining: bool,
    /// What keeps it from being ready, by the check's name: the service's own checks among them.
    pub unready: BTreeMap<String, String>,
    /// Why it should not stop now, by the service's own checks.
    pub holds: BTreeMap<String, String>,
    /// Why its disk did not take a probe, if it did not.
    pub disk_problem: Option<String>,
    /// When its certificate expires, in seconds since 1970.
    pub certificate_expires: u64,
    /// Its clock, in microseconds since 1970.
    pub clock: u64,
    /// What is left of the scarcest total over all peers, in percent.
    pub pool_left: u8,
}

/// Where a member stands in a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseLook {
    /// The migration.
    pub migration: MigrationKey,
    /// What it says now.
    pub phase: Phase,
    /// The highest phase of its release.
    pub highest: Phase,
    /// What keeps the phase from being higher, in words; `None` where it is the release.
    pub limit: Option<String>,
}

/// What a member hears from its flag source: a file, a flag service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLook {
    /// Why it was not followed when it was last asked, if it was not: it is silent, or says what cannot be had.
    pub problem: Option<String>,
    /// The highest phase of each migration by its last good word.
    pub ceilings: BTreeMap<MigrationKey, Phase>,
}

/// A member's connection to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLook {
    /// Whether it is connected.
    pub is_connected: bool,
    /// Why not, if that is known.
    pub problem: Option<String>,
}

/// A member's singleton.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingletonLook {
    /// Requests that wait for it.
    pub queue: u64,
    /// Jobs that it runs.
    pub jobs: u64,
    /// Milliseconds since the last request came; since the node's start, where none has.
    pub quiet_ms: u64,
}

impl OperatorAsk {
    /// What is asked in a word, as an operator is allowed it.
    pub fn verb(&self) -> &'static str {
        let command = match self {
            Self::Look { .. } => return "status",
            Self::Trail { .. } => return "history",
            Self::Command { command, .. } => command,
        };
        match command {
            OperatorCommand::Make(change) => match change {
                ClusterChange::Begin { .. } => "init",
                ClusterChange::Open { .. } | ClusterChange::Cap(_) => "advance",
                ClusterChange::Lift(_) => "lift",
                ClusterChange::Finalize { .. } => "finalize",
                ClusterChange::Forget { .. } => "forget",
            },
            OperatorCommand::Resume => "resume",
            OperatorCommand::Abort => "abort",
            OperatorCommand::Brake(_) => "hold",
        }
    }

    /// What is asked in words.
    pub fn told(&self) -> String {
        match self {
            Self::Command { command: OperatorCommand::Make(change), .. } => change.told(),
            Self::Command { command: OperatorCommand::Brake(ceilings), .. } => {
                format!("hold {}", ceilings_told(ceilings))
            }
            other => other.verb().to_owned(),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`EncodeError`] where there are more than [`OPERATOR_ASK_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        encode(self, OPERATOR_ASK_BYTES_MAX)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not a canonical ask.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }
}

impl OperatorReply {
    /// Its bytes.
    ///
    /// # Errors
    /// [`EncodeError`] where there are more than [`OPERATOR_REPLY_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        encode(self, OPERATOR_REPLY_BYTES_MAX)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not a canonical reply.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }
}

/// A line of a member's trail, which is written as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailLine {
    /// Seconds since 1970, by the member's clock.
    pub at: u64,
    /// The operator, by the certificate.
    pub by: String,
    /// The certificate's SHA-256, in hexadecimal digits.
    pub fingerprint: String,
    /// The address that it came from.
    pub from: String,
    /// What was asked, in a word of [`VERBS`].
    pub verb: String,
    /// What was asked, in words.
    pub told: String,
    /// Checks that were passed over, each with the operator's reason.
    pub ignored: BTreeMap<String, String>,
    /// What came of it; `None` in the line that was written before it was done.
    pub outcome: Option<String>,
    /// The digest of the line before, in hexadecimal digits; all zeros in a member's first.
    pub previous: String,
}

/// Every word that an operator may be allowed.
pub const VERBS: [&str; 10] =
    ["status", "history", "init", "advance", "hold", "lift", "finalize", "resume", "abort", "forget"];

/// The version of these crates, which all have one.
pub const REXI: &str = env!("CARGO_PKG_VERSION");

/// What an operator's certificate names the operator by, as a URI: this, then the name.
pub const OPERATOR_URI: &str = "rexi:operator:";

/// The protocol of the operators' endpoint, as TLS negotiates it.
pub const OPERATE_ALPN: &[u8] = b"rexi-operate/1";

fn encode(said: &impl Serialize, max: u32) -> Result<Vec<u8>, EncodeError> {
    let bytes = postcard::to_allocvec(said).expect("a vector takes what is written");
    match u32::try_from(bytes.len()) {
        Ok(length) if length <= max => Ok(bytes),
        _ => Err(EncodeError::TooLong { bytes: bytes.len(), max }),
    }
}

fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    FrameReader::new(Kind::Hello, bytes).only_with_maps()
}

/// Bytes of what an operator asks.
pub const OPERATOR_ASK_BYTES_MAX: u32 = 64 << 10;

/// Bytes of a reply to an operator: a look at 256 members, each with what it keeps.
pub const OPERATOR_REPLY_BYTES_MAX: u32 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ask_is_allowed_by_a_word_that_is_known_and_read_as_it_was_written() {
        let release = Release(1, 2, 0);
        let changes = [
            ClusterChange::Begin { floor: release, top: release },
            ClusterChange::Open { top: release },
            ClusterChange::Cap(BTreeMap::new()),
            ClusterChange::Lift(BTreeMap::new()),
            ClusterChange::Finalize { floor: release },
            ClusterChange::Forget { nodes: BTreeSet::new(), loss: crate::record::Loss::Wiped },
        ];
        let others = [OperatorCommand::Resume, OperatorCommand::Abort, OperatorCommand::Brake(BTreeMap::new())];
        let commands = changes.into_iter().map(OperatorCommand::Make).chain(others);
        let ignored = || BTreeMap::from([("clocks".to_owned(), "no NTP here".to_owned())]);
        let asks = commands.map(|command| OperatorAsk::Command { command, looked_at: None, ignored: ignored() });
        let but = NodeName::new("n3").ok();
        let looks = [OperatorAsk::Look { all: true, but }, OperatorAsk::Trail { all: false, since: 1_000 }];
        let mut verbs = BTreeSet::new();
        for ask in asks.chain(looks) {
            verbs.insert(ask.verb());
            let bytes = ask.encode().expect("it is short");
            assert_eq!(OperatorAsk::decode(&bytes), Ok(ask));
            assert!(OperatorAsk::decode(&[&bytes[..], &[0]].concat()).is_err(), "a byte too many");
        }
        assert_eq!(verbs, VERBS.into());
    }

    #[test]
    fn an_ask_and_a_reply_have_bounds() {
        let ignored = |bytes: usize| BTreeMap::from([(String::new(), "x".repeat(bytes))]);
        let ask = |bytes| {
            let (command, ignored) = (OperatorCommand::Resume, ignored(bytes));
            OperatorAsk::Command { command, looked_at: None, ignored }.encode()
        };
        let spare = ask(100).expect("it is short").len() - 100;
        let most = OPERATOR_ASK_BYTES_MAX as usize - spare - 2;
        assert!(ask(most).is_ok() && ask(most + 1).is_err());
        let reply = |bytes| OperatorReply::NoTrail("x".repeat(bytes)).encode();
        assert!(reply(OPERATOR_REPLY_BYTES_MAX as usize - 5).is_ok());
        assert!(reply(OPERATOR_REPLY_BYTES_MAX as usize).is_err());
    }
}
