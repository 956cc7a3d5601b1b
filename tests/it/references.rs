//! References are text of shops and strangers: one percent-encoded segment in our URLs and in the bank's.

use crate::support::client::order_path;
use crate::support::{ANY, Bank, Client, Daemon, encoded};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[tokio::test]
async fn odd_references_make_the_whole_way() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let longest = "é".repeat(200);
    let odd = [
        "with space",
        "a/b",
        "a/../b",
        "a%2Fb",
        "100%",
        "a+b",
        "?x=1&y=2",
        "#frag",
        "pedido-ção-漢字-🙂",
        "tilde~ref",
        "~",
        "...",
        "semi;colon",
        "a\\b",
        "\"quoted\"",
        "{json}",
        "'; DROP TABLE orders; --",
        "<b>",
        "a:b@c",
        " leading",
        &longest,
    ];
    for reference in odd {
        let path = order_path(reference);
        let made = client.put(&path, &json!({"amount": "1.00", "currency": "BRL"})).await;
        assert_eq!(made.status, 201, "{reference:?}: {}", made.text());
        bank.says(reference, "paid", "1.00", "0");
        let order = client.news(reference).await;
        assert_eq!((&order["reference"], &order["state"]), (&json!(reference), &json!("paid")));
        assert_eq!(client.history(reference).await.len(), 2, "{reference:?}");
        let asked = format!("GET /ecommerce/public/payments/{}/status HTTP/1.1", encoded(reference));
        let lines = bank.lines();
        let last = lines.last().unwrap();
        // Several encodings are right, but it must be one segment, and exactly this reference.
        assert_eq!(bank.queries(reference), 1, "{reference:?} was asked as {last}, not {asked}");
    }
    assert_eq!(client.all("/v1/orders").await.len(), odd.len());
}

#[tokio::test]
async fn references_that_are_none_are_400() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for reference in ["a\u{0}b", "line\nbreak", "\u{7f}", "\u{85}", &"x".repeat(201), &"é".repeat(201)] {
        let path = order_path(reference);
        let body = json!({"amount": "1.00", "currency": "BRL"});
        client.put(&path, &body).await.problem(400, ANY);
        client.get(&path).await.problem_among(&[400, 404]);
        client.poll(reference).await.problem_among(&[400, 404]);
    }
    assert_eq!(client.ledger().await.len(), 0);
    assert_eq!(bank.lines(), [""; 0]);
}

#[tokio::test]
async fn a_reference_of_ten_thousand_characters_is_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let path = order_path(&"x".repeat(10_000));
    let reply = client.put(&path, &json!({"amount": "1.00", "currency": "BRL"})).await;
    assert!([400, 404, 414].contains(&reply.status), "{}", reply.status);
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.ledger().await.len(), 0);
}

/// A request exactly as written: URL libraries would resolve dots before they leave.
fn raw(client: &Client, method: &str, path: &str, body: &str) -> u16 {
    let host = client.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let token = client.token.as_deref().unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("answered {answer:?}"))
}

#[tokio::test]
async fn dots_lead_nowhere() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = r#"{"amount":"1.00","currency":"BRL"}"#;
    for dots in [".", "..", "%2E", "%2e%2e", "%2E%2E", "..%2F..", "../../v1/orders"] {
        let status = raw(&client, "PUT", &format!("/v1/orders/loja-picpay/{dots}"), body);
        // `..%2F..` is a name like any other once it is one segment.
        let fine: &[u16] = if dots == "..%2F.." { &[201] } else { &[400, 404, 405] };
        assert!(fine.contains(&status), "{dots} was answered {status}");
    }
    for broken in ["%", "%zz", "%ff%fe", "%C3"] {
        let status = raw(&client, "GET", &format!("/v1/orders/loja-picpay/{broken}"), "");
        assert!([400, 404].contains(&status), "{broken} was answered {status}");
    }
    let names: Vec<_> =
        client.all("/v1/orders").await.iter().map(|order| order["reference"].clone()).collect();
    assert_eq!(names, ["../.."]);
    assert_eq!(bank.lines(), [""; 0]);
}

#[tokio::test]
async fn a_path_that_is_not_utf8_names_no_order() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = serde_json::json!({"amount": "1.00", "currency": "BRL"});
    client.put("/v1/orders/loja-picpay/a%FF", &body).await.problem(400, "invalid-parameter");
    client.get("/v1/orders/loja-picpay/a%C3").await.problem(400, "invalid-parameter");
    assert_eq!(client.all("/v1/orders").await.len(), 0);
}
