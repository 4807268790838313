//! The end of a node's process in good order: on a signal the node drains, and a second signal cuts that short.

use std::io;
use std::time::Duration;

use rexi_proto::record::Bar;

use crate::node::{EXIT_CONFIG, Node};

/// The signals that ask a process to end: SIGTERM and SIGINT, and Ctrl-C where there are none.
///
/// From [`Termination::listen`] on they no longer end the process by themselves, for as long as it runs.
#[derive(Debug)]
pub struct Termination {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Termination {
    /// Begins to listen. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next signal. Several that come while nobody waits may be reported as one.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        {
            let heard = tokio::select! {
                biased;
                heard = self.terminate.recv() => heard,
                heard = self.interrupt.recv() => heard,
            };
            if heard.is_none() {
                // The runtime shuts down, and no more signals arrive.
                std::future::pending::<()>().await;
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Waits until the process is asked to end: see [`Termination`].
///
/// # Errors
/// What the system says.
pub async fn until_terminated() -> io::Result<()> {
    Termination::listen()?.next().await;
    Ok(())
}

impl Node {
    /// Serves until the process is asked to end by SIGTERM or SIGINT, or the record of the cluster does not let this
    /// release run any more. Then leaves as [`Node::shutdown`] does, within `limit`; a signal meanwhile ends the jobs
    /// that are left at once.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// async fn run(node: rexi_server::Node) -> std::io::Result<std::process::ExitCode> {
    ///     let ended = node.run_until_terminated(Duration::from_secs(30)).await?;
    ///     println!("left; {} jobs had to be ended", ended.jobs);
    ///     Ok(ended.exit_code().into())
    /// }
    /// ```
    ///
    /// # Errors
    /// What the system says of listening to signals; the node is dropped then.
    pub async fn run_until_terminated(self, limit: Duration) -> io::Result<Ended> {
        let mut termination = Termination::listen()?;
        self.shared().note_drain_limit(limit);
        let barred = tokio::select! {
            biased;
            () = termination.next() => None,
            bar = self.barred() => Some(bar),
        };
        let why = barred.as_ref().map_or_else(|| "asked to end".to_owned(), Bar::to_string);
        tracing::info!(node = %self.name(), ?limit, why, "the node leaves");
        let jobs = self.shutdown_by(limit, termination.next()).await;
        Ok(Ended { jobs, barred })
    }
}

/// How a node has ended that served until it was to end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Jobs that had to be ended.
    pub jobs: usize,
    /// Why the record did not let its release run any more, if that is why it has ended.
    pub barred: Option<Bar>,
}

impl Ended {
    /// What its process ends with: [`EXIT_CONFIG`] where the record was why, else 0.
    pub fn exit_code(&self) -> u8 {
        if self.barred.is_some() { EXIT_CONFIG } else { 0 }
    }
}
