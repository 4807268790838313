//! What users' logs show of the handles they are given: something that tells one from another, and nothing secret.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt;
use rexi_server::middleware::HedgeLayer;
use rexi_server::testing::{TestCluster, TestMembers};
use rexi_server::{DevAuthority, Items, NodeEnv, Phase, Request, StartRollout};
use rexi_tests::{MODES, functions, name, release, within};

rexi_server::function! {
    /// What its own items look like in a log.
    Looks = "looks" (()) -> stream String, error String, since 1.0;
}

fn shows(what: &impl Debug, parts: &[&str]) {
    let text = format!("{what:?}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_handle_says_what_it_is() {
    let members = TestMembers::new(["n1", "n2"]);
    shows(&members, &["n1", "n2"]);
    let cluster = TestCluster::of(&members, 77);
    shows(&cluster, &["TestCluster", "77", "n1", "n2"]);
    cluster.define_all(functions);
    cluster.start_all(&release("2.0")).expect("all start");
    cluster.ready().await;
    let n1 = cluster.node("n1");
    shows(&n1, &["Node", "n1"]);
    let stream = n1.stream(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
    shows(&stream, &["Replies", &format!("{:?}", stream.call_ref())]);
    shows(&StartRollout::from_release().ceiling(Phase::Introduce), &["StartRollout", "Introduce", "fixed: false"]);
    shows(&NodeEnv::system(), &["NodeEnv", "seeded"]);
    shows(&HedgeLayer::after(Duration::from_millis(70)), &["HedgeLayer", "70ms"]);
    shows(&n1.retry_policy().attempts(10), &["RetryPolicy", "retries_left: 9"]);
}

#[test]
fn an_identity_shows_its_certificate_and_not_its_key() {
    let authority = DevAuthority::in_memory().expect("keys can be made");
    let identity = authority.issue(&name("n1")).expect("an identity");
    shows(&identity, &["Identity", "certificate", "authorities: 1"]);
    assert!(!format!("{identity:?}").to_lowercase().contains("key"));
}

#[tokio::test(start_paused = true)]
async fn the_items_of_a_job_show_which_job_it_is() {
    let looks = |items: Items<Looks>, ()| async move { Ok(Some(format!("{items:?}"))) };
    let (n1, _n2) = MODES[3].pair(move |node| node.serve_stream(Looks, looks)).await;
    let items = n1.ask_stream(Looks, &name("n2"), &());
    let shown: Vec<_> = within("the items", items.collect()).await;
    let [Ok(shown)] = &shown[..] else { panic!("one item: {shown:?}") };
    assert!(shown.starts_with("Items(Context"), "{shown}");
    assert!(shown.contains("looks") && shown.contains("n1"), "{shown}");
}
