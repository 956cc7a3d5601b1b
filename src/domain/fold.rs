//! The fold: what an order is, as a pure function of the set of its evidence.
//!
//! [`stand`] walks the pieces in their own order from "nothing is known" and yields the [`Standing`]. It never looks at
//! a clock, at chance, or at the order of arrival. Every rule can be taken out by a [`Rules`] value; only tests do, to
//! show that each rule is needed.

use super::discrepancy::{Cause, Open, Subject};
use super::evidence::{Amount, Evidence, Identity, Piece, Ruling, Said};
use super::money::{Currency, Money};
use super::standing::{Standing, Sums};
use super::state::{State, Step, Word, step};
use super::time::Time;
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// A rule of the fold that a test can take out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    RankBreaksTies,
    ThinKeepsFirstAndNewest,
    /// A refund total is compared with the gross its own piece names.
    TotalAgainstOwnGross,
    /// Where it names none, with the registered amount.
    TotalAgainstRegistered,
    TotalMakesRefunded,
    PartialKeepsState,
    PartialOpensUnclear,
    UnclearCloses,
    ShrinkOpens,
    ShrinkOfZeroCounts,
    HighestTotalCounts,
    ProofMakesRefunded,
    UnknownWordOpens,
    ConflictOpens,
    AgreementCloses,
    StaleClosesNothing,
    WonReturnsToCompleted,
    StatementOnlySettles,
    RulingSetsState,
    RulingClosesConflict,
    LeavingRefundedForgets,
    KeepSilences,
    SilenceEndsWithOtherContent,
    LatestGrossCounts,
    ZeroIsNoGross,
    RegisteredStandsIn,
    LatestFeeCounts,
    HistorySupersedes,
    SupersededAmountsCount,
    AmountUnknownHolds,
    UnderpaidHolds,
    RefundExceedsHolds,
    ForeignAmountsUnused,
    // Of the bridge:
    StepsCarryLedgersRefund,
    AdjustmentTakesTheRest,
    ViaStepsAreWritten,
}

/// Which rules hold. Production code knows only [`Rules::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    without: Option<Rule>,
}

impl Rules {
    pub const ALL: Rules = Rules { without: None };

    pub fn without(rule: Rule) -> Rules {
        Rules { without: Some(rule) }
    }

    pub fn keeps(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

impl Rule {
    pub const EVERY: [Rule; 36] = [
        Rule::RankBreaksTies,
        Rule::ThinKeepsFirstAndNewest,
        Rule::TotalAgainstOwnGross,
        Rule::TotalAgainstRegistered,
        Rule::TotalMakesRefunded,
        Rule::PartialKeepsState,
        Rule::PartialOpensUnclear,
        Rule::UnclearCloses,
        Rule::ShrinkOpens,
        Rule::ShrinkOfZeroCounts,
        Rule::HighestTotalCounts,
        Rule::ProofMakesRefunded,
        Rule::UnknownWordOpens,
        Rule::ConflictOpens,
        Rule::AgreementCloses,
        Rule::StaleClosesNothing,
        Rule::WonReturnsToCompleted,
        Rule::StatementOnlySettles,
        Rule::RulingSetsState,
        Rule::RulingClosesConflict,
        Rule::LeavingRefundedForgets,
        Rule::KeepSilences,
        Rule::SilenceEndsWithOtherContent,
        Rule::LatestGrossCounts,
        Rule::ZeroIsNoGross,
        Rule::RegisteredStandsIn,
        Rule::LatestFeeCounts,
        Rule::HistorySupersedes,
        Rule::SupersededAmountsCount,
        Rule::AmountUnknownHolds,
        Rule::UnderpaidHolds,
        Rule::RefundExceedsHolds,
        Rule::ForeignAmountsUnused,
        Rule::StepsCarryLedgersRefund,
        Rule::AdjustmentTakesTheRest,
        Rule::ViaStepsAreWritten,
    ];
}

/// What the shop registered, as far as the fold needs it: a piece without a date that sorts first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    pub registered: Option<Money>,
    pub currency: Currency,
}

/// The walk so far: everything that later pieces or the end of the walk may ask for.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct Walk {
    state: Option<State>,
    settled: bool,
    /// The highest total of finished refunds.
    refunded: Money,
    /// The latest gross named by a reading that says money came.
    gross: Option<Money>,
    fee: Option<Money>,
    /// Open discrepancies of the kind that comes and goes on the walk.
    open: BTreeMap<Cause, Open>,
    silenced: BTreeMap<Cause, Subject>,
    /// The literal text of the newest amounts, where one cannot be read.
    unreadable: Option<String>,
    /// The newest currency named, where it is not the order's.
    foreign: Option<String>,
    provider_status: Option<String>,
    history: History,
}

/// What the dated histories among the evidence say, for deciding which snapshots they supersede.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode, Debug)]
struct History {
    /// When the latest of them was asked for.
    asked: Option<Time>,
    words: BTreeSet<String>,
    /// Whether one of its changes names a gross.
    names_gross: bool,
}

/// What the evidence comes to.
pub fn stand(evidence: &Evidence, terms: Terms) -> Standing {
    stand_by(Rules::ALL, evidence, terms)
}

/// [`stand`] by a part of the rules, for showing that each is needed.
pub fn stand_by(rules: Rules, evidence: &Evidence, terms: Terms) -> Standing {
    walk_by(rules, evidence, terms).finish(rules, terms)
}

/// The walk over everything but what only the end of it can say: what becomes a foundation.
pub fn walk(evidence: &Evidence, terms: Terms) -> Walk {
    walk_by(Rules::ALL, evidence, terms)
}

fn walk_by(rules: Rules, evidence: &Evidence, terms: Terms) -> Walk {
    let mut walk = evidence.foundation().map(|foundation| foundation.walk.clone()).unwrap_or_default();
    walk.foresee(evidence.pieces());
    for piece in evidence.pieces() {
        walk.take(rules, piece, terms);
    }
    walk
}

/// Whether a call of ours named the state the order is in: by its word, or by a refund total that takes the whole gross.
pub fn is_confirmed(evidence: &Evidence, state: State) -> bool {
    let names = |piece: &Piece| match &piece.said {
        Said::Word(word) => {
            step(Some(state), *word) == Step::Same || (state == State::Refunded && refunds_all(piece))
        }
        Said::Unknown | Said::Settled | Said::Ruling(_) => false,
    };
    evidence.pieces().iter().any(|piece| piece.is_from_own_call() && names(piece))
}

fn refunds_all(piece: &Piece) -> bool {
    match (piece.refunded.known(), piece.gross.known()) {
        (Some(total), Some(gross)) => !gross.is_zero() && total >= gross,
        (_, _) => false,
    }
}

impl History {
    fn note(&mut self, piece: &Piece) {
        if matches!(piece.identity, Identity::Change { .. }) {
            self.asked = self.asked.max(piece.asked);
            self.words.insert(spoken(piece));
            self.names_gross |= piece.gross.known().is_some();
        }
    }

    fn supersedes(&self, piece: &Piece) -> bool {
        let snapshot = piece.identity == Identity::Content && piece.asked.is_some();
        snapshot && piece.asked < self.asked && self.words.contains(&spoken(piece))
    }
}

/// The word of a piece as text; an unknown one is the provider's own.
fn spoken(piece: &Piece) -> String {
    match &piece.said {
        Said::Word(word) => word.as_str().to_owned(),
        Said::Settled => "settled".to_owned(),
        Said::Unknown | Said::Ruling(_) => format!("?{}", piece.provider_status.as_deref().unwrap_or("")),
    }
}

/// A piece's amounts as far as they may be used.
struct Usable {
    gross: Option<Money>,
    total: Option<Money>,
}

impl Walk {
    /// Notes what later changes say: a history supersedes snapshots that lie before its changes too.
    pub fn foresee(&mut self, pieces: &[Piece]) {
        pieces.iter().for_each(|piece| self.history.note(piece));
    }

    fn take(&mut self, rules: Rules, piece: &Piece, terms: Terms) {
        if let Said::Ruling(ruling) = &piece.said {
            return self.rule(rules, ruling);
        }
        let superseded = rules.keeps(Rule::HistorySupersedes) && self.history.supersedes(piece);
        let usable = self.amounts(rules, piece, superseded, terms.currency);
        if superseded {
            return;
        }
        self.provider_status = piece.provider_status.clone().or(self.provider_status.take());
        let subject = Subject::Reading { word: spoken(piece), gross: usable.gross, refunded: usable.total };
        if rules.keeps(Rule::SilenceEndsWithOtherContent) {
            self.silenced.retain(|cause, silent| cause.is_condition() || *silent == subject);
        }
        match &piece.said {
            Said::Word(word) => {
                let word = self.weigh_total(rules, *word, piece, &usable, &subject, terms);
                self.advance(rules, word, &subject);
            }
            Said::Settled => self.settle(rules, &subject),
            Said::Unknown => {
                if rules.keeps(Rule::UnknownWordOpens) {
                    self.open(Cause::UnknownStatus, &subject, None, piece.provider_status.clone());
                }
                self.state = self.state.or(Some(State::Created));
            }
            Said::Ruling(_) => {}
        }
    }

    /// Notes the amounts a piece names, and answers those that may be used.
    fn amounts(&mut self, rules: Rules, piece: &Piece, superseded: bool, currency: Currency) -> Usable {
        let nothing = Usable { gross: None, total: None };
        if let Some(named) = &piece.currency {
            self.foreign = (named != currency.code()).then(|| named.clone());
            if self.foreign.is_some() && rules.keeps(Rule::ForeignAmountsUnused) {
                return nothing;
            }
        }
        let amounts = [&piece.gross, &piece.fee, &piece.refunded];
        if amounts.iter().any(|amount| !amount.is_absent()) {
            self.unreadable = amounts.iter().find_map(|amount| match amount {
                Amount::Unreadable(text) => Some(text.clone()),
                Amount::Absent | Amount::Known(_) => None,
            });
        }
        if rules.keeps(Rule::LatestFeeCounts) {
            self.fee = piece.fee.known().or(self.fee);
        } else {
            self.fee = self.fee.or(piece.fee.known());
        }
        let total = piece.refunded.known();
        let refunds = total.is_some_and(|total| !total.is_zero());
        let zero_counts = !rules.keeps(Rule::ZeroIsNoGross);
        let gross = piece.gross.known().filter(|gross| zero_counts || !gross.is_zero());
        let came = match &piece.said {
            Said::Word(Word::Closed) => piece.proof || refunds,
            Said::Word(word) => word.says_money_came(),
            Said::Settled => true,
            Said::Unknown | Said::Ruling(_) => false,
        };
        let outdated = superseded && (self.history.names_gross || !rules.keeps(Rule::SupersededAmountsCount));
        if came && !outdated {
            self.gross = if rules.keeps(Rule::LatestGrossCounts) {
                gross.or(self.gross)
            } else {
                self.gross.or(gross)
            };
        }
        Usable { gross, total }
    }

    /// Compares a refund total with the gross, and answers the word the piece counts as; `None`: the state stays.
    fn weigh_total(
        &mut self,
        rules: Rules,
        word: Word,
        piece: &Piece,
        usable: &Usable,
        subject: &Subject,
        terms: Terms,
    ) -> Option<Word> {
        let proven = word == Word::Closed && piece.proof && rules.keeps(Rule::ProofMakesRefunded);
        let word_as_said = if proven { Word::Refunded } else { word };
        let own = usable.gross.filter(|_| rules.keeps(Rule::TotalAgainstOwnGross));
        let registered = terms.registered.filter(|_| rules.keeps(Rule::TotalAgainstRegistered));
        let reference = own.or(registered);
        let total = usable.total.filter(|total| !total.is_zero());
        let mut counts_as = Some(word_as_said);
        let mut unclear = false;
        match (total, reference) {
            (Some(total), Some(gross)) if total >= gross => {
                if rules.keeps(Rule::TotalMakesRefunded) {
                    counts_as = Some(Word::Refunded);
                }
            }
            // Less, or nothing to compare it with yet: the registered amount may still come, and there is no way back
            // out of `refunded`.
            (Some(total), reference) if matches!(word, Word::Refunded | Word::Closed) => {
                unclear = rules.keeps(Rule::PartialOpensUnclear);
                let money_came = self.state.is_some_and(State::has_money);
                if rules.keeps(Rule::PartialKeepsState) {
                    counts_as = (!money_came).then_some(Word::Paid);
                }
                if unclear {
                    let show = |money: Money| Some(money.show(terms.currency));
                    self.open(Cause::RefundUnclear, subject, reference.and_then(show), show(total));
                }
            }
            (Some(_), _) | (None, _) => {}
        }
        if !unclear && rules.keeps(Rule::UnclearCloses) {
            self.open.remove(&Cause::RefundUnclear);
        }
        self.note_total(rules, usable.total, subject, terms.currency);
        counts_as
    }

    /// The highest total counts; one below an earlier one is a discrepancy.
    fn note_total(&mut self, rules: Rules, total: Option<Money>, subject: &Subject, currency: Currency) {
        let Some(total) = total else { return };
        if total.is_zero() && !rules.keeps(Rule::ShrinkOfZeroCounts) {
            return;
        }
        if total < self.refunded {
            if rules.keeps(Rule::ShrinkOpens) {
                let (expected, found) = (self.refunded.show(currency), total.show(currency));
                self.open(Cause::RefundShrank, subject, Some(expected), Some(found));
            }
        } else {
            self.open.remove(&Cause::RefundShrank);
        }
        self.refunded = if rules.keeps(Rule::HighestTotalCounts) { self.refunded.max(total) } else { total };
    }

    fn advance(&mut self, rules: Rules, word: Option<Word>, subject: &Subject) {
        let Some(word) = word else { return };
        match step(self.state, word) {
            Step::Same => self.agree(rules),
            Step::Stale => {
                if !rules.keeps(Rule::StaleClosesNothing) {
                    self.agree(rules);
                }
            }
            Step::Conflict => {
                if rules.keeps(Rule::ConflictOpens) {
                    let expected = self.state.map(|state| state.as_str().to_owned());
                    self.open(Cause::Conflict, subject, expected, Some(word.as_str().to_owned()));
                }
            }
            Step::Way(way) => {
                let won = self.state == Some(State::Chargeback) && word == Word::Paid && self.settled;
                let to = way.last().copied().or(self.state);
                let returns = won && rules.keeps(Rule::WonReturnsToCompleted);
                self.state = if returns { Some(State::Completed) } else { to };
                self.settled |= self.state == Some(State::Completed);
                self.agree(rules);
            }
        }
    }

    /// A line of a settlement file.
    fn settle(&mut self, rules: Rules, subject: &Subject) {
        match self.state {
            None | Some(State::Created | State::InAnalysis | State::Paid | State::Expired) => {
                self.advance(rules, Some(Word::Completed), subject);
            }
            Some(State::Completed | State::Refunded | State::Chargeback) => {
                if rules.keeps(Rule::StatementOnlySettles) {
                    self.settled = true;
                } else {
                    self.advance(rules, Some(Word::Completed), subject);
                }
            }
        }
    }

    fn rule(&mut self, rules: Rules, ruling: &Ruling) {
        match ruling {
            Ruling::Keep { cause, subject } => {
                if !rules.keeps(Rule::KeepSilences) {
                    return;
                }
                if self.open.get(cause).is_some_and(|open| open.subject == *subject) {
                    self.open.remove(cause);
                }
                self.silenced.insert(*cause, subject.clone());
            }
            Ruling::SetState { state, cause, subject } => {
                if rules.keeps(Rule::RulingSetsState) {
                    self.set_state(rules, *state);
                }
                if rules.keeps(Rule::RulingClosesConflict) {
                    self.open.remove(&Cause::Conflict);
                }
                if cause.is_condition() {
                    self.silenced.insert(*cause, subject.clone());
                } else if *cause != Cause::Conflict {
                    self.open.remove(cause);
                }
            }
        }
    }

    fn set_state(&mut self, rules: Rules, to: State) {
        let leaves_refunded = self.state == Some(State::Refunded) && to != State::Refunded;
        if leaves_refunded && rules.keeps(Rule::LeavingRefundedForgets) {
            self.refunded = Money::ZERO;
        }
        self.settled = match to {
            State::Completed => true,
            State::Refunded | State::Chargeback => self.settled,
            State::Created | State::InAnalysis | State::Paid | State::Expired => false,
        };
        self.state = Some(to);
    }

    fn agree(&mut self, rules: Rules) {
        if rules.keeps(Rule::AgreementCloses) {
            self.open.remove(&Cause::Conflict);
            self.open.remove(&Cause::UnknownStatus);
        }
    }

    fn open(&mut self, cause: Cause, subject: &Subject, expected: Option<String>, found: Option<String>) {
        if self.silenced.get(&cause) == Some(subject) {
            return;
        }
        self.silenced.remove(&cause);
        self.open.insert(cause, Open { subject: subject.clone(), expected, found });
    }

    fn finish(self, rules: Rules, terms: Terms) -> Standing {
        let state = self.state.unwrap_or(State::Created);
        let paid = state.has_money();
        let stand_in = terms.registered.filter(|_| rules.keeps(Rule::RegisteredStandsIn));
        let gross_known = self.gross.or(stand_in);
        let gross = gross_known.filter(|_| paid).unwrap_or_default();
        let refunded = match state {
            State::Refunded => gross,
            State::Paid | State::Completed | State::Chargeback => self.refunded.min(gross),
            State::Created | State::InAnalysis | State::Expired => Money::ZERO,
        };
        let charged_back = if state == State::Chargeback { gross - refunded } else { Money::ZERO };
        let sums = Sums {
            gross,
            fee: self.fee.unwrap_or_default(),
            refunded,
            charged_back,
            settled: self.settled && paid,
        };
        let (fee_known, provider_status) = (self.fee, self.provider_status.clone());
        let open = self.conditions(rules, terms, paid, gross_known);
        Standing { state, sums, gross_known, fee_known, open, provider_status }
    }

    /// The discrepancies that hold of the whole set, beside those the walk left open.
    fn conditions(
        self,
        rules: Rules,
        terms: Terms,
        paid: bool,
        gross: Option<Money>,
    ) -> BTreeMap<Cause, Open> {
        let show = |money: Money| Some(money.show(terms.currency));
        let mut open = self.open;
        let mut hold = |cause: Cause, subject: Subject, expected: Option<String>, found: Option<String>| {
            if self.silenced.get(&cause) != Some(&subject) {
                open.insert(cause, Open { subject, expected, found });
            }
        };
        if paid && gross.is_none() && rules.keeps(Rule::AmountUnknownHolds) {
            hold(Cause::AmountUnknown, Subject::Nothing, None, None);
        }
        if let Some(text) = self.unreadable {
            hold(Cause::AmountUnreadable, Subject::Text(text.clone()), None, Some(text));
        }
        if let (true, Some(named), Some(registered)) = (paid, self.gross, terms.registered)
            && named < registered
            && rules.keeps(Rule::UnderpaidHolds)
        {
            hold(Cause::Underpaid, Subject::Amounts(named, registered), show(registered), show(named));
        }
        if let Some(named) = self.foreign {
            let expected = Some(terms.currency.code().to_owned());
            hold(Cause::Currency, Subject::Text(named.clone()), expected, Some(named));
        }
        if let (true, Some(gross)) = (paid, gross)
            && self.refunded > gross
            && rules.keeps(Rule::RefundExceedsHolds)
        {
            hold(
                Cause::RefundExceedsGross,
                Subject::Amounts(self.refunded, gross),
                show(gross),
                show(self.refunded),
            );
        }
        open
    }
}
