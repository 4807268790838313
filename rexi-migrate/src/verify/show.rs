//! What a verification says while it runs: the part under way, how far it is, the time left. Standard error only.

use std::time::{Duration, Instant};

use super::budget::Part;
use crate::screen::Screen;

/// The part under way, on the screen.
#[derive(Debug)]
pub(super) struct Show {
    screen: Screen,
    pub(super) quiet: bool,
    part: String,
    ends: Instant,
}

impl Show {
    pub(super) fn new(quiet: bool) -> Self {
        Self { screen: Screen::new(quiet), quiet, part: String::new(), ends: Instant::now() }
    }

    /// A part begins, with this much of its own time and this much in all left.
    pub(super) fn begin(&mut self, part: Part, given: Duration, left: Duration) {
        let number = Part::ALL.iter().position(|other| *other == part).map_or(0, |at| at + 1);
        self.part = format!("part {number} of {}, {part}", Part::ALL.len());
        self.ends = Instant::now() + left;
        let (given, left) = (given.as_secs(), left.as_secs());
        self.screen.say(None, &format!("{}: up to {given} s, {left} s left of all", self.part));
    }

    /// How far the part is, as often as may be.
    pub(super) fn tick(&mut self, text: impl FnOnce() -> String) {
        let Self { screen, part, ends, .. } = self;
        let left = ends.saturating_duration_since(Instant::now()).as_secs();
        screen.show(None, || format!("{part}: {}, {left} s left of all", text()));
    }

    /// Makes room for a part that shows itself.
    pub(super) fn clear(&mut self) {
        self.screen.clear();
    }
}
