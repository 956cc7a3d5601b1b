//! A copy that is taken while the ledger goes on is the ledger of one commit, whatever was written in between; and a frozen
//! view of it does not move.

use crate::books::{Ledger, lives, newborn, receive, register};
use proptest::prelude::*;
use razao::backup::copy::Shelf;
use razao::backup::feed::{Feed, Item, Live, Received, send};
use razao::backup::manifest::Manifest;
use razao::backup::segment::{Merge, Segment};
use razao::backup::{BackupError, restore};
use razao::domain::ids::{ReceiptId, Seq};
use razao::domain::time::Time;
use razao::ledger::command::Reply;
use razao::ledger::verify::verify;
use razao::store::engine::{Batch, Direction, Engine, Read};
use razao::store::frozen::Frozen;
use razao::store::memory::Memory;
use razao::store::meta::{self, Meta};
use razao::store::{entries, keys, receipts};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn content(read: &dyn Read, direction: Direction) -> Vec<(Vec<u8>, Vec<u8>)> {
    read.scan(Bound::Unbounded, Bound::Unbounded, direction).map(Result::unwrap).collect()
}

/// What a backup's files say, read as a restore reads them.
fn kept(dir: &Path) -> Map {
    let manifest = Manifest::read(dir).unwrap().unwrap();
    let segments = manifest.files.iter().map(|note| {
        let path = dir.join(&note.name);
        Segment::of(File::open(&path).unwrap(), path, note).unwrap()
    });
    let merge = Merge::of(segments.collect()).unwrap().map(Result::unwrap);
    merge.filter_map(|merged| Some((merged.key, merged.value?))).collect()
}

fn take(shelf: &mut Shelf, feed: &mut dyn Feed) {
    shelf.take(feed, &|| Time(1), &mut |_| {}).unwrap();
}

/// Writes from several threads while `act` runs.
fn beside_writers(ledger: &Ledger, act: impl FnOnce(&AtomicU64)) {
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (done, acknowledged) = (&done, &acknowledged);
            scope.spawn(move || {
                for number in 0.. {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    ledger.submit(register(&format!("T{thread}-{}", number % 500), 100)).unwrap();
                    let reply = ledger.submit(receive("a body")).unwrap();
                    let Reply::Received { id: ReceiptId(id), .. } = reply else { panic!("{reply:?}") };
                    acknowledged.fetch_max(id, Ordering::SeqCst);
                }
            });
        }
        act(&acknowledged);
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn copies_beside_a_busy_writer_are_each_the_ledger_of_one_commit() {
    let ledger = Ledger::start(newborn());
    lives().into_iter().for_each(|command| drop(ledger.then(command)));
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::open(&dir.path().join("backup")).unwrap();
    beside_writers(&ledger, |acknowledged| {
        for round in 0..4 {
            let (head, receipt) = (ledger.reader.head(), acknowledged.load(Ordering::SeqCst));
            let mut live = Live::new(&ledger.reader, shelf.since().as_ref(), false, || false).unwrap();
            // Every other one as the control socket carries it.
            if round % 2 == 0 {
                take(&mut shelf, &mut live);
            } else {
                let mut wire = Vec::new();
                send(&mut live, &mut wire).unwrap();
                take(&mut shelf, &mut Received(wire.as_slice()));
            }
            let manifest = shelf.manifest().unwrap().clone();
            let data = dir.path().join(format!("data-{round}"));
            let verified = restore::restore(&dir.path().join("backup"), &data, &mut |_, _, _| {}).unwrap();
            assert_eq!(verified.head.to_hex(), manifest.head_hash);
            assert!(Seq(verified.entries) >= head && verified.receipts >= receipt);
            let (engine, _) = razao::daemon::open(&data).unwrap();
            assert!(receipt == 0 || receipts::get(&*engine, ReceiptId(receipt)).unwrap().is_some());
            let seq = Seq(manifest.seq_to);
            let (ours, theirs) = (ledger.reader.entry(seq).unwrap(), entries::get(&*engine, seq).unwrap());
            assert_eq!(ours, theirs);
        }
    });
    ledger.stop();
}

/// A feed without what was written during its walk.
struct Forgetful<'a>(Live, &'a mut u64);

impl Feed for Forgetful<'_> {
    fn next(&mut self) -> Result<Option<Item>, BackupError> {
        loop {
            match self.0.next()? {
                Some(Item::Delta { .. }) => *self.1 += 1,
                other => return Ok(other),
            }
        }
    }
}

#[test]
fn a_copy_that_forgets_what_was_written_meanwhile_is_noticed() {
    let ledger = Ledger::start(newborn());
    lives().into_iter().for_each(|command| drop(ledger.then(command)));
    let mut noticed = false;
    beside_writers(&ledger, |_| {
        for _ in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let (backup, data) = (dir.path().join("backup"), dir.path().join("data"));
            let mut forgotten = 0;
            let live = Live::new(&ledger.reader, None, false, || false).unwrap();
            take(&mut Shelf::open(&backup).unwrap(), &mut Forgetful(live, &mut forgotten));
            let restored = restore::restore(&backup, &data, &mut |_, _, _| {});
            assert!(restored.is_ok() || forgotten > 0);
            noticed = restored.is_err();
            if noticed {
                return;
            }
        }
    });
    assert!(noticed, "the checks above must be able to fail");
    ledger.stop();
}

#[test]
fn a_copy_of_a_resting_ledger_is_all_of_it_and_again_nothing() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    lives().into_iter().for_each(|command| drop(ledger.then(command)));
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::open(dir.path()).unwrap();
    take(&mut shelf, &mut Live::new(&ledger.reader, None, false, || false).unwrap());
    let all: Map = content(&*engine, Direction::Up).into_iter().collect();
    assert_eq!(kept(dir.path()), all);
    let since = shelf.since();
    let mut again = Live::new(&ledger.reader, since.as_ref(), false, || false).unwrap();
    let told = shelf.take(&mut again, &|| Time(2), &mut |_| {}).unwrap();
    assert_eq!((told.new_records, told.new_bytes), (0, 0));
    assert_eq!(kept(dir.path()), all);
    // A ledger that has entries of its own from some seq on is no continuation.
    let mut other = since.unwrap();
    other.hash = "00".repeat(32);
    assert!(matches!(
        Live::new(&ledger.reader, Some(&other), false, || false),
        Err(BackupError::OtherHistory(_))
    ));
    other.database = "00".repeat(16);
    assert!(matches!(
        Live::new(&ledger.reader, Some(&other), false, || false),
        Err(BackupError::OtherLedger)
    ));
    ledger.stop();
}

#[test]
fn what_was_erased_stays_in_no_file_of_the_next_backup() {
    const BODY: &str = "Maria da Silva, 123.456.789-00";
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    ledger.submit(receive("another one")).unwrap();
    let Reply::Received { id, .. } = ledger.submit(receive(BODY)).unwrap() else { panic!() };
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::open(dir.path()).unwrap();
    let found = || {
        let files = fs::read_dir(dir.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        files.flat_map(|bytes| String::from_utf8_lossy(&bytes).into_owned().into_bytes()).collect::<Vec<_>>()
    };
    let holds = |text: &str| found().windows(text.len()).any(|window| window == text.as_bytes());
    take(&mut shelf, &mut Live::new(&ledger.reader, None, false, || false).unwrap());
    assert!(holds(BODY), "this check must be able to find it");
    let mut erasure = Batch::default();
    erasure.delete(keys::body(id, 0));
    engine.apply(&erasure).unwrap();
    engine.sync().unwrap();
    let since = shelf.since();
    take(&mut shelf, &mut Live::new(&ledger.reader, since.as_ref(), false, || false).unwrap());
    assert!(!holds(BODY) && holds("another one"));
    assert_eq!(kept(dir.path()), content(&*engine, Direction::Up).into_iter().collect());
    ledger.stop();
}

#[test]
fn a_frozen_view_does_not_move() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    lives().into_iter().for_each(|command| drop(ledger.then(command)));
    beside_writers(&ledger, |_| {
        for _ in 0..5 {
            let frozen = ledger.reader.frozen();
            let verified = verify(&*frozen, &mut |_, _| {}).unwrap();
            let first = content(&*frozen, Direction::Up);
            let mut down = content(&*frozen, Direction::Down);
            down.reverse();
            assert_eq!(first, down);
            assert_eq!(verify(&*frozen, &mut |_, _| {}).unwrap(), verified);
            for (key, value) in first.iter().step_by(7) {
                assert_eq!(frozen.get(key).unwrap().as_ref(), Some(value));
            }
        }
    });
    ledger.stop();
}

#[test]
fn a_view_that_was_given_up_is_no_difference() {
    let ledger = Ledger::start(newborn());
    lives().into_iter().for_each(|command| drop(ledger.then(command)));
    let frozen = ledger.reader.frozen();
    assert_eq!(frozen.given_up(), None);
    ledger.reader.thaw("the daemon is stopping");
    assert!(verify(&*frozen, &mut |_, _| {}).is_err());
    assert_eq!(frozen.given_up().as_deref(), Some("the daemon is stopping"));
    ledger.stop();
}

proptest! {
    /// Whatever is written after it, in pages that are full or not, with bounds of every form.
    #[test]
    fn a_frozen_view_is_the_map_it_was(
        before in prop::collection::btree_map(0..2000u16, 0..9u8, 0..1500),
        after in prop::collection::vec((0..2000u16, prop::option::of(0..9u8)), 0..400),
        from in 0..2000u16,
        to in 0..2000u16,
    ) {
        let engine = Arc::new(Memory::default());
        let mut batch = Batch::default();
        let key = |number: u16| number.to_be_bytes().to_vec();
        before.iter().for_each(|(number, value)| batch.put(key(*number), vec![*value]));
        engine.apply(&batch).unwrap();
        let frozen = Frozen::new(Arc::clone(&engine) as Arc<dyn Engine>);
        for (number, value) in after {
            let mut batch = Batch::default();
            match value {
                Some(value) => batch.put(key(number), vec![value]),
                None => batch.delete(key(number)),
            }
            frozen.note(&batch);
            engine.apply(&batch).unwrap();
        }
        let expected: Vec<_> = before.iter().map(|(number, value)| (key(*number), vec![*value])).collect();
        prop_assert_eq!(&content(&frozen, Direction::Up), &expected);
        let (low, high) = (from.min(to), from.max(to));
        let within = |(number, _): &(&u16, &u8)| **number > low && **number <= high;
        let expected: Vec<_> =
            before.iter().filter(within).map(|(number, value)| (key(*number), vec![*value])).rev().collect();
        let found = frozen.scan(Bound::Excluded(key(low)), Bound::Included(key(high)), Direction::Down);
        prop_assert_eq!(found.map(Result::unwrap).collect::<Vec<_>>(), expected);
    }
}

/// A feed that says what it was told to.
struct Script(VecDeque<Item>);

impl Feed for Script {
    fn next(&mut self) -> Result<Option<Item>, BackupError> {
        Ok(self.0.pop_front())
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8, u16, u8),
    Delete(u8, u16),
}

/// Entries are numbered from 1.
fn change() -> impl Strategy<Value = Change> {
    let kind = prop::sample::select(vec![b'O', b'B', b'E', b'T']);
    prop_oneof![
        3 => (kind.clone(), 1..60u16, 0..9u8).prop_map(|(kind, number, value)| Change::Put(kind, number, value)),
        1 => (kind, 1..60u16).prop_map(|(kind, number)| Change::Delete(kind, number)),
    ]
}

fn head(seq: u64) -> (Vec<u8>, Vec<u8>) {
    let mut batch = Batch::default();
    meta::put(&mut batch, &Meta { seq: Seq(seq), ..Meta::newborn([7; 16]) }).unwrap();
    let (key, value) = batch.changes().next().unwrap();
    (key.to_vec(), value.unwrap().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Followed through many points, then compared anew: the files always say what the map says, and stay few.
    #[test]
    fn files_say_what_the_feed_said(
        points in prop::collection::vec(prop::collection::vec(change(), 1..30), 1..60),
        lost in prop::collection::vec(change(), 0..30),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path()).unwrap();
        let key = |kind: u8, number: u16| [&[kind][..], &u64::from(number).to_be_bytes()].concat();
        let mut model = Map::new();
        let mut items = VecDeque::from([Item::Begin { beyond: Seq(0) }, Item::BaseEnd]);
        for (seq, changes) in points.iter().enumerate() {
            let mut run = BTreeMap::from([(head(0).0, Some(head(seq as u64).1))]);
            for change in changes {
                match change {
                    Change::Put(kind, number, value) => run.insert(key(*kind, *number), Some(vec![*value])),
                    Change::Delete(kind, number) => run.insert(key(*kind, *number), None),
                };
            }
            for (key, value) in &run {
                match value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            items.push_back(Item::Cut);
            items.extend(run.into_iter().map(|(key, value)| Item::Delta { key, value }));
            items.extend([Item::Cut, Item::Point]);
        }
        take(&mut shelf, &mut Script(items));
        prop_assert_eq!(&kept(dir.path()), &model);
        prop_assert!(shelf.manifest().unwrap().files.len() <= 3 * 17, "{:?}", shelf.manifest());
        // What nobody told of is found by the next walk.
        for change in lost {
            match change {
                Change::Put(kind, number, value) => model.insert(key(kind, number), vec![value]),
                Change::Delete(kind, number) => model.remove(&key(kind, number)),
            };
        }
        drop(shelf);
        let mut shelf = Shelf::open(dir.path()).unwrap();
        let mut items = VecDeque::from([Item::Begin { beyond: Seq(0) }]);
        items.extend(model.iter().map(|(key, value)| Item::Base { key: key.clone(), value: value.clone() }));
        items.extend([Item::BaseEnd, Item::Cut, Item::Point]);
        take(&mut shelf, &mut Script(items));
        prop_assert_eq!(&kept(dir.path()), &model);
    }

    /// Whatever bytes stand where a backup's should: an error, and no panic.
    #[test]
    fn readers_take_no_bytes_for_granted(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0..23usize) {
        let dir = tempfile::tempdir().unwrap();
        prop_assert!(Manifest::parse(&bytes, dir.path()).is_err());
        let magic = b"razao backup segment 1\n";
        let path = dir.path().join("segment");
        fs::write(&path, [&magic[..magic.len() - cut], &bytes].concat()).unwrap();
        let note = razao::backup::manifest::FileNote {
            name: "segment".to_owned(), kind: "*".to_owned(), records: 1, bytes: 0, blake3: String::new(),
        };
        if let Ok(segment) = Segment::of(File::open(&path).unwrap(), path.clone(), &note) {
            prop_assert!(segment.last().is_none_or(|last| last.is_err()));
        }
        let mut received = Received(bytes.as_slice());
        while let Ok(Some(_)) = received.next() {}
    }
}

#[test]
fn a_manifest_of_files_beyond_all_measure_is_refused() {
    let ledger = Ledger::start(newborn());
    let dir = tempfile::tempdir().unwrap();
    take(
        &mut Shelf::open(dir.path()).unwrap(),
        &mut Live::new(&ledger.reader, None, false, || false).unwrap(),
    );
    ledger.stop();
    let mut manifest = Manifest::read(dir.path()).unwrap().unwrap();
    let mut note = manifest.files[0].clone();
    (note.records, note.bytes) = (u64::MAX, u64::MAX);
    manifest.files = vec![note.clone(), note];
    manifest.write(dir.path()).unwrap();
    let refused = restore::restore(dir.path(), &dir.path().join("data"), &mut |_, _, _| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged { .. }), "{refused}");
}
