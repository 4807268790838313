//! The search over all mixes of a migration's releases, and what it has shown.

use super::data::{ProtocolChange, Role};
use super::mix::{Action, Job, Mix, NODES};
use crate::name::node_name;
use crate::search::{Broken, End, Fingerprint, Model, Options, Outcome, Path, search};
use crate::verdict::invariant::Invariant;
use crate::verdict::trace::{Place, Trace, TraceEvent};

/// What the search of one migration has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Distinct states of three nodes with a call between two of them.
    pub states: usize,
    /// Steps between them.
    pub transitions: u64,
    /// Steps to the farthest state.
    pub depth: u32,
    /// How often each case that matters was met.
    pub met: Vec<(&'static str, u64)>,
    /// The first invariant that broke, what broke it, and the shortest way there.
    pub breach: Option<(Invariant, String, Trace)>,
}

/// Searches every mix of the migration's releases to the end.
pub fn check(migration: &ProtocolChange) -> Checked {
    // One thread: the spaces are small and many.
    let options = Options { threads: 1, ..Options::default() };
    let Outcome { end, tally, .. } = search(&Mixes(migration), &options, &mut |_| ());
    let breach = match end {
        End::Broken(broken, path) => Some((broken.invariant, broken.what.clone(), trace(migration, &path))),
        End::Exhausted | End::Bounded(_) | End::Stuck(_) => None,
    };
    // Where nothing is said to end a job, a kill names its call.
    let kills = !migration.of_role(Role::End).is_empty();
    Checked {
        states: usize::try_from(tally.states).unwrap_or(usize::MAX),
        transitions: tally.transitions,
        depth: tally.depth,
        met: CASES.into_iter().zip(tally.met).filter(|(case, _)| kills || *case != KILLS).collect(),
        breach,
    }
}

struct Mixes<'a>(&'a ProtocolChange);

const KILLS: &str = "kills by a caller that sends something else than when it cast";

/// Cases without which a search proves little.
const CASES: [&str; 4] =
    ["changes of what is sent with a call open", KILLS, "rollbacks", "restarts with a job running"];

/// How a mix was reached, besides what it is: cases are met by steps.
#[derive(Clone)]
struct Reached {
    mix: Mix,
    met: u64,
}

impl Model for Mixes<'_> {
    type State = Reached;
    type Action = Action;

    fn initial(&self) -> Vec<Reached> {
        vec![Reached { mix: Mix::at_rest(0), met: 0 }]
    }

    fn actions(&self, state: &Reached, actions: &mut Vec<Action>) {
        actions.extend(state.mix.actions(self.0));
    }

    fn step(&self, state: &Reached, action: &Action) -> Option<Reached> {
        Some(Reached { met: met(&state.mix, *action), mix: state.mix.step(self.0, *action) })
    }

    fn check(&self, state: &Reached) -> Result<(), Broken> {
        match state.mix.broken {
            None => Ok(()),
            Some(broken) => Err(Broken { invariant: broken.invariant(), what: broken.sentence(self.0) }),
        }
    }

    fn fingerprint(&self, state: &Reached) -> Fingerprint {
        Fingerprint::of(&state.mix)
    }

    fn cases(&self) -> &[&'static str] {
        &CASES
    }

    fn met(&self, state: &Reached) -> u64 {
        state.met
    }
}

fn met(before: &Mix, action: Action) -> u64 {
    let call = before.call.as_ref();
    let cases = match action {
        Action::Flip { node, .. } => [call.is_some_and(|call| call.caller == node), false, false, false],
        Action::Kill => [false, call.is_some_and(|call| before.at[call.caller] != call.cast_at), false, false],
        Action::Restart { node, to } => {
            let runs = |call: &super::mix::Call| call.callee == node && matches!(call.job, Job::Runs(_));
            [false, false, to < before.at[node], call.is_some_and(runs)]
        }
        _ => [false; 4],
    };
    (0..).zip(cases).map(|(bit, met)| u64::from(met) << bit).sum()
}

fn trace(migration: &ProtocolChange, path: &Path<Mixes<'_>>) -> Trace {
    let mut events = vec![TraceEvent::new(Place::Everywhere, format!("all run {}", migration.releases[0].name))];
    let mut before = &path.start.mix;
    for (action, after) in &path.steps {
        events.push(before.event(migration, *action));
        before = &after.mix;
    }
    if let Some(broken) = before.broken {
        let place = before.call.as_ref().map_or(Place::Everywhere, |call| Place::At(call.callee));
        events.push(TraceEvent::new(place, broken.sentence(migration)).breach());
    }
    let lane = |node: usize| format!("{} {}", node_name(node), migration.releases[before.at[node]].name);
    Trace { lanes: (0..NODES).map(lane).collect(), events }
}
