//! Checks that every setting of quinn is known here: its configurations list their fields in their debug output.

use std::collections::BTreeMap;
use std::fmt::Debug;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::net::identity::Identity;

/// Known, and as quinn has it.
const AS_QUINN_HAS_IT: [&str; 21] = [
    "allow_spin",
    "crypto_buffer_size",
    "datagram_send_buffer_size",
    "enable_segmentation_offload",
    "grease_quic_bit",
    "initial_mtu",
    "initial_rtt",
    "max_udp_payload_size",
    "min_mtu",
    "mtu_discovery_config",
    "packet_threshold",
    "pad_to_mtu",
    "persistent_congestion_threshold",
    "preferred_address_v4",
    "preferred_address_v6",
    "retry_token_lifetime",
    "send_fairness",
    "supported_versions",
    "time_threshold",
    "validation_token",
    "version",
];

/// Known, and set to something else.
const OF_OUR_OWN: [&str; 14] = [
    "ack_frequency_config",
    "datagram_receive_buffer_size",
    "incoming_buffer_size",
    "incoming_buffer_size_total",
    "keep_alive_interval",
    "max_concurrent_bidi_streams",
    "max_concurrent_uni_streams",
    "max_idle_timeout",
    "max_incoming",
    "migration",
    "receive_window",
    "rng_seed",
    "send_window",
    "stream_receive_window",
];

/// Field by field, as the debug output has them.
fn fields(config: &impl Debug) -> BTreeMap<String, String> {
    let (text, mut fields, mut name) = (format!("{config:#?}"), BTreeMap::new(), String::new());
    for line in text.lines() {
        let outermost = line.strip_prefix("    ").filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        if let Some((found, value)) = outermost.and_then(|rest| rest.split_once(": ")) {
            name = found.to_owned();
            fields.insert(name.clone(), value.to_owned());
        } else if let Some(value) = fields.get_mut(&name) {
            value.push_str(line);
        }
    }
    fields
}

#[test]
fn every_setting_of_quinn_is_known_and_those_said_to_be_its_defaults_are() {
    let env = NodeEnv::system();
    let settings = Settings::new(&Limits::default(), &env);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["n1".to_owned()]).expect("a name");
    let (cert, key) = (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem());
    let identity = Identity::from_pem(cert.as_bytes(), cert.as_bytes(), key.as_bytes()).expect("an identity");
    let crypto = identity.quic_crypto().expect("a configuration");

    let (mut same, mut other) = (Vec::new(), Vec::new());
    let mut compare = |ours: BTreeMap<String, String>, of_quinn: BTreeMap<String, String>| {
        assert!(!ours.is_empty() && ours.keys().eq(of_quinn.keys()), "{ours:?}");
        for (name, value) in ours.into_iter().filter(|(name, _)| name != "transport") {
            if of_quinn[&name] == value { &mut same } else { &mut other }.push(name);
        }
    };
    compare(fields(&*settings.transport), fields(&TransportConfig::default()));
    compare(fields(&settings.endpoint(env.random())), fields(&EndpointConfig::new(env.random().reset_key())));
    let of_quinn = ServerConfig::new(Arc::clone(&crypto.server), env.random().token_key());
    compare(fields(&settings.server(&crypto)), fields(&of_quinn));
    compare(fields(&settings.client(&crypto)), fields(&ClientConfig::new(Arc::clone(&crypto.client))));
    same.sort_unstable();
    other.sort_unstable();
    assert_eq!((same, other), (AS_QUINN_HAS_IT.map(str::to_owned).into(), OF_OUR_OWN.map(str::to_owned).into()));
}

#[test]
fn the_settings_within_settings_are_known() {
    let names = |config: BTreeMap<String, String>| config.into_keys().collect::<Vec<_>>();
    let discovery = ["black_hole_cooldown", "interval", "minimum_change", "upper_bound"];
    assert_eq!(names(fields(&quinn::MtuDiscoveryConfig::default())), discovery);
    let ack = ["ack_eliciting_threshold", "max_ack_delay", "reordering_threshold"];
    assert_eq!(names(fields(&quinn::AckFrequencyConfig::default())), ack);
    assert_eq!(names(fields(&ValidationTokenConfig::default())), ["lifetime", "sent"]);
}
