//! Balances as of a moment in the middle of a ledger, by running balances and by replay, and what the running balances
//! cost: keys and bytes an entry. `RAZAO_AS_OF_ENTRIES` says how long the ledger is.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used)]

mod support;

use razao::clock::SystemClock;
use razao::domain::ids::Seq;
use razao::ledger::writer::{Rim, Started, start};
use razao::store::engine::{Direction, Engine, Read, prefix};
use razao::store::keys;
use razao::store::sled::{Durability, Sled};
use std::sync::Arc;
use std::time::Instant;

const ENTRIES: u64 = 100_000;
const LOOKS: u32 = 1_000;

fn size(engine: &dyn Read, kind: u8) -> (usize, usize) {
    let (from, to) = prefix(&[kind]);
    let pairs = engine.scan(from, to, Direction::Up).map(Result::unwrap);
    pairs.fold((0, 0), |(count, bytes), (key, value)| (count + 1, bytes + key.len() + value.len()))
}

fn main() {
    let wanted = std::env::var("RAZAO_AS_OF_ENTRIES").ok().and_then(|text| text.parse().ok());
    let wanted: u64 = wanted.unwrap_or(ENTRIES);
    let dir = tempfile::tempdir().unwrap();
    let engine: Arc<dyn Engine> = Arc::new(Sled::open(dir.path(), Durability::Full).unwrap());
    let mut books = support::bear(&*engine);
    let mut number = 0;
    while books.meta.seq.0 < wanted {
        let batch = support::batch(&*engine, &mut books, (number..number + 64).map(support::paid));
        engine.apply(&batch).unwrap();
        number += 64;
    }
    engine.sync().unwrap();
    let entries = books.meta.seq.0;
    let (count, bytes) = size(&*engine, keys::RUNNING);
    let (_, ledger) = size(&*engine, keys::ENTRY);
    println!("{entries} entries, {ledger} bytes; {count} running balances, {bytes} bytes");
    let rim = Rim {
        engine,
        clock: Arc::new(SystemClock),
        free_bytes: Box::new(|| None),
        min_free_bytes: 0,
        acknowledge_before_sync: false,
    };
    let Started { handle, reader, thread } = start(rim, books).unwrap();
    let begun = Instant::now();
    for look in 0..LOOKS {
        let seq = Seq(1 + u64::from(look) * entries / u64::from(LOOKS));
        std::hint::black_box(reader.balances_as_of(seq).unwrap());
    }
    println!("as of a seq, by running balances: {:?}", begun.elapsed() / LOOKS);
    let begun = Instant::now();
    std::hint::black_box(reader.balances_replayed(Seq(entries / 2), |_| true).unwrap());
    println!("as of the middle, by replay: {:?}", begun.elapsed());
    drop(handle);
    thread.join().unwrap();
}
