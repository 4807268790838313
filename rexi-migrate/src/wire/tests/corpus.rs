//! Measures the diff: thousands of random changes, each judged by real values in the real codec.
//!
//! In: a number and a seed. What is judged is what `wire diff` prints for two locks, and how it ends. The truth is what
//! became of sampled values in both directions, as frames and as typed payloads. A *miss* is a change that is not
//! reported, or a value that broke where none was said to break; a *false alarm* is a break that was said, and that
//! neither a sampled value nor the diff's own example shows.

use rexi_proto::Release;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde::Serialize;

use super::edit::{EditKind, edited, generate};
use crate::verdict::conclusion::Conclusion;
use crate::wire::changes::edits;
use crate::wire::diff::{Carrier, Change, Diff, Direction, Effect};
use crate::wire::functions::{AnswerType, FunctionLock};
use crate::wire::kind::ChangeKind;
use crate::wire::lock::{FrameLock, Lock};
use crate::wire::same::same;
use crate::wire::sample::carried;
use crate::wire::schema::{Layout, Type};
use crate::wire::value::{Carried, Value, shape};

/// Values that are tried for each change and direction.
pub(super) const SAMPLES: usize = 24;

/// What became of the changes of a corpus.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Score {
    /// The seed.
    pub(super) seed: u64,
    /// Changes that were made.
    pub(super) evolutions: u64,
    /// By kind of edit.
    pub(super) rows: BTreeMap<EditKind, Row>,
    /// Values that were written and read.
    pub(super) values: u64,
    /// Values that broke where the diff had not said so.
    pub(super) missed: Vec<String>,
    /// Values that were read as something else where the diff had said no more than an error: a break that it had
    /// found, and not the worst of it.
    pub(super) understated: Vec<String>,
    /// Breaks that the diff had said, and that nothing shows.
    pub(super) false_alarms: Vec<String>,
    /// Directions whose search was cut short, so that the diff said that it could not tell.
    pub(super) undecided: u64,
    /// Appended variants that the diff let pass from old to new, and where they are not sent.
    pub(super) safe_appends: u64,
    /// How long it took.
    pub(super) elapsed: Duration,
}

/// The changes of one kind: directions by what the diff said of them, safe first and silent last.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Row {
    /// Changes.
    pub(super) evolutions: u64,
    /// As frames.
    pub(super) frames: [u64; 4],
    /// As typed payloads.
    pub(super) typed: [u64; 4],
    /// Directions, of both, whose break no sampled value had met: the diff's own example shows it.
    pub(super) by_example: u64,
}

/// Makes `count` changes and judges the diff by them. Each is made of the seed and its own number alone.
pub(super) fn run(count: u64, seed: u64) -> Score {
    let started = Instant::now();
    let mut score = Score { seed, ..Score::default() };
    for number in 0..count {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
        let kind = EditKind::ALL[usize::try_from(number).unwrap_or(0) % EditKind::ALL.len()];
        // Not every type has a place for every edit, but every edit has a type.
        let (old, new) = loop {
            let old = generate(&mut rng);
            if let Some(new) = edited(&old, kind, &mut rng) {
                break (old, new);
            }
        };
        let case = Case { kind, number, old: Layout::of(old), new: Layout::of(new) };
        score.judge(&case, &mut rng, &mut |old, new| Told::new(old, new));
    }
    score.elapsed = started.elapsed();
    score
}

/// One change.
pub(super) struct Case {
    pub(super) kind: EditKind,
    pub(super) number: u64,
    pub(super) old: Layout,
    pub(super) new: Layout,
}

/// What the diff says of two locks.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) diff: Diff,
    pub(super) text: String,
    pub(super) verdict: Conclusion,
}

impl Score {
    /// Judges what the diff says of a change by what becomes of values; gives what was said, by carrier.
    pub(super) fn judge(
        &mut self,
        case: &Case,
        rng: &mut Xoshiro256PlusPlus,
        tell: &mut dyn FnMut(&Lock, &Lock) -> Told,
    ) -> [Told; 2] {
        self.evolutions += 1;
        self.rows.entry(case.kind).or_default().evolutions += 1;
        let told = CARRIERS.map(|carrier| {
            let [old, new] = [&case.old, &case.new].map(|layout| written_down(carrier, layout));
            tell(&old, &new)
        });
        let mut worst = [Effect::Safe; 2];
        for way in [Way::OldToNew, Way::NewToOld] {
            let shown = self.direction(case, way, &told, rng);
            worst = [worst[0].max(shown[0]), worst[1].max(shown[1])];
        }
        for (at, carrier) in CARRIERS.into_iter().enumerate() {
            let name = |what: String| case.name(&format!("as a {carrier:?}: {what}"));
            self.missed.extend(told[at].unsaid(case).map(name));
            // A typed payload's new variant is refused where it is sent, and its function's releases say where it is.
            let harmless = if carrier == Carrier::Typed { Effect::WhenSent } else { Effect::Safe };
            let (verdict, shown) = (told[at].verdict, worst[at]);
            let what = format!("it ends with {}, and the worst that values show is {shown:?}", verdict.code());
            match verdict {
                Conclusion::Safe if shown > harmless => self.missed.push(name(what)),
                Conclusion::Unsafe if shown <= harmless => self.false_alarms.push(name(what)),
                _ => {}
            }
        }
        if case.kind == EditKind::AppendVariant {
            let effects = [Way::OldToNew, Way::NewToOld].map(|way| told[0].said(way).0);
            if effects == [Effect::Safe, Effect::WhenSent] {
                self.safe_appends += 1;
            } else {
                self.false_alarms.push(format!("change {}: an appended variant is {effects:?}", case.number));
            }
        }
        told
    }

    /// Compares what was said of one direction with what becomes of values; gives the worst that was shown, by carrier.
    fn direction(&mut self, case: &Case, way: Way, told: &[Told; 2], rng: &mut Xoshiro256PlusPlus) -> [Effect; 2] {
        let (written, read) = way.of(&case.old, &case.new);
        let lacks = Lacks::new(&read.headers);
        let said = [&told[0], &told[1]].map(|told| told.said(way));
        let mut met = [Effect::Safe; 2];
        for _ in 0..SAMPLES {
            let sent = carried(written, rng);
            self.values += 1;
            let fared = fared((written, read), &sent, &lacks);
            for (at, &(effect, cut_short)) in said.iter().enumerate() {
                met[at] = met[at].max(fared[at]);
                if fared[at] > effect && !cut_short {
                    let bytes = sent.encode(written);
                    let what = format!("{way:?}: {bytes:02x?} fared {:?}, the diff said {effect:?}", fared[at]);
                    // Those who heed the diff heed any break, whichever it is.
                    let list = if effect >= Effect::Refused { &mut self.understated } else { &mut self.missed };
                    list.push(case.name(&what));
                }
            }
        }
        let row = self.rows.entry(case.kind).or_default();
        for (at, &(effect, cut_short)) in said.iter().enumerate() {
            self.undecided += u64::from(cut_short);
            let counts = if at == 0 { &mut row.frames } else { &mut row.typed };
            counts[effect as usize] += 1;
            row.by_example += u64::from(met[at] < effect);
            for (change, alone) in told[at].diff.changes.iter().zip(alone(case)) {
                let (direction, layouts) = (way.said(change), way.of(&case.old, &alone));
                if direction.effect == Effect::Safe || alone == case.new && met[at] >= direction.effect {
                    continue;
                }
                let example = direction.bytes.as_ref().and_then(|bytes| Carried::decode(layouts.0, bytes).ok());
                let lacks = Lacks::new(&layouts.1.headers);
                let shown = example.map(|sent| self::fared(layouts, &sent, &lacks)[at]);
                // A refusal is one, whatever the receiver lacks.
                let shown_so = match direction.effect {
                    Effect::Refused => shown.is_some_and(|shown| shown >= Effect::WhenSent),
                    said => shown == Some(said),
                };
                if shown_so {
                    met[at] = met[at].max(direction.effect);
                } else {
                    let said = direction.effect;
                    let what = format!("{way:?}: the diff said {said:?}, its example shows {shown:?}");
                    self.false_alarms.push(case.name(&what));
                }
            }
        }
        met
    }
}

impl Told {
    /// As `wire diff` does.
    pub(super) fn new(old: &Lock, new: &Lock) -> Self {
        let diff = Diff::new(old, new);
        let (text, verdict) = diff.told();
        Self { diff, text, verdict }
    }

    /// The worst that is said of a direction, and whether it may be worse still.
    fn said(&self, way: Way) -> (Effect, bool) {
        let said = self.diff.changes.iter().map(|change| way.said(change));
        said.fold((Effect::Safe, false), |(effect, cut_short), said| {
            (effect.max(said.effect), cut_short || said.cut_short)
        })
    }

    /// What a reader of the text is not told.
    fn unsaid(&self, case: &Case) -> Option<String> {
        let (changes, edits) = (&self.diff.changes, edits(&case.old, &case.new));
        if changes.is_empty() || changes.iter().all(|change| change.kind == ChangeKind::Together) {
            return Some("the diff does not say what changed".to_owned());
        }
        if !(edits.len()..=edits.len() + 1).contains(&changes.len()) {
            return Some(format!("the diff says {} changes of {}", changes.len(), edits.len()));
        }
        let counted = format!("{} changes, {} breaks,", changes.len(), self.diff.breaks().count());
        let lacking = changes.iter().find(|change| !self.text.contains(&change.to_string()));
        let whole = lacking.is_none() && self.text.lines().any(|line| line.starts_with(&counted));
        (!whole).then(|| format!("the text is not what was found: {}", self.text))
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
enum Way {
    OldToNew,
    NewToOld,
}

impl Way {
    fn of<'a>(self, old: &'a Layout, new: &'a Layout) -> (&'a Layout, &'a Layout) {
        match self {
            Self::OldToNew => (old, new),
            Self::NewToOld => (new, old),
        }
    }

    fn said(self, change: &Change) -> &Direction {
        match self {
            Self::OldToNew => &change.old_to_new,
            Self::NewToOld => &change.new_to_old,
        }
    }
}

const CARRIERS: [Carrier; 2] = [Carrier::Frame, Carrier::Typed];

/// A lock that has the layout where this carrier has it, as it is read from a file.
fn written_down(carrier: Carrier, layout: &Layout) -> Lock {
    let mut lock = Lock::empty();
    match carrier {
        Carrier::Frame => {
            let frame = FrameLock { kind: "Cast".to_owned(), emitted: true, layout: layout.clone() };
            lock.versions.insert("v1".to_owned(), BTreeMap::from([(1, frame)]));
        }
        Carrier::Typed => {
            let function = FunctionLock {
                accepted_since: Release(1, 0, 0),
                emitted_since: Release(1, 0, 0),
                silent_since: None,
                retired_in: None,
                migration: None,
                argument: layout.headers[0].clone(),
                answer: AnswerType::Reply(Type::Unit),
                error: Type::Unit,
            };
            lock.functions.insert("get".to_owned(), function);
        }
    }
    Lock::parse("corpus", &lock.to_text()).expect("a lock is read as it was written")
}

/// For each change of the diff, in order: the new layout with that change alone, and behind them all of it.
fn alone(case: &Case) -> Vec<Layout> {
    let each = edits(&case.old, &case.new).into_iter().map(|edit| edit.alone);
    each.chain([case.new.clone()]).collect()
}

/// How a value fares, as a frame and as a typed payload.
fn fared((written, read): (&Layout, &Layout), sent: &Carried, lacks: &Lacks) -> [Effect; 2] {
    let bytes = sent.encode(written);
    let Ok(got) = Carried::decode(read, &bytes) else {
        let missing = written.headers.iter().zip(&sent.headers).any(|(of, value)| lacks.any(of, value));
        return [if missing { Effect::WhenSent } else { Effect::Refused }; 2];
    };
    let is_same = same((written, sent), (read, &got));
    let frame = if is_same { Effect::Safe } else { Effect::Silent };
    let shapes =
        [(written, sent), (read, &got)].map(|(layout, carried)| shape(&layout.headers[0], &carried.headers[0]).ok());
    [frame, if shapes[0] == shapes[1] { frame } else { Effect::Refused }]
}

impl Case {
    fn name(&self, what: &str) -> String {
        let Self { kind, number, old, new } = self;
        let (o, n) = (serde_json::to_string(&old.headers), serde_json::to_string(&new.headers));
        format!(
            "change {number} ({}), {what}\n    old {}\n    new {}",
            kind.name(),
            o.unwrap_or_default(),
            n.unwrap_or_default()
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
    pub(super) fn directions(&self, effect: Effect) -> u64 {
        self.rows.values().map(|row| row.frames[effect as usize] + row.typed[effect as usize]).sum()
    }

    /// The score as text for a terminal.
    pub(super) fn to_text(&self) -> String {
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
