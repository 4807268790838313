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
