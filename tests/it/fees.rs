//! Money that is not simple: fees learnt with the settlement, late, or given back; refunds and disputes of what is settled
//! already. Each entry with its exact postings.

use crate::support::chain::{assert_chain, postings};
use crate::support::{ACCOUNT, Bank, Client, Daemon};
use serde_json::Value;

/// Kind, new state, amount and postings of an order's last entry, without the account's name.
async fn last(client: &Client, reference: &str) -> (String, String, Option<String>, Vec<(String, i128)>) {
    let entry = client.history(reference).await.pop().unwrap();
    let text = |name: &str| entry[name].as_str().map(str::to_owned);
    let lines = postings(&entry).into_iter();
    let lines = lines.map(|(name, sum)| (name.replace("loja-picpay:", ""), sum)).collect();
    (text("kind").unwrap(), text("to").unwrap(), text("amount"), lines)
}

fn entry(
    kind: &str,
    to: &str,
    amount: &str,
    lines: &[(&str, i128)],
) -> (String, String, Option<String>, Vec<(String, i128)>) {
    let lines = lines.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect();
    (kind.to_owned(), to.to_owned(), Some(amount.to_owned()), lines)
}

async fn settle(client: &Client, line: &str) -> Value {
    let path = format!("/v1/settlements?account={ACCOUNT}");
    let body = format!("line_id,reference,gross,fee,net,settled_date\n{line}\n");
    client.send(client.request("POST", &path).body(body)).await.is(201)["lines"][0].clone()
}

async fn paid(bank: &Bank, client: &Client, reference: &str) {
    client.register(reference, "100.00").await;
    bank.says(reference, "paid", "100", "0");
    client.news(reference).await;
}

/// The ledger is whole, and its balances sum to zero.
async fn assert_sound(client: &Client) {
    assert_chain(&client.ledger().await);
    let totals = client.get("/v1/balances").await.ok()["totals"].clone();
    assert_eq!(totals[0]["balance"], "0.00", "{totals}");
}

#[tokio::test]
async fn refunds_after_the_settlement_come_out_of_what_is_available() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    paid(&bank, &client, "PED-1").await;
    settle(&client, "L1,PED-1,100.00,3.00,97.00,2026-03-02").await;
    assert_eq!(
        last(&client, "PED-1").await,
        entry(
            "transition",
            "completed",
            "97.00",
            &[("assets:pending", -10_000), ("assets:available", 9_700), ("expenses:fees", 300)]
        )
    );
    bank.says("PED-1", "completed", "100", "30");
    client.news("PED-1").await;
    assert_eq!(
        last(&client, "PED-1").await,
        entry(
            "adjustment",
            "completed",
            "-30.00",
            &[("assets:available", -3_000), ("income:refunds", 3_000)]
        )
    );
    bank.says("PED-1", "completed", "100", "50");
    client.news("PED-1").await;
    assert_eq!(
        last(&client, "PED-1").await,
        entry(
            "adjustment",
            "completed",
            "-20.00",
            &[("assets:available", -2_000), ("income:refunds", 2_000)]
        )
    );
    bank.says("PED-1", "refunded", "100", "100");
    client.news("PED-1").await;
    assert_eq!(
        last(&client, "PED-1").await,
        entry("transition", "refunded", "50.00", &[("assets:available", -5_000), ("income:refunds", 5_000)])
    );
    // The provider kept its fee: what is available went below zero, and everybody can see it.
    assert_eq!(client.balances("").await["assets:loja-picpay:available"], "-3.00");
    assert_sound(&client).await;
}

#[tokio::test]
async fn a_fee_that_is_given_back_is_an_adjustment() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    paid(&bank, &client, "PED-1").await;
    settle(&client, "L1,PED-1,100.00,3.00,97.00,2026-03-02").await;
    bank.says("PED-1", "refunded", "100", "100");
    client.news("PED-1").await;
    let line = settle(&client, "L2,PED-1,100.00,0.00,100.00,2026-03-03").await;
    assert_eq!((line["outcome"].as_str(), line["reason"].as_str()), (Some("different"), Some("fee")));
    assert_eq!((line["expected"].as_str(), line["found"].as_str()), (Some("3.00"), Some("0.00")));
    assert_eq!(
        last(&client, "PED-1").await,
        entry("adjustment", "refunded", "3.00", &[("assets:available", 300), ("expenses:fees", -300)])
    );
    // An older line that is read late changes nothing: the latest fee counts.
    let entries = client.ledger().await.len();
    let late = settle(&client, "L0,PED-1,100.00,5.00,95.00,2026-03-01").await;
    assert_eq!((late["reason"].as_str(), late["entries"].as_array().unwrap().len()), (Some("fee"), 0));
    assert_eq!(client.ledger().await.len(), entries);
    assert_eq!(client.order("PED-1").await["amounts"]["fee"], "0.00");
    assert_sound(&client).await;
}

#[tokio::test]
async fn a_fee_that_is_learnt_late_is_an_adjustment() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    paid(&bank, &client, "PED-1").await;
    bank.says("PED-1", "completed", "100", "0");
    client.news("PED-1").await;
    assert_eq!(
        last(&client, "PED-1").await,
        entry(
            "transition",
            "completed",
            "100.00",
            &[("assets:pending", -10_000), ("assets:available", 10_000)]
        )
    );
    let line = settle(&client, "L1,PED-1,100.00,3.00,97.00,").await;
    assert_eq!(line["outcome"], "matched", "{line}");
    assert_eq!(
        last(&client, "PED-1").await,
        entry("adjustment", "completed", "-3.00", &[("assets:available", -300), ("expenses:fees", 300)])
    );
    assert_sound(&client).await;
}

#[tokio::test]
async fn a_dispute_after_the_settlement_is_lost_and_won() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    paid(&bank, &client, "PED-1").await;
    settle(&client, "L1,PED-1,100.00,3.00,97.00,2026-03-02").await;
    bank.says("PED-1", "completed", "100", "20");
    client.news("PED-1").await;
    bank.says("PED-1", "chargeback", "100", "20");
    client.news("PED-1").await;
    let taken = [("assets:available", -8_000), ("expenses:chargebacks", 8_000)];
    assert_eq!(last(&client, "PED-1").await, entry("transition", "chargeback", "80.00", &taken));
    assert_eq!(client.balances("").await["assets:loja-picpay:available"], "-3.00");
    bank.says("PED-1", "paid", "100", "20");
    client.news("PED-1").await;
    let returned = [("assets:available", 8_000), ("expenses:chargebacks", -8_000)];
    assert_eq!(last(&client, "PED-1").await, entry("transition", "completed", "-80.00", &returned));
    assert_sound(&client).await;
}

#[tokio::test]
async fn a_line_about_money_that_went_back_only_settles_it() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for (reference, word, state) in [("PED-1", "chargeback", "chargeback"), ("PED-2", "refunded", "refunded")]
    {
        paid(&bank, &client, reference).await;
        bank.says(reference, word, "100", if word == "refunded" { "100" } else { "0" });
        client.news(reference).await;
        let line = settle(&client, &format!("{reference},{reference},100.00,3.00,97.00,2026-03-02")).await;
        assert_eq!(line["outcome"], "matched", "{line}");
        let lines = [("assets:available", -300), ("expenses:fees", 300)];
        assert_eq!(last(&client, reference).await, entry("adjustment", state, "-3.00", &lines));
    }
    // Won, it returns to where settled money is.
    bank.says("PED-1", "paid", "100", "0");
    client.news("PED-1").await;
    let returned = [("assets:available", 10_000), ("expenses:chargebacks", -10_000)];
    assert_eq!(last(&client, "PED-1").await, entry("transition", "completed", "-100.00", &returned));
    assert_sound(&client).await;
}
