//! Folds and quorums over several real nodes, in every mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rexi_server::{
    Answer, Bytes, CallError, CallRef, Context, DownReason, JobOver, Limits, Node, NodeBuilder, NodeName, QuorumError,
    Request, SendError,
    calls::{Gathered, Heard, Step, VoteError},
};
use rexi_tests::{Cluster, Mode, idle, in_every_mode, name, until, within};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// Three connected nodes of that mode, each built further by `build`.
async fn three(mode: Mode, build: impl Fn(NodeBuilder, &str) -> NodeBuilder + Send + Sync + 'static) -> [Node; 3] {
    let build = move |node: NodeBuilder, of: &str| build(node.function("name", name_of).function("pings", pings), of);
    let cluster = mode.cluster(NAMES, build).await;
    NAMES.map(|of| cluster.node(of))
}

fn peers() -> [NodeName; 3] {
    NAMES.map(name)
}

async fn name_of(job: Context, _: Bytes) -> Result<Bytes, String> {
    Ok(job.caller().as_str().to_owned().into())
}

/// Pings every 10 ms, as often as it is told, and then replies.
async fn pings(job: Context, argument: Bytes) -> Result<Bytes, JobOver> {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..argument[0] {
        ticks.tick().await;
        job.ping()?;
    }
    Ok("pinged".into())
}

#[tokio::test(start_paused = true)]
async fn a_fold_takes_every_answer_and_says_when_none_can_come() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        let mut gather = nodes[0].gather();
        let calls = gather.cast_all(&peers(), &Request::new("name", "")).expect("members");
        gather.time_limit(Duration::from_secs(20));
        let gathered = gather.fold(Vec::new(), |_, mut heard, next| {
            heard.push(next);
            Step::<_, ()>::Continue(heard)
        });
        let Gathered::Exhausted(heard) = within("the fold", gathered).await else { panic!("not to its end") };
        let from = |call: &CallRef| calls.iter().position(|of| of == call).map(|at| name(NAMES[at]));
        for heard in &heard {
            let Heard::Answer { call, from: peer, answer } = heard else { panic!("{heard:?}") };
            assert_eq!(from(call).as_ref(), Some(peer));
            assert_eq!(*answer, Answer::Reply { body: "n1".into(), last: true });
        }
        assert_eq!(heard.len(), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fold_stops_or_returns_when_it_is_told_to() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        let mut gather = nodes[0].gather();
        gather.cast_all(&peers(), &Request::new("name", "")).expect("members");
        let stopped = gather.fold(0, |_, replies, _| Step::<_, ()>::Stop(replies + 1));
        assert_eq!(within("the fold", stopped).await, Gathered::Stopped(1));
        let returned = gather.fold(0, |_, _, heard| match heard {
            Heard::Answer { from, .. } => Step::Return(from),
            other => panic!("{other:?}"),
        });
        assert!(matches!(within("the fold", returned).await, Gathered::Returned(_)), "the rest is still there");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_replaced_are_killed_and_new_ones_count() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        let mut gather = nodes[0].gather();
        let held = gather.cast(&name("n2"), Request::new("forever", "")).expect("a member");
        until("the job to run", &nodes[1], |n2| n2.status().jobs == 1).await;
        gather.cast(&name("n3"), Request::new("name", "")).expect("a member");
        let folded = gather.fold(0, |gather, replies, heard| {
            let Heard::Answer { call, .. } = heard else { panic!("{heard:?}") };
            assert_ne!(call, held);
            if replies == 1 {
                return Step::<_, ()>::Stop(2);
            }
            let next = gather.cast(&name("n3"), Request::new("name", "")).expect("a member");
            Step::Replace(1, vec![next])
        });
        assert_eq!(within("the fold", folded).await, Gathered::Stopped(2));
        idle(&nodes).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_restarts_the_limit_between_messages_and_is_not_handed_on() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        let mut gather = nodes[0].gather();
        // Twice as long as the limit in all, and a tenth of it between two pings.
        gather.cast(&name("n2"), Request::new("pings", vec![40])).expect("a member");
        gather.per_message_limit(Duration::from_millis(200));
        let folded = gather.fold(0, |_, heard, _| Step::<_, ()>::Continue(heard + 1));
        assert_eq!(within("the fold", folded).await, Gathered::Exhausted(1));
        gather.cast(&name("n2"), Request::new("forever", "")).expect("a member");
        gather.per_message_limit(Duration::from_millis(20));
        let folded = gather.fold(0, |_, heard, _| Step::<_, ()>::Continue(heard + 1));
        assert_eq!(within("the limit", folded).await, Gathered::TimedOut(0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_fold_holds_though_pings_come() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        let mut gather = nodes[0].gather();
        gather.cast(&name("n2"), Request::new("pings", vec![250])).expect("a member");
        gather.time_limit(Duration::from_millis(50));
        let folded = gather.fold((), |_, (), _| Step::<_, ()>::Continue(()));
        assert_eq!(within("the limit", folded).await, Gathered::TimedOut(()));
        drop(gather);
        idle(&nodes).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answers_to_other_calls_are_counted_and_do_not_restart_the_limit() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        let mut gather = nodes[0].gather();
        gather.cast(&name("n2"), Request::new("forever", "")).expect("a member");
        gather.handle().cast(&name("n3"), Request::new("pings", vec![250])).expect("a member");
        gather.per_message_limit(Duration::from_millis(50));
        let folded = gather.fold((), |_, (), heard| Step::Return(heard));
        assert_eq!(within("the limit", folded).await, Gathered::TimedOut(()), "though pings of the other call come");
        assert!(gather.strays() > 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_death_of_a_server_goes_to_the_fold_with_no_call() {
    in_every_mode(async |mode| {
        let [n1, n2, n3] = three(mode, |node, _| node).await;
        let mut gather = n1.gather();
        gather.cast(&name("n3"), Request::new("forever", "")).expect("a member");
        gather.monitor(&name("n2")).expect("a member");
        let folded = gather.fold((), |_, (), heard| Step::Return(heard));
        let (folded, _) = within("both", async { tokio::join!(folded, n2.shutdown(Duration::from_millis(10))) }).await;
        assert_eq!(folded, Gathered::Returned(Heard::Down { from: name("n2"), reason: DownReason::Shutdown }));
        drop((gather, n3));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_gather_kills_what_it_started_on_every_node() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        let mut gather = nodes[0].gather();
        gather.cast_all(&peers(), &Request::new("forever", "")).expect("members");
        for node in &nodes {
            until("a job to run", node, |node| node.status().jobs == 1).await;
        }
        drop(gather);
        idle(&nodes).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_panics_or_is_aborted_between_two_casts_leaves_nothing_behind() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        for panics in [true, false] {
            let n1 = nodes[0].clone();
            let caller = tokio::spawn(async move {
                let mut gather = n1.gather();
                gather.cast(&name("n2"), Request::new("forever", "")).expect("a member");
                let mailbox = n1.mailbox();
                mailbox.cast(&name("n3"), Request::new("forever", "")).expect("a member");
                let _call = n1.cast(&name("n1"), Request::new("forever", "")).expect("a member");
                until("the first jobs to run", &n1, |n1| n1.status().jobs == 1).await;
                assert!(!panics, "between two casts");
                std::future::pending::<()>().await;
            });
            if !panics {
                for node in &nodes {
                    until("a job to run", node, |node| node.status().jobs == 1).await;
                }
                caller.abort();
            }
            assert!(within("the caller's end", caller).await.is_err());
            idle(&nodes).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quorum_is_the_first_answers_and_kills_the_rest() {
    in_every_mode(async |mode| {
        let slow = |node: NodeBuilder, of: &str| match of {
            "n3" => node.function("vote", |_, _| std::future::pending::<Result<Bytes, String>>()),
            _ => node.function("vote", |_, _| async { Ok::<_, String>(Bytes::from("yes")) }),
        };
        let nodes = three(mode, slow).await;
        let votes = within("the quorum", nodes[0].quorum(peers(), Request::new("vote", "")).run()).await;
        let votes = votes.expect("two are enough");
        assert_eq!(votes.len(), 2);
        assert!(votes.iter().all(|vote| vote.value == "yes" && vote.peer != name("n3")));
        idle(&nodes).await;
        let all = nodes[0].quorum(peers(), Request::new("vote", "")).all().time_limit(Duration::from_millis(100));
        let late = within("the limit", all.run()).await;
        let too_few = QuorumError::TooFew { needed: 3, voted: 2, of: 3, failed: Vec::new(), timed_out: true };
        assert_eq!(late, Err(too_few));
        idle(&nodes).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quorum_holds_with_a_dead_node_and_fails_as_soon_as_it_cannot() {
    in_every_mode(async |mode| {
        let limits = || Limits { stability_period: Duration::from_millis(300), ..Limits::default() };
        let [n1, n2, n3] = three(mode, move |node, _| node.limits(limits())).await;
        within("n3 to leave", n3.shutdown(Duration::ZERO)).await;
        let votes = n1.quorum(peers(), Request::new("name", ""));
        assert_eq!(within("the quorum", votes.run()).await.expect("two live").len(), 2);
        within("n2 to leave", n2.shutdown(Duration::ZERO)).await;
        // No limit of its own: it ends since both are given up.
        let error = within("the error", n1.quorum(peers(), Request::new("name", "")).run()).await;
        let Err(QuorumError::TooFew { needed: 2, of: 3, failed, timed_out: false, .. }) = error else {
            panic!("{error:?}");
        };
        let down = VoteError::Call(CallError::Down(DownReason::NoConnect));
        assert!(failed.iter().all(|(_, error)| *error == down) && failed.len() == 2, "{failed:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn more_nodes_are_asked_only_when_the_first_are_slow_or_fail() {
    in_every_mode(async |mode| {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let nodes = three(mode, move |node, of| {
            let (asked, of) = (Arc::clone(&counter), of.to_owned());
            node.function("vote", move |_, argument: Bytes| {
                let (asked, of) = (Arc::clone(&asked), of.clone());
                async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    match (of.as_str(), &argument[..]) {
                        ("n1", b"slow") => std::future::pending().await,
                        ("n1", b"fail") => Err("no".to_owned()),
                        _ => Ok(Bytes::from(of)),
                    }
                }
            })
        })
        .await;
        let hour = Duration::from_secs(3600);
        for (argument, wait, expected) in [("", hour, 2), ("fail", hour, 3), ("slow", Duration::from_millis(20), 3)] {
            asked.store(0, Ordering::SeqCst);
            let quorum = nodes[0].quorum(peers(), Request::new("vote", argument)).first(2).hedge_after(wait);
            let votes = within("the quorum", quorum.run()).await.expect("two are enough");
            assert_eq!((votes.len(), asked.load(Ordering::SeqCst)), (2, expected), "{argument:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn writes_that_are_not_waited_for_run_to_their_end() {
    in_every_mode(async |mode| {
        let (go, written) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, counter) = (Arc::clone(&go), Arc::clone(&written));
        let nodes = three(mode, move |node, of| {
            let (gate, written, slow) = (Arc::clone(&gate), Arc::clone(&counter), of == "n3");
            node.function("write", move |_, _| {
                let (gate, written) = (Arc::clone(&gate), Arc::clone(&written));
                async move {
                    if slow {
                        let _go = gate.acquire().await;
                    }
                    written.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, String>(Bytes::new())
                }
            })
        })
        .await;
        let quorum = nodes[0].quorum(peers(), Request::new("write", "")).let_rest_finish();
        assert_eq!(within("the quorum", quorum.run()).await.expect("two are enough").len(), 2);
        go.add_permits(1);
        until("the third write", &nodes[2], |_| written.load(Ordering::SeqCst) == 3).await;
        idle(&nodes).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_means_no_does_not_count() {
    in_every_mode(async |mode| {
        let nodes = three(mode, |node, _| node).await;
        let quorum = nodes[0].quorum(peers(), Request::new("name", ""));
        let refused = within("the error", quorum.decode(|_| Err::<(), _>("not so")).run()).await;
        let Err(QuorumError::TooFew { voted: 0, failed, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(failed.len(), 2, "the third cannot help any more");
        assert!(failed.iter().all(|(_, error)| *error == VoteError::Function("not so")));
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_quorum_is_refused_at_once() {
    let n1 = Cluster::new(["n1", "n2"]).start("n1", "2.0");
    let quorum =
        |names: &[&str], need| n1.quorum(names.iter().map(|of| name(of)), Request::new("echo", "")).first(need);
    assert_eq!(quorum(&["n1", "n2"], 3).await, Err(QuorumError::Needed { needed: 3, of: 2 }));
    assert_eq!(quorum(&["n1"], 0).await, Err(QuorumError::Needed { needed: 0, of: 1 }));
    assert_eq!(quorum(&["n1", "n1"], 1).await, Err(QuorumError::Twice(name("n1"))));
    assert!(matches!(quorum(&["n9"], 1).await, Err(QuorumError::Send(SendError::NotAMember { .. }))));
}
