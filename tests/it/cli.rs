//! The program's commands: exit codes, one-line errors, and who may open the data directory.

use crate::support::daemon::ALL_SCOPES;
use crate::support::place::{Place, assert_one_line_error, both, copy_dir, razao};
use crate::support::{Bank, Daemon, PATIENCE, Setup, run, until, wait_for};
use std::process::Stdio;

async fn some_life(bank: &Bank, daemon: &Daemon) {
    let client = daemon.client();
    for (reference, word) in [("PED-1", "paid"), ("PED-2", "refunded"), ("PED-3", "unheard-of")] {
        bank.says(reference, word, "10", if word == "refunded" { "10" } else { "0" });
        client.news(reference).await;
    }
}

#[test]
fn usage_errors_are_exit_2() {
    for arguments in [
        &["frobnicate"][..],
        &["serve", "--no-such-flag"],
        &["token"],
        &["token", "--scope"],
        &["verify", "extra"],
        &["--no-such"],
    ] {
        let output = run(razao(&[]).args(arguments).current_dir(std::env::temp_dir()));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
        assert!(!output.stderr.is_empty(), "{arguments:?} says nothing");
        assert!(output.stdout.is_empty(), "{arguments:?}: errors belong on stderr: {}", both(&output));
    }
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["token", "--help"]] {
        let output = run(razao(&[]).args(arguments));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", both(&output));
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_missing_configuration_is_exit_2_and_named() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["serve", "verify", "check-config"] {
        let output = run(razao(&[]).args([command, "--config", "nowhere.toml"]).current_dir(dir.path()));
        assert_eq!(output.status.code(), Some(2), "{command}: {}", both(&output));
        assert!(both(&output).contains("nowhere.toml"), "{command}: {}", both(&output));
        // `check-config` gives a problem a line and may sum up; of the others an error is one line.
        if command != "check-config" {
            assert_one_line_error(&output, 2);
        }
    }
}

#[test]
fn odd_tokens_are_refused() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    for odd in [&["--ttl", "soon"][..], &["--ttl", "-1h"], &["--accounts", "Not An Id"]] {
        let output = place.cli(&[&["token", "--scope", "orders:read"], odd].concat());
        assert_eq!(output.status.code(), Some(2), "{odd:?}: {}", both(&output));
    }
    let token = place.token("orders:read", &["--ttl", "2h", "--subject", "ana"]);
    assert_eq!(token.split('.').count(), 3, "{token}");
    assert!(!token.contains(char::is_whitespace), "a token alone on stdout: {token}");
}

#[tokio::test]
async fn token_works_beside_the_daemon_and_before_it() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let before = place.token(ALL_SCOPES, &[]);
    let daemon = Daemon::at(place);
    // The key made for the first token is the daemon's.
    assert_eq!(daemon.client_by(&before).get("/v1/orders").await.status, 200);
    let beside = daemon.place().token(ALL_SCOPES, &[]);
    assert_eq!(daemon.client_by(&beside).get("/v1/orders").await.status, 200);
}

#[tokio::test]
async fn verify_passes_on_what_the_daemon_wrote() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    some_life(&bank, &daemon).await;
    let head = daemon.client().get("/v1/ledger/head").await.ok();
    daemon.stop();
    let output = daemon.place().cli(&["verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(both(&output).contains(&head["seq"].to_string()), "it says how far it went: {}", both(&output));
    // It changed nothing: the daemon goes on where it was.
    daemon.restart();
    let now = daemon.client().get("/v1/ledger/head").await.ok();
    assert_eq!((&now["seq"], &now["hash"]), (&head["seq"], &head["hash"]));
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    some_life(&bank, &daemon).await;
    let output = daemon.place().cli(&["serve"]);
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    // A starting daemon may log before; the error itself is the last line.
    assert!(line.lines().last().is_some_and(|last| last.contains("data")), "{line}");
    assert!(output.stdout.is_empty(), "it never got ready: {}", both(&output));
    assert_eq!(daemon.client().get("/readyz").await.status, 200, "the first one is unharmed");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_exit_2() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    // Below a plain file nobody can make a directory, not even root.
    std::fs::write(place.file("file"), b"x").unwrap();
    place.write(&place.setup.toml(&place.file("file/data")));
    let output = place.cli(&["serve"]);
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.lines().last().is_some_and(|line| line.contains("file/data")), "{stderr}");
}

#[test]
fn a_port_that_is_taken_is_exit_2() {
    let bank = Bank::open();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new(Setup::new(&bank));
    let toml = place.setup.toml(&place.data());
    place.write(&toml.replace("127.0.0.1:0", &address));
    let output = place.cli(&["serve"]);
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address), "{}", both(&output));
}

#[tokio::test]
async fn sigterm_and_ctrl_c_drain_what_is_running() {
    for signal in ["TERM", "INT"] {
        let bank = Bank::open();
        let mut daemon = Daemon::start(&bank);
        let client = daemon.client();
        bank.hold();
        client.register("PED-1", "10.00").await;
        bank.says("PED-1", "paid", "10", "0");
        let poll = tokio::spawn({
            let client = client.clone();
            async move { client.poll("PED-1").await }
        });
        until("the poll at the bank", async || (bank.queries("PED-1") > 0).then_some(())).await;
        daemon.signal(signal);
        // New connections are refused, or not answered, while the running request finishes.
        bank.release();
        let reply = poll.await.unwrap();
        assert_eq!(reply.is(200)["state"], "paid", "SIG{signal}");
        let status = daemon.ended();
        assert_eq!(status.code(), Some(0), "SIG{signal}: {status}\n{}", daemon.printed());
        daemon.assert_verifies();
    }
}

#[tokio::test]
async fn stdout_is_one_line_and_the_address_on_it_works() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let mut child = place.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let token = place.token(ALL_SCOPES, &[]);
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
        text
    });
    // The key is there as soon as a token could be made; a signal before readiness must end it just as well.
    assert!(!token.is_empty());
    std::process::Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
    let status = wait_for(PATIENCE * 2, "the daemon's end", || child.try_wait().unwrap());
    let text = reader.join().unwrap();
    assert!(text.lines().count() <= 1, "{text}");
    if let Some(line) = text.lines().next() {
        assert!(line.starts_with("listening on http://127.0.0.1:"), "{text}");
        assert_eq!(status.code(), Some(0));
    }
}

#[tokio::test]
async fn a_tail_that_was_cut_off_is_seen() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "10.00").await;
    daemon.stop();
    let old = daemon.place().file("old");
    copy_dir(&daemon.data(), &old);
    daemon.restart();
    daemon.client().register("PED-2", "10.00").await;
    daemon.stop();
    // Yesterday's database under today's note of the head: what an overwritten or half-restored disk looks like.
    let head = std::fs::read(daemon.data().join("head")).expect("the head is noted beside the database");
    std::fs::remove_dir_all(daemon.data()).unwrap();
    copy_dir(&old, &daemon.data());
    std::fs::write(daemon.data().join("head"), head).unwrap();
    let output = daemon.place().cli(&["verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
}

#[tokio::test]
async fn a_database_that_vanished_is_not_taken_for_a_new_one() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "10.00").await;
    daemon.stop();
    for file in std::fs::read_dir(daemon.data()).unwrap() {
        let file = file.unwrap();
        if file.file_name() == "head" {
            continue;
        }
        if file.file_type().unwrap().is_dir() {
            std::fs::remove_dir_all(file.path()).unwrap();
        } else {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    for command in ["serve", "verify"] {
        let output = daemon.place().cli(&[command]);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{command}: {}", both(&output));
        assert!(output.stdout.is_empty() || command == "verify", "{}", both(&output));
    }
}

/// A reader that goes away, as `| head -1` does, ends nothing: the simulated providers go on.
#[test]
fn a_closed_pipe_ends_nothing() {
    use std::io::{BufRead, BufReader};
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_razao"))
        .args(["sandbox", "--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let port: u16 =
        first.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(';').next()?.parse().ok()).unwrap();
    let served = crate::support::wait_for(std::time::Duration::from_secs(10), "the providers' API", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    drop(served);
    assert_eq!(child.try_wait().unwrap(), None, "it ended with its reader");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What is said beside the answer goes to nobody: the answer and the exit code are the same.
#[tokio::test]
async fn a_closed_stderr_changes_no_exit_code() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    some_life(&bank, &daemon).await;
    let place = daemon.place();
    let (backup, data) = (place.file("backup"), place.file("restored"));
    let (backup, data) = (backup.to_str().unwrap(), data.to_str().unwrap());
    let commands: [(&[&str], i32); 6] = [
        (&["backup", "--to", backup], 0),
        (&["restore", "--from", backup, "--data", data], 0),
        (&["verify", "--data", data], 0),
        (&["restore", "--from", backup, "--data", data], 2),
        (&["export", "--format", "nonsense"], 2),
        (&["verify", "--data", "/nowhere"], 2),
    ];
    for (arguments, code) in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(arguments);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}
