//! What may happen to a record, one thing at a time, and when.

use rexi_proto::record::{Apart, Meeting};

use super::model::Records;
use super::state::{Disk, Node, Process, State};
use crate::model::name;

/// One thing that happens. Members and operators are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// An operator says its wish.
    Wish(usize),
    /// An operator goes on with what is under way.
    Resume(usize),
    /// An operator gives up what is under way.
    Abort(usize),
    /// An operator has those forgotten that are lost, or whose disks came new.
    Forget(usize),
    /// What is asked arrives: that of this place. Whether a copy is still on its way.
    Deliver(usize, bool),
    /// An operator's driver is told that a member does not answer.
    Miss(usize, usize),
    /// An operator's driver is killed.
    Desert(usize),
    /// What a member writes is on its disk.
    Written(usize),
    /// A write fails; whether it is on the disk all the same.
    Fail(usize, bool),
    /// A process is killed; whether what it writes is on the disk.
    Crash(usize, bool),
    /// A process of a wrong release that serves nothing, or that a member refuses, is stopped by its operator.
    Stop(usize),
    /// A process of the release of this place is started.
    Start(usize, usize),
    /// A disk is emptied.
    Wipe(usize),
    /// A file can no longer be read.
    Corrupt(usize),
    /// A file that cannot be read is repaired by what the second member has.
    Repair(usize, usize),
    /// All lists come to leave a member out that is lost, where no record names it and nothing is under way.
    Drop(usize),
    /// A member's list comes to name all.
    Relist(usize),
    /// Two members meet.
    Meet(usize, usize),
}

impl Records {
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.commands(state, actions);
        self.messages(state, actions);
        for (index, node) in state.nodes.iter().enumerate() {
            self.of_node(state, index, node, actions);
        }
    }

    fn commands(&self, state: &State, actions: &mut Vec<Action>) {
        let is_open = |node: &Node| node.disk.kept().is_some_and(|kept| kept.vote.is_some() || kept.fence.is_some());
        let is_under_way = state.nodes.iter().any(|node| is_open(node));
        for (operator, driving) in state.drivers.iter().enumerate() {
            if driving.is_some() {
                if state.used.deserted < self.bounds.deserted {
                    actions.push(Action::Desert(operator));
                }
                continue;
            }
            if state.wishes[operator] {
                actions.push(Action::Wish(operator));
            }
            // Who goes on, or gives up, may be anybody: so it is the first that is free.
            let is_first = state.drivers[..operator].iter().all(Option::is_some)
                && (self.bounds.rivals || state.drivers.iter().all(Option::is_none));
            if is_under_way && is_first {
                actions.push(Action::Resume(operator));
                if self.bounds.aborts && !(state.has_fence() && state.used.spared > 0) {
                    actions.push(Action::Abort(operator));
                }
            }
            if is_first && !self.to_forget(state).is_empty() {
                actions.push(Action::Forget(operator));
            }
        }
    }

    /// Who is lost, or has a disk that came new, and was not forgotten by all others.
    pub(super) fn to_forget(&self, state: &State) -> Vec<usize> {
        let is_anew = |node: &Node| node.disk.kept().is_some_and(|kept| kept.anew.is_some());
        let is_out = |index: usize| state.nodes[index].is_lost || is_anew(&state.nodes[index]);
        let out: Vec<usize> = (0..state.nodes.len()).filter(|&index| is_out(index)).collect();
        let forgets = |node: &Node, lost: usize| {
            let record = node.disk.kept().and_then(|kept| kept.record.as_ref());
            record.is_some_and(|record| record.forgotten.contains_key(&name(lost)))
        };
        let others = || (0..state.nodes.len()).filter(|index| !out.contains(index));
        let is_forgotten =
            |lost: usize| state.nodes[lost].is_dropped || others().all(|index| forgets(&state.nodes[index], lost));
        out.iter().copied().filter(|&lost| !is_forgotten(lost)).collect()
    }

    fn messages(&self, state: &State, actions: &mut Vec<Action>) {
        for (place, flight) in state.flights.iter().enumerate() {
            if state.nodes[flight.to].process.is_some() {
                actions.push(Action::Deliver(place, false));
                if state.used.doubles < self.bounds.doubles {
                    actions.push(Action::Deliver(place, true));
                }
            }
        }
        for (operator, driving) in state.drivers.iter().enumerate() {
            for waited in driving.iter().flat_map(|driving| driving.driver.waiting()) {
                let index = self.index(waited);
                // Who is down, or has been, is known not to answer; else the answer is lost.
                if !state.may_answer(operator, index) || state.used.misses < self.bounds.misses {
                    actions.push(Action::Miss(operator, index));
                }
            }
        }
    }

    /// Whether no member that may come back has a record, or has said yes to one.
    fn may_drop(&self, state: &State) -> bool {
        let has_nothing = |node: &Node| {
            let kept = node.disk.kept();
            kept.is_none_or(|kept| kept.record.is_none() && kept.open_vote().is_none() && kept.fence.is_none())
        };
        !self.bounds.begun
            && !state.is_busy()
            && state.nodes.iter().filter(|node| !node.is_lost).all(|node| has_nothing(node))
    }

    /// Whether a member refuses a process for its release.
    fn is_refused(&self, state: &State, index: usize, process: &Process) -> bool {
        let (release, words) = (self.bounds.releases[process.release], process.keeper.words());
        let others = state.nodes.iter().filter_map(|node| node.process.as_ref());
        let refuses = |other: &Process| other.keeper.meet(&name(index), release, words.as_ref());
        others.map(refuses).any(|verdict| matches!(verdict, Err(Apart::Barred(_))))
    }

    fn of_node(&self, state: &State, index: usize, node: &Node, actions: &mut Vec<Action>) {
        let used = &state.used;
        let Some(process) = &node.process else {
            let can_start = !node.is_lost || self.bounds.returns;
            if node.is_lost && !node.is_dropped && self.may_drop(state) {
                actions.push(Action::Drop(index));
            }
            for release in 0..self.bounds.releases.len() {
                let moves = release != self.bounds.runs;
                if can_start && (!moves || used.moves < self.bounds.moves) && self.starts(node, index, release) {
                    actions.push(Action::Start(index, release));
                }
            }
            if used.wipes < self.bounds.wipes && node.disk != Disk::Empty && can_start {
                actions.push(Action::Wipe(index));
            }
            if used.corruptions < self.bounds.corruptions && node.disk.kept().is_some() {
                actions.push(Action::Corrupt(index));
            }
            if matches!(node.disk, Disk::Corrupt(_)) {
                let holds = |&other: &usize| state.nodes[other].disk.kept().is_some_and(|kept| kept.record.is_some());
                actions.extend((0..state.nodes.len()).filter(holds).map(|other| Action::Repair(index, other)));
            }
            return;
        };
        if process.writing.is_some() {
            actions.push(Action::Written(index));
            if used.failures < self.bounds.failures {
                actions.extend([Action::Fail(index, false), Action::Fail(index, true)]);
            }
        }
        let is_to_go = self.bounds.lost.contains(&index) && !node.is_lost;
        if used.crashes < self.bounds.crashes || is_to_go || process.keeper.is_broken() {
            actions.push(Action::Crash(index, false));
            if process.writing.is_some() {
                actions.push(Action::Crash(index, true));
            }
        }
        let is_wrong = process.release != self.bounds.runs && process.writing.is_none();
        if is_wrong && self.bounds.wipes > 0 && (node.disk == Disk::Empty || self.is_refused(state, index, process)) {
            actions.push(Action::Stop(index));
        }
        if used.relists < self.bounds.relists && !node.lists_all {
            actions.push(Action::Relist(index));
        }
        for (other, theirs) in state.nodes.iter().enumerate() {
            let Some(there) = theirs.process.as_ref().filter(|_| other != index) else { continue };
            let lists = |node: &Node, of: usize| node.lists_all || self.bounds.joiner != Some(of);
            let release = self.bounds.releases[there.release];
            let (here, with) = (process.keeper.kept(), there.keeper.kept());
            if here.record == with.record && here.admits(release).is_ok() {
                continue;
            }
            let words = there.keeper.words();
            let verdict = process.keeper.meet(&name(other), release, words.as_ref());
            // Who is behind has nothing to do; a step for the other is enough.
            let does = match &verdict {
                // What is given to one that writes waits, and may as well be given later.
                Ok(Meeting::Ahead) => there.writing.is_none(),
                Ok(_) => self.truth(node, other, there).is_err(),
                Err(_) => false,
            };
            let is_between = state.is_busy();
            let may_meet = !is_between || used.meetings < self.bounds.meetings;
            if does && may_meet && lists(node, other) && lists(theirs, index) {
                actions.push(Action::Meet(index, other));
            }
        }
    }
}
