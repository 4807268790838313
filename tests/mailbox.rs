//! Mailboxes in every mode: references, time limits, handles in other tasks, calls that are let go, bounds, casts that
//! wait for room.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rexi_server::{
    Answer, Bytes, Call, CallRef, CastError, Context, Event, ExitReason, JobOver, Limits, Mailbox, Node, NodeBuilder,
    NodeName, PeerPresence, Request, SendError,
};
use rexi_tests::{MODES, Witness, in_every_mode, name, pass, peer, until, within};
use tokio::sync::Notify;

async fn answer(mailbox: &mut Mailbox) -> (CallRef, Answer) {
    match within("an answer", mailbox.recv()).await {
        Event::Answer(call, answer) => (call, answer),
        other => panic!("no answer: {other:?}"),
    }
}

fn reply(body: &'static str) -> Answer {
    Answer::Reply { body: body.into(), last: true }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_keeps_the_time_limits_of_its_calls_whatever_the_other_node_does() {
    in_every_mode(async |mode| {
        let cluster = mode.members(["n1", "n2"], |node, _| node);
        // n2 never starts.
        let n1 = mode.start(&cluster, "n1");
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn replies_go_to_the_mailbox_that_was_named_and_not_to_who_cast() {
    in_every_mode(async |mode| {
        let (n1, _n2) = mode.pair(|node| node).await;
        let mut mailbox = n1.mailbox();
        let handle = mailbox.handle();
        let cast = tokio::spawn(async move { handle.cast(&name("n2"), Request::new("echo", "hi")) });
        let call = cast.await.expect("no panic").expect("a member");
        assert_eq!(answer(&mut mailbox).await, (call, reply("hi")));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cast_for_a_mailbox_that_is_gone_is_refused_and_leaves_nothing_behind() {
    in_every_mode(async |mode| {
        let (n1, n2) = mode.pair(|node| node).await;
        let mailbox = n1.mailbox();
        let handle = mailbox.handle();
        handle.cast(&name("n2"), Request::new("forever", "")).expect("a member");
        until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
        drop(mailbox);
        assert_eq!(handle.cast(&name("n2"), Request::new("forever", "")), Err(SendError::MailboxGone));
        until("no job to be left", &n2, |n2| n2.status().jobs == 0).await;
        assert_eq!(n1.status().calls, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_let_go_runs_to_its_end() {
    in_every_mode(async |mode| {
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (gate, ended) = (Arc::clone(&go), Arc::clone(&done));
        let (n1, n2) = mode
            .pair(move |node| {
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
    })
    .await;
}

/// Sends as many replies as it is told, of this many bytes each, and then waits forever.
async fn replies(job: Context, argument: Bytes) -> Result<(), JobOver> {
    for _ in 0..argument[0] {
        job.reply(vec![0; argument[1].into()])?;
    }
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_takes_as_many_replies_and_bytes_as_it_holds_and_makes_room_when_it_is_read() {
    in_every_mode(async |mode| {
        let in_length = Limits { mailbox_length_max: 3, ..Limits::default() };
        let in_bytes =
            Limits { mailbox_bytes_max: 300, payload_bytes_max: 300, inline_bytes_max: 300, ..Limits::default() };
        for limits in [in_length, in_bytes] {
            let build = move |node: NodeBuilder| node.limits(limits.clone()).function("replies", replies);
            let (n1, n2) = mode.pair(build).await;
            let mut mailbox = n1.mailbox();
            let cast = |times| mailbox.cast(&name("n2"), Request::new("replies", vec![times, 100])).expect("a member");
            let fits = cast(3);
            let too_many = cast(1);
            // Behind the replies on the lane, so they have come before it.
            assert_eq!(within("an echo", n1.call(&name("n2"), Request::new("echo", "x"))).await, Ok("x".into()));
            for _ in 0..3 {
                assert_eq!(
                    answer(&mut mailbox).await,
                    (fits, Answer::Reply { body: vec![0; 100].into(), last: false })
                );
            }
            let dropped = Answer::Exit { function: "".into(), reason: ExitReason::ReplyDropped };
            assert_eq!(answer(&mut mailbox).await, (too_many, dropped));
            until("its job to be gone", &n2, |n2| n2.status().jobs == 1).await;
            let again = mailbox.cast(&name("n2"), Request::new("replies", vec![1, 100])).expect("a member");
            assert_eq!(answer(&mut mailbox).await.0, again, "there is room again");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cast_that_waits_for_room_goes_out_when_the_peer_is_there() {
    in_every_mode(async |mode| {
        let cluster = mode.members(["n1", "n2"], |node, _| node);
        let n1 = mode.start(&cluster, "n1");
        let mut mailbox = n1.mailbox();
        let handle = mailbox.handle();
        let cast = tokio::spawn(async move { handle.cast_when_clear(&name("n2"), Request::new("echo", "hi")).await });
        tokio::task::yield_now().await;
        assert_eq!(n1.status().calls, 0, "nothing is cast yet");
        mode.start(&cluster, "n2");
        let call = within("the cast", cast).await.expect("no panic").expect("a member");
        assert_eq!(answer(&mut mailbox).await, (call, reply("hi")));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cast_that_waits_for_room_ends_with_its_time_limit_or_with_the_peer() {
    in_every_mode(async |mode| {
        let cluster = mode.members(["n1", "n2"], |node, _| node);
        let n1 = mode.start(&cluster, "n1");
        let limited = Request::new("echo", "").time_limit(Duration::from_millis(20));
        let no_room = within("the limit", n1.cast_when_clear(&name("n2"), limited)).await;
        assert_eq!(no_room.map(|_| ()), Err(SendError::NoRoom(name("n2"))));
        assert_eq!(n1.status().calls, 0);
        let given_up =
            within("the peer to be given up", n1.cast_when_clear(&name("n2"), Request::new("echo", ""))).await;
        let told = within("the answer", given_up.expect("a member").reply()).await;
        assert!(told.expect_err("nobody is there").did_not_run());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cast_that_waits_for_room_waits_while_the_link_is_congested_and_a_plain_one_does_not() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2"], |node, _| node).await;
        let n1 = cluster.node("n1");
        cluster.cut("n1", "n2");
        // n1 still takes n2 for connected, and its writer falls behind.
        let cast = || n1.cast(&name("n2"), Request::new("echo", vec![7; 30_000])).expect("a member");
        let mut plain = Vec::new();
        while peer(&n1, "n2").stats.buffered == 0 {
            plain.push(cast());
            tokio::task::yield_now().await;
        }
        assert_eq!(peer(&n1, "n2").presence, PeerPresence::Connected);
        let n2 = name("n2");
        let waits = n1.cast_when_clear(&n2, Request::new("echo", "last"));
        tokio::pin!(waits);
        let waited = tokio::time::timeout(Duration::from_secs(1), &mut waits).await;
        assert!(waited.is_err(), "the link is congested");
        assert_eq!(n1.status().calls, plain.len(), "nothing is cast yet");
        cluster.heal("n1", "n2");
        let cast = within("room", waits).await.expect("a member");
        assert_eq!(within("the reply", cast.reply()).await, Ok("last".into()));
        for call in plain {
            assert_eq!(within("a reply", call.reply()).await.map(|body| body.len()), Ok(30_000));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cast_gives_its_reference_at_once_whatever_becomes_of_the_peer() {
    // No future, so there is nothing to wait for.
    let cast: fn(&Node, &NodeName, Request) -> Result<Call, SendError> = Node::cast;
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2", "n3", "n4"], |node, _| node).await;
        let n1 = cluster.node("n1");
        cluster.crash("n4");
        pass(Duration::from_secs(30)).await;
        assert_eq!(peer(&n1, "n4").presence, PeerPresence::Gone);
        cluster.cut("n1", "n3");
        let to = ["n1", "n2", "n3", "n4"].into_iter().cycle().take(4_000);
        let calls: Vec<_> = to.map(|to| cast(&n1, &name(to), Request::new("echo", "")).expect("a member")).collect();
        assert_eq!(n1.status().calls, 3_000, "those to n4 are answered");
        let references: BTreeSet<_> = calls.iter().map(Call::call_ref).collect();
        assert_eq!(references.len(), 4_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reference_made_beforehand_reaches_its_work_before_it_starts_and_while_it_runs() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let seen = witness.clone();
        let cluster = mode.cluster(["n1", "n2"], move |node, _| seen.on(node)).await;
        let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
        let mut mailbox = n1.mailbox();
        // A cleaner is given both before either is cast.
        let (runs, waits) = (n1.next_call(), n1.next_call());
        let cleaner = mailbox.handle();
        let clean = |call| {
            let cleaner = cleaner.clone();
            tokio::spawn(async move { cleaner.kill(&[call]) })
        };
        mailbox.cast_as(runs, &name("n2"), Request::new("forever", "")).expect("a member");
        until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
        clean(runs).await.expect("no panic");
        until("it to be killed", &n2, |n2| n2.status().jobs == 0).await;

        cluster.cut("n1", "n2");
        until("n2 to be away", &n1, |n1| peer(n1, "n2").presence == PeerPresence::Away).await;
        mailbox.cast_as(waits, &name("n2"), Request::new("witness", "")).expect("a member");
        clean(waits).await.expect("no panic");
        cluster.heal("n1", "n2");
        cluster.ready().await;
        // Behind it in the buffer.
        assert_eq!(n1.call(&name("n2"), Request::new("witness", "next")).await, Ok("next".into()));
        assert_eq!(witness.arguments(), ["next"], "what was killed before its start has not started");
        assert_eq!((mailbox.try_recv(), n1.status().calls), (None, 0), "and nothing is heard of either");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reference_that_is_in_use_is_refused_and_its_first_job_can_be_killed() {
    in_every_mode(async |mode| {
        let (n1, n2) = mode.pair(|node| node).await;
        let (mailbox, other) = (n1.mailbox(), n1.mailbox());
        let call = mailbox.cast(&name("n2"), Request::new("forever", "")).expect("a member");
        until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
        for mailbox in [&mailbox, &other] {
            let again = mailbox.cast_as(call, &name("n2"), Request::new("forever", ""));
            assert_eq!(again, Err(SendError::Refused(CastError::DuplicateRef(call))));
        }
        other.kill(&[call]);
        assert_eq!(n1.call(&name("n2"), Request::new("echo", "x")).await, Ok("x".into()));
        assert_eq!(n2.status().jobs, 1, "it is not the other mailbox's to kill");
        mailbox.kill(&[call]);
        until("the job to be killed", &n2, |n2| n2.status().jobs == 0).await;
        mailbox.cast_as(call, &name("n2"), Request::new("forever", "")).expect("it is free again");
        until("the next job to run", &n2, |n2| n2.status().jobs == 1).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shorter_time_limit_of_a_later_call_is_kept_by_who_waits_already() {
    let (n1, _n2) = MODES[3].pair(|node| node).await;
    let mut mailbox = n1.mailbox();
    let (handle, began) = (mailbox.handle(), tokio::time::Instant::now());
    let limited = |seconds| Request::new("forever", "").time_limit(Duration::from_secs(seconds));
    mailbox.cast(&name("n2"), limited(20)).expect("a member");
    let waiting = tokio::spawn(async move { (mailbox.recv().await, mailbox) });
    pass(Duration::from_secs(1)).await;
    let short = handle.cast(&name("n2"), limited(2)).expect("a member");
    let (event, _mailbox) = within("the end", waiting).await.expect("no panic");
    // As it is told here: what the other node says, a moment later, names the function.
    let passed = Answer::Exit { function: Arc::default(), reason: ExitReason::TimePassed };
    assert_eq!(event, Event::Answer(short, passed));
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn time_limits_that_pass_within_10_ms_are_told_together() {
    let cluster = MODES[3].members(["n1", "n2"], |node, _| node);
    // n2 never starts.
    let n1 = MODES[3].start(&cluster, "n1");
    let began = tokio::time::Instant::now();
    let call = |limit| {
        let request = Request::new("echo", "").time_limit(Duration::from_millis(limit));
        let mut call = n1.cast(&name("n2"), request).expect("a member");
        async move {
            assert!(matches!(call.next().await, Some(Answer::Exit { reason: ExitReason::TimePassed, .. })));
            began.elapsed().as_millis()
        }
    };
    // The first is the first to be cast, and the last, which is looked for from the first on.
    let calls = [130, 100, 105, 109, 111].map(call);
    let told = within("the ends", futures_util::future::join_all(calls)).await;
    assert_eq!(told, [130, 100, 110, 110, 120]);
}
