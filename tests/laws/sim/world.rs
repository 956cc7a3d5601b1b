//! One world: providers, lines, disk, shop and daemon under one simulated time that jumps from event to event. The same
//! seed gives the same world, to the byte.

use super::checks::{self, Seen};
use super::daemon::{Daemon, Done, Machine, OurClock, Purpose};
use super::disk::Disk;
use super::faults::Fault;
use super::files::Files;
use super::network::Wires;
use super::payments::{Payment, Side, skew};
use super::plan::Plan;
use super::reach::Reach;
use super::shops::Shops;
use super::traffic::{AtDoor, Knock, Request};
use crate::fold::dice::Dice;
use razao::config::{Account, Poll};
use razao::domain::ids::OrderKey;
use razao::domain::money::Currency;
use razao::domain::time::Time;
use razao::ingest::accounts::Accounts;
use razao::ingest::agenda::{self, Treated};
use razao::ingest::desk::PollError;
use razao::ledger::command::Command;
use razao::net::client::NoAnswer;
use razao::providers::provider::{Credentials, Merchant};
use razao::providers::registry;
use razao::sandbox::world::Post;
use razao::schedule::cadence::Cadence;
use razao::wire::call::Answer;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BEGIN: Time = Time(1_772_000_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);
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
    pub dice: Dice,
    pub files: Files,
    pub now: Time,
    pub calm: bool,
    pub ends: Time,
    pub events: u64,
    pub agenda: BTreeMap<(Time, u64), Event>,
    pub scheduled: u64,
    pub our_skew: i64,
    pub deaths: u64,
    /// Which life of the daemon this is.
    pub epoch: u64,
    pub turn_scheduled: bool,
    pub requests: BTreeMap<u64, Request>,
    pub at_door: BTreeMap<u64, AtDoor>,
    pub knocks: u64,
    pub last_answered: BTreeMap<String, Time>,
    pub shops: Shops,
    story: Option<Vec<String>>,
}

/// What happens at some time.
pub enum Event {
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
    File,
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
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.live()));
    let result = lived.unwrap_or_else(|_| Err("it panicked".to_owned()));
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
pub fn accounts(sides: &[Side], polled: Option<Cadence>, fault: Option<Fault>) -> Accounts {
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
            poll: Poll {
                enabled: polled.is_some(),
                min_interval: side.cadence.pause_min,
                max_interval: side.cadence.pause_max,
            },
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
            keys: Arc::default(),
            wires: Wires::default(),
            clock: Arc::new(OurClock::default()),
            accounts: accounts(&sides, plan.polls.then_some(plan.cadence), fault),
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
            shops: Shops::draw(seed),
            story: tell.then(|| vec![format!("seed {seed}: {plan:?}")]),
            plan,
            dice,
            files: Files::draw(seed),
        }
    }

    /// Chaos, then calm, then the last look at every order, then the laws.
    fn live(&mut self) -> Result<(), String> {
        self.machine.bear();
        self.set_out();
        self.boot()?;
        self.go_on(Some(self.ends))?;
        self.calm_down()?;
        if self.plan.polls {
            self.let_polls_find_it()?;
        }
        self.go_on(None)?;
        checks::settled(self)?;
        if self.plan.polls {
            checks::found_by_polls(self)?;
        }
        self.post_last_files()?;
        self.poll_everything()?;
        self.tell(|| "a last restart".to_owned());
        self.die();
        self.agenda.clear();
        self.boot()?;
        self.go_on(None)?;
        self.shops_saw_everything()?;
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

    pub fn schedule(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((at, self.scheduled), event);
    }

    pub fn within(&mut self, pause: Duration) -> Time {
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
        self.shops.set_out(self.now, self.plan.chaos());
        self.set_out_files();
    }

    fn set_clock(&self) {
        self.machine.clock.set(Time(self.now.0 + self.our_skew));
    }

    /// When something happens next.
    fn next_time(&mut self) -> Option<Time> {
        let agenda = self.agenda.keys().next().map(|(at, _)| *at);
        let sides = self.sides.iter().filter_map(|side| side.world.due().map(|due| Time(due.0 - side.skew)));
        let due = self.daemon.as_mut().and_then(Daemon::due);
        let due = due.map(|due| Time(due.0 - self.our_skew));
        agenda.into_iter().chain(sides).chain(due).chain(self.shops_due()).min()
    }

    pub fn go_on(&mut self, until: Option<Time>) -> Result<(), String> {
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
        if self.shops_happen()? {
            return Ok(());
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
            Event::File => self.post_some_file(),
            Event::Read => self.read()?,
        }
        Ok(())
    }

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
        self.boot_shops()?;
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
                    self.done(done)?;
                }
            }
            moved |= self.tend_shops()?;
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

    fn done(&mut self, done: Done) -> Result<(), String> {
        match done {
            Done::Worked(done) => self.worked(done),
            Done::Polled(key, treated, result) => {
                self.tell(|| format!("{key} was polled: {result:?}"));
                self.reach.count(if result.is_ok() { "poll answered" } else { "poll failed" });
                let account = key.account.clone();
                self.polled.insert(key, result);
                self.worked(agenda::Done::ByHand { account, treated });
            }
            Done::Answered { knock, result } => self.answered(knock, result),
            Done::Acted(result) => self.acted(result),
            Done::Hooked { shop, note, result } => return self.hooked(shop, note, result),
            Done::Filed(account, results, end) => self.filed(account.as_str(), results, end),
            Done::Reprocessed(account, id, result) => {
                self.tell(|| format!("{id} is processed again: {}", result.is_ok()));
                if result.is_ok()
                    && let Some(daemon) = &mut self.daemon
                {
                    self.reach.count("receipt processed again");
                    daemon.enqueue(account, id);
                }
            }
        }
        Ok(())
    }

    fn worked(&mut self, done: agenda::Done) {
        self.tell(|| format!("{done:?}"));
        let treated = match &done {
            agenda::Done::Receipt { treated, .. } | agenda::Done::ByHand { treated, .. } => treated,
            agenda::Done::Poll { treated, .. } => {
                self.reach.count("order polled when due");
                treated
            }
            agenda::Done::CatchUp { treated, news, .. } => {
                self.reach.count("list of events read");
                self.reach.add("list of events with news", u64::from(*news));
                treated
            }
        };
        if let Treated::Badly(failure) = treated
            && failure.retry_after().is_some()
        {
            self.reach.count("account paused as asked");
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.worked(done);
        }
    }

    /// Without faults and without anybody's help, polls by the clock have found everything after a while. Then they end,
    /// so that the world can.
    fn let_polls_find_it(&mut self) -> Result<(), String> {
        // Due times may have been reckoned with a clock that was ahead, a provider may still be down, and the whole account
        // may have paused for that.
        let pauses = self.plan.cadence.pause_max * 3 + self.plan.our_skew * 2 + self.plan.trouble + HOUR * 3;
        self.go_on(Some(self.now.plus(pauses)))?;
        self.machine.accounts = accounts(&self.sides, None, self.machine.fault);
        self.tell(|| "the daemon is restarted without polls".to_owned());
        self.die();
        Ok(())
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
        if purposes.contains(&Purpose::File) {
            self.reach.count("death with a file under way");
        }
        if purposes.contains(&Purpose::Door) {
            self.reach.count("death with a callback at the door");
        }
        self.reach.add("death with deliveries under way", u64::from(self.shops.die()));
        for done in left {
            // What left at a death is answers to callbacks, and looking at them breaks no law.
            drop(self.done(done));
        }
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

    fn calm_down(&mut self) -> Result<(), String> {
        let tally = self.machine.disk.tally();
        self.reach.add("apply failed", tally.failed_applies);
        self.reach.add("sync failed", tally.failed_syncs);
        self.plan = self.plan.calmed();
        self.machine.disk.calm(&self.plan);
        self.calm = true;
        self.shops.calm();
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
        if self.dice.happens(300) {
            // Long enough for every session to have ended.
            self.now = self.now.plus(DAY * 8);
            self.set_clock();
        }
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

fn shuffle<T>(things: &mut [T], dice: &mut Dice) {
    for end in (1..things.len()).rev() {
        things.swap(end, dice.below(end + 1));
    }
}
