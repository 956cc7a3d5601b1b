//! The ledger read from outside: gapless, chained, summing to zero, and recomputable by a script.

use crate::support::chain::{assert_chain, hash_of, sums};
use crate::support::{ANY, Bank, Client, Daemon, interop, python_with, run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

/// Three orders with some life in them: twelve entries or so of several kinds.
async fn some_life(bank: &Bank, client: &Client) {
    client.register("PED-1", "129.90").await;
    client.register("PED 2 ção \"quoted\" \\ 🙂", "10.00").await;
    for (word, refunded) in [("authorized", "0"), ("paid", "0"), ("paid", "29.9"), ("chargeback", "29.9")] {
        bank.says("PED-1", word, "129.9", refunded);
        client.news("PED-1").await;
    }
    bank.says("PED 2 ção \"quoted\" \\ 🙂", "paid", "9.00", "0");
    client.news("PED 2 ção \"quoted\" \\ 🙂").await;
    bank.says_legacy("PED-3", "unheard-of");
    client.news("PED-3").await;
}

#[tokio::test]
async fn an_empty_ledger_has_a_head_all_the_same() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let head = daemon.client().get("/v1/ledger/head").await.ok();
    assert_eq!(head["seq"], 0);
    assert_eq!(head["hash"], blake3::hash(b"razao ledger v1").to_hex().as_str());
    assert!(head.get("seal").is_some(), "{head}");
}

#[tokio::test]
async fn the_chain_holds_from_the_first_entry_to_the_head() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    some_life(&bank, &daemon.client()).await;
    let client = daemon.client();
    let ledger = client.ledger().await;
    let head = assert_chain(&ledger);
    assert!(ledger.len() >= 9, "{}", ledger.len());
    let shown = client.get("/v1/ledger/head").await.ok();
    assert_eq!((&shown["seq"], &shown["hash"]), (&json!(ledger.len()), &json!(head)));
    // A restart changes nothing that was written.
    daemon.restart();
    assert_eq!(daemon.client().ledger().await, ledger);
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn an_entry_has_every_field_and_no_other_number_than_its_seq() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_life(&bank, &client).await;
    let fields: BTreeSet<&str> = [
        "seq",
        "recorded_at",
        "occurred_at",
        "account",
        "order",
        "kind",
        "from",
        "to",
        "amount",
        "currency",
        "postings",
        "evidence",
        "discrepancy",
        "provider_status",
        "details",
        "prev_hash",
        "hash",
    ]
    .into();
    let inner: BTreeSet<&str> = ["source", "receipt", "as_of", "actor", "reason_hash"].into();
    for entry in client.ledger().await {
        let keys: BTreeSet<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, fields);
        let keys: BTreeSet<&str> =
            entry["evidence"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, inner);
        assert!(
            ["transition", "adjustment", "discrepancy", "resolution"]
                .contains(&entry["kind"].as_str().unwrap())
        );
        assert_eq!(
            entry["discrepancy"].is_null(),
            !["discrepancy", "resolution"].contains(&entry["kind"].as_str().unwrap())
        );
        if entry["kind"] == "discrepancy" {
            assert_eq!(entry["postings"], json!([]));
            assert_eq!(entry["discrepancy"]["id"], entry["seq"].to_string(), "named by its opening entry");
        }
        if entry["from"] == Value::Null {
            assert_eq!(entry["to"], "created", "an order's first entry");
        }
    }
}

#[tokio::test]
async fn an_entry_by_its_seq() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_life(&bank, &client).await;
    let ledger = client.ledger().await;
    for entry in &ledger {
        assert_eq!(client.get(&format!("/v1/ledger/{}", entry["seq"])).await.ok(), *entry);
        assert_eq!(entry["hash"], hash_of(entry).as_str());
    }
    client.get(&format!("/v1/ledger/{}", ledger.len() + 1)).await.problem(404, ANY);
    client.get("/v1/ledger/0").await.problem_among(&[400, 404]);
    for odd in ["-1", "x", "18446744073709551616", "1.0", "01x"] {
        client.get(&format!("/v1/ledger/{odd}")).await.problem_among(&[400, 404]);
    }
}

#[tokio::test]
async fn from_is_inclusive_and_pages_join_without_a_seam() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_life(&bank, &client).await;
    let ledger = client.ledger().await;
    assert_eq!(client.all("/v1/ledger?limit=2").await, ledger);
    assert_eq!(client.all("/v1/ledger?from=1").await, ledger);
    assert_eq!(client.all("/v1/ledger?from=4&limit=3").await, ledger[3..]);
    assert_eq!(client.all(&format!("/v1/ledger?from={}", ledger.len())).await, ledger[ledger.len() - 1..]);
    assert_eq!(client.get(&format!("/v1/ledger?from={}", ledger.len() + 1)).await.ok()["data"], json!([]));
    client.get("/v1/ledger?from=minus-one").await.problem_among(&[400, 422]);
}

#[tokio::test]
async fn nothing_of_a_person_enters_the_ledger() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = json!({"amount": "10.00", "currency": "BRL", "metadata": {"buyer": "Maria de Teste"}});
    client.put("/v1/orders/loja-picpay/PED-1", &body).await.is(201);
    bank.says_raw(
        "PED-1",
        r#"{"referenceId":"PED-1","status":"paid","summary":{"paid":10,"refunded":0},"buyer":{"firstName":"Maria","document":"123.456.789-09","email":"maria@example.com"},"additional_info":{"phone":"+55 11 90000-0000"}}"#,
    );
    client.news("PED-1").await;
    for path in ["/v1/ledger", "/v1/events"] {
        let text = client.get(path).await.text();
        for private in ["Maria", "123.456", "maria@example.com", "90000-0000"] {
            assert!(!text.contains(private), "{private} in {path}");
        }
    }
}

#[tokio::test]
async fn a_script_recomputes_the_chain() {
    let Some(python) = python_with("blake3", "blake3") else { return };
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_life(&bank, &client).await;
    let ledger = client.ledger().await;
    let head = assert_chain(&ledger);
    let mut command = Command::new(python);
    command.arg(interop("chain.py")).arg(daemon.base()).arg(daemon.token());
    let output = run(&mut command);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout.trim(), format!("{} {head}", ledger.len()));
    let total: i128 = sums(&ledger).values().sum();
    assert_eq!(total, 0);
}
