//! What breaks between two locks: for each change, which side breaks, in which direction, and whether anybody would
//! notice.
//!
//! A frame carries no more than its kind and its version, so a change that decodes is misread in silence. A typed
//! payload opens with the shape of its value: what would be misread there is a typed error, and so is a mere renaming.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use rexi_proto::Release;
use serde::Serialize;

use super::changes::{Edit, edits};
use super::functions::FunctionLock;
use super::kind::ChangeKind;
use super::lock::{FrameLock, Lock, RowLock};
use super::same::show;
use super::schema::Layout;
use super::search::{Reading, reading};
use super::train::{Missed, TrainChange, TrainLock};
use super::value::Carried;
use crate::verdict::conclusion::Conclusion;
use crate::verdict::invariant::Invariant;

/// What a change means for one direction, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Everything that is sent is read as what it is.
    Safe,
    /// An error, but only where a variant is sent that the receiver does not have yet.
    WhenSent,
    /// Something that is sent is refused, with a typed error.
    Refused,
    /// Something that is sent is read as something else, without an error.
    Silent,
}

/// What carries a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// A frame: nothing in it says what it is built of.
    Frame,
    /// A typed payload: it opens with the shape of its value.
    Typed,
}

/// One direction of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Direction {
    /// What it means.
    pub effect: Effect,
    /// What happens, in words, with an example where there is one.
    pub what: String,
    /// The bytes of the example.
    pub bytes: Option<Vec<u8>>,
    /// The search for one was cut short: it may be worse.
    pub cut_short: bool,
}

/// One change from an old lock to a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is.
    pub kind: ChangeKind,
    /// Where: version and kind, or function and part, then the place within.
    pub place: String,
    /// What changed.
    pub what: String,
    /// What carries it.
    pub carrier: Carrier,
    /// The old side sends, the new side reads.
    pub old_to_new: Direction,
    /// The new side sends, the old side reads.
    pub new_to_old: Direction,
    /// What is broken, if something is.
    pub breaks: Option<Invariant>,
}

/// Every change from an old lock to a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// In the order of the locks.
    pub changes: Vec<Change>,
}

impl Direction {
    fn plain(effect: Effect, what: impl Into<String>) -> Self {
        Self { effect, what: what.into(), bytes: None, cut_short: false }
    }

    /// What a receiver of `read` makes of what a sender of `written` may send.
    pub fn between(carrier: Carrier, written: &Layout, read: &Layout) -> Self {
        Self::of(carrier, written, read, reading(written, read))
    }

    /// The same, of a search that was done.
    pub(super) fn of(carrier: Carrier, written: &Layout, read: &Layout, found: Reading) -> Self {
        let Reading { silent, error, appended, renamed, cut_short } = found;
        let sent = |bytes: &[u8]| {
            let carried = Carried::decode(written, bytes).expect("a find is read by the real codec");
            show(written, &carried)
        };
        let got = |bytes: &[u8]| match Carried::decode(read, bytes) {
            Ok(carried) => format!("is read as {}", show(read, &carried)),
            Err(reason) => format!("is refused: {reason}"),
        };
        let (effect, what, bytes) = match (carrier, silent, error, appended, renamed) {
            (Carrier::Frame, Some(b), ..) => {
                (Effect::Silent, format!("{} {}, without an error", sent(&b), got(&b)), Some(b))
            }
            (Carrier::Typed, Some(b), ..) => {
                let what = format!("{} {} by the codec alone; the shape makes it a typed error", sent(&b), got(&b));
                (Effect::Refused, what, Some(b))
            }
            (_, None, Some(b), ..) => (Effect::Refused, format!("{} {}", sent(&b), got(&b)), Some(b)),
            (Carrier::Typed, None, None, _, Some(b)) => {
                let what = format!("{} has another shape, by its names alone: a typed error", sent(&b));
                (Effect::Refused, what, Some(b))
            }
            (_, None, None, Some(b), _) => {
                (Effect::WhenSent, format!("{} {}; everything else is read as it is", sent(&b), got(&b)), Some(b))
            }
            (Carrier::Frame, None, None, None, Some(_)) => {
                (Effect::Safe, "the same bytes under other names".to_owned(), None)
            }
            (_, None, None, None, None) => (Effect::Safe, "read as it is".to_owned(), None),
        };
        Self { effect, what, bytes, cut_short: cut_short && effect < Effect::Silent }
    }
}

impl Change {
    fn new(kind: ChangeKind, place: String, what: String, carrier: Carrier, ways: [Direction; 2]) -> Self {
        let [old_to_new, new_to_old] = ways;
        let worst = old_to_new.effect.max(new_to_old.effect);
        // A frozen layout has no gate: a pair that settled on the version cannot tell who has the variant. A function's
        // users can, by its releases.
        let breaks = match (worst, carrier) {
            (Effect::Safe, _) | (Effect::WhenSent, Carrier::Typed) => None,
            (Effect::WhenSent, Carrier::Frame) => Some(Invariant::S9),
            (Effect::Refused | Effect::Silent, _) => Some(Invariant::S8),
        };
        Self { kind, place, what, carrier, old_to_new, new_to_old, breaks }
    }

    /// A change of who may say what, which no layout shows.
    fn of_rows(kind: ChangeKind, place: String, what: impl Into<String>, ways: [Direction; 2]) -> Self {
        let [old_to_new, new_to_old] = ways;
        let worst = old_to_new.effect.max(new_to_old.effect);
        let breaks = (worst > Effect::Safe).then_some(Invariant::S9);
        Self { kind, place, what: what.into(), carrier: Carrier::Frame, old_to_new, new_to_old, breaks }
    }

    fn between(place: &str, edit: &Edit, carrier: Carrier, old: &Layout) -> Self {
        let Edit { kind, place: inner, what, alone: new } = edit;
        let place = if inner.is_empty() { place.to_owned() } else { format!("{place}: {inner}") };
        let ways = [Direction::between(carrier, old, new), Direction::between(carrier, new, old)];
        Self::new(*kind, place, what.clone(), carrier, ways)
    }

    /// The worse of its directions.
    pub fn effect(&self) -> Effect {
        self.old_to_new.effect.max(self.new_to_old.effect)
    }
}

/// Every change between two layouts of one thing. Layouts that differ have at least one.
pub fn compare(place: &str, carrier: Carrier, old: &Layout, new: &Layout) -> Vec<Change> {
    let mut changes: Vec<_> = edits(old, new).iter().map(|edit| Change::between(place, edit, carrier, old)).collect();
    // One change by itself is all of it; of several, or of what no edit tells, the whole has to be looked at.
    if old != new && changes.len() != 1 {
        let (kind, what) = (ChangeKind::Together, "all of these together".to_owned());
        let whole = Edit { kind, place: String::new(), what, alone: new.clone() };
        let all = Change::between(place, &whole, carrier, old);
        let worst = |of: &dyn Fn(&Change) -> Effect| changes.iter().map(of).max();
        if Some(all.old_to_new.effect) > worst(&|change| change.old_to_new.effect)
            || Some(all.new_to_old.effect) > worst(&|change| change.new_to_old.effect)
        {
            changes.push(all);
        }
    }
    changes
}

impl Diff {
    /// What changed from `old` to `new`: at least one change where they differ.
    pub fn new(old: &Lock, new: &Lock) -> Self {
        let mut changes = Vec::new();
        match (&old.hello, &new.hello) {
            (Some(old), Some(new)) => changes.extend(compare("hello", Carrier::Frame, old, new)),
            (Some(_), None) => changes.push(gone(ChangeKind::HelloGone, "hello", "the hello is gone")),
            (None, Some(_)) => changes.push(come(ChangeKind::HelloCame, "hello", "there is a hello")),
            (None, None) => {}
        }
        let numbers: BTreeSet<u8> = old.rows.keys().chain(new.rows.keys()).copied().collect();
        changes.extend(numbers.iter().flat_map(|number| row(old.rows.get(number), new.rows.get(number))));
        let names: BTreeSet<&String> = old.versions.keys().chain(new.versions.keys()).collect();
        for version in names {
            changes.extend(self::version(version, old.versions.get(version), new.versions.get(version)));
        }
        changes.extend(train(old.train.as_ref(), new.train.as_ref()));
        let missed = new.missed(old);
        let names: BTreeSet<&String> = old.functions.keys().chain(new.functions.keys()).collect();
        for name in names {
            changes.extend(function(name, old.functions.get(name), new.functions.get(name), missed.get(name)));
        }
        if changes.is_empty() && old != new {
            let unknown = || Direction::plain(Effect::Refused, "unknown, so treated as a break");
            let what = "the locks differ, and no change was found";
            changes.push(Change::of_rows(ChangeKind::Unnamed, "lock".to_owned(), what, [unknown(), unknown()]));
        }
        Self { changes }
    }

    /// The breaks among them.
    pub fn breaks(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.breaks.is_some())
    }

    /// What it comes to: no break, a break, or a search that was cut short.
    pub fn verdict(&self) -> Conclusion {
        if self.breaks().next().is_some() {
            return Conclusion::Unsafe;
        }
        let cut_short = |change: &Change| change.old_to_new.cut_short || change.new_to_old.cut_short;
        if self.changes.iter().any(cut_short) { Conclusion::CouldNotTell } else { Conclusion::Safe }
    }

    /// What `wire diff` says of two locks, and what it ends with.
    pub fn told(&self) -> (String, Conclusion) {
        (self.to_text(), self.verdict())
    }

    /// The diff as text: a line for each thing that is said of a change, however wide.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes all that is written to it");
        text
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(out, "{change}"))?;
        let (all, breaks) = (self.changes.len(), self.breaks().count());
        let silent = self.changes.iter().filter(|change| change.effect() == Effect::Silent).count();
        writeln!(out, "{all} changes, {breaks} breaks, {silent} of them silent")
    }
}

impl fmt::Display for Change {
    /// What changed, then a line or two for each direction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = self.breaks.map_or_else(|| "ok".to_owned(), |invariant| format!("BREAK {invariant}"));
        write!(f, "{mark}  {}: {}", self.place, self.what)?;
        for (name, direction) in [("old -> new", &self.old_to_new), ("new -> old", &self.new_to_old)] {
            let cut_short = if direction.cut_short { " (the search was cut short: it may be worse)" } else { "" };
            write!(f, "\n    {name}: {}: {}{cut_short}", direction.effect, direction.what)?;
            if let Some(bytes) = &direction.bytes {
                let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                write!(f, "\n        bytes: {}", hex.join(" "))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safe => "safe",
            Self::WhenSent => "an error where the new variant is sent",
            Self::Refused => "an error",
            Self::Silent => "MISREAD IN SILENCE",
        })
    }
}

fn gone(kind: ChangeKind, place: &str, what: &str) -> Change {
    let refused = || Direction::plain(Effect::Refused, "refused in the handshake");
    Change::of_rows(kind, place.to_owned(), what, [refused(), refused()])
}

/// What only one of the two has, and the other is not sent.
fn come(kind: ChangeKind, place: &str, what: &str) -> Change {
    let nothing = || Direction::plain(Effect::Safe, "not sent to who lacks it");
    Change::of_rows(kind, place.to_owned(), what, [nothing(), nothing()])
}

/// What became of a message's row. What it means for frames is reported with the versions; by itself a row breaks
/// something only where it lets a node send what its peer need not understand yet.
fn row(old: Option<&RowLock>, new: Option<&RowLock>) -> Option<Change> {
    let said = || [(); 2].map(|()| Direction::plain(Effect::Safe, "as the frames of the versions say"));
    let place = |row: &RowLock| format!("row of {}", row.kind);
    match (old, new) {
        (old, Some(now)) if old != new && now.emitted_since.is_some_and(|since| since < now.accepted_since) => {
            let emitted_since = now.emitted_since.unwrap_or_default();
            let what = format!("emitted since v{emitted_since}, accepted only since v{}", now.accepted_since);
            let sent = Direction::plain(Effect::Refused, "sent to nodes that do not have it: an unknown frame");
            let ways = [Direction::plain(Effect::Safe, "not sent"), sent];
            Some(Change::of_rows(ChangeKind::RowEarly, place(now), what, ways))
        }
        (None, Some(now)) => Some(Change::of_rows(ChangeKind::RowCame, place(now), life_of_row(now), said())),
        (Some(old), None) => Some(Change::of_rows(ChangeKind::RowGone, place(old), "gone", said())),
        (Some(old), Some(now)) if old != now => {
            let what = format!("{} -> {}", life_of_row(old), life_of_row(now));
            Some(Change::of_rows(ChangeKind::RowChanged, place(old), what, said()))
        }
        _ => None,
    }
}

fn life_of_row(row: &RowLock) -> String {
    let version = |of: Option<u16>| of.map_or_else(|| "never".to_owned(), |version| format!("v{version}"));
    let RowLock { kind, accepted_since, emitted_since, retired_in } = row;
    let (emitted, retired) = (version(*emitted_since), version(*retired_in));
    format!("{kind}, accepted v{accepted_since}, emitted {emitted}, retired {retired}")
}

fn version(name: &str, old: Option<&BTreeMap<u8, FrameLock>>, new: Option<&BTreeMap<u8, FrameLock>>) -> Vec<Change> {
    match (old, new) {
        (Some(_), None) => {
            vec![gone(ChangeKind::VersionGone, name, "the version is gone: nodes that speak no other are refused")]
        }
        (None, Some(_)) => vec![come(ChangeKind::VersionCame, name, "a new version")],
        (Some(old), Some(new)) => {
            let numbers: BTreeSet<u8> = old.keys().chain(new.keys()).copied().collect();
            numbers.into_iter().flat_map(|number| frame(name, number, old.get(&number), new.get(&number))).collect()
        }
        (None, None) => Vec::new(),
    }
}

fn frame(version: &str, number: u8, old: Option<&FrameLock>, new: Option<&FrameLock>) -> Vec<Change> {
    let unknown = |frame: &FrameLock| {
        if frame.emitted {
            Direction::plain(Effect::Refused, "sent to nodes of this version that lack it: an unknown frame, answered")
        } else {
            Direction::plain(Effect::Safe, "understood and not sent")
        }
    };
    let nothing = || Direction::plain(Effect::Safe, "not sent");
    let place = |frame: &FrameLock| format!("{version} {}", frame.kind);
    match (old, new) {
        (None, None) => Vec::new(),
        (None, Some(new)) => {
            let ways = [nothing(), unknown(new)];
            vec![Change::of_rows(ChangeKind::FrameCame, place(new), "a new kind in this version", ways)]
        }
        (Some(old), None) => {
            let ways = [unknown(old), nothing()];
            vec![Change::of_rows(ChangeKind::FrameGone, place(old), "gone from this version", ways)]
        }
        (Some(old), Some(new)) => {
            let mut changes = compare(&place(old), Carrier::Frame, &old.layout, &new.layout);
            if old.kind != new.kind {
                let what = format!("kind {number} was {} and is {}: a number is never used twice", old.kind, new.kind);
                let other = || Direction::plain(Effect::Silent, "read as the other message where the layout allows it");
                let change = Change::of_rows(ChangeKind::FrameNumber, place(old), what, [other(), other()]);
                changes.push(Change { breaks: Some(Invariant::S8), ..change });
            }
            if old.emitted != new.emitted {
                let (kind, what) = if new.emitted {
                    (ChangeKind::FrameSent, "is sent now")
                } else {
                    (ChangeKind::FrameSilent, "is no longer sent, but still understood")
                };
                let ways = [nothing(), Direction::plain(Effect::Safe, "understood")];
                changes.push(Change::of_rows(kind, place(old), what, ways));
            }
            changes
        }
    }
}

/// A function that is called where it is not.
pub(super) fn missed(function: &str, why: &Missed) -> Change {
    let ways = [(); 2].map(|()| Direction::plain(Effect::Refused, "answered with NoSuchFunction"));
    Change::of_rows(ChangeKind::FunctionMissed, format!("function {function}"), why.to_string(), ways)
}

fn train(old: Option<&TrainLock>, new: Option<&TrainLock>) -> Vec<Change> {
    let (old, new) = match (old, new) {
        (None, None) => return Vec::new(),
        (None, Some(_)) => return vec![come(ChangeKind::TrainCame, "train", "there is a train")],
        (Some(_), None) => return vec![gone(ChangeKind::TrainGone, "train", "the train is gone")],
        (Some(old), Some(new)) => (old, new),
    };
    let change = |TrainChange { kind, what, breaks, .. }| {
        let way = if breaks {
            Direction::plain(Effect::Refused, "a node in the field does what its release was declared with")
        } else {
            Direction::plain(Effect::Safe, "no node in the field is told otherwise")
        };
        let change = Change::of_rows(kind, "train".to_owned(), what, [way.clone(), way]);
        Change { breaks: breaks.then_some(Invariant::S11), ..change }
    };
    new.changes(old).into_iter().map(change).collect()
}

fn function(
    name: &str,
    old: Option<&FunctionLock>,
    new: Option<&FunctionLock>,
    missed: Option<&Missed>,
) -> Vec<Change> {
    let place = format!("function {name}");
    let (old, new) = match (old, new) {
        (None, None) => return Vec::new(),
        (None, Some(_)) => {
            let came = || come(ChangeKind::FunctionCame, &place, "a new function");
            return vec![missed.map_or_else(came, |why| self::missed(name, why))];
        }
        (Some(old), None) => {
            let unknown = Direction::plain(Effect::Refused, "answered with NoSuchFunction");
            let effect = if old.retired_in.is_some() { Direction::plain(Effect::Safe, "retired") } else { unknown };
            let ways = [effect, Direction::plain(Effect::Safe, "not called")];
            return vec![Change::of_rows(ChangeKind::FunctionGone, place, "gone", ways)];
        }
        (Some(old), Some(new)) => (old, new),
    };
    let mut changes = Vec::new();
    let life = |of: &FunctionLock| {
        let or_never = |release: Option<Release>| release.map_or_else(|| "never".to_owned(), |of| of.to_string());
        let (silent, retired) = (or_never(of.silent_since), or_never(of.retired_in));
        format!("accepted {}, emitted {}, silent {silent}, retired {retired}", of.accepted_since, of.emitted_since)
    };
    if life(old) != life(new) {
        let moved = old.accepted_since != new.accepted_since || old.emitted_since != new.emitted_since;
        let effect = if moved { Effect::Refused } else { Effect::Safe };
        let said = if moved { "a release in the field keeps to the old row" } else { "silent or retired from then on" };
        let ways = [(); 2].map(|()| Direction::plain(effect, said));
        let what = format!("{} -> {}", life(old), life(new));
        let row = Change::of_rows(ChangeKind::FunctionRow, place.clone(), what, ways);
        changes.push(missed.map_or(row, |why| self::missed(name, why)));
    }
    let (roots, now) = (old.roots(), new.roots());
    if roots.iter().map(|(what, _)| what).ne(now.iter().map(|(what, _)| what)) {
        let ways = [(); 2].map(|()| Direction::plain(Effect::Refused, "one answers with a value, the other a stream"));
        let what = "answers differently".to_owned();
        changes.push(Change::new(ChangeKind::FunctionAnswers, place, what, Carrier::Typed, ways));
        return changes;
    }
    for ((what, old), (_, new)) in roots.iter().zip(&now) {
        changes.extend(compare(&format!("{place} {what}"), Carrier::Typed, old, new));
    }
    changes
}
