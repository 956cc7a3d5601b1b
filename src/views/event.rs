//! The one event body: of the stream, the list, and whatever else carries events.

use super::entry::EntryView;
use super::order::OrderView;
use crate::domain::entry::Entry;
use crate::domain::order::Order;
use serde::Serialize;
use utoipa::ToSchema;

/// What happened, once per ledger entry.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// `evt_` and the first 32 hex digits of the entry's hash.
    pub id: String,
    /// The entry's seq.
    pub seq: u64,
    #[serde(rename = "type")]
    #[schema(example = "order.paid")]
    pub kind: &'static str,
    pub timestamp: String,
    pub account: String,
    pub data: EventData,
}

#[derive(Serialize, ToSchema)]
pub struct EventData {
    /// The order as it was when the entry was recorded; null for payouts.
    pub order: Option<OrderView>,
    pub entry: EntryView,
}

impl EventView {
    pub fn of(entry: &Entry, order: Option<&Order>) -> EventView {
        EventView {
            id: entry.event_id(),
            seq: entry.seq.0,
            kind: entry.event_type(),
            timestamp: entry.recorded_at.to_string(),
            account: entry.account.to_string(),
            data: EventData { order: order.map(OrderView::of), entry: EntryView::of(entry) },
        }
    }
}
