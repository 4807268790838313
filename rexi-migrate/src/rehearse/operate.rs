//! The operators of a rehearsal: they take its cluster from release to release by the commands of `live` alone, while
//! their tools, and the members that carry their commands, are killed at moments drawn by chance.
//!
//! In: what release a node is to start as next. Out: the record says so on every disk, and what came of the commands.
//! What the disks must not let start is tried on a copy of what a node has, and must end with 78.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rexi_proto::Release;
use rexi_server::{DevAuthority, EXIT_CONFIG, identity::DevCertsError};
use serde::Serialize;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::history::evidence::Disturbance;
use crate::history::ledger::{NodeIndex, NodeSet, now_us};
use crate::name::node_name;
use crate::rehearse::process::{Setup, state_dir};

/// What the operators have done, and what came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Operations {
    /// Commands that were given.
    pub commands: u64,
    /// Those that were refused, or could not be told, and were given again.
    pub again: u64,
    /// Those that another operator had to end.
    pub resumed: u64,
    /// Tools that were killed in the middle of one.
    pub tools_killed: u64,
    /// Members that were killed in the middle of one.
    pub nodes_killed: u64,
    /// Starts that the record did not let be, each with exit code 78.
    pub barred: u64,
    /// Directories of state that were wiped, or damaged and repaired.
    pub repaired: u64,
    /// Disks that took no writes for a while.
    pub refused: u64,
    /// Lines of all trails, which hang together.
    pub trail_lines: u64,
    /// The last record.
    pub epoch: u64,
    /// What should not have been.
    pub breaches: Vec<String>,
}

/// The operators, at work.
pub(crate) struct Operating {
    setup: Setup,
    addresses: Vec<SocketAddr>,
    cluster: String,
    random: StdRng,
    turn: usize,
    window: Option<(Release, Release)>,
    is_wiped: bool,
    is_damaged: bool,
    /// When nodes were down for longer than a restart takes, since their files were repaired.
    pub(crate) repairs: Vec<Disturbance>,
    pub(crate) done: Operations,
}

/// What has become of a node's directory of state while it was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    None,
    /// It has to be forgotten before it says yes again.
    Anew,
}

/// What a tool has said.
struct Told {
    code: i32,
    said: Value,
    text: String,
}

impl Told {
    /// Why it came to nothing: the problem that it names, or the checks that did not pass; all that it said where it
    /// names neither.
    fn why(&self) -> String {
        if let Some(problem) = self.said["problem"].as_str() {
            return problem.to_owned();
        }
        let checks = self.said["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let bad = checks.iter().filter(|check| check["ignored"].is_null());
        let bad = bad.filter(|check| matches!(check["result"].as_str(), Some("fail" | "unknown")));
        let told = |check: &Value| {
            let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("name"), text("seen"))
        };
        let bad: Vec<String> = bad.map(told).collect();
        if bad.is_empty() { self.text.trim().to_owned() } else { bad.join("; ") }
    }
}

/// The identities of the operators, and the authority that vouches for them, beside those of the nodes. Blocks.
pub(crate) fn prepare_operators(dir: &Path) -> Result<(), DevCertsError> {
    let operators = DevAuthority::open_or_create(&dir.join("operators"))?;
    let nodes = DevAuthority::open_or_create(dir)?;
    OPERATORS.into_iter().try_for_each(|of| operators.issue_operator(of, &nodes, &dir.join(of)))
}

impl Operating {
    /// The operators of a cluster that is set up so; `None` where its nodes keep no record.
    pub(crate) fn of(setup: &Setup, cluster: &str) -> Option<Self> {
        let addresses = setup.operate.clone()?;
        Some(Self {
            setup: setup.clone(),
            addresses,
            cluster: cluster.to_owned(),
            random: StdRng::seed_from_u64(setup.seed ^ 0x0be2),
            turn: 0,
            window: None,
            is_wiped: false,
            is_damaged: false,
            repairs: Vec::new(),
            done: Operations::default(),
        })
    }

    /// The window of the record: the lowest release that may run, and the highest.
    pub(crate) fn window(&self) -> Option<(Release, Release)> {
        self.window
    }

    /// A number by chance, below another.
    pub(crate) fn chance(&mut self, below: usize) -> usize {
        self.random.random_range(0..below)
    }

    fn next_operator(&mut self) -> &'static str {
        self.turn += 1;
        OPERATORS[self.turn % OPERATORS.len()]
    }

    /// Starts a command of the next operator.
    pub(crate) fn begin(&mut self, args: &[String]) -> io::Result<Child> {
        self.done.commands += 1;
        let operator = self.next_operator();
        let mut command = Command::new(&self.setup.program);
        command.args(&self.setup.under).arg("live").args(args).args(["--format", "json", "--timeout", "60"]);
        command.arg("--identity").arg(self.setup.dir.join(operator));
        let nodes = self.addresses.len();
        let first = self.chance(nodes);
        for node in (first..nodes).chain(0..first) {
            command.arg("--via").arg(format!("{}={}", node_name(node), self.addresses[node]));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true).spawn()
    }

    /// Kills a command in the middle.
    pub(crate) async fn kill(&mut self, mut tool: Child) {
        sleep(Duration::from_millis(self.random.random_range(0..TOOL_LIVES_MAX_MS))).await;
        let _ = tool.kill().await;
        self.done.tools_killed += 1;
    }

    /// Waits for a command; what it means where it is not done.
    async fn end(&mut self, tool: Child) -> io::Result<Told> {
        let output = tool.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Ok(Told { code: output.status.code().unwrap_or(-1), said, text })
    }

    /// Gives a command once.
    async fn give(&mut self, args: &[&str]) -> Result<Told, String> {
        let failed = |error: io::Error| format!("live {}: {error}", args[0]);
        let words: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let tool = self.begin(&words).map_err(failed)?;
        self.end(tool).await.map_err(failed)
    }

    /// Gives a command again and again until it is done, whoever ends it.
    ///
    /// # Errors
    /// What it said last, once it has had its time.
    pub(crate) async fn make(&mut self, args: &[&str], first: Option<Child>) -> Result<(), String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let until = Instant::now() + COMMAND_LIMIT;
        let mut begun = first;
        loop {
            let tool = match begun.take() {
                Some(tool) => tool,
                None => self.begin(&args).map_err(|error| format!("live {}: {error}", args[0]))?,
            };
            let told = self.end(tool).await.map_err(|error| format!("live {}: {error}", args[0]))?;
            match told.code {
                0 => return self.look().await,
                4 => {
                    self.done.resumed += 1;
                    let resumed = self.give(&["resume"]).await?;
                    if resumed.code == 2 {
                        return Err(format!("live resume: {}", resumed.why()));
                    }
                }
                2 => return Err(format!("live {}: {}", args[0], told.why())),
                _ => {}
            }
            if Instant::now() > until {
                return Err(format!("live {} came to nothing: {}", args.join(" "), told.why()));
            }
            self.done.again += 1;
            sleep(AGAIN_AFTER).await;
        }
    }

    /// What all members say that the record is.
    async fn look(&mut self) -> Result<(), String> {
        let told = self.give(&["status"]).await?;
        let record = &told.said["cluster"]["record"];
        let release = |key: &str| record[key].as_str().and_then(|text| text.parse::<Release>().ok());
        let (Some(floor), Some(top), Some(epoch)) = (release("floor"), release("top"), record["epoch"].as_u64()) else {
            return Err(format!("live status shows no record: {}", told.why()));
        };
        if epoch < self.done.epoch || self.window.is_some_and(|(before, _)| floor < before) {
            self.done.breaches.push(format!("the record has gone back: from epoch {} to {epoch}", self.done.epoch));
        }
        (self.window, self.done.epoch) = (Some((floor, top)), epoch);
        Ok(())
    }

    /// Gives a command that has been asked for what it was to bring about.
    pub(crate) fn expect(&mut self, what: &str, is_so: impl Fn(Release, Release) -> bool) {
        if let Some((floor, top)) = self.window
            && !is_so(floor, top)
        {
            self.done.breaches.push(format!("{what} was done, and the record lets {floor} to {top} run"));
        }
    }

    /// Tries to start a release with what a node has on its disk: the record must not let it.
    pub(crate) async fn try_barred(&mut self, node: usize, release: Release) -> Result<(), String> {
        let state = state_dir(&self.setup.dir, node);
        let code = self.start_on_copy(node, release, &state).await?;
        if code != i32::from(EXIT_CONFIG) {
            let of = node_name(node);
            self.done.breaches.push(format!("{release} started on what {of} keeps, and ended with {code}"));
        }
        Ok(())
    }

    /// Starts a node's program in a directory of its own, with a copy of what the node keeps, and gives the code that
    /// it ends with. Nothing of the run is touched by it.
    async fn start_on_copy(&mut self, node: usize, release: Release, state: &Path) -> Result<i32, String> {
        let (dir, name) = (self.setup.dir.join("probe"), node_name(node));
        let copied = || {
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(dir.join("operators"))?;
            std::fs::create_dir(dir.join("state"))?;
            for file in ["ca.pem", "operators/ca.pem", &format!("{name}.pem"), &format!("{name}.key")] {
                std::fs::copy(self.setup.dir.join(file), dir.join(file))?;
            }
            std::fs::copy(state.join("record"), dir.join("state/record")).map(drop)
        };
        copied().map_err(|error| format!("cannot copy what {name} keeps: {error}"))?;
        let mut command = Command::new(self.setup.program(release));
        command.args(&self.setup.under).arg("rehearsed-node").args(["--name", &name]);
        command.args(["--release", &release.to_string(), "--listen", "127.0.0.1:0", "--rate", "1", "--seed", "1"]);
        command.args(["--operate", "127.0.0.1:0"]).arg("--dir").arg(&dir).arg("--state").arg(dir.join("state"));
        command.arg("--ledger").arg(dir.join("ledger"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let failed = |error: io::Error| format!("cannot start {release} on a copy: {error}");
        let ended = command.spawn().map_err(failed)?.wait_with_output().await.map_err(failed)?;
        let code = ended.status.code().unwrap_or(-1);
        self.done.barred += u64::from(code == i32::from(EXIT_CONFIG));
        Ok(code)
    }

    /// Something happens to the disk of a node that is down, once in a run each: it is wiped, or its file is cut short.
    pub(crate) async fn damage(&mut self, node: usize, release: Release) -> Result<Damage, String> {
        if self.window.is_none() || self.is_wiped && self.is_damaged || self.chance(3) > 0 {
            return Ok(Damage::None);
        }
        let state = state_dir(&self.setup.dir, node);
        let failed = |error: io::Error| format!("cannot reach {}: {error}", state.display());
        self.done.repaired += 1;
        if !self.is_wiped {
            self.is_wiped = true;
            std::fs::remove_dir_all(&state).map_err(failed)?;
            return Ok(Damage::Anew);
        }
        self.is_damaged = true;
        let from_us = now_us();
        let file = state.join("record");
        let text = std::fs::read(&file).map_err(failed)?;
        std::fs::write(&file, &text[..text.len() / 2]).map_err(failed)?;
        let code = self.start_on_copy(node, release, &state).await?;
        if code != i32::from(EXIT_CONFIG) {
            let of = node_name(node);
            self.done.breaches.push(format!("{of} took a record that was cut short, and ended with {code}"));
        }
        let (state, name) = (state.display().to_string(), node_name(node));
        self.make(&["floor", "repair", "--state", &state, "--node", &name], None).await?;
        let nodes = NodeSet(0).with(NodeIndex::of(node));
        self.repairs.push(Disturbance { nodes, from_us, to_us: now_us(), stopped: false });
        Ok(Damage::Anew)
    }

    /// A member whose disk came new is forgotten, so that it says yes again.
    pub(crate) async fn forget_wiped(&mut self, node: usize) -> Result<(), String> {
        let node = node_name(node);
        let confirm = format!("{}:{node}", self.cluster);
        self.make(&["forget", &node, "--wiped", "--confirm", &confirm], None).await
    }

    /// The arguments that finalize a release.
    pub(crate) fn finalize(&self, to: Release) -> Vec<String> {
        let confirm = format!("{}:{to}", self.cluster);
        let words = ["finalize", "--to", &to.to_string(), "--confirm", &confirm, "--quiet", "0"].map(str::to_owned);
        words.into_iter().chain(UNVERIFIED.map(str::to_owned)).collect()
    }

    /// The arguments that let a release in.
    pub(crate) fn advance(&self, to: Release) -> Vec<String> {
        let words = ["advance", "--to", &to.to_string(), "--quiet", "0"].map(str::to_owned);
        words.into_iter().chain(UNVERIFIED.map(str::to_owned)).collect()
    }

    /// Takes the directory of state of a node that runs away, once in a run: what it writes is refused.
    pub(crate) fn take_disk_away(&mut self) -> Result<Option<usize>, String> {
        if self.done.refused > 0 {
            return Ok(None);
        }
        self.done.refused += 1;
        let node = self.chance(self.addresses.len());
        let state = state_dir(&self.setup.dir, node);
        let taken = std::fs::rename(&state, state.with_extension(AWAY)).and_then(|()| std::fs::write(&state, ""));
        taken.map(|()| Some(node)).map_err(|error| format!("cannot take {} away: {error}", state.display()))
    }

    /// Puts it back.
    pub(crate) fn give_disk_back(&self, node: usize) -> Result<(), String> {
        let state = state_dir(&self.setup.dir, node);
        let given = std::fs::remove_file(&state).and_then(|()| std::fs::rename(state.with_extension(AWAY), &state));
        given.map_err(|error| format!("cannot put {} back: {error}", state.display()))
    }

    /// Gives a command that cannot be done while a node writes nothing: it must not say that it is, and must name the
    /// node.
    pub(crate) async fn expect_refusal(&mut self, args: &[&str], node: usize) -> Result<(), String> {
        let told = self.give(args).await?;
        let node = node_name(node);
        if told.code == 0 || !told.text.contains(&node) {
            let why = told.why();
            self.done.breaches.push(format!("the disk of {node} took nothing, and live {} said: {why}", args[0]));
        }
        Ok(())
    }

    /// Looks whether the trails of all members hang together.
    pub(crate) async fn verify_trails(&mut self) -> Result<(), String> {
        let told = self.give(&["history", "--verify"]).await?;
        if told.code == 3 {
            return Err(format!("a member gave no trail: {}", told.why()));
        }
        if told.code != 0 {
            self.done.breaches.push(format!("the trails do not hang together: {}", told.why()));
        }
        self.done.trail_lines = told.said["lines"].as_array().map_or(0, |lines| lines.len() as u64);
        Ok(())
    }
}

impl Operations {
    /// In a sentence.
    pub(crate) fn told(&self) -> String {
        let Self { commands, again, resumed, tools_killed, nodes_killed, barred, .. } = self;
        let Self { repaired, refused, trail_lines, epoch, .. } = self;
        format!(
            "Operators gave {commands} commands to epoch {epoch}: {again} were given again, {resumed} were resumed; \
             {tools_killed} tools and {nodes_killed} members were killed in the middle of one; {barred} starts were \
             barred by the record with 78; {repaired} disks were wiped or repaired, {refused} took no writes for a \
             while; {trail_lines} lines of trails hang together."
        )
    }
}

/// Who they are.
const OPERATORS: [&str; 2] = ["alice", "bob"];

/// What a rehearsal passes over: it is itself what verifies.
const UNVERIFIED: [&str; 2] = ["--ignore", "verified-mix=this is the rehearsal"];

/// Where a directory of state is that was taken away.
const AWAY: &str = "away";

/// How long a tool may live that is killed.
const TOOL_LIVES_MAX_MS: u64 = 250;

/// How long a command may take to be done, however often it is given.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

const AGAIN_AFTER: Duration = Duration::from_millis(200);
