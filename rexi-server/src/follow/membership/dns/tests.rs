//! Answers of a name server on loopback, and what is made of them.

use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA};
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

fn long_host(host: &str, last: u16) -> Record {
    Record::from_rdata(domain(host), 60, RData::AAAA(AAAA([0xfd00, 0, 0, 0, 0, 0, 0, last].into())))
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn place(text: &str) -> PeerAddress {
    text.parse().expect("a place")
}

/// Each member and its addresses.
fn shown(members: &MemberList) -> Vec<String> {
    let addresses = |at: &[SocketAddr]| at.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ");
    members.iter().map(|(name, at)| format!("{name} {}", addresses(at))).collect()
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
    let member = |&(of, at): &(&str, &str)| (name(of), at.parse().expect("an address"));
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
    let members = dns.members().await.expect("an answer");
    assert_eq!(shown(&members), ["n1 10.0.0.1:4001 10.0.0.9:4001", "n2 10.0.0.2:4002"]);
    say(both);
    let members = dns.members().await.expect("an answer");
    assert_eq!((members.len(), members.iter().filter(|(_, at)| at.is_empty()).count()), (2, 1), "n2 has no address");
    for wrong in [vec![], vec![srv("a_b.test.", 1)], vec![srv(".", 1)]] {
        say(wrong.clone());
        assert!(dns.members().await.is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn of_bad_targets_among_good_ones_each_is_said_and_the_good_ones_are_followed() {
    let zone = Zone::default();
    let address = server(Arc::clone(&zone)).await;
    let dns = DnsMembership::srv("_rexi._udp.test.").expect("a name").name_server(address);
    let mut records = vec![
        srv("n1.test.", 4001),
        srv("n1.test.", 4001),
        srv("a_b.test.", 1),
        srv(".", 1),
        srv("n2.test.", 0),
        srv("n3.test.", 1),
        srv("n3.other.", 1),
        srv("n3.test.", 2),
        host("n1.test.", 1),
        host("n2.test.", 2),
        host("n3.test.", 3),
    ];
    let mut answers = Vec::new();
    for _ in 0..records.len() {
        // A server changes the order with each answer; what is said of it is the same.
        records.rotate_left(1);
        *zone.lock().expect("nothing panics") = Some(records.clone());
        answers.push(dns.members().await.expect("an answer"));
    }
    answers.dedup();
    let [members] = &answers[..] else { panic!("they differ: {answers:?}") };
    assert_eq!(shown(members), ["n1 10.0.0.1:4001", "n2 ", "n3 "]);
    let said = format!("{members:?}");
    for part in ["a_b.test. does not begin with a node's name", "no such service", "n2.test. has the port 0"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(["n3.other.:1", "n3.test.:1", "n3.test.:2", "would both be n3"].iter().all(|part| said.contains(part)));
}

#[test]
fn targets_good_and_bad_are_256_at_most() {
    let crowd = |bad: usize| {
        let bad = (0..bad).map(|number| (domain(&format!("{number}_.test.")), 1));
        Targets::of(bad.chain([(domain("n1.test."), 1)]).collect())
    };
    assert_eq!(crowd(MEMBERS_MAX - 1).expect("as many as may be").problems.len(), MEMBERS_MAX - 1);
    assert_eq!(crowd(MEMBERS_MAX).map(|_| ()), Err("there are more than 256".to_owned()));
    assert!(crowd(0).is_ok());
}

#[tokio::test]
async fn all_addresses_of_a_host_are_named_those_of_the_preferred_family_first_and_the_lowest_first() {
    let zone = Zone::default();
    let address = server(Arc::clone(&zone)).await;
    let dns = || DnsMembership::hosts([(name("n1"), place("a.test.:1"))]).expect("hosts").name_server(address);
    let records = [long_host("a.test.", 2), host("a.test.", 9), long_host("a.test.", 1), host("a.test.", 3)];
    *zone.lock().expect("nothing panics") = Some(records.to_vec());
    let found = dns().members().await.expect("an answer");
    assert_eq!(shown(&found), ["n1 10.0.0.3:1 10.0.0.9:1 [fd00::1]:1 [fd00::2]:1"]);
    let found = dns().prefer_ipv6().members().await.expect("an answer");
    assert_eq!(shown(&found), ["n1 [fd00::1]:1 [fd00::2]:1 10.0.0.3:1 10.0.0.9:1"]);
    // One family alone is no less.
    *zone.lock().expect("nothing panics") = Some(vec![long_host("a.test.", 1)]);
    assert_eq!(shown(&dns().members().await.expect("an answer")), ["n1 [fd00::1]:1"]);
}

#[tokio::test]
async fn hosts_and_srv_records_are_one_answer_and_a_host_that_is_given_goes_before_a_record() {
    let zone = Zone::default();
    let address = server(Arc::clone(&zone)).await;
    let given = [(name("n1"), place("a.test.:1")), (name("n3"), place("127.0.0.1:3"))];
    let dns = DnsMembership::srv("_rexi._udp.test.").expect("a name").and_hosts(given).name_server(address);
    let known = dns.known().expect("those that are given");
    assert_eq!((shown(&known), known.is_complete()), (vec!["n1 ".to_owned(), "n3 127.0.0.1:3".to_owned()], false));
    let hosts = vec![host("a.test.", 7), host("n1.test.", 1), host("n2.test.", 2)];
    let records = vec![srv("n1.test.", 1), srv("n1.other.", 1), srv("n2.test.", 2)];
    *zone.lock().expect("nothing panics") = Some([records, hosts.clone()].concat());
    let all = list(&[("n1", "10.0.0.7:1"), ("n2", "10.0.0.2:2"), ("n3", "127.0.0.1:3")]);
    assert_eq!(dns.members().await, Ok(all));
    // Without the records, the hosts are followed; and nobody is taken for gone.
    *zone.lock().expect("nothing panics") = Some(hosts);
    let found = dns.members().await.expect("an answer");
    assert_eq!(shown(&found), ["n1 10.0.0.7:1", "n3 127.0.0.1:3"]);
    assert!(format!("{found:?}").contains("SRV records of _rexi._udp.test."), "{found:?}");
}

#[tokio::test]
async fn hosts_that_are_given_are_known_beforehand_and_looked_up_again() {
    let zone = Zone::default();
    let address = server(Arc::clone(&zone)).await;
    let hosts = [(name("n1"), place("a.test.:4000"))];
    let dns = DnsMembership::hosts(hosts).expect("a host").name_server(address);
    let nowhere = |members: MemberList| shown(&members) == ["n1 "];
    assert!(nowhere(dns.known().expect("it is given")));
    assert!(nowhere(dns.members().await.expect("it is a member all the same")));
    for last in [3, 4] {
        *zone.lock().expect("nothing panics") = Some(vec![host("a.test.", last)]);
        assert_eq!(dns.members().await, Ok(list(&[("n1", &format!("10.0.0.{last}:4000"))])));
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
    let hosts = (0..17).map(|n| (name(&format!("n{n}")), place(&format!("n{n}.test.:4000"))));
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
            assert_eq!(members.iter().filter(|(_, address)| !address.is_empty()).count(), 17);
        }
        () = answering => unreachable!("it answers on"),
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_that_are_not_looked_up_within_8_s_keep_no_other_from_being_followed() {
    let (socket, address) = silent().await;
    let answering = async {
        loop {
            let (asked, from, question) = question(&socket).await;
            if asked == "n00.test." {
                let mut said = Message::response(question.metadata.id, question.metadata.op_code);
                said.queries = question.queries.clone();
                said.answers = vec![host(&asked, 1)];
                socket.send_to(&said.to_vec().expect("it can be encoded"), from).await.expect("sent");
            }
        }
    };
    // Sixteen at once take 4 s, so two lots and no third.
    let hosts = (0..40).map(|n| (name(&format!("n{n:02}")), place(&format!("n{n:02}.test.:1"))));
    let dns = DnsMembership::hosts(hosts).expect("hosts").name_server(address);
    let began = Instant::now();
    tokio::select! {
        biased;
        members = dns.members() => {
            let members = members.expect("an answer");
            assert_eq!(began.elapsed().as_secs(), 8);
            let shown = shown(&members);
            assert_eq!((shown[0].as_str(), shown[1].as_str(), shown.len()), ("n00 10.0.0.1:1", "n01 ", 40));
            assert!(format!("{members:?}").contains("n39.test.:1 was not looked up within 8s"), "{members:?}");
        }
        () = answering => unreachable!("it answers on"),
    }
}
