//! The daemon on a fresh data directory beside the sandbox: real callbacks of every provider over HTTP, shown live.
//!
//! `--once` plays every life of every provider, and compares what the ledger says with what the sandbox knows.

use super::args::DemoOptions;
use super::stage::{self, Cast};
use super::{End, note, say, usage};
use crate::auth::{Grant, Keys, mint};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::daemon::{self, Daemon};
use crate::domain::balance::Balances;
use crate::domain::ids::Seq;
use crate::domain::money::{Currency, Total};
use crate::domain::posting::Purpose;
use crate::ledger::reader::Reader;
use crate::net::client::Client;
use crate::sandbox::life::{Life, Tempo};
use crate::sandbox::server::Stage;
use crate::sandbox::world::World;
use crate::telemetry;
use crate::views::event::EventView;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Short enough for an outage and its retries to fit into a minute.
const TEMPO: Tempo = Tempo {
    beat: Duration::from_millis(1200),
    retry: Duration::from_millis(800),
    retries_max: 8,
    trouble: Duration::from_secs(4),
};
/// The longest that `--once` takes.
const ONCE_MAX: Duration = Duration::from_secs(58);
/// Pause between two payments that begin.
const PACE: Duration = Duration::from_millis(250);
/// How many entries pass between two lines of sums.
const SUMS_EVERY: u64 = 25;
/// Pause before a provider's API fails.
const CALM: Duration = Duration::from_secs(6);
/// Pause between two rounds of lives, when the demo goes on.
const ROUND_EVERY: Duration = Duration::from_secs(15);
const SCOPES: &str = "orders:read orders:write ledger:read events:read balances:read callbacks:read admin";

pub fn run(options: &DemoOptions) -> End {
    match actix_web::rt::System::new().block_on(demo(options)) {
        Ok(true) => End::Success,
        Ok(false) => End::Failed,
        Err(error) => usage(error),
    }
}

async fn demo(options: &DemoOptions) -> anyhow::Result<bool> {
    let dir = fresh_directory()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stage = Stage::new(World::new(TEMPO), clock);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let sandbox = format!("http://{}", listener.local_addr()?);
    let cast = Cast::of(&stage, "demo", &sandbox);
    let config = configure(&dir, &cast)?;
    telemetry::start(&config.log);
    let token = token(&config)?;
    let daemon = daemon::start(config)?;
    let api = format!("{}://{}", daemon.scheme, daemon.address);
    cast.aim(&stage, &api);
    greet(&dir, &api, &token, &cast)?;

    let client = Client::new(Duration::from_secs(10))?;
    let serving = actix_web::rt::spawn(stage.serve(listener)?);
    let driven = stage.clone();
    let driver = client.clone();
    let driving = actix_web::rt::spawn(async move { driven.drive(&driver).await });
    let showing = actix_web::rt::spawn(show(daemon.reader.clone()));
    let agreed = if options.once {
        play(&stage, &cast, &client, &api, &token, "1").await?;
        let quiet = settle(&stage, &daemon).await;
        showing.abort();
        let agreed = stage::compare(&stage, &cast, &client, &api, &token).await?;
        if !quiet {
            note("razao: the demo did not come to rest in time");
        }
        say(format_args!("data directory: {}", dir.join("data").display()));
        quiet && agreed
    } else {
        tokio::select! {
            played = go_on(&stage, &cast, &client, &api, &token) => played?,
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        showing.abort();
        true
    };
    driving.abort();
    serving.abort();
    daemon.run(std::future::ready(())).await?;
    Ok(agreed)
}

/// A directory that nobody has used.
fn fresh_directory() -> anyhow::Result<PathBuf> {
    let drawn: [u8; 4] =
        crate::clock::random_bytes().map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let name: String = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
    let dir = std::env::temp_dir().join(format!("razao-demo-{name}"));
    std::fs::create_dir(&dir)?;
    Ok(dir)
}

fn configure(dir: &Path, cast: &Cast) -> anyhow::Result<Config> {
    let path = dir.join("config.toml");
    let head = "[server]\nlisten = \"127.0.0.1:0\"\n\n[data]\ndir = \"data\"\nmin_free = \"16MiB\"\n\n[log]\nlevel = \"error\"\n\n\
                [resolver]\nfirst_pause = \"300ms\"\nmax_pause = \"2s\"\n";
    std::fs::write(&path, format!("{head}{}", cast.toml()))?;
    Ok(config::load_from(&path, std::iter::empty())?)
}

fn token(config: &Config) -> anyhow::Result<String> {
    let keys = Keys::load(&config.auth, &config.data.dir)?.keys;
    let grant = Grant { subject: "demo", scopes: SCOPES, accounts: &[], ttl: Duration::from_secs(86_400) };
    Ok(mint(&keys, &config.auth.issuer, &config.auth.audience, &grant, SystemClock.now())?)
}

fn greet(dir: &Path, api: &str, token: &str, cast: &Cast) -> anyhow::Result<()> {
    say(format_args!("Razão at {api}, {} simulated providers, data in {}", cast.len(), dir.display()));
    say(format_args!("Try, in another terminal:"));
    say(format_args!("  curl -s -H 'Authorization: Bearer {token}' {api}/v1/orders"));
    say(format_args!("  curl -s -H 'Authorization: Bearer {token}' {api}/v1/balances"));
    say(format_args!("  curl -sN -H 'Authorization: Bearer {token}' '{api}/v1/stream?from=1'"));
    say("");
    drop(std::io::stdout().flush());
    Ok(())
}

/// Registers and begins every life of every provider.
async fn play(
    stage: &Stage,
    cast: &Cast,
    client: &Client,
    api: &str,
    token: &str,
    round: &str,
) -> anyhow::Result<()> {
    for (life, number) in Life::ALL.into_iter().zip(1i64..) {
        if life.trouble().is_some() {
            // An outage hides what happens meanwhile: let the others tell their stories first.
            actix_web::rt::time::sleep(CALM).await;
        }
        for player in cast.players().filter(|player| player.plays(life)) {
            let reference = format!("{}-{round}", life.as_str());
            let cents = 4_990 + 1_000 * number;
            stage::register(client, api, token, &player.account, &reference, cents).await?;
            stage.begin(player.provider, life, &reference, cents).map_err(anyhow::Error::msg)?;
        }
        actix_web::rt::time::sleep(PACE).await;
    }
    Ok(())
}

/// Round after round, until somebody has seen enough.
async fn go_on(stage: &Stage, cast: &Cast, client: &Client, api: &str, token: &str) -> anyhow::Result<()> {
    for round in 1u64.. {
        play(stage, cast, client, api, token, &round.to_string()).await?;
        actix_web::rt::time::sleep(ROUND_EVERY).await;
    }
    Ok(())
}

/// Waits until nothing more happens on either side. Says whether it came to that in time.
async fn settle(stage: &Stage, daemon: &Daemon) -> bool {
    let rest = async {
        loop {
            let queue = daemon.reader.published().queue;
            if stage.world().is_over() && queue.pending == 0 && queue.retrying == 0 {
                return;
            }
            actix_web::rt::time::sleep(Duration::from_millis(50)).await;
        }
    };
    actix_web::rt::time::timeout(ONCE_MAX, rest).await.is_ok()
}

/// A line an entry, as it is recorded, and now and then what all of it adds up to.
async fn show(reader: Reader) {
    let mut wake = reader.subscribe();
    let (mut next, mut added_up) = (Seq(1), Seq(0));
    loop {
        let Ok((entries, after)) = reader.entries(next, 1000, 1000, |_| true) else { return };
        next = after;
        for stored in &entries {
            say(format_args!("{}", line(&EventView::of(&stored.entry, stored.order.as_ref()))));
        }
        if reader.head().0 >= added_up.0 + SUMS_EVERY {
            let published = reader.published();
            added_up = published.seq;
            say(format_args!("{}", sums(&published.balances)));
        }
        if next > reader.head() && wake.changed().await.is_err() {
            return;
        }
    }
}

/// What every account's balances come to together, and that debits equal credits.
fn sums(balances: &Balances) -> String {
    let of = |purpose: Purpose| {
        let own = balances.0.iter().filter(|((ledger_account, _), _)| ledger_account.purpose == purpose);
        Total(own.map(|(_, sides)| sides.balance().0).sum())
    };
    let shown = |purpose: Purpose| of(purpose).show(Currency::BRL);
    let all = Total(Purpose::ALL.into_iter().map(|purpose| of(purpose).0).sum());
    format!(
        "          balances: pending {} + available {} + refunds {} + chargebacks {} + sales {} = {}",
        shown(Purpose::Pending),
        shown(Purpose::Available),
        shown(Purpose::Refunds),
        shown(Purpose::Chargebacks),
        shown(Purpose::Sales),
        all.show(Currency::BRL)
    )
}

fn line(event: &EventView) -> String {
    let body = &event.data.entry.body;
    let clock = body.recorded_at.get(11..19).unwrap_or_default();
    let order = body.order.as_deref().unwrap_or("-");
    let (from, to) = (body.from.unwrap_or("-"), body.to.unwrap_or("-"));
    let moved = if from == to {
        event.kind.trim_start_matches("order.").to_owned()
    } else {
        format!("{from} → {to}")
    };
    let amount = body.amount.as_deref().unwrap_or("");
    format!("{clock}  #{:<4} {:<18} {order:<20} {moved:<26} {amount:>9}", event.seq, event.account)
}
