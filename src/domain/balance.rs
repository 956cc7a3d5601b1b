//! Balances per ledger account and currency, and how one entry moves them.

use super::entry::Entry;
use super::money::{Currency, Money, Total};
use super::posting::LedgerAccount;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// Both sides of one ledger account, both positive.
#[derive(Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct Sides {
    pub debits: Total,
    pub credits: Total,
}

/// The balances of everything at some seq.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Balances(pub BTreeMap<(LedgerAccount, Currency), Sides>);

impl Sides {
    pub fn post(&mut self, amount: Money) {
        if amount < Money::ZERO {
            self.credits = self.credits.plus(-amount);
        } else {
            self.debits = self.debits.plus(amount);
        }
    }

    pub fn balance(&self) -> Total {
        Total(self.debits.0.saturating_sub(self.credits.0))
    }
}

impl Balances {
    pub fn post(&mut self, entry: &Entry) {
        for posting in &entry.postings {
            self.0.entry((posting.ledger_account.clone(), entry.currency)).or_default().post(posting.amount);
        }
    }

    /// What they add up to in each currency: both sides are equal where whole accounts are added.
    pub fn totals(&self) -> BTreeMap<Currency, Sides> {
        let mut totals: BTreeMap<Currency, Sides> = BTreeMap::new();
        for ((_, currency), sides) in &self.0 {
            let total = totals.entry(*currency).or_default();
            total.debits = Total(total.debits.0.saturating_add(sides.debits.0));
            total.credits = Total(total.credits.0.saturating_add(sides.credits.0));
        }
        totals
    }

    /// The ledger accounts that an entry has moved, each once, with their balances now.
    pub fn moved_by<'a>(&self, entry: &'a Entry) -> BTreeMap<&'a LedgerAccount, Sides> {
        let names = entry.postings.iter().map(|posting| &posting.ledger_account);
        let sides = |name: &LedgerAccount| self.0.get(&(name.clone(), entry.currency)).copied();
        names.map(|name| (name, sides(name).unwrap_or_default())).collect()
    }
}
