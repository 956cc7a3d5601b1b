//! What a backup is made from: a ledger's keys and values while it goes on, in such an order that they end consistent.
//!
//! A walk through the store in key order, a page at a time, is no snapshot: pages are of different moments. So from before
//! the first page on a tap keeps every batch that is written meanwhile, and what it kept follows the walk. Each batch
//! holds whole values, so after the last one, in order, every key is as of that one commit, whichever moment its page was
//! of: a fuzzy copy and its redo log. Following is the same log, going on.

use super::BackupError;
use super::manifest::hex;
use crate::domain::chain::Hash;
use crate::domain::ids::Seq;
use crate::ledger::reader::Reader;
use crate::ledger::witness::Tap;
use crate::store::engine::Pair;
use crate::store::keys;
use crate::store::meta::DATA_VERSION;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::ops::Bound;
use std::time::{Duration, Instant};

/// Values are up to 64 KiB, so that a page stays within a few megabytes.
const PAGE_RECORDS: usize = 256;
/// Changes are handed on once they are so many …
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// … and while following no more often than this: a second behind, less what writing them down takes.
const FOLLOW_PAUSE: Duration = Duration::from_millis(300);
/// Without news somebody who follows hears at least so often that the ledger is still there.
const IDLE: Duration = Duration::from_secs(1);
/// More than any item has.
const PART_BYTES_MAX: u32 = 1024 * 1024;

/// What a backup holds already, as its manifest says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Since {
    pub database: String,
    pub data_version: u32,
    pub seq: u64,
    pub hash: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// The first one. What is appended with the ledger and never changes comes only beyond this seq.
    Begin { beyond: Seq },
    /// Of the walk through the store, in key order.
    Base { key: Vec<u8>, value: Vec<u8> },
    /// The walk is at its end: what did not come is not there.
    BaseEnd,
    /// A change, in key order until the next cut.
    Delta { key: Vec<u8>, value: Option<Vec<u8>> },
    /// Whatever came so far is older than what comes now.
    Cut,
    /// All that came so far is the ledger as of one commit, and durable there.
    Point,
    /// Nothing new.
    Idle,
}

pub trait Feed {
    /// None: that was all.
    fn next(&mut self) -> Result<Option<Item>, BackupError>;
}

/// A ledger in this process.
pub struct Live {
    tap: Tap,
    stage: Stage,
    out: VecDeque<Item>,
    next: Bound<Vec<u8>>,
    beyond: Seq,
    follow: bool,
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pending_bytes: usize,
    point_at: Instant,
    /// Whether whoever waits should stop waiting.
    stopping: Box<dyn Fn() -> bool + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Walk,
    Follow,
    Done,
}

impl Live {
    pub fn new(
        reader: &Reader,
        since: Option<&Since>,
        follow: bool,
        stopping: impl Fn() -> bool + Send + 'static,
    ) -> Result<Live, BackupError> {
        let beyond = since.map_or(Ok(Seq(0)), |since| beyond(reader, since))?;
        Ok(Live {
            tap: reader.tap(),
            stage: Stage::Walk,
            out: VecDeque::from([Item::Begin { beyond }]),
            next: Bound::Unbounded,
            beyond,
            follow,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            point_at: Instant::now(),
            stopping: Box::new(stopping),
        })
    }

    fn walk(&mut self) -> Result<(), BackupError> {
        if (self.stopping)() {
            return Err(BackupError::Stopping);
        }
        let page = self.tap.page(self.next.clone(), PAGE_RECORDS)?;
        let full = page.len() == PAGE_RECORDS;
        if let Some((last, _)) = page.last() {
            self.next = Bound::Excluded(last.clone());
        }
        for (key, value) in page {
            if self.is_known(&key) {
                if key.first() == Some(&keys::ENTRY) {
                    self.next = Bound::Included(keys::entry(self.beyond.next()));
                    return self.walked(true);
                }
            } else {
                self.out.push_back(Item::Base { key, value });
            }
        }
        self.walked(full)
    }

    fn is_known(&self, key: &[u8]) -> bool {
        keys::appended(key).is_some_and(|seq| seq <= self.beyond)
    }

    /// The page was read before the tap is emptied, and the next one is read after: so no page is older than the changes
    /// that were handed on before it.
    fn walked(&mut self, more: bool) -> Result<(), BackupError> {
        if more {
            self.absorb()?;
            if self.pending_bytes > PENDING_BYTES_MAX {
                self.out.push_back(Item::Cut);
                self.hand_on();
            }
            return Ok(());
        }
        self.tap.settle()?;
        self.absorb()?;
        self.out.extend([Item::BaseEnd, Item::Cut]);
        self.hand_on();
        self.out.push_back(Item::Point);
        self.point_at = Instant::now();
        self.stage = if self.follow { Stage::Follow } else { Stage::Done };
        Ok(())
    }

    fn follow(&mut self) -> Result<(), BackupError> {
        self.tap.wait(IDLE);
        if (self.stopping)() {
            return Err(BackupError::Stopping);
        }
        if let Some(early) = FOLLOW_PAUSE.checked_sub(self.point_at.elapsed()) {
            std::thread::sleep(early);
        }
        self.absorb()?;
        if self.pending.is_empty() {
            self.out.push_back(Item::Idle);
        } else {
            self.hand_on();
            self.out.push_back(Item::Point);
        }
        self.point_at = Instant::now();
        Ok(())
    }

    fn absorb(&mut self) -> Result<(), BackupError> {
        for batch in self.tap.drain()? {
            for (key, value) in batch.changes() {
                self.pending_bytes += key.len() + value.map_or(0, <[u8]>::len);
                self.pending.insert(key.to_vec(), value.map(<[u8]>::to_vec));
            }
        }
        Ok(())
    }

    fn hand_on(&mut self) {
        self.pending_bytes = 0;
        let changes = std::mem::take(&mut self.pending).into_iter();
        self.out.extend(changes.map(|(key, value)| Item::Delta { key, value }));
        self.out.push_back(Item::Cut);
    }
}

impl Feed for Live {
    fn next(&mut self) -> Result<Option<Item>, BackupError> {
        loop {
            if let Some(item) = self.out.pop_front() {
                return Ok(Some(item));
            }
            match self.stage {
                Stage::Walk => self.walk()?,
                Stage::Follow => self.follow()?,
                Stage::Done => return Ok(None),
            }
        }
    }
}

/// Up to where a backup has what never changes. A backup of another ledger, or of one that went another way from some
/// seq on, must not be continued.
fn beyond(reader: &Reader, since: &Since) -> Result<Seq, BackupError> {
    let published = reader.published();
    if since.database != hex(&published.database) {
        return Err(BackupError::OtherLedger);
    }
    let seq = Seq(since.seq);
    let hash = match seq {
        Seq(0) => Some(Hash::genesis()),
        seq => reader.entry(seq)?.map(|stored| stored.entry.hash),
    };
    if hash.is_none_or(|hash| hash.to_hex() != since.hash) {
        return Err(BackupError::OtherHistory(since.seq));
    }
    // Values of another version are written in another form.
    Ok(if since.data_version == DATA_VERSION { seq } else { Seq(0) })
}

/// Writes everything a feed says, for [`Received`] on the other side.
pub fn send(feed: &mut dyn Feed, to: &mut dyn Write) -> io::Result<()> {
    loop {
        match feed.next() {
            Ok(Some(item)) => send_item(&item, to)?,
            Ok(None) => {
                to.write_all(b"z")?;
                return to.flush();
            }
            Err(error) => {
                part(to, b'x', &[error.to_string().as_bytes()])?;
                return to.flush();
            }
        }
    }
}

fn send_item(item: &Item, to: &mut dyn Write) -> io::Result<()> {
    match item {
        Item::Begin { beyond } => part(to, b'b', &[&beyond.0.to_be_bytes()]),
        Item::Base { key, value } => part(to, b'r', &[key, value]),
        Item::Delta { key, value: Some(value) } => part(to, b'p', &[key, value]),
        Item::Delta { key, value: None } => part(to, b'd', &[key]),
        Item::BaseEnd => to.write_all(b"e"),
        Item::Cut => to.write_all(b"c"),
        // Whoever follows wants these at once.
        Item::Point => to.write_all(b"P").and_then(|()| to.flush()),
        Item::Idle => to.write_all(b"i").and_then(|()| to.flush()),
    }
}

fn part(to: &mut dyn Write, tag: u8, parts: &[&[u8]]) -> io::Result<()> {
    to.write_all(&[tag])?;
    for part in parts {
        to.write_all(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        to.write_all(part)?;
    }
    Ok(())
}

/// A ledger in another process, through what [`send`] writes.
pub struct Received<R>(pub R);

impl<R: Read> Received<R> {
    fn tag(&mut self) -> io::Result<u8> {
        let mut tag = [0];
        self.0.read_exact(&mut tag)?;
        Ok(tag[0])
    }

    fn part(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > PART_BYTES_MAX {
            return Err(io::Error::other("a part that cannot be"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn pair(&mut self) -> io::Result<Pair> {
        Ok((self.part()?, self.part()?))
    }

    fn item(&mut self) -> io::Result<Result<Option<Item>, BackupError>> {
        Ok(Ok(Some(match self.tag()? {
            b'b' => {
                let beyond = <[u8; 8]>::try_from(self.part()?).map_err(|_| io::Error::other("no seq"))?;
                Item::Begin { beyond: Seq(u64::from_be_bytes(beyond)) }
            }
            b'r' => {
                let (key, value) = self.pair()?;
                Item::Base { key, value }
            }
            b'p' => {
                let (key, value) = self.pair()?;
                Item::Delta { key, value: Some(value) }
            }
            b'd' => Item::Delta { key: self.part()?, value: None },
            b'e' => Item::BaseEnd,
            b'c' => Item::Cut,
            b'P' => Item::Point,
            b'i' => Item::Idle,
            b'z' => return Ok(Ok(None)),
            b'x' => {
                let why = String::from_utf8_lossy(&self.part()?).into_owned();
                let stopping = why == BackupError::Stopping.to_string();
                return Ok(Err(if stopping { BackupError::Stopping } else { BackupError::Told(why) }));
            }
            _ => return Err(io::Error::other("an item that cannot be")),
        })))
    }
}

impl<R: Read> Feed for Received<R> {
    fn next(&mut self) -> Result<Option<Item>, BackupError> {
        self.item().map_err(|_| BackupError::Gone)?
    }
}
