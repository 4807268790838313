//! The gathers that a ledger records, each with its end.

use std::collections::BTreeMap;

use crate::history::ledger::{CallNumber, Entry, GatherEnd, NodeSet, Outcome, Record};

/// One gather, as its caller saw it.
pub(super) struct Gather {
    /// The process that made it: an index.
    pub(super) by: usize,
    pub(super) number: CallNumber,
    pub(super) begun_us: u64,
    pub(super) need: u32,
    pub(super) members: NodeSet,
    pub(super) limit_us: u64,
    pub(super) end: Option<Ended>,
    /// Its jobs, on all nodes: indexes.
    pub(super) jobs: Vec<usize>,
}

/// The end of a gather.
#[derive(Clone, Copy)]
pub(super) struct Ended {
    pub(super) how: GatherEnd,
    pub(super) at_us: u64,
    pub(super) votes: NodeSet,
    pub(super) wrong: NodeSet,
    pub(super) odd: Option<Outcome>,
}

/// The gathers of one ledger, by number, and how many ends name no gather.
pub(super) fn gathers_of(by: usize, records: &[Record]) -> (Vec<Gather>, usize) {
    let mut gathers = BTreeMap::new();
    let mut strays = 0;
    for Record { at_us, entry } in records {
        match *entry {
            Entry::GatherBegun { gather: number, need, members, limit_ms, .. } => {
                let (need, limit_us, begun_us) = (u32::from(need), u64::from(limit_ms) * 1_000, *at_us);
                let jobs = Vec::new();
                gathers.insert(number, Gather { by, number, begun_us, need, members, limit_us, end: None, jobs });
            }
            Entry::GatherEnded { gather, how, votes, wrong, odd } => match gathers.get_mut(&gather) {
                Some(gather) => gather.end = Some(Ended { how, at_us: *at_us, votes, wrong, odd }),
                None => strays += 1,
            },
            _ => {}
        }
    }
    (gathers.into_values().collect(), strays)
}
