//! The processes of one cell, from the outside: started, asked, and ended, however they behave.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rexi_server::{DevAuthority, NodeName};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::cli::Runtime;
use crate::failure::Failure;
use crate::measure::Usage;
use crate::order::{Answer, Order, Play, Played};
use crate::systems::rexi::Mode;
use crate::systems::{System, Transport};

/// A folder with an authority and the certificates that it has issued.
pub(crate) struct Certificates {
    folder: TempDir,
    authority: DevAuthority,
}

impl Certificates {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = TempDir::with_prefix("peers-")?;
        let authority = DevAuthority::open_or_create(folder.path())?;
        Ok(Self { folder, authority })
    }
}

/// What the processes of a cell have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub(crate) system: System,
    pub(crate) runtime: Runtime,
    pub(crate) mode: Mode,
}

/// The members of a cell: their addresses are known before any of them is started.
pub(crate) struct Cluster<'a> {
    common: Common,
    certificates: &'a Certificates,
    members: PathBuf,
}

impl<'a> Cluster<'a> {
    /// Certifies the members and finds a port for each.
    pub(crate) fn new(common: Common, certificates: &'a Certificates, names: &[String]) -> Result<Self, Failure> {
        for name in names {
            certificates.authority.issue(&NodeName::new(name)?)?;
        }
        let addresses = free_addresses(common.system.transport(), names.len())?;
        let members = certificates.folder.path().join("members.json");
        let list: BTreeMap<&String, SocketAddr> = names.iter().zip(addresses).collect();
        std::fs::write(&members, serde_json::to_vec(&list)?)?;
        Ok(Self { common, certificates, members })
    }

    /// Starts a server that knows these peers, and waits until it listens.
    pub(crate) async fn serve(&self, name: &str, peers: &[String]) -> Result<Process, Failure> {
        self.start("serve", &[name.to_owned()], peers).await
    }

    /// Starts a caller with these names, and waits until it is connected to its peers.
    pub(crate) async fn call(&self, names: &[String], peers: &[String]) -> Result<Process, Failure> {
        self.start("call", names, peers).await
    }

    async fn start(&self, role: &str, names: &[String], peers: &[String]) -> Result<Process, Failure> {
        let (runtime, Common { system, mode, .. }) = (self.runtime(), self.common);
        let mut command = Command::new(std::env::current_exe()?);
        command.args([role, "--system", system.key(), "--runtime", runtime, "--mode", mode.key()]);
        command.arg("--certificates").arg(self.certificates.folder.path()).arg("--members").arg(&self.members);
        for name in names {
            command.args(["--name", name]);
        }
        for peer in peers {
            command.args(["--peer", peer]);
        }
        let mut process = Process::start(command, format!("the {role} process of {}", names[0]))?;
        match process.answer(START_LIMIT).await? {
            Answer::Ready => Ok(process),
            _ => Err(Failure::new(format!("{} is not ready", process.what))),
        }
    }

    /// What such a process is told, for one that runs within a test.
    #[cfg(test)]
    pub(crate) fn setup(&self, name: &str, peer: &str) -> crate::cli::Setup {
        let Common { system, runtime, mode } = self.common;
        let (certificates, members) = (self.certificates.folder.path().to_owned(), self.members.clone());
        let (names, peers) = (vec![name.to_owned()], vec![peer.to_owned()]);
        crate::cli::Setup { system, runtime, mode, certificates, members, names, peers }
    }

    fn runtime(&self) -> &'static str {
        match self.common.runtime {
            Runtime::Ct => "ct",
            Runtime::Mt => "mt",
        }
    }
}

/// A process of a cell. It is killed when this is dropped.
pub(crate) struct Process {
    what: String,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(mut command: Command, what: String) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let missing = || Failure::new(format!("{what} has no pipes"));
        let orders = child.stdin.take().ok_or_else(missing)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        Ok(Self { what, child, orders, answers })
    }

    /// What the process has used so far.
    pub(crate) async fn usage(&mut self) -> Result<Usage, Failure> {
        match self.ask(Order::Usage, USAGE_LIMIT).await? {
            Answer::Usage(usage) => Ok(usage),
            _ => Err(Failure::new(format!("{} answers something else than it was asked", self.what))),
        }
    }

    /// Has the process play something for so long.
    pub(crate) async fn play(&mut self, play: Play, time: Duration) -> Result<Played, Failure> {
        match self.ask(Order::play(play, time), time + PLAY_SLACK).await? {
            Answer::Played(played) => Ok(played),
            _ => Err(Failure::new(format!("{} answers something else than it was asked", self.what))),
        }
    }

    /// Ends the process.
    pub(crate) async fn end(mut self) {
        drop(self.orders);
        if timeout(END_LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    async fn ask(&mut self, order: Order, limit: Duration) -> Result<Answer, Failure> {
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        self.answer(limit).await
    }

    async fn answer(&mut self, limit: Duration) -> Result<Answer, Failure> {
        let what = &self.what;
        let Ok(line) = timeout(limit, self.answers.next_line()).await else {
            return Err(Failure::new(format!("{what} hangs: no answer within {limit:?}")));
        };
        let line = line?.ok_or_else(|| Failure::new(format!("{what} has ended")))?;
        match serde_json::from_str(&line)? {
            Answer::Failed(failed) => Err(Failure::new(failed)),
            answer => Ok(answer),
        }
    }
}

/// As many free addresses of the loopback interface. Another process could take one before it is used; the cell then
/// fails, and says so.
fn free_addresses(transport: Transport, count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // All are held until the last is found, so that none is found twice.
    match transport {
        Transport::Udp => {
            let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind(any)).collect::<Result<_, _>>()?;
            Ok(sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?)
        }
        Transport::Tcp => {
            let sockets: Vec<_> = (0..count).map(|_| TcpListener::bind(any)).collect::<Result<_, _>>()?;
            Ok(sockets.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
        }
    }
}

/// The folder that temporary files lie in must not show in what is published.
pub(crate) fn without_paths(text: &str) -> String {
    let folder = std::env::temp_dir();
    text.replace(&*folder.to_string_lossy(), "(temporary)").replace(&*home(Path::new("/")), "~")
}

fn home(root: &Path) -> String {
    std::env::var("HOME").ok().filter(|home| Path::new(home) != root && !home.is_empty()).unwrap_or("\0".to_owned())
}

const START_LIMIT: Duration = Duration::from_secs(20);
const USAGE_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(3);

/// What playing may take beyond its time: the last answers, and 100,000 jobs on a slow machine.
const PLAY_SLACK: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_hangs_is_said_to() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut process = Process::start(command, "the sleeper".to_owned()).expect("there is such a command");
        let failure = process.answer(Duration::from_millis(50)).await.expect_err("it says nothing");
        assert_eq!(failure.text(), "the sleeper hangs: no answer within 50ms");
        process.end().await;
    }

    #[tokio::test]
    async fn a_process_that_ends_is_said_to() {
        let mut process = Process::start(Command::new("true"), "it".to_owned()).expect("there is such a command");
        let failure = process.answer(Duration::from_secs(30)).await.expect_err("it says nothing");
        assert_eq!(failure.text(), "it has ended");
    }

    #[test]
    fn addresses_are_found_once_each() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let addresses = free_addresses(transport, 60).expect("there are free ports");
            assert_eq!(addresses.iter().collect::<std::collections::BTreeSet<_>>().len(), 60);
        }
    }
}
