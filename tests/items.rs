//! How a job's items leave: those that it has ready in one turn as one frame, one that is made alone at once. n3 is a
//! script in place of the caller, on a paused clock.

use std::time::Duration;

use rexi_proto::{Body, CallRef, Cast, Exit, ItemBatch, ItemList, Message, Reply, ReplyForm};
use rexi_server::{Bytes, Context, ExitReason, JobOver};
use rexi_tests::{Mode, Script, in_every_mode};
use tokio::time::Instant;

const CALL: CallRef = CallRef(1);

/// Streams as many items as it is asked for, and then waits for ever.
async fn count(mut job: Context, argument: Bytes) -> Result<(), JobOver> {
    for number in 0..argument[0] {
        job.stream(vec![number]).await?;
    }
    std::future::pending().await
}

/// Streams one item, says something else, and streams on.
async fn talk(mut job: Context, _: Bytes) -> Result<(), JobOver> {
    job.set_stream_window(100);
    job.stream(vec![0]).await?;
    job.stream(vec![1]).await?;
    job.reply("plain")?;
    job.stream(vec![3]).await?;
    job.ping()?;
    for length in [1, 1_024, 1_025, 40_000, 2] {
        job.stream(vec![7; length]).await?;
    }
    job.stream_last("all").await
}

/// Streams from a task of its own.
async fn aside(mut job: Context, _: Bytes) -> Result<(), JobOver> {
    let task = tokio::spawn(async move {
        for number in 0..3 {
            job.stream(vec![number]).await?;
        }
        Ok(())
    });
    task.await.expect("it does not panic")
}

/// Streams one item, and panics.
async fn panics(mut job: Context, _: Bytes) -> Result<(), JobOver> {
    job.stream(vec![0]).await?;
    panic!("on purpose");
}

/// A job of n1 whose stream is started.
async fn streaming(mode: Mode, function: &'static str, argument: u8) -> Script {
    let script = mode.script(|node| {
        let node = node.function("count", count).function("talk", talk);
        node.function("aside", aside).function("panics", panics)
    });
    let mut script = script.await;
    let (function, body) = (function.into(), Body::Inline(Bytes::from(vec![argument])));
    let cast = Cast { call: CALL, function, time_left: None, nonce: 0, trace: None, body };
    script.says(&Message::Cast(mode.server, cast)).await;
    assert_eq!(script.hears().await, Message::StreamInit(CALL));
    script.says(&Message::StreamStart(mode.server, CALL)).await;
    script
}

fn reply(number: u64, form: ReplyForm, body: &[u8]) -> Message {
    Message::Reply(Reply { call: CALL, number, form, body: Body::Inline(Bytes::copy_from_slice(body)) })
}

fn items(number: u64, items: &[&[u8]]) -> Message {
    let mut list = ItemList::default();
    assert!(items.iter().all(|item| list.push(item)));
    Message::Items(ItemBatch { call: CALL, number, list })
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_in_one_turn_is_one_frame_and_no_more_than_the_window() {
    in_every_mode(async |mode| {
        let mut script = streaming(mode, "count", 9).await;
        assert_eq!(script.hears().await, items(0, &[&[0], &[1], &[2], &[3], &[4]]));
        script.says(&Message::Ack(mode.server, CALL, 3)).await;
        assert_eq!(script.hears().await, items(5, &[&[5], &[6], &[7]]));
        script.says(&Message::Ack(mode.server, CALL, 4)).await;
        assert_eq!(script.hears().await, reply(8, ReplyForm::Item, &[8]), "it is the last, and waits for no other");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_made_alone_leaves_at_once() {
    in_every_mode(async |mode| {
        let mut script = streaming(mode, "count", 1).await;
        let started = Instant::now();
        assert_eq!(script.hears().await, reply(0, ReplyForm::Item, &[0]));
        assert!(started.elapsed() < Duration::from_millis(100), "no timer has held it back: {:?}", started.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn items_keep_their_order_with_all_else_that_the_job_says_and_with_large_ones_among_them() {
    in_every_mode(async |mode| {
        let mut script = streaming(mode, "talk", 0).await;
        assert_eq!(script.hears().await, items(0, &[&[0], &[1]]));
        assert_eq!(script.hears().await, reply(2, ReplyForm::Plain, b"plain"));
        assert_eq!(script.hears().await, reply(3, ReplyForm::Item, &[3]));
        assert_eq!(script.hears().await, Message::Ping(CALL));
        assert_eq!(script.hears().await, items(4, &[&[7][..], &[7; 1_024]]));
        assert_eq!(script.hears().await, reply(6, ReplyForm::Item, &[7; 1_025]), "not worth a copy");
        let large = script.hears().await;
        let Message::Reply(Reply { number: 7, form: ReplyForm::Item, body: Body::Bulk(_, 40_000), .. }) = large else {
            panic!("not the large one: {large:?}");
        };
        assert_eq!(script.hears().await, reply(8, ReplyForm::Item, &[7; 2]));
        assert_eq!(script.hears().await, reply(9, ReplyForm::Plain, b"all"));
        let exit = Exit { call: CALL, replies: 10, function: "talk".into(), reason: ExitReason::Done };
        assert_eq!(script.hears().await, Message::Exit(exit));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_task_beside_the_job_has_no_turn_and_each_of_its_items_leaves_by_itself() {
    in_every_mode(async |mode| {
        let mut script = streaming(mode, "aside", 0).await;
        for number in 0..3 {
            assert_eq!(script.hears().await, reply(number, ReplyForm::Item, &[number as u8]));
        }
        let exit = Exit { call: CALL, replies: 3, function: "aside".into(), reason: ExitReason::Done };
        assert_eq!(script.hears().await, Message::Exit(exit));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_panic_has_left() {
    in_every_mode(async |mode| {
        let mut script = streaming(mode, "panics", 0).await;
        assert_eq!(script.hears().await, reply(0, ReplyForm::Item, &[0]));
        let reason = ExitReason::Panicked("on purpose".into());
        let exit = Exit { call: CALL, replies: 1, function: "panics".into(), reason };
        assert_eq!(script.hears().await, Message::Exit(exit));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_is_as_long_as_it_may_be_and_the_next_item_opens_another() {
    in_every_mode(async |mode| {
        let script = mode.script(|node| {
            node.function("many", |mut job: Context, _| async move {
                job.set_stream_window(100);
                for _ in 0..9 {
                    // With a length of two bytes, eight are a list of full length.
                    job.stream(vec![7; 510]).await?;
                }
                Ok::<_, JobOver>(())
            })
        });
        let mut script = script.await;
        let body = Body::Inline(Bytes::new());
        let cast = Cast { call: CALL, function: "many".into(), time_left: None, nonce: 0, trace: None, body };
        script.says(&Message::Cast(mode.server, cast)).await;
        assert_eq!(script.hears().await, Message::StreamInit(CALL));
        script.says(&Message::StreamStart(mode.server, CALL)).await;
        assert_eq!(script.hears().await, items(0, &[&[7; 510][..]; 8]));
        assert_eq!(script.hears().await, reply(8, ReplyForm::Item, &[7; 510]));
    })
    .await;
}
