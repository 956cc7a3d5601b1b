//! Readers of backups: the manifest, a segment file, what comes over the socket; and a whole backup one record of which is
//! another, with every checksum made right again, so that nothing but the reading of its values stands in the way.

use super::targets::{Target, sealed};
use crate::books::{Ledger, lives, newborn};
use razao::backup::copy::Shelf;
use razao::backup::feed::{Feed, Live, Received, send};
use razao::backup::manifest::{FileNote, Manifest};
use razao::backup::restore::{self, Whole};
use razao::backup::segment::{Merge, Segment, Writer};
use razao::domain::time::Time;
use razao::store::meta::Meta;
use razao::store::{codec, keys};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Each of these inputs costs a directory with files that are synced.
const FEW: u64 = 25;

/// A backup of a ledger that lived a little, and the bytes that it came as.
struct Backup {
    dir: TempDir,
    manifest: Manifest,
    sent: Vec<u8>,
}

impl Backup {
    fn take() -> Backup {
        let ledger = Ledger::start(newborn());
        lives().into_iter().for_each(|command| drop(ledger.then(command)));
        let dir = tempfile::tempdir().unwrap();
        let mut sent = Vec::new();
        send(&mut Live::new(&ledger.reader, None, false, || false).unwrap(), &mut sent).unwrap();
        take(dir.path(), &sent).unwrap();
        ledger.stop();
        let manifest = Manifest::read(dir.path()).unwrap().unwrap();
        Backup { dir, manifest, sent }
    }

    fn segments(&self) -> Vec<Segment> {
        let segment = |note: &FileNote| {
            let path = self.dir.path().join(&note.name);
            Segment::of(File::open(&path).unwrap(), path, note).unwrap()
        };
        self.manifest.files.iter().map(segment).collect()
    }

    fn records(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let merged = Merge::of(self.segments()).unwrap().map(Result::unwrap);
        merged.filter_map(|merged| Some((merged.key, merged.value?))).collect()
    }
}

fn take(dir: &Path, sent: &[u8]) -> Result<(), String> {
    let mut shelf = Shelf::open(dir).unwrap();
    let taken = shelf.take(&mut Received(sent), &|| Time(1), &mut |_| {});
    taken.map(drop).map_err(|error| error.to_string())
}

pub fn targets() -> Vec<Target> {
    let backup = Backup::take();
    vec![manifests(&backup), segments(&backup), feeds(&backup), taken(&backup), restored(&backup)]
}

/// As it stands; and with its checksum made right, read with no file of those it names there.
fn manifests(backup: &Backup) -> Target {
    let text = fs::read(backup.dir.path().join("manifest.json")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let feed = move |bytes: &[u8]| {
        let path = PathBuf::from("manifest.json");
        if let Ok(manifest) = Manifest::parse(bytes, &path) {
            let again = Manifest::parse(bytes, &path).unwrap();
            assert_eq!(manifest, again);
        }
        let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { return };
        manifest.write(dir.path()).unwrap();
        let named = Manifest::read(dir.path()).is_ok();
        let whole = Whole::open(dir.path(), &mut |_, _, _| {});
        assert!(whole.is_err() || (named && manifest.files.is_empty()), "files that are not there pass");
    };
    Target { name: "backup-manifest".to_owned(), feed: Box::new(feed), seeds: vec![text], inputs: 100 }
}

/// Any bytes as a segment file, by itself and merged with itself.
fn segments(backup: &Backup) -> Target {
    let read = |note: &FileNote| fs::read(backup.dir.path().join(&note.name)).unwrap();
    let seeds = backup.manifest.files.iter().map(read).collect();
    let feed = |bytes: &[u8]| {
        let open = || {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            let note = FileNote {
                name: "segment".to_owned(),
                kind: "*".to_owned(),
                records: 1_000,
                bytes: bytes.len() as u64,
                blake3: String::new(),
            };
            Segment::of(file, PathBuf::from("segment"), &note)
        };
        let Ok(segment) = open() else { return };
        let read: Vec<_> = segment.map_while(Result::ok).map(|(key, _)| key).collect();
        assert!(read.is_sorted_by(|one, next| one < next), "keys out of order pass");
        let Ok(merge) = Merge::of(vec![open().unwrap(), open().unwrap()]) else { return };
        let merged: Vec<_> = merge.map_while(Result::ok).map(|merged| merged.key).collect();
        assert!(read.starts_with(&merged), "a merge makes keys up");
    };
    Target { name: "backup-segment".to_owned(), feed: Box::new(feed), seeds, inputs: 400 }
}

/// What comes over the socket.
fn feeds(backup: &Backup) -> Target {
    let feed = |bytes: &[u8]| {
        let mut received = Received(bytes);
        let mut items = 0;
        while let Ok(Some(_)) = received.next() {
            items += 1;
            assert!(items <= bytes.len(), "more items than bytes");
        }
    };
    let seeds = vec![backup.sent.clone()];
    Target { name: "backup-feed".to_owned(), feed: Box::new(feed), seeds, inputs: 400 }
}

/// The same, written down: nothing that claims to be whole and cannot be read.
fn taken(backup: &Backup) -> Target {
    let feed = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let taken = take(dir.path(), bytes);
        let manifest = Manifest::read(dir.path()).unwrap();
        assert!(taken.is_err() || manifest.is_some(), "a backup that is none");
        if manifest.is_some() {
            Whole::open(dir.path(), &mut |_, _, _| {}).unwrap();
        }
    };
    let seeds = vec![backup.sent.clone()];
    Target { name: "backup-taken".to_owned(), feed: Box::new(feed), seeds, inputs: FEW }
}

/// One record of a backup: the length of its key, its key, and what it holds without version byte and checksum; nothing:
/// it is gone. What restores can be opened, and is the ledger its manifest says.
fn restored(backup: &Backup) -> Target {
    let (manifest, records) = (backup.manifest.clone(), backup.records());
    let seed = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        [&[key.len() as u8][..], key, &value[1..value.len() - 4]].concat()
    };
    let seeds = records.iter().map(seed).collect();
    assert!(restores(&manifest, &records), "what nobody changed restores");
    let feed = move |bytes: &[u8]| {
        let Some((key, value)) = one_record(bytes) else { return };
        let mut records = records.clone();
        match value {
            [] => drop(records.remove(key)),
            value => drop(records.insert(key.to_vec(), sealed(key, value))),
        }
        restores(&manifest, &records);
    };
    Target { name: "backup-restored".to_owned(), feed: Box::new(feed), seeds, inputs: FEW }
}

/// Whether a backup of these records is taken; then it can be opened, and is what its manifest says.
fn restores(manifest: &Manifest, records: &BTreeMap<Vec<u8>, Vec<u8>>) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let (from, data) = (dir.path().join("backup"), dir.path().join("data"));
    fs::create_dir(&from).unwrap();
    let manifest = write(&from, manifest, records);
    let Ok(verified) = restore::restore(&from, &data, &mut |_, _, _| {}) else {
        assert!(!data.exists(), "what is refused is not put in place");
        return false;
    };
    assert_eq!(verified.head.to_hex(), manifest.head_hash);
    drop(razao::daemon::open(&data).unwrap());
    true
}

fn one_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked((*length).into())
}

/// A backup of these records; its manifest says of the ledger what the records do, where they say anything.
fn write(dir: &Path, manifest: &Manifest, records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Manifest {
    let mut writer = Writer::create(&dir.join("segment-00000001")).unwrap();
    records.iter().for_each(|(key, value)| writer.add(key, Some(value)).unwrap());
    let files = vec![writer.finish("*".to_owned()).unwrap()];
    let meta = records.get(keys::META).and_then(|value| codec::decode::<Meta>(keys::META, value).ok());
    let manifest = match meta {
        Some(meta) => Manifest::new(&meta, manifest.taken_at.clone(), 2, files),
        None => Manifest { files, ..manifest.clone() },
    };
    manifest.write(dir).unwrap();
    manifest
}
