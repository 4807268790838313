//! Mailboxes: time limits, handles of other tasks, calls that are let go, bounds, casts that wait for room.

use std::sync::Arc;
use std::time::Duration;

use rexi_server::{
    Answer, Bytes, CallRef, Context, Event, ExitReason, JobOver, Limits, Mailbox, Node, NodeBuilder, Request, SendError,
};
use rexi_tests::{Cluster, RELEASES, name, release, until, within};
use tokio::sync::Notify;

/// Two connected nodes, both built further by `build`.
async fn pair(number: &str, build: impl Fn(NodeBuilder) -> NodeBuilder) -> (Node, Node) {
    let cluster = Cluster::new(["n1", "n2"]);
    let start = |of| build(cluster.builder(of, release(number))).start().expect("it starts");
    let (n1, n2) = (start("n1"), start("n2"));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    (n1, n2)
}

async fn answer(mailbox: &mut Mailbox) -> (CallRef, Answer) {
    match within("an answer", mailbox.recv()).await {
        Event::Answer(call, answer) => (call, answer),
        other => panic!("no answer: {other:?}"),
    }
}

fn reply(body: &'static str) -> Answer {
    Answer::Reply { body: body.into(), last: true }
}

#[tokio::test]
async fn a_mailbox_keeps_the_time_limits_of_its_calls_whatever_the_other_node_does() {
    // n2 never starts.
    let n1 = Cluster::new(["n1", "n2"]).start("n1", "2.0");
    let mut mailbox = n1.mailbox();
    let limit = |ms| Request::new("echo", "").time_limit(Duration::from_millis(ms));
    let late = mailbox.cast(&name("n2"), limit(60)).expect("a member");
    let unlimited = mailbox.cast(&name("n2"), Request::new("echo", "")).expect("a member");
    let handle = mailbox.handle();
    let waiting = tokio::spawn(async move {
        let first = answer(&mut mailbox).await;
        let second = answer(&mut mailbox).await;
        (first, second, mailbox.open_calls())
    });
    tokio::task::yield_now().await;
    // A nearer limit, while the owner waits for the later one.
    let soon = handle.cast(&name("n2"), limit(20)).expect("a member");
    let passed = |call| (call, Answer::Exit { function: "".into(), reason: ExitReason::TimePassed });
    let (first, second, open) = waiting.await.expect("no panic");
    assert_eq!((first, second, open), (passed(soon), passed(late), 1), "{unlimited:?} is still open");
    until("the calls to be gone", &n1, |n1| n1.status().calls == 0).await;
}

#[tokio::test]
async fn replies_go_to_the_mailbox_that_was_named_and_not_to_who_cast() {
    for number in RELEASES {
        let (n1, _n2) = pair(number, |node| node).await;
        let mut mailbox = n1.mailbox();
        let handle = mailbox.handle();
        let cast = tokio::spawn(async move { handle.cast(&name("n2"), Request::new("echo", "hi")) });
        let call = cast.await.expect("no panic").expect("a member");
        assert_eq!(answer(&mut mailbox).await, (call, reply("hi")));
    }
}

#[tokio::test]
async fn a_cast_for_a_mailbox_that_is_gone_is_refused_and_leaves_nothing_behind() {
    let (n1, n2) = pair("1.2", |node| node).await;
    let mailbox = n1.mailbox();
    let handle = mailbox.handle();
    handle.cast(&name("n2"), Request::new("forever", "")).expect("a member");
    until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
    drop(mailbox);
    assert_eq!(handle.cast(&name("n2"), Request::new("forever", "")), Err(SendError::MailboxGone));
    until("no job to be left", &n2, |n2| n2.status().jobs == 0).await;
    assert_eq!(n1.status().calls, 0);
}

#[tokio::test]
async fn a_call_that_is_let_go_runs_to_its_end() {
    let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (gate, ended) = (Arc::clone(&go), Arc::clone(&done));
    let (n1, n2) = pair("2.0", |node| {
        let (gate, ended) = (Arc::clone(&gate), Arc::clone(&ended));
        node.function("gated", move |_, _| {
            let (gate, ended) = (Arc::clone(&gate), Arc::clone(&ended));
            async move {
                gate.notified().await;
                ended.notify_one();
                Ok::<_, String>(())
            }
        })
    })
    .await;
    let call = n1.cast(&name("n2"), Request::new("gated", "")).expect("a member");
    until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
    call.detach();
    assert_eq!(within("an echo", n1.call(&name("n2"), Request::new("echo", "x"))).await, Ok("x".into()));
    assert_eq!((n2.status().jobs, n1.status().calls), (1, 1), "a kill would have come before the echo");
    go.notify_one();
    within("the job to end", done.notified()).await;
    until("the call to be gone", &n1, |n1| n1.status().calls == 0).await;
}

/// Sends as many replies as it is told, of so many bytes each, and then waits for ever.
async fn replies(job: Context, argument: Bytes) -> Result<(), JobOver> {
    for _ in 0..argument[0] {
        job.reply(vec![0; argument[1].into()])?;
    }
    std::future::pending().await
}

#[tokio::test]
async fn a_mailbox_takes_as_many_replies_and_bytes_as_it_holds_and_makes_room_when_it_is_read() {
    let in_length = Limits { mailbox_length_max: 3, ..Limits::default() };
    let in_bytes =
        Limits { mailbox_bytes_max: 300, payload_bytes_max: 300, inline_bytes_max: 300, ..Limits::default() };
    for limits in [in_length, in_bytes] {
        let (n1, n2) = pair("2.0", |node| node.limits(limits.clone()).function("replies", replies)).await;
        let mut mailbox = n1.mailbox();
        let cast = |times| mailbox.cast(&name("n2"), Request::new("replies", vec![times, 100])).expect("a member");
        let fits = cast(3);
        let too_many = cast(1);
        // Behind the replies on the lane, so they have come before it.
        assert_eq!(within("an echo", n1.call(&name("n2"), Request::new("echo", "x"))).await, Ok("x".into()));
        for _ in 0..3 {
            assert_eq!(answer(&mut mailbox).await, (fits, Answer::Reply { body: vec![0; 100].into(), last: false }));
        }
        let dropped = Answer::Exit { function: "".into(), reason: ExitReason::ReplyDropped };
        assert_eq!(answer(&mut mailbox).await, (too_many, dropped));
        until("its job to be gone", &n2, |n2| n2.status().jobs == 1).await;
        let again = mailbox.cast(&name("n2"), Request::new("replies", vec![1, 100])).expect("a member");
        assert_eq!(answer(&mut mailbox).await.0, again, "there is room again");
    }
}

#[tokio::test]
async fn a_cast_that_waits_for_room_goes_out_when_the_peer_is_there() {
    let cluster = Cluster::new(["n1", "n2"]);
    let n1 = cluster.start("n1", "2.0");
    let mut mailbox = n1.mailbox();
    let handle = mailbox.handle();
    let cast = tokio::spawn(async move { handle.cast_when_clear(&name("n2"), Request::new("echo", "hi")).await });
    tokio::task::yield_now().await;
    assert_eq!(n1.status().calls, 0, "nothing is cast yet");
    let _n2 = cluster.start("n2", "2.0");
    let call = within("the cast", cast).await.expect("no panic").expect("a member");
    assert_eq!(answer(&mut mailbox).await, (call, reply("hi")));
}

#[tokio::test]
async fn a_cast_that_waits_for_room_ends_with_its_time_limit_or_with_the_peer() {
    let limits = Limits { stability_period: Duration::from_millis(200), ..Limits::default() };
    let cluster = Cluster::new(["n1", "n2"]);
    let n1 = cluster.builder("n1", release("2.0")).limits(limits).start().expect("it starts");
    let limited = Request::new("echo", "").time_limit(Duration::from_millis(20));
    let no_room = within("the limit", n1.cast_when_clear(&name("n2"), limited)).await;
    assert_eq!(no_room.map(|_| ()), Err(SendError::NoRoom(name("n2"))));
    assert_eq!(n1.status().calls, 0);
    let given_up = within("the peer to be given up", n1.cast_when_clear(&name("n2"), Request::new("echo", ""))).await;
    let told = within("the answer", given_up.expect("a member").reply()).await;
    assert!(told.expect_err("nobody is there").did_not_run());
}
