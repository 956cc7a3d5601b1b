//! A store as it was at one moment, while its writer goes on: whoever writes first notes here what each key held before.
//!
//! Only keys that change in the meantime cost memory, and only up to a limit: beyond it the view is given up, which every
//! later read says.

use super::engine::{Batch, Direction, Engine, EngineError, Pair, Read, Scan, is_empty};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What may be noted before the view is given up.
const NOTED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A key costs about so much beside its bytes.
const NOTE_BYTES: usize = 64;
const PAGE_RECORDS: usize = 512;

pub struct Frozen {
    engine: Arc<dyn Engine>,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    given_up: Option<EngineError>,
}

impl Frozen {
    /// The store as it is now; from now on every batch must be noted before it is applied.
    pub fn new(engine: Arc<dyn Engine>) -> Frozen {
        Frozen { engine, noted: Mutex::default() }
    }

    /// Keeps what the keys of a batch hold, those that are not kept yet.
    pub fn note(&self, batch: &Batch) {
        let mut noted = self.noted();
        if noted.given_up.is_some() {
            return;
        }
        for (key, _) in batch.changes() {
            if noted.before.contains_key(key) {
                continue;
            }
            match self.engine.get(key) {
                Ok(value) => noted.keep(key, value),
                Err(error) => return noted.give_up(error.what),
            }
        }
        if noted.bytes > NOTED_BYTES_MAX {
            noted.give_up(
                "too much was written while the ledger was read; do it at a quieter time".to_owned(),
            );
        }
    }

    /// Ends the view: whoever still reads it hears why.
    pub fn give_up(&self, what: &str) {
        self.noted().give_up(what.to_owned());
    }

    /// Why the view is no more, if it was given up: then an error of a read says nothing about the store.
    pub fn given_up(&self) -> Option<String> {
        self.noted().given_up.clone().map(|error| error.what)
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next pairs of the store as it is, and then as it was: what was noted meanwhile is noted before it is applied,
    /// so what is looked up after the reading covers all that the reading can have seen.
    fn page(&self, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>, way: Direction) -> Result<Page, EngineError> {
        let scan = self.engine.scan(from.clone(), to.clone(), way);
        let read: Vec<Pair> = scan.take(PAGE_RECORDS).collect::<Result<_, _>>()?;
        let last = (read.len() == PAGE_RECORDS).then(|| read.last().map(|(key, _)| key.clone())).flatten();
        let noted = self.noted();
        noted.usable()?;
        let mut pairs: BTreeMap<Vec<u8>, Vec<u8>> = read.into_iter().collect();
        let (low, high) = match (&last, way) {
            (None, _) => (from.clone(), to.clone()),
            (Some(last), Direction::Up) => (from.clone(), Bound::Included(last.clone())),
            (Some(last), Direction::Down) => (Bound::Included(last.clone()), to.clone()),
        };
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        if !is_empty(bounds.0, bounds.1) {
            for (key, value) in noted.before.range::<[u8], _>(bounds) {
                match value {
                    Some(value) => pairs.insert(key.clone(), value.clone()),
                    None => pairs.remove(key),
                };
            }
        }
        drop(noted);
        let mut pairs: VecDeque<Pair> = pairs.into_iter().collect();
        if way == Direction::Down {
            pairs.make_contiguous().reverse();
        }
        Ok(Page { pairs, last })
    }
}

impl Noted {
    fn keep(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        self.bytes += NOTE_BYTES + key.len() + value.as_ref().map_or(0, Vec::len);
        self.before.insert(key.to_vec(), value);
    }

    fn give_up(&mut self, what: String) {
        self.before.clear();
        self.given_up = Some(EngineError { what });
    }

    fn usable(&self) -> Result<(), EngineError> {
        self.given_up.clone().map_or(Ok(()), Err)
    }
}

struct Page {
    pairs: VecDeque<Pair>,
    /// Where the next page begins; none: this was the last one.
    last: Option<Vec<u8>>,
}

/// A walk through a frozen store, a page at a time.
struct Walk<'a> {
    frozen: &'a Frozen,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    way: Direction,
    pairs: VecDeque<Pair>,
    ended: bool,
}

impl Iterator for Walk<'_> {
    type Item = Result<Pair, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(pair) = self.pairs.pop_front() {
                return Some(Ok(pair));
            }
            if self.ended {
                return None;
            }
            match self.frozen.page(&self.from, &self.to, self.way) {
                Ok(Page { pairs, last }) => {
                    self.pairs = pairs;
                    self.ended = last.is_none();
                    match (last, self.way) {
                        (None, _) => {}
                        (Some(last), Direction::Up) => self.from = Bound::Excluded(last),
                        (Some(last), Direction::Down) => self.to = Bound::Excluded(last),
                    }
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Read for Frozen {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let now = self.engine.get(key)?;
        let noted = self.noted();
        noted.usable()?;
        Ok(noted.before.get(key).cloned().unwrap_or(now))
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        Box::new(Walk { frozen: self, from, to, way: direction, pairs: VecDeque::new(), ended: false })
    }
}

impl Engine for Frozen {
    fn apply(&self, _batch: &Batch) -> Result<(), EngineError> {
        Err(EngineError { what: "a frozen view takes no writes".to_owned() })
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
