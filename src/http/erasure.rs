//! DELETE /v1/receipts: what is kept of a person with an order is erased, and the ledger stays as it is.

use super::app::App;
use super::guard::{Admin, Permit};
use super::page;
use super::problem::Problem;
use crate::domain::ids::{OrderKey, ReceiptId, Reference};
use crate::ledger::command::{Command, Reply};
use crate::ledger::erasure::{Erased, Erasure};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ErasureQuery {
    account: Option<String>,
    /// The order's reference.
    order: Option<String>,
}

/// How much there was to erase. A repeat finds nothing more.
#[derive(Serialize, ToSchema)]
#[schema(as = Erased)]
pub struct ErasedView {
    pub account: String,
    pub order: String,
    /// Callbacks' bodies. A body that speaks of several orders is erased whole.
    pub bodies: usize,
    /// The order's metadata: 1 or 0.
    pub metadata: usize,
    /// Reasons that operators gave.
    pub reasons: usize,
    /// What webhooks' targets answered to this order's events.
    pub webhook_answers: usize,
    /// Answers kept for requests with an Idempotency-Key that name the order.
    pub kept_answers: usize,
}

/// Erases what is kept of a person with an order.
///
/// Callbacks' bodies, the order's metadata, operators' reasons, answers to webhooks. Entries, amounts and states hold
/// nothing of a person and stay; the hash chain too. With the answer it is unreadable on disk. What the provider sends
/// afterwards is kept again.
#[utoipa::path(
    delete, path = "/v1/receipts", tag = "admin", params(ErasureQuery),
    responses(
        (status = 200, body = ErasedView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such account"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Part of it may be erased; send it again"),
    )
)]
pub async fn delete(
    permit: Permit<Admin>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: ErasureQuery = page::query(&request)?;
    let (Some(account), Some(order)) = (query.account, query.order) else {
        return Err(Problem::parameter("account and order are required"));
    };
    let key = OrderKey::new(permit.account(&account)?, Reference::parse(&order)?);
    let erased = erase(&app, key.clone()).await?;
    tracing::info!(order = %key, bodies = erased.bodies, "what was kept of a person with an order is erased");
    Ok(HttpResponse::Ok().json(ErasedView {
        account: key.account.to_string(),
        order: key.reference.to_string(),
        bodies: erased.bodies,
        metadata: erased.metadata,
        reasons: erased.reasons,
        webhook_answers: erased.answers,
        kept_answers: erased.requests,
    }))
}

async fn erase(app: &App, key: OrderKey) -> Result<Erased, Problem> {
    let subject = app.read(|reader| reader.subject(key)).await?;
    let beside = subject.clone();
    let beside = app.read_many(move |reader| reader.personal_beside_bodies(&beside)).await?;
    let mut erased = submit(app, beside).await?;
    let mut after = ReceiptId(0);
    loop {
        let about = subject.clone();
        let looked = app.read_many(move |reader| reader.bodies_about(&about, after)).await?;
        let bodies = Erasure { bodies: looked.found, ..Erasure::default() };
        erased = erased.plus(submit(app, bodies).await?);
        match looked.next {
            Some(next) => after = next,
            None => return Ok(erased),
        }
    }
}

async fn submit(app: &App, erasure: Erasure) -> Result<Erased, Problem> {
    let mut erased = Erased::default();
    for slice in erasure.slices() {
        let Reply::Erased(more) = app.handle.submit_patiently(Command::Erase(Box::new(slice))).await? else {
            return Err(Problem::another_answer());
        };
        erased = erased.plus(more);
    }
    Ok(erased)
}
