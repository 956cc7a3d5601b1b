//! Money that left for the bank: recorded once, seen everywhere, never changed.

use crate::support::chain::{assert_chain, postings};
use crate::support::hooks::{Hooked, SOON};
use crate::support::{ACCOUNT, ANY, Bank, Client, Daemon, Reply, Setup};
use serde_json::{Value, json};

fn payout(reference: &str, amount: &str) -> Value {
    json!({
        "account": ACCOUNT, "reference": reference, "amount": amount, "currency": "BRL",
        "occurred_at": "2026-03-02T18:00:00-03:00"
    })
}

async fn record(client: &Client, body: &Value) -> Reply {
    client.post("/v1/payouts", body).await
}

#[tokio::test]
async fn a_payout_moves_money_to_the_bank_once() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "completed", "129.9", "0");
    client.news("PED-1").await;
    let made = record(&client, &payout("TED-1", "100.00")).await.is(201);
    assert_eq!((&made["account"], &made["reference"]), (&json!(ACCOUNT), &json!("TED-1")));
    assert_eq!((&made["amount"], &made["currency"]), (&json!("100.00"), &json!("BRL")));
    assert_eq!(made["occurred_at"], "2026-03-02T18:00:00.000000-03:00");

    let ledger = client.ledger().await;
    assert_chain(&ledger);
    let entry = ledger.last().unwrap();
    assert_eq!((&entry["seq"], &entry["kind"]), (&made["seq"], &json!("payout")));
    for absent in ["order", "from", "to", "discrepancy", "provider_status"] {
        assert_eq!(entry[absent], Value::Null, "{absent}");
    }
    assert_eq!((&entry["amount"], &entry["recorded_at"]), (&json!("100.00"), &made["recorded_at"]));
    assert_eq!(entry["evidence"]["source"], "statement");
    assert_eq!(entry["details"], json!({"payout_reference": "TED-1"}));
    assert_eq!(
        postings(entry),
        [
            ("assets:loja-picpay:available".to_owned(), -10_000),
            ("assets:bank:loja-picpay".to_owned(), 10_000)
        ]
    );

    let again = record(&client, &payout("TED-1", "100.00")).await.is(200);
    assert_eq!(again, made);
    let mut undated = payout("TED-1", "100.00");
    undated.as_object_mut().unwrap().remove("occurred_at");
    record(&client, &undated).await.is(200);
    record(&client, &payout("TED-1", "100.01")).await.problem(409, "payout-differs");
    let mut dated = payout("TED-1", "100.00");
    dated["occurred_at"] = json!("2026-03-02T18:00:01-03:00");
    record(&client, &dated).await.problem(409, "payout-differs");
    assert_eq!(client.ledger().await.len(), ledger.len(), "none of it made an entry");

    daemon.restart();
    let client = daemon.client();
    record(&client, &payout("TED-1", "100.00")).await.is(200);
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn balances_statements_and_events_know_it() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    // More than there is: what is available goes below zero, and shows it.
    record(&client, &payout("TED-1", "30.00")).await.is(201);
    record(&client, &payout("TED-2", "12.50")).await.is(201);
    let balances = client.balances("").await;
    assert_eq!(balances["assets:loja-picpay:available"], "-42.50");
    assert_eq!(balances["assets:bank:loja-picpay"], "42.50");
    assert_eq!(client.balances("?as_of=1").await["assets:bank:loja-picpay"], "30.00");
    let answer = client.get("/v1/balances").await.ok();
    assert_eq!(answer["totals"][0]["balance"], "0.00");

    let statement = client.get("/v1/statement?ledger_account=assets:bank:loja-picpay").await.ok();
    assert_eq!(
        (&statement["opening_balance"], &statement["closing_balance"]),
        (&json!("0.00"), &json!("42.50"))
    );
    let lines = statement["data"].as_array().unwrap();
    let shown: Vec<_> = lines.iter().map(|line| (&line["order"], &line["amount"])).collect();
    assert_eq!(shown, [(&Value::Null, &json!("30.00")), (&Value::Null, &json!("12.50"))]);

    let events = client.all("/v1/events?type=payout.recorded").await;
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["type"], &events[0]["data"]["order"]), (&json!("payout.recorded"), &Value::Null));
    assert_eq!(events[0]["data"]["entry"]["kind"], "payout");
    assert_eq!(client.all("/v1/events?type=order.*").await, [Value::Null; 0]);
    assert_eq!(client.all("/v1/events?order=TED-1").await, [Value::Null; 0]);
}

#[tokio::test]
async fn what_is_no_payout_is_refused() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("other", &bank, ""));
    let client = daemon.client();
    for (field, value) in [
        ("amount", json!("0.00")),
        ("amount", json!("-1.00")),
        ("amount", json!("1.005")),
        ("amount", json!(1.1)),
        ("amount", Value::Null),
        ("currency", json!("USD")),
        ("currency", Value::Null),
        ("reference", json!("")),
        ("reference", json!("..")),
        ("reference", Value::Null),
        ("account", Value::Null),
        ("occurred_at", json!("yesterday")),
        ("occurred_at", json!("2999-01-01T00:00:00Z")),
        ("note", json!("x")),
    ] {
        let mut body = payout("TED-1", "1.00");
        body[field] = value.clone();
        let problem = record(&client, &body).await.problem(422, "invalid-fields");
        assert_eq!(problem["errors"][0]["field"], field, "{value}: {problem}");
    }
    let mut nobody = payout("TED-1", "1.00");
    nobody["account"] = json!("nobody");
    record(&client, &nobody).await.problem(404, ANY);
    let narrow = daemon.client_with("orders:write", &["--accounts", "other"]);
    record(&narrow, &payout("TED-1", "1.00")).await.problem(404, ANY);
    let reader = daemon.client_with("orders:read", &[]);
    record(&reader, &payout("TED-1", "1.00")).await.problem(403, "missing-scope");
    client.send(client.request("POST", "/v1/payouts").body("[]")).await.problem(400, "invalid-body");
    assert_eq!(client.ledger().await.len(), 0);
}

#[tokio::test]
async fn a_key_goes_with_one_payout_and_lists_are_paged() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("other", &bank, ""));
    let client = daemon.client();
    let keyed = async |body: &Value| {
        let request = client.request("POST", "/v1/payouts").header("idempotency-key", "k1");
        client.send(request.body(body.to_string())).await
    };
    let first = keyed(&payout("TED-1", "1.00")).await;
    let again = keyed(&payout("TED-1", "1.00")).await;
    assert_eq!((first.is(201), again.header("idempotency-replayed")), (again.is(201), Some("true")));
    keyed(&payout("TED-2", "1.00")).await.problem(409, "idempotency-key-reused");
    record(&client, &payout("TED-2", "2.00")).await.is(201);
    let mut other = payout("TED-1", "3.00");
    other["account"] = json!("other");
    record(&client, &other).await.is(201);
    let names = async |client: &Client, query: &str| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found = client.all(&format!("/v1/payouts{query}")).await;
        found.iter().map(|one| (text(&one["account"]), text(&one["reference"]))).collect()
    };
    let all = names(&client, "?limit=1").await;
    let expected = [(ACCOUNT, "TED-1"), (ACCOUNT, "TED-2"), ("other", "TED-1")];
    assert_eq!(all, expected.map(|(account, name)| (account.to_owned(), name.to_owned())));
    assert_eq!(names(&client, &format!("?account={ACCOUNT}")).await.len(), 2);
    let narrow = daemon.client_with("orders:read", &["--accounts", "other"]);
    assert_eq!(names(&narrow, "").await.len(), 1);
}

#[tokio::test]
async fn webhooks_are_told_of_it_as_an_event_of_no_order() {
    let hooked = Hooked::with(SOON, json!({"events": ["payout.*"]})).await;
    hooked.pay("PED-1").await;
    let made = record(&hooked.client(), &payout("TED-1", "1.00")).await.is(201);
    hooked.delivered(made["seq"].as_u64().unwrap(), "delivered").await;
    let told = hooked.shop.confirmed();
    assert_eq!(told.len(), 1);
    let event = told[0].json();
    assert_eq!((&event["type"], &event["seq"]), (&json!("payout.recorded"), &made["seq"]));
    assert_eq!((&event["data"]["order"], &event["data"]["entry"]["amount"]), (&Value::Null, &json!("1.00")));
}
