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
}
