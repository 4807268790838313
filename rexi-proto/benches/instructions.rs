//! The core by itself, in instructions, which do not shake with the machine: `.ci/run` holds them to a tolerance.
//!
//! `cargo bench -p rexi-proto --bench instructions`, with valgrind and a gungraun-runner of the same version.

#![allow(missing_docs, reason = "gungraun's macros make modules without any")]

mod pair;

use std::hint::black_box;

use bytes::BytesMut;
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig};
use pair::{Pair, reply};
use rexi_proto::{LENGTH_BYTES, Message, WireVersion, decode, encode};

fn encoded() -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    encode(WireVersion::V3, &reply(), 1 << 20, &mut out).expect("it is in the version");
    out
}

fn room() -> (Message, BytesMut) {
    (reply(), BytesMut::with_capacity(256))
}

/// Warm: what grows once has grown.
fn warm(bytes: usize) -> Pair {
    let mut pair = Pair::new(bytes);
    (0..4).for_each(|_| pair.round(64));
    pair
}

/// At most so many instructions: what was counted, and a tenth more, for other compilers and C libraries.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

#[library_benchmark(setup = room)]
#[bench::of_64_bytes(config = at_most(565))]
fn encode_a_reply((message, mut out): (Message, BytesMut)) -> BytesMut {
    encode(WireVersion::V3, black_box(&message), 1 << 20, &mut out).expect("it is in the version");
    out
}

#[library_benchmark(setup = encoded)]
#[bench::of_64_bytes(config = at_most(623))]
fn decode_a_reply(frame: BytesMut) -> Message {
    decode(WireVersion::V3, black_box(&frame[LENGTH_BYTES..])).expect("a frame")
}

#[library_benchmark(setup = warm)]
#[bench::of_64_bytes(args = (64), config = at_most(353_600))]
#[bench::of_4_kib(args = (4_096), config = at_most(1_080_700))]
fn cast_64_times(mut pair: Pair) -> Pair {
    pair.round(64);
    pair
}

library_benchmark_group!(name = core, benchmarks = [encode_a_reply, decode_a_reply, cast_64_times]);

main!(library_benchmark_groups = core);
