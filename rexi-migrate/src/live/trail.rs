//! The trails of all members, read and joined.

use rexi_proto::NodeName;
use rexi_proto::operate::TrailLine;
use rexi_proto::record::Digest;
use thiserror::Error;

/// A trail that does not hang together: a line was changed, taken out or put in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} {what}")]
pub struct TrailError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// The lines of one member's trail. The first may go on from an earlier file.
///
/// # Errors
/// [`TrailError`], the first.
pub fn read(text: &str) -> Result<Vec<TrailLine>, TrailError> {
    let mut last: Option<Digest> = None;
    let mut lines = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        let error = |what: String| TrailError { line: number, what };
        let line: TrailLine =
            serde_json::from_str(text).map_err(|reason| error(format!("is not as a trail has them: {reason}")))?;
        if last.is_some_and(|last| last.to_string() != line.previous) {
            return Err(error("does not follow the line before it: one was changed, taken out or put in".to_owned()));
        }
        last = Some(Digest::of(text));
        lines.push(line);
    }
    Ok(lines)
}

/// The lines of all members, by time, then by member: each member's own keep their order.
pub fn joined(trails: impl IntoIterator<Item = (NodeName, Vec<TrailLine>)>) -> Vec<(NodeName, TrailLine)> {
    let mut all = Vec::new();
    for (node, lines) in trails {
        let mut at = 0;
        for line in lines {
            // A clock that was set back does not put a line before an earlier one.
            at = line.at.max(at);
            all.push((at, node.clone(), line));
        }
    }
    all.sort_by(|(one, node, _), (other, of, _)| (one, node).cmp(&(other, of)));
    all.into_iter().map(|(_, node, line)| (node, line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trail of lines that say these, at these times.
    fn trail(lines: &[(u64, &str)]) -> String {
        let (mut text, mut last) = (String::new(), Digest::default());
        for &(at, told) in lines {
            let line = TrailLine { at, told: told.to_owned(), previous: last.to_string(), ..TrailLine::default() };
            let line = serde_json::to_string(&line).expect("it is written");
            last = Digest::of(&line);
            text += &(line + "\n");
        }
        text
    }

    #[test]
    fn a_line_that_was_changed_taken_out_or_put_in_is_found() {
        let good = trail(&[(1, "one"), (2, "two"), (3, "three")]);
        assert_eq!(read(&good).map(|lines| lines.len()), Ok(3));
        let lines: Vec<&str> = good.lines().collect();
        assert_eq!(read(&lines[1..].join("\n")).map(|lines| lines.len()), Ok(2), "it goes on from an earlier file");
        let follows = |line: usize| {
            let what = "does not follow the line before it: one was changed, taken out or put in".to_owned();
            Err(TrailError { line, what })
        };
        assert_eq!(read(&[lines[0], lines[2]].join("\n")).map(|_| ()), follows(2));
        assert_eq!(read(&[lines[0], lines[1], lines[1], lines[2]].join("\n")).map(|_| ()), follows(3));
        assert_eq!(read(&good.replace("\"two\"", "\"2\"")).map(|_| ()), follows(3));
        assert_eq!(read("nonsense").expect_err("it is none").line, 1);
    }

    #[test]
    fn trails_are_joined_by_time_and_each_members_lines_keep_their_order() {
        let name = |of: &str| NodeName::new(of).expect("a name");
        let of = |lines: &[(u64, &str)]| read(&trail(lines)).expect("a trail");
        let trails = [(name("n2"), of(&[(2, "b"), (4, "d")])), (name("n1"), of(&[(3, "c"), (1, "late"), (5, "e")]))];
        let told: Vec<String> = joined(trails).into_iter().map(|(_, line)| line.told).collect();
        assert_eq!(told, ["b", "c", "late", "d", "e"]);
    }
}
