//! A service's handle on a running node. What each of its methods does is in the rooms below.
//!
//! When the last handle is dropped the node stops at once; [`Node::shutdown`] is the orderly way.

mod leave;
mod record;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{CallRef, CloseCode, FunctionRow, Incarnation, MigrationKey, NodeName};

use self::leave::Announcement;
pub use self::record::{CommandError, EXIT_CONFIG};
pub use self::watch::{MemberEvents, PresenceWatch};
use crate::calls::{Call, CallError, Gather, Mailbox, Quorum, Replies, Request, SendError};
use crate::engine::{AllowList, Failure, MemberError, NodeStatus, RolloutControl, Running, Shared, members};
use crate::functions::{Ask, AskError, AskStream, value};
#[cfg(feature = "tower")]
use crate::middleware::{Client, RetryPolicy};
use crate::net::{Identity, IdentityError};
use crate::typed::{Function, StreamFunction};

/// A node of the cluster, running. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    running: Running,
}

impl Node {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { running: Running::new(shared) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.running.shared()
    }

    /// The node's name.
    pub fn name(&self) -> &NodeName {
        &self.shared().name
    }

    /// The start of this life of the node.
    pub fn incarnation(&self) -> Incarnation {
        self.shared().incarnation
    }

    /// The address the node listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        self.shared().endpoint.local_addr()
    }

    /// The members' names as they are now, in order, the node's own among them.
    pub fn members(&self) -> Vec<NodeName> {
        self.shared().members().names().cloned().collect()
    }

    /// Casts to `peer`, which may be the node itself. Never waits: what is sent to a node that is away or slow is
    /// buffered, within bounds.
    ///
    /// # Errors
    /// [`SendError`] where the peer is not a member, the request is out of bounds or this node's release may not call
    /// the function; nothing was sent.
    pub fn cast(&self, peer: &NodeName, request: Request) -> Result<Call, SendError> {
        Call::cast(&self.running, peer, request)
    }

    /// Casts and waits for the first reply. Dropping the future kills the job.
    ///
    /// # Errors
    /// [`CallError`] says what became of the call instead, and whether it may have run.
    pub async fn call(&self, peer: &NodeName, request: Request) -> Result<Bytes, CallError> {
        self.cast(peer, request.of_call(self.shared()))?.reply().await
    }

    /// As [`Node::cast`], but waits until the peer is there and keeps up: see
    /// [`MailboxHandle::cast_when_clear`](crate::calls::MailboxHandle::cast_when_clear).
    ///
    /// # Errors
    /// As [`Node::cast`]; also [`SendError::NoRoom`].
    pub async fn cast_when_clear(&self, peer: &NodeName, request: Request) -> Result<Call, SendError> {
        Call::cast_when_clear(&self.running, peer, request).await
    }

    /// Casts to `peer` and takes what the job sends as a stream. Never waits.
    ///
    /// ```
    /// use futures_util::StreamExt;
    /// use rexi_server::{Bytes, CallError, Context, JobOver, Node, NodeName, Request};
    ///
    /// async fn rows(mut job: Context, _: Bytes) -> Result<(), JobOver> {
    ///     for row in ["one", "two"] {
    ///         job.stream(row).await?;
    ///     }
    ///     job.stream_last("three").await
    /// }
    ///
    /// async fn print(node: &Node, peer: &NodeName) -> Result<(), CallError> {
    ///     let mut items = node.stream(peer, Request::new("rows", ""))?;
    ///     while let Some(item) = items.next().await {
    ///         println!("{:?}", item?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SendError`] where the peer is not a member or the request is out of bounds; nothing was sent.
    pub fn stream(&self, peer: &NodeName, request: Request) -> Result<Replies, SendError> {
        Ok(Replies::new(self.cast(peer, request)?))
    }

    /// A mailbox for the answers of many calls. As many replies may wait in it as `Limits::mailbox_length_max` and
    /// `mailbox_bytes_max` say; a job that replies beyond is ended and its call answered.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::new(self.running.clone())
    }

    /// A reference for [`MailboxHandle::cast_as`](crate::calls::MailboxHandle::cast_as), used by nobody before.
    pub fn next_call(&self) -> CallRef {
        self.shared().next_call()
    }

    /// A gather without calls.
    pub fn gather(&self) -> Gather {
        Gather::new(self.running.clone())
    }

    /// Asks these nodes, and waits for as many answers as are needed: a majority, unless told otherwise. Only first
    /// replies count. The rest is killed once there are enough.
    pub fn quorum(&self, peers: impl IntoIterator<Item = NodeName>, request: Request) -> Quorum {
        Quorum::new(self.running.clone(), peers, request)
    }

    /// Calls a typed function; to be awaited, for its reply. Dropping the future kills the job.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use rexi_server::{AskError, Node, NodeName};
    ///
    /// rexi_server::function! {
    ///     /// The value of a key.
    ///     pub Get = "kv.get" (String) -> Option<u32>, error String, since 1.0;
    /// }
    ///
    /// async fn read(node: &Node, peer: &NodeName, key: &String) -> Result<Option<u32>, AskError<String>> {
    ///     node.ask(Get, peer, key).time_limit(Duration::from_secs(1)).await
    /// }
    /// ```
    ///
    /// With a nonce or a trace: [`Request::of`], [`Node::call`] and [`functions::reply`](crate::functions::reply).
    ///
    /// # Errors
    /// [`AskError::Function`] with the function's own error; [`AskError::Call`] with what became of the call instead.
    pub fn ask<F: Function>(&self, function: F, peer: &NodeName, argument: &F::Argument) -> Ask<F> {
        Ask::new(function, self.running.clone(), peer.clone(), argument)
    }

    /// Calls a typed function that answers with a stream; to be taken item by item. Items are acknowledged as they are
    /// taken; dropping the stream kills the job. Its last item is an error if it did not end well, or was not sent.
    pub fn ask_stream<F: StreamFunction>(&self, function: F, peer: &NodeName, argument: &F::Argument) -> AskStream<F> {
        AskStream::new(function, self.running.clone(), peer.clone(), argument)
    }

    /// As [`Node::quorum`], for a typed function: its own error counts as a failure of its node.
    pub fn ask_quorum<F: Function>(
        &self,
        function: F,
        peers: impl IntoIterator<Item = NodeName>,
        argument: &F::Argument,
    ) -> Quorum<F::Reply, AskError<F::Error>> {
        value::ask_quorum(function, self.running.clone(), peers, argument)
    }

    /// The functions that this node has, by name, with the rows of those that are typed.
    pub fn functions(&self) -> impl Iterator<Item = (&str, Option<&FunctionRow>)> {
        self.shared().registry.rows()
    }

    /// This node's calls as a tower service. It keeps the node running.
    #[cfg(feature = "tower")]
    pub fn client(&self) -> Client {
        Client::new(self.running.clone(), ())
    }

    /// This node's calls of a typed function as a tower service: see [`Node::client`].
    #[cfg(feature = "tower")]
    pub fn client_of<F: Function>(&self, function: F) -> Client<F> {
        Client::new(self.running.clone(), function)
    }

    /// How to try calls again: 3 tries in all, with 10 ms to 1 s between them, and a budget of tower's default, which
    /// is a fifth of the calls, plus 10 a second.
    #[cfg(feature = "tower")]
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::new(self.shared().env.random())
    }

    /// Takes a member in. It is dialed from now on, and accepted. What its release is nobody knows before it has said
    /// hello, so it keeps this node's phase from being raised until then; nothing is lowered for it. Every member must
    /// know every other: add it on all nodes, and all nodes to it.
    ///
    /// For adapters of whatever knows the members; see [`Membership`](crate::Membership) for one that is asked.
    ///
    /// # Errors
    /// [`MemberError`]; nothing has changed then.
    pub fn add_member(&self, name: NodeName, address: SocketAddr) -> Result<(), MemberError> {
        members::join(self.shared(), name, Some(address))
    }

    /// Lets a member go. Its connection is closed; calls to it end with [`Answer::Down`](crate::Answer::Down), as they
    /// do when a node is given up; what it runs here is killed; monitors fire. From now on its handshakes are refused
    /// and casts to it are no longer accepted. If it stood in the way of this node's phase, the phase may rise. A node
    /// of that name that joins later is a new member.
    ///
    /// # Errors
    /// [`MemberError`]; nothing has changed then.
    pub fn remove_member(&self, name: &NodeName) -> Result<(), MemberError> {
        members::leave(self.shared(), name)
    }

    /// Dials a member at this address from its next try on. A connection that stands is kept.
    ///
    /// # Errors
    /// [`MemberError`]; nothing has changed then.
    pub fn move_member(&self, name: &NodeName, address: SocketAddr) -> Result<(), MemberError> {
        members::relocate(self.shared(), name, address)
    }

    /// Waits until every member is connected, and before that until a membership that has to be asked has said who they
    /// are. Waits for as long as one is not: see [`Node::status`] for who and why.
    pub async fn ready(&self) {
        let mut presence = self.watch_presence();
        while !self.shared().has_all_members() {
            presence.changed().await;
        }
    }

    /// Hears of what happens to members from now on. What is so already, [`Node::status`] says: ask for it after this,
    /// and nothing is missed.
    pub fn watch_members(&self) -> MemberEvents {
        MemberEvents::new(self.clone())
    }

    /// Hears of members that come and go from now on.
    pub fn watch_presence(&self) -> PresenceWatch {
        PresenceWatch::new(self.clone())
    }

    /// The node as it is now.
    pub fn status(&self) -> NodeStatus {
        self.shared().status()
    }

    /// The rollout of the only migration in which the train goes on, or of rexi's own where it goes on in none or in
    /// several: its phase, and what limits it. [`Node::rollout_of`] has the others.
    pub fn rollout(&self) -> RolloutControl {
        let place = self.shared().only_migration();
        RolloutControl { node: self.running.clone(), place }
    }

    /// The rollout of each migration of the node's train, rexi's own first.
    pub fn rollouts(&self) -> impl Iterator<Item = RolloutControl> {
        let count = self.shared().migrations.len();
        (0..count).map(|place| RolloutControl { node: self.running.clone(), place })
    }

    /// The rollout of a migration; `None` where the node's train does not have it.
    pub fn rollout_of(&self, migration: impl AsRef<MigrationKey>) -> Option<RolloutControl> {
        let place = self.shared().migration_place(migration.as_ref())?;
        Some(RolloutControl { node: self.running.clone(), place })
    }

    /// The last jobs of this node that ended with an error or a panic, newest first, whichever server ran them: as many
    /// of each as [`NodeBuilder::errors_kept`](crate::NodeBuilder::errors_kept) says. A caller that has been told of a
    /// failure finds it here. Cost: a copy.
    pub fn errors(&self) -> Vec<Failure> {
        self.shared().failures.newest_first()
    }

    /// Changes how many failed jobs are kept of each server: see
    /// [`NodeBuilder::errors_kept`](crate::NodeBuilder::errors_kept). Where that is fewer than before, the newest stay.
    /// (CouchDB's rexi keeps the oldest there.)
    pub fn set_errors_kept(&self, number: usize) {
        self.shared().failures.set_length_max(number);
    }

    /// Who may call what from now on; `None`: every member every function. A running job goes on, whoever its caller
    /// is.
    pub fn set_allow_list(&self, list: Option<AllowList>) {
        self.shared().set_allow_list(list);
    }

    /// Takes another certificate, key and authorities for all connections from now on, in both directions. Connections
    /// that stand are kept; members that are away are dialed at once.
    ///
    /// A cluster that changes its authority gives every node both authorities first, then the new certificates, and
    /// then the new authority alone.
    ///
    /// # Errors
    /// What a start refuses ([`Identity::check`]); the identity in use stays. [`IdentityError::NotInUse`] where
    /// [`NodeEnv::crypto`](crate::NodeEnv::crypto) secures connections.
    pub fn reload_identity(&self, identity: Identity) -> Result<(), IdentityError> {
        self.shared().change_identity(identity)
    }

    /// Ends without a word to anybody, as the end of the process would: its tasks, its workers and its connections are
    /// dropped where they are. Handles that are still held answer that all is down. The socket is for the caller to
    /// close first, or QUIC says a last word through it.
    #[cfg(feature = "testing")]
    pub fn crash(&self) {
        self.shared().env.tasks().abort();
        self.shared().stop();
    }

    /// Leaves in good order: refuses new casts with a typed exit, lets jobs finish for up to `limit`, ends the rest
    /// with an exit each, makes sure that peers have every answer, closes. Returns how many jobs had to be ended.
    ///
    /// A peer that casts to it meanwhile, or had a cast on its way, receives
    /// [`ExitReason::Draining`](crate::ExitReason), which is [safe to retry](CallError::is_safe_to_retry) on another
    /// node.
    pub async fn shutdown(self, limit: Duration) -> usize {
        self.shutdown_by(limit, std::future::pending()).await
    }

    /// As [`Node::shutdown`], but waits for jobs no longer than until `cut_short` is ready, either.
    pub async fn shutdown_by(self, limit: Duration, cut_short: impl Future<Output = ()>) -> usize {
        let shared = Arc::clone(self.shared());
        shared.drain();
        let announcement = Announcement::made(&self.running);
        tokio::select! {
            biased;
            () = shared.wait_idle() => {}
            () = cut_short => {}
            () = tokio::time::sleep(limit) => {}
        }
        let ended = shared.end_servers();
        announcement.heard().await;
        // QUIC's close throws away what is not acknowledged, so writers finish their lanes first.
        shared.flush.cancel();
        let _ = tokio::time::timeout(FLUSH_LIMIT, shared.wait_disconnected()).await;
        // Tells peers that this life is over; without it they would wait for the stability period.
        shared.endpoint.close(CloseCode::Shutdown.code().into(), b"this node is leaving");
        let _ = tokio::time::timeout(CLOSE_LIMIT, shared.endpoint.wait_idle()).await;
        shared.stop();
        let _ = tokio::time::timeout(FLUSH_LIMIT, shared.env.tasks().wait()).await;
        ended
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Node").field(self.name()).finish()
    }
}

/// How long a leaving node waits for peers to have its last words.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// How long it waits for its closes to be sent. A peer that is not there never acknowledges one.
const CLOSE_LIMIT: Duration = Duration::from_millis(300);
