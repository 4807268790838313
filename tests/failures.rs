//! What a node keeps and logs about its failed jobs, in every mode.

use std::time::{Duration, SystemTime};

use rexi_server::{
    Answer, Bytes, CallError, Context, ExitReason, Node, NodeBuilder, Request, ServerAddress, jobs::Failure,
};
use rexi_tests::{Log, Mode, in_every_mode, name, within};

/// Two connected nodes of that mode, the second of which keeps that many failures.
async fn pair(mode: Mode, kept: usize) -> (Node, Node) {
    let keeps = move |node: NodeBuilder, of: &str| if of == "n2" { node.errors_kept(kept) } else { node };
    let cluster = mode.cluster(["n1", "n2"], keeps).await;
    (cluster.node("n1"), cluster.node("n2"))
}

/// Has `n2` fail a job of `from`'s.
async fn fail(from: &Node, function: &'static str, argument: &'static str) {
    let failed = within("the failure", from.call(&name("n2"), Request::new(function, argument))).await;
    assert!(matches!(failed, Err(CallError::Failed { .. } | CallError::Panicked { .. })), "{failed:?}");
}

fn reasons(node: &Node) -> Vec<String> {
    node.errors().into_iter().map(|failure| failure.reason.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_failures_are_read_newest_first_in_every_mode() {
    in_every_mode(async |mode| {
        let before = SystemTime::now();
        let (n1, n2) = pair(mode, 2).await;
        assert_eq!(n2.errors(), []);
        for (function, argument) in [("fail", "first"), ("panic", "second"), ("fail", "third")] {
            fail(&n1, function, argument).await;
        }
        assert_eq!(within("an echo", n1.call(&name("n2"), Request::new("echo", "well"))).await, Ok("well".into()));
        let errors = n2.errors();
        let [third, second] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(third.reason, ExitReason::Failed("third".into()));
        assert_eq!(second.reason, ExitReason::Panicked("second".into()));
        assert_eq!((&*third.function, &*second.function), ("fail", "panic"));
        for Failure { server: ran_it, caller, when, .. } in &errors {
            assert_eq!((*ran_it, caller.as_str()), (mode.server, "n1"));
            assert!(*when >= before && *when <= SystemTime::now());
        }
        assert!(third.call > second.call);
        assert_eq!(n1.errors(), [], "the caller had none");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_callers_failures_do_not_push_out_anothers_unless_they_share_a_server() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, 2).await;
        fail(&n2, "fail", "1").await;
        fail(&n1, "fail", "2").await;
        fail(&n1, "fail", "3").await;
        let all = ["failed: 3", "failed: 2", "failed: 1"];
        let kept = if mode.server == ServerAddress::Singleton { 2 } else { 3 };
        assert_eq!(reasons(&n2), all[..kept]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn how_many_are_kept_may_change_while_the_node_runs() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, 0).await;
        fail(&n1, "fail", "unseen").await;
        assert_eq!(n2.errors(), [], "none is kept unless asked for");
        n2.set_errors_kept(3);
        for argument in ["a", "b", "c", "d"] {
            fail(&n1, "fail", argument).await;
        }
        assert_eq!(reasons(&n2), ["failed: d", "failed: c", "failed: b"]);
        n2.set_errors_kept(1);
        assert_eq!(reasons(&n2), ["failed: d"], "the newest stays");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_crash_is_not_kept() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2"], |node, _| {
            node.errors_kept(9).function("done", |_, _| async { Ok::<_, String>(()) })
        });
        let cluster = cluster.await;
        let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
        // A normal end is not a failure, though nothing was replied.
        let mut done = n1.cast(&name("n2"), Request::new("done", "")).expect("n2 is a member");
        let exit = Answer::Exit { function: "done".into(), reason: ExitReason::Done };
        assert_eq!((done.next().await, done.next().await), (Some(exit), None));
        let limited = Request::new("forever", "").time_limit(Duration::from_millis(50));
        let passed = within("the limit", n1.call(&name("n2"), limited)).await;
        assert_eq!(passed, Err(CallError::TimePassed));
        let nothing = within("the refusal", n1.call(&name("n2"), Request::new("nothing", ""))).await;
        assert_eq!(nothing, Err(CallError::NoSuchFunction));
        drop(n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member"));
        // Frames keep their order, so the kill has come by then.
        fail(&n1, "fail", "this one").await;
        assert_eq!(reasons(&n2), ["failed: this one"]);
    })
    .await;
}

/// The names are this test's own, since all tests of a process share the log.
#[tokio::test(start_paused = true)]
async fn a_failure_is_told_logged_and_kept_with_function_class_and_reason_but_no_argument() {
    async fn fails(_: Context, argument: Bytes) -> Result<(), String> {
        Err(format!("no good: {} bytes", argument.len()))
    }
    async fn panics(_: Context, _: Bytes) -> Result<(), String> {
        panic!("out of luck")
    }
    in_every_mode(async |mode| {
        let log = Log::here();
        let cluster = mode.cluster(["caller-of-logged", "logged"], |node, _| {
            node.errors_kept(9).function("fails", fails).function("panics", panics)
        });
        let cluster = cluster.await;
        let (n1, n2) = (cluster.node("caller-of-logged"), cluster.node("logged"));
        let failed = ExitReason::Failed("no good: 6 bytes".into());
        let panicked = ExitReason::Panicked("out of luck".into());
        for (function, class, reason) in [("fails", "error", failed), ("panics", "panic", panicked)] {
            let mut call = n1.cast(&name("logged"), Request::new(function, "secret")).expect("a member");
            let exit = Answer::Exit { function: function.into(), reason: reason.clone() };
            assert_eq!(call.next().await, Some(exit), "the exit says no more than that");
            let (function, class) = (format!("function={function}"), format!("class={class}"));
            let parts = ["WARN", "caller=caller-of-logged", &function, &class, &reason.to_string()];
            let line = log.line(&parts).await;
            assert!(!line.contains("secret"), "{line}");
        }
        assert!(!format!("{:?}", n2.errors()).contains("secret"), "nor is it kept");
    })
    .await;
}
