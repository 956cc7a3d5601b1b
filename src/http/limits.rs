//! How many callbacks an account may get, how often an address may fail, and how much of what strangers send is held in
//! memory at the same time.

use crate::config::{Limits, Rate};
use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use crate::schedule::limiter::{Allowance, Limiter};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// An account that is flooded recovers as soon as the flood ends.
const ACCOUNT_WAIT_MAX: Duration = Duration::from_secs(1);
/// An address that failed too often is slowed for at most so long.
const ADDRESS_WAIT_MAX: Duration = Duration::from_secs(30);

/// What is counted at the door. Absent: no limit.
pub struct DoorLimits {
    accounts: Option<Mutex<Limiter<AccountId>>>,
    addresses: Option<Mutex<Limiter<IpAddr>>>,
    /// Tokens that were not believed, apart from callbacks: neither keeps the other away.
    tokens: Option<Mutex<Limiter<IpAddr>>>,
    pub room: Room,
}

/// Room for callbacks' bodies, from their first byte until they are answered. The queue to the ledger is bounded in
/// commands, and connections in number; this bounds them in bytes.
pub struct Room(Semaphore);

/// What a body holds of the room.
#[derive(Default)]
pub struct Held<'a>(Option<SemaphorePermit<'a>>);

const ROOM_BYTES: usize = 32 * 1024 * 1024;
const ROOM_UNIT_BYTES: usize = 1024;

impl Default for Room {
    fn default() -> Room {
        Room(Semaphore::new(ROOM_BYTES / ROOM_UNIT_BYTES))
    }
}

impl Room {
    /// Lets a body grow to `bytes`; false: there is no room for it now.
    pub fn grow<'a>(&'a self, held: &mut Held<'a>, bytes: usize) -> bool {
        let has = held.0.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = bytes.div_ceil(ROOM_UNIT_BYTES).saturating_sub(has);
        let Ok(more) = u32::try_from(more) else { return false };
        let Ok(taken) = self.0.try_acquire_many(more) else { return false };
        match &mut held.0 {
            Some(permit) => permit.merge(taken),
            None => held.0 = Some(taken),
        }
        true
    }
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
            tokens: limiter(limits.callbacks_per_address, ADDRESS_WAIT_MAX),
            room: Room::default(),
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

    /// Counts a token that was not believed; says how long its address has to wait if it shows too many. A good token is
    /// never kept waiting: others may share its address.
    pub fn bad_token(&self, address: Option<IpAddr>, now: Time) -> Result<(), Duration> {
        let (Some(tokens), Some(address)) = (&self.tokens, address) else { return Ok(()) };
        tokens.lock().unwrap_or_else(PoisonError::into_inner).try_take(&address, now)
    }

    /// Counts a callback that was turned away.
    pub fn failed(&self, address: Option<IpAddr>, now: Time) {
        if let (Some(addresses), Some(address)) = (&self.addresses, address) {
            addresses.lock().unwrap_or_else(PoisonError::into_inner).take(&address, now);
        }
    }
}
