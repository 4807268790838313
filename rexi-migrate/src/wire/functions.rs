//! The lock of a service's own functions: what each takes, answers and fails with, and its row.
//!
//! A service names its functions in a test and compares the lock with the file that it has checked in.

use rexi_proto::{FunctionRow, Migration, MigrationKey, Release};
use rexi_server::{Function, StreamFunction};
use serde::{Deserialize, Serialize};

use super::lock::{Lock, LockError};
use super::schema::{Enum, Layout, Named, Parts, Type};
use super::tracer::trace;

/// One function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionLock {
    /// The first release that runs it.
    pub accepted_since: Release,
    /// The first release that may call it.
    pub emitted_since: Release,
    /// The first release that no longer calls it, but still runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Release>,
    /// The first release without it.
    pub retired_in: Option<Release>,
    /// The migration whose phase says which form is called, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationKey>,
    /// What it takes.
    pub argument: Type,
    /// What it is answered with: a value, or the items of a stream.
    #[serde(flatten)]
    pub answer: AnswerType,
    /// Its own error.
    pub error: Type,
}

/// How a function answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerType {
    /// With one value.
    Reply(Type),
    /// With a stream of items.
    Items(Type),
}

impl FunctionLock {
    /// The function's row.
    pub fn row(&self, name: &str) -> FunctionRow {
        let &Self { accepted_since, emitted_since, silent_since, retired_in, .. } = self;
        FunctionRow { name: name.to_owned().into(), accepted_since, emitted_since, silent_since, retired_in }
    }

    /// What travels as a typed payload of its own, each with a word for it.
    pub fn roots(&self) -> Vec<(&'static str, Layout)> {
        let result = |ok: Type| {
            let variant = |name: &str, of: Type| Named { name: name.to_owned(), parts: Parts::Newtype(Box::new(of)) };
            let variants = vec![variant("Ok", ok), variant("Err", self.error.clone())];
            Layout::of(Type::Enum(Enum { name: "Result".to_owned(), variants }))
        };
        let argument = ("argument", Layout::of(self.argument.clone()));
        match &self.answer {
            AnswerType::Reply(reply) => vec![argument, ("reply", result(reply.clone()))],
            AnswerType::Items(item) => {
                let end = result(Type::Option(Box::new(item.clone())));
                vec![argument, ("item", Layout::of(item.clone())), ("end", end)]
            }
        }
    }

    fn new(row: &FunctionRow, migration: Option<Migration>, argument: Type, answer: AnswerType, error: Type) -> Self {
        Self {
            migration: migration.map(|migration| migration.key().clone()),
            accepted_since: row.accepted_since,
            emitted_since: row.emitted_since,
            silent_since: row.silent_since,
            retired_in: row.retired_in,
            argument,
            answer,
            error,
        }
    }
}

impl Lock {
    /// The rows of the service's functions.
    pub fn rows(&self) -> impl Iterator<Item = FunctionRow> {
        self.functions.iter().map(|(name, function)| function.row(name))
    }

    /// The lock with a function of the service.
    ///
    /// ```
    /// use rexi_migrate::wire::Lock;
    ///
    /// rexi_server::function! {
    ///     /// The value of a key.
    ///     pub Get = "kv.get" (String) -> Option<u32>, error String, since 1.0;
    ///     /// All keys.
    ///     pub Keys = "kv.keys" () -> stream String, error String, since 1.1, emitted 1.2;
    /// }
    ///
    /// let lock = Lock::empty().function(Get)?.stream_function(Keys)?;
    /// assert!(lock.to_text().contains(r#""kv.get""#));
    /// # Ok::<(), rexi_migrate::wire::LockError>(())
    /// ```
    ///
    /// # Errors
    /// [`LockError::NoSchema`] where one of its types cannot be told.
    pub fn function<F: Function>(mut self, _function: F) -> Result<Self, LockError> {
        let (row, migration) = (F::LIFE.row(F::NAME), F::old().map(|old| old.migration()));
        let answer = AnswerType::Reply(trace::<F::Reply>()?);
        let lock = FunctionLock::new(&row, migration, trace::<F::Argument>()?, answer, trace::<F::Error>()?);
        self.functions.insert(F::NAME.to_owned(), lock);
        Ok(self)
    }

    /// The lock with a function that answers with a stream.
    ///
    /// # Errors
    /// As [`Lock::function`].
    pub fn stream_function<F: StreamFunction>(mut self, _function: F) -> Result<Self, LockError> {
        let (row, migration) = (F::LIFE.row(F::NAME), F::old().map(|old| old.migration()));
        let answer = AnswerType::Items(trace::<F::Item>()?);
        let lock = FunctionLock::new(&row, migration, trace::<F::Argument>()?, answer, trace::<F::Error>()?);
        self.functions.insert(F::NAME.to_owned(), lock);
        Ok(self)
    }
}
