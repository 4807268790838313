//! What a rehearsal says while it runs: the step under way and what the nodes count; a line for each step, without a
//! terminal.

use std::time::Instant;

use crate::rehearse::cluster::{Cluster, NodeState};
use crate::rehearse::control::Stats;
use crate::rehearse::report::StepRow;
use crate::screen::{Screen, per_second};

/// The step under way, on the screen.
#[derive(Debug)]
pub(crate) struct Progress {
    screen: Screen,
    step: String,
    begun: Instant,
    /// Casts that had been made by then.
    casts: u64,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { screen: Screen::steps(quiet), step: String::new(), begun: Instant::now(), casts: 0 }
    }

    /// Something to know that is not a step, such as the seed.
    pub(crate) fn note(&self, text: &str) {
        self.screen.note(text);
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, row: &StepRow, of: usize, cluster: &Cluster) {
        self.step = format!("step {}/{of} {}", row.number, row.action());
        (self.begun, self.casts) = (Instant::now(), cluster.totals().casts);
    }

    /// The nodes have said something.
    pub(crate) fn show(&mut self, cluster: &Cluster) {
        let Self { screen, step, begun, casts } = self;
        screen.show(None, || {
            let totals = cluster.totals();
            let rate = per_second(totals.casts.saturating_sub(*casts), begun.elapsed());
            format!("{step}, {rate} casts/s, {}", counts(&totals, cluster))
        });
    }

    /// A step is over, or failed.
    pub(crate) fn end(&mut self, row: &StepRow, cluster: &Cluster) {
        let ready = row.ready_ms.map_or_else(String::new, |ms| format!(", ready in {ms} ms"));
        let rate = row.casts_per_s.map_or_else(String::new, |rate| format!(", {rate} casts/s"));
        let end = row.error.as_ref().map_or_else(String::new, |error| format!(", FAILED: {error}"));
        let counts = counts(&cluster.totals(), cluster);
        self.screen.say(None, &format!("{}{ready}{rate}, {counts}{end}", self.step));
    }

    /// Takes the live line away.
    pub(crate) fn clear(&mut self) {
        self.screen.clear();
    }
}

/// What can be said while the run goes on: orphans are jobs that no open call is for. The ledgers say more at the end.
fn counts(totals: &Stats, cluster: &Cluster) -> String {
    let Stats { in_flight, answered, timed_out, jobs, .. } = totals;
    let orphans = jobs.saturating_sub(*in_flight);
    // A dash for a node that does not run.
    let release = |state: &NodeState| match &state.release {
        Some(release) if state.running => release.to_string(),
        _ => "-".to_owned(),
    };
    let releases = cluster.states().map(release).collect::<Vec<_>>().join(" ");
    format!("in flight {in_flight}, answered {answered}, lost {timed_out}, orphans {orphans} [{releases}]")
}
