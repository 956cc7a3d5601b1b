//! An engine over an engine: a group is durable as soon as one record of a journal is, and the database gets many groups at
//! once, from a thread of its own.
//!
//! The database beneath is slow per batch: it wakes threads, waits twice for the device, and keeps readers out. So a group costs
//! an append and one `fdatasync`, and what many groups changed again and again, as heads and balances are, is written once.
//! Meanwhile the changes stand in memory, over what the database has, and whoever reads sees both as one.
//!
//! Kills and power cuts find no gap:
//! - The journal has a group before anybody is answered, and keeps it until the database has it durably.
//! - Only after all changes of a window are durable in the database it is noted there that they are. A start writes the windows
//!   that are not noted, whole and again, before anything is read: where the database had a part of one, it then has all of it.
//! - Until then readers see the changes in memory, so nobody sees the database with a part of a group.

use super::directory::OpenError;
use super::engine::{Batch, Direction, Engine, EngineError, Pair, Read, Scan};
use super::journal::{self, Journal, JournalError, Mark};
use super::keys;
use super::layers::Layers;
use super::meta::{StoreError, one, store};
use super::shaped::Shaped;
use super::sled::{Durability, Manner, Sled};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A window of the journal ends at about so many bytes …
const WINDOW_BYTES: u64 = 512 * 1024;
/// … or, where the database is still busy with the one before, at so many times as many: then groups wait.
const WINDOWS_MAX: u64 = 4;
/// Until the present window has come to so many times as many, the thread that fills the database lets others go first.
const WINDOWS_PATIENT: u64 = 2;
/// What was applied is written early if it grows beyond this before it is synced.
const PENDING_BYTES_MAX: usize = 1024 * 1024;
/// How often it is looked whether the disk has room again.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

pub struct Journaled {
    shared: Arc<Shared>,
    checkpointer: Option<JoinHandle<()>>,
}

struct Shared {
    below: Arc<dyn Engine>,
    window_bytes: u64,
    /// What stands in the journal's present window.
    present_bytes: AtomicU64,
    layers: Layers,
    /// Taken before the stage where both are.
    writing: Mutex<Writing>,
    stage: Mutex<Stage>,
    changed: Condvar,
}

struct Writing {
    journal: Journal,
    /// Applied and not yet in the journal.
    pending: Vec<u8>,
}

/// What the checkpointer and everybody else tell each other.
#[derive(Default)]
struct Stage {
    /// To be written into the database, which takes one at a time.
    lower: Option<Arc<Lower>>,
    failed: Option<EngineError>,
    short_of_space: bool,
    ending: bool,
}

/// A window of the journal that is to be written into the database.
struct Lower {
    changes: Arc<Batch>,
    /// Notes the next window, once all of this one is written.
    mark: Batch,
}

impl Lower {
    fn write(&self, below: &dyn Engine, breathe: &dyn Fn()) -> Result<(), EngineError> {
        below.fill(&self.changes, breathe)?;
        below.apply(&self.mark)?;
        below.sync()
    }
}

fn marked(next: Mark) -> Result<Batch, StoreError> {
    let mut mark = Batch::default();
    store(&mut mark, keys::JOURNAL.to_vec(), &next)?;
    Ok(mark)
}

impl Journaled {
    /// Opens or makes the database in `dir` with its journal beside it.
    pub fn open(dir: &Path, manner: impl Into<Manner>) -> Result<Journaled, OpenError> {
        let manner = manner.into();
        let sled = Sled::open(dir, manner)?;
        let shaped = Shaped::over(Arc::new(sled)).map_err(StoreError::from)?;
        Journaled::over(Arc::new(shaped), &dir.join("db"), manner.durability, WINDOW_BYTES)
    }

    /// Puts a journal, in files of this directory, over an engine.
    pub fn over(
        below: Arc<dyn Engine>,
        dir: &Path,
        durability: Durability,
        window_bytes: u64,
    ) -> Result<Journaled, OpenError> {
        let unusable =
            |error: io::Error| OpenError::Unusable { path: dir.to_owned(), what: error.to_string() };
        let noted = one::<Mark>(&*below, keys::JOURNAL)?;
        if noted.is_none() {
            journal::make(dir).map_err(unusable)?;
        }
        let mark = noted.unwrap_or_default();
        let found = journal::read(dir, mark).map_err(|error| match error {
            JournalError::Damaged(what) => OpenError::Damaged { path: dir.to_owned(), what },
            JournalError::Io(error) => unusable(error),
        })?;
        if noted != Some(found.next) {
            if matches!(below.make_room(), Ok(false)) {
                let what = "there is no room to write what the journal holds".to_owned();
                return Err(OpenError::Unusable { path: dir.to_owned(), what });
            }
            let lower = Lower { changes: Arc::new(found.changes), mark: marked(found.next)? };
            lower.write(&*below, &|| ()).map_err(StoreError::from)?;
        }
        let journal = Journal::open(dir, found.next, durability == Durability::Full).map_err(unusable)?;
        let shared = Arc::new(Shared {
            below,
            window_bytes,
            present_bytes: AtomicU64::new(0),
            layers: Layers::default(),
            writing: Mutex::new(Writing { journal, pending: Vec::new() }),
            stage: Mutex::default(),
            changed: Condvar::new(),
        });
        let working = Arc::clone(&shared);
        let checkpointer = std::thread::Builder::new().name("checkpoint".to_owned());
        let checkpointer = checkpointer.spawn(move || working.work()).map_err(unusable)?;
        Ok(Journaled { shared, checkpointer: Some(checkpointer) })
    }
}

impl Drop for Journaled {
    /// Leaves everything in the database, if it can; else the journal has it.
    fn drop(&mut self) {
        drop(self.checkpoint());
        self.shared.stage().ending = true;
        self.shared.changed.notify_all();
        if let Some(checkpointer) = self.checkpointer.take() {
            drop(checkpointer.join());
        }
    }
}

impl Shared {
    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<(), EngineError> {
        self.stage().failed.clone().map_or(Ok(()), Err)
    }

    /// For good: what is on the device is unknown.
    fn fail(&self, error: EngineError) -> EngineError {
        let error = self.stage().failed.get_or_insert(error).clone();
        self.changed.notify_all();
        error
    }

    /// Makes what is pending durable.
    fn write(&self, writing: &mut Writing) -> Result<(), EngineError> {
        if writing.pending.is_empty() {
            return Ok(());
        }
        let written = writing.journal.append(&writing.pending);
        written.map_err(|error| self.fail(EngineError { what: format!("the journal: {error}") }))?;
        writing.pending.clear();
        self.present_bytes.store(writing.journal.bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// Hands what is in memory, all of it in the journal, to the checkpointer, which must be free.
    fn hand_over(&self, writing: &mut Writing, mut stage: MutexGuard<'_, Stage>) -> Result<(), EngineError> {
        self.present_bytes.store(0, Ordering::Relaxed);
        let mark = marked(writing.journal.turn()).map_err(|error| EngineError { what: error.to_string() })?;
        stage.lower = Some(Arc::new(Lower { changes: self.layers.lower(), mark }));
        self.changed.notify_all();
        Ok(())
    }

    /// Until the checkpointer has nothing to do, or cannot do it.
    fn until_idle(&self) -> Result<MutexGuard<'_, Stage>, EngineError> {
        let busy =
            |stage: &mut Stage| stage.lower.is_some() && stage.failed.is_none() && !stage.short_of_space;
        let stage = self.changed.wait_while(self.stage(), busy).unwrap_or_else(PoisonError::into_inner);
        match &stage.failed {
            Some(error) => Err(error.clone()),
            None => Ok(stage),
        }
    }

    /// The checkpointer's life. Whoever waits for it must not wait for ever should sled panic.
    fn work(&self) {
        if catch_unwind(AssertUnwindSafe(|| self.check_points())).is_err() {
            drop(self.fail(EngineError { what: "the thread that writes the database panicked".to_owned() }));
        }
    }

    fn check_points(&self) {
        while let Some(lower) = self.next_lower() {
            match lower.write(&*self.below, &|| self.breathe()) {
                Ok(()) => self.layers.drop_lower(),
                Err(error) => drop(self.fail(error)),
            }
            let mut stage = self.stage();
            if stage.failed.is_some() {
                return;
            }
            stage.lower = None;
            drop(stage);
            self.changed.notify_all();
        }
    }

    /// Nobody waits for the database, and somebody for every other thread: they go first, for a while.
    fn breathe(&self) {
        if self.present_bytes.load(Ordering::Relaxed) < WINDOWS_PATIENT * self.window_bytes {
            std::thread::yield_now();
        }
    }

    /// What is to be written, once the disk has room for it. None: it is over.
    fn next_lower(&self) -> Option<Arc<Lower>> {
        let mut stage = self.stage();
        loop {
            if let Some(lower) = stage.lower.clone() {
                drop(stage);
                // An error here comes again with the write, and is told there.
                let short = matches!(self.below.make_room(), Ok(false));
                stage = self.stage();
                if stage.short_of_space != short {
                    stage.short_of_space = short;
                    self.changed.notify_all();
                }
                if !short {
                    return Some(lower);
                }
                if stage.ending {
                    return None;
                }
                let waited = self.changed.wait_timeout(stage, ROOM_PAUSE);
                stage = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else if stage.ending {
                return None;
            } else {
                stage = self.changed.wait(stage).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Read for Journaled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.shared.usable()?;
        match self.shared.layers.change(key) {
            _ if key == keys::JOURNAL => Ok(None),
            Some(change) => Ok(change),
            None => self.shared.below.get(key),
        }
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        if let Err(error) = self.shared.usable() {
            return Box::new(std::iter::once(Err(error)));
        }
        let pairs = self.shared.layers.scan(&*self.shared.below, from, to, direction);
        let own = |pair: &Result<Pair, EngineError>| pair.as_ref().is_ok_and(|(key, _)| key == keys::JOURNAL);
        Box::new(pairs.filter(move |pair| !own(pair)))
    }
}

impl Engine for Journaled {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        self.shared.usable()?;
        let mut writing = self.shared.writing();
        journal::encode(batch, &mut writing.pending);
        self.shared.layers.put(batch);
        if writing.pending.len() > PENDING_BYTES_MAX {
            drop(writing);
            return self.sync();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.shared.usable()?;
        let mut writing = self.shared.writing();
        self.shared.write(&mut writing)?;
        if writing.journal.bytes() < self.shared.window_bytes {
            return Ok(());
        }
        let mut stage = self.shared.stage();
        if stage.lower.is_some() && writing.journal.bytes() >= WINDOWS_MAX * self.shared.window_bytes {
            drop(stage);
            stage = self.shared.until_idle()?;
        }
        if stage.lower.is_none() {
            self.shared.hand_over(&mut writing, stage)?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<(), EngineError> {
        let mut writing = self.shared.writing();
        self.shared.write(&mut writing)?;
        let stage = self.shared.until_idle()?;
        if stage.lower.is_none() && writing.journal.bytes() > 0 {
            self.shared.hand_over(&mut writing, stage)?;
            drop(self.shared.until_idle()?);
        }
        Ok(())
    }

    fn reshape(&self, moved: &mut dyn FnMut(u64)) -> Result<(), EngineError> {
        self.checkpoint()?;
        self.shared.below.reshape(moved)
    }

    /// Of the journal, for the next group, and of the database, for what it was handed over.
    fn make_room(&self) -> Result<bool, EngineError> {
        if self.shared.stage().short_of_space {
            return Ok(false);
        }
        let room = self.shared.writing().journal.make_room();
        room.map_err(|error| EngineError { what: error.to_string() })
    }
}
