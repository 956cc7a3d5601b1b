//! A file of records in key order, and many of them read as one.
//!
//! Every record has a checksum of its own, so that damage is told where it is; the manifest has one of the whole file.

use super::manifest::FileNote;
use super::{BackupError, damaged, unusable};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"razao backup segment 1\n";
const PUT: u8 = 1;
const DELETE: u8 = 2;
const END: u8 = 3;
/// More than any key or value of the store has; what claims more is damage.
const PART_BYTES_MAX: u32 = 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

/// A key and what it holds; none: nothing any more.
pub type Record = (Vec<u8>, Option<Vec<u8>>);

pub struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    hasher: blake3::Hasher,
    records: u64,
    bytes: u64,
}

impl Writer {
    /// Begins a file. What stands under its name is another attempt's, and may be shared with an older backup: it is
    /// replaced and never written into.
    pub fn create(path: &Path) -> Result<Writer, BackupError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(path)(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = BufWriter::with_capacity(BUFFER_BYTES, file.map_err(unusable(path))?);
        let hasher = blake3::Hasher::new();
        let mut writer = Writer { file, path: path.to_owned(), hasher, records: 0, bytes: 0 };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Keys must come in their order, each once.
    pub fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), BackupError> {
        let tag = if value.is_some() { PUT } else { DELETE };
        let value = value.unwrap_or_default();
        let mut record = vec![tag];
        record.extend(length(key).to_le_bytes());
        record.extend(length(value).to_le_bytes());
        record.extend_from_slice(key);
        record.extend_from_slice(value);
        record.extend(crc32fast::hash(&record).to_le_bytes());
        self.records += 1;
        self.put(&record)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the file and makes it durable.
    pub fn finish(mut self, kind: String) -> Result<FileNote, BackupError> {
        let mut end = vec![END];
        end.extend(self.records.to_le_bytes());
        end.extend(crc32fast::hash(&end).to_le_bytes());
        self.put(&end)?;
        self.file.flush().map_err(unusable(&self.path))?;
        self.file.get_ref().sync_all().map_err(unusable(&self.path))?;
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(FileNote {
            name: name.unwrap_or_default(),
            kind,
            records: self.records,
            bytes: self.bytes,
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(unusable(&self.path))
    }
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}

/// The records of one file, in order.
pub struct Segment {
    file: BufReader<File>,
    path: PathBuf,
    last: Option<Vec<u8>>,
    left: u64,
    ended: bool,
}

impl Segment {
    /// An open file: it stays readable though its name goes away meanwhile.
    pub fn of(file: File, path: PathBuf, note: &FileNote) -> Result<Segment, BackupError> {
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        file.rewind().map_err(unusable(&path))?;
        let mut magic = [0; MAGIC.len()];
        let read = file.read_exact(&mut magic);
        if read.is_err() || magic != MAGIC {
            return Err(damaged(&path, "it does not begin as a segment does"));
        }
        Ok(Segment { file, path, last: None, left: note.records, ended: false })
    }

    fn record(&mut self) -> Result<Option<Record>, BackupError> {
        let [tag] = self.take()?;
        if tag == END {
            return self.end();
        }
        let (key_bytes, value_bytes) = (self.take::<4>()?, self.take::<4>()?);
        let lengths = [u32::from_le_bytes(key_bytes), u32::from_le_bytes(value_bytes)];
        if ![PUT, DELETE].contains(&tag) || lengths.iter().any(|length| *length > PART_BYTES_MAX) {
            return Err(damaged(&self.path, "a record that cannot be"));
        }
        let [key, value] = lengths.map(|length| vec![0; usize::try_from(length).unwrap_or_default()]);
        let (key, value) = (self.fill(key)?, self.fill(value)?);
        let mut hasher = crc32fast::Hasher::new();
        for part in [&[tag][..], &key_bytes, &value_bytes, &key, &value] {
            hasher.update(part);
        }
        let in_order = self.last.as_ref().is_none_or(|last| *last < key);
        if self.take()? != hasher.finalize().to_le_bytes() || !in_order || self.left == 0 {
            return Err(damaged(&self.path, "a record's checksum or place does not fit"));
        }
        self.left -= 1;
        self.last = Some(key.clone());
        Ok(Some((key, (tag == PUT).then_some(value))))
    }

    fn end(&mut self) -> Result<Option<Record>, BackupError> {
        let count = self.take::<8>()?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[END]);
        hasher.update(&count);
        let whole = self.take()? == hasher.finalize().to_le_bytes() && self.left == 0;
        let over = self.file.read(&mut [0]).map_err(unusable(&self.path))?;
        if whole && over == 0 { Ok(None) } else { Err(damaged(&self.path, "its end does not fit")) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|_| damaged(&self.path, "it is cut off"))?;
        Ok(bytes)
    }

    fn fill(&mut self, mut bytes: Vec<u8>) -> Result<Vec<u8>, BackupError> {
        self.file.read_exact(&mut bytes).map_err(|_| damaged(&self.path, "it is cut off"))?;
        Ok(bytes)
    }
}

impl Iterator for Segment {
    type Item = Result<Record, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.record().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

/// Segments as one, oldest first: of each key the latest record, and how many there were.
pub struct Merge {
    segments: Vec<Segment>,
    /// The next record of each segment: the smallest key first, of equal ones the latest segment.
    heads: BinaryHeap<Head>,
}

/// Key, segment, value.
type Head = (Reverse<Vec<u8>>, usize, Option<Vec<u8>>);

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merged {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    /// Older records of this key that hold a value.
    pub beneath: usize,
}

impl Merge {
    pub fn of(segments: Vec<Segment>) -> Result<Merge, BackupError> {
        let mut merge = Merge { heads: BinaryHeap::with_capacity(segments.len()), segments };
        for index in 0..merge.segments.len() {
            merge.advance(index)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, index: usize) -> Result<(), BackupError> {
        if let Some(next) = self.segments.get_mut(index).and_then(Iterator::next) {
            let (key, value) = next?;
            self.heads.push((Reverse(key), index, value));
        }
        Ok(())
    }

    fn merged(&mut self) -> Result<Option<Merged>, BackupError> {
        let Some((Reverse(key), index, value)) = self.heads.pop() else { return Ok(None) };
        self.advance(index)?;
        let mut beneath = 0;
        while self.heads.peek().is_some_and(|(Reverse(next), ..)| *next == key) {
            let Some((_, index, older)) = self.heads.pop() else { break };
            beneath += usize::from(older.is_some());
            self.advance(index)?;
        }
        Ok(Some(Merged { key, value, beneath }))
    }
}

impl Iterator for Merge {
    type Item = Result<Merged, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.merged().transpose()
    }
}
