//! Stored values: encoding and decoding an entry with its order, and hashing its canonical form.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use razao::domain::chain;
use razao::store::codec::{decode, encode};
use razao::store::entries::StoredEntry;
use razao::store::keys;
use std::hint::black_box;

fn codec(criterion: &mut Criterion) {
    let stored = support::an_entry();
    let key = keys::entry(stored.entry.seq);
    let bytes = encode(&key, &stored).unwrap();
    let mut group = criterion.benchmark_group("codec");
    group.throughput(criterion::Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode entry", |bench| bench.iter(|| encode(black_box(&key), black_box(&stored))));
    group.bench_function("decode entry", |bench| {
        bench.iter(|| decode::<StoredEntry>(black_box(&key), black_box(&bytes)));
    });
    group
        .bench_function("hash canonical entry", |bench| bench.iter(|| chain::hash(black_box(&stored.entry))));
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
