//! One server by itself: kills, tombstones, resumes, bounds, its end.

use super::*;
use crate::message::Cast;
use crate::phase::Servers;
use crate::pool::{NodePool, Total};

pub(crate) const CALLER: Caller = Caller { peer: PeerId(1), incarnation: Incarnation(7) };

/// The connection on which it resumes.
const CONNECTION: ConnectionId = ConnectionId(3);

pub(crate) fn server(jobs_max: usize, tombstones_max: usize) -> Server {
    Server::new(ServerAddress::PerNode, &Limits { jobs_max, tombstones_max, ..Limits::default() })
}

pub(crate) fn cast(call: u64) -> ServerRequest {
    let call = CallRef(call);
    let (function, body) = ("f".into(), Bytes::new());
    ServerRequest::Cast(Cast { call, function, time_left: None, nonce: 0, trace: None, body })
}

pub(crate) fn kill(calls: &[u64]) -> ServerRequest {
    ServerRequest::Kill(calls.iter().map(|&call| CallRef(call)).collect())
}

pub(crate) fn resume(calls: &[u64]) -> ServerRequest {
    ServerRequest::Resume(CONNECTION, calls.iter().map(|&call| CallRef(call)).collect())
}

pub(crate) fn outputs(server: &mut Server) -> Vec<ServerOutput> {
    std::iter::from_fn(|| server.poll_output()).collect()
}

/// Casts, and gives the job that runs for it.
pub(crate) fn spawn(server: &mut Server, call: u64) -> JobKey {
    server.handle_request(CALLER, cast(call));
    match &outputs(server)[..] {
        [ServerOutput::Job(JobOutput::Spawn(job, _))] => *job,
        other => panic!("no spawn: {other:?}"),
    }
}

/// What the server says on a request.
pub(crate) fn told(server: &mut Server, request: ServerRequest) -> Vec<Message> {
    server.handle_request(CALLER, request);
    messages(server)
}

pub(crate) fn messages(server: &mut Server) -> Vec<Message> {
    let answer = |output| match output {
        ServerOutput::Answer(caller, message) => {
            assert_eq!(caller, CALLER);
            Some(message)
        }
        ServerOutput::Lost(caller, connection, call) => {
            assert_eq!((caller, connection), (CALLER, CONNECTION));
            Some(exit(call.0, "", ExitReason::ConnectionLost))
        }
        _ => None,
    };
    outputs(server).into_iter().filter_map(answer).collect()
}

pub(crate) fn exit(call: u64, function: &str, reason: ExitReason) -> Message {
    Message::Exit(Exit { call: CallRef(call), replies: 0, function: function.into(), reason })
}

#[test]
fn a_killed_job_is_aborted_once_and_says_nothing() {
    let mut server = server(9, 9);
    let job = spawn(&mut server, 1);
    server.handle_request(CALLER, kill(&[1]));
    assert_eq!(outputs(&mut server), [ServerOutput::Job(JobOutput::Abort(job))]);
    server.handle_request(CALLER, kill(&[1]));
    server.handle_end(job, JobEnding::Reply(Bytes::new()));
    assert!(!server.handle_reply(job, Bytes::new()) && !server.handle_ping(job));
    assert_eq!(outputs(&mut server), []);
    assert_eq!(server.jobs(), 0);
}

#[test]
fn a_kill_reaches_only_the_job_of_its_own_caller() {
    let mut server = server(9, 9);
    spawn(&mut server, 1);
    for other in [Caller { peer: PeerId(2), ..CALLER }, Caller { incarnation: Incarnation(8), ..CALLER }] {
        server.handle_request(other, kill(&[1]));
    }
    assert_eq!(outputs(&mut server), []);
    assert_eq!(server.jobs(), 1);
}

#[test]
fn a_cast_behind_its_kill_does_not_start_as_far_as_kills_are_remembered() {
    let mut server = server(9, 2);
    assert_eq!(told(&mut server, kill(&[1, 2])), []);
    assert_eq!(told(&mut server, cast(1)), [exit(1, "f", ExitReason::Killed)]);
    // One more than are remembered: the oldest is forgotten.
    assert_eq!(told(&mut server, kill(&[3])), []);
    assert_eq!(told(&mut server, cast(2)), [exit(2, "f", ExitReason::Killed)]);
    assert_eq!(told(&mut server, cast(3)), [exit(3, "f", ExitReason::Killed)]);
    spawn(&mut server, 1);
    assert_eq!(server.jobs(), 1);
}

#[test]
fn a_server_that_may_remember_no_kill_remembers_none() {
    let mut server = server(9, 0);
    assert_eq!(told(&mut server, kill(&[1, 2])), []);
    assert!(server.tombstones.is_empty());
    spawn(&mut server, 1);
    spawn(&mut server, 2);
    assert_eq!(server.jobs(), 2);
}

#[test]
fn a_kill_of_an_earlier_life_does_not_reach_the_next() {
    let mut server = server(9, 9);
    server.handle_request(CALLER, kill(&[1]));
    server.handle_request(Caller { incarnation: Incarnation(8), ..CALLER }, cast(1));
    assert!(matches!(outputs(&mut server)[..], [ServerOutput::Job(JobOutput::Spawn(..))]));
}

#[test]
fn a_reference_in_use_is_refused_and_free_again_after_the_end() {
    let mut server = server(9, 9);
    let first = spawn(&mut server, 1);
    assert_eq!(told(&mut server, cast(1)), [exit(1, "f", ExitReason::DuplicateRef)]);
    server.handle_end(first, JobEnding::Exit(ExitReason::Done));
    assert_eq!(messages(&mut server), [exit(1, "f", ExitReason::Done)]);
    let second = spawn(&mut server, 1);
    assert_ne!(first, second);
    server.handle_end(first, JobEnding::Exit(ExitReason::Done));
    assert_eq!(outputs(&mut server), [], "the late end of another job");
    assert_eq!(server.jobs(), 1);
}

#[test]
fn as_many_jobs_run_for_a_peer_as_may_and_one_more_after_an_end() {
    let mut server = server(2, 9);
    let job = spawn(&mut server, 1);
    spawn(&mut server, 2);
    assert_eq!(told(&mut server, cast(3)), [exit(3, "f", ExitReason::TooManyJobs)]);
    server.handle_request(Caller { peer: PeerId(2), ..CALLER }, cast(3));
    assert!(
        matches!(outputs(&mut server)[..], [ServerOutput::Job(JobOutput::Spawn(..))]),
        "another peer has its own bound"
    );
    server.handle_end(job, JobEnding::NoSuchFunction);
    assert_eq!(messages(&mut server), [Message::NoSuchFunction(CallRef(1))]);
    spawn(&mut server, 3);
}

#[test]
fn a_resume_ends_what_its_caller_forgot_and_tells_what_is_lost() {
    let mut server = server(9, 9);
    let job = spawn(&mut server, 1);
    spawn(&mut server, 2);
    server.handle_request(CALLER, resume(&[2, 3]));
    let lost = ServerOutput::Lost(CALLER, CONNECTION, CallRef(3));
    assert_eq!(outputs(&mut server), [ServerOutput::Job(JobOutput::Abort(job)), lost]);
    assert_eq!(server.calls().collect::<Vec<_>>(), [(CALLER, CallRef(2))]);
}

#[test]
fn replies_carry_how_many_came_before() {
    let mut server = server(9, 9);
    let job = spawn(&mut server, 1);
    assert!(
        server.handle_reply(job, Bytes::new()) && server.handle_ping(job) && server.handle_reply(job, Bytes::new())
    );
    server.handle_end(job, JobEnding::Reply(Bytes::new()));
    let numbers = messages(&mut server).into_iter().filter_map(|message| match message {
        Message::Reply(reply) => Some((reply.number, reply.form == ReplyForm::Last)),
        _ => None,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [(0, false), (1, false), (2, true)]);
}

#[test]
fn a_reply_at_the_limit_goes_out_and_one_byte_more_ends_the_job() {
    let mut server = Server::new(ServerAddress::PerNode, &Limits { payload_bytes_max: 4, ..Limits::default() });
    let (fits, exceeds) = (Bytes::from_static(b"1234"), Bytes::from_static(b"12345"));
    let job = spawn(&mut server, 1);
    assert!(server.handle_reply(job, fits.clone()));
    assert!(!server.handle_reply(job, exceeds.clone()));
    assert!(matches!(&messages(&mut server)[1], Message::Exit(exit) if exit.reason == ExitReason::ReplyTooLarge));
    let job = spawn(&mut server, 2);
    server.handle_end(job, JobEnding::Reply(exceeds));
    assert_eq!(messages(&mut server), [exit(2, "f", ExitReason::ReplyTooLarge)]);
    let job = spawn(&mut server, 3);
    server.handle_end(job, JobEnding::Reply(fits));
    assert!(matches!(&messages(&mut server)[..], [Message::Reply(reply)] if reply.form == ReplyForm::Last));
}

#[test]
fn a_draining_server_refuses_casts_and_finishes_jobs() {
    let mut server = server(9, 9);
    let job = spawn(&mut server, 1);
    server.drain();
    assert_eq!(told(&mut server, cast(2)), [exit(2, "f", ExitReason::Draining)]);
    server.handle_end(job, JobEnding::Reply(Bytes::new()));
    assert!(matches!(&messages(&mut server)[..], [Message::Reply(reply)] if reply.form == ReplyForm::Last));
}

#[test]
fn a_server_that_ends_tells_callers_and_monitors_once() {
    let mut server = server(9, 9);
    spawn(&mut server, 1);
    for monitor in [1, 2] {
        server.handle_request(CALLER, ServerRequest::Monitor(MonitorRef(monitor)));
    }
    server.handle_request(CALLER, ServerRequest::Demonitor(MonitorRef(2)));
    server.end(DownReason::Shutdown);
    let down = |monitor| Message::Down(MonitorRef(monitor), DownReason::Shutdown);
    assert_eq!(messages(&mut server), [exit(1, "f", ExitReason::ServerEnded), down(1)]);
    server.end(DownReason::Shutdown);
    assert_eq!(outputs(&mut server), []);
    assert_eq!(told(&mut server, ServerRequest::Monitor(MonitorRef(3))), [down(3)], "who comes late hears at once");
    assert_eq!(told(&mut server, cast(4)), [exit(4, "f", ExitReason::Draining)]);
}

#[test]
fn a_resume_replaces_what_is_watched() {
    let mut server = server(9, 9);
    server.handle_request(CALLER, ServerRequest::Monitor(MonitorRef(1)));
    server.handle_request(CALLER, resume(&[]));
    server.handle_request(CALLER, ServerRequest::Monitor(MonitorRef(2)));
    server.end(DownReason::Shutdown);
    assert_eq!(messages(&mut server), [Message::Down(MonitorRef(2), DownReason::Shutdown)]);
}

#[test]
fn a_forgotten_peer_leaves_nothing() {
    let mut server = server(1, 9);
    let job = spawn(&mut server, 1);
    server.handle_request(CALLER, ServerRequest::Monitor(MonitorRef(1)));
    server.handle_request(CALLER, kill(&[2]));
    server.handle_request(CALLER, ServerRequest::Forget);
    assert_eq!(outputs(&mut server), [ServerOutput::Job(JobOutput::Abort(job))]);
    spawn(&mut server, 2);
    server.end(DownReason::Shutdown);
    assert_eq!(messages(&mut server), [exit(2, "f", ExitReason::ServerEnded)]);
}

/// One server of a node with two members: a job, 15 bytes and a stream each as floors; 5, 30 and 3 in the pool.
fn bounded_in_all() -> Server<NodePool> {
    let limits = Limits { jobs_total_max: 7, job_bytes_total_max: 60, streams_total_max: 5, ..Limits::default() };
    let pool = NodePool::new(&limits, 2, Servers::SINGLETON);
    assert_eq!(Total::ALL[..3].iter().map(|&total| pool.floor(total)).collect::<Vec<_>>(), [1, 15, 1]);
    Server::with_pool(ServerAddress::Singleton, &limits, pool)
}

const OTHER: Caller = Caller { peer: PeerId(2), incarnation: Incarnation(7) };

fn sized(call: u64, bytes: usize) -> ServerRequest {
    let (call, function, body) = (CallRef(call), "f".into(), vec![0; bytes].into());
    ServerRequest::Cast(Cast { call, function, time_left: None, nonce: 0, trace: None, body })
}

/// Casts, and gives the job that runs, or why none does.
fn asked(server: &mut Server<NodePool>, caller: Caller, request: ServerRequest) -> Result<JobKey, ExitReason> {
    server.handle_request(caller, request);
    match server.poll_output() {
        Some(ServerOutput::Job(JobOutput::Spawn(job, _))) => Ok(job),
        Some(ServerOutput::Answer(_, Message::Exit(exit))) => Err(exit.reason),
        other => panic!("neither job nor exit: {other:?}"),
    }
}

#[test]
fn a_greedy_peer_takes_the_pool_and_nobody_elses_floor() {
    let mut server = bounded_in_all();
    let whole = server.pool.clone();
    let jobs: Vec<_> = (0..6).map(|call| asked(&mut server, CALLER, cast(call)).expect("there is room")).collect();
    assert_eq!(asked(&mut server, CALLER, cast(9)), Err(ExitReason::TooManyJobsInAll));
    let held = asked(&mut server, OTHER, cast(9)).expect("its floor is kept for it");
    assert_eq!(asked(&mut server, OTHER, cast(10)), Err(ExitReason::TooManyJobsInAll), "which is no more than that");
    server.handle_end(jobs[0], JobEnding::Exit(ExitReason::Done));
    server.poll_output();
    asked(&mut server, OTHER, cast(11)).expect("what one gives back another may take");
    assert_eq!(asked(&mut server, CALLER, cast(12)), Err(ExitReason::TooManyJobsInAll));
    server.handle_request(CALLER, ServerRequest::Forget);
    server.handle_request(OTHER, kill(&[11]));
    server.handle_end(held, JobEnding::Reply(Bytes::new()));
    assert_eq!((server.jobs(), &server.pool), (0, &whole), "however jobs end, their room comes back");
    assert_eq!(server.shares, BTreeMap::new());
}

#[test]
fn bytes_of_arguments_are_bounded_in_all_and_a_refusal_takes_nothing() {
    let mut server = bounded_in_all();
    let whole = server.pool.clone();
    asked(&mut server, CALLER, sized(1, 45)).expect("15 of its own and all 30 of the pool");
    assert_eq!(asked(&mut server, CALLER, sized(2, 1)), Err(ExitReason::TooManyBytesInAll));
    let after = server.pool.clone();
    assert_eq!(asked(&mut server, OTHER, sized(3, 16)), Err(ExitReason::TooManyBytesInAll));
    assert_eq!((server.job_bytes(), &server.pool), (45, &after));
    asked(&mut server, OTHER, sized(3, 15)).expect("its floor is kept for it");
    server.end(DownReason::Shutdown);
    assert_eq!(server.pool, whole, "a server that ends gives all back");
}

#[test]
fn streams_are_bounded_in_all_and_only_who_holds_more_than_its_floor_is_refused() {
    let mut server = bounded_in_all();
    let item = Bytes::from_static(b"item");
    let mut greedy: Vec<_> =
        (0..5).map(|call| asked(&mut server, CALLER, cast(call)).expect("there is room")).collect();
    let one_more = greedy.pop().expect("five run");
    for job in greedy {
        assert_eq!(server.handle_item(job, &mut item.clone(), None), ItemStep::Wait, "1 of its own and 3 of the pool");
    }
    outputs_of(&mut server);
    assert_eq!(server.handle_item(one_more, &mut item.clone(), None), ItemStep::Over);
    let exit = Message::Exit(Exit {
        call: one_more.call,
        replies: 0,
        function: "f".into(),
        reason: ExitReason::TooManyStreamsInAll,
    });
    assert_eq!(
        outputs_of(&mut server),
        [ServerOutput::Answer(CALLER, exit), ServerOutput::Job(JobOutput::Abort(one_more))]
    );
    let other = asked(&mut server, OTHER, cast(9)).expect("there is room");
    assert_eq!(server.handle_item(other, &mut item.clone(), None), ItemStep::Wait, "its floor is kept for it");
}

fn outputs_of(server: &mut Server<NodePool>) -> Vec<ServerOutput> {
    std::iter::from_fn(|| server.poll_output()).collect()
}
