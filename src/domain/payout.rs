//! A payout: money that left the provider for the merchant's bank. Of no order; its entry moves it, this record names it.

use super::evidence::provider_status;
use super::ids::{AccountId, Reference, Seq};
use super::money::{Currency, Money};
use super::posting::{LedgerAccount, Posting, Purpose};
use super::time::{OffsetTime, Time};
use bincode::{Decode, Encode};

/// Under this name an entry's details hold what the payout is called.
const DETAIL: &str = "payout_reference";

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Payout {
    pub account: AccountId,
    pub reference: Reference,
    pub amount: Money,
    pub currency: Currency,
    pub occurred_at: OffsetTime,
    pub recorded_at: Time,
    /// Its entry.
    pub seq: Seq,
}

/// The entry's details that name a payout, cut as every detail is.
pub fn details(reference: &Reference) -> Vec<(String, String)> {
    vec![(DETAIL.to_owned(), provider_status(reference.as_str()))]
}

/// From what is available at the provider to the bank.
pub fn postings(account: &AccountId, amount: Money) -> Vec<Posting> {
    let line = |purpose, amount| {
        let ledger_account = LedgerAccount { account: account.clone(), purpose };
        Posting { ledger_account, amount }
    };
    vec![line(Purpose::Available, -amount), line(Purpose::Bank, amount)]
}
