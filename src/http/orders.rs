//! Orders: registration, reading, lists, history, polling.

use super::app::App;
use super::body;
use super::guard::{OrdersRead, OrdersWrite, Permit};
use super::page::{self, Listed};
use super::problem::Problem;
use super::registration::{self, RegistrationBody};
use crate::domain::ids::{OrderKey, ProviderRef, Reference};
use crate::domain::order::{Order, Reconciliation};
use crate::domain::state::State;
use crate::domain::time::Time;
use crate::ingest::desk::PollError;
use crate::ingest::runner::Task;
use crate::ledger::command::{Command, RegistrationNews, Reply};
use crate::ledger::lists::OrderFilter;
use crate::ledger::reader::Reader;
use crate::views::entry::EntryView;
use crate::views::order::{OrderView, OrderWithMetadata};
use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use utoipa::IntoParams;

/// Registers what the shop expects of an order.
///
/// A registration is filled in, never changed: 201 the first time (also if a callback made the order), 200 when it adds
/// nothing or fills in what was absent, 409 when it would change something.
#[utoipa::path(
    put, path = "/v1/orders/{account}/{reference}", tag = "orders",
    params(("account" = String, Path), ("reference" = String, Path, description = "One percent-encoded path segment")),
    request_body = RegistrationBody,
    responses(
        (status = 201, body = OrderWithMetadata), (status = 200, body = OrderWithMetadata),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn put(
    permit: Permit<OrdersWrite>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (account, reference) = path.into_inner();
    let id = permit.account(&account)?;
    let account = app.accounts.get(&id).ok_or_else(|| Problem::not_found("account"))?;
    let reference = Reference::parse(&reference)?;
    let json = body::object(payload).await?;
    let registration = registration::read(&json, account.terms(), reference)?;
    let reply = app.handle.submit(Command::Register(registration)).await?;
    let Reply::Registered { order, news } = reply else {
        return Err(Problem::another_answer());
    };
    let status = match news {
        RegistrationNews::First => StatusCode::CREATED,
        RegistrationNews::Again => StatusCode::OK,
    };
    answer(&request, &app, &order, status).await
}

/// An order.
#[utoipa::path(
    get, path = "/v1/orders/{account}/{reference}", tag = "orders",
    params(("account" = String, Path), ("reference" = String, Path, description = "One percent-encoded path segment")),
    responses(
        (status = 200, body = OrderWithMetadata), (status = 304, description = "As If-None-Match has it"),
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
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let order = find(&permit, &app, &path).await?;
    answer(&request, &app, &order, StatusCode::OK).await
}

/// Its entries, oldest first.
#[utoipa::path(
    get, path = "/v1/orders/{account}/{reference}/history", tag = "orders",
    params(("account" = String, Path), ("reference" = String, Path, description = "One percent-encoded path segment")),
    responses(
        (status = 200, body = Listed<EntryView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn history(
    permit: Permit<OrdersRead>,
    app: Data<App>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let order = find(&permit, &app, &path).await?;
    let entries = app.read_many(move |reader| reader.history(&order)).await?;
    let data = entries.iter().map(|stored| EntryView::of(&stored.entry)).collect();
    Ok(HttpResponse::Ok().json(Listed::<EntryView> { data, next_cursor: None }))
}

/// Asks the provider now, and answers the order.
#[utoipa::path(
    post, path = "/v1/orders/{account}/{reference}/poll", tag = "orders",
    params(("account" = String, Path), ("reference" = String, Path, description = "One percent-encoded path segment")),
    responses(
        (status = 200, body = OrderWithMetadata),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "not-pollable: the provider has no query for what is known"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The provider failed; the order is unchanged"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn poll(
    permit: Permit<OrdersWrite>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let key = find(&permit, &app, &path).await?.key;
    let (answered, polled) = oneshot::channel();
    let gone = || Problem::unavailable("the daemon is shutting down", 5);
    app.tasks.send(Task::Poll { key: key.clone(), answer: answered }).map_err(|_| gone())?;
    polled.await.map_err(|_| gone())?.map_err(|error: PollError| Problem::from(error))?;
    let order = app.read(|reader| reader.order(&key)).await?.ok_or_else(|| Problem::not_found("order"))?;
    answer(&request, &app, &order, StatusCode::OK).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrdersQuery {
    account: Option<String>,
    provider: Option<String>,
    provider_ref: Option<String>,
    /// Orders whose reference begins with this.
    reference_prefix: Option<String>,
    state: Option<String>,
    /// unseen, reported, confirmed or discrepancy.
    reconciliation: Option<String>,
    /// Orders whose last entry was recorded at or after this time.
    updated_since: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Orders by account and reference.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", params(OrdersQuery),
    responses(
        (status = 200, body = Listed<OrderView>),
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
    let query: OrdersQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let after = query.cursor.as_deref().map(order_cursor).transpose()?;
    let filter = query.filter()?;
    let read = move |reader: &Reader| reader.orders(&filter, |id| permit.sees(id), after.as_ref(), limit);
    let page = app.read_many(read).await?;
    let next_cursor = page.next.map(|key| page::cursor(&[key.account.as_str(), key.reference.as_str()]));
    let data = page.found.iter().map(OrderView::of).collect();
    Ok(HttpResponse::Ok().json(Listed::<OrderView> { data, next_cursor }))
}

impl OrdersQuery {
    fn filter(self) -> Result<OrderFilter, Problem> {
        let unknown = |name: &str| Problem::parameter(format!("{name} has no such value"));
        let state = self.state.map(|text| State::parse(&text).ok_or_else(|| unknown("state"))).transpose()?;
        let reconciliation = self.reconciliation.map(|text| Reconciliation::parse(&text));
        let reconciliation =
            reconciliation.map(|it| it.ok_or_else(|| unknown("reconciliation"))).transpose()?;
        let since = self.updated_since.map(|text| Time::parse(&text).map_err(|_| unknown("updated_since")));
        Ok(OrderFilter {
            account: self.account.map(|text| account_filter(&text)).transpose()?,
            provider: self.provider,
            provider_ref: self.provider_ref.map(|text| ProviderRef::parse(&text)).transpose()?,
            reference_prefix: self.reference_prefix.unwrap_or_default(),
            state,
            reconciliation,
            updated_since: since.transpose()?,
        })
    }
}

/// An account that a list is narrowed to. One that the token does not see makes the list empty, not an error.
pub fn account_filter(text: &str) -> Result<crate::domain::ids::AccountId, Problem> {
    crate::domain::ids::AccountId::parse(text).map_err(Problem::from)
}

/// The order that a page ended at.
pub fn order_cursor(cursor: &str) -> Result<OrderKey, Problem> {
    let invalid = || Problem::parameter("the cursor is not one that this list gave");
    match page::parts(cursor)?.as_slice() {
        [account, reference] => {
            let reference = Reference::parse_stored(reference).map_err(|_| invalid())?;
            Ok(OrderKey::new(account_filter(account).map_err(|_| invalid())?, reference))
        }
        _ => Err(invalid()),
    }
}

async fn find<S>(permit: &Permit<S>, app: &App, path: &(String, String)) -> Result<Order, Problem> {
    let (account, reference) = path;
    let account = permit.account(account)?;
    let reference = Reference::parse_stored(reference)?;
    let key = OrderKey::new(account, reference);
    app.read(|reader| reader.order(&key)).await?.ok_or_else(|| Problem::not_found("order"))
}

/// An order with its metadata and ETag.
pub async fn answer(
    request: &HttpRequest,
    app: &App,
    order: &Order,
    status: StatusCode,
) -> Result<HttpResponse, Problem> {
    let metadata = app.read(|reader| reader.metadata(&order.key)).await?;
    let metadata = metadata.and_then(|json| RawValue::from_string(json).ok());
    let body = serde_json::to_string(&OrderWithMetadata { order: OrderView::of(order), metadata })
        .unwrap_or_default();
    let etag = format!("\"{:.32}\"", blake3::hash(body.as_bytes()).to_hex());
    let known =
        request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let matches =
        known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*");
    if matches && request.method() == actix_web::http::Method::GET {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, etag)).finish());
    }
    Ok(HttpResponse::build(status).insert_header((ETAG, etag)).content_type("application/json").body(body))
}
