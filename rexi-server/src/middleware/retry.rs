//! Calls that are made again, where their error says that they did not run.
//!
//! tower's `Retry` makes the calls; its policy is here. The number of tries is bounded, all of a service's retries
//! together by a budget, and the waits between them grow and are drawn from the node's random source.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Sleep;
use tower::BoxError;
use tower::load_shed::error::Overloaded;
use tower::retry::Policy;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::util::rng::Rng;

use super::client::CallRequest;
use crate::calls::CallError;
use crate::functions::AskError;
use crate::net::Random;
use crate::typed::Function;

/// Tries again what [is safe to retry](CallError::is_safe_to_retry), at the next of the request's peers, and nothing
/// else: its caller has to judge a call that may have run. For `ServiceBuilder::retry`, over services whose error is a
/// [`CallError`] or an [`AskError`], or a boxed one as tower's own layers make it.
///
/// Each try has the request's time limit for itself; a timeout layer outside bounds them all. Clones share the budget.
#[derive(Clone)]
pub struct RetryPolicy {
    retries_left: u32,
    backoff: ExponentialBackoff<Chance>,
    budget: Arc<dyn Budget + Send + Sync>,
    random: Random,
}

impl RetryPolicy {
    pub(crate) fn new(random: &Random) -> Self {
        let backoff = backoff(random, BACKOFF_MIN, BACKOFF_MAX);
        Self { retries_left: RETRIES, backoff, budget: Arc::new(TpsBudget::default()), random: random.clone() }
    }

    /// How often a call is made at most, the first time counted: from 1 to [`RETRY_ATTEMPTS_MAX`].
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.retries_left = attempts.clamp(1, RETRY_ATTEMPTS_MAX) - 1;
        self
    }

    /// How long to wait before the first try again, which doubles with each, and at most. A random part of up to a half
    /// is added to each wait below the longest.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = backoff(&self.random, first, longest);
        self
    }

    /// What all tries of all calls under this policy may spend together. A call that ends otherwise than to be tried
    /// again pays in, each further try is paid for. Where a node leaves, every call that would have gone to it is tried
    /// again until its callers choose another, so the budget should hold that many.
    #[must_use]
    pub fn budget(mut self, budget: Arc<dyn Budget + Send + Sync>) -> Self {
        self.budget = budget;
        self
    }

    /// Whether to try again, and when. `safe` is `None` where the call has been answered.
    fn decide<F>(&mut self, call: &mut CallRequest<F>, safe: Option<bool>) -> Option<Sleep> {
        if safe != Some(true) {
            self.budget.deposit();
            return None;
        }
        self.retries_left = self.retries_left.checked_sub(1)?;
        if !self.budget.withdraw() {
            return None;
        }
        call.turn_to_next();
        Some(self.backoff.next_backoff())
    }
}

impl<F: Clone, T, E: Judged<F>> Policy<CallRequest<F>, T, E> for RetryPolicy {
    type Future = Sleep;

    fn retry(&mut self, call: &mut CallRequest<F>, result: &mut Result<T, E>) -> Option<Sleep> {
        let safe = result.as_ref().err().map(Judged::is_safe_to_retry);
        self.decide(call, safe)
    }

    fn clone_request(&mut self, call: &CallRequest<F>) -> Option<CallRequest<F>> {
        Some(call.clone())
    }
}

/// The errors of services that are called with a [`CallRequest<F>`](CallRequest).
#[doc(hidden)]
pub trait Judged<F> {
    fn is_safe_to_retry(&self) -> bool;
}

impl Judged<()> for CallError {
    fn is_safe_to_retry(&self) -> bool {
        self.is_safe_to_retry()
    }
}

impl<F: Function> Judged<F> for AskError<F::Error> {
    fn is_safe_to_retry(&self) -> bool {
        self.is_safe_to_retry()
    }
}

impl Judged<()> for BoxError {
    fn is_safe_to_retry(&self) -> bool {
        self.downcast_ref().map_or_else(|| was_not_made(self), CallError::is_safe_to_retry)
    }
}

impl<F: Function> Judged<F> for BoxError {
    fn is_safe_to_retry(&self) -> bool {
        self.downcast_ref().map_or_else(|| was_not_made(self), AskError::<F::Error>::is_safe_to_retry)
    }
}

/// Whether a layer has kept the call back.
fn was_not_made(error: &BoxError) -> bool {
    error.is::<Overloaded>()
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("retries_left", &self.retries_left).finish_non_exhaustive()
    }
}

fn backoff(random: &Random, first: Duration, longest: Duration) -> ExponentialBackoff<Chance> {
    let longest = longest.max(first).max(Duration::from_millis(1));
    let maker = ExponentialBackoffMaker::new(first, longest, JITTER, Chance(random.clone()));
    maker.expect("the longest wait is above zero and above the first").make_backoff()
}

/// The node's random source, as tower draws from one.
#[derive(Clone, Debug)]
struct Chance(Random);

impl Rng for Chance {
    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.0.bytes())
    }

    /// Above zero, as tower's backoff asserts.
    fn next_f64(&mut self) -> f64 {
        self.0.between(f64::EPSILON..=1.0)
    }
}

/// How often a call may be made at most.
pub const RETRY_ATTEMPTS_MAX: u32 = 16;

const RETRIES: u32 = 2;

const BACKOFF_MIN: Duration = Duration::from_millis(10);

const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The part of a wait that is added by chance, at most.
const JITTER: f64 = 0.5;
