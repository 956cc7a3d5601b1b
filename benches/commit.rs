//! Group commit: commands per second by group size on the real engine, and beside it, in the same run, a plain file that
//! gets the same bytes appended with one `fdatasync` a group. Then callbacks, with their bodies sealed and in plain.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use razao::clock::secret;
use razao::store::engine::{Batch, Engine};
use razao::store::journaled::Journaled;
use razao::store::sled::Durability;
use razao::store::slots;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

fn bytes_of(batch: &Batch) -> Vec<u8> {
    batch.changes().flat_map(|(key, value)| [key, value.unwrap_or_default()].concat()).collect()
}

fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for size in [1u64, 8, 64, 256] {
        group.throughput(Throughput::Elements(size));
        let dir = tempfile::tempdir().unwrap();
        let engine = Journaled::open(dir.path(), Durability::Full).unwrap();
        let mut books = support::bear(&engine);
        let mut number = 0;
        group.bench_function(BenchmarkId::new("ledger", size), |bench| {
            bench.iter(|| {
                let commands = (number..number + size).map(support::paid);
                number += size;
                let batch = support::batch(&engine, &mut books, commands);
                engine.apply(&batch).unwrap();
                engine.sync().unwrap();
            });
        });
        let batch = support::batch(&engine, &mut books, (number..number + size).map(support::paid));
        let bytes = bytes_of(&batch);
        let mut file = File::create(dir.path().join("plain")).unwrap();
        group.bench_function(
            BenchmarkId::new(format!("plain file, {} bytes a command", bytes.len() as u64 / size), size),
            |bench| {
                bench.iter(|| {
                    file.write_all(&bytes).unwrap();
                    file.sync_data().unwrap();
                });
            },
        );
    }
    for size in [1u64, 64] {
        group.throughput(Throughput::Elements(size));
        let (plain, sealed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plain = Journaled::open(plain.path(), Durability::Full).unwrap();
        let sealed = slots::open(sealed.path(), Durability::Full, secret).unwrap();
        let both: [(&str, &dyn Engine); 2] = [("callbacks in plain", &plain), ("callbacks sealed", &sealed)];
        for (name, engine) in both {
            let mut books = support::bear(engine);
            let mut number = 0;
            group.bench_function(BenchmarkId::new(name, size), |bench| {
                bench.iter(|| {
                    engine.make_room().unwrap();
                    let commands = (number..number + size).map(support::received);
                    number += size;
                    let batch = support::batch(engine, &mut books, commands);
                    engine.apply(&batch).unwrap();
                    engine.sync().unwrap();
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
