//! The first answers of several nodes: waits for as many as are needed, and for no more.
//!
//! What CouchDB's fabric builds by hand on top of its fold: the first r of n, a majority, all; with hedging, where
//! nodes beyond those needed are asked only when the first are slow or fail.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{Answer, NodeName};
use tokio::time::Instant;

use crate::calls::error::{CallError, SendError};
use crate::calls::gather::{Gather, Gathered, Heard, Step};
use crate::calls::request::Request;
use crate::engine::Running;

type Decode<T, E> = Box<dyn Fn(Bytes) -> Result<T, E> + Send + Sync>;

/// A request to several nodes, of which some must answer. By default a majority, all asked at once.
///
/// ```
/// use std::time::Duration;
/// use rexi_server::{Bytes, Node, NodeName, QuorumError, Request};
///
/// async fn read(node: &Node, replicas: [NodeName; 3]) -> Result<Vec<Bytes>, QuorumError> {
///     let request = Request::new("read", "key").time_limit(Duration::from_secs(1));
///     let votes = node.quorum(replicas, request).first(2).hedge_after(Duration::from_millis(20)).await?;
///     Ok(votes.into_iter().map(|vote| vote.value).collect())
/// }
/// ```
#[must_use = "a quorum asks nobody until it is awaited"]
pub struct Quorum<T = Bytes, E = Infallible> {
    node: Running,
    peers: Vec<NodeName>,
    request: Request,
    need: usize,
    time_limit: Option<Duration>,
    hedge_after: Option<Duration>,
    let_rest_finish: bool,
    decode: Decode<T, E>,
}

/// One node's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote<T> {
    /// The node.
    pub peer: NodeName,
    /// What it said.
    pub value: T,
}

/// Why a node's answer does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VoteError<E = Infallible> {
    /// There was none.
    Call(CallError),
    /// The function itself has said no.
    Function(E),
}

/// A quorum that did not come together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuorumError<E = Infallible> {
    /// More answers are needed than there are nodes, or none. The caller is at fault; nothing was sent.
    Needed {
        /// Answers needed.
        needed: usize,
        /// Nodes named.
        of: usize,
    },
    /// A node is named twice, and would be counted twice. The caller is at fault; nothing was sent.
    Twice(NodeName),
    /// A node is not a member, or the request is out of bounds. The caller is at fault; what was sent is killed.
    Send(SendError),
    /// Too few nodes have answered. Jobs may have run.
    TooFew {
        /// Answers needed.
        needed: usize,
        /// Answers that came.
        voted: usize,
        /// Nodes named.
        of: usize,
        /// Which nodes have failed, and how.
        failed: Vec<(NodeName, VoteError<E>)>,
        /// Whether the time limit has passed.
        timed_out: bool,
    },
}

impl Quorum {
    /// Of a majority, until told otherwise.
    pub(crate) fn new(node: Running, peers: impl IntoIterator<Item = NodeName>, request: Request) -> Self {
        let peers: Vec<_> = peers.into_iter().collect();
        let (need, request) = (peers.len() / 2 + 1, request.of_call(node.shared()));
        Self {
            node,
            peers,
            request,
            need,
            time_limit: None,
            hedge_after: None,
            let_rest_finish: false,
            decode: Box::new(Ok),
        }
    }
}

impl<T, E> Quorum<T, E> {
    /// As many answers as this are enough.
    pub fn first(mut self, answers: usize) -> Self {
        self.need = answers;
        self
    }

    /// More than half of the nodes must answer.
    pub fn majority(mut self) -> Self {
        self.need = self.peers.len() / 2 + 1;
        self
    }

    /// All nodes must answer.
    pub fn all(mut self) -> Self {
        self.need = self.peers.len();
        self
    }

    /// How long to wait in all. Default: no limit but that of the request.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Asks only as many nodes as are needed, in their order, and one more each time that this long passes without
    /// enough answers, or at once when one fails.
    pub fn hedge_after(mut self, wait: Duration) -> Self {
        self.hedge_after = Some(wait);
        self
    }

    /// Lets the jobs that are no longer waited for run to their end, as writes should. It takes effect once there are
    /// enough answers.
    pub fn let_rest_finish(mut self) -> Self {
        self.let_rest_finish = true;
        self
    }

    /// Decodes each reply. One that comes out as an error counts as a failure of its node.
    pub fn decode<U, F>(self, decode: impl Fn(Bytes) -> Result<U, F> + Send + Sync + 'static) -> Quorum<U, F> {
        let Self { node, peers, request, need, time_limit, hedge_after, let_rest_finish, decode: _ } = self;
        let decode: Decode<U, F> = Box::new(decode);
        Quorum { node, peers, request, need, time_limit, hedge_after, let_rest_finish, decode }
    }

    /// Asks, and waits. The answers are in the order in which they came. Dropping the future kills what it started.
    ///
    /// # Errors
    /// [`QuorumError`], as soon as too few nodes are left.
    pub async fn run(self) -> Result<Vec<Vote<T>>, QuorumError<E>> {
        self.check()?;
        let until = self.time_limit.and_then(|limit| Instant::now().checked_add(limit));
        let of = self.peers.len();
        let mut gather = Gather::new(self.node.clone());
        let mut unasked: VecDeque<_> = self.peers.iter().collect();
        let at_once = if self.hedge_after.is_some() { self.need } else { of };
        for peer in unasked.drain(..at_once) {
            gather.cast(peer, self.request.clone())?;
        }
        let mut tally = Tally { votes: Vec::new(), failed: Vec::new() };
        loop {
            self.limit(&mut gather, until, !unasked.is_empty());
            let folded = gather.fold(tally, |gather, tally, heard| self.count(tally, gather, heard)).await;
            let (counted, waited_in_vain) = match folded {
                Gathered::TimedOut(tally) => (tally, true),
                Gathered::Stopped(tally) | Gathered::Exhausted(tally) => (tally, false),
                Gathered::Returned(never) => match never {},
            };
            tally = counted;
            if tally.votes.len() >= self.need {
                if self.let_rest_finish {
                    gather.detach_all();
                }
                return Ok(tally.votes);
            }
            let timed_out = until.is_some_and(|until| waited_in_vain && until <= Instant::now());
            if timed_out || self.is_hopeless(&tally) {
                let Tally { votes, failed } = tally;
                return Err(QuorumError::TooFew { needed: self.need, voted: votes.len(), of, failed, timed_out });
            }
            if let Some(peer) = unasked.pop_front() {
                gather.cast(peer, self.request.clone())?;
            }
        }
    }

    fn check(&self) -> Result<(), QuorumError<E>> {
        let of = self.peers.len();
        if self.need == 0 || self.need > of {
            return Err(QuorumError::Needed { needed: self.need, of });
        }
        let mut names = BTreeSet::new();
        match self.peers.iter().find(|peer| !names.insert(*peer)) {
            Some(twice) => Err(QuorumError::Twice(twice.clone())),
            None => Ok(()),
        }
    }

    fn limit(&self, gather: &mut Gather, until: Option<Instant>, more_to_ask: bool) {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let hedge = self.hedge_after.filter(|_| more_to_ask);
        gather.time_limit([left, hedge].into_iter().flatten().min());
    }

    /// Counts one answer; stops where there are enough, or where one more node has failed and another may be asked.
    fn count(&self, mut tally: Tally<T, E>, gather: &mut Gather, heard: Heard) -> Step<Tally<T, E>, Infallible> {
        let Heard::Answer { call, from, answer } = heard else { return Step::Continue(tally) };
        let over = answer.is_last();
        let counted = match answer {
            Answer::Reply { body, .. } => (self.decode)(body).map_err(VoteError::Function),
            answer => Err(VoteError::Call(CallError::from_answer(answer))),
        };
        if !over {
            // Only its first reply counts.
            gather.kill(call);
        }
        match counted {
            Ok(value) => tally.votes.push(Vote { peer: from, value }),
            Err(error) => {
                tally.failed.push((from, error));
                let ask_another = self.hedge_after.is_some();
                return if ask_another || self.is_hopeless(&tally) { Step::Stop(tally) } else { Step::Continue(tally) };
            }
        }
        if tally.votes.len() >= self.need { Step::Stop(tally) } else { Step::Continue(tally) }
    }

    /// Whether too few nodes are left.
    fn is_hopeless(&self, tally: &Tally<T, E>) -> bool {
        self.peers.len() - tally.failed.len() < self.need
    }
}

impl<T: Send + 'static, E: Send + 'static> IntoFuture for Quorum<T, E> {
    type Output = Result<Vec<Vote<T>>, QuorumError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<E: fmt::Display> fmt::Display for VoteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Function(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Display> fmt::Display for QuorumError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needed { needed, of } => {
                write!(f, "{needed} of {of} nodes are not a quorum: ask for 1 to all of them")
            }
            Self::Twice(peer) => write!(f, "{peer} is named twice, and would be counted twice"),
            Self::Send(error) => error.fmt(f),
            Self::TooFew { needed, voted, of, failed, timed_out } => {
                write!(f, "{voted} of {of} nodes have answered, {needed} are needed")?;
                if *timed_out {
                    f.write_str("; the time limit has passed")?;
                }
                failed.iter().try_for_each(|(peer, error)| write!(f, "; {peer}: {error}"))
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for VoteError<E> {}

impl<E: fmt::Debug + fmt::Display> std::error::Error for QuorumError<E> {}

impl<E> From<SendError> for QuorumError<E> {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

/// What has come so far.
struct Tally<T, E> {
    votes: Vec<Vote<T>>,
    failed: Vec<(NodeName, VoteError<E>)>,
}
