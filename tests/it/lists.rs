//! Lists of orders: filters, pages, and a cursor that loses nothing while the world goes on.

use crate::support::{ANY, Bank, Client, Daemon, Setup, encoded};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

async fn references(client: &Client, query: &str) -> BTreeSet<String> {
    let found = client.all(&format!("/v1/orders{query}")).await;
    let names: Vec<String> =
        found.iter().map(|order| order["reference"].as_str().unwrap().to_owned()).collect();
    let set: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(set.len(), names.len(), "an order twice in {query}: {names:?}");
    set
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn filters_choose() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    client.register("A-1", "10.00").await;
    client.register("A-2", "10.00").await;
    client.register("B-1", "10.00").await;
    client.put("/v1/orders/loja-b/OTHER", &json!({"amount": "1.00", "currency": "BRL"})).await.is(201);
    bank.says("A-2", "paid", "10", "0");
    bank.says("B-1", "paid", "5", "0");
    client.news("A-2").await;
    let since = client.order("A-2").await["updated_at"].as_str().unwrap().to_owned();
    client.news("B-1").await;
    assert_eq!(references(&client, "").await, set(&["A-1", "A-2", "B-1", "OTHER"]));
    assert_eq!(references(&client, "?account=loja-picpay").await, set(&["A-1", "A-2", "B-1"]));
    assert_eq!(references(&client, "?account=nobody").await, set(&[]));
    assert_eq!(references(&client, "?state=paid").await, set(&["A-2", "B-1"]));
    assert_eq!(references(&client, "?state=created&account=loja-b").await, set(&["OTHER"]));
    assert_eq!(references(&client, "?reference_prefix=A-").await, set(&["A-1", "A-2"]));
    assert_eq!(references(&client, "?reference_prefix=A-2&state=created").await, set(&[]));
    assert_eq!(references(&client, "?reconciliation=unseen").await, set(&["A-1", "OTHER"]));
    assert_eq!(references(&client, "?reconciliation=confirmed").await, set(&["A-2"]));
    assert_eq!(references(&client, "?reconciliation=discrepancy").await, set(&["B-1"]));
    assert_eq!(references(&client, "?provider=picpay").await.len(), 4);
    assert_eq!(references(&client, "?provider=yapay").await, set(&[]));
    assert_eq!(references(&client, "?provider_ref=A-2").await, set(&["A-2"]));
    assert_eq!(
        references(&client, &format!("?updated_since={}", encoded(&since))).await,
        set(&["A-2", "B-1"])
    );
    // With another offset it is the same instant.
    assert_eq!(references(&client, "?updated_since=2001-01-01T00%3A00%3A00-03%3A00").await.len(), 4);
    assert_eq!(references(&client, "?updated_since=2999-01-01T00%3A00%3A00Z").await, set(&[]));
}

#[tokio::test]
async fn a_listed_order_is_the_order() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    let listed = client.all("/v1/orders").await;
    let order = client.order("PED-1").await;
    let fields: BTreeMap<String, Value> = order.as_object().unwrap().clone().into_iter().collect();
    for (name, value) in fields.iter().filter(|(name, _)| *name != "metadata") {
        assert_eq!(listed[0].get(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn paging_loses_nothing_while_others_write() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let original: BTreeSet<String> = (0..40).map(|n| format!("PED-{n:03}")).collect();
    for reference in &original {
        client.register(reference, "10.00").await;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut cursor: Option<String> = None;
    let mut round = 0;
    loop {
        let more = cursor.map(|cursor| format!("&cursor={}", encoded(&cursor))).unwrap_or_default();
        let page = client.get(&format!("/v1/orders?limit=7{more}")).await.ok();
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 7);
        seen.extend(data.iter().map(|order| order["reference"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = Some(next.to_owned());
        // Between two pages one order moves and others appear on both sides.
        let moved = format!("PED-{:03}", (round * 11) % 40);
        bank.says(&moved, "paid", "10", "0");
        client.news(&moved).await;
        client.register(&format!("AAA-{round}"), "1.00").await;
        client.register(&format!("ZZZ-{round}"), "1.00").await;
        round += 1;
        assert!(round < 100, "the pages have no end");
    }
    let unique: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(unique.len(), seen.len(), "an order came twice");
    let missing: Vec<_> = original.difference(&unique).collect();
    assert!(missing.is_empty(), "lost while paging: {missing:?}");
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for path in ["/v1/orders", "/v1/ledger", "/v1/events", "/v1/callbacks", "/v1/discrepancies"] {
        let page = client.get(path).await.is(200);
        assert_eq!(page["data"], json!([]), "{path}");
        assert_eq!(page.get("next_cursor"), Some(&Value::Null), "{path}: {page}");
    }
}

#[tokio::test]
async fn limits_and_cursors_that_are_none_are_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "10.00").await;
    for path in ["/v1/orders", "/v1/ledger", "/v1/events", "/v1/callbacks", "/v1/discrepancies"] {
        for query in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=ten",
            "limit=99999999999999999999",
            "cursor=garbage",
            "cursor=%00%ff",
        ] {
            let reply = client.get(&format!("{path}?{query}")).await;
            assert!([400, 422].contains(&reply.status), "{path}?{query}: {} {}", reply.status, reply.text());
            reply.problem(reply.status, ANY);
        }
        client.get(&format!("{path}?limit=1000")).await.is(200);
        client.get(&format!("{path}?limit=1")).await.is(200);
    }
    client.get("/v1/orders?state=teletransported").await.problem_among(&[400, 422]);
    client.get("/v1/orders?updated_since=yesterday").await.problem_among(&[400, 422]);
}

#[tokio::test]
async fn the_default_page_is_a_hundred() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let puts = (0..105).map(|n| {
        let client = client.clone();
        async move { client.register(&format!("PED-{n}"), "1.00").await }
    });
    futures_util::future::join_all(puts).await;
    for path in ["/v1/orders", "/v1/ledger", "/v1/events"] {
        let page = client.get(path).await.ok();
        assert_eq!(page["data"].as_array().unwrap().len(), 100, "{path}");
        assert!(page["next_cursor"].is_string(), "{path}");
        assert_eq!(client.all(path).await.len(), 105, "{path}");
    }
}
