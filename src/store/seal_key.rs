//! The private key that seals are signed with: one file of mode 0600 beside the database, never in it, so that no backup
//! of the ledger can sign in its name.

use secrecy::{ExposeSecret, SecretBox};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FILE: &str = "seal.key";
pub const SEED_BYTES: usize = 32;

/// What an Ed25519 key is made from.
pub type Seed = SecretBox<[u8; SEED_BYTES]>;

#[derive(Debug, thiserror::Error)]
pub enum SealKeyError {
    #[error("{path} cannot be {doing}: {error}; check the directory's owner, mode and free space")]
    File { path: String, doing: &'static str, error: io::Error },
    #[error(
        "{path} is not a key of {SEED_BYTES} bytes in hex; remove it to have a new one made, whose seals name the old one"
    )]
    Unreadable { path: String },
}

/// The key of this directory; none where there is no file.
pub fn load(dir: &Path) -> Result<Option<Seed>, SealKeyError> {
    let path = dir.join(FILE);
    let shown = || path.display().to_string();
    let text = match fs::read_to_string(&path) {
        Ok(text) => SecretBox::new(Box::new(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(SealKeyError::Unreadable { path: shown() });
        }
        Err(error) => return Err(SealKeyError::File { path: shown(), doing: "read", error }),
    };
    let seed = from_hex(text.expose_secret().trim());
    seed.map(Some).ok_or_else(|| SealKeyError::Unreadable { path: shown() })
}

/// [`load`], or a new key where there is no file. Only who holds the directory's lock may call it: of two makers one
/// would sign with a key that nobody keeps.
pub fn load_or_make(
    dir: &Path,
    fresh: impl FnOnce() -> io::Result<[u8; SEED_BYTES]>,
) -> Result<Seed, SealKeyError> {
    if let Some(seed) = load(dir)? {
        return Ok(seed);
    }
    let seed = fresh().map(|bytes| SecretBox::new(Box::new(bytes)));
    let written = seed.and_then(|seed| write(dir, &seed).map(|()| seed));
    let path = || dir.join(FILE).display().to_string();
    written.map_err(|error| SealKeyError::File { path: path(), doing: "made", error })
}

/// Written aside, synced, renamed: a seal must not be signed with a key that a power cut takes away.
fn write(dir: &Path, seed: &Seed) -> io::Result<()> {
    let aside = dir.join("seal.key.new");
    // What a cut-off start left behind must lend the key neither its owner nor its mode.
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    for byte in seed.expose_secret() {
        write!(file, "{byte:02x}")?;
    }
    writeln!(file)?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

fn from_hex(text: &str) -> Option<Seed> {
    // A radix would take a sign for a digit.
    if text.len() != 2 * SEED_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut seed = Box::new([0; SEED_BYTES]);
    for (place, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(SecretBox::new(seed))
}
