//! Certificates that must pass, certificates that must not, and the text of each refusal.

use std::io::Cursor;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose as Eku, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, date_time_ymd,
};
use rustls::{ClientConnection, ServerConnection};

use super::*;
use crate::files::read_bounded;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("a key")
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, key()).expect("an authority")
}

fn sound(sans: &[&str]) -> CertificateParams {
    let sans: Vec<String> = sans.iter().map(|&san| san.to_owned()).collect();
    let mut params = CertificateParams::new(sans).expect("alternative names");
    params.extended_key_usages = vec![Eku::ServerAuth, Eku::ClientAuth];
    params
}

fn server_crypto(of: &Identity) -> Arc<rustls::ServerConfig> {
    Arc::new(of.server_crypto(provider(), Arc::new(DefaultTimeProvider), &of.roots, ALPN).expect("a configuration"))
}

fn client_crypto(of: &Identity) -> Arc<rustls::ClientConfig> {
    Arc::new(of.client_crypto(provider(), Arc::new(DefaultTimeProvider), ALPN).expect("a configuration"))
}

/// Certificate and key as PEM.
fn issue(authority: &Authority, params: &CertificateParams) -> (String, String) {
    let key = key();
    (params.signed_by(&key, authority).expect("a certificate").pem(), key.serialize_pem())
}

fn identity(believed: &Authority, issued_by: &Authority, params: &CertificateParams) -> Identity {
    let (cert, key) = issue(issued_by, params);
    Identity::from_pem(believed.pem().as_bytes(), cert.as_bytes(), key.as_bytes()).expect("an identity")
}

fn refusal(ca: &str, cert: &str, key: &str) -> String {
    Identity::from_pem(ca.as_bytes(), cert.as_bytes(), key.as_bytes()).expect_err("refused").to_string()
}

fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_certificate_certifies_the_names_it_lists_and_no_others() {
    let ca = authority();
    let certified = |sans: &[&str], asked: &str| {
        let identity = identity(&ca, &ca, &sound(sans));
        certifies(&identity.certified_key.cert, &name(asked))
    };
    assert!(certified(&["n1"], "n1"));
    assert!(certified(&["N1"], "n1"), "DNS names have no case");
    assert!(certified(&["a.example", "b.example"], "b.example"));
    assert!(!certified(&["n1"], "n2"));
    assert!(!certified(&["n1"], "n11"));
    assert!(!certified(&["n1"], "n1.example"));
    let wildcard = identity(&ca, &ca, &sound(&["*.rexi.example"]));
    let any = ServerName::try_from("n1.rexi.example").expect("a name");
    let end_entity = EndEntityCert::try_from(&wildcard.certified_key.cert[0]).expect("a certificate");
    end_entity.verify_is_valid_for_subject_name(&any).expect("webpki alone takes wildcards");
    assert!(!wildcard.certifies_name(&name("n1.rexi.example")), "a wildcard passed for a node");
    assert!(!certified(&[], "n1"));
    assert!(!certified(&["10.0.0.1"], "10.0.0.1"), "an address passed for a name");
    assert!(!certifies(&[], &name("n1")));
    assert!(!certifies(&[CertificateDer::from(b"garbage".to_vec())], &name("n1")));
}

#[test]
fn the_common_name_certifies_nothing() {
    let ca = authority();
    let mut params = sound(&[]);
    params.distinguished_name.push(rcgen::DnType::CommonName, "n1");
    assert!(!identity(&ca, &ca, &params).certifies_name(&name("n1")));
}

#[test]
fn only_the_first_certificate_of_a_chain_names_the_peer() {
    let ca = authority();
    let [n1, n2] = ["n1", "n2"].map(|san| identity(&ca, &ca, &sound(&[san])).certified_key.cert.clone());
    let chain = [n1, n2].concat();
    assert!(certifies(&chain, &name("n1")));
    assert!(!certifies(&chain, &name("n2")));
}

#[test]
fn a_node_whose_certificate_names_another_is_refused() {
    let ca = authority();
    let error = identity(&ca, &ca, &sound(&["n2", "n3"])).check(&name("n1"), SystemTime::now()).expect_err("refused");
    assert!(matches!(error, IdentityError::WrongName { .. }));
    assert_contains(&error.to_string(), &["certificate PEM", "not a certificate of node n1", "[n2, n3]"]);
}

#[test]
fn a_certificate_that_peers_would_refuse_is_refused_at_start() {
    let ca = authority();
    let changed = |change: fn(&mut CertificateParams)| {
        let mut params = sound(&["n1"]);
        change(&mut params);
        identity(&ca, &ca, &params).check(&name("n1"), SystemTime::now())
    };
    changed(|_| {}).expect("the unchanged one passes");
    changed(|p| p.extended_key_usages = Vec::new()).expect("no stated usage means any");
    let refused = |part: &str, change: fn(&mut CertificateParams)| {
        let error = changed(change).expect_err(part);
        assert!(matches!(error, IdentityError::Untrusted { .. }), "{part}: {error}");
        assert_contains(&error.to_string(), &["certificate PEM", part, "must be issued by one of them"]);
    };
    refused("it expired", |p| p.not_after = date_time_ymd(2020, 1, 1));
    refused("is the clock right?", |p| p.not_before = date_time_ymd(4000, 1, 1));
    refused("TLS client", |p| p.extended_key_usages = vec![Eku::ServerAuth]);
    refused("TLS server", |p| p.extended_key_usages = vec![Eku::ClientAuth]);
    refused("CaUsedAsEndEntity", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let error = identity(&authority(), &ca, &sound(&["n1"])).check(&name("n1"), SystemTime::now());
    assert_contains(&error.expect_err("the wrong authority").to_string(), &["none of them issued it"]);
}

#[test]
fn an_intermediate_in_the_certificate_file_completes_the_chain() {
    let root = authority();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
    let intermediate = CertifiedIssuer::signed_by(params, key(), &root).expect("an intermediate");
    let (cert, key) = issue(&intermediate, &sound(&["n1"]));
    let check = |cert_pem: &str| {
        let identity = Identity::from_pem(root.pem().as_bytes(), cert_pem.as_bytes(), key.as_bytes());
        identity.expect("an identity").check(&name("n1"), SystemTime::now())
    };
    check(&format!("{cert}{}", intermediate.pem())).expect("accepted");
    assert!(check(&cert).is_err());
}

#[test]
fn a_certificate_expires_with_the_first_of_its_chain_to_the_second() {
    let at = |second: u64| UNIX_EPOCH + Duration::from_secs(second);
    let expires = |leaf: u64, intermediate: u64, now: u64| {
        let root = authority();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
        params.not_after = at(intermediate).into();
        let intermediate = CertifiedIssuer::signed_by(params, key(), &root).expect("an intermediate");
        let mut params = sound(&["n1"]);
        (params.not_before, params.not_after) = (at(1_000_000_000).into(), at(leaf).into());
        let (cert, key) = issue(&intermediate, &params);
        let chain = format!("{cert}{}", intermediate.pem());
        let identity = Identity::from_pem(root.pem().as_bytes(), chain.as_bytes(), key.as_bytes());
        identity.expect("an identity").expires(at(now))
    };
    let now = 1_800_000_000;
    // A certificate is valid up to its last second, and expires with the next.
    assert_eq!(expires(1_900_000_123, 2_000_000_000, now), Some(at(1_900_000_124)));
    assert_eq!(expires(2_000_000_000, 1_900_000_123, now), Some(at(1_900_000_124)), "the intermediate is first");
    assert_eq!(expires(now, now, now), Some(at(now + 1)), "in a second");
    assert_eq!(expires(now - 1, now, now), None, "a second ago");
    assert_eq!(expires(2_000_000_000, 2_000_000_000, 999_999_999), None, "not yet valid");
    assert_eq!(expires(END_OF_DATES - 1, END_OF_DATES - 1, now), Some(at(END_OF_DATES)), "never");
    let ca = authority();
    assert_eq!(identity(&authority(), &ca, &sound(&["n1"])).expires(at(now)), None, "nobody ever believes it");
    let believed = identity(&ca, &ca, &sound(&["n1"]));
    let began = std::time::Instant::now();
    assert!(believed.expires(at(now)).is_some());
    println!("found in {:?}", began.elapsed());
}

#[test]
fn an_ecdsa_key_serves_as_well() {
    let ca = authority();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let cert = sound(&["n1"]).signed_by(&key, &ca).expect("a certificate");
    let identity = Identity::from_pem(ca.pem().as_bytes(), cert.pem().as_bytes(), key.serialize_pem().as_bytes());
    identity.expect("an identity").check(&name("n1"), SystemTime::now()).expect("accepted");
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let ca = authority();
    let (cert, _) = issue(&ca, &sound(&["n1"]));
    let (_, other_key) = issue(&ca, &sound(&["n1"]));
    assert_contains(&refusal(&ca.pem(), &cert, &other_key), &["key PEM: not the key of certificate PEM"]);
}

#[test]
fn garbage_is_refused_by_the_name_of_its_part() {
    let ca = authority();
    let (cert, key) = issue(&ca, &sound(&["n1"]));
    let ca = ca.pem();
    let cut = |pem: &str| pem[..pem.len() / 2].to_owned();
    let not_base64 = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let second_bad = format!("{cert}{not_x509}");
    let cases: [(&str, &str, &str, &[&str]); 11] = [
        ("", &cert, &key, &["CA PEM: no CERTIFICATE section", "swapped"]),
        ("garbage", &cert, &key, &["CA PEM: no CERTIFICATE section"]),
        (&key, &cert, &key, &["CA PEM: no CERTIFICATE section", "swapped"]),
        (not_base64, &cert, &key, &["CA PEM: damaged PEM", "base64"]),
        (not_x509, &cert, &key, &["CA PEM: certificate 1 is not a usable X.509"]),
        (&ca, &key, &key, &["certificate PEM: no CERTIFICATE section", "swapped"]),
        (&ca, &cut(&cert), &key, &["certificate PEM: damaged PEM", "copy the file again"]),
        (&ca, &second_bad, &key, &["certificate PEM: certificate 2 is not a usable X.509"]),
        (&ca, &cert, &cert, &["key PEM: no unencrypted private key"]),
        (&ca, &cert, &cut(&key), &["key PEM: damaged PEM"]),
        (&ca, &cert, not_a_key, &["key PEM: unusable private key", "use an Ed25519"]),
    ];
    for (ca, cert, key, parts) in cases {
        assert_contains(&refusal(ca, cert, key), parts);
    }
}

#[test]
fn files_are_read_and_named_in_errors() {
    let dir = tempfile::tempdir().expect("a directory");
    let ca = authority();
    let (cert, key) = issue(&ca, &sound(&["n1"]));
    let path = |file: &str| dir.path().join(file);
    for (file, text) in [("ca.pem", &ca.pem()), ("n1.pem", &cert), ("n1.key", &key)] {
        std::fs::write(path(file), text).expect("written");
    }
    let identity = Identity::from_pem_files(path("ca.pem"), path("n1.pem"), path("n1.key")).expect("an identity");
    assert!(identity.certifies_name(&name("n1")));

    let missing = Identity::from_pem_files(path("ca.pem"), path("n1.pem"), path("n9.key")).expect_err("refused");
    assert!(matches!(missing, IdentityError::Unreadable { part: IdentityPart::Key, .. }));
    let shown = path("n9.key").display().to_string();
    assert_contains(&missing.to_string(), &["cannot read the key file", &shown, "check the path"]);
    let swapped = Identity::from_pem_files(path("ca.pem"), path("n1.key"), path("n1.pem")).expect_err("refused");
    assert_contains(&swapped.to_string(), &["certificate file", "n1.key", "swapped"]);
}

#[test]
fn a_file_is_read_up_to_the_bound_and_not_past_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    for (length, fits) in [(9, true), (10, true), (11, false), (10, true)] {
        std::fs::write(&path, vec![b'a'; length]).expect("written");
        assert_eq!(read_bounded(&path, 10).is_ok(), fits, "{length} bytes");
    }
}

#[test]
fn the_private_key_does_not_show_in_debug_output() {
    let ca = authority();
    let shown = format!("{:?}", identity(&ca, &ca, &sound(&["n1"])));
    assert_eq!(shown, "Identity { certificate: \"certificate PEM\", authorities: 1, .. }");
}

/// Runs the TLS handshake in memory; the error is that of the side that refused.
fn handshake(client: Arc<rustls::ClientConfig>, server: &Identity, dialled: &str) -> Result<(), rustls::Error> {
    let dialled = ServerName::try_from(dialled.to_owned()).expect("a name");
    let mut client = ClientConnection::new(client, dialled)?;
    let mut server = ServerConnection::new(server_crypto(server))?;
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        wire.clear();
        client.write_tls(&mut wire).expect("memory");
        let mut sent = Cursor::new(&wire);
        while (sent.position() as usize) < wire.len() {
            server.read_tls(&mut sent).expect("memory");
            server.process_new_packets()?;
        }
        wire.clear();
        server.write_tls(&mut wire).expect("memory");
        let mut sent = Cursor::new(&wire);
        while (sent.position() as usize) < wire.len() {
            client.read_tls(&mut sent).expect("memory");
            client.process_new_packets()?;
        }
    }
    let shown = server.peer_certificates().expect("the client showed its certificate");
    assert!(certifies(shown, &name("n1")));
    assert_eq!(server.alpn_protocol(), Some(b"rexi/1".as_slice()));
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    Ok(())
}

#[test]
fn two_nodes_of_one_authority_shake_hands() {
    let ca = authority();
    let [n1, n2] = ["n1", "n2"].map(|san| identity(&ca, &ca, &sound(&[san])));
    let client = || client_crypto(&n1);
    handshake(client(), &n2, "n2").expect("accepted");
    assert!(handshake(client(), &n2, "n3").is_err(), "n2 passed for n3");
}

#[tokio::test]
async fn two_nodes_meet_over_quic_and_learn_each_others_certificates() {
    let ca = authority();
    let [n1, n2] = ["n1", "n2"].map(|san| identity(&ca, &ca, &sound(&[san])));
    let loopback = "127.0.0.1:0".parse().expect("an address");
    let server_config = quinn::ServerConfig::with_crypto(n2.quic_crypto().expect("quinn takes it").server);
    let server = quinn::Endpoint::server(server_config, loopback).expect("a socket");
    let client = quinn::Endpoint::client(loopback).expect("a socket");
    let client_config = quinn::ClientConfig::new(n1.quic_crypto().expect("quinn takes it").client);
    let connecting = client.connect_with(client_config, server.local_addr().expect("bound"), "n2").expect("dialled");
    let accepted = async { server.accept().await.expect("open").await };
    let (dialled, accepted) = tokio::try_join!(connecting, accepted).expect("connected");
    let shows = |connection: &quinn::Connection, node: &str| {
        let shown = connection.peer_identity().expect("certificates").downcast::<Vec<CertificateDer<'static>>>();
        certifies(&shown.expect("rustls gives these"), &name(node))
    };
    assert!(shows(&dialled, "n2") && !shows(&dialled, "n1"));
    assert!(shows(&accepted, "n1") && !shows(&accepted, "n2"));
}

#[test]
fn the_server_refuses_who_shows_no_certificate_or_one_it_does_not_trust() {
    let ca = authority();
    let n2 = identity(&ca, &ca, &sound(&["n2"]));
    let mut anonymous = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_root_certificates(Arc::clone(&n2.roots))
        .with_no_client_auth();
    anonymous.alpn_protocols = vec![ALPN.to_vec()];
    let error = handshake(Arc::new(anonymous), &n2, "n2").expect_err("refused");
    assert_eq!(error, rustls::Error::NoCertificatesPresented);

    // Trusts the server's authority, but is certified by another.
    let mut expired = sound(&["n1"]);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut server_only = sound(&["n1"]);
    server_only.extended_key_usages = vec![Eku::ServerAuth];
    for (issuer, params) in [(&authority(), &sound(&["n1"])), (&ca, &expired), (&ca, &server_only)] {
        let client = client_crypto(&identity(&ca, issuer, params));
        let error = handshake(client, &n2, "n2").expect_err("refused");
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
    }
}

#[test]
fn the_client_refuses_a_server_it_does_not_trust() {
    let (ca, other) = (authority(), authority());
    let client = client_crypto(&identity(&other, &ca, &sound(&["n1"])));
    let error = handshake(client, &identity(&ca, &ca, &sound(&["n2"])), "n2").expect_err("refused");
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn nothing_is_resumed_and_nothing_is_sent_early() {
    let ca = authority();
    let n1 = identity(&ca, &ca, &sound(&["n1"]));
    let server = server_crypto(&n1);
    assert_eq!((server.max_early_data_size, server.send_tls13_tickets, server.max_tls13_tickets), (0, 0, 0));
    assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
    assert!(!client_crypto(&n1).enable_early_data);
}
