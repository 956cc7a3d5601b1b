//! Orders by reference and by provider_ref, and the open discrepancies among them.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::{AccountId, OrderKey, ProviderRef, Reference, Seq};
use crate::domain::order::Order;
use std::ops::Bound;

pub fn get(read: &dyn Read, key: &OrderKey) -> Result<Option<Order>, StoreError> {
    one(read, &keys::order(key))
}

pub fn put(batch: &mut Batch, order: &Order) -> Result<(), StoreError> {
    store(batch, keys::order(&order.key), order)
}

/// The reference of the order that has this provider_ref.
pub fn by_provider_ref(
    read: &dyn Read,
    account: &AccountId,
    provider_ref: &ProviderRef,
) -> Result<Option<Reference>, StoreError> {
    one(read, &keys::provider_ref(account, provider_ref))
}

pub fn put_provider_ref(
    batch: &mut Batch,
    account: &AccountId,
    provider_ref: &ProviderRef,
    reference: &Reference,
) -> Result<(), StoreError> {
    store(batch, keys::provider_ref(account, provider_ref), reference)
}

/// Orders by account and reference, after `after` where one is given; of one account where one is given.
pub fn list<'a>(
    read: &'a dyn Read,
    account: Option<&AccountId>,
    reference_prefix: &str,
    after: Option<&OrderKey>,
) -> impl Iterator<Item = Result<Order, StoreError>> + 'a {
    let mut begin = account.map_or_else(|| vec![keys::ORDER], keys::orders_of);
    if account.is_some() {
        begin.extend(reference_prefix.bytes());
    }
    let (low, high) = prefix(&begin);
    let low = match after.map(keys::order) {
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

pub fn put_discrepancy(batch: &mut Batch, id: Seq, order: &OrderKey) -> Result<(), StoreError> {
    store(batch, keys::discrepancy(id), order)
}

pub fn delete_discrepancy(batch: &mut Batch, id: Seq) {
    batch.delete(keys::discrepancy(id));
}

/// The order that an open discrepancy is about.
pub fn discrepancy(read: &dyn Read, id: Seq) -> Result<Option<OrderKey>, StoreError> {
    one(read, &keys::discrepancy(id))
}

/// Open discrepancies after `after`, oldest first.
pub fn discrepancies<'a>(
    read: &'a dyn Read,
    after: Seq,
) -> impl Iterator<Item = Result<(Seq, OrderKey), StoreError>> + 'a {
    let (_, high) = prefix(&[keys::DISCREPANCY]);
    read.scan(Bound::Excluded(keys::discrepancy(after)), high, Direction::Up).map(|pair| {
        let (key, value) = pair?;
        Ok((Seq(keys::number(&key).unwrap_or_default()), codec::decode(&key, &value)?))
    })
}
