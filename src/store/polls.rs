//! Which orders are asked about when: an index by account and time, so that nobody ever holds all of it in memory.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::{AccountId, OrderKey, Reference};
use crate::domain::time::Time;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// What the poller keeps of an account.
#[derive(Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct AccountRecord {
    /// When the first callback arrived that passed the door.
    pub first_callback: Option<Time>,
    /// Up to where the provider's list of events was read: the newest date in it.
    pub caught_up_to: Option<Time>,
    /// The pauses that the due times in the index were reckoned with.
    pub pauses: Option<(Duration, Duration)>,
}

/// An order's due time moved; `None`: it has none.
pub fn put(
    batch: &mut Batch,
    key: &OrderKey,
    before: Option<Time>,
    after: Option<Time>,
) -> Result<(), StoreError> {
    if before == after {
        return Ok(());
    }
    if let Some(before) = before {
        batch.delete(keys::poll(key, before));
    }
    after.map_or(Ok(()), |due| store(batch, keys::poll(key, due), &()))
}

/// The orders of an account by the time they are due, the earliest first.
pub fn due<'a>(
    read: &'a dyn Read,
    account: &AccountId,
) -> impl Iterator<Item = Result<(Time, Reference), StoreError>> + 'a {
    let begin = keys::polls_of(account);
    let (low, high) = prefix(&begin);
    read.scan(low, high, Direction::Up).filter_map(move |pair| match pair {
        Ok((key, _)) => parse(key.get(begin.len()..).unwrap_or_default()).map(Ok),
        Err(error) => Some(Err(error.into())),
    })
}

/// Whether the index holds an order at a time.
pub fn is_listed(read: &dyn Read, key: &OrderKey, due: Time) -> Result<bool, StoreError> {
    Ok(read.get(&keys::poll(key, due))?.is_some())
}

/// How many orders of an account are due by `now`, counted no further than `most`.
pub fn overdue(read: &dyn Read, account: &AccountId, now: Time, most: usize) -> Result<usize, StoreError> {
    let begin = keys::polls_of(account);
    let (low, _) = prefix(&begin);
    let mut end = begin;
    end.extend(u64::try_from(now.next().0).unwrap_or_default().to_be_bytes());
    let found = read.scan(low, Bound::Excluded(end), Direction::Up).take(most);
    Ok(found.map(|pair| pair.map(|_| 1)).sum::<Result<usize, _>>()?)
}

fn parse(rest: &[u8]) -> Option<(Time, Reference)> {
    let (due, reference) = rest.split_first_chunk::<8>()?;
    let due = i64::try_from(u64::from_be_bytes(*due)).ok()?;
    let reference = std::str::from_utf8(reference).ok()?;
    Some((Time(due), Reference::parse(reference).ok()?))
}

pub fn account(read: &dyn Read, account: &AccountId) -> Result<AccountRecord, StoreError> {
    Ok(one(read, &keys::account(account))?.unwrap_or_default())
}

/// What is kept of every account.
pub fn accounts(read: &dyn Read) -> Result<BTreeMap<AccountId, AccountRecord>, StoreError> {
    let (low, high) = prefix(&[keys::ACCOUNT]);
    let mut found = BTreeMap::new();
    for pair in read.scan(low, high, Direction::Up) {
        let (key, value) = pair?;
        let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
        if let Some(id) = name.and_then(|name| AccountId::parse(name).ok()) {
            found.insert(id, codec::decode(&key, &value)?);
        }
    }
    Ok(found)
}

pub fn put_account(batch: &mut Batch, account: &AccountId, record: &AccountRecord) -> Result<(), StoreError> {
    store(batch, keys::account(account), record)
}
