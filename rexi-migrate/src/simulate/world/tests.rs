//! What a scenario collects about its cluster besides the ledger: each kind where it is, and nothing where it is not.
//!
//! Sound nodes do not connect too far apart, so a world that believes that its nodes run other releases than they do
//! stands in for nodes that connect too far apart.

use rexi_proto::Phase;
use rexi_server::testing::TestMembers;

use super::super::settle::{apart, held};
use super::*;

const MEMBERS: [&str; 2] = ["n1", "n2"];

impl World {
    /// A cluster of the demo's, none of whose nodes runs.
    pub(in crate::simulate) fn of_demo<'a>(names: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        let members = TestMembers::new(names);
        let names = members.names().cloned().collect();
        let plan = Plan { train: crate::demo::path(), nodes: 2, start: Place(0), seed: 7, ops: Vec::new() };
        Self::new(TestCluster::of(&members, 7), Arc::new(Ledger::new()), names, &plan, Actions::default())
    }
}

/// Two nodes of 1.2 that are connected, and in the phase `switch`.
async fn world() -> Arc<World> {
    let world = World::of_demo(MEMBERS);
    for node in 0..MEMBERS.len() {
        assert!(world.start(node, SWITCHED));
    }
    world.cluster.ready().await;
    pass(1).await;
    world
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn believe(world: &World, release: Place) {
    world.lock()[0].release = release;
}

#[tokio::test(start_paused = true)]
async fn all_that_is_well_is_not_collected() {
    let world = world().await;
    world.inspect();
    let tally = world.tally();
    assert!(tally.skewed.is_empty() && tally.unhosted.is_empty() && tally.out_of_bounds.is_empty(), "{tally:?}");
    assert!(tally.unheeded.is_empty() && !tally.mixed, "{tally:?}");
    drop(tally);
    assert_eq!((apart(&world), held(&world)), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn connected_nodes_two_releases_apart_are_collected_and_so_is_what_the_older_does_not_host_or_allow() {
    let world = world().await;
    believe(&world, Place(0));
    world.inspect();
    let tally = world.tally();
    let now = world.ledger.now();
    assert_eq!(tally.skewed, [(now, 0, 1)]);
    assert_eq!(tally.unhosted, [(now, 1, 0)], "n2 sends to the server of n1, and 1.0 has none");
    assert_eq!(tally.out_of_bounds, [(now, 0, Phase::Switch)]);
    assert!(tally.mixed);
}

#[tokio::test(start_paused = true)]
async fn neighbours_that_run_side_by_side_are_mixed_and_not_skewed() {
    let world = world().await;
    believe(&world, BEFORE);
    world.inspect();
    let tally = world.tally();
    assert!(tally.mixed && tally.skewed.is_empty(), "{tally:?}");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_do_not_see_each_other_are_apart_unless_they_must_not() {
    let world = world().await;
    world.cluster.cut(MEMBERS[0], MEMBERS[1]);
    pass(20).await;
    assert_eq!(apart(&world), [(0, 1), (1, 0)]);
    believe(&world, Place(0));
    assert_eq!(apart(&world), [], "two releases apart they may not connect");
    believe(&world, SWITCHED);
    world.heal();
    pass(20).await;
    assert_eq!(apart(&world), []);
    // One that has begun anew is not seen before its new life is.
    world.crash(1);
    world.start(1, SWITCHED);
    assert_eq!(apart(&world), [(0, 1), (1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_below_the_phase_that_it_may_have_is_held() {
    let world = world().await;
    assert!(world.try_apply(Op::Lower { node: Whom::One(0) }));
    assert_eq!(held(&world), [(0, Phase::Introduce, Phase::Switch)]);
    world.raise_all();
    assert_eq!(held(&world), []);
    // What a neighbour does not host is not expected.
    world.crash(1);
    world.start(1, BEFORE);
    world.cluster.ready().await;
    assert_eq!(held(&world), []);
}

/// The place of 1.2 in the train.
const SWITCHED: Place = Place(2);

/// That of 1.1.
const BEFORE: Place = Place(1);
