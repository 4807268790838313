//! What a verification shows while it runs: the part under way, its rate, the time left. Standard error only.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::budget::Part;

/// Where and how a verification is shown.
#[derive(Debug)]
pub struct Show {
    screen: Screen,
    part: String,
    left: Duration,
    begun: Instant,
    shown: Instant,
}

#[derive(Debug)]
enum Screen {
    Live(ProgressBar),
    Lines,
    Nothing,
}

impl Show {
    /// A line that stays current where standard error is a terminal; where it is not, a line for each part and every
    /// ten seconds.
    pub fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::with(Screen::Lines);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::with(Screen::Live(bar))
    }

    /// Shows nothing.
    pub fn quiet() -> Self {
        Self::with(Screen::Nothing)
    }

    fn with(screen: Screen) -> Self {
        let now = Instant::now();
        Self { screen, part: String::new(), left: Duration::ZERO, begun: now, shown: now }
    }

    /// Whether nothing is to be shown.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.screen, Screen::Nothing)
    }

    /// A part begins, with so much of its own and so much of all left.
    pub(super) fn begin(&mut self, part: Part, given: Duration, left: Duration) {
        let number = Part::ALL.iter().position(|other| *other == part).map_or(0, |at| at + 1);
        self.part = format!("part {number} of {}, {part}", Part::ALL.len());
        (self.left, self.begun, self.shown) = (left, Instant::now(), Instant::now());
        let text = format!("{}: up to {} s, {} s left of all", self.part, given.as_secs(), left.as_secs());
        match &self.screen {
            Screen::Live(bar) => bar.set_message(text),
            Screen::Lines => line(&text),
            Screen::Nothing => {}
        }
    }

    /// How far the part is, as often as may be.
    pub(super) fn tick(&mut self, text: impl FnOnce(Duration) -> String) {
        let pause = match self.screen {
            Screen::Live(_) => REFRESH,
            Screen::Lines => LINES,
            Screen::Nothing => return,
        };
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let elapsed = self.begun.elapsed();
        let left = self.left.saturating_sub(elapsed).as_secs();
        let text = format!("{}: {}, {left} s left of all", self.part, text(elapsed));
        match &self.screen {
            Screen::Live(bar) => bar.set_message(text),
            Screen::Lines => line(&text),
            Screen::Nothing => {}
        }
    }

    /// Makes room for a part that shows itself.
    pub(super) fn clear(&self) {
        if let Screen::Live(bar) = &self.screen {
            bar.finish_and_clear();
        }
    }
}

impl Default for Show {
    fn default() -> Self {
        Self::new()
    }
}

/// Where standard error is gone (a closed terminal), the run goes on to its end.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// How often the live line changes at most.
const REFRESH: Duration = Duration::from_millis(100);

/// How often a line is written where there is no terminal.
const LINES: Duration = Duration::from_secs(10);
