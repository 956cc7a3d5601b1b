//! Webhooks and deliveries as the API shows them: never a secret but the one just made.

use crate::domain::ids::Seq;
use crate::domain::receipt::Private;
use crate::domain::webhook::{Attempt, Course, Delivery, Keyring, Miss, Reach, Stage, Trouble, Webhook};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A subscription to events.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Webhook)]
pub struct WebhookView {
    pub id: String,
    /// Where events are posted.
    pub target: String,
    pub description: Option<String>,
    /// Types of events, `order.*` or `*`.
    pub events: Vec<String>,
    /// The accounts it is told of; `["*"]` is all.
    pub accounts: Vec<String>,
    /// Further headers of each request.
    pub headers: BTreeMap<String, String>,
    /// Whether an Authorization header is sent; its value is never shown.
    pub has_authorization: bool,
    /// enabled, failing (the last attempt failed) or disabled.
    #[schema(example = "enabled")]
    pub status: &'static str,
    /// Why it is failing or disabled, and since when.
    pub reason: Option<String>,
    pub since: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// The seq up to which all is delivered or given up.
    pub cursor: u64,
    /// The seq of the first entry it was told of.
    pub from: u64,
    pub deliveries: WebhookCounts,
    /// Stretches of the ledger that are being delivered again.
    pub replays: Vec<ReplayView>,
    /// Until when the secret before the last rotation signs too.
    pub previous_secret_until: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// How many deliveries are where.
#[derive(Serialize, ToSchema, Debug)]
pub struct WebhookCounts {
    /// Not tried yet, due or in flight, of the entries that were looked at.
    pub pending: u64,
    /// Waiting for the next attempt.
    pub retrying: u64,
    /// Ever confirmed, resends and replays included.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
}

/// A stretch of the ledger that is delivered again; both ends inclusive.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Replay)]
pub struct ReplayView {
    pub from: u64,
    pub to: u64,
    pub asked_at: String,
}

/// A subscription with its signing secret, which is shown this once.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = WebhookWithSecret)]
pub struct WebhookWithSecret {
    #[serde(flatten)]
    pub webhook: WebhookView,
    /// `whsec_` and base64, as the libraries of Standard Webhooks take it.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
}

/// How far a webhook is at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub cursor: Seq,
    pub pending: u64,
    pub retrying: u64,
}

/// One event's way to one webhook.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = DeliverySummary)]
pub struct DeliverySummary {
    pub id: String,
    pub webhook: String,
    /// The event's id, which is also the request's `webhook-id`.
    pub event: String,
    #[serde(rename = "type")]
    #[schema(example = "order.paid")]
    pub kind: String,
    /// Null for events of no entry.
    pub seq: Option<u64>,
    pub account: Option<String>,
    /// The order's reference.
    pub order: Option<String>,
    /// pending, delivered or failed.
    #[schema(example = "delivered")]
    pub status: &'static str,
    /// Of a pending one, when the next attempt is due.
    pub next_at: Option<String>,
    /// How many attempts there were, also those no longer listed.
    pub attempts_count: u32,
    pub updated_at: String,
}

/// One event's way to one webhook, with its attempts.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    #[serde(flatten)]
    pub summary: DeliverySummary,
    /// The first and the newest.
    pub attempts: Vec<DeliveryAttempt>,
}

/// One request to the target.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = DeliveryAttempt)]
pub struct DeliveryAttempt {
    pub at: String,
    pub duration_ms: u32,
    /// The HTTP status; null where no answer came.
    pub status_code: Option<u16>,
    /// dns, forbidden_target, refused, unreachable, tls, timeout, reset, unreadable, redirect, 4xx, 5xx,
    /// unexpected_status or unmakeable; null where it was confirmed.
    pub error: Option<&'static str>,
    /// The first 1 KiB of the answer's body.
    pub answer: Option<String>,
    /// What that means, and what to do.
    pub meaning: &'static str,
}

impl WebhookView {
    pub fn of(webhook: &Webhook, course: &Course, keyring: &Keyring, now: Now) -> WebhookView {
        let off = course.off.as_ref().map(|off| (off.why.clone(), off.since));
        let trouble = course.trouble.as_ref().map(|trouble| (failing(trouble), trouble.since));
        let (reason, since) = off.or(trouble).unzip();
        WebhookView {
            id: webhook.id.to_string(),
            target: webhook.target.clone(),
            description: webhook.description.clone(),
            events: webhook.events.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            accounts: match &webhook.accounts {
                Reach::All => vec!["*".to_owned()],
                Reach::Only(accounts) => accounts.iter().map(ToString::to_string).collect(),
            },
            headers: webhook.headers.iter().cloned().collect(),
            has_authorization: keyring.authorization.is_some(),
            status: course.status(),
            reason,
            since: since.map(|since| since.to_string()),
            failures: course.trouble.as_ref().map_or(0, |trouble| trouble.failures),
            cursor: now.cursor.0,
            from: webhook.from.0,
            deliveries: WebhookCounts {
                pending: now.pending,
                retrying: now.retrying,
                delivered: course.delivered_count,
                failed: course.failed_count,
            },
            replays: course.replays.iter().map(ReplayView::of).collect(),
            previous_secret_until: keyring.previous.as_ref().map(|(_, until)| until.to_string()),
            created_at: webhook.created_at.to_string(),
            updated_at: webhook.updated_at.to_string(),
        }
    }
}

/// Why the last attempt failed, in a few words.
fn failing(trouble: &Trouble) -> String {
    match (trouble.status, trouble.miss) {
        (Some(status), _) => format!("the target answered {status}"),
        (None, Some(miss)) => format!("no answer: {}", miss.as_str()),
        (None, None) => "attempts fail".to_owned(),
    }
}

impl ReplayView {
    fn of(replay: &crate::domain::webhook::Replay) -> ReplayView {
        let asked_at = replay.asked_at.to_string();
        ReplayView { from: replay.from.0, to: replay.to.0, asked_at }
    }
}

impl DeliverySummary {
    pub fn of(delivery: &Delivery) -> DeliverySummary {
        let position = delivery.id.position;
        DeliverySummary {
            id: delivery.id.to_string(),
            webhook: delivery.id.webhook.to_string(),
            event: delivery.event.clone(),
            kind: delivery.kind.clone(),
            seq: (position.notice == 0).then_some(position.seq.0),
            account: delivery.account.as_ref().map(ToString::to_string),
            order: delivery.order.as_ref().map(ToString::to_string),
            status: delivery.stage.as_str(),
            next_at: match delivery.stage {
                Stage::Pending { next_at } => Some(next_at.to_string()),
                Stage::Delivered { .. } | Stage::Failed { .. } => None,
            },
            attempts_count: delivery.attempts_count,
            updated_at: delivery.updated_at.to_string(),
        }
    }
}

impl DeliveryView {
    /// `answers` are those to the attempts, in their order; `meaning` says what a status or a miss means.
    pub fn of(
        delivery: &Delivery,
        answers: &[Option<Private>],
        meaning: impl Fn(Option<u16>, Option<Miss>) -> &'static str,
    ) -> DeliveryView {
        let shown = |(attempt, answer): (&Attempt, &Option<Private>)| DeliveryAttempt {
            at: attempt.at.to_string(),
            duration_ms: attempt.duration_ms,
            status_code: attempt.status,
            error: attempt.miss.map(Miss::as_str),
            answer: answer.as_ref().map(|answer| String::from_utf8_lossy(&answer.0).into_owned()),
            meaning: meaning(attempt.status, attempt.miss),
        };
        let attempts = delivery.attempts.iter().zip(answers).map(shown).collect();
        DeliveryView { summary: DeliverySummary::of(delivery), attempts }
    }
}
