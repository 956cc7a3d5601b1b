//! The file of keys that seal what can be erased: `slots` beside the database, readable by its owner alone.
//!
//! A title of 32 bytes that says what it is, then a key of 32 bytes per slot; a wiped slot is all zeros. Slots are overwritten
//! in place, which erases on file systems that write in place; below one that copies on write only the device's own
//! encryption does.

use super::directory::{self, OpenError};
use super::engine::EngineError;
use super::journaled::Journaled;
use super::sealing::{Sealing, Secret, Slots};
use super::sled::Manner;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const FILE: &str = "slots";
const SLOT_BYTES: u64 = 32;
/// As long as a slot.
const HEAD: &[u8; 32] = b"razao keys of what can be erased";

/// Draws a key that nobody can guess.
pub type Draw = fn() -> Result<Secret, String>;

pub struct SlotFile {
    file: File,
    path: PathBuf,
    count: AtomicU64,
    draw: Draw,
}

/// Opens or makes the database in `dir` with all that can be erased sealed. Whatever writes to a data directory goes
/// through this, a restore too.
pub fn open(dir: &Path, manner: impl Into<Manner>, draw: Draw) -> Result<Sealing, OpenError> {
    let below = Journaled::open(dir, manner)?;
    let slots = SlotFile::open(dir, draw)?;
    Sealing::open(Arc::new(below), Arc::new(slots), dir)
}

impl SlotFile {
    /// Opens the file, or makes one without slots.
    fn open(dir: &Path, draw: Draw) -> Result<SlotFile, OpenError> {
        let path = dir.join(FILE);
        let unusable = |error: io::Error| OpenError::Unusable { path: path.clone(), what: error.to_string() };
        if !path.exists() {
            make(dir, &path).map_err(unusable)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(unusable)?;
        let mut head = [0; HEAD.len()];
        if file.read_exact_at(&mut head, 0).is_err() || &head != HEAD {
            let what = "its `slots` file holds something else".to_owned();
            return Err(OpenError::Damaged { path: dir.to_owned(), what });
        }
        let bytes = file.metadata().map_err(unusable)?.len();
        let count = AtomicU64::new((bytes / SLOT_BYTES).saturating_sub(1));
        Ok(SlotFile { file, path, count, draw })
    }

    fn fail(&self, error: impl std::fmt::Display) -> EngineError {
        EngineError { what: format!("{}: {error}", self.path.display()) }
    }
}

impl Slots for SlotFile {
    fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    fn read(&self, slot: u64) -> Result<Option<Secret>, EngineError> {
        let mut secret = Secret::default();
        self.file.read_exact_at(&mut secret, place(slot)).map_err(|error| self.fail(error))?;
        Ok(Some(secret).filter(|secret| *secret != Secret::default()))
    }

    fn draw(&self, slots: Range<u64>) -> Result<(), EngineError> {
        let secrets = slots.clone().map(|_| (self.draw)()).collect::<Result<Vec<Secret>, _>>();
        let secrets = secrets.map_err(|error| self.fail(error))?;
        self.file.write_all_at(&secrets.concat(), place(slots.start)).map_err(|error| self.fail(error))?;
        self.file.sync_all().map_err(|error| self.fail(error))?;
        self.count.fetch_max(slots.end, Ordering::Release);
        Ok(())
    }

    fn wipe(&self, slots: &BTreeSet<u64>) -> Result<(), EngineError> {
        for slot in slots.range(..self.count()) {
            let zeros = Secret::default();
            self.file.write_all_at(&zeros, place(*slot)).map_err(|error| self.fail(error))?;
        }
        self.file.sync_data().map_err(|error| self.fail(error))
    }
}

fn place(slot: u64) -> u64 {
    slot.saturating_add(1).saturating_mul(SLOT_BYTES)
}

/// Written aside, synced, renamed: a file that is there is whole.
fn make(dir: &Path, path: &Path) -> io::Result<()> {
    let aside = dir.join("slots.new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(HEAD)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    directory::sync_parent(path)
}
