//! A received callback as the API shows it: never its body.

use crate::domain::ids::EventId;
use crate::domain::receipt::{Attempt, Finding, Progress, Receipt};
use serde::Serialize;
use utoipa::ToSchema;

/// What a provider sent, and what became of it.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Callback)]
pub struct CallbackView {
    /// The receipt's id, as the provider was answered; null for a callback that was rejected at the door.
    pub id: Option<String>,
    pub account: String,
    pub received_at: String,
    /// The provider's own id of the event, where its callbacks carry one.
    pub event: Option<String>,
    pub answer: CallbackAnswer,
    /// applied, conflict, stale, duplicate, ignored, pending, failed or rejected.
    #[schema(example = "applied")]
    pub outcome: &'static str,
    /// Why it failed or was rejected.
    pub reason: Option<String>,
    /// Where it came from; known for rejected ones only, which are not stored.
    pub address: Option<String>,
    pub content_type: Option<String>,
    pub body_bytes: u32,
    /// When the next details call is due.
    pub next_at: Option<String>,
    /// How many details calls were made, also those no longer listed.
    pub attempts_count: u32,
    /// The details calls it caused; the first and the newest.
    pub attempts: Vec<AttemptView>,
    /// The orders it speaks of, and what came of each piece of evidence.
    pub evidence: Vec<CallbackEvidence>,
    /// The seqs of the entries that came of it.
    pub entries: Vec<u64>,
}

/// What we answered the provider.
#[derive(Serialize, ToSchema, Debug)]
pub struct CallbackAnswer {
    #[schema(example = 200)]
    pub status: u16,
}

/// One piece of evidence in a callback.
#[derive(Serialize, ToSchema, Debug)]
pub struct CallbackEvidence {
    /// The order's reference.
    pub order: String,
    /// applied, conflict, stale, duplicate or ignored.
    pub outcome: &'static str,
}

/// One call to the provider.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Attempt)]
pub struct AttemptView {
    pub at: String,
    pub duration_ms: u32,
    /// The HTTP status of its answer; null where none came.
    pub status: Option<u16>,
    pub error: Option<String>,
}

impl CallbackView {
    pub fn of(receipt: &Receipt, event: Option<&EventId>) -> CallbackView {
        let (reason, next_at) = match &receipt.progress {
            Progress::Failed { reason } => (Some(reason.clone()), None),
            Progress::Retrying { next_at } => (None, Some(next_at.to_string())),
            Progress::Pending | Progress::Done(_) => (None, None),
        };
        CallbackView {
            id: Some(receipt.id.to_string()),
            account: receipt.account.to_string(),
            received_at: receipt.received_at.to_string(),
            event: event.map(EventId::to_string),
            answer: CallbackAnswer { status: receipt.answer_status },
            outcome: receipt.progress.as_str(),
            reason,
            address: None,
            content_type: receipt.content_type.clone(),
            body_bytes: receipt.body_bytes,
            next_at,
            attempts_count: receipt.attempts_count,
            attempts: receipt.attempts.iter().map(AttemptView::of).collect(),
            evidence: receipt.evidence.iter().map(CallbackEvidence::of).collect(),
            entries: receipt.entries.iter().map(|seq| seq.0).collect(),
        }
    }
}

impl CallbackEvidence {
    fn of(finding: &Finding) -> CallbackEvidence {
        CallbackEvidence { order: finding.order.to_string(), outcome: finding.outcome.as_str() }
    }
}

impl AttemptView {
    fn of(attempt: &Attempt) -> AttemptView {
        AttemptView {
            at: attempt.at.to_string(),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error.clone(),
        }
    }
}
