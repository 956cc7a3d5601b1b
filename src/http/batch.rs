//! Many registrations in one request: each line for itself, an answer per line, in their order.

use super::app::App;
use super::body;
use super::guard::{OrdersWrite, Permit};
use super::idempotency::{self, Made};
use super::problem::{FieldProblem, Problem};
use super::registration::{self, RegistrationBody};
use crate::domain::ids::{AccountId, Reference};
use crate::domain::order::Order;
use crate::ingest::accounts::Accounts;
use crate::ledger::command::{Command, Registration, RegistrationNews, Reply, SubmitError};
use crate::wire::json::Json;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

/// How many orders one request may name.
pub const LINES_MAX: usize = 10_000;
/// Room for that many, each with some metadata.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// No line of any use is longer: metadata is at most 4 KiB.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// So many lines of a request wait for the ledger at the same time: a group of the writer's.
const LINES_AT_ONCE: usize = 64;
/// So many requests are in memory at the same time; others wait before their body is read.
const REQUESTS_AT_ONCE: usize = 4;
const NDJSON: &str = "application/x-ndjson";

/// Whose turn it is.
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Turns {
        Turns(Semaphore::new(REQUESTS_AT_ONCE))
    }
}

impl Turns {
    /// Comes back when there is room for one more large request; it is held until the answer.
    pub async fn take(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        self.0.acquire().await.map_err(|_| Problem::unavailable("the daemon is shutting down", 5))
    }
}

/// Up to 10,000 registrations, each with its account and reference. (Documentation: the lines are read one by one.)
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    pub orders: Vec<RegistrationBody>,
}

/// An answer per line, in their order.
#[derive(Serialize, ToSchema)]
pub struct BatchAnswer {
    pub data: Vec<LineAnswer>,
}

/// What became of one line.
#[derive(Serialize, ToSchema)]
pub struct LineAnswer {
    /// Counted from 0.
    pub index: usize,
    /// As the line has it.
    pub account: Option<String>,
    pub reference: Option<String>,
    /// What `PUT` would have answered: 201 registered, 200 nothing new or something filled in, 409 it would change
    /// something, 422 a field is wrong, 404 no such account.
    #[schema(example = 201)]
    pub status: u16,
    pub order: Option<LineOrder>,
    pub error: Option<Problem>,
}

/// Where a registered order stands.
#[derive(Serialize, ToSchema)]
pub struct LineOrder {
    #[schema(example = "created")]
    pub state: &'static str,
    /// The ledger seq of its last entry.
    pub seq: u64,
}

/// Registers up to 10,000 orders.
///
/// Each line is a registration of its own, with `account` and `reference`: what is wrong with one does not touch the
/// others, and sending all of them again is harmless. The body is `{"orders": [...]}`, or a JSON object per line as
/// `application/x-ndjson`; at most 8 MiB.
#[utoipa::path(
    post, path = "/v1/orders:batch", tag = "orders",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters; for 24 hours the same request is answered the same, with `Idempotency-Replayed: true`")),
    request_body = BatchBody,
    responses(
        (status = 200, body = BatchAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "idempotency-in-progress, idempotency-key-reused"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "More than 10,000 lines, or more than 8 MiB"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Lines before it may have been registered; send it again"),
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
    let lines = lines(&request, &bytes)?;
    let app = &app;
    idempotency::once(app, &permit.claims, &request, &bytes, async |_| {
        let answers = stream::iter(lines.iter().enumerate())
            .map(|(index, text)| register(app, &permit, index, text))
            .buffered(LINES_AT_ONCE);
        let data = answers.try_collect().await?;
        Ok(Made::json(StatusCode::OK, &BatchAnswer { data }))
    })
    .await
}

/// A registration out of one line, for an account that is there and seen.
pub fn registration(
    json: &Json,
    accounts: &Accounts,
    sees: impl Fn(&AccountId) -> bool,
) -> Result<Registration, Problem> {
    let named = |field: &str| json.get(field).and_then(Json::as_str);
    let missing = ["account", "reference"].into_iter().filter(|field| named(field).is_none());
    let missing: Vec<_> = missing.map(|field| problem(field, "is required, text in quotes")).collect();
    let (Some(account), Some(reference), true) = (named("account"), named("reference"), json.is_object())
    else {
        return Err(Problem::fields(missing));
    };
    let account = AccountId::parse(account).ok().filter(sees).and_then(|id| accounts.get(&id));
    let account = account.ok_or_else(|| Problem::not_found("account"))?;
    let reference = Reference::parse(reference)
        .map_err(|error| Problem::fields(vec![problem("reference", &error.to_string())]))?;
    registration::read(json, account.terms(), reference)
}

fn problem(field: &str, detail: &str) -> FieldProblem {
    FieldProblem { field: field.to_owned(), detail: detail.to_owned() }
}

/// Registers one line. An error is trouble of the ledger's own, which ends the request.
async fn register(
    app: &App,
    permit: &Permit<OrdersWrite>,
    index: usize,
    text: &str,
) -> Result<LineAnswer, Problem> {
    let json = parse(text);
    let named = |field: &str| json.as_ref().ok()?.get(field)?.as_str().map(str::to_owned);
    let line = LineAnswer {
        index,
        account: named("account"),
        reference: named("reference"),
        status: 0,
        order: None,
        error: None,
    };
    let read = |json: Json| registration(&json, &app.accounts, |account| permit.sees(account));
    let registration = match json.and_then(read) {
        Ok(registration) => registration,
        Err(problem) => return Ok(line.refused(problem)),
    };
    match app.handle.submit_patiently(Command::Register(registration)).await {
        Ok(Reply::Registered { order, news }) => Ok(line.registered(&order, news)),
        Ok(_) => Err(Problem::another_answer()),
        Err(SubmitError::Refused(refusal)) => Ok(line.refused(refusal.into())),
        Err(error @ (SubmitError::Busy | SubmitError::Stopped(_))) => Err(error.into()),
    }
}

fn parse(text: &str) -> Result<Json, Problem> {
    let wrong = |detail: String| Problem::new(422, "invalid-line", "Unreadable line", detail);
    if text.len() > LINE_BYTES_MAX {
        return Err(wrong(format!("a line is at most {LINE_BYTES_MAX} bytes")));
    }
    let json = Json::parse(text.as_bytes());
    let json = json.map_err(|error| wrong(format!("a JSON object is expected; {error}")))?;
    if json.is_object() { Ok(json) } else { Err(wrong("a JSON object is expected".to_owned())) }
}

impl LineAnswer {
    fn registered(self, order: &Order, news: RegistrationNews) -> LineAnswer {
        let status = match news {
            RegistrationNews::First => 201,
            RegistrationNews::Again => 200,
        };
        let order = Some(LineOrder { state: order.state().as_str(), seq: order.seq.0 });
        LineAnswer { status, order, ..self }
    }

    fn refused(self, problem: Problem) -> LineAnswer {
        LineAnswer { status: problem.status, error: Some(problem), ..self }
    }
}

/// The request's lines as text, none of them parsed yet.
fn lines<'a>(request: &HttpRequest, bytes: &'a [u8]) -> Result<Vec<&'a str>, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::body("the body is not UTF-8"))?;
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lines: Vec<&str> = if kind.trim().to_ascii_lowercase().starts_with(NDJSON) {
        text.lines().filter(|line| !line.trim().is_empty()).take(LINES_MAX + 1).collect()
    } else {
        let batch: Batch<'a> = serde_json::from_str(text).map_err(|error| {
            Problem::body(format!("an object {{\"orders\": [...]}} is expected, or {NDJSON}; {error}"))
        })?;
        batch.orders.0
    };
    if lines.len() > LINES_MAX {
        let detail = format!("a request names at most {LINES_MAX} orders; send the rest in another one");
        return Err(Problem::new(413, "too-many-lines", "Too many lines", detail));
    }
    Ok(lines)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    orders: Lines<'a>,
}

/// The items of an array as text, one more than allowed at most: a long array must not take memory.
pub struct Lines<'a>(pub Vec<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Lines<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Lines<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of orders")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut lines = Vec::new();
                while lines.len() <= LINES_MAX {
                    let Some(item) = items.next_element::<&'de RawValue>()? else { return Ok(Lines(lines)) };
                    lines.push(item.get());
                }
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Lines(lines))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}
