//! What polls change besides evidence: when an order is asked about next, and what is known of a whole account.

use super::books::Group;
use super::command::{AccountNote, AccountTerms, Fault, Postponed, Reply, Rescheduling};
use crate::domain::ids::AccountId;
use crate::domain::order::Order;
use crate::domain::state::State;
use crate::domain::time::Time;
use crate::store::polls::AccountRecord;
use crate::store::{orders, polls};

/// So many orders get their new due time by one command.
const RESCHEDULED_MAX: usize = 200;

/// What an order's next due time follows from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A call of ours asked about it: its pause starts anew.
    Asked,
    /// News came otherwise: a poll may be due sooner for it, never later.
    Heard,
}

impl Group<'_> {
    /// When an order is asked about next, now that it stands as it does.
    pub fn schedule(&self, order: &mut Order, stored: Option<&Order>, terms: &AccountTerms, seen: Seen) {
        if seen == Seen::Heard && stored == Some(order) {
            return;
        }
        let due = match ends(order, stored, seen) {
            true => None,
            false => terms.cadence.due(order, order.sighting.checked_at, self.now),
        };
        order.poll_at = match (seen, due, order.poll_at) {
            (Seen::Heard, Some(due), Some(before)) => Some(due.min(before)),
            (Seen::Asked | Seen::Heard, due, _) => due,
        };
    }

    /// A poll brought no evidence.
    pub fn postpone(&mut self, postponed: Postponed) -> Result<Reply, Fault> {
        let Some(stored) = orders::get(&self.read(), &postponed.key)? else { return Ok(Reply::Noted) };
        let mut order = stored.clone();
        let asked = postponed.asked.max(order.sighting.checked_at);
        let ended = ends(&order, Some(&stored), Seen::Heard);
        order.poll_at = match postponed.askable && !ended {
            true => postponed.terms.cadence.due(&order, asked, self.now),
            false => None,
        };
        self.put_order(&order, Some(&stored))?;
        Ok(Reply::Noted)
    }

    /// Reckons due times anew, some orders at a time: the account's pauses were changed.
    pub fn reschedule(&mut self, rescheduling: &Rescheduling) -> Result<Reply, Fault> {
        let Rescheduling { terms, after } = rescheduling;
        let read = self.read();
        let listed = orders::list(read.below, Some(&terms.account), "", after.as_ref());
        let keys = listed.take(RESCHEDULED_MAX).map(|order| order.map(|order| order.key));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        for key in &keys {
            // Read again: a command before this one in the group may have changed it.
            let Some(stored) = orders::get(&self.read(), key)? else { continue };
            let mut order = stored.clone();
            if let Some(before) = stored.poll_at {
                let due = terms.cadence.due(&order, order.sighting.checked_at, self.now);
                order.poll_at = due.map(|due| due.min(before));
            }
            self.put_order(&order, Some(&stored))?;
        }
        let last = keys.into_iter().last();
        if last.is_none() {
            let pauses = Some((terms.cadence.pause_min, terms.cadence.pause_max));
            self.note_of(&terms.account, |record| record.pauses = pauses)?;
        }
        Ok(Reply::Rescheduled(last))
    }

    pub fn note_account(&mut self, note: &AccountNote) -> Result<Reply, Fault> {
        let up_to = Some(note.caught_up_to);
        self.note_of(&note.account, |record| record.caught_up_to = record.caught_up_to.max(up_to))?;
        Ok(Reply::Noted)
    }

    /// An account's first callback is remembered for good: one that never had any is worth a word.
    pub fn note_callback(&mut self, account: &AccountId, at: Time) -> Result<(), Fault> {
        let known = self.books.accounts.get(account).is_some_and(|record| record.first_callback.is_some());
        if known { Ok(()) } else { self.note_of(account, |record| record.first_callback = Some(at)) }
    }

    fn note_of(&mut self, account: &AccountId, change: impl FnOnce(&mut AccountRecord)) -> Result<(), Fault> {
        let record = self.books.accounts.entry(account.clone()).or_default();
        let before = *record;
        change(record);
        if *record != before {
            polls::put_account(&mut self.batch, account, record)?;
        }
        Ok(())
    }
}

/// Whether nothing follows any more: `refunded` ends the polls. An order that a provider's message made so is asked about
/// once more: a message tells of one change, and where clocks disagree it may sort before what a call of ours saw earlier.
fn ends(order: &Order, stored: Option<&Order>, seen: Seen) -> bool {
    let ended = |stored: &Order| stored.state() == State::Refunded && stored.poll_at.is_none();
    let refunded = order.state() == State::Refunded;
    match seen {
        Seen::Asked => refunded,
        Seen::Heard => refunded && stored.is_some_and(ended),
    }
}
