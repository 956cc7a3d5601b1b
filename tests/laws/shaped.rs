//! Pages and pieces: what lies below is a function of what stands above, whatever was written, in which order, and wherever it
//! was cut off; whoever reads meanwhile finds each value as it was or as it is; and no twenty neighbours are too large.

use proptest::prelude::*;
use razao::store::engine::{Batch, Direction, Engine, EngineError, Read, Scan, prefix};
use razao::store::memory::Memory;
use razao::store::shaped::Shaped;
use razao::store::sled::{Durability, Sled};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What sled writes into a file of its own.
const TOO_LARGE: usize = 128 * 1024;
/// A leaf of sled's holds up to 16, and a few more between a merge and the next split.
const NEIGHBOURS: usize = 20;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// An engine that takes so many single changes, each durable by itself, until its power goes.
struct Single {
    below: Memory,
    left: AtomicU64,
    has_room: AtomicBool,
}

impl Single {
    fn over(below: Memory, left: u64) -> Arc<Single> {
        Arc::new(Single { below, left: AtomicU64::new(left), has_room: AtomicBool::new(true) })
    }
}

impl Read for Single {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.below.get(key)
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        self.below.scan(from, to, direction)
    }
}

impl Engine for Single {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| EngineError { what: "the power is gone".to_owned() })?;
        self.below.apply(batch)?;
        self.below.sync()
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.below.sync()
    }

    fn fill(&self, batch: &Batch, _breathe: &dyn Fn()) -> Result<(), EngineError> {
        batch.changes().try_for_each(|(key, change)| self.apply(&one(key, change)))
    }

    fn make_room(&self) -> Result<bool, EngineError> {
        Ok(self.has_room.load(Ordering::SeqCst))
    }
}

fn one(key: &[u8], change: Option<&[u8]>) -> Batch {
    let mut batch = Batch::default();
    match change {
        Some(value) => batch.put(key.to_vec(), value.to_vec()),
        None => batch.delete(key.to_vec()),
    }
    batch
}

fn batch(changes: &Changes) -> Batch {
    let mut batch = Batch::default();
    changes.iter().for_each(|(key, change)| batch.absorb(&one(key, change.as_deref())));
    batch
}

fn play(model: &mut Model, changes: &Changes) {
    for (key, change) in changes {
        match change {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn everything(read: &dyn Read, direction: Direction) -> Vec<(Vec<u8>, Vec<u8>)> {
    read.scan(Bound::Unbounded, Bound::Unbounded, direction).map(Result::unwrap).collect()
}

/// What lies below an engine that was given the model at once.
fn laid(model: &Model) -> Vec<(Vec<u8>, Vec<u8>)> {
    let below = Arc::new(Memory::default());
    let changes = model.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    Shaped::over(Arc::clone(&below) as _).unwrap().fill(&batch(&changes), &|| ()).unwrap();
    everything(&*below, Direction::Up)
}

fn numbered(kind: u8, number: u64) -> Vec<u8> {
    [&[kind], number.to_be_bytes().as_slice()].concat()
}

/// Keys of kinds on pages and of others, few enough to meet again; around the ends of pages, and at the end of all numbers.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![0u64..20, (u64::MAX - 10)..=u64::MAX];
    prop_oneof![
        (prop::sample::select(b"ERYe".to_vec()), number.clone())
            .prop_map(|(kind, number)| numbered(kind, number)),
        (number, 0u8..3).prop_map(|(number, chunk)| [numbered(b'B', number), vec![chunk]].concat()),
        (0u8..3, 0u8..12).prop_map(|(request, chunk)| [b"Ib".as_slice(), &[request; 32], &[chunk]].concat()),
        (prop::sample::select(b"AFIJKLOVWXbf".to_vec()), 0u8..4)
            .prop_map(|(kind, name)| vec![kind, b'k', name]),
        prop::sample::select(b"EBKRWYe".to_vec()).prop_map(|kind| vec![kind]),
    ]
}

/// Of every size that matters: empty, on a page, just not, and in pieces, up to the largest that the codec writes.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        6 => 0usize..300,
        2 => 595usize..605,
        2 => prop::sample::select(vec![4095, 4096, 4097, 8192, 20_000, 65_536]),
    ];
    (any::<u8>(), length).prop_map(|(byte, length)| vec![byte; length])
}

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((key(), prop::option::weighted(0.7, value())), 1..12)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    let cut = (key(), 0usize..12).prop_map(|(key, length)| key[..key.len().min(length.max(1))].to_vec());
    let place = prop_oneof![key(), cut];
    prop_oneof![
        1 => Just(Bound::Unbounded),
        3 => place.clone().prop_map(Bound::Included),
        3 => place.prop_map(Bound::Excluded),
    ]
}

fn within(model: &Model, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let after = |key: &Vec<u8>| match from {
        Bound::Included(from) => key >= from,
        Bound::Excluded(from) => key > from,
        Bound::Unbounded => true,
    };
    let before = |key: &Vec<u8>| match to {
        Bound::Included(to) => key <= to,
        Bound::Excluded(to) => key < to,
        Bound::Unbounded => true,
    };
    let pairs = model.iter().filter(|(key, _)| after(key) && before(key));
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn assert_small(pairs: &[(Vec<u8>, Vec<u8>)]) {
    for neighbours in pairs.windows(NEIGHBOURS.min(pairs.len().max(1))) {
        let bytes: usize = neighbours.iter().map(|(key, value)| key.len() + value.len() + 16).sum();
        assert!(bytes < TOO_LARGE, "{bytes} bytes from {:?} on", neighbours[0].0);
    }
}

proptest! {
    #[test]
    fn it_reads_as_what_was_written(
        batches in prop::collection::vec((changes(), any::<bool>()), 1..8),
        bounds in prop::collection::vec((bound(), bound()), 8),
    ) {
        let below = Arc::new(Memory::default());
        let shaped = Shaped::over(Arc::clone(&below) as _).unwrap();
        let mut model = Model::new();
        for (changes, at_once) in &batches {
            if *at_once {
                shaped.apply(&batch(changes)).and_then(|()| shaped.sync()).unwrap();
            } else {
                shaped.fill(&batch(changes), &|| ()).unwrap();
            }
            play(&mut model, changes);
            for (key, _) in changes {
                prop_assert_eq!(shaped.get(key).unwrap(), model.get(key).cloned());
            }
        }
        for (from, to) in [(Bound::Unbounded, Bound::Unbounded)].into_iter().chain(bounds) {
            let expected = within(&model, &from, &to);
            let mut found: Vec<_> =
                shaped.scan(from.clone(), to.clone(), Direction::Up).map(Result::unwrap).collect();
            prop_assert_eq!(&found, &expected);
            found = shaped.scan(from, to, Direction::Down).map(Result::unwrap).collect();
            found.reverse();
            prop_assert_eq!(&found, &expected);
        }
        let lies = everything(&*below, Direction::Up);
        prop_assert_eq!(&lies, &laid(&model));
    }

    #[test]
    fn cut_off_anywhere_and_written_again_it_comes_to_the_same(
        before in changes(), changes in changes(), more in changes(), left in 0u64..60,
    ) {
        let below = Memory::default();
        let mut model = Model::new();
        {
            let whole = Single::over(below, u64::MAX);
            Shaped::over(Arc::clone(&whole) as _).unwrap().fill(&batch(&before), &|| ()).unwrap();
            play(&mut model, &before);
            let shaped = Shaped::over(Arc::clone(&whole) as _).unwrap();
            whole.left.store(left, Ordering::SeqCst);
            let cut_off = shaped.fill(&batch(&changes), &|| ()).is_err();
            let below = whole.below.after_power_cut();
            // A key that is not among the changes reads as ever, one that is, as before or after.
            let reader = Shaped::over(Single::over(below.after_power_cut(), u64::MAX) as _).unwrap();
            let mut after = model.clone();
            play(&mut after, &changes);
            for key in model.keys().chain(after.keys()) {
                let found = reader.get(key).unwrap();
                prop_assert!(found.as_ref() == model.get(key) || found.as_ref() == after.get(key), "{:?}", key);
            }
            prop_assert!(cut_off || everything(&reader, Direction::Up) == within(&after, &Bound::Unbounded, &Bound::Unbounded));
            // The journal has what was cut off, and what came after it.
            let mut again = batch(&changes);
            again.absorb(&batch(&more));
            let below = Arc::new(below);
            Shaped::over(Arc::clone(&below) as _).unwrap().fill(&again, &|| ()).unwrap();
            play(&mut model, &changes);
            play(&mut model, &more);
            prop_assert_eq!(everything(&*below, Direction::Up), laid(&model));
        }
    }

    #[test]
    fn data_that_lies_as_it_is_named_comes_onto_pages_wherever_that_is_cut_off(
        named in prop::collection::vec((key(), value()), 1..40), between in changes(), cuts in prop::collection::vec(0u64..80, 0..4),
    ) {
        let mut model: Model = named.into_iter().collect();
        let mut below = Memory::default();
        let changes: Changes = model.clone().into_iter().map(|(key, value)| (key, Some(value))).collect();
        below.apply(&batch(&changes)).and_then(|()| below.sync()).unwrap();
        for left in cuts {
            let single = Single::over(below, left);
            let shaped = Shaped::over(Arc::clone(&single) as _).unwrap();
            let done = shaped.reshape(&mut |_| ()).is_ok();
            below = single.below.after_power_cut();
            let reader = Shaped::over(Single::over(below.after_power_cut(), u64::MAX) as _).unwrap();
            prop_assert_eq!(everything(&reader, Direction::Up).into_iter().collect::<Model>(), model.clone());
            // Whoever starts it again may write before it goes on.
            if !done {
                reader.fill(&batch(&between), &|| ()).unwrap();
                drop(reader);
                let writer = Single::over(below, u64::MAX);
                Shaped::over(Arc::clone(&writer) as _).unwrap().fill(&batch(&between), &|| ()).unwrap();
                play(&mut model, &between);
                below = writer.below.after_power_cut();
            }
        }
        let below = Arc::new(below);
        let shaped = Shaped::over(Arc::clone(&below) as _).unwrap();
        shaped.reshape(&mut |_| ()).unwrap();
        prop_assert_eq!(everything(&*below, Direction::Up), laid(&model));
        shaped.reshape(&mut |_| ()).unwrap();
        prop_assert_eq!(everything(&*below, Direction::Up), laid(&model));
    }
}

#[test]
fn without_room_for_the_copy_everything_stays_readable_until_there_is() {
    let model: Model = (0..20).map(|number| (numbered(b'E', number), vec![1; 700])).collect();
    let below = Memory::default();
    let changes: Changes = model.clone().into_iter().map(|(key, value)| (key, Some(value))).collect();
    below.apply(&batch(&changes)).unwrap();
    let single = Single::over(below, u64::MAX);
    single.has_room.store(false, Ordering::SeqCst);
    let shaped = Shaped::over(Arc::clone(&single) as _).unwrap();
    let refused = shaped.reshape(&mut |_| ()).unwrap_err();
    assert!(refused.to_string().contains("no room"), "{refused}");
    assert_eq!(everything(&shaped, Direction::Up).into_iter().collect::<Model>(), model);
    single.has_room.store(true, Ordering::SeqCst);
    let mut moved = Vec::new();
    shaped.reshape(&mut |pairs| moved.push(pairs)).unwrap();
    assert_eq!(moved, [20]);
    assert_eq!(everything(&*single, Direction::Up), laid(&model));
}

/// An engine in which, right after a page was read, somebody else's changes happen.
struct Meanwhile {
    below: Arc<Memory>,
    changes: Mutex<Option<Batch>>,
}

impl Meanwhile {
    fn happen(&self) {
        if let Some(changes) = self.changes.lock().unwrap().take() {
            Shaped::over(Arc::clone(&self.below) as _).unwrap().fill(&changes, &|| ()).unwrap();
        }
    }
}

impl Read for Meanwhile {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let value = self.below.get(key);
        if key.first() == Some(&2) {
            self.happen();
        }
        value
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        let pairs: Vec<_> = self.below.scan(from, to, direction).collect();
        self.happen();
        Box::new(pairs.into_iter())
    }
}

impl Engine for Meanwhile {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        self.below.apply(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.below.sync()
    }
}

#[test]
fn a_value_that_is_replaced_while_it_is_read_is_found_as_it_was_or_as_it_is() {
    let key = numbered(b'E', 3);
    let (was, other) = (vec![1; 9000], vec![2; 9000]);
    for now in [None, Some(vec![3; 20]), Some(other), Some(was.clone())] {
        let below = Arc::new(Memory::default());
        let before = vec![(key.clone(), Some(was.clone()))];
        Shaped::over(Arc::clone(&below) as _).unwrap().fill(&batch(&before), &|| ()).unwrap();
        for scanned in [false, true] {
            let below = Arc::new(below.after_power_cut());
            let shaped = Arc::new(Meanwhile {
                below,
                changes: Mutex::new(Some(batch(&vec![(key.clone(), now.clone())]))),
            });
            let shaped = Shaped::over(Arc::clone(&shaped) as _).unwrap();
            let found = if scanned {
                let (low, high) = prefix(b"E");
                shaped.scan(low, high, Direction::Up).map(|pair| pair.unwrap().1).next()
            } else {
                shaped.get(&key).unwrap()
            };
            assert_eq!(found, now);
        }
    }
}

#[test]
fn a_piece_or_a_page_that_is_not_what_was_written_is_told() {
    let key = numbered(b'B', 5);
    let value: Vec<u8> = (0..9000u32).map(|number| number.to_le_bytes()[0]).collect();
    let whole = laid(&Model::from([(key.clone(), value.clone()), (numbered(b'B', 6), vec![7; 10])]));
    let (mut told, mut same) = (0, 0);
    for (place, (at, lies)) in whole.iter().enumerate().filter(|(_, (at, _))| at[0] < 3) {
        let cuts = (0..lies.len()).step_by(97).map(|length| lies[..length].to_vec());
        let flips = (0..lies.len().min(64)).map(|byte| {
            let mut flipped = lies.clone();
            flipped[byte] ^= 1;
            flipped
        });
        for damaged in cuts.chain(flips).map(Some).chain([None]) {
            let mut pairs = whole.clone();
            pairs.remove(place);
            let changes: Changes = pairs
                .into_iter()
                .map(|(key, value)| (key, Some(value)))
                .chain([(at.clone(), damaged)])
                .collect();
            let below = Memory::default();
            below.apply(&batch(&changes)).unwrap();
            let shaped = Shaped::over(Arc::new(below)).unwrap();
            match shaped.get(&key) {
                Err(error) => {
                    assert!(
                        error.to_string().contains("body of receipt")
                            && error.to_string().contains("damaged"),
                        "{error}"
                    );
                    told += 1;
                }
                // A page that is gone, or has other keys, is missed by whoever counts them.
                Ok(None) => assert_eq!(at[0], 2),
                Ok(Some(found)) => {
                    assert_eq!(found, value, "other bytes were handed up");
                    same += 1;
                }
            }
            let _ = everything_or_error(&shaped);
        }
    }
    assert!(told > 100 && same > 0, "{told} times told, {same} times it did not matter");
}

fn everything_or_error(read: &dyn Read) -> Result<usize, EngineError> {
    let pairs = read.scan(Bound::Unbounded, Bound::Unbounded, Direction::Down);
    pairs.collect::<Result<Vec<_>, _>>().map(|pairs| pairs.len())
}

/// Bodies, answers, receipts, entries, reasons and webhooks as large as they come, one beside the other.
fn large() -> Changes {
    let mut changes = Changes::new();
    for number in 0..60u64 {
        let value = |length: usize| Some(vec![u8::try_from(number).unwrap(); length]);
        changes.push((numbered(b'E', number), value(600)));
        changes.push((numbered(b'R', number), value(601)));
        changes.push((numbered(b'Y', number), value(8_100)));
        changes.push((numbered(b'W', number), value(45_000)));
        changes.push((numbered(b'K', number), value(4_200)));
        for chunk in 0..5 {
            changes.push(([numbered(b'B', number), vec![chunk]].concat(), value(65_536)));
            changes.push((
                [b"Ib".as_slice(), &[u8::try_from(number).unwrap(); 32], &[chunk]].concat(),
                value(65_536),
            ));
        }
    }
    changes
}

#[test]
fn no_neighbours_are_so_large_that_sled_puts_them_where_it_does_not_sync() {
    assert_small(&laid(
        &large().into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect(),
    ));
    let files = |write: &dyn Fn(Arc<dyn Engine>)| {
        let dir = tempfile::tempdir().unwrap();
        write(Arc::new(Sled::open(dir.path(), Durability::NoSync).unwrap()));
        std::fs::read_dir(dir.path().join("db/blobs")).unwrap().count()
    };
    let in_parts = |engine: &dyn Engine| {
        for changes in large().chunks(40) {
            engine.fill(&batch(&changes.to_vec()), &|| ()).unwrap();
        }
    };
    assert!(files(&|sled| in_parts(&*sled)) > 0, "this check can fail");
    assert_eq!(files(&|sled| in_parts(&Shaped::over(sled).unwrap())), 0);
}
