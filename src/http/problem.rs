//! Errors as `application/problem+json` (RFC 9457). Every room's error is mapped to a status and a slug here.

use crate::auth::Denied;
use crate::domain::ids::IdError;
use crate::export::ExportError;
use crate::ingest::desk::PollError;
use crate::ingest::receive::Rejection;
use crate::ledger::command::{Refusal, SubmitError};
use crate::ledger::range::RangeError;
use crate::ledger::seal::SealError;
use crate::store::meta::StoreError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;
use utoipa::ToSchema;

/// What went wrong, in the form of RFC 9457.
#[derive(Serialize, ToSchema, Debug)]
pub struct Problem {
    /// `urn:razao:problem:` and a slug that programs can compare.
    #[serde(rename = "type")]
    #[schema(example = "urn:razao:problem:not-found")]
    pub kind: String,
    pub title: &'static str,
    #[schema(example = 404)]
    pub status: u16,
    /// What happened here, and what to do.
    pub detail: String,
    /// What is wrong with which field of a request's body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// The HTTP status a provider answered, where one is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_status: Option<Option<u16>>,
    #[serde(skip)]
    retry_after: Option<u32>,
    #[serde(skip)]
    challenge: bool,
}

#[derive(Serialize, ToSchema, Debug, Clone)]
pub struct FieldProblem {
    pub field: String,
    pub detail: String,
}

impl Problem {
    pub fn new(status: u16, slug: &str, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:razao:problem:{slug}"),
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
            provider_status: None,
            retry_after: None,
            challenge: false,
        }
    }

    pub fn not_found(what: &str) -> Problem {
        Problem::new(404, "not-found", "Not found", format!("there is no such {what}"))
    }

    pub fn parameter(detail: impl Into<String>) -> Problem {
        Problem::new(400, "invalid-parameter", "Invalid parameter", detail)
    }

    pub fn body(detail: impl Into<String>) -> Problem {
        Problem::new(400, "invalid-body", "Unreadable body", detail)
    }

    pub fn fields(errors: Vec<FieldProblem>) -> Problem {
        let shown =
            errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect::<Vec<_>>();
        let problem = Problem::new(422, "invalid-fields", "Invalid fields", shown.join("; "));
        Problem { errors, ..problem }
    }

    pub fn too_large(bytes_max: usize) -> Problem {
        Problem::new(413, "too-large", "Too large", format!("the body is larger than {bytes_max} bytes"))
    }

    pub fn unavailable(detail: impl Into<String>, retry_after: u32) -> Problem {
        let problem = Problem::new(503, "unavailable", "Unavailable", detail);
        Problem { retry_after: Some(retry_after), ..problem }
    }

    /// A command was answered with another command's reply: it may or may not have been carried out.
    pub fn another_answer() -> Problem {
        Problem::unavailable("the ledger answered something else", 1)
    }

    /// Too many of something; come again after a while.
    pub fn too_many(detail: &str, wait: std::time::Duration) -> Problem {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let problem = Problem::new(429, "too-many-requests", "Too many requests", detail);
        Problem { retry_after: Some(seconds), ..problem }
    }

    /// A missing or unbelieved token.
    pub fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem { challenge: true, ..Problem::new(401, "unauthorized", "Unauthorized", detail) }
    }

    fn internal(detail: impl fmt::Display) -> Problem {
        tracing::error!(%detail, "a request failed");
        Problem::new(500, "internal", "Internal error", "the ledger could not be read; see the daemon's log")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if self.challenge {
            response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"razao\""));
        }
        response.body(serde_json::to_string(self).unwrap_or_default())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Engine(error) => Problem::unavailable(error.to_string(), 30),
            StoreError::Codec(error) => Problem::internal(error),
        }
    }
}

impl From<RangeError> for Problem {
    fn from(error: RangeError) -> Problem {
        match error {
            RangeError::Store(error) => error.into(),
            RangeError::NotAnEdge | RangeError::Turned | RangeError::Beyond(_) => {
                Problem::parameter(error.to_string())
            }
        }
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Problem {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::Gone(_) | ExportError::NoJson { .. } => Problem::internal(error),
        }
    }
}

impl From<actix_web::error::BlockingError> for Problem {
    fn from(error: actix_web::error::BlockingError) -> Problem {
        Problem::internal(error)
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Problem {
        Problem::internal(error)
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Problem {
        Problem::parameter(error.to_string())
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        Problem::unauthorized(denied.to_string())
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Problem {
        let detail = rejection.to_string();
        match rejection {
            Rejection::UnknownAccount | Rejection::WrongKey => {
                Problem::new(404, "not-found", "Not found", detail)
            }
            Rejection::WrongCredential => Problem::new(401, "wrong-credential", "Wrong credential", detail),
            Rejection::AddressNotAllowed => Problem::new(403, "address-not-allowed", "Forbidden", detail),
            Rejection::TooLarge => Problem::new(413, "too-large", "Too large", detail),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Differs { .. } => {
                Problem::new(409, "registered-differently", "Registered differently", detail)
            }
            Refusal::ProviderRefTaken(_) => {
                Problem::new(409, "provider-ref-taken", "provider_ref taken", detail)
            }
            Refusal::PayoutDiffers { .. } => {
                Problem::new(409, "payout-differs", "Recorded differently", detail)
            }
            Refusal::NoSuchDiscrepancy
            | Refusal::NoSuchReceipt
            | Refusal::NoSuchSettlement
            | Refusal::NoSuchWebhook
            | Refusal::NoSuchDelivery => Problem::new(404, "not-found", "Not found", detail),
            Refusal::WebhookDisabled => Problem::new(409, "webhook-disabled", "Webhook disabled", detail),
            Refusal::CursorAhead(_) => Problem::new(409, "cursor-ahead", "Cursor ahead", detail),
            Refusal::TooMany { .. } => Problem::new(409, "too-many", "Too many", detail),
            Refusal::PeriodNotOver { .. } => Problem::new(409, "period-not-over", "Period not over", detail),
            Refusal::BodyErased => Problem::new(409, "body-erased", "Body erased", detail),
            Refusal::NoWay(_) => Problem::new(409, "no-legal-way", "No legal way", detail),
            Refusal::KeyReused => {
                Problem::new(409, "idempotency-key-reused", "Idempotency-Key reused", detail)
            }
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Problem {
        match error {
            SubmitError::Busy => Problem::unavailable("the ledger is busy; try again in a moment", 1),
            SubmitError::Stopped(why) => {
                Problem::unavailable(format!("the ledger takes no writes: {why}"), 30)
            }
            SubmitError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<PollError> for Problem {
    fn from(error: PollError) -> Problem {
        let detail = error.to_string();
        match error {
            PollError::NoSuchOrder => Problem::new(404, "not-found", "Not found", detail),
            PollError::NotPollable => Problem::new(409, "not-pollable", "Not pollable", detail),
            PollError::Provider(failure) => {
                let problem = Problem::new(502, "provider-failed", "The provider failed", detail);
                Problem { provider_status: Some(failure.status()), ..problem }
            }
            PollError::Ledger(error) => error.into(),
            PollError::Store(error) => error.into(),
        }
    }
}
