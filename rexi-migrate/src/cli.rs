//! The command line of rexi-migrate: a file for each subcommand, with flags in, and text, JSON and exit code out.
//!
//! Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.

mod shared;
mod builds;
mod check;
#[cfg(feature = "mutants")]
mod mutants;
mod plan;
mod rehearse;
mod simulate;
mod verify;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::shared::{USAGE, exit_code};
use crate::rehearse::node::{self, NodeArgs};

pub use rehearse::RehearseArgs;

/// Shows whether a cluster may change its protocol while it runs.
#[derive(Debug, Parser)]
#[command(name = "rexi-migrate", version)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Upgrades a real cluster of processes on this machine under load, and says whether anything was lost.
    ///
    /// Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.
    Rehearse(RehearseArgs),
    Plan(plan::PlanArgs),
    Wire(wire::WireArgs),
    Check(check::CheckArgs),
    Simulate(simulate::SimulateArgs),
    Verify(verify::VerifyArgs),
    #[cfg(feature = "mutants")]
    Mutants(mutants::MutantsArgs),
    #[cfg(feature = "mutants")]
    History(mutants::HistoryArgs),
    /// One node of a rehearsal. Started by `rehearse`, and spoken to over its standard input and output.
    #[command(hide = true)]
    RehearsedNode(NodeArgs),
}

/// Runs the command line that this process was given.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => match builds::of_another_build(&error, std::env::args().skip(1)) {
            Some(report) => return exit_code(Err((USAGE, report))),
            None => error.exit(),
        },
    };
    let ended = match cli.command {
        Subcommands::Rehearse(args) => rehearse::run(args, None, &[]),
        Subcommands::Plan(args) => plan::run(&args),
        Subcommands::Wire(args) => wire::run(args),
        Subcommands::Check(args) => check::run(&args),
        Subcommands::Simulate(args) => simulate::run(&args),
        Subcommands::Verify(args) => verify::run(&args),
        #[cfg(feature = "mutants")]
        Subcommands::Mutants(args) => mutants::run(&args),
        #[cfg(feature = "mutants")]
        Subcommands::History(args) => mutants::history(&args),
        Subcommands::RehearsedNode(args) => return node::run(args, None),
    };
    exit_code(ended)
}
