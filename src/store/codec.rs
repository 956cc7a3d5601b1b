//! How a record becomes bytes: a version byte, bincode, and a checksum over key and bytes. The only file that calls
//! bincode.
//!
//! bincode finds no damage by itself (most mutated records decode), so every value carries a CRC-32. The key is part of
//! it: a value that strayed under another key does not pass. A new field or variant is a new version.

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// The version all values are written in.
const VERSION: u8 = 1;
/// Records are small or in chunks: what is larger is a mistake, or damage.
pub const VALUE_BYTES_MAX: usize = 65_536;
const CHECKSUM_BYTES: usize = 4;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    #[error(
        "the value of {key} is damaged ({what}); set the data directory aside and bring a backup back: razao \
         restore --from DIR --data DIR"
    )]
    Damaged { key: String, what: &'static str },
    #[error(
        "the value of {key} was written by a newer version of razao (format {found}, this one knows {VERSION})"
    )]
    Newer { key: String, found: u8 },
    #[error("the value of {key} would be {bytes} bytes, more than {VALUE_BYTES_MAX}")]
    TooLarge { key: String, bytes: usize },
    #[error("the value of {key} cannot be encoded: {what}")]
    Unencodable { key: String, what: String },
}

fn configuration() -> Configuration<LittleEndian, Varint, Limit<VALUE_BYTES_MAX>> {
    config::standard().with_limit::<VALUE_BYTES_MAX>()
}

pub fn encode<T: Encode>(key: &[u8], value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![VERSION];
    bincode::encode_into_std_write(value, &mut bytes, configuration())
        .map_err(|error| CodecError::Unencodable { key: shown(key), what: error.to_string() })?;
    // bincode applies its limit only when it decodes.
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(CodecError::TooLarge { key: shown(key), bytes: bytes.len() });
    }
    let sum = checksum(key, &bytes);
    bytes.extend_from_slice(&sum);
    Ok(bytes)
}

pub fn decode<T: Decode<()>>(key: &[u8], value: &[u8]) -> Result<T, CodecError> {
    let damaged = |what| CodecError::Damaged { key: shown(key), what };
    let cut = value.len().checked_sub(CHECKSUM_BYTES).ok_or_else(|| damaged("too short"))?;
    let (bytes, sum) = value.split_at_checked(cut).ok_or_else(|| damaged("too short"))?;
    if checksum(key, bytes) != sum {
        return Err(damaged("its checksum does not fit"));
    }
    match bytes.split_first() {
        None => Err(damaged("empty")),
        Some((&VERSION, record)) => {
            let (decoded, consumed) = bincode::decode_from_slice(record, configuration())
                .map_err(|_| damaged("it does not decode"))?;
            if consumed == record.len() { Ok(decoded) } else { Err(damaged("bytes are left over")) }
        }
        Some((&found, _)) => Err(CodecError::Newer { key: shown(key), found }),
    }
}

fn checksum(key: &[u8], bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}

/// A key in words: what it is the key of, then its text or number.
pub fn shown(key: &[u8]) -> String {
    super::keys::describe(key)
}
