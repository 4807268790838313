//! A function that writes down which node ran it, one that never ends by itself, and a caller that does not stop
//! calling.
//!
//! With the first a test shows that nothing ran that must not run; with the second, that what must end has ended; with
//! the third, that a good peer was not disturbed.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rexi_server::{Bytes, Context, Node, NodeBuilder, NodeName, Request};

use crate::within;

/// Every execution of the function `witness` of the nodes that it was given to.
#[derive(Clone, Default)]
pub struct Witness {
    runs: Arc<Mutex<Vec<(NodeName, Bytes)>>>,
}

impl Witness {
    /// Adds the function, which echoes its argument.
    pub fn on(&self, builder: NodeBuilder) -> NodeBuilder {
        let runs = Arc::clone(&self.runs);
        builder.function("witness", move |job: Context, argument: Bytes| {
            let runs = Arc::clone(&runs);
            async move {
                runs.lock()
                    .expect("nothing panics while it holds the runs")
                    .push((job.caller().clone(), argument.clone()));
                Ok::<_, String>(argument)
            }
        })
    }

    /// Executions so far.
    pub fn count(&self) -> usize {
        self.runs.lock().expect("nothing panics while it holds the runs").len()
    }

    /// Executions so far for callers other than this one.
    pub fn count_without(&self, caller: &NodeName) -> usize {
        self.runs.lock().expect("nothing panics while it holds the runs").iter().filter(|(of, _)| of != caller).count()
    }

    /// The arguments, in the order in which they were executed.
    pub fn arguments(&self) -> Vec<Bytes> {
        let runs = self.runs.lock().expect("nothing panics while it holds the runs");
        runs.iter().map(|(_, argument)| argument.clone()).collect()
    }
}

/// Every execution of the function `held`, which ends only when it is killed.
#[derive(Clone, Default)]
pub struct Held {
    started: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Held {
    /// Adds the function.
    pub fn on(&self, builder: NodeBuilder) -> NodeBuilder {
        struct Dropped(Arc<AtomicUsize>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let held = self.clone();
        builder.function("held", move |_, _| {
            let Self { started, dropped } = held.clone();
            async move {
                let _dropped = Dropped(dropped);
                started.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<Result<(), String>>().await
            }
        })
    }

    /// Executions so far.
    pub fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }

    /// Executions whose drop code has run.
    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Calls of `witness`, one after the other, for as long as this is there.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Traffic {
    /// Calls `to` from `from`. A call that fails fails the test when the traffic is stopped.
    pub fn start(from: &Node, to: NodeName) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (node, stopped, count) = (from.clone(), Arc::clone(&stop), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let argument = Bytes::from(count.load(Ordering::Relaxed).to_string());
                let reply =
                    within("the good peer's reply", node.call(&to, Request::new("witness", argument.clone()))).await;
                assert_eq!(reply, Ok(argument), "the good peer was disturbed");
                count.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        Self { stop, answered, task }
    }

    /// Waits until this many more calls have been answered.
    pub async fn more(&self, calls: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + calls;
        within("the good peer's calls to go on", async {
            while self.answered.load(Ordering::Relaxed) < goal && !self.task.is_finished() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Stops, and says how many calls were made; all of them were answered.
    pub async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        within("the last call", self.task).await.expect("each call of the good peer was answered");
        self.answered.load(Ordering::Relaxed)
    }
}
