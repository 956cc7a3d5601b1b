//! A beancount ledger. A transaction's date is the day of recording, the exact times are metadata beside seq and hash; the
//! order is a link, the kind a tag. An account is opened on the day it is first used, under its name in components;
//! what it is called elsewhere stands in the metadata of its `open`.

use super::journal::{Frame, Held, comments, escaped, facts, story};
use super::{Ends, ExportError, Form};
use crate::domain::entry::Entry;
use crate::domain::money::{Currency, Total};
use crate::domain::posting::LedgerAccount;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where opening balances come from.
const EQUITY: &str = "Equity:Opening-Balances";
/// Lets a journal use accounts that the one before it has opened, also where that one is not there.
const AUTO_ACCOUNTS: &str = "plugin \"beancount.plugins.auto_accounts\"\n";

pub(super) struct Beancount {
    frame: Frame,
    opening: Held,
    closing: Held,
    /// Accounts that need no `open` any more.
    opened: BTreeSet<String>,
    /// The last entry's date; none before the first.
    last: Option<Date>,
}

impl Beancount {
    pub(super) fn new(frame: Frame) -> Beancount {
        let name = |ledger_account: &LedgerAccount| frame.custom.chart.components(ledger_account);
        let (opening, closing) = (frame.opening(name), frame.closing(name));
        let known = opening.keys().map(|(name, _)| name.clone());
        let opened = if frame.ends == Ends::Open { BTreeSet::new() } else { known.collect() };
        Beancount { frame, opening, closing, opened, last: None }
    }

    fn open(&mut self, name: &str, called: &str, date: Date, text: &mut String) {
        if self.opened.insert(name.to_owned()) {
            let currencies = self.closing.keys().filter(|(known, _)| known == name);
            let currencies: Vec<&str> = currencies.map(|(_, currency)| currency.code()).collect();
            text.push_str(&format!("\n{date} open {name} {}\n", currencies.join(",")));
            text.push_str(&format!("  name: {}\n", quoted(called)));
        }
    }

    /// What is said before the first transaction.
    fn begin_on(&mut self, date: Date, text: &mut String) {
        match self.frame.ends {
            Ends::Comment => {}
            Ends::Assert if self.opening.is_empty() => {}
            Ends::Assert => balances(date, &self.opening, text),
            Ends::Open => self.post_opening(date, text),
        }
    }

    fn post_opening(&mut self, date: Date, text: &mut String) {
        let called: BTreeMap<String, String> = self
            .frame
            .ledger_accounts()
            .map(|(ledger_account, _)| {
                let chart = &self.frame.custom.chart;
                (chart.components(ledger_account), chart.name(ledger_account))
            })
            .collect();
        let opening = self.opening.clone();
        for (name, _) in opening.keys() {
            self.open(name, called.get(name).unwrap_or(name), date, text);
        }
        let held: Vec<_> = opening.iter().filter(|(_, total)| **total != Total(0)).collect();
        if held.is_empty() {
            return;
        }
        text.push_str(&format!("\n{date} open {EQUITY}\n\n{date} * \"opening balances\"\n"));
        for ((name, currency), total) in held {
            line(name, *total, *currency, text);
            line(EQUITY, Total(total.0.saturating_neg()), *currency, text);
        }
    }
}

impl Form for Beancount {
    fn begin(&mut self, text: &mut String) {
        self.frame.head(text);
        if self.frame.ends == Ends::Comment {
            if !self.opened.is_empty() {
                text.push_str(AUTO_ACCOUNTS);
            }
            comments("opening", &self.opening, text);
        }
    }

    fn entry(&mut self, entry: &Entry, text: &mut String) -> Result<(), ExportError> {
        let date = self.frame.date(entry.recorded_at);
        if self.last.is_none() {
            self.begin_on(date, text);
        }
        self.last = Some(date);
        let chart = Arc::clone(&self.frame.custom.chart);
        for posting in &entry.postings {
            let ledger_account = &posting.ledger_account;
            self.open(&chart.components(ledger_account), &chart.name(ledger_account), date, text);
        }
        let link = link(entry).map(|link| format!(" ^{link}")).unwrap_or_default();
        let told = quoted(&story(entry));
        text.push_str(&format!("\n{date} * {told}{link} #{}\n  seq: {}\n", entry.kind.as_str(), entry.seq));
        for fact in facts(entry) {
            text.push_str(&format!("  {}: {}\n", fact.name, quoted(&fact.value)));
        }
        for posting in &entry.postings {
            let name = chart.components(&posting.ledger_account);
            line(&name, Total(0).plus(posting.amount), entry.currency, text);
        }
        Ok(())
    }

    fn end(&mut self, text: &mut String) {
        match (self.frame.ends, self.last) {
            // A balance holds at the beginning of its day.
            (Ends::Assert | Ends::Open, Some(date)) => {
                balances(date.tomorrow().unwrap_or(date), &self.closing, text);
            }
            (Ends::Assert | Ends::Open | Ends::Comment, _) => comments("closing", &self.closing, text),
        }
    }
}

/// Exact: without a tolerance a cent too much would pass.
fn balances(date: Date, held: &Held, text: &mut String) {
    text.push('\n');
    for ((name, currency), total) in held {
        text.push_str(&format!("{date} balance {name:<40}  {:>14} ~ 0 {currency}\n", total.show(*currency)));
    }
}

fn line(name: &str, total: Total, currency: Currency, text: &mut String) {
    text.push_str(&format!("  {name:<44}  {:>14} {currency}\n", total.show(currency)));
}

/// Its account and its reference, where letters, digits, hyphens and underscores stay and `.2F` is what `%2F` is elsewhere.
fn link(entry: &Entry) -> Option<String> {
    let order = entry.order.as_ref()?;
    let safe = escaped(order.as_str(), '.', |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    Some(format!("{}/{safe}", entry.account))
}

fn quoted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 2);
    safe.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => safe.extend(['\\', c]),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe.push('"');
    safe
}
