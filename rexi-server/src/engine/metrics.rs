//! What a node counts, through the `metrics` facade: it goes to whichever recorder the process installs before its node
//! starts; without one nothing is kept.
//!
//! What is counted where it happens is here (jobs, refused handshakes, what still goes to the singleton); the rest is
//! taken from the node's status, in publish.rs. [`METRICS`] has every name. Nothing is labelled with text that a peer
//! may freely choose.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Histogram, SharedString, Unit};
use rexi_proto::{ExitReason, JobEnding, NodeName};

use crate::net::Line;

/// A metric of every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, as Prometheus shows it.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels; `node`, the node's own name, is always the first.
    pub labels: &'static [&'static str],
    /// What it tells, and in which unit.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only rises while the node lives.
    Counter,
    /// Is as it is now.
    Gauge,
    /// Durations, by how many were at most that long.
    Histogram,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

/// Every metric of a node, those of its jobs first.
pub const METRICS: &[Metric] = &[
    counter("rexi_jobs_total", &["node", "function", "outcome"], "Jobs that ended, by function and how."),
    Metric {
        name: JOB_DURATION,
        kind: MetricKind::Histogram,
        labels: &["node", "function"],
        help: "Seconds from where a cast is read to its job's end; killed jobs are left out.",
    },
    counter(
        "rexi_slow_first_steps_total",
        &["node", "function"],
        "Jobs that took over 100 ms before their first wait, and held up what their caller sent behind.",
    ),
    gauge("rexi_jobs", &["node"], "Jobs that run now."),
    gauge("rexi_calls", &["node"], "Calls of this node that are open now."),
    gauge("rexi_reply_streams", &["node"], "Reply streams that jobs have asked for or opened."),
    counter("rexi_stream_timeouts_total", &["node", "wait"], "Reply streams given up, by what was waited for in vain."),
    gauge("rexi_singleton_queue_length", &["node"], "Requests that wait for the singleton."),
    counter("rexi_singleton_requests_total", &["node", "peer"], "Requests of a peer that still need the singleton."),
    gauge("rexi_phase", &["node", "migration", "phase"], "1 for the phase that the node is in, 0 for others."),
    gauge(
        "rexi_limiting_factor",
        &["node", "migration", "factor"],
        "1 for what keeps the phase from being higher, 0 for others.",
    ),
    gauge("rexi_draining", &["node"], "1 while the node takes no new casts."),
    gauge("rexi_release_info", &["node", "release"], "1, with the release as a label."),
    gauge("rexi_pool_left", &["node", "total"], "What is left of each total over all peers."),
    counter("rexi_stray_datagrams_total", &["node"], "Datagrams of no connection, from addresses that no member has."),
    gauge("rexi_certificate_expires_timestamp_seconds", &["node"], "When peers refuse the certificate, since 1970."),
    gauge("rexi_certificate_left_seconds", &["node"], "Seconds until then; 0 once it has come."),
    counter("rexi_identity_changes_total", &["node"], "Changes of the node's certificate, key or authorities."),
    counter("rexi_denied_casts_total", &["node", "peer"], "Casts of a peer that the allow-list has denied."),
    counter("rexi_handshakes_refused_total", &["node", "reason"], "Connections that came to nothing, by reason."),
    gauge("rexi_record_epoch", &["node"], "The epoch of the cluster's record on the node's disk; 0 without one."),
    gauge("rexi_record_broken", &["node"], "1 once a write of it has failed, until the node starts again."),
    gauge("rexi_transition_open_seconds", &["node"], "How long a change of it is under way; 0 where none is."),
    gauge("rexi_finalize_due_seconds", &["node"], "How long all runs the newest release that is not final; else 0."),
    counter(
        "rexi_operator_asks_total",
        &["node", "verb", "outcome"],
        "What operators have asked: done, denied, or no_trail.",
    ),
    counter("rexi_connections_total", &["node", "peer"], "Connections to a peer that were put to use."),
    gauge("rexi_peer_connected", &["node", "peer"], "1 while the peer is connected."),
    gauge("rexi_peer_calls", &["node", "peer"], "Calls open to the peer."),
    gauge("rexi_peer_jobs", &["node", "peer"], "Jobs that the per-node server runs for the peer."),
    gauge("rexi_peer_job_bytes", &["node", "peer"], "Bytes of their arguments."),
    counter("rexi_buffered_frames_total", &["node", "peer"], "Frames that had to wait for the peer in the buffer."),
    gauge("rexi_buffered_frames", &["node", "peer"], "Frames that wait in the peer's buffer now."),
    gauge("rexi_buffered_bytes", &["node", "peer"], "Bytes of their payloads."),
    counter("rexi_dropped_frames_total", &["node", "peer"], "Frames that the peer's full buffer has dropped."),
    counter("rexi_downs_total", &["node", "peer"], "Calls and monitors that were told that the peer is down."),
    counter("rexi_unknown_frames_total", &["node", "peer"], "Frames of unknown kinds that came from the peer."),
    counter("rexi_stray_answers_total", &["node", "peer"], "Answers of the peer to calls that were no longer open."),
    counter("rexi_stale_answers_total", &["node", "peer"], "Answers to an earlier life of the peer that were let go."),
    counter("rexi_late_payloads_total", &["node", "peer"], "Payloads whole only after their connection was replaced."),
];

/// The name of the histogram of [`METRICS`], for which a recorder is given its bounds.
pub const JOB_DURATION: &str = "rexi_job_duration_seconds";

/// Tells the recorder what each metric is.
pub(super) fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, Unit::Seconds, metric.help),
        }
    }
}

/// What is counted of one function, where its jobs end.
#[derive(Debug)]
pub(crate) struct FunctionMetrics {
    duration: Histogram,
    outcomes: [Counter; OUTCOMES.len()],
    slow_first_steps: Counter,
    pub(crate) slow: Line,
}

/// How a job may end, in the order of [`outcome_of`]'s numbers.
const OUTCOMES: [&str; 7] = ["replied", "done", "failed", "panicked", "timed_out", "refused", "killed"];
const KILLED: usize = 6;

fn outcome_of(ending: &JobEnding) -> usize {
    match ending {
        JobEnding::Reply(_) => 0,
        JobEnding::Exit(ExitReason::Done) => 1,
        JobEnding::Exit(ExitReason::Failed(_)) => 2,
        JobEnding::Exit(ExitReason::Panicked(_)) => 3,
        JobEnding::Exit(ExitReason::TimePassed) => 4,
        _ => 5,
    }
}

impl FunctionMetrics {
    pub(crate) fn new(node: &NodeName, function: &Arc<str>) -> Self {
        let (node, function) = (label(node), SharedString::from(Arc::clone(function)));
        let outcome = |outcome| {
            let (node, function) = (node.clone(), function.clone());
            metrics::counter!("rexi_jobs_total", "node" => node, "function" => function, "outcome" => outcome)
        };
        let outcomes = OUTCOMES.map(outcome);
        let of_both = [("node", node), ("function", function)];
        let duration = metrics::histogram!(JOB_DURATION, &of_both);
        let slow_first_steps = metrics::counter!("rexi_slow_first_steps_total", &of_both);
        Self { duration, outcomes, slow_first_steps, slow: Line::default() }
    }

    pub(crate) fn ended(&self, ending: &JobEnding, after: Duration) {
        self.outcomes[outcome_of(ending)].increment(1);
        self.duration.record(after.as_secs_f64());
    }

    /// The job has held up what its caller sent behind it.
    pub(crate) fn slow_first_step(&self) {
        self.slow_first_steps.increment(1);
    }

    /// The job is gone before its end.
    pub(crate) fn killed(&self) {
        self.outcomes[KILLED].increment(1);
    }
}

/// What is counted of one peer, where it happens.
#[derive(Debug)]
pub(crate) struct PeerMetrics {
    pub(crate) singleton_requests: Counter,
    pub(crate) downs: Counter,
    pub(crate) connections: Counter,
}

impl PeerMetrics {
    pub(crate) fn new(node: &NodeName, peer: &NodeName) -> Self {
        let (node, peer) = (label(node), label(peer));
        let counter = |name| metrics::counter!(name, "node" => node.clone(), "peer" => peer.clone());
        Self {
            singleton_requests: counter("rexi_singleton_requests_total"),
            downs: counter("rexi_downs_total"),
            connections: counter("rexi_connections_total"),
        }
    }
}

/// Counts a failed handshake, by the reason in a word.
pub(crate) fn refused(node: &NodeName, reason: &'static str) {
    metrics::counter!("rexi_handshakes_refused_total", "node" => label(node), "reason" => reason).increment(1);
}

/// Counts what an operator has asked.
#[cfg(feature = "operate")]
pub(crate) fn operator_asked(node: &NodeName, verb: &'static str, outcome: &'static str) {
    let node = label(node);
    metrics::counter!("rexi_operator_asks_total", "node" => node, "verb" => verb, "outcome" => outcome).increment(1);
}

/// The members whose gauges were reported, shared by all that report them.
#[derive(Debug, Default)]
pub(crate) struct Told(pub(super) Mutex<BTreeSet<NodeName>>);

pub(super) fn label(name: &NodeName) -> SharedString {
    SharedString::from(name.as_str().to_owned())
}
