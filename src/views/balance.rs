//! Balances as the API shows them.

use crate::domain::balance::{Balances, Sides};
use crate::domain::money::Currency;
use crate::domain::posting::LedgerAccount;
use serde::Serialize;
use utoipa::ToSchema;

/// Both sides of one ledger account in one currency, and their difference.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Balance)]
pub struct BalanceView {
    #[schema(example = "assets:loja-picpay:pending")]
    pub ledger_account: String,
    pub account: String,
    #[schema(example = "BRL")]
    pub currency: &'static str,
    /// Positive.
    pub debits: String,
    /// Positive.
    pub credits: String,
    /// Debits less credits.
    pub balance: String,
}

/// What the balances in one currency add up to.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = BalanceTotal)]
pub struct TotalView {
    #[schema(example = "BRL")]
    pub currency: &'static str,
    /// As much as the credits.
    pub debits: String,
    pub credits: String,
    /// Always zero.
    #[schema(example = "0.00")]
    pub balance: String,
}

impl TotalView {
    pub fn of(currency: Currency, sides: &Sides) -> TotalView {
        TotalView {
            currency: currency.code(),
            debits: sides.debits.show(currency),
            credits: sides.credits.show(currency),
            balance: sides.balance().show(currency),
        }
    }
}

impl BalanceView {
    pub fn all(balances: &Balances) -> Vec<BalanceView> {
        let lines = balances.0.iter();
        lines.map(|((account, currency), sides)| BalanceView::of(account, *currency, sides)).collect()
    }

    pub fn of(ledger_account: &LedgerAccount, currency: Currency, sides: &Sides) -> BalanceView {
        BalanceView {
            ledger_account: ledger_account.to_string(),
            account: ledger_account.account.to_string(),
            currency: currency.code(),
            debits: sides.debits.show(currency),
            credits: sides.credits.show(currency),
            balance: sides.balance().show(currency),
        }
    }
}
