//! `razao connect`: the URL it names is one that the daemon answers, and it says where to enter it.

use crate::support::place::assert_one_line_error;
use crate::support::{ANY, Bank, Daemon, Place, SELLER_TOKEN, Setup};
use serde_json::json;

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
