//! Measures the diff: thousands of changes by chance, each judged by real values in the real codec.
//!
//! In: a number and a seed. For each change the truth is what became of sampled values in both directions, as frames
//! and as typed payloads. A *miss* is a value that broke where the diff had said of none; a *false alarm* is a break
//! that the diff had said, and that neither a sampled value nor the diff's own example shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde::Serialize;

use super::diff::{Carrier, Direction, Effect};
pub use super::edit::EditKind;
use super::edit::{edited, generate};
use super::same::same;
use super::sample::carried;
use super::schema::{Layout, Type};
use super::search::reading;
use super::value::{Carried, Value, shape};

/// Values that are tried for each change and direction.
pub const SAMPLES: usize = 24;

/// What became of the changes of a corpus.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Score {
    /// The seed.
    pub seed: u64,
    /// Changes that were made.
    pub evolutions: u64,
    /// By kind of edit.
    pub rows: BTreeMap<EditKind, Row>,
    /// Values that were written and read.
    pub values: u64,
    /// Values that broke where the diff had not said so.
    pub missed: Vec<String>,
    /// Values that were read as something else where the diff had said no more than an error: a break that it had
    /// found, and not the worst of it.
    pub understated: Vec<String>,
    /// Breaks that the diff had said, and that nothing shows.
    pub false_alarms: Vec<String>,
    /// Directions whose search was cut short, so that the diff said that it could not tell.
    pub undecided: u64,
    /// Appended variants that the diff let pass from old to new, and where they are not sent.
    pub safe_appends: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// The changes of one kind: directions by what the diff said of them, safe first and silent last.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Row {
    /// Changes.
    pub evolutions: u64,
    /// As frames.
    pub frames: [u64; 4],
    /// As typed payloads.
    pub typed: [u64; 4],
    /// Directions, of both, whose break no sampled value had met: the diff's own example shows it.
    pub by_example: u64,
}

/// Makes `count` changes and judges the diff by them; `progress` hears how many are done. Each is made of the seed and
/// its own number alone.
pub fn run(count: u64, seed: u64, progress: &mut dyn FnMut(u64)) -> Score {
    let started = Instant::now();
    let mut score = Score { seed, ..Score::default() };
    for number in 0..count {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
        let kind = EditKind::ALL[usize::try_from(number).unwrap_or(0) % EditKind::ALL.len()];
        // Not every type has a place for every edit, but every edit has a type.
        let (old, new) = loop {
            let old = generate(&mut rng);
            if let Some(new) = edited(&old, kind, &mut rng) {
                break (Layout::of(old), Layout::of(new));
            }
        };
        score.evolutions += 1;
        score.rows.entry(kind).or_default().evolutions += 1;
        let there = Case { kind, number, what: "old -> new", written: &old, read: &new };
        let back = Case { what: "new -> old", written: &new, read: &old, ..there };
        let effects = (there.judge(&mut score, &mut rng), back.judge(&mut score, &mut rng));
        if kind == EditKind::AppendVariant {
            if effects == (Effect::Safe, Effect::WhenSent) {
                score.safe_appends += 1;
            } else {
                score.false_alarms.push(format!("change {number}: an appended variant is {effects:?}"));
            }
        }
        progress(number + 1);
    }
    score.elapsed = started.elapsed();
    score
}

/// One direction of one change.
#[derive(Clone, Copy)]
struct Case<'a> {
    kind: EditKind,
    number: u64,
    what: &'static str,
    written: &'a Layout,
    read: &'a Layout,
}

impl Case<'_> {
    /// Compares what the diff says with what becomes of values, and gives what it says of frames.
    fn judge(&self, score: &mut Score, rng: &mut Xoshiro256PlusPlus) -> Effect {
        let found = reading(self.written, self.read);
        let [frame, typed] = [Carrier::Frame, Carrier::Typed]
            .map(|carrier| Direction::of(carrier, self.written, self.read, found.clone()));
        let lacks = Lacks::new(&self.read.headers);
        let mut met = [Effect::Safe; 2];
        for _ in 0..SAMPLES {
            let sent = carried(self.written, rng);
            score.values += 1;
            let fared = self.fared(&sent, &lacks);
            for (at, said) in [&frame, &typed].into_iter().enumerate() {
                met[at] = met[at].max(fared[at]);
                if fared[at] > said.effect && !said.cut_short {
                    let bytes = sent.encode(self.written);
                    let what =
                        self.name(&format!("{bytes:02x?} fared {:?}, the diff said {:?}", fared[at], said.effect));
                    // Whoever heeds the diff heeds a break, whichever it is.
                    let list = if said.effect >= Effect::Refused { &mut score.understated } else { &mut score.missed };
                    list.push(what);
                }
            }
        }
        let row = score.rows.entry(self.kind).or_default();
        for (at, said) in [&frame, &typed].into_iter().enumerate() {
            score.undecided += u64::from(said.cut_short);
            let counts = if at == 0 { &mut row.frames } else { &mut row.typed };
            counts[said.effect as usize] += 1;
            if met[at] < said.effect {
                row.by_example += 1;
                let example = said.bytes.as_ref().and_then(|bytes| Carried::decode(self.written, bytes).ok());
                let shown = example.map(|sent| self.fared(&sent, &lacks)[at]);
                // A refusal is one, whatever the receiver lacks.
                let shown_so = match said.effect {
                    Effect::Refused => shown.is_some_and(|shown| shown >= Effect::WhenSent),
                    said => shown == Some(said),
                };
                if !shown_so {
                    let what = self.name(&format!("the diff said {:?}, its example shows {shown:?}", said.effect));
                    score.false_alarms.push(what);
                }
            }
        }
        frame.effect
    }

    /// How a value fares, as a frame and as a typed payload.
    fn fared(&self, sent: &Carried, lacks: &Lacks) -> [Effect; 2] {
        let bytes = sent.encode(self.written);
        let Ok(got) = Carried::decode(self.read, &bytes) else {
            let missing = self.written.headers.iter().zip(&sent.headers).any(|(of, value)| lacks.any(of, value));
            return [if missing { Effect::WhenSent } else { Effect::Refused }; 2];
        };
        let is_same = same((self.written, sent), (self.read, &got));
        let frame = if is_same { Effect::Safe } else { Effect::Silent };
        let shapes = [(self.written, sent), (self.read, &got)]
            .map(|(layout, carried)| shape(&layout.headers[0], &carried.headers[0]).ok());
        [frame, if shapes[0] == shapes[1] { frame } else { Effect::Refused }]
    }

    fn name(&self, what: &str) -> String {
        let Self { kind, number, what: direction, written, read } = self;
        let (w, r) = (serde_json::to_string(&written.headers), serde_json::to_string(&read.headers));
        format!(
            "change {number} ({}), {direction}: {what}\n    sender {}\n    receiver {}",
            kind.name(),
            w.unwrap_or_default(),
            r.unwrap_or_default()
        )
    }
}

/// The variants that a schema has, by the names of enum and variant: what else is sent, it lacks.
struct Lacks(BTreeSet<(String, String)>);

impl Lacks {
    fn new(headers: &[Type]) -> Self {
        let mut known = BTreeSet::new();
        headers.iter().for_each(|header| collect(header, &mut known));
        Self(known)
    }

    fn any(&self, of: &Type, value: &Value) -> bool {
        self.within(of, value, &mut Vec::new())
    }

    fn within<'a>(&self, of: &'a Type, value: &Value, outer: &mut Vec<&'a Type>) -> bool {
        match (of, value) {
            (Type::Recursive(name), value) => {
                let Some(at) = outer.iter().rposition(|of| of.title() == *name) else { return false };
                let mut above = outer[..at].to_vec();
                self.within(outer[at], value, &mut above)
            }
            (Type::Option(inner), Value::Option(Some(value))) => self.within(inner, value, outer),
            (Type::Seq(inner), Value::Seq(values)) => values.iter().any(|value| self.within(inner, value, outer)),
            (Type::Map(key, inner), Value::Map(entries)) => {
                entries.iter().any(|(k, v)| self.within(key, k, outer) || self.within(inner, v, outer))
            }
            (Type::Tuple(parts), Value::Parts(values)) => {
                parts.iter().zip(values).any(|(part, value)| self.within(part, value, outer))
            }
            (Type::Struct(named), Value::Parts(values)) => {
                outer.push(of);
                let found = named.parts.types().into_iter().zip(values).any(|(part, v)| self.within(part, v, outer));
                outer.pop();
                found
            }
            (Type::Enum(inner), Value::Variant(index, values)) => {
                let Some(variant) = inner.variants.get(*index as usize) else { return false };
                outer.push(of);
                let mut parts = variant.parts.types().into_iter().zip(values);
                let known = |variant: &str| self.0.contains(&(inner.name.clone(), variant.to_owned()));
                let knows_enum = inner.variants.iter().any(|variant| known(&variant.name));
                // Under another name it may still be the same enum: then only what no enum has is lacking.
                let lacks =
                    if knows_enum { !known(&variant.name) } else { !self.0.iter().any(|(_, v)| *v == variant.name) };
                let found = lacks || parts.any(|(part, v)| self.within(part, v, outer));
                outer.pop();
                found
            }
            _ => false,
        }
    }
}

fn collect(of: &Type, known: &mut BTreeSet<(String, String)>) {
    match of {
        Type::Option(inner) | Type::Seq(inner) => collect(inner, known),
        Type::Map(key, value) => {
            collect(key, known);
            collect(value, known);
        }
        Type::Tuple(parts) => parts.iter().for_each(|part| collect(part, known)),
        Type::Struct(named) => named.parts.types().into_iter().for_each(|part| collect(part, known)),
        Type::Enum(of) => {
            for variant in &of.variants {
                known.insert((of.name.clone(), variant.name.clone()));
                variant.parts.types().into_iter().for_each(|part| collect(part, known));
            }
        }
        _ => {}
    }
}

impl Score {
    /// Directions, of frames and typed payloads, that the diff called this.
    pub fn directions(&self, effect: Effect) -> u64 {
        self.rows.values().map(|row| row.frames[effect as usize] + row.typed[effect as usize]).sum()
    }

    /// The score as text for a terminal.
    pub fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header([
            "edit",
            "changes",
            "frames: safe",
            "when sent",
            "refused",
            "silent",
            "typed: safe",
            "when sent",
            "refused",
            "silent",
        ]);
        for (kind, row) in &self.rows {
            let counts = row.frames.iter().chain(&row.typed).map(u64::to_string);
            table.add_row([kind.name().to_owned(), row.evolutions.to_string()].into_iter().chain(counts));
        }
        let mut text = format!("{table}\n");
        for (what, list) in
            [("MISSED", &self.missed), ("FALSE ALARM", &self.false_alarms), ("WORSE THAN SAID", &self.understated)]
        {
            for one in list.iter().take(SHOWN_MAX) {
                text += &format!("{what}: {one}\n");
            }
        }
        let by_example: u64 = self.rows.values().map(|row| row.by_example).sum();
        text += &format!(
            "{} changes, {} values each way in {} directions, {} missed, {} false alarms, {} worse than said, {} could \
             not tell, {} safe appends; {by_example} breaks shown by the diff's example alone; {:.1} s; seed {}\n",
            self.evolutions,
            SAMPLES,
            self.evolutions * 2,
            self.missed.len(),
            self.false_alarms.len(),
            self.understated.len(),
            self.undecided,
            self.safe_appends,
            self.elapsed.as_secs_f64(),
            self.seed
        );
        text
    }
}

/// Misses and false alarms that are printed.
const SHOWN_MAX: usize = 20;
