//! `rexi-migrate wire`: the lock of all schemas, what breaks between two locks, every version's frames read by every
//! version.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::columns::{each_line, rerun};
use crate::service::Service;
use crate::verdict::conclusion::Conclusion;
use crate::wire::{Diff, Lock, LockError, Unshipped, matrix, report};
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, Report, WrapErr, miette};

use super::shared::{COULD_NOT_TELL, USAGE, writable, write_json};

/// Shows what messages are made of, who breaks when that changes, and how each version reads the others.
///
/// Exit codes: 0 nothing breaks, 1 something does, 2 wrong usage, 3 could not tell.
#[derive(Debug, Args)]
pub(crate) struct WireArgs {
    #[command(subcommand)]
    command: WireCommand,
}

#[derive(Debug, Subcommand)]
enum WireCommand {
    /// Locks the schemas of this build, or checks them against their lock.
    Lock {
        /// Where the lock is. [default: the service's]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Writes nothing. Exits with 1 if the lock is not this build's.
        #[arg(long)]
        check: bool,
        /// What is locked but in no release yet, so that it may change: wire versions such as v3, releases such as
        /// 3.2, train, hello, functions, or all; separated by commas. Everything else is frozen.
        #[arg(long, value_name = "PARTS", conflicts_with = "check")]
        unshipped: Option<Unshipped>,
    },
    /// Says for each change between two locks who breaks, in which direction, and whether anybody would notice.
    Diff {
        /// The lock before.
        old: PathBuf,
        /// The lock after.
        new: PathBuf,
        /// Writes the changes to a file, as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Has every version read golden and generated frames of every version.
    Matrix {
        /// How many frames of each kind and version to generate, 1 to 100000.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        generated: u32,
        /// Seed of everything that is generated. [default: random]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Runs all of it as one level of the verification.
    Report {
        /// How many frames of each kind and version to generate, 1 to 100000.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        generated: u32,
        /// Seed of everything that is generated. [default: random]
        #[arg(long)]
        seed: Option<u64>,
        /// Writes the report to a file, as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

/// Runs a subcommand; an error comes with the exit code that it means.
pub(crate) fn run(args: WireArgs, service: &Service) -> Result<ExitCode, (u8, Report)> {
    match args.command {
        WireCommand::Lock { file, check: only_check, unshipped } => {
            let file = file.as_ref().unwrap_or(&service.lock_file);
            if only_check { check(file, service) } else { lock(file, service, &unshipped.unwrap_or_default()) }
        }
        WireCommand::Diff { old, new, json } => {
            writable("--json", json.as_deref())?;
            let diff = Diff::new(&read(&old)?, &read(&new)?);
            let (text, verdict) = diff.told();
            say(&text);
            json.map_or(Ok(()), |file| write_json(&file, &diff))?;
            Ok(verdict.into())
        }
        WireCommand::Matrix { generated, seed } => {
            let seed = seed.unwrap_or_else(random);
            let read =
                matrix(generated as usize, seed, rexi_proto::Mutants::default()).map_err(|error| no_schema(&error))?;
            let command = format!("{} wire matrix --generated {generated} --seed {seed}", service.called());
            println!("{read}\n{}", rerun(&command));
            Ok(if read.wrong.is_empty() { Conclusion::Safe } else { Conclusion::Unsafe }.into())
        }
        WireCommand::Report { generated, seed, json } => {
            writable("--json", json.as_deref())?;
            let told = report(generated as usize, seed.unwrap_or_else(random), &service.called())
                .map_err(|error| no_schema(&error))?;
            print!("{}", told.to_text());
            json.map_or(Ok(()), |file| write_json(&file, &told))?;
            Ok(told.verdict.into())
        }
    }
}

fn check(file: &Path, service: &Service) -> Result<ExitCode, (u8, Report)> {
    let (old, new) = (read(file)?, service.lock().map_err(|error| no_schema(&error))?);
    if old == new {
        say(&format!("{} is the lock of this build: {} schemas", file.display(), new.schemas()));
        return Ok(Conclusion::Safe.into());
    }
    say(&Diff::new(&old, &new).to_text());
    say(&format!(
        "{} is not the lock of this build; {} wire lock writes it, where that is allowed",
        file.display(),
        service.called()
    ));
    Ok(Conclusion::Unsafe.into())
}

fn lock(file: &Path, service: &Service, unshipped: &Unshipped) -> Result<ExitCode, (u8, Report)> {
    let new = service.lock().map_err(|error| no_schema(&error))?;
    let contradictions = new.contradictions();
    if let Some(change) = contradictions.first() {
        return Err((Conclusion::Unsafe.code(), miette!("the rows contradict themselves: {change}")));
    }
    if file.exists() {
        new.may_replace(&read(file)?, unshipped).map_err(|refused| {
            let help = "a release in the field relies on it: write a new wire version, or a function of another name. \
                        If no release has it yet, say so: --unshipped";
            (Conclusion::Unsafe.code(), miette!(help = help, "{refused}"))
        })?;
    }
    let written = std::fs::write(file, new.to_text()).into_diagnostic();
    written.wrap_err_with(|| format!("cannot write {}", file.display())).map_err(|error| (USAGE, error))?;
    say(&format!("{}: {} schemas", file.display(), new.schemas()));
    Ok(Conclusion::Safe.into())
}

fn say(text: &str) {
    println!("{}", each_line(text));
}

fn read(path: &Path) -> Result<Lock, (u8, Report)> {
    Lock::read(path).map_err(|error| (USAGE, Report::msg(error.to_string())))
}

fn no_schema(error: &LockError) -> (u8, Report) {
    (COULD_NOT_TELL, Report::msg(error.to_string()))
}

fn random() -> u64 {
    rand::random::<u32>().into()
}
