//! How text fits a terminal of 80 columns: prose that is wrapped, tables whose cells are, commands that stay whole.
//!
//! In: text of any width. Out: text of [`WIDTH`] columns. Three things may be wider: a command that is to be copied,
//! which has a line of its own; a word that is too long by itself, such as a path; and what is no text for a terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Columns of a line at most.
const WIDTH: u16 = 80;

/// Text behind `first`, and its further lines behind `next`. Without a line's end.
pub(crate) fn wrapped(first: &str, next: &str, text: &str) -> String {
    // Dashes are left alone: a flag or a name in two parts could no longer be searched for.
    let options = Options::new(WIDTH.into())
        .initial_indent(first)
        .subsequent_indent(next)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(text, options)
}

/// The same, with all further lines under the first one's text.
pub(crate) fn hanging(first: &str, text: &str) -> String {
    wrapped(first, &" ".repeat(first.chars().count()), text)
}

/// Lines of a text that was made elsewhere: each is wrapped, two columns deeper than it begins. Commands stay whole.
pub(crate) fn each_line(text: &str) -> String {
    let line = |line: &str| {
        let inner = line.trim_start();
        let indent = &line[..line.len() - inner.len()];
        let is_command = inner.starts_with(RERUN);
        if is_command { line.to_owned() } else { wrapped(indent, &format!("{indent}  "), inner) }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A command that does it again, to be copied: on one line of its own, however long.
pub(crate) fn rerun(command: &str) -> String {
    format!("  {RERUN}{command}")
}

/// What a line begins with that holds a command.
const RERUN: &str = "rerun: ";

/// An empty table with this head. What does not fit is wrapped within its cell.
pub(crate) fn table(header: impl IntoIterator<Item = impl Into<comfy_table::Cell>>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<comfy_table::Cell>>());
    table
}

/// Numbers stand under each other by their last digits.
pub(crate) fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Panics where a line of what a terminal is given is too wide, unless it is a command or one long word.
    pub(crate) fn assert_fits(text: &str) {
        for line in text.lines() {
            let is_command = line.trim_start().starts_with(RERUN);
            let words = line.split_whitespace().count();
            let fits = line.chars().count() <= usize::from(WIDTH) || is_command || words == 1;
            assert!(fits, "{} columns: {line}\nin\n{text}", line.chars().count());
        }
    }

    /// Text as words: however it is wrapped, a phrase is found in it.
    pub(crate) fn unwrapped(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn prose_is_wrapped_with_its_indent_and_at_blanks_only() {
        let text = "server-per-node ".repeat(10);
        let lines = hanging("  needs  ", text.trim());
        assert_fits(&lines);
        assert!(lines.lines().skip(1).all(|line| line.starts_with("         server-per-node")), "{lines}");
        assert_eq!(lines.matches("server-per-node").count(), 10);
        assert_eq!(wrapped("a ", "b ", "x"), "a x");
        let exactly = "x ".repeat(39) + "yy";
        assert_eq!((exactly.len(), wrapped("", "", &exactly)), (80, exactly.clone()));
        assert_eq!(wrapped("", "", &format!("{exactly}y")).lines().count(), 2);
    }

    #[test]
    fn what_is_copied_stays_whole() {
        let long = "word ".repeat(40);
        let command = rerun(&long);
        assert_eq!(each_line(&command), command);
        let path = format!("/{}", "directory/".repeat(12));
        assert_eq!(each_line(&format!("logs: {path}")), format!("logs:\n  {path}"));
        let lines = each_line(&format!("first\n    {long}\n{command}"));
        assert_fits(&lines);
        assert!(lines.contains("\n      word") && lines.ends_with(&command), "{lines}");
    }

    #[test]
    fn a_table_fits_and_loses_no_word() {
        let mut table = table(["step", "how"]);
        table
            .add_row(["1", "ceiling kv.read-consistency introduce, rexi.server-per-node remove, and once more remove"]);
        align_right(&mut table, [0, 7]);
        let text = table.to_string();
        assert_fits(&text);
        assert!(
            text.contains("│    1 ┆ ceiling kv.read-consistency introduce, rexi.server-per-node remove,"),
            "{text}"
        );
    }
}
