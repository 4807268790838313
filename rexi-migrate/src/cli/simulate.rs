//! `rexi-migrate simulate`: thousands of upgrades of the real server in virtual time; or one plan, again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::plan::{NODES, Plan};
use crate::screen::Screen;
use crate::service::{Service, quoted};
use crate::simulate::{Budget, Campaign, Simulation, Tally, Tls};
use crate::verdict::level::LevelReport;
use clap::{Args, ValueEnum};
use miette::{Report, miette};

use super::shared::{USAGE, print, writable, write_json, write_svg};

/// Upgrades a simulated cluster thousands of times, in virtual time.
///
/// The server and its QUIC packets are real. Calls, kills and streams run during upgrades, rollbacks, hot flips,
/// crashes and network faults, and the invariants judge a ledger of every call and job. A seed repeats its run, packet
/// for packet.
///
/// Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Seed of all scenarios. [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// How many scenarios. [default: 1000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "seconds")]
    scenarios: Option<u64>,
    /// Plays scenarios for this many seconds, up to 86400.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// How many nodes a scenario has, 2 to 5.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(nodes()))]
    nodes: u8,
    /// How connections are secured: not at all, which is faster, or by real TLS 1.3 with seeded keys.
    #[arg(long, value_enum, default_value = "plain")]
    tls: TlsArg,
    /// How many threads play scenarios, 1 to 256. [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Plays each scenario twice and compares the runs, event for event and packet for packet.
    #[arg(long)]
    twice: bool,
    /// Plays only this plan, as a failure prints it.
    #[arg(long, value_name = "TEXT")]
    #[arg(conflicts_with_all = ["seed", "scenarios", "seconds", "nodes", "threads", "twice"])]
    plan: Option<String>,
    /// Writes the report to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes what happened in the failed scenario, or in that of --plan, to a file, as an SVG sequence diagram.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Shows only the report, no progress.
    #[arg(long)]
    quiet: bool,
    /// Breaks the protocol of every node on purpose, to show that it is noticed: names, separated by commas.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAMES", value_parser = super::shared::parse_mutants)]
    mutant: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TlsArg {
    Plain,
    Real,
}

fn nodes() -> std::ops::RangeInclusive<i64> {
    i64::from(*NODES.start())..=i64::from(*NODES.end())
}

/// Simulates, and gives the exit code of the verdict; an error comes with the exit code that it means.
pub(crate) fn run(args: &SimulateArgs, service: &Service) -> Result<ExitCode, (u8, Report)> {
    writable("--json", args.json.as_deref())?;
    writable("--svg", args.svg.as_deref())?;
    let (report, svg) = match &args.plan {
        Some(text) => {
            let plan = Plan::parse(text, &service.train);
            let plan = &plan.map_err(|error| (USAGE, miette!("--plan: {error}")))?;
            let outcome = args.simulation(service).run(plan);
            // What happened, whether or not it is a breach, is all that anybody plays one plan for.
            let trace = outcome.trace();
            if outcome.is_safe() {
                print(&format!("{trace}\n"));
            }
            let command = args.again(service, plan);
            (Campaign::report_one(&outcome, &command), Some(trace.to_svg()))
        }
        None => args.campaign(service),
    };
    print(&format!("{}\n", report.to_text()));
    if let Some(file) = &args.json {
        write_json(file, &report)?;
    }
    if let (Some(file), Some(svg)) = (&args.svg, svg) {
        write_svg(file, &svg)?;
    }
    Ok(report.verdict.into())
}

impl SimulateArgs {
    fn simulation(&self, service: &Service) -> Simulation {
        let simulation = service.simulation.clone().tls(match self.tls {
            TlsArg::Plain => Tls::Plain,
            TlsArg::Real => Tls::Real,
        });
        let simulation = if self.twice { simulation.record_datagrams() } else { simulation };
        self.mutate(simulation)
    }

    #[cfg(feature = "mutants")]
    fn mutate(&self, simulation: Simulation) -> Simulation {
        let mutants = self.mutant.as_deref().map(rexi_server::Mutants::from_names);
        match mutants {
            Some(Ok(mutants)) => simulation.mutants(mutants),
            _ => simulation,
        }
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the feature's twin needs it")]
    fn mutate(&self, simulation: Simulation) -> Simulation {
        simulation
    }

    /// The report of many scenarios, and the diagram of the one that failed.
    fn campaign(&self, service: &Service) -> (LevelReport, Option<String>) {
        let seed = self.seed.unwrap_or_else(|| rand::random::<u32>().into());
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let budget = match self.seconds {
            Some(seconds) => Budget::Time(Duration::from_secs(seconds)),
            None => Budget::Scenarios(self.scenarios.unwrap_or(SCENARIOS)),
        };
        let campaign = Campaign {
            simulation: self.simulation(service),
            plans: service.plans().nodes(self.nodes),
            seed,
            budget,
            threads: self.threads.map_or_else(cores, usize::from),
            twice: self.twice,
        };
        let mut screen = Screen::late(self.quiet);
        let tally = campaign.run(|tally| screen.show(Some(share(budget, tally)), || told(budget, tally)));
        screen.clear();
        let report = campaign.report(&tally, &self.command(service, seed), |plan| self.again(service, plan));
        let svg = tally.failure.filter(|failure| !failure.outcome.is_safe());
        (report, svg.map(|failure| failure.outcome.trace().to_svg()))
    }

    /// The command that plays all scenarios of this seed again.
    fn command(&self, service: &Service, seed: u64) -> String {
        let budget = match self.seconds {
            Some(seconds) => format!("--seconds {seconds}"),
            None => format!("--scenarios {}", self.scenarios.unwrap_or(SCENARIOS)),
        };
        let twice = if self.twice { " --twice" } else { "" };
        format!("{} simulate --seed {seed} {budget} --nodes {}{twice}{}", service.called(), self.nodes, self.ways())
    }

    /// The command that plays one plan again.
    fn again(&self, service: &Service, plan: &Plan) -> String {
        format!("{} simulate --plan {}{}", service.called(), quoted(&plan.to_string()), self.ways())
    }

    /// How every scenario is played.
    fn ways(&self) -> String {
        let mut ways = String::new();
        if self.tls == TlsArg::Real {
            ways += " --tls real";
        }
        #[cfg(feature = "mutants")]
        if let Some(names) = &self.mutant {
            ways += &format!(" --mutant {names}");
        }
        ways
    }
}

/// How far a run is: as a share of 1, and in words.
fn share(budget: Budget, tally: &Tally) -> f64 {
    match budget {
        Budget::Scenarios(most) => tally.scenarios as f64 / most.max(1) as f64,
        Budget::Time(most) => tally.elapsed.as_secs_f64() / most.as_secs_f64().max(f64::MIN_POSITIVE),
    }
}

fn told(budget: Budget, tally: &Tally) -> String {
    let left = match budget {
        Budget::Scenarios(most) => {
            most.saturating_sub(tally.scenarios) as f64 * 60.0 / tally.rate().max(f64::MIN_POSITIVE)
        }
        Budget::Time(most) => most.saturating_sub(tally.elapsed).as_secs_f64(),
    };
    let Tally { scenarios, calls, .. } = tally;
    format!("{scenarios} scenarios, {:.0} a minute, {calls} calls, {left:.0} s left", tally.rate())
}

/// How many scenarios are played unless it is said: a quarter of a minute on two cores.
const SCENARIOS: u64 = 1_000;
