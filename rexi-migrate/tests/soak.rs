//! A short soak of real node processes: each kind of fault happens once, between rests at which ledgers are judged.

use std::time::Duration;

use rexi_migrate::history::judge::judge;
use rexi_migrate::rehearse::soak::{Fault, FaultKind, Soak};
use rexi_migrate::rehearse::{Options, rehearse};
use rexi_migrate::verdict::conclusion::Conclusion;

/// One fault of each kind, of about a second.
fn script() -> Vec<Fault> {
    let fault = |kind| Fault { kind, node: 1, other: 2, lasts: Duration::from_millis(1_000), strength: 0 };
    let strong = |kind, strength| Fault { strength, ..fault(kind) };
    vec![
        fault(FaultKind::CutPair),
        Fault { node: 0, ..fault(FaultKind::Freeze) },
        strong(FaultKind::LossNode, 200),
        fault(FaultKind::Kill),
        strong(FaultKind::LossAll, 100),
        fault(FaultKind::CutNode),
        strong(FaultKind::Delay, 20),
    ]
}

#[tokio::test]
async fn every_kind_of_fault_happens_and_nothing_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = directory.path().join("run");
    let soak = Soak {
        lasts: Duration::ZERO,
        script: script(),
        calm: Duration::from_millis(300)..Duration::from_millis(400),
        slice: Duration::from_secs(7),
    };
    let options = Options {
        nodes: 3,
        rate: 300,
        rate_is_due: false,
        seed: 12,
        train: rexi_migrate::demo::path().select("2.0").expect("a path"),
        kill_share: 0.4,
        dwell: Duration::ZERO,
        program: env!("CARGO_BIN_EXE_rexi-migrate").into(),
        programs: std::collections::BTreeMap::new(),
        keep: Some(kept.clone()),
        under: Vec::new(),
        node_args: Vec::new(),
        operate: false,
        soak: Some(soak),
        quiet: true,
        command: "seed 12".to_owned(),
    };
    let report = rehearse(&options, None, judge).await.expect("a report");
    let text = report.to_text();
    assert_eq!(report.verdict, Conclusion::Safe, "{text}");
    let judged = report.judgement.as_ref().expect("judged");
    let counts = &judged.counts;
    assert_eq!((counts.lost, counts.orphans, counts.job_without_call, counts.executed_twice), (0, 0, 0, 0), "{text}");
    assert_eq!((counts.processes, report.kills), (4, 1), "{text}");
    let fates = [counts.answered, counts.told, counts.killed, counts.caller_died];
    assert_eq!(fates.iter().sum::<u64>(), counts.casts, "{text}");
    let soak = report.soak.as_ref().expect("a soak");
    let kinds: Vec<(FaultKind, usize)> = soak.kinds.iter().map(|row| (row.kind, row.times)).collect();
    assert_eq!(kinds, FaultKind::ALL.map(|kind| (kind, 1)), "{text}");
    for fault in &soak.faults {
        assert!(fault.ready_ms.is_some() && fault.answered_ms.is_some() && fault.casts > 0, "{fault:?}\n{text}");
    }
    assert!(soak.datagrams_passed > 1_000 && soak.datagrams_dropped > 100, "{soak:?}");
    // Two rests at least, and what is behind them; and the windows of the soak add up to its step.
    assert!(soak.slices >= 2, "{text}");
    let steps: Vec<u64> = judged.steps.iter().map(|step| step.casts).collect();
    assert_eq!((judged.steps.len(), steps.iter().sum::<u64>()), (report.steps.len(), counts.casts), "{text}");
    let windows = soak.faults.iter().map(|fault| fault.casts).sum::<u64>() + soak.calm.casts;
    let soaked = judged.steps.iter().find(|step| step.name.contains("soak")).expect("a row");
    // Those of standing streams that are cast again as the load comes to rest lie outside.
    assert!(windows <= soaked.casts && windows * 10 > soaked.casts * 9, "{windows} of {}\n{text}", soaked.casts);
    if cfg!(target_os = "linux") {
        assert!(soak.lives.len() == 4 && soak.lives.iter().all(|life| life.rss_kib_max > 0), "{:?}", soak.lives);
    }
    // What was judged as safe is not kept.
    assert!(!kept.join("n1.0.ledger").exists() && kept.join("n1.log").exists());
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
    assert_eq!(json["soak"]["faults"].as_array().map(Vec::len), Some(7), "{json:#}");
}
