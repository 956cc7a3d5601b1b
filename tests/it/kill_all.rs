//! kill -9 with all five providers live: the sandbox is a process of its own and keeps the truth. Every receipt it was
//! answered with 200 is there afterwards, the ledger verifies, and every order ends as its provider has it.
//!
//! `RAZAO_KILLS` sets the number of kills.

use crate::support::{Client, Daemon, Dice, Setup, until_within};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SETTLE_MAX: Duration = Duration::from_secs(120);
const LIVES: [&str; 10] = [
    "happy",
    "expiry",
    "late-payment",
    "refund",
    "partial-refunds",
    "chargeback-lost",
    "chargeback-won",
    "duplicates",
    "simultaneous",
    "out-of-order",
];

/// The simulated providers in their own process.
struct Sandbox {
    child: Child,
    base: String,
    /// The accounts as config.toml has them.
    accounts: String,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sandbox {
    fn start(daemon: &str) -> Sandbox {
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

    fn client(&self) -> Client {
        Client::new(&self.base, None)
    }

    async fn begin(&self, provider: &str, life: &str, reference: &str) -> bool {
        let body = json!({"provider": provider, "life": life, "reference": reference, "cents": 12_990});
        let client = self.client();
        let request = client.request("POST", "/lives").header("content-type", "application/json");
        client.send(request.body(body.to_string())).await.status == 201
    }
}

/// A port that was free a moment ago: the providers need to know where the daemon is before and after each kill.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn decimal(cents: &Value) -> String {
    let cents = cents.as_i64().unwrap();
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// In what an order differs from the truth.
async fn differs(client: &Client, truth: &Value) -> Option<String> {
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

#[tokio::test]
async fn all_providers_live_through_kills() {
    let kills: u64 = std::env::var("RAZAO_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let port = free_port();
    let sandbox = Sandbox::start(&format!("http://127.0.0.1:{port}"));
    let setup = Setup { accounts: sandbox.accounts.clone(), ..Setup::default() }
        .resolver("first_pause = \"50ms\"\nmax_pause = \"500ms\"\n")
        .env("RAZAO__SERVER__LISTEN", &format!("127.0.0.1:{port}"));
    let mut daemon = Daemon::with(setup);
    let mut dice = Dice::new(port.into());
    let mut begun = 0;
    for kill in 0..kills {
        let client = daemon.client();
        for provider in ["picpay", "gerencianet", "yapay", "genpag", "fourp"] {
            for life in [LIVES[dice.below(10) as usize], LIVES[dice.below(10) as usize]] {
                let reference = format!("{life}-{kill}-{begun}");
                let path = format!("/v1/orders/sandbox-{provider}/{reference}");
                client.put(&path, &json!({"amount": "129.90", "currency": "BRL"})).await;
                begun += usize::from(sandbox.begin(provider, life, &reference).await);
            }
        }
        // Somewhere within the lives that have just begun.
        tokio::time::sleep(Duration::from_millis(50 + dice.below(700))).await;
        daemon.kill_9();
        daemon.restart();
    }
    assert!(begun > 0, "no life began");
    let client = daemon.client();
    let over = until_within(SETTLE_MAX, "the providers' last callback", async || {
        let answers = sandbox.client().get("/answers").await.ok();
        (answers["over"] == true).then_some(answers)
    })
    .await;
    client.idle().await;
    let lives = sandbox.client().get("/lives").await.ok();
    let lives = lives.as_array().unwrap();
    assert_eq!(lives.len(), begun);
    for truth in lives {
        let difference = differs(&client, truth).await;
        assert_eq!(difference, None);
    }
    let answers = over["answers"].as_array().unwrap();
    assert!(answers.len() >= begun, "{} answers for {begun} lives", answers.len());
    for answer in answers {
        let id = answer["receipt"].as_str().unwrap();
        client.get(&format!("/v1/callbacks/{id}")).await.ok();
    }
    daemon.stop();
    daemon.assert_verifies();
}
