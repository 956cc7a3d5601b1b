//! The data directory around the database: who may open it, and the `head` file that remembers what it once held.
//!
//! An empty or missing directory opens as an empty database without an error. So the `head` file names the database and
//! a seq that was durable when it was written: a database that knows less than that has lost its tail, and one that
//! does not exist beside it was deleted. Either way nothing may start as if the ledger were new.

use super::meta::{Meta, StoreError};
use crate::domain::chain::Hash;
use crate::domain::ids::Seq;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data directory {0} is in use by another razao process; stop it first")]
    Locked(PathBuf),
    #[error(
        "the data directory {path} cannot be used: {what}; check that it exists, is writable and has free space"
    )]
    Unusable { path: PathBuf, what: String },
    #[error(
        "the database in {path} is damaged ({what}); set the directory aside and bring a backup back: \
         razao restore --from DIR --data DIR"
    )]
    Damaged { path: PathBuf, what: String },
    #[error(
        "the data directory {path} was written by a newer version of razao ({what}); upgrade this program"
    )]
    Newer { path: PathBuf, what: String },
    #[error(
        "the data directory {path} has lost part of its ledger: {what}; set it aside and bring a backup back: razao \
         restore --from DIR --data DIR; remove the `head` file only if that loss is accepted"
    )]
    Lost { path: PathBuf, what: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether the data is damaged or incomplete, as opposed to out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            OpenError::Damaged { .. } | OpenError::Lost { .. } | OpenError::Store(_) => true,
            OpenError::Locked(_) | OpenError::Unusable { .. } | OpenError::Newer { .. } => false,
        }
    }
}

/// Held as long as the directory is in use.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What the `head` file says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Head {
    database: String,
    seq: u64,
    hash: String,
}

/// Makes the directory if it is missing, readable by its owner alone, and takes its lock.
pub fn lock(dir: &Path) -> Result<Lock, OpenError> {
    let unusable = |what: io::Error| OpenError::Unusable { path: dir.to_owned(), what: what.to_string() };
    make_private(dir).map_err(unusable)?;
    let file =
        File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    sync_parent(dir)
}

/// Compares what the database holds with what the `head` file remembers.
pub fn check_head(dir: &Path, meta: Option<&Meta>, entry_hash: Option<Hash>) -> Result<(), OpenError> {
    let lost = |what: String| OpenError::Lost { path: dir.to_owned(), what };
    let Some(head) = read_head(dir)? else { return Ok(()) };
    let Some(meta) = meta else {
        return Err(lost(format!("its database is gone, and once held {} entries", head.seq)));
    };
    if head.database != hex(&meta.database) {
        return Err(lost("its database is another one than the `head` file names".to_owned()));
    }
    if head.seq > meta.seq.0 {
        return Err(lost(format!("it ends at seq {}, and once held seq {}", meta.seq, head.seq)));
    }
    match entry_hash {
        Some(found) if found.to_hex() != head.hash => {
            Err(lost(format!("entry {} has another hash than the one noted", head.seq)))
        }
        None if head.seq > 0 => Err(lost(format!("entry {} is missing", head.seq))),
        Some(_) | None => Ok(()),
    }
}

/// The seq that the `head` file names, if there is one.
pub fn noted_seq(dir: &Path) -> Result<Option<Seq>, OpenError> {
    Ok(read_head(dir)?.map(|head| Seq(head.seq)).filter(|seq| seq.0 > 0))
}

fn read_head(dir: &Path) -> Result<Option<Head>, OpenError> {
    let path = dir.join("head");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| OpenError::Lost {
            path: dir.to_owned(),
            what: "its `head` file is unreadable".to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::Unusable { path, what: error.to_string() }),
    }
}

/// Notes a head that is durable: written aside, synced, renamed, directory synced.
pub fn note_head(dir: &Path, database: &[u8; 16], seq: Seq, hash: Hash) -> io::Result<()> {
    let head = Head { database: hex(database), seq: seq.0, hash: hash.to_hex() };
    let aside = dir.join("head.new");
    let mut file = File::create(&aside)?;
    file.write_all(&serde_json::to_vec(&head)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&aside, dir.join("head"))?;
    File::open(dir)?.sync_all()
}

/// Free bytes on the device that holds `dir`.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
