//! Pages and tails by seq, and single records. Readers are woken, never fed: each remembers the last seq it saw.
//!
//! Entries never change, so reading them up to the published head is safe while the writer goes on. What must agree with
//! itself (balances, head) comes from the one published value. Everything else may be seen a moment before it is
//! durable, so whoever answers with it waits for [`Reader::settled`] first.

use super::meter::Meter;
use super::witness::{Tap, Witnesses};
use super::writer::{Applied, Published};
use crate::domain::balance::Balances;
use crate::domain::entry::Entry;
use crate::domain::evidence::Evidence;
use crate::domain::ids::{AccountId, EventId, OrderKey, ProviderRef, ReceiptId, Reference, Seq};
use crate::domain::order::Order;
use crate::domain::receipt::Receipt;
use crate::domain::state::State;
use crate::domain::time::Time;
use crate::store::engine::{Engine, EngineError};
use crate::store::entries::{self, StoredEntry};
use crate::store::frozen::Frozen;
use crate::store::meta::StoreError;
use crate::store::polls::AccountRecord;
use crate::store::sealed::Body;
use crate::store::{agenda, evidence, orders, polls, receipts, running, sealed};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

#[derive(Clone)]
pub struct Reader {
    engine: Arc<dyn Engine>,
    published: watch::Receiver<Published>,
    applied: Applied,
    witnesses: Arc<Witnesses>,
    meter: Arc<Meter>,
}

impl Reader {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        published: watch::Receiver<Published>,
        applied: Applied,
        witnesses: Arc<Witnesses>,
        meter: Arc<Meter>,
    ) -> Self {
        Reader { engine, published, applied, witnesses, meter }
    }

    /// Comes back once everything that could be read before the call is durable.
    pub async fn settled(&self) -> Result<(), StoreError> {
        let visible = self.applied.load(Ordering::SeqCst);
        let mut published = self.published.clone();
        let settled = |now: &Published| now.group >= visible || now.stopped.is_some();
        let stopped = match published.wait_for(settled).await {
            Ok(now) if now.group >= visible => return Ok(()),
            Ok(now) => now.stopped.clone(),
            Err(_) => None,
        };
        let what = stopped.unwrap_or_else(|| "the writer has ended".to_owned());
        Err(StoreError::Engine(EngineError { what }))
    }

    /// How many groups were made visible so far; [`Published::group`] follows once they are durable.
    pub(super) fn visible(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// The whole store as it is between two groups, however long it is looked at.
    pub fn frozen(&self) -> Arc<Frozen> {
        self.witnesses.freeze(Arc::clone(&self.engine))
    }

    /// Ends every look at a frozen store: its reader, who may have much before him, hears why.
    pub fn thaw(&self, why: &str) {
        self.witnesses.thaw(why);
    }

    /// Everything there is, and every change from now on.
    pub fn tap(&self) -> Tap {
        self.witnesses.tap(self.clone())
    }

    /// What is durable now.
    pub fn published(&self) -> Published {
        self.published.borrow().clone()
    }

    /// What the writer counted since the start.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    pub fn head(&self) -> Seq {
        self.published.borrow().seq
    }

    /// For waiting until the head moves.
    pub fn subscribe(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }

    /// Whether the next group has its place on the device.
    pub fn has_room(&self) -> bool {
        !matches!(self.engine.make_room(), Ok(false))
    }

    pub(super) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub fn entry(&self, seq: Seq) -> Result<Option<StoredEntry>, StoreError> {
        if seq > self.head() { Ok(None) } else { entries::get(self.engine(), seq) }
    }

    /// Entries from `from` up to the head, at most `limit` that `wanted` wants, and the seq after the last one looked
    /// at. Looks at no more than `scan_max`, so that a rare filter cannot hold a thread for long.
    pub fn entries(
        &self,
        from: Seq,
        limit: usize,
        scan_max: usize,
        wanted: impl Fn(&StoredEntry) -> bool,
    ) -> Result<(Vec<StoredEntry>, Seq), StoreError> {
        let mut found = Vec::new();
        let mut next = from;
        for item in entries::range(self.engine(), from, self.head()).take(scan_max) {
            let (seq, stored) = item?;
            next = seq.next();
            if wanted(&stored) {
                found.push(stored);
                if found.len() == limit {
                    break;
                }
            }
        }
        Ok((found, next))
    }

    /// Balances by replay of the entries up to `last`, counting those that `counts`: for what no index has, such as the
    /// providers' dates.
    pub fn balances_replayed(
        &self,
        last: Seq,
        counts: impl Fn(&Entry) -> bool,
    ) -> Result<Balances, StoreError> {
        let mut balances = Balances::default();
        for item in entries::range(self.engine(), Seq(1), last.min(self.head())) {
            let (_, StoredEntry { entry, .. }) = item?;
            if counts(&entry) {
                balances.post(&entry);
            }
        }
        Ok(balances)
    }

    /// Balances at the end of a seq: one look per ledger account that anything was ever posted to.
    pub fn balances_as_of(&self, last: Seq) -> Result<Balances, StoreError> {
        running::balances(self.engine(), self.published().balances.0.keys(), last)
    }

    /// [`entries::last_recorded`] up to the head.
    pub fn last_recorded(&self, holds: impl Fn(Time) -> bool) -> Result<Seq, StoreError> {
        entries::last_recorded(self.engine(), self.head(), holds)
    }

    pub fn order(&self, key: &OrderKey) -> Result<Option<Order>, StoreError> {
        orders::get(self.engine(), key)
    }

    pub fn by_provider_ref(
        &self,
        account: &AccountId,
        provider_ref: &ProviderRef,
    ) -> Result<Option<Reference>, StoreError> {
        orders::by_provider_ref(self.engine(), account, provider_ref)
    }

    pub fn metadata(&self, key: &OrderKey) -> Result<Option<String>, StoreError> {
        sealed::metadata(self.engine(), key)
    }

    pub fn evidence(&self, key: &OrderKey) -> Result<Evidence, StoreError> {
        evidence::load(self.engine(), key)
    }

    pub fn receipt(&self, id: ReceiptId) -> Result<Option<Receipt>, StoreError> {
        receipts::get(self.engine(), id)
    }

    /// The provider's own id of the event that a receipt holds.
    pub fn event(&self, id: ReceiptId) -> Result<Option<EventId>, StoreError> {
        receipts::event(self.engine(), id)
    }

    pub fn body(&self, id: ReceiptId) -> Result<Option<Body>, StoreError> {
        sealed::body(self.engine(), id)
    }

    /// Receipts that still have to be processed, oldest first.
    pub fn unprocessed(&self) -> Result<Vec<Receipt>, StoreError> {
        let mut found = Vec::new();
        for id in agenda::unprocessed(self.engine()) {
            found.extend(self.receipt(id?)?);
        }
        Ok(found)
    }

    /// The receipt that waits longest to be processed.
    pub fn oldest_unprocessed(&self) -> Result<Option<Receipt>, StoreError> {
        let first = agenda::unprocessed(self.engine()).next().transpose()?;
        first.map_or(Ok(None), |id| self.receipt(id))
    }

    /// Whether one of an account's orders waits for its money, as far as the first few that are polled say.
    pub fn awaits_money(&self, account: &AccountId, scan_max: usize) -> Result<bool, StoreError> {
        for (_, reference) in self.polls_due(account, scan_max)? {
            let order = self.order(&OrderKey::new(account.clone(), reference))?;
            if order.is_some_and(|order| matches!(order.state(), State::Created | State::InAnalysis)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first orders of an account by the time they are due to be polled.
    pub fn polls_due(&self, account: &AccountId, limit: usize) -> Result<Vec<(Time, Reference)>, StoreError> {
        polls::due(self.engine(), account).take(limit).collect()
    }

    /// How many orders of an account are due by `now`, counted no further than `most`.
    pub fn polls_overdue(&self, account: &AccountId, now: Time, most: usize) -> Result<usize, StoreError> {
        polls::overdue(self.engine(), account, now, most)
    }

    pub fn account(&self, account: &AccountId) -> Result<AccountRecord, StoreError> {
        polls::account(self.engine(), account)
    }

    /// An order's entries, oldest first: walked backwards from its last one.
    pub fn history(&self, order: &Order) -> Result<Vec<StoredEntry>, StoreError> {
        let mut found = Vec::new();
        let mut at = Some(order.seq).filter(|seq| seq.0 > 0);
        while let Some(seq) = at {
            let Some(stored) = entries::get(self.engine(), seq)? else { break };
            at = stored.previous.filter(|previous| *previous < seq);
            found.push(stored);
        }
        found.reverse();
        Ok(found)
    }
}
