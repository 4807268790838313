//! The mutants and the historical bugs of docs/safety.md, each with what it is here.

use rexi_proto::Mutant;

/// A mutant or a historical bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: &'static str,
    /// What goes wrong.
    pub what: &'static str,
    /// The invariants that notice it, with spaces between.
    pub oracles: &'static str,
    /// How it is here.
    pub how: How,
}

/// What a mutant or a bug is in this project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is planted: see [`Entry::planted`].
    Planted,
    /// It is planted as another id is.
    As(&'static str),
    /// There is nothing that could go wrong so.
    Impossible {
        /// What it is built from instead.
        construction: &'static str,
        /// The test that holds it.
        held_by: &'static str,
    },
}

impl Entry {
    /// The names of the broken variants of the core that stand for it.
    pub fn planted(&self) -> impl Iterator<Item = &'static str> {
        let id = match self.how {
            How::As(other) => other,
            _ => self.id,
        };
        Mutant::ALL.iter().filter(move |planted| planted.ids.split(' ').any(|of| of == id)).map(|planted| planted.name)
    }

    /// The id under which a break of the wire is planted for it.
    pub fn wire_id(&self) -> &'static str {
        match self.how {
            How::As(other) => other,
            _ => self.id,
        }
    }
}

const fn planted(id: &'static str, what: &'static str, oracles: &'static str) -> Entry {
    Entry { id, what, oracles, how: How::Planted }
}

const fn impossible(
    id: &'static str,
    what: &'static str,
    oracles: &'static str,
    construction: &'static str,
    held_by: &'static str,
) -> Entry {
    Entry { id, what, oracles, how: How::Impossible { construction, held_by } }
}

const SHAPE_TEST: &str = "rexi-migrate \
    wire::tests::a_services_functions_are_locked_by_structure_and_their_shape_turns_misreadings_into_errors";

/// Every mutant. M49 was never given: ids are not used again.
pub const MUTANTS: [Entry; 50] = [
    planted("M1", "variants of a message are reordered", "S8 S9"),
    planted("M2", "a variant is inserted in the middle of an enum", "S8 S9"),
    planted("M3", "an appended variant is sent early", "S8 S9"),
    planted("M4", "a field is added without a gate", "S8"),
    planted("M5", "a number's signedness changes", "S8"),
    planted("M6", "two fields change their places", "S8"),
    planted("M7", "trailing bytes are accepted", "S8"),
    planted("M8", "two schemas have the same fingerprint", "S8"),
    planted("M9", "the form of a reply changes before its receivers are ready", "S9 L1"),
    planted("M10", "the name of a type, or a closure, is on the wire", "S8"),
    planted("M11", "a gate is checked for one message and missed for its sibling", "S9"),
    planted("M12", "a duty moves from one role to the other", "S2 S10"),
    planted("M13", "a receiver refuses by its own stale gate", "S9"),
    planted("M14", "an unknown message is dropped in silence", "S2 S10"),
    impossible(
        "M15",
        "the scheme of ids changes between releases",
        "S1 S7",
        "there is no scheme: a server is addressed by its kind alone, on a connection whose peer is the name in its \
         certificate, and no release hashes or makes up an id",
        "rexi-server identity::tests::a_node_whose_certificate_names_another_is_refused",
    ),
    planted("M16", "two peers collide", "S1 S7"),
    planted("M17", "an old name is used again", "S1 S7"),
    planted("M18", "the flag gates the start of servers, and not their use alone", "S1 S6"),
    planted("M19", "servers start lazily after a restart", "S1 S6"),
    planted("M20", "a restart loses servers", "L3"),
    planted("M21", "a node counts as ready before it listens", "S1 S6"),
    planted("M22", "a kill goes to the new server alone", "S3"),
    planted("M23", "a kill goes to the old server alone", "S3"),
    planted("M24", "a kill follows the phase of now over a hot flip", "S3"),
    planted("M25", "both copies of a kill act", "S4 S3"),
    planted("M26", "a kill overtakes its cast", "S4 S3"),
    planted("M27", "a stream is open over a switch, and its acks go to the wrong server", "S5 L2"),
    planted("M28", "a coordinator dies in the middle of a cast", "S5 L2"),
    planted("M29", "a release is skipped", "S11 S12"),
    planted("M30", "two releases that are two apart speak", "S11 S12"),
    planted("M31", "a rollback goes below what the cluster still holds", "S11 S12"),
    planted("M32", "a rollback goes on after the removal", "S11 S12"),
    planted("M33", "the singleton is removed while a peer still sends to it", "S1 S13"),
    planted("M34", "a buffered cast is delivered after its target removed the server", "S1 S13"),
    planted("M35", "the view of a peer's release is stale", "S11 S12"),
    planted("M36", "a removed node comes back", "S11 S12"),
    planted("M37", "an old node joins between the check and the flip", "S11 S12"),
    planted("M38", "a node comes back with an older release", "S12 S6 L4"),
    planted("M39", "a dead or unknown node counts as upgraded", "S12 S6 L4"),
    planted("M40", "a node that is gone for good holds the upgrade", "S12 S6 L4"),
    planted("M41", "the step is declared done from a minority", "S14 L4"),
    planted("M42", "two operators advance at once", "S14 L4"),
    planted("M43", "a crash in the middle of a step, and its resume does it again", "S14 L4"),
    planted("M44", "a partition in the middle of a step", "all"),
    planted("M45", "the program is replaced between the check and the start", "all"),
    planted("M46", "an upgrade is never noticed", "L4 L5 S3"),
    planted("M47", "a request of the operator is skipped in silence", "L4 L5 S3"),
    planted("M48", "the flag goes there and back with jobs in flight", "L4 L5 S3"),
    planted("M50", "code is removed while it is in use", "L6"),
    planted("M51", "the removal never happens", "L6"),
];

/// Every bug of the original's upgrade.
pub const BUGS: [Entry; 18] = [
    planted("G1", "server ids were hashes of node names, which collide", "S7"),
    planted("G2", "the flag gated the start of the new servers, and not their use alone", "L4 S6"),
    planted("G3", "new servers started only by a timer or a nodeup", "S6"),
    planted("G4", "a restart of the supervisor lost all per-node servers", "L3"),
    planted("G5", "a tagged reply was sent before every receiver understood it", "S9 L1"),
    planted("G6", "kill_all was sent to old nodes that do not handle it", "S9"),
    planted("G7", "the double kill was removed while the flag was off by default: a flip orphans jobs", "S3"),
    Entry { id: "G8", what: "closures, the identity of code, on the wire", oracles: "S8", how: How::As("M10") },
    impossible(
        "G9",
        "the same name, another type of process on old nodes",
        "S8",
        "a function's row names its types, every payload carries the shape of its value, and a value of another shape \
         is a typed exit at the caller; `wire diff` says who breaks when a function's types change",
        SHAPE_TEST,
    ),
    planted("G10", "a duty moved from worker to coordinator between releases", "L2"),
    impossible(
        "G11",
        "the arity of a remote function changed",
        "S8",
        "a function takes one argument whose shape is on the wire, so more or fewer parts are another shape, and a \
         typed exit; `wire diff` says who breaks",
        SHAPE_TEST,
    ),
    planted("G12", "a stream was opened on one node and driven from another", "S5"),
    planted("G13", "a long-lived loop kept running old code after an upgrade", "S12"),
    planted("G14", "the coordinator died before its cleaner started: orphans for up to five minutes", "L2"),
    planted("G15", "the monitors' target switched one release before the casts'", "S6"),
    planted("G16", "a readiness probe called what old nodes lack: they never counted as up", "L4"),
    planted("G17", "the stream handshake was added on one side alone", "S5"),
    planted("G18", "a bound of 0 crashed the server at the next error", "L1"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::invariant::Invariant;
    use crate::wire;

    #[test]
    fn every_id_is_planted_or_says_why_it_cannot_be() {
        let wire: Vec<&str> = wire::mutants().expect("a schema").iter().map(|planted| planted.id).collect();
        for entry in MUTANTS.iter().chain(&BUGS) {
            let stands = entry.planted().next().is_some() || wire.contains(&entry.wire_id());
            let impossible = matches!(entry.how, How::Impossible { .. });
            assert!(stands != impossible, "{entry:?}");
        }
    }

    #[test]
    fn every_planted_variant_stands_for_known_ids() {
        for planted in Mutant::ALL {
            for id in planted.ids.split(' ').filter(|id| !id.is_empty()) {
                assert!(MUTANTS.iter().chain(&BUGS).any(|entry| entry.id == id), "{} names {id}", planted.name);
            }
        }
    }

    #[test]
    fn the_ids_are_those_of_the_list() {
        let of = |entries: &[Entry]| entries.iter().map(|entry| entry.id.to_owned()).collect::<Vec<_>>();
        let mutants: Vec<String> = (1..=51).filter(|n| *n != 49).map(|n| format!("M{n}")).collect();
        assert_eq!(of(&MUTANTS), mutants);
        assert_eq!(of(&BUGS), (1..=18).map(|n| format!("G{n}")).collect::<Vec<_>>());
    }

    #[test]
    fn the_page_has_every_invariant_variant_mutant_and_bug() {
        let cell = |text: &str| if text.is_empty() { String::new() } else { format!("{text} ") };
        let named = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let invariants = Invariant::ALL.iter().map(|of| format!("| {of} | {} |", of.sentence()));
        let variants = Mutant::ALL.iter().map(|of| {
            let name = |mutant: &Mutant| Mutant::ALL[*mutant as usize].name;
            let with = || named(of.with.iter().map(name).collect());
            let guard = of.covered_by.map_or_else(String::new, |guard| format!("{guard}; gone with {}", with()));
            let ids = if of.ids.is_empty() { "–" } else { of.ids };
            format!("| `{}` | {ids} | {} | {} | {}|", of.name, of.sentence, of.breaks, cell(&guard))
        });
        let wire: Vec<&str> = wire::mutants().expect("a schema").iter().map(|planted| planted.id).collect();
        let entries = MUTANTS.iter().chain(&BUGS).map(|entry| {
            let how = match entry.how {
                How::As(other) => format!("as {other}"),
                How::Impossible { construction, held_by } => {
                    format!("cannot be planted: {construction} (held by {held_by})")
                }
                How::Planted => {
                    let lock = wire.contains(&entry.id).then(|| "a break of the lock".to_owned());
                    let core = Some(named(entry.planted().collect())).filter(|names| !names.is_empty());
                    lock.into_iter().chain(core).collect::<Vec<_>>().join(", ")
                }
            };
            format!("| {} | {} | {} | {how} |", entry.id, entry.what, entry.oracles)
        });
        let rows: Vec<String> = invariants.chain(variants).chain(entries).collect();
        let page: Vec<&str> = include_str!("../../../docs/safety.md").lines().filter(|line| is_row(line)).collect();
        for row in &rows {
            assert_eq!(page.iter().filter(|line| line.starts_with(row)).count(), 1, "docs/safety.md is to have: {row}");
        }
        assert_eq!(page.len(), rows.len(), "docs/safety.md has rows of what is not there");
    }

    /// Neither the head of a table nor the line below it.
    fn is_row(line: &str) -> bool {
        let first = line.strip_prefix("| ").and_then(|cells| cells.split(' ').next()).unwrap_or_default();
        first.starts_with('`') || first.ends_with(|last: char| last.is_ascii_digit())
    }
}
