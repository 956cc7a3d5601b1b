//! Which open orders are asked about now, without any callback. No I/O but the index of due times; time is an argument.
//!
//! Due times stand in the store, so a restart forgets none, and nobody holds a million orders in memory: each account
//! has a lane that looks at the first few due ones. What is overdue when a lane begins, after a restart or a pause, is
//! spread over [`SPREAD`]: neither the provider nor our own writer shall see it all in one second.

use crate::domain::ids::{AccountId, OrderKey, Reference};
use crate::domain::time::Time;
use crate::schedule::cadence::Cadence;
use crate::schedule::limiter::{Allowance, Limiter};
use crate::store::meta::StoreError;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Over how long overdue polls are spread.
const SPREAD: Duration = Duration::from_secs(20);
/// Counting what is overdue ends here: more are polled no faster than so many in [`SPREAD`].
const OVERDUE_MAX: usize = 10_000;
/// A poll that is late by more than this was held up: by a restart, a pause, or too many at once.
const LATE: Duration = Duration::from_secs(2);
/// After a restart everything overdue is spread; later, after a pause, only more than this.
const HERD_MIN: usize = 100;

/// The due times, wherever they stand.
pub trait DueTimes {
    /// The first orders of an account by the time they are due.
    fn first(&self, account: &AccountId, limit: usize) -> Result<Vec<(Time, Reference)>, StoreError>;

    /// How many are due by `now`, counted no further than `most`.
    fn overdue(&self, account: &AccountId, now: Time, most: usize) -> Result<usize, StoreError>;
}

/// One account's polls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneTerms {
    pub cadence: Cadence,
    /// How many the provider bears.
    pub quota: Option<Allowance>,
    /// Whether the provider has a list of events to catch up with.
    pub has_events: bool,
}

/// What is asked now. Whoever takes it calls [`Poller::finished`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Due {
    Order(OrderKey),
    /// The account's list of events.
    Events(AccountId),
}

#[derive(Default)]
pub struct Poller {
    lanes: BTreeMap<AccountId, Lane>,
}

struct Lane {
    terms: LaneTerms,
    /// Where in the spread this lane begins, in thousandths: accounts begin one after another.
    offset: u32,
    under_way: BTreeSet<Reference>,
    events: Events,
    held: Held,
    /// Between two polls while overdue ones are spread.
    spread: Option<Spread>,
    /// Whether overdue polls were looked for since the start.
    begun: bool,
    /// No poll before this: the spread's next, or the end of a pause.
    not_before: Time,
    limiter: Option<Limiter<()>>,
}

#[derive(Clone, Copy)]
struct Spread {
    gap: Duration,
    until: Time,
}

struct Events {
    next: Time,
    news_at: Time,
    under_way: bool,
}

/// Why a lane asks nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Free,
    /// Its credentials are refused: until a call succeeds.
    Refused,
}

impl Poller {
    /// Lanes for accounts that are polled.
    pub fn new(accounts: Vec<(AccountId, LaneTerms)>, now: Time) -> Poller {
        let count = u32::try_from(accounts.len()).unwrap_or(u32::MAX).max(1);
        let lane = |(nth, (account, terms)): (usize, (AccountId, LaneTerms))| {
            let offset = u32::try_from(nth).unwrap_or_default().saturating_mul(1000) / count;
            (account, Lane::new(terms, offset, now))
        };
        Poller { lanes: accounts.into_iter().enumerate().map(lane).collect() }
    }

    /// Everything that is asked now. `room` says how many calls an account may have under way, these polls included.
    pub fn next(
        &mut self,
        now: Time,
        due_times: &dyn DueTimes,
        room: impl Fn(&AccountId) -> usize,
    ) -> Result<Vec<Due>, StoreError> {
        let mut taken = Vec::new();
        for (account, lane) in &mut self.lanes {
            lane.take(account, now, due_times, room(account), &mut taken)?;
        }
        Ok(taken)
    }

    /// When to look again at the latest: orders may become due that nobody knew of a moment ago, but none sooner than
    /// its account's shortest pause.
    pub fn look_again(
        &self,
        now: Time,
        due_times: &dyn DueTimes,
        room: impl Fn(&AccountId) -> usize,
    ) -> Result<Option<Time>, StoreError> {
        let mut earliest: Option<Time> = None;
        for (account, lane) in &self.lanes {
            let next = lane.look_again(account, now, due_times, room(account))?;
            earliest = Some(earliest.map_or(next, |before| before.min(next)));
        }
        Ok(earliest)
    }

    pub fn finished(&mut self, due: &Due) {
        match due {
            Due::Order(OrderKey { account, reference }) => {
                if let Some(lane) = self.lanes.get_mut(account) {
                    lane.under_way.remove(reference);
                }
            }
            Due::Events(account) => {
                if let Some(lane) = self.lanes.get_mut(account) {
                    lane.events.under_way = false;
                }
            }
        }
    }

    /// A list of events was read; `news`: it held something that was not known.
    pub fn caught_up(&mut self, account: &AccountId, news: bool, now: Time) {
        if let Some(lane) = self.lanes.get_mut(account) {
            lane.events.news_at = if news { now } else { lane.events.news_at };
            lane.events.next = lane.terms.cadence.next(lane.events.news_at, now, u64::from(lane.offset));
        }
    }

    /// Nothing of this account is asked until then.
    pub fn pause(&mut self, account: &AccountId, until: Time) {
        if let Some(lane) = self.lanes.get_mut(account) {
            lane.not_before = lane.not_before.max(until);
            lane.spread = None;
        }
    }

    /// The provider refuses the account's credentials: nothing more is asked.
    pub fn refuse(&mut self, account: &AccountId) {
        if let Some(lane) = self.lanes.get_mut(account) {
            lane.held = Held::Refused;
        }
    }

    /// A call succeeded: the credentials are good.
    pub fn resume(&mut self, account: &AccountId) {
        if let Some(lane) = self.lanes.get_mut(account) {
            lane.held = Held::Free;
        }
    }

    /// What stopped an account is mended, as far as anybody knows.
    pub fn lift(&mut self, account: &AccountId, now: Time) {
        if let Some(lane) = self.lanes.get_mut(account) {
            lane.held = Held::Free;
            lane.not_before = lane.not_before.min(now);
        }
    }

    /// How many calls of this account are under way.
    pub fn under_way(&self, account: &AccountId) -> usize {
        self.lanes.get(account).map_or(0, Lane::calls_under_way)
    }

    /// Until when an account is not polled, if it pauses.
    pub fn paused_until(&self, account: &AccountId, now: Time) -> Option<Time> {
        self.lanes.get(account).map(|lane| lane.not_before).filter(|until| *until > now)
    }
}

impl Lane {
    fn new(terms: LaneTerms, offset: u32, now: Time) -> Lane {
        Lane {
            terms,
            offset,
            under_way: BTreeSet::new(),
            events: Events { next: now, news_at: now, under_way: false },
            held: Held::Free,
            spread: None,
            begun: false,
            not_before: Time(0),
            limiter: terms.quota.map(|quota| Limiter::new(quota, quota.per)),
        }
    }

    fn take(
        &mut self,
        account: &AccountId,
        now: Time,
        due_times: &dyn DueTimes,
        room: usize,
        taken: &mut Vec<Due>,
    ) -> Result<(), StoreError> {
        let mut room = room.saturating_sub(self.calls_under_way());
        if self.held == Held::Refused || now < self.not_before || room == 0 {
            return Ok(());
        }
        if self.terms.has_events && !self.events.under_way && self.events.next <= now {
            self.events.under_way = true;
            room -= 1;
            taken.push(Due::Events(account.clone()));
        }
        let wanted = self.under_way.len().saturating_add(room);
        for (due, reference) in due_times.first(account, wanted)? {
            if due > now || room == 0 || now < self.not_before {
                break;
            }
            if self.under_way.contains(&reference) {
                continue;
            }
            self.spread_if_late(account, due, now, due_times)?;
            if now < self.not_before || !self.is_allowed(now) {
                break;
            }
            if let Some(spread) = self.spread {
                self.not_before = now.plus(spread.gap);
            }
            room -= 1;
            self.under_way.insert(reference.clone());
            taken.push(Due::Order(OrderKey::new(account.clone(), reference)));
        }
        Ok(())
    }

    /// Begins to spread what is overdue, or ends it when its time is over.
    fn spread_if_late(
        &mut self,
        account: &AccountId,
        due: Time,
        now: Time,
        due_times: &dyn DueTimes,
    ) -> Result<(), StoreError> {
        if self.spread.is_some_and(|spread| now < spread.until) {
            return Ok(());
        }
        self.spread = None;
        let restarted = !std::mem::replace(&mut self.begun, true);
        if now.since(due) <= LATE {
            return Ok(());
        }
        let overdue = due_times.overdue(account, now, OVERDUE_MAX)?;
        if !restarted && overdue < HERD_MIN {
            return Ok(());
        }
        let gap = SPREAD / u32::try_from(overdue.max(1)).unwrap_or(u32::MAX);
        self.spread = (overdue > 1).then(|| Spread { gap, until: now.plus(SPREAD) });
        // Accounts do not begin all at once.
        self.not_before = self.not_before.max(now.plus(gap * self.offset / 1000));
        Ok(())
    }

    fn calls_under_way(&self) -> usize {
        self.under_way.len() + usize::from(self.events.under_way)
    }

    fn is_allowed(&mut self, now: Time) -> bool {
        match self.limiter.as_mut().map(|limiter| limiter.try_take(&(), now)) {
            Some(Err(wait)) => {
                self.not_before = self.not_before.max(now.plus(wait));
                false
            }
            Some(Ok(())) | None => true,
        }
    }

    fn look_again(
        &self,
        account: &AccountId,
        now: Time,
        due_times: &dyn DueTimes,
        room: usize,
    ) -> Result<Time, StoreError> {
        let unknown = now.plus(self.terms.cadence.pause_min / 2);
        // Without room the end of a call wakes whoever waits.
        if self.held == Held::Refused || room <= self.calls_under_way() {
            return Ok(unknown);
        }
        let listed = due_times.first(account, self.under_way.len().saturating_add(1))?;
        let waits = |(_, reference): &&(Time, Reference)| !self.under_way.contains(reference);
        let order = listed.iter().find(waits).map(|(due, _)| *due);
        let events = self.terms.has_events && !self.events.under_way;
        let events = Some(self.events.next).filter(|_| events);
        let next = order.into_iter().chain(events).min().map(|due| due.max(self.not_before));
        Ok(next.map_or(unknown, |next| next.min(unknown)).max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CADENCE: Cadence =
        Cadence { pause_min: Duration::from_secs(30), pause_max: Duration::from_secs(21_600) };
    const TERMS: LaneTerms = LaneTerms { cadence: CADENCE, quota: None, has_events: false };
    const NOW: Time = Time(1_800_000_000_000_000);

    /// Orders by account and due time.
    #[derive(Default)]
    struct Index(BTreeMap<AccountId, BTreeSet<(Time, Reference)>>);

    impl Index {
        fn with(accounts: &[(&str, usize)], due: Time) -> Index {
            let orders = |count: usize| (0..count).map(|nth| (due, reference(nth))).collect();
            Index(accounts.iter().map(|(name, count)| (account(name), orders(*count))).collect())
        }

        fn answered(&mut self, key: &OrderKey, next: Time) {
            let orders = self.0.get_mut(&key.account).unwrap();
            orders.retain(|(_, reference)| *reference != key.reference);
            orders.insert((next, key.reference.clone()));
        }
    }

    impl DueTimes for Index {
        fn first(&self, account: &AccountId, limit: usize) -> Result<Vec<(Time, Reference)>, StoreError> {
            Ok(self.0.get(account).into_iter().flatten().take(limit).cloned().collect())
        }

        fn overdue(&self, account: &AccountId, now: Time, most: usize) -> Result<usize, StoreError> {
            let due = self.0.get(account).into_iter().flatten().filter(|(due, _)| *due <= now);
            Ok(due.take(most).count())
        }
    }

    fn account(name: &str) -> AccountId {
        AccountId::parse(name).unwrap()
    }

    fn reference(nth: usize) -> Reference {
        Reference::parse(&format!("PED-{nth:06}")).unwrap()
    }

    fn poller(names: &[&str], terms: LaneTerms) -> Poller {
        Poller::new(names.iter().map(|name| (account(name), terms)).collect(), NOW)
    }

    /// Drives the poller for so long; each poll takes 20 ms. Answers when each poll was begun.
    fn drive(poller: &mut Poller, index: &mut Index, lasts: Duration) -> Vec<(Time, AccountId)> {
        let (mut now, mut begun, mut under_way) = (NOW, Vec::new(), BTreeMap::new());
        while now < NOW.plus(lasts) {
            for due in poller.next(now, index, |_| 8).unwrap() {
                if let Due::Order(key) = &due {
                    begun.push((now, key.account.clone()));
                }
                under_way.entry(now.plus(Duration::from_millis(20))).or_insert_with(Vec::new).push(due);
            }
            let next = poller.look_again(now, index, |_| 8).unwrap().unwrap();
            assert!(next > now || !under_way.is_empty(), "it spins");
            let ended = under_way.first_key_value().map(|(at, _)| *at);
            now = ended.map_or(next, |ended| ended.min(next)).max(now.next());
            while let Some(entry) = under_way.first_entry().filter(|entry| *entry.key() <= now) {
                for due in entry.remove() {
                    if let Due::Order(key) = &due {
                        index.answered(key, CADENCE.next(NOW, now, 1));
                    }
                    poller.finished(&due);
                }
            }
        }
        begun
    }

    fn most_within(begun: &[(Time, AccountId)], window: Duration) -> usize {
        let within =
            |from: Time| begun.iter().filter(|(at, _)| *at >= from && at.since(from) < window).count();
        begun.iter().map(|(at, _)| within(*at)).max().unwrap_or_default()
    }

    #[test]
    fn what_is_overdue_after_a_restart_is_spread() {
        let hour_ago = NOW.minus(Duration::from_secs(3600));
        for accounts in [
            &[("a", 4)][..],
            &[("a", 400)],
            &[("a", 1), ("b", 1), ("c", 1), ("d", 1)],
            &[("a", 40), ("b", 7)],
        ] {
            let mut index = Index::with(accounts, hour_ago);
            let names: Vec<&str> = accounts.iter().map(|(name, _)| *name).collect();
            let begun = drive(&mut poller(&names, TERMS), &mut index, Duration::from_secs(25));
            let all: usize = accounts.iter().map(|(_, count)| count).sum();
            assert!(begun.len() >= all, "{} of {all} within 25 s", begun.len());
            assert!(most_within(&begun, Duration::from_secs(1)) * 4 <= all.max(4), "{accounts:?}");
            assert!(most_within(&begun, Duration::from_secs(10)) * 10 <= all * 8, "{accounts:?}");
        }
    }

    #[test]
    fn a_new_order_is_asked_about_when_it_is_due_and_not_before() {
        let mut index = Index::with(&[("a", 1)], NOW.plus(Duration::from_secs(30)));
        let begun = drive(&mut poller(&["a"], TERMS), &mut index, Duration::from_secs(65));
        assert_eq!(begun.first().unwrap().0, NOW.plus(Duration::from_secs(30)));
        assert_eq!(begun.len(), 2);
    }

    #[test]
    fn refused_credentials_stop_an_account_until_a_call_succeeds() {
        let mut index = Index::with(&[("a", 3), ("b", 3)], NOW);
        let mut poller = poller(&["a", "b"], TERMS);
        poller.refuse(&account("a"));
        let begun = drive(&mut poller, &mut index, Duration::from_secs(10));
        assert!(begun.len() == 3 && begun.iter().all(|(_, of)| *of == account("b")), "{begun:?}");
        poller.resume(&account("a"));
        assert!(!poller.next(NOW, &index, |_| 8).unwrap().is_empty());
    }

    #[test]
    fn a_pause_holds_one_account_and_room_holds_the_rest() {
        let index = Index::with(&[("a", 5), ("b", 5)], NOW);
        let mut poller = poller(&["a", "b"], TERMS);
        poller.pause(&account("a"), NOW.plus(Duration::from_secs(60)));
        assert_eq!(poller.next(NOW, &index, |_| 2).unwrap().len(), 2);
        assert_eq!(poller.next(NOW, &index, |_| 2).unwrap(), []);
        assert!(poller.paused_until(&account("a"), NOW).is_some());
    }

    #[test]
    fn a_quota_is_kept() {
        let quota = Allowance { count: 10, per: Duration::from_secs(3600) };
        let mut index = Index::with(&[("a", 100)], NOW);
        let mut poller = poller(&["a"], LaneTerms { quota: Some(quota), ..TERMS });
        let begun = drive(&mut poller, &mut index, Duration::from_secs(3600));
        assert!((10..=20).contains(&begun.len()), "{}", begun.len());
    }

    #[test]
    fn the_list_of_events_is_read_at_the_start_and_then_ever_more_rarely() {
        let index = Index::default();
        let mut poller = poller(&["a"], LaneTerms { has_events: true, ..TERMS });
        let (mut now, mut reads) = (NOW, 0);
        while now < NOW.plus(Duration::from_secs(86_400)) {
            for due in poller.next(now, &index, |_| 8).unwrap() {
                reads += 1;
                poller.finished(&due);
                poller.caught_up(&account("a"), false, now);
            }
            now = poller.look_again(now, &index, |_| 8).unwrap().unwrap().max(now.next());
        }
        assert!((10..40).contains(&reads), "{reads}");
    }
}
