//! The node processes of a rehearsal: started, commanded, listened to, stopped, and never left behind.
//!
//! In: commands to one node and conditions to wait for. Out: what the nodes said ([`NodeState`]), or the first thing
//! that the plan does not foresee. Each wait has a limit. A node that is not stopped before the cluster is dropped is
//! killed then, and exits by itself where even that cannot run, since its standard input ends. What a step is, and what
//! a failure means for the verdict, is left to `rehearse.rs`.

mod disturb;
mod error;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::history::ledger::{NodeIndex, now_us};
use crate::path::Phases;
use crate::rehearse::control::{Command, NodeEvent, Stats, encode};
use crate::rehearse::host::free_addresses;
use crate::rehearse::pace::{Allowance, LOOK_INTERVAL};
use crate::rehearse::process::{Notice, Process, Setup, Start};
use crate::rehearse::soak::usage::Usage;
use error::from_outside;
use rexi_proto::Release;

pub use error::ClusterError;

/// One process of a node, from its start to its end: whose ledger that is.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessLife {
    /// The node.
    pub node: String,
    /// The node's place in the cluster.
    pub index: NodeIndex,
    /// The release it ran.
    pub release: Release,
    /// The file it wrote its ledger to.
    pub ledger: PathBuf,
    /// Its incarnation, once it was ready.
    pub incarnation: Option<u64>,
    /// When it was killed or asked to drain, just before; or, if it ended by itself, when that was noticed. In
    /// microseconds since 1970; `None` while it runs undisturbed.
    pub stopped_us: Option<u64>,
    /// How it ended; `None` while it runs.
    pub ended: Option<Ending>,
    /// Whether all that it ever wrote is judged: nothing of it is evidence any longer.
    pub judged: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It was asked to, and said that it had ended its jobs.
    Drained,
    /// By SIGKILL from here.
    Killed,
    /// Unasked.
    ByItself,
    /// Unasked, and through no fault of its own: somebody else killed it, or its ledger could not be written.
    FromOutside,
}

/// What is known of a node's present process.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// The release that it runs, or ran last.
    pub release: Option<Release>,
    /// Whether the process runs.
    pub running: bool,
    /// Whether it said that it is connected with every member.
    pub ready: bool,
    /// Its phases, once known.
    pub phases: Phases,
    /// Its last counters.
    pub stats: Stats,
    /// The answer to the last ceiling, once it came.
    pub ceiling: Option<Result<(), String>>,
    /// The answer to the last quiesce, once it came: calls in flight and jobs.
    pub quiet: Option<(u64, u64)>,
    /// Whether the last turn to another ledger was answered.
    pub turned: bool,
    /// How often it has told its counters.
    pub told: u64,
    /// The last refusal that it met: the peer and the error.
    pub refusal: Option<(String, String)>,
    drained: bool,
    stopping: bool,
}

/// The nodes of a rehearsal, and what they have said.
#[derive(Debug)]
pub struct Cluster {
    setup: Setup,
    addresses: Vec<SocketAddr>,
    /// Where each node finds the others, if not at their own addresses.
    views: Vec<Vec<SocketAddr>>,
    nodes: Vec<Node>,
    lives: Vec<ProcessLife>,
    past: Stats,
    heard: mpsc::Receiver<Notice>,
    say: mpsc::Sender<Notice>,
    /// For how long all waits so far were stretched, in microseconds.
    stretched_us: Arc<AtomicU64>,
    /// What the processes take, while that is watched.
    usage: Option<Usage>,
}

#[derive(Debug)]
struct Node {
    name: String,
    process: Option<Process>,
    state: NodeState,
}

impl Cluster {
    /// Picks a free loopback port for each node; starts nothing yet.
    ///
    /// # Errors
    /// [`ClusterError::Ports`] where there is none.
    pub fn new(setup: Setup) -> Result<Self, ClusterError> {
        let addresses = free_addresses(setup.nodes).map_err(ClusterError::Ports)?;
        let node = |name| Node { name, process: None, state: NodeState::default() };
        let nodes = setup.names().into_iter().map(node).collect();
        let (say, heard) = mpsc::channel(NOTICES_MAX);
        let (views, lives, past, stretched_us) = (Vec::new(), Vec::new(), Stats::default(), Arc::default());
        Ok(Self { setup, addresses, views, nodes, lives, past, heard, say, stretched_us, usage: None })
    }

    /// Where the nodes listen, in the order of their numbers.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The name of a node.
    pub fn name(&self, node: usize) -> &str {
        &self.nodes[node].name
    }

    /// What is known of every node, in the order of their numbers.
    pub fn states(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.iter().map(|node| &node.state)
    }

    /// What is known of one node.
    pub fn state(&self, node: usize) -> &NodeState {
        &self.nodes[node].state
    }

    /// Every process started so far, in the order of their starts.
    pub fn lives(&self) -> &[ProcessLife] {
        &self.lives
    }

    /// The counters of all processes so far, as far as they told, and the gauges of those that run.
    pub fn totals(&self) -> Stats {
        self.nodes.iter().filter(|node| node.process.is_some()).fold(self.past.clone(), |sum, node| {
            let stats = &node.state.stats;
            Stats {
                in_flight: sum.in_flight.saturating_add(stats.in_flight),
                jobs: sum.jobs.saturating_add(stats.jobs),
                ..add(&sum, stats)
            }
        })
    }

    /// Starts a node that does not run as `release`. It is not ready yet.
    ///
    /// # Errors
    /// [`ClusterError::Start`] where its program cannot be run.
    pub fn start(&mut self, node: usize, release: Release) -> Result<(), ClusterError> {
        let (life, name) = (self.lives.len(), self.nodes[node].name.clone());
        let addresses = self.views.get(node).unwrap_or(&self.addresses);
        let start = Start { node, life, release, addresses };
        let process = self.setup.spawn(&start, self.say.clone()).map_err(|source| {
            let program = self.setup.program(release).to_owned();
            ClusterError::Start { node: name.clone(), program, source }
        })?;
        self.nodes[node].process = Some(process);
        let ledger = self.setup.ledger(node, life);
        let index = NodeIndex::of(node);
        self.lives.push(ProcessLife {
            node: name,
            index,
            release,
            ledger,
            incarnation: None,
            stopped_us: None,
            ended: None,
            judged: false,
        });
        self.nodes[node].state = NodeState { release: Some(release), running: true, ..NodeState::default() };
        Ok(())
    }

    /// Tells a running node something; one that does not run has nothing to be told.
    ///
    /// # Errors
    /// [`ClusterError::Deaf`] where it does not read.
    pub async fn tell(&mut self, node: usize, command: &Command) -> Result<(), ClusterError> {
        let Node { name, process, state, .. } = &mut self.nodes[node];
        let Some(process) = process else { return Ok(()) };
        match command {
            Command::Ceiling { .. } => state.ceiling = None,
            Command::Quiesce => state.quiet = None,
            Command::Turn { .. } => state.turned = false,
            Command::Drain { .. } => {
                state.stopping = true;
                // Before the command is on its way: what the node had under way by then was in flight.
                self.lives[process.life].stopped_us = Some(now_us());
            }
            Command::Load { .. } => {}
        }
        let line = encode(command);
        let written = timeout(WRITE_LIMIT, process.stdin.write_all(line.as_bytes())).await;
        match written.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))) {
            // Its end of the pipe is gone because the process is: its end is heard next, and tells more than this.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|source| ClusterError::Deaf { node: name.clone(), source }),
        }
    }

    /// Tells every running node something.
    ///
    /// # Errors
    /// As [`Cluster::tell`].
    pub async fn tell_all(&mut self, command: &Command) -> Result<(), ClusterError> {
        for node in 0..self.nodes.len() {
            self.tell(node, command).await?;
        }
        Ok(())
    }

    /// Kills a node with SIGKILL and waits for its end; one that does not run is left alone.
    ///
    /// # Errors
    /// [`ClusterError::Ended`] where it had ended by itself before, so that a crash does not pass for a kill.
    pub async fn kill(&mut self, node: usize) -> Result<(), ClusterError> {
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        if matches!(process.child.try_wait(), Ok(Some(_))) {
            return self.ended(node).await;
        }
        self.strike(node);
        self.reap(node).await;
        Ok(())
    }

    /// Kills every node that still runs.
    pub async fn shut_down(&mut self) {
        // All at once, so that none sees another go for long.
        for node in 0..self.nodes.len() {
            self.strike(node);
        }
        for node in 0..self.nodes.len() {
            self.reap(node).await;
        }
    }

    fn strike(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        self.lives[process.life].stopped_us = Some(now_us());
        // An error means that the process has ended already.
        let _ = process.child.start_kill();
    }

    async fn reap(&mut self, node: usize) {
        let Some(mut process) = self.nodes[node].process.take() else { return };
        let _ = timeout(REAP_LIMIT, process.child.wait()).await;
        self.bury(node, process.life, Ending::Killed);
    }

    /// Hears the nodes until `done`, which is asked after each thing heard; tells whether it came within `limit` of the
    /// time that the machine gives the nodes.
    ///
    /// # Errors
    /// [`ClusterError`] as soon as something happens that no plan foresees.
    pub async fn wait_until(&mut self, limit: Duration, done: impl FnMut(&Self) -> bool) -> Result<bool, ClusterError> {
        self.wait_within(&mut Allowance::new(limit), done).await
    }

    /// As [`Cluster::wait_until`], with an allowance.
    ///
    /// # Errors
    /// As there.
    pub async fn wait_within(
        &mut self,
        allowance: &mut Allowance,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<bool, ClusterError> {
        let mut stretched = Duration::ZERO;
        while !done(self) {
            self.look_at_usage();
            let left = allowance.left(self.nodes.iter().filter_map(|node| node.process.as_ref()?.child.id()));
            // Told as it goes on, since the limit of the whole run is stretched by it too.
            let more = allowance.stretched_by() - std::mem::replace(&mut stretched, allowance.stretched_by());
            self.stretched_us.fetch_add(more.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            if left.is_zero() {
                return Ok(false);
            }
            match timeout(left.min(LOOK_INTERVAL), self.heard.recv()).await {
                Ok(Some(notice)) => self.take(notice).await?,
                Ok(None) => return Ok(done(self)),
                Err(_) => {}
            }
        }
        Ok(true)
    }

    /// For how long all waits so far were stretched, in microseconds: to be read while the run goes on.
    pub(crate) fn stretched_us(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.stretched_us)
    }

    async fn take(&mut self, notice: Notice) -> Result<(), ClusterError> {
        let Notice { node, life, said } = notice;
        if self.nodes[node].process.as_ref().is_none_or(|process| process.life != life) {
            return Ok(()); // The last words of one that was killed.
        }
        match said {
            Ok(Some(event)) => self.hear(node, life, event),
            Ok(None) => self.ended(node).await,
            Err(source) => Err(ClusterError::Garbled { node: self.nodes[node].name.clone(), source }),
        }
    }

    fn hear(&mut self, node: usize, life: usize, event: NodeEvent) -> Result<(), ClusterError> {
        let Node { name, state, .. } = &mut self.nodes[node];
        let name = name.clone();
        let release = self.lives[life].release;
        match event {
            NodeEvent::Ready { incarnation, release: running, phases } => {
                if running != release {
                    let error = format!("it runs release {running}");
                    return Err(ClusterError::Failed { node: name, release, error, was_ready: false });
                }
                (state.ready, state.phases) = (true, phases);
                self.lives[life].incarnation = Some(incarnation);
            }
            NodeEvent::Stats(stats) => {
                state.phases.clone_from(&stats.phases);
                state.stats = stats;
                state.told += 1;
            }
            NodeEvent::PhasesChanged { phases } => state.phases = phases,
            NodeEvent::CeilingSet { ok, error } => {
                let why = || error.unwrap_or_else(|| "no reason given".to_owned());
                state.ceiling = Some(if ok { Ok(()) } else { Err(why()) });
            }
            NodeEvent::Refused { peer, error, permanent: true } => {
                state.refusal = Some((peer.clone(), error.clone()));
                let other = self.nodes.iter().find(|node| node.name == peer);
                let peer = peer + &of_release(other.and_then(|node| node.state.release));
                return Err(ClusterError::Refused { node: name, release, peer, error });
            }
            NodeEvent::Refused { peer, error, permanent: false } => state.refusal = Some((peer, error)),
            NodeEvent::Quiet { in_flight, jobs } => state.quiet = Some((in_flight, jobs)),
            NodeEvent::Turned => state.turned = true,
            NodeEvent::Drained => state.drained = true,
            NodeEvent::Failed { error } => {
                let was_ready = self.lives[life].incarnation.is_some();
                return Err(ClusterError::Failed { node: name, release, error, was_ready });
            }
        }
        Ok(())
    }

    /// A node's standard output ended: its process has ended, or is made to.
    async fn ended(&mut self, node: usize) -> Result<(), ClusterError> {
        let Some(mut process) = self.nodes[node].process.take() else { return Ok(()) };
        let mut outside = None;
        let status = match timeout(REAP_LIMIT, process.child.wait()).await {
            Ok(Ok(status)) => {
                outside = from_outside(status);
                status.to_string()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                let _ = process.child.start_kill();
                let _ = timeout(REAP_LIMIT, process.child.wait()).await;
                "it closed its standard output and had to be killed".to_owned()
            }
        };
        let asked = self.nodes[node].state.stopping && self.nodes[node].state.drained;
        if !asked {
            self.lives[process.life].stopped_us = Some(now_us());
        }
        let ending = match &outside {
            _ if asked => Ending::Drained,
            Some(_) => Ending::FromOutside,
            None => Ending::ByItself,
        };
        self.bury(node, process.life, ending);
        let (name, release) = (self.nodes[node].name.clone(), self.lives[process.life].release);
        match outside {
            _ if asked => Ok(()),
            Some(why) => Err(ClusterError::EndedFromOutside { node: name, release, why }),
            None => Err(ClusterError::Ended { node: name, release, status, log: self.setup.log_end(node) }),
        }
    }

    fn bury(&mut self, node: usize, life: usize, ending: Ending) {
        let state = &mut self.nodes[node].state;
        (state.running, state.ready) = (false, false);
        state.phases = Phases::default();
        self.past = add(&self.past, &state.stats);
        self.lives[life].ended = Some(ending);
    }

    /// The error of nodes that are not where they should be: each of `late` with what it last said about the reason.
    pub fn timed_out(
        &self,
        goal: &str,
        limit: Duration,
        took: Duration,
        late: impl Fn(usize, &NodeState) -> bool,
    ) -> ClusterError {
        let numbered = self.nodes.iter().enumerate().filter(|(number, node)| late(*number, &node.state));
        let late: Vec<&Node> = numbered.map(|(_, node)| node).collect();
        let who: Vec<String> = late.iter().map(|node| node.why_late()).collect();
        let blocked = late.iter().any(|node| node.is_refused() || node.is_held());
        ClusterError::TimedOut { goal: goal.to_owned(), limit, took, who: who.join("; "), blocked }
    }
}

impl Node {
    /// Whether the refusal that it met last may still stand: it has not got past it, and waits for that peer as far as
    /// it says for whom.
    fn is_refused(&self) -> bool {
        let NodeState { ready, stats: Stats { waiting_for, .. }, refusal, .. } = &self.state;
        let waits = |peer: &String| waiting_for.contains(peer) || waiting_for.is_empty() && !ready;
        refusal.as_ref().is_some_and(|(peer, _)| waits(peer))
    }

    /// Whether a member keeps its phase down by what it has said, on the present connection. A late node that has not
    /// heard from its members yet is merely late.
    fn is_held(&self) -> bool {
        self.state.stats.limited_by_hello && self.state.stats.waiting_for.is_empty()
    }

    fn why_late(&self) -> String {
        let state = &self.state;
        let mut text = self.name.clone();
        text += &of_release(state.release);
        if !state.phases.0.is_empty() {
            text += &format!(" is at {}", state.phases);
        }
        if !state.stats.waiting_for.is_empty() {
            text += &format!(", not connected with {}", state.stats.waiting_for.join(", "));
        } else if let Some(limiting) = &state.stats.limiting {
            text += &format!(", held by: {limiting}");
        }
        if let Some((peer, error)) = &state.refusal {
            text += &format!(", last refusal with {peer}: {error}");
        }
        text
    }
}

fn of_release(release: Option<Release>) -> String {
    release.map_or_else(String::new, |release| format!(" of release {release}"))
}

/// The sums of the counters; the gauges are the left one's.
fn add(left: &Stats, right: &Stats) -> Stats {
    Stats {
        asked: left.asked.saturating_add(right.asked),
        casts: left.casts.saturating_add(right.casts),
        answered: left.answered.saturating_add(right.answered),
        killed: left.killed.saturating_add(right.killed),
        timed_out: left.timed_out.saturating_add(right.timed_out),
        ..left.clone()
    }
}

/// How many notices may wait; a node that says more waits with its next line.
pub const NOTICES_MAX: usize = 1024;

/// How long a command may take to be written before the node counts as deaf.
pub const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long a process that ends may take to be reaped.
pub const REAP_LIMIT: Duration = Duration::from_secs(5);
