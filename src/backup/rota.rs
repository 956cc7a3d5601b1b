//! Backups by the clock: a directory each, named by its time and seq, of which the last few stay.
//!
//! A new one begins as hard links to the files of the one before and is continued from there, so it costs what is new. The
//! files are never written into, so each directory stands for itself, and taking one away harms no other.

use super::copy::{Shelf, Told};
use super::feed::Live;
use super::manifest::{self, Manifest};
use super::{BackupError, unusable};
use crate::clock::Clock;
use crate::domain::time::Time;
use crate::ledger::reader::Reader;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const PREFIX: &str = "razao-";
/// One that is not complete yet; what a kill left of one is begun anew.
const UNDER_WAY: &str = "under-way";
/// After a failure it is tried again this soon, or with the next regular one.
const RETRY: Duration = Duration::from_secs(600);

pub struct Rota {
    pub to: PathBuf,
    pub every: Option<Duration>,
    pub keep: usize,
    reader: Reader,
    clock: Arc<dyn Clock>,
    stopping: Arc<dyn Fn() -> bool + Send + Sync>,
    running: AtomicBool,
    lately: Mutex<Lately>,
}

/// How the last backup went.
#[derive(Clone, Default, Debug)]
pub struct Lately {
    pub last: Option<Kept>,
    /// Why the last try failed, and when; none: it did not.
    pub failed: Option<(Time, String)>,
}

/// A backup in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub path: PathBuf,
    pub seq: u64,
    pub hash: String,
    pub taken_at: String,
    pub bytes: u64,
    /// What was written for it, the rest being shared with the one before; none: it was found there.
    pub new_bytes: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum RotaError {
    #[error("a backup is being taken; wait until it has ended")]
    Running,
    #[error(transparent)]
    Failed(#[from] BackupError),
}

impl Rota {
    pub fn new(
        to: PathBuf,
        every: Option<Duration>,
        keep: usize,
        reader: Reader,
        clock: Arc<dyn Clock>,
        stopping: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Rota {
        let lately = Lately { last: newest(&to).unwrap_or_default(), failed: None };
        let (stopping, lately) = (Arc::new(stopping), Mutex::new(lately));
        Rota { to, every, keep, reader, clock, stopping, running: AtomicBool::new(false), lately }
    }

    pub fn lately(&self) -> Lately {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the next one is due; none: only when somebody asks for one.
    pub fn due(&self) -> Option<Time> {
        let every = self.every?;
        let Lately { last, failed } = self.lately();
        let last = last.and_then(|kept| Time::parse(&kept.taken_at).ok());
        let regular = last.map_or(Time(0), |at| at.plus(every));
        let again = failed.map(|(at, _)| at.plus(RETRY.min(every)));
        Some(again.map_or(regular, |again| again.max(regular)))
    }

    /// Takes one now, and lets go of those that are too many.
    pub fn take(&self) -> Result<Kept, RotaError> {
        if self.running.swap(true, Ordering::SeqCst) {
            return Err(RotaError::Running);
        }
        let taken = self.taken();
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        match &taken {
            Ok(kept) => *lately = Lately { last: Some(kept.clone()), failed: None },
            Err(error) => lately.failed = Some((self.clock.now(), error.to_string())),
        }
        drop(lately);
        self.running.store(false, Ordering::SeqCst);
        Ok(taken?)
    }

    /// Goes on from the newest one; from nothing where that one cannot be gone on from.
    fn taken(&self) -> Result<Kept, BackupError> {
        match newest(&self.to).and_then(|before| self.continued(before.as_ref())) {
            Err(
                error @ (BackupError::Damaged { .. }
                | BackupError::OtherLedger
                | BackupError::OtherHistory(_)
                | BackupError::Newer { .. }),
            ) => {
                tracing::warn!(%error, "the newest backup cannot be continued; a whole one is taken");
                self.continued(None)
            }
            taken => taken,
        }
    }

    fn continued(&self, before: Option<&Kept>) -> Result<Kept, BackupError> {
        let dir = self.to.join(UNDER_WAY);
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(unusable(&dir))?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(unusable(&dir))?;
        if let Some(before) = before {
            link(&before.path, &dir)?;
        }
        let mut shelf = Shelf::open(&dir)?;
        let stopping = Arc::clone(&self.stopping);
        let mut live = Live::new(&self.reader, shelf.since().as_ref(), false, move || stopping())?;
        let Told { new_bytes, .. } = shelf.take(&mut live, &|| self.clock.now(), &mut |_| {})?;
        let manifest = shelf.manifest().ok_or_else(|| BackupError::None(dir.clone()))?;
        let place = self.to.join(name(manifest));
        fs::rename(&dir, &place).and_then(|()| File::open(&self.to)?.sync_all()).map_err(unusable(&place))?;
        let kept = Kept { new_bytes: Some(new_bytes), ..kept(place, manifest) };
        self.let_go()?;
        Ok(kept)
    }

    fn let_go(&self) -> Result<(), BackupError> {
        let mut all = all(&self.to)?;
        all.truncate(all.len().saturating_sub(self.keep));
        all.into_iter().try_for_each(|dir| fs::remove_dir_all(&dir).map_err(unusable(&dir)))
    }
}

/// `razao-20261121T183000.123456Z-seq-42`: in the order of time.
fn name(manifest: &Manifest) -> String {
    let time: String = manifest.taken_at.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{PREFIX}{time}-seq-{}", manifest.seq_to)
}

/// The complete ones, oldest first.
fn all(to: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let files = match fs::read_dir(to) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(to)(error)),
    };
    let mut found = Vec::new();
    for file in files {
        let file = file.map_err(unusable(to))?;
        let ours = file.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && file.path().join(manifest::NAME).is_file() {
            found.push(file.path());
        }
    }
    found.sort();
    Ok(found)
}

fn newest(to: &Path) -> Result<Option<Kept>, BackupError> {
    let Some(path) = all(to)?.pop() else { return Ok(None) };
    Ok(Manifest::read(&path)?.map(|manifest| kept(path, &manifest)))
}

fn kept(path: PathBuf, manifest: &Manifest) -> Kept {
    Kept {
        path,
        seq: manifest.seq_to,
        hash: manifest.head_hash.clone(),
        taken_at: manifest.taken_at.clone(),
        bytes: manifest.bytes(),
        new_bytes: None,
    }
}

/// The files of one backup under another directory too; copied where the file system knows no links.
fn link(from: &Path, to: &Path) -> Result<(), BackupError> {
    let Some(manifest) = Manifest::read(from)? else { return Ok(()) };
    let names = manifest.files.iter().map(|note| note.name.as_str());
    for name in names {
        let (old, new) = (from.join(name), to.join(name));
        fs::hard_link(&old, &new).or_else(|_| fs::copy(&old, &new).map(drop)).map_err(unusable(&old))?;
    }
    // Of its own, because it is the one file that changes.
    fs::copy(from.join(manifest::NAME), to.join(manifest::NAME)).map(drop).map_err(unusable(to))
}
