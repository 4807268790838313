//! A port for those who run the node: probes for an orchestrator, metrics for Prometheus, status for people and tools.
//!
//! | path | tells | codes |
//! |---|---|---|
//! | `/livez` | the process serves; restart it where it does not | 200, 503 |
//! | `/startupz` | each member was met once, or is known to be away or of a release that does not fit | 200, 503 |
//! | `/readyz` | it has started, does not drain, and some member takes it, whatever the phase of others | 200, 503 |
//! | `/metrics` | [`METRICS`](crate::metrics::METRICS) and what else the process records, for Prometheus | 200, 404 |
//! | `/status` | the node's status as JSON, with a `format_version` | 200 |
//!
//! It speaks plain HTTP/1.1 and asks nobody who they are: bind it to loopback or a network of the operators' own.

mod document;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use self::document::STATUS_FORMAT_VERSION;
use self::document::StatusDocument;
use crate::engine::{JOB_DURATION, PeerPresence, Shared, publish};
use crate::node::Node;

/// Makes Prometheus' recorder the process's own, and returns what renders it. To be called once, before the first node
/// starts. A process that has a recorder of its own makes a handle with [`recorder`] instead.
///
/// # Errors
/// [`BuildError`] where the process has a recorder already.
pub fn install_recorder() -> Result<PrometheusHandle, BuildError> {
    recorder().install_recorder()
}

/// Prometheus' recorder with the bounds of rexi's histogram, 10 µs to 60 s, to be added to and installed.
pub fn recorder() -> PrometheusBuilder {
    let duration = Matcher::Full(JOB_DURATION.to_owned());
    PrometheusBuilder::new().set_buckets_for_metric(duration, &JOB_DURATION_BOUNDS).expect("there are bounds")
}

/// The open port of a node. It closes when the node stops.
#[derive(Debug)]
pub struct AdminPort {
    address: SocketAddr,
}

impl AdminPort {
    /// Opens the port of `node` at a TCP address; port 0 lets the system choose. Without a handle on a recorder there
    /// is no `/metrics`. At most 64 connections are served at once, and others wait.
    ///
    /// # Errors
    /// What the system says of the address.
    pub async fn open(node: &Node, address: SocketAddr, recorder: Option<PrometheusHandle>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = node.shared();
        if let Some(recorder) = recorder.clone() {
            shared.spawn(keep_up(recorder));
        }
        shared.spawn(serve(Arc::clone(shared), listener, router(node, recorder)));
        tracing::info!(node = %shared.name, %address, "the port for operators is open");
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// The paths of the port, for a service that has an HTTP server of its own.
pub fn router(node: &Node, recorder: Option<PrometheusHandle>) -> Router {
    let admin = Admin { shared: Arc::clone(node.shared()), recorder, started: Arc::default() };
    Router::new()
        .route("/livez", get(async |State(admin): State<Admin>| admin.live()))
        .route("/startupz", get(async |State(admin): State<Admin>| admin.startup()))
        .route("/readyz", get(async |State(admin): State<Admin>| admin.ready()))
        .route("/metrics", get(async |State(admin): State<Admin>| admin.metrics()))
        .route("/status", get(async |State(admin): State<Admin>| admin.status()))
        .with_state(admin)
}

#[derive(Clone)]
struct Admin {
    /// Not a [`Node`]: the port does not keep the node running.
    shared: Arc<Shared>,
    recorder: Option<PrometheusHandle>,
    /// Stays set: a member that is restarted later does not undo the start.
    started: Arc<AtomicBool>,
}

impl Admin {
    fn live(&self) -> Response {
        let stopped = self.shared.has_stopped();
        probe(&[("serving", !stopped, "the node has stopped".into())])
    }

    fn startup(&self) -> Response {
        probe(&[self.has_started()])
    }

    fn ready(&self) -> Response {
        let serving = !self.shared.has_stopped();
        let draining = self.shared.draining.load(Ordering::Relaxed);
        let admitting = ("admitting", serving && !draining, "the node is leaving and takes no new casts".into());
        let turned_away = self.shared.status().turned_away_by_all();
        let admitted = ("admitted", turned_away.is_none(), turned_away.unwrap_or_default().into());
        probe(&[self.has_started(), admitting, admitted])
    }

    fn has_started(&self) -> Check {
        if !self.started.load(Ordering::Relaxed) {
            let unknown = |presence: &PeerPresence| *presence == PeerPresence::Away;
            let started = !self.shared.status().peers.iter().any(|peer| unknown(&peer.presence));
            self.started.store(started, Ordering::Relaxed);
        }
        (
            "started",
            self.started.load(Ordering::Relaxed),
            "a member was neither met nor given up since the start".into(),
        )
    }

    fn metrics(&self) -> Response {
        let Some(recorder) = &self.recorder else {
            return (StatusCode::NOT_FOUND, "no recorder of metrics was given to this port\n").into_response();
        };
        publish::publish(&self.shared);
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], recorder.render()).into_response()
    }

    fn status(&self) -> Response {
        axum::Json(StatusDocument::from(self.shared.status())).into_response()
    }
}

/// A probe's question, whether its answer is yes, and what a no means.
type Check = (&'static str, bool, Cow<'static, str>);

fn probe(checks: &[Check]) -> Response {
    let passed = checks.iter().all(|(_, passed, _)| *passed);
    let line = |(name, passed, problem): &Check| match passed {
        true => format!("[+] {name}\n"),
        false => format!("[-] {name}: {problem}\n"),
    };
    let code = if passed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, checks.iter().map(line).collect::<String>()).into_response()
}

/// Takes the samples of histograms in, which would pile up while nobody scrapes.
async fn keep_up(recorder: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        recorder.run_upkeep();
    }
}

/// Serves connections for as long as the node lives.
async fn serve(shared: Arc<Shared>, listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((connection, _)) => {
                let served = serve_connection(connection, router.clone());
                shared.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            // Out of file descriptors, say: it passes, and until then no time is to be lost in a loop.
            Err(error) => {
                tracing::warn!(node = %shared.name, %error, "the port for operators cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(connection: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).keep_alive(false);
    let served = http.serve_connection(TokioIo::new(connection), TowerToHyperService::new(router));
    // What a client breaks off or never finishes is its own matter.
    let _ = tokio::time::timeout(REQUEST_LIMIT, served).await;
}

/// Bounds of the histogram of jobs, in seconds.
const JOB_DURATION_BOUNDS: [f64; 15] =
    [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0];

/// Connections that are served at once.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take for the head of its request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// How long a request may take in all, its answer's way included.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_10_s_at_most_whatever_its_answer_waits_for() {
        let pending = || async { std::future::pending::<StatusCode>().await };
        let router = Router::new().route("/never", get(pending)).route("/now", get(|| async { StatusCode::OK }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let address = listener.local_addr().expect("it is bound");
        for (path, seconds) in [("/never", 10), ("/now", 0)] {
            let mut client = TcpStream::connect(address).await.expect("it listens");
            let (served, _) = listener.accept().await.expect("it has come");
            let began = Instant::now();
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            let (_, read) = tokio::join!(serve_connection(served, router.clone()), client.read_to_string(&mut answer));
            read.expect("it is closed in good order");
            assert_eq!((began.elapsed().as_secs(), answer.contains("200 OK")), (seconds, seconds == 0), "{path}");
        }
    }
}
