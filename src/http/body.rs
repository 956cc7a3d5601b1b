//! Request bodies: read up to a limit, and JSON with exact numbers.

use super::limits::{Held, Room};
use super::problem::Problem;
use crate::wire::json::Json;
use actix_web::web::Payload;
use futures_util::StreamExt;
use std::time::Duration;

/// More than any single request of this API needs.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// A body that takes longer is cut off.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a body could not be read.
pub enum Unread {
    TooLarge,
    TooSlow,
    BrokenOff,
    /// Too much is being held already.
    Crowded,
}

/// A body of at most `bytes_max`; the rest of a larger one is not read.
pub async fn read(payload: Payload, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let read = collect(payload, bytes_max, |_| true);
    tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or(Err(Unread::TooSlow))
}

/// [`read`] where strangers send: no more is read than there is room for, and `held` keeps it until the answer.
pub async fn read_within<'a>(
    payload: Payload,
    bytes_max: usize,
    room: &'a Room,
    held: &mut Held<'a>,
) -> Result<Vec<u8>, Unread> {
    let read = collect(payload, bytes_max, |bytes| room.grow(held, bytes));
    tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or(Err(Unread::TooSlow))
}

async fn collect(
    mut payload: Payload,
    bytes_max: usize,
    mut may_hold: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Unread::BrokenOff)?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(Unread::TooLarge);
        }
        if !may_hold(bytes.len() + chunk.len()) {
            return Err(Unread::Crowded);
        }
        // No more than what is counted.
        bytes.reserve_exact(chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// [`read`] for bodies whose limit is their own.
pub async fn limited(payload: Payload, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    match read(payload, bytes_max).await {
        Err(Unread::TooLarge) => Err(Problem::too_large(bytes_max)),
        read => Ok(read?),
    }
}

/// A body that must be a JSON object.
pub async fn object(payload: Payload) -> Result<Json, Problem> {
    json_object(&read(payload, BODY_BYTES_MAX).await?)
}

/// Bytes that must be a JSON object.
pub fn json_object(bytes: &[u8]) -> Result<Json, Problem> {
    let json =
        Json::parse(bytes).map_err(|error| Problem::body(format!("a JSON object is expected; {error}")))?;
    if json.is_object() { Ok(json) } else { Err(Problem::body("a JSON object is expected")) }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Problem {
        match unread {
            Unread::TooLarge => Problem::too_large(BODY_BYTES_MAX),
            Unread::TooSlow => Problem::new(408, "too-slow", "Too slow", "the body took longer than 30 s"),
            Unread::BrokenOff => Problem::body("the body broke off"),
            Unread::Crowded => Problem::unavailable("too many callbacks at once; try again in a moment", 1),
        }
    }
}
