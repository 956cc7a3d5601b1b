//! How many callbacks an account may get, and how many an address may fail with.

use crate::config::{Limits, Rate};
use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use crate::schedule::limiter::{Allowance, Limiter};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An account that is flooded recovers as soon as the flood ends.
const ACCOUNT_WAIT_MAX: Duration = Duration::from_secs(1);
/// An address that failed too often is slowed for at most so long.
const ADDRESS_WAIT_MAX: Duration = Duration::from_secs(30);

/// What is counted at the door. Absent: no limit.
pub struct DoorLimits {
    accounts: Option<Mutex<Limiter<AccountId>>>,
    addresses: Option<Mutex<Limiter<IpAddr>>>,
}

impl DoorLimits {
    pub fn new(limits: &Limits) -> DoorLimits {
        fn limiter<K: Ord + Clone>(rate: Option<Rate>, wait_max: Duration) -> Option<Mutex<Limiter<K>>> {
            let allowance = rate.map(|rate| Allowance { count: rate.count, per: rate.per });
            allowance.map(|allowance| Mutex::new(Limiter::new(allowance, wait_max)))
        }
        DoorLimits {
            accounts: limiter(limits.callbacks_per_account, ACCOUNT_WAIT_MAX),
            addresses: limiter(limits.callbacks_per_address, ADDRESS_WAIT_MAX),
        }
    }

    /// Counts a callback whose credential was right.
    pub fn callback(&self, account: &AccountId, now: Time) -> Result<(), Duration> {
        let Some(accounts) = &self.accounts else { return Ok(()) };
        accounts.lock().unwrap_or_else(PoisonError::into_inner).try_take(account, now)
    }

    /// How long an address that failed too often has to wait.
    pub fn address(&self, address: Option<IpAddr>, now: Time) -> Result<(), Duration> {
        let (Some(addresses), Some(address)) = (&self.addresses, address) else { return Ok(()) };
        let wait = addresses.lock().unwrap_or_else(PoisonError::into_inner).wait(&address, now);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Counts a callback that was turned away.
    pub fn failed(&self, address: Option<IpAddr>, now: Time) {
        if let (Some(addresses), Some(address)) = (&self.addresses, address) {
            addresses.lock().unwrap_or_else(PoisonError::into_inner).take(&address, now);
        }
    }
}
