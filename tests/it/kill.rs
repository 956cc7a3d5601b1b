//! kill -9 at random moments, under a load of duplicate and swapped callbacks while payments live on at the bank:
//! every answered receipt is there afterwards, every streamed entry too, and the ledger ends equal to the bank.
//!
//! `RAZAO_KILLS` sets the number of kills, `RAZAO_SEED` repeats a run's choices (its timing is the machine's).

use crate::support::chain::{assert_chain, minor, sums};
use crate::support::sse::{Frame, Sse};
use crate::support::{Bank, Client, Daemon, Dice, until_within};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Status, paid, refunded: what the bank says one after the other. None of these lives contradicts itself, however
/// many of its steps are never seen.
type Life = &'static [(&'static str, &'static str, &'static str)];

const LIVES: [(Life, &str); 5] = [
    (
        &[
            ("created", "0", "0"),
            ("authorized", "0", "0"),
            ("paid", "129.9", "0"),
            ("paid", "129.9", "29.9"),
            ("refunded", "129.9", "129.9"),
        ],
        "refunded",
    ),
    (
        &[
            ("created", "0", "0"),
            ("paid", "50.01", "0"),
            ("chargeback", "50.01", "0"),
            ("paid", "50.01", "0"),
        ],
        "paid",
    ),
    (&[("created", "0", "0"), ("expired", "0", "0")], "expired"),
    (&[("authorized", "0", "0"), ("paid", "7", "0"), ("chargeback", "7", "0")], "chargeback"),
    (
        &[
            ("created", "0", "0"),
            ("expired", "0", "0"),
            ("paid", "33.33", "0"),
            ("paid", "33.33", "10.03"),
            ("completed", "33.33", "10.03"),
        ],
        "completed",
    ),
];
const ORDERS: usize = 25;
const WRITERS: u64 = 8;

/// The bank's side of the story, shared by those who push it on.
struct World {
    bank: Bank,
    step: Mutex<[usize; ORDERS]>,
    answered: Mutex<BTreeSet<String>>,
}

fn reference(order: usize) -> String {
    format!("PED-{order:03}")
}

impl World {
    /// Moves one payment on by a step, if it has one left.
    fn push(&self, order: usize) {
        let mut steps = self.step.lock().unwrap();
        let (life, _) = LIVES[order % LIVES.len()];
        steps[order] = (steps[order] + 1).min(life.len() - 1);
        let (status, paid, refunded) = life[steps[order]];
        self.bank.says(&reference(order), status, paid, refunded);
    }

    fn finish(&self) {
        for order in 0..ORDERS {
            for _ in LIVES[order % LIVES.len()].0 {
                self.push(order);
            }
        }
    }
}

/// Posts callbacks until the daemon is gone: mostly news, some twice, some of orders that have none.
async fn writer(world: Arc<World>, client: Client, mut dice: Dice) {
    loop {
        let order = dice.below(ORDERS as u64) as usize;
        if dice.below(3) == 0 {
            world.push(order);
        }
        for _ in 0..=dice.below(2) {
            let Ok(reply) = client.attempt(client.callback_request(&reference(order))).await else { return };
            match reply.status {
                200 => {
                    let receipt = reply.json()["receipt"].as_str().unwrap().to_owned();
                    world.answered.lock().unwrap().insert(receipt);
                }
                // Told to come again: nothing was promised.
                429 | 503 => {}
                other => panic!("a callback was answered {other}: {}", reply.text()),
            }
        }
    }
}

/// Notes every streamed entry until the daemon is gone.
async fn reader(client: Client, seen: Arc<Mutex<BTreeMap<u64, Value>>>) {
    let last = seen.lock().unwrap().keys().last().copied();
    let opened = Sse::attempt(&client, "", Some(last.unwrap_or(0))).await;
    // It may be killed before it has answered.
    let Ok(mut stream) = opened else { return };
    loop {
        match stream.next_within(Duration::from_secs(60)).await {
            Some(Frame::Event { id, data }) => {
                let doubled = seen.lock().unwrap().insert(id, data["data"]["entry"].clone());
                assert_eq!(doubled, None, "seq {id} was streamed twice");
            }
            Some(Frame::Comment(_)) => {}
            Some(Frame::End) | None => return,
        }
    }
}

#[tokio::test]
async fn killed_at_any_moment_nothing_promised_is_lost() {
    let kills: u64 =
        std::env::var("RAZAO_KILLS").ok().map_or(6, |text| text.parse().expect("RAZAO_KILLS is a number"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed: u64 =
        std::env::var("RAZAO_SEED").ok().map_or(now.into(), |text| text.parse().expect("a number"));
    println!("RAZAO_SEED={seed} RAZAO_KILLS={kills}");
    let mut dice = Dice::new(seed);
    let world =
        Arc::new(World { bank: Bank::open(), step: Mutex::new([0; ORDERS]), answered: Mutex::default() });
    let mut daemon = Daemon::start(&world.bank);
    let streamed = Arc::new(Mutex::new(BTreeMap::new()));
    for round in 0..kills {
        let client = daemon.client();
        let mut tasks = vec![tokio::spawn(reader(client.clone(), Arc::clone(&streamed)))];
        for _ in 0..WRITERS {
            let dice = Dice::new(dice.below(u64::MAX));
            tasks.push(tokio::spawn(writer(Arc::clone(&world), client.clone(), dice)));
        }
        // The moment is the point of the test: somewhere in the first writes, or well under way.
        let moment = Duration::from_millis(if round % 2 == 0 { dice.below(150) } else { dice.below(1200) });
        tokio::time::sleep(moment).await;
        daemon.kill_9();
        for task in tasks {
            let ended = tokio::time::timeout(Duration::from_secs(70), task).await.expect("a task hangs");
            ended.unwrap();
        }
        println!("kill {round} after {moment:?}: {} receipts so far", world.answered.lock().unwrap().len());
        daemon.restart();
    }
    let client = daemon.client();
    world.finish();
    for order in 0..ORDERS {
        let receipt = client.callback(&reference(order)).await;
        world.answered.lock().unwrap().insert(receipt);
    }
    let patience = Duration::from_secs(240);
    until_within(patience, "every receipt resolved", async || {
        let status = client.get("/v1/admin/status").await.ok();
        (status["receipts"]["pending"] == 0 && status["receipts"]["retrying"] == 0).then_some(())
    })
    .await;
    receipts_are_there(&world, &client).await;
    let ledger = client.ledger().await;
    assert_chain(&ledger);
    for (seq, entry) in streamed.lock().unwrap().iter() {
        assert_eq!(ledger.get(*seq as usize - 1), Some(entry), "a streamed entry is gone or another");
    }
    equals_the_bank(&client, &ledger).await;
    daemon.stop();
    daemon.assert_verifies();
}

async fn receipts_are_there(world: &World, client: &Client) {
    let kept = client.all("/v1/callbacks?limit=1000").await;
    let kept: BTreeMap<&str, &Value> =
        kept.iter().map(|one| (one["id"].as_str().unwrap(), &one["outcome"])).collect();
    for receipt in world.answered.lock().unwrap().iter() {
        let outcome =
            kept.get(receipt.as_str()).unwrap_or_else(|| panic!("{receipt} was answered 200 and is gone"));
        let done = ["applied", "stale", "duplicate", "conflict"].iter().any(|known| *outcome == known);
        assert!(done, "{receipt} ended as {outcome}");
    }
}

/// State and amounts of every order, and the balances that follow, computed from the bank's side alone.
async fn equals_the_bank(client: &Client, ledger: &[Value]) {
    let mut expected: BTreeMap<String, i128> = BTreeMap::new();
    let mut add = |name: &str, amount: i128| *expected.entry(name.to_owned()).or_default() += amount;
    for order in 0..ORDERS {
        let (life, state) = LIVES[order % LIVES.len()];
        let (_, paid, refunded) = *life.last().unwrap();
        let (paid, refunded) = (cents(paid), cents(refunded));
        let charged_back = if state == "chargeback" { paid - refunded } else { 0 };
        let shown = client.order(&reference(order)).await;
        assert_eq!(shown["state"], state, "{shown}");
        assert_eq!(shown["discrepancies"], serde_json::json!([]), "{shown}");
        assert_eq!(shown["reconciliation"], "confirmed", "{shown}");
        if paid > 0 {
            let amount = |name: &str| minor(shown["amounts"][name].as_str().unwrap());
            assert_eq!(
                (amount("gross"), amount("refunded"), amount("charged_back")),
                (paid, refunded, charged_back),
                "{shown}"
            );
        }
        let asset =
            if state == "completed" { "assets:loja-picpay:available" } else { "assets:loja-picpay:pending" };
        add(asset, paid - refunded - charged_back);
        add("income:loja-picpay:sales", -paid);
        add("income:loja-picpay:refunds", refunded);
        add("expenses:loja-picpay:chargebacks", charged_back);
    }
    expected.retain(|_, sum| *sum != 0);
    assert_eq!(sums(ledger), expected);
    let told = client.balances("").await.into_iter().map(|(name, text)| (name, minor(&text)));
    assert_eq!(told.filter(|(_, sum)| *sum != 0).collect::<BTreeMap<_, _>>(), expected);
}

/// The bank's literals in minor units.
fn cents(literal: &str) -> i128 {
    let (whole, decimals) = literal.split_once('.').unwrap_or((literal, ""));
    format!("{whole}{decimals:0<2}").parse().unwrap()
}
