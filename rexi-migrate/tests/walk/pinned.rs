//! Runs that are tried beside those that chance draws: each broke an invariant once, or breaks it in a variant that
//! chance seldom catches.

use super::{Op, Run};

/// A run, and what it is about.
type Pinned = (&'static str, Run);

/// All of them.
pub(crate) fn pinned() -> Vec<Pinned> {
    failed_once().into_iter().chain(aimed_at_variants()).collect()
}

fn failed_once() -> Vec<Pinned> {
    vec![
        (
            "a reply was lost with its connection, the next one came",
            Run {
                releases: vec![0, 0],
                ops: vec![Op::Open, cast(1, 0, false, 1), Op::Exchange, reply(false, 1), Op::Cut { wire: 0 }],
            },
        ),
        (
            "a last reply that was held, then the resume's answer",
            Run {
                releases: vec![2, 1],
                ops: vec![
                    Op::Open,
                    cast(0, 1, false, 2),
                    Op::Exchange,
                    Op::Cut { wire: 0 },
                    Op::Notice { wire: 0, side: FIRST },
                    Op::End { node: 1, pick: 0, how: 3 },
                ],
            },
        ),
        (
            "a dropped reply that was held, then one after the gap",
            Run {
                releases: vec![0, 0],
                ops: vec![
                    Op::Open,
                    cast(1, 0, true, 1),
                    Op::Exchange,
                    reply(true, 1),
                    reply(false, 10),
                    Op::Flush { wire: 0, side: SECOND },
                ],
            },
        ),
        (
            "the phase of an earlier life, read after the hello of the next",
            Run {
                releases: vec![2, 2],
                ops: vec![
                    Op::Open,
                    Op::Ceiling { node: 0, phase: 1 },
                    Op::Flush { wire: 0, side: SECOND },
                    Op::Restart { node: 0, step: 2 },
                    Op::Dial { a: 1, b: 0 },
                    Op::Hello { wire: 1, side: FIRST },
                    Op::Deliver { wire: 0, side: FIRST, bytes: 255 },
                ],
            },
        ),
        (
            "a response was lost with its connection, and its job waited for it",
            Run {
                releases: vec![1, 1],
                ops: vec![
                    Op::Open,
                    cast(1, 0, false, 1),
                    Op::Exchange,
                    Op::Question { node: 0, pick: 0, bulk: false },
                    Op::Exchange,
                    Op::Respond { node: 1, pick: 0, bulk: false },
                    Op::Cut { wire: 0 },
                ],
            },
        ),
    ]
}

fn aimed_at_variants() -> Vec<Pinned> {
    vec![
        (
            "an older word of the same life, read after the hello that has the newer one",
            Run {
                releases: vec![2, 2],
                ops: vec![
                    Op::Open,
                    Op::Ceiling { node: 0, phase: 1 },
                    Op::Ceiling { node: 0, phase: 4 },
                    Op::Flush { wire: 0, side: SECOND },
                    Op::Dial { a: 1, b: 0 },
                    Op::Hello { wire: 1, side: FIRST },
                    Op::Hello { wire: 1, side: SECOND },
                    Op::Deliver { wire: 0, side: FIRST, bytes: 10 },
                    Op::Connect { wire: 1, side: FIRST },
                    Op::Connect { wire: 1, side: SECOND },
                ],
            },
        ),
        (
            "the hello of an earlier life, read after that of the next",
            Run {
                releases: vec![2, 2],
                ops: vec![
                    Op::Open,
                    Op::Dial { a: 1, b: 0 },
                    Op::Restart { node: 0, step: 3 },
                    Op::Notice { wire: 0, side: FIRST },
                    Op::Dial { a: 1, b: 0 },
                    Op::Hello { wire: 1, side: FIRST },
                    Op::Hello { wire: 1, side: SECOND },
                    Op::Hello { wire: 0, side: FIRST },
                    Op::Connect { wire: 1, side: FIRST },
                    Op::Connect { wire: 1, side: SECOND },
                ],
            },
        ),
        (
            "the phase is lowered between the hello and the connection of a node without a singleton",
            Run {
                releases: vec![2, 2],
                ops: vec![
                    Op::Open,
                    Op::Restart { node: 1, step: 0 },
                    Op::Dial { a: 0, b: 1 },
                    Op::Ceiling { node: 2, phase: 1 },
                    Op::Exchange,
                    cast(2, 0, true, 1),
                ],
            },
        ),
    ]
}

fn cast(from: u8, to: u8, bulk: bool, times: u8) -> Op {
    Op::Cast { from, to, bulk, times }
}

fn reply(bulk: bool, times: u8) -> Op {
    Op::Reply { node: 0, pick: 0, bulk, times }
}

/// The end of a wire that the node with the higher number has, which dialed.
const FIRST: bool = false;

/// The other end.
const SECOND: bool = true;
