//! The journal for other programs: a range of the ledger as text, in constant memory.
//!
//! An export is an iterator of chunks, each of one page of entries. Its bytes follow from the range, the accounts, the
//! chart and the time zone alone: no clock, no version, nothing of what the ledger holds beyond the range.

pub mod asked;
mod beancount;
mod csv;
mod hledger;
mod journal;
mod ndjson;

pub use self::csv::{Dialect, Row};

use crate::domain::balance::Balances;
use crate::domain::chart::Chart;
use crate::domain::entry::Entry;
use crate::domain::ids::{AccountId, Seq};
use crate::ledger::range::Range;
use crate::ledger::reader::Reader;
use crate::store::meta::StoreError;
use jiff::tz::TimeZone;
use journal::Frame;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;
use utoipa::ToSchema;

/// So many entries are read and held at a time.
const ENTRIES_PER_CHUNK: u64 = 500;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Csv,
    CsvBr,
    Ndjson,
    Hledger,
    Beancount,
}

/// What a journal says about balances at its ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ends {
    /// Comments: fits alone as well as behind anything.
    Comment,
    /// Assertions of the opening and the closing balances: fits behind a journal of everything before.
    Assert,
    /// Opening balances posted from equity, the closing ones asserted: stands alone.
    Open,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{told:?} is none of {known}")]
pub struct UnknownWord {
    told: String,
    known: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("entry {0} is missing; `razao verify` says what else is wrong")]
    Gone(Seq),
    #[error("entry {seq} has no JSON: {why}")]
    NoJson { seq: Seq, why: serde_json::Error },
}

/// How this house's exports look: the accountant's names and the zone of its days.
#[derive(Clone, Debug)]
pub struct Custom {
    pub chart: Arc<Chart>,
    pub zone: TimeZone,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub format: Format,
    pub range: Range,
    /// Entries of these alone; none is all.
    pub accounts: Option<BTreeSet<AccountId>>,
    /// None: assertions where nothing was held before the range, else comments.
    pub ends: Option<Ends>,
}

/// An export on its way.
pub struct Export {
    reader: Reader,
    wanted: Wanted,
    form: Box<dyn Form>,
    stage: Stage,
}

enum Stage {
    Beginning,
    /// The next seq to be read.
    At(Seq),
    Over,
}

/// One form of text, told of the beginning, the entries by seq, and the end.
trait Form: Send {
    fn begin(&mut self, text: &mut String);
    fn entry(&mut self, entry: &Entry, text: &mut String) -> Result<(), ExportError>;
    fn end(&mut self, text: &mut String);
}

impl Format {
    pub const ALL: [Format; 5] =
        [Format::Csv, Format::CsvBr, Format::Ndjson, Format::Hledger, Format::Beancount];

    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::CsvBr => "csv-br",
            Format::Ndjson => "ndjson",
            Format::Hledger => "hledger",
            Format::Beancount => "beancount",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Csv | Format::CsvBr => "text/csv; charset=utf-8; header=present",
            Format::Ndjson => "application/x-ndjson",
            Format::Hledger | Format::Beancount => "text/plain; charset=utf-8",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Format::Csv | Format::CsvBr => "csv",
            Format::Ndjson => "ndjson",
            Format::Hledger => "journal",
            Format::Beancount => "beancount",
        }
    }

    /// Whether it says anything about balances.
    pub fn is_journal(self) -> bool {
        match self {
            Format::Hledger | Format::Beancount => true,
            Format::Csv | Format::CsvBr | Format::Ndjson => false,
        }
    }
}

impl Ends {
    pub const ALL: [Ends; 3] = [Ends::Comment, Ends::Assert, Ends::Open];

    pub fn as_str(self) -> &'static str {
        match self {
            Ends::Comment => "comment",
            Ends::Assert => "assert",
            Ends::Open => "open",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Format, UnknownWord> {
        let found = Format::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| unknown(text, &Format::ALL.map(Format::as_str)))
    }
}

impl FromStr for Ends {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Ends, UnknownWord> {
        let found = Ends::ALL.into_iter().find(|ends| ends.as_str() == text);
        found.ok_or_else(|| unknown(text, &Ends::ALL.map(Ends::as_str)))
    }
}

fn unknown(told: &str, known: &[&str]) -> UnknownWord {
    UnknownWord { told: told.chars().take(40).collect(), known: known.join(", ") }
}

impl Wanted {
    /// What a file of it is called.
    pub fn file_name(&self) -> String {
        let of = match &self.accounts {
            Some(accounts) if accounts.len() == 1 => accounts.first().map(|id| format!("{id}-")),
            Some(_) | None => None,
        };
        let Range { from, to } = self.range;
        format!("razao-{}{from}-{to}.{}", of.unwrap_or_default(), self.format.extension())
    }

    fn wants(&self, account: &AccountId) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.contains(account))
    }
}

impl Export {
    /// Reads the balances at both ends where the format says them, and nothing else yet.
    pub fn new(reader: Reader, custom: Custom, wanted: Wanted) -> Result<Export, ExportError> {
        let form: Box<dyn Form> = match wanted.format {
            Format::Csv => Box::new(csv::Csv::new(Dialect::Plain, custom)),
            Format::CsvBr => Box::new(csv::Csv::new(Dialect::Brazilian, custom)),
            Format::Ndjson => Box::new(ndjson::Ndjson),
            Format::Hledger => Box::new(hledger::Hledger::new(frame(&reader, custom, &wanted)?)),
            Format::Beancount => Box::new(beancount::Beancount::new(frame(&reader, custom, &wanted)?)),
        };
        Ok(Export { reader, wanted, form, stage: Stage::Beginning })
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    fn chunk(&mut self) -> Result<String, ExportError> {
        let mut text = String::new();
        self.stage = match self.stage {
            Stage::Beginning => {
                self.form.begin(&mut text);
                Stage::At(self.wanted.range.from)
            }
            Stage::At(seq) if seq > self.wanted.range.to => {
                self.form.end(&mut text);
                Stage::Over
            }
            Stage::At(seq) => Stage::At(self.page(seq, &mut text)?),
            Stage::Over => Stage::Over,
        };
        Ok(text)
    }

    /// Writes the entries from `seq` on, and says where the next page begins.
    fn page(&mut self, seq: Seq, text: &mut String) -> Result<Seq, ExportError> {
        let last = self.wanted.range.to.0.min(seq.0.saturating_add(ENTRIES_PER_CHUNK - 1));
        let count = usize::try_from(last - seq.0 + 1).unwrap_or(usize::MAX);
        let wanted = &self.wanted;
        let (entries, next) =
            self.reader.entries(seq, count, count, |stored| wanted.wants(&stored.entry.account))?;
        if next.0 != last + 1 {
            return Err(ExportError::Gone(seq));
        }
        for stored in &entries {
            self.form.entry(&stored.entry, text)?;
        }
        Ok(next)
    }
}

impl Iterator for Export {
    /// A chunk may be empty, where a page holds no entry that is wanted. After an error comes nothing more.
    type Item = Result<Vec<u8>, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.stage, Stage::Over) {
            return None;
        }
        let chunk = self.chunk().map(String::into_bytes);
        if chunk.is_err() {
            self.stage = Stage::Over;
        }
        Some(chunk)
    }
}

fn frame(reader: &Reader, custom: Custom, wanted: &Wanted) -> Result<Frame, ExportError> {
    let Range { from, to } = wanted.range;
    let before = Seq(from.0.saturating_sub(1));
    let held = |seq: Seq| -> Result<Balances, StoreError> {
        let mut balances = reader.balances_as_of(seq)?;
        balances.0.retain(|(ledger_account, _), _| wanted.wants(&ledger_account.account));
        Ok(balances)
    };
    // An empty range closes as it opens.
    let (opening, closing) = (held(before)?, held(to.max(before))?);
    Ok(Frame::new(custom, wanted, opening, closing))
}
