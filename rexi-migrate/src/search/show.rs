//! What a search shows while it runs, once it takes longer than two seconds: a bar on a terminal, a line every ten
//! seconds elsewhere. Standard error only, since standard output belongs to the report.

use std::time::{Duration, Instant};

use super::model::{Options, Tally};
use crate::screen::Screen;

/// A search's progress. How many states there are nobody knows before the end, so what is shown as left is what the
/// bounds of time and states leave at most.
#[derive(Debug)]
pub struct Bar {
    what: String,
    started: Instant,
    shown: Option<Instant>,
    /// Made once there is something to show.
    screen: Option<Screen>,
    quiet: bool,
    states_max: u64,
    time_max: Option<Duration>,
}

impl Bar {
    /// Progress of the search of `what` within `options`; nothing is shown with `quiet`.
    pub fn new(what: impl Into<String>, options: &Options, quiet: bool) -> Self {
        let (states_max, time_max) = (options.states_max, options.time_max);
        let (started, what) = (Instant::now(), what.into());
        Self { what, started, shown: None, screen: None, quiet, states_max, time_max }
    }

    /// Takes the counts so far.
    pub fn show(&mut self, tally: &Tally) {
        let elapsed = self.started.elapsed();
        if self.quiet || elapsed < SILENT {
            return;
        }
        let screen = self.screen.get_or_insert_with(Screen::new);
        let recent = |shown: Instant| screen.pause().is_none_or(|pause| shown.elapsed() < pause);
        if self.shown.is_some_and(recent) {
            return;
        }
        self.shown = Some(Instant::now());
        let text = self.text(tally, elapsed);
        if let Some(screen) = &self.screen {
            screen.say(text);
        }
    }

    fn text(&self, tally: &Tally, elapsed: Duration) -> String {
        let rate = crate::screen::per_second(tally.states, elapsed).max(1);
        let by_states = Duration::from_secs(self.states_max.saturating_sub(tally.states) / rate);
        let by_time = self.time_max.map_or(Duration::MAX, |time| time.saturating_sub(elapsed));
        let left = by_states.min(by_time).as_secs();
        format!(
            "{}: {} states, {rate}/s, {} open, depth {}, {} s, at most {left} s left",
            self.what,
            tally.states,
            tally.open,
            tally.depth,
            elapsed.as_secs()
        )
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(screen) = &self.screen {
            screen.clear();
        }
    }
}

/// For how long nothing is shown.
const SILENT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_the_rate_and_what_the_bounds_leave_at_most() {
        let options = Options { states_max: 3_000, time_max: Some(Duration::from_secs(60)), ..Options::default() };
        let bar = Bar::new("jobs", &options, true);
        let tally = Tally { states: 1_000, transitions: 5_000, depth: 7, open: 12, met: Vec::new() };
        let text = bar.text(&tally, Duration::from_secs(10));
        assert_eq!(text, "jobs: 1000 states, 100/s, 12 open, depth 7, 10 s, at most 20 s left");
        let text = bar.text(&tally, Duration::from_secs(55));
        assert!(text.ends_with("at most 5 s left"), "{text}");
    }
}
