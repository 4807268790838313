//! Tests of the check itself: small searches are exhausted, each mutant is found by its shortest trace, symmetry is
//! exact.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rexi_proto::{Migration, PeerId, ServerAddress, Train};
use stateright::Checker;

use super::state::{Stage, pair};
use super::turns::{orders_of, print_pair};
use super::witness::CASES;
use super::*;
use crate::model::{Case, member_id, name};
use crate::path::UpgradePath;
use crate::search::{End, Fingerprint, Model, Options, Outcome, search};
use crate::verdict::conclusion::Conclusion;
use crate::verdict::invariant::Invariant;

mod late;
mod parts;
mod needed;

fn run(scope: Scope) -> Outcome<Cluster> {
    let options = Options { reach_goal: scope.reach_goal, states_max: 200_000, ..Options::default() };
    search(&Cluster::new(scope), &options, &mut |_| {})
}

/// A part of the train, by the places of its releases.
fn part(places: &[usize]) -> UpgradePath {
    let whole = crate::demo::path();
    let names: Vec<String> = places.iter().map(|&place| whole.name(place)).collect();
    whole.select(&names.join(",")).expect("releases of the train")
}

/// Two nodes over a part of the train.
fn two(train: &[usize]) -> Scope {
    Scope { nodes: 2, ..Scope::new("test", &part(train)) }
}

fn exhausted(scope: Scope) -> Outcome<Cluster> {
    let outcome = run(scope);
    assert!(matches!(outcome.end, End::Exhausted), "{:?}", outcome.end);
    outcome
}

#[test]
fn two_nodes_with_a_job_are_safe_over_the_whole_train_and_reach_its_end() {
    let outcome = exhausted(Scope { jobs: 1, ..two(&[0, 1, 2, 3]) });
    assert!(outcome.tally.states > 1_000, "{:?}", outcome.tally);
}

/// A service's own train: calls of one function become calls of another, and back, while they run.
#[test]
fn calls_of_a_migrated_function_meet_it_in_every_mix_and_phase() {
    const READS: Migration = Migration::of_functions("service.reads", "read", "read_as");
    let train = Train::new("service")
        .release("3.0", |r| r)
        .release("3.1", |r| r.introduce(READS))
        .release("3.2", |r| r.switch(READS))
        .release("3.3", |r| r.remove(READS));
    let train = UpgradePath::of(&train).expect("a train");
    let scope = Scope { nodes: 2, jobs: 1, rollbacks: 1, flips: 1, ..Scope::new("test", &train) };
    let outcome = exhausted(Scope { crashes: 1, ..scope });
    for case in [Case::BufferedOverRelease, Case::FlipWithJobs, Case::Rollback] {
        let place = CASES.iter().position(|&known| known == case).expect("it is counted");
        assert!(outcome.tally.met[place] > 0, "{case:?}: {:?}", outcome.tally);
    }
}

/// The same train with a second migration a release behind the first: both move in one release, each by itself.
#[test]
fn two_migrations_under_way_at_once_are_searched_together() {
    const READS: Migration = Migration::of_functions("service.reads", "read", "read_as");
    const WRITES: Migration = Migration::of_functions("service.writes", "write", "write_as");
    let one = Train::new("service").release("3.0", |r| r).release("3.1", |r| r.introduce(READS));
    let one = one.release("3.2", |r| r.switch(READS)).release("3.3", |r| r.remove(READS));
    let both = Train::new("service")
        .release("3.0", |r| r)
        .release("3.1", |r| r.introduce(READS).introduce(WRITES))
        .release("3.2", |r| r.switch(READS).switch(WRITES))
        .release("3.3", |r| r.remove(READS))
        .release("3.4", |r| r.remove(WRITES));
    let states = |train: &Train, jobs: u8| {
        let train = UpgradePath::of(train).expect("a train");
        let scope = Scope { nodes: 2, jobs, flips: 1, ..Scope::new("test", &train) };
        exhausted(scope).tally.states
    };
    let (one, both) = ([states(&one, 0), states(&one, 1)], [states(&both, 0), states(&both, 1)]);
    println!("states of one migration {one:?}, of two {both:?}: without calls, and with one");
    assert!(both[0] > one[0] && both[1] > one[1]);
}

#[test]
fn three_nodes_without_jobs_are_safe_over_the_whole_train_and_reach_its_end() {
    exhausted(Scope::new("test", &crate::demo::path()));
}

#[test]
fn three_nodes_with_handshakes_in_steps_and_late_notice_are_safe_over_a_leg() {
    let scope = Scope { handshake: Handshake::Steps, notice: Notice::Late, ..two(&[1, 2, 3]) };
    exhausted(scope);
}

#[test]
fn a_train_that_skips_a_release_cannot_be_brought_to_its_end_by_a_patient_operator() {
    let outcome = run(two(&[0, 2, 3]));
    assert!(matches!(outcome.end, End::Stuck(_)), "{:?}", outcome.end);
}

#[test]
fn whatever_a_careless_operator_restarts_the_handshake_lets_no_illegal_pair_connect() {
    let scope = Scope { operator: Operator::Careless, crashes: 3, reach_goal: false, ..two(&[0, 1, 2, 3]) };
    exhausted(scope.clone());
    exhausted(Scope { nodes: 3, crashes: 2, ..scope });
}

#[test]
fn of_64_version_vectors_22_are_legal_and_the_handshake_refuses_42_by_name() {
    let Vectors { legal, illegal, broken } = vectors(&crate::demo::path(), 3);
    assert_eq!(broken, Vec::<String>::new());
    assert_eq!((legal.len(), illegal.len()), (22, 42));
    assert!(illegal.iter().all(|(_, refusals)| !refusals.is_empty()));
    assert!(legal.iter().all(|vector| vector.iter().max().unwrap() - vector.iter().min().unwrap() <= 1));
}

#[test]
fn all_216_orders_of_the_upgrade_reach_its_end_through_legal_mixes() {
    let Orders { done, mixes, broken } = orders(&crate::demo::path());
    assert_eq!(broken, Vec::<String>::new());
    assert_eq!(done, 216);
    assert_eq!(mixes, vectors(&crate::demo::path(), 3).legal.into_iter().collect());
}

/// All states that can be reached, as they are; found without the search.
fn reachable(cluster: &Cluster) -> Vec<State> {
    let (mut known, mut all) = (BTreeSet::new(), cluster.initial());
    known.extend(all.iter().map(|state| cluster.fingerprint(state)));
    let mut at = 0;
    while at < all.len() {
        let mut actions = Vec::new();
        cluster.actions(&all[at], &mut actions);
        for action in actions {
            let after = cluster.step(&all[at], &action).expect("a step");
            if known.insert(cluster.fingerprint(&after)) {
                all.push(after);
            }
        }
        at += 1;
    }
    all
}

#[test]
fn with_symmetry_there_is_one_state_of_each_orbit_counted_by_brute_force() {
    for scope in [
        Scope { jobs: 1, ..two(&[1, 2]) },
        Scope { jobs: 1, streams: 1, ..two(&[3]) },
        Scope { monitors: 1, cuts: 1, ..two(&[2]) },
        Scope { crashes: 1, ..two(&[2, 3]) },
        Scope { ..Scope::new("three", &part(&[1, 2])) },
        Scope { flips: 1, ..Scope::new("three that flip", &part(&[2, 3])) },
    ] {
        let plain = Cluster::new(Scope { symmetry: false, ..scope.clone() });
        let symmetric = Cluster::new(scope.clone());
        let states = reachable(&plain);
        // The plain fingerprints of all renamings of a state: its orbit, named by the least.
        let orbit = |state: &State| {
            let images =
                orders_of(scope.nodes).into_iter().map(|order| plain.fingerprint(&renamed(&plain, state, &order)));
            images.min().expect("there is an order")
        };
        let orbits: BTreeSet<Fingerprint> = states.iter().map(orbit).collect();
        let outcome = search(&symmetric, &Options::default(), &mut |_| {});
        assert!(matches!(outcome.end, End::Exhausted), "{:?}", outcome.end);
        assert_eq!(outcome.tally.states, orbits.len() as u64, "{}, {} states", scope.describe(), states.len());
        assert!(orbits.len() < states.len());
    }
}

/// The same cluster with other names: the node of each place is that of `order`.
fn renamed(cluster: &Cluster, state: &State, order: &[usize]) -> State {
    let to = |node: usize| order.iter().position(|&other| other == node).expect("an order has every node");
    let place = |peer: PeerId| member_id(to(peer.0 as usize));
    let mut image = state.clone();
    for (index, &from) in order.iter().enumerate() {
        let mut printed = (*state.nodes[from]).clone();
        let node = &mut printed.node;
        node.index = index;
        node.rollout =
            Arc::new(node.rollout.renamed(|of| name(to((0..).find(|&at| name(at) == *of).expect("a node")))));
        node.singleton = node.singleton.take().map(|server| Arc::new(server.renamed(place)));
        node.queue.iter_mut().for_each(|(caller, _)| caller.peer = place(caller.peer));
        node.peers = order.iter().map(|&member| state.nodes[from].peers[member].clone()).collect();
        for job in &mut node.jobs {
            job.member = to(job.member);
            if job.key.server == ServerAddress::Singleton {
                job.key.caller.peer = place(job.key.caller.peer);
            }
        }
        cluster.turns.note_holdouts(&mut printed);
        cluster.print_all(&mut printed);
        image.nodes[index] = Arc::new(printed);
    }
    for high in 0..order.len() {
        for low in 0..high {
            let (at, side) = pair(order[low], order[high]);
            let mut between = (*state.pairs[at]).clone();
            assert!(matches!(between.stage, Stage::Down | Stage::Up), "hellos are left to a test of their own");
            if side == 1 {
                between.ways.reverse();
            }
            between.prints = print_pair(&between);
            image.pairs[pair(low, high).0] = Arc::new(between);
        }
    }
    for call in image.notes.calls.iter_mut().filter(|call| !call.over) {
        (call.by, call.to) = (to(call.by), to(call.to));
    }
    for watch in &mut image.notes.monitors {
        (watch.by, watch.to) = (to(watch.by), to(watch.to));
    }
    image.print = cluster.turns.print(&image);
    image
}

/// The plain model for stateright.
struct Second(Cluster);

/// A state that is known by its fingerprint.
#[derive(Clone, Debug)]
struct Known(State);

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.0.print == other.0.print
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.print.hash(state);
    }
}

impl stateright::Model for Second {
    type State = Known;
    type Action = Action;

    fn init_states(&self) -> Vec<Known> {
        self.0.initial().into_iter().map(Known).collect()
    }

    fn actions(&self, state: &Known, actions: &mut Vec<Action>) {
        Model::actions(&self.0, &state.0, actions);
    }

    fn next_state(&self, state: &Known, action: Action) -> Option<Known> {
        self.0.step(&state.0, &action).map(Known)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        vec![stateright::Property::always("nothing is broken", |model: &Self, state: &Known| {
            model.0.check(&state.0).is_ok()
        })]
    }
}

#[test]
fn stateright_meets_as_many_states_of_the_same_model_and_breaks_none() {
    for scope in [
        Scope { jobs: 1, flips: 1, ..two(&[1, 2]) },
        Scope { cuts: 1, handshake: Handshake::Steps, notice: Notice::Late, ..two(&[2, 3]) },
        Scope { ..Scope::new("three", &part(&[1, 2])) },
    ] {
        let scope = Scope { symmetry: false, ..scope };
        let ours = exhausted(scope.clone()).tally.states;
        let checker = stateright::Model::checker(Second(Cluster::new(scope))).spawn_bfs().join();
        checker.assert_properties();
        assert_eq!(checker.unique_state_count() as u64, ours);
    }
}

#[test]
fn a_check_that_met_too_little_proves_nothing_and_one_within_bounds_says_which() {
    let options = |scope, states_max| CheckOptions {
        scopes: vec![scope],
        hellos: Vec::new(),
        records: Vec::new(),
        search: Options { states_max, ..Options::default() },
        train: crate::demo::path(),
        vectors: false,
        orders: false,
        quiet: true,
        command: "rexi-migrate check".to_owned(),
    };
    let report = check(&options(Scope { jobs: 1, ..two(&[0, 1]) }, 100_000));
    assert_eq!(report.verdict, Conclusion::CouldNotTell, "{}", report.to_text());
    assert!(report.doubts.iter().any(|doubt| doubt.contains("kills across the switch")), "{}", report.to_text());
    let report = check(&options(Scope { jobs: 1, ..two(&[0, 1]) }, 50));
    assert!(report.doubts.iter().any(|doubt| doubt.contains("bounded at 50 states")), "{}", report.to_text());
}

/// The shortest trace of mutants, by their names, where this many jobs may send a stream.
#[cfg(feature = "mutants")]
fn shortest(names: &str, streams: u8) -> Option<(Invariant, usize)> {
    let mutants = rexi_proto::Mutants::from_names(names).expect("known names");
    let scope = Scope { jobs: 1, streams, items: 2, flips: 1, mutants, ..two(&[1, 2, 3]) };
    match run(Scope { reach_goal: false, ..scope }).end {
        End::Broken(broken, path) => Some((broken.invariant, path.steps.len())),
        End::Exhausted => None,
        end => panic!("{names}: {end:?}"),
    }
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_are_found_by_their_shortest_traces() {
    for (names, invariant, steps) in [
        ("kill-only-per-node", Invariant::S3, 6),
        ("kill-only-singleton", Invariant::S3, 10),
        ("kill-follows-phase", Invariant::S3, 12),
        ("late-per-node-servers", Invariant::S6, 7),
        ("acks-follow-phase", Invariant::S5, 14),
        ("silent-missing-server,late-per-node-servers", Invariant::S1, 7),
    ] {
        assert_eq!(shortest(names, 1), Some((invariant, steps)), "{names}");
    }
}

/// With the handshake whole nobody casts to a server that is not there, so it makes no difference whether that is told.
#[cfg(feature = "mutants")]
#[test]
fn a_silent_missing_server_alone_is_equivalent_since_the_handshake_guards_it() {
    assert_eq!(shortest("silent-missing-server", 0), None);
}
