//! GenPag's side: a callback that carries the payment and the registered text, the payment itself, and all events. An
//! access token lives for a week and is renewed by the refresh token, which stays.
//!
//! Webhooks are registered by its API, which also tells what came of each callback.
//!
//! Assumed, for nobody documents it: the envelope of an event, the answers of the queries and of what registers a webhook, the word CHARGEBACK, and that a
//! cancelled payment may be paid after all. An event's name says less than the status in it. `updated_at` lies twenty
//! years before `inserted_at`, as in every example of its documents, and as there everything is a Pix. How a part of the
//! money going back shows is unknown; it is not played.

use super::life::Life;
use super::made::{digest, utc, uuid};
use super::persona::{Acknowledged, Happening, Outgoing, Persona, Request, Response, Subscribed};
use crate::domain::time::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const AUTHORIZATION: &str = "chave-do-webhook-4be1c07d92";
const SELLER_ID: &str = "60b2eac6-41d7-4c0e-9b35-67d43c6d2d0f";
const ACCESS_TOKEN: &str = "SFMyNTY.c2FuZGJveA.0f4b7d21c99a48e6a1d3";
const REFRESH_TOKEN: &str = "SFMyNTY.cmVmcmVzaA.b81e35fa607c4d12f9e8";
const TOKEN_LIVES: Duration = Duration::from_secs(7 * 86_400);
const TWENTY_YEARS: Duration = Duration::from_secs(7305 * 86_400);
const WHEN: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

#[derive(Default)]
pub struct GenPag {
    payments: BTreeMap<String, Payment>,
    /// Every event, in their order, with the reference of its payment.
    events: Vec<(String, Value)>,
    /// Access tokens and when they lapse; the first lives from the first call on.
    tokens: Vec<(String, Time)>,
    renewed: u64,
    webhooks: Vec<Webhook>,
    notifications: Vec<Notification>,
}

struct Webhook {
    id: String,
    events: Vec<String>,
    target: String,
    authorization: String,
}

/// What came of one event at one target.
struct Notification {
    event: String,
    target: String,
    status: Option<u16>,
    attempts: u64,
    made: Time,
}

struct Payment {
    cents: i64,
    status: &'static str,
    made: Time,
}

impl Persona for GenPag {
    fn provider(&self) -> &'static str {
        "genpag"
    }

    fn credentials(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("webhook_authorization", AUTHORIZATION),
            ("seller_id", SELLER_ID),
            ("access_token", ACCESS_TOKEN),
            ("refresh_token", REFRESH_TOKEN),
        ]
    }

    fn wants_callback_key(&self) -> bool {
        false
    }

    fn acknowledged(&self) -> Acknowledged {
        Acknowledged::By2xx
    }

    fn speaks_of(&self, what: Happening) -> bool {
        !matches!(what, Happening::Completed)
    }

    fn plays(&self, life: Life) -> bool {
        life != Life::PartialRefunds
    }

    fn create(&mut self, reference: &str, cents: i64, now: Time) -> String {
        self.payments.insert(reference.to_owned(), Payment { cents, status: "PENDING", made: now });
        self.tell(reference, "PAYMENT.CREATED", now);
        payment_id(reference)
    }

    fn happen(&mut self, reference: &str, what: Happening, now: Time) {
        let Some(payment) = self.payments.get_mut(reference) else { return };
        let (status, event) = match what {
            // Creating it said so already.
            Happening::Created => return,
            Happening::InAnalysis => ("PRE_AUTHORIZED", "PAYMENT.PRE_AUTHORIZED"),
            Happening::Paid => ("PAID", "PAYMENT.PAID"),
            Happening::Completed => return,
            Happening::Expired => ("CANCELLED", "PAYMENT.UPDATED"),
            Happening::Refunded(cents) if cents >= payment.cents => ("REVERSED", "PAYMENT.REVERSED"),
            Happening::Refunded(_) => return,
            Happening::Disputed => ("CHARGEBACK", "PAYMENT.UPDATED"),
            Happening::DisputeWon => ("PAID", "PAYMENT.UPDATED"),
        };
        payment.status = status;
        self.tell(reference, event, now);
    }

    fn callback(&mut self, reference: &str, _now: Time) -> Outgoing {
        let last = self.events.iter().rev().find(|(of, _)| of == reference).map(|(_, event)| event);
        Outgoing {
            headers: vec![("authorization", AUTHORIZATION.to_owned())],
            content_type: "application/json",
            body: last.map(Value::to_string).unwrap_or_default().into_bytes(),
        }
    }

    fn was_asked(&self, _reference: &str, _since: Time) -> bool {
        false
    }

    fn subscribed(&self, outgoing: &Outgoing) -> Vec<Subscribed> {
        let name = said(outgoing, "event");
        let wanting = self.webhooks.iter().filter(|webhook| webhook.wants(&name));
        wanting.map(|webhook| (webhook.target.clone(), webhook.dressed(outgoing))).collect()
    }

    fn delivered(&mut self, outgoing: &Outgoing, target: &str, status: Option<u16>, now: Time) {
        let event = said(outgoing, "id");
        let known = self.notifications.iter_mut().find(|it| it.event == event && it.target == target);
        match known {
            Some(known) => {
                known.attempts += 1;
                known.status = status;
            }
            None => {
                let target = target.to_owned();
                self.notifications.push(Notification { event, target, status, attempts: 1, made: now });
            }
        }
    }

    fn answer(&mut self, request: &Request, now: Time) -> Response {
        if self.tokens.is_empty() {
            self.tokens.push((ACCESS_TOKEN.to_owned(), now.plus(TOKEN_LIVES)));
        }
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if let ("POST", ["api", SELLER_ID, "tokens"]) = (request.method.as_str(), path.as_slice()) {
            return if bearer == Some(REFRESH_TOKEN) { self.renew(now) } else { unauthorized() };
        }
        if !self.tokens.iter().any(|(token, lapses)| bearer == Some(token) && now < *lapses) {
            return unauthorized();
        }
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["api", "events"]) => found(self.events.iter().map(|(_, event)| event.clone()).collect()),
            ("GET", ["api", "webhooks"]) => found(self.webhooks.iter().map(Webhook::json).collect()),
            ("POST", ["api", "webhooks"]) => self.subscribe(&request.body),
            ("GET", ["api", "notifications"]) => {
                found(self.notifications.iter().map(Notification::json).collect())
            }
            ("GET", ["api", "sellers", SELLER_ID, "payments", id]) => {
                match self.payments.iter().find(|(reference, _)| payment_id(reference) == *id) {
                    Some((reference, payment)) => found(payment.json(reference)),
                    None => missing(),
                }
            }
            _ => missing(),
        }
    }
}

impl GenPag {
    fn tell(&mut self, reference: &str, name: &str, now: Time) {
        let Some(payment) = self.payments.get(reference) else { return };
        let nth = self.events.iter().filter(|(of, _)| of == reference).count();
        let event = json!({
            "id": uuid("genpag event", &format!("{reference}/{nth}")), "event": name, "data": payment.json(reference),
            "inserted_at": utc(now, WHEN),
        });
        self.events.push((reference.to_owned(), event));
    }

    fn renew(&mut self, now: Time) -> Response {
        self.renewed += 1;
        let token = format!("SFMyNTY.{}", digest("genpag access token", &self.renewed.to_string()));
        self.tokens.push((token.clone(), now.plus(TOKEN_LIVES)));
        found(token.into())
    }

    fn subscribe(&mut self, body: &[u8]) -> Response {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let field = |name: &str| asked.get("webhook").and_then(|webhook| webhook.get(name));
        let text = |name: &str| field(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let events = field("events").and_then(Value::as_array).cloned().unwrap_or_default();
        let events: Vec<String> = events.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if events.is_empty() || !text("target").starts_with("http") || text("authorization").is_empty() {
            return Response::json(422, r#"{"errors":{"target":["can't be blank"]}}"#);
        }
        let id = uuid("genpag webhook", &self.webhooks.len().to_string());
        let webhook = Webhook { id, events, target: text("target"), authorization: text("authorization") };
        let answer = Response::json(201, json!({"data": webhook.json()}).to_string());
        self.webhooks.push(webhook);
        answer
    }
}

impl Webhook {
    /// By name, or by category as `PAYMENT.*`.
    fn wants(&self, event: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(category) => event.starts_with(category),
            None => event == pattern,
        };
        self.events.iter().any(fits)
    }

    /// With the text that was registered.
    fn dressed(&self, outgoing: &Outgoing) -> Outgoing {
        Outgoing { headers: vec![("authorization", self.authorization.clone())], ..outgoing.clone() }
    }

    fn json(&self) -> Value {
        json!({"id": self.id, "events": self.events, "target": self.target})
    }
}

impl Notification {
    fn json(&self) -> Value {
        json!({
            "id": uuid("genpag notification", &format!("{}/{}", self.event, self.target)), "event_id": self.event,
            "target": self.target, "response_status": self.status, "attempts": self.attempts,
            "inserted_at": utc(self.made, WHEN),
        })
    }
}

impl Payment {
    fn json(&self, reference: &str) -> Value {
        json!({
            "id": payment_id(reference), "session_id": "123", "order_id": uuid("genpag order", reference),
            "method": "PIX", "seller_id": SELLER_ID, "marketplace_id": uuid("genpag marketplace", ""),
            "customer_id": uuid("genpag customer", reference), "subscription_id": null,
            "subtotal_cents": self.cents, "discount_cents": 0, "addition_cents": 0, "shipping_cents": 0,
            "total_cents": self.cents, "status": self.status, "device": {}, "credit": null,
            "pix": {"brcode": "00020101021226EXEMPLO6304AE14", "expiration": utc(self.made.plus(TOKEN_LIVES), WHEN)},
            "external_id": reference, "inserted_at": utc(self.made, WHEN),
            "updated_at": utc(self.made.minus(TWENTY_YEARS), WHEN),
        })
    }
}

/// A field of the event that a callback carries.
fn said(outgoing: &Outgoing, name: &str) -> String {
    let event: Value = serde_json::from_slice(&outgoing.body).unwrap_or_default();
    event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn payment_id(reference: &str) -> String {
    uuid("genpag payment", reference)
}

fn found(data: Value) -> Response {
    Response::json(200, json!({"data": data}).to_string())
}

fn unauthorized() -> Response {
    Response::json(401, r#"{"errors":{"detail":"Unauthorized"}}"#)
}

fn missing() -> Response {
    Response::json(404, r#"{"errors":{"detail":"Not Found"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Happening::{Completed, Created, DisputeWon, Disputed, Expired, InAnalysis, Paid, Refunded};

    const NOON: Time = Time(1_772_462_096_500_000); // 2026-03-02T14:34:56.5Z

    fn asked(genpag: &mut GenPag, method: &str, path: &str, token: &str, now: Time) -> Response {
        genpag.answer(&Request::new(method, path).with("authorization", token), now)
    }

    #[test]
    fn tokens_lapse_and_are_renewed() {
        let mut genpag = GenPag::default();
        let (access, refresh) = (format!("Bearer {ACCESS_TOKEN}"), format!("Bearer {REFRESH_TOKEN}"));
        let (events, renewal) = ("/api/events", format!("/api/{SELLER_ID}/tokens"));
        let (elsewhere, later) = ("/api/60b2eac6/tokens", NOON.plus(TOKEN_LIVES));
        for (method, path, token, now, status) in [
            ("GET", events, access.as_str(), NOON, 200),
            ("GET", events, ACCESS_TOKEN, NOON, 401),
            ("GET", events, &refresh, NOON, 401),
            ("GET", events, &access, later, 401),
            ("POST", events, &access, NOON, 404),
            ("POST", &renewal, &access, NOON, 401),
            ("POST", elsewhere, &refresh, NOON, 401),
            ("GET", &renewal, &access, NOON, 404),
            ("GET", "/api/sellers/60b2eac6/payments/x", &access, NOON, 404),
        ] {
            assert_eq!(
                asked(&mut genpag, method, path, token, now).status,
                status,
                "{method} {path} {token}"
            );
        }
        let renewed = asked(&mut genpag, "POST", &renewal, &refresh, later).value();
        let token = format!("Bearer {}", renewed["data"].as_str().unwrap());
        assert_eq!(asked(&mut genpag, "GET", events, &token, later).status, 200);
        assert_eq!(unauthorized().value(), json!({"errors": {"detail": "Unauthorized"}}));
    }

    #[test]
    fn a_payment_and_its_events() {
        let mut genpag = GenPag::default();
        let id = genpag.create("GEN-1", 10_000, NOON);
        genpag.create("GEN-2", 1, NOON);
        let bearer = format!("Bearer {ACCESS_TOKEN}");
        let path = format!("/api/sellers/{SELLER_ID}/payments/{id}");
        let mut ids = std::collections::BTreeSet::new();
        let mut nth = 0;
        for (what, event, status) in [
            (Created, "PAYMENT.CREATED", "PENDING"),
            (InAnalysis, "PAYMENT.PRE_AUTHORIZED", "PRE_AUTHORIZED"),
            (Expired, "PAYMENT.UPDATED", "CANCELLED"),
            (Paid, "PAYMENT.PAID", "PAID"),
            (Completed, "PAYMENT.PAID", "PAID"),
            (Refunded(9_999), "PAYMENT.PAID", "PAID"),
            (Disputed, "PAYMENT.UPDATED", "CHARGEBACK"),
            (DisputeWon, "PAYMENT.UPDATED", "PAID"),
            (Refunded(10_000), "PAYMENT.REVERSED", "REVERSED"),
        ] {
            nth += 1;
            let now = NOON.plus(Duration::from_millis(nth));
            genpag.happen("GEN-1", what, now);
            let told = &asked(&mut genpag, "GET", &path, &bearer, now).value()["data"];
            assert_eq!(told["status"], status, "{what:?}");
            let callback = genpag.callback("GEN-1", now);
            assert_eq!(callback.headers, [("authorization", AUTHORIZATION.to_owned())]);
            let callback: Value = serde_json::from_slice(&callback.body).unwrap();
            assert_eq!((&callback["event"], &callback["data"]), (&json!(event), told), "{what:?}");
            ids.insert(callback["id"].as_str().unwrap().to_owned());
            let events = asked(&mut genpag, "GET", "/api/events", &bearer, now).value();
            let events = events["data"].as_array().unwrap();
            assert_eq!((events.len(), events.contains(&callback)), (ids.len() + 1, true));
        }
        assert_eq!(ids.len(), 7);
    }

    #[test]
    fn the_shape_of_an_event() {
        let mut genpag = GenPag::default();
        let id = genpag.create("GEN-1", 10_000, NOON);
        let event: Value = serde_json::from_slice(&genpag.callback("GEN-1", NOON).body).unwrap();
        assert_eq!(event["inserted_at"], "2026-03-02T14:34:56.500Z");
        let data = &event["data"];
        assert_eq!((&data["id"], &data["external_id"]), (&json!(id), &json!("GEN-1")));
        assert_eq!((&data["total_cents"], &data["seller_id"]), (&json!(10_000), &json!(SELLER_ID)));
        let times = (&data["inserted_at"], &data["updated_at"]);
        assert_eq!(times, (&json!("2026-03-02T14:34:56.500Z"), &json!("2006-03-02T14:34:56.500Z")));
        let lengths = id.split('-').map(str::len);
        assert!(lengths.eq([8, 4, 4, 4, 12]), "{id}");
    }

    #[test]
    fn webhooks_are_registered_and_deliveries_told_of() {
        let mut genpag = GenPag::default();
        genpag.create("GEN-1", 10_000, NOON);
        let bearer = format!("Bearer {ACCESS_TOKEN}");
        let sent = genpag.callback("GEN-1", NOON);
        assert!(genpag.subscribed(&sent).is_empty());
        let mut register = |events: &str, authorization: &str| {
            let webhook = json!({"events": [events], "target": "https://razao.example/callbacks/loja", "authorization": authorization});
            let body = json!({"webhook": webhook}).to_string().into_bytes();
            let request =
                Request { body, ..Request::new("POST", "/api/webhooks").with("authorization", &bearer) };
            genpag.answer(&request, NOON).status
        };
        assert_eq!(
            [register("PAYMENT.*", "chave"), register("ORDER.*", "chave"), register("PAYMENT.*", "")],
            [201, 201, 422]
        );
        let subscribed = genpag.subscribed(&sent);
        assert_eq!(subscribed.len(), 1, "an order's webhook hears of no payment");
        assert_eq!(subscribed[0].1.headers, [("authorization", "chave".to_owned())]);
        assert_eq!(subscribed[0].1.body, sent.body);
        genpag.delivered(&sent, &subscribed[0].0, None, NOON);
        genpag.delivered(&sent, &subscribed[0].0, Some(200), NOON);
        let told = asked(&mut genpag, "GET", "/api/notifications", &bearer, NOON).value()["data"].clone();
        let event: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!((told.as_array().unwrap().len(), &told[0]["event_id"]), (1, &event["id"]));
        assert_eq!((&told[0]["attempts"], &told[0]["response_status"]), (&json!(2), &json!(200)));
        let listed = asked(&mut genpag, "GET", "/api/webhooks", &bearer, NOON).value()["data"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 2);
        assert_eq!(listed[0]["authorization"], Value::Null, "it is not shown again");
    }
}
