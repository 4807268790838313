//! What a node's record lies on: its directory of state, or a disk in memory of a test's own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rexi_proto::NodeName;
use rexi_proto::record::Keeper;

#[cfg(feature = "testing")]
use super::TestDisk;
#[cfg(feature = "operate")]
use super::Trail;
use super::{StateDir, StateError};

/// Where a node that is to start finds its record.
#[derive(Clone, Debug)]
pub(crate) enum StatePlace {
    Dir(PathBuf),
    #[cfg(feature = "testing")]
    Memory(TestDisk),
}

/// Where the record of a node that runs lies. Clones are the same place.
#[derive(Clone, Debug)]
pub(crate) enum Disk {
    Dir(Arc<StateDir>),
    #[cfg(feature = "testing")]
    Memory(TestDisk),
}

impl StatePlace {
    /// Takes it for this process. Blocks.
    pub(crate) fn open(&self) -> Result<Disk, StateError> {
        match self {
            Self::Dir(dir) => Ok(Disk::Dir(Arc::new(StateDir::open(dir)?))),
            #[cfg(feature = "testing")]
            Self::Memory(disk) => Ok(Disk::Memory(disk.open())),
        }
    }
}

impl Disk {
    /// The keeper of what is there. Blocks.
    pub(crate) fn keeper(&self, node: &NodeName) -> Result<Keeper, StateError> {
        match self {
            Self::Dir(dir) => dir.keeper(node),
            #[cfg(feature = "testing")]
            Self::Memory(disk) => disk.keeper(node),
        }
    }

    /// Whether it would take something. Blocks.
    pub(crate) fn probe(&self) -> io::Result<()> {
        match self {
            Self::Dir(dir) => dir.probe(),
            #[cfg(feature = "testing")]
            Self::Memory(_) => Ok(()),
        }
    }

    /// What operators have asked of the node.
    #[cfg(feature = "operate")]
    pub(crate) fn trail(&self) -> io::Result<&Trail> {
        match self {
            Self::Dir(dir) => Ok(dir.trail()),
            #[cfg(feature = "testing")]
            Self::Memory(_) => Err(io::Error::other("a disk in memory has no trail")),
        }
    }
}
