//! Balances of any past moment: what the running balances say at every seq and time is what a replay says, also after a
//! migration; `verify` names every one that is wrong, missing or too many.

use crate::books::{Ledger, pay_out, seen, terms};
use crate::fold::dice::Dice;
use razao::daemon;
use razao::domain::balance::{Balances, Sides};
use razao::domain::ids::{AccountId, Seq};
use razao::domain::posting::{LedgerAccount, Purpose};
use razao::domain::state::Word;
use razao::domain::time::Time;
use razao::ledger::books::{Books, Group};
use razao::ledger::command::Command;
use razao::ledger::reader::Reader;
use razao::ledger::verify::verify;
use razao::store::engine::{Batch, Direction, Engine, Pair, prefix};
use razao::store::running::{self, PAGE_SEQS, Running};
use razao::store::{codec, entries, keys, meta};
use std::path::Path;
use std::sync::Arc;

/// Entries of a random ledger; `RAZAO_AS_OF_ENTRIES=100000` makes the first one longer.
const ENTRIES: u64 = 2_000;
/// Ids that begin with each other, so that a look beyond the end of one would find the next.
const ACCOUNTS: [&str; 4] = ["loja", "loja-b", "loja0", "l"];
const WORDS: [Word; 5] = [Word::Paid, Word::Completed, Word::Refunded, Word::Chargeback, Word::Expired];

/// An account has so many orders in a ledger of no great length.
pub const ORDERS: usize = 150;
/// Entries for each order of an account. An order's dates lie close together, so that its evidence is soon as much as is
/// kept, and what comes then is too old to move it: a longer ledger needs more orders.
const ENTRIES_PER_ORDER: u64 = 12;

pub fn command(dice: &mut Dice, orders: usize) -> Command {
    if dice.happens(50) {
        let nth = dice.below(orders + 50);
        return pay_out(&format!("TED-{nth}"), i64::try_from(nth).unwrap() + 1);
    }
    let reference = format!("PED-{}", dice.below(orders));
    let gross = i64::try_from(dice.between(1_000, 9_999)).unwrap();
    let refunded = dice.happens(300).then_some(gross / 3);
    let word = dice.happens(950).then(|| *dice.pick(&WORDS));
    let at = i64::try_from(dice.between(1, 50_000)).unwrap();
    let mut command = seen(&reference, word, Some(gross), refunded, at);
    if let Command::Record(record) = &mut command {
        record.terms.account = AccountId::parse(ACCOUNTS[dice.below(ACCOUNTS.len())]).unwrap();
    }
    command
}

/// A random ledger: several entries share a time of recording, and a group of commands a batch.
pub fn fill(engine: &dyn Engine, books: &mut Books, seed: u64, entries: u64) {
    let mut dice = Dice(seed);
    let orders = usize::try_from(entries / ENTRIES_PER_ORDER).unwrap().max(ORDERS);
    let mut now = Time(1_800_000_000_000_000);
    while books.meta.seq.0 < entries {
        now = Time(now.0 + i64::try_from(dice.below(3)).unwrap());
        let mut group = Group::new(engine, books, now);
        for _ in 0..=dice.below(20) {
            drop(group.execute(command(&mut dice, orders)).unwrap());
        }
        engine.apply(&group.finish().unwrap()).unwrap();
    }
    engine.sync().unwrap();
}

/// One replay walks along, and at every seq the reader is asked for all balances anew. Of times each different one is
/// looked up, and the moments right before and after it.
fn compare_with_a_replay(reader: &Reader, engine: &dyn Engine) {
    let mut replayed = Balances::default();
    let mut times = vec![];
    assert_eq!(reader.balances_as_of(Seq(0)).unwrap(), replayed, "before anything");
    for item in entries::range(engine, Seq(1), reader.head()) {
        let (seq, stored) = item.unwrap();
        replayed.post(&stored.entry);
        assert_eq!(reader.balances_as_of(seq).unwrap(), replayed, "as of {seq}");
        times.push(stored.entry.recorded_at);
    }
    let mut moments: Vec<Time> = times.iter().flat_map(|at| [-1, 0, 1].map(|by| Time(at.0 + by))).collect();
    moments.extend([Time(0), Time(i64::MAX)]);
    moments.sort_unstable();
    moments.dedup();
    for at in moments {
        let last = times.partition_point(|time| *time <= at);
        assert_eq!(reader.last_recorded(|time| time <= at).unwrap().0, last as u64, "as of {at}");
    }
}

fn pages(engine: &dyn Engine) -> Vec<Pair> {
    let (from, to) = prefix(&[keys::RUNNING]);
    engine.scan(from, to, Direction::Up).map(Result::unwrap).collect()
}

fn write(engine: &dyn Engine, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    change(&mut batch);
    engine.apply(&batch).unwrap();
    engine.sync().unwrap();
}

/// Takes the data back to the version that had no running balances, but for those that `keep` wants.
fn age(dir: &Path, keep: impl Fn(usize) -> bool) {
    let (engine, books) = daemon::open(dir).unwrap();
    let old = meta::Meta { data_version: 1, ..books.meta };
    write(&*engine, |batch| {
        let gone = pages(&*engine).into_iter().enumerate().filter(|(place, _)| !keep(*place));
        gone.for_each(|(_, (key, _))| batch.delete(key));
        meta::put(batch, &old).unwrap();
    });
}

#[test]
fn every_moment_is_what_a_replay_says() {
    let wanted = std::env::var("RAZAO_AS_OF_ENTRIES").ok().and_then(|text| text.parse().ok());
    for (seed, entries) in [(1, wanted.unwrap_or(ENTRIES)), (2, ENTRIES)] {
        let dir = tempfile::tempdir().unwrap();
        let (engine, mut books) = daemon::open(dir.path()).unwrap();
        fill(&*engine, &mut books, seed, entries);
        let ledger = Ledger::start(Arc::clone(&engine));
        assert!(ledger.reader.published().balances.0.len() > 15, "seed {seed}: too few ledger accounts");
        compare_with_a_replay(&ledger.reader, &*engine);
        ledger.stop();
        verify(&*engine, &mut |_, _| {}).unwrap();
    }
}

#[test]
fn data_without_running_balances_is_migrated_and_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut books) = daemon::open(dir.path()).unwrap();
    fill(&*engine, &mut books, 3, 1_200);
    let written = pages(&*engine);
    assert!(written.len() > 100, "only {} pages", written.len());
    drop(engine);
    // The second time as a migration leaves it that was cut off half-way.
    for kept in [0, written.len() / 2] {
        age(dir.path(), |place| place < kept);
        let (engine, migrated) = daemon::open(dir.path()).unwrap();
        assert_eq!(migrated.meta, books.meta);
        assert!(pages(&*engine) == written, "with {kept} kept, other running balances came of it");
        verify(&*engine, &mut |_, _| {}).unwrap();
    }
}

/// As data of version 4 has it: a key for each running balance, and no pages.
fn unpack(dir: &Path, keep_pages: usize) {
    let (engine, books) = daemon::open(dir).unwrap();
    let old = meta::Meta { data_version: 4, ..books.meta.clone() };
    write(&*engine, |batch| {
        for (ledger_account, currency) in books.balances.0.keys() {
            let first = Seq(keep_pages as u64 * PAGE_SEQS);
            for item in running::range(&*engine, ledger_account, *currency, first, books.meta.seq) {
                let (seq, sides) = item.unwrap();
                let name = format!("S{ledger_account}\0{currency}\0");
                let key = [name.as_bytes(), &seq.0.to_be_bytes()].concat();
                batch.put(key.clone(), codec::encode(&key, &sides).unwrap());
            }
        }
        let pages = pages(&*engine).into_iter().map(|(key, _)| key);
        let gone = pages.filter(|key| keys::page_of_running(key).unwrap() >= keep_pages as u64);
        gone.for_each(|key| batch.delete(key));
        meta::put(batch, &old).unwrap();
    });
}

#[test]
fn running_balances_with_a_key_each_are_moved_to_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut books) = daemon::open(dir.path()).unwrap();
    fill(&*engine, &mut books, 5, 1_200);
    let written = pages(&*engine);
    drop(engine);
    // The second time as it is left when it is cut off half-way.
    for kept in [0, 5] {
        unpack(dir.path(), kept);
        let (engine, migrated) = daemon::open(dir.path()).unwrap();
        assert_eq!(migrated.meta, books.meta);
        assert!(pages(&*engine) == written, "with {kept} kept, other pages came of it");
        let (from, to) = prefix(&[keys::RUNNING_BEFORE]);
        assert_eq!(engine.scan(from, to, Direction::Up).count(), 0);
        verify(&*engine, &mut |_, _| {}).unwrap();
    }
}

#[test]
fn a_wrong_a_missing_and_a_stray_running_balance_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut books) = daemon::open(dir.path()).unwrap();
    fill(&*engine, &mut books, 4, 300);
    let look = || verify(&*engine, &mut |_, _| {}).map(drop).map_err(|difference| difference.to_string());
    let set = |batch: &mut Batch, ledger_account: &LedgerAccount, seq: Seq, sides: Sides| {
        let mut running = Running::default();
        running.set(&*engine, ledger_account, terms().currency, seq, sides).unwrap();
        running.write(batch).unwrap();
    };
    let whole = pages(&*engine);
    let mend = || {
        write(&*engine, |batch| whole.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone())))
    };
    let (key, _) = whole[whole.len() / 2].clone();
    write(&*engine, |batch| batch.delete(key.clone()));
    assert!(look().unwrap_err().contains("running balance"), "{:?}", look());
    mend();
    let stray = LedgerAccount { account: terms().account, purpose: Purpose::Bank };
    write(&*engine, |batch| set(batch, &stray, Seq(1), Sides::default()));
    assert!(look().unwrap_err().contains("running balances"), "{:?}", look());
    write(&*engine, |batch| batch.delete(keys::running(&stray, terms().currency, 0)));
    let moved = entries::range(&*engine, Seq(130), books.meta.seq).map(|item| item.unwrap().1.entry);
    let entry = moved.into_iter().find(|entry| !entry.postings.is_empty()).unwrap();
    let moved = &entry.postings[0].ledger_account;
    write(&*engine, |batch| set(batch, moved, entry.seq, Sides::default()));
    assert!(look().unwrap_err().contains("it is not the sum of its entries"), "{:?}", look());
    mend();
    // One that no entry made.
    let missing = Seq(books.meta.seq.0 + 1);
    write(&*engine, |batch| set(batch, moved, missing, Sides::default()));
    assert!(look().unwrap_err().contains("running balances"), "{:?}", look());
    mend();
    look().unwrap();
}
