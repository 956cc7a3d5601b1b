//! Which receipts still have to be processed: a bit each, in pages.
//!
//! A key for each would be a list of thousands of tiny keys, and every change of one makes the database copy a whole leaf
//! of them. A group of callbacks has ids in a row, so it changes one page, rarely two.

use super::codec;
use super::engine::{Batch, Direction, Engine, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::ReceiptId;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

const WORD_BITS: u64 = 64;
const WORDS: u64 = 16;
const PAGE_BITS: u64 = WORDS * WORD_BITS;

/// The bits of so many receipts in a row.
#[derive(Clone, Default, Debug, Encode, Decode)]
struct Page([u64; WORDS as usize]);

/// Pages that were changed and are not written yet.
#[derive(Default)]
pub struct Agenda {
    changed: BTreeMap<u64, Page>,
}

impl Agenda {
    /// Puts a receipt on the agenda, or takes it off.
    pub fn set(&mut self, below: &dyn Engine, id: ReceiptId, open: bool) -> Result<(), StoreError> {
        let number = id.0 / PAGE_BITS;
        if let Entry::Vacant(place) = self.changed.entry(number) {
            place.insert(one(below, &keys::agenda(number))?.unwrap_or_default());
        }
        if let Some(page) = self.changed.get_mut(&number) {
            page.set(id, open);
        }
        Ok(())
    }

    /// Hands over what was changed.
    pub fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        for (number, page) in std::mem::take(&mut self.changed) {
            let key = keys::agenda(number);
            if page.0.iter().all(|word| *word == 0) {
                batch.delete(key);
            } else {
                store(batch, key, &page)?;
            }
        }
        Ok(())
    }
}

impl Page {
    fn set(&mut self, id: ReceiptId, open: bool) {
        let bit = id.0 % PAGE_BITS;
        let word = usize::try_from(bit / WORD_BITS).ok().and_then(|index| self.0.get_mut(index));
        let mask = 1 << (bit % WORD_BITS);
        if let Some(word) = word {
            *word = if open { *word | mask } else { *word & !mask };
        }
    }

    /// Its receipts, in order.
    fn receipts(self, number: u64) -> impl Iterator<Item = ReceiptId> {
        // A number from a key that somebody else wrote may be any.
        let first = number.saturating_mul(PAGE_BITS);
        let bits = self.0.into_iter().flat_map(|word| (0..WORD_BITS).map(move |bit| word >> bit & 1 == 1));
        (0..PAGE_BITS)
            .zip(bits)
            .filter(|(_, open)| *open)
            .map(move |(bit, _)| ReceiptId(first.saturating_add(bit)))
    }
}

/// Receipts that still have to be processed, oldest first.
pub fn unprocessed(read: &dyn Read) -> impl Iterator<Item = Result<ReceiptId, StoreError>> + '_ {
    let (low, high) = prefix(&[keys::AGENDA]);
    read.scan(low, high, Direction::Up).flat_map(|pair| {
        let page = pair.map_err(StoreError::from).and_then(|(key, value)| {
            let page: Page = codec::decode(&key, &value)?;
            Ok(page.receipts(keys::number(&key).unwrap_or_default()))
        });
        let (receipts, error) = match page {
            Ok(receipts) => (Some(receipts), None),
            Err(error) => (None, Some(Err(error))),
        };
        receipts.into_iter().flatten().map(Ok).chain(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn pages_keep_what_a_set_keeps(
            groups in prop::collection::vec(prop::collection::vec((0..5_000_u64, any::<bool>()), 1..40), 1..20)
        ) {
            let (engine, mut kept) = (Memory::default(), BTreeSet::new());
            for group in groups {
                let (mut agenda, mut batch) = (Agenda::default(), Batch::default());
                for (id, open) in group {
                    agenda.set(&engine, ReceiptId(id), open).unwrap();
                    if open { kept.insert(ReceiptId(id)) } else { kept.remove(&ReceiptId(id)) };
                }
                agenda.write(&mut batch).unwrap();
                engine.apply(&batch).unwrap();
                let found: Vec<ReceiptId> = unprocessed(&engine).map(Result::unwrap).collect();
                prop_assert_eq!(found, kept.iter().copied().collect::<Vec<_>>());
            }
            for id in &kept {
                let (mut agenda, mut batch) = (Agenda::default(), Batch::default());
                agenda.set(&engine, *id, false).unwrap();
                agenda.write(&mut batch).unwrap();
                engine.apply(&batch).unwrap();
            }
            let (low, high) = prefix(&[keys::AGENDA]);
            prop_assert_eq!(engine.scan(low, high, Direction::Up).count(), 0, "an empty page is taken away");
        }
    }
}
