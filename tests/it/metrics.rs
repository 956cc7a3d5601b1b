//! Metrics: what they are called, what they count, who may see them. The dashboard and the alert rules that come with the
//! program name nothing that is not there.

use crate::support::hooks::Hooked;
use crate::support::shop::answer;
use crate::support::sse::Sse;
use crate::support::{ANY, Act, Bank, Client, Daemon, SELLER_TOKEN, Setup, until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A scrape, by `name{labels}`.
struct Scrape(BTreeMap<String, String>);

impl Scrape {
    async fn of(client: &Client) -> Scrape {
        let reply = client.get("/metrics").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
        let text = reply.text();
        assert!(text.ends_with('\n'), "the last line ends");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Scrape(samples.map(|line| line.rsplit_once(' ').unwrap()).map(owned).collect())
    }

    /// A sample as it is written; absent ones are 0 like any counter before its first event.
    fn get(&self, sample: &str) -> &str {
        self.0.get(sample).map_or("0", String::as_str)
    }

    fn names(&self) -> BTreeSet<String> {
        self.0.keys().map(|sample| sample.split('{').next().unwrap().to_owned()).collect()
    }
}

fn owned((sample, value): (&str, &str)) -> (String, String) {
    (sample.to_owned(), value.to_owned())
}

/// The families of a scrape: a histogram is one.
async fn families(client: &Client) -> BTreeSet<String> {
    let text = client.get("/metrics").await.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_for_admins() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let bare = daemon.anonymous();
    assert_eq!(bare.get("/metrics").await.status, 200, "from loopback");
    for header in ["x-forwarded-for", "forwarded", "x-forwarded-proto", "x-real-ip", "via"] {
        let request = bare.request("GET", "/metrics").header(header, "127.0.0.1");
        bare.send(request).await.problem(401, ANY);
        let admin = daemon.client();
        let request = admin.request("GET", "/metrics").header(header, "127.0.0.1");
        assert_eq!(admin.send(request).await.status, 200, "{header}, with a token");
    }
    let forwarded = async |client: Client| {
        client.send(client.request("GET", "/metrics").header("x-forwarded-for", "127.0.0.1")).await
    };
    forwarded(daemon.client_with("orders:read", &[])).await.problem(403, ANY);
    forwarded(daemon.client_with("admin", &["--accounts", "loja-picpay"])).await.problem(403, ANY);
}

#[tokio::test]
async fn a_callbacks_way_is_counted() {
    let bank = Bank::open();
    let key = "chave-secreta-0123456789abcdef";
    let daemon =
        Daemon::with(Setup::new(&bank).account("loja-chave", &bank, &format!("callback_key = \"{key}\"")));
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    client.register("PED-1", "10.00").await;
    client.news("PED-1").await;
    client.news("PED-1").await;
    client
        .send(client.callback_raw("/callbacks/loja-picpay", "wrong", b"{}".to_vec()))
        .await
        .problem(401, ANY);
    client
        .send(client.callback_raw("/callbacks/loja-chave/x", SELLER_TOKEN, Vec::new()))
        .await
        .problem(404, ANY);
    client.send(client.callback_raw("/callbacks/nobody", SELLER_TOKEN, Vec::new())).await.problem(404, ANY);
    daemon.client_by("not.a.token").get("/v1/orders").await.problem(401, ANY);
    let _stream = Sse::open(&client, "", None).await;
    let scrape = Scrape::of(&client).await;
    let expected = [
        (r#"razao_callbacks_total{account="loja-picpay",status="200"}"#, "2"),
        (r#"razao_callbacks_total{account="loja-picpay",status="401"}"#, "1"),
        (r#"razao_callbacks_total{account="loja-chave",status="404"}"#, "1"),
        (r#"razao_callbacks_total{account="",status="404"}"#, "1"),
        (r#"razao_callbacks_rejected_total{account="loja-picpay",reason="wrong_credential"}"#, "1"),
        (r#"razao_callbacks_rejected_total{account="loja-chave",reason="wrong_key"}"#, "1"),
        (r#"razao_callbacks_rejected_total{account="",reason="unknown_account"}"#, "1"),
        (r#"razao_receipts_processed_total{account="loja-picpay",outcome="applied"}"#, "1"),
        (r#"razao_callback_lag_seconds_count{account="loja-picpay"}"#, "2"),
        (r#"razao_callback_answer_seconds_count{account="loja-picpay"}"#, "3"),
        (r#"razao_provider_calls_total{account="loja-picpay",result="ok"}"#, "2"),
        (r#"razao_provider_call_seconds_count{account="loja-picpay"}"#, "2"),
        (r#"razao_receipts{state="pending"}"#, "0"),
        (r#"razao_stream_readers{kind="sse"}"#, "1"),
        (r#"razao_stream_readers{kind="ws"}"#, "0"),
        ("razao_receipts_oldest_seconds", "0"),
        ("razao_ledger_head_seq", "2"),
        ("razao_ledger_balanced", "1"),
        ("razao_ledger_writable", "1"),
        ("razao_config_current", "1"),
        ("razao_auth_denied_total", "1"),
        ("razao_disk_min_free_bytes", "1048576"),
    ];
    for (sample, value) in expected {
        assert_eq!(scrape.get(sample), value, "{sample} in {:#?}", scrape.0);
    }
    for above_zero in
        ["razao_writer_sync_seconds_count", "process_resident_memory_bytes", "razao_disk_free_bytes"]
    {
        assert_ne!(scrape.get(above_zero), "0", "{above_zero}");
    }
    let text = client.get("/metrics").await.text();
    for never in ["PED-1", key, SELLER_TOKEN, daemon.token()] {
        assert!(!text.contains(never), "{never} is in\n{text}");
    }
}

#[tokio::test]
async fn what_waits_is_shown_with_its_age() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).resolver("first_pause = \"30m\"\nmax_pause = \"1h\"\n"));
    bank.always(Act::Answer(500, "", Vec::new()));
    daemon.client().callback("PED-1").await;
    until("a receipt that waits", async || {
        let scrape = Scrape::of(&daemon.client()).await;
        (scrape.get(r#"razao_receipts{state="retrying"}"#) == "1"
            && scrape.get(r#"razao_provider_calls_total{account="loja-picpay",result="down"}"#) == "1"
            && scrape.get("razao_receipts_oldest_seconds") != "0")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn deliveries_are_counted_by_their_result() {
    let hooked = Hooked::open().await;
    hooked.shop.next(answer(500));
    hooked.pay("PED-1").await;
    hooked.quiet().await;
    let scrape = Scrape::of(&hooked.client()).await;
    assert_eq!(scrape.get(r#"razao_delivery_attempts_total{result="5xx"}"#), "1");
    assert_eq!(scrape.get(r#"razao_delivery_attempts_total{result="delivered"}"#), "2");
    assert_eq!(scrape.get(r#"razao_webhooks{status="enabled"}"#), "1");
    assert_eq!(scrape.get("razao_delivery_oldest_seconds"), "0");
}

/// A daemon in which everything that is counted by something has happened at least once.
async fn busy() -> Hooked {
    let hooked = Hooked::open().await;
    let client = hooked.client();
    hooked.pay("PED-1").await;
    client.send(client.callback_raw("/callbacks/loja-picpay", "wrong", Vec::new())).await.problem(401, ANY);
    hooked.quiet().await;
    hooked
}

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let hooked = busy().await;
    let page = file("schema/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<String> = rows.map(|name| name.split('{').next().unwrap().to_owned()).collect();
    assert_eq!(documented, families(&hooked.client()).await);
}

#[tokio::test]
async fn the_dashboard_and_the_rules_name_metrics_that_are_there() {
    let hooked = busy().await;
    let there = Scrape::of(&hooked.client()).await.names();
    let dashboard: Value = serde_json::from_str(&file("dist/grafana/razao.json")).unwrap();
    let mut expressions = Vec::new();
    gather(&dashboard, &mut expressions);
    assert!(expressions.len() >= 15, "the dashboard has {} expressions", expressions.len());
    let rules = file("dist/prometheus/razao.rules.yml");
    let alerts = rules.lines().filter(|line| line.trim_start().starts_with("- alert:")).count();
    let expr = |line: &str| line.trim_start().strip_prefix("expr: ").map(str::to_owned);
    let of_rules: Vec<String> = rules.lines().filter_map(expr).collect();
    assert_eq!(of_rules.len(), alerts, "each alert has its expression on one line");
    for expression in expressions.iter().chain(&of_rules) {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: Vec<&str> =
            words.filter(|word| word.starts_with("razao_") || word.starts_with("process_")).collect();
        assert!(!named.is_empty(), "no metric of ours in {expression}");
        for name in named {
            assert!(there.contains(name), "{name}, in {expression}, is none of {there:#?}");
        }
    }
}

/// Every `expr` of a dashboard, wherever it stands.
fn gather(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| gather(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
