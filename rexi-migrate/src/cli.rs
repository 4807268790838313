//! The subcommands but for `rehearse`, a file each: flags in, a call of the library, text, JSON and exit code out.

pub(crate) mod check;
#[cfg(feature = "mutants")]
pub(crate) mod mutants;
pub(crate) mod plan;
pub(crate) mod simulate;
pub(crate) mod verify;
pub(crate) mod wire;

use std::io::Write;
use std::path::Path;

use miette::{IntoDiagnostic, Report, WrapErr};
use serde::Serialize;

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
