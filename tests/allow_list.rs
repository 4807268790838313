//! Who may call what: every caller and every function under every list, in every mode; what is denied never runs, and
//! its caller learns why, whichever way it has asked. In virtual time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use rexi_server::testing::TestCluster;
use rexi_server::{
    AllowList, Answer, AskError, Bytes, CallError, Context, ExitReason, Function, Items, Node, NodeBuilder, NodeName,
    QuorumError, Request, StreamFunction,
    calls::{Gathered, Heard, Step, VoteError},
};
use rexi_tests::{Log, Mode, in_every_mode, name, pass, peer, until, within};

rexi_server::function! {
    /// Adds one.
    Next = "next" (u32) -> u32, error String, since 1.0;
    /// The numbers below a number.
    Below = "below" (u32) -> stream u32, error String, since 1.0;
}

/// n0 is called, by itself too.
const CALLERS: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];

/// Three of bytes, of which one is for a payload alongside the lane, a typed one, a stream, and one that all need.
const FUNCTIONS: [&str; 6] = ["kv.get", "kv.put", "large", Next::NAME, Below::NAME, "health"];

/// What a list may say. Lists of all combinations of these are played.
const RULES: [Rule; 6] = [
    Rule { peer: Some("n1"), function: Some("kv.get") },
    Rule { peer: Some("n1"), function: Some("large") },
    Rule { peer: Some("n2"), function: Some(Below::NAME) },
    Rule { peer: Some("n3"), function: None },
    Rule { peer: None, function: Some("health") },
    Rule { peer: Some("n0"), function: Some(Next::NAME) },
];

/// A peer or all of them, and a function or all of them.
#[derive(Clone, Copy, Debug)]
struct Rule {
    peer: Option<&'static str>,
    function: Option<&'static str>,
}

impl Rule {
    fn add_to(self, list: AllowList) -> AllowList {
        match (self.peer, self.function) {
            (Some(peer), Some(function)) => list.allow(name(peer), function),
            (Some(peer), None) => list.allow_peer(name(peer)),
            (None, Some(function)) => list.allow_function(function),
            (None, None) => unreachable!("no rule allows everything"),
        }
    }

    fn covers(self, peer: &str, function: &str) -> bool {
        self.peer.is_none_or(|of| of == peer) && self.function.is_none_or(|of| of == function)
    }
}

/// How often each function was started for each caller.
#[derive(Clone, Default)]
struct Starts(Arc<Mutex<BTreeMap<(NodeName, &'static str), usize>>>);

impl Starts {
    fn on(&self, node: NodeBuilder) -> NodeBuilder {
        let [bytes @ .., _, _, _] = FUNCTIONS;
        let node = bytes.into_iter().chain(["health"]).fold(node, |node, function| {
            let starts = self.clone();
            node.function(function, move |job: Context, argument: Bytes| {
                starts.note(&job, function);
                async move { Ok::<_, String>(argument) }
            })
        });
        let (typed, streamed) = (self.clone(), self.clone());
        node.serve(Next, move |job, number| {
            typed.note(&job, Next::NAME);
            async move { Ok(number + 1) }
        })
        .serve_stream(Below, move |mut items: Items<Below>, end| {
            streamed.note(items.job_mut(), Below::NAME);
            async move {
                for number in 0..end {
                    items.send(&number).await;
                }
                Ok(None)
            }
        })
    }

    /// Before the handler's future: a handler that is called at all has started.
    fn note(&self, job: &Context, function: &'static str) {
        *self.lock().entry((job.caller().clone(), function)).or_default() += 1;
    }

    fn of(&self, caller: &str, function: &'static str) -> usize {
        self.lock().get(&(name(caller), function)).copied().unwrap_or_default()
    }

    fn all(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(NodeName, &'static str), usize>> {
        self.0.lock().expect("nothing panics while it counts")
    }
}

async fn cluster(mode: Mode, starts: &Starts) -> TestCluster {
    let starts = starts.clone();
    mode.cluster(CALLERS, move |node, of| if of == "n0" { starts.on(node) } else { node }).await
}

/// Calls n0 as the function is called.
async fn call(from: &Node, function: &'static str) -> Result<(), CallError> {
    let n0 = name("n0");
    if function == Next::NAME {
        let number = within("the answer", from.ask(Next, &n0, &1)).await;
        return number.map(|number| assert_eq!(number, 2)).map_err(not_its_own);
    }
    if function == Below::NAME {
        let items = from.ask_stream(Below, &n0, &3);
        let items: Result<Vec<_>, _> = within("the items", items.try_collect()).await;
        return items.map(|items| assert_eq!(items, [0, 1, 2])).map_err(not_its_own);
    }
    // Beyond what fits into a frame.
    let bytes = if function == "large" { 100_000 } else { 3 };
    within("the answer", from.call(&n0, Request::new(function, vec![7; bytes]))).await.map(drop)
}

fn not_its_own(error: AskError<String>) -> CallError {
    match error {
        AskError::Call(error) => error,
        own => panic!("{own:?}"),
    }
}

/// Which lists n0 has in turn: none, and those of all combinations of the rules.
fn lists() -> Vec<Option<Vec<Rule>>> {
    let of = |combination: usize| (0..RULES.len()).filter(|i| combination & 1 << i != 0).map(|i| RULES[i]).collect();
    [None].into_iter().chain((0..1 << RULES.len()).map(|combination| Some(of(combination)))).collect()
}

/// What the documentation of `AllowList` says.
fn may(rules: Option<&[Rule]>, caller: &str, function: &str) -> bool {
    let Some(rules) = rules else { return true };
    let bound = caller != "n0" || rules.iter().any(|rule| rule.peer == Some("n0"));
    !bound || rules.iter().any(|rule| rule.covers(caller, function))
}

#[tokio::test(start_paused = true)]
async fn no_function_is_started_for_who_may_not_call_it() {
    in_every_mode(async |mode| {
        let starts = Starts::default();
        let cluster = cluster(mode, &starts).await;
        let n0 = cluster.node("n0");
        let (mut allowed, mut denied) = (0, BTreeMap::new());
        for rules in lists() {
            let rules = rules.as_deref();
            n0.set_allow_list(rules.map(|rules| rules.iter().fold(AllowList::new(), |list, rule| rule.add_to(list))));
            for (caller, function) in CALLERS.iter().flat_map(|&of| FUNCTIONS.map(|function| (of, function))) {
                let (may, before) = (may(rules, caller, function), starts.of(caller, function));
                let answer = call(&cluster.node(caller), function).await;
                let seen = format!("{caller} calls {function} under {rules:?}: {answer:?}");
                if may {
                    assert!(answer.is_ok(), "{seen}");
                    allowed += 1;
                } else {
                    let error = answer.expect_err(&seen);
                    assert_eq!(error, CallError::NotAllowed { function: function.into() }, "{seen}");
                    assert!(error.did_not_run() && error.is_safe_to_retry());
                    *denied.entry(caller).or_default() += 1;
                }
                assert_eq!(starts.of(caller, function), before + usize::from(may), "{seen}");
            }
        }
        assert_eq!(starts.all(), allowed, "something was started that nobody was allowed");
        let all_denied: u64 = denied.values().sum();
        let status = n0.status();
        assert_eq!((status.denied_casts, status.jobs), (all_denied, 0));
        assert_eq!(CALLERS.map(|of| peer(&n0, of).denied_casts), CALLERS.map(|of| denied[of]));
        println!(
            "release {}: {} lists, {} callers, {} functions; {allowed} calls allowed and run, {all_denied} denied, 0 \
             of them started",
            mode.release,
            lists().len(),
            CALLERS.len(),
            FUNCTIONS.len()
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_given_at_the_start_holds_from_the_first_cast_on_and_can_be_lifted() {
    in_every_mode(async |mode| {
        let starts = Starts::default();
        let on_n0 = starts.clone();
        let build = move |node: NodeBuilder, of: &str| match of {
            "n0" => on_n0.on(node).allow(name("n1"), "kv.get").allow(name("n1"), "kv.put"),
            _ => node,
        };
        let cluster = mode.cluster(["n0", "n1", "n2"], build).await;
        let (n0, n1, n2) = (cluster.node("n0"), cluster.node("n1"), cluster.node("n2"));
        let denied = |function: &str| Err(CallError::NotAllowed { function: function.into() });
        assert!(call(&n1, "kv.get").await.is_ok() && call(&n1, "kv.put").await.is_ok());
        assert_eq!(call(&n1, "large").await, denied("large"));
        assert_eq!(call(&n2, "kv.get").await, denied("kv.get"));
        assert_eq!(call(&n2, "nobody has it").await, Err(CallError::NoSuchFunction), "the hello lists what there is");
        assert!(call(&n0, "large").await.is_ok(), "the node itself is not named");
        assert!(n2.call(&name("n1"), Request::new("echo", "")).await.is_ok(), "n1 has no list");
        assert_eq!(starts.all(), 3);

        n0.set_allow_list(None);
        assert!(call(&n2, "kv.get").await.is_ok());
        assert_eq!(call(&n2, "nobody has it").await, Err(CallError::NoSuchFunction));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quorum_and_a_gather_hear_of_a_denial_as_of_any_answer() {
    in_every_mode(async |mode| {
        let build = |node: NodeBuilder, of: &str| if of == "n3" { node.allow(name("n2"), "echo") } else { node };
        let cluster = mode.cluster(["n1", "n2", "n3"], build).await;
        let (n1, n2, n3) = (cluster.node("n1"), cluster.node("n2"), cluster.node("n3"));
        let peers = ["n1", "n2", "n3"].map(name);
        let echo = || Request::new("echo", "x");
        let votes = within("a majority", n1.quorum(peers.clone(), echo()).run()).await.expect("two of three");
        assert!(votes.len() == 2 && votes.iter().all(|vote| vote.peer != name("n3")), "{votes:?}");
        let denied = CallError::NotAllowed { function: "echo".into() };
        let error = within("all", n1.quorum(peers.clone(), echo()).all().run()).await.expect_err("n3 says no");
        let QuorumError::TooFew { failed, timed_out: false, .. } = error else { panic!("{error:?}") };
        assert_eq!(failed, [(name("n3"), VoteError::Call(denied))]);

        let mut gather = n1.gather();
        gather.cast_all(&peers, &echo()).expect("members");
        let folding = gather.fold(BTreeMap::new(), |_, mut heard, next| {
            let Heard::Answer { from, answer, .. } = next else { panic!("{next:?}") };
            assert!(heard.insert(from, answer).is_none(), "one answer of each");
            Step::<_, ()>::Continue(heard)
        });
        let Gathered::Exhausted(heard) = within("the fold", folding).await else { panic!("not to its end") };
        let denied = Answer::Exit { function: "echo".into(), reason: ExitReason::NotAllowed };
        let replied = Answer::Reply { body: "x".into(), last: true };
        let expected = peers.clone().into_iter().zip([replied.clone(), replied, denied]).collect();
        assert_eq!(heard, expected);

        assert_eq!(within("all", n2.quorum(peers, echo()).all().run()).await.map(|votes| votes.len()), Ok(3));
        // The first quorum may have had enough before its cast to n3 was denied, which is counted all the same.
        until("all three to be counted", &n3, |n3| n3.status().denied_casts == 3).await;
        assert_eq!((peer(&n3, "n1").denied_casts, peer(&n3, "n2").denied_casts), (3, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_outlives_the_list_that_let_it_start_and_a_denied_one_leaves_nothing() {
    in_every_mode(async |mode| {
        let (n1, n2) = mode.pair(|node| node).await;
        let running = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
        n2.set_allow_list(Some(AllowList::new().allow_function("echo")));
        let mut denied = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        let exit = within("the exit", denied.next()).await;
        assert_eq!(exit, Some(Answer::Exit { function: "forever".into(), reason: ExitReason::NotAllowed }));
        assert_eq!(within("the end", denied.next()).await, None);
        let mut stream = n1.stream(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        let item = within("the stream's end", stream.next()).await;
        assert!(matches!(item, Some(Err(CallError::NotAllowed { .. }))), "{item:?}");
        assert_eq!(n2.status().jobs, 1, "the first one goes on");
        assert!(n1.call(&name("n2"), Request::new("echo", "")).await.is_ok());
        drop(running);
        until("its kill", &n2, |n2| n2.status().jobs == 0).await;
        until("nothing to be open", &n1, |n1| n1.status().calls == 0).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_turned_away_is_logged_once_a_second_and_counted_each_time() {
    in_every_mode(async |mode| {
        let log = Log::here();
        // A name of its own, since other tests of this process log as well.
        let own = format!("one-line-{}", mode.release.replace('.', "-"));
        let cluster = mode.cluster([&*own, "n2"], |node, _| node.allow_list(AllowList::new())).await;
        let (node, n2) = (cluster.node(&own), cluster.node("n2"));
        let field = format!("node={own} ");
        let mut denied = 0;
        for (wait, lines) in [(0, 1), (900, 1), (200, 2), (1_100, 3)] {
            pass(Duration::from_millis(wait)).await;
            for _ in 0..3 {
                n2.call(&name(&own), Request::new("echo", "")).await.expect_err("nobody may");
                denied += 1;
            }
            assert_eq!(log.lines(&["denied a cast", &field]).len(), lines, "after {wait} ms more");
            assert_eq!(node.status().denied_casts, denied);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_no_intruder() {
    in_every_mode(async |mode| {
        let of_a_service = |_: Context, _: Bytes| async { Ok::<_, String>(()) };
        let build = move |node: NodeBuilder, of: &str| match of {
            "n1" => node.function("rexi.of-a-service", of_a_service).allow_list(AllowList::new()),
            _ => node,
        };
        let cluster = mode.cluster(["n1", "n2"], build).await;
        let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
        let denied = n2.call(&name("n1"), Request::new("rexi.of-a-service", "")).await;
        assert_eq!(denied, Err(CallError::NotAllowed { function: "rexi.of-a-service".into() }));
        assert_eq!(n1.status().denied_casts, 1);
        assert_eq!(within("n2 to leave", n2.shutdown(Duration::from_secs(5))).await, 0);
        assert_eq!(n1.status().denied_casts, 1, "the mark of a node that leaves is not counted");
    })
    .await;
}
