//! Carries an operator's command to all members, and says what came of it.
//!
//! A driver keeps nothing: what it has done is on the members' disks, and the next one goes on from there. It waits for
//! an answer of each member that it asks, or to be told that there will be none; no time decides anything here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::guards::Guards;
use crate::migration::MigrationKey;
use crate::mutant::Mutants;
use crate::name::NodeName;
use crate::phase::Phase;

use super::{Answer, Ask, Change, Digest, Fence, Intent, No, Record};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// A change of the record.
    Make(Change),
    /// To end the change that is under way, forwards.
    Resume,
    /// To end it backwards.
    Abort,
    /// To brake, without anybody's yes.
    Brake(BTreeMap<MigrationKey, Phase>),
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is done: all members have said so, from their disks. The record's epoch.
    Done(u64),
    /// There was nothing to do: all members have it already.
    Already(u64),
    /// These members refused; nothing has changed.
    Refused(BTreeMap<NodeName, No>),
    /// These members could not be asked; nothing has changed.
    Unknown(BTreeSet<NodeName>),
    /// It is recorded, and these have yet to say that they have it: go on with [`Command::Resume`].
    UnderWay(BTreeSet<NodeName>),
    /// Somebody else's change is under way, or came first.
    Theirs {
        /// The operator.
        by: Arc<str>,
        /// What the change is.
        what: String,
    },
    /// Attempts up to this one, at this epoch, were given up everywhere.
    Aborted {
        /// The epoch.
        epoch: u64,
        /// The attempt.
        attempt: u64,
    },
    /// It can be neither ended nor given up before these answer, or are forgotten.
    Blocked(BTreeSet<NodeName>),
    /// Two members have different records of this epoch, which cannot be.
    Fork(u64),
}

/// What is being waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// What all keep.
    Read,
    /// Members that were behind take the record.
    Spread,
    /// Attempts before a forgetting are closed, and the member is fenced off.
    Freeze(u64),
    /// The first yes.
    Turnstile,
    /// All others.
    Vote,
    /// The record.
    Commit,
    /// One member closes the attempt.
    Close(u64),
    /// The others let go of it.
    Abort(u64),
    /// The brake.
    Brake,
    /// Nothing more.
    Over,
}

/// One command on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Driver {
    command: Command,
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
    /// How often it has looked at all members.
    looks: u32,
    /// How often it has asked: an answer to what was asked before counts for nothing.
    round: u64,
    outputs: VecDeque<(u64, NodeName, Ask)>,
    outcome: Option<Outcome>,
    guards: Guards,
}

impl Driver {
    /// A command of an operator, for a cluster of these members.
    pub fn new(
        command: Command,
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
            looks: 0,
            round: 0,
            outputs: VecDeque::new(),
            outcome: None,
            guards: Guards::without(mutants),
        };
        if let Command::Make(Change::Forget { node, .. }) = &driver.command
            && driver.guards.forgets_without_asking()
        {
            driver.members.remove(node);
        }
        driver.begin();
        driver
    }

    fn begin(&mut self) {
        match &self.command {
            Command::Brake(ceilings) => {
                let ask = Ask::Brake { ceilings: ceilings.clone(), by: Arc::clone(&self.by), at: self.at };
                self.ask_all(Step::Brake, &ask);
            }
            _ => self.look(),
        }
    }

    /// Whom to ask what next, in which round.
    pub fn poll_output(&mut self) -> Option<(u64, NodeName, Ask)> {
        self.outputs.pop_front()
    }

    /// What came of it, once that is known.
    pub fn outcome(&self) -> Option<&Outcome> {
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
                Step::Spread => self.look(),
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

    fn ask(&mut self, step: Step, asks: impl IntoIterator<Item = (NodeName, Ask)>) {
        self.step = step;
        self.round += 1;
        self.heard.clear();
        for (node, ask) in asks {
            self.waiting.insert(node.clone());
            self.outputs.push_back((self.round, node, ask));
        }
    }

    fn ask_all(&mut self, step: Step, ask: &Ask) {
        let asks: Vec<_> = self.members.iter().map(|node| (node.clone(), ask.clone())).collect();
        self.ask(step, asks);
    }

    fn end(&mut self, outcome: Outcome) {
        self.step = Step::Over;
        self.outcome = Some(outcome);
    }

    fn look(&mut self) {
        self.looks += 1;
        if self.looks > LOOKS_MAX {
            return self.end(Outcome::UnderWay(self.members.clone()));
        }
        self.ask_all(Step::Read, &Ask::Read);
    }

    fn answers(&self) -> impl Iterator<Item = (&NodeName, &Answer)> {
        self.heard.iter().filter_map(|(node, answer)| Some((node, answer.as_ref()?)))
    }

    fn away(&self) -> BTreeSet<NodeName> {
        self.heard.iter().filter(|(_, answer)| answer.is_none()).map(|(node, _)| node.clone()).collect()
    }

    /// All that can be known of the members is known: what is to be done?
    fn decide(&mut self) {
        for forgotten in self.forgotten() {
            self.leave_out(&forgotten);
        }
        let newest = self.answers().filter_map(|(node, answer)| Some((answer.kept.record.clone()?, node.clone())));
        let newest: Option<(Arc<Record>, NodeName)> = newest.max_by_key(|(record, _)| record.epoch);
        let Some(epoch) = newest.as_ref().map(|(record, _)| record.epoch).or_else(|| {
            // Without any answer there is nothing to go by.
            self.answers().next().map(|_| 0)
        }) else {
            return self.end(Outcome::Unknown(self.away()));
        };
        if let Some((record, held_by)) = &newest {
            let is_other = |(_, answer): &(&NodeName, &Answer)| {
                answer.kept.record.as_ref().is_some_and(|theirs| theirs.epoch == epoch && theirs != record)
            };
            if self.answers().any(|answer| is_other(&answer)) {
                return self.end(Outcome::Fork(epoch));
            }
            let behind: Vec<_> = self
                .answers()
                .filter(|(_, answer)| answer.kept.epoch() < epoch)
                .map(|(node, _)| (node.clone(), Ask::Take(Arc::clone(record), held_by.clone())))
                .collect();
            if !behind.is_empty() && self.looks < LOOKS_MAX {
                return self.ask(Step::Spread, behind);
            }
        }
        let record = newest.map(|(record, _)| record);
        let closed = self.answers().map(|(_, answer)| answer.kept.closed).max().unwrap_or(0);
        let vote = self.answers().filter_map(|(_, answer)| answer.kept.vote.clone()).max_by_key(|vote| vote.attempt);
        let fence = self.answers().find_map(|(_, answer)| answer.kept.fence.clone());
        let seen = Seen { epoch, record, vote, fence, closed };
        match self.command.clone() {
            Command::Make(change) => self.make(&change, &seen),
            Command::Resume => self.resume(&seen),
            Command::Abort => self.abort(&seen),
            Command::Brake(_) => {}
        }
    }

    fn make(&mut self, change: &Change, seen: &Seen) {
        let away = self.away();
        if change.is_made(seen.record.as_deref()) {
            return self.settled(seen.epoch);
        }
        if let Some(open) = seen.open() {
            if open.change == *change && self.guards.equal_wishes_are_one() {
                self.intent = Some(Arc::clone(open));
                return self.turnstile();
            }
            let forgets_one_away = matches!(change, Change::Forget { node, .. } if !open.forgets(node));
            if !forgets_one_away {
                return self.end(Outcome::Theirs { by: Arc::clone(&open.by), what: open.told() });
            }
        }
        if let Some(fence) = &seen.fence
            && !matches!(change, Change::Forget { node, .. } if fence.node == *node)
        {
            let what = format!("forget {}", fence.node);
            return self.end(Outcome::Theirs { by: Arc::clone(&fence.by), what });
        }
        if !away.is_empty() {
            return self.end(Outcome::Unknown(away));
        }
        if self.is_half_closed(seen) {
            return self.let_go(seen.epoch + 1, seen.closed);
        }
        let last = seen.last_attempt();
        let intent = self.intend(change.clone(), seen, last + 1);
        if let Err(why) = intent.record_guarded(seen.record.as_deref(), self.guards) {
            let first = self.members.first().cloned().into_iter();
            return self.end(Outcome::Refused(first.map(|node| (node, No::Illegal(why.clone()))).collect()));
        }
        self.intent = Some(intent);
        match change {
            Change::Forget { node, loss } if self.guards.forgets_behind_a_fence() => {
                let (by, at) = (Arc::clone(&self.by), self.at);
                let fence = Arc::new(Fence { node: node.clone(), loss: *loss, by, at });
                self.ask_all(Step::Freeze(last), &Ask::Freeze { epoch: seen.epoch + 1, attempt: last, fence });
            }
            _ => self.turnstile(),
        }
    }

    fn intend(&self, change: Change, seen: &Seen, attempt: u64) -> Arc<Intent> {
        let lives = self.answers().map(|(node, answer)| (node.clone(), answer.life)).collect();
        Arc::new(Intent {
            cluster: Arc::clone(&self.cluster),
            epoch: seen.epoch + 1,
            attempt,
            previous: seen.record.as_ref().map_or_else(Digest::default, |record| record.digest()),
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
            let anew = || self.intend(open.change.clone(), seen, seen.last_attempt() + 1);
            let intent = if is_one { Arc::clone(open) } else { anew() };
            self.intent = Some(Arc::clone(&intent));
            if self.guards.a_yes_is_no_commit() {
                return self.turnstile();
            }
            let votes = intent.members.clone();
            return self.ask_all(Step::Commit, &Ask::Commit(intent, votes));
        }
        if let Some(fence) = &seen.fence {
            self.leave_out(&fence.node);
            (self.by, self.at) = (Arc::clone(&fence.by), fence.at);
            return self.make(&Change::Forget { node: fence.node.clone(), loss: fence.loss }, seen);
        }
        if seen.vote.is_some() {
            // A yes to what is closed elsewhere.
            return self.let_go(seen.epoch + 1, seen.closed);
        }
        self.settled(seen.epoch);
    }

    fn abort(&mut self, seen: &Seen) {
        if let Some(fence) = &seen.fence {
            self.leave_out(&fence.node);
        }
        let behind_fence = seen.fence.as_ref().map(|_| seen.closed + 1);
        let Some(attempt) = seen.open().map(|open| open.attempt).or(behind_fence) else {
            return match &seen.vote {
                Some(_) => self.let_go(seen.epoch + 1, seen.closed),
                None => self.settled(seen.epoch),
            };
        };
        if let Some(open) = seen.open() {
            self.members.clone_from(&open.members);
        }
        if self.is_split(seen.closed) {
            // Two members have said yes to different intents of one attempt, so neither can have the yes of all.
            return self.let_go(seen.epoch + 1, attempt);
        }
        let says_yes = |answer: &Answer| answer.kept.open_vote().is_some_and(|vote| vote.attempt <= attempt);
        let closer = self.answers().find(|(node, answer)| self.members.contains(*node) && !says_yes(answer));
        match closer.map(|(node, _)| node.clone()) {
            Some(closer) => self.close(seen.epoch + 1, attempt, closer),
            None => {
                let away = self.away();
                let all = self.members.iter().map(|node| (node.clone(), No::SaidYes)).collect();
                self.end(if away.is_empty() { Outcome::Refused(all) } else { Outcome::Blocked(away) });
            }
        }
    }

    /// There is nothing to do, where all members are known to have the record.
    fn settled(&mut self, epoch: u64) {
        let away = self.away();
        self.end(if away.is_empty() { Outcome::Already(epoch) } else { Outcome::UnderWay(away) });
    }

    /// Who has answered, and was forgotten by the others: what it has kept is void.
    fn forgotten(&self) -> Vec<NodeName> {
        let records = || self.answers().filter_map(|(node, answer)| Some((node, answer.kept.record.as_ref()?)));
        let forgets = |node: &NodeName, theirs: &Record| {
            let at = records().filter_map(|(_, record)| record.forgotten.get(node)).max();
            at.is_some_and(|&at| theirs.epoch <= at && !theirs.forgotten.contains_key(node))
        };
        records().filter(|(node, theirs)| forgets(node, theirs)).map(|(node, _)| node.clone()).collect()
    }

    /// A member that is about to be forgotten, or was, has no part in it.
    fn leave_out(&mut self, node: &NodeName) {
        self.members.remove(node);
        self.heard.remove(node);
    }

    /// Whether members have said yes to different intents that may still become the record.
    fn is_split(&self, closed: u64) -> bool {
        let open = |(_, answer): (&NodeName, &Answer)| answer.kept.vote.clone().filter(|vote| vote.attempt > closed);
        let mut votes = self.answers().filter_map(open);
        let first = votes.next();
        votes.any(|vote| Some(vote) != first)
    }

    /// Whether a yes stands to what another member has closed.
    fn is_half_closed(&self, seen: &Seen) -> bool {
        let stands = |answer: &Answer| answer.kept.open_vote().is_some_and(|vote| vote.attempt <= seen.closed);
        self.answers().any(|(_, answer)| stands(answer))
    }

    fn close(&mut self, epoch: u64, attempt: u64, closer: NodeName) {
        self.ask(Step::Close(attempt), [(closer, Ask::Close { epoch, attempt })]);
    }

    /// Everybody lets go of attempts up to this one.
    fn let_go(&mut self, epoch: u64, attempt: u64) {
        self.ask_all(Step::Abort(attempt), &Ask::Abort { epoch, attempt });
    }

    fn frozen(&mut self, closed: u64) {
        let (away, refused) = (self.away(), self.refusals());
        if refused.values().any(|no| matches!(no, No::Stale { .. })) {
            return self.look();
        }
        if let Some(No::Fenced { by, node }) = refused.values().next() {
            return self.end(Outcome::Theirs { by: Arc::clone(by), what: format!("forget {node}") });
        }
        let is_past = |(_, answer): (&NodeName, &Answer)| answer.kept.closed > closed;
        if self.answers().any(is_past) {
            return self.look();
        }
        match (refused.is_empty(), away.is_empty()) {
            (true, true) => self.turnstile(),
            _ => self.end(Outcome::UnderWay(away.into_iter().chain(refused.into_keys()).collect())),
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
            Some(first) => self.ask(Step::Turnstile, [(first, Ask::Vote(intent))]),
            None => self.ask_all(Step::Vote, &Ask::Vote(intent)),
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
                    return self.end(Outcome::Theirs { by: Arc::clone(by), what: what.clone() });
                }
                No::Fenced { by, node } if !intent.forgets(node) => {
                    return self.end(Outcome::Theirs { by: Arc::clone(by), what: format!("forget {node}") });
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
        if let Some((node, _)) = refused.first_key_value() {
            // Who refuses has not said yes, and can close the attempt.
            let closer = node.clone();
            if !self.guards.refusals_are_told() {
                return self.end(Outcome::Done(epoch));
            }
            self.refused = refused;
            return self.close(intent.epoch, intent.attempt, closer);
        }
        if self.guards.lacks_votes(away.len(), intent.members.len()) {
            return self.end(Outcome::UnderWay(away));
        }
        if is_first {
            self.ask_all(Step::Vote, &Ask::Vote(intent));
        } else {
            let says_yes = |node: &&NodeName| !away.contains(*node) || !self.guards.silence_is_no_yes();
            let votes = intent.members.iter().filter(says_yes).cloned().collect();
            self.ask_all(Step::Commit, &Ask::Commit(intent, votes));
            self.outcome = (!self.guards.done_once_all_say_so()).then_some(Outcome::Done(epoch));
        }
    }

    fn committed(&mut self) {
        let Some(intent) = self.intent.clone() else { return };
        let (away, refused) = (self.away(), self.refusals());
        if refused.values().any(|no| matches!(no, No::Stale { .. })) {
            return self.look();
        }
        let missing: BTreeSet<_> = away.into_iter().chain(refused.into_keys()).collect();
        self.end(if missing.is_empty() { Outcome::Done(intent.epoch) } else { Outcome::UnderWay(missing) });
    }

    fn closed(&mut self, attempt: u64) {
        let answer = self.heard.values().next().cloned().flatten();
        match answer.map(|answer| (answer.did, answer.kept.epoch())) {
            Some((Ok(()), epoch)) => {
                self.let_go(epoch + 1, attempt);
                if !self.guards.given_up_once_all_let_go() && self.command == Command::Abort {
                    self.outcome = Some(Outcome::Aborted { epoch: epoch + 1, attempt });
                }
            }
            // It has said yes meanwhile, or the record has moved.
            Some((Err(_), _)) => self.look(),
            None => self.end(Outcome::UnderWay(self.away())),
        }
    }

    fn aborted(&mut self, attempt: u64) {
        let (away, refused) = (self.away(), self.refusals());
        let epoch = self.answers().map(|(_, answer)| answer.kept.epoch()).max().unwrap_or(0) + 1;
        if refused.values().any(|no| matches!(no, No::Stale { .. })) {
            return self.look();
        }
        let missing: BTreeSet<_> = away.into_iter().chain(refused.into_keys()).collect();
        let outcome = match (missing.is_empty(), &self.command, self.refused.is_empty()) {
            (false, ..) => Outcome::UnderWay(missing),
            (true, Command::Abort, _) => Outcome::Aborted { epoch, attempt },
            (true, _, false) => Outcome::Refused(self.refused.clone()),
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
            () if missing.len() == self.members.len() => Outcome::Unknown(missing),
            () if missing.is_empty() => Outcome::Done(epoch),
            () => Outcome::UnderWay(missing),
        };
        self.end(outcome);
    }
}

/// What all members that answered keep, taken together.
struct Seen {
    epoch: u64,
    record: Option<Arc<Record>>,
    /// The latest yes.
    vote: Option<Arc<Intent>>,
    fence: Option<Arc<Fence>>,
    /// The last attempt that anybody has closed.
    closed: u64,
}

impl Seen {
    /// The yes that may still become the record.
    fn open(&self) -> Option<&Arc<Intent>> {
        self.vote.as_ref().filter(|vote| vote.attempt > self.closed)
    }

    fn last_attempt(&self) -> u64 {
        self.vote.as_ref().map_or(0, |vote| vote.attempt).max(self.closed)
    }
}

/// How often a driver looks at all members before it leaves the rest to the next: the record does not move that often
/// while one command is under way.
const LOOKS_MAX: u32 = 8;
