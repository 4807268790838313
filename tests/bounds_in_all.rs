//! Each bound over all peers of a node: how much one greedy peer gets, what it is told beyond that, that another still
//! has its floor, and that all of it is given back; in every mode. n1 is the greedy one, n2 what it asks, n3 the one
//! that must not notice. In virtual time.

use rexi_server::testing::TestCluster;
use rexi_server::{
    Answer, Bytes, Call, CallError, Context, ExitReason, JobOver, Limits, NodeBuilder, PeerPresence, Request,
};
use rexi_tests::{Mode, cut_off, in_every_mode, name, peer, undisturbed, until, within};

const MEMBERS: usize = 3;

async fn cluster(mode: Mode, limits: Limits) -> TestCluster {
    let endless = |mut job: Context, _: Bytes| async move {
        while job.stream("item").await.is_ok() {}
        Err::<(), _>(JobOver)
    };
    let build = move |node: NodeBuilder, _: &str| node.limits(limits.clone()).function("endless", endless);
    mode.cluster(["n1", "n2", "n3"], build).await
}

/// What each member has of a total for itself, and how much one of them gets: half of the total is shared out among
/// members and servers, the other half is whose needs it.
fn shares(total: usize, holders: usize) -> (usize, usize) {
    let floor = total / 2 / holders;
    (floor, total - floor * (holders - 1))
}

/// Of what jobs take, each server holds a share for each member.
fn job_shares(mode: Mode, total: usize) -> (usize, usize) {
    shares(total, MEMBERS * if mode.is_dual() { 2 } else { 1 })
}

fn cast(cluster: &TestCluster, from: &str, function: &'static str, bytes: usize) -> Call {
    let request = Request::new(function, vec![7; bytes]);
    cluster.node(from).cast(&name("n2"), request).expect("it is within the bounds of a cast")
}

async fn refused(call: Call) -> ExitReason {
    match within("the refusal", call.reply()).await {
        Err(CallError::Ended(reason)) => reason,
        other => panic!("no refusal: {other:?}"),
    }
}

async fn jobs_on_n2(cluster: &TestCluster, jobs: usize) {
    until("the jobs to run", &cluster.node("n2"), |n2| n2.status().jobs == jobs).await;
}

#[tokio::test(start_paused = true)]
async fn a_greedy_node_gets_the_pool_of_jobs_and_leaves_every_other_its_floor() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, Limits { jobs_max: 24, jobs_total_max: 24, ..Limits::default() }).await;
        let (floor, most) = job_shares(mode, 24);
        let mut greedy: Vec<_> = (0..most).map(|_| cast(&cluster, "n1", "forever", 0)).collect();
        jobs_on_n2(&cluster, most).await;
        let fault = async {
            assert_eq!(refused(cast(&cluster, "n1", "echo", 1)).await, ExitReason::TooManyJobsInAll);
            // n3 keeps one place of its floor for its calls.
            let others: Vec<_> = (1..floor).map(|_| cast(&cluster, "n3", "forever", 0)).collect();
            until("n3's jobs", &cluster.node("n2"), |n2| n2.status().jobs >= most + floor - 1).await;
            drop(greedy.pop());
            until("an end", &cluster.node("n2"), |n2| n2.status().jobs < most + floor).await;
            assert_eq!(cast(&cluster, "n1", "echo", 1).reply().await.map(|reply| reply.len()), Ok(1));
            drop(others);
        };
        undisturbed(&cluster, fault).await;
        drop(greedy);
        jobs_on_n2(&cluster, 0).await;
        // All of it came back: once more as many.
        let again: Vec<_> = (0..most).map(|_| cast(&cluster, "n1", "forever", 0)).collect();
        jobs_on_n2(&cluster, most).await;
        assert_eq!(refused(cast(&cluster, "n1", "echo", 1)).await, ExitReason::TooManyJobsInAll);
        drop(again);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_at_its_floor_is_refused_once_the_pool_is_empty_and_not_before() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, Limits { jobs_max: 24, jobs_total_max: 24, ..Limits::default() }).await;
        let (floor, most) = job_shares(mode, 24);
        let greedy: Vec<_> = (0..most).map(|_| cast(&cluster, "n1", "forever", 0)).collect();
        let others: Vec<_> = (0..floor).map(|_| cast(&cluster, "n3", "forever", 0)).collect();
        jobs_on_n2(&cluster, most + floor).await;
        assert_eq!(refused(cast(&cluster, "n3", "echo", 1)).await, ExitReason::TooManyJobsInAll);
        drop(greedy);
        jobs_on_n2(&cluster, floor).await;
        assert_eq!(cast(&cluster, "n3", "echo", 1).reply().await.map(|reply| reply.len()), Ok(1));
        drop(others);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bytes_of_arguments_are_bounded_in_all() {
    in_every_mode(async |mode| {
        let limits = Limits {
            payload_bytes_max: 100,
            inline_bytes_max: 100,
            job_bytes_max: 2_400,
            job_bytes_total_max: 2_400,
            ..Limits::default()
        };
        let cluster = cluster(mode, limits).await;
        let most = job_shares(mode, 2_400).1 / 100;
        let mut greedy: Vec<_> = (0..most).map(|_| cast(&cluster, "n1", "forever", 100)).collect();
        jobs_on_n2(&cluster, most).await;
        let fault = async {
            assert_eq!(refused(cast(&cluster, "n1", "echo", 100)).await, ExitReason::TooManyBytesInAll);
            assert_eq!(cast(&cluster, "n3", "echo", 100).reply().await.map(|reply| reply.len()), Ok(100));
            drop(greedy.pop());
            assert_eq!(cast(&cluster, "n1", "echo", 100).reply().await.map(|reply| reply.len()), Ok(100));
        };
        undisturbed(&cluster, fault).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded_in_all() {
    in_every_mode(async |mode| {
        let cluster = cluster(mode, Limits { streams_max: 24, streams_total_max: 24, ..Limits::default() }).await;
        let most = job_shares(mode, 24).1;
        let opened = async |from: &str| {
            let mut stream = cast(&cluster, from, "endless", 0);
            assert_eq!(within("the stream", stream.next()).await, Some(Answer::StreamInit));
            stream
        };
        let fault = async {
            let mut greedy = Vec::new();
            for _ in 0..most {
                greedy.push(opened("n1").await);
            }
            assert_eq!(refused(cast(&cluster, "n1", "endless", 0)).await, ExitReason::TooManyStreamsInAll);
            let of_n3 = opened("n3").await;
            drop(greedy.pop());
            greedy.push(opened("n1").await);
            drop((greedy, of_n3));
        };
        undisturbed(&cluster, fault).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn buffers_are_bounded_in_all_in_frames_and_in_bytes_and_each_peers_has_its_floor() {
    in_every_mode(async |mode| {
        let of_frames = Limits { buffered_frames_max: 12, buffered_frames_total_max: 12, ..Limits::default() };
        let of_bytes = Limits {
            payload_bytes_max: 100,
            inline_bytes_max: 100,
            buffered_bytes_max: 1_200,
            buffered_bytes_total_max: 1_200,
            ..Limits::default()
        };
        for limits in [of_frames, of_bytes] {
            let cluster = cluster(mode, limits).await;
            let (floor, most) = shares(12, MEMBERS);
            let fault = async {
                for other in ["n2", "n3"] {
                    cut_off(&cluster, "n1", other).await;
                }
                let n1 = cluster.node("n1");
                let send = |to: &str| n1.cast(&name(to), Request::new("echo", vec![7; 100])).expect("a member");
                let mut to_n2: Vec<_> = (0..most).map(|_| send("n2")).collect();
                assert_eq!((peer(&n1, "n2").stats.buffered, peer(&n1, "n2").stats.dropped), (most, 0));
                to_n2.push(send("n2"));
                assert_eq!((peer(&n1, "n2").stats.buffered, peer(&n1, "n2").stats.dropped), (most, 1));
                let dropped = to_n2.remove(0).reply().await.expect_err("the oldest is dropped");
                assert_eq!(dropped, CallError::DroppedInAll);
                assert!(dropped.did_not_run());
                // What waits for n3 has its floor, and drops its own oldest beyond.
                let mut to_n3: Vec<_> = (0..=floor).map(|_| send("n3")).collect();
                assert_eq!((peer(&n1, "n3").stats.buffered, peer(&n1, "n3").stats.dropped), (floor, 1));
                assert_eq!(to_n3.remove(0).reply().await, Err(CallError::DroppedInAll));
                for other in ["n2", "n3"] {
                    cluster.heal("n1", other);
                }
                for call in to_n2.into_iter().chain(to_n3) {
                    assert_eq!(within("the reply", call.reply()).await.map(|reply| reply.len()), Ok(100));
                }
                let connected = |of| peer(&n1, of).presence == PeerPresence::Connected;
                assert!(connected("n2") && connected("n3"));
            };
            undisturbed(&cluster, fault).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn floors_are_shared_out_anew_when_a_member_leaves_and_when_one_joins() {
    in_every_mode(async |mode| {
        // What is held while the members change is counted as it is given back.
        for held_meanwhile in [false, true] {
            let cluster = cluster(mode, Limits { jobs_max: 24, jobs_total_max: 24, ..Limits::default() }).await;
            let (n2, servers) = (cluster.node("n2"), if mode.is_dual() { 2 } else { 1 });
            // As many as n1 gets while n2 has this many members.
            for members in [3, 2, 3, 2] {
                let (_, most) = shares(24, members * servers);
                let greedy: Vec<_> = (0..most).map(|_| cast(&cluster, "n1", "forever", 0)).collect();
                jobs_on_n2(&cluster, most).await;
                assert_eq!(
                    refused(cast(&cluster, "n1", "echo", 1)).await,
                    ExitReason::TooManyJobsInAll,
                    "{members} members"
                );
                let greedy = held_meanwhile.then_some(greedy);
                if greedy.is_none() {
                    jobs_on_n2(&cluster, 0).await;
                }
                match n2.members().len() {
                    3 => n2.remove_member(&name("n3")).expect("a member"),
                    _ => n2.add_member(name("n3"), cluster.address("n3")).expect("no member any more"),
                }
                drop(greedy);
                jobs_on_n2(&cluster, 0).await;
            }
        }
    })
    .await;
}
