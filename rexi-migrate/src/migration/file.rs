//! A migration from a TOML file, for a change that is declared outside Rust code.

use serde::Deserialize;
use thiserror::Error;

use super::data::{Behaviour, FORMS_MAX, MessageForm, MessageForms, ProtocolChange, RELEASES_MAX, Role, Unknown};

/// Why a text is not a migration. Its author is at fault; nothing was done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is not TOML, or has keys that a migration does not have.
    #[error("the file cannot be read as a migration: {0}")]
    Layout(#[from] toml::de::Error),
    /// A release names a form that is not declared.
    #[error("release {release:?} names the form {form:?}, which is not declared; declared are {declared}")]
    UnknownForm {
        /// The release.
        release: String,
        /// What it names.
        form: String,
        /// The forms that are there.
        declared: String,
    },
    /// A name is there twice.
    #[error("the {what} {name:?} is declared twice; give each a name of its own")]
    Twice {
        /// MessageForm or release.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More than a migration holds, or too little for one.
    #[error("the file has {count} of [[{what}]]; a migration has {min} to {max}")]
    Count {
        /// MessageForm or release.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How few there may be.
        min: usize,
        /// How many there may be.
        max: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    form: Vec<FormEntry>,
    #[serde(default)]
    release: Vec<ReleaseEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormEntry {
    name: String,
    role: Role,
    #[serde(default = "any_server")]
    server: String,
    #[serde(default)]
    unknown: Unknown,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseEntry {
    name: String,
    accepts: Vec<String>,
    emits: Vec<String>,
    #[serde(default)]
    remembers: bool,
}

fn any_server() -> String {
    "server".to_owned()
}

/// Reads a migration from the text of a TOML file:
///
/// ```toml
/// name = "put"
/// about = "writes carry a version"
///
/// [[form]]
/// name = "put"
/// role = "start"         # start, end or answer
/// server = "store"       # what of the receiver takes it; "server" where left out
/// unknown = "breach"     # or "ignored"; "breach" where left out
///
/// [[release]]
/// name = "1.0"
/// accepts = ["put"]
/// emits = ["put"]
/// remembers = false      # false where left out
/// ```
///
/// # Errors
/// [`FileError`] says what is wrong with it.
pub fn from_toml(text: &str) -> Result<ProtocolChange, FileError> {
    let file: File = toml::from_str(text)?;
    bounded("form", file.form.len(), 1, FORMS_MAX)?;
    bounded("release", file.release.len(), 2, RELEASES_MAX)?;
    distinct("form", file.form.iter().map(|form| &form.name))?;
    distinct("release", file.release.iter().map(|release| &release.name))?;
    let forms: Vec<MessageForm> = file
        .form
        .into_iter()
        .map(|FormEntry { name, role, server, unknown }| MessageForm { name, role, server, unknown })
        .collect();
    let behaviour = |ReleaseEntry { name, accepts, emits, remembers }: ReleaseEntry| {
        let (accepts, emits) = (places(&forms, &name, &accepts)?, places(&forms, &name, &emits)?);
        Ok(Behaviour { name, accepts, emits, remembers })
    };
    let releases = file.release.into_iter().map(behaviour).collect::<Result<_, FileError>>()?;
    Ok(ProtocolChange { name: file.name, about: file.about, forms, releases })
}

fn places(forms: &[MessageForm], release: &str, names: &[String]) -> Result<MessageForms, FileError> {
    let place = |name: &String| {
        forms.iter().position(|form| form.name == *name).ok_or_else(|| FileError::UnknownForm {
            release: release.to_owned(),
            form: name.clone(),
            declared: forms.iter().map(|form| form.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(place).collect()
}

fn bounded(what: &'static str, count: usize, min: usize, max: usize) -> Result<(), FileError> {
    if (min..=max).contains(&count) { Ok(()) } else { Err(FileError::Count { what, count, min, max }) }
}

fn distinct<'a>(what: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), FileError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(FileError::Twice { what, name: name.clone() });
        }
    }
    Ok(())
}
