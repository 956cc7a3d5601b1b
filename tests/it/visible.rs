//! Nothing is visible before it is durable: what one answer shows, every later answer knows, and a crash cannot take it
//! back. Reading the database while a group is written but not yet synced would break both.

use crate::support::{Bank, Client, Daemon, Setup, encoded, strace, tracer, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What every sync of the device takes here: long enough to look in between.
const SYNC: Duration = Duration::from_millis(300);

/// A daemon on a slow disk: each `fdatasync` is held back by strace.
fn on_a_slow_disk(bank: &Bank) -> Option<(Daemon, tempfile::TempDir)> {
    let strace = strace()?;
    let dir = tempfile::tempdir().unwrap();
    let delay = format!("inject=fdatasync:delay_enter={}", SYNC.as_micros());
    let mut setup = Setup::new(bank);
    setup.wrapper = tracer(&strace, &["-e", "trace=fdatasync", "-e", &delay], &dir.path().join("trace"));
    Some((Daemon::with(setup), dir))
}

async fn head(client: &Client) -> u64 {
    client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn an_order_is_not_seen_before_its_entry_is_on_the_disk() {
    let bank = Bank::open();
    let Some((daemon, _trace)) = on_a_slow_disk(&bank) else { return };
    let client = daemon.client();
    for n in 0..3 {
        let reference = format!("PED-{n}");
        let begun = Instant::now();
        let put = tokio::spawn({
            let (client, reference) = (client.clone(), reference.clone());
            async move { client.register(&reference, "10.00").await }
        });
        let path = format!("/v1/orders/loja-picpay/{reference}");
        let order = until("the order", async || {
            Some(client.get(&path).await).filter(|reply| reply.status == 200).map(|reply| reply.ok())
        })
        .await;
        let seen = begun.elapsed();
        assert!(head(&client).await >= order["seq"].as_u64().unwrap(), "an order beyond the ledger's head");
        assert!(seen >= SYNC, "seen {seen:?} after it was asked for, while a sync takes {SYNC:?}");
        put.await.unwrap();
    }
}

#[tokio::test]
async fn a_receipt_and_what_came_of_it_are_not_seen_before_they_are_on_the_disk() {
    let bank = Bank::open();
    let Some((daemon, _trace)) = on_a_slow_disk(&bank) else { return };
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    let begun = Instant::now();
    let post = tokio::spawn({
        let client = client.clone();
        async move { client.callback("PED-1").await }
    });
    until("the receipt", async || client.all("/v1/callbacks").await.pop()).await;
    let seen = begun.elapsed();
    assert!(seen >= SYNC, "seen {seen:?} after it was sent, while a sync takes {SYNC:?}");
    let receipt = post.await.unwrap();
    let settled = client.settled(&receipt).await;
    // The outcome and the balances it led to are one step.
    assert_eq!(settled["entries"], json!([1, 2]), "{settled}");
    assert_eq!(head(&client).await, 2);
    assert_eq!(client.balances("").await["assets:loja-picpay:pending"], "10.00");
}

#[tokio::test]
async fn under_load_what_one_answer_shows_the_next_one_knows() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..100 {
                    client.register(&format!("PED-{writer}-{n}"), "1.00").await;
                }
            })
        })
        .collect();
    while !writers.iter().all(|writer| writer.is_finished()) {
        let newest = client.get("/v1/orders?limit=1000").await.ok();
        let seqs = newest["data"].as_array().unwrap().iter().map(|order| order["seq"].as_u64().unwrap());
        let Some(seq) = seqs.max() else { continue };
        let entry = client.get(&format!("/v1/ledger/{seq}")).await;
        assert_eq!(entry.status, 200, "an order at seq {seq} is shown, and its entry is not");
        let reference = entry.ok()["order"].as_str().unwrap().to_owned();
        let of_order = format!("/v1/events?from={seq}&order={}&limit=1", encoded(&reference));
        assert_eq!(client.get(&of_order).await.ok()["data"][0]["seq"], seq);
        let balances = client.get("/v1/balances").await.ok();
        assert!(balances["seq"].as_u64() >= Some(seq), "balances from before: {balances}");
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(client.get("/v1/ledger/400").await.ok()["seq"], Value::from(400));
}
