//! Reports a node's status to the recorder of metrics, now and then and whenever somebody asks for it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Label, SharedString};
use rexi_proto::{LimitingFactor, PeerStats, Phase, Total};

use crate::engine::metrics::{describe, label};
use crate::engine::shared::Shared;
use crate::engine::status::{NodeStatus, PeerPresence, PeerStatus, RolloutStatus};

/// Tells the recorder what the status says, again and again, for as long as the node lives.
pub(crate) async fn run(shared: Arc<Shared>) {
    describe();
    loop {
        publish(&shared);
        tokio::time::sleep(PUBLISH_INTERVAL).await;
    }
}

/// Tells what the status says now. A recorder cannot forget a series, so those of a member that has left are set to 0:
/// otherwise it would be shown as connected for as long as the process runs.
pub(crate) fn publish(shared: &Shared) {
    // The status is asked for under the lock, so that an older one is not told behind a newer one.
    let mut told = shared.told.0.lock().expect("nothing panics while it tells a recorder");
    let status = shared.status();
    publish_status(&status, shared.env.now());
    publish_record(&status, shared.record_ages());
    let members = status.peers.into_iter().map(|peer| peer.name).collect();
    let earlier = std::mem::replace(&mut *told, members);
    for left in earlier.difference(&told) {
        publish_gauges(&label(&status.name), &label(left), false, &PeerStats::default());
    }
}

fn publish_status(status: &NodeStatus, now: SystemTime) {
    let node = label(&status.name);
    let gauge = |name, value: f64| metrics::gauge!(name, "node" => node.clone()).set(value);
    gauge("rexi_certificate_expires_timestamp_seconds", seconds_since(UNIX_EPOCH, status.certificate_expires));
    gauge("rexi_certificate_left_seconds", seconds_since(now, status.certificate_expires));
    metrics::counter!("rexi_identity_changes_total", "node" => node.clone()).absolute(status.identity_changes);
    gauge("rexi_jobs", status.jobs as f64);
    gauge("rexi_calls", status.calls as f64);
    gauge("rexi_reply_streams", status.streams as f64);
    gauge("rexi_singleton_queue_length", status.singleton_queue as f64);
    gauge("rexi_draining", flag(status.draining));
    let strays = metrics::counter!("rexi_stray_datagrams_total", "node" => node.clone());
    strays.absolute(status.stray_datagrams);
    let of = &status.stream_timeouts;
    for (wait, count) in [("init", of.init_stream), ("stream", of.stream), ("ack", of.wait_for_ack)] {
        metrics::counter!("rexi_stream_timeouts_total", "node" => node.clone(), "wait" => wait).absolute(count);
    }
    let release = status.release.to_string();
    metrics::gauge!("rexi_release_info", "node" => node.clone(), "release" => release).set(1.0);
    status.rollouts.iter().for_each(|rollout| publish_rollout(&node, rollout));
    for (total, left) in status.pool_left {
        metrics::gauge!("rexi_pool_left", "node" => node.clone(), "total" => total_name(total)).set(left as f64);
    }
    status.peers.iter().for_each(|peer| publish_peer(&node, peer));
}

fn publish_record(status: &NodeStatus, (open, due): (Duration, Duration)) {
    let node = label(&status.name);
    let gauge = |name, value: f64| metrics::gauge!(name, "node" => node.clone()).set(value);
    gauge("rexi_record_epoch", status.record.as_ref().map_or(0, |kept| kept.epoch()) as f64);
    gauge("rexi_record_broken", flag(status.record_is_broken));
    gauge("rexi_transition_open_seconds", open.as_secs_f64());
    gauge("rexi_finalize_due_seconds", due.as_secs_f64());
}

fn publish_rollout(node: &SharedString, status: &RolloutStatus) {
    let migration = SharedString::from(status.migration.to_string());
    for phase in Phase::ALL {
        let labels = [
            Label::new("node", node.clone()),
            Label::new("migration", migration.clone()),
            Label::new("phase", phase.as_str()),
        ];
        metrics::gauge!("rexi_phase", labels.iter()).set(flag(phase == status.phase));
    }
    let limiting = factor(&status.limiting_factor);
    for factor in FACTORS {
        let labels = [
            Label::new("node", node.clone()),
            Label::new("migration", migration.clone()),
            Label::new("factor", factor),
        ];
        metrics::gauge!("rexi_limiting_factor", labels.iter()).set(flag(factor == limiting));
    }
}

fn publish_peer(node: &SharedString, status: &PeerStatus) {
    let (peer, stats) = (label(&status.name), &status.stats);
    publish_gauges(node, &peer, status.presence == PeerPresence::Connected, stats);
    let counter = |name, count| metrics::counter!(name, "node" => node.clone(), "peer" => peer.clone()).absolute(count);
    counter("rexi_denied_casts_total", status.denied_casts);
    counter("rexi_buffered_frames_total", stats.waited);
    counter("rexi_dropped_frames_total", stats.dropped);
    counter("rexi_unknown_frames_total", stats.unknown_frames);
    counter("rexi_stray_answers_total", stats.stray_answers);
    counter("rexi_stale_answers_total", stats.stale_answers);
    counter("rexi_late_payloads_total", stats.late_payloads);
}

/// Every gauge that there is of a peer.
fn publish_gauges(node: &SharedString, peer: &SharedString, connected: bool, stats: &PeerStats) {
    let gauge = |name, value: f64| metrics::gauge!(name, "node" => node.clone(), "peer" => peer.clone()).set(value);
    gauge("rexi_peer_connected", flag(connected));
    gauge("rexi_peer_calls", stats.calls as f64);
    gauge("rexi_peer_jobs", stats.jobs as f64);
    gauge("rexi_peer_job_bytes", stats.job_bytes as f64);
    gauge("rexi_buffered_frames", stats.buffered as f64);
    gauge("rexi_buffered_bytes", stats.buffered_bytes as f64);
}

/// What may limit the phase, as the label says it.
const FACTORS: [&str; 7] = ["release", "ceiling", "source", "record", "unknown_member", "not_taken", "unlisted"];

/// The kind of what limits the phase; whose fault it is, a status tells.
pub(crate) fn factor(factor: &LimitingFactor) -> &'static str {
    match factor {
        LimitingFactor::Ceiling(_) => "ceiling",
        LimitingFactor::Source(_) => "source",
        LimitingFactor::Record(_) => "record",
        LimitingFactor::Unknown(_) => "unknown_member",
        LimitingFactor::NotTaken(..) => "not_taken",
        LimitingFactor::Unlisted => "unlisted",
        _ => "release",
    }
}

pub(crate) fn total_name(total: Total) -> &'static str {
    match total {
        Total::Jobs => "jobs",
        Total::JobBytes => "job_bytes",
        Total::Streams => "streams",
        Total::BufferedFrames => "buffered_frames",
        Total::BufferedBytes => "buffered_bytes",
    }
}

/// 0 where `until` has passed.
fn seconds_since(since: SystemTime, until: SystemTime) -> f64 {
    until.duration_since(since).unwrap_or_default().as_secs_f64()
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// How often the recorder is told what the status says.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use rexi_proto::{Form, NodeName, SERVER_PER_NODE, Saying};
    use semver::Version;

    use super::*;

    #[test]
    fn each_factor_has_a_label_of_its_own() {
        let new_servers = Saying { migration: SERVER_PER_NODE.key().clone(), form: Form::New };
        let (member, release) = (NodeName::new("n2").expect("a name"), Version::new(1, 2, 0));
        let factors = [
            LimitingFactor::Release(release.clone()),
            LimitingFactor::Ceiling(Phase::Switch),
            LimitingFactor::Source(Phase::Switch),
            LimitingFactor::Record(Phase::Switch),
            LimitingFactor::Unknown(member.clone()),
            LimitingFactor::NotTaken(member, release, new_servers),
            LimitingFactor::Unlisted,
        ];
        assert_eq!(factors.each_ref().map(factor), FACTORS);
    }
}
