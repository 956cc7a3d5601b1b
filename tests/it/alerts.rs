//! What operators are told: by the status while it is so, and once by webhook; never in the ledger, a list or a stream.

use crate::support::hooks::{SOON, make};
use crate::support::shop::{Received, answer};
use crate::support::{Act, Bank, Client, Daemon, Setup, Shop, until};
use serde_json::{Value, json};

async fn status(client: &Client) -> Value {
    client.get("/v1/admin/status").await.ok()
}

/// The alert of a type, once it is raised.
async fn raised(client: &Client, kind: &str) -> Value {
    until(kind, async || {
        let status = status(client).await;
        status["alerts"].as_array().unwrap().iter().find(|alert| alert["type"] == kind).cloned()
    })
    .await
}

/// The alert of a type, once it has cleared.
async fn cleared(client: &Client, kind: &str) -> Value {
    until(&format!("{kind} clears"), async || {
        let status = status(client).await;
        let of = |list: &str| {
            let alerts = status[list].as_array().unwrap().iter();
            alerts.clone().find(|alert| alert["type"] == kind).cloned()
        };
        of("alerts_cleared").filter(|_| of("alerts").is_none())
    })
    .await
}

/// The alerts of a type that a shop was told of.
fn told(shop: &Shop, kind: &str) -> Vec<Received> {
    shop.confirmed().into_iter().filter(|received| received.kind() == kind).collect()
}

#[tokio::test]
async fn refused_credentials_are_told_once_until_they_are_good() {
    let (bank, shop, other) = (Bank::open(), Shop::open(), Shop::open());
    let setup = Setup::new(&bank).webhooks(SOON).account("loja-outra", &bank, "");
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    make(&client, &shop.url(), json!({"events": ["operator.*"]})).await;
    make(&client, &other.url(), json!({"events": ["operator.*"], "accounts": ["loja-outra"]})).await;
    bank.says("PED-1", "paid", "10", "0");
    client.register("PED-1", "10.00").await;
    assert_eq!(status(&client).await["alerts"], json!([]));
    bank.always(Act::Answer(401, "", Vec::new()));
    for _ in 0..3 {
        client.poll("PED-1").await;
    }
    let kind = "operator.credentials_refused";
    let alert = raised(&client, kind).await;
    assert_eq!(alert["account"], "loja-picpay", "{alert}");
    assert!(
        alert["since"].is_string() && alert["message"].as_str().is_some_and(|text| text.contains("SIGHUP"))
    );
    assert_eq!(alert["cleared_at"], Value::Null);
    until("the webhook is told", async || (!told(&shop, kind).is_empty()).then_some(())).await;
    let event = told(&shop, kind)[0].json();
    assert_eq!((&event["seq"], &event["data"]["account"]), (&Value::Null, &json!("loja-picpay")), "{event}");
    // A token of another account learns nothing.
    let stranger = daemon.client_with("admin", &["--accounts", "loja-outra"]);
    assert_eq!(status(&stranger).await["alerts"], json!([]));
    bank.truthful();
    client.poll("PED-1").await.ok();
    let alert = cleared(&client, kind).await;
    assert!(alert["cleared_at"].is_string(), "{alert}");
    assert_eq!(told(&shop, kind).len(), 1, "once");
    assert!(told(&other, kind).is_empty(), "another account's webhook is not told");
    let events = client.all("/v1/events").await;
    assert!(events.iter().all(|event| event["type"].as_str().unwrap().starts_with("order.")), "{events:?}");
}

#[tokio::test]
async fn a_callback_that_is_given_up_is_told_until_it_is_processed() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let resolver =
        "first_pause = \"10ms\"\nmax_pause = \"50ms\"\ngive_up_after = \"300ms\"\ntimeout = \"3s\"\n";
    let daemon = Daemon::with(Setup::new(&bank).webhooks(SOON).resolver(resolver));
    let client = daemon.client();
    make(&client, &shop.url(), json!({"events": ["operator.receipt_failed"]})).await;
    bank.says("PED-1", "paid", "10", "0");
    bank.always(Act::Answer(500, "", Vec::new()));
    let receipt = client.callback("PED-1").await;
    let alert = raised(&client, "operator.receipt_failed").await;
    assert_eq!(alert["account"], "loja-picpay", "{alert}");
    until("the webhook is told", async || (shop.confirmed().len() == 1).then_some(())).await;
    bank.truthful();
    client.post(&format!("/v1/callbacks/{receipt}/reprocess"), &json!({})).await.ok();
    cleared(&client, "operator.receipt_failed").await;
}

#[tokio::test]
async fn a_disk_that_fills_up_is_told_while_events_can_still_be_written() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let first = Daemon::start(&bank);
    let free = status(&first.client()).await["disk"]["free_bytes"].as_u64().unwrap();
    drop(first);
    let some_of_it = format!("{}MiB", free / 3 * 2 / 1024 / 1024);
    let setup = Setup::new(&bank).webhooks(SOON).env("RAZAO__DATA__MIN_FREE", &some_of_it);
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    let alert = raised(&client, "operator.disk_low").await;
    assert_eq!(alert["account"], Value::Null, "{alert}");
    // Writes go on: the shop subscribes, and would be told.
    make(&client, &shop.url(), json!({"events": ["operator.*"]})).await;
}

#[tokio::test]
async fn a_disabled_webhook_stands_in_the_status_until_it_is_enabled() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let daemon = Daemon::with(Setup::new(&bank).webhooks(SOON));
    let client = daemon.client();
    let id = make(&client, &shop.url(), json!({})).await["id"].as_str().unwrap().to_owned();
    shop.next(answer(410));
    client.register("PED-1", "10.00").await;
    let alert = raised(&client, "operator.webhook_disabled").await;
    assert!(alert["message"].as_str().is_some_and(|text| text.contains(&id)), "{alert}");
    client.post(&format!("/v1/webhooks/{id}/enable"), &json!({})).await.ok();
    cleared(&client, "operator.webhook_disabled").await;
    // What somebody wanted is no alarm.
    client.patch(&format!("/v1/webhooks/{id}"), &json!({"status": "disabled"})).await.ok();
    let status = until("it is disabled", async || {
        let webhook = client.get(&format!("/v1/webhooks/{id}")).await.ok();
        (webhook["status"] == "disabled").then_some(())
    });
    status.await;
    assert_eq!(self::status(&client).await["alerts"], json!([]));
}
