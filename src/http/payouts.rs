//! Payouts: money that left the provider for the bank, recorded once under its reference.

use super::app::App;
use super::body;
use super::guard::{OrdersRead, OrdersWrite, Permit};
use super::idempotency::{self, Made};
use super::orders::{account_filter, order_cursor};
use super::page::{self, Listed};
use super::problem::Problem;
use super::registration::Fields;
use crate::domain::ids::Reference;
use crate::domain::money::Money;
use crate::domain::time::{OffsetTime, Time};
use crate::ledger::command::{Command, Reply};
use crate::ledger::payouts::PayoutRequest;
use crate::views::payout::PayoutView;
use crate::wire::json::Json;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

const KNOWN: [&str; 5] = ["account", "reference", "amount", "currency", "occurred_at"];
/// A bank's clock is believed so far ahead of ours.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Money that left for the bank. (Documentation: [`read`] reads it, so that numbers stay exact.)
#[derive(Serialize, ToSchema)]
#[schema(as = NewPayout)]
pub struct PayoutBody {
    #[schema(example = "loja-picpay")]
    pub account: String,
    /// The payout's own name; with the account it says which payout this is.
    pub reference: String,
    /// A positive decimal string in major units.
    #[schema(example = "1250.00")]
    pub amount: String,
    /// The account's currency.
    #[schema(example = "BRL")]
    pub currency: String,
    /// When the money left; if absent, now.
    #[schema(example = "2026-03-02T18:00:00-03:00")]
    pub occurred_at: Option<String>,
}

/// Records a payout.
///
/// It moves the amount from `assets:{account}:available` to `assets:bank:{account}` by an entry of kind `payout`, which
/// names no order. The same again adds nothing.
#[utoipa::path(
    post, path = "/v1/payouts", tag = "payouts",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters; for 24 hours the same request is answered the same, with `Idempotency-Replayed: true`")),
    request_body = PayoutBody,
    responses(
        (status = 201, body = PayoutView, description = "It was recorded"),
        (status = 200, body = PayoutView, description = "It was recorded before"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "payout-differs, idempotency-in-progress, idempotency-key-reused"),
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
    let bytes = body::read(payload, body::BODY_BYTES_MAX).await?;
    let payout = read(&app, &permit, &body::json_object(&bytes)?)?;
    let app = &app;
    idempotency::once(app, &permit.claims, &request, &bytes, async |_| {
        let reply = app.handle.submit(Command::RecordPayout(payout)).await?;
        let Reply::PaidOut(paid_out) = reply else { return Err(Problem::another_answer()) };
        let status = if paid_out.new { StatusCode::CREATED } else { StatusCode::OK };
        Ok(Made::json(status, &PayoutView::of(&paid_out.payout)))
    })
    .await
}

/// A payout out of a JSON object, at an account that is there and seen.
fn read(app: &App, permit: &Permit<OrdersWrite>, json: &Json) -> Result<PayoutRequest, Problem> {
    let mut fields = Fields::of(json, "payout", &KNOWN);
    let Some(name) = fields.required("account", |text| Ok(text.to_owned())) else {
        return Err(Problem::fields(fields.problems));
    };
    let account = permit.account(&name)?;
    let terms = app.accounts.get(&account).ok_or_else(|| Problem::not_found("account"))?.terms();
    let currency = terms.currency;
    let reference =
        fields.required("reference", |text| Reference::parse(text).map_err(|error| error.to_string()));
    let amount = fields.required("amount", |text| {
        let amount = Money::parse(text, currency).map_err(|error| error.to_string())?;
        if amount.is_zero() { Err("a payout's amount is more than zero".to_owned()) } else { Ok(amount) }
    });
    fields.required("currency", |text| {
        let own = text == currency.code();
        if own { Ok(()) } else { Err(format!("the account's currency is {currency}")) }
    });
    let now = app.clock.now();
    let occurred_at = fields.optional("occurred_at", |text| moment(text, now));
    match (reference, amount, fields.problems.is_empty()) {
        (Some(reference), Some(amount), true) => {
            Ok(PayoutRequest { account, reference, amount, currency, occurred_at })
        }
        (_, _, _) => Err(Problem::fields(fields.problems)),
    }
}

fn moment(text: &str, now: Time) -> Result<OffsetTime, String> {
    let told = OffsetTime::parse(text).map_err(|error| error.to_string())?;
    if told.at > now.plus(AHEAD_MAX) { Err("lies more than a day ahead".to_owned()) } else { Ok(told) }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PayoutsQuery {
    account: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Payouts, by account and reference.
#[utoipa::path(
    get, path = "/v1/payouts", tag = "payouts", params(PayoutsQuery),
    responses(
        (status = 200, body = Listed<PayoutView>),
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
    let query: PayoutsQuery = page::query(&request)?;
    let account = query.account.as_deref().map(account_filter).transpose()?;
    let limit = page::limit(query.limit)?;
    let after = query.cursor.as_deref().map(order_cursor).transpose()?;
    let after = after.map(|key| (key.account, key.reference));
    let accounts = permit.claims.accounts.clone();
    let page = app
        .read_many(move |reader| reader.payouts(account.as_ref(), |id| accounts.sees(id), after, limit))
        .await?;
    let next_cursor =
        page.next.map(|(account, reference)| page::cursor(&[account.as_str(), reference.as_str()]));
    let data = page.found.iter().map(PayoutView::of).collect();
    Ok(HttpResponse::Ok().json(Listed::<PayoutView> { data, next_cursor }))
}
