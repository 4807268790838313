//! Typed calls as a tower service: tried again and hedged as any other, with their own replies and errors.

use std::future::ready;
use std::time::Duration;

use rexi_server::middleware::{CallRequest, HedgeLayer};
use rexi_server::testing::TestCluster;
use rexi_server::{AskError, CallError, NodeBuilder};
use rexi_tests::{MODES, name, pass, within};
use tower::{ServiceBuilder, ServiceExt};

rexi_server::function! {
    /// Adds one, where a node has it.
    OnlyThere = "only-there" (u32) -> u32, error String, since 1.0;
    /// Its node's name; of n3 after 9 s.
    Slow = "slow-typed" () -> String, error String, since 1.0;
}

/// n1 to n3, of which n2 alone has the first function.
async fn cluster() -> TestCluster {
    let build = |node: NodeBuilder, of: &str| {
        let node = node.serve_with(Slow, &of.to_owned(), |of: String, _, ()| async move {
            pass(Duration::from_secs(if of == "n3" { 9 } else { 0 })).await;
            Ok(of)
        });
        let there = |_, number: u32| ready(number.checked_add(1).ok_or_else(|| "there is no next one".to_owned()));
        if of == "n2" { node.serve(OnlyThere, there) } else { node }
    };
    MODES[3].cluster(["n1", "n2", "n3"], build).await
}

#[tokio::test(start_paused = true)]
async fn typed_calls_are_tried_again_and_hedged_like_any_other() {
    let cluster = cluster().await;
    let n1 = cluster.node("n1");
    let request = |number| CallRequest::of(OnlyThere, name("n3"), &number).or(name("n2"));
    let client = ServiceBuilder::new().retry(n1.retry_policy()).service(n1.client_of(OnlyThere));
    assert_eq!(within("the reply", client.clone().oneshot(request(1))).await, Ok(2));
    let own = within("the error", client.oneshot(request(u32::MAX))).await;
    assert_eq!(own, Err(AskError::Function("there is no next one".to_owned())), "it has answered");
    // Layers that box errors know which are safe, too.
    let boxed = ServiceBuilder::new()
        .retry(n1.retry_policy())
        .timeout(Duration::from_secs(5))
        .layer(HedgeLayer::after(Duration::from_millis(20)))
        .service(n1.client_of(OnlyThere));
    assert_eq!(within("the reply", boxed.clone().oneshot(request(1))).await.expect("n2 has it"), 2);
    let own = within("the error", boxed.oneshot(request(u32::MAX))).await.expect_err("its own error");
    let own = own.downcast_ref::<AskError<String>>();
    assert_eq!(own, Some(&AskError::Function("there is no next one".to_owned())));
    // The first is slow, so the second is asked.
    let hedged = ServiceBuilder::new().layer(HedgeLayer::after(Duration::from_millis(20))).service(n1.client_of(Slow));
    let slow = CallRequest::of(Slow, name("n3"), &()).or(name("n2")).idempotent();
    assert_eq!(within("the reply", hedged.oneshot(slow)).await, Ok("n2".to_owned()));
    let limited = CallRequest::of(Slow, name("n3"), &()).time_limit(Duration::from_millis(50));
    let limited = within("the end", n1.client_of(Slow).oneshot(limited)).await;
    assert_eq!(limited, Err(AskError::Call(CallError::TimePassed)));
}
