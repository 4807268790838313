//! A connection of the two nodes, or what is left of one. Each end attaches and learns of its loss on its own.

use bytes::Bytes;
use rexi_proto::{BulkId, ConnectionId, Incarnation, Session};

/// A connection. Side 0 is the first node's.
#[derive(Debug)]
pub(super) struct Link {
    /// Whose it is: the lives that have said hello.
    pub(super) lives: [Incarnation; 2],
    pub(super) ends: [End; 2],
    /// What is on its way to each side.
    pub(super) ways: [Way; 2],
    /// Nothing gets through any longer.
    pub(super) cut: bool,
}

/// One end.
#[derive(Debug)]
pub(super) enum End {
    /// The hellos agree.
    Agreed(Box<Session>),
    /// It is the connection to the peer.
    Attached(ConnectionId),
    /// Another is, and what this one still brings comes late.
    Replaced(ConnectionId),
    /// It is gone.
    Closed,
}

/// What is on its way to one end.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) lane: Vec<u8>,
    /// Payloads that have a place in transfer, or wait for one, and whether the sender was told that it has arrived.
    pub(super) bulk: Vec<(BulkId, Bytes, bool)>,
    /// Those that are here and wait for their frames.
    pub(super) held: Vec<BulkId>,
    /// How the other end has let go.
    pub(super) parting: Option<Parting>,
}

/// How an end has let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// Without a word.
    Lost,
    /// Its node has left in good order.
    Departed,
}

impl Link {
    /// The connection of an end that is, or was, the one to the peer.
    pub(super) fn connection(&self, side: usize) -> Option<ConnectionId> {
        match self.ends[side] {
            End::Attached(connection) | End::Replaced(connection) => Some(connection),
            End::Agreed(_) | End::Closed => None,
        }
    }

    pub(super) fn is_attached(&self, side: usize) -> bool {
        matches!(self.ends[side], End::Attached(_))
    }

    pub(super) fn is_closed(&self, side: usize) -> bool {
        matches!(self.ends[side], End::Closed)
    }

    /// Whether it is the connection of both, and what they say gets there.
    pub(super) fn is_sound(&self) -> bool {
        let attached = (0..2).all(|side| self.is_attached(side) && self.ways[side].parting.is_none());
        attached && !self.cut
    }

    /// How an end would learn that it is gone, if it is.
    pub(super) fn loss(&self, side: usize) -> Option<Parting> {
        let parting = if self.cut { Some(Parting::Lost) } else { self.ways[side].parting };
        parting.filter(|_| !self.is_closed(side))
    }
}
