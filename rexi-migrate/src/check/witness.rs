//! The cases that the check counts, and those without which a search proves nothing (docs/safety.md).

use crate::model::{Case, Cases};
use crate::path::UpgradePath;

/// Every case that is counted, in the order of reports.
pub(super) const CASES: [Case; 15] = [
    Case::KillAcrossSwitch,
    Case::StreamOverSwitch,
    Case::BufferedOverRelease,
    Case::RestartWithJobs,
    Case::Rollback,
    Case::FlipWithJobs,
    Case::Refused,
    Case::Orphaned,
    Case::Lost,
    Case::Expired,
    Case::Departed,
    Case::Raised,
    Case::Down,
    Case::Straggler,
    Case::BetweenParts,
];

/// The same, as what they count.
pub(super) const SENTENCES: [&str; CASES.len()] = sentences(CASES);

/// Whether a search over these releases proves nothing without the case.
pub(super) fn is_required(case: Case, train: &UpgradePath) -> bool {
    match case {
        Case::KillAcrossSwitch | Case::StreamOverSwitch => train.switches_servers(),
        Case::BufferedOverRelease | Case::Rollback => train.len() > 1,
        Case::RestartWithJobs | Case::BetweenParts => true,
        _ => false,
    }
}

/// Which of these cases were met, a bit each.
pub(super) fn met(cases: &[Case], met: Cases) -> u64 {
    let bits = cases.iter().enumerate().filter(|(_, case)| met.has(**case)).map(|(at, _)| 1 << at);
    if met.is_empty() { 0 } else { bits.sum() }
}

/// What cases count.
pub(super) const fn sentences<const N: usize>(cases: [Case; N]) -> [&'static str; N] {
    let (mut sentences, mut at) = ([""; N], 0);
    while at < N {
        sentences[at] = cases[at].sentence();
        at += 1;
    }
    sentences
}
