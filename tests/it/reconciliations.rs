//! Reconciliations: every open order is asked about, and what came of it is told.

use crate::support::{ACCOUNT, ANY, Act, Bank, Client, Daemon, Setup, encoded, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

mod long;

const RUNS: &str = "/v1/reconciliations";

async fn begin(client: &Client, body: &Value) -> String {
    let reply = client.post(RUNS, body).await;
    let id = reply.is(202)["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("location"), Some(path(&id).as_str()));
    id
}

fn path(id: &str) -> String {
    format!("{RUNS}/{id}")
}

/// The run once it is done.
async fn done(client: &Client, id: &str) -> Value {
    until("the end of a run", async || {
        Some(client.get(&path(id)).await.ok()).filter(|run| run["status"] == "done")
    })
    .await
}

async fn reconcile(client: &Client, body: &Value) -> Value {
    let id = begin(client, body).await;
    done(client, &id).await
}

fn results(run: &Value) -> BTreeMap<String, Value> {
    let of = |result: &Value| (result["reference"].as_str().unwrap().to_owned(), result.clone());
    run["results"].as_array().unwrap().iter().map(of).collect()
}

fn finding<'a>(results: &'a BTreeMap<String, Value>, reference: &str) -> &'a str {
    results[reference]["result"].as_str().unwrap()
}

/// A merchant whose orders cannot be asked about before the provider has called.
fn silent(bank: &Bank) -> String {
    format!(
        "[[accounts]]\nid = \"loja-4p\"\nprovider = \"fourp\"\nbase_url = \"{}\"\n\
         callback_key = \"0123456789abcdef\"\n[accounts.credentials]\napi_key = \"k\"\n",
        bank.base_url()
    )
}

#[tokio::test]
async fn every_open_order_is_asked_about_and_told_apart() {
    let bank = Bank::open();
    let mut setup = Setup::new(&bank);
    setup.accounts.push_str(&silent(&bank));
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    for reference in ["MATCHED", "CORRECTED", "UNKNOWN", "STRANGE", "REFUNDED"] {
        client.register(reference, "129.90").await;
    }
    client.put("/v1/orders/loja-4p/PED-1", &json!({"amount": "7.00", "currency": "BRL"})).await.is(201);
    bank.says("REFUNDED", "refunded", "129.9", "129.9");
    client.poll("REFUNDED").await.is(200);
    bank.says_legacy("MATCHED", "created");
    bank.says("CORRECTED", "paid", "129.9", "29.9");
    bank.says("STRANGE", "perplexed", "129.9", "0");
    let head = client.ledger().await.len();
    let run = reconcile(&client, &json!({})).await;
    assert_eq!(run["progress"], json!({"total": 5, "done": 5}));
    assert!(run["finished_at"].as_str() >= run["started_at"].as_str());
    let found = results(&run);
    assert_eq!(found.len(), 5);
    assert_eq!(finding(&found, "MATCHED"), "matched");
    assert_eq!(finding(&found, "CORRECTED"), "corrected");
    assert_eq!(finding(&found, "STRANGE"), "differing");
    assert_eq!(finding(&found, "UNKNOWN"), "failed");
    assert_eq!(finding(&found, "PED-1"), "unreachable");
    assert!(found["UNKNOWN"]["reason"].as_str().unwrap().contains("404"));
    assert!(found["PED-1"]["reason"].is_string() && found["MATCHED"]["reason"].is_null());
    assert_eq!(found["CORRECTED"]["state"], "paid");
    assert_eq!(bank.queries("REFUNDED"), 1, "what is refunded is not asked about");
    assert_eq!(bank.queries("UNKNOWN"), 1, "what the provider does not know is asked once");
    // The entries are those that the run made.
    let seqs: Vec<u64> = serde_json::from_value(found["CORRECTED"]["entries"].clone()).unwrap();
    let own = client.history("CORRECTED").await;
    let expected: Vec<u64> = own.iter().skip(1).map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(seqs == expected && seqs.iter().all(|seq| *seq > head as u64), "{seqs:?} {expected:?}");
    // Per account, counts and money.
    let summary = run["summary"].as_array().unwrap();
    let of = |account: &str| summary.iter().find(|line| line["account"] == account).unwrap();
    let line = of(ACCOUNT);
    let counts = ["total", "done", "matched", "corrected", "failed", "unreachable", "differing"];
    assert_eq!(counts.map(|name| line[name].as_u64().unwrap()), [4, 4, 1, 1, 1, 0, 1]);
    assert_eq!(
        line["money"],
        json!([{
            "currency": "BRL",
            "gross": {"before": "0.00", "after": "129.90"},
            "refunded": {"before": "0.00", "after": "29.90"},
            "charged_back": {"before": "0.00", "after": "0.00"},
        }])
    );
    assert_eq!(of("loja-4p")["unreachable"], 1);
    // Again: the ledger has it all.
    let again = reconcile(&client, &json!({})).await;
    let found = results(&again);
    assert_eq!(finding(&found, "CORRECTED"), "matched");
    assert_eq!(finding(&found, "STRANGE"), "differing", "it is still open");
    assert_eq!(found["CORRECTED"]["entries"], json!([]));
}

#[tokio::test]
async fn an_orders_reconciliation_says_who_named_its_state() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    assert_eq!(client.order("PED-1").await["reconciliation"], "unseen");
    reconcile(&client, &json!({})).await;
    assert_eq!(client.order("PED-1").await["reconciliation"], "unseen", "nobody knows it");
    bank.says("PED-1", "paid", "129.9", "0");
    reconcile(&client, &json!({})).await;
    assert_eq!(client.order("PED-1").await["reconciliation"], "confirmed");
    bank.says("PED-1", "perplexed", "129.9", "0");
    reconcile(&client, &json!({})).await;
    assert_eq!(client.order("PED-1").await["reconciliation"], "discrepancy");
    bank.says("PED-1", "paid", "129.9", "0");
    reconcile(&client, &json!({})).await;
    assert_eq!(client.order("PED-1").await["reconciliation"], "confirmed");
}

#[tokio::test]
async fn named_orders_alone_are_asked_about() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for reference in ["A", "B", "C"] {
        client.register(reference, "1.00").await;
        bank.says(reference, "paid", "1", "0");
    }
    let order = |account: &str, reference: &str| json!({"account": account, "reference": reference});
    let orders = [order(ACCOUNT, "B"), order(ACCOUNT, "B"), order(ACCOUNT, "GONE"), order("nobody", "X")];
    let run = reconcile(&client, &json!({"orders": orders})).await;
    let found = results(&run);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["B", "GONE", "X"]);
    assert_eq!(
        (finding(&found, "B"), finding(&found, "GONE"), finding(&found, "X")),
        ("corrected", "failed", "failed")
    );
    for reference in ["GONE", "X"] {
        assert_eq!(found[reference]["reason"], "there is no such order");
        assert_eq!(found[reference]["state"], Value::Null);
    }
    assert_eq!((bank.queries("A"), bank.queries("B"), bank.queries("C")), (0, 1, 0));
    // Named, also what is refunded is asked about.
    bank.says("B", "refunded", "1", "1");
    reconcile(&client, &json!({"orders": [order(ACCOUNT, "B")]})).await;
    let run = reconcile(&client, &json!({"orders": [order(ACCOUNT, "B")]})).await;
    assert_eq!((finding(&results(&run), "B"), bank.queries("B")), ("matched", 3));
    for wrong in [json!({"orders": 7}), json!({"orders": [{"account": ACCOUNT}]}), json!({"order": []})] {
        client.post(RUNS, &wrong).await.problem(422, ANY);
    }
    let nothing = reconcile(&client, &json!({"orders": []})).await;
    assert_eq!((&nothing["progress"]["total"], &nothing["results"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn a_run_goes_on_where_it_was_after_a_kill() {
    let bank = Bank::open();
    let mut daemon = Daemon::with(Setup::new(&bank).resolver("timeout = \"5s\"\nper_account = 2\n"));
    let client = daemon.client();
    let count = 60;
    for n in 0..count {
        client.register(&format!("PED-{n:02}"), "1.00").await;
        bank.says(&format!("PED-{n:02}"), "paid", "1", "0");
    }
    bank.always(Act::Late(Duration::from_millis(20)));
    let id = begin(&client, &json!({})).await;
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for kill in 1..=3 {
        let client = daemon.client();
        let before = until("some results", async || {
            let run = client.get(&path(&id)).await.ok();
            (run["progress"]["done"].as_u64() >= Some(kill * 8)).then(|| results(&run))
        })
        .await;
        told.extend(before.keys().map(|reference| (reference.clone(), bank.queries(reference))));
        // An orderly stop in the middle is one more way to end.
        if kill != 2 {
            daemon.kill_9();
        }
        daemon.restart();
        let after = results(&daemon.client().get(&path(&id)).await.ok());
        for (reference, result) in before {
            assert_eq!(after[&reference], result, "what was told stays");
        }
    }
    bank.truthful();
    let client = daemon.client();
    let run = done(&client, &id).await;
    assert_eq!(run["progress"], json!({"total": count, "done": count}));
    let found = results(&run);
    assert_eq!(found.len(), count);
    // Also of those whose answer was taken, and whose result was not: the entries tell.
    assert!(found.values().all(|result| result["result"] == "corrected"), "{run}");
    for (reference, queries) in told {
        assert_eq!(
            bank.queries(&reference),
            queries,
            "{reference} had its result, and was asked about again"
        );
    }
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn an_account_in_trouble_holds_back_no_other_and_is_given_up_with_its_reason() {
    let (bank, broken) = (Bank::open(), Bank::open());
    // The one in trouble comes first.
    let patient = "first_pause = \"20ms\"\nmax_pause = \"200ms\"\ntimeout = \"60s\"\n";
    let daemon = Daemon::with(Setup::new(&bank).resolver(patient).account("a-broken", &broken, ""));
    let client = daemon.client();
    broken.hold();
    broken.always(Act::Answer(503, "", b"{}".to_vec()));
    let order = json!({"amount": "1.00", "currency": "BRL"});
    for n in 0..20 {
        client.put(&format!("/v1/orders/a-broken/PED-{n}"), &order).await.is(201);
        client.register(&format!("PED-{n}"), "1.00").await;
        bank.says(&format!("PED-{n}"), "paid", "1", "0");
    }
    let id = begin(&client, &json!({})).await;
    let healthy = until("the healthy account's end", async || {
        let run = client.get(&path(&id)).await.ok();
        let summary = run["summary"].as_array().unwrap().clone();
        summary.into_iter().find(|line| line["account"] == ACCOUNT && line["done"] == 20)
    })
    .await;
    assert_eq!(healthy["corrected"], 20);
    broken.release();
    let run = done(&client, &id).await;
    let failed = client.get(&format!("{}?result=failed", path(&id))).await.ok();
    assert_eq!(failed["results"].as_array().unwrap().len(), 20, "{run}");
    let reason = failed["results"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("5 attempts") && reason.contains("503"), "{reason}");
    assert!((0..20).all(|n| broken.queries(&format!("PED-{n}")) == 5), "each is asked five times");
}

#[tokio::test]
async fn retry_after_is_honoured_and_costs_no_result() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).resolver("first_pause = \"1ms\"\nper_account = 1\n"));
    let client = daemon.client();
    for n in 0..3 {
        client.register(&format!("PED-{n}"), "1.00").await;
        bank.says(&format!("PED-{n}"), "paid", "1", "0");
    }
    bank.next(Act::Answer(429, "retry-after: 1\r\n", b"{}".to_vec()));
    let begun = std::time::Instant::now();
    let run = reconcile(&client, &json!({})).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "the whole account waited");
    assert!(results(&run).values().all(|result| result["result"] == "corrected"), "{run}");
    assert_eq!(bank.requests().len(), 4);
}

#[tokio::test]
async fn no_more_calls_at_the_same_time_than_configured() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).resolver("timeout = \"30s\"\nper_account = 3\n"));
    let client = daemon.client();
    for n in 0..12 {
        client.register(&format!("PED-{n:02}"), "1.00").await;
        bank.says(&format!("PED-{n:02}"), "paid", "1", "0");
    }
    bank.hold();
    // Two runs at the same time share the account's calls.
    let ids = [begin(&client, &json!({})).await, begin(&client, &json!({})).await];
    until("three calls", async || (bank.requests().len() >= 3).then_some(())).await;
    // Whatever else would be asked, it would be asked before this comes back.
    let other = client.get("/v1/admin/status").await;
    assert_eq!((other.status, bank.requests().len()), (200, 3));
    bank.release();
    for id in ids {
        assert_eq!(done(&client, &id).await["progress"]["done"], 12);
    }
}

#[tokio::test]
async fn results_and_runs_are_read_page_by_page() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for n in 0..7 {
        client.register(&format!("PED-{n}"), "1.00").await;
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        let run = reconcile(&client, &json!({})).await;
        ids.push(run["id"].as_str().unwrap().to_owned());
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{}?limit=3{cursor}", path(&ids[0]))).await.ok();
        assert!(page["results"].as_array().unwrap().len() <= 3);
        assert_eq!(page["progress"]["total"], 7, "each page carries the run");
        found.extend(results(&page).into_keys());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={}", encoded(next));
    }
    assert_eq!(found, (0..7).map(|n| format!("PED-{n}")).collect::<Vec<_>>());
    let listed = client.all(&format!("{RUNS}?limit=2")).await;
    let listed: Vec<_> = listed.iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [&ids[2], &ids[1], &ids[0]], "newest first");
    for query in ["?limit=0", "?cursor=zz", "?result=odd", "?nothing=1"] {
        client.get(&format!("{}{query}", path(&ids[0]))).await.problem(400, ANY);
    }
}

#[tokio::test]
async fn scopes_and_accounts_of_a_token_are_kept() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("other", &bank, ""));
    let all = daemon.client();
    all.register("PED-1", "1.00").await;
    all.put("/v1/orders/other/PED-2", &json!({"amount": "1.00", "currency": "BRL"})).await.is(201);
    daemon.client_with("orders:read", &[]).post(RUNS, &json!({})).await.problem(403, "missing-scope");
    daemon.client_with("orders:write", &[]).get(RUNS).await.problem(403, "missing-scope");
    daemon.anonymous().get(RUNS).await.problem(401, ANY);
    let narrow = daemon.client_with("orders:read orders:write", &["--accounts", "other"]);
    let own = reconcile(&narrow, &json!({})).await;
    assert_eq!(results(&own).keys().collect::<Vec<_>>(), ["PED-2"], "all that the token sees");
    // Of a run over everything it sees its own part.
    let whole = reconcile(&all, &json!({})).await;
    let part = narrow.get(&path(whole["id"].as_str().unwrap())).await.ok();
    assert_eq!(results(&part).keys().collect::<Vec<_>>(), ["PED-2"]);
    assert_eq!((&part["progress"]["total"], part["summary"].as_array().unwrap().len()), (&json!(1), 1));
    // What it names without seeing it is not there, to it; and nobody else sees that it was named.
    let body = json!({"orders": [{"account": ACCOUNT, "reference": "PED-1"}]});
    let asked = bank.queries("PED-1");
    let hidden = reconcile(&narrow, &body).await;
    assert_eq!(results(&hidden)["PED-1"]["reason"], "there is no such order");
    assert_eq!(bank.queries("PED-1"), asked, "and nothing is asked");
    let id = hidden["id"].as_str().unwrap();
    all.get(&path(id)).await.problem(404, ANY);
    assert!(all.all(RUNS).await.iter().all(|run| run["id"] != id));
    let blind = daemon.client_with("orders:read", &["--accounts", "nobody"]);
    blind.get(&path(whole["id"].as_str().unwrap())).await.problem(404, ANY);
    assert_eq!(blind.all(RUNS).await.len(), 0);
    for id in ["run_", "run_0", "rc_00000000000000000001", "%2e%2e"] {
        all.get(&format!("{RUNS}/{id}")).await.problem(404, ANY);
    }
}
