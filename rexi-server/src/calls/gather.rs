//! A fold over the answers of many calls: what CouchDB's coordinators do with `rexi_utils:recv`.
//!
//! In: casts, and a function that is handed each answer together with what it has made of the earlier ones. Out: what
//! it made of all of them, or what it had when the time ran out. Dropping a gather kills what it started, on every
//! node. Source: rexi_utils.erl; R25 to R29 of docs/rexi.md.

use std::collections::BTreeMap;
use std::time::Duration;

use rexi_proto::{Answer, CallRef, DownReason, MonitorRef, NodeName};
use tokio::time::Instant;

use crate::calls::error::SendError;
use crate::calls::mailbox::{Mailbox, MailboxHandle};
use crate::calls::request::Request;
use crate::engine::{Event, Running};

/// Calls whose answers belong together.
///
/// ```
/// use rexi_server::{Answer, Node, NodeName, Request, SendError, calls::{Gathered, Heard, Step}};
///
/// /// Counts the nodes that reply, until one does not.
/// async fn count(node: &Node, peers: &[NodeName]) -> Result<Option<u32>, SendError> {
///     let mut gather = node.gather();
///     gather.cast_all(peers, &Request::new("hello", ""))?;
///     let counted = gather.fold(0, |_, replies, heard| match heard {
///         Heard::Answer { answer: Answer::Reply { .. }, .. } => Step::Continue(replies + 1),
///         other => Step::Return(other),
///     });
///     Ok(match counted.await {
///         Gathered::Exhausted(replies) => Some(replies),
///         _ => None,
///     })
/// }
/// ```
#[must_use = "dropping a gather kills its calls"]
pub struct Gather {
    mailbox: Mailbox,
    calls: BTreeMap<CallRef, NodeName>,
    monitors: BTreeMap<MonitorRef, NodeName>,
    time_limit: Option<Duration>,
    per_message_limit: Option<Duration>,
    strays: u64,
}

/// What a fold is handed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// An answer to one of the calls; any but a ping.
    Answer {
        /// The call.
        call: CallRef,
        /// The node that it was cast to.
        from: NodeName,
        /// The answer.
        answer: Answer,
    },
    /// A monitored server is down. It names no call: those end with answers of their own.
    Down {
        /// The node that it ran on.
        from: NodeName,
        /// Why.
        reason: DownReason,
    },
}

/// How a fold goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<A, T> {
    /// With the next answer.
    Continue(A),
    /// With these calls only; those that are left out are killed.
    Replace(A, Vec<CallRef>),
    /// No longer: this is the result.
    Stop(A),
    /// No longer: this is returned as it is.
    Return(T),
}

/// How a fold has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gathered<A, T> {
    /// The function has stopped it.
    Stopped(A),
    /// The function has returned this.
    Returned(T),
    /// A time limit has passed.
    TimedOut(A),
    /// Every call has had its last answer. The original waits on until its time limit, since it is not told of jobs
    /// that end without a reply.
    Exhausted(A),
}

impl Gather {
    pub(crate) fn new(node: Running) -> Self {
        Self {
            mailbox: Mailbox::new(node),
            calls: BTreeMap::new(),
            monitors: BTreeMap::new(),
            time_limit: None,
            per_message_limit: None,
            strays: 0,
        }
    }

    /// Casts to `peer`. Never waits.
    ///
    /// # Errors
    /// [`SendError`] where the peer is not a member or the request is out of bounds; nothing was sent.
    pub fn cast(&mut self, peer: &NodeName, request: Request) -> Result<CallRef, SendError> {
        let call = self.mailbox.cast(peer, request)?;
        self.calls.insert(call, peer.clone());
        Ok(call)
    }

    /// Casts the same to each of `peers`; gives the calls in their order.
    ///
    /// # Errors
    /// As [`Gather::cast`], for the first that fails; those before it are cast.
    pub fn cast_all<'a>(
        &mut self,
        peers: impl IntoIterator<Item = &'a NodeName>,
        request: &Request,
    ) -> Result<Vec<CallRef>, SendError> {
        peers.into_iter().map(|peer| self.cast(peer, request.clone())).collect()
    }

    /// Hands the death of the server of `peer` that casts go to now to the fold.
    ///
    /// # Errors
    /// [`SendError::NotAMember`].
    pub fn monitor(&mut self, peer: &NodeName) -> Result<(), SendError> {
        let monitor = self.mailbox.monitor(peer)?;
        self.monitors.insert(monitor, peer.clone());
        Ok(())
    }

    /// How long a fold may take, from its start. Default: no limit.
    pub fn time_limit(&mut self, limit: impl Into<Option<Duration>>) {
        self.time_limit = limit.into();
    }

    /// How long a fold may receive nothing. A ping counts as something. Default: no limit.
    pub fn per_message_limit(&mut self, limit: impl Into<Option<Duration>>) {
        self.per_message_limit = limit.into();
    }

    /// The calls whose last answer has not come, with the node that each was cast to.
    pub fn calls(&self) -> impl Iterator<Item = (CallRef, &NodeName)> {
        self.calls.iter().map(|(&call, peer)| (call, peer))
    }

    /// Answers to calls that do not belong to this gather, which were ignored: somebody has cast with its handle.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// The handle of the gather's mailbox: to start, cancel and acknowledge streams, and to respond to questions.
    pub fn handle(&self) -> MailboxHandle {
        self.mailbox.handle()
    }

    /// Ends the job of this call; no more answers come from it.
    pub fn kill(&mut self, call: CallRef) {
        self.calls.remove(&call);
        self.mailbox.kill(&[call]);
    }

    /// Lets go of all calls and lets their jobs run to their ends.
    pub fn detach_all(&mut self) {
        for call in std::mem::take(&mut self.calls).into_keys() {
            self.mailbox.detach(call);
        }
    }

    /// Hands each answer to `fold`, with what it has made of those before, until it stops, a limit passes, or every
    /// call has had its last answer. `fold` may cast, kill and drive streams with the gather that it is handed. What is
    /// still open then stays so: the gather may be folded again.
    ///
    /// Cancel safe in that no answer is lost but those that `fold` was handed.
    pub async fn fold<A, T>(
        &mut self,
        mut result: A,
        mut fold: impl FnMut(&mut Self, A, Heard) -> Step<A, T>,
    ) -> Gathered<A, T> {
        let started = Instant::now();
        let until = self.time_limit.and_then(|limit| started.checked_add(limit));
        let mut last_heard = started;
        while !self.calls.is_empty() {
            let silent_until = self.per_message_limit.and_then(|limit| last_heard.checked_add(limit));
            let deadline = [until, silent_until].into_iter().flatten().min();
            let event = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, self.mailbox.recv()).await,
                None => Ok(self.mailbox.recv().await),
            };
            let Ok(event) = event else { return Gathered::TimedOut(result) };
            let Some(heard) = self.take(event, &mut last_heard) else { continue };
            match fold(self, result, heard) {
                Step::Continue(next) => result = next,
                Step::Replace(next, calls) => {
                    self.keep(&calls);
                    result = next;
                }
                Step::Stop(result) => return Gathered::Stopped(result),
                Step::Return(value) => return Gathered::Returned(value),
            }
        }
        Gathered::Exhausted(result)
    }

    /// What of an event is for the fold.
    fn take(&mut self, event: Event, last_heard: &mut Instant) -> Option<Heard> {
        let heard = match event {
            Event::Answer(call, answer) => {
                let Some(from) = self.calls.get(&call).cloned() else {
                    self.strays += 1;
                    return None;
                };
                if answer.is_last() {
                    self.calls.remove(&call);
                }
                (answer != Answer::Ping).then_some(Heard::Answer { call, from, answer })
            }
            Event::Down(monitor, reason) => {
                let from = self.monitors.remove(&monitor)?;
                Some(Heard::Down { from, reason })
            }
        };
        *last_heard = Instant::now();
        heard
    }

    fn keep(&mut self, calls: &[CallRef]) {
        let left_out: Vec<_> = self.calls.keys().copied().filter(|call| !calls.contains(call)).collect();
        self.calls.retain(|call, _| calls.contains(call));
        self.mailbox.kill(&left_out);
    }
}
