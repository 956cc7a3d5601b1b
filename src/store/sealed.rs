//! What can be erased: receipts' bodies, orders' metadata, operators' reasons. Under keys of their own, so that erasing
//! them touches nothing that is hashed.

use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::{OrderKey, ReceiptId, Seq};
use crate::domain::receipt::Private;
use bincode::{Decode, Encode};
use std::ops::Bound;

/// A value is at most 64 KiB; the rest of it is framing.
const CHUNK_BYTES: usize = 60_000;

/// What a provider sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body {
    pub query: Option<Private>,
    pub bytes: Private,
}

#[derive(Encode, Decode)]
struct Chunk {
    query: Option<Private>,
    bytes: Private,
    /// How many chunks there are.
    of: u8,
}

pub fn put_body(batch: &mut Batch, id: ReceiptId, body: &Body) -> Result<(), StoreError> {
    let mut chunks: Vec<&[u8]> = body.bytes.0.chunks(CHUNK_BYTES).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let of = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
    for (bytes, number) in chunks.into_iter().zip(0..of) {
        let query = body.query.clone().filter(|_| number == 0);
        store(batch, keys::body(id, number), &Chunk { query, bytes: Private(bytes.to_vec()), of })?;
    }
    Ok(())
}

/// `None` where it was erased.
pub fn body(read: &dyn Read, id: ReceiptId) -> Result<Option<Body>, StoreError> {
    let Some(first) = one::<Chunk>(read, &keys::body(id, 0))? else { return Ok(None) };
    let mut body = Body { query: first.query, bytes: first.bytes };
    for number in 1..first.of {
        let Some(chunk) = one::<Chunk>(read, &keys::body(id, number))? else { return Ok(None) };
        body.bytes.0.extend(chunk.bytes.0);
    }
    Ok(Some(body))
}

/// The keys of a body's chunks that are there: for taking it away, whole or damaged.
pub fn stored_body(read: &dyn Read, id: ReceiptId) -> Result<Vec<Vec<u8>>, StoreError> {
    let (low, high) = prefix(&keys::chunks_of(id));
    let keys = read.scan(low, high, Direction::Up).map(|pair| pair.map(|(key, _)| key));
    Ok(keys.collect::<Result<_, _>>()?)
}

/// The receipts after `after` that have a body, oldest first.
pub fn with_body<'a>(
    read: &'a dyn Read,
    after: ReceiptId,
) -> impl Iterator<Item = Result<ReceiptId, StoreError>> + 'a {
    let (_, high) = prefix(&keys::bodies());
    let low = Bound::Excluded(keys::body(after, u8::MAX));
    let firsts = read.scan(low, high, Direction::Up).filter(|pair| {
        // A body counts once, by its first chunk.
        pair.as_ref().map_or(true, |(key, _)| keys::chunk(key) == 0)
    });
    firsts.map(|pair| Ok(ReceiptId(keys::number(&pair?.0).unwrap_or_default())))
}

/// An order's metadata as the JSON text it was registered with.
pub fn metadata(read: &dyn Read, key: &OrderKey) -> Result<Option<String>, StoreError> {
    one(read, &keys::metadata(key))
}

pub fn put_metadata(batch: &mut Batch, key: &OrderKey, json: &str) -> Result<(), StoreError> {
    store(batch, keys::metadata(key), &json.to_owned())
}

pub fn put_reason(batch: &mut Batch, seq: Seq, reason: &str) -> Result<(), StoreError> {
    store(batch, keys::reason(seq), &reason.to_owned())
}

pub fn reason(read: &dyn Read, seq: Seq) -> Result<Option<String>, StoreError> {
    one(read, &keys::reason(seq))
}
