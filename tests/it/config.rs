//! The configuration: checked whole, every problem with its key, and nothing started.

use crate::support::place::{Place, assert_one_line_error, both, razao};
use crate::support::{Bank, Daemon, PICPAY_TOKEN, SELLER_TOKEN, Setup, run};
use std::process::Output;

fn checked(toml: &str) -> Output {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    place.write(toml);
    place.cli(&["check-config"])
}

fn good() -> String {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    place.setup.toml(&place.data())
}

#[test]
fn a_good_one_passes_and_starts_nothing() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let output = place.cli(&["check-config"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(!place.data().exists(), "nothing is made");
    assert_eq!(bank.lines(), [""; 0]);
}

#[test]
fn one_that_is_no_toml_is_exit_2() {
    let output = checked("[server\nlisten = ");
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    let output = checked("");
    assert!(matches!(output.status.code(), Some(0 | 2)), "no accounts, no panic: {}", both(&output));
}

/// Each alone, and then all of them in one file.
#[test]
fn every_problem_is_named_by_its_key_all_at_once() {
    let problems: [(&str, &str, &str); 12] = [
        ("lisen", "[server]\n", "[server]\nlisen = \"127.0.0.1:1\"\n"),
        ("cors_origins", "[server]\n", "[server]\ncors_origins = 7\n"),
        ("history_retention", "[data]\n", "[data]\nhistory_retention = \"soon\"\n"),
        ("first_pause", "first_pause = \"20ms\"", "first_pause = \"quick\""),
        ("per_account", "[resolver]\n", "[resolver]\nper_account = \"eight\"\n"),
        ("level", "[log]\n", "[log]\nlevel = \"shouting\"\n"),
        ("format", "[log]\n", "[log]\nformat = \"xml\"\n"),
        ("currency", "currency = \"BRL\"", "currency = \"XXX\""),
        ("frobnicate", "[limits]\n", "[frobnicate]\nx = 1\n[limits]\n"),
        (
            "callback_allow",
            "provider = \"picpay\"",
            "provider = \"picpay\"\ncallback_allow = [\"not-an-address\"]",
        ),
        ("timezone", "provider = \"picpay\"", "provider = \"picpay\"\ntimezone = \"Moon/Crater\""),
        ("seller_tokn", "seller_token = ", "seller_tokn = \"x\"\nseller_token = "),
    ];
    let mut all = good();
    for (key, from, to) in problems {
        let one = good().replacen(from, to, 1);
        assert_ne!(one, good(), "{key} changes nothing");
        let output = checked(&one);
        assert_eq!(output.status.code(), Some(2), "{key}: {}", both(&output));
        assert!(both(&output).contains(key), "{key} is not named: {}", both(&output));
        all = all.replacen(from, to, 1);
    }
    let output = checked(&all);
    assert_eq!(output.status.code(), Some(2));
    let missing: Vec<_> =
        problems.iter().map(|(key, ..)| key).filter(|key| !both(&output).contains(**key)).collect();
    assert!(missing.is_empty(), "not all at once, {missing:?} are missing: {}", both(&output));
}

#[test]
fn accounts_are_checked_whole() {
    let account = |id: &str, provider: &str, credentials: &str| {
        format!(
            "[[accounts]]\nid = \"{id}\"\nprovider = \"{provider}\"\n[accounts.credentials]\n{credentials}\n"
        )
    };
    let tokens = "picpay_token = \"a-token\"\nseller_token = \"b-token\"";
    let named = |toml: String, needle: &str| {
        let output = checked(&toml);
        assert_eq!(output.status.code(), Some(2), "{toml}{}", both(&output));
        assert!(both(&output).contains(needle), "{needle} is not named: {}", both(&output));
    };
    named(account("UPPER case", "picpay", tokens), "id");
    named(account(&"x".repeat(65), "picpay", tokens), "id");
    named(account("loja", "nopay", tokens), "nopay");
    named(account("loja", "picpay", "picpay_token = \"a-token\""), "seller_token");
    named(account("loja", "picpay", ""), "picpay_token");
    named([account("loja", "picpay", tokens), account("loja", "picpay", tokens)].concat(), "id");
    named(account("loja", "picpay", tokens).replace("provider = \"picpay\"\n", ""), "provider");
}

#[test]
fn weak_and_contradictory_keys_are_refused() {
    let named = |auth: &str, needle: &str| {
        let toml = good().replacen("[auth]\n", &format!("[auth]\n{auth}\n"), 1);
        let output = checked(&toml);
        assert_eq!(output.status.code(), Some(2), "{auth}: {}", both(&output));
        assert!(both(&output).contains(needle), "{needle} is not named: {}", both(&output));
    };
    let long = "0123456789012345678901234567890123456789";
    named("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"short\"", "secret");
    named("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"none\"\nsecret = \"x\"", "algorithm");
    named("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"RS256\"", "public_key_file");
    named("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"", "secret");
    named(
        "[[auth.keys]]\nkid = \"a\"\nalgorithm = \"RS256\"\npublic_key_file = \"nowhere.pem\"",
        "nowhere.pem",
    );
    let one = format!("[[auth.keys]]\nkid = \"twice\"\nalgorithm = \"HS256\"\nsecret = \"{long}\"\n");
    named(&[one.clone(), one].concat(), "kid");
    // A secret that is wrong is not repeated.
    let toml = good().replacen(
        "[auth]\n",
        "[auth]\n[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"too-short-but-secret\"\n",
        1,
    );
    assert!(!both(&checked(&toml)).contains("too-short-but-secret"));
}

#[test]
fn serve_refuses_what_check_config_refuses_in_one_line() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    place.write(&good().replacen("[server]\n", "[server]\nlisen = \"127.0.0.1:1\"\n", 1));
    let line = assert_one_line_error(&place.cli(&["serve"]), 2);
    assert!(line.contains("lisen"), "{line}");
    assert!(!place.data().exists(), "nothing was started");
}

#[test]
fn the_environment_lies_over_the_file() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let check = |key: &str, value: &str| {
        let mut command = razao(&[]);
        command.args(["check-config", "--config"]).arg(&place.config).env(key, value);
        run(&mut command)
    };
    for (key, value, word) in [
        ("RAZAO__LOG__LEVEL", "shouting", "level"),
        ("RAZAO__SERVER__LISEN", "x", "lisen"),
        ("RAZAO__RESOLVER__PER_ACCOUNT", "eight", "per_account"),
    ] {
        let output = check(key, value);
        assert_eq!(output.status.code(), Some(2), "{key}: {}", both(&output));
        assert!(both(&output).to_lowercase().contains(word), "{key}: {}", both(&output));
    }
    for (key, value) in [
        ("RAZAO__LOG__LEVEL", "debug"),
        ("RAZAO__RESOLVER__PER_ACCOUNT", "4"),
        ("RAZAO__POLL__ENABLED", "true"),
    ] {
        let output = check(key, value);
        assert_eq!(output.status.code(), Some(0), "{key}: {}", both(&output));
    }
}

#[tokio::test]
async fn the_environment_reaches_the_running_daemon() {
    let bank = Bank::open();
    let data = tempfile::tempdir().unwrap();
    let elsewhere = data.path().join("elsewhere");
    let setup = Setup::new(&bank)
        .auth("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"0123456789012345678901234567890123456789\"")
        .env("RAZAO__DATA__DIR", elsewhere.to_str().unwrap());
    let daemon = Daemon::with(setup);
    assert!(elsewhere.exists() && !daemon.data().exists());
}

#[tokio::test]
async fn credentials_may_stand_in_files() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "10", "0");
    let mut place = Place::new(Setup::new(&bank));
    // An editor's newline at the end is not part of the secret.
    std::fs::write(place.file("picpay"), format!("{PICPAY_TOKEN}\n")).unwrap();
    std::fs::write(place.file("seller"), format!("{SELLER_TOKEN}\n")).unwrap();
    let (picpay, seller) = (place.file("picpay"), place.file("seller"));
    place.setup.accounts = place
        .setup
        .accounts
        .replace(
            &format!("picpay_token = \"{PICPAY_TOKEN}\""),
            &format!("picpay_token_file = \"{}\"", picpay.display()),
        )
        .replace(
            &format!("seller_token = \"{SELLER_TOKEN}\""),
            &format!("seller_token_file = \"{}\"", seller.display()),
        );
    place.write(&place.setup.toml(&place.data()));
    let daemon = Daemon::at(place);
    let client = daemon.client();
    assert_eq!(client.news("PED-1").await["state"], "paid");
}
