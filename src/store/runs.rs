//! Reconciliations: runs over many orders, whose progress survives a restart.
//!
//! A run has a header, a lane per account (how far it is there, and what it came to), and a record per order: its
//! result, or that it waits for one. Nothing here grows with the ledger but the results, a key each.

use super::codec;
use super::engine::{Batch, Direction, EngineError, Pair, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::{AccountId, OrderKey, RunId};
use crate::domain::run::{Lane, Run, Slot};
use bincode::Decode;
use std::ops::Bound;

pub fn get(read: &dyn Read, id: RunId) -> Result<Option<Run>, StoreError> {
    one(read, &keys::run(id))
}

pub fn put(batch: &mut Batch, run: &Run) -> Result<(), StoreError> {
    store(batch, keys::run(run.id), run)
}

pub fn delete(batch: &mut Batch, id: RunId, lanes: &[Lane]) {
    lanes.iter().for_each(|lane| batch.delete(keys::lane(id, &lane.account)));
    batch.delete(keys::run(id));
}

pub fn delete_slot(batch: &mut Batch, id: RunId, order: &OrderKey) {
    batch.delete(keys::slot(id, order));
}

/// Runs, oldest first.
pub fn oldest_first<'a>(read: &'a dyn Read) -> impl Iterator<Item = Result<Run, StoreError>> + 'a {
    let (low, high) = prefix(&keys::runs());
    decoded(read.scan(low, high, Direction::Up))
}

/// Runs begun before `before`, newest first.
pub fn newest_first<'a>(
    read: &'a dyn Read,
    before: Option<RunId>,
) -> impl Iterator<Item = Result<Run, StoreError>> + 'a {
    let (low, high) = prefix(&keys::runs());
    let high = before.map_or(high, |id| Bound::Excluded(keys::run(id)));
    decoded(read.scan(low, high, Direction::Down))
}

pub fn lane(read: &dyn Read, id: RunId, account: &AccountId) -> Result<Option<Lane>, StoreError> {
    one(read, &keys::lane(id, account))
}

pub fn put_lane(batch: &mut Batch, id: RunId, lane: &Lane) -> Result<(), StoreError> {
    store(batch, keys::lane(id, &lane.account), lane)
}

pub fn lanes<'a>(read: &'a dyn Read, id: RunId) -> impl Iterator<Item = Result<Lane, StoreError>> + 'a {
    let (low, high) = prefix(&keys::lanes_of(id));
    decoded(read.scan(low, high, Direction::Up))
}

pub fn slot(read: &dyn Read, id: RunId, order: &OrderKey) -> Result<Option<Slot>, StoreError> {
    one(read, &keys::slot(id, order))
}

pub fn put_slot(batch: &mut Batch, id: RunId, order: &OrderKey, slot: &Slot) -> Result<(), StoreError> {
    store(batch, keys::slot(id, order), slot)
}

/// A run's records by account and reference, after `after` where one is given; of one account where one is given.
pub fn slots<'a>(
    read: &'a dyn Read,
    id: RunId,
    account: Option<&AccountId>,
    after: Option<&OrderKey>,
) -> impl Iterator<Item = Result<(OrderKey, Slot), StoreError>> + 'a {
    let begin = account.map_or_else(|| keys::slots_of(id), |account| keys::slots_of_account(id, account));
    let (low, high) = prefix(&begin);
    let low = match after.map(|after| keys::slot(id, after)) {
        Some(after) if after >= begin => Bound::Excluded(after),
        Some(_) | None => low,
    };
    let inverted = matches!((&low, &high), (Bound::Excluded(low), Bound::Excluded(high)) if low >= high);
    let pairs = (!inverted).then(|| read.scan(low, high, Direction::Up)).into_iter().flatten();
    pairs.filter_map(|pair| {
        let named = pair.map_err(StoreError::from).and_then(|(key, value)| {
            let Some(order) = keys::order_of_slot(&key) else { return Ok(None) };
            Ok(Some((order, codec::decode(&key, &value)?)))
        });
        named.transpose()
    })
}

fn decoded<'a, T: Decode<()>>(
    pairs: impl Iterator<Item = Result<Pair, EngineError>> + 'a,
) -> impl Iterator<Item = Result<T, StoreError>> + 'a {
    pairs.map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    })
}
