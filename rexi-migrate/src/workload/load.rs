//! The load of one node: casts to every node, itself included, at a steady rate, and a monitor on each.
//!
//! In: time, answers. Out: casts, kills, ledger records. Most casts want a reply, at once or after a while; some must
//! fail; some run until they are killed, which is how kills come to cross a change of phase; a few carry a payload that
//! travels alongside the lane; some are answered by a stream (`load/stream.rs`) or by questions (`load/question.rs`).
//! Alongside them, gathers ask all nodes the same (`load/gather.rs`). The seed determines every choice. What is in
//! flight to a node is bounded: where the machine is too slow for the rate, casts are left out and counted, and none
//! waits long. `load/thread.rs` gives it a thread of its own. A plan can steer it instead
//! (`load/steered.rs`).

mod gather;
mod monitor;
mod question;
mod steered;
mod stream;
pub(crate) mod thread;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rexi_proto::{CallRef, MonitorRef, NodeName};
use rexi_server::{Answer, Event, Mailbox, Node, calls::MailboxHandle};
use tokio::time::Instant;

use crate::history::ledger::{CallId, CallNumber, Entry, LedgerWriter, MonitorNumber, NodeIndex, Outcome, Work};
use crate::name::node_number;
use crate::workload::functions::Functions;
use crate::workload::phases::server_phase;
use crate::workload::work::{Order, record};
use gather::Gathers;
use stream::{CLOSED_MAX, Reading};

/// One node's load. Its answers come to the [`Mailbox`] that it is made with.
pub(crate) struct Load {
    node: Node,
    mailbox: MailboxHandle,
    ledger: Arc<LedgerWriter>,
    /// Ends of calls that are to be recorded, in one write.
    ends: Vec<Entry>,
    rng: Xoshiro256PlusPlus,
    own: NodeIndex,
    /// What its calls are of.
    functions: Functions,
    targets: Vec<Target>,
    /// Casts a second.
    rate: u32,
    /// How many calls may be open to one node, besides those that wait for their kill or for their pace.
    in_flight_max: usize,
    on: bool,
    /// How much time this process has had, by the clock that stands while it does.
    awake: Awake,
    /// When anything was last heard, or the load was turned off, by that clock.
    heard: Duration,
    /// When the casts that are owed were last counted.
    counted: Instant,
    /// Parts of a cast that are owed.
    owed: f64,
    open: BTreeMap<CallRef, Open>,
    next_call: Arc<AtomicU64>,
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

/// How much time the process has had.
pub(crate) type Awake = Box<dyn Fn() -> Duration + Send>;

/// A node that is called.
struct Target {
    index: NodeIndex,
    name: NodeName,
    /// Open calls that count against the bound.
    open: usize,
    /// Calls that a job of its answered.
    replies: u64,
}

/// What the load has come to since the process's start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadCounts {
    /// Casts that the rate asks for.
    pub(crate) asked: u64,
    pub(crate) casts: u64,
    pub(crate) answered: u64,
    pub(crate) killed: u64,
    pub(crate) timed_out: u64,
}

struct Open {
    order: Order,
    /// The node that was called: an index.
    target: usize,
    reading: Reading,
    /// Questions that were responded to.
    questions: u16,
    /// The question that is open is not the one that was due.
    wrong_question: bool,
    /// Its peer has refused it once, since it takes the other form of its migration.
    again: bool,
}

/// A cast that is to be made.
struct Cast {
    /// The node that it is for: an index.
    target: usize,
    order: Order,
    reading: Reading,
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
    pub(crate) fn new(
        node: Node,
        ledger: Arc<LedgerWriter>,
        own: NodeIndex,
        functions: Functions,
        rate: u32,
        seed: u64,
        awake: Awake,
    ) -> (Self, Mailbox) {
        let mailbox = node.mailbox();
        let target = |name: NodeName| Some(Target { index: index_of(&name)?, name, open: 0, replies: 0 });
        let targets: Vec<_> = node.members().into_iter().filter_map(target).collect();
        let now = Instant::now();
        let of_target = usize::try_from(rate).unwrap_or(usize::MAX) / targets.len().max(1);
        let load = Self {
            mailbox: mailbox.handle(),
            node,
            ledger,
            ends: Vec::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            own,
            functions,
            unwatched: Vec::new(),
            targets,
            rate,
            in_flight_max: (of_target / IN_FLIGHT_SHARE).clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX),
            on: false,
            heard: awake(),
            awake,
            counted: now,
            owed: 0.0,
            open: BTreeMap::new(),
            next_call: Arc::new(AtomicU64::new(1)),
            due: BinaryHeap::new(),
            closed: VecDeque::new(),
            stand_again: now,
            gathers: Gathers::new(now, rate),
            monitors: BTreeMap::new(),
            next_monitor: 1,
            counts: LoadCounts::default(),
        };
        (load, mailbox)
    }

    pub(crate) fn set_on(&mut self, on: bool) {
        let now = Instant::now();
        (self.on, self.counted, self.owed) = (on, now, 0.0);
        self.heard = (self.awake)();
        if on && self.monitors.is_empty() {
            self.unwatched = self.targets.iter().map(|target| (now, target.index)).collect();
        }
    }

    /// Calls that are open, and those that gathers may have open.
    pub(crate) fn in_flight(&self) -> usize {
        self.open.len() + self.gathers.running() * self.targets.len()
    }

    /// Replies to own casts so far, by the node that gave them.
    fn replies(&self) -> impl Iterator<Item = (NodeIndex, u64)> {
        self.targets.iter().map(|target| (target.index, target.replies))
    }

    /// Does what is due: casts, gathers, kills, acknowledgements, responses, monitors.
    pub(crate) fn tick(&mut self, mailbox: &Mailbox) {
        let now = Instant::now();
        if self.on {
            self.cast_owed(now);
            self.keep_streams(now);
            self.gather_due(now);
            self.watch(now, mailbox);
        }
        self.gathers.reap();
        self.do_due(Some(now));
    }

    /// Gives up every call once the load is off and nothing at all has been heard for longer than any bound of the
    /// protocol allows, of the time that this process has had. What is in the mailbox has been heard. While the load is
    /// on, a call may wait as long as the machine makes it.
    pub(crate) fn time_out(&mut self, mailbox: &mut Mailbox) {
        if let Some(event) = mailbox.try_recv() {
            self.handle(event, mailbox);
        }
        if self.on || self.open.is_empty() || (self.awake)().saturating_sub(self.heard) <= ANSWER_LIMIT {
            return;
        }
        let silent = |(&call, open): (&CallRef, &Open)| (open.order.work != Work::Hold).then_some(call);
        let silent: Vec<_> = self.open.iter().filter_map(silent).collect();
        self.fall_silent(&silent);
    }

    fn fall_silent(&mut self, calls: &[CallRef]) {
        for &call in calls {
            self.close(call, Outcome::TimedOut);
            self.counts.timed_out += 1;
        }
        self.write_ends();
        self.mailbox.kill(calls);
    }

    /// Comes to rest: makes no more casts, watches nobody, so that peers that leave from now on are not news, and puts
    /// nothing off.
    pub(crate) fn rest(&mut self, mailbox: &Mailbox) {
        self.set_on(false);
        self.stop_watching(mailbox);
        self.wind_up();
    }

    /// Puts nothing off any longer: jobs that would run forever are killed, and so are streams that would take long; a
    /// job that waits for an acknowledgement or a response gets it.
    fn wind_up(&mut self) {
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

    /// Takes an answer or a down, and all that are there with it.
    pub(crate) fn handle(&mut self, event: Event, mailbox: &mut Mailbox) {
        let mut next = Some(event);
        while let Some(event) = next {
            match event {
                Event::Answer(call, answer) => self.handle_answer(call, &answer),
                Event::Down(monitor, reason) => self.handle_down(monitor, reason),
                _ => {}
            }
            next = mailbox.try_recv();
        }
        self.heard = (self.awake)();
        self.write_ends();
    }

    /// Records the ends that were reported. Nothing follows from one, so they may wait for each other a moment.
    fn write_ends(&mut self) {
        record(&self.ledger, &self.ends);
        self.ends.clear();
    }

    fn handle_answer(&mut self, call: CallRef, answer: &Answer) {
        if *answer == Answer::NoSuchFunction && self.send_again(call) {
            return;
        }
        let Some(open) = self.open.get_mut(&call) else { return self.handle_late(call, answer) };
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
        let Some(open) = self.forget(call) else { return };
        let number = open.order.id.call;
        self.targets[open.target].replies += u64::from(outcome.needs_job());
        self.ends.push(Entry::Answered { call: number, outcome: open.reading.end(outcome) });
        if self.ends.len() >= BATCH_MAX {
            self.write_ends();
        }
        if open.order.work == Work::Stream {
            if self.closed.len() == CLOSED_MAX {
                self.closed.pop_front();
            }
            self.closed.push_back((call, number));
        }
    }

    /// Makes the casts that are owed, in batches that are recorded before they are sent.
    fn cast_owed(&mut self, now: Instant) {
        let elapsed = now - std::mem::replace(&mut self.counted, now);
        let asked = elapsed.as_secs_f64() * f64::from(self.rate) + self.owed;
        self.owed = asked.fract();
        self.counts.asked += asked as u64;
        // A process that was held up does not make up for more than a tenth of a second.
        let mut owed = (asked as u64).min(u64::from(self.rate) / 10 + 1);
        while owed > 0 {
            let batch = owed.min(BATCH_MAX as u64);
            owed -= batch;
            let casts = (0..batch).filter_map(|_| self.draw_cast()).collect();
            self.cast_all(now, casts);
        }
    }

    /// A cast to a node that the bound on what is in flight has room for; without room, none.
    fn draw_cast(&mut self) -> Option<Cast> {
        let target = self.rng.random_range(0..self.targets.len());
        if self.targets[target].open >= self.in_flight_max {
            return None;
        }
        let id = self.next_id();
        let (order, reading) = self.draw_order(id);
        self.targets[target].open += usize::from(!order.work.ends_by_kill());
        Some(Cast { target, order, reading })
    }

    fn cast_all(&mut self, now: Instant, casts: Vec<Cast>) {
        let phase = server_phase(&self.node);
        let entry = |cast: &Cast| {
            let (order, to) = (&cast.order, self.targets[cast.target].index);
            Entry::Cast { call: order.id.call, to, work: order.work, phase }
        };
        record(&self.ledger, &casts.iter().map(entry).collect::<Vec<_>>());
        for Cast { target, order, reading } in casts {
            self.counts.casts += 1;
            self.send(now, Open { order, target, reading, questions: 0, wrong_question: false, again: false });
        }
        self.write_ends();
    }

    /// Sends a call that is recorded.
    fn send(&mut self, now: Instant, open: Open) {
        let order = open.order;
        let request = self.functions.request(order.id.call, order.encode());
        match self.mailbox.cast(&self.targets[open.target].name, request) {
            Ok(call) => {
                self.open.insert(call, open);
                if order.work == Work::Hold {
                    let life = Duration::from_millis(self.rng.random_range(50..2_000));
                    self.due.push(Reverse((now + life, Due::Kill(call))));
                }
            }
            // The bound on open calls; the cast was refused with a typed error, so its caller knows.
            Err(_) => {
                self.make_room(&open);
                self.ends.push(Entry::Answered { call: order.id.call, outcome: Outcome::Dropped });
            }
        }
    }

    /// Sends a call of a migration once more that its peer does not take in the form that was said. `false`: it was.
    fn send_again(&mut self, call: CallRef) -> bool {
        let Some(open) = self.open.get(&call) else { return false };
        if open.again || !self.functions.is_migrated(open.order.id.call) {
            return false;
        }
        let open = self.open.remove(&call).expect("it was just found");
        self.send(Instant::now(), Open { again: true, ..open });
        true
    }

    /// Takes a call out of those that are open.
    fn forget(&mut self, call: CallRef) -> Option<Open> {
        let open = self.open.remove(&call)?;
        self.make_room(&open);
        Some(open)
    }

    fn make_room(&mut self, open: &Open) {
        self.targets[open.target].open -= usize::from(!open.order.work.ends_by_kill());
    }

    fn next_id(&mut self) -> CallId {
        let call = CallNumber(self.next_call.fetch_add(1, Ordering::Relaxed));
        CallId { caller: self.own, incarnation: self.node.incarnation(), call }
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
        let phase = server_phase(&self.node);
        let mut open = Vec::new();
        for &call in calls {
            if let Some(Open { order, .. }) = self.forget(call) {
                record(&self.ledger, &[Entry::Killed { call: order.id.call, phase }]);
                self.counts.killed += 1;
                open.push(call);
            }
        }
        self.mailbox.kill(&open);
    }
}

/// The place of node `n3` in the cluster is 2.
pub(crate) fn index_of(name: &NodeName) -> Option<NodeIndex> {
    node_number(name.as_str()).and_then(|node| node.try_into().ok()).map(NodeIndex)
}

/// Longer than the stability period of 15 s, after which a peer that is away is down.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(25);

/// What part of a second's casts may be in flight to a node: one that takes a quarter of a second for each is slow.
const IN_FLIGHT_SHARE: usize = 4;

/// How many may be in flight to a node in any case.
const IN_FLIGHT_MIN: usize = 16;

/// How many may be at most: half of what a peer's buffer holds while it is away.
const IN_FLIGHT_MAX: usize = 1_000;

/// How many casts or ends are recorded in one write, at most.
const BATCH_MAX: usize = 64;

#[cfg(test)]
mod tests;
