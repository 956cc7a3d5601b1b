//! Balances now, per ledger account and currency.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, store};
use crate::domain::balance::{Balances, Sides};
use crate::domain::money::Currency;
use crate::domain::posting::LedgerAccount;
use bincode::{Decode, Encode};

#[derive(Encode, Decode)]
pub(super) struct Stored {
    pub(super) ledger_account: LedgerAccount,
    pub(super) currency: Currency,
    pub(super) sides: Sides,
}

pub fn load(read: &dyn Read) -> Result<Balances, StoreError> {
    load_below(read, &[keys::BALANCE])
}

/// The balances whose keys begin with `begin`.
pub(super) fn load_below(read: &dyn Read, begin: &[u8]) -> Result<Balances, StoreError> {
    let (from, to) = prefix(begin);
    let mut balances = Balances::default();
    for pair in read.scan(from, to, Direction::Up) {
        let (key, value) = pair?;
        let stored: Stored = codec::decode(&key, &value)?;
        balances.0.insert((stored.ledger_account, stored.currency), stored.sides);
    }
    Ok(balances)
}

pub fn put(
    batch: &mut Batch,
    ledger_account: &LedgerAccount,
    currency: Currency,
    sides: &Sides,
) -> Result<(), StoreError> {
    let stored = Stored { ledger_account: ledger_account.clone(), currency, sides: *sides };
    store(batch, keys::balance(ledger_account, currency), &stored)
}
