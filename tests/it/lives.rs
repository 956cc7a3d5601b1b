//! Whole lives of payments: both generations of the API, refunds in parts, disputes lost and won, contradictions. Each
//! ends with the sums that the balance function gives.

use crate::support::chain::{assert_chain, postings, sums};
use crate::support::{Bank, Client, Daemon};
use serde_json::Value;

/// Kind, new state and amount of every entry of an order.
fn story(history: &[Value]) -> Vec<(&str, &str, Option<&str>)> {
    history
        .iter()
        .map(|entry| {
            (entry["kind"].as_str().unwrap(), entry["to"].as_str().unwrap(), entry["amount"].as_str())
        })
        .collect()
}

/// The only open discrepancy's cause, if there is one.
fn open_cause(order: &Value) -> Option<String> {
    let open = order["discrepancies"].as_array().unwrap();
    assert!(open.len() <= 1, "more than one discrepancy is open: {order}");
    open.first().map(|one| one["cause"].as_str().unwrap().to_owned())
}

/// The ledger accounts that are not zero, in minor units, without their account's name.
async fn books(client: &Client) -> Vec<(String, i128)> {
    let ledger = client.ledger().await;
    assert_chain(&ledger);
    sums(&ledger).into_iter().map(|(name, sum)| (name.replace("loja-picpay:", ""), sum)).collect()
}

fn lines(expected: &[(&str, i128)]) -> Vec<(String, i128)> {
    expected.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect()
}

#[tokio::test]
async fn the_current_generation_from_created_to_refunded() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    bank.says("PED-1", "authorized", "0", "0");
    assert_eq!(client.news("PED-1").await["state"], "in_analysis");
    bank.says("PED-1", "paid", "129.9", "0");
    assert_eq!(client.news("PED-1").await["state"], "paid");
    bank.says("PED-1", "paid", "129.9", "29.9");
    let order = client.news("PED-1").await;
    assert_eq!(order["state"], "paid", "returned in parts is still paid");
    assert_eq!(order["amounts"]["refunded"], "29.90");
    assert_eq!(
        books(&client).await,
        lines(&[("assets:pending", 10_000), ("income:refunds", 2_990), ("income:sales", -12_990)])
    );
    bank.says("PED-1", "paid", "129.9", "50.00");
    assert_eq!(client.news("PED-1").await["amounts"]["refunded"], "50.00");
    bank.says("PED-1", "refunded", "129.9", "129.9");
    let order = client.news("PED-1").await;
    assert_eq!(order["state"], "refunded");
    assert_eq!(order["amounts"]["refunded"], "129.90");
    assert_eq!(
        story(&client.history("PED-1").await),
        [
            ("transition", "created", Some("129.90")),
            ("transition", "in_analysis", None),
            ("transition", "paid", Some("129.90")),
            ("adjustment", "paid", Some("-29.90")),
            ("adjustment", "paid", Some("-20.10")),
            ("transition", "refunded", Some("79.90")),
        ]
    );
    assert_eq!(books(&client).await, lines(&[("income:refunds", 12_990), ("income:sales", -12_990)]));
    assert_eq!(open_cause(&order), None);
}

#[tokio::test]
async fn the_legacy_generation_books_the_registered_amount() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "20.51").await;
    for (word, state) in
        [("created", "created"), ("analysis", "in_analysis"), ("paid", "paid"), ("completed", "completed")]
    {
        bank.says_legacy("PED-1", word);
        assert_eq!(client.news("PED-1").await["state"], state);
    }
    let order = client.order("PED-1").await;
    assert_eq!(order["amounts"]["gross"], "20.51");
    assert_eq!(books(&client).await, lines(&[("assets:available", 2_051), ("income:sales", -2_051)]));
    // Completed, then disputed and won: it goes back to where the money was.
    bank.says_legacy("PED-1", "chargeback");
    assert_eq!(client.news("PED-1").await["state"], "chargeback");
    bank.says_legacy("PED-1", "paid");
    assert_eq!(client.news("PED-1").await["state"], "completed", "a settled order returns to completed");
    assert_eq!(books(&client).await, lines(&[("assets:available", 2_051), ("income:sales", -2_051)]));
}

#[tokio::test]
async fn a_state_that_was_skipped_has_its_own_entry() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "20.51").await;
    bank.says_legacy("PED-1", "completed");
    client.news("PED-1").await;
    let history = client.history("PED-1").await;
    assert_eq!(
        story(&history),
        [
            ("transition", "created", Some("20.51")),
            ("transition", "paid", Some("20.51")),
            ("transition", "completed", Some("20.51")),
        ]
    );
}

#[tokio::test]
async fn a_chargeback_that_is_lost() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "129.9", "0");
    client.news("PED-1").await;
    bank.says("PED-1", "chargeback", "129.9", "0");
    let order = client.news("PED-1").await;
    assert_eq!(order["state"], "chargeback");
    assert_eq!(order["amounts"]["charged_back"], "129.90");
    assert_eq!(books(&client).await, lines(&[("expenses:chargebacks", 12_990), ("income:sales", -12_990)]));
    bank.says("PED-1", "refunded", "129.9", "129.9");
    assert_eq!(client.news("PED-1").await["state"], "refunded");
    // From dispute to return only the reason changes, no asset moves again.
    let last = client.history("PED-1").await.pop().unwrap();
    let mut touched = postings(&last);
    touched.sort();
    assert_eq!(
        touched,
        [
            ("expenses:loja-picpay:chargebacks".to_owned(), -12_990),
            ("income:loja-picpay:refunds".to_owned(), 12_990),
        ]
    );
    assert_eq!(books(&client).await, lines(&[("income:refunds", 12_990), ("income:sales", -12_990)]));
}

#[tokio::test]
async fn a_chargeback_that_is_won_is_reversed_exactly() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "129.9", "29.9");
    client.news("PED-1").await;
    let before = books(&client).await;
    bank.says("PED-1", "chargeback", "129.9", "29.9");
    assert_eq!(client.news("PED-1").await["amounts"]["charged_back"], "100.00", "what was not yet refunded");
    bank.says("PED-1", "paid", "129.9", "29.9");
    let order = client.news("PED-1").await;
    assert_eq!(order["state"], "paid");
    assert_eq!(order["amounts"]["charged_back"], "0.00");
    assert_eq!(books(&client).await, before);
    let last = client.history("PED-1").await.pop().unwrap();
    assert_eq!(last["amount"], "-100.00", "a reversal is negative");
}

#[tokio::test]
async fn a_late_payment_after_expiry() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says_legacy("PED-1", "expired");
    assert_eq!(client.news("PED-1").await["state"], "expired");
    bank.says("PED-1", "paid", "10", "0");
    let order = client.news("PED-1").await;
    assert_eq!((order["state"].as_str(), open_cause(&order)), (Some("paid"), None));
}

#[tokio::test]
async fn an_unknown_word_is_flagged_and_a_known_one_closes_it() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    bank.says("PED-1", "teletransported", "10", "0");
    let order = client.news("PED-1").await;
    assert_eq!(order["state"], "paid", "the state stays");
    assert_eq!(order["provider_status"], "teletransported");
    assert_eq!(order["reconciliation"], "discrepancy");
    assert_eq!(open_cause(&order).as_deref(), Some("unknown_status"));
    bank.says("PED-1", "paid", "10", "0");
    let order = client.news("PED-1").await;
    assert_eq!(open_cause(&order), None);
    let last = client.history("PED-1").await.pop().unwrap();
    assert_eq!(
        (last["kind"].as_str(), last["discrepancy"]["action"].as_str()),
        (Some("resolution"), Some("agreed"))
    );
    assert_eq!(last["discrepancy"]["cause"], "unknown_status");
}

#[tokio::test]
async fn an_unknown_word_is_cut_and_cleaned() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let word = format!("<script>alert(1)</script>{}", "x".repeat(500));
    bank.says_legacy("PED-1", &word);
    let order = client.news("PED-1").await;
    let shown = order["provider_status"].as_str().unwrap();
    assert!(shown.chars().count() <= 64, "{shown}");
    let fits = |c: char| c.is_alphanumeric() || "_ .:/-".contains(c);
    assert!(shown.chars().all(fits), "{shown}");
    assert_eq!(order["state"], "created");
}

#[tokio::test]
async fn what_contradicts_the_past_is_a_conflict_and_moves_no_money() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    let before = books(&client).await;
    bank.says_legacy("PED-1", "expired");
    let receipt = client.callback("PED-1").await;
    assert_eq!(client.settled(&receipt).await["outcome"], "conflict");
    let order = client.order("PED-1").await;
    assert_eq!(order["state"], "paid");
    let open = &order["discrepancies"][0];
    assert_eq!(
        (&open["cause"], &open["expected"], &open["found"]),
        (&"conflict".into(), &"paid".into(), &"expired".into())
    );
    assert_eq!(books(&client).await, before);
    // The same contradiction again opens no second one.
    let entries = client.history("PED-1").await.len();
    client.news("PED-1").await;
    assert_eq!(client.history("PED-1").await.len(), entries);
    bank.says("PED-1", "paid", "10", "0");
    assert_eq!(open_cause(&client.news("PED-1").await), None, "evidence that agrees again closes it");
}

#[tokio::test]
async fn less_than_registered_is_underpaid_and_more_is_normal() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("LESS", "129.90").await;
    client.register("MORE", "129.90").await;
    bank.says("LESS", "paid", "100.00", "0");
    bank.says("MORE", "paid", "130.00", "0");
    let less = client.news("LESS").await;
    let open = &less["discrepancies"][0];
    assert_eq!(
        (&open["cause"], &open["expected"], &open["found"]),
        (&"underpaid".into(), &"129.90".into(), &"100.00".into())
    );
    assert_eq!(less["amounts"]["gross"], "100.00", "what came is booked");
    let more = client.news("MORE").await;
    assert_eq!((more["amounts"]["gross"].as_str(), open_cause(&more)), (Some("130.00"), None));
}

#[tokio::test]
async fn a_refund_total_that_shrinks_is_flagged_and_the_highest_counts() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "100", "40");
    client.news("PED-1").await;
    bank.says("PED-1", "paid", "100", "15");
    let order = client.news("PED-1").await;
    assert_eq!(open_cause(&order).as_deref(), Some("refund_shrank"));
    assert_eq!(order["amounts"]["refunded"], "40.00");
    bank.says("PED-1", "paid", "100", "60");
    let order = client.news("PED-1").await;
    assert_eq!((order["amounts"]["refunded"].as_str(), open_cause(&order)), (Some("60.00"), None));
}

#[tokio::test]
async fn refunded_in_word_but_not_in_full_is_unclear() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "100", "0");
    client.news("PED-1").await;
    bank.says("PED-1", "refunded", "100", "30");
    let order = client.news("PED-1").await;
    assert_eq!(
        (order["state"].as_str(), order["amounts"]["refunded"].as_str()),
        (Some("paid"), Some("30.00"))
    );
    assert_eq!(open_cause(&order).as_deref(), Some("refund_unclear"));
}
