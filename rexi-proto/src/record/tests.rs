//! Tests of the record by hand: what each member says yes to, what it does not, and the text of what it keeps. All
//! orders of it are searched by `rexi-migrate check`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::migration::SERVER_PER_NODE;
use crate::mutant::Mutants;
use crate::name::Incarnation;
use crate::operate::{MemberLook, PeerLook, PhaseLook, SingletonLook, SourceLook};

const LOW: Release = Release(1, 0, 0);
const HIGH: Release = Release(1, 1, 0);

fn name(index: usize) -> NodeName {
    NodeName::new(format!("n{index}")).expect("a name")
}

fn members() -> BTreeSet<NodeName> {
    (1..=3).map(name).collect()
}

fn life(release: Release) -> SeenLife {
    SeenLife { incarnation: Incarnation(7), release, build: Digest::of("a program") }
}

fn facts(release: Release) -> Facts {
    Facts { life: life(release), members: members(), cluster: "shop".into(), ready: Ok(()), settled: Ok(()) }
}

/// An intent that follows from a record.
fn intent(before: Option<&ClusterRecord>, attempt: u64, change: ClusterChange) -> Arc<Intent> {
    let (epoch, previous) = before.map_or((0, Digest::default()), |record| (record.epoch, record.digest()));
    let members = members()
        .into_iter()
        .filter(|node| !matches!(&change, ClusterChange::Forget { nodes, .. } if nodes.contains(node)));
    let members: BTreeSet<NodeName> = members.collect();
    let lives = members.iter().map(|node| (node.clone(), life(HIGH))).collect();
    let (cluster, by) = ("shop".into(), "alice".into());
    Arc::new(Intent { cluster, epoch: epoch + 1, attempt, previous, change, members, lives, by, at: 1_764_547_200 })
}

fn begun(floor: Release, top: Release) -> Arc<ClusterRecord> {
    Arc::new(intent(None, 1, ClusterChange::Begin { floor, top }).record(None).expect("it begins"))
}

/// A member with this record.
fn keeper(record: &Arc<ClusterRecord>) -> Keeper {
    Keeper::new(Kept { record: Some(Arc::clone(record)), ..Kept::nothing(name(1)) })
}

/// What a member answers, once it has written what it wants to write.
fn ask(keeper: &mut Keeper, ask: KeeperAsk) -> Result<(), No> {
    let facts = facts(HIGH);
    keeper.handle(1, ask, &facts);
    loop {
        match keeper.poll_output().expect("it answers") {
            KeeperOutput::Write(_) => keeper.handle_written(true, &facts),
            KeeperOutput::Apply(_) => {}
            KeeperOutput::Answer(1, answer) => return answer.did,
            KeeperOutput::Answer(..) => panic!("nobody has asked that"),
        }
    }
}

#[test]
fn a_yes_is_on_the_disk_before_it_is_said_and_binds_from_then_on() {
    let record = begun(LOW, HIGH);
    let mut keeper = keeper(&record);
    let intent = intent(Some(&record), 1, ClusterChange::Finalize { floor: HIGH });
    keeper.handle(5, KeeperAsk::Vote(Arc::clone(&intent)), &facts(HIGH));
    keeper.handle(6, KeeperAsk::Read, &facts(HIGH));
    let Some(KeeperOutput::Write(kept)) = keeper.poll_output() else { panic!("it writes first") };
    assert_eq!(keeper.poll_output(), None, "and says nothing before that is done, to nobody");
    assert_eq!((keeper.kept().vote.as_ref(), keeper.may_start(LOW)), (None, Ok(())));
    keeper.handle_written(true, &facts(HIGH));
    assert_eq!(keeper.poll_output(), Some(KeeperOutput::Apply(kept.clone())));
    for ticket in [5, 6] {
        let Some(KeeperOutput::Answer(of, answer)) = keeper.poll_output() else { panic!("it answers") };
        assert_eq!((of, answer.did, &answer.kept), (ticket, Ok(()), &kept));
    }
    let bound = Bar::BelowPendingFloor { release: LOW, floor: HIGH };
    assert_eq!(keeper.may_start(LOW), Err(bound.clone()));
    assert_eq!(keeper.meet(&name(2), LOW, kept.words().as_ref()), Err(Apart::Barred(bound)));
    assert_eq!(ask(&mut keeper, KeeperAsk::Vote(intent)), Ok(()), "a second time is the same yes");
}

#[test]
fn a_member_says_yes_to_one_intent_and_names_whose() {
    let record = begun(LOW, HIGH);
    let mut keeper = keeper(&record);
    assert_eq!(
        ask(&mut keeper, KeeperAsk::Vote(intent(Some(&record), 1, ClusterChange::Finalize { floor: HIGH }))),
        Ok(())
    );
    let other = intent(Some(&record), 2, ClusterChange::Cap(BTreeMap::new()));
    let busy = No::Busy { by: "alice".into(), what: "finalize 1.1".to_owned() };
    assert_eq!(ask(&mut keeper, KeeperAsk::Vote(Arc::clone(&other))), Err(busy));
    assert_eq!(ask(&mut keeper, KeeperAsk::Close { epoch: 2, attempt: 1 }), Err(No::SaidYes));
    assert_eq!(ask(&mut keeper, KeeperAsk::Abort { epoch: 2, attempt: 1 }), Ok(()));
    assert_eq!(ask(&mut keeper, KeeperAsk::Vote(other)), Ok(()));
}

#[test]
fn each_thing_that_a_yes_depends_on_is_asked_and_named() {
    let record = begun(LOW, HIGH);
    let finalize = ClusterChange::Finalize { floor: HIGH };
    let good = intent(Some(&record), 1, finalize.clone());
    let with = |change: &dyn Fn(&mut Intent)| {
        let mut intent = (*good).clone();
        change(&mut intent);
        ask(&mut keeper(&record), KeeperAsk::Vote(Arc::new(intent)))
    };
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|intent| intent.epoch = 3), Err(No::Stale { epoch: 1 }));
    assert_eq!(with(&|intent| intent.previous = Digest::default()), Err(No::Stale { epoch: 1 }));
    assert_eq!(with(&|intent| intent.attempt = 0), Err(No::Closed { closed: 0 }));
    let listed = No::Members { listed: "n1 n2 n3".to_owned() };
    assert_eq!(with(&|intent| drop(intent.members.pop_last())), Err(listed));
    assert_eq!(with(&|intent| drop(intent.lives.pop_first())), Err(No::OtherLife));
    let not_top = Illegal::NotTop { asked: LOW, top: HIGH };
    assert_eq!(with(&|intent| intent.change = ClusterChange::Finalize { floor: LOW }), Err(No::Illegal(not_top)));
    let open = Illegal::WindowOpen { floor: LOW, top: HIGH, asked: Release(1, 2, 0) };
    assert_eq!(with(&|intent| intent.change = ClusterChange::Open { top: Release(1, 2, 0) }), Err(No::Illegal(open)));
    let mut unready = keeper(&record);
    unready.handle(
        1,
        KeeperAsk::Vote(Arc::clone(&good)),
        &Facts { ready: Err("a job is open".to_owned()), ..facts(HIGH) },
    );
    let Some(KeeperOutput::Answer(1, answer)) = unready.poll_output() else { panic!("it answers") };
    assert_eq!(answer.did, Err(No::NotReady("a job is open".to_owned())));
    let low = Intent { lives: BTreeMap::from([(name(1), life(LOW))]), ..(*good).clone() };
    let mut old = keeper(&record);
    old.handle(1, KeeperAsk::Vote(Arc::new(low)), &facts(LOW));
    let Some(KeeperOutput::Answer(1, answer)) = old.poll_output() else { panic!("it answers") };
    assert_eq!(answer.did, Err(No::Release { release: LOW }));
}

#[test]
fn what_not_all_have_said_yes_to_does_not_become_the_record_and_a_commit_counts_once() {
    let record = begun(LOW, LOW);
    let mut keeper = keeper(&record);
    let intent = intent(Some(&record), 1, ClusterChange::Open { top: HIGH });
    let two = members().into_iter().take(2).collect();
    let missing = No::NotAll { missing: name(3) };
    assert_eq!(ask(&mut keeper, KeeperAsk::Commit(Arc::clone(&intent), two)), Err(missing));
    for _ in 0..2 {
        assert_eq!(ask(&mut keeper, KeeperAsk::Commit(Arc::clone(&intent), members())), Ok(()));
        let kept = keeper.kept();
        assert_eq!((kept.epoch(), kept.admits(HIGH), &kept.vote), (2, Ok(()), &None));
    }
}

#[test]
fn a_write_that_fails_is_not_tried_again() {
    let record = begun(LOW, HIGH);
    let mut keeper = keeper(&record);
    let intent = intent(Some(&record), 1, ClusterChange::Finalize { floor: HIGH });
    keeper.handle(1, KeeperAsk::Vote(Arc::clone(&intent)), &facts(HIGH));
    keeper.handle_written(false, &facts(HIGH));
    let answers: Vec<_> = std::iter::from_fn(|| keeper.poll_output()).collect();
    let [KeeperOutput::Write(_), KeeperOutput::Answer(1, answer)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((&answer.did, keeper.is_broken()), (&Err(No::Disk), true));
    assert_eq!(ask(&mut keeper, KeeperAsk::Vote(intent)), Err(No::Disk));
    assert_eq!(ask(&mut keeper, KeeperAsk::Close { epoch: 2, attempt: 1 }), Err(No::Disk));
    assert_eq!(ask(&mut keeper, KeeperAsk::Read), Ok(()), "and can still be looked at");
}

#[test]
fn brakes_only_lower_and_are_lifted_by_their_numbers() {
    let record = begun(LOW, LOW);
    let mut keeper = keeper(&record);
    let brake = |phase| KeeperAsk::Brake {
        ceilings: BTreeMap::from([(SERVER_PER_NODE.key().clone(), phase)]),
        by: "bob".into(),
        at: 3,
    };
    let ceiling = |keeper: &Keeper| keeper.kept().ceilings().get(SERVER_PER_NODE.key()).copied();
    for (asked, holds, number) in [(Phase::Switch, Phase::Switch, 1), (Phase::Introduce, Phase::Introduce, 2)] {
        assert_eq!(ask(&mut keeper, brake(asked)), Ok(()));
        assert_eq!((ceiling(&keeper), keeper.kept().brakes[&name(1)].number), (Some(holds), number));
    }
    assert_eq!(ask(&mut keeper, brake(Phase::Switch)), Ok(()));
    assert_eq!(ceiling(&keeper), Some(Phase::Introduce), "a second hand on the brake does not loosen it");
    let open = intent(Some(&record), 1, ClusterChange::Open { top: HIGH });
    let braked = No::Braked { node: name(1), by: "bob".into() };
    let open = Intent { lives: BTreeMap::from([(name(1), life(HIGH))]), ..(*open).clone() };
    assert_eq!(ask(&mut keeper, KeeperAsk::Vote(Arc::new(open))), Err(braked));
    let last = keeper.kept().brakes[&name(1)].number;
    let lift = intent(Some(&record), 1, ClusterChange::Lift(BTreeMap::from([(name(1), last)])));
    assert_eq!(ask(&mut keeper, KeeperAsk::Commit(lift, members())), Ok(()));
    assert_eq!((ceiling(&keeper), keeper.kept().next_brake()), (None, last + 1));
    let late = Brake { number: last, ceilings: BTreeMap::new(), by: "bob".into(), at: 3 };
    assert_eq!(ask(&mut keeper, KeeperAsk::Hear(BTreeMap::from([(name(1), late)]))), Ok(()));
    assert!(keeper.kept().brakes.is_empty(), "what is lifted does not come back");
}

/// What a member keeps that has a part of each kind.
fn rich() -> Kept {
    let began = begun(LOW, HIGH);
    let forgetting =
        intent(Some(&began), 2, ClusterChange::Forget { nodes: BTreeSet::from([name(3)]), loss: Loss::Wiped });
    let mut record = forgetting.record(Some(&began)).expect("it follows");
    record.lifted.insert(name(2), 4);
    record.ceilings.insert(SERVER_PER_NODE.key().clone(), Phase::Introduce);
    let vote =
        intent(Some(&record), 1, ClusterChange::Cap(BTreeMap::from([(SERVER_PER_NODE.key().clone(), Phase::Switch)])));
    let others = BTreeSet::from([name(1)]);
    let fence = Fence { nodes: BTreeSet::from([name(2)]), loss: Loss::Destroyed, others, by: "bob".into(), at: 9 };
    let ceilings = BTreeMap::from([(SERVER_PER_NODE.key().clone(), Phase::Singleton)]);
    let brake = Brake { number: 5, ceilings, by: "carol".into(), at: 11 };
    Kept {
        record: Some(Arc::new(record)),
        vote: Some(vote),
        closed: 3,
        bound: Some(HIGH),
        fence: Some(Arc::new(fence)),
        brakes: BTreeMap::from([(name(2), brake)]),
        ..Kept::nothing(name(1))
    }
}

#[test]
fn what_is_kept_is_read_as_it_was_written() {
    let began = begun(LOW, HIGH);
    let changes = [
        ClusterChange::Open { top: HIGH },
        ClusterChange::Lift(BTreeMap::from([(name(1), 2)])),
        ClusterChange::Finalize { floor: HIGH },
        ClusterChange::Forget { nodes: BTreeSet::from([name(3)]), loss: Loss::Destroyed },
        ClusterChange::Begin { floor: LOW, top: HIGH },
    ];
    let votes = changes.into_iter().map(|change| Some(intent(Some(&began), 1, change)));
    let with = |vote| Kept { record: Some(Arc::clone(&began)), vote, ..Kept::nothing(name(1)) };
    for kept in [Kept::nothing(name(1)), rich()].into_iter().chain(votes.map(with)) {
        assert_eq!(Kept::from_text(&kept.to_text()), Ok(kept));
    }
}

/// The file outlives releases: what this one has written, every later one must read. Change it by a new format alone.
#[test]
fn the_text_is_the_golden_one() {
    let golden = include_str!("golden/kept-1.txt");
    assert_eq!(rich().to_text(), golden);
    assert_eq!(Kept::from_text(golden), Ok(rich()));
}

/// Every refusal.
fn refusals() -> Vec<No> {
    vec![
        No::Stale { epoch: 1 },
        No::Busy { by: "bob".into(), what: "w".to_owned() },
        No::Fenced { by: "bob".into(), nodes: "n2".to_owned() },
        No::NotFenced { nodes: "n2".to_owned() },
        No::Closed { closed: 2 },
        No::SaidYes,
        No::NotAll { missing: name(2) },
        No::Members { listed: "n1".to_owned() },
        No::OtherLife,
        No::Release { release: HIGH },
        No::Illegal(Illegal::Begun { epoch: 1 }),
        No::Illegal(Illegal::NotBegun),
        No::Illegal(Illegal::UpsideDown { floor: HIGH, top: LOW }),
        No::Illegal(Illegal::WindowOpen { floor: LOW, top: HIGH, asked: LOW }),
        No::Illegal(Illegal::NotAbove { asked: LOW, floor: HIGH }),
        No::Illegal(Illegal::NotTop { asked: LOW, top: HIGH }),
        No::Illegal(Illegal::NoMember { node: name(2) }),
        No::Illegal(Illegal::MissingMember { node: name(2) }),
        No::Illegal(Illegal::NobodyLeft),
        No::Illegal(Illegal::Full { what: "members".to_owned(), count: 3 }),
        No::Braked { node: name(2), by: "bob".into() },
        No::NotReady("r".to_owned()),
        No::Fork { epoch: 1 },
        No::OtherCluster,
        No::Anew { since: 3 },
        No::Forgotten { epoch: 3 },
        No::Unkeepable,
        No::Disk,
    ]
}

/// One of each kind, with all that it may hold.
fn said() -> (Vec<KeeperAsk>, Vec<RecordReply>) {
    let kept = rich();
    let record = Arc::clone(kept.record.as_ref().expect("it has one"));
    let (vote, fence) = (Arc::clone(kept.vote.as_ref().expect("and a yes")), kept.fence.clone().expect("and a fence"));
    let ceilings = record.ceilings.clone();
    let asks = vec![
        KeeperAsk::Read,
        KeeperAsk::Vote(Arc::clone(&vote)),
        KeeperAsk::Commit(vote, members()),
        KeeperAsk::Take(Arc::clone(&record), name(2)),
        KeeperAsk::Close { epoch: 3, attempt: 4 },
        KeeperAsk::Abort { epoch: 3, attempt: 4 },
        KeeperAsk::Freeze { epoch: 3, attempt: 4, fence },
        KeeperAsk::Brake { ceilings, by: "alice".into(), at: 5 },
        KeeperAsk::Hear(kept.brakes.clone()),
    ];
    let noes = refusals();
    let answer = |did, kept| RecordReply::Answer(Box::new(Answer { did, kept, life: life(HIGH), members: members() }));
    let noes = noes.into_iter().map(|no| answer(Err(no), Kept::nothing(name(1))));
    let phase = PhaseLook {
        migration: SERVER_PER_NODE.key().clone(),
        phase: Phase::Introduce,
        highest: Phase::Switch,
        limit: Some("l".to_owned()),
    };
    let ceilings = BTreeMap::from([(SERVER_PER_NODE.key().clone(), Phase::Introduce)]);
    let source = SourceLook { problem: Some("s".to_owned()), ceilings };
    let look = MemberLook {
        answer: None,
        cluster: "shop".into(),
        life: life(HIGH),
        version: semver::Version::new(1, 1, 3),
        rexi: semver::Version::new(0, 1, 2),
        stops: vec![LOW, HIGH],
        members: members(),
        phases: vec![phase],
        peers: BTreeMap::from([(name(2), PeerLook { is_connected: false, problem: Some("p".to_owned()) })]),
        singleton: Some(SingletonLook { queue: 1, jobs: 2, quiet_ms: 300 }),
        source: Some(source),
        jobs: 4,
        oldest_job_ms: Some(400),
        drain_limit_ms: 500,
        calls: 5,
        draining: true,
        unready: BTreeMap::from([("store".to_owned(), "full".to_owned())]),
        holds: BTreeMap::from([("quorum".to_owned(), "q".to_owned())]),
        disk_problem: Some("d".to_owned()),
        certificate_expires: 6,
        clock: 7,
        pool_left: 80,
    };
    let replies = [
        RecordReply::Unkept,
        RecordReply::NotAMember,
        RecordReply::Look(Box::new(look)),
        RecordReply::Trail(Ok("t".to_owned())),
        answer(Ok(()), rich()),
    ];
    (asks, replies.into_iter().chain(noes).collect())
}

/// Members of two releases ask each other: what is said keeps its bytes. What is new comes behind.
#[test]
fn what_is_said_has_the_bytes_it_always_had() {
    let (asks, replies) = said();
    let asks = asks.into_iter().map(MemberAsk::Record).chain([MemberAsk::Look, MemberAsk::Trail { since: 1_000 }]);
    let questions = asks.map(|ask| Question { from: name(2), ask });
    let questions = questions.map(|question| {
        let bytes = question.encode().expect("it is short");
        assert_eq!(Question::decode(&bytes[4..]), Ok(question));
        bytes
    });
    let replies = replies.into_iter().map(|reply| {
        let bytes = reply.encode().expect("it is short");
        assert_eq!(RecordReply::decode(&bytes), Ok(reply));
        bytes
    });
    let hex = |bytes: Vec<u8>| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")) + "\n";
    assert_eq!(questions.chain(replies).map(hex).collect::<String>(), include_str!("golden/said-1.txt"));
}

#[test]
fn no_shortened_text_and_no_flipped_bit_is_read() {
    let text = rich().to_text();
    for end in 0..text.len() {
        assert!(Kept::from_text(&text[..end]).is_err(), "its first {end} bytes are read");
    }
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            assert!(Kept::from_text(&flipped).is_err(), "bit {bit} of byte {at} is passed over");
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_and_is_not_taken_for_nothing() {
    let text = rich().to_text();
    let read = |text: &str| Keeper::open(&name(1), Some(text), Mutants::default()).map(|keeper| keeper.kept().clone());
    assert_eq!(read(&text), Ok(rich()));
    let later = text.replace("rexi-rollout 1", "rexi-rollout 2 of 4.0");
    assert_eq!(read(&later), Err(KeptError::Format { first: "rexi-rollout 2 of 4.0".to_owned() }));
    assert_eq!(read(""), Err(KeptError::Format { first: String::new() }));
    let strange = read(&"\u{1f}".repeat(600)).expect_err("it is none").to_string();
    assert!(strange.chars().count() < 200, "{strange}");
    assert_eq!(read(&text.replace("floor 1.0", "floor 1.x")), Err(KeptError::Line { line: 6 }));
    assert_eq!(read(&text.replace("floor 1.0", "floor 1.1")), Err(KeptError::Digest));
    assert_eq!(read(&text.replace("floor 1.0", "floor 1.0.0")), Err(KeptError::Line { line: 6 }));
    assert_eq!(read(&format!("{text}\n")), Err(KeptError::Line { line: 39 }), "a line too many");
    let other = Keeper::open(&name(2), Some(&text), Mutants::default()).map(|_| ());
    assert_eq!(other, Err(KeptError::OtherNode { theirs: name(1), ours: name(2) }));
    let none = Keeper::open(&name(2), None, Mutants::default()).map(|keeper| keeper.may_start(LOW));
    assert_eq!(none, Ok(Err(Bar::NoRecord)));
}

#[test]
fn a_text_is_read_up_to_its_bound() {
    let long = "x".repeat(KEPT_BYTES_MAX + 1);
    assert_eq!(Kept::from_text(&long), Err(KeptError::TooLong { bytes: KEPT_BYTES_MAX + 1 }));
    let at_the_bound = Kept::from_text(&long[1..]);
    assert_eq!(at_the_bound, Err(KeptError::Format { first: "x".repeat(80) }), "and is looked at");
}

#[test]
fn an_operators_name_is_short_and_plain() {
    for good in ["alice", "on-call.1", "a_b", &"a".repeat(OPERATOR_BYTES_MAX)] {
        assert!(is_operator(good), "{good}");
    }
    for bad in ["", "Alice", "a b", "é", &"a".repeat(OPERATOR_BYTES_MAX + 1)] {
        assert!(!is_operator(bad), "{bad}");
    }
}

#[test]
fn a_record_has_room_for_as_many_names_as_it_may() {
    let with = |count: usize| {
        let mut intent = (*intent(None, 1, ClusterChange::Begin { floor: LOW, top: LOW })).clone();
        intent.members = (1..=count).map(name).collect();
        intent.record(None).map(|record| record.members.len())
    };
    assert_eq!(with(1_024), Ok(1_024));
    assert_eq!(with(1_025), Err(Illegal::Full { what: "members".to_owned(), count: 1_025 }));
}

#[test]
fn a_driver_whose_record_moves_on_and_on_leaves_the_rest_to_the_next() {
    let record = begun(LOW, LOW);
    let command = OperatorCommand::Make(ClusterChange::Open { top: HIGH });
    let mut driver = Driver::new(command, "shop".into(), "alice".into(), 1, members(), Mutants::default());
    let kept = Kept { record: Some(record), ..Kept::nothing(name(1)) };
    let (mut looks, mut rounds) = (0, 0);
    while driver.outcome().is_none() {
        let (round, node, ask) = driver.poll_output().expect("it asks");
        looks += u32::from(ask == KeeperAsk::Read && round != rounds);
        rounds = round;
        let did = if ask == KeeperAsk::Read { Ok(()) } else { Err(No::Stale { epoch: 2 }) };
        let answer = Answer { did, kept: kept.clone(), life: life(LOW), members: members() };
        driver.handle(round, &node, Some(answer));
    }
    assert_eq!((driver.outcome(), looks), (Some(&CommandOutcome::UnderWay(members())), 8));
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let record = begun(LOW, LOW);
    for by in ["alice smith", "alice\n"] {
        let brake = KeeperAsk::Brake { ceilings: BTreeMap::new(), by: by.into(), at: 3 };
        assert_eq!(ask(&mut keeper(&record), brake), Err(No::Unkeepable), "{by:?}");
    }
    let key = |number: usize| crate::migration::MigrationKey::new(format!("{number:064}")).expect("a key");
    let ceilings = (0..60_000).map(|number| (key(number), Phase::Introduce)).collect();
    let brake = KeeperAsk::Brake { ceilings, by: "alice".into(), at: 3 };
    assert_eq!(ask(&mut keeper(&record), brake), Err(No::Unkeepable));
}

#[test]
fn what_is_asked_while_a_write_hangs_is_bounded() {
    let record = begun(LOW, HIGH);
    let mut keeper = keeper(&record);
    let intent = intent(Some(&record), 1, ClusterChange::Finalize { floor: HIGH });
    for ticket in 0..=129 {
        keeper.handle(ticket, KeeperAsk::Vote(Arc::clone(&intent)), &facts(HIGH));
    }
    assert!(matches!(keeper.poll_output(), Some(KeeperOutput::Write(_))));
    let Some(KeeperOutput::Answer(129, answer)) = keeper.poll_output() else { panic!("the one beyond is answered") };
    assert!(matches!(answer.did, Err(No::NotReady(_))), "{answer:?}");
    assert_eq!(keeper.poll_output(), None);
}

/// The commit of a floor that one member alone has; it is cut off, forgotten, and comes back two epochs later.
#[test]
fn a_forgotten_member_with_a_record_of_its_own_stays_out_and_its_floor_does_not_fall() {
    let first = begun(LOW, HIGH);
    let finalize = intent(Some(&first), 1, ClusterChange::Finalize { floor: HIGH });
    let alone = Arc::new(finalize.record(Some(&first)).expect("it follows"));
    let forget =
        intent(Some(&first), 2, ClusterChange::Forget { nodes: BTreeSet::from([name(1)]), loss: Loss::Destroyed });
    let second = Arc::new(forget.record(Some(&first)).expect("it follows"));
    let mut next = (*intent(Some(&second), 1, ClusterChange::Cap(BTreeMap::new()))).clone();
    next.members.remove(&name(1));
    let third = Arc::new(next.record(Some(&second)).expect("it follows"));
    let mut back = keeper(&alone);
    for (record, epoch) in [(&second, 2), (&third, 3)] {
        let taken = ask(&mut back, KeeperAsk::Take(Arc::clone(record), name(2)));
        let no = if epoch == 2 { No::Fork { epoch: 2 } } else { No::Forgotten { epoch: 2 } };
        assert_eq!(taken, Err(no), "epoch {epoch}");
        let words = back.kept().words();
        let met = keeper(record).meet(&name(1), HIGH, words.as_ref());
        assert_eq!(met, Err(Apart::Forgotten { node: name(1), at: 2, epoch: 2 }), "epoch {epoch}");
    }
    assert_eq!(back.kept().record.as_ref().map(|record| record.floor), Some(HIGH));
}

/// A driver whose configured members are fewer than those of the intent that it goes on with.
#[test]
fn an_equal_wish_is_carried_to_all_members_of_the_intent() {
    let record = begun(LOW, HIGH);
    let finalize = ClusterChange::Finalize { floor: HIGH };
    let open = intent(Some(&record), 1, finalize.clone());
    let two = members().into_iter().take(2).collect();
    let command = OperatorCommand::Make(finalize);
    let mut driver = Driver::new(command, "shop".into(), "bob".into(), 1, two, Mutants::default());
    let mut asked = BTreeSet::new();
    while driver.outcome().is_none() {
        let (round, node, ask) = driver.poll_output().expect("it asks");
        if matches!(ask, KeeperAsk::Vote(_)) {
            asked.insert(node.clone());
        }
        let vote = Some(Arc::clone(&open));
        let kept = Kept { record: Some(Arc::clone(&record)), vote, ..Kept::nothing(node.clone()) };
        let answer = Answer { did: Ok(()), kept, life: life(HIGH), members: members() };
        driver.handle(round, &node, Some(answer));
    }
    assert_eq!((asked, driver.outcome()), (members(), Some(&CommandOutcome::Done(2))));
}

#[test]
fn a_member_whose_disk_came_new_is_silent_until_it_was_forgotten() {
    let first = begun(LOW, HIGH);
    let mut wiped = Keeper::new(Kept::nothing(name(3)));
    assert_eq!(ask(&mut wiped, KeeperAsk::Take(Arc::clone(&first), name(2))), Ok(()));
    let finalize = intent(Some(&first), 1, ClusterChange::Finalize { floor: HIGH });
    let fence =
        Fence { nodes: BTreeSet::from([name(1)]), loss: Loss::Destroyed, others: members(), by: "alice".into(), at: 1 };
    for asked in [
        KeeperAsk::Vote(Arc::clone(&finalize)),
        KeeperAsk::Commit(finalize, members()),
        KeeperAsk::Close { epoch: 2, attempt: 1 },
        KeeperAsk::Freeze { epoch: 2, attempt: 1, fence: Arc::new(fence) },
    ] {
        assert_eq!(ask(&mut wiped, asked), Err(No::Anew { since: 1 }));
    }
    assert_eq!(ask(&mut wiped, KeeperAsk::Abort { epoch: 2, attempt: 1 }), Ok(()), "it has nothing to let go of");

    let lost = BTreeSet::from([name(3)]);
    let forget = intent(Some(&first), 1, ClusterChange::Forget { nodes: lost, loss: Loss::Wiped });
    let second = Arc::new(forget.record(Some(&first)).expect("it follows"));
    let words = wiped.words();
    assert_eq!(keeper(&second).meet(&name(3), HIGH, words.as_ref()), Ok(Meeting::Ahead), "it is given the record");
    assert_eq!(ask(&mut wiped, KeeperAsk::Take(second, name(2))), Ok(()));
    assert_eq!(wiped.kept().anew, None);
    let mut joiner = Keeper::new(Kept::nothing(name(4)));
    assert_eq!(ask(&mut joiner, KeeperAsk::Take(first, name(2))), Ok(()));
    assert_eq!(joiner.kept().anew, None, "who was no member has lost nothing");
}

#[test]
fn a_fence_grows_and_never_shrinks() {
    let others = |nodes: &BTreeSet<NodeName>| members().into_iter().filter(|node| !nodes.contains(node)).collect();
    let freeze = |lost: &[usize]| {
        let nodes: BTreeSet<NodeName> = lost.iter().copied().map(name).collect();
        let (others, by) = (others(&nodes), "alice".into());
        KeeperAsk::Freeze {
            epoch: 2,
            attempt: 0,
            fence: Arc::new(Fence { nodes, loss: Loss::Wiped, others, by, at: 1 }),
        }
    };
    let mut keeper = keeper(&begun(LOW, HIGH));
    let fenced = |keeper: &Keeper| keeper.kept().fence.as_ref().map(|fence| fence.nodes.len());
    assert_eq!((ask(&mut keeper, freeze(&[2])), fenced(&keeper)), (Ok(()), Some(1)));
    assert_eq!((ask(&mut keeper, freeze(&[2, 3])), fenced(&keeper)), (Ok(()), Some(2)));
    let (by, nodes) = ("alice".into(), "n2 n3".to_owned());
    assert_eq!((ask(&mut keeper, freeze(&[3])), fenced(&keeper)), (Err(No::Fenced { by, nodes }), Some(2)));
}
