//! What all members that were asked have told, taken together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rexi_proto::operate::MemberLook;
use rexi_proto::record::{Brake, ClusterRecord, Digest, Intent, Kept};
use rexi_proto::{MigrationKey, NodeName, Phase, Release};

/// A cluster as its members tell of it.
#[derive(Clone, Debug)]
pub struct Cluster {
    looks: BTreeMap<NodeName, Result<MemberLook, String>>,
}

/// A change that is under way, from what the disks hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What was asked.
    pub what: String,
    /// The operator.
    pub by: Arc<str>,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who has said yes.
    pub yes: BTreeSet<NodeName>,
    /// Who has it on the disk already.
    pub done: BTreeSet<NodeName>,
    /// Who is waited for.
    pub waited_for: BTreeSet<NodeName>,
}

/// Why a cluster is not where it should be, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standstill {
    /// Two members have different records of one epoch, or of different clusters.
    Fork,
    /// A member did not answer.
    Unreached,
    /// A change is under way, or a member is behind.
    UnderWay,
}

impl Cluster {
    /// That of these looks.
    pub fn new(looks: BTreeMap<NodeName, Result<MemberLook, String>>) -> Self {
        Self { looks }
    }

    /// Who was asked.
    pub fn asked(&self) -> impl Iterator<Item = &NodeName> {
        self.looks.keys()
    }

    /// Who answered, and what.
    pub fn answered(&self) -> impl Iterator<Item = (&NodeName, &MemberLook)> {
        self.looks.iter().filter_map(|(node, look)| Some((node, look.as_ref().ok()?)))
    }

    /// Who did not answer, and why.
    pub fn silent(&self) -> impl Iterator<Item = (&NodeName, &str)> {
        self.looks.iter().filter_map(|(node, look)| Some((node, look.as_ref().err()?.as_str())))
    }

    /// What each that answered, and keeps a record, has on its disk.
    pub fn kept(&self) -> impl Iterator<Item = (&NodeName, &Kept)> {
        self.answered().filter_map(|(node, look)| Some((node, &look.answer.as_ref()?.kept)))
    }

    /// The newest record.
    pub fn record(&self) -> Option<&ClusterRecord> {
        let records = self.kept().filter_map(|(_, kept)| kept.record.as_deref());
        records.max_by_key(|record| record.epoch)
    }

    /// The digests of the records on the disks.
    pub fn digests(&self) -> BTreeMap<&NodeName, Option<Digest>> {
        self.kept().map(|(node, kept)| (node, kept.record.as_ref().map(|record| record.digest()))).collect()
    }

    /// The cluster's name, as the first that answered has it.
    pub fn name(&self) -> Option<&str> {
        self.answered().next().map(|(_, look)| &*look.cluster)
    }

    /// Who the members are: by the record, or by the lists where there is none.
    pub fn members(&self) -> BTreeSet<NodeName> {
        match self.record() {
            Some(record) => record.members.clone(),
            None => self.answered().flat_map(|(_, look)| look.members.iter().cloned()).collect(),
        }
    }

    /// What is under way, as far as the disks of those that answered tell.
    pub fn transition(&self) -> Option<Transition> {
        let epoch = self.record().map_or(0, |record| record.epoch);
        let counts = || self.kept().filter(|(node, _)| !self.is_left_out(node));
        let fence = counts().find_map(|(_, kept)| kept.fence.as_ref());
        let votes = || counts().filter_map(|(node, kept)| Some((node, kept.vote.as_ref()?)));
        // A yes at the epoch that a record has by now is over, where it is: that member is behind.
        let open = votes().max_by_key(|(_, vote)| (vote.epoch, vote.attempt)).map(|(_, vote)| Arc::clone(vote));
        let (what, by, at, members) = match (fence, &open) {
            (Some(fence), _) => (fence.told(), Arc::clone(&fence.by), fence.at, fence.others.clone()),
            (None, Some(vote)) => (vote.told(), Arc::clone(&vote.by), vote.at, vote.members.clone()),
            (None, None) => {
                let behind = self.behind();
                let record = self.record().filter(|_| !behind.is_empty())?;
                let done = self.kept().filter(|(_, kept)| kept.epoch() == epoch).map(|(node, _)| node.clone());
                return Some(Transition {
                    what: format!("bring all to epoch {epoch}"),
                    by: Arc::clone(&record.by),
                    at: record.at,
                    yes: BTreeSet::new(),
                    done: done.collect(),
                    waited_for: behind,
                });
            }
        };
        let is_of = |vote: &Arc<Intent>| open.as_ref().is_some_and(|open| open.id() == vote.id());
        let yes: BTreeSet<_> = votes().filter(|(_, vote)| is_of(vote)).map(|(node, _)| node.clone()).collect();
        let becomes = open.as_ref().filter(|open| open.epoch == epoch).map(|open| open.id());
        let has = |kept: &Kept| kept.record.as_ref().is_some_and(|record| Some(record.intent) == becomes);
        let done: BTreeSet<_> = self.kept().filter(|(_, kept)| has(kept)).map(|(node, _)| node.clone()).collect();
        let waited_for = members.into_iter().filter(|node| !yes.contains(node) && !done.contains(node)).collect();
        Some(Transition { what, by, at, yes, done, waited_for })
    }

    /// Members that answered, and have an earlier record than the newest, or none.
    pub fn behind(&self) -> BTreeSet<NodeName> {
        let epoch = self.record().map_or(0, |record| record.epoch);
        let is_behind = |node: &NodeName, kept: &Kept| kept.epoch() < epoch && !self.is_left_out(node);
        self.kept().filter(|(node, kept)| is_behind(node, kept)).map(|(node, _)| node.clone()).collect()
    }

    /// Whether a member was forgotten, and is none again.
    pub fn is_left_out(&self, node: &NodeName) -> bool {
        self.record().is_some_and(|record| record.leaves_out(node))
    }

    /// Whether what a member has on its disk is void: it was forgotten since.
    pub fn is_void(&self, node: &NodeName, kept: &Kept) -> bool {
        let at = self.record().and_then(|record| record.forgotten.get(node));
        self.is_left_out(node) && at.is_some_and(|&at| kept.epoch() < at)
    }

    /// Why nothing more should be asked before somebody has looked, if so.
    pub fn standstill(&self) -> Option<Standstill> {
        let epoch = self.record().map_or(0, |record| record.epoch);
        let of_epoch =
            || self.kept().filter_map(|(_, kept)| kept.record.as_ref()).filter(|record| record.epoch == epoch);
        let differ = of_epoch().any(|record| Some(&**record) != of_epoch().next().map(|first| &**first));
        let origins: BTreeSet<_> = self.kept().filter_map(|(_, kept)| Some(kept.record.as_ref()?.origin)).collect();
        if differ || origins.len() > 1 {
            return Some(Standstill::Fork);
        }
        if self.transition().is_some() {
            return Some(Standstill::UnderWay);
        }
        let members = self.members();
        let is_missing = |node: &NodeName| members.contains(node);
        self.silent().any(|(node, _)| is_missing(node)).then_some(Standstill::Unreached)
    }

    /// The brakes that are on, by the member that each was put on at.
    pub fn brakes(&self) -> BTreeMap<NodeName, Brake> {
        Brake::last_of(self.kept().map(|(_, kept)| kept))
    }

    /// The releases that run, as their trains name them.
    pub fn stops(&self) -> BTreeSet<Release> {
        self.answered().map(|(_, look)| look.life.release).collect()
    }

    /// The lowest phase of each migration that somebody is in, and the highest that anybody's release has.
    pub fn phases(&self) -> BTreeMap<MigrationKey, (Phase, Phase)> {
        let mut phases = BTreeMap::new();
        for phase in self.answered().flat_map(|(_, look)| &look.phases) {
            let (lowest, highest) = phases.entry(phase.migration.clone()).or_insert((phase.phase, phase.highest));
            (*lowest, *highest) = (phase.phase.min(*lowest), phase.highest.max(*highest));
        }
        phases
    }
}
