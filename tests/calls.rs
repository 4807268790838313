//! Calls between two real nodes over QUIC, in every mode: what a worker knows, what its caller receives, how it is
//! killed.

use std::sync::Arc;
use std::time::Duration;

use rexi_server::{
    Answer, Bytes, CallError, Context, ExitReason, JobOver, NodeBuilder, Request, ServerAddress, TraceContext,
};
use rexi_tests::{Cluster, Held, Log, MODES, idle, in_every_mode, name, peer, release, until, within};
use tokio::sync::Notify;

/// On real sockets, as a service runs.
#[tokio::test]
async fn a_call_is_answered_in_every_mode() {
    in_every_mode(async |mode| {
        let cluster = Cluster::new(["n1", "n2"]);
        let (n1, n2) = (cluster.start("n1", mode.release), cluster.start("n2", mode.release));
        within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
        mode.reached(&n1).await;
        let server = if mode.server == ServerAddress::Singleton { "singleton" } else { "per-node" };
        for target in [name("n1"), name("n2")] {
            let call = |function: &str| n1.call(&target, Request::new(function, "hello"));
            assert_eq!(within("the echo", call("echo")).await, Ok(Bytes::from("hello")), "to {target}");
            assert_eq!(within("the server", call("server")).await, Ok(Bytes::from(server)), "to {target}");
            let failed = CallError::Failed { function: "fail".into(), error: "hello".into() };
            assert_eq!(within("the failure", call("fail")).await, Err(failed), "to {target}");
            let panicked = CallError::Panicked { function: "panic".into(), message: "hello".into() };
            assert_eq!(within("the panic", call("panic")).await, Err(panicked), "to {target}");
            assert_eq!(within("the refusal", call("nothing")).await, Err(CallError::NoSuchFunction), "to {target}");
        }
        n1.shutdown(Duration::from_secs(5)).await;
        n2.shutdown(Duration::from_secs(5)).await;
    })
    .await;
}

#[tokio::test]
async fn a_large_payload_travels_beside_the_lane() {
    in_every_mode(async |mode| {
        let cluster = Cluster::new(["n1", "n2"]);
        let (n1, _n2) = (cluster.start("n1", mode.release), cluster.start("n2", mode.release));
        within("n1 to be ready", n1.ready()).await;
        let body = Bytes::from((0..3_000_000_u32).map(|i| i as u8).collect::<Vec<u8>>());
        // As many as the buffer's bound of bytes lets wait.
        let calls = (0..4).map(|_| n1.cast(&name("n2"), Request::new("echo", body.clone())).expect("n2 is a member"));
        let calls: Vec<_> = calls.collect();
        for call in calls {
            let echoed = within("the echo", call.reply()).await.expect("a reply");
            // Not assert_eq, which would print both.
            assert!(echoed == body, "{} bytes came back, or others", echoed.len());
        }
    })
    .await;
}

/// What a worker knows of its job, in words.
async fn describe(job: Context, argument: Bytes) -> Result<Bytes, String> {
    let argument = String::from_utf8_lossy(&argument);
    let (function, caller, call) = (job.function(), job.caller(), job.call_ref());
    let (life, nonce, trace, left) = (job.caller_incarnation(), job.nonce(), job.trace(), job.time_left());
    Ok(format!("{function}({argument}) for {caller} in {life:?}: {call:?} {nonce} {trace:?} {left:?}").into())
}

#[tokio::test(start_paused = true)]
async fn a_cast_carries_function_argument_caller_reference_nonce_trace_and_time_left() {
    in_every_mode(async |mode| {
        let (n1, n2) = mode.pair(|node| node.function("describe", describe)).await;
        let life = n1.incarnation();
        let trace = TraceContext { trace_id: u128::MAX - 1, span_id: u64::MAX - 2, flags: 1 };
        for target in [&n2, &n1] {
            let limit = Duration::from_secs(9);
            let request = Request::new("describe", "x").nonce(u64::MAX).trace(trace).time_limit(limit);
            let call = n1.cast(target.name(), request).expect("a member");
            let reference = call.call_ref();
            // What has passed on the way is not known to the other node.
            let known = format!("{reference:?} {} {:?} {:?}", u64::MAX, Some(trace), Some(limit));
            let known = format!("describe(x) for n1 in {life:?}: {known}");
            assert_eq!(within("the reply", call.reply()).await, Ok(known.into()));
        }
        let plain = n1.cast(&name("n2"), Request::new("describe", "")).expect("a member");
        let known = format!("describe() for n1 in {life:?}: {:?} 0 None None", plain.call_ref());
        assert_eq!(within("the reply", plain.reply()).await, Ok(known.into()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_cast_has_a_worker_of_its_own_whose_end_is_noticed() {
    in_every_mode(async |mode| {
        let (n1, n2) = mode.pair(|node| node).await;
        let cast = |function: &str| n1.cast(&name("n2"), Request::new(function, "oh")).expect("a member");
        let (_held, mut panics, _held_too) = (cast("forever"), cast("panic"), cast("forever"));
        let reason = ExitReason::Panicked("oh".into());
        assert_eq!(panics.next().await, Some(Answer::Exit { function: "panic".into(), reason }));
        assert_eq!(cast("echo").reply().await, Ok("oh".into()));
        assert_eq!((n2.status().jobs, n1.status().calls), (2, 2), "the others run on");
    })
    .await;
}

/// Replies three times, and ends without a word more.
async fn thrice(job: Context, _: Bytes) -> Result<(), JobOver> {
    for reply in ["one", "two", "three"] {
        job.reply(reply)?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_worker_replies_as_often_as_it_likes_and_its_caller_hears_of_its_end() {
    in_every_mode(async |mode| {
        let (n1, n2) = mode.pair(|node| node.function("thrice", thrice)).await;
        let mut call = n1.cast(&name("n2"), Request::new("thrice", "")).expect("a member");
        for reply in ["one", "two", "three"] {
            assert_eq!(call.next().await, Some(Answer::Reply { body: reply.into(), last: false }));
        }
        let done = Answer::Exit { function: "thrice".into(), reason: ExitReason::Done };
        assert_eq!((call.next().await, call.next().await), (Some(done), None));
        assert_eq!((n1.status().calls, n2.status().jobs), (0, 0), "the reference is free");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_kills_its_job() {
    in_every_mode(async |mode| {
        let held = Held::default();
        let on_both = held.clone();
        let (n1, n2) = mode.pair(move |node| on_both.on(node)).await;
        let call = n1.cast(&name("n2"), Request::new("held", "")).expect("n2 is a member");
        until("the job to start", &n2, |_| held.started() == 1).await;
        drop(call);
        until("the job to be dropped", &n2, |_| held.dropped() == 1).await;
        idle(&[n1, n2]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_kill_came_with_its_cast_never_starts() {
    in_every_mode(async |mode| {
        let held = Held::default();
        let on_both = held.clone();
        let (n1, n2) = mode.pair(move |node| on_both.on(node)).await;
        let mut mailbox = n1.mailbox();
        let call = mailbox.cast(&name("n2"), Request::new("held", "")).expect("n2 is a member");
        mailbox.kill(&[call]);
        // In the same write, and so are the three read.
        assert_eq!(n1.call(&name("n2"), Request::new("echo", "x")).await, Ok("x".into()));
        assert_eq!((held.started(), mailbox.try_recv()), (0, None));
        idle(&[n1, n2]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_drops_its_worker_and_no_exit_is_sent() {
    in_every_mode(async |mode| {
        let held = Held::default();
        let (on_both, go) = (held.clone(), Arc::new(Notify::new()));
        let gate = Arc::clone(&go);
        let build = move |node: NodeBuilder| {
            let gate = Arc::clone(&gate);
            on_both.on(node).function("fails", move |_, _| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.notified().await;
                    Err::<(), _>("too late")
                }
            })
        };
        let (n1, n2) = mode.pair(build).await;
        let mut mailbox = n1.mailbox();
        let cast = |function: &str| mailbox.cast(&name("n2"), Request::new(function, "")).expect("a member");
        let calls = [cast("held"), cast("fails")];
        until("both jobs to run", &n2, |n2| n2.status().jobs == 2).await;
        mailbox.kill(&calls);
        // Behind the kill on the lane.
        assert_eq!(n1.call(&name("n2"), Request::new("echo", "x")).await, Ok("x".into()));
        go.notify_waiters();
        until("the job to be dropped", &n2, |_| held.dropped() == 1).await;
        assert_eq!(n1.call(&name("n2"), Request::new("echo", "x")).await, Ok("x".into()));
        assert_eq!(mailbox.try_recv(), None);
        assert_eq!(peer(&n1, "n2").stats.stray_answers, 0, "nor has anything come for what was killed");
        assert_eq!(n2.status().jobs, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_leaving_node_answers_all_that_it_took() {
    in_every_mode(async |mode| {
        let held = Held::default();
        let on_both = held.clone();
        let (n1, n2) = mode.pair(move |node| on_both.on(node)).await;
        let mut call = n1.cast(&name("n2"), Request::new("held", "")).expect("n2 is a member");
        until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
        let ended = within("n2 to leave", n2.shutdown(Duration::from_millis(100))).await;
        assert_eq!((ended, held.dropped()), (1, 1), "no worker is left without its server");
        let exit = Answer::Exit { function: "held".into(), reason: ExitReason::ServerEnded };
        assert_eq!(within("the exit", call.next()).await, Some(exit));
    })
    .await;
}

/// A link to itself has the bounds of any other: 8 MiB of payloads that are not sent yet, and 512 of them.
#[tokio::test(start_paused = true)]
async fn large_payloads_that_have_arrived_make_room_for_the_next_also_of_a_node_to_itself() {
    // Links are the same in every mode.
    let (n1, _n2) = MODES[3].pair(|node| node).await;
    for to in ["n1", "n2"] {
        for bytes in [[2_000_000; 5].as_slice(), &[40_000; 520]] {
            for &bytes in bytes {
                let echoed = within("an echo", n1.call(&name(to), Request::new("echo", vec![7; bytes]))).await;
                assert_eq!(echoed.map(|body| body.len()), Ok(bytes), "to {to}");
            }
        }
        let waiting = peer(&n1, to).stats;
        assert_eq!((waiting.buffered, waiting.dropped), (0, 0));
    }
}

#[tokio::test]
async fn a_function_that_holds_up_its_callers_connection_is_named() {
    let (log, cluster) = (Log::here(), Cluster::new(["n1", "n2"]));
    let work = |time: Duration| {
        let began = std::time::Instant::now();
        while began.elapsed() < time {}
        Ok::<_, String>(Bytes::from_static(b"worked"))
    };
    let long = Duration::from_millis(120);
    let n2 = cluster.builder("n2", release("2.0"));
    let n2 = n2
        .function("holds-up", move |_, _: Bytes| async move { work(long) })
        .function("held-up", move |_, _: Bytes| async move { work(Duration::ZERO) })
        .function_blocking("aside", move |_, _: Bytes| work(long))
        .function_blocking("panics-aside", |_, _: Bytes| -> Result<Bytes, String> { panic!("aside") });
    let (n1, _n2) = (cluster.start("n1", "2.0"), n2.start().expect("it starts"));
    within("n1 to be ready", n1.ready()).await;
    for function in ["holds-up", "held-up", "aside"] {
        let reply = within("the reply", n1.call(&name("n2"), Request::new(function, ""))).await;
        assert_eq!(reply, Ok(Bytes::from_static(b"worked")), "{function}");
    }
    log.line(&["a function has held up its caller's connection", "function=holds-up", "function_blocking"]).await;
    for function in ["held-up", "aside"] {
        let of = format!("function={function} ");
        assert!(log.lines(&["a function has held up", &of]).is_empty(), "{function}");
    }
    let panicked = within("its end", n1.call(&name("n2"), Request::new("panics-aside", ""))).await;
    assert!(panicked.as_ref().is_err_and(|error| error.to_string().contains("aside")), "{panicked:?}");
}
