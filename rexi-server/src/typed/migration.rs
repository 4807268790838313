//! Migrations of a service's own: calls of one function become calls of another, and back, while nodes of both kinds
//! run.
//!
//! In: what a service declares with [`migration!`](crate::migration!), and how it says one form in the other. Out: a
//! function that is called and served like any other. Which form a call takes is decided by the node's phase when it is
//! cast; the other node answers in the same form. So a service writes the new function only.

use std::fmt;

use bytes::Bytes;
use rexi_proto::{Answer, Migration};

use super::function::{Function, StreamFunction};
use super::{PayloadError, decode, encode};

/// How a migrated function is said in its old form, and heard. Its own types are those of the new form.
///
/// ```
/// use rexi_server::{Migrate, Migration, Train};
///
/// rexi_server::function! {
///     /// Reads a key.
///     pub Get = "inventory.get" (String) -> Option<u32>, error String, since 3.0;
///     /// Reads a key, from one node or from a majority.
///     pub GetWith = "inventory.get_with" (String, bool) -> Option<u32>, error String, since 3.1;
/// }
///
/// rexi_server::migration! {
///     /// Reads say how consistent they are to be.
///     pub ReadConsistency = "inventory.read-consistency": Get => GetWith;
/// }
///
/// impl Migrate for ReadConsistency {
///     type Old = Get;
///
///     // A read of a majority is nothing that the old form can say.
///     fn to_old((key, majority): &(String, bool)) -> Option<String> {
///         (!majority).then(|| key.clone())
///     }
///
///     fn from_old(key: String) -> (String, bool) {
///         (key, false)
///     }
///
///     fn answer_to_old(answer: Result<Option<u32>, String>) -> Result<Option<u32>, String> {
///         answer
///     }
///
///     fn answer_from_old(answer: Result<Option<u32>, String>) -> Result<Option<u32>, String> {
///         answer
///     }
/// }
///
/// let train = Train::new("inventory")
///     .release("3.0", |r| r)
///     .release("3.1", |r| r.introduce(ReadConsistency))
///     .release("3.2", |r| r.switch(ReadConsistency))
///     .release("3.3", |r| r.remove(ReadConsistency));
/// assert_eq!(train.check(), Ok(()));
/// ```
pub trait Migrate: Function {
    /// The function that is replaced.
    type Old: Function;

    /// The argument in the old form; `None` where it cannot be said so, and the call then fails before it is sent.
    fn to_old(argument: &Self::Argument) -> Option<<Self::Old as Function>::Argument>;

    /// An argument of the old form, as the new function takes it.
    fn from_old(argument: <Self::Old as Function>::Argument) -> Self::Argument;

    /// What the new function has answered, in the old form.
    fn answer_to_old(
        answer: Result<Self::Reply, Self::Error>,
    ) -> Result<<Self::Old as Function>::Reply, <Self::Old as Function>::Error>;

    /// What the old function has answered, in the new form.
    fn answer_from_old(
        answer: Result<<Self::Old as Function>::Reply, <Self::Old as Function>::Error>,
    ) -> Result<Self::Reply, Self::Error>;
}

/// As [`Migrate`], for functions that answer with a stream.
pub trait MigrateStream: StreamFunction {
    /// The function that is replaced.
    type Old: StreamFunction;

    /// As [`Migrate::to_old`].
    fn to_old(argument: &Self::Argument) -> Option<<Self::Old as StreamFunction>::Argument>;

    /// As [`Migrate::from_old`].
    fn from_old(argument: <Self::Old as StreamFunction>::Argument) -> Self::Argument;

    /// An item of the new function, in the old form.
    fn item_to_old(item: Self::Item) -> <Self::Old as StreamFunction>::Item;

    /// An item of the old function, in the new form.
    fn item_from_old(item: <Self::Old as StreamFunction>::Item) -> Self::Item;

    /// The new function's own error, in the old form.
    fn error_to_old(error: Self::Error) -> <Self::Old as StreamFunction>::Error;

    /// The old function's own error, in the new form.
    fn error_from_old(error: <Self::Old as StreamFunction>::Error) -> Self::Error;
}

/// The old form of a function with these types: made by [`migration!`](crate::migration!).
#[doc(hidden)]
pub struct OldForm<A, R, E> {
    pub(crate) migration: fn() -> Migration,
    /// The old function's name.
    pub(crate) name: &'static str,
    pub(crate) say: fn(&A) -> Option<Result<Bytes, PayloadError>>,
    pub(crate) hear: fn(&[u8]) -> Result<A, PayloadError>,
    /// Writes an answer, or the last item of a stream.
    pub(crate) answer: fn(Result<R, E>) -> Result<Bytes, PayloadError>,
    /// Tells an answer of the old form in the new one. What cannot be read as the old form stays as it is, and is then
    /// told to be no reply of the function.
    pub(crate) translate: fn(Answer) -> Answer,
}

/// The old form of a function that answers with a stream, and how an item is written in it.
#[doc(hidden)]
pub struct OldStream<F: StreamFunction> {
    pub(crate) form: OldForm<F::Argument, Option<F::Item>, F::Error>,
    pub(crate) item: fn(F::Item) -> Result<Bytes, PayloadError>,
}

impl<A, R, E> OldForm<A, R, E> {
    /// The migration that it is of.
    pub fn migration(&self) -> Migration {
        (self.migration)()
    }
}

impl<F: StreamFunction> OldStream<F> {
    /// The migration that it is of.
    pub fn migration(&self) -> Migration {
        self.form.migration()
    }
}

// By hand, since a derive asks these of the types that the functions take.
impl<A, R, E> Clone for OldForm<A, R, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, R, E> Copy for OldForm<A, R, E> {}

impl<A, R, E> fmt::Debug for OldForm<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldForm")
            .field("migration", &(self.migration)())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<F: StreamFunction> Clone for OldStream<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: StreamFunction> Copy for OldStream<F> {}

impl<F: StreamFunction> fmt::Debug for OldStream<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.form.fmt(f)
    }
}

/// The old form of a migration's function.
#[doc(hidden)]
pub fn old_function<M: Migrate>(migration: fn() -> Migration) -> OldForm<M::Argument, M::Reply, M::Error> {
    OldForm {
        migration,
        name: M::Old::NAME,
        say: |argument| M::to_old(argument).map(|argument| encode(&argument)),
        hear: |body| decode(body).map(M::from_old),
        answer: |answer| encode(&M::answer_to_old(answer)),
        translate: |answer| match answer {
            Answer::Reply { ref body, last } => {
                let old = decode::<Result<<M::Old as Function>::Reply, <M::Old as Function>::Error>>(body);
                let new = old.and_then(|old| encode(&M::answer_from_old(old)));
                new.map_or(answer, |body| Answer::Reply { body, last })
            }
            other => other,
        },
    }
}

/// The old form of a migration's function that answers with a stream.
#[doc(hidden)]
pub fn old_stream<M: MigrateStream>(migration: fn() -> Migration) -> OldStream<M> {
    type Last<F> = Result<Option<<F as StreamFunction>::Item>, <F as StreamFunction>::Error>;
    let form = OldForm {
        migration,
        name: M::Old::NAME,
        say: |argument| M::to_old(argument).map(|argument| encode(&argument)),
        hear: |body| decode(body).map(M::from_old),
        answer: |answer: Last<M>| {
            let old: Last<M::Old> = answer.map(|item| item.map(M::item_to_old)).map_err(M::error_to_old);
            encode(&old)
        },
        translate: |answer| match answer {
            Answer::Item { ref body } => {
                let new = decode::<<M::Old as StreamFunction>::Item>(body).map(M::item_from_old);
                new.and_then(|item| encode(&item)).map_or(answer, |body| Answer::Item { body })
            }
            Answer::Reply { ref body, last } => {
                let new = decode::<Last<M::Old>>(body)
                    .map(|old| -> Last<M> { old.map(|item| item.map(M::item_from_old)).map_err(M::error_from_old) });
                new.and_then(|end| encode(&end)).map_or(answer, |body| Answer::Reply { body, last })
            }
            other => other,
        },
    };
    OldStream { form, item: |item| encode(&M::item_to_old(item)) }
}

/// Declares migrations of functions: each a function, by the name and the types of the new one, whose calls follow the
/// phase of the node. How one form is said in the other is the service's: it implements [`Migrate`], or
/// [`MigrateStream`] where it says `stream`.
#[macro_export]
macro_rules! migration {
    () => {};
    (
        $(#[$attribute:meta])* $visibility:vis $name:ident = $key:literal: stream $old:ty => $new:ty; $($rest:tt)*
    ) => {
        $crate::migration! { @declare $(#[$attribute])* $visibility $name = $key, StreamFunction, $old, $new }

        impl $crate::StreamFunction for $name {
            const NAME: &'static str = <$new as $crate::StreamFunction>::NAME;
            const LIFE: $crate::Life = <$new as $crate::StreamFunction>::LIFE;
            type Argument = <$new as $crate::StreamFunction>::Argument;
            type Item = <$new as $crate::StreamFunction>::Item;
            type Error = <$new as $crate::StreamFunction>::Error;

            fn old() -> ::core::option::Option<$crate::typed::OldStream<Self>> {
                ::core::option::Option::Some($crate::typed::old_stream::<Self>(|| Self::MIGRATION))
            }
        }
        $crate::migration! { $($rest)* }
    };
    (
        $(#[$attribute:meta])* $visibility:vis $name:ident = $key:literal: $old:ty => $new:ty; $($rest:tt)*
    ) => {
        $crate::migration! { @declare $(#[$attribute])* $visibility $name = $key, Function, $old, $new }

        impl $crate::Function for $name {
            const NAME: &'static str = <$new as $crate::Function>::NAME;
            const LIFE: $crate::Life = <$new as $crate::Function>::LIFE;
            type Argument = <$new as $crate::Function>::Argument;
            type Reply = <$new as $crate::Function>::Reply;
            type Error = <$new as $crate::Function>::Error;

            fn old() -> ::core::option::Option<$crate::typed::OldForm<Self::Argument, Self::Reply, Self::Error>> {
                ::core::option::Option::Some($crate::typed::old_function::<Self>(|| Self::MIGRATION))
            }
        }
        $crate::migration! { $($rest)* }
    };
    (
        @declare $(#[$attribute:meta])* $visibility:vis $name:ident = $key:literal, $trait:ident, $old:ty, $new:ty
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug)]
        $visibility struct $name;

        impl $name {
            /// As a train declares it.
            $visibility const MIGRATION: $crate::Migration = $crate::Migration::of_functions(
                $key,
                <$old as $crate::$trait>::NAME,
                <$new as $crate::$trait>::NAME,
            );
        }

        impl ::core::convert::From<$name> for $crate::Migration {
            fn from(_: $name) -> Self {
                $name::MIGRATION
            }
        }

        impl ::core::convert::AsRef<$crate::MigrationKey> for $name {
            fn as_ref(&self) -> &$crate::MigrationKey {
                static KEY: $crate::MigrationKey = $crate::MigrationKey::constant($key);
                &KEY
            }
        }
    };
}
