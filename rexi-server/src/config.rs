//! A node's configuration: a TOML file, and three environment variables that override it.
//!
//! In goes text; out comes a [`Config`] whose parts agree with each other, or a [`ConfigError`] that says where what is
//! wrong and what is allowed. Nothing unknown is skipped: a misspelt ceiling that is skipped is a node in the wrong
//! phase. What to do with the parts, and when to read the phase file again, is left to the executable.

mod document;
mod error;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rexi_proto::{NodeName, Phase, Profile};

use self::document::{Document, Given};
pub use self::error::{ConfigError, Place};
use crate::identity::{Identity, IdentityError, read_bounded};
use crate::rollout::feature_phase;

/// The configuration of a node.
///
/// | key | value | default |
/// |---|---|---|
/// | `name` | the node's name, which its certificate must list | none, required |
/// | `listen` | IP address and UDP port to serve at; port 0 lets the system choose | none, required |
/// | `release` | the release that the node runs: `"1.0"`, `"1.1"`, `"1.2"` or `"2.0"` | see below |
/// | `identity.ca` | PEM file: certificates of the authorities that peers are believed on | required in `[identity]` |
/// | `identity.cert` | PEM file: the node's certificate, then its intermediates | required in `[identity]` |
/// | `identity.key` | PEM file: the certificate's private key | required in `[identity]` |
/// | `peers.<name>` | IP address and UDP port of a member; the node itself may be there | no peers |
/// | `rollout.ceiling` | the highest phase that the node may be in, one that its release allows | no ceiling |
/// | `rollout.file` | file that holds such a ceiling, read again while the node runs | no file |
///
/// A release may have a patch number. Without one the build's features choose: `phase-remove` 2.0, `phase-switch` 1.2,
/// `phase-introduce` 1.1, none 1.0. Files are relative to the directory of the configuration file. All values are
/// strings. The environment overrides: `REXI_NAME` the name, `REXI_LISTEN` the address, `REXI_PHASE` the ceiling. The
/// `[identity]` table may be left out, for a node that gets its identity in code.
///
/// ```
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
///
///         [rollout]
///         ceiling = "introduce"
///         file = "phase"
///     "#,
///     "n1.toml",
/// )?;
/// // Not `std::env::var(key).ok()`, which would skip a variable that is not Unicode.
/// config.apply_env(|key| std::env::var_os(key).map(|value| value.to_string_lossy().into_owned()))?;
/// assert_eq!(config.peers().count(), 1);
/// # Ok::<(), rexi_server::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    name: NodeName,
    listen: SocketAddr,
    profile: Profile,
    identity: Option<IdentityFiles>,
    /// As written, so with the node itself where it is listed.
    peers: BTreeMap<NodeName, SocketAddr>,
    ceiling: Option<Phase>,
    phase_file: Option<PathBuf>,
}

/// The PEM files of a node's identity, see [`Identity::from_pem_files`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentityFiles {
    /// The authorities' certificates.
    pub ca: PathBuf,
    /// The node's certificate and its intermediates.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Config {
    /// Reads a configuration file of at most [`CONFIG_FILE_BYTES_MAX`]. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`ConfigError`], the first one found, with the file's path and mostly the line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = read_text(path, CONFIG_FILE_BYTES_MAX).map_err(unreadable(path))?;
        Self::parse(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new("")))
    }

    /// Takes a configuration text; `origin` stands for it in errors. Paths in it are relative to the working directory.
    ///
    /// # Errors
    /// [`ConfigError`], the first one found.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::parse(text, origin, Path::new(""))
    }

    /// Overrides the name, the address and the ceiling by `REXI_NAME`, `REXI_LISTEN` and `REXI_PHASE`, which `get`
    /// looks up. A variable that is set to nothing is refused like any other value that is none.
    ///
    /// # Errors
    /// [`ConfigError`], the first one found; the configuration is then as before.
    pub fn apply_env(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        let place = Place { origin: "environment".to_owned(), line: None };
        let given = |key: &str| get(key).map(|value| Given { key: key.to_owned(), value, place: place.clone() });
        let mut changed = self.clone();
        if let Some(name) = given(ENV_NAME) {
            changed.name = name.node_name()?;
        }
        if let Some(listen) = given(ENV_LISTEN) {
            changed.listen = listen.address()?;
        }
        changed.refuse_own_address(&place)?;
        if let Some(phase) = given(ENV_PHASE) {
            changed.ceiling = Some(phase.phase(&self.profile)?);
        }
        *self = changed;
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

    /// The other members and their addresses, by name; the node itself is left out.
    pub fn peers(&self) -> impl Iterator<Item = (&NodeName, SocketAddr)> {
        self.peers.iter().filter(|(name, _)| **name != self.name).map(|(name, &address)| (name, address))
    }

    /// The highest phase that the operator allows, one that the release allows too. `None` leaves it to the release.
    pub fn ceiling(&self) -> Option<Phase> {
        self.ceiling
    }

    /// The file to read a further ceiling from while the node runs.
    pub fn phase_file(&self) -> Option<&Path> {
        self.phase_file.as_deref()
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

    /// Reads the phase file, of at most [`PHASE_FILE_BYTES_MAX`]: one phase that the release allows, with or without
    /// white space around it. `None` where no file is configured. Blocks while it reads.
    ///
    /// A caller that has read a phase before keeps it on an error: a deleted file must not raise a node.
    ///
    /// # Errors
    /// [`ConfigError`] where the file is not there, or holds no such phase.
    pub fn read_phase_file(&self) -> Result<Option<Phase>, ConfigError> {
        let Some(path) = &self.phase_file else { return Ok(None) };
        let text = read_text(path, PHASE_FILE_BYTES_MAX).map_err(unreadable(path))?;
        let value = text.trim().to_owned();
        let place = Place { origin: path.display().to_string(), line: None };
        Given { key: "phase".to_owned(), value, place }.phase(&self.profile).map(Some)
    }

    fn parse(text: &str, origin: &str, dir: &Path) -> Result<Self, ConfigError> {
        let document = Document::parse(text, origin)?;
        let profile = match document.string("", "release")? {
            Some(release) => release.profile()?,
            None => default_profile(),
        };
        let file = |key| document.required("identity", key, "the path of a PEM file").map(|path| dir.join(path.value));
        let identity = match document.has_table("identity") {
            true => Some(IdentityFiles { ca: file("ca")?, cert: file("cert")?, key: file("key")? }),
            false => None,
        };
        let name = document.required("", "name", "the node's name, such as \"n1\"")?;
        let listen = document.required("", "listen", "an address such as \"127.0.0.1:4001\"")?;
        let ceiling = document.string("rollout", "ceiling")?;
        let config = Self {
            name: name.node_name()?,
            listen: listen.address()?,
            identity,
            peers: peers(&document)?,
            ceiling: ceiling.map(|phase| phase.phase(&profile)).transpose()?,
            phase_file: document.string("rollout", "file")?.map(|path| dir.join(path.value)),
            profile,
        };
        config.refuse_own_address(&listen.place)?;
        Ok(config)
    }

    /// A node that is to dial its own address would take itself for another member.
    fn refuse_own_address(&self, place: &Place) -> Result<(), ConfigError> {
        match self.peers().find(|&(_, address)| address == self.listen) {
            None => Ok(()),
            Some((peer, address)) => Err(ConfigError::DuplicateAddress {
                place: place.clone(),
                address,
                first: peer.clone(),
                second: self.name.clone(),
            }),
        }
    }
}

fn peers(document: &Document<'_>) -> Result<BTreeMap<NodeName, SocketAddr>, ConfigError> {
    let mut peers = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (name, address) in document.peers()? {
        let name = name.node_name()?;
        let place = address.place.clone();
        let address = address.dialled_address()?;
        if let Some(first) = names.insert(address, name.clone()) {
            return Err(ConfigError::DuplicateAddress { place, address, first, second: name });
        }
        peers.insert(name, address);
    }
    Ok(peers)
}

/// A file of at most so many bytes, as text.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let bytes = read_bounded(path, bytes_max)?;
    String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ConfigError {
    move |reason| ConfigError::Unreadable { path: path.to_owned(), reason }
}

/// The release whose highest phase is the one that the build's features name.
fn default_profile() -> Profile {
    let phase = feature_phase().unwrap_or(Phase::Singleton);
    Profile::train().into_iter().find(|p| p.highest() == phase).expect("the train has a release for each phase")
}

/// The most that is read of a configuration file, in bytes: 1 MiB, some twenty thousand peers.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The most that is read of a phase file, in bytes.
pub const PHASE_FILE_BYTES_MAX: u64 = 1024;

const ENV_NAME: &str = "REXI_NAME";
const ENV_LISTEN: &str = "REXI_LISTEN";
const ENV_PHASE: &str = "REXI_PHASE";

#[cfg(test)]
mod tests;
