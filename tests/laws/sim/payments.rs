//! The payments of a world, as the providers know them, and what its shop says of them.

use super::plan::Plan;
use crate::fold::dice::Dice;
use razao::domain::ids::{AccountId, OrderKey, ProviderRef, Reference};
use razao::domain::money::Currency;
use razao::domain::time::Time;
use razao::ledger::command::{AccountTerms, Command, Registration};
use razao::sandbox::life::{Delivery, Life, Scene, Tempo, Truth};
use razao::sandbox::persona::Happening;
use razao::sandbox::world::World as Provider;
use razao::schedule::cadence::Cadence;
use std::collections::BTreeSet;
use std::time::Duration;

/// One provider, with a clock of its own.
pub struct Side {
    pub provider: &'static str,
    pub account: AccountId,
    pub world: Provider,
    /// How far its clock is ahead, in microseconds.
    pub skew: i64,
    pub callback_key: Option<&'static str>,
    pub cadence: Cadence,
}

pub struct Payment {
    pub side: usize,
    pub reference: String,
    pub cents: i64,
    pub life: Life,
    /// A life that nobody wrote in advance.
    pub scenes: Option<Vec<Scene>>,
    pub begins: Time,
    pub provider_ref: Option<String>,
    pub truth: Truth,
    /// Dates of ours after this one were given after its last change.
    pub changed: Time,
    /// The events that its provider told of it, by their ids.
    pub told: BTreeSet<String>,
    /// The amount that the shop registers, if it does.
    pub registers: Option<i64>,
    pub registered: bool,
}

impl Side {
    pub fn all(plan: &Plan, dice: &mut Dice) -> Vec<Side> {
        let tempo = Tempo {
            beat: plan.beat,
            retry: plan.retry,
            retries_max: plan.retries_max,
            trouble: plan.trouble,
        };
        let cast = Provider::new(tempo);
        let cast: Vec<_> = cast.personas().map(|it| (it.provider(), it.wants_callback_key())).collect();
        let side = |(provider, keyed): (&'static str, bool)| Side {
            provider,
            account: AccountId::parse(&format!("loja-{provider}")).unwrap(),
            world: Provider::new(tempo),
            skew: skew(plan.their_skew, dice),
            callback_key: keyed.then_some("chave-de-callback-0123456789"),
            cadence: plan.cadence,
        };
        cast.into_iter().map(side).collect()
    }

    pub fn now(&self, now: Time) -> Time {
        Time(now.0 + self.skew)
    }

    pub fn plays(&self, life: Life) -> bool {
        self.world.personas().any(|it| it.provider() == self.provider && it.plays(life))
    }

    pub fn terms(&self) -> AccountTerms {
        AccountTerms {
            account: self.account.clone(),
            provider: self.provider,
            currency: Currency::BRL,
            cadence: self.cadence,
        }
    }
}

/// So far wrong at most, either way, in microseconds.
pub fn skew(most: Duration, dice: &mut Dice) -> i64 {
    let most = u64::try_from(most.as_micros()).unwrap();
    i64::try_from(dice.between(0, 2 * most)).unwrap() - i64::try_from(most).unwrap()
}

impl Payment {
    pub fn draw(nth: u64, sides: &[Side], plan: &Plan, now: Time, dice: &mut Dice) -> Payment {
        // Most at those whose answers have the most in them.
        let rich = *dice.pick(&["picpay", "yapay"]);
        let side = match sides.iter().position(|side| side.provider == rich) {
            Some(side) if dice.happens(300) => side,
            Some(_) | None => dice.below(sides.len()),
        };
        let lives: Vec<Life> = Life::ALL.into_iter().filter(|life| sides[side].plays(*life)).collect();
        let life = *dice.pick(&lives);
        let cents = i64::try_from(dice.between(100, 500_000)).unwrap();
        let scenes = dice.happens(plan.improvised).then(|| improvise(&sides[side], cents, dice));
        let wrong = i64::try_from(dice.between(1, 99)).unwrap();
        let amount = match dice.happens(plan.shop.registers_another_amount) {
            true if dice.happens(500) => cents + wrong,
            true => cents - wrong,
            false => cents,
        };
        let beat = u64::try_from(plan.beat.as_micros()).unwrap();
        Payment {
            side,
            reference: format!("PED-{nth}"),
            cents,
            life,
            scenes,
            begins: now.plus(Duration::from_micros(dice.between(1, beat * 2))),
            provider_ref: None,
            truth: Truth::new(cents),
            changed: Time(0),
            told: BTreeSet::new(),
            registers: dice.happens(plan.shop.registers).then_some(amount),
            registered: false,
        }
    }

    pub fn key(&self, sides: &[Side]) -> OrderKey {
        OrderKey::new(sides[self.side].account.clone(), Reference::parse(&self.reference).unwrap())
    }

    /// What the shop says of it; its provider's name of it only if it knows that by now.
    pub fn registration(&self, sides: &[Side], amount: i64, named: bool) -> Command {
        let name = self.provider_ref.as_ref().filter(|_| named);
        Command::Register(Registration {
            terms: sides[self.side].terms(),
            reference: Reference::parse(&self.reference).unwrap(),
            amount: razao::domain::money::Money::from_minor(amount).unwrap(),
            expires_at: None,
            provider_ref: name.map(|name| ProviderRef::parse(name).unwrap()),
            metadata: Some("{\"buyer\":\"Maria de Teste\"}".to_owned()),
        })
    }
}

/// A life as no script has it, that this provider has words for.
fn improvise(side: &Side, cents: i64, dice: &mut Dice) -> Vec<Scene> {
    use Happening::{Completed, Created, DisputeWon, Disputed, Expired, InAnalysis, Paid, Refunded};
    let parts = side.plays(Life::PartialRefunds);
    let refunds = side.plays(Life::Refund);
    let mut happenings = vec![Created];
    let mut maybe = |dice: &mut Dice, per_mille: u64, what: Happening| {
        let happens = dice.happens(per_mille);
        happens.then(|| happenings.push(what)).is_some()
    };
    maybe(dice, 400, InAnalysis);
    if maybe(dice, 300, Expired) {
        maybe(dice, 400, InAnalysis);
    }
    if maybe(dice, 850, Paid) {
        let part = parts && maybe(dice, 300, Refunded(cents / 5));
        let second = part && maybe(dice, 300, Refunded(cents / 7));
        let back = if part { cents / 5 } else { 0 } + if second { cents / 7 } else { 0 };
        // Settled money is told without its refunds, so that nobody could know of them.
        let settled = !part && maybe(dice, 500, Completed);
        if refunds && maybe(dice, 500, Disputed) && maybe(dice, 500, DisputeWon) && !settled {
            maybe(dice, 300, Disputed);
        }
        if refunds {
            maybe(dice, 300, Refunded(cents - back));
        }
    }
    let delivery = |dice: &mut Dice| {
        let held = u32::try_from(dice.between(1, 4)).unwrap();
        *dice.pick(&[
            Delivery::Plain,
            Delivery::Plain,
            Delivery::Twice,
            Delivery::Together,
            Delivery::Held(held),
        ])
    };
    let scene = |(nth, what): (usize, Happening)| Scene {
        after: if nth == 0 { 0 } else { u32::try_from(dice.between(1, 3)).unwrap() },
        what,
        delivery: delivery(dice),
    };
    happenings.into_iter().enumerate().map(scene).collect()
}
