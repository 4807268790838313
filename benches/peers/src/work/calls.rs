//! Calls in a closed loop: so many tasks, each of which calls again as soon as it is answered. Answers are compared.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::failure::Failure;
use crate::measure::Latencies;
use crate::systems::Caller;
use crate::systems::rexi::Nodes;
use crate::work::load::Tally;

/// What is done again and again.
pub(crate) trait Call: Clone + Send + Sync + 'static {
    /// Does it once, and fails unless the answer is right.
    fn call(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Bytes of its payload.
    fn bytes(&self) -> u64;
}

/// An echo.
#[derive(Clone)]
pub(crate) struct Echo<C> {
    caller: C,
    body: Bytes,
}

impl<C: Caller> Echo<C> {
    pub(crate) fn new(caller: &C, bytes: usize) -> Self {
        Self { caller: caller.clone(), body: body(bytes) }
    }
}

impl<C: Caller> Call for Echo<C> {
    async fn call(&self) -> Result<(), Failure> {
        let echo = self.caller.echo(self.body.clone()).await?;
        if echo == self.body { Ok(()) } else { Err(Failure::new("an echo is not what was sent")) }
    }

    fn bytes(&self) -> u64 {
        self.body.len() as u64
    }
}

/// An echo of all peers, of which a majority is waited for.
#[derive(Clone)]
pub(crate) struct Quorum {
    nodes: Nodes,
    body: Bytes,
}

impl Quorum {
    pub(crate) fn new(nodes: &Nodes, bytes: usize) -> Self {
        Self { nodes: nodes.clone(), body: body(bytes) }
    }
}

impl Call for Quorum {
    async fn call(&self) -> Result<(), Failure> {
        self.nodes.quorum(&self.body).await
    }

    fn bytes(&self) -> u64 {
        self.body.len() as u64
    }
}

/// Keeps so many calls in flight for so long, and waits for the last of them.
pub(crate) async fn closed_loop(call: &impl Call, in_flight: usize, time: Duration) -> Result<Tally, Failure> {
    let end = Instant::now() + time;
    let loops: Vec<_> = (0..in_flight).map(|_| tokio::spawn(one_loop(call.clone(), end))).collect();
    let mut tally = Tally::default();
    for one in loops {
        tally.latencies.append(one.await??);
    }
    tally.bytes = tally.latencies.len() * call.bytes();
    Ok(tally)
}

async fn one_loop(call: impl Call, end: Instant) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::default();
    let mut now = Instant::now();
    while now < end {
        call.call().await?;
        let answered = Instant::now();
        latencies.record(answered - now);
        now = answered;
    }
    Ok(latencies)
}

/// A payload that differs from place to place.
fn body(bytes: usize) -> Bytes {
    (0..bytes).map(|place| (place % 251) as u8).collect()
}
