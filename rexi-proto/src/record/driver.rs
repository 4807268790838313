//! Carries an operator's command to all members, and says what came of it.
//!
//! A driver keeps nothing: what it has done is on the members' disks, and the next one goes on from there. It waits for
//! an answer of each member that it asks, or to be told that there will be none; no time decides anything here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::guards::Guards;
use crate::mutant::Mutants;
use crate::name::NodeName;

use super::seen::{Seen, forgotten};
use super::step::Step;
use super::{
    Answer, ClusterChange, ClusterRecord, CommandOutcome, Digest, Fence, Intent, KeeperAsk, No, OperatorCommand,
};

/// One command on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Driver {
    command: OperatorCommand,
    cluster: Arc<str>,
    by: Arc<str>,
    at: u64,
    /// Who is asked.
    members: BTreeSet<NodeName>,
    step: Step,
    waiting: BTreeSet<NodeName>,
    heard: BTreeMap<NodeName, Option<Answer>>,
    intent: Option<Arc<Intent>>,
    /// Why the attempt is to be given up.
    refused: BTreeMap<NodeName, No>,
    /// Who is no longer to be forgotten, once the attempt is given up.
    spares: Option<NodeName>,
    /// How often it has looked at all members.
    looks: u32,
    /// How often it has asked: an answer to what was asked before counts for nothing.
    round: u64,
    outputs: VecDeque<(u64, NodeName, KeeperAsk)>,
    outcome: Option<CommandOutcome>,
    guards: Guards,
}

impl Driver {
    /// A command of an operator, for a cluster of these members.
    pub fn new(
        command: OperatorCommand,
        cluster: Arc<str>,
        by: Arc<str>,
        at: u64,
        members: BTreeSet<NodeName>,
        mutants: Mutants,
    ) -> Self {
        let mut driver = Self {
            command,
            cluster,
            by,
            at,
            members,
            step: Step::Over,
            waiting: BTreeSet::new(),
            heard: BTreeMap::new(),
            intent: None,
            refused: BTreeMap::new(),
            spares: None,
            looks: 0,
            round: 0,
            outputs: VecDeque::new(),
            outcome: None,
            guards: Guards::without(mutants),
        };
        if let OperatorCommand::Make(ClusterChange::Forget { node, .. }) = &driver.command
            && driver.guards.forgets_without_asking()
        {
            driver.members.remove(node);
        }
        driver.begin();
        driver
    }

    fn begin(&mut self) {
        match &self.command {
            OperatorCommand::Brake(ceilings) => {
                let ask = KeeperAsk::Brake { ceilings: ceilings.clone(), by: Arc::clone(&self.by), at: self.at };
                self.ask_all(Step::Brake, &ask);
            }
            _ => self.look(),
        }
    }

    /// Whom to ask what next, in which round.
    pub fn poll_output(&mut self) -> Option<(u64, NodeName, KeeperAsk)> {
        self.outputs.pop_front()
    }

    /// What came of it, once that is known.
    pub fn outcome(&self) -> Option<&CommandOutcome> {
        self.outcome.as_ref()
    }

    /// The intent that is carried, once there is one.
    pub fn intent(&self) -> Option<&Arc<Intent>> {
        self.intent.as_ref()
    }

    /// Who has yet to answer.
    pub fn waiting(&self) -> &BTreeSet<NodeName> {
        &self.waiting
    }

    /// The round that is waited for.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// A member has answered what it was asked in a round, or `None`: it cannot be asked, or its answer did not come.
    pub fn handle(&mut self, round: u64, node: &NodeName, answer: Option<Answer>) {
        if round != self.round || !self.waiting.remove(node) {
            return;
        }
        self.heard.insert(node.clone(), answer);
        if self.waiting.is_empty() {
            match self.step.clone() {
                Step::Read => self.decide(),
                Step::Spread => self.spread(),
                Step::Freeze(closed) => self.frozen(closed),
                Step::Turnstile | Step::Vote => self.voted(),
                Step::Commit => self.committed(),
                Step::Close(attempt) => self.closed(attempt),
                Step::Abort(attempt) => self.aborted(attempt),
                Step::Brake => self.braked(),
                Step::Over => {}
            }
        }
    }

    fn ask(&mut self, step: Step, asks: impl IntoIterator<Item = (NodeName, KeeperAsk)>) {
        self.step = step;
        self.round += 1;
        self.heard.clear();
        for (node, ask) in asks {
            self.waiting.insert(node.clone());
            self.outputs.push_back((self.round, node, ask));
        }
    }

    fn ask_all(&mut self, step: Step, ask: &KeeperAsk) {
        let asks: Vec<_> = self.members.iter().map(|node| (node.clone(), ask.clone())).collect();
        self.ask(step, asks);
    }

    fn end(&mut self, outcome: CommandOutcome) {
        self.step = Step::Over;
        self.outcome = Some(outcome);
    }

    fn look(&mut self) {
        self.looks += 1;
        self.refused.clear();
        if self.looks > LOOKS_MAX {
            return self.end(CommandOutcome::UnderWay(self.members.clone()));
        }
        self.ask_all(Step::Read, &KeeperAsk::Read);
    }

    fn answers(&self) -> impl Iterator<Item = (&NodeName, &Answer)> {
        self.heard.iter().filter_map(|(node, answer)| Some((node, answer.as_ref()?)))
    }

    fn away(&self) -> BTreeSet<NodeName> {
        self.heard.iter().filter(|(_, answer)| answer.is_none()).map(|(node, _)| node.clone()).collect()
    }

    /// All that can be known of the members is known: what is to be done?
    fn decide(&mut self) {
        for forgotten in forgotten(&self.heard) {
            self.leave_out(&forgotten);
        }
        let fenced = self.answers().find_map(|(_, answer)| answer.kept.fence.as_ref().map(|fence| fence.node.clone()));
        if let (Some(fenced), OperatorCommand::Resume | OperatorCommand::Abort) = (fenced, &self.command) {
            // What it has is not taken; that it can be asked changes nothing.
            self.leave_out(&fenced);
        }
        let Some(seen) = Seen::of(&self.heard) else { return self.end(CommandOutcome::Unknown(self.away())) };
        if seen.is_forked {
            return self.end(CommandOutcome::Fork(seen.epoch));
        }
        if let Some((record, held_by)) = seen.newest.clone()
            && !seen.behind.is_empty()
        {
            let give = |node| (node, KeeperAsk::Take(Arc::clone(&record), held_by.clone()));
            return self.ask(Step::Spread, seen.behind.into_iter().map(give).collect::<Vec<_>>());
        }
        match self.command.clone() {
            OperatorCommand::Make(change) => self.make(&change, &seen),
            OperatorCommand::Resume => self.resume(&seen),
            OperatorCommand::Abort => self.abort(&seen),
            OperatorCommand::Brake(_) => {}
        }
    }

    /// Who was behind has the record, or says why not.
    fn spread(&mut self) {
        let refused: BTreeSet<_> = self.refusals().into_keys().collect();
        if refused.is_empty() { self.look() } else { self.end(CommandOutcome::UnderWay(refused)) }
    }

    fn make(&mut self, change: &ClusterChange, seen: &Seen) {
        let away = self.away();
        if change.is_made(seen.record()) {
            return self.settled(seen.epoch);
        }
        if let Some(open) = seen.open() {
            if open.change == *change && self.guards.equal_wishes_are_one() {
                self.members.clone_from(&open.members);
                self.intent = Some(Arc::clone(open));
                return self.turnstile();
            }
            let forgets_one_away = matches!(change, ClusterChange::Forget { node, .. } if !open.forgets(node));
            if !forgets_one_away {
                return self.end(CommandOutcome::Theirs { by: Arc::clone(&open.by), what: open.told() });
            }
        }
        if let Some(fence) = &seen.fence
            && !matches!(change, ClusterChange::Forget { node, .. } if fence.node == *node)
        {
            let what = format!("forget {}", fence.node);
            return self.end(CommandOutcome::Theirs { by: Arc::clone(&fence.by), what });
        }
        if !away.is_empty() {
            return self.end(CommandOutcome::Unknown(away));
        }
        if seen.is_half_closed {
            return self.let_go(seen.next_epoch(), seen.closed);
        }
        let last = seen.last_attempt();
        let intent = self.intend(change.clone(), seen, last.saturating_add(1));
        if let Err(why) = intent.record_guarded(seen.record(), self.guards) {
            let first = self.members.first().cloned().into_iter();
            return self.end(CommandOutcome::Refused(first.map(|node| (node, No::Illegal(why.clone()))).collect()));
        }
        self.intent = Some(intent);
        match change {
            ClusterChange::Forget { node, loss } if self.guards.forgets_behind_a_fence() => {
                let (by, at) = (Arc::clone(&self.by), self.at);
                let (node, others) = (node.clone(), self.members.clone());
                let fence = Arc::new(Fence { node, loss: *loss, others, by, at });
                self.ask_all(Step::Freeze(last), &KeeperAsk::Freeze { epoch: seen.next_epoch(), attempt: last, fence });
            }
            _ => self.turnstile(),
        }
    }

    fn intend(&self, change: ClusterChange, seen: &Seen, attempt: u64) -> Arc<Intent> {
        let lives = self.answers().map(|(node, answer)| (node.clone(), answer.life)).collect();
        Arc::new(Intent {
            cluster: Arc::clone(&self.cluster),
            epoch: seen.next_epoch(),
            attempt,
            previous: seen.record().map_or_else(Digest::default, ClusterRecord::digest),
            change,
            members: self.members.clone(),
            lives,
            by: Arc::clone(&self.by),
            at: self.at,
        })
    }

    fn resume(&mut self, seen: &Seen) {
        if let Some(open) = seen.open() {
            self.members.clone_from(&open.members);
            let is_one = self.guards.equal_wishes_are_one();
            let anew = || self.intend(open.change.clone(), seen, seen.last_attempt().saturating_add(1));
            let intent = if is_one { Arc::clone(open) } else { anew() };
            self.intent = Some(Arc::clone(&intent));
            if self.guards.a_yes_is_no_commit() {
                return self.turnstile();
            }
            let votes = intent.members.clone();
            return self.ask_all(Step::Commit, &KeeperAsk::Commit(intent, votes));
        }
        if let Some(fence) = &seen.fence {
            (self.by, self.at) = (Arc::clone(&fence.by), fence.at);
            return self.make(&ClusterChange::Forget { node: fence.node.clone(), loss: fence.loss }, seen);
        }
        if seen.vote.is_some() {
            // A yes to what is closed elsewhere.
            return self.let_go(seen.next_epoch(), seen.closed);
        }
        self.settled(seen.epoch);
    }

    fn abort(&mut self, seen: &Seen) {
        self.spares = seen.fence.as_ref().map(|fence| fence.node.clone());
        let behind_fence = seen.fence.as_ref().map(|_| seen.closed.saturating_add(1));
        let Some(attempt) = seen.open().map(|open| open.attempt).or(behind_fence) else {
            return match &seen.vote {
                Some(_) => self.let_go(seen.next_epoch(), seen.closed),
                None => self.settled(seen.epoch),
            };
        };
        if let Some(open) = seen.open() {
            self.members.clone_from(&open.members);
        }
        if seen.is_split {
            // Two members have said yes to different intents of one attempt, so neither can have the yes of all.
            return self.let_go(seen.next_epoch(), attempt);
        }
        let says_yes = |answer: &Answer| answer.kept.open_vote().is_some_and(|vote| vote.attempt <= attempt);
        let closer = self.answers().find(|(node, answer)| self.members.contains(*node) && !says_yes(answer));
        match closer.map(|(node, _)| node.clone()) {
            Some(closer) => self.close(seen.next_epoch(), attempt, closer),
            None => {
                let is_away = |node: &&NodeName| self.heard.get(*node).is_none_or(Option::is_none);
                let away: BTreeSet<_> = self.members.iter().filter(is_away).cloned().collect();
                let all = self.members.iter().map(|node| (node.clone(), No::SaidYes)).collect();
                self.end(if away.is_empty() { CommandOutcome::Refused(all) } else { CommandOutcome::Blocked(away) });
            }
        }
    }

    /// There is nothing to do, where all members are known to have the record.
    fn settled(&mut self, epoch: u64) {
        let away = self.away();
        self.end(if away.is_empty() { CommandOutcome::Already(epoch) } else { CommandOutcome::UnderWay(away) });
    }

    /// A member that is about to be forgotten, or was, has no part in it.
    fn leave_out(&mut self, node: &NodeName) {
        self.members.remove(node);
        self.heard.remove(node);
    }

    fn close(&mut self, epoch: u64, attempt: u64, closer: NodeName) {
        self.ask(Step::Close(attempt), [(closer, KeeperAsk::Close { epoch, attempt })]);
    }

    /// Everybody lets go of attempts up to this one.
    fn let_go(&mut self, epoch: u64, attempt: u64) {
        self.ask_all(Step::Abort(attempt), &KeeperAsk::Abort { epoch, attempt });
    }

    fn frozen(&mut self, closed: u64) {
        let (away, refused) = (self.away(), self.refusals());
        if refused.values().any(|no| matches!(no, No::Stale { .. } | No::Closed { .. })) {
            return self.look();
        }
        if let Some(No::Fenced { by, node }) = refused.values().next() {
            return self.end(CommandOutcome::Theirs { by: Arc::clone(by), what: format!("forget {node}") });
        }
        let is_past = |(_, answer): (&NodeName, &Answer)| answer.kept.closed > closed;
        if self.answers().any(is_past) {
            return self.look();
        }
        match (refused.is_empty(), away.is_empty()) {
            (true, true) => self.turnstile(),
            _ => self.end(CommandOutcome::UnderWay(away.into_iter().chain(refused.into_keys()).collect())),
        }
    }

    fn refusals(&self) -> BTreeMap<NodeName, No> {
        let refusal = |(node, answer): (&NodeName, &Answer)| Some((node.clone(), answer.did.clone().err()?));
        self.answers().filter_map(refusal).collect()
    }

    fn turnstile(&mut self) {
        let Some(intent) = self.intent.clone() else { return };
        let first = intent.turnstile().filter(|_| self.guards.asks_one_first()).cloned();
        match first {
            Some(first) => self.ask(Step::Turnstile, [(first, KeeperAsk::Vote(intent))]),
            None => self.ask_all(Step::Vote, &KeeperAsk::Vote(intent)),
        }
    }

    fn voted(&mut self) {
        let Some(intent) = self.intent.clone() else { return };
        let epoch = intent.epoch;
        let (away, refused) = (self.away(), self.refusals());
        let is_first = self.step == Step::Turnstile;
        for no in refused.clone().values() {
            match no {
                No::Busy { by, what } => {
                    return self.end(CommandOutcome::Theirs { by: Arc::clone(by), what: what.clone() });
                }
                No::Fenced { by, node } if !intent.forgets(node) => {
                    return self.end(CommandOutcome::Theirs { by: Arc::clone(by), what: format!("forget {node}") });
                }
                // The record has moved: look where to.
                No::Stale { .. } => return self.look(),
                No::Closed { .. } => {
                    self.refused = refused;
                    return self.let_go(intent.epoch, intent.attempt);
                }
                _ => {}
            }
        }
        if !refused.is_empty() {
            // Who refuses has not said yes, and can close the attempt, if its disk takes that.
            let can_close = |(_, no): &(&NodeName, &No)| **no != No::Disk;
            let Some(closer) = refused.iter().find(can_close).map(|(node, _)| node.clone()) else {
                return self.end(CommandOutcome::UnderWay(refused.into_keys().collect()));
            };
            if !self.guards.refusals_are_told() {
                return self.end(CommandOutcome::Done(epoch));
            }
            self.refused = refused;
            return self.close(intent.epoch, intent.attempt, closer);
        }
        if self.guards.lacks_votes(away.len(), intent.members.len()) {
            return self.end(CommandOutcome::UnderWay(away));
        }
        if is_first {
            self.ask_all(Step::Vote, &KeeperAsk::Vote(intent));
        } else {
            let says_yes = |node: &&NodeName| !away.contains(*node) || !self.guards.silence_is_no_yes();
            let votes = intent.members.iter().filter(says_yes).cloned().collect();
            self.ask_all(Step::Commit, &KeeperAsk::Commit(intent, votes));
            self.outcome = (!self.guards.done_once_all_say_so()).then_some(CommandOutcome::Done(epoch));
        }
    }

    fn committed(&mut self) {
        let Some(intent) = self.intent.clone() else { return };
        let (away, refused) = (self.away(), self.refusals());
        if refused.values().any(|no| matches!(no, No::Stale { .. })) {
            return self.look();
        }
        let missing: BTreeSet<_> = away.into_iter().chain(refused.into_keys()).collect();
        self.end(if missing.is_empty() {
            CommandOutcome::Done(intent.epoch)
        } else {
            CommandOutcome::UnderWay(missing)
        });
    }

    fn closed(&mut self, attempt: u64) {
        let answer = self.heard.values().next().cloned().flatten();
        match answer.map(|answer| (answer.did, answer.kept.epoch())) {
            Some((Ok(()), epoch)) => {
                self.let_go(epoch.saturating_add(1), attempt);
                if !self.guards.given_up_once_all_let_go() && self.command == OperatorCommand::Abort {
                    self.outcome = Some(CommandOutcome::Aborted { epoch: epoch.saturating_add(1), attempt });
                }
            }
            // It has said yes meanwhile, or the record has moved.
            Some((Err(No::SaidYes | No::Stale { .. }), _)) => self.look(),
            Some((Err(_), _)) => self.end(CommandOutcome::UnderWay(self.refusals().into_keys().collect())),
            None => self.end(CommandOutcome::UnderWay(self.away())),
        }
    }

    fn aborted(&mut self, attempt: u64) {
        let (away, refused) = (self.away(), self.refusals());
        let epoch = self.answers().map(|(_, answer)| answer.kept.epoch()).max().unwrap_or(0).saturating_add(1);
        if refused.values().any(|no| matches!(no, No::Stale { .. })) {
            return self.look();
        }
        let missing: BTreeSet<_> = away.into_iter().chain(refused.into_keys()).collect();
        let outcome = match (missing.is_empty(), &self.command, self.refused.is_empty()) {
            (false, ..) => CommandOutcome::UnderWay(missing),
            (true, OperatorCommand::Abort, _) => {
                self.spares.take().map_or(CommandOutcome::Aborted { epoch, attempt }, CommandOutcome::Spared)
            }
            (true, _, false) => CommandOutcome::Refused(self.refused.clone()),
            // What stood in the way is gone: now for what was asked.
            (true, _, true) => return self.look(),
        };
        self.end(outcome);
    }

    fn braked(&mut self) {
        let (away, refused) = (self.away(), self.refusals());
        let epoch = self.answers().map(|(_, answer)| answer.kept.epoch()).max().unwrap_or(0);
        let missing: BTreeSet<_> = away.into_iter().chain(refused.into_keys()).collect();
        let outcome = match () {
            () if missing.len() == self.members.len() => CommandOutcome::Unknown(missing),
            () if missing.is_empty() => CommandOutcome::Done(epoch),
            () => CommandOutcome::UnderWay(missing),
        };
        self.end(outcome);
    }
}

/// How often a driver looks at all members before it leaves the rest to the next: the record does not move that often
/// while one command is under way.
const LOOKS_MAX: u32 = 8;
