//! What the commands about webhooks do: subscriptions, and the record of their deliveries. Deterministic like all of the
//! commit; whatever nobody can guess comes with the command.

use super::books::Group;
use super::command::{Fault, Refusal, Reply};
use crate::domain::chain::Hash;
use crate::domain::ids::{AccountId, Nonce, Reference, Seq};
use crate::domain::receipt::Private;
use crate::domain::time::Time;
use crate::domain::webhook::{
    self, Attempt, Course, Delivery, DeliveryId, Keyring, Off, Pattern, Position, Reach, Replay, Stage,
    Trouble, Webhook, WebhookId,
};
use crate::store::engine::Direction;
use crate::store::meta::StoreError;
use crate::store::{entries, webhooks};
use crate::views::event::NoticeView;
use std::ops::Bound;
use std::time::Duration;

const WEBHOOKS_MAX: usize = 1000;
/// Events of no entry that wait for one webhook.
const NOTICES_MAX: usize = 100;
const REPLAYS_MAX: usize = 100;
/// How long the secret before a rotation still signs.
pub const ROTATION: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug)]
pub enum WebhookCommand {
    Create(NewWebhook),
    Change(WebhookId, Change),
    Delete(WebhookId),
    /// The secret begins with the nonce, by which a repeated request is known.
    Rotate {
        id: WebhookId,
        nonce: Nonce,
        secret: Private,
    },
    /// On again, and whatever fails is tried at once.
    Enable(WebhookId),
    Replay {
        id: WebhookId,
        from: Seq,
        to: Seq,
    },
    Resend(DeliveryId),
    /// An event that shows that a webhook works.
    Test(WebhookId),
    Alert(Alert),
    /// What attempts came to, of all webhooks at once.
    Note(Notes),
    /// Deliveries that are older than their retention, or whose webhook is gone.
    Erase(Vec<DeliveryId>),
}

/// What somebody subscribes to.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    pub id: WebhookId,
    pub target: String,
    pub description: Option<String>,
    pub events: Vec<Pattern>,
    pub accounts: Reach,
    pub headers: Vec<(String, String)>,
    /// The first entry it is told of; none: the next one.
    pub from: Option<Seq>,
    pub secret: Private,
    pub authorization: Option<Private>,
}

/// What changes of a webhook; what is absent stays. The inner `None` takes a value away.
#[derive(Clone, Default, Debug)]
pub struct Change {
    pub target: Option<String>,
    pub description: Option<Option<String>>,
    pub events: Option<Vec<Pattern>>,
    pub accounts: Option<Reach>,
    pub headers: Option<Vec<(String, String)>>,
    pub authorization: Option<Option<Private>>,
    pub enabled: Option<bool>,
    /// How far it is beyond what is stored, and the revision that this is true of: what was passed under the patterns
    /// before stays passed.
    pub passed: Option<(u32, Seq)>,
}

/// Something operators should know, for the webhooks whose patterns fit and who may see all these accounts.
#[derive(Clone, Debug)]
pub struct Alert {
    /// `operator.…`
    pub kind: &'static str,
    pub accounts: Reach,
    /// The webhook it is about, which is not told itself.
    pub about: Option<WebhookId>,
    /// A JSON object.
    pub data: String,
}

#[derive(Clone, Default, Debug)]
pub struct Notes {
    pub attempts: Vec<Noted>,
    pub advances: Vec<Advance>,
}

/// An attempt, what it was about, and what follows from it.
#[derive(Clone, Debug)]
pub struct Noted {
    pub id: DeliveryId,
    pub event: String,
    pub kind: String,
    pub account: Option<AccountId>,
    pub order: Option<Reference>,
    pub attempt: Attempt,
    /// The beginning of the answer.
    pub answer: Private,
    pub stage: Stage,
    pub tries: u32,
}

/// How far a webhook is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advance {
    pub webhook: WebhookId,
    /// The revision it was decided on; nothing of it is written on another one but the replays' cursors.
    pub revision: u32,
    pub cursor: Seq,
    /// By when each was asked for.
    pub replays: Vec<(Time, Seq)>,
    pub trouble: Option<Trouble>,
    pub off: Option<Off>,
}

/// A webhook as a command left it.
#[derive(Clone, Debug)]
pub struct Hooked {
    pub webhook: Webhook,
    pub course: Course,
    pub keyring: Keyring,
    /// The delivery that was asked for.
    pub delivery: Option<Delivery>,
}

impl WebhookCommand {
    /// About how many bytes it will write.
    pub fn weight(&self) -> usize {
        match self {
            WebhookCommand::Note(notes) => 2048 * notes.attempts.len().max(1),
            WebhookCommand::Erase(ids) => 128 * ids.len(),
            WebhookCommand::Create(_)
            | WebhookCommand::Change(..)
            | WebhookCommand::Delete(_)
            | WebhookCommand::Rotate { .. }
            | WebhookCommand::Enable(_)
            | WebhookCommand::Replay { .. }
            | WebhookCommand::Resend(_)
            | WebhookCommand::Test(_)
            | WebhookCommand::Alert(_) => 4096,
        }
    }
}

impl Group<'_> {
    pub(super) fn webhook(&mut self, command: WebhookCommand) -> Result<Reply, Fault> {
        match command {
            WebhookCommand::Create(new) => self.create_webhook(new).map(hooked),
            WebhookCommand::Change(id, change) => self.change_webhook(id, change).map(hooked),
            WebhookCommand::Delete(id) => {
                self.hooked(id)?;
                webhooks::delete(&mut self.batch, id);
                Ok(Reply::Noted)
            }
            WebhookCommand::Rotate { id, nonce, secret } => self.rotate(id, nonce, secret).map(hooked),
            WebhookCommand::Enable(id) => {
                self.changed(id, |hooked, now| enable(&mut hooked.course, now)).map(hooked)
            }
            WebhookCommand::Replay { id, from, to } => self.replay(id, from, to).map(hooked),
            WebhookCommand::Resend(id) => self.resend(id).map(hooked),
            WebhookCommand::Test(id) => self.test(id).map(hooked),
            WebhookCommand::Alert(alert) => self.alert(&alert).map(|()| Reply::Noted),
            WebhookCommand::Note(notes) => self.note(notes),
            WebhookCommand::Erase(ids) => self.erase(&ids),
        }
    }

    fn hooked(&self, id: WebhookId) -> Result<Hooked, Fault> {
        let read = self.read();
        let webhook = webhooks::get(&read, id)?.ok_or(Refusal::NoSuchWebhook)?;
        let half = || Fault::Inconsistent(format!("webhook {id} is there by half; restore from a backup"));
        let course = webhooks::course(&read, id)?.ok_or_else(half)?;
        let keyring = webhooks::keyring(&read, id)?.ok_or_else(half)?;
        Ok(Hooked { webhook, course, keyring, delivery: None })
    }

    fn put_hooked(&mut self, hooked: &Hooked) -> Result<(), StoreError> {
        let id = hooked.webhook.id;
        webhooks::put(&mut self.batch, &hooked.webhook)?;
        webhooks::put_keyring(&mut self.batch, id, &hooked.keyring)?;
        webhooks::put_course(&mut self.batch, id, &hooked.course)
    }

    fn create_webhook(&mut self, new: NewWebhook) -> Result<Hooked, Fault> {
        // A request that was cut off is repeated under the same id: it made this one already.
        if webhooks::get(&self.read(), new.id)?.is_some() {
            return self.hooked(new.id);
        }
        if webhooks::list(&self.read(), None).count() >= WEBHOOKS_MAX {
            return Err(Refusal::TooMany { what: "webhooks", most: WEBHOOKS_MAX }.into());
        }
        let next = self.books.meta.seq.next();
        let from = new.from.unwrap_or(next);
        if from > next {
            return Err(Refusal::CursorAhead(self.books.meta.seq).into());
        }
        let webhook = Webhook {
            id: new.id,
            target: new.target,
            description: new.description,
            events: new.events,
            accounts: new.accounts,
            headers: new.headers,
            from,
            created_at: self.now,
            updated_at: self.now,
        };
        let keyring = Keyring { secret: new.secret, previous: None, authorization: new.authorization };
        let hooked = Hooked { webhook, course: Course::before(from, self.now), keyring, delivery: None };
        self.put_hooked(&hooked)?;
        Ok(hooked)
    }

    /// Changes a webhook by a person's will: what was decided on the revision before is not written any more.
    fn changed(&mut self, id: WebhookId, change: impl FnOnce(&mut Hooked, Time)) -> Result<Hooked, Fault> {
        let mut hooked = self.hooked(id)?;
        change(&mut hooked, self.now);
        hooked.course.revision = hooked.course.revision.wrapping_add(1);
        self.put_hooked(&hooked)?;
        Ok(hooked)
    }

    fn change_webhook(&mut self, id: WebhookId, change: Change) -> Result<Hooked, Fault> {
        self.changed(id, |hooked, now| {
            let Hooked { webhook, course, keyring, .. } = hooked;
            webhook.updated_at = now;
            if let Some((_, cursor)) = change.passed.filter(|(revision, _)| *revision == course.revision) {
                course.cursor = course.cursor.max(cursor);
            }
            webhook.target = change.target.unwrap_or_else(|| webhook.target.clone());
            webhook.description = change.description.unwrap_or_else(|| webhook.description.clone());
            webhook.events = change.events.unwrap_or_else(|| webhook.events.clone());
            webhook.accounts = change.accounts.unwrap_or_else(|| webhook.accounts.clone());
            webhook.headers = change.headers.unwrap_or_else(|| webhook.headers.clone());
            keyring.authorization = change.authorization.unwrap_or_else(|| keyring.authorization.clone());
            match change.enabled {
                Some(true) => enable(course, now),
                Some(false) if course.off.is_none() => {
                    course.off = Some(Off::by_hand(now));
                }
                Some(false) | None => {}
            }
        })
    }

    fn rotate(&mut self, id: WebhookId, nonce: Nonce, secret: Private) -> Result<Hooked, Fault> {
        // A request that was cut off is repeated under the same nonce: it rotated this one already.
        let before = self.hooked(id)?;
        if before.keyring.secret.0.starts_with(&nonce.0) {
            return Ok(before);
        }
        self.changed(id, |Hooked { webhook, keyring, .. }, now| {
            let before = std::mem::replace(&mut keyring.secret, secret);
            keyring.previous = Some((before, now.plus(ROTATION)));
            webhook.updated_at = now;
        })
    }

    fn replay(&mut self, id: WebhookId, from: Seq, to: Seq) -> Result<Hooked, Fault> {
        let to = to.min(self.books.meta.seq);
        if from > to {
            return Err(Refusal::CursorAhead(to).into());
        }
        self.add_replay(id, from, to, false)
    }

    fn add_replay(&mut self, id: WebhookId, from: Seq, to: Seq, single: bool) -> Result<Hooked, Fault> {
        if self.hooked(id)?.course.replays.len() >= REPLAYS_MAX {
            return Err(Refusal::TooMany { what: "replays under way", most: REPLAYS_MAX }.into());
        }
        self.changed(id, |Hooked { course, .. }, now| {
            let after = course.replays.iter().map(|replay| replay.asked_at.next()).max();
            let asked_at = after.map_or(now, |after| after.max(now));
            let cursor = Seq(from.0.saturating_sub(1));
            course.replays.push(Replay { asked_at, from, to, cursor, single });
        })
    }

    fn resend(&mut self, id: DeliveryId) -> Result<Hooked, Fault> {
        let hooked = self.hooked(id.webhook)?;
        let mut delivery = match webhooks::delivery(&self.read(), id)? {
            Some(delivery) => delivery,
            None => self.unheard_delivery(&hooked.webhook, id)?.ok_or(Refusal::NoSuchDelivery)?,
        };
        if matches!(delivery.stage, Stage::Failed { .. }) {
            self.count(id.webhook, |course| course.failed_count = course.failed_count.saturating_sub(1))?;
        }
        delivery.stage = Stage::Pending { next_at: self.now };
        delivery.tries = 0;
        delivery.updated_at = self.now;
        webhooks::put_delivery(&mut self.batch, &delivery)?;
        let hooked = if id.position.notice == 0 {
            let Position { seq, .. } = id.position;
            self.add_replay(id.webhook, seq, seq, true)?
        } else {
            self.changed(id.webhook, |Hooked { course, .. }, _| {
                course.notices.retain(|position| *position != id.position);
                course.notices.push(id.position);
            })?
        };
        Ok(Hooked { delivery: Some(delivery), ..hooked })
    }

    /// The delivery of an entry's event that was not tried yet.
    fn unheard_delivery(&self, webhook: &Webhook, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        if id.position.notice != 0 {
            return Ok(None);
        }
        let stored = entries::get(&self.read(), id.position.seq)?;
        let wanted = stored.filter(|stored| {
            webhook.accounts.sees(&stored.entry.account) && webhook.wants_type(stored.entry.event_type())
        });
        Ok(wanted.map(|stored| Delivery::unheard(id.webhook, &stored.entry)))
    }

    fn count(&mut self, id: WebhookId, change: impl FnOnce(&mut Course)) -> Result<(), StoreError> {
        if let Some(mut course) = webhooks::course(&self.read(), id)? {
            change(&mut course);
            webhooks::put_course(&mut self.batch, id, &course)?;
        }
        Ok(())
    }

    fn test(&mut self, id: WebhookId) -> Result<Hooked, Fault> {
        let hooked = self.hooked(id)?;
        if hooked.course.off.is_some() {
            return Err(Refusal::WebhookDisabled.into());
        }
        let data = format!("{{\"message\":\"a test: nothing happened to any order\",\"webhook\":\"{id}\"}}");
        let delivery = self.notify(id, webhook::TEST, &data)?;
        let delivery = delivery
            .ok_or(Refusal::TooMany { what: "events waiting beside the ledger", most: NOTICES_MAX })?;
        let hooked = self.changed(id, |_, _| {})?;
        Ok(Hooked { delivery: Some(delivery), ..hooked })
    }

    /// Gives an alert to every webhook that it is for.
    pub(super) fn alert(&mut self, alert: &Alert) -> Result<(), Fault> {
        let all: Result<Vec<Webhook>, StoreError> = webhooks::list(&self.read(), None).collect();
        let told = all?.into_iter().filter(|webhook| {
            Some(webhook.id) != alert.about
                && webhook.wants_type(alert.kind)
                && webhook.accounts.covers(&alert.accounts)
        });
        for webhook in told {
            if self.notify(webhook.id, alert.kind, &alert.data)?.is_none() {
                tracing::warn!(webhook = %webhook.id, kind = alert.kind, "too many alerts wait; this one is dropped");
            }
        }
        Ok(())
    }

    /// Adds an event of no entry to those that wait for a webhook; `None` where too many do.
    fn notify(&mut self, id: WebhookId, kind: &str, data: &str) -> Result<Option<Delivery>, Fault> {
        let Some(mut course) = webhooks::course(&self.read(), id)? else { return Ok(None) };
        if course.notices.len() >= NOTICES_MAX {
            return Ok(None);
        }
        let position = self.place(id)?;
        let delivery_id = DeliveryId { webhook: id, position };
        // Every webhook gets an alert of its own, so its id may follow from the delivery's.
        let event = format!("evt_{:.32}", Hash::of(&format!("razao notice {delivery_id}")).to_hex());
        let json = NoticeView::json(&event, kind, self.now, data);
        webhooks::put_notice(&mut self.batch, delivery_id, &json)?;
        let delivery = Delivery {
            id: delivery_id,
            event,
            kind: kind.to_owned(),
            account: None,
            order: None,
            stage: Stage::Pending { next_at: self.now },
            tries: 0,
            attempts_count: 0,
            attempts: Vec::new(),
            updated_at: self.now,
        };
        webhooks::put_delivery(&mut self.batch, &delivery)?;
        course.notices.push(position);
        webhooks::put_course(&mut self.batch, id, &course)?;
        Ok(Some(delivery))
    }

    /// A place for a notice: where the ledger is, at a time that no other notice there has.
    fn place(&self, webhook: WebhookId) -> Result<Position, StoreError> {
        let seq = self.books.meta.seq;
        let (from, to) = (Position { seq, notice: 1 }, Position { seq, notice: u64::MAX });
        let read = self.read();
        let mut there =
            webhooks::deliveries(&read, webhook, Bound::Included(from), Bound::Included(to), Direction::Down);
        let last = there.next().transpose()?.map_or(0, |delivery| delivery.id.position.notice);
        let now = u64::try_from(self.now.0).unwrap_or_default();
        Ok(Position { seq, notice: now.max(last.saturating_add(1)) })
    }

    fn note(&mut self, notes: Notes) -> Result<Reply, Fault> {
        for noted in notes.attempts {
            self.note_delivery(noted)?;
        }
        for advance in notes.advances {
            self.advance(advance)?;
        }
        Ok(Reply::Noted)
    }

    fn note_delivery(&mut self, noted: Noted) -> Result<(), Fault> {
        let id = noted.id;
        // Its webhook may be deleted meanwhile.
        let Some(mut course) = webhooks::course(&self.read(), id.webhook)? else { return Ok(()) };
        let known = webhooks::delivery(&self.read(), id)?;
        let before = known.as_ref().map(|delivery| delivery.stage);
        let mut delivery = known.unwrap_or(Delivery {
            id,
            event: noted.event,
            kind: noted.kind,
            account: noted.account,
            order: noted.order,
            stage: noted.stage,
            tries: 0,
            attempts_count: 0,
            attempts: Vec::new(),
            updated_at: self.now,
        });
        delivery.stage = noted.stage;
        delivery.tries = noted.tries;
        delivery.updated_at = self.now;
        let answered = !noted.answer.0.is_empty();
        if let Some(dropped) = delivery.note(Attempt { answered, ..noted.attempt }) {
            webhooks::delete_answer(&mut self.batch, id, dropped);
        }
        if answered {
            webhooks::put_answer(&mut self.batch, id, delivery.attempts_count, &noted.answer)?;
        }
        webhooks::put_delivery(&mut self.batch, &delivery)?;
        let failed = |stage: Option<Stage>| u64::from(matches!(stage, Some(Stage::Failed { .. })));
        course.failed_count =
            (course.failed_count + failed(Some(delivery.stage))).saturating_sub(failed(before));
        if !matches!(delivery.stage, Stage::Pending { .. }) {
            course.delivered_count += u64::from(matches!(delivery.stage, Stage::Delivered { .. }));
            course.notices.retain(|position| *position != id.position);
        }
        Ok(webhooks::put_course(&mut self.batch, id.webhook, &course)?)
    }

    fn advance(&mut self, advance: Advance) -> Result<(), Fault> {
        let Some(mut course) = webhooks::course(&self.read(), advance.webhook)? else { return Ok(()) };
        let before = course.clone();
        for (asked_at, cursor) in advance.replays {
            let replay = course.replays.iter_mut().find(|replay| replay.asked_at == asked_at);
            replay.into_iter().for_each(|replay| replay.cursor = cursor.min(replay.to));
        }
        course.replays.retain(|replay| replay.cursor < replay.to);
        let mut disabled = None;
        if advance.revision == course.revision {
            course.cursor = course.cursor.max(advance.cursor);
            course.trouble = advance.trouble;
            disabled = advance.off.filter(|_| course.off.is_none());
            course.off = disabled.clone().or(course.off);
        }
        if course != before {
            webhooks::put_course(&mut self.batch, advance.webhook, &course)?;
        }
        match disabled {
            Some(off) => self.tell_disabled(advance.webhook, &off),
            None => Ok(()),
        }
    }

    fn tell_disabled(&mut self, id: WebhookId, off: &Off) -> Result<(), Fault> {
        let Some(webhook) = webhooks::get(&self.read(), id)? else { return Ok(()) };
        tracing::warn!(webhook = %id, why = %off.why, "a webhook was disabled");
        let why = serde_json::Value::from(off.why.as_str());
        let data = format!("{{\"reason\":{why},\"since\":\"{}\",\"webhook\":\"{id}\"}}", off.since);
        let accounts = webhook.accounts;
        self.alert(&Alert { kind: webhook::WEBHOOK_DISABLED, accounts, about: Some(id), data })
    }

    fn erase(&mut self, ids: &[DeliveryId]) -> Result<Reply, Fault> {
        for id in ids {
            let course = webhooks::course(&self.read(), id.webhook)?;
            let delivery = webhooks::delivery(&self.read(), *id)?;
            let Some(delivery) = delivery else { continue };
            // What is still under way is needed; so is what lies beyond the cursor.
            let needed = course.as_ref().is_some_and(|course| {
                matches!(delivery.stage, Stage::Pending { .. }) || id.position.seq > course.cursor
            });
            if needed {
                continue;
            }
            webhooks::delete_delivery(&mut self.batch, &delivery);
            if matches!(delivery.stage, Stage::Failed { .. }) {
                self.count(id.webhook, |course| course.failed_count = course.failed_count.saturating_sub(1))?;
            }
        }
        Ok(Reply::Noted)
    }
}

/// On again. What was given up while the target failed is due once more: nothing is skipped.
fn enable(course: &mut Course, now: Time) {
    let failing = course.trouble.take().filter(|_| course.off.is_some());
    if let Some(Trouble { since, given_up_from: Some(from), .. }) = failing {
        course.cursor = course.cursor.min(Seq(from.0.saturating_sub(1)));
        course.again_since = Some(course.again_since.map_or(since, |earlier| earlier.min(since)));
    }
    course.off = None;
    course.enabled_at = now;
}

fn hooked(hooked: Hooked) -> Reply {
    Reply::Hooked(Box::new(hooked))
}
