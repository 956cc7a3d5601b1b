//! Closed months: what each recorded, its balances at both moments, and which later entries happened within it.

use super::balances::{self, Stored};
use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::balance::Balances;
use crate::domain::ids::Seq;
use crate::domain::period::{Closing, Moment, Month};
use std::ops::Bound;

pub fn get(read: &dyn Read, month: Month) -> Result<Option<Closing>, StoreError> {
    one(read, &keys::closing(month))
}

pub fn put(batch: &mut Batch, closing: &Closing) -> Result<(), StoreError> {
    store(batch, keys::closing(closing.month), closing)
}

/// Closed months before `before`, the latest first.
pub fn latest_first<'a>(
    read: &'a dyn Read,
    before: Option<Month>,
) -> impl Iterator<Item = Result<Closing, StoreError>> + 'a {
    let (low, high) = prefix(&keys::closings());
    let high = before.map_or(high, |month| Bound::Excluded(keys::closing(month)));
    read.scan(low, high, Direction::Down).map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    })
}

pub fn put_balances(
    batch: &mut Batch,
    month: Month,
    moment: Moment,
    balances: &Balances,
) -> Result<(), StoreError> {
    for ((ledger_account, currency), sides) in &balances.0 {
        let key = keys::closed_balance(month, moment, ledger_account, *currency);
        let stored = Stored { ledger_account: ledger_account.clone(), currency: *currency, sides: *sides };
        store(batch, key, &stored)?;
    }
    Ok(())
}

pub fn balances(read: &dyn Read, month: Month, moment: Moment) -> Result<Balances, StoreError> {
    balances::load_below(read, &keys::closed_balances(month, moment))
}

pub fn put_correction(batch: &mut Batch, month: Month, seq: Seq) -> Result<(), StoreError> {
    store(batch, keys::correction(month, seq), &())
}

pub fn is_correction(read: &dyn Read, month: Month, seq: Seq) -> Result<bool, StoreError> {
    Ok(one::<()>(read, &keys::correction(month, seq))?.is_some())
}

/// The entries that correct a closed month, from `from` on, oldest first.
pub fn corrections<'a>(
    read: &'a dyn Read,
    month: Month,
    from: Seq,
) -> impl Iterator<Item = Result<Seq, StoreError>> + 'a {
    let (_, high) = prefix(&keys::corrections_of(month));
    let low = Bound::Included(keys::correction(month, from));
    read.scan(low, high, Direction::Up).map(|pair| {
        let (key, _) = pair?;
        Ok(keys::seq_of_correction(&key).unwrap_or_default())
    })
}

/// How many corrections are listed, of all months.
pub fn count_corrections(read: &dyn Read) -> Result<u64, StoreError> {
    let (low, high) = prefix(&keys::corrections());
    read.scan(low, high, Direction::Up)
        .try_fold(0, |count, pair| pair.map(|_| count + 1))
        .map_err(StoreError::from)
}
