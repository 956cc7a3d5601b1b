//! Statements: a period of one ledger account, by page and as CSV, and who may see it.

use crate::support::chain::{minor, postings};
use crate::support::{Bank, Client, Daemon, Setup, encoded};
use serde_json::{Value, json};

const PENDING: &str = "assets:loja-picpay:pending";

async fn some_sales(bank: &Bank, client: &Client, count: usize) {
    for number in 1..=count {
        let reference = format!("PED-{number}");
        bank.says(&reference, "paid", &format!("{number}0.50"), "0");
        client.news(&reference).await;
    }
    bank.says("PED-1", "refunded", "10.50", "10.50");
    client.news("PED-1").await;
}

async fn statement(client: &Client, query: &str) -> Value {
    client.get(&format!("/v1/statement?ledger_account={}{query}", encoded(PENDING))).await.ok()
}

/// What the ledger says moved the account: seq, amount, balance after it.
fn by_hand(ledger: &[Value]) -> Vec<(u64, i128, i128)> {
    let mut balance = 0;
    let mut lines = Vec::new();
    for entry in ledger {
        let moved = postings(entry).into_iter().find(|(name, _)| name == PENDING);
        if let Some((_, amount)) = moved {
            balance += amount;
            lines.push((entry["seq"].as_u64().unwrap(), amount, balance));
        }
    }
    lines
}

fn lines(answer: &Value) -> Vec<(u64, i128, i128)> {
    let number = |line: &Value, name: &str| minor(line[name].as_str().unwrap());
    let line = |line: &Value| {
        (line["seq"].as_u64().unwrap(), number(line, "amount"), number(line, "running_balance"))
    };
    answer["data"].as_array().unwrap().iter().map(line).collect()
}

fn balance(answer: &Value, name: &str) -> i128 {
    minor(answer[name].as_str().unwrap_or_else(|| panic!("{name} in {answer}")))
}

#[tokio::test]
async fn lines_lead_from_the_opening_to_the_closing_balance() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_sales(&bank, &client, 3).await;
    let ledger = client.ledger().await;
    let expected = by_hand(&ledger);
    assert_eq!(expected.len(), 4);
    let whole = statement(&client, "").await;
    assert_eq!(lines(&whole), expected);
    assert_eq!((balance(&whole, "opening_balance"), whole["seq"].clone()), (0, json!(ledger.len())));
    assert_eq!(balance(&whole, "closing_balance"), expected[3].2);
    assert_eq!((&whole["currency"], &whole["date"]), (&json!("BRL"), &json!("recorded")));
    let first = &whole["data"][0];
    let entry = &ledger[usize::try_from(expected[0].0).unwrap() - 1];
    for name in ["seq", "recorded_at", "occurred_at", "order", "kind"] {
        assert_eq!(first[name], entry[name], "{name}");
    }
    // Seqs are inclusive on both sides, times leave out their end.
    let (from, to) = (expected[1].0, expected[2].0);
    let middle = statement(&client, &format!("&from={from}&to={to}")).await;
    assert_eq!(lines(&middle), expected[1..3]);
    assert_eq!(balance(&middle, "opening_balance"), expected[0].2);
    assert_eq!(balance(&middle, "closing_balance"), expected[2].2);
    let at = |seq: u64| encoded(ledger[usize::try_from(seq).unwrap() - 1]["recorded_at"].as_str().unwrap());
    let middle = statement(&client, &format!("&from={}&to={}", at(from), at(to))).await;
    assert_eq!(lines(&middle), expected[1..2]);
    let occurred = statement(&client, "&date=occurred").await;
    assert_eq!(balance(&occurred, "closing_balance"), expected[3].2);
    assert_eq!(occurred["data"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn pages_stay_the_same_while_the_ledger_grows() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_sales(&bank, &client, 4).await;
    let whole = statement(&client, "").await;
    for date in ["recorded", "occurred"] {
        let mut page = statement(&client, &format!("&limit=2&date={date}")).await;
        let mut read = lines(&page);
        let seq = page["seq"].clone();
        bank.says(&format!("LATE-{date}"), "paid", "1", "0");
        client.news(&format!("LATE-{date}")).await;
        while let Some(cursor) = page["next_cursor"].as_str() {
            let cursor = cursor.to_owned();
            page = statement(&client, &format!("&limit=2&date={date}&cursor={cursor}")).await;
            assert_eq!(page["seq"], seq);
            read.extend(lines(&page));
        }
        let last = read.last().unwrap().2;
        assert_eq!(last, balance(&page, "closing_balance"), "{date}");
        if date == "recorded" {
            assert_eq!(read, lines(&whole));
        }
    }
}

#[tokio::test]
async fn a_csv_holds_every_line_between_its_balances() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_sales(&bank, &client, 2).await;
    let json = statement(&client, "").await;
    let path = format!("/v1/statement?format=csv&ledger_account={}", encoded(PENDING));
    let reply = client.get(&path).await;
    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/csv")));
    let text = reply.text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0].join(","), "seq,recorded_at,occurred_at,order,kind,amount,running_balance,currency");
    assert_eq!((rows[1][4], rows[1][6]), ("opening_balance", "0.00"));
    let last = rows.last().unwrap();
    assert_eq!((last[4], last[6]), ("closing_balance", json["closing_balance"].as_str().unwrap()));
    let within: Vec<_> = rows[2..rows.len() - 1]
        .iter()
        .map(|row| (row[0].parse().unwrap(), minor(row[5]), minor(row[6])))
        .collect();
    assert_eq!(within, lines(&json));
    client.get(&format!("{path}&limit=2")).await.problem_among(&[400]);
}

#[tokio::test]
async fn days_are_the_merchants_and_odd_questions_are_refused() {
    let bank = Bank::open();
    let mut setup = Setup::new(&bank);
    setup.extra = "[reports]\ntimezone = \"America/Sao_Paulo\"\n".to_owned();
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    let empty = statement(&client, "&from=2025-11-01&to=2025-12-01T00:00:00Z").await;
    assert_eq!(empty["from"], "2025-11-01T03:00:00.000000Z");
    assert_eq!(empty["to"], "2025-12-01T00:00:00.000000Z");
    assert_eq!((balance(&empty, "opening_balance"), balance(&empty, "closing_balance")), (0, 0));
    assert_eq!((&empty["data"], &empty["next_cursor"]), (&json!([]), &json!(null)));
    for query in [
        "&from=yesterday",
        "&from=2025-13-01",
        "&to=99",
        "&from=2&to=1",
        "&from=2025-12-01&to=2025-11-01",
        "&from=1&date=occurred",
        "&date=booked",
        "&format=pdf",
        "&currency=XX",
        "&limit=0",
        "&cursor=zz",
        "&form=2",
    ] {
        let path = format!("/v1/statement?ledger_account={}{query}", encoded(PENDING));
        client.get(&path).await.problem_among(&[400]);
    }
    client.get("/v1/statement").await.problem_among(&[400]);
    for name in ["assets:nobody:pending", "assets:loja-picpay:gold", "", "assets:bank:loja-picpay "] {
        let path = format!("/v1/statement?ledger_account={}", encoded(name));
        client.get(&path).await.problem_among(&[404]);
    }
    client.get("/v1/statement?ledger_account=assets%3Abank%3Aloja-picpay").await.is(200);
}

#[tokio::test]
async fn a_token_sees_its_own_ledger_accounts() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    some_sales(&bank, &daemon.client(), 1).await;
    let limited = daemon.client_with("balances:read", &["--accounts", "loja-b"]);
    let path = |name: &str| format!("/v1/statement?ledger_account={}", encoded(name));
    limited.get(&path(PENDING)).await.problem_among(&[404]);
    limited.get(&path("assets:loja-b:pending")).await.is(200);
    let unscoped = daemon.client_with("ledger:read", &[]);
    unscoped.get(&path(PENDING)).await.problem_among(&[403]);
}
