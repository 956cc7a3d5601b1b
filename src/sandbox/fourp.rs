//! 4P's side: a callback with nothing but a token, and the state of now for whoever asks with it. First the Pix is paid,
//! then crypto is delivered, which shows as the same word with a transaction hash. A callback counts as delivered once
//! its token was asked about.
//!
//! Assumed, for nobody documents it: the callback's field and that it is JSON, one token for all callbacks of a charge,
//! callbacks about what is not paid yet, times of São Paulo, and that a lapsed charge may be paid after all. Nothing is
//! known of refunds and disputes.

use super::life::Life;
use super::made::{digest, local};
use super::persona::{Acknowledged, Happening, Outgoing, Persona, Request, Response, quoted, reais};
use crate::domain::time::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const API_KEY: &str = "4p-live-2c9d71e0b8f64a35";
const WHEN: &str = "%d/%m/%Y, %H:%M:%S";

#[derive(Default)]
pub struct FourP {
    charges: BTreeMap<String, Charge>,
}

struct Charge {
    cents: i64,
    status: &'static str,
    made: Time,
    /// When the Pix was seen.
    paid: Option<Time>,
    delivered: bool,
    asked: Option<Time>,
}

impl Persona for FourP {
    fn provider(&self) -> &'static str {
        "fourp"
    }

    fn credentials(&self) -> Vec<(&'static str, &'static str)> {
        vec![("api_key", API_KEY)]
    }

    fn wants_callback_key(&self) -> bool {
        true
    }

    fn acknowledged(&self) -> Acknowledged {
        Acknowledged::ByQuery
    }

    fn speaks_of(&self, what: Happening) -> bool {
        !matches!(what, Happening::Refunded(_) | Happening::Disputed | Happening::DisputeWon)
    }

    fn plays(&self, life: Life) -> bool {
        !matches!(life, Life::Refund | Life::PartialRefunds | Life::ChargebackLost | Life::ChargebackWon)
    }

    fn create(&mut self, reference: &str, cents: i64, now: Time) -> String {
        let charge =
            Charge { cents, status: "pending", made: now, paid: None, delivered: false, asked: None };
        self.charges.insert(reference.to_owned(), charge);
        txid(reference)
    }

    fn happen(&mut self, reference: &str, what: Happening, now: Time) {
        let Some(charge) = self.charges.get_mut(reference) else { return };
        match what {
            Happening::Created => charge.status = "pending",
            Happening::InAnalysis => {
                charge.status = "processing";
                charge.paid.get_or_insert(now);
            }
            Happening::Paid => {
                charge.status = "paid";
                charge.paid.get_or_insert(now);
            }
            Happening::Completed => {
                charge.status = "paid";
                charge.delivered = true;
            }
            Happening::Expired => charge.status = "expired",
            Happening::Refunded(_) | Happening::Disputed | Happening::DisputeWon => {}
        }
    }

    fn callback(&mut self, reference: &str, _now: Time) -> Outgoing {
        Outgoing {
            headers: vec![],
            content_type: "application/json",
            body: format!("{{\"token\":{}}}", quoted(&token(reference))).into_bytes(),
        }
    }

    fn was_asked(&self, reference: &str, since: Time) -> bool {
        self.charges.get(reference).and_then(|charge| charge.asked).is_some_and(|asked| asked >= since)
    }

    fn answer(&mut self, request: &Request, now: Time) -> Response {
        if !request.has("x-api-key", API_KEY) {
            return failure(401, 401, "unauthorized", "Chave API inválida");
        }
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ("GET", ["v1", "notification", asked]) = (request.method.as_str(), path.as_slice()) else {
            return failure(404, 404, "route_not_found", "Rota não encontrada");
        };
        match self.charges.iter_mut().find(|(reference, _)| token(reference) == *asked) {
            Some((reference, charge)) => {
                charge.asked = Some(now);
                let info = json!({"data": charge.json(reference)});
                Response::json(200, json!({"http_code": 200, "success": true, "info": info}).to_string())
            }
            None => failure(200, 200, "not_found", "Notificação não encontrada"),
        }
    }
}

impl Charge {
    fn json(&self, reference: &str) -> Value {
        let mut told = json!({
            "id": token(reference), "txid": txid(reference), "status": self.status, "amount": reais(self.cents),
            "description": format!("Pedido {reference}"), "created_at": local(self.made, WHEN), "custom_id": reference,
        });
        let Some(fields) = told.as_object_mut() else { return told };
        if let Some(paid) = self.paid {
            fields.insert("payer_info".to_owned(), "Maria de Teste - 123.456.789-09".into());
            fields.insert("payment_date_time".to_owned(), local(paid, WHEN).into());
            fields.insert("confirmed_at".to_owned(), local(paid, WHEN).into());
        }
        if self.delivered {
            let delivered = json!({
                "chain_name": "Arbitrum", "amount_usdt": self.usdt(),
                "receiver_wallet": format!("0x{:.40}", digest("fourp wallet", "")),
                "transaction_hash": format!("0x{}", digest("fourp delivery", reference)),
            });
            fields.insert("custom_data".to_owned(), delivered);
        }
        told
    }

    /// What 5.40 reais a dollar make of it, to six digits.
    fn usdt(&self) -> String {
        let micros = self.cents.saturating_mul(1_000_000) / 540;
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

fn token(reference: &str) -> String {
    format!("{:.32}", digest("fourp notification", reference))
}

fn txid(reference: &str) -> String {
    format!("{:.24}", digest("fourp", reference))
}

fn failure(status: u16, code: u16, result: &str, message: &str) -> Response {
    let details = json!({"result": result, "message": message});
    Response::json(status, json!({"http_code": code, "success": false, "details": details}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Happening::{Completed, Created, Expired, InAnalysis, Paid};

    const NOON: Time = Time(1_772_462_096_500_000); // 2026-03-02T14:34:56.5Z

    fn asked(fourp: &mut FourP, token: &str, key: &str, now: Time) -> Response {
        fourp.answer(&Request::new("GET", &format!("/v1/notification/{token}")).with("x-api-key", key), now)
    }

    #[test]
    fn refusals() {
        let mut fourp = FourP::default();
        fourp.create("PN-1", 110, NOON);
        for (token, key, status, result) in [
            (token("PN-1"), "", 401, "unauthorized"),
            (token("PN-1"), "4p-live-2c9d71e0b8f64a36", 401, "unauthorized"),
            (txid("PN-1"), API_KEY, 200, "not_found"),
            ("x/y".to_owned(), API_KEY, 404, "route_not_found"),
        ] {
            let answer = asked(&mut fourp, &token, key, NOON);
            let value = answer.value();
            assert_eq!((answer.status, &value["success"]), (status, &json!(false)), "{result}");
            assert_eq!(value["details"]["result"], result);
        }
        assert!(!fourp.was_asked("PN-1", Time(0)));
    }

    #[test]
    fn what_it_says_after_what_happened() {
        for (happened, status, dated, delivered) in [
            (vec![Created], "pending", false, false),
            (vec![Expired], "expired", false, false),
            (vec![InAnalysis], "processing", true, false),
            (vec![Paid], "paid", true, false),
            (vec![Expired, Paid], "paid", true, false),
            (vec![InAnalysis, Paid, Completed], "paid", true, true),
        ] {
            let mut fourp = FourP::default();
            let txid = fourp.create("PN-1", 12_486, NOON);
            happened.iter().for_each(|what| fourp.happen("PN-1", *what, NOON));
            let callback: Value = serde_json::from_slice(&fourp.callback("PN-1", NOON).body).unwrap();
            let answer = asked(&mut fourp, callback["token"].as_str().unwrap(), API_KEY, NOON);
            let told = &answer.value()["info"]["data"];
            let expected = ("PN-1", txid.as_str(), status, "124.86", "02/03/2026, 11:34:56");
            let text = |field: &str| told[field].as_str().unwrap();
            let names = (text("custom_id"), text("txid"), text("status"), text("amount"), text("created_at"));
            assert_eq!(names, expected, "{happened:?}");
            for field in ["payment_date_time", "confirmed_at"] {
                assert_eq!(told[field].as_str(), dated.then_some("02/03/2026, 11:34:56"), "{happened:?}");
            }
            assert_eq!(told["payer_info"].is_string(), dated);
            let data = &told["custom_data"];
            assert_eq!(data["amount_usdt"].as_str(), delivered.then_some("23.122222"), "{happened:?}");
            assert_eq!(data["transaction_hash"].as_str().map(str::len), delivered.then_some(66));
            assert_eq!(data["receiver_wallet"].as_str().map(str::len), delivered.then_some(42));
            assert!(fourp.was_asked("PN-1", NOON) && !fourp.was_asked("PN-1", NOON.next()));
        }
    }
}
