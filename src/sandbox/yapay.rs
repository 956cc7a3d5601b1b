//! Yapay's side: a form of many bracketed fields, personal ones among them, that proves nothing, and the brief query that
//! tells the state of now. Amounts are text with as few digits as will do, but numbers within `refunds`; what the buyer
//! pays is more than the sale, by the interest of instalments.
//!
//! Assumed, for nobody documents it: errors come with HTTP's 200, and a partial refund leaves the status at 6; the one
//! documented sample of such a refund shows 7.

use super::made::{digest, local, number};
use super::persona::{Acknowledged, Happening, Outgoing, Persona, Request, Response};
use crate::domain::time::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const TOKEN_ACCOUNT: &str = "8c3e5a1f7b9d204";

const WAITING: Status = (4, "Aguardando Pagamento");
const APPROVED: Status = (6, "Aprovada");
const CANCELLED: Status = (7, "Cancelada");
const CONTESTED: Status = (24, "Em Contestação");
const MONITORED: Status = (87, "Em Monitoramento");
const FAILED: Status = (89, "Reprovada");
/// After a part of the money went back.
const PARTLY_REFUNDED: Status = APPROVED;

/// Its id and its name.
type Status = (u16, &'static str);

#[derive(Default)]
pub struct Yapay {
    transactions: BTreeMap<String, Transaction>,
}

struct Transaction {
    cents: i64,
    status: Status,
    made: Time,
    approved: Option<Time>,
    /// Cents that went back, and when.
    refunds: Vec<(i64, Time)>,
}

impl Persona for Yapay {
    fn provider(&self) -> &'static str {
        "yapay"
    }

    fn credentials(&self) -> Vec<(&'static str, &'static str)> {
        vec![("token_account", TOKEN_ACCOUNT)]
    }

    fn wants_callback_key(&self) -> bool {
        true
    }

    fn acknowledged(&self) -> Acknowledged {
        Acknowledged::By200
    }

    fn speaks_of(&self, what: Happening) -> bool {
        !matches!(what, Happening::Completed)
    }

    fn create(&mut self, reference: &str, cents: i64, now: Time) -> String {
        let transaction = Transaction { cents, status: WAITING, made: now, approved: None, refunds: vec![] };
        self.transactions.insert(reference.to_owned(), transaction);
        token(reference)
    }

    fn happen(&mut self, reference: &str, what: Happening, now: Time) {
        let Some(transaction) = self.transactions.get_mut(reference) else { return };
        transaction.status = match what {
            Happening::Created => WAITING,
            Happening::InAnalysis => MONITORED,
            Happening::Paid => {
                transaction.approved = Some(now);
                APPROVED
            }
            Happening::Completed => return,
            Happening::Expired if transaction.status == MONITORED => FAILED,
            Happening::Expired => CANCELLED,
            Happening::Refunded(cents) => {
                transaction.refunds.push((cents, now));
                if transaction.left() > 0 { PARTLY_REFUNDED } else { CANCELLED }
            }
            Happening::Disputed => CONTESTED,
            Happening::DisputeWon => APPROVED,
        };
    }

    fn callback(&mut self, reference: &str, _now: Time) -> Outgoing {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token_transaction", &token(reference));
        if let Some(transaction) = self.transactions.get(reference) {
            for (field, value) in transaction.fields(reference) {
                form.append_pair(&format!("transaction{field}"), &value);
            }
        }
        Outgoing {
            headers: vec![],
            content_type: "application/x-www-form-urlencoded",
            body: form.finish().into_bytes(),
        }
    }

    fn was_asked(&self, _reference: &str, _since: Time) -> bool {
        false
    }

    fn answer(&mut self, request: &Request, _now: Time) -> Response {
        let known = request.path == "/api/v3/transactions/get_by_token_brief";
        if request.method != "GET" || !known {
            return Response::json(404, r#"{"status":404,"error":"Not Found"}"#);
        }
        if request.parameter("token_account").as_deref() != Some(TOKEN_ACCOUNT) {
            return failure("001001", "Token inválido ou não encontrado");
        }
        let asked = request.parameter("token_transaction").unwrap_or_default();
        if asked.is_empty() {
            return failure("003041", "Token da transação não pode ficar em branco");
        }
        match self.transactions.iter().find(|(reference, _)| token(reference) == asked) {
            Some((reference, transaction)) => {
                let message = json!({"message": "success"});
                let data = json!({"transaction": transaction.brief(reference)});
                Response::json(200, json!({"message_response": message, "data_response": data}).to_string())
            }
            None => failure("003042", "Transação não encontrada"),
        }
    }
}

impl Transaction {
    /// Cents that did not go back.
    fn left(&self) -> i64 {
        self.cents - self.refunds.iter().map(|(cents, _)| cents).sum::<i64>()
    }

    /// What the buyer pays.
    fn price_payment(&self) -> i64 {
        self.cents + self.cents / 25
    }

    fn brief(&self, reference: &str) -> Value {
        let approved = self.approved.map(seconds);
        let (id, name) = self.status;
        let mut brief = json!({
            "order_number": reference, "transaction_id": number("yapay", reference),
            "status_name": name, "status_id": id, "token_transaction": token(reference),
            "payment": {
                "price_original": digits(self.cents), "price_payment": digits(self.price_payment()),
                "payment_response": null, "url_payment": "", "tid": "10347871500026BF1001", "split": 3,
                "payment_method_id": 4, "payment_method_name": "Mastercard", "linha_digitavel": null,
                "date_payment": approved, "date_approval": approved,
            },
        });
        if let (Some((_, last)), Some(fields)) = (self.refunds.last(), brief.as_object_mut()) {
            let finished = self.refunds.iter().map(|refund| (refund, (157, "Finalizado")));
            // Somebody has asked for the rest as well, but that is no money yet.
            let rest = (self.left(), *last);
            let pending = (rest.0 > 0).then_some((&rest, (155, "Pendente")));
            let refunds = finished.chain(pending).zip(1..).map(|(((cents, at), (status, name)), nth)| {
                let (kind, kind_name) = if *cents >= self.cents { (53, "full") } else { (52, "partial") };
                json!({
                    "id": number("yapay refund", &format!("{reference}/{nth}")), "value": plain(*cents),
                    "observation": "Cancelamento", "status_id": status, "status_name": name,
                    "refund_kind_id": kind, "refund_kind_name": format!("refund_kind_{kind_name}"),
                    "refund_method_id": 55, "refund_method_name": "refund_method_balance", "created_at": seconds(*at),
                })
            });
            fields.insert("refunds".to_owned(), refunds.collect());
        }
        brief
    }

    fn fields(&self, reference: &str) -> Vec<(&'static str, String)> {
        let (id, name) = self.status;
        let when = |at| local(at, "%Y-%m-%dT%H:%M:%S");
        let approved = self.approved.map(when).unwrap_or_default();
        let seller = digits(self.cents - self.cents / 25);
        vec![
            ("[transaction_token]", token(reference)),
            ("[transaction_id]", number("yapay", reference).to_string()),
            ("[order_number]", reference.to_owned()),
            ("[free]", "Campo livre".to_owned()),
            ("[status_id]", id.to_string()),
            ("[status_name]", name.to_owned()),
            ("[price_original]", digits(self.cents)),
            ("[price_payment]", digits(self.price_payment())),
            ("[price_seller]", seller),
            ("[split]", "3".to_owned()),
            ("[payment_method_id]", "4".to_owned()),
            ("[payment_method_name]", "Mastercard".to_owned()),
            ("[date_transaction]", when(self.made)),
            ("[date_payment]", approved.clone()),
            ("[seller_token]", TOKEN_ACCOUNT.to_owned()),
            ("[company][name]", "Loja de Teste".to_owned()),
            ("[customer][name]", "Maria de Teste".to_owned()),
            ("[customer][email]", "maria@example.com".to_owned()),
            ("[customer][cpf]", "12345678909".to_owned()),
            ("[customer][address][city]", "São Paulo".to_owned()),
            ("[payment][date_approval]", approved),
            ("[products][][description]", "Camiseta".to_owned()),
            ("[products][][price_unit]", digits(self.cents)),
        ]
    }
}

/// 30, 31 or 32 hexadecimal digits, as its own documents have them.
fn token(reference: &str) -> String {
    let mut token = digest("yapay", reference);
    token.truncate(30 + usize::try_from(number("yapay token", reference) % 3).unwrap_or_default());
    token
}

/// `142.0`, `147.69`
fn digits(cents: i64) -> String {
    let (reais, rest) = (cents / 100, cents % 100);
    if rest % 10 == 0 { format!("{reais}.{}", rest / 10) } else { format!("{reais}.{rest:02}") }
}

/// The same as a JSON number.
fn plain(cents: i64) -> Value {
    serde_json::from_str(&digits(cents)).unwrap_or_default()
}

fn seconds(at: Time) -> i64 {
    at.0.div_euclid(1_000_000)
}

fn failure(code: &str, message: &str) -> Response {
    let errors = json!({"general_errors": [{"code": code, "message": message}]});
    Response::json(
        200,
        json!({"message_response": {"message": "error"}, "error_response": errors}).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use Happening::{Created, DisputeWon, Disputed, Expired, InAnalysis, Paid, Refunded};

    const NOON: Time = Time(1_772_462_096_500_000); // 2026-03-02T14:34:56.5Z
    const PATH: &str = "/api/v3/transactions/get_by_token_brief";

    fn asked(yapay: &mut Yapay, account: &str, transaction: &str) -> Value {
        let target = format!("{PATH}?token_account={account}&token_transaction={transaction}");
        yapay.answer(&Request::new("GET", &target), NOON).value()
    }

    #[test]
    fn refusals() {
        let mut yapay = Yapay::default();
        let token = yapay.create("LJ-1", 14200, NOON);
        for (account, transaction, code) in [
            ("", token.as_str(), "001001"),
            ("8c3e5a1f7b9d205", &token, "001001"),
            (TOKEN_ACCOUNT, "", "003041"),
            (TOKEN_ACCOUNT, "c1d7", "003042"),
        ] {
            let answer = asked(&mut yapay, account, transaction);
            assert_eq!(answer["message_response"]["message"], "error");
            assert_eq!(answer["error_response"]["general_errors"][0]["code"], code);
            assert_eq!(answer.get("data_response"), None);
        }
        for (method, path) in [("POST", PATH), ("GET", "/v3/transactions/get_by_token_brief")] {
            assert_eq!(yapay.answer(&Request::new(method, path), NOON).status, 404);
        }
    }

    #[test]
    fn what_it_says_after_what_happened() {
        let full = vec![(157, "142.0", 53)];
        let part = vec![(157, "10.0", 52), (155, "132.0", 52)];
        let parts = vec![(157, "10.0", 52), (157, "10.55", 52), (155, "121.45", 52)];
        let all = vec![(157, "10.0", 52), (157, "132.0", 52)];
        let rest = Refunded(13200);
        for (happened, status, dated, refunds) in [
            (vec![Created], 4, false, vec![]),
            (vec![InAnalysis], 87, false, vec![]),
            (vec![InAnalysis, Expired], 89, false, vec![]),
            (vec![Expired], 7, false, vec![]),
            (vec![Expired, Paid], 6, true, vec![]),
            (vec![InAnalysis, Paid], 6, true, vec![]),
            (vec![Paid, Refunded(14200)], 7, true, full),
            (vec![Paid, Refunded(1000)], 6, true, part),
            (vec![Paid, Refunded(1000), Refunded(1055)], 6, true, parts),
            (vec![Paid, Refunded(1000), rest], 7, true, all),
            (vec![Paid, Disputed], 24, true, vec![]),
            (vec![Paid, Disputed, DisputeWon], 6, true, vec![]),
        ] {
            let mut yapay = Yapay::default();
            let token = yapay.create("LJ-1", 14200, NOON);
            happened.iter().for_each(|what| yapay.happen("LJ-1", *what, NOON));
            let answer = asked(&mut yapay, TOKEN_ACCOUNT, &token);
            assert_eq!(answer["message_response"]["message"], "success");
            let told = &answer["data_response"]["transaction"];
            assert_eq!(told["status_id"], status, "{happened:?}");
            assert_eq!((&told["order_number"], &told["token_transaction"]), (&json!("LJ-1"), &json!(token)));
            let payment = &told["payment"];
            let amounts = (&payment["price_original"], &payment["price_payment"]);
            assert_eq!(amounts, (&json!("142.0"), &json!("147.68")));
            let date = if dated { json!(1_772_462_096) } else { Value::Null };
            assert_eq!((&payment["date_approval"], &payment["date_payment"]), (&date, &date), "{happened:?}");
            let row = |refund: &Value| {
                let number = |field: &str| refund[field].as_i64().unwrap();
                (number("status_id"), refund["value"].to_string(), number("refund_kind_id"))
            };
            let rows: Vec<_> = told["refunds"].as_array().into_iter().flatten().map(row).collect();
            let expected: Vec<_> =
                refunds.into_iter().map(|(id, value, kind)| (id, value.to_owned(), kind)).collect();
            assert_eq!(rows, expected, "{happened:?}");
        }
    }

    #[test]
    fn the_form() {
        let mut yapay = Yapay::default();
        let token = yapay.create("LJ-1", 14205, NOON);
        yapay.happen("LJ-1", Paid, NOON);
        let body = yapay.callback("LJ-1", NOON).body;
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(
            text.starts_with(&format!(
                "token_transaction={token}&transaction%5Btransaction_token%5D={token}&"
            ))
        );
        let fields: BTreeMap<_, _> = form_urlencoded::parse(&body).collect();
        for (field, value) in [
            ("transaction[order_number]", "LJ-1"),
            ("transaction[status_id]", "6"),
            ("transaction[price_original]", "142.05"),
            ("transaction[date_payment]", "2026-03-02T11:34:56"),
            ("transaction[seller_token]", TOKEN_ACCOUNT),
            ("transaction[customer][address][city]", "São Paulo"),
            ("transaction[products][][description]", "Camiseta"),
        ] {
            assert_eq!(fields[field], value);
        }
    }

    #[test]
    fn tokens_have_30_to_32_digits() {
        let lengths: std::collections::BTreeSet<usize> =
            (0..50).map(|n| token(&n.to_string()).len()).collect();
        assert!(lengths.into_iter().eq(30..=32));
    }
}
