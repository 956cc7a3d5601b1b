//! What both journals have in common: whose balances they say at their ends, and the words for an entry.

use super::{Custom, Ends, Wanted};
use crate::domain::balance::Balances;
use crate::domain::entry::{Entry, Kind};
use crate::domain::ids::{AccountId, Reference};
use crate::domain::money::{Currency, Total};
use crate::domain::posting::LedgerAccount;
use crate::domain::state::State;
use crate::domain::time::Time;
use jiff::civil::Date;
use std::collections::BTreeMap;

/// Balances by the names that a journal uses: several ledger accounts may have one.
pub(super) type Held = BTreeMap<(String, Currency), Total>;

pub(super) struct Frame {
    pub(super) custom: Custom,
    pub(super) ends: Ends,
    opening: Balances,
    closing: Balances,
    /// Lines that say what the journal holds.
    heading: [String; 3],
}

impl Frame {
    pub(super) fn new(custom: Custom, wanted: &Wanted, opening: Balances, closing: Balances) -> Frame {
        let empty = opening.0.values().all(|sides| sides.balance() == Total(0));
        let ends = wanted.ends.unwrap_or(if empty { Ends::Assert } else { Ends::Comment });
        let zone = custom.zone.iana_name().unwrap_or("UTC");
        let of = wanted.accounts.as_ref().map(|accounts| {
            let ids: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
            format!(" of {}", if ids.is_empty() { "no account".to_owned() } else { ids.join(", ") })
        });
        let heading = [
            format!("razao: entries {} to {}{}", wanted.range.from, wanted.range.to, of.unwrap_or_default()),
            format!("A transaction's date is the day on which it was recorded, in {zone}."),
            match ends {
                Ends::Comment => "Balances at both ends are comments.",
                Ends::Assert => "Balances at both ends are asserted.",
                Ends::Open => "Opening balances are posted from equity, closing balances asserted.",
            }
            .to_owned(),
        ];
        Frame { custom, ends, opening, closing, heading }
    }

    pub(super) fn head(&self, text: &mut String) {
        self.heading.iter().for_each(|line| text.push_str(&format!("; {line}\n")));
    }

    /// All ledger accounts that were ever posted to by the end.
    pub(super) fn ledger_accounts(&self) -> impl Iterator<Item = &(LedgerAccount, Currency)> {
        self.closing.0.keys()
    }

    pub(super) fn opening(&self, name: impl Fn(&LedgerAccount) -> String) -> Held {
        held(&self.opening, name)
    }

    pub(super) fn closing(&self, name: impl Fn(&LedgerAccount) -> String) -> Held {
        held(&self.closing, name)
    }

    pub(super) fn date(&self, time: Time) -> Date {
        time.date(&self.custom.zone)
    }
}

fn held(balances: &Balances, name: impl Fn(&LedgerAccount) -> String) -> Held {
    let mut held = Held::new();
    for ((ledger_account, currency), sides) in &balances.0 {
        let total = held.entry((name(ledger_account), *currency)).or_default();
        *total = Total(total.0.saturating_add(sides.balance().0));
    }
    held
}

/// Balances that nobody checks.
pub(super) fn comments(what: &str, held: &Held, text: &mut String) {
    text.push('\n');
    for ((name, currency), total) in held {
        text.push_str(&format!("; {what} balance: {name}  {} {currency}\n", total.show(*currency)));
    }
}

/// What happened, in a few words: `PED-1 paid`.
pub(super) fn story(entry: &Entry) -> String {
    let what = match entry.kind {
        Kind::Transition => entry.to.map_or("transition", State::as_str).to_owned(),
        Kind::Adjustment | Kind::Payout => entry.kind.as_str().to_owned(),
        Kind::Discrepancy | Kind::Resolution => {
            let cause = entry.discrepancy.as_ref().map(|note| format!(" of {}", note.cause.as_str()));
            format!("{}{}", entry.kind.as_str(), cause.unwrap_or_default())
        }
    };
    let order = entry.order.as_ref().map(|order| format!("{order} "));
    format!("{}{what}", order.unwrap_or_default())
}

/// Something told of an entry beside its dates, its postings and its seq.
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) whose: Whose,
}

/// Whose word it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    Ours,
    Anybodys,
}

pub(super) fn facts(entry: &Entry) -> Vec<Fact> {
    let fact = |name: &str, value: String, whose| Fact { name: name.to_owned(), value, whose };
    let ours = |name: &str, value: String| Some(fact(name, value, Whose::Ours));
    let told = |name: &str, value: Option<&str>| Some(fact(name, value?.to_owned(), Whose::Anybodys));
    let origin = &entry.origin;
    let facts = [
        ours("account", entry.account.to_string()),
        told("order", entry.order.as_ref().map(Reference::as_str)),
        ours("kind", entry.kind.as_str().to_owned()),
        told("provider-status", entry.provider_status.as_deref()),
        ours("source", origin.source.as_str().to_owned()),
        origin.receipt.and_then(|receipt| ours("receipt", receipt.to_string())),
        told("actor", origin.actor.as_deref()),
        ours("occurred-at", entry.occurred_at.to_string()),
        ours("recorded-at", entry.recorded_at.to_string()),
        ours("hash", entry.hash.to_hex()),
    ];
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let details = entry.details.iter().filter_map(|(name, value)| {
        let name: String = name.chars().filter(fits).collect();
        told(&format!("detail-{name}"), Some(value.as_str()))
    });
    facts.into_iter().flatten().chain(details).collect()
}

/// Bytes of text that `keeps` does not keep, as `mark` and two hex digits: percent-encoding, with any mark.
pub(super) fn escaped(text: &str, mark: char, keeps: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if keeps(c) {
            safe.push(c);
        } else {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            safe.extend(bytes.map(|byte| format!("{mark}{byte:02X}")));
        }
    }
    safe
}
