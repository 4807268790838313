//! One node's rollout: what raises it, what holds it, who may lower it, whose word counts.

use super::*;
use crate::version::VersionRange;

fn name(name: &str) -> NodeName {
    NodeName::new(name).expect("a name")
}

/// n1 of this release of the train, beside the members n2 and n3.
fn rollout(release: usize) -> Rollout {
    Rollout::new(name("n1"), Profile::train()[release].clone(), ["n1", "n2", "n3"].map(name))
}

fn hello(node: &str, release: usize, phase: Phase, incarnation: u64, phase_epoch: u64) -> Hello {
    let profile = &Profile::train()[release];
    Hello {
        node: name(node),
        incarnation: Incarnation(incarnation),
        release: profile.release().clone(),
        wire: profile.wire(),
        phase,
        phase_epoch,
        ceiling: profile.highest(),
        hosts: profile.hosts(),
        holdouts: Vec::new(),
        capabilities: 0,
        frame_bytes_max: 1 << 20,
        payload_bytes_max: 4 << 20,
    }
}

fn greet(rollout: &mut Rollout, theirs: &Hello) -> Result<Agreement, HandshakeError> {
    let ours = rollout.hello(Incarnation(9), &Limits::default());
    rollout.handle_hello(&ours, theirs)
}

/// n1 at 1.2, raised, beside two others like it.
fn raised() -> Rollout {
    let mut rollout = rollout(2);
    greet(&mut rollout, &hello("n2", 2, Phase::Switch, 1, 0)).expect("legal");
    greet(&mut rollout, &hello("n3", 2, Phase::Switch, 1, 0)).expect("legal");
    assert_eq!(rollout.phase(), Phase::Switch);
    rollout
}

#[test]
fn raising_waits_for_the_last_member_and_names_it() {
    let mut rollout = rollout(2);
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Introduce, 0));
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Unknown(name("n2")));
    greet(&mut rollout, &hello("n2", 1, Phase::Introduce, 1, 0)).expect("legal");
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Unknown(name("n3")));
    greet(&mut rollout, &hello("n3", 1, Phase::Introduce, 1, 0)).expect("legal");
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 1));
    assert!(matches!(rollout.limiting_factor(), LimitingFactor::Release(_)));
}

#[test]
fn a_member_without_per_node_servers_holds_the_phase_by_name() {
    let mut rollout = rollout(2);
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 1, 0)).expect("legal");
    let refused = greet(&mut rollout, &hello("n3", 0, Phase::Singleton, 1, 0));
    assert!(matches!(refused, Err(HandshakeError::Refused(_))), "1.0 and 1.2 may not speak");
    assert_eq!(rollout.phase(), Phase::Introduce);
    let factor = rollout.limiting_factor();
    assert!(matches!(&factor, LimitingFactor::NotHosted(member, _, ServerAddress::PerNode) if *member == name("n3")));
    assert!(factor.to_string().contains("1.0.0"), "{factor}");
    greet(&mut rollout, &hello("n3", 1, Phase::Introduce, 2, 0)).expect("upgraded");
    assert_eq!(rollout.phase(), Phase::Switch);
}

#[test]
fn the_ceiling_holds_and_lets_go() {
    let mut rollout = raised();
    rollout.set_ceiling(Some(Phase::Introduce)).expect("all host the singleton");
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Introduce, 2));
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Ceiling(Phase::Introduce));
    assert_eq!(rollout.hello(Incarnation(9), &Limits::default()).ceiling, Phase::Introduce);
    rollout.set_ceiling(None).expect("nobody is in the way");
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 3));
}

#[test]
fn the_source_and_the_ceiling_hold_together() {
    let mut rollout = raised();
    rollout.set_source(Some(Phase::Introduce)).expect("all host the singleton");
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Source(Phase::Introduce));
    rollout.set_ceiling(Some(Phase::Introduce)).expect("it is there already");
    rollout.set_source(None).expect("it lets go");
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Ceiling(Phase::Introduce));
    assert_eq!(rollout.phase(), Phase::Introduce);
}

#[test]
fn a_phase_outside_the_release_is_refused_and_changes_nothing() {
    let mut rollout = raised();
    let before = rollout.clone();
    for phase in [Phase::Singleton, Phase::Remove] {
        let refused = rollout.set_ceiling(Some(phase));
        assert!(matches!(refused, Err(PhaseError::NotAllowed { wanted, .. }) if wanted == phase));
        assert!(rollout.set_source(Some(phase)).is_err());
    }
    assert_eq!(rollout, before);
}

#[test]
fn a_member_that_removed_the_singleton_refuses_the_way_back_by_name() {
    let mut rollout = raised();
    greet(&mut rollout, &hello("n3", 3, Phase::Remove, 2, 0)).expect("legal beside a raised node");
    let before = rollout.clone();
    let refused = rollout.set_ceiling(Some(Phase::Introduce)).expect_err("n3 has no singleton");
    assert!(matches!(&refused, PhaseError::Blocked { member, .. } if *member == name("n3")));
    assert!(refused.to_string().contains("2.0.0"), "{refused}");
    assert!(rollout.set_source(Some(Phase::Introduce)).is_err());
    assert_eq!(rollout, before);
}

#[test]
fn an_announcement_counts_once_and_for_its_own_life() {
    let mut rollout = raised();
    let holdouts = |rollout: &Rollout| rollout.hello(Incarnation(9), &Limits::default()).holdouts;
    rollout.handle_announce(&name("n2"), Incarnation(1), 2, Phase::Introduce);
    assert_eq!(holdouts(&rollout), [name("n2")]);
    rollout.handle_announce(&name("n2"), Incarnation(1), 1, Phase::Switch);
    rollout.handle_announce(&name("n2"), Incarnation(1), 2, Phase::Switch);
    assert_eq!(holdouts(&rollout), [name("n2")], "older words than the last");
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 2, 0)).expect("its next life");
    rollout.handle_announce(&name("n2"), Incarnation(1), 9, Phase::Switch);
    assert_eq!(holdouts(&rollout), [name("n2")], "the word of an earlier life");
    rollout.handle_announce(&name("n2"), Incarnation(2), 1, Phase::Switch);
    assert!(holdouts(&rollout).is_empty());
    rollout.handle_announce(&name("stranger"), Incarnation(1), 1, Phase::Introduce);
    assert!(holdouts(&rollout).is_empty());
}

#[test]
fn an_older_hello_of_the_same_life_does_not_undo_an_announcement() {
    let mut rollout = raised();
    rollout.handle_announce(&name("n2"), Incarnation(1), 2, Phase::Introduce);
    greet(&mut rollout, &hello("n2", 2, Phase::Switch, 1, 1)).expect("legal");
    assert_eq!(rollout.hello(Incarnation(9), &Limits::default()).holdouts, [name("n2")]);
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
    rollout.handle_announce(&name("n2"), Incarnation(1), 1, Phase::Introduce);
    let remover = hello("n3", 3, Phase::Remove, 2, 0);
    let refused = greet(&mut rollout, &remover).expect_err("n2 sends to the singleton");
    assert!(refused.to_string().contains("n2"), "{refused}");
    rollout.handle_announce(&name("n2"), Incarnation(1), 2, Phase::Switch);
    greet(&mut rollout, &remover).expect("nobody needs the singleton");
}

#[test]
fn a_phase_that_moves_in_a_handshake_is_noticed_where_it_matters() {
    let mut rollout = raised();
    let ours = rollout.hello(Incarnation(9), &Limits::default());
    rollout.set_ceiling(Some(Phase::Introduce)).expect("all host the singleton");
    let theirs = hello("n3", 3, Phase::Remove, 2, 0);
    assert_eq!(rollout.handle_hello(&ours, &theirs), Err(HandshakeError::PhaseMoved));
    let theirs = hello("n3", 2, Phase::Switch, 3, 0);
    assert!(rollout.handle_hello(&ours, &theirs).is_ok(), "who hosts both need not dial again");
}

#[test]
fn a_cluster_of_one_is_raised_at_once() {
    let rollout = Rollout::new(name("n1"), Profile::train()[2].clone(), [name("n1")]);
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 1));
}

#[test]
fn a_release_that_speaks_one_version_says_so() {
    let hello = rollout(2).hello(Incarnation(9), &Limits::default());
    assert_eq!(hello.wire, VersionRange::new(crate::WireVersion::V2, crate::WireVersion::V2));
    assert_eq!(hello.ceiling, Phase::Switch);
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
    assert_eq!(renamed.hello(Incarnation(9), &Limits::default()).node, name("n2"));
    assert_eq!(renamed.renamed(turned), raised, "there and back");
}

#[test]
fn what_limits_a_node_is_told_in_words() {
    for (factor, words) in [
        (LimitingFactor::Release(Version::new(1, 2, 0)), "release 1.2.0 allows no more"),
        (LimitingFactor::Ceiling(Phase::Introduce), "the operator's ceiling is introduce"),
        (LimitingFactor::Source(Phase::Introduce), "the flag source says introduce"),
        (LimitingFactor::Unknown(name("n3")), "member n3 has not said hello yet"),
        (
            LimitingFactor::NotHosted(name("n3"), Version::new(1, 0, 0), ServerAddress::PerNode),
            "member n3 (release 1.0.0) does not run the per-node server",
        ),
    ] {
        assert_eq!(factor.to_string(), words);
    }
}

#[test]
fn a_ceiling_or_a_word_that_allows_all_does_not_limit() {
    let release = LimitingFactor::Release(Profile::train()[2].release().clone());
    let mut rollout = raised();
    rollout.set_ceiling(Some(Phase::Switch)).expect("it is there");
    rollout.set_source(Some(Phase::Switch)).expect("it is there");
    assert_eq!((rollout.phase(), rollout.limiting_factor()), (Phase::Switch, release));
    rollout.set_source(Some(Phase::Introduce)).expect("all host the singleton");
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Source(Phase::Introduce), "and not the ceiling above it");
}

#[test]
fn the_ceiling_limits_a_node_that_no_member_would_hold() {
    let mut rollout = rollout(2);
    rollout.set_ceiling(Some(Phase::Introduce)).expect("it starts there");
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Ceiling(Phase::Introduce), "before any hello");
    for member in ["n2", "n3"] {
        greet(&mut rollout, &hello(member, 1, Phase::Introduce, 1, 0)).expect("legal");
    }
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Introduce, 0));
    rollout.set_ceiling(None).expect("nobody is in the way");
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 1));
}

#[test]
fn a_node_that_is_held_stays_in_its_phase_whoever_says_what() {
    let mut rollout = rollout(2);
    rollout.hold(Phase::Switch).expect("its release allows it");
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 1), "no member was waited for");
    let _ = greet(&mut rollout, &hello("n2", 0, Phase::Singleton, 1, 0));
    rollout.set_source(Some(Phase::Introduce)).expect("n2 runs the singleton");
    rollout.handle_announce(&name("n2"), Incarnation(1), 1, Phase::Singleton);
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 1));
    let before = rollout.clone();
    let refused = rollout.hold(Phase::Remove);
    assert!(matches!(refused, Err(PhaseError::NotAllowed { wanted: Phase::Remove, .. })), "{refused:?}");
    assert_eq!(rollout, before);
}

#[test]
fn a_hello_of_this_very_life_counts_unless_an_announcement_is_newer() {
    let mut rollout = raised();
    let holdouts = |rollout: &Rollout| rollout.hello(Incarnation(9), &Limits::default()).holdouts;
    rollout.handle_announce(&name("n2"), Incarnation(1), 2, Phase::Introduce);
    greet(&mut rollout, &hello("n2", 2, Phase::Switch, 1, 2)).expect("legal");
    assert!(holdouts(&rollout).is_empty(), "the same epoch, said later");
    rollout.handle_announce(&name("n2"), Incarnation(1), 5, Phase::Introduce);
    greet(&mut rollout, &hello("n2", 2, Phase::Switch, 2, 0)).expect("legal");
    assert!(holdouts(&rollout).is_empty(), "its next life counts its phases anew");
}

#[test]
fn a_hello_says_what_its_node_takes_and_runs() {
    let limits = Limits { frame_bytes_max: 2_048, payload_bytes_max: 77, ..Limits::default() };
    let mut raised = raised();
    let said = raised.hello(Incarnation(9), &limits);
    assert_eq!((said.node, said.incarnation, said.release), (name("n1"), Incarnation(9), Version::new(1, 2, 0)));
    assert_eq!((said.phase, said.phase_epoch, said.hosts), (Phase::Switch, 1, Servers::BOTH));
    assert_eq!((said.frame_bytes_max, said.payload_bytes_max), (2_048, 77));
    raised.set_ceiling(Some(Phase::Introduce)).expect("all host the singleton");
    assert_eq!(raised.hello(Incarnation(9), &limits).hosts, Servers::BOTH, "whatever its phase");
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
    rollout.set_ceiling(Some(Phase::Switch)).expect("a ceiling above the phase is only waited for");
    assert!(greet(&mut rollout, &hello("n3", 3, Phase::Remove, 1, 0)).is_err(), "2.0 has no singleton");
    rollout.set_ceiling(Some(Phase::Introduce)).expect("the node is there already");
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Introduce, 0));
}

#[test]
fn a_member_that_joins_lowers_nothing_and_holds_what_is_not_reached_yet() {
    let mut rollout = raised();
    assert!(rollout.add_member(name("n4")));
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 1), "nobody is lowered for it");
    rollout.set_ceiling(Some(Phase::Introduce)).expect("all that have spoken host the singleton");
    rollout.set_ceiling(None).expect("nobody is in the way of a ceiling");
    assert_eq!(rollout.phase(), Phase::Introduce, "it has not said hello");
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Unknown(name("n4")));
    greet(&mut rollout, &hello("n4", 2, Phase::Introduce, 1, 0)).expect("a member now");
    assert_eq!(rollout.phase(), Phase::Switch);
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
    assert!(matches!(rollout.limiting_factor(), LimitingFactor::NotHosted(member, ..) if member == name("n3")));
    assert!(rollout.remove_member(&name("n3")));
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 1));
}

#[test]
fn a_member_that_leaves_no_longer_refuses_the_way_back_or_counts_as_a_holdout() {
    let mut rollout = raised();
    rollout.handle_announce(&name("n2"), Incarnation(1), 1, Phase::Introduce);
    greet(&mut rollout, &hello("n3", 3, Phase::Remove, 2, 0)).expect_err("n2 sends to the singleton");
    rollout.set_ceiling(Some(Phase::Introduce)).expect_err("n3 has no singleton");
    rollout.remove_member(&name("n3"));
    rollout.set_ceiling(Some(Phase::Introduce)).expect("nobody is in the way");
    rollout.remove_member(&name("n2"));
    assert!(rollout.hello(Incarnation(9), &Limits::default()).holdouts.is_empty());
}

#[test]
fn a_member_that_comes_back_under_its_name_is_a_new_one() {
    let mut rollout = raised();
    rollout.remove_member(&name("n2"));
    let gone = greet(&mut rollout, &hello("n2", 2, Phase::Switch, 1, 0)).expect_err("no member");
    assert_eq!(gone, HandshakeError::NotAMember(name("n2")));
    rollout.handle_announce(&name("n2"), Incarnation(1), 7, Phase::Introduce);
    assert!(rollout.add_member(name("n2")));
    assert!(rollout.hello(Incarnation(9), &Limits::default()).holdouts.is_empty(), "its earlier words are forgotten");
    assert_eq!(rollout.phase(), Phase::Switch);
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 1, 0)).expect("the same life, met again");
    assert_eq!(rollout.hello(Incarnation(9), &Limits::default()).holdouts, [name("n2")]);
}

#[test]
fn a_node_that_does_not_know_its_members_stays_where_it_is() {
    let mut rollout = Rollout::unlisted(name("n1"), Profile::train()[2].clone(), []);
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Introduce, 0));
    assert_eq!(rollout.limiting_factor(), LimitingFactor::Unlisted);
    assert!(rollout.limiting_factor().to_string().contains("list of members"));
    rollout.add_member(name("n2"));
    greet(&mut rollout, &hello("n2", 2, Phase::Introduce, 1, 0)).expect("legal");
    assert_eq!(rollout.phase(), Phase::Introduce, "there may be others");
    rollout.note_listed();
    assert_eq!((rollout.phase(), rollout.epoch()), (Phase::Switch, 1));
}
