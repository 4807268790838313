//! The core by itself, in nanoseconds: the codec, a link, and a whole cast with its reply.
//!
//! `cargo bench -p rexi-proto --bench core`. These figures shake with the machine; what `instructions.rs`
//! counts does not.

mod pair;

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pair::{Pair, reply};
use rexi_proto::{LENGTH_BYTES, WireVersion, decode, encode};

fn codec(criterion: &mut Criterion) {
    let message = reply();
    let mut out = BytesMut::with_capacity(256);
    encode(WireVersion::V3, &message, 1 << 20, &mut out).expect("it is in the version");
    let frame = out.split().freeze();
    let mut group = criterion.benchmark_group("codec");
    group.bench_function("encode a reply of 64 B", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode(WireVersion::V3, black_box(&message), 1 << 20, &mut out)
        });
    });
    group.bench_function("decode a reply of 64 B", |bencher| {
        bencher.iter(|| decode(WireVersion::V3, black_box(&frame[LENGTH_BYTES..])));
    });
    group.finish();
}

fn cast(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cast and reply");
    for (name, bytes, batch) in
        [("64 B, one", 64, 1), ("64 B, 64 in a batch", 64, 64), ("4 KiB, 64 in a batch", 4_096, 64)]
    {
        let mut pair = Pair::new(bytes);
        group.throughput(Throughput::Elements(batch));
        group.bench_function(name, |bencher| bencher.iter(|| pair.round(batch)));
    }
    group.finish();
}

criterion_group!(benches, codec, cast);
criterion_main!(benches);
