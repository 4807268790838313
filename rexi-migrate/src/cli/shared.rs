//! What the subcommands share: exit codes, files that are written, and words that a shell reads back.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miette::{IntoDiagnostic, Report, WrapErr, miette};
use serde::Serialize;
use tempfile::TempDir;

use crate::path::UpgradePath;
use crate::service::{Service, quoted};

/// The exit code of wrong usage; clap's own.
pub(super) const USAGE: u8 = 2;

/// The exit code of a run that proves nothing.
pub(super) const COULD_NOT_TELL: u8 = 3;

/// Looks whether the file of this flag can be written, before the run, so that a wrong path costs none. Leaves what is
/// in it.
pub(super) fn writable(flag: &str, file: Option<&Path>) -> Result<(), (u8, Report)> {
    let Some(file) = file else { return Ok(()) };
    let opened = OpenOptions::new().append(true).create(true).open(file).into_diagnostic();
    opened
        .map(drop)
        .wrap_err_with(|| format!("{flag}: cannot write {}", file.display()))
        .map_err(|error| (USAGE, error))
}

/// Writes a value to the file of `--json`; an error comes with the exit code that it means.
pub(super) fn write_json(file: &Path, value: &impl Serialize) -> Result<(), (u8, Report)> {
    let mut text = serde_json::to_string_pretty(value).into_diagnostic().map_err(|error| (COULD_NOT_TELL, error))?;
    text.push('\n');
    std::fs::write(file, text)
        .into_diagnostic()
        .wrap_err_with(|| format!("--json: cannot write {}", file.display()))
        .map_err(|error| (USAGE, error))
}

/// Writes a diagram to the file of `--svg`; an error comes with the exit code that it means.
pub(super) fn write_svg(file: &Path, svg: &str) -> Result<(), (u8, Report)> {
    std::fs::write(file, svg)
        .into_diagnostic()
        .wrap_err_with(|| format!("--svg: cannot write {}", file.display()))
        .map_err(|error| (USAGE, error))
}

/// The releases of `--train`; all of the service's where it is not given.
pub(super) fn path(text: Option<&str>, service: &Service) -> Result<UpgradePath, (u8, Report)> {
    let Some(text) = text else { return Ok(service.train.clone()) };
    service.train.select(text).map_err(|error| (USAGE, miette!("--train {}: {error}", quoted(text))))
}

/// Writes to standard output. Nobody may be left to read it; the exit code still tells.
pub(super) fn print(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// The names of mutants, joined by commas.
#[cfg(feature = "mutants")]
pub(super) fn parse_mutants(text: &str) -> Result<String, String> {
    use rexi_server::{Mutants, proto::Mutant};

    let known = || Mutant::ALL.iter().map(|planted| planted.name).collect::<Vec<_>>().join(", ");
    Mutants::from_names(text).map_err(|name| format!("{name:?} is not a mutant: use some of {}", known()))?;
    Ok(text.to_owned())
}

/// This executable under a name of the run's own, for as long as the guard lives: a build that replaces it meanwhile
/// must not put another program into the second half of the run (M45 of docs/safety.md).
pub(super) fn pinned(program: &Path) -> std::io::Result<(TempDir, PathBuf)> {
    let dir = TempDir::with_prefix("rexi-program-")?;
    let own = dir.path().join(program.file_name().unwrap_or_else(|| "program".as_ref()));
    std::fs::hard_link(program, &own).or_else(|_| std::fs::copy(program, &own).map(drop))?;
    Ok((dir, own))
}

/// Shows the error, if one it is.
pub(super) fn exit_code(ended: Result<ExitCode, (u8, Report)>) -> ExitCode {
    ended.unwrap_or_else(|(code, report)| {
        eprintln!("{report:?}");
        ExitCode::from(code)
    })
}
