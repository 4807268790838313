//! What all members that answered keep, taken together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Answer, ClusterRecord, Fence, Intent};
use crate::name::NodeName;

/// What all members that answered keep, taken together.
pub(super) struct Seen {
    /// The highest epoch.
    pub(super) epoch: u64,
    /// The record of that epoch, and who has it.
    pub(super) newest: Option<(Arc<ClusterRecord>, NodeName)>,
    /// Whether two have different ones.
    pub(super) is_forked: bool,
    /// Who has an earlier one, or none.
    pub(super) behind: Vec<NodeName>,
    /// The latest yes.
    pub(super) vote: Option<Arc<Intent>>,
    /// Who is about to be forgotten.
    pub(super) fence: Option<Arc<Fence>>,
    /// The last attempt that anybody has closed.
    pub(super) closed: u64,
    /// Whether a yes stands, where it was said, to what another member has closed.
    pub(super) is_half_closed: bool,
    /// Whether members have said yes to different intents of the last attempt, so that neither has the yes of all.
    pub(super) is_split: bool,
}

impl Seen {
    /// `None` where nobody has answered.
    pub(super) fn of(heard: &BTreeMap<NodeName, Option<Answer>>) -> Option<Self> {
        let kept = || heard.iter().filter_map(|(node, answer)| Some((node, &answer.as_ref()?.kept)));
        let epoch = kept().map(|(_, kept)| kept.epoch()).max()?;
        let records = || kept().filter_map(|(node, kept)| Some((kept.record.as_ref()?, node)));
        let newest = records().find(|(record, _)| record.epoch == epoch);
        let closed = kept().map(|(_, kept)| kept.closed).max()?;
        let votes = || kept().filter_map(|(_, kept)| kept.vote.as_ref());
        let last = votes().map(|vote| vote.attempt).max();
        let may_become = || votes().filter(|vote| vote.attempt > closed && Some(vote.attempt) == last);
        Some(Self {
            epoch,
            newest: newest.map(|(record, node)| (Arc::clone(record), node.clone())),
            is_forked: records()
                .any(|(other, _)| newest.is_some_and(|(one, _)| one.epoch == other.epoch && one != other)),
            behind: kept().filter(|(_, kept)| kept.epoch() < epoch).map(|(node, _)| node.clone()).collect(),
            vote: votes().max_by_key(|vote| vote.attempt).cloned(),
            fence: kept().find_map(|(_, kept)| kept.fence.clone()),
            closed,
            is_half_closed: kept().any(|(_, kept)| kept.open_vote().is_some_and(|vote| vote.attempt <= closed)),
            is_split: may_become().any(|vote| Some(vote) != may_become().next()),
        })
    }

    /// The record, if there is one.
    pub(super) fn record(&self) -> Option<&ClusterRecord> {
        self.newest.as_ref().map(|(record, _)| &**record)
    }

    /// The yes that may still become the record.
    pub(super) fn open(&self) -> Option<&Arc<Intent>> {
        self.vote.as_ref().filter(|vote| vote.attempt > self.closed)
    }

    /// The epoch that is tried.
    pub(super) fn next_epoch(&self) -> u64 {
        self.epoch.saturating_add(1)
    }

    /// The last attempt that anything is known of.
    pub(super) fn last_attempt(&self) -> u64 {
        self.vote.as_ref().map_or(0, |vote| vote.attempt).max(self.closed)
    }
}

/// Who has answered, and was forgotten by the others: what it has kept is void.
pub(super) fn forgotten(heard: &BTreeMap<NodeName, Option<Answer>>) -> Vec<NodeName> {
    let records = || heard.iter().filter_map(|(node, answer)| Some((node, answer.as_ref()?.kept.record.as_ref()?)));
    let forgets = |node: &NodeName, theirs: &ClusterRecord| {
        let at = records().filter_map(|(_, record)| record.forgotten.get(node)).max();
        at.is_some_and(|&at| theirs.is_void(node, at))
    };
    records().filter(|(node, theirs)| forgets(node, theirs)).map(|(node, _)| node.clone()).collect()
}
