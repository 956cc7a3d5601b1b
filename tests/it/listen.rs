//! `razao listen` as a process beside a daemon: lines, resumption, tokens, forwarding, and how it ends.

use crate::support::place::assert_one_line_error;
use crate::support::shop::{Reaction, answer};
use crate::support::{Bank, Daemon, PATIENCE, Place, Setup, Shop, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

type Lines = Arc<Mutex<Vec<String>>>;

struct Listener {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- listen said ---\n{:#?}\n{:#?}", self.lines(), self.said());
        }
    }
}

fn kept(pipe: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let inner = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            inner.lock().unwrap().push(line);
        }
    });
    lines
}

impl Listener {
    fn start(place: &Place, arguments: &[&str]) -> Listener {
        let mut command = place.command(&[&["listen"], arguments].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (kept(child.stdout.take().unwrap()), kept(child.stderr.take().unwrap()));
        Listener { child, stdout, stderr }
    }

    fn lines(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    fn said(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// The seqs of the bodies printed so far.
    fn seqs(&self) -> Vec<u64> {
        let seq = |line: &String| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        self.lines().iter().map(seq).collect()
    }

    fn until_seq(&self, last: u64) {
        wait_for(PATIENCE, "an event", || (self.seqs().last() == Some(&last)).then_some(()));
    }

    fn until_line(&self, what: &str) -> String {
        wait_for(PATIENCE, what, || self.lines().into_iter().find(|line| line.contains(what)))
    }

    fn ended(&mut self) -> ExitStatus {
        wait_for(PATIENCE, "its end", || self.child.try_wait().unwrap())
    }

    fn interrupted(&mut self) -> ExitStatus {
        let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", self.child.id())]).status();
        assert!(kill.unwrap().success());
        self.ended()
    }
}

/// From now on the daemon listens where it does now, also after a restart.
fn stays_at_its_port(daemon: &Daemon) {
    let address = daemon.base().strip_prefix("http://").unwrap();
    let toml = daemon.place().setup.toml(&daemon.data());
    daemon.place().write(&toml.replace("127.0.0.1:0", address));
}

#[tokio::test]
async fn a_daemon_that_is_killed_and_comes_back_leaves_no_gap() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    stays_at_its_port(&daemon);
    // Nothing but the configuration says where the daemon is and how to sign.
    let mut listener = Listener::start(daemon.place(), &["--from", "1", "--json"]);
    daemon.client().register("PED-1", "1.00").await;
    daemon.client().register("PED-2", "1.00").await;
    listener.until_seq(2);
    let events = daemon.client().all("/v1/events").await;
    let bodies: Vec<Value> =
        listener.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(bodies, events, "the bodies as they are everywhere");
    daemon.kill_9();
    wait_for(PATIENCE, "word of the cut", || {
        listener.said().iter().any(|line| line.contains("trying again")).then_some(())
    });
    daemon.restart();
    daemon.client().register("PED-3", "1.00").await;
    daemon.client().register("PED-4", "1.00").await;
    listener.until_seq(4);
    assert_eq!(listener.seqs(), [1, 2, 3, 4]);
    assert_eq!(listener.interrupted().code(), Some(0));
}

#[tokio::test]
async fn types_are_chosen_and_a_line_says_which_order() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    bank.says("PED-1", "refunded", "10", "10");
    client.news("PED-1").await;
    let arguments = ["--url", daemon.base(), "--from", "1", "--types", "order.paid,order.refunded"];
    let mut listener = Listener::start(daemon.place(), &arguments);
    let refunded = listener.until_line("order.refunded");
    assert!(refunded.contains("loja-picpay/PED-1") && refunded.contains("10.00"), "{refunded}");
    let lines = listener.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("order.paid"), "{lines:?}");
    assert_eq!(listener.interrupted().code(), Some(0));
}

#[tokio::test]
async fn events_are_forwarded_signed_and_one_that_is_refused_holds_up_no_other() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let shop = Shop::open();
    let moved = Reaction::Answer(302, format!("location: {}\r\n", shop.url()), Vec::new());
    [answer(500), Reaction::Drop, answer(200), moved].into_iter().for_each(|reaction| shop.next(reaction));
    // The second event is refused until it is given up: once with a redirect, then with 400.
    shop.always(|one| if one.seq() == 2 { answer(400) } else { answer(200) });
    for reference in ["PED-1", "PED-2", "PED-3"] {
        daemon.client().register(reference, "1.00").await;
    }
    let arguments = ["--url", daemon.base(), "--from", "1", "--forward-to", &shop.url()];
    let mut listener = Listener::start(daemon.place(), &arguments);
    let secret = listener.until_line("whsec_");
    let secret = secret.split_whitespace().last().unwrap();
    wait_for(PATIENCE, "the third event", || shop.confirmed().iter().any(|one| one.seq() == 3).then_some(()));
    let received = shop.received();
    let seqs: Vec<u64> = received.iter().map(|one| one.seq()).collect();
    assert_eq!(seqs, [1, 1, 1, 2, 2, 2, 2, 3]);
    let events = daemon.client().all("/v1/events").await;
    for one in &received {
        assert!(one.is_signed_with(secret), "{one:?}");
        assert_eq!(one.json(), events[usize::try_from(one.seq()).unwrap() - 1]);
        assert_eq!(one.id(), one.json()["id"].as_str().unwrap());
    }
    listener.until_line("given up");
    assert!(listener.lines().iter().any(|line| line.contains("-> 302")), "{:?}", listener.lines());
    assert_eq!(listener.interrupted().code(), Some(0));
}

#[tokio::test]
async fn a_secret_of_ones_own_signs_and_is_not_printed() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "1.00").await;
    let shop = Shop::open();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let url = shop.url();
    let arguments =
        ["--url", daemon.base(), "--from", "1", "--json", "--forward-to", &url, "--secret", secret];
    let listener = Listener::start(daemon.place(), &arguments);
    let came = wait_for(PATIENCE, "the event", || shop.confirmed().into_iter().next());
    assert!(came.is_signed_with(secret));
    listener.until_seq(1);
    let all = [listener.lines(), listener.said()].concat().join("\n");
    assert!(!all.contains("whsec_"), "{all}");
}

fn stream_of(frames: &str) -> Reaction {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    Reaction::Raw(format!("{head}{frames}").into_bytes())
}

fn frame(seq: u64) -> String {
    let body = json!({"id": format!("evt_{seq}"), "seq": seq, "type": "order.paid", "data": {}});
    format!("id: {seq}\ndata: {body}\n\n")
}

/// The positions that were asked for, in order.
fn positions(shop: &Shop) -> Vec<Option<String>> {
    let position = |line: &str| {
        let query = line.split(['?', ' ']).nth(2)?.to_owned();
        query.split('&').find_map(|pair| pair.strip_prefix("from=").map(str::to_owned))
    };
    shop.received().iter().map(|one| position(&one.line)).collect()
}

#[tokio::test]
async fn its_own_token_is_renewed_and_the_greeting_is_a_position() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let daemon = Shop::open();
    // Cut before the first event, then by the token's end, then in the middle of an event; one comes doubled.
    daemon.next(stream_of("retry: 2000\n: seq=3\n\n"));
    daemon.next(stream_of(&format!(": seq=4\n\n{}: token expired\n\n", frame(4))));
    daemon.next(stream_of(&format!("{}{}id: 6\ndata: {{\"id\"", frame(4), frame(5))));
    daemon.next(stream_of(&frame(6)));
    let base = daemon.url().replace("/webhooks", "");
    let mut listener = Listener::start(&place, &["--url", &base, "--json"]);
    listener.until_seq(6);
    assert_eq!(listener.seqs(), [4, 5, 6]);
    let asked = positions(&daemon);
    let asked: Vec<Option<&str>> = asked.iter().map(Option::as_deref).take(4).collect();
    assert_eq!(asked, [None, Some("4"), Some("5"), Some("6")]);
    assert!(daemon.received().iter().all(|one| one.header("authorization").starts_with("Bearer ey")));
    // 200 without a stream: it is not what it was.
    daemon.answers(200);
    assert_eq!(listener.ended().code(), Some(1));
    assert!(listener.said().last().unwrap().contains("not razao"), "{:?}", listener.said());
}

#[tokio::test]
async fn a_given_token_that_expires_is_the_end() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "1.00").await;
    let token = daemon.place().token("events:read", &["--ttl", "3s"]);
    let arguments = ["--url", daemon.base(), "--token", &token, "--from", "1", "--json"];
    let mut listener = Listener::start(daemon.place(), &arguments);
    assert_eq!(listener.ended().code(), Some(1));
    assert_eq!(listener.seqs(), [1]);
    assert!(listener.said().last().unwrap().contains("--from 2"), "{:?}", listener.said());
}

#[tokio::test]
async fn what_cannot_work_is_said_in_one_line() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let place = daemon.place();
    let nobody = Shop::open().url().replace("/webhooks", "");
    let base = daemon.base();
    let cases: [(&[&str], &str); 7] = [
        (&["--url", &nobody], "--url"),
        (&["--url", "shop.example.com"], "--url"),
        (&["--url", base, "--from", "7"], "409"),
        (&["--url", base, "--token", "garbage"], "401"),
        (&["--url", base, "--forward-to", "ftp://127.0.0.1/"], "--forward-to"),
        (&["--url", base, "--forward-to", "http://127.0.0.1:9/", "--secret", "whsec_short"], "--secret"),
        (&["--url", base, "--config", "nowhere.toml", "--from", "1"], "nowhere.toml"),
    ];
    for (arguments, what) in cases {
        let mut command = crate::support::place::razao(&[]);
        command.arg("listen").args(arguments);
        if !arguments.contains(&"--config") {
            command.arg("--config").arg(&place.config);
        }
        let said = assert_one_line_error(&crate::support::run(&mut command), 2);
        assert!(said.contains(what), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_well() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "1.00").await;
    let mut command = daemon.place().command(&["listen", "--url", daemon.base(), "--from", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("order.created"), "{first}");
    daemon.client().register("PED-2", "1.00").await;
    let status = wait_for(PATIENCE, "its end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
