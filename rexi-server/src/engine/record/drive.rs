//! Carries an operator's command from this node to all members.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rexi_proto::record::{CommandOutcome, Digest, Driver, OperatorCommand};

use crate::engine::shared::Shared;

impl Shared {
    /// Carries a command until it is known what came of it. Where this is dropped before, what has been written stays
    /// on the members' disks, and whoever comes next goes on from there.
    pub(crate) async fn command(
        self: &Arc<Self>,
        by: Arc<str>,
        command: OperatorCommand,
        looked_at: Option<Digest>,
    ) -> CommandOutcome {
        let at = self.env.since_1970().as_secs();
        let members = self.members().names().cloned().collect();
        let cluster = Arc::clone(self.rollout().cluster());
        let mut driver = Driver::new(command, cluster, by, at, members, self.mutants);
        if let Some(record) = looked_at {
            driver = driver.looked_at(record);
        }
        let mut asked = FuturesUnordered::new();
        loop {
            while let Some((round, node, ask)) = driver.poll_output() {
                let shared = Arc::clone(self);
                asked.push(async move {
                    let answer = shared.ask_member(&node, ask).await;
                    (round, node, answer)
                });
            }
            if let Some(outcome) = driver.outcome() {
                return outcome.clone();
            }
            let Some((round, node, answer)) = asked.next().await else {
                unreachable!("a driver without an outcome waits for somebody")
            };
            if let Err(error) = &answer {
                tracing::info!(node = %self.name, peer = %node, %error, "a member did not answer about the record");
            }
            driver.handle(round, &node, answer.ok());
        }
    }
}
