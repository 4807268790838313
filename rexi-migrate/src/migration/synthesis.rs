//! Plan synthesis: from the old behaviour and the new one alone, the shortest sequence of releases whose every mix is
//! safe, and for every shorter one the counterexample that rules it out.
//!
//! A release may change anything: what it accepts, what it emits, whether its kills remember where their call was cast.
//! Since only neighbours ever meet, a plan is safe if each pair of neighbours is, which the search over mixes decides.
//! So plans are paths in a graph of behaviours; of the shortest ones, the one that changes least is taken.

use std::collections::BTreeMap;

use super::check::{Checked, check};
use super::data::{Behaviour, MessageForms, ProtocolChange, Role};
use crate::verdict::invariant::Invariant;
use crate::verdict::trace::Trace;

/// The shortest plan, and why no shorter one will do.
#[derive(Clone, Debug)]
pub struct Synthesis {
    /// The plan: a migration whose releases are the old behaviour, what lies between, and the new one. `None`: no plan
    /// of up to [`STEPS_MAX`] steps is safe.
    pub plan: Option<ProtocolChange>,
    /// Behaviours that a release between may have.
    pub candidates: usize,
    /// Pairs of neighbours whose mixes were searched.
    pub pairs: usize,
    /// States met in all those searches.
    pub states: usize,
    /// Every plan with fewer steps, by what rules it out; shorter plans first.
    pub ruled_out: Vec<RuledOut>,
}

/// Plans of one length that fail in the same way.
#[derive(Clone, Debug)]
pub struct RuledOut {
    /// Steps of these plans.
    pub steps: usize,
    /// How many there are.
    pub plans: u128,
    /// The two releases that meet, in one of them.
    pub pair: [Behaviour; 2],
    /// What breaks.
    pub invariant: Invariant,
    /// In words.
    pub what: String,
    /// The shortest way there, in that example.
    pub trace: Trace,
}

/// A migration that is too wide to be synthesized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plan can be synthesized for up to {FORMS_MAX} forms, and this migration has {forms}; split it")]
pub struct TooWide {
    /// MessageForms of the migration.
    pub forms: usize,
}

/// Steps of the longest plan that is tried.
pub const STEPS_MAX: usize = 5;

/// MessageForms of the widest migration: all sets of them are tried as what a release accepts.
const FORMS_MAX: usize = 6;

/// Finds the shortest safe plan from a migration's first behaviour to its last; what lies between is not looked at.
///
/// # Errors
/// [`TooWide`].
pub fn synthesize(draft: &ProtocolChange) -> Result<Synthesis, TooWide> {
    if draft.forms.len() > FORMS_MAX {
        return Err(TooWide { forms: draft.forms.len() });
    }
    let mut graph = Graph::new(draft);
    let path = graph.shortest();
    let shorter = path.as_ref().map_or(STEPS_MAX, |path| path.len() - 2);
    let ruled_out = (1..=shorter).flat_map(|steps| graph.ruled_out(steps)).collect();
    let plan = path.map(|path| graph.plan(&path));
    let states = graph.edges.values().map(|checked| checked.states).sum();
    Ok(Synthesis { plan, candidates: graph.nodes.len() - 2, pairs: graph.edges.len(), states, ruled_out })
}

/// Behaviours, and what is known of their neighbourhoods. The old one is at [`OLD`], the new one at [`NEW`].
struct Graph<'a> {
    draft: &'a ProtocolChange,
    nodes: Vec<Behaviour>,
    edges: BTreeMap<(usize, usize), Checked>,
}

const OLD: usize = 0;
const NEW: usize = 1;

impl<'a> Graph<'a> {
    fn new(draft: &'a ProtocolChange) -> Self {
        let ends = [draft.releases.first(), draft.releases.last()].into_iter().flatten().cloned();
        Self { draft, nodes: ends.chain(candidates(draft)).collect(), edges: BTreeMap::new() }
    }

    /// Layer by layer from the old behaviour: which are as many safe steps away, how much changes on the way, and what
    /// comes before each.
    fn shortest(&mut self) -> Option<Vec<usize>> {
        let mut reached: Vec<BTreeMap<usize, (u32, usize)>> = vec![BTreeMap::from([(OLD, (0, OLD))])];
        for steps in 1..=STEPS_MAX {
            let before: Vec<(usize, u32)> = reached[steps - 1].iter().map(|(&node, &(cost, _))| (node, cost)).collect();
            // The goal first, and the rest only where it is not there yet.
            let goal = self.layer(&before, &[NEW]);
            if let Some(&(_, from)) = goal.get(&NEW) {
                return Some(back(&reached, from));
            }
            let fresh: Vec<usize> =
                (0..self.nodes.len()).filter(|node| reached.iter().all(|layer| !layer.contains_key(node))).collect();
            let layer = self.layer(&before, &fresh);
            if layer.is_empty() {
                return None;
            }
            reached.push(layer);
        }
        None
    }

    /// Those of `to` that a safe step leads to, each with the least change and where that comes from.
    fn layer(&mut self, before: &[(usize, u32)], to: &[usize]) -> BTreeMap<usize, (u32, usize)> {
        let mut layer = BTreeMap::new();
        for &node in to {
            let mut best: Option<(u32, usize)> = None;
            for &(from, cost) in before {
                let cost = cost + self.nodes[from].changes(&self.nodes[node]);
                if best.is_none_or(|best| (cost, from) < best) && self.edge(from, node).breach.is_none() {
                    best = Some((cost, from));
                }
            }
            layer.extend(best.map(|best| (node, best)));
        }
        layer
    }

    /// What the mixes of two neighbours have shown.
    fn edge(&mut self, from: usize, to: usize) -> &Checked {
        let draft = self.draft;
        let releases = [from, to].map(|node| self.nodes[node].clone()).to_vec();
        self.edges.entry((from, to)).or_insert_with(|| check(&ProtocolChange { releases, ..draft.clone() }))
    }

    /// Every plan of this many steps, all of which fail, by what is wrong with its first unsafe pair.
    fn ruled_out(&mut self, steps: usize) -> Vec<RuledOut> {
        let middle: Vec<usize> = (NEW + 1..self.nodes.len()).collect();
        let mut groups: BTreeMap<(Invariant, String), RuledOut> = BTreeMap::new();
        // How many safe beginnings end in each behaviour.
        let mut walks = BTreeMap::from([(OLD, 1_u128)]);
        for step in 1..=steps {
            let to = if step == steps { vec![NEW] } else { middle.clone() };
            let free = u32::try_from(steps.saturating_sub(step + 1)).unwrap_or(u32::MAX);
            let rests = (middle.len() as u128).saturating_pow(free);
            let mut next = BTreeMap::new();
            for (&from, &beginnings) in &walks {
                for &node in &to {
                    let pair = [from, node].map(|node| self.nodes[node].clone());
                    let Some((invariant, what, trace)) = &self.edge(from, node).breach else {
                        *next.entry(node).or_insert(0) += beginnings;
                        continue;
                    };
                    let (invariant, what, trace) = (*invariant, what.clone(), trace.clone());
                    let group = groups.entry((invariant, what.clone()));
                    let group = group.or_insert(RuledOut { steps, plans: 0, pair, invariant, what, trace });
                    group.plans += beginnings * rests;
                }
            }
            walks = next;
        }
        groups.into_values().collect()
    }

    /// The path as a migration, its middle releases numbered.
    fn plan(&self, path: &[usize]) -> ProtocolChange {
        let release = |(place, &node): (usize, &usize)| {
            let behaviour = self.nodes[node].clone();
            if node == OLD || node == NEW {
                behaviour
            } else {
                Behaviour { name: format!("between {place}"), ..behaviour }
            }
        };
        ProtocolChange { releases: path.iter().enumerate().map(release).collect(), ..self.draft.clone() }
    }
}

/// The way to `node` in the last layer, and from there to the goal.
fn back(reached: &[BTreeMap<usize, (u32, usize)>], node: usize) -> Vec<usize> {
    let mut path = vec![NEW];
    let mut at = node;
    for layer in reached.iter().rev() {
        path.push(at);
        at = layer.get(&at).map_or(OLD, |&(_, from)| from);
    }
    path.reverse();
    path
}

impl Behaviour {
    /// How much differs.
    fn changes(&self, other: &Self) -> u32 {
        let differ = |one: MessageForms, other: MessageForms| (one.0 ^ other.0).count_ones();
        differ(self.accepts, other.accepts)
            + differ(self.emits, other.emits)
            + u32::from(self.remembers != other.remembers)
    }
}

/// Every behaviour that makes sense: it accepts any set of forms; casts in one form and answers in one, since more
/// would run twice and be heard twice; ends jobs in any number of forms, but at least one; with and without memory. It
/// says nothing in a role only where the first or the last release does.
fn candidates(draft: &ProtocolChange) -> Vec<Behaviour> {
    let all = (0..1_u32 << draft.forms.len()).map(MessageForms);
    let within = |role: Role| all.clone().filter(move |forms| forms.without(draft.of_role(role)).is_empty());
    let is_silent = |role: Role| [0, draft.releases.len() - 1].iter().any(|&end| draft.emitted(end, role).is_empty());
    let some_of = |role: Role| within(role).filter(|forms| !forms.is_empty() || is_silent(role)).collect::<Vec<_>>();
    let one_of = |role: Role| some_of(role).into_iter().filter(|forms| forms.0.count_ones() <= 1).collect::<Vec<_>>();
    let (casts, answers, ends) = (one_of(Role::Start), one_of(Role::Answer), some_of(Role::End));
    let remembers = draft.releases[0].remembers;
    let memory: &[bool] = if draft.of_role(Role::End).is_empty() { &[remembers] } else { &[false, true] };
    let mut behaviours = Vec::new();
    for accepts in all.clone() {
        for &cast in &casts {
            for &answer in &answers {
                for &end in &ends {
                    for &remembers in memory {
                        let (name, emits) = ("the one between".to_owned(), cast.with(answer).with(end));
                        behaviours.push(Behaviour { name, accepts, emits, remembers });
                    }
                }
            }
        }
    }
    behaviours
}
