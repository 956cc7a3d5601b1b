//! Pairs that lie together under one key: each whole, or, where its value is large, only how long it is and its checksum; then
//! the value lies elsewhere.
//!
//! A pair is the key's length (a byte), the key, the value's length (four bytes, little-endian; its highest bit is set where
//! the value lies elsewhere), and the value or its CRC-32. Keys are in order. What a value says is checked by who reads it.

use std::collections::BTreeMap;

/// Beyond so many bytes a value does not lie on its page.
pub const HERE_BYTES_MAX: usize = 600;
const APART: u32 = 1 << 31;

/// What a page holds of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lying<'a> {
    Here(&'a [u8]),
    Apart(Apart),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Apart {
    pub bytes: u32,
    pub checksum: u32,
}

/// The page's bytes are not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Torn;

impl<'a> Lying<'a> {
    pub fn of(value: &'a [u8]) -> Lying<'a> {
        if value.len() <= HERE_BYTES_MAX { Lying::Here(value) } else { Lying::Apart(Apart::of(value)) }
    }

    pub fn apart(self) -> Option<Apart> {
        match self {
            Lying::Apart(apart) => Some(apart),
            Lying::Here(_) => None,
        }
    }
}

impl Apart {
    pub fn of(value: &[u8]) -> Apart {
        Apart { bytes: u32::try_from(value.len()).unwrap_or(u32::MAX), checksum: crc32fast::hash(value) }
    }
}

/// The pairs of a page, in order.
pub struct Items<'a>(pub &'a [u8]);

impl<'a> Items<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn item(&mut self) -> Option<(&'a [u8], Lying<'a>)> {
        let length = usize::from(*self.take(1)?.first()?);
        let key = self.take(length)?;
        let length = self.number()?;
        let lying = if length & APART == 0 {
            Lying::Here(self.take(usize::try_from(length).ok()?)?)
        } else {
            Lying::Apart(Apart { bytes: length & !APART, checksum: self.number()? })
        };
        Some((key, lying))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<(&'a [u8], Lying<'a>), Torn>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item = self.item();
        if item.is_none() {
            self.0 = &[];
        }
        Some(item.ok_or(Torn))
    }
}

pub fn find<'a>(page: &'a [u8], key: &[u8]) -> Result<Option<Lying<'a>>, Torn> {
    for item in Items(page) {
        let (at, lying) = item?;
        if at == key {
            return Ok(Some(lying));
        }
    }
    Ok(None)
}

/// A page that is being changed.
#[derive(Default)]
pub struct Page<'a>(BTreeMap<&'a [u8], Lying<'a>>);

impl<'a> Page<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Page<'a>, Torn> {
        Items(bytes).collect::<Result<_, _>>().map(Page)
    }

    /// Puts what becomes of a key; answers what was there.
    pub fn set(&mut self, key: &'a [u8], lying: Option<Lying<'a>>) -> Option<Lying<'a>> {
        match lying {
            Some(lying) => self.0.insert(key, lying),
            None => self.0.remove(key),
        }
    }

    /// None where nothing is left on it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for (key, lying) in &self.0 {
            bytes.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(key);
            match lying {
                Lying::Here(value) => {
                    bytes.extend(u32::try_from(value.len()).unwrap_or_default().to_le_bytes());
                    bytes.extend_from_slice(value);
                }
                Lying::Apart(Apart { bytes: length, checksum }) => {
                    bytes.extend((length | APART).to_le_bytes());
                    bytes.extend(checksum.to_le_bytes());
                }
            }
        }
        (!bytes.is_empty()).then_some(bytes)
    }
}
