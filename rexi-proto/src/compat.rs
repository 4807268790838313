//! One row per message: since when it is accepted, since when it is emitted, when it is retired.
//!
//! Every decision whether a frame may be sent or understood is taken from this table and nowhere else, so that the
//! verifier can read it too. A message's life: accept first, emit one release later at the earliest, retire last. Rows
//! name wire versions, not releases: a pair speaks one version that both know, so a version that brings a message may
//! emit it as well.
//! rexi's `kill_all` was emitted on the day it was introduced, and old nodes backed up (G6 of docs/safety.md).

use crate::version::WireVersion;

/// The kind of a frame: the lower six bits of its first byte. Numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the kind of the message of the same name")]
pub enum Kind {
    Hello = 0,
    Cast = 1,
    Kill = 2,
    KillAll = 3,
    Reply = 4,
    Exit = 5,
    NoSuchServer = 6,
    NoSuchFunction = 7,
    Ping = 8,
    Monitor = 9,
    Demonitor = 10,
    Down = 11,
    Resume = 12,
    Announce = 13,
    Draining = 14,
    Unsupported = 15,
    StreamInit = 16,
    Item = 17,
    Question = 18,
    StreamStart = 19,
    StreamCancel = 20,
    Ack = 21,
    Response = 22,
    Sent = 23,
    TaggedReply = 24,
    Items = 25,
}

/// A message's life across wire versions. Release 1.0 brought v1, 1.1 brought v2, 2.0 brought v3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The message.
    pub kind: Kind,
    /// The first version in which a node understands it.
    pub accepted_since: WireVersion,
    /// The first version in which a node may send it; never before `accepted_since`. `None`: no version yet.
    pub emitted_since: Option<WireVersion>,
    /// The first version that no longer has it.
    pub retired_in: Option<WireVersion>,
}

/// Every message's row.
pub const ROWS: [Row; 25] = [
    row(Kind::Cast, WireVersion::V1),
    row(Kind::Kill, WireVersion::V1),
    row(Kind::KillAll, WireVersion::V2),
    row(Kind::Reply, WireVersion::V1),
    row(Kind::Exit, WireVersion::V1),
    Row { retired_in: Some(WireVersion::V3), ..row(Kind::NoSuchServer, WireVersion::V2) },
    row(Kind::NoSuchFunction, WireVersion::V1),
    row(Kind::Ping, WireVersion::V1),
    row(Kind::Monitor, WireVersion::V1),
    row(Kind::Demonitor, WireVersion::V1),
    row(Kind::Down, WireVersion::V1),
    row(Kind::Resume, WireVersion::V1),
    row(Kind::Announce, WireVersion::V1),
    row(Kind::Draining, WireVersion::V1),
    row(Kind::Unsupported, WireVersion::V1),
    row(Kind::StreamInit, WireVersion::V1),
    row(Kind::Item, WireVersion::V1),
    row(Kind::Question, WireVersion::V1),
    row(Kind::StreamStart, WireVersion::V1),
    row(Kind::StreamCancel, WireVersion::V1),
    row(Kind::Ack, WireVersion::V1),
    row(Kind::Response, WireVersion::V1),
    row(Kind::Sent, WireVersion::V1),
    // The receiving half of a change of the original's that was taken back half way (R30 of docs/rexi.md): a node
    // that understood only one of the two forms would hold a sender of the other to it.
    Row { emitted_since: None, ..row(Kind::TaggedReply, WireVersion::V1) },
    row(Kind::Items, WireVersion::V1),
];

const fn row(kind: Kind, since: WireVersion) -> Row {
    Row { kind, accepted_since: since, emitted_since: Some(since), retired_in: None }
}

/// The kind of this number, if the negotiated version has it.
pub fn accepted(kind: u8, version: WireVersion) -> Option<Kind> {
    ROWS.iter().find(|row| row.kind as u8 == kind && row.lives(row.accepted_since, version)).map(|row| row.kind)
}

/// Whether a node may send this kind where this version was negotiated.
pub fn emitted(kind: Kind, version: WireVersion) -> bool {
    ROWS.iter().any(|row| row.kind == kind && row.emitted_since.is_some_and(|since| row.lives(since, version)))
}

impl Row {
    fn lives(&self, since: WireVersion, version: WireVersion) -> bool {
        version >= since && self.retired_in.is_none_or(|retired| version < retired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSIONS: [WireVersion; 3] = [WireVersion::V1, WireVersion::V2, WireVersion::V3];

    #[test]
    fn what_is_emitted_is_accepted() {
        for row in ROWS {
            let since = row.emitted_since.unwrap_or(row.accepted_since);
            assert!(row.accepted_since <= since, "{row:?}");
            assert!(row.retired_in.is_none_or(|retired| retired > since), "{row:?}");
            for version in VERSIONS {
                if emitted(row.kind, version) {
                    assert_eq!(accepted(row.kind as u8, version), Some(row.kind), "{version}");
                }
            }
        }
    }

    #[test]
    fn each_kind_has_one_row_and_the_table_says_what_the_design_says() {
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, i + 1);
        }
        assert!(!emitted(Kind::KillAll, WireVersion::V1));
        assert!(emitted(Kind::KillAll, WireVersion::V2));
        assert_eq!(accepted(Kind::NoSuchServer as u8, WireVersion::V3), None);
        assert_eq!(accepted(Kind::Hello as u8, WireVersion::V3), None, "a second hello is no message");
        for version in VERSIONS {
            assert_eq!(accepted(Kind::TaggedReply as u8, version), Some(Kind::TaggedReply));
            assert!(!emitted(Kind::TaggedReply, version));
        }
        assert_eq!(accepted(200, WireVersion::V3), None);
    }
}
