//! The record of a scenario's cluster: the disks that it lies on, the operators, and what they are told.
//!
//! In: what a plan has operators ask, and what befalls disks. Out: the history of every disk, for `recorded.rs` to
//! judge. In the end somebody brings the record to rest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rexi_proto::Release;
use rexi_proto::record::{Brake, ClusterChange, ClusterRecord, CommandOutcome, Kept, Loss, OperatorCommand};
use rexi_server::testing::{DiskFault, TestDisk};
use rexi_server::{MigrationKey, Node, NodeBuilder, Phase};

use super::ledger::{Ledger, ScenarioEvent};
use super::world::World;
use crate::name::node_name;
use crate::path::Place;
use crate::plan::{Command, DiskFails, Lost, RecordOp};

/// The disks of all nodes, and what was seen of them.
pub(super) struct Records {
    disks: Vec<TestDisk>,
    history: Arc<Mutex<History>>,
}

/// What disks had, and what operators were told, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) writes: Vec<Written>,
    pub(super) told: Vec<Told>,
    /// Nodes that ran, or were spoken to, though a disk forbade it.
    pub(super) unbarred: Vec<(Duration, String)>,
    asked: u64,
    /// Whether any disk was made to fail.
    failed: bool,
}

/// What came to be on a disk.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) at: Duration,
    pub(super) node: usize,
    /// `None`: it was emptied.
    pub(super) kept: Option<Arc<Kept>>,
}

/// What came of a command.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) at: Duration,
    /// No two commands are of one operator.
    pub(super) by: String,
    pub(super) command: OperatorCommand,
    pub(super) outcome: CommandOutcome,
}

impl Records {
    pub(super) fn new(nodes: usize, ledger: &Arc<Ledger>) -> Self {
        let history = Arc::new(Mutex::new(History::default()));
        let disk = |node: usize| {
            let (disk, history, ledger) = (TestDisk::new(), Arc::clone(&history), Arc::clone(ledger));
            disk.observe(move |kept| {
                let written = Written { at: ledger.now(), node, kept: Some(Arc::clone(kept)) };
                lock(&history).writes.push(written);
            });
            disk
        };
        Self { disks: (0..nodes).map(disk).collect(), history }
    }

    /// The node keeps its record here. Before there is one, nodes serve without.
    pub(super) fn keep(&self, node: usize, builder: NodeBuilder) -> NodeBuilder {
        let builder = builder.state_on(self.disks[node].clone());
        if self.newest().is_some() { builder } else { builder.without_record() }
    }

    /// What a node has on its disk.
    pub(super) fn kept(&self, node: usize) -> Option<Arc<Kept>> {
        self.disks[node].kept()
    }

    /// The record of the highest epoch on any disk.
    pub(super) fn newest(&self) -> Option<Arc<ClusterRecord>> {
        let records = self.disks.iter().filter_map(|disk| disk.kept()?.record.clone());
        records.max_by_key(|record| record.epoch)
    }

    /// Whether a node's own disk forbids a release.
    pub(super) fn forbid(&self, node: usize, release: Release) -> bool {
        self.kept(node).is_some_and(|kept| forbids(&kept, release))
    }

    /// Whether neither a node's own disk nor the newest record forbids a release.
    pub(super) fn admit(&self, node: usize, release: Release) -> bool {
        !self.forbid(node, release) && self.newest().is_none_or(|record| [record.floor, record.top].contains(&release))
    }

    /// Whether a node has all that there is on its disk. The record is lost for good where all who have it lose it.
    fn is_whole(&self, node: usize) -> bool {
        let Some(newest) = self.newest() else {
            let was_wiped = |written: &Written| written.node == node && written.kept.is_none();
            return !self.lock().writes.iter().any(was_wiped);
        };
        self.kept(node).is_some_and(|kept| kept.anew.is_none() && kept.record.as_ref() == Some(&newest))
    }

    /// An operator of a new name.
    fn operator(&self) -> String {
        let mut history = self.lock();
        history.asked += 1;
        format!("op{}", history.asked)
    }

    /// Empties the disk of a node that does not run.
    pub(super) fn wipe(&self, node: usize, at: Duration) {
        self.disks[node].wipe();
        self.lock().writes.push(Written { at, node, kept: None });
    }

    pub(super) fn fail(&self, node: usize, how: DiskFails) {
        self.lock().failed = true;
        self.disks[node].fail_next(match how {
            DiskFails::Refused => DiskFault::Refused,
            DiskFails::InDoubt => DiskFault::InDoubt,
        });
    }

    /// What each disk has, in a line.
    fn told(&self) -> String {
        let one = |(node, disk): (usize, &TestDisk)| {
            let node = node_name(node);
            let Some(kept) = disk.kept() else { return format!("{node} has nothing") };
            let vote = kept.vote.as_ref().map(|vote| format!(", a yes to {}, attempt {}", vote.told(), vote.attempt));
            let fence = kept.fence.as_ref().map(|fence| format!(", about to {}", fence.told()));
            let anew = kept.anew.map(|since| format!(", a new disk since {since}"));
            let parts = [vote, fence, anew].into_iter().flatten().collect::<String>();
            format!("{node} has epoch {} and attempts up to {} closed{parts}", kept.epoch(), kept.closed)
        };
        self.disks.iter().enumerate().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Whether every disk has the same record, and nothing is under way.
    fn is_at_rest(&self) -> bool {
        let newest = self.newest();
        self.disks.iter().all(|disk| match disk.kept() {
            Some(kept) => kept.record == newest && kept.vote.is_none() && kept.fence.is_none(),
            None => newest.is_none(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }
}

fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().expect("nothing panics while it holds the history")
}

/// Whether what a node keeps forbids a release, by what the words mean and not by the code that nodes go by.
pub(super) fn forbids(kept: &Kept, release: Release) -> bool {
    let voted = kept.vote.as_ref().and_then(|vote| match vote.change {
        ClusterChange::Begin { floor, .. } | ClusterChange::Finalize { floor } => Some(floor),
        _ => None,
    });
    let is_outside = |record: &ClusterRecord| ![record.floor, record.top].contains(&release);
    voted.max(kept.bound).is_some_and(|floor| release < floor) || kept.record.as_deref().is_some_and(is_outside)
}

impl World {
    /// Does something that has to do with the record; `false` where it makes no sense.
    pub(super) fn record_op(self: &Arc<Self>, op: RecordOp) -> bool {
        let Some(records) = &self.records else { return false };
        match op {
            RecordOp::Command { at, command } => {
                let at = self.number(at);
                self.order(at, command).is_some_and(|order| self.ask(at, order))
            }
            RecordOp::Forget { at, node, loss } => {
                let (at, node) = (self.number(at), self.number(node));
                let loss = match loss {
                    Lost::Wiped if records.kept(node).is_none_or(|kept| kept.anew.is_some()) => Loss::Wiped,
                    Lost::Destroyed if !self.runs(node) => Loss::Destroyed,
                    _ => return false,
                };
                let nodes = [self.names[node].clone()].into();
                at != node && self.ask(at, OperatorCommand::Make(ClusterChange::Forget { nodes, loss }))
            }
            RecordOp::Wipe { node } => {
                let node = self.number(node);
                if !(0..self.names.len()).all(|other| other == node || records.is_whole(other)) {
                    return false;
                }
                self.crash(node);
                records.wipe(node, self.ledger.now());
                true
            }
            RecordOp::Disk { node, how } => {
                records.fail(self.number(node), how);
                true
            }
        }
    }

    /// What a command says where the cluster stands.
    fn order(&self, at: usize, command: Command) -> Option<OperatorCommand> {
        let kept = self.records.as_ref()?.kept(at);
        let record = kept.as_ref().and_then(|kept| kept.record.as_ref());
        let caps = || self.lowest(record.map_or(self.releases()[at], |record| self.place_of(record.top)));
        Some(OperatorCommand::Make(match command {
            Command::Begin => {
                let releases = self.releases();
                let (lowest, highest) = (*releases.iter().min()?, *releases.iter().max()?);
                if !lowest.is_near(highest) {
                    return None;
                }
                let of = [lowest, highest].map(|place| self.release(place));
                ClusterChange::Begin { floor: of[0].min(of[1]), top: of[0].max(of[1]) }
            }
            Command::Open => ClusterChange::Open { top: self.release_after(record?.floor)? },
            Command::Cap => ClusterChange::Cap(caps()),
            Command::Lift => {
                let all: Vec<_> = (0..self.names.len()).filter_map(|node| self.records.as_ref()?.kept(node)).collect();
                let brakes = Brake::last_of(all.iter().map(|kept| &**kept));
                ClusterChange::Lift(brakes.into_iter().map(|(node, brake)| (node, brake.number)).collect())
            }
            Command::Finalize => ClusterChange::Finalize { floor: record?.top },
            Command::Brake => return Some(OperatorCommand::Brake(caps())),
            Command::Resume => return Some(OperatorCommand::Resume),
            Command::Abort => return Some(OperatorCommand::Abort),
        }))
    }

    pub(super) fn unbarred(&self, what: String) {
        let at = self.ledger.now();
        if let Some(records) = &self.records {
            records.lock().unbarred.push((at, what));
        }
    }

    /// The release nearest to the one that is wished for which the record lets a node run.
    pub(super) fn fitting(&self, number: usize, wish: Place) -> Place {
        let Some(records) = &self.records else { return wish };
        let Some(record) = records.newest() else { return wish };
        let all = [Some(wish), self.train.place(record.floor), self.train.place(record.top)];
        let fits = |place: &Place| records.admit(number, self.release(*place));
        all.into_iter().flatten().find(fits).unwrap_or(wish)
    }

    /// The lowest phase of every migration that moves in a release.
    fn lowest(&self, release: Place) -> BTreeMap<MigrationKey, Phase> {
        let moving = self.profile(release).migrations().filter(|(_, stage)| stage.moves());
        moving.map(|(key, stage)| (key.key().clone(), stage.lowest())).collect()
    }

    /// An operator of a new name gives a node a command; what it hears is put down if the node lives to say it.
    fn ask(self: &Arc<Self>, at: usize, command: OperatorCommand) -> bool {
        let Some(records) = &self.records else { return false };
        let by = records.operator();
        let world = Arc::clone(self);
        self.run_on(at, |node| {
            Some(async move {
                world.tell(&node, at, by, command).await;
            })
        })
    }

    /// Has a node carry a command, and puts down what came of it.
    async fn tell(&self, node: &Node, at: usize, by: String, command: OperatorCommand) -> Option<CommandOutcome> {
        let outcome = node.command(&by, command.clone()).await.ok()?;
        self.ledger.note(ScenarioEvent::Told { node: at, by: by.clone(), told: outcome.told() });
        let told = Told { at: self.ledger.now(), by, command, outcome: outcome.clone() };
        self.records.as_ref()?.lock().told.push(told);
        Some(outcome)
    }
}

/// Disks fail no more, and who has one that did starts again.
pub(super) fn mend(world: &World) {
    let Some(records) = &world.records else { return };
    records.disks.iter().for_each(TestDisk::mend);
    let has_failed = std::mem::take(&mut records.lock().failed);
    (0..world.names.len()).filter(|_| has_failed).for_each(|number| _ = world.crash(number));
}

/// Who does not run starts; what nodes have kept that were forgotten is taken away before, so that they come anew.
fn renew(world: &Arc<World>, records: &Records) {
    let newest = records.newest();
    for (number, name) in world.names.iter().enumerate() {
        let forgotten_at = newest.as_ref().and_then(|record| record.forgotten.get(name)).copied();
        let is_void = |kept: Arc<Kept>| {
            let is_void = |at| kept.record.as_ref().is_none_or(|record| record.is_void(name, at));
            kept.anew.is_none() && forgotten_at.is_some_and(is_void)
        };
        if records.kept(number).is_some_and(is_void) {
            world.crash(number);
            records.wipe(number, world.ledger.now());
        }
        world.start(number, world.fitting(number, world.releases()[number]));
    }
}

/// Somebody ends what is under way, has members forgotten whose disks came new, and lifts what holds. What it has not
/// come to is told.
pub(super) async fn bring_to_rest(world: &Arc<World>) -> Option<String> {
    let records = world.records.as_ref()?;
    if records.disks.iter().all(|disk| disk.kept().is_none()) {
        return None;
    }
    let mut last = String::new();
    for _ in 0..TRIES_MAX {
        renew(world, records);
        tokio::time::sleep(BETWEEN_TRIES).await;
        let anew = |&number: &usize| records.kept(number).is_some_and(|kept| kept.anew.is_some());
        let (anew, whole): (Vec<usize>, Vec<usize>) = (0..world.names.len()).partition(anew);
        let Some((number, node)) = world
            .running()
            .into_iter()
            .map(|(number, node, _)| (number, node))
            .find(|(number, _)| whole.contains(number))
        else {
            last = "every disk came new".to_owned();
            continue;
        };
        if !anew.is_empty() {
            let nodes = anew.iter().map(|&number| world.names[number].clone()).collect();
            let forget = OperatorCommand::Make(ClusterChange::Forget { nodes, loss: Loss::Wiped });
            let told = world.tell(&node, number, records.operator(), forget).await;
            last = told.map_or_else(|| "no answer".to_owned(), |told| told.told());
            continue;
        }
        // What holds before there is a record can be lifted by one.
        let begin = records.newest().is_none().then_some(Command::Begin);
        let ending = [Some(Command::Resume), begin, Some(Command::Lift)].into_iter().flatten();
        let ending: Vec<_> = ending.filter_map(|command| world.order(number, command)).collect();
        let mut is_done = true;
        for command in ending {
            let told = world.tell(&node, number, records.operator(), command).await;
            is_done &= matches!(told, Some(CommandOutcome::Done(_) | CommandOutcome::Already(_)));
            last = told.map_or_else(|| "no answer".to_owned(), |told| told.told());
            if !is_done {
                break;
            }
        }
        if is_done && records.is_at_rest() {
            return None;
        }
        if !is_done {
            // What cannot be ended forwards is ended backwards.
            world.tell(&node, number, records.operator(), OperatorCommand::Abort).await;
        }
    }
    Some(format!("the last that was told is: {last}; {}", records.told()))
}

const TRIES_MAX: usize = 30;

const BETWEEN_TRIES: Duration = Duration::from_secs(1);
