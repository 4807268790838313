//! The levels that run in this process, each within its share of the budget: wire, check, simulate.

use std::thread::available_parallelism;
use std::time::Duration;

use super::show::Show;
use crate::check::{self, CheckOptions, suite};
use crate::path::UpgradePath;
use crate::search::Options;
use crate::simulate::{Budget, Campaign};
use crate::verdict::level::{Level, LevelReport};
use crate::wire;

/// L0, which takes a second.
pub(super) fn wire(seed: u64) -> LevelReport {
    wire::report(wire::GENERATED, seed).unwrap_or_else(|error| {
        LevelReport::not_run(Level::Wire, format!("it could not be run: {error}"), "rexi-migrate wire report")
    })
}

/// L1: the default suite, up to the share.
pub(super) fn check(given: Duration, show: &mut Show) -> LevelReport {
    let train = UpgradePath::default();
    let none = rexi_proto::Mutants::default();
    let options = CheckOptions {
        hellos: check::hellos::bounds(3, &train, none),
        scopes: suite(3, 1, &train, none),
        search: Options { time_max: Some(given), ..Options::default() },
        train,
        vectors: true,
        orders: true,
        quiet: show.quiet,
        command: "rexi-migrate check".to_owned(),
    };
    show.clear();
    check::check(&options)
}

/// L2: scenarios for as long as the share is.
pub(super) fn simulate(given: Duration, seed: u64, show: &mut Show) -> LevelReport {
    let threads = available_parallelism().map_or(1, usize::from);
    let campaign = Campaign { budget: Budget::Time(given), threads, ..Campaign::new(seed) };
    let tally = campaign.run(|tally| {
        show.tick(|| format!("{} scenarios, {:.0} a minute, {} calls", tally.scenarios, tally.rate(), tally.calls));
    });
    // As many again, and not as long again: that is the same again.
    let command = format!("rexi-migrate simulate --seed {seed} --scenarios {}", tally.scenarios.max(1));
    campaign.report(&tally, &command, |plan| format!("rexi-migrate simulate --plan '{plan}'"))
}
