//! Reply streams and questions between real nodes, in every mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use rexi_server::{
    Answer, Bytes, CallError, CallRef, Context, Event, ExitReason, JobOver, Limits, Mailbox, Node, NodeBuilder,
    Request, jobs::QuestionError,
};
use rexi_tests::{Mode, idle, in_every_mode, name, pass, until, within};
use tokio::sync::Notify;
use tokio::time::Instant;

/// n1 and n2 of that mode with the functions of these tests, built further by `build`.
async fn pair(mode: Mode, build: impl Fn(NodeBuilder) -> NodeBuilder + Send + Sync + 'static) -> (Node, Node) {
    mode.pair(move |node| build(node.function("count", count).function("ask", ask))).await
}

/// Streams as many numbers as it is asked for, and says in the end that these were all.
async fn count(mut job: Context, argument: Bytes) -> Result<(), JobOver> {
    for number in 0..u32::from(argument[0]) {
        job.stream(number.to_le_bytes().to_vec()).await?;
    }
    job.stream_last("all").await
}

/// Asks its caller for a word, and replies with it twice.
async fn ask(mut job: Context, _: Bytes) -> Result<Bytes, QuestionError> {
    let word = job.sync_reply("a word?", Duration::from_secs(20)).await?;
    Ok([&word[..], &word[..]].concat().into())
}

fn number(item: &Bytes) -> u32 {
    u32::from_le_bytes(item[..].try_into().expect("a number"))
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_every_item_in_order_and_ends() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| node).await;
        let items = n1.stream(&name("n2"), Request::new("count", vec![50])).expect("a member");
        let items: Vec<_> = within("the items", items.map(|item| item.expect("no error")).collect()).await;
        let (last, numbers) = items.split_last().expect("there are some");
        assert_eq!(numbers.iter().map(number).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
        assert_eq!(last, "all");
        assert_eq!((n1.status().calls, n2.status().streams), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_slowly_acknowledges_each_item_before_the_job_gives_up() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| node).await;
        let mut items = n1.stream(&name("n2"), Request::new("count", vec![20])).expect("a member");
        for expected in 0..20 {
            // A job waits for 300 s, so it must not wait for the next but one.
            pass(Duration::from_secs(200)).await;
            let item = within("an item", items.next()).await.expect("an item").expect("no error");
            assert_eq!(number(&item), expected);
        }
        assert_eq!(within("the last one", items.next()).await, Some(Ok("all".into())));
        assert_eq!((within("the end", items.next()).await, n2.status().streams), (None, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_is_never_further_ahead_than_the_window() {
    in_every_mode(async |mode| {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let (n1, _n2) = pair(mode, move |node| {
            let counter = Arc::clone(&counter);
            node.function("endless", move |mut job: Context, _| {
                let sent = Arc::clone(&counter);
                async move {
                    loop {
                        job.stream("item").await?;
                        sent.fetch_add(1, Ordering::SeqCst);
                    }
                    #[expect(unreachable_code, reason = "it says what the function would return")]
                    Ok::<(), JobOver>(())
                }
            })
        })
        .await;
        let mut call = n1.cast(&name("n2"), Request::new("endless", "")).expect("a member");
        assert_eq!(within("the request", call.next()).await, Some(Answer::StreamInit));
        assert_eq!(sent.load(Ordering::SeqCst), 0, "nothing goes before the start");
        assert!(call.start() && !call.start(), "a stream is started once");
        for taken in 0..12 {
            assert!(taken < 5 || call.ack(1));
            let item = within("an item", call.next()).await;
            assert_eq!(item, Some(Answer::Item { body: "item".into() }));
        }
        // Twelve came and seven are acknowledged, so the job waits; the worker counts an item after it was sent.
        until("the job to wait", &n1, |_| sent.load(Ordering::SeqCst) == 12).await;
        assert!(!call.ack(6), "there are only five");
        drop(call);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cancelled_ends_its_job_normally() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| node).await;
        let mut call = n1.cast(&name("n2"), Request::new("count", vec![9])).expect("a member");
        assert_eq!(within("the request", call.next()).await, Some(Answer::StreamInit));
        assert!(call.cancel());
        let done = Answer::Exit { function: "count".into(), reason: ExitReason::Done };
        assert_eq!(within("the end", call.next()).await, Some(done));
        until("the job to be gone", &n2, |n2| n2.status().jobs == 0).await;
        let timeouts = n2.status().stream_timeouts;
        assert_eq!(timeouts.init_stream + timeouts.stream + timeouts.wait_for_ack, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_kills_its_job() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| node).await;
        let mut items = n1.stream(&name("n2"), Request::new("count", vec![200])).expect("a member");
        assert!(within("an item", items.next()).await.is_some());
        drop(items);
        until("the job to be gone", &n2, |n2| n2.status().jobs == 0 && n2.status().streams == 0).await;
        assert_eq!(n1.status().calls, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_ends_its_own_stream_and_is_counted() {
    in_every_mode(async |mode| {
        let limits = Limits { stream_time_limit: Duration::from_millis(50), ..Limits::default() };
        let (n1, n2) = pair(mode, move |node| node.limits(limits.clone())).await;
        let end = Answer::Exit { function: "count".into(), reason: ExitReason::StreamTimeout };
        let mut unanswered = n1.cast(&name("n2"), Request::new("count", vec![9])).expect("a member");
        assert_eq!(within("the request", unanswered.next()).await, Some(Answer::StreamInit));
        assert_eq!(within("the end", unanswered.next()).await, Some(end.clone()));
        let mut stalled = n1.cast(&name("n2"), Request::new("count", vec![9])).expect("a member");
        assert_eq!(within("the request", stalled.next()).await, Some(Answer::StreamInit));
        stalled.start();
        let mut items = 0;
        while let Some(answer) = within("an answer", stalled.next()).await {
            match answer {
                Answer::Item { .. } => items += 1,
                answer => assert_eq!(answer, end),
            }
        }
        assert_eq!(items, 5);
        let timeouts = n2.status().stream_timeouts;
        assert_eq!((timeouts.init_stream, timeouts.stream, timeouts.wait_for_ack), (1, 1, 1));
        assert_eq!(within("another call", n1.call(&name("n2"), Request::new("echo", "x"))).await, Ok("x".into()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_large_item_does_not_hold_up_others() {
    in_every_mode(async |mode| {
        let (n1, _n2) = pair(mode, |n2| {
            n2.function("large", |mut job: Context, _| async move {
                for size in [2_000_000, 1, 2_000_000, 2] {
                    job.stream(vec![7; size]).await?;
                }
                Ok::<_, JobOver>(())
            })
        })
        .await;
        let items = n1.stream(&name("n2"), Request::new("large", "")).expect("a member");
        let sizes = items.map(|item| item.expect("no error").len()).collect::<Vec<_>>();
        let small = async {
            for _ in 0..100 {
                n1.call(&name("n2"), Request::new("echo", "x")).await.expect("an echo");
            }
        };
        let (sizes, ()) = within("both", async { tokio::join!(sizes, small) }).await;
        assert_eq!(sizes, [2_000_000, 1, 2_000_000, 2], "items keep their order");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_for_the_callers_response() {
    in_every_mode(async |mode| {
        let (n1, _n2) = pair(mode, |node| node).await;
        let mut call = n1.cast(&name("n2"), Request::new("ask", "")).expect("a member");
        let Some(Answer::Question { number, body }) = within("the question", call.next()).await else {
            panic!("no question");
        };
        assert_eq!(body, "a word?");
        assert!(call.respond(number, "hey"));
        assert_eq!(within("the reply", call.next()).await, Some(Answer::Reply { body: "heyhey".into(), last: true }));
        let mut large = n1.cast(&name("n2"), Request::new("ask", "")).expect("a member");
        let Some(Answer::Question { number, .. }) = within("the question", large.next()).await else {
            panic!("no question");
        };
        assert!(!large.respond(number, vec![1; 5 << 20]), "it is above the limit");
        assert!(large.respond(number, vec![1; 1 << 20]));
        let reply = within("the reply", large.next()).await;
        assert!(matches!(reply, Some(Answer::Reply { body, last: true }) if body.len() == 2 << 20));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_question_without_a_response_is_the_jobs_to_deal_with() {
    in_every_mode(async |mode| {
        let (n1, _n2) = pair(mode, |n2| {
            n2.function("impatient", |mut job: Context, _| async move {
                let limit = Duration::from_millis(20);
                let unanswered = job.sync_reply("well?", limit).await;
                assert_eq!(unanswered, Err(QuestionError::TimedOut(limit)));
                Ok::<_, String>(Bytes::from("never mind"))
            })
        })
        .await;
        let mut call = n1.cast(&name("n2"), Request::new("impatient", "")).expect("a member");
        assert!(matches!(within("the question", call.next()).await, Some(Answer::Question { .. })));
        let reply = Answer::Reply { body: "never mind".into(), last: true };
        assert_eq!(within("the reply", call.next()).await, Some(reply));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_one_reply_is_told_that_there_is_a_stream_or_a_question() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| node).await;
        for (function, error) in [("count", CallError::IsStream), ("ask", CallError::Asks)] {
            let told = within("the error", n1.call(&name("n2"), Request::new(function, vec![3]))).await;
            assert_eq!(told, Err(error));
        }
        until("the jobs to be gone", &n2, |n2| n2.status().jobs == 0).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_job_has_started_beside_itself_is_told_of_its_kill() {
    in_every_mode(async |mode| {
        let (started, told) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let seen = (Arc::clone(&started), Arc::clone(&told));
        let (n1, _n2) = pair(mode, move |node| {
            let (started, told) = seen.clone();
            node.function("beside", move |job: Context, _| {
                let (started, told) = (Arc::clone(&started), Arc::clone(&told));
                async move {
                    let cancelled = job.cancellation();
                    tokio::spawn(async move {
                        started.notify_one();
                        cancelled.cancelled().await;
                        told.notify_one();
                    });
                    std::future::pending::<Result<(), String>>().await
                }
            })
        })
        .await;
        let call = n1.cast(&name("n2"), Request::new("beside", "")).expect("a member");
        within("the job to start", started.notified()).await;
        drop(call);
        within("its task to be told", told.notified()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_first_item_asks_for_the_stream_and_waits_for_300_s() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| node).await;
        let cast = || n1.cast(&name("n2"), Request::new("count", vec![9])).expect("a member");
        let (mut unanswered, mut late) = (cast(), cast());
        assert_eq!(unanswered.next().await, Some(Answer::StreamInit));
        assert_eq!(late.next().await, Some(Answer::StreamInit));
        let asked = Instant::now();
        pass(Duration::from_secs(299)).await;
        assert!(late.start());
        assert_eq!(late.next().await, Some(Answer::Item { body: vec![0; 4].into() }), "a late start is one");
        let end = Answer::Exit { function: "count".into(), reason: ExitReason::StreamTimeout };
        assert_eq!(unanswered.next().await, Some(end));
        assert_eq!(asked.elapsed().as_secs(), 300);
        let timeouts = n2.status().stream_timeouts;
        assert_eq!((timeouts.init_stream, timeouts.stream, timeouts.wait_for_ack), (1, 0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_item_is_a_plain_reply_that_waits_for_no_acknowledgement() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| node).await;
        // As many items as the window holds, and none at all: the last one asks for the stream then.
        for items in [5, 0] {
            let mut call = n1.cast(&name("n2"), Request::new("count", vec![items])).expect("a member");
            assert_eq!(call.next().await, Some(Answer::StreamInit), "{items} items");
            assert!(call.start());
            for _ in 0..items {
                assert!(matches!(call.next().await, Some(Answer::Item { .. })));
            }
            assert_eq!(call.next().await, Some(Answer::Reply { body: "all".into(), last: false }), "{items} items");
            let done = Answer::Exit { function: "count".into(), reason: ExitReason::Done };
            assert_eq!(call.next().await, Some(done), "{items} items");
        }
        idle(&[n1, n2]).await;
    })
    .await;
}

/// The events of a mailbox in the next second, by call.
async fn next_second(mailbox: &mut Mailbox) -> Vec<(CallRef, Answer)> {
    pass(Duration::from_secs(1)).await;
    let answer = |event| match event {
        Event::Answer(call, answer) => (call, answer),
        other => panic!("nothing is monitored: {other:?}"),
    };
    std::iter::from_fn(|| mailbox.try_recv()).map(answer).collect()
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_reaches_the_job_whose_stream_it_is_for_and_no_other() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2", "n3"], |node, _| node.function("count", count)).await;
        // Two callers that give the same number, which one server of all has to tell apart.
        let (one, other) = (CallRef(1 << 40), CallRef(1 << 41));
        let mut mailboxes = [cluster.node("n1").mailbox(), cluster.node("n3").mailbox()];
        for (mailbox, calls) in mailboxes.iter_mut().zip([&[one, other][..], &[one]]) {
            for &call in calls {
                mailbox.cast_as(call, &name("n2"), Request::new("count", vec![99])).expect("a member");
            }
            let asked = next_second(mailbox).await;
            assert!(asked.len() == calls.len() && asked.iter().all(|(_, answer)| *answer == Answer::StreamInit));
            assert!(calls.iter().all(|&call| mailbox.start(call)));
            assert_eq!(next_second(mailbox).await.len(), 5 * calls.len(), "each its window");
        }
        assert!(mailboxes[0].ack(one, 2));
        let items = next_second(&mut mailboxes[0]).await;
        assert!(items.len() == 2 && items.iter().all(|(call, _)| *call == one), "{items:?}");
        assert_eq!(next_second(&mut mailboxes[1]).await, [], "the other caller's job has not moved");
        mailboxes[1].kill(&[one]);
        assert_eq!(next_second(&mut mailboxes[1]).await, []);
        assert_eq!(cluster.node("n2").status().jobs, 2, "nor was more killed than its own");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_asks_in_its_stream_is_ended_though_the_stream_is_still_held() {
    in_every_mode(async |mode| {
        let (n1, n2) = pair(mode, |node| node).await;
        let mut items = n1.stream(&name("n2"), Request::new("ask", "")).expect("a member");
        assert_eq!(within("the error", items.next()).await, Some(Err(CallError::Asks)));
        let told = Instant::now();
        until("the job to be gone", &n2, |n2| n2.status().jobs == 0 && n1.status().calls == 0).await;
        assert!(told.elapsed() < Duration::from_secs(1), "long before it gives up by itself");
        assert_eq!(within("the end", items.next()).await, None);
    })
    .await;
}
