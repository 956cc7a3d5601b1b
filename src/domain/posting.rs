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

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no ledger account; one is such as income:loja-picpay:sales or assets:bank:loja-picpay")]
pub struct NotALedgerAccount(pub String);

impl LedgerAccount {
    /// From its name.
    pub fn parse(text: &str) -> Result<Self, NotALedgerAccount> {
        let named = |part: &str| {
            let account = AccountId::parse(part).ok()?;
            let mut all =
                Purpose::ALL.map(|purpose| LedgerAccount { account: account.clone(), purpose }).into_iter();
            all.find(|ledger_account| ledger_account.to_string() == text)
        };
        text.split(':')
            .skip(1)
            .find_map(named)
            .ok_or_else(|| NotALedgerAccount(text.chars().take(100).collect()))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_names_one_ledger_account() {
        for account in ["loja", "pending", "-", "assets"] {
            let account = AccountId::parse(account).unwrap();
            for purpose in Purpose::ALL {
                let ledger_account = LedgerAccount { account: account.clone(), purpose };
                assert_eq!(LedgerAccount::parse(&ledger_account.to_string()), Ok(ledger_account));
            }
        }
        for odd in [
            "",
            "assets",
            "assets:loja",
            "assets:loja:sales",
            "income:bank:sales",
            "assets:bank:bank",
            "assets:Loja:pending",
            "assets:loja:pending:",
            " assets:loja:pending",
        ] {
            assert!(LedgerAccount::parse(odd).is_err(), "{odd:?}");
        }
    }
}
