//! Shops in a world. Each has a webhook, and is well, fails, lies, hangs or is gone, until the faults end; people disable,
//! enable, rotate, replay and resend meanwhile. The plan of deliveries runs over the real ledger and the real writer, and
//! dies with the daemon between any two of its steps.
//!
//! The law: a shop sees every event of its webhook, and of each order in order, except what was given up in between; what
//! is marked as delivered it has confirmed. Half of the worlds have no shop, and are what they were without this file.

use super::faults::Fault;
use super::network::PATIENCE;
use super::reach::Reach;
use super::world::World;
use crate::fold::dice::Dice;
use razao::clock::Clock;
use razao::delivery::plan::{Line, Outcome, Plan, Policy};
use razao::delivery::runner::stretch;
use razao::domain::ids::{Nonce, OrderKey, Seq};
use razao::domain::receipt::Private;
use razao::domain::time::Time;
use razao::domain::webhook::{
    Attempt, Delivery, DeliveryId, Miss, Pattern, Position, Reach as Accounts, Stage, Webhook, WebhookId,
};
use razao::ledger::command::{Command, Reply, SubmitError};
use razao::ledger::deliveries::is_for;
use razao::ledger::reader::Reader;
use razao::ledger::webhooks::{Advance, Change, NewWebhook, Noted, Notes, WebhookCommand};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const POLICY: Policy = Policy {
    first_pause: Duration::from_secs(5),
    max_pause: Duration::from_secs(3600),
    max_attempts: 6,
    in_flight_max: 3,
    disable_after: Duration::from_secs(12 * 3600),
};
/// After trouble of our own something is tried again so much later.
const AGAIN: Duration = Duration::from_secs(5);
const TRAVEL_MAX: Duration = Duration::from_secs(2);

/// All shops of a world, with dice of their own: a world without shops rolls none of theirs.
pub struct Shops {
    dice: Dice,
    shops: Vec<Shop>,
    agenda: BTreeMap<(Time, u64), Happening>,
    scheduled: u64,
}

/// Something that happens to a shop.
enum Happening {
    Mood(usize, Mood),
    Act(usize),
    /// A request reaches it; in which life of the daemon it was sent.
    Arrive(usize, u64, Position),
    /// What came of a request reaches the daemon.
    Hear(usize, u64, Position, Outcome),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Well,
    Fails(u16),
    /// A page of somebody else's, with 200: by our word it has confirmed.
    Lies,
    Moved(u16),
    Gone,
    /// It reads and never answers.
    Hangs,
    /// Nobody is there.
    Down,
    /// It asks for a pause.
    Busy,
}

struct Shop {
    new: NewWebhook,
    mood: Mood,
    /// What is wanted of the ledger, in order, and whether the first of it was submitted.
    todo: VecDeque<WebhookCommand>,
    asked: bool,
    ask_again_at: Time,
    /// Dies with the daemon.
    run: Option<Run>,
    saw: BTreeMap<Position, u64>,
    confirmed: BTreeSet<Position>,
    given_up: BTreeSet<Position>,
}

struct Run {
    webhook: Webhook,
    plan: Plan,
    notes: Vec<Noted>,
    /// How many notes are being written down, and how far the plan was.
    writing: Option<(usize, Advance)>,
    write_again_at: Time,
    written: Option<Advance>,
    was_off: bool,
}

impl Shops {
    pub fn draw(seed: u64) -> Shops {
        let mut dice = Dice(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x0005_40b5);
        let count = if dice.happens(500) { dice.between(1, 2) } else { 0 };
        let shops = (1..=count).map(|nth| Shop::draw(nth, &mut dice)).collect();
        Shops { dice, shops, agenda: BTreeMap::new(), scheduled: 0 }
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.scheduled += 1;
        self.agenda.insert((at, self.scheduled), happening);
    }

    fn moment(&mut self, from: Time, within: Duration) -> Time {
        from.plus(Duration::from_micros(self.dice.between(1, u64::try_from(within.as_micros()).unwrap())))
    }

    /// When its mood changes and when people do something, known in advance.
    pub fn set_out(&mut self, now: Time, chaos: Duration) {
        for nth in 0..self.shops.len() {
            for _ in 0..self.dice.between(1, 8) {
                let (at, mood) = (self.moment(now, chaos), Mood::draw(&mut self.dice));
                self.schedule(at, Happening::Mood(nth, mood));
            }
            for _ in 0..self.dice.between(0, 6) {
                let at = self.moment(now, chaos);
                self.schedule(at, Happening::Act(nth));
            }
        }
    }

    /// The daemon dies; requests on their way arrive all the same. Says whether there were any.
    pub fn die(&mut self) -> bool {
        for shop in &mut self.shops {
            shop.run = None;
            shop.asked = false;
        }
        self.agenda.values().any(|it| matches!(it, Happening::Arrive(..) | Happening::Hear(..)))
    }

    /// From now on every shop is well, and somebody enables its webhook.
    pub fn calm(&mut self) {
        self.agenda.retain(|_, it| matches!(it, Happening::Arrive(..) | Happening::Hear(..)));
        for shop in &mut self.shops {
            shop.mood = Mood::Well;
            shop.todo.push_back(WebhookCommand::Enable(shop.new.id));
        }
    }
}

impl Mood {
    fn draw(dice: &mut Dice) -> Mood {
        *dice.pick(&[
            Mood::Well,
            Mood::Well,
            Mood::Fails(500),
            Mood::Fails(404),
            Mood::Lies,
            Mood::Moved(302),
            Mood::Gone,
            Mood::Hangs,
            Mood::Down,
            Mood::Busy,
        ])
    }

    /// What it answers: a status, or how the connection ends.
    fn answer(self) -> Outcome {
        let answered = |status: u16, retry_after: Option<Duration>| Outcome {
            status: Some(status),
            miss: Miss::of(status),
            retry_after,
        };
        let ended = |miss| Outcome { status: None, miss: Some(miss), retry_after: None };
        match self {
            Mood::Well | Mood::Lies => answered(200, None),
            Mood::Fails(status) | Mood::Moved(status) => answered(status, None),
            Mood::Gone => answered(410, None),
            Mood::Busy => answered(429, Some(Duration::from_secs(900))),
            Mood::Hangs => ended(Miss::Timeout),
            Mood::Down => ended(Miss::Refused),
        }
    }

    fn named(self) -> &'static str {
        match self {
            Mood::Well => "shop confirmed",
            Mood::Fails(_) => "shop failed",
            Mood::Lies => "shop lied with 200",
            Mood::Moved(_) => "shop redirected",
            Mood::Gone => "shop gone",
            Mood::Hangs => "shop timed out",
            Mood::Down => "shop unreachable",
            Mood::Busy => "shop asked for a pause",
        }
    }
}

impl Shop {
    fn draw(nth: u64, dice: &mut Dice) -> Shop {
        let id = WebhookId(Nonce::new(Time(i64::try_from(nth).unwrap()), [7; 8]).0);
        let patterns: &[&str] = match dice.below(3) {
            0 => &["order.paid", "order.refunded"],
            1 => &["order.*"],
            _ => &["*"],
        };
        let new = NewWebhook {
            id,
            target: format!("https://shop-{nth}.example.com"),
            description: None,
            events: patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
            accounts: Accounts::All,
            headers: Vec::new(),
            from: dice.happens(700).then_some(Seq(1)),
            secret: Private(vec![0]),
            authorization: None,
        };
        Shop {
            todo: VecDeque::from([WebhookCommand::Create(new.clone())]),
            new,
            mood: Mood::Well,
            asked: false,
            ask_again_at: Time(0),
            run: None,
            saw: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            given_up: BTreeSet::new(),
        }
    }

    /// Takes its webhook as it is stored, if it is.
    fn load(&mut self, reader: &Reader, now: Time, fault: Option<Fault>) -> Result<(), String> {
        let id = self.new.id;
        let (webhook, course) = (reader.webhook(id).map_err(said)?, reader.course(id).map_err(said)?);
        let (Some(webhook), Some(mut course)) = (webhook, course) else { return Ok(()) };
        if fault == Some(Fault::EventSkipped) && self.run.is_none() {
            course.cursor = course.cursor.next().min(reader.head());
        }
        let mut run = match self.run.take() {
            Some(mut run) => {
                run.plan.reload(&course);
                run
            }
            None => Run {
                plan: Plan::new(id, &course, POLICY),
                webhook: webhook.clone(),
                notes: Vec::new(),
                writing: None,
                write_again_at: Time(0),
                written: None,
                was_off: false,
            },
        };
        for position in &course.notices {
            let notice = reader.delivery(DeliveryId { webhook: id, position: *position }).map_err(said)?;
            notice.iter().for_each(|notice| run.plan.notice(notice, now));
        }
        self.run = Some(Run { webhook, written: None, was_off: course.off.is_some(), ..run });
        Ok(())
    }

    /// Reads what is wanted, and says which attempts begin.
    fn begin(&mut self, reader: &Reader, now: Time, fault: Option<Fault>) -> Result<Vec<Position>, String> {
        let Some(run) = &mut self.run else { return Ok(Vec::new()) };
        while let Some((lane, from, to)) = run.plan.wants(reader.head()) {
            let mut found = stretch(reader, &run.webhook, from, to).map_err(said)?;
            if fault == Some(Fault::OrderOvertaken) {
                found.iter_mut().for_each(|it| it.line = Line::Alone(Position::entry(it.seq)));
            }
            run.plan.feed(lane, found, now);
        }
        let begun: Vec<Position> = std::iter::from_fn(|| run.plan.next(now)).collect();
        for position in &begun {
            self.nothing_is_overtaken(reader, *position)?;
        }
        Ok(begun)
    }

    /// As an attempt begins, every earlier event of its order was confirmed or given up.
    fn nothing_is_overtaken(&mut self, reader: &Reader, position: Position) -> Result<(), String> {
        for earlier in self.of_the_same_order(reader, position)?.into_iter().filter(|it| *it < position) {
            if self.confirmed.contains(&earlier) || self.given_up.contains(&earlier) {
                continue;
            }
            let stage = self.delivery(reader, earlier)?.map(|delivery| delivery.stage);
            if !matches!(stage, Some(Stage::Failed { .. })) {
                return Err(format!(
                    "{position:?} is sent while {earlier:?} of its order is open: {stage:?}"
                ));
            }
            self.given_up.insert(earlier);
        }
        Ok(())
    }

    /// A request reaches the shop. Of each order it sees the events in their order.
    fn sees(&mut self, reader: &Reader, position: Position) -> Result<(), String> {
        let first = !self.saw.contains_key(&position);
        if first && !self.given_up.contains(&position) {
            let later = self.of_the_same_order(reader, position)?.into_iter().filter(|it| *it > position);
            if let Some(later) = later.into_iter().find(|it| self.saw.contains_key(it)) {
                return Err(format!(
                    "{} sees {position:?} after {later:?} of the same order",
                    self.new.target
                ));
            }
        }
        *self.saw.entry(position).or_default() += 1;
        Ok(())
    }

    /// The events of an entry's order that the webhook is told of.
    fn of_the_same_order(&self, reader: &Reader, position: Position) -> Result<Vec<Position>, String> {
        if position.notice != 0 {
            return Ok(Vec::new());
        }
        let stored = reader.entry(position.seq).map_err(said)?.ok_or("an event of no entry")?;
        let Some(reference) = stored.entry.order else { return Ok(Vec::new()) };
        let key = OrderKey::new(stored.entry.account, reference);
        let order = reader.order(&key).map_err(said)?.ok_or("an event of no order")?;
        let webhook = reader.webhook(self.new.id).map_err(said)?.ok_or("no webhook")?;
        let history = reader.history(&order).map_err(said)?;
        let told = history.iter().filter(|it| it.entry.seq >= webhook.from && is_for(&webhook, it));
        Ok(told.map(|it| Position::entry(it.entry.seq)).collect())
    }

    fn delivery(&self, reader: &Reader, position: Position) -> Result<Option<Delivery>, String> {
        reader.delivery(DeliveryId { webhook: self.new.id, position }).map_err(said)
    }

    /// The daemon learns what an attempt came to.
    fn hears(
        &mut self,
        reader: &Reader,
        now: Time,
        position: Position,
        outcome: Outcome,
    ) -> Result<(), String> {
        let id = DeliveryId { webhook: self.new.id, position };
        let about = match position.notice {
            0 => reader.entry(position.seq).map_err(said)?.map(|it| Delivery::unheard(id.webhook, &it.entry)),
            _ => self.delivery(reader, position)?,
        };
        let Some(run) = &mut self.run else { return Ok(()) };
        let Some(Delivery { event, kind, account, order, .. }) = about else {
            run.plan.vanished(position);
            return Ok(());
        };
        let Some(verdict) = run.plan.heard(now, position, outcome) else { return Ok(()) };
        let (status, miss) = (outcome.status, outcome.miss);
        let attempt = Attempt { number: 0, at: now, duration_ms: 1, status, miss, answered: false };
        let answer = Private(if status.is_some() { b"<html>".to_vec() } else { Vec::new() });
        let (stage, tries) = (verdict.stage, verdict.tries);
        run.notes.push(Noted { id, event, kind, account, order, attempt, answer, stage, tries });
        Ok(())
    }

    /// What is to be written down now.
    fn writes(&mut self, now: Time) -> Option<Command> {
        let run = self.run.as_mut().filter(|run| run.writing.is_none() && run.write_again_at <= now)?;
        let advance = run.plan.advance();
        if run.notes.is_empty() && !run.plan.is_worth_writing(run.written.as_ref(), &advance) {
            return None;
        }
        run.writing = Some((run.notes.len(), advance.clone()));
        let notes = Notes { attempts: run.notes.clone(), advances: vec![advance] };
        Some(Command::Webhook(WebhookCommand::Note(notes)))
    }

    /// It is written down, or not. Says whether that disabled the webhook.
    fn written(&mut self, result: Result<(), SubmitError>, now: Time, reach: &mut Reach) -> bool {
        let Some(run) = &mut self.run else { return false };
        let Some((count, advance)) = run.writing.take() else { return false };
        if result.is_err() {
            run.write_again_at = now.plus(AGAIN);
            return false;
        }
        for note in run.notes.drain(..count) {
            let given_up = matches!(note.stage, Stage::Failed { .. });
            reach.add("delivery given up", u64::from(given_up));
            reach.add("delivery recorded", u64::from(matches!(note.stage, Stage::Delivered { .. })));
            run.plan.recorded(note.id.position);
        }
        run.plan.retire(&advance);
        let disabled = advance.off.is_some() && !run.was_off;
        run.written = (run.plan.advance().revision == advance.revision).then_some(advance);
        disabled
    }

    /// When it goes on by itself, by our clock.
    fn due(&self, now: Time) -> Option<Time> {
        let asks = (!self.todo.is_empty() && !self.asked).then_some(self.ask_again_at);
        let run = self.run.as_ref();
        let attempts = run.and_then(|run| run.plan.due(now));
        let unwritten = run.filter(|run| run.writing.is_none() && run.write_again_at > now);
        let writes = unwritten.map(|run| run.write_again_at);
        [asks, attempts, writes].into_iter().flatten().min()
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl World {
    /// When something happens to a shop, or its deliveries go on.
    pub fn shops_due(&self) -> Option<Time> {
        let happens = self.shops.agenda.keys().next().map(|(at, _)| *at);
        let now = self.machine.clock.now();
        let awake = self.shops.shops.iter().filter(|_| self.daemon.is_some());
        let due = awake.filter_map(|shop| shop.due(now)).min().map(|due| Time(due.0 - self.our_skew));
        happens.into_iter().chain(due).min()
    }

    /// Lets the next thing happen to a shop, if it is time. Says whether it was.
    pub fn shops_happen(&mut self) -> Result<bool, String> {
        let Some(first) = self.shops.agenda.first_entry().filter(|first| first.key().0 <= self.now) else {
            return Ok(false);
        };
        match first.remove() {
            Happening::Mood(nth, mood) => {
                self.tell(|| format!("shop {nth} is {mood:?}"));
                self.shops.shops[nth].mood = mood;
            }
            Happening::Act(nth) => self.shop_acts(nth)?,
            Happening::Arrive(nth, epoch, position) => self.shop_sees(nth, epoch, position)?,
            Happening::Hear(nth, epoch, position, outcome) if epoch == self.epoch => {
                self.tell(|| format!("shop {nth} at {position:?}: {outcome:?}"));
                if let Some(daemon) = &self.daemon {
                    let (reader, now) = (daemon.desk.reader.clone(), daemon.desk.clock.now());
                    let mut outcome = outcome;
                    if self.machine.fault == Some(Fault::DeliveredUnconfirmed) {
                        outcome.miss = None;
                    }
                    self.shops.shops[nth].hears(&reader, now, position, outcome)?;
                }
            }
            Happening::Hear(..) => {}
        }
        Ok(true)
    }

    fn shop_sees(&mut self, nth: usize, epoch: u64, position: Position) -> Result<(), String> {
        let mood = self.shops.shops[nth].mood;
        self.reach.count(mood.named());
        let outcome = mood.answer();
        // While no daemon runs nobody hears of what a shop saw; then it counts as unseen.
        let seen = mood != Mood::Down;
        if let (true, Some(daemon)) = (seen, &self.daemon) {
            let shop = &mut self.shops.shops[nth];
            self.reach.add("event delivered again", u64::from(shop.saw.contains_key(&position)));
            shop.sees(&daemon.desk.reader.clone(), position)?;
            if outcome.miss.is_none() {
                shop.confirmed.insert(position);
            }
        }
        // Sometimes it confirms and nobody learns that it did.
        let unheard = seen && !self.calm && self.shops.dice.happens(60);
        let ended = Outcome { status: None, miss: Some(Miss::Reset), retry_after: None };
        let outcome = if unheard { ended } else { outcome };
        let at = match outcome.miss {
            Some(Miss::Timeout) => self.now.plus(PATIENCE),
            _ => self.shops.moment(self.now, TRAVEL_MAX),
        };
        self.shops.schedule(at, Happening::Hear(nth, epoch, position, outcome));
        Ok(())
    }

    /// Somebody at the shop does something about the webhook.
    fn shop_acts(&mut self, nth: usize) -> Result<(), String> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let reader = daemon.desk.reader.clone();
        let (head, id) = (reader.head(), self.shops.shops[nth].new.id);
        let dice = &mut self.shops.dice;
        let (what, command) = match dice.below(6) {
            0 => (
                "webhook rotated",
                WebhookCommand::Rotate { id, nonce: Nonce([1; 16]), secret: Private(vec![1]) },
            ),
            1 => {
                let change = Change { enabled: Some(false), ..Change::default() };
                ("webhook disabled by hand", WebhookCommand::Change(id, change))
            }
            2 if head > Seq(0) => {
                let from = Seq(dice.between(1, head.0));
                let to = Seq(dice.between(from.0, head.0));
                ("webhook replayed", WebhookCommand::Replay { id, from, to })
            }
            3 => match failed(&self.shops.shops[nth], &reader)?.first() {
                Some(position) => {
                    self.shops.shops[nth].given_up.insert(*position);
                    (
                        "delivery resent",
                        WebhookCommand::Resend(DeliveryId { webhook: id, position: *position }),
                    )
                }
                None => return Ok(()),
            },
            4 => ("webhook tested", WebhookCommand::Test(id)),
            _ => ("webhook enabled", WebhookCommand::Enable(id)),
        };
        self.tell(|| format!("{what}: shop {nth}"));
        self.reach.count(what);
        self.shops.shops[nth].todo.push_back(command);
        Ok(())
    }

    /// After a start every webhook is taken as it is stored.
    pub fn boot_shops(&mut self) -> Result<(), String> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let (reader, now) = (daemon.desk.reader.clone(), daemon.desk.clock.now());
        let fault = self.machine.fault;
        self.shops.shops.iter_mut().try_for_each(|shop| shop.load(&reader, now, fault))
    }

    /// Lets deliveries go on until they wait for something. Says whether anything moved.
    pub fn tend_shops(&mut self) -> Result<bool, String> {
        let mut moved = false;
        for nth in 0..self.shops.shops.len() {
            let Some(daemon) = &mut self.daemon else { return Ok(moved) };
            let (reader, now) = (daemon.desk.reader.clone(), daemon.desk.clock.now());
            let shop = &mut self.shops.shops[nth];
            if let Some(command) = shop.todo.front().filter(|_| !shop.asked && shop.ask_again_at <= now) {
                daemon.hook(nth, false, Command::Webhook(command.clone()));
                shop.asked = true;
                moved = true;
            }
            if let Some(command) = shop.writes(now) {
                daemon.hook(nth, true, command);
                moved = true;
            }
            for position in shop.begin(&reader, now, self.machine.fault)? {
                moved = true;
                let at = self.shops.moment(self.now, TRAVEL_MAX);
                self.shops.schedule(at, Happening::Arrive(nth, self.epoch, position));
            }
        }
        Ok(moved)
    }

    /// A command about a webhook was carried out, or not.
    pub fn hooked(
        &mut self,
        nth: usize,
        note: bool,
        result: Result<Reply, SubmitError>,
    ) -> Result<(), String> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let (reader, now) = (daemon.desk.reader.clone(), daemon.desk.clock.now());
        self.tell(|| format!("shop {nth}: {}", if note { "noted" } else { "asked" }));
        if note {
            if self.shops.shops[nth].written(result.map(drop), now, &mut self.reach) {
                // The others were told of it.
                self.reach.count("webhook disabled by failures");
                return self.boot_shops();
            }
            return Ok(());
        }
        let shop = &mut self.shops.shops[nth];
        shop.asked = false;
        match result {
            Ok(_) | Err(SubmitError::Refused(_)) => {
                shop.todo.pop_front();
                shop.load(&reader, now, None)
            }
            Err(SubmitError::Busy | SubmitError::Stopped(_)) => {
                shop.ask_again_at = now.plus(AGAIN);
                Ok(())
            }
        }
    }

    /// The end: what was given up is sent again by hand, and then every shop has seen and confirmed every event.
    pub fn shops_saw_everything(&mut self) -> Result<(), String> {
        for nth in 0..self.shops.shops.len() {
            let reader = self.daemon.as_ref().map(|daemon| daemon.desk.reader.clone()).ok_or("no daemon")?;
            let shop = &mut self.shops.shops[nth];
            let id = shop.new.id;
            // An answer that was on its way when the faults ended may have disabled it.
            if reader.course(id).map_err(said)?.is_some_and(|course| course.off.is_some()) {
                shop.todo.push_back(WebhookCommand::Enable(id));
                self.go_on(None)?;
            }
            let failed = failed(&self.shops.shops[nth], &reader)?;
            self.reach.add("delivery resent", u64::try_from(failed.len()).unwrap());
            for position in failed {
                let shop = &mut self.shops.shops[nth];
                shop.given_up.insert(position);
                shop.todo.push_back(WebhookCommand::Resend(DeliveryId { webhook: id, position }));
            }
            self.go_on(None)?;
            self.shops.shops[nth].is_content(&reader, self.machine.clock.now())?;
        }
        Ok(())
    }
}

impl Shop {
    fn is_content(&self, reader: &Reader, now: Time) -> Result<(), String> {
        let (name, head) = (&self.new.target, reader.head());
        let run = self.run.as_ref().ok_or_else(|| format!("{name} has no webhook"))?;
        let standing = run.plan.standing(now);
        let course = reader.course(self.new.id).map_err(said)?.ok_or("no course")?;
        if standing.cursor != head || !course.notices.is_empty() || !course.replays.is_empty() {
            return Err(format!("{name} ends at {standing:?}, the ledger at {head}: {course:?}"));
        }
        for position in wanted(&run.webhook, reader)? {
            let stage = self.delivery(reader, position)?.map(|delivery| delivery.stage);
            if !matches!(stage, Some(Stage::Delivered { .. })) {
                return Err(format!("{name} was never told of {position:?}: {stage:?}"));
            }
            if !self.confirmed.contains(&position) {
                return Err(format!("{name} never confirmed {position:?}, which is marked as delivered"));
            }
        }
        Ok(())
    }
}

/// What a webhook is told of, of all that there is.
fn wanted(webhook: &Webhook, reader: &Reader) -> Result<Vec<Position>, String> {
    let (entries, _) = reader.entries(webhook.from.max(Seq(1)), 10_000, 10_000, |_| true).map_err(said)?;
    let told = entries.iter().filter(|stored| is_for(webhook, stored));
    Ok(told.map(|stored| Position::entry(stored.entry.seq)).collect())
}

/// What was given up.
fn failed(shop: &Shop, reader: &Reader) -> Result<Vec<Position>, String> {
    let Some(run) = &shop.run else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for position in wanted(&run.webhook, reader)? {
        let stage = shop.delivery(reader, position)?.map(|delivery| delivery.stage);
        found.extend(matches!(stage, Some(Stage::Failed { .. })).then_some(position));
    }
    Ok(found)
}
