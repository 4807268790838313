//! The interleavings without which a search of hellos proves nothing.

/// Declares each case with the bit that stands for it.
macro_rules! cases {
    ($($name:ident $sentence:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Case { $($name,)+ }

        /// Every case, as what it counts.
        pub(super) const CASES: [&str; [$(Case::$name,)+].len()] = [$($sentence,)+];
    };
}

cases! {
    EarlierLife "hellos of an earlier life read after one of a later",
    EarlierWord "announcements read on an older connection after the hello of a newer one",
    PhaseMoved "phases moved between hello and attachment",
    OfThePast "connections to an earlier life let go when the later one was attached",
    Refused "handshakes refused",
    Raised "phases raised over a change of cast target",
    LoweringRefused "lowerings refused",
    HoldoutNamed "removers kept out by a holdout",
    Replaced "connections replaced by a newer one",
}

/// Cases that take a third node.
pub(super) const OF_THREE: [Case; 1] = [Case::HoldoutNamed];

impl Case {
    pub(super) const fn bit(self) -> u64 {
        1 << self as u64
    }
}
