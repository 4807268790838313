//! Standard error while something runs: one line that stays current on a terminal, lines elsewhere, or nothing. What is
//! said, and how often, is up to the user of this module: a rehearsal, a search, a verification.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress goes.
#[derive(Debug)]
pub(crate) enum Screen {
    Live(ProgressBar),
    Lines,
    Nothing,
}

impl Screen {
    /// A live line where standard error is a terminal, lines where it is not.
    pub(crate) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Live(bar)
    }

    /// How long to wait before more is said of the same; `None` where nothing is shown.
    pub(crate) fn pause(&self) -> Option<Duration> {
        match self {
            Self::Live(_) => Some(REFRESH),
            Self::Lines => Some(LINES),
            Self::Nothing => None,
        }
    }

    /// Puts a text in place of the live line, or a line behind the others.
    pub(crate) fn say(&self, text: String) {
        match self {
            Self::Live(bar) => bar.set_message(text),
            Self::Lines => line(&text),
            Self::Nothing => {}
        }
    }

    /// Takes the live line away.
    pub(crate) fn clear(&self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// A line of standard error. Where that is gone (a closed terminal), the run goes on to its own end.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `count` in `time`, a second; 0 where no time has passed.
pub(crate) fn per_second(count: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000 / time.as_micros().max(1)).unwrap_or(u64::MAX)
}

/// A number with a comma between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How often the live line changes at most.
pub(crate) const REFRESH: Duration = Duration::from_millis(100);

/// How often a line is written where there is no terminal.
const LINES: Duration = Duration::from_secs(10);
