//! The public keys that this ledger's seals were signed with, the oldest first. The private one lies beside the database
//! and in no backup, so a restored directory finds here the name of the key it no longer has.

use super::engine::{Batch, Read};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::seal::PublicKey;

/// More than anybody restores a ledger; the oldest is forgotten then.
const KEYS_MAX: usize = 256;

pub fn known(read: &dyn Read) -> Result<Vec<PublicKey>, StoreError> {
    Ok(one(read, keys::SEAL_KEYS)?.unwrap_or_default())
}

/// Notes the key that signs from now on.
pub fn adopt(batch: &mut Batch, mut known: Vec<PublicKey>, key: PublicKey) -> Result<(), StoreError> {
    known.push(key);
    if known.len() > KEYS_MAX {
        known.remove(0);
    }
    store(batch, keys::SEAL_KEYS.to_vec(), &known)
}
