//! The journal: what makes a group durable before the database has it. Two files beside the database's, written in
//! turns; a record is what one sync made durable.
//!
//! A *window* is what one file takes before the other one has its turn; by then the database must have it. The windows are
//! numbered, window `n` stands in file `n` modulo 2, over whatever an earlier one left there. The database notes which
//! window comes next ([`Mark`]): earlier ones are in it, and the next two, where they are, must be written into it again. That
//! may be done any number of times, since a batch says what its keys hold and not how they change.
//!
//! A record: magic `rzj1`, CRC-32 of the rest of the head, window, index within it, length of the payload, its CRC-32, and
//! the head's CRC-32 of the record before, of the window before where it is the first: u32 but for the window, u64, all
//! little-endian, 32 bytes. Then the payload, then zeros up to 64 bytes. The payload is one change after another: length of the
//! key, key, length of the value or `u32::MAX` where the key is deleted, value.
//!
//! A record is written after the one before it was durable. So a torn one can only be the last, and nobody was told of it;
//! a broken one with a whole one behind it is damage. The last record cannot be told from a torn one if a bit of it flips, as
//! everywhere: the `head` file and the seals remember what was there.

use super::engine::Batch;
use bincode::{Decode, Encode};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"rzj1";
const HEAD_BYTES: usize = 32;
/// Records begin at multiples of this.
const ALIGNMENT: usize = 64;
const DELETED: u32 = u32::MAX;
/// So much is reserved behind the place of the next record; no group is larger.
const ROOM_BYTES: u64 = 2 * 1024 * 1024;

/// Where the database stands: everything before this window is in it.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Default, Debug)]
pub struct Mark {
    pub window: u64,
    /// Of the head of the last record before it.
    pub checksum: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub struct Journal {
    files: [Written; 2],
    mark: Mark,
    /// Of the next record.
    index: u32,
    place: u64,
    checksum: u32,
    sync_to_device: bool,
}

/// One of the two files.
struct Written {
    file: File,
    /// Up to where its blocks are its own.
    reserved: u64,
}

/// What was in the journal and perhaps not in the database.
pub struct Found {
    pub changes: Batch,
    /// Which window may be written next, once the changes are in the database together with it.
    pub next: Mark,
}

/// Makes the two files, durably. What is there already stays.
pub fn make(dir: &Path) -> io::Result<()> {
    for path in paths(dir) {
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)?.sync_all()?;
    }
    File::open(dir)?.sync_all()
}

fn paths(dir: &Path) -> [PathBuf; 2] {
    [dir.join("journal.0"), dir.join("journal.1")]
}

fn is_even(window: u64) -> bool {
    window.is_multiple_of(2)
}

/// Reads what comes after the mark. Changes nothing.
pub fn read(dir: &Path, mark: Mark) -> Result<Found, JournalError> {
    let [even, odd] = paths(dir).map(|path| match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(JournalError::Damaged(format!("{} is missing", path.display())))
        }
        bytes => Ok(bytes?),
    });
    let (even, odd) = (even?, odd?);
    let mut found = Found { changes: Batch::default(), next: mark };
    for window in [mark.window, mark.window.saturating_add(1)] {
        let bytes = if is_even(window) { &even } else { &odd };
        let whole = Window { number: window, before: found.next.checksum }.read(bytes, &mut found.changes);
        let whole =
            whole.map_err(|what| JournalError::Damaged(format!("journal, window {window}: {what}")))?;
        if let Some(checksum) = whole {
            found.next = Mark { window: window.saturating_add(1), checksum };
        }
    }
    Ok(found)
}

impl Journal {
    /// Opens the files to write this window, which they must not hold yet.
    pub fn open(dir: &Path, mark: Mark, sync_to_device: bool) -> io::Result<Journal> {
        let [even, odd] = paths(dir).map(|path| {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let reserved = file.metadata()?.len();
            Ok::<_, io::Error>(Written { file, reserved })
        });
        Ok(Journal {
            files: [even?, odd?],
            mark,
            index: 0,
            place: 0,
            checksum: mark.checksum,
            sync_to_device,
        })
    }

    fn current(&mut self) -> &mut Written {
        let [even, odd] = &mut self.files;
        if is_even(self.mark.window) { even } else { odd }
    }

    /// Bytes of this window so far.
    pub fn bytes(&self) -> u64 {
        self.place
    }

    /// Writes a record; it is durable when this comes back.
    pub fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::other("a batch is too large for the journal");
        let head = Head {
            window: self.mark.window,
            index: self.index,
            length: u32::try_from(payload.len()).map_err(too_long)?,
            payload: crc32fast::hash(payload),
            before: self.checksum,
        };
        let (head, checksum) = head.encode();
        let mut record = Vec::with_capacity(HEAD_BYTES + payload.len() + ALIGNMENT);
        record.extend_from_slice(&head);
        record.extend_from_slice(payload);
        record.resize(record.len().next_multiple_of(ALIGNMENT), 0);
        let (place, sync_to_device) = (self.place, self.sync_to_device);
        let file = &self.current().file;
        file.write_all_at(&record, place)?;
        if sync_to_device {
            file.sync_data()?;
        }
        self.place += record.len() as u64;
        self.index = self.index.saturating_add(1);
        self.checksum = checksum;
        Ok(())
    }

    /// The other file's turn: ends this window and begins the next.
    pub fn turn(&mut self) -> Mark {
        self.mark = Mark { window: self.mark.window.saturating_add(1), checksum: self.checksum };
        (self.index, self.place) = (0, 0);
        self.mark
    }

    /// Sees to it that the next record has its place on the device. `false`: there is none.
    pub fn make_room(&mut self) -> io::Result<bool> {
        let needed = self.place + ROOM_BYTES;
        let written = self.current();
        if written.reserved >= needed {
            return Ok(true);
        }
        let (from, bytes) = (written.reserved, needed + ROOM_BYTES - written.reserved);
        match rustix::fs::fallocate(&written.file, FallocateFlags::KEEP_SIZE, from, bytes) {
            Ok(()) => written.reserved = from + bytes,
            Err(Errno::NOSPC | Errno::DQUOT) => return Ok(false),
            // This file system cannot reserve: then free space is watched alone.
            Err(_) => {}
        }
        Ok(true)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    window: u64,
    index: u32,
    length: u32,
    payload: u32,
    before: u32,
}

impl Head {
    /// With the checksum that the next record names.
    fn encode(&self) -> ([u8; HEAD_BYTES], u32) {
        let [index, length] = [self.index, self.length].map(u32::to_le_bytes);
        let [payload, before] = [self.payload, self.before].map(u32::to_le_bytes);
        let rest = [self.window.to_le_bytes().as_slice(), &index, &length, &payload, &before].concat();
        let checksum = crc32fast::hash(&rest);
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&[MAGIC.as_slice(), &checksum.to_le_bytes(), &rest].concat());
        (head, checksum)
    }

    /// None where no whole head stands.
    fn decode(bytes: &[u8]) -> Option<(Head, u32)> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (checksum, rest) = word(rest)?;
        let (rest, _) = rest.split_at_checked(HEAD_BYTES - 8)?;
        if crc32fast::hash(rest) != checksum {
            return None;
        }
        let (window, rest) = rest.split_first_chunk()?;
        let (index, rest) = word(rest)?;
        let (length, rest) = word(rest)?;
        let (payload, rest) = word(rest)?;
        let (before, _) = word(rest)?;
        Some((Head { window: u64::from_le_bytes(*window), index, length, payload, before }, checksum))
    }
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*word), rest))
}

/// A window that is looked for in a file.
struct Window {
    number: u64,
    before: u32,
}

impl Window {
    /// Adds its records' changes; the checksum of its last record, None where it has none.
    fn read(&self, bytes: &[u8], changes: &mut Batch) -> Result<Option<u32>, String> {
        let (mut place, mut index, mut before) = (0, 0, self.before);
        while let Some((head, checksum)) = bytes.get(place..).and_then(Head::decode) {
            // An earlier window's leftover: they have their turns in this file.
            if head.window < self.number && is_even(head.window) == is_even(self.number) {
                break;
            }
            if (head.window, head.index, head.before) != (self.number, index, before) {
                return Err(format!(
                    "record {index} is another one: {} of window {}",
                    head.index, head.window
                ));
            }
            let from = place + HEAD_BYTES;
            let to = from.saturating_add(usize::try_from(head.length).unwrap_or(usize::MAX));
            let whole = bytes.get(from..to).filter(|payload| crc32fast::hash(payload) == head.payload);
            let Some(payload) = whole else { break };
            decode(payload, changes).ok_or_else(|| format!("record {index} cannot be read"))?;
            (place, index, before) = (to.next_multiple_of(ALIGNMENT), index.saturating_add(1), checksum);
        }
        self.nothing_behind(bytes, place, index)?;
        Ok((index > 0).then_some(before))
    }

    /// Where the chain ends no later record of the window may stand: it would say that the one that is missing was whole.
    fn nothing_behind(&self, bytes: &[u8], place: usize, index: u32) -> Result<(), String> {
        let behind = (place.saturating_add(ALIGNMENT)..bytes.len()).step_by(ALIGNMENT);
        let mut heads = behind.filter_map(|place| bytes.get(place..).and_then(Head::decode));
        match heads.find(|(head, _)| head.window >= self.number) {
            Some((head, _)) => {
                Err(format!("record {index} is broken, and record {} stands behind it", head.index))
            }
            None => Ok(()),
        }
    }
}

/// Appends a batch's changes to a payload.
pub fn encode(batch: &Batch, payload: &mut Vec<u8>) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(DELETED).to_le_bytes();
    for (key, value) in batch.changes() {
        payload.extend_from_slice(&length(key));
        payload.extend_from_slice(key);
        payload.extend_from_slice(&value.map_or(DELETED.to_le_bytes(), length));
        payload.extend_from_slice(value.unwrap_or_default());
    }
}

/// Adds a payload's changes; None where it is none.
fn decode(mut payload: &[u8], changes: &mut Batch) -> Option<()> {
    while !payload.is_empty() {
        let (key, rest) = prefixed(payload)?;
        let (deleted, after) = word(rest)?;
        if deleted == DELETED {
            changes.delete(key.to_vec());
            payload = after;
        } else {
            let (value, after) = prefixed(rest)?;
            changes.put(key.to_vec(), value.to_vec());
            payload = after;
        }
    }
    Some(())
}

fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = word(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}
