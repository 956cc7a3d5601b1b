//! Many callbacks processed again with one request: those a filter finds, newest first, so many per call.

use super::app::{App, through};
use super::body;
use super::guard::{CallbacksWrite, Permit};
use super::page;
use super::problem::{FieldProblem, Problem};
use super::receipts::OUTCOMES_STORED;
use crate::domain::ids::{AccountId, ReceiptId};
use crate::domain::receipt::Receipt;
use crate::domain::time::Time;
use crate::ingest::runner::Task;
use crate::ledger::command::{Command, Refusal, SubmitError};
use crate::ledger::lists::ReceiptFilter;
use crate::ledger::reader::Reader;
use crate::wire::json::Json;
use actix_web::HttpResponse;
use actix_web::web::{Data, Payload};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

/// So many callbacks are put back by one request.
const PER_CALL_MAX: usize = 1000;
/// So many of them wait for the ledger at the same time, and share its syncs.
const AT_ONCE: usize = 64;
const FIELDS: [&str; 6] = ["account", "outcome", "order", "since", "until", "cursor"];

/// Which callbacks. (Documentation: [`post`] reads it.)
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReprocessBody {
    /// Required without `outcome`.
    pub account: Option<String>,
    /// applied, conflict, stale, duplicate, ignored, pending or failed. Required without `account`.
    #[schema(example = "failed")]
    pub outcome: Option<String>,
    /// The reference of an order that a callback spoke of.
    pub order: Option<String>,
    /// Received at this time or later.
    pub since: Option<String>,
    /// Received before this time.
    pub until: Option<String>,
    /// The `next_cursor` of the answer before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Reprocessed {
    /// How many callbacks are being processed again.
    pub reprocessed: usize,
    /// How many were found whose body is erased; they stay as they are.
    pub erased: usize,
    /// Pass it as `cursor` with the same filters to go on; null at the end.
    pub next_cursor: Option<String>,
}

/// Processes callbacks again from their stored bodies, up to 1,000 per call, newest first.
#[utoipa::path(
    post, path = "/v1/callbacks:reprocess", tag = "callbacks", request_body = ReprocessBody,
    responses(
        (status = 202, body = Reprocessed),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn post(
    permit: Permit<CallbacksWrite>,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let json = body::object(payload).await?;
    let filter = filter(&json)?;
    let before = page::number(json.get("cursor").and_then(Json::as_str))?.map(ReceiptId);
    let read = move |reader: &Reader| reader.receipts(&filter, |id| permit.sees(id), before, PER_CALL_MAX);
    let found = app.read_many(read).await?;
    let all = found.found.len();
    let put_back = stream::iter(found.found).map(|receipt| put_back(&app, receipt));
    let put_back: Vec<bool> = put_back.buffered(AT_ONCE).try_collect().await?;
    let reprocessed = put_back.into_iter().filter(|put_back| *put_back).count();
    let next_cursor = found.next.map(|id| page::cursor(&[&id.0.to_string()]));
    Ok(HttpResponse::Accepted().json(Reprocessed { reprocessed, erased: all - reprocessed, next_cursor }))
}

/// Whether it could be put back: one whose body is erased cannot, and is no reason to stop.
async fn put_back(app: &App, receipt: Receipt) -> Result<bool, Problem> {
    let (handle, tasks) = (app.handle.clone(), app.tasks.clone());
    let carried = through(async move {
        match handle.submit_patiently(Command::Reprocess(receipt.id)).await {
            Ok(_) => {
                drop(tasks.send(Task::Process { account: receipt.account, id: receipt.id }));
                Ok(true)
            }
            Err(SubmitError::Refused(Refusal::BodyErased)) => Ok(false),
            Err(error) => Err(Problem::from(error)),
        }
    });
    carried.await?
}

fn filter(json: &Json) -> Result<ReceiptFilter, Problem> {
    let mut problems = Vec::new();
    if let Json::Object(fields) = json {
        let unknown = fields.keys().filter(|name| !FIELDS.contains(&name.as_str()));
        problems.extend(unknown.map(|name| wrong(name, "not a field here")));
    }
    let mut text = |field: &str| {
        let value = json.get(field)?;
        if value.as_str().is_none() {
            problems.push(wrong(field, "is text"));
        }
        value.as_str()
    };
    let (account, outcome, order) = (text("account"), text("outcome"), text("order"));
    let (since, until) = (text("since"), text("until"));
    text("cursor");
    if account.is_none() && outcome.is_none() {
        problems.push(wrong("outcome", "is required, or account, so that not everything is done again"));
    }
    if outcome.is_some_and(|outcome| !OUTCOMES_STORED.contains(&outcome)) {
        problems.push(wrong("outcome", &format!("is one of {}", OUTCOMES_STORED.join(", "))));
    }
    let mut time = |field: &str, text: Option<&str>| match text.map(Time::parse) {
        Some(Err(_)) => {
            problems.push(wrong(field, "is a time such as 2026-03-01T10:00:00Z"));
            None
        }
        Some(Ok(time)) => Some(time),
        None => None,
    };
    let (since, until) = (time("since", since), time("until", until));
    let account = account.map(AccountId::parse).transpose();
    if let Err(error) = &account {
        problems.push(wrong("account", &error.to_string()));
    }
    if !problems.is_empty() {
        return Err(Problem::fields(problems));
    }
    let (outcome, order) = (outcome.map(str::to_owned), order.map(str::to_owned));
    Ok(ReceiptFilter { account: account.unwrap_or_default(), outcome, order, since, until })
}

fn wrong(field: &str, detail: &str) -> FieldProblem {
    FieldProblem { field: field.chars().take(64).collect(), detail: detail.to_owned() }
}
