//! `rexi-migrate check`: every state of a small cluster through the upgrade, on the real state machines.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::check::{CheckOptions, NODES_MAX, NODES_MIN, check, hellos, record, suite};
use crate::path::UpgradePath;
use crate::search::Options;
use crate::service::Service;
use clap::Args;
use miette::Report;

use super::shared::{path, print, writable, write_json, write_svg};

/// Visits every state that a small cluster can be in on its way through the releases, and judges each.
///
/// The cluster is made of the real state machines. Then tries all version vectors and all orders of the upgrade.
///
/// Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// How many nodes, 2 to 5.
    #[arg(long, default_value_t = 3, value_parser = parse_nodes)]
    nodes: usize,
    /// Casts in a run, each from any node to any other, 0 to 4.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=4))]
    jobs: u8,
    /// The releases to go through. [default: all]
    #[arg(long, value_name = "RELEASES")]
    train: Option<String>,
    /// Distinct states at most. A search that stops there says nothing of the rest.
    #[arg(long, value_name = "STATES", default_value_t = 100_000_000)]
    budget_states: u64,
    /// Seconds at most. [default: no limit]
    #[arg(long, value_name = "SECONDS")]
    budget_seconds: Option<u64>,
    /// Threads. Counts and traces do not depend on it. [default: one per processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
    /// Only tries all version vectors of three nodes. Goes with --orders.
    #[arg(long)]
    vectors: bool,
    /// Only tries all orders of upgrading three nodes. Goes with --vectors.
    #[arg(long)]
    orders: bool,
    /// Writes the report to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the diagram of a counterexample to a file, if there is one.
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

fn parse_nodes(text: &str) -> Result<usize, String> {
    let nodes = text.parse().ok().filter(|nodes| (NODES_MIN..=NODES_MAX).contains(nodes));
    nodes.ok_or_else(|| format!("use a number of nodes from {NODES_MIN} to {NODES_MAX}"))
}

/// Checks, and gives the exit code of the report; an error comes with the exit code that it means.
pub(crate) fn run(args: &CheckArgs, service: &Service) -> Result<ExitCode, (u8, Report)> {
    let options = args.options(service)?;
    writable("--json", args.json.as_deref())?;
    writable("--svg", args.svg.as_deref())?;
    let report = check(&options);
    print(&report.to_text());
    if let Some(file) = &args.json {
        write_json(file, &report)?;
    }
    let trace = report.breaches.iter().find_map(|breach| breach.trace.as_ref());
    if let (Some(file), Some(trace)) = (&args.svg, trace) {
        write_svg(file, &trace.to_svg())?;
    }
    Ok(report.verdict.into())
}

impl CheckArgs {
    fn options(&self, service: &Service) -> Result<CheckOptions, (u8, Report)> {
        let train = path(self.train.as_deref(), service)?;
        let defaults = Options::default();
        let all = !self.vectors && !self.orders;
        Ok(CheckOptions {
            scopes: if all { suite(self.nodes, self.jobs, &train, self.mutants()) } else { Vec::new() },
            hellos: if all { hellos::bounds(self.nodes, &train, self.mutants()) } else { Vec::new() },
            records: if all { record::bounds(&train, self.mutants()) } else { Vec::new() },
            search: Options {
                states_max: self.budget_states,
                time_max: self.budget_seconds.map(Duration::from_secs),
                threads: self.threads.map_or(defaults.threads, usize::from),
                ..defaults
            },
            vectors: all || self.vectors,
            orders: all || self.orders,
            quiet: self.quiet,
            command: self.command(service, &train),
            train,
        })
    }

    #[cfg(feature = "mutants")]
    fn mutants(&self) -> rexi_proto::Mutants {
        let names = self.mutant.as_deref().unwrap_or_default();
        rexi_proto::Mutants::from_names(names).expect("the names were looked at")
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the feature's twin needs it")]
    fn mutants(&self) -> rexi_proto::Mutants {
        rexi_proto::Mutants::default()
    }

    /// The command line that does it again.
    fn command(&self, service: &Service, train: &UpgradePath) -> String {
        let mut command = format!("{} check", service.called());
        if self.vectors || self.orders {
            command += if self.vectors { " --vectors" } else { "" };
            command += if self.orders { " --orders" } else { "" };
            return command;
        }
        command += &format!(" --nodes {} --jobs {} --train {train}", self.nodes, self.jobs);
        if self.budget_states != 100_000_000 {
            command += &format!(" --budget-states {}", self.budget_states);
        }
        if let Some(seconds) = self.budget_seconds {
            command += &format!(" --budget-seconds {seconds}");
        }
        #[cfg(feature = "mutants")]
        if let Some(names) = &self.mutant {
            command += &format!(" --mutant {names}");
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::shared::USAGE;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        args: CheckArgs,
    }

    fn demo() -> Service {
        Service::new(crate::demo::path())
    }

    fn options(words: &str) -> CheckOptions {
        parse(words).expect(words).options(&demo()).expect(words)
    }

    fn parse(words: &str) -> Result<CheckArgs, clap::Error> {
        let words = ["check"].into_iter().chain(words.split_whitespace());
        Words::try_parse_from(words).map(|words| words.args)
    }

    #[test]
    fn wrong_usage_names_what_is_allowed_and_exits_2() {
        for (words, allowed) in [
            ("--nodes 1", "from 2 to 5"),
            ("--nodes 6", "from 2 to 5"),
            ("--jobs 5", "0..=4"),
            ("--threads 0", "1..=1024"),
            ("--budget-seconds -1", "--"),
        ] {
            let error = parse(words).expect_err(words);
            assert_eq!(error.exit_code(), i32::from(USAGE), "{words}");
            assert!(error.to_string().contains(allowed), "{words}: {error}");
        }
        let train = parse("--train 1.0,1.3").expect("a text").options(&demo()).expect_err("no such release");
        assert_eq!(train.0, USAGE);
        assert!(train.1.to_string().contains("1.0, 1.1, 1.2, 2.0"), "{}", train.1);
        for words in ["--nodes 2", "--nodes 5", "--jobs 0", "--jobs 4"] {
            assert!(parse(words).is_ok(), "{words}");
        }
    }

    #[test]
    fn the_command_does_the_same_again() {
        for words in
            ["--nodes 2 --jobs 0 --train 1.1,1.2 --budget-states 10 --budget-seconds 3", "--vectors", "--orders", ""]
        {
            let first = options(words);
            let again = first.command.split_once(" check").expect("the command").1;
            assert_eq!(format!("{:?}", options(again)), format!("{first:?}"), "{words}");
        }
    }

    #[test]
    fn vectors_and_orders_alone_search_nothing() {
        let both = options("--vectors --orders");
        assert!(both.scopes.is_empty() && both.vectors && both.orders);
        let all = options("");
        assert!(all.scopes.len() > 1 && all.vectors && all.orders);
    }
}
