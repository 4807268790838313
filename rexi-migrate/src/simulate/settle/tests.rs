//! The end of a scenario, one promise at a time: which nodes are started, when everything is over, and what is asked
//! then.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use rexi_proto::{Incarnation, ServerAddress};

use super::super::ledger::{Ledger, Life, LifeEnd};
use super::super::life::index;
use super::*;
use crate::history::ledger::{CallId, Ending, GatherForm, MonitorNumber, NodeSet, Work};
use crate::plan::{Op, Whom, Work as Asking};

/// A cluster of this many nodes, none of which runs.
fn world(nodes: usize) -> Arc<World> {
    World::of_demo(["n1", "n2", "n3"].into_iter().take(nodes))
}

/// The same, with all nodes running 1.2 and connected.
async fn running(nodes: usize) -> Arc<World> {
    let world = world(nodes);
    for node in 0..nodes {
        assert!(world.start(node, SWITCHED));
    }
    world.cluster.ready().await;
    world
}

fn releases(world: &World) -> Vec<(usize, u8)> {
    world.running().into_iter().map(|(number, _, release)| (number, release.0)).collect()
}

#[tokio::test(start_paused = true)]
async fn every_node_runs_in_the_end_one_release_behind_the_newest_at_most() {
    // The release that the second node runs, or ran last; then how many lives it has had, and what it runs.
    for (second, runs, lives, release) in [
        (3, true, 1, 3),
        (2, true, 1, 2),
        (1, true, 2, 2),
        (0, true, 2, 2),
        (3, false, 2, 3),
        (2, false, 2, 2),
        (1, false, 2, 2),
    ] {
        let world = world(2);
        assert!(world.start(0, Place(3)) && world.start(1, Place(second)));
        if !runs {
            assert!(world.crash(1));
        }
        start_all(&world);
        assert_eq!(releases(&world), [(0, 3), (1, release)], "from {second}");
        let had = |node| world.ledger.lock().lives.iter().filter(|life| life.node == node).count();
        assert_eq!((had(0), had(1)), (1, lives), "from {second}");
    }
}

/// What has been asked of a cluster, and whether that is over except for what waits for its kill.
struct Asked(&'static str, fn(&Ledger), bool);

const ASKED: [Asked; 15] = [
    Asked("nothing", |_| (), true),
    Asked("an open call", |l| _ = cast(l, Work::Reply), false),
    Asked("an open call that runs", |l| job(l, cast(l, Work::Reply)), false),
    Asked(
        "a call that was answered and has ended",
        |l| {
            let call = cast(l, Work::Reply);
            end(l, call);
            write(l, 0, Entry::Answered { call, outcome: Outcome::Reply });
        },
        true,
    ),
    Asked(
        "a call that was answered and still runs",
        |l| {
            let call = cast(l, Work::Reply);
            job(l, call);
            write(l, 0, Entry::Answered { call, outcome: Outcome::ConnectionLost });
        },
        false,
    ),
    Asked("what waits for its kill, on its way", |l| _ = cast(l, Work::Hold), false),
    Asked("what waits for its kill, and runs", |l| job(l, cast(l, Work::Hold)), true),
    Asked("what waits for its kill, and has ended", |l| end(l, cast(l, Work::Hold)), false),
    Asked(
        "what has ended and runs again",
        |l| {
            let call = cast(l, Work::Hold);
            end(l, call);
            job(l, call);
        },
        true,
    ),
    Asked(
        "what was killed and still runs",
        |l| {
            let call = cast(l, Work::Hold);
            job(l, call);
            write(l, 0, Entry::Killed { call, phase: Phase::Switch });
        },
        false,
    ),
    Asked(
        "what runs for a caller that is gone",
        |l| {
            job(l, cast(l, Work::Hold));
            l.end_life(Life(0), LifeEnd::Crashed);
        },
        false,
    ),
    Asked(
        "what runs and waits for its kill, beside an open call",
        |l| {
            job(l, cast(l, Work::Hold));
            cast(l, Work::Reply);
        },
        false,
    ),
    Asked(
        "a gather that has not ended",
        |l| {
            let (gather, members) = (CallNumber(1), NodeSet::default());
            write(l, 0, Entry::GatherBegun { gather, form: GatherForm::Majority, need: 2, members, limit_ms: 1 });
        },
        false,
    ),
    Asked("a monitor of a life that goes on", watch, true),
    Asked(
        "a monitor that has not fired, though what it watches is over",
        |l| {
            watch(l);
            l.end_life(Life(1), LifeEnd::Crashed);
        },
        false,
    ),
];

fn write(ledger: &Ledger, life: usize, entry: Entry) {
    record(&ledger.lock().lives[life].ledger, &[entry]);
}

/// A call of the first node to the second.
fn cast(ledger: &Ledger, work: Work) -> CallNumber {
    let call = CallNumber(ledger.numbers.fetch_add(1, Ordering::Relaxed));
    write(ledger, 0, Entry::Cast { call, to: index(1), work, phase: Phase::Switch });
    call
}

fn id(call: CallNumber) -> CallId {
    CallId { caller: index(0), incarnation: Incarnation(0), call }
}

fn job(ledger: &Ledger, call: CallNumber) {
    write(ledger, 1, Entry::Started { id: id(call), server: ServerAddress::PerNode, work: Work::Hold });
}

/// A job of the call that has ended.
fn end(ledger: &Ledger, call: CallNumber) {
    job(ledger, call);
    write(ledger, 1, Entry::Ended { id: id(call), how: Ending::Dropped });
}

fn watch(ledger: &Ledger) {
    write(ledger, 0, Entry::Monitored { monitor: MonitorNumber(1), on: index(1) });
}

#[tokio::test(start_paused = true)]
async fn all_is_over_when_nothing_is_open_on_its_way_or_running_but_what_waits_for_its_kill() {
    for Asked(what, ask, over) in ASKED {
        let world = world(2);
        for node in 0..2 {
            world.ledger.begin_life(node, SWITCHED);
        }
        ask(&world.ledger);
        assert_eq!(is_over(&world), over, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_comes_to_rest_healed_with_all_nodes_running_nothing_open_and_every_pair_probed() {
    let world = running(3).await;
    let held = world.caller(0).and_then(|caller| caller.cast(1, Asking::Hold)).expect("a member that runs");
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.apply(Op::Stop { node: 2 });
    world.apply(Op::Cut { one: 0, other: 2 });
    world.apply(Op::Lower { node: Whom::One(1) });
    let settled = settle(&world).await;
    assert!(settled.apart.is_empty() && settled.held.is_empty() && settled.silent.is_empty(), "{settled:?}");
    assert_eq!(releases(&world), [0, 1, 2].map(|node| (node, SWITCHED.0)));
    assert!(world.ledger.lock().open().is_empty());
    let events = world.ledger.events();
    let recorded = |is: &dyn Fn(&Entry) -> bool| {
        events.iter().filter(|(_, event)| matches!(event, ScenarioEvent::Recorded { entry, .. } if is(entry))).count()
    };
    assert_eq!(recorded(&|entry| matches!(entry, Entry::Killed { call, .. } if *call == held)), 1);
    let ended = |entry: &Entry| matches!(entry, Entry::Ended { id, how: Ending::Dropped } if id.call == held);
    assert_eq!(recorded(&ended), 1);
    assert_eq!(recorded(&|entry| *entry == Entry::Quiet), 3);
    let probed = settled.probes.iter().map(|&probe| {
        assert_eq!(world.ledger.lock().answer(probe), Some(Outcome::Reply), "{probe}");
        let cast = events.iter().find_map(|(_, event)| match event {
            ScenarioEvent::Recorded { node, entry: Entry::Cast { call, to, .. } } if *call == probe => {
                Some((*node, *to))
            }
            _ => None,
        });
        cast.expect("it was made")
    });
    let probed: BTreeSet<_> = probed.collect();
    assert_eq!((probed.len(), settled.probes.len()), (9, 9));
    let noted = |event: &ScenarioEvent| events.iter().filter(|(_, noted)| noted == event).count();
    assert_eq!(
        [ScenarioEvent::Healed, ScenarioEvent::Settling, ScenarioEvent::Probing].map(|event| noted(&event)),
        [1, 1, 1]
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_kill_and_runs_no_more_was_left_in_silence() {
    let world = running(2).await;
    let silent = cast(&world.ledger, Work::Hold);
    end(&world.ledger, silent);
    let runs = world.caller(0).and_then(|caller| caller.cast(1, Asking::Hold)).expect("a member that runs");
    let settled = settle(&world).await;
    assert_eq!(settled.silent, [silent]);
    let killed = |event: &ScenarioEvent| match event {
        ScenarioEvent::Recorded { entry: Entry::Killed { call, .. }, .. } => *call == runs,
        _ => false,
    };
    assert!(world.ledger.events().iter().any(|(_, event)| killed(event)));
}

/// The place of 1.2 in the train.
const SWITCHED: Place = Place(2);
