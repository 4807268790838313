//! A node's calls as a tower service: one request with its peer, or with several of which any may answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rexi_proto::NodeName;
use tower::Service;

use crate::calls::{Call, CallError, Request};
use crate::engine::Running;

/// Calls of a node as a tower service. Always ready, since a cast never waits; dropping a call's future kills its job.
///
/// ```
/// use std::time::Duration;
///
/// use rexi_server::middleware::{CallRequest, HedgeLayer};
/// use rexi_server::{Bytes, Node, NodeName, Request};
/// use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
///
/// async fn read(node: &Node, replicas: [NodeName; 3]) -> Result<Bytes, BoxError> {
///     let [first, second, third] = replicas;
///     let mut client = ServiceBuilder::new()
///         .timeout(Duration::from_secs(2))
///         .retry(node.retry_policy())
///         .layer(HedgeLayer::after(Duration::from_millis(20)))
///         .service(node.client());
///     let request = Request::new("read", "key").time_limit(Duration::from_secs(1));
///     let request = CallRequest::new(first, request).or(second).or(third).idempotent();
///     client.ready().await?.call(request).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    node: Running,
}

impl Client {
    pub(crate) fn new(node: Running) -> Self {
        Self { node }
    }
}

impl Service<CallRequest> for Client {
    type Response = Bytes;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Bytes, CallError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: CallRequest) -> Self::Future {
        let node = self.node.clone();
        Box::pin(async move { Call::cast(&node, call.peer(), call.request.clone())?.reply().await })
    }
}

/// A request and the peers that may answer it. The first is called; the others are for layers that call again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    peers: Arc<Vec<NodeName>>,
    /// Which of them is called.
    at: usize,
    request: Request,
    idempotent: bool,
}

impl CallRequest {
    /// Calls `peer`, and nobody else.
    pub fn new(peer: NodeName, request: Request) -> Self {
        Self { peers: Arc::new(vec![peer]), at: 0, request, idempotent: false }
    }

    /// Another peer that may answer in place of those before it. One that is named already is ignored.
    #[must_use]
    pub fn or(mut self, peer: NodeName) -> Self {
        if !self.peers.contains(&peer) {
            Arc::make_mut(&mut self.peers).push(peer);
        }
        self
    }

    /// Says that the function may run twice without harm: see [`HedgeLayer`](super::HedgeLayer).
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The peer that is called.
    pub fn peer(&self) -> &NodeName {
        &self.peers[self.at]
    }

    /// All peers that may answer, in their order.
    pub fn peers(&self) -> &[NodeName] {
        &self.peers
    }

    /// Turns to the next peer; after the last one to the first.
    pub fn turn_to_next(&mut self) {
        self.at = (self.at + 1) % self.peers.len();
    }

    /// What is asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whether the function may run twice without harm.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }
}
