//! The members of test clusters: names, addresses, and certificates that many clusters may share.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rexi_proto::NodeName;

use crate::net::{DevAuthority, Identity};

/// The members of a test cluster with all that their nodes are known by. Made once, they serve any number of clusters,
/// in any thread: the certificates are the costly part of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct TestMembers {
    /// By name, each once.
    all: Arc<[Member]>,
}

pub(super) struct Member {
    pub(super) number: usize,
    pub(super) name: NodeName,
    pub(super) address: SocketAddr,
    pub(super) identity: Identity,
}

impl TestMembers {
    /// These members. A name that is given twice is one member. Keys and certificates follow from the names, so they
    /// are the same in every process, and secret to nobody.
    ///
    /// # Panics
    /// Where a text is not a node name.
    pub fn new<'a>(members: impl IntoIterator<Item = &'a str>) -> Self {
        let authority = DevAuthority::fixed().expect("its key is fixed");
        let name =
            |text| NodeName::new(text).unwrap_or_else(|error| panic!("a test cluster's member {text:?}: {error}"));
        let names: std::collections::BTreeSet<NodeName> = members.into_iter().map(name).collect();
        let member = |(number, name): (usize, NodeName)| {
            let (cert, key) = authority.issue_fixed_pem(&name).expect("its key is fixed");
            let identity = Identity::from_pem(authority.ca_pem().as_bytes(), cert.as_bytes(), key.as_bytes());
            let identity = identity.expect("it was made for this");
            let host = u32::try_from(number).expect("a cluster in memory has fewer members");
            let address = SocketAddr::from((Ipv4Addr::from_bits(FIRST_HOST.to_bits() + host), PORT));
            Member { number, name, address, identity }
        };
        Self { all: names.into_iter().enumerate().map(member).collect() }
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.all.iter().map(|member| &member.name)
    }

    /// The name of the member that has this address.
    pub fn at(&self, address: SocketAddr) -> Option<&NodeName> {
        self.all.iter().find(|member| member.address == address).map(|member| &member.name)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.iter()
    }

    #[track_caller]
    pub(super) fn find(&self, name: &str) -> &Member {
        self.all.iter().find(|member| member.name.as_str() == name).unwrap_or_else(|| {
            let members: Vec<_> = self.names().map(NodeName::as_str).collect();
            panic!("{name:?} is not a member of this test cluster; members are {}", members.join(", "))
        })
    }
}

impl fmt::Debug for TestMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// The members' addresses follow this one.
const FIRST_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

const PORT: u16 = 4_000;
