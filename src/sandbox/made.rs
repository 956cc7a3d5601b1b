//! What personas make up: names that are the same in every run, and clocks on walls.

#[cfg(test)]
use super::persona::{Request, Response};
use crate::domain::time::Time;

/// A name of something, the same in every run: 64 hexadecimal digits.
pub fn digest(kind: &str, of: &str) -> String {
    hash(kind, of).to_hex().to_string()
}

/// A name in the form of a UUID.
pub fn uuid(kind: &str, of: &str) -> String {
    let n = leading(kind, of);
    let (head, mid, low) = (n >> 96, n >> 80 & 0xffff, n & 0xffff_ffff_ffff);
    format!("{head:08x}-{mid:04x}-4{:03x}-8{:03x}-{low:012x}", n >> 64 & 0xfff, n >> 48 & 0xfff)
}

/// A name that is a number of 12 digits.
pub fn number(kind: &str, of: &str) -> u64 {
    100_000_000_000 + u64::try_from(leading(kind, of) % 900_000_000_000).unwrap_or_default()
}

fn leading(kind: &str, of: &str) -> u128 {
    hash(kind, of).as_bytes().first_chunk().copied().map(u128::from_be_bytes).unwrap_or_default()
}

fn hash(kind: &str, of: &str) -> blake3::Hash {
    blake3::hash(format!("{kind}\n{of}").as_bytes())
}

/// The clock on a wall in São Paulo, where nothing says that it is three hours behind. Brazil has had no summer time
/// since 2019, so that these hours are fixed here.
pub fn local(at: Time, format: &str) -> String {
    told(at, jiff::tz::Offset::constant(-3), format)
}

/// The same in UTC.
pub fn utc(at: Time, format: &str) -> String {
    told(at, jiff::tz::Offset::UTC, format)
}

fn told(at: Time, offset: jiff::tz::Offset, format: &str) -> String {
    let civil = jiff::Timestamp::from_microsecond(at.0).map(|at| offset.to_datetime(at)).unwrap_or_default();
    jiff::fmt::strtime::format(format, civil).unwrap_or_default()
}

#[cfg(test)]
impl Request {
    pub fn new(method: &str, target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        Request { method, path, query, headers: vec![], body: vec![] }
    }

    pub fn with(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

#[cfg(test)]
impl Response {
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
