//! Balances after every entry that moved them: what makes any past moment one look away.
//!
//! For each ledger account and currency, what the entries of so many seqs in a row left stands on one page, as what
//! each of them added. A key for each entry instead would be an index ten times as long, of which a look at a long ledger
//! finds nothing in memory.

use super::codec;
use super::engine::{Batch, Direction, Engine, Read, prefix};
use super::keys;
use super::meta::{StoreError, store};
use crate::domain::balance::{Balances, Sides};
use crate::domain::ids::Seq;
use crate::domain::money::{Currency, Total};
use crate::domain::posting::LedgerAccount;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

/// Seqs that share a page. It is written anew by every group that adds to it, so it is not long.
pub const PAGE_SEQS: u64 = 128;

/// What one entry added to both sides; the first one of a page adds all that was there before, too.
#[derive(Clone, Copy, Encode, Decode)]
struct Move {
    /// Its seq, from the page's first on.
    nth: u8,
    debits: i128,
    credits: i128,
}

/// What each entry of a page left, by seq.
type Page = BTreeMap<Seq, Sides>;

fn page_of(seq: Seq) -> u64 {
    seq.0 / PAGE_SEQS
}

/// The last seq of a page: when the ledger is beyond it, the page never changes again.
pub fn last_of(page: u64) -> Seq {
    Seq(page.saturating_mul(PAGE_SEQS).saturating_add(PAGE_SEQS - 1))
}

fn encode(page: &Page) -> Vec<Move> {
    let mut before = Sides::default();
    let moves = page.iter().map(|(seq, sides)| {
        let debits = sides.debits.0.saturating_sub(before.debits.0);
        let credits = sides.credits.0.saturating_sub(before.credits.0);
        before = *sides;
        Move { nth: u8::try_from(seq.0 % PAGE_SEQS).unwrap_or_default(), debits, credits }
    });
    moves.collect()
}

fn decode(key: &[u8], value: &[u8]) -> Result<Page, StoreError> {
    let moves: Vec<Move> = codec::decode(key, value)?;
    let first = keys::page_of_running(key).unwrap_or_default().saturating_mul(PAGE_SEQS);
    let mut sides = Sides::default();
    let left = moves.into_iter().map(|Move { nth, debits, credits }| {
        // A page that somebody else wrote may hold any numbers.
        sides.debits = Total(sides.debits.0.saturating_add(debits));
        sides.credits = Total(sides.credits.0.saturating_add(credits));
        (Seq(first.saturating_add(u64::from(nth))), sides)
    });
    Ok(left.collect())
}

/// Pages that were added to and are not written yet.
#[derive(Default)]
pub struct Running {
    changed: BTreeMap<(LedgerAccount, Currency, u64), Page>,
}

impl Running {
    /// What an entry left of a ledger account.
    pub fn set(
        &mut self,
        below: &dyn Engine,
        ledger_account: &LedgerAccount,
        currency: Currency,
        seq: Seq,
        sides: Sides,
    ) -> Result<(), StoreError> {
        let number = page_of(seq);
        let page = match self.changed.entry((ledger_account.clone(), currency, number)) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => {
                let key = keys::running(ledger_account, currency, number);
                let stored = below.get(&key)?.map(|value| decode(&key, &value)).transpose()?;
                place.insert(stored.unwrap_or_default())
            }
        };
        page.insert(seq, sides);
        Ok(())
    }

    /// Hands over what was changed.
    pub fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        for ((ledger_account, currency, number), page) in std::mem::take(&mut self.changed) {
            store(batch, keys::running(&ledger_account, currency, number), &encode(&page))?;
        }
        Ok(())
    }
}

/// Looks what each entry left, entry by entry in their order: each page is read once.
#[derive(Default)]
pub struct Walk {
    pages: BTreeMap<(LedgerAccount, Currency), (u64, Page)>,
}

impl Walk {
    /// What exactly this entry left; none where it did not move the ledger account.
    pub fn after(
        &mut self,
        read: &dyn Read,
        ledger_account: &LedgerAccount,
        currency: Currency,
        seq: Seq,
    ) -> Result<Option<Sides>, StoreError> {
        let number = page_of(seq);
        let key = (ledger_account.clone(), currency);
        let at_hand = self.pages.get(&key).is_some_and(|(at_hand, _)| *at_hand == number);
        if !at_hand {
            let stored = keys::running(ledger_account, currency, number);
            let page = read.get(&stored)?.map(|value| decode(&stored, &value)).transpose()?;
            self.pages.insert(key.clone(), (number, page.unwrap_or_default()));
        }
        Ok(self.pages.get(&key).and_then(|(_, page)| page.get(&seq).copied()))
    }
}

/// What a ledger account held at the end of `seq`; none where nothing had been posted to it.
pub fn at(
    read: &dyn Read,
    ledger_account: &LedgerAccount,
    currency: Currency,
    seq: Seq,
) -> Result<Option<Sides>, StoreError> {
    let low = Bound::Included(keys::running_of(ledger_account, currency));
    let high = Bound::Included(keys::running(ledger_account, currency, page_of(seq)));
    // On the page of `seq` the first entry may be a later one.
    for pair in read.scan(low, high, Direction::Down) {
        let (key, value) = pair?;
        let last = decode(&key, &value)?.range(..=seq).next_back().map(|(_, sides)| *sides);
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
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
    let low = Bound::Included(keys::running(ledger_account, currency, page_of(from)));
    let high = Bound::Included(keys::running(ledger_account, currency, page_of(to)));
    let pairs = (from <= to).then(|| read.scan(low, high, Direction::Up)).into_iter().flatten();
    pairs.flat_map(move |pair| {
        let page = pair.map_err(StoreError::from).and_then(|(key, value)| decode(&key, &value));
        let (left, error) = match page {
            Ok(page) => (page, None),
            Err(error) => (Page::default(), Some(Err(error))),
        };
        left.into_iter().filter(move |(seq, _)| (from..=to).contains(seq)).map(Ok).chain(error)
    })
}

/// How many there are, of all ledger accounts.
pub fn count(read: &dyn Read) -> Result<u64, StoreError> {
    let (from, to) = prefix(&[keys::RUNNING]);
    read.scan(from, to, Direction::Up).try_fold(0, |count, pair| {
        let (key, value) = pair?;
        Ok(count + decode(&key, &value)?.len() as u64)
    })
}

/// Puts what data up to version 4 has under keys of their own onto pages, some at a time; answers how many.
pub fn move_to_pages(engine: &dyn Engine, most: usize) -> Result<(usize, Batch), StoreError> {
    let (from, to) = prefix(&[keys::RUNNING_BEFORE]);
    let (mut running, mut batch) = (Running::default(), Batch::default());
    let mut moved = 0;
    for pair in engine.scan(from, to, Direction::Up).take(most) {
        let (key, value) = pair?;
        if let Some((ledger_account, currency, seq)) = keys::running_before(&key) {
            running.set(engine, &ledger_account, currency, seq, codec::decode(&key, &value)?)?;
        }
        batch.delete(key);
        moved += 1;
    }
    running.write(&mut batch)?;
    Ok((moved, batch))
}
