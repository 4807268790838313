//! A node's calls as a tower service: one request with its peer, or with several of which any may answer.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::NodeName;
use tower::Service;

use crate::calls::{Call, CallError, Request};
use crate::engine::Running;
use crate::functions::{Ask, AskError};
use crate::typed::Function;

/// Calls of a node as a tower service: of a typed function `F` by [`Node::client_of`](crate::Node::client_of), of any
/// other by [`Node::client`](crate::Node::client). Always ready, since a cast never waits; dropping a call's future
/// kills its job.
///
/// ```
/// use std::time::Duration;
///
/// use rexi_server::middleware::{CallRequest, HedgeLayer};
/// use rexi_server::{Node, NodeName};
/// use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
///
/// rexi_server::function! {
///     /// The value of a key.
///     pub Get = "kv.get" (String) -> Option<u32>, error String, since 1.0;
/// }
///
/// async fn read(node: &Node, replicas: [NodeName; 3], key: &String) -> Result<Option<u32>, BoxError> {
///     let [first, second, third] = replicas;
///     let mut client = ServiceBuilder::new()
///         .timeout(Duration::from_secs(2))
///         .retry(node.retry_policy())
///         .layer(HedgeLayer::after(Duration::from_millis(20)))
///         .service(node.client_of(Get));
///     let request = CallRequest::of(Get, first, key).or(second).or(third).idempotent();
///     client.ready().await?.call(request.time_limit(Duration::from_secs(1))).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Client<F = ()> {
    node: Running,
    function: F,
}

impl<F> Client<F> {
    pub(crate) fn new(node: Running, function: F) -> Self {
        Self { node, function }
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
        Box::pin(async move {
            let request = call.request.of_call(node.shared());
            Call::cast(&node, &call.peers[call.at], request)?.reply().await
        })
    }
}

impl<F: Function> Service<CallRequest<F>> for Client<F> {
    type Response = F::Reply;
    type Error = AskError<F::Error>;
    type Future = Ask<F>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: CallRequest<F>) -> Ask<F> {
        Ask::of(self.function, self.node.clone(), call.peer().clone(), call.request)
    }
}

/// A request and the peers that may answer it. The first is called; the others are for layers that call again. One of a
/// typed function `F` is answered with its reply; one of no type, with the reply's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest<F = ()> {
    function: PhantomData<fn() -> F>,
    peers: Arc<Vec<NodeName>>,
    /// Which of them is called.
    at: usize,
    request: Request,
    idempotent: bool,
}

impl CallRequest {
    /// Calls `peer`, and nobody else.
    pub fn new(peer: NodeName, request: Request) -> Self {
        Self::with(peer, request)
    }
}

impl<F: Function> CallRequest<F> {
    /// Calls a typed function of `peer`, and of nobody else.
    pub fn of(function: F, peer: NodeName, argument: &F::Argument) -> Self {
        Self::with(peer, Request::of(function, argument))
    }

    /// As [`Request::time_limit`], for each time that it is made.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.request = self.request.time_limit(limit);
        self
    }
}

impl<F> CallRequest<F> {
    fn with(peer: NodeName, request: Request) -> Self {
        Self { function: PhantomData, peers: Arc::new(vec![peer]), at: 0, request, idempotent: false }
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
