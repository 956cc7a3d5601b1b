//! kill -9 while months are being closed, under a load of callbacks: afterwards a month is closed whole or not at all,
//! closing it again says the same under the same key and under another, and a seal that was answered still holds.
//!
//! `RAZAO_KILLS` sets the number of kills (at most 300: each wants two months of its own), `RAZAO_SEED` repeats a run's
//! choices (its timing is the machine's).

use crate::support::place::both;
use crate::support::{ANY, Bank, Client, Daemon, Dice, Reply};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;

const WRITERS: usize = 4;
const ORDERS: usize = 20;
const KILLS_MAX: u64 = 300;

/// What came of all months that were being closed when the daemon died.
#[derive(Default, Debug)]
struct Tally {
    answered: u32,
    closed_unanswered: u32,
    not_closed: u32,
}

/// A month that is being closed when the daemon dies.
struct Attempt {
    month: String,
    key: Option<String>,
    /// What was answered before.
    answer: Option<Value>,
}

impl Attempt {
    fn path(&self) -> String {
        format!("/v1/periods/{}", self.month)
    }

    fn request(&self, client: &Client, key: Option<&str>) -> reqwest::RequestBuilder {
        let request = client.request("POST", &format!("{}/close", self.path()));
        match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        }
    }

    async fn close(mut self, client: Client) -> Attempt {
        let request = self.request(&client, self.key.as_deref());
        self.answer = client.attempt(request).await.ok().map(|reply| reply.is(201));
        self
    }

    /// By the daemon's next run. Answers the month's seal.
    async fn look(&self, client: &Client, tally: &mut Tally) -> Value {
        let shown = client.get(&self.path()).await;
        let listed = client.all("/v1/periods").await;
        let listed = listed.iter().find(|closed| closed["period"] == self.month.as_str());
        let stood = shown.status == 200;
        match (&self.answer, listed) {
            (Some(answer), Some(listed)) => {
                tally.answered += 1;
                assert_eq!(answer, listed, "what was answered stands");
            }
            (None, Some(_)) => tally.closed_unanswered += 1,
            (answer, None) => {
                tally.not_closed += 1;
                assert_eq!(answer, &None, "{} was answered and is gone", self.month);
                shown.problem(404, ANY);
            }
        }
        let again = client.send(self.request(client, self.key.as_deref())).await;
        self.is_answered_rightly(&again, stood);
        let again = again.json();
        let by_another = client.send(self.request(client, Some(&format!("another-{}", self.month)))).await;
        assert_eq!(by_another.is(200), again, "closed once");
        assert_whole(client, &self.path(), &again).await;
        again["seal"].clone()
    }

    /// Under the same key, or again without one.
    fn is_answered_rightly(&self, again: &Reply, stood: bool) {
        let replayed = again.header("idempotency-replayed").is_some();
        let expected = match (self.key.is_some(), &self.answer, stood) {
            // What was answered under a key was kept before.
            (true, Some(_), _) => [(201, true); 2],
            // The answer was kept, or the kill came between closing and keeping.
            (true, None, true) => [(200, false), (201, true)],
            (false, _, true) => [(200, false); 2],
            (_, _, false) => [(201, false); 2],
        };
        let told = (again.status, replayed);
        assert!(
            expected.contains(&told),
            "{}: {told:?} is none of {expected:?}: {}",
            self.month,
            again.text()
        );
        if let Some(answer) = &self.answer {
            assert_eq!(&again.json(), answer);
        }
    }
}

/// Balances at both moments, as the ledger had them.
async fn assert_whole(client: &Client, path: &str, closed: &Value) {
    let shown = client.get(path).await.ok();
    for (name, value) in closed.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    for (moment, balances) in [("head", "balances_when_closed"), ("end", "balances")] {
        let seq = closed[moment]["seq"].as_u64().unwrap();
        let then = match seq {
            0 => json!([]),
            seq => client.get(&format!("/v1/balances?as_of={seq}")).await.ok()["data"].clone(),
        };
        assert_eq!(shown[balances], then, "{moment} of {path}");
    }
}

/// Posts callbacks until the daemon is gone.
fn load(client: &Client) -> Vec<JoinHandle<()>> {
    let one = |number: usize| {
        let client = client.clone();
        tokio::spawn(async move {
            for nth in number.. {
                let reference = format!("PED-{}", nth % ORDERS);
                if client.attempt(client.callback_request(&reference)).await.is_err() {
                    return;
                }
            }
        })
    };
    (0..WRITERS).map(one).collect()
}

/// Two months that nobody closed yet: one under a key, one without.
fn two_months(nth: u64) -> [Attempt; 2] {
    let attempt = |nth: u64, with_key: bool| {
        let month = format!("{}-{:02}", 1970 + nth / 12, nth % 12 + 1);
        Attempt { key: with_key.then(|| format!("close-{month}")), month, answer: None }
    };
    [attempt(2 * nth, true), attempt(2 * nth + 1, false)]
}

#[tokio::test]
async fn killed_while_a_month_is_closed_it_is_closed_whole_or_not_at_all() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let kills = number("RAZAO_KILLS").unwrap_or(6).min(KILLS_MAX);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = number("RAZAO_SEED").unwrap_or(now.into());
    println!("RAZAO_SEED={seed} RAZAO_KILLS={kills}");
    let mut dice = Dice::new(seed);
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    for order in 0..ORDERS {
        bank.says(&format!("PED-{order}"), "paid", "10.50", "0.25");
    }
    let client = daemon.client();
    client.news("PED-0").await;
    let begun = Instant::now();
    client.post("/v1/periods/2026-01/close", &json!({})).await.is(201);
    let took = begun.elapsed();
    let (mut tally, mut seals) = (Tally::default(), Vec::new());
    for kill in 0..kills {
        let client = daemon.client();
        let load = load(&client);
        let closing = two_months(kill).map(|attempt| tokio::spawn(attempt.close(client.clone())));
        // Under load, and with a key, it takes longer than alone.
        tokio::time::sleep(Duration::from_micros(dice.below(took.as_micros() as u64 * 4))).await;
        daemon.kill_9();
        let mut attempts = Vec::new();
        for one in closing {
            attempts.push(one.await.unwrap());
        }
        for writer in load {
            writer.await.unwrap();
        }
        daemon.assert_verifies();
        daemon.restart();
        for attempt in attempts {
            seals.push(attempt.look(&daemon.client(), &mut tally).await);
        }
    }
    println!("{tally:?}");
    daemon.stop();
    holds(&daemon, &seals);
}

/// Every seal, kept outside, is borne out by the ledger in the end.
fn holds(daemon: &Daemon, seals: &[Value]) {
    let mut arguments = vec!["verify".to_owned()];
    for (nth, seal) in seals.iter().enumerate() {
        let path = daemon.place().file(&format!("seal-{nth}.json"));
        std::fs::write(&path, seal.to_string()).unwrap();
        arguments.extend(["--seal".to_owned(), path.to_str().unwrap().to_owned()]);
    }
    let output = daemon.place().cli(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(both(&output).matches("holds at seq").count(), seals.len(), "{}", both(&output));
}
