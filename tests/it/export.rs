//! Exports over HTTP and by the command: the same bytes, whose entries they hold, and what hledger and beancount make of
//! the sandbox's lives.

use crate::support::chain::assert_chain;
use crate::support::place::{Place, assert_one_line_error, both};
use crate::support::sandbox::{Sandbox, free_port};
use crate::support::{Bank, Client, Daemon, Reply, Setup, encoded, interop, journals, python_with, run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const FORMATS: [(&str, &str, &str); 5] = [
    ("csv", "text/csv; charset=utf-8; header=present", "csv"),
    ("csv-br", "text/csv; charset=utf-8; header=present", "csv"),
    ("ndjson", "application/x-ndjson", "ndjson"),
    ("hledger", "text/plain; charset=utf-8", "journal"),
    ("beancount", "text/plain; charset=utf-8", "beancount"),
];
const PROVIDERS: [&str; 5] = ["picpay", "gerencianet", "yapay", "genpag", "fourp"];
const LIVES: [&str; 8] = [
    "happy",
    "expiry",
    "late-payment",
    "refund",
    "partial-refunds",
    "chargeback-lost",
    "chargeback-won",
    "out-of-order",
];
const CHART: &str = "[reports.chart]\n\"income:loja-picpay:sales\" = \"3.1.01 Receita de vendas\"\n\"income:loja-b:sales\" = \"3.1.01 Receita de vendas\"\n";

async fn export(client: &Client, query: &str) -> Reply {
    client.get(&format!("/v1/export?format={query}")).await
}

async fn exported(client: &Client, query: &str) -> Vec<u8> {
    let reply = export(client, query).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    reply.body
}

async fn some_sales(bank: &Bank, client: &Client, count: usize) {
    for number in 1..=count {
        let reference = format!("PED-{number}");
        bank.says(&reference, "paid", &format!("{number}0.50"), "0");
        client.news(&reference).await;
    }
    bank.says("PED-1", "refunded", "10.50", "10.50");
    client.news("PED-1").await;
}

/// What the API's balances come to under the names of a journal, zero ones left out.
async fn balances(client: &Client, query: &str, name: impl Fn(&str) -> String) -> journals::Balances {
    let answer = client.get(&format!("/v1/balances{query}")).await.ok();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let lines = answer["data"].as_array().unwrap();
    let line = |line: &Value| {
        ((name(&text(&line["ledger_account"])), text(&line["currency"])), text(&line["balance"]))
    };
    lines.iter().map(line).filter(|(_, balance)| balance.chars().any(|c| ('1'..='9').contains(&c))).collect()
}

/// What beancount calls a ledger account that no chart names.
fn capitalised(name: &str) -> String {
    let part = |part: &str| format!("{}{}", part[..1].to_uppercase(), &part[1..]);
    name.split(':').map(part).collect::<Vec<_>>().join(":")
}

#[tokio::test]
async fn both_programs_see_the_balances_of_the_sandboxs_lives() {
    let port = free_port();
    let sandbox = Sandbox::start(&format!("http://127.0.0.1:{port}"));
    let setup = Setup { accounts: sandbox.accounts.clone(), ..Setup::default() }
        .resolver("first_pause = \"50ms\"\nmax_pause = \"500ms\"\n")
        .env("RAZAO__SERVER__LISTEN", &format!("127.0.0.1:{port}"));
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    let mut begun = 0;
    for provider in PROVIDERS {
        for life in LIVES {
            let path = format!("/v1/orders/sandbox-{provider}/{life}");
            client.put(&path, &json!({"amount": "129.90", "currency": "BRL"})).await;
            begun += usize::from(sandbox.begin(provider, life, life).await.is_some());
        }
    }
    assert!(begun > 20, "only {begun} lives began");
    sandbox.truths("over", Duration::from_secs(120)).await;
    client.idle().await;
    let journal = exported(&client, "hledger").await;
    if let Some(found) = journals::hledger(&journal) {
        assert_eq!(found, balances(&client, "", str::to_owned).await);
    }
    let ledger = exported(&client, "beancount").await;
    if let Some(found) = journals::beancount(&ledger) {
        assert_eq!(found, balances(&client, "", capitalised).await);
    }
    let account = "sandbox-picpay";
    if let Some(found) = journals::hledger(&exported(&client, &format!("hledger&account={account}")).await) {
        assert_eq!(found, balances(&client, &format!("?account={account}"), str::to_owned).await);
    }
    // Every moment of the past, taken as a range to there.
    let head = client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap();
    for seq in [head / 3, head / 2] {
        if let Some(found) = journals::beancount(&exported(&client, &format!("beancount&to={seq}")).await) {
            assert_eq!(found, balances(&client, &format!("?as_of={seq}"), capitalised).await, "{seq}");
        }
    }
    daemon.stop();
}

#[tokio::test]
async fn lines_of_json_are_the_ledger() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_sales(&bank, &client, 3).await;
    let reply = export(&client, "ndjson").await;
    let lines: Vec<Value> = reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ledger = client.ledger().await;
    assert_eq!(lines, ledger);
    let head = assert_chain(&lines);
    if let Some(python) = python_with("blake3", "blake3") {
        let path = daemon.place().file("ledger.ndjson");
        std::fs::write(&path, &reply.body).unwrap();
        let output = run(Command::new(python).arg(interop("chain.py")).arg(&path));
        assert!(output.status.success(), "{}", both(&output));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), format!("{} {head}", ledger.len()));
    }
}

/// Rows of a table by their columns' names.
fn table(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        columns.iter().map(|c| (*c).to_owned()).zip(line.split(',').map(str::to_owned)).collect()
    };
    lines.map(row).collect()
}

#[tokio::test]
async fn a_table_has_a_row_a_posting_and_one_for_entries_without() {
    let bank = Bank::open();
    let mut setup = Setup::new(&bank);
    setup.extra = CHART.to_owned();
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    client.register("PED-1", "10.50").await;
    bank.says("PED-1", "paid", "10.50", "0");
    client.news("PED-1").await;
    let entries = client.ledger().await;
    let text = String::from_utf8(exported(&client, "csv").await).unwrap();
    let rows = table(&text);
    let expected: Vec<(&Value, Value)> = entries
        .iter()
        .flat_map(|entry| match entry["postings"].as_array().unwrap().as_slice() {
            [] => vec![(entry, json!({"ledger_account": "", "amount": ""}))],
            postings => postings.iter().map(|posting| (entry, posting.clone())).collect(),
        })
        .collect();
    assert_eq!(rows.len(), expected.len(), "{text}");
    for (row, (entry, posting)) in rows.iter().zip(expected) {
        let same = |column: &str, value: &Value| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let value = if value == "null" { String::new() } else { value };
            assert_eq!(row[column], value, "{column}");
        };
        for name in
            ["seq", "recorded_at", "occurred_at", "account", "order", "kind", "from", "to", "currency"]
        {
            same(name, &entry[name]);
        }
        for name in ["provider_status", "prev_hash", "hash"] {
            same(name, &entry[name]);
        }
        for name in ["source", "receipt", "as_of", "actor", "reason_hash"] {
            same(name, &entry["evidence"][name]);
        }
        same("entry_amount", &entry["amount"]);
        same("amount", &posting["amount"]);
        same("own_ledger_account", &posting["ledger_account"]);
    }
    let named: Vec<&str> = rows.iter().map(|row| row["ledger_account"].as_str()).collect();
    assert!(named.contains(&"3.1.01 Receita de vendas") && named.contains(&"assets:loja-picpay:pending"));
    let brazilian = String::from_utf8(exported(&client, "csv-br").await).unwrap();
    assert!(brazilian.contains(";-10,50;BRL;10,50;"), "{brazilian}");
    let journal = exported(&client, "hledger").await;
    if let Some(found) = journals::hledger(&journal) {
        assert_eq!(found[&("3.1.01 Receita de vendas".to_owned(), "BRL".to_owned())], "-10.50");
    }
    let ledger = exported(&client, "beancount").await;
    if let Some(found) = journals::beancount(&ledger) {
        assert_eq!(found[&("Income:3-1-01-Receita-de-vendas".to_owned(), "BRL".to_owned())], "-10.50");
    }
    let text = String::from_utf8(ledger).unwrap();
    assert!(text.contains("  name: \"3.1.01 Receita de vendas\"\n"), "{text}");
}

#[tokio::test]
async fn the_command_prints_the_same_bytes_as_the_api() {
    let bank = Bank::open();
    let mut setup = Setup::new(&bank).account("loja-b", &bank, "");
    setup.extra = CHART.to_owned();
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    some_sales(&bank, &client, 3).await;
    let ranges: [(&str, &[&str]); 5] = [
        ("", &[]),
        ("&from=3&to=5", &["--from", "3", "--to", "5"]),
        ("&account=loja-b", &["--account", "loja-b"]),
        ("&to=2999-01-01", &["--to", "2999-01-01"]),
        (
            "&from=2000-01-01&to=2000-02-01T00:00:00Z",
            &["--from", "2000-01-01", "--to", "2000-02-01T00:00:00Z"],
        ),
    ];
    let mut answered = Vec::new();
    for (format, kind, extension) in FORMATS {
        for (query, arguments) in &ranges {
            let reply = export(&client, &format!("{format}{query}")).await;
            assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{format}");
            let disposition = reply.header("content-disposition").unwrap_or_default();
            assert!(disposition.starts_with("attachment; filename=\"razao-"), "{disposition}");
            assert!(disposition.ends_with(&format!(".{extension}\"")), "{disposition}");
            answered.push((format, *arguments, reply.body));
        }
    }
    let open = exported(&client, "hledger&from=4&balances=open").await;
    answered.push(("hledger", &["--from", "4", "--balances", "open"], open));
    // Beside the daemon, through its socket, and alone.
    for serving in [true, false] {
        if !serving {
            daemon.stop();
        }
        for (format, arguments, body) in &answered {
            let output = daemon.place().cli(&[&["export", "--format", format], *arguments].concat());
            assert_eq!(output.status.code(), Some(0), "{}", both(&output));
            assert!(
                output.stdout == *body,
                "{format} {arguments:?}, serving: {serving}:\n{}\n{}",
                both(&output),
                String::from_utf8_lossy(body)
            );
        }
        refuses_what_cannot_be_meant(daemon.place());
    }
    // Who exports makes no ledger where there is none.
    std::fs::remove_dir_all(daemon.data()).unwrap();
    assert_one_line_error(&daemon.place().cli(&["export", "--format", "csv"]), 2);
    assert!(!daemon.data().exists());
}

fn refuses_what_cannot_be_meant(place: &Place) {
    for odd in [
        &["--format", "xlsx"][..],
        &[],
        &["--format", "csv", "--balances", "open"],
        &["--format", "hledger", "--balances", "shut"],
        &["--format", "csv", "--from", "soon"],
        &["--format", "csv", "--from", "5", "--to", "4"],
        &["--format", "csv", "--to", "999"],
        &["--format", "csv", "--account", "loja-c"],
        &["--format", "csv", "--account", "Loja"],
    ] {
        let output = place.cli(&[&["export"], odd].concat());
        assert_eq!(output.status.code(), Some(2), "{odd:?}: {}", both(&output));
        assert!(output.stdout.is_empty(), "{odd:?}");
    }
}

#[tokio::test]
async fn a_token_exports_its_own_accounts() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    some_sales(&bank, &client, 2).await;
    client.put("/v1/orders/loja-b/B-1", &json!({"amount": "1.00", "currency": "BRL"})).await.is(201);
    let limited = daemon.client_with("ledger:read", &["--accounts", "loja-b"]);
    for (format, _, _) in FORMATS {
        let text = String::from_utf8(exported(&limited, format).await).unwrap();
        assert!(text.contains("B-1") && !text.contains("loja-picpay") && !text.contains("PED-"), "{text}");
        let other = exported(&limited, &format!("{format}&account=loja-picpay")).await;
        let other = String::from_utf8(other).unwrap();
        assert!(!other.contains("PED-") && !other.contains("B-1"), "{other}");
    }
    export(&daemon.client_with("balances:read", &[]), "csv").await.problem_among(&[403]);
    export(&daemon.anonymous(), "csv").await.problem_among(&[401]);
}

#[tokio::test]
async fn odd_questions_are_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for query in [
        "pdf",
        "",
        "CSV",
        "csv&from=yesterday",
        "csv&from=2&to=1",
        "csv&to=99",
        "csv&from=2025-12-01&to=2025-11-01",
        "csv&account=Not%20One",
        "csv&balances=open",
        "ndjson&balances=comment",
        "hledger&balances=yes",
        "csv&limit=5",
    ] {
        export(&client, query).await.problem_among(&[400]);
    }
    client.get("/v1/export").await.problem_among(&[400]);
    // Of an empty ledger there is nothing to say, in any format.
    for (format, _, _) in FORMATS {
        let text = String::from_utf8(exported(&client, format).await).unwrap();
        assert!(!text.contains("BRL"), "{format}: {text}");
        match format {
            "hledger" => drop(journals::hledger(text.as_bytes())),
            "beancount" => drop(journals::beancount(text.as_bytes())),
            _ => {}
        }
    }
}

#[tokio::test]
async fn partial_ranges_pass_the_checks_as_they_come_and_together() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_sales(&bank, &client, 4).await;
    let head = client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap();
    let cut = head / 2;
    let second = exported(&client, &format!("hledger&from={}", cut + 1)).await;
    if let Some(alone) = journals::hledger(&second) {
        let first = exported(&client, &format!("hledger&to={cut}")).await;
        let both = journals::hledger(&[first, second].concat()).unwrap();
        assert_eq!(both, balances(&client, "", str::to_owned).await);
        assert_ne!(both, alone);
    }
    // beancount asserts a day at a time, and all of this is one day.
    let second = exported(&client, &format!("beancount&from={}", cut + 1)).await;
    if journals::beancount(&second).is_some() {
        let first = exported(&client, &format!("beancount&to={cut}&balances=comment")).await;
        let both = journals::beancount(&[first, second].concat()).unwrap();
        assert_eq!(both, balances(&client, "", capitalised).await);
    }
    let open = exported(&client, &format!("beancount&from={}&balances=open", cut + 1)).await;
    if let Some(mut found) = journals::beancount(&open) {
        found.remove(&("Equity:Opening-Balances".to_owned(), "BRL".to_owned()));
        assert_eq!(found, balances(&client, "", capitalised).await);
    }
}

#[tokio::test]
async fn both_dates_and_what_identifies_an_entry_are_in_the_journals() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED;1 | \"x\"", "10.50").await;
    let entry = &client.ledger().await[0];
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let journal = text(exported(&client, "hledger").await);
    for name in ["occurred_at", "recorded_at", "hash"] {
        let tag = format!("; {}:{}\n", name.replace('_', "-"), entry[name].as_str().unwrap());
        assert!(journal.contains(&tag), "no {tag} in {journal}");
    }
    assert!(journal.contains(" * (1) PED,1 / \"x\" created\n"), "{journal}");
    assert!(journal.contains("; order:PED%3B1%20%7C%20%22x%22\n"), "{journal}");
    let day = |line: &str| line.len() == 10 && line.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let dates = journal.lines().find_map(|line| line.split_once(" * (1) ")).unwrap().0;
    let (recorded, occurred) = dates.split_once('=').unwrap();
    assert!(day(recorded) && day(occurred), "{dates}");
    let ledger = text(exported(&client, "beancount").await);
    for name in ["occurred_at", "recorded_at", "hash"] {
        let line = format!("  {}: \"{}\"\n", name.replace('_', "-"), entry[name].as_str().unwrap());
        assert!(ledger.contains(&line), "no {line} in {ledger}");
    }
    assert!(ledger.contains("^loja-picpay/PED.3B1.20.7C.20.22x.22 #transition\n  seq: 1\n"), "{ledger}");
    assert!(ledger.contains("  order: \"PED;1 | \\\"x\\\"\"\n"), "{ledger}");
    let path = format!("/v1/ledger?account={}", encoded("loja-picpay"));
    assert_eq!(client.get(&path).await.ok()["data"].as_array().unwrap().len(), 1);
}
