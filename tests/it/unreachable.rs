//! Providers that cannot be reached: each failure stands in the callback's history in words, and holds back nobody else.

use crate::support::setup::{PICPAY_TOKEN, SELLER_TOKEN};
use crate::support::{Bank, Client, Daemon, Setup, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

/// An account whose provider is at this address.
fn account(id: &str, base_url: &str) -> String {
    format!(
        "[[accounts]]\nid = \"{id}\"\nprovider = \"picpay\"\nbase_url = \"{base_url}\"\n[accounts.credentials]\n\
         picpay_token = \"{PICPAY_TOKEN}\"\nseller_token = \"{SELLER_TOKEN}\"\n"
    )
}

/// A server that lets in whoever comes, and does so with each.
fn server(act: impl Fn(std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            act(stream);
        }
    });
    port
}

async fn attempts(client: &Client, account: &str) -> Value {
    let body = br#"{"referenceId":"PED-1"}"#.to_vec();
    let path = format!("/callbacks/{account}");
    let receipt =
        client.send(client.callback_raw(&path, SELLER_TOKEN, body)).await.is(200)["receipt"].clone();
    let path = format!("/v1/callbacks/{}", receipt.as_str().unwrap());
    until("two attempts", async || {
        let callback = client.get(&path).await.ok();
        (callback["attempts"].as_array().unwrap().len() >= 2).then_some(callback)
    })
    .await
}

#[tokio::test]
async fn each_failure_is_told_and_holds_back_nobody() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "10", "0");
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let plain = server(|mut stream| {
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 no tls here\r\n\r\n");
    });
    let drip = server(|mut stream| {
        std::thread::spawn(move || {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
            // A byte now and then, until the other side has had enough.
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    });
    let cases = [
        ("no-name", "http://no-such-provider.invalid".to_owned(), "no connection"),
        ("refused", format!("http://127.0.0.1:{refused}"), "no connection"),
        ("no-tls", format!("https://127.0.0.1:{plain}"), "no connection"),
        ("drip", format!("http://127.0.0.1:{drip}"), "time limit"),
    ];
    let mut setup =
        Setup::new(&bank).resolver("first_pause = \"20ms\"\nmax_pause = \"100ms\"\ntimeout = \"700ms\"\n");
    for (id, base_url, _) in &cases {
        setup.accounts.push_str(&account(id, base_url));
    }
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    for (id, _, told) in &cases {
        let callback = attempts(&client, id).await;
        assert_eq!(callback["outcome"], "pending", "{id}");
        for attempt in callback["attempts"].as_array().unwrap() {
            assert!(attempt["status"].is_null(), "{id}: {attempt}");
            assert!(attempt["error"].as_str().unwrap().contains(told), "{id}: {attempt}");
        }
    }
    assert_eq!(client.news("PED-1").await["state"], "paid", "the account that works goes on");
    let orders = client.get("/v1/orders?state=created").await.ok();
    assert_eq!(orders["data"], json!([]), "nothing is made of silence");
    daemon_stops(daemon);
}

/// Calls under way do not keep it from ending.
fn daemon_stops(mut daemon: Daemon) {
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn names_that_climb_never_reach_a_request_line() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let long = "x".repeat(10_000);
    for name in [".", "..", "a\u{7}b", long.as_str()] {
        let body = json!({ "referenceId": name }).to_string().into_bytes();
        let reply = client.send(client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, body)).await;
        assert_eq!(reply.status, 400, "{name:.20}: {}", reply.text());
    }
    for name in ["../../admin", "..%2f..", "a/b?c=d#e", "%2e%2e"] {
        bank.says(name, "paid", "10", "0");
        let body = json!({ "referenceId": name }).to_string().into_bytes();
        client.send(client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, body)).await.is(200);
    }
    client.idle().await;
    let lines = bank.lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in lines {
        let path = line.split(' ').nth(1).unwrap();
        let segments: Vec<&str> = path.split('/').collect();
        assert_eq!(segments.len(), 6, "one segment each: {line}");
        assert!(!segments.contains(&"..") && !path.contains(['?', '#']), "{line}");
    }
}
