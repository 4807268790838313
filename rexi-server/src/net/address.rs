//! Socket addresses in one form, so that two that mean the same are equal.
//!
//! A socket that listens on all of IPv6 shows who comes over IPv4 as `::ffff:127.0.0.1`; a configuration has that as
//! `127.0.0.1`. Wherever addresses are compared, kept as keys or logged, they are in the shorter form.

use std::net::{SocketAddr, SocketAddrV6};

/// The one form of an address: IPv4 as IPv4, and without the flow label, which is no part of where it leads.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    let SocketAddr::V6(long) = address else { return address };
    match long.ip().to_ipv4_mapped() {
        Some(ip) => SocketAddr::from((ip, long.port())),
        None => SocketAddrV6::new(*long.ip(), long.port(), 0, long.scope_id()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_form() {
        for (given, form) in [
            ("[::ffff:127.0.0.1]:4001", "127.0.0.1:4001"),
            ("127.0.0.1:4001", "127.0.0.1:4001"),
            ("[::1]:4001", "[::1]:4001"),
            ("[::127.0.0.1]:4001", "[::7f00:1]:4001"),
            ("[fe80::1%2]:4001", "[fe80::1%2]:4001"),
        ] {
            let address = given.parse().expect("an address");
            assert_eq!(canonical(address).to_string(), form, "{given}");
        }
        let [plain, labelled] = [0, 7].map(|flow| SocketAddrV6::new([1; 8].into(), 4_001, flow, 3).into());
        assert_eq!(canonical(labelled), plain);
    }
}
