//! Each bound on what one node may take of another, or of itself for another: reached, passed by one, recovered from,
//! in every mode. n1 is the one at fault, n2 what it asks, n3 the one that must not notice. In virtual time.

use rexi_server::testing::TestCluster;
use rexi_server::{
    Answer, Bytes, Call, CallError, CastError, Context, DownReason, Event, ExitReason, JobOver, Limits, NodeBuilder,
    Request, SendError,
};
use rexi_tests::{Mode, cut_off, idle, in_every_mode, name, peer, undisturbed, until, within};

/// Payloads of 1,000 bytes at most, and otherwise the defaults.
fn small_payloads() -> Limits {
    Limits { payload_bytes_max: 1_000, inline_bytes_max: 1_000, ..Limits::default() }
}

async fn cluster(mode: Mode, limits: Limits) -> TestCluster {
    let endless = |mut job: Context, _: Bytes| async move {
        while job.stream("item").await.is_ok() {}
        Err::<(), _>(JobOver)
    };
    let build = move |node: NodeBuilder, _: &str| node.limits(limits.clone()).function("endless", endless);
    mode.cluster(["n1", "n2", "n3"], build).await
}

fn cast(cluster: &TestCluster, function: &'static str, bytes: usize) -> Call {
    let request = Request::new(function, vec![7; bytes]);
    cluster.node("n1").cast(&name("n2"), request).expect("it is within the bounds of a cast")
}

async fn refused(call: Call) -> ExitReason {
    match within("the refusal", call.reply()).await {
        Err(CallError::Ended(reason)) => reason,
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_hold_as_many_bytes_of_arguments_as_they_may_and_more_when_one_ends() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, Limits { job_bytes_max: 2_000, ..small_payloads() }).await;
        let fault = async {
            let mut held = vec![cast(&cluster, "forever", 1_000), cast(&cluster, "forever", 1_000)];
            assert_eq!(refused(cast(&cluster, "echo", 1)).await, ExitReason::TooManyBytes);
            assert_eq!(cast(&cluster, "echo", 0).reply().await, Ok(Bytes::new()), "a job without bytes is served");
            held.pop();
            assert_eq!(cast(&cluster, "echo", 1_000).reply().await.map(|reply| reply.len()), Ok(1_000));
        };
        undisturbed(&cluster, fault).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams_are_open_as_many_as_may_be_and_one_more_when_one_ends() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, Limits { streams_max: 2, ..Limits::default() }).await;
        let fault = async {
            let mut open = vec![cast(&cluster, "endless", 0), cast(&cluster, "endless", 0)];
            for stream in &mut open {
                assert_eq!(within("the stream", stream.next()).await, Some(Answer::StreamInit));
            }
            assert_eq!(refused(cast(&cluster, "endless", 0)).await, ExitReason::TooManyStreams);
            open.pop();
            let mut again = cast(&cluster, "endless", 0);
            assert_eq!(within("the stream", again.next()).await, Some(Answer::StreamInit));
            assert_eq!(peer(&cluster.node("n2"), "n3").stats.jobs, 0);
        };
        undisturbed(&cluster, fault).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_is_watched_by_as_many_monitors_as_may_be_and_one_more_when_one_goes() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, Limits { monitors_max: 2, ..Limits::default() }).await;
        let fault = async {
            let mut mailbox = cluster.node("n1").mailbox();
            let mut monitors: Vec<_> = (0..3).map(|_| mailbox.monitor(&name("n2")).expect("n2 is a member")).collect();
            let one_more = monitors.pop().expect("it was set");
            let down = within("the down", mailbox.recv()).await;
            assert_eq!(down, Event::Down(one_more, DownReason::TooManyMonitors));
            mailbox.demonitor(monitors[0]);
            mailbox.monitor(&name("n2")).expect("n2 is a member");
            // Behind the monitor on the lane, so a down would have come before it.
            assert_eq!(cast(&cluster, "echo", 1).reply().await.map(|reply| reply.len()), Ok(1));
            assert_eq!(mailbox.try_recv(), None, "there is room for it");
        };
        undisturbed(&cluster, fault).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn calls_are_open_as_many_as_may_be_and_one_more_after_an_answer() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, Limits { calls_open_max: 3, ..Limits::default() }).await;
        let fault = async {
            let n1 = cluster.node("n1");
            let mut open: Vec<_> = (0..3).map(|_| cast(&cluster, "forever", 0)).collect();
            let told = n1.cast(&name("n2"), Request::new("echo", "")).map(drop);
            assert_eq!(told, Err(SendError::Refused(CastError::TooManyCalls { max: 3 })));
            assert_eq!(n1.call(&name("n3"), Request::new("echo", "n1")).await, Ok("n1".into()), "it is of each peer");
            open.pop();
            assert_eq!(n1.call(&name("n2"), Request::new("echo", "n1")).await, Ok("n1".into()));
        };
        undisturbed(&cluster, fault).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_argument_and_a_name_at_their_bounds_go_out_and_one_byte_more_is_refused() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, small_payloads()).await;
        let fault = async {
            let (n1, n2) = (cluster.node("n1"), name("n2"));
            assert_eq!(cast(&cluster, "echo", 1_000).reply().await.map(|reply| reply.len()), Ok(1_000));
            let told = n1.cast(&n2, Request::new("echo", vec![7; 1_001])).map(drop);
            assert_eq!(told, Err(SendError::Refused(CastError::PayloadTooLarge { bytes: 1_001, max: 1_000 })));
            let named = |bytes| Request::new("f".repeat(bytes), "");
            assert_eq!(n1.call(&n2, named(255)).await, Err(CallError::NoSuchFunction));
            for bytes in [0, 256] {
                let told = n1.cast(&n2, named(bytes)).map(drop);
                assert_eq!(told, Err(SendError::Refused(CastError::FunctionName { bytes, max: 255 })));
            }
            assert_eq!(n1.call(&n2, Request::new("echo", "n1")).await, Ok("n1".into()));
            idle(&[n1]).await;
        };
        undisturbed(&cluster, fault).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_buffer_holds_as_many_bytes_as_it_may_and_drops_the_oldest_beyond() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, Limits { buffered_bytes_max: 3_000, ..small_payloads() }).await;
        let fault = async {
            cut_off(&cluster, "n1", "n2").await;
            let n1 = cluster.node("n1");
            let mut calls: Vec<_> = (0..3).map(|_| cast(&cluster, "echo", 1_000)).collect();
            assert_eq!(peer(&n1, "n2").stats.dropped, 0);
            calls.push(cast(&cluster, "echo", 1));
            let stats = peer(&n1, "n2").stats;
            assert_eq!((stats.buffered, stats.dropped), (3, 1));
            assert_eq!(calls.remove(0).reply().await, Err(CallError::Dropped));
            cluster.heal("n1", "n2");
            for (call, bytes) in calls.into_iter().zip([1_000, 1_000, 1]) {
                assert_eq!(within("the reply", call.reply()).await.map(|reply| reply.len()), Ok(bytes));
            }
            until("the buffer to be empty", &n1, |n1| peer(n1, "n2").stats.buffered == 0).await;
        };
        // n3 and n2 are connected all the time.
        undisturbed(&cluster, fault).await;
    })
    .await;
}
