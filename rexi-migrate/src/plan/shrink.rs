//! Shrinks a plan that fails: operations are taken away, then made simpler, for as long as it still fails.
//!
//! proptest shrinks along the path on which it made a plan, so it keeps what no part of that path takes away. This uses
//! the operations alone, which may be any list, and ends where no single change is left that still fails.

use super::op::Op;
use super::scenario::{NODES, Plan};

/// The shortest plan that can be reached from this one by single changes, each of which still fails. The seed stays.
///
/// `fails` runs a plan, and is asked 3,000 times at most.
pub fn shrink(plan: &Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut found = Shrink { plan: plan.clone(), runs: 0, fails: &mut fails };
    while found.take_away() | found.simplify() && found.runs < RUNS_MAX {}
    found.plan
}

struct Shrink<'a> {
    plan: Plan,
    runs: u32,
    fails: &'a mut dyn FnMut(&Plan) -> bool,
}

impl Shrink<'_> {
    /// Keeps the plan if it still fails.
    fn try_one(&mut self, plan: Plan) -> bool {
        if self.runs >= RUNS_MAX || plan == self.plan {
            return false;
        }
        self.runs += 1;
        let still = (self.fails)(&plan);
        if still {
            self.plan = plan;
        }
        still
    }

    /// Takes away ever shorter stretches of operations, the last ones first.
    fn take_away(&mut self) -> bool {
        let mut any = false;
        let mut length = self.plan.ops.len().max(1);
        while length > 0 {
            let mut end = self.plan.ops.len();
            while end > 0 {
                let start = end.saturating_sub(length);
                let mut ops = self.plan.ops.clone();
                ops.drain(start..end);
                any |= self.try_one(Plan { ops, ..self.plan.clone() });
                end = start;
            }
            length /= 2;
        }
        any
    }

    /// Puts simpler operations in place of the present ones, and takes nodes away.
    fn simplify(&mut self) -> bool {
        let mut any = false;
        for nodes in *NODES.start()..self.plan.nodes {
            let ops = self.plan.ops.iter().map(|op| op.within(nodes)).collect();
            if self.try_one(Plan { nodes, ops, ..self.plan.clone() }) {
                any = true;
                break;
            }
        }
        let mut place = 0;
        // Joining takes one away, so the count is looked up each time.
        while let Some(op) = self.plan.ops.get(place) {
            let simpler = op.simpler();
            any |= simpler.into_iter().any(|op| self.try_one(self.with(place, op)));
            any |= self.join(place);
            place += 1;
        }
        any
    }

    /// Two stretches of time become one. So do two casts: which function a cast asks for depends on how many came
    /// before, so one that is in the way of nothing else may only be there to be counted.
    fn join(&mut self, place: usize) -> bool {
        let mut ops = self.plan.ops.clone();
        let taken = ops.remove(place);
        let joined = match (taken, &mut ops[place..]) {
            (Op::Pass { ms: one }, [Op::Pass { ms: other }, ..]) => {
                *other = one.saturating_add(*other);
                true
            }
            (Op::Cast { count: one, .. }, later) => {
                let counts = later.iter_mut().find_map(|op| match op {
                    Op::Cast { count, .. } => Some(count),
                    _ => None,
                });
                counts.map(|other| *other = one.saturating_add(*other)).is_some()
            }
            _ => false,
        };
        joined && self.try_one(Plan { ops, ..self.plan.clone() })
    }

    fn with(&self, place: usize, op: Op) -> Plan {
        let mut ops = self.plan.ops.clone();
        ops[place] = op;
        Plan { ops, ..self.plan.clone() }
    }
}

/// How many plans are tried at most: seconds, where each takes milliseconds.
const RUNS_MAX: u32 = 3_000;
