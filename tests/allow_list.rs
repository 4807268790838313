//! Who may call what: every caller and every function under every list, in every mode; what is denied never runs, and
//! its caller hears why. In virtual time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rexi_server::testing::TestCluster;
use rexi_server::{AllowList, Answer, Bytes, CallError, Context, ExitReason, Node, NodeBuilder, NodeName, Request};
use rexi_tests::{Mode, in_every_mode, name, peer, until, within};

/// n0 is called, by itself too.
const CALLERS: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];

const FUNCTIONS: [&str; 6] = ["kv.get", "kv.put", "kv.drop", "status", "large", "health"];

/// What a list may say. Lists of all combinations of these are played.
const RULES: [Rule; 6] = [
    Rule { peer: Some("n1"), function: Some("kv.get") },
    Rule { peer: Some("n1"), function: Some("large") },
    Rule { peer: Some("n2"), function: Some("kv.get") },
    Rule { peer: Some("n3"), function: None },
    Rule { peer: None, function: Some("health") },
    Rule { peer: Some("n0"), function: Some("status") },
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
        FUNCTIONS.into_iter().fold(node, |node, function| {
            let starts = self.clone();
            node.function(function, move |job: Context, argument: Bytes| {
                // Before the future: a handler that is called at all has started.
                *starts.lock().entry((job.caller().clone(), function)).or_default() += 1;
                async move { Ok::<_, String>(argument) }
            })
        })
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

async fn call(from: &Node, function: &'static str) -> Result<Bytes, CallError> {
    // Beyond what fits into a frame.
    let bytes = if function == "large" { 100_000 } else { 3 };
    within("the answer", from.call(&name("n0"), Request::new(function, vec![7; bytes]))).await
}

#[tokio::test(start_paused = true)]
async fn no_function_is_started_for_who_may_not_call_it() {
    in_every_mode(async |mode| {
        let starts = Starts::default();
        let cluster = cluster(mode, &starts).await;
        let n0 = cluster.node("n0");
        let (mut allowed, mut denied) = (0, 0);
        for combination in 0..1 << RULES.len() {
            let rules: Vec<Rule> = (0..RULES.len()).filter(|i| combination & 1 << i != 0).map(|i| RULES[i]).collect();
            n0.set_allow_list(Some(rules.iter().fold(AllowList::new(), |list, rule| rule.add_to(list))));
            for caller in CALLERS {
                let bound = caller != "n0" || rules.iter().any(|rule| rule.peer == Some("n0"));
                for function in FUNCTIONS {
                    let before = starts.of(caller, function);
                    let may = !bound || rules.iter().any(|rule| rule.covers(caller, function));
                    let reply = call(&cluster.node(caller), function).await;
                    let seen = format!("{caller} calls {function} under {rules:?}: {reply:?}");
                    if may {
                        assert!(reply.is_ok(), "{seen}");
                        allowed += 1;
                    } else {
                        let error = reply.expect_err(&seen);
                        assert_eq!(error, CallError::NotAllowed { function: function.into() }, "{seen}");
                        assert!(error.did_not_run());
                        denied += 1;
                    }
                    assert_eq!(starts.of(caller, function), before + usize::from(may), "{seen}");
                }
            }
        }
        assert_eq!(starts.all(), allowed, "something was started that nobody was allowed");
        let status = n0.status();
        assert_eq!((status.denied_casts, status.jobs), (denied, 0));
        assert_eq!(status.peers.iter().map(|peer| peer.denied_casts).sum::<u64>(), denied);
        assert!(peer(&n0, "n4").denied_casts > peer(&n0, "n3").denied_casts);
        println!(
            "release {}: {} lists, {allowed} calls allowed and run, {denied} denied, 0 of them started",
            mode.release,
            1 << RULES.len()
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
        assert_eq!(call(&n1, "kv.drop").await, denied("kv.drop"));
        assert_eq!(call(&n2, "kv.get").await, denied("kv.get"));
        // Who may not call it does not hear whether it is there.
        assert_eq!(call(&n2, "nobody has it").await, denied("nobody has it"));
        assert!(call(&n0, "kv.drop").await.is_ok(), "the node itself is not named");
        assert!(n2.call(&name("n1"), Request::new("echo", "")).await.is_ok(), "n1 has no list");
        assert_eq!(starts.all(), 3);

        n0.set_allow_list(None);
        assert!(call(&n2, "kv.get").await.is_ok());
        assert_eq!(call(&n2, "nobody has it").await, Err(CallError::NoSuchFunction));
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
        let item = within("the stream's end", futures_util::StreamExt::next(&mut stream)).await;
        assert!(matches!(item, Some(Err(CallError::NotAllowed { .. }))), "{item:?}");
        assert_eq!(n2.status().jobs, 1, "the first one goes on");
        assert!(n1.call(&name("n2"), Request::new("echo", "")).await.is_ok());
        drop(running);
        until("its kill", &n2, |n2| n2.status().jobs == 0).await;
        until("nothing to be open", &n1, |n1| n1.status().calls == 0).await;
    })
    .await;
}
