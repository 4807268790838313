//! The load's gathers: all nodes are asked the same, and the first answers are enough. Each runs in a task of its own.
//!
//! Three forms take turns: a fold with a limit in all and one between messages, a majority, and a hedged quorum. Each
//! is in the ledger before it asks, and again when it ends, even if that is by being dropped.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::seq::SliceRandom;
use rexi_proto::{Answer, ExitReason, NodeName};
use rexi_server::{
    CallError, CastError, Node, QuorumError, Request, SendError,
    calls::{Gathered, Heard, Step, VoteError},
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Load, index_of};
use crate::history::ledger::{CallId, CallNumber, Entry, GatherEnd, GatherForm, LedgerWriter, NodeSet, Outcome, Work};
use crate::workload::functions::FUNCTION;
use crate::workload::work::{Order, outcome_of, record};

/// The gathers of one node that are under way.
pub(super) struct Gathers {
    tasks: JoinSet<()>,
    /// How long from one to the next.
    interval: Duration,
    next: Instant,
}

impl Gathers {
    /// For a node with this rate of casts: one gather for a hundred of them, but 4 a second at least and 20 at most.
    pub(super) fn new(now: Instant, rate: u32) -> Self {
        Self { tasks: JoinSet::new(), interval: Duration::from_secs(1) / (rate / 100).clamp(4, 20), next: now }
    }

    pub(super) fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Forgets those that have ended.
    pub(super) fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }

    /// Drops those that are under way.
    pub(super) fn give_up(&mut self) {
        self.tasks.abort_all();
    }
}

impl Load {
    /// Begins a gather where one is due. A process that was held up makes up for none.
    pub(super) fn gather_due(&mut self, now: Instant) {
        if now >= self.gathers.next {
            self.gathers.next = now + self.gathers.interval;
            self.begin_gather();
        }
    }

    /// Begins a gather, unless as many as may be are under way.
    pub(super) fn begin_gather(&mut self) {
        if !self.on || self.gathers.running() >= GATHERS_MAX {
            return;
        }
        let id = self.next_id();
        let mut peers: Vec<NodeName> = self.targets.iter().map(|target| target.name.clone()).collect();
        peers.shuffle(&mut self.rng);
        let form = GatherForm::ALL[usize::try_from(id.call.0 % 3).unwrap_or_default()];
        let need = match form {
            GatherForm::First => self.rng.random_range(1..=peers.len()),
            GatherForm::Majority => peers.len() / 2 + 1,
            GatherForm::Hedged => self.rng.random_range(1..peers.len().max(2)),
        };
        let pause_ms =
            if self.rng.random_bool(0.1) { self.rng.random_range(20..60) } else { self.rng.random_range(0..4) };
        let hedge_after = Duration::from_millis(self.rng.random_range(3..30));
        self.gather(id, peers, (form, need), Duration::from_millis(pause_ms), hedge_after);
    }

    /// Asks all nodes, and is content with a majority. Each takes another part of this time.
    pub(crate) fn gather_majority(&mut self, pause: Duration) {
        self.gathers.reap();
        let peers: Vec<NodeName> = self.targets.iter().map(|target| target.name.clone()).collect();
        let (id, need) = (self.next_id(), peers.len() / 2 + 1);
        self.gather(id, peers, (GatherForm::Majority, need), pause, Duration::ZERO);
    }

    fn gather(
        &mut self,
        id: CallId,
        peers: Vec<NodeName>,
        (form, need): (GatherForm, usize),
        pause: Duration,
        hedge_after: Duration,
    ) {
        let order = Order { id, work: Work::Vote, pause, payload_bytes: 32, parts: 0, window: 0, salt: 0 };
        let members = peers.iter().filter_map(index_of).collect();
        let (gather, limit_ms) = (id.call, u32::try_from(LIMIT.as_millis()).unwrap_or(u32::MAX));
        let begun = Entry::GatherBegun { gather, form, need: u8::try_from(need).unwrap_or(u8::MAX), members, limit_ms };
        record(&self.ledger, &[begun]);
        let ledger = Arc::clone(&self.ledger);
        let end = End { ledger, gather, how: GatherEnd::GivenUp, tally: Tally::default() };
        let plan = Gathering { node: self.node.clone(), order, peers, need };
        self.gathers.tasks.spawn(async move {
            match form {
                GatherForm::First => plan.first(end).await,
                GatherForm::Majority => plan.quorum(end, None).await,
                GatherForm::Hedged => plan.quorum(end, Some(hedge_after)).await,
            }
        });
    }
}

/// One gather that is to be made.
struct Gathering {
    node: Node,
    order: Order,
    peers: Vec<NodeName>,
    need: usize,
}

impl Gathering {
    async fn first(self, mut end: End) {
        let Self { node, order, peers, need } = self;
        let mut gather = node.gather();
        gather.time_limit(LIMIT);
        gather.per_message_limit(SILENCE_LIMIT);
        if gather.cast_all(&peers, &Request::new(FUNCTION, order.encode())).is_err() {
            end.how = GatherEnd::Refused;
            return;
        }
        let expected = order.expected_reply();
        let folded = gather.fold(Tally::default(), |_, mut tally, heard| {
            let Heard::Answer { from, answer, .. } = heard else { return Step::Continue(tally) };
            match answer {
                Answer::Reply { body, .. } => tally.count(&from, body == expected),
                answer => tally.fail(odd(&order, &answer)),
            }
            if tally.voted() >= need {
                Step::Stop(tally)
            } else if peers.len() - tally.failed < need {
                Step::Return(tally)
            } else {
                Step::Continue(tally)
            }
        });
        (end.how, end.tally) = match folded.await {
            Gathered::Stopped(tally) => (GatherEnd::Reached, tally),
            Gathered::TimedOut(tally) => (GatherEnd::TimedOut, tally),
            Gathered::Returned(tally) | Gathered::Exhausted(tally) => (GatherEnd::TooFew, tally),
            _ => return,
        };
    }

    async fn quorum(self, mut end: End, hedge_after: Option<Duration>) {
        let Self { node, order, peers, need } = self;
        let expected = order.expected_reply();
        let request = Request::new(FUNCTION, order.encode()).time_limit(LIMIT);
        let quorum = node.quorum(peers, request).first(need).time_limit(LIMIT);
        let quorum = match hedge_after {
            Some(wait) => quorum.hedge_after(wait),
            None => quorum.majority(),
        };
        match quorum.await {
            Ok(votes) => {
                end.how = GatherEnd::Reached;
                votes.iter().for_each(|vote| end.tally.count(&vote.peer, vote.value == expected));
            }
            Err(QuorumError::TooFew { failed, timed_out, .. }) => {
                end.how = if timed_out { GatherEnd::TimedOut } else { GatherEnd::TooFew };
                for (_, error) in failed {
                    let VoteError::Call(error) = error else { continue };
                    end.tally.fail(odd_error(&error));
                }
            }
            Err(_) => end.how = GatherEnd::Refused,
        }
    }
}

/// The answers of one gather.
#[derive(Default)]
struct Tally {
    votes: NodeSet,
    wrong: NodeSet,
    failed: usize,
    odd: Option<Outcome>,
}

impl Tally {
    fn count(&mut self, from: &NodeName, right: bool) {
        let Some(node) = index_of(from) else { return };
        let counted = if right { &mut self.votes } else { &mut self.wrong };
        *counted = counted.with(node);
    }

    fn fail(&mut self, odd: Option<Outcome>) {
        self.failed += 1;
        self.odd = self.odd.or(odd);
    }

    fn voted(&self) -> usize {
        (self.votes.len() + self.wrong.len()) as usize
    }
}

/// Records a gather's end when it is dropped, however that comes about.
struct End {
    ledger: Arc<LedgerWriter>,
    gather: CallNumber,
    how: GatherEnd,
    tally: Tally,
}

impl Drop for End {
    fn drop(&mut self) {
        let Tally { votes, wrong, odd, .. } = self.tally;
        record(&self.ledger, &[Entry::GatherEnded { gather: self.gather, how: self.how, votes, wrong, odd }]);
    }
}

/// What an answer that is not a vote amounts to, where it is not what a node that is down, leaving or slow gives.
fn odd(order: &Order, answer: &Answer) -> Option<Outcome> {
    match answer {
        Answer::Exit { reason: ExitReason::TimePassed, .. } => None,
        answer => order.outcome(answer).filter(|outcome| !outcome.is_told() || is_refusal(*outcome)),
    }
}

/// As [`odd`], of an answer that a quorum has turned into an error.
fn odd_error(error: &CallError) -> Option<Outcome> {
    match error {
        CallError::Dropped | CallError::DroppedInAll | CallError::TimePassed => None,
        CallError::Down(_) | CallError::Incompatible(_) => None,
        // A bound on open calls.
        CallError::Send(SendError::Refused(CastError::TooManyCalls { .. })) => None,
        CallError::Ended(reason) => Some(outcome_of(reason)).filter(|outcome| !outcome.is_told()),
        CallError::NoSuchServer(_) => Some(Outcome::NoSuchServer),
        CallError::NoSuchFunction => Some(Outcome::NoSuchFunction),
        _ => Some(Outcome::OtherExit),
    }
}

fn is_refusal(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::NoSuchServer | Outcome::NoSuchFunction)
}

/// How many gathers of a node may be under way at once; no more are begun then.
const GATHERS_MAX: usize = 16;

/// How long a gather may take in all.
const LIMIT: Duration = Duration::from_secs(3);

/// How long a fold may receive nothing.
const SILENCE_LIMIT: Duration = Duration::from_secs(2);
