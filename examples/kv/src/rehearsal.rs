//! The store in a rehearsal of its upgrade: what its nodes serve, and clients that write and read through their HTTP
//! ports meanwhile.
//!
//! Each node keeps its data in a file that outlives a `kill -9`. Out: an [`Account`] of acknowledged writes that were
//! lost and of quorum reads that were stale, with the totals. `history.rs` decides whether a history is possible, by
//! the versions that the store gives; of keys that all write, [`register`](crate::register) does, by what was met
//! alone.

mod history;

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rexi_migrate::rehearse::{Account, BoxError, Boxed, Clients, Site, Workload};
use rexi_server::{CancellationToken, Node, NodeBuilder};
use tokio::net::TcpListener;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use self::history::{History, body};
use crate::client::{Answer, Client, ClientError};
use crate::coordinator::Kv;
use crate::register::Recorder;
use crate::replica::Consistency;
use crate::store::Store;
use crate::version::Version;
use crate::{http, replica};

/// The store as a rehearsal knows it.
#[derive(Debug, Default)]
pub struct Rehearsed {
    /// Whether its nodes forget what they say they keep, to show that this is noticed.
    pub forgets: bool,
}

impl Workload for Rehearsed {
    fn define(&self, node: NodeBuilder, site: &Site) -> Result<NodeBuilder, BoxError> {
        let data = site.dir.join(format!("{}.redb", site.name));
        // Nobody else has this directory, so a file that is not there yet was never there.
        if !data.exists() {
            Store::create(&data)?;
        }
        let store = Store::open(&data)?;
        Ok(if self.forgets { forgetful(node) } else { replica::serve(node, &store) })
    }

    fn serve(&self, node: Node, site: Site, stop: CancellationToken) -> Boxed<'static, Result<(), BoxError>> {
        Box::pin(async move {
            let listener = TcpListener::bind(site.listen).await?;
            Ok(http::serve(listener, http::router(Kv::new(node)), stop.cancelled_owned()).await?)
        })
    }

    fn clients(&self, nodes: &[SocketAddr], seed: u64) -> Boxed<'static, Box<dyn Clients>> {
        let nodes = nodes.to_vec();
        Box::pin(async move { Box::new(WritersAndReaders::new(&nodes, seed).await) as Box<dyn Clients> })
    }
}

fn forgetful(node: NodeBuilder) -> NodeBuilder {
    node.serve(replica::ReadConsistency, async |_, _| Ok(None))
        .serve(replica::ReadVersion, async |_, _| Ok(None))
        .serve(replica::Write, async |_, _| Ok(()))
}

/// The clients of a run.
#[derive(Debug)]
struct WritersAndReaders {
    shared: Arc<Shared>,
    gate: Arc<RwLock<()>>,
    /// Held while they rest.
    rest: Option<OwnedRwLockWriteGuard<()>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<Client>,
    history: Mutex<History>,
    registers: Mutex<Recorder>,
}

/// What is asked of a node.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Write(&'a str),
    Read(Consistency),
}

/// What came of a read.
enum Found {
    /// What is there, if anything.
    Entry(Option<(Version, Vec<u8>)>),
    /// The node does not read with this consistency yet.
    NotYet,
    /// There is no answer.
    Failed,
}

/// What became of a request.
enum Done {
    Answered(Answer),
    /// It may have been done, or be done yet.
    Unknown,
    /// No node took it.
    NotSent,
}

impl WritersAndReaders {
    /// Clients of these nodes, which rest until they are told otherwise.
    async fn new(nodes: &[SocketAddr], seed: u64) -> Self {
        let nodes = nodes.iter().map(|&address| Client::new(address)).collect();
        let registers = Mutex::new(Recorder::new(REGISTERS));
        let shared = Arc::new(Shared { nodes, history: Mutex::default(), registers });
        let gate = Arc::<RwLock<()>>::default();
        let rest = Arc::clone(&gate).write_owned().await;
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS + READERS + USERS {
            let rng = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(number));
            tasks.spawn(run(Arc::clone(&shared), Arc::clone(&gate), number, rng));
        }
        Self { shared, gate, rest: Some(rest), _tasks: tasks }
    }

    async fn rest(&mut self) {
        if self.rest.is_none() {
            self.rest = Some(Arc::clone(&self.gate).write_owned().await);
        }
    }

    /// Reads every key once more.
    async fn read_all(&mut self) {
        let keys = self.shared.history().keys();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(keys.len() as u64);
        let until = Instant::now() + AT_REST_LIMIT;
        for key in keys {
            while Instant::now() < until {
                match self.shared.get(&mut rng, &key, Consistency::Linearizable).await {
                    Found::Entry(found) => {
                        self.shared.history().at_rest(&key, found);
                        break;
                    }
                    Found::NotYet | Found::Failed => tokio::time::sleep(PAUSE).await,
                }
            }
        }
    }
}

impl Clients for WritersAndReaders {
    fn resume(&mut self) {
        self.rest = None;
    }

    fn pause(&mut self) -> Boxed<'_, ()> {
        Box::pin(self.rest())
    }

    fn finish(&mut self) -> Boxed<'_, ()> {
        Box::pin(async {
            self.rest().await;
            self.read_all().await;
            self.shared.registers().finish();
        })
    }

    fn account(&self, kills: usize) -> Account {
        let mut account = self.shared.history().counts().account(kills);
        self.shared.registers().checked().add_to(&mut account);
        account
    }
}

/// One client: a writer of keys that nobody else writes, a reader of all, or one that writes and reads registers.
async fn run(shared: Arc<Shared>, gate: Arc<RwLock<()>>, number: u64, mut rng: Xoshiro256PlusPlus) {
    let mut ticks = tokio::time::interval(OPERATION_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let _turn = gate.read().await;
        let of = rng.random_range(0..KEYS_EACH);
        if number < WRITERS {
            // Some keys are written seldom and read at the end alone: what a read mends hides what was lost.
            let of = if rng.random_ratio(1, COLD_SHARE) { KEYS_EACH + rng.random_range(0..KEYS_EACH) } else { of };
            shared.write(&mut rng, &format!("w{number}k{of}")).await;
        } else if number >= WRITERS + READERS {
            shared.use_register(&mut rng).await;
        } else {
            let writer = rng.random_range(0..WRITERS);
            let consistency = Consistency::ALL[rng.random_range(0..Consistency::ALL.len())];
            shared.read(&mut rng, &format!("w{writer}k{of}"), consistency).await;
        }
    }
}

impl Shared {
    async fn write(&self, rng: &mut Xoshiro256PlusPlus, key: &str) {
        let (value, floor) = {
            let mut history = self.history();
            (history.next_value(key), history.floor(key))
        };
        let body = body(key, value);
        let done = self.ask(rng, key, Asked::Write(&body)).await;
        let mut history = self.history();
        match done {
            Done::Answered(answer) => match (answer.status, version(&answer)) {
                (204, Some(version)) => history.written(key, value, &floor, &version),
                // Nothing was written, as the store says.
                (503, _) => history.refused(key, value),
                _ => history.unknown(),
            },
            Done::NotSent => history.refused(key, value),
            Done::Unknown => history.unknown(),
        }
    }

    async fn read(&self, rng: &mut Xoshiro256PlusPlus, key: &str, consistency: Consistency) {
        let floor = self.history().floor(key);
        let found = self.get(rng, key, consistency).await;
        let mut history = self.history();
        match found {
            Found::Entry(found) => history.read(key, consistency, &floor, found),
            Found::NotYet => history.read_not_yet(),
            Found::Failed => history.read_failed(),
        }
    }

    /// Writes or reads one of the keys that all write.
    async fn use_register(&self, rng: &mut Xoshiro256PlusPlus) {
        let place = rng.random_range(0..REGISTERS);
        if rng.random() {
            let write = self.registers().begin_write(place);
            match self.ask(rng, &write.key(), Asked::Write(&write.body())).await {
                Done::Answered(answer) if answer.status == 204 => self.registers().written(write),
                Done::Answered(answer) if answer.status == 503 => self.registers().without_effect(write),
                Done::NotSent => self.registers().without_effect(write),
                Done::Answered(_) | Done::Unknown => self.registers().unknown(write),
            }
        } else {
            let read = self.registers().begin_read(place);
            match self.ask(rng, &read.key(), Asked::Read(Consistency::Linearizable)).await {
                Done::Answered(answer) if answer.status == 200 => self.registers().read(read, Some(&answer.body)),
                Done::Answered(answer) if answer.status == 404 => self.registers().read(read, None),
                _ => self.registers().without_effect(read),
            }
        }
    }

    fn registers(&self) -> MutexGuard<'_, Recorder> {
        self.registers.lock().expect("nothing panics while it holds the registers")
    }

    /// What the store has of a key.
    async fn get(&self, rng: &mut Xoshiro256PlusPlus, key: &str, consistency: Consistency) -> Found {
        match self.ask(rng, key, Asked::Read(consistency)).await {
            Done::Answered(answer) if answer.status == 404 => Found::Entry(None),
            Done::Answered(answer) if answer.status == 409 => Found::NotYet,
            Done::Answered(answer) if answer.status == 200 => match version(&answer) {
                Some(version) => Found::Entry(Some((version, answer.body))),
                None => Found::Failed,
            },
            _ => Found::Failed,
        }
    }

    /// Asks a node by chance, and the next ones where it takes no connection.
    async fn ask(&self, rng: &mut Xoshiro256PlusPlus, key: &str, asked: Asked<'_>) -> Done {
        let first = rng.random_range(0..self.nodes.len());
        for node in (0..self.nodes.len()).map(|next| self.nodes[(first + next) % self.nodes.len()]) {
            let request = async {
                match asked {
                    Asked::Write(value) => node.put(key, value.as_bytes()).await,
                    Asked::Read(consistency) => node.get_as(key, consistency).await,
                }
            };
            match timeout(REQUEST_LIMIT, request).await {
                Ok(Ok(answer)) => return Done::Answered(answer),
                Ok(Err(ClientError::NotSent(_))) => {}
                Ok(Err(_)) | Err(_) => return Done::Unknown,
            }
        }
        Done::NotSent
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nothing panics while it holds the history")
    }
}

fn version(answer: &Answer) -> Option<Version> {
    Version::from_str(answer.version.as_deref()?).ok()
}

const WRITERS: u64 = 4;
const READERS: u64 = 8;

/// Clients that write and read the same keys, and how many of these they use at once.
const USERS: u64 = 4;
const REGISTERS: usize = 3;

/// Keys of each writer that are read all the time, and as many that are not.
const KEYS_EACH: u64 = 8;

/// One write in this many is to a key that is not read before the end.
const COLD_SHARE: u32 = 64;

/// The least time between two operations of a client.
const OPERATION_INTERVAL: Duration = Duration::from_millis(4);

/// How long a request may take: longer than the store's own limits.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long all keys may take to be read at the end.
const AT_REST_LIMIT: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(50);
