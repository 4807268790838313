//! The load against real nodes in virtual time, and against functions that are broken on purpose: what it writes down,
//! and what the judge makes of it.

use std::future::Future;

use rexi_proto::{Phase, Train};
use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, Context};

use super::*;
use crate::history::evidence::{Evidence, ProcessEnd, ProcessRecord};
use crate::history::judge::{FindingKind, Judgement, Verdict, judge};
use crate::history::ledger::{Content, LedgerHeader, ProcessLedger};
use crate::verdict::case::{Requirement, Witness};
use crate::workload::FUNCTION;
use crate::workload::work::{Part, Value, carry_out};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// Makes the load of n1 for five seconds, by nodes whose function is `function`, brings it to rest, and judges.
async fn loaded<F, Fut>(function: F) -> Judgement
where
    F: Fn(Arc<LedgerWriter>, Context, Bytes) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, String>> + Send + 'static,
{
    let cluster = TestCluster::with_seed(5, NAMES);
    let begun = Instant::now();
    let now_us = move || u64::try_from(begun.elapsed().as_micros()).expect("a few minutes");
    let ledgers = NAMES.map(|_| Arc::new(LedgerWriter::in_memory(now_us)));
    for (name, ledger) in NAMES.iter().zip(&ledgers) {
        let (serving, function) = (Arc::clone(ledger), function.clone());
        cluster.define(name, move |node| {
            let (serving, function) = (Arc::clone(&serving), function.clone());
            node.function(FUNCTION, move |job, argument| function(Arc::clone(&serving), job, argument))
        });
    }
    let release = Train::new("test").release("1.0", |r| r).profile("1.0").expect("a train");
    cluster.start_all(&release).expect("started");
    cluster.ready().await;
    let awake: Awake = Box::new(move || begun.elapsed());
    let writer = Arc::clone(&ledgers[0]);
    let (mut load, mut mailbox) =
        Load::new(cluster.node("n1"), writer, NodeIndex(0), Functions::default(), 500, 3, awake);
    record(&ledgers[0], &[Entry::PhaseChanged { migration: 0, phase: Phase::Remove }]);
    load.set_on(true);
    run((&mut load, &mut mailbox), Duration::from_secs(5), false).await;
    load.rest(&mailbox);
    run((&mut load, &mut mailbox), ANSWER_LIMIT * 2, true).await;
    let processes = (0..).zip(NAMES).zip(&ledgers).map(|((index, name), ledger)| {
        record(ledger, &[Entry::Quiet]);
        let incarnation = cluster.node(name).incarnation();
        let (node, index) = (cluster.name(name), NodeIndex(index));
        let header =
            LedgerHeader { began_us: 0, ..LedgerHeader::new(node, index, release.release().clone(), incarnation) };
        let records = ledger.memory().expect("it is in memory").read(0, <[_]>::to_vec);
        let ledger = Ok(ProcessLedger { header, records, torn: false });
        ProcessRecord { node: index, ledger, end: ProcessEnd::LiveAtEnd }
    });
    let required = [Witness::StreamWindowFull, Witness::StreamServed, Witness::StreamKilled].map(Requirement::once);
    judge(&Evidence { processes: processes.collect(), required: required.to_vec(), ..Evidence::default() })
}

/// Runs the load for that long, as a node does; if it is to come to rest, until it has.
async fn run((load, mailbox): (&mut Load, &mut Mailbox), time: Duration, to_rest: bool) {
    let until = Instant::now() + time;
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    while Instant::now() < until && !(to_rest && load.in_flight() == 0) {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                load.tick(mailbox);
                load.time_out(mailbox);
            }
            event = mailbox.recv() => load.handle(event, mailbox),
        }
    }
}

fn kinds(judgement: &Judgement) -> Vec<FindingKind> {
    judgement.findings().iter().map(|finding| finding.kind).collect()
}

#[tokio::test(start_paused = true)]
async fn a_load_on_sound_nodes_is_safe_and_holds_streams_questions_and_gathers() {
    let judgement = loaded(carry_out).await;
    assert_eq!(judgement.verdict, Verdict::Safe, "{judgement:#?}");
    let counts = judgement.counts;
    let talk = [counts.streams, counts.items, counts.questions, counts.gathers, counts.quorums];
    assert!(talk.iter().all(|&count| count >= 5), "{counts:?}");
    for witness in [Witness::LargeItem, Witness::StreamCancelled, Witness::QuestionAnswered] {
        assert!(judgement.witnessed(witness) > 0, "{witness:?}");
    }
}

/// A worker that sends the items of a stream in this order, and is sound in everything else.
async fn misordered(ledger: Arc<LedgerWriter>, job: Context, argument: Bytes, items: &[u16]) -> Result<Value, String> {
    let order = Order::decode(&argument).ok_or("this is no order")?;
    if order.work != Work::Stream {
        return carry_out(ledger, job, argument).await;
    }
    let mut job = job;
    job.set_stream_window(order.window.into());
    record(&ledger, &[Entry::Started { id: order.id, server: job.server(), work: order.work }]);
    for &index in items {
        record(&ledger, &[Entry::ItemSent { id: order.id, index }]);
    }
    for &index in items {
        job.stream(order.part(Part::Item, index)).await.map_err(|over| over.to_string())?;
    }
    record(&ledger, &[Entry::Ended { id: order.id, how: crate::history::ledger::Ending::Done }]);
    Ok(Value::Nothing)
}

#[tokio::test(start_paused = true)]
async fn items_that_are_left_out_repeated_or_exchanged_are_seen_at_the_caller() {
    for (items, kind) in [
        (&[0, 2][..], FindingKind::ItemGap),
        (&[0, 1, 1], FindingKind::ItemTwice),
        (&[0, 2, 1], FindingKind::ItemReordered),
    ] {
        let judgement = loaded(move |ledger, job, argument| misordered(ledger, job, argument, items)).await;
        assert!(kinds(&judgement).contains(&kind), "{items:?}: {:?}", kinds(&judgement));
    }
}

/// A worker whose every value has one byte more than it should.
async fn padded(ledger: Arc<LedgerWriter>, job: Context, argument: Bytes) -> Result<Value, String> {
    match carry_out(ledger, job, argument).await? {
        Value::Reply(body) => Ok(Value::Reply(body.iter().copied().chain([0]).collect())),
        Value::Nothing => Ok(Value::Nothing),
    }
}

#[tokio::test(start_paused = true)]
async fn values_that_are_not_as_determined_are_seen_in_items_replies_and_votes() {
    let judgement = loaded(padded).await;
    for kind in [FindingKind::WrongItem, FindingKind::WrongReply, FindingKind::QuorumContradicted] {
        assert!(kinds(&judgement).contains(&kind), "{kind:?}: {:?}", kinds(&judgement));
    }
}

/// A worker that asks the second question where the first is due, and takes the response for that to the first.
async fn confused(ledger: Arc<LedgerWriter>, job: Context, argument: Bytes) -> Result<Value, String> {
    let order = Order::decode(&argument).ok_or("this is no order")?;
    if order.work != Work::Question {
        return carry_out(ledger, job, argument).await;
    }
    let (mut job, id) = (job, order.id);
    record(&ledger, &[Entry::Started { id, server: job.server(), work: order.work }]);
    record(&ledger, &[Entry::Asked { id, index: 0 }]);
    let response = job.sync_reply(order.part(Part::Question, 1), ANSWER_LIMIT).await.map_err(|e| e.to_string())?;
    let right = response == order.part(Part::Response, 1);
    let content = if right { Content::Right } else { Content::Wrong };
    record(&ledger, &[Entry::ResponseHeard { id, index: 0, content }]);
    record(&ledger, &[Entry::Ended { id, how: crate::history::ledger::Ending::Done }]);
    Ok(Value::Reply(order.reply_with(&[response])))
}

#[tokio::test(start_paused = true)]
async fn questions_and_responses_of_another_place_are_seen_at_both_ends() {
    let judgement = loaded(confused).await;
    for kind in [FindingKind::QuestionAstray, FindingKind::ResponseAstray, FindingKind::WrongReply] {
        assert!(kinds(&judgement).contains(&kind), "{kind:?}: {:?}", kinds(&judgement));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_job_falls_silent_is_given_up_and_found() {
    let silent = |ledger: Arc<LedgerWriter>, mut job: Context, argument: Bytes| async move {
        let order = Order::decode(&argument).ok_or("this is no order")?;
        if order.work != Work::Stream {
            return carry_out(ledger, job, argument).await;
        }
        record(&ledger, &[Entry::Started { id: order.id, server: job.server(), work: order.work }]);
        record(&ledger, &[Entry::ItemSent { id: order.id, index: 0 }]);
        job.stream(order.part(Part::Item, 0)).await.map_err(|over| over.to_string())?;
        std::future::pending().await
    };
    let judgement = loaded(silent).await;
    assert!(kinds(&judgement).contains(&FindingKind::StreamSilent), "{:?}", kinds(&judgement));
    assert!(judgement.counts.timed_out > 0);
}
