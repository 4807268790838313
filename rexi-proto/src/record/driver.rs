//! Carries an operator's command to all members, and says what came of it.
//!
//! A driver keeps nothing: what it has done is on the members' disks, and the next one goes on from there. It waits for
//! an answer of each member that it asks, or to be told that there will be none; no time decides anything here.

mod decide;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::guards::Guards;
use crate::mutant::Mutants;
use crate::name::NodeName;

use super::step::Step;
use super::{Answer, ClusterChange, CommandOutcome, Digest, Illegal, Intent, KeeperAsk, No, OperatorCommand};

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
    /// What members were asked to say yes to, until all have let go of it: it may come about by somebody else's hand.
    tried: Option<Tried>,
    /// Why the attempt is to be given up.
    refused: BTreeMap<NodeName, No>,
    /// Who is no longer to be forgotten, once the attempt is given up.
    spares: BTreeSet<NodeName>,
    /// How often it has looked at all members.
    looks: u32,
    /// How often it has asked: an answer to what was asked before counts for nothing.
    round: u64,
    outputs: VecDeque<(u64, NodeName, KeeperAsk)>,
    outcome: Option<CommandOutcome>,
    /// The record that the operator has looked at: where another has come since, the command is not begun.
    looked_at: Option<Digest>,
    guards: Guards,
}

/// An intent that members may have said yes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Tried {
    intent: Arc<Intent>,
    /// The record that it becomes, if it does.
    record: Digest,
}

/// What has become of what was tried.
enum Fate {
    /// Nothing yet, or nothing was tried.
    Open,
    /// At this epoch.
    Made(u64),
    /// Another change came in its place.
    Void,
    /// The record has moved on too far to say.
    Untold,
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
            tried: None,
            refused: BTreeMap::new(),
            spares: BTreeSet::new(),
            looks: 0,
            round: 0,
            outputs: VecDeque::new(),
            outcome: None,
            looked_at: None,
            guards: Guards::without(mutants),
        };
        if let OperatorCommand::Make(ClusterChange::Forget { nodes, .. }) = &driver.command
            && driver.guards.forgets_without_asking()
        {
            driver.members.retain(|node| !nodes.contains(node));
            if driver.members.is_empty() {
                let nobody = |node: &NodeName| (node.clone(), No::Illegal(Illegal::NobodyLeft));
                driver.outcome = Some(CommandOutcome::Refused(nodes.iter().map(nobody).collect()));
                return driver;
            }
        }
        driver.begin();
        driver
    }

    /// The same command, of an operator who has looked at this record: it is not begun on another.
    #[must_use]
    pub fn looked_at(self, record: Digest) -> Self {
        Self { looked_at: Some(record), ..self }
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

    /// The last intent that members were asked to say yes to, unless all have let go of it.
    pub fn tried(&self) -> Option<&Arc<Intent>> {
        self.tried.as_ref().map(|tried| &tried.intent)
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
                Step::Undo(attempt) => self.undone(attempt),
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

    fn end_as_theirs(&mut self, by: &Arc<str>, what: String) {
        self.end(CommandOutcome::Theirs { by: Arc::clone(by), what });
    }

    fn look(&mut self) {
        self.looks += 1;
        self.refused.clear();
        self.intent = None;
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

    /// Who can say neither yes nor no, since what it has said before is lost.
    fn anew(&self) -> BTreeMap<NodeName, No> {
        let is_silent = self.guards.who_came_anew_is_silent();
        let since = |answer: &Answer| answer.kept.anew.filter(|_| is_silent);
        self.answers().filter_map(|(node, answer)| Some((node.clone(), No::Anew { since: since(answer)? }))).collect()
    }

    /// Who was behind has the record, or says why not.
    fn spread(&mut self) {
        let refused: BTreeSet<_> = self.refusals().into_keys().collect();
        if refused.is_empty() { self.look() } else { self.end(CommandOutcome::UnderWay(refused)) }
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
        if let Some(No::Fenced { by, nodes }) = refused.values().next() {
            return self.end_as_theirs(by, format!("forget {nodes}"));
        }
        let is_past = |(_, answer): (&NodeName, &Answer)| answer.kept.closed > closed;
        if self.answers().any(is_past) {
            return self.look();
        }
        let has_record = self.answers().any(|(_, answer)| answer.kept.record.is_some());
        match (refused.is_empty(), away.is_empty()) {
            (true, true) if has_record => self.turnstile(),
            (true, true) => {
                let attempt = closed.saturating_add(1);
                self.ask_all(Step::Undo(attempt), &KeeperAsk::Abort { epoch: 1, attempt });
            }
            _ => self.end(CommandOutcome::UnderWay(self.missing())),
        }
    }

    fn refusals(&self) -> BTreeMap<NodeName, No> {
        let refusal = |(node, answer): (&NodeName, &Answer)| Some((node.clone(), answer.did.clone().err()?));
        self.answers().filter_map(refusal).collect()
    }

    /// Who has not done what was asked: those who are away, and those who refuse.
    fn missing(&self) -> BTreeSet<NodeName> {
        self.away().into_iter().chain(self.refusals().into_keys()).collect()
    }

    /// Whether the record has moved meanwhile.
    fn has_moved(&self) -> bool {
        self.refusals().values().any(|no| matches!(no, No::Stale { .. }))
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
                    return self.end_as_theirs(by, what.clone());
                }
                No::Fenced { by, nodes } => {
                    return self.end_as_theirs(by, format!("forget {nodes}"));
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
            // Who refuses has not said yes, and can close the attempt, if it knows that and its disk takes it.
            let can_close = |(_, no): &(&NodeName, &No)| !matches!(no, No::Disk | No::Anew { .. });
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
        if self.has_moved() {
            return self.look();
        }
        let missing = self.missing();
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
        let epoch = self.answers().map(|(_, answer)| answer.kept.epoch()).max().unwrap_or(0).saturating_add(1);
        if self.has_moved() {
            return self.look();
        }
        let missing = self.missing();
        if missing.is_empty() {
            self.tried = None;
        }
        let outcome = match (missing.is_empty(), &self.command, self.refused.is_empty()) {
            (false, ..) => CommandOutcome::UnderWay(missing),
            (true, OperatorCommand::Abort, _) if self.spares.is_empty() => CommandOutcome::Aborted { epoch, attempt },
            (true, OperatorCommand::Abort, _) => CommandOutcome::Spared(self.spares.clone()),
            (true, _, false) => CommandOutcome::Refused(self.refused.clone()),
            // What stood in the way is gone: now for what was asked.
            (true, _, true) => return self.look(),
        };
        self.end(outcome);
    }

    fn undone(&mut self, attempt: u64) {
        if self.has_moved() {
            return self.look();
        }
        let missing = self.missing();
        self.end(match missing.is_empty() {
            true => CommandOutcome::Aborted { epoch: 1, attempt },
            false => CommandOutcome::UnderWay(missing),
        });
    }

    fn braked(&mut self) {
        let epoch = self.answers().map(|(_, answer)| answer.kept.epoch()).max().unwrap_or(0);
        let missing = self.missing();
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

#[cfg(test)]
mod tests;
