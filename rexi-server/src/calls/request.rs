//! What a caller asks for: a function, its encoded argument, and what travels with them.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{CallRef, Cast, Form, FunctionName, Migration, TraceContext};
use tokio::time::Instant;

use crate::calls::error::SendError;
use crate::engine::{Shared, Translate, trace};
use crate::typed::{self, Function, Life, OldForm, Payload, PayloadError, StreamFunction};

/// A request to run a function on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    function: FunctionName,
    /// An argument that could not be encoded is reported when it is cast.
    body: Result<Bytes, PayloadError>,
    /// The function as it was declared, where it is typed.
    declared: Option<(&'static str, &'static Life)>,
    /// How it is said before the node's phase says the new form, where it is of a migration.
    old: Option<Box<OldSaid>>,
    time_limit: TimeLimit,
    nonce: u64,
    trace: Option<Box<TraceContext>>,
}

/// How long a caller waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TimeLimit {
    /// For as long as the node says, where it is a call for one reply.
    #[default]
    OfNode,
    /// For ever.
    None,
    After(Duration),
}

/// What a typed function was declared with, where it stands.
struct Declared<F>(PhantomData<F>);

impl<F: Function> Declared<F> {
    const LIFE: &'static Life = &F::LIFE;
}

impl<F: StreamFunction> Declared<F> {
    const STREAM_LIFE: &'static Life = &F::LIFE;
}

/// A request in the old form of its migration.
#[derive(Clone, Debug)]
struct OldSaid {
    migration: Migration,
    function: FunctionName,
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
    pub(crate) cast: Cast<Bytes, FunctionName>,
    pub(crate) translate: Option<Translate>,
}

impl Request {
    /// Asks for `function` with an encoded argument. No time limit of its own, no nonce, no trace.
    pub fn new(function: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self::named(FunctionName::Shared(function.into()), Ok(body.into()))
    }

    fn named(function: FunctionName, body: Result<Bytes, PayloadError>) -> Self {
        Self { function, body, declared: None, old: None, time_limit: TimeLimit::OfNode, nonce: 0, trace: None }
    }

    /// Asks for a typed function. Whether this node's release may emit it, and whether the argument could be
    /// encoded, is said where the request is cast. The reply is read by [`functions::reply`](crate::functions::reply).
    pub fn of<F: Function>(_function: F, argument: &F::Argument) -> Self {
        let old = F::old().map(|old| OldSaid::of(&old, argument));
        Self { old, ..Self::typed((F::NAME, Declared::<F>::LIFE), argument) }
    }

    /// As [`Request::of`], for a function that answers with a stream.
    pub fn of_stream<F: StreamFunction>(_function: F, argument: &F::Argument) -> Self {
        let old = F::old().map(|old| OldSaid::of(&old.form, argument));
        Self { old, ..Self::typed((F::NAME, Declared::<F>::STREAM_LIFE), argument) }
    }

    /// Asks for the function of a migration, with its argument encoded in each form: which is sent is decided by the
    /// node's phase when it is cast. The answer is as the peer has sent it.
    ///
    /// # Panics
    /// Where the migration is rexi's own, which is of no function: the caller's fault.
    pub fn of_migration(migration: &Migration, old: impl Into<Bytes>, new: impl Into<Bytes>) -> Self {
        let name = |form| Arc::<str>::from(migration.function(form).expect("a migration of functions"));
        let old = OldSaid {
            migration: migration.clone(),
            function: name(Form::Old).into(),
            body: Some(Ok(old.into())),
            translate: std::convert::identity,
        };
        Self { old: Some(Box::new(old)), ..Self::new(name(Form::New), new) }
    }

    fn typed(declared: (&'static str, &'static Life), argument: &impl Payload) -> Self {
        Self { declared: Some(declared), ..Self::named(declared.0.into(), typed::encode(argument)) }
    }

    /// How long the caller waits, from the cast on. The remaining time travels with the cast; when it has passed, the
    /// worker is ended and the call answered. A [`Call`](crate::Call) keeps it on this side too; a mailbox of many
    /// calls leaves that to its owner. Whole milliseconds. Default: the node's
    /// [`call_time_limit`](crate::NodeBuilder::call_time_limit) where one reply is waited for, as by
    /// [`Node::call`](crate::Node::call), [`Node::ask`](crate::Node::ask) and the quorums; none for what is cast.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = TimeLimit::After(limit);
        self
    }

    /// Waits for as long as it takes, whatever the node's default is.
    #[must_use]
    pub fn no_time_limit(mut self) -> Self {
        self.time_limit = TimeLimit::None;
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

    /// When its caller no longer waits, where it is cast now. A limit beyond what the clock can count to is none.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.limit().and_then(|limit| now.checked_add(limit))
    }

    fn limit(&self) -> Option<Duration> {
        match self.time_limit {
            TimeLimit::After(limit) => Some(limit),
            TimeLimit::OfNode | TimeLimit::None => None,
        }
    }

    /// The request as a call for one reply makes it, with the node's limit where it says none.
    pub(crate) fn of_call(self, node: &Shared) -> Self {
        match (self.time_limit, node.call_time_limit) {
            (TimeLimit::OfNode, Some(limit)) => self.time_limit(limit),
            _ => self,
        }
    }

    /// Whether it is of a migration, so that another form may do where one does not.
    pub(crate) fn is_migrated(&self) -> bool {
        self.old.is_some()
    }

    /// What goes to the peer, if this node may send it now: of a migration, in the form that its phase says.
    pub(crate) fn into_cast(self, call: CallRef, node: &Shared) -> Result<Said, SendError> {
        let time_left = self.limit();
        let Self { function, body, declared, old, nonce, trace, .. } = self;
        let (function, body, translate) = match old {
            None => {
                let row = declared.map(|(name, life)| life.row(name));
                if let Some(row) = row.filter(|row| !row.emitted(node.release)) {
                    return Err(SendError::NotEmitted { row: Box::new(row), release: node.release });
                }
                (function, body, None)
            }
            Some(old) => match old.says(node)? {
                Form::New => (function, body, None),
                Form::Old => match old.body {
                    Some(body) => (old.function, body, Some(old.translate)),
                    None => {
                        let (function, migration) = (function.into(), old.migration.key().clone());
                        return Err(SendError::NotSayable { function, migration });
                    }
                },
            },
        };
        let trace = trace.or_else(trace::current);
        match body {
            Ok(body) => Ok(Said { cast: Cast { call, function, time_left, nonce, trace, body }, translate }),
            Err(problem) => Err(SendError::NotEncoded { function: function.into(), problem }),
        }
    }
}

impl OldSaid {
    fn of<A, R, E>(form: &OldForm<A, R, E>, argument: &A) -> Box<Self> {
        let migration = form.migration();
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
