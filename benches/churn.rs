//! How disk use goes on when the same orders are updated again and again: bytes of live data, bytes on disk, and their
//! ratio, as the updates go on; and what a copy of the live data into a fresh directory takes, which is what a backup
//! brought back comes to. `RAZAO_CHURN_UPDATES` says how many updates; as a test it makes a few.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used)]

mod support;

use razao::clock::secret;
use razao::domain::ids::Reference;
use razao::domain::time::Time;
use razao::ledger::command::Command;
use razao::store::engine::{Batch, Direction, Engine, Read};
use razao::store::sled::Durability;
use razao::store::slots;
use std::ops::Bound;
use std::path::Path;

const ORDERS: u64 = 1_000;
const UPDATES: u64 = 400_000;
const GROUP: u64 = 64;
const COPIED_BYTES: usize = 512 * 1024;

/// An answer about one of the orders: the same word, asked at another time. It moves the order, its next poll and what is
/// known of it, and adds an entry only the first time.
fn answer(number: u64) -> Command {
    let Command::Record(mut record) = support::paid(number) else { unreachable!() };
    for news in &mut record.news {
        news.reference = Reference::parse(&format!("PED-{:06}", number % ORDERS)).unwrap();
        news.provider_ref = None;
        let at = Time(1_000_000_000 + i64::try_from(number).unwrap() * 1_000_000);
        (news.piece.date, news.piece.asked) = (at, Some(at));
    }
    Command::Record(record)
}

fn live_bytes(engine: &dyn Read) -> u64 {
    let pairs = engine.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up).map(Result::unwrap);
    pairs.map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

fn row(what: &str, engine: &dyn Read, dir: &Path) {
    let (live, disk) = (live_bytes(engine), support::disk_bytes(dir));
    println!("{what:>12}  {live:>12}  {disk:>12}  {:>6}.{:02}", disk / live, disk * 100 / live % 100);
}

fn main() {
    let measures = std::env::args().any(|argument| argument == "--bench");
    let wanted = std::env::var("RAZAO_CHURN_UPDATES").ok().and_then(|text| text.parse().ok());
    let updates: u64 = wanted.unwrap_or(if measures { UPDATES } else { 2_000 });
    let dir = tempfile::tempdir().unwrap();
    let engine = slots::open(dir.path(), Durability::NoSync, secret).unwrap();
    let mut books = support::bear(&engine);
    println!("{:>12}  {:>12}  {:>12}  {:>9}", "updates", "live bytes", "on disk", "factor");
    let groups = updates.div_ceil(GROUP);
    for group in 0..groups {
        let first = group * GROUP;
        let batch = support::batch(&engine, &mut books, (first..first + GROUP).map(answer));
        engine.apply(&batch).unwrap();
        engine.sync().unwrap();
        if (group + 1).is_multiple_of((groups / 8).max(1)) {
            row(&(first + GROUP).to_string(), &engine, dir.path());
        }
    }
    let fresh = tempfile::tempdir().unwrap();
    let copied = slots::open(fresh.path(), Durability::Full, secret).unwrap();
    copy(&engine, &copied);
    row("copied", &copied, fresh.path());
    drop(engine);
    let engine = slots::open(dir.path(), Durability::Full, secret).unwrap();
    row("opened anew", &engine, dir.path());
}

fn copy(from: &dyn Read, to: &dyn Engine) {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    for pair in from.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up) {
        let (key, value) = pair.unwrap();
        bytes += key.len() + value.len();
        batch.put(key, value);
        if bytes >= COPIED_BYTES {
            to.apply(&std::mem::take(&mut batch)).unwrap();
            bytes = 0;
        }
    }
    to.apply(&batch).unwrap();
    to.sync().unwrap();
}
