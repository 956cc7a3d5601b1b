//! Every documented status of the yapay adapter, unknown words, and what a hostile party might send.

use super::*;
use crate::domain::ids::AccountId;
use crate::providers::provider::Credentials;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

const TOKEN: &str = "0f3b6a9c1d2e4f5061728394a5b6c7d";

fn merchant() -> Merchant {
    Merchant {
        id: AccountId::parse("loja-yapay").unwrap(),
        currency: Currency::BRL,
        zone: TimeZone::get("America/Sao_Paulo").unwrap(),
        base_url: "https://yapay.example".to_owned(),
        credentials: Credentials(BTreeMap::from([(
            "token_account".to_owned(),
            vec!["conta&1".into(), "conta-antiga".into()],
        )])),
    }
}

fn token() -> Question {
    Question::Token(Token::parse(TOKEN).unwrap())
}

fn hear(body: &[u8]) -> Result<Notice, Unreadable> {
    Yapay.hear(&merchant(), &Incoming { headers: &[], content_type: None, query: None, body })
}

fn read(question: &Question, status: u16, body: &str) -> Result<Findings, Trouble> {
    let answer = Answer { status, content_type: None, retry_after: None, body: body.as_bytes().to_vec() };
    Yapay.read(&merchant(), question, &answer)
}

fn success(transaction: &str) -> String {
    format!(
        r#"{{"message_response":{{"message":"success"}},"data_response":{{"transaction":{transaction}}}}}"#
    )
}

/// A transaction's reading from its fields beside token and order number.
fn reading_of(fields: &str) -> Reading {
    let body = success(&format!(r#"{{"token_transaction":"{TOKEN}","order_number":"P-1",{fields}}}"#));
    let mut findings =
        read(&token(), 200, &body).unwrap_or_else(|trouble| panic!("{fields}: {trouble}")).findings;
    assert_eq!(findings.len(), 1);
    findings.remove(0).reading
}

fn known(minor: i64) -> Amount {
    Amount::Known(Money::from_minor(minor).unwrap())
}

#[test]
fn only_the_token_counts() {
    let heard = [
        format!("token_transaction={TOKEN}"),
        format!("token_transaction={TOKEN}\r\n"),
        format!("transaction[status_id]=7&token_transaction={TOKEN}&transaction[seller_token]=conta%261"),
        format!("token_transaction={TOKEN}&transaction%5Bseller_token%5D=conta-antiga"),
        format!("token_transaction={TOKEN}&transaction[seller_token]=&transaction[order_number]="),
        format!("transaction%5Bcustomer%5D%5Bcity%5D=S%E3o+Paulo&token_transaction={TOKEN}"),
        format!("a=%zz&=&&b&token_transaction={TOKEN}&transaction[order_number]=S%C3%A3o/1"),
        format!("{}token_transaction={TOKEN}", "transaction[products][][code]=1&".repeat(500)),
    ];
    for body in heard {
        let notice = hear(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(notice, Notice { questions: vec![token()], ..Notice::default() }, "{body}");
    }
}

#[test]
fn what_yapay_never_sends_is_unreadable() {
    let long = "a".repeat(10_000);
    let cases = [
        (String::new(), "no `token_transaction`"),
        ("token_transaction=".to_owned(), "no `token_transaction`"),
        (format!(r#"{{"token_transaction":"{TOKEN}"}}"#), "no `token_transaction`"),
        (format!("transaction[token_transaction]={TOKEN}"), "no `token_transaction`"),
        ("token_transaction=..".to_owned(), "a token is 1 to"),
        ("token_transaction=%2E%2E".to_owned(), "a token is 1 to"),
        ("token_transaction=a%00b".to_owned(), "a token is 1 to"),
        (format!("token_transaction={long}"), "a token is 1 to"),
        (format!("token_transaction={TOKEN}&transaction[order_number]=.."), "a reference is 1 to"),
        (format!("token_transaction={TOKEN}&transaction[order_number]={long}"), "a reference is 1 to"),
        (format!("token_transaction={TOKEN}&transaction[seller_token]=outra"), "not this account's"),
    ];
    for (body, words) in cases {
        let shown = hear(body.as_bytes()).expect_err(&body).to_string();
        assert!(shown.contains(words) && shown.len() < 250, "{body}: {shown}");
        assert!(!shown.contains("outra"), "{shown}");
    }
}

#[test]
fn asks_by_the_brief_route_first() {
    let url = |question: &Question| Yapay.ask(&merchant(), None, question).url.expose_secret().to_owned();
    let base = "https://yapay.example/api/v3/transactions";
    let parameters = format!("token_account=conta%261&token_transaction={TOKEN}");
    assert_eq!(url(&token()), format!("{base}/get_by_token_brief?{parameters}"));
    let older = Question::ProviderRef(ProviderRef::parse(TOKEN).unwrap());
    assert_eq!(url(&older), format!("{base}/get_by_token?{parameters}"));
    let hostile = Question::Token(Token::parse("a&token_account=b/../#?").unwrap());
    assert!(url(&hostile).ends_with("&token_transaction=a%26token_account%3Db%2F..%2F%23%3F"));
    let shown = format!("{:?}", Yapay.ask(&merchant(), None, &token()));
    assert_eq!(shown, format!("GET {base}/get_by_token_brief"), "the account's token never prints");
}

#[test]
fn a_missing_brief_route_leads_to_the_older_one() {
    let older = Question::ProviderRef(ProviderRef::parse(TOKEN).unwrap());
    for body in ["", "<html>", r#"{"status":404,"error":"Not Found"}"#, "[]"] {
        let left = Findings { findings: Vec::new(), questions: vec![older.clone()] };
        assert_eq!(read(&token(), 404, body), Ok(left), "{body}");
        assert_eq!(read(&older, 404, body), Err(Trouble::NotThere { status: 404 }), "{body}");
    }
    let body = success(&format!(r#"{{"token_transaction":"{TOKEN}","order_number":"P-1","status_id":7}}"#));
    assert_eq!(read(&older, 200, &body), read(&token(), 200, &body));
}

#[test]
fn polls_by_the_transaction_token() {
    let reference = Reference::parse("P-1").unwrap();
    let name = ProviderRef::parse(TOKEN).unwrap();
    let by = |provider_ref| {
        Yapay.poll(Known { reference: &reference, provider_ref, token: None, known_since: Time(0) })
    };
    assert_eq!(by(None), None);
    assert_eq!(by(Some(&name)), Some(token()));
}

#[test]
fn every_status() {
    let cases: &[(&str, Option<Word>, &str)] = &[
        (
            r#""status_id":4,"status_name":"Aguardando Pagamento""#,
            Some(Word::Created),
            "4 Aguardando Pagamento",
        ),
        (r#""status_id":5,"status_name":"Em Processamento""#, Some(Word::Created), "5 Em Processamento"),
        (r#""status_id":6,"status_name":"Aprovada""#, Some(Word::Paid), "6 Aprovada"),
        (r#""status_id":"6","status_name":"approved""#, Some(Word::Paid), "6 approved"),
        (r#""status_id":7,"status_name":"Cancelada""#, Some(Word::Closed), "7 Cancelada"),
        (r#""status_id":24,"status_name":"Em Contestação""#, Some(Word::Chargeback), "24 Em Contestação"),
        (r#""status_id":87,"status_name":"Em Monitoramento""#, Some(Word::InAnalysis), "87 Em Monitoramento"),
        (r#""status_id":88,"status_name":"Em Recuperação""#, Some(Word::Created), "88 Em Recuperação"),
        (r#""status_id":89,"status_name":"Reprovada""#, Some(Word::Expired), "89 Reprovada"),
        (r#""status_id":184,"status_name":null"#, Some(Word::InAnalysis), "184"),
        (r#""status_id":3,"status_name":"<b>Nova</b>""#, None, "3 bNova/b"),
        (r#""status_id":6.0,"status_name":"""#, None, "6.0"),
        (r#""status_id":"approved","status_name":{}"#, None, "approved"),
    ];
    for (fields, word, status) in cases {
        let reading = reading_of(fields);
        assert_eq!((reading.word, reading.provider_status.as_str()), (*word, *status), "{fields}");
        assert_eq!((reading.dating, reading.currency), (Dating::Snapshot, None));
    }
}

#[test]
fn closed_is_proven_by_approval_or_a_finished_refund() {
    let cases = [
        (r#""status_id":7"#, false),
        (r#""status_id":7,"payment":{"date_approval":null}"#, false),
        (r#""status_id":7,"payment":{"date_approval":""}"#, false),
        (r#""status_id":7,"payment":{"date_approval":0}"#, false),
        (r#""status_id":7,"payment":{"date_approval":1771612562}"#, true),
        (r#""status_id":7,"payment":{"date_approval":"2026-02-20T15:36:02"}"#, true),
        (r#""status_id":7,"refunds":[{"value":1,"status_id":155}]"#, false),
        (r#""status_id":7,"refunds":[{"value":"?","status_id":157}]"#, true),
        (r#""status_id":89,"payment":{"date_approval":1771612562}"#, false),
    ];
    for (fields, proof) in cases {
        assert_eq!(reading_of(fields).proof, proof, "{fields}");
    }
}

#[test]
fn approval_dates_what_is_paid() {
    let cases = [
        (r#""status_id":6,"payment":{"date_approval":1771612562}"#, Some("2026-02-20T18:36:02.000000Z")),
        (r#""status_id":6,"payment":{"date_approval":"1771612562"}"#, Some("2026-02-20T18:36:02.000000Z")),
        (r#""status_id":6,"payment":{"date_approval":1771612562000}"#, None),
        (r#""status_id":6,"payment":{"date_approval":1.7e9}"#, None),
        (r#""status_id":6,"payment":{"date_approval":"20/02/2026"}"#, None),
        (r#""status_id":6,"payment":{"date_approval":[1771612562]}"#, None),
        (r#""status_id":24,"payment":{"date_approval":1771612562}"#, None),
        (r#""status_id":7,"payment":{"date_approval":1771612562}"#, None),
    ];
    for (fields, expected) in cases {
        let occurred = reading_of(fields).occurred.map(|at| at.to_string());
        assert_eq!(occurred.as_deref(), expected, "{fields}");
    }
}

#[test]
fn gross_is_the_price_without_interest() {
    let unreadable = |text: &str| Amount::Unreadable(text.to_owned());
    let cases = [
        (r#"{"price_original":"142.0","price_payment":"147.69"}"#, known(14200)),
        (r#"{"price_original":650.0}"#, known(65000)),
        (r#"{"price_original":"1.42e2"}"#, known(14200)),
        (r#"{"price_original":3.0900000000000034}"#, known(309)),
        (r#"{"price_original":"3.095"}"#, unreadable("3.095")),
        (r#"{"price_original":"142,00"}"#, unreadable("142,00")),
        (r#"{"price_original":"-1"}"#, unreadable("-1")),
        (r#"{"price_original":1e300}"#, unreadable("1e300")),
        (r#"{"price_original":{"cpf":"1"}}"#, unreadable("not a number")),
        (r#"{"price_original":null}"#, Amount::Absent),
        (r#"{"price_payment":"147.69"}"#, Amount::Absent),
        (r#""nothing""#, Amount::Absent),
    ];
    for (payment, expected) in cases {
        assert_eq!(reading_of(&format!(r#""status_id":6,"payment":{payment}"#)).gross, expected, "{payment}");
    }
}

#[test]
fn finished_refunds_add_up() {
    let unreadable = |text: &str| Amount::Unreadable(text.to_owned());
    let cases = [
        ("null", Amount::Absent),
        ("[]", known(0)),
        (r#"[{"value":142.0,"status_id":157}]"#, known(14200)),
        (
            r#"[{"value":"10.0","status_id":"157"},{"value":0.30000000000000004,"status_id":157}]"#,
            known(1030),
        ),
        (r#"[{"value":1e1,"status_id":157},{"value":"x","status_id":161}]"#, known(1000)),
        (
            r#"[{"value":1,"status_id":155},{"value":1,"status_id":156},{"value":1,"status_id":161},{"value":1,"status_id":183},{"value":1,"status_id":9}]"#,
            known(0),
        ),
        (r#"[{"value":10.0,"status_id":157},{"value":"10,0","status_id":157}]"#, unreadable("10,0")),
        (r#"[{"value":-1,"status_id":157}]"#, unreadable("-1")),
        (r#"[{"value":null,"status_id":157}]"#, unreadable("a finished refund without a value")),
        (r#"[{"value":10.0}]"#, unreadable("a refund without a status")),
        (r#"["10.0"]"#, unreadable("a refund without a status")),
        (r#"{"value":10.0}"#, unreadable("refunds are not a list")),
        (
            r#"[{"value":9999999999999.99,"status_id":157},{"value":0.01,"status_id":157}]"#,
            unreadable("a sum beyond all bounds"),
        ),
    ];
    for (refunds, expected) in cases {
        assert_eq!(
            reading_of(&format!(r#""status_id":7,"refunds":{refunds}"#)).refunded,
            expected,
            "{refunds}"
        );
    }
}

#[test]
fn names() {
    let named = |fields: &str| {
        let body = success(&format!("{{{fields}}}"));
        let findings = read(&token(), 200, &body)?.findings;
        let finding = findings.first().unwrap();
        let reference = finding.reference.as_ref().map(|name| name.to_string());
        Ok::<_, Trouble>((reference, finding.provider_ref.as_ref().unwrap().to_string()))
    };
    let own = format!(r#""status_id":6,"token_transaction":"{TOKEN}""#);
    let both = |reference: Option<&str>| Ok((reference.map(str::to_owned), TOKEN.to_owned()));
    assert_eq!(named(&format!(r#"{own},"order_number":"P-1""#)), both(Some("P-1")));
    assert_eq!(named(&format!(r#"{own},"order_number":77"#)), both(Some("77")));
    assert_eq!(named(&format!(r#"{own},"order_number":"""#)), both(None));
    assert_eq!(named(&own), both(None));
    let broken = [
        format!(r#"{own},"order_number":"..""#),
        format!(r#"{own},"order_number":"{}""#, "9".repeat(10_000)),
        r#""status_id":6"#.to_owned(),
        r#""status_id":6,"token_transaction":"another""#.to_owned(),
        r#""status_id":6,"token_transaction":["a"]"#.to_owned(),
        format!(r#""token_transaction":"{TOKEN}","status_id":true"#),
        format!(r#""token_transaction":"{TOKEN}""#),
    ];
    for fields in broken {
        assert!(matches!(named(&fields), Err(Trouble::Broken(_))), "{fields}");
    }
}

#[test]
fn troubles() {
    let error = |errors: &str| {
        format!(r#"{{"message_response":{{"message":"error"}},"error_response":{{{errors}}}}}"#)
    };
    let unknown = error(r#""general_errors":[{"code":"003042","message":"Transação não encontrada"}]"#);
    let invalid = error(r#""general_errors":[{"code":"001001","message":"Token inválido"}]"#);
    let blank = error(r#""general_errors":[{"code":"003041","message":"em branco"}]"#);
    let validation = error(r#""validation_errors":[{"code":"3","field":"price_discount"}]"#);
    let not_there = |status| Err(Trouble::NotThere { status });
    let broken = |what: &str| Err(Trouble::Broken(what.to_owned()));
    let done = success(&format!(r#"{{"token_transaction":"{TOKEN}","status_id":6}}"#));
    let cases: &[(u16, &str, Result<Findings, Trouble>)] = &[
        (200, &unknown, not_there(200)),
        (422, &unknown, not_there(422)),
        (404, &unknown, not_there(404)),
        (200, &invalid, not_there(200)),
        (400, &invalid, not_there(400)),
        (401, &invalid, Err(Trouble::Credentials { status: 401 })),
        (404, &blank, not_there(404)),
        (200, &blank, broken("it answered HTTP 200 with the error codes [003041]")),
        (422, &validation, broken("it answered HTTP 422 with the error codes [3]")),
        (200, &error(""), broken("it answered HTTP 200 with the error codes []")),
        (
            200,
            &error(r#""general_errors":{"code":[]}"#),
            broken("it answered HTTP 200 with the error codes []"),
        ),
        (429, &unknown, Err(Trouble::TooFast { status: 429, retry_after: None })),
        (503, &unknown, Err(Trouble::Down { status: 503, retry_after: None })),
        (502, "<html>", Err(Trouble::Down { status: 502, retry_after: None })),
        (302, "", broken("it redirects (HTTP 302), and redirects are not followed")),
        (422, &done, broken("it answered HTTP 422")),
        (200, "", broken("its answer is empty")),
        (200, "<?xml version=\"1.0\"?>", broken("its answer is HTML or XML where JSON belongs")),
        (200, "[]", broken("its answer has no `message_response`")),
        (200, r#"{"message_response":"success"}"#, broken("its answer has no `message_response`")),
        (200, r#"{"message_response":{"message":"success"}}"#, broken("its answer has no `transaction`")),
        (200, &success("[]"), broken("its answer has no `token_transaction`")),
    ];
    for (status, body, expected) in cases {
        assert_eq!(&read(&token(), *status, body), expected, "{status} {body}");
    }
}
