//! Reconciliations: how one begins, what each order's result adds, where it ends; and what a run reads.

use super::books::Group;
use super::command::{Fault, Reply};
use super::lists::{Page, page};
use super::reader::Reader;
use crate::domain::evidence::Source;
use crate::domain::ids::{AccountId, OrderKey, Reference, RunId, Seq};
use crate::domain::money::Currency;
use crate::domain::order::Order;
use crate::domain::run::{Finding, Lane, Run, RunResult, Scope, Slot, Tally};
use crate::domain::standing::Sums;
use crate::domain::state::State;
use crate::domain::time::Time;
use crate::store::meta::StoreError;
use crate::store::{entries, orders, runs};
use std::collections::BTreeMap;

/// How many orders one look for the next to ask about passes over.
const LOOK_MAX: usize = 2_000;
/// How many entries one result names.
const ENTRIES_LISTED_MAX: usize = 100;
/// What a result says of an order that is not there, or that is not there for whoever asks.
pub const NO_SUCH_ORDER: &str = "there is no such order";

/// A run that is about to begin.
#[derive(Clone, Debug)]
pub struct StartRun {
    pub id: RunId,
    pub owner: [u8; 32],
    pub scope: Scope,
    pub lanes: Vec<NewLane>,
    /// Those that were named, each once.
    pub orders: Vec<OrderKey>,
}

#[derive(Clone, Debug)]
pub struct NewLane {
    pub account: AccountId,
    pub total: u64,
    pub unseen: bool,
}

/// What asking about one order came to.
#[derive(Clone, Debug)]
pub struct NoteResult {
    pub run: RunId,
    pub order: OrderKey,
    pub result: RunResult,
    /// The order's sums before the run and now; none: there is no such order.
    pub sums: Option<(Currency, Sums, Sums)>,
    /// Every order of the account up to this one has its result, counting this one.
    pub after: Option<Reference>,
}

/// A run that is forgotten, some of its results at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForgetRun {
    pub run: RunId,
    /// Results that go; none are left: the run itself goes.
    pub orders: Vec<OrderKey>,
}

/// The next orders to ask about.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ToAsk {
    pub orders: Vec<Reference>,
    /// The last one looked at, after which to go on.
    pub looked_to: Option<Reference>,
    pub end: bool,
}

impl Group<'_> {
    /// A run that has begun already is left as it is: the repeat of a request starts nothing anew.
    pub(super) fn start_run(&mut self, start: &StartRun) -> Result<Reply, Fault> {
        if runs::get(&self.read(), start.id)?.is_some() {
            return Ok(Reply::Noted);
        }
        let open = start.lanes.iter().filter(|lane| !lane.unseen).count();
        let now = self.now.max(self.books.meta.recorded_at);
        let run = Run {
            id: start.id,
            owner: start.owner,
            scope: start.scope,
            started_at: now,
            head: self.books.meta.seq,
            finished_at: (open == 0).then_some(now),
            lanes_open: u32::try_from(open).unwrap_or(u32::MAX),
        };
        runs::put(&mut self.batch, &run)?;
        for NewLane { account, total, unseen } in &start.lanes {
            let tally = Tally { failed: if *unseen { *total } else { 0 }, ..Tally::default() };
            let (account, total, unseen) = (account.clone(), *total, *unseen);
            let lane = Lane { account, unseen, total, after: None, finished: unseen, tally };
            runs::put_lane(&mut self.batch, start.id, &lane)?;
        }
        for order in &start.orders {
            let hidden = start.lanes.iter().any(|lane| lane.unseen && lane.account == order.account);
            let slot = if hidden { Slot::Done(RunResult::no_such_order(now)) } else { Slot::Waiting };
            runs::put_slot(&mut self.batch, start.id, order, &slot)?;
        }
        Ok(Reply::Noted)
    }

    /// The first result of an order counts; a run that was cut off may bring a second.
    pub(super) fn note_result(&mut self, note: NoteResult) -> Result<Reply, Fault> {
        let slot = runs::slot(&self.read(), note.run, &note.order)?;
        let lane = runs::lane(&self.read(), note.run, &note.order.account)?;
        let (Some(mut lane), None | Some(Slot::Waiting)) = (lane, slot) else { return Ok(Reply::Noted) };
        lane.tally.count(note.result.finding);
        if let Some((currency, before, after)) = &note.sums {
            lane.tally.add(*currency, before, after);
        }
        lane.after = lane.after.max(note.after);
        runs::put_lane(&mut self.batch, note.run, &lane)?;
        runs::put_slot(&mut self.batch, note.run, &note.order, &Slot::Done(note.result))?;
        Ok(Reply::Noted)
    }

    pub(super) fn end_lane(&mut self, id: RunId, account: &AccountId) -> Result<Reply, Fault> {
        let lane = runs::lane(&self.read(), id, account)?.filter(|lane| !lane.finished);
        let (Some(mut lane), Some(mut run)) = (lane, runs::get(&self.read(), id)?) else {
            return Ok(Reply::Noted);
        };
        lane.finished = true;
        // Orders that ended by themselves before their turn came were not asked about.
        lane.total = lane.tally.done();
        runs::put_lane(&mut self.batch, id, &lane)?;
        run.lanes_open = run.lanes_open.saturating_sub(1);
        run.finished_at = (run.lanes_open == 0).then_some(self.now.max(run.started_at));
        runs::put(&mut self.batch, &run)?;
        Ok(Reply::Noted)
    }
}

impl Group<'_> {
    pub(super) fn forget_run(&mut self, forget: &ForgetRun) -> Result<Reply, Fault> {
        let ended = runs::get(&self.read(), forget.run)?.is_some_and(|run| run.finished_at.is_some());
        if !ended {
            return Ok(Reply::Noted);
        }
        forget.orders.iter().for_each(|order| runs::delete_slot(&mut self.batch, forget.run, order));
        if forget.orders.is_empty() {
            let lanes: Vec<Lane> = runs::lanes(&self.read(), forget.run).collect::<Result<_, _>>()?;
            runs::delete(&mut self.batch, forget.run, &lanes);
        }
        Ok(Reply::Noted)
    }
}

impl Reader {
    /// What goes next of the runs that ended before `before`: at most `limit` results, or a run without any.
    pub fn run_to_forget(&self, before: Time, limit: usize) -> Result<Option<ForgetRun>, StoreError> {
        let Some(oldest) = runs::oldest_first(self.engine()).next().transpose()? else { return Ok(None) };
        if oldest.finished_at.is_none_or(|at| at >= before) {
            return Ok(None);
        }
        let slots = runs::slots(self.engine(), oldest.id, None, None).take(limit);
        let orders = slots.map(|slot| slot.map(|(order, _)| order)).collect::<Result<_, _>>()?;
        Ok(Some(ForgetRun { run: oldest.id, orders }))
    }

    pub fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        runs::get(self.engine(), id)
    }

    pub fn lanes(&self, id: RunId) -> Result<Vec<Lane>, StoreError> {
        runs::lanes(self.engine(), id).collect()
    }

    /// Runs, newest first, each with its lanes.
    pub fn runs(
        &self,
        wants: impl Fn(&Run, &[Lane]) -> bool,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Page<(Run, Vec<Lane>), RunId>, StoreError> {
        let with_lanes = runs::newest_first(self.engine(), before).map(|run| {
            let run = run?;
            let lanes = self.lanes(run.id)?;
            Ok((run.id, (run, lanes)))
        });
        page(with_lanes, limit, |(run, lanes)| wants(run, lanes))
    }

    /// Runs that have not ended, oldest first.
    pub fn unfinished_runs(&self) -> Result<Vec<Run>, StoreError> {
        let all = runs::newest_first(self.engine(), None);
        let open = all.filter(|run| run.as_ref().map_or(true, |run| run.finished_at.is_none()));
        let mut found: Vec<Run> = open.collect::<Result<_, _>>()?;
        found.reverse();
        Ok(found)
    }

    /// A run's results by account and reference.
    pub fn results(
        &self,
        id: RunId,
        wants: impl Fn(&OrderKey, &RunResult) -> bool,
        after: Option<&OrderKey>,
        limit: usize,
    ) -> Result<Page<(OrderKey, RunResult), OrderKey>, StoreError> {
        let slots = runs::slots(self.engine(), id, None, after);
        let keyed = slots.map(|slot| slot.map(|(order, slot)| (order.clone(), (order, slot))));
        let done = |(order, slot): &(OrderKey, Slot)| match slot {
            Slot::Done(result) => wants(order, result),
            Slot::Waiting => false,
        };
        let found = page(keyed, limit, done)?;
        let result = |(order, slot)| match slot {
            Slot::Done(result) => Some((order, result)),
            Slot::Waiting => None,
        };
        Ok(Page { found: found.found.into_iter().filter_map(result).collect(), next: found.next })
    }

    /// How many orders are open, by account.
    pub fn open_orders(
        &self,
        sees: impl Fn(&AccountId) -> bool,
    ) -> Result<BTreeMap<AccountId, u64>, StoreError> {
        let mut counts = BTreeMap::new();
        for order in orders::list(self.engine(), None, "", None) {
            let order = order?;
            if order.is_open() && sees(&order.key.account) {
                *counts.entry(order.key.account).or_insert(0) += 1;
            }
        }
        Ok(counts)
    }

    /// The orders of an account that a run asks about next, after `after`, without those that have their result.
    pub fn to_ask(
        &self,
        run: &Run,
        account: &AccountId,
        after: Option<&Reference>,
        limit: usize,
    ) -> Result<ToAsk, StoreError> {
        let after = after.map(|reference| OrderKey::new(account.clone(), reference.clone()));
        match run.scope {
            Scope::Open => {
                let all = orders::list(self.engine(), Some(account), "", after.as_ref());
                let wanted = |order: Order| {
                    let asked = order.is_open() && order.created_at <= run.started_at;
                    let open = asked && runs::slot(self.engine(), run.id, &order.key)?.is_none();
                    Ok((order.key.reference, open))
                };
                to_ask(all.map(|order| order.and_then(wanted)), limit)
            }
            Scope::Named => {
                let slots = runs::slots(self.engine(), run.id, Some(account), after.as_ref());
                to_ask(
                    slots.map(|slot| slot.map(|(key, slot)| (key.reference, slot == Slot::Waiting))),
                    limit,
                )
            }
        }
    }

    /// What polls changed about an order after an entry: their entries, oldest first, and the sums as they were.
    pub fn polled_since(&self, order: &Order, head: Seq) -> Result<(Vec<Seq>, Sums), StoreError> {
        let mut found = Vec::new();
        let mut before = order.ledgered.sums;
        let mut at = Some(order.seq).filter(|seq| *seq > head);
        while let Some(seq) = at {
            let Some(stored) = entries::get(self.engine(), seq)? else { break };
            if stored.entry.origin.source == Source::Poll {
                let previous = stored.previous.map(|seq| entries::get(self.engine(), seq)).transpose()?;
                let as_of = previous.flatten().and_then(|stored| stored.order);
                before = as_of.map_or_else(Sums::default, |order| order.ledgered.sums);
                found.push(seq);
            }
            at = stored.previous.filter(|previous| *previous > head && *previous < seq);
        }
        found.reverse();
        found.truncate(ENTRIES_LISTED_MAX);
        Ok((found, before))
    }
}

fn to_ask(
    looked_at: impl Iterator<Item = Result<(Reference, bool), StoreError>>,
    limit: usize,
) -> Result<ToAsk, StoreError> {
    let mut found = ToAsk::default();
    let mut looked = 0;
    for item in looked_at.take(LOOK_MAX) {
        looked += 1;
        let (reference, wanted) = item?;
        if wanted {
            found.orders.push(reference.clone());
        }
        found.looked_to = Some(reference);
        if found.orders.len() == limit {
            return Ok(found);
        }
    }
    found.end = looked < LOOK_MAX;
    Ok(found)
}

impl RunResult {
    fn no_such_order(at: Time) -> RunResult {
        RunResult {
            finding: Finding::Failed,
            reason: Some(NO_SUCH_ORDER.to_owned()),
            state: None,
            entries: Vec::new(),
            at,
        }
    }
}

impl Order {
    /// Whether the provider may still have news of it.
    pub fn is_open(&self) -> bool {
        self.state() != State::Refunded
    }
}
