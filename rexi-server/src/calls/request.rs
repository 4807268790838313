//! What a caller asks for: a function, its encoded argument, and what travels with them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{CallRef, Cast, Form, FunctionRow, Migration, TraceContext};

use crate::calls::error::SendError;
use crate::engine::{Shared, Translate, trace};
use crate::typed::{self, Function, OldForm, Payload, PayloadError, StreamFunction};

/// A request to run a function on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    function: Arc<str>,
    /// An argument that could not be encoded is reported when it is cast.
    body: Result<Bytes, PayloadError>,
    /// The function's row, where it is typed.
    row: Option<FunctionRow>,
    /// How it is said before the node's phase says the new form, where it is of a migration.
    old: Option<Box<OldSaid>>,
    time_limit: Option<Duration>,
    nonce: u64,
    trace: Option<Box<TraceContext>>,
}

/// A request in the old form of its migration.
#[derive(Clone, Debug)]
struct OldSaid {
    migration: Migration,
    function: Arc<str>,
    /// None where it cannot be said so.
    body: Option<Result<Bytes, PayloadError>>,
    translate: Translate,
}

/// By what is said: how an answer is translated is the migration's.
impl PartialEq for OldSaid {
    fn eq(&self, other: &Self) -> bool {
        (&self.migration, &self.function, &self.body) == (&other.migration, &other.function, &other.body)
    }
}

impl Eq for OldSaid {}

/// What leaves for a peer, and how its answers are told, where they come in another form than was asked in.
pub(crate) struct Said {
    pub(crate) cast: Cast<Bytes, Arc<str>>,
    pub(crate) translate: Option<Translate>,
}

impl Request {
    /// Asks for `function` with an encoded argument. No time limit, no nonce, no trace.
    pub fn new(function: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self {
            function: function.into(),
            body: Ok(body.into()),
            row: None,
            old: None,
            time_limit: None,
            nonce: 0,
            trace: None,
        }
    }

    /// Asks for a typed function. Whether this node's release may emit it, and whether the argument could be
    /// encoded, is said where the request is cast. The reply is read by [`functions::reply`](crate::functions::reply).
    pub fn of<F: Function>(_function: F, argument: &F::Argument) -> Self {
        let old = F::old().map(|old| OldSaid::of(&old, argument));
        Self { old, ..Self::typed(F::LIFE.row(F::NAME), argument) }
    }

    /// As [`Request::of`], for a function that answers with a stream.
    pub fn of_stream<F: StreamFunction>(_function: F, argument: &F::Argument) -> Self {
        let old = F::old().map(|old| OldSaid::of(&old.form, argument));
        Self { old, ..Self::typed(F::LIFE.row(F::NAME), argument) }
    }

    fn typed(row: FunctionRow, argument: &impl Payload) -> Self {
        let body = typed::encode(argument);
        let function = (&*row.name).into();
        Self { function, body, row: Some(row), old: None, time_limit: None, nonce: 0, trace: None }
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

    /// Whether it is of a migration, so that another form may do where one does not.
    pub(crate) fn is_migrated(&self) -> bool {
        self.old.is_some()
    }

    /// What goes to the peer, if this node may send it now: of a migration, in the form that its phase says.
    pub(crate) fn into_cast(self, call: CallRef, node: &Shared) -> Result<Said, SendError> {
        let Self { function, body, row, old, time_limit, nonce, trace } = self;
        let (function, body, translate) = match old {
            None => {
                if let Some(row) = row.filter(|row| !row.emitted(node.release)) {
                    return Err(SendError::NotEmitted { row: Box::new(row), release: node.release });
                }
                (function, body, None)
            }
            Some(old) => match old.says(node)? {
                Form::New => (function, body, None),
                Form::Old => match old.body {
                    Some(body) => (old.function, body, Some(old.translate)),
                    None => return Err(SendError::NotSayable { function, migration: old.migration.key().clone() }),
                },
            },
        };
        let trace = trace.or_else(trace::current);
        match body {
            Ok(body) => {
                Ok(Said { cast: Cast { call, function, time_left: time_limit, nonce, trace, body }, translate })
            }
            Err(problem) => Err(SendError::NotEncoded { function, problem }),
        }
    }
}

impl OldSaid {
    fn of<A, R, E>(form: &OldForm<A, R, E>, argument: &A) -> Box<Self> {
        let migration = (form.migration)();
        Box::new(Self { migration, function: form.name.into(), body: (form.say)(argument), translate: form.translate })
    }

    /// The form that the node's phase says.
    fn says(&self, node: &Shared) -> Result<Form, SendError> {
        let key = self.migration.key();
        let place = node.migration_place(key);
        let place = place.ok_or_else(|| SendError::UnknownMigration { migration: key.clone() })?;
        Ok(node.phases[place].borrow().says())
    }
}
