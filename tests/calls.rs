//! Calls between two real nodes over QUIC, in every mode.

use std::sync::Arc;

use rexi_server::{Answer, Bytes, CallError, ExitReason, Request};
use rexi_tests::{Cluster, RELEASES, name, until, within};

#[tokio::test]
async fn a_call_is_answered_in_every_mode() {
    for (number, server) in RELEASES.into_iter().zip(["singleton", "singleton", "per-node", "per-node"]) {
        let cluster = Cluster::new(["n1", "n2"]);
        let (n1, n2) = (cluster.start("n1", number), cluster.start("n2", number));
        within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
        let highest = rexi_tests::release(number).highest();
        within("the phase", n1.rollout().watch().wait_for(|phase| *phase == highest)).await.expect("the node runs");
        for target in [name("n1"), name("n2")] {
            let call = |function: &str| n1.call(&target, Request::new(function, "hello"));
            assert_eq!(within("the echo", call("echo")).await, Ok(Bytes::from("hello")), "{number} to {target}");
            assert_eq!(within("the server", call("server")).await, Ok(Bytes::from(server)), "{number} to {target}");
            let failed = CallError::Failed { function: "fail".into(), error: "hello".into() };
            assert_eq!(within("the failure", call("fail")).await, Err(failed), "{number} to {target}");
            let panicked = CallError::Panicked { function: "panic".into(), message: "hello".into() };
            assert_eq!(within("the panic", call("panic")).await, Err(panicked), "{number} to {target}");
            assert_eq!(within("the refusal", call("nothing")).await, Err(CallError::NoSuchFunction), "{number}");
        }
        n1.shutdown(std::time::Duration::from_secs(5)).await;
        n2.shutdown(std::time::Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_large_payload_travels_beside_the_lane() {
    let cluster = Cluster::new(["n1", "n2"]);
    let (n1, _n2) = (cluster.start("n1", "2.0"), cluster.start("n2", "2.0"));
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
}

#[tokio::test]
async fn dropping_a_call_kills_its_job() {
    struct Gone(Arc<tokio::sync::Notify>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    for number in RELEASES {
        let cluster = Cluster::new(["n1", "n2"]);
        let (started, gone) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let seen = (Arc::clone(&started), Arc::clone(&gone));
        let n2 = cluster.builder("n2", rexi_tests::release(number)).function("watched", move |_, _| {
            let (started, gone) = (Arc::clone(&seen.0), Gone(Arc::clone(&seen.1)));
            async move {
                let _gone = gone;
                started.notify_one();
                std::future::pending::<Result<(), String>>().await
            }
        });
        let n2 = n2.start().expect("n2 starts");
        let n1 = cluster.start("n1", number);
        let call = n1.cast(&name("n2"), Request::new("watched", "")).expect("n2 is a member");
        within("the job to start", started.notified()).await;
        drop(call);
        within("the job to be dropped", gone.notified()).await;
        until("n2 to have no jobs", &n2, |n2| n2.status().jobs == 0).await;
        assert_eq!(n1.status().calls, 0, "release {number}");
    }
}

#[tokio::test]
async fn a_leaving_node_answers_all_that_it_took() {
    let cluster = Cluster::new(["n1", "n2"]);
    let (n1, n2) = (cluster.start("n1", "1.2"), cluster.start("n2", "1.2"));
    within("n1 to be ready", n1.ready()).await;
    let mut held = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
    until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
    let ended = within("n2 to leave", n2.shutdown(std::time::Duration::from_millis(100))).await;
    assert_eq!(ended, 1);
    let answer = within("the exit", held.next()).await;
    let exit = Answer::Exit { function: "forever".into(), reason: ExitReason::ServerEnded };
    assert_eq!(answer, Some(exit));
}
