//! One process of the store: a node of the cluster with its file and its HTTP port, from its start until it has left.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use rexi_server::admin::{self, AdminPort};
use rexi_server::{CancellationToken, Config, ConfigError, Node, NodeBuilder, StartError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::coordinator::Kv;
use crate::store::{OpenError, Store};
use crate::train::train;
use crate::{http, replica};

/// What a node is started with.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct NodeArgs {
    /// Its configuration: name, address, release, certificate and peers, as `rexi_server::Config` has them.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The file with its data.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Makes that file, for the first start of a node of a new cluster. Without it a node whose file is lost does not
    /// start: it would count in majorities without what it has acknowledged.
    #[arg(long)]
    pub init: bool,
    /// Where it serves HTTP.
    #[arg(long, value_name = "ADDRESS")]
    pub http: SocketAddr,
    /// Leaves also when its standard input ends, and so with whoever started it.
    #[arg(long)]
    pub attached: bool,
}

/// Why a node does not run. What was started is stopped again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data file is at fault.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The configuration or the environment is at fault.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address of `--http` or of `admin.listen` is at fault, or the environment.
    #[error("cannot serve HTTP at {address}: {reason}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        reason: std::io::Error,
    },
    /// The system gives no signals.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

/// Runs a node until SIGTERM or Ctrl-C, and lets it finish what it has taken on.
///
/// # Errors
/// [`NodeError`].
pub async fn run(args: &NodeArgs) -> Result<(), NodeError> {
    let stop = stop_signal(args.attached).map_err(NodeError::Signals)?;
    let mut config = Config::from_file(&args.config, &train())?;
    config.apply_env(std::env::vars_os())?;
    if args.init {
        Store::create(&args.data)?;
    }
    let store = Store::open(&args.data)?;
    let no_http = |address| move |reason| NodeError::Http { address, reason };
    let listener = TcpListener::bind(args.http).await.map_err(no_http(args.http))?;
    // Before the node starts, which counts from then on. Fails where the process has a recorder already.
    let recorder = admin::install_recorder().ok();
    let node = replica::serve(NodeBuilder::from_config(&config)?, &store).start()?;
    let (name, release, pid) = (node.name(), config.profile().release().clone(), std::process::id());
    println!("{name} serves http://{}, release {release}, pid {pid}", args.http);
    let mut paths = http::router(Kv::new(node.clone()));
    match config.admin() {
        Some(address) => {
            AdminPort::open_as(&node, address, config.admin_hosts(), recorder).await.map_err(no_http(address))?;
        }
        // Beside the store's own paths, so that the example needs one port.
        None => paths = paths.merge(admin::router(&node, recorder)),
    }
    serve(node, paths, listener, config.drain_limit(), stop).await.map_err(no_http(args.http))
}

/// Serves these paths alongside the node until `stop` is done. Then it takes no more requests, answers those under way,
/// and the node leaves the cluster in good order: its jobs may go on for `drain_limit`.
///
/// # Errors
/// What the system says of the listener.
pub async fn serve(
    node: Node,
    paths: Router,
    listener: TcpListener,
    drain_limit: Duration,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let stopping = CancellationToken::new();
    let stopped = stopping.clone().cancelled_owned();
    let mut serving = pin!(http::serve(listener, paths, stopped));
    let failed = tokio::select! {
        biased;
        served = &mut serving => served.err(),
        () = stop => {
            stopping.cancel();
            // A client that does not read its answer is not waited for any longer.
            tokio::time::timeout(ANSWER_LIMIT, serving).await.ok().and_then(Result::err)
        }
    };
    let ended = node.shutdown(drain_limit).await;
    tracing::info!(ended, "this node has left, and had to end so many jobs");
    failed.map_or(Ok(()), Err)
}

/// Done when the process is asked to leave: by SIGTERM, by Ctrl-C, or by the end of its standard input.
fn stop_signal(attached: bool) -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let detached = CancellationToken::new();
    if attached {
        let detached = detached.clone();
        // A thread, since tokio's own for standard input would keep the process from ending.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            detached.cancel();
        });
    }
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = detached.cancelled() => {}
        }
    })
}

/// How long requests may take to be answered once the node is to leave.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
