//! What operators are told: by the status while it is so, and once by webhook; never in the ledger, a list or a stream.

use crate::support::daemon::ALL_SCOPES;
use crate::support::hooks::{SOON, make};
use crate::support::mount::Mount;
use crate::support::shop::{Received, answer};
use crate::support::wall::Wall;
use crate::support::{
    Act, Bank, Client, Daemon, PATIENCE, Place, SELLER_TOKEN, Setup, Shop, until, until_within,
};
use serde_json::{Value, json};
use std::time::Duration;

const MIB: u64 = 1 << 20;

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
    cleared_within(PATIENCE, client, kind).await
}

async fn cleared_within(patience: Duration, client: &Client, kind: &str) -> Value {
    until_within(patience, &format!("{kind} clears"), async || {
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

/// The event of a type that a shop was told, which has no place in the ledger.
async fn told_once(shop: &Shop, kind: &str) -> Value {
    until(&format!("the webhook is told of {kind}"), async || (!told(shop, kind).is_empty()).then_some(()))
        .await;
    let events = told(shop, kind);
    assert_eq!(events.len(), 1, "once");
    let event = events[0].json();
    assert_eq!(event["seq"], Value::Null, "{event}");
    event
}

/// A client whose token outlives the jumps of its daemon's clock.
fn lasting(daemon: &Daemon) -> Client {
    daemon.client_with(ALL_SCOPES, &["--ttl", "30d"])
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
    let mut daemon = Daemon::with(Setup::new(&bank).webhooks(SOON));
    let client = daemon.client();
    make(&client, &shop.url(), json!({"events": ["operator.*"]})).await;
    let shown = status(&client).await;
    assert_eq!(shown["alerts"], json!([]));
    let some_of_it = shown["disk"]["free_bytes"].as_u64().unwrap() / 3 * 2 / MIB;
    let toml = daemon.place().setup.toml(&daemon.data());
    daemon.place().write(&toml.replace("min_free = \"1MiB\"", &format!("min_free = \"{some_of_it}MiB\"")));
    daemon.restart();
    let client = daemon.client();
    let alert = raised(&client, "operator.disk_low").await;
    assert_eq!(alert["account"], Value::Null, "{alert}");
    let event = told_once(&shop, "operator.disk_low").await;
    assert_eq!(event["data"]["message"], alert["message"], "{event}");
    client.register("PED-1", "10.00").await;
}

#[tokio::test]
async fn a_disk_with_space_again_is_well_again_and_told_of_anew_when_it_fills_up_again() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let kind = "operator.disk_low";
    let place = Place::new(Setup::new(&bank).webhooks(SOON).env("RAZAO__DATA__MIN_FREE", "8MiB"));
    let Some(mount) = Mount::at(&place.data(), 64) else { return };
    let daemon = Daemon::at(place);
    // Dropped before the daemon's directory is.
    let mount = mount;
    let client = daemon.client();
    make(&client, &shop.url(), json!({"events": ["operator.*"]})).await;
    let free = status(&client).await["disk"]["free_bytes"].as_u64().unwrap();
    // Between what writes need and twice that.
    mount.take(free - 12 * MIB);
    raised(&client, kind).await;
    told_once(&shop, kind).await;
    client.register("PED-1", "10.00").await;
    mount.free();
    let alert = cleared(&client, kind).await;
    assert!(alert["cleared_at"].is_string(), "{alert}");
    mount.take(free - 12 * MIB);
    raised(&client, kind).await;
    until("it is told anew", async || (told(&shop, kind).len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_clock_that_jumps_is_told_and_the_ledger_goes_on() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let kind = "operator.clock_jumped";
    let Some((mut wall, setup)) = Wall::hang(Setup::new(&bank).webhooks(SOON)) else { return };
    let mut daemon = wall.start(setup);
    let client = lasting(&daemon);
    make(&client, &shop.url(), json!({"events": ["operator.*"]})).await;
    client.register("PED-1", "10.00").await;
    assert_eq!(status(&client).await["alerts"], json!([]));
    wall.says("+2h");
    let alert = raised(&client, kind).await;
    assert_eq!(alert["account"], Value::Null, "{alert}");
    let event = told_once(&shop, kind).await;
    assert_eq!(event["data"]["message"], alert["message"], "{event}");
    client.register("PED-2", "10.00").await;
    // Backwards it is the same alarm, with another message.
    wall.says("-1h");
    let said = |alert: &Value| alert["message"].as_str().unwrap().contains("jumped by 10");
    until("the jump back", async || Some(raised(&client, kind).await).filter(said)).await;
    assert_eq!(told(&shop, kind).len(), 1);
    client.register("PED-3", "10.00").await;
    let ledger = client.ledger().await;
    let recorded: Vec<&str> = ledger.iter().map(|entry| entry["recorded_at"].as_str().unwrap()).collect();
    assert_eq!(recorded.len(), 3);
    assert!(recorded.is_sorted(), "no entry is recorded before the one before it: {recorded:?}");
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
#[ignore = "an hour passes at twenty times its pace"]
async fn a_clock_that_jumped_is_well_again_after_an_hour() {
    let bank = Bank::open();
    let Some((mut wall, setup)) = Wall::hang(Setup::new(&bank)) else { return };
    let daemon = wall.start(setup);
    let client = lasting(&daemon);
    wall.says("+2h");
    raised(&client, "operator.clock_jumped").await;
    wall.says("+2h x20");
    cleared_within(Duration::from_secs(600), &client, "operator.clock_jumped").await;
}

#[tokio::test]
async fn a_silent_provider_is_told_while_orders_wait_and_until_its_next_callback() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let kind = "operator.provider_silent";
    let setup = Setup::new(&bank).webhooks(SOON).account("loja-outra", &bank, "");
    let Some((mut wall, setup)) = Wall::hang(setup) else { return };
    let daemon = wall.start(setup);
    let client = lasting(&daemon);
    make(&client, &shop.url(), json!({"events": [kind]})).await;
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    let body = json!({"referenceId": "PED-1"}).to_string().into_bytes();
    let elsewhere =
        client.send(client.callback_raw("/callbacks/loja-outra", SELLER_TOKEN, body)).await.is(200);
    client.settled(elsewhere["receipt"].as_str().unwrap()).await;
    // A day without a callback.
    wall.says("+25h");
    client.register("PED-2", "10.00").await;
    let alert = raised(&client, kind).await;
    assert_eq!(alert["account"], "loja-picpay", "{alert}");
    let event = told_once(&shop, kind).await;
    assert_eq!(
        (&event["data"]["account"], &event["data"]["message"]),
        (&alert["account"], &alert["message"])
    );
    client.callback("PED-1").await;
    cleared(&client, kind).await;
    assert_eq!(told(&shop, kind).len(), 1);
    let shown = status(&client).await;
    let of_the_other =
        |list: &str| shown[list].as_array().unwrap().iter().any(|alert| alert["account"] == "loja-outra");
    assert!(!of_the_other("alerts") && !of_the_other("alerts_cleared"), "nobody waits for it: {shown}");
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
