//! The cases without which a search proves nothing (docs/safety.md), and others worth counting.

/// Declares each case with the bit that stands for it.
macro_rules! cases {
    ($($(#[$required:ident])? $name:ident $sentence:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Case { $($name,)+ }

        /// Every case, as what it counts.
        pub(super) const CASES: [&str; [$(Case::$name,)+].len()] = [$($sentence,)+];
    };
}

cases! {
    KillAcrossSwitch "kills across the switch",
    StreamOverSwitch "streams open across the switch",
    BufferedOverRelease "buffered casts delivered after their target changed release",
    RestartWithJobs "restarts with jobs in flight",
    Rollback "rollbacks",
    FlipWithJobs "phases lowered with jobs in flight",
    Refused "refused handshakes",
    Orphaned "jobs ended since their caller's life was over",
    Lost "calls lost with their connection",
    Expired "peers given up after the stability period",
    Departed "departures",
    Raised "phases raised",
    Down "monitors that fired",
    Straggler "things of an earlier connection that came late",
}

/// This many cases, the first ones, are those without which nothing is proved.
pub(super) const REQUIRED: usize = 5;

impl Case {
    pub(super) const fn bit(self) -> u64 {
        1 << self as u64
    }
}
