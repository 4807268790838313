//! The levels that run in this process, each within its share of the budget: wire, check, simulate.

use std::thread::available_parallelism;
use std::time::Duration;

use super::show::Show;
use super::verification;
use crate::check::{self, CheckOptions, suite};
use crate::search::Options;
use crate::service::Service;
use crate::simulate::{Budget, Campaign};
use crate::verdict::level::{Level, LevelReport};
use crate::wire;

/// L0, which takes a second.
pub(super) fn wire(service: &Service, seed: u64) -> LevelReport {
    let called = service.called();
    wire::report(wire::GENERATED, seed, &called).unwrap_or_else(|error| {
        LevelReport::not_run(Level::Wire, format!("it could not be run: {error}"), &format!("{called} wire report"))
    })
}

/// L1: the default suite, up to the share.
pub(super) fn check(service: &Service, given: Duration, show: &mut Show) -> LevelReport {
    let train = service.train.clone();
    let none = rexi_proto::Mutants::default();
    let options = CheckOptions {
        hellos: check::hellos::bounds(3, &train, none),
        records: check::record::bounds(&train, none),
        scopes: suite(3, 1, &train, none),
        search: Options { time_max: Some(given), ..Options::default() },
        train,
        vectors: true,
        orders: true,
        quiet: show.quiet,
        command: format!("{} check", service.called()),
    };
    show.clear();
    check::check(&options)
}

/// L2: scenarios for as long as the share is.
pub(super) fn simulate(options: &verification::Options, given: Duration, show: &mut Show) -> LevelReport {
    let (service, seed) = (&options.service, options.seed);
    let threads = available_parallelism().map_or(1, usize::from);
    let simulation = service.simulation.clone();
    let plans = service.plans();
    let campaign = Campaign { simulation, budget: Budget::Time(given), threads, ..Campaign::new(plans, seed) };
    let tally = campaign.run(|tally| {
        show.tick(|| format!("{} scenarios, {:.0} a minute, {} calls", tally.scenarios, tally.rate(), tally.calls));
    });
    // As many again, and not as long again: that is the same again.
    let called = service.called();
    let command = format!("{called} simulate --seed {seed} --scenarios {}", tally.scenarios.max(1));
    campaign.report(&tally, &command, |plan| format!("{called} simulate --plan '{plan}'"))
}
