//! A statement's lines as the API shows them.

use crate::domain::entry::Entry;
use crate::domain::ids::Reference;
use crate::domain::money::{Currency, Total};
use serde::Serialize;
use utoipa::ToSchema;

/// One entry that moved the ledger account.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = StatementLine)]
pub struct StatementLineView {
    pub seq: u64,
    pub recorded_at: String,
    /// With the offset the provider told.
    pub occurred_at: String,
    /// Null for payouts.
    pub order: Option<String>,
    pub kind: &'static str,
    /// Debits are positive.
    #[schema(example = "129.90")]
    pub amount: String,
    /// The ledger account's balance after this line.
    pub running_balance: String,
}

impl StatementLineView {
    pub fn of(entry: &Entry, currency: Currency, amount: Total, balance: Total) -> StatementLineView {
        StatementLineView {
            seq: entry.seq.0,
            recorded_at: entry.recorded_at.to_string(),
            occurred_at: entry.occurred_at.to_string(),
            order: entry.order.as_ref().map(Reference::to_string),
            kind: entry.kind.as_str(),
            amount: amount.show(currency),
            running_balance: balance.show(currency),
        }
    }
}
