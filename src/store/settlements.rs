//! Settlement files: a header, a record per line, and the lines that became evidence by their provider's ids.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::{AccountId, LineId, SettlementId};
use crate::domain::settlement::{Claim, LineResult, Settlement};
use std::ops::Bound;

/// Where the orders that no line names begin: after every line's number.
const ONLY_HERE: u64 = 1 << 32;

/// Where a result stands within its file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place(pub u64);

impl Place {
    pub fn of_line(number: u32) -> Place {
        Place(u64::from(number))
    }

    pub fn of_only_here(nth: u32) -> Place {
        Place(ONLY_HERE + u64::from(nth))
    }
}

pub fn get(read: &dyn Read, id: SettlementId) -> Result<Option<Settlement>, StoreError> {
    one(read, &keys::settlement(id))
}

pub fn put(batch: &mut Batch, settlement: &Settlement) -> Result<(), StoreError> {
    store(batch, keys::settlement(settlement.id), settlement)
}

/// Files that were begun before `before`, newest first.
pub fn newest_first<'a>(
    read: &'a dyn Read,
    before: Option<SettlementId>,
) -> impl Iterator<Item = Result<Settlement, StoreError>> + 'a {
    let (low, high) = prefix(&keys::settlements());
    let high = before.map_or(high, |id| Bound::Excluded(keys::settlement(id)));
    read.scan(low, high, Direction::Down).map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    })
}

pub fn line(read: &dyn Read, id: SettlementId, place: Place) -> Result<Option<LineResult>, StoreError> {
    one(read, &keys::settlement_line(id, place.0))
}

pub fn put_line(
    batch: &mut Batch,
    id: SettlementId,
    place: Place,
    result: &LineResult,
) -> Result<(), StoreError> {
    store(batch, keys::settlement_line(id, place.0), result)
}

/// The results of a file, after `after` where one is given: its lines, then the orders that none of them names.
pub fn lines<'a>(
    read: &'a dyn Read,
    id: SettlementId,
    after: Option<Place>,
) -> impl Iterator<Item = Result<(Place, LineResult), StoreError>> + 'a {
    let (low, high) = prefix(&keys::settlement_lines_of(id));
    let low = after.map_or(low, |place| Bound::Excluded(keys::settlement_line(id, place.0)));
    read.scan(low, high, Direction::Up).map(|pair| {
        let (key, value) = pair?;
        Ok((Place(keys::place_of_settlement_line(&key).unwrap_or_default()), codec::decode(&key, &value)?))
    })
}

/// The line of this account that had the id.
pub fn claim(read: &dyn Read, account: &AccountId, id: &LineId) -> Result<Option<Claim>, StoreError> {
    one(read, &keys::claim(account, id))
}

pub fn put_claim(
    batch: &mut Batch,
    account: &AccountId,
    id: &LineId,
    claim: &Claim,
) -> Result<(), StoreError> {
    store(batch, keys::claim(account, id), claim)
}
