//! Three nodes on this machine for a first look: their files in one directory, one process each.
//!
//! In: a directory and ports, or neither. Out: processes of this executable, each of which writes what it does to a log
//! of its own; what to type next, on standard output. When this process ends, for whatever reason, so do they.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rand::RngExt;
use rexi_server::{CancellationToken, DevAuthority, NodeName, identity::DevCertsError};
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::store::{OpenError, Store};
use crate::train::train;

/// What a cluster is started with.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct ClusterArgs {
    /// The directory with certificates, configurations, data and logs, to be used again. [default: a temporary one]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// The port of the first node: HTTP over TCP, the other nodes over UDP. The next ones follow. [default: free ones]
    #[arg(long)]
    pub port: Option<u16>,
    /// The release that every node runs.
    #[arg(long, default_value = "2.2", value_parser = known_release)]
    pub release: String,
    /// Has the nodes keep the record of their cluster, and opens a port for operators at each, 100 above its own. An
    /// operator's identity is in the directory `alice`. The nodes serve nothing before the record is begun.
    #[arg(long)]
    pub operate: bool,
    /// Starts a node again when it has ended, as whatever release its configuration then says.
    #[arg(long)]
    pub respawn: bool,
}

/// Why a cluster does not run. What was started is stopped again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The directory or a file in it cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        #[source]
        reason: io::Error,
    },
    /// The certificates cannot be made.
    #[error(transparent)]
    Certificates(#[from] DevCertsError),
    /// A data file cannot be made.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// The environment gives no ports, signals or processes.
    #[error("cannot {what}: {reason}")]
    Environment {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        reason: io::Error,
    },
}

fn known_release(text: &str) -> Result<String, String> {
    train().profile(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// One node of the cluster: its name, where it listens, and the directory with its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name: n1, n2 or n3.
    pub name: NodeName,
    /// Where it serves HTTP over TCP and the other nodes over UDP.
    pub address: SocketAddr,
    dir: PathBuf,
}

/// Runs three nodes until SIGTERM or Ctrl-C, or until all have ended.
///
/// # Errors
/// [`ClusterError`].
pub async fn run(args: &ClusterArgs) -> Result<(), ClusterError> {
    let mut stop = Signals::new()?;
    let temporary = tempfile::Builder::new().prefix("rexi-kv-").tempdir();
    let temporary = temporary.map_err(environment("make a temporary directory"))?;
    let dir = args.dir.as_deref().unwrap_or(temporary.path());
    let ports = match args.port {
        Some(first) => [0, 1, 2].map(|next| first.saturating_add(next)),
        None => free_ports().map_err(environment("find free ports"))?,
    };
    let members = prepare(dir, ports, &args.release, args.operate)?;
    println!("{}", introduction(dir, &members));
    if args.operate {
        println!("{}", for_operators(dir, &members));
    }
    let stopping = CancellationToken::new();
    let mut running = JoinSet::new();
    for member in members {
        running.spawn(keep(member, args.respawn, stopping.clone()));
    }
    loop {
        tokio::select! {
            biased;
            () = stop.next() => match stopping.is_cancelled() {
                // Asked twice: the nodes leave by themselves, since their standard input ends with this process.
                true => return Ok(()),
                false => stopping.cancel(),
            },
            ended = running.join_next() => match ended {
                Some(ended) => ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?,
                None => return Ok(()),
            }
        }
    }
}

/// Makes certificates and configurations of three nodes in a directory, and their data files where none has one; data
/// that is there stays, and a file that was lost stays lost. Blocks.
///
/// # Errors
/// [`ClusterError::Directory`], [`ClusterError::Certificates`], [`ClusterError::Data`].
///
/// # Panics
/// Never: the names are good ones.
pub fn prepare(dir: &Path, ports: [u16; 3], release: &str, operate: bool) -> Result<[Member; 3], ClusterError> {
    let authority = DevAuthority::open_or_create(dir)?;
    if operate {
        DevAuthority::open_or_create(&dir.join("operators"))?.issue_operator(
            "alice",
            &authority,
            &dir.join("alice"),
        )?;
    }
    let members = [1, 2, 3].map(|number| Member {
        name: NodeName::new(format!("n{number}")).expect("a letter and a digit are a name"),
        address: (Ipv4Addr::LOCALHOST, ports[number - 1]).into(),
        dir: dir.to_owned(),
    });
    for member in &members {
        authority.issue(&member.name)?;
        let config = member.file("toml");
        std::fs::write(&config, member.config(&members, release, operate))
            .map_err(|reason| ClusterError::Directory { path: config, reason })?;
    }
    let is_new = !members.iter().any(|member| member.file("redb").exists());
    for member in members.iter().filter(|_| is_new) {
        Store::create(member.file("redb"))?;
    }
    Ok(members)
}

/// Three ports that are free now, for UDP and for TCP. They lie below those that the system gives to others, or one of
/// these could have taken a port while its node is down; and they are drawn anew each time, so that two who look for
/// some at once keep apart, in one process too.
///
/// # Errors
/// What the system says of the last one tried.
pub fn free_ports() -> io::Result<[u16; 3]> {
    let first = rand::rng().random_range(PORTS);
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut found = Vec::new();
    for port in (first..PORTS.end).chain(PORTS.start..first) {
        let address = (Ipv4Addr::LOCALHOST, port);
        match UdpSocket::bind(address).and(TcpListener::bind(address)) {
            Ok(_) => found.push(port),
            Err(error) => failed = error,
        }
        if let [one, two, three] = found[..] {
            return Ok([one, two, three]);
        }
    }
    Err(failed)
}

impl Member {
    /// Its file of this kind, such as `n1.toml`.
    fn file(&self, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", self.name))
    }

    /// Where it takes operators' commands.
    pub fn operate(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), self.address.port().saturating_add(OPERATE_ABOVE))
    }

    fn config(&self, members: &[Self], release: &str, operate: bool) -> String {
        let Self { name, address, .. } = self;
        let mut text = format!(
            "# To take this node to another release of {}, say so here and start it again.\n\
             release = \"{release}\"\nname = \"{name}\"\nlisten = \"{address}\"\n\n\
             [identity]\nca = \"ca.pem\"\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\n\n[peers]\n",
            train()
        );
        for Self { name, address, .. } in members {
            // A String takes all that is written to it.
            let _ = writeln!(text, "{name} = \"{address}\"");
        }
        if operate {
            let _ = write!(
                text,
                "\n[rollout]\nstate = \"{name}.state\"\n\n[operate]\nlisten = \"{}\"\nca = \"operators/ca.pem\"\n\n\
                 [operators]\nalice = \"*\"\n",
                self.operate()
            );
        }
        text
    }

    /// The arguments of this executable that run the node.
    pub fn arguments(&self) -> Vec<String> {
        let file = |extension| self.file(extension).display().to_string();
        let flags = ["--config".to_owned(), file("toml"), "--data".to_owned(), file("redb"), "--http".to_owned()];
        ["node".to_owned()].into_iter().chain(flags).chain([self.address.to_string()]).collect()
    }

    fn start(&self) -> io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.file("log"))?;
        Command::new(std::env::current_exe()?)
            .args(self.arguments())
            .arg("--attached")
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
    }
}

/// Runs a node, and where it is to be, again and again, until it is to stop.
async fn keep(member: Member, respawn: bool, stopping: CancellationToken) -> Result<(), ClusterError> {
    let stopped = || async { stopping.cancelled().await };
    loop {
        let mut node = member.start().map_err(environment("start a node"))?;
        // Its end is what tells the node to leave.
        let stdin = node.stdin.take();
        tokio::select! {
            biased;
            () = stopped() => {
                drop(stdin);
                node.wait().await.map_err(environment("wait for a node"))?;
                return Ok(());
            }
            status = node.wait() => {
                let status = status.map_err(environment("wait for a node"))?;
                println!("{} has ended: {status}; its log is {}", member.name, member.file("log").display());
            }
        }
        if !respawn || tokio::time::timeout(RESPAWN_AFTER, stopped()).await.is_ok() {
            return Ok(());
        }
    }
}

fn for_operators(dir: &Path, members: &[Member; 3]) -> String {
    let via = members.iter().map(|member| format!(" \\\n    --via {}={}", member.name, member.operate()));
    format!(
        "\n  rexi-kv rollout live init --identity {}{}\n  and so on with `live status`; docs/upgrade.md has the rest\n",
        dir.join("alice").display(),
        via.collect::<String>()
    )
}

fn introduction(dir: &Path, members: &[Member; 3]) -> String {
    let [n1, n2, _] = members.each_ref().map(|member| member.address);
    format!(
        "three nodes with development certificates in {}; Ctrl-C stops them\n\
         \n  curl -X PUT -d hello http://{n1}/kv/greeting\n  curl -i http://{n2}/kv/greeting\n  \
         curl -X DELETE http://{n1}/kv/greeting\n  \
         curl http://{n1}/readyz, and /livez, /startupz, /metrics, /status\n  \
         kill -9 one of them, by the pid below: the rest goes on\n",
        dir.display()
    )
}

/// What asks this process to stop.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, ClusterError> {
        let listen = |kind| signal(kind).map_err(environment("listen for signals"));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn environment(what: &'static str) -> impl FnOnce(io::Error) -> ClusterError {
    move |reason| ClusterError::Environment { what, reason }
}

/// How long a node that has ended stays down.
const RESPAWN_AFTER: Duration = Duration::from_secs(1);

/// How far above a node's own port it takes operators' commands.
const OPERATE_ABOVE: u16 = 100;

const PORTS: Range<u16> = 10_000..20_000;
