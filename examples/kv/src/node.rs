//! One process of the store: a node of the cluster with its file and its HTTP port, from its start until it has left.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use rexi_server::admin::{self, AdminPort};
use rexi_server::operate::{OperatePort, Termination};
use rexi_server::proto::record::Bar;
use rexi_server::{CancellationToken, Config, ConfigError, EXIT_CONFIG, Node, NodeBuilder, StartError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until, timeout_at};

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
        reason: io::Error,
    },
    /// The address of `operate.listen` or the file of `operate.ca` is at fault, or the environment.
    #[error("cannot open the port for operators: {0}")]
    Operate(#[source] io::Error),
    /// The record of the cluster does not let its release run any more, which it has missed: it has left.
    #[error("this node has left: {0}")]
    Barred(Bar),
    /// The system gives no signals.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
}

impl NodeError {
    /// What its process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(error) => error.exit_code(),
            Self::Barred(_) => EXIT_CONFIG,
            _ => 1,
        }
    }
}

/// Runs a node until SIGTERM or Ctrl-C, and lets it finish what it has taken on, within the configuration's
/// `drain.limit_ms` in all. A second signal ends it at once. A thread may wait for the disk even then: a process that
/// is to end does not wait for its runtime.
///
/// # Errors
/// [`NodeError`].
pub async fn run(args: &NodeArgs) -> Result<(), NodeError> {
    let NodeArgs { data, init, .. } = args.clone();
    let open = move || {
        if init {
            Store::create(&data)?;
        }
        Store::open(&data)
    };
    run_on(args, open).await
}

/// As [`run`], with a store that is opened so: for tests that let its disk fail.
///
/// # Errors
/// [`NodeError`].
pub async fn run_on(
    args: &NodeArgs,
    open: impl FnOnce() -> Result<Store, OpenError> + Send + 'static,
) -> Result<(), NodeError> {
    let mut stop = Stop::listen(args.attached).map_err(NodeError::Signals)?;
    let mut config = Config::from_file(&args.config, &train())?;
    config.apply_env(std::env::vars_os())?;
    let store = tokio::select! {
        biased;
        () = stop.asked() => return Ok(()),
        // It may take long, on a slow disk or after a crash.
        opened = tokio::task::spawn_blocking(open) => opened.expect("opening does not panic, and is not aborted")?,
    };
    let no_http = |address| move |reason| NodeError::Http { address, reason };
    // Before the node starts, which counts from then on. Fails where the process has a recorder already.
    let recorder = admin::install_recorder().ok();
    // Before any socket is open: the record of the cluster may not let this release run.
    let node = replica::serve(NodeBuilder::from_config(&config)?, &store).start()?;
    let record = node.clone();
    let served = async {
        let listener = TcpListener::bind(args.http).await.map_err(no_http(args.http))?;
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
        // It closes with the node.
        if let Some(port) = OperatePort::of_config(&node, &config).map_err(NodeError::Operate)? {
            println!("{name} takes operators' commands at {}", port.local_addr());
        }
        let limit = config.drain_limit();
        serve(node, &store, paths, listener, limit, stop).await.map_err(no_http(args.http))
    };
    match served.await {
        Ok(None) => Ok(()),
        Ok(Some(bar)) => Err(NodeError::Barred(bar)),
        Err(error) => Err(of_record(error, record.barred()).await),
    }
}

/// What has ended a node that failed: its record, if that does not let it run either. To start again is of no use then.
async fn of_record(error: NodeError, barred: impl Future<Output = Bar>) -> NodeError {
    tokio::select! {
        biased;
        bar = barred => {
            tracing::error!(%error, "this node could not run, and may not");
            NodeError::Barred(bar)
        }
        () = std::future::ready(()) => error,
    }
}

/// Serves these paths alongside the node until it is asked to stop. Then it takes no more requests, answers those under
/// way, leaves the cluster in good order and closes the store: all within `limit`, whatever the disk does, or until it
/// is asked once more. So it does where the record of the cluster does not let its release run any more, and says why.
async fn serve(
    node: Node,
    store: &Store,
    paths: Router,
    listener: TcpListener,
    limit: Duration,
    mut stop: Stop,
) -> io::Result<Option<Bar>> {
    let stopping = CancellationToken::new();
    let mut serving = pin!(http::serve(listener, paths, stopping.clone().cancelled_owned()));
    let (served, barred) = tokio::select! {
        biased;
        served = &mut serving => (Some(served), None),
        () = stop.asked() => (None, None),
        bar = node.barred() => (None, Some(bar)),
    };
    stopping.cancel();
    let until = Instant::now() + limit;
    let jobs_until = until - LAST_WORDS.min(limit / 4);
    let leave = async {
        let served = match served {
            Some(served) => served,
            // A client that does not read its answer is not waited for any longer.
            None => timeout_at(jobs_until.min(Instant::now() + ANSWER_LIMIT), serving).await.unwrap_or(Ok(())),
        };
        let ended = node.shutdown(jobs_until.saturating_duration_since(Instant::now())).await;
        store.close().await;
        tracing::info!(ended, "this node has left, and had to end so many jobs");
        served
    };
    tokio::select! {
        biased;
        served = leave => served?,
        () = stop.asked_again() => tracing::warn!("asked once more: this node ends at once"),
        () = sleep_until(until) => tracing::warn!(?limit, "could not leave in good order within the limit"),
    }
    Ok(barred)
}

/// What asks the process to leave: SIGTERM, Ctrl-C, or the end of its standard input.
struct Stop {
    signals: Termination,
    detached: CancellationToken,
}

impl Stop {
    fn listen(attached: bool) -> io::Result<Self> {
        let (signals, detached) = (Termination::listen()?, CancellationToken::new());
        if attached {
            let detached = detached.clone();
            // A thread, since tokio's own for standard input would keep the process from ending.
            std::thread::spawn(move || {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                detached.cancel();
            });
        }
        Ok(Self { signals, detached })
    }

    async fn asked(&mut self) {
        tokio::select! {
            biased;
            () = self.signals.next() => {}
            () = self.detached.cancelled() => {}
        }
    }

    /// By a signal alone: Ctrl-C reaches who started the process too, and its standard input ends thereupon.
    async fn asked_again(&mut self) {
        self.signals.next().await;
    }
}

/// How long requests may take to be answered once the node is to leave.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What is left of the limit when jobs are ended: to tell the other nodes, and to close the store.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_fails_while_its_record_does_not_let_it_run_ends_as_one_that_may_not() {
        let error =
            || NodeError::Http { address: ([127, 0, 0, 1], 8080).into(), reason: io::ErrorKind::AddrInUse.into() };
        assert_eq!(of_record(error(), std::future::pending()).await.exit_code(), 1);
        assert_eq!(of_record(error(), std::future::ready(Bar::NoRecord)).await.exit_code(), EXIT_CONFIG);
    }
}
