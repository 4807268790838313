//! What a caller asks for: a function, its encoded argument, and what travels beside them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{CallRef, CastRequest, Trace};

/// A request to run a function on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    function: Arc<str>,
    body: Bytes,
    time_limit: Option<Duration>,
    nonce: u64,
    trace: Option<Trace>,
}

impl Request {
    /// Asks for `function` with an encoded argument. No time limit, no nonce, no trace.
    pub fn new(function: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self { function: function.into(), body: body.into(), time_limit: None, nonce: 0, trace: None }
    }

    /// How long the caller waits, from the cast on. The remaining time travels with the cast; when it has passed, the
    /// worker is ended and the call answered. A [`Call`](crate::Call) keeps it on this side too; a mailbox of many
    /// calls leaves that to its owner. Whole milliseconds; default: no limit.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// The id of the wider request that this is part of; 0, the default, for none.
    #[must_use]
    pub fn nonce(mut self, nonce: u64) -> Self {
        self.nonce = nonce;
        self
    }

    /// The W3C trace context of the caller; default: none.
    #[must_use]
    pub fn trace(mut self, trace: Trace) -> Self {
        self.trace = Some(trace);
        self
    }

    pub(crate) fn limit(&self) -> Option<Duration> {
        self.time_limit
    }

    pub(crate) fn into_cast(self, call: CallRef) -> CastRequest {
        let Self { function, body, time_limit, nonce, trace } = self;
        CastRequest { call, function, time_left: time_limit, nonce, trace, body }
    }
}
