//! Typed functions: a name, the releases that have it, and the types of argument, reply and error, in one declaration
//! that both sides share.
//!
//! In: what a service declares with [`function!`](crate::function!). Out: what `typed.rs` encodes, and what each
//! function's row says about the releases that may call and run it.

use std::fmt::{Debug, Display};

use rexi_proto::{FunctionRow, Release};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::migration::{OldForm, OldStream};

/// What may travel in a typed payload: implemented for all that has these bounds.
pub trait Payload: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Payload for T {}

/// A function that is answered with one value or with its own error. Declared with [`function!`](crate::function!).
///
/// A change of any of its types is a new function, with one exception: an enum may gain variants at its end, to be used
/// once every node has them.
pub trait Function: Copy + Send + Sync + 'static {
    /// Its registered name, of at most 255 bytes.
    const NAME: &'static str;
    /// The service's releases that have it.
    const LIFE: Life;
    /// What it takes.
    type Argument: Payload;
    /// What it is answered with.
    type Reply: Payload;
    /// Its own error: a value to its caller, not an exit.
    type Error: Payload + Display + Debug;

    /// The form that it is said in until the node's phase says the new one, where it is of a migration.
    #[doc(hidden)]
    fn old() -> Option<OldForm<Self::Argument, Self::Reply, Self::Error>> {
        None
    }
}

/// A function that is answered with a stream of items. Declared with [`function!`](crate::function!).
pub trait StreamFunction: Copy + Send + Sync + 'static {
    /// Its registered name, of at most 255 bytes.
    const NAME: &'static str;
    /// The service's releases that have it.
    const LIFE: Life;
    /// What it takes.
    type Argument: Payload;
    /// What its stream consists of.
    type Item: Payload;
    /// Its own error, which may end the stream.
    type Error: Payload + Display + Debug;

    /// As [`Function::old`].
    #[doc(hidden)]
    fn old() -> Option<OldStream<Self>> {
        None
    }
}

/// A function's life in the releases of its service: accepted, then emitted, then retired. Made in constants, so that a
/// life that contradicts itself does not compile.
///
/// ```
/// use rexi_server::{Life, Release};
/// const LIFE: Life = Life::since(Release(1, 0, 0)).emitted_since(Release(1, 1, 0)).retired_in(Release(2, 0, 0));
/// ```
/// ```compile_fail
/// use rexi_server::{Life, Release};
/// const EMITTED_BEFORE_ACCEPTED: Life = Life::since(Release(1, 1, 0)).emitted_since(Release(1, 0, 0));
/// ```
/// ```compile_fail
/// use rexi_server::{Life, Release};
/// const RETIRED_BEFORE_EMITTED: Life = Life::since(Release(1, 1, 0)).retired_in(Release(1, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    accepted_since: Release,
    emitted_since: Release,
    silent_since: Option<Release>,
    retired_in: Option<Release>,
}

impl Life {
    /// Accepted and emitted since this release. A function that joins a running service is emitted a release later: see
    /// [`Life::emitted_since`].
    pub const fn since(release: Release) -> Self {
        Self { accepted_since: release, emitted_since: release, silent_since: None, retired_in: None }
    }

    /// The first release that may call it; earlier ones only run it.
    ///
    /// # Panics
    /// Where that is before it is accepted, or not before it is retired. In a constant, that does not compile.
    #[must_use]
    pub const fn emitted_since(self, release: Release) -> Self {
        Self { emitted_since: release, ..self }.checked()
    }

    /// The first release that no longer calls it, but still runs it. A function is silent for a release before it is
    /// retired: otherwise the last release that calls it meets the first that does not have it.
    ///
    /// # Panics
    /// Where that is not after the first release that may call it, or after it is retired. In a constant, that does not
    /// compile.
    #[must_use]
    pub const fn silent_since(self, release: Release) -> Self {
        Self { silent_since: Some(release), ..self }.checked()
    }

    /// The first release that neither calls nor runs it.
    ///
    /// # Panics
    /// Where that is not after the first release that may call it. In a constant, that does not compile.
    #[must_use]
    pub const fn retired_in(self, release: Release) -> Self {
        Self { retired_in: Some(release), ..self }.checked()
    }

    /// The row of the function with this life.
    pub fn row(self, name: &'static str) -> FunctionRow {
        let Self { accepted_since, emitted_since, silent_since, retired_in } = self;
        FunctionRow { name: name.into(), accepted_since, emitted_since, silent_since, retired_in }
    }

    const fn checked(self) -> Self {
        assert!(!self.emitted_since.is_before(self.accepted_since), "a function is emitted before it is accepted");
        if let Some(retired_in) = self.retired_in {
            assert!(self.emitted_since.is_before(retired_in), "a function is retired before it is emitted");
        }
        if let Some(silent_since) = self.silent_since {
            assert!(self.emitted_since.is_before(silent_since), "a function is silent before it is emitted");
            if let Some(retired_in) = self.retired_in {
                assert!(!retired_in.is_before(silent_since), "a function is retired before it is silent");
            }
        }
        self
    }
}

/// Declares typed functions: each a type that implements [`Function`], or [`StreamFunction`] where it says `stream`.
///
/// After the name comes what it takes, in parentheses: nothing, one type, or a tuple's types. `since` is the first
/// release that runs it; where they are given, `emitted` is the first that may call it, `silent` the first that no
/// longer calls it, and `retired` the first without it.
///
/// ```
/// # type Key = String; type Value = Vec<u8>; type KvError = String;
/// rexi_server::function! {
///     /// Reads a key.
///     pub Get = "kv.get" (Key) -> Option<Value>, error KvError, since 1.0;
///     /// Writes a key: run since 1.1, called since 1.2.
///     pub Put = "kv.put" (Key, Value) -> (), error KvError, since 1.1, emitted 1.2;
///     /// All keys.
///     Keys = "kv.keys" () -> stream Key, error KvError, since 1.0.1, silent 1.2, retired 2.0;
/// }
/// # use rexi_server::{Function, Release, StreamFunction};
/// # assert_eq!(Put::LIFE.row(Put::NAME).emitted_since, Release(1, 2, 0));
/// # assert_eq!(Keys::LIFE.row(Keys::NAME).accepted_since, Release(1, 0, 1));
/// # assert_eq!(Keys::LIFE.row(Keys::NAME).silent_since, Some(Release(1, 2, 0)));
/// # assert_eq!(Keys::LIFE.row(Keys::NAME).retired_in, Some(Release(2, 0, 0)));
/// ```
/// ```compile_fail
/// rexi_server::function! {
///     /// Retired before it is emitted.
///     pub Get = "kv.get" (u8) -> u8, error String, since 1.1, retired 1.0;
/// }
/// ```
/// ```compile_fail
/// rexi_server::function! {
///     /// Silent before it is emitted.
///     pub Get = "kv.get" (u8) -> u8, error String, since 1.1, emitted 1.2, silent 1.2;
/// }
/// ```
#[macro_export]
macro_rules! function {
    () => {};
    (
        $(#[$attribute:meta])* $visibility:vis $name:ident = $wire:literal $argument:tt -> stream $item:ty,
        error $error:ty, since $since:literal $(. $since_patch:literal)?
        $(, emitted $emitted:literal $(. $emitted_patch:literal)?)?
        $(, silent $silent:literal $(. $silent_patch:literal)?)?
        $(, retired $retired:literal $(. $retired_patch:literal)?)?; $($rest:tt)*
    ) => {
        $crate::function! {
            @declare StreamFunction Item [$item] $(#[$attribute])* $visibility $name = $wire $argument, $error,
            $crate::Life::since($crate::function!(@release $since $(. $since_patch)?))
                $(.emitted_since($crate::function!(@release $emitted $(. $emitted_patch)?)))?
                $(.silent_since($crate::function!(@release $silent $(. $silent_patch)?)))?
                $(.retired_in($crate::function!(@release $retired $(. $retired_patch)?)))?
        }
        $crate::function! { $($rest)* }
    };
    (
        $(#[$attribute:meta])* $visibility:vis $name:ident = $wire:literal $argument:tt -> $reply:ty,
        error $error:ty, since $since:literal $(. $since_patch:literal)?
        $(, emitted $emitted:literal $(. $emitted_patch:literal)?)?
        $(, silent $silent:literal $(. $silent_patch:literal)?)?
        $(, retired $retired:literal $(. $retired_patch:literal)?)?; $($rest:tt)*
    ) => {
        $crate::function! {
            @declare Function Reply [$reply] $(#[$attribute])* $visibility $name = $wire $argument, $error,
            $crate::Life::since($crate::function!(@release $since $(. $since_patch)?))
                $(.emitted_since($crate::function!(@release $emitted $(. $emitted_patch)?)))?
                $(.silent_since($crate::function!(@release $silent $(. $silent_patch)?)))?
                $(.retired_in($crate::function!(@release $retired $(. $retired_patch)?)))?
        }
        $crate::function! { $($rest)* }
    };
    (
        @declare $trait:ident $answer:ident [$answered:ty] $(#[$attribute:meta])* $visibility:vis $name:ident
        = $wire:literal $argument:tt, $error:ty, $life:expr
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug)]
        $visibility struct $name;

        #[allow(unused_parens)]
        impl $crate::$trait for $name {
            const NAME: &'static str = $wire;
            const LIFE: $crate::Life = $life;
            type Argument = $argument;
            type $answer = $answered;
            type Error = $error;
        }

        // A life that contradicts itself must fail here, and not only where it is first used.
        const _: $crate::Life = <$name as $crate::$trait>::LIFE;
    };
    (@release $release:literal $(. $patch:literal)?) => {
        $crate::Release::parse(concat!(stringify!($release) $(, ".", stringify!($patch))?))
    };
}
