//! Ledger accounts, and postings as the difference of an order's balances before and after.

use super::ids::AccountId;
use super::money::Money;
use super::standing::OrderBalances;
use bincode::{Decode, Encode};
use std::fmt;

/// What a ledger account holds, in the order in which postings are listed. Debit positive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum Purpose {
    /// With the provider, not yet at the merchant's disposal.
    Pending,
    /// With the provider, at the merchant's disposal.
    Available,
    Bank,
    Sales,
    /// Contra-income.
    Refunds,
    Fees,
    Chargebacks,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub struct LedgerAccount {
    pub account: AccountId,
    pub purpose: Purpose,
}

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Posting {
    pub ledger_account: LedgerAccount,
    pub amount: Money,
}

impl Purpose {
    pub const ALL: [Purpose; 7] = [
        Purpose::Pending,
        Purpose::Available,
        Purpose::Bank,
        Purpose::Sales,
        Purpose::Refunds,
        Purpose::Fees,
        Purpose::Chargebacks,
    ];
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = &self.account;
        match self.purpose {
            Purpose::Pending => write!(f, "assets:{account}:pending"),
            Purpose::Available => write!(f, "assets:{account}:available"),
            Purpose::Bank => write!(f, "assets:bank:{account}"),
            Purpose::Sales => write!(f, "income:{account}:sales"),
            Purpose::Refunds => write!(f, "income:{account}:refunds"),
            Purpose::Fees => write!(f, "expenses:{account}:fees"),
            Purpose::Chargebacks => write!(f, "expenses:{account}:chargebacks"),
        }
    }
}

/// The postings that lead from one set of balances to another; zero lines are left out, so they sum to zero.
pub fn postings(account: &AccountId, before: &OrderBalances, after: &OrderBalances) -> Vec<Posting> {
    let moved = [
        (Purpose::Pending, after.pending - before.pending),
        (Purpose::Available, after.available - before.available),
        (Purpose::Sales, after.sales - before.sales),
        (Purpose::Refunds, after.refunds - before.refunds),
        (Purpose::Fees, after.fees - before.fees),
        (Purpose::Chargebacks, after.chargebacks - before.chargebacks),
    ];
    moved
        .into_iter()
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(purpose, amount)| Posting {
            ledger_account: LedgerAccount { account: account.clone(), purpose },
            amount,
        })
        .collect()
}
