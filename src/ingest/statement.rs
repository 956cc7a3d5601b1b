//! A provider's settlement file as lines: CSV or a JSON object a line, under the provider's own column names. Knows no
//! order; what a line comes to is judged where the orders are.

use crate::domain::ids::{LineId, ProviderRef, Reference};
use crate::domain::money::{Currency, Money};
use crate::domain::settlement::{Line, LineAmounts, Names, Numbered, Unreadable};
use crate::domain::time::{NotATime, OffsetTime, Time};
use crate::providers::provider::Columns;
use crate::providers::registry;
use crate::wire::dates;
use crate::wire::json::Json;
use jiff::tz::TimeZone;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How many lines one file may have.
pub const LINES_MAX: usize = 20_000;
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// No line of any use is longer.
const LINE_BYTES_MAX: usize = 16 * 1024;
const CURRENCY_CHARS_MAX: usize = 16;
/// The report keeps the mapping.
const MAPPING_CHARS_MAX: usize = 1_000;
/// Our columns. Of the names one is required, of fee and net one.
const COLUMNS: [&str; 8] =
    ["line_id", "reference", "provider_ref", "gross", "fee", "net", "settled_date", "currency"];
/// Files that are called as we call them.
const OWN: &str = "razao";
/// What some programs write before the first line.
const MARK: char = '\u{feff}';

/// What the file calls our columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    pub name: String,
    /// Whether nobody documents the format.
    pub assumed: bool,
    /// By our name.
    names: BTreeMap<&'static str, String>,
}

/// How a file is to be read.
#[derive(Clone, Debug)]
pub struct Reading {
    pub mapping: Mapping,
    pub currency: Currency,
    /// For days and for times that name no offset.
    pub zone: TimeZone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Csv,
    Ndjson,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct File {
    pub lines: Vec<Numbered>,
    /// From the first day that a line names to the end of the last one (exclusive).
    pub days: Option<(Time, Time)>,
}

/// Why a file is refused whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    #[error("a file has at most {LINES_MAX} lines; send the rest in another one")]
    TooManyLines,
    #[error(
        "its header lacks {missing}; there are {found}. Say what they are called with mapping=ours:theirs,…"
    )]
    Header { missing: String, found: String },
    #[error("the column {0} stands in its header twice")]
    Twice(String),
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0} is no mapping: it is one of {known}, or pairs such as line_id:NSU,gross:Valor bruto of {columns}",
    known = known_mappings().join(", "), columns = COLUMNS.join(", ")
)]
pub struct NotAMapping(String);

/// The names of the mappings there are.
pub fn known_mappings() -> Vec<&'static str> {
    let shipped = registry::PROVIDERS.iter().map(|provider| provider.spec());
    let shipped = shipped.filter(|spec| spec.settlement.is_some()).map(|spec| spec.id);
    std::iter::once(OWN).chain(shipped).collect()
}

impl Mapping {
    /// By the name of one that is shipped, or as pairs `ours:theirs` or `ours=theirs`; what no pair names is called as we
    /// call it. None: nothing is called otherwise.
    pub fn parse(text: Option<&str>) -> Result<Mapping, NotAMapping> {
        let text = text.map(str::trim).filter(|text| !text.is_empty()).unwrap_or(OWN);
        if text == OWN {
            return Ok(Mapping::of(OWN, Columns { names: &[], assumed: false }));
        }
        if let Some(columns) = registry::find(text).and_then(|provider| provider.spec().settlement) {
            return Ok(Mapping::of(text, columns));
        }
        let refused = || NotAMapping(text.chars().take(200).collect());
        if text.chars().count() > MAPPING_CHARS_MAX {
            return Err(refused());
        }
        let mut mapping = Mapping::of(text, Columns { names: &[], assumed: false });
        for pair in text.split(',') {
            let (ours, theirs) = pair.split_once([':', '=']).ok_or_else(refused)?;
            let ours = COLUMNS.into_iter().find(|column| *column == ours.trim()).ok_or_else(refused)?;
            let theirs = theirs.trim();
            if theirs.is_empty() || mapping.names.get(ours).is_some_and(|name| name != ours) {
                return Err(refused());
            }
            mapping.names.insert(ours, theirs.to_owned());
        }
        Ok(mapping)
    }

    fn of(name: &str, columns: Columns) -> Mapping {
        let theirs = |ours: &'static str| {
            let named = columns.names.iter().find(|(known, _)| *known == ours);
            (ours, named.map_or(ours, |(_, theirs)| theirs).to_owned())
        };
        Mapping {
            name: name.to_owned(),
            assumed: columns.assumed,
            names: COLUMNS.into_iter().map(theirs).collect(),
        }
    }

    /// What the file calls one of our columns.
    fn theirs(&self, ours: &str) -> &str {
        self.names.get(ours).map_or("", String::as_str)
    }
}

impl Form {
    /// As the content type says, else by the first character.
    pub fn of(content_type: &str, bytes: &[u8]) -> Form {
        let kind = content_type.to_ascii_lowercase();
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if kind.contains("ndjson") || kind.contains("jsonl") {
            Form::Ndjson
        } else if kind.contains("csv") || first != Some(&b'{') {
            Form::Csv
        } else {
            Form::Ndjson
        }
    }
}

impl File {
    pub fn read(form: Form, bytes: &[u8], reading: &Reading) -> Result<File, Unusable> {
        let text = text(bytes);
        let text = text.strip_prefix(MARK).unwrap_or(&text);
        let lines = match form {
            Form::Csv => csv(text, reading)?,
            Form::Ndjson => ndjson(text, reading)?,
        };
        let settled = lines.iter().filter_map(|numbered| numbered.line.as_ref().ok()?.settled);
        let settled: Vec<Time> = settled.map(|told| told.at).collect();
        let day = |at: Option<&Time>| at?.day_around(&reading.zone).ok();
        let days = day(settled.iter().min()).zip(day(settled.iter().max()));
        Ok(File { lines, days: days.map(|(first, last)| (first.0, last.1)) })
    }
}

/// UTF-8, else every byte for itself as ISO 8859-1 has it.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

fn ndjson(text: &str, reading: &Reading) -> Result<Vec<Numbered>, Unusable> {
    let mut lines = Vec::new();
    for (line, number) in text.lines().zip(1u32..).filter(|(line, _)| !line.trim().is_empty()) {
        if lines.len() == LINES_MAX {
            return Err(Unusable::TooManyLines);
        }
        lines.push(Numbered { number, line: json_line(line, reading) });
    }
    Ok(lines)
}

fn json_line(text: &str, reading: &Reading) -> Result<Line, Unreadable> {
    let wrong = |expected: String| Unreadable { id: None, expected };
    if text.len() > LINE_BYTES_MAX {
        return Err(wrong(format!("a line of at most {LINE_BYTES_MAX} bytes")));
    }
    let json = Json::parse(text.as_bytes()).map_err(|error| wrong(format!("a JSON object; {error}")))?;
    if !json.is_object() {
        return Err(wrong("a JSON object".to_owned()));
    }
    let cell = |ours: &str| match json.get(reading.mapping.theirs(ours)) {
        None => Ok(None),
        Some(value) => value.literal().map(|text| Some(text.trim().to_owned())).ok_or("text or a number"),
    };
    Cells { reading, comma: false, cell: &cell }.line()
}

fn csv(text: &str, reading: &Reading) -> Result<Vec<Numbered>, Unusable> {
    let header = text.lines().next().unwrap_or_default();
    let count = |separator: u8| header.bytes().filter(|byte| *byte == separator).count();
    let comma = count(b';') > count(b',');
    // With a line break at the very end every record ends with one, so its number can be counted back.
    let whole = if text.ends_with('\n') { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}\n")) };
    // A carriage return before the line break is white space around the last cell, which is cut off anyway.
    let mut rules = csv::ReaderBuilder::new();
    rules.has_headers(false).flexible(true).terminator(csv::Terminator::Any(b'\n'));
    let mut records = rules.delimiter(if comma { b';' } else { b',' }).from_reader(whole.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut lines = Vec::new();
    let mut columns: Option<Header> = None;
    while records.read_record(&mut record).unwrap_or(false) {
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let Some(header) = &columns else {
            columns = Some(Header::read(&record, &reading.mapping)?);
            continue;
        };
        if lines.len() == LINES_MAX {
            return Err(Unusable::TooManyLines);
        }
        let breaks = record.iter().flat_map(str::bytes).filter(|byte| *byte == b'\n').count();
        let number = records.position().line().saturating_sub(breaks as u64).saturating_sub(1);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        lines.push(Numbered { number, line: csv_line(&record, header, comma, reading) });
    }
    match columns {
        Some(_) => Ok(lines),
        None => Header::read(&csv::StringRecord::new(), &reading.mapping).map(|_| lines),
    }
}

/// Where each of our columns stands in a CSV file.
struct Header {
    at: BTreeMap<&'static str, usize>,
    cells: usize,
}

impl Header {
    fn read(record: &csv::StringRecord, mapping: &Mapping) -> Result<Header, Unusable> {
        let names: Vec<String> = record.iter().map(|cell| cell.trim().to_lowercase()).collect();
        let mut at = BTreeMap::new();
        for ours in COLUMNS {
            let theirs = mapping.theirs(ours).to_lowercase();
            let mut places = names.iter().enumerate().filter(|(_, name)| **name == theirs);
            if let Some((place, _)) = places.next() {
                at.insert(ours, place);
            }
            if places.next().is_some() {
                return Err(Unusable::Twice(mapping.theirs(ours).to_owned()));
            }
        }
        let lacks = |any: &[&'static str]| !any.iter().any(|ours| at.contains_key(ours));
        let required: [&[&'static str]; 4] =
            [&["line_id"], &["reference", "provider_ref"], &["gross"], &["fee", "net"]];
        let missing: Vec<String> = required
            .into_iter()
            .filter(|any| lacks(any))
            .map(|any| any.iter().map(|ours| mapping.theirs(ours)).collect::<Vec<_>>().join(" or "))
            .collect();
        if missing.is_empty() {
            return Ok(Header { at, cells: record.len() });
        }
        let found: String = record.iter().collect::<Vec<_>>().join(", ").chars().take(400).collect();
        let found = if found.is_empty() { "no columns".to_owned() } else { found };
        Err(Unusable::Header { missing: missing.join(", "), found })
    }
}

fn csv_line(
    record: &csv::StringRecord,
    header: &Header,
    comma: bool,
    reading: &Reading,
) -> Result<Line, Unreadable> {
    let wrong = |expected: String| Unreadable { id: None, expected };
    if record.len() != header.cells {
        return Err(wrong(format!("{} cells as in the header; there are {}", header.cells, record.len())));
    }
    if record.as_slice().len() > LINE_BYTES_MAX {
        return Err(wrong(format!("a line of at most {LINE_BYTES_MAX} bytes")));
    }
    let cell = |ours: &str| {
        let text = header.at.get(ours).and_then(|place| record.get(*place)).map(str::trim);
        Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
    };
    Cells { reading, comma, cell: &cell }.line()
}

type Cell<'a> = &'a dyn Fn(&str) -> Result<Option<String>, &'static str>;

/// The cells of one line by our names.
struct Cells<'a> {
    reading: &'a Reading,
    /// Whether a comma is the decimal point.
    comma: bool,
    cell: Cell<'a>,
}

impl Cells<'_> {
    fn line(&self) -> Result<Line, Unreadable> {
        let id = self.required("line_id", |text| LineId::parse(text).map_err(|error| error.to_string()));
        let id = id.map_err(|expected| Unreadable { id: None, expected })?;
        let read = || {
            let (names, amounts) = (self.names()?, self.amounts()?);
            let currency = self.optional("currency", |text| {
                Ok(text.chars().filter(|c| !c.is_control()).take(CURRENCY_CHARS_MAX).collect())
            })?;
            let settled = self.optional("settled_date", |text| {
                moment(text, &self.reading.zone).map_err(|_| {
                    "a day such as 2026-03-02 or 02/03/2026, or a time such as 2026-03-02T18:00:00-03:00"
                        .to_owned()
                })
            })?;
            Ok(Line { id: id.clone(), names, amounts, currency, settled })
        };
        read().map_err(|expected| Unreadable { id: Some(id.clone()), expected })
    }

    fn names(&self) -> Result<Names, String> {
        let reference = self
            .optional("reference", |text| Reference::parse_stored(text).map_err(|error| error.to_string()))?;
        let provider_ref = self
            .optional("provider_ref", |text| ProviderRef::parse(text).map_err(|error| error.to_string()))?;
        let stands_in = reference.is_none();
        let by_provider = provider_ref.as_ref().and_then(|name| Reference::parse(name.as_str()).ok());
        let reference = reference.or(by_provider).ok_or_else(|| {
            let (ours, theirs) = (self.theirs("reference"), self.theirs("provider_ref"));
            format!("{ours} or {theirs}: the payment's name")
        })?;
        Ok(Names { reference, stands_in, provider_ref })
    }

    /// Of fee and net the one that is absent follows from the other.
    fn amounts(&self) -> Result<LineAmounts, String> {
        let amount = |text: &str| self.amount(text);
        let gross = self.required("gross", |text| match amount(text)? {
            Money::ZERO => Err("more than zero".to_owned()),
            gross => Ok(gross),
        })?;
        let fee = self.optional("fee", amount)?;
        let net = self.optional("net", amount)?;
        match (fee, net) {
            (None, None) => Err(format!("{} or {}: an amount", self.theirs("fee"), self.theirs("net"))),
            (None, Some(net)) if net > gross => {
                Err(format!("{}: at most the gross where no fee is named", self.theirs("net")))
            }
            (fee, net) => {
                let fee = fee.or(net.map(|net| gross - net));
                Ok(LineAmounts { gross, fee, net: net.or(fee.map(|fee| gross - fee)) })
            }
        }
    }

    fn amount(&self, text: &str) -> Result<Money, String> {
        let currency = self.reading.currency;
        let read = if self.comma {
            Money::from_comma_literal(text, currency)
        } else {
            Money::from_literal(text, currency)
        };
        read.map_err(|error| error.to_string())
    }

    fn theirs(&self, ours: &str) -> &str {
        self.reading.mapping.theirs(ours)
    }

    fn required<T>(&self, ours: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
        self.optional(ours, read)?.ok_or_else(|| format!("{}: it is required", self.theirs(ours)))
    }

    /// What was expected names the column as the file does.
    fn optional<T>(&self, ours: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let named = |expected: String| format!("{}: {expected}", self.theirs(ours));
        let text = (self.cell)(ours).map_err(|expected| named(expected.to_owned()))?;
        let text = text.filter(|text| !text.is_empty());
        text.map(|text| read(&text)).transpose().map_err(named)
    }
}

/// A moment as files write it; a day is its end.
fn moment(text: &str, zone: &TimeZone) -> Result<OffsetTime, NotATime> {
    if let Ok(day) = dates::day(text) {
        return OffsetTime::end_of_day(day, zone);
    }
    let spaced = text.replacen('T', " ", 1);
    OffsetTime::parse(text).or_else(|_| dates::seconds(&spaced, zone)).or_else(|_| dates::pt_br(text, zone))
}
