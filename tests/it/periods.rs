//! Closing months, seals, and what `razao verify --seal` makes of kept ones.

use crate::support::cases::Case;
use crate::support::chain::{canonical, minor, sums};
use crate::support::place::{Place, assert_one_line_error, both, copy_dir};
use crate::support::stub::Stub;
use crate::support::{ANY, Bank, Client, Daemon, Setup, run, tool};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const MONTH: &str = "/v1/periods/2026-02";

async fn some_sales(bank: &Bank, client: &Client) {
    for (reference, word, refunded) in [("PED-1", "paid", "0"), ("PED-2", "refunded", "20.50")] {
        bank.says(reference, word, "20.50", refunded);
        client.news(reference).await;
    }
}

async fn close(client: &Client) -> Value {
    client.post(&format!("{MONTH}/close"), &json!({})).await.is(201)
}

async fn head_seal(client: &Client) -> Value {
    client.get("/v1/ledger/head").await.ok()["seal"].clone()
}

fn keep(place: &Place, name: &str, seal: &Value) -> PathBuf {
    let path = place.file(name);
    std::fs::write(&path, serde_json::to_string_pretty(seal).unwrap()).unwrap();
    path
}

fn verify(place: &Place, seals: &[&PathBuf]) -> (Option<i32>, String) {
    let named = seals.iter().flat_map(|path| ["--seal", path.to_str().unwrap()]);
    let output = place.cli(&["verify"].into_iter().chain(named).collect::<Vec<_>>());
    (output.status.code(), both(&output))
}

/// The commands that schema/seal.md gives, word for word.
fn assert_documented_commands_verify(place: &Place, seal: &Value) {
    if ["jq", "openssl", "base64"].map(tool).iter().any(Option::is_none) {
        return;
    }
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/seal.md");
    let page = std::fs::read_to_string(page).unwrap();
    let commands = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    keep(place, "seal.json", seal);
    let output = run(Command::new("sh").args(["-ec", commands]).current_dir(place.file("")));
    assert!(both(&output).contains("Signature Verified Successfully"), "{}", both(&output));
}

/// A seal's signature by openssl alone, over text that is put together here.
fn assert_openssl_verifies(place: &Place, seal: &Value) {
    let Some(openssl) = tool("openssl") else { return };
    let mut signed = seal.clone();
    let signature = signed.as_object_mut().unwrap().remove("signature").unwrap();
    let decoded = |text: &Value| BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap();
    let (text, sig, key) = (place.file("signed"), place.file("signature"), place.file("key.der"));
    let spki = format!("MCowBQYDK2VwAyEA{}", seal["public_key"].as_str().unwrap());
    std::fs::write(&key, BASE64_STANDARD.decode(spki).unwrap()).unwrap();
    std::fs::write(&sig, decoded(&signature)).unwrap();
    let verified = |content: String| {
        std::fs::write(&text, content).unwrap();
        let mut command = Command::new(&openssl);
        command.args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin", "-inkey"]).arg(&key);
        run(command.arg("-sigfile").arg(&sig).arg("-in").arg(&text)).status.success()
    };
    assert!(verified(canonical(&signed)), "openssl refuses {seal}");
    signed["seq"] = json!(seal["seq"].as_u64().unwrap() + 1);
    assert!(!verified(canonical(&signed)), "openssl takes anything");
}

#[tokio::test]
async fn a_month_is_closed_once_and_its_seal_can_be_checked_by_anybody() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_sales(&bank, &client).await;
    let head = client.get("/v1/ledger/head").await.ok();
    let reply = client.post(&format!("{MONTH}/close"), &json!({})).await;
    assert_eq!(reply.header("location"), Some(MONTH));
    let closed = reply.is(201);
    assert_eq!((&closed["period"], &closed["timezone"]), (&json!("2026-02"), &json!("America/Sao_Paulo")));
    assert_eq!(
        (&closed["from"], &closed["to"]),
        (&json!("2026-02-01T03:00:00.000000Z"), &json!("2026-03-01T03:00:00.000000Z"))
    );
    assert_eq!((&closed["head"]["seq"], &closed["head"]["hash"]), (&head["seq"], &head["hash"]));
    // Nothing had been recorded by the end of that month.
    assert_eq!(closed["end"]["seq"], 0);
    // More comes, and the first closing stands.
    bank.says("PED-3", "paid", "1", "0");
    client.news("PED-3").await;
    let again = client.send(client.request("POST", &format!("{MONTH}/close"))).await;
    assert_eq!(again.is(200), closed);
    assert_eq!(client.get("/v1/periods").await.ok(), json!({"data": [closed], "next_cursor": null}));
    let shown = client.get(MONTH).await.ok();
    for (name, value) in closed.as_object().unwrap() {
        assert_eq!(shown[name], *value, "{name}");
    }
    assert_eq!(shown["balances"], json!([]));
    let seq = closed["head"]["seq"].as_u64().unwrap();
    let then = client.get(&format!("/v1/balances?as_of={seq}")).await.ok();
    assert_eq!(shown["balances_when_closed"], then["data"]);
    assert_eq!(shown["corrections"]["count"], 0);
    // The seal says the same, in its own words.
    let seal = &closed["seal"];
    assert_eq!((&seal["seq"], &seal["hash"]), (&head["seq"], &head["hash"]));
    assert_eq!((&seal["time"], &seal["previous_key"]), (&closed["closed_at"], &Value::Null));
    assert_eq!(seal["period"]["end_seq"], 0);
    let lines = |list: &Value| -> Vec<(Value, Value)> {
        let line = |line: &Value| (line["ledger_account"].clone(), line["balance"].clone());
        list.as_array().unwrap().iter().map(line).collect()
    };
    assert_eq!(lines(&seal["balances"]), lines(&then["data"]));
    assert_openssl_verifies(daemon.place(), seal);
    assert_documented_commands_verify(daemon.place(), seal);
    let head = client.get("/v1/ledger/head").await.ok();
    let seal = &head["seal"];
    assert_eq!((&seal["seq"], &seal["hash"]), (&head["seq"], &head["hash"]));
    assert_eq!((&seal["balances"], &seal["period"]), (&Value::Null, &Value::Null));
    assert_openssl_verifies(daemon.place(), seal);
}

#[tokio::test]
async fn closed_months_are_listed_page_by_page_the_latest_first() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    for month in ["2026-01", "2025-12", "2026-03"] {
        client.post(&format!("/v1/periods/{month}/close"), &json!({})).await.is(201);
    }
    let listed = client.all("/v1/periods?limit=1").await;
    let months: Vec<_> = listed.iter().map(|closed| closed["period"].as_str().unwrap()).collect();
    assert_eq!(months, ["2026-03", "2026-01", "2025-12"]);
    daemon.restart();
    assert_eq!(daemon.client().all("/v1/periods").await, listed);
    daemon.stop();
    daemon.assert_verifies();
}

/// Efí dates its changes: what it says of February arrives after February was closed.
#[tokio::test]
async fn what_a_provider_dates_back_is_shown_apart() {
    let case = Case::read("gerencianet", "boleto_paid");
    let stub = Stub::open(std::slice::from_ref(&case));
    let setup = Setup::default();
    let setup = Setup { accounts: case.account_toml(&stub.base_url()), ..setup };
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    let closed = close(&client).await;
    let receipt = client.send(case.callback_request(&client).unwrap()).await.is(200);
    client.settled(receipt["receipt"].as_str().unwrap()).await;
    let ledger = client.ledger().await;
    let of_february: Vec<Value> = ledger
        .iter()
        .filter(|entry| entry["occurred_at"].as_str().unwrap().starts_with("2026-02"))
        .cloned()
        .collect();
    assert!(of_february.len() >= 2, "{ledger:?}");
    let shown = client.get(MONTH).await.ok();
    assert_eq!(shown["corrections"]["count"], of_february.len());
    let summed = shown["corrections"]["balances"].as_array().unwrap();
    for line in summed {
        let name = line["ledger_account"].as_str().unwrap();
        assert_eq!(sums(&of_february)[name], minor(line["balance"].as_str().unwrap()), "{name}");
    }
    assert_eq!(summed.len(), sums(&of_february).len());
    assert_eq!(shown["seal"], closed["seal"]);
    assert_eq!(client.all(&format!("{MONTH}/corrections?limit=1")).await, of_february);
    assert_eq!(client.all(&format!("{MONTH}/corrections")).await, of_february);
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn who_may_close_and_what_is_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let path = format!("{MONTH}/close");
    for (scope, more) in [("admin", &["--accounts", "loja-picpay"][..]), ("balances:read", &[])] {
        daemon.client_with(scope, more).post(&path, &json!({})).await.problem(403, ANY);
    }
    daemon.anonymous().post(&path, &json!({})).await.problem(401, ANY);
    for path in ["/v1/periods", MONTH, "/v1/periods/2026-02/corrections"] {
        daemon.client_with("admin", &[]).get(path).await.problem(403, "missing-scope");
        let limited = daemon.client_with("balances:read", &["--accounts", "loja-picpay"]);
        limited.get(path).await.problem(403, "missing-accounts");
    }
    for month in ["2026-13", "2026-2", "1969-12", "feb", "2026-02-01"] {
        client.post(&format!("/v1/periods/{month}/close"), &json!({})).await.problem(400, ANY);
        client.get(&format!("/v1/periods/{month}")).await.problem(400, ANY);
    }
    client.post("/v1/periods/2999-12/close", &json!({})).await.problem(409, "period-not-over");
    client.post(&path, &json!({"force": true})).await.problem(422, ANY);
    client.post(&path, &json!([])).await.problem(400, ANY);
    client.get(MONTH).await.problem(404, ANY);
    client.get("/v1/periods/2026-02/corrections").await.problem(404, ANY);
    client.get("/v1/periods?form=2").await.problem(400, ANY);
    // With a key the answer is kept as it was given.
    let keyed = |body: &str| {
        let request = client.request("POST", &path).header("idempotency-key", "close-february");
        client.send(request.body(body.to_owned()))
    };
    let first = keyed("{}").await;
    let repeated = keyed("{}").await;
    assert_eq!(repeated.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.is(201), repeated.is(201));
    keyed("").await.problem(409, ANY);
    daemon.client_with("balances:read", &[]).get(MONTH).await.is(200);
}

#[tokio::test]
async fn kept_seals_are_compared_with_the_ledger() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    some_sales(&bank, &client).await;
    daemon.stop();
    let yesterday = daemon.place().file("yesterday");
    copy_dir(&daemon.data(), &yesterday);
    daemon.restart();
    let client = daemon.client();
    bank.says("PED-3", "paid", "1", "0");
    client.news("PED-3").await;
    let closing = keep(daemon.place(), "closing.json", &close(&client).await);
    let seal = head_seal(&client).await;
    let head = keep(daemon.place(), "head.json", &seal);
    for serving in [true, false] {
        if !serving {
            daemon.stop();
        }
        let (code, text) = verify(daemon.place(), &[&closing, &head]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(text.matches("the key that this directory signs with now").count(), 2, "{text}");
    }
    let place = daemon.place();
    // What was changed in a kept seal, what is none, and what is not there.
    let mut changed = seal.clone();
    changed["seq"] = json!(1);
    let changed = keep(place, "changed.json", &changed);
    let odd = keep(place, "odd.json", &json!({"seq": 1}));
    for (path, words) in [(&changed, "its signature does not fit"), (&odd, "it is no seal")] {
        let line = assert_one_line_error(&place.cli(&["verify", "--seal", path.to_str().unwrap()]), 1);
        assert!(line.contains(path.to_str().unwrap()) && line.contains(words), "{line}");
    }
    let gone = place.file("gone.json");
    assert_eq!(verify(place, &[&head, &gone]).0, Some(2));
    // Yesterday's directory put back: whole in itself, and shorter than the seal.
    let (today, aside) = (daemon.data(), place.file("aside"));
    std::fs::rename(&today, &aside).unwrap();
    std::fs::rename(&yesterday, &today).unwrap();
    assert_eq!(verify(place, &[]).0, Some(0));
    for path in [&closing, &head] {
        let (code, text) = verify(place, &[path]);
        assert!(code == Some(1) && text.contains("its end was cut off"), "{text}");
    }
    // A history of its own grows past the seal.
    daemon.restart();
    let client = daemon.client();
    for reference in ["X-1", "X-2", "X-3", "X-4"] {
        bank.says(reference, "paid", "1", "0");
        client.news(reference).await;
    }
    daemon.stop();
    assert_eq!(verify(daemon.place(), &[]).0, Some(0));
    let (code, text) = verify(daemon.place(), &[&head]);
    assert!(code == Some(1) && text.contains("the ledger was rewritten"), "{text}");
    // And another ledger is another ledger.
    let mut other = Daemon::start(&bank);
    other.stop();
    let (code, text) = verify(other.place(), &[&head]);
    assert!(code == Some(1) && text.contains("it is of ledger"), "{text}");
}

#[tokio::test]
async fn a_directory_without_its_key_makes_another_that_names_it() {
    let bank = Bank::open();
    let setup = Setup::new(&bank).log("level = \"trace\"");
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    some_sales(&bank, &client).await;
    let file = daemon.data().join("seal.key");
    let secret = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert_eq!(secret.len(), 64);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let first = head_seal(&client).await;
    assert_eq!(first["previous_key"], Value::Null);
    daemon.restart();
    let same = head_seal(&daemon.client()).await;
    assert_eq!((&same["public_key"], &same["previous_key"]), (&first["public_key"], &Value::Null));
    daemon.stop();
    // As a restored directory is: all of the ledger, and no key.
    std::fs::remove_file(&file).unwrap();
    let kept = keep(daemon.place(), "first.json", &first);
    let (code, text) = verify(daemon.place(), &[&kept]);
    assert!(code == Some(0) && text.contains("a key that this ledger signed with earlier"), "{text}");
    assert!(!file.exists(), "verify makes no key");
    daemon.restart();
    let client = daemon.client();
    let second = head_seal(&client).await;
    assert_ne!(second["public_key"], first["public_key"]);
    assert_eq!(second["previous_key"], first["public_key"]);
    assert_eq!(second["ledger"], first["ledger"]);
    assert_openssl_verifies(daemon.place(), &second);
    assert_eq!(close(&client).await["seal"]["previous_key"], first["public_key"]);
    daemon.restart();
    let answers = daemon.client().get("/v1/ledger/head").await.text();
    assert!(answers.contains(first["public_key"].as_str().unwrap()));
    daemon.stop();
    let fresh = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    for secret in [&secret, &fresh] {
        assert!(!daemon.printed().contains(secret.as_str()) && !answers.contains(secret.as_str()));
    }
    let newer = keep(daemon.place(), "second.json", &second);
    let (code, text) = verify(daemon.place(), &[&kept, &newer]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("signed with earlier") && text.contains("signs with now"), "{text}");
    std::fs::write(&file, "broken").unwrap();
    let output = daemon.place().cli(&["serve"]);
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    assert!(
        both(&output).contains("seal.key is not a key of 32 bytes in hex; remove it"),
        "{}",
        both(&output)
    );
}
