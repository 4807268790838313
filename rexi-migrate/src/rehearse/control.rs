//! The line protocol between the rehearsal and its node processes: one JSON object a line, both directions.
//!
//! The parent writes [`Command`]s to a node's standard input, the node writes [`NodeEvent`]s to its standard output,
//! and its log to standard error. A node whose standard input ends exits at once, so that no node outlives the
//! rehearsal.
//! What either side does on a message is in `cluster.rs` and `node.rs`.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use rexi_proto::Release;

use crate::path::Phases;

/// What the rehearsal tells a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Start or stop making casts. What is under way goes on. Not answered.
    Load {
        /// Whether to make casts.
        on: bool,
    },
    /// The operator's ceiling of each migration that the release can move in. Answered by [`NodeEvent::CeilingSet`].
    Ceiling {
        /// Whether it is the lowest phase; otherwise it is lifted.
        low: bool,
    },
    /// Take no more work, end what is under way within the deadline, answer [`NodeEvent::Drained`], exit with status 0.
    Drain {
        /// In milliseconds, from now.
        deadline_ms: u64,
    },
    /// Stop the load and, once own calls and jobs have ended, answer [`NodeEvent::Quiet`].
    Quiesce,
    /// Go on in another ledger, as a node does that is at rest; answered by [`NodeEvent::Turned`].
    Turn {
        /// Its file, which does not exist yet.
        ledger: PathBuf,
    },
}

/// What a node tells the rehearsal. Fields that it does not know are ignored, since a node may be another build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum NodeEvent {
    /// Connected, in legal skew, with every member. Once in a process's life.
    Ready {
        /// The process's incarnation, in microseconds since 1970.
        incarnation: u64,
        /// The release it runs.
        release: Release,
        /// The phases it is in.
        phases: Phases,
    },
    /// The counters, every 200 ms.
    Stats(Stats),
    /// A phase moved.
    PhasesChanged {
        /// The phases now.
        phases: Phases,
    },
    /// Answers [`Command::Ceiling`].
    CeilingSet {
        /// Whether the ceiling holds from now on.
        ok: bool,
        /// If not: why, and who stands in the way.
        #[serde(default)]
        error: Option<String>,
    },
    /// A handshake with a peer ended in a refusal, by either side.
    Refused {
        /// The peer's name.
        peer: String,
        /// The typed error's text; of incompatible releases it names both.
        error: String,
        /// Whether a later attempt of the same two releases must end the same way.
        permanent: bool,
    },
    /// Answers [`Command::Quiesce`]: nothing is under way any longer, or what still is after the node's own time limit.
    Quiet {
        /// Own calls without an end.
        in_flight: u64,
        /// Jobs still running here.
        jobs: u64,
    },
    /// Answers [`Command::Turn`]: nothing is added to the ledger before any longer.
    Turned,
    /// Answers [`Command::Drain`], just before the exit.
    Drained,
    /// The node cannot go on, and exits.
    Failed {
        /// Why.
        error: String,
    },
}

/// A process's counters since its start, and two gauges (`in_flight`, `jobs`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Casts that the rate asked for.
    #[serde(default)]
    pub asked: u64,
    /// Casts made.
    pub casts: u64,
    /// Casts that ended in a reply, an exit, a down or a refusal.
    pub answered: u64,
    /// Casts that the caller killed.
    pub killed: u64,
    /// Casts that ended in nothing within their time limit.
    #[serde(default)]
    pub timed_out: u64,
    /// Own casts without an end yet.
    pub in_flight: u64,
    /// Jobs of other nodes that run here.
    pub jobs: u64,
    /// The phases now.
    #[serde(default)]
    pub phases: Phases,
    /// What keeps a phase from rising, if something does.
    #[serde(default)]
    pub limiting: Option<String>,
    /// Whether that is a member's hello: no time will change it.
    #[serde(default)]
    pub limited_by_hello: bool,
    /// The members that the node is not connected with.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// Replies to own casts, by the node that gave them, in the order of the nodes.
    #[serde(default)]
    pub replies: Vec<u64>,
}

/// Why a line was not understood. The other side is at fault; nothing changed here, and it makes no sense to go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Longer than [`LINE_BYTES_MAX`].
    #[error("a control line is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// Not a message of this protocol.
    #[error("not a control message: {line:?}")]
    NotAMessage {
        /// The line's beginning.
        line: String,
        /// What the decoder said.
        #[source]
        source: serde_json::Error,
    },
    /// The pipe failed.
    #[error("the control pipe failed")]
    Pipe(#[from] std::io::Error),
}

/// A message as one line, its end included.
///
/// # Panics
/// Never: the messages hold nothing that JSON lacks.
pub fn encode(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).expect("a control message is plain data");
    line.push('\n');
    line
}

/// Reads messages, one a line, from a pipe.
#[derive(Debug)]
pub struct LineReader<R> {
    inner: R,
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, line: Vec::new() }
    }

    /// The next message; `None` at the end of the pipe. Half a line at the end is not a message: its writer was killed.
    ///
    /// Cancel safe: what was read of a line is kept for the next call.
    ///
    /// # Errors
    /// [`ControlError`] where a line is too long or not a message, or the pipe fails.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ControlError> {
        loop {
            let chunk = self.inner.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(chunk.len(), |at| at + 1);
            if self.line.len() + taken > LINE_BYTES_MAX {
                return Err(ControlError::TooLong);
            }
            self.line.extend_from_slice(&chunk[..taken]);
            self.inner.consume(taken);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                return decode(&line).map(Some);
            }
        }
    }
}

fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, ControlError> {
    serde_json::from_slice(line).map_err(|source| ControlError::NotAMessage {
        line: String::from_utf8_lossy(line).trim_end().chars().take(200).collect(),
        source,
    })
}

/// The longest control line, in bytes, its end included.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use rexi_proto::{Phase, SERVER_PER_NODE};

    fn at(phase: Phase) -> Phases {
        [(SERVER_PER_NODE.key().clone(), phase)].into_iter().collect()
    }

    fn events() -> Vec<NodeEvent> {
        let release: Release = "1.2".parse().expect("a release");
        vec![
            NodeEvent::Ready { incarnation: 1_700_000_000_000_000, release, phases: at(Phase::Switch) },
            NodeEvent::Stats(Stats { casts: 5, phases: at(Phase::Introduce), ..Stats::default() }),
            NodeEvent::PhasesChanged { phases: at(Phase::Remove) },
            NodeEvent::CeilingSet { ok: false, error: Some("n2 is at introduce".into()) },
            NodeEvent::Refused { peer: "n1".into(), error: "1.2 may not\nmeet 1.0".into(), permanent: true },
            NodeEvent::Quiet { in_flight: 0, jobs: 3 },
            NodeEvent::Turned,
            NodeEvent::Drained,
            NodeEvent::Failed { error: "no socket".into() },
        ]
    }

    #[tokio::test]
    async fn every_message_survives_the_pipe_as_one_line() {
        let commands = [
            Command::Load { on: true },
            Command::Ceiling { low: true },
            Command::Ceiling { low: false },
            Command::Drain { deadline_ms: 3000 },
            Command::Quiesce,
            Command::Turn { ledger: "n1.0.1.ledger".into() },
        ];
        let lines: String = commands.iter().map(encode).collect();
        assert_eq!(lines.lines().count(), commands.len());
        let mut reader = LineReader::new(lines.as_bytes());
        for command in commands {
            assert_eq!(reader.next().await.expect("a message"), Some(command));
        }
        let lines: String = events().iter().map(encode).collect();
        assert_eq!(lines.lines().count(), events().len());
        let mut reader = LineReader::new(lines.as_bytes());
        for event in events() {
            assert_eq!(reader.next().await.expect("a message"), Some(event));
        }
        assert!(reader.next::<NodeEvent>().await.expect("the end").is_none());
    }

    #[test]
    fn the_lines_are_those_that_other_releases_of_the_node_know() {
        assert_eq!(encode(&Command::Ceiling { low: true }), "{\"command\":\"ceiling\",\"low\":true}\n");
        assert_eq!(
            encode(&events()[0]),
            "{\"event\":\"ready\",\"incarnation\":1700000000000000,\"release\":\"1.2\",\
             \"phases\":{\"rexi.server-per-node\":\"switch\"}}\n"
        );
        assert_eq!(encode(&Command::Quiesce), "{\"command\":\"quiesce\"}\n");
    }

    #[tokio::test]
    async fn a_line_at_the_bound_passes_and_one_byte_more_does_not() {
        let padded = |bytes: usize| format!("{{\"event\":\"drained\"}}{}\n", " ".repeat(bytes - 20));
        assert_eq!(padded(100).len(), 100);
        let at_bound = padded(LINE_BYTES_MAX);
        assert_eq!(LineReader::new(at_bound.as_bytes()).next().await.expect("read"), Some(NodeEvent::Drained));
        let above = padded(LINE_BYTES_MAX + 1);
        let refused = LineReader::new(above.as_bytes()).next::<NodeEvent>().await;
        assert!(matches!(refused, Err(ControlError::TooLong)), "{refused:?}");
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_and_half_a_line_is_the_end() {
        for line in ["hello\n", "{\"event\":\"nothing\"}\n", "{\"event\":\"phases_changed\",\"phases\":\"x\"}\n", "\n"]
        {
            let refused = LineReader::new(line.as_bytes()).next::<NodeEvent>().await;
            assert!(matches!(refused, Err(ControlError::NotAMessage { .. })), "{line:?}: {refused:?}");
        }
        let half = LineReader::new(&b"{\"event\":\"dra"[..]).next::<NodeEvent>().await;
        assert!(matches!(half, Ok(None)), "{half:?}");
    }
}
