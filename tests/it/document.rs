//! The OpenAPI document against the daemon it describes, by schemathesis: no 500, no answer that the document does not
//! name, no request against the document that passes. `RAZAO_SCHEMATHESIS` may name the program, and
//! `RAZAO_SCHEMATHESIS_EXAMPLES` how many requests an operation gets beside those at the edges of its parameters.

use crate::support::hooks::{SOON, make};
use crate::support::{ACCOUNT, Bank, Client, Daemon, Setup, Shop, run_within, tool, until};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const EXAMPLES: &str = "8";
/// The requests of a run come from this.
const SEED: &str = "20261";
/// A short run takes half a minute on a machine of its own.
const RUN_MAX: Duration = Duration::from_secs(3600);

/// The operations of each walk, and what is not asked of them. Not every rule of a field can be said in the document, so
/// what fits it may still be refused, by a 400 that it names.
const WALKS: &[(&[&str], &str)] = &[
    (&["--exclude-method=DELETE", "--exclude-path=/v1/orders:batch"], "positive_data_acceptance"),
    // Line by line: what is wrong with one is said of it in a 200.
    (&["--include-path=/v1/orders:batch"], "positive_data_acceptance,negative_data_rejection"),
    // Last, so that the rest finds what is there.
    (&["--include-method=DELETE"], "positive_data_acceptance"),
];

/// What the ledger holds, by the name of what it is: random names alone would find nothing but 404.
type Known = Vec<(&'static str, Value)>;

#[tokio::test]
async fn nothing_is_answered_that_the_document_does_not_say() {
    let program = std::env::var_os("RAZAO_SCHEMATHESIS").map(PathBuf::from).or_else(|| tool("schemathesis"));
    let Some(program) = program else { return };
    let (bank, shop) = (Bank::open(), Shop::open());
    let setup = Setup::new(&bank).webhooks(SOON).limits("callbacks_per_address = \"\"");
    let daemon = Daemon::with(setup);
    let known = life(&bank, &shop, &daemon.client()).await;
    let file = daemon.place().file("schemathesis.toml");
    std::fs::write(&file, settings(&known)).unwrap();
    for (operations, unchecked) in WALKS {
        let mut command = walk(&program, &file, &daemon);
        command.args(*operations).arg(format!("--exclude-checks={unchecked}"));
        let output = tokio::task::spawn_blocking(move || run_within(RUN_MAX, &mut command)).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("No issues found"), "{said}");
    }
    daemon.client().get("/readyz").await.ok();
    assert!(!daemon.printed().contains("panicked"), "{}", daemon.printed());
}

fn walk(program: &Path, file: &Path, daemon: &Daemon) -> Command {
    let examples = std::env::var("RAZAO_SCHEMATHESIS_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    let mut command = Command::new(program);
    command.arg("--config-file").arg(file).arg("run").arg(format!("{}/openapi.json", daemon.base()));
    command.arg(format!("--header=Authorization: Bearer {}", daemon.token()));
    // Streams go on until they are cut off; tests of their own know all they say.
    command.args([
        "--exclude-path=/v1/stream",
        "--exclude-path=/v1/ws",
        "--phases=examples,coverage,fuzzing",
    ]);
    command.arg("--checks=all");
    command.args([
        "--request-timeout=30",
        "--continue-on-failure",
        "--no-shrink",
        "--warnings=off",
        "--no-color",
    ]);
    command.args([format!("--max-examples={examples}"), format!("--seed={SEED}")]);
    command.current_dir(file.parent().unwrap());
    command
}

/// Orders, one of them with a contradiction, a webhook that was told of them, a run and a closed month.
async fn life(bank: &Bank, shop: &Shop, client: &Client) -> Known {
    let hook = make(client, &shop.url(), json!({})).await;
    bank.says("PED-1", "paid", "10", "0");
    client.register("PED-1", "10.00").await;
    client.news("PED-1").await;
    bank.says_legacy("PED-1", "expired");
    client.news("PED-1").await;
    client.register("PED-2", "10.00").await;
    let run = client.post("/v1/reconciliations", &json!({})).await.is(202);
    let delivery = until("a delivery", async || {
        let path = format!("/v1/webhooks/{}/deliveries", hook["id"].as_str().unwrap());
        client.all(&path).await.first().map(|delivery| delivery["id"].clone())
    })
    .await;
    let discrepancies = client.all("/v1/discrepancies").await;
    let callbacks = client.all("/v1/callbacks").await;
    vec![
        ("account", json!([ACCOUNT])),
        ("reference", json!(["PED-1", "PED-2", "PED-3"])),
        ("webhook", json!([hook["id"]])),
        ("delivery", json!([delivery])),
        ("run", json!([run["id"]])),
        ("discrepancy", json!([discrepancies[0]["id"]])),
        ("callback", json!([callbacks[0]["id"]])),
        ("seq", json!([1, 2])),
        ("period", json!(["2020-01", "2020-02"])),
        ("ledger_account", json!([format!("assets:{ACCOUNT}:pending")])),
        ("currency", json!(["BRL"])),
        ("amount", json!(["10.00", "0.01"])),
        ("target", json!([shop.url()])),
        ("state", json!(["paid", "created"])),
        ("reason", json!(["the shop knows"])),
        ("action", json!(["keep"])),
    ]
}

/// Which parameter mostly takes which of the known names …
const TAKEN: [(&str, &str); 14] = [
    ("account", "account"),
    ("reference", "reference"),
    ("seq", "seq"),
    ("query.from", "seq"),
    ("query.as_of", "seq"),
    ("period", "period"),
    ("ledger_account", "ledger_account"),
    ("query.currency", "currency"),
    ("query.state", "state"),
    ("body.currency", "currency"),
    ("body.amount", "amount"),
    ("body.target", "target"),
    ("body.reason", "reason"),
    ("body.action", "action"),
];
/// … and below which path an `id` is whose.
const OWNERS: [(&str, &str); 5] = [
    ("callbacks", "callback"),
    ("webhooks", "webhook"),
    ("deliveries", "delivery"),
    ("reconciliations", "run"),
    ("discrepancies", "discrepancy"),
];

fn settings(known: &Known) -> String {
    let mut toml = String::from("[dictionaries]\n");
    for (name, values) in known {
        writeln!(toml, "{name} = {{ values = {values} }}").unwrap();
    }
    toml.push_str("[parameters]\n");
    for (parameter, name) in TAKEN {
        writeln!(toml, "\"{parameter}\" = {{ dictionary = \"{name}\", probability = 0.7 }}").unwrap();
    }
    // A provider that fails is a 502, a ledger that is busy a 503; both are in the document.
    toml.push_str(
        "[checks]\nnot_a_server_error = { expected-statuses = [\"2xx\", \"3xx\", \"4xx\", 502, 503] }\n",
    );
    for (path, name) in OWNERS {
        let id = format!("{{ dictionary = \"{name}\", probability = 0.9 }}");
        writeln!(
            toml,
            "[[operations]]\ninclude-path-regex = \"^/v1/{path}/\"\nparameters = {{ \"path.id\" = {id} }}"
        )
        .unwrap();
    }
    toml
}
