//! What a caller asks for: a function, its encoded argument, and what travels with them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{CallRef, Cast, FunctionRow, Release, TraceContext};

use crate::calls::error::SendError;
use crate::engine::trace;
use crate::typed::{self, Function, Payload, PayloadError, StreamFunction};

/// A request to run a function on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    function: Arc<str>,
    /// An argument that could not be encoded is reported when it is cast.
    body: Result<Bytes, PayloadError>,
    /// The function's row, where it is typed.
    row: Option<FunctionRow>,
    time_limit: Option<Duration>,
    nonce: u64,
    trace: Option<Box<TraceContext>>,
}

impl Request {
    /// Asks for `function` with an encoded argument. No time limit, no nonce, no trace.
    pub fn new(function: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self { function: function.into(), body: Ok(body.into()), row: None, time_limit: None, nonce: 0, trace: None }
    }

    /// Asks for a typed function. Whether this node's release may emit it, and whether the argument could be
    /// encoded, is said where the request is cast. The reply is read by [`functions::reply`](crate::functions::reply).
    pub fn of<F: Function>(_function: F, argument: &F::Argument) -> Self {
        Self::typed(F::LIFE.row(F::NAME), argument)
    }

    /// As [`Request::of`], for a function that answers with a stream.
    pub fn of_stream<F: StreamFunction>(_function: F, argument: &F::Argument) -> Self {
        Self::typed(F::LIFE.row(F::NAME), argument)
    }

    fn typed(row: FunctionRow, argument: &impl Payload) -> Self {
        let body = typed::encode(argument);
        Self { function: (&*row.name).into(), body, row: Some(row), time_limit: None, nonce: 0, trace: None }
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

    /// The W3C trace context of the caller. Default: that of the current span, with the feature `opentelemetry`; none
    /// without it.
    #[must_use]
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.trace = Some(Box::new(trace));
        self
    }

    pub(crate) fn limit(&self) -> Option<Duration> {
        self.time_limit
    }

    /// What goes to the peer, if a node of that release may send it.
    pub(crate) fn into_cast(self, call: CallRef, own: Release) -> Result<Cast<Bytes>, SendError> {
        let Self { function, body, row, time_limit, nonce, trace } = self;
        if let Some(row) = row.filter(|row| !row.emitted(own)) {
            return Err(SendError::NotEmitted { row: Box::new(row), release: own });
        }
        let trace = trace.or_else(trace::current);
        match body {
            Ok(body) => Ok(Cast { call, function, time_left: time_limit, nonce, trace, body }),
            Err(problem) => Err(SendError::NotEncoded { function, problem }),
        }
    }
}
