//! Looks every few seconds whether anything is so that operators should know, and tells them when it begins.

use crate::delivery::alarms::{About, Kind};
use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use crate::domain::webhook::Off;
use crate::http::app::App;
use crate::ledger::lists::ReceiptFilter;
use crate::schedule::silence;
use crate::store::directory;
use crate::store::meta::StoreError;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// With less than so many times what writes need, operators are told: after that no event could be written any more.
const LOW: u64 = 2;
/// How long it is said that the clock jumped.
const JUMP_SHOWN: Duration = Duration::from_secs(3600);
/// So long after the last callback was given up, the alarm clears by itself.
const FAILED_SHOWN: Duration = Duration::from_secs(86_400);
/// So many of the last callbacks are looked at after a start, to learn each account's pace.
const RECEIPTS_LEARNT: usize = 5_000;
/// So many of an account's orders are looked at for one that waits for its money.
const ORDERS_SCANNED: usize = 200;

/// What was seen at the last look.
struct Lookout {
    wall: Time,
    steady: Instant,
    jumped: Option<(Time, Duration)>,
    /// Callbacks given up since the start by account, and when the last one was.
    failed: BTreeMap<AccountId, (u64, Time)>,
}

/// Goes on until it is aborted.
pub async fn run(app: actix_web::web::Data<App>) {
    if let Err(why) = learn(&app) {
        tracing::warn!(%why, "the usual pace of callbacks is learnt anew");
    }
    let mut lookout =
        Lookout { wall: app.clock.now(), steady: Instant::now(), jumped: None, failed: BTreeMap::new() };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(why) = lookout.look(&app) {
            tracing::warn!(%why, "what operators should know could not be looked at");
        }
    }
}

/// When callbacks arrived before this start.
fn learn(app: &App) -> Result<(), StoreError> {
    let page = app.reader.receipts(&ReceiptFilter::default(), |_| true, None, RECEIPTS_LEARNT)?;
    for receipt in page.found.iter().rev() {
        app.activity.arrived_before(&receipt.account, receipt.received_at);
    }
    Ok(())
}

/// Whether the last scheduled backup failed.
fn backups(app: &App, now: Time) {
    let failed = app.rota.as_ref().and_then(|rota| rota.lately().failed);
    let message = failed.map(|(at, why)| format!("the backup of {at} failed: {why}; it is tried again"));
    app.alarm(Kind::BackupFailed, About::Daemon, message, now);
}

impl Lookout {
    fn look(&mut self, app: &App) -> Result<(), StoreError> {
        let now = app.clock.now();
        self.clock(app, now);
        disk(app, now);
        backups(app, now);
        refused(app, now);
        self.receipts(app, now);
        silent(app, now)?;
        webhooks(app, now)
    }

    fn clock(&mut self, app: &App, now: Time) {
        let steady = self.steady.elapsed();
        if let Some(off) = silence::jump((self.wall, now), steady) {
            self.jumped = Some((now, off));
        }
        (self.wall, self.steady) = (now, Instant::now());
        self.jumped = self.jumped.filter(|(at, _)| now.since(*at) < JUMP_SHOWN);
        let message = self.jumped.map(|(at, off)| {
            let seconds = off.as_secs();
            format!("the system's clock jumped by {seconds} s at {at}; look at its time synchronisation")
        });
        app.alarm(Kind::ClockJumped, About::Daemon, message, now);
    }

    /// Callbacks that were given up since the start.
    fn receipts(&mut self, app: &App, now: Time) {
        let none_left = app.reader.published().queue.failed == 0;
        for ((account, outcome), count) in app.reader.meter().outcomes.all() {
            if outcome != "failed" {
                continue;
            }
            let known = self.failed.entry(account.clone()).or_insert((0, now));
            if count > known.0 {
                *known = (count, now);
            }
            let over = none_left || now.since(known.1) >= FAILED_SHOWN;
            let message = (!over).then(|| {
                format!("callbacks were given up, {count} since the start; GET /v1/callbacks?outcome=failed lists them, POST /v1/callbacks/{{id}}/reprocess tries one again")
            });
            app.alarm(Kind::ReceiptFailed, About::Account(account), message, now);
        }
    }
}

fn disk(app: &App, now: Time) {
    let Ok(free) = directory::free_bytes(&app.data_dir) else { return };
    let min = app.min_free_bytes;
    let message = (free < min.saturating_mul(LOW)).then(|| {
        format!(
            "{free} bytes are free on the ledger's disk; below {min} no writes are taken; free some space"
        )
    });
    app.alarm(Kind::DiskLow, About::Daemon, message, now);
}

fn refused(app: &App, now: Time) {
    for account in app.accounts.all() {
        let id = account.merchant.id.clone();
        let halted = app.activity.lately(&id).halted.filter(|halted| halted.until.is_none());
        let message = halted.map(|halted| {
            format!(
                "the provider refuses this account's credentials ({}); correct them and send SIGHUP",
                halted.why
            )
        });
        app.alarm(Kind::CredentialsRefused, About::Account(id), message, now);
    }
}

fn silent(app: &App, now: Time) -> Result<(), StoreError> {
    for account in app.accounts.all() {
        let id = account.merchant.id.clone();
        let since = silence::silent_since(&app.activity.arrivals(&id), now);
        // What nobody waits for is not missed.
        let missed = since.is_some() && app.reader.awaits_money(&id, ORDERS_SCANNED)?;
        let message = since.filter(|_| missed).map(|since| {
            format!("no callback since {since}, which is longer than usual, while orders wait for their money; look at the callback URL at the provider, and at your firewall")
        });
        app.alarm(Kind::ProviderSilent, About::Account(id), message, now);
    }
    Ok(())
}

fn webhooks(app: &App, now: Time) -> Result<(), StoreError> {
    let mut disabled = BTreeSet::new();
    for (webhook, course) in app.reader.courses()? {
        let Some(Off { why, since }) = course.off.filter(|off| !off.is_by_hand()) else { continue };
        let message =
            format!("{} is disabled since {since}: {why}; mend its target and enable it", webhook.id);
        let about = About::Webhook(webhook.id);
        app.alarm(Kind::WebhookDisabled, about.clone(), Some(message), now);
        disabled.insert(about);
    }
    app.alarms.keep_only(Kind::WebhookDisabled, &disabled, now);
    Ok(())
}
