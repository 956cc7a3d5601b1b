//! The simulated providers as a process of their own, which keeps the truth.

use super::{Client, until_within};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The simulated providers in their own process.
pub struct Sandbox {
    child: Child,
    base: String,
    /// The accounts as config.toml has them.
    pub accounts: String,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sandbox {
    pub fn start(daemon: &str) -> Sandbox {
        let mut child = Command::new(env!("CARGO_BIN_EXE_razao"))
            .args(["sandbox", "--listen", "127.0.0.1:0", "--daemon", daemon, "--beat", "150ms"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        let base = first.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let base = base.trim_end_matches([';', '.']).to_owned();
        let accounts: Vec<String> = lines
            .skip_while(|line| line.starts_with('#'))
            .take_while(|line| !line.starts_with('#'))
            .collect();
        Sandbox { child, base, accounts: accounts.join("\n") }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.base, None)
    }

    /// Begins a life; says what the merchant learns of it, if that provider plays it.
    pub async fn begin(&self, provider: &str, life: &str, reference: &str) -> Option<Value> {
        let body = json!({"provider": provider, "life": life, "reference": reference, "cents": 12_990});
        let client = self.client();
        let request = client.request("POST", "/lives").header("content-type", "application/json");
        let reply = client.send(request.body(body.to_string())).await;
        (reply.status == 201).then(|| reply.json())
    }

    /// The whole truth, once everything has `happened`, or is `over`: callbacks delivered or given up, too.
    pub async fn truths(&self, once: &str, patience: Duration) -> Vec<Value> {
        until_within(patience, "the end of all lives", async || {
            let answers = self.client().get("/answers").await.ok();
            (answers[once] == true).then_some(())
        })
        .await;
        self.client().get("/lives").await.ok().as_array().unwrap().clone()
    }
}

/// A port that was free a moment ago: the providers need to know where the daemon is before and after each kill. It is
/// below those that the system hands out by itself, so that no other test gets it while nobody listens there.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn decimal(cents: &Value) -> String {
    let cents = cents.as_i64().unwrap();
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// In what an order differs from the truth.
pub async fn differs(client: &Client, truth: &Value) -> Option<String> {
    let provider = truth["provider"].as_str().unwrap();
    let reference = truth["reference"].as_str().unwrap();
    let reply = client.get(&format!("/v1/orders/sandbox-{provider}/{reference}")).await;
    if reply.status != 200 {
        return Some(format!("{provider}/{reference}: HTTP {}", reply.status));
    }
    let order = reply.ok();
    let gross = if truth["gross_cents"] == 0 { Value::Null } else { decimal(&truth["gross_cents"]).into() };
    let same = order["state"] == truth["state"]
        && order["amounts"]["gross"] == gross
        && order["amounts"]["refunded"] == decimal(&truth["refunded_cents"])
        && order["amounts"]["charged_back"] == decimal(&truth["charged_back_cents"]);
    (!same).then(|| format!("{provider}/{reference}: {order} is not {truth}"))
}
