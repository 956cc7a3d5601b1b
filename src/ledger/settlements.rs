//! Settlement files: a few lines a command, each judged, applied by the one fold, and noted. What was noted is not done
//! again, so a file may be cut off anywhere and posted again. A dry run judges by the same rules and writes nothing.

use super::books::Group;
use super::command::{AccountTerms, Fault, News, Refusal, Reply};
use super::commit::locate;
use super::lists::{Page, page};
use super::reader::Reader;
use crate::domain::bridge::Ledgered;
use crate::domain::entry::Kind;
use crate::domain::evidence::Said;
use crate::domain::fold::{self, stand};
use crate::domain::ids::{AccountId, LineId, OrderKey, Reference, Seq, SettlementId};
use crate::domain::order::Order;
use crate::domain::settlement::{
    Applied, Claim, FileTerms, Finding, Judged, Known, Line, LineResult, Numbered, Reason, Settlement, Tally,
    judge,
};
use crate::domain::state::State;
use crate::domain::time::{OffsetTime, Time};
use crate::store::engine::{Batch, Overlay, Read};
use crate::store::meta::StoreError;
use crate::store::settlements::{self, Place};
use crate::store::{evidence, orders};
use std::collections::BTreeSet;
use std::time::Duration;

/// So many lines go into one command …
pub const LINES_AT_ONCE: usize = 32;
/// … and so many orders that are only here.
pub const NOTED_AT_ONCE: usize = 256;
/// So many orders that are only here are listed; all are counted.
pub const ONLY_HERE_LISTED_MAX: usize = 10_000;
/// A provider's date is believed so far ahead of ours.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug)]
pub enum SettlementCommand {
    Begin(NewSettlement),
    Settle(SettleLines),
    /// Orders that are only here, from this one on.
    NoteOnlyHere {
        id: SettlementId,
        first: u32,
        found: Vec<LineResult>,
    },
    End {
        id: SettlementId,
        /// What all orders come to that are only here.
        only_here: Box<Tally>,
    },
}

/// A file that is about to be gone through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSettlement {
    pub id: SettlementId,
    pub account: AccountTerms,
    pub terms: FileTerms,
}

/// Some lines of a file that has begun.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettleLines {
    pub id: SettlementId,
    pub account: AccountTerms,
    pub lines: Vec<Numbered>,
}

/// Orders that no line of a file names.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OnlyHere {
    /// At most [`ONLY_HERE_LISTED_MAX`].
    pub listed: Vec<LineResult>,
    /// Of all.
    pub tally: Tally,
}

impl SettlementCommand {
    /// About how many bytes it will write, for cutting groups.
    pub fn weight(&self) -> usize {
        match self {
            SettlementCommand::Begin(_) | SettlementCommand::End { .. } => 1024,
            SettlementCommand::Settle(settle) => 3072 * settle.lines.len(),
            SettlementCommand::NoteOnlyHere { found, .. } => 512 * found.len(),
        }
    }
}

/// Where a line points, and what it comes to there.
struct Weighed {
    key: OrderKey,
    order: Option<Order>,
    judged: Judged,
}

fn weigh(read: &dyn Read, account: &AccountTerms, line: &Line) -> Result<Weighed, StoreError> {
    let names = &line.names;
    let (key, order) = locate(read, &account.account, &names.reference, names.provider_ref.as_ref())?;
    let claim = settlements::claim(read, &account.account, &line.id)?;
    let known = Known {
        key: &key,
        order: order.as_ref(),
        claim: claim.as_ref(),
        foundation: evidence::foundation_end(read, &key)?,
        currency: account.currency,
    };
    let judged = judge(line, known);
    Ok(Weighed { key, order, judged })
}

impl Group<'_> {
    pub(super) fn settlement(&mut self, command: SettlementCommand) -> Result<Reply, Fault> {
        match command {
            SettlementCommand::Begin(begin) => self.begin_settlement(begin),
            SettlementCommand::Settle(settle) => self.settle_lines(settle),
            SettlementCommand::NoteOnlyHere { id, first, found } => {
                for (result, nth) in found.iter().zip(first..) {
                    settlements::put_line(&mut self.batch, id, Place::of_only_here(nth), result)?;
                }
                Ok(Reply::Noted)
            }
            SettlementCommand::End { id, only_here } => self.end_settlement(id, &only_here),
        }
    }

    /// A file that has begun already is left as it is: the repeat of a request goes on with it.
    fn begin_settlement(&mut self, begin: NewSettlement) -> Result<Reply, Fault> {
        if settlements::get(&self.read(), begin.id)?.is_none() {
            let settlement = Settlement {
                id: begin.id,
                account: begin.account.account,
                currency: begin.account.currency,
                terms: begin.terms,
                begun_at: self.recorded_at(),
                finished_at: None,
                tally: Tally::default(),
            };
            settlements::put(&mut self.batch, &settlement)?;
        }
        Ok(Reply::Noted)
    }

    fn settle_lines(&mut self, settle: SettleLines) -> Result<Reply, Fault> {
        let found = settlements::get(&self.read(), settle.id)?;
        let mut settlement = found.ok_or(Refusal::NoSuchSettlement)?;
        let mut results = Vec::with_capacity(settle.lines.len());
        for Numbered { number, line } in &settle.lines {
            let place = Place::of_line(*number);
            if let Some(known) = settlements::line(&self.read(), settle.id, place)? {
                results.push(known);
                continue;
            }
            let result = match line {
                Ok(line) => self.settle_line(&settle, *number, line)?,
                Err(unreadable) => LineResult::unreadable(*number, unreadable),
            };
            settlement.tally.add(&result);
            settlements::put_line(&mut self.batch, settle.id, place, &result)?;
            results.push(result);
        }
        settlements::put(&mut self.batch, &settlement)?;
        Ok(Reply::Settled(results))
    }

    fn settle_line(&mut self, settle: &SettleLines, number: u32, line: &Line) -> Result<LineResult, Fault> {
        let Weighed { key, order, mut judged } = weigh(&self.read(), &settle.account, line)?;
        let mut entries = Vec::new();
        if judged.applied == Applied::Now {
            match self.apply_line(&settle.account, line, order.as_ref()) {
                Ok(seqs) => {
                    entries = seqs;
                    let claim = line.claim(settle.id, key.clone(), &judged);
                    settlements::put_claim(&mut self.batch, &settle.account.account, &line.id, &claim)?;
                }
                Err(Fault::Refused(refusal)) => {
                    judged = Judged::refused(Finding::Different, Reason::no_way(refusal.to_string()));
                }
                Err(fault) => return Err(fault),
            }
        }
        let known = order.is_some().then_some(&key.reference);
        Ok(LineResult { entries, ..LineResult::of(number, line, known, judged) })
    }

    /// The line as evidence, through the fold.
    fn apply_line(
        &mut self,
        account: &AccountTerms,
        line: &Line,
        order: Option<&Order>,
    ) -> Result<Vec<Seq>, Fault> {
        let newest = order.and_then(|order| order.newest);
        let date = line.date(self.now).unwrap_or_else(|| self.stamp(newest));
        let news = News {
            reference: line.names.reference.clone(),
            provider_ref: line.names.provider_ref.clone(),
            token: None,
            piece: line.piece(date),
        };
        self.record_one(account, news).map(|(_, _, seqs)| seqs)
    }

    fn end_settlement(&mut self, id: SettlementId, only_here: &Tally) -> Result<Reply, Fault> {
        let found = settlements::get(&self.read(), id)?;
        let mut settlement = found.ok_or(Refusal::NoSuchSettlement)?;
        if settlement.finished_at.is_none() {
            settlement.finished_at = Some(self.recorded_at());
            settlement.tally.join(only_here);
            settlements::put(&mut self.batch, &settlement)?;
        }
        Ok(Reply::Noted)
    }
}

impl Reader {
    /// What the lines of a file would come to, one after the other, if they were posted now.
    pub fn try_lines(
        &self,
        account: &AccountTerms,
        lines: &[Numbered],
        now: Time,
    ) -> Result<Vec<LineResult>, StoreError> {
        let mut trial = Trial { reader: self, account, now, batch: Batch::default() };
        let result = |numbered: &Numbered| match &numbered.line {
            Ok(line) => trial.settle(numbered.number, line),
            Err(unreadable) => Ok(LineResult::unreadable(numbered.number, unreadable)),
        };
        lines.iter().map(result).collect()
    }

    pub fn settlement(&self, id: SettlementId) -> Result<Option<Settlement>, StoreError> {
        settlements::get(self.engine(), id)
    }

    /// Files begun before `before`, newest first.
    pub fn settlements(
        &self,
        wants: impl Fn(&AccountId) -> bool,
        before: Option<SettlementId>,
        limit: usize,
    ) -> Result<Page<Settlement, SettlementId>, StoreError> {
        let all = settlements::newest_first(self.engine(), before);
        page(all.map(|item| item.map(|it| (it.id, it))), limit, |settlement| wants(&settlement.account))
    }

    /// What a file's lines came to, then the orders that none names.
    pub fn settlement_lines(
        &self,
        id: SettlementId,
        wants: impl Fn(&LineResult) -> bool,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Page<LineResult, Place>, StoreError> {
        page(settlements::lines(self.engine(), id, after), limit, wants)
    }

    /// All of them.
    pub fn all_settlement_lines(&self, id: SettlementId) -> Result<Vec<LineResult>, StoreError> {
        settlements::lines(self.engine(), id, None).map(|item| item.map(|(_, result)| result)).collect()
    }

    /// Orders of an account that stand at paid or completed, became paid within `days` (the end exclusive) and were never
    /// named by any line: neither by an earlier file's nor by `named`.
    pub fn only_here(
        &self,
        account: &AccountId,
        days: (Time, Time),
        named: &BTreeSet<Reference>,
    ) -> Result<OnlyHere, StoreError> {
        let mut found = OnlyHere::default();
        for order in orders::list(self.engine(), Some(account), "", None) {
            let order = order?;
            let stands = matches!(order.state(), State::Paid | State::Completed);
            // What is dated within the days was recorded after them began, but for a clock that is ahead.
            let late = order.updated_at.plus(AHEAD_MAX) >= days.0;
            if !stands || !late || named.contains(&order.key.reference) {
                continue;
            }
            let paid = self.paid_at(&order)?;
            let Some(paid) = paid.filter(|paid| (days.0..days.1).contains(&paid.at)) else { continue };
            if self.is_in_a_file(&order.key)? {
                continue;
            }
            let result = LineResult::only_here(&order, paid);
            found.tally.add(&result);
            if found.listed.len() < ONLY_HERE_LISTED_MAX {
                found.listed.push(result);
            }
        }
        Ok(found)
    }

    /// When the order first became paid, by its provider's date.
    fn paid_at(&self, order: &Order) -> Result<Option<OffsetTime>, StoreError> {
        let history = self.history(order)?;
        let mut paid = history.iter().map(|stored| &stored.entry);
        let paid = paid.find(|entry| entry.kind == Kind::Transition && entry.to == Some(State::Paid));
        Ok(paid.map(|entry| entry.occurred_at))
    }

    fn is_in_a_file(&self, key: &OrderKey) -> Result<bool, StoreError> {
        let known = self.evidence(key)?;
        Ok(known.pieces().iter().any(|piece| piece.said == Said::Settled))
    }
}

/// A dry run: what earlier lines of the file would change lies in a batch that nobody applies.
struct Trial<'a> {
    reader: &'a Reader,
    account: &'a AccountTerms,
    now: Time,
    batch: Batch,
}

impl Trial<'_> {
    fn settle(&mut self, number: u32, line: &Line) -> Result<LineResult, StoreError> {
        let read = Overlay { below: self.reader.engine(), batch: &self.batch };
        let Weighed { key, order, judged } = weigh(&read, self.account, line)?;
        let known = order.is_some().then_some(&key.reference);
        let result = LineResult::of(number, line, known, judged.clone());
        if let (Some(order), Applied::Now) = (order, judged.applied) {
            self.apply(line, order)?;
            let claim = line.claim(SettlementId([0; 16]), key, &judged);
            self.claim(&line.id, &claim)?;
        }
        Ok(result)
    }

    /// The order as the line would leave it.
    fn apply(&mut self, line: &Line, mut order: Order) -> Result<(), StoreError> {
        let read = Overlay { below: self.reader.engine(), batch: &self.batch };
        let before = evidence::load(&read, &order.key)?;
        let newest = before.newest().map_or(self.now, |newest| newest.next().max(self.now));
        let mut after = before.clone();
        after.insert(line.piece(line.date(self.now).unwrap_or(newest)));
        after.settle(|oldest| fold::walk(oldest, order.terms()));
        let standing = stand(&after, order.terms());
        if let (None, Some(name)) = (&order.provider_ref, &line.names.provider_ref) {
            let OrderKey { account, reference } = &order.key;
            orders::put_provider_ref(&mut self.batch, account, name, reference)?;
            order.provider_ref = Some(name.clone());
        }
        order.sight(&after, &standing);
        order.ledgered = Ledgered { state: standing.state, sums: standing.sums };
        orders::put(&mut self.batch, &order)?;
        evidence::put_changes(&mut self.batch, &order.key, &before, &after)
    }

    fn claim(&mut self, id: &LineId, claim: &Claim) -> Result<(), StoreError> {
        settlements::put_claim(&mut self.batch, &self.account.account, id, claim)
    }
}
