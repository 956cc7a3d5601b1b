//! Efí's side: a form with nothing but a token, and the dated history of the charge for whoever asks with it. The token
//! stays the same for the charge's whole life, and a callback counts as delivered once its token was asked about.
//!
//! Assumed, for nobody documents it: times are São Paulo's, an unknown token is answered 404, and a dispute that was won
//! shows as one more `paid`, which confirms no payment and so has no `value`. How a part of the money going back shows is
//! unknown; it is not played.

use super::life::Life;
use super::made::{digest, local, number, uuid};
use super::persona::{Acknowledged, Happening, Outgoing, Persona, Request, Response};

use crate::domain::time::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const CLIENT_ID: &str = "Client_Id_5d1c7a90b3e24f6188aa";
const CLIENT_SECRET: &str = "Client_Secret_e07b42f9c6d81350ab37";
/// The two, as HTTP's Basic scheme writes them.
const BASIC: &str =
    "Basic Q2xpZW50X0lkXzVkMWM3YTkwYjNlMjRmNjE4OGFhOkNsaWVudF9TZWNyZXRfZTA3YjQyZjljNmQ4MTM1MGFiMzc=";
const TOKEN_LIVES: Duration = Duration::from_secs(600);
const WHEN: &str = "%Y-%m-%d %H:%M:%S";

#[derive(Default)]
pub struct Gerencianet {
    charges: BTreeMap<String, Charge>,
    /// Access tokens and when they lapse.
    tokens: Vec<(String, Time)>,
    authorized: u64,
}

struct Charge {
    cents: i64,
    created: Time,
    paid: Option<Time>,
    changes: Vec<Change>,
    asked: Option<Time>,
}

struct Change {
    status: &'static str,
    at: Time,
    /// Whether it confirms that the buyer paid.
    confirms: bool,
}

impl Persona for Gerencianet {
    fn provider(&self) -> &'static str {
        "gerencianet"
    }

    fn credentials(&self) -> Vec<(&'static str, &'static str)> {
        vec![("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)]
    }

    fn wants_callback_key(&self) -> bool {
        true
    }

    fn acknowledged(&self) -> Acknowledged {
        Acknowledged::ByQuery
    }

    fn speaks_of(&self, what: Happening) -> bool {
        !matches!(what, Happening::Completed)
    }

    fn plays(&self, life: Life) -> bool {
        life != Life::PartialRefunds
    }

    fn create(&mut self, reference: &str, cents: i64, now: Time) -> String {
        let made = |status| Change { status, at: now, confirms: false };
        let changes = vec![made("new"), made("waiting")];
        let charge = Charge { cents, created: now, paid: None, changes, asked: None };
        self.charges.insert(reference.to_owned(), charge);
        charge_id(reference).to_string()
    }

    fn happen(&mut self, reference: &str, what: Happening, now: Time) {
        let Some(charge) = self.charges.get_mut(reference) else { return };
        let status = match what {
            // Creating it said so already.
            Happening::Created => return,
            Happening::InAnalysis => "identified",
            Happening::Paid | Happening::DisputeWon => "paid",
            Happening::Completed => return,
            Happening::Expired => "unpaid",
            Happening::Refunded(cents) if cents >= charge.cents => "refunded",
            Happening::Refunded(_) => return,
            Happening::Disputed => "contested",
        };
        let confirms = what == Happening::Paid;
        if confirms {
            charge.paid = Some(now);
        }
        charge.changes.push(Change { status, at: now, confirms });
    }

    fn callback(&mut self, reference: &str, _now: Time) -> Outgoing {
        Outgoing {
            headers: vec![],
            content_type: "application/x-www-form-urlencoded",
            body: format!("notification={}", notification(reference)).into_bytes(),
        }
    }

    fn was_asked(&self, reference: &str, since: Time) -> bool {
        self.charges.get(reference).and_then(|charge| charge.asked).is_some_and(|asked| asked >= since)
    }

    fn answer(&mut self, request: &Request, now: Time) -> Response {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if (request.method.as_str(), path.as_slice()) == ("POST", &["v1", "authorize"]) {
            return self.authorize(request, now);
        }
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if !self.tokens.iter().any(|(token, lapses)| bearer == Some(token) && now < *lapses) {
            return refused("invalid_token", "Invalid or expired token");
        }
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["v1", "notification", token]) => {
                match self.charges.iter_mut().find(|(reference, _)| notification(reference) == *token) {
                    Some((reference, charge)) => {
                        charge.asked = Some(now);
                        found(charge.history(reference))
                    }
                    None => missing(404),
                }
            }
            ("GET", ["v1", "charge", id]) => {
                match self.charges.iter().find(|(reference, _)| charge_id(reference).to_string() == *id) {
                    Some((reference, charge)) => found(charge.detail(reference)),
                    // As it does at times: HTTP's 200 around a code of its own.
                    None => missing(200),
                }
            }
            ("GET", ["v1", "charges"]) => self.listed(request),
            _ => missing(404),
        }
    }
}

impl Gerencianet {
    /// All of its charges are boletos, in one page.
    fn listed(&self, request: &Request) -> Response {
        let day = |name| request.parameter(name).and_then(|text| text.parse::<jiff::civil::Date>().ok());
        let (Some(begin), Some(end), Some(kind)) =
            (day("begin_date"), day("end_date"), request.parameter("charge_type"))
        else {
            return missing(400);
        };
        if begin > end || begin.saturating_add(jiff::Span::new().days(31)) < end {
            return missing(400);
        }
        let custom_id = request.parameter("custom_id");
        let within = |charge: &Charge| {
            let made = local(charge.created, "%Y-%m-%d");
            kind == "billet" && *begin.to_string() <= *made && *made <= *end.to_string()
        };
        let asked = |reference: &str| custom_id.as_deref().is_none_or(|asked| asked == reference);
        let shown = self.charges.iter().filter(|(reference, charge)| asked(reference) && within(charge));
        found(shown.map(|(reference, charge)| charge.listed(reference)).collect())
    }

    fn authorize(&mut self, request: &Request, now: Time) -> Response {
        if !request.has("authorization", BASIC) {
            return refused(
                "invalid_client",
                "Could not authenticate. Please make sure you are using correct credentials.",
            );
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if body.get("grant_type").and_then(Value::as_str) != Some("client_credentials") {
            return refused("unsupported_grant_type", "grant_type must be client_credentials");
        }
        self.authorized += 1;
        let token = digest("gerencianet access token", &self.authorized.to_string());
        self.tokens.retain(|(_, lapses)| now < *lapses);
        self.tokens.push((token.clone(), now.plus(TOKEN_LIVES)));
        let seconds = TOKEN_LIVES.as_secs();
        let body =
            json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer", "scope": "charge"});
        Response::json(200, body.to_string())
    }
}

impl Charge {
    fn status(&self) -> &'static str {
        self.changes.last().map_or("new", |change| change.status)
    }

    fn history(&self, reference: &str) -> Value {
        let mut previous = None;
        let tell = |(change, id): (&Change, u32)| {
            let mut told = json!({
                "id": id, "type": "charge", "custom_id": reference,
                "status": {"current": change.status, "previous": previous.replace(change.status)},
                "identifiers": {"charge_id": charge_id(reference)},
                "created_at": local(change.at, WHEN),
            });
            if let (true, Some(fields)) = (change.confirms, told.as_object_mut()) {
                fields.insert("value".to_owned(), self.cents.into());
                fields.insert("received_by_bank_at".to_owned(), local(change.at, "%Y-%m-%d").into());
            }
            told
        };
        self.changes.iter().zip(1..).map(tell).collect()
    }

    fn listed(&self, reference: &str) -> Value {
        json!({
            "id": charge_id(reference), "total": self.cents, "status": self.status(), "custom_id": reference,
            "created_at": local(self.created, WHEN),
        })
    }

    fn detail(&self, reference: &str) -> Value {
        let created = local(self.created, WHEN);
        let mut detail = json!({
            "charge_id": charge_id(reference), "total": self.cents, "status": self.status(), "custom_id": reference,
            "created_at": created, "notification_url": null,
            "items": [{"name": "Camiseta", "value": self.cents, "amount": 1}],
            "history": [{"message": "Cobrança criada", "created_at": created}],
            "customer": {"name": "Maria de Teste", "cpf": "12345678909", "email": "maria@example.com"},
        });
        let mut payment = json!({"method": "banking_billet", "created_at": created});
        if let (Some(paid), Some(fields)) = (self.paid, payment.as_object_mut()) {
            fields.insert("paid_at".to_owned(), local(paid, WHEN).into());
        }
        if let Some(fields) = detail.as_object_mut() {
            fields.insert("payment".to_owned(), payment);
            self.paid.and_then(|_| fields.insert("paid_value".to_owned(), self.cents.into()));
        }
        detail
    }
}

fn charge_id(reference: &str) -> u64 {
    number("gerencianet charge", reference)
}

fn notification(reference: &str) -> String {
    uuid("gerencianet notification", reference)
}

fn found(data: Value) -> Response {
    Response::json(200, json!({"code": 200, "data": data}).to_string())
}

fn refused(error: &str, description: &str) -> Response {
    Response::json(401, json!({"error": error, "error_description": description}).to_string())
}

fn missing(status: u16) -> Response {
    let description = json!({"property": "id", "message": "A propriedade [id] informada não existe."});
    let body =
        json!({"code": 3_500_010, "error": "property_does_not_exists", "error_description": description});
    Response::json(status, body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Time = Time(1_772_462_096_500_000); // 2026-03-02T14:34:56.5Z

    fn authorized(efi: &mut Gerencianet) -> String {
        let mut request = Request::new("POST", "/v1/authorize").with("authorization", BASIC);
        request.body = br#"{"grant_type":"client_credentials"}"#.to_vec();
        let answer = efi.answer(&request, NOON).value();
        assert_eq!((&answer["expires_in"], &answer["token_type"]), (&json!(600), &json!("Bearer")));
        format!("Bearer {}", answer["access_token"].as_str().unwrap())
    }

    fn asked(efi: &mut Gerencianet, path: &str, bearer: &str, now: Time) -> Response {
        efi.answer(&Request::new("GET", path).with("authorization", bearer), now)
    }

    #[test]
    fn basic_is_the_two_credentials_in_base64() {
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits = BASIC["Basic ".len()..].trim_end_matches('=').chars().map(|c| digits.find(c).unwrap());
        let bits: String = bits.map(|value| format!("{value:06b}")).collect();
        let bytes = bits.as_bytes().chunks_exact(8).map(|byte| std::str::from_utf8(byte).unwrap());
        let text: String = bytes.map(|byte| u8::from_str_radix(byte, 2).unwrap() as char).collect();
        assert_eq!(text, format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    }

    #[test]
    fn refusals() {
        let mut efi = Gerencianet::default();
        let bearer = authorized(&mut efi);
        let grant = br#"{"grant_type":"client_credentials"}"#.as_slice();
        for (authorization, body) in [("Basic eDp5", grant), (BASIC, b"{}"), (&bearer, grant)] {
            let mut request = Request::new("POST", "/v1/authorize").with("authorization", authorization);
            request.body = body.to_vec();
            assert_eq!(efi.answer(&request, NOON).status, 401, "{authorization}");
        }
        let late = NOON.plus(TOKEN_LIVES);
        for (path, bearer, now, status) in [
            ("/v1/notification/x", "Bearer x", NOON, 401),
            ("/v1/notification/x", BASIC, NOON, 401),
            ("/v1/notification/x", &bearer, late, 401),
            ("/v1/notification/x", &bearer, NOON, 404),
            ("/v1/charges/1", &bearer, NOON, 404),
            ("/v1/charge/1", &bearer, NOON, 200),
        ] {
            let answer = asked(&mut efi, path, bearer, now);
            assert_eq!(answer.status, status, "{path} {bearer}");
            assert_ne!(answer.value()["code"], 200);
        }
    }

    #[test]
    fn a_charge_from_its_making_to_the_end_of_its_dispute() {
        use Happening::{Completed, Created, DisputeWon, Disputed, Expired, InAnalysis, Paid, Refunded};
        let mut efi = Gerencianet::default();
        let id = efi.create("PED-1", 6990, NOON);
        let told = [
            Created,
            InAnalysis,
            Expired,
            Paid,
            Completed,
            Refunded(6989),
            Disputed,
            DisputeWon,
            Refunded(6990),
        ];
        told.into_iter().for_each(|what| efi.happen("PED-1", what, NOON));
        let callback = String::from_utf8(efi.callback("PED-1", NOON).body).unwrap();
        assert_eq!(callback, format!("notification={}", notification("PED-1")));

        let bearer = authorized(&mut efi);
        assert!(!efi.was_asked("PED-1", NOON));
        let path = format!("/v1/notification/{}", notification("PED-1"));
        let answer = asked(&mut efi, &path, &bearer, NOON).value();
        assert!(efi.was_asked("PED-1", NOON) && !efi.was_asked("PED-1", NOON.next()));
        let changes = answer["data"].as_array().unwrap();
        let row = |change: &Value| {
            let status = &change["status"];
            (
                change["id"].as_i64(),
                status["previous"].clone(),
                status["current"].clone(),
                change.get("value").cloned(),
            )
        };
        let expected = [
            (Value::Null, "new", None),
            (json!("new"), "waiting", None),
            (json!("waiting"), "identified", None),
            (json!("identified"), "unpaid", None),
            (json!("unpaid"), "paid", Some(json!(6990))),
            (json!("paid"), "contested", None),
            (json!("contested"), "paid", None),
            (json!("paid"), "refunded", None),
        ];
        let expected = expected
            .into_iter()
            .zip(1..)
            .map(|((before, after, value), n)| (Some(n), before, json!(after), value));
        assert!(changes.iter().map(row).eq(expected), "{answer:#}");
        let first = json!({"id": 1, "type": "charge", "custom_id": "PED-1", "status": {"current": "new", "previous": null},
            "identifiers": {"charge_id": id.parse::<u64>().unwrap()}, "created_at": "2026-03-02 11:34:56"});
        assert_eq!(changes[0], first);
        assert_eq!(changes[4]["received_by_bank_at"], "2026-03-02");

        let days = "/v1/charges?begin_date=2026-02-15&end_date=2026-03-18";
        for (query, listed) in [
            ("&charge_type=billet&custom_id=PED-1", 1),
            ("&charge_type=billet", 1),
            ("&charge_type=billet&custom_id=PED-2", 0),
            ("&charge_type=card&custom_id=PED-1", 0),
        ] {
            let answer = asked(&mut efi, &format!("{days}{query}"), &bearer, NOON).value();
            assert_eq!(answer["data"].as_array().unwrap().len(), listed, "{query}");
        }
        let listed = asked(&mut efi, &format!("{days}&charge_type=billet"), &bearer, NOON).value();
        let entry = json!({"id": id.parse::<u64>().unwrap(), "total": 6990, "status": "refunded", "custom_id": "PED-1",
            "created_at": "2026-03-02 11:34:56"});
        assert_eq!(listed["data"][0], entry);
        for days in ["begin_date=2026-02-15&end_date=2026-03-19", "begin_date=2026-03-03", "end_date=x"] {
            let answer = asked(&mut efi, &format!("/v1/charges?charge_type=billet&{days}"), &bearer, NOON);
            assert_eq!(answer.status, 400, "{days}");
        }

        let detail = &asked(&mut efi, &format!("/v1/charge/{id}"), &bearer, NOON).value()["data"];
        assert_eq!((&detail["total"], &detail["paid_value"]), (&json!(6990), &json!(6990)));
        assert_eq!((&detail["status"], &detail["custom_id"]), (&json!("refunded"), &json!("PED-1")));
        assert_eq!(detail["payment"]["paid_at"], "2026-03-02 11:34:56");
    }
}
