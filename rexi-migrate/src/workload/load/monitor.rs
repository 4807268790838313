//! The load's monitors: one on each node, set again after it has fired.

use std::cmp::Reverse;
use std::time::Duration;

use rexi_proto::{DownReason, MonitorRef};
use rexi_server::Mailbox;
use tokio::time::Instant;

use super::{Due, Load, Target};
use crate::history::ledger::{Entry, MonitorNumber};
use crate::workload::work::record;

impl Load {
    pub(super) fn watch(&mut self, now: Instant, mailbox: &Mailbox) {
        let due = self.unwatched.extract_if(.., |(at, _)| *at <= now).map(|(_, on)| on).collect::<Vec<_>>();
        for on in due {
            let Some(Target { name, .. }) = self.targets.iter().find(|target| target.index == on) else { continue };
            let number = MonitorNumber(self.next_monitor);
            self.next_monitor += 1;
            record(&self.ledger, &[Entry::Monitored { monitor: number, on }]);
            if let Ok(monitor) = mailbox.monitor(name) {
                self.monitors.insert(monitor, (number, on));
            }
        }
    }

    pub(super) fn handle_down(&mut self, monitor: MonitorRef, reason: DownReason) {
        if let Some((number, on)) = self.monitors.remove(&monitor) {
            let reason = down_code(reason);
            record(&self.ledger, &[Entry::MonitorDown { monitor: number, reason }]);
            let again = if self.on { WATCH_AGAIN } else { STEERED_WATCH_AGAIN };
            self.unwatched.push((Instant::now() + again, on));
            if self.on {
                // So that gathers surely meet a node that is down: one as it goes, one when it is gone.
                self.begin_gather();
                self.due.push(Reverse((Instant::now() + GATHER_AGAIN, Due::Gather)));
            }
        }
    }

    pub(super) fn stop_watching(&mut self, mailbox: &Mailbox) {
        self.unwatched.clear();
        for (monitor, (number, _)) in std::mem::take(&mut self.monitors) {
            mailbox.demonitor(monitor);
            record(&self.ledger, &[Entry::Demonitored { monitor: number }]);
        }
    }
}

/// The ledger's code of a monitor's reason.
fn down_code(reason: DownReason) -> u8 {
    match reason {
        DownReason::NoConnect => 1,
        DownReason::NoServer => 2,
        DownReason::NoConnection => 3,
        DownReason::Restarted => 4,
        DownReason::Shutdown => 5,
        _ => 0,
    }
}

/// How long after a down all nodes are asked once more.
const GATHER_AGAIN: Duration = Duration::from_millis(4);

/// How long after a down a node is watched again.
const WATCH_AGAIN: Duration = Duration::from_millis(200);

/// The same of a load that a plan steers: in virtual time a node may be gone for long.
const STEERED_WATCH_AGAIN: Duration = Duration::from_secs(1);
