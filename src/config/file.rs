//! The sections' defaults, and what contradicts itself within them.

use super::accounts;
use super::check::Notes;
use super::keys;
use super::reader::Reader;
use super::sections::{
    Auth, Backup, Data, Limits, Log, LogFormat, Poll, Reports, Resolver, Server, Telemetry, Tls, Webhooks,
};
use super::units;
use super::{Account, Config};
use crate::domain::chart::{Chart, Name};
use crate::domain::posting::LedgerAccount;
use crate::providers::provider::{Provider, Spec};
use config::{Map, Value};
use jiff::tz::TimeZone;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const ZONE: &str = "America/Sao_Paulo";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The whole tree. What is wrong is in the notes; its place holds a default, for the rest to be looked at too.
pub(super) fn read(tree: Map<String, Value>, notes: &Notes, providers: &[&'static dyn Provider]) -> Config {
    Reader::root(tree, notes).whole(|root| {
        let server = root.section("server", server);
        let data = root.section("data", data);
        let log = root.section("log", log);
        let auth = root.section("auth", auth);
        let resolver = root.section("resolver", resolver);
        let poll = root.section("poll", |section| poll(section, POLL));
        let webhooks = root.section("webhooks", webhooks);
        let limits = root.section("limits", limits);
        let reports = root.section("reports", reports);
        let backup = root.section("backup", |section| backup(section, &data));
        let telemetry = root.section("telemetry", telemetry);
        let accounts: Vec<Account> = accounts::read(root, poll, providers);
        strangers(&reports.chart, &accounts, notes);
        let warnings = Vec::new();
        Config {
            server,
            data,
            log,
            auth,
            resolver,
            poll,
            webhooks,
            limits,
            reports,
            backup,
            telemetry,
            accounts,
            warnings,
        }
    })
}

const POLL: Poll =
    Poll { enabled: true, min_interval: Duration::from_secs(30), max_interval: Duration::from_secs(21_600) };

fn server(section: &mut Reader<'_>) -> Server {
    let listen = section.parsed("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), units::socket);
    let callback_listen = section.optional("callback_listen", "", units::socket);
    if callback_listen == Some(listen) && listen.port() != 0 {
        section
            .wrong("callback_listen", "the same address as server.listen; leave it empty or give it another");
    }
    Server {
        listen,
        callback_listen,
        cors_origins: section.list("cors_origins", units::origin),
        trusted_proxies: section.list("trusted_proxies", units::network),
        tls: tls(section),
    }
}

fn tls(section: &mut Reader<'_>) -> Option<Tls> {
    let mut file = |name| {
        let path = section.path(name)?;
        // Only whether it can be read: what it holds is the TLS library's to judge.
        if let Err(error) = std::fs::File::open(&path) {
            section.wrong(name, format!("{} cannot be read: {error}", path.display()));
        }
        Some(path)
    };
    match (file("tls_cert_file"), file("tls_key_file")) {
        (Some(cert_file), Some(key_file)) => return Some(Tls { cert_file, key_file }),
        (Some(_), None) => section.wrong("tls_key_file", "missing; server.tls_cert_file needs it"),
        (None, Some(_)) => section.wrong("tls_cert_file", "missing; server.tls_key_file needs it"),
        (None, None) => {}
    }
    None
}

fn data(section: &mut Reader<'_>) -> Data {
    let dir = section.parsed("dir", "data".to_owned(), |text| match text {
        "" => Err("name a directory"),
        dir => Ok(dir.to_owned()),
    });
    Data {
        dir: section.notes.resolve(&dir),
        receipt_retention: section.parsed("receipt_retention", 90 * DAY, units::duration),
        history_retention: section.parsed("history_retention", 400 * DAY, units::duration),
        min_free_bytes: section.parsed("min_free", 512 << 20, units::bytes),
        cache_bytes: section.parsed("cache", 64 << 20, |text| match units::bytes(text) {
            Ok(bytes) if bytes < 8 << 20 => Err("too little to work with; at least 8MiB".to_owned()),
            size => size.map_err(|error| error.to_string()),
        }),
    }
}

fn log(section: &mut Reader<'_>) -> Log {
    let format = section.parsed("format", LogFormat::Human, |text| match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be human or json"),
    });
    Log { format, level: section.parsed("level", "info".to_owned(), level) }
}

fn level(text: &str) -> Result<String, &'static str> {
    let known = |level: &str| matches!(level, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let fits = text.split(',').all(|part| known(part.rsplit('=').next().unwrap_or_default()));
    fits.then(|| text.to_owned())
        .ok_or("must be error, warn, info, debug, trace or off, or such as info,razao=debug")
}

fn auth(section: &mut Reader<'_>) -> Auth {
    let named = |text: &str| if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) };
    Auth {
        issuer: section.parsed("issuer", "razao".to_owned(), named),
        audience: section.parsed("audience", "razao".to_owned(), named),
        keys: keys::read(section),
    }
}

fn resolver(section: &mut Reader<'_>) -> Resolver {
    let (first_pause, max_pause) = pauses(section, Duration::from_millis(500), HOUR);
    Resolver {
        first_pause,
        max_pause,
        give_up_after: section.parsed("give_up_after", 5 * DAY, units::duration),
        timeout: section.parsed("timeout", MINUTE / 6, units::duration),
        per_account: section.number("per_account", 8, 1..=1_000),
    }
}

fn pauses(section: &mut Reader<'_>, first: Duration, max: Duration) -> (Duration, Duration) {
    let first = section.parsed("first_pause", first, units::duration);
    let max = section.parsed("max_pause", max, units::duration);
    if first > max {
        section.wrong("first_pause", format!("longer than max_pause ({first:?} > {max:?})"));
    }
    (first, max)
}

/// A section of its own, or an account's over the defaults.
pub(super) fn poll(section: &mut Reader<'_>, defaults: Poll) -> Poll {
    // What the defaults contradict is said once, where they stand.
    let own = section.has("min_interval") || section.has("max_interval");
    let poll = Poll {
        enabled: section.flag("enabled", defaults.enabled),
        min_interval: section.parsed("min_interval", defaults.min_interval, units::duration),
        max_interval: section.parsed("max_interval", defaults.max_interval, units::duration),
    };
    if own && poll.min_interval > poll.max_interval {
        let (min, max) = (poll.min_interval, poll.max_interval);
        section.wrong("min_interval", format!("longer than max_interval ({min:?} > {max:?})"));
    }
    poll
}

/// Where nobody chose intervals, a provider that asks not to be polled as a routine gets its own shortest one.
pub(super) fn suited(poll: Poll, spec: &Spec) -> Poll {
    let chosen = (poll.min_interval, poll.max_interval) != (POLL.min_interval, POLL.max_interval);
    let min_interval = if chosen { poll.min_interval } else { poll.min_interval.max(spec.polling.pause_min) };
    Poll { min_interval, ..poll }
}

fn webhooks(section: &mut Reader<'_>) -> Webhooks {
    let (first_pause, max_pause) = pauses(section, Duration::from_secs(5), 12 * HOUR);
    Webhooks {
        allow_private: section.flag("allow_private", false),
        require_https: section.flag("require_https", true),
        timeout: section.parsed("timeout", MINUTE / 6, units::duration),
        max_attempts: section.number("max_attempts", 20, 1..=1_000),
        first_pause,
        max_pause,
    }
}

fn limits(section: &mut Reader<'_>) -> Limits {
    Limits {
        callbacks_per_account: section.optional("callbacks_per_account", "2000/s", units::rate),
        callbacks_per_address: section.optional("callbacks_per_address", "50/s", units::rate),
    }
}

fn reports(section: &mut Reader<'_>) -> Reports {
    let zone = zone(section);
    Reports { zone, chart: section.section("chart", chart) }
}

pub(super) fn zone(section: &mut Reader<'_>) -> TimeZone {
    section.parsed("timezone", units::zone(ZONE).unwrap_or(TimeZone::UTC), units::zone)
}

/// Free keys: ledger accounts, each with the accountant's name.
fn chart(section: &mut Reader<'_>) -> Chart {
    let mut chart = Chart::default();
    for key in section.names() {
        let Some(theirs) = section.filled(&key) else { continue };
        let ledger_account = LedgerAccount::parse(&key).map_err(|error| section.wrong(&key, error));
        let name = Name::parse(&theirs).map_err(|error| section.wrong(&key, format!("{theirs:?}: {error}")));
        if let (Ok(ledger_account), Ok(name)) = (ledger_account, name)
            && let Err(clash) = chart.call(ledger_account, name)
        {
            section.wrong(&key, clash);
        }
    }
    chart
}

/// A name for an account that is not configured is right where the ledger holds it from earlier, and else a slip.
fn strangers(chart: &Chart, accounts: &[Account], notes: &Notes) {
    for (ledger_account, _) in chart.iter() {
        if !accounts.iter().any(|account| account.merchant.id == ledger_account.account) {
            let what = format!("no account {} is configured", ledger_account.account);
            notes.warn(&format!("reports.chart.{ledger_account}"), what);
        }
    }
}

fn backup(section: &mut Reader<'_>, data: &Data) -> Backup {
    let every = section.optional("every", "", units::duration);
    let to = section.path("to");
    if every.is_some() && to.is_none() {
        section.wrong("to", "missing; backup.every needs a directory to write to");
    }
    if to.as_ref().is_some_and(|to| to.starts_with(&data.dir)) {
        section.wrong("to", "lies within data.dir; a backup belongs elsewhere");
    }
    Backup { every, to, keep: section.number("keep", 14, 1..=10_000) }
}

fn telemetry(section: &mut Reader<'_>) -> Telemetry {
    Telemetry { otlp: section.address("otlp") }
}
