//! The event body, as a list gives it: one event an entry, nothing else.

use crate::support::{Bank, Client, Daemon, Setup, encoded};
use serde_json::{Value, json};

async fn two_orders(bank: &Bank, client: &Client) {
    let body = json!({"amount": "129.90", "currency": "BRL", "metadata": {"cart": "private-cart"}});
    client.put("/v1/orders/loja-picpay/PED-1", &body).await.is(201);
    bank.says("PED-1", "paid", "129.9", "29.9");
    client.news("PED-1").await;
    bank.says_legacy("PED-2", "unheard-of");
    client.news("PED-2").await;
    bank.says("PED-2", "refunded", "10", "10");
    client.news("PED-2").await;
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_entry_has_exactly_one_event() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    two_orders(&bank, &client).await;
    let ledger = client.ledger().await;
    let events = client.all("/v1/events?limit=3").await;
    assert_eq!(events.len(), ledger.len());
    for (event, entry) in events.iter().zip(&ledger) {
        assert_eq!(event["seq"], entry["seq"]);
        assert_eq!(event["data"]["entry"], *entry);
        assert_eq!(event["timestamp"], entry["recorded_at"]);
        assert_eq!(event["account"], entry["account"]);
        let id = format!("evt_{}", &entry["hash"].as_str().unwrap()[..32]);
        assert_eq!(event["id"], id.as_str());
        let order = &event["data"]["order"];
        assert_eq!(order["reference"], entry["order"]);
        assert_eq!(order["state"], entry["to"], "the order as it was then");
        assert_eq!(order["seq"], entry["seq"]);
        assert!(order.get("metadata").is_none(), "an event's order has no metadata: {order}");
    }
    assert!(!client.get("/v1/events").await.text().contains("private-cart"));
    let expected = [
        "order.created",
        "order.paid",
        "order.adjusted",
        "order.created",
        "order.discrepancy",
        "order.paid",
        "order.refunded",
        "order.resolved",
    ];
    assert_eq!(types(&events), expected);
}

#[tokio::test]
async fn an_old_event_does_not_change_with_its_order() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "10.00").await;
    let before = client.get("/v1/events").await.ok()["data"][0].clone();
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    assert_eq!(client.get("/v1/events").await.ok()["data"][0], before);
    assert_eq!(before["data"]["order"]["state"], "created");
}

#[tokio::test]
async fn filters_choose_and_from_is_inclusive() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    two_orders(&bank, &client).await;
    client.put("/v1/orders/loja-b/PED-1", &json!({"amount": "1.00", "currency": "BRL"})).await.is(201);
    let all = client.all("/v1/events").await;
    let those =
        |keep: &dyn Fn(&Value) -> bool| all.iter().filter(|event| keep(event)).cloned().collect::<Vec<_>>();
    let list = async |query: &str| client.all(&format!("/v1/events?{query}")).await;
    assert_eq!(list("from=3").await, all[2..]);
    assert_eq!(list("type=order.paid").await, those(&|event| event["type"] == "order.paid"));
    assert_eq!(list(&format!("type={}", encoded("order.*"))).await, all);
    assert_eq!(list(&format!("type={}", encoded("*"))).await, all);
    assert_eq!(list("type=payout.recorded").await, those(&|_| false));
    assert_eq!(list("account=loja-b").await, those(&|event| event["account"] == "loja-b"));
    assert_eq!(list("account=nobody").await, those(&|_| false));
    let ped = |event: &Value| event["data"]["entry"]["order"] == "PED-1" && event["account"] == "loja-picpay";
    assert_eq!(list("account=loja-picpay&order=PED-1").await, those(&ped));
    assert_eq!(list("account=loja-picpay&order=PED-1&from=2&limit=1").await, those(&ped)[1..]);
}
