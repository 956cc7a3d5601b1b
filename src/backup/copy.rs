//! Writes a backup: of what a feed says only what the directory does not hold yet.
//!
//! A segment file is never changed once a manifest lists it. New ones are written and synced beside it, and the manifest
//! that lists them takes the place of the old one in a rename: a kill at any moment leaves the one or the other.

use super::feed::{Feed, Item, Since};
use super::manifest::{FileNote, Manifest};
use super::segment::{Merge, Merged, Segment, Writer};
use super::{BackupError, damaged, unusable};
use crate::domain::ids::Seq;
use crate::domain::time::Time;
use crate::store::codec;
use crate::store::keys;
use crate::store::meta::Meta;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::iter::Peekable;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOCK: &str = "lock";
/// A file that has grown to this is ended.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// More small files than this of one kind of keys are merged …
const FILES_MAX: usize = 16;
/// … and with them what lies before, if it is not more than so many times larger.
const GROWTH: u64 = 2;
/// While following, what was erased is cleared out of older files no more often than this.
const CLEAR_EVERY: Duration = Duration::from_secs(600);
/// How often progress is told, in records.
const TOLD_EVERY: u64 = 4096;
/// The kind of all keys that have no files of their own.
const COMMON: u8 = b'*';

/// A backup's directory, held by whoever writes it.
pub struct Shelf {
    dir: PathBuf,
    manifest: Option<Manifest>,
    _lock: File,
}

/// How far a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Told {
    /// Records looked at.
    pub records: u64,
    /// New ones, and what they take on disk.
    pub new_records: u64,
    pub new_bytes: u64,
    /// The seq that the last manifest ends at, once there is one.
    pub seq: Option<u64>,
}

impl Shelf {
    /// A directory to back up into: made if it is missing, readable by its owner alone; with a whole manifest, or none.
    pub fn open(dir: &Path) -> Result<Shelf, BackupError> {
        let failed = unusable(dir);
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(&failed)?;
            crate::store::directory::sync_parent(dir).map_err(&failed)?;
        }
        let path = dir.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(unusable(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::Locked(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let manifest = Manifest::read(dir)?;
        if manifest.is_none() {
            refuse_foreign(dir)?;
        }
        Ok(Shelf { dir: dir.to_owned(), manifest, _lock: lock })
    }

    /// What an earlier backup here ends with.
    pub fn since(&self) -> Option<Since> {
        self.manifest.as_ref().map(|manifest| Since {
            database: manifest.database.clone(),
            data_version: manifest.data_version,
            seq: manifest.seq_to,
            hash: manifest.head_hash.clone(),
        })
    }

    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Writes down what the feed says until its end, with a manifest at each of its points.
    pub fn take(
        &mut self,
        feed: &mut dyn Feed,
        now: &dyn Fn() -> Time,
        tell: &mut dyn FnMut(Told),
    ) -> Result<Told, BackupError> {
        let taken = self.taken(feed, now, tell);
        if taken.is_err() {
            self.clear();
        }
        taken
    }

    fn taken(
        &mut self,
        feed: &mut dyn Feed,
        now: &dyn Fn() -> Time,
        tell: &mut dyn FnMut(Told),
    ) -> Result<Told, BackupError> {
        let mut taking = Taking::new(self)?;
        while let Some(item) = feed.next()? {
            taking.item(item, now, tell)?;
        }
        let told = taking.told;
        if told.seq.is_some() { Ok(told) } else { Err(BackupError::Gone) }
    }

    /// What a failed attempt wrote is part of nothing, and takes the room that the next one wants. The manifest is the
    /// one on the disk: it may have come there before the failure.
    fn clear(&mut self) {
        if let Ok(manifest) = Manifest::read(&self.dir) {
            self.manifest = manifest;
            if let Err(why) = self.sweep() {
                tracing::warn!(%why, "what the failed backup wrote stays until the next one");
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn segment(&self, note: &FileNote) -> Result<Segment, BackupError> {
        let path = self.path(&note.name);
        match File::open(&path) {
            Ok(file) => Segment::of(file, path, note),
            Err(error) => Err(damaged(&path, error.to_string())),
        }
    }

    fn merge<'a>(&self, notes: impl Iterator<Item = &'a FileNote>) -> Result<Merge, BackupError> {
        Merge::of(notes.map(|note| self.segment(note)).collect::<Result<_, _>>()?)
    }
}

/// Files of somebody else's are not to be mixed with ours; what a killed first attempt left behind is.
fn refuse_foreign(dir: &Path) -> Result<(), BackupError> {
    let ours = |name: &str| name == LOCK || name.starts_with("segment-") || name.starts_with("manifest.");
    for file in fs::read_dir(dir).map_err(unusable(dir))? {
        let name = file.map_err(unusable(dir))?.file_name();
        if !name.to_str().is_some_and(ours) {
            return Err(BackupError::Foreign(dir.to_owned()));
        }
    }
    Ok(())
}

/// One copy under way.
struct Taking<'a> {
    shelf: &'a mut Shelf,
    /// What the backup held before, as long as the walk goes on beside it.
    prior: Option<Peekable<Merge>>,
    beyond: Seq,
    writers: BTreeMap<u8, Writer>,
    files: Vec<FileNote>,
    next_file: u64,
    /// The newest head that was told.
    meta: Option<Meta>,
    /// Kinds whose older files hold values that were taken back.
    outdated: BTreeSet<u8>,
    cleared_at: Option<Instant>,
    told: Told,
}

impl<'a> Taking<'a> {
    fn new(shelf: &'a mut Shelf) -> Result<Taking<'a>, BackupError> {
        let (files, next_file) =
            shelf.manifest.as_ref().map_or((Vec::new(), 1), |it| (it.files.clone(), it.next_file));
        let prior = Some(shelf.merge(files.iter())?.peekable());
        Ok(Taking {
            shelf,
            prior,
            beyond: Seq(0),
            writers: BTreeMap::new(),
            files,
            next_file,
            meta: None,
            outdated: BTreeSet::new(),
            cleared_at: None,
            told: Told::default(),
        })
    }

    fn item(
        &mut self,
        item: Item,
        now: &dyn Fn() -> Time,
        tell: &mut dyn FnMut(Told),
    ) -> Result<(), BackupError> {
        match item {
            Item::Begin { beyond } => self.beyond = beyond,
            Item::Base { key, value } => self.base(&key, &value)?,
            Item::BaseEnd => self.base_end()?,
            Item::Delta { key, value } => self.delta(&key, value.as_deref())?,
            Item::Cut => self.cut()?,
            Item::Point => {
                self.commit(now())?;
                tell(self.told);
            }
            Item::Idle => {}
        }
        if self.told.records.is_multiple_of(TOLD_EVERY) && self.told.records > 0 {
            tell(self.told);
        }
        Ok(())
    }

    /// A pair as the store has it, against what the backup has of it.
    fn base(&mut self, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        self.told.records += 1;
        self.note_meta(key, Some(value))?;
        while let Some(before) = self.prior_before(key)? {
            self.gone(&before)?;
        }
        let known = match self.prior_at(key)? {
            Some(prior) => {
                self.note_outdated(&prior, Some(value));
                prior.value.as_deref() == Some(value)
            }
            None => false,
        };
        if known { Ok(()) } else { self.write(key, Some(value)) }
    }

    fn base_end(&mut self) -> Result<(), BackupError> {
        while let Some(rest) = self.prior.as_mut().and_then(Iterator::next).transpose()? {
            self.gone(&rest)?;
        }
        self.prior = None;
        Ok(())
    }

    /// The backup has a key that the walk passed without finding it.
    fn gone(&mut self, prior: &Merged) -> Result<(), BackupError> {
        let skipped = keys::appended(&prior.key).is_some_and(|seq| seq <= self.beyond);
        if skipped {
            return Ok(());
        }
        self.note_outdated(prior, None);
        if prior.value.is_some() { self.write(&prior.key, None) } else { Ok(()) }
    }

    fn prior_before(&mut self, key: &[u8]) -> Result<Option<Merged>, BackupError> {
        let Some(prior) = &mut self.prior else { return Ok(None) };
        prior.next_if(|next| next.as_ref().map_or(true, |next| next.key.as_slice() < key)).transpose()
    }

    fn prior_at(&mut self, key: &[u8]) -> Result<Option<Merged>, BackupError> {
        let Some(prior) = &mut self.prior else { return Ok(None) };
        prior.next_if(|next| next.as_ref().map_or(true, |next| next.key == key)).transpose()
    }

    fn delta(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), BackupError> {
        self.told.records += 1;
        self.note_meta(key, value)?;
        if value.is_none() && kind(key) != COMMON {
            self.outdated.insert(kind(key));
        }
        self.write(key, value)
    }

    fn note_meta(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), BackupError> {
        if let (keys::META, Some(value)) = (key, value) {
            self.meta = Some(codec::decode(key, value).map_err(crate::store::meta::StoreError::from)?);
        }
        Ok(())
    }

    /// An erasable value that is no longer what the ledger has must not stay in an older file.
    fn note_outdated(&mut self, prior: &Merged, now: Option<&[u8]>) {
        let differs = prior.value.is_some() && prior.value.as_deref() != now;
        if kind(&prior.key) != COMMON && (prior.beneath > 0 || differs) {
            self.outdated.insert(kind(&prior.key));
        }
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), BackupError> {
        self.told.new_records += 1;
        let kind = kind(key);
        if self.writers.get(&kind).is_some_and(|writer| writer.bytes() > FILE_BYTES_MAX) {
            self.end(kind)?;
        }
        if !self.writers.contains_key(&kind) {
            let writer = self.create()?;
            self.writers.insert(kind, writer);
        }
        self.writers.get_mut(&kind).map_or(Ok(()), |writer| writer.add(key, value))
    }

    fn create(&mut self) -> Result<Writer, BackupError> {
        let name = format!("segment-{:08}", self.next_file);
        self.next_file += 1;
        Writer::create(&self.shelf.path(&name))
    }

    /// Ends every file that is being written.
    fn cut(&mut self) -> Result<(), BackupError> {
        let kinds: Vec<u8> = self.writers.keys().copied().collect();
        kinds.into_iter().try_for_each(|kind| self.end(kind))
    }

    fn end(&mut self, kind: u8) -> Result<(), BackupError> {
        let Some(writer) = self.writers.remove(&kind) else { return Ok(()) };
        let note = writer.finish(char::from(kind).to_string())?;
        self.told.new_bytes += note.bytes;
        self.files.push(note);
        Ok(())
    }

    /// All that came so far becomes the backup.
    fn commit(&mut self, now: Time) -> Result<(), BackupError> {
        self.cut()?;
        let meta = self.meta.clone().ok_or(BackupError::Gone)?;
        self.clear_outdated()?;
        self.merge_small()?;
        let dir = self.shelf.dir.clone();
        let manifest = Manifest::new(&meta, now.to_string(), self.next_file, self.files.clone());
        manifest.write(&dir).map_err(unusable(&dir))?;
        self.told.seq = Some(manifest.seq_to);
        self.shelf.manifest = Some(manifest);
        self.shelf.sweep()
    }

    fn clear_outdated(&mut self) -> Result<(), BackupError> {
        let lately = self.cleared_at.is_some_and(|at| at.elapsed() < CLEAR_EVERY);
        if lately || self.outdated.is_empty() {
            return Ok(());
        }
        self.cleared_at = Some(Instant::now());
        for kind in std::mem::take(&mut self.outdated) {
            self.rewrite(kind, 0)?;
        }
        Ok(())
    }

    /// Merges the last files of each kind that has many small ones.
    fn merge_small(&mut self) -> Result<(), BackupError> {
        for kind in std::iter::once(COMMON).chain(keys::ERASABLE) {
            let sizes: Vec<u64> = self.of_kind(kind).map(|note| note.bytes).collect();
            if let Some(from) = merged_from(&sizes) {
                self.rewrite(kind, from)?;
            }
        }
        Ok(())
    }

    fn of_kind(&self, kind: u8) -> impl Iterator<Item = &FileNote> {
        self.files.iter().filter(move |note| note.kind.as_bytes() == [kind])
    }

    /// Makes one of the files of a kind from its `from`th on, with the latest record of each key alone.
    fn rewrite(&mut self, kind: u8, from: usize) -> Result<(), BackupError> {
        let old: Vec<FileNote> = self.of_kind(kind).skip(from).cloned().collect();
        let merge = self.shelf.merge(old.iter())?;
        let mut new = Vec::new();
        let mut writer = None;
        for merged in merge {
            let Merged { key, value, .. } = merged?;
            // With nothing before, there is nothing that a deletion would have to hide.
            if from == 0 && value.is_none() {
                continue;
            }
            let file = match writer.take() {
                Some(file) => file,
                None => self.create()?,
            };
            let file = writer.insert(file);
            file.add(&key, value.as_deref())?;
            if file.bytes() > FILE_BYTES_MAX
                && let Some(full) = writer.take()
            {
                new.push(full.finish(char::from(kind).to_string())?);
            }
        }
        if let Some(last) = writer {
            new.push(last.finish(char::from(kind).to_string())?);
        }
        self.files.retain(|note| !old.contains(note));
        self.files.extend(new);
        Ok(())
    }
}

impl Shelf {
    /// Takes files away that the manifest no longer lists, so that nothing erased stays behind. Whoever is reading them
    /// has them open.
    fn sweep(&self) -> Result<(), BackupError> {
        let listed = |name: &str| self.manifest.as_ref().is_some_and(|manifest| manifest.lists(name));
        for file in fs::read_dir(&self.dir).map_err(unusable(&self.dir))? {
            let file = file.map_err(unusable(&self.dir))?;
            let name = file.file_name();
            let unlisted = name.to_str().is_some_and(|name| name.starts_with("segment-") && !listed(name));
            if unlisted {
                fs::remove_file(file.path()).map_err(unusable(&file.path()))?;
            }
        }
        Ok(())
    }
}

/// From which of the files on, oldest first, they are made one: when the small ones at the end have become too many, and as
/// far back as there is no more before than news behind. So a record is merged a few times in its life, and what is large
/// and old only when there is about as much news as that.
fn merged_from(sizes: &[u64]) -> Option<usize> {
    let small = sizes.iter().rev().take_while(|bytes| **bytes < FILE_BYTES_MAX).count();
    if small <= FILES_MAX {
        return None;
    }
    let (large, small) = sizes.split_at_checked(sizes.len() - small)?;
    let (mut from, mut behind) = (small.len(), 0_u64);
    for bytes in small.iter().rev() {
        let taken = small.len() - from;
        if taken >= FILES_MAX && *bytes > behind.saturating_mul(GROWTH) {
            return Some(large.len() + from);
        }
        behind += bytes;
        from -= 1;
    }
    let before: u64 = large.iter().sum();
    Some(if before <= behind.saturating_mul(GROWTH) { 0 } else { large.len() })
}

/// Values that can be erased have files of their kind, so that only these are written anew when one was.
fn kind(key: &[u8]) -> u8 {
    key.first().copied().filter(|kind| keys::ERASABLE.contains(kind)).unwrap_or(COMMON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_files_become_one_and_large_ones_rest() {
        let large = FILE_BYTES_MAX;
        assert_eq!(merged_from(&[]), None);
        assert_eq!(merged_from(&[1; 16]), None);
        assert_eq!(merged_from(&[1; 17]), Some(0));
        assert_eq!(merged_from(&[large; 100]), None, "a whole backup in large files is left alone");
        let news = [vec![large; 40], vec![9; 17]].concat();
        assert_eq!(merged_from(&news), Some(40));
        let graded = [vec![1000], vec![1; 16]].concat();
        assert_eq!(merged_from(&graded), Some(1), "what is larger than the news waits");
        let much = [vec![large], vec![large - 1; 17]].concat();
        assert_eq!(merged_from(&much), Some(0), "with more news than there was, all of it");
    }
}
