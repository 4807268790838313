//! The known migrations: each searched over all its mixes, one of them found again from its two ends alone.

use serde::Serialize;

use super::show::Show;
use crate::migration::{PlanStep, ProtocolChange, RuledOut, check, known, steps, synthesize};
use crate::service::Service;
use crate::verdict::conclusion::Conclusion;
use crate::verdict::invariant::Invariant;
use crate::verdict::trace::Trace;

/// A migration, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// Whether every mix of its releases is safe.
    pub verdict: Conclusion,
    /// Its steps.
    pub steps: Vec<PlanStep>,
    /// Distinct states of three nodes.
    pub states: usize,
    /// Steps between them.
    pub transitions: u64,
    /// Steps to the farthest state.
    pub depth: u32,
    /// How often each case that matters was met.
    pub met: Vec<(&'static str, u64)>,
    /// What broke, in words, and the shortest way there.
    pub breach: Option<(Invariant, String, Trace)>,
    /// What was found from its first and last release alone, where that was asked.
    pub synthesized: Option<Synthesized>,
    /// The command that shows it again.
    pub command: String,
}

/// A plan that was found from its two ends alone.
#[derive(Clone, Debug, Serialize)]
pub struct Synthesized {
    /// Behaviours that a release between may have.
    pub candidates: usize,
    /// Pairs of neighbours whose mixes were searched.
    pub pairs: usize,
    /// States met in those searches.
    pub states: usize,
    /// The steps of the shortest safe plan; none where no plan is safe.
    pub steps: Option<Vec<PlanStep>>,
    /// What rules out every shorter plan.
    pub ruled_out: Vec<Ruled>,
}

/// Plans of one length that fail in the same way.
#[derive(Clone, Debug, Serialize)]
pub struct Ruled {
    /// Steps of these plans.
    pub steps: usize,
    /// How many there are. As text, since JSON's numbers may be too small for it.
    pub plans: String,
    /// The two releases that meet in one of them: what they understand and say.
    pub pair: Vec<String>,
    /// What breaks.
    pub invariant: Invariant,
    /// In words.
    pub what: String,
    /// The shortest way there.
    pub trace: Trace,
}

/// Searches every known migration, and finds the first one, which is the train's where that has one, once more.
pub(super) fn plans(service: &Service, show: &mut Show) -> Vec<Plan> {
    let known = known(&service.train);
    let one = |(number, migration): (usize, &ProtocolChange)| {
        show.tick(|| migration.name.clone());
        plan(migration, number == 0, &service.called())
    };
    known.iter().enumerate().map(one).collect()
}

fn plan(migration: &ProtocolChange, synthesized: bool, called: &str) -> Plan {
    let checked = check(migration);
    let found = synthesized.then(|| synthesis(migration)).flatten();
    let fails = checked.breach.is_some() || found.as_ref().is_some_and(|found| found.steps.is_none());
    let flag = if synthesized { " --synthesize" } else { "" };
    Plan {
        name: migration.name.clone(),
        about: migration.about.clone(),
        verdict: if fails { Conclusion::Unsafe } else { Conclusion::Safe },
        steps: steps(migration),
        states: checked.states,
        transitions: checked.transitions,
        depth: checked.depth,
        met: checked.met,
        breach: checked.breach,
        synthesized: found,
        command: format!("{called} plan {}{flag}", migration.name),
    }
}

fn synthesis(migration: &ProtocolChange) -> Option<Synthesized> {
    let found = synthesize(migration).ok()?;
    let ruled = |out: RuledOut| Ruled {
        steps: out.steps,
        plans: out.plans.to_string(),
        pair: out.pair.iter().map(|release| migration.behaviour(release)).collect(),
        invariant: out.invariant,
        what: out.what,
        trace: out.trace,
    };
    Some(Synthesized {
        candidates: found.candidates,
        pairs: found.pairs,
        states: found.states,
        steps: found.plan.as_ref().map(steps),
        ruled_out: found.ruled_out.into_iter().map(ruled).collect(),
    })
}
