//! Receipts, and which of them were given up.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::{EventId, ReceiptId};
use crate::domain::receipt::{Progress, Receipt};
use std::ops::Bound;

pub fn get(read: &dyn Read, id: ReceiptId) -> Result<Option<Receipt>, StoreError> {
    one(read, &keys::receipt(id))
}

/// Writes a receipt, and lists it among those given up where that changed.
pub fn put(batch: &mut Batch, receipt: &Receipt, before: Option<&Progress>) -> Result<(), StoreError> {
    let (old, new) = (before.is_some_and(is_given_up), is_given_up(&receipt.progress));
    match (old, new) {
        (true, false) => batch.delete(keys::failed(receipt.id)),
        (false, true) => store(batch, keys::failed(receipt.id), &())?,
        (true, true) | (false, false) => {}
    }
    store(batch, keys::receipt(receipt.id), receipt)
}

/// Takes a receipt that is over away, also from those given up. Its body is not touched, nor is the agenda, which does
/// not name it any more.
pub fn delete(batch: &mut Batch, receipt: &Receipt) {
    if is_given_up(&receipt.progress) {
        batch.delete(keys::failed(receipt.id));
    }
    batch.delete(keys::event(receipt.id));
    batch.delete(keys::receipt(receipt.id));
}

fn is_given_up(progress: &Progress) -> bool {
    match progress {
        Progress::Failed { .. } => true,
        Progress::Pending | Progress::Retrying { .. } | Progress::Done(_) => false,
    }
}

/// The provider's own id of the event that a receipt holds. Beside the receipt, since few providers name one.
pub fn put_event(batch: &mut Batch, id: ReceiptId, event: &EventId) -> Result<(), StoreError> {
    store(batch, keys::event(id), event)
}

pub fn event(read: &dyn Read, id: ReceiptId) -> Result<Option<EventId>, StoreError> {
    one(read, &keys::event(id))
}

/// Receipts before `before`, newest first.
pub fn newest_first<'a>(
    read: &'a dyn Read,
    before: Option<ReceiptId>,
) -> impl Iterator<Item = Result<Receipt, StoreError>> + 'a {
    let (low, high) = prefix(&[keys::RECEIPT]);
    let high = before.map_or(high, |id| Bound::Excluded(keys::receipt(id)));
    read.scan(low, high, Direction::Down).map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    })
}

/// Receipts after `after`, oldest first.
pub fn oldest_first<'a>(
    read: &'a dyn Read,
    after: ReceiptId,
) -> impl Iterator<Item = Result<Receipt, StoreError>> + 'a {
    let (_, high) = prefix(&[keys::RECEIPT]);
    read.scan(Bound::Excluded(keys::receipt(after)), high, Direction::Up).map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    })
}

/// Those that were given up, oldest first.
pub fn given_up<'a>(read: &'a dyn Read) -> impl Iterator<Item = Result<ReceiptId, StoreError>> + 'a {
    let (low, high) = prefix(&[keys::FAILED]);
    read.scan(low, high, Direction::Up).map(|pair| {
        let (key, _) = pair?;
        Ok(ReceiptId(keys::number(&key).unwrap_or_default()))
    })
}
