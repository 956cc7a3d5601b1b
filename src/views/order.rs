//! The order as GET answers it and as events carry it.

use crate::domain::discrepancy::Cause;
use crate::domain::ids::OrderKey;
use crate::domain::money::Money;
use crate::domain::order::{OpenDiscrepancy, Order};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// An order: one payment at one provider account.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Order)]
pub struct OrderView {
    pub account: String,
    /// The order's name here; one percent-encoded path segment in URLs.
    pub reference: String,
    pub provider: String,
    /// The provider's own name of the payment; null until one is known.
    pub provider_ref: Option<String>,
    /// created, in_analysis, paid, completed, expired, refunded or chargeback.
    #[schema(example = "paid")]
    pub state: &'static str,
    /// The provider's own last word.
    pub provider_status: Option<String>,
    #[schema(example = "BRL")]
    pub currency: &'static str,
    pub amounts: Amounts,
    /// unseen (registered only), reported (by a callback alone), confirmed (by a call of ours) or discrepancy.
    #[schema(example = "confirmed")]
    pub reconciliation: &'static str,
    /// The open discrepancies.
    pub discrepancies: Vec<OrderDiscrepancy>,
    pub created_at: String,
    pub updated_at: String,
    /// When a call of ours last asked the provider about it.
    pub checked_at: Option<String>,
    /// The ledger seq of its last entry.
    pub seq: u64,
}

/// What is known of an order's money. Null while unknown.
#[derive(Serialize, ToSchema, Debug)]
pub struct Amounts {
    /// What the shop registered.
    #[schema(example = "129.90")]
    pub expected: Option<String>,
    /// What the buyer paid.
    pub gross: Option<String>,
    /// What the provider keeps.
    pub fee: Option<String>,
    /// Gross less fee.
    pub net: Option<String>,
    #[schema(example = "0.00")]
    pub refunded: String,
    #[schema(example = "0.00")]
    pub charged_back: String,
}

/// An open discrepancy within its order.
#[derive(Serialize, ToSchema, Debug)]
pub struct OrderDiscrepancy {
    /// The seq of the entry that opened it, as a string.
    pub id: String,
    #[schema(example = "conflict")]
    pub cause: &'static str,
    pub expected: Option<String>,
    pub found: Option<String>,
    pub opened_at: String,
}

/// A discrepancy in the list of all.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Discrepancy)]
pub struct DiscrepancyView {
    pub id: String,
    pub account: String,
    pub order: String,
    #[schema(example = "conflict")]
    pub cause: &'static str,
    pub expected: Option<String>,
    pub found: Option<String>,
    pub opened_at: String,
    pub seq: u64,
}

/// An order with what the shop attached to it.
#[derive(Serialize, ToSchema, Debug)]
pub struct OrderWithMetadata {
    #[serde(flatten)]
    pub order: OrderView,
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Box<RawValue>>,
}

impl OrderView {
    pub fn of(order: &Order) -> OrderView {
        OrderView {
            account: order.key.account.to_string(),
            reference: order.key.reference.to_string(),
            provider: order.provider.clone(),
            provider_ref: order.provider_ref.as_ref().map(|provider_ref| provider_ref.to_string()),
            state: order.state().as_str(),
            provider_status: order.sighting.provider_status.clone(),
            currency: order.currency.code(),
            amounts: Amounts::of(order),
            reconciliation: order.reconciliation().as_str(),
            discrepancies: order
                .open
                .iter()
                .map(|(cause, open)| OrderDiscrepancy::of(*cause, open))
                .collect(),
            created_at: order.created_at.to_string(),
            updated_at: order.updated_at.to_string(),
            checked_at: order.sighting.checked_at.map(|at| at.to_string()),
            seq: order.seq.0,
        }
    }
}

impl Amounts {
    fn of(order: &Order) -> Amounts {
        let show = |money: Money| money.show(order.currency);
        let gross = order.gross_known.filter(|_| order.state().has_money());
        let net = gross.zip(order.fee_known).map(|(gross, fee)| gross - fee);
        Amounts {
            expected: order.expected.amount.map(show),
            gross: gross.map(show),
            fee: order.fee_known.map(show),
            net: net.map(show),
            refunded: show(order.ledgered.sums.refunded),
            charged_back: show(order.ledgered.sums.charged_back),
        }
    }
}

impl OrderDiscrepancy {
    fn of(cause: Cause, open: &OpenDiscrepancy) -> OrderDiscrepancy {
        OrderDiscrepancy {
            id: open.id.to_string(),
            cause: cause.as_str(),
            expected: open.expected.clone(),
            found: open.found.clone(),
            opened_at: open.opened_at.to_string(),
        }
    }
}

impl DiscrepancyView {
    pub fn of(key: &OrderKey, cause: Cause, open: &OpenDiscrepancy) -> DiscrepancyView {
        DiscrepancyView {
            id: open.id.to_string(),
            account: key.account.to_string(),
            order: key.reference.to_string(),
            cause: cause.as_str(),
            expected: open.expected.clone(),
            found: open.found.clone(),
            opened_at: open.opened_at.to_string(),
            seq: open.id.0,
        }
    }
}
