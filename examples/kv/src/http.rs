//! The store over HTTP: `PUT`, `GET` and `DELETE` of `/kv/{key}`, with raw bytes as bodies. A `GET` may say how
//! consistent it is to be, as `?consistency=one`, `majority` or `linearizable`, which is the default.
//!
//! Each answer about an entry has its version in the header `kv-version`. An error is a line of text with a status that
//! says what to do: 400 and 413 correct the request, 409 ask for a stronger consistency, 503 try again, 504 find out
//! whether the write has happened.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use rexi_server::Bytes;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};

use crate::coordinator::{Kv, KvError, VALUE_BYTES_MAX};
use crate::replica::{Consistency, UnknownConsistency};
use crate::sparse::Sparse;
use crate::version::Version;

/// Serves these paths until `stop` is done, then until the requests that are under way are answered.
///
/// # Errors
/// What the system says of the listener.
pub async fn serve(
    listener: TcpListener,
    paths: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(Patient(listener), paths).with_graceful_shutdown(stop).await
}

/// A listener that goes on where it cannot accept for a while, and says so.
struct Patient(TcpListener);

impl Listener for Patient {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                // Out of file descriptors, say: it passes, and until then no time is to be lost in a loop.
                Err(error) => {
                    if let Some(times) = ACCEPT_FAILURES.line() {
                        tracing::error!(%error, times, "cannot accept HTTP connections");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The store's paths.
pub fn router(kv: Kv) -> Router {
    Router::new()
        .route("/kv/{key}", get(read).put(write).delete(delete))
        .layer(DefaultBodyLimit::max(VALUE_BYTES_MAX))
        .with_state(kv)
}

/// What may stand behind the path of a read.
#[derive(Debug, Deserialize)]
struct ReadQuery {
    consistency: Option<String>,
}

async fn read(
    State(kv): State<Kv>,
    key: Result<Path<String>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (Path(key), Query(query)) = (key?, query?);
    let consistency = query.consistency.as_deref().map_or(Ok(Consistency::default()), str::parse)?;
    Ok(match kv.read(&key, consistency).await? {
        Some(entry) => match entry.value {
            Some(value) => (version(&entry.version), value).into_response(),
            None => (StatusCode::NOT_FOUND, version(&entry.version), "the key was deleted\n").into_response(),
        },
        None => (StatusCode::NOT_FOUND, "there is no such key\n").into_response(),
    })
}

async fn write(
    State(kv): State<Kv>,
    key: Result<Path<String>, PathRejection>,
    value: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Path(key) = key?;
    let written = kv.write(&key, value?).await?;
    Ok((StatusCode::NO_CONTENT, version(&written)))
}

async fn delete(State(kv): State<Kv>, key: Result<Path<String>, PathRejection>) -> Result<impl IntoResponse, Refusal> {
    let Path(key) = key?;
    let deleted = kv.delete(&key).await?;
    Ok((StatusCode::NO_CONTENT, version(&deleted)))
}

fn version(version: &Version) -> [(&'static str, String); 1] {
    [(VERSION_HEADER, version.to_string())]
}

/// A request that was not done, as its client is told.
struct Refusal(StatusCode, String);

impl From<KvError> for Refusal {
    fn from(error: KvError) -> Self {
        let status = match &error {
            KvError::Key { .. } => StatusCode::BAD_REQUEST,
            KvError::Value => StatusCode::PAYLOAD_TOO_LARGE,
            KvError::NotYet => StatusCode::CONFLICT,
            KvError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            KvError::Unknown { .. } => StatusCode::GATEWAY_TIMEOUT,
        };
        Self(status, error.to_string())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self(rejection.status(), format!("a key is UTF-8, with % before what a URL may not hold: {rejection}"))
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self(rejection.status(), rejection.to_string())
    }
}

impl From<UnknownConsistency> for Refusal {
    fn from(error: UnknownConsistency) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => KvError::Value.into(),
            status => Self(status, rejection.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        (status, text + "\n").into_response()
    }
}

static ACCEPT_FAILURES: Sparse = Sparse::new();

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The header with the version of the entry that an answer is about.
pub const VERSION_HEADER: &str = "kv-version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_may_have_happened_is_told_apart_from_one_that_has_not() {
        let reason = || "n2 is down".to_owned();
        for (error, status, says) in [
            (KvError::Key { bytes: 257 }, 400, "1 to 256 bytes, this one has 257"),
            (KvError::Value, 413, "at most 1048576 bytes"),
            (KvError::NotYet, 409, "wait until kv.read-consistency has switched"),
            (KvError::Unavailable { reason: reason() }, 503, "nothing was written: n2 is down"),
            (KvError::Unknown { reason: reason() }, 504, "may or may not have happened, and may still: n2 is down"),
        ] {
            let Refusal(told, text) = error.into();
            assert!(told == status && text.contains(says), "{told}: {text}");
        }
    }
}
