//! A run over as many orders as `RAZAO_ORDERS` says (100000 shows what is meant): its memory does not grow with them.

use super::{begin, path};
use crate::support::{ACCOUNT, Bank, Client, Daemon, until_within};
use serde_json::json;
use std::time::{Duration, Instant};

/// How often all of it is done once more.
const RUNS_MORE: usize = 4;

/// The process's memory in KiB: now, and at most.
fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

async fn ended(client: &Client, id: &str) {
    until_within(Duration::from_secs(3600), "the end of the run", async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let run = client.get(&format!("{}?limit=1", path(id))).await.ok();
        (run["status"] == "done").then_some(())
    })
    .await
}

/// Pages through a list or a run's results; how many there were, of results those that are `corrected`.
async fn read_all(client: &Client, path: &str) -> usize {
    let (mut cursor, mut read) = (String::new(), 0);
    loop {
        let page = client.get(&format!("{path}{cursor}")).await.ok();
        let items = page.get("results").unwrap_or(&page["data"]).as_array().unwrap();
        read +=
            items.iter().filter(|item| item.get("result").is_none_or(|result| result == "corrected")).count();
        let Some(next) = page["next_cursor"].as_str() else { return read };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
#[ignore = "takes minutes; RAZAO_ORDERS=100000 cargo test --test it -- --ignored many_orders --nocapture"]
async fn many_orders_take_no_more_memory_than_few() {
    let count: usize = std::env::var("RAZAO_ORDERS").map_or(100_000, |text| text.parse().unwrap());
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    for chunk in (0..count).collect::<Vec<_>>().chunks(10_000) {
        let order = |n: &usize| json!({"account": ACCOUNT, "reference": format!("PED-{n:07}"), "amount": "1.00", "currency": "BRL"});
        let orders: Vec<_> = chunk.iter().map(order).collect();
        let answer = client.post("/v1/orders:batch", &json!({"orders": orders})).await.is(200);
        assert!(answer["data"].as_array().unwrap().iter().all(|line| line["status"] == 201));
        chunk.iter().for_each(|n| bank.says(&format!("PED-{n:07}"), "paid", "1", "0"));
    }
    // A fresh process: what it holds afterwards is the run's.
    daemon.restart();
    let client = daemon.client();
    let idle = memory(daemon.pid());
    let begun = Instant::now();
    let id = begin(&client, &json!({})).await;
    let answered = begun.elapsed();
    ended(&client, &id).await;
    let (took, after_run) = (begun.elapsed(), memory(daemon.pid()));
    let results = read_all(&client, &format!("{}?limit=1000", path(&id))).await;
    assert_eq!(results, count, "each of them was corrected");
    let after_reading = memory(daemon.pid());
    // By now the store's cache is full: what more runs add is their own.
    let mut again = id;
    let mut more = Vec::new();
    for _ in 0..RUNS_MORE {
        let begun = Instant::now();
        again = begin(&client, &json!({})).await;
        ended(&client, &again).await;
        more.push((begun.elapsed(), memory(daemon.pid())));
    }
    // Beside it: what the store's cache takes when a process that never ran one reads the same data.
    daemon.restart();
    let client = daemon.client();
    for path in [format!("{}?limit=1000", path(&again)), "/v1/orders?limit=1000".to_owned()] {
        read_all(&client, &path).await;
    }
    let reader = memory(daemon.pid());
    println!(
        "{count} orders: POST {answered:?}, run {took:?}; KiB now/at most: idle {idle:?}, after \
         the run {after_run:?}, after reading every result {after_reading:?}, after each of {RUNS_MORE} more runs {more:?}; a process that only read {reader:?}"
    );
    daemon.stop();
    daemon.assert_verifies();
}
