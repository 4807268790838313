//! What only another build of this program has: a command or a flag that is missing here is named with that build.

use clap::error::{ContextKind, ContextValue};
use miette::{Report, miette};

use crate::service::quoted;

/// What to say instead of `error`, where its cause is that this build has no broken variants. `words` are those behind
/// the program's name.
pub(super) fn of_another_build(error: &clap::Error, words: impl Iterator<Item = String>) -> Option<Report> {
    let unknown = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg];
    let Some(ContextValue::String(word)) = unknown.into_iter().find_map(|kind| error.get(kind)) else { return None };
    if cfg!(feature = "mutants") || !WITH_VARIANTS.contains(&word.as_str()) {
        return None;
    }
    let words: Vec<String> = words.map(|word| quoted(&word)).collect();
    Some(miette!(
        help = format!("run: {BUILD} -- {}", words.join(" ")),
        "`{word}` is not in this build, which cannot break the protocol on purpose"
    ))
}

const WITH_VARIANTS: [&str; 3] = ["mutants", "history", "--mutant"];

const BUILD: &str = "cargo run --profile verification -p rexi-migrate --features mutants";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;
    use super::*;

    fn said(line: &str) -> Option<String> {
        let words = || line.split(' ').map(str::to_owned);
        let error = Cli::try_parse_from(["rexi-migrate".to_owned()].into_iter().chain(words())).err()?;
        Some(format!("{:?}", of_another_build(&error, words())?))
    }

    #[test]
    fn what_needs_broken_variants_is_named_with_the_build_that_has_them() {
        let lines = ["mutants M24", "history --all", "check --nodes 2 --mutant own-phase-gate", "rehearse --mutant=a"];
        for line in lines {
            let said = said(line);
            if cfg!(feature = "mutants") {
                assert_eq!(said, None, "{line}");
                continue;
            }
            let said = said.expect("it is missing").split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains("is not in this build") && said.contains("--features mutants -- "), "{said}");
            assert!(said.contains(line.split(' ').next().expect("a word")), "{said}");
        }
        for line in ["mutant", "check --mutants", "reherse", "rehearse --nodes x"] {
            assert_eq!(said(line), None, "{line}");
        }
    }
}
