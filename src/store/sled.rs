//! The engine over sled. The only file that knows sled, and what it gets wrong.
//!
//! - `Db::flush` ends in `sync_file_range`, which is not durable: `sync` adds `sync_data` on a handle of our own to the
//!   same file.
//! - A `snap.*.generating` left by a kill makes open fail for ever: such files are deleted first. If open still says
//!   `Corruption`, the snapshots are set aside (open then replays the log) and it is tried once more.
//! - A truncated `db` panics inside open: caught, and told as damage.
//! - A leaf of more than 128 KiB goes into a file of its own, which is never synced: [`super::shaped`] sees to it that none is.
//! - Its errors are sticky: after one, this engine answers nothing but that error. So the disk must not turn out to be full
//!   within a write: blocks are reserved behind the file's end before a group is written.

use super::directory::{self, Lock, OpenError};
use super::engine::{Batch, Direction, Engine, EngineError, Read, Scan};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// sled's own cache where no configuration says how large it is.
pub const CACHE_BYTES_USUAL: u64 = 64 * 1024 * 1024;
/// An earlier handle has let go of the file within this time.
const LETTING_GO_MAX: Duration = Duration::from_secs(5);
const LETTING_GO_PAUSE: Duration = Duration::from_millis(20);
/// Between two breaths of a fill: some tens of microseconds.
const BREATH_CHANGES: usize = 8;
/// After so many bytes of changes the file is synced in any case.
const UNSYNCED_BYTES_MAX: usize = 96 * 1024;
/// A batch is a window of the journal, at most about 3 MiB; with sled's own pages and half-empty segments it takes several
/// times that at most …
const ROOM_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// … and so much is reserved at once.
const ROOM_BYTES: u64 = 12 * 1024 * 1024;

pub struct Sled {
    db: ::sled::Db,
    /// Our own handle to sled's file, for the sync it does not do itself.
    file: File,
    failed: OnceLock<EngineError>,
    /// The file's length and the end of what is reserved, when room was made last.
    room: Mutex<(u64, u64)>,
    sync_to_device: bool,
    _lock: Lock,
}

/// How durable a sync is. Anything but `Full` is for showing that the tests notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    Full,
    /// A deliberate fault: leaves the device's sync out.
    NoSync,
}

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub durability: Durability,
    pub cache_bytes: u64,
}

impl From<Durability> for Manner {
    fn from(durability: Durability) -> Manner {
        Manner { durability, cache_bytes: CACHE_BYTES_USUAL }
    }
}

impl Sled {
    /// Opens or makes the database in `{dir}/db`. The lock is held until the engine is dropped.
    pub fn open(dir: &Path, manner: impl Into<Manner>) -> Result<Sled, OpenError> {
        let Manner { durability, cache_bytes } = manner.into();
        let lock = directory::lock(dir)?;
        let path = dir.join("db");
        let unusable = |error: io::Error| OpenError::Unusable { path: path.clone(), what: error.to_string() };
        let newborn = !path.join("db").exists();
        set_aside(&path, |name| name.ends_with(".generating")).map_err(unusable)?;
        let db = match open(&path, cache_bytes) {
            Err(Opening::Corrupt(_)) => {
                set_aside(&path, |name| name.starts_with("snap.")).map_err(unusable)?;
                open(&path, cache_bytes)
            }
            other => other,
        }
        .map_err(|opening| opening.explain(&path))?;
        let file = File::options().read(true).write(true).open(path.join("db")).map_err(unusable)?;
        if newborn {
            sync_birth(&path, &file).map_err(unusable)?;
        }
        let sync_to_device = durability == Durability::Full;
        Ok(Sled { db, file, failed: OnceLock::new(), room: Mutex::default(), sync_to_device, _lock: lock })
    }

    fn fail(&self, what: String) -> EngineError {
        self.failed.get_or_init(|| EngineError { what }).clone()
    }

    /// Makes durable what sled has written, not what it still holds.
    fn sync_file(&self) -> Result<(), EngineError> {
        if self.sync_to_device {
            self.file.sync_data().map_err(|error| self.fail(error.to_string()))?;
        }
        Ok(())
    }

    /// When the file was written to, in seconds and nanoseconds.
    fn written(&self) -> Result<(i64, i64), EngineError> {
        let metadata = self.file.metadata().map_err(|error| self.fail(error.to_string()))?;
        Ok((metadata.mtime(), metadata.mtime_nsec()))
    }

    fn usable(&self) -> Result<(), EngineError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn pair(
        &self,
        pair: ::sled::Result<(::sled::IVec, ::sled::IVec)>,
    ) -> Result<super::engine::Pair, EngineError> {
        pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(|error| self.fail(error.to_string()))
    }
}

impl Read for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.usable()?;
        let value = self.db.get(key).map_err(|error| self.fail(error.to_string()))?;
        Ok(value.map(|bytes| bytes.to_vec()))
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        if let Err(error) = self.usable() {
            return Box::new(std::iter::once(Err(error)));
        }
        let pairs = self.db.range::<Vec<u8>, _>((from, to));
        match direction {
            Direction::Up => Box::new(pairs.map(|pair| self.pair(pair))),
            Direction::Down => Box::new(pairs.rev().map(|pair| self.pair(pair))),
        }
    }
}

impl Engine for Sled {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        self.usable()?;
        let mut sled_batch = ::sled::Batch::default();
        for (key, change) in batch.changes() {
            match change {
                Some(value) => sled_batch.insert(key, value),
                None => sled_batch.remove(key),
            }
        }
        self.db.apply_batch(sled_batch).map_err(|error| self.fail(error.to_string()))
    }

    /// A batch of sled's keeps readers out for as long as it takes, a single change does not.
    ///
    /// sled writes a segment (512 KiB) when it is full, and takes one again whose content was replaced as soon as what replaced it
    /// is written, which is before that is durable. Between the two it fills at least one more. So whenever it has written to the
    /// file by itself, that is made durable at once, and before whatever is left is written at the end.
    fn fill(&self, batch: &Batch, breathe: &dyn Fn()) -> Result<(), EngineError> {
        self.usable()?;
        let mut synced = None;
        let mut unsynced = 0;
        for (place, (key, change)) in batch.changes().enumerate() {
            if place.is_multiple_of(BREATH_CHANGES) {
                breathe();
            }
            let changed = match change {
                Some(value) => self.db.insert(key, value),
                None => self.db.remove(key),
            };
            changed.map_err(|error| self.fail(error.to_string()))?;
            unsynced += key.len() + change.map_or(0, <[u8]>::len);
            let written = self.written()?;
            // Time stands still for some milliseconds in a file's dates; hence the bytes besides.
            if synced != Some(written) || unsynced >= UNSYNCED_BYTES_MAX {
                self.sync_file()?;
                (synced, unsynced) = (Some(written), 0);
            }
        }
        self.sync_file()?;
        self.sync()
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.usable()?;
        self.db.flush().map_err(|error| self.fail(error.to_string()))?;
        self.sync_file()
    }

    fn make_room(&self) -> Result<bool, EngineError> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let length = self.file.metadata().map_err(|error| self.fail(error.to_string()))?.len();
        let (length_before, reserved) = *room;
        // A file that was cut has lost what was reserved behind it.
        let reserved = if length < length_before { length } else { reserved.max(length) };
        *room = (length, reserved);
        if reserved - length >= ROOM_BYTES_MIN {
            return Ok(true);
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, reserved, ROOM_BYTES) {
            Ok(()) => *room = (length, reserved + ROOM_BYTES),
            Err(Errno::NOSPC | Errno::DQUOT) => return Ok(false),
            // This file system cannot reserve: then free space is watched alone.
            Err(_) => {}
        }
        Ok(true)
    }
}

/// How sled's open failed.
enum Opening {
    /// Somebody has its file open.
    Held,
    Corrupt(String),
    Failed(String),
}

impl Opening {
    fn explain(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Opening::Held => OpenError::Unusable { path, what: "its file is open elsewhere".to_owned() },
            Opening::Corrupt(what) => OpenError::Damaged { path, what },
            Opening::Failed(what) => OpenError::Unusable { path, what },
        }
    }
}

/// Our own lock is held, so whoever holds sled's is an earlier handle of this process: its threads are ending.
fn open(path: &Path, cache_bytes: u64) -> Result<::sled::Db, Opening> {
    let begun = Instant::now();
    loop {
        match open_now(path, cache_bytes) {
            Err(Opening::Held) if begun.elapsed() < LETTING_GO_MAX => std::thread::sleep(LETTING_GO_PAUSE),
            opened => return opened,
        }
    }
}

fn open_now(path: &Path, cache_bytes: u64) -> Result<::sled::Db, Opening> {
    let config = ::sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
    match quietly(|| config.open()) {
        Some(Ok(db)) => Ok(db),
        Some(Err(::sled::Error::Corruption { .. })) => {
            Err(Opening::Corrupt("sled reports corruption".to_owned()))
        }
        Some(Err(::sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => {
            Err(Opening::Held)
        }
        // How sled words a file that holds something else than it wrote.
        Some(Err(::sled::Error::Io(error)))
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other
            ) =>
        {
            Err(Opening::Failed(error.to_string()))
        }
        Some(Err(error)) => Err(Opening::Corrupt(error.to_string())),
        None => Err(Opening::Corrupt("sled could not read its file".to_owned())),
    }
}

/// Runs what may panic, without its message on stderr; `None` where it did. Only used while the process opens its
/// database, before anything else runs.
fn quietly<T>(run: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(run)).ok();
    std::panic::set_hook(hook);
    result
}

/// Removes files that sled can do without.
fn set_aside(path: &Path, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let files = match fs::read_dir(path) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for file in files {
        let file: PathBuf = file?.path();
        if file.file_name().and_then(|name| name.to_str()).is_some_and(&unwanted) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// A database that was just made is only there once its files and directories are on the device.
fn sync_birth(path: &Path, file: &File) -> io::Result<()> {
    file.sync_all()?;
    File::open(path.join("conf"))?.sync_all()?;
    File::open(path)?.sync_all()?;
    directory::sync_parent(path)
}
