//! A callback's trail through the log: from the request's id to the receipt, from the receipt to the entries.

use crate::support::{Bank, Daemon, SELLER_TOKEN, Setup, until};
use serde_json::{Value, json};

const KEY: &str = "chave-secreta-0123456789abcdef";

/// The log's lines that are JSON.
fn lines(daemon: &Daemon) -> Vec<Value> {
    daemon.printed().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn a_callback_is_followed_from_its_request_to_its_entries() {
    let bank = Bank::open();
    let setup = Setup::new(&bank).log("format = \"json\"").account(
        "loja-chave",
        &bank,
        &format!("callback_key = \"{KEY}\""),
    );
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    let path = format!("/callbacks/loja-chave/{KEY}?cpf=12345678909");
    let body = json!({"referenceId": "PED-1", "buyer": "Maria da Silva"}).to_string().into_bytes();
    let reply = client.send(client.callback_raw(&path, SELLER_TOKEN, body)).await;
    let id = reply.header("x-request-id").expect("the answer names its request").to_owned();
    let receipt = reply.is(200)["receipt"].as_str().unwrap().to_owned();
    let seqs = client.settled(&receipt).await["entries"].as_array().unwrap().clone();
    assert_eq!(seqs.len(), 2, "created and paid");
    let seqs = seqs.iter().map(Value::to_string).collect::<Vec<_>>().join(",");

    let kept = until("the line of the request", async || {
        lines(&daemon).into_iter().find(|line| line["span"]["request_id"] == id.as_str())
    })
    .await;
    assert_eq!(kept["receipt"], receipt.as_str(), "{kept}");
    assert_eq!(kept["account"], "loja-chave", "{kept}");
    assert_eq!(kept["span"]["route"], "/callbacks/{account}/{callback_key}", "{kept}");
    let recorded = until("the line of the entries", async || {
        let found = |line: &Value| line["receipt"] == receipt.as_str() && !line["seqs"].is_null();
        lines(&daemon).into_iter().find(found)
    })
    .await;
    assert_eq!((&recorded["seqs"], &recorded["outcome"]), (&json!(seqs), &json!("applied")), "{recorded}");
    assert_eq!(recorded["account"], "loja-chave", "{recorded}");
    let printed = daemon.printed();
    for never in [KEY, "12345678909", "Maria", "PED-1", SELLER_TOKEN] {
        assert!(!printed.contains(never), "{never} is in the log:\n{printed}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_names_requests_and_nobody_else() {
    let bank = Bank::open();
    let ask = async |daemon: &Daemon, name: &str| {
        let bare = daemon.anonymous();
        let reply = bare.send(bare.request("GET", "/healthz").header("x-request-id", name)).await;
        reply.header("x-request-id").unwrap().to_owned()
    };
    let stranger = Daemon::start(&bank);
    let made = ask(&stranger, "from-nowhere").await;
    assert!(made.len() >= 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    assert_ne!(ask(&stranger, "from-nowhere").await, made, "each request has its own");
    let missing = stranger.anonymous().get("/no/such/path").await;
    assert!(missing.header("x-request-id").is_some(), "errors are named, too");
    let trusting = Daemon::with(Setup::new(&bank).env("RAZAO__SERVER__TRUSTED_PROXIES", "127.0.0.1"));
    assert_eq!(ask(&trusting, "edge-7f.3_a").await, "edge-7f.3_a");
    assert_ne!(ask(&trusting, "two words").await, "two words");
    assert_ne!(ask(&trusting, &"x".repeat(101)).await, "x".repeat(101));
}

#[tokio::test]
async fn answers_are_kept_by_nobody() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    for path in ["/healthz", "/v1/orders", "/v1/admin/status", "/metrics", "/no/such/path"] {
        let reply = daemon.client().get(path).await;
        let headers = [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ];
        for (name, value) in headers {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
    }
}
