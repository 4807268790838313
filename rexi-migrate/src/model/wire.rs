//! A connection of two nodes, or what is left of one: each end says hello, reads, attaches and learns of its loss on
//! its own.

use rexi_proto::{Hello, Incarnation, Session};

use super::network::Way;

/// A connection. Sides are 0 for the first of its nodes and 1 for the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wire {
    /// Its nodes.
    pub between: [usize; 2],
    /// An end for each.
    pub ends: [End; 2],
    /// Nothing gets through any longer.
    pub cut: bool,
}

/// One end, and what is on its way to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// How far it has come.
    pub stage: EndStage,
    /// What the other end has sent.
    pub way: Way,
    /// How the other end has let go, where this one has yet to learn of it.
    pub parting: Option<Parting>,
    /// What was put on the way beside the protocol's own frames.
    pub planted: PlantedFrames,
}

/// How far an end has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndStage {
    /// Its own hello, and that of the other end, which is on its way; and those that its own node knew to say an
    /// old form when its hello was made.
    Opening(Box<[Hello; 2]>, Vec<Holdout>),
    /// The hellos agree; with the same nodes.
    Agreed(Session, Vec<Holdout>),
    /// It is the connection to its peer.
    Attached,
    /// It is gone.
    Closed,
}

/// A node that says the old form of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holdout {
    /// Which.
    pub node: usize,
    /// In which life.
    pub life: Incarnation,
    /// The migration's number.
    pub migration: usize,
}

/// How an end has let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parting {
    /// Without a word.
    Lost,
    /// Its node has left in good order.
    Departed,
}

/// Frames that no node sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PlantedFrames {
    /// Of an unknown kind.
    pub unknown: u64,
    /// How many of those its node has counted.
    pub counted: u64,
    /// Whether one is too long for its message.
    pub long: bool,
}

impl End {
    /// An end that has just been opened.
    pub fn opening(ours: Hello, theirs: Hello, holdouts: Vec<Holdout>) -> Self {
        let stage = EndStage::Opening(Box::new([ours, theirs]), holdouts);
        Self { stage, way: Way::default(), parting: None, planted: PlantedFrames::default() }
    }

    /// Whether it is not gone.
    pub fn is_open(&self) -> bool {
        !matches!(self.stage, EndStage::Closed)
    }

    /// Whether it is the connection to its peer.
    pub fn is_attached(&self) -> bool {
        matches!(self.stage, EndStage::Attached)
    }

    /// The life of the other end, and those that its own node knew to say an old form, while it is no connection
    /// yet.
    pub fn known_holdouts(&self) -> Option<(Incarnation, &[Holdout])> {
        match &self.stage {
            EndStage::Opening(hellos, known) => Some((hellos[1].incarnation, known)),
            EndStage::Agreed(session, known) => Some((session.incarnation, known)),
            EndStage::Attached | EndStage::Closed => None,
        }
    }
}

impl Wire {
    /// Whether it is a connection of these two.
    pub fn is_between(&self, one: usize, other: usize) -> bool {
        self.between == [one, other] || self.between == [other, one]
    }

    /// Whether an end of it is open.
    pub fn is_open(&self) -> bool {
        self.ends.iter().any(End::is_open)
    }

    /// The life of the other that this node has agreed with, where it is no connection yet.
    pub fn agreed_life(&self, node: usize) -> Option<Incarnation> {
        let end = (0..2).find(|&side| self.between[side] == node).map(|side| &self.ends[side]);
        end.and_then(|end| if let EndStage::Agreed(session, _) = &end.stage { Some(session.incarnation) } else { None })
    }

    /// The node of a side, and that of the other.
    pub fn of(&self, side: usize) -> (usize, usize) {
        (self.between[side], self.between[1 - side])
    }

    /// Whether both ends are attached, and what they say gets there.
    pub fn is_attached(&self) -> bool {
        !self.cut && self.ends.iter().all(End::is_attached)
    }

    /// How an open end would learn that its connection is gone.
    pub fn loss(&self, side: usize) -> Option<Parting> {
        let end = &self.ends[side];
        let parting = if self.cut { Some(Parting::Lost) } else { end.parting };
        parting.filter(|_| end.is_open())
    }
}
