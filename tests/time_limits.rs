//! How long a caller waits: what its request says, else what its node says, and for streams and casts as long as it
//! takes.

use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt;
use rexi_server::calls::{CALL_TIME_LIMIT, VoteError};
use rexi_server::{AskError, Bytes, CallError, Config, Context, Items, Node, NodeBuilder, QuorumError, Request, Train};
use rexi_tests::{MODES, idle, name, pass, within};
use tokio::time::Instant;

rexi_server::function! {
    /// Never answers.
    Hang = "hang-typed" () -> (), error String, since 1.0;
    /// Answers with how many milliseconds its caller still waits.
    Left = "left" () -> Option<u64>, error String, since 1.0;
    /// An item a second, of as many as this.
    Tick = "tick" (u32) -> stream u32, error String, since 1.0;
}

async fn left(job: Context, (): ()) -> Result<Option<u64>, String> {
    Ok(job.time_left().map(|left| u64::try_from(left.as_millis()).expect("a short time")))
}

async fn tick(mut items: Items<Tick>, end: u32) -> Result<Option<u32>, String> {
    for number in 0..end {
        pass(SECOND).await;
        items.send(&number).await;
    }
    Ok(None)
}

fn functions(node: NodeBuilder) -> NodeBuilder {
    node.serve(Hang, |_, ()| pending()).serve(Left, left).serve_stream(Tick, tick)
}

/// What a call for a hanging function ends with, and after how long.
async fn ended<T: std::fmt::Debug, E>(call: impl Future<Output = Result<T, E>>) -> (E, Duration) {
    let began = Instant::now();
    let ended = tokio::time::timeout(10 * CALL_TIME_LIMIT, call).await;
    let error = ended.expect("it ends").expect_err("it hangs");
    (error, began.elapsed())
}

fn is_about(took: Duration, limit: Duration) -> bool {
    (limit..limit + SECOND).contains(&took)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_call_for_one_reply_ends_after_what_its_node_says() {
    for limit in [CALL_TIME_LIMIT, Duration::from_secs(5)] {
        let (n1, n2) = MODES[3].pair(move |node| functions(node).call_time_limit(Some(limit))).await;
        let (to, raw) = (name("n2"), || Request::of(Hang, &()));
        let (error, took) = ended(n1.ask(Hang, &to, &()).into_future()).await;
        assert_eq!(error, AskError::Call(CallError::TimePassed));
        assert!(is_about(took, limit), "{took:?}");
        let (error, took) = ended(n1.call(&to, raw())).await;
        assert_eq!(error, CallError::TimePassed);
        assert!(is_about(took, limit), "{took:?}");
        let (error, took) = ended(n1.ask_quorum(Hang, [to.clone()], &()).run()).await;
        let QuorumError::TooFew { failed, .. } = error else { panic!("{error}") };
        assert_eq!(failed, [(to.clone(), VoteError::Call(CallError::TimePassed))]);
        assert!(is_about(took, limit), "{took:?}");
        let (error, took) = ended(n1.quorum([to.clone()], raw()).run()).await;
        assert!(matches!(error, QuorumError::TooFew { .. }), "{error}");
        assert!(is_about(took, limit), "{took:?}");
        // The jobs are ended over there, too.
        idle(&[n1.clone(), n2.clone()]).await;
        let left = within("the time", n1.ask(Left, &to, &())).await.expect("it answers").expect("a limit travels");
        assert!(left > 0 && u128::from(left) <= limit.as_millis(), "{left} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_request_says_goes_before_what_its_node_says() {
    let (n1, _n2) = MODES[3].pair(functions).await;
    let to = name("n2");
    let (error, took) = ended(n1.ask(Hang, &to, &()).time_limit(SECOND)).await;
    assert_eq!(error, AskError::Call(CallError::TimePassed));
    assert!(is_about(took, SECOND), "{took:?}");
    let (_, took) = ended(n1.call(&to, Request::of(Hang, &()).time_limit(2 * SECOND))).await;
    assert!(is_about(took, 2 * SECOND), "{took:?}");
    for unlimited in [true, false] {
        let call = n1.ask(Left, &to, &());
        let call = if unlimited { call.no_time_limit() } else { call };
        assert_eq!(within("the time", call).await.expect("it answers").is_none(), unlimited);
    }
    for unlimited in [n1.ask(Hang, &to, &()).no_time_limit(), n1.ask(Hang, &to, &()).time_limit(Duration::MAX)] {
        assert!(tokio::time::timeout(10 * CALL_TIME_LIMIT, unlimited).await.is_err(), "it waits on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_may_have_no_limit() {
    let (n1, _n2) = MODES[3].pair(|node| functions(node).call_time_limit(None)).await;
    assert_eq!(within("the time", n1.ask(Left, &name("n2"), &())).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_stream_and_a_cast_take_as_long_as_they_take_or_as_they_say() {
    let (n1, _n2) = MODES[3].pair(|node| functions(node).call_time_limit(Some(3 * SECOND))).await;
    let to = name("n2");
    let items: Vec<_> = n1.ask_stream(Tick, &to, &10).collect().await;
    assert_eq!(items, (0..10).map(Ok).collect::<Vec<_>>());
    let items: Vec<_> = n1.ask_stream(Tick, &to, &10).time_limit(4 * SECOND + SECOND / 2).collect().await;
    let mut expected: Vec<Result<u32, AskError<String>>> = (0..4).map(Ok).collect();
    expected.push(Err(AskError::Call(CallError::TimePassed)));
    assert_eq!(items, expected);
    let mut cast = n1.cast(&to, Request::of(Hang, &())).expect("a member");
    assert!(tokio::time::timeout(60 * SECOND, cast.next()).await.is_err(), "it was not ended");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_it_is_awaited_and_dropping_it_kills_the_job() {
    let (n1, n2) = MODES[3].pair(functions).await;
    let to = name("n2");
    let (call, items) = (n1.ask(Hang, &to, &()), n1.ask_stream(Tick, &to, &u32::MAX));
    assert_eq!(format!("{call:?}"), "Ask { function: \"hang-typed\", peer: n2, .. }");
    pass(SECOND).await;
    assert_eq!((n1.status().calls, n2.status().jobs), (0, 0));
    let (mut call, mut items) = (call, items);
    assert!(tokio::time::timeout(SECOND / 2, &mut call).await.is_err());
    assert!(tokio::time::timeout(SECOND / 2, items.next()).await.is_err());
    assert_eq!((n1.status().calls, n2.status().jobs), (2, 2));
    drop((call, items));
    idle(&[n1, n2]).await;
}

#[test]
fn a_configuration_sets_it_and_0_is_none() {
    let train = Train::new("tests").release("1.0", |r| r);
    let limit = |line: &str| {
        let text = format!("name = \"n1\"\nlisten = \"127.0.0.1:4001\"\nrelease = \"1.0\"\n{line}\n");
        Config::from_toml(&text, "n1.toml", &train).map(|config| config.call_time_limit()).map_err(|e| e.to_string())
    };
    assert_eq!(limit(""), Ok(Some(CALL_TIME_LIMIT)));
    assert_eq!(limit("[calls]\ntime_limit_ms = 250"), Ok(Some(Duration::from_millis(250))));
    assert_eq!(limit("[calls]\ntime_limit_ms = 0"), Ok(None));
    let refused = limit("[calls]\ntime_limit = 250").expect_err("no such key");
    assert!(refused.contains("calls.time_limit_ms"), "{refused}");
}

/// As users write it: a function of what is shared, without a clone.
#[tokio::test(start_paused = true)]
async fn handlers_share_what_they_are_served_with() {
    #[derive(Clone)]
    struct Store(Bytes);
    rexi_server::function! {
        /// What is stored.
        Stored = "stored" () -> Bytes, error String, since 1.0;
        /// It, in two parts.
        Halves = "halves" () -> stream Bytes, error String, since 1.0;
    }
    async fn halves(store: Store, mut items: Items<Halves>, (): ()) -> Result<Option<Bytes>, String> {
        items.send(&store.0.slice(..2)).await;
        Ok(Some(store.0.slice(2..)))
    }
    let store = Store(Bytes::from_static(b"kept"));
    let (n1, _n2): (Node, Node) = MODES[3]
        .pair(move |node| {
            node.serve_with(Stored, &store, |store: Store, _, ()| async move { Ok(store.0) })
                .serve_stream_with(Halves, &store, halves)
        })
        .await;
    assert_eq!(within("the reply", n1.ask(Stored, &name("n2"), &())).await, Ok(Bytes::from_static(b"kept")));
    let items: Vec<_> = within("the items", n1.ask_stream(Halves, &name("n2"), &()).collect()).await;
    assert_eq!(items, [Ok(Bytes::from_static(b"ke")), Ok(Bytes::from_static(b"pt"))]);
}
