//! `razao import`: a file of orders into the ledger, with and without a daemon.

use crate::support::place::{assert_one_line_error, both};
use crate::support::{Bank, Daemon, Place, Setup, run};
use serde_json::json;
use std::path::PathBuf;
use std::process::Output;

const ORDERS: &str = "account,reference,amount,currency,expires_at,provider_ref,metadata.cart\n\
    loja-picpay,PED-1,129.90,BRL,,,\n\
    loja-picpay,\"PED, \"\"2\"\"\",10.00,BRL,2031-03-02T18:00:00-03:00,AUTH-2,77\n";

fn sheet(place: &Place, text: &[u8]) -> PathBuf {
    let path = place.file("orders.csv");
    std::fs::write(&path, text).unwrap();
    path
}

fn import(place: &Place, text: &[u8]) -> Output {
    let path = sheet(place, text);
    place.cli(&["import", path.to_str().unwrap()])
}

/// An import beside a daemon, which listens elsewhere than its configuration says.
fn import_beside(daemon: &Daemon, text: &[u8]) -> Output {
    let path = sheet(daemon.place(), text);
    let mut command = daemon.place().command(&["import", path.to_str().unwrap()]);
    let address = daemon.base().strip_prefix("http://").unwrap();
    run(command.env("RAZAO__SERVER__LISTEN", address))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_file_is_registered_without_a_daemon_and_again_changes_nothing() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let output = import(&place, ORDERS.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(stdout(&output), "2 lines: 2 registered, 0 known before, 0 failed\n");
    let output = import(&place, ORDERS.as_bytes());
    assert_eq!(stdout(&output), "2 lines: 0 registered, 2 known before, 0 failed\n", "{}", both(&output));
    let mut daemon = Daemon::at(place);
    let order = daemon.client().order("PED, \"2\"").await;
    assert_eq!(
        (&order["amounts"]["expected"], &order["provider_ref"], &order["metadata"]),
        (&json!("10.00"), &json!("AUTH-2"), &json!({"cart": "77"}))
    );
    assert_eq!(daemon.client().ledger().await.len(), 2);
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn beside_a_daemon_it_goes_through_the_daemon() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "129.90").await;
    let output = import_beside(&daemon, ORDERS.as_bytes());
    assert_eq!(stdout(&output), "2 lines: 1 registered, 1 known before, 0 failed\n", "{}", both(&output));
    assert_eq!(daemon.client().order("PED, \"2\"").await["provider_ref"], "AUTH-2");
    let output = import_beside(&daemon, b"account,reference,amount,currency\nloja-picpay,PED-1,1.00,BRL\n");
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("line 2: ") && both(&output).contains("amount"), "{}", both(&output));
}

#[test]
fn each_line_that_is_wrong_is_named_and_the_others_are_registered() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let text = b"\xef\xbb\xbfcurrency;amount;reference;account\r\nBRL;1.00;PED-1;loja-picpay\r\n\
        BRL;1,00;PED-2;loja-picpay\r\nBRL;1.00;PED-3;nobody\r\nBRL;1.00;PED-4\r\n\
        BRL;1.00;PED-\xff;loja-picpay\r\nUSD;1.00;PED-6;loja-picpay\r\n\r\nBRL;7.00;PED-7;loja-picpay\r\n";
    let output = import(&place, text);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert_eq!(stdout(&output), "7 lines: 2 registered, 0 known before, 5 failed\n");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = [(3, "amount"), (4, "account"), (5, "3 cells"), (6, "UTF-8"), (7, "currency")];
    assert_eq!(stderr.lines().count(), expected.len(), "{stderr}");
    for (line, (number, what)) in stderr.lines().zip(expected) {
        assert!(line.starts_with(&format!("razao: line {number}: ")) && line.contains(what), "{line}");
    }
}

#[test]
fn lines_are_counted_as_an_editor_does() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let text = "account,reference,amount,currency,metadata.note\n\n\n\
        loja-picpay,PED-1,1.00,BRL,\"two\nlines\"\nloja-picpay,PED-2,x,BRL,\n\nloja-picpay,PED-3,x,BRL,";
    for text in [text.to_owned(), text.replace('\n', "\r\n") + "\r\n"] {
        let output = import(&place, text.as_bytes());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let amounts = stderr.lines().filter(|line| line.contains("amount"));
        let numbers: Vec<_> = amounts.map(|line| line.split(": ").nth(1).unwrap()).collect();
        assert_eq!(numbers, ["line 6", "line 8"], "{}", both(&output));
    }
}

#[test]
fn a_file_that_cannot_be_meant_is_a_usage_error() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    for (text, what) in [
        ("", "account"),
        ("account,reference,amount\n", "currency"),
        ("account,reference,amount,currency,colour\n", "colour"),
        ("account,reference,amount,currency,amount\n", "twice"),
    ] {
        let said = assert_one_line_error(&import(&place, text.as_bytes()), 2);
        assert!(said.contains(what), "{said}");
    }
    assert_one_line_error(&place.cli(&["import", "nowhere.csv"]), 2);
    assert!(!place.data().exists(), "nothing was opened for it");
}

#[test]
fn many_lines_are_handed_over_piece_by_piece() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let lines = (0..1_501).map(|n| format!("loja-picpay,PED-{n},1.00,BRL\n"));
    let text = "account,reference,amount,currency\n".to_owned() + &lines.collect::<String>();
    let output = import(&place, text.as_bytes());
    assert_eq!(
        stdout(&output),
        "1501 lines: 1501 registered, 0 known before, 0 failed\n",
        "{}",
        both(&output)
    );
    let output = place.cli(&["verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
}
