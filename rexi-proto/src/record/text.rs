//! The record and what a member keeps, as text: what is hashed, and what stands in the file.
//!
//! There is one text for each value. A text is read and written again, and what differs then was not written by us: so
//! neither a flipped bit nor a line too many is passed over. The last line is the digest of all lines above it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};
use std::str::{FromStr, Lines};
use std::sync::Arc;

use thiserror::Error;

use super::{Brake, ClusterChange, ClusterRecord, Digest, Fence, Intent, Kept, Loss, SeenLife};
use crate::name::{Incarnation, NodeName, start_of};
use crate::phase::Phase;

/// Why a text is not what a member has kept. Nothing was taken from it: a floor that cannot be read is not "no floor".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeptError {
    /// Another format, or none.
    #[error("it begins with {first:?}, and this release reads {FORMAT:?}")]
    Format {
        /// The first line.
        first: String,
    },
    /// It ends early, or is not what was written.
    #[error("line {line} is not as it was written")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// The digest of its lines is not the one that it ends with.
    #[error("its lines do not match the digest that it ends with")]
    Digest,
    /// It is of another node.
    #[error("it is of {theirs}, and this is {ours}")]
    OtherNode {
        /// Whose it is.
        theirs: NodeName,
        /// Who reads it.
        ours: NodeName,
    },
    /// It is far longer than what can be kept.
    #[error("it has {bytes} bytes, and {KEPT_BYTES_MAX} at most are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// The first line.
const FORMAT: &str = "rexi-rollout 1";

/// Bytes of the text of what a member keeps.
pub const KEPT_BYTES_MAX: usize = 4 << 20;

/// A line: a word, and what it is of.
fn line(text: &mut String, word: &str, what: impl Display) {
    writeln!(text, "{word} {what}").expect("a text takes what is written");
}

/// A line for each of these.
fn lines<T: Display>(text: &mut String, word: &str, what: impl IntoIterator<Item = T>) {
    what.into_iter().for_each(|what| line(text, word, what));
}

/// A line for each key and its value.
fn pairs<K: Display, V: Display>(text: &mut String, word: &str, what: &BTreeMap<K, V>) {
    what.iter().for_each(|(key, value)| line(text, word, format_args!("{key} {value}")));
}

impl ClusterRecord {
    pub(super) fn render(&self, text: &mut String) {
        line(text, "record", format_args!("{} {}", self.epoch, self.attempt));
        line(text, "cluster", &self.cluster);
        line(text, "origin", self.origin);
        line(text, "floor", self.floor);
        line(text, "top", self.top);
        pairs(text, "ceiling", &self.ceilings);
        lines(text, "member", &self.members);
        pairs(text, "forgotten", &self.forgotten);
        pairs(text, "lifted", &self.lifted);
        line(text, "by", &self.by);
        line(text, "at", self.at);
        line(text, "intent", self.intent);
        line(text, "previous", self.previous);
    }

    fn read(epoch: u64, attempt: u64, from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            epoch,
            attempt,
            cluster: from.one("cluster", some)?,
            origin: from.one("origin", Digest::parse)?,
            floor: from.one("floor", parsed)?,
            top: from.one("top", parsed)?,
            ceilings: from.pairs("ceiling")?,
            members: from.many("member", parsed)?,
            forgotten: from.pairs("forgotten")?,
            lifted: from.pairs("lifted")?,
            by: from.one("by", some)?,
            at: from.one("at", parsed)?,
            intent: from.one("intent", Digest::parse)?,
            previous: from.one("previous", Digest::parse)?,
        })
    }
}

impl Intent {
    pub(super) fn render(&self, text: &mut String) {
        line(text, "vote", format_args!("{} {}", self.epoch, self.attempt));
        line(text, "cluster", &self.cluster);
        line(text, "previous", self.previous);
        match &self.change {
            ClusterChange::Begin { floor, top } => line(text, "change", format_args!("begin {floor} {top}")),
            ClusterChange::Open { top } => line(text, "change", format_args!("open {top}")),
            ClusterChange::Cap(ceilings) => {
                line(text, "change", "cap");
                pairs(text, "ceiling", ceilings);
            }
            ClusterChange::Lift(brakes) => {
                line(text, "change", "lift");
                pairs(text, "lifted", brakes);
            }
            ClusterChange::Finalize { floor } => line(text, "change", format_args!("finalize {floor}")),
            ClusterChange::Forget { nodes, loss } => {
                line(text, "change", format_args!("forget {}", loss.as_str()));
                lines(text, "lost", nodes);
            }
        }
        lines(text, "member", &self.members);
        let of_life = |(node, life): (&NodeName, &SeenLife)| {
            format!("{node} {} {} {}", life.incarnation.0, life.release, life.build)
        };
        lines(text, "life", self.lives.iter().map(of_life));
        line(text, "by", &self.by);
        line(text, "at", self.at);
    }

    fn read(epoch: u64, attempt: u64, from: &mut Reader<'_>) -> Option<Self> {
        let cluster = from.one("cluster", some)?;
        let previous = from.one("previous", Digest::parse)?;
        let change = match *from.words("change")? {
            ["begin", floor, top] => ClusterChange::Begin { floor: parsed(floor)?, top: parsed(top)? },
            ["open", top] => ClusterChange::Open { top: parsed(top)? },
            ["cap"] => ClusterChange::Cap(from.pairs("ceiling")?),
            ["lift"] => ClusterChange::Lift(from.pairs("lifted")?),
            ["finalize", floor] => ClusterChange::Finalize { floor: parsed(floor)? },
            ["forget", loss] => {
                let (loss, nodes) = (loss_of(loss)?, from.many("lost", parsed)?);
                ClusterChange::Forget { nodes, loss }
            }
            _ => return None,
        };
        let members: BTreeSet<NodeName> = from.many("member", parsed)?;
        let lives = from.many("life", |text| {
            let [node, incarnation, release, build] = *text.split(' ').collect::<Vec<_>>() else { return None };
            let (incarnation, build) = (Incarnation(parsed(incarnation)?), Digest::parse(build)?);
            Some((parsed(node)?, SeenLife { incarnation, release: parsed(release)?, build }))
        })?;
        let (by, at) = (from.one("by", some)?, from.one("at", parsed)?);
        Some(Self { cluster, epoch, attempt, previous, change, members, lives, by, at })
    }
}

impl Kept {
    /// The text of it.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FORMAT}\n");
        line(&mut text, "node", &self.node);
        match &self.record {
            Some(record) => record.render(&mut text),
            None => line(&mut text, "record", "none"),
        }
        match &self.vote {
            Some(vote) => vote.render(&mut text),
            None => line(&mut text, "vote", "none"),
        }
        line(&mut text, "closed", self.closed);
        line(&mut text, "bound", or_none(self.bound));
        line(&mut text, "anew", or_none(self.anew));
        let of_fence = |fence: &Arc<Fence>| format!("{} {} {}", fence.loss.as_str(), fence.by, fence.at);
        line(&mut text, "fence", or_none(self.fence.as_ref().map(of_fence)));
        lines(&mut text, "lost", self.fence.iter().flat_map(|fence| &fence.nodes));
        lines(&mut text, "among", self.fence.iter().flat_map(|fence| &fence.others));
        for (node, brake) in &self.brakes {
            line(&mut text, "brake", format_args!("{node} {} {} {}", brake.number, brake.by, brake.at));
            pairs(&mut text, "ceiling", &brake.ceilings);
        }
        let digest = Digest::of(&text);
        line(&mut text, "sha256", digest);
        text
    }

    /// Reads what [`Kept::to_text`] writes, and nothing else.
    ///
    /// # Errors
    /// [`KeptError`] names the first line that is wrong.
    pub fn from_text(text: &str) -> Result<Self, KeptError> {
        if text.len() > KEPT_BYTES_MAX {
            return Err(KeptError::TooLong { bytes: text.len() });
        }
        let first = text.lines().next().unwrap_or_default();
        if first != FORMAT {
            return Err(KeptError::Format { first: start_of(first, 80) });
        }
        let mut from = Reader { lines: text.lines(), next: None, line: 0 };
        from.advance();
        let read = Self::read(&mut from).ok_or(KeptError::Line { line: from.line + 1 })?;
        let again = read.to_text();
        if again == text {
            return Ok(read);
        }
        match again.lines().zip(text.lines()).position(|(one, other)| one != other) {
            Some(at) if at + 1 < again.lines().count() => Err(KeptError::Line { line: at + 1 }),
            _ => Err(KeptError::Digest),
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.advance();
        let node = from.one("node", parsed)?;
        let record = match *from.words("record")? {
            ["none"] => None,
            [epoch, attempt] => Some(Arc::new(ClusterRecord::read(parsed(epoch)?, parsed(attempt)?, from)?)),
            _ => return None,
        };
        let vote = match *from.words("vote")? {
            ["none"] => None,
            [epoch, attempt] => Some(Arc::new(Intent::read(parsed(epoch)?, parsed(attempt)?, from)?)),
            _ => return None,
        };
        let closed = from.one("closed", parsed)?;
        let bound = from.one("bound", unless_none)?;
        let anew = from.one("anew", unless_none)?;
        let fence = match *from.words("fence")? {
            ["none"] => None,
            [loss, by, at] => {
                let (loss, by, at) = (loss_of(loss)?, by.into(), parsed(at)?);
                let (nodes, others) = (from.many("lost", parsed)?, from.many("among", parsed)?);
                Some(Arc::new(Fence { nodes, loss, others, by, at }))
            }
            _ => return None,
        };
        let mut brakes = BTreeMap::new();
        while from.peek("brake").is_some() {
            let (node, number, by, at) = from.one("brake", |text| {
                let [node, number, by, at] = *text.split(' ').collect::<Vec<_>>() else { return None };
                Some((parsed(node)?, parsed(number)?, by.into(), parsed(at)?))
            })?;
            brakes.insert(node, Brake { number, ceilings: from.pairs::<_, Phase>("ceiling")?, by, at });
        }
        from.one("sha256", Digest::parse)?;
        from.next.is_none().then_some(Self { node, record, vote, closed, bound, anew, fence, brakes })
    }
}

/// The lines of a text, one after the other.
struct Reader<'a> {
    lines: Lines<'a>,
    next: Option<&'a str>,
    /// Lines that were taken.
    line: usize,
}

impl<'a> Reader<'a> {
    fn advance(&mut self) {
        self.line += usize::from(self.next.is_some());
        self.next = self.lines.next();
    }

    /// What the next line is of, if it is one of this word.
    fn peek(&self, word: &str) -> Option<&'a str> {
        self.next?.strip_prefix(word)?.strip_prefix(' ')
    }

    /// The next line, which is to be one of this word. One that cannot be read is not taken.
    fn one<T>(&mut self, word: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = read(self.peek(word)?)?;
        self.advance();
        Some(value)
    }

    /// The words of the next line, behind the one that it is to begin with.
    fn words(&mut self, word: &str) -> Option<Vec<&'a str>> {
        let words = self.peek(word)?.split(' ').collect();
        self.advance();
        Some(words)
    }

    /// All lines of this word that are next.
    fn many<T, C: Default + Extend<T>>(&mut self, word: &str, read: impl Fn(&str) -> Option<T>) -> Option<C> {
        let mut all = C::default();
        while self.peek(word).is_some() {
            all.extend([self.one(word, &read)?]);
        }
        Some(all)
    }

    fn pairs<K: FromStr + Ord, V: FromStr>(&mut self, word: &str) -> Option<BTreeMap<K, V>> {
        self.many(word, |text| {
            let (key, value) = text.split_once(' ')?;
            Some((parsed(key)?, parsed(value)?))
        })
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn or_none<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn unless_none<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text == "none" { Some(None) } else { parsed(text).map(Some) }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where others can fail")]
fn some(text: &str) -> Option<Arc<str>> {
    Some(text.into())
}

fn loss_of(text: &str) -> Option<Loss> {
    [Loss::Destroyed, Loss::Wiped].into_iter().find(|loss| loss.as_str() == text)
}
