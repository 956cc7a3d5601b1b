//! GenPag's webhooks and its account of their deliveries. The routes are documented, and what registers a webhook. ASSUMED:
//! the answers, as lists in `data` of what was registered and of notifications with `event_id`, `target`,
//! `response_status` and `inserted_at`; and that neither has pages.

use super::{GenPag, PAYMENT_EVENTS, time, understood};
use crate::domain::ids::EventId;
use crate::providers::provider::{Merchant, Session, Trouble};
use crate::providers::registrar::{Address, Delivered, Registrar};
use crate::wire::call::{Answer, Call};
use crate::wire::json::Json;
use secrecy::ExposeSecret;
use serde_json::json;

impl Registrar for GenPag {
    fn ask_addresses(&self, merchant: &Merchant, session: Option<&Session>) -> Call {
        Call::get(webhooks(merchant)).bearer(session.map(|session| &session.token))
    }

    fn read_addresses(&self, answer: &Answer) -> Result<Vec<Address>, Trouble> {
        let json = understood(answer)?;
        Ok(listed(&json, "webhooks")?.iter().filter_map(address).collect())
    }

    fn register(&self, merchant: &Merchant, session: Option<&Session>, target: &str) -> Call {
        let authorization = merchant.credentials.first("webhook_authorization");
        let events = [format!("{PAYMENT_EVENTS}.*")];
        let webhook =
            json!({"events": events, "target": target, "authorization": authorization.expose_secret()});
        let body = json!({"webhook": webhook}).to_string();
        let call = Call::post(webhooks(merchant), "application/json", &body);
        call.bearer(session.map(|session| &session.token))
    }

    fn registered(&self, answer: &Answer) -> Result<(), Trouble> {
        // What a success says is not documented, nor that it says anything.
        if (200..300).contains(&answer.status) { Ok(()) } else { understood(answer).map(drop) }
    }

    fn ask_deliveries(&self, merchant: &Merchant, session: Option<&Session>) -> Call {
        let call = Call::get(format!("{}/api/notifications", merchant.base_url));
        call.bearer(session.map(|session| &session.token))
    }

    fn read_deliveries(&self, answer: &Answer) -> Result<Vec<Delivered>, Trouble> {
        let json = understood(answer)?;
        Ok(listed(&json, "notifications")?.iter().filter_map(delivered).collect())
    }
}

fn webhooks(merchant: &Merchant) -> String {
    format!("{}/api/webhooks", merchant.base_url)
}

fn listed<'a>(json: &'a Json, what: &str) -> Result<&'a [Json], Trouble> {
    match json.get("data") {
        Some(Json::Array(items)) => Ok(items),
        Some(_) | None => Err(Trouble::Broken(format!("its answer holds no list of {what}"))),
    }
}

fn address(item: &Json) -> Option<Address> {
    let target = item.get("target")?.as_str()?.to_owned();
    let events = item.get("events").map(Json::items).unwrap_or_default();
    let events: Vec<String> = events.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    let all = |name: &String| name == "*" || name.eq_ignore_ascii_case(&format!("{PAYMENT_EVENTS}.*"));
    Some(Address { target, hears_payments: events.iter().any(all), events })
}

/// One without an event's id cannot be compared with anything.
fn delivered(item: &Json) -> Option<Delivered> {
    let event = item.get("event_id").or_else(|| item.get("event")?.get("id"))?;
    let status = item.get("response_status").and_then(Json::literal);
    Some(Delivered {
        event: EventId::parse(event.literal()?).ok()?,
        target: item.get("target").and_then(Json::as_str).map(str::to_owned),
        status: status.and_then(|status| status.parse().ok()),
        at: time(item, &["inserted_at", "insertedAt"]),
    })
}
