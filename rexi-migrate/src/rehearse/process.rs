//! One node process: how it is started, and the task that listens to it.
//!
//! In: the [`Setup`] that all nodes share, and which node is started as what. Out: the child with the pipe for its
//! commands; what it says goes into one bounded queue for all nodes. When it is started and stopped is left to
//! `cluster.rs`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::BufReader;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;

use crate::history::ledger::offset_us;
use crate::name::node_name;
use crate::rehearse::control::{ControlError, LineReader, NodeEvent};
use rexi_proto::Release;

/// How the node processes are started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many nodes; they are named `n1`, `n2` and so on.
    pub nodes: usize,
    /// Where identities, logs and ledgers lie.
    pub dir: PathBuf,
    /// What runs a node of a release that `programs` does not name.
    pub program: PathBuf,
    /// What runs a node of these releases.
    pub programs: BTreeMap<Release, PathBuf>,
    /// Casts a second, of all nodes together.
    pub rate: u32,
    /// Seed of the load.
    pub seed: u64,
    /// The words between a node's executable and its subcommand.
    pub under: Vec<String>,
    /// Further arguments of every node.
    pub node_args: Vec<String>,
    /// Where each node takes operators' commands, if they keep the record of their cluster.
    pub operate: Option<Vec<SocketAddr>>,
}

/// The directory of state of a node.
pub(crate) fn state_dir(dir: &Path, node: usize) -> PathBuf {
    dir.join(format!("{}.state", node_name(node)))
}

/// Which node is started as what.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The node's number, from 0.
    pub(crate) node: usize,
    /// The number of the process, from 0 over all nodes.
    pub(crate) life: usize,
    /// The release to run.
    pub(crate) release: Release,
    /// Where it finds every node, in the order of their numbers, and at its own place where it listens.
    pub(crate) addresses: &'a [SocketAddr],
}

/// A node's process. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    /// The process itself.
    pub(crate) child: Child,
    /// The pipe for its commands. Its end ends the process.
    pub(crate) stdin: ChildStdin,
    /// The number of the process, from 0 over all nodes.
    pub(crate) life: usize,
}

/// What a process has said; `Ok(None)` is the end of its standard output.
#[derive(Debug)]
pub(crate) struct Notice {
    /// The node's number.
    pub(crate) node: usize,
    /// The process's.
    pub(crate) life: usize,
    /// What it said.
    pub(crate) said: Result<Option<NodeEvent>, ControlError>,
}

impl Setup {
    /// The names of all nodes.
    pub fn names(&self) -> Vec<String> {
        (0..self.nodes).map(node_name).collect()
    }

    /// What runs a node of this release.
    pub fn program(&self, release: Release) -> &Path {
        self.programs.get(&release).unwrap_or(&self.program)
    }

    /// The file that a process of a node writes its ledger to.
    pub fn ledger(&self, node: usize, life: usize) -> PathBuf {
        self.dir.join(format!("{}.{life}.ledger", node_name(node)))
    }

    /// Starts a process, and the task that listens to it and passes on to `say`.
    pub(crate) fn spawn(&self, start: &Start<'_>, say: mpsc::Sender<Notice>) -> io::Result<Process> {
        let &Start { node, life, release, addresses } = start;
        let others = addresses.iter().enumerate().filter(|(other, _)| *other != node);
        let peers: Vec<String> = others.map(|(other, address)| format!("{}={address}", node_name(other))).collect();
        let kept = self.operate.as_ref().map(|addresses| {
            let state = state_dir(&self.dir, node).display().to_string();
            ["--state".to_owned(), state, "--operate".to_owned(), addresses[node].to_string()]
        });
        let mut child = tokio::process::Command::new(self.program(release))
            .args(&self.under)
            .arg("rehearsed-node")
            .args(["--name", &node_name(node)])
            .args(["--release", &release.to_string()])
            .args(["--listen", &addresses[node].to_string()])
            .args(["--peers", &peers.join(",")])
            .arg("--dir")
            .arg(&self.dir)
            .args(["--rate", &self.rate_of(node).to_string()])
            .args(["--seed", &self.seed.wrapping_add((life as u64).wrapping_mul(SEED_STRIDE)).to_string()])
            .args(["--clock-us", &offset_us().to_string()])
            .arg("--ledger")
            .arg(self.ledger(node, life))
            .args(kept.into_iter().flatten())
            .args(&self.node_args)
            // A ceiling from this shell would hold some release of the train in a phase that it does not allow.
            .env_remove("REXI_PHASE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(self.open_log(start)?)
            // Ctrl-C in a terminal reaches its foreground group: the cluster stops the nodes, not the terminal.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("the process has no pipe");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        tokio::spawn(listen(stdout, node, life, say));
        Ok(Process { child, stdin, life })
    }

    /// A node's share of the casts: the first ones make the remainder, and none makes none.
    fn rate_of(&self, node: usize) -> usize {
        let all = self.rate as usize;
        (all / self.nodes + usize::from(node < all % self.nodes)).max(1)
    }

    fn log(&self, node: usize) -> PathBuf {
        self.dir.join(format!("{}.log", node_name(node)))
    }

    fn open_log(&self, start: &Start<'_>) -> io::Result<File> {
        let mut log = OpenOptions::new().create(true).append(true).open(self.log(start.node))?;
        writeln!(log, "--- {} {}, process {}", node_name(start.node), start.release, start.life)?;
        Ok(log)
    }

    /// The last lines of a node's log, on one line.
    pub(crate) fn log_end(&self, node: usize) -> String {
        let text = std::fs::read(self.log(node)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(LOG_LINES).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

async fn listen(stdout: ChildStdout, node: usize, life: usize, say: mpsc::Sender<Notice>) {
    let mut lines = LineReader::new(BufReader::new(stdout));
    loop {
        let said = lines.next().await;
        let last = !matches!(said, Ok(Some(_)));
        if say.send(Notice { node, life, said }).await.is_err() || last {
            return;
        }
    }
}

/// How many lines of a node's log go into an error.
const LOG_LINES: usize = 5;

/// Keeps the seeds of processes apart (the golden ratio, as in SplitMix64).
const SEED_STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_share_the_rate_and_none_makes_none() {
        let setup = |nodes, rate| Setup {
            nodes,
            dir: PathBuf::new(),
            program: PathBuf::new(),
            programs: BTreeMap::new(),
            rate,
            seed: 0,
            under: Vec::new(),
            node_args: Vec::new(),
            operate: None,
        };
        let rates = |setup: &Setup| (0..setup.nodes).map(|node| setup.rate_of(node)).collect::<Vec<_>>();
        assert_eq!(rates(&setup(5, 6000)), [1200; 5]);
        assert_eq!(rates(&setup(3, 100)), [34, 33, 33]);
        assert_eq!(rates(&setup(3, 1)), [1; 3]);
    }
}
