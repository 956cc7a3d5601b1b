//! The seam under the store: an ordered map of bytes with atomic batches and an explicit moment of durability.
//!
//! A test puts another engine here: one that forgets what was not synced, or fails when told to.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

pub type Pair = (Vec<u8>, Vec<u8>);
pub type Scan<'a> = Box<dyn Iterator<Item = Result<Pair, EngineError>> + 'a>;

/// Changes that become visible together. The last change of a key counts. Several hands hold it on its way to the device, so
/// its bytes are shared.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    changes: BTreeMap<Arc<[u8]>, Option<Arc<[u8]>>>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the store failed: {what}; stop the daemon, check disk and file system, and start it again")]
pub struct EngineError {
    pub what: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Up,
    Down,
}

/// Reading, from an engine or from an engine with changes on top.
pub trait Read {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// The pairs within the bounds, in key order or against it. Not a snapshot.
    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_>;
}

pub trait Engine: Read + Send + Sync {
    /// Makes a batch visible, atomically. It may be lost until `sync` has come back without an error.
    fn apply(&self, batch: &Batch) -> Result<(), EngineError>;

    /// Makes everything applied so far durable on the device.
    fn sync(&self) -> Result<(), EngineError>;

    /// Writes a batch durably and piece by piece: others read meanwhile, and after an error or a power cut a part of it
    /// may be there. Now and then it takes the breath that it is given.
    fn fill(&self, batch: &Batch, _breathe: &dyn Fn()) -> Result<(), EngineError> {
        self.apply(batch)?;
        self.sync()
    }

    /// Sees to it that what is durable stands where also an earlier version of this program looks for it.
    fn checkpoint(&self) -> Result<(), EngineError> {
        self.sync()
    }

    /// Brings what earlier versions wrote to the shape that this one reads fastest, where it is another; tells how many pairs it
    /// has moved. Nobody reads or writes meanwhile.
    fn reshape(&self, _moved: &mut dyn FnMut(u64)) -> Result<(), EngineError> {
        Ok(())
    }

    /// Sees to it that a group's writes have their place on the device, whoever else fills it meanwhile. `false`: there
    /// is none; nothing was harmed.
    fn make_room(&self) -> Result<bool, EngineError> {
        Ok(true)
    }
}

impl Batch {
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.insert(key.into(), None);
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Puts another batch's changes on top.
    pub fn absorb(&mut self, later: &Batch) {
        self.absorb_those(later, |_| true);
    }

    /// Puts those of another batch's changes on top whose keys are wanted.
    pub fn absorb_those(&mut self, later: &Batch, wanted: impl Fn(&[u8]) -> bool) {
        let those = later.changes.iter().filter(|(key, _)| wanted(key));
        self.changes.extend(those.map(|(key, change)| (key.clone(), change.clone())));
    }

    /// What becomes of a key: `None` nothing, `Some(None)` it is deleted.
    pub fn change(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.changes.get(key).map(Option::as_deref)
    }

    /// The changes within the bounds, in key order.
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], Option<&[u8]>)> {
        let range = (!is_empty(from, to)).then(|| self.changes.range::<[u8], _>((from, to)));
        range.into_iter().flatten().map(|(key, change)| (&**key, change.as_deref()))
    }

    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.changes.iter().map(|(key, value)| (&**key, value.as_deref()))
    }
}

/// An engine with a batch on top: what the next command of a group reads.
pub struct Overlay<'a> {
    pub below: &'a dyn Engine,
    pub batch: &'a Batch,
}

impl Read for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match self.batch.changes.get(key) {
            Some(change) => Ok(change.as_deref().map(<[u8]>::to_vec)),
            None => self.below.get(key),
        }
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for pair in self.below.scan(from.clone(), to.clone(), Direction::Up) {
            match pair {
                Ok((key, value)) => merged.insert(key, value),
                Err(error) => return Box::new(std::iter::once(Err(error))),
            };
        }
        let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        for (key, change) in self.batch.range(bounds.0, bounds.1) {
            match change {
                Some(value) => merged.insert(key.to_vec(), value.to_vec()),
                None => merged.remove(key),
            };
        }
        match direction {
            Direction::Up => Box::new(merged.into_iter().map(Ok)),
            Direction::Down => Box::new(merged.into_iter().rev().map(Ok)),
        }
    }
}

/// The bounds of all keys that begin with `prefix`.
pub fn prefix(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Included(prefix.to_vec()), behind(prefix).map_or(Bound::Unbounded, Bound::Excluded))
}

/// The first key behind all that begin with `prefix`; none where there can be none.
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Whether nothing can lie within the bounds. `BTreeMap` panics at some of those.
pub fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}
