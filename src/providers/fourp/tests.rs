//! Every documented status of the fourp adapter, unknown words, and what a hostile party might send.

use super::*;
use crate::domain::ids::AccountId;
use crate::domain::money::{Currency, Money};
use crate::domain::time::Time;
use crate::providers::provider::Credentials;
use jiff::tz::TimeZone;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;

const TOKEN: &str = "5d0e1b7c3f9a4826b1c0";

fn merchant() -> Merchant {
    Merchant {
        id: AccountId::parse("loja-4p").unwrap(),
        currency: Currency::BRL,
        zone: TimeZone::get("America/Sao_Paulo").unwrap(),
        base_url: "https://4p.example".to_owned(),
        credentials: Credentials(BTreeMap::from([("api_key".to_owned(), vec!["chave-1".into()])])),
    }
}

fn token() -> Question {
    Question::Token(Token::parse(TOKEN).unwrap())
}

fn hear(query: Option<&str>, body: &str) -> Result<Notice, Unreadable> {
    FourP.hear(&merchant(), &Incoming { headers: &[], content_type: None, query, body: body.as_bytes() })
}

fn read(status: u16, body: &str) -> Result<Findings, Trouble> {
    let answer = Answer { status, content_type: None, retry_after: None, body: body.as_bytes().to_vec() };
    FourP.read(&merchant(), &token(), &answer)
}

fn finding_of(data: &str) -> Result<Finding, Trouble> {
    let mut findings = read(200, &format!(r#"{{"success":true,"info":{{"data":{{{data}}}}}}}"#))?.findings;
    assert_eq!(findings.len(), 1);
    Ok(findings.remove(0))
}

/// A reading from its fields beside the names.
fn reading_of(fields: &str) -> Reading {
    let finding = finding_of(&format!(r#""txid":"tx1","custom_id":"PN1",{fields}"#));
    finding.unwrap_or_else(|trouble| panic!("{fields}: {trouble}")).reading
}

#[test]
fn the_token_under_every_name() {
    let mut heard: Vec<(Option<String>, String)> = Vec::new();
    for name in TOKEN_NAMES {
        heard.push((None, format!(r#" {{"{name}":"{TOKEN}"}}"#)));
        heard.push((None, format!("{name}={TOKEN}\n")));
        heard.push((Some(format!("x=1&{name}={TOKEN}")), String::new()));
        for place in TOKEN_PLACES {
            heard.push((None, format!(r#"{{"{place}":{{"{name}":"{TOKEN}"}}}}"#)));
            heard.push((None, format!("{place}%5B{name}%5D={TOKEN}&city=S%E3o")));
            heard.push((None, format!(r#"{{"id":"","token":null,"{place}":{{"{name}":"{TOKEN}"}}}}"#)));
        }
    }
    let likelier = [
        format!(r#"{{"id":"evt_1","token":"{TOKEN}"}}"#),
        format!(r#"{{"id":"evt_1","data":{{"id":"evt_2","notification_token":"{TOKEN}"}}}}"#),
        format!(r#"{{"token":["no"],"data":[],"info":{{"token":"{TOKEN}"}},"id":"evt_1"}}"#),
        format!("id=1&token={TOKEN}&token=second"),
    ];
    heard.extend(likelier.map(|body| (None, body)));
    heard.push((Some(format!("token={TOKEN}")), r#"{"id":"evt_1"}"#.to_owned()));
    heard.push((Some("token=other".to_owned()), format!(r#"{{"token":"{TOKEN}"}}"#)));
    heard.push((Some("token=other".to_owned()), format!("token={TOKEN}")));
    let expected = Notice { questions: vec![token()], ..Notice::default() };
    for (query, body) in heard {
        assert_eq!(hear(query.as_deref(), &body).as_ref(), Ok(&expected), "{query:?} {body}");
    }
}

#[test]
fn what_carries_no_token_is_unreadable() {
    let long = "a".repeat(10_000);
    let cases = [
        (String::new(), "there is no `token`"),
        ("{}".to_owned(), "there is no `token`"),
        ("[\"a\"]".to_owned(), "there is no `token`"),
        (format!("\"{TOKEN}\""), "there is no `token`"),
        (r#"{"token":{"id":"a"}}"#.to_owned(), "there is no `token`"),
        (r#"{"token":true,"data":"a","info":["token"]}"#.to_owned(), "there is no `token`"),
        (r#"{"other":{"token":"a"}}"#.to_owned(), "there is no `token`"),
        ("token=".to_owned(), "there is no `token`"),
        (r#"{"token":"a""#.to_owned(), "not JSON"),
        (format!("{{\"token\":{}", "[".repeat(10_000)), "not JSON"),
        (r#"{"token":".."}"#.to_owned(), "a token is 1 to"),
        ("token=%2E%2e".to_owned(), "a token is 1 to"),
        (r#"{"token":"a\u0000b"}"#.to_owned(), "a token is 1 to"),
        (format!(r#"{{"token":"{long}"}}"#), "a token is 1 to"),
        (format!("token={long}"), "a token is 1 to"),
        (r#"{"token":"..","notification_token":"a"}"#.to_owned(), "a token is 1 to"),
    ];
    for (body, words) in cases {
        let shown = hear(None, &body).expect_err(&body).to_string();
        assert!(shown.contains(words) && shown.len() < 250, "{body}: {shown}");
    }
}

#[test]
fn asks_with_the_key_in_a_header() {
    let call = FourP.ask(&merchant(), None, &token());
    assert_eq!(call.url.expose_secret(), format!("https://4p.example/v1/notification/{TOKEN}"));
    let headers: Vec<(&str, &str)> =
        call.headers.iter().map(|(name, value)| (*name, value.expose_secret())).collect();
    assert_eq!(headers, [("x-api-key", "chave-1")]);
    let hostile = Question::Token(Token::parse("../v1/pix?a=b#%2e").unwrap());
    let call = FourP.ask(&merchant(), None, &hostile);
    assert!(call.url.expose_secret().ends_with("/notification/..%2Fv1%2Fpix%3Fa%3Db%23%252e"));
}

#[test]
fn polls_by_a_known_token_only() {
    let (reference, txid) = (Reference::parse("PN1").unwrap(), ProviderRef::parse("tx1").unwrap());
    let known = Token::parse(TOKEN).unwrap();
    let by = |token| {
        FourP.poll(Known { reference: &reference, provider_ref: Some(&txid), token, known_since: Time(0) })
    };
    assert_eq!(by(None), None);
    assert_eq!(by(Some(&known)), Some(token()));
}

#[test]
fn every_status() {
    let hash = r#","custom_data":{"transaction_hash":"0xabc"}"#;
    let cases: &[(&str, &str, Option<Word>)] = &[
        (r#""pending""#, "", Some(Word::Created)),
        (r#""ATIVA""#, "", Some(Word::Created)),
        (r#""processing""#, "", Some(Word::InAnalysis)),
        (r#""paid""#, "", Some(Word::Paid)),
        (r#""paid""#, hash, Some(Word::Completed)),
        (r#""paid""#, r#","custom_data":{"transaction_hash":null}"#, Some(Word::Paid)),
        (r#""paid""#, r#","custom_data":{"transaction_hash":" "}"#, Some(Word::Paid)),
        (r#""paid""#, r#","custom_data":{"transaction_hash":true}"#, Some(Word::Paid)),
        (r#""paid""#, r#","custom_data":"0xabc""#, Some(Word::Paid)),
        (r#""success""#, "", Some(Word::Paid)),
        (r#""success""#, hash, Some(Word::Completed)),
        (r#""error""#, "", Some(Word::Expired)),
        (r#""error""#, hash, Some(Word::Expired)),
        (r#""expired""#, "", Some(Word::Expired)),
        (r#""processing""#, hash, Some(Word::InAnalysis)),
        (r#""refunded""#, "", None),
        (r#""Paid""#, "", None),
        ("7", hash, None),
    ];
    for (status, more, word) in cases {
        let reading = reading_of(&format!(r#""status":{status}{more}"#));
        assert_eq!(reading.word, *word, "{status}{more}");
        assert_eq!(reading.provider_status, status.trim_matches('"'), "{status}");
        assert_eq!((reading.dating, reading.currency, reading.proof), (Dating::Snapshot, None, false));
    }
    assert_eq!(reading_of(r#""status":"<i>novo\u0000</i>""#).provider_status, "inovo/i");
}

#[test]
fn amounts_in_reais() {
    let known = |minor| Amount::Known(Money::from_minor(minor).unwrap());
    let unreadable = |text: &str| Amount::Unreadable(text.to_owned());
    let cases = [
        (r#""1.10""#, known(110)),
        ("1.1", known(110)),
        (r#""1.1e2""#, known(11000)),
        ("3.0900000000000034", known(309)),
        (r#""0""#, known(0)),
        (r#""1,10""#, unreadable("1,10")),
        (r#""R$ 1.10""#, unreadable("R1.10")),
        (r#""1.105""#, unreadable("1.105")),
        (r#""-1.10""#, unreadable("-1.10")),
        ("1e99", unreadable("1e99")),
        ("[1.10]", unreadable("not a number")),
        ("null", Amount::Absent),
    ];
    for (literal, expected) in cases {
        assert_eq!(
            reading_of(&format!(r#""status":"paid","amount":{literal}"#)).gross,
            expected,
            "{literal}"
        );
    }
    assert_eq!(reading_of(r#""status":"paid","custom_data":{"amount_usdt":"0.20"}"#).gross, Amount::Absent);
}

#[test]
fn only_what_is_paid_has_a_date() {
    let when = r#""payment_date_time":"13/02/2026, 11:46:21","confirmed_at":"13/02/2026, 11:46:25""#;
    let (paid, confirmed) = ("2026-02-13T11:46:21.000000-03:00", "2026-02-13T11:46:25.000000-03:00");
    let cases = [
        (format!(r#""status":"paid",{when}"#), Some(paid)),
        (format!(r#""status":"success",{when}"#), Some(paid)),
        (r#""status":"paid","confirmed_at":"13/02/2026, 11:46:25""#.to_owned(), Some(confirmed)),
        (
            r#""status":"paid","payment_date_time":"02/13/2026, 11:46:21","confirmed_at":"13/02/2026, 11:46:25""#
                .to_owned(),
            Some(confirmed),
        ),
        (r#""status":"paid","payment_date_time":20260213,"confirmed_at":{}"#.to_owned(), None),
        (r#""status":"paid","created_at":"13/02/2026, 11:46:25""#.to_owned(), None),
        (format!(r#""status":"paid",{when},"custom_data":{{"transaction_hash":"0xabc"}}"#), None),
        (format!(r#""status":"processing",{when}"#), None),
    ];
    for (fields, expected) in cases {
        assert_eq!(reading_of(&fields).occurred.map(|at| at.to_string()).as_deref(), expected, "{fields}");
    }
}

#[test]
fn details_are_an_allow_list() {
    let long = "f".repeat(10_000);
    let reading = reading_of(&format!(
        r#""status":"paid","payer_info":"Fulano - 1","description":"d","custom_data":{{"transaction_hash":"{long}",
        "amount_usdt":0.20216,"chain_name":"Arbi\u0000trum\u202e ção","receiver_wallet":"0xb0b","cpf":"1"}}"#
    ));
    let shown: Vec<(&str, &str)> =
        reading.details.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let cut = "f".repeat(DETAIL_CHARS_MAX);
    assert_eq!(shown, [("amount_usdt", "0.20216"), ("chain_name", "Arbitrum o"), (HASH, cut.as_str())]);
    assert!(!format!("{reading:?}").contains("Fulano"));
    assert!(reading_of(r#""status":"paid","custom_data":[{"chain_name":"x"}]"#).details.is_empty());
}

#[test]
fn names() {
    let named = |names: &str| {
        let finding = finding_of(&format!(r#""status":"paid"{names}"#))?;
        assert_eq!(finding.token.as_ref().map(Token::as_str), Some(TOKEN));
        let reference = finding.reference.map(|name| name.to_string());
        Ok::<_, Trouble>((reference.unwrap(), finding.provider_ref.map(|name| name.to_string())))
    };
    let pair = |reference: &str, txid: Option<&str>| Ok((reference.to_owned(), txid.map(str::to_owned)));
    assert_eq!(named(r#","txid":"tx1","custom_id":"PN1","id":"x""#), pair("PN1", Some("tx1")));
    assert_eq!(named(r#","txid":"tx1","custom_id":"""#), pair("tx1", Some("tx1")));
    assert_eq!(named(r#","txid":"tx1","custom_id":null"#), pair("tx1", Some("tx1")));
    assert_eq!(named(r#","txid":1,"custom_id":900"#), pair("900", Some("1")));
    assert_eq!(named(r#","custom_id":"PN1""#), pair("PN1", None));
    let broken = [
        String::new(),
        r#","id":"tx1""#.to_owned(),
        r#","txid":{},"custom_id":[]"#.to_owned(),
        r#","txid":"..","custom_id":"PN1""#.to_owned(),
        r#","txid":"tx1","custom_id":".""#.to_owned(),
        format!(r#","txid":"tx1","custom_id":"{}""#, "9".repeat(201)),
    ];
    for names in broken {
        assert!(matches!(named(&names), Err(Trouble::Broken(_))), "{names}");
    }
}

#[test]
fn troubles() {
    let refused = |envelope: &str, result: &str| {
        format!(r#"{{"http_code":200,"success":false,"{envelope}":{{"result":"{result}","message":"x"}}}}"#)
    };
    let not_there = |status| Err(Trouble::NotThere { status });
    let broken = |what: &str| Err(Trouble::Broken(what.to_owned()));
    let credentials = Err(Trouble::Credentials { status: 401 });
    let (unknown, other) = (refused("details", "not_found"), refused("info", "account_not_enabled"));
    let no_success = |word: &str| broken(&format!("its answer says no success, with {word}"));
    let data = r#"{"txid":"tx1","status":"paid"}"#;
    let cases: &[(u16, &str, Result<Findings, Trouble>)] = &[
        (200, &unknown, not_there(200)),
        (200, &refused("info", "not_found"), not_there(200)),
        (400, &unknown, not_there(400)),
        (404, &refused("details", "get_notification_error"), not_there(404)),
        (404, "", not_there(404)),
        (401, &unknown, credentials.clone()),
        (401, &other, credentials),
        (429, &unknown, Err(Trouble::TooFast { status: 429, retry_after: None })),
        (500, &unknown, Err(Trouble::Down { status: 500, retry_after: None })),
        (400, &other, broken("it answered HTTP 400")),
        (200, &other, no_success("account_not_enabled")),
        (200, &refused("details", "get_notification_error"), no_success("get_notification_error")),
        (200, r#"{"success":false}"#, no_success("no result word")),
        (200, &format!(r#"{{"success":"true","info":{{"data":{data}}}}}"#), no_success("no result word")),
        (200, &format!(r#"{{"info":{{"data":{data}}}}}"#), no_success("no result word")),
        (200, r#"{"success":true}"#, broken("its answer has no `data`")),
        (200, r#"{"success":true,"info":{"data":[]}}"#, broken("its answer has no `data`")),
        (200, r#"{"success":true,"info":{"data":{"txid":"a"}}}"#, broken("its answer has no `status`")),
        (200, "", broken("its answer is empty")),
        (200, "<html>", broken("its answer is HTML or XML where JSON belongs")),
    ];
    for (status, body, expected) in cases {
        assert_eq!(&read(*status, body), expected, "{status} {body}");
    }
    let other_envelope = format!(r#"{{"success":true,"info":{{}},"details":{{"data":{data}}}}}"#);
    let with_result = format!(r#"{{"success":true,"info":{{"result":"not_found","data":{data}}}}}"#);
    assert_eq!(read(200, &with_result).unwrap().findings.len(), 1, "success is what counts");
    assert_eq!(read(200, &other_envelope).unwrap().findings.len(), 1);
}
