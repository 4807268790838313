//! Standard error while something runs: one line that stays current on a terminal, lines elsewhere, or nothing.
//!
//! In: what is under way, in words, and how much of it is done, where that is known. What is said is up to the user of
//! this module; how often, where, and whether at all is decided here.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::columns::each_line;

/// Where progress goes. What is live is taken away when this is dropped.
#[derive(Debug)]
pub(crate) struct Screen {
    place: Place,
    /// For how long nothing is shown.
    silent: Duration,
    /// How often a line is written where there is no terminal, besides those that are said.
    lines: Option<Duration>,
    begun: Instant,
    shown: Option<Instant>,
    /// Made once there is something to show.
    bar: Option<ProgressBar>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Terminal,
    /// A file or a pipe.
    Lines,
    Nowhere,
}

impl Screen {
    /// A live line where standard error is a terminal, a line every ten seconds where it is not; nothing if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self::with(quiet, Duration::ZERO, Some(LINES))
    }

    /// The same, once it takes longer than two seconds.
    pub(crate) fn late(quiet: bool) -> Self {
        Self::with(quiet, SILENT, Some(LINES))
    }

    /// The same, but no line without a terminal except for what is said.
    pub(crate) fn steps(quiet: bool) -> Self {
        Self::with(quiet, Duration::ZERO, None)
    }

    fn with(quiet: bool, silent: Duration, lines: Option<Duration>) -> Self {
        let place = match std::io::stderr().is_terminal() {
            _ if quiet => Place::Nowhere,
            true => Place::Terminal,
            false => Place::Lines,
        };
        Self { place, silent, lines, begun: Instant::now(), shown: None, bar: None }
    }

    /// How far it is, as often as may be; `done` is a share of 1.
    pub(crate) fn show(&mut self, done: Option<f64>, text: impl FnOnce() -> String) {
        let pause = match self.place {
            Place::Terminal => Some(REFRESH),
            Place::Lines => self.lines,
            Place::Nowhere => None,
        };
        let Some(pause) = pause else { return };
        if self.begun.elapsed() >= self.silent && self.shown.is_none_or(|shown| shown.elapsed() >= pause) {
            self.say(done, &text());
        }
    }

    /// Something new is under way: said at once.
    pub(crate) fn say(&mut self, done: Option<f64>, text: &str) {
        self.shown = Some(Instant::now());
        match self.place {
            Place::Terminal => {
                let bar = self.bar.get_or_insert_with(|| bar(done.is_some()));
                if let Some(done) = done {
                    bar.set_position((done * 100.0) as u64);
                }
                bar.set_message(text.to_owned());
            }
            Place::Lines => line(text),
            Place::Nowhere => {}
        }
    }

    /// Something to keep, such as a seed.
    pub(crate) fn note(&self, text: &str) {
        match (&self.bar, self.place) {
            (_, Place::Nowhere) => {}
            (Some(bar), _) => bar.suspend(|| line(text)),
            (None, _) => line(text),
        }
    }

    /// Takes the live line away; it comes back with the next word.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A live line, with a bar in front where it is known how much is done.
fn bar(measured: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr_with_hz(10));
    let template = if measured { "{bar:30} {percent}% {wide_msg}" } else { "{spinner} {wide_msg}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A line of standard error that stays, wrapped. Where that is gone (a closed terminal), the run goes on to its end.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", each_line(text));
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

/// For how long a screen that is late shows nothing.
const SILENT: Duration = Duration::from_secs(2);

/// How often the live line changes at most.
const REFRESH: Duration = Duration::from_millis(100);

/// How often a line is written where there is no terminal.
const LINES: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_rounded_down_and_needs_no_time_to_pass() {
        assert_eq!(per_second(6000, Duration::from_millis(500)), 12_000);
        assert_eq!(per_second(1, Duration::from_secs(2)), 0);
        assert_eq!(per_second(0, Duration::ZERO), 0);
        assert_eq!(per_second(u64::MAX, Duration::ZERO), u64::MAX);
    }

    #[test]
    fn a_text_is_made_only_when_it_is_shown() {
        let made = |mut screen: Screen, place| {
            screen.place = place;
            let mut made = 0;
            (0..3).for_each(|_| {
                screen.show(None, || {
                    made += 1;
                    String::new()
                });
            });
            made
        };
        assert_eq!(made(Screen::new(true), Place::Nowhere), 0, "quiet");
        assert_eq!(made(Screen::late(false), Place::Lines), 0, "not two seconds old");
        assert_eq!(made(Screen::steps(false), Place::Lines), 0, "only what is said");
        assert_eq!(made(Screen::new(false), Place::Lines), 1, "once in ten seconds");
    }
}
