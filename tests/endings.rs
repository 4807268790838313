//! How calls, jobs and nodes end when several things end at once: nobody is left waiting, in any mode.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rexi_server::{Answer, Bytes, CallError, Context, ExitReason, JobOver, Limits, Phase, Request, StartError};
use rexi_tests::{Cluster, in_every_mode, name, release, until, within};
use tokio::sync::Notify;
use tokio::time::Instant;

#[tokio::test]
async fn a_node_without_peers_is_ready() {
    let n1 = Cluster::new(["n1"]).start("n1", "2.0");
    within("n1 to be ready", n1.ready()).await;
}

#[tokio::test(start_paused = true)]
async fn a_nodes_own_calls_are_told_when_it_leaves() {
    in_every_mode(async |mode| {
        let (n1, n2) = mode.pair(|node| node).await;
        let cast = |to: &str| n1.cast(&name(to), Request::new("forever", "")).expect("a member");
        let (remote, local) = (cast("n2"), cast("n1"));
        until("its local job to run", &n1, |n1| n1.status().jobs == 1).await;
        until("its remote job to run", &n2, |n2| n2.status().jobs == 1).await;
        let still_held = n1.clone();
        within("n1 to leave", n1.shutdown(Duration::from_millis(10))).await;
        for call in [remote, local] {
            let told = within("the call to be told", call.reply()).await;
            assert!(matches!(told, Err(CallError::Down(_) | CallError::Ended(ExitReason::ServerEnded))), "{told:?}");
        }
        let later = within("a later call", still_held.call(&name("n2"), Request::new("echo", ""))).await;
        assert!(later.expect_err("the node has left").did_not_run());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_holds_though_the_peer_is_away() {
    in_every_mode(async |mode| {
        let cluster = mode.members(["n1", "n2"], |node, _| node);
        let n1 = mode.start(&cluster, "n1");
        let asked = Instant::now();
        let request = Request::new("echo", "").time_limit(Duration::from_millis(100));
        assert_eq!(within("the limit", n1.call(&name("n2"), request)).await, Err(CallError::TimePassed));
        assert!(asked.elapsed() < Limits::default().stability_period / 2, "not only when the peer is given up");
        assert_eq!(n1.status().calls, 0);
    })
    .await;
}

/// Replies with a large payload, and with more small ones behind it than may wait for one.
async fn burst(job: Context, _: Bytes) -> Result<(), String> {
    job.reply(vec![1; 3_000_000]).map_err(|over| over.to_string())?;
    while job.reply("x").is_ok() {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// On real sockets: virtual time stands still while a job does not wait.
#[tokio::test]
async fn a_job_that_replies_without_end_costs_its_own_call_only() {
    in_every_mode(async |mode| {
        let cluster = Cluster::new(["n1", "n2"]);
        let start = |of| cluster.builder(of, mode.profile()).function("burst", burst).start().expect("it starts");
        let (n1, n2) = (start("n1"), start("n2"));
        within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
        for (target, on) in [("n2", &n2), ("n1", &n1)] {
            let held = n1.cast(&name(target), Request::new("forever", "")).expect("a member");
            let burst = n1.cast(&name(target), Request::new("burst", "")).expect("a member");
            until("both jobs to run", on, |on| on.status().jobs == 2).await;
            drop(burst);
            until("the burst to be gone", on, |on| on.status().jobs == 1).await;
            assert_eq!(within("an echo", n1.call(&name(target), Request::new("echo", "hi"))).await, Ok("hi".into()));
            assert_eq!(n1.status().calls, 1, "the other call to {target} is still open");
            drop(held);
            until("no job to be left", on, |on| on.status().jobs == 0).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_above_the_limit_ends_its_job() {
    in_every_mode(async |mode| {
        struct Gone(Arc<Notify>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let gone = Arc::new(Notify::new());
        let dropped = Arc::clone(&gone);
        let (n1, n2) = mode
            .pair(move |node| {
                let dropped = Arc::clone(&dropped);
                node.function("big", move |job: Context, _| {
                    let gone = Gone(Arc::clone(&dropped));
                    async move {
                        let _gone = gone;
                        assert_eq!(job.reply(vec![0; 5 << 20]), Err(JobOver));
                        std::future::pending::<Result<(), String>>().await
                    }
                })
            })
            .await;
        let mut call = n1.cast(&name("n2"), Request::new("big", "")).expect("a member");
        let answer = within("the exit", call.next()).await;
        let too_large = Answer::Exit { function: "big".into(), reason: ExitReason::ReplyTooLarge };
        assert_eq!(answer, Some(too_large));
        within("the worker to be dropped", gone.notified()).await;
        assert_eq!(n2.status().jobs, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_leaving_node_sends_what_waits_behind_large_replies() {
    in_every_mode(async |mode| {
        let go = Arc::new(Notify::new());
        let gate = Arc::clone(&go);
        let (n1, n2) = mode
            .pair(move |node| {
                let gate = Arc::clone(&gate);
                node.function("sized", move |_, argument: Bytes| {
                    let gate = Arc::clone(&gate);
                    async move {
                        gate.notified().await;
                        Ok::<_, String>(vec![0; if argument.is_empty() { 3_000_000 } else { 5 }])
                    }
                })
            })
            .await;
        let cast = |argument: &'static str| n1.cast(&name("n2"), Request::new("sized", argument)).expect("a member");
        let calls = ["", "", "", "", "small", "small"].map(cast);
        until("all jobs to run", &n2, |n2| n2.status().jobs == 6).await;
        go.notify_waiters();
        assert_eq!(within("n2 to leave", n2.shutdown(Duration::from_secs(5))).await, 0);
        for (call, bytes) in calls.into_iter().zip([3_000_000; 4].into_iter().chain([5; 2])) {
            assert_eq!(within("the reply", call.reply()).await.map(|body| body.len()), Ok(bytes));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_phase_may_be_asked_for_while_it_is_watched() {
    let n1 = Cluster::new(["n1"]).start("n1", "1.2");
    let (watcher, operator) = (n1.clone(), n1.clone());
    let watching = tokio::task::spawn_blocking(move || {
        let phase = watcher.rollout().watch();
        (0..20_000).filter(|_| *phase.borrow() == watcher.rollout().status().phase).count()
    });
    let flipping = tokio::task::spawn_blocking(move || {
        for _ in 0..2_000 {
            operator.rollout().set_ceiling(Some(Phase::Introduce)).expect("nobody stands in the way");
            operator.rollout().set_ceiling(None).expect("nobody stands in the way");
        }
    });
    within("both to end", async { tokio::join!(watching, flipping) }).await.1.expect("no panic");
    assert_eq!(n1.rollout().phase(), n1.rollout().status().phase);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_job_that_is_dropped_ends_that_job_only() {
    in_every_mode(async |mode| {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                assert!(std::thread::panicking(), "in the drop");
            }
        }
        let (n1, n2) = mode
            .pair(move |node| {
                node.function("fragile", |_, _| async {
                    let _panics = Panics;
                    std::future::pending::<Result<(), String>>().await
                })
            })
            .await;
        let mut standing = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        let echo = async || within("an echo", n1.call(&name("n2"), Request::new("echo", "hi"))).await;
        // By its time limit.
        let request = Request::new("fragile", "").time_limit(Duration::from_millis(50));
        assert_eq!(within("the exit", n1.call(&name("n2"), request)).await, Err(CallError::TimePassed));
        until("the job to be gone", &n2, |n2| n2.status().jobs == 1).await;
        assert_eq!(echo().await, Ok("hi".into()));
        // By a kill.
        let running = n1.cast(&name("n2"), Request::new("fragile", "")).expect("n2 is a member");
        until("the job to run", &n2, |n2| n2.status().jobs == 2).await;
        drop(running);
        assert_eq!(echo().await, Ok("hi".into()));
        until("the job to be gone", &n2, |n2| n2.status().jobs == 1).await;
        assert!(standing.next().now_or_never().is_none(), "the connection stands");
    })
    .await;
}

#[tokio::test]
async fn what_could_never_work_is_refused_at_start() {
    let cluster = Cluster::new(["n1", "n2"]);
    let started = cluster.builder("n1", release("2.0")).listen((Ipv6Addr::LOCALHOST, 0).into()).start();
    let error = started.expect_err("n2 listens on IPv4");
    assert!(matches!(error, StartError::AddressFamily { .. }), "{error}");
    let limits = Limits { stability_period: Duration::MAX, ..Limits::default() };
    let error = cluster.builder("n1", release("2.0")).limits(limits).start().expect_err("times would overflow");
    assert!(error.to_string().contains("stability_period"), "{error}");
}

#[tokio::test]
async fn nothing_is_left_of_a_node_that_has_left() {
    in_every_mode(async |mode| {
        let cluster = Cluster::new(["n1", "n2"]);
        let n2 = cluster.start("n2", mode.release);
        let state = Arc::new(());
        let of_function = Arc::clone(&state);
        let n1 = cluster.builder("n1", mode.profile()).function("hold", move |_, _| {
            let held = Arc::clone(&of_function);
            async move {
                let _held = held;
                std::future::pending::<Result<(), String>>().await
            }
        });
        let n1 = n1.start().expect("n1 starts");
        let _held = n2.cast(&name("n1"), Request::new("hold", "")).expect("n1 is a member");
        until("the job to run", &n1, |n1| n1.status().jobs == 1).await;
        assert_eq!(within("n1 to leave", n1.shutdown(Duration::ZERO)).await, 1);
        assert_eq!(Arc::strong_count(&state), 1, "no task of it holds anything");
    })
    .await;
}
