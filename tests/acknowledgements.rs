//! When a caller acknowledges what it takes of a stream: each item by itself where it takes slowly, in batches where
//! many are there, and never with the last acknowledgement held back, since a job would wait for it.
//!
//! n3 is a script in place of the job, on a paused clock.

use std::time::Duration;

use futures_util::StreamExt;
use rexi_proto::{Body, CallRef, Exit, Message, Reply, ReplyForm};
use rexi_server::{Bytes, ExitReason, Request, calls::Replies};
use rexi_tests::{Mode, Script, in_every_mode, name, pass, within};

/// A stream of n1, and the script that sends it.
struct Scene {
    script: Script,
    mode: Mode,
    items: Replies,
    call: CallRef,
    sent: u64,
    /// As n3 has heard.
    acknowledged: u64,
}

impl Scene {
    async fn new(mode: Mode) -> Self {
        let mut script = mode.script(|node| node).await;
        let mut items = script.n1.stream(&name("n3"), Request::new("count", "")).expect("n3 is a member");
        let call = items.call_ref();
        assert!(matches!(script.hears().await, Message::Cast(to, cast) if to == mode.server && cast.call == call));
        script.says(&Message::StreamInit(call)).await;
        // The stream starts where somebody takes of it.
        let nothing = tokio::time::timeout(Duration::from_millis(50), items.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        assert_eq!(script.hears().await, Message::StreamStart(mode.server, call));
        Self { script, mode, items, call, sent: 0, acknowledged: 0 }
    }

    /// Sends this many items at once.
    async fn sends(&mut self, number: u64) {
        let item = |number: u64| {
            let body = Body::Inline(Bytes::from(vec![7]));
            Message::Reply(Reply { call: self.call, number, form: ReplyForm::Item, body })
        };
        let items: Vec<_> = (self.sent..self.sent + number).map(item).collect();
        self.sent += number;
        self.script.says_all(&items).await;
    }

    async fn takes(&mut self) {
        assert_eq!(within("an item", self.items.next()).await, Some(Ok(Bytes::from(vec![7]))));
    }

    /// The next acknowledgement: items in all.
    async fn hears(&mut self) -> u64 {
        match self.script.hears().await {
            Message::Ack(to, call, items) if to == self.mode.server && call == self.call => {
                assert!(items > self.acknowledged && items <= self.sent, "{items} of {}", self.sent);
                self.acknowledged = items;
                items
            }
            other => panic!("no acknowledgement: {other:?}"),
        }
    }

    async fn hears_all(&mut self) {
        while self.acknowledged < self.sent {
            self.hears().await;
        }
    }

    async fn ends(mut self) {
        let exit = Exit { call: self.call, replies: self.sent, function: "count".into(), reason: ExitReason::Done };
        self.script.says(&Message::Exit(exit)).await;
        assert_eq!(within("the end", self.items.next()).await, None);
        assert_eq!(self.script.n1.status().calls, 0);
    }
}

/// A job with a window of this many sends no more until all are acknowledged, so one that is held back stops it for
/// good.
#[tokio::test(start_paused = true)]
async fn every_item_of_a_window_is_acknowledged_before_the_next_one_comes() {
    in_every_mode(async |mode| {
        for window in 1..=6 {
            for slow in [false, true] {
                let mut scene = Scene::new(mode).await;
                for _ in 0..4 {
                    scene.sends(window).await;
                    for _ in 0..window {
                        if slow {
                            pass(Duration::from_millis(20)).await;
                        }
                        scene.takes().await;
                    }
                    within("the last one too", scene.hears_all()).await;
                }
                scene.ends().await;
            }
        }
    })
    .await;
}

/// A job's patience with each of its items is limited.
#[tokio::test(start_paused = true)]
async fn who_takes_slowly_acknowledges_each_item_when_it_is_taken() {
    in_every_mode(async |mode| {
        let mut scene = Scene::new(mode).await;
        scene.sends(5).await;
        for taken in 1..=5 {
            pass(Duration::from_secs(200)).await;
            scene.takes().await;
            assert_eq!(scene.hears().await, taken);
        }
        scene.ends().await;
    })
    .await;
}

/// An acknowledgement for each item would cost a message for each.
#[tokio::test(start_paused = true)]
async fn what_lies_there_is_acknowledged_in_lots_of_half_of_it_or_after_a_millisecond_and_few_as_one() {
    in_every_mode(async |mode| {
        let mut scene = Scene::new(mode).await;
        scene.sends(20).await;
        // Long after the stream's start.
        scene.takes().await;
        assert_eq!(scene.hears().await, 1);
        // The clock is looked at for the first, the second and the fourth of a lot.
        scene.takes().await;
        tokio::time::advance(Duration::from_micros(999)).await;
        scene.takes().await;
        tokio::time::advance(Duration::from_micros(1)).await;
        scene.takes().await;
        scene.takes().await;
        assert_eq!(scene.hears().await, 5, "four at once, and none before");
        for _ in 5..20 {
            scene.takes().await;
        }
        for expected in [13, 20] {
            assert_eq!(scene.hears().await, expected);
        }
        scene.ends().await;
    })
    .await;
}
