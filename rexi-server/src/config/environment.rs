//! The variables of the environment that override keys: which are a key's, which are somebody else's, and which were
//! meant for a key.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use super::document::environment;
use super::error::ConfigError;
use super::keys::{CONFIG_KEYS, ConfigKey, holds_names, tables};

/// The values of variables that are a key's, by the name that [`ConfigKey::variable`] gives.
pub(super) fn overrides<K: AsRef<OsStr>, V: AsRef<OsStr>>(
    variables: impl IntoIterator<Item = (K, V)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let known: Vec<String> = CONFIG_KEYS.iter().map(ConfigKey::variable).collect();
    let mut overrides = BTreeMap::new();
    for (variable, value) in variables {
        let Some(variable) = variable.as_ref().to_str().filter(|variable| variable.starts_with("REXI_")) else {
            continue;
        };
        let (place, key) = (environment(), variable.to_owned());
        let of_key = if variable == CEILING { "REXI_PHASE" } else { variable };
        if !known.iter().any(|known| known == of_key) {
            match meant_for_key(variable, &known) {
                Some(nearest) => return Err(ConfigError::UnknownVariable { place, key, nearest }),
                None => continue,
            }
        }
        let Some(value) = value.as_ref().to_str() else { return Err(ConfigError::NotUnicode { place, key }) };
        if value.trim().is_empty() {
            return Err(ConfigError::EmptyVariable { place, key });
        }
        if overrides.insert(of_key.to_owned(), value.to_owned()).is_some() {
            return Err(ConfigError::SetTwice { place, key, other: "REXI_PHASE" });
        }
    }
    Ok(overrides)
}

/// The variable that an unknown one was meant to be: it begins with the name of a table, or is nearly a known one.
/// An orchestrator's own (`REXI_SERVICE_HOST`, `REXI_PORT`) is neither.
fn meant_for_key(variable: &str, known: &[String]) -> Option<String> {
    let prefix = |table: &str| format!("REXI_{}", table.to_uppercase());
    let of_table = tables().into_iter().filter(|table| !table.is_empty()).any(|table| {
        let end = if holds_names(table) { "" } else { "_" };
        variable.starts_with(&(prefix(table) + end))
    });
    let known = known.iter().map(String::as_str).chain([CEILING]);
    let (edits, nearest) = known.map(|known| (strsim::damerau_levenshtein(variable, known), known)).min()?;
    (of_table || edits <= EDITS_MAX).then(|| nearest.to_owned())
}

/// The other name of `REXI_PHASE`, as that of any other key would be.
const CEILING: &str = "REXI_ROLLOUT_CEILING";

/// A variable that differs in no more letters is taken for a known one, misspelt. (`REXI_HOME` differs from `REXI_NAME`
/// in two.)
const EDITS_MAX: usize = 1;
