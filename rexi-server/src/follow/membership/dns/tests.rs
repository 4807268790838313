//! Answers of a name server on loopback, and what is made of them.

use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::A;
use tokio::net::UdpSocket;

use super::*;

/// What the server says; `None`: that it is out of order.
type Zone = Arc<Mutex<Option<Vec<Record>>>>;

fn domain(text: &str) -> Name {
    Name::from_ascii(text).expect("a domain name")
}

fn srv(target: &str, port: u16) -> Record {
    Record::from_rdata(domain("_rexi._udp.test."), 60, RData::SRV(SRV::new(0, 0, port, domain(target))))
}

fn host(host: &str, last: u8) -> Record {
    Record::from_rdata(domain(host), 60, RData::A(A::new(10, 0, 0, last)))
}

async fn server(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut bytes = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            let asked = Message::from_vec(&bytes[..length]).expect("a question");
            let mut said = Message::response(asked.metadata.id, asked.metadata.op_code);
            said.queries = asked.queries.clone();
            match &*zone.lock().expect("nothing panics") {
                None => said.metadata.response_code = ResponseCode::ServFail,
                Some(records) => {
                    let wanted = |r: &&Record| {
                        asked.queries.iter().any(|q| *q.name() == r.name && q.query_type() == r.record_type())
                    };
                    said.answers = records.iter().filter(wanted).cloned().collect();
                }
            }
            let _ = socket.send_to(&said.to_vec().expect("it can be encoded"), from).await;
        }
    });
    address
}

fn list(members: &[(&str, &str)]) -> MemberList {
    let member = |&(name, at): &(&str, &str)| (NodeName::new(name).expect("a name"), at.parse().expect("an address"));
    members.iter().map(member).collect()
}

#[tokio::test]
async fn srv_records_name_the_members_and_what_makes_no_sense_is_an_error() {
    let zone = Zone::default();
    let address = server(Arc::clone(&zone)).await;
    let dns = DnsMembership::srv("_rexi._udp.test.").expect("a name").name_server(address);
    let say = |records: Vec<Record>| *zone.lock().expect("nothing panics") = Some(records);
    assert!(dns.known().is_none());
    assert!(dns.members().await.is_err(), "it is out of order");
    let both = vec![srv("n1.test.", 4001), srv("N2.test.", 4002), host("n1.test.", 9), host("n1.test.", 1)];
    say([both.clone(), vec![host("n2.test.", 2)]].concat());
    assert_eq!(dns.members().await, Ok(list(&[("n1", "10.0.0.1:4001"), ("n2", "10.0.0.2:4002")])));
    say(both);
    let members = dns.members().await.expect("an answer");
    assert_eq!((members.len(), members.iter().filter(|(_, at)| at.is_none()).count()), (2, 1), "n2 has no address");
    for wrong in [vec![], vec![srv("n1.test.", 1), srv("n1.test.", 2)], vec![srv("a_b.test.", 1)], vec![srv(".", 1)]] {
        say(wrong.clone());
        assert!(dns.members().await.is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn hosts_that_are_given_are_known_beforehand_and_looked_up_again() {
    let zone = Zone::default();
    let address = server(Arc::clone(&zone)).await;
    let hosts = [(NodeName::new("n1").expect("a name"), "a.test.:4000")];
    let dns = DnsMembership::hosts(hosts).expect("a host").name_server(address);
    let nowhere = |members: MemberList| members.iter().map(|(_, at)| at).collect::<Vec<_>>() == [None];
    assert!(nowhere(dns.known().expect("it is given")));
    assert!(nowhere(dns.members().await.expect("it is a member all the same")));
    for last in [3, 4] {
        *zone.lock().expect("nothing panics") = Some(vec![host("a.test.", last)]);
        assert_eq!(dns.members().await, Ok(list(&[("n1", &format!("10.0.0.{last}:4000"))])));
    }
}

#[test]
fn a_host_is_a_name_or_an_address_with_a_port() {
    assert_eq!(parse_host("n1.example:4000"), Ok(("n1.example".to_owned(), 4000)));
    assert_eq!(parse_host("[::1]:4000"), Ok(("::1".to_owned(), 4000)));
    for wrong in ["n1.example", "n1.example:", ":4000", "n1.example:0", "n1.example:70000"] {
        assert!(parse_host(wrong).is_err(), "{wrong}");
    }
}

/// A name server that says nothing, and what it was asked: names and types.
async fn silent() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

async fn question(socket: &UdpSocket) -> (String, SocketAddr, Message) {
    let mut bytes = [0; 1500];
    let (length, from) = socket.recv_from(&mut bytes).await.expect("it is open");
    let asked = Message::from_vec(&bytes[..length]).expect("a question");
    (asked.queries[0].name().to_ascii(), from, asked)
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_is_silent_is_asked_twice_for_2_s_each() {
    let (socket, address) = silent().await;
    let dns = DnsMembership::srv("_rexi._udp.test.").expect("a name").name_server(address);
    let began = tokio::time::Instant::now();
    // Each time in several datagrams, since one may be lost.
    assert!(dns.members().await.is_err());
    assert_eq!(began.elapsed().as_secs(), 4);
    question(&socket).await;
    // Another limit, which is each question's as well.
    let dns = dns.time_limit(Duration::from_millis(300));
    let began = tokio::time::Instant::now();
    assert!(dns.members().await.is_err());
    assert_eq!(began.elapsed().as_millis() / 100, 6);
}

#[tokio::test(start_paused = true)]
async fn sixteen_hosts_are_looked_up_at_once_and_the_next_when_one_is_known() {
    let (socket, address) = silent().await;
    let hosts = (0..17).map(|n| (NodeName::new(format!("n{n}")).expect("a name"), format!("n{n}.test.:4000")));
    let dns = DnsMembership::hosts(hosts).expect("hosts").name_server(address);
    let answering = async {
        let mut waiting = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        while names.len() < 16 {
            let asked = question(&socket).await;
            names.insert(asked.0.clone());
            waiting.push(asked);
        }
        // A question is said again where it is not answered; another one does not come.
        let seventeenth = async { while names.contains(&question(&socket).await.0) {} };
        let more = tokio::time::timeout(Duration::from_secs(1), seventeenth).await;
        assert!(more.is_err(), "a seventeenth is not asked for yet");
        loop {
            for (name, from, asked) in waiting.drain(..) {
                let mut said = Message::response(asked.metadata.id, asked.metadata.op_code);
                said.queries = asked.queries.clone();
                said.answers = vec![host(&name, 1)];
                socket.send_to(&said.to_vec().expect("it can be encoded"), from).await.expect("sent");
            }
            waiting.push(question(&socket).await);
        }
    };
    tokio::select! {
        biased;
        members = dns.members() => {
            let members = members.expect("an answer");
            assert_eq!(members.iter().filter(|(_, address)| address.is_some()).count(), 17);
        }
        () = answering => unreachable!("it answers on"),
    }
}
