//! Which receipt is processed next, and what follows from a call that brought nothing. No I/O; time is an argument.
//!
//! Each account has a lane of its own: its receipts by when they are due, how many calls are under way, and until when
//! the provider asked for a pause. So an account in trouble holds back nobody else, and a receipt that waits for its
//! retry holds back no other receipt.

use crate::domain::ids::{AccountId, ReceiptId};
use crate::domain::receipt::Receipt;
use crate::domain::time::Time;
use crate::ledger::command::Then;
use crate::providers::provider::Trouble;
use crate::schedule::backoff::Backoff;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// What the provider does not know is asked about at most so often …
const NOT_FOUND_ATTEMPTS_MAX: u32 = 10;
/// … within so long …
const NOT_FOUND_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// … in pauses that grow faster than others, so that the last attempts are hours away from the first.
const NOT_FOUND_FACTOR: u32 = 4;

/// The resolver's settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    pub first_pause: Duration,
    pub max_pause: Duration,
    pub give_up_after: Duration,
    /// Calls at the same time.
    pub per_account: usize,
}

/// Why a call brought nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Provider(#[from] Trouble),
    #[error("{0}")]
    NoAnswer(String),
}

pub struct Resolver {
    policy: Policy,
    lanes: BTreeMap<AccountId, Lane>,
    /// The account served last; the next one comes first.
    served: Option<AccountId>,
}

#[derive(Default)]
struct Lane {
    waiting: BTreeSet<(Time, ReceiptId)>,
    /// When each of them is due: one that is enqueued again changes its place.
    due: BTreeMap<ReceiptId, Time>,
    under_way: usize,
    paused_until: Time,
}

impl Resolver {
    pub fn new(policy: Policy) -> Resolver {
        Resolver { policy, lanes: BTreeMap::new(), served: None }
    }

    /// A receipt is to be processed at `due`.
    pub fn enqueue(&mut self, account: AccountId, id: ReceiptId, due: Time) {
        let lane = self.lanes.entry(account).or_default();
        if let Some(before) = lane.due.insert(id, due) {
            lane.waiting.remove(&(before, id));
        }
        lane.waiting.insert((due, id));
    }

    /// The next receipt to process now, accounts taking turns. Whoever takes it calls [`Resolver::finished`]; `others`
    /// says how many calls of an account are under way besides.
    pub fn next(
        &mut self,
        now: Time,
        others: impl Fn(&AccountId) -> usize,
    ) -> Option<(AccountId, ReceiptId)> {
        let account = self.turn(now, others)?;
        let lane = self.lanes.get_mut(&account)?;
        let (_, id) = lane.waiting.pop_first()?;
        lane.due.remove(&id);
        lane.under_way += 1;
        self.served = Some(account.clone());
        Some((account, id))
    }

    fn turn(&self, now: Time, others: impl Fn(&AccountId) -> usize) -> Option<AccountId> {
        let after = self.served.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.lanes.range((after, Bound::Unbounded));
        let ready = |(account, lane): &(&AccountId, &Lane)| {
            let most = self.policy.per_account.saturating_sub(others(account));
            lane.next_due(most).is_some_and(|due| due <= now)
        };
        rest.chain(self.lanes.iter()).find(ready).map(|(account, _)| account.clone())
    }

    /// When something can be processed at the earliest.
    pub fn due(&self, others: impl Fn(&AccountId) -> usize) -> Option<Time> {
        let most = |account| self.policy.per_account.saturating_sub(others(account));
        self.lanes.iter().filter_map(|(account, lane)| lane.next_due(most(account))).min()
    }

    /// How many receipts of an account are being processed.
    pub fn under_way(&self, account: &AccountId) -> usize {
        self.lanes.get(account).map_or(0, |lane| lane.under_way)
    }

    /// A receipt that was taken is seen to, for now or for good.
    pub fn finished(&mut self, account: &AccountId) {
        if let Some(lane) = self.lanes.get_mut(account) {
            lane.under_way = lane.under_way.saturating_sub(1);
        }
    }

    /// The provider asked for a pause: nothing of this account is asked until then.
    pub fn pause(&mut self, account: &AccountId, until: Time) {
        let lane = self.lanes.entry(account.clone()).or_default();
        lane.paused_until = lane.paused_until.max(until);
    }

    /// No pause any more, and whatever waits for another try is due now.
    pub fn lift(&mut self, account: &AccountId, now: Time) {
        let Some(lane) = self.lanes.get_mut(account) else { return };
        lane.paused_until = now;
        lane.due.values_mut().for_each(|due| *due = now.min(*due));
        lane.waiting = lane.due.iter().map(|(id, due)| (*due, *id)).collect();
    }
}

impl Lane {
    fn next_due(&self, under_way_max: usize) -> Option<Time> {
        let free = self.under_way < under_way_max;
        self.waiting.first().filter(|_| free).map(|(due, _)| (*due).max(self.paused_until))
    }
}

impl Failure {
    /// Whether the provider says that it does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Failure::Provider(Trouble::NotThere { .. }))
    }

    /// Its kind, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Failure::Provider(Trouble::NotThere { .. }) => "not_found",
            Failure::Provider(Trouble::Credentials { .. }) => "credentials",
            Failure::Provider(Trouble::TooFast { .. }) => "too_fast",
            Failure::Provider(Trouble::Down { .. }) => "down",
            Failure::Provider(Trouble::Broken(_)) => "broken",
            Failure::NoAnswer(_) => "no_answer",
        }
    }

    /// How long the provider asks the whole account to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Provider(Trouble::TooFast { retry_after, .. } | Trouble::Down { retry_after, .. }) => {
                *retry_after
            }
            Failure::Provider(
                Trouble::NotThere { .. } | Trouble::Credentials { .. } | Trouble::Broken(_),
            )
            | Failure::NoAnswer(_) => None,
        }
    }

    /// The HTTP status that the provider answered, where one is to blame.
    pub fn status(&self) -> Option<u16> {
        match self {
            Failure::Provider(
                Trouble::NotThere { status }
                | Trouble::Credentials { status }
                | Trouble::TooFast { status, .. }
                | Trouble::Down { status, .. },
            ) => Some(*status),
            Failure::Provider(Trouble::Broken(_)) | Failure::NoAnswer(_) => None,
        }
    }
}

/// What follows from a failed attempt: when to try again, or that it is given up.
pub fn after(policy: &Policy, receipt: &Receipt, failure: &Failure, now: Time) -> Then {
    let first_tried = receipt.first_tried.unwrap_or(now);
    let plain = Backoff {
        first_pause: policy.first_pause,
        pause_max: policy.max_pause,
        factor: 2,
        give_up_after: policy.give_up_after,
        attempts_max: None,
    };
    let (backoff, failures) = if failure.is_not_found() {
        let patient = Backoff {
            factor: NOT_FOUND_FACTOR,
            give_up_after: NOT_FOUND_WITHIN.min(policy.give_up_after),
            attempts_max: Some(NOT_FOUND_ATTEMPTS_MAX),
            ..plain
        };
        (patient, receipt.not_found_count.saturating_add(1))
    } else {
        (plain, receipt.failures.saturating_add(1))
    };
    match backoff.next(failures, first_tried, now, failure.retry_after(), receipt.id.0) {
        Some(next_at) => Then::Retry { next_at },
        None => Then::GiveUp {
            reason: format!("given up after {} attempts: {failure}", receipt.attempts_count + 1),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver() -> Resolver {
        let pause = Duration::from_secs(1);
        Resolver::new(Policy { first_pause: pause, max_pause: pause, give_up_after: pause, per_account: 2 })
    }

    fn account(name: &str) -> AccountId {
        AccountId::parse(name).unwrap()
    }

    #[test]
    fn accounts_take_turns_and_keep_to_their_lanes() {
        let mut resolver = resolver();
        for id in 1..=4 {
            resolver.enqueue(account("a"), ReceiptId(id), Time(0));
        }
        resolver.enqueue(account("b"), ReceiptId(9), Time(0));
        let taken: Vec<_> =
            std::iter::from_fn(|| resolver.next(Time(1), |_| 0)).map(|(_, id)| id.0).collect();
        assert_eq!(taken, [1, 9, 2], "two at a time for a, b between them");
        resolver.finished(&account("a"));
        assert_eq!(resolver.next(Time(1), |_| 0), Some((account("a"), ReceiptId(3))));
    }

    #[test]
    fn a_receipt_waits_in_one_place() {
        let mut resolver = resolver();
        resolver.enqueue(account("a"), ReceiptId(1), Time(90));
        resolver.enqueue(account("a"), ReceiptId(1), Time(5));
        assert_eq!(resolver.next(Time(100), |_| 0), Some((account("a"), ReceiptId(1))));
        assert_eq!((resolver.next(Time(100), |_| 0), resolver.due(|_| 0)), (None, None));
    }

    #[test]
    fn a_pause_holds_one_account_until_its_end() {
        let mut resolver = resolver();
        resolver.enqueue(account("a"), ReceiptId(1), Time(0));
        resolver.pause(&account("a"), Time(50));
        assert_eq!((resolver.next(Time(49), |_| 0), resolver.due(|_| 0)), (None, Some(Time(50))));
        assert_eq!(resolver.next(Time(50), |_| 0), Some((account("a"), ReceiptId(1))));
    }
}
