//! Every fixture of every provider through a real daemon: posted to its callback address or polled, answered by a
//! stand-in for the provider, and compared with the end that the provider's documents demand.

mod ends;
mod pasts;

use crate::support::cases::Case;
use crate::support::chain::assert_chain;
use crate::support::stub::Stub;
use crate::support::{Client, Daemon, Setup, encoded};
use ends::{ENDS, REGISTERED};
use serde_json::{Value, json};

const GIVES_UP_SOON: &str =
    "first_pause = \"20ms\"\nmax_pause = \"200ms\"\ngive_up_after = \"2s\"\ntimeout = \"5s\"\n";

/// Reference, state, gross, refunded, causes of the open discrepancies in the order of their names.
type Order = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

pub enum End {
    /// These and no other orders, and the callback is `applied`.
    Orders(&'static [Order]),
    /// It speaks of no order.
    Ignored,
    /// The callback is given up, or the poll fails, and the reason holds these words. No order comes of it.
    Failed(&'static str),
    /// Turned away with this status; no order comes of it.
    Refused(u16),
    /// There is nothing to ask for what is known.
    Unasked,
}

/// One daemon with an account for each case.
struct Trade {
    cases: Vec<Case>,
    stub: Stub,
    daemon: Daemon,
    client: Client,
}

impl Trade {
    fn open(cases: Vec<Case>) -> Trade {
        let stub = Stub::open(&cases);
        let accounts = cases.iter().map(|case| case.account_toml(&stub.base_url())).collect();
        let setup = Setup { resolver: GIVES_UP_SOON.to_owned(), accounts, ..Setup::default() };
        let daemon = Daemon::with(setup);
        let client = daemon.client();
        Trade { cases, stub, daemon, client }
    }

    /// Lets everything happen, and answers what came of each case.
    async fn run(&self) -> Vec<Came> {
        let mut receipts = Vec::new();
        for case in &self.cases {
            receipts.push(self.begin(case).await);
        }
        self.client.idle().await;
        let mut all = Vec::new();
        for (case, begun) in self.cases.iter().zip(receipts) {
            let (what, receipt) = match begun {
                Begun::Receipt(id) => {
                    let receipt = self.client.get(&format!("/v1/callbacks/{id}")).await.ok();
                    (text(&receipt["outcome"]), receipt)
                }
                Begun::Refused(status) => (format!("HTTP {status}"), Value::Null),
                Begun::Poll => self.poll(case).await,
            };
            let orders = self.client.all(&format!("/v1/orders?account={}", case.account)).await;
            all.push(Came { what, receipt, orders });
        }
        all
    }

    /// Posts a case's callback, or registers the order that it polls.
    async fn begin(&self, case: &Case) -> Begun {
        let anonymous = self.daemon.anonymous();
        if let Some(request) = case.callback_request(&anonymous) {
            let reply = anonymous.send(request).await;
            return match reply.status {
                200 => Begun::Receipt(text(&reply.json()["receipt"])),
                status => Begun::Refused(status),
            };
        }
        let known = case.known.as_ref().unwrap_or_else(|| panic!("{} does nothing", case.name));
        let mut registration = json!({ "amount": REGISTERED, "currency": "BRL" });
        if let Some(provider_ref) = known["provider_ref"].as_str() {
            registration["provider_ref"] = provider_ref.into();
        }
        self.client.put(&order_path(case), &registration).await.is(201);
        // A token is known from a callback alone.
        if let Some(token) = known["token"].as_str() {
            let request = anonymous.request("POST", &case.path()).body(format!("notification={token}"));
            anonymous.send(request).await.is(200);
        }
        Begun::Poll
    }

    async fn poll(&self, case: &Case) -> (String, Value) {
        let reply = self.client.post(&format!("{}/poll", order_path(case)), &json!({})).await;
        (format!("poll {}", reply.status), reply.json())
    }

    /// The end of the daemon: nothing strange was asked, and what it leaves behind proves itself.
    async fn close(mut self) {
        assert_eq!(self.stub.complaints(), [""; 0]);
        assert_chain(&self.client.ledger().await);
        self.daemon.stop();
        self.daemon.assert_verifies();
    }
}

enum Begun {
    Receipt(String),
    Refused(u16),
    Poll,
}

struct Came {
    /// A receipt's outcome, or how a callback or a poll was answered.
    what: String,
    /// The receipt, or the answer to a poll.
    receipt: Value,
    orders: Vec<Value>,
}

fn order_path(case: &Case) -> String {
    let reference = case.known.as_ref().unwrap()["reference"].as_str().unwrap();
    format!("/v1/orders/{}/{}", case.account, encoded(reference))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// An order as the table has it.
fn shown(order: &Value) -> String {
    let gross = order["amounts"]["gross"].as_str().unwrap_or("unknown");
    let open = order["discrepancies"].as_array().unwrap();
    let mut causes: Vec<_> = open.iter().map(|one| text(&one["cause"])).collect();
    causes.sort();
    let (reference, state) = (text(&order["reference"]), text(&order["state"]));
    format!("{reference} {state} {gross} {} {causes:?}", text(&order["amounts"]["refunded"]))
}

fn shown_expected(&(reference, state, gross, refunded, causes): &Order) -> String {
    format!("{reference} {state} {gross} {refunded} {causes:?}")
}

/// What differs from the expected end.
fn differences(case: &Case, end: &End, came: &Came) -> Option<String> {
    let polled = case.callback.is_none();
    let reason = came.receipt[if polled { "detail" } else { "reason" }].as_str().unwrap_or_default();
    let tried = came.receipt["attempts_count"].as_u64().unwrap_or_default();
    let (right, expected): (bool, Vec<String>) = match end {
        End::Orders(orders) => {
            let what = if polled { "poll 200" } else { "applied" };
            (came.what == what, orders.iter().map(shown_expected).collect())
        }
        End::Ignored => (came.what == "ignored", Vec::new()),
        End::Failed(why) if polled => (came.what == "poll 502" && reason.contains(why), as_registered(case)),
        End::Failed(why) => (came.what == "failed" && reason.contains(why) && tried >= 2, Vec::new()),
        End::Refused(status) => (came.what == format!("HTTP {status}"), Vec::new()),
        End::Unasked => (came.what == "poll 409", as_registered(case)),
    };
    let mut orders: Vec<String> = came.orders.iter().map(shown).collect();
    orders.sort();
    let same = right && orders == expected;
    (!same)
        .then(|| format!("{}: {orders:?} instead of {expected:?}; {} {}", case.name, came.what, came.receipt))
}

fn as_registered(case: &Case) -> Vec<String> {
    let reference = &case.known.as_ref().unwrap()["reference"];
    vec![format!("{} created unknown 0.00 []", text(reference))]
}

async fn every_case_of(provider: &str) {
    let ends: Vec<_> = ENDS.iter().filter(|(of, ..)| *of == provider).collect();
    let named: Vec<&str> = ends.iter().map(|(_, case, _)| *case).collect();
    assert_eq!(named, Case::names(provider), "each fixture has its end in the table, in order");
    let trade = Trade::open(named.iter().map(|name| Case::read(provider, name)).collect());
    let came = trade.run().await;
    let cases = trade.cases.iter().zip(&ends).zip(&came);
    let wrong: Vec<_> = cases.filter_map(|((case, (.., end)), came)| differences(case, end, came)).collect();
    assert!(wrong.is_empty(), "{provider} ends otherwise:\n{}", wrong.join("\n"));
    trade.close().await;
}

#[tokio::test]
async fn every_case_of_picpay() {
    every_case_of("picpay").await;
}

#[tokio::test]
async fn every_case_of_gerencianet() {
    every_case_of("gerencianet").await;
}

#[tokio::test]
async fn every_case_of_yapay() {
    every_case_of("yapay").await;
}

#[tokio::test]
async fn every_case_of_genpag() {
    every_case_of("genpag").await;
}

#[tokio::test]
async fn every_case_of_fourp() {
    every_case_of("fourp").await;
}

#[test]
fn the_table_knows_no_other_provider() {
    let known = ["picpay", "gerencianet", "yapay", "genpag", "fourp"];
    assert!(ENDS.iter().all(|(provider, ..)| known.contains(provider)));
}

#[tokio::test]
async fn an_unknown_word_of_any_provider_is_shown_as_it_was_said() {
    let words = [
        ("picpay", "unknown_word", "partially_paid"),
        ("gerencianet", "unknown_word", "in_protest"),
        ("yapay", "unknown_status", "19 Em Trânsito"),
        ("genpag", "unknown_word", "HALF_PAID"),
        ("fourp", "unknown_status", "refunded"),
    ];
    let trade = Trade::open(words.iter().map(|(provider, name, _)| Case::read(provider, name)).collect());
    let all = trade.run().await;
    let listed = trade.client.all("/v1/discrepancies").await;
    assert_eq!(listed.len(), words.len(), "{listed:?}");
    for ((provider, _, word), came) in words.iter().zip(all) {
        let [order] = came.orders.as_slice() else { panic!("{provider}: {:?}", came.orders) };
        assert_eq!(order["provider_status"], *word, "{provider}");
        assert_eq!(order["reconciliation"], "discrepancy", "{provider}");
        let open = &order["discrepancies"][0];
        assert_eq!((&open["cause"], &open["found"]), (&json!("unknown_status"), &json!(word)), "{provider}");
        assert!(listed.iter().any(|one| one["account"] == order["account"] && one["found"] == *word));
    }
    trade.close().await;
}

#[tokio::test]
async fn what_speaks_of_no_order_leaves_a_receipt_and_nothing_else() {
    let silent = [
        ("gerencianet", "carnet_alone"),
        ("gerencianet", "subscription_alone"),
        ("genpag", "order_paid"),
        ("genpag", "unknown_event"),
    ];
    let trade = Trade::open(silent.iter().map(|(provider, name)| Case::read(provider, name)).collect());
    for ((_, name), came) in silent.iter().zip(trade.run().await) {
        assert_eq!((came.what.as_str(), came.orders), ("ignored", Vec::new()), "{name}");
        assert_eq!((&came.receipt["evidence"], &came.receipt["entries"]), (&json!([]), &json!([])), "{name}");
    }
    assert_eq!(trade.client.ledger().await, [Value::Null; 0]);
    trade.close().await;
}
