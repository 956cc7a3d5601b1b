//! Receipts, which of them still have to be processed, and which were given up.

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

/// Writes a receipt, and the two lists that follow from its progress where that changed.
pub fn put(batch: &mut Batch, receipt: &Receipt, before: Option<&Progress>) -> Result<(), StoreError> {
    let (old, new) = (before.map(Listing::of), Listing::of(&receipt.progress));
    if old != Some(new) {
        match old {
            Some(Listing::Unprocessed) => batch.delete(keys::agenda(receipt.id)),
            Some(Listing::GivenUp) => batch.delete(keys::failed(receipt.id)),
            Some(Listing::Neither) | None => {}
        }
        match new {
            Listing::Unprocessed => store(batch, keys::agenda(receipt.id), &())?,
            Listing::GivenUp => store(batch, keys::failed(receipt.id), &())?,
            Listing::Neither => {}
        }
    }
    store(batch, keys::receipt(receipt.id), receipt)
}

/// Takes a receipt away, and out of its list. Its body is not touched.
pub fn delete(batch: &mut Batch, receipt: &Receipt) {
    match Listing::of(&receipt.progress) {
        Listing::Unprocessed => batch.delete(keys::agenda(receipt.id)),
        Listing::GivenUp => batch.delete(keys::failed(receipt.id)),
        Listing::Neither => {}
    }
    batch.delete(keys::event(receipt.id));
    batch.delete(keys::receipt(receipt.id));
}

/// Which list a receipt stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    Unprocessed,
    GivenUp,
    Neither,
}

impl Listing {
    fn of(progress: &Progress) -> Listing {
        match progress {
            Progress::Pending | Progress::Retrying { .. } => Listing::Unprocessed,
            Progress::Failed { .. } => Listing::GivenUp,
            Progress::Done(_) => Listing::Neither,
        }
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

/// Those that still have to be processed, oldest first.
pub fn unprocessed<'a>(read: &'a dyn Read) -> impl Iterator<Item = Result<ReceiptId, StoreError>> + 'a {
    listed(read, keys::AGENDA)
}

/// Those that were given up, oldest first.
pub fn given_up<'a>(read: &'a dyn Read) -> impl Iterator<Item = Result<ReceiptId, StoreError>> + 'a {
    listed(read, keys::FAILED)
}

fn listed<'a>(read: &'a dyn Read, kind: u8) -> impl Iterator<Item = Result<ReceiptId, StoreError>> + 'a {
    let (low, high) = prefix(&[kind]);
    read.scan(low, high, Direction::Up).map(|pair| {
        let (key, _) = pair?;
        Ok(ReceiptId(keys::number(&key).unwrap_or_default()))
    })
}
