//! `Idempotency-Key`: the same request twice is carried out once.

use crate::support::hooks::{Hooked, SOON};
use crate::support::shop::Shop;
use crate::support::{ACCOUNT, ANY, Bank, Client, Daemon, Reply, Setup, until};
use serde_json::{Value, json};

const PATH: &str = "/v1/orders:batch";

fn one(reference: &str) -> Value {
    json!({"orders": [{"account": ACCOUNT, "reference": reference, "amount": "1.00", "currency": "BRL"}]})
}

async fn keyed(client: &Client, path: &str, key: &str, body: &Value) -> Reply {
    let request = client.request("POST", path).header("idempotency-key", key);
    client.send(request.body(body.to_string())).await
}

fn replayed(reply: &Reply) -> bool {
    reply.header("idempotency-replayed") == Some("true")
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_also_after_a_kill() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let first = keyed(&daemon.client(), PATH, "k-1", &one("PED-1")).await;
    assert_eq!((first.is(200)["data"][0]["status"].clone(), replayed(&first)), (json!(201), false));
    let again = keyed(&daemon.client(), PATH, "k-1", &one("PED-1")).await;
    assert_eq!((again.status, &again.body, replayed(&again)), (200, &first.body, true));
    daemon.kill_9();
    daemon.restart();
    let again = keyed(&daemon.client(), PATH, "k-1", &one("PED-1")).await;
    assert_eq!((again.status, &again.body, replayed(&again)), (200, &first.body, true));
    let without = daemon.client().post(PATH, &one("PED-1")).await;
    assert_eq!(without.is(200)["data"][0]["status"], 200, "without a key it is carried out");
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn a_key_goes_with_one_request() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    keyed(&client, PATH, "k-1", &one("PED-1")).await.is(200);
    keyed(&client, PATH, "k-1", &one("PED-2")).await.problem(409, "idempotency-key-reused");
    keyed(&client, "/v1/reconciliations", "k-1", &json!({})).await.problem(409, "idempotency-key-reused");
    assert_eq!(client.ledger().await.len(), 1, "nothing was done");
    let other = keyed(&client, PATH, "k-2", &one("PED-2")).await;
    assert!(other.status == 200 && !replayed(&other));
}

#[tokio::test]
async fn a_key_belongs_to_a_subject_and_its_accounts() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("other", &bank, ""));
    let clients = [
        daemon.client(),
        daemon.client_with("orders:write", &["--subject", "another"]),
        daemon.client_with("orders:write", &["--accounts", ACCOUNT]),
        daemon.client_with("orders:write", &["--accounts", &format!("{ACCOUNT},other")]),
    ];
    for client in &clients {
        assert!(!replayed(&keyed(client, PATH, "k-1", &one("PED-1")).await));
    }
    // Another token of the same subject and accounts is the same caller.
    let renewed = daemon.client_with("orders:write orders:read", &["--subject", "another", "--ttl", "2h"]);
    assert!(replayed(&keyed(&renewed, PATH, "k-1", &one("PED-1")).await));
}

#[tokio::test]
async fn a_key_is_short_and_printable_and_comes_once() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    keyed(&client, PATH, &"k".repeat(256), &one("PED-1")).await.problem(400, ANY);
    keyed(&client, PATH, "", &one("PED-1")).await.problem(400, ANY);
    let twice = client.request("POST", PATH).header("idempotency-key", "a").header("idempotency-key", "b");
    client.send(twice.body(one("PED-1").to_string())).await.problem(400, ANY);
    let bytes = reqwest::header::HeaderValue::from_bytes(b"k\xc3\xa9y").unwrap();
    let foreign = client.request("POST", PATH).header("idempotency-key", bytes);
    client.send(foreign.body(one("PED-1").to_string())).await.problem(400, ANY);
    assert_eq!(client.ledger().await.len(), 0);
    keyed(&client, PATH, &"~".repeat(255), &one("PED-1")).await.is(200);
}

#[tokio::test]
async fn a_request_that_was_refused_leaves_its_key_free() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    keyed(&client, "/v1/reconciliations", "k-1", &json!({"orders": 7})).await.problem(422, ANY);
    let reply = keyed(&client, "/v1/reconciliations", "k-1", &json!({})).await;
    assert!(reply.status == 202 && !replayed(&reply));
    // The answer's headers are part of it.
    let again = keyed(&client, "/v1/reconciliations", "k-1", &json!({})).await;
    assert_eq!((again.status, &again.body), (202, &reply.body));
    assert!(replayed(&again) && again.header("location").is_some());
    assert_eq!(again.header("location"), reply.header("location"));
}

#[tokio::test]
async fn while_the_first_is_carried_out_the_second_is_told_so() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let lines =
        |n| json!({"account": ACCOUNT, "reference": format!("PED-{n}"), "amount": "1.00", "currency": "BRL"});
    let body = json!({"orders": (0..10_000).map(lines).collect::<Vec<Value>>()});
    let first = tokio::spawn({
        let (client, body) = (client.clone(), body.clone());
        async move { keyed(&client, PATH, "k-1", &body).await }
    });
    until("the first line's order", async || {
        let seq = client.get("/v1/ledger/head").await.ok()["seq"].as_u64();
        seq.filter(|seq| *seq > 0)
    })
    .await;
    let second = keyed(&client, PATH, "k-1", &body).await;
    if first.is_finished() {
        // A quick machine: then it is the answer of the first.
        assert!(second.status == 409 || replayed(&second), "{}", second.text());
    } else {
        second.problem(409, "idempotency-in-progress");
    }
    let first = first.await.unwrap();
    let third = keyed(&client, PATH, "k-1", &body).await;
    assert_eq!((first.status, replayed(&third), &third.body), (200, true, &first.body));
}

#[tokio::test]
async fn a_webhook_is_made_once_and_its_secret_is_the_same() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let daemon = Daemon::with(Setup::new(&bank).webhooks(SOON));
    let body = json!({"target": shop.url()});
    let first = keyed(&daemon.client(), "/v1/webhooks", "k-1", &body).await;
    let made = first.is(201);
    assert_eq!(
        first.header("location"),
        Some(format!("/v1/webhooks/{}", made["id"].as_str().unwrap()).as_str())
    );
    let again = keyed(&daemon.client(), "/v1/webhooks", "k-1", &body).await;
    assert_eq!((again.status, &again.body, replayed(&again)), (201, &first.body, true));
    assert_eq!(daemon.client().all("/v1/webhooks").await.len(), 1);
    keyed(&daemon.client(), "/v1/webhooks", "k-1", &json!({"target": shop.url(), "events": ["order.paid"]}))
        .await
        .problem(409, ANY);
}

#[tokio::test]
async fn a_secret_is_rotated_once_however_often_it_is_asked_for() {
    let mut hooked = Hooked::open().await;
    let path = format!("{}/rotate", hooked.path());
    let first = keyed(&hooked.client(), &path, "k-1", &json!({})).await;
    let rotated = first.is(200);
    assert_ne!(rotated["secret"], json!(hooked.secret));
    hooked.daemon.kill_9();
    hooked.daemon.restart();
    let again = keyed(&hooked.client(), &path, "k-1", &json!({})).await;
    assert_eq!((again.status, &again.body, replayed(&again)), (200, &first.body, true));
    // The old one still signs: with another rotation it would be the new one's turn to lapse.
    hooked.client().register("PED-1", "1.00").await;
    let came = until("the event", async || hooked.shop.confirmed().into_iter().next()).await;
    assert!(came.is_signed_with(&hooked.secret) && came.is_signed_with(rotated["secret"].as_str().unwrap()));
    keyed(&hooked.client(), &path, "k-1", &json!({"x": 1})).await.problem(409, "idempotency-key-reused");
    let other = keyed(&hooked.client(), &path, "k-2", &json!({})).await.is(200);
    assert_ne!(other["secret"], rotated["secret"]);
    hooked.client().post(&path, &json!({})).await.is(200);
}
