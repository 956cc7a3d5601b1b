//! What is done by the clock while the daemon runs: the head is noted, backups are taken, what has expired is forgotten.

use crate::backup::rota::{Rota, RotaError};
use crate::clock::Clock;
use crate::domain::ids::ReceiptId;
use crate::domain::time::Time;
use crate::http::app::App;
use crate::ledger::command::Command;
use crate::ledger::erasure::Erasure;
use crate::ledger::writer::Published;
use crate::store::directory;
use crate::store::meta::StoreError;
use actix_web::web::Data;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the durable head is noted outside the database.
const NOTE_HEAD_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether a backup is due.
const LOOK_FOR_BACKUP_EVERY: Duration = Duration::from_secs(1);
/// How often what has expired is looked for, or four times within the shortest retention …
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// … and how many are forgotten at once, with a pause for others between.
const FORGET_AT_ONCE: usize = 100;
const FORGET_PAUSE: Duration = Duration::from_millis(200);
const FORGET_EVERY_MIN: Duration = Duration::from_millis(250);

/// How long what can be erased or forgotten is kept, and how far looking for it has come.
pub(super) struct Retention {
    receipts: Duration,
    history: Duration,
    /// Bodies before this are erased or still needed.
    bodies_after: ReceiptId,
    /// Receipts before this are gone or stay for good. Looking for them begins anew with each start.
    receipts_after: ReceiptId,
}

impl Retention {
    pub fn new(receipts: Duration, history: Duration) -> Retention {
        let none = ReceiptId(0);
        Retention { receipts, history, bodies_after: none, receipts_after: none }
    }

    fn pause(&self, more: bool) -> Duration {
        let shortest = self.receipts.min(self.history) / 4;
        if more { FORGET_PAUSE } else { shortest.clamp(FORGET_EVERY_MIN, FORGET_EVERY) }
    }
}

/// Forgets what is kept for a while: answers to requests with an Idempotency-Key, reconciliations, receipts' bodies, and
/// receipts that nothing refers to. A bounded piece at a time, with a pause for others between.
pub(super) async fn forget_now_and_then(app: Data<App>, mut retention: Retention) {
    loop {
        let more = match forget_some(&app, &mut retention).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "what has expired could not be forgotten yet");
                false
            }
        };
        tokio::time::sleep(retention.pause(more)).await;
    }
}

/// Says whether there is more.
async fn forget_some(app: &App, retention: &mut Retention) -> anyhow::Result<bool> {
    let now = app.clock.now();
    let requests = app.reader.expired_requests(now, FORGET_AT_ONCE)?;
    let run = app.reader.run_to_forget(now.minus(retention.history), FORGET_AT_ONCE)?;
    let more = requests.len() == FORGET_AT_ONCE || run.is_some();
    if !requests.is_empty() {
        app.handle.submit_patiently(Command::ForgetRequests(requests)).await?;
    }
    if let Some(forget) = run {
        app.handle.submit_patiently(Command::ForgetRun(forget)).await?;
    }
    Ok(erase_old(app, retention, now).await? || more)
}

/// Erases some bodies and takes away some receipts that have outlived their time. Says whether there is more.
async fn erase_old(app: &App, retention: &mut Retention, now: Time) -> anyhow::Result<bool> {
    let (bodies_before, before) = (now.minus(retention.receipts), now.minus(retention.history));
    let (bodies_after, receipts_after) = (retention.bodies_after, retention.receipts_after);
    let reader = app.reader.clone();
    let look = move || {
        let bodies = reader.bodies_beyond(bodies_before, bodies_after)?;
        Ok::<_, StoreError>((bodies, reader.receipts_beyond(before, receipts_after)?))
    };
    let (bodies, receipts) = tokio::task::spawn_blocking(look).await??;
    let erasure = Erasure { bodies: bodies.found, receipts: receipts.found, ..Erasure::default() };
    if !erasure.is_empty() {
        let (bodies, receipts) = (erasure.bodies.len(), erasure.receipts.len());
        app.handle.submit_patiently(Command::Erase(Box::new(erasure))).await?;
        tracing::debug!(bodies, receipts, "erased what has outlived its retention");
    }
    // At the end of the bodies it begins anew: one that was still needed may not be any more.
    retention.bodies_after = bodies.next.unwrap_or_default();
    retention.receipts_after = receipts.next.unwrap_or(receipts_after);
    Ok(bodies.next.is_some() || receipts.next.is_some())
}

/// Takes a backup whenever one is due.
pub(super) async fn back_up_now_and_then(rota: Arc<Rota>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(LOOK_FOR_BACKUP_EVERY).await;
        if rota.due().is_none_or(|due| due > clock.now()) {
            continue;
        }
        let taking = Arc::clone(&rota);
        match tokio::task::spawn_blocking(move || taking.take()).await {
            Ok(Ok(kept)) => tracing::info!(path = %kept.path.display(), seq = kept.seq, "backed up"),
            Ok(Err(RotaError::Running)) => {}
            Ok(Err(RotaError::Failed(error))) => {
                tracing::error!(%error, "the scheduled backup failed; it is tried again");
            }
            Err(error) => tracing::error!(%error, "the scheduled backup failed; it is tried again"),
        }
    }
}

pub(super) async fn note_head_now_and_then(dir: PathBuf, published: watch::Receiver<Published>) {
    loop {
        tokio::time::sleep(NOTE_HEAD_EVERY).await;
        let now = published.borrow().clone();
        if let Err(error) = directory::note_head(&dir, &now.database, now.seq, now.hash) {
            tracing::warn!(%error, "the head could not be noted");
        }
    }
}
