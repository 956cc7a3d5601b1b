//! Open discrepancies, and an operator's word about one.

use super::app::App;
use super::body;
use super::guard::{OrdersRead, OrdersWrite, Permit};
use super::orders::{account_filter, answer};
use super::page::{self, Listed};
use super::problem::{FieldProblem, Problem};
use crate::domain::discrepancy::Cause;
use crate::domain::ids::{OrderKey, Seq};
use crate::domain::state::State;
use crate::ledger::command::{Command, Reply, Ruled, RulingRequest};
use crate::ledger::lists::Page;
use crate::views::order::{DiscrepancyView, OrderWithMetadata};
use crate::wire::json::Json;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

const REASON_CHARS_MAX: usize = 2000;
const ACTOR_CHARS_MAX: usize = 200;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiscrepanciesQuery {
    account: Option<String>,
    /// An order's reference.
    order: Option<String>,
    /// conflict, unknown_status, amount_unknown, amount_unreadable, underpaid, currency, refund_unclear,
    /// refund_exceeds_gross or refund_shrank.
    cause: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Open discrepancies, oldest first.
#[utoipa::path(
    get, path = "/v1/discrepancies", tag = "discrepancies", params(DiscrepanciesQuery),
    responses(
        (status = 200, body = Listed<DiscrepancyView>),
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
    let query: DiscrepanciesQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let account = query.account.as_deref().map(account_filter).transpose()?;
    let cause = query.cause.as_deref().map(Cause::parse);
    let cause =
        cause.map(|it| it.ok_or_else(|| Problem::parameter("cause has no such value"))).transpose()?;
    let after = Seq(page::number(query.cursor.as_deref())?.unwrap_or(0));
    let wants = move |key: &OrderKey| {
        permit.sees(&key.account)
            && account.as_ref().is_none_or(|account| *account == key.account)
            && query.order.as_ref().is_none_or(|order| order == key.reference.as_str())
    };
    let Page { found, next } = app.read_many(move |reader| reader.discrepancies(wants, after, limit)).await?;
    let mut data = Vec::with_capacity(found.len());
    for (id, key) in found {
        let order = app.read(|reader| reader.order(&key)).await?;
        let open = order.as_ref().and_then(|order| order.open.iter().find(|(_, open)| open.id == id));
        let wanted = open.filter(|(open_cause, _)| cause.is_none_or(|cause| cause == **open_cause));
        data.extend(wanted.map(|(cause, open)| DiscrepancyView::of(&key, *cause, open)));
    }
    let next_cursor = next.map(|seq| page::cursor(&[&seq.to_string()]));
    Ok(HttpResponse::Ok().json(Listed::<DiscrepancyView> { data, next_cursor }))
}

/// What an operator decides. (Documentation: [`resolve`] reads it.)
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveBody {
    /// Why; kept beside the ledger, its hash in the entry.
    pub reason: String,
    /// `keep`: things stay as they are, and this cause is silent until the provider says something else.
    /// `set_state`: the order is in `state`.
    #[schema(example = "keep")]
    pub action: String,
    /// Only with `set_state`.
    pub state: Option<String>,
}

/// Closes a discrepancy, and answers the order.
#[utoipa::path(
    post, path = "/v1/discrepancies/{id}/resolve", tag = "discrepancies", params(("id" = String, Path)),
    request_body = ResolveBody,
    responses(
        (status = 200, body = OrderWithMetadata),
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
pub async fn resolve(
    permit: Permit<OrdersWrite>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::not_found("open discrepancy");
    let discrepancy = path.parse().map(Seq).map_err(|_| missing())?;
    let json = body::object(payload).await?;
    let key = app.read(|reader| reader.discrepancy(discrepancy)).await?;
    let key = key.filter(|key| permit.sees(&key.account)).ok_or_else(missing)?;
    let (reason, action) = decision(&json)?;
    let subject = permit.claims.subject.chars().filter(|c| !c.is_control());
    let actor = Some(subject.take(ACTOR_CHARS_MAX).collect::<String>()).filter(|actor| !actor.is_empty());
    tracing::info!(order = %key, %discrepancy, ?action, "an operator resolves a discrepancy");
    let ruling = RulingRequest { discrepancy, actor, reason, action };
    let reply = app.handle.submit(Command::Rule(ruling)).await?;
    let Reply::Ruled(order) = reply else { return Err(Problem::another_answer()) };
    answer(&request, &app, &order, StatusCode::OK).await
}

fn decision(json: &Json) -> Result<(String, Ruled), Problem> {
    let text = |field: &str| json.get(field).and_then(Json::as_str);
    let mut problems = Vec::new();
    let mut wrong = |field: &str, detail: &str| {
        problems.push(FieldProblem { field: field.to_owned(), detail: detail.to_owned() });
    };
    if let Json::Object(fields) = json {
        for name in fields.keys().filter(|name| !["reason", "action", "state"].contains(&name.as_str())) {
            wrong(name, "not a field of a resolution");
        }
    }
    let reason = text("reason").map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_none_or(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        wrong("reason", "is required, text of at most 2000 characters");
    }
    let state = text("state").and_then(State::parse);
    let action = match (text("action"), state) {
        (Some("keep"), None) if json.get("state").is_none() => Some(Ruled::Keep),
        (Some("set_state"), Some(state)) => Some(Ruled::SetState(state)),
        (Some("keep"), _) => {
            wrong("state", "goes with set_state alone");
            None
        }
        (Some("set_state"), None) => {
            wrong("state", "is required with set_state, one of the seven states");
            None
        }
        (_, _) => {
            wrong("action", "is keep or set_state");
            None
        }
    };
    match (reason, action, problems.is_empty()) {
        (Some(reason), Some(action), true) => Ok((reason.to_owned(), action)),
        (_, _, _) => Err(Problem::fields(problems)),
    }
}
