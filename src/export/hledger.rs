//! An hledger journal. Both dates of an entry stand in its transaction, recorded=occurred; its seq is the code; everything
//! else is a tag. Anybody's words are percent-encoded in tags, where a comma would end them, and in the description,
//! which a semicolon would end, the signs that mean something to hledger are replaced.

use super::journal::{Frame, Held, Whose, comments, escaped, facts, story};
use super::{Ends, ExportError, Form};
use crate::domain::entry::Entry;
use crate::domain::money::{Currency, Total};
use crate::domain::posting::{LedgerAccount, Purpose};
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};

/// Where opening balances come from.
const EQUITY: &str = "equity:opening balances";
/// A commodity directive shows its format by an amount.
const SAMPLE: Total = Total(1_000_000);

pub(super) struct Hledger {
    frame: Frame,
    opening: Held,
    closing: Held,
    /// The last entry's date; none before the first.
    last: Option<Date>,
}

impl Hledger {
    pub(super) fn new(frame: Frame) -> Hledger {
        let name = |ledger_account: &LedgerAccount| frame.custom.chart.name(ledger_account);
        let (opening, closing) = (frame.opening(name), frame.closing(name));
        Hledger { frame, opening, closing, last: None }
    }

    fn directives(&self, text: &mut String) {
        text.push_str("decimal-mark .\n");
        let currencies: BTreeSet<Currency> = self.closing.keys().map(|(_, currency)| *currency).collect();
        for currency in currencies {
            text.push_str(&format!("commodity {}\n", sample(currency)));
        }
        let mut types: BTreeMap<String, &str> = BTreeMap::new();
        for (ledger_account, _) in self.frame.ledger_accounts() {
            let name = self.frame.custom.chart.name(ledger_account);
            types.entry(name).or_insert(type_of(ledger_account.purpose));
        }
        if self.frame.ends == Ends::Open && !self.opening.is_empty() {
            types.insert(EQUITY.to_owned(), "E");
        }
        for (name, kind) in types {
            text.push_str(&format!("account {name}  ; type:{kind}\n"));
        }
    }

    /// What is said before the first transaction.
    fn open(&self, date: Date, text: &mut String) {
        match self.frame.ends {
            Ends::Comment => {}
            Ends::Assert if self.opening.is_empty() => {}
            Ends::Assert => assertions(date, "opening balances", &self.opening, text),
            Ends::Open => self.post_opening(date, text),
        }
    }

    fn post_opening(&self, date: Date, text: &mut String) {
        let held: Vec<_> = self.opening.iter().filter(|(_, total)| **total != Total(0)).collect();
        if held.is_empty() {
            return;
        }
        text.push_str(&format!("\n{date} * opening balances\n"));
        for ((name, currency), total) in held {
            line(name, &amount(*total, *currency), text);
            line(EQUITY, &amount(Total(total.0.saturating_neg()), *currency), text);
        }
    }
}

impl Form for Hledger {
    fn begin(&mut self, text: &mut String) {
        self.frame.head(text);
        self.directives(text);
        if self.frame.ends == Ends::Comment {
            comments("opening", &self.opening, text);
        }
    }

    fn entry(&mut self, entry: &Entry, text: &mut String) -> Result<(), ExportError> {
        let (date, occurred) = (self.frame.date(entry.recorded_at), self.frame.date(entry.occurred_at.at));
        if self.last.is_none() {
            self.open(date, text);
        }
        self.last = Some(date);
        text.push_str(&format!("\n{date}={occurred} * ({}) {}\n", entry.seq, description(&story(entry))));
        for fact in facts(entry) {
            let value = match fact.whose {
                Whose::Ours => fact.value,
                Whose::Anybodys => {
                    escaped(&fact.value, '%', |c| c.is_alphanumeric() || "-._~/@+#".contains(c))
                }
            };
            text.push_str(&format!("    ; {}:{value}\n", fact.name));
        }
        for posting in &entry.postings {
            let name = self.frame.custom.chart.name(&posting.ledger_account);
            line(&name, &amount(Total(0).plus(posting.amount), entry.currency), text);
        }
        Ok(())
    }

    fn end(&mut self, text: &mut String) {
        match (self.frame.ends, self.last) {
            (Ends::Assert | Ends::Open, Some(date)) if !self.closing.is_empty() => {
                assertions(date, "closing balances", &self.closing, text);
            }
            (Ends::Assert | Ends::Open | Ends::Comment, _) => comments("closing", &self.closing, text),
        }
    }
}

/// A transaction that moves nothing and asserts.
fn assertions(date: Date, what: &str, held: &Held, text: &mut String) {
    text.push_str(&format!("\n{date} * {what}\n"));
    for ((name, currency), total) in held {
        let asserted = format!("{} = {}", amount(Total(0), *currency), amount(*total, *currency));
        line(name, &asserted, text);
    }
}

/// Two spaces end an account's name.
fn line(name: &str, amount: &str, text: &mut String) {
    text.push_str(&format!("    {name:<44}  {amount:>20}\n"));
}

fn amount(total: Total, currency: Currency) -> String {
    format!("{} {currency}", total.show(currency))
}

/// With a decimal mark also where there are no decimals.
fn sample(currency: Currency) -> String {
    let shown = SAMPLE.show(currency);
    let mark = if shown.contains('.') { "" } else { "." };
    format!("{shown}{mark} {currency}")
}

fn type_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Pending | Purpose::Available => "A",
        Purpose::Bank => "C",
        Purpose::Sales | Purpose::Refunds => "R",
        Purpose::Fees | Purpose::Chargebacks => "X",
    }
}

/// A semicolon begins a comment, a bar ends the payee.
fn description(story: &str) -> String {
    let plain = |c: char| match c {
        ';' => ',',
        '|' => '/',
        c if c.is_control() || c.is_whitespace() => ' ',
        c => c,
    };
    story.chars().map(plain).collect()
}
