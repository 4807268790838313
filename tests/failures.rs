//! What a node keeps and logs of its jobs that failed.

use std::time::{Duration, SystemTime};

use rexi_server::{Bytes, CallError, Context, ExitReason, Failure, Node, Request, ServerAddress};
use rexi_tests::{Cluster, Log, name, release, within};

/// Two connected nodes, the second of which keeps that many failures.
async fn pair(number: &str, kept: usize) -> (Node, Node) {
    let cluster = Cluster::new(["n1", "n2"]);
    let n1 = cluster.start("n1", number);
    let n2 = cluster.builder("n2", release(number)).errors_kept(kept).start().expect("n2 starts");
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    let highest = release(number).highest();
    within("the phase", n1.rollout().watch().wait_for(|phase| *phase == highest)).await.expect("the node runs");
    (n1, n2)
}

/// Has `n2` fail a job of `from`'s.
async fn fail(from: &Node, function: &'static str, argument: &'static str) {
    let failed = within("the failure", from.call(&name("n2"), Request::new(function, argument))).await;
    assert!(matches!(failed, Err(CallError::Failed { .. } | CallError::Panicked { .. })), "{failed:?}");
}

fn reasons(node: &Node) -> Vec<String> {
    node.errors().into_iter().map(|failure| failure.reason.to_string()).collect()
}

#[tokio::test]
async fn the_last_failures_are_read_newest_first_in_every_mode() {
    for number in rexi_tests::RELEASES {
        let server = match number {
            "1.0" | "1.1" => ServerAddress::Singleton,
            _ => ServerAddress::PerNode,
        };
        let before = SystemTime::now();
        let (n1, n2) = pair(number, 2).await;
        assert_eq!(n2.errors(), [], "release {number}");
        for (function, argument) in [("fail", "first"), ("panic", "second"), ("fail", "third")] {
            fail(&n1, function, argument).await;
        }
        assert_eq!(within("an echo", n1.call(&name("n2"), Request::new("echo", "well"))).await, Ok("well".into()));
        let errors = n2.errors();
        let [third, second] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(third.reason, ExitReason::Failed("third".into()), "release {number}");
        assert_eq!(second.reason, ExitReason::Panicked("second".into()), "release {number}");
        assert_eq!((&*third.function, &*second.function), ("fail", "panic"));
        for Failure { server: ran_it, caller, when, .. } in &errors {
            assert_eq!((*ran_it, caller.as_str()), (server, "n1"), "release {number}");
            assert!(*when >= before && *when <= SystemTime::now());
        }
        assert!(third.call > second.call);
        assert_eq!(n1.errors(), [], "the caller had none");
    }
}

#[tokio::test]
async fn one_callers_failures_do_not_push_out_anothers_unless_they_share_a_server() {
    for (number, kept) in
        [("1.0", vec!["failed: 3", "failed: 2"]), ("2.0", vec!["failed: 3", "failed: 2", "failed: 1"])]
    {
        let (n1, n2) = pair(number, 2).await;
        fail(&n2, "fail", "1").await;
        fail(&n1, "fail", "2").await;
        fail(&n1, "fail", "3").await;
        assert_eq!(reasons(&n2), kept, "release {number}");
    }
}

#[tokio::test]
async fn how_many_are_kept_may_change_while_the_node_runs() {
    let (n1, n2) = pair("2.0", 0).await;
    fail(&n1, "fail", "unseen").await;
    assert_eq!(n2.errors(), [], "none is kept unless asked for");
    n2.set_errors_kept(3);
    for argument in ["a", "b", "c", "d"] {
        fail(&n1, "fail", argument).await;
    }
    assert_eq!(reasons(&n2), ["failed: d", "failed: c", "failed: b"]);
    n2.set_errors_kept(1);
    assert_eq!(reasons(&n2), ["failed: d"], "the newest stays");
}

#[tokio::test]
async fn what_is_no_crash_is_not_kept() {
    let (n1, n2) = pair("2.0", 9).await;
    let limited = Request::new("forever", "").time_limit(Duration::from_millis(50));
    let passed = within("the limit", n1.call(&name("n2"), limited)).await;
    assert_eq!(passed, Err(CallError::TimePassed));
    let nothing = within("the refusal", n1.call(&name("n2"), Request::new("nothing", ""))).await;
    assert_eq!(nothing, Err(CallError::NoSuchFunction));
    drop(n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member"));
    // Frames keep their order, so the kill has come by then.
    fail(&n1, "fail", "this one").await;
    assert_eq!(reasons(&n2), ["failed: this one"]);
}

/// The names are this test's own, since all tests of a process share the log.
#[tokio::test]
async fn a_failure_is_logged_with_caller_function_class_and_reason_but_no_argument() {
    async fn fails(_: Context, argument: Bytes) -> Result<(), String> {
        Err(format!("no good: {} bytes", argument.len()))
    }
    async fn panics(_: Context, _: Bytes) -> Result<(), String> {
        panic!("out of luck")
    }
    let log = Log::here();
    let cluster = Cluster::new(["caller-of-logged", "logged"]);
    let n1 = cluster.start("caller-of-logged", "2.0");
    let n2 = cluster.builder("logged", release("2.0")).function("fails", fails).function("panics", panics);
    let n2 = n2.errors_kept(9).start().expect("n2 starts");
    within("n1 to be ready", n1.ready()).await;
    for (function, class, reason) in [("fails", "error", "no good: 6 bytes"), ("panics", "panic", "out of luck")] {
        let failed = within("the failure", n1.call(&name("logged"), Request::new(function, "secret"))).await;
        assert!(failed.is_err(), "{failed:?}");
        let function = format!("function={function}");
        let line = log.line(&["WARN", "caller=caller-of-logged", &function, &format!("class={class}"), reason]).await;
        assert!(!line.contains("secret"), "{line}");
    }
    assert!(!format!("{:?}", n2.errors()).contains("secret"), "nor is it kept");
}
