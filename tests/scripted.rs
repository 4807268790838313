//! What a node says to a member of its own release, and what it makes of that member's messages, one by one and in
//! every mode. The member n3 is a script.

use rexi_proto::{Body, CallRef, Cast, Exit, Message, MonitorRef, Reply, ReplyForm, WireVersion};
use rexi_server::{Bytes, Context, DownReason, ExitReason, JobOver, NodeBuilder, Request, ServerAddress};
use rexi_tests::{Held, MODES, Mode, Script, Witness, in_every_mode, name, release, until, within};

/// Streams as many items as it is asked for.
async fn count(mut job: Context, argument: Bytes) -> Result<(), JobOver> {
    for number in 0..argument[0] {
        job.stream(vec![number]).await?;
    }
    Ok(())
}

async fn script(mode: Mode) -> Script {
    mode.script(|node| node.function("count", count)).await
}

fn cast(server: ServerAddress, call: u64, function: &'static str) -> Message {
    let (call, function, body) = (CallRef(call), function.into(), Body::Inline(Bytes::from_static(&[9])));
    Message::Cast(server, Cast { call, function, time_left: None, nonce: 0, trace: None, body })
}

fn kill(server: ServerAddress, call: u64) -> Message {
    Message::Kill(server, CallRef(call))
}

/// Has n1 echo a call of this number, and with that shows that n1 has said nothing before the reply.
async fn says_nothing_before_an_echo(script: &mut Script, server: ServerAddress, call: u64) {
    script.says(&cast(server, call, "echo")).await;
    let body = Body::Inline(Bytes::from_static(&[9]));
    let echo = Message::Reply(Reply { call: CallRef(call), number: 0, form: ReplyForm::Last, body });
    assert_eq!(script.hears().await, echo);
}

fn exit(call: u64, function: &str, replies: u64, reason: ExitReason) -> Message {
    Message::Exit(Exit { call: CallRef(call), replies, function: function.into(), reason })
}

#[tokio::test]
async fn kills_go_in_one_message_a_node_and_one_by_one_where_no_batches_are_known() {
    in_every_mode(async |mode| {
        let mut script = script(mode).await;
        let mailbox = script.n1.mailbox();
        let cast = |to| mailbox.cast(&name(to), Request::new("forever", "")).expect("a member");
        // In turns, so that they are not grouped by their order.
        let mut calls = Vec::new();
        for _ in 0..3 {
            calls.push(cast("n3"));
            cast("n1");
        }
        for call in &calls {
            let heard = script.hears().await;
            assert!(matches!(&heard, Message::Cast(to, cast) if *to == mode.server && cast.call == *call), "{heard:?}");
        }
        until("its own jobs to run", &script.n1, |n1| n1.status().jobs == 3).await;
        drop(mailbox);
        if script.wire() == WireVersion::V1 {
            for call in calls {
                assert_eq!(script.hears().await, Message::Kill(mode.server, call));
            }
        } else {
            // In release 1.2 to both servers.
            for server in mode.profile().server_stage().highest().kill_targets().iter() {
                assert_eq!(script.hears().await, Message::KillAll(server, calls.clone()));
            }
        }
        until("its own jobs to be gone", &script.n1, |n1| n1.status().jobs == 0).await;
        says_nothing_before_an_echo(&mut script, mode.server, 1).await;
    })
    .await;
    let twice =
        MODES.into_iter().filter(|mode| mode.profile().server_stage().highest().kill_targets().iter().count() == 2);
    assert_eq!(twice.map(|mode| mode.release).collect::<Vec<_>>(), ["1.2"]);
}

#[tokio::test]
async fn single_kills_and_batches_reach_their_jobs_and_say_nothing() {
    in_every_mode(async |mode| {
        let held = Held::default();
        let mut script = mode.script(|node| held.on(node)).await;
        // Each server that a member can name, as some release casts to it.
        for (round, server) in (1..).zip(mode.profile().hosts().iter()) {
            let [one, two, three, four] = [1, 2, 3, 4].map(|call| round * 10 + call);
            for call in [one, two, three, four] {
                script.says(&cast(server, call, "held")).await;
            }
            until("the jobs to run", &script.n1, |n1| n1.status().jobs == 4).await;
            script.says(&kill(server, one)).await;
            until("the first to be killed", &script.n1, |n1| n1.status().jobs == 3).await;
            // As release 1.2 does it: to both servers, one of which has no such job.
            for to in mode.profile().hosts().iter() {
                if script.wire() == WireVersion::V1 {
                    script.says(&kill(to, two)).await;
                    script.says(&kill(to, three)).await;
                } else {
                    script.says(&Message::KillAll(to, vec![CallRef(two), CallRef(three)])).await;
                }
            }
            until("two more to be killed", &script.n1, |n1| n1.status().jobs == 1).await;
            script.says(&kill(server, four)).await;
            until("all to be dropped", &script.n1, |_| held.dropped() == 4 * round as usize).await;
            says_nothing_before_an_echo(&mut script, server, round * 10).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_kill_of_what_is_not_there_does_nothing() {
    in_every_mode(async |mode| {
        let mut script = script(mode).await;
        script.says(&cast(mode.server, 1, "forever")).await;
        says_nothing_before_an_echo(&mut script, mode.server, 2).await;
        // One that has ended, and one that never was.
        for server in mode.profile().hosts().iter() {
            script.says(&kill(server, 2)).await;
            script.says(&kill(server, 3)).await;
        }
        says_nothing_before_an_echo(&mut script, mode.server, 4).await;
        assert_eq!(script.n1.status().jobs, 1, "the other job runs on");
    })
    .await;
}

#[tokio::test]
async fn a_cast_that_comes_behind_its_kill_does_not_start() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let mut script = mode.script(|node| witness.on(node)).await;
        script.says(&kill(mode.server, 1)).await;
        script.says(&cast(mode.server, 1, "witness")).await;
        assert_eq!(script.hears().await, exit(1, "witness", 0, ExitReason::Killed));
        assert_eq!((witness.count(), script.n1.status().jobs), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_reference_that_is_used_twice_is_refused_by_the_server_and_its_first_job_can_be_killed() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let mut script = mode.script(|node| witness.on(node)).await;
        script.says(&cast(mode.server, 1, "forever")).await;
        script.says(&cast(mode.server, 1, "witness")).await;
        assert_eq!(script.hears().await, exit(1, "witness", 0, ExitReason::DuplicateRef));
        assert_eq!((witness.count(), script.n1.status().jobs), (0, 1));
        script.says(&kill(mode.server, 1)).await;
        until("the first to be killed", &script.n1, |n1| n1.status().jobs == 0).await;
    })
    .await;
}

#[tokio::test]
async fn an_acknowledgement_before_the_start_is_an_invalid_message_and_ends_its_job() {
    in_every_mode(async |mode| {
        let mut script = script(mode).await;
        script.says(&cast(mode.server, 1, "count")).await;
        assert_eq!(script.hears().await, Message::StreamInit(CallRef(1)));
        script.says(&Message::Ack(mode.server, CallRef(1), 1)).await;
        assert_eq!(script.hears().await, exit(1, "count", 0, ExitReason::InvalidStreamMessage));
        // A job without a stream is not to be started either.
        script.says(&cast(mode.server, 2, "forever")).await;
        script.says(&Message::StreamStart(mode.server, CallRef(2))).await;
        assert_eq!(script.hears().await, exit(2, "forever", 0, ExitReason::InvalidStreamMessage));
        assert_eq!(script.n1.status().jobs, 0);
    })
    .await;
}

#[tokio::test]
async fn more_acknowledgements_than_items_end_that_stream_and_not_the_server() {
    in_every_mode(async |mode| {
        let mut script = script(mode).await;
        let item = |call, number: u64| {
            let body = Body::Inline(Bytes::from(vec![number as u8]));
            Message::Reply(Reply { call: CallRef(call), number, form: ReplyForm::Item, body })
        };
        for call in [1, 2] {
            script.says(&cast(mode.server, call, "count")).await;
            assert_eq!(script.hears().await, Message::StreamInit(CallRef(call)));
            script.says(&Message::StreamStart(mode.server, CallRef(call))).await;
            let Message::Items(items) = script.hears().await else { panic!("no items") };
            assert_eq!((items.call, items.number, items.list.len()), (CallRef(call), 0, 5));
        }
        script.says(&Message::Ack(mode.server, CallRef(1), 6)).await;
        assert_eq!(script.hears().await, exit(1, "count", 5, ExitReason::MismatchedAck));
        script.says(&Message::Ack(mode.server, CallRef(2), 1)).await;
        assert_eq!(script.hears().await, item(2, 5), "the other stream goes on");
        says_nothing_before_an_echo(&mut script, mode.server, 3).await;
    })
    .await;
}

#[tokio::test]
async fn a_monitor_watches_the_server_that_casts_go_to() {
    in_every_mode(async |mode| {
        let mut script = script(mode).await;
        let mailbox = script.n1.mailbox();
        let monitor = mailbox.monitor(&name("n3")).expect("a member");
        assert_eq!(script.hears().await, Message::Monitor(mode.server, monitor));
        mailbox.demonitor(monitor);
        assert_eq!(script.hears().await, Message::Demonitor(mode.server, monitor));
    })
    .await;
}

#[tokio::test]
async fn each_server_of_a_node_can_be_monitored_and_one_that_it_lacks_is_down_at_once() {
    in_every_mode(async |mode| {
        let mut script = script(mode).await;
        for (number, server) in (1..).zip(mode.profile().hosts().iter()) {
            script.says(&Message::Monitor(server, MonitorRef(number))).await;
        }
        says_nothing_before_an_echo(&mut script, mode.server, 1).await;
        let n1 = script.n1.clone();
        let leaving = tokio::spawn(n1.shutdown(std::time::Duration::ZERO));
        let mut downs = Vec::new();
        while downs.len() < mode.profile().hosts().iter().count() {
            match script.hears().await {
                // The mark behind the announcement is a cast.
                Message::Draining | Message::Cast(..) => {}
                other => downs.push(other),
            }
        }
        downs.sort_by_key(|down| format!("{down:?}"));
        let down = |number| Message::Down(MonitorRef(number), DownReason::Shutdown);
        assert_eq!(downs, [down(1), down(2)][..downs.len()]);
        drop(script);
        within("n1 to leave", leaving).await.expect("no panic");
    })
    .await;
    // Only a node without the singleton lacks a server that a release it speaks to can name.
    let [.., remover] = MODES;
    let mut script = remover.script_of(release("1.2"), |node: NodeBuilder| node).await;
    script.says(&Message::Monitor(ServerAddress::Singleton, MonitorRef(3))).await;
    assert_eq!(script.hears().await, Message::Down(MonitorRef(3), DownReason::NoServer));
    script.says(&kill(ServerAddress::Singleton, 1)).await;
    script.says(&cast(ServerAddress::Singleton, 1, "echo")).await;
    assert_eq!(script.hears().await, Message::NoSuchServer(ServerAddress::Singleton, CallRef(1)));
    says_nothing_before_an_echo(&mut script, ServerAddress::PerNode, 2).await;
}

#[tokio::test]
async fn a_job_that_says_that_it_is_at_work_is_heard_before_its_reply() {
    in_every_mode(async |mode| {
        let at_work = |job: Context, _: Bytes| async move {
            job.ping()?;
            job.ping()?;
            Ok::<_, JobOver>(Bytes::from_static(b"done"))
        };
        let mut script = mode.script(|node| node.function("at work", at_work)).await;
        script.says(&cast(mode.server, 3, "at work")).await;
        for _ in 0..2 {
            assert_eq!(script.hears().await, Message::Ping(CallRef(3)));
        }
        let heard = script.hears().await;
        assert!(matches!(&heard, Message::Reply(reply) if reply.form == ReplyForm::Last), "{heard:?}");
    })
    .await;
}

#[tokio::test]
async fn a_monitor_that_is_given_up_is_taken_back_by_hand_or_with_its_mailbox() {
    in_every_mode(async |mode| {
        let mut script = script(mode).await;
        for by_hand in [true, false] {
            let mailbox = script.n1.mailbox();
            let monitor = mailbox.monitor(&name("n3")).expect("a member");
            assert_eq!(script.hears().await, Message::Monitor(mode.server, monitor));
            if by_hand {
                mailbox.demonitor(monitor);
            } else {
                drop(mailbox);
            }
            assert_eq!(script.hears().await, Message::Demonitor(mode.server, monitor));
        }
    })
    .await;
}
