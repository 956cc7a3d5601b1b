//! kill -9 with all five providers live: the sandbox is a process of its own and keeps the truth. Every receipt it was
//! answered with 200 is there afterwards, the ledger verifies, and every order ends as its provider has it.
//!
//! `RAZAO_KILLS` sets the number of kills.

use crate::support::sandbox::{Sandbox, differs, free_port};
use crate::support::{Daemon, Dice, Setup, until_within};
use serde_json::json;
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
                begun += usize::from(sandbox.begin(provider, life, &reference).await.is_some());
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
