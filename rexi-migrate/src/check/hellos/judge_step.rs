//! What a step between nodes that say hello may break and no later state shows.

use rexi_proto::{Incarnation, Profile, ServerAddress};

use super::oracle::Oracle;
use super::step::Stepper;
use super::witness::Case;
use crate::model::name;

impl Stepper<'_> {
    /// A phase that casts elsewhere than the one before is entered only where each other member has said that it serves
    /// there. A member that has said nothing is not ready.
    pub(super) fn judge_raise(&mut self, index: usize, before: rexi_proto::Phase) {
        let node = &self.state.nodes[index];
        let phase = node.rollout.phase();
        if phase <= before || phase.cast_target() == before.cast_target() {
            return;
        }
        let serves = |release: usize| Profile::train()[release].hosts().contains(phase.cast_target());
        let ready = |seen: &super::state::Seen| seen.hello.is_some_and(|(_, _, release)| serves(release));
        let unready = (0..node.seen.len()).find(|&member| member != index && !ready(&node.seen[member]));
        if let Some(member) = unready {
            let what =
                format!("{} is raised to {phase}, and {} has not said that it serves", name(index), name(member));
            self.breaks(Oracle::RaisedUnready, what);
        }
        self.saw(Case::Raised);
    }

    /// Nobody attaches to a node without a singleton who knew, when it said hello, of a third that still sends to it.
    pub(super) fn judge_holdouts(
        &mut self,
        index: usize,
        member: usize,
        life: Incarnation,
        known: &[(usize, Incarnation)],
    ) {
        let nodes = &self.state.nodes;
        let remover = &nodes[member];
        if remover.life != life || remover.rollout.profile().hosts().contains(ServerAddress::Singleton) {
            return;
        }
        let remains = |&&(third, of): &&(usize, Incarnation)| {
            third != member && nodes[third].life == of && nodes[third].needs_singleton()
        };
        if let Some(&(third, _)) = known.iter().find(remains) {
            let (witness, remover, third) = (name(index), name(member), name(third));
            let what = format!("{witness} attaches to {remover}, which has no singleton, and {third} sends to it");
            self.breaks(Oracle::HoldoutLeftBehind, what);
        }
    }
}
