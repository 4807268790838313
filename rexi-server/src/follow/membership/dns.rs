//! Members found by DNS: the SRV records of one name, or the addresses of host names that are given.
//!
//! In: answers of name servers, asked anew each time. Out: names and addresses. A host of which several addresses are
//! known is dialed at the lowest, since servers change the order with each answer. A host without an address is still a
//! member: it keeps the one that it had.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
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

use super::{MEMBERSHIP_INTERVAL, MemberList, Membership, MembershipError};
use crate::engine::MEMBERS_MAX;

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
///     let hosts = [(NodeName::new("n1")?, "a.example:4000"), (NodeName::new("n2")?, "b.example:4000")];
///     Ok(node.membership(DnsMembership::hosts(hosts)?))
/// }
/// ```
#[derive(Debug)]
pub struct DnsMembership {
    query: Query,
    config: ResolverConfig,
    options: ResolverOpts,
    interval: Duration,
}

#[derive(Debug)]
enum Query {
    Srv(Name),
    Hosts(BTreeMap<NodeName, (String, u16)>),
}

impl DnsMembership {
    /// Who the SRV records of this name point to. A target's first label is the node's name, its A or AAAA record the
    /// address, the SRV record's port the port. Priorities and weights mean nothing here.
    ///
    /// A node that is the first to be listed finds nobody else and takes itself for the whole cluster: let DNS list all
    /// nodes before the first of them is started, or that are yet to be ready.
    ///
    /// # Errors
    /// [`MembershipError`] where it is not a domain name, or the system's configuration of DNS cannot be read.
    pub fn srv(name: &str) -> Result<Self, MembershipError> {
        let parsed = Name::from_utf8(name).map_err(|error| MembershipError::new(name, error.to_string()))?;
        Self::new(Query::Srv(parsed), name)
    }

    /// These nodes, each at `host:port`. Their names are known beforehand; their hosts are looked up again and again.
    ///
    /// # Errors
    /// [`MembershipError`] where one is not a `host:port`, or the system's configuration of DNS cannot be read.
    pub fn hosts<H: AsRef<str>>(hosts: impl IntoIterator<Item = (NodeName, H)>) -> Result<Self, MembershipError> {
        let parse = |(name, host): (NodeName, H)| Ok((name, parse_host(host.as_ref())?));
        let hosts: BTreeMap<_, _> = hosts.into_iter().map(parse).collect::<Result<_, MembershipError>>()?;
        Self::new(Query::Hosts(hosts), "DNS")
    }

    fn new(query: Query, origin: &str) -> Result<Self, MembershipError> {
        let (config, mut options) = hickory_resolver::system_conf::read_system_conf()
            .map_err(|error| MembershipError::new(origin, format!("the system's name servers: {error}")))?;
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        options.timeout = QUERY_TIME_LIMIT;
        // What hickory calls so are those behind the first.
        options.attempts = QUERY_ATTEMPTS_MAX - 1;
        Ok(Self { query, config, options, interval: MEMBERSHIP_INTERVAL })
    }

    /// Asks this name server and none of the system's, over UDP and, where an answer does not fit, over TCP.
    #[must_use]
    pub fn name_server(mut self, address: SocketAddr) -> Self {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        self.config = ResolverConfig::from_name_servers(vec![server]);
        self
    }

    /// Takes an IPv4 address only where a host has no IPv6 address. Default: the other way round.
    #[must_use]
    pub fn prefer_ipv6(mut self) -> Self {
        self.options.ip_strategy = LookupIpStrategy::Ipv6thenIpv4;
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
    async fn targets(
        &self,
        resolver: &TokioResolver,
        name: &Name,
    ) -> Result<BTreeMap<NodeName, (String, u16)>, MembershipError> {
        let error = |reason: String| MembershipError::new(format!("SRV records of {name}"), reason);
        let found = resolver.srv_lookup(name.clone()).await.map_err(|e| error(e.to_string()))?;
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv),
            _ => None,
        });
        let mut targets = BTreeMap::new();
        for SRV { target, port, .. } in records {
            let label = target.iter().next().map(|label| String::from_utf8_lossy(label).to_lowercase());
            let label = label.ok_or_else(|| error("they say that there is no such service".to_owned()))?;
            let node =
                NodeName::new(label).map_err(|e| error(format!("{target} does not begin with a node's name: {e}")))?;
            if *port == 0 {
                return Err(error(format!("{target} has the port 0")));
            }
            if targets.len() >= MEMBERS_MAX && !targets.contains_key(&node) {
                return Err(error(format!("there are more than {MEMBERS_MAX}")));
            }
            let place = (target.to_ascii(), *port);
            if let Some(other) = targets.insert(node.clone(), place.clone()).filter(|other| *other != place) {
                let (host, other_port) = other;
                return Err(error(format!("{host}:{other_port} and {target}:{port} would both be {node}")));
            }
        }
        Ok(targets)
    }
}

impl Membership for DnsMembership {
    async fn members(&self) -> Result<MemberList, MembershipError> {
        let resolver = self.resolver().map_err(|error| MembershipError::new("DNS", error.to_string()))?;
        let targets = match &self.query {
            Query::Srv(name) => self.targets(&resolver, name).await?,
            Query::Hosts(hosts) => hosts.clone(),
        };
        let lookups = targets.into_iter().map(|(node, (host, port))| look_up(&resolver, node, host, port));
        let mut members = MemberList::new();
        let mut found = iter(lookups).buffered(LOOKUPS_MAX);
        while let Some((node, address)) = found.next().await {
            match address {
                Ok(address) => members.insert(node, address),
                Err(reason) => members.insert_unresolved(node, reason),
            }
        }
        Ok(members)
    }

    fn known(&self) -> Option<MemberList> {
        let Query::Hosts(hosts) = &self.query else { return None };
        let mut members = MemberList::new();
        hosts.keys().for_each(|node| members.insert_unresolved(node.clone(), "it was not looked up yet"));
        Some(members)
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }
}

async fn look_up(
    resolver: &TokioResolver,
    node: NodeName,
    host: String,
    port: u16,
) -> (NodeName, Result<SocketAddr, String>) {
    let found = resolver.lookup_ip(host.as_str()).await;
    let lowest: Result<Option<IpAddr>, _> = found.map(|found| found.iter().min());
    let address = match lowest {
        Ok(Some(address)) => Ok(SocketAddr::new(address, port)),
        Ok(None) => Err(format!("{host} has no address")),
        Err(error) => Err(format!("{host}: {error}")),
    };
    (node, address)
}

fn parse_host(text: &str) -> Result<(String, u16), MembershipError> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok().filter(|&p| p != 0)?)));
    let bare = |host: &str| host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
    match parts {
        Some((host, port)) if !host.is_empty() => Ok((bare(host), port)),
        _ => Err(MembershipError::new(format!("host {text:?}"), "expected host:port, such as n1.example:4000")),
    }
}

/// How long one server may take for one question.
const QUERY_TIME_LIMIT: Duration = Duration::from_secs(2);

/// How often a question is asked that is not answered.
const QUERY_ATTEMPTS_MAX: usize = 2;

/// Hosts that are looked up at once.
const LOOKUPS_MAX: usize = 16;

#[cfg(test)]
mod tests;
