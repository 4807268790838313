//! The part of a report that a soak adds.

use super::*;
use crate::rehearse::soak::{Calm, FaultKind, KindRow, LifeUsage, SoakOutcome, Trend};

/// A soak of a day.
fn soaked() -> Report {
    let kind = |kind| KindRow {
        kind,
        times: 1_234,
        longest_ms: 8_970,
        ready_ms_max: 12_345,
        answered_ms_median: 48,
        answered_ms_max: 12_345,
        casts: 123_456_789,
        told: 234_567,
    };
    let life = |node: &str, rss_kib_max| LifeUsage {
        node: node.to_owned(),
        samples: 9,
        rss_kib_max,
        rss_kib_last: 1,
        descriptors_max: 17,
    };
    let soak = SoakOutcome {
        asked_s: 86_400,
        lasted_ms: 86_405_000,
        slices: 432,
        judged_ms: 2_000_500,
        judged_ms_max: 9_040,
        ledger_bytes_max: 140 << 20,
        tool_rss_kib_max: 512_000,
        datagrams_passed: 800_000_000,
        datagrams_dropped: 4_000_000,
        load_average_max: 7.25,
        recovery_ms_limit: 20_000,
        kinds: FaultKind::ALL.map(kind).to_vec(),
        calm: Calm { ms: 40_000_000, casts: 199_000_000, told: 42 },
        witness: Some(Trend {
            node: "n1".to_owned(),
            rss_kib_first: 20_480,
            rss_kib_last: 40_960,
            rss_kib_max: 51_200,
            descriptors_first: 17,
            descriptors_last: 17,
            descriptors_max: 18,
            samples: Vec::new(),
        }),
        lives: vec![life("n1", 51_200), life("n2", 2_048), life("n2", 4_096)],
        faults: Vec::new(),
        doubts: vec!["the memory of n1 grew: 20.0 MiB in the first third of the soak, 40.0 in the last".to_owned()],
    };
    Report { soak: Some(soak), verdict: Conclusion::CouldNotTell, ..report() }
}

#[test]
fn a_soak_says_what_went_wrong_what_that_cost_and_what_the_nodes_took() {
    let text = soaked().to_text();
    assert_has(
        &text,
        &[
            "cut node ┆ 1,234 ┆ 9.0 ┆ 12,345 ┆ 12,345 ┆ 48 ┆ 123,456,789 ┆ 234,567 │",
            "none ┆ ┆ ┆ ┆ ┆ ┆ 199,000,000 ┆ 42 │",
            "n1 ┆ 1 ┆ 50.0 ┆ 17 │",
            "n2 ┆ 2 ┆ 4.0 ┆ 17 │",
            "COULD NOT TELL",
            "Soak: 86405 s, 0 faults, each with 20 s to mend; 40000 s of it without a fault, at 4,975 casts/s.",
            "n1, never killed: 20.0 MiB in the first third, 40.0 in the last, 50.0 at most: NOT FLAT; 17 descriptors, \
             17, 18: flat.",
            "Slices judged: 432, of 140 MiB at most, in 2000.5 s, 9.0 s for one at most; 500.0 MiB of memory.",
            "doubt: the memory of n1 grew: 20.0 MiB in the first third of the soak, 40.0 in the last",
        ],
    );
}

#[test]
fn a_soak_is_in_the_json_and_a_run_without_one_has_no_word_of_it() {
    let json = soaked().to_json();
    for part in ["\"soak\": {", "\"kind\": \"cut_pair\"", "\"rss_kib_last\": 40960", "\"answered_ms_max\": 12345"] {
        assert!(json.contains(part), "no {part} in {json}");
    }
    assert!(!report().to_json().contains("\"soak\""));
    assert!(!report().to_text().contains("Soak"));
}
