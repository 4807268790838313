//! Who the members are, as that changes: they join and leave a running node, and this does what follows from either.
//!
//! The list (shared.rs) is a value that is replaced as a whole, so that a cast reads it without a lock. Changes are
//! made one at a time, behind a lock that is taken before all others. A member that has left keeps its state, so that
//! those who still hold it get an answer; its number is never used again.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{NodeName, NodePool, Peer, PeerConfig, PeerId, Total};
use thiserror::Error;

use crate::engine::link::dial;
use crate::engine::link::local;
use crate::engine::member::Member;
use crate::engine::member_events::MemberEvent;
use crate::engine::shared::{Members, Shared};
use crate::net::canonical;

/// A change of the members that was not made. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The name to be added is a member's already. To dial it elsewhere, use `Node::move_member`.
    #[error("{0} is a member already")]
    AlreadyAMember(NodeName),
    /// No member has this name.
    #[error("{0} is not a member")]
    NotAMember(NodeName),
    /// The name is the node's own, which is a member for as long as it runs.
    #[error("the node itself is always a member; stop it with Node::shutdown, and remove it on the other nodes")]
    Itself,
    /// The address is of another family than the one that the node listens on, and so dials from.
    #[error(
        "{member} at {address} cannot be dialed from {listen}: one is IPv4, the other IPv6; use one family for all"
    )]
    AddressFamily {
        /// The member.
        member: NodeName,
        /// Its address.
        address: SocketAddr,
        /// The node's address.
        listen: SocketAddr,
    },
    /// There are as many members as may be. The source of the members is at fault; otherwise remove others first.
    #[error("{member} would be one member more than the {max} that a node may have")]
    TooMany {
        /// The name to be added.
        member: NodeName,
        /// Members at most, the node itself among them.
        max: usize,
    },
    /// The node is leaving, or has stopped, and no longer takes anybody in.
    #[error("this node is leaving")]
    Leaving,
}

/// Takes a member in; one without an address is not dialed, but may dial.
pub(crate) fn join(shared: &Arc<Shared>, name: NodeName, address: Option<SocketAddr>) -> Result<(), MemberError> {
    let address = address.map(canonical);
    let mut next_id = shared.lock_members();
    let members = shared.members.load_full();
    if shared.is_leaving() {
        return Err(MemberError::Leaving);
    }
    if members.get(&name).is_some() {
        return Err(if name == shared.name { MemberError::Itself } else { MemberError::AlreadyAMember(name) });
    }
    if members.len() >= MEMBERS_MAX {
        return Err(MemberError::TooMany { member: name, max: MEMBERS_MAX });
    }
    check_address(shared, &name, address)?;
    let id = PeerId(*next_id);
    *next_id = next_id.checked_add(1).ok_or_else(|| MemberError::TooMany { member: name.clone(), max: MEMBERS_MAX })?;
    let config = shared.change_rollout(|rollout| {
        rollout.add_member(name.clone());
        let (limits, mutants, functions) = (shared.limits.clone(), shared.mutants, shared.functions.clone());
        PeerConfig { hosts: rollout.profile().hosts(), phases: rollout.phases(), functions, limits, mutants }
    });
    let mut peer = Peer::with_pool(id, config, shared.pool.clone(), shared.now());
    peer.forget_earlier();
    let member = Arc::new(Member::new(Arc::downgrade(shared), id, (&shared.name, name.clone()), address, peer));
    if let Some(address) = address {
        shared.doorman.admit(address);
    }
    let members = Arc::new(members.with(Arc::clone(&member)));
    tracing::info!(node = %shared.name, peer = %name, ?address, members = members.len(), "a member has joined");
    // Before anything can be said of its connection.
    shared.events.send(MemberEvent::Joined(name));
    shared.members.store(Arc::clone(&members));
    share_out(shared, &members);
    // A phase may have changed before the member was there to be told.
    let phases = shared.rollout().phases();
    member.with(|peer, now| peer.set_phases(now, &phases));
    spawn_tasks(shared, &member);
    member.presence_changed();
    Ok(())
}

/// Lets a member go.
pub(crate) fn leave(shared: &Arc<Shared>, name: &NodeName) -> Result<(), MemberError> {
    let _changing = shared.lock_members();
    let members = shared.members.load_full();
    let member = members.get(name).ok_or_else(|| MemberError::NotAMember(name.clone()))?;
    if member.is_local() {
        return Err(MemberError::Itself);
    }
    let members = Arc::new(members.without(name));
    shared.members.store(Arc::clone(&members));
    shared.change_rollout(|rollout| rollout.remove_member(name));
    let address = member.address();
    member.leave();
    share_out(shared, &members);
    tracing::info!(node = %shared.name, peer = %name, members = members.len(), "a member has left");
    shared.events.send(MemberEvent::Left(name.clone()));
    shared.presence.send_modify(|changes| *changes += 1);
    if let Some(address) = address {
        shared.spawn(dismiss(Arc::clone(shared), address));
    }
    Ok(())
}

/// Dials a member elsewhere.
pub(crate) fn relocate(shared: &Arc<Shared>, name: &NodeName, address: SocketAddr) -> Result<(), MemberError> {
    let address = canonical(address);
    let _changing = shared.lock_members();
    let member = shared.member(name).ok_or_else(|| MemberError::NotAMember(name.clone()))?;
    if member.is_local() {
        return Err(MemberError::Itself);
    }
    check_address(shared, name, Some(address))?;
    let earlier = member.address();
    if earlier != Some(address) {
        tracing::info!(node = %shared.name, peer = %name, ?earlier, %address, "a member has another address");
        shared.doorman.admit(address);
        member.set_address(address);
        if let Some(earlier) = earlier {
            shared.spawn(dismiss(Arc::clone(shared), earlier));
        }
    }
    Ok(())
}

/// Starts what runs for as long as the member is one.
pub(crate) fn spawn_tasks(shared: &Arc<Shared>, member: &Arc<Member>) {
    shared.spawn(Arc::clone(member).keep_time());
    if member.is_local() {
        shared.spawn(local::run(Arc::clone(shared), Arc::clone(member)));
    } else {
        shared.spawn(dial::keep_connected(Arc::clone(shared), Arc::clone(member)));
    }
}

/// The first of a member's addresses that this node can dial. There is one at least.
pub(crate) fn choose(shared: &Shared, name: &NodeName, addresses: &[SocketAddr]) -> Result<SocketAddr, MemberError> {
    let dialed = |address: &&SocketAddr| check_address(shared, name, Some(**address)).is_ok();
    let first = *addresses.first().expect("a member without an address is not asked for one");
    let address = *addresses.iter().find(dialed).unwrap_or(&first);
    check_address(shared, name, Some(address)).map(|()| address)
}

/// Whether a node that listens on `listen` can dial that address: it dials from the socket it listens on. One that
/// listens on all of IPv6 may reach IPv4 too.
pub(crate) fn can_dial(listen: SocketAddr, address: SocketAddr) -> bool {
    let (listen, address) = (canonical(listen), canonical(address));
    listen.is_ipv4() == address.is_ipv4() || listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

fn check_address(shared: &Shared, name: &NodeName, address: Option<SocketAddr>) -> Result<(), MemberError> {
    match (shared.endpoint.local_addr(), address) {
        (Ok(listen), Some(address)) if !can_dial(listen, address) => {
            Err(MemberError::AddressFamily { member: name.clone(), address, listen })
        }
        _ => Ok(()),
    }
}

/// Shares the node's totals out anew among its members. Everything that is held is held behind one of the locks that
/// are taken here, in the order in which all take them, so nothing moves meanwhile.
fn share_out(shared: &Shared, members: &Members) {
    let whole = NodePool::new(&shared.limits, members.len(), shared.hosts);
    let singleton = shared.singleton.as_ref().map(|singleton| singleton.hold());
    let held: Vec<_> = members.by_number().map(|member| member.hold()).collect();
    let beyond = |total: Total, floor: usize| {
        let of_members: usize = held.iter().map(|member| member.beyond(total, floor)).sum();
        of_members + singleton.as_ref().map_or(0, |singleton| singleton.beyond(total, floor))
    };
    shared.pool.share_out(&whole, beyond);
}

/// Takes an address for a stranger's again, once what was on its way from there has come.
async fn dismiss(shared: Arc<Shared>, address: SocketAddr) {
    tokio::time::sleep(LATE_LIMIT).await;
    let _changing = shared.lock_members();
    if !shared.members().iter().any(|member| member.address() == Some(address)) {
        shared.doorman.dismiss(address);
    }
}

/// Members of one node at most, itself among them. Whatever says who they are may be wrong.
pub const MEMBERS_MAX: usize = 256;

/// How long datagrams of a member that has left may still come.
const LATE_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_dials_its_own_family_and_both_where_it_listens_on_all_of_ipv6() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (short, mapped, long) = ("127.0.0.1:2", "[::ffff:127.0.0.1]:2", "[::1]:2");
        for (listen, dialed, not_dialed) in [
            ("127.0.0.1:1", &[short, mapped][..], &[long][..]),
            ("0.0.0.0:1", &[short, mapped], &[long]),
            ("[::ffff:127.0.0.1]:1", &[short, mapped], &[long]),
            ("[::1]:1", &[long], &[short, mapped]),
            ("[::]:1", &[short, mapped, long], &[]),
        ] {
            assert!(dialed.iter().all(|&to| can_dial(address(listen), address(to))), "{listen}");
            assert!(!not_dialed.iter().any(|&to| can_dial(address(listen), address(to))), "{listen}");
        }
    }

    #[cfg(feature = "testing")]
    #[tokio::test(start_paused = true)]
    async fn an_address_in_another_form_is_no_other_address() {
        use crate::testing::TestCluster;

        let cluster = TestCluster::new(["n1", "n2"]);
        let newest = crate::Train::new("tests").release("1.0", |r| r).profile("1.0").expect("a train");
        let node = cluster.start("n1", &newest).expect("it starts");
        let (n2, given) = (cluster.name("n2"), cluster.address("n2"));
        let std::net::IpAddr::V4(ip) = given.ip() else { panic!("{given} is IPv4") };
        let mapped = SocketAddr::from((ip.to_ipv6_mapped(), given.port()));
        let dialed = |node: &crate::Node| node.shared().member(&n2).expect("a member").address();
        node.move_member(&n2, mapped).expect("a member");
        assert_eq!(dialed(&node), Some(given));
        node.remove_member(&n2).expect("a member");
        node.add_member(n2.clone(), mapped).expect("no member");
        assert_eq!(dialed(&node), Some(given));
        // Its earlier self is not taken for a stranger's while the member is there.
        tokio::time::sleep(LATE_LIMIT * 2).await;
        let _n2 = cluster.start("n2", &newest).expect("it starts");
        node.ready().await;
        assert_eq!(node.status().stray_datagrams, 0);
    }

    #[cfg(feature = "testing")]
    #[tokio::test(start_paused = true)]
    async fn who_joins_again_gets_another_number_and_the_earlier_one_is_nobodys() {
        use crate::testing::TestCluster;

        let cluster = TestCluster::new(["n1", "n2", "n3"]);
        let newest = crate::Train::new("tests").release("1.0", |r| r).profile("1.0").expect("a train");
        let node = cluster.start("n1", &newest).expect("it starts");
        let (n2, n3) = (cluster.name("n2"), cluster.name("n3"));
        let of = |name: &NodeName| node.shared().members().get(name).expect("a member").id();
        let mut given = vec![of(node.name()), of(&n2), of(&n3)];
        for _ in 0..3 {
            let last = of(&n3);
            node.remove_member(&n3).expect("a member");
            assert!(node.shared().members().by_id(last).is_none(), "a call that it made is not another's");
            node.add_member(n3.clone(), cluster.address("n3")).expect("no member");
            assert!(!given.contains(&of(&n3)), "{:?} of {given:?}", of(&n3));
            given.push(of(&n3));
        }
    }
}
