//! Webhooks, their secrets, how far they are, and the history of their deliveries. What is still to be delivered stands
//! nowhere but in the ledger.

use super::codec;
use super::engine::{Batch, Direction, Read, prefix};
use super::keys;
use super::meta::{StoreError, one, store};
use crate::domain::receipt::Private;
use crate::domain::webhook::{Course, Delivery, DeliveryId, Keyring, Position, Webhook, WebhookId};
use std::ops::Bound;

pub fn get(read: &dyn Read, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
    one(read, &keys::webhook(id))
}

pub fn put(batch: &mut Batch, webhook: &Webhook) -> Result<(), StoreError> {
    store(batch, keys::webhook(webhook.id), webhook)
}

/// After `after` where one is given, oldest first.
pub fn list<'a>(
    read: &'a dyn Read,
    after: Option<WebhookId>,
) -> impl Iterator<Item = Result<Webhook, StoreError>> + 'a {
    let (low, high) = prefix(&[keys::WEBHOOK]);
    let low = after.map_or(low, |id| Bound::Excluded(keys::webhook(id)));
    read.scan(low, high, Direction::Up).map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    })
}

pub fn keyring(read: &dyn Read, id: WebhookId) -> Result<Option<Keyring>, StoreError> {
    one(read, &keys::keyring(id))
}

pub fn put_keyring(batch: &mut Batch, id: WebhookId, keyring: &Keyring) -> Result<(), StoreError> {
    store(batch, keys::keyring(id), keyring)
}

pub fn course(read: &dyn Read, id: WebhookId) -> Result<Option<Course>, StoreError> {
    one(read, &keys::course(id))
}

pub fn put_course(batch: &mut Batch, id: WebhookId, course: &Course) -> Result<(), StoreError> {
    store(batch, keys::course(id), course)
}

/// Takes a webhook away; its deliveries are erased in slices.
pub fn delete(batch: &mut Batch, id: WebhookId) {
    batch.delete(keys::webhook(id));
    batch.delete(keys::keyring(id));
    batch.delete(keys::course(id));
}

pub fn delivery(read: &dyn Read, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
    one(read, &keys::delivery(id))
}

pub fn put_delivery(batch: &mut Batch, delivery: &Delivery) -> Result<(), StoreError> {
    store(batch, keys::delivery(delivery.id), delivery)
}

/// Takes a delivery away with all answers to it, and the event where no entry has it.
pub fn delete_delivery(batch: &mut Batch, delivery: &Delivery) {
    delivery.attempts.iter().for_each(|attempt| delete_answer(batch, delivery.id, attempt.number));
    batch.delete(keys::notice(delivery.id));
    batch.delete(keys::delivery(delivery.id));
}

/// Deliveries of a webhook within the positions, in their order or against it.
pub fn deliveries<'a>(
    read: &'a dyn Read,
    webhook: WebhookId,
    from: Bound<Position>,
    to: Bound<Position>,
    direction: Direction,
) -> impl Iterator<Item = Result<Delivery, StoreError>> + 'a {
    let (all_from, all_to) = prefix(&keys::deliveries_of(webhook));
    let key = |position| keys::delivery(DeliveryId { webhook, position });
    let low = if from == Bound::Unbounded { all_from } else { from.map(key) };
    let high = if to == Bound::Unbounded { all_to } else { to.map(key) };
    read.scan(low, high, direction).map(|pair| {
        let (key, value) = pair?;
        Ok(codec::decode(&key, &value)?)
    })
}

/// The next webhook after `after` that has deliveries, whether it is still there or not.
pub fn next_with_deliveries(
    read: &dyn Read,
    after: Option<WebhookId>,
) -> Result<Option<WebhookId>, StoreError> {
    let (low, high) = prefix(&[keys::DELIVERY]);
    let low = match after.map(|id| prefix(&keys::deliveries_of(id)).1) {
        Some(Bound::Excluded(end)) => Bound::Included(end),
        Some(Bound::Included(_) | Bound::Unbounded) | None => low,
    };
    let first = read.scan(low, high, Direction::Up).next().transpose()?;
    Ok(first.and_then(|(key, _)| keys::webhook_of(&key)))
}

/// The beginning of what the target answered to an attempt.
pub fn answer(read: &dyn Read, id: DeliveryId, attempt: u32) -> Result<Option<Private>, StoreError> {
    one(read, &keys::answer(id, attempt))
}

pub fn put_answer(
    batch: &mut Batch,
    id: DeliveryId,
    attempt: u32,
    answer: &Private,
) -> Result<(), StoreError> {
    store(batch, keys::answer(id, attempt), answer)
}

pub fn delete_answer(batch: &mut Batch, id: DeliveryId, attempt: u32) {
    batch.delete(keys::answer(id, attempt));
}

/// The body of an event that no entry has, as JSON.
pub fn notice(read: &dyn Read, id: DeliveryId) -> Result<Option<String>, StoreError> {
    one(read, &keys::notice(id))
}

pub fn put_notice(batch: &mut Batch, id: DeliveryId, json: &str) -> Result<(), StoreError> {
    store(batch, keys::notice(id), &json.to_owned())
}
