//! What a command does next, once all that can be known of the members is known.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::seen::{Seen, forgotten};
use super::super::step::Step;
use super::super::{
    Answer, ClusterChange, ClusterRecord, CommandOutcome, Digest, Fence, Illegal, Intent, KeeperAsk, No,
    OperatorCommand,
};
use super::{Driver, Fate, Tried};
use crate::name::NodeName;

impl Driver {
    /// All that can be known of the members is known: what is to be done?
    pub(super) fn decide(&mut self) {
        for forgotten in forgotten(&self.heard) {
            self.leave_out(&forgotten);
        }
        if let OperatorCommand::Resume | OperatorCommand::Abort = &self.command {
            // What they have is not taken; that they can be asked changes nothing. Of two that are fenced off by each
            // other, as may come of it where one was down, the first goes on.
            let fence = |(node, answer): (&NodeName, &Answer)| Some((node.clone(), answer.kept.fence.clone()?));
            for (holder, fence) in self.answers().filter_map(fence).collect::<Vec<_>>() {
                if self.members.contains(&holder) {
                    fence.nodes.iter().for_each(|fenced| self.leave_out(fenced));
                }
            }
        }
        let Some(seen) = Seen::of(&self.heard) else { return self.end(self.unknown(self.away())) };
        // A list may still name who was forgotten: it is a member again once it answers.
        let is_out = |node: &NodeName| seen.record().is_some_and(|record| record.leaves_out(node));
        for gone in self.away().into_iter().filter(is_out) {
            self.leave_out(&gone);
        }
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

    fn make(&mut self, change: &ClusterChange, seen: &Seen) {
        let away = self.away();
        match self.fate(seen) {
            Fate::Made(_) if !away.is_empty() => return self.end(CommandOutcome::UnderWay(away)),
            Fate::Made(epoch) => return self.end(CommandOutcome::Done(epoch)),
            Fate::Untold => return self.end(CommandOutcome::Overtaken(seen.epoch)),
            Fate::Void => self.tried = None,
            Fate::Open => {}
        }
        if change.is_made(seen.record()) {
            return self.settled(seen.epoch);
        }
        if let Some(record) = seen.record()
            && self.looked_at.is_some_and(|looked_at| looked_at != record.digest())
        {
            return self.end_as_theirs(&record.by, format!("move the record to epoch {}", record.epoch));
        }
        if let Some(open) = seen.open() {
            if open.change == *change && self.guards.equal_wishes_are_one() {
                self.members.clone_from(&open.members);
                self.try_for(Arc::clone(open), seen);
                return self.turnstile();
            }
            let forgets =
                matches!(change, ClusterChange::Forget { nodes, .. } if !nodes.iter().all(|node| open.forgets(node)));
            if !forgets {
                return self.end_as_theirs(&open.by, open.told());
            }
        }
        if let Some(fence) = &seen.fence
            && !matches!(change, ClusterChange::Forget { nodes, .. } if fence.nodes.is_subset(nodes))
        {
            return self.end_as_theirs(&fence.by, fence.told());
        }
        if !away.is_empty() {
            return self.end(self.unknown(away));
        }
        let anew = self.anew();
        if !anew.is_empty() {
            let is_open = seen.vote.is_some() || seen.fence.is_some();
            let blocked = || CommandOutcome::Blocked(anew.keys().cloned().collect());
            return self.end(if is_open { blocked() } else { CommandOutcome::Refused(anew) });
        }
        if seen.is_half_closed {
            return self.let_go(seen.next_epoch(), seen.closed);
        }
        let last = seen.last_attempt();
        let intent = self.intend(change.clone(), seen, last.saturating_add(1));
        let unknown = self.nobody(change, seen).map(|node| Illegal::NoMember { node });
        // Before there is a record, who is forgotten is out of what was to be the first: there is none to say so.
        let is_first = matches!(change, ClusterChange::Forget { .. }) && seen.record().is_none();
        let follows = intent.record_guarded(seen.record(), self.guards);
        if let Some(why) = unknown.or(follows.err().filter(|_| !is_first)) {
            let first = self.members.first().cloned().into_iter();
            return self.end(CommandOutcome::Refused(first.map(|node| (node, No::Illegal(why.clone()))).collect()));
        }
        self.try_for(intent, seen);
        match change {
            ClusterChange::Forget { nodes, loss } if self.guards.forgets_behind_a_fence() => {
                let (by, at) = (Arc::clone(&self.by), self.at);
                let (nodes, others) = (nodes.clone(), self.members.clone());
                let fence = Arc::new(Fence { nodes, loss: *loss, others, by, at });
                self.ask_all(Step::Freeze(last), &KeeperAsk::Freeze { epoch: seen.next_epoch(), attempt: last, fence });
            }
            _ => self.turnstile(),
        }
    }

    /// Who is to be forgotten, and is nobody, by the record and by what is under way.
    fn nobody(&self, change: &ClusterChange, seen: &Seen) -> Option<NodeName> {
        let ClusterChange::Forget { nodes, .. } = change else { return None };
        let is_member = |node: &NodeName| seen.record().is_some_and(|record| record.members.contains(node));
        let is_named = |node: &NodeName| seen.vote.as_ref().is_some_and(|vote| vote.members.contains(node));
        let is_fenced = |node: &NodeName| seen.fence.as_ref().is_some_and(|fence| fence.nodes.contains(node));
        nodes.iter().find(|node| !is_member(node) && !is_named(node) && !is_fenced(node)).cloned()
    }

    /// From now on members may say yes to it.
    fn try_for(&mut self, intent: Arc<Intent>, seen: &Seen) {
        let record = intent.record_guarded(seen.record(), self.guards).map(|record| record.digest());
        self.tried = record.ok().map(|record| Tried { intent: Arc::clone(&intent), record });
        self.intent = Some(intent);
    }

    /// What has become of what was tried, by the newest record.
    fn fate(&self, seen: &Seen) -> Fate {
        let tried = self.tried.as_ref().filter(|_| self.guards.knows_its_change());
        let (Some(tried), Some(record)) = (tried, seen.record()) else { return Fate::Open };
        let (is_made, was_made) = (record.digest() == tried.record, record.previous == tried.record);
        match record.epoch.checked_sub(tried.intent.epoch) {
            None => Fate::Open,
            Some(0) if is_made => Fate::Made(tried.intent.epoch),
            Some(1) if was_made => Fate::Made(tried.intent.epoch),
            Some(0 | 1) => Fate::Void,
            Some(_) => Fate::Untold,
        }
    }

    /// Some did not answer. Nothing has changed, unless one of them has said yes to what was tried.
    fn unknown(&self, away: BTreeSet<NodeName>) -> CommandOutcome {
        if self.tried.is_some() { CommandOutcome::UnderWay(away) } else { CommandOutcome::Unknown(away) }
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
            return self.make(&ClusterChange::Forget { nodes: fence.nodes.clone(), loss: fence.loss }, seen);
        }
        if seen.vote.is_some() {
            // A yes to what is closed elsewhere.
            return self.let_go(seen.next_epoch(), seen.closed);
        }
        self.settled(seen.epoch);
    }

    fn abort(&mut self, seen: &Seen) {
        self.spares = seen.fence.as_ref().map(|fence| fence.nodes.clone()).unwrap_or_default();
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
        let anew = self.anew();
        let can_close = |node: &NodeName| self.members.contains(node) && !anew.contains_key(node);
        let closer = self.answers().find(|(node, answer)| can_close(node) && !says_yes(answer));
        match closer.map(|(node, _)| node.clone()) {
            Some(closer) => self.close(seen.next_epoch(), attempt, closer),
            None => {
                let is_away =
                    |node: &&NodeName| anew.contains_key(*node) || self.heard.get(*node).is_none_or(Option::is_none);
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
}
