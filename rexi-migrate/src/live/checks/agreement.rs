//! Checks of what the members are to each other: whether all answer, agree, are connected, and keep one record.

use std::collections::BTreeSet;

use rexi_proto::NodeName;
use rexi_proto::operate::MemberLook;
use rexi_proto::record::Digest;

use super::{Aim, On, Outcome};
use crate::clock::ago;

impl On<'_> {
    pub(super) fn members_reached(&self) -> Outcome {
        let silent: Vec<String> = self.cluster.silent().map(|(node, why)| format!("{node}: {why}")).collect();
        let answered = self.looks().count();
        if silent.is_empty() {
            return Outcome::Pass(format!("{answered} of {answered} answered"));
        }
        let todo = "start it, or mend the way to it; a member that never returns is forgotten: `live forget`";
        Outcome::Unknown(silent.join("; "), todo.to_owned())
    }

    pub(super) fn members_agree(&self) -> Outcome {
        let record = self.cluster.record();
        let joined = |nodes: &BTreeSet<NodeName>| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
        let all: BTreeSet<NodeName> = self.looks().flat_map(|(_, look)| look.members.iter().cloned()).collect();
        let differ = self.looks().filter(|(_, look)| look.members != all);
        let mut faults: Vec<String> =
            differ.map(|(node, look)| format!("{node} lists {}", joined(&look.members))).collect();
        let unlisted = record.into_iter().flat_map(|record| record.members.difference(&all));
        faults.extend(unlisted.map(|node| format!("nobody lists {node}, which the record has")));
        let todo = "give every member the same list, one that is in the record too; then look again";
        Outcome::of(&faults, format!("all list {}", joined(&all)), todo)
    }

    pub(super) fn one_cluster(&self) -> Outcome {
        let names: BTreeSet<&str> = self.looks().map(|(_, look)| &*look.cluster).collect();
        let origins: BTreeSet<Digest> =
            self.cluster.kept().filter_map(|(_, kept)| Some(kept.record.as_ref()?.origin)).collect();
        let mut faults = Vec::new();
        if names.len() > 1 {
            faults.push(format!("they call it {}", names.iter().copied().collect::<Vec<_>>().join(", ")));
        }
        if origins.len() > 1 {
            faults.push(format!("{} records that began apart", origins.len()));
        }
        Outcome::of(&faults, names.into_iter().next().unwrap_or("nobody answered"), "see whose address is whose")
    }

    pub(super) fn operable(&self) -> Outcome {
        let unkept = self.looks().filter(|(_, look)| look.answer.is_none());
        let mut faults: Vec<String> = unkept.map(|(node, _)| format!("{node} keeps no record")).collect();
        let unknown = self.looks().filter(|(_, look)| self.train.place(look.life.release).is_none());
        faults.extend(unknown.map(|(node, look)| format!("{node} runs {}, unknown to this tool", look.life.release)));
        let todo = "give it `rollout.state`; use the tool of the newest release that runs";
        Outcome::of(&faults, "all keep the record", todo)
    }

    pub(super) fn epochs_agree(&self) -> Outcome {
        if let (Aim::Begin, None) = (self.aim, self.cluster.record()) {
            return Outcome::Pass("nobody has a record yet".to_owned());
        }
        let digests = self.cluster.digests();
        let distinct: BTreeSet<_> = digests.values().collect();
        let epoch = self.cluster.record().map_or(0, |record| record.epoch);
        let of = |(node, digest): (&&NodeName, &Option<Digest>)| match digest {
            Some(digest) => format!("{node} has {digest:?}"),
            None => format!("{node} has none"),
        };
        let faults = if distinct.len() > 1 { digests.iter().map(of).collect() } else { Vec::new() };
        Outcome::of(&faults, format!("epoch {epoch} on every disk"), "`live resume` brings the rest to it")
    }

    pub(super) fn no_transition_open(&self) -> Outcome {
        match self.cluster.transition() {
            None => Outcome::Pass("none is open".to_owned()),
            Some(open) => {
                let since = ago(open.at, self.settings.now);
                let seen = format!("{} asked to {}, {since}", open.by, open.what);
                Outcome::Fail(seen, "`live resume` ends it forwards, `live abort` backwards".to_owned())
            }
        }
    }

    pub(super) fn connected_both_ways(&self) -> Outcome {
        // Who does not answer is a matter of another check.
        let silent: BTreeSet<&NodeName> = self.cluster.silent().map(|(node, _)| node).collect();
        let down = self.looks().flat_map(|(node, look)| {
            let down = look.peers.iter().filter(|(peer, seen)| !seen.is_connected && !silent.contains(peer));
            down.map(move |(peer, seen)| {
                let why = seen.problem.as_deref().unwrap_or("it was not met yet");
                format!("{node} to {peer}: {why}")
            })
        });
        let faults: Vec<String> = down.collect();
        if let (Aim::Begin, None) = (self.aim, self.cluster.record())
            && !faults.is_empty()
        {
            return Outcome::Skipped("without a record they wait for one before they meet".to_owned());
        }
        Outcome::of(&faults, "all are", "see `last_error` of that peer in the member's /status")
    }

    pub(super) fn floor_durable(&self) -> Outcome {
        let problem = |(node, look): (&NodeName, &MemberLook)| Some(format!("{node}: {}", look.disk_problem.as_ref()?));
        let anew = |node: &NodeName, since: u64| format!("{node}: its disk came new at epoch {since}");
        let mut faults: Vec<String> = self.looks().filter_map(problem).collect();
        faults.extend(self.cluster.kept().filter_map(|(node, kept)| Some(anew(node, kept.anew?))));
        let todo = "mend the disk and start the node again; one that came new is forgotten: `live forget --wiped`";
        Outcome::of(&faults, "all do", todo)
    }

    pub(super) fn tool_version(&self) -> Outcome {
        let tool = &self.settings.tool;
        let newer = self.looks().filter(|(_, look)| look.rexi > *tool);
        let faults: Vec<String> =
            newer.map(|(node, look)| format!("{node} has rexi {}, this tool {tool}", look.rexi)).collect();
        Outcome::of(&faults, format!("no member is newer than {tool}"), "use the tool of the newest rexi that runs")
    }
}
