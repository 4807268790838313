//! Breaches that the callers' ends alone do not show: each is planted into a real cluster and found in its ledgers.

use rexi_proto::{Incarnation, Phase};
use rexi_server::{Bytes, Context};

use super::super::settle::settle;
use super::super::world::World;
use super::*;
use crate::history::judge::{FindingKind, judge};
use crate::history::ledger::{CallId, Content, Ending, MonitorNumber};
use crate::plan::Work as Asking;
use crate::workload::FUNCTION;
use crate::workload::work::{Order, Part, Value, carry_out};

/// Two nodes of 1.2 that are connected; the second has this function in place of its own, if any.
async fn world<F, Fut>(function: Option<F>) -> Arc<World>
where
    F: Fn(Arc<LedgerWriter>, Context, Bytes) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, String>> + Send + 'static,
{
    let world = World::of_demo(["n1", "n2"]);
    if let Some(function) = function {
        let of = Arc::downgrade(&world);
        world.cluster.define("n2", move |builder| {
            let ledger = of.upgrade().expect("it is being started").next_ledger(1);
            let function = function.clone();
            builder.function(FUNCTION, move |job, argument| function(Arc::clone(&ledger), job, argument))
        });
    }
    for node in 0..2 {
        assert!(world.start(node, Place(2)));
    }
    world.cluster.ready().await;
    world
}

/// What the judge finds once the cluster is at rest.
async fn found(world: &Arc<World>) -> Vec<FindingKind> {
    settle(world).await;
    let judged = judge(&world.ledger.evidence(&world.names, &crate::demo::path()));
    judged.findings().iter().map(|finding| finding.kind).collect()
}

/// What is found where the second node answers one call so.
async fn asked<F, Fut>(work: Asking, function: F) -> Vec<FindingKind>
where
    F: Fn(Arc<LedgerWriter>, Context, Bytes) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, String>> + Send + 'static,
{
    let world = world(Some(function)).await;
    world.caller(0).expect("it runs").cast(1, work).expect("a member");
    found(&world).await
}

/// Carries out a stream whose last item but one its ledger does not have.
async fn forgetful(ledger: Arc<LedgerWriter>, mut job: Context, argument: Bytes) -> Result<Value, String> {
    let order = Order::decode(&argument).filter(|order| order.parts > 1);
    let Some(order) = order else { return carry_out(ledger, job, argument).await };
    job.set_stream_window(order.window.into());
    record(&ledger, &[Entry::Started { id: order.id, server: job.server(), work: order.work }]);
    for index in 0..order.parts {
        if index + 2 != order.parts {
            record(&ledger, &[Entry::ItemSent { id: order.id, index }]);
        }
        job.stream(order.part(Part::Item, index)).await.map_err(|over| over.to_string())?;
    }
    record(&ledger, &[Entry::Ended { id: order.id, how: Ending::Done }]);
    Ok(Value::Nothing)
}

#[tokio::test(start_paused = true)]
async fn an_item_that_no_job_has_sent_is_found_though_its_caller_has_a_whole_stream() {
    assert_eq!(asked(Asking::Stream, forgetful).await, [FindingKind::ItemUnsent]);
}

/// Hears another response than its caller gives, and replies as if it had heard the right one.
async fn deaf(ledger: Arc<LedgerWriter>, mut job: Context, argument: Bytes) -> Result<Value, String> {
    let order = Order::decode(&argument).filter(|order| order.parts == 1);
    let Some(order) = order else { return carry_out(ledger, job, argument).await };
    let id = order.id;
    record(&ledger, &[Entry::Started { id, server: job.server(), work: order.work }]);
    record(&ledger, &[Entry::Asked { id, index: 0 }]);
    let limit = Duration::from_secs(9);
    job.sync_reply(order.part(Part::Question, 0), limit).await.map_err(|error| error.to_string())?;
    record(&ledger, &[Entry::ResponseHeard { id, index: 0, content: Content::Wrong }]);
    record(&ledger, &[Entry::Ended { id, how: Ending::Done }]);
    Ok(Value::Reply(order.expected_reply()))
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_given_to_another_job_is_found_though_its_caller_has_the_right_reply() {
    assert_eq!(asked(Asking::Ask, deaf).await, [FindingKind::ResponseAstray]);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_whose_down_never_comes_is_found() {
    let world = world(None::<fn(_, _, _) -> std::future::Ready<_>>).await;
    // As if it had been set, and its down were lost.
    let set = Entry::Monitored { monitor: MonitorNumber(99), on: index(1) };
    record(&world.ledger.lock().lives[0].ledger, &[set]);
    assert!(world.crash(1));
    assert_eq!(found(&world).await, [FindingKind::MonitorSilent]);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_with_nothing_planted_is_found_sound() {
    let world = world(None::<fn(_, _, _) -> std::future::Ready<_>>).await;
    for &work in Asking::ALL {
        world.caller(0).expect("it runs").cast(1, work).expect("a member");
    }
    assert!(world.crash(1));
    assert_eq!(found(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn what_happens_at_once_has_an_order_over_all_lives_and_what_comes_after_a_life_is_not_recorded() {
    let ledger = Ledger::new();
    let lives = [0, 1].map(|node| ledger.begin_life(node, Place(2)));
    let phase = |phase| Entry::PhaseChanged { migration: 0, phase };
    record(&lives[1].1, &[phase(Phase::Introduce), phase(Phase::Switch)]);
    let before_us = ledger.now_us();
    record(&lives[0].1, &[phase(Phase::Remove)]);
    ledger.note_at(before_us, ScenarioEvent::Healed);
    ledger.end_life(lives[1].0, LifeEnd::Crashed);
    record(&lives[1].1, &[Entry::Quiet]);
    let recorded = |node, phase| ScenarioEvent::Recorded { node, entry: Entry::PhaseChanged { migration: 0, phase } };
    let events: Vec<ScenarioEvent> = ledger.events().into_iter().map(|(_, event)| event).collect();
    let expected = [
        ScenarioEvent::Started { node: 0, release: Place(2) },
        ScenarioEvent::Started { node: 1, release: Place(2) },
        recorded(1, Phase::Introduce),
        recorded(1, Phase::Switch),
        ScenarioEvent::Healed,
        recorded(0, Phase::Remove),
        ScenarioEvent::Ended { node: 1, how: LifeEnd::Crashed },
    ];
    assert_eq!(events, expected);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_life_that_is_over_runs_no_more_and_one_that_started_twice_ends_twice() {
    let ledger = Ledger::new();
    let (life, writer) = ledger.begin_life(0, Place(2));
    let id = CallId { caller: index(1), incarnation: Incarnation(1), call: CallNumber(1) };
    let work = crate::history::ledger::Work::Hold;
    let started = Entry::Started { id, server: rexi_proto::ServerAddress::PerNode, work };
    record(&writer, &[started, started, Entry::Ended { id, how: Ending::Dropped }]);
    assert!(!ledger.lock().open().is_empty());
    ledger.end_life(life, LifeEnd::Crashed);
    assert!(ledger.lock().open().is_empty());
}
