//! Balances after every entry that moved them: what makes any past moment one look away.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::balance::{Balances, Sides};
use crate::domain::ids::Seq;
use crate::domain::money::Currency;
use crate::domain::posting::LedgerAccount;
use std::ops::Bound;

pub fn put(
    batch: &mut Batch,
    ledger_account: &LedgerAccount,
    currency: Currency,
    seq: Seq,
    sides: &Sides,
) -> Result<(), StoreError> {
    store(batch, keys::running(ledger_account, currency, seq), sides)
}

/// What exactly this entry left; none where it did not move the ledger account.
pub fn after(
    read: &dyn Read,
    ledger_account: &LedgerAccount,
    currency: Currency,
    seq: Seq,
) -> Result<Option<Sides>, StoreError> {
    one(read, &keys::running(ledger_account, currency, seq))
}

/// What a ledger account held at the end of `seq`; none where nothing had been posted to it.
pub fn at(
    read: &dyn Read,
    ledger_account: &LedgerAccount,
    currency: Currency,
    seq: Seq,
) -> Result<Option<Sides>, StoreError> {
    let low = Bound::Included(keys::running_of(ledger_account, currency));
    let high = Bound::Included(keys::running(ledger_account, currency, seq));
    match read.scan(low, high, Direction::Down).next() {
        Some(pair) => {
            let (key, value) = pair?;
            Ok(Some(codec::decode(&key, &value)?))
        }
        None => Ok(None),
    }
}

/// What each of these ledger accounts held at the end of `seq`; those that nothing had been posted to are left out.
pub fn balances<'a>(
    read: &dyn Read,
    of: impl Iterator<Item = &'a (LedgerAccount, Currency)>,
    seq: Seq,
) -> Result<Balances, StoreError> {
    let mut balances = Balances::default();
    for key @ (ledger_account, currency) in of {
        if let Some(sides) = at(read, ledger_account, *currency, seq)? {
            balances.0.insert(key.clone(), sides);
        }
    }
    Ok(balances)
}

/// The entries that moved a ledger account, from `from` to `to`, both inclusive, oldest first, with what each left.
pub fn range<'a>(
    read: &'a dyn Read,
    ledger_account: &LedgerAccount,
    currency: Currency,
    from: Seq,
    to: Seq,
) -> impl Iterator<Item = Result<(Seq, Sides), StoreError>> + 'a {
    let low = Bound::Included(keys::running(ledger_account, currency, from));
    let high = Bound::Included(keys::running(ledger_account, currency, to));
    let pairs = (from <= to).then(|| read.scan(low, high, Direction::Up)).into_iter().flatten();
    pairs.map(|pair| {
        let (key, value) = pair?;
        Ok((keys::seq_of_running(&key).unwrap_or_default(), codec::decode(&key, &value)?))
    })
}

/// How many there are, of all ledger accounts.
pub fn count(read: &dyn Read) -> Result<u64, StoreError> {
    let (from, to) = prefix(&[keys::RUNNING]);
    read.scan(from, to, Direction::Up)
        .try_fold(0, |count, pair| pair.map(|_| count + 1))
        .map_err(StoreError::from)
}
