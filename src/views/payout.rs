//! A payout as the API answers it.

use crate::domain::payout::Payout;
use serde::Serialize;
use utoipa::ToSchema;

/// Money that left the provider for the bank.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Payout)]
pub struct PayoutView {
    pub account: String,
    pub reference: String,
    #[schema(example = "1250.00")]
    pub amount: String,
    #[schema(example = "BRL")]
    pub currency: &'static str,
    /// With the offset it was told with.
    pub occurred_at: String,
    pub recorded_at: String,
    /// The ledger seq of its entry.
    pub seq: u64,
}

impl PayoutView {
    pub fn of(payout: &Payout) -> PayoutView {
        PayoutView {
            account: payout.account.to_string(),
            reference: payout.reference.to_string(),
            amount: payout.amount.show(payout.currency),
            currency: payout.currency.code(),
            occurred_at: payout.occurred_at.to_string(),
            recorded_at: payout.recorded_at.to_string(),
            seq: payout.seq.0,
        }
    }
}
