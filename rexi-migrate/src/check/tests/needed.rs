//! For each oracle of the check, a state or a step that breaks only what it asks: without the oracle it goes unnoticed.

use bytes::Bytes;
use rexi_proto::{
    Answer, CallRef, Caller, Cast, CloseCode, DownReason, ExitReason, Forms, FunctionTable, Hello, Incarnation, JobId,
    JobKey, JobOutput, Limits, MonitorRef, Mutants, Output, Phase, Rollout, SERVER_PER_NODE, ServerRequest, Train,
    Unlimited, WireVersion, verdict,
};

use super::super::judge::judge;
use super::super::oracle::{Oracle, Oracles};
use super::super::state::NOW;
use super::super::step::Stepper;
use super::*;
use crate::model::{Build, CLOCK, CallRecord, Job, Monitor, NodeModel, PEER, Word, payload};

/// What breaks.
enum Planted {
    /// A state.
    State(fn(&mut State)),
    /// A step from a state.
    Step(fn(&mut Stepper<'_>)),
    /// A step that only a broken variant takes, by its name.
    #[cfg_attr(not(feature = "mutants"), expect(dead_code, reason = "there are no variants"))]
    Variant(&'static str, fn(&mut Stepper<'_>)),
}

/// Two nodes of the last release, connected; the second runs a job for call 0 of the first.
fn served(cluster: &Cluster) -> State {
    let mut state = cluster.initial().remove(0);
    for action in [Action::Connect(0, 1), Action::Cast(0, 1, false, 0), Action::Deliver(0, 1)] {
        state = cluster.step(&state, &action).expect("a step");
        assert!(cluster.check(&state).is_ok(), "nothing is wrong");
    }
    assert_eq!(state.nodes[1].jobs.len(), 1, "it runs");
    state
}

fn node(state: &mut State, index: usize) -> &mut NodeModel {
    &mut Arc::make_mut(&mut state.nodes[index]).node
}

/// A rollout of that release, held at a phase.
fn rollout(index: usize, release: usize, phase: Phase) -> Arc<Rollout> {
    let profile = crate::demo::path().at(release).clone();
    let mut rollout = Rollout::new(name(index), profile, (0..2).map(name));
    rollout.hold(SERVER_PER_NODE.key(), phase).expect("the release has it");
    Arc::new(rollout)
}

/// A rollout of a release of another train, by the same number as ours that switches, which knows the old form alone.
fn of_a_train_that_is_late(index: usize) -> Rollout {
    let (v1, v2) = (WireVersion::V1, WireVersion::V2);
    let train = Train::new("late").release("1.2", |r| r.wire(v1));
    let train = train.release("1.3", |r| r.wire(v1..=v2).introduce(SERVER_PER_NODE));
    Rollout::new(name(index), train.profile("1.2").expect("a train"), (0..2).map(name))
}

fn hello(rollout: &Rollout) -> Hello {
    rollout.hello(Incarnation(1), &FunctionTable::default(), &Limits::default())
}

/// A rollout of a release of another train, which says and takes what the last release of ours does.
fn of_another_train(index: usize) -> Rollout {
    let train = Train::new("other").release("9.0", |r| r);
    Rollout::new(name(index), train.profile("9.0").expect("a train"), (0..2).map(name))
}

/// A monitor of the other node in its present life, which has not fired.
fn monitor(state: &State) -> Monitor {
    let [life, of] = [0, 1].map(|index| state.nodes[index].life);
    Monitor { by: 0, life, orphan: false, to: 1, of, gone: false, stopped: false, downs: 0 }
}

fn key(call: u64, incarnation: u64) -> JobKey {
    let caller = Caller { peer: PEER, incarnation: Incarnation(incarnation) };
    JobKey { server: ServerAddress::PerNode, caller, call: CallRef(call), id: JobId(99) }
}

/// The state machine of a node wants something done for the other.
fn wants(stepper: &mut Stepper<'_>, index: usize, output: Output<u16>) {
    let mut closes = Vec::new();
    stepper.at(index, |node, notes| {
        node.handle_output(1 - index, output, notes, &mut closes);
        closes.iter().for_each(|close| notes.closed(index, close));
    });
}

fn spawn(stepper: &mut Stepper<'_>, job: JobKey, body: Bytes) {
    let cast = Cast { call: job.call, function: "f".into(), time_left: None, nonce: 0, trace: None, body };
    wants(stepper, 1, Output::Job(JobOutput::Spawn(job, cast)));
}

/// The mailbox of call 0 gets an answer.
fn answer(stepper: &mut Stepper<'_>, answer: Answer) {
    wants(stepper, 0, Output::Deliver(0, CallRef(0), answer));
}

fn exit(reason: ExitReason) -> Answer {
    Answer::Exit { function: "f".into(), reason }
}

/// Takes the job away, as if its cast were on its way still.
fn not_started(stepper: &mut Stepper<'_>) {
    stepper.node(1).jobs.clear();
    stepper.state.notes.calls[0].ran_at = None;
}

/// What only this oracle finds. A new one has to be planted here, or this does not compile.
fn planted(oracle: Oracle) -> Planted {
    of_state(oracle).or_else(|| of_job(oracle)).or_else(|| of_answer(oracle)).unwrap_or_else(|| of_node(oracle))
}

fn of_state(oracle: Oracle) -> Option<Planted> {
    Some(Planted::State(match oracle {
        Oracle::ConnectedOverSkew => |state| node(state, 0).rollout = Arc::new(of_another_train(0)),
        Oracle::SendsToNoSingleton => |state| {
            node(state, 0).rollout = rollout(0, 2, Phase::Introduce);
            Arc::make_mut(&mut state.nodes[1]).holdouts[0] = 1;
        },
        Oracle::SendsToNoServer => |state| {
            node(state, 0).rollout = rollout(0, 2, Phase::Switch);
            node(state, 1).rollout = Arc::new(of_a_train_that_is_late(1));
            Arc::make_mut(&mut state.nodes[0]).holdouts[0] = 2;
        },
        Oracle::StaleView => |state| Arc::make_mut(&mut state.nodes[1]).holdouts[0] = 1,
        Oracle::RunsForOneGivenUp => |state| {
            state.notes.calls[0].answered = true;
            Arc::make_mut(&mut state.pairs[0]).stage = Stage::Down;
            let peer = Arc::make_mut(node(state, 1).peers[0].as_mut().expect("a peer"));
            let connection = peer.connection();
            peer.handle_disconnected(NOW, connection);
            let until = peer.deadline().expect("it is away");
            peer.handle_timeout(until);
        },
        Oracle::KilledRuns => |state| state.notes.calls[0].killed = true,
        Oracle::RunsForNobody => |state| state.notes.calls[0].answered = true,
        Oracle::StreamWaitsForNothing => |state| {
            node(state, 1).jobs[0].waits = true;
            (state.notes.calls[0].asked, state.notes.calls[0].started) = (true, true);
        },
        Oracle::StreamWaitsUnasked => |state| node(state, 1).jobs[0].waits = true,
        Oracle::WaitsInSilence => |state| node(state, 1).jobs.clear(),
        Oracle::MonitorSilent => |state| {
            let of = Incarnation(0);
            state.notes.monitors.push(Monitor { of, gone: true, ..monitor(state) });
        },
        _ => return None,
    }))
}

fn of_job(oracle: Oracle) -> Option<Planted> {
    Some(Planted::Step(match oracle {
        Oracle::JobOfNoCall => |stepper| spawn(stepper, key(0, 1), payload(7, 0, 0)),
        Oracle::JobOfAnotherPayload => |stepper| {
            not_started(stepper);
            spawn(stepper, key(9, 1), payload(0, 0, 0));
        },
        Oracle::JobTwice => |stepper| spawn(stepper, key(0, 1), payload(0, 0, 0)),
        Oracle::JobOfAnotherCaller => |stepper| {
            not_started(stepper);
            spawn(stepper, key(0, 2), payload(0, 0, 0));
        },
        Oracle::JobOverSkew => |stepper| {
            not_started(stepper);
            stepper.state.notes.releases[0] = 2;
            spawn(stepper, key(0, 1), payload(0, 0, 0));
        },
        Oracle::AbortOfNoJob => |stepper| wants(stepper, 1, Output::Job(JobOutput::Abort(key(9, 1)))),
        Oracle::WakeOfNoJob => |stepper| wants(stepper, 1, Output::Job(JobOutput::Wake(key(9, 1)))),
        Oracle::RunsAfterDeparture => |stepper| {
            let job = Job { key: key(9, 1), member: 0, call: 0, waits: false, over: false };
            stepper.node(1).jobs.push(job);
            stepper.restart(1, 0, Stop::Leave);
        },
        Oracle::JobUnknownToServer => |stepper| {
            stepper.node(1).jobs[0].key = key(9, 1);
            stepper.item(0);
        },
        _ => return None,
    }))
}

fn of_answer(oracle: Oracle) -> Option<Planted> {
    Some(Planted::Step(match oracle {
        Oracle::AnswerToNoCall => |stepper| wants(stepper, 0, Output::Deliver(7, CallRef(0), Answer::Ping)),
        Oracle::AnswerToAnotherCall => |stepper| wants(stepper, 0, Output::Deliver(0, CallRef(9), Answer::Ping)),
        Oracle::AnswerBehindTheLast => |stepper| {
            stepper.state.notes.calls[0].answered = true;
            answer(stepper, Answer::Ping);
        },
        Oracle::AskedTwice => |stepper| {
            stepper.state.notes.calls[0].asked = true;
            answer(stepper, Answer::StreamInit);
        },
        Oracle::ReplyOfAnotherJob => |stepper| answer(stepper, Answer::Item { body: payload(1, 0, 0) }),
        Oracle::ReplyOutOfOrder => |stepper| answer(stepper, Answer::Item { body: payload(0, 5, 0) }),
        Oracle::LastReplyTooEarly => |stepper| {
            stepper.state.notes.calls[0].sent = 2;
            answer(stepper, Answer::Reply { body: payload(0, 0, 0), last: true });
        },
        Oracle::SingletonMissing => |stepper| answer(stepper, Answer::NoSuchServer(ServerAddress::Singleton)),
        Oracle::ServerMissing => |stepper| answer(stepper, Answer::NoSuchServer(ServerAddress::PerNode)),
        Oracle::FunctionMissing => |stepper| answer(stepper, Answer::NoSuchFunction),
        Oracle::MetAnothersCall => |stepper| answer(stepper, exit(ExitReason::DuplicateRef)),
        Oracle::LostWithoutALoss => |stepper| answer(stepper, exit(ExitReason::ConnectionLost)),
        Oracle::ToldThatItDidNotRun => |stepper| answer(stepper, Answer::Dropped),
        Oracle::MonitorFiredAgain => |stepper| {
            let fired = Monitor { downs: 1, ..monitor(&stepper.state) };
            stepper.state.notes.monitors.push(fired);
            wants(stepper, 0, Output::MonitorDown(0, MonitorRef(0), DownReason::Shutdown));
        },
        _ => return None,
    }))
}

fn of_node(oracle: Oracle) -> Planted {
    Planted::Step(match oracle {
        Oracle::PhaseWithoutTransition => |stepper| {
            let before = stepper.state.nodes[0].rollout.changes();
            let other = Rollout::new(name(0), crate::demo::path().at(1).clone(), (0..2).map(name));
            assert_eq!(other.changes(), before, "the epoch is the same, and the phase is not");
            *stepper.node(0).rollout_mut() = other;
            stepper.drain(0);
        },
        Oracle::LoweredToRemoved => |stepper| {
            // A node that rightly goes back to the singleton, which a member has removed without a word.
            let build = Build::new(2, &crate::demo::path(), Limits::default(), Unlimited, Mutants::default());
            let mut node = NodeModel::start(0, 2, Incarnation(9), &build);
            let (ours, theirs) = (node.hello(), hello(&rollout(1, 2, Phase::Switch)));
            node.rollout_mut().handle_hello(&ours, &theirs, CLOCK).expect("they may speak");
            let notes = &mut stepper.state.notes;
            node.tell_phases(NOW, notes);
            node.lower(NOW, (0, Phase::Introduce), &[(1, Forms::NEW)], notes).expect("nobody objects");
        },
        Oracle::RequestToNoSingleton => |stepper| {
            wants(stepper, 1, Output::Singleton(key(0, 1).caller, ServerRequest::Forget));
        },
        Oracle::KindUnknownToPeer => |stepper| wants(stepper, 0, Output::Unsupported(9)),
        Oracle::KindNotOfVersion => {
            return Planted::Variant("ungated-kill-all,ungated-encoder", |stepper| {
                stepper.kill(&[0, 1]);
                stepper.drain(0);
            });
        }
        Oracle::ClosedOnSoundPeer => |stepper| {
            wants(stepper, 0, Output::Close(CloseCode::ProtocolBroken, "for nothing".to_owned()));
        },
        Oracle::CeilingStays => {
            return Planted::Variant("ceiling-ignored", |stepper| {
                stepper.at(0, |node, notes| node.lift(0, notes));
            });
        }
        Oracle::RefusalOutlived => {
            return Planted::Variant("refusal-outlived", |stepper| {
                stepper.at(0, |node, notes| {
                    *node.rollout_mut() = (*rollout(0, 2, Phase::Introduce)).clone();
                    node.tell_phases(NOW, notes);
                    let theirs = hello(&rollout(1, 3, Phase::Remove));
                    let refusal = verdict(&hello(&node.rollout), &theirs).expect_err("the old form is removed");
                    assert!(refusal.is_final(), "it is held");
                    node.peer_mut(1).handle_refused(NOW, Incarnation(9), refusal);
                    node.rollout_mut().hold(SERVER_PER_NODE.key(), Phase::Switch).expect("the release has it");
                    node.tell_phases(NOW, notes);
                });
            });
        }
        Oracle::HelloUnread => |stepper| {
            let ours = hello(&stepper.state.nodes[0].rollout);
            let mut theirs = Hello { node: name(1), ..ours.clone() };
            theirs.migrations[0].holdouts = (0..100_000).map(name).collect();
            assert!(stepper.take_hello(0, 1, &ours, &theirs).is_none());
        },
        Oracle::CastNotTaken => |stepper| {
            // The observer takes the number of a call for free that its peer knows to be open.
            stepper.state.notes.calls[0] = CallRecord::OVER;
            stepper.apply(Action::Cast(0, 1, false, 0));
        },
        Oracle::StreamNotStarted => |stepper| stepper.say(0, Word::Start),
        Oracle::ItemNotAcknowledged => |stepper| {
            stepper.state.notes.calls[0].unacked = 1;
            stepper.say(0, Word::Ack);
        },
        other => unreachable!("{other:?} is of a state, a job or an answer"),
    })
}

/// What is found of a planted breach by these oracles.
fn found(planted: &Planted, oracles: Oracles) -> Option<Invariant> {
    let scope = Scope { jobs: 2, ..two(&[3]) };
    let cluster = Cluster { oracles, ..Cluster::new(scope.clone()) };
    let sound = Cluster::new(scope);
    let mut state = served(&sound);
    match planted {
        Planted::State(alter) => {
            alter(&mut state);
            judge(oracles, &state).err().map(|broken| broken.invariant)
        }
        Planted::Step(step) => {
            let mut stepper = Stepper::new(&cluster, &state);
            step(&mut stepper);
            stepper.judge_notes();
            stepper.state.broken.map(|broken| broken.invariant)
        }
        #[cfg(not(feature = "mutants"))]
        Planted::Variant(..) => None,
        #[cfg(feature = "mutants")]
        Planted::Variant(name, step) => {
            let mutants = rexi_proto::Mutants::from_names(name).expect("a known name");
            let cluster = Cluster { oracles, ..Cluster::new(Scope { mutants, jobs: 2, ..two(&[0, 1, 2]) }) };
            let mut state = cluster.initial().remove(0);
            if *name == "ceiling-ignored" {
                // A ceiling that was set while they were heeded.
                let mut held = (*rollout(0, 2, Phase::Introduce)).clone();
                held.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("the release has it");
                node(&mut state, 0).rollout = Arc::new(held.with_mutants(mutants));
            } else {
                for action in [Action::Connect(0, 1), Action::Cast(0, 1, false, 0), Action::Cast(0, 1, false, 0)] {
                    state = cluster.step(&state, &action).expect("a step");
                }
            }
            let mut stepper = Stepper::new(&cluster, &state);
            step(&mut stepper);
            stepper.judge_notes();
            stepper.state.broken.map(|broken| broken.invariant)
        }
    }
}

#[test]
fn each_oracle_finds_what_no_other_does() {
    for &oracle in Oracle::ALL {
        let planted = planted(oracle);
        if matches!(planted, Planted::Variant(..)) && !cfg!(feature = "mutants") {
            continue;
        }
        assert_eq!(found(&planted, Oracles::ALL), Some(oracle.invariant()), "{oracle:?}");
        assert_eq!(found(&planted, Oracles::without(oracle)), None, "{oracle:?} is left out");
    }
}

#[test]
fn a_check_asks_every_oracle() {
    let cluster = Cluster::new(two(&[3]));
    assert!(Oracle::ALL.iter().all(|&oracle| cluster.oracles.has(oracle)));
    // What a step has broken and what a state breaks are both told.
    let mut state = served(&Cluster::new(Scope { jobs: 1, ..two(&[3]) }));
    assert!(cluster.check(&state).is_ok());
    state.notes.calls[0].killed = true;
    assert_eq!(cluster.check(&state).map_err(|broken| broken.invariant), Err(Invariant::S3));
    let mut stepper = Stepper::new(&cluster, &state);
    wants(&mut stepper, 0, Output::Unsupported(9));
    stepper.judge_notes();
    assert_eq!(cluster.check(&stepper.state).map_err(|broken| broken.invariant), Err(Invariant::S9));
}
