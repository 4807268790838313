//! A node's calls as a tower service: tried again where that is safe and nowhere else, hedged where they may run twice.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use rexi_server::middleware::{CallRequest, Client, HedgeLayer, RETRY_ATTEMPTS_MAX, RetryPolicy};
use rexi_server::testing::TestCluster;
use rexi_server::{
    Bytes, CallError, CastError, Context, DownReason, ExitReason, Limits, Node, NodeBuilder, PeerPresence, Request,
    SendError,
};
use rexi_tests::{Held, MODES, Mode, idle, name, pass, peer, release, until, within};
use tokio::time::Instant;
use tower::retry::budget::TpsBudget;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

/// The peers that were called, in order.
#[derive(Clone)]
struct Seen {
    client: Client,
    peers: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    fn on(node: &Node) -> Self {
        Self { client: node.client(), peers: Arc::default() }
    }

    fn peers(&self) -> Vec<String> {
        self.peers.lock().expect("nothing panics while it notes").clone()
    }
}

impl Service<CallRequest> for Seen {
    type Response = Bytes;
    type Error = CallError;
    type Future = <Client as Service<CallRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), CallError>> {
        self.client.poll_ready(cx)
    }

    fn call(&mut self, call: CallRequest) -> Self::Future {
        self.peers.lock().expect("nothing panics while it notes").push(call.peer().to_string());
        self.client.call(call)
    }
}

rexi_server::function! {
    /// Adds one.
    Next = "next" (u32) -> u32, error String, since 1.0;
    /// Not to be called in any release of the train.
    Later = "later" (u32) -> u32, error String, since 1.0, emitted 9.0;
}

/// What all nodes have: `held`, `slow` and `next`; and n2 alone: `only`.
fn build(node: NodeBuilder, of: &str, held: &Held) -> NodeBuilder {
    let node = held
        .on(node)
        .function("slow", |job: Context, argument: Bytes| async move {
            let wait: u64 = std::str::from_utf8(&argument).map_err(|_| "no text")?.parse().map_err(|_| "no number")?;
            pass(Duration::from_millis(wait)).await;
            Ok::<_, &str>(Bytes::from(job.call_ref().0.to_string()))
        })
        .function("nothing", |_, _| ready(Ok::<(), String>(())))
        .function("ask", |mut job: Context, _| async move { job.sync_reply("what?", Duration::from_secs(9)).await })
        .function("stream", |mut job: Context, _| async move { job.stream("item").await })
        .function("large", |_, _| ready(Ok::<_, String>(vec![0; 5 << 20])))
        .serve(Next, |_, number| ready(Ok(number + 1)));
    if of == "n2" { node.function("only", |_, argument: Bytes| ready(Ok::<_, String>(argument))) } else { node }
}

/// Limits of n1 and n3 in the cluster of the table.
fn limits(of: &str) -> Limits {
    match of {
        "n1" => Limits { buffered_frames_max: 1, calls_open_max: 3, ..Limits::default() },
        "n3" => Limits { jobs_max: 2, ..Limits::default() },
        _ => Limits::default(),
    }
}

async fn cluster(held: &Held) -> TestCluster {
    let held = held.clone();
    MODES[3].cluster(["n1", "n2", "n3"], move |node, of| build(node, of, &held).limits(limits(of))).await
}

/// Calls n3, or n2 in its place, and says who was called.
async fn call(n1: &Node, to: &str, request: Request) -> (Result<Bytes, CallError>, Vec<String>) {
    let seen = Seen::on(n1);
    let service = ServiceBuilder::new().retry(n1.retry_policy()).service(seen.clone());
    let call = CallRequest::new(name(to), request).or(name("n2"));
    (within("the answer", service.oneshot(call)).await, seen.peers())
}

/// What a call of n3 meets, and how it ends there. It is `Ok` where n2 is to answer after that.
type Case = (&'static str, Request, Result<(), fn(&CallError) -> bool>);

/// Errors of a peer that is there.
fn cases() -> Vec<Case> {
    let raw = |function: &'static str| Request::new(function, "hi");
    vec![
        ("no such function", raw("only"), Ok(())),
        ("it fails", raw("fail"), Err(|error| matches!(error, CallError::Failed { .. }))),
        ("it panics", raw("panic"), Err(|error| matches!(error, CallError::Panicked { .. }))),
        ("it says nothing", raw("nothing"), Err(|error| matches!(error, CallError::NoReply))),
        ("it asks", raw("ask"), Err(|error| matches!(error, CallError::Asks))),
        ("it is a stream", raw("stream"), Err(|error| matches!(error, CallError::IsStream))),
        ("its argument", raw("next"), Err(|error| matches!(error, CallError::WrongArgument { .. }))),
        ("its reply", raw("large"), Err(|error| *error == CallError::Ended(ExitReason::ReplyTooLarge))),
        (
            "its time",
            raw("forever").time_limit(Duration::from_millis(50)),
            Err(|error| matches!(error, CallError::TimePassed)),
        ),
        (
            "too large everywhere",
            Request::new("echo", vec![0; 5 << 20]),
            Err(|error| matches!(error, CallError::Send(SendError::Refused(CastError::PayloadTooLarge { .. })))),
        ),
        (
            "no name",
            raw(""),
            Err(|error| matches!(error, CallError::Send(SendError::Refused(CastError::FunctionName { .. })))),
        ),
        (
            "not in this release",
            Request::of(Later, &1),
            Err(|error| matches!(error, CallError::Send(SendError::NotEmitted { .. }))),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_call_is_tried_again_for_each_safe_error_of_a_peer_and_for_no_other() {
    let cluster = cluster(&Held::default()).await;
    let n1 = cluster.node("n1");
    for (what, request, expected) in cases() {
        let (answered, peers) = call(&n1, "n3", request.clone()).await;
        match expected {
            Ok(()) => {
                assert_eq!(peers, ["n3", "n2"], "{what}");
                assert!(answered.is_ok(), "{what}: {answered:?}");
            }
            Err(expected) => {
                let error = answered.expect_err(what);
                assert!(expected(&error) && !error.is_safe_to_retry(), "{what}: {error:?}");
                assert_eq!(peers, ["n3"], "{what}: {error}");
            }
        }
    }
    let (answered, peers) = call(&n1, "n9", Request::new("echo", "hi")).await;
    assert_eq!((answered, peers), (Ok("hi".into()), vec!["n9".to_owned(), "n2".to_owned()]), "n9 is no member");
    idle(&[n1, cluster.node("n2"), cluster.node("n3")]).await;
}

/// Asserts that n3 answers with this error, and that n2 answers in its place where that is safe.
async fn ends(n1: &Node, what: &str, error: CallError, safe: bool) {
    let (answered, peers) = call(n1, "n3", Request::new("echo", "hi")).await;
    assert_eq!(error.is_safe_to_retry(), safe, "{what}");
    if safe {
        assert_eq!((answered, peers), (Ok("hi".into()), vec!["n3".to_owned(), "n2".to_owned()]), "{what}");
        let direct = within("its answer", n1.call(&name("n3"), Request::new("echo", "hi"))).await;
        assert_eq!(direct, Err(error), "{what}");
    } else {
        assert_eq!((answered, peers), (Err(error), vec!["n3".to_owned()]), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_tried_elsewhere_where_a_peer_is_full_leaves_or_is_gone() {
    let held = Held::default();
    let cluster = cluster(&held).await;
    let (n1, n2, n3) = (cluster.node("n1"), cluster.node("n2"), cluster.node("n3"));
    let cast = |from: &Node, function: &str| from.cast(&name("n3"), Request::new(function, "")).expect("a member");
    let jobs = [cast(&n1, "held"), cast(&n1, "held")];
    until("both to run", &n3, |_| held.started() == 2).await;
    ends(&n1, "as many jobs as may be", CallError::Ended(ExitReason::TooManyJobs), true).await;
    // Open until n3 has refused it, which takes two milliseconds.
    let third = cast(&n1, "held");
    let (answered, peers) = call(&n1, "n3", Request::new("echo", "hi")).await;
    assert_eq!((answered, peers), (Ok("hi".into()), vec!["n3".to_owned(), "n2".to_owned()]));
    assert_eq!(third.reply().await, Err(CallError::Ended(ExitReason::TooManyJobs)));
    let third = cast(&n1, "held");
    let full = CallError::Send(SendError::Refused(CastError::TooManyCalls { max: 3 }));
    assert_eq!(n1.call(&name("n3"), Request::new("echo", "hi")).await, Err(full.clone()));
    assert!(full.is_safe_to_retry());
    drop((jobs, third));
    idle(std::slice::from_ref(&n3)).await;

    // A job of n2 keeps it there.
    let busy = cast(&n2, "held");
    until("it to run", &n3, |n3| n3.status().jobs == 1).await;
    let leaving = tokio::spawn(n3.shutdown(Duration::from_millis(500)));
    ends(&n1, "it leaves", CallError::Ended(ExitReason::Draining), true).await;
    assert_eq!(within("n3 to leave", leaving).await.expect("no panic"), 1);
    let ended = within("its end", busy.reply()).await.expect_err("it was ended");
    assert_eq!((ended.is_safe_to_retry(), ended), (false, CallError::Ended(ExitReason::ServerEnded)));

    until("n1 to notice", &n1, |n1| peer(n1, "n3").presence == PeerPresence::Gone).await;
    ends(&n1, "it is gone", CallError::Down(DownReason::NoConnect), true).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_started_is_not_tried_again_where_its_node_goes_down() {
    let held = Held::default();
    let cluster = cluster(&held).await;
    let (n1, n3) = (cluster.node("n1"), cluster.node("n3"));
    let called = tokio::spawn({
        let n1 = n1.clone();
        async move { call(&n1, "n3", Request::new("held", "")).await }
    });
    until("it to run", &n3, |_| held.started() == 1).await;
    drop(n3);
    cluster.restart("n3", &release("2.0")).expect("it starts again");
    let (answered, peers) = within("the down", called).await.expect("no panic");
    assert_eq!((answered, &peers[..]), (Err(CallError::Down(DownReason::Restarted)), &["n3".to_owned()][..]));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_full_buffer_drops_is_tried_elsewhere_and_so_is_one_to_another_release() {
    let cluster = cluster(&Held::default()).await;
    let n1 = cluster.node("n1");
    cluster.cut("n1", "n3");
    until("n1 to notice", &n1, |n1| peer(n1, "n3").presence == PeerPresence::Away).await;
    let called = tokio::spawn({
        let n1 = n1.clone();
        async move { call(&n1, "n3", Request::new("echo", "hi")).await }
    });
    until("it to wait", &n1, |n1| peer(n1, "n3").stats.buffered == 1).await;
    let later = n1.cast(&name("n3"), Request::new("echo", "later")).expect("a member");
    let (answered, peers) = within("the answer", called).await.expect("no panic");
    assert_eq!((answered, peers), (Ok("hi".into()), vec!["n3".to_owned(), "n2".to_owned()]));
    assert_eq!(peer(&n1, "n3").stats.dropped, 1);
    drop(later);

    let cluster = MODES[3].members(["n1", "n2", "n3"], |node, of| build(node, of, &Held::default()));
    for (of, number) in [("n1", "2.0"), ("n2", "2.0"), ("n3", "1.0")] {
        cluster.start(of, &release(number)).expect("it starts");
    }
    let n1 = cluster.node("n1");
    until("n1 to be refused", &n1, |n1| matches!(peer(n1, "n3").presence, PeerPresence::Refused(_))).await;
    until("n2 to be there", &n1, |n1| peer(n1, "n2").presence == PeerPresence::Connected).await;
    let refused = within("the refusal", n1.call(&name("n3"), Request::new("echo", "hi"))).await;
    let error = refused.expect_err("the releases may not speak");
    assert!(matches!(error, CallError::Incompatible(_)), "{error}");
    let (answered, peers) = call(&n1, "n3", Request::new("echo", "hi")).await;
    assert_eq!((answered, peers), (Ok("hi".into()), vec!["n3".to_owned(), "n2".to_owned()]));
}

async fn plain(mode: Mode, held: &Held) -> TestCluster {
    let held = held.clone();
    mode.cluster(["n1", "n2", "n3"], move |node, of| build(node, of, &held)).await
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded_take_turns_and_wait_longer_each_time() {
    let cluster = plain(MODES[3], &Held::default()).await;
    let n1 = cluster.node("n1");
    let tries = async |policy: RetryPolicy| {
        let (seen, began) = (Seen::on(&n1), Instant::now());
        let service = ServiceBuilder::new().retry(policy).service(seen.clone());
        let request = CallRequest::new(name("n3"), Request::new("no such", "")).or(name("n2")).or(name("n3"));
        assert_eq!(within("the answer", service.oneshot(request)).await, Err(CallError::NoSuchFunction));
        (seen.peers(), began.elapsed())
    };
    let (first, longest) = (Duration::from_millis(100), Duration::from_millis(400));
    let mut took = BTreeSet::new();
    for _ in 0..4 {
        let (peers, of_tries) = tries(n1.retry_policy().attempts(5).backoff(first, longest)).await;
        assert_eq!(peers, ["n3", "n2", "n3", "n2", "n3"]);
        // 100, 200, 400 and 400 ms, of which the first two are longer by up to a half; plus 2 ms for each try.
        assert!((1_100..1_270).contains(&of_tries.as_millis()), "{of_tries:?}");
        took.insert(of_tries);
    }
    assert!(took.len() > 1, "some of it by chance: {took:?}");
    assert_eq!(tries(n1.retry_policy().attempts(0)).await.0, ["n3"]);
    let plenty = Arc::new(TpsBudget::new(Duration::from_secs(60), 1_000, 1.0));
    let policy = n1.retry_policy().attempts(u32::MAX).budget(plenty);
    assert_eq!(tries(policy).await.0.len(), usize::try_from(RETRY_ATTEMPTS_MAX).expect("few"));
}

#[tokio::test(start_paused = true)]
async fn tries_of_all_calls_end_with_their_budget() {
    let cluster = plain(MODES[3], &Held::default()).await;
    let (n1, seen) = (cluster.node("n1"), Seen::on(&cluster.node("n1")));
    // Ten tries in ten seconds, and none for calls that succeed.
    let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 1, 0.0));
    let policy = n1.retry_policy().backoff(Duration::ZERO, Duration::ZERO).budget(budget);
    let service = ServiceBuilder::new().retry(policy).service(seen.clone());
    for _ in 0..30 {
        let request = CallRequest::new(name("n3"), Request::new("no such", ""));
        let answered = within("the answer", service.clone().oneshot(request)).await;
        assert_eq!(answered, Err(CallError::NoSuchFunction));
    }
    assert_eq!(seen.peers().len(), 30 + 10);
}

#[tokio::test(start_paused = true)]
async fn standard_layers_stand_around_calls_and_their_errors_are_tried_again_where_they_are_safe() {
    let held = Held::default();
    let cluster = plain(MODES[3], &held).await;
    let (n1, n2, n3) = (cluster.node("n1"), cluster.node("n2"), cluster.node("n3"));
    let seen = Seen::on(&n1);
    let limited = ServiceBuilder::new()
        .retry(n1.retry_policy())
        .timeout(Duration::from_millis(100))
        .concurrency_limit(2)
        .service(seen.clone());
    let request = |function: &str| CallRequest::new(name("n3"), Request::new(function, "hi")).or(name("n2"));
    // Its error is a boxed one now.
    assert_eq!(within("the answer", limited.clone().oneshot(request("only"))).await.expect("n2 has it"), "hi");
    assert_eq!(seen.peers(), ["n3", "n2"]);
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(limited.clone().oneshot(request("held")))).collect();
    until("two to run", &n3, |_| held.started() == 2).await;
    assert_eq!(n1.status().calls, 2, "no more than the limit");
    for call in calls {
        let error: BoxError = within("the time-out", call).await.expect("no panic").expect_err("it is held");
        assert_eq!(error.to_string(), "request timed out");
    }
    assert_eq!((held.started(), seen.peers().len()), (4, 6), "none of them is tried again");
    idle(&[n1, n2, n3]).await;
    assert_eq!(held.dropped(), 4, "a call that is dropped is killed");
}

/// Calls `slow` on n3 and, after 20 ms, on n2; each takes that long there.
async fn hedged(
    n1: &Node,
    seen: &Seen,
    layer: HedgeLayer,
    request: CallRequest,
) -> (Result<Bytes, CallError>, Duration) {
    let began = Instant::now();
    let service = ServiceBuilder::new().layer(layer).service(seen.clone());
    let answered = within("the answer", service.oneshot(request)).await;
    idle(std::slice::from_ref(n1)).await;
    (answered, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_is_hedged_and_the_loser_is_killed() {
    for mode in [MODES[0], MODES[3]] {
        let held = [Held::default(), Held::default(), Held::default()];
        let on = held.clone();
        let cluster = mode.cluster(["n1", "n2", "n3"], move |node, of| {
            let node = build(node, of, &on[usize::from(of == "n3") + 1]);
            // Each takes longer on n3.
            let waits = Duration::from_millis(if of == "n3" { 100 } else { 30 });
            let node = node.function("both", move |_, _| async move {
                pass(waits).await;
                Ok::<_, String>(format!("{} ms", waits.as_millis()).into_bytes())
            });
            node.function("fails", move |_, _| async move {
                pass(waits).await;
                Err::<(), _>(format!("after {} ms", waits.as_millis()))
            })
            .function("n3 fails", move |_, _| async move {
                if waits.as_millis() == 100 {
                    pass(waits).await;
                    return Err("n3 has failed");
                }
                pass(waits * 4).await;
                Ok(Bytes::from_static(b"n2, later"))
            })
            .function("answer", move |_, _| async move {
                if waits.as_millis() == 100 {
                    std::future::pending::<()>().await;
                }
                Ok::<_, String>(Bytes::from_static(b"n2"))
            })
        });
        let cluster = cluster.await;
        let (n1, n2, n3) = (cluster.node("n1"), cluster.node("n2"), cluster.node("n3"));
        let layer = || HedgeLayer::after(Duration::from_millis(20));
        let request = |function: &str| CallRequest::new(name("n3"), Request::new(function, "")).or(name("n2"));
        let all_idle = async || idle(&[n1.clone(), n2.clone(), n3.clone()]).await;
        let seen = Seen::on(&n1);

        let (answered, took) = hedged(&n1, &seen, layer(), request("answer").idempotent()).await;
        assert_eq!((answered, seen.peers().len()), (Ok("n2".into()), 2), "n3 is slow");
        assert!((20..40).contains(&took.as_millis()), "{took:?}");
        all_idle().await;

        let (answered, took) = hedged(&n1, &seen, layer(), request("both").idempotent()).await;
        assert_eq!(answered, Ok("30 ms".into()), "both are slow, and n2 is first");
        assert!((50..80).contains(&took.as_millis()), "{took:?}");
        all_idle().await;
        let turned = CallRequest::new(name("n2"), Request::new("both", "")).or(name("n3")).idempotent();
        let (answered, _) = hedged(&n1, &seen, layer(), turned).await;
        assert_eq!(
            (answered, seen.peers().len()),
            (Ok("30 ms".into()), 6),
            "both are slow, and the first one is first"
        );
        all_idle().await;

        let (answered, _) = hedged(&n1, &seen, layer(), request("fails").idempotent()).await;
        let failed = CallError::Failed { function: "fails".into(), error: "after 100 ms".into() };
        assert_eq!((answered, seen.peers().len()), (Err(failed), 8), "both fail: the first call's error");
        let (answered, _) = hedged(&n1, &seen, layer(), request("fail").idempotent()).await;
        assert!(answered.is_err() && seen.peers().len() == 9, "it failed before the wait was over");
        let (answered, _) = hedged(&n1, &seen, layer(), request("n3 fails").idempotent()).await;
        assert_eq!((answered, seen.peers().len()), (Ok("n2, later".into()), 11), "an error waits for the other call");
        all_idle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_hedged_only_where_it_may_be_and_its_drop_ends_both() {
    let held = Held::default();
    let cluster = plain(MODES[3], &held).await;
    let (n1, n2, n3) = (cluster.node("n1"), cluster.node("n2"), cluster.node("n3"));
    let layer = || HedgeLayer::after(Duration::from_millis(20));
    let request = || CallRequest::new(name("n3"), Request::new("slow", "100")).or(name("n2"));
    let alone = CallRequest::new(name("n3"), Request::new("slow", "100")).idempotent();
    let none = Arc::new(TpsBudget::new(Duration::from_secs(10), 0, 0.0));
    for (what, layer, request) in [
        ("it is not marked", layer(), request()),
        ("it has no second peer", layer(), alone),
        ("the budget is used up", layer().budget(none), request().idempotent()),
    ] {
        let seen = Seen::on(&n1);
        let (answered, _) = hedged(&n1, &seen, layer, request).await;
        assert!(answered.is_ok(), "{what}");
        assert_eq!(seen.peers(), ["n3"], "{what}");
    }
    let both = CallRequest::new(name("n3"), Request::new("held", "")).or(name("n2")).idempotent();
    let service = ServiceBuilder::new().layer(layer()).service(n1.client());
    let called = tokio::spawn(service.oneshot(both));
    until("both to run", &n2, |_| held.started() == 2).await;
    called.abort();
    idle(&[n1, n2, n3]).await;
    assert_eq!(held.dropped(), 2, "no orphan is left");
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_while_a_node_leaves() {
    let cluster = plain(MODES[2], &Held::default()).await;
    let (n1, n3) = (cluster.node("n1"), cluster.node("n3"));
    let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 100, 0.2));
    let service = ServiceBuilder::new().retry(n1.retry_policy().budget(budget)).service(n1.client());
    let failed = Arc::new(AtomicUsize::new(0));
    let mut calls = tokio::task::JoinSet::new();
    let mut leaving = None;
    for number in 0..300_usize {
        if number == 100 {
            leaving = Some(tokio::spawn(n3.clone().shutdown(Duration::from_secs(5))));
        }
        let wait = if number % 10 == 0 { "200" } else { "1" };
        let call = service.clone().oneshot(CallRequest::new(name("n3"), Request::new("slow", wait)).or(name("n2")));
        let failed = Arc::clone(&failed);
        calls.spawn(async move {
            if call.await.is_err() {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        });
        pass(Duration::from_millis(1)).await;
    }
    within("the calls", async { while calls.join_next().await.is_some() {} }).await;
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    let leaving = leaving.expect("it leaves in the middle");
    assert_eq!(within("n3 to leave", leaving).await.expect("no panic"), 0);
}

#[tokio::test(start_paused = true)]
async fn tries_wait_10_ms_and_ever_longer_up_to_a_second_unless_they_are_told_otherwise() {
    let cluster = plain(MODES[3], &Held::default()).await;
    let n1 = cluster.node("n1");
    let took = async |attempts: u32| {
        let plenty = Arc::new(TpsBudget::new(Duration::from_secs(60), 1_000, 1.0));
        let policy = n1.retry_policy().attempts(attempts).budget(plenty);
        let service = ServiceBuilder::new().retry(policy).service(Seen::on(&n1));
        let began = Instant::now();
        let request = CallRequest::new(name("n3"), Request::new("no such", ""));
        assert_eq!(within("the answer", service.oneshot(request)).await, Err(CallError::NoSuchFunction));
        began.elapsed().as_millis()
    };
    // Each try is answered here, at once, and each wait may be longer by a half.
    let first = took(2).await;
    assert!((10..=16).contains(&first), "{first} ms");
    // 10, 20, 40, 80, 160, 320, 640 ms, and then a second each.
    let waits: u128 = 1_270;
    let all = took(16).await;
    assert!((waits + 8_000..=waits * 3 / 2 + 8_000 + 16 * 4).contains(&all), "{all} ms");
}
