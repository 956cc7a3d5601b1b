//! A provider's settlement file against the ledger: what matched, what is only here, only there, different; once, and
//! the same however often it is posted and wherever it was cut off.

use crate::support::chain::{assert_chain, postings, sums};
use crate::support::client::order_path;
use crate::support::{ACCOUNT, ANY, Bank, Client, Daemon, Reply, Setup, encoded, until};
use serde_json::{Value, json};

const HEADER: &str = "line_id,reference,gross,fee,net,settled_date\n";

async fn send(client: &Client, query: &str, kind: &str, body: impl Into<Vec<u8>>) -> Reply {
    let path = format!("/v1/settlements?account={ACCOUNT}{query}");
    let request = client.request("POST", &path).header("content-type", kind);
    client.send(request.body(body.into())).await
}

/// A file in our own columns.
async fn post(client: &Client, lines: &str) -> Value {
    send(client, "", "text/csv", format!("{HEADER}{lines}")).await.is(201)
}

async fn dry(client: &Client, lines: &str) -> Value {
    send(client, "&dry_run=true", "text/csv", format!("{HEADER}{lines}")).await.is(200)
}

/// Outcome, reason, and whether it is evidence, of every line.
fn findings(report: &Value) -> Vec<(&str, Option<&str>, bool)> {
    let lines = report["lines"].as_array().unwrap_or_else(|| panic!("{report}"));
    lines
        .iter()
        .map(|line| {
            (line["outcome"].as_str().unwrap(), line["reason"].as_str(), line["applied"].as_bool().unwrap())
        })
        .collect()
}

async fn paid(bank: &Bank, client: &Client, reference: &str, amount: &str) {
    client.register(reference, amount).await;
    bank.says(reference, "paid", amount, "0");
    client.news(reference).await;
}

#[tokio::test]
async fn a_line_completes_its_order_with_its_fee() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    paid(&bank, &client, "PED-1", "129.90").await;
    client.register("PED-2", "50.00").await;
    let report = post(
        &client,
        "L1,PED-1,129.90,3.90,126.00,2026-03-02\nL2,PED-2,50.00,1.50,48.50,2026-03-02T18:00:00-03:00\n",
    )
    .await;
    assert_eq!(findings(&report), [("matched", None, true), ("matched", None, true)]);
    assert_eq!(
        report["summary"]["matched"],
        json!({"lines": 2, "gross": "179.90", "fee": "5.40", "net": "174.50"})
    );
    assert_eq!((&report["summary"]["applied"], &report["status"]), (&json!(2), &json!("done")));
    assert_eq!(
        (&report["from"], &report["to"]),
        (&json!("2026-03-02T03:00:00.000000Z"), &json!("2026-03-03T03:00:00.000000Z"))
    );

    let order = client.order("PED-1").await;
    assert_eq!(order["state"], "completed");
    assert_eq!((&order["amounts"]["fee"], &order["amounts"]["net"]), (&json!("3.90"), &json!("126.00")));
    let entry = client.history("PED-1").await.pop().unwrap();
    assert_eq!(report["lines"][0]["entries"], json!([entry["seq"]]));
    assert_eq!(
        (&entry["kind"], &entry["to"], &entry["amount"]),
        (&json!("transition"), &json!("completed"), &json!("126.00"))
    );
    assert_eq!(
        (&entry["evidence"]["source"], &entry["evidence"]["receipt"]),
        (&json!("statement"), &Value::Null)
    );
    assert_eq!(
        entry["occurred_at"], "2026-03-02T23:59:59.999999-03:00",
        "a day is its end, in the account's zone"
    );
    assert_eq!(entry["details"], json!({"settlement_line": "L1"}));
    let expected = [
        ("assets:loja-picpay:pending", -12_990),
        ("assets:loja-picpay:available", 12_600),
        ("expenses:loja-picpay:fees", 390),
    ];
    assert_eq!(postings(&entry), expected.map(|(name, sum)| (name.to_owned(), sum)));

    // Nothing was known of its payment: the file is the first to say so, and every step has its entry.
    let history = client.history("PED-2").await;
    let steps: Vec<_> = history.iter().map(|entry| entry["to"].as_str().unwrap()).collect();
    assert_eq!(steps, ["created", "paid", "completed"]);
    assert_eq!(history[2]["occurred_at"], "2026-03-02T18:00:00.000000-03:00");
    assert_chain(&client.ledger().await);
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for (reference, amount) in
        [("PED-1", "10.00"), ("PED-2", "20.00"), ("PED-3", "30.00"), ("PED-4", "40.00")]
    {
        paid(&bank, &client, reference, amount).await;
    }
    let today = client.order("PED-4").await["updated_at"].as_str().unwrap().to_owned();
    let lines = format!(
        "L1,PED-1,10.00,0.10,9.90,{today}\nL1,PED-1,10.00,0.10,9.90,{today}\nL1,PED-1,10.00,0.20,9.80,{today}\n\
         L2,PED-1,10.00,0.30,9.70,{today}\nL3,PED-2,19.00,0.10,18.90,{today}\nL4,PED-2,20.00,0.10,19.90,{today}\n\
         L5,PED-9,1.00,0.00,1.00,{today}\nL6,PED-3,31.00,0.00,31.00,{today}\nL7,PED-3,thirty,0.00,1.00,{today}\n\
         L8,PED-3,30.00,1.00,30.00,{today}\n"
    );
    let entries = client.ledger().await.len();
    let tried = dry(&client, &lines).await;
    assert_eq!((&tried["id"], &tried["dry_run"]), (&Value::Null, &json!(true)));
    assert_eq!(client.ledger().await.len(), entries);
    assert_eq!(client.get("/v1/settlements").await.ok()["data"], json!([]));
    let expected = [
        ("matched", None, true),
        ("matched", None, true),
        ("different", Some("line_id"), false),
        ("different", Some("fee"), true),
        ("different", Some("gross"), true),
        ("different", Some("gross"), false),
        ("only_there", Some("no_such_order"), false),
        ("different", Some("gross"), false),
        ("unreadable", Some("unreadable"), false),
        ("different", Some("net"), false),
        ("only_here", None, false),
    ];
    assert_eq!(findings(&tried), expected);
    assert_eq!(tried["lines"][10]["order"], "PED-4");
    let done = post(&client, &lines).await;
    let without = |report: &Value| {
        let mut report = report.clone();
        for gone in ["id", "dry_run", "begun_at", "finished_at"] {
            report.as_object_mut().unwrap().remove(gone);
        }
        for line in report["lines"].as_array_mut().unwrap() {
            line.as_object_mut().unwrap().remove("entries");
        }
        report
    };
    assert_eq!(without(&tried), without(&done));
    assert_eq!(client.order("PED-2").await["discrepancies"][0]["cause"], "underpaid");
}

#[tokio::test]
async fn the_same_file_again_adds_nothing() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    paid(&bank, &client, "PED-1", "10.00").await;
    let lines = "L1,PED-1,10.00,0.10,9.90,2026-03-02\n";
    let first = post(&client, lines).await;
    let ledger = client.ledger().await;
    let again = post(&client, lines).await;
    assert_ne!(first["id"], again["id"]);
    assert_eq!(findings(&again), findings(&first));
    assert_eq!((&again["lines"][0]["repeated"], &again["lines"][0]["entries"]), (&json!(true), &json!([])));
    assert_eq!((&again["summary"]["applied"], &again["summary"]["repeated"]), (&json!(0), &json!(1)));
    // The same line with another content is never applied, whatever differs.
    client.register("PED-2", "10.00").await;
    for other in [
        "L1,PED-1,10.00,0.20,9.80,2026-03-02\n",
        "L1,PED-1,10.00,0.10,9.90,2026-03-03\n",
        "L1,PED-2,10.00,0.10,9.90,2026-03-02\n",
    ] {
        let report = post(&client, other).await;
        assert_eq!(findings(&report), [("different", Some("line_id"), false)], "{other}");
    }
    assert_eq!(client.ledger().await.len(), ledger.len() + 1, "the registration alone");
    // At another account the same line is another line.
    assert_eq!(client.order("PED-2").await["state"], "created");
}

#[tokio::test]
async fn a_line_that_disagrees_opens_a_discrepancy_or_is_listed() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for reference in ["LESS", "MORE", "NET", "MONEY"] {
        paid(&bank, &client, reference, "10.00").await;
    }
    client.register("UNPAID", "10.00").await;
    let body = "line_id,reference,gross,fee,net,currency\nL1,LESS,9.00,0.10,8.90,BRL\nL2,MORE,11.00,0.10,10.90,\n\
                L3,NET,10.00,0.10,9.80,BRL\nL4,MONEY,10.00,0.10,9.90,USD\nL5,UNPAID,11.00,0.10,10.90,BRL\n";
    let report = send(&client, "", "text/csv", body).await.is(201);
    assert_eq!(
        findings(&report),
        [
            ("different", Some("gross"), true),
            ("different", Some("gross"), false),
            ("different", Some("net"), false),
            ("different", Some("currency"), false),
            ("different", Some("gross"), true),
        ]
    );
    let told = |nth: usize| (report["lines"][nth]["expected"].clone(), report["lines"][nth]["found"].clone());
    assert_eq!(told(0), (json!("10.00"), json!("9.00")));
    assert_eq!(told(2), (json!("9.90"), json!("9.80")));
    assert_eq!(told(3), (json!("BRL"), json!("USD")));
    let open = client.all("/v1/discrepancies").await;
    let open: Vec<_> = open.iter().map(|one| (&one["order"], &one["cause"])).collect();
    assert_eq!(open, [(&json!("LESS"), &json!("underpaid"))]);
    let states = async |reference: &str| client.order(reference).await["state"].as_str().unwrap().to_owned();
    assert_eq!(
        [states("LESS").await, states("MORE").await, states("NET").await, states("UNPAID").await],
        ["completed", "paid", "paid", "completed"]
    );
    // What was not applied can be put right under the same id.
    let report = send(&client, "", "text/csv", body.replace("9.80", "9.90")).await.is(201);
    assert_eq!(findings(&report)[2], ("matched", None, true));
    assert_eq!(states("NET").await, "completed");
}

#[tokio::test]
async fn what_is_only_here_are_paid_orders_of_those_days_that_no_file_named() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for reference in ["PED-1", "PED-2", "PED-3", "PED-4"] {
        paid(&bank, &client, reference, "10.00").await;
    }
    client.register("UNPAID", "10.00").await;
    bank.says("PED-3", "refunded", "10.00", "10.00");
    client.news("PED-3").await;
    bank.says("PED-4", "completed", "10.00", "0");
    client.news("PED-4").await;
    let today = client.order("PED-1").await["updated_at"].as_str().unwrap().to_owned();
    let here = |report: &Value| -> Vec<String> {
        let lines = report["lines"].as_array().unwrap().iter();
        let here = lines.filter(|line| line["outcome"] == "only_here");
        here.map(|line| line["order"].as_str().unwrap().to_owned()).collect()
    };
    let report = post(&client, &format!("L1,PED-1,10.00,0.10,9.90,{today}\n")).await;
    assert_eq!(here(&report), ["PED-2", "PED-4"]);
    assert_eq!(report["summary"]["only_here"]["gross"], "20.00");
    let report = post(&client, &format!("L2,PED-2,10.00,0.10,9.90,{today}\n")).await;
    assert_eq!(here(&report), ["PED-4"], "an earlier file named the first");
    let report = post(&client, "L3,PED-9,10.00,0.10,9.90,2026-03-02\n").await;
    assert_eq!(here(&report), [""; 0], "none became paid then");
    let undated = post(&client, "L4,PED-9,10.00,0.10,9.90,\n").await;
    assert_eq!((here(&undated), &undated["from"]), (Vec::new(), &Value::Null));
}

#[tokio::test]
async fn files_are_read_as_providers_write_them() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for reference in ["PED-1", "PED-2", "PED-3", "PED-4", "PED-5"] {
        paid(&bank, &client, reference, "1234.50").await;
    }
    let all_matched = |report: &Value| {
        let lines = report["lines"].as_array().unwrap().iter();
        assert!(lines.clone().all(|line| line["outcome"] != "unreadable"), "{report}");
        lines.filter(|line| line["outcome"] == "matched").count()
    };
    // Latin-1, a decimal comma, day first, quotes with a line break, columns nobody asked for.
    let text = "NSU;Pedido;Observa\u{e7}\u{e3}o;Valor bruto;Taxa;Data\r\n\
                1;PED-1;\"a;b\nc\";1.234,50;34,5;02/03/2026\r\n";
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let mapping = encoded("line_id:NSU,reference=pedido,gross:Valor bruto,fee:Taxa,settled_date:Data");
    let report = send(&client, &format!("&mapping={mapping}"), "text/csv", latin).await.is(201);
    assert_eq!(all_matched(&report), 1, "{report}");
    assert_eq!((&report["lines"][0]["net"], &report["mapping_assumed"]), (&json!("1200.00"), &json!(false)));
    // Marked UTF-8, and the columns of a provider as far as anybody knows them.
    let text = "\u{feff}ID da transa\u{e7}\u{e3}o,Refer\u{ea}ncia,Valor bruto,Tarifa,Valor l\u{ed}quido,Data da libera\u{e7}\u{e3}o\n\
                2,PED-2,1234.5,34.50,1200,2026-03-02 18:00:00";
    let report = send(&client, "&mapping=picpay", "text/csv; charset=utf-8", text).await.is(201);
    assert_eq!(all_matched(&report), 1, "{report}");
    assert_eq!((&report["mapping"], &report["mapping_assumed"]), (&json!("picpay"), &json!(true)));
    assert_eq!(report["lines"][0]["settled_at"], "2026-03-02T18:00:00.000000-03:00");
    // JSON lines with numbers and text, by either name.
    let text = "{\"line_id\":3,\"reference\":\"PED-3\",\"gross\":1234.5,\"net\":\"1200.00\"}\n\n\
                {\"line_id\":\"4\",\"provider_ref\":\"PED-4\",\"gross\":\"1234.50\",\"fee\":34.5,\"settled_date\":null}\n\
                {\"line_id\":\"5\",\"reference\":[],\"gross\":\"1.00\"}\n{\"line_id\":\"6\"\n";
    let report = send(&client, "", "application/x-ndjson", text).await.is(201);
    let outcomes: Vec<_> =
        report["lines"].as_array().unwrap().iter().map(|line| (&line["line"], &line["outcome"])).collect();
    let expected = [(1, "matched"), (3, "matched"), (4, "unreadable"), (5, "unreadable")];
    assert_eq!(
        outcomes
            .iter()
            .map(|(line, what)| (line.as_u64().unwrap(), what.as_str().unwrap()))
            .collect::<Vec<_>>(),
        expected
    );
    assert_eq!(
        (&report["lines"][1]["reference"], &report["lines"][1]["order"]),
        (&Value::Null, &json!("PED-4"))
    );
}

#[tokio::test]
async fn unreadable_lines_say_where_they_stand_and_what_was_expected() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let lines = "\n,PED-1,1.00,0.00,1.00,\nL2,,1.00,0.00,1.00,\nL3,PED-1,,0.00,1.00,\n\nL4,PED-1,0.00,0.00,0.00,\n\
                 L5,PED-1,1.00,,,\nL6,PED-1,-1.00,0.00,-1.00,\nL7,PED-1,1.00,0.00,1.00,2026-02-30\n\
                 L8,PED-1,1.00\n\"L9\",PED-1,\"1,00\",0.00,1.00,\nL10,PED-1,1.00,,2.00,\n";
    let report = post(&client, lines).await;
    let shown: Vec<(u64, String)> = report["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            assert_eq!(line["outcome"], "unreadable", "{line}");
            let expected = line["expected"].as_str().unwrap().split([':', ';']).next().unwrap().to_owned();
            (line["line"].as_u64().unwrap(), expected)
        })
        .collect();
    let expected = [
        (3, "line_id"),
        (4, "reference or provider_ref"),
        (5, "gross"),
        (7, "gross"),
        (8, "fee or net"),
        (9, "gross"),
        (10, "settled_date"),
        (11, "6 cells as in the header"),
        (12, "gross"),
        (13, "net"),
    ];
    assert_eq!(shown, expected.map(|(line, what)| (line, what.to_owned())));
    assert_eq!(report["lines"][1]["line_id"], "L2");
    assert_eq!(report["summary"]["unreadable"]["lines"], 10);
    assert_eq!(client.ledger().await.len(), 0, "no line makes an order by itself");
}

#[tokio::test]
async fn what_is_no_file_is_refused_whole() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("other", &bank, ""));
    let client = daemon.client();
    for body in
        ["", "a,b\n1,2\n", "line_id,reference,gross\nL1,PED-1,1.00\n", "line_id,gross,gross,fee,reference\n"]
    {
        send(&client, "", "text/csv", body).await.problem(422, "unreadable-file");
    }
    let endless = format!("gross:{}", "x".repeat(1_000));
    for mapping in [endless.as_str(), "nobody", "gross:", "colour:Red", "gross:a,gross:b", ":", "gross"] {
        let query = format!("&mapping={}", encoded(mapping));
        let problem = send(&client, &query, "text/csv", HEADER).await.problem(400, "invalid-parameter");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("fourp") && detail.contains("line_id"), "it names what there is: {detail}");
    }
    let shipped = daemon.client();
    for name in ["razao", "picpay", "gerencianet", "yapay", "genpag", "fourp"] {
        let query = format!("&mapping={name}");
        let answer = send(&shipped, &query, "application/x-ndjson", "").await.is(201);
        assert_eq!(answer["mapping"], name);
    }
    let path = "/v1/settlements?account=nobody";
    client.send(client.request("POST", path).body(HEADER)).await.problem(404, ANY);
    client.send(client.request("POST", "/v1/settlements").body(HEADER)).await.problem(400, ANY);
    send(&client, "&dry_run=maybe", "text/csv", HEADER).await.problem(400, ANY);
    let narrow = daemon.client_with("orders:write", &["--accounts", "other"]);
    send(&narrow, "", "text/csv", HEADER).await.problem(404, ANY);
    let reader = daemon.client_with("orders:read", &[]);
    send(&reader, "", "text/csv", HEADER).await.problem(403, "missing-scope");
    let many: String = (0..20_001).map(|n| format!("L{n},PED-{n},1.00,0.00,1.00,\n")).collect();
    send(&client, "", "text/csv", format!("{HEADER}{many}")).await.problem(413, "too-many-lines");
    let request =
        client.request("POST", &format!("/v1/settlements?account={ACCOUNT}")).body(" ".repeat(17 << 20));
    // The rest of a body that is too large is not read, so the connection may end before the answer is.
    if let Ok(reply) = client.attempt(request).await {
        reply.problem(413, "too-large");
    }
    assert_eq!(client.ledger().await.len(), 0);
}

#[tokio::test]
async fn reports_are_kept_listed_and_paged() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("other", &bank, ""));
    let client = daemon.client();
    paid(&bank, &client, "PED-1", "10.00").await;
    let keyed = async |body: &str| {
        let path = format!("/v1/settlements?account={ACCOUNT}");
        let request = client.request("POST", &path).header("idempotency-key", "file-1");
        client.send(request.body(format!("{HEADER}{body}"))).await
    };
    let lines =
        "L1,PED-1,10.00,0.10,9.90,2026-03-02\nL2,PED-2,1.00,0.10,0.90,2026-03-02\nL3,PED-3,1.00,0.10,0.90,\n";
    let first = keyed(lines).await;
    let report = first.is(201);
    let again = keyed(lines).await;
    assert_eq!((again.is(201), again.header("idempotency-replayed")), (report.clone(), Some("true")));
    keyed("L4,PED-1,10.00,0.10,9.90,\n").await.problem(409, "idempotency-key-reused");
    let path = first.header("location").unwrap().to_owned();
    assert_eq!(path, format!("/v1/settlements/{}", report["id"].as_str().unwrap()));
    assert_eq!(client.get(&path).await.ok(), report);
    let mut lines = Vec::new();
    let mut page = client.get(&format!("{path}?limit=2")).await.ok();
    assert_eq!(page["summary"], report["summary"]);
    loop {
        lines.extend(page["lines"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        page = client.get(&format!("{path}?limit=2&cursor={}", encoded(cursor))).await.ok();
    }
    assert_eq!(json!(lines), report["lines"]);
    let there = client.get(&format!("{path}?outcome=only_there")).await.ok();
    assert_eq!(there["lines"].as_array().unwrap().len(), 2);
    client.get(&format!("{path}?outcome=nothing")).await.problem(400, ANY);

    let other = client.request("POST", "/v1/settlements?account=other").body(HEADER);
    let other = client.send(other).await.is(201);
    let ids = async |client: &Client, query: &str| -> Vec<Value> {
        client.all(&format!("/v1/settlements{query}")).await.iter().map(|one| one["id"].clone()).collect()
    };
    assert_eq!(ids(&client, "?limit=1").await, [other["id"].clone(), report["id"].clone()], "newest first");
    assert_eq!(ids(&client, &format!("?account={ACCOUNT}")).await, [report["id"].clone()]);
    let narrow = daemon.client_with("orders:read", &["--accounts", "other"]);
    assert_eq!(ids(&narrow, "").await, [other["id"].clone()]);
    narrow.get(&path).await.problem(404, ANY);
    client.get("/v1/settlements/set_1").await.problem(404, ANY);
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_posted_again_and_ends_the_same() {
    const ORDERS: usize = 1_500;
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    let orders: Vec<Value> = (0..ORDERS)
        .map(|n| json!({"account": ACCOUNT, "reference": format!("PED-{n:04}"), "amount": "10.00", "currency": "BRL"}))
        .collect();
    client.post("/v1/orders:batch", &json!({"orders": orders})).await.is(200);
    let lines: String =
        (0..ORDERS).map(|n| format!("L{n},PED-{n:04},10.00,0.10,9.90,2026-03-02\n")).collect();
    let path = format!("/v1/settlements?account={ACCOUNT}");
    let request = |client: &Client| {
        client.request("POST", &path).header("idempotency-key", "march").body(format!("{HEADER}{lines}"))
    };
    let (sender, posted) = (client.clone(), request(&client));
    let sending = tokio::spawn(async move { sender.attempt(posted).await });
    until("a part of the file", async || {
        let head = client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap();
        (head > ORDERS as u64 + 100).then_some(())
    })
    .await;
    daemon.kill_9();
    drop(sending.await);
    daemon.restart();
    let client = daemon.client();
    let before = client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap();
    let report = client.send(request(&client)).await.is(201);
    assert_eq!(report["summary"]["matched"]["lines"], ORDERS);
    assert_eq!((&report["summary"]["applied"], &report["summary"]["repeated"]), (&json!(ORDERS), &json!(0)));
    let listed = client.get("/v1/settlements").await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "it went on with the same report");
    let ledger = client.ledger().await;
    assert!(before <= ledger.len() as u64);
    assert_eq!(ledger.len(), 3 * ORDERS, "created, paid and completed, each once");
    let expected = [
        ("assets:loja-picpay:available", 990 * ORDERS as i128),
        ("expenses:loja-picpay:fees", 10 * ORDERS as i128),
        ("income:loja-picpay:sales", -1_000 * ORDERS as i128),
    ];
    assert_eq!(sums(&ledger), expected.map(|(name, sum)| (name.to_owned(), sum)).into_iter().collect());
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn a_line_of_an_order_that_is_named_by_the_provider() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = json!({"amount": "10.00", "currency": "BRL", "provider_ref": "AUTH-1"});
    client.put(&order_path("PED-1"), &body).await.is(201);
    let report = send(
        &client,
        "",
        "text/csv",
        "line_id,reference,provider_ref,gross,fee\nL1,,AUTH-1,10.00,0.10\nL2,PED-1,AUTH-2,10.00,0.10\n",
    )
    .await
    .is(201);
    assert_eq!(
        findings(&report),
        [("matched", None, true), ("only_there", Some("no_such_order"), false)],
        "another payment under the order's reference is not the order"
    );
    assert_eq!(client.order("PED-1").await["state"], "completed");
}
