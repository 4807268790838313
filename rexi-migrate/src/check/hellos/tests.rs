//! The hellos on themselves: healthy nodes are exhausted, and each variant is found by its shortest trace.

use rexi_proto::Mutants;

use super::witness::{CASES, Case, OF_THREE};
use super::*;
#[cfg(feature = "mutants")]
use crate::invariant::Invariant;
use crate::search::{End, Options, Outcome, search};
use crate::train::DEFAULT;

fn all(mutants: Mutants) -> Vec<Bounds> {
    bounds(3, &DEFAULT.parse().expect("the default train"), mutants)
}

fn run(bounds: Bounds) -> Outcome<Hellos> {
    search(&Hellos::new(bounds), &Options::default(), &mut |_| {})
}

#[test]
fn healthy_nodes_keep_what_they_promise_and_meet_every_case() {
    for bounds in all(Mutants::default()) {
        let outcome = run(bounds.clone());
        println!("{}: {:?} {:?}", bounds.describe(), outcome.tally, outcome.elapsed);
        if let End::Broken(broken, path) = &outcome.end {
            panic!("{}", trace(path, Some(broken)));
        }
    }
}
