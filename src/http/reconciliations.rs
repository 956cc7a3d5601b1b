//! Reconciliations: begun, watched, read page by page.

use super::app::{App, through};
use super::batch::BODY_BYTES_MAX;
use super::body;
use super::guard::{OrdersRead, OrdersWrite, Permit};
use super::idempotency::{self, Made, caller};
use super::orders::{account_filter, order_cursor};
use super::page::{self, Listed};
use super::problem::{FieldProblem, Problem};
use crate::domain::ids::{AccountId, Nonce, OrderKey, Reference, RunId};
use crate::domain::run::{Finding, Lane, Run, RunResult, Scope};
use crate::ledger::command::Command;
use crate::ledger::runs::{NewLane, StartRun};
use crate::views::run::{ResultView, RunView};
use crate::wire::json::Json;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::{IntoParams, ToSchema};

/// How many orders one request may name.
const ORDERS_MAX: usize = 10_000;

/// Which orders. (Documentation: [`named`] reads it.)
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReconciliationBody {
    /// Those named, at most 10,000; absent: all that the token sees and that are not refunded.
    pub orders: Option<Vec<OrderName>>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderName {
    pub account: String,
    pub reference: String,
}

/// A run that has begun.
#[derive(Serialize, ToSchema)]
pub struct Begun {
    pub id: String,
    /// running, or done where there is nothing to ask about.
    pub status: &'static str,
}

/// Asks the provider about every open order, or about every one that is named.
///
/// Answers at once; the run goes on by itself, also across restarts, and also where polls by the clock are off. Named
/// orders that are not there are listed as failed.
#[utoipa::path(
    post, path = "/v1/reconciliations", tag = "reconciliations",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters; for 24 hours the same request is answered the same, with `Idempotency-Replayed: true`")),
    request_body = ReconciliationBody,
    responses(
        (status = 202, body = Begun, headers(("Location" = String))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "idempotency-in-progress, idempotency-key-reused"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn post(
    permit: Permit<OrdersWrite>,
    request: HttpRequest,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let _turn = app.turns.take().await?;
    let bytes = body::limited(payload, BODY_BYTES_MAX).await?;
    let named = named(&bytes)?;
    let app = &app;
    idempotency::once(app, &permit.claims, &request, &bytes, async |nonce| {
        let id = begin(app, &permit, nonce, named).await?;
        let run = app.read(|reader| reader.run(id)).await?;
        let ended = run.is_some_and(|run| run.finished_at.is_some());
        let begun = Begun { id: id.to_string(), status: if ended { "done" } else { "running" } };
        Ok(Made::json(StatusCode::ACCEPTED, &begun).at(RunView::path(id)))
    })
    .await
}

/// The orders a body names, each once; `None`: all open ones.
fn named(bytes: &[u8]) -> Result<Option<BTreeSet<OrderKey>>, Problem> {
    let json = if bytes.is_empty() { Json::Object(BTreeMap::new()) } else { body::json_object(bytes)? };
    let wrong = |field: String, detail: &str| {
        Problem::fields(vec![FieldProblem { field, detail: detail.to_owned() }])
    };
    if let Json::Object(fields) = &json
        && let Some(unknown) = fields.keys().find(|name| *name != "orders")
    {
        return Err(wrong(unknown.chars().take(64).collect(), "not a field of a reconciliation"));
    }
    let Some(orders) = json.get("orders") else { return Ok(None) };
    if !matches!(orders, Json::Array(items) if items.len() <= ORDERS_MAX) {
        return Err(wrong("orders".to_owned(), "is a list of at most 10000 orders"));
    }
    let mut keys = BTreeSet::new();
    for (index, item) in orders.items().iter().enumerate() {
        let text = |field: &str| item.get(field).and_then(Json::as_str);
        let account = text("account").and_then(|text| AccountId::parse(text).ok());
        let reference = text("reference").and_then(|text| Reference::parse_stored(text).ok());
        let (Some(account), Some(reference)) = (account, reference) else {
            return Err(wrong(format!("orders[{index}]"), "is an object with account and reference"));
        };
        keys.insert(OrderKey::new(account, reference));
    }
    Ok(Some(keys))
}

/// Begins a run, and wakes whoever drives it.
async fn begin(
    app: &App,
    permit: &Permit<OrdersWrite>,
    nonce: Nonce,
    named: Option<BTreeSet<OrderKey>>,
) -> Result<RunId, Problem> {
    let id = RunId(nonce.0);
    let accounts = permit.claims.accounts.clone();
    let counts = match &named {
        Some(keys) => keys.iter().fold(BTreeMap::new(), |mut counts, key| {
            *counts.entry(key.account.clone()).or_insert(0) += 1;
            counts
        }),
        None => app.read_many(move |reader| reader.open_orders(|account| accounts.sees(account))).await?,
    };
    let lane = |(account, total): (AccountId, u64)| {
        let unseen = !permit.sees(&account);
        NewLane { account, total, unseen }
    };
    let start = StartRun {
        id,
        owner: caller(&permit.claims),
        scope: if named.is_some() { Scope::Named } else { Scope::Open },
        lanes: counts.into_iter().map(lane).collect(),
        orders: named.unwrap_or_default().into_iter().collect(),
    };
    let (handle, runs) = (app.handle.clone(), app.runs.clone());
    let carried = through(async move {
        handle.submit(Command::StartRun(start)).await?;
        runs.send(id).map_err(|_| Problem::unavailable("the daemon is shutting down", 5))
    });
    carried.await??;
    Ok(id)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Runs, newest first.
#[utoipa::path(
    get, path = "/v1/reconciliations", tag = "reconciliations", params(RunsQuery),
    responses(
        (status = 200, body = Listed<RunView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    permit: Permit<OrdersRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: RunsQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.as_deref().map(run_cursor).transpose()?;
    let sight = Sight::of(&permit);
    let narrow = sight.clone();
    let wants = move |run: &Run, lanes: &[Lane]| narrow.sees_run(run, lanes);
    let page = app.read_many(move |reader| reader.runs(wants, before, limit)).await?;
    let data = page.found.iter().map(|(run, lanes)| RunView::of(run, &sight.lanes(run, lanes))).collect();
    let next_cursor = page.next.map(|id| page::cursor(&[&id.to_string()]));
    Ok(HttpResponse::Ok().json(Listed::<RunView> { data, next_cursor }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ResultsQuery {
    account: Option<String>,
    /// matched, corrected, failed, unreachable or differing.
    result: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A run and a page of its results.
#[derive(Serialize, ToSchema)]
pub struct RunWithResults {
    #[serde(flatten)]
    pub run: RunView,
    /// By account and reference; complete once the run is done.
    pub results: Vec<ResultView>,
    /// Pass it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}

/// A run: its progress, what it came to, and its results page by page.
#[utoipa::path(
    get, path = "/v1/reconciliations/{id}", tag = "reconciliations",
    params(("id" = String, Path), ResultsQuery),
    responses(
        (status = 200, body = RunWithResults),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<OrdersRead>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let query: ResultsQuery = page::query(&request)?;
    let missing = || Problem::not_found("reconciliation");
    let id = RunId::parse(&path).ok_or_else(missing)?;
    let found = app.read(|reader| Ok((reader.run(id)?, reader.lanes(id)?))).await?;
    let (Some(run), lanes) = found else { return Err(missing()) };
    let sight = Sight::of(&permit);
    if !sight.sees_run(&run, &lanes) {
        return Err(missing());
    }
    let seen = sight.lanes(&run, &lanes);
    let accounts: BTreeSet<AccountId> = seen.iter().map(|lane| lane.account.clone()).collect();
    let wants = query.wants(accounts)?;
    let limit = page::limit(query.limit)?;
    let after = query.cursor.as_deref().map(order_cursor).transpose()?;
    let page = app.read_many(move |reader| reader.results(id, wants, after.as_ref(), limit)).await?;
    let next_cursor = page.next.map(|key| page::cursor(&[key.account.as_str(), key.reference.as_str()]));
    let results = page.found.iter().map(|(order, result)| ResultView::of(order, result)).collect();
    Ok(HttpResponse::Ok().json(RunWithResults { run: RunView::of(&run, &seen), results, next_cursor }))
}

impl ResultsQuery {
    fn wants(
        &self,
        accounts: BTreeSet<AccountId>,
    ) -> Result<impl Fn(&OrderKey, &RunResult) -> bool + Send + 'static, Problem> {
        let account = self.account.as_deref().map(account_filter).transpose()?;
        let unknown = || Problem::parameter("result has no such value");
        let finding = self.result.as_deref().map(|text| Finding::parse(text).ok_or_else(unknown));
        let finding = finding.transpose()?;
        Ok(move |order: &OrderKey, result: &RunResult| {
            accounts.contains(&order.account)
                && account.as_ref().is_none_or(|account| *account == order.account)
                && finding.is_none_or(|finding| finding == result.finding)
        })
    }
}

/// What a token may see of a run: the lanes of its accounts; and where it began the run, also those of the accounts that
/// it named without seeing them.
#[derive(Clone)]
struct Sight {
    accounts: crate::auth::Accounts,
    caller: [u8; 32],
}

impl Sight {
    fn of<S>(permit: &Permit<S>) -> Sight {
        Sight { accounts: permit.claims.accounts.clone(), caller: caller(&permit.claims) }
    }

    fn lanes<'a>(&self, run: &Run, lanes: &'a [Lane]) -> Vec<&'a Lane> {
        let own = run.owner == self.caller;
        let seen = |lane: &&Lane| if lane.unseen { own } else { self.accounts.sees(&lane.account) };
        lanes.iter().filter(seen).collect()
    }

    fn sees_run(&self, run: &Run, lanes: &[Lane]) -> bool {
        run.owner == self.caller || !self.lanes(run, lanes).is_empty()
    }
}

fn run_cursor(cursor: &str) -> Result<RunId, Problem> {
    let invalid = || Problem::parameter("the cursor is not one that this list gave");
    let parts = page::parts(cursor)?;
    parts.first().and_then(|part| RunId::parse(part)).ok_or_else(invalid)
}
