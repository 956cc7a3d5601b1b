//! POST /callbacks: where providers knock. A receipt is durable before its 200; nothing here waits for a provider.

use super::app::{App, through};
use super::body::{self, Unread};
use super::limits::Held;
use super::problem::Problem;
use crate::config::Account;
use crate::domain::ids::{AccountId, Seq};
use crate::ingest::receive::{Rejection, admit, receive};
use crate::ingest::runner::Task;
use crate::ledger::command::{Command, Received, Reply, Verdict};
use crate::providers::provider::Incoming;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use std::time::Instant;
use utoipa::ToSchema;

/// More than any provider sends.
const CALLBACK_BYTES_MAX: usize = 256 * 1024;

/// The receipt's id, also its id in `/v1/callbacks/{id}`.
#[derive(Serialize, ToSchema)]
pub struct ReceiptAnswer {
    #[schema(example = "rc_00000000000000000042")]
    pub receipt: String,
}

/// A provider's callback.
///
/// Takes what the account's provider sends, in the provider's own form. The 200 means that it is durable.
#[utoipa::path(
    post, path = "/callbacks/{account}", tag = "callbacks", security(()),
    params(("account" = String, Path, description = "The merchant account's id")),
    request_body(content = String, description = "As the provider sends it, at most 256 KiB"),
    responses(
        (status = 200, body = ReceiptAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "Not what this provider sends"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "Wrong credential"),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "Address not allowed"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such account or key"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Too many, see Retry-After"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Try again, see Retry-After"),
    )
)]
pub async fn post(
    request: HttpRequest,
    app: Data<App>,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    take(&request, &app, &path.into_inner(), None, payload).await
}

/// A provider's callback, for accounts with a callback key.
#[utoipa::path(
    post, path = "/callbacks/{account}/{callback_key}", tag = "callbacks", security(()),
    params(
        ("account" = String, Path, description = "The merchant account's id"),
        ("callback_key" = String, Path, description = "The key configured for it"),
    ),
    request_body(content = String, description = "As the provider sends it, at most 256 KiB"),
    responses(
        (status = 200, body = ReceiptAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Too many, see Retry-After"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn post_with_key(
    request: HttpRequest,
    app: Data<App>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (account, key) = path.into_inner();
    take(&request, &app, &account, Some(&key), payload).await
}

/// Takes a callback, and counts how it was answered.
async fn take(
    request: &HttpRequest,
    app: &App,
    account: &str,
    key: Option<&str>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let began = Instant::now();
    let known = AccountId::parse(account).ok().filter(|id| app.accounts.get(id).is_some());
    let answer = answer(request, app, account, key, payload).await;
    let status = answer.as_ref().map_or_else(|problem| problem.status, |answer| answer.status().as_u16());
    app.counts.callback(known.as_ref(), status, began.elapsed());
    answer
}

async fn answer(
    request: &HttpRequest,
    app: &App,
    account: &str,
    key: Option<&str>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (address, now) = (app.client_address(request), app.clock.now());
    app.limits
        .address(address, now)
        .map_err(|wait| Problem::too_many("this address failed too often", wait))
        .inspect_err(|_| app.counts.rejected(None, "address_failed_too_often"))?;
    let unknown = || {
        app.limits.failed(address, now);
        app.counts.rejected(None, Rejection::UnknownAccount.word());
        Problem::from(Rejection::UnknownAccount)
    };
    let id = AccountId::parse(account).map_err(|_| unknown())?;
    let account = app.accounts.get(&id).ok_or_else(unknown)?;
    let headers = lower_case_headers(request);
    admit(&account, key, address, &headers).map_err(|why| {
        app.limits.failed(address, now);
        reject(request, app, &id, why)
    })?;
    let flooded = |wait| {
        app.counts.rejected(Some(&id), "too_many");
        Problem::too_many("this account gets more callbacks than it may", wait)
    };
    app.limits.callback(&id, now).map_err(flooded)?;
    let mut held = Held::default();
    let bytes = match body::read_within(payload, CALLBACK_BYTES_MAX, &app.limits.room, &mut held).await {
        Ok(bytes) => bytes,
        Err(Unread::TooLarge) => return Err(reject(request, app, &id, Rejection::TooLarge)),
        Err(unread @ (Unread::BrokenOff | Unread::TooSlow | Unread::Crowded)) => return Err(unread.into()),
    };
    let content_type =
        headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
    let query = Some(request.query_string()).filter(|query| !query.is_empty());
    let incoming = Incoming { headers: &headers, content_type, query, body: &bytes };
    let received = receive(&account, &incoming, app.clock.now());
    let answer = keep(app, &account, received).await;
    drop(held);
    answer
}

/// Makes the receipt durable, wakes whoever processes it, and answers.
async fn keep(app: &App, account: &Account, received: Received) -> Result<HttpResponse, Problem> {
    let at = received.received_at;
    let recorded = matches!(received.verdict, Verdict::Record { .. });
    let (ask, unreadable) = match &received.verdict {
        Verdict::Ask | Verdict::Record { ask: true, .. } => (true, None),
        Verdict::Record { ask: false, .. } | Verdict::Ignore => (false, None),
        Verdict::Unreadable { reason } => (false, Some(reason.clone())),
    };
    let (handle, tasks, account_id) = (app.handle.clone(), app.tasks.clone(), account.merchant.id.clone());
    let carried = through(async move {
        let reply = handle.submit(Command::Receive(received)).await?;
        let Reply::Received { id, progress, entries } = reply else { return Err(Problem::another_answer()) };
        if ask {
            // The receipt is durable: should the task be gone, the next start finds it.
            drop(tasks.send(Task::Process { account: account_id, id }));
        }
        Ok::<_, Problem>((id, progress, entries))
    });
    let (id, progress, entries) = carried.await??;
    let account = &account.merchant.id;
    app.activity.callback(account, at);
    tracing::info!(%account, receipt = %id, "callback kept");
    if recorded {
        let outcome = progress.as_str();
        tracing::info!(%account, receipt = %id, outcome, seqs = Seq::list(&entries), "callback recorded");
    }
    match unreadable {
        Some(reason) => Err(Problem::new(400, "unreadable-callback", "Unreadable callback", reason)),
        None => Ok(HttpResponse::Ok().json(ReceiptAnswer { receipt: id.to_string() })),
    }
}

fn reject(request: &HttpRequest, app: &App, account: &AccountId, why: Rejection) -> Problem {
    let (address, problem) = (app.client_address(request), Problem::from(why));
    app.counts.rejected(Some(account), why.word());
    tracing::debug!(%account, status = problem.status, reason = %why, "callback rejected");
    app.activity.rejected(account, app.clock.now(), address, problem.status, why.to_string());
    problem
}

fn lower_case_headers(request: &HttpRequest) -> Vec<(String, String)> {
    let headers = request.headers().iter();
    headers
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}
