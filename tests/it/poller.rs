//! Polls by the clock: what was never told is found, and no provider is bothered more than it bears.

use crate::support::client::order_path;
use crate::support::sandbox::{Sandbox, differs, free_port};
use crate::support::{ACCOUNT, Act, Bank, Client, Daemon, PATIENCE, Setup, until, wait_for};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATIENT: Duration = Duration::from_secs(120);

fn polling(bank: &Bank, min: &str, max: &str) -> Setup {
    quick(Setup::new(bank), min, max)
}

fn quick(setup: Setup, min: &str, max: &str) -> Setup {
    setup
        .env("RAZAO__POLL__ENABLED", "true")
        .env("RAZAO__POLL__MIN_INTERVAL", min)
        .env("RAZAO__POLL__MAX_INTERVAL", max)
}

async fn polling_status(client: &Client) -> Value {
    let status = client.get("/v1/admin/status").await.ok();
    let accounts = status["accounts"].as_array().unwrap();
    accounts.iter().find(|one| one["account"] == ACCOUNT).unwrap()["polling"].clone()
}

#[tokio::test]
async fn without_any_callback_every_order_that_can_be_asked_about_ends_right() {
    // The callbacks go where nobody listens: no system hands out port 1.
    let sandbox = Sandbox::start("http://127.0.0.1:1");
    let setup = Setup { accounts: sandbox.accounts.clone(), ..Setup::default() };
    let daemon = Daemon::with(quick(setup, "200ms", "1s"));
    let client = daemon.client();
    let lives =
        ["happy", "expiry", "late-payment", "refund", "partial-refunds", "chargeback-lost", "chargeback-won"];
    let mut never = 0;
    for provider in ["picpay", "gerencianet", "yapay", "genpag", "fourp"] {
        for life in lives {
            let Some(begun) = sandbox.begin(provider, life, &format!("{life}-1")).await else { continue };
            let mut order = json!({"amount": "129.90", "currency": "BRL"});
            match provider {
                // Its list of events names what nobody registered, too.
                "genpag" if life == "happy" => continue,
                // Found by its `custom_id`.
                "gerencianet" if life == "happy" => {}
                "gerencianet" | "yapay" => order["provider_ref"] = begun["provider_ref"].clone(),
                _ => {}
            }
            let path = format!("/v1/orders/sandbox-{provider}/{life}-1");
            client.put(&path, &order).await.is(201);
            never += usize::from(provider == "fourp");
        }
    }
    let truths = sandbox.truths("happened", PATIENT).await;
    let deadline = Instant::now() + PATIENT;
    for truth in truths.iter().filter(|truth| truth["provider"] != "fourp") {
        while let Some(difference) = differs(&client, truth).await {
            assert!(Instant::now() < deadline, "{difference}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Of 4P's nothing can be asked: they stay where they are, and say so.
    let unseen = client.all("/v1/orders?account=sandbox-fourp&reconciliation=unseen&state=created").await;
    assert_eq!(unseen.len(), never);
    client.post("/v1/orders/sandbox-fourp/happy-1/poll", &json!({})).await.problem(409, "not-pollable");
    let status = client.get("/v1/admin/status").await.ok();
    let accounts = status["accounts"].as_array().unwrap();
    for account in accounts {
        assert_eq!(account["first_callback"], json!(null), "no callback ever came: {account}");
    }
}

#[tokio::test]
async fn without_polls_and_with_every_callback_doubled_and_shuffled_all_ends_right() {
    let port = free_port();
    let sandbox = Sandbox::start(&format!("http://127.0.0.1:{port}"));
    let setup = Setup { accounts: sandbox.accounts.clone(), ..Setup::default() }
        .resolver("first_pause = \"50ms\"\nmax_pause = \"500ms\"\n")
        .env("RAZAO__SERVER__LISTEN", &format!("127.0.0.1:{port}"));
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    for provider in ["picpay", "gerencianet", "yapay", "genpag", "fourp"] {
        for life in ["duplicates", "simultaneous", "out-of-order"] {
            // Registered, since PicPay's older words name no amount.
            let path = format!("/v1/orders/sandbox-{provider}/{life}-1");
            client.put(&path, &json!({"amount": "129.90", "currency": "BRL"})).await.is(201);
            sandbox.begin(provider, life, &format!("{life}-1")).await;
        }
    }
    let truths = sandbox.truths("over", PATIENT).await;
    client.idle().await;
    for truth in &truths {
        assert_eq!(differs(&client, truth).await, None);
    }
    assert!(truths.len() >= 12, "{}", truths.len());
}

#[tokio::test]
async fn an_order_that_nobody_told_us_of_again_is_asked_about_until_it_cannot_change() {
    let bank = Bank::open();
    let daemon = Daemon::with(polling(&bank, "100ms", "300ms"));
    let client = daemon.client();
    bank.says("PED-1", "created", "0", "0");
    client.register("PED-1", "129.90").await;
    bank.wait_for_query("PED-1");
    bank.says("PED-1", "paid", "129.9", "0");
    until("the payment", async || (client.order("PED-1").await["state"] == "paid").then_some(())).await;
    let asked = bank.queries("PED-1");
    wait_for(PATIENCE, "paid orders are asked about on", || {
        (bank.queries("PED-1") > asked + 2).then_some(())
    });
    let entries = client.ledger().await.len();
    assert_eq!(entries, 2, "polls that bring nothing new write nothing");
    bank.says("PED-1", "refunded", "129.9", "129.9");
    until("the refund", async || (client.order("PED-1").await["state"] == "refunded").then_some(())).await;
    // Another order shows that time goes by, and that this one is let be.
    let asked = bank.queries("PED-1");
    bank.says("PED-2", "created", "0", "0");
    client.register("PED-2", "1.00").await;
    wait_for(PATIENCE, "polls of another order", || (bank.queries("PED-2") > 4).then_some(()));
    assert_eq!(bank.queries("PED-1"), asked);
    assert_eq!(polling_status(&client).await["status"], "on");
}

#[tokio::test]
async fn after_its_time_an_order_is_asked_about_once_more_and_never_assumed() {
    let bank = Bank::open();
    let daemon = Daemon::with(polling(&bank, "300ms", "300ms"));
    let client = daemon.client();
    bank.says("PED-1", "created", "0", "0");
    bank.says("PED-2", "created", "0", "0");
    let expires_at = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1500);
    let body = json!({"amount": "129.90", "currency": "BRL", "expires_at": expires_at.to_string()});
    client.put(&order_path("PED-1"), &body).await.is(201);
    client.register("PED-2", "1.00").await;
    let settled = until("a poll after its time", async || {
        let order = client.order("PED-1").await;
        (order["checked_at"].as_str()? > expires_at.to_string().as_str()).then_some(order)
    })
    .await;
    assert_eq!(settled["state"], "created", "the provider did not say that it expired");
    let (one, two) = (bank.queries("PED-1"), bank.queries("PED-2"));
    wait_for(PATIENCE, "polls of another order", || (bank.queries("PED-2") > two + 4).then_some(()));
    assert_eq!(bank.queries("PED-1"), one, "it was the last");
}

#[tokio::test]
async fn due_times_survive_a_kill_and_are_spread_after_it() {
    let bank = Bank::open();
    let mut daemon = Daemon::with(polling(&bank, "3s", "3s"));
    for nth in 0..40 {
        bank.says(&format!("PED-{nth}"), "created", "0", "0");
        daemon.client().register(&format!("PED-{nth}"), "1.00").await;
    }
    daemon.kill_9();
    // Time has to pass for all of them to be overdue when it comes back.
    std::thread::sleep(Duration::from_secs(6));
    let before = bank.requests().len();
    daemon.restart();
    let begun = Instant::now();
    let mut polls: Vec<Instant> = Vec::new();
    while begun.elapsed() < Duration::from_secs(25) && polls.len() < 40 {
        let seen = bank.requests().len() - before;
        polls.resize(seen.max(polls.len()), Instant::now());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(polls.len() >= 20, "{} polls", polls.len());
    let within = |window: Duration| {
        let of = |from: &Instant| polls.iter().filter(|at| **at >= *from && **at - *from < window).count();
        polls.iter().map(of).max().unwrap()
    };
    assert!(within(Duration::from_secs(1)) <= 10, "{} of 40 within a second", within(Duration::from_secs(1)));
    assert!(within(Duration::from_secs(10)) <= 32, "{} of 40 within ten", within(Duration::from_secs(10)));
}

#[tokio::test]
async fn refused_credentials_stop_the_polls_and_say_why_until_a_call_succeeds() {
    let bank = Bank::open();
    let daemon = Daemon::with(polling(&bank, "100ms", "100ms"));
    let client = daemon.client();
    bank.says("PED-1", "created", "0", "0");
    bank.always(Act::Answer(401, "", b"{\"message\":\"O Token informado \\u00e9 inv\\u00e1lido\"}".to_vec()));
    client.register("PED-1", "129.90").await;
    let status = until("stopped polls", async || {
        Some(polling_status(&client).await).filter(|status| status["status"] == "stopped")
    })
    .await;
    assert!(status["reason"].as_str().unwrap().contains("401"), "{status}");
    let asked = bank.requests().len();
    client.register("PED-2", "1.00").await;
    // Nothing marks that nothing happens; half a second is five polls that were not made.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(bank.requests().len(), asked, "it is not hammered");
    bank.truthful();
    client.poll("PED-1").await.is(200);
    wait_for(PATIENCE, "polls go on", || (bank.requests().len() > asked + 3).then_some(()));
    assert_eq!(polling_status(&client).await["status"], "on");
}

#[tokio::test]
async fn retry_after_stops_the_whole_account_and_no_other() {
    let (slow, other) = (Bank::open(), Bank::open());
    let setup = Setup::new(&slow).account("loja-b", &other, "");
    let daemon = Daemon::with(quick(setup, "100ms", "100ms"));
    let client = daemon.client();
    for (account, bank) in [(ACCOUNT, &slow), ("loja-b", &other)] {
        for nth in 0..3 {
            bank.says(&format!("PED-{nth}"), "created", "0", "0");
            let body = json!({"amount": "1.00", "currency": "BRL"});
            client.put(&format!("/v1/orders/{account}/PED-{nth}"), &body).await.is(201);
        }
    }
    wait_for(PATIENCE, "polls of both", || {
        (slow.requests().len() > 3 && other.requests().len() > 3).then_some(())
    });
    slow.always(Act::Answer(429, "Retry-After: 3600\r\n", b"{}".to_vec()));
    let status = until("a pause", async || {
        Some(polling_status(&client).await).filter(|status| status["status"] == "paused")
    })
    .await;
    assert!(status["reason"].as_str().unwrap().contains("429"), "{status}");
    // What was under way has ended once the other account was polled for a while.
    let before = other.requests().len();
    wait_for(PATIENCE, "the other's polls", || (other.requests().len() > before + 6).then_some(()));
    let (asked, before) = (slow.requests().len(), other.requests().len());
    wait_for(PATIENCE, "the other's polls", || (other.requests().len() > before + 12).then_some(()));
    assert_eq!(slow.requests().len(), asked);
}

#[tokio::test]
async fn other_intervals_take_effect_after_a_restart() {
    let bank = Bank::open();
    let mut setup = Setup::new(&bank);
    let slow = "[accounts.poll]\nenabled = true\nmin_interval = \"1h\"\nmax_interval = \"2h\"\n";
    setup.accounts.push_str(slow);
    let mut daemon = Daemon::with(setup);
    bank.says("PED-1", "created", "0", "0");
    daemon.client().register("PED-1", "129.90").await;
    daemon.stop();
    let quick = daemon
        .place()
        .setup
        .toml(&daemon.data())
        .replace("\"1h\"", "\"100ms\"")
        .replace("\"2h\"", "\"200ms\"");
    daemon.place().write(&quick);
    daemon.restart();
    wait_for(PATIENCE, "a poll within the new interval", || (bank.queries("PED-1") > 0).then_some(()));
}
