//! Asking the provider by hand: what a poll answers, and what it leaves alone.

use crate::support::client::order_path;
use crate::support::{ANY, Act, Bank, Daemon};
use serde_json::json;

#[tokio::test]
async fn a_poll_answers_the_order_as_it_is_now() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    bank.says("PED-1", "paid", "129.9", "0");
    let order = client.poll("PED-1").await.is(200);
    assert_eq!((&order["state"], &order["reference"]), (&json!("paid"), &json!("PED-1")));
    assert_eq!(order["reconciliation"], "confirmed");
    assert_eq!(client.order("PED-1").await, order, "the answer is the order itself");
    let last = client.history("PED-1").await.pop().unwrap();
    assert_eq!((&last["evidence"]["source"], &last["evidence"]["receipt"]), (&json!("poll"), &json!(null)));
    assert_eq!(bank.queries("PED-1"), 1);
}

#[tokio::test]
async fn a_poll_that_finds_nothing_new_writes_no_entry() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    bank.says_legacy("PED-1", "created");
    let first = client.poll("PED-1").await.is(200);
    let second = client.poll("PED-1").await.is(200);
    assert_eq!(client.ledger().await.len(), 1);
    assert!(first["checked_at"].as_str() < second["checked_at"].as_str(), "but it was looked at: {second}");
}

#[tokio::test]
async fn an_order_that_is_not_there_is_404_and_asks_nothing() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "129.9", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.poll("PED-1").await.problem(404, ANY);
    client.post("/v1/orders/nobody/PED-1/poll", &json!({})).await.problem(404, ANY);
    assert_eq!(bank.lines(), [""; 0]);
}

#[tokio::test]
async fn a_provider_in_trouble_is_502_with_its_status_and_the_order_is_unchanged() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    let before = client.order("PED-1").await;
    for status in [500, 503, 404, 422, 302] {
        bank.always(Act::Answer(status, "", b"{\"message\":\"no\"}".to_vec()));
        let problem = client.poll("PED-1").await.problem(502, ANY);
        assert!(
            problem.to_string().contains(&status.to_string()),
            "the provider's {status} is named: {problem}"
        );
        assert_eq!(client.order("PED-1").await, before);
    }
    // No answer at all has no status, but is the same to the caller (or a timeout).
    bank.always(Act::Drop);
    client.poll("PED-1").await.problem_among(&[502, 504]);
    bank.truthful();
    bank.says("PED-1", "paid", "129.9", "0");
    assert_eq!(client.poll("PED-1").await.is(200)["state"], "paid");
    assert_eq!(client.get(&order_path("PED-1")).await.ok()["state"], "paid");
}
