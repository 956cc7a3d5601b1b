//! How disk use goes on when the same orders are updated again and again: bytes of live data, bytes on disk, and their
//! ratio, as the updates go on; the same while callbacks come and are erased again, all but one in ten; and what a copy of
//! the live data into a fresh directory takes, which is what a backup brought back comes to. `RAZAO_CHURN_UPDATES` and
//! `RAZAO_CHURN_RECEIPTS` say how many; as a test it makes a few.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used)]

mod support;

use razao::clock::secret;
use razao::domain::ids::{ReceiptId, Reference};
use razao::domain::time::Time;
use razao::ledger::books::Books;
use razao::ledger::command::{Command, Verdict};
use razao::ledger::erasure::{ERASED_PER_COMMAND, Erasure};
use razao::store::engine::{Batch, Direction, Engine, Read};
use razao::store::sled::Durability;
use razao::store::slots;
use std::ops::Bound;
use std::path::Path;

const ORDERS: u64 = 1_000;
const UPDATES: u64 = 400_000;
const RECEIPTS: u64 = 200_000;
/// Of so many callbacks one stays.
const KEPT_ONE_IN: u64 = 10;
const GROUP: usize = 64;
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

fn wanted(name: &str, measured: u64, few: u64) -> u64 {
    let measures = std::env::args().any(|argument| argument == "--bench");
    let wanted = std::env::var(name).ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(if measures { measured } else { few })
}

fn main() {
    println!("{:>12}  {:>12}  {:>12}  {:>9}", "updates", "live bytes", "on disk", "factor");
    grown(|engine, books, dir| {
        let updates = wanted("RAZAO_CHURN_UPDATES", UPDATES, 2_000);
        in_groups(engine, books, dir, &(0..updates).collect::<Vec<_>>(), answer);
    });
    println!("{:>12}  {:>12}  {:>12}  {:>9}", "callbacks", "live bytes", "on disk", "factor");
    grown(|engine, books, dir| {
        let receipts = wanted("RAZAO_CHURN_RECEIPTS", RECEIPTS, 2_000);
        in_groups(engine, books, dir, &(0..receipts).collect::<Vec<_>>(), heard);
        let erased = (1..=receipts).filter(|id| !id.is_multiple_of(KEPT_ONE_IN)).map(ReceiptId);
        let erased: Vec<ReceiptId> = erased.collect();
        let slices: Vec<&[ReceiptId]> = erased.chunks(ERASED_PER_COMMAND).collect();
        println!("{:>12}", "bodies erased");
        in_groups(engine, books, dir, &slices, |ids| {
            Command::Erase(Box::new(Erasure { bodies: ids.to_vec(), ..Erasure::default() }))
        });
        println!("{:>12}", "callbacks erased");
        in_groups(engine, books, dir, &slices, |ids| {
            Command::Erase(Box::new(Erasure { receipts: ids.to_vec(), ..Erasure::default() }))
        });
    });
}

/// A callback that speaks of no order, so that nothing refers to it.
fn heard(number: u64) -> Command {
    let Command::Receive(received) = support::received(number) else { unreachable!() };
    Command::Receive(razao::ledger::command::Received { verdict: Verdict::Ignore, ..received })
}

/// A directory that something happened in, its copy, and itself after it was opened again.
fn grown(happens: impl Fn(&dyn Engine, &mut Books, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    let engine = slots::open(dir.path(), Durability::NoSync, secret).unwrap();
    let mut books = support::bear(&engine);
    happens(&engine, &mut books, dir.path());
    let fresh = tempfile::tempdir().unwrap();
    let copied = slots::open(fresh.path(), Durability::Full, secret).unwrap();
    copy(&engine, &copied);
    row("copied", &copied, fresh.path());
    drop(engine);
    let engine = slots::open(dir.path(), Durability::Full, secret).unwrap();
    row("opened anew", &engine, dir.path());
}

/// Carries out a command of each item, and measures on the way.
fn in_groups<T: Copy>(
    engine: &dyn Engine,
    books: &mut Books,
    dir: &Path,
    items: &[T],
    command: impl Fn(T) -> Command,
) {
    let groups = items.len().div_ceil(GROUP);
    let mut done = 0;
    for (group, items) in items.chunks(GROUP).enumerate() {
        let batch = support::batch(engine, books, items.iter().map(|item| command(*item)));
        engine.apply(&batch).unwrap();
        engine.sync().unwrap();
        done += items.len();
        if (group + 1).is_multiple_of((groups / 8).max(1)) {
            row(&done.to_string(), engine, dir);
        }
    }
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
