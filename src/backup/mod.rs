//! One data directory, elsewhere: copied while it is written, consistent at one commit, in files of its own form.
//!
//! A backup is a directory with `manifest.json` and the segment files it lists (schema/backup.md says the bytes). What the
//! ledger holds comes in as a [`feed::Feed`], from the ledger itself or through the control socket; [`copy`] writes what
//! is new of it, [`restore`] makes a data directory of it again. Knows nothing of sled's files: what is read is keys and
//! values, and what is restored is written anew.

pub mod copy;
pub mod feed;
pub mod manifest;
pub mod restore;
pub mod rota;
pub mod segment;

use crate::ledger::verify::Difference;
use crate::ledger::witness::TapError;
use crate::store::directory::OpenError;
use crate::store::meta::StoreError;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{path} cannot be used: {what}; check that it exists, is writable and has free space")]
    Io { path: PathBuf, what: String },
    #[error("there is no backup in {0}: it holds no manifest.json")]
    None(PathBuf),
    #[error("the backup is damaged: {path}: {what}; use another backup")]
    Damaged { path: PathBuf, what: String },
    #[error("the backup in {path} was written by a newer version of razao ({what}); upgrade this program")]
    Newer { path: PathBuf, what: String },
    #[error("{0} is being written by another razao process; wait until it has ended")]
    Locked(PathBuf),
    #[error("the backup there is of another ledger; name an empty directory")]
    OtherLedger,
    #[error(
        "the backup there went another way than this ledger: at seq {0} their hashes differ; name an empty \
         directory"
    )]
    OtherHistory(u64),
    #[error("{0} is not empty; a restore wants a directory that does not exist or is empty")]
    NotEmpty(PathBuf),
    #[error("{0} holds other files and no backup; name an empty directory")]
    Foreign(PathBuf),
    #[error("the daemon is stopping")]
    Stopping,
    #[error("the daemon went away while it was copied")]
    Gone,
    #[error("{0}")]
    Told(String),
    #[error(transparent)]
    Tap(#[from] TapError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("what the backup holds does not verify: {0}")]
    Difference(#[from] Difference),
}

impl BackupError {
    /// Whether a check failed, as opposed to something being out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            BackupError::Damaged { .. } | BackupError::Difference(_) | BackupError::Store(_) => true,
            BackupError::Open(error) => error.is_damage(),
            BackupError::Io { .. }
            | BackupError::None(_)
            | BackupError::Newer { .. }
            | BackupError::Locked(_)
            | BackupError::OtherLedger
            | BackupError::OtherHistory(_)
            | BackupError::NotEmpty(_)
            | BackupError::Foreign(_)
            | BackupError::Stopping
            | BackupError::Gone
            | BackupError::Told(_)
            | BackupError::Tap(_) => false,
        }
    }
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |error| BackupError::Io { path: path.to_owned(), what: error.to_string() }
}

fn damaged(path: &Path, what: impl Into<String>) -> BackupError {
    BackupError::Damaged { path: path.to_owned(), what: what.into() }
}
