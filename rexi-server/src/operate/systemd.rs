//! Tells systemd, or whatever else gave this process a `NOTIFY_SOCKET`, how the node fares (feature `sd-notify`).
//!
//! In: the node's own word on itself. Out: `READY=1` once, `STATUS=` with phase and members whenever they change,
//! `STOPPING=1` when it begins to leave, and `WATCHDOG=1` twice in each `WATCHDOG_USEC`. All of it comes from one task:
//! where the node's runtime no longer runs its tasks, or a lock of the node is never released, no ping is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::select_all;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::engine::{NodeStatus, PeerPresence, Shared};
use crate::node::Node;

impl Node {
    /// Tells systemd of this node from now on, for a service of `Type=notify`; does nothing where the process was given
    /// no `NOTIFY_SOCKET`. To be called once, for the one node of a process.
    ///
    /// The node is said to be ready once every member is connected ([`Node::ready`]), or after [`READY_WAIT`]: systemd
    /// ends a service that is not ready in time, and a node serves those members that are there.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// async fn run(node: rexi_server::Node) -> std::io::Result<()> {
    ///     node.notify_systemd();
    ///     node.run_until_terminated(Duration::from_secs(30)).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn notify_systemd(&self) {
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            let shared = self.shared();
            shared.spawn(report(Arc::clone(shared)));
        }
    }
}

/// How long a node that misses members is not said to be ready, at most.
pub const READY_WAIT: Duration = Duration::from_secs(10);

/// For as long as the node lives.
async fn report(shared: Arc<Shared>) {
    let mut presence = shared.presence.subscribe();
    let mut phases: Vec<_> = shared.phases.iter().map(watch::Sender::subscribe).collect();
    let mut pings = sd_notify::watchdog_enabled().map(|limit| {
        let mut pings = tokio::time::interval((limit / 2).max(PING_INTERVAL_MIN));
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    });
    let ready_at = Instant::now() + READY_WAIT;
    let (mut ready, mut stopping, mut said) = (false, false, String::new());
    loop {
        let mut news = Vec::new();
        if !ready && (shared.has_all_members() || Instant::now() >= ready_at) {
            ready = true;
            news.push(NotifyState::Ready);
        }
        if !stopping && shared.draining.load(Ordering::Relaxed) {
            stopping = true;
            news.push(NotifyState::Stopping);
        }
        let status = line(&shared.status());
        if status != said {
            said = status;
            news.push(NotifyState::Status(&said));
        }
        tell(&shared, &news);
        tokio::select! {
            biased;
            () = next_ping(pings.as_mut()) => tell(&shared, &[NotifyState::Watchdog]),
            _ = presence.changed() => {}
            _ = select_all(phases.iter_mut().map(|phase| Box::pin(phase.changed()))) => {}
            () = tokio::time::sleep_until(ready_at), if !ready => {}
        }
    }
}

async fn next_ping(pings: Option<&mut tokio::time::Interval>) {
    match pings {
        Some(pings) => drop(pings.tick().await),
        None => std::future::pending().await,
    }
}

/// What is not heard is logged, and the node goes on: systemd draws its own conclusions.
fn tell(shared: &Shared, news: &[NotifyState<'_>]) {
    if news.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(news) {
        tracing::warn!(node = %shared.name, %error, "cannot tell systemd");
    }
}

/// One line for an operator.
fn line(status: &NodeStatus) -> String {
    let connected = status.peers.iter().filter(|peer| peer.presence == PeerPresence::Connected).count();
    let NodeStatus { name, release, rollouts, peers, draining, .. } = status;
    let leaving = if *draining { ", leaving" } else { "" };
    let phases: Vec<String> =
        rollouts.iter().map(|rollout| format!("{} at {}", rollout.migration, rollout.phase)).collect();
    format!("{name} {release}, {}, {connected} of {} members{leaving}", phases.join(", "), peers.len())
}

/// A watchdog that is shorter than twice this is not kept up with.
const PING_INTERVAL_MIN: Duration = Duration::from_millis(1);
