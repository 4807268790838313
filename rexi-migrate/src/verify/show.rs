//! What a verification shows while it runs: the part under way, its rate, the time left. Standard error only.

use std::time::{Duration, Instant};

use super::budget::Part;
use crate::screen::Screen;

/// Where and how a verification is shown.
#[derive(Debug)]
pub struct Show {
    screen: Screen,
    part: String,
    left: Duration,
    begun: Instant,
    shown: Instant,
}

impl Show {
    /// A line that stays current where standard error is a terminal; where it is not, a line for each part and every
    /// ten seconds.
    pub fn new() -> Self {
        Self::with(Screen::new())
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

    /// A part begins, with this much of its own time and this much in all left.
    pub(super) fn begin(&mut self, part: Part, given: Duration, left: Duration) {
        let number = Part::ALL.iter().position(|other| *other == part).map_or(0, |at| at + 1);
        self.part = format!("part {number} of {}, {part}", Part::ALL.len());
        (self.left, self.begun, self.shown) = (left, Instant::now(), Instant::now());
        self.screen.say(format!("{}: up to {} s, {} s left of all", self.part, given.as_secs(), left.as_secs()));
    }

    /// How far the part is, as often as may be.
    pub(super) fn tick(&mut self, text: impl FnOnce(Duration) -> String) {
        let Some(pause) = self.screen.pause() else { return };
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let elapsed = self.begun.elapsed();
        let left = self.left.saturating_sub(elapsed).as_secs();
        self.screen.say(format!("{}: {}, {left} s left of all", self.part, text(elapsed)));
    }

    /// Makes room for a part that shows itself.
    pub(super) fn clear(&self) {
        self.screen.clear();
    }
}

impl Default for Show {
    fn default() -> Self {
        Self::new()
    }
}
