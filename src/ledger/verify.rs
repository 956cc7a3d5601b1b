//! Replays everything and names the first difference: sequence, hash chain, legal steps, postings that sum to zero, and
//! every stored projection rebuilt from entries and evidence and compared.

mod callbacks;

use super::periods::closed_books;
use super::seal::{self, Kept};
use crate::domain::balance::Balances;
use crate::domain::bridge::Ledgered;
use crate::domain::chain::{self, Hash};
use crate::domain::discrepancy::{Action, Cause};
use crate::domain::entry::{Entry, Kind};
use crate::domain::fold::stand;
use crate::domain::ids::{OrderKey, Seq};
use crate::domain::money::{Money, Total};
use crate::domain::order::{OpenDiscrepancy, Order};
use crate::domain::payout;
use crate::domain::period::{Closed, Closing, Month};
use crate::domain::posting::{LedgerAccount, Purpose};
use crate::domain::settlement;
use crate::domain::standing::OrderBalances;
use crate::domain::state::{State, legal};
use crate::domain::time::Time;
use crate::store::engine::Engine;
use crate::store::entries::{self, StoredEntry};
use crate::store::meta::{self, DATA_VERSION, Meta, StoreError};
use crate::store::{balances, evidence, orders, payouts, periods, polls, running, settlements};
use crate::views::seal::{SealView, SealedBalance, ledger_id};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Difference {
    #[error("{0}")]
    Found(String),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    pub entries: u64,
    pub orders: u64,
    pub receipts: u64,
    /// Closed months.
    pub periods: u64,
    pub head: Hash,
}

/// Told now and then how far it is: done and all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What the entries of one order add up to.
#[derive(Default)]
struct Replayed {
    state: Option<State>,
    balances: OrderBalances,
    open: BTreeMap<Cause, OpenDiscrepancy>,
    seq: Seq,
}

struct Replay {
    seq: Seq,
    hash: Hash,
    recorded_at: Time,
    balances: Balances,
    /// How many running balances the entries have led to.
    running: u64,
    pages: running::Walk,
    orders: BTreeMap<OrderKey, Replayed>,
    /// What is compared on the way, in the order in which it is passed.
    checkpoints: VecDeque<Checkpoint>,
    closings: Vec<Closing>,
    /// How many corrections of closed months the entries have led to.
    corrections: u64,
    /// How many payouts there are.
    payouts: u64,
}

/// Where somebody wrote down how the ledger stood.
struct Checkpoint {
    seq: Seq,
    hash: String,
    balances: Option<Vec<SealedBalance>>,
    /// Who says so.
    named: String,
}

pub fn verify(engine: &dyn Engine, progress: Progress<'_>) -> Result<Verified, Difference> {
    verify_with(engine, &[], progress)
}

/// [`verify`], and compares kept seals with the ledger.
pub fn verify_with(
    engine: &dyn Engine,
    kept: &[Kept],
    progress: Progress<'_>,
) -> Result<Verified, Difference> {
    let meta = meta::get(engine)?.ok_or_else(|| found("the ledger's head is missing"))?;
    if meta.data_version != DATA_VERSION {
        return Err(found(format!(
            "the data has version {}, this program knows {DATA_VERSION}",
            meta.data_version
        )));
    }
    let replay = replay(engine, &meta, kept, progress)?;
    compare_balances(engine, &replay)?;
    count_running(engine, &replay)?;
    count_corrections(engine, &replay)?;
    compare_kept_closings(engine, &meta, kept)?;
    let orders = compare_orders(engine, &replay)?;
    compare_discrepancies(engine, &replay)?;
    compare_payouts(engine, &replay)?;
    let receipts = callbacks::walk(engine, &meta)?;
    let periods = u64::try_from(replay.closings.len()).unwrap_or(u64::MAX);
    Ok(Verified { entries: meta.seq.0, orders, receipts, periods, head: replay.hash })
}

fn found(what: impl Into<String>) -> Difference {
    Difference::Found(what.into())
}

fn replay(
    engine: &dyn Engine,
    meta: &Meta,
    kept: &[Kept],
    progress: Progress<'_>,
) -> Result<Replay, Difference> {
    let (closings, checkpoints) = expected(engine, meta, kept)?;
    let mut replay = Replay {
        seq: Seq(0),
        hash: Hash::genesis(),
        recorded_at: Time(i64::MIN),
        balances: Balances::default(),
        running: 0,
        pages: running::Walk::default(),
        orders: BTreeMap::new(),
        checkpoints,
        closings,
        corrections: 0,
        payouts: 0,
    };
    replay.pass_checkpoints()?;
    for item in entries::range(engine, Seq(1), Seq(u64::MAX)) {
        let (seq, stored) = item?;
        replay.step(seq, &stored)?;
        replay.compare_running(engine, &stored.entry)?;
        replay.compare_closings(engine, &stored.entry)?;
        replay.pass_checkpoints()?;
        if seq.0.is_multiple_of(10_000) {
            progress(seq.0, meta.seq.0);
        }
    }
    progress(replay.seq.0, meta.seq.0);
    if replay.seq != meta.seq {
        return Err(found(format!("the ledger ends at entry {}, its head says {}", replay.seq, meta.seq)));
    }
    if replay.hash != meta.hash {
        return Err(found(format!("entry {}: the head holds another hash for it", meta.seq)));
    }
    if let Some(Checkpoint { seq, named, .. }) = replay.checkpoints.front() {
        return Err(found(format!(
            "{named}: it was made at seq {seq}, the ledger ends at seq {}: its end was cut off",
            meta.seq
        )));
    }
    Ok(replay)
}

/// The closed months, and what they and the kept seals say of the ledger.
fn expected(
    engine: &dyn Engine,
    meta: &Meta,
    kept: &[Kept],
) -> Result<(Vec<Closing>, VecDeque<Checkpoint>), Difference> {
    let mut checkpoints = Vec::new();
    for Kept { name, seal } in kept {
        let named = format!("seal {name}");
        let own = ledger_id(&meta.database);
        if seal.ledger != own {
            return Err(found(format!("{named}: it is of ledger {}, this one is {own}", seal.ledger)));
        }
        checkpoints.extend(Checkpoint::all(&named, seal));
    }
    let mut closings = Vec::new();
    for closing in periods::latest_first(engine, None) {
        let month = closing?.month;
        let Some(books) = closed_books(engine, month)? else { continue };
        let (named, seal) = (format!("closing {month}"), books.seal(&meta.database));
        if !seal::holds(&seal) {
            return Err(found(format!("{named}: its signature does not fit what it says")));
        }
        checkpoints.extend(Checkpoint::all(&named, &seal));
        closings.push(books.closing);
    }
    checkpoints.sort_by_key(|checkpoint| checkpoint.seq);
    Ok((closings, checkpoints.into()))
}

impl Checkpoint {
    /// What a seal says: of its head, and of the end of its month.
    fn all(named: &str, seal: &SealView) -> Vec<Checkpoint> {
        let mut all = Vec::new();
        if let Some(period) = &seal.period {
            all.push(Checkpoint {
                seq: Seq(period.end_seq),
                hash: period.end_hash.clone(),
                balances: Some(period.end_balances.clone()),
                named: named.to_owned(),
            });
        }
        let (seq, hash, balances) = (Seq(seal.seq), seal.hash.clone(), seal.balances.clone());
        all.push(Checkpoint { seq, hash, balances, named: named.to_owned() });
        all
    }

    /// In what it differs from the ledger at its seq.
    fn differs(&self, hash: &Hash, balances: &Balances) -> Option<String> {
        let Checkpoint { seq, named, .. } = self;
        if self.hash != hash.to_hex() {
            return Some(format!(
                "{named}: entry {seq} has hash {hash} here and {} there: the ledger was rewritten",
                self.hash
            ));
        }
        let (said, here) = (self.balances.as_ref()?, SealedBalance::all(balances));
        let other = |line: &&SealedBalance| !here.contains(line);
        let line = said.iter().find(other).or_else(|| here.iter().find(|line| !said.contains(line)))?;
        Some(format!(
            "{named}: balance {} in {} as of seq {seq} is not the sum of its entries",
            line.ledger_account, line.currency
        ))
    }
}

impl Replay {
    fn step(&mut self, seq: Seq, stored: &StoredEntry) -> Result<(), Difference> {
        let entry = &stored.entry;
        let wrong = |what: &str| Err(found(format!("entry {seq}: {what}")));
        if seq != self.seq.next() {
            return Err(found(format!("entry {}: it is missing", self.seq.next())));
        }
        if entry.seq != seq {
            return wrong("it carries another seq than its place");
        }
        if entry.prev_hash != self.hash {
            return wrong("it is not chained to the entry before");
        }
        let hash = chain::hash(entry).map_err(|error| found(error.to_string()))?;
        if entry.hash != hash {
            return wrong("its hash does not fit what it says");
        }
        if entry.recorded_at < self.recorded_at {
            return wrong("it was recorded before the entry before");
        }
        let sum = entry.postings.iter().fold(Total(0), |sum, posting| sum.plus(posting.amount));
        if sum != Total(0) {
            return wrong("its postings do not sum to zero");
        }
        if let Some(what) = self.step_order(entry, stored) {
            return Err(found(format!("entry {seq}: {what}")));
        }
        self.balances.post(entry);
        self.seq = seq;
        self.hash = hash;
        self.recorded_at = entry.recorded_at;
        Ok(())
    }

    /// What an entry leaves behind in the ledger accounts that it moves.
    fn compare_running(&mut self, engine: &dyn Engine, entry: &Entry) -> Result<(), Difference> {
        for (ledger_account, sides) in self.balances.moved_by(entry) {
            if self.pages.after(engine, ledger_account, entry.currency, entry.seq)? != Some(sides) {
                return Err(found(format!(
                    "running balance {ledger_account} in {} at seq {}: it is not the sum of its entries",
                    entry.currency, entry.seq
                )));
            }
            self.running += 1;
        }
        Ok(())
    }

    /// Compares what was written down of the ledger at this seq.
    fn pass_checkpoints(&mut self) -> Result<(), Difference> {
        while self.checkpoints.front().is_some_and(|next| next.seq == self.seq) {
            let checkpoint = self.checkpoints.pop_front();
            let differs = checkpoint.and_then(|told| told.differs(&self.hash, &self.balances));
            if let Some(what) = differs {
                return Err(found(what));
            }
        }
        Ok(())
    }

    /// Which side of a closed month's end an entry stands on, and whether it is listed as a correction if it is one.
    fn compare_closings(&mut self, engine: &dyn Engine, entry: &Entry) -> Result<(), Difference> {
        for closing in &self.closings {
            let wrong = |what: &str| found(format!("closing {}: entry {} {what}", closing.month, entry.seq));
            if (entry.recorded_at < closing.to) != (entry.seq <= closing.end.seq) {
                return Err(wrong("was recorded on the other side of the month's end"));
            }
            if entry.seq > closing.close.seq && Closed::of(closing).holds(entry.occurred_at.at) {
                if !periods::is_correction(engine, closing.month, entry.seq)? {
                    return Err(wrong("corrects it, and is not listed as a correction"));
                }
                self.corrections += 1;
            }
        }
        Ok(())
    }

    /// What is wrong with an entry of no order.
    fn step_payout(&mut self, entry: &Entry, stored: &StoredEntry) -> Option<&'static str> {
        if entry.kind != Kind::Payout {
            return Some("it names no order");
        }
        self.payouts += 1;
        let amount = entry.amount.unwrap_or_default();
        let alone = (entry.from, entry.to, &stored.order, stored.previous) == (None, None, &None, None);
        let lawful = amount > Money::ZERO && entry.postings == payout::postings(&entry.account, amount);
        (!alone || !lawful).then_some("it is no lawful payout")
    }

    /// What is wrong with an entry as a step of its order.
    fn step_order(&mut self, entry: &Entry, stored: &StoredEntry) -> Option<String> {
        let Some(reference) = &entry.order else {
            return self.step_payout(entry, stored).map(str::to_owned);
        };
        let key = OrderKey::new(entry.account.clone(), reference.clone());
        let replayed = self.orders.entry(key).or_default();
        if entry.from != replayed.state {
            return Some(format!("it starts from {:?}, the order was in {:?}", entry.from, replayed.state));
        }
        if stored.previous != Some(replayed.seq).filter(|seq| seq.0 > 0) {
            return Some("it names another entry as the order's last".to_owned());
        }
        let Some(to) = entry.to else { return Some("it names no state".to_owned()) };
        let moves = entry.from != Some(to);
        let ruled = entry.discrepancy.as_ref().is_some_and(|note| note.action == Some(Action::SetState));
        let lawful = match entry.kind {
            Kind::Transition => legal(entry.from, to),
            Kind::Adjustment => !moves,
            Kind::Discrepancy => !moves && entry.postings.is_empty(),
            Kind::Resolution => ruled || (!moves && entry.postings.is_empty()),
            Kind::Payout => false,
        };
        if !lawful {
            return Some(format!("{:?} to {to} is no lawful {}", entry.from, entry.kind.as_str()));
        }
        if let Some(what) = replayed.note(entry) {
            return Some(what);
        }
        replayed.state = Some(to);
        replayed.seq = entry.seq;
        entry
            .postings
            .iter()
            .for_each(|posting| post(&mut replayed.balances, &posting.ledger_account, posting.amount));
        let Some(order) = &stored.order else { return Some("the order as of it is missing".to_owned()) };
        replayed.differs(order).map(|what| format!("the order as of it has {what}"))
    }
}

fn post(balances: &mut OrderBalances, ledger_account: &LedgerAccount, amount: Money) {
    let line = match ledger_account.purpose {
        Purpose::Pending => &mut balances.pending,
        Purpose::Available => &mut balances.available,
        Purpose::Sales => &mut balances.sales,
        Purpose::Refunds => &mut balances.refunds,
        Purpose::Fees => &mut balances.fees,
        Purpose::Chargebacks => &mut balances.chargebacks,
        // No order's entry touches the bank; a posting there makes the order's balances differ.
        Purpose::Bank => &mut balances.pending,
    };
    *line = *line + amount;
}

impl Replayed {
    /// Follows what an entry does to a discrepancy.
    fn note(&mut self, entry: &Entry) -> Option<String> {
        let opens = entry.kind == Kind::Discrepancy;
        let closes = entry.kind == Kind::Resolution;
        let Some(note) = &entry.discrepancy else {
            return (opens || closes).then(|| "it names no discrepancy".to_owned());
        };
        if opens {
            let opened = OpenDiscrepancy {
                id: entry.seq,
                expected: note.expected.clone(),
                found: note.found.clone(),
                opened_at: entry.recorded_at,
            };
            let twice = self.open.insert(note.cause, opened).is_some();
            return twice.then(|| format!("{} is open already", note.cause));
        }
        match self.open.remove(&note.cause) {
            Some(opened) if opened.id == note.id && closes => None,
            Some(_) | None => Some(format!("it closes {} {}, which is not open", note.cause, note.id)),
        }
    }

    /// In what an order differs from what its entries add up to.
    fn differs(&self, order: &Order) -> Option<String> {
        let Ledgered { state, sums } = order.ledgered;
        if Some(state) != self.state {
            return Some(format!("state {state}, its entries say {:?}", self.state));
        }
        if sums.balances() != self.balances {
            return Some("other balances than its entries add up to".to_owned());
        }
        if order.open != self.open {
            return Some("other open discrepancies than its entries say".to_owned());
        }
        (order.seq != self.seq).then(|| format!("last entry {}, its entries end at {}", order.seq, self.seq))
    }
}

fn compare_balances(engine: &dyn Engine, replay: &Replay) -> Result<(), Difference> {
    let stored = balances::load(engine)?;
    for (key, sides) in &replay.balances.0 {
        if stored.0.get(key) != Some(sides) {
            return Err(found(format!("balance {} in {}: it is not the sum of its entries", key.0, key.1)));
        }
    }
    match stored.0.keys().find(|key| !replay.balances.0.contains_key(*key)) {
        Some((ledger_account, _)) => Err(found(format!("balance {ledger_account}: no entry posts to it"))),
        None => Ok(()),
    }
}

/// Every running balance that the entries lead to has been compared; none may stand beside them.
fn count_running(engine: &dyn Engine, replay: &Replay) -> Result<(), Difference> {
    let stored = running::count(engine)?;
    if stored == replay.running {
        return Ok(());
    }
    Err(found(format!("{stored} running balances are stored, the entries lead to {}", replay.running)))
}

/// The closing that a kept seal is of stands as it was sealed: whoever draws the line anew moves corrections across it.
fn compare_kept_closings(engine: &dyn Engine, meta: &Meta, kept: &[Kept]) -> Result<(), Difference> {
    for Kept { name, seal } in kept {
        let Some(period) = &seal.period else { continue };
        let books =
            Month::parse(&period.month).map(|month| closed_books(engine, month)).transpose()?.flatten();
        let what = match books {
            None => "is missing",
            Some(books) if books.seal(&meta.database) != *seal => "is another one here",
            Some(_) => continue,
        };
        return Err(found(format!("seal {name}: the closing of {} {what}", period.month)));
    }
    Ok(())
}

/// Every correction of a closed month has been found in its list; none may stand beside them.
fn count_corrections(engine: &dyn Engine, replay: &Replay) -> Result<(), Difference> {
    let listed = periods::count_corrections(engine)?;
    if listed == replay.corrections {
        return Ok(());
    }
    Err(found(format!(
        "{listed} corrections of closed months are listed, the entries lead to {}",
        replay.corrections
    )))
}

fn compare_orders(engine: &dyn Engine, replay: &Replay) -> Result<u64, Difference> {
    let mut count = 0;
    for order in orders::list(engine, None, "", None) {
        let order = order?;
        let wrong = |what: String| found(format!("order {}: it has {what}", order.key));
        let replayed = replay.orders.get(&order.key).ok_or_else(|| wrong("no entries".to_owned()))?;
        if let Some(what) = replayed.differs(&order) {
            return Err(wrong(what));
        }
        compare_standing(engine, &order)?;
        if let Some(due) = order.poll_at
            && !polls::is_listed(engine, &order.key, due)?
        {
            return Err(wrong(format!("a poll due at {due}, which is not listed")));
        }
        if let Some(provider_ref) = &order.provider_ref {
            let indexed = orders::by_provider_ref(engine, &order.key.account, provider_ref)?;
            if indexed.as_ref() != Some(&order.key.reference) {
                return Err(wrong(format!("provider_ref {provider_ref}, which does not lead to it")));
            }
        }
        count += 1;
    }
    if count != u64::try_from(replay.orders.len()).unwrap_or(u64::MAX) {
        let lost = replay.orders.keys().find(|key| !matches!(orders::get(engine, key), Ok(Some(_))));
        return Err(found(format!(
            "order {}: it is missing",
            lost.map(|key| key.to_string()).unwrap_or_default()
        )));
    }
    Ok(count)
}

/// Walks an order's evidence again and compares where it leads.
fn compare_standing(engine: &dyn Engine, order: &Order) -> Result<(), Difference> {
    let wrong = |what: String| Err(found(format!("order {}: its evidence comes to {what}", order.key)));
    let known = evidence::load(engine, &order.key)?;
    let standing = stand(&known, order.terms());
    if standing.state != order.ledgered.state {
        return wrong(format!("{}, the ledger has {}", standing.state, order.ledgered.state));
    }
    if standing.sums.balances() != order.ledgered.sums.balances() {
        return wrong("other balances than the ledger has".to_owned());
    }
    if !standing.open.keys().eq(order.open.keys()) {
        return wrong("other open discrepancies than the ledger has".to_owned());
    }
    for line in known.pieces().iter().filter_map(settlement::line_of) {
        let claim = settlements::claim(engine, &order.key.account, &line)?;
        if claim.map(|claim| claim.order).as_ref() != Some(&order.key) {
            return Err(found(format!("settlement line {line}: it is not kept as one of {}", order.key)));
        }
    }
    Ok(())
}

fn compare_discrepancies(engine: &dyn Engine, replay: &Replay) -> Result<(), Difference> {
    let mut listed = 0;
    for item in orders::discrepancies(engine, Seq(0)) {
        let (id, key) = item?;
        let open = replay.orders.get(&key).is_some_and(|order| order.open.values().any(|open| open.id == id));
        if !open {
            return Err(found(format!("discrepancy {id}: it is listed, and not open")));
        }
        listed += 1;
    }
    let open: usize = replay.orders.values().map(|order| order.open.len()).sum();
    if listed == open {
        Ok(())
    } else {
        Err(found(format!("{open} discrepancies are open, {listed} are listed")))
    }
}

/// Every payout's record leads to its entry and says what it says; none stands beside them.
fn compare_payouts(engine: &dyn Engine, replay: &Replay) -> Result<(), Difference> {
    let mut recorded = 0;
    for payout in payouts::list(engine, None, None) {
        let payout = payout?;
        let entry = entries::get(engine, payout.seq)?.map(|stored| stored.entry);
        let fits = entry.is_some_and(|entry| {
            (entry.kind, &entry.account, entry.amount) == (Kind::Payout, &payout.account, Some(payout.amount))
                && entry.details == payout::details(&payout.reference)
                && (entry.currency, entry.occurred_at) == (payout.currency, payout.occurred_at)
        });
        if !fits {
            let name = (&payout.account, &payout.reference);
            return Err(found(format!("payout {}/{}: entry {} is not its own", name.0, name.1, payout.seq)));
        }
        recorded += 1;
    }
    if recorded == replay.payouts {
        return Ok(());
    }
    Err(found(format!("{} entries are payouts, {recorded} payouts are recorded", replay.payouts)))
}
