//! The control socket: what commands ask of a running daemon.

use crate::support::place::{assert_one_line_error, both};
use crate::support::{Bank, Daemon, Place, Setup};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

async fn some_orders(daemon: &Daemon) {
    for n in 0..20 {
        daemon.client().register(&format!("PED-{n}"), "10.00").await;
    }
}

#[tokio::test]
async fn verify_works_beside_the_daemon_and_names_its_head() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    some_orders(&daemon).await;
    let head = daemon.client().get("/v1/ledger/head").await.ok();
    let output = daemon.place().cli(&["verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(both(&output).contains(head["hash"].as_str().unwrap()), "{}", both(&output));
    assert!(both(&output).contains("verified 20 of 20 entries"), "{}", both(&output));
    let answer = daemon.client().post("/v1/admin/verify", &serde_json::json!({})).await.is(200);
    assert_eq!(
        (&answer["ok"], &answer["head"], &answer["entries"]),
        (&true.into(), &head["hash"], &20.into())
    );
}

#[tokio::test]
async fn verify_holds_while_the_ledger_is_written() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    (0..40).for_each(|n| bank.says(&format!("PED-{n}"), "paid", "10", "0"));
    some_orders(&daemon).await;
    let writing = tokio::spawn(async move {
        for n in 0.. {
            client.callback(&format!("PED-{}", n % 40)).await;
        }
    });
    for _ in 0..5 {
        let mut command = daemon.place().command(&["verify"]);
        let output = tokio::task::spawn_blocking(move || crate::support::run(&mut command)).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        let answer = daemon.client().post("/v1/admin/verify", &serde_json::json!({})).await.is(200);
        assert_eq!(answer["ok"], true, "{answer}");
    }
    writing.abort();
}

#[tokio::test]
async fn the_socket_is_its_owners_and_goes_with_the_daemon() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let socket = daemon.data().join("control.sock");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert!(std::fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!((mode(&daemon.data()), mode(&socket)), (0o700, 0o600));
    daemon.stop();
    assert!(!socket.exists());
    daemon.restart();
    daemon.kill_9();
    // What a kill leaves behind is in nobody's way.
    assert!(socket.exists());
    daemon.assert_verifies();
    daemon.restart();
    assert_eq!(daemon.place().cli(&["verify"]).status.code(), Some(0));
}

#[tokio::test]
async fn a_long_path_has_its_socket_elsewhere() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let long = place.file(&"d".repeat(90)).join("data");
    place.write(&place.setup.toml(&long));
    let mut daemon = Daemon::at(place);
    let socket = std::fs::read_to_string(long.join("control.path")).unwrap();
    assert!(socket.len() <= 100, "{socket}");
    let output = daemon.place().cli(&["verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    daemon.stop();
    assert!(!std::path::Path::new(&socket).exists() && !long.join("control.path").exists());
}

#[tokio::test]
async fn who_is_limited_to_some_accounts_verifies_and_backs_up_nothing() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let limited = daemon.client_with("admin", &["--accounts", "loja-picpay"]);
    let other = daemon.client_with("ledger:read", &[]);
    for path in ["/v1/admin/verify", "/v1/admin/backup"] {
        limited.post(path, &serde_json::json!({})).await.problem(403, "all-accounts-needed");
        other.post(path, &serde_json::json!({})).await.problem(403, "missing-scope");
        daemon.anonymous().post(path, &serde_json::json!({})).await.problem(401, "unauthorized");
    }
    let client = daemon.client();
    client.post("/v1/admin/backup", &serde_json::json!({})).await.problem(409, "backup-not-configured");
    assert!(client.get("/v1/admin/status").await.ok()["backup"].is_null());
}

#[test]
fn where_there_is_no_ledger_it_is_said_so() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    assert_one_line_error(&place.cli(&["verify"]), 2);
    assert_one_line_error(&place.cli(&["backup", "--to", "there"]), 2);
    assert!(!place.file("there").exists());
}
