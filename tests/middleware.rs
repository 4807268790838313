//! Tower layers around a node's functions: their order, what they limit and refuse, and how a job ends in one.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use rexi_server::middleware::{JobError, JobRequest, JobService};
use rexi_server::{
    AskError, Bytes, CallError, ExitReason, Function, Items, Node, NodeBuilder, Request, StartError, StreamFunction,
};
use rexi_tests::{Held, MODES, Mode, in_every_mode, name, pass, until, within};
use tokio::time::Instant;
use tower::limit::ConcurrencyLimitLayer;
use tower::util::{BoxCloneSyncService, MapErrLayer, MapRequestLayer};
use tower::{BoxError, Layer, Service, ServiceBuilder, layer::layer_fn};

rexi_server::function! {
    /// Adds one.
    Next = "next" (u32) -> u32, error String, since 1.0;
    /// The numbers below a number.
    Below = "below" (u32) -> stream u32, error String, since 1.0;
}

/// What was passed, in order.
type Log = Arc<Mutex<Vec<String>>>;

fn note(log: &Log, what: impl Into<String>) {
    log.lock().expect("nothing panics while it notes").push(what.into());
}

/// A layer that notes when a job comes in and when it goes out.
#[derive(Clone)]
struct Noted(&'static str, Log);

impl<S> Layer<S> for Noted {
    type Service = NotedService<S>;

    fn layer(&self, inner: S) -> NotedService<S> {
        NotedService { inner, noted: self.clone() }
    }
}

#[derive(Clone)]
struct NotedService<S> {
    inner: S,
    noted: Noted,
}

impl<S> Service<JobRequest> for NotedService<S>
where
    S: Service<JobRequest>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, job: JobRequest) -> Self::Future {
        let Noted(name, log) = self.noted.clone();
        note(&log, format!("{name} in"));
        let inner = self.inner.call(job);
        Box::pin(async move {
            let replied = inner.await;
            note(&log, format!("{name} out"));
            replied
        })
    }
}

/// How many run `busy` now, and how many have at once.
#[derive(Clone, Default)]
struct Busy {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    ran: Arc<AtomicUsize>,
}

impl Busy {
    /// Adds functions that take 10 ms.
    fn on(&self, node: NodeBuilder, names: &[&str]) -> NodeBuilder {
        names.iter().fold(node, |node, name| {
            let busy = self.clone();
            node.function(name, move |_, argument: Bytes| {
                let busy = busy.clone();
                async move {
                    let now = busy.now.fetch_add(1, Ordering::Relaxed) + 1;
                    busy.most.fetch_max(now, Ordering::Relaxed);
                    pass(Duration::from_millis(10)).await;
                    busy.now.fetch_sub(1, Ordering::Relaxed);
                    busy.ran.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, String>(argument)
                }
            })
        })
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

/// n1, and n2 with that build.
async fn pair(mode: Mode, build: impl Fn(NodeBuilder) -> NodeBuilder + Send + Sync + 'static) -> (Node, Node) {
    let cluster = mode.cluster(["n1", "n2"], move |node, of| if of == "n2" { build(node) } else { node }).await;
    (cluster.node("n1"), cluster.node("n2"))
}

async fn call(n1: &Node, function: &str) -> Result<Bytes, CallError> {
    within("the answer", n1.call(&name("n2"), Request::new(function, "hi"))).await
}

#[tokio::test(start_paused = true)]
async fn layers_stand_in_the_order_of_a_service_builder_and_those_of_a_function_inside_of_all() {
    in_every_mode(async |mode| {
        let log = Log::default();
        let noted = Arc::clone(&log);
        let (n1, _n2) = pair(mode, move |node| {
            let layer = |name| Noted(name, Arc::clone(&noted));
            let log = Arc::clone(&noted);
            // Given before its function and among the others: only their own order counts.
            node.layer_function("work", layer("d"))
                .layer(ServiceBuilder::new().layer(layer("a")).layer(layer("b")).into_inner())
                .layer_function("work", layer("e"))
                .function("work", move |_, _| {
                    note(&log, "work");
                    ready(Ok::<_, String>(Bytes::from_static(b"done")))
                })
                .layer(layer("c"))
        })
        .await;
        assert_eq!(call(&n1, "work").await, Ok("done".into()));
        let order = "a in, b in, c in, d in, e in, work, e out, d out, c out, b out, a out";
        assert_eq!(std::mem::take(&mut *log.lock().expect("no panic")).join(", "), order);
        assert_eq!(call(&n1, "echo").await, Ok("hi".into()));
        let order = "a in, b in, c in, c out, b out, a out";
        assert_eq!(log.lock().expect("no panic").join(", "), order, "not those of another function");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_how_a_job_ends_without_a_value() {
    in_every_mode(async |mode| {
        let log = Log::default();
        let noted = Arc::clone(&log);
        let (n1, _n2) = pair(mode, move |node| {
            let log = Arc::clone(&noted);
            let look = MapErrLayer::new(move |error: BoxError| {
                let reason = error.downcast_ref::<JobError>().map(JobError::reason);
                note(&log, format!("{reason:?}, {error}"));
                error
            });
            node.function("luckless", |_, _| ready(Err::<Bytes, _>("no luck"))).layer(look)
        })
        .await;
        call(&n1, "luckless").await.expect_err("it fails");
        assert_eq!(call(&n1, "echo").await, Ok("hi".into()));
        let failed = ExitReason::Failed("no luck".into());
        assert_eq!(*log.lock().expect("no panic"), [format!("Some(Some({failed:?})), {failed}")]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_limits_and_nobody_else_waits() {
    in_every_mode(async |mode| {
        let busy = Busy::default();
        let on = busy.clone();
        let build = move |node| on.on(node, &["busy"]).layer_function("busy", ConcurrencyLimitLayer::new(3));
        let (n1, n2) = pair(mode, build).await;
        let calls: Vec<_> =
            (0..20).map(|_| n1.cast(&name("n2"), Request::new("busy", "")).expect("a member")).collect();
        until("all of them to be jobs", &n2, |n2| n2.status().jobs == 20).await;
        let asked = Instant::now();
        assert_eq!(call(&n1, "echo").await, Ok("hi".into()));
        assert!(asked.elapsed() < Duration::from_millis(10), "the reader goes on, another function too");
        for call in calls {
            assert_eq!(within("the reply", call.reply()).await, Ok(Bytes::new()));
        }
        assert_eq!((busy.most(), busy.ran.load(Ordering::Relaxed), n2.status().jobs), (3, 20, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_all_functions_is_one_of_the_node() {
    let busy = Busy::default();
    let on = busy.clone();
    let build = move |node| on.on(node, &["one", "two"]).layer(ServiceBuilder::new().concurrency_limit(4).into_inner());
    let (n1, _n2) = pair(MODES[3], build).await;
    let cast = |function| n1.cast(&name("n2"), Request::new(function, "")).expect("a member");
    let calls: Vec<_> = (0..20).map(|number| cast(["one", "two"][number % 2])).collect();
    for call in calls {
        assert_eq!(within("the reply", call.reply()).await, Ok(Bytes::new()));
    }
    assert_eq!(busy.most(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_its_layer_can_be_killed_and_runs_out_of_time() {
    in_every_mode(async |mode| {
        let held = Held::default();
        let on = held.clone();
        let build = move |node| on.on(node).layer_function("held", ConcurrencyLimitLayer::new(1));
        let (n1, n2) = pair(mode, build).await;
        let cast = |limit: u64| {
            let request = Request::new("held", "").time_limit(Duration::from_millis(limit));
            n1.cast(&name("n2"), request).expect("a member")
        };
        let running = cast(60_000);
        until("the first to run", &n2, |_| held.started() == 1).await;
        let (waiting, limited) = (cast(60_000), cast(50));
        until("all to be jobs", &n2, |n2| n2.status().jobs == 3).await;
        assert_eq!(within("the limit", limited.reply()).await, Err(CallError::TimePassed));
        waiting.kill();
        until("both to be gone", &n2, |n2| n2.status().jobs == 1).await;
        assert_eq!((held.started(), held.dropped()), (1, 0), "neither has run");
        // Their places in the queue are free again.
        let next = cast(60_000);
        running.kill();
        until("the next to run", &n2, |_| held.started() == 2).await;
        next.kill();
        until("none to be left", &n2, |n2| n2.status().jobs == 0).await;
        assert_eq!(held.dropped(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_time_out_layer_ends_the_function_and_its_call() {
    let held = Held::default();
    let on = held.clone();
    let layer = || ServiceBuilder::new().timeout(Duration::from_millis(100)).into_inner();
    let (n1, n2) = pair(MODES[3], move |node| on.on(node).layer(layer())).await;
    let asked = Instant::now();
    let ended = call(&n1, "held").await;
    let failed = CallError::Failed { function: "held".into(), error: "request timed out".into() };
    assert_eq!(ended, Err(failed));
    assert!((100..200).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    assert_eq!((held.started(), held.dropped(), n2.status().jobs), (1, 1, 0));
    assert_eq!(call(&n1, "echo").await, Ok("hi".into()));
}

async fn only_n1(job: JobRequest) -> Result<JobRequest, BoxError> {
    let text = format!("{} may not ask for {}", job.context().caller(), job.function());
    if job.context().caller().as_str() == "n1" { Ok(job) } else { Err(text.into()) }
}

#[tokio::test(start_paused = true)]
async fn a_check_refuses_before_the_function_runs() {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let cluster = MODES[3].cluster(["n1", "n2", "n3"], move |node, _| {
        let counted = Arc::clone(&counted);
        node.layer(ServiceBuilder::new().filter_async(only_n1).into_inner()).serve(Next, move |_, number| {
            counted.fetch_add(1, Ordering::Relaxed);
            ready(number.checked_add(1).ok_or_else(|| "there is none".to_owned()))
        })
    });
    let cluster = cluster.await;
    let ask = async |from: &str, number| within("the answer", cluster.node(from).ask(Next, &name("n2"), &number)).await;
    assert_eq!(ask("n1", 1).await, Ok(2));
    assert_eq!(ask("n1", u32::MAX).await, Err(AskError::Function("there is none".to_owned())), "typed all through");
    let refused = CallError::Failed { function: "next".into(), error: "n3 may not ask for next".into() };
    assert_eq!(ask("n3", 1).await, Err(AskError::Call(refused)));
    assert_eq!(ran.load(Ordering::Relaxed), 2, "it did not run for n3");
}

#[tokio::test(start_paused = true)]
async fn what_a_function_says_comes_through_its_layers_as_it_was_said() {
    let log = Log::default();
    let noted = Arc::clone(&log);
    let (n1, _n2) = pair(MODES[2], move |node| {
        node.layer(Noted("a", Arc::clone(&noted)))
            .layer_function(Below::NAME, Noted("b", Arc::clone(&noted)))
            .function("nothing", |_, _| ready(Ok::<(), String>(())))
            .serve(Next, |_, number| ready(Ok(number + 1)))
            .serve_stream(Below, async |mut items: Items<Below>, end| {
                for number in 0..end {
                    items.send(&number).await;
                }
                Ok(None)
            })
            // The argument may be changed on its way.
            .layer_function(
                "echo",
                MapRequestLayer::new(|mut job: JobRequest| {
                    let doubled = job.argument().repeat(2);
                    job.set_argument(doubled);
                    job
                }),
            )
    })
    .await;
    assert_eq!(call(&n1, "echo").await, Ok("hihi".into()));
    assert_eq!(call(&n1, "nothing").await, Err(CallError::NoReply));
    let failed = CallError::Failed { function: "fail".into(), error: "hi".into() };
    assert_eq!(call(&n1, "fail").await, Err(failed));
    let panicked = CallError::Panicked { function: "panic".into(), message: "hi".into() };
    assert_eq!(call(&n1, "panic").await, Err(panicked));
    assert!(matches!(call(&n1, Next::NAME).await, Err(CallError::WrongArgument { .. })));
    let before = log.lock().expect("no panic").len();
    assert_eq!(call(&n1, "no such").await, Err(CallError::NoSuchFunction));
    assert_eq!(log.lock().expect("no panic").len(), before, "layers are around functions that there are");
    let items = n1.ask_stream(Below, &name("n2"), &40);
    let items: Vec<_> = within("the items", items.map(|item| item.expect("an item")).collect()).await;
    assert_eq!(items, (0..40).collect::<Vec<_>>(), "more than a window of them");
    assert!(log.lock().expect("no panic").ends_with(&["b out".to_owned(), "a out".to_owned()]));
}

/// Panics where it says.
#[derive(Clone)]
struct Panics(&'static str);

impl Service<JobRequest> for Panics {
    type Response = Option<Bytes>;
    type Error = BoxError;
    type Future = Ready<Result<Option<Bytes>, BoxError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        assert_ne!(self.0, "poll_ready", "a layer is broken");
        if self.0 == "error" { Poll::Ready(Err("never ready".into())) } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: JobRequest) -> Self::Future {
        panic!("a layer is broken in {}", self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_layer_ends_its_job_only() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| {
            ["poll_ready", "call", "error"].into_iter().fold(node, |node, place| {
                let node = node.function(place, |_, argument: Bytes| ready(Ok::<_, String>(argument)));
                node.layer_function(place, layer_fn(move |_: JobService| Panics(place)))
            })
        })
        .await;
        for place in ["poll_ready", "call"] {
            let ended = call(&n1, place).await;
            assert!(
                matches!(&ended, Err(CallError::Panicked { function, message })
                    if &**function == place && message.contains("a layer is broken")),
                "{ended:?}"
            );
        }
        let failed = CallError::Failed { function: "error".into(), error: "never ready".into() };
        assert_eq!(call(&n1, "error").await, Err(failed));
        assert_eq!(call(&n1, "echo").await, Ok("hi".into()));
        assert_eq!(n2.status().jobs, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_did_not_run_and_a_layer_may_choose_its_exit() {
    let held = Held::default();
    let on = held.clone();
    let (n1, n2) = pair(MODES[3], move |node| {
        let shed = ServiceBuilder::new().load_shed().concurrency_limit(1).into_inner();
        let chosen = |_: JobRequest| Err::<JobRequest, _>(JobError::new(ExitReason::Draining));
        on.on(node)
            .layer_function("held", shed)
            .layer_function("echo", ServiceBuilder::new().filter(chosen).into_inner())
    })
    .await;
    let running = n1.cast(&name("n2"), Request::new("held", "")).expect("a member");
    until("the first to run", &n2, |_| held.started() == 1).await;
    for (function, reason) in [("held", ExitReason::TooManyJobs), ("echo", ExitReason::Draining)] {
        let refused = call(&n1, function).await.expect_err("it is refused");
        assert_eq!(refused, CallError::Ended(reason));
        assert!(refused.is_safe_to_retry());
    }
    assert_eq!(held.started(), 1);
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_no_clone_goes_behind_a_buffer() {
    let busy = Busy::default();
    let on = busy.clone();
    let (n1, _n2) = pair(MODES[3], move |node| {
        let limited = ServiceBuilder::new().buffer(32).rate_limit(1, Duration::from_millis(100)).into_inner();
        on.on(node, &["busy"]).layer_function("busy", limited)
    })
    .await;
    let asked = Instant::now();
    let calls: Vec<_> = (0..5).map(|_| n1.cast(&name("n2"), Request::new("busy", "")).expect("a member")).collect();
    for call in calls {
        assert_eq!(within("the reply", call.reply()).await, Ok(Bytes::new()));
    }
    assert!((400..600).contains(&asked.elapsed().as_millis()), "one each 100 ms: {:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_layer_for_a_function_that_is_not_there_is_said_at_start() {
    let cluster = MODES[3].members(["n1"], |node, _| node);
    let misspelt = cluster.builder("n1", &MODES[3].profile());
    let started = misspelt.layer_function("ecko", ConcurrencyLimitLayer::new(1)).start();
    let error = started.expect_err("there is no such function");
    assert!(matches!(&error, StartError::LayerWithoutFunction(name) if name == "ecko"), "{error}");
    // A boxed stack is a layer's service as well.
    let boxed = layer_fn(|inner: JobService| BoxCloneSyncService::new(inner));
    let n1 = cluster.builder("n1", &MODES[3].profile()).layer(boxed).start().expect("it starts");
    let own = within("its own call", n1.call(&name("n1"), Request::new("echo", "hi"))).await;
    assert_eq!(own, Ok("hi".into()));
}
