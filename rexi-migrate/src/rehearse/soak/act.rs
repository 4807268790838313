//! Does the soak of a run: calm, a fault, its recovery, and so on; and a rest now and then, to judge the ledgers.
//!
//! Whatever a node does that no fault accounts for ends the run, as it would without a soak.

use std::time::Duration;

use tokio::time::Instant;

use super::fault::{Fault, FaultKind, pairs};
use super::plan::RECOVERY_LIMIT;
use super::slice::Slice;
use super::state::{Soaking, Window};
use crate::history::ledger::{NodeIndex, now_us};
use crate::rehearse::cluster::{Cluster, NodeState, ProcessLife};
use crate::rehearse::control::Command;
use crate::rehearse::pace::Allowance;
use crate::rehearse::relay::Weather;
use crate::rehearse::run::{Halt, READY_LIMIT, Run};
use crate::verdict::conclusion::Conclusion;

impl Run {
    /// Soaks the cluster.
    pub(crate) async fn soak(&mut self) -> Result<(), Halt> {
        let begun = Instant::now();
        self.cluster.watch_usage();
        let mut slice_begun = begun;
        self.soaking().windows.push(Window::calm(now_us()));
        loop {
            let calm = self.soaking().draw_calm();
            self.let_run(calm).await?;
            if self.soaking().is_over(begun.elapsed()) {
                break;
            }
            if slice_begun.elapsed() >= self.soaking().soak.slice {
                // What is unsafe already needs no further hours.
                if self.close_slice().await? == Conclusion::Unsafe {
                    break;
                }
                slice_begun = Instant::now();
            }
            let fault = self.soaking().next_fault();
            self.suffer(fault).await?;
        }
        let soaking = self.soaking();
        soaking.end_window(now_us());
        soaking.soaked = begun.elapsed();
        Ok(())
    }

    fn soaking(&mut self) -> &mut Soaking {
        self.soaking.as_mut().expect("a step soaks only in a run with a soak")
    }

    /// Lets a fault happen, and waits until all is well again.
    async fn suffer(&mut self, fault: Fault) -> Result<(), Halt> {
        let row = self.soaking().begin(fault, now_us());
        let healed = match fault.kind {
            FaultKind::Kill => self.kill_and_start(fault, row).await?,
            FaultKind::Freeze => {
                self.cluster.freeze(fault.node, true);
                self.let_run(fault.lasts).await?;
                self.cluster.freeze(fault.node, false);
                self.soaking().heal(row)
            }
            _ => {
                self.set_weather(fault, fault.weather());
                self.let_run(fault.lasts).await?;
                self.set_weather(fault, Weather::default());
                self.soaking().heal(row)
            }
        };
        let ready = self.recover(fault, healed).await?;
        let soaking = self.soaking();
        soaking.recovered(row, ready, now_us());
        let note = format!("fault {fault}, all ready after {:.1} s", ready.as_secs_f64());
        self.progress.note(&note);
        Ok(())
    }

    async fn kill_and_start(&mut self, fault: Fault, row: usize) -> Result<Instant, Halt> {
        let Fault { node, lasts, .. } = fault;
        let release = self.cluster.state(node).release.unwrap_or_else(|| self.release_of(node));
        self.cluster.kill(node).await?;
        self.let_run(lasts).await?;
        let healed = self.soaking().heal(row);
        self.cluster.start(node, release)?;
        self.one(node, "ready", READY_LIMIT, |state| state.ready).await?;
        self.cluster.tell(node, &Command::Load { on: true }).await?;
        Ok(healed)
    }

    fn set_weather(&mut self, fault: Fault, weather: Weather) {
        let nodes = self.cluster.states().count();
        let relay = self.soaking().relay();
        for (from, to) in pairs(nodes).filter(|&(from, to)| fault.is_between(from, to)) {
            relay.set(from, to, weather);
        }
    }

    /// Waits until every node is ready and connected with every other, and until, each way between those that the fault
    /// concerned, a call was answered that had not been when it was over. Tells how long the first took.
    async fn recover(&mut self, fault: Fault, healed: Instant) -> Result<Duration, Halt> {
        let count = |cluster: &Cluster| cluster.states().map(|state| state.told).collect::<Vec<_>>();
        let (nodes, told) = (self.cluster.states().count(), count(&self.cluster));
        let has_told = |cluster: &Cluster, times| {
            cluster.states().zip(&told).all(|(state, &before)| state.running && state.told >= before + times)
        };
        let is_ready = |state: &NodeState| state.ready && state.stats.waiting_for.is_empty();
        let replies = |cluster: &Cluster| cluster.states().map(|state| state.stats.replies.clone()).collect::<Vec<_>>();
        let (mut ready, mut before) = (None, None);
        let limit = RECOVERY_LIMIT + self.patience(nodes);
        let progress = &mut self.progress;
        let done = |cluster: &Cluster| {
            progress.show(cluster);
            if has_told(cluster, 1) && cluster.states().all(is_ready) {
                ready.get_or_insert_with(|| healed.elapsed());
            }
            // What a node counted before the end of the fault, it has told by its second word.
            if before.is_none() && has_told(cluster, 2) {
                before = Some(replies(cluster));
            }
            let Some(before) = &before else { return false };
            let now = replies(cluster);
            let of = |counts: &[Vec<u64>], from: usize, to: usize| counts[from].get(to).copied().unwrap_or(0);
            let answers = |from, to| of(&now, from, to) > of(before, from, to);
            ready.is_some() && pairs(nodes).all(|(from, to)| !fault.is_between(from, to) || answers(from, to))
        };
        if self.cluster.wait_until(limit, done).await? {
            return Ok(ready.unwrap_or_else(|| healed.elapsed()));
        }
        let goal = format!("ready and answering after {fault}");
        let late = |node, state: &NodeState| !is_ready(state) || fault.nodes(nodes).has(NodeIndex::of(node));
        Err(self.cluster.timed_out(&goal, limit, healed.elapsed(), late).into())
    }

    /// How long the load takes to make some casts from each node to each other.
    fn patience(&self, nodes: usize) -> Duration {
        Duration::from_secs_f64(CASTS_OF_A_PAIR * (nodes * nodes) as f64 / f64::from(self.rate.max(1)))
    }

    /// Comes to rest, has all nodes go on in new ledgers, and the old ones judged; then the load goes on.
    async fn close_slice(&mut self) -> Result<Conclusion, Halt> {
        self.soaking().end_window(now_us());
        // A node that was quiet first may have been called once more by one that was not yet: so a second time, when
        // nobody calls any longer.
        for _ in 0..2 {
            let restless = self.quiesce().await?;
            if !restless.is_empty() {
                return Err(Halt::NotSettled { who: restless.join("; ") });
            }
        }
        let number = self.soaking().slices + 1;
        let closed = self.cluster.turn(number).await?;
        self.all("in a new ledger", READY_LIMIT, |state| state.turned).await?;
        let slice = self.slice(closed);
        let judging = tokio::task::spawn_blocking(move || slice.judged());
        // The nodes are heard meanwhile: what one of them says may end the run.
        let heard = loop {
            match self.cluster.wait_until(LOOK_INTERVAL, |_| judging.is_finished()).await {
                Ok(false) => {}
                other => break other,
            }
        };
        // Whatever that was, what the slice has shown counts.
        let judged = judging.await.map_err(|error| Halt::Judge { error: error.to_string() })?;
        let conclusion = self.soaking().take(&judged);
        self.progress.note(&judged.to_string());
        heard?;
        if conclusion == Conclusion::Safe {
            judged.remove_ledgers();
        }
        self.load().await?;
        self.soaking().windows.push(Window::calm(now_us()));
        Ok(conclusion)
    }

    /// What is to be judged of these lives.
    pub(crate) fn slice(&self, lives: Vec<ProcessLife>) -> Slice {
        let soaking = self.soaking.as_ref().expect("a slice is of a soak");
        let mut rows = self.rows.clone();
        if let Some(row) = rows.last_mut() {
            row.ended_us = row.ended_us.max(now_us());
        }
        let nodes = self.cluster.states().count();
        Slice::new(soaking, lives, rows, self.plan.clone(), nodes, self.judge.clone())
    }

    /// Lets the load run, for so long by the clock.
    async fn let_run(&mut self, time: Duration) -> Result<(), Halt> {
        let progress = &mut self.progress;
        let shown = |cluster: &Cluster| {
            progress.show(cluster);
            false
        };
        self.cluster.wait_within(&mut Allowance::new(time).stretched_at_most(0), shown).await?;
        Ok(())
    }
}

/// How many casts of a pair are waited for, at a low rate.
const CASTS_OF_A_PAIR: f64 = 10.0;

/// How long a look at the judge takes.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
