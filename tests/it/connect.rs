//! `razao connect`: the URL it names is one that the daemon answers, and it says where to enter it, or enters it itself.

use crate::support::place::{assert_one_line_error, both};
use crate::support::sandbox::Sandbox;
use crate::support::{ANY, Bank, Daemon, Place, SELLER_TOKEN, Setup};
use serde_json::json;
use std::process::Output;
use std::time::Duration;

const KEY: &str = "k-3f9d1c7e5b2a4860";

fn keyed(bank: &Bank) -> Setup {
    Setup::new(bank).account("loja-b", bank, &format!("callback_key = \"{KEY}\""))
}

/// What is printed for an account, by whoever connects it.
fn said(place: &Place, account: &str, url: &str) -> String {
    let output = place.cli(&["connect", "--account", account, "--public-url", url]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn url_of(said: &str) -> &str {
    said.lines().find_map(|line| line.strip_prefix("callback URL: ")).unwrap()
}

#[tokio::test]
async fn callbacks_to_the_url_it_names_arrive() {
    let bank = Bank::open();
    let daemon = Daemon::with(keyed(&bank));
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    for account in ["loja-picpay", "loja-b"] {
        let said = said(daemon.place(), account, &format!("{}/", daemon.base()));
        assert!(said.contains("callbackUrl") && said.contains("PicPay"), "{said}");
        let path = url_of(&said).strip_prefix(daemon.base()).unwrap();
        let body = json!({"referenceId": "PED-1"}).to_string().into_bytes();
        let told = client.send(client.callback_raw(path, SELLER_TOKEN, body)).await.is(200);
        let receipt = client.settled(told["receipt"].as_str().unwrap()).await;
        assert_eq!((&receipt["account"], &receipt["outcome"]), (&json!(account), &json!("applied")));
    }
    // The key is part of the one and not of the other.
    let body = json!({"referenceId": "PED-1"}).to_string().into_bytes();
    client.send(client.callback_raw("/callbacks/loja-b", SELLER_TOKEN, body)).await.problem(404, ANY);
}

#[test]
fn what_cannot_be_meant_is_said_in_one_line() {
    let bank = Bank::open();
    let place = Place::new(keyed(&bank));
    let connect = |account: &str, url: &str| {
        assert_one_line_error(&place.cli(&["connect", "--account", account, "--public-url", url]), 2)
    };
    let unknown = connect("nobody", "https://pay.example.com");
    assert!(unknown.contains("loja-picpay, loja-b") && !unknown.contains(KEY), "{unknown}");
    for odd in ["pay.example.com", "ftp://pay.example.com", "https://pay.example.com/?x=1", ""] {
        assert!(connect("loja-b", odd).contains("--public-url"), "{odd}");
    }
    assert!(!place.data().exists(), "nothing was opened for it");
}

const LIVES_MAX: Duration = Duration::from_secs(120);
const GENPAG: &str = "sandbox-genpag";

/// Accounts at simulated providers that were told of nobody to post to.
fn simulated(sandbox: &Sandbox) -> Setup {
    Setup { accounts: sandbox.accounts.clone(), ..Setup::default() }
}

/// A daemon that listens where its configuration says, so that commands find it.
fn findable(place: Place, address: &str) -> Daemon {
    place.write(&place.setup.toml(&place.data()).replace("127.0.0.1:0", address));
    Daemon::at(place)
}

fn connect(place: &Place, url: &str) -> Output {
    place.cli(&["connect", "--account", GENPAG, "--public-url", url])
}

/// What a successful one printed.
fn connected(place: &Place, url: &str) -> String {
    let output = connect(place, url);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn count(said: &str, what: &str) -> usize {
    said.lines().filter(|line| line.contains(what)).count()
}

#[tokio::test]
async fn genpag_gets_the_url_once_and_its_deliveries_stand_beside_the_receipts() {
    let sandbox = Sandbox::start("http://127.0.0.1:1");
    let first = Daemon::with(simulated(&sandbox));
    let base = first.base().to_owned();
    let address = base.strip_prefix("http://").unwrap();
    first.place().write(&first.place().setup.toml(&first.data()).replace("127.0.0.1:0", address));
    let said = connected(first.place(), &base);
    assert!(said.contains("registered:   now") && said.contains("0 to this URL"), "{said}");
    let again = connected(first.place(), &format!("{base}/"));
    assert!(again.contains("registered:   already, for PAYMENT.*"), "{again}");

    // Without the registration nothing of this would arrive.
    sandbox.begin("genpag", "refund", "GEN-1").await.unwrap();
    sandbox.begin("genpag", "duplicates", "GEN-2").await.unwrap();
    sandbox.truths("over", LIVES_MAX).await;
    first.client().idle().await;
    let callbacks = first.client().all(&format!("/v1/callbacks?account={GENPAG}")).await;
    let said = connected(first.place(), &base);
    assert!(!callbacks.is_empty() && !said.contains("missing here"), "{said}");
    let mut events: Vec<&str> = callbacks.iter().map(|it| it["event"].as_str().unwrap()).collect();
    events.sort_unstable();
    events.dedup();
    for event in &events {
        let line = said.lines().find(|line| line.contains(event));
        let line = line.unwrap_or_else(|| panic!("{event} is not in {said}"));
        assert!(line.contains("  200  rc_"), "{line}");
    }
    assert_eq!(count(&said, "  200  rc_"), events.len(), "{said}");

    // Another address is named and left alone.
    let elsewhere = connected(first.place(), "https://shop.example.com");
    assert!(elsewhere.contains("registered:   now") && elsewhere.contains(&format!("also there:   {base}")));
    assert!(connected(first.place(), &base).contains("also there:   https://shop.example.com/callbacks/"));

    // Without a daemon there is nothing to compare with, and that is no failure of the registration.
    drop(first);
    let place = Place::new(simulated(&sandbox));
    place.write(&place.setup.toml(&place.data()).replace("127.0.0.1:0", address));
    let output = connect(&place, &base);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(both(&output).contains("start the daemon"), "{}", both(&output));

    // Another data directory has none of it, and that is one.
    let second = findable(place, address);
    let output = connect(second.place(), &base);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(count(&stdout, "missing here"), events.len(), "{stdout}");
    assert!(events.iter().all(|event| stdout.contains(event)), "{stdout}");
}

#[test]
fn an_access_token_that_lapsed_is_renewed_and_refused_credentials_are_said() {
    let sandbox = Sandbox::start("http://127.0.0.1:1");
    let accounts = sandbox.accounts.replace("SFMyNTY.c2FuZGJveA.", "SFMyNTY.bGFwc2Vk.");
    assert_ne!(accounts, sandbox.accounts);
    let place = Place::new(Setup { accounts: accounts.clone(), ..Setup::default() });
    let said = connected(&place, "https://pay.example.com");
    assert!(said.contains("registered:   now"), "{said}");
    let accounts = accounts.replace("SFMyNTY.cmVmcmVzaA.", "SFMyNTY.d3Jvbmc.");
    let place = Place::new(Setup { accounts, ..Setup::default() });
    let output = connect(&place, "https://pay.example.com");
    let said = assert_one_line_error(&output, 1);
    assert!(said.contains("GenPag") && said.contains("credentials"), "{said}");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(stdout.contains("POST /api/webhooks"), "how to do it by hand: {stdout}");
    assert!(!both(&output).contains("SFMyNTY"), "{}", both(&output));
}
