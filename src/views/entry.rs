//! An entry as the API shows it: what the chain hashes, with `prev_hash` and `hash` beside it and nothing of its own.

use crate::domain::chain::Body;
use crate::domain::entry::Entry;
use serde::Serialize;
use utoipa::ToSchema;

/// One line of the ledger. `hash` is BLAKE3 over `prev_hash` and the canonical JSON of all other fields.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct EntryView {
    #[serde(flatten)]
    #[schema(value_type = EntryBody)]
    pub body: Body,
    pub prev_hash: String,
    pub hash: String,
}

/// The hashed part of an entry (documentation of [`Body`], which serialises it).
#[derive(Serialize, ToSchema)]
pub struct EntryBody {
    /// Gapless from 1; the only number.
    pub seq: u64,
    /// When it was written; never goes back.
    pub recorded_at: String,
    /// When the provider says it happened, with its own offset; else the evidence's date.
    pub occurred_at: String,
    pub account: String,
    /// The order's reference; null for payouts.
    pub order: Option<String>,
    /// transition, adjustment, discrepancy, resolution or payout.
    pub kind: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub amount: Option<String>,
    pub currency: String,
    /// They sum to zero.
    pub postings: Vec<EntryPosting>,
    pub evidence: EntryEvidence,
    /// Only in kinds discrepancy and resolution.
    pub discrepancy: Option<EntryDiscrepancy>,
    pub provider_status: Option<String>,
    /// Facts of the provider, word for word.
    pub details: std::collections::BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
pub struct EntryPosting {
    #[schema(example = "assets:loja-picpay:pending")]
    pub ledger_account: String,
    /// Debit positive.
    #[schema(example = "129.90")]
    pub amount: String,
}

/// Where an entry comes from.
#[derive(Serialize, ToSchema)]
pub struct EntryEvidence {
    /// callback, details, poll, registration, statement or operator.
    pub source: String,
    pub receipt: Option<String>,
    /// The evidence's date.
    pub as_of: String,
    pub actor: Option<String>,
    /// BLAKE3 of the operator's reason in hex.
    pub reason_hash: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct EntryDiscrepancy {
    /// The opening entry's seq as a string.
    pub id: String,
    pub cause: String,
    pub expected: Option<String>,
    pub found: Option<String>,
    /// agreed, keep or set_state where it closes; null where it opens.
    pub action: Option<String>,
}

impl EntryView {
    pub fn of(entry: &Entry) -> EntryView {
        EntryView { body: Body::of(entry), prev_hash: entry.prev_hash.to_hex(), hash: entry.hash.to_hex() }
    }
}
