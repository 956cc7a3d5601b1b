//! Amounts from hostile hands: refused where a shop sends them, flagged where a provider does, never guessed.

use crate::support::cases::{Answer, Case};
use crate::support::client::order_path;
use crate::support::stub::Stub;
use crate::support::{ANY, Bank, Daemon, Place, Setup};
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

/// What binary floats cannot hold, or hold with dust: as JSON has it, and what it is in reais.
const FLOATS: [(&str, Option<&str>); 6] = [
    ("0.30000000000000004", Some("0.30")),
    ("1e15", None),
    ("0.005", None),
    ("\"1.10\"", Some("1.10")),
    ("1.1", Some("1.10")),
    ("9007199254740993", None),
];

fn unquoted(literal: &str) -> &str {
    literal.trim_matches('"')
}

/// Each provider's case with one amount in it, where that stands, and whether it counts cents.
const PRICED: [(&str, &str, &str, bool); 5] = [
    ("picpay", "paid", "\"paid\": 129.9", false),
    ("gerencianet", "boleto_paid", "\"value\": 6990", true),
    ("yapay", "approved", "\"price_original\": \"89.9\"", false),
    ("genpag", "payment_paid", "\"total_cents\": 10000", true),
    ("fourp", "pix_paid", "\"amount\": \"57.30\"", false),
];

/// The case with another amount in it.
fn priced(provider: &str, name: &str, field: &str, literal: &str, nth: usize) -> Case {
    let mut case = Case::read(provider, name);
    case.account = format!("{provider}-{nth}");
    let (key, _) = field.split_once(": ").unwrap();
    let replaced = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(field, &format!("{key}: {literal}")).into_bytes()
    };
    let before = (case.answers.iter().map(|it| it.body.clone()).collect::<Vec<_>>(), case.callback.clone());
    case.answers.iter_mut().for_each(|answer| answer.body = replaced(&answer.body));
    case.callback = case.callback.map(|(file, bytes)| (file, replaced(&bytes)));
    if provider == "gerencianet" {
        // An amount that cannot be read is asked for once more, where the charge itself says it no better.
        let body = format!(
            "{{\"code\":200,\"data\":{{\"charge_id\":44120077,\"status\":\"paid\",\"total\":{literal}}}}}"
        );
        case.answers.push(Answer { status: 200, content_type: "application/json", body: body.into_bytes() });
    }
    let after = (case.answers.iter().map(|it| it.body.clone()).collect::<Vec<_>>(), case.callback.clone());
    assert_ne!(before, after, "{provider}/{name} holds no {field}");
    case
}

#[tokio::test]
async fn no_adapter_reads_an_amount_as_a_float() {
    let literals = FLOATS.iter().enumerate();
    let cases: Vec<(Case, Option<&str>)> = literals
        .flat_map(|(nth, (literal, reais))| {
            PRICED.iter().map(move |(provider, name, field, cents)| {
                (priced(provider, name, field, literal, nth), reais.filter(|_| !cents))
            })
        })
        .collect();
    let (cases, expected): (Vec<Case>, Vec<Option<&str>>) = cases.into_iter().unzip();
    let stub = Stub::open(&cases);
    let accounts = cases.iter().map(|case| case.account_toml(&stub.base_url())).collect();
    let daemon = Daemon::with(Setup { accounts, ..Setup::default() });
    let (client, anonymous) = (daemon.client(), daemon.anonymous());
    for case in &cases {
        anonymous.send(case.callback_request(&anonymous).unwrap()).await.is(200);
    }
    client.idle().await;
    for (case, expected) in cases.iter().zip(expected) {
        let orders = client.all(&format!("/v1/orders?account={}", case.account)).await;
        let order = &orders[0];
        assert_eq!(order["state"], "paid", "{}: {order}", case.account);
        assert_eq!(order["amounts"]["gross"].as_str(), expected, "{}: {order}", case.account);
        let causes = order["discrepancies"].as_array().unwrap().iter();
        let unreadable = causes.filter(|one| one["cause"] == "amount_unreadable").count() == 1;
        assert_eq!(unreadable, expected.is_none(), "{}: {order}", case.account);
    }
}

#[tokio::test]
async fn no_settlement_file_is_read_as_floats() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for (reference, amount) in [("PED-0.30", "0.30"), ("PED-1.10", "1.10")] {
        client.register(reference, amount).await;
    }
    let mut files: Vec<(&str, String)> = Vec::new();
    for separator in [",", ";"] {
        let columns = ["line_id", "reference", "gross", "fee"].join(separator);
        let lines = FLOATS.iter().enumerate().map(|(nth, (literal, reais))| {
            let name = format!("PED-{}", reais.unwrap_or("?"));
            [format!("L{nth}"), name, unquoted(literal).to_owned(), "0".to_owned()].join(separator)
        });
        let lines: Vec<String> = lines.collect();
        files.push(("text/csv", format!("{columns}\n{}\n", lines.join("\n"))));
    }
    let lines = FLOATS.iter().enumerate().map(|(nth, (literal, reais))| {
        let name = format!("PED-{}", reais.unwrap_or("?"));
        format!("{{\"line_id\":\"N{nth}\",\"reference\":\"{name}\",\"gross\":{literal},\"fee\":0}}\n")
    });
    files.push(("application/x-ndjson", lines.collect()));
    for (kind, body) in files {
        let request = client.request("POST", "/v1/settlements?account=loja-picpay&dry_run=true");
        let report = client.send(request.header("content-type", kind).body(body.clone())).await.is(200);
        for (line, (literal, reais)) in report["lines"].as_array().unwrap().iter().zip(FLOATS) {
            let expected = if reais.is_some() { "matched" } else { "unreadable" };
            assert_eq!(line["outcome"], expected, "{literal}: {line} in {body}");
            assert_eq!(line["gross"].as_str(), reais, "{literal}: {line}");
        }
    }
}

#[tokio::test]
async fn no_registration_and_no_payout_is_read_as_a_float() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    // A shop's amount is text in quotes, of at most the currency's decimals.
    let exact = |text: &str| ["1.10", "1.1"].contains(&text);
    let mut batch = Vec::new();
    let mut literals = Vec::new();
    for (literal, _) in FLOATS {
        literals.push((format!("\"{}\"", unquoted(literal)), exact(unquoted(literal))));
        if !literal.starts_with('"') {
            literals.push((literal.to_owned(), false));
        }
    }
    for (nth, (literal, taken)) in literals.iter().enumerate() {
        let names = format!("\"account\":\"loja-picpay\",\"reference\":\"REF-{nth}\",\"currency\":\"BRL\"");
        let body = format!("{{{names},\"amount\":{literal}}}");
        let reply = client.send(client.request("POST", "/v1/payouts").body(body.clone())).await;
        assert_eq!(reply.status, if *taken { 201 } else { 422 }, "{literal}: {}", reply.text());
        if *taken {
            assert_eq!(reply.json()["amount"], "1.10");
        }
        batch.push(body);
    }
    let body = format!("{{\"orders\":[{}]}}", batch.join(","));
    let answer = client.send(client.request("POST", "/v1/orders:batch").body(body)).await.is(200);
    for ((nth, (literal, taken)), line) in literals.iter().enumerate().zip(answer["data"].as_array().unwrap())
    {
        assert_eq!(line["status"], if *taken { 201 } else { 422 }, "{literal}: {line}");
        if *taken {
            assert_eq!(client.order(&format!("REF-{nth}")).await["amounts"]["expected"], "1.10");
        }
    }
}

#[tokio::test]
async fn no_imported_file_is_read_as_floats() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let lines = FLOATS.iter().enumerate();
    let lines = lines.map(|(nth, (literal, _))| format!("loja-picpay,REF-{nth},{},BRL\n", unquoted(literal)));
    let text = format!("account,reference,amount,currency\n{}", lines.collect::<String>());
    let path = place.file("orders.csv");
    std::fs::write(&path, text).unwrap();
    let output = place.cli(&["import", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "some lines are refused: {output:?}");
    let daemon = Daemon::at(place);
    let client = daemon.client();
    for (nth, (literal, _)) in FLOATS.iter().enumerate() {
        let reply = client.get(&order_path(&format!("REF-{nth}"))).await;
        match ["1.10", "1.1"].contains(&unquoted(literal)) {
            true => assert_eq!(reply.ok()["amounts"]["expected"], "1.10", "{literal}"),
            false => assert_eq!(reply.status, 404, "{literal}: {}", reply.text()),
        }
    }
}
