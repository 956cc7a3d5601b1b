//! Requests that carry an Idempotency-Key, and the answers they were given: for a day, so that a repeat gets the same
//! answer instead of doing the same again.
//!
//! A request is claimed before anything is done, with what its makings will be named by, and answered afterwards. So one
//! that was cut off in between is carried out again under the same names.

use super::codec;
use super::engine::{Batch, Direction, EngineError, Pair, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::ids::Nonce;
use crate::domain::receipt::Private;
use crate::domain::time::Time;
use bincode::{Decode, Encode};
use std::ops::Bound;

/// A value is at most 64 KiB; the rest of it is framing.
const CHUNK_BYTES: usize = 60_000;
/// Larger answers are not kept.
pub const ANSWER_BYTES_MAX: usize = CHUNK_BYTES * u8::MAX as usize;

/// Which request: a digest of who asks and of the key it carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Debug)]
pub struct RequestKey(pub [u8; 32]);

/// A request that was claimed.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Claimed {
    /// A digest of what was asked.
    pub fingerprint: [u8; 32],
    pub nonce: Nonce,
    pub expires_at: Time,
    /// None: it has not been answered.
    pub answer: Option<Head>,
}

/// An answer without its body.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Head {
    pub status: u16,
    pub location: Option<String>,
    chunks: u8,
}

/// What a request was answered. Its body may hold a secret that is shown once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Private,
}

pub fn get(read: &dyn Read, key: &RequestKey) -> Result<Option<Claimed>, StoreError> {
    one(read, &keys::request(key))
}

pub fn put(batch: &mut Batch, key: &RequestKey, claimed: &Claimed) -> Result<(), StoreError> {
    store(batch, keys::request_expiry(claimed.expires_at, key), &())?;
    store(batch, keys::request(key), claimed)
}

/// Keeps the answer of a claimed request. One that is too large is not kept: its repeat is carried out again.
pub fn put_answer(
    batch: &mut Batch,
    key: &RequestKey,
    claimed: Claimed,
    answer: &Answer,
) -> Result<(), StoreError> {
    let Ok(chunks) = u8::try_from(answer.body.0.len().div_ceil(CHUNK_BYTES)) else { return Ok(()) };
    for (chunk, number) in answer.body.0.chunks(CHUNK_BYTES).zip(0..chunks) {
        store(batch, keys::request_answer(key, number), &Private(chunk.to_vec()))?;
    }
    let head = Head { status: answer.status, location: answer.location.clone(), chunks };
    put(batch, key, &Claimed { answer: Some(head), ..claimed })
}

/// The answer that a head belongs to; none where its body was erased.
pub fn answer(read: &dyn Read, key: &RequestKey, head: &Head) -> Result<Option<Answer>, StoreError> {
    let mut body = Private(Vec::new());
    for number in 0..head.chunks {
        let Some(chunk) = one::<Private>(read, &keys::request_answer(key, number))? else { return Ok(None) };
        body.0.extend(chunk.0);
    }
    Ok(Some(Answer { status: head.status, location: head.location.clone(), body }))
}

/// The keys of an answer's chunks that are there.
pub fn stored_answer(read: &dyn Read, key: &RequestKey) -> Result<Vec<Vec<u8>>, StoreError> {
    let (low, high) = prefix(&keys::chunks_of_answer(key));
    let keys = read.scan(low, high, Direction::Up).map(|pair| pair.map(|(key, _)| key));
    Ok(keys.collect::<Result<_, _>>()?)
}

/// All answers' bodies that are kept.
pub fn answers<'a>(
    read: &'a dyn Read,
) -> impl Iterator<Item = Result<(RequestKey, Private), StoreError>> + 'a {
    let (low, high) = prefix(&keys::request_answers());
    let mut chunks = read.scan(low, high, Direction::Up).peekable();
    std::iter::from_fn(move || {
        let (key, value) = match chunks.next()? {
            Ok(pair) => pair,
            Err(error) => return Some(Err(error.into())),
        };
        let request = keys::request_of_answer(&key);
        let mut body = match codec::decode::<Private>(&key, &value) {
            Ok(body) => body,
            Err(error) => return Some(Err(error.into())),
        };
        let same = |pair: &Result<Pair, EngineError>| {
            pair.as_ref().is_ok_and(|(key, _)| keys::request_of_answer(key) == request)
        };
        while let Some(Ok((key, value))) = chunks.next_if(same) {
            match codec::decode::<Private>(&key, &value) {
                Ok(chunk) => body.0.extend(chunk.0),
                Err(error) => return Some(Err(error.into())),
            }
        }
        Some(Ok((request.unwrap_or(RequestKey([0; 32])), body)))
    })
}

pub fn delete(batch: &mut Batch, key: &RequestKey, claimed: &Claimed) {
    for number in 0..claimed.answer.as_ref().map_or(0, |head| head.chunks) {
        batch.delete(keys::request_answer(key, number));
    }
    batch.delete(keys::request_expiry(claimed.expires_at, key));
    batch.delete(keys::request(key));
}

/// The requests that have expired by `now`, the oldest first.
pub fn expired<'a>(
    read: &'a dyn Read,
    now: Time,
) -> impl Iterator<Item = Result<RequestKey, StoreError>> + 'a {
    let (low, _) = prefix(&keys::request_expiries());
    let high = Bound::Excluded(keys::request_expiry(now, &RequestKey([0; 32])));
    read.scan(low, high, Direction::Up).map(|pair| {
        let (key, _) = pair?;
        Ok(keys::request_of_expiry(&key).unwrap_or(RequestKey([0; 32])))
    })
}
