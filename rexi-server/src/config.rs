//! A node's configuration: a TOML file, and environment variables that override it key by key.
//!
//! In goes text; out comes a [`Config`] whose parts agree with each other, or a [`ConfigError`] that says what is
//! wrong, where, and what is allowed. Nothing unknown is skipped: a misspelt ceiling that was skipped would leave a
//! node in the wrong phase. What to do with the parts, and when to read the phase file again, is left to the
//! executable.

mod document;
mod environment;
mod error;
mod keys;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rexi_proto::{Limits, NodeName, Profile, Train};

use self::document::{Document, Given, environment};
pub use self::error::{ConfigError, ConfigPlace};
use self::keys::set_limit;
pub use self::keys::{CONFIG_KEYS, ConfigKey};
use crate::engine::{AllowList, CALL_TIME_LIMIT, DRAIN_LIMIT, OperatorList};
use crate::files::read_text;
use crate::follow::{Ceilings, IDENTITY_INTERVAL, IdentityFiles, PHASE_FILE_BYTES_MAX, PeerAddress};
#[cfg(feature = "dns")]
use crate::follow::{DnsMembership, MembershipError};
use crate::net::{Identity, IdentityError, canonical};

/// The configuration of a node.
///
/// [`CONFIG_KEYS`] has every key with its variable, unit and default, and `docs/configuration.md` shows them. In short:
/// `name`, `listen`, `release`, `cluster`; the tables `identity`, `peers`, `membership`, `allow`, `rollout`, `admin`,
/// `calls`, `drain` and `limits`.
///
/// A release is one of the service's [`Train`], or a patch of it. Files are relative to the directory of the
/// configuration file. Numbers are written without quotes; everything
/// else is a string. The `[identity]` table may be left out, for a node that gets its identity in code.
///
/// ```
/// use rexi_server::{SERVER_PER_NODE, Train, WireVersion};
///
/// let train = Train::new("greeter")
///     .release("1.1", |r| r.wire(WireVersion::V2).introduce(SERVER_PER_NODE))
///     .release("1.2", |r| r.switch(SERVER_PER_NODE));
/// let mut config = rexi_server::Config::from_toml(
///     r#"
///         name = "n1"
///         listen = "127.0.0.1:4001"
///         release = "1.2"
///
///         [identity]
///         ca = "ca.pem"
///         cert = "n1.pem"
///         key = "n1.key"
///
///         [peers]
///         n1 = "127.0.0.1:4001"
///         n2 = "127.0.0.1:4002"
///         n3 = "n3.greeter.example:4001"
///
///         [rollout]
///         ceiling = "introduce"
///         file = "phase"
///     "#,
///     "n1.toml",
///     &train,
/// )?;
/// config.apply_env(std::env::vars_os())?;
/// let peers: Vec<String> = config.peers().map(|(name, address)| format!("{name} {address}")).collect();
/// assert_eq!(peers, ["n2 127.0.0.1:4002", "n3 n3.greeter.example:4001"]);
/// # Ok::<(), rexi_server::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    name: NodeName,
    listen: SocketAddr,
    cluster: Option<String>,
    profile: Profile,
    identity: Option<IdentityFiles>,
    /// As written, so with the node itself where it is listed.
    peers: BTreeMap<NodeName, PeerAddress>,
    ceilings: Ceilings,
    phase_file: Option<PathBuf>,
    state: Option<PathBuf>,
    serves_unrecorded: bool,
    operate: Option<(SocketAddr, PathBuf)>,
    operators: OperatorList,
    admin: Option<SocketAddr>,
    admin_hosts: Vec<String>,
    drain_limit: Duration,
    limits: Limits,
    call_time_limit: Option<Duration>,
    identity_interval: Duration,
    membership_srv: Option<String>,
    membership_interval: Option<Duration>,
    allowed: Option<AllowList>,
    train: Train,
    source: Arc<Source>,
    overrides: BTreeMap<String, String>,
}

/// What a configuration is read from, and read again with what the environment overrides.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    text: String,
    origin: String,
    /// Paths are relative to it.
    dir: PathBuf,
}

impl Config {
    /// Reads a configuration file of at most [`CONFIG_FILE_BYTES_MAX`], for a node of this train. Paths in it are
    /// relative to its directory.
    ///
    /// # Errors
    /// [`ConfigError`], the first one found, with the file's path and mostly the line.
    pub fn from_file(path: impl AsRef<Path>, train: &Train) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = read_text(path, CONFIG_FILE_BYTES_MAX).map_err(unreadable(path))?;
        let (origin, dir) = (path.display().to_string(), path.parent().unwrap_or(Path::new("")).to_owned());
        Self::parse(train, &Arc::new(Source { text, origin, dir }), &BTreeMap::new())
    }

    /// Takes a configuration text, for a node of this train; `origin` stands for it in errors. Paths in it are relative
    /// to the working directory.
    ///
    /// # Errors
    /// [`ConfigError`], the first one found.
    pub fn from_toml(text: &str, origin: &str, train: &Train) -> Result<Self, ConfigError> {
        let source = Source { text: text.to_owned(), origin: origin.to_owned(), dir: PathBuf::new() };
        Self::parse(train, &Arc::new(source), &BTreeMap::new())
    }

    /// Overrides keys by the variables of [`CONFIG_KEYS`], out of all that there are: `REXI_LIMITS_JOBS_MAX` is
    /// `jobs_max` of `[limits]`, `REXI_PHASE` (or `REXI_ROLLOUT_CEILING`) the ceiling, and `REXI_PEERS` a list
    /// `n1=127.0.0.1:4001,n2=n2.example:4001` in place of the table. One that holds nothing is refused, and so is one
    /// that was meant for a key and is none's: it begins as a table's do, or is nearly a known one. Others are passed
    /// over, since an orchestrator sets such variables of its own.
    ///
    /// # Errors
    /// [`ConfigError`], the first one found; the configuration is then as before.
    pub fn apply_env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), ConfigError> {
        let mut overrides = self.overrides.clone();
        overrides.extend(environment::overrides(variables)?);
        *self = Self::parse(&self.train, &self.source, &overrides)?;
        Ok(())
    }

    /// The node's name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The UDP address to serve at.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The profile of the release that the node runs.
    pub fn profile(&self) -> Profile {
        self.profile.clone()
    }

    /// The files of the node's identity, if the configuration names them.
    pub fn identity_files(&self) -> Option<&IdentityFiles> {
        self.identity.as_ref()
    }

    /// The other members and where each is, by name; the node itself is left out. Hosts need the feature `dns`: see
    /// [`NodeBuilder::from_config`](crate::NodeBuilder::from_config).
    pub fn peers(&self) -> impl Iterator<Item = (&NodeName, &PeerAddress)> {
        self.peers.iter().filter(|(name, _)| **name != self.name)
    }

    /// The cluster's name, where it is not the train's.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// The highest phases that the operator allows, which the release allows too. What is not named is left to the
    /// release.
    pub fn ceilings(&self) -> &Ceilings {
        &self.ceilings
    }

    /// The file to read further ceilings from while the node runs.
    pub fn phase_file(&self) -> Option<&Path> {
        self.phase_file.as_deref()
    }

    /// The directory in which the node keeps the record of its cluster.
    pub fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// Whether the node serves although no record is known yet.
    pub fn serves_without_record(&self) -> bool {
        self.serves_unrecorded
    }

    /// Where to open the port for operators' commands, with the feature `operate`, and the file of their authorities.
    pub fn operate(&self) -> Option<(SocketAddr, &Path)> {
        self.operate.as_ref().map(|(address, ca)| (*address, ca.as_path()))
    }

    /// Which operator may ask what there.
    pub fn operators(&self) -> &OperatorList {
        &self.operators
    }

    /// Where to open the port for operators, with the feature `admin`.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The names that it may be asked by, beside its own: for `AdminPort::open_as`.
    pub fn admin_hosts(&self) -> impl Iterator<Item = String> {
        self.admin_hosts.clone().into_iter()
    }

    /// How long jobs may go on when the node leaves: what to give [`Node::shutdown`](crate::Node::shutdown).
    pub fn drain_limit(&self) -> Duration {
        self.drain_limit
    }

    /// How long a call for one reply waits that says nothing of it: see
    /// [`NodeBuilder::call_time_limit`](crate::NodeBuilder::call_time_limit).
    pub fn call_time_limit(&self) -> Option<Duration> {
        self.call_time_limit
    }

    /// How often the files of the identity are looked at while the node runs.
    pub fn identity_interval(&self) -> Duration {
        self.identity_interval
    }

    /// The name whose SRV records point to further members.
    pub fn membership_srv(&self) -> Option<&str> {
        self.membership_srv.as_deref()
    }

    /// How often DNS is asked for members, if the configuration says so.
    pub fn membership_interval(&self) -> Option<Duration> {
        self.membership_interval
    }

    /// The members that DNS is asked for: those of `[peers]` that are hosts, and those of `membership.srv`; a node that
    /// both name is at the host. `None` where the configuration has neither.
    ///
    /// [`NodeBuilder::from_config`](crate::NodeBuilder::from_config) has the node follow this. To ask another name
    /// server than the system's, give it to [`NodeBuilder::membership`](crate::NodeBuilder::membership) once more, with
    /// [`DnsMembership::name_server`].
    ///
    /// # Errors
    /// [`MembershipError`] where the name is not a domain name, or the system's configuration of DNS cannot be read.
    #[cfg(feature = "dns")]
    pub fn dns_membership(&self) -> Result<Option<DnsMembership>, MembershipError> {
        let mut hosts = self.peers().filter(|(_, address)| matches!(address, PeerAddress::Host { .. })).peekable();
        let found = match (&self.membership_srv, hosts.peek().is_some()) {
            (None, false) => return Ok(None),
            (None, true) => DnsMembership::hosts(hosts.map(owned))?,
            (Some(srv), _) => DnsMembership::srv(srv)?.and_hosts(hosts.map(owned)),
        };
        Ok(Some(match self.membership_interval {
            Some(interval) => found.interval(interval),
            None => found,
        }))
    }

    /// Who may call what. `None`: every member every function.
    pub fn allow_list(&self) -> Option<&AllowList> {
        self.allowed.as_ref()
    }

    /// Every bound.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads the node's identity and checks that its peers would accept it now. `None` where no files are configured.
    /// Blocks while it reads.
    ///
    /// # Errors
    /// [`IdentityError`]; it names the file.
    pub fn load_identity(&self) -> Result<Option<Identity>, IdentityError> {
        let Some(files) = &self.identity else { return Ok(None) };
        let identity = Identity::from_pem_files(&files.ca, &files.cert, &files.key)?;
        identity.check(&self.name, SystemTime::now())?;
        Ok(Some(identity))
    }

    /// Reads the phase file, of at most [`PHASE_FILE_BYTES_MAX`]: phases that the release allows, with or without white
    /// space around them. `None` where no file is configured. Blocks while it reads.
    ///
    /// A caller that has read a phase before keeps it on an error: a deleted file must not raise a node.
    ///
    /// # Errors
    /// [`ConfigError`] where the file is not there, or holds no such phase.
    pub fn read_phase_file(&self) -> Result<Option<Ceilings>, ConfigError> {
        let Some(path) = &self.phase_file else { return Ok(None) };
        let text = read_text(path, PHASE_FILE_BYTES_MAX).map_err(unreadable(path))?;
        let value = text.trim().to_owned();
        let place = ConfigPlace { origin: path.display().to_string(), line: None };
        Given { key: "phase".to_owned(), value, place }.ceilings(&self.profile).map(Some)
    }

    fn parse(train: &Train, source: &Arc<Source>, overrides: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let Source { text, origin, dir } = &**source;
        let document = Document::parse(text, origin, overrides)?;
        let file = |key| document.required("identity", key, "the path of a PEM file").map(|path| dir.join(path.value));
        let identity = match document.has_table("identity") {
            true => Some(IdentityFiles { ca: file("ca")?, cert: file("cert")?, key: file("key")? }),
            false => None,
        };
        let name = document.required("", "name", "the node's name, such as \"n1\"")?;
        let listen = document.required("", "listen", "an address such as \"127.0.0.1:4001\"")?;
        let release = document.required("", "release", "a release of the train, such as \"1.0\"")?;
        let profile = release.profile(train)?;
        let ceiling = document.string("rollout", "ceiling")?;
        let without_record = document.string("rollout", "without_record")?;
        let admin = document.string("admin", "listen")?;
        let hosts = document.string("admin", "hosts")?;
        let drain_limit = document.number("drain", "limit_ms")?;
        let call_limit = document.number("calls", "time_limit_ms")?;
        let interval = |table| document.number(table, "interval_ms")?.map(|interval| interval.millis()).transpose();
        let config = Self {
            name: name.node_name()?,
            listen: listen.address()?,
            identity,
            peers: peers(&document)?,
            cluster: document.string("", "cluster")?.map(|cluster| cluster.cluster()).transpose()?,
            ceilings: ceiling.map(|given| given.ceilings(&profile)).transpose()?.unwrap_or_default(),
            phase_file: document.string("rollout", "file")?.map(|path| dir.join(path.value)),
            state: document.string("rollout", "state")?.map(|path| dir.join(path.value)),
            serves_unrecorded: without_record
                .map_or(Ok(false), |given| given.word(["wait", "serve"]).map(|at| at == 1))?,
            operate: match document.string("operate", "listen")? {
                Some(listen) => {
                    let ca =
                        document.required("operate", "ca", "the path of a PEM file of the operators' authorities")?;
                    Some((listen.address()?, dir.join(ca.value)))
                }
                None => None,
            },
            operators: operators(&document)?,
            admin: admin.map(|address| address.address()).transpose()?,
            admin_hosts: hosts.map(|given| given.words()).unwrap_or_default(),
            drain_limit: drain_limit.map_or(Ok(DRAIN_LIMIT), |limit| limit.millis())?,
            limits: limits(&document, origin)?,
            // Written as 0 where there is to be none.
            call_time_limit: Some(call_limit.map_or(Ok(CALL_TIME_LIMIT), |limit| limit.millis())?)
                .filter(|limit| !limit.is_zero()),
            identity_interval: interval("identity")?.unwrap_or(IDENTITY_INTERVAL),
            membership_srv: document.string("membership", "srv")?.map(|name| name.value),
            membership_interval: interval("membership")?,
            allowed: allowed(&document)?,
            profile,
            train: train.clone(),
            source: Arc::clone(source),
            overrides: overrides.clone(),
        };
        let of_environment = name.place == environment();
        config.refuse_own_address(if of_environment { &name.place } else { &listen.place })?;
        Ok(config)
    }

    /// A node that is to dial its own address would take itself for another member.
    fn refuse_own_address(&self, place: &ConfigPlace) -> Result<(), ConfigError> {
        let own = PeerAddress::At(canonical(self.listen));
        match self.peers().find(|&(_, address)| *address == own) {
            None => Ok(()),
            Some((peer, address)) => Err(ConfigError::DuplicateAddress {
                place: place.clone(),
                address: address.clone(),
                first: peer.clone(),
                second: self.name.clone(),
            }),
        }
    }
}

#[cfg(feature = "dns")]
fn owned((name, address): (&NodeName, &PeerAddress)) -> (NodeName, PeerAddress) {
    (name.clone(), address.clone())
}

fn peers(document: &Document<'_>) -> Result<BTreeMap<NodeName, PeerAddress>, ConfigError> {
    let mut peers = BTreeMap::new();
    let mut names = BTreeMap::new();
    let wanted = "an address or a host, and a port, in quotes (a name with dots needs quotes too)";
    for (name, address) in document.by_name("peers", wanted)? {
        let name = name.node_name()?;
        let place = address.place.clone();
        let address = address.peer_address()?;
        if let Some(first) = names.insert(address.clone(), name.clone()) {
            return Err(ConfigError::DuplicateAddress { place, address, first, second: name });
        }
        peers.insert(name, address);
    }
    Ok(peers)
}

/// Who may call what: all, where there is no table; an empty one denies everything.
fn allowed(document: &Document<'_>) -> Result<Option<AllowList>, ConfigError> {
    if !document.has_table("allow") {
        return Ok(None);
    }
    let wanted = "functions in quotes, with blanks between, or \"*\" (a name with dots needs quotes too)";
    let mut list = AllowList::new();
    for (name, functions) in document.by_name("allow", wanted)? {
        let name = name.node_name()?;
        for function in functions.value.split_whitespace() {
            list = if function == "*" { list.allow_peer(name.clone()) } else { list.allow(name.clone(), function) };
        }
    }
    Ok(Some(list))
}

/// Which operator may ask what: nobody anything, unless named.
fn operators(document: &Document<'_>) -> Result<OperatorList, ConfigError> {
    let wanted = "what the operator may ask, in quotes, with blanks between, or \"*\"";
    document.by_name("operators", wanted)?.into_iter().try_fold(OperatorList::default(), |list, (name, verbs)| {
        list.allow(&name.value, &verbs.value).map_err(|reason| {
            let Given { key, place, .. } = verbs;
            ConfigError::BadOperator { place, key, reason }
        })
    })
}

fn limits(document: &Document<'_>, origin: &str) -> Result<Limits, ConfigError> {
    let mut limits = Limits::default();
    for known in CONFIG_KEYS.iter().filter(|known| known.table == "limits") {
        if let Some(given) = document.number("limits", known.key)? {
            set_limit(&mut limits, known.key, &given)?;
        }
    }
    let place = ConfigPlace { origin: origin.to_owned(), line: None };
    limits.check().map_err(|reason| ConfigError::Limits { place, reason })?;
    Ok(limits)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ConfigError {
    move |reason| ConfigError::Unreadable { path: path.to_owned(), reason }
}

/// The most that is read of a configuration file, in bytes: 1 MiB, some twenty thousand peers.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;
