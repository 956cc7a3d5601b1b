//! A reconciliation: a run over many orders, each of which the provider is asked about.

use super::ids::{AccountId, Reference, RunId, Seq};
use super::money::{Currency, Total};
use super::standing::Sums;
use super::state::State;
use super::time::Time;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// What is known of a run as a whole.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Run {
    pub id: RunId,
    /// A digest of who began it.
    pub owner: [u8; 32],
    pub scope: Scope,
    pub started_at: Time,
    /// The ledger's last entry when it began.
    pub head: Seq,
    pub finished_at: Option<Time>,
    /// Lanes that still have orders to ask about.
    pub lanes_open: u32,
}

/// Which orders a run is about.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub enum Scope {
    /// Those that were open when it began.
    Open,
    /// Those that were named: they wait in the run's own records.
    Named,
}

/// A run within one account.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Lane {
    pub account: AccountId,
    /// Whoever began the run does not see the account: to them it has no orders.
    pub unseen: bool,
    pub total: u64,
    /// Every order up to this one has its result.
    pub after: Option<Reference>,
    pub finished: bool,
    pub tally: Tally,
}

/// What the results so far come to.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct Tally {
    pub matched: u64,
    pub corrected: u64,
    pub failed: u64,
    pub unreachable: u64,
    pub differing: u64,
    pub money: BTreeMap<Currency, Moved>,
}

/// Sums over orders, before the run and after it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct Moved {
    pub before: OrdersSum,
    pub after: OrdersSum,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct OrdersSum {
    pub gross: Total,
    pub refunded: Total,
    pub charged_back: Total,
}

/// A run's record of one order.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub enum Slot {
    /// It is named, and has not been asked about.
    Waiting,
    Done(RunResult),
}

/// What asking about one order came to.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct RunResult {
    pub finding: Finding,
    /// Why, where it is not plain from the finding.
    pub reason: Option<String>,
    /// None: there is no such order.
    pub state: Option<State>,
    /// The entries that polls made since the run began.
    pub entries: Vec<Seq>,
    pub at: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub enum Finding {
    /// The provider says what the ledger has.
    Matched,
    /// It said something else, and the ledger follows.
    Corrected,
    Failed,
    /// Nothing can be asked with what is known.
    Unreachable,
    /// A discrepancy is open.
    Differing,
}

impl Finding {
    pub const ALL: [Finding; 5] =
        [Finding::Matched, Finding::Corrected, Finding::Failed, Finding::Unreachable, Finding::Differing];

    pub fn as_str(self) -> &'static str {
        match self {
            Finding::Matched => "matched",
            Finding::Corrected => "corrected",
            Finding::Failed => "failed",
            Finding::Unreachable => "unreachable",
            Finding::Differing => "differing",
        }
    }

    pub fn parse(text: &str) -> Option<Finding> {
        Finding::ALL.into_iter().find(|finding| finding.as_str() == text)
    }
}

impl Tally {
    pub fn done(&self) -> u64 {
        self.matched + self.corrected + self.failed + self.unreachable + self.differing
    }

    pub fn count(&mut self, finding: Finding) {
        let counter = match finding {
            Finding::Matched => &mut self.matched,
            Finding::Corrected => &mut self.corrected,
            Finding::Failed => &mut self.failed,
            Finding::Unreachable => &mut self.unreachable,
            Finding::Differing => &mut self.differing,
        };
        *counter = counter.saturating_add(1);
    }

    /// Adds one order's sums, as they were and as they are.
    pub fn add(&mut self, currency: Currency, before: &Sums, after: &Sums) {
        let moved = self.money.entry(currency).or_default();
        moved.before.add(before);
        moved.after.add(after);
    }
}

impl OrdersSum {
    fn add(&mut self, sums: &Sums) {
        self.gross = self.gross.plus(sums.gross);
        self.refunded = self.refunded.plus(sums.refunded);
        self.charged_back = self.charged_back.plus(sums.charged_back);
    }
}
