//! What happened lately, in memory: per account the last callback, success and error, and the callbacks that were
//! turned away. Bounded, and never on disk: nobody can fill it by knocking.

use super::resolve::Failure;
use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use crate::meter::{SLOW, Spreads, Tally};
use crate::schedule::silence::ARRIVALS_MAX;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const REJECTED_MAX: usize = 1000;

pub struct Activity {
    accounts: Mutex<BTreeMap<AccountId, Lately>>,
    rejected_count: AtomicU64,
    /// Calls to providers by account and result, since the start.
    pub calls: Tally<(AccountId, &'static str)>,
    /// How long they took.
    pub call_times: Spreads<AccountId>,
}

/// One account's recent past.
#[derive(Clone, Default, Debug)]
pub struct Lately {
    pub last_callback: Option<Time>,
    pub last_success: Option<Time>,
    pub last_error: Option<(Time, String)>,
    pub halted: Option<Halted>,
    pub rejected_count: u64,
    rejected: VecDeque<Rejected>,
    /// The last callbacks, oldest first.
    arrivals: VecDeque<Time>,
}

impl Lately {
    fn arrived(&mut self, at: Time) {
        if self.arrivals.len() >= ARRIVALS_MAX {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(at);
    }
}

/// Why an account is not polled for now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Halted {
    /// `None`: until a call succeeds.
    pub until: Option<Time>,
    pub why: String,
}

/// A callback that was turned away at the door.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// Counted over all accounts since the daemon started; pages go by it.
    pub number: u64,
    pub at: Time,
    pub address: Option<IpAddr>,
    pub status: u16,
    pub reason: String,
}

impl Default for Activity {
    fn default() -> Self {
        Activity {
            accounts: Mutex::default(),
            rejected_count: AtomicU64::default(),
            calls: Tally::default(),
            call_times: Spreads::over(SLOW),
        }
    }
}

impl Activity {
    /// A call to an account's provider has ended.
    pub fn called(&self, account: &AccountId, failure: Option<&Failure>, took: Duration) {
        self.calls.add((account.clone(), failure.map_or("ok", Failure::word)));
        self.call_times.note_time(account.clone(), took);
    }

    pub fn callback(&self, account: &AccountId, at: Time) {
        self.of(account, |lately| {
            lately.last_callback = Some(at);
            lately.arrived(at);
        });
    }

    /// A callback that arrived before the daemon started.
    pub fn arrived_before(&self, account: &AccountId, at: Time) {
        self.of(account, |lately| lately.arrived(at));
    }

    /// When the last callbacks arrived, oldest first.
    pub fn arrivals(&self, account: &AccountId) -> Vec<Time> {
        let accounts = self.accounts();
        let mut arrivals: Vec<Time> =
            accounts.get(account).map(|lately| lately.arrivals.iter().copied().collect()).unwrap_or_default();
        // What arrived while the past was read stands before it.
        arrivals.sort();
        arrivals
    }

    pub fn success(&self, account: &AccountId, at: Time) {
        self.of(account, |lately| lately.last_success = Some(at));
    }

    /// Its polls pause, or go on.
    pub fn halted(&self, account: &AccountId, halted: Option<Halted>) {
        self.of(account, |lately| lately.halted = halted);
    }

    pub fn error(&self, account: &AccountId, at: Time, what: String) {
        self.of(account, |lately| lately.last_error = Some((at, what)));
    }

    pub fn rejected(
        &self,
        account: &AccountId,
        at: Time,
        address: Option<IpAddr>,
        status: u16,
        reason: String,
    ) {
        let number = self.rejected_count.fetch_add(1, Ordering::Relaxed);
        let rejected = Rejected { number, at, address, status, reason };
        self.of(account, |lately| {
            lately.rejected_count = lately.rejected_count.saturating_add(1);
            lately.rejected.truncate(REJECTED_MAX - 1);
            lately.rejected.push_front(rejected);
        });
    }

    /// One account's recent past, without the callbacks that were turned away.
    pub fn lately(&self, account: &AccountId) -> Lately {
        let accounts = self.accounts();
        let known = accounts.get(account);
        let brief = |lately: &Lately| Lately {
            last_callback: lately.last_callback,
            last_success: lately.last_success,
            last_error: lately.last_error.clone(),
            halted: lately.halted.clone(),
            rejected_count: lately.rejected_count,
            ..Lately::default()
        };
        known.map(brief).unwrap_or_default()
    }

    /// The callbacks that were turned away, newest first, of the accounts that are visible.
    pub fn rejections(&self, visible: impl Fn(&AccountId) -> bool) -> Vec<(AccountId, Rejected)> {
        let accounts = self.accounts();
        let of = |(account, lately): (&AccountId, &Lately)| {
            let account = account.clone();
            lately
                .rejected
                .clone()
                .into_iter()
                .map(move |rejected| (account.clone(), rejected))
                .collect::<Vec<_>>()
        };
        let mut all: Vec<_> = accounts.iter().filter(|(account, _)| visible(account)).flat_map(of).collect();
        all.sort_by_key(|(_, rejected)| std::cmp::Reverse(rejected.number));
        all
    }

    fn of(&self, account: &AccountId, change: impl FnOnce(&mut Lately)) {
        change(self.accounts().entry(account.clone()).or_default());
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<AccountId, Lately>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
