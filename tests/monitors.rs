//! Monitors of other nodes' servers, in every mode: one down for each death, with its reason, and none for less.

use std::time::Duration;

use rexi_server::{Answer, DownReason, Event, Mailbox, PeerPresence, Phase, Request};
use rexi_tests::{in_every_mode, name, pass, peer, until, within};
use tokio::time::Instant;

async fn next(mailbox: &mut Mailbox) -> Event {
    within("an event", mailbox.recv()).await
}

#[tokio::test(start_paused = true)]
async fn a_monitor_fires_once_with_the_reason() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2"], |node, _| node).await;
        let n1 = cluster.node("n1");
        let mut mailbox = n1.mailbox();
        for reason in [DownReason::Shutdown, DownReason::Restarted, DownReason::NoConnection] {
            let watched = mailbox.monitor(&name("n2")).expect("n2 is a member");
            let let_go = mailbox.monitor(&name("n2")).expect("n2 is a member");
            mailbox.demonitor(let_go);
            // An answer on the same lane shows that the monitors have arrived before the node is gone.
            assert_eq!(n1.call(&name("n2"), Request::new("echo", "")).await, Ok("".into()));
            match reason {
                DownReason::Shutdown => drop(cluster.stop("n2").await),
                DownReason::Restarted => {
                    cluster.restart("n2", &mode.profile()).expect("n2 starts again");
                }
                _ => cluster.crash("n2"),
            }
            assert_eq!(next(&mut mailbox).await, Event::Down(watched, reason));
            if reason != DownReason::Restarted {
                until("n2 not to be there", &n1, |n1| peer(n1, "n2").presence != PeerPresence::Connected).await;
                mode.start(&cluster, "n2");
            }
            cluster.ready().await;
            pass(Duration::from_secs(60)).await;
            assert_eq!(n1.call(&name("n2"), Request::new("echo", "")).await, Ok("".into()));
            assert_eq!(mailbox.try_recv(), None, "after {reason}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_monitor_of_a_node_that_is_not_there_fires_at_once() {
    in_every_mode(async |mode| {
        let cluster = mode.members(["n1", "n2"], |node, _| node);
        let mut mailbox = mode.start(&cluster, "n1").mailbox();
        let monitor = mailbox.monitor(&name("n2")).expect("n2 is a member");
        assert_eq!(mailbox.try_recv(), Some(Event::Down(monitor, DownReason::NoConnect)));
        assert_eq!(mailbox.try_recv(), None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_is_down_after_the_stability_period_and_its_jobs_have_their_ends() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2"], |node, _| node).await;
        let n1 = cluster.node("n1");
        let mut mailbox = n1.mailbox();
        let monitor = mailbox.monitor(&name("n2")).expect("n2 is a member");
        let call = mailbox.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        until("the job to run", &cluster.node("n2"), |n2| n2.status().jobs == 1).await;
        cluster.crash("n2");
        until("n2 to be away", &n1, |n1| peer(n1, "n2").presence == PeerPresence::Away).await;
        let away = Instant::now();
        assert_eq!(next(&mut mailbox).await, Event::Answer(call, Answer::Down(DownReason::NoConnection)));
        assert_eq!(next(&mut mailbox).await, Event::Down(monitor, DownReason::NoConnection));
        assert_eq!(away.elapsed().as_secs_f32().round(), 15.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stopping_a_monitor_takes_out_a_down_that_already_waits() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2"], |node, _| node).await;
        let n1 = cluster.node("n1");
        let (mut mailbox, mut witness) = (n1.mailbox(), n1.mailbox());
        let [first, stopped, last] = [(); 3].map(|()| mailbox.monitor(&name("n2")).expect("n2 is a member"));
        witness.monitor(&name("n2")).expect("n2 is a member");
        assert_eq!(n1.call(&name("n2"), Request::new("echo", "")).await, Ok("".into()));
        cluster.stop("n2").await;
        // All of them come at once.
        assert!(matches!(next(&mut witness).await, Event::Down(..)));
        mailbox.demonitor(stopped);
        let left: Vec<_> = std::iter::from_fn(|| mailbox.try_recv()).collect();
        assert_eq!(left, [first, last].map(|monitor| Event::Down(monitor, DownReason::Shutdown)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_monitor_outlives_a_brief_cut_and_a_change_of_phase() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2"], |node, _| node).await;
        let n1 = cluster.node("n1");
        let mut mailbox = n1.mailbox();
        let mut monitors = vec![mailbox.monitor(&name("n2")).expect("n2 is a member")];
        // The release whose phase can change: one monitor goes with the way back, another with the switch.
        if mode.release == "1.2" {
            n1.rollout().set_ceiling(Some(Phase::Introduce)).expect("nobody stands in the way");
            assert_eq!(n1.call(&name("n2"), Request::new("server", "")).await, Ok("singleton".into()));
            monitors.push(mailbox.monitor(&name("n2")).expect("n2 is a member"));
            n1.rollout().set_ceiling(None).expect("nobody stands in the way");
            mode.reached(&n1).await;
            assert_eq!(n1.call(&name("n2"), Request::new("server", "")).await, Ok("per-node".into()));
        }
        // The connection dies, and another comes within the stability period.
        cluster.cut("n1", "n2");
        until("n2 to be away", &n1, |n1| peer(n1, "n2").presence == PeerPresence::Away).await;
        cluster.heal("n1", "n2");
        cluster.ready().await;
        assert_eq!(n1.call(&name("n2"), Request::new("echo", "")).await, Ok("".into()));
        assert_eq!(mailbox.try_recv(), None);
        cluster.stop("n2").await;
        let mut downs = Vec::new();
        for _ in &monitors {
            downs.push(next(&mut mailbox).await);
        }
        for monitor in monitors {
            assert!(downs.contains(&Event::Down(monitor, DownReason::Shutdown)), "{downs:?}");
        }
        assert_eq!(mailbox.try_recv(), None);
    })
    .await;
}
