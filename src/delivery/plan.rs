//! One webhook's deliveries: which is next, what an outcome means, when something is due. No I/O; time is an argument.
//!
//! The plan keeps a bounded window of the ledger beyond its cursor. Within it the events of one order go one after the
//! other, those of different orders do not wait for each other. Nothing here has to survive: after a restart the ledger
//! is read again from the cursor, and what was already delivered there has its record.

use super::board::Standing;
use crate::domain::ids::{OrderKey, Seq};
use crate::domain::time::Time;
use crate::domain::webhook::{Course, Delivery, Miss, Off, Position, Replay, Stage, Trouble, WebhookId};
use crate::ledger::webhooks::Advance;
use crate::schedule::backoff::Growth;
use crate::schedule::breaker::{Breaker, Gate};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deliveries that are held in memory, most of them waiting behind another one.
const WINDOW: usize = 1000;
/// Replays may take this much of it, so that news always find room.
const WINDOW_OF_REPLAYS: usize = WINDOW / 2;
/// Of those that are due, so many are considered for a probe.
const PROBES_CONSIDERED: usize = 64;
/// Each pause is 1.9 times the one before: with 5 s, 12 h and 20 attempts that makes 71 hours.
const GROWTH_PERCENT: u32 = 190;
/// A pause that a target asks for is believed up to a week.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 86_400);
const GONE: u16 = 410;
/// For each request to a target that may be under way, so many outcomes may wait to be written down.
const UNWRITTEN_PER_REQUEST: usize = 8;
/// So many entries without a delivery are looked at before that is written down.
const UNWRITTEN_MAX: u64 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    pub first_pause: Duration,
    pub max_pause: Duration,
    pub max_attempts: u32,
    /// Requests to one target at the same time.
    pub in_flight_max: usize,
    /// A target without any success for so long is disabled.
    pub disable_after: Duration,
}

/// What must not overtake itself: an order, or an event of none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Line {
    Order(OrderKey),
    Alone(Position),
}

/// An entry as the plan has to know it: whose it is, whether the webhook wants it, what came of it so far.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub seq: Seq,
    pub line: Line,
    /// What its patterns and accounts say.
    pub wanted: bool,
    /// Whether its accounts allow it, whatever the patterns say.
    pub allowed: bool,
    pub tried: Option<Delivery>,
}

/// What an attempt came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub status: Option<u16>,
    /// None: it was confirmed.
    pub miss: Option<Miss>,
    pub retry_after: Option<Duration>,
}

/// What follows for the delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub stage: Stage,
    pub tries: u32,
}

pub struct Plan {
    id: WebhookId,
    policy: Policy,
    growth: Growth,
    revision: u32,
    again_since: Option<Time>,
    enabled_at: Time,
    off: Option<Off>,
    trouble: Option<Trouble>,
    /// The first follows the ledger for ever; the others are replays.
    lanes: Vec<Lane>,
    items: BTreeMap<Position, Item>,
    lines: BTreeMap<Line, Queue>,
    /// The head of each line that may move.
    due: BTreeSet<(Time, Position)>,
    /// Requests under way, and those whose outcome is not written down yet.
    in_flight: usize,
    unwritten: usize,
    breaker: Breaker<Line>,
}

/// A stretch of the ledger that is gone through.
struct Lane {
    /// Done up to here when it was loaded.
    done: Seq,
    next: Seq,
    replay: Option<Replay>,
}

struct Item {
    line: Line,
    tries: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting(Time),
    InFlight,
    /// Its outcome is known and not yet written down.
    Heard(Stage),
}

#[derive(Default)]
struct Queue {
    waiting: BTreeSet<Position>,
    busy: bool,
    seat: Option<(Time, Position)>,
}

impl Plan {
    pub fn new(id: WebhookId, course: &Course, policy: Policy) -> Plan {
        let growth =
            Growth { first_pause: policy.first_pause, pause_max: policy.max_pause, percent: GROWTH_PERCENT };
        let dead = course.trouble.as_ref().is_some_and(|trouble| trouble.dead);
        let mut plan = Plan {
            id,
            policy,
            growth,
            revision: course.revision,
            again_since: course.again_since,
            enabled_at: course.enabled_at,
            off: course.off.clone(),
            trouble: course.trouble.clone(),
            lanes: Vec::new(),
            items: BTreeMap::new(),
            lines: BTreeMap::new(),
            due: BTreeSet::new(),
            in_flight: 0,
            unwritten: 0,
            breaker: if dead { Breaker::probing(growth) } else { Breaker::new(growth) },
        };
        plan.load(course, course.cursor);
        plan
    }

    /// Begins anew from what is stored, as after a restart; attempts under way stay what they are.
    pub fn reload(&mut self, course: &Course) {
        let mut done = course.cursor;
        if course.enabled_at != self.enabled_at {
            self.breaker = Breaker::new(self.growth);
            self.trouble = None;
        } else if let Some(main) = self.lanes.first() {
            // What is stored lags behind; what was passed stays passed.
            done = done.max(self.cursor(main, false));
        }
        self.revision = course.revision;
        self.again_since = course.again_since;
        self.enabled_at = course.enabled_at;
        self.off = course.off.clone();
        self.items.retain(|_, item| !matches!(item.state, State::Waiting(_)));
        self.due.clear();
        for queue in self.lines.values_mut() {
            queue.waiting.retain(|position| self.items.contains_key(position));
            queue.seat = None;
        }
        self.lines.retain(|_, queue| !queue.waiting.is_empty());
        self.load(course, done);
    }

    fn load(&mut self, course: &Course, done: Seq) {
        let main = Lane { done, next: done.next(), replay: None };
        let replays = course.replays.iter().map(|replay| Lane {
            done: replay.cursor,
            next: replay.cursor.next(),
            replay: Some(replay.clone()),
        });
        self.lanes = std::iter::once(main).chain(replays).collect();
    }

    /// An event of no entry that still has to be delivered.
    pub fn notice(&mut self, delivery: &Delivery, now: Time) {
        let position = delivery.id.position;
        if let Some((tries, due)) = self.resumed(delivery, now) {
            self.add(position, Line::Alone(position), tries, due);
        }
    }

    /// A stretch of the ledger that should be looked at next: which lane's, from and up to where.
    pub fn wants(&self, head: Seq) -> Option<(usize, Seq, Seq)> {
        if self.off.is_some() {
            return None;
        }
        self.lanes.iter().enumerate().find_map(|(number, lane)| {
            let last = lane.last().min(head);
            let room = self.items.len() < lane.window();
            (room && lane.next <= last).then_some((number, lane.next, last))
        })
    }

    /// Takes what stands there, in order, as long as there is room.
    pub fn feed(&mut self, lane: usize, found: impl IntoIterator<Item = Candidate>, now: Time) {
        for candidate in found {
            let Some(at) = self.lanes.get(lane) else { return };
            if self.items.len() >= at.window() {
                return;
            }
            let position = Position::entry(candidate.seq);
            if let Some((tries, due)) = self.opening(at, &candidate, now) {
                self.add(position, candidate.line, tries, due);
            }
            if let Some(at) = self.lanes.get_mut(lane) {
                at.next = candidate.seq.next();
            }
        }
    }

    /// Whether a lane has to deliver this; with how many tries behind it, and from when on.
    fn opening(&self, lane: &Lane, candidate: &Candidate, now: Time) -> Option<(u32, Time)> {
        let begun = match (&lane.replay, &candidate.tried) {
            (_, _) if !candidate.allowed => None,
            (None, Some(tried)) => self.resumed(tried, now),
            (Some(replay), Some(tried)) => replayed(replay, tried, now),
            (_, None) => candidate.wanted.then_some((0, now)),
        };
        let single = lane.replay.as_ref().is_some_and(|replay| replay.single);
        begun.filter(|_| candidate.wanted || single || candidate.tried.is_some())
    }

    /// Where a delivery goes on that the ledger's cursor has not passed.
    fn resumed(&self, tried: &Delivery, now: Time) -> Option<(u32, Time)> {
        match tried.stage {
            Stage::Pending { .. } if tried.updated_at < self.enabled_at => Some((0, now)),
            Stage::Pending { next_at } => Some((tried.tries, next_at)),
            Stage::Failed { at } => {
                let again = self.again_since.is_some_and(|since| since <= at) && at < self.enabled_at;
                again.then_some((0, now))
            }
            Stage::Delivered { .. } => None,
        }
    }

    fn add(&mut self, position: Position, line: Line, tries: u32, due: Time) {
        if let Some(known) = self.items.get_mut(&position) {
            // Wanted twice is delivered once; the sooner of both counts.
            let State::Waiting(before) = known.state else { return };
            known.state = State::Waiting(before.min(due));
            known.tries = known.tries.min(tries);
        } else {
            self.items.insert(position, Item { line: line.clone(), tries, state: State::Waiting(due) });
            self.lines.entry(line.clone()).or_default().waiting.insert(position);
        }
        self.reseat(&line);
    }

    /// Puts the head of a line where its time is looked for.
    fn reseat(&mut self, line: &Line) {
        let Some(queue) = self.lines.get_mut(line) else { return };
        if let Some(seat) = queue.seat.take() {
            self.due.remove(&seat);
        }
        let Some(head) = queue.waiting.first().copied() else {
            self.lines.remove(line);
            return;
        };
        let state = self.items.get(&head).map(|item| item.state);
        if let (false, Some(State::Waiting(due))) = (queue.busy, state) {
            queue.seat = Some((due, head));
            self.due.insert((due, head));
        }
    }

    /// The next delivery to attempt now; it is under way from then on.
    pub fn next(&mut self, now: Time) -> Option<Position> {
        if self.off.is_some() || self.is_full() {
            return None;
        }
        let ready = self.due.range(..=(now, Position { seq: Seq(u64::MAX), notice: u64::MAX }));
        let (_, position) = match self.breaker.gate(now) {
            Gate::ShutUntil(_) => None,
            // Something that never failed is the better probe.
            Gate::Probe if !self.is_busy() => {
                let tries = |position| self.items.get(position).map_or(0, |item| item.tries);
                ready.take(PROBES_CONSIDERED).min_by_key(|(due, position)| (tries(position), *due)).copied()
            }
            Gate::Probe => None,
            Gate::Open => ready.take(1).next().copied(),
        }?;
        let item = self.items.get_mut(&position)?;
        item.state = State::InFlight;
        let line = item.line.clone();
        self.in_flight += 1;
        if let Some(queue) = self.lines.get_mut(&line) {
            queue.busy = true;
        }
        self.reseat(&line);
        Some(position)
    }

    /// When [`Plan::next`] has something, if nothing else happens before.
    pub fn due(&self, now: Time) -> Option<Time> {
        if self.off.is_some() || self.is_full() {
            return None;
        }
        let (first, _) = self.due.first()?;
        match self.breaker.gate(now) {
            Gate::Open => Some(*first),
            Gate::Probe => (!self.is_busy()).then_some(*first),
            Gate::ShutUntil(until) => Some(until.max(*first)),
        }
    }

    /// What an outcome means. The delivery stays under way until that is written down.
    pub fn heard(&mut self, now: Time, position: Position, outcome: Outcome) -> Option<Verdict> {
        let item = self.items.get_mut(&position)?;
        item.tries = item.tries.saturating_add(1);
        let (tries, line) = (item.tries, item.line.clone());
        let verdict = match outcome.miss {
            None => {
                self.breaker.succeeded();
                self.trouble = None;
                Verdict { stage: Stage::Delivered { at: now }, tries }
            }
            Some(miss) => {
                self.breaker.failed(&line, now, self.seed(position));
                self.missed(now, position, tries, miss, outcome)
            }
        };
        if let Some(item) = self.items.get_mut(&position) {
            item.state = State::Heard(verdict.stage);
            item.tries = verdict.tries;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.unwritten += 1;
        Some(verdict)
    }

    fn missed(&mut self, now: Time, position: Position, tries: u32, miss: Miss, outcome: Outcome) -> Verdict {
        let gone = outcome.status == Some(GONE);
        let given_up = !gone && tries >= self.policy.max_attempts;
        let since = self.note_trouble(now, miss, outcome.status, given_up.then_some(position));
        if gone {
            let why = "the target answered 410 Gone: it wants no more events".to_owned();
            self.off.get_or_insert(Off { why, since: now });
            return Verdict { stage: Stage::Pending { next_at: now }, tries: 0 };
        }
        if now.since(since) >= self.policy.disable_after {
            let why = format!("no delivery succeeded since {since}");
            self.off.get_or_insert(Off { why, since: now });
        }
        if given_up {
            return Verdict { stage: Stage::Failed { at: now }, tries };
        }
        let asked_for = outcome.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let next_at = now.plus(self.growth.pause(tries, self.seed(position)).max(asked_for));
        Verdict { stage: Stage::Pending { next_at }, tries }
    }

    /// Notes a failure; answers since when there was no success.
    fn note_trouble(
        &mut self,
        now: Time,
        miss: Miss,
        status: Option<u16>,
        given_up: Option<Position>,
    ) -> Time {
        let before = self.trouble.take();
        let since = before.as_ref().map_or(now, |trouble| trouble.since);
        let earlier = before.as_ref().and_then(|trouble| trouble.given_up_from);
        let given_up = given_up.filter(|position| position.notice == 0).map(|position| position.seq);
        self.trouble = Some(Trouble {
            since,
            failures: before.map_or(0, |trouble| trouble.failures).saturating_add(1),
            dead: self.breaker.is_dead(),
            status,
            miss: Some(miss),
            given_up_from: [earlier, given_up].into_iter().flatten().min(),
        });
        since
    }

    /// So that jitter is the same wherever it is computed, and another for each delivery.
    fn seed(&self, position: Position) -> u64 {
        u64::from_be_bytes(self.id.0.last_chunk().copied().unwrap_or_default()) ^ position.seq.0
    }

    /// An attempt could not be made for a reason of our own; it counts as none.
    pub fn put_back(&mut self, position: Position, due: Time) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.settle(position, State::Waiting(due));
    }

    /// There is no event any more where an attempt was to be made.
    pub fn vanished(&mut self, position: Position) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.drop_item(position);
    }

    /// What was heard is durable: the next event of the order may go.
    pub fn recorded(&mut self, position: Position) {
        let Some(State::Heard(stage)) = self.items.get(&position).map(|item| item.state) else { return };
        self.unwritten = self.unwritten.saturating_sub(1);
        match stage {
            Stage::Pending { next_at } => self.settle(position, State::Waiting(next_at)),
            Stage::Delivered { .. } | Stage::Failed { .. } => self.drop_item(position),
        }
    }

    fn settle(&mut self, position: Position, state: State) {
        let Some(item) = self.items.get_mut(&position) else { return };
        item.state = state;
        let line = item.line.clone();
        self.free(&line);
    }

    fn drop_item(&mut self, position: Position) {
        let Some(item) = self.items.remove(&position) else { return };
        if let Some(queue) = self.lines.get_mut(&item.line) {
            queue.waiting.remove(&position);
        }
        self.free(&item.line);
    }

    fn free(&mut self, line: &Line) {
        if let Some(queue) = self.lines.get_mut(line) {
            queue.busy = false;
        }
        self.reseat(line);
    }

    /// How far it is, counting what was heard and is written together with this.
    pub fn advance(&self) -> Advance {
        let replays = self.lanes.iter().filter_map(|lane| {
            let replay = lane.replay.as_ref()?;
            Some((replay.asked_at, self.cursor(lane, true)))
        });
        Advance {
            webhook: self.id,
            revision: self.revision,
            cursor: self.lanes.first().map_or(Seq(0), |main| self.cursor(main, true)),
            replays: replays.collect(),
            trouble: self.trouble.clone(),
            off: self.off.clone(),
        }
    }

    /// Forgets replays that went through to their end, once that is written: one that came to its end while an earlier
    /// advance was being written stands in the store still.
    pub fn retire(&mut self, written: &Advance) {
        let over = |replay: &Replay| {
            let told = written.replays.iter().find(|(asked_at, _)| *asked_at == replay.asked_at);
            told.is_some_and(|(_, cursor)| *cursor >= replay.to)
        };
        self.lanes.retain(|lane| !lane.replay.as_ref().is_some_and(over));
    }

    fn cursor(&self, lane: &Lane, counting_heard: bool) -> Seq {
        let open = |state: State| match state {
            State::Heard(Stage::Delivered { .. } | Stage::Failed { .. }) => !counting_heard,
            State::Heard(Stage::Pending { .. }) | State::Waiting(_) | State::InFlight => true,
        };
        if lane.next <= lane.done.next() {
            return lane.done;
        }
        let within = self.items.range(Position::entry(lane.done.next())..Position::entry(lane.next));
        let first =
            within.filter(|(at, item)| at.notice == 0 && open(item.state)).map(|(at, _)| at.seq).next();
        Seq(first.unwrap_or(lane.next).0.saturating_sub(1))
    }

    /// Whether an advance differs from the last one that was written by more than what a restart finds out by itself.
    pub fn is_worth_writing(&self, written: Option<&Advance>, now: &Advance) -> bool {
        let Some(written) = written else { return true };
        let over = self
            .lanes
            .iter()
            .any(|lane| lane.replay.as_ref().is_some_and(|replay| self.cursor(lane, true) >= replay.to));
        over || written.revision != now.revision
            || written.trouble != now.trouble
            || written.off != now.off
            || now.cursor.0.saturating_sub(written.cursor.0) >= UNWRITTEN_MAX
    }

    /// Whether anything is under way or to be written down.
    pub fn is_busy(&self) -> bool {
        self.in_flight + self.unwritten > 0
    }

    /// Requests go on while outcomes are being written down, up to a bound; each order's next one waits all the same.
    fn is_full(&self) -> bool {
        let most = self.policy.in_flight_max;
        self.in_flight >= most || self.unwritten >= most.saturating_mul(UNWRITTEN_PER_REQUEST)
    }

    pub fn standing(&self, now: Time) -> Standing {
        let main = self.lanes.first();
        let retrying = self.items.values().filter(|item| match item.state {
            State::Waiting(due) => item.tries > 0 && due > now,
            State::InFlight | State::Heard(_) => false,
        });
        let retrying = retrying.count();
        let unread = self
            .lanes
            .iter()
            .skip(1)
            .filter_map(|lane| Some(lane.replay.as_ref()?.to.next().0.saturating_sub(lane.next.0)));
        let looked_at = main.map_or(Seq(0), |lane| Seq(lane.next.0.saturating_sub(1)));
        let pending = u64::try_from(self.items.len() - retrying).unwrap_or(u64::MAX);
        Standing {
            revision: self.revision,
            cursor: main.map_or(Seq(0), |lane| self.cursor(lane, false)),
            looked_at,
            pending: pending.saturating_add(unread.sum()),
            retrying: u64::try_from(retrying).unwrap_or(u64::MAX),
        }
    }
}

impl Lane {
    fn last(&self) -> Seq {
        self.replay.as_ref().map_or(Seq(u64::MAX), |replay| replay.to)
    }

    fn window(&self) -> usize {
        if self.replay.is_some() { WINDOW_OF_REPLAYS } else { WINDOW }
    }
}

/// What a replay has to do about a delivery: all that did not end since it was asked for.
fn replayed(replay: &Replay, tried: &Delivery, now: Time) -> Option<(u32, Time)> {
    let since = tried.updated_at >= replay.asked_at;
    match tried.stage {
        Stage::Pending { next_at } if since => Some((tried.tries, next_at)),
        Stage::Delivered { .. } | Stage::Failed { .. } if since => None,
        Stage::Pending { .. } | Stage::Delivered { .. } | Stage::Failed { .. } => Some((0, now)),
    }
}
