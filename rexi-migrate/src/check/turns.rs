//! What identifies a cluster whatever its nodes are called: the least of its fingerprints under all turns of names.
//!
//! A turn exchanges the names of nodes throughout: in rollouts, in the singletons' callers, in hellos on their way, in
//! the observer's records. States that a turn leads into each other have the same set of fingerprints, so the same
//! least one; any others differ in all of them, except for a collision of 128 bits.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rexi_proto::{Caller, Hello, NodeName, PeerId, Standing};

use super::state::{Pair, Printed, Stage, State, pair};
use crate::model::{CallRecord, Job, Monitor, member_id, name};
use crate::search::{Fingerprint, Recorder};

/// All turns of the names of this many nodes; the first leaves them as they are.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    names: Vec<NodeName>,
    turns: Vec<Turn>,
}

/// Where each node goes, and who comes to each place.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) to: Vec<usize>,
    pub(super) from: Vec<usize>,
}

impl Turns {
    /// All turns, or with `symmetry` off the one that changes nothing.
    pub(super) fn new(nodes: usize, symmetry: bool) -> Self {
        let mut orders = vec![(0..nodes).collect::<Vec<_>>()];
        if symmetry {
            orders = orders_of(nodes);
        }
        let turns = orders.into_iter().map(|from| {
            let mut to = vec![0; nodes];
            from.iter().enumerate().for_each(|(place, &node)| to[node] = place);
            Turn { to, from }
        });
        Self { names: (0..nodes).map(name).collect(), turns: turns.collect() }
    }

    pub(super) fn name(&self, turn: &Turn, name: &NodeName) -> NodeName {
        let node = self.names.iter().position(|known| known == name).expect("there are no other names");
        self.names[turn.to[node]].clone()
    }

    /// A fingerprint for each turn.
    fn each(&self, record: impl Fn(&Turn, &mut Recorder)) -> Vec<Fingerprint> {
        self.turns.iter().map(|turn| Fingerprint::recorded(|recorder| record(turn, recorder))).collect()
    }

    /// Notes whom this node believes to say the old form of each migration.
    pub(super) fn note_holdouts(&self, node: &mut Printed) {
        let hello = node.hello();
        let of = |standing: &Standing| {
            let known = self.names.iter().enumerate().filter(|(_, name)| standing.holdouts.contains(name));
            known.fold(0, |all, (member, _)| all | 1 << member)
        };
        node.holdouts = hello.migrations.iter().map(of).collect();
    }

    pub(super) fn print_rollout(&self, node: &mut Printed) {
        let rollout = &node.rollout;
        let record = |turn: &Turn, into: &mut Recorder| rollout.renamed(|name| self.name(turn, name)).hash(into);
        node.prints.rollout = Arc::new(self.each(record));
    }

    pub(super) fn print_singleton(&self, node: &mut Printed) {
        let singleton = node.singleton.as_ref();
        let record = |turn: &Turn, into: &mut Recorder| {
            singleton.map(|server| server.renamed(|peer| turned(turn, peer))).hash(into);
        };
        node.prints.singleton = Arc::new(self.each(record));
    }

    /// The node as a whole; its parts must be printed before.
    pub(super) fn print_node(&self, node: &mut Printed) {
        let record = |(number, turn): (usize, &Turn), into: &mut Recorder| {
            (node.release, node.life, &node.ceilings).hash(into);
            node.prints.rollout[number].hash(into);
            node.prints.singleton[number].hash(into);
            node.queue.len().hash(into);
            for (caller, request) in &node.queue {
                (Caller { peer: turned(turn, caller.peer), ..*caller }, request).hash(into);
            }
            for &member in turn.from.iter().filter(|&&member| member != node.index) {
                node.prints.peers[member].hash(into);
            }
            let key = |job: &Job| {
                let caller = Caller { peer: member_id(turn.to[job.member]), ..job.key.caller };
                (caller, job.key.server, job.key.call, job.key.id, job.call, job.waits, job.over)
            };
            let mut jobs: Vec<_> = node.jobs.iter().map(key).collect();
            jobs.sort_unstable();
            jobs.hash(into);
        };
        let print = |numbered| Fingerprint::recorded(|into| record(numbered, into));
        node.prints.whole = self.turns.iter().enumerate().map(print).collect();
    }

    /// The state as a whole; its nodes and pairs must be printed before.
    pub(super) fn print(&self, state: &State) -> Fingerprint {
        let print = |(number, turn)| Fingerprint::recorded(|into| self.record(state, number, turn, into));
        self.turns.iter().enumerate().map(print).min().unwrap_or_default()
    }

    fn record(&self, state: &State, number: usize, turn: &Turn, into: &mut Recorder) {
        for (place, &node) in turn.from.iter().enumerate() {
            into.write_u128(state.nodes[node].prints.whole[number].0);
            for &other in &turn.from[..place] {
                let (at, side) = pair(other, node);
                let pair = &state.pairs[at];
                into.write_u128(pair.prints[side].0);
                self.record_hellos(&pair.stage, turn, into);
            }
        }
        for call in &state.notes.calls {
            let (by, to) = if call.over { (0, 0) } else { (turn.to[call.by], turn.to[call.to]) };
            CallRecord { by, to, ..call.clone() }.hash(into);
        }
        for watch in &state.notes.monitors {
            let (by, to) = (turn.to[watch.by], turn.to[watch.to]);
            Monitor { by, to, ..*watch }.hash(into);
        }
        state.used.hash(into);
        state.broken.is_some().hash(into);
    }

    fn record_hellos(&self, stage: &Stage, turn: &Turn, into: &mut Recorder) {
        match stage {
            Stage::Down | Stage::Up => {}
            Stage::Dialed(_, hello) => self.hello(hello, turn).hash(into),
            Stage::Accepted(_, hellos) => {
                // The dialer's first.
                hellos.iter().for_each(|hello| self.hello(hello, turn).hash(into));
            }
        }
    }

    /// A hello under other names.
    pub(super) fn hello(&self, hello: &Hello, turn: &Turn) -> Hello {
        let standing = |standing: &Standing| {
            let mut holdouts: Vec<NodeName> = standing.holdouts.iter().map(|name| self.name(turn, name)).collect();
            holdouts.sort_unstable();
            Standing { holdouts, ..standing.clone() }
        };
        let migrations = hello.migrations.iter().map(standing).collect();
        Hello { node: self.name(turn, &hello.node), migrations, ..hello.clone() }
    }
}

/// What a pair is known by, seen from either side.
pub(super) fn print_pair(pair: &Pair) -> [Fingerprint; 2] {
    let Pair { stage, ways, late, .. } = pair;
    [0, 1].map(|first| {
        let stage = match stage {
            Stage::Down => (0, 0),
            Stage::Dialed(side, _) => (1, side ^ first),
            Stage::Accepted(side, _) => (2, side ^ first),
            Stage::Up => (3, 0),
        };
        let both = [first, 1 - first].map(|side| (&ways[side], &late[side]));
        Fingerprint::of(&(stage, both))
    })
}

/// A caller's number after a turn.
pub(super) fn turned(turn: &Turn, peer: PeerId) -> PeerId {
    member_id(turn.to[peer.0 as usize])
}

/// Every order of this many nodes, the natural one first.
pub(super) fn orders_of(nodes: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in 0..nodes {
        let longer = |order: Vec<usize>| {
            let free: Vec<usize> = (0..nodes).filter(|node| !order.contains(node)).collect();
            free.into_iter().map(move |node| [&order[..], &[node]].concat())
        };
        orders = orders.into_iter().flat_map(longer).collect();
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_every_turn_once_and_the_first_changes_nothing() {
        for (nodes, count) in [(2, 2), (3, 6), (4, 24), (5, 120)] {
            let orders = orders_of(nodes);
            assert_eq!(orders.len(), count);
            assert_eq!(orders[0], (0..nodes).collect::<Vec<_>>());
            let distinct: std::collections::BTreeSet<_> = orders.iter().collect();
            assert_eq!(distinct.len(), count);
        }
    }
}
