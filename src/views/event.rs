//! The one event body: of the stream, the list, and whatever else carries events.

use super::entry::EntryView;
use super::order::OrderView;
use crate::domain::entry::Entry;
use crate::domain::order::Order;
use crate::domain::time::Time;
use serde::Serialize;
use serde_json::value::RawValue;
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

/// An event of no entry: the same shape, with nothing of the ledger in it. Goes to webhooks alone.
#[derive(Serialize)]
pub struct NoticeView<'a> {
    id: &'a str,
    seq: Option<u64>,
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    account: Option<&'a str>,
    data: Option<&'a RawValue>,
}

impl NoticeView<'_> {
    /// `data` is a JSON object.
    pub fn json(id: &str, kind: &str, at: Time, data: &str) -> String {
        let data: Option<&RawValue> = serde_json::from_str(data).ok();
        let view = NoticeView { id, seq: None, kind, timestamp: at.to_string(), account: None, data };
        serde_json::to_string(&view).unwrap_or_default()
    }
}
