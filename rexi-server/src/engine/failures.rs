//! The last failures of this node's jobs, kept per server for inspection, and logged (R10, R11).
//!
//! In: every end of a job that is an error or a panic of its function. What ends for another reason - a time limit, a
//! kill, an argument of the wrong type - is not a crash, and neither is a typed function's own error, which is a value.
//! Arguments are never kept or logged; the text of an error or panic is, whatever the function has put into it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use rexi_proto::{CallRef, ExitReason, NodeName, ServerAddress};

use crate::net::Line;

/// A job that ended with an error or a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The server that ran it. The per-node server is that of the caller.
    pub server: ServerAddress,
    /// The node that asked.
    pub caller: NodeName,
    /// The function's registered name.
    pub function: Arc<str>,
    /// The caller's number for the call.
    pub call: CallRef,
    /// [`ExitReason::Failed`] or [`ExitReason::Panicked`], with at most 4,096 bytes of text.
    pub reason: ExitReason,
    /// When it ended, by this node's wall clock.
    pub when: SystemTime,
}

/// A node's failures.
#[derive(Debug)]
pub(crate) struct Failures {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Failures that are kept for each server.
    length_max: usize,
    /// Failures that have been kept so far: the next one's number, which orders those of different servers.
    next: u64,
    /// By server, oldest first. The per-node servers have their caller's name.
    servers: BTreeMap<Option<NodeName>, VecDeque<(u64, Failure)>>,
}

/// Whose job an end belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) server: ServerAddress,
    pub(crate) caller: NodeName,
    pub(crate) function: Arc<str>,
    pub(crate) call: CallRef,
}

impl Failures {
    pub(crate) fn new(length_max: usize) -> Self {
        Self { state: Mutex::new(State { length_max, next: 0, servers: BTreeMap::new() }) }
    }

    /// Logs, as often as its caller's line may be written, and keeps the end of a job, if it is a failure.
    pub(crate) fn note(&self, origin: Origin, reason: &ExitReason, line: &Line) {
        let (class, reason) = match reason {
            ExitReason::Failed(text) => ("error", ExitReason::Failed(clipped(text))),
            ExitReason::Panicked(text) => ("panic", ExitReason::Panicked(clipped(text))),
            _ => return,
        };
        let Origin { server, caller, function, call } = origin;
        if let Some(unsaid) = line.next() {
            let reason = logged(&reason);
            tracing::warn!(%caller, %function, call = call.0, class, reason, unsaid, "a job ended with an error");
        }
        self.lock().push(Failure { server, caller, function, call, reason, when: SystemTime::now() });
    }

    /// Where that is fewer than before, the newest stay.
    pub(crate) fn set_length_max(&self, length_max: usize) {
        let mut state = self.lock();
        state.length_max = length_max;
        state.servers.values_mut().for_each(|kept| drop_oldest(kept, length_max));
        state.servers.retain(|_, kept| !kept.is_empty());
    }

    pub(crate) fn newest_first(&self) -> Vec<Failure> {
        let mut all: Vec<_> = self.lock().servers.values().flatten().cloned().collect();
        all.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        all.into_iter().map(|(_, failure)| failure).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the failures")
    }
}

impl State {
    fn push(&mut self, failure: Failure) {
        if self.length_max == 0 {
            return;
        }
        let server = (failure.server == ServerAddress::PerNode).then(|| failure.caller.clone());
        let kept = self.servers.entry(server).or_default();
        kept.push_back((self.next, failure));
        drop_oldest(kept, self.length_max);
        self.next += 1;
    }
}

fn drop_oldest(kept: &mut VecDeque<(u64, Failure)>, length_max: usize) {
    let beyond = kept.len().saturating_sub(length_max);
    kept.drain(..beyond);
}

/// What is kept of a text, cut at a character boundary.
fn clipped(text: &Arc<str>) -> Arc<str> {
    match text.floor_char_boundary(TEXT_BYTES_MAX) {
        all if all == text.len() => Arc::clone(text),
        end => text[..end].into(),
    }
}

/// As much of a failure as a line of the log has; [`Node::errors`](crate::Node::errors) has all of it.
fn logged(reason: &ExitReason) -> String {
    let mut text = reason.to_string();
    if text.len() > LINE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Bytes of a failure in the log.
const LINE_BYTES_MAX: usize = 512;

/// Bytes of a text that are kept: as many as an exit carries.
const TEXT_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes a failure with this text, of the singleton or of the per-node server of that caller.
    fn fail(failures: &Failures, server: ServerAddress, caller: &str, text: &str) {
        let caller = NodeName::new(caller).expect("a good name");
        let origin = Origin { server, caller, function: "f".into(), call: CallRef(7) };
        failures.note(origin, &ExitReason::Failed(text.into()), &Line::default());
    }

    fn texts(failures: &Failures) -> Vec<String> {
        failures.newest_first().into_iter().map(|failure| failure.reason.to_string().replace("failed: ", "")).collect()
    }

    const SINGLETON: ServerAddress = ServerAddress::Singleton;
    const PER_NODE: ServerAddress = ServerAddress::PerNode;

    #[test]
    fn none_is_kept_unless_asked_for() {
        let failures = Failures::new(0);
        fail(&failures, SINGLETON, "n1", "a");
        assert_eq!(failures.newest_first(), []);
        failures.set_length_max(1);
        assert_eq!(failures.newest_first(), [], "what was not kept does not come back");
        fail(&failures, SINGLETON, "n1", "b");
        assert_eq!(texts(&failures), ["b"]);
    }

    #[test]
    fn a_full_history_drops_its_oldest() {
        let failures = Failures::new(3);
        ["a", "b", "c"].into_iter().for_each(|text| fail(&failures, SINGLETON, "n1", text));
        assert_eq!(texts(&failures), ["c", "b", "a"], "the bound is reached");
        fail(&failures, SINGLETON, "n2", "d");
        assert_eq!(texts(&failures), ["d", "c", "b"]);
    }

    #[test]
    fn each_server_has_a_history_of_its_own() {
        let failures = Failures::new(2);
        fail(&failures, PER_NODE, "n1", "quiet");
        ["a", "b", "c"].into_iter().for_each(|text| fail(&failures, PER_NODE, "n2", text));
        ["x", "y"].into_iter().for_each(|text| fail(&failures, SINGLETON, "n2", text));
        fail(&failures, SINGLETON, "n1", "z");
        assert_eq!(texts(&failures), ["z", "y", "c", "b", "quiet"]);
    }

    #[test]
    fn keeping_fewer_keeps_the_newest() {
        let failures = Failures::new(5);
        ["a", "b", "c", "d"].into_iter().for_each(|text| fail(&failures, SINGLETON, "n1", text));
        failures.set_length_max(2);
        assert_eq!(texts(&failures), ["d", "c"]);
        failures.set_length_max(5);
        fail(&failures, SINGLETON, "n1", "e");
        assert_eq!(texts(&failures), ["e", "d", "c"]);
        failures.set_length_max(0);
        assert_eq!(texts(&failures), [] as [&str; 0]);
        assert!(failures.lock().servers.is_empty(), "nor is any server");
    }

    #[test]
    fn only_errors_and_panics_are_failures() {
        let failures = Failures::new(9);
        let caller = NodeName::new("n1").expect("a good name");
        let origin = Origin { server: PER_NODE, caller, function: "f".into(), call: CallRef(7) };
        let others = [ExitReason::Done, ExitReason::TimePassed, ExitReason::Killed, ExitReason::WrongType("no".into())];
        others.iter().for_each(|reason| failures.note(origin.clone(), reason, &Line::default()));
        assert_eq!(failures.newest_first(), []);
        let panic = ExitReason::Panicked("oh".into());
        failures.note(origin, &panic, &Line::default());
        assert_eq!(failures.newest_first()[0].reason, panic);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let failures = Failures::new(1);
        for (bytes, kept) in [(4_096, 4_096), (4_097, 4_096)] {
            fail(&failures, PER_NODE, "n1", &"a".repeat(bytes));
            assert_eq!(texts(&failures)[0].len(), kept);
        }
        fail(&failures, PER_NODE, "n1", &format!("{}é", "a".repeat(4_095)));
        assert_eq!(texts(&failures)[0].len(), 4_095);
    }

    #[test]
    fn a_line_has_the_beginning_of_a_long_failure() {
        let text = |bytes: usize| logged(&ExitReason::Failed("é".repeat(bytes / 2).into()));
        assert!(!text(400).ends_with('…'));
        let long = text(4_096);
        assert!(long.ends_with('…') && long.len() <= LINE_BYTES_MAX + '…'.len_utf8(), "{}", long.len());
    }
}
