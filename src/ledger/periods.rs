//! Closing a month: what is recorded and sealed, and what later entries mean for a month that is closed.

use super::books::Group;
use super::command::{Fault, Refusal, Reply};
use super::reader::Reader;
use super::seal::Sealer;
use crate::domain::balance::Balances;
use crate::domain::chain::Hash;
use crate::domain::entry::Entry;
use crate::domain::ids::Seq;
use crate::domain::period::{Closed, Closing, Mark, Moment, Month};
use crate::domain::seal::PublicKey;
use crate::domain::time::Time;
use crate::store::engine::{Batch, Read};
use crate::store::entries::{self, StoredEntry};
use crate::store::meta::StoreError;
use crate::store::{periods, running, seals};
use crate::views::seal::SealView;
use std::sync::Arc;

/// A month to close, and where it begins and ends.
#[derive(Clone, Debug)]
pub struct ClosePeriod {
    pub month: Month,
    pub timezone: String,
    pub from: Time,
    pub to: Time,
    /// The subject of the token that asks for it.
    pub actor: Option<String>,
    pub sealer: Arc<Sealer>,
}

/// A closing with its balances at both moments.
#[derive(Clone, Debug)]
pub struct ClosedBooks {
    pub closing: Closing,
    pub at_end: Balances,
    pub at_close: Balances,
    /// Whether the month was closed just now, or had been before.
    pub news: bool,
}

/// What later entries add to a closed month.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Corrections {
    pub count: u64,
    pub sums: Balances,
}

impl ClosedBooks {
    pub fn seal(&self, database: &[u8; 16]) -> SealView {
        SealView::of_closing(database, &self.closing, &self.at_end, &self.at_close)
    }
}

impl Group<'_> {
    /// Draws the line under a month; under one that is closed it stands already.
    pub(super) fn close_period(&mut self, request: ClosePeriod) -> Result<Reply, Fault> {
        if let Some(closed) = closed_books(&self.read(), request.month)? {
            return Ok(Reply::Closed(Box::new(closed)));
        }
        let now = self.now.max(self.books.meta.recorded_at);
        if now < request.to {
            return Err(Refusal::PeriodNotOver { month: request.month, to: request.to }.into());
        }
        // Whatever the clock does from now on: nothing more is recorded before the month's end.
        self.books.meta.recorded_at = now;
        let close = Mark { seq: self.books.meta.seq, hash: self.books.meta.hash };
        let end = self.last_before(request.to, close)?;
        let at_close = self.books.balances.clone();
        let at_end = self.balances_at(end.seq)?;
        let mut closing = Closing {
            month: request.month,
            timezone: request.timezone,
            from: request.from,
            to: request.to,
            closed_at: now,
            closed_by: request.actor,
            end,
            close,
            signed: request.sealer.unsigned(),
        };
        let signed = request.sealer.close(&mut closing, &at_end, &at_close);
        signed.map_err(|error| Fault::Inconsistent(error.to_string()))?;
        periods::put(&mut self.batch, &closing)?;
        periods::put_balances(&mut self.batch, closing.month, Moment::End, &at_end)?;
        periods::put_balances(&mut self.batch, closing.month, Moment::Close, &at_close)?;
        self.books.closed.push(Closed::of(&closing));
        Ok(Reply::Closed(Box::new(ClosedBooks { closing, at_end, at_close, news: true })))
    }

    /// The last entry that was recorded before a time that is over: no entry of this group is among those.
    fn last_before(&self, to: Time, head: Mark) -> Result<Mark, Fault> {
        let seq = entries::last_recorded(self.below(), head.seq, |at| at < to)?;
        if seq == Seq(0) {
            return Ok(Mark { seq, hash: Hash::genesis() });
        }
        let stored = entries::get(self.below(), seq)?;
        let stored = stored.ok_or_else(|| Fault::Inconsistent(format!("entry {seq} is missing")))?;
        Ok(Mark { seq, hash: stored.entry.hash })
    }

    fn balances_at(&self, seq: Seq) -> Result<Balances, StoreError> {
        running::balances(self.below(), self.books.balances.0.keys(), seq)
    }

    /// Notes the key that seals are signed with, if it is another one than before.
    pub(super) fn adopt_seal_key(&mut self, key: PublicKey) -> Result<Reply, Fault> {
        let known = seals::known(&self.read())?;
        if known.last() != Some(&key) {
            seals::adopt(&mut self.batch, known, key)?;
        }
        Ok(Reply::Noted)
    }
}

/// Lists an entry under every closed month that it happened in.
pub(super) fn note_correction(batch: &mut Batch, closed: &[Closed], entry: &Entry) -> Result<(), StoreError> {
    for closed in closed.iter().filter(|closed| closed.holds(entry.occurred_at.at)) {
        periods::put_correction(batch, closed.month, entry.seq)?;
    }
    Ok(())
}

/// A closing and its balances as they were recorded.
pub(super) fn closed_books(read: &dyn Read, month: Month) -> Result<Option<ClosedBooks>, StoreError> {
    let Some(closing) = periods::get(read, month)? else { return Ok(None) };
    let at_end = periods::balances(read, month, Moment::End)?;
    let at_close = periods::balances(read, month, Moment::Close)?;
    Ok(Some(ClosedBooks { closing, at_end, at_close, news: false }))
}

impl Reader {
    pub fn closed_books(&self, month: Month) -> Result<Option<ClosedBooks>, StoreError> {
        closed_books(self.engine(), month)
    }

    /// Closed months before `before`, the latest first, at most `limit`.
    pub fn closings(&self, before: Option<Month>, limit: usize) -> Result<Vec<ClosedBooks>, StoreError> {
        let mut found = Vec::new();
        for closing in periods::latest_first(self.engine(), before).take(limit) {
            found.extend(closed_books(self.engine(), closing?.month)?);
        }
        Ok(found)
    }

    /// What the entries up to `last` add to a closed month.
    pub fn corrections_summed(&self, month: Month, last: Seq) -> Result<Corrections, StoreError> {
        let mut corrections = Corrections::default();
        for seq in periods::corrections(self.engine(), month, Seq(0)) {
            let seq = seq?;
            if seq > last {
                break;
            }
            if let Some(stored) = entries::get(self.engine(), seq)? {
                corrections.sums.post(&stored.entry);
                corrections.count += 1;
            }
        }
        Ok(corrections)
    }

    /// Entries that correct a closed month, from `from` up to the head, at most `limit`.
    pub fn corrections(&self, month: Month, from: Seq, limit: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let mut found = Vec::new();
        for seq in periods::corrections(self.engine(), month, from).take(limit) {
            found.extend(self.entry(seq?)?);
        }
        Ok(found)
    }
}
