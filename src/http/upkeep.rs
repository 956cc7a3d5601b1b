//! What an admin has done: a backup, a replay of the ledger.

use super::app::App;
use super::guard::{Admin, Permit};
use super::problem::Problem;
use crate::auth::Accounts;
use crate::backup::rota::{Kept, Rota, RotaError};
use crate::ledger::verify::{Difference, verify};
use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use utoipa::ToSchema;

/// A backup in its place.
#[derive(Serialize, ToSchema)]
pub struct BackupView {
    /// Its directory on the daemon's machine.
    pub path: String,
    /// It holds the ledger as of this seq …
    pub seq: u64,
    /// … whose entry has this hash.
    pub hash: String,
    pub taken_at: String,
    /// All its files.
    pub bytes: u64,
    /// What was written for it; the rest is shared with the backup before. Null where it was found, not taken.
    pub new_bytes: Option<u64>,
}

/// Backups by `[backup]`.
#[derive(Serialize, ToSchema)]
pub struct BackupStatus {
    /// The newest one; null: there is none yet.
    pub last: Option<BackupView>,
    /// Why the last try failed; null: it did not.
    pub error: Option<BackupFailure>,
    /// Null: only when somebody asks for one.
    pub next_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct BackupFailure {
    pub at: String,
    pub error: String,
}

/// What a replay of the whole ledger came to.
#[derive(Serialize, ToSchema)]
pub struct VerifyView {
    /// Whether everything agrees.
    pub ok: bool,
    /// The first difference; null: there is none.
    pub difference: Option<String>,
    /// How much was replayed; null where a difference ended it.
    pub entries: Option<u64>,
    pub orders: Option<u64>,
    pub receipts: Option<u64>,
    /// The hash that the chain ends at.
    pub head: Option<String>,
}

/// Takes a backup now, into `backup.to`, and answers once it is in its place.
#[utoipa::path(
    post, path = "/v1/admin/backup", tag = "admin",
    responses(
        (status = 200, body = BackupView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "No `backup.to` is configured, or a backup is being taken"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn backup(permit: Permit<Admin>, app: Data<App>) -> Result<HttpResponse, Problem> {
    whole(&permit)?;
    let unconfigured = || {
        let detail = "backup.to names no directory in the configuration; or run `razao backup --to DIR`";
        Problem::new(409, "backup-not-configured", "No place for backups", detail)
    };
    let rota = Arc::clone(app.rota.as_ref().ok_or_else(unconfigured)?);
    match web::block(move || rota.take()).await? {
        Ok(kept) => Ok(HttpResponse::Ok().json(BackupView::of(kept))),
        Err(error @ RotaError::Running) => {
            Err(Problem::new(409, "backup-running", "A backup is being taken", error.to_string()))
        }
        Err(RotaError::Failed(error)) => {
            tracing::warn!(%error, "a backup failed");
            Err(Problem::unavailable(format!("the backup failed: {error}"), 60))
        }
    }
}

/// Replays the whole ledger as it is at this moment, while it goes on, and names the first difference.
#[utoipa::path(
    post, path = "/v1/admin/verify", tag = "admin",
    responses(
        (status = 200, body = VerifyView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It is being verified already"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn verify_now(permit: Permit<Admin>, app: Data<App>) -> Result<HttpResponse, Problem> {
    whole(&permit)?;
    if app.verifying.swap(true, Ordering::SeqCst) {
        let detail = "the ledger is being verified; wait until that has ended";
        return Err(Problem::new(409, "verify-running", "Being verified", detail));
    }
    let shared = app.clone();
    // Whoever asked may go away; the flag is cleared by the one who does the work.
    let verified = web::block(move || {
        let frozen = shared.reader.frozen();
        let verified = verify(&*frozen, &mut |_, _| {});
        shared.verifying.store(false, Ordering::SeqCst);
        (verified, frozen.given_up())
    });
    let (verified, given_up) = verified.await?;
    if let (Err(_), Some(why)) = (&verified, given_up) {
        return Err(Problem::unavailable(format!("the ledger could not be verified: {why}"), 60));
    }
    Ok(HttpResponse::Ok().json(match verified {
        Ok(verified) => VerifyView {
            ok: true,
            difference: None,
            entries: Some(verified.entries),
            orders: Some(verified.orders),
            receipts: Some(verified.receipts),
            head: Some(verified.head.to_hex()),
        },
        Err(difference @ (Difference::Found(_) | Difference::Store(_))) => VerifyView {
            ok: false,
            difference: Some(difference.to_string()),
            entries: None,
            orders: None,
            receipts: None,
            head: None,
        },
    }))
}

/// The whole ledger is the business of who sees all of it.
fn whole(permit: &Permit<Admin>) -> Result<(), Problem> {
    if permit.claims.accounts == Accounts::All {
        return Ok(());
    }
    let detail = "the token is limited to some accounts; this is about all of them";
    Err(Problem::new(403, "all-accounts-needed", "Forbidden", detail))
}

/// What the status says.
pub fn status(rota: &Rota) -> BackupStatus {
    let lately = rota.lately();
    BackupStatus {
        last: lately.last.map(BackupView::of),
        error: lately.failed.map(|(at, error)| BackupFailure { at: at.to_string(), error }),
        next_at: rota.due().map(|at| at.to_string()),
    }
}

impl BackupView {
    fn of(kept: Kept) -> BackupView {
        BackupView {
            path: kept.path.display().to_string(),
            seq: kept.seq,
            hash: kept.hash,
            taken_at: kept.taken_at,
            bytes: kept.bytes,
            new_bytes: kept.new_bytes,
        }
    }
}
