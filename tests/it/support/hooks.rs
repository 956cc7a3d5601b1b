//! A daemon with a shop behind a webhook, and the questions nearly every test of webhooks asks.

use super::shop::{Received, Shop};
use super::{Bank, Client, Daemon, Setup, until};
use serde_json::{Value, json};

/// Pauses that a test can wait for.
pub const SOON: &str = "first_pause = \"10ms\"\nmax_pause = \"50ms\"\ntimeout = \"5s\"";

pub struct Hooked {
    pub bank: Bank,
    pub shop: Shop,
    pub daemon: Daemon,
    pub id: String,
    pub secret: String,
}

impl Hooked {
    /// A webhook for everything.
    pub async fn open() -> Hooked {
        Hooked::with(SOON, json!({})).await
    }

    /// With other lines of `[webhooks]`, and further fields of the subscription.
    pub async fn with(toml: &str, fields: Value) -> Hooked {
        let (bank, shop) = (Bank::open(), Shop::open());
        let daemon = Daemon::with(Setup::new(&bank).webhooks(toml));
        let made = make(&daemon.client(), &shop.url(), fields).await;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Hooked { id: text("id"), secret: text("secret"), bank, shop, daemon }
    }

    pub fn client(&self) -> Client {
        self.daemon.client()
    }

    pub fn path(&self) -> String {
        format!("/v1/webhooks/{}", self.id)
    }

    pub async fn webhook(&self) -> Value {
        self.client().get(&self.path()).await.ok()
    }

    /// The webhook once it has this status.
    pub async fn is(&self, status: &str) -> Value {
        until(status, async || Some(self.webhook().await).filter(|webhook| webhook["status"] == status)).await
    }

    pub async fn deliveries(&self, query: &str) -> Vec<Value> {
        self.client().all(&format!("{}/deliveries{query}", self.path())).await
    }

    /// One delivery with its attempts.
    pub async fn delivery(&self, id: &Value) -> Value {
        self.client().get(&format!("/v1/deliveries/{}", id.as_str().unwrap())).await.ok()
    }

    /// The delivery of an entry's event, once it has this status.
    pub async fn delivered(&self, seq: u64, status: &str) -> Value {
        let id = json!(format!("dl_{}_{seq}", self.id.trim_start_matches("wh_")));
        until(&format!("delivery {seq} {status}"), async || {
            Some(self.delivery(&id).await).filter(|delivery| delivery["status"] == status)
        })
        .await
    }

    /// Waits until every event is delivered or given up.
    pub async fn quiet(&self) {
        quiet(&self.client()).await;
    }

    /// An order registered and then paid: two entries.
    pub async fn pay(&self, reference: &str) {
        self.bank.says(reference, "paid", "10", "0");
        self.client().register(reference, "10.00").await;
        self.client().news(reference).await;
    }

    /// What was confirmed, as order and type, in order.
    pub fn confirmed(&self) -> Vec<(String, String)> {
        told(&self.shop.confirmed())
    }
}

pub fn told(received: &[Received]) -> Vec<(String, String)> {
    received.iter().map(|one| (one.order(), one.kind())).collect()
}

pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(order, kind)| ((*order).to_owned(), (*kind).to_owned())).collect()
}

/// Subscribes; the answer with its secret.
pub async fn make(client: &Client, target: &str, fields: Value) -> Value {
    let mut body = json!({"target": target});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    client.post("/v1/webhooks", &body).await.is(201)
}

pub async fn quiet(client: &Client) {
    until("no delivery pending", async || {
        let status = client.get("/v1/admin/status").await.ok();
        (status["deliveries"]["pending"] == 0 && status["deliveries"]["retrying"] == 0).then_some(())
    })
    .await;
}
