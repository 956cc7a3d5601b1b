//! Entries by seq, each with the order as of it.

use super::codec;
use super::engine::{Batch, Direction, Read};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::entry::Entry;
use crate::domain::ids::Seq;
use crate::domain::order::Order;
use crate::domain::time::Time;
use bincode::{Decode, Encode};
use std::ops::Bound;

/// An entry as it lies in the store. Only `entry` is hashed.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct StoredEntry {
    pub entry: Entry,
    /// The order as it was when this was recorded; none for payouts.
    pub order: Option<Order>,
    /// The order's entry before this one: an order's history is walked backwards along it.
    pub previous: Option<Seq>,
}

pub fn get(read: &dyn Read, seq: Seq) -> Result<Option<StoredEntry>, StoreError> {
    one(read, &keys::entry(seq))
}

pub fn put(batch: &mut Batch, stored: &StoredEntry) -> Result<(), StoreError> {
    store(batch, keys::entry(stored.entry.seq), stored)
}

/// The last of the entries up to `head` for whose time of recording `holds`, as it does up to some time and never after
/// it: by halving, because time of recording never goes back. 0 if it holds for none.
pub fn last_recorded(read: &dyn Read, head: Seq, holds: impl Fn(Time) -> bool) -> Result<Seq, StoreError> {
    let (mut low, mut high) = (0, head.0);
    while low < high {
        let middle = high - (high - low) / 2;
        match get(read, Seq(middle))? {
            Some(stored) if holds(stored.entry.recorded_at) => low = middle,
            Some(_) | None => high = middle - 1,
        }
    }
    Ok(Seq(low))
}

/// Entries from `from` to `to`, both inclusive, oldest first, with the seq their key claims.
pub fn range<'a>(
    read: &'a dyn Read,
    from: Seq,
    to: Seq,
) -> impl Iterator<Item = Result<(Seq, StoredEntry), StoreError>> + 'a {
    between(read, from, to, Direction::Up)
}

/// [`range`], newest first.
pub fn range_down<'a>(
    read: &'a dyn Read,
    from: Seq,
    to: Seq,
) -> impl Iterator<Item = Result<(Seq, StoredEntry), StoreError>> + 'a {
    between(read, from, to, Direction::Down)
}

fn between<'a>(
    read: &'a dyn Read,
    from: Seq,
    to: Seq,
    direction: Direction,
) -> impl Iterator<Item = Result<(Seq, StoredEntry), StoreError>> + 'a {
    let (low, high) = (Bound::Included(keys::entry(from)), Bound::Included(keys::entry(to)));
    let empty = from > to;
    let pairs = (!empty).then(|| read.scan(low, high, direction)).into_iter().flatten();
    pairs.map(|pair| {
        let (key, value) = pair?;
        let seq = Seq(keys::number(&key).unwrap_or_default());
        Ok((seq, codec::decode(&key, &value)?))
    })
}
