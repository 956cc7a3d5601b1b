//! An order's evidence: a key a piece, and the foundation that the oldest became.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::evidence::{Evidence, Foundation, Piece};
use crate::domain::ids::OrderKey;
use crate::domain::time::Time;
use std::collections::BTreeMap;

pub fn load(read: &dyn Read, key: &OrderKey) -> Result<Evidence, StoreError> {
    let foundation: Option<Foundation> = one(read, &keys::foundation(key))?;
    let (from, to) = prefix(&keys::evidence_of(key));
    let pieces = read.scan(from, to, Direction::Up).map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    });
    Ok(Evidence::new(foundation, pieces.collect::<Result<_, StoreError>>()?))
}

/// Before which an order's evidence is no longer told apart.
pub fn foundation_end(read: &dyn Read, key: &OrderKey) -> Result<Option<Time>, StoreError> {
    let foundation: Option<Foundation> = one(read, &keys::foundation(key))?;
    Ok(foundation.map(|foundation| foundation.end))
}

/// Writes what differs between two states of an order's evidence.
pub fn put_changes(
    batch: &mut Batch,
    key: &OrderKey,
    before: &Evidence,
    after: &Evidence,
) -> Result<(), StoreError> {
    let keyed = |evidence: &Evidence| -> BTreeMap<Vec<u8>, Piece> {
        evidence.pieces().iter().map(|piece| (keys::evidence(key, piece), piece.clone())).collect()
    };
    let (old, new) = (keyed(before), keyed(after));
    for gone in old.keys().filter(|known| !new.contains_key(*known)) {
        batch.delete(gone.clone());
    }
    for (name, piece) in new.iter().filter(|(name, piece)| old.get(*name) != Some(piece)) {
        store(batch, name.clone(), piece)?;
    }
    if let Some(foundation) = after.foundation()
        && before.foundation() != Some(foundation)
    {
        store(batch, keys::foundation(key), foundation)?;
    }
    Ok(())
}
