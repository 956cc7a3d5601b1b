//! /v1/callbacks: what providers sent, what we answered, what came of it. Never a body.

use super::app::{App, through};
use super::guard::{CallbacksRead, CallbacksWrite, Permit};
use super::orders::account_filter;
use super::page::{self, Listed};
use super::problem::Problem;
use crate::domain::ids::{AccountId, ReceiptId};
use crate::domain::receipt::Receipt;
use crate::domain::time::Time;
use crate::ingest::activity::Rejected;
use crate::ingest::runner::Task;
use crate::ledger::command::Command;
use crate::ledger::lists::ReceiptFilter;
use crate::ledger::reader::Reader;
use crate::store::meta::StoreError;
use crate::views::receipt::{CallbackAnswer, CallbackView};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

/// What a stored callback can have come to …
pub const OUTCOMES_STORED: [&str; 7] =
    ["applied", "conflict", "stale", "duplicate", "ignored", "pending", "failed"];
/// … and what one did that was turned away at the door.
const REJECTED: &str = "rejected";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallbacksQuery {
    account: Option<String>,
    /// applied, conflict, stale, duplicate, ignored, pending, failed or rejected. Rejected ones are the last 1,000 per
    /// account, in memory alone.
    outcome: Option<String>,
    /// The reference of an order that a callback spoke of.
    order: Option<String>,
    /// Received at this time or later.
    since: Option<String>,
    /// Received before this time.
    until: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Received callbacks, newest first.
#[utoipa::path(
    get, path = "/v1/callbacks", tag = "callbacks", params(CallbacksQuery),
    responses(
        (status = 200, body = Listed<CallbackView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    permit: Permit<CallbacksRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: CallbacksQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let account = query.account.as_deref().map(account_filter).transpose()?;
    let known = |outcome: &str| outcome == REJECTED || OUTCOMES_STORED.contains(&outcome);
    if query.outcome.as_deref().is_some_and(|outcome| !known(outcome)) {
        let known = OUTCOMES_STORED.join(", ");
        return Err(Problem::parameter(format!("outcome is one of {known} or {REJECTED}")));
    }
    let since = query.since.as_deref().map(|text| moment("since", text)).transpose()?;
    let until = query.until.as_deref().map(|text| moment("until", text)).transpose()?;
    let before = page::number(query.cursor.as_deref())?;
    if query.outcome.as_deref() == Some(REJECTED) {
        let visible =
            |id: &AccountId| permit.sees(id) && account.as_ref().is_none_or(|account| account == id);
        let mut rejected = app.activity.rejections(visible);
        rejected.retain(|(_, it)| {
            since.is_none_or(|since| it.at >= since) && until.is_none_or(|until| it.at < until)
        });
        let page = rejected_page(rejected, before, limit);
        return Ok(HttpResponse::Ok().json(page));
    }
    let before = before.map(ReceiptId);
    let filter = ReceiptFilter { account, outcome: query.outcome, order: query.order, since, until };
    let read = move |reader: &Reader| {
        let page = reader.receipts(&filter, |id| permit.sees(id), before, limit)?;
        let shown: Result<Vec<_>, StoreError> = page.found.iter().map(|it| view(reader, it)).collect();
        Ok((shown?, page.next))
    };
    let (data, next) = app.read_many(read).await?;
    let next_cursor = next.map(|id| page::cursor(&[&id.0.to_string()]));
    Ok(HttpResponse::Ok().json(Listed::<CallbackView> { data, next_cursor }))
}

/// One received callback.
#[utoipa::path(
    get, path = "/v1/callbacks/{id}", tag = "callbacks", params(("id" = String, Path)),
    responses(
        (status = 200, body = CallbackView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<CallbacksRead>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let receipt = find(&permit, &app, &path).await?;
    let view = app.read(|reader| view(reader, &receipt)).await?;
    Ok(HttpResponse::Ok().json(view))
}

/// Processes a received callback again, from its stored body.
#[utoipa::path(
    post, path = "/v1/callbacks/{id}/reprocess", tag = "callbacks", params(("id" = String, Path)),
    responses(
        (status = 202, body = CallbackView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Its body was erased"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn reprocess(
    permit: Permit<CallbacksWrite>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let receipt = find(&permit, &app, &path).await?;
    let (handle, tasks) = (app.handle.clone(), app.tasks.clone());
    let (account, id) = (receipt.account.clone(), receipt.id);
    let carried = through(async move {
        handle.submit(Command::Reprocess(id)).await?;
        drop(tasks.send(Task::Process { account, id }));
        Ok::<(), Problem>(())
    });
    carried.await??;
    let again = app.read(|reader| view(reader, &reader.receipt(receipt.id)?.unwrap_or(receipt))).await?;
    Ok(HttpResponse::Accepted().json(again))
}

/// A receipt with what stands beside it.
fn view(reader: &Reader, receipt: &Receipt) -> Result<CallbackView, StoreError> {
    Ok(CallbackView::of(receipt, reader.event(receipt.id)?.as_ref()))
}

fn moment(name: &str, text: &str) -> Result<Time, Problem> {
    let advice = || Problem::parameter(format!("{name} is a time such as 2026-03-01T10:00:00Z"));
    Time::parse(text).map_err(|_| advice())
}

async fn find<S>(permit: &Permit<S>, app: &App, id: &str) -> Result<Receipt, Problem> {
    let id = ReceiptId::parse(id).ok_or_else(|| Problem::not_found("callback"))?;
    let receipt = app.read(|reader| reader.receipt(id)).await?;
    receipt.filter(|receipt| permit.sees(&receipt.account)).ok_or_else(|| Problem::not_found("callback"))
}

fn rejected_page(all: Vec<(AccountId, Rejected)>, before: Option<u64>, limit: usize) -> Listed<CallbackView> {
    let mut wanted =
        all.into_iter().filter(|(_, rejected)| before.is_none_or(|before| rejected.number < before));
    let page: Vec<_> = wanted.by_ref().take(limit).collect();
    let last = page.last().map(|(_, rejected)| rejected.number.to_string());
    let next_cursor = wanted.next().and(last).map(|number| page::cursor(&[&number]));
    Listed { data: page.into_iter().map(|(account, it)| rejected_view(account, it)).collect(), next_cursor }
}

fn rejected_view(account: AccountId, rejected: Rejected) -> CallbackView {
    CallbackView {
        id: None,
        account: account.to_string(),
        received_at: rejected.at.to_string(),
        event: None,
        answer: CallbackAnswer { status: rejected.status },
        outcome: REJECTED,
        reason: Some(rejected.reason),
        address: rejected.address.map(|address| address.to_string()),
        content_type: None,
        body_bytes: 0,
        next_at: None,
        attempts_count: 0,
        attempts: Vec::new(),
        evidence: Vec::new(),
        entries: Vec::new(),
    }
}
