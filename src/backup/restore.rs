//! A data directory made of a backup: everything is checked before anything is moved into place.

use super::manifest::{FileNote, Manifest, hex};
use super::segment::{Merge, Segment};
use super::{BackupError, damaged, unusable};
use crate::clock::secret;
use crate::ledger::verify::{self, Verified};
use crate::store::directory;
use crate::store::engine::{Batch, Engine};
use crate::store::meta::{self, Meta, StoreError};
use crate::store::migrate;
use crate::store::sled::Durability;
use crate::store::slots;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// So much goes into the store at once.
const BATCH_BYTES: usize = 1024 * 1024;
/// A follower may put a new manifest in place while its files are opened; it does so about three times a second.
const LOOKS_MAX: usize = 20;
const READ_BYTES: usize = 256 * 1024;
/// What the directories that restores and checks work in are called, before the number of their process.
const RESTORING: &str = ".restoring-";
const VERIFYING: &str = "razao-verify-";

/// What is being done, how much of it is done, and how much there is.
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, u64, u64);

/// A backup whose every file has the length and digest that its manifest says.
pub struct Whole {
    pub manifest: Manifest,
    dir: PathBuf,
    files: Vec<(File, FileNote)>,
}

impl Whole {
    /// Opens everything the manifest lists, so that it stays readable, and compares it.
    pub fn open(dir: &Path, progress: Progress<'_>) -> Result<Whole, BackupError> {
        let mut looks = 0;
        let (manifest, files) = loop {
            let manifest = Manifest::read(dir)?.ok_or_else(|| BackupError::None(dir.to_owned()))?;
            looks += 1;
            match open_all(dir, &manifest) {
                Ok(files) => break (manifest, files),
                Err(_) if looks < LOOKS_MAX && Manifest::read(dir)?.as_ref() != Some(&manifest) => {}
                Err(error) => return Err(error),
            }
        };
        let (mut done, all) = (0, manifest.bytes());
        for (file, note) in &files {
            compare(file, note, &dir.join(&note.name))?;
            done += note.bytes;
            progress("checked bytes", done, all);
        }
        Ok(Whole { manifest, dir: dir.to_owned(), files })
    }

    /// Writes everything into an empty store, and answers the head it then has.
    fn fill(self, engine: &dyn Engine, progress: Progress<'_>) -> Result<Meta, BackupError> {
        let all = self.manifest.records();
        let segments = self.files.into_iter().map(|(file, note)| {
            let path = self.dir.join(&note.name);
            Segment::of(file, path, &note)
        });
        let (mut batch, mut bytes, mut done) = (Batch::default(), 0, 0);
        for merged in Merge::of(segments.collect::<Result<_, _>>()?)? {
            let merged = merged?;
            let Some(value) = merged.value else { continue };
            bytes += merged.key.len() + value.len();
            done += 1;
            batch.put(merged.key, value);
            if bytes > BATCH_BYTES {
                engine.apply(&std::mem::take(&mut batch)).map_err(StoreError::from)?;
                bytes = 0;
                progress("restored records", done, all);
            }
        }
        engine.apply(&batch).and_then(|()| engine.sync()).map_err(StoreError::from)?;
        progress("restored records", done, done);
        let meta = meta::get(engine)?.ok_or_else(|| damaged(&self.dir, "it holds no head"))?;
        let Manifest { database, seq_to, head_hash, data_version, .. } = self.manifest;
        let told = (database, seq_to, head_hash, data_version);
        if told != (hex(&meta.database), meta.seq.0, meta.hash.to_hex(), meta.data_version) {
            return Err(damaged(&self.dir, "its files hold another head than its manifest"));
        }
        Ok(meta)
    }
}

fn open_all(dir: &Path, manifest: &Manifest) -> Result<Vec<(File, FileNote)>, BackupError> {
    let open = |note: &FileNote| {
        let path = dir.join(&note.name);
        let file = File::open(&path).map_err(|error| damaged(&path, error.to_string()))?;
        Ok((file, note.clone()))
    };
    manifest.files.iter().map(open).collect()
}

fn compare(mut file: &File, note: &FileNote, path: &Path) -> Result<(), BackupError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer).map_err(unusable(path))?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    if bytes != note.bytes {
        return Err(damaged(path, format!("it has {bytes} bytes, the manifest says {}", note.bytes)));
    }
    if hasher.finalize().to_hex().as_str() != note.blake3 {
        return Err(damaged(path, "it has another digest than the manifest says"));
    }
    Ok(())
}

/// Makes `data` a data directory with what the backup holds: built beside it, replayed whole, and moved into place.
pub fn restore(from: &Path, data: &Path, progress: Progress<'_>) -> Result<Verified, BackupError> {
    if !is_free(data).map_err(unusable(data))? {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    let whole = Whole::open(from, progress)?;
    let scratch = Scratch::make(folder(data), &aside_of(data), progress)?;
    let verified = build(whole, &scratch.dir, Durability::Full, progress)?;
    put_in_place(&scratch.dir, data).map_err(unusable(data))?;
    scratch.keep();
    Ok(verified)
}

/// Replays what a backup holds as a restore would, in a directory that goes away again.
pub fn verify(from: &Path, progress: Progress<'_>) -> Result<Verified, BackupError> {
    let whole = Whole::open(from, progress)?;
    let scratch = Scratch::make(&std::env::temp_dir(), VERIFYING, progress)?;
    build(whole, &scratch.dir, Durability::NoSync, progress)
}

fn build(
    whole: Whole,
    dir: &Path,
    durability: Durability,
    progress: Progress<'_>,
) -> Result<Verified, BackupError> {
    let engine = slots::open(dir, durability, secret)?;
    let mut head = whole.fill(&engine, progress)?;
    if head.data_version < meta::DATA_VERSION {
        head = migrate::forward(&engine, head, &mut |done, all| progress("migrated entries", done, all))?;
    }
    let verified = verify::verify(&engine, &mut |done, all| progress("replayed entries", done, all))?;
    directory::note_head(dir, &head.database, head.seq, head.hash).map_err(unusable(dir))?;
    Ok(verified)
}

fn is_free(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut files) => Ok(files.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Where a directory lies.
fn folder(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn aside_of(data: &Path) -> String {
    format!("{}{RESTORING}", data.file_name().unwrap_or_default().to_string_lossy())
}

fn put_in_place(aside: &Path, data: &Path) -> io::Result<()> {
    File::open(aside)?.sync_all()?;
    fs::rename(aside, data)?;
    directory::sync_parent(data)
}

/// A directory that goes away again, unless it is kept. It is locked meanwhile, as a whole: so what a killed process left
/// behind is told from what another one is working in, wherever that one runs.
struct Scratch {
    dir: PathBuf,
    kept: bool,
    /// None where the file system cannot lock directories: then nobody can take them for abandoned either.
    _lock: Option<File>,
}

impl Scratch {
    /// Named by a stem and this process; what others of this stem left behind goes.
    fn make(folder: &Path, stem: &str, progress: Progress<'_>) -> Result<Scratch, BackupError> {
        let dir = folder.join(format!("{stem}{}", std::process::id()));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable(folder))?;
        let cleared = clear_leftovers(folder, stem).map_err(unusable(folder))?;
        if cleared > 0 {
            progress("removed leftovers of killed attempts", cleared, cleared);
        }
        DirBuilder::new().mode(0o700).create(&dir).map_err(unusable(&dir))?;
        Ok(Scratch { _lock: locked(&dir), dir, kept: false })
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            drop(fs::remove_dir_all(&self.dir));
        }
    }
}

/// The lock of a directory, if nobody has it.
fn locked(dir: &Path) -> Option<File> {
    let dir = File::open(dir).ok()?;
    dir.try_lock().ok()?;
    Some(dir)
}

/// How many there were. One that cannot be removed stays: it is somebody else's.
fn clear_leftovers(folder: &Path, stem: &str) -> io::Result<u64> {
    let mut cleared = 0;
    for found in fs::read_dir(folder)? {
        let found = found?;
        let name = found.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(stem));
        let ours = number.is_some_and(|text| text.parse::<u32>().is_ok());
        if !ours || !found.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Some(_lock) = locked(&found.path())
            && fs::remove_dir_all(found.path()).is_ok()
        {
            cleared += 1;
        }
    }
    Ok(cleared)
}
