//! A port for those who run the node: probes for an orchestrator, metrics for Prometheus, status for people and tools.
//!
//! | path | tells | codes |
//! |---|---|---|
//! | `/livez` | the process serves; restart it where it does not | 200, 503 |
//! | `/startupz` | each member was met once, or is known to be away or of a release that does not fit | 200, 503 |
//! | `/readyz` | it serves: started, no drain, taken by a member, let run by the record, its own checks | 200, 503 |
//! | `/metrics` | [`METRICS`](crate::metrics::METRICS) and what else the process records, for Prometheus | 200, 404 |
//! | `/status` | the node's status as JSON, with a `format_version` | 200 |
//!
//! No answer depends on the phase of other nodes. It speaks plain HTTP/1.1 and asks nobody who they are: bind it to
//! loopback or a network of the operators' own. Who asks [`AdminPort`] by a name that it does not know gets a 421.

mod document;
mod port;
mod record;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

pub use self::document::STATUS_FORMAT_VERSION;
use self::document::StatusDocument;
use crate::engine::{JOB_DURATION, PeerPresence, Shared, publish};
use crate::node::Node;

/// Makes Prometheus' recorder the process's own, and returns what renders it. To be called once, before the first node
/// starts. It is kept up for as long as the process runs, by a thread of its own, whoever renders it and however
/// seldom. A process that has a recorder of its own makes a handle with [`recorder`] instead.
///
/// # Errors
/// [`BuildError`] where the process has a recorder already.
pub fn install_recorder() -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder().install_recorder()?;
    let kept = recorder.clone();
    let upkeep = move || loop {
        // May wake early, which does no harm.
        std::thread::park_timeout(UPKEEP_INTERVAL);
        kept.run_upkeep();
    };
    let thread = std::thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(upkeep);
    // Where the system gives none, the first node that shows it keeps it up.
    KEPT_UP.store(thread.is_ok(), Ordering::Relaxed);
    Ok(recorder)
}

/// Prometheus' recorder with the bounds of rexi's histogram, 10 µs to 60 s, to be added to and installed. It is kept up
/// by the first node that shows it; where none does, call [`PrometheusHandle::run_upkeep`] every few seconds.
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
    /// is no `/metrics`. At most 64 connections are served at once: the oldest that has not asked makes way for the
    /// next. It is asked by an IP address, as `localhost`, or by the node's name or one below it.
    ///
    /// # Errors
    /// What the system says of the address.
    pub async fn open(node: &Node, address: SocketAddr, recorder: Option<PrometheusHandle>) -> io::Result<Self> {
        Self::open_as(node, address, [], recorder).await
    }

    /// As [`AdminPort::open`]; it may be asked by these names too, in whatever port.
    ///
    /// # Errors
    /// As [`AdminPort::open`].
    pub async fn open_as(
        node: &Node,
        address: SocketAddr,
        hosts: impl IntoIterator<Item = String>,
        recorder: Option<PrometheusHandle>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = node.shared();
        let (own, hosts): (Arc<str>, Arc<[String]>) = (shared.name.as_str().into(), hosts.into_iter().collect());
        let named = move |request, next| port::by_known_name(Arc::clone(&own), Arc::clone(&hosts), request, next);
        shared.spawn(port::serve(Arc::clone(shared), listener, router(node, recorder).layer(from_fn(named))));
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
    let shared = node.shared();
    if let Some(recorder) = recorder.clone().filter(|_| !KEPT_UP.load(Ordering::Relaxed)) {
        shared.upkeep.call_once(|| drop(shared.spawn(keep_up(recorder))));
    }
    let admin = Admin { shared: Arc::clone(shared), recorder, started: Arc::default() };
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
        let status = self.shared.status();
        let turned_away = status.turned_away_by_all();
        let admitted = ("admitted", turned_away.is_none(), turned_away.unwrap_or_default().into());
        let mut checks = vec![self.has_started(), admitting, admitted];
        if self.shared.record.is_some() {
            let bar = self.shared.unrecorded();
            checks.push(("recorded", bar.is_none(), bar.map_or_else(Default::default, |bar| bar.to_string().into())));
        }
        checks.extend(self.shared.ready_checks.iter().map(|(name, check)| {
            let (passed, problem) = check(&status).map_or_else(|problem| (false, problem), |()| (true, String::new()));
            (name.as_str(), passed, problem.into())
        }));
        probe(&checks)
    }

    fn has_started(&self) -> Check<'static> {
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
type Check<'a> = (&'a str, bool, Cow<'static, str>);

fn probe(checks: &[Check<'_>]) -> Response {
    let passed = checks.iter().all(|(_, passed, _)| *passed);
    let line = |(name, passed, problem): &Check<'_>| match passed {
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

/// Whether the process's recorder is kept up already. A process has one, so no other is shown where it is.
static KEPT_UP: AtomicBool = AtomicBool::new(false);

/// Bounds of the histogram of jobs, in seconds.
const JOB_DURATION_BOUNDS: [f64; 15] =
    [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0];

const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use metrics::histogram;

    use super::*;

    #[test]
    fn the_recorder_of_the_process_is_kept_up_though_nobody_shows_it() {
        let recorder = install_recorder().expect("no other test of this program installs one");
        let began = std::time::Instant::now();
        histogram!("a_histogram").record(1.0);
        // What was taken in is seen in its description, which does not take it in as rendering would.
        while !format!("{recorder:?}").contains("\"a_histogram\": ") {
            assert!(began.elapsed() < 10 * UPKEEP_INTERVAL, "{recorder:?}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let twice = install_recorder().expect_err("a process has one recorder");
        assert!(matches!(twice, BuildError::FailedToSetGlobalRecorder(_)), "{twice}");
    }
}
