//! The bridge: from the ledger's standing to the new one, as entries in a fixed order: the steps of the way, one
//! adjustment if the balances still differ, resolutions, then discrepancies by cause.

use super::discrepancy::{Action, Cause, Open};
use super::entry::Kind;
use super::fold::{Rule, Rules};
use super::ids::AccountId;
use super::money::Money;
use super::order::OpenDiscrepancy;
use super::posting::{Posting, postings};
use super::standing::{Standing, Sums};
use super::state::{State, way};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// Where an order stands in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Ledgered {
    pub state: State,
    pub sums: Sums,
}

/// The ledger's side that the bridge starts from.
pub struct From<'a> {
    pub ledgered: Option<Ledgered>,
    pub open: &'a BTreeMap<Cause, OpenDiscrepancy>,
    pub registered: Option<Money>,
    pub account: &'a AccountId,
}

/// An operator's word that the bridge carries out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resolving {
    pub cause: Cause,
    pub action: Action,
}

/// What an entry does to a discrepancy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    Opens { cause: Cause, expected: Option<String>, found: Option<String> },
    Closes { cause: Cause, opened: OpenDiscrepancy, action: Action },
}

/// An entry to be: what it says, without its place in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    pub kind: Kind,
    pub from: Option<State>,
    pub to: State,
    pub amount: Option<Money>,
    pub postings: Vec<Posting>,
    pub note: Option<Note>,
    /// Where the order stands after it.
    pub after: Ledgered,
}

/// No sequence of legal steps leads there. The fold never asks for it; if it does, nothing is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no legal way from {from:?} to {to}: the evidence was kept out of the ledger; please report this")]
pub struct NoWay {
    pub from: Option<State>,
    pub to: State,
}

pub fn bridge(from: &From<'_>, to: &Standing, resolving: Option<Resolving>) -> Result<Vec<Draft>, NoWay> {
    bridge_by(Rules::ALL, from, to, resolving)
}

/// [`bridge`] by a part of the rules, for showing that each is needed.
pub fn bridge_by(
    rules: Rules,
    from: &From<'_>,
    to: &Standing,
    resolving: Option<Resolving>,
) -> Result<Vec<Draft>, NoWay> {
    let mut span = Span { from, to, at: from.ledgered, drafts: Vec::new() };
    let mut closed = None;
    match resolving {
        Some(resolving) => closed = span.resolve(resolving),
        None => span.steps(rules)?,
    }
    span.adjust(rules);
    span.close(closed);
    span.open(closed);
    Ok(span.drafts)
}

struct Span<'a> {
    from: &'a From<'a>,
    to: &'a Standing,
    /// Where the entries so far have led.
    at: Option<Ledgered>,
    drafts: Vec<Draft>,
}

impl Span<'_> {
    fn steps(&mut self, rules: Rules) -> Result<(), NoWay> {
        let state = self.at.map(|at| at.state);
        let mut path = way(state, self.to.state).ok_or(NoWay { from: state, to: self.to.state })?;
        if !rules.keeps(Rule::ViaStepsAreWritten) {
            path = path.split_off(path.len().saturating_sub(1));
        }
        let refunded = self.at.map(|at| at.sums.refunded).unwrap_or_default();
        for state in path {
            let sums = self.sums_in(
                state,
                if rules.keeps(Rule::StepsCarryLedgersRefund) { refunded } else { self.to.sums.refunded },
            );
            self.push(Kind::Transition, Ledgered { state, sums }, None);
        }
        Ok(())
    }

    /// A step's numbers: the new gross and fee and the ledger's refunds, at most the gross.
    fn sums_in(&self, state: State, refunded: Money) -> Sums {
        let gross = self.to.gross_known.filter(|_| state.has_money()).unwrap_or_default();
        let settled = if state == self.to.state {
            self.to.sums.settled
        } else {
            state == State::Completed || self.at.is_some_and(|at| at.sums.settled)
        };
        let refunded = if state == State::Refunded { gross } else { refunded.min(gross) };
        let charged_back = if state == State::Chargeback { gross - refunded } else { Money::ZERO };
        Sums { gross, fee: self.to.sums.fee, refunded, charged_back, settled }
    }

    /// An operator's word: one resolution that carries the postings. Answers the cause it closed.
    fn resolve(&mut self, resolving: Resolving) -> Option<Cause> {
        let opened = self.from.open.get(&resolving.cause)?.clone();
        let note = Note::Closes { cause: resolving.cause, opened, action: resolving.action };
        self.push(Kind::Resolution, Ledgered { state: self.to.state, sums: self.to.sums }, Some(note));
        Some(resolving.cause)
    }

    fn adjust(&mut self, rules: Rules) {
        let before = self.at.map(|at| at.sums).unwrap_or_default();
        if before.balances() != self.to.sums.balances() && rules.keeps(Rule::AdjustmentTakesTheRest) {
            self.push(Kind::Adjustment, Ledgered { state: self.to.state, sums: self.to.sums }, None);
        }
        if let Some(at) = &mut self.at {
            at.sums = self.to.sums;
        }
    }

    fn close(&mut self, already: Option<Cause>) {
        for (cause, opened) in self.from.open {
            if !self.to.open.contains_key(cause) && already != Some(*cause) {
                let note = Note::Closes { cause: *cause, opened: opened.clone(), action: Action::Agreed };
                self.push(
                    Kind::Resolution,
                    Ledgered { state: self.to.state, sums: self.to.sums },
                    Some(note),
                );
            }
        }
    }

    fn open(&mut self, closed: Option<Cause>) {
        for (cause, Open { expected, found, .. }) in &self.to.open {
            if !self.from.open.contains_key(cause) || closed == Some(*cause) {
                let note = Note::Opens { cause: *cause, expected: expected.clone(), found: found.clone() };
                self.push(
                    Kind::Discrepancy,
                    Ledgered { state: self.to.state, sums: self.to.sums },
                    Some(note),
                );
            }
        }
    }

    fn push(&mut self, kind: Kind, after: Ledgered, note: Option<Note>) {
        let before = self.at.map(|at| at.sums).unwrap_or_default();
        let from = self.at.map(|at| at.state);
        let postings = postings(self.from.account, &before.balances(), &after.sums.balances());
        let amount = self.amount(kind, from, &before, &after);
        self.drafts.push(Draft { kind, from, to: after.state, amount, postings, note, after });
        self.at = Some(after);
    }

    /// The entry's own amount: what its kind and step are about; a reversal is negative; unknown is none.
    fn amount(&self, kind: Kind, from: Option<State>, before: &Sums, after: &Ledgered) -> Option<Money> {
        let (old, new) = (before.balances(), after.sums.balances());
        let asset = (new.pending + new.available) - (old.pending + old.available);
        let stays = from == Some(after.state);
        match kind {
            Kind::Adjustment => return Some(asset),
            // The bridge makes no payouts.
            Kind::Discrepancy | Kind::Payout => return None,
            Kind::Resolution if stays => return (!asset.is_zero()).then_some(asset),
            Kind::Resolution | Kind::Transition => {}
        }
        let came_back = matches!(from, Some(State::Chargeback | State::Refunded));
        if came_back && after.state != State::Refunded {
            let reversed = (new.refunds + new.chargebacks) - (old.refunds + old.chargebacks);
            return self.to.gross_known.map(|_| reversed);
        }
        if after.state.has_money() && self.to.gross_known.is_none() {
            return None;
        }
        match after.state {
            State::Created if from.is_none() => self.from.registered,
            State::Created | State::InAnalysis | State::Expired => (!asset.is_zero()).then_some(asset),
            State::Paid => Some(after.sums.gross),
            State::Completed => Some(new.available - old.available),
            State::Refunded => Some(new.refunds - old.refunds),
            State::Chargeback => Some(new.chargebacks - old.chargebacks),
        }
    }
}
