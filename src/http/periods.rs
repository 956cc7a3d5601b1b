//! Closing months, and what was recorded of those that are closed. All of it speaks of the whole ledger, so it is for
//! tokens that see all accounts.

use super::app::App;
use super::body::{self, BODY_BYTES_MAX};
use super::guard::{Admin, BalancesRead, Permit};
use super::idempotency::{self, Made};
use super::page::{self, Listed};
use super::problem::{FieldProblem, Problem};
use crate::domain::ids::Seq;
use crate::domain::period::Month;
use crate::ledger::command::{Command, Reply};
use crate::ledger::periods::{ClosePeriod, ClosedBooks};
use crate::views::balance::BalanceView;
use crate::views::entry::EntryView;
use crate::views::period::{CorrectionsView, PeriodView};
use crate::wire::json::Json;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Closes a month: records the balances and the ledger's head at this moment and at the month's end, and seals them.
///
/// It freezes nothing, because nothing in the ledger ever changes: later corrections post to the open period, and
/// `GET /v1/periods/{period}` shows them apart. Months are those of `reports.timezone`, can be closed once they are over,
/// in any order, and also where nothing was recorded in them. The first closing stands: closing again answers it.
#[utoipa::path(
    post, path = "/v1/periods/{period}/close", tag = "periods",
    params(
        ("period" = String, Path, description = "a month such as 2026-10"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters; for 24 hours the same request is answered the same, with `Idempotency-Replayed: true`"),
    ),
    responses(
        (status = 200, body = PeriodView, description = "it was closed before"),
        (status = 201, body = PeriodView, headers(("Location" = String))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "missing-scope, missing-accounts"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "period-not-over, idempotency-in-progress, idempotency-key-reused"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn close(
    permit: Permit<Admin>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    permit.sees_all()?;
    let month = month(&path)?;
    let bytes = body::limited(payload, BODY_BYTES_MAX).await?;
    without_fields(&bytes)?;
    let app = &app;
    idempotency::once(app, &permit.claims, &request, &bytes, async |_| {
        let closed = submit(app, month, &permit.claims.subject).await?;
        let status = if closed.news { StatusCode::CREATED } else { StatusCode::OK };
        Ok(Made::json(status, &shown(app, &closed)).at(PeriodView::path(&closed.closing)))
    })
    .await
}

async fn submit(app: &App, month: Month, subject: &str) -> Result<ClosedBooks, Problem> {
    let span = month.span(&app.timezone).map_err(|error| Problem::parameter(error.to_string()));
    let (from, to) = span?;
    let request = ClosePeriod {
        month,
        timezone: app.timezone.iana_name().unwrap_or("UTC").to_owned(),
        from,
        to,
        actor: Some(subject.to_owned()).filter(|subject| !subject.is_empty()),
        sealer: app.sealer.clone(),
    };
    let reply = app.handle.submit(Command::ClosePeriod(Box::new(request))).await?;
    let Reply::Closed(closed) = reply else { return Err(Problem::another_answer()) };
    Ok(*closed)
}

fn month(text: &str) -> Result<Month, Problem> {
    Month::parse(text).ok_or_else(|| Problem::parameter("a month such as 2026-10 is expected"))
}

/// A closing takes no body; an empty object passes for none.
fn without_fields(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.is_empty() {
        return Ok(());
    }
    if let Json::Object(fields) = body::json_object(bytes)?
        && let Some(unknown) = fields.keys().next()
    {
        let field = unknown.chars().take(64).collect();
        let detail = "a closing takes no fields".to_owned();
        return Err(Problem::fields(vec![FieldProblem { field, detail }]));
    }
    Ok(())
}

fn shown(app: &App, closed: &ClosedBooks) -> PeriodView {
    PeriodView::of(&closed.closing, closed.seal(&app.reader.published().database))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeriodsQuery {
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Closed months with their seals, the latest first.
#[utoipa::path(
    get, path = "/v1/periods", tag = "periods", params(PeriodsQuery),
    responses(
        (status = 200, body = Listed<PeriodView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    permit: Permit<BalancesRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    permit.sees_all()?;
    let query: PeriodsQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.as_deref().map(month_cursor).transpose()?;
    let mut found = app.read_many(move |reader| reader.closings(before, limit + 1)).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|closed| page::cursor(&[&closed.closing.month.to_string()]));
    let data = found.iter().map(|closed| shown(&app, closed)).collect();
    Ok(HttpResponse::Ok().json(Listed::<PeriodView> { data, next_cursor }))
}

fn month_cursor(cursor: &str) -> Result<Month, Problem> {
    let invalid = || Problem::parameter("the cursor is not one that this list gave");
    let parts = page::parts(cursor)?;
    parts.first().and_then(|part| Month::parse(part)).ok_or_else(invalid)
}

/// A closed month, its balances, and what was learnt about it since.
#[derive(Serialize, ToSchema)]
pub struct PeriodAnswer {
    #[serde(flatten)]
    pub period: PeriodView,
    /// At the month's end, by the time of recording: what statements of the month end at.
    pub balances: Vec<BalanceView>,
    /// When it was closed: at `head.seq`.
    pub balances_when_closed: Vec<BalanceView>,
    /// Entries recorded since that happened within the month, by the providers' dates.
    #[schema(inline)]
    pub corrections: CorrectionsView,
}

/// A closed month: its seal, its balances, and its corrections.
#[utoipa::path(
    get, path = "/v1/periods/{period}", tag = "periods",
    params(("period" = String, Path, description = "a month such as 2026-10")),
    responses(
        (status = 200, body = PeriodAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<BalancesRead>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    permit.sees_all()?;
    let month = month(&path)?;
    let head = app.reader.head();
    let read = app.read_many(move |reader| {
        let closed = reader.closed_books(month)?;
        Ok((closed, reader.corrections_summed(month, head)?))
    });
    let (closed, corrections) = read.await?;
    let closed = closed.ok_or_else(not_closed)?;
    Ok(HttpResponse::Ok().json(PeriodAnswer {
        period: shown(&app, &closed),
        balances: BalanceView::all(&closed.at_end),
        balances_when_closed: BalanceView::all(&closed.at_close),
        corrections: CorrectionsView::of(corrections.count, head, &corrections.sums),
    }))
}

fn not_closed() -> Problem {
    Problem::not_found("closed period; GET /v1/periods lists them")
}

/// The entries that correct a closed month, oldest first.
#[utoipa::path(
    get, path = "/v1/periods/{period}/corrections", tag = "periods",
    params(("period" = String, Path, description = "a month such as 2026-10"), PeriodsQuery),
    responses(
        (status = 200, body = Listed<EntryView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn corrections(
    permit: Permit<BalancesRead>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    permit.sees_all()?;
    let month = month(&path)?;
    let query: PeriodsQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let from = Seq(page::number(query.cursor.as_deref())?.unwrap_or_default());
    let read = app.read_many(move |reader| {
        let closed = reader.closed_books(month)?;
        Ok((closed, reader.corrections(month, from, limit + 1)?))
    });
    let (closed, mut found) = read.await?;
    closed.ok_or_else(not_closed)?;
    let next = found.get(limit).map(|stored| stored.entry.seq);
    found.truncate(limit);
    let next_cursor = next.map(|seq| page::cursor(&[&seq.to_string()]));
    let data = found.iter().map(|stored| EntryView::of(&stored.entry)).collect();
    Ok(HttpResponse::Ok().json(Listed::<EntryView> { data, next_cursor }))
}
