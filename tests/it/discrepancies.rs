//! Where the ledger and the world disagree: listed, explained, and settled by an operator with a reason.

use crate::support::{ANY, Bank, Client, Daemon, Setup};
use serde_json::{Value, json};

async fn list(client: &Client, query: &str) -> Vec<Value> {
    client.all(&format!("/v1/discrepancies{query}")).await
}

/// A paid order whose provider then says `expired`, and its open discrepancy.
async fn conflict(bank: &Bank, client: &Client, reference: &str) -> Value {
    bank.says(reference, "paid", "10", "0");
    client.news(reference).await;
    bank.says_legacy(reference, "expired");
    client.news(reference).await;
    let open = list(client, "").await;
    open.into_iter().find(|one| one["order"] == reference).expect("an open discrepancy")
}

async fn resolve(client: &Client, id: &Value, body: Value) -> crate::support::Reply {
    client.post(&format!("/v1/discrepancies/{}/resolve", id.as_str().unwrap()), &body).await
}

#[tokio::test]
async fn an_open_one_is_listed_with_what_was_expected_and_found() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    let open = conflict(&bank, &client, "PED-1").await;
    assert_eq!((&open["account"], &open["cause"]), (&json!("loja-picpay"), &json!("conflict")));
    assert_eq!((&open["expected"], &open["found"]), (&json!("paid"), &json!("expired")));
    let seq = open["seq"].as_u64().unwrap();
    assert_eq!(open["id"], seq.to_string());
    let entry = client.get(&format!("/v1/ledger/{seq}")).await.ok();
    assert_eq!((&entry["kind"], &entry["discrepancy"]["id"]), (&json!("discrepancy"), &open["id"]));
    assert_eq!(open["opened_at"], entry["recorded_at"]);
    assert_eq!(list(&client, "?account=loja-picpay").await, [open]);
    assert_eq!(list(&client, "?account=loja-b").await, [Value::Null; 0]);
}

#[tokio::test]
async fn keep_closes_it_and_silences_that_cause_until_something_else_is_said() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let open = conflict(&bank, &client, "PED-1").await;
    resolve(&client, &open["id"], json!({"action": "keep", "reason": "checked at the bank"})).await.ok();
    assert_eq!(list(&client, "").await, [Value::Null; 0]);
    let order = client.order("PED-1").await;
    assert_eq!((&order["state"], &order["discrepancies"]), (&json!("paid"), &json!([])));
    let entry = client.history("PED-1").await.pop().unwrap();
    assert_eq!((&entry["kind"], &entry["discrepancy"]["action"]), (&json!("resolution"), &json!("keep")));
    assert_eq!(entry["postings"], json!([]));
    // The same word again stays silent; another contradiction does not.
    let entries = client.ledger().await.len();
    client.news("PED-1").await;
    assert_eq!(client.ledger().await.len(), entries);
    bank.says("PED-1", "nonsense", "10", "0");
    client.news("PED-1").await;
    assert_eq!(list(&client, "").await[0]["cause"], "unknown_status");
}

#[tokio::test]
async fn set_state_is_the_way_out_of_refunded_and_carries_the_postings() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "refunded", "10", "10");
    client.news("PED-1").await;
    bank.says("PED-1", "paid", "10", "0");
    let order = client.news("PED-1").await;
    assert_eq!(order["state"], "refunded", "the word alone does not lead out");
    let open =
        list(&client, "").await.into_iter().find(|one| one["cause"] == "conflict").expect("a conflict");
    let operator = daemon.client_with("orders:write orders:read", &["--subject", "ana@contabil"]);
    let body = json!({"action": "set_state", "state": "paid", "reason": "the refund was cancelled, see mail of Ana"});
    resolve(&operator, &open["id"], body).await.ok();
    let order = client.order("PED-1").await;
    assert_eq!((&order["state"], &order["amounts"]["refunded"]), (&json!("paid"), &json!("0.00")));
    let history = client.history("PED-1").await;
    let entry =
        history.iter().find(|entry| entry["kind"] == "resolution" && entry["from"] == "refunded").unwrap();
    assert_eq!((&entry["to"], &entry["discrepancy"]["action"]), (&json!("paid"), &json!("set_state")));
    assert!(!entry["postings"].as_array().unwrap().is_empty());
    assert_eq!(
        (&entry["evidence"]["source"], &entry["evidence"]["actor"]),
        (&json!("operator"), &json!("ana@contabil"))
    );
    let hash = entry["evidence"]["reason_hash"].as_str().expect("a hash of the reason");
    assert_eq!(hash.len(), 64);
    assert_eq!(client.balances("").await["assets:loja-picpay:pending"], "10.00");
    // The reason itself may be erased one day, so it is not in the ledger.
    for path in ["/v1/ledger", "/v1/events"] {
        assert!(!client.get(path).await.text().contains("cancelled, see mail"), "{path}");
    }
}

#[tokio::test]
async fn without_a_reason_or_with_an_odd_action_nothing_is_done() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let open = conflict(&bank, &client, "PED-1").await;
    let before = client.ledger().await;
    let bad = [
        json!({}),
        json!({"action": "keep"}),
        json!({"action": "keep", "reason": ""}),
        json!({"action": "keep", "reason": "   "}),
        json!({"action": "keep", "reason": null}),
        json!({"reason": "why"}),
        json!({"action": "agreed", "reason": "why"}),
        json!({"action": "set_state", "reason": "why"}),
        json!({"action": "set_state", "state": "teletransported", "reason": "why"}),
        json!({"action": "set_state", "state": "closed", "reason": "why"}),
        json!([]),
    ];
    for body in bad {
        let reply = resolve(&client, &open["id"], body.clone()).await;
        assert!([400, 422].contains(&reply.status), "{body}: {} {}", reply.status, reply.text());
        reply.problem(reply.status, ANY);
    }
    assert_eq!(client.ledger().await, before);
}

#[tokio::test]
async fn one_that_is_closed_or_never_was_cannot_be_resolved() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let open = conflict(&bank, &client, "PED-1").await;
    let keep = json!({"action": "keep", "reason": "why"});
    for absent in ["1", "999", "0", "x", "-1"] {
        resolve(&client, &json!(absent), keep.clone()).await.problem_among(&[400, 404]);
    }
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    let entries = client.ledger().await.len();
    resolve(&client, &open["id"], keep).await.problem_among(&[404, 409]);
    assert_eq!(client.ledger().await.len(), entries);
}

#[tokio::test]
async fn an_operators_word_outlives_a_restart_and_is_verified() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    let open = conflict(&bank, &client, "PED-1").await;
    let body = json!({"action": "set_state", "state": "expired", "reason": "it never came"});
    resolve(&client, &open["id"], body).await.ok();
    let before = client.order("PED-1").await;
    assert_eq!(before["state"], "expired");
    daemon.restart();
    assert_eq!(daemon.client().order("PED-1").await, before);
    daemon.stop();
    daemon.assert_verifies();
}
