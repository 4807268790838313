//! Every key of a configuration, with its variable, unit and default. A test checks docs/configuration.md against this.

use rexi_proto::Limits;

use super::document::Given;
use super::error::ConfigError;

/// A key that a configuration may set, for those who document or generate one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigKey {
    /// Its table; `""` for none. In `peers` and `allow`, the keys are names.
    pub table: &'static str,
    /// The key within its table.
    pub key: &'static str,
    /// What it takes, and in which unit.
    pub value: &'static str,
    /// Its default, in words where it is not a value.
    pub default: &'static str,
}

impl ConfigKey {
    /// The key with its table.
    pub fn name(&self) -> String {
        if self.table.is_empty() { self.key.to_owned() } else { format!("{}.{}", self.table, self.key) }
    }

    /// The variable of the environment that overrides it.
    pub fn variable(&self) -> String {
        match (self.table, self.key) {
            ("rollout", "ceiling") => "REXI_PHASE".to_owned(),
            ("peers", _) => "REXI_PEERS".to_owned(),
            ("allow", _) => "REXI_ALLOW".to_owned(),
            ("operators", _) => "REXI_OPERATORS".to_owned(),
            _ => format!("REXI_{}", self.name().replace('.', "_").to_uppercase()),
        }
    }
}

const fn key(table: &'static str, key: &'static str, value: &'static str, default: &'static str) -> ConfigKey {
    ConfigKey { table, key, value, default }
}

/// All keys, those without a table first.
pub const CONFIG_KEYS: &[ConfigKey] = &[
    key("", "name", "the node's name, which its certificate must list", "required"),
    key("", "listen", "IP address and UDP port to listen on; port 0 lets the system choose", "required"),
    key(
        "",
        "release",
        "the release that the node runs, one of the service's train, with or without a patch",
        "required",
    ),
    key("", "cluster", "the cluster's name; a node of another one is refused", "the train's name"),
    key("identity", "ca", "PEM file: certificates of the authorities that the node trusts", "required"),
    key("identity", "cert", "PEM file: the node's certificate, then its intermediates", "required"),
    key("identity", "key", "PEM file: the certificate's private key", "required"),
    key("identity", "interval_ms", "how often those files are looked at while the node runs, in milliseconds", "30000"),
    key(
        "peers",
        "<name>",
        "IP address or host, with the feature `dns`, and UDP port of a member; the node itself may be listed",
        "no peers",
    ),
    key("membership", "srv", "name whose SRV records point to the members, with the feature `dns`", "no name"),
    key("membership", "interval_ms", "how often DNS is asked, for hosts of `peers` too, in milliseconds", "5000"),
    key("allow", "<name>", "functions that this member may call, separated by blanks, or `*`", "all, if no table"),
    key(
        "rollout",
        "ceiling",
        "the highest phase that the node may be in, or `migration=phase` for each, with commas",
        "no ceiling",
    ),
    key("rollout", "file", "file that holds such ceilings, read again while the node runs", "no file"),
    key("rollout", "state", "directory in which the node keeps the record of its cluster", "none is kept"),
    key("rollout", "without_record", "`serve` or `wait`: what a node does while no record is known", "wait"),
    key("operate", "listen", "IP address and UDP port for operators' commands, with the feature `operate`", "no port"),
    key("operate", "ca", "PEM file with the authorities that vouch for operators", "none: required with the port"),
    key("operators", "<name>", "what this operator may ask, separated by blanks, or `*`", "nothing"),
    key("admin", "listen", "IP address and TCP port for probes, metrics and status", "no port"),
    key("admin", "hosts", "names that the port may be asked by beside its own, separated by blanks", "no names"),
    key("calls", "time_limit_ms", "how long a call for one reply waits, in milliseconds; 0 for no limit", "60000"),
    key("drain", "limit_ms", "how long jobs may go on when the node leaves, in milliseconds", "30000"),
    key("limits", "frame_bytes_max", "bytes of one frame on the ordered lane", "1048576"),
    key("limits", "payload_bytes_max", "bytes of one argument or reply", "4194304"),
    key("limits", "inline_bytes_max", "bytes of a payload that still travels inside its frame", "32768"),
    key("limits", "bulk_streams_max", "payloads in transfer outside the lane, per peer and direction", "4"),
    key("limits", "bulk_frames_max", "frames of one peer that may wait for their payloads", "1024"),
    key("limits", "unwritten_bytes_max", "bytes of frames that wait for the writer, per peer", "262144"),
    key("limits", "buffered_frames_max", "frames that wait for one peer that is away or slow", "2000"),
    key("limits", "buffered_bytes_max", "bytes of their payloads", "8388608"),
    key("limits", "buffered_frames_total_max", "frames in the buffers of all peers", "64000"),
    key("limits", "buffered_bytes_total_max", "bytes of their payloads", "268435456"),
    key("limits", "calls_open_max", "open calls to one peer", "100000"),
    key("limits", "jobs_max", "jobs of one peer on one server", "100000"),
    key("limits", "jobs_total_max", "jobs of all servers of the node", "400000"),
    key("limits", "job_bytes_max", "bytes of arguments of one peer's jobs", "8388608"),
    key("limits", "job_bytes_total_max", "bytes of arguments of all jobs", "268435456"),
    key("limits", "streams_max", "reply streams of one peer on one server", "10000"),
    key("limits", "streams_total_max", "reply streams of all servers of the node", "40000"),
    key("limits", "stream_window", "items of a stream that may be unacknowledged", "5"),
    key("limits", "stream_time_limit_ms", "how long a job waits for its stream's reader, in milliseconds", "300000"),
    key("limits", "monitors_max", "monitors of one peer that one server keeps", "1000"),
    key("limits", "tombstones_max", "kills that a server remembers because they met no job", "256"),
    key("limits", "part_calls_max", "calls of a list that are worked off before others have their turn", "64"),
    key("limits", "mailbox_length_max", "replies that may wait in one mailbox", "65536"),
    key("limits", "mailbox_bytes_max", "bytes of their payloads", "67108864"),
    key("limits", "function_bytes_max", "bytes of a function's name", "255"),
    key("limits", "stability_period_ms", "how long a peer that is away keeps its jobs, in milliseconds", "15000"),
];

/// The keys of a table, and for the root the tables too, in the order of [`CONFIG_KEYS`].
pub(super) fn keys_of(table: &str) -> Vec<&'static str> {
    let mut keys: Vec<_> = CONFIG_KEYS.iter().filter(|known| known.table == table).map(|known| known.key).collect();
    if table.is_empty() {
        keys.extend(tables().into_iter().filter(|table| !table.is_empty()));
    }
    keys
}

/// Every table, the root first.
pub(super) fn tables() -> Vec<&'static str> {
    let mut tables: Vec<_> = CONFIG_KEYS.iter().map(|known| known.table).collect();
    tables.dedup();
    tables
}

/// Whether the table's keys are the names of nodes.
pub(super) fn holds_names(table: &str) -> bool {
    ["peers", "allow", "operators"].contains(&table)
}

/// Sets the limit of this key.
pub(super) fn set_limit(limits: &mut Limits, key: &str, given: &Given) -> Result<(), ConfigError> {
    match key {
        "frame_bytes_max" => limits.frame_bytes_max = given.whole()?,
        "payload_bytes_max" => limits.payload_bytes_max = given.whole()?,
        "inline_bytes_max" => limits.inline_bytes_max = given.whole()?,
        "bulk_streams_max" => limits.bulk_streams_max = given.whole()?,
        "bulk_frames_max" => limits.bulk_frames_max = given.whole()?,
        "unwritten_bytes_max" => limits.unwritten_bytes_max = given.whole()?,
        "buffered_frames_max" => limits.buffered_frames_max = given.whole()?,
        "buffered_bytes_max" => limits.buffered_bytes_max = given.whole()?,
        "buffered_frames_total_max" => limits.buffered_frames_total_max = given.whole()?,
        "buffered_bytes_total_max" => limits.buffered_bytes_total_max = given.whole()?,
        "calls_open_max" => limits.calls_open_max = given.whole()?,
        "jobs_max" => limits.jobs_max = given.whole()?,
        "jobs_total_max" => limits.jobs_total_max = given.whole()?,
        "job_bytes_max" => limits.job_bytes_max = given.whole()?,
        "job_bytes_total_max" => limits.job_bytes_total_max = given.whole()?,
        "streams_max" => limits.streams_max = given.whole()?,
        "streams_total_max" => limits.streams_total_max = given.whole()?,
        "stream_window" => limits.stream_window = given.whole()?,
        "stream_time_limit_ms" => limits.stream_time_limit = given.millis()?,
        "monitors_max" => limits.monitors_max = given.whole()?,
        "tombstones_max" => limits.tombstones_max = given.whole()?,
        "part_calls_max" => limits.part_calls_max = given.whole()?,
        "mailbox_length_max" => limits.mailbox_length_max = given.whole()?,
        "mailbox_bytes_max" => limits.mailbox_bytes_max = given.whole()?,
        "function_bytes_max" => limits.function_bytes_max = given.whole()?,
        "stability_period_ms" => limits.stability_period = given.millis()?,
        other => unreachable!("the limit {other} has a row in CONFIG_KEYS, and none here"),
    }
    Ok(())
}
