//! Who the members are, as something outside the node knows it: a fixed list, DNS, or whatever an adapter asks.
//!
//! In: answers of a [`Membership`], which is asked again and again. Out: members that join, move and leave
//! (`members.rs`). A failed or nonsensical answer changes nothing: the last good one holds, for as long as it takes.
//! The membership does not take back what was added by `NodeBuilder::peer` or by hand.

mod address;
#[cfg(feature = "dns")]
mod dns;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rexi_proto::NodeName;
use thiserror::Error;
use tokio::time::Instant;

use crate::engine::{
    MEMBERS_MAX, MemberError, Shared,
    members::{choose, join, leave, relocate},
};

pub use self::address::{PeerAddress, PeerAddressError};
#[cfg(feature = "dns")]
pub use self::dns::DnsMembership;

/// Something that knows who the members are: a service registry, an orchestrator, DNS.
///
/// What becomes of an answer:
///
/// - A node that is named and not a member yet joins; a member with another address is dialed there the next time.
/// - A member that joined by an earlier answer leaves once the answers of a stability period
///   ([`Limits::stability_period`](crate::Limits::stability_period)) have not named it: one that is incomplete costs
///   nobody a running call. One that drains stays until it has gone, since a list of nodes that are ready has it no
///   more. Members of [`NodeBuilder::peer`] and [`Node::add_member`] stay, whatever the answers say.
/// - A name that was removed by [`Node::remove_member`] joins again only after an answer without it.
/// - Of several addresses of a node, the first is taken that can be dialed from the address that this node listens on.
///   Where none can, the reason is logged, and is the member's `last_error` in the status.
/// - An answer that fails, comes too late (10 s), names more than 256 members, or no other member where an earlier one
///   did, is not followed: an outage of DNS, or an emptied registry, must not empty a cluster. It is logged once until
///   that changes. The last nodes of a cluster that is taken down are removed by hand, or simply stopped.
///
/// The node itself may be named; it is ignored. So all nodes of a cluster may be given the same membership.
///
/// [`NodeBuilder::peer`]: crate::NodeBuilder::peer
/// [`Node::add_member`]: crate::Node::add_member
/// [`Node::remove_member`]: crate::Node::remove_member
pub trait Membership: Send + Sync + 'static {
    /// Who the members are now. It is dropped where it takes longer than 10 s.
    fn members(&self) -> impl Future<Output = Result<MemberList, MembershipError>> + Send;

    /// Who the members are, where that is known without asking; they are members from the start. `None`, or a list that
    /// is not complete: the node must ask, and holds its phase until the first answer, since it would take itself, or
    /// those few, for the whole cluster else.
    fn known(&self) -> Option<MemberList> {
        None
    }

    /// How long after an answer the next one is wanted, 100 ms at least; `None`: never, once one was followed. Default:
    /// 5 s.
    fn interval(&self) -> Option<Duration> {
        Some(MEMBERSHIP_INTERVAL)
    }
}

/// An answer that could not be had. The environment is at fault; the last good one holds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the members of {origin}: {reason}")]
#[non_exhaustive]
pub struct MembershipError {
    /// The name, file or service that was asked.
    pub origin: String,
    /// What is wrong.
    pub reason: String,
}

impl MembershipError {
    /// An error of the membership `origin`.
    pub fn new(origin: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { origin: origin.into(), reason: reason.into() }
    }
}

/// Who the members are, and where each is dialed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberList {
    /// Where each may be dialed, best first; or why that is not known.
    members: BTreeMap<NodeName, Result<Vec<SocketAddr>, String>>,
    /// What else is wrong with the answer.
    problems: Vec<String>,
    /// Why there may be members that are not in the list.
    missing: Option<String>,
}

impl MemberList {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// A member at this address. What is said later of the same name takes the place of what was said before.
    pub fn insert(&mut self, name: NodeName, address: SocketAddr) {
        self.members.insert(name, Ok(vec![address]));
    }

    /// A member at all of these addresses, best first: it is dialed at the first that the node can dial. Without any it
    /// is as in [`MemberList::insert_unresolved`].
    pub fn insert_all(&mut self, name: NodeName, addresses: impl IntoIterator<Item = SocketAddr>) {
        let addresses: Vec<SocketAddr> = addresses.into_iter().collect();
        let known = if addresses.is_empty() { Err("it has none".to_owned()) } else { Ok(addresses) };
        self.members.insert(name, known);
    }

    /// A member whose address is not known now, for a reason that is logged. It keeps the address that it had; without
    /// one it is not dialed, but may dial, and it counts as a member.
    pub fn insert_unresolved(&mut self, name: NodeName, reason: impl Into<String>) {
        self.members.insert(name, Err(reason.into()));
    }

    /// Something in the answer that names no member and makes no sense. It is logged once until it changes, and the
    /// rest is followed.
    pub fn add_problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// There may be members that are not in the list, for a reason that is logged: nobody leaves because of it, and the
    /// node does not take it for the list that it waits for.
    pub fn set_incomplete(&mut self, reason: impl Into<String>) {
        self.missing = Some(reason.into());
    }

    /// Whether no member is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_none()
    }

    /// Names and addresses, by name; a member whose address is not known has none.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, &[SocketAddr])> {
        self.members.iter().map(|(name, known)| (name, known.as_deref().unwrap_or_default()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether this name is one of them.
    pub fn contains(&self, name: &NodeName) -> bool {
        self.members.contains_key(name)
    }
}

impl FromIterator<(NodeName, SocketAddr)> for MemberList {
    fn from_iter<I: IntoIterator<Item = (NodeName, SocketAddr)>>(members: I) -> Self {
        let mut list = Self::new();
        members.into_iter().for_each(|(name, address)| list.insert(name, address));
        list
    }
}

/// Members that do not change: what [`NodeBuilder::peer`](crate::NodeBuilder::peer) builds.
#[derive(Clone, Debug, Default)]
pub struct StaticMembership {
    members: Vec<(NodeName, SocketAddr)>,
}

impl StaticMembership {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// And this one.
    #[must_use]
    pub fn member(mut self, name: NodeName, address: SocketAddr) -> Self {
        self.members.push((name, address));
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeName, SocketAddr)> {
        self.members.iter().map(|(name, address)| (name, *address))
    }
}

impl Membership for StaticMembership {
    async fn members(&self) -> Result<MemberList, MembershipError> {
        Ok(self.members.iter().cloned().collect())
    }

    fn known(&self) -> Option<MemberList> {
        Some(self.members.iter().cloned().collect())
    }

    fn interval(&self) -> Option<Duration> {
        None
    }
}

/// A membership of any type.
pub(crate) struct Source(Box<dyn Ask>);

impl Source {
    pub(crate) fn new(membership: impl Membership) -> Self {
        Self(Box::new(membership))
    }

    pub(crate) fn known(&self) -> Option<MemberList> {
        self.0.known()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<MemberList, MembershipError>> + Send + 'a>>;

/// [`Membership`] behind a pointer.
trait Ask: Send + Sync {
    fn ask(&self) -> Answer<'_>;
    fn known(&self) -> Option<MemberList>;
    fn interval(&self) -> Option<Duration>;
}

impl<M: Membership> Ask for M {
    fn ask(&self) -> Answer<'_> {
        Box::pin(self.members())
    }

    fn known(&self) -> Option<MemberList> {
        Membership::known(self)
    }

    fn interval(&self) -> Option<Duration> {
        Membership::interval(self)
    }
}

/// Asks who the members are, again and again, for as long as the node lives. What cannot be had or followed is logged
/// once, until it changes. `named` are members since the membership has said so, and so are its to let go.
pub(crate) async fn follow(shared: Arc<Shared>, source: Source, named: BTreeSet<NodeName>) {
    let mut named: BTreeMap<NodeName, Option<Instant>> = named.into_iter().map(|name| (name, None)).collect();
    let mut said = None;
    loop {
        let asked = tokio::time::timeout(MEMBERSHIP_TIME_LIMIT, source.0.ask()).await;
        let answer = match asked {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("there was no answer within {MEMBERSHIP_TIME_LIMIT:?}")),
        };
        let problem = match answer.and_then(|list| apply(&shared, &mut named, &list)) {
            Ok(problems) if problems.is_empty() => None,
            Ok(problems) => Some(("a part of the membership is not followed", problems.join("; "))),
            Err(problem) => Some(("the membership is not followed", problem)),
        };
        let interval = source.0.interval();
        if problem.is_none() && interval.is_none() {
            return;
        }
        if problem != said {
            match &problem {
                Some((what, problem)) => tracing::warn!(node = %shared.name, problem, "{what}"),
                None => tracing::info!(node = %shared.name, "the membership is followed again"),
            }
            said = problem;
        }
        tokio::time::sleep(interval.unwrap_or(MEMBERSHIP_INTERVAL).max(MEMBERSHIP_INTERVAL_MIN)).await;
    }
}

/// Makes of the members what an answer says, and says what of it could not be done; `Err`: nothing was. Of those who
/// are named, since when they are no longer is noted.
fn apply(
    shared: &Arc<Shared>,
    named: &mut BTreeMap<NodeName, Option<Instant>>,
    list: &MemberList,
) -> Result<Vec<String>, String> {
    let is_complete = list.is_complete();
    let others = || list.members.iter().filter(|(name, _)| **name != shared.name);
    if is_complete && others().next().is_none() && !named.is_empty() {
        return Err("it names no other member, though it did before; the last ones are kept".to_owned());
    }
    if list.len() > MEMBERS_MAX {
        return Err(format!("it names {} members, but a node may have {MEMBERS_MAX} at most", list.len()));
    }
    let mut problems: Vec<String> = list.missing.iter().chain(&list.problems).cloned().collect();
    // Before others join: there may be no room for them else.
    named.retain(|name, unnamed| {
        if list.contains(name) || !is_complete {
            *unnamed = None;
            return true;
        }
        // Removed by hand.
        let Some(member) = shared.member(name) else { return false };
        let since = *unnamed.get_or_insert_with(Instant::now);
        let is_new = since.elapsed() < shared.limits.stability_period;
        let stays = is_new || member.is_draining();
        if !stays {
            // Fails where it was removed by hand a moment ago.
            let _ = leave(shared, name);
        }
        stays
    });
    let mut all_joined = is_complete;
    for (name, known) in others() {
        let is_member = shared.member(name).is_some();
        if !is_member && named.contains_key(name) {
            // Removed by hand.
            continue;
        }
        let address = match known {
            Ok(addresses) => choose(shared, name, addresses).map_err(|error| error.to_string()),
            Err(reason) => Err(format!("the address of {name} is not known: {reason}")),
        };
        // A member that cannot be dialed from here is still one: it must be heard from before the phase is raised.
        let (address, undialed) = (address.as_ref().ok().copied(), address.err());
        let done = match (is_member, address) {
            (true, Some(address)) => relocate(shared, name, address),
            (true, None) => Ok(()),
            (false, address) => join(shared, name.clone(), address).inspect_err(|_| all_joined = false),
        };
        match done {
            Ok(()) => {
                named.extend((!is_member).then(|| (name.clone(), None)));
            }
            // Removed by hand a moment ago.
            Err(MemberError::NotAMember(_)) => {}
            Err(problem) => problems.push(problem.to_string()),
        }
        if let Some(reason) = undialed {
            if let Some(member) = shared.member(name) {
                member.note_undialed(&reason);
            }
            problems.push(reason);
        }
    }
    if all_joined {
        shared.note_listed();
    }
    Ok(problems)
}

/// How often a membership is asked that does not say how often.
const MEMBERSHIP_INTERVAL: Duration = Duration::from_secs(5);

/// No membership is asked more often.
const MEMBERSHIP_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How long an answer may take.
const MEMBERSHIP_TIME_LIMIT: Duration = Duration::from_secs(10);
