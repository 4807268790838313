//! The load of one node: casts to every node, itself included, at a steady rate, and a monitor on each.
//!
//! In: time, answers. Out: casts, kills, ledger records. Most casts want a reply, at once or after a while; some must
//! fail; some run until they are killed, which is how kills come to cross a change of phase; a few carry a payload that
//! travels beside the lane. Every choice is the seed's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rexi_proto::{CallRef, DownReason, MonitorRef, NodeName};
use rexi_server::{Answer, Event, Mailbox, Node, Request};
use tokio::time::Instant;

use crate::ledger::{CallId, CallNumber, Entry, LedgerWriter, MonitorNumber, NodeIndex, Outcome, Work};
use crate::work::{FUNCTION, Order, record};

/// One node's load.
pub(crate) struct Load {
    node: Node,
    mailbox: Mailbox,
    ledger: Arc<LedgerWriter>,
    rng: Xoshiro256PlusPlus,
    own: NodeIndex,
    targets: Vec<(NodeIndex, NodeName)>,
    /// Casts a second.
    rate: u32,
    on: bool,
    /// When the casts that are owed were last counted.
    counted: Instant,
    /// Parts of a cast that are owed.
    owed: f64,
    open: HashMap<CallRef, Open>,
    next_call: u64,
    kills: BinaryHeap<Reverse<(Instant, CallRef)>>,
    monitors: BTreeMap<MonitorRef, (MonitorNumber, NodeIndex)>,
    next_monitor: u64,
    /// Nodes to be watched, and from when on.
    unwatched: Vec<(Instant, NodeIndex)>,
    pub(crate) counts: LoadCounts,
}

/// What the load has come to since the process's start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadCounts {
    pub(crate) casts: u64,
    pub(crate) answered: u64,
    pub(crate) killed: u64,
    pub(crate) timed_out: u64,
}

struct Open {
    order: Order,
    since: Instant,
}

impl Load {
    pub(crate) fn new(node: Node, ledger: Arc<LedgerWriter>, own: NodeIndex, rate: u32, seed: u64) -> Self {
        let targets: Vec<_> = node.members().filter_map(|name| Some((index_of(name)?, name.clone()))).collect();
        let now = Instant::now();
        Self {
            mailbox: node.mailbox(),
            node,
            ledger,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            own,
            unwatched: Vec::new(),
            targets,
            rate,
            on: false,
            counted: now,
            owed: 0.0,
            open: HashMap::new(),
            next_call: 1,
            kills: BinaryHeap::new(),
            monitors: BTreeMap::new(),
            next_monitor: 1,
            counts: LoadCounts::default(),
        }
    }

    pub(crate) fn set_on(&mut self, on: bool) {
        let now = Instant::now();
        (self.on, self.counted, self.owed) = (on, now, 0.0);
        if on && self.monitors.is_empty() {
            self.unwatched = self.targets.iter().map(|&(index, _)| (now, index)).collect();
        }
    }

    /// Calls that are open.
    pub(crate) fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Does what is due: casts, kills, time limits, monitors.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        let owed = self.owed + (now - self.counted).as_secs_f64() * f64::from(self.rate);
        self.counted = now;
        if self.on {
            // A process that was held up does not make up for more than a tenth of a second.
            self.owed = owed.min(f64::from(self.rate) / 10.0 + 1.0);
            while self.owed >= 1.0 {
                self.owed -= 1.0;
                self.cast(now);
            }
            self.watch(now);
        }
        self.kill_due(now);
    }

    /// Gives up on calls that have heard nothing for longer than any bound of the protocol allows. What is in the
    /// mailbox has been heard.
    pub(crate) fn time_out(&mut self) {
        if let Some(event) = self.mailbox.try_recv() {
            self.handle(event);
        }
        let overdue = |open: &Open| open.order.work != Work::Hold && open.since.elapsed() > ANSWER_LIMIT;
        let overdue: Vec<_> = self.open.iter().filter(|(_, open)| overdue(open)).map(|(&call, _)| call).collect();
        self.fall_silent(&overdue);
    }

    fn fall_silent(&mut self, calls: &[CallRef]) {
        for &call in calls {
            self.close(call, Outcome::TimedOut);
            self.counts.timed_out += 1;
        }
        self.mailbox.kill(calls);
    }

    /// Kills every job that would run for ever, since no more kills will come.
    pub(crate) fn kill_all_held(&mut self) {
        while let Some(Reverse((_, call))) = self.kills.pop() {
            self.kill(&[call]);
        }
    }

    /// Gives up every call that is open, since the process is about to end: jobs that were to be killed are, and what
    /// should have been answered by now counts as silence.
    pub(crate) fn give_up(&mut self) {
        self.kill_all_held();
        let silent: Vec<_> = self.open.keys().copied().collect();
        self.fall_silent(&silent);
    }

    /// Stops watching, so that peers that leave after this node's load has ended are no news.
    pub(crate) fn stop_watching(&mut self) {
        self.unwatched.clear();
        for (monitor, (number, _)) in std::mem::take(&mut self.monitors) {
            self.mailbox.demonitor(monitor);
            record(&self.ledger, Entry::Demonitored { monitor: number });
        }
    }

    /// Waits for the next answer or down. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Event {
        self.mailbox.recv().await
    }

    /// Takes an answer or a down, and all that are there with it.
    pub(crate) fn handle(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            match event {
                Event::Answer(call, answer) => self.handle_answer(call, &answer),
                Event::Down(monitor, reason) => self.handle_down(monitor, reason),
                _ => {}
            }
            next = self.mailbox.try_recv();
        }
    }

    fn handle_answer(&mut self, call: CallRef, answer: &Answer) {
        let Some(outcome) = self.open.get(&call).and_then(|open| open.order.outcome(answer)) else { return };
        self.close(call, outcome);
        self.counts.answered += 1;
    }

    fn close(&mut self, call: CallRef, outcome: Outcome) {
        if let Some(open) = self.open.remove(&call) {
            record(&self.ledger, Entry::Answered { call: open.order.id.call, outcome });
        }
    }

    fn handle_down(&mut self, monitor: MonitorRef, reason: DownReason) {
        if let Some((number, on)) = self.monitors.remove(&monitor) {
            let reason = down_code(reason);
            record(&self.ledger, Entry::MonitorDown { monitor: number, reason });
            self.unwatched.push((Instant::now() + WATCH_AGAIN, on));
        }
    }

    fn cast(&mut self, now: Instant) {
        let order = self.next_order();
        let at = self.rng.random_range(0..self.targets.len());
        let (to, target) = self.targets[at].clone();
        let phase = self.node.rollout().phase();
        record(&self.ledger, Entry::Cast { call: order.id.call, to, work: order.work, phase });
        self.counts.casts += 1;
        match self.mailbox.cast(&target, Request::new(FUNCTION, order.encode())) {
            Ok(call) => {
                self.open.insert(call, Open { order, since: now });
                if order.work == Work::Hold {
                    let life = Duration::from_millis(self.rng.random_range(50..2_000));
                    self.kills.push(Reverse((now + life, call)));
                }
            }
            // The bound on open calls; the cast was refused with a typed error, so its caller knows.
            Err(_) => record(&self.ledger, Entry::Answered { call: order.id.call, outcome: Outcome::Dropped }),
        }
    }

    fn next_order(&mut self) -> Order {
        let id = CallId { caller: self.own, incarnation: self.node.incarnation(), call: CallNumber(self.next_call) };
        self.next_call += 1;
        let (work, pause_ms, payload_bytes) = match self.rng.random_range(0..1_000) {
            0..820 => (Work::Reply, 0, 64),
            820..900 => (Work::Reply, self.rng.random_range(1..100), 64),
            900..950 => (Work::Fail, 0, 16),
            950..998 => (Work::Hold, 0, 16),
            _ => (Work::Bulk, 0, self.rng.random_range(40_000..80_000)),
        };
        Order { id, work, pause: Duration::from_millis(pause_ms), payload_bytes }
    }

    fn kill_due(&mut self, now: Instant) {
        let mut due = Vec::new();
        while let Some(&Reverse((at, call))) = self.kills.peek()
            && at <= now
        {
            self.kills.pop();
            due.push(call);
        }
        self.kill(&due);
    }

    fn kill(&mut self, calls: &[CallRef]) {
        let phase = self.node.rollout().phase();
        let mut open = Vec::new();
        for &call in calls {
            if let Some(Open { order, .. }) = self.open.remove(&call) {
                record(&self.ledger, Entry::Killed { call: order.id.call, phase });
                self.counts.killed += 1;
                open.push(call);
            }
        }
        self.mailbox.kill(&open);
    }

    fn watch(&mut self, now: Instant) {
        let due = self.unwatched.extract_if(.., |(at, _)| *at <= now).map(|(_, on)| on).collect::<Vec<_>>();
        for on in due {
            let Some((_, target)) = self.targets.iter().find(|(index, _)| *index == on) else { continue };
            let number = MonitorNumber(self.next_monitor);
            self.next_monitor += 1;
            record(&self.ledger, Entry::Monitored { monitor: number, on });
            if let Ok(monitor) = self.mailbox.monitor(target) {
                self.monitors.insert(monitor, (number, on));
            }
        }
    }
}

/// The place of node `n3` in the cluster is 2.
pub(crate) fn index_of(name: &NodeName) -> Option<NodeIndex> {
    let number: u16 = name.as_str().strip_prefix('n')?.parse().ok()?;
    number.checked_sub(1).map(NodeIndex)
}

/// The ledger's code of a monitor's reason.
fn down_code(reason: DownReason) -> u8 {
    match reason {
        DownReason::NoConnect => 1,
        DownReason::NoServer => 2,
        DownReason::NoConnection => 3,
        DownReason::Restarted => 4,
        DownReason::Shutdown => 5,
        _ => 0,
    }
}

/// Longer than the stability period of 15 s, after which a peer that is away is down.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(25);

/// How long after a down a node is watched again.
const WATCH_AGAIN: Duration = Duration::from_millis(200);
