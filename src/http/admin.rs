//! Status, health, readiness.

use super::app::{App, Configured};
use super::guard::{Admin, Permit};
use super::problem::Problem;
use super::upkeep::{self, BackupStatus};
use crate::config::Account;
use crate::delivery::alarms::Alarm;
use crate::delivery::board::Standing;
use crate::domain::ids::Seq;
use crate::domain::time::Time;
use crate::domain::webhook::{Course, Webhook};
use crate::ingest::activity::Halted;
use crate::ledger::reader::Reader;
use crate::ledger::writer::Published;
use crate::store::directory;
use crate::store::meta::DATA_VERSION;
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

/// How the daemon is.
#[derive(Serialize, ToSchema)]
pub struct Status {
    pub version: &'static str,
    pub data_version: u32,
    pub head: StatusHead,
    /// Callbacks that still have to be processed, or were given up.
    pub receipts: Queued,
    /// Events on their way to webhooks that are not disabled, those not looked at yet among the pending.
    pub deliveries: Queued,
    /// Nothing is pending or retrying.
    pub idle: bool,
    /// Why the ledger takes no writes; null while it does.
    pub stopped: Option<String>,
    pub accounts: Vec<AccountStatus>,
    pub disk: Disk,
    /// Null: no `backup.to` is configured.
    pub backup: Option<BackupStatus>,
    pub config: ConfigStatus,
    /// What operators should know now; webhooks were told when it began.
    pub alerts: Vec<AlertStatus>,
    /// What is well again, of the last day.
    pub alerts_cleared: Vec<AlertStatus>,
}

#[derive(Serialize, ToSchema)]
pub struct AlertStatus {
    #[serde(rename = "type")]
    #[schema(example = "operator.disk_low")]
    pub kind: &'static str,
    pub since: String,
    /// Null: it is about the daemon, or about a webhook.
    pub account: Option<String>,
    /// What is so, and what to do.
    pub message: String,
    pub cleared_at: Option<String>,
}

/// How the configuration was read last; SIGHUP reads it anew.
#[derive(Serialize, ToSchema)]
pub struct ConfigStatus {
    /// When the one in force was read.
    pub loaded_at: String,
    /// What is wrong with the one that was read last and is not in force; null: nothing.
    pub error: Option<String>,
    /// Keys that were changed since and wait for a restart.
    pub restart_needed: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct StatusHead {
    pub seq: u64,
    pub hash: String,
}

#[derive(Serialize, ToSchema, Default)]
pub struct Queued {
    /// Not tried yet, due or in flight.
    pub pending: u64,
    /// Waiting for the next attempt.
    pub retrying: u64,
    /// Given up.
    pub failed: u64,
}

#[derive(Serialize, ToSchema)]
pub struct AccountStatus {
    pub account: String,
    pub provider: &'static str,
    /// The last of each since the daemon started: callback, call that succeeded, call that did not.
    pub last_callback: Option<String>,
    /// Null: none ever came; look at the callback URL at the provider, and at your firewall.
    pub first_callback: Option<String>,
    pub last_success: Option<String>,
    pub last_error: Option<AccountError>,
    /// Callbacks turned away at the door since the daemon started.
    pub rejected: u64,
    pub polling: PollingStatus,
}

/// How an account's open orders are asked about without callbacks.
#[derive(Serialize, ToSchema)]
pub struct PollingStatus {
    /// `on`; `off` by configuration; `paused` until a time; `stopped` until a call succeeds, or a restart.
    #[schema(example = "on")]
    pub status: &'static str,
    /// Why it is paused or stopped.
    pub reason: Option<String>,
    pub paused_until: Option<String>,
    /// When the next order is due; null: none is open.
    pub next_at: Option<String>,
    /// Up to when the provider's list of events was read, where it has one.
    pub caught_up_to: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct AccountError {
    pub at: String,
    pub error: String,
}

#[derive(Serialize, ToSchema)]
pub struct Disk {
    /// Null where it cannot be known.
    pub free_bytes: Option<u64>,
    /// With less, callbacks and writes are answered 503.
    pub min_free_bytes: u64,
    /// Whether callbacks and writes are taken.
    pub writable: bool,
}

/// How the daemon is.
#[utoipa::path(
    get, path = "/v1/admin/status", tag = "admin",
    responses(
        (status = 200, body = Status),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn status(permit: Permit<Admin>, app: Data<App>) -> Result<HttpResponse, Problem> {
    let courses = app.read_many(Reader::courses).await?;
    let published = app.reader.published();
    let queue = published.queue;
    let free_bytes = directory::free_bytes(&app.data_dir).ok();
    let writable = published.stopped.is_none() && !is_short(&app, &published, free_bytes);
    let deliveries = deliveries(&app, &courses, published.seq);
    let visible = app.accounts.all().filter(|account| permit.sees(&account.merchant.id));
    Ok(HttpResponse::Ok().json(Status {
        version: env!("CARGO_PKG_VERSION"),
        data_version: DATA_VERSION,
        head: StatusHead { seq: published.seq.0, hash: published.hash.to_hex() },
        receipts: Queued { pending: queue.pending, retrying: queue.retrying, failed: queue.failed },
        idle: [queue.pending, queue.retrying, deliveries.pending, deliveries.retrying] == [0; 4],
        deliveries,
        stopped: published.stopped,
        accounts: visible.map(|account| account_status(&app, &account)).collect(),
        config: ConfigStatus::of(&app.configured.get()),
        alerts: alerts(&permit, app.alarms.raised()),
        alerts_cleared: alerts(&permit, app.alarms.cleared(app.clock.now())),
        disk: Disk { free_bytes, min_free_bytes: app.min_free_bytes, writable },
        backup: app.rota.as_deref().map(upkeep::status),
    }))
}

/// Those that a token may know of.
fn alerts(permit: &Permit<Admin>, alarms: Vec<Alarm>) -> Vec<AlertStatus> {
    let visible = alarms.into_iter().filter(|alarm| alarm.about.account().is_none_or(|id| permit.sees(id)));
    let alert = |alarm: Alarm| AlertStatus {
        kind: alarm.kind.as_str(),
        since: alarm.since.to_string(),
        account: alarm.about.account().map(ToString::to_string),
        message: alarm.message,
        cleared_at: alarm.cleared_at.map(|at| at.to_string()),
    };
    visible.map(alert).collect()
}

impl ConfigStatus {
    fn of(configured: &Configured) -> ConfigStatus {
        let Configured { loaded_at, error, restart_needed } = configured.clone();
        ConfigStatus { loaded_at: loaded_at.to_string(), error, restart_needed }
    }
}

/// Over all webhooks that are not disabled.
pub(super) fn deliveries(app: &App, courses: &[(Webhook, Course)], head: Seq) -> Queued {
    let mut queued = Queued::default();
    for (webhook, course) in courses {
        queued.failed += course.failed_count;
        if course.off.is_some() {
            continue;
        }
        let unknown = || Standing { cursor: course.cursor, looked_at: course.cursor, ..Standing::default() };
        let standing = app.board.get(webhook.id).unwrap_or_else(unknown);
        // What somebody just asked for may not be on the board yet.
        let asked_for = (course.replays.len() + course.notices.len()) as u64;
        let pending = standing.pending.max(asked_for.saturating_sub(standing.retrying));
        queued.pending += pending + head.0.saturating_sub(standing.looked_at.0);
        queued.retrying += standing.retrying;
    }
    queued
}

fn account_status(app: &App, account: &Account) -> AccountStatus {
    let id = &account.merchant.id;
    let lately = app.activity.lately(id);
    let record = app.reader.account(id).unwrap_or_default();
    AccountStatus {
        account: id.to_string(),
        first_callback: record.first_callback.map(|at| at.to_string()),
        polling: polling_status(app, account, lately.halted.as_ref(), record.caught_up_to),
        provider: account.provider.spec().id,
        last_callback: lately.last_callback.map(|at| at.to_string()),
        last_success: lately.last_success.map(|at| at.to_string()),
        last_error: lately.last_error.map(|(at, error)| AccountError { at: at.to_string(), error }),
        rejected: lately.rejected_count,
    }
}

fn polling_status(
    app: &App,
    account: &Account,
    halted: Option<&Halted>,
    caught_up_to: Option<Time>,
) -> PollingStatus {
    let now = app.clock.now();
    let halted = halted.filter(|halted| account.poll.enabled && halted.until.is_none_or(|until| until > now));
    let status = match (account.poll.enabled, halted) {
        (false, _) => "off",
        (true, None) => "on",
        (true, Some(Halted { until: Some(_), .. })) => "paused",
        (true, Some(Halted { until: None, .. })) => "stopped",
    };
    let first = app.reader.polls_due(&account.merchant.id, 1).unwrap_or_default();
    PollingStatus {
        status,
        reason: halted.map(|halted| halted.why.clone()),
        paused_until: halted.and_then(|halted| halted.until).map(|until| until.to_string()),
        next_at: first.first().map(|(due, _)| due.to_string()),
        caught_up_to: caught_up_to.map(|at| at.to_string()),
    }
}

/// One word about the daemon.
#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// Whether the process runs.
#[utoipa::path(method(get, head), path = "/healthz", tag = "admin", security(()), responses((status = 200, body = Health)))]
pub async fn health() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Whether it takes callbacks and writes.
#[utoipa::path(
    method(get, head), path = "/readyz", tag = "admin", security(()),
    responses(
        (status = 200, body = Health),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn ready(app: Data<App>) -> Result<HttpResponse, Problem> {
    match reason(&app, &app.reader.published()) {
        Some(why) => Err(Problem::unavailable(why, 30)),
        None => Ok(HttpResponse::Ok().json(Health { status: "ready" })),
    }
}

/// Why it takes none.
pub(super) fn reason(app: &App, published: &Published) -> Option<String> {
    if *app.draining.borrow() {
        return Some("the daemon is shutting down".to_owned());
    }
    if let Some(why) = &published.stopped {
        return Some(format!("the ledger takes no writes: {why}"));
    }
    let free = directory::free_bytes(&app.data_dir).ok();
    is_short(app, published, free).then(|| "the disk is nearly full; free some space".to_owned())
}

/// Whether there is too little space. What the writer saw last is older than what is free now: without traffic it looks at
/// nothing, and who asks here may be keeping the traffic away.
fn is_short(app: &App, published: &Published, free: Option<u64>) -> bool {
    free.map_or(published.short_of_space, |free| free < app.min_free_bytes) || !app.reader.has_room()
}
