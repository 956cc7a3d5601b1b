//! Payouts by account and reference.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::{AccountId, Reference};
use crate::domain::payout::Payout;
use std::ops::Bound;

pub fn get(
    read: &dyn Read,
    account: &AccountId,
    reference: &Reference,
) -> Result<Option<Payout>, StoreError> {
    one(read, &keys::payout(account, reference))
}

pub fn put(batch: &mut Batch, payout: &Payout) -> Result<(), StoreError> {
    store(batch, keys::payout(&payout.account, &payout.reference), payout)
}

/// Payouts after `after` where one is given; of one account where one is given.
pub fn list<'a>(
    read: &'a dyn Read,
    account: Option<&AccountId>,
    after: Option<(&AccountId, &Reference)>,
) -> impl Iterator<Item = Result<Payout, StoreError>> + 'a {
    let begin = account.map_or_else(|| vec![keys::PAYOUT], keys::payouts_of);
    let (low, high) = prefix(&begin);
    let low = match after.map(|(account, reference)| keys::payout(account, reference)) {
        Some(after) if after >= begin => Bound::Excluded(after),
        Some(_) | None => low,
    };
    let inverted = matches!((&low, &high), (Bound::Excluded(low), Bound::Excluded(high)) if low >= high);
    let pairs = (!inverted).then(|| read.scan(low, high, Direction::Up)).into_iter().flatten();
    pairs.map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    })
}
