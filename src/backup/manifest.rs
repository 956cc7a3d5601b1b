//! What a backup is: the ledger's identity, how far it goes, and every file with its length and digest.
//!
//! A manifest is believed only byte for byte as this program would write it, its own checksum included: so a change of
//! any byte of it is seen, white space too.

use super::{BackupError, damaged, unusable};
use crate::domain::chain::Hash;
use crate::store::meta::{DATA_VERSION, Meta};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub const NAME: &str = "manifest.json";
const ASIDE: &str = "manifest.new";
/// The form of the backup itself; a higher one is refused.
pub const FORMAT: u32 = 1;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// The layout of the keys and values within.
    pub data_version: u32,
    /// Which ledger this is, in hex.
    pub database: String,
    /// The first and the last seq; both 0 where there is none.
    pub seq_from: u64,
    pub seq_to: u64,
    /// Of the entry `seq_to`, in hex.
    pub head_hash: String,
    pub taken_at: String,
    /// Numbers files that were ever part of this backup.
    pub next_file: u64,
    /// Of a kind of keys, the later file wins.
    pub files: Vec<FileNote>,
    /// BLAKE3 of this text with an empty `checksum`.
    pub checksum: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct FileNote {
    pub name: String,
    /// The one kind of keys within, by its letter; `*`: all kinds that have no files of their own.
    pub kind: String,
    pub records: u64,
    pub bytes: u64,
    pub blake3: String,
}

impl Manifest {
    pub fn new(meta: &Meta, taken_at: String, next_file: u64, files: Vec<FileNote>) -> Manifest {
        Manifest {
            format: FORMAT,
            data_version: meta.data_version,
            database: hex(&meta.database),
            seq_from: meta.seq.0.min(1),
            seq_to: meta.seq.0,
            head_hash: meta.hash.to_hex(),
            taken_at,
            next_file,
            files,
            checksum: String::new(),
        }
    }

    /// The manifest in a directory, if there is one.
    pub fn read(dir: &Path) -> Result<Option<Manifest>, BackupError> {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&path)(error)),
        };
        Manifest::parse(&bytes, &path).map(Some)
    }

    pub fn parse(bytes: &[u8], path: &Path) -> Result<Manifest, BackupError> {
        let manifest: Manifest = match serde_json::from_slice(bytes) {
            Ok(manifest) => manifest,
            Err(_) => return Err(newer(bytes, path).unwrap_or_else(|| damaged(path, "it cannot be read"))),
        };
        let whole = manifest.text().is_ok_and(|text| text.as_bytes() == bytes);
        if !whole {
            return Err(damaged(path, "its checksum does not fit"));
        }
        if manifest.format > FORMAT || manifest.data_version > DATA_VERSION {
            return Err(newer(bytes, path).unwrap_or_else(|| damaged(path, "its version cannot be read")));
        }
        let plain = |note: &FileNote| !note.name.is_empty() && !note.name.contains(['/', '\0']);
        if !manifest.files.iter().all(plain) || Hash::from_hex(&manifest.head_hash).is_none() {
            return Err(damaged(path, "it names what cannot be"));
        }
        Ok(manifest)
    }

    /// As it stands in the file, with its checksum.
    fn text(&self) -> serde_json::Result<String> {
        let bare = Manifest { checksum: String::new(), ..self.clone() };
        let checksum = blake3::hash(serde_json::to_string_pretty(&bare)?.as_bytes()).to_hex().to_string();
        Ok(serde_json::to_string_pretty(&Manifest { checksum, ..bare })? + "\n")
    }

    /// Makes this the directory's manifest: written aside, synced, renamed, directory synced. The files it lists are
    /// durable before, so whatever interrupts it leaves the one manifest or the other, and either is whole.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let aside = dir.join(ASIDE);
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(self.text()?.as_bytes())?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        fs::rename(&aside, dir.join(NAME))?;
        File::open(dir)?.sync_all()
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |all, note| all.saturating_add(note.bytes))
    }

    pub fn records(&self) -> u64 {
        self.files.iter().fold(0, |all, note| all.saturating_add(note.records))
    }

    pub fn lists(&self, name: &str) -> bool {
        self.files.iter().any(|note| note.name == name)
    }
}

/// A later version may have fields that this one does not know, and says so by its number.
fn newer(bytes: &[u8], path: &Path) -> Option<BackupError> {
    #[derive(Deserialize)]
    struct Versions {
        format: u32,
        data_version: u32,
    }
    let Versions { format, data_version } = serde_json::from_slice(bytes).ok()?;
    let what =
        format!("form {format} and data version {data_version}; known are {FORMAT} and {DATA_VERSION}");
    let newer = format > FORMAT || data_version > DATA_VERSION;
    newer.then(|| BackupError::Newer { path: path.to_owned(), what })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
