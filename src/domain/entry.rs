//! One line of the ledger, never changed.

use super::chain::Hash;
use super::discrepancy::{Action, Cause};
use super::evidence::Origin;
use super::ids::{AccountId, Reference, Seq};
use super::money::{Currency, Money};
use super::posting::Posting;
use super::state::State;
use super::time::{OffsetTime, Time};
use bincode::{Decode, Encode};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Debug)]
pub enum Kind {
    /// The state moved.
    Transition,
    /// The amounts moved, the state stayed.
    Adjustment,
    /// A discrepancy opened; no postings.
    Discrepancy,
    /// A discrepancy closed; with postings only where an operator set the state.
    Resolution,
    /// Money left the provider for the bank; of no order.
    Payout,
}

/// The discrepancy an entry opens or closes.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct DiscrepancyNote {
    /// The seq of the entry that opened it.
    pub id: Seq,
    pub cause: Cause,
    pub expected: Option<String>,
    pub found: Option<String>,
    /// How it was closed; none where it opens.
    pub action: Option<Action>,
}

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Entry {
    pub seq: Seq,
    pub recorded_at: Time,
    pub occurred_at: OffsetTime,
    pub account: AccountId,
    pub order: Option<Reference>,
    pub kind: Kind,
    pub from: Option<State>,
    pub to: Option<State>,
    pub amount: Option<Money>,
    pub currency: Currency,
    pub postings: Vec<Posting>,
    pub origin: Origin,
    /// The date of the evidence.
    pub as_of: Time,
    pub discrepancy: Option<DiscrepancyNote>,
    pub provider_status: Option<String>,
    pub details: Vec<(String, String)>,
    pub prev_hash: Hash,
    pub hash: Hash,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Transition => "transition",
            Kind::Adjustment => "adjustment",
            Kind::Discrepancy => "discrepancy",
            Kind::Resolution => "resolution",
            Kind::Payout => "payout",
        }
    }
}

impl Entry {
    /// The type of the one event this entry has.
    pub fn event_type(&self) -> &'static str {
        match (self.kind, self.to) {
            (Kind::Transition, Some(State::Created)) => "order.created",
            (Kind::Transition, Some(State::InAnalysis)) => "order.in_analysis",
            (Kind::Transition, Some(State::Paid)) => "order.paid",
            (Kind::Transition, Some(State::Completed)) => "order.completed",
            (Kind::Transition, Some(State::Expired)) => "order.expired",
            (Kind::Transition, Some(State::Refunded)) => "order.refunded",
            (Kind::Transition, Some(State::Chargeback)) => "order.chargeback",
            (Kind::Adjustment | Kind::Transition, _) => "order.adjusted",
            (Kind::Discrepancy, _) => "order.discrepancy",
            (Kind::Resolution, _) => "order.resolved",
            (Kind::Payout, _) => "payout.recorded",
        }
    }

    /// Its event's id: stable across retries, resends and replays.
    pub fn event_id(&self) -> String {
        format!("evt_{:.32}", self.hash.to_hex())
    }
}
