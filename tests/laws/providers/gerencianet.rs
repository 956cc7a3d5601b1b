//! Efí's words, dates and errors.

use super::{answer, by_provider_ref, by_token, hear, merchant, read, whole};
use razao::domain::evidence::{Amount, Identity};
use razao::domain::ids::{ProviderRef, Reference, Token};
use razao::domain::money::Money;
use razao::domain::state::Word;
use razao::domain::time::Time;
use razao::providers::provider::{Dating, Finding, Known, Question, Search, Trouble};
use razao::providers::registry::find;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::time::Duration;

const PROVIDER: &str = "gerencianet";
const TOKEN: &str = "5f0c1f5e-6a3b-4b1d-9d52-0c9a1f7be3d4";

/// Every word of Efí's documents, and one that is in none.
const WORDS: &[(&str, Option<Word>)] = &[
    ("new", Some(Word::Created)),
    ("waiting", Some(Word::Created)),
    ("link", Some(Word::Created)),
    ("identified", Some(Word::InAnalysis)),
    ("approved", Some(Word::InAnalysis)),
    ("paid", Some(Word::Paid)),
    ("settled", Some(Word::Paid)),
    ("unpaid", Some(Word::Expired)),
    ("canceled", Some(Word::Expired)),
    ("expired", Some(Word::Expired)),
    ("refunded", Some(Word::Refunded)),
    ("contested", Some(Word::Chargeback)),
    ("partially_refunded", None),
    ("up_to_date", None),
    ("Paid", None),
    ("", None),
];

fn change(id: u64, kind: &str, charge: u64, status: &str, at: &str) -> Value {
    json!({
        "id": id, "type": kind, "custom_id": "PED-1", "status": { "current": status, "previous": null },
        "identifiers": { "charge_id": charge }, "created_at": at,
    })
}

fn history(changes: Value) -> Result<Vec<Finding>, Trouble> {
    read(PROVIDER, &by_token(TOKEN), 200, &json!({ "code": 200, "data": changes }))
        .map(|found| found.findings)
}

fn dated(finding: &Finding) -> String {
    match finding.reading.dating {
        Dating::Told { at, payment_created: None } => at.to_string(),
        other => panic!("{other:?}"),
    }
}

fn cents(minor: i64) -> Amount {
    Amount::Known(Money::from_minor(minor).unwrap())
}

#[test]
fn every_word_in_a_history_and_in_a_snapshot() {
    for (status, word) in WORDS {
        let found = history(json!([change(1, "charge", 7, status, "2026-02-20 09:12:23")])).unwrap();
        assert_eq!((found[0].reading.word, found[0].reading.provider_status.as_str()), (*word, *status));
        let charge = json!({ "code": 200, "data": { "charge_id": 7, "status": status, "total": 6990 } });
        let found = read(PROVIDER, &by_provider_ref("7"), 200, &charge).unwrap().findings;
        assert_eq!((found[0].reading.word, found[0].reading.provider_status.as_str()), (*word, *status));
        let came = word.is_some_and(Word::says_money_came);
        assert_eq!(found[0].reading.gross, if came { cents(6990) } else { Amount::Absent }, "{status}");
        assert_eq!(found[0].reading.dating, Dating::Snapshot);
    }
}

#[test]
fn changes_are_dated_by_the_latest_of_their_charge_so_far() {
    let found = history(json!([
        change(3, "carnet_charge", 7, "paid", "2026-02-19 00:00:00"),
        change(1, "carnet_charge", 7, "new", "2026-02-20 09:12:23"),
        change(2, "carnet_charge", 8, "new", "2026-02-18 09:12:23"),
        change(4, "carnet_charge", 7, "refunded", "2026-02-21 00:00:00"),
    ]))
    .unwrap();
    let dates: Vec<_> = found.iter().map(dated).collect();
    let told = |day: u8, time: &str| format!("2026-02-{day}T{time}.000000-03:00");
    assert_eq!(
        dates,
        [told(20, "09:12:23"), told(18, "09:12:23"), told(20, "09:12:23"), told(21, "00:00:00")]
    );
    assert_eq!(found[2].reading.occurred.unwrap().to_string(), told(19, "00:00:00"), "its own");
    let id = |at: usize| found[at].reading.identity.clone();
    assert_eq!(id(2), Identity::Change { token: Token::parse(TOKEN).unwrap(), id: 3 });
}

#[test]
fn which_order_a_change_speaks_of() {
    let names = |change: Value| {
        let found = history(json!([change])).unwrap();
        found.into_iter().next().map(|found| {
            let name = |name: Option<String>| name.unwrap_or_default();
            (
                name(found.reference.map(|it| it.to_string())),
                name(found.provider_ref.map(|it| it.to_string())),
            )
        })
    };
    let at = "2026-02-20 09:12:23";
    let of = |kind: &str| change(1, kind, 7, "new", at);
    let with = |custom_id: Value| {
        let mut change = of("charge");
        change["custom_id"] = custom_id;
        names(change)
    };
    let pair = |reference: &str| Some((reference.to_owned(), "7".to_owned()));
    assert_eq!(names(of("charge")), pair("PED-1"));
    assert_eq!(names(of("carnet_charge")), pair("7"), "parcels share a custom_id");
    assert_eq!(names(of("subscription_charge")), pair("7"));
    for kind in ["carnet", "subscription", "pix", ""] {
        assert_eq!(names(of(kind)), None, "{kind}");
    }
    assert_eq!(with(json!(11)), pair("11"));
    assert_eq!(with(json!("11")), pair("11"));
    for unfit in [json!(null), json!(""), json!(".."), json!("x".repeat(255)), json!({})] {
        assert_eq!(with(unfit.clone()), pair("7"), "{unfit}");
    }
    let mut text = of("charge");
    text["identifiers"]["charge_id"] = json!("7");
    assert_eq!(names(text), pair("PED-1"));
}

#[test]
fn sums_of_a_history() {
    let at = "2026-02-20 09:12:23";
    let valued = |id: u64, status: &str, value: Value| {
        let mut change = change(id, "charge", 7, status, at);
        change["value"] = value;
        change
    };
    let asked = |changes: Value| {
        read(PROVIDER, &by_token(TOKEN), 200, &json!({ "code": 200, "data": changes })).unwrap().questions
    };
    let follow_up = vec![by_provider_ref("7")];
    assert_eq!(asked(json!([valued(1, "paid", json!(6990)), valued(2, "refunded", json!(null))])), []);
    assert_eq!(asked(json!([valued(1, "settled", json!(6990))])), []);
    assert_eq!(asked(json!([valued(1, "unpaid", json!(null))])), []);
    assert_eq!(asked(json!([valued(1, "settled", json!(null))])), follow_up);
    assert_eq!(asked(json!([valued(1, "settled", json!(0))])), follow_up);
    assert_eq!(asked(json!([valued(9, "contested", json!(6990))])), follow_up, "its value may be anything");

    let paid = valued(1, "paid", json!(6990));
    let second = |value: Value| {
        let found = history(json!([paid, valued(2, "partially_refunded", value)])).unwrap();
        let reading = &found[1].reading;
        (reading.word, reading.gross.clone(), reading.refunded.clone())
    };
    assert_eq!(second(json!(990)), (Some(Word::Paid), cents(6990), cents(990)));
    for unclear in [json!(null), json!(0), json!(6990), json!(7000), json!("x"), json!(0.5)] {
        assert_eq!(second(unclear.clone()), (None, Amount::Absent, Amount::Absent), "{unclear}");
    }
    let unreadable = history(json!([valued(1, "paid", json!(69.9))])).unwrap();
    assert_eq!(unreadable[0].reading.gross, Amount::Unreadable("69.9".to_owned()));
}

#[test]
fn sums_of_a_charge() {
    let gross = |data: Value| {
        let mut data = data;
        data["charge_id"] = json!(7);
        let found = read(PROVIDER, &by_provider_ref("7"), 200, &json!({ "code": 200, "data": data }));
        found.unwrap().findings[0].reading.gross.clone()
    };
    let paid = |rest: Value| {
        let mut data = json!({ "status": "paid", "total": 6990 });
        data.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        gross(data)
    };
    assert_eq!(paid(json!({ "paid_value": 7144 })), cents(7144));
    assert_eq!(paid(json!({ "payment": { "paid_value": 7144 } })), cents(7144));
    assert_eq!(paid(json!({ "paid_value": 0 })), cents(6990));
    assert_eq!(paid(json!({ "paid_value": "?" })), Amount::Unreadable(String::new()));
    assert_eq!(gross(json!({ "status": "refunded" })), Amount::Absent);
}

#[test]
fn changes_that_cannot_be_read_are_the_provider_s_fault() {
    let good = change(1, "charge", 7, "new", "2026-02-20 09:12:23");
    let spoilt: &[(&str, Value)] = &[
        ("id", json!(null)),
        ("id", json!(-1)),
        ("id", json!(1.5)),
        ("id", json!("18446744073709551616")),
        ("status", json!("new")),
        ("status", json!({ "current": null })),
        ("identifiers", json!({})),
        ("identifiers", json!({ "charge_id": ".." })),
        ("identifiers", json!({ "charge_id": "7".repeat(201) })),
        ("created_at", json!(null)),
        ("created_at", json!("20/02/2026")),
        ("created_at", json!("2026-02-31 00:00:00")),
    ];
    for (field, value) in spoilt {
        let mut change = good.clone();
        change[*field] = value.clone();
        assert!(matches!(history(json!([change])), Err(Trouble::Broken(_))), "{field}: {value}");
    }
    for data in [json!({}), json!("x"), json!(null)] {
        assert!(matches!(history(data.clone()), Err(Trouble::Broken(_))), "{data}");
    }
    assert_eq!(history(json!([])), Ok(Vec::new()));
}

#[test]
fn a_charge_that_is_not_the_one_asked_for() {
    for named in [json!(8), json!("07"), json!(null), json!({})] {
        let charge = json!({ "code": 200, "data": { "charge_id": named, "status": "paid", "total": 1 } });
        let got = read(PROVIDER, &by_provider_ref("7"), 200, &charge);
        assert!(matches!(got, Err(Trouble::Broken(_))), "{charge}");
    }
}

#[test]
fn errors_under_any_http_status() {
    let coded = |code: Value| json!({ "code": code, "error": "x", "error_description": "y", "data": [] });
    let got = |status: u16, json: Value| read(PROVIDER, &by_token(TOKEN), status, &json).unwrap_err();
    for status in [200, 400, 403] {
        for code in [json!(3500010), json!("3500010")] {
            assert_eq!(got(status, coded(code)), Trouble::NotThere { status });
        }
        for code in [3500049, 3500055] {
            assert_eq!(got(status, coded(json!(code))), Trouble::TooFast { status, retry_after: None });
        }
        for code in [3500001, 3500008] {
            assert_eq!(got(status, coded(json!(code))), Trouble::Credentials { status });
        }
        assert_eq!(got(status, coded(json!(3500000))), Trouble::Down { status, retry_after: None });
    }
    let unauthorized = json!({ "error": "invalid_token", "error_description": "Invalid or expired token" });
    assert_eq!(got(401, unauthorized.clone()), Trouble::Credentials { status: 401 });
    assert_eq!(got(400, unauthorized), Trouble::Credentials { status: 400 });
    assert_eq!(got(404, json!({})), Trouble::NotThere { status: 404 });
    let said = |status: u16, json: Value| got(status, json).to_string();
    let text = json!({ "code": 3500101, "error": "e", "error_description": "Parcela: [1]." });
    let object =
        json!({ "code": 3500034, "error_description": { "property": "/x", "message": "é obrigatória" } });
    assert_eq!(
        said(200, text),
        "the provider broke its word: it answered HTTP 200 with code 3500101: Parcela: 1."
    );
    assert_eq!(said(400, object), "the provider broke its word: it answered HTTP 400: é obrigatória");
    for code in [json!(null), json!(201), json!("OK"), json!(true)] {
        assert!(matches!(got(200, coded(code)), Trouble::Broken(_)));
    }
    assert!(matches!(got(201, json!({ "code": 200, "data": [] })), Trouble::Broken(_)));
}

#[test]
fn tokens_at_the_door() {
    let token = Question::Token(Token::parse(TOKEN).unwrap());
    let form = format!("notification={TOKEN}");
    for body in [
        form.clone(),
        format!("{form}\r\n"),
        format!("x=1&{form}"),
        format!(r#" {{"notification":"{TOKEN}"}}"#),
    ] {
        assert_eq!(hear(PROVIDER, &body).unwrap().questions, std::slice::from_ref(&token), "{body}");
    }
    let long = format!("notification={}", "a".repeat(10_000));
    let bad = [
        "",
        "notification",
        "notification=",
        "notification=.",
        "notification=..",
        "notification=%2E%2e",
        "notification=a%00b",
        "notification=a%0Ab",
        "token=x",
        "{}",
        "{",
        r#"{"notification":5}"#,
        r#"{"notification":{"a":1}}"#,
        r#"{"notification":".."}"#,
        "[]",
        &long,
    ];
    for body in bad {
        assert!(hear(PROVIDER, body).is_err(), "{body}");
    }
    let slashes = hear(PROVIDER, "notification=../../charge/7%3Fa%23").unwrap().questions;
    let provider = find(PROVIDER).unwrap();
    let call = provider.ask(&merchant(provider), None, &slashes[0]);
    assert_eq!(call.shown_url(), "https://provider.example/v1/notification/..%2F..%2Fcharge%2F7%3Fa%23");
}

#[test]
fn what_is_polled() {
    let (reference, charge) = (Reference::parse("PED-1").unwrap(), ProviderRef::parse("7").unwrap());
    let token = Token::parse(TOKEN).unwrap();
    let poll = |provider_ref, token| {
        find(PROVIDER).unwrap().poll(Known {
            reference: &reference,
            provider_ref,
            token,
            known_since: Time(0),
        })
    };
    assert_eq!(poll(Some(&charge), Some(&token)), Some(Question::Token(token.clone())));
    assert_eq!(poll(Some(&charge), None), Some(Question::ProviderRef(charge.clone())));
    let search = Search { reference: reference.clone(), known_since: Time(0), looked: 0, found: None };
    assert_eq!(poll(None, None), Some(Question::Search(search)));
}

#[test]
fn a_login() {
    let provider = find(PROVIDER).unwrap();
    let merchant = merchant(provider);
    let call = provider.login(&merchant, None).unwrap();
    let expected = json!({
        "call": "POST https://provider.example/v1/authorize",
        "headers": { "authorization": "Basic Y2xpZW50LWlkOmNsaWVudC1zZWNyZXQ=" },
        "body": { "application/json": r#"{"grant_type":"client_credentials"}"# },
    });
    assert_eq!(whole(&call), expected);
    assert!(!format!("{call:?}").contains("Basic"), "secrets do not print");
    let granted = |status: u16, json: Value| {
        let session = provider.logged_in(&merchant, &answer(status, json.to_string()))?;
        Ok::<_, Trouble>((session.token.expose_secret().to_owned(), session.lives))
    };
    let lives = |seconds| Ok(("t".to_owned(), Duration::from_secs(seconds)));
    assert_eq!(granted(200, json!({ "access_token": "t", "expires_in": 300 })), lives(300));
    assert_eq!(granted(200, json!({ "access_token": "t", "expires_in": "300" })), lives(300));
    assert_eq!(granted(200, json!({ "access_token": "t" })), lives(600));
    assert_eq!(granted(200, json!({ "access_token": "t", "expires_in": -1 })), lives(600));
    assert!(matches!(granted(200, json!({ "access_token": 5 })), Err(Trouble::Broken(_))));
    assert!(matches!(granted(200, json!({})), Err(Trouble::Broken(_))));
    let refused = json!({ "error": "invalid_client", "error_description": "x" });
    assert_eq!(granted(400, refused), Err(Trouble::Credentials { status: 400 }));
    assert_eq!(granted(401, json!({})), Err(Trouble::Credentials { status: 401 }));
}
