//! What a search shows while it runs, once it takes longer than two seconds: a bar on a terminal, a line every ten
//! seconds elsewhere. Standard error only, since standard output is the report's.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Options, Tally};

/// A search's progress. How many states there are nobody knows before the end, so what is shown as left is what the
/// bounds of time and states leave at most.
#[derive(Debug)]
pub struct Bar {
    what: String,
    started: Instant,
    shown: Option<Instant>,
    bar: Option<ProgressBar>,
    quiet: bool,
    states_max: u64,
    time_max: Option<Duration>,
}

impl Bar {
    /// Progress of the search of `what` within `options`; nothing is shown with `quiet`.
    pub fn new(what: impl Into<String>, options: &Options, quiet: bool) -> Self {
        let (states_max, time_max) = (options.states_max, options.time_max);
        let (started, what) = (Instant::now(), what.into());
        Self { what, started, shown: None, bar: None, quiet, states_max, time_max }
    }

    /// Takes the counts so far.
    pub fn show(&mut self, tally: &Tally) {
        let elapsed = self.started.elapsed();
        let live = std::io::stderr().is_terminal();
        let pause = if live { REFRESH } else { LINES };
        if self.quiet || elapsed < SILENT || self.shown.is_some_and(|shown| shown.elapsed() < pause) {
            return;
        }
        self.shown = Some(Instant::now());
        let text = self.text(tally, elapsed);
        if !live {
            // Nobody may be left to read it.
            let _ = writeln!(std::io::stderr(), "{text}");
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(text);
        bar.tick();
    }

    fn text(&self, tally: &Tally, elapsed: Duration) -> String {
        let rate = crate::progress::per_second(tally.states, elapsed).max(1);
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
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// For how long nothing is shown.
const SILENT: Duration = Duration::from_secs(2);

/// How often the bar changes at most.
const REFRESH: Duration = Duration::from_millis(100);

/// How often a line is written where there is no terminal.
const LINES: Duration = Duration::from_secs(10);

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
