//! Data written by earlier versions, kept in `tests/fixtures/data-versions`: opened, brought forward and verified, also when that is
//! cut off anywhere. `v2` was written by a daemon before there was sealing: five orders, their callbacks with a person's
//! name in them (one of 70 kB), metadata, an operator's reason, a kept answer. `v3` had a key for each receipt on the agenda:
//! six callbacks, of which five wait to be tried again, and an order. `v5` had a key for each entry, receipt and body in the
//! database, and was killed: events before and after a stop, the later ones in the journal alone; a body of 70 kB, an order with
//! metadata.

use razao::daemon;
use razao::domain::ids::{AccountId, OrderKey, ReceiptId, Reference};
use razao::ledger::verify::verify;
use razao::store::engine::{Batch, Direction, Engine, EngineError, Read, Scan, prefix};
use razao::store::memory::Memory;
use razao::store::meta::{self, DATA_VERSION};
use razao::store::sled::{Durability, Sled};
use razao::store::{agenda, keys, migrate, sealed};
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

const HEAD: &str = "cc8e6d783088babdfc05033376a665f719a9c9faece35cf83ab815f5d95342f6";
/// As far as JSON writes it without an escape.
const NAME: &str = "Maria Quit";

/// A copy of the data directory of an earlier version.
fn written_by(version: &str) -> TempDir {
    let from: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-versions").join(version);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("db")).unwrap();
    let names = ["head", "slots", "db/db", "db/conf", "db/journal.0", "db/journal.1"];
    for name in names.into_iter().filter(|name| from.join(name).exists()) {
        fs::copy(from.join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn names(bytes: &[u8]) -> bool {
    bytes.windows(NAME.len()).any(|window| window == NAME.as_bytes())
}

/// Every stored value that holds the name as it is.
fn in_plain(read: &dyn Read) -> usize {
    let pairs = read.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up);
    pairs.filter(|pair| names(&pair.as_ref().unwrap().1)).count()
}

fn assert_whole(engine: &dyn Engine) {
    let verified = verify(engine, &mut |_, _| {}).unwrap();
    assert_eq!((verified.head.to_hex().as_str(), verified.orders, verified.receipts), (HEAD, 6, 8));
    for id in 1..=verified.receipts {
        let body = sealed::body(engine, ReceiptId(id)).unwrap().unwrap();
        assert!(names(&body.bytes.0), "receipt {id}");
    }
    let reference = Reference::parse("PED-3").unwrap();
    let order = OrderKey::new(AccountId::parse("loja-picpay").unwrap(), reference);
    assert!(names(sealed::metadata(engine, &order).unwrap().unwrap().as_bytes()));
}

#[test]
fn data_of_version_2_is_sealed_and_comes_to_the_same() {
    let dir = written_by("v2");
    let before = Sled::open(dir.path(), Durability::Full).unwrap();
    assert!(in_plain(&before) >= 14, "this check can fail: {}", in_plain(&before));
    drop(before);
    for _ in 0..2 {
        let (engine, books) = daemon::open(dir.path()).unwrap();
        assert_eq!(books.meta.data_version, DATA_VERSION);
        assert_whole(&*engine);
    }
    let after = Sled::open(dir.path(), Durability::Full).unwrap();
    assert_eq!(in_plain(&after), 0, "no value is left in plain");
}

#[test]
fn what_waited_in_data_of_version_3_still_waits() {
    let dir = written_by("v3");
    let before = Sled::open(dir.path(), Durability::Full).unwrap();
    let (low, high) = prefix(&[keys::AGENDA_BEFORE]);
    assert_eq!(before.scan(low.clone(), high.clone(), Direction::Up).count(), 5, "this check can fail");
    drop(before);
    for _ in 0..2 {
        let (engine, books) = daemon::open(dir.path()).unwrap();
        assert_eq!(books.meta.data_version, DATA_VERSION);
        assert_eq!((books.queue.retrying, books.queue.failed), (5, 1));
        let waiting: Vec<ReceiptId> = agenda::unprocessed(&*engine).map(Result::unwrap).collect();
        assert_eq!(waiting, [1, 2, 3, 4, 5].map(ReceiptId));
        assert_eq!(engine.scan(low.clone(), high.clone(), Direction::Up).count(), 0);
        let verified = verify(&*engine, &mut |_, _| {}).unwrap();
        assert_eq!((verified.entries, verified.receipts), (1, 6));
    }
}

#[test]
fn data_of_version_5_comes_onto_pages() {
    let dir = written_by("v5");
    let before = Sled::open(dir.path(), Durability::Full).unwrap();
    let named = |read: &dyn Read| {
        let count = |kind: &[u8]| {
            let (low, high) = prefix(kind);
            read.scan(low, high, Direction::Up).count()
        };
        keys::PAGED.map(count)
    };
    // Bodies, one of them of two chunks, entries, receipts, their events.
    assert_eq!(named(&before), [11, 17, 0, 0, 10, 0, 0, 8], "what is in the journal is not in the database");
    drop(before);
    for _ in 0..2 {
        let (engine, books) = daemon::open(dir.path()).unwrap();
        assert_eq!((books.meta.data_version, books.meta.seq.0), (DATA_VERSION, 27));
        assert_eq!(named(&*engine), [17, 27, 0, 0, 16, 0, 0, 13]);
        let verified = verify(&*engine, &mut |_, _| {}).unwrap();
        assert_eq!((verified.orders, verified.receipts), (14, 16));
        assert_eq!(
            verified.head.to_hex(),
            "3d165d2b7248baf66cdb5cbeafe975715aaab49b5727821724f8485e2f8e6d92"
        );
        let body = sealed::body(&*engine, ReceiptId(9)).unwrap().unwrap();
        assert!(body.bytes.0.len() > 70_000 && body.bytes.0.ends_with(b"xx\"}"));
    }
    let after = Sled::open(dir.path(), Durability::Full).unwrap();
    assert_eq!(named(&after), [0; 8], "none is left under its own name");
}

/// An engine that takes only so many batches.
struct Ending<'a> {
    below: &'a Memory,
    left: AtomicU64,
}

impl Read for Ending<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.below.get(key)
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        self.below.scan(from, to, direction)
    }
}

impl Engine for Ending<'_> {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| EngineError { what: "the power is gone".to_owned() })?;
        self.below.apply(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.below.sync()
    }
}

#[test]
fn a_migration_that_is_cut_off_anywhere_goes_on_with_the_next_start() {
    let dir = written_by("v2");
    let sled = Sled::open(dir.path(), Durability::Full).unwrap();
    let original = Memory::default();
    let mut all = Batch::default();
    for pair in sled.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up) {
        let (key, value) = pair.unwrap();
        all.put(key, value);
    }
    original.apply(&all).and_then(|()| original.sync()).unwrap();
    for batches in 0.. {
        let copy = original.after_power_cut();
        let ending = Ending { below: &copy, left: AtomicU64::new(batches) };
        let done = migrate::forward(&ending, meta::get(&copy).unwrap().unwrap(), &mut |_, _| {}).is_ok();
        let left = copy.after_power_cut();
        migrate::forward(&left, meta::get(&left).unwrap().unwrap(), &mut |_, _| {}).unwrap();
        assert_eq!(meta::get(&left).unwrap().unwrap().data_version, DATA_VERSION);
        assert_whole(&left);
        if done {
            assert!(batches >= 3, "{batches} batches");
            return;
        }
    }
}

#[test]
fn every_kind_that_can_be_erased_is_in_the_table() {
    for kind in keys::erasable() {
        assert!(keys::is_erasable(&[kind.as_slice(), &[0; 40]].concat()), "{kind:?}");
    }
}
