//! A real browser's EventSource: it resumes by itself across kills of the daemon, by the id of the last event, without a
//! gap or a duplicate; and a page of another origin gets onto the stream by a ticket.

use crate::support::sandbox::free_port;
use crate::support::shop::{Reaction, Received};
use crate::support::{Bank, Client, Daemon, Setup, Shop, encoded, skipped, wait_for};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A browser takes a while to start beside other work, and waits two seconds before it comes back.
const BROWSER_PATIENCE: Duration = Duration::from_secs(120);
const BROWSERS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// `RAZAO_BROWSER` may name one.
fn browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("RAZAO_BROWSER") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found =
        BROWSERS.iter().find_map(|name| dirs.iter().map(|dir| dir.join(name)).find(|it| it.is_file()));
    if found.is_none() {
        skipped("neither chromium nor chrome is installed; RAZAO_BROWSER may name one");
    }
    found
}

/// A page that is looked at until this is dropped.
struct Tab {
    child: Child,
    _profile: TempDir,
}

impl Tab {
    fn open(browser: &Path, url: &str) -> Tab {
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--no-proxy-server", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its helpers are processes of their own, in the group that it leads.
            .process_group(0)
            .spawn()
            .unwrap();
        Tab { child, _profile: profile }
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let group = format!("kill -KILL -{}", self.child.id());
        let _ = Command::new("sh").args(["-c", &group]).status();
        let _ = self.child.wait();
    }
}

/// Serves a page to whoever asks for it, and keeps what the page posts.
fn serves(origin: &Shop, script: &str) {
    let page = format!("<!doctype html><meta charset=utf-8><title>loja</title><script>{script}</script>");
    origin.always(move |one: &Received| {
        let body =
            if one.line.starts_with("GET /webhooks ") { page.clone().into_bytes() } else { Vec::new() };
        Reaction::Answer(200, "content-type: text/html\r\n".to_owned(), body)
    });
}

/// What the page told last under a name: it tells everything it saw, every time.
fn told(origin: &Shop, name: &str) -> Vec<Value> {
    let line = format!("POST /{name} ");
    let lists = origin.received().into_iter().filter(|one| one.line.starts_with(&line));
    let longest = lists.map(|one| one.json().as_array().unwrap().clone()).max_by_key(Vec::len);
    longest.unwrap_or_default()
}

async fn registered(client: &Client, prefix: &str, count: usize) {
    let puts = (0..count).map(|n| {
        let client = client.clone();
        async move { client.register(&format!("{prefix}-{n}"), "1.00").await }
    });
    futures_util::future::join_all(puts).await;
}

fn at(origin: &Shop, bank: &Bank) -> Setup {
    let allowed = origin.url().replace("/webhooks", "");
    Setup::new(bank)
        .env("RAZAO__SERVER__LISTEN", &format!("127.0.0.1:{}", free_port()))
        .env("RAZAO__SERVER__CORS_ORIGINS__0", &allowed)
}

#[tokio::test]
async fn eventsource_resumes_by_itself_and_misses_nothing() {
    let Some(browser) = browser() else { return };
    let (bank, origin) = (Bank::open(), Shop::open());
    let mut daemon = Daemon::with(at(&origin, &bank));
    registered(&daemon.client(), "PED-0", 20).await;
    // Last-Event-ID wins over `from` when it comes back. A ticket is good for one stream, so it is the token here.
    let stream = format!("{}/v1/stream?from=1&access_token={}", daemon.base(), encoded(daemon.token()));
    serves(
        &origin,
        &format!(
            "const seen = [], states = [];
             const tell = (name, list) => fetch('/' + name, {{method: 'POST', body: JSON.stringify(list)}}).catch(() => {{}});
             const source = new EventSource('{stream}');
             source.onopen = () => tell('states', (states.push('open'), states));
             source.onerror = () => tell('states', (states.push('error ' + source.readyState), states));
             source.onmessage = (event) => {{
                 seen.push([Number(event.lastEventId), JSON.parse(event.data).seq]);
                 tell('seen', seen);
             }};"
        ),
    );
    let _tab = Tab::open(&browser, &origin.url());
    for round in 0..3 {
        let expected = 20 * (round + 1);
        wait_for(BROWSER_PATIENCE, "the browser's events", || {
            (told(&origin, "seen").len() >= expected).then_some(())
        });
        if round == 2 {
            break;
        }
        let opened = told(&origin, "states").iter().filter(|state| **state == "open").count();
        // Once by a kill, once by a stop that says goodbye.
        if round == 0 {
            daemon.kill_9();
        } else {
            daemon.stop();
        }
        daemon.restart();
        // Recorded while nobody listens, or while somebody does again: there is no difference.
        registered(&daemon.client(), &format!("PED-{}", round + 1), 20).await;
        wait_for(BROWSER_PATIENCE, "the browser's return", || {
            let again = told(&origin, "states").iter().filter(|state| **state == "open").count();
            (again > opened).then_some(())
        });
    }
    let seen: Vec<(u64, u64)> = told(&origin, "seen")
        .iter()
        .map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap()))
        .collect();
    assert_eq!(seen, (1..=60).map(|seq| (seq, seq)).collect::<Vec<_>>());
    let states = told(&origin, "states");
    assert!(!states.contains(&"error 2".into()), "it never gave up: {states:?}");
}

#[tokio::test]
async fn a_page_gets_onto_the_stream_by_a_ticket() {
    let Some(browser) = browser() else { return };
    let (bank, origin) = (Bank::open(), Shop::open());
    let daemon = Daemon::with(at(&origin, &bank));
    daemon.client().register("PED-1", "1.00").await;
    let (base, token) = (daemon.base(), daemon.token());
    serves(
        &origin,
        &format!(
            "const tell = (what) => fetch('/ticket', {{method: 'POST', body: JSON.stringify([what])}});
             const headers = {{authorization: 'Bearer {token}', 'content-type': 'application/json'}};
             fetch('{base}/v1/tickets', {{method: 'POST', headers, body: '{{}}'}})
                 .then((answer) => answer.json())
                 .then(({{ticket}}) => {{
                     const source = new EventSource('{base}/v1/stream?from=1&ticket=' + ticket);
                     source.onmessage = (event) => (source.close(), tell(JSON.parse(event.data)));
                     source.onerror = () => tell('the stream was refused');
                 }})
                 .catch((error) => tell(String(error)));"
        ),
    );
    let _tab = Tab::open(&browser, &origin.url());
    let told = wait_for(BROWSER_PATIENCE, "the page's first event", || told(&origin, "ticket").pop());
    let events = daemon.client().all("/v1/events").await;
    assert_eq!(told, events[0]);
}
