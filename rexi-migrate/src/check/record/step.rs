//! One thing that happens to a record, done by the core's keepers and drivers.

use std::collections::BTreeMap;
use std::sync::Arc;

use rexi_proto::Incarnation;
use rexi_proto::record::{
    Answer, Apart, Bar, ClusterChange, CommandOutcome, Driver, Facts, Keeper, KeeperAsk, KeeperOutput, Kept, KeptError,
    Loss, Meeting, OperatorCommand, SeenLife,
};

use super::action::Action;
use super::bounds::Bounds;
use super::model::{CLUSTER, Records};
use super::state::{Disk, Driving, Flight, Node, Process, State};
use super::witness::Case;
use crate::model::name;
use crate::search::Broken;
use crate::verdict::invariant::Invariant;

/// One step of a state.
pub(super) struct Stepper<'a> {
    pub(super) model: &'a Records,
    pub(super) state: State,
}

impl Stepper<'_> {
    pub(super) fn apply(&mut self, action: Action) {
        match action {
            Action::Wish(operator) => {
                self.state.wishes[operator] = false;
                let wish = self.model.bounds.wishes[operator].clone();
                self.command(operator, wish, 1 + operator as u64);
            }
            Action::Resume(operator) => self.command(operator, OperatorCommand::Resume, 0),
            Action::Abort(operator) => {
                self.state.used.spared += u8::from(self.state.has_fence());
                self.command(operator, OperatorCommand::Abort, 0);
            }
            Action::Forget(operator) => {
                let lost = self.model.to_forget(&self.state);
                // Each such command is told apart from the others.
                let at = lost.iter().fold(10 + u64::from(self.state.used.spared), |at, lost| at + (100 << lost));
                let nodes = lost.into_iter().map(name).collect();
                let forget = ClusterChange::Forget { nodes, loss: Loss::Destroyed };
                self.command(operator, OperatorCommand::Make(forget), at);
            }
            Action::Deliver(place, again) => self.deliver(place, again),
            Action::Miss(operator, index) => {
                if self.state.may_answer(operator, index) {
                    self.state.used.misses += 1;
                } else {
                    let from = self.state.drivers[operator].as_ref().map(|driving| (operator, driving.number));
                    self.state.flights.retain(|flight| flight.to != index || Some(flight.from) != from);
                }
                let round = self.state.drivers[operator].as_ref().map_or(0, |driving| driving.driver.round());
                self.hear(operator, round, index, None);
            }
            Action::Desert(operator) => {
                self.state.used.deserted += 1;
                self.state.drivers[operator] = None;
                self.state.flights.retain(|flight| flight.from.0 != operator || flight.ask != KeeperAsk::Read);
                self.meet_case(Case::Deserted);
            }
            Action::Written(index) => self.written(index, true, true),
            Action::Fail(index, landed) => {
                self.state.used.failures += 1;
                self.meet_case(Case::WriteFailed);
                self.written(index, landed, false);
            }
            Action::Crash(index, landed) => self.crash(index, landed),
            Action::Stop(index) => self.state.node(index).process = None,
            Action::Start(index, release) => self.start(index, release),
            Action::Wipe(index) => {
                self.state.used.wipes += 1;
                let node = self.state.node(index);
                (node.disk, node.is_emptied) = (Disk::Empty, true);
            }
            Action::Corrupt(index) => {
                self.state.used.corruptions += 1;
                let node = self.state.node(index);
                if let Disk::Holds(kept) = node.disk.clone() {
                    (node.disk, node.is_emptied) = (Disk::Corrupt(kept), true);
                }
            }
            Action::Repair(index, other) => {
                if let Some(record) = self.state.nodes[other].disk.kept().and_then(|kept| kept.record.clone()) {
                    self.state.node(index).disk = Disk::Holds(Kept::repaired(name(index), record));
                }
            }
            Action::Drop(index) => self.state.node(index).is_dropped = true,
            Action::Relist(index) => {
                self.state.used.relists += 1;
                self.state.node(index).lists_all = true;
            }
            Action::Meet(index, other) => self.meet(index, other),
        }
    }

    pub(super) fn breaks(&mut self, invariant: Invariant, what: String) {
        self.state.broken.get_or_insert_with(|| Box::new(Broken { invariant, what }));
    }

    pub(super) fn meet_case(&mut self, case: Case) {
        self.state.met |= 1 << case as u32;
    }

    fn command(&mut self, operator: usize, command: OperatorCommand, at: u64) {
        let number = self.state.free_number();
        // A command goes by the list of the member that carries it: here the latest that there is, or the earliest.
        let mut lists = self.state.nodes.iter().map(|node| node.lists_all);
        let lists_all = if operator == 0 { lists.any(|all| all) } else { lists.all(|all| all) };
        let members = self.model.members(lists_all, Some(&self.state));
        let by = format!("operator-{operator}").into();
        let driver = Driver::new(command, CLUSTER.into(), by, at, members, self.model.bounds.mutants);
        self.state.drivers[operator] = Some(Arc::new(Driving { driver, number }));
        self.drive(operator);
    }

    /// Sends what the driver asks, and takes note of its end.
    fn drive(&mut self, operator: usize) {
        let Some(driving) = &mut self.state.drivers[operator] else { return };
        let Driving { driver, number } = Arc::make_mut(driving);
        let number = *number;
        while let Some((round, node, ask)) = driver.poll_output() {
            let to = self.model.index(&node);
            self.state.flights.push(Arc::new(Flight { from: (operator, number), round, to, ask }));
        }
        let Some(outcome) = driver.outcome().cloned() else { return self.read_at_once(operator, number) };
        let driver = driver.clone();
        self.state.drivers[operator] = None;
        // Who only wanted to know has gone.
        self.state.flights.retain(|flight| flight.from != (operator, number) || flight.ask != KeeperAsk::Read);
        self.told(operator, &driver, &outcome);
    }

    /// What members keep is read at once, of those that are not writing, where nothing is to come between.
    fn read_at_once(&mut self, operator: usize, number: u64) {
        if self.model.bounds.torn {
            return;
        }
        let is_idle = |node: &Node| node.process.as_ref().is_some_and(|process| process.writing.is_none());
        let is_next = |state: &State, flight: &Flight| {
            flight.from == (operator, number) && flight.ask == KeeperAsk::Read && is_idle(&state.nodes[flight.to])
        };
        while let Some(place) = self.state.flights.iter().position(|flight| is_next(&self.state, flight)) {
            self.deliver(place, false);
        }
    }

    /// The operator is told what came of the command.
    fn told(&mut self, operator: usize, driver: &Driver, outcome: &CommandOutcome) {
        match outcome {
            CommandOutcome::Done(_) => self.meet_case(Case::Done),
            CommandOutcome::Theirs { .. } => self.meet_case(Case::Theirs),
            CommandOutcome::Aborted { .. } | CommandOutcome::Spared(_) => self.meet_case(Case::Aborted),
            CommandOutcome::UnderWay(_) => self.meet_case(Case::UnderWay),
            CommandOutcome::Blocked(_) => self.meet_case(Case::Blocked),
            CommandOutcome::Refused(_) => self.meet_case(Case::Refused),
            CommandOutcome::Already(_) | CommandOutcome::Unknown(_) | CommandOutcome::Overtaken(_) => {}
            CommandOutcome::Fork(epoch) => {
                self.breaks(Invariant::S14, format!("there are two records of epoch {epoch}"));
            }
        }
        self.judge_outcome(operator, driver, outcome);
    }

    fn deliver(&mut self, place: usize, again: bool) {
        let flight = Arc::clone(&self.state.flights[place]);
        if again {
            self.state.used.doubles += 1;
        } else {
            self.state.flights.remove(place);
        }
        let Flight { from: (operator, number), round, to, ask } = &*flight;
        let facts = self.facts(*to);
        if let Some(process) = &mut self.state.node(*to).process {
            process.ask(ask.clone(), &facts, Some((*operator, *number, *round)));
        }
        self.drain(*to);
    }

    fn facts(&self, index: usize) -> Facts {
        let node = &self.state.nodes[index];
        let place = node.process.as_ref().map_or(0, |process| process.release);
        let release = self.model.bounds.releases[place];
        let build = rexi_proto::record::Digest::default();
        let life = SeenLife { incarnation: Incarnation(node.starts), release, build };
        let (members, cluster) = (self.model.members(node.lists_all, Some(&self.state)), CLUSTER.into());
        Facts { life, members, cluster, ready: Ok(()), settled: Ok(()) }
    }

    /// Does all that a keeper wants done.
    fn drain(&mut self, index: usize) {
        while let Some(process) = &mut self.state.node(index).process
            && let Some(output) = process.keeper.poll_output()
        {
            match output {
                KeeperOutput::Write(kept) => process.writing = Some(kept),
                KeeperOutput::Apply(_) => {}
                KeeperOutput::Answer(ticket, answer) => {
                    let from = process.asked.remove(&ticket);
                    self.judge_answer(index, &answer);
                    if let Some((operator, number, round)) = from
                        && self.state.drivers[operator].as_ref().is_some_and(|driving| driving.number == number)
                    {
                        self.hear(operator, round, index, Some(answer));
                    }
                }
            }
        }
        self.leave_if_barred(index);
        self.forget_the_past(index);
        if self.state.nodes[index].process.as_ref().is_some_and(|process| process.writing.is_some())
            && !self.model.may_be_killed(&self.state, index)
        {
            self.written(index, true, true);
        }
    }

    /// Numbers of what was asked are of no use once all is answered.
    fn forget_the_past(&mut self, index: usize) {
        if let Some(process) = &mut self.state.node(index).process
            && process.asked.is_empty()
        {
            process.tickets = 0;
        }
    }

    fn hear(&mut self, operator: usize, round: u64, index: usize, answer: Option<Answer>) {
        if let Some(driving) = &mut self.state.drivers[operator] {
            Arc::make_mut(driving).driver.handle(round, &name(index), answer);
        }
        self.drive(operator);
    }

    fn written(&mut self, index: usize, landed: bool, is_told: bool) {
        let facts = self.facts(index);
        let node = self.state.node(index);
        let Some(process) = &mut node.process else { return };
        let before = node.disk.clone();
        if let Some(kept) = process.writing.take().filter(|_| landed) {
            node.disk = Disk::Holds(kept);
        }
        process.keeper.handle_written(is_told, &facts);
        self.judge_yes(index, &before, &facts.life);
        self.drain(index);
    }

    fn crash(&mut self, index: usize, landed: bool) {
        let is_broken = self.state.nodes[index].process.as_ref().is_some_and(|process| process.keeper.is_broken());
        let is_to_go = self.model.bounds.lost.contains(&index) && !self.state.nodes[index].is_lost;
        if !is_to_go && !is_broken {
            self.state.used.crashes += 1;
        }
        let node = self.state.node(index);
        node.is_lost |= is_to_go;
        let writing = node.process.take().and_then(|process| process.writing);
        let is_under_way = writing.is_some();
        if let Some(kept) = writing.filter(|_| landed) {
            node.disk = Disk::Holds(kept);
        }
        if is_under_way {
            self.meet_case(if landed { Case::CrashedWritten } else { Case::CrashedUnwritten });
        }
    }

    fn start(&mut self, index: usize, release: usize) {
        if release != self.model.bounds.runs {
            self.state.used.moves += 1;
        }
        let Ok(keeper) = self.model.open(&self.state.nodes[index], index) else { return };
        let node = self.state.node(index);
        node.starts += 1;
        let asked = BTreeMap::new();
        node.process = Some(Process { keeper, writing: None, release, asked, tickets: 0 });
        if node.is_lost {
            self.meet_case(Case::CameBack);
        }
    }

    /// A process whose release may not run by what it has come to know leaves by itself.
    fn leave_if_barred(&mut self, index: usize) {
        let releases = &self.model.bounds.releases;
        let node = self.state.node(index);
        let Some(process) = &node.process else { return };
        let is_barred = process.keeper.kept().record.is_some()
            && process.keeper.may_start(releases[process.release]).is_err()
            && process.writing.is_none();
        if is_barred {
            node.process = None;
            self.meet_case(Case::Left);
        }
    }

    /// Two members meet: who is behind takes the record of the other.
    fn meet(&mut self, index: usize, other: usize) {
        let [here, there] = [index, other].map(|at| self.state.nodes[at].process.clone());
        let (Some(here), Some(there)) = (here, there) else { return };
        let release = self.model.bounds.releases[there.release];
        let words = there.keeper.words();
        let said = here.keeper.meet(&name(other), release, words.as_ref());
        let truth = self.model.truth(&self.state.nodes[index], other, &there);
        if let (Ok(_), Err(apart)) = (&said, &truth) {
            let invariant = if matches!(apart, Apart::Fork { .. }) { Invariant::S14 } else { Invariant::S12 };
            return self.breaks(invariant, format!("{} speaks to {}: {apart}", name(index), name(other)));
        }
        let (Ok(Meeting::Ahead), Some(record)) = (said, here.keeper.kept().record.clone()) else { return };
        self.state.used.meetings += u8::from(self.state.is_busy());
        let facts = self.facts(other);
        let before = self.state.nodes[other].disk.kept().map_or(0, Kept::epoch);
        if let Some(process) = &mut self.state.node(other).process {
            process.ask(KeeperAsk::Take(record, name(index)), &facts, None);
        }
        if before > 0 {
            self.meet_case(Case::Learned);
        }
        self.drain(other);
    }
}

impl Records {
    /// Whether a write may yet fail or be cut short: otherwise it need not be a step of its own.
    pub(super) fn may_be_killed(&self, state: &State, index: usize) -> bool {
        let Bounds { crashes, failures, lost, .. } = &self.bounds;
        state.used.crashes < *crashes
            || state.used.failures < *failures
            || lost.contains(&index) && !state.nodes[index].is_lost
    }

    /// Whether a process of a release starts on what a disk holds.
    pub(super) fn starts(&self, node: &Node, index: usize, release: usize) -> bool {
        let Ok(keeper) = self.open(node, index) else { return false };
        matches!(keeper.may_start(self.bounds.releases[release]), Ok(()) | Err(Bar::NoRecord))
    }

    /// What a process makes of its disk when it starts.
    pub(super) fn open(&self, node: &Node, index: usize) -> Result<Keeper, KeptError> {
        let text = match &node.disk {
            // That text and value are one is held by a test of the core.
            Disk::Holds(kept) => return Ok(Keeper::new(kept.clone()).with_mutants(self.bounds.mutants)),
            Disk::Empty => None,
            Disk::Corrupt(kept) => Some(kept.to_text().replace("floor", "flour")),
        };
        Keeper::open(&name(index), text.as_deref(), self.bounds.mutants)
    }

    /// What the whole core would say of another member.
    pub(super) fn truth(&self, node: &Node, other: usize, there: &Process) -> Result<Meeting, Apart> {
        let nothing = Kept::nothing(name(other));
        let here = node.process.as_ref().map_or(&nothing, |process| process.keeper.kept());
        here.meet(&name(other), self.bounds.releases[there.release], there.keeper.kept().words().as_ref())
    }
}
