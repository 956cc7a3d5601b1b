//! What a provider's callback does: answered at once, resolved by a question at the bank, booked once.

use crate::support::chain::{assert_chain, sums};
use crate::support::{Bank, Daemon, SELLER_TOKEN, until};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_callback_becomes_a_paid_order() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-2026-000481", "129.90").await;
    bank.says("PED-2026-000481", "paid", "129.9", "0");
    let order = client.news("PED-2026-000481").await;
    assert_eq!(order["state"], "paid");
    assert_eq!(order["amounts"]["expected"], "129.90");
    assert_eq!(order["amounts"]["gross"], "129.90");
    assert_eq!(order["amounts"]["refunded"], "0.00");
    assert_eq!(order["reconciliation"], "confirmed", "a call of ours named its state");
    assert_eq!(order["provider_status"], "paid");
    // The question is exactly the documented one.
    assert_eq!(bank.lines(), ["GET /ecommerce/public/payments/PED-2026-000481/status HTTP/1.1"]);
}

#[tokio::test]
async fn the_answer_is_200_with_the_receipt_and_nothing_else_is_asked_of_the_provider() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let reply = client.send(client.callback_request("PED-1")).await;
    let body = reply.is(200);
    let receipt = body["receipt"].as_str().expect("a receipt's id").to_owned();
    let shown = client.get(&format!("/v1/callbacks/{receipt}")).await.ok();
    assert_eq!(shown["id"], receipt.as_str());
    assert_eq!(shown["account"], "loja-picpay");
}

#[tokio::test]
async fn the_answer_never_waits_for_the_provider() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "10.00", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.hold();
    let receipt = client.callback("PED-1").await;
    bank.wait_for_query("PED-1");
    // The bank has not answered yet, and the callback has been answered long since.
    let pending = client.get(&format!("/v1/callbacks/{receipt}")).await.ok();
    assert_eq!(pending["outcome"], "pending");
    bank.release();
    assert_eq!(client.settled(&receipt).await["outcome"], "applied");
}

#[tokio::test]
async fn an_order_nobody_registered_is_made_by_its_callback() {
    let bank = Bank::open();
    bank.says("PED-9", "paid", "20.51", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let order = client.news("PED-9").await;
    assert_eq!(order["state"], "paid");
    assert_eq!(order["amounts"]["expected"], Value::Null);
    assert_eq!(order["amounts"]["gross"], "20.51");
    let history = client.history("PED-9").await;
    let way: Vec<_> = history.iter().map(|entry| (entry["from"].as_str(), entry["to"].as_str())).collect();
    assert_eq!(way, [(None, Some("created")), (Some("created"), Some("paid"))]);
    assert_eq!(history[1]["evidence"]["source"], "details", "a call that a callback caused");
}

#[tokio::test]
async fn bodies_with_control_characters_between_the_fields_are_read() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "10.00", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = b"{\r\n\t\"referenceId\" : \"PED-1\",\r\n\t\"authorizationId\" : \"66b0\"\r\n}\n".to_vec();
    let reply = client.send(client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, body)).await;
    let receipt = reply.is(200)["receipt"].as_str().unwrap().to_owned();
    client.settled(&receipt).await;
    assert_eq!(client.order("PED-1").await["state"], "paid");
}

#[tokio::test]
async fn a_callback_without_authorization_id_is_whole() {
    let bank = Bank::open();
    bank.says("PED-1", "expired", "0", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = json!({"referenceId": "PED-1"}).to_string().into_bytes();
    let reply = client.send(client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, body)).await;
    client.settled(reply.is(200)["receipt"].as_str().unwrap()).await;
    assert_eq!(client.order("PED-1").await["state"], "expired");
}

#[tokio::test]
async fn the_same_callback_again_books_nothing() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "129.9", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let first = client.callback("PED-1").await;
    client.settled(&first).await;
    let before = client.ledger().await;
    for _ in 0..5 {
        let again = client.callback("PED-1").await;
        assert_ne!(again, first, "each delivery is a receipt of its own");
        assert_eq!(client.settled(&again).await["outcome"], "duplicate");
    }
    assert_eq!(client.ledger().await, before);
    assert_eq!(client.balances("").await["assets:loja-picpay:pending"], "129.90");
}

#[tokio::test]
async fn callbacks_at_the_same_moment_book_once() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "129.9", "0");
    bank.says("PED-2", "refunded", "50", "50");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let posts = (0..60).map(|n| {
        let client = client.clone();
        async move { client.callback(if n % 2 == 0 { "PED-1" } else { "PED-2" }).await }
    });
    let receipts: BTreeSet<String> = join_all(posts).await.into_iter().collect();
    assert_eq!(receipts.len(), 60, "every delivery has a receipt of its own");
    client.idle().await;
    let ledger = client.ledger().await;
    assert_chain(&ledger);
    assert_eq!(ledger.len(), 5, "created and paid; created, paid and refunded: {ledger:#?}");
    let sums = sums(&ledger);
    assert_eq!(sums["assets:loja-picpay:pending"], 12_990);
    assert_eq!(sums["income:loja-picpay:sales"], -17_990);
    assert_eq!(sums["income:loja-picpay:refunds"], 5_000);
}

#[tokio::test]
async fn a_callback_from_before_the_provider_knows_the_order_is_asked_again() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let receipt = client.callback("PED-1").await;
    bank.wait_for_query("PED-1");
    bank.says("PED-1", "paid", "10.00", "0");
    let settled = client.settled(&receipt).await;
    assert_eq!(settled["outcome"], "applied", "{settled}");
    assert_eq!(client.order("PED-1").await["state"], "paid");
    assert!(bank.queries("PED-1") >= 2);
}

#[tokio::test]
async fn what_the_provider_never_knows_holds_nothing_back_and_is_asked_at_most_ten_times() {
    let bank = Bank::open();
    bank.says("PED-2", "paid", "10.00", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for _ in 0..3 {
        client.callback("GHOST").await;
    }
    bank.wait_for_query("GHOST");
    assert_eq!(client.news("PED-2").await["state"], "paid");
    // Either it gives up after ten, or it spreads them over the day; more than ten may never come.
    let patience = tokio::time::Instant::now() + Duration::from_secs(5);
    until("ten questions, or quiet", async || {
        let asked = bank.queries("GHOST");
        assert!(asked <= 30, "three receipts of an unknown order were asked {asked} times");
        (tokio::time::Instant::now() > patience).then_some(())
    })
    .await;
    client.get("/v1/orders/loja-picpay/GHOST").await.problem(404, "");
}

#[tokio::test]
async fn a_restart_does_not_forget_what_is_unresolved() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    bank.hold();
    let receipt = daemon.client().callback("PED-1").await;
    bank.wait_for_query("PED-1");
    daemon.kill_9();
    bank.release();
    bank.says("PED-1", "paid", "10.00", "0");
    daemon.restart();
    let client = daemon.client();
    assert_eq!(client.settled(&receipt).await["outcome"], "applied");
    assert_eq!(client.order("PED-1").await["state"], "paid");
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn a_sender_that_hangs_up_at_once_is_processed_all_the_same() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let host = daemon.base().strip_prefix("http://").unwrap();
    for n in 0..40 {
        bank.says(&format!("PED-{n}"), "paid", "10", "0");
        let body = json!({"referenceId": format!("PED-{n}")}).to_string();
        let request = format!(
            "POST /callbacks/loja-picpay HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             x-seller-token: {SELLER_TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // Closed without waiting for the answer.
    }
    let received = until("most of the receipts", async || {
        Some(client.all("/v1/callbacks").await).filter(|receipts| receipts.len() >= 30)
    });
    received.await;
    client.idle().await;
    let receipts = client.all("/v1/callbacks").await;
    assert!(receipts.iter().all(|receipt| receipt["outcome"] == "applied"), "{receipts:?}");
}
