//! The cases without which a search of records proves nothing.

/// A case, by its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Done,
    Theirs,
    Refused,
    UnderWay,
    Aborted,
    Blocked,
    Deserted,
    CrashedWritten,
    CrashedUnwritten,
    WriteFailed,
    Learned,
    Left,
    CameBack,
}

/// The same, as what they count, in the order of their bits.
pub(super) const SENTENCES: [&str; 13] = [
    "changes of the record done",
    "operators told of another's change",
    "changes of the record refused",
    "changes of the record left under way",
    "changes of the record given up",
    "changes of the record that only a member away can end",
    "drivers of a change killed",
    "processes killed with a record written and unanswered",
    "processes killed with a record unwritten",
    "writes of a record that failed",
    "records learned from a member",
    "processes that left for what they learned",
    "forgotten members that came back",
];
