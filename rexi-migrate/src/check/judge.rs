//! Whether a state breaks an invariant. What a single step breaks is noted by the step (`step.rs`); this judges
//! states.
//!
//! All are written as safety: it must not happen that nothing more is to come and still something is missing.

use rexi_proto::Presence;

use super::oracle::{Oracle, Oracles};
use super::state::State;
use crate::model::{CallRecord, name, saying};
use crate::search::Broken;

/// Asks these oracles.
pub(super) fn judge(oracles: Oracles, state: &State) -> Result<(), Broken> {
    let judge = Judge { oracles, state };
    judge.pairs()?;
    for (at, call) in state.notes.calls.iter().enumerate().filter(|(_, call)| !call.over) {
        judge.call(at, call)?;
    }
    judge.watches()
}

struct Judge<'a> {
    oracles: Oracles,
    state: &'a State,
}

impl Judge<'_> {
    /// Breaks what an oracle finds, if it is asked.
    fn find(&self, oracle: Oracle, is_wrong: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
        if is_wrong && self.oracles.has(oracle) {
            return Err(Broken { invariant: oracle.invariant(), what: what() });
        }
        Ok(())
    }

    /// What connected nodes are to each other.
    fn pairs(&self) -> Result<(), Broken> {
        for high in 0..self.state.nodes.len() {
            for low in (0..high).filter(|&low| self.state.is_connected(low, high)) {
                self.pair(low, high)?;
            }
        }
        Ok(())
    }

    fn pair(&self, low: usize, high: usize) -> Result<(), Broken> {
        let nodes = &self.state.nodes;
        let near = nodes[high].profile().is_near(nodes[low].profile());
        self.find(Oracle::ConnectedOverSkew, !near, || format!("{} and {} are connected", name(low), name(high)))?;
        if !is_quiet(self.state, high, low) {
            return Ok(());
        }
        for (from, to) in [(high, low), (low, high)] {
            for migration in nodes[from].migrations() {
                let says_old = nodes[from].says_old(migration);
                let form = nodes[from].rollout.phase_at(migration).says();
                let missing = if says_old { Oracle::SendsToNoSingleton } else { Oracle::SendsToNoServer };
                let takes = nodes[to].takes(migration).contains(form);
                let says = || {
                    let says = saying(&nodes[from], migration);
                    format!("{} {says}, and {} does not take it", name(from), name(to))
                };
                self.find(missing, !takes, says)?;
                let believed = nodes[to].holdouts[migration] & 1 << from != 0;
                let stale = || format!("{} has a stale view of {}", name(to), name(from));
                self.find(Oracle::StaleView, believed != says_old, stale)?;
            }
        }
        Ok(())
    }

    fn call(&self, at: usize, call: &CallRecord) -> Result<(), Broken> {
        let state = self.state;
        let (job, orphan) = (state.job_of(at), call.orphan);
        let nobody = orphan || call.answered;
        if let Some((node, _)) = job {
            let given_up = matches!(state.nodes[node].peer(call.by).presence(), Presence::Gone | Presence::Refused(_));
            let runs_on = nobody && given_up && !state.queues(node, call.by) && !state.is_behind(node, call.by);
            let what = || format!("the job of call {at} runs on for a caller that was given up");
            self.find(Oracle::RunsForOneGivenUp, runs_on, what)?;
        }
        if !state.is_connected(call.by, call.to) || !is_quiet(state, call.by, call.to) {
            return Ok(());
        }
        let Some((node, job)) = job else {
            let never = if call.ran_at.is_some() { "its job is gone" } else { "it has never run" };
            let what = || format!("call {at} of {} waits in silence: {never}", name(call.by));
            return self.find(Oracle::WaitsInSilence, call.is_open(), what);
        };
        let killed = call.killed && !orphan;
        self.find(Oracle::KilledRuns, killed, || {
            format!("call {at} was killed, no kill is on its way, and its job runs at {}", name(node))
        })?;
        self.find(Oracle::RunsForNobody, nobody && !killed, || {
            format!("the job of call {at} runs on at {}, and no caller waits for it", name(node))
        })?;
        let waits = job.waits && !killed && !nobody;
        self.find(Oracle::StreamWaitsForNothing, waits && call.asked && call.started && call.unacked == 0, || {
            format!("the stream of call {at} is stuck: its caller has said all, its job waits")
        })?;
        self.find(Oracle::StreamWaitsUnasked, waits && !call.asked, || {
            format!("the stream of call {at} is stuck: its caller was not asked")
        })
    }

    fn watches(&self) -> Result<(), Broken> {
        let state = self.state;
        for (at, watch) in state.notes.monitors.iter().enumerate() {
            let silent = !watch.orphan && watch.gone && watch.downs == 0 && state.is_connected(watch.by, watch.to);
            let what = || format!("monitor {at} of {} did not fire", name(watch.by));
            self.find(Oracle::MonitorSilent, silent, what)?;
        }
        Ok(())
    }
}

/// Whether nothing is on its way between two nodes, or waits in a queue or a buffer for it.
fn is_quiet(state: &State, one: usize, other: usize) -> bool {
    let waits = |at: usize, of: usize| state.nodes[at].peer(of).stats().buffered > 0;
    state.way(one, other).is_empty()
        && state.way(other, one).is_empty()
        && !state.queues(one, other)
        && !state.queues(other, one)
        && !state.is_behind(one, other)
        && !state.is_behind(other, one)
        && !waits(one, other)
        && !waits(other, one)
}
