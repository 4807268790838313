//! Where a member is, as somebody writes it: an address, or a host that has to be looked up.
//!
//! In: a text. Out: a [`PeerAddress`], or what is wrong with the text. Looking a host up is left to `dns.rs`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use rexi_proto::NodeName;
use thiserror::Error;

use crate::net::canonical;

/// Where a member is dialed.
///
/// As a text: `127.0.0.1:4001`, `[::1]:4001` or `n1.example:4001`. A host is a DNS name, taken in lower case; its
/// labels may have `_`, as container names have. With a dot at its end it is looked up as it stands, without the
/// system's search list.
///
/// ```
/// use rexi_server::membership::PeerAddress;
/// let address: PeerAddress = "N1.example:4001".parse()?;
/// assert_eq!(address, PeerAddress::Host { host: "n1.example".to_owned(), port: 4001 });
/// # Ok::<(), rexi_server::membership::PeerAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerAddress {
    /// There, always. An IPv4 address that is written as an IPv6 one is the IPv4 address.
    At(SocketAddr),
    /// Wherever the host is now.
    Host {
        /// Its DNS name.
        host: String,
        /// The UDP port there.
        port: u16,
    },
}

/// A text that says no place to dial. The author is at fault; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerAddressError {
    /// There is no port.
    #[error("it has no port; give address and port or host and port, such as \"[::1]:4001\" or \"n1.example:4001\"")]
    NoPort,
    /// What stands for the port is none.
    #[error("its port cannot be dialled; give one from 1 to 65535")]
    BadPort,
    /// There is nothing before the port.
    #[error("it has a port and no host; give host and port, such as \"n1.example:4001\"")]
    NoHost,
    /// The address stands for all of a machine's.
    #[error("it stands for all addresses of a machine, and cannot be dialled; give the member's own")]
    Unspecified,
    /// What stands for the host is neither an address nor a name.
    #[error(
        "its host is neither an IP address nor a DNS name, which has 1 to 253 bytes of labels of a-z, 0-9, '-' and \
         '_', joined by '.', none empty, over 63 bytes, or with '-' at an end, and the last not a number"
    )]
    BadHost,
}

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return at(canonical(address));
        }
        // An IPv6 address is all colons: what looks like its port is a part of it.
        let is_bare = text.parse::<IpAddr>().is_ok() || text.ends_with(']');
        let Some((host, port)) = text.rsplit_once(':').filter(|_| !is_bare) else {
            return Err(PeerAddressError::NoPort);
        };
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let number = port.parse().ok().filter(|&number: &u16| is_number && number != 0);
        let number = number.ok_or(PeerAddressError::BadPort)?;
        match host {
            "" => Err(PeerAddressError::NoHost),
            _ if is_dns_name(host) => Ok(Self::Host { host: host.to_ascii_lowercase(), port: number }),
            _ => Err(PeerAddressError::BadHost),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

fn at(address: SocketAddr) -> Result<PeerAddress, PeerAddressError> {
    match address {
        _ if address.port() == 0 => Err(PeerAddressError::BadPort),
        _ if address.ip().is_unspecified() => Err(PeerAddressError::Unspecified),
        _ => Ok(PeerAddress::At(address)),
    }
}

/// A host's name is made as a node's, but may have `_`. As in URLs, it does not end in a number: a mistyped IPv4
/// address must not be looked up for ever.
fn is_dns_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let ends_in_number = name.rsplit('.').next().is_some_and(is_number);
    !ends_in_number && NodeName::new(name.to_ascii_lowercase().replace('_', "x")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_host_with_a_port() {
        for (text, shown, is_host) in [
            ("127.0.0.1:4001", "127.0.0.1:4001", false),
            ("[::1]:4001", "[::1]:4001", false),
            ("[::ffff:127.0.0.1]:4001", "127.0.0.1:4001", false),
            ("n1:65535", "n1:65535", true),
            ("N1.Rexi.SVC:1", "n1.rexi.svc:1", true),
            ("n1.example.:4001", "n1.example.:4001", true),
            ("my_cluster-n1_1:4001", "my_cluster-n1_1:4001", true),
            ("4001.example:4001", "4001.example:4001", true),
        ] {
            let place: PeerAddress = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((place.to_string().as_str(), matches!(place, PeerAddress::Host { .. })), (shown, is_host));
            assert_eq!(place.to_string().parse(), Ok(place), "{text}");
        }
    }

    #[test]
    fn what_is_no_place_to_dial_is_refused_with_the_part_that_is_wrong() {
        let parse = |text: &str| text.parse::<PeerAddress>();
        for text in ["n1.example", "127.0.0.1", "[::1]", "::1", "::1:4001", "", "4001"] {
            assert_eq!(parse(text), Err(PeerAddressError::NoPort), "{text}");
        }
        for port in ["", "0", "00", "65536", "+1", "-1", " 4001", "4o01", "http"] {
            for host in ["n1.example", "127.0.0.1", "[::1]"] {
                assert_eq!(parse(&format!("{host}:{port}")), Err(PeerAddressError::BadPort), "{host}:{port}");
            }
        }
        assert_eq!(parse(":4001"), Err(PeerAddressError::NoHost));
        for ip in ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"] {
            assert_eq!(parse(&format!("{ip}:1")), Err(PeerAddressError::Unspecified), "{ip}");
        }
        let long = ["x".repeat(64), format!("{}y", "x.".repeat(127))];
        let hosts = ["n1..example", ".n1", "-n1", "n1-.example", "n 1", "ä.example", "[n1]", "[::1", "a:b", "n1/x"];
        for host in hosts.into_iter().chain(["300.0.0.1", "127.0.0.1.1", "7"]).chain(long.iter().map(String::as_str)) {
            assert_eq!(parse(&format!("{host}:4001")), Err(PeerAddressError::BadHost), "{host}");
        }
        assert!(parse(&format!("{}:1", "x".repeat(63))).is_ok());
        assert!(parse(&format!("{}yy.:1", "x.".repeat(125) + "z")).is_ok(), "253 bytes, and the dot at the end");
    }
}
