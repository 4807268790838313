//! A soak in the report's text: a table of its faults by kind, one of what the processes took, and some sentences.

use comfy_table::Table;

use crate::columns::{align_right, table};
use crate::rehearse::soak::usage::mib;
use crate::rehearse::soak::{LifeUsage, SoakOutcome, Trend};
use crate::screen::grouped;

/// The faults, by kind: the longest of each, and the longest times from the end of one until all nodes were ready, and
/// until those that it concerned answered each other again; of these the median, too.
pub(super) fn fault_table(soak: &SoakOutcome) -> Table {
    let head = ["fault", "times", "up to\ns", "ready\nms", "answer\nms", "median\nms", "casts", "told"];
    let mut table = table(head);
    for row in &soak.kinds {
        table.add_row([
            row.kind.words().to_owned(),
            grouped(row.times as u64),
            seconds(row.longest_ms),
            grouped(row.ready_ms_max),
            grouped(row.answered_ms_max),
            grouped(row.answered_ms_median),
            grouped(row.casts),
            grouped(row.told),
        ]);
    }
    let calm = &soak.calm;
    let none = String::new;
    table.add_row(["none".to_owned(), none(), none(), none(), none(), none(), grouped(calm.casts), grouped(calm.told)]);
    align_right(&mut table, 1..8);
    table
}

/// What the processes of each node took at most.
pub(super) fn usage_table(soak: &SoakOutcome) -> Table {
    let mut table = table(["node", "processes", "most MiB", "most descriptors"]);
    let mut nodes: Vec<&str> = soak.lives.iter().map(|life| life.node.as_str()).collect();
    // As they first appear: in the order of their numbers.
    let mut seen = std::collections::BTreeSet::new();
    nodes.retain(|node| seen.insert(*node));
    for node in nodes {
        let of = |value: fn(&LifeUsage) -> u64| {
            soak.lives.iter().filter(|life| life.node == node).map(value).max().unwrap_or(0)
        };
        let processes = soak.lives.iter().filter(|life| life.node == node).count();
        table.add_row([
            node.to_owned(),
            grouped(processes as u64),
            mib(of(|life| life.rss_kib_max)),
            grouped(of(|life| life.descriptors_max)),
        ]);
    }
    align_right(&mut table, 1..4);
    table
}

/// What else there is to say of it.
pub(super) fn sentences(soak: &SoakOutcome) -> Vec<String> {
    let calm = &soak.calm;
    let faults = soak.faults.len();
    let mut said = vec![format!(
        "Soak: {} s, {} faults, each with {} s to mend; {} s of it without a fault, at {} casts/s.",
        soak.lasted_ms / 1_000,
        grouped(faults as u64),
        soak.recovery_ms_limit / 1_000,
        calm.ms / 1_000,
        grouped(calm.rate())
    )];
    said.extend(soak.witness.as_ref().map(trend));
    said.push(format!(
        "Slices judged: {}, of {} MiB at most, in {} s, {} s for one at most; {} MiB of memory. The relay passed {} \
         datagrams on and lost {}. Load average: {:.1} at most.",
        grouped(soak.slices as u64),
        grouped(soak.ledger_bytes_max >> 20),
        seconds(soak.judged_ms),
        seconds(soak.judged_ms_max),
        mib(soak.tool_rss_kib_max),
        grouped(soak.datagrams_passed),
        grouped(soak.datagrams_dropped),
        soak.load_average_max
    ));
    said
}

fn trend(trend: &Trend) -> String {
    let flat = |is_flat| if is_flat { "flat" } else { "NOT FLAT" };
    format!(
        "{}, never killed: {} MiB in the first third, {} in the last, {} at most: {}; {} descriptors, {}, {}: {}.",
        trend.node,
        mib(trend.rss_kib_first),
        mib(trend.rss_kib_last),
        mib(trend.rss_kib_max),
        flat(trend.memory_is_flat()),
        trend.descriptors_first,
        trend.descriptors_last,
        trend.descriptors_max,
        flat(trend.descriptors_are_flat())
    )
}

fn seconds(ms: u64) -> String {
    format!("{:.1}", ms as f64 / 1_000.0)
}
