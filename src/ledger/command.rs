//! Everything that may change the data directory, as one enum with its replies. Nobody else builds a batch.

use super::erasure::{Erased, Erasure};
use super::idempotency::{Claim, ClaimRequest, KeepAnswer};
use super::payouts::{PaidOut, PayoutRequest};
use super::periods::{ClosePeriod, ClosedBooks};
use super::runs::{ForgetRun, NoteResult, StartRun};
use super::settlements::SettlementCommand;
use super::webhooks::{Hooked, WebhookCommand};
use crate::domain::evidence::Piece;
use crate::domain::ids::{
    AccountId, EventId, OrderKey, ProviderRef, ReceiptId, Reference, RunId, Seq, Token,
};
use crate::domain::money::{Currency, Money};
use crate::domain::order::Order;
use crate::domain::period::Month;
use crate::domain::receipt::{Attempt, Outcome, Progress};
use crate::domain::seal::PublicKey;
use crate::domain::settlement::LineResult;
use crate::domain::state::State;
use crate::domain::time::Time;
use crate::schedule::cadence::Cadence;
use crate::store::idempotency::RequestKey;
use crate::store::meta::StoreError;
use crate::store::sealed::Body;

#[derive(Clone, Debug)]
pub enum Command {
    Receive(Received),
    Register(Registration),
    Record(Record),
    NoteAttempt(Attempted),
    Rule(RulingRequest),
    Reprocess(ReceiptId),
    Postpone(Postponed),
    Reschedule(Rescheduling),
    NoteAccount(AccountNote),
    ClaimRequest(ClaimRequest),
    KeepAnswer(KeepAnswer),
    /// Those that have expired, or that came to nothing.
    ForgetRequests(Vec<RequestKey>),
    StartRun(StartRun),
    NoteResult(Box<NoteResult>),
    /// A run has asked about every order of an account.
    EndLane {
        run: RunId,
        account: AccountId,
    },
    ForgetRun(ForgetRun),
    RecordPayout(PayoutRequest),
    Settlement(SettlementCommand),
    Webhook(WebhookCommand),
    ClosePeriod(Box<ClosePeriod>),
    /// Seals are signed with this key from now on.
    AdoptSealKey(PublicKey),
    /// What is kept of a person, or has outlived its retention.
    Erase(Box<Erasure>),
}

/// Which provider account evidence or a registration belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountTerms {
    pub account: AccountId,
    pub provider: &'static str,
    pub currency: Currency,
    /// How often its orders are asked about without callbacks.
    pub cadence: Cadence,
}

/// A callback that passed the door.
#[derive(Clone, Debug)]
pub struct Received {
    pub terms: AccountTerms,
    pub received_at: Time,
    pub answer_status: u16,
    pub content_type: Option<String>,
    pub body: Body,
    /// The provider's own id of the event, if it named one.
    pub event: Option<EventId>,
    pub verdict: Verdict,
}

/// What the door made of a callback.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The provider must be asked.
    Ask,
    /// It is evidence itself; asked about further if `ask`.
    Record { news: Vec<News>, ask: bool },
    /// It speaks of no order.
    Ignore,
    /// It came with the right credential but is not what this provider sends.
    Unreadable { reason: String },
}

/// A piece of evidence and the names of the payment it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    pub reference: Reference,
    pub provider_ref: Option<ProviderRef>,
    pub token: Option<Token>,
    pub piece: Piece,
}

/// What a shop expects of an order.
#[derive(Clone, Debug)]
pub struct Registration {
    pub terms: AccountTerms,
    pub reference: Reference,
    pub amount: Money,
    pub expires_at: Option<Time>,
    pub provider_ref: Option<ProviderRef>,
    /// JSON text in a form that is equal where the metadata is.
    pub metadata: Option<String>,
}

/// The answer to a call of ours, as evidence.
#[derive(Clone, Debug)]
pub struct Record {
    pub terms: AccountTerms,
    pub news: Vec<News>,
    /// The callback that caused the calls, if one did.
    pub receipt: Option<ReceiptId>,
    pub attempts: Vec<Attempt>,
    /// Whether this ends the receipt's processing.
    pub done: bool,
}

/// Calls that brought nothing, or not enough.
#[derive(Clone, Debug)]
pub struct Attempted {
    pub receipt: ReceiptId,
    pub attempts: Vec<Attempt>,
    pub not_found: bool,
    pub then: Then,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Then {
    Retry {
        next_at: Time,
    },
    GiveUp {
        reason: String,
    },
    /// It was processed, and speaks of no order.
    Ignored,
}

/// A poll that brought no evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Postponed {
    pub terms: AccountTerms,
    pub key: OrderKey,
    /// When its request was sent, if the provider answered that it knows of no such order.
    pub asked: Option<Time>,
    /// Whether there is anything to ask with what is known of the order.
    pub askable: bool,
}

/// The pauses of an account's polls were changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rescheduling {
    pub terms: AccountTerms,
    /// The last order that was done.
    pub after: Option<OrderKey>,
}

/// A provider's list of events was read up to a date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountNote {
    pub account: AccountId,
    pub caught_up_to: Time,
}

/// An operator's word about an open discrepancy.
#[derive(Clone, Debug)]
pub struct RulingRequest {
    pub discrepancy: Seq,
    /// The operator's token subject, if it has one.
    pub actor: Option<String>,
    pub reason: String,
    pub action: Ruled,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruled {
    Keep,
    SetState(State),
}

#[derive(Clone, Debug)]
pub enum Reply {
    Received {
        id: ReceiptId,
        progress: Progress,
        /// What it led to at once.
        entries: Vec<Seq>,
    },
    Registered {
        order: Box<Order>,
        news: RegistrationNews,
    },
    Recorded(Recorded),
    Noted,
    Ruled(Box<Order>),
    /// The last order that was done; `None`: all are.
    Rescheduled(Option<OrderKey>),
    Claimed(Claim),
    Hooked(Box<Hooked>),
    Closed(Box<ClosedBooks>),
    PaidOut(Box<PaidOut>),
    /// What the lines came to, in their order.
    Settled(Vec<LineResult>),
    Erased(Erased),
}

/// What a registration added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegistrationNews {
    /// Nothing was registered under that reference before.
    First,
    /// It was; at most something absent was filled in.
    Again,
}

/// What came of evidence: of each piece, in the order it was given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recorded {
    pub orders: Vec<(OrderKey, Outcome)>,
    pub entries: Vec<Seq>,
    /// Why pieces were left out of the ledger, if any were: their receipt counts as failed, so that it is seen.
    pub left_out: Vec<Refusal>,
}

/// Why a command changed nothing. The books are as they were.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the order is registered with another {field}; a registration is filled in, never changed")]
    Differs { field: &'static str },
    #[error("another order of this account has that provider_ref: {0}")]
    ProviderRefTaken(Reference),
    #[error("there is no open discrepancy with that id")]
    NoSuchDiscrepancy,
    #[error("there is no callback with that id")]
    NoSuchReceipt,
    #[error("the body of that callback was erased")]
    BodyErased,
    #[error("{0}")]
    NoWay(String),
    #[error("another request had that Idempotency-Key; a key goes with one request")]
    KeyReused,
    #[error(
        "this payout is recorded with another {field}; a payout is never changed, so record the difference under a reference of its own"
    )]
    PayoutDiffers { field: &'static str },
    #[error("there is no settlement file with that id")]
    NoSuchSettlement,
    #[error("there is no webhook with that id")]
    NoSuchWebhook,
    #[error("there is no delivery with that id")]
    NoSuchDelivery,
    #[error("the webhook is disabled; enable it first")]
    WebhookDisabled,
    #[error("the ledger ends at seq {0}; this position lies beyond it")]
    CursorAhead(Seq),
    #[error("there are {most} {what}; no more are taken")]
    TooMany { what: &'static str, most: usize },
    #[error("{month} is not over before {to}; close it after that")]
    PeriodNotOver { month: Month, to: Time },
}

/// Why a command was not carried out at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the ledger is busy; try again in a moment")]
    Busy,
    #[error("the ledger takes no writes: {0}")]
    Stopped(String),
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// Why carrying out a command ended: a refusal leaves the books usable, a broken store does not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Inconsistent(String),
}

impl Command {
    /// About how many bytes it will write, for cutting groups.
    pub fn weight(&self) -> usize {
        match self {
            Command::Receive(received) => 512 + received.body.bytes.0.len(),
            Command::Record(record) => 2048 * record.news.len().max(1),
            Command::Reschedule(_) => 64 * 1024,
            Command::KeepAnswer(keep) => 512 + keep.answer.body.0.len(),
            Command::StartRun(start) => 1024 + 256 * (start.lanes.len() + start.orders.len()),
            Command::ForgetRequests(requests) => 256 * requests.len(),
            Command::ForgetRun(forget) => 1024 + 128 * forget.orders.len(),
            Command::Register(_)
            | Command::NoteAttempt(_)
            | Command::Rule(_)
            | Command::Reprocess(_)
            | Command::Postpone(_)
            | Command::NoteAccount(_)
            | Command::ClaimRequest(_)
            | Command::NoteResult(_)
            | Command::RecordPayout(_)
            | Command::EndLane { .. } => 1024,
            Command::Settlement(command) => command.weight(),
            Command::Webhook(command) => command.weight(),
            Command::ClosePeriod(_) => 64 * 1024,
            Command::AdoptSealKey(_) => 1024,
            Command::Erase(erasure) => erasure.weight(),
        }
    }
}
