//! The steps of a command, each a question to some members.

/// What is being waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// What all keep.
    Read,
    /// Members that were behind take the record.
    Spread,
    /// Attempts before a forgetting are closed, and the member is fenced off.
    Freeze(u64),
    /// The first yes.
    Turnstile,
    /// All others.
    Vote,
    /// The record.
    Commit,
    /// One member closes the attempt.
    Close(u64),
    /// The others let go of it.
    Abort(u64),
    /// All let go of a first record that a member was to have who is forgotten.
    Undo(u64),
    /// The brake.
    Brake,
    /// Nothing more.
    Over,
}
