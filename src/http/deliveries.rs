//! Deliveries: every attempt, what its result means, and another one on request.

use super::app::App;
use super::guard::{Permit, WebhooksRead, WebhooksWrite};
use super::page::{self, Listed};
use super::problem::Problem;
use super::webhooks;
use crate::delivery::meaning::meaning;
use crate::domain::ids::Seq;
use crate::domain::time::Time;
use crate::domain::webhook::{Delivery, DeliveryId, Position};
use crate::ledger::deliveries::DeliveryFilter;
use crate::ledger::reader::Reader;
use crate::ledger::webhooks::WebhookCommand;
use crate::views::webhook::{DeliverySummary, DeliveryView};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

const STATUSES: [&str; 3] = ["pending", "delivered", "failed"];

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// pending, delivered or failed.
    status: Option<String>,
    /// An event's id, or a type or pattern such as `order.paid` or `order.*`.
    event: Option<String>,
    /// An order's reference.
    order: Option<String>,
    /// What happened at or after this time.
    since: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A webhook's deliveries, newest first, without their attempts. Those not tried yet are among them.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks", params(("id" = String, Path), DeliveriesQuery),
    responses(
        (status = 200, body = Listed<DeliverySummary>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    permit: Permit<WebhooksRead>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let query: DeliveriesQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.as_deref().map(position).transpose()?;
    if query.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        return Err(Problem::parameter(format!("status is one of {}", STATUSES.join(", "))));
    }
    let since = query.since.as_deref().map(Time::parse);
    let since =
        since.transpose().map_err(|_| Problem::parameter("since is a time such as 2026-03-02T18:00:00Z"))?;
    let webhook = webhooks::find(&permit, &app, &path).await?.webhook;
    let filter = DeliveryFilter { status: query.status, event: query.event, order: query.order, since };
    let read = move |reader: &Reader| {
        reader.deliveries(&webhook, &filter, |account| permit.sees(account), before, limit)
    };
    let page = app.read_many(read).await?;
    let next_cursor =
        page.next.map(|position| page::cursor(&[&position.seq.to_string(), &position.notice.to_string()]));
    let data = page.found.iter().map(DeliverySummary::of).collect();
    Ok(HttpResponse::Ok().json(Listed::<DeliverySummary> { data, next_cursor }))
}

/// One delivery with its attempts.
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 200, body = DeliveryView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<WebhooksRead>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let delivery = find(&permit, &app, &path).await?;
    answer(&app, Some(delivery), StatusCode::OK).await
}

/// Delivers an event once more, under the same id; its attempts are counted anew.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/resend", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 202, body = DeliveryView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Too many are under way"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resend(
    permit: Permit<WebhooksWrite>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let delivery = find(&permit, &app, &path).await?;
    let hooked = webhooks::submit(&app, WebhookCommand::Resend(delivery.id)).await?;
    answer(&app, hooked.delivery, StatusCode::ACCEPTED).await
}

/// A delivery with what was answered to it.
pub(super) async fn answer(
    app: &App,
    delivery: Option<Delivery>,
    status: StatusCode,
) -> Result<HttpResponse, Problem> {
    let delivery = delivery.ok_or_else(|| Problem::not_found("delivery"))?;
    let answers = app.read(|reader| reader.answers(&delivery)).await?;
    Ok(HttpResponse::build(status).json(DeliveryView::of(&delivery, &answers, meaning)))
}

async fn find<S>(permit: &Permit<S>, app: &App, id: &str) -> Result<Delivery, Problem> {
    let missing = || Problem::not_found("delivery");
    let id = DeliveryId::parse(id).ok_or_else(missing)?;
    webhooks::find(permit, app, &id.webhook.to_string())
        .await
        .map_err(|problem| if problem.status == 404 { missing() } else { problem })?;
    let delivery = app.read(|reader| reader.delivery(id)).await?;
    let visible = |delivery: &Delivery| delivery.account.as_ref().is_none_or(|account| permit.sees(account));
    delivery.filter(visible).ok_or_else(missing)
}

fn position(cursor: &str) -> Result<Position, Problem> {
    let parts = page::parts(cursor)?;
    let number = |at: usize| parts.get(at).and_then(|part| part.parse().ok());
    let position = number(0).zip(number(1)).map(|(seq, notice)| Position { seq: Seq(seq), notice });
    position.ok_or_else(|| Problem::parameter("the cursor is not one that this list gave"))
}
