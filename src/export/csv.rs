//! CSV (RFC 4180, but for line feeds as line ends): a row a posting, one row for an entry without any; and the variant that
//! Brazilian spreadsheets open, with semicolons, decimal commas and a byte order mark.
//!
//! A spreadsheet takes text that begins with `=` for a formula, and what begins a reference is anybody's word. Such text
//! gets an apostrophe ahead, and so does text that begins with one: whoever takes one apostrophe off every cell that
//! begins with it has exactly what the ledger holds. Amounts, seqs and hashes never get one.

use super::{Custom, ExportError, Form};
use crate::domain::entry::Entry;
use crate::domain::money::Money;
use crate::domain::posting::Posting;
use std::collections::BTreeMap;

const COLUMNS: [&str; 25] = [
    "seq",
    "recorded_at",
    "occurred_at",
    "account",
    "order",
    "kind",
    "from",
    "to",
    "ledger_account",
    "amount",
    "currency",
    "entry_amount",
    "own_ledger_account",
    "provider_status",
    "source",
    "receipt",
    "as_of",
    "actor",
    "reason_hash",
    "discrepancy_id",
    "discrepancy_cause",
    "discrepancy_action",
    "details",
    "prev_hash",
    "hash",
];

/// What spreadsheets take for the beginning of a formula, the full-width forms included, and the guard itself.
const GUARDED: [char; 12] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠', '\''];

/// What stands between cells, and within amounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Commas and decimal points.
    Plain,
    /// Semicolons and decimal commas.
    Brazilian,
}

/// A row on its way into a text.
pub struct Row<'a> {
    text: &'a mut String,
    dialect: Dialect,
    begun: bool,
}

impl<'a> Row<'a> {
    pub fn new(text: &'a mut String, dialect: Dialect) -> Row<'a> {
        Row { text, dialect, begun: false }
    }

    /// A word of ours: no separator and no quotes in it.
    pub fn word(mut self, word: &str) -> Self {
        if std::mem::replace(&mut self.begun, true) {
            self.text.push(self.dialect.separator());
        }
        self.text.push_str(word);
        self
    }

    /// Text that anybody may have written. Either separator has it quoted, so that no dialect splits it.
    pub fn text(self, text: &str) -> Self {
        let guard = if text.starts_with(GUARDED) { "'" } else { "" };
        if text.contains(['"', ',', ';', '\t', '\r', '\n']) || text.trim() != text {
            self.word(&format!("\"{guard}{}\"", text.replace('"', "\"\"")))
        } else {
            self.word(&format!("{guard}{text}"))
        }
    }

    /// A decimal as the API shows it.
    pub fn amount(self, amount: &str) -> Self {
        match self.dialect {
            Dialect::Plain => self.word(amount),
            Dialect::Brazilian => self.word(&amount.replace('.', ",")),
        }
    }

    pub fn end(self) {
        let Row { text, .. } = self;
        text.push('\n');
    }
}

impl Dialect {
    fn separator(self) -> char {
        match self {
            Dialect::Plain => ',',
            Dialect::Brazilian => ';',
        }
    }
}

pub(super) struct Csv {
    dialect: Dialect,
    custom: Custom,
}

impl Csv {
    pub(super) fn new(dialect: Dialect, custom: Custom) -> Csv {
        Csv { dialect, custom }
    }

    fn row(&self, entry: &Entry, posting: Option<&Posting>, details: &str, text: &mut String) {
        let word = |value: Option<&'static str>| value.unwrap_or_default();
        let show =
            |amount: Option<Money>| amount.map(|amount| amount.show(entry.currency)).unwrap_or_default();
        let ledger_account = posting.map(|posting| &posting.ledger_account);
        let name = |name: Option<String>| name.unwrap_or_default();
        let (origin, note) = (&entry.origin, entry.discrepancy.as_ref());
        Row::new(text, self.dialect)
            .word(&entry.seq.to_string())
            .word(&entry.recorded_at.to_string())
            .word(&entry.occurred_at.to_string())
            .text(entry.account.as_str())
            .text(entry.order.as_ref().map(|order| order.as_str()).unwrap_or_default())
            .word(entry.kind.as_str())
            .word(word(entry.from.map(|state| state.as_str())))
            .word(word(entry.to.map(|state| state.as_str())))
            .text(&name(ledger_account.map(|ledger_account| self.custom.chart.name(ledger_account))))
            .amount(&show(posting.map(|posting| posting.amount)))
            .word(entry.currency.code())
            .amount(&show(entry.amount))
            .word(&name(ledger_account.map(|ledger_account| ledger_account.to_string())))
            .text(entry.provider_status.as_deref().unwrap_or_default())
            .word(origin.source.as_str())
            .word(&name(origin.receipt.map(|receipt| receipt.to_string())))
            .word(&entry.as_of.to_string())
            .text(origin.actor.as_deref().unwrap_or_default())
            .word(origin.reason_hash.as_deref().unwrap_or_default())
            .word(&name(note.map(|note| note.id.to_string())))
            .word(word(note.map(|note| note.cause.as_str())))
            .word(word(note.and_then(|note| note.action).map(|action| action.as_str())))
            .text(details)
            .word(&entry.prev_hash.to_hex())
            .word(&entry.hash.to_hex())
            .end();
    }
}

impl Form for Csv {
    fn begin(&mut self, text: &mut String) {
        if self.dialect == Dialect::Brazilian {
            text.push('\u{feff}');
        }
        let row = Row::new(text, self.dialect);
        COLUMNS.iter().fold(row, |row, column| row.word(column)).end();
    }

    fn entry(&mut self, entry: &Entry, text: &mut String) -> Result<(), ExportError> {
        let details = details(entry)?;
        if entry.postings.is_empty() {
            self.row(entry, None, &details, text);
        }
        for posting in &entry.postings {
            self.row(entry, Some(posting), &details, text);
        }
        Ok(())
    }

    fn end(&mut self, _text: &mut String) {}
}

/// A JSON object; nothing where there are none.
fn details(entry: &Entry) -> Result<String, ExportError> {
    if entry.details.is_empty() {
        return Ok(String::new());
    }
    let sorted: BTreeMap<&String, &String> =
        entry.details.iter().map(|(name, value)| (name, value)).collect();
    serde_json::to_string(&sorted).map_err(|why| ExportError::NoJson { seq: entry.seq, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(dialect: Dialect, text: &str) -> String {
        let mut out = String::new();
        Row::new(&mut out, dialect).word("1").text(text).amount("-1.10").end();
        out
    }

    #[test]
    fn text_is_quoted_and_guarded_and_amounts_are_numbers() {
        for (text, expected) in [
            ("PED-1", "1,PED-1,-1.10\n"),
            ("a;b", "1,\"a;b\",-1.10\n"),
            ("a,\"b\"", "1,\"a,\"\"b\"\"\",-1.10\n"),
            ("=1+1", "1,'=1+1,-1.10\n"),
            ("@SUM(1,2)", "1,\"'@SUM(1,2)\",-1.10\n"),
            ("'x", "1,''x,-1.10\n"),
            ("＝1", "1,'＝1,-1.10\n"),
            (" x", "1,\" x\",-1.10\n"),
        ] {
            assert_eq!(row(Dialect::Plain, text), expected);
        }
        assert_eq!(row(Dialect::Brazilian, "a,b"), "1;\"a,b\";-1,10\n");
    }
}
