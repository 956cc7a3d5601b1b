//! The journal over the database: whatever is written, wherever the power goes or a kill comes, what a sync promised is there
//! afterwards and nobody ever sees half of a batch; damage is told from a torn end.

use proptest::prelude::*;
use razao::store::engine::{Batch, Direction, Engine, EngineError, Read, Scan};
use razao::store::journaled::Journaled;
use razao::store::memory::Memory;
use razao::store::meta::{self, DATA_VERSION};
use razao::store::sled::{Durability, Sled};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tempfile::TempDir;

/// Small, so that a few batches fill it.
const WINDOW_BYTES: u64 = 512;

/// An engine that is filled a change at a time, each durable by itself, whose power goes after so many, and whose disk may
/// be full.
struct Pieces {
    below: Memory,
    left: AtomicU64,
    has_room: AtomicBool,
    panics: AtomicBool,
}

impl Pieces {
    fn new(below: Memory) -> Arc<Pieces> {
        let (left, has_room) = (AtomicU64::new(u64::MAX), AtomicBool::new(true));
        Arc::new(Pieces { below, left, has_room, panics: AtomicBool::new(false) })
    }

    fn one(&self, batch: &Batch) -> Result<(), EngineError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| EngineError { what: "the power is gone".to_owned() })?;
        self.below.apply(batch)?;
        self.below.sync()
    }
}

impl Read for Pieces {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.below.get(key)
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        self.below.scan(from, to, direction)
    }
}

impl Engine for Pieces {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        self.one(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.below.sync()
    }

    fn fill(&self, batch: &Batch, _breathe: &dyn Fn()) -> Result<(), EngineError> {
        assert!(!self.panics.load(Ordering::SeqCst), "as sled does on a truncated file");
        batch.changes().try_for_each(|(key, value)| {
            let mut piece = Batch::default();
            match value {
                Some(value) => piece.put(key.to_vec(), value.to_vec()),
                None => piece.delete(key.to_vec()),
            }
            self.one(&piece)
        })
    }

    fn make_room(&self) -> Result<bool, EngineError> {
        Ok(self.has_room.load(Ordering::SeqCst))
    }
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Changes = Vec<(u8, Option<u8>)>;

/// A journal's directory and the database below it, both of which a power cut leaves.
struct Place {
    dir: TempDir,
    pieces: Arc<Pieces>,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), pieces: Pieces::new(Memory::default()) }
    }

    fn open(&self) -> Journaled {
        let below: Arc<dyn Engine> = Arc::clone(&self.pieces) as _;
        Journaled::over(below, self.dir.path(), Durability::Full, WINDOW_BYTES).unwrap()
    }

    /// What is on the devices now; an engine that is dropped later changes it no more.
    fn after_power_cut(&self) -> Place {
        let dir = tempfile::tempdir().unwrap();
        // The journal first: the database may be ahead of it, never behind.
        copy(self.dir.path(), dir.path());
        Place { dir, pieces: Pieces::new(self.pieces.below.after_power_cut()) }
    }
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|file| file.path().is_file()) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn key(number: u8) -> Vec<u8> {
    vec![b'K', number]
}

fn batch(changes: &Changes) -> Batch {
    let mut batch = Batch::default();
    for (number, value) in changes {
        match value {
            Some(value) => batch.put(key(*number), vec![*value; 1 + usize::from(*value)]),
            None => batch.delete(key(*number)),
        }
    }
    batch
}

fn play(model: &mut Model, changes: &Changes) {
    for (key, value) in batch(changes).changes() {
        match value {
            Some(value) => model.insert(key.to_vec(), value.to_vec()),
            None => model.remove(key),
        };
    }
}

fn all(engine: &dyn Engine, direction: Direction) -> Vec<(Vec<u8>, Vec<u8>)> {
    engine.scan(Bound::Unbounded, Bound::Unbounded, direction).map(Result::unwrap).collect()
}

/// Everything that can be read is what the model says: both ways, in part, and key by key.
fn assert_same(engine: &dyn Engine, model: &Model) {
    let up: Vec<_> = model.clone().into_iter().collect();
    let down: Vec<_> = up.iter().rev().cloned().collect();
    assert_eq!(all(engine, Direction::Up), up);
    assert_eq!(all(engine, Direction::Down), down);
    for number in 0..=40 {
        assert_eq!(engine.get(&key(number)).unwrap(), model.get(&key(number)).cloned());
    }
    for (from, to) in [(3, 20), (10, 11), (7, 7), (0, 255)] {
        let bounds = (Bound::Excluded(key(from)), Bound::Included(key(to)));
        let expected: Vec<_> =
            up.iter().filter(|(one, _)| *one > key(from) && *one <= key(to)).cloned().collect();
        let found: Vec<_> = engine.scan(bounds.0, bounds.1, Direction::Up).map(Result::unwrap).collect();
        assert_eq!(found, expected, "from {from} to {to}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Changes),
    Sync,
    Checkpoint,
    /// The process ends in order and starts again.
    Restart,
    /// The power goes; the database may get only so many more changes until then.
    Cut(u64),
}

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((0u8..40, prop::option::weighted(0.8, any::<u8>())), 1..6)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => changes().prop_map(Step::Apply),
        6 => Just(Step::Sync),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
        2 => (0u64..30).prop_map(Step::Cut),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn what_was_synced_is_there_after_any_cut_and_nothing_in_half(steps in steps()) {
        let mut place = Place::new();
        let mut engine = place.open();
        // What was promised, and what each batch since would make of it.
        let (mut synced, mut seen) = (Model::new(), Model::new());
        for step in steps {
            match step {
                Step::Apply(changes) => {
                    engine.apply(&batch(&changes)).unwrap();
                    play(&mut seen, &changes);
                }
                Step::Sync => {
                    engine.sync().unwrap();
                    synced = seen.clone();
                }
                Step::Checkpoint => {
                    engine.checkpoint().unwrap();
                    synced = seen.clone();
                    prop_assert_eq!(
                        all(&place.pieces.below, Direction::Up).into_iter().filter(|(key, _)| key[0] == b'K').collect::<Model>(),
                        seen.clone()
                    );
                }
                Step::Restart => {
                    drop(engine);
                    engine = place.open();
                    synced = seen.clone();
                }
                Step::Cut(left) => {
                    place.pieces.left.store(left, Ordering::SeqCst);
                    // As much of it as the power lasts for.
                    let lasted = engine.sync().is_ok();
                    let _ = engine.checkpoint();
                    let after = place.after_power_cut();
                    drop(engine);
                    engine = after.open();
                    place = after;
                    // A sync that failed promised nothing, and may have been in time.
                    let found: Model = all(&engine, Direction::Up).into_iter().collect();
                    prop_assert!(found == seen || (!lasted && found == synced), "{:?}", found);
                    seen = found;
                    synced = seen.clone();
                }
            }
            assert_same(&engine, &seen);
        }
    }
}

/// A journal of some records with nothing in the database, and what is to be seen after each. Four fill its first window.
fn written(records: u8) -> (Place, Vec<Model>) {
    let place = Place::new();
    let engine = place.open();
    let mut models = vec![Model::new()];
    // The database takes nothing more, so everything stays in the journal.
    place.pieces.has_room.store(false, Ordering::SeqCst);
    for number in 0..records {
        let changes = vec![(number, Some(20 + number)), (39, Some(number)), (number / 2, None)];
        engine.apply(&batch(&changes)).unwrap();
        engine.sync().unwrap();
        let mut model = models.last().unwrap().clone();
        play(&mut model, &changes);
        models.push(model);
    }
    let cut = place.after_power_cut();
    drop(engine);
    (cut, models)
}

#[test]
fn a_journal_cut_anywhere_ends_with_a_whole_record() {
    let (place, models) = written(4);
    let file = place.dir.path().join("journal.0");
    let bytes = fs::read(&file).unwrap();
    let mut ends = Vec::new();
    for length in 0..=bytes.len() {
        // What is behind the cut may be nothing, zeros or rubbish.
        for filler in [None, Some(0), Some(0xA7)] {
            let cut = place.after_power_cut();
            let mut torn = bytes[..length].to_vec();
            torn.extend(filler.iter().cycle().take(bytes.len() - length));
            fs::write(cut.dir.path().join("journal.0"), torn).unwrap();
            let found: Model = all(&cut.open(), Direction::Up).into_iter().collect();
            let end = models.iter().position(|model| *model == found);
            ends.push(end.unwrap_or_else(|| panic!("cut at {length}: half of a record")));
        }
    }
    assert!(ends.windows(4).all(|ends| ends[0] <= ends[3]), "a longer journal knows more");
    assert_eq!((ends[0], *ends.last().unwrap()), (0, models.len() - 1));
}

#[test]
fn a_flipped_byte_in_the_journal_is_told_unless_it_is_in_the_last_record() {
    let (place, models) = written(4);
    let file = place.dir.path().join("journal.0");
    let bytes = fs::read(&file).unwrap();
    let [.., before, last] = models.as_slice() else { panic!("too few") };
    let (mut told, mut torn) = (0, 0);
    for place_of in 0..bytes.len() {
        let damaged = place.after_power_cut();
        let mut flipped = bytes.clone();
        flipped[place_of] ^= 0x10;
        fs::write(damaged.dir.path().join("journal.0"), flipped).unwrap();
        let below: Arc<dyn Engine> = Arc::clone(&damaged.pieces) as _;
        match Journaled::over(below, damaged.dir.path(), Durability::Full, WINDOW_BYTES) {
            Err(error) => {
                assert!(error.is_damage() && error.to_string().contains("razao restore"), "{error}");
                told += 1;
            }
            Ok(engine) => {
                let found: Model = all(&engine, Direction::Up).into_iter().collect();
                // Between records there are zeros that nobody reads.
                assert!(
                    found == *last || found == *before,
                    "byte {place_of}: another ledger passes as whole"
                );
                torn += usize::from(found == *before);
            }
        }
    }
    assert!(told > bytes.len() / 2, "only {told} of {} were told", bytes.len());
    assert!(torn > 0, "the last record cannot be told from a torn one");
}

#[test]
fn a_window_that_is_missing_or_of_another_database_is_damage() {
    let (place, models) = written(40);
    let [even, odd] = ["journal.0", "journal.1"].map(|name| fs::read(place.dir.path().join(name)).unwrap());
    assert!(!even.is_empty() && !odd.is_empty(), "two windows");
    let open = |place: &Place| {
        let below: Arc<dyn Engine> = Arc::clone(&place.pieces) as _;
        Journaled::over(below, place.dir.path(), Durability::Full, WINDOW_BYTES)
    };
    assert_eq!(all(&place.after_power_cut().open(), Direction::Up), {
        let last: Vec<_> = models.last().unwrap().clone().into_iter().collect();
        last
    });
    for (name, content) in [
        ("journal.0", None),
        ("journal.1", None),
        ("journal.0", Some(Vec::new())),
        ("journal.0", Some(odd.clone())),
        ("journal.1", Some(even.clone())),
        ("journal.0", Some(vec![0xA7; even.len()])),
    ] {
        let damaged = place.after_power_cut();
        let file = damaged.dir.path().join(name);
        match &content {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let told = open(&damaged).map(drop).expect_err(name).to_string();
        assert!(told.contains("journal") && told.contains("razao restore"), "{told}");
    }
    // A database that has lost its end: the journal is ahead of it.
    let later = Place::new();
    let engine = later.open();
    for number in 0..60u8 {
        engine.apply(&batch(&vec![(number % 40, Some(number))])).unwrap();
        engine.sync().unwrap();
    }
    drop(engine);
    let reset = Place { dir: tempfile::tempdir().unwrap(), pieces: Pieces::new(Memory::default()) };
    copy(later.dir.path(), reset.dir.path());
    assert!(open(&reset).is_err(), "a new database beside an old journal");
}

/// What is moved from the journal into the database meanwhile is always seen once, and in order.
#[test]
fn scans_miss_nothing_while_the_database_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let sled: Arc<dyn Engine> = Arc::new(Sled::open(dir.path(), Durability::Full).unwrap());
    let engine = Arc::new(Journaled::over(sled, &dir.path().join("db"), Durability::Full, 8 * 1024).unwrap());
    let number = |n: u32| [b"N".as_slice(), &n.to_be_bytes()].concat();
    let written = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for direction in [Direction::Up, Direction::Down] {
            let (engine, written, over) = (&engine, &written, &over);
            scope.spawn(move || {
                let mut rounds = 0;
                while !over.load(Ordering::SeqCst) || rounds < 3 {
                    let before = written.load(Ordering::SeqCst);
                    let found = all(&**engine, direction);
                    let mut keys: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
                    if direction == Direction::Down {
                        keys.reverse();
                    }
                    assert!(keys.is_sorted_by(|one, next| one < next), "in order and once");
                    for n in 0..u32::try_from(before).unwrap() {
                        assert!(keys.binary_search(&number(n)).is_ok(), "{n} of {before} is not seen");
                        assert!(engine.get(&number(n)).unwrap().is_some(), "{n} of {before} cannot be read");
                    }
                    rounds += 1;
                }
            });
        }
        for n in 0..2_000u32 {
            let mut batch = Batch::default();
            // Spread over the keys there are, as orders are.
            batch.put(number(n), vec![7; 100]);
            batch.put(b"head".to_vec(), n.to_be_bytes().to_vec());
            engine.apply(&batch).unwrap();
            engine.sync().unwrap();
            written.store(u64::from(n) + 1, Ordering::SeqCst);
        }
        over.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_database_without_room_is_said_so_and_goes_on_once_there_is_some() {
    let place = Place::new();
    let (engine, full) = (place.open(), Arc::clone(&place.pieces));
    full.has_room.store(false, Ordering::SeqCst);
    let mut model = Model::new();
    let mut rounds = 0;
    while engine.make_room().unwrap() {
        let changes = vec![(rounds % 40, Some(rounds))];
        engine.apply(&batch(&changes)).unwrap();
        engine.sync().unwrap();
        play(&mut model, &changes);
        rounds += 1;
        assert!(rounds < 200, "nobody says that there is no room");
    }
    engine.checkpoint().unwrap();
    assert_same(&engine, &model);
    assert!(full.below.get(&key(0)).unwrap().is_none(), "nothing is written where there is no room");
    full.has_room.store(true, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    while !engine.make_room().unwrap() {
        assert!(begun.elapsed().as_secs() < 20, "it does not go on");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    engine.checkpoint().unwrap();
    assert!(full.below.get(&key(0)).unwrap().is_some());
    assert_same(&engine, &model);
}

#[test]
fn a_database_that_panics_is_an_error_and_no_wait() {
    let place = Place::new();
    let engine = place.open();
    place.pieces.panics.store(true, Ordering::SeqCst);
    let mut model = Model::new();
    let (mut refused, mut perhaps) = (None, Model::new());
    for number in 0..250u8 {
        let changes = vec![(number % 40, Some(number))];
        match engine.apply(&batch(&changes)).and_then(|()| engine.sync()) {
            Ok(()) => play(&mut model, &changes),
            Err(error) if refused.is_none() => {
                refused = Some(error.to_string());
                perhaps = model.clone();
                play(&mut perhaps, &changes);
            }
            Err(_) => {}
        }
    }
    assert!(refused.is_some_and(|why| why.contains("panicked")), "nobody says so");
    assert!(engine.get(&key(0)).is_err() && engine.checkpoint().is_err());
    drop(engine);
    place.pieces.panics.store(false, Ordering::SeqCst);
    let found: Model = all(&place.open(), Direction::Up).into_iter().collect();
    // What was refused first may have been in the journal already.
    assert!(found == model || found == perhaps);
}

#[test]
fn a_start_without_room_for_what_the_journal_holds_harms_nothing() {
    let (place, models) = written(40);
    place.pieces.has_room.store(false, Ordering::SeqCst);
    let below: Arc<dyn Engine> = Arc::clone(&place.pieces) as _;
    let refused = Journaled::over(below, place.dir.path(), Durability::Full, WINDOW_BYTES).map(drop);
    let told = refused.unwrap_err();
    assert!(!told.is_damage() && told.to_string().contains("free space"), "{told}");
    place.pieces.has_room.store(true, Ordering::SeqCst);
    assert_same(&place.open(), models.last().unwrap());
}

/// An earlier program looks for the version in the database, and knows no journal.
#[test]
fn an_opened_directory_says_at_once_that_it_has_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let opened = razao::daemon::open(dir.path()).unwrap();
    let copied = tempfile::tempdir().unwrap();
    fs::create_dir(copied.path().join("db")).unwrap();
    copy(&dir.path().join("db"), &copied.path().join("db"));
    let raw = Sled::open(copied.path(), Durability::Full).unwrap();
    assert_eq!(meta::get(&raw).unwrap().unwrap().data_version, DATA_VERSION);
    drop(opened);
}
