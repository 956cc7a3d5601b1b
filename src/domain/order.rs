//! The ledger's side of an order: what its entries add up to, what the shop registered, what the provider last said.

use super::bridge::Ledgered;
use super::discrepancy::Cause;
use super::evidence::Evidence;
use super::fold::{self, Terms};
use super::ids::{OrderKey, ProviderRef, Seq, Token};
use super::money::{Currency, Money};
use super::standing::Standing;
use super::state::State;
use super::time::Time;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// A discrepancy as its opening entry recorded it.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct OpenDiscrepancy {
    pub id: Seq,
    pub expected: Option<String>,
    pub found: Option<String>,
    pub opened_at: Time,
}

/// How far an order can be believed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Debug)]
pub enum Reconciliation {
    /// Registered, and never heard of.
    Unseen,
    /// By a callback alone.
    Reported,
    /// By a call of ours.
    Confirmed,
    /// A discrepancy is open.
    Discrepancy,
}

/// What the provider last said, beside the ledger: no entry comes of it.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct Sighting {
    pub provider_status: Option<String>,
    /// When a call of ours last asked about it.
    pub checked_at: Option<Time>,
    /// Whether any call of ours named the present state.
    pub confirmed: bool,
    /// Whether any news of it ever came.
    pub seen: bool,
}

/// What a shop expects of an order.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct Expectation {
    pub amount: Option<Money>,
    pub expires_at: Option<Time>,
}

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Order {
    pub key: OrderKey,
    /// As the account's configuration named it when the order was made.
    pub provider: String,
    /// Whether a shop registered it; otherwise a callback made it.
    pub registered: bool,
    pub provider_ref: Option<ProviderRef>,
    pub currency: Currency,
    pub expected: Expectation,
    pub ledgered: Ledgered,
    pub gross_known: Option<Money>,
    pub fee_known: Option<Money>,
    pub open: BTreeMap<Cause, OpenDiscrepancy>,
    pub sighting: Sighting,
    /// The last token that spoke of it, for providers that are polled by one.
    pub token: Option<Token>,
    pub created_at: Time,
    pub updated_at: Time,
    /// Its last entry.
    pub seq: Seq,
    /// The newest date among its evidence: dates of ours lie after it.
    pub newest: Option<Time>,
    /// When it is asked about next without any callback; `None`: not any more, or not yet possible.
    pub poll_at: Option<Time>,
}

impl Reconciliation {
    pub const ALL: [Reconciliation; 4] = [
        Reconciliation::Unseen,
        Reconciliation::Reported,
        Reconciliation::Confirmed,
        Reconciliation::Discrepancy,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reconciliation::Unseen => "unseen",
            Reconciliation::Reported => "reported",
            Reconciliation::Confirmed => "confirmed",
            Reconciliation::Discrepancy => "discrepancy",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Reconciliation::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

impl Order {
    pub fn state(&self) -> State {
        self.ledgered.state
    }

    pub fn terms(&self) -> Terms {
        Terms { registered: self.expected.amount, currency: self.currency }
    }

    pub fn reconciliation(&self) -> Reconciliation {
        match (self.open.is_empty(), self.sighting.seen, self.sighting.confirmed) {
            (false, _, _) => Reconciliation::Discrepancy,
            (true, false, _) => Reconciliation::Unseen,
            (true, true, false) => Reconciliation::Reported,
            (true, true, true) => Reconciliation::Confirmed,
        }
    }

    /// Takes over what the evidence says beside the ledger, while the order is still what it was.
    pub fn sight(&mut self, evidence: &Evidence, standing: &Standing) {
        self.gross_known = standing.gross_known.filter(|_| standing.state.has_money());
        self.fee_known = standing.fee_known;
        self.newest = evidence.newest();
        let asked = evidence.pieces().iter().filter(|piece| piece.is_from_own_call());
        // What confirmed it may have become part of the foundation, which keeps no sources.
        let founded = evidence.foundation().is_some() && self.ledgered.state == standing.state;
        self.sighting = Sighting {
            provider_status: standing.provider_status.clone(),
            checked_at: asked.filter_map(|piece| piece.asked).max().max(self.sighting.checked_at),
            confirmed: fold::is_confirmed(evidence, standing.state) || (founded && self.sighting.confirmed),
            seen: !evidence.is_empty(),
        };
    }
}
