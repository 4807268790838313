//! Members found by DNS: the SRV records of one name, hosts that are given, or both.
//!
//! In: answers of name servers, asked anew each time. Out: names and addresses, of both families, since it is the node
//! that knows which it can dial. A host of which several addresses are known is dialed at the lowest, since servers
//! change the order with each answer. A host without an address is still a member: it keeps the one that it had.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData};
use rexi_proto::NodeName;
use tokio::time::Instant;

use super::address::PeerAddress;
use super::{MEMBERSHIP_INTERVAL, MemberList, Membership, MembershipError};
use crate::engine::MEMBERS_MAX;
use crate::net::canonical;

/// Members found by DNS (feature `dns`). The system's name servers are asked unless others are named.
///
/// ```no_run
/// use rexi_server::{NodeBuilder, NodeName, membership::DnsMembership};
///
/// fn found(node: NodeBuilder) -> Result<NodeBuilder, Box<dyn std::error::Error>> {
///     // All that this name's SRV records point to; of `n1.rexi.example.`, the node's name is `n1`.
///     Ok(node.membership(DnsMembership::srv("_rexi._udp.rexi.example.")?))
/// }
///
/// fn given(node: NodeBuilder) -> Result<NodeBuilder, Box<dyn std::error::Error>> {
///     // These, wherever they are.
///     let (n1, n2) = (NodeName::new("n1")?, NodeName::new("n2")?);
///     let hosts = [(n1, "a.example:4000".parse()?), (n2, "b.example:4000".parse()?)];
///     Ok(node.membership(DnsMembership::hosts(hosts)?))
/// }
/// ```
#[derive(Debug)]
pub struct DnsMembership {
    /// Whose SRV records name members.
    srv: Option<Name>,
    /// Where members are that are given.
    hosts: BTreeMap<NodeName, PeerAddress>,
    config: ResolverConfig,
    options: ResolverOpts,
    prefers_ipv6: bool,
    interval: Duration,
}

/// What SRV records say.
#[derive(Default)]
struct Targets {
    /// Where each node is, or why that is not known.
    nodes: BTreeMap<NodeName, Result<PeerAddress, String>>,
    /// What is wrong with targets that are no nodes.
    problems: Vec<String>,
}

impl DnsMembership {
    /// Who the SRV records of this name point to. A target's first label is the node's name, its A or AAAA record the
    /// address, the SRV record's port the port. Priorities and weights mean nothing here.
    ///
    /// A target that cannot be a node is logged, and the others are followed. A node with the port 0, or with two
    /// places, is a member whose address is not known.
    ///
    /// A node that is the first to be listed finds nobody else and takes itself for the whole cluster: let DNS list all
    /// nodes before the first of them is started, or that are yet to be ready.
    ///
    /// # Errors
    /// [`MembershipError`] where it is not a domain name, or the system's configuration of DNS cannot be read.
    pub fn srv(name: &str) -> Result<Self, MembershipError> {
        let parsed = Name::from_utf8(name).map_err(|error| MembershipError::new(name, error.to_string()))?;
        Self::new(Some(parsed), name)
    }

    /// These nodes. Their names are known beforehand; their hosts are looked up again and again.
    ///
    /// # Errors
    /// [`MembershipError`] where the system's configuration of DNS cannot be read.
    pub fn hosts(hosts: impl IntoIterator<Item = (NodeName, PeerAddress)>) -> Result<Self, MembershipError> {
        Ok(Self::new(None, "DNS")?.and_hosts(hosts))
    }

    /// These nodes too. They are where this says, whatever SRV records say of them; and they are followed while those
    /// cannot be had.
    #[must_use]
    pub fn and_hosts(mut self, hosts: impl IntoIterator<Item = (NodeName, PeerAddress)>) -> Self {
        self.hosts.extend(hosts);
        self
    }

    fn new(srv: Option<Name>, origin: &str) -> Result<Self, MembershipError> {
        let (config, mut options) = hickory_resolver::system_conf::read_system_conf()
            .map_err(|error| MembershipError::new(origin, format!("the system's name servers: {error}")))?;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = QUERY_TIME_LIMIT;
        // What hickory calls so are those behind the first.
        options.attempts = QUERY_ATTEMPTS_MAX - 1;
        let (hosts, interval) = (BTreeMap::new(), MEMBERSHIP_INTERVAL);
        Ok(Self { srv, hosts, config, options, prefers_ipv6: false, interval })
    }

    /// Asks this name server and none of the system's, over UDP and, where an answer does not fit, over TCP.
    #[must_use]
    pub fn name_server(mut self, address: SocketAddr) -> Self {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        self.config = ResolverConfig::from_name_servers(vec![server]);
        self
    }

    /// Takes an IPv4 address of a host only where it has no IPv6 address. Default: the other way round. It makes a
    /// difference to a node that listens on all of IPv6; any other takes an address of its own family.
    #[must_use]
    pub fn prefer_ipv6(mut self) -> Self {
        self.prefers_ipv6 = true;
        self
    }

    /// How long after an answer the next one is asked for. Default: 5 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long one name server may take for one question, which is asked twice. Default: 2 s.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.options.timeout = limit;
        self
    }

    /// A new one for each answer: nothing that was cached is taken for an answer, and nothing runs between two.
    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let provider = TokioRuntimeProvider::default();
        TokioResolver::builder_with_config(self.config.clone(), provider).with_options(self.options.clone()).build()
    }

    /// The nodes that SRV records name, each with the host to be looked up and its port.
    async fn targets(&self, resolver: &TokioResolver, name: &Name) -> Result<Targets, MembershipError> {
        let error = |reason: String| MembershipError::new(format!("SRV records of {name}"), reason);
        let found = resolver.srv_lookup(name.clone()).await.map_err(|e| error(e.to_string()))?;
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(SRV { target, port, .. }) => Some((target.to_lowercase(), *port)),
            _ => None,
        });
        // In an order of their own, so that what is wrong with them is said in the same words each time.
        let records: BTreeSet<(Name, u16)> = records.collect();
        Targets::of(records).map_err(error)
    }

    /// Addresses of a host in the order in which they are to be tried.
    async fn look_up(&self, resolver: &TokioResolver, place: PeerAddress) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = match place {
            PeerAddress::At(address) => return Ok(vec![address]),
            PeerAddress::Host { host, port } => (host, port),
        };
        let found = resolver.lookup_ip(host.as_str()).await.map_err(|error| match error.is_no_records_found() {
            // Not in the words of one family.
            true => format!("{host} has no address"),
            false => format!("{host}: {error}"),
        })?;
        let addresses = found.iter().map(|ip| canonical(SocketAddr::new(ip, port)));
        let mut addresses: Vec<_> = addresses.collect();
        addresses.sort_by_key(|address| (address.is_ipv4() == self.prefers_ipv6, *address));
        addresses.dedup();
        if addresses.is_empty() { Err(format!("{host} has no address")) } else { Ok(addresses) }
    }
}

impl Targets {
    /// What these records say, good or bad; `Err`: nothing.
    fn of(records: BTreeSet<(Name, u16)>) -> Result<Self, String> {
        if records.len() > MEMBERS_MAX {
            return Err(format!("there are more than {MEMBERS_MAX}"));
        }
        let mut targets = Self::default();
        for (target, port) in records {
            let Some(label) = target.iter().next().map(String::from_utf8_lossy) else {
                targets.problems.push("they say that there is no such service".to_owned());
                continue;
            };
            let node = match NodeName::new(label) {
                Ok(node) => node,
                Err(reason) => {
                    targets.problems.push(format!("{target} does not begin with a node's name: {reason}"));
                    continue;
                }
            };
            let place = match port {
                0 => Err(format!("{target} has the port 0")),
                port => Ok(PeerAddress::Host { host: target.to_ascii(), port }),
            };
            match targets.nodes.entry(node) {
                Entry::Vacant(entry) => {
                    entry.insert(place);
                }
                Entry::Occupied(mut entry) => {
                    let reason = match entry.get() {
                        Ok(other) => format!("{other} and {target}:{port} would both be {}", entry.key()),
                        Err(reason) => format!("{reason}; and {target}:{port} would be {} too", entry.key()),
                    };
                    *entry.get_mut() = Err(reason);
                }
            }
        }
        match targets.nodes.is_empty() {
            // The node would take itself for the whole cluster.
            true => Err(format!("they name no node: {}", targets.problems.join("; "))),
            false => Ok(targets),
        }
    }
}

impl Membership for DnsMembership {
    async fn members(&self) -> Result<MemberList, MembershipError> {
        let began = Instant::now();
        let resolver = self.resolver().map_err(|error| MembershipError::new("DNS", error.to_string()))?;
        let mut members = MemberList::new();
        let mut places = self.hosts.clone();
        if let Some(name) = &self.srv {
            match self.targets(&resolver, name).await {
                Ok(Targets { nodes, problems }) => {
                    problems.into_iter().for_each(|problem| members.add_problem(problem));
                    for (node, place) in nodes {
                        match place {
                            _ if self.hosts.contains_key(&node) => {}
                            Ok(place) => {
                                places.insert(node, place);
                            }
                            Err(reason) => members.insert_unresolved(node, reason),
                        }
                    }
                }
                Err(error) if self.hosts.is_empty() => return Err(error),
                Err(error) => members.set_incomplete(error.to_string()),
            }
        }
        let until = began + LOOKUPS_TIME_LIMIT;
        let lookups = places.into_iter().map(async |(node, place)| {
            let late = format!("{place} was not looked up within {LOOKUPS_TIME_LIMIT:?}");
            let found = tokio::time::timeout_at(until, self.look_up(&resolver, place)).await;
            (node, found.unwrap_or(Err(late)))
        });
        let mut found = iter(lookups).buffered(LOOKUPS_MAX);
        while let Some((node, addresses)) = found.next().await {
            match addresses {
                Ok(addresses) => members.insert_all(node, addresses),
                Err(reason) => members.insert_unresolved(node, reason),
            }
        }
        Ok(members)
    }

    fn known(&self) -> Option<MemberList> {
        let mut members = MemberList::new();
        if let Some(name) = &self.srv {
            members.set_incomplete(format!("the SRV records of {name} were not asked for yet"));
        }
        for (node, place) in &self.hosts {
            match place {
                PeerAddress::At(address) => members.insert(node.clone(), *address),
                PeerAddress::Host { .. } => members.insert_unresolved(node.clone(), "it was not looked up yet"),
            }
        }
        Some(members).filter(|members| members.is_complete() || !members.is_empty())
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }
}

/// How long one server may take for one question.
const QUERY_TIME_LIMIT: Duration = Duration::from_secs(2);

/// How often a question is asked that is not answered.
const QUERY_ATTEMPTS_MAX: usize = 2;

/// How long all of an answer may take. A host that has not been looked up by then must not keep the others from being
/// followed, as it would if the whole answer came too late.
const LOOKUPS_TIME_LIMIT: Duration = Duration::from_secs(8);

/// Hosts that are looked up at once.
const LOOKUPS_MAX: usize = 16;

#[cfg(test)]
mod tests;
