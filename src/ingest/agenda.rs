//! What ingest does next, and what the end of each piece of work means for the rest: receipts before polls, and both
//! within what the provider of their account bears. No I/O but the index of due polls; time is an argument.

use super::activity::{Activity, Halted};
use super::health::{Growth, Health};
use super::poll::{Due, DueTimes, Poller};
use super::resolve::{Failure, Resolver};
use crate::domain::ids::{AccountId, OrderKey, ReceiptId};
use crate::domain::time::Time;
use crate::store::meta::StoreError;
use std::collections::BTreeMap;

/// Something to do now. Whoever takes it reports its [`Done`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    Receipt(AccountId, ReceiptId),
    Poll(OrderKey),
    /// Reads an account's list of events.
    CatchUp(AccountId),
}

/// How the provider treated the calls of a piece of work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Treated {
    /// None was made.
    NoCall,
    Well,
    Badly(Failure),
}

/// A piece of work has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    Receipt {
        account: AccountId,
        id: ReceiptId,
        /// It has to be processed again then.
        again: Option<Time>,
        treated: Treated,
    },
    Poll {
        key: OrderKey,
        treated: Treated,
        /// Trouble of our own: no polls of this account until then.
        hold: Option<Time>,
    },
    CatchUp {
        account: AccountId,
        /// Whether the list held something that was not known.
        news: bool,
        treated: Treated,
        /// Trouble of our own: no polls of this account until then.
        hold: Option<Time>,
    },
    /// Somebody asked by hand.
    ByHand { account: AccountId, treated: Treated },
}

const NOT_LOOKED: (Time, Time) = (Time(0), Time(0));
const NEVER: Time = Time(i64::MAX);

pub struct Agenda {
    resolver: Resolver,
    poller: Poller,
    health: BTreeMap<AccountId, Health>,
    growth: Growth,
    /// Calls of one account at the same time.
    per_account: usize,
    /// When polls were looked for, and until when none becomes due unless work ends meanwhile: each callback would cost a
    /// look otherwise.
    no_polls: (Time, Time),
}

impl Agenda {
    pub fn new(resolver: Resolver, poller: Poller, growth: Growth, per_account: usize) -> Agenda {
        Agenda { resolver, poller, health: BTreeMap::new(), growth, per_account, no_polls: NOT_LOOKED }
    }

    /// A receipt is to be processed at `due`.
    pub fn enqueue(&mut self, account: AccountId, id: ReceiptId, due: Time) {
        self.resolver.enqueue(account, id, due);
    }

    /// Everything that is to be done now.
    pub fn next(&mut self, now: Time, due_times: &dyn DueTimes) -> Result<Vec<Work>, StoreError> {
        let mut taken = Vec::new();
        let Agenda { resolver, poller, per_account, no_polls: (looked, until), .. } = self;
        while let Some((account, id)) = resolver.next(now, |account| poller.under_way(account)) {
            taken.push(Work::Receipt(account, id));
        }
        if (*looked..*until).contains(&now) {
            return Ok(taken);
        }
        let room = |account: &AccountId| per_account.saturating_sub(resolver.under_way(account));
        let due = poller.next(now, due_times, room)?;
        taken.extend(due.into_iter().map(|due| match due {
            Due::Order(key) => Work::Poll(key),
            Due::Events(account) => Work::CatchUp(account),
        }));
        Ok(taken)
    }

    /// When to look again at the latest.
    pub fn look_again(&mut self, now: Time, due_times: &dyn DueTimes) -> Result<Option<Time>, StoreError> {
        let (looked, until) = self.no_polls;
        // A clock that was put back looks again, too.
        if !(looked..until).contains(&now) {
            let room =
                |account: &AccountId| self.per_account.saturating_sub(self.resolver.under_way(account));
            let polls = self.poller.look_again(now, due_times, room)?;
            self.no_polls = (now, polls.unwrap_or(NEVER));
        }
        let receipts = self.resolver.due(|account| self.poller.under_way(account));
        let polls = Some(self.no_polls.1).filter(|until| *until != NEVER);
        Ok(receipts.into_iter().chain(polls).min())
    }

    /// Takes note of an end, and of what the provider's treatment means for the account's other calls.
    pub fn done(&mut self, done: Done, now: Time, activity: &Activity) {
        self.no_polls = NOT_LOOKED;
        let (account, treated) = match done {
            Done::Receipt { account, id, again, treated } => {
                self.resolver.finished(&account);
                if let Some(due) = again {
                    self.resolver.enqueue(account.clone(), id, due);
                }
                (account, treated)
            }
            Done::Poll { key, treated, hold } => {
                self.poller.finished(&Due::Order(key.clone()));
                self.hold(&key.account, hold);
                (key.account, treated)
            }
            Done::CatchUp { account, news, treated, hold } => {
                self.poller.finished(&Due::Events(account.clone()));
                self.poller.caught_up(&account, news, now);
                self.hold(&account, hold);
                (account, treated)
            }
            Done::ByHand { account, treated } => (account, treated),
        };
        self.treat(&account, treated, now, activity);
    }

    /// Credentials that were refused may be right now: everything that waits for that is tried at once.
    pub fn lift_refusals(&mut self, now: Time, activity: &Activity) {
        self.no_polls = NOT_LOOKED;
        for (account, health) in self.health.iter_mut().filter(|(_, health)| health.refused.is_some()) {
            health.succeeded();
            self.resolver.lift(account, now);
            self.poller.lift(account, now);
            activity.halted(account, None);
        }
    }

    fn hold(&mut self, account: &AccountId, until: Option<Time>) {
        if let Some(until) = until {
            self.poller.pause(account, until);
        }
    }

    fn treat(&mut self, account: &AccountId, treated: Treated, now: Time, activity: &Activity) {
        let health = self.health.entry(account.clone()).or_default();
        match treated {
            Treated::NoCall => {}
            Treated::Well => {
                health.succeeded();
                self.poller.resume(account);
                activity.success(account, now);
                // A pause that the provider asked for lasts all the same.
                if self.poller.paused_until(account, now).is_none() {
                    activity.halted(account, None);
                }
            }
            Treated::Badly(failure) => {
                let pauses = health.failed(&failure, self.growth, now);
                activity.error(account, now, failure.to_string());
                if let Some(until) = pauses.resolver {
                    self.resolver.pause(account, until);
                }
                if let Some(until) = pauses.poller {
                    self.poller.pause(account, until);
                    activity.halted(account, Some(Halted { until: Some(until), why: failure.to_string() }));
                }
                if let Some(why) = health.refused.clone() {
                    self.poller.refuse(account);
                    activity.halted(account, Some(Halted { until: None, why }));
                }
            }
        }
    }
}
