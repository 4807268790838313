//! Running nodes that follow DNS: through changes of its records, where hosts have addresses of one family or of both,
//! where a record makes no sense or an answer does not fit into a datagram, where the name server fails or is silent,
//! and where a configuration gives the hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use rexi_server::{
    Config, DevAuthority, LimitingFactor, Node, NodeBuilder, PeerPresence, Phase, Request, membership::DnsMembership,
};
use rexi_tests::{Log, functions, name, peer, release, train, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// How the name server is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It answers over UDP.
    Well,
    /// None of its answers fits into a datagram.
    Long,
    /// It says that it failed.
    Failing,
    Silent,
}

/// A name server on loopback, for UDP and TCP alike, and what it says.
struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<(Mood, Vec<Record>)>>,
    /// How many questions came over TCP.
    over_tcp: Arc<Mutex<usize>>,
}

impl NameServer {
    async fn start(mood: Mood) -> Self {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = tcp.local_addr().expect("it is bound");
        let udp = tokio::net::UdpSocket::bind(address).await.expect("as free for UDP");
        let server = Self { address, zone: Arc::new(Mutex::new((mood, Vec::new()))), over_tcp: Arc::default() };
        let (zone, over_tcp) = (Arc::clone(&server.zone), Arc::clone(&server.over_tcp));
        tokio::spawn(answer_datagrams(udp, Arc::clone(&zone)));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut bytes = vec![0; stream.read_u16().await.unwrap_or(0).into()];
                if stream.read_exact(&mut bytes).await.is_err()
                    || zone.lock().expect("nothing panics").0 == Mood::Silent
                {
                    continue;
                }
                *over_tcp.lock().expect("nothing panics") += 1;
                let said = answer(&bytes, &zone.lock().expect("nothing panics").1);
                let _ = stream.write_u16(said.len().try_into().expect("a short answer")).await;
                let _ = stream.write_all(&said).await;
            }
        });
        server
    }

    /// From now on these are the members: each a name and where it listens.
    fn say(&self, members: &[(&str, SocketAddr)]) {
        self.say_records(members.iter().flat_map(|(of, at)| records(of, *at)).collect());
    }

    fn say_records(&self, records: Vec<Record>) {
        self.zone.lock().expect("nothing panics").1 = records;
    }

    fn be(&self, mood: Mood) {
        self.zone.lock().expect("nothing panics").0 = mood;
    }

    fn membership(&self) -> DnsMembership {
        self.asked_by(DnsMembership::srv("_rexi._udp.test.").expect("a name"))
    }

    fn asked_by(&self, found: DnsMembership) -> DnsMembership {
        let found = found.name_server(self.address);
        found.interval(Duration::from_millis(50)).time_limit(Duration::from_millis(100))
    }
}

async fn answer_datagrams(socket: tokio::net::UdpSocket, zone: Arc<Mutex<(Mood, Vec<Record>)>>) {
    let mut bytes = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
        let (mood, records) = zone.lock().expect("nothing panics").clone();
        let said = match mood {
            Mood::Well => answer(&bytes[..length], &records),
            Mood::Long => edited(&bytes[..length], |said| said.metadata.truncation = true),
            Mood::Failing => edited(&bytes[..length], |said| said.metadata.response_code = ResponseCode::ServFail),
            Mood::Silent => continue,
        };
        let _ = socket.send_to(&said, from).await;
    }
}

fn answer(question: &[u8], records: &[Record]) -> Vec<u8> {
    edited(question, |said| {
        let asked = said.queries.clone();
        let wanted = |r: &&Record| asked.iter().any(|q| *q.name() == r.name && q.query_type() == r.record_type());
        said.answers = records.iter().filter(wanted).cloned().collect();
    })
}

fn edited(question: &[u8], edit: impl FnOnce(&mut Message)) -> Vec<u8> {
    let asked = Message::from_vec(question).expect("a question");
    let mut said = Message::response(asked.metadata.id, asked.metadata.op_code);
    said.queries = asked.queries.clone();
    edit(&mut said);
    said.to_vec().expect("it can be encoded")
}

fn records(of: &str, at: SocketAddr) -> [Record; 2] {
    [service(of, at.port()), host(of, at.ip())]
}

fn domain(text: &str) -> Name {
    Name::from_ascii(text).expect("a domain name")
}

fn service(of: &str, port: u16) -> Record {
    let target = RData::SRV(SRV::new(0, 0, port, domain(&format!("{of}.test."))));
    Record::from_rdata(domain("_rexi._udp.test."), 1, target)
}

fn host(of: &str, ip: IpAddr) -> Record {
    let address = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(domain(&format!("{of}.test.")), 1, address)
}

/// Free addresses of one family.
fn free<const N: usize>(ip: impl Into<IpAddr>) -> [SocketAddr; N] {
    let ip = ip.into();
    let sockets = [(); N].map(|()| UdpSocket::bind((ip, 0)).expect("a free port on loopback"));
    sockets.map(|socket| socket.local_addr().expect("it is bound"))
}

fn start(authority: &DevAuthority, dns: &NameServer, own: &str, at: SocketAddr) -> Node {
    let identity = authority.issue(&name(own)).expect("a certificate can be made");
    let node = Node::builder(name(own), release("1.2"), identity).listen(at).membership(dns.membership());
    functions(node).start().expect("it starts")
}

async fn echo(from: &Node, to: &str) {
    let answer = within("an answer", from.call(&name(to), Request::new("echo", "hello"))).await;
    assert_eq!(answer, Ok("hello".into()), "{} to {to}", from.name());
}

async fn until_members(node: &Node, names: &[&str]) {
    let names: Vec<_> = names.iter().map(|of| name(of)).collect();
    until("the members that DNS names", node, |node| node.members() == names).await;
}

#[tokio::test]
async fn a_running_node_follows_dns_through_changes_and_keeps_what_it_knows_where_dns_fails() {
    let (authority, dns) = (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Well).await);
    let [at1, at2, at3, moved] = free(Ipv4Addr::LOCALHOST);
    dns.say(&[("n1", at1), ("n2", at2)]);
    let (n1, n2) = (start(&authority, &dns, "n1", at1), start(&authority, &dns, "n2", at2));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    echo(&n1, "n2").await;

    // One joins.
    let n3 = start(&authority, &dns, "n3", at3);
    dns.say(&[("n1", at1), ("n2", at2), ("n3", at3)]);
    until_members(&n1, &["n1", "n2", "n3"]).await;
    within("n3 to be ready", n3.ready()).await;
    echo(&n1, "n3").await;
    echo(&n3, "n2").await;

    // One moves.
    n2.shutdown(Duration::from_secs(5)).await;
    let n2 = start(&authority, &dns, "n2", moved);
    dns.say(&[("n1", at1), ("n2", moved), ("n3", at3)]);
    echo(&n1, "n2").await;
    echo(&n2, "n3").await;

    // The name server fails, then says nothing: nobody leaves, and calls go on.
    for mood in [Mood::Failing, Mood::Silent] {
        let log = Log::here();
        dns.be(mood);
        log.line(&["the membership is not followed", "node=n1 "]).await;
        assert_eq!(n1.members(), ["n1", "n2", "n3"].map(name));
        echo(&n1, "n2").await;
        echo(&n3, "n1").await;
        let log = Log::here();
        dns.be(Mood::Well);
        log.line(&["the membership is followed again", "node=n1"]).await;
    }

    // One leaves.
    dns.say(&[("n1", at1), ("n2", moved)]);
    until_members(&n1, &["n1", "n2"]).await;
    until_members(&n2, &["n1", "n2"]).await;
    echo(&n2, "n1").await;
}

#[tokio::test]
async fn an_answer_that_fits_into_no_datagram_is_taken_over_tcp() {
    let (authority, dns) = (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Long).await);
    let [at1, at2] = free(Ipv4Addr::LOCALHOST);
    dns.say(&[("k1", at1), ("k2", at2)]);
    let (n1, n2) = (start(&authority, &dns, "k1", at1), start(&authority, &dns, "k2", at2));
    until_members(&n1, &["k1", "k2"]).await;
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    echo(&n1, "k2").await;
    assert!(*dns.over_tcp.lock().expect("nothing panics") >= 4, "SRV and addresses, of two nodes at least");
}

#[tokio::test]
async fn hosts_that_have_an_ipv6_address_alone_are_dialed_there() {
    let (authority, dns) = (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Well).await);
    let [at1, at2] = free(Ipv6Addr::LOCALHOST);
    dns.say(&[("l1", at1), ("l2", at2)]);
    let (n1, n2) = (start(&authority, &dns, "l1", at1), start(&authority, &dns, "l2", at2));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    echo(&n1, "l2").await;
    echo(&n2, "l1").await;
}

#[tokio::test]
async fn a_node_whose_name_server_is_silent_holds_its_phase_until_it_hears_of_members() {
    let (authority, dns) = (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Silent).await);
    let log = Log::here();
    let [at1, at2] = free(Ipv4Addr::LOCALHOST);
    dns.say(&[("m1", at1), ("m2", at2)]);
    let n1 = start(&authority, &dns, "m1", at1);
    log.line(&["the membership is not followed", "node=m1 "]).await;
    let rollout = n1.rollout().status();
    assert_eq!((rollout.phase, rollout.limiting_factor), (Phase::Introduce, LimitingFactor::Unlisted));
    assert_eq!(n1.members(), [name("m1")]);
    dns.be(Mood::Well);
    let n2 = start(&authority, &dns, "m2", at2);
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    until("n1 to be raised", &n1, |node| node.rollout().phase() == Phase::Switch).await;
    echo(&n1, "m2").await;
}

#[tokio::test]
async fn of_hosts_with_addresses_of_both_families_a_node_dials_the_one_that_it_can_reach() {
    let (long, short) = (IpAddr::from(Ipv6Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST));
    for (own, ip, prefers_ipv6) in [("v6", long, false), ("v4", short, true)] {
        let (authority, dns) = (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Well).await);
        let names = ["1", "2"].map(|number| format!("{own}-{number}"));
        let at: [SocketAddr; 2] = free(ip);
        let records = |(of, at): (&String, &SocketAddr)| [service(of, at.port()), host(of, short), host(of, long)];
        dns.say_records(names.iter().zip(&at).flat_map(records).collect());
        let start = |place: usize| {
            let (of, found) = (&names[place], dns.membership());
            let found = if prefers_ipv6 { found.prefer_ipv6() } else { found };
            let identity = authority.issue(&name(of)).expect("a certificate can be made");
            let node = Node::builder(name(of), release("1.2"), identity).listen(at[place]).membership(found);
            functions(node).start().expect("it starts")
        };
        let (n1, n2) = (start(0), start(1));
        within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
        echo(&n1, &names[1]).await;
        echo(&n2, &names[0]).await;
        assert_eq!(peer(&n1, &names[1]).address, Some(at[1]));
    }
}

#[tokio::test]
async fn a_host_without_an_address_that_can_be_dialed_is_told_in_the_status() {
    let (authority, dns, log) =
        (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Well).await, Log::here());
    let [at1, at2] = free(Ipv6Addr::LOCALHOST);
    dns.say_records(vec![service("p1", at1.port()), service("p2", at2.port()), host("p2", Ipv4Addr::LOCALHOST.into())]);
    let n1 = start(&authority, &dns, "p1", at1);
    until("the reason", &n1, |n1| n1.members().len() == 2 && peer(n1, "p2").last_error.is_some()).await;
    let told = peer(&n1, "p2");
    let reason = told.last_error.expect("the reason");
    assert!(reason.contains(&format!("p2 at 127.0.0.1:{} cannot be dialed from {at1}", at2.port())), "{reason}");
    assert_eq!((told.address, told.presence), (None, PeerPresence::Away));
    log.line(&["a part of the membership is not followed", &reason, "node=p1"]).await;
}

#[tokio::test]
async fn of_srv_targets_that_make_no_sense_each_is_named_once_and_the_others_are_followed() {
    let (authority, dns, log) =
        (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Well).await, Log::here());
    let [at1, at2, at3] = free(Ipv4Addr::LOCALHOST);
    let good: Vec<Record> =
        [("q1", at1), ("q2", at2), ("q3", at3)].iter().flat_map(|(of, at)| records(of, *at)).collect();
    dns.say_records([good.clone(), vec![service("not_a_node", 1), service("q3", 1)]].concat());
    let (n1, n2) = (start(&authority, &dns, "q1", at1), start(&authority, &dns, "q2", at2));
    until_members(&n1, &["q1", "q2", "q3"]).await;
    echo(&n1, "q2").await;
    echo(&n2, "q1").await;
    let line = log.line(&["a part of the membership is not followed", "node=q1"]).await;
    for part in ["WARN", "not_a_node.test. does not begin with a node's name", "would both be q3"] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    assert_eq!(peer(&n1, "q3").address, None, "it is at one of two places");
    dns.say_records([good, vec![service("not_a_node", 1)]].concat());
    let n3 = start(&authority, &dns, "q3", at3);
    within("all to be ready", async { tokio::join!(n1.ready(), n2.ready(), n3.ready()) }).await;
    until("its address", &n1, |n1| peer(n1, "q3").address == Some(at3)).await;
    let lines = log.lines(&["the membership is not followed", "node=q1"]);
    assert_eq!(lines.len(), 2, "once for each change: {lines:#?}");
}

/// A node of a configuration that names its peers and asks this name server.
fn configured(dir: &Path, authority: &DevAuthority, dns: &NameServer, own: (&str, SocketAddr), rest: &str) -> Node {
    let (of, listen) = own;
    let (cert, key) = authority.issue_pem(&name(of)).expect("a certificate can be made");
    for (file, text) in [("ca.pem", authority.ca_pem()), ("cert.pem", &cert), ("key.pem", &key)] {
        std::fs::write(dir.join(file), text).expect("written");
    }
    let identity = "[identity]\nca = \"ca.pem\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    let text = format!("name = \"{of}\"\nlisten = \"{listen}\"\nrelease = \"1.2\"\n{identity}{rest}");
    std::fs::write(dir.join("node.toml"), text).expect("written");
    let config = Config::from_file(dir.join("node.toml"), &train()).expect("a good configuration");
    let found = config.dns_membership().expect("names").expect("it has hosts");
    let node = NodeBuilder::from_config(&config).expect("a good identity").membership(dns.asked_by(found));
    functions(node).start().expect("it starts")
}

#[tokio::test]
async fn a_node_of_a_configuration_finds_a_peer_by_its_host_and_follows_it_to_another_address() {
    let (authority, dns) = (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Well).await);
    let dir = tempfile::tempdir().expect("a directory");
    let [at1, at2, nobody] = free(Ipv4Addr::LOCALHOST);
    // Another address, and the port that the configuration has.
    let moved = SocketAddr::from(([127, 0, 0, 2], at2.port()));
    dns.say_records(vec![host("r1", at1.ip())]);
    let peers = format!("[peers]\nr1 = \"r1.test.:{}\"\nr2 = \"R2.test.:{}\"\n", at1.port(), at2.port());
    let n1 = configured(dir.path(), &authority, &dns, ("r1", at1), &peers);
    assert_eq!(n1.members(), ["r1", "r2"].map(name), "they are known before DNS has said anything");
    assert_ne!(n1.rollout().status().limiting_factor, LimitingFactor::Unlisted);
    until("it to be missed", &n1, |n1| peer(n1, "r2").last_error.is_some()).await;
    let reason = peer(&n1, "r2").last_error.expect("the reason");
    assert!(reason.contains("r2.test. has no address"), "{reason}");

    // It dials nobody that listens: who connects them is n1.
    let n2_at = |at: SocketAddr| {
        let identity = authority.issue(&name("r2")).expect("a certificate can be made");
        let node = Node::builder(name("r2"), release("1.2"), identity).listen(at).peer(name("r1"), nobody);
        functions(node).start().expect("it starts")
    };
    let n2 = n2_at(at2);
    dns.say_records(vec![host("r2", at2.ip())]);
    until("its address", &n1, |n1| peer(n1, "r2").address == Some(at2)).await;
    echo(&n1, "r2").await;

    n2.shutdown(Duration::from_secs(5)).await;
    dns.say_records(vec![host("r2", moved.ip())]);
    until("its address", &n1, |n1| peer(n1, "r2").address == Some(moved)).await;
    let _n2 = n2_at(moved);
    echo(&n1, "r2").await;
}

#[tokio::test]
async fn a_configuration_may_have_hosts_and_a_name_of_srv_records() {
    let (authority, dns) = (DevAuthority::in_memory().expect("keys"), NameServer::start(Mood::Well).await);
    let dir = tempfile::tempdir().expect("a directory");
    let [at1, at2, at3, elsewhere] = free(Ipv4Addr::LOCALHOST);
    let rest = format!("[peers]\ns2 = \"s2.test.:{}\"\n[membership]\nsrv = \"_rexi._udp.test.\"\n", at2.port());
    // The records are not there yet.
    dns.say_records(vec![host("s2", at2.ip())]);
    let n1 = configured(dir.path(), &authority, &dns, ("s1", at1), &rest);
    assert_eq!(n1.members(), ["s1", "s2"].map(name), "the host is known beforehand");
    let start = |of: &str, at| {
        let identity = authority.issue(&name(of)).expect("a certificate can be made");
        let node = Node::builder(name(of), release("1.2"), identity).listen(at).peer(name("s1"), at1);
        functions(node).start().expect("it starts")
    };
    let _n2 = start("s2", at2);
    echo(&n1, "s2").await;
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Unlisted, "there may be more");
    // The records have s2 elsewhere.
    dns.say(&[("s1", at1), ("s2", elsewhere), ("s3", at3)]);
    let _n3 = start("s3", at3);
    until_members(&n1, &["s1", "s2", "s3"]).await;
    echo(&n1, "s3").await;
    within("it to be ready", n1.ready()).await;
    assert_eq!(peer(&n1, "s2").address, Some(at2), "what the configuration says goes before");
}
