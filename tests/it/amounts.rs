//! Amounts from hostile hands: refused where a shop sends them, flagged where a provider does, never guessed.

use crate::support::client::order_path;
use crate::support::{ANY, Bank, Daemon};
use serde_json::{Value, json};

#[tokio::test]
async fn a_shop_cannot_register_what_is_no_amount() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let nines = "9".repeat(60);
    let bad = [
        "-1.00",
        "-0.01",
        "1.234",
        "0.001",
        "10000000000000.00",
        "99999999999999999999",
        &nines,
        "1e2",
        "1E400",
        "1e-2",
        "",
        " ",
        "abc",
        "1,50",
        "1.000,00",
        "R$ 1.00",
        " 1.00",
        "1.00 ",
        "+1.00",
        ".50",
        "1.",
        "NaN",
        "Infinity",
        "0x10",
        "١٢",
    ];
    for amount in bad {
        let reply = client.put(&order_path("PED-1"), &json!({"amount": amount, "currency": "BRL"})).await;
        assert_eq!(reply.status, 422, "{amount:?} was answered {} {}", reply.status, reply.text());
        reply.problem(422, ANY);
    }
    // Numbers are no decimal strings: 129.9 may be 129.90000000000001 by the time it is read.
    for amount in [json!(129.9), json!(1), json!(true), json!(["1.00"]), json!({"value": "1.00"})] {
        let reply = client.put(&order_path("PED-1"), &json!({"amount": amount, "currency": "BRL"})).await;
        reply.problem_among(&[400, 422]);
    }
    client.get(&order_path("PED-1")).await.problem(404, ANY);
    assert_eq!(client.ledger().await.len(), 0);
}

#[tokio::test]
async fn amounts_are_shown_with_the_currencys_full_scale() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for (given, shown) in
        [("1.1", "1.10"), ("7", "7.00"), ("0.01", "0.01"), ("9999999999999.99", "9999999999999.99")]
    {
        let reference = format!("PED-{given}");
        client.register(&reference, given).await;
        assert_eq!(client.order(&reference).await["amounts"]["expected"], shown);
    }
}

#[tokio::test]
async fn another_currency_than_the_accounts_is_422() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for currency in ["USD", "brl", "XXX", "", "BRLL"] {
        let reply = client.put(&order_path("PED-1"), &json!({"amount": "1.00", "currency": currency})).await;
        assert_eq!(reply.status, 422, "{currency:?}: {}", reply.text());
        reply.problem(422, ANY);
    }
    client.put(&order_path("PED-1"), &json!({"amount": "1.00"})).await.problem_among(&[400, 422]);
    client.get(&order_path("PED-1")).await.problem(404, ANY);
}

#[tokio::test]
async fn an_amount_of_the_bank_that_cannot_be_read_is_flagged_and_the_state_moves() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let long = format!("1.{}", "0".repeat(50));
    let bad = [
        "-5",
        "-0.01",
        "1e400",
        "1e999999999",
        "1e-999999999",
        "1.234",
        "0.005",
        "10000000000000",
        "1e30",
        "99999999999999999999999",
        "\"abc\"",
        "\"\"",
        "true",
        "[1]",
        "{}",
        &long,
    ];
    for (number, literal) in bad.iter().enumerate() {
        let reference = format!("PED-{number}");
        client.register(&reference, "129.90").await;
        bank.says(&reference, "paid", literal, "0");
        let order = client.news(&reference).await;
        assert_eq!(order["state"], "paid", "{literal}: the state still moves: {order}");
        assert_eq!(order["discrepancies"][0]["cause"], "amount_unreadable", "{literal}: {order}");
        assert_eq!(order["amounts"]["gross"], "129.90", "{literal}: the registered amount stands in");
        let found = order["discrepancies"][0]["found"].as_str().unwrap_or("").len();
        assert!(found <= 64, "{literal}: a literal is kept whole, {found} characters of it");
    }
    bank.says("PED-0", "paid", "129.9", "0");
    let order = client.news("PED-0").await;
    assert_eq!(order["discrepancies"], json!([]), "a readable amount closes it");
}

#[tokio::test]
async fn numbers_are_read_from_their_text() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let good = [
        ("4.35", "4.35"),
        ("1.1e2", "110.00"),
        ("12345E-2", "123.45"),
        // What binary fractions leave behind is dust, not money.
        ("3.0900000000000034", "3.09"),
        ("9999999999999.99", "9999999999999.99"),
        ("1.10000", "1.10"),
    ];
    for (literal, gross) in good {
        let reference = format!("PED-{gross}-{}", literal.len());
        bank.says(&reference, "paid", literal, "0");
        let order = client.news(&reference).await;
        assert_eq!(order["amounts"]["gross"], gross, "{literal}: {order}");
        assert_eq!(order["discrepancies"], json!([]), "{literal}");
    }
}

#[tokio::test]
async fn a_payment_whose_amount_nobody_knows_is_booked_once_it_is_known() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says_legacy("PED-1", "paid");
    let order = client.news("PED-1").await;
    assert_eq!((&order["state"], &order["amounts"]["gross"]), (&json!("paid"), &Value::Null));
    assert_eq!(order["discrepancies"][0]["cause"], "amount_unknown");
    let paid = client.history("PED-1").await[1].clone();
    assert_eq!((&paid["amount"], &paid["postings"]), (&Value::Null, &json!([])));
    assert_eq!(client.balances("").await.values().filter(|balance| *balance != "0.00").count(), 0);
    // The shop says what it expects: nothing was registered before, so it is 201, and now the money is booked.
    client.register("PED-1", "129.90").await;
    let order = client.order("PED-1").await;
    assert_eq!(order["amounts"]["gross"], "129.90");
    assert_eq!(order["discrepancies"], json!([]));
    let history = client.history("PED-1").await;
    let adjustment = history.iter().find(|entry| entry["kind"] == "adjustment").expect("an adjustment");
    assert_eq!((&adjustment["amount"], &adjustment["to"]), (&json!("129.90"), &json!("paid")));
    assert_eq!(adjustment["evidence"]["source"], "registration");
    assert_eq!(client.balances("").await["assets:loja-picpay:pending"], "129.90");
}
