//! GenPag's envelope, words, dates and sessions.

use super::{answer, by_provider_ref, hear, merchant, read, whole};
use razao::domain::evidence::{Amount, Identity};
use razao::domain::ids::{EventId, ProviderRef, Reference};
use razao::domain::money::Money;
use razao::domain::state::Word;
use razao::domain::time::Time;
use razao::providers::provider::{Dating, Finding, Known, Merchant, Notice, Question, Trouble};
use razao::providers::registry::find;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::time::Duration;

const PROVIDER: &str = "genpag";
const WEEK: Duration = Duration::from_secs(7 * 86_400);

const WORDS: &[(&str, Option<Word>)] = &[
    ("PENDING", Some(Word::Created)),
    ("PRE_AUTHORIZED", Some(Word::InAnalysis)),
    ("PAID", Some(Word::Paid)),
    ("paid", Some(Word::Paid)),
    ("CANCELLED", Some(Word::Closed)),
    ("REVERSED", Some(Word::Refunded)),
    ("REFUSED", Some(Word::Expired)),
    ("DENIED", Some(Word::Expired)),
    ("FAILED", Some(Word::Expired)),
    ("EXPIRED", Some(Word::Expired)),
    ("CHARGEBACK", Some(Word::Chargeback)),
    ("CHARGEBACK_OPEN", Some(Word::Chargeback)),
    ("DISPUTED", Some(Word::Chargeback)),
    ("PAID_OUT", None),
    ("charge-in", None),
];

fn payment(status: &str) -> Value {
    json!({
        "id": "p1", "order_id": "o1", "method": "PIX", "status": status, "external_id": "GEN-1", "total_cents": 10000,
        "inserted_at": "2026-03-01T10:00:00.000Z", "updated_at": "2026-03-01T11:00:00.000Z",
    })
}

fn event(name: &str, data: Value) -> Value {
    json!({ "id": "e1", "event": name, "data": data, "inserted_at": "2026-03-01T12:00:00.000Z" })
}

fn heard(json: &Value) -> Notice {
    hear(PROVIDER, json.to_string()).unwrap_or_else(|unreadable| panic!("{unreadable}: {json}"))
}

fn found(json: &Value) -> Finding {
    let Notice { findings, questions, .. } = heard(json);
    assert_eq!(questions, []);
    findings.into_iter().next().unwrap_or_else(|| panic!("nothing found in {json}"))
}

fn cents(minor: i64) -> Amount {
    Amount::Known(Money::from_minor(minor).unwrap())
}

#[test]
fn every_word_in_an_event_and_in_a_snapshot() {
    for (status, word) in WORDS {
        // The event's name is of no weight.
        let told = found(&event("PAYMENT.CREATED", payment(status))).reading;
        assert_eq!((told.word, told.provider_status.as_str()), (*word, *status));
        assert_eq!((told.gross, told.identity), (cents(10000), Identity::Event("e1".to_owned())));
        let asked = read(PROVIDER, &by_provider_ref("p1"), 200, &json!({ "data": payment(status) })).unwrap();
        let seen = &asked.findings[0].reading;
        assert_eq!((seen.word, seen.provider_status.as_str()), (*word, *status));
        assert_eq!((&seen.dating, &seen.identity), (&Dating::Snapshot, &Identity::Content));
    }
}

#[test]
fn events_of_no_payment() {
    let order = json!({ "id": "o1", "external_id": "FAT-1", "status": "PAID", "total_cents": 10000 });
    for ignored in [
        event("ORDER.PAID", order.clone()),
        event("order.paid", order.clone()),
        event("ORDER.PAID", payment("PAID")),
        event("SELLER.UPDATED", order.clone()),
        event("SELLER.UPDATED", json!({ "id": "s1" })),
        json!({ "order": order }),
        json!({ "event": "PING" }),
        json!({ "event": "PING", "data": [] }),
    ] {
        let notice = heard(&ignored);
        assert_eq!((notice.findings, notice.questions), (Vec::new(), Vec::new()), "{ignored}");
        assert_eq!(notice.event.as_ref().map(EventId::as_str), ignored["id"].as_str(), "{ignored}");
    }
    assert_eq!(found(&event("SOMETHING.NEW", payment("PAID"))).reading.word, Some(Word::Paid));
}

#[test]
fn what_no_genpag_sends() {
    for body in ["", "x", "[]", "5", "{}", r#"{"a":1}"#, "event=PAYMENT.PAID", r#"{"event":5}"#] {
        assert!(hear(PROVIDER, body).is_err(), "{body}");
    }
    let mut dots = payment("PAID");
    dots["external_id"] = json!("..");
    for json in [
        json!({ "event": "PAYMENT.PAID" }),
        json!({ "data": "p1" }),
        event("PAYMENT.PAID", json!([])),
        event("PAYMENT.PAID", json!({ "status": "PAID" })),
        event("PAYMENT.PAID", json!({ "id": {}, "status": "PAID" })),
        event("PAYMENT.PAID", json!({ "id": "..", "status": "PAID" })),
        event("PAYMENT.PAID", json!({ "id": "x".repeat(10_000) })),
        event("PAYMENT.PAID", dots),
    ] {
        assert!(hear(PROVIDER, json.to_string()).is_err(), "{json}");
    }
}

#[test]
fn only_an_id_is_asked_about() {
    for json in [
        event("PAYMENT.PAID", json!({ "id": "p1" })),
        event("payment.paid", json!("p1")),
        json!({ "payment": { "id": "p1" } }),
        json!({ "data": { "id": "p1", "status": null } }),
    ] {
        let notice = heard(&json);
        let expected = (Vec::new(), vec![by_provider_ref("p1")]);
        assert_eq!((notice.findings, notice.questions), expected, "{json}");
    }
}

#[test]
fn envelopes_of_every_kind_say_the_same() {
    let plain = found(&event("PAYMENT.PAID", payment("PAID")));
    for (envelope, payment_key) in [("type", "data"), ("name", "payment"), ("event", "payment")] {
        let at = "2026-03-01T12:00:00.000Z";
        let json =
            json!({ "id": "e1", envelope: "PAYMENT.PAID", payment_key: payment("PAID"), "inserted_at": at });
        assert_eq!(found(&json), plain, "{json}");
    }
    let bare = found(&payment("PAID"));
    let mut flat = payment("PAID");
    flat["event"] = json!("PAYMENT.PAID");
    assert_eq!(found(&flat), bare);
    assert_eq!((&bare.reference, &bare.provider_ref), (&plain.reference, &plain.provider_ref));
    assert_eq!(bare.reading.identity, Identity::Content, "its id is the payment's");
    let mut same = event("PAYMENT.PAID", payment("PAID"));
    same["id"] = json!("p1");
    assert_eq!(found(&same).reading.identity, Identity::Content, "an id that all events would share");
}

#[test]
fn names() {
    let names = |external_id: Value| {
        let mut payment = payment("PAID");
        payment["external_id"] = external_id;
        let found = found(&event("PAYMENT.PAID", payment));
        (found.reference.unwrap().to_string(), found.provider_ref.unwrap().to_string())
    };
    let pair = |reference: &str| (reference.to_owned(), "p1".to_owned());
    assert_eq!(names(json!("GEN-1")), pair("GEN-1"));
    assert_eq!(names(json!(901)), pair("901"));
    assert_eq!(names(json!(null)), pair("p1"));
    assert_eq!(names(json!("")), pair("p1"));
}

#[test]
fn dates() {
    let dated = |envelope: Option<&str>, updated: Option<&str>, inserted: Option<&str>| {
        let mut json = event("PAYMENT.PAID", payment("PAID"));
        json["inserted_at"] = json!(envelope);
        json["data"]["updated_at"] = json!(updated);
        json["data"]["inserted_at"] = json!(inserted);
        match found(&json).reading.dating {
            Dating::Snapshot => "receipt".to_owned(),
            Dating::Told { at, payment_created } => {
                format!("{} {}", at.at.0, payment_created.unwrap_or_default().0)
            }
        }
    };
    let at = |second: u8| format!("1970-01-01T00:00:0{second}.000Z");
    let (one, two, three) = (at(1), at(2), at(3));
    let (one, two, three) = (Some(one.as_str()), Some(two.as_str()), Some(three.as_str()));
    assert_eq!(dated(three, two, one), "3000000 1000000");
    assert_eq!(dated(one, two, three), "1000000 3000000", "whether it is believed is decided elsewhere");
    assert_eq!(dated(None, two, one), "2000000 1000000");
    assert_eq!(dated(None, two, two), "2000000 2000000");
    assert_eq!(dated(None, one, two), "receipt", "updated before it was made");
    assert_eq!(dated(None, two, None), "2000000 0");
    assert_eq!(dated(Some("yesterday"), None, one), "receipt");
    assert_eq!(dated(Some("2026-03-01T12:00:00"), None, None), "receipt", "no offset");
}

#[test]
fn bolepix() {
    let charge = |status: Value| json!({ "id": "1", "invoiceId": "i1", "order_id": "o1", "status": status, "amount": 5.10, "insertedAt": "2026-03-01T10:00:00Z" });
    let told = |name: &str, status: Value| {
        let finding = found(&json!({ "event": name, "data": charge(status) }));
        let names = (finding.reference.unwrap().to_string(), finding.provider_ref.unwrap().to_string());
        assert_eq!(names, ("i1".to_owned(), "i1".to_owned()), "the row's own id is too small a number");
        assert_eq!((finding.reading.gross, finding.reading.dating), (cents(510), Dating::Snapshot));
        (finding.reading.word.unwrap(), finding.reading.provider_status)
    };
    let none = json!(null);
    assert_eq!(told("charge-create", none.clone()), (Word::Created, "charge-create".to_owned()));
    assert_eq!(told("charge-in", none.clone()), (Word::Paid, "charge-in".to_owned()));
    assert_eq!(told("charge-cancelled", none), (Word::Closed, "charge-cancelled".to_owned()));
    assert_eq!(told("charge-in", json!("PAID")), (Word::Paid, "PAID".to_owned()));
    assert_eq!(told("charge-in", json!("LIQUIDATED")), (Word::Paid, "charge-in".to_owned()));
    assert_eq!(told("charge-create", json!("PAID")), (Word::Paid, "PAID".to_owned()), "the status decides");
}

#[test]
fn answers_that_are_not_the_payment() {
    let got = |status: u16, json: Value| read(PROVIDER, &by_provider_ref("p1"), status, &json).unwrap_err();
    let mut other = payment("PAID");
    other["id"] = json!("p2");
    for json in
        [json!({}), json!({ "data": [] }), json!({ "data": other }), json!({ "data": { "id": "p1" } })]
    {
        assert!(matches!(got(200, json.clone()), Trouble::Broken(_)), "{json}");
    }
    let phoenix = |detail: &str| json!({ "errors": { "detail": detail } });
    assert_eq!(got(401, phoenix("Unauthorized")), Trouble::Credentials { status: 401 });
    assert_eq!(got(404, phoenix("Not Found")), Trouble::NotThere { status: 404 });
    assert_eq!(got(500, json!("x")), Trouble::Down { status: 500, retry_after: None });
    let said = got(422, phoenix("Unprocessable")).to_string();
    assert_eq!(said, "the provider broke its word: it answered HTTP 422: Unprocessable");
    let fields = json!({ "errors": { "amount": ["must be less than or equal to 10000"] } });
    assert_eq!(got(422, fields), Trouble::Broken("it answered HTTP 422".to_owned()));
    assert!(got(200, phoenix("Not Found")).to_string().ends_with(": Not Found"));
}

#[test]
fn only_the_whole_header_is_the_credential() {
    let provider = find(PROVIDER).unwrap();
    let mut merchant = merchant(provider);
    let values = merchant.credentials.0.get_mut("webhook_authorization").unwrap();
    values.push("Bearer older".into());
    let accepts = |value: &str| {
        let headers = [("authorization".to_owned(), value.to_owned())];
        provider.authenticate(&merchant, &headers).is_ok()
    };
    assert!(accepts("webhook-authorization") && accepts("Bearer older"));
    for bad in ["", "Bearer webhook-authorization", "webhook-authorization ", "older", "access-token"] {
        assert!(!accepts(bad), "{bad}");
    }
    assert!(provider.authenticate(&merchant, &[]).is_err());
}

#[test]
fn the_configured_session_and_its_renewal() {
    let provider = find(PROVIDER).unwrap();
    let mut merchant = merchant(provider);
    let first = provider.first_session(&merchant).unwrap();
    assert_eq!((first.token.expose_secret(), first.lives), ("access-token", WEEK));
    let question = by_provider_ref("p/1");
    let asked = json!({
        "call": "GET https://provider.example/api/sellers/seller-id/payments/p%2F1",
        "headers": { "authorization": "Bearer access-token" }, "body": null,
    });
    assert_eq!(whole(&provider.ask(&merchant, Some(&first), &question)), asked);
    let renewal = json!({
        "call": "POST https://provider.example/api/seller-id/tokens",
        "headers": { "authorization": "Bearer refresh-token" }, "body": { "application/json": "{}" },
    });
    assert_eq!(whole(&provider.login(&merchant, Some(&first)).unwrap()), renewal);
    let granted = |status: u16, json: Value| {
        let session = provider.logged_in(&merchant, &answer(status, json.to_string()))?;
        Ok::<_, Trouble>((session.token.expose_secret().to_owned(), session.lives))
    };
    assert_eq!(granted(200, json!({ "data": "SFMyNTY.x.y" })), Ok(("SFMyNTY.x.y".to_owned(), WEEK)));
    assert_eq!(granted(201, json!({ "data": "t" })), Ok(("t".to_owned(), WEEK)));
    assert_eq!(granted(401, json!({})), Err(Trouble::Credentials { status: 401 }));
    for json in [json!({}), json!({ "data": "" }), json!({ "data": { "token": "t" } })] {
        assert!(matches!(granted(200, json.clone()), Err(Trouble::Broken(_))), "{json}");
    }
    let without = |name: &str, merchant: &mut Merchant| drop(merchant.credentials.0.remove(name));
    without("refresh_token", &mut merchant);
    assert!(provider.login(&merchant, Some(&first)).is_none());
    without("access_token", &mut merchant);
    assert!(provider.first_session(&merchant).is_none());
}

#[test]
fn what_is_polled() {
    let (reference, payment) = (Reference::parse("GEN-1").unwrap(), ProviderRef::parse("p1").unwrap());
    let poll = |provider_ref| {
        find(PROVIDER).unwrap().poll(Known {
            reference: &reference,
            provider_ref,
            token: None,
            known_since: Time(0),
        })
    };
    assert_eq!(poll(Some(&payment)), Some(Question::ProviderRef(payment.clone())));
    assert_eq!(poll(None), None);
}
