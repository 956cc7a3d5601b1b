//! One shop: what it saw, confirmed and had given up, and what must be true of that.

use super::mood::Mood;
use super::run::Run;
use crate::fold::dice::Dice;
use razao::domain::ids::{Nonce, OrderKey, Seq};
use razao::domain::receipt::Private;
use razao::domain::time::Time;
use razao::domain::webhook::{
    Delivery, DeliveryId, Pattern, Position, Reach as Accounts, Stage, Webhook, WebhookId,
};
use razao::ledger::deliveries::is_for;
use razao::ledger::reader::Reader;
use razao::ledger::webhooks::{NewWebhook, WebhookCommand};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub struct Shop {
    pub new: NewWebhook,
    pub mood: Mood,
    /// What is wanted of the ledger, in order, and whether the first of it was submitted.
    pub todo: VecDeque<WebhookCommand>,
    pub asked: bool,
    pub ask_again_at: Time,
    /// Dies with the daemon.
    pub run: Option<Run>,
    pub saw: BTreeMap<Position, u64>,
    pub confirmed: BTreeSet<Position>,
    pub given_up: BTreeSet<Position>,
}

impl Shop {
    pub fn draw(nth: u64, dice: &mut Dice) -> Shop {
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

    /// As an attempt begins, every earlier event of its order was confirmed or given up.
    pub fn nothing_is_overtaken(&mut self, reader: &Reader, position: Position) -> Result<(), String> {
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
    pub fn sees(&mut self, reader: &Reader, position: Position) -> Result<(), String> {
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

    pub fn is_content(&self, reader: &Reader, now: Time) -> Result<(), String> {
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

    pub fn delivery(&self, reader: &Reader, position: Position) -> Result<Option<Delivery>, String> {
        reader.delivery(DeliveryId { webhook: self.new.id, position }).map_err(said)
    }
}

/// What a webhook is told of, of all that there is.
fn wanted(webhook: &Webhook, reader: &Reader) -> Result<Vec<Position>, String> {
    let (entries, _) = reader.entries(webhook.from.max(Seq(1)), 10_000, 10_000, |_| true).map_err(said)?;
    let told = entries.iter().filter(|stored| is_for(webhook, stored));
    Ok(told.map(|stored| Position::entry(stored.entry.seq)).collect())
}

/// What was given up.
pub fn failed(shop: &Shop, reader: &Reader) -> Result<Vec<Position>, String> {
    let Some(run) = &shop.run else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for position in wanted(&run.webhook, reader)? {
        let stage = shop.delivery(reader, position)?.map(|delivery| delivery.stage);
        found.extend(matches!(stage, Some(Stage::Failed { .. })).then_some(position));
    }
    Ok(found)
}

pub fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
