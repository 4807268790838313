//! The command line of rexi-migrate: a file for each subcommand, with flags in, and text, JSON and exit code out.
//!
//! Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.

mod check;
#[cfg(feature = "mutants")]
mod mutants;
mod plan;
mod rehearse;
mod simulate;
mod verify;
mod wire;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use miette::{IntoDiagnostic, Report, WrapErr};
use serde::Serialize;
use tempfile::TempDir;

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
    let ended = match Cli::parse().command {
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

/// Shows the error, if one it is.
fn exit_code(ended: Result<ExitCode, (u8, Report)>) -> ExitCode {
    ended.unwrap_or_else(|(code, report)| {
        eprintln!("{report:?}");
        ExitCode::from(code)
    })
}

/// The exit code of wrong usage; clap's own.
pub(crate) const USAGE: u8 = 2;

/// The exit code of a run that proves nothing.
pub(crate) const COULD_NOT_TELL: u8 = 3;

/// Writes a value to the file of `--json`; an error comes with the exit code that it means.
pub(crate) fn write_json(file: &Path, value: &impl Serialize) -> Result<(), (u8, Report)> {
    let mut text = serde_json::to_string_pretty(value).into_diagnostic().map_err(|error| (COULD_NOT_TELL, error))?;
    text.push('\n');
    std::fs::write(file, text)
        .into_diagnostic()
        .wrap_err_with(|| format!("--json: cannot write {}", file.display()))
        .map_err(|error| (USAGE, error))
}

/// Writes a diagram to the file of `--svg`; an error comes with the exit code that it means.
pub(crate) fn write_svg(file: &Path, svg: &str) -> Result<(), (u8, Report)> {
    std::fs::write(file, svg)
        .into_diagnostic()
        .wrap_err_with(|| format!("--svg: cannot write {}", file.display()))
        .map_err(|error| (USAGE, error))
}

/// Writes to standard output. Nobody may be left to read it; the exit code still tells.
pub(crate) fn print(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// The names of mutants, joined by commas.
#[cfg(feature = "mutants")]
fn parse_mutants(text: &str) -> Result<String, String> {
    use rexi_server::{Mutant, Mutants};

    let known = || Mutant::ALL.iter().map(|planted| planted.name).collect::<Vec<_>>().join(", ");
    Mutants::from_names(text).map_err(|name| format!("{name:?} is no mutant: use some of {}", known()))?;
    Ok(text.to_owned())
}

/// This executable under a name of the run's own, for as long as the guard lives: a build that replaces it meanwhile
/// must not put another program into the second half of the run (M45 of docs/safety.md).
fn pinned(program: &Path) -> std::io::Result<(TempDir, PathBuf)> {
    let dir = TempDir::with_prefix("rexi-program-")?;
    let own = dir.path().join(program.file_name().unwrap_or_else(|| "program".as_ref()));
    std::fs::hard_link(program, &own).or_else(|_| std::fs::copy(program, &own).map(drop))?;
    Ok((dir, own))
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=,:+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
