//! An engine in memory that loses what was not synced when its power is cut: for benches, and for laws about durability
//! that a real disk under a page cache cannot show.

use super::engine::{Batch, Direction, Engine, EngineError, Read, Scan};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Memory {
    maps: Mutex<Maps>,
}

#[derive(Default, Clone)]
struct Maps {
    visible: BTreeMap<Vec<u8>, Vec<u8>>,
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    failing: Option<String>,
}

impl Memory {
    /// What a power cut leaves: only what was synced.
    pub fn after_power_cut(&self) -> Memory {
        let durable = self.maps().durable.clone();
        Memory { maps: Mutex::new(Maps { visible: durable.clone(), durable, failing: None }) }
    }

    /// Every write from now on fails with these words.
    pub fn fail(&self, what: &str) {
        self.maps().failing = Some(what.to_owned());
    }

    /// Changes a value behind everybody's back, as a bad disk would.
    pub fn tamper(&self, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
        let mut maps = self.maps();
        if let Some(value) = maps.visible.get_mut(key) {
            change(value);
        }
        maps.durable = maps.visible.clone();
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.maps().visible.get(key).cloned())
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        let pairs: Vec<_> =
            self.maps().visible.range((from, to)).map(|(k, v)| Ok((k.clone(), v.clone()))).collect();
        match direction {
            Direction::Up => Box::new(pairs.into_iter()),
            Direction::Down => Box::new(pairs.into_iter().rev()),
        }
    }
}

impl Engine for Memory {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let mut maps = self.maps();
        if let Some(what) = maps.failing.clone() {
            return Err(EngineError { what });
        }
        for (key, change) in batch.changes() {
            match change {
                Some(value) => maps.visible.insert(key.to_vec(), value.to_vec()),
                None => maps.visible.remove(key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut maps = self.maps();
        if let Some(what) = maps.failing.clone() {
            return Err(EngineError { what });
        }
        maps.durable = maps.visible.clone();
        Ok(())
    }
}
