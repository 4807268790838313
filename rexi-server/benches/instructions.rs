//! Whole calls, items and casts in instructions, which do not shake with the machine: two nodes in one process on
//! loopback and one thread, both sides and QUIC included. `.ci/run` holds them to a tolerance.
//!
//! `cargo bench -p rexi-server --features dev-certs --bench instructions`, with valgrind and a gungraun-runner of the
//! same version.

#![allow(missing_docs, reason = "gungraun's macros make modules without any")]

mod pair;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig};
use pair::{Loops, Pair};

/// At most so many instructions for each of `count`: what was counted, and a twentieth more.
fn at_most(count: u64, each: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, count * each)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

// So many loops of so many calls each.
#[library_benchmark(setup = Loops::of_calls)]
#[bench::with_1024_in_flight(args = (1_024, 16), config = at_most(16_384, 22_100))]
#[bench::with_64_in_flight(args = (64, 64), config = at_most(4_096, 22_200))]
fn call(loops: Loops) -> Pair {
    loops.run()
}

#[library_benchmark(setup = Pair::connected)]
#[bench::of_64_bytes(config = at_most(ITEMS, 21_300))]
fn take_items(pair: Pair) -> Pair {
    pair.take_items(ITEMS)
}

#[library_benchmark(setup = Pair::away)]
#[bench::of_64_bytes(config = at_most(CASTS, 3_410))]
fn cast_into_the_buffer(pair: Pair) -> Pair {
    pair.cast_into_the_buffer(CASTS)
}

/// Items of the one stream.
const ITEMS: u64 = 16_384;

/// Fewer than what the buffer holds.
const CASTS: u64 = 1_024;

library_benchmark_group!(name = whole, benchmarks = [call, take_items, cast_into_the_buffer]);

main!(library_benchmark_groups = whole);
