//! The load of one node: casts to every node, itself included, at a steady rate, and a monitor on each.
//!
//! In: time, answers. Out: casts, kills, ledger records. Most casts want a reply, at once or after a while; some must
//! fail; some run until they are killed, which is how kills come to cross a change of phase; a few carry a payload that
//! travels beside the lane; some are answered by a stream (`load/stream.rs`) or by questions (`load/question.rs`).
//! Beside them gathers ask all nodes the same (`load/gather.rs`). Every choice is the seed's.

mod gather;
mod question;
mod stream;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rexi_proto::{CallRef, DownReason, MonitorRef, NodeName};
use rexi_server::{Answer, Event, Mailbox, Node, Request};
use tokio::time::Instant;

use crate::ledger::{CallId, CallNumber, Entry, LedgerWriter, MonitorNumber, NodeIndex, Outcome, Work};
use crate::work::{FUNCTION, Order, record};
use gather::Gathers;
use stream::{CLOSED_MAX, Reading};

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
    /// What is to be done later, the next first.
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    /// Streams that ended lately, so that what comes behind their end is noticed.
    closed: VecDeque<(CallRef, CallNumber)>,
    /// From when on streams that are to stand are cast again.
    stand_again: Instant,
    gathers: Gathers,
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
    /// When something was last heard of it.
    heard: Instant,
    reading: Reading,
    /// Questions that were responded to.
    questions: u16,
    /// The question that is open is not the one that was due.
    wrong_question: bool,
}

/// What the load puts off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Kill(CallRef),
    /// Of one item.
    Ack(CallRef),
    /// To the question of this number.
    Respond(CallRef, u64),
    Gather,
}

impl Load {
    pub(crate) fn new(node: Node, ledger: Arc<LedgerWriter>, own: NodeIndex, rate: u32, seed: u64) -> Self {
        let targets: Vec<_> = node.members().into_iter().filter_map(|name| Some((index_of(&name)?, name))).collect();
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
            due: BinaryHeap::new(),
            closed: VecDeque::new(),
            stand_again: now,
            gathers: Gathers::new(now, rate),
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

    /// Calls that are open, and those that gathers may have open.
    pub(crate) fn in_flight(&self) -> usize {
        self.open.len() + self.gathers.running() * self.targets.len()
    }

    /// Does what is due: casts, gathers, kills, acknowledgements, responses, monitors.
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
            self.keep_streams(now);
            self.gather_due(now);
            self.watch(now);
        }
        self.gathers.reap();
        self.do_due(Some(now));
    }

    /// Gives up on calls that have heard nothing for longer than any bound of the protocol allows. What is in the
    /// mailbox has been heard.
    pub(crate) fn time_out(&mut self) {
        if let Some(event) = self.mailbox.try_recv() {
            self.handle(event);
        }
        let overdue = |open: &Open| open.order.work != Work::Hold && open.heard.elapsed() > ANSWER_LIMIT;
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

    /// Puts nothing off any longer: jobs that would run for ever are killed, streams that would take long too, and who
    /// waits for an acknowledgement or a response gets it.
    pub(crate) fn wind_up(&mut self) {
        self.do_due(None);
        self.kill_paced();
    }

    /// Gives up every call and gather that is open, since the process is about to end: jobs that were to be killed are,
    /// and what should have been answered by now counts as silence.
    pub(crate) fn give_up(&mut self) {
        self.wind_up();
        self.gathers.give_up();
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
        let Some(open) = self.open.get_mut(&call) else { return self.handle_late(call, answer) };
        open.heard = Instant::now();
        let (work, outcome) = (open.order.work, open.order.outcome(answer));
        match (work, answer) {
            (Work::Stream, Answer::StreamInit) => self.answer_stream(call),
            (Work::Stream, Answer::Item { body }) => self.take_item(call, body, true),
            (Work::Stream, Answer::Reply { body, .. }) => self.take_item(call, body, false),
            (Work::Question, Answer::Question { number, body }) => self.hear_question(call, *number, body),
            _ => {}
        }
        if let Some(outcome) = outcome {
            self.close(call, outcome);
            self.counts.answered += 1;
        }
    }

    fn close(&mut self, call: CallRef, outcome: Outcome) {
        let Some(open) = self.open.remove(&call) else { return };
        let number = open.order.id.call;
        record(&self.ledger, Entry::Answered { call: number, outcome: open.reading.end(outcome) });
        if open.order.work == Work::Stream {
            if self.closed.len() == CLOSED_MAX {
                self.closed.pop_front();
            }
            self.closed.push_back((call, number));
        }
    }

    fn handle_down(&mut self, monitor: MonitorRef, reason: DownReason) {
        if let Some((number, on)) = self.monitors.remove(&monitor) {
            let reason = down_code(reason);
            record(&self.ledger, Entry::MonitorDown { monitor: number, reason });
            self.unwatched.push((Instant::now() + WATCH_AGAIN, on));
            // So that gathers surely meet a node that is down: one as it goes, one when it is gone.
            self.begin_gather();
            self.due.push(Reverse((Instant::now() + GATHER_AGAIN, Due::Gather)));
        }
    }

    fn cast(&mut self, now: Instant) {
        let id = self.next_id();
        let (order, reading) = self.draw_order(id);
        self.cast_order(now, order, reading);
    }

    fn cast_order(&mut self, now: Instant, order: Order, reading: Reading) {
        let at = self.rng.random_range(0..self.targets.len());
        let (to, target) = self.targets[at].clone();
        let phase = self.node.rollout().phase();
        record(&self.ledger, Entry::Cast { call: order.id.call, to, work: order.work, phase });
        self.counts.casts += 1;
        match self.mailbox.cast(&target, Request::new(FUNCTION, order.encode())) {
            Ok(call) => {
                self.open.insert(call, Open { order, heard: now, reading, questions: 0, wrong_question: false });
                if order.work == Work::Hold {
                    let life = Duration::from_millis(self.rng.random_range(50..2_000));
                    self.due.push(Reverse((now + life, Due::Kill(call))));
                }
            }
            // The bound on open calls; the cast was refused with a typed error, so its caller knows.
            Err(_) => record(&self.ledger, Entry::Answered { call: order.id.call, outcome: Outcome::Dropped }),
        }
    }

    fn next_id(&mut self) -> CallId {
        let id = CallId { caller: self.own, incarnation: self.node.incarnation(), call: CallNumber(self.next_call) };
        self.next_call += 1;
        id
    }

    fn draw_order(&mut self, id: CallId) -> (Order, Reading) {
        let (work, pause_ms, payload_bytes) = match self.rng.random_range(0..1_000) {
            0..804 => (Work::Reply, 0, 64),
            804..884 => (Work::Reply, self.rng.random_range(1..100), 64),
            884..934 => (Work::Fail, 0, 16),
            934..982 => (Work::Hold, 0, 16),
            982..992 => return self.draw_stream(id),
            992..998 => return (self.draw_question(id), Reading::default()),
            _ => (Work::Bulk, 0, self.rng.random_range(40_000..80_000)),
        };
        let pause = Duration::from_millis(pause_ms);
        (Order { id, work, pause, payload_bytes, parts: 0, window: 0, salt: 0 }, Reading::default())
    }

    /// Does what was put off until now, or all of it.
    fn do_due(&mut self, now: Option<Instant>) {
        let mut kills = Vec::new();
        while let Some(&Reverse((at, due))) = self.due.peek()
            && now.is_none_or(|now| at <= now)
        {
            self.due.pop();
            match due {
                Due::Kill(call) => kills.push(call),
                Due::Ack(call) => _ = self.mailbox.ack(call, 1),
                Due::Respond(call, number) => self.respond(call, number),
                Due::Gather => self.begin_gather(),
            }
        }
        self.kill(&kills);
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

/// How long after a down all nodes are asked once more.
const GATHER_AGAIN: Duration = Duration::from_millis(4);

/// How long after a down a node is watched again.
const WATCH_AGAIN: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
