//! Breaks of the wire that are planted into the real layouts, to show that the diff finds each (M1 to M10 of
//! docs/safety.md).
//!
//! In: the lock of this build. Out: for each break, what was changed and what the diff says about it. What a schema
//! cannot break (M7, bytes behind a frame) is looked for by the matrix, in every frame.

use rexi_proto::Kind;

use super::diff::{Change, Diff, Effect};
use super::lock::{Lock, LockError};
use super::schema::{Enum, Field, Layout, Named, Parts, Type};
use crate::verdict::invariant::Invariant;

/// A planted break, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlantedBreak {
    /// Its id in docs/safety.md.
    pub id: &'static str,
    /// What was changed.
    pub what: &'static str,
    /// What the diff says breaks; none where it was not noticed.
    pub breaks: Option<Invariant>,
    /// Whether somebody would read another value and not notice.
    pub silent: bool,
    /// The diff's words.
    pub said: String,
}

/// Plants each break into the wire of this build.
///
/// # Errors
/// [`LockError::NoSchema`].
pub fn mutants() -> Result<Vec<PlantedBreak>, LockError> {
    let lock = Lock::of_this_build()?;
    Ok(BREAKS.iter().map(|(id, what, plant)| planted(&lock, id, what, *plant)).collect())
}

/// What a planted break does to a lock.
type Plant = fn(&mut Lock);

const BREAKS: [(&str, &str, Plant); 9] = [
    ("M1", "two reasons of an exit change their places", |lock| reasons(lock).swap(4, 5)),
    ("M2", "a reason of an exit is inserted in the middle", |lock| reasons(lock).insert(4, reason("Inserted"))),
    ("M3", "a reason of an exit is appended, and no version says who has it", |lock| {
        reasons(lock).push(reason("Appended"));
    }),
    ("M3", "a batch of kills is sent in a version that does not have it", |lock| {
        lock.rows.get_mut(&(Kind::KillAll as u8)).expect("it has a row").emitted_since = Some(1);
    }),
    ("M4", "a cast has one more field", |lock| {
        fields(lock, Kind::Cast).push(Field { name: "added".to_owned(), r#type: Type::U32 });
    }),
    ("M5", "the number of a reply becomes signed", |lock| fields(lock, Kind::Reply)[1].r#type = Type::I64),
    ("M6", "call and number of a reply change their places", |lock| fields(lock, Kind::Reply).swap(0, 1)),
    (
        "M8",
        "a part of an enum inside an enum changes its place, which a key of the outer names alone would not show",
        nest,
    ),
    ("M10", "a cast carries the name of its argument's type", |lock| {
        fields(lock, Kind::Cast).insert(0, Field { name: "type_name".to_owned(), r#type: Type::Str });
    }),
];

fn planted(lock: &Lock, id: &'static str, what: &'static str, plant: Plant) -> PlantedBreak {
    let mut changed = lock.clone();
    // M8 changes what it has planted before, so both locks have it.
    let mut before = lock.clone();
    if id == "M8" {
        outer(&mut before);
    }
    plant(&mut changed);
    let diff = Diff::new(&before, &changed);
    let worst = diff.breaks().max_by_key(|change| change.effect());
    PlantedBreak {
        id,
        what,
        breaks: worst.and_then(|change| change.breaks),
        silent: worst.is_some_and(|change| change.effect() == Effect::Silent),
        said: worst.map_or_else(|| "no break".to_owned(), Change::to_string),
    }
}

/// The version whose layouts are broken.
const VERSION: &str = "v2";

fn layout(lock: &mut Lock, kind: Kind) -> &mut Layout {
    let frames = lock.versions.get_mut(VERSION).expect("this build speaks it");
    &mut frames.get_mut(&(kind as u8)).expect("it has the kind").layout
}

/// The fields of a message's own header, which is its last.
fn fields(lock: &mut Lock, kind: Kind) -> &mut Vec<Field> {
    match layout(lock, kind).headers.last_mut() {
        Some(Type::Struct(Named { parts: Parts::Fields(fields), .. })) => fields,
        other => panic!("a {kind:?} is not a struct with fields: {other:?}"),
    }
}

/// The reasons of an exit.
fn reasons(lock: &mut Lock) -> &mut Vec<Named> {
    let reason = fields(lock, Kind::Exit).iter_mut().find_map(|field| match &mut field.r#type {
        Type::Enum(of) => Some(&mut of.variants),
        _ => None,
    });
    reason.expect("an exit has a reason")
}

fn reason(name: &str) -> Named {
    Named { name: name.to_owned(), parts: Parts::Unit }
}

/// An enum inside an enum, in place of a down's header.
fn nested(inner: [&str; 2]) -> Type {
    let of = |name: &str, variants: Vec<Named>| Type::Enum(Enum { name: name.to_owned(), variants });
    let inner = of("Inner", inner.map(reason).to_vec());
    let wrapped = Named { name: "Wrapped".to_owned(), parts: Parts::Newtype(Box::new(inner)) };
    of("Outer", vec![reason("Plain"), wrapped])
}

fn outer(lock: &mut Lock) {
    layout(lock, Kind::Down).headers = vec![nested(["First", "Second"])];
}

fn nest(lock: &mut Lock) {
    layout(lock, Kind::Down).headers = vec![nested(["Second", "First"])];
}
