//! The port for operators: what each path says in each state of a node, over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request as HttpRequest;
use rexi_server::admin::{self, AdminPort};
use rexi_server::{Node, NodeBuilder, Phase, Request, StartError};
use rexi_tests::{Cluster, Exposition, get, name, release, until, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;

async fn open(node: &Node) -> SocketAddr {
    let port = AdminPort::open(node, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await;
    port.expect("a free port on loopback").local_addr()
}

async fn codes(port: SocketAddr) -> [u16; 3] {
    [get(port, "/livez").await.0, get(port, "/startupz").await.0, get(port, "/readyz").await.0]
}

#[tokio::test]
async fn a_node_is_ready_once_it_has_met_its_members_whatever_their_phase() {
    let cluster = Cluster::new(["n1", "n2"]);
    let n1 = cluster.start("n1", "1.2");
    let port = open(&n1).await;
    assert_eq!(codes(port).await, [200, 503, 503]);
    let (_, said) = get(port, "/readyz").await;
    assert!(said.contains("[-] started: "), "{said}");

    // n2 holds n1 back in its phase.
    let n2 = cluster.start("n2", "1.1");
    until("n2 to be met", &n1, |n1| n1.status().peers.iter().all(|peer| peer.last_error.is_none())).await;
    within("n1 to be ready", n1.ready()).await;
    n1.rollout().set_ceiling(Some(Phase::Introduce)).expect("release 1.2 may be there");
    assert_eq!(codes(port).await, [200, 200, 200]);

    // Nor does it matter that n2 goes away.
    drop(n2);
    until("n2 to be away", &n1, |n1| n1.status().peers.iter().any(|peer| peer.last_error.is_some())).await;
    assert_eq!(codes(port).await, [200, 200, 200]);
}

#[tokio::test]
async fn a_draining_node_lives_and_is_not_ready_and_its_port_closes_with_it() {
    let cluster = Cluster::new(["n1", "n2"]);
    let (n1, n2) = (cluster.start("n1", "2.0"), cluster.start("n2", "2.0"));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    let port = open(&n2).await;
    assert_eq!(codes(port).await, [200, 200, 200]);
    let forever = n1.cast(&name("n2"), Request::new("forever", "")).expect("a member");
    until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
    let leaving = tokio::spawn(n2.clone().shutdown(Duration::from_secs(60)));
    until("n2 to drain", &n2, |n2| n2.status().draining).await;
    let (ready, said) = get(port, "/readyz").await;
    assert_eq!((codes(port).await, ready), ([200, 200, 503], 503));
    assert!(said.contains("[-] admitting: "), "{said}");

    drop(forever);
    assert_eq!(within("n2 to have left", leaving).await.expect("no panic"), 0);
    drop(n2);
    let closed = async { while tokio::net::TcpStream::connect(port).await.is_ok() {} };
    within("the port to be closed", closed).await;
}

/// A service may have an HTTP server of its own, which outlives the node.
#[tokio::test]
async fn a_node_that_has_stopped_is_neither_alive_nor_ready() {
    let cluster = Cluster::new(["n1"]);
    let n1 = cluster.start("n1", "2.0");
    within("n1 to be ready", n1.ready()).await;
    let router = admin::router(&n1, None);
    let ask = async |path: &str| {
        let asked = router.clone().oneshot(HttpRequest::get(path).body(Body::empty()).expect("a request"));
        let (head, body) = within("the answer", asked).await.expect("it answers").into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a short body");
        (head.status.as_u16(), String::from_utf8(body.to_vec()).expect("text"))
    };
    assert_eq!(ask("/livez").await, (200, "[+] serving\n".to_owned()));
    assert_eq!(ask("/readyz").await, (200, "[+] started\n[+] admitting\n[+] admitted\n".to_owned()));
    within("n1 to have left", n1.shutdown(Duration::ZERO)).await;
    assert_eq!(ask("/livez").await, (503, "[-] serving: the node has stopped\n".to_owned()));
    assert_eq!(ask("/readyz").await.0, 503);
}

#[tokio::test]
async fn the_status_is_json_with_a_format_version() {
    let cluster = Cluster::new(["n1", "n2"]);
    let (n1, n2) = (cluster.start("n1", "1.2"), cluster.start("n2", "1.1"));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    let (code, text) = get(open(&n1).await, "/status").await;
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status["format_version"], admin::STATUS_FORMAT_VERSION);
    assert_eq!((&status["node"], &status["release"]), (&"n1".into(), &"1.2.0".into()));
    assert_eq!((&status["denied"], &status["identity_changes"]), (&0.into(), &0.into()));
    assert!(status["identity_error"].is_null());
    let expires = n1.status().certificate_expires.duration_since(std::time::UNIX_EPOCH).expect("it lies ahead");
    assert_eq!(status["certificate_expires"], expires.as_secs());
    let peer = &status["peers"][1];
    assert_eq!(
        (&peer["name"], &peer["presence"], &peer["release"]),
        (&"n2".into(), &"connected".into(), &"1.1.0".into())
    );
    assert_eq!(peer["denied"], 0);
}

#[tokio::test]
async fn metrics_are_shown_where_there_is_a_recorder() {
    let recorder = Box::leak(Box::new(admin::recorder().build_recorder()));
    let _guard = metrics::set_default_local_recorder(recorder);
    let cluster = Cluster::new(["n1", "n2"]);
    let (n1, n2) = (cluster.start("n1", "2.0"), cluster.start("n2", "2.0"));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    assert_eq!(get(open(&n1).await, "/metrics").await.0, 404);

    within("the echo", n2.call(&name("n1"), Request::new("echo", "x"))).await.expect("an echo");
    let port = AdminPort::open(&n1, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(recorder.handle())).await;
    let (code, text) = get(port.expect("a free port").local_addr(), "/metrics").await;
    let scrape = Exposition::parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
    let echoes = scrape.value("rexi_jobs_total{node=\"n1\",function=\"echo\",outcome=\"replied\"}");
    assert_eq!((code, echoes), (200, Some(1.0)));
}

/// By whichever of the node's two ways it is shown. The handle's description has what was taken in, and does not take
/// it in as rendering would.
#[tokio::test(start_paused = true)]
async fn a_recorder_is_kept_up_by_the_node_that_shows_it_though_nobody_scrapes() {
    for own_server in [false, true] {
        let recorder = Box::leak(Box::new(admin::recorder().build_recorder()));
        let _guard = metrics::set_default_local_recorder(recorder);
        let cluster = Cluster::new(["n1"]);
        let n1 = cluster.start("n1", "2.0");
        if own_server {
            drop(admin::router(&n1, Some(recorder.handle())));
        } else {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            AdminPort::open(&n1, any, Some(recorder.handle())).await.expect("a free port");
        }
        metrics::histogram!("a_histogram").record(1.0);
        let taken_in = || format!("{:?}", recorder.handle()).contains("\"a_histogram\": ");
        assert!(!taken_in(), "nobody has taken it in yet");
        until("the upkeep", &n1, |_| taken_in()).await;
    }
}

#[tokio::test]
async fn a_service_is_ready_while_its_own_checks_say_so() {
    let cluster = Cluster::new(["n1"]);
    let (problem, told) = watch::channel(None::<&str>);
    let n1 = cluster
        .builder("n1", release("2.0"))
        .ready_check("store", move || told.borrow().map_or(Ok(()), Err))
        .ready_check("queue", || Ok::<_, String>(()))
        .start()
        .expect("it is described well");
    within("n1 to be ready", n1.ready()).await;
    let port = open(&n1).await;
    let own = "[+] started\n[+] admitting\n[+] admitted\n";
    assert_eq!(get(port, "/readyz").await, (200, format!("{own}[+] store\n[+] queue\n")));
    problem.send_replace(Some("the disk is full:\nno space left"));
    let said = format!("{own}[-] store: the disk is full: no space left\n[+] queue\n");
    assert_eq!(get(port, "/readyz").await, (503, said));
    assert_eq!(codes(port).await, [200, 200, 503]);
    problem.send_replace(None);
    assert_eq!(codes(port).await, [200, 200, 200]);
}

#[tokio::test]
async fn a_ready_check_has_a_name_of_its_own_in_one_word() {
    for (names, at_fault) in
        [(["a", "a"], "a"), (["a", "admitted"], "admitted"), (["b c", "a"], "b c"), (["", "a"], "")]
    {
        let cluster = Cluster::new(["n1"]);
        let check = |node: NodeBuilder, name| node.ready_check(name, || Ok::<_, String>(()));
        let node = names.into_iter().fold(cluster.builder("n1", release("2.0")), check);
        let refused = node.start().expect_err("a name that cannot be");
        assert!(matches!(&refused, StartError::ReadyCheckName(name) if name == at_fault), "{refused}");
    }
}

/// Clients that connect and say half a request.
async fn half_requests(port: SocketAddr, number: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..number {
        let mut stream = TcpStream::connect(port).await.expect("the port listens");
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await.expect("sent");
        open.push(stream);
    }
    open
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_end_its_request_is_let_go_after_5_s() {
    let cluster = Cluster::new(["n1"]);
    let n1 = cluster.start("n1", "2.0");
    let port = open(&n1).await;
    let began = Instant::now();
    let mut slow = half_requests(port, 1).await.remove(0);
    let mut said = Vec::new();
    within("its end", slow.read_to_end(&mut said)).await.expect("it is closed in good order");
    let took = began.elapsed().as_millis();
    assert!((4_990..5_100).contains(&took), "{took} ms");
    assert_eq!(get(port, "/livez").await.0, 200);
}

#[tokio::test]
async fn who_does_not_ask_makes_way_for_who_does() {
    let cluster = Cluster::new(["n1"]);
    let n1 = cluster.start("n1", "2.0");
    let port = open(&n1).await;
    let began = Instant::now();
    let mut open = half_requests(port, 64).await;
    for oldest in 0..3 {
        assert_eq!(get(port, "/livez").await.0, 200, "every place was taken");
        let mut said = Vec::new();
        // It may be told by a reset, since what it had said was not read.
        let _ = within("its end", open[oldest].read_to_end(&mut said)).await;
        assert_eq!(said, b"", "the oldest has made way");
        // In the place of who has asked.
        open.extend(half_requests(port, 1).await);
    }
    assert!(began.elapsed() < Duration::from_secs(4), "before any was let go for its time");
    open.extend(half_requests(port, 2_000).await);
    assert_eq!(get(port, "/livez").await.0, 200, "beside 2,000 that say nothing");
}

#[tokio::test]
async fn who_asks_by_a_name_that_is_not_the_ports_is_told_so() {
    let cluster = Cluster::new(["n1"]);
    let n1 = cluster.start("n1", "2.0");
    let hosts = ["ops.example".to_owned()];
    let port = AdminPort::open_as(&n1, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), hosts, None).await;
    let port = port.expect("a free port").local_addr();
    for (host, code) in [("n1.rexi.svc:9100", 200), ("ops.example", 200), ("rebound.example:9100", 421)] {
        let mut stream = TcpStream::connect(port).await.expect("it listens");
        let request = format!("GET /status HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        within("an answer", stream.read_to_string(&mut answer)).await.expect("it answers");
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{host}: {answer}");
        assert_eq!(answer.contains("incarnation"), code == 200, "{host}");
    }
}
