//! Whatever bytes come, from anybody or from a provider gone wrong: an adapter answers, it never panics.

use super::{answer, callback, cases, files, merchant};
use proptest::prelude::*;
use razao::domain::ids::{ProviderRef, Reference, Token};
use razao::domain::time::Time;
use razao::providers::provider::{Incoming, Provider, Question, Search};
use razao::providers::registry::PROVIDERS;
use serde_json::{Value, json};

const STATUSES: [u16; 8] = [200, 201, 302, 400, 401, 404, 422, 500];

fn questions(name: &str) -> [Question; 5] {
    let reference = Reference::parse(name).unwrap();
    let search = Search { reference, known_since: Time(i64::MAX), looked: 255, found: None };
    [
        Question::Reference(Reference::parse(name).unwrap()),
        Question::ProviderRef(ProviderRef::parse(name).unwrap()),
        Question::Token(Token::parse(name).unwrap()),
        Question::Search(search.clone()),
        Question::Search(Search { found: Some(ProviderRef::parse(name).unwrap()), ..search }),
    ]
}

/// Feeds bytes to everything that reads bytes.
fn feed(provider: &dyn Provider, name: &str, bytes: &[u8]) {
    let merchant = merchant(provider);
    let text = std::str::from_utf8(bytes).ok();
    let headers: Vec<_> =
        text.map(|text| ("authorization".to_owned(), text.to_owned())).into_iter().collect();
    let incoming = Incoming { headers: &headers, content_type: text, query: text, body: bytes };
    let _ = provider.authenticate(&merchant, &headers);
    let _ = provider.hear(&merchant, &incoming);
    for status in STATUSES {
        let answer = answer(status, bytes);
        let _ = provider.logged_in(&merchant, &answer);
        for question in questions(name) {
            let _ = provider.read(&merchant, &question, &answer);
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        PROVIDERS.iter().for_each(|provider| feed(*provider, "x", &bytes));
    }

    #[test]
    fn arbitrary_text(text in r#"[ -~{}\[\]":,=&%.0-9\n\t\u{0}\u{e3}]{0,200}"#) {
        PROVIDERS.iter().for_each(|provider| feed(*provider, "x", text.as_bytes()));
    }

    #[test]
    fn names_stay_one_segment(name in r"[!-~ ]{1,80}") {
        prop_assume!(name != "." && name != "..");
        for provider in PROVIDERS {
            for (question, plain) in questions(&name).iter().zip(questions("plain")) {
                let call = provider.ask(&merchant(*provider), None, question);
                let plain = provider.ask(&merchant(*provider), None, &plain);
                let depth = |call: &razao::wire::call::Call| call.shown_url().matches('/').count();
                prop_assert_eq!(depth(&call), depth(&plain));
                prop_assert_eq!(call.shown_url().matches('?').count(), plain.shown_url().matches('?').count());
                prop_assert!(!call.shown_url().contains("/../"));
            }
        }
    }
}

/// Everything that may stand where something else was expected.
fn misfits() -> [Value; 9] {
    let huge = "9".repeat(10_000);
    [
        Value::Null,
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!(".."),
        json!(huge),
        json!(-1.5e300),
        json!("\u{0}\u{202e}🦀"),
    ]
}

/// The JSON with each of its values replaced in turn by `misfit`, and with each left out.
fn distorted(json: &Value, misfit: &Value) -> Vec<Value> {
    let mut all = vec![misfit.clone()];
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                for other in distorted(value, misfit) {
                    let mut copy = fields.clone();
                    copy.insert(key.clone(), other);
                    all.push(copy.into());
                }
            }
        }
        Value::Array(items) => {
            // The first and the last stand for those between.
            for at in [0, items.len().saturating_sub(1)] {
                for other in items.get(at).map(|item| distorted(item, misfit)).unwrap_or_default() {
                    let mut copy = items.clone();
                    copy[at] = other;
                    all.push(copy.into());
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all
}

#[test]
fn every_field_of_every_fixture_distorted() {
    for provider in PROVIDERS {
        let merchant = merchant(*provider);
        for case in cases(provider.spec().id) {
            for (name, bytes) in [files(&case, "callback."), files(&case, "answer")].concat() {
                let (headers, body) = callback(&name, &bytes);
                let Ok(json) = serde_json::from_slice::<Value>(&body) else { continue };
                let known = json["data"]["charge_id"].as_u64().map(|id| id.to_string());
                let known = known.or_else(|| json["data"]["id"].as_str().map(str::to_owned));
                let known = known.or_else(|| json["referenceId"].as_str().map(str::to_owned));
                let questions = questions(known.as_deref().unwrap_or("x"));
                for other in misfits().iter().flat_map(|misfit| distorted(&json, misfit)) {
                    let body = other.to_string().into_bytes();
                    let incoming =
                        Incoming { headers: &headers, content_type: None, query: None, body: &body };
                    let _ = provider.hear(&merchant, &incoming);
                    for question in &questions {
                        let _ = provider.read(&merchant, question, &answer(200, &body));
                    }
                }
            }
        }
    }
}

#[test]
fn names_that_are_no_names_are_refused_at_the_door() {
    let names = [".", "..", "", "a\u{0}b", "a\nb", &"x".repeat(201), &"x".repeat(10_000)];
    for provider in PROVIDERS {
        let merchant = merchant(*provider);
        for name in names {
            // Wherever this provider may name an order: as PicPay, Efí, 4P and GenPag do it.
            let bodies = [
                json!({ "referenceId": name, "notification": name, "token": name, "event": "PAYMENT.PAID", "data": { "id": name } }),
                json!({ "referenceId": name, "notification": name, "token": name, "event": "PAYMENT.PAID", "data": { "id": name, "status": "PAID" } }),
            ];
            for body in bodies.map(|body| body.to_string().into_bytes()) {
                let incoming = Incoming { headers: &[], content_type: None, query: None, body: &body };
                let heard = provider.hear(&merchant, &incoming);
                let id = provider.spec().id;
                let harmless = heard
                    .as_ref()
                    .is_ok_and(|notice| notice.questions.is_empty() && notice.findings.is_empty());
                assert!(heard.is_err() || harmless, "{id} takes {name:?}: {heard:?}");
            }
        }
    }
}
