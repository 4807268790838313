//! A second call to another peer, where the first is slow and the function may run twice.
//!
//! Not tower's `Hedge`: that one waits for a percentile of what it has measured, asks the same service again with the
//! same request, and lets an error of either call win. Here the wait is given, the second call goes to the next peer,
//! and an error waits for the other call.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, select};
use tower::retry::budget::{Budget, TpsBudget};
use tower::{Layer, Service, ServiceExt};

use super::client::CallRequest;

/// Makes a second call where the first has not been answered after a while, if the request is marked as idempotent and
/// names a second peer. The first reply wins and the other call is dropped, which kills its job. Where both fail, the
/// error is that of the first call; one that fails before the second was made is not waited for (see
/// [`RetryPolicy`](super::RetryPolicy)).
///
/// One second call for each call at most, and no more than its budget allows: by default a fifth of the calls, plus 10
/// a second. Services of one layer and their clones share the budget.
#[derive(Clone)]
pub struct HedgeLayer {
    after: Duration,
    budget: Arc<dyn Budget + Send + Sync>,
}

impl HedgeLayer {
    /// Makes the second call after this long.
    pub fn after(wait: Duration) -> Self {
        Self { after: wait, budget: Arc::new(TpsBudget::default()) }
    }

    /// What all second calls may spend together: each call pays in, each second call is paid for.
    #[must_use]
    pub fn budget(mut self, budget: Arc<dyn Budget + Send + Sync>) -> Self {
        self.budget = budget;
        self
    }
}

impl<S> Layer<S> for HedgeLayer {
    type Service = Hedge<S>;

    fn layer(&self, inner: S) -> Hedge<S> {
        Hedge { inner, layer: self.clone() }
    }
}

/// The service of a [`HedgeLayer`].
#[derive(Clone, Debug)]
pub struct Hedge<S> {
    inner: S,
    layer: HedgeLayer,
}

impl<S, F> Service<CallRequest<F>> for Hedge<S>
where
    F: Clone + Send + 'static,
    S: Service<CallRequest<F>> + Clone + Send + 'static,
    S::Response: Send,
    S::Error: Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: CallRequest<F>) -> Self::Future {
        let HedgeLayer { after, budget } = self.layer.clone();
        let mut again = call.clone();
        again.turn_to_next();
        let first = self.inner.call(call);
        // Made ready by itself: what was made ready is used up.
        let spare = self.inner.clone();
        Box::pin(async move {
            budget.deposit();
            if !again.is_idempotent() || again.peers().len() < 2 {
                return first.await;
            }
            let mut first = pin!(first);
            tokio::select! {
                biased;
                answered = &mut first => return answered,
                () = tokio::time::sleep(after) => {}
            }
            if !budget.withdraw() {
                return first.await;
            }
            match select(first, pin!(spare.oneshot(again))).await {
                Either::Left((Ok(reply), _)) | Either::Right((Ok(reply), _)) => Ok(reply),
                Either::Left((Err(error), second)) => second.await.or(Err(error)),
                Either::Right((Err(_), first)) => first.await,
            }
        })
    }
}

impl fmt::Debug for HedgeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeLayer").field("after", &self.after).finish_non_exhaustive()
    }
}
