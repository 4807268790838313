//! Running nodes that follow DNS: through changes of its records, where a host has only an IPv6 address, where an
//! answer does not fit into a datagram, and where the name server fails or is silent.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use rexi_server::{DevAuthority, LimitingFactor, Node, Phase, Request, membership::DnsMembership};
use rexi_tests::{Log, functions, name, release, until, within};
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
        let records = members.iter().flat_map(|(of, at)| records(of, *at)).collect();
        self.zone.lock().expect("nothing panics").1 = records;
    }

    fn be(&self, mood: Mood) {
        self.zone.lock().expect("nothing panics").0 = mood;
    }

    fn membership(&self) -> DnsMembership {
        let found = DnsMembership::srv("_rexi._udp.test.").expect("a name").name_server(self.address);
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
    let domain = |text: &str| Name::from_ascii(text).expect("a domain name");
    let host = domain(&format!("{of}.test."));
    let address = match at {
        SocketAddr::V4(at) => RData::A(A(*at.ip())),
        SocketAddr::V6(at) => RData::AAAA(AAAA(*at.ip())),
    };
    let service = RData::SRV(SRV::new(0, 0, at.port(), host.clone()));
    [Record::from_rdata(domain("_rexi._udp.test."), 1, service), Record::from_rdata(host, 1, address)]
}

/// Free addresses of one family.
fn free<const N: usize>(ip: impl Into<std::net::IpAddr>) -> [SocketAddr; N] {
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
