//! Webhooks and their deliveries as readers see them. What was not tried yet is no record: it is the ledger beyond the
//! cursor, so a list shows both as one.

use super::lists::{Page, page};
use super::reader::Reader;
use crate::domain::ids::{AccountId, Seq};
use crate::domain::receipt::Private;
use crate::domain::time::Time;
use crate::domain::webhook::{Course, Delivery, DeliveryId, Keyring, Position, Stage, Webhook, WebhookId};
use crate::store::engine::Direction;
use crate::store::entries::StoredEntry;
use crate::store::meta::StoreError;
use crate::store::{entries, webhooks};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Which deliveries are wanted; what is absent does not matter.
#[derive(Clone, Default, Debug)]
pub struct DeliveryFilter {
    /// pending, delivered or failed.
    pub status: Option<String>,
    /// The event's id, or its type or a pattern of types.
    pub event: Option<String>,
    /// An order's reference.
    pub order: Option<String>,
    /// What happened at or after this time.
    pub since: Option<Time>,
}

impl DeliveryFilter {
    fn wants(&self, delivery: &Delivery) -> bool {
        let is_event = |wanted: &String| match wanted.strip_suffix('*') {
            Some(family) => delivery.kind.starts_with(family),
            None => *wanted == delivery.event || *wanted == delivery.kind,
        };
        self.status.as_ref().is_none_or(|status| status == delivery.stage.as_str())
            && self.event.as_ref().is_none_or(is_event)
            && self
                .order
                .as_ref()
                .is_none_or(|order| delivery.order.as_ref().is_some_and(|it| it.as_str() == order))
            && self.since.is_none_or(|since| delivery.updated_at >= since)
    }

    fn wants_untried(&self) -> bool {
        self.status.as_ref().is_none_or(|status| status == "pending")
    }
}

/// Whether an entry is for a webhook.
pub fn is_for(webhook: &Webhook, stored: &StoredEntry) -> bool {
    webhook.accounts.sees(&stored.entry.account) && webhook.wants_type(stored.entry.event_type())
}

/// A place in the list; nothing where an entry is of no concern.
type Listed = Result<(Position, Option<Delivery>), StoreError>;

impl Reader {
    pub fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        webhooks::get(self.engine(), id)
    }

    pub fn keyring(&self, id: WebhookId) -> Result<Option<Keyring>, StoreError> {
        webhooks::keyring(self.engine(), id)
    }

    pub fn course(&self, id: WebhookId) -> Result<Option<Course>, StoreError> {
        webhooks::course(self.engine(), id)
    }

    /// Every webhook with how far it is.
    pub fn courses(&self) -> Result<Vec<(Webhook, Course)>, StoreError> {
        let mut found = Vec::new();
        for webhook in webhooks::list(self.engine(), None) {
            let webhook = webhook?;
            let course = self.course(webhook.id)?;
            found.extend(course.map(|course| (webhook, course)));
        }
        Ok(found)
    }

    /// Webhooks, oldest first.
    pub fn webhooks(
        &self,
        wants: impl Fn(&Webhook) -> bool,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Page<Webhook, WebhookId>, StoreError> {
        let keyed =
            webhooks::list(self.engine(), after).map(|webhook| webhook.map(|webhook| (webhook.id, webhook)));
        page(keyed, limit, wants)
    }

    /// A delivery; where none was tried yet, as the ledger beyond the cursor has it.
    pub fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        if let Some(known) = webhooks::delivery(self.engine(), id)? {
            return Ok(Some(known));
        }
        let (Some(webhook), Some(course)) = (self.webhook(id.webhook)?, self.course(id.webhook)?) else {
            return Ok(None);
        };
        if id.position.notice != 0 || id.position.seq <= course.cursor {
            return Ok(None);
        }
        let stored = self.entry(id.position.seq)?.filter(|stored| is_for(&webhook, stored));
        Ok(stored.map(|stored| Delivery::unheard(id.webhook, &stored.entry)))
    }

    /// The deliveries that were tried of a stretch of the ledger.
    pub fn deliveries_tried(
        &self,
        webhook: WebhookId,
        from: Seq,
        to: Seq,
    ) -> Result<BTreeMap<Seq, Delivery>, StoreError> {
        let (from, to) = (Position::entry(from), Position { seq: to, notice: u64::MAX });
        let (from, to) = (Bound::Included(from), Bound::Included(to));
        let found = webhooks::deliveries(self.engine(), webhook, from, to, Direction::Up);
        let entries = found.filter(|it| it.as_ref().map_or(true, |it| it.id.position.notice == 0));
        entries.map(|delivery| delivery.map(|it| (it.id.position.seq, it))).collect()
    }

    /// A webhook's deliveries, newest first, those that were not tried yet among them.
    pub fn deliveries(
        &self,
        webhook: &Webhook,
        filter: &DeliveryFilter,
        visible: impl Fn(&AccountId) -> bool,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Page<Delivery, Position>, StoreError> {
        let cursor = self.course(webhook.id)?.map_or(Seq(0), |course| course.cursor);
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let tried = webhooks::deliveries(self.engine(), webhook.id, Bound::Unbounded, end, Direction::Down);
        let tried = tried.map(|delivery| delivery.map(|it| (it.id.position, Some(it))));
        let newest = match before {
            // A place of a notice comes after the entry with its seq.
            Some(Position { seq, notice: 0 }) => Seq(seq.0.saturating_sub(1)),
            Some(Position { seq, .. }) => seq,
            None => self.head(),
        };
        let newest = if filter.wants_untried() { newest } else { Seq(0) };
        let untried = entries::range_down(self.engine(), cursor.next(), newest).map(|item| {
            let (seq, stored) = item?;
            let delivery = is_for(webhook, &stored).then(|| Delivery::unheard(webhook.id, &stored.entry));
            Ok((Position::entry(seq), delivery))
        });
        let both = merged(tried, untried);
        let wants = |delivery: &Option<Delivery>| {
            delivery.as_ref().is_some_and(|it| it.account.as_ref().is_none_or(&visible) && filter.wants(it))
        };
        let Page { found, next } = page(both, limit, wants)?;
        Ok(Page { found: found.into_iter().flatten().collect(), next })
    }

    /// What the target answered to the attempts that are listed, in their order.
    pub fn answers(&self, delivery: &Delivery) -> Result<Vec<Option<Private>>, StoreError> {
        let answer = |number| webhooks::answer(self.engine(), delivery.id, number);
        delivery.attempts.iter().map(|attempt| answer(attempt.number)).collect()
    }

    /// The body of an event that no entry has.
    pub fn notice(&self, id: DeliveryId) -> Result<Option<String>, StoreError> {
        webhooks::notice(self.engine(), id)
    }

    /// Deliveries that nobody needs any more, at most `most`: older than their retention, or of a
    /// webhook that is gone.
    pub fn deliveries_to_erase(&self, before: Time, most: usize) -> Result<Vec<DeliveryId>, StoreError> {
        let mut found = Vec::new();
        let mut at = webhooks::next_with_deliveries(self.engine(), None)?;
        while let Some(webhook) = at {
            let cursor = self.course(webhook)?.map(|course| course.cursor);
            let all = (Bound::Unbounded, Bound::Unbounded);
            let deliveries = webhooks::deliveries(self.engine(), webhook, all.0, all.1, Direction::Up);
            for delivery in deliveries.take(most.saturating_mul(10)) {
                let Delivery { id, updated_at, stage, .. } = delivery?;
                let over = !matches!(stage, Stage::Pending { .. });
                let passed = cursor.is_some_and(|cursor| id.position.seq <= cursor);
                let old = over && passed && updated_at < before;
                if cursor.is_none() || old {
                    found.push(id);
                }
            }
            at = webhooks::next_with_deliveries(self.engine(), Some(webhook))?;
        }
        found.truncate(most);
        Ok(found)
    }
}

/// Two lists that go down, as one; where both have a place, the first one's counts.
fn merged(
    first: impl Iterator<Item = Listed>,
    second: impl Iterator<Item = Listed>,
) -> impl Iterator<Item = Listed> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    std::iter::from_fn(move || {
        let order = match (first.peek(), second.peek()) {
            (Some(Ok((a, _))), Some(Ok((b, _)))) => a.cmp(b),
            (None, Some(_)) => Ordering::Less,
            (Some(_), _) | (None, None) => Ordering::Greater,
        };
        match order {
            Ordering::Less => second.next(),
            Ordering::Equal => {
                second.next();
                first.next()
            }
            Ordering::Greater => first.next(),
        }
    })
}
