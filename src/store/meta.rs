//! What every batch carries: the head, the counters, and which database this is.

use super::codec::{self, CodecError};
use super::engine::{Batch, EngineError, Read};
use super::keys;
use crate::domain::chain::Hash;
use crate::domain::ids::{ReceiptId, Seq};
use crate::domain::time::Time;
use bincode::{Decode, Encode};

/// The layout of the data directory. A higher one is refused, a lower one is migrated forward.
pub const DATA_VERSION: u32 = 6;

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Meta {
    pub data_version: u32,
    /// Drawn once when the database is born; the `head` file beside it names the same.
    pub database: [u8; 16],
    pub seq: Seq,
    pub hash: Hash,
    /// When the last entry was recorded, or the last month closed; time of recording never goes back.
    pub recorded_at: Time,
    /// The last date of ours; they never go back or repeat.
    pub stamp: Time,
    pub receipts: ReceiptId,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Meta {
    pub fn newborn(database: [u8; 16]) -> Meta {
        Meta {
            data_version: DATA_VERSION,
            database,
            seq: Seq(0),
            hash: Hash::genesis(),
            recorded_at: Time(0),
            stamp: Time(0),
            receipts: ReceiptId(0),
        }
    }
}

pub fn get(read: &dyn Read) -> Result<Option<Meta>, StoreError> {
    one(read, keys::META)
}

pub fn put(batch: &mut Batch, meta: &Meta) -> Result<(), StoreError> {
    store(batch, keys::META.to_vec(), meta)
}

/// Reads and decodes one value.
pub fn one<T: Decode<()>>(read: &dyn Read, key: &[u8]) -> Result<Option<T>, StoreError> {
    match read.get(key)? {
        Some(bytes) => Ok(Some(codec::decode(key, &bytes)?)),
        None => Ok(None),
    }
}

/// Encodes and writes one value.
pub fn store<T: Encode>(batch: &mut Batch, key: Vec<u8>, value: &T) -> Result<(), StoreError> {
    let bytes = codec::encode(&key, value)?;
    batch.put(key, bytes);
    Ok(())
}
