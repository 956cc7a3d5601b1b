//! PicPay's side: a bare callback with the seller token, and a status with a `summary` in reais. Settled money is told in
//! the legacy word `completed`, which has no summary.

use super::persona::{Acknowledged, Happening, Outgoing, Persona, Request, Response, quoted, reais_number};
use crate::domain::time::Time;
use std::collections::BTreeMap;

const PICPAY_TOKEN: &str = "7d0c2f41-0b6e-4c3a-8f52-1be9a0d4c7f3";
const SELLER_TOKEN: &str = "9b1f6c3e-58d2-4d0a-9a77-2f1c6f0b7e11";

#[derive(Default)]
pub struct PicPay {
    payments: BTreeMap<String, Payment>,
}

struct Payment {
    cents: i64,
    status: &'static str,
    paid: i64,
    refunded: i64,
    settled: bool,
}

impl Persona for PicPay {
    fn provider(&self) -> &'static str {
        "picpay"
    }

    fn credentials(&self) -> Vec<(&'static str, &'static str)> {
        vec![("picpay_token", PICPAY_TOKEN), ("seller_token", SELLER_TOKEN)]
    }

    fn wants_callback_key(&self) -> bool {
        false
    }

    fn acknowledged(&self) -> Acknowledged {
        Acknowledged::By200
    }

    fn speaks_of(&self, _what: Happening) -> bool {
        true
    }

    fn create(&mut self, reference: &str, cents: i64, _now: Time) -> String {
        let payment = Payment { cents, status: "created", paid: 0, refunded: 0, settled: false };
        self.payments.insert(reference.to_owned(), payment);
        reference.to_owned()
    }

    fn happen(&mut self, reference: &str, what: Happening, _now: Time) {
        let Some(payment) = self.payments.get_mut(reference) else { return };
        match what {
            Happening::Created => payment.status = "created",
            Happening::InAnalysis => payment.status = "analysis",
            Happening::Paid => {
                payment.status = "paid";
                payment.paid = payment.cents;
            }
            Happening::Completed => {
                payment.status = "completed";
                payment.settled = true;
            }
            Happening::Expired => payment.status = "expired",
            Happening::Refunded(cents) => {
                payment.refunded += cents;
                payment.status = if payment.refunded >= payment.paid { "refunded" } else { "paid" };
            }
            Happening::Disputed => payment.status = "chargeback",
            Happening::DisputeWon => payment.status = if payment.settled { "completed" } else { "paid" },
        }
    }

    fn callback(&mut self, reference: &str, _now: Time) -> Outgoing {
        let paid = self.payments.get(reference).is_some_and(|payment| payment.paid > 0);
        let authorization = if paid { r#","authorizationId":"555008cef7f321d00ef236333""# } else { "" };
        Outgoing {
            headers: vec![("x-seller-token", SELLER_TOKEN.to_owned())],
            content_type: "application/json",
            body: format!("{{\"referenceId\":{}{authorization}}}", quoted(reference)).into_bytes(),
        }
    }

    fn was_asked(&self, _reference: &str, _since: Time) -> bool {
        false
    }

    fn answer(&mut self, request: &Request, _now: Time) -> Response {
        if !request.has("x-picpay-token", PICPAY_TOKEN) {
            return Response::json(401, r#"{"message":"O Token informado é inválido"}"#);
        }
        let segments = request.segments();
        let [shop, public, payments, reference, status] = segments.as_slice() else {
            return Response::json(404, r#"{"message":"Not found"}"#);
        };
        let known = (shop.as_str(), public.as_str(), payments.as_str(), status.as_str());
        if request.method != "GET" || known != ("ecommerce", "public", "payments", "status") {
            return Response::json(404, r#"{"message":"Not found"}"#);
        }
        match self.payments.get(reference) {
            Some(payment) => Response::json(200, payment.json(reference)),
            None => {
                Response::json(422, r#"{"message":"Não existe transação com esta referência.","errors":[]}"#)
            }
        }
    }
}

impl Payment {
    fn json(&self, reference: &str) -> String {
        let (reference, status) = (quoted(reference), self.status);
        if matches!(status, "created" | "expired") {
            return format!("{{\"referenceId\":{reference},\"status\":\"{status}\"}}");
        }
        let head = format!(
            "\"authorizationId\":\"555008cef7f321d00ef236333\",\"referenceId\":{reference},\"status\":\"{status}\""
        );
        if matches!(status, "analysis" | "completed") {
            return format!("{{{head}}}");
        }
        let (all, paid, refunded) =
            (reais_number(self.cents), reais_number(self.paid), reais_number(self.refunded));
        format!("{{{head},\"summary\":{{\"authorized\":{all},\"paid\":{paid},\"refunded\":{refunded}}}}}")
    }
}
