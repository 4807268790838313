//! What a node counts, as a recorder in the process receives it.

use std::time::{Duration, UNIX_EPOCH};

use metrics_exporter_prometheus::PrometheusHandle;
use rexi_proto::operate::OperatorAsk;
use rexi_server::{
    AllowList, DevAuthority, Identity, PeerPresence, Request, ServerAddress, admin,
    identity::OperatorAuthority,
    metrics::{METRICS, MetricKind},
    operate::{OperatePort, OperatorClient},
    operators::OperatorList,
};
use rexi_tests::{
    ALPN, Cluster, Exposition, Forge, Impostor, MODES, Stranger, encoded, hello, hello_of, idle, in_every_mode, name,
    pass, peer, release, until, within,
};
use tokio::time::Instant;

/// A recorder for the nodes that this thread starts for as long as the guard lives.
struct Recorder {
    handle: PrometheusHandle,
    _guard: metrics::LocalRecorderGuard<'static>,
}

fn record() -> Recorder {
    let recorder = Box::leak(Box::new(admin::recorder().build_recorder()));
    Recorder { handle: recorder.handle(), _guard: metrics::set_default_local_recorder(recorder) }
}

impl Recorder {
    /// What a scrape shows once the status has been told again.
    async fn scrape(&self) -> Exposition {
        pass(Duration::from_secs(6)).await;
        let text = self.handle.render();
        Exposition::parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_are_counted_by_function_and_outcome_in_every_mode() {
    in_every_mode(async |mode| {
        let recorder = record();
        let (n1, n2) = mode.pair(|node| node).await;
        for _ in 0..5 {
            within("the echo", n1.call(&name("n2"), Request::new("echo", "x"))).await.expect("an echo");
        }
        for function in ["fail", "fail", "panic"] {
            within("the failure", n1.call(&name("n2"), Request::new(function, "x"))).await.expect_err("a failure");
        }
        let limited = Request::new("forever", "").time_limit(Duration::from_secs(1));
        within("the limit", n1.call(&name("n2"), limited)).await.expect_err("too late");
        let forever = n1.cast(&name("n2"), Request::new("forever", "")).expect("a member");
        until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
        drop(forever);
        idle(&[n1.clone(), n2.clone()]).await;

        let scrape = recorder.scrape().await;
        let jobs = |function: &str, outcome: &str| {
            let of = format!("node=\"n2\",function=\"{function}\",outcome=\"{outcome}\"");
            scrape.value(&format!("rexi_jobs_total{{{of}}}"))
        };
        assert_eq!(jobs("echo", "replied"), Some(5.0));
        assert_eq!(jobs("fail", "failed"), Some(2.0));
        assert_eq!(jobs("panic", "panicked"), Some(1.0));
        assert_eq!((jobs("forever", "timed_out"), jobs("forever", "killed")), (Some(1.0), Some(1.0)));
        let ended = scrape.value("rexi_job_duration_seconds_count{node=\"n2\",function=\"echo\"}");
        assert_eq!(ended, Some(5.0));
        assert_eq!(scrape.value("rexi_jobs{node=\"n2\"}"), Some(0.0));

        let to_singleton = scrape.value("rexi_singleton_requests_total{node=\"n2\",peer=\"n1\"}");
        // Not one, once casts go elsewhere: this is what says that the singleton may go. A kill still goes to both.
        assert_eq!(to_singleton.is_some_and(|count| count > 0.0), mode.server == ServerAddress::Singleton);
        let highest = mode.profile().server_stage().highest();
        let phase = format!("rexi_phase{{node=\"n1\",migration=\"rexi.server-per-node\",phase=\"{highest}\"}}");
        assert_eq!((scrape.value(&phase), scrape.sum("rexi_phase", "node=\"n1\"")), (Some(1.0), 1.0));
    })
    .await;
}

/// Something that an operator has asked, of a node of its own.
async fn ask_as_operator() {
    let (cluster, operators) = (Cluster::new(["n9"]), DevAuthority::in_memory().expect("keys can be made"));
    let node = cluster.start("n9", "2.0");
    let authority = OperatorAuthority::from_pem(operators.ca_pem().as_bytes()).expect("an authority");
    let port = OperatePort::open(&node, ([127, 0, 0, 1], 0).into(), authority, OperatorList::default());
    let (cert, key) = operators.issue_operator_pem("alice").expect("a certificate can be made");
    let ca = cluster.authority().ca_pem().as_bytes();
    let alice = Identity::from_pem(ca, cert.as_bytes(), key.as_bytes()).expect("an identity");
    let (ask, limit) = (OperatorAsk::Look { all: false, but: None }, Duration::from_secs(20));
    let (alice, port) = (OperatorClient::new(&alice).expect("TLS"), port.expect("a free port").local_addr());
    alice.ask(node.name(), port, &ask, limit).await.expect("it is denied");
}

#[tokio::test(start_paused = true)]
async fn every_metric_that_is_documented_is_shown_and_no_other() {
    let recorder = record();
    let cluster = MODES[2].cluster(["n1", "n2"], |node, _| node).await;
    // Refuses the old release, so that there is a refusal to count.
    cluster.crash("n2");
    let n1 = cluster.node("n1");
    cluster.start("n2", &release("1.0")).expect("it starts");
    until("the refusal", &n1, |n1| peer(n1, "n2").refusal.is_some()).await;
    ask_as_operator().await;

    let scrape = recorder.scrape().await;
    let shown: Vec<_> = scrape.kinds.keys().map(String::as_str).collect();
    let mut documented: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
    documented.sort_unstable();
    assert_eq!(shown, documented);
    for metric in METRICS {
        assert_eq!(scrape.kinds[metric.name], format!("{:?}", metric.kind).to_lowercase(), "{}", metric.name);
        let of_metric = |series: &&String| series.starts_with(metric.name);
        let series = scrape.samples.keys().find(of_metric).expect("a series");
        for label in metric.labels {
            assert!(series.contains(&format!("{label}=\"")), "{series} has no {label}");
        }
    }
    assert!(scrape.sum("rexi_handshakes_refused_total", "reason=\"incompatible_release\"") > 0.0);
}

#[tokio::test(start_paused = true)]
async fn frames_for_a_peer_that_is_away_are_counted_as_buffered_and_dropped_and_its_end_as_downs() {
    let recorder = record();
    let cluster = MODES[3].cluster(["n1", "n2"], |node, _| {
        let limits = rexi_server::Limits { buffered_frames_max: 3, ..rexi_server::Limits::default() };
        node.limits(limits)
    });
    let cluster = cluster.await;
    let n1 = cluster.node("n1");
    cluster.crash("n2");
    until("n2 to be away", &n1, |n1| peer(n1, "n2").presence == rexi_server::PeerPresence::Away).await;
    let mut mailbox = n1.mailbox();
    mailbox.monitor(&name("n2")).expect("a member");
    let calls = (0..5).map(|_| mailbox.cast(&name("n2"), Request::new("echo", "x")).expect("a member"));
    assert_eq!(calls.count(), 5);
    // Two calls dropped, three calls and a monitor told that it is down.
    for _ in 0..6 {
        within("an answer", mailbox.recv()).await;
    }
    let scrape = recorder.scrape().await;
    let of_n2 = |metric: &str| scrape.value(&format!("{metric}{{node=\"n1\",peer=\"n2\"}}"));
    assert_eq!(of_n2("rexi_buffered_frames_total"), Some(5.0));
    assert_eq!(of_n2("rexi_dropped_frames_total"), Some(2.0));
    assert_eq!(of_n2("rexi_downs_total"), Some(4.0));
    assert_eq!((of_n2("rexi_buffered_frames"), of_n2("rexi_peer_connected")), (Some(0.0), Some(0.0)));
}

#[tokio::test(start_paused = true)]
async fn denied_casts_changes_of_identity_and_what_is_left_of_a_certificate_are_told() {
    in_every_mode(async |mode| {
        let recorder = record();
        let (n1, n2) = mode.pair(|node| node).await;
        n2.set_allow_list(Some(AllowList::new().allow(name("n1"), "fail")));
        for _ in 0..3 {
            within("the denial", n1.call(&name("n2"), Request::new("echo", "x"))).await.expect_err("it is denied");
        }
        let identity = DevAuthority::in_memory().expect("keys can be made").issue(&name("n2")).expect("an identity");
        n2.reload_identity(identity).expect("it is good");
        let scrape = recorder.scrape().await;
        let denied = |node, peer| scrape.value(&format!("rexi_denied_casts_total{{node=\"{node}\",peer=\"{peer}\"}}"));
        assert_eq!((denied("n2", "n1"), denied("n2", "n2"), denied("n1", "n2")), (Some(3.0), Some(0.0), Some(0.0)));
        let of = |metric: &str, node| scrape.value(&format!("{metric}{{node=\"{node}\"}}")).expect("it is shown");
        let changes = ["n1", "n2"].map(|node| of("rexi_identity_changes_total", node));
        assert_eq!(changes, [0.0, 1.0]);
        let expires = n2.status().certificate_expires;
        let since_1970 = expires.duration_since(UNIX_EPOCH).expect("it lies ahead").as_secs_f64();
        assert_eq!(of("rexi_certificate_expires_timestamp_seconds", "n2"), since_1970);
        // The cluster's time begins with the year 2030, and its certificates end with 2099; some seconds have passed.
        let left = of("rexi_certificate_left_seconds", "n2") / 86_400.0;
        assert!((25_566.9..25_567.0).contains(&left), "{left} days");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_gauges_of_a_member_that_has_left_are_0_and_those_of_one_that_is_back_are_not() {
    in_every_mode(async |mode| {
        let recorder = record();
        let cluster = mode.cluster(["n1", "n2", "n3"], |node, _| node).await;
        let (n1, n3) = (cluster.node("n1"), cluster.node("n3"));
        let to_n3 = n1.cast(&name("n3"), Request::new("forever", "abc")).expect("a member");
        let to_n1 = n3.cast(&name("n1"), Request::new("forever", "abc")).expect("a member");
        until("both jobs to run", &n1, |n1| n1.status().jobs == 1 && n3.status().jobs == 1).await;
        // Every gauge with a peer is among the metrics of a node.
        let gauges =
            METRICS.iter().filter(|metric| metric.kind == MetricKind::Gauge && metric.labels.contains(&"peer"));
        let gauges: Vec<_> = gauges.map(|metric| metric.name).collect();
        assert_eq!(gauges.len(), 6);
        let of = |scrape: &Exposition, peer: &str| {
            let value = |gauge| scrape.value(&format!("{gauge}{{node=\"n1\",peer=\"{peer}\"}}")).expect("it is shown");
            gauges.iter().map(|gauge| value(*gauge)).collect::<Vec<_>>()
        };
        let before = recorder.scrape().await;
        assert_eq!(of(&before, "n3")[..2], [1.0, 1.0], "connected, a call");
        if mode.server == ServerAddress::PerNode {
            assert_eq!(of(&before, "n3")[2..4], [1.0, 3.0], "a job, its bytes");
        }
        cluster.cut("n1", "n3");
        until("n3 to be away", &n1, |n1| peer(n1, "n3").presence != PeerPresence::Connected).await;
        let waiting = n1.cast(&name("n3"), Request::new("echo", "abcd")).expect("a member");
        assert_eq!(of(&recorder.scrape().await, "n3")[4..], [1.0, 4.0], "a frame that waits, its bytes");
        cluster.heal("n1", "n3");
        until("n3 to be back", &n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
        pass(Duration::from_secs(6)).await;
        n1.remove_member(&name("n3")).expect("a member");
        let after = recorder.scrape().await;
        assert_eq!(of(&after, "n3"), [0.0; 6]);
        assert_eq!(of(&after, "n2")[0], 1.0);
        let connections = "rexi_connections_total{node=\"n1\",peer=\"n3\"}";
        assert!(after.value(connections) >= Some(2.0), "a counter stays");
        n1.add_member(name("n3"), cluster.address("n3")).expect("no member yet");
        until("n3 to be back", &n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
        assert_eq!(of(&recorder.scrape().await, "n3"), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        drop((to_n3, to_n1, waiting));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_status_is_told_every_5_s_and_not_before() {
    let recorder = record();
    let began = Instant::now();
    let (n1, _n2) = MODES[3].pair(|node| node).await;
    let calls = || {
        let shown = Exposition::parse(&recorder.handle.render()).expect("it is well formed");
        shown.value("rexi_calls{node=\"n1\"}")
    };
    // From when the node has started, which took no time.
    pass(Duration::from_millis(5_100) - began.elapsed()).await;
    assert_eq!(calls(), Some(0.0));
    let _open = n1.cast(&name("n2"), Request::new("forever", "")).expect("a member");
    pass(Duration::from_millis(4_800)).await;
    assert_eq!(calls(), Some(0.0), "not told yet");
    pass(Duration::from_millis(200)).await;
    assert_eq!(calls(), Some(1.0));
}

/// The refused peer, the side that dialed, and what that counts as.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_counted_by_the_side_that_dialed_and_by_the_side_that_was() {
    let recorder = record();
    let (cluster, believed) = (Cluster::new(["n1", "n3"]), Forge::new("authority"));
    let stranger = |shown: &str| Stranger::showing(Some(&believed.sound(shown)), ALPN);
    // The peer that n1 dials: it is not who it says it is.
    let impostor = Impostor::listen(&believed.sound("n4"), encoded(&hello("n5")));
    let build = cluster.builder_as(believed.identity("n1"), "n1", release("2.0"));
    let n1 = build.start().expect("it starts");
    let counted = || {
        let shown = Exposition::parse(&recorder.handle.render()).expect("it is well formed");
        let of = |reason| shown.value(&format!("rexi_handshakes_refused_total{{node=\"n1\",reason=\"{reason}\"}}"));
        REASONS.map(|reason| of(reason).unwrap_or_default())
    };
    pass(Duration::from_millis(1)).await;
    assert_eq!(counted(), [0.0; 4]);
    let of_old = hello_of("n3", &release("1.0"));
    for (i, (shown, says)) in
        [("n3", encoded(&of_old)), ("n3", encoded(&hello("n4"))), ("n9", encoded(&hello("n9"))), ("n3", vec![0xff; 4])]
            .into_iter()
            .enumerate()
    {
        let lane = stranger(shown).open(cluster.address("n1"), "n1", &says).await;
        within("the close", lane.connection.closed()).await;
        until("it to be counted", &n1, |_| counted().iter().sum::<f64>() >= (i + 1) as f64).await;
        let expected: Vec<f64> = (0..4).map(|reason| if reason <= i { 1.0 } else { 0.0 }).collect();
        assert_eq!(counted()[..], expected, "{}", REASONS[i]);
    }
    n1.add_member(name("n4"), impostor.address()).expect("no member yet");
    until("n1 to have tried", &n1, |n1| peer(n1, "n4").last_error.is_some()).await;
    let [incompatible, wrong_name, others @ ..] = counted();
    assert!(incompatible == 1.0 && wrong_name > 1.0 && others == [1.0; 2], "{:?}", counted());
}

const REASONS: [&str; 4] = ["incompatible_release", "wrong_name", "not_a_member", "bad_hello"];
