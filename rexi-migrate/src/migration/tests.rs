//! The known migrations, broken ones, synthesis, and migrations from files and from functions.

use std::sync::LazyLock;

use rexi_proto::{FunctionRow, Release, Train};

use super::*;
use crate::path::UpgradePath;
use crate::verdict::invariant::Invariant;

mod needed;

/// rexi's own migration, as the demo's train goes through it.
fn servers_of_the_demo() -> ProtocolChange {
    of_train(&crate::demo::path()).remove(0)
}

fn breach(migration: &ProtocolChange) -> Option<(Invariant, String)> {
    check(migration).breach.map(|(invariant, what, _)| (invariant, what))
}

#[test]
fn the_known_migrations_are_safe_in_every_mix_and_their_searches_met_what_matters() {
    for migration in known(&crate::demo::path()) {
        let checked = check(&migration);
        assert_eq!(checked.breach, None, "{}", migration.name);
        assert!(checked.met.iter().all(|&(_, times)| times > 0), "{}: {checked:?}", migration.name);
        assert!(checked.states > 100, "{}: {checked:?}", migration.name);
    }
}

#[test]
fn a_form_that_is_said_before_all_understand_it_is_found() {
    for (mut migration, invariant, what) in [
        (kill_all(), Invariant::S9, "before cannot read a batch of kills"),
        (tagged_reply(), Invariant::S9, "a caller of before cannot read a tagged reply"),
        (servers_of_the_demo(), Invariant::S1, "a cast to the per-node server reaches 1.0, which does not take it"),
    ] {
        migration.releases.remove(1);
        assert_eq!(breach(&migration), Some((invariant, what.to_owned())), "{}", migration.name);
    }
}

#[test]
fn kills_that_follow_what_is_said_now_miss_jobs_from_before_a_flip() {
    let mut forgetful = servers_of_the_demo();
    forgetful.releases.iter_mut().for_each(|release| release.remembers = false);
    let Checked { breach: Some((invariant, what, trace)), .. } = check(&forgetful) else {
        panic!("lowered back to 1.1, a kill goes to the singleton alone");
    };
    assert_eq!((invariant, what.as_str()), (Invariant::S3, "the job runs on though its kill has arrived"));
    let text = trace.to_string();
    assert!(text.contains("changes at run time: 1.2 to 1.1"), "{text}");
    // To both servers in both releases is as good as a memory.
    let kills = forgetful.of_role(Role::End);
    forgetful.releases[1].emits = forgetful.releases[1].emits.with(kills);
    assert_eq!(breach(&forgetful), None);
}

#[test]
fn a_cast_to_both_servers_runs_twice_and_a_release_that_casts_nowhere_breaks_nothing() {
    let mut migration = servers_of_the_demo();
    let casts = migration.of_role(Role::Start);
    migration.releases[1].emits = migration.releases[1].emits.with(casts);
    migration.releases.drain(..1);
    assert_eq!(breach(&migration).map(|(invariant, _)| invariant), Some(Invariant::S2));
    migration.releases[0].emits = migration.releases[0].emits.without(casts);
    assert_eq!(breach(&migration), None);
}

/// A plan is its draft, with its ends as they were and two numbered releases between.
fn is_of_draft(plan: &ProtocolChange, draft: &ProtocolChange) {
    let releases: Vec<&str> = plan.releases.iter().map(|release| release.name.as_str()).collect();
    let [first, .., last] = &draft.releases[..] else { panic!("it has two ends: {draft:?}") };
    assert_eq!(releases, [&first.name, "between 1", "between 2", &last.name], "{plan:#?}");
    assert_eq!((&plan.releases[0], &plan.releases[3]), (first, last));
    assert_eq!((&plan.name, &plan.about, &plan.forms), (&draft.name, &draft.about, &draft.forms));
}

/// What is found of a known migration's two ends: searched once, since that takes long.
fn found_again(migration: &ProtocolChange) -> &'static Synthesis {
    static FOUND: LazyLock<Vec<(String, Synthesis)>> = LazyLock::new(|| {
        let found = |migration: ProtocolChange| {
            let found = synthesize(&migration).expect("it is narrow");
            (migration.name, found)
        };
        known(&crate::demo::path()).into_iter().map(found).collect()
    });
    let of = FOUND.iter().find(|(name, _)| *name == migration.name);
    &of.unwrap_or_else(|| panic!("{} is not known", migration.name)).1
}

#[test]
fn the_three_releases_are_found_from_the_old_and_the_new_behaviour_alone() {
    // Sets of forms that are accepted, by what is cast, by what answers or ends jobs, remembered or not.
    let candidates = [16 * 2 * 3 * 2, 8 * 3 * 2, 16 * 2 * 2];
    for (migration, candidates) in known(&crate::demo::path()).into_iter().zip(candidates) {
        let found = found_again(&migration);
        let plan = found.plan.as_ref().unwrap_or_else(|| panic!("{}: no plan", migration.name));
        is_of_draft(plan, &migration);
        assert_eq!(found.candidates, candidates, "{}", migration.name);
        assert!(found.pairs > candidates && found.states > found.pairs, "{}: {found:?}", migration.name);
        assert_eq!(breach(plan), None);
        // Both forms are understood before the first word of the new one, and until after the last of the old one.
        let both = migration.releases[0].accepts.with(migration.releases[3].accepts);
        for release in &plan.releases[1..3] {
            assert_eq!(release.accepts, both, "{}", migration.name);
        }
        let (starts, answers) = (migration.of_role(Role::Start), migration.of_role(Role::Answer));
        let said = |forms: MessageForms, of: MessageForms| forms.without(forms.without(of));
        for of in [starts, answers] {
            assert_eq!(said(plan.releases[1].emits, of), said(migration.releases[0].emits, of));
            assert_eq!(said(plan.releases[2].emits, of), said(migration.releases[3].emits, of));
        }
    }
}

#[test]
fn sets_of_forms_are_joined_and_taken_apart_form_by_form() {
    let set = |places: &[usize]| places.iter().copied().collect::<MessageForms>();
    let (one, other) = (set(&[0, 1]), set(&[1, FORMS_MAX - 1]));
    assert_eq!(one.with(other), set(&[0, 1, FORMS_MAX - 1]));
    assert_eq!((one.without(other), other.without(one)), (set(&[0]), set(&[FORMS_MAX - 1])));
    assert_eq!(other.iter().collect::<Vec<_>>(), [1, FORMS_MAX - 1]);
    assert_eq!([0, 1, 31, 32, 33].map(|place| other.contains(place)), [false, true, true, false, false]);
    assert!(MessageForms::NONE.is_empty() && one.without(one).is_empty() && !one.is_empty());
    assert_eq!(format!("{one:?}"), "{0, 1}");
}

#[test]
fn names_of_forms_are_joined_as_a_sentence_has_them() {
    let migration = servers_of_the_demo();
    let names = |places: &[usize]| migration.names(places.iter().copied().collect());
    assert_eq!(names(&[]), "nothing");
    assert_eq!(names(&[1]), "cast to the per-node server");
    assert_eq!(names(&[0, 2]), "cast to the singleton and kill to the singleton");
    let three = "cast to the singleton, kill to the singleton and kill to the per-node server";
    assert_eq!(names(&[0, 2, 3]), three);
}

#[test]
fn what_a_release_says_is_told_by_role() {
    let migration = tagged_reply();
    let said = |release| [Role::Start, Role::End, Role::Answer].map(|role| migration.emitted(release, role));
    let of = |places: [usize; 3]| places.map(MessageForms::of);
    assert_eq!((said(0), said(2)), (of([0, 1, 2]), of([0, 1, 3])));
    assert_eq!(migration.of_role(Role::Answer), MessageForms::of(2).with(MessageForms::of(3)));
}

#[test]
fn every_shorter_plan_is_ruled_out_by_a_counterexample_that_breaks_something() {
    let found = found_again(&servers_of_the_demo());
    let of = |steps| found.ruled_out.iter().filter(move |out| out.steps == steps);
    assert_eq!(of(1).map(|out| out.plans).sum::<u128>(), 1);
    assert_eq!(of(2).map(|out| out.plans).sum::<u128>(), found.candidates as u128);
    assert_eq!(of(3).count(), 0);
    for out in &found.ruled_out {
        let migration = ProtocolChange { releases: out.pair.to_vec(), ..servers_of_the_demo() };
        assert_eq!(breach(&migration), Some((out.invariant, out.what.clone())), "it fails again when it is searched");
        assert!(out.trace.events.last().is_some_and(|event| event.breach), "{out:?}");
    }
}

#[test]
fn each_step_says_what_it_needs_and_how_it_is_taken_back() {
    let steps = steps(&servers_of_the_demo());
    let [introduce, switch, remove] = steps.as_slice() else { panic!("three steps: {steps:?}") };
    assert_eq!(introduce.changes[0], "understands cast to the per-node server and kill to the per-node server");
    assert!(introduce.changes[1].starts_with("a kill also goes where its call was cast"), "{introduce:?}");
    assert!(switch.needs.iter().any(|need| need.contains("every node understands cast to the per-node server")));
    assert!(switch.way_back.starts_with("at run time"), "{switch:?}");
    assert!(remove.needs.iter().any(|need| need.contains("no node says")), "{remove:?}");
    assert!(remove.needs.iter().any(|need| need.contains("no job runs on the singleton")), "{remove:?}");
    assert!(remove.way_back.contains("as long as the upgrade is not finalized"), "{remove:?}");
}

#[test]
fn each_step_says_all_that_it_changes() {
    let changes: Vec<_> = steps(&servers_of_the_demo()).into_iter().map(|step| step.changes).collect();
    let remembers = |goes| format!("a kill {goes} where its call was cast, whatever is said by then");
    let both = "cast to the per-node server and kill to the per-node server";
    let old = "cast to the singleton and kill to the singleton";
    assert_eq!(
        changes,
        [
            vec![format!("understands {both}"), remembers("also goes")],
            vec![format!("says {both}"), "no longer says cast to the singleton".to_owned()],
            vec![
                "no longer says kill to the singleton".to_owned(),
                format!("no longer understands {old}"),
                remembers("no longer goes"),
            ],
        ]
    );
}

#[test]
fn a_service_adds_the_rows_of_its_functions() {
    let row = |name: &'static str, accepted, emitted, retired| FunctionRow {
        name: name.into(),
        accepted_since: Release(1, accepted, 0),
        emitted_since: Release(1, emitted, 0),
        silent_since: None,
        retired_in: retired,
    };
    let good = [row("get", 0, 0, Some(Release(1, 3, 0))), row("get.v2", 1, 2, None)];
    let train = of_releases(&["1.0", "1.1", "1.2", "1.3"]);
    let migration = ProtocolChange::of_functions("get", &good, &train);
    let names: Vec<&str> = migration.releases.iter().map(|release| release.name.as_str()).collect();
    assert_eq!(names, ["1.0", "1.1", "1.2", "1.3"]);
    assert_eq!(breach(&migration), None);
    let hasty = [row("get", 0, 0, Some(Release(1, 2, 0))), row("get.v2", 1, 2, None)];
    let (invariant, what) =
        breach(&ProtocolChange::of_functions("get", &hasty, &train)).expect("1.1 calls what 1.2 has not");
    assert_eq!((invariant, what.as_str()), (Invariant::S1, "a call of get reaches 1.2, which does not take it"));
    // One that nothing takes the place of is silent before it goes.
    let mut last = row("compact", 0, 0, Some(Release(1, 2, 0)));
    let compact = |row: FunctionRow| breach(&ProtocolChange::of_functions("compact", &[row], &train)).map(|of| of.0);
    assert_eq!(compact(last.clone()), Some(Invariant::S1));
    last.silent_since = Some(Release(1, 1, 0));
    assert_eq!(compact(last), None);
    // Called in the release that brings it, beside one that does not have it.
    assert_eq!(compact(row("compact", 2, 2, None)), Some(Invariant::S1));
    assert_eq!(compact(row("compact", 2, 3, None)), None);
    assert_eq!(compact(row("compact", 0, 0, None)), None, "no release was before it");
}

fn of_releases(releases: &[&str]) -> UpgradePath {
    let train = releases.iter().fold(Train::new("service"), |train, release| train.release(release, |r| r));
    UpgradePath::of(&train).expect("a train")
}

#[test]
fn a_function_that_comes_or_goes_has_a_plan_of_two_steps() {
    let row = |emitted, silent_since, retired_in| FunctionRow {
        name: "kv.new".into(),
        accepted_since: Release(1, 1, 0),
        emitted_since: emitted,
        silent_since,
        retired_in,
    };
    let train = of_releases(&["1.0", "1.1"]);
    let came = ProtocolChange::of_functions("new", &[row(Release(1, 1, 0), None, None)], &train);
    let gone = FunctionRow { accepted_since: Release(1, 0, 0), ..row(Release(1, 0, 0), None, Some(Release(1, 1, 0))) };
    let gone = ProtocolChange::of_functions("old", &[gone], &train);
    for hasty in [came, gone] {
        let plan = synthesize(&hasty).expect("it is narrow").plan.expect("there is one");
        let [first, between, last] = &plan.releases[..] else { panic!("two steps: {:?}", plan.releases) };
        assert_eq!((first, last), (&hasty.releases[0], &hasty.releases[1]));
        assert!(between.accepts.contains(0) && between.emits.is_empty(), "it takes the call, and says nothing");
        assert_eq!(breach(&plan), None);
    }
}

#[test]
fn a_file_declares_a_migration_and_errors_say_what_is_wrong() {
    let text = r#"
        name = "put"
        form = [{ name = "put", role = "start" }, { name = "put2", role = "start", server = "store" }]
        release = [
            { name = "1", accepts = ["put"], emits = ["put"] },
            { name = "2", accepts = ["put", "put2"], emits = ["put2"] },
        ]
    "#;
    let migration = from_toml(text).expect("it is a migration");
    assert_eq!(breach(&migration).map(|(invariant, _)| invariant), Some(Invariant::S1));
    for (from, to, says) in [
        (
            "emits = [\"put\"]",
            "emits = [\"get\"]",
            "names the form \"get\", which is not declared; declared are put, put2",
        ),
        ("name = \"2\"", "name = \"1\"", "the release \"1\" is declared twice"),
        ("role = \"start\" }", "role = \"begin\" }", "begin"),
        ("server = \"store\"", "host = \"store\"", "host"),
        ("{ name = \"2\"", "# { name = \"2\"", "a migration has 2 to 16"),
    ] {
        let error = from_toml(&text.replace(from, to)).expect_err(to).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_examples_are_what_they_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/migrations");
    let files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file").path()).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a text");
        let migration = from_toml(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(breach(&migration).is_some(), text.contains("UNSAFE"), "{}", file.display());
        let plan = synthesize(&migration).expect("it is narrow").plan;
        assert!(plan.is_some(), "{} has a safe plan", file.display());
    }
}

#[test]
fn what_is_too_wide_to_be_synthesized_is_refused() {
    let mut wide = kill_all();
    let more = wide.forms[0].clone();
    wide.forms.extend(std::iter::repeat_n(more, 4));
    let error = synthesize(&wide).expect_err("seven forms").to_string();
    assert!(error.contains("up to 6 forms, and this migration has 7"), "{error}");
}
