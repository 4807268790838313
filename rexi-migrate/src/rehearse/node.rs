//! One node of the rehearsed cluster: the child process that embeds the server, makes the load and writes the ledger.
//!
//! In: arguments, and the rehearsal's commands on standard input. Out: events on standard output, a log on standard
//! error, a ledger. When its standard input ends it exits at once, since the rehearsal is gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{NodeName, PhaseError};
use rexi_server::{
    CancellationToken, Identity, LimitingFactor, Node, PeerPresence, StartError, StartRollout,
    identity::OperatorAuthority,
    membership::MemberEvents,
    operate::OperatePort,
    operators::OperatorList,
    status::{PeerStatus, RolloutStatus},
};
use tokio::io::{BufReader, Stdin};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::history::ledger::{Entry, LedgerHeader, LedgerWriter, take_offset};
use crate::path::{Phases, Place, UpgradePath};
use crate::rehearse::control::{Command, LineReader, NodeEvent, Stats, encode};
use crate::rehearse::pace::{Beats, Pace};
use crate::rehearse::workload::{BoxError, Site, Workload};
use crate::workload::load::thread::LoadThread;
use crate::workload::load::{Load, index_of};
use crate::workload::work::{carry_out, record};
use crate::workload::{Functions, taken};
use crate::workload::{PhaseWatch, away};
use rexi_proto::Release;

/// What a node process is started with.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct NodeArgs {
    /// Its name.
    #[arg(long)]
    pub name: String,
    /// The release it runs.
    #[arg(long)]
    pub release: Release,
    /// Where it listens.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The other members, as `n2=127.0.0.1:4242`, joined by commas.
    #[arg(long, value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Where the identities lie.
    #[arg(long)]
    pub dir: PathBuf,
    /// Casts a second that this node makes.
    #[arg(long)]
    pub rate: u32,
    /// Seed of the load of this process.
    #[arg(long)]
    pub seed: u64,
    /// What to add to the machine's monotonic clock, in microseconds, so that this ledger's times are the run's.
    #[arg(long)]
    pub clock_us: Option<u64>,
    /// The ledger to write.
    #[arg(long)]
    pub ledger: PathBuf,
    /// Where it keeps the record of its cluster, if it does.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// Where it takes operators' commands, if it does.
    #[arg(long)]
    pub operate: Option<SocketAddr>,
    /// Ways to break the protocol on purpose, joined by commas.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    pub mutant: Option<String>,
}

/// Runs a node, with its part of the workload, until it is drained or its standard input ends.
pub fn run(args: NodeArgs, train: &UpgradePath, workload: Option<&dyn Workload>) -> ExitCode {
    log_to_stderr();
    if let Some(offset_us) = args.clock_us {
        take_offset(offset_us);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.map_err(NotRun::from).and_then(|runtime| runtime.block_on(serve(args, train, workload)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(NotRun { code, error }) => {
            say(&NodeEvent::Failed { error });
            code.into()
        }
    }
}

/// Why a node does not run, or not any more, and what its process ends with.
struct NotRun {
    code: u8,
    error: String,
}

impl From<String> for NotRun {
    fn from(error: String) -> Self {
        Self { code: 1, error }
    }
}

impl From<std::io::Error> for NotRun {
    fn from(error: std::io::Error) -> Self {
        error.to_string().into()
    }
}

impl From<StartError> for NotRun {
    fn from(error: StartError) -> Self {
        Self { code: error.exit_code(), error: error.to_string() }
    }
}

async fn serve(args: NodeArgs, train: &UpgradePath, workload: Option<&dyn Workload>) -> Result<(), NotRun> {
    let name = NodeName::new(&args.name).map_err(|e| e.to_string())?;
    let own = index_of(&name).ok_or_else(|| format!("{name} is not called n1, n2, n3, …"))?;
    let version = args.release.into();
    // The ledger names the node's incarnation, which it has only once it runs; its functions need the ledger before.
    let ledger = Arc::new(std::sync::OnceLock::new());
    let site = Site { name: name.clone(), listen: args.listen, dir: args.dir.clone() };
    let node = start(&args, train, &site, workload, &ledger)?;
    let header = LedgerHeader::new(name, own, version, node.incarnation());
    let writer = Arc::new(LedgerWriter::create(&args.ledger, &header).map_err(|e| e.to_string())?);
    let writer = Arc::clone(ledger.get_or_init(|| writer));
    let service = workload.map(|workload| Service::start(workload, &node, site));
    let pace = Pace::default();
    let beats = Beats::start(Arc::clone(&writer), pace.clone()).map_err(|e| e.to_string())?;
    let NodeArgs { rate, seed, release, .. } = args;
    let (caller, records) = (node.clone(), Arc::clone(&writer));
    let functions = Functions::called(train, train.profile(release_of(&args, train)?));
    let load = move || Load::new(caller, records, own, functions, rate, seed, Box::new(move || pace.awake()));
    Child {
        phases: PhaseWatch::of(&node),
        members: node.watch_members(),
        node,
        load: LoadThread::start(load).map_err(|e| e.to_string())?,
        service,
        ledger: writer,
        header,
        beats,
        release,
        said: BTreeMap::new(),
    }
    .run()
    .await
    .map_err(NotRun::from)
}

/// Opens the port for operators, who are those of the rehearsal.
fn open_port(args: &NodeArgs, node: &Node) -> Result<(), String> {
    let Some(address) = args.operate else { return Ok(()) };
    let failed = |error: &dyn std::error::Error| error.to_string();
    let ca = args.dir.join("operators").join("ca.pem");
    let authority = OperatorAuthority::from_pem_file(ca).map_err(|e| failed(&e))?;
    let list = OperatorList::default().allow("alice", "*").and_then(|list| list.allow("bob", "*"));
    let list = list.map_err(|e| failed(&e))?;
    OperatePort::open(node, address, authority, list).map(drop).map_err(|e| failed(&e))
}

fn start(
    args: &NodeArgs,
    train: &UpgradePath,
    site: &Site,
    workload: Option<&dyn Workload>,
    ledger: &Arc<std::sync::OnceLock<Arc<LedgerWriter>>>,
) -> Result<Node, NotRun> {
    let rollout = StartRollout::from_release().from_env().map_err(|e| e.to_string())?;
    let profile = train.profile(release_of(args, train)?).clone();
    let mut builder = Node::builder(site.name.clone(), profile, identity(&args.dir, &site.name)?)
        .listen(args.listen)
        .rollout(rollout);
    for peer in args.peers.iter().filter(|peer| !peer.is_empty()) {
        let parsed = peer
            .split_once('=')
            .and_then(|(name, address)| Some((NodeName::new(name).ok()?, address.parse::<SocketAddr>().ok()?)));
        let (peer, address) = parsed.ok_or_else(|| format!("{peer:?} is not a peer: use name=address:port"))?;
        builder = builder.peer(peer, address);
    }
    for function in taken(train, builder.profile()) {
        let ledger = Arc::clone(ledger);
        builder = builder.function(&function, move |job, argument| {
            let ledger = ledger.get().cloned();
            async move {
                // Casts can come between the node's start and the ledger's; such a cast is refused by its end.
                let ledger = ledger.ok_or("this node has no ledger yet")?;
                carry_out(ledger, job, argument).await
            }
        });
    }
    if let Some(workload) = workload {
        builder = workload.define(builder, site).map_err(|e| e.to_string())?;
    }
    #[cfg(feature = "mutants")]
    {
        let mutants = rexi_server::Mutants::from_names(args.mutant.as_deref().unwrap_or_default());
        builder = builder.mutants(mutants.map_err(|name| format!("{name:?} is not a mutant"))?);
    }
    if let Some(state) = &args.state {
        builder = builder.state(state);
    }
    let node = builder.start()?;
    open_port(args, &node)?;
    Ok(node)
}

fn release_of(args: &NodeArgs, train: &UpgradePath) -> Result<Place, String> {
    let place = train.place(args.release);
    place.ok_or_else(|| format!("there is no release {} in the train {train}", args.release))
}

fn identity(dir: &Path, name: &NodeName) -> Result<Identity, String> {
    let (ca, cert, key) = (dir.join("ca.pem"), dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    Identity::from_pem_files(ca, cert, key).map_err(|e| e.to_string())
}

/// What the workload serves alongside the node.
struct Service {
    stop: CancellationToken,
    served: JoinHandle<Result<(), BoxError>>,
}

impl Service {
    fn start(workload: &dyn Workload, node: &Node, site: Site) -> Self {
        let stop = CancellationToken::new();
        let served = tokio::spawn(workload.serve(node.clone(), site, stop.clone()));
        Self { stop, served }
    }

    /// Takes no more clients, and waits for those under way.
    async fn close(self) -> Result<(), String> {
        self.stop.cancel();
        match tokio::time::timeout(SERVICE_CLOSE_LIMIT, self.served).await {
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(panic)) => Err(panic.to_string()),
            // The rehearsal does not wait for clients that never end.
            Ok(Ok(Ok(()))) | Err(_) => Ok(()),
        }
    }
}

/// Why a service ended that nobody had stopped. Waits for as long as it serves.
async fn ended(service: &mut Option<Service>) -> String {
    let Some(service) = service else { return std::future::pending().await };
    match (&mut service.served).await {
        Ok(Ok(())) => "the service ended before it was stopped".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic.to_string(),
    }
}

/// A running node and what the rehearsal wants of it.
struct Child {
    node: Node,
    load: LoadThread,
    service: Option<Service>,
    ledger: Arc<LedgerWriter>,
    header: LedgerHeader,
    beats: Beats,
    release: Release,
    members: MemberEvents,
    phases: PhaseWatch,
    /// The refusal last said of each peer.
    said: BTreeMap<NodeName, String>,
}

/// What is waited for before a command is heard again.
#[derive(Clone, Copy)]
enum Goal {
    /// Own calls have ended.
    OwnCallsEnded,
    /// Own calls and others' jobs have ended.
    Quiet,
}

/// How serving went on.
enum Next {
    Command(Command),
    /// The rehearsal is gone.
    Gone,
}

impl Child {
    async fn run(mut self) -> Result<(), String> {
        record(&self.ledger, &self.phases.news());
        let mut commands = LineReader::new(BufReader::new(tokio::io::stdin()));
        let mut ready = false;
        loop {
            match self.serve_until_command(&mut commands, &mut ready, None).await? {
                Next::Gone => std::process::exit(1),
                Next::Command(Command::Load { on }) => self.load.set_on(on).await.map_err(|e| e.to_string())?,
                Next::Command(Command::Ceiling { low }) => {
                    let set = self.set_ceilings(low);
                    say(&NodeEvent::CeilingSet { ok: set.is_ok(), error: set.err().map(|e| e.to_string()) });
                }
                Next::Command(Command::Quiesce) => self.quiesce(&mut commands, &mut ready).await?,
                Next::Command(Command::Turn { ledger }) => self.turn(&ledger)?,
                Next::Command(Command::Drain { deadline_ms }) => {
                    return self.drain(&mut commands, &mut ready, Duration::from_millis(deadline_ms)).await;
                }
            }
        }
    }

    /// Serves until a command comes. With `goal`: until that is reached or its limit has passed, and commands wait.
    async fn serve_until_command(
        &mut self,
        commands: &mut LineReader<BufReader<Stdin>>,
        ready: &mut bool,
        goal: Option<Goal>,
    ) -> Result<Next, String> {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stats = tokio::time::interval(STATS_INTERVAL);
        loop {
            let node = self.node.clone();
            tokio::select! {
                biased;
                command = commands.next::<Command>(), if goal.is_none() => {
                    return Ok(command.map_err(|e| e.to_string())?.map_or(Next::Gone, Next::Command));
                }
                ended = ended(&mut self.service) => return Err(ended),
                event = self.members.next() => record(&self.ledger, &away(&self.node, event)),
                Ok(()) = self.phases.changed() => {
                    record(&self.ledger, &self.phases.news());
                    say(&NodeEvent::PhasesChanged { phases: phases(&self.node.status().rollouts) });
                }
                _ = ticks.tick(), if goal.is_some() => {
                    if goal.is_some_and(|goal| self.is_reached(goal)) || started.elapsed() > REST_LIMIT {
                        return Ok(Next::Gone);
                    }
                }
                _ = stats.tick() => {
                    self.say_stats();
                    self.say_refusals();
                }
                () = node.ready(), if !*ready => {
                    *ready = true;
                    let (incarnation, phases) = (self.node.incarnation().0, phases(&self.node.status().rollouts));
                    say(&NodeEvent::Ready { incarnation, release: self.release, phases });
                }
            }
        }
    }

    fn is_reached(&self, goal: Goal) -> bool {
        let own = self.load.in_flight() == 0;
        match goal {
            Goal::OwnCallsEnded => own,
            Goal::Quiet => own && self.node.status().jobs == 0,
        }
    }

    async fn quiesce(&mut self, commands: &mut LineReader<BufReader<Stdin>>, ready: &mut bool) -> Result<(), String> {
        self.load.rest().await.map_err(|e| e.to_string())?;
        self.serve_until_command(commands, ready, Some(Goal::Quiet)).await?;
        let (in_flight, jobs) = (self.load.in_flight() as u64, self.node.status().jobs as u64);
        if in_flight == 0 {
            record(&self.ledger, &[Entry::Quiet]);
        }
        // So that the figures of a cluster at rest are those of its rest.
        self.say_stats();
        say(&NodeEvent::Quiet { in_flight, jobs });
        Ok(())
    }

    /// Goes on in another ledger, which opens with the phases, as the first one did.
    fn turn(&mut self, ledger: &Path) -> Result<(), String> {
        self.ledger.turn(ledger, &self.header).map_err(|e| e.to_string())?;
        self.phases.tell_again();
        record(&self.ledger, &self.phases.news());
        say(&NodeEvent::Turned);
        Ok(())
    }

    async fn drain(
        mut self,
        commands: &mut LineReader<BufReader<Stdin>>,
        ready: &mut bool,
        limit: Duration,
    ) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        if let Some(service) = self.service.take() {
            service.close().await?;
        }
        self.load.rest().await.map_err(|e| e.to_string())?;
        // Own calls first, while others still serve, however slow the machine is; the shutdown waits for others' jobs.
        self.serve_until_command(commands, ready, Some(Goal::OwnCallsEnded)).await?;
        if self.load.in_flight() == 0 {
            record(&self.ledger, &[Entry::Quiet]);
        }
        self.load.give_up().await.map_err(|e| e.to_string())?;
        let Self { node, load, ledger, phases, beats, members, .. } = self;
        drop((load, phases, members));
        node.shutdown(deadline.saturating_duration_since(Instant::now()).max(TICK)).await;
        drop(beats);
        record(&ledger, &[Entry::Drained]);
        say(&NodeEvent::Drained);
        Ok(())
    }

    /// Sets or lifts the ceiling of each migration that the release can move in; the first refusal is the answer.
    fn set_ceilings(&self, low: bool) -> Result<(), PhaseError> {
        let mut rollouts = self.node.rollouts().filter(|rollout| rollout.stage().moves());
        rollouts.try_for_each(|rollout| rollout.set_ceiling(low.then(|| rollout.stage().lowest())))
    }

    fn say_stats(&self) {
        let status = self.node.status();
        let counts = self.load.counts();
        say(&NodeEvent::Stats(Stats {
            asked: counts.asked,
            casts: counts.casts,
            answered: counts.answered,
            killed: counts.killed,
            timed_out: counts.timed_out,
            in_flight: self.load.in_flight() as u64,
            jobs: status.jobs as u64,
            phases: phases(&status.rollouts),
            limiting: limiting_factor(&status.rollouts),
            limited_by_hello: status.rollouts.iter().any(by_hello),
            waiting_for: missing(&status.peers),
            replies: self.load.replies(),
        }));
    }

    /// Says each refusal once, until it changes.
    fn say_refusals(&mut self) {
        for peer in self.node.status().peers {
            let Some(refusal) = peer.refusal else { continue };
            let error = refusal.to_string();
            if self.said.get(&peer.name) != Some(&error) {
                let (peer, permanent) = (peer.name.to_string(), refusal.is_final());
                say(&NodeEvent::Refused { peer, error: error.clone(), permanent });
            }
            self.said.insert(peer.name, error);
        }
    }
}

fn phases(rollouts: &[RolloutStatus]) -> Phases {
    rollouts.iter().map(|rollout| (rollout.migration.clone(), rollout.phase)).collect()
}

/// What keeps a migration from going on: the first that is held by more than its release.
fn limiting_factor(rollouts: &[RolloutStatus]) -> Option<String> {
    let is_held = |rollout: &&RolloutStatus| !matches!(rollout.limiting_factor, LimitingFactor::Release(_));
    let held = rollouts.iter().find(is_held).or(rollouts.first());
    held.map(|rollout| rollout.limiting_factor.to_string())
}

fn by_hello(rollout: &RolloutStatus) -> bool {
    matches!(rollout.limiting_factor, LimitingFactor::NotTaken(..))
}

/// The peers that are not connected.
fn missing(peers: &[PeerStatus]) -> Vec<String> {
    let missing = peers.iter().filter(|peer| peer.presence != PeerPresence::Connected);
    missing.map(|peer| peer.name.to_string()).collect()
}

fn say(event: &NodeEvent) {
    use std::io::Write;
    // Fails where the rehearsal is gone, which standard input tells as well.
    let _ = std::io::stdout().write_all(encode(event).as_bytes());
    let _ = std::io::stdout().flush();
}

/// Logs to standard error, by default without the failures that the load asks for.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rexi_server::worker=error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Fails where a log is set up already, which then serves.
    let _ = log.try_init();
}

/// How often a goal that is waited for is looked at.
const TICK: Duration = Duration::from_millis(2);

const STATS_INTERVAL: Duration = Duration::from_millis(200);

/// How long a node waits for its own calls and jobs to end. Its load gives up what is silent long before, by the time
/// that the process has had; this is for a machine that gives it hardly any.
const REST_LIMIT: Duration = Duration::from_secs(600);

/// How long a service's clients are waited for when its node is drained.
const SERVICE_CLOSE_LIMIT: Duration = Duration::from_secs(20);
