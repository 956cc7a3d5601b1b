//! The writer's view of the ledger: head, balances, counters; and the group of changes it is putting together.

use super::command::Fault;
use super::meter::Ended;
use super::periods::note_correction;
use crate::domain::balance::Balances;
use crate::domain::bridge::{Draft, Note};
use crate::domain::chain;
use crate::domain::discrepancy::Cause;
use crate::domain::entry::{DiscrepancyNote, Entry, Kind};
use crate::domain::evidence::{Origin, Source};
use crate::domain::ids::{AccountId, ReceiptId, Seq};
use crate::domain::money::Currency;
use crate::domain::order::{OpenDiscrepancy, Order};
use crate::domain::payout::{self, Payout};
use crate::domain::period::Closed;
use crate::domain::posting::LedgerAccount;
use crate::domain::receipt::Progress;
use crate::domain::time::{OffsetTime, Time};
use crate::store::agenda::Agenda;
use crate::store::engine::{Batch, Engine, Overlay};
use crate::store::entries::{self, StoredEntry};
use crate::store::meta::{self, Meta, StoreError};
use crate::store::polls::{self, AccountRecord};
use crate::store::running::Running;
use crate::store::{agenda, balances, orders, periods, receipts};
use std::collections::{BTreeMap, BTreeSet};

/// What the writer keeps in memory between groups.
#[derive(Clone, Debug)]
pub struct Books {
    pub meta: Meta,
    pub balances: Balances,
    pub queue: Queue,
    pub accounts: BTreeMap<AccountId, AccountRecord>,
    /// Months that later entries may correct.
    pub closed: Vec<Closed>,
}

/// How many receipts are where on their way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Queue {
    pub pending: u64,
    pub retrying: u64,
    pub failed: u64,
}

/// Where a piece of evidence comes from and when: the same for all entries that come of it.
pub struct Cited {
    pub origin: Origin,
    pub occurred: OffsetTime,
    pub as_of: Time,
    pub provider_status: Option<String>,
    pub details: Vec<(String, String)>,
}

/// Changes of a group of commands, on top of the engine.
pub struct Group<'a> {
    engine: &'a dyn Engine,
    pub books: &'a mut Books,
    pub now: Time,
    pub batch: Batch,
    /// Receipts that came to their end, or were given up.
    pub ended: Vec<Ended>,
    touched: BTreeSet<(LedgerAccount, Currency)>,
    agenda: Agenda,
    running: Running,
}

impl Books {
    /// The books as the engine has them. `None`: the database was just born and has no meta yet.
    pub fn load(engine: &dyn Engine) -> Result<Option<Books>, StoreError> {
        let Some(meta) = meta::get(engine)? else { return Ok(None) };
        let mut queue = Queue::default();
        for id in agenda::unprocessed(engine) {
            let receipt = receipts::get(engine, id?)?;
            queue.count(receipt.map(|receipt| receipt.progress).as_ref(), true);
        }
        queue.failed = receipts::given_up(engine).try_fold(0, |count, id| id.map(|_| count + 1))?;
        let accounts = polls::accounts(engine)?;
        let closed =
            periods::latest_first(engine, None).map(|closing| closing.map(|closing| Closed::of(&closing)));
        let closed = closed.collect::<Result<_, _>>()?;
        Ok(Some(Books { meta, balances: balances::load(engine)?, queue, accounts, closed }))
    }
}

impl Queue {
    /// Counts a receipt in (`true`) or out.
    pub fn count(&mut self, progress: Option<&Progress>, enters: bool) {
        let counter = match progress {
            Some(Progress::Pending) => &mut self.pending,
            Some(Progress::Retrying { .. }) => &mut self.retrying,
            Some(Progress::Failed { .. }) => &mut self.failed,
            Some(Progress::Done(_)) | None => return,
        };
        *counter = if enters { counter.saturating_add(1) } else { counter.saturating_sub(1) };
    }
}

impl<'a> Group<'a> {
    pub fn new(engine: &'a dyn Engine, books: &'a mut Books, now: Time) -> Self {
        let (batch, ended, touched, agenda, running) = Default::default();
        Group { engine, books, now, batch, ended, touched, agenda, running }
    }

    /// What the next command reads: the engine with this group's changes on top.
    pub fn read(&self) -> Overlay<'_> {
        Overlay { below: self.engine, batch: &self.batch }
    }

    /// The data without this group's changes: for scans that the group cannot change, and that must not be merged with it
    /// in memory.
    pub(super) fn below(&self) -> &dyn Engine {
        self.engine
    }

    /// A receipt comes onto the agenda (`true`), or off it.
    pub fn set_open(&mut self, id: ReceiptId, open: bool) -> Result<(), Fault> {
        Ok(self.agenda.set(self.engine, id, open)?)
    }

    /// A date of ours for evidence recorded now: after `newest` and after every other date of ours.
    pub fn stamp(&mut self, newest: Option<Time>) -> Time {
        let after = newest.map_or(Time(0), Time::next).max(self.books.meta.stamp.next());
        self.books.meta.stamp = self.now.max(after);
        self.books.meta.stamp
    }

    /// Appends the entries that the bridge asks for, each with the order as of it. Answers their seqs.
    pub fn append(
        &mut self,
        order: &mut Order,
        drafts: Vec<Draft>,
        cited: &Cited,
    ) -> Result<Vec<Seq>, Fault> {
        let mut seqs = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let previous = Some(order.seq).filter(|seq| seq.0 > 0);
            let entry = self.entry(order, draft, cited)?;
            seqs.push(entry.seq);
            self.put_entry(StoredEntry { entry, order: Some(order.clone()), previous })?;
        }
        Ok(seqs)
    }

    /// Appends the entry of a payout, whose record is complete but for its place in the ledger.
    pub fn append_payout(&mut self, mut payout: Payout) -> Result<Payout, Fault> {
        let (seq, recorded_at) = self.next_place();
        payout.seq = seq;
        payout.recorded_at = recorded_at;
        let entry = self.chained(Entry {
            seq,
            recorded_at,
            occurred_at: payout.occurred_at,
            account: payout.account.clone(),
            order: None,
            kind: Kind::Payout,
            from: None,
            to: None,
            amount: Some(payout.amount),
            currency: payout.currency,
            postings: payout::postings(&payout.account, payout.amount),
            origin: Origin { source: Source::Statement, receipt: None, actor: None, reason_hash: None },
            as_of: payout.occurred_at.at,
            discrepancy: None,
            provider_status: None,
            details: payout::details(&payout.reference),
            prev_hash: self.books.meta.hash,
            hash: self.books.meta.hash,
        })?;
        self.put_entry(StoredEntry { entry, order: None, previous: None })?;
        Ok(payout)
    }

    fn put_entry(&mut self, stored: StoredEntry) -> Result<(), Fault> {
        let entry = &stored.entry;
        self.books.balances.post(entry);
        for (ledger_account, sides) in self.books.balances.moved_by(entry) {
            self.running.set(self.engine, ledger_account, entry.currency, entry.seq, sides)?;
            self.touched.insert((ledger_account.clone(), entry.currency));
        }
        note_correction(&mut self.batch, &self.books.closed, entry)?;
        entries::put(&mut self.batch, &stored)?;
        Ok(())
    }

    /// The next entry's seq, and when it is recorded.
    fn next_place(&mut self) -> (Seq, Time) {
        let meta = &mut self.books.meta;
        meta.recorded_at = meta.recorded_at.max(self.now);
        (meta.seq.next(), meta.recorded_at)
    }

    /// The entry with its hash, as the new head.
    fn chained(&mut self, mut entry: Entry) -> Result<Entry, Fault> {
        entry.hash = chain::hash(&entry).map_err(|error| Fault::Inconsistent(error.to_string()))?;
        self.books.meta.seq = entry.seq;
        self.books.meta.hash = entry.hash;
        Ok(entry)
    }

    /// Makes a draft the next entry of the chain, and the order what it is after it.
    fn entry(&mut self, order: &mut Order, draft: Draft, cited: &Cited) -> Result<Entry, Fault> {
        let (seq, recorded_at) = self.next_place();
        let head = self.books.meta.hash;
        order.seq = seq;
        order.updated_at = recorded_at;
        order.ledgered = draft.after;
        let discrepancy =
            draft.note.map(|note| note_discrepancy(&mut self.batch, order, seq, recorded_at, note));
        self.chained(Entry {
            seq,
            recorded_at,
            occurred_at: cited.occurred,
            account: order.key.account.clone(),
            order: Some(order.key.reference.clone()),
            kind: draft.kind,
            from: draft.from,
            to: Some(draft.to),
            amount: draft.amount,
            currency: order.currency,
            postings: draft.postings,
            origin: cited.origin.clone(),
            as_of: cited.as_of,
            discrepancy: discrepancy.transpose()?,
            provider_status: cited.provider_status.clone(),
            details: cited.details.clone(),
            prev_hash: head,
            hash: head,
        })
    }

    /// Ends the group: what is written once a group joins the batch.
    pub fn finish(mut self) -> Result<Batch, StoreError> {
        if self.batch.is_empty() {
            return Ok(self.batch);
        }
        for (ledger_account, currency) in std::mem::take(&mut self.touched) {
            let key = (ledger_account, currency);
            let sides = self.books.balances.0.get(&key).copied().unwrap_or_default();
            balances::put(&mut self.batch, &key.0, key.1, &sides)?;
        }
        self.agenda.write(&mut self.batch)?;
        self.running.write(&mut self.batch)?;
        meta::put(&mut self.batch, &self.books.meta)?;
        Ok(self.batch)
    }
}

/// Opens or closes a discrepancy on the order, in the list of open ones, and on the entry.
fn note_discrepancy(
    batch: &mut Batch,
    order: &mut Order,
    seq: Seq,
    at: Time,
    note: Note,
) -> Result<DiscrepancyNote, StoreError> {
    match note {
        Note::Opens { cause, expected, found } => {
            orders::put_discrepancy(batch, seq, &order.key)?;
            let opened = OpenDiscrepancy { id: seq, expected, found, opened_at: at };
            let noted = noted(cause, &opened);
            order.open.insert(cause, opened);
            Ok(noted)
        }
        Note::Closes { cause, opened, action } => {
            orders::delete_discrepancy(batch, opened.id);
            order.open.remove(&cause);
            Ok(DiscrepancyNote { action: Some(action), ..noted(cause, &opened) })
        }
    }
}

fn noted(cause: Cause, opened: &OpenDiscrepancy) -> DiscrepancyNote {
    DiscrepancyNote {
        id: opened.id,
        cause,
        expected: opened.expected.clone(),
        found: opened.found.clone(),
        action: None,
    }
}
