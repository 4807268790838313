//! Makes the plan of a rehearsal: a train's releases, each rolled over all nodes one by one, and a flip of the phase.
//!
//! In: a train, a number of nodes, a seed and the share of `kill -9`. Out: a plan, the same for the same arguments.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rexi_proto::Profile;

use super::op::{Leave, Op, Whom};
use super::scenario::Plan;
use crate::path::{Place, UpgradePath};

/// All nodes through a train, from its first release.
///
/// Each leg (all nodes, one by one in a seeded order, to the next release) has at least one `kill -9` and one drain
/// where there are two nodes or more and `kill_share` is neither 0 nor 1. At the first release that has two phases, the
/// phase is flipped with jobs in flight; before that, all nodes go back and forward again, if the release before has
/// the same servers. Everything has to settle after each leg and after the flips.
pub fn rolling(train: &UpgradePath, nodes: u8, seed: u64, kill_share: f64) -> Plan {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let on = |node, how| Op::Upgrade { node, how };
    let back = |node, how| Op::RollBack { node, how };
    let mut leg = |step: fn(u8, Leave) -> Op| leg(&mut rng, nodes, step, kill_share);
    let (mut ops, mut flipped) = (vec![Op::Await], false);
    let mut before: Option<&Profile> = None;
    for profile in train.places().map(|place| train.profile(place)) {
        if before.is_some() {
            ops.extend(leg(on));
        }
        if profile.moves() && !flipped {
            if before.is_some_and(|before| before.hosts() == profile.hosts()) {
                ops.extend(leg(back));
                ops.extend(leg(on));
            }
            ops.extend(hot_flips());
            flipped = true;
        }
        before = Some(profile);
    }
    Plan { train: train.clone(), nodes, start: Place(0), seed, ops }
}

fn leg(rng: &mut Xoshiro256PlusPlus, nodes: u8, step: fn(u8, Leave) -> Op, kill_share: f64) -> Vec<Op> {
    let mut order: Vec<u8> = (0..nodes).collect();
    order.shuffle(rng);
    let mut kills: Vec<bool> = order.iter().map(|_| rng.random_bool(kill_share.clamp(0.0, 1.0))).collect();
    if nodes >= 2 && kill_share > 0.0 && kill_share < 1.0 && kills.iter().all(|&kill| kill == kills[0]) {
        let odd_one = rng.random_range(0..kills.len());
        kills[odd_one] = !kills[odd_one];
    }
    let restart = |(node, kill)| step(node, if kill { Leave::Kill } else { Leave::Drain });
    order.into_iter().zip(kills).map(restart).chain([Op::Await, Op::Settle]).collect()
}

fn hot_flips() -> impl Iterator<Item = Op> {
    let round = [Op::Lower { node: Whom::All }, Op::Raise { node: Whom::All }];
    std::iter::repeat_n(round, FLIP_ROUNDS).flatten().chain([Op::Settle])
}

/// How often the phase is lowered and raised again with jobs in flight.
const FLIP_ROUNDS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(nodes: u8, seed: u64) -> Vec<Op> {
        rolling(&crate::demo::path(), nodes, seed, 0.4).ops
    }

    fn kills(ops: &[Op]) -> usize {
        ops.iter().filter(|op| op.stops() == Some(Leave::Kill)).count()
    }

    #[test]
    fn a_seed_repeats_its_plan_and_seeds_differ() {
        assert_eq!(whole(5, 7), whole(5, 7));
        assert!((0..20).any(|seed| whole(5, seed) != whole(5, 7)));
    }

    #[test]
    fn a_seed_of_old_still_gives_the_plan_that_it_gave() {
        assert_eq!(
            rolling(&crate::demo::path(), 3, 7, 0.4).to_string(),
            "nodes 3 start 1.0 seed 7; await; upgrade n1 kill; upgrade n2 drain; upgrade n3 drain; await; settle; \
             upgrade n2 drain; upgrade n1 drain; upgrade n3 kill; await; settle; \
             back n1 kill; back n3 kill; back n2 drain; await; settle; \
             upgrade n3 drain; upgrade n1 kill; upgrade n2 kill; await; settle; \
             lower all; raise all; lower all; raise all; settle; \
             upgrade n3 drain; upgrade n1 drain; upgrade n2 kill; await; settle"
        );
    }

    #[test]
    fn every_default_plan_kills_at_least_four_times_and_each_leg_kills_and_drains() {
        for seed in 0..500 {
            let ops = whole(5, seed);
            assert!(kills(&ops) >= 4, "seed {seed}");
            let restarts: Vec<Op> = ops.into_iter().filter(|op| op.stops().is_some()).collect();
            assert_eq!(restarts.len(), 25);
            for leg in restarts.chunks(5) {
                assert!((1..5).contains(&kills(leg)), "seed {seed}: {leg:?}");
            }
        }
    }

    #[test]
    fn a_share_of_none_or_all_is_kept_to_the_letter() {
        for (share, all) in [(0.0, 0), (1.0, 25)] {
            assert_eq!(kills(&rolling(&crate::demo::path(), 5, 3, share).ops), all);
        }
    }

    #[test]
    fn every_node_goes_through_every_release_and_back_once() {
        for nodes in [2, 3, 5, 32] {
            let ops = whole(nodes, 11);
            for node in 0..nodes {
                let mut path = vec![Place(0)];
                for op in &ops {
                    if let Op::Upgrade { node: who, .. } | Op::RollBack { node: who, .. } = *op
                        && who == node
                    {
                        path.extend(op.moves(path[path.len() - 1]));
                    }
                }
                assert_eq!(path, [0, 1, 2, 1, 2, 3].map(Place));
            }
        }
    }

    #[test]
    fn the_flips_come_after_the_leg_back_and_before_the_removal() {
        let ops = whole(5, 1);
        let is_flip = |op: &Op| matches!(op, Op::Lower { .. } | Op::Raise { .. });
        let first_flip = ops.iter().position(is_flip).expect("a flip");
        let (lower, raise) = (Op::Lower { node: Whom::All }, Op::Raise { node: Whom::All });
        assert_eq!(ops[first_flip..first_flip + 4], [lower, raise, lower, raise]);
        assert_eq!(ops.iter().filter(|op| is_flip(op)).count(), 4);
        let upgrades = |ops: &[Op]| ops.iter().filter(|op| matches!(op, Op::Upgrade { .. })).count();
        assert_eq!((upgrades(&ops[..first_flip]), upgrades(&ops[first_flip..])), (15, 5));
        assert!(ops[first_flip..].iter().all(|op| !matches!(op, Op::RollBack { .. })));
        assert_eq!(ops[first_flip - 2..first_flip], [Op::Await, Op::Settle]);
        assert_eq!(ops[first_flip + 4], Op::Settle, "what the flips left behind shows before the next restart");
        assert_eq!(ops.last(), Some(&Op::Settle));
    }

    #[test]
    fn illegal_trains_are_planned_for_the_handshake_to_refuse() {
        for text in ["1.0,1.2", "1.1,2.0", "2.0,1.0", "1.2,1.0"] {
            let plan = rolling(&crate::demo::path().select(text).expect("a path"), 3, 5, 0.4);
            assert_eq!(plan.ops.iter().filter(|op| matches!(op, Op::Upgrade { .. })).count(), 3, "{text}");
            assert_eq!(plan.train.to_string(), text);
        }
    }
}
