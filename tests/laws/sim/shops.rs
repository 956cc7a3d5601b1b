//! Shops in a world. Each has a webhook, and is well, fails, lies, hangs or is gone, until the faults end; people disable,
//! enable, rotate, replay and resend meanwhile. The plan of deliveries runs over the real ledger and the real writer, and
//! dies with the daemon between any two of its steps.
//!
//! The law: a shop sees every event of its webhook, and of each order in order, except what was given up in between; what
//! is marked as delivered it has confirmed. Half of the worlds have no shop, and are what they were without this file.

mod mood;
mod run;
mod shop;

use super::faults::Fault;
use super::network::PATIENCE;
use super::world::World;
use crate::fold::dice::Dice;
use mood::Mood;
use razao::clock::Clock;
use razao::delivery::plan::Outcome;
use razao::domain::ids::{Nonce, Seq};
use razao::domain::receipt::Private;
use razao::domain::time::Time;
use razao::domain::webhook::{DeliveryId, Miss, Position};
use razao::ledger::command::{Command, Reply, SubmitError};
use razao::ledger::webhooks::{Change, WebhookCommand};
use run::AGAIN;
use shop::{Shop, failed, said};
use std::collections::BTreeMap;
use std::time::Duration;

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
