//! Metrics for Prometheus. Names and labels are a contract, listed in `schema/metrics.md`. No label holds what a callback
//! or an order is called: accounts, outcomes and the like alone, so that there are never many.

use super::admin;
use super::app::App;
use super::guard::{Admin, Permit};
use super::problem::Problem;
use crate::delivery::alarms::Kind;
use crate::domain::receipt::Receipt;
use crate::domain::time::Time;
use crate::domain::webhook::{Course, Webhook};
use crate::ledger::reader::Reader;
use crate::ledger::writer::Published;
use crate::meter::Spread;
use crate::store::directory;
use crate::store::meta::StoreError;
use crate::views::exposition::{CONTENT_TYPE, Exposition, Family, Micros, Unit};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use std::collections::BTreeMap;

/// Headers that a proxy adds; those that begin with `x-forwarded` are such, too.
const FORWARDING: [&str; 6] =
    ["forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"];

const BUILD: Family = Family("razao_build_info", "Always 1; the label says which version runs.");
const START: Family = Family("process_start_time_seconds", "When the daemon started, since 1970.");
const MEMORY: Family = Family("process_resident_memory_bytes", "Memory the process holds.");
const FILES: Family = Family("process_open_fds", "Files and connections the process has open.");
const CALLBACKS: Family = Family("razao_callbacks_total", "Callbacks by account and our status.");
const REJECTED: Family = Family("razao_callbacks_rejected_total", "Callbacks turned away, by reason.");
const ANSWERS: Family =
    Family("razao_callback_answer_seconds", "From a callback's first byte to its durable answer.");
const OUTCOMES: Family =
    Family("razao_receipts_processed_total", "Callbacks that came to an end, by outcome.");
const LAG: Family = Family("razao_callback_lag_seconds", "From a callback to the evidence that came of it.");
const CALLS: Family = Family("razao_provider_calls_total", "Calls to providers by account and result.");
const CALL_TIMES: Family = Family("razao_provider_call_seconds", "How long calls to providers took.");
const HALTED: Family =
    Family("razao_provider_halted", "1 while an account's calls pause because of what its provider says.");
const SILENCE: Family = Family("razao_callback_age_seconds", "Since an account's last callback.");
const RECEIPTS: Family = Family("razao_receipts", "Callbacks by where they are: pending, retrying, failed.");
const OLDEST: Family =
    Family("razao_receipts_oldest_seconds", "Age of the callback that waits longest to be processed.");
const QUEUE: Family = Family("razao_writer_queue_commands", "Commands that wait for the writer.");
const QUEUE_MAX: Family =
    Family("razao_writer_queue_commands_max", "How many may wait before callers get 503.");
const SYNCS: Family = Family("razao_writer_sync_seconds", "How long groups took to become durable.");
const GROUPS: Family = Family("razao_writer_group_commands", "How many commands shared a sync.");
const HEAD: Family = Family("razao_ledger_head_seq", "The last entry.");
const BALANCED: Family =
    Family("razao_ledger_balanced", "1 while all balances add up to zero in each currency.");
const WRITABLE: Family = Family("razao_ledger_writable", "1 while the ledger takes writes.");
const DELIVERIES: Family = Family("razao_deliveries", "Webhook events by where they are.");
const ATTEMPTS: Family = Family("razao_delivery_attempts_total", "Attempts to deliver events, by result.");
const UNDELIVERED: Family =
    Family("razao_delivery_oldest_seconds", "Age of the oldest event that an enabled webhook has not got.");
const WEBHOOKS: Family = Family("razao_webhooks", "Webhooks by status.");
const ALERTS: Family = Family("razao_alerts", "Alerts that are raised, by type.");
const CONFIG: Family =
    Family("razao_config_current", "1 while the configuration that was read last is in force as a whole.");
const READERS: Family = Family("razao_stream_readers", "Readers that follow the ledger, by their way.");
const FREE: Family = Family("razao_disk_free_bytes", "Free space on the ledger's disk.");
const MIN_FREE: Family = Family("razao_disk_min_free_bytes", "With less, writes are refused.");
const REQUESTS: Family = Family("razao_http_requests_total", "Requests by the class of their status.");
const DENIED: Family = Family("razao_auth_denied_total", "Tokens and tickets that were not believed.");

/// Metrics in Prometheus's text format.
///
/// Without a token only from this machine itself and without a header that a proxy adds; else with one of scope `admin`
/// that sees all accounts.
#[utoipa::path(
    get, path = "/metrics", tag = "admin", security((), ("bearer" = [])),
    responses(
        (status = 200, content_type = "text/plain", body = String),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Result<Permit<Admin>, Problem>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    if !is_local(&request) {
        permit?.sees_all()?;
    }
    let reader = app.reader.clone();
    // What is shown need not be durable yet, and is shown also when nothing becomes durable any more.
    let stored = web::block(move || Stored::read(&reader)).await??;
    let mut page = Exposition::default();
    let published = app.reader.published();
    process(&mut page, &app);
    callbacks(&mut page, &app);
    providers(&mut page, &app);
    ledger(&mut page, &app, &published, &stored);
    deliveries(&mut page, &app, &published, &stored);
    rim(&mut page, &app);
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(page.into_text()))
}

/// What is read from the store.
struct Stored {
    courses: Vec<(Webhook, Course)>,
    oldest: Option<Receipt>,
}

impl Stored {
    fn read(reader: &Reader) -> Result<Stored, StoreError> {
        Ok(Stored { courses: reader.courses()?, oldest: reader.oldest_unprocessed()? })
    }
}

/// From this machine itself, as far as anybody can tell: a proxy on it, which forwards for others, says so.
fn is_local(request: &HttpRequest) -> bool {
    let loopback = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let forwards = |name: &str| name.starts_with("x-forwarded") || FORWARDING.contains(&name);
    loopback && !request.headers().keys().any(|name| forwards(name.as_str()))
}

fn process(page: &mut Exposition, app: &App) {
    page.gauges(BUILD, "version", [(env!("CARGO_PKG_VERSION"), 1)]);
    page.gauge(START, Micros(app.started_at.0.unsigned_abs()));
    if let Some(bytes) = resident_bytes() {
        page.gauge(MEMORY, bytes);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        page.gauge(FILES, files.count());
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn callbacks(page: &mut Exposition, app: &App) {
    let meter = app.reader.meter();
    page.counters(CALLBACKS, ["account", "status"], &app.counts.callbacks.all());
    page.counters(REJECTED, ["account", "reason"], &app.counts.rejected.all());
    page.spreads(ANSWERS, Unit::Seconds, ["account"], &app.counts.answers.all());
    let mut outcomes = named(meter.outcomes.all(), pair);
    for account in app.accounts.all() {
        // What rises from nothing to one is no increase to those who only look now and then.
        outcomes.entry(pair((&account.merchant.id, "failed"))).or_insert(0);
    }
    page.counters(OUTCOMES, ["account", "outcome"], &outcomes);
    page.spreads(LAG, Unit::Seconds, ["account"], &named(meter.lags.all(), |account| [account.to_string()]));
}

fn providers(page: &mut Exposition, app: &App) {
    let (activity, now) = (&app.activity, app.clock.now());
    page.counters(CALLS, ["account", "result"], &named(activity.calls.all(), pair));
    let times = named(activity.call_times.all(), |account| [account.to_string()]);
    page.spreads(CALL_TIMES, Unit::Seconds, ["account"], &times);
    let lately: Vec<_> = app
        .accounts
        .all()
        .map(|account| {
            let id = &account.merchant.id;
            (id.to_string(), activity.lately(id))
        })
        .collect();
    let halted = |halt: &crate::ingest::activity::Halted| halt.until.is_none_or(|until| until > now);
    let halts =
        lately.iter().map(|(id, lately)| (id.as_str(), u8::from(lately.halted.as_ref().is_some_and(halted))));
    page.gauges(HALTED, "account", halts);
    let last = lately.iter().filter_map(|(id, lately)| Some((id.as_str(), age(lately.last_callback?, now))));
    page.gauges(SILENCE, "account", last);
}

fn ledger(page: &mut Exposition, app: &App, published: &Published, stored: &Stored) {
    let queue = published.queue;
    let receipts = [("pending", queue.pending), ("retrying", queue.retrying), ("failed", queue.failed)];
    page.gauges(RECEIPTS, "state", receipts);
    let oldest = stored.oldest.as_ref().map(|receipt| age(receipt.received_at, app.clock.now()));
    page.gauge(OLDEST, oldest.unwrap_or(Micros(0)));
    let (waiting, most) = app.handle.queued();
    page.gauge(QUEUE, waiting);
    page.gauge(QUEUE_MAX, most);
    let meter = app.reader.meter();
    page.spreads(SYNCS, Unit::Seconds, [], &unlabelled(meter.syncs.all()));
    page.spreads(GROUPS, Unit::Count, [], &unlabelled(meter.groups.all()));
    page.gauge(HEAD, published.seq.0);
    let balanced = published.balances.totals().values().all(|sides| sides.debits == sides.credits);
    page.gauge(BALANCED, u8::from(balanced));
    page.gauge(WRITABLE, u8::from(admin::reason(app, published).is_none()));
}

fn deliveries(page: &mut Exposition, app: &App, published: &Published, stored: &Stored) {
    let queued = admin::deliveries(app, &stored.courses, published.seq);
    let states = [("pending", queued.pending), ("retrying", queued.retrying), ("failed", queued.failed)];
    page.gauges(DELIVERIES, "state", states);
    page.counters(ATTEMPTS, ["result"], &named(app.board.attempts.all(), |result| [result.to_owned()]));
    let now = app.clock.now();
    let behind =
        stored.courses.iter().filter(|(_, course)| course.off.is_none()).filter_map(|(webhook, course)| {
            let cursor = app.board.get(webhook.id).map_or(course.cursor, |standing| standing.cursor);
            let entry = app.reader.entry(cursor.next()).ok().flatten()?;
            Some(age(entry.entry.recorded_at, now).0)
        });
    page.gauge(UNDELIVERED, Micros(behind.max().unwrap_or(0)));
    let count = |wanted: &str| {
        let status = |(_, course): &&(Webhook, Course)| {
            let word = match (&course.off, &course.trouble) {
                (Some(_), _) => "disabled",
                (None, Some(_)) => "failing",
                (None, None) => "enabled",
            };
            word == wanted
        };
        stored.courses.iter().filter(status).count()
    };
    page.gauges(WEBHOOKS, "status", ["enabled", "failing", "disabled"].map(|status| (status, count(status))));
}

fn rim(page: &mut Exposition, app: &App) {
    page.gauges(READERS, "kind", app.tails.open());
    if let Ok(free) = directory::free_bytes(&app.data_dir) {
        page.gauge(FREE, free);
    }
    page.gauge(MIN_FREE, app.min_free_bytes);
    let raised = app.alarms.raised();
    let alerts =
        Kind::ALL.map(|kind| (kind.as_str(), raised.iter().filter(|alarm| alarm.kind == kind).count()));
    page.gauges(ALERTS, "type", alerts);
    let configured = app.configured.get();
    page.gauge(CONFIG, u8::from(configured.error.is_none() && configured.restart_needed.is_empty()));
    page.counters(REQUESTS, ["class"], &app.counts.requests.all());
    page.counter(DENIED, app.counts.denied.all().values().sum());
}

fn age(since: Time, now: Time) -> Micros {
    Micros(u64::try_from(now.since(since).as_micros()).unwrap_or(u64::MAX))
}

fn pair<K: ToString>((account, word): (K, &str)) -> [String; 2] {
    [account.to_string(), word.to_owned()]
}

fn named<K, V, const N: usize>(
    counts: BTreeMap<K, V>,
    name: impl Fn(K) -> [String; N],
) -> BTreeMap<[String; N], V> {
    counts.into_iter().map(|(key, value)| (name(key), value)).collect()
}

fn unlabelled(spreads: BTreeMap<(), Spread>) -> BTreeMap<[String; 0], Spread> {
    named(spreads, |()| [])
}
