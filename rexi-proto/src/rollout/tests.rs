//! One node's rollout: what raises it, what holds it, who may lower it, whose word counts.

mod kept;

use super::*;
use crate::hello::Refusal;
use crate::migration::SERVER_PER_NODE;
use crate::phase::Servers;
use crate::story::{self, now, profiles};
use crate::train::Train;
use crate::version::VersionRange;

/// The life of a node that starts now.
const CLOCK: Incarnation = Incarnation(1_000);

fn name(name: &str) -> NodeName {
    NodeName::new(name).expect("a name")
}

/// n1 of this release of the train, beside the members n2 and n3.
fn rollout(release: usize) -> Rollout {
    Rollout::new(name("n1"), profiles()[release].clone(), ["n1", "n2", "n3"].map(name))
}

fn hello(node: &str, release: usize, phase: Phase, incarnation: u64, epoch: u64) -> Hello {
    let mut hello = story::hello(node, &profiles()[release], phase);
    hello.incarnation = Incarnation(incarnation);
    hello.migrations[0].epoch = epoch;
    hello
}

/// What limits the phase of rexi's own migration.
fn limit(rollout: &Rollout) -> LimitingFactor {
    rollout.limiting_factor(SERVER_PER_NODE.key()).expect("every train has it")
}

fn greet(rollout: &mut Rollout, theirs: &Hello) -> Result<Agreement, HandshakeError> {
    let ours = rollout.hello(Incarnation(9), &story::functions(), &Limits::default());
    rollout.handle_hello(&ours, theirs, CLOCK)
}

/// n1 at 1.2, raised, beside two others like it.
fn raised() -> Rollout {
    let mut rollout = rollout(2);
    greet(&mut rollout, &hello("n2", 2, Phase::Switch, 1, 0)).expect("legal");
    greet(&mut rollout, &hello("n3", 2, Phase::Switch, 1, 0)).expect("legal");
    assert_eq!(rollout.server_phase(), Phase::Switch);
    rollout
}

#[test]
fn raising_waits_for_the_last_member_and_names_it() {
    let mut rollout = rollout(2);
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Introduce, 0));
    assert_eq!(limit(&rollout), LimitingFactor::Unknown(name("n2")));
    greet(&mut rollout, &hello("n2", 1, Phase::Introduce, 1, 0)).expect("legal");
    assert_eq!(limit(&rollout), LimitingFactor::Unknown(name("n3")));
    greet(&mut rollout, &hello("n3", 1, Phase::Introduce, 1, 0)).expect("legal");
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 1));
    assert!(matches!(limit(&rollout), LimitingFactor::Release(_)));
}

#[test]
fn a_member_without_per_node_servers_holds_the_phase_by_name() {
    let mut rollout = rollout(2);
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 1, 0)).expect("legal");
    let refused = greet(&mut rollout, &hello("n3", 0, Phase::Singleton, 1, 0));
    assert!(matches!(refused, Err(HandshakeError::Refused(_))), "1.0 and 1.2 may not speak");
    assert_eq!(rollout.server_phase(), Phase::Introduce);
    let factor = limit(&rollout);
    assert!(
        matches!(&factor, LimitingFactor::NotTaken(member, _, Saying { form: Form::New, .. }) if *member == name("n3"))
    );
    assert!(factor.to_string().contains("1.0.0"), "{factor}");
    greet(&mut rollout, &hello("n3", 1, Phase::Introduce, 2, 0)).expect("upgraded");
    assert_eq!(rollout.server_phase(), Phase::Switch);
}

#[test]
fn the_ceiling_holds_and_lets_go() {
    let mut rollout = raised();
    rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("all host the singleton");
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Introduce, 2));
    assert_eq!(limit(&rollout), LimitingFactor::Ceiling(Phase::Introduce));
    assert_eq!(
        rollout.hello(Incarnation(9), &story::functions(), &Limits::default()).migrations[0].ceiling,
        Phase::Introduce
    );
    rollout.set_ceiling(SERVER_PER_NODE.key(), None).expect("nobody is in the way");
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 3));
}

#[test]
fn the_source_and_the_ceiling_hold_together() {
    let mut rollout = raised();
    rollout.set_source(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("all host the singleton");
    assert_eq!(limit(&rollout), LimitingFactor::Source(Phase::Introduce));
    rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("it is there already");
    rollout.set_source(SERVER_PER_NODE.key(), None).expect("it lets go");
    assert_eq!(limit(&rollout), LimitingFactor::Ceiling(Phase::Introduce));
    assert_eq!(rollout.server_phase(), Phase::Introduce);
}

#[test]
fn a_phase_outside_the_release_is_refused_and_changes_nothing() {
    let mut rollout = raised();
    let before = rollout.clone();
    for phase in [Phase::Singleton, Phase::Remove] {
        let refused = rollout.set_ceiling(SERVER_PER_NODE.key(), Some(phase));
        assert!(matches!(refused, Err(PhaseError::NotAllowed { wanted, .. }) if wanted == phase));
        assert!(rollout.set_source(SERVER_PER_NODE.key(), Some(phase)).is_err());
    }
    assert_eq!(rollout, before);
}

#[test]
fn a_member_that_removed_the_singleton_refuses_the_way_back_by_name() {
    let mut rollout = raised();
    greet(&mut rollout, &hello("n3", 3, Phase::Remove, 2, 0)).expect("legal beside a raised node");
    let before = rollout.clone();
    let refused = rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect_err("n3 has no singleton");
    assert!(matches!(&refused, PhaseError::Blocked { member, .. } if *member == name("n3")));
    assert!(refused.to_string().contains("2.0.0"), "{refused}");
    assert!(rollout.set_source(SERVER_PER_NODE.key(), Some(Phase::Introduce)).is_err());
    assert_eq!(rollout, before);
}

#[test]
fn an_announcement_counts_once_and_for_its_own_life() {
    let mut rollout = raised();
    let holdouts = |rollout: &Rollout| {
        rollout.hello(Incarnation(9), &story::functions(), &Limits::default()).migrations[0].holdouts.clone()
    };
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(2, Phase::Introduce));
    assert_eq!(holdouts(&rollout), [name("n2")]);
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(1, Phase::Switch));
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(2, Phase::Switch));
    assert_eq!(holdouts(&rollout), [name("n2")], "older words than the last");
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 2, 0)).expect("its next life");
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(9, Phase::Switch));
    assert_eq!(holdouts(&rollout), [name("n2")], "the word of an earlier life");
    rollout.handle_announce(&name("n2"), Incarnation(2), 0, now(1, Phase::Switch));
    assert!(holdouts(&rollout).is_empty());
    rollout.handle_announce(&name("stranger"), Incarnation(1), 0, now(1, Phase::Introduce));
    assert!(holdouts(&rollout).is_empty());
}

#[test]
fn an_older_hello_of_the_same_life_does_not_undo_an_announcement() {
    let mut rollout = raised();
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(2, Phase::Introduce));
    greet(&mut rollout, &hello("n2", 2, Phase::Switch, 1, 1)).expect("legal");
    assert_eq!(
        rollout.hello(Incarnation(9), &story::functions(), &Limits::default()).migrations[0].holdouts,
        [name("n2")]
    );
}

#[test]
fn strangers_and_earlier_lives_are_refused_and_not_noted() {
    let mut rollout = raised();
    let before = rollout.clone();
    let stale = greet(&mut rollout, &hello("n2", 0, Phase::Singleton, 0, 5)).expect_err("an earlier life");
    assert!(matches!(stale, HandshakeError::StaleIncarnation { known: Incarnation(1), .. }));
    let stranger = greet(&mut rollout, &hello("n4", 2, Phase::Switch, 1, 0)).expect_err("no member");
    assert_eq!(stranger, HandshakeError::NotAMember(name("n4")));
    assert_eq!(rollout, before);
}

#[test]
fn holdouts_keep_a_remover_out_until_they_follow() {
    let mut rollout = raised();
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(1, Phase::Introduce));
    let remover = hello("n3", 3, Phase::Remove, 2, 0);
    let refused = greet(&mut rollout, &remover).expect_err("n2 sends to the singleton");
    assert!(refused.to_string().contains("n2"), "{refused}");
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(2, Phase::Switch));
    greet(&mut rollout, &remover).expect("nobody needs the singleton");
}

#[test]
fn removers_that_know_of_one_that_says_the_old_form_stay_together() {
    let mut rollout = rollout(3);
    let refused = greet(&mut rollout, &hello("n2", 1, Phase::Introduce, 1, 0));
    assert!(matches!(refused, Err(HandshakeError::Refused(_))), "{refused:?}");
    let ours = rollout.hello_to(&name("n3"), false, Incarnation(9), &story::functions(), &Limits::default());
    assert_eq!(ours.migrations[0].holdouts, [name("n2")], "it is known");
    greet(&mut rollout, &hello("n3", 3, Phase::Remove, 1, 0)).expect("neither takes the old form");
}

#[test]
fn a_life_that_was_met_and_is_over_makes_way_for_the_node_that_is_there() {
    let (mut n1, n2) = (raised(), name("n2"));
    greet(&mut n1, &hello("n2", 2, Phase::Switch, 500, 0)).expect("the latest");
    let ours = |n1: &Rollout, is_connected| {
        n1.hello_to(&n2, is_connected, Incarnation(9), &story::functions(), &Limits::default())
    };
    // While the later one is connected, the node is told that it runs twice, and no more.
    let earlier = hello("n2", 2, Phase::Switch, 100, 0);
    let connected = ours(&n1, true);
    assert_eq!(connected.last_met, None);
    let stale = n1.handle_hello(&connected, &earlier, CLOCK).expect_err("an earlier life");
    assert!(matches!(stale, HandshakeError::StaleIncarnation { known: Incarnation(500), .. }), "{stale}");
    // Once that is gone, both learn alike that the node goes on above it.
    let away = ours(&n1, false);
    assert_eq!(away.last_met, Some(Incarnation(500)));
    let outlived = n1.handle_hello(&away, &earlier, CLOCK).expect_err("it dials again");
    assert_eq!(outlived, HandshakeError::Outlived { node: n2.clone(), old: Incarnation(100), known: Incarnation(500) });
    let mut its = Rollout::new(n2, profiles()[2].clone(), ["n1", "n2"].map(name));
    let its_hello =
        |its: &Rollout| its.hello_to(&name("n1"), false, Incarnation(100), &story::functions(), &Limits::default());
    assert_eq!(its.handle_hello(&its_hello(&its), &away, CLOCK), Err(outlived));
    assert_eq!(its_hello(&its).incarnation, Incarnation(501));
    assert_eq!(its.life_to(&name("n3"), Incarnation(100)), Incarnation(100), "others have met no later one");
    its.handle_hello(&its_hello(&its), &away, CLOCK).expect("a later life");
    n1.handle_hello(&away, &its_hello(&its), CLOCK).expect("a later life");
    // A member that leaves is forgotten, and so is what it had met.
    its.remove_member(&name("n1"));
    assert_eq!(its.life_to(&name("n1"), Incarnation(100)), Incarnation(100));
}

#[test]
fn a_start_that_lies_a_day_ahead_is_refused_and_forgotten() {
    let mut n1 = raised();
    let day = u64::try_from(crate::START_AHEAD_MAX.as_micros()).expect("few");
    let latest = CLOCK.0 + day;
    for far in [latest + 1, u64::MAX] {
        let refused = greet(&mut n1, &hello("n2", 2, Phase::Switch, far, 0)).expect_err("far ahead");
        assert!(matches!(refused, HandshakeError::StartsAhead { start, .. } if start.0 == far), "{refused}");
    }
    greet(&mut n1, &hello("n2", 2, Phase::Switch, 2, 0)).expect("nothing was remembered");
    greet(&mut n1, &hello("n2", 2, Phase::Switch, latest, 0)).expect("a clock may be a day ahead");
    // Its own clock is set back: what it has met is far ahead now, and so is the life that it asks for.
    let ours = n1.hello_to(&name("n2"), false, Incarnation(9), &story::functions(), &Limits::default());
    for (life, is_taken) in [(latest, true), (latest + 1, true), (latest + 3, false), (latest + 2, true)] {
        let heard = n1.handle_hello(&ours, &hello("n2", 2, Phase::Switch, life, 0), Incarnation(1));
        assert_eq!(heard.is_ok(), is_taken, "{life}: {heard:?}");
    }
}

#[test]
fn a_phase_that_moves_in_a_handshake_is_noticed_where_it_matters() {
    let mut rollout = raised();
    let ours = rollout.hello(Incarnation(9), &story::functions(), &Limits::default());
    rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("all host the singleton");
    let theirs = hello("n3", 3, Phase::Remove, 2, 0);
    assert_eq!(rollout.handle_hello(&ours, &theirs, CLOCK), Err(HandshakeError::PhaseMoved));
    let theirs = hello("n3", 2, Phase::Switch, 3, 0);
    assert!(rollout.handle_hello(&ours, &theirs, CLOCK).is_ok(), "who hosts both need not dial again");
}

#[test]
fn a_cluster_of_one_is_raised_at_once() {
    let rollout = Rollout::new(name("n1"), profiles()[2].clone(), [name("n1")]);
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 1));
}

#[test]
fn a_release_that_speaks_one_version_says_so() {
    let hello = rollout(2).hello(Incarnation(9), &story::functions(), &Limits::default());
    assert_eq!(hello.wire, VersionRange::new(crate::WireVersion::V2, crate::WireVersion::V2));
    assert_eq!(hello.migrations[0].ceiling, Phase::Switch);
}

#[test]
fn a_renamed_rollout_is_the_same_under_other_names() {
    let raised = raised();
    let turned = |node: &NodeName| match node.as_str() {
        "n1" => name("n2"),
        "n2" => name("n1"),
        _ => node.clone(),
    };
    let renamed = raised.renamed(turned);
    assert_ne!(renamed, raised);
    assert_eq!(renamed.hello(Incarnation(9), &story::functions(), &Limits::default()).node, name("n2"));
    assert_eq!(renamed.renamed(turned), raised, "there and back");
}

#[test]
fn what_limits_a_node_is_told_in_words() {
    let new_servers = Saying { migration: SERVER_PER_NODE.key().clone(), form: Form::New };
    for (factor, words) in [
        (LimitingFactor::Release(Version::new(1, 2, 0)), "release 1.2.0 allows no more"),
        (LimitingFactor::Ceiling(Phase::Introduce), "the operator's ceiling is introduce"),
        (LimitingFactor::Source(Phase::Introduce), "the flag source says introduce"),
        (LimitingFactor::Unknown(name("n3")), "member n3 has not said hello yet"),
        (
            LimitingFactor::NotTaken(name("n3"), Version::new(1, 0, 0), new_servers),
            "member n3 (release 1.0.0) does not run the per-node server",
        ),
    ] {
        assert_eq!(factor.to_string(), words);
    }
}

#[test]
fn a_ceiling_or_a_word_that_allows_all_does_not_limit() {
    let release = LimitingFactor::Release(profiles()[2].release().clone());
    let mut rollout = raised();
    rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Switch)).expect("it is there");
    rollout.set_source(SERVER_PER_NODE.key(), Some(Phase::Switch)).expect("it is there");
    assert_eq!((rollout.server_phase(), limit(&rollout)), (Phase::Switch, release));
    rollout.set_source(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("all host the singleton");
    assert_eq!(limit(&rollout), LimitingFactor::Source(Phase::Introduce), "and not the ceiling above it");
}

#[test]
fn the_ceiling_limits_a_node_that_no_member_would_hold() {
    let mut rollout = rollout(2);
    rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("it starts there");
    assert_eq!(limit(&rollout), LimitingFactor::Ceiling(Phase::Introduce), "before any hello");
    for member in ["n2", "n3"] {
        greet(&mut rollout, &hello(member, 1, Phase::Introduce, 1, 0)).expect("legal");
    }
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Introduce, 0));
    rollout.set_ceiling(SERVER_PER_NODE.key(), None).expect("nobody is in the way");
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 1));
}

#[test]
fn a_node_that_is_held_stays_in_its_phase_whoever_says_what() {
    let mut rollout = rollout(2);
    rollout.hold(SERVER_PER_NODE.key(), Phase::Switch).expect("its release allows it");
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 1), "no member was waited for");
    let _ = greet(&mut rollout, &hello("n2", 0, Phase::Singleton, 1, 0));
    rollout.set_source(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("n2 runs the singleton");
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(1, Phase::Singleton));
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 1));
    let before = rollout.clone();
    let refused = rollout.hold(SERVER_PER_NODE.key(), Phase::Remove);
    assert!(matches!(refused, Err(PhaseError::NotAllowed { wanted: Phase::Remove, .. })), "{refused:?}");
    assert_eq!(rollout, before);
}

#[test]
fn a_hello_of_this_very_life_counts_unless_an_announcement_is_newer() {
    let mut rollout = raised();
    let holdouts = |rollout: &Rollout| {
        rollout.hello(Incarnation(9), &story::functions(), &Limits::default()).migrations[0].holdouts.clone()
    };
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(2, Phase::Introduce));
    greet(&mut rollout, &hello("n2", 2, Phase::Switch, 1, 2)).expect("legal");
    assert!(holdouts(&rollout).is_empty(), "the same epoch, said later");
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(5, Phase::Introduce));
    greet(&mut rollout, &hello("n2", 2, Phase::Switch, 2, 0)).expect("legal");
    assert!(holdouts(&rollout).is_empty(), "its next life counts its phases anew");
}

#[test]
fn a_hello_says_what_its_node_takes_and_runs() {
    let limits = Limits { frame_bytes_max: 2_048, payload_bytes_max: 77, ..Limits::default() };
    let mut raised = raised();
    let said = raised.hello(Incarnation(9), &story::functions(), &limits);
    assert_eq!((&said.node, said.incarnation, &said.release), (&name("n1"), Incarnation(9), &Version::new(1, 2, 0)));
    assert_eq!((said.servers().phase, said.servers().epoch, said.hosts()), (Phase::Switch, 1, Servers::BOTH));
    assert_eq!((said.frame_bytes_max, said.payload_bytes_max), (2_048, 77));
    raised.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("all host the singleton");
    assert_eq!(raised.hello(Incarnation(9), &story::functions(), &limits).hosts(), Servers::BOTH, "whatever its phase");
}

#[test]
fn a_node_that_meets_its_own_name_is_refused_and_notes_nothing() {
    let mut rollout = raised();
    let before = rollout.clone();
    let refused = greet(&mut rollout, &hello("n1", 2, Phase::Switch, 1, 0)).expect_err("its own name");
    assert!(matches!(&refused, HandshakeError::Refused(refusal) if matches!(**refusal, Refusal::SameName { .. })));
    assert_eq!(rollout, before);
}

#[test]
fn a_member_in_the_way_blocks_the_way_back_and_no_ceiling_else() {
    let mut rollout = rollout(2);
    let refused = greet(&mut rollout, &hello("n2", 0, Phase::Singleton, 1, 0));
    assert!(refused.is_err(), "1.0 has no per-node servers");
    rollout
        .set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Switch))
        .expect("a ceiling above the phase is only waited for");
    assert!(greet(&mut rollout, &hello("n3", 3, Phase::Remove, 1, 0)).is_err(), "2.0 has no singleton");
    rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("the node is there already");
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Introduce, 0));
}

#[test]
fn a_member_that_joins_lowers_nothing_and_holds_what_is_not_reached_yet() {
    let mut rollout = raised();
    assert!(rollout.add_member(name("n4")));
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 1), "nobody is lowered for it");
    rollout
        .set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce))
        .expect("all that have spoken host the singleton");
    rollout.set_ceiling(SERVER_PER_NODE.key(), None).expect("nobody is in the way of a ceiling");
    assert_eq!(rollout.server_phase(), Phase::Introduce, "it has not said hello");
    assert_eq!(limit(&rollout), LimitingFactor::Unknown(name("n4")));
    greet(&mut rollout, &hello("n4", 2, Phase::Introduce, 1, 0)).expect("a member now");
    assert_eq!(rollout.server_phase(), Phase::Switch);
}

#[test]
fn a_member_joins_once_and_the_node_itself_never() {
    let mut rollout = raised();
    let before = rollout.clone();
    for known in ["n1", "n2", "n3"] {
        assert!(!rollout.add_member(name(known)), "{known}");
    }
    assert!(!rollout.remove_member(&name("n1")) && !rollout.remove_member(&name("n4")));
    assert_eq!(rollout, before, "what was said before still counts");
}

#[test]
fn the_phase_rises_when_the_member_in_its_way_leaves() {
    let mut rollout = rollout(2);
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 1, 0)).expect("legal");
    greet(&mut rollout, &hello("n3", 0, Phase::Singleton, 1, 0)).expect_err("1.0 and 1.2 may not speak");
    assert!(matches!(limit(&rollout), LimitingFactor::NotTaken(member, ..) if member == name("n3")));
    assert!(rollout.remove_member(&name("n3")));
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 1));
}

#[test]
fn a_member_that_leaves_no_longer_refuses_the_way_back_or_counts_as_a_holdout() {
    let mut rollout = raised();
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(1, Phase::Introduce));
    greet(&mut rollout, &hello("n3", 3, Phase::Remove, 2, 0)).expect_err("n2 sends to the singleton");
    rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect_err("n3 has no singleton");
    rollout.remove_member(&name("n3"));
    rollout.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("nobody is in the way");
    rollout.remove_member(&name("n2"));
    assert!(rollout.hello(Incarnation(9), &story::functions(), &Limits::default()).migrations[0].holdouts.is_empty());
}

#[test]
fn a_member_that_comes_back_under_its_name_is_a_new_one() {
    let mut rollout = raised();
    rollout.remove_member(&name("n2"));
    let gone = greet(&mut rollout, &hello("n2", 2, Phase::Switch, 1, 0)).expect_err("no member");
    assert_eq!(gone, HandshakeError::NotAMember(name("n2")));
    rollout.handle_announce(&name("n2"), Incarnation(1), 0, now(7, Phase::Introduce));
    assert!(rollout.add_member(name("n2")));
    assert!(
        rollout.hello(Incarnation(9), &story::functions(), &Limits::default()).migrations[0].holdouts.is_empty(),
        "its earlier words are forgotten"
    );
    assert_eq!(rollout.server_phase(), Phase::Switch);
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 1, 0)).expect("the same life, met again");
    assert_eq!(
        rollout.hello(Incarnation(9), &story::functions(), &Limits::default()).migrations[0].holdouts,
        [name("n2")]
    );
}

#[test]
fn a_node_that_does_not_know_its_members_stays_where_it_is() {
    let mut rollout = Rollout::unlisted(name("n1"), profiles()[2].clone(), []);
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Introduce, 0));
    assert_eq!(limit(&rollout), LimitingFactor::Unlisted);
    assert!(limit(&rollout).to_string().contains("list of members"));
    rollout.add_member(name("n2"));
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 1, 0)).expect("legal");
    assert_eq!(rollout.server_phase(), Phase::Introduce, "there may be others");
    rollout.note_listed();
    assert_eq!((rollout.server_phase(), rollout.changes()), (Phase::Switch, 1));
}

const READS: Migration = Migration::of_functions("inventory.reads", "get", "get_with");
const WRITES: Migration = Migration::of_functions("inventory.writes", "put", "put_with");

/// Two migrations under way at once, one a release ahead of the other.
fn inventory(release: usize) -> Profile {
    let train = Train::new("inventory")
        .release("3.0", |r| r)
        .release("3.1", |r| r.introduce(READS))
        .release("3.2", |r| r.switch(READS).introduce(WRITES))
        .release("3.3", |r| r.switch(WRITES))
        .release("3.4", |r| r.remove(READS).remove(WRITES));
    train.profiles().expect("a train")[release].clone()
}

/// What a member of that release says of itself, both migrations in their lowest phase.
fn stock(node: &str, release: usize, incarnation: u64) -> Hello {
    Hello { incarnation: Incarnation(incarnation), ..story::hello(node, &inventory(release), Phase::Remove) }
}

#[test]
fn each_migration_has_a_phase_of_its_own() {
    let mut rollout = Rollout::new(name("n1"), inventory(3), [name("n2")]);
    greet(&mut rollout, &stock("n2", 2, 1)).expect("neighbours");
    let both = |rollout: &Rollout| (rollout.phase(READS.key()), rollout.phase(WRITES.key()));
    let (introduce, switch) = (Some(Phase::Introduce), Some(Phase::Switch));
    assert_eq!(both(&rollout), (switch, switch), "n2 takes all four functions");
    rollout.set_ceiling(READS.key(), Some(Phase::Introduce)).expect("n2 takes the old one");
    assert_eq!(both(&rollout), (introduce, switch));
    assert_eq!(rollout.limiting_factor(READS.key()), Some(LimitingFactor::Ceiling(Phase::Introduce)));
    rollout.set_source(WRITES.key(), Some(Phase::Introduce)).expect("n2 takes the old one");
    assert_eq!(both(&rollout), (introduce, introduce));
    rollout.set_ceiling(READS.key(), None).expect("nobody is in the way");
    assert_eq!(both(&rollout), (switch, introduce));
    let epochs: Vec<u64> = rollout.phases().iter().map(|now| now.epoch).collect();
    assert_eq!(epochs, [0, 3, 2], "each counts its own changes");
}

#[test]
fn a_member_holds_the_migration_that_it_does_not_take_and_no_other() {
    let mut rollout = Rollout::new(name("n1"), inventory(2), ["n2", "n3"].map(name));
    greet(&mut rollout, &stock("n2", 1, 1)).expect("neighbours");
    assert_eq!(rollout.phase(READS.key()), Some(Phase::Introduce), "n3 has not said hello");
    let _ = greet(&mut rollout, &stock("n3", 0, 1));
    let factor = rollout.limiting_factor(READS.key()).expect("the train has it").to_string();
    assert_eq!(factor, "member n3 (release 3.0.0) does not take the new form of inventory.reads");
    greet(&mut rollout, &stock("n3", 2, 2)).expect("upgraded");
    assert_eq!(rollout.phase(READS.key()), Some(Phase::Switch));
    assert_eq!(rollout.phase(WRITES.key()), Some(Phase::Introduce));
}

#[test]
fn an_announcement_is_of_the_migration_that_its_sender_numbers_so() {
    let mut rollout = Rollout::new(name("n1"), inventory(3), [name("n2")]);
    let mut theirs = stock("n2", 2, 1);
    theirs.migrations.swap(1, 2);
    greet(&mut rollout, &theirs).expect("neighbours");
    let says_old = |rollout: &Rollout| {
        let said = rollout.hello(Incarnation(9), &story::functions(), &Limits::default());
        said.migrations.iter().map(|standing| standing.holdouts.len()).collect::<Vec<_>>()
    };
    assert_eq!(says_old(&rollout), [0, 1, 1], "both in their lowest phase");
    rollout.handle_announce(&name("n2"), Incarnation(1), 2, now(1, Phase::Switch));
    assert_eq!(says_old(&rollout), [0, 0, 1], "its third is our second");
    rollout.handle_announce(&name("n2"), Incarnation(1), 9, now(1, Phase::Switch));
    assert_eq!(says_old(&rollout), [0, 0, 1], "it has no such migration");
}

#[test]
fn a_migration_that_the_train_does_not_have_is_refused_by_name() {
    let mut rollout = raised();
    let key = MigrationKey::constant("inventory.reads");
    assert_eq!((rollout.phase(&key), rollout.limiting_factor(&key)), (None, None));
    let refused = rollout.set_ceiling(&key, None).expect_err("no such migration").to_string();
    assert_eq!(refused, "the train has no migration inventory.reads: it has rexi.server-per-node");
}

#[test]
fn a_node_of_another_cluster_is_refused_and_what_it_says_is_not_noted() {
    let mut rollout = raised();
    let before = rollout.clone();
    let theirs = Hello { cluster: "staging".into(), ..hello("n2", 0, Phase::Singleton, 5, 0) };
    let refused = greet(&mut rollout, &theirs).expect_err("another cluster");
    assert!(matches!(&refused, HandshakeError::Refused(refusal) if matches!(**refusal, Refusal::OtherCluster { .. })));
    assert_eq!(rollout, before);
    let mut named = raised().in_cluster("staging".into());
    greet(&mut named, &Hello { cluster: "staging".into(), ..hello("n2", 2, Phase::Switch, 2, 0) }).expect("its own");
}
