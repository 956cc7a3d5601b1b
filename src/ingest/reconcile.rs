//! Runs over many orders: what to ask next, and what an answer means for the run. No I/O; time is an argument.
//!
//! Each run has a lane per account, and a lane holds a small window of the account's orders, in key order: however many
//! orders there are, a run's memory is its windows. Accounts take turns and keep to their calls at the same time and to
//! the pauses that providers ask for, over all runs together; so an account in trouble holds back no other.

use super::resolve::{Failure, Policy};
use crate::domain::ids::{AccountId, OrderKey, Reference, RunId};
use crate::domain::time::Time;
use crate::ledger::runs::{NO_SUCH_ORDER, ToAsk};
use crate::providers::provider::Trouble;
use crate::schedule::backoff::Backoff;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// How many orders of an account a run has in hand, at most.
const WINDOW: usize = 64;
/// An order is asked about at most so often …
const ATTEMPTS_MAX: u32 = 5;
/// … in pauses of at most this …
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// … not counting the times that the provider only asked for patience, of which so many are enough.
const HELD_UP_MAX: u32 = 50;
/// After so many orders in a row that were given up, the provider is not asked about the others of the account.
const GIVEN_UP_IN_A_ROW_MAX: u32 = 32;
/// After trouble with our own store an order is tried again so much later.
const OWN_TROUBLE_PAUSE: Duration = Duration::from_secs(5);

pub struct Reconciler {
    policy: Policy,
    lanes: BTreeMap<(RunId, AccountId), Lane>,
    paces: BTreeMap<AccountId, Pace>,
    /// The lane served last; the next one comes first.
    served: Option<(RunId, AccountId)>,
    /// Counts failures, so that retries spread.
    seed: u64,
}

/// One run within one account.
#[derive(Default)]
struct Lane {
    /// The orders in hand, and whether their result is durable.
    window: BTreeMap<Reference, bool>,
    waiting: BTreeSet<(Time, Reference)>,
    trials: BTreeMap<Reference, Trials>,
    /// Every order up to this one has its result.
    after: Option<Reference>,
    /// Where the next orders are read from.
    looked_to: Option<Reference>,
    stage: Stage,
    given_up_in_a_row: u32,
    /// Why the last order was given up.
    last_failure: String,
}

/// How a lane gets its next orders.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Stage {
    /// There are more.
    #[default]
    More,
    Reading,
    /// The last ones are in hand.
    Last,
    Ending,
}

#[derive(Clone, Copy, Default)]
struct Trials {
    failures: u32,
    held_up: u32,
}

/// One account, over all runs.
#[derive(Default)]
struct Pace {
    under_way: usize,
    paused_until: Time,
}

/// What is to be done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Read the lane's next orders, at most `limit`; then [`Reconciler::read`].
    Read { run: RunId, account: AccountId, after: Option<Reference>, limit: usize },
    /// Ask the provider; then [`Reconciler::heard`].
    Ask { run: RunId, order: OrderKey },
    /// Note the verdict without asking; then [`Reconciler::noted`].
    Note { run: RunId, order: OrderKey, verdict: Verdict },
    /// Every order of the lane has its result; then [`Reconciler::ended`].
    End { run: RunId, account: AccountId },
}

/// What asking about an order once came to.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The provider answered, and the ledger has what it said.
    Answered,
    NoSuchOrder,
    NotPollable,
    Failed(Failure),
    /// The ledger would not take what the provider said.
    Refused(String),
    /// Our own store failed.
    OwnTrouble,
}

/// How asking about an order ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Answered,
    Unreachable,
    Failed(String),
}

impl Reconciler {
    pub fn new(policy: Policy) -> Reconciler {
        Reconciler { policy, lanes: BTreeMap::new(), paces: BTreeMap::new(), served: None, seed: 0 }
    }

    /// A lane begins, or goes on after where it was.
    pub fn open(&mut self, run: RunId, account: AccountId, after: Option<Reference>) {
        let lane = Lane { looked_to: after.clone(), after, ..Lane::default() };
        self.lanes.insert((run, account), lane);
    }

    /// Whether a run has lanes left.
    pub fn is_open(&self, run: RunId) -> bool {
        self.lanes.keys().any(|(known, _)| *known == run)
    }

    /// The next step that can be done now, lanes taking turns.
    pub fn next(&mut self, now: Time) -> Option<Step> {
        let after = self.served.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let lanes = self.lanes.range((after, Bound::Unbounded)).chain(self.lanes.iter());
        let ready = |((_, account), lane): &(&(RunId, AccountId), &Lane)| {
            let free = self.paces.get(account).is_none_or(|pace| pace.is_free(now, self.policy.per_account));
            lane.can_move(now, free)
        };
        let name = lanes.into_iter().find(ready).map(|(name, _)| name.clone())?;
        self.served = Some(name.clone());
        let pace = self.paces.entry(name.1.clone()).or_default();
        let free = pace.is_free(now, self.policy.per_account);
        let step = self.lanes.get_mut(&name).and_then(|lane| lane.step(name, now, free));
        if let Some(Step::Ask { .. }) = step {
            pace.under_way += 1;
        }
        step
    }

    /// When something can be done at the earliest that cannot be done now.
    pub fn due(&self) -> Option<Time> {
        let due = |((_, account), lane): (&(RunId, AccountId), &Lane)| {
            let (due, _) = lane.waiting.first()?;
            let Some(pace) = self.paces.get(account) else { return Some(*due) };
            (pace.under_way < self.policy.per_account).then(|| (*due).max(pace.paused_until))
        };
        self.lanes.iter().filter_map(due).min()
    }

    /// The orders that a lane's read found.
    pub fn read(&mut self, run: RunId, account: &AccountId, found: ToAsk, now: Time) {
        let Some(lane) = self.lanes.get_mut(&(run, account.clone())) else { return };
        for reference in found.orders {
            lane.waiting.insert((now, reference.clone()));
            lane.window.insert(reference, false);
        }
        lane.looked_to = found.looked_to.or(lane.looked_to.take());
        lane.stage = if found.end { Stage::Last } else { Stage::More };
    }

    /// What asking came to. Some: it is the end of it, and has to be noted. None: it is asked again later.
    pub fn heard(&mut self, run: RunId, order: &OrderKey, heard: Heard, now: Time) -> Option<Verdict> {
        let pace = self.paces.entry(order.account.clone()).or_default();
        pace.under_way = pace.under_way.saturating_sub(1);
        let lane = self.lanes.get_mut(&(run, order.account.clone()))?;
        let reference = &order.reference;
        match heard {
            Heard::Answered => Some(lane.end(reference, Verdict::Answered)),
            Heard::NotPollable => Some(lane.end(reference, Verdict::Unreachable)),
            Heard::NoSuchOrder => {
                let what = NO_SUCH_ORDER.to_owned();
                Some(lane.end(reference, Verdict::Failed(what)))
            }
            Heard::Refused(what) => Some(lane.end(reference, Verdict::Failed(what))),
            Heard::OwnTrouble => {
                lane.waiting.insert((now.plus(OWN_TROUBLE_PAUSE), reference.clone()));
                None
            }
            Heard::Failed(failure) => {
                self.seed = self.seed.wrapping_add(1);
                let backoff = backoff(&self.policy);
                let after = lane.failed(reference, &failure, &backoff, now, self.seed);
                if let Some(until) = pause(&failure, after.as_ref().err(), now) {
                    pace.paused_until = pace.paused_until.max(until);
                }
                after.ok()
            }
        }
    }

    /// Up to where every order has its result once this one has.
    pub fn position(&self, run: RunId, order: &OrderKey) -> Option<Reference> {
        let lane = self.lanes.get(&(run, order.account.clone()))?;
        let done = |(reference, done): &(&Reference, &bool)| **done || **reference == order.reference;
        let last = lane.window.iter().take_while(done).last();
        last.map(|(reference, _)| reference.clone()).or(lane.after.clone())
    }

    /// An order's result is durable.
    pub fn noted(&mut self, run: RunId, order: &OrderKey) {
        let Some(lane) = self.lanes.get_mut(&(run, order.account.clone())) else { return };
        if let Some(done) = lane.window.get_mut(&order.reference) {
            *done = true;
        }
        while lane.window.first_key_value().is_some_and(|(_, done)| *done) {
            lane.after = lane.window.pop_first().map(|(reference, _)| reference);
        }
    }

    /// A lane's end is durable.
    pub fn ended(&mut self, run: RunId, account: &AccountId) {
        self.lanes.remove(&(run, account.clone()));
        if !self.lanes.keys().any(|(_, known)| known == account) {
            self.paces.remove(account);
        }
    }
}

impl Pace {
    fn is_free(&self, now: Time, per_account: usize) -> bool {
        self.under_way < per_account && self.paused_until <= now
    }
}

impl Lane {
    fn wants_more(&self) -> bool {
        self.stage == Stage::More && self.window.len() <= WINDOW / 2
    }

    fn is_over(&self) -> bool {
        self.stage == Stage::Last && self.window.is_empty()
    }

    fn is_hopeless(&self) -> bool {
        self.given_up_in_a_row >= GIVEN_UP_IN_A_ROW_MAX
    }

    fn can_move(&self, now: Time, free: bool) -> bool {
        let due = self.waiting.first().is_some_and(|(due, _)| *due <= now);
        self.wants_more()
            || self.is_over()
            || (due && free)
            || (self.is_hopeless() && !self.waiting.is_empty())
    }

    fn step(&mut self, (run, account): (RunId, AccountId), now: Time, free: bool) -> Option<Step> {
        if self.wants_more() {
            self.stage = Stage::Reading;
            let limit = WINDOW - self.window.len();
            return Some(Step::Read { run, account, after: self.looked_to.clone(), limit });
        }
        if self.is_over() {
            self.stage = Stage::Ending;
            return Some(Step::End { run, account });
        }
        if self.is_hopeless() {
            let (_, reference) = self.waiting.pop_first()?;
            self.trials.remove(&reference);
            let what = format!(
                "not asked: the provider failed for {GIVEN_UP_IN_A_ROW_MAX} orders in a row, the last time with: {}",
                self.last_failure
            );
            let order = OrderKey::new(account, reference);
            return Some(Step::Note { run, order, verdict: Verdict::Failed(what) });
        }
        let due = self.waiting.first().is_some_and(|(due, _)| *due <= now);
        let (_, reference) = if due && free { self.waiting.pop_first() } else { None }?;
        Some(Step::Ask { run, order: OrderKey::new(account, reference) })
    }

    /// The provider, or what is known of the order, decided it.
    fn end(&mut self, reference: &Reference, verdict: Verdict) -> Verdict {
        self.trials.remove(reference);
        if verdict == Verdict::Answered {
            self.given_up_in_a_row = 0;
        }
        verdict
    }

    /// The verdict on an order that could not be asked about, or when it is asked about again.
    fn failed(
        &mut self,
        reference: &Reference,
        failure: &Failure,
        backoff: &Backoff,
        now: Time,
        seed: u64,
    ) -> Result<Verdict, Time> {
        if failure.is_not_found() {
            self.given_up_in_a_row = 0;
            return Ok(self.end(reference, Verdict::Failed(failure.to_string())));
        }
        let trials = self.trials.entry(reference.clone()).or_default();
        let patience = matches!(failure, Failure::Provider(Trouble::TooFast { .. }));
        let counted = if patience {
            trials.held_up += 1;
            trials.held_up
        } else {
            trials.failures += 1;
            trials.failures
        };
        let most = if patience { HELD_UP_MAX } else { ATTEMPTS_MAX };
        let backoff = Backoff { attempts_max: Some(most), ..*backoff };
        if let Some(again) = backoff.next(counted, now, now, failure.retry_after(), seed) {
            self.waiting.insert((again, reference.clone()));
            return Err(again);
        }
        if !matches!(failure, Failure::Provider(Trouble::Broken(_))) {
            self.given_up_in_a_row += 1;
            self.last_failure = failure.to_string();
        }
        Ok(self.end(reference, Verdict::Failed(format!("given up after {counted} attempts: {failure}"))))
    }
}

fn backoff(policy: &Policy) -> Backoff {
    Backoff {
        first_pause: policy.first_pause,
        pause_max: policy.max_pause.min(PAUSE_MAX),
        factor: 4,
        give_up_after: Duration::MAX,
        attempts_max: None,
    }
}

/// Until when the whole account is left alone.
fn pause(failure: &Failure, again: Option<&Time>, now: Time) -> Option<Time> {
    let asked_for = failure.retry_after().map(|pause| now.plus(pause));
    match failure {
        Failure::Provider(Trouble::TooFast { .. }) => asked_for.max(again.copied()),
        Failure::Provider(
            Trouble::NotThere { .. }
            | Trouble::Credentials { .. }
            | Trouble::Down { .. }
            | Trouble::Broken(_),
        )
        | Failure::NoAnswer(_) => asked_for,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        first_pause: Duration::from_secs(1),
        max_pause: Duration::from_secs(60),
        give_up_after: Duration::from_secs(600),
        per_account: 2,
    };
    const RUN: RunId = RunId([7; 16]);

    fn account(name: &str) -> AccountId {
        AccountId::parse(name).unwrap()
    }

    fn reference(n: usize) -> Reference {
        Reference::parse(&format!("PED-{n:04}")).unwrap()
    }

    fn order(name: &str, n: usize) -> OrderKey {
        OrderKey::new(account(name), reference(n))
    }

    /// A lane with all of its orders in hand.
    fn begun(orders: usize, names: &[&str]) -> Reconciler {
        let mut machine = Reconciler::new(POLICY);
        for name in names {
            machine.open(RUN, account(name), None);
        }
        for name in names {
            let Some(Step::Read { .. }) = machine.next(Time(0)) else { panic!("nothing is read for {name}") };
            let orders: Vec<_> = (0..orders).map(reference).collect();
            let looked_to = orders.last().cloned();
            machine.read(RUN, &account(name), ToAsk { orders, looked_to, end: true }, Time(0));
        }
        machine
    }

    fn asked(machine: &mut Reconciler, now: Time) -> Vec<OrderKey> {
        let steps = std::iter::from_fn(|| machine.next(now));
        steps
            .map(|step| match step {
                Step::Ask { order, .. } => order,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn down() -> Heard {
        Heard::Failed(Failure::Provider(Trouble::Down { status: 503, retry_after: None }))
    }

    #[test]
    fn accounts_take_turns_and_keep_to_their_calls() {
        let mut machine = begun(3, &["a", "b"]);
        let both = [order("a", 0), order("b", 0), order("a", 1), order("b", 1)];
        assert_eq!(asked(&mut machine, Time(1)), both);
        assert_eq!(machine.heard(RUN, &order("a", 1), Heard::Answered, Time(1)), Some(Verdict::Answered));
        assert_eq!(asked(&mut machine, Time(1)), [order("a", 2)]);
    }

    #[test]
    fn the_position_passes_only_what_is_durable() {
        let mut machine = begun(2, &["a"]);
        asked(&mut machine, Time(1));
        machine.heard(RUN, &order("a", 1), Heard::Answered, Time(1));
        assert_eq!(machine.position(RUN, &order("a", 1)), None, "the first one has no result");
        machine.noted(RUN, &order("a", 1));
        machine.heard(RUN, &order("a", 0), Heard::Answered, Time(1));
        assert_eq!(machine.position(RUN, &order("a", 0)), Some(reference(1)));
        assert_eq!(machine.next(Time(1)), None, "the second one's result is not durable");
        machine.noted(RUN, &order("a", 0));
        assert_eq!(machine.next(Time(1)), Some(Step::End { run: RUN, account: account("a") }));
        assert_eq!(machine.next(Time(1)), None, "it ends once");
    }

    #[test]
    fn retry_after_stops_one_account_alone() {
        let mut machine = begun(3, &["a", "b"]);
        asked(&mut machine, Time(1));
        let pause = Duration::from_secs(9);
        let slow = Failure::Provider(Trouble::TooFast { status: 429, retry_after: Some(pause) });
        assert_eq!(machine.heard(RUN, &order("a", 0), Heard::Failed(slow), Time(1)), None);
        machine.heard(RUN, &order("a", 1), Heard::Answered, Time(1));
        machine.heard(RUN, &order("b", 0), Heard::Answered, Time(1));
        assert_eq!(asked(&mut machine, Time(1)), [order("b", 2)]);
        assert_eq!(machine.due(), Some(Time(1).plus(pause)), "b is at its limit, a waits");
        assert_eq!(asked(&mut machine, Time(1).plus(pause)).len(), 2);
    }

    #[test]
    fn trouble_is_tried_again_and_then_given_up_with_its_reason() {
        let mut machine = begun(1, &["a"]);
        let mut now = Time(1);
        for attempt in 1..=ATTEMPTS_MAX {
            assert_eq!(asked(&mut machine, now), [order("a", 0)]);
            let verdict = machine.heard(RUN, &order("a", 0), down(), now);
            if attempt < ATTEMPTS_MAX {
                assert_eq!(verdict, None);
                now = machine.due().unwrap();
            } else {
                let Some(Verdict::Failed(why)) = verdict else { panic!("{verdict:?}") };
                assert!(why.contains("503") && why.contains("5 attempts"), "{why}");
            }
        }
    }

    #[test]
    fn what_the_provider_does_not_know_is_asked_once() {
        let mut machine = begun(1, &["a"]);
        asked(&mut machine, Time(1));
        let unknown = Heard::Failed(Failure::Provider(Trouble::NotThere { status: 404 }));
        assert!(matches!(machine.heard(RUN, &order("a", 0), unknown, Time(1)), Some(Verdict::Failed(_))));
    }

    #[test]
    fn a_provider_that_fails_for_many_orders_is_not_asked_about_the_rest() {
        let mut machine = begun(50, &["a"]);
        let (mut now, mut calls, mut notes) = (Time(1), 0, 0);
        loop {
            match machine.next(now) {
                Some(Step::Ask { order, .. }) => {
                    calls += 1;
                    if machine.heard(RUN, &order, down(), now).is_some() {
                        machine.noted(RUN, &order);
                    }
                }
                Some(Step::Note { order, verdict, .. }) => {
                    assert!(matches!(verdict, Verdict::Failed(why) if why.starts_with("not asked")));
                    notes += 1;
                    machine.noted(RUN, &order);
                }
                Some(Step::End { .. }) => break,
                Some(step) => panic!("{step:?}"),
                None => now = machine.due().unwrap(),
            }
        }
        assert_eq!(notes, 50 - GIVEN_UP_IN_A_ROW_MAX);
        assert!(calls <= 50 * ATTEMPTS_MAX);
    }

    #[test]
    fn a_lane_holds_no_more_than_its_window() {
        let mut machine = Reconciler::new(POLICY);
        machine.open(RUN, account("a"), None);
        let (mut next, mut held_max) = (0_usize, 0_usize);
        for _ in 0..10_000 {
            match machine.next(Time(1)) {
                Some(Step::Read { limit, after, .. }) => {
                    assert_eq!(after, next.checked_sub(1).map(reference));
                    let orders: Vec<_> = (next..next + limit).map(reference).collect();
                    next += limit;
                    let looked_to = orders.last().cloned();
                    machine.read(RUN, &account("a"), ToAsk { orders, looked_to, end: false }, Time(1));
                }
                Some(Step::Ask { order, .. }) => {
                    machine.heard(RUN, &order, Heard::Answered, Time(1));
                    machine.noted(RUN, &order);
                }
                step => panic!("{step:?}"),
            }
            held_max = held_max.max(machine.lanes.values().map(|lane| lane.window.len()).sum());
        }
        assert!(next > 1_000 && held_max <= WINDOW, "{next} {held_max}");
    }
}
