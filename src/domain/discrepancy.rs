//! Discrepancies: where evidence contradicts itself, the ledger or the shop's expectation.
//!
//! *Conditions* hold of the whole set of evidence; *words* come and go on the walk. At most one of a cause is open
//! per order.

use super::money::Money;
use bincode::{Decode, Encode};
use std::fmt;

/// Why a discrepancy is open, in the order in which entries of one piece of evidence name them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum Cause {
    // Conditions.
    AmountUnknown,
    AmountUnreadable,
    Underpaid,
    Currency,
    RefundExceedsGross,
    // Words.
    Conflict,
    UnknownStatus,
    RefundUnclear,
    RefundShrank,
}

/// What exactly it is open about. An operator's `keep` silences a cause for exactly this subject.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum Subject {
    Nothing,
    Reading { word: String, gross: Option<Money>, refunded: Option<Money> },
    Amounts(Money, Money),
    Text(String),
}

/// An open discrepancy as the evidence has it.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Open {
    pub subject: Subject,
    pub expected: Option<String>,
    pub found: Option<String>,
}

/// How a discrepancy was closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Debug)]
pub enum Action {
    /// Later evidence agreed.
    Agreed,
    /// An operator left things as they are.
    Keep,
    /// An operator said what is.
    SetState,
}

impl Cause {
    pub const ALL: [Cause; 9] = [
        Cause::AmountUnknown,
        Cause::AmountUnreadable,
        Cause::Underpaid,
        Cause::Currency,
        Cause::RefundExceedsGross,
        Cause::Conflict,
        Cause::UnknownStatus,
        Cause::RefundUnclear,
        Cause::RefundShrank,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Cause::AmountUnknown => "amount_unknown",
            Cause::AmountUnreadable => "amount_unreadable",
            Cause::Underpaid => "underpaid",
            Cause::Currency => "currency",
            Cause::RefundExceedsGross => "refund_exceeds_gross",
            Cause::Conflict => "conflict",
            Cause::UnknownStatus => "unknown_status",
            Cause::RefundUnclear => "refund_unclear",
            Cause::RefundShrank => "refund_shrank",
        }
    }

    pub fn parse(text: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.as_str() == text)
    }

    /// Whether it holds of the whole set, instead of coming and going on the walk.
    pub fn is_condition(self) -> bool {
        match self {
            Cause::AmountUnknown
            | Cause::AmountUnreadable
            | Cause::Underpaid
            | Cause::Currency
            | Cause::RefundExceedsGross => true,
            Cause::Conflict | Cause::UnknownStatus | Cause::RefundUnclear | Cause::RefundShrank => false,
        }
    }
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Agreed => "agreed",
            Action::Keep => "keep",
            Action::SetState => "set_state",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
