//! For each oracle of what only a simulation sees, a scenario that breaks only what it asks: without the oracle it goes
//! unnoticed, and the judge of the ledgers finds nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use rexi_proto::record::{ClusterChange, ClusterRecord, CommandOutcome, Digest, Kept, OperatorCommand};
use rexi_proto::{Incarnation, NodeName, Phase, Release, ServerAddress};

use super::super::records::{Told, Written};
use super::*;
use crate::history::evidence::{ProcessEnd, ProcessRecord};
use crate::history::judge::judge;
use crate::history::ledger::{CallId, Ending, LedgerHeader, ProcessLedger, Record, Work};
use crate::verdict::invariant::Invariant;

/// What a scenario has left behind.
struct Scene {
    evidence: Evidence,
    train: UpgradePath,
    tally: Tally,
    settled: Settled,
    history: History,
}

impl Default for Scene {
    fn default() -> Self {
        let (evidence, tally, settled, history) = Default::default();
        Self { evidence, train: crate::demo::path(), tally, settled, history }
    }
}

impl Scene {
    fn asked(&self, oracles: Oracles) -> Vec<Shown> {
        self.scenario().asked(oracles)
    }

    fn scenario(&self) -> Scenario<'_> {
        let Self { evidence, train, tally, settled, history } = self;
        Scenario { evidence, events: &[], tally, settled, history, train, now: END }
    }

    /// What this life wrote down.
    fn life(&mut self, life: usize) -> &mut ProcessLedger {
        self.evidence.processes[life].ledger.as_mut().expect("each has one")
    }

    /// The only call is answered so, and has no job where that needs none.
    fn answer(&mut self, outcome: Outcome) {
        self.answer_at(4, outcome);
    }

    fn answer_at(&mut self, seconds: u64, outcome: Outcome) {
        let caller = self.life(0);
        caller.records.retain(|record| !matches!(record.entry, Entry::Answered { .. }));
        caller.records.insert(2, Record { at_us: us(seconds), entry: Entry::Answered { call: CALL, outcome } });
        if !outcome.needs_job() {
            self.life(1).records.retain(|record| !matches!(record.entry, Entry::Started { .. } | Entry::Ended { .. }));
        }
    }
}

const END: Duration = Duration::from_secs(60);

const CALL: CallNumber = CallNumber(1);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn us(seconds: u64) -> u64 {
    seconds * 1_000_000
}

/// A life that goes on, at rest, of a release of the train.
fn life(node: u16, release: usize, began: u64, entries: &[(u64, Entry)]) -> ProcessRecord {
    let header = LedgerHeader {
        node: NodeName::new(format!("n{}", node + 1)).expect("a name"),
        index: NodeIndex(node),
        release: crate::demo::path().at(release).release().clone(),
        incarnation: Incarnation(us(began) + 1),
        pid: 0,
        began_us: us(began),
    };
    let first = (began, Entry::PhaseChanged { migration: 0, phase: Phase::Switch });
    let all = [first].into_iter().chain(entries.iter().copied()).chain([(60, Entry::Quiet)]);
    let records = all.map(|(at, entry)| Record { at_us: us(at), entry }).collect();
    let ledger = Ok(ProcessLedger { header, records, torn: false });
    ProcessRecord { node: NodeIndex(node), ledger, end: ProcessEnd::LiveAtEnd }
}

/// Two nodes of 1.2, and a call of the first to the second that was answered as it should be.
fn sound() -> Scene {
    let id = CallId { caller: NodeIndex(0), incarnation: Incarnation(1), call: CALL };
    let cast = Entry::Cast { call: CALL, to: NodeIndex(1), work: Work::Reply, phase: Phase::Switch };
    let answered = Entry::Answered { call: CALL, outcome: Outcome::Reply };
    let started = Entry::Started { id, server: ServerAddress::PerNode, work: Work::Reply };
    let ended = Entry::Ended { id, how: Ending::Done };
    let processes = vec![life(0, 2, 0, &[(1, cast), (4, answered)]), life(1, 2, 0, &[(2, started), (3, ended)])];
    Scene { evidence: Evidence { processes, simulated: true, ..Evidence::default() }, ..Scene::default() }
}

/// A record that lets 1.2 run, as an operator's change has made it.
fn record(epoch: u64, by: &str) -> ClusterRecord {
    ClusterRecord {
        cluster: "demo".into(),
        origin: Digest::default(),
        epoch,
        attempt: 1,
        floor: Release(1, 2, 0),
        top: Release(1, 2, 0),
        ceilings: BTreeMap::new(),
        members: [name(0), name(1)].into(),
        forgotten: BTreeMap::new(),
        lifted: BTreeMap::new(),
        by: by.into(),
        at: 0,
        intent: Digest::default(),
        previous: Digest::default(),
    }
}

fn written(seconds: u64, node: usize, record: &ClusterRecord) -> Written {
    let kept = Kept { record: Some(Arc::new(record.clone())), ..Kept::nothing(name(node)) };
    Written { at: at(seconds), node, kept: Some(Arc::new(kept)) }
}

fn told(seconds: u64, by: &str, outcome: CommandOutcome) -> Told {
    let command = OperatorCommand::Make(ClusterChange::Cap(BTreeMap::new()));
    Told { at: at(seconds), by: by.to_owned(), command, outcome }
}

fn name(node: usize) -> NodeName {
    NodeName::new(crate::name::node_name(node)).expect("a name")
}

/// A scenario that only this oracle finds broken. A new one has to be planted here, or this does not compile.
fn planted(oracle: Oracle) -> Scene {
    let mut scene = sound();
    match oracle {
        Oracle::RunsNoMore => scene.settled.silent.push(CALL),
        Oracle::RefusedForGood => scene.answer(Outcome::Incompatible),
        Oracle::ProbeUnserved => {
            scene.answer(Outcome::Draining);
            scene.settled.probes.push(CALL);
        }
        Oracle::Skewed => scene.tally.skewed.push((at(5), 0, 1)),
        Oracle::Unhosted => scene.tally.unhosted.push((at(5), 0, 1)),
        Oracle::OutOfBounds => scene.tally.out_of_bounds.push((at(5), 0, Phase::Remove)),
        Oracle::CeilingUnheeded => scene.tally.unheeded.push((at(5), 0, Phase::Switch)),
        Oracle::StayedApart => scene.settled.apart.push((0, 1)),
        Oracle::HeldBack => scene.settled.held.push((0, Phase::Introduce, Phase::Switch)),
        Oracle::RanThoughBarred => scene.history.unbarred.push((at(5), "n1 runs 1.0".to_owned())),
        Oracle::DiskFell => {
            let (high, low) = (record(3, "alice"), record(2, "bob"));
            scene.history.writes = vec![written(1, 0, &high), written(2, 0, &low)];
        }
        Oracle::RecordsDiffer => {
            scene.history.writes = vec![written(1, 0, &record(3, "alice")), written(2, 1, &record(3, "bob"))];
        }
        Oracle::ToldWrong => {
            scene.history.writes = vec![written(1, 0, &record(3, "alice"))];
            scene.history.told = vec![told(2, "alice", CommandOutcome::Refused(BTreeMap::new()))];
        }
        Oracle::RecordUnsettled => scene.settled.unsettled = Some("it can be neither ended nor given up".to_owned()),
    }
    scene
}

#[test]
fn each_oracle_finds_what_no_other_does() {
    assert_eq!(sound().asked(Oracles::ALL), [], "nothing is wrong");
    for &oracle in Oracle::ALL {
        let scene = planted(oracle);
        let found: Vec<_> = scene.asked(Oracles::ALL).into_iter().map(|shown| shown.breach.invariant).collect();
        assert_eq!(found, [oracle.invariant()], "{oracle:?}");
        assert_eq!(scene.asked(Oracles::without(oracle)), [], "{oracle:?} is left out");
        assert_eq!(judge(&scene.evidence).findings(), [], "{oracle:?} is not in the ledgers");
    }
}

#[test]
fn a_production_run_asks_every_oracle_and_the_judge() {
    let mut all = Scene::default();
    for &oracle in Oracle::ALL {
        let scene = planted(oracle);
        let breaches = scene.scenario().breaches(&judge(&scene.evidence));
        assert_eq!(breaches.len(), 1, "{oracle:?}");
        all = scene;
    }
    all.answer(Outcome::OtherExit);
    let breaches = all.scenario().breaches(&judge(&all.evidence));
    assert_eq!((breaches.len(), breaches[0].breach.invariant), (2, Invariant::S1), "{breaches:?}");
    assert_eq!(breaches[0].shows, Shows { at: at(4), call: Some(CALL) }, "when it was answered");
}

/// A scenario that is as it should be, and how it differs from the plain one.
struct Sound(&'static str, fn(&mut Scene));

#[test]
fn what_is_as_it_should_be_is_no_breach() {
    let sound: [Sound; 8] = [
        Sound("two releases too far apart refuse each other", |scene| {
            scene.answer(Outcome::Incompatible);
            scene.life(1).header.release = crate::demo::path().at(0).release().clone();
        }),
        Sound("a probe that is served", |scene| scene.settled.probes.push(CALL)),
        Sound("a call that is told that its peer leaves", |scene| scene.answer(Outcome::Draining)),
        Sound("a call to a node that a record bars", |scene| {
            scene.answer(Outcome::Incompatible);
            let barred = ClusterRecord { floor: Release(2, 0, 0), top: Release(2, 0, 0), ..record(1, "alice") };
            scene.history.writes = vec![written(1, 1, &barred)];
        }),
        Sound("a disk that was emptied may begin anew", |scene| {
            let emptied = Written { at: at(2), node: 0, kept: None };
            scene.history.writes = vec![written(1, 0, &record(3, "alice")), emptied, written(3, 0, &record(2, "bob"))];
        }),
        Sound("what a member had that was forgotten is void", |scene| {
            let forgets = ClusterRecord { forgotten: [(name(1), 3)].into(), ..record(3, "bob") };
            scene.history.writes = vec![written(1, 1, &record(3, "alice")), written(2, 0, &forgets)];
        }),
        Sound("an operator whose change is on all disks", |scene| {
            let made = record(3, "alice");
            scene.history.writes = vec![written(1, 0, &made), written(2, 1, &made)];
            scene.history.told = vec![told(3, "alice", CommandOutcome::Done(3))];
        }),
        Sound("an operator who was refused, while another was not", |scene| {
            let theirs = CommandOutcome::Theirs { by: "alice".into(), what: "set ceilings".to_owned() };
            let made = record(3, "alice");
            scene.history.writes = vec![written(1, 0, &made), written(2, 1, &made)];
            scene.history.told = vec![told(3, "bob", theirs)];
        }),
    ];
    for Sound(what, alter) in sound {
        let mut scene = self::sound();
        alter(&mut scene);
        assert_eq!(scene.asked(Oracles::ALL), [], "{what}");
    }
}

#[test]
fn who_is_told_that_it_is_done_may_look_at_every_disk() {
    let mut scene = sound();
    scene.history.writes = vec![written(1, 0, &record(3, "alice")), written(4, 1, &record(3, "alice"))];
    scene.history.told = vec![told(3, "alice", CommandOutcome::Done(3))];
    let [found] = &scene.asked(Oracles::ALL)[..] else { panic!("one breach") };
    assert!(found.breach.what.ends_with("n2 does not have it"), "{}", found.breach.what);
    scene.history.told = vec![told(5, "alice", CommandOutcome::Done(4))];
    let [found] = &scene.asked(Oracles::ALL)[..] else { panic!("one breach") };
    assert!(found.breach.what.ends_with("no record of epoch 4 says so"), "{}", found.breach.what);
}

#[test]
fn a_refusal_is_in_order_until_the_next_handshake_could_have_come_through() {
    // The other was two releases behind until it was started again, at 5 s.
    let refused = |seconds| {
        let mut scene = sound();
        scene.answer_at(seconds, Outcome::Incompatible);
        scene.life(1).header.release = crate::demo::path().at(0).release().clone();
        scene.evidence.processes[1].end = ProcessEnd::KilledNine { at_us: us(4) };
        scene.evidence.processes.push(life(1, 2, 5, &[]));
        scene.asked(Oracles::ALL).into_iter().map(|shown| shown.breach.invariant).collect::<Vec<_>>()
    };
    assert_eq!(refused(13), [], "8 s later");
    assert_eq!(refused(14), [Invariant::S11], "9 s later");
}
