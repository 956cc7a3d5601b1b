//! Balances: now, as of a moment, and always the sum of the postings.

use crate::support::chain::{minor, sums};
use crate::support::{Bank, Client, Daemon, Setup, encoded};
use serde_json::{Value, json};
use std::collections::BTreeMap;

async fn in_minor(client: &Client, query: &str) -> BTreeMap<String, i128> {
    let balances = client.balances(query).await;
    balances.into_iter().map(|(name, text)| (name, minor(&text))).filter(|(_, sum)| *sum != 0).collect()
}

async fn some_life(bank: &Bank, client: &Client) {
    for (reference, word, paid, refunded) in [
        ("PED-1", "paid", "129.9", "0"),
        ("PED-2", "paid", "50", "20"),
        ("PED-3", "chargeback", "30", "0"),
        ("PED-2", "refunded", "50", "50"),
        ("PED-4", "completed", "7.77", "0"),
        ("PED-3", "paid", "30", "0"),
    ] {
        bank.says(reference, word, paid, refunded);
        client.news(reference).await;
    }
}

#[tokio::test]
async fn balances_are_the_sum_of_the_postings_at_every_seq() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_life(&bank, &client).await;
    let ledger = client.ledger().await;
    assert_eq!(in_minor(&client, "").await, sums(&ledger));
    for seq in 1..=ledger.len() {
        let expected = sums(&ledger[..seq]);
        assert_eq!(in_minor(&client, &format!("?as_of={seq}")).await, expected, "as of {seq}");
        let at = encoded(ledger[seq - 1]["recorded_at"].as_str().unwrap());
        // A time includes everything that was recorded at that time, and several entries may share it.
        let shared = ledger
            .iter()
            .take_while(|e| e["recorded_at"].as_str() <= ledger[seq - 1]["recorded_at"].as_str());
        let expected = sums(&shared.cloned().collect::<Vec<_>>());
        assert_eq!(in_minor(&client, &format!("?as_of={at}")).await, expected, "as of {at}");
    }
    assert_eq!(in_minor(&client, "?as_of=2001-01-01T00%3A00%3A00Z").await, BTreeMap::new());
}

#[tokio::test]
async fn debits_and_credits_are_positive_and_the_balance_is_their_difference() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_life(&bank, &client).await;
    let answer = client.get("/v1/balances").await.ok();
    let head = client.get("/v1/ledger/head").await.ok();
    assert_eq!(answer["seq"], head["seq"], "the seq it is true at");
    let mut total = 0;
    for line in answer["data"].as_array().unwrap() {
        let number = |name: &str| minor(line[name].as_str().unwrap_or_else(|| panic!("{name} in {line}")));
        assert!(number("debits") >= 0 && number("credits") >= 0, "{line}");
        assert_eq!(number("balance"), number("debits") - number("credits"), "{line}");
        assert_eq!(line["currency"], "BRL");
        total += number("balance");
    }
    assert_eq!(total, 0);
    // Gross flows, not only what is left: the won dispute went out and came back.
    let lines = answer["data"].as_array().unwrap();
    let disputes = lines.iter().find(|line| line["ledger_account"] == "expenses:loja-picpay:chargebacks");
    let disputes = disputes.unwrap_or_else(|| panic!("no chargebacks in {answer}"));
    assert_eq!((&disputes["debits"], &disputes["credits"]), (&json!("30.00"), &json!("30.00")));
}

#[tokio::test]
async fn accounts_are_kept_apart() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    client.put("/v1/orders/loja-b/PED-1", &json!({"amount": "10.00", "currency": "BRL"})).await.is(201);
    client.post("/v1/orders/loja-b/PED-1/poll", &json!({})).await.is(200);
    let names = async |query: &str| in_minor(&client, query).await.into_keys().collect::<Vec<_>>();
    assert_eq!(names("").await.len(), 4);
    assert_eq!(names("?account=loja-b").await, ["assets:loja-b:pending", "income:loja-b:sales"]);
    assert_eq!(names("?account=nobody").await, [""; 0]);
    assert_eq!(names("?currency=BRL").await.len(), 4);
    assert_eq!(names("?currency=USD").await, [""; 0]);
}

#[tokio::test]
async fn the_trial_balance_adds_up_to_zero() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    assert_eq!(client.get("/v1/balances").await.ok()["totals"], json!([]));
    some_life(&bank, &client).await;
    let head = client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap();
    let queries = (1..=head).map(|seq| format!("?as_of={seq}"));
    let filtered = ["", "?account=loja-picpay", "?currency=BRL", "?provider=picpay"].map(str::to_owned);
    for query in queries.chain(filtered) {
        let answer = client.get(&format!("/v1/balances{query}")).await.ok();
        let sum = |name: &str| -> i128 {
            let lines = answer["data"].as_array().unwrap();
            lines.iter().map(|line| minor(line[name].as_str().unwrap())).sum()
        };
        for total in answer["totals"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")) {
            assert_eq!((&total["currency"], &total["balance"]), (&json!("BRL"), &json!("0.00")));
            for side in ["debits", "credits"] {
                assert_eq!(minor(total[side].as_str().unwrap()), sum(side), "{side} {query}");
            }
        }
    }
    assert_eq!(client.get("/v1/balances?provider=yapay").await.ok()["data"], json!([]));
    // Who sees some accounts sees what those add up to, one by one.
    let limited = daemon.client_with("balances:read", &["--accounts", "loja-picpay"]);
    assert_eq!(limited.get("/v1/balances").await.ok()["totals"], json!(null));
    assert_eq!(limited.get("/v1/balances?account=loja-b").await.ok()["totals"], json!(null));
    let own = limited.get("/v1/balances?account=loja-picpay").await.ok();
    assert_eq!(own["totals"][0]["balance"], "0.00");
}

#[tokio::test]
async fn occurred_before_goes_by_the_providers_dates() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_life(&bank, &client).await;
    let ledger = client.ledger().await;
    assert_eq!(in_minor(&client, "?occurred_before=2001-01-01T00%3A00%3A00Z").await, BTreeMap::new());
    assert_eq!(in_minor(&client, "?occurred_before=2999-01-01T00%3A00%3A00Z").await, sums(&ledger));
}

#[tokio::test]
async fn odd_questions_are_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for query in ["as_of=yesterday", "as_of=-1", "occurred_before=soon"] {
        client.get(&format!("/v1/balances?{query}")).await.problem_among(&[400, 422]);
    }
    let empty = client.get("/v1/balances").await.is(200);
    assert_eq!(empty["seq"], Value::from(0));
}
