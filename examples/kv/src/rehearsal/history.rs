//! What clients have done to the keys, in the order in which one process saw it begin and end, and whether that is
//! possible.
//!
//! The store orders the writes of a key by their versions, and gives the version with each answer. So what was
//! acknowledged or read before an operation began is a floor: a read must not return a lower version, and a write must
//! get a higher one. A write of unknown outcome may take effect at any time, or never; its version is not known, so it
//! sets no floor, but it may be read. A write that was refused must never be.
//!
//! Sound since all clients live in one process, whose one lock gives their beginnings and ends one order.

use std::collections::{BTreeMap, BTreeSet};

use rexi_migrate::rehearse::Account;

use crate::replica::Consistency;
use crate::version::Version;

/// What the clients of a run have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KvCounts {
    /// Keys that were written to.
    pub(super) keys: u64,
    /// Writes that a majority keeps, as their clients were told.
    pub(super) writes_acknowledged: u64,
    /// Writes that were not done, as their clients were told, or that no node took.
    pub(super) writes_refused: u64,
    /// Writes without an answer, or with the answer that nobody knows.
    pub(super) writes_unknown: u64,
    /// Reads that were answered, each compared with its floor; those of one replica have none.
    pub(super) reads_checked: u64,
    /// Those of them by consistency, the weakest first.
    pub(super) reads_by_consistency: [u64; 3],
    /// Reads of one replica that were refused, since their node did not say them yet.
    pub(super) reads_not_yet: u64,
    /// Reads without an answer.
    pub(super) reads_failed: u64,
    /// Keys that were read once more at rest, at the end.
    pub(super) keys_checked: u64,
    /// Keys whose last acknowledged write was gone then.
    pub(super) lost: u64,
    /// Answers older than what was acknowledged or read before they were asked for.
    pub(super) stale: u64,
    /// Values that nobody wrote there, that were refused, or that are not those of their version.
    pub(super) never_written: u64,
    /// The first of these three, in words.
    pub(super) breaches: Vec<String>,
}

impl KvCounts {
    /// Why they prove nothing, if so, about a run with this many `kill -9`s.
    fn doubt(&self, kills: usize) -> Option<&'static str> {
        match self {
            _ if kills == 0 => Some("no node was killed"),
            Self { writes_acknowledged: 0, .. } => Some("no write was acknowledged"),
            Self { reads_checked: 0, .. } => Some("no read was answered"),
            Self { keys, keys_checked, .. } if keys > keys_checked => Some("not every key could be read at the end"),
            _ => None,
        }
    }

    /// For the report of a run with this many `kill -9`s.
    pub(super) fn account(&self, kills: usize) -> Account {
        let counts = BTreeMap::from([
            ("keys", self.keys),
            ("writes_acknowledged", self.writes_acknowledged),
            ("writes_refused", self.writes_refused),
            ("writes_unknown", self.writes_unknown),
            ("reads_checked", self.reads_checked),
            ("reads_of_one", self.reads_by_consistency[0]),
            ("reads_of_a_majority", self.reads_by_consistency[1]),
            ("reads_linearizable", self.reads_by_consistency[2]),
            ("reads_not_yet", self.reads_not_yet),
            ("reads_failed", self.reads_failed),
            ("keys_checked", self.keys_checked),
            ("lost", self.lost),
            ("stale", self.stale),
            ("never_written", self.never_written),
        ]);
        let summary = format!(
            "{} writes acknowledged, {} lost; {} reads checked ({} of one replica), {} stale, {} of what was never \
             written; {} writes of unknown outcome, {} refused; {} reads not said yet, {} failed; {} keys at rest.",
            self.writes_acknowledged,
            self.lost,
            self.reads_checked,
            self.reads_by_consistency[0],
            self.stale,
            self.never_written,
            self.writes_unknown,
            self.writes_refused,
            self.reads_not_yet,
            self.reads_failed,
            self.keys_checked,
        );
        let doubts = self.doubt(kills).map(str::to_owned).into_iter().collect();
        Account { name: "kv", summary, counts, breaches: self.breaches.clone(), doubts }
    }
}

/// The keys of a run.
#[derive(Debug, Default)]
pub(super) struct History {
    keys: BTreeMap<String, Key>,
    counts: KvCounts,
}

#[derive(Debug, Default)]
struct Key {
    /// The highest value that was tried: values count from 1.
    attempted: u64,
    refused: BTreeSet<u64>,
    /// The highest version that was acknowledged or read.
    floor: Option<Version>,
    /// The values of the versions above which nothing is known yet.
    values: BTreeMap<Version, u64>,
}

impl History {
    pub(super) fn floor(&self, key: &str) -> Option<Version> {
        self.keys.get(key)?.floor.clone()
    }

    /// The value to write next.
    pub(super) fn next_value(&mut self, key: &str) -> u64 {
        let key = self.keys.entry(key.to_owned()).or_default();
        key.attempted += 1;
        key.attempted
    }

    pub(super) fn written(&mut self, key: &str, value: u64, floor: &Option<Version>, version: &Version) {
        self.counts.writes_acknowledged += 1;
        if floor.as_ref().is_some_and(|floor| version <= floor) {
            self.breach(Breach::Stale, format!("{key} = {value} got version {version}, not above {}", show(floor)));
        }
        self.met(key, value, version, true);
    }

    pub(super) fn refused(&mut self, key: &str, value: u64) {
        self.counts.writes_refused += 1;
        self.keys.entry(key.to_owned()).or_default().refused.insert(value);
    }

    pub(super) fn unknown(&mut self) {
        self.counts.writes_unknown += 1;
    }

    /// A read was answered. What one replica has may be older than the floor, and what a majority has may be newer than
    /// anything that the next majority has to have: neither raises it.
    pub(super) fn read(
        &mut self,
        key: &str,
        consistency: Consistency,
        floor: &Option<Version>,
        found: Option<(Version, Vec<u8>)>,
    ) {
        self.counts.reads_checked += 1;
        self.counts.reads_by_consistency[consistency as usize] += 1;
        let floor = if consistency == Consistency::One { &None } else { floor };
        self.check(key, floor, found, Breach::Stale, consistency == Consistency::Linearizable);
    }

    pub(super) fn read_not_yet(&mut self) {
        self.counts.reads_not_yet += 1;
    }

    pub(super) fn read_failed(&mut self) {
        self.counts.reads_failed += 1;
    }

    /// A key as it is at the end, when nothing is under way.
    pub(super) fn at_rest(&mut self, key: &str, found: Option<(Version, Vec<u8>)>) {
        self.counts.keys_checked += 1;
        let floor = self.floor(key);
        self.check(key, &floor, found, Breach::Lost, true);
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    pub(super) fn counts(&self) -> KvCounts {
        KvCounts { keys: self.keys.len() as u64, ..self.counts.clone() }
    }

    fn check(
        &mut self,
        key: &str,
        floor: &Option<Version>,
        found: Option<(Version, Vec<u8>)>,
        older: Breach,
        raises_floor: bool,
    ) {
        let Some((version, body)) = found else {
            if floor.is_some() {
                self.breach(older, format!("{key} was not there, and {} had been", show(floor)));
            }
            return;
        };
        if floor.as_ref().is_some_and(|floor| version < *floor) {
            self.breach(older, format!("{key} was read as of {version}, and {} had been there", show(floor)));
        }
        let value =
            std::str::from_utf8(&body).ok().and_then(|text| text.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
        let value = value.filter(|&value: &u64| {
            let of_key = self.keys.get(key);
            of_key.is_some_and(|of_key| (1..=of_key.attempted).contains(&value) && !of_key.refused.contains(&value))
        });
        match value {
            Some(value) => self.met(key, value, &version, raises_floor),
            None => {
                let body = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
                self.breach(
                    Breach::NeverWritten,
                    format!("{key} was read as {body:?} of {version}, which no client wrote"),
                );
            }
        }
    }

    /// A version was seen to hold a value: always the same one.
    fn met(&mut self, key: &str, value: u64, version: &Version, raises_floor: bool) {
        let of_key = self.keys.entry(key.to_owned()).or_default();
        let known = *of_key.values.entry(version.clone()).or_insert(value);
        if raises_floor && of_key.floor.as_ref().is_none_or(|floor| version > floor) {
            of_key.floor = Some(version.clone());
        }
        while of_key.values.len() > VALUES_KEPT {
            of_key.values.pop_first();
        }
        if known != value {
            self.breach(Breach::NeverWritten, format!("{key} of version {version} is {known}, and is {value}"));
        }
    }

    fn breach(&mut self, breach: Breach, text: String) {
        match breach {
            Breach::Lost => self.counts.lost += 1,
            Breach::Stale => self.counts.stale += 1,
            Breach::NeverWritten => self.counts.never_written += 1,
        }
        if self.counts.breaches.len() < BREACHES_TOLD {
            self.counts.breaches.push(text);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Breach {
    Lost,
    Stale,
    NeverWritten,
}

/// What a client writes.
pub(super) fn body(key: &str, value: u64) -> String {
    format!("{key}={value}")
}

fn show(floor: &Option<Version>) -> String {
    floor.as_ref().map_or_else(|| "nothing".to_owned(), Version::to_string)
}

/// Versions of a key whose values are remembered: the highest.
const VALUES_KEPT: usize = 64;

/// Breaches that are told in words.
const BREACHES_TOLD: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn version(counter: u64, writer: &str) -> Version {
        Version { counter, writer: writer.to_owned(), life: 1, write: 1 }
    }

    fn found(value: u64, version: Version) -> Option<(Version, Vec<u8>)> {
        Some((version, body("k", value).into_bytes()))
    }

    /// Writes the next value, which is acknowledged with this version.
    fn write(history: &mut History, version: &Version) -> u64 {
        let (floor, value) = (history.floor("k"), history.next_value("k"));
        history.written("k", value, &floor, version);
        value
    }

    fn breaches(history: &History) -> (u64, u64, u64) {
        let counts = history.counts();
        assert_eq!(counts.lost + counts.stale + counts.never_written, counts.breaches.len() as u64);
        (counts.lost, counts.stale, counts.never_written)
    }

    #[test]
    fn reads_of_the_latest_or_of_what_is_under_way_are_no_breach() {
        let mut history = History::default();
        let floor = history.floor("k");
        history.read("k", Consistency::Linearizable, &floor, None);
        write(&mut history, &version(1, "n1"));
        let floor = history.floor("k");
        history.read("k", Consistency::Linearizable, &floor, found(1, version(1, "n1")));
        // Begun before the second write, so either is right.
        let (value, before) = (history.next_value("k"), history.floor("k"));
        history.read("k", Consistency::Linearizable, &floor, found(value, version(2, "n1")));
        history.written("k", value, &before, &version(2, "n1"));
        history.read("k", Consistency::Linearizable, &floor, found(1, version(1, "n1")));
        history.at_rest("k", found(2, version(2, "n1")));
        assert_eq!(breaches(&history), (0, 0, 0));
        assert_eq!((history.counts().writes_acknowledged, history.counts().reads_checked), (2, 4));
    }

    #[test]
    fn an_older_answer_than_was_there_is_stale_and_none_at_all_is_too() {
        let mut history = History::default();
        write(&mut history, &version(1, "n1"));
        write(&mut history, &version(2, "n1"));
        let floor = history.floor("k");
        history.read("k", Consistency::Linearizable, &floor, found(1, version(1, "n1")));
        history.read("k", Consistency::Linearizable, &floor, None);
        assert_eq!(breaches(&history), (0, 2, 0));
        // Nor may a write slip in below what was there.
        let value = history.next_value("k");
        history.written("k", value, &floor, &version(2, "n0"));
        assert_eq!(breaches(&history), (0, 3, 0));
    }

    #[test]
    fn a_read_sets_a_floor_for_later_reads() {
        let mut history = History::default();
        let unknown = history.next_value("k");
        history.unknown();
        history.read("k", Consistency::Linearizable, &None, found(unknown, version(1, "n3")));
        let floor = history.floor("k");
        history.read("k", Consistency::Linearizable, &floor, None);
        assert_eq!(breaches(&history), (0, 1, 0));
    }

    #[test]
    fn a_write_of_unknown_outcome_may_appear_late_or_never() {
        let mut history = History::default();
        history.next_value("k");
        history.unknown();
        write(&mut history, &version(1, "n1"));
        let floor = history.floor("k");
        history.read("k", Consistency::Linearizable, &floor, found(2, version(1, "n1")));
        history.read("k", Consistency::Linearizable, &floor, found(1, version(1, "n3")));
        assert_eq!(breaches(&history), (0, 0, 0));
    }

    #[test]
    fn what_was_acknowledged_and_is_gone_at_rest_is_lost() {
        let mut history = History::default();
        write(&mut history, &version(1, "n1"));
        write(&mut history, &version(2, "n1"));
        history.at_rest("k", found(1, version(1, "n1")));
        history.at_rest("k", None);
        assert_eq!(breaches(&history), (2, 0, 0));
    }

    #[test]
    fn values_that_nobody_wrote_or_that_were_refused_are_found() {
        let mut history = History::default();
        write(&mut history, &version(1, "n1"));
        let refused = history.next_value("k");
        history.refused("k", refused);
        let floor = history.floor("k");
        for body in ["k=2", "k=3", "k=0", "j=1", "k", ""] {
            history.read("k", Consistency::Linearizable, &floor, Some((version(2, "n1"), body.as_bytes().to_vec())));
        }
        assert_eq!(breaches(&history), (0, 0, 6));
        // A version has one value.
        history.next_value("k");
        history.read("k", Consistency::Linearizable, &floor, found(3, version(1, "n1")));
        assert_eq!(breaches(&history), (0, 0, 7));
    }

    #[test]
    fn a_read_of_one_replica_may_be_old_and_one_of_a_majority_promises_nothing_to_the_next() {
        let mut history = History::default();
        write(&mut history, &version(1, "n1"));
        write(&mut history, &version(2, "n1"));
        let floor = history.floor("k");
        history.read("k", Consistency::One, &floor, found(1, version(1, "n1")));
        history.read("k", Consistency::One, &floor, None);
        // Written, and not acknowledged: a majority may have met it once, and not again.
        let value = history.next_value("k");
        history.read("k", Consistency::Majority, &floor, found(value, version(3, "n2")));
        let floor = history.floor("k");
        history.read("k", Consistency::Linearizable, &floor, found(2, version(2, "n1")));
        assert_eq!(breaches(&history), (0, 0, 0));
        history.read("k", Consistency::Majority, &floor, found(1, version(1, "n1")));
        history.read("k", Consistency::One, &floor, Some((version(9, "n3"), b"k=9".to_vec())));
        assert_eq!(breaches(&history), (0, 1, 1));
        assert_eq!(history.counts().reads_by_consistency, [3, 2, 1]);
    }
}
