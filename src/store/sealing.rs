//! An engine over an engine: what can be erased is stored sealed, each owner's values under a key of its own that stands
//! in a slot outside the database.
//!
//! The database keeps old bytes long after a delete, so deleting alone erases nothing. Wiping the slot does: what is left
//! of the value in the database's file is noise from then on. Everything above sees plain values, so a backup holds
//! plain values too, and restoring one seals them anew.
//!
//! Kills and power cuts find no gap:
//! - A slot's key is durable before a value is sealed with it, and no key seals twice: how many slots are used goes into
//!   the batch that uses them, and those beyond, which only a lost batch can have used, are drawn anew at the next start.
//! - A batch that deletes or replaces sealed values also notes their slots. They are wiped once it is durable and before
//!   anybody is answered; the notes go with a later batch. A start wipes what is noted.

use super::codec;
use super::directory::OpenError;
use super::engine::{Batch, Direction, Engine, EngineError, Pair, Read, Scan, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many slots are drawn at once: one sync for as many receipts.
pub const BLOCK_SLOTS: u64 = 4096;
/// No group seals for more owners than this.
const FRESH_SLOTS_MIN: u64 = 1024;
/// The first byte of a sealed value, where a plain one has the codec's version.
const SEALED: u8 = 2;
const HEAD_BYTES: usize = 9;

pub type Secret = [u8; 32];

/// Where the keys stand.
pub trait Slots: Send + Sync {
    fn count(&self) -> u64;

    /// The key in a slot; `None` where it was wiped.
    fn read(&self, slot: u64) -> Result<Option<Secret>, EngineError>;

    /// Puts a fresh key into each of these slots, durably.
    fn draw(&self, slots: Range<u64>) -> Result<(), EngineError>;

    /// Makes these keys unreadable, durably.
    fn wipe(&self, slots: &BTreeSet<u64>) -> Result<(), EngineError>;
}

pub struct Sealing {
    below: Arc<dyn Engine>,
    slots: Arc<dyn Slots>,
    ledger: Mutex<Use>,
}

/// Which slots are where on their way.
#[derive(Default)]
struct Use {
    /// The first slot that nothing was sealed with …
    next: u64,
    /// … and the first that holds no fresh key.
    drawn: u64,
    /// To be wiped once the batch that notes them is durable.
    due: BTreeSet<u64>,
    /// Wiped, and still noted.
    wiped: BTreeSet<u64>,
    /// The last key of a body: those behind it are new, so nothing of theirs can be let go.
    last_body: Vec<u8>,
}

impl Sealing {
    /// `dir` is for messages.
    pub fn open(below: Arc<dyn Engine>, slots: Arc<dyn Slots>, dir: &Path) -> Result<Sealing, OpenError> {
        let used = one::<u64>(&*below, keys::SLOTS_USED)?.unwrap_or(0);
        let count = slots.count();
        if count < used {
            let what = format!("its `slots` file holds {count} of {used} keys");
            return Err(OpenError::Damaged { path: dir.to_owned(), what });
        }
        let wiped = noted(&*below)?;
        if !wiped.is_empty() {
            slots.wipe(&wiped).map_err(StoreError::from)?;
        }
        if count > used {
            slots.draw(used..count).map_err(StoreError::from)?;
        }
        let (low, high) = prefix(&keys::bodies());
        let last_body =
            below.scan(low, high, Direction::Down).next().transpose().map_err(StoreError::from)?;
        let last_body = last_body.map(|(key, _)| key).unwrap_or_default();
        let ledger = Use { next: used, drawn: count, due: BTreeSet::new(), wiped, last_body };
        Ok(Sealing { below, slots, ledger: Mutex::new(ledger) })
    }

    fn ledger(&self) -> MutexGuard<'_, Use> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch as it is stored, and the slots that it lets go.
    fn sealed(&self, ledger: &mut Use, batch: &Batch) -> Result<(Batch, BTreeSet<u64>), EngineError> {
        let mut stored = batch.clone();
        let mut owners: BTreeMap<&[u8], (u64, LessSafeKey)> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        for (key, change) in batch.changes().filter(|(key, _)| keys::is_erasable(key)) {
            let is_new = key.first() == Some(&keys::BODY) && key > ledger.last_body.as_slice();
            if !is_new {
                gone.extend(self.below.get(key)?.as_deref().and_then(split).map(|(slot, _)| slot));
            }
            let Some(value) = change else { continue };
            if is_new {
                ledger.last_body = key.to_vec();
            }
            let owner = keys::owner(key);
            if !owners.contains_key(owner) {
                owners.insert(owner, self.take_slot(ledger)?);
            }
            if let Some((slot, secret)) = owners.get(owner) {
                stored.put(key.to_vec(), seal(key, *slot, secret, value)?);
            }
        }
        if !owners.is_empty() {
            put(&mut stored, keys::SLOTS_USED.to_vec(), &ledger.next)?;
        }
        gone.iter().try_for_each(|slot| put(&mut stored, keys::wipe(*slot), &()))?;
        ledger.wiped.iter().for_each(|slot| stored.delete(keys::wipe(*slot)));
        Ok((stored, gone))
    }

    /// A key that nothing was sealed with.
    fn take_slot(&self, ledger: &mut Use) -> Result<(u64, LessSafeKey), EngineError> {
        if ledger.next >= ledger.drawn {
            let end = ledger.next.saturating_add(BLOCK_SLOTS);
            self.slots.draw(ledger.next..end)?;
            ledger.drawn = end;
        }
        let slot = ledger.next;
        ledger.next = slot.saturating_add(1);
        let lost = || EngineError { what: format!("key slot {slot} cannot be read back") };
        let secret = self.slots.read(slot)?.and_then(|secret| cipher(&secret)).ok_or_else(lost)?;
        Ok((slot, secret))
    }

    /// A stored value as it was before it was sealed; `None` where its key was wiped.
    fn opened(&self, key: &[u8], value: Vec<u8>) -> Result<Option<Vec<u8>>, EngineError> {
        let sealed = if keys::is_erasable(key) { split(&value) } else { None };
        // What is not sealed is older than sealing, or damaged; then its checksum will say so.
        let Some((slot, bytes)) = sealed.filter(|(slot, _)| *slot < self.slots.count()) else {
            return Ok(Some(value));
        };
        let Some(secret) = self.slots.read(slot)? else { return Ok(None) };
        match open(key, &secret, bytes) {
            Some(plain) => Ok(Some(plain)),
            // It was being wiped at this very moment.
            None if self.slots.read(slot)?.is_none() => Ok(None),
            // Handed up as it is, it does not pass its checksum: damage is told in one place.
            None => Ok(Some(value)),
        }
    }

    fn pair(&self, (key, value): Pair) -> Result<Option<Pair>, EngineError> {
        if keys::is_of_slots(&key) {
            return Ok(None);
        }
        Ok(self.opened(&key, value)?.map(|plain| (key, plain)))
    }
}

impl Read for Sealing {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match self.below.get(key)? {
            Some(value) => self.opened(key, value),
            None => Ok(None),
        }
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        let pairs = self.below.scan(from, to, direction);
        Box::new(pairs.filter_map(|pair| pair.and_then(|pair| self.pair(pair)).transpose()))
    }
}

impl Engine for Sealing {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let mut ledger = self.ledger();
        let touched = batch.changes().any(|(key, _)| keys::is_erasable(key));
        if !touched && ledger.wiped.is_empty() {
            return self.below.apply(batch);
        }
        let (stored, gone) = self.sealed(&mut ledger, batch)?;
        self.below.apply(&stored)?;
        ledger.wiped.clear();
        ledger.due.extend(gone);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.below.sync()?;
        let mut ledger = self.ledger();
        if !ledger.due.is_empty() {
            self.slots.wipe(&ledger.due)?;
            let wiped = std::mem::take(&mut ledger.due);
            ledger.wiped.extend(wiped);
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<(), EngineError> {
        self.below.checkpoint()
    }

    fn reshape(&self, moved: &mut dyn FnMut(u64)) -> Result<(), EngineError> {
        self.below.reshape(moved)
    }

    /// Keys are drawn before a group needs them: a full disk is then no error of the group.
    fn make_room(&self) -> Result<bool, EngineError> {
        let mut ledger = self.ledger();
        if ledger.drawn.saturating_sub(ledger.next) < FRESH_SLOTS_MIN {
            let end = ledger.drawn.saturating_add(BLOCK_SLOTS);
            if let Err(error) = self.slots.draw(ledger.drawn..end) {
                tracing::warn!(%error, "no room for keys");
                return Ok(false);
            }
            ledger.drawn = end;
        }
        drop(ledger);
        self.below.make_room()
    }
}

/// The slots that were to be wiped when the last process ended.
fn noted(below: &dyn Engine) -> Result<BTreeSet<u64>, StoreError> {
    let (low, high) = prefix(&[keys::WIPE]);
    let keys = below.scan(low, high, Direction::Up).map(|pair| pair.map(|(key, _)| key));
    let slots = keys.map(|key| key.map(|key| keys::number(&key).unwrap_or_default()));
    Ok(slots.collect::<Result<_, _>>()?)
}

fn put<T: bincode::Encode>(batch: &mut Batch, key: Vec<u8>, value: &T) -> Result<(), EngineError> {
    store(batch, key, value).map_err(|error| EngineError { what: error.to_string() })
}

fn cipher(secret: &Secret) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, secret).ok().map(LessSafeKey::new)
}

/// Each key seals an owner's values once, so their numbers are nonces enough.
fn nonce(key: &[u8]) -> Nonce {
    let mut bytes = [0; 12];
    bytes[11] = keys::chunk(key);
    Nonce::assume_unique_for_key(bytes)
}

fn seal(key: &[u8], slot: u64, secret: &LessSafeKey, value: &[u8]) -> Result<Vec<u8>, EngineError> {
    let mut bytes = value.to_vec();
    secret
        .seal_in_place_append_tag(nonce(key), Aad::from(key), &mut bytes)
        .map_err(|_| EngineError { what: format!("{} cannot be sealed", codec::shown(key)) })?;
    Ok([&[SEALED], slot.to_le_bytes().as_slice(), &bytes].concat())
}

fn open(key: &[u8], secret: &Secret, sealed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = sealed.to_vec();
    let length = cipher(secret)?.open_in_place(nonce(key), Aad::from(key), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

/// The slot of a sealed value and what was sealed.
fn split(value: &[u8]) -> Option<(u64, &[u8])> {
    let (head, sealed) = value.split_at_checked(HEAD_BYTES)?;
    let (first, slot) = head.split_first()?;
    let slot = u64::from_le_bytes(slot.try_into().ok()?);
    (*first == SEALED).then_some((slot, sealed))
}
