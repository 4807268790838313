//! Strangers that show certificates they should not, over real TLS, on either end of a connection: each is refused with
//! a reason before any function runs or anything is said to it, and a good peer does not notice.

use std::net::{Ipv4Addr, UdpSocket};

use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, SanType, date_time_ymd};
use rexi_server::{NodeBuilder, PeerPresence, Request};
use rexi_tests::{
    ALPN, Cluster, Forge, Impostor, Log, Shown, Stranger, Traffic, Witness, cast_of_witness, encoded, hello, name,
    peer, release, until, within,
};

/// Which end of the connection the stranger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Dialer,
    Listener,
}

/// What a stranger in place of a member shows and says.
struct Case {
    what: &'static str,
    shows: fn(&Authorities, &str, End) -> Option<Shown>,
    /// The name in its hello; none: the member's.
    claims: Option<&'static str>,
    alpn: Option<&'static [u8]>,
    /// What the node says of it as a dialer and as a listener; none: it cannot be.
    refused: [Option<&'static str>; 2],
}

struct Authorities {
    believed: Forge,
    unknown: Forge,
    /// Its name is that of the believed one.
    twin: Forge,
}

impl Authorities {
    fn new() -> Self {
        let [believed, unknown, twin] = ["authority", "another", "authority"].map(Forge::new);
        Self { believed, unknown, twin }
    }
}

const NOT_NAMED: Option<&str> = Some("the certificate does not name");

impl Case {
    const fn new(what: &'static str, shows: fn(&Authorities, &str, End) -> Option<Shown>, why: &'static str) -> Self {
        Self { what, shows, claims: None, alpn: Some(ALPN), refused: [Some(why); 2] }
    }

    /// Not one of the names of the certificate, which a dialer asks TLS, and a listener asks once it knows the name.
    const fn other_name(what: &'static str, shows: fn(&Authorities, &str, End) -> Option<Shown>) -> Self {
        Self { refused: [NOT_NAMED, Some("certificate not valid for name")], ..Self::new(what, shows, "") }
    }

    const fn claiming(name: &'static str, dialer: &'static str, listener: &'static str) -> Self {
        let case = Self::new("a hello that claims another name", |of, name, _| Some(of.believed.sound(name)), "");
        Self { claims: Some(name), refused: [Some(dialer), Some(listener)], ..case }
    }
}

const CASES: [Case; 20] = [
    Case::new("an unknown authority", |of, name, _| Some(of.unknown.sound(name)), "UnknownIssuer"),
    Case::new("the authority's name, another key", |of, name, _| Some(of.twin.sound(name)), "BadSignature"),
    Case::new("self-signed", |_, name, _| Some(Shown::self_signed(name)), "UnknownIssuer"),
    Case::new(
        "expired",
        |of, name, _| Some(of.believed.issue(name, |cert| cert.not_after = date_time_ymd(2020, 1, 1))),
        "certificate expired",
    ),
    Case::new(
        "not yet valid",
        |of, name, _| Some(of.believed.issue(name, |cert| cert.not_before = date_time_ymd(3000, 1, 1))),
        "not valid yet",
    ),
    Case::new(
        "the key of another certificate",
        |of, name, _| Some(of.believed.sound(name).with_another_key()),
        "BadSignature",
    ),
    Case::new(
        "a usage that is the other end's",
        |of, name, end| {
            let usage = match end {
                End::Dialer => ExtendedKeyUsagePurpose::ServerAuth,
                End::Listener => ExtendedKeyUsagePurpose::ClientAuth,
            };
            Some(of.believed.issue(name, |cert| cert.extended_key_usages = vec![usage]))
        },
        "extended key usage",
    ),
    Case::new(
        "an authority's certificate",
        |of, name, _| Some(of.believed.issue(name, |cert| cert.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        "CaUsedAsEndEntity",
    ),
    Case::new(
        "an intermediate that is missing",
        |of, name, _| Some(of.believed.intermediate("between", |_| {}).sound(name).without_intermediates()),
        "UnknownIssuer",
    ),
    Case::new(
        "an intermediate that is no authority",
        |of, name, _| {
            let between = of.believed.intermediate("between", |cert| cert.is_ca = IsCa::ExplicitNoCa);
            Some(between.sound(name))
        },
        "EndEntityUsedAsCa",
    ),
    Case::new(
        "an intermediate beyond what another one may have below it",
        |of, name, _| {
            let last = of.believed.intermediate("last", |cert| cert.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
            Some(last.intermediate("beyond", |_| {}).sound(name))
        },
        "PathLenConstraintViolated",
    ),
    Case::new(
        "an intermediate that has expired",
        |of, name, _| {
            let between = of.believed.intermediate("between", |cert| cert.not_after = date_time_ymd(2020, 1, 1));
            Some(between.sound(name))
        },
        "certificate expired",
    ),
    Case::other_name("another member's", |of, _, _| Some(of.believed.sound("n2"))),
    Case::other_name("only an address", |of, name, _| {
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        Some(of.believed.issue(name, |cert| cert.subject_alt_names = vec![address]))
    }),
    Case::other_name("the name as its subject alone", |of, name, _| {
        Some(of.believed.issue(name, |cert| {
            cert.subject_alt_names.clear();
            cert.distinguished_name.push(DnType::CommonName, name);
        }))
    }),
    // TLS takes it for any name below.
    Case {
        refused: [NOT_NAMED; 2],
        ..Case::new("a wildcard", |of, _, _| Some(of.believed.sound("*.rack.example")), "")
    },
    Case {
        alpn: None,
        // A listener without one in common ends it by itself.
        refused: [Some("known protocol"), None],
        ..Case::new("another protocol", |of, name, _| Some(of.believed.sound(name)), "")
    },
    Case::claiming("n2", "the certificate does not name n2", "but n2 answered"),
    Case::claiming("n9", "the certificate does not name n9", "but n9 answered"),
    Case { refused: [Some("no certificate"), None], ..Case::new("no certificate", |_, _, _| None, "") },
];

/// The member in whose place the stranger of that case is.
fn member(case: usize) -> String {
    // Behind n1, which so is the one that decides and welcomes.
    format!("s{case}.rack.example")
}

/// Members in whose place strangers show what is sound.
const SOUND: [&str; 2] = ["sound.rack.example", "too.rack.example"];

/// What a stranger says: a hello, and a cast behind it that must have no effect.
fn says(case: &Case, member: &str) -> Vec<u8> {
    [encoded(&hello(case.claims.unwrap_or(member))), cast_of_witness(1)].concat()
}

/// n1, whose members all cases are besides n2, and what runs on it.
struct Scene {
    cluster: Cluster,
    authorities: Authorities,
    witness: Witness,
    log: Log,
}

impl Scene {
    fn new() -> Self {
        let (cluster, authorities) = (Cluster::new(["n1", "n2"]), Authorities::new());
        Self { cluster, authorities, witness: Witness::default(), log: Log::here() }
    }

    fn builder(&self, of: &str) -> NodeBuilder {
        let identity = self.authorities.believed.identity(of);
        self.witness.on(self.cluster.builder_as(identity, of, release("2.0")))
    }
}

#[tokio::test]
async fn who_dials_with_a_certificate_that_is_no_good_is_refused() {
    let scene = Scene::new();
    let (authorities, address) = (&scene.authorities, scene.cluster.address("n1"));
    // The members themselves do not run: nobody answers at their address.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    let away = silent.local_addr().expect("a bound socket has an address");
    let members = (0..CASES.len()).map(member).chain(SOUND.map(str::to_owned));
    let n1 = members.fold(scene.builder("n1"), |node, of| node.peer(name(&of), away)).start().expect("it starts");
    let n2 = scene.builder("n2").start().expect("it starts");
    let traffic = Traffic::start(&n2, name("n1"));
    let mut refused = 0;
    for (i, case) in CASES.iter().enumerate() {
        let Some(reason) = case.refused[0] else { continue };
        traffic.more(5).await;
        let shown = (case.shows)(authorities, &member(i), End::Dialer);
        let stranger = Stranger::showing(shown.as_ref(), case.alpn.unwrap_or(b"h3"));
        knock(&stranger, &scene, &says(case, &member(i))).await;
        let line = scene.log.line(&["refused a connection", &format!("address={} ", stranger.address()), reason]).await;
        println!("{}: {line}", case.what);
        refused += 1;
    }
    // A member's name is not enough, nor is a certificate: n9 has a good one, and is not a member.
    let stranger = Stranger::showing(Some(&authorities.believed.sound("n9")), ALPN);
    knock(&stranger, &scene, &[encoded(&hello("n9")), cast_of_witness(1)].concat()).await;
    scene.log.line(&[&format!("address={} ", stranger.address()), "n9 is not a member of this cluster"]).await;
    refused += 1;

    traffic.more(20).await;
    let answered = traffic.stop().await;
    assert_eq!(scene.witness.count_without(&name("n2")), 0, "something ran for a stranger");
    let others = n1.status().peers.into_iter().filter(|peer| !["n1", "n2"].contains(&peer.name.as_str()));
    assert!(others.into_iter().all(|peer| peer.presence == PeerPresence::Away));
    println!("{refused} dialers refused, 0 functions run for them; {answered} calls of a good peer, 0 failed");

    // The same with sound certificates, so what was refused was refused for what was shown.
    let between = authorities.believed.intermediate("between", |_| {});
    for (i, issuer) in [&authorities.believed, &between].into_iter().enumerate() {
        let stranger = Stranger::showing(Some(&issuer.sound(SOUND[i])), ALPN);
        let mut lane = stranger.shake_hands(address, "n1", &hello(SOUND[i])).await;
        lane.say(&cast_of_witness(1)).await;
        until("its cast to run", &n1, |_| scene.witness.count_without(&name("n2")) == i + 1).await;
    }
}

/// Connects, as far as it comes, and speaks: a client may take itself for connected before the node has looked at its
/// certificate.
async fn knock(stranger: &Stranger, scene: &Scene, says: &[u8]) {
    let Ok(connection) = stranger.connect(scene.cluster.address("n1"), "n1").await else { return };
    let mut lane = connection.open_bi().await;
    if let Ok((send, _)) = &mut lane {
        let _ = send.write_all(says).await;
    }
    within("the refusal", connection.closed()).await;
}

#[tokio::test]
async fn who_listens_with_a_certificate_that_is_no_good_is_refused() {
    let scene = Scene::new();
    let authorities = &scene.authorities;
    let listen = |i: usize| {
        let (case, of) = (&CASES[i], member(i));
        let shown = (case.shows)(authorities, &of, End::Listener).expect("a listener has a certificate");
        Impostor::listen(&shown, says(case, &of))
    };
    let impostors: Vec<_> =
        (0..CASES.len()).filter(|&i| CASES[i].refused[1].is_some()).map(|i| (i, listen(i))).collect();
    let good = Impostor::listen(&authorities.believed.sound(SOUND[0]), encoded(&hello(SOUND[0])));
    let own = scene.builder("n1").peer(name(SOUND[0]), good.address());
    let n1 = impostors.iter().fold(own, |node, (i, impostor)| node.peer(name(&member(*i)), impostor.address()));
    let n1 = n1.start().expect("it starts");
    let n2 = scene.builder("n2").start().expect("it starts");
    let traffic = Traffic::start(&n2, name("n1"));
    // What n1 has to say to its members waits for them, and is for nobody else.
    let cast = |of: &str| n1.cast(&name(of), Request::new("witness", SECRET)).expect("it is a member");
    let casts: Vec<_> = impostors.iter().map(|(i, _)| cast(&member(*i))).collect();
    let to_good = cast(SOUND[0]);
    for (i, impostor) in &impostors {
        let (case, of) = (&CASES[*i], format!("peer={} ", member(*i)));
        let reason = case.refused[1].expect("it is among those that listen");
        let line = scene.log.line(&["could not connect", &of, reason]).await;
        println!("{}: {line}", case.what);
        assert_eq!(peer(&n1, &member(*i)).presence, PeerPresence::Away);
        assert!(!holds(&impostor.heard(), SECRET), "{}: it was told what was for a member", case.what);
    }
    traffic.more(20).await;
    let answered = traffic.stop().await;
    assert_eq!(scene.witness.count_without(&name("n2")), 0, "something ran for a stranger");
    println!(
        "{} listeners refused, 0 functions run for them, nothing said to them; {answered} calls of a good peer, \
         0 failed",
        impostors.len()
    );
    // The same with a sound certificate: it is taken for the member, and is told.
    until("the good one to be connected", &n1, |n1| peer(n1, SOUND[0]).presence == PeerPresence::Connected).await;
    until("it to hear", &n1, |_| holds(&good.heard(), SECRET)).await;
    drop((casts, to_good));
}

fn holds(heard: &[u8], text: &str) -> bool {
    heard.windows(text.len()).any(|window| window == text.as_bytes())
}

const SECRET: &str = "for a member alone";
