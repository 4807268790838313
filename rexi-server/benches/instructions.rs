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
#[bench::with_1024_in_flight(args = (1_024, 16), config = at_most(16_384, 16_740))]
#[bench::with_64_in_flight(args = (64, 64), config = at_most(4_096, 17_180))]
fn call(loops: Loops) -> Pair {
    loops.run()
}

// Items of so many bytes, with a window of so many.
#[library_benchmark(setup = connected)]
#[bench::of_64_bytes(args = (64, 5), config = at_most(ITEMS, 17_660))]
#[bench::of_64_bytes_64_ahead(args = (64, 64), config = at_most(ITEMS, 4_210))]
#[bench::of_64_bytes_1024_ahead(args = (64, 1_024), config = at_most(ITEMS, 3_060))]
#[bench::of_4_kib(args = (4_096, 5), config = at_most(LARGE_ITEMS, 107_900))]
#[bench::of_4_kib_64_ahead(args = (4_096, 64), config = at_most(LARGE_ITEMS, 84_000))]
fn take_items((pair, bytes, window): (Pair, u32, u32)) -> Pair {
    let count = if bytes < 4_096 { ITEMS } else { LARGE_ITEMS };
    pair.take_items(count, bytes, window)
}

fn connected(bytes: u32, window: u32) -> (Pair, u32, u32) {
    (Pair::connected(), bytes, window)
}

#[library_benchmark(setup = Pair::away)]
#[bench::of_64_bytes(config = at_most(CASTS, 2_560))]
fn cast_into_the_buffer(pair: Pair) -> Pair {
    pair.cast_into_the_buffer(CASTS)
}

/// Items of the one stream.
const ITEMS: u64 = 16_384;

/// Of 4 KiB, which cost more.
const LARGE_ITEMS: u64 = 2_048;

/// Fewer than what the buffer holds.
const CASTS: u64 = 1_024;

library_benchmark_group!(name = whole, benchmarks = [call, take_items, cast_into_the_buffer]);

main!(library_benchmark_groups = whole);
