//! A source file as the rules see it: split into code, comments and literals, so that a word in a comment or a string
//! breaks no rule about code.
//!
//! In: the file's text. Out: its lines, each with what of it is code and what is comment, and whether a release has it.

use std::iter;

use super::Finding;

/// A file, split for the rules.
pub(crate) struct Source {
    /// From the workspace's root, with `/`.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
    /// Holds nothing but tests.
    pub(crate) tests_only: bool,
}

/// A line of a file.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// The text with a blank for each character of a comment or a literal.
    pub(crate) code: String,
    /// The text with a blank for each character of anything but a comment.
    pub(crate) comment: String,
    /// In an item under `#[cfg(test)]`.
    pub(crate) test: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Code,
    Comment,
    Literal,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut lines = vec![Line::default()];
        for (&char, class) in chars.iter().zip(classify(&chars)) {
            if char == '\n' {
                lines.push(Line::default());
                continue;
            }
            let line = lines.last_mut().expect("there is a first line, and none is taken away");
            line.text.push(char);
            line.code.push(if class == Class::Code { char } else { ' ' });
            line.comment.push(if class == Class::Comment { char } else { ' ' });
        }
        if lines.last().is_some_and(|line| line.text.is_empty()) {
            lines.pop();
        }
        mark_tests(&mut lines);
        let tests_only = path.starts_with("tests/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || lines.iter().any(|line| line.code.trim_start().starts_with("#![cfg(test)]"));
        Self { path: path.to_owned(), lines, tests_only }
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether a build other than a test's contains the line.
    pub(crate) fn ships(&self, line: &Line) -> bool {
        !self.tests_only && !line.test
    }

    pub(crate) fn is_in_tests_crate(&self) -> bool {
        self.path.starts_with("tests/")
    }

    pub(crate) fn finding(&self, index: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: index + 1, what: what.into() }
    }
}

/// Marks the lines of each item under `#[cfg(test)]`.
fn mark_tests(lines: &mut [Line]) {
    let mut first = 0;
    while let Some(line) = lines.get(first) {
        let code = line.code.trim_start();
        let opens = code.starts_with("#[cfg(test)]") || code.starts_with("#[cfg(all(test,");
        let end = if opens { end_of_item(lines, first) } else { first + 1 };
        for line in &mut lines[first..end] {
            line.test = opens;
        }
        first = end;
    }
}

/// What each character is part of.
fn classify(chars: &[char]) -> Vec<Class> {
    let mut classes = Vec::with_capacity(chars.len());
    while classes.len() < chars.len() {
        let rest = &chars[classes.len()..];
        let (class, length) = token(rest);
        classes.extend(iter::repeat_n(class, length.clamp(1, rest.len())));
    }
    classes
}

/// The class and the length of the token at the start of `rest`, which is not empty.
fn token(rest: &[char]) -> (Class, usize) {
    match (rest[0], rest.get(1).copied()) {
        ('/', Some('/')) => (Class::Comment, rest.iter().take_while(|char| **char != '\n').count()),
        ('/', Some('*')) => (Class::Comment, block_comment(rest)),
        ('"', _) => (Class::Literal, quoted(rest, '"')),
        ('\'', Some('\\')) => (Class::Literal, quoted(rest, '\'')),
        ('\'', Some(_)) if rest.get(2) == Some(&'\'') => (Class::Literal, 3),
        (first, _) if is_word(first) => {
            if let Some(length) = raw_string(rest) {
                return (Class::Literal, length);
            }
            (Class::Code, rest.iter().take_while(|char| is_word(**char)).count())
        }
        _ => (Class::Code, 1),
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) if depth == 1 => return at + 2,
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of the raw string that `rest` begins with, if it does.
fn raw_string(rest: &[char]) -> Option<usize> {
    let prefix = if rest[0] == 'r' { 1 } else { 2 };
    if prefix == 2 && !(matches!(rest[0], 'b' | 'c') && rest.get(1) == Some(&'r')) {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|char| **char == '#').count();
    let opening = prefix + hashes;
    if rest.get(opening) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = iter::once('"').chain(iter::repeat_n('#', hashes)).collect();
    let closes = |at: &usize| rest[*at..].starts_with(&end);
    Some((opening + 1..rest.len()).find(closes).map_or(rest.len(), |at| at + end.len()))
}

/// The index after the item that starts at `first` with an attribute: after its outermost braces, or its semicolon.
pub(crate) fn end_of_item(lines: &[Line], first: usize) -> usize {
    let mut depth = 0_i32;
    for (index, line) in lines.iter().enumerate().skip(first) {
        for char in line.code.chars() {
            depth += match char {
                '{' | '(' | '[' => 1,
                '}' | ')' | ']' => -1,
                _ => 0,
            };
            if (depth <= 0 && matches!(char, '}' | ';')) || depth < 0 {
                return index + 1;
            }
        }
    }
    lines.len()
}

pub(crate) fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Whether `text` holds `pattern` as whole words: `rand::` is in `rand::rng()`, not in `strand::rng()`.
pub(crate) fn holds(text: &str, pattern: &str) -> bool {
    let bounded =
        |outside: Option<char>, edge: Option<char>| !(outside.is_some_and(is_word) && edge.is_some_and(is_word));
    text.match_indices(pattern).any(|(at, _)| {
        bounded(text[..at].chars().next_back(), pattern.chars().next())
            && bounded(text[at + pattern.len()..].chars().next(), pattern.chars().next_back())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTO: &str = "rexi-proto/src/x.rs";

    #[test]
    fn a_text_is_split_into_code_comments_and_literals() {
        let text = "a /* b /* c */ d */ e // f\n'\"' g \"h // \\\" i\" j r#\"k \" l\"# m\n\
             for<'n> br\"o\" 'p' '\\'' q r#fn";
        let source = Source::new(PROTO, text);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let code: Vec<String> = source.lines.iter().map(|line| words(&line.code)).collect();
        assert_eq!(code, ["a e", "g j m", "for<'n> q r#fn"]);
        let comments: Vec<String> = source.lines.iter().map(|line| words(&line.comment)).collect();
        assert_eq!(comments, ["/* b /* c */ d */ // f", "", ""]);
    }

    #[test]
    fn literals_and_comments_may_be_left_open() {
        for text in ["\"a", "\"a\\", "/* a", "r##\"a\"#", "'\\", "'", "r", "br", "/"] {
            assert_eq!(Source::new(PROTO, text).lines[0].text, text);
        }
    }

    #[test]
    fn an_item_under_cfg_test_is_marked_to_its_end() {
        let text = "fn a() {}\n#[cfg(test)]\nfn b() {\n \"}\";\n}\nfn c() {}\n#[cfg(test)]\nmod tests;\nfn d() {}\n";
        let marked: Vec<bool> = Source::new(PROTO, text).lines.iter().map(|line| line.test).collect();
        assert_eq!(marked, [false, true, true, true, true, false, true, true, false]);
    }

    #[test]
    fn files_of_tests_are_marked_throughout() {
        for path in ["tests/rolling.rs", "rexi-proto/src/node/tests.rs", "rexi-server/tests/a.rs"] {
            assert!(Source::new(path, "fn a() {}").tests_only, "{path}");
        }
        assert!(Source::new(PROTO, "//! A.\n#![cfg(test)]\n").tests_only);
        assert!(!Source::new("rexi-proto/src/contests.rs", "fn a() {}").tests_only);
    }
}
