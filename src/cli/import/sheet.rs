//! A CSV file of orders, as JSON registrations line by line: so that the file and the API are read by the same rules.

use crate::wire::json::Json;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const REQUIRED: [&str; 4] = ["account", "reference", "amount", "currency"];
const OPTIONAL: [&str; 2] = ["expires_at", "provider_ref"];
const METADATA: &str = "metadata.";
/// What some spreadsheets write before the first column's name.
const MARK: &[u8] = b"\xef\xbb\xbf";

pub struct Sheet {
    records: csv::ByteRecordsIntoIter<BufReader<File>>,
    columns: Vec<String>,
    /// How many bytes there are to read, where the last line has no line break.
    cut_off_at: Option<u64>,
}

/// One line of the file.
pub struct Line {
    /// As an editor counts it.
    pub number: u64,
    /// A registration, or what is wrong.
    pub json: Result<String, String>,
}

impl Sheet {
    pub fn open(path: &Path) -> anyhow::Result<Sheet> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
        let cut_off_at = cut_off_at(&file).with_context(|| format!("{shown} cannot be read"))?;
        let mut file = BufReader::new(file);
        let begin = file.fill_buf().with_context(|| format!("{shown} cannot be read"))?;
        let head = begin.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |wanted: u8| head.iter().filter(|byte| **byte == wanted).count();
        let delimiter = if count(b';') > count(b',') { b';' } else { b',' };
        let marked = begin.starts_with(MARK);
        if marked {
            file.consume(MARK.len());
        }
        // A carriage return before the line break is white space around the last cell, which is cut off anyway.
        let mut rules = csv::ReaderBuilder::new();
        rules.delimiter(delimiter).flexible(true).terminator(csv::Terminator::Any(b'\n'));
        let mut reader = rules.from_reader(file);
        let headers = reader.byte_headers().with_context(|| format!("{shown} is not CSV"))?;
        let name = |name: &[u8]| String::from_utf8_lossy(name).trim().to_owned();
        let columns: Vec<String> = headers.iter().map(name).collect();
        check(&columns).with_context(|| format!("{shown}, first line"))?;
        let mark = if marked { MARK.len() as u64 } else { 0 };
        let cut_off_at = cut_off_at.map(|bytes| bytes.saturating_sub(mark));
        Ok(Sheet { records: reader.into_byte_records(), columns, cut_off_at })
    }

    /// The line that a record begins at, once it is read: blank lines before it are not part of it.
    fn number(&self, record: &csv::ByteRecord) -> u64 {
        let end = self.records.reader().position();
        let breaks = record.iter().flatten().filter(|byte| **byte == b'\n').count();
        let terminated = self.cut_off_at != Some(end.byte());
        end.line().saturating_sub(breaks as u64).saturating_sub(u64::from(terminated))
    }

    fn json(&self, record: &csv::ByteRecord) -> Result<String, String> {
        if record.len() != self.columns.len() {
            return Err(format!("it has {} cells, the header {}", record.len(), self.columns.len()));
        }
        let mut fields = BTreeMap::new();
        let mut metadata = BTreeMap::new();
        for (column, cell) in self.columns.iter().zip(record) {
            let cell = std::str::from_utf8(cell).map_err(|_| format!("{column}: not UTF-8"))?.trim();
            let value = Json::String(cell.to_owned());
            match column.strip_prefix(METADATA) {
                _ if cell.is_empty() => None,
                Some(name) => metadata.insert(name.to_owned(), value),
                None => fields.insert(column.clone(), value),
            };
        }
        if !metadata.is_empty() {
            fields.insert("metadata".to_owned(), Json::Object(metadata));
        }
        Ok(Json::Object(fields).to_text())
    }
}

/// The file's length, if it does not end with a line break.
fn cut_off_at(mut file: &File) -> std::io::Result<Option<u64>> {
    let bytes = file.seek(SeekFrom::End(0))?;
    let mut last = [b'\n'];
    if bytes > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    file.rewind()?;
    Ok((last != [b'\n']).then_some(bytes))
}

fn check(columns: &[String]) -> anyhow::Result<()> {
    let known = |name: &str| {
        let metadata = name.strip_prefix(METADATA).is_some_and(|name| !name.is_empty());
        metadata || REQUIRED.contains(&name) || OPTIONAL.contains(&name)
    };
    if let Some(missing) = REQUIRED.iter().find(|name| !columns.iter().any(|column| column == **name)) {
        bail!("the column {missing} is missing; a header with {} is expected", REQUIRED.join(", "));
    }
    if let Some(unknown) = columns.iter().find(|name| !known(name)) {
        bail!(
            "unknown column {unknown:?}; known are {}, {}, metadata.NAME",
            REQUIRED.join(", "),
            OPTIONAL.join(", ")
        );
    }
    let twice =
        columns.iter().enumerate().find(|(at, name)| columns.iter().take(*at).any(|one| one == *name));
    if let Some((_, twice)) = twice {
        bail!("the column {twice} is there twice");
    }
    Ok(())
}

impl Iterator for Sheet {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.records.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(anyhow::Error::new(error).context("the file cannot be read"))),
            };
            if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
                continue;
            }
            let number = self.number(&record);
            let json = self.json(&record);
            return Some(Ok(Line { number, json }));
        }
    }
}
