//! A receipt: what a provider sent, as it came. Its body is [`Private`]: it does not print.

use super::ids::{AccountId, ReceiptId, Reference, Seq};
use super::time::Time;
use bincode::{Decode, Encode};
use std::fmt;

/// Bytes that may hold personal data: no Debug, no Display, erased after their retention.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Private(pub Vec<u8>);

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} private bytes]", self.0.len())
    }
}

/// What became of a receipt; of several pieces of evidence the strongest (the greatest here) counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum Outcome {
    /// It speaks of no order.
    Ignored,
    /// All it says was known.
    Duplicate,
    /// It changed nothing.
    Stale,
    /// Only discrepancies came of it.
    Conflict,
    /// Entries came of it.
    Applied,
}

/// Where a receipt is on its way.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub enum Progress {
    /// Not tried yet, due or in flight.
    Pending,
    /// A call failed; the next is due at this time.
    Retrying {
        next_at: Time,
    },
    Done(Outcome),
    /// Given up or unreadable; can be processed again.
    Failed {
        reason: String,
    },
}

/// What is known of a receipt without its body.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Receipt {
    pub id: ReceiptId,
    pub account: AccountId,
    pub received_at: Time,
    /// What we answered.
    pub answer_status: u16,
    pub content_type: Option<String>,
    pub body_bytes: u32,
    pub progress: Progress,
    /// The first time it was tried, from which giving up is counted.
    pub first_tried: Option<Time>,
    pub attempts: Vec<Attempt>,
    /// How many attempts there were, also those no longer listed.
    pub attempts_count: u32,
    /// Times that processing failed since it began, or began again.
    pub failures: u32,
    /// Attempts that ended with "does not exist".
    pub not_found_count: u32,
    /// What became of each piece of evidence in it, when it was last processed.
    pub evidence: Vec<Finding>,
    /// The entries that came of it.
    pub entries: Vec<Seq>,
}

/// A piece of evidence in a receipt: of which order, and what came of it.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Finding {
    pub order: Reference,
    pub outcome: Outcome,
}

/// One call to the provider that a receipt caused.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Attempt {
    pub at: Time,
    pub duration_ms: u32,
    pub status: Option<u16>,
    pub error: Option<String>,
}

/// How many attempts a receipt lists; older ones but the first are dropped.
pub const ATTEMPTS_LISTED_MAX: usize = 30;
/// How many pieces of evidence and entries a receipt lists.
pub const EVIDENCE_LISTED_MAX: usize = 100;

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ignored => "ignored",
            Outcome::Duplicate => "duplicate",
            Outcome::Stale => "stale",
            Outcome::Conflict => "conflict",
            Outcome::Applied => "applied",
        }
    }
}

impl Progress {
    /// Whether it still has to be processed.
    pub fn is_open(&self) -> bool {
        match self {
            Progress::Pending | Progress::Retrying { .. } => true,
            Progress::Done(_) | Progress::Failed { .. } => false,
        }
    }

    /// The outcome as the API words it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Progress::Pending | Progress::Retrying { .. } => "pending",
            Progress::Done(outcome) => outcome.as_str(),
            Progress::Failed { .. } => "failed",
        }
    }
}

impl Receipt {
    pub fn note_attempt(&mut self, attempt: Attempt) {
        self.first_tried = self.first_tried.or(Some(attempt.at));
        self.attempts_count = self.attempts_count.saturating_add(1);
        if self.attempts.len() >= ATTEMPTS_LISTED_MAX {
            self.attempts.remove(1);
        }
        self.attempts.push(attempt);
    }
}
