//! Where the peers' states put a mailbox's answers, from whichever task reads a connection.
//!
//! It keeps the open calls with their time limits, and bounds what waits for its owner. It also keeps where a call was
//! cast to, which a kill needs, without looking at it: that is the `T` of its types.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};

use rexi_proto::{Answer, CallRef, DownReason, ExitReason, Limits, MonitorRef};
use tokio::time::Instant;

use crate::engine::single;

/// How an answer is told in another form of its migration.
pub(crate) type Translate = fn(Answer) -> Answer;

/// What a mailbox holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An answer to a call that was cast through this mailbox.
    Answer(CallRef, Answer),
    /// What a monitor of this mailbox watched is down; the monitor is used up.
    Down(MonitorRef, DownReason),
}

/// An event as it has come: an answer in the form of its migration that was asked in.
#[derive(Debug)]
pub(crate) struct Delivered {
    event: Event,
    translate: Option<Translate>,
}

impl Delivered {
    /// The event as its owner takes it. That runs code of the service, so never under a lock.
    pub(crate) fn read(self) -> Event {
        match (self.event, self.translate) {
            (Event::Answer(call, answer), Some(translate)) => Event::Answer(call, translate(answer)),
            (event, _) => event,
        }
    }
}

impl From<Event> for Delivered {
    fn from(event: Event) -> Self {
        Self { event, translate: None }
    }
}

/// What the peers' states hold of a mailbox.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    length_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct State<T> {
    queue: single::Queue<Delivered>,
    /// Bytes of payload in the queue.
    bytes: usize,
    waker: Option<Waker>,
    open: single::Map<CallRef, Open<T>>,
    /// The time limits of open calls, the next one first.
    deadlines: single::Set<(Instant, CallRef)>,
    /// One of them has passed: a member that keeps the time has said so.
    due: bool,
    monitors: BTreeMap<MonitorRef, Arc<T>>,
    /// The mailbox is dropped.
    gone: bool,
}

#[derive(Debug)]
struct Open<T> {
    /// Where it was cast to.
    member: Arc<T>,
    deadline: Option<Instant>,
    translate: Option<Translate>,
}

/// What a mailbox leaves behind.
pub(crate) struct Left<T> {
    pub(crate) open: Vec<(CallRef, Arc<T>)>,
    pub(crate) monitors: BTreeMap<MonitorRef, Arc<T>>,
}

/// A call that was not noted as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// The mailbox is dropped.
    Gone,
    /// Its number is that of an open call.
    InUse,
}

impl<T> Inbox<T> {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (length_max, bytes_max) = (limits.mailbox_length_max, limits.mailbox_bytes_max);
        Self { state: Mutex::default(), length_max, bytes_max }
    }

    /// Notes a call as open.
    pub(crate) fn open(
        &self,
        call: CallRef,
        member: &Arc<T>,
        deadline: Option<Instant>,
        translate: Option<Translate>,
    ) -> Result<(), NotOpened> {
        let mut state = self.lock();
        if state.gone {
            return Err(NotOpened::Gone);
        }
        if state.open.contains_key(&call) {
            return Err(NotOpened::InUse);
        }
        state.open.insert(call, Open { member: Arc::clone(member), deadline, translate });
        if let Some(deadline) = deadline {
            state.deadlines.insert((deadline, call));
        }
        Ok(())
    }

    /// Calls that are open.
    pub(crate) fn open_calls(&self) -> usize {
        self.lock().open.len()
    }

    /// Where an open call was cast to.
    pub(crate) fn member_of(&self, call: CallRef) -> Option<Arc<T>> {
        self.lock().open.get(&call).map(|open| Arc::clone(&open.member))
    }

    /// Lets go of those of these calls that are open.
    pub(crate) fn close(&self, calls: &[CallRef]) -> Vec<(CallRef, Arc<T>)> {
        let mut state = self.lock();
        calls.iter().filter_map(|&call| Some((call, state.close(call)?))).collect()
    }

    /// Lets go of the calls whose time limits have passed, with an answer for each.
    pub(crate) fn expire(&self) -> Vec<(CallRef, Arc<T>)> {
        let mut state = self.lock();
        if state.deadlines.first().is_none() {
            return Vec::new();
        }
        let now = Instant::now();
        std::iter::from_fn(|| state.expire_one(now)).collect()
    }

    pub(crate) fn watch(&self, monitor: MonitorRef, member: &Arc<T>) {
        self.lock().monitors.insert(monitor, Arc::clone(member));
    }

    /// Stops watching. A down that is already there is taken out.
    pub(crate) fn unwatch(&self, monitor: MonitorRef) -> Option<Arc<T>> {
        let mut state = self.lock();
        state.queue.retain(|of| !matches!(&of.event, Event::Down(of, _) if *of == monitor));
        state.monitors.remove(&monitor)
    }

    /// Puts an answer in, or each of its items. `false`: the mailbox is full, so its owner does not read; the call is
    /// ended and the owner told.
    pub(crate) fn deliver(&self, call: CallRef, answer: Answer) -> bool {
        let mut state = self.lock();
        let Some(translate) = state.open.get(&call).map(|open| open.translate) else { return true };
        match answer {
            Answer::Items(items) => {
                items.into_iter().all(|body| self.put(&mut state, call, Answer::Item { body }, translate))
            }
            answer => self.put(&mut state, call, answer, translate),
        }
    }

    fn put(&self, state: &mut State<T>, call: CallRef, answer: Answer, translate: Option<Translate>) -> bool {
        let room = state.queue.len() < self.length_max && state.bytes + payload_bytes(&answer) <= self.bytes_max;
        let fits = answer.is_last() || room;
        let answer =
            if fits { answer } else { Answer::Exit { function: Arc::default(), reason: ExitReason::ReplyDropped } };
        if answer.is_last() {
            state.close(call);
        }
        state.push(Delivered { event: Event::Answer(call, answer), translate });
        fits
    }

    pub(crate) fn deliver_down(&self, monitor: MonitorRef, reason: DownReason) {
        let mut state = self.lock();
        if state.monitors.remove(&monitor).is_some() {
            state.push(Event::Down(monitor, reason).into());
        }
    }

    /// The next event, if there is one already.
    pub(crate) fn pop(&self) -> Option<Delivered> {
        self.lock().pop()
    }

    /// The next event; where there is none, whether a time limit has passed, and the task is woken once either changes.
    pub(crate) fn next_or_due(&self, cx: &Context<'_>) -> Result<Delivered, bool> {
        self.take_or_wait(cx, State::pop)
    }

    /// As [`Inbox::next_or_due`], with all events that are there.
    pub(crate) fn all_or_due(&self, cx: &Context<'_>) -> Result<single::Queue<Delivered>, bool> {
        self.take_or_wait(cx, State::take_all)
    }

    fn take_or_wait<E>(&self, cx: &Context<'_>, take: fn(&mut State<T>) -> Option<E>) -> Result<E, bool> {
        let mut state = self.lock();
        take(&mut state).ok_or_else(|| {
            state.waker = Some(cx.waker().clone());
            std::mem::take(&mut state.due)
        })
    }

    /// Tells its owner where a time limit has passed, and gives the next one that has not.
    pub(crate) fn tell_due(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        if state.deadlines.first().is_some_and(|(deadline, _)| *deadline <= now) {
            state.due = true;
            state.wake();
        }
        state.deadlines.first_above(&(now, CallRef(u64::MAX))).map(|&(deadline, _)| deadline)
    }

    /// The mailbox is dropped: what is still open, and what is still watched; `None` where nothing is.
    pub(crate) fn end(&self) -> Option<Left<T>> {
        let mut state = self.lock();
        if state.open.len() == 0 && state.monitors.is_empty() {
            // Most have had their one answer.
            state.gone = true;
            return None;
        }
        let State { open, monitors, .. } = std::mem::replace(&mut *state, State { gone: true, ..State::default() });
        Some(Left { open: open.into_iter().map(|(call, open)| (call, open.member)).collect(), monitors })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("nothing panics while it holds a mailbox")
    }
}

impl<T> State<T> {
    fn push(&mut self, event: Delivered) {
        if let Event::Answer(_, answer) = &event.event {
            self.bytes += payload_bytes(answer);
        }
        self.queue.push(event);
        self.wake();
    }

    fn pop(&mut self) -> Option<Delivered> {
        let event = self.queue.pop()?;
        if let Event::Answer(_, answer) = &event.event {
            self.bytes -= payload_bytes(answer);
        }
        Some(event)
    }

    fn take_all(&mut self) -> Option<single::Queue<Delivered>> {
        self.bytes = 0;
        (self.queue.len() > 0).then(|| std::mem::take(&mut self.queue))
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Lets go of an open call.
    fn close(&mut self, call: CallRef) -> Option<Arc<T>> {
        let open = self.open.remove(&call)?;
        if let Some(deadline) = open.deadline {
            self.deadlines.remove(&(deadline, call));
        }
        Some(open.member)
    }

    fn expire_one(&mut self, now: Instant) -> Option<(CallRef, Arc<T>)> {
        let &(_, call) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        let member = self.close(call)?;
        let over = Answer::Exit { function: Arc::default(), reason: ExitReason::TimePassed };
        self.push(Event::Answer(call, over).into());
        Some((call, member))
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            queue: single::Queue::default(),
            bytes: 0,
            waker: None,
            open: single::Map::default(),
            deadlines: single::Set::default(),
            due: false,
            monitors: BTreeMap::new(),
            gone: false,
        }
    }
}

fn payload_bytes(answer: &Answer) -> usize {
    match answer {
        Answer::Reply { body, .. } | Answer::Item { body } | Answer::Question { body, .. } => body.len(),
        _ => 0,
    }
}
