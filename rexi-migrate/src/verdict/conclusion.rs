//! What a run results in, at any level: safe, unsafe, or not enough evidence for either; and its exit code.

use std::process::ExitCode;

use serde::Serialize;

/// What a run means, from good to bad: of several parts, the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// It went through, nothing is broken, and the cases that matter were met.
    Safe,
    /// Not enough evidence for either.
    CouldNotTell,
    /// A breach, or a step that did not go through.
    Unsafe,
}

impl Conclusion {
    /// As a report shouts it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Safe => "SAFE",
            Self::CouldNotTell => "COULD NOT TELL",
            Self::Unsafe => "UNSAFE",
        }
    }

    /// The process's exit code: 0, 1 or 3; 2 is for wrong usage.
    pub fn code(self) -> u8 {
        match self {
            Self::Safe => 0,
            Self::Unsafe => 1,
            Self::CouldNotTell => 3,
        }
    }
}

impl From<Conclusion> for ExitCode {
    fn from(conclusion: Conclusion) -> Self {
        Self::from(conclusion.code())
    }
}
