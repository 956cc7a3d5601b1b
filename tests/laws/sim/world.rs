//! One world: providers, lines, disk, shop and daemon under one simulated time that jumps from event to event. The same
//! seed gives the same world, to the byte.

use super::checks::{self, Seen};
use super::daemon::{Daemon, Done, Machine, OurClock, Purpose};
use super::disk::Disk;
use super::faults::Fault;
use super::network::{Fate, PATIENCE, Sent, Wires, as_answer, bend, garble};
use super::payments::{Payment, Side, skew};
use super::plan::Plan;
use super::reach::Reach;
use crate::fold::dice::Dice;
use razao::clock::Clock;
use razao::config::{Account, Poll};
use razao::domain::ids::{AccountId, OrderKey, ReceiptId};
use razao::domain::money::Currency;
use razao::domain::state::State;
use razao::domain::time::Time;
use razao::ingest::accounts::Accounts;
use razao::ingest::desk::PollError;
use razao::ingest::receive::{admit, receive};
use razao::ledger::command::{Command, Reply, Ruled, RulingRequest, SubmitError, Verdict};
use razao::net::client::NoAnswer;
use razao::providers::provider::{Credentials, Incoming, Merchant};
use razao::providers::registry;
use razao::sandbox::persona::Response;
use razao::sandbox::world::Post;
use razao::wire::call::Answer;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BEGIN: Time = Time(1_772_000_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);
/// Once all faults are gone, everything is done within so long …
const CALM_MAX: Duration = Duration::from_secs(90 * 86_400);
/// … and within so many events.
const EVENTS_MAX: u64 = 200_000;

pub struct World {
    pub plan: Plan,
    pub machine: Machine,
    pub daemon: Option<Daemon>,
    pub sides: Vec<Side>,
    pub payments: Vec<Payment>,
    pub seen: Seen,
    pub reach: Reach,
    /// What the last poll of each order came to.
    pub polled: BTreeMap<OrderKey, Result<(), PollError>>,
    /// Whether a provider said anything that was not true.
    pub lied: bool,
    dice: Dice,
    now: Time,
    calm: bool,
    ends: Time,
    events: u64,
    agenda: BTreeMap<(Time, u64), Event>,
    scheduled: u64,
    our_skew: i64,
    deaths: u64,
    /// Which life of the daemon this is.
    epoch: u64,
    turn_scheduled: bool,
    requests: BTreeMap<u64, Request>,
    at_door: BTreeMap<u64, AtDoor>,
    knocks: u64,
    last_answered: BTreeMap<String, Time>,
    story: Option<Vec<String>>,
}

/// What happens at some time.
enum Event {
    Begin(usize),
    Register(usize),
    Knock(u64, Knock),
    Learn(usize, Post, Option<u16>),
    Arrive(u64),
    Answer(u64, Result<Answer, NoAnswer>),
    Turn(u64),
    Restart(u64),
    Boot,
    Act,
    Read,
}

/// A callback on its way to the door.
struct Knock {
    side: usize,
    /// What its sender waits for; a copy that the line made has none.
    post: Option<Post>,
    headers: Vec<(String, String)>,
    content_type: &'static str,
    body: Vec<u8>,
    unanswered: bool,
}

/// A callback whose receipt is being written: what it will be answered, and whether its provider must be asked then.
struct AtDoor {
    knock: Knock,
    status: u16,
    asks: bool,
}

/// A call on its way to its provider.
struct Request {
    sent: Sent,
    at: Time,
    epoch: u64,
    fate: Fate,
}

/// What one world came to.
pub struct Outcome {
    pub result: Result<(), String>,
    pub story: Vec<String>,
    pub head: String,
    pub entries: u64,
    pub simulated: Duration,
    pub reach: Reach,
}

/// Lets one world run to its end.
pub fn run(seed: u64, fault: Option<Fault>, tell: bool) -> Outcome {
    let mut world = World::new(seed, fault, tell);
    let result = world.live();
    let (head, entries) = world.seen.head();
    Outcome {
        result,
        head,
        entries,
        simulated: world.now.since(BEGIN),
        reach: world.reach,
        story: world.story.unwrap_or_default(),
    }
}

/// The accounts at these providers, as configuration would have them.
pub fn accounts(sides: &[Side], fault: Option<Fault>) -> Accounts {
    let zone = jiff::tz::TimeZone::get("America/Sao_Paulo").unwrap();
    let account = |side: &Side| {
        let persona = side.world.personas().find(|it| it.provider() == side.provider).unwrap();
        let credentials = persona.credentials().into_iter();
        let credentials = credentials.map(|(name, value)| (name.to_owned(), vec![value.into()])).collect();
        let account = Account {
            merchant: Merchant {
                id: side.account.clone(),
                currency: Currency::BRL,
                zone: zone.clone(),
                base_url: format!("https://{}", side.account),
                credentials: Credentials(credentials),
            },
            provider: registry::find(side.provider).unwrap(),
            callback_key: side.callback_key.map(Into::into),
            callback_allow: Vec::new(),
            poll: Poll { enabled: false, min_interval: DAY, max_interval: DAY },
        };
        fault.map_or(account.clone(), |fault| fault.bend(account))
    };
    Accounts::new(sides.iter().map(account).collect())
}

impl World {
    fn new(seed: u64, fault: Option<Fault>, tell: bool) -> World {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        let plan = Plan::draw(&mut dice);
        let sides = Side::all(&plan, &mut dice);
        let payments: Vec<Payment> =
            (1..=plan.payments).map(|nth| Payment::draw(nth, &sides, &plan, BEGIN, &mut dice)).collect();
        let machine = Machine {
            disk: Arc::new(Disk::new(&plan, fault, dice.roll())),
            wires: Wires::default(),
            clock: Arc::new(OurClock::default()),
            accounts: accounts(&sides, fault),
            vault: Arc::new(Mutex::new(Vec::new())),
            fault,
        };
        let our_skew = skew(plan.our_skew, &mut dice);
        World {
            machine,
            daemon: None,
            sides,
            payments,
            seen: Seen::default(),
            reach: Reach::default(),
            polled: BTreeMap::new(),
            lied: false,
            now: BEGIN,
            calm: false,
            ends: BEGIN.plus(plan.chaos()),
            events: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
            our_skew,
            deaths: 0,
            epoch: 0,
            turn_scheduled: false,
            requests: BTreeMap::new(),
            at_door: BTreeMap::new(),
            knocks: 0,
            last_answered: BTreeMap::new(),
            story: tell.then(|| vec![format!("seed {seed}: {plan:?}")]),
            plan,
            dice,
        }
    }

    /// Chaos, then calm, then the last look at every order, then the laws.
    fn live(&mut self) -> Result<(), String> {
        self.machine.bear();
        self.set_out();
        self.boot()?;
        self.go_on(Some(self.ends))?;
        self.calm_down()?;
        self.go_on(None)?;
        checks::settled(self)?;
        self.poll_everything()?;
        self.tell(|| "a last restart".to_owned());
        self.die();
        self.agenda.clear();
        self.boot()?;
        self.go_on(None)?;
        checks::converged(self)
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let since = self.now.since(BEGIN);
            let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
            let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
            let micros = since.subsec_micros();
            story.push(format!("{days:>3}d {hours:02}:{minutes:02}:{seconds:02}.{micros:06}  {}", what()));
        }
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((at, self.scheduled), event);
    }

    fn within(&mut self, pause: Duration) -> Time {
        let most = u64::try_from(pause.as_micros()).unwrap();
        self.now.plus(Duration::from_micros(self.dice.between(0, most)))
    }

    /// What is known in advance: when lives begin, when the shop speaks of them, when people do something.
    fn set_out(&mut self) {
        let beat = u64::try_from(self.plan.beat.as_micros()).unwrap();
        for nth in 0..self.payments.len() {
            let begins = self.payments[nth].begins;
            self.schedule(begins, Event::Begin(nth));
            if self.payments[nth].registers.is_none() {
                continue;
            }
            for _ in 0..self.dice.between(1, 2) {
                let early = self.dice.happens(300);
                let off = Duration::from_micros(self.dice.between(1, beat * 3));
                let at = if early { begins.minus(off).max(BEGIN) } else { begins.plus(off) };
                self.schedule(at, Event::Register(nth));
            }
        }
        for _ in 0..self.plan.shop.acts {
            let at = self.within(self.plan.chaos());
            self.schedule(at, Event::Act);
        }
        for _ in 0..self.dice.between(0, 12) {
            let at = self.within(self.plan.chaos());
            self.schedule(at, Event::Read);
        }
    }

    fn set_clock(&self) {
        self.machine.clock.set(Time(self.now.0 + self.our_skew));
    }

    /// When something happens next.
    fn next_time(&self) -> Option<Time> {
        let agenda = self.agenda.keys().next().map(|(at, _)| *at);
        let sides = self.sides.iter().filter_map(|side| side.world.due().map(|due| Time(due.0 - side.skew)));
        let due = self.daemon.as_ref().and_then(|daemon| daemon.resolver.due());
        agenda.into_iter().chain(sides).chain(due.map(|due| Time(due.0 - self.our_skew))).min()
    }

    fn go_on(&mut self, until: Option<Time>) -> Result<(), String> {
        let limit = self.now.plus(CALM_MAX);
        self.tend()?;
        while let Some(at) = self.next_time() {
            if until.is_some_and(|until| at > until) {
                self.now = until.unwrap_or(self.now);
                return Ok(());
            }
            if at > limit {
                return Err(format!(
                    "work is still left {} days after the last fault",
                    CALM_MAX.as_secs() / 86_400
                ));
            }
            self.events += 1;
            if self.events > EVENTS_MAX {
                return Err(format!("{EVENTS_MAX} events, and no end"));
            }
            self.now = self.now.max(at);
            self.set_clock();
            self.happen()?;
            self.tend()?;
        }
        Ok(())
    }

    fn happen(&mut self) -> Result<(), String> {
        for side in 0..self.sides.len() {
            let now = self.sides[side].now(self.now);
            if self.sides[side].world.due().is_some_and(|due| due <= now) {
                self.step_side(side);
                return Ok(());
            }
        }
        let Some(first) = self.agenda.first_entry().filter(|first| first.key().0 <= self.now) else {
            return Ok(());
        };
        match first.remove() {
            Event::Begin(nth) => self.begin(nth),
            Event::Register(nth) => self.register(nth),
            Event::Knock(id, knock) => self.knock(id, knock),
            Event::Learn(side, post, status) => {
                let now = self.sides[side].now(self.now);
                self.sides[side].world.sent(post, status, now);
            }
            Event::Arrive(id) => self.arrive(id),
            Event::Answer(id, answer) => self.answer(id, answer),
            Event::Turn(epoch) if epoch == self.epoch => self.turn()?,
            Event::Turn(_) => {}
            Event::Restart(epoch) if epoch == self.epoch => self.die(),
            Event::Restart(_) => {}
            Event::Boot => self.boot()?,
            Event::Act => self.act(),
            Event::Read => self.read()?,
        }
        Ok(())
    }

    // --- providers ---

    fn begin(&mut self, nth: usize) {
        let payment = &mut self.payments[nth];
        let side = &mut self.sides[payment.side];
        let now = side.now(self.now);
        let scenes = payment.scenes.clone().unwrap_or_else(|| payment.life.scenes(payment.cents));
        let ordered = side
            .world
            .play(side.provider, payment.life, scenes, &payment.reference, payment.cents, now)
            .unwrap();
        payment.provider_ref = Some(ordered.provider_ref);
        let (provider, reference, cents, life) =
            (side.provider, payment.reference.clone(), payment.cents, payment.life.as_str());
        self.tell(|| format!("{provider}: {reference} begins, {cents} cents, {life}"));
    }

    fn step_side(&mut self, side: usize) {
        let now = self.sides[side].now(self.now);
        let posts = self.sides[side].world.step(now);
        self.note_truths(side);
        posts.into_iter().for_each(|post| self.send(side, post));
    }

    /// Notes which payments changed, and that dates of ours given so far speak of the time before.
    fn note_truths(&mut self, side: usize) {
        let last = self.last_date();
        let truths: BTreeMap<String, _> =
            self.sides[side].world.orders().map(|it| (it.reference.clone(), it.truth)).collect();
        for nth in 0..self.payments.len() {
            let payment = &mut self.payments[nth];
            let Some(truth) = truths.get(&payment.reference).filter(|_| payment.side == side) else {
                continue;
            };
            if payment.truth != *truth {
                (payment.truth, payment.changed) = (*truth, last);
                let (reference, state) = (payment.reference.clone(), truth.state);
                let (refunded, provider) = (truth.refunded, self.sides[side].provider);
                self.tell(|| format!("{provider}: {reference} is {state}, {refunded} cents went back"));
            }
        }
    }

    /// The last date of ours that was given.
    fn last_date(&mut self) -> Time {
        if let Some(daemon) = &self.daemon {
            let stamped = *daemon.desk.stamped.lock().unwrap();
            self.seen.last_date = self.seen.last_date.max(stamped).max(daemon.desk.reader.published().stamp);
        }
        self.seen.last_date
    }

    fn send(&mut self, side: usize, post: Post) {
        if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(&post.outgoing.body)
            && let (Some(id), true) =
                (fields.get("id").and_then(|id| id.as_str()), fields.contains_key("event"))
            && let Some(payment) = self.payments.iter_mut().find(|it| it.reference == post.reference)
        {
            payment.told.insert(id.to_owned());
        }
        let line = self.plan.callbacks.clone();
        let fate = line.fate(&mut self.dice);
        let provider = self.sides[side].provider;
        let reference = post.reference.clone();
        self.tell(|| format!("{provider}: a callback about {reference}, {fate:?}"));
        self.count_fate("callback", fate);
        if self.dice.happens(line.doubled) {
            self.reach.count("callback doubled");
            let copy = Knock::of(side, &post, None, Fate::Arrives, &mut self.dice);
            self.put_on_line(copy);
        }
        if fate == Fate::Lost {
            self.schedule(self.now.plus(PATIENCE), Event::Learn(side, post, None));
        } else {
            let knock = Knock::of(side, &post.clone(), Some(post), fate, &mut self.dice);
            self.put_on_line(knock);
        }
    }

    fn count_fate(&mut self, what: &str, fate: Fate) {
        match fate {
            Fate::Arrives => {}
            Fate::Lost => self.reach.count(&format!("{what} lost")),
            Fate::Garbled => self.reach.count(&format!("{what} garbled")),
            Fate::Unanswered => self.reach.count(&format!("{what} unanswered")),
        }
    }

    fn put_on_line(&mut self, knock: Knock) {
        let at = self.now.plus(self.plan.callbacks.delay(&mut self.dice));
        self.knocks += 1;
        self.schedule(at, Event::Knock(self.knocks, knock));
    }

    // --- the door ---

    fn knock(&mut self, id: u64, knock: Knock) {
        let Some(daemon) = &mut self.daemon else {
            return self.leave(knock, None);
        };
        let side = &self.sides[knock.side];
        let account = self.machine.accounts.get(&side.account).unwrap();
        if admit(account, side.callback_key, None, &knock.headers).is_err() {
            return self.leave(knock, Some(401));
        }
        let incoming = Incoming {
            headers: &knock.headers,
            content_type: Some(knock.content_type),
            query: None,
            body: &knock.body,
        };
        let received = receive(account, &incoming, self.machine.clock.now());
        let asks = matches!(received.verdict, Verdict::Ask | Verdict::Record { ask: true, .. });
        let status = received.answer_status;
        daemon.receive(id, Command::Receive(received));
        self.at_door.insert(id, AtDoor { knock, status, asks });
    }

    /// The callback's sender learns what it was answered.
    fn leave(&mut self, knock: Knock, status: Option<u16>) {
        let status = status.filter(|_| !knock.unanswered);
        if let Some(post) = knock.post {
            let at = self.within(Duration::from_millis(50));
            self.schedule(at, Event::Learn(knock.side, post, status));
        }
    }

    fn answered(&mut self, id: u64, result: Result<Reply, SubmitError>) {
        let Some(AtDoor { knock, status, asks }) = self.at_door.remove(&id) else { return };
        let account = self.sides[knock.side].account.clone();
        let Ok(Reply::Received(receipt)) = result else {
            self.tell(|| format!("the door of {account} answers 503"));
            return self.leave(knock, Some(503));
        };
        if let (true, Some(daemon)) = (asks, &mut self.daemon) {
            daemon.resolver.enqueue(account.clone(), receipt, self.machine.clock.now());
        }
        self.seen.acknowledged.insert(receipt, (account.clone(), knock.body.clone()));
        self.tell(|| format!("{receipt} of {account} is acknowledged"));
        self.leave(knock, Some(status));
    }

    // --- calls ---

    fn dispatch(&mut self) {
        for sent in self.machine.wires.take_sent() {
            let line = self.plan.calls.clone();
            let fate = line.fate(&mut self.dice);
            self.count_fate("call", fate);
            if sent.request.path.ends_with("/tokens") {
                self.reach.count("session renewed");
            } else if sent.request.path.ends_with("/authorize") {
                self.reach.count("session opened");
            }
            let (id, account, path) = (sent.id, sent.account.clone(), sent.request.path.clone());
            self.tell(|| format!("call {id} to {account}{path}, {fate:?}"));
            let at = match fate {
                Fate::Lost => self.now.plus(PATIENCE),
                Fate::Arrives | Fate::Garbled | Fate::Unanswered => {
                    self.now.plus(line.delay(&mut self.dice) / 2)
                }
            };
            self.requests.insert(id, Request { sent, at: self.now, epoch: self.epoch, fate });
            if fate == Fate::Lost {
                self.schedule(at, Event::Answer(id, Err(NoAnswer::Timeout)));
            } else {
                self.schedule(at, Event::Arrive(id));
            }
        }
    }

    fn arrive(&mut self, id: u64) {
        let Some(request) = self.requests.get(&id) else { return };
        let (fate, sent_at) = (request.fate, request.at);
        let mut response = self.respond(id);
        let lies = self.plan.lies;
        if self.dice.happens(lies)
            && let Some(lie) = bend(&mut response.body, &mut self.dice)
        {
            self.reach.count("provider mistaken");
            self.lied = true;
            self.tell(|| format!("call {id}: the provider is mistaken: {lie}"));
        }
        if fate == Fate::Garbled {
            garble(&mut response.body, &mut self.dice);
        }
        let status = response.status;
        self.tell(|| format!("call {id} is answered {status}"));
        let arrives = self.now.plus(self.plan.calls.delay(&mut self.dice));
        let patience = sent_at.plus(PATIENCE);
        if fate == Fate::Unanswered || arrives > patience {
            self.schedule(patience.max(self.now), Event::Answer(id, Err(NoAnswer::Timeout)));
        } else {
            self.schedule(arrives, Event::Answer(id, Ok(as_answer(response))));
        }
    }

    /// What the provider answers, or what stands before it.
    fn respond(&mut self, id: u64) -> Response {
        let (down, too_fast) = (self.plan.down, self.plan.too_fast);
        if self.dice.happens(down) {
            self.reach.count("call answered 5xx");
            return Response::json(*self.dice.pick(&[500, 502, 503]), "{}");
        }
        if self.dice.happens(too_fast) {
            self.reach.count("call answered 429");
            let retry_after = Some(u32::try_from(self.dice.between(1, 120)).unwrap());
            return Response { retry_after, ..Response::json(429, "{}") };
        }
        let Request { sent, .. } = &self.requests[&id];
        let side = self.sides.iter_mut().find(|side| side.account.as_str() == sent.account).unwrap();
        let now = Time(self.now.0 + side.skew);
        side.world.answer(side.provider, &sent.request, now)
    }

    fn answer(&mut self, id: u64, answer: Result<Answer, NoAnswer>) {
        let Some(request) = self.requests.remove(&id) else { return };
        if request.epoch != self.epoch {
            return;
        }
        if answer.is_ok() {
            let about = format!(
                "{}{}?{}",
                request.sent.account, request.sent.request.path, request.sent.request.query
            );
            let last = self.last_answered.entry(about).or_default();
            let overtaken = request.at < *last;
            *last = (*last).max(request.at);
            if overtaken {
                self.reach.count("answer overtaken by a later one");
            }
        } else {
            self.reach.count("call timed out");
        }
        self.machine.wires.answer(id, answer);
    }

    // --- the daemon ---

    fn boot(&mut self) -> Result<(), String> {
        if self.deaths > 0 && !self.calm {
            let before = self.our_skew;
            self.our_skew = skew(self.plan.our_skew, &mut self.dice);
            let jump = if self.our_skew < before { "our clock goes back" } else { "our clock goes ahead" };
            if self.our_skew != before {
                self.reach.count(jump);
            }
        }
        self.set_clock();
        self.epoch += 1;
        self.turn_scheduled = false;
        let daemon = self.machine.boot(&self.plan)?;
        let head = daemon.desk.reader.head();
        self.daemon = Some(daemon);
        self.tell(|| format!("the daemon starts, the ledger ends at {head}"));
        checks::survived(self)
    }

    /// Lets the daemon go on until all its tasks wait for something.
    fn tend(&mut self) -> Result<(), String> {
        loop {
            let Some(daemon) = &mut self.daemon else { return Ok(()) };
            let mut moved = daemon.take_due();
            let mut tasks = daemon.tasks();
            shuffle(&mut tasks, &mut self.dice);
            for task in tasks {
                let per_mille = self.plan.dies_at_step;
                if self.deaths < self.plan.deaths_max && self.dice.happens(per_mille) {
                    self.die();
                    return Ok(());
                }
                let Some(daemon) = &mut self.daemon else { return Ok(()) };
                if let Some(done) = daemon.step(task) {
                    moved = true;
                    self.done(done);
                }
            }
            self.dispatch();
            let waits = self.daemon.as_ref().is_some_and(Daemon::has_jobs);
            if waits && !self.turn_scheduled {
                self.turn_scheduled = true;
                let at = self.within(self.plan.queueing);
                self.schedule(at, Event::Turn(self.epoch));
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Processed(ended) => {
                let again = ended.again;
                self.tell(|| format!("a receipt of {} is seen to, again: {again:?}", ended.account));
                if ended.pause_until.is_some() {
                    self.reach.count("account paused as asked");
                }
                if let Some(daemon) = &mut self.daemon {
                    daemon.ended(ended);
                }
            }
            Done::Polled(key, result) => {
                self.tell(|| format!("{key} was polled: {result:?}"));
                self.reach.count(if result.is_ok() { "poll answered" } else { "poll failed" });
                self.polled.insert(key, result);
            }
            Done::Answered { knock, result } => self.answered(knock, result),
            Done::Acted(result) => self.acted(result),
            Done::Reprocessed(account, id, result) => {
                self.tell(|| format!("{id} is processed again: {}", result.is_ok()));
                if result.is_ok()
                    && let Some(daemon) = &mut self.daemon
                {
                    self.reach.count("receipt processed again");
                    daemon.resolver.enqueue(account, id, self.machine.clock.now());
                }
            }
        }
    }

    fn turn(&mut self) -> Result<(), String> {
        self.turn_scheduled = false;
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.turn();
        if !self.machine.disk.has_power() {
            self.die();
            return Ok(());
        }
        let published = daemon.desk.reader.published();
        self.seen.published(published.seq, published.hash);
        if let Some(why) = published.stopped {
            self.reach.count("writer stopped and was restarted");
            self.tell(|| format!("the writer stopped: {why}"));
            let at = self.within(Duration::from_secs(60));
            self.schedule(at, Event::Restart(self.epoch));
        }
        checks::moved(self)
    }

    /// The daemon is killed, and the power with it.
    fn die(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        self.last_date_of(&daemon);
        self.deaths += 1;
        if !self.machine.disk.has_power() {
            self.reach.count("death within a sync");
        } else if daemon.has_jobs() {
            self.reach.count("death with commands queued");
        }
        if self.requests.values().any(|request| request.epoch == self.epoch) {
            self.reach.count("death with calls under way");
        }
        let (purposes, left) = daemon.die();
        if purposes.contains(&Purpose::Door) {
            self.reach.count("death with a callback at the door");
        }
        left.into_iter().for_each(|done| self.done(done));
        let (unsynced, kept) = self.machine.disk.power_cut();
        self.reach.add("unsynced batch survives", u64::try_from(kept).unwrap());
        self.reach.add("unsynced batch is lost", u64::try_from(unsynced - kept).unwrap());
        self.machine.wires.take_sent();
        self.machine.wires.forget_answers();
        self.tell(|| format!("the daemon dies; of {unsynced} unsynced batches {kept} are left"));
        for AtDoor { knock, .. } in std::mem::take(&mut self.at_door).into_values() {
            self.leave(knock, None);
        }
        let at = if self.calm { self.now } else { self.within(Duration::from_secs(7200)) };
        self.schedule(at, Event::Boot);
    }

    fn last_date_of(&mut self, daemon: &Daemon) {
        let stamped = *daemon.desk.stamped.lock().unwrap();
        self.seen.last_date = self.seen.last_date.max(stamped).max(daemon.desk.reader.published().stamp);
    }

    // --- people ---

    fn register(&mut self, nth: usize) {
        let named = self.dice.happens(500);
        let payment = &self.payments[nth];
        let (Some(amount), Some(daemon)) = (payment.registers, &mut self.daemon) else { return };
        daemon.act(payment.registration(&self.sides, amount, named));
        let reference = payment.reference.clone();
        self.tell(|| format!("the shop registers {reference} with {amount} cents"));
    }

    fn acted(&mut self, result: Result<Reply, SubmitError>) {
        match result {
            Ok(Reply::Registered { order, news }) => {
                self.reach.count(&format!("registered {news:?}"));
                let known = self.payments.iter_mut().find(|it| it.reference == order.key.reference.as_str());
                known.into_iter().for_each(|payment| payment.registered = true);
            }
            Ok(Reply::Ruled(order)) => self.tell(|| format!("{} was ruled: {}", order.key, order.state())),
            Ok(Reply::Received(_) | Reply::Recorded(_) | Reply::Noted) => {}
            Err(SubmitError::Refused(refusal)) => {
                self.reach.count("people refused");
                self.tell(|| format!("refused: {refusal}"));
            }
            Err(error) => self.tell(|| format!("not done: {error}")),
        }
    }

    fn act(&mut self) {
        if self.daemon.is_none() || self.calm {
            return;
        }
        let shop = self.plan.shop.clone();
        let nth = self.dice.below(usize::try_from(shop.polls + shop.rules + shop.reprocesses).unwrap());
        let nth = u64::try_from(nth).unwrap();
        if nth < shop.polls {
            let payment = self.dice.below(self.payments.len());
            let key = self.payments[payment].key(&self.sides);
            self.poll(key);
        } else if nth < shop.polls + shop.rules {
            self.rule();
        } else {
            self.reprocess();
        }
    }

    fn poll(&mut self, key: OrderKey) {
        if let Some(daemon) = &mut self.daemon {
            daemon.poll_order(key);
        }
    }

    fn reprocess(&mut self) {
        let known: Vec<(ReceiptId, AccountId)> =
            self.seen.acknowledged.iter().map(|(id, (account, _))| (*id, account.clone())).collect();
        if let (Some(daemon), false) = (&mut self.daemon, known.is_empty()) {
            let (id, account) = self.dice.pick(&known);
            daemon.reprocess(account.clone(), *id);
        }
    }

    /// An operator's word about some open discrepancy.
    fn rule(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        let keys = self.payments.iter().map(|payment| payment.key(&self.sides));
        let orders = keys.filter_map(|key| daemon.desk.reader.order(&key).ok().flatten());
        let open: Vec<_> = orders.flat_map(|order| order.open.into_values().map(|open| open.id)).collect();
        if open.is_empty() {
            return;
        }
        let action = match self.dice.below(3) {
            0 => Ruled::SetState(*self.dice.pick(&State::ALL)),
            _ => Ruled::Keep,
        };
        daemon.act(Command::Rule(RulingRequest {
            discrepancy: *self.dice.pick(&open),
            actor: Some("ana".to_owned()),
            reason: "Maria de Teste phoned".to_owned(),
            action,
        }));
        self.tell(|| format!("an operator rules: {action:?}"));
    }

    /// Somebody reads the ledger on from where they were.
    fn read(&mut self) -> Result<(), String> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let reader = daemon.desk.reader.clone();
        let limit = 1 + self.dice.below(20);
        self.seen.read_on(&reader, limit)?;
        if self.dice.happens(300) {
            self.seen.forget(&mut self.dice);
        }
        Ok(())
    }

    // --- the end ---

    fn calm_down(&mut self) -> Result<(), String> {
        let tally = self.machine.disk.tally();
        self.reach.add("apply failed", tally.failed_applies);
        self.reach.add("sync failed", tally.failed_syncs);
        self.plan = self.plan.calmed();
        self.machine.disk.calm(&self.plan);
        self.calm = true;
        self.tell(|| "all faults end".to_owned());
        if self.daemon.is_none() {
            self.boot()?;
        }
        // What the daemon was kept from hearing is registered at last.
        for nth in 0..self.payments.len() {
            if !self.payments[nth].registered {
                self.register(nth);
            }
        }
        Ok(())
    }

    /// Every order that can be polled is polled once more, until its provider answers.
    fn poll_everything(&mut self) -> Result<(), String> {
        let mut left = checks::order_keys(self)?;
        for _ in 0..6 {
            left.iter().for_each(|key| drop(self.polled.remove(key)));
            for key in left.clone() {
                self.poll(key);
            }
            self.go_on(None)?;
            left.retain(|key| matches!(self.polled.get(key), None | Some(Err(PollError::Provider(_)))));
            if left.is_empty() {
                break;
            }
            self.now = self.now.plus(DAY);
            self.set_clock();
        }
        Ok(())
    }

    /// Submits a command and waits for what comes of it.
    pub fn submit(&mut self, command: Command) -> Result<(), String> {
        if let Some(daemon) = &mut self.daemon {
            daemon.act(command);
        }
        self.go_on(None)
    }

    pub fn shuffled<T>(&mut self, mut things: Vec<T>) -> Vec<T> {
        shuffle(&mut things, &mut self.dice);
        things
    }
}

impl Knock {
    fn of(side: usize, sent: &Post, post: Option<Post>, fate: Fate, dice: &mut Dice) -> Knock {
        let outgoing = &sent.outgoing;
        let headers = outgoing.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let mut body = outgoing.body.clone();
        if fate == Fate::Garbled {
            garble(&mut body, dice);
        }
        Knock {
            side,
            post,
            headers: headers.collect(),
            content_type: outgoing.content_type,
            body,
            unanswered: fate == Fate::Unanswered,
        }
    }
}

fn shuffle<T>(things: &mut [T], dice: &mut Dice) {
    for end in (1..things.len()).rev() {
        things.swap(end, dice.below(end + 1));
    }
}
