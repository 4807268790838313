//! What a rehearsal shows while it runs: one line that stays current on a terminal, a line a step elsewhere.
//!
//! In: the step under way and what the nodes said. Out: standard error only, since standard output belongs to the
//! report.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rehearse::cluster::Cluster;
use crate::rehearse::control::Stats;
use crate::rehearse::report::StepRow;
use crate::screen::{REFRESH, Screen, line, per_second};

/// Where and how a run is shown.
#[derive(Debug)]
pub struct Progress {
    screen: Screen,
    step: String,
    drawn: Option<Instant>,
    casts: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// A live line where standard error is a terminal, a line for each step where it is not.
    pub fn new() -> Self {
        Self::with(Screen::new())
    }

    /// Shows nothing.
    pub fn quiet() -> Self {
        Self::with(Screen::Nothing)
    }

    fn with(screen: Screen) -> Self {
        Self { screen, step: String::new(), drawn: None, casts: VecDeque::new() }
    }

    /// Something to know that is not a step, such as the seed.
    pub fn note(&self, text: &str) {
        match &self.screen {
            Screen::Live(bar) => bar.suspend(|| line(text)),
            Screen::Lines => line(text),
            Screen::Nothing => {}
        }
    }

    /// A step begins.
    pub fn begin(&mut self, row: &StepRow, of: usize) {
        self.step = format!("step {}/{of} {}", row.number, row.action());
        self.drawn = None;
    }

    /// The nodes have said something: refreshes the live line, ten times a second at most.
    pub fn show(&mut self, cluster: &Cluster) {
        let Screen::Live(bar) = &self.screen else { return };
        let now = Instant::now();
        if self.drawn.is_some_and(|drawn| now.duration_since(drawn) < REFRESH) {
            return;
        }
        self.drawn = Some(now);
        let totals = cluster.totals();
        self.casts.push_back((now, totals.casts));
        while self.casts.len() > 1 && self.casts.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW) {
            self.casts.pop_front();
        }
        let rate = self
            .casts
            .front()
            .map_or(0, |(since, casts)| per_second(totals.casts.saturating_sub(*casts), now - *since));
        bar.set_message(format!(
            "{} · {} · {rate} casts/s · in flight {} · answered {} · killed {} · lost {} · orphans {}",
            self.step,
            releases(cluster),
            totals.in_flight,
            totals.answered,
            totals.killed,
            totals.timed_out,
            orphans(&totals)
        ));
    }

    /// A step is over, or failed.
    pub fn end(&self, row: &StepRow, cluster: &Cluster) {
        let Screen::Lines = &self.screen else { return };
        let ready = row.ready_ms.map_or_else(String::new, |ms| format!(", ready in {ms} ms"));
        let rate = row.casts_per_s.map_or_else(String::new, |rate| format!(", {rate} casts/s"));
        let end = row.error.as_ref().map_or_else(String::new, |error| format!(", FAILED: {error}"));
        let totals = cluster.totals();
        line(&format!(
            "{}{ready}{rate}, in flight {}, answered {}, lost {}, orphans {} [{}]{end}",
            self.step,
            totals.in_flight,
            totals.answered,
            totals.timed_out,
            orphans(&totals),
            releases(cluster)
        ));
    }

    /// Takes the live line away.
    pub fn clear(&self) {
        self.screen.clear();
    }
}

/// Jobs that no open call is for: all that can be told while the run goes on. The ledgers tell at the end.
fn orphans(totals: &Stats) -> u64 {
    totals.jobs.saturating_sub(totals.in_flight)
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Every node's release, a dash for one that does not run.
fn releases(cluster: &Cluster) -> String {
    let shown = |state: &crate::rehearse::cluster::NodeState| match &state.release {
        Some(release) if state.running => release.to_string(),
        _ => "-".to_owned(),
    };
    cluster.states().map(shown).collect::<Vec<_>>().join(" ")
}

/// Over what time the live rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(1);

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
}
