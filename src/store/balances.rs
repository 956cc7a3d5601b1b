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
struct Stored {
    ledger_account: LedgerAccount,
    currency: Currency,
    sides: Sides,
}

pub fn load(read: &dyn Read) -> Result<Balances, StoreError> {
    let (from, to) = prefix(&[keys::BALANCE]);
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
