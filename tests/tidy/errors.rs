//! The rule on docs/errors.md: each variant of a public error has one row.
//!
//! In: the page, and the sources as `tidy.rs` has split them.

use super::Finding;
use super::source::Source;

/// The page, from the workspace's root.
pub(crate) const PAGE: &str = "docs/errors.md";

/// Where errors are declared, and which of the enums there the page explains.
const DECLARED: [(&str, &[&str]); 17] = [
    ("rexi-server/src/builder/error.rs", &["StartError"]),
    ("rexi-server/src/engine/members.rs", &["MemberError"]),
    ("rexi-server/src/calls/error.rs", &["SendError", "CallError"]),
    ("rexi-server/src/functions/reply.rs", &["AskError"]),
    ("rexi-server/src/net/identity.rs", &["IdentityError"]),
    ("rexi-server/src/config/error.rs", &["ConfigError"]),
    ("rexi-server/src/state.rs", &["StateError"]),
    ("rexi-server/src/engine/operators.rs", &["OperatorListError"]),
    ("rexi-server/src/node/record.rs", &["CommandError"]),
    ("rexi-server/src/operate/operator.rs", &["OperatorError"]),
    ("rexi-proto/src/record/text.rs", &["KeptError"]),
    ("rexi-proto/src/record/kept.rs", &["Bar"]),
    ("rexi-proto/src/caller.rs", &["CastError"]),
    ("rexi-proto/src/message.rs", &["ExitReason", "DownReason"]),
    ("rexi-proto/src/error.rs", &["CloseCode"]),
    ("rexi-proto/src/hello/refusal.rs", &["Refusal"]),
    ("rexi-proto/src/rollout/error.rs", &["HandshakeError", "PhaseError"]),
];

/// Every variant without a row or with two, and every row without a variant.
pub(crate) fn errors(page: &str, sources: &[Source]) -> Vec<Finding> {
    let finding = |line: usize, what: String| Finding { path: PAGE.to_owned(), line, what };
    let rows: Vec<(usize, &str)> =
        (1..).zip(page.lines()).filter_map(|(line, text)| Some((line, row(text)?))).collect();
    let mut codes = Vec::new();
    for (path, enums) in DECLARED {
        let source = sources.iter().find(|source| source.path == path).expect("errors are declared there");
        for name in enums {
            codes.extend(variants(source, name).into_iter().map(|variant| format!("{name}::{variant}")));
        }
    }
    let missing = codes.iter().filter_map(|code| {
        let count = rows.iter().filter(|(_, row)| row == code).count();
        (count != 1).then(|| finding(1, format!("{code} has {count} rows: each code has one")))
    });
    let stale = rows.iter().filter(|(_, row)| !codes.iter().any(|code| code == row));
    let stale = stale.map(|(line, row)| finding(*line, format!("there is no {row}")));
    missing.chain(stale).collect()
}

/// The code that a row explains.
fn row(text: &str) -> Option<&str> {
    let code = text.strip_prefix("| `")?.split('`').next()?;
    code.contains("::").then_some(code)
}

/// The variants of an enum, which stand one step in from it.
fn variants<'a>(source: &'a Source, name: &str) -> Vec<&'a str> {
    let opens = |code: &str| {
        let rest = code.strip_prefix("pub enum ").and_then(|code| code.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with([' ', '<']))
    };
    let lines = source.lines.iter().skip_while(|line| !opens(&line.code));
    let variant = |code: &'a str| {
        let name = code.strip_prefix("    ")?;
        let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
        name.starts_with(|c: char| c.is_ascii_uppercase()).then(|| &name[..end])
    };
    lines.skip(1).take_while(|line| line.code.trim_end() != "}").filter_map(|line| variant(&line.code)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_without_a_row_and_a_row_without_a_variant_are_found() {
        let text = "pub enum CastError {\n    /// One.\n    Gone,\n    Held {\n        Not: u8,\n    },\n}\n";
        let sources: Vec<_> = DECLARED.iter().map(|(path, _)| Source::new(path, text)).collect();
        let found = errors("| `CastError::Gone` | x |\n| `CastError::Kept` | x |\n", &sources);
        let said: Vec<_> = found.iter().map(|finding| (finding.line, finding.what.as_str())).collect();
        assert_eq!(said, [(1, "CastError::Held has 0 rows: each code has one"), (2, "there is no CastError::Kept")]);
    }
}
