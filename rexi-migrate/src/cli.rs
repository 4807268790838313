//! The command line of the tools, `rexi-migrate`'s and each service's own: a file for each subcommand, with flags in,
//! and text, JSON and exit code out.
//!
//! Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell; `live` has two more.

mod shared;
mod builds;
mod check;
mod live;
#[cfg(feature = "mutants")]
mod mutants;
mod plan;
mod rehearse;
mod simulate;
mod verify;
mod wire;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use miette::Report;

use self::shared::{USAGE, exit_code};
use crate::rehearse::node::{self, NodeArgs};
use crate::service::Tool;

/// Shows whether a cluster may change its protocol while it runs.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80)]
struct Cli {
    #[command(flatten)]
    args: ToolArgs,
}

/// The command line of the tools, as a part of a service's own.
#[derive(Debug, Args)]
#[command(max_term_width = 80)]
pub struct ToolArgs {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Upgrades a real cluster of processes on this machine under load, and says whether anything was lost.
    ///
    /// Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.
    Rehearse(rehearse::RehearseArgs),
    Plan(plan::PlanArgs),
    Wire(wire::WireArgs),
    Check(check::CheckArgs),
    Simulate(simulate::SimulateArgs),
    Verify(verify::VerifyArgs),
    Live(live::LiveArgs),
    #[cfg(feature = "mutants")]
    Mutants(mutants::MutantsArgs),
    #[cfg(feature = "mutants")]
    History(mutants::HistoryArgs),
    /// One node of a rehearsal. Started by `rehearse`, and spoken to over its standard input and output.
    #[command(hide = true)]
    RehearsedNode(NodeArgs),
}

impl Tool {
    /// Runs the command line that this process was given, and gives the exit code of its verdict.
    pub fn main(self) -> ExitCode {
        match Cli::try_parse_from(self.words(std::env::args())) {
            Ok(cli) => self.run(cli.args),
            Err(error) => match builds::of_another_build(&error, std::env::args().skip(1)) {
                Some(report) => exit_code(Err((USAGE, report))),
                None => error.exit(),
            },
        }
    }

    /// The words of a command line, without those that lead to the tools.
    fn words(&self, words: impl Iterator<Item = String>) -> Vec<String> {
        let mut words: Vec<String> = words.collect();
        let under = 1..=self.under.len();
        if words.get(under.clone()) == Some(&self.under[..]) {
            words.drain(under);
        }
        words
    }

    /// Runs the command of these arguments, and gives the exit code of its verdict.
    pub fn run(self, args: ToolArgs) -> ExitCode {
        let service = match self.service {
            Ok(service) => service,
            Err(error) => return exit_code(Err((USAGE, Report::msg(error.to_string())))),
        };
        exit_code(match args.command {
            Subcommands::Rehearse(args) => rehearse::run(args, &service),
            Subcommands::Plan(args) => plan::run(&args, &service),
            Subcommands::Wire(args) => wire::run(args, &service),
            Subcommands::Check(args) => check::run(&args, &service),
            Subcommands::Simulate(args) => simulate::run(&args, &service),
            Subcommands::Verify(args) => verify::run(&args, &service),
            Subcommands::Live(args) => live::run(args, &service),
            #[cfg(feature = "mutants")]
            Subcommands::Mutants(args) => mutants::run(&args),
            #[cfg(feature = "mutants")]
            Subcommands::History(args) => mutants::history(&args),
            Subcommands::RehearsedNode(args) => {
                return node::run(args, &service.train, service.workload.as_deref());
            }
        })
    }
}
