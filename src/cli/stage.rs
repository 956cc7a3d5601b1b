//! What demo and sandbox share: one account per simulated provider, its registration by HTTP, and the comparison of what
//! the ledger says with what the sandbox knows.

use super::{note, say};
use crate::net::client::Client;
use crate::sandbox::life::{Life, Truth};
use crate::sandbox::persona::reais;
use crate::sandbox::server::Stage;
use crate::sandbox::world::Ordered;
use crate::wire::call::{Answer, Body, Call, Method, segment};
use crate::wire::json::Json;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fmt::Write;

const CALLBACK_KEY: &str = "sandbox-key-0123456789";

/// One account per simulated provider.
pub struct Cast(Vec<Player>);

pub struct Player {
    pub provider: &'static str,
    pub account: String,
    base_url: String,
    credentials: Vec<(&'static str, &'static str)>,
    callback_key: Option<&'static str>,
    lives: Vec<Life>,
}

impl Player {
    pub fn plays(&self, life: Life) -> bool {
        self.lives.contains(&life)
    }
}

impl Cast {
    /// Accounts named `{prefix}-{provider}`, whose providers answer below `sandbox`.
    pub fn of(stage: &Stage, prefix: &str, sandbox: &str) -> Cast {
        let world = stage.world();
        let players = world.personas().map(|persona| Player {
            provider: persona.provider(),
            account: format!("{prefix}-{}", persona.provider()),
            base_url: format!("{sandbox}/{}", persona.provider()),
            credentials: persona.credentials(),
            callback_key: persona.wants_callback_key().then_some(CALLBACK_KEY),
            lives: Life::ALL.into_iter().filter(|life| persona.plays(*life)).collect(),
        });
        Cast(players.collect())
    }

    pub fn players(&self) -> impl Iterator<Item = &Player> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The accounts as config.toml has them.
    pub fn toml(&self) -> String {
        let mut toml = String::new();
        for player in &self.0 {
            let Player { provider, account, base_url, .. } = player;
            let key =
                player.callback_key.map(|key| format!("callback_key = \"{key}\"\n")).unwrap_or_default();
            // Writing to a String does not fail.
            let _ = write!(
                toml,
                "\n[[accounts]]\nid = \"{account}\"\nprovider = \"{provider}\"\nbase_url = \"{base_url}\"\n{key}[accounts.credentials]\n"
            );
            for (name, value) in &player.credentials {
                let _ = writeln!(toml, "{name} = \"{value}\"");
            }
        }
        toml
    }

    /// Sends every provider's callbacks to a daemon.
    pub fn aim(&self, stage: &Stage, daemon: &str) {
        for player in &self.0 {
            let key = player.callback_key.map(|key| format!("/{key}")).unwrap_or_default();
            stage.aim(player.provider, format!("{daemon}/callbacks/{}{key}", player.account));
        }
    }
}

/// Registers an order as a shop would.
pub async fn register(
    client: &Client,
    api: &str,
    token: &str,
    account: &str,
    reference: &str,
    cents: i64,
) -> anyhow::Result<()> {
    let mut call = get(api, token, &format!("/v1/orders/{account}/{}", segment(reference)));
    call.method = Method::Put;
    let bytes = format!("{{\"amount\":\"{}\",\"currency\":\"BRL\"}}", reais(cents));
    call.body = Some(Body { content_type: "application/json", bytes: bytes.into() });
    let answer = client.perform(&call).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    anyhow::ensure!(
        (200..300).contains(&answer.status),
        "registering {reference}: HTTP {} {text}",
        answer.status
    );
    Ok(())
}

fn get(api: &str, token: &str, path: &str) -> Call {
    Call::get(format!("{api}{path}")).header("authorization", &format!("Bearer {token}").into())
}

async fn read(client: &Client, api: &str, token: &str, path: &str) -> anyhow::Result<Json> {
    let answer: Answer = client.perform(&get(api, token, path)).await?;
    anyhow::ensure!(answer.status == 200, "GET {path} answered HTTP {}", answer.status);
    Ok(Json::parse(&answer.body)?)
}

/// Compares every order and every balance, and prints what it finds. Says whether all of it agrees.
pub async fn compare(
    stage: &Stage,
    cast: &Cast,
    client: &Client,
    api: &str,
    token: &str,
) -> anyhow::Result<bool> {
    let known: Vec<Ordered> = stage.world().orders().cloned().collect();
    let mut differing = 0;
    say(format_args!(
        "\n{:<18} {:<20} {:<12} {:>9} {:>9} {:>12}",
        "account", "order", "state", "gross", "refunded", "charged back"
    ));
    for player in cast.players() {
        let own: Vec<&Ordered> = known.iter().filter(|ordered| ordered.provider == player.provider).collect();
        for ordered in &own {
            let path = format!("/v1/orders/{}/{}", player.account, segment(&ordered.reference));
            let order = read(client, api, token, &path).await.with_context(|| ordered.reference.clone())?;
            let (found, expected) = (seen(&order), told(&ordered.truth));
            say(format_args!(
                "{:<18} {:<20} {:<12} {:>9} {:>9} {:>12}",
                player.account, ordered.reference, found.0, found.1, found.2, found.3
            ));
            if found != expected {
                differing += 1;
                note(format_args!(
                    "razao: {}/{} differs: the ledger has {found:?}, the provider {expected:?}",
                    player.account, ordered.reference
                ));
            }
        }
        differing += compare_balances(client, api, token, player, &own).await?;
    }
    say(format_args!("\n{} orders, {differing} differences", known.len()));
    Ok(differing == 0)
}

/// State, gross, refunded, charged back, as the API shows them.
type Shown = (String, String, String, String);

fn seen(order: &Json) -> Shown {
    let text = |json: Option<&Json>| json.and_then(Json::as_str).unwrap_or("-").to_owned();
    let amount = |name: &str| text(order.get("amounts").and_then(|amounts| amounts.get(name)));
    (text(order.get("state")), amount("gross"), amount("refunded"), amount("charged_back"))
}

fn told(truth: &Truth) -> Shown {
    let gross = if truth.gross == 0 { "-".to_owned() } else { reais(truth.gross) };
    (truth.state.to_owned(), gross, reais(truth.refunded), reais(truth.charged_back))
}

async fn compare_balances(
    client: &Client,
    api: &str,
    token: &str,
    player: &Player,
    own: &[&Ordered],
) -> anyhow::Result<u32> {
    let account = &player.account;
    let answer = read(client, api, token, &format!("/v1/balances?account={account}")).await?;
    let lines = answer.get("data").map(Json::items).unwrap_or_default();
    let text = |line: &Json, name: &str| line.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let found: BTreeMap<String, String> =
        lines.iter().map(|line| (text(line, "ledger_account"), text(line, "balance"))).collect();
    let mut differing = 0;
    for (ledger_account, cents) in expected_balances(account, own) {
        let expected = if cents < 0 { format!("-{}", reais(-cents)) } else { reais(cents) };
        let shown = found.get(&ledger_account).cloned().unwrap_or_else(|| "0.00".to_owned());
        if shown != expected {
            differing += 1;
            note(format_args!(
                "razao: {ledger_account} differs: the ledger has {shown}, the provider's payments come to {expected}"
            ));
        }
    }
    Ok(differing)
}

fn expected_balances(account: &str, own: &[&Ordered]) -> BTreeMap<String, i64> {
    let mut balances = BTreeMap::new();
    let mut post = |name: String, cents: i64| *balances.entry(name).or_insert(0) += cents;
    for Truth { gross, refunded, charged_back, settled, .. } in own.iter().map(|ordered| ordered.truth) {
        let asset = if settled { "available" } else { "pending" };
        let other = if settled { "pending" } else { "available" };
        post(format!("assets:{account}:{asset}"), gross - refunded - charged_back);
        post(format!("assets:{account}:{other}"), 0);
        post(format!("income:{account}:sales"), -gross);
        post(format!("income:{account}:refunds"), refunded);
        post(format!("expenses:{account}:chargebacks"), charged_back);
    }
    balances
}
