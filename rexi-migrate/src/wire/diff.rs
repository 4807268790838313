//! What breaks between two locks: for each change who breaks, in which direction, and whether anybody would notice.
//!
//! A frame carries no more than its kind and its version, so a change that decodes is misread in silence. A typed
//! payload opens with the shape of its value: what would be misread there is a typed error, and so is a mere renaming.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde::Serialize;

use super::changes::edits;
use super::lock::{FrameLock, Lock, RowLock};
use super::same::show;
use super::schema::Layout;
use super::search::{Reading, reading};
use super::value::Carried;
use crate::invariant::Invariant;
use crate::report::Conclusion;

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
                (Effect::WhenSent, format!("{} {}; all else is read as it is", sent(&b), got(&b)), Some(b))
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
    fn new(place: String, what: String, carrier: Carrier, old_to_new: Direction, new_to_old: Direction) -> Self {
        let worst = old_to_new.effect.max(new_to_old.effect);
        // A frozen layout has no gate: a pair that settled on the version cannot tell who has the variant. A function's
        // users can, by its releases.
        let breaks = match (worst, carrier) {
            (Effect::Safe, _) | (Effect::WhenSent, Carrier::Typed) => None,
            (Effect::WhenSent, Carrier::Frame) => Some(Invariant::S9),
            (Effect::Refused | Effect::Silent, _) => Some(Invariant::S8),
        };
        Self { place, what, carrier, old_to_new, new_to_old, breaks }
    }

    /// A change of who may say what, which no layout shows.
    fn of_rows(place: String, what: &str, old_to_new: Direction, new_to_old: Direction) -> Self {
        let worst = old_to_new.effect.max(new_to_old.effect);
        let breaks = (worst > Effect::Safe).then_some(Invariant::S9);
        Self { place, what: what.to_owned(), carrier: Carrier::Frame, old_to_new, new_to_old, breaks }
    }

    fn between(place: &str, edit: (&str, &str), carrier: Carrier, old: &Layout, new: &Layout) -> Self {
        let (inner, what) = edit;
        let place = if inner.is_empty() { place.to_owned() } else { format!("{place}: {inner}") };
        let (there, back) = (Direction::between(carrier, old, new), Direction::between(carrier, new, old));
        Self::new(place, what.to_owned(), carrier, there, back)
    }

    /// The worse of its directions.
    pub fn effect(&self) -> Effect {
        self.old_to_new.effect.max(self.new_to_old.effect)
    }
}

/// Every change between two layouts of one thing.
pub fn compare(place: &str, carrier: Carrier, old: &Layout, new: &Layout) -> Vec<Change> {
    let edits = edits(old, new);
    let change =
        |edit: &super::changes::Edit| Change::between(place, (&edit.place, &edit.what), carrier, old, &edit.alone);
    let mut changes: Vec<_> = edits.iter().map(change).collect();
    if changes.len() > 1 {
        let all = Change::between(place, ("", "all of these together"), carrier, old, new);
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
    /// What changed from `old` to `new`.
    pub fn new(old: &Lock, new: &Lock) -> Self {
        let mut changes = Vec::new();
        match (&old.hello, &new.hello) {
            (Some(old), Some(new)) => changes.extend(compare("hello", Carrier::Frame, old, new)),
            (Some(_), None) => changes.push(gone("hello", "the hello is gone")),
            _ => {}
        }
        for (number, row) in &new.rows {
            changes.extend(early(row, old.rows.get(number)));
        }
        for (version, frames) in &old.versions {
            match new.versions.get(version) {
                None => changes.push(gone(version, "the version is gone: nodes that speak no other are refused")),
                Some(now) => {
                    let numbers: BTreeSet<u8> = frames.keys().chain(now.keys()).copied().collect();
                    for number in numbers {
                        changes.extend(frame(version, number, frames.get(&number), now.get(&number)));
                    }
                }
            }
        }
        functions(old, new, &mut changes);
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

    /// The diff as text for a terminal.
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

fn gone(place: &str, what: &str) -> Change {
    let refused = || Direction::plain(Effect::Refused, "refused in the handshake");
    Change::of_rows(place.to_owned(), what, refused(), refused())
}

/// A row that lets a node send what its peer need not understand yet.
fn early(row: &RowLock, old: Option<&RowLock>) -> Option<Change> {
    let RowLock { kind, accepted_since, emitted_since, .. } = row;
    let emitted_since = emitted_since.filter(|since| since < accepted_since && old != Some(row))?;
    Some({
        let what = format!("emitted since v{emitted_since}, accepted only since v{accepted_since}");
        let sent = Direction::plain(Effect::Refused, "sent to nodes that do not have it: an unknown frame");
        Change::of_rows(format!("row of {kind}"), &what, Direction::plain(Effect::Safe, "not sent"), sent)
    })
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
        (None, Some(new)) => vec![Change::of_rows(place(new), "a new kind in this version", nothing(), unknown(new))],
        (Some(old), None) => vec![Change::of_rows(place(old), "gone from this version", unknown(old), nothing())],
        (Some(old), Some(new)) => {
            let mut changes = compare(&place(old), Carrier::Frame, &old.layout, &new.layout);
            if old.kind != new.kind {
                let what = format!("kind {number} was {} and is {}: a number is never used twice", old.kind, new.kind);
                let other = || Direction::plain(Effect::Silent, "read as the other message where the layout allows it");
                changes.push(Change {
                    breaks: Some(Invariant::S8),
                    ..Change::of_rows(place(old), &what, other(), other())
                });
            }
            if old.emitted != new.emitted {
                let what = if new.emitted { "is sent now" } else { "is not sent any more, and understood" };
                changes.push(Change::of_rows(
                    place(old),
                    what,
                    nothing(),
                    Direction::plain(Effect::Safe, "understood"),
                ));
            }
            changes
        }
    }
}

fn functions(old: &Lock, new: &Lock, changes: &mut Vec<Change>) {
    for (name, function) in &old.functions {
        let place = format!("function {name}");
        let Some(now) = new.functions.get(name) else {
            let unknown = Direction::plain(Effect::Refused, "answered with NoSuchFunction");
            let effect =
                if function.retired_in.is_some() { Direction::plain(Effect::Safe, "retired") } else { unknown };
            changes.push(Change::of_rows(place, "gone", effect, Direction::plain(Effect::Safe, "not called")));
            continue;
        };
        let life = |of: &super::FunctionLock| {
            let retired = of.retired_in.as_deref().unwrap_or("never");
            format!("accepted {}, emitted {}, retired {retired}", of.accepted_since, of.emitted_since)
        };
        if life(function) != life(now) {
            let moved = function.accepted_since != now.accepted_since || function.emitted_since != now.emitted_since;
            let effect = if moved { Effect::Refused } else { Effect::Safe };
            let said = if moved { "a release in the field keeps to the old row" } else { "retired from then on" };
            let direction = || Direction::plain(effect, said);
            let what = format!("{} -> {}", life(function), life(now));
            changes.push(Change::of_rows(place.clone(), &what, direction(), direction()));
        }
        let (roots, now) = (function.roots(), now.roots());
        if roots.iter().map(|(what, _)| what).ne(now.iter().map(|(what, _)| what)) {
            let refused = || Direction::plain(Effect::Refused, "one answers with a value, the other with a stream");
            changes.push(Change::new(place, "answers otherwise".into(), Carrier::Typed, refused(), refused()));
            continue;
        }
        for ((what, old), (_, new)) in roots.iter().zip(&now) {
            changes.extend(compare(&format!("{place} {what}"), Carrier::Typed, old, new));
        }
    }
}
