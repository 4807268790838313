//! What a typed function is answered with, read: its value, an item, the end of its stream, its own error.

use thiserror::Error;

use crate::calls::{CallError, SendError};
use crate::typed::{Function, PayloadError, StreamFunction, decode};

/// A call of a typed function without a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError<E> {
    /// The function's own error. It ran; the function decides whether to try again.
    #[error("{0}")]
    Function(E),
    /// The call failed: it was not sent, or not answered, or not by what the function's type says.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl<E> AskError<E> {
    /// Whether the call may be made again: see [`CallError::is_safe_to_retry`]. Not where the function has answered.
    pub fn is_safe_to_retry(&self) -> bool {
        match self {
            Self::Function(_) => false,
            Self::Call(error) => error.is_safe_to_retry(),
        }
    }

    /// Whether the function certainly did not run: see [`CallError::did_not_run`].
    pub fn did_not_run(&self) -> bool {
        match self {
            Self::Function(_) => false,
            Self::Call(error) => error.did_not_run(),
        }
    }
}

impl<E> From<SendError> for AskError<E> {
    fn from(error: SendError) -> Self {
        Self::Call(error.into())
    }
}

/// Reads the reply of `F`: its value, or its own error.
///
/// # Errors
/// [`AskError::Function`] with the function's own error; [`CallError::WrongReply`] where it is not a reply of `F`.
pub fn reply<F: Function>(_function: F, body: &[u8]) -> Result<F::Reply, AskError<F::Error>> {
    let result = decode::<Result<F::Reply, F::Error>>(body).map_err(|problem| wrong_reply(F::NAME, problem))?;
    result.map_err(AskError::Function)
}

/// Reads an item of `F`'s stream, which is the payload of `F::Item`.
///
/// # Errors
/// [`CallError::WrongReply`] where it is not an item of `F`.
pub fn item<F: StreamFunction>(_function: F, body: &[u8]) -> Result<F::Item, CallError> {
    decode(body).map_err(|problem| wrong_reply(F::NAME, problem))
}

/// Reads the reply that ends `F`'s stream, which is the payload of `Result<Option<F::Item>, F::Error>`: a last item, or
/// none, or the function's own error.
///
/// # Errors
/// As [`reply`].
pub fn last<F: StreamFunction>(_function: F, body: &[u8]) -> Result<Option<F::Item>, AskError<F::Error>> {
    let result = decode::<Result<Option<F::Item>, F::Error>>(body).map_err(|problem| wrong_reply(F::NAME, problem))?;
    result.map_err(AskError::Function)
}

fn wrong_reply(function: &str, problem: PayloadError) -> CallError {
    CallError::WrongReply { function: function.into(), problem }
}
