//! The I/O of deliveries: follows the ledger, posts what is due, writes down what came of it.
//!
//! One task owns the plans; each attempt runs in a task of its own. What attempts come to is written in batches, one at a
//! time, and only then the next event of an order goes. All of it may die at any moment: the ledger and the cursor are in
//! the store, and an attempt that was under way is made again under the same id.

use super::board::Board;
use super::envelope::envelope;
use super::plan::{Candidate, Line, Outcome, Plan, Policy};
use crate::clock::Clock;
use crate::domain::ids::{OrderKey, Seq};
use crate::domain::receipt::Private;
use crate::domain::time::Time;
use crate::domain::webhook::{Attempt, Delivery, DeliveryId, Keyring, Miss, Position, Webhook, WebhookId};
use crate::ledger::command::{Command, SubmitError};
use crate::ledger::deliveries::is_for;
use crate::ledger::reader::Reader;
use crate::ledger::webhooks::{Advance, Alert, Noted, Notes, WebhookCommand};
use crate::ledger::writer::Handle;
use crate::net::post::Poster;
use crate::store::entries::StoredEntry;
use crate::store::meta::StoreError;
use crate::views::event::EventView;
use crate::wire::dates;
use crate::wire::post::Answered;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the task sleeps when nothing is due; new work wakes it.
const IDLE: Duration = Duration::from_secs(60);
/// So many entries are read at once, so that the task is soon back for what happens meanwhile.
const ENTRIES_PER_READ: usize = 256;
/// So many outcomes go into one command.
const NOTES_PER_COMMAND: usize = 256;
/// After trouble of our own something is tried again so much later.
const OWN_TROUBLE_PAUSE: Duration = Duration::from_secs(5);
/// How long attempts under way may take when the daemon stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How often history beyond its retention is looked for, and how much of it is erased in one command.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
const ERASED_PER_COMMAND: usize = 200;

/// What the task is told.
#[derive(Debug)]
pub enum Task {
    /// A webhook is new, changed or gone.
    Changed(WebhookId),
    /// Operators should know something; it goes to the webhooks that want it.
    Alert(Alert),
}

/// Everything that attempts need; shared by their tasks.
pub struct Shared {
    pub poster: Poster,
    pub clock: Arc<dyn Clock>,
    pub handle: Handle,
    pub reader: Reader,
    pub board: Arc<Board>,
    pub policy: Policy,
    pub history_retention: Duration,
}

/// A webhook at work.
struct Hook {
    webhook: Arc<Webhook>,
    keyring: Arc<Keyring>,
    plan: Plan,
    /// What of it was written last.
    written: Option<Advance>,
    /// Whether it was disabled when it was loaded.
    was_off: bool,
}

/// What the task hears from those it started.
enum Heard {
    Attempted(Box<Attempted>),
    /// A command was carried out, or not; and what it would have written.
    Written(Vec<DeliveryId>, Vec<Advance>, Result<(), SubmitError>),
    /// An alert stands with those it is for.
    Alerted,
}

struct Attempted {
    id: DeliveryId,
    /// None: nothing has to be delivered there after all.
    result: Result<Option<Made>, StoreError>,
}

/// An attempt that was made.
struct Made {
    delivery: Delivery,
    at: Time,
    duration: Duration,
    answered: Result<Answered, Miss>,
}

struct Runner {
    shared: Arc<Shared>,
    hooks: BTreeMap<WebhookId, Hook>,
    /// Outcomes that are not written down yet.
    notes: Vec<Noted>,
    writing: bool,
    /// After a failed write, no other one before this.
    write_again_at: Option<Time>,
    draining: bool,
    heard: mpsc::UnboundedSender<Heard>,
}

/// Runs until `tasks` is closed and what was under way has ended.
pub async fn run(shared: Arc<Shared>, mut tasks: mpsc::UnboundedReceiver<Task>) -> Result<(), StoreError> {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let mut published = shared.reader.subscribe();
    let mut runner = Runner {
        hooks: BTreeMap::new(),
        notes: Vec::new(),
        writing: false,
        write_again_at: None,
        draining: false,
        heard,
        shared,
    };
    for (webhook, _) in runner.shared.reader.courses()? {
        runner.load(webhook.id)?;
    }
    let mut sweep_at = runner.shared.clock.now();
    let mut drained_by = None;
    loop {
        let now = runner.shared.clock.now();
        let more = if runner.draining { false } else { runner.work(now)? };
        runner.write(now);
        runner.post_standings(now);
        if drained_by.is_some_and(|by| by <= now) || (runner.draining && runner.is_quiet()) {
            return Ok(());
        }
        if sweep_at <= now && !runner.draining {
            sweep_at = now.plus(SWEEP_EVERY);
            tokio::spawn(sweep(Arc::clone(&runner.shared)));
        }
        let wake = runner.wake_at(now, drained_by).unwrap_or(sweep_at).min(sweep_at);
        let pause = if more { Duration::ZERO } else { wake.since(now).min(IDLE) };
        tokio::select! {
            biased;
            Some(heard) = hearing.recv() => {
                runner.hear(heard)?;
                // What came at the same time is written together.
                while let Ok(heard) = hearing.try_recv() {
                    runner.hear(heard)?;
                }
            }
            task = tasks.recv(), if !runner.draining => match task {
                Some(Task::Changed(id)) => runner.load(id)?,
                Some(Task::Alert(alert)) => runner.alert(alert),
                None => {
                    runner.draining = true;
                    drained_by = Some(now.plus(DRAIN_MAX));
                }
            },
            // Without webhooks nothing that the writer does is of interest.
            changed = published.changed(), if !runner.draining && !runner.hooks.is_empty() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Runner {
    /// Takes a webhook as it is stored; attempts under way go on.
    fn load(&mut self, id: WebhookId) -> Result<(), StoreError> {
        let reader = &self.shared.reader;
        let (webhook, keyring, course) = (reader.webhook(id)?, reader.keyring(id)?, reader.course(id)?);
        let (Some(webhook), Some(keyring), Some(course)) = (webhook, keyring, course) else {
            self.hooks.remove(&id);
            self.shared.board.forget(id);
            tokio::spawn(sweep(Arc::clone(&self.shared)));
            return Ok(());
        };
        let now = self.shared.clock.now();
        let mut notices = Vec::new();
        for position in &course.notices {
            notices.extend(reader.delivery(DeliveryId { webhook: id, position: *position })?);
        }
        let mut plan = match self.hooks.remove(&id) {
            Some(Hook { mut plan, .. }) => {
                plan.reload(&course);
                plan
            }
            None => Plan::new(id, &course, self.shared.policy),
        };
        notices.iter().for_each(|notice| plan.notice(notice, now));
        let (webhook, keyring) = (Arc::new(webhook), Arc::new(keyring));
        self.hooks.insert(id, Hook { webhook, keyring, plan, written: None, was_off: course.off.is_some() });
        Ok(())
    }

    /// Reads what is wanted and starts what is due; answers whether there is more to read.
    fn work(&mut self, now: Time) -> Result<bool, StoreError> {
        let head = self.shared.reader.head();
        let mut more = false;
        for hook in self.hooks.values_mut() {
            if let Some((lane, from, to)) = hook.plan.wants(head) {
                let found = stretch(&self.shared.reader, &hook.webhook, from, to)?;
                hook.plan.feed(lane, found, now);
                more |= hook.plan.wants(head).is_some();
            }
            while let Some(position) = hook.plan.next(now) {
                let id = DeliveryId { webhook: hook.webhook.id, position };
                let (webhook, keyring) = (Arc::clone(&hook.webhook), Arc::clone(&hook.keyring));
                let (shared, heard) = (Arc::clone(&self.shared), self.heard.clone());
                tokio::spawn(async move {
                    let result = shared.attempt(id, &webhook, &keyring).await;
                    drop(heard.send(Heard::Attempted(Box::new(Attempted { id, result }))));
                });
            }
        }
        Ok(more)
    }

    fn hear(&mut self, heard: Heard) -> Result<(), StoreError> {
        match heard {
            Heard::Attempted(attempted) => self.attempted(*attempted),
            Heard::Written(ids, advances, Ok(())) => {
                // The others were told of one that was disabled.
                let disabled = advances.iter().any(|advance| {
                    let known = self.hooks.get(&advance.webhook).is_none_or(|hook| hook.was_off);
                    advance.off.is_some() && !known
                });
                self.written(&ids, advances);
                if disabled {
                    self.load_all()?;
                }
            }
            Heard::Alerted => self.load_all()?,
            Heard::Written(_, _, Err(why)) => {
                tracing::warn!(%why, "what deliveries came to could not be written down yet");
                self.writing = false;
            }
        }
        Ok(())
    }

    fn load_all(&mut self) -> Result<(), StoreError> {
        let all: Vec<WebhookId> = self.hooks.keys().copied().collect();
        all.into_iter().try_for_each(|id| self.load(id))
    }

    fn alert(&self, alert: Alert) {
        let (handle, heard) = (self.shared.handle.clone(), self.heard.clone());
        tokio::spawn(async move {
            let kind = alert.kind;
            match handle.submit_patiently(Command::Webhook(WebhookCommand::Alert(alert))).await {
                Ok(_) => drop(heard.send(Heard::Alerted)),
                Err(why) => tracing::warn!(%why, kind, "an alert could not be kept"),
            }
        });
    }

    fn attempted(&mut self, Attempted { id, result }: Attempted) {
        let now = self.shared.clock.now();
        let Some(hook) = self.hooks.get_mut(&id.webhook) else { return };
        let made = match result {
            Ok(Some(made)) => made,
            Ok(None) => return hook.plan.vanished(id.position),
            Err(why) => {
                tracing::warn!(%why, delivery = %id, "an event could not be read; it is tried again");
                return hook.plan.put_back(id.position, now.plus(OWN_TROUBLE_PAUSE));
            }
        };
        let (status, miss, retry_after) = match &made.answered {
            Ok(answered) => {
                let pause = answered.retry_after.as_deref().and_then(|text| dates::retry_after(text, now));
                (Some(answered.status), Miss::of(answered.status), pause)
            }
            Err(miss) => (None, Some(*miss), None),
        };
        self.shared.board.attempts.add(miss.map_or("delivered", Miss::as_str));
        let outcome = Outcome { status, miss, retry_after };
        let Some(verdict) = hook.plan.heard(now, id.position, outcome) else { return };
        if let Some(miss) = miss {
            tracing::info!(delivery = %id, miss = miss.as_str(), ?status, stage = ?verdict.stage, "a delivery failed");
        }
        let duration_ms = u32::try_from(made.duration.as_millis()).unwrap_or(u32::MAX);
        let attempt = Attempt { number: 0, at: made.at, duration_ms, status, miss, answered: false };
        let Delivery { event, kind, account, order, .. } = made.delivery;
        let answer = Private(made.answered.map(|answered| answered.body_start).unwrap_or_default());
        let (stage, tries) = (verdict.stage, verdict.tries);
        self.notes.push(Noted { id, event, kind, account, order, attempt, answer, stage, tries });
    }

    /// Writes down what there is to write, unless that is under way.
    fn write(&mut self, now: Time) {
        if self.writing || self.write_again_at.is_some_and(|at| at > now) {
            return;
        }
        let count = self.notes.len().min(NOTES_PER_COMMAND);
        // All or nothing: an advance counts everything that was heard.
        let whole = count == self.notes.len();
        let attempts = self.notes.get(..count).unwrap_or_default().to_vec();
        let noted = |id: WebhookId| attempts.iter().any(|note| note.id.webhook == id);
        let mut advances = Vec::new();
        for (id, hook) in self.hooks.iter().filter(|_| whole) {
            let advance = hook.plan.advance();
            let last = self.draining && hook.written.as_ref() != Some(&advance);
            if noted(*id) || last || hook.plan.is_worth_writing(hook.written.as_ref(), &advance) {
                advances.push(advance);
            }
        }
        if attempts.is_empty() && advances.is_empty() {
            return;
        }
        self.writing = true;
        let ids: Vec<DeliveryId> = attempts.iter().map(|note| note.id).collect();
        let command = Command::Webhook(WebhookCommand::Note(Notes { attempts, advances: advances.clone() }));
        let (handle, heard) = (self.shared.handle.clone(), self.heard.clone());
        self.write_again_at = Some(now.plus(OWN_TROUBLE_PAUSE));
        tokio::spawn(async move {
            let result = handle.submit_patiently(command).await.map(|_| ());
            drop(heard.send(Heard::Written(ids, advances, result)));
        });
    }

    fn written(&mut self, ids: &[DeliveryId], advances: Vec<Advance>) {
        self.writing = false;
        self.write_again_at = None;
        self.notes.drain(..ids.len().min(self.notes.len()));
        for id in ids {
            if let Some(hook) = self.hooks.get_mut(&id.webhook) {
                hook.plan.recorded(id.position);
            }
        }
        for advance in advances {
            if let Some(hook) = self.hooks.get_mut(&advance.webhook) {
                hook.plan.retire(&advance);
                // Of another revision it was not taken whole.
                hook.written = (hook.plan.advance().revision == advance.revision).then_some(advance);
            }
        }
    }

    fn post_standings(&self, now: Time) {
        for (id, hook) in &self.hooks {
            self.shared.board.set(*id, hook.plan.standing(now));
        }
    }

    fn is_quiet(&self) -> bool {
        !self.writing && self.notes.is_empty() && !self.hooks.values().any(|hook| hook.plan.is_busy())
    }

    /// When something is due that nobody announces.
    fn wake_at(&self, now: Time, drained_by: Option<Time>) -> Option<Time> {
        let due = self.hooks.values().filter_map(|hook| hook.plan.due(now)).min().filter(|_| !self.draining);
        let again = self.write_again_at.filter(|_| !self.writing);
        [due, again, drained_by].into_iter().flatten().min()
    }
}

/// A stretch of the ledger as a plan sees it, or its beginning.
pub fn stretch(reader: &Reader, webhook: &Webhook, from: Seq, to: Seq) -> Result<Vec<Candidate>, StoreError> {
    let last = Seq(to.0.min(from.0.saturating_add(ENTRIES_PER_READ as u64 - 1)));
    let (entries, _) = reader.entries(from, ENTRIES_PER_READ, ENTRIES_PER_READ, |_| true)?;
    let mut tried = reader.deliveries_tried(webhook.id, from, last)?;
    let wanted = entries.into_iter().filter(|stored| stored.entry.seq <= last);
    let candidate = |stored: StoredEntry| Candidate {
        seq: stored.entry.seq,
        wanted: is_for(webhook, &stored),
        allowed: webhook.accounts.sees(&stored.entry.account),
        tried: tried.remove(&stored.entry.seq),
        line: match stored.entry.order {
            Some(reference) => Line::Order(OrderKey::new(stored.entry.account, reference)),
            None => Line::Alone(Position::entry(stored.entry.seq)),
        },
    };
    Ok(wanted.map(candidate).collect())
}

impl Shared {
    /// One attempt; `None` where there is no event any more.
    async fn attempt(
        &self,
        id: DeliveryId,
        webhook: &Webhook,
        keyring: &Keyring,
    ) -> Result<Option<Made>, StoreError> {
        let Some((delivery, body)) = self.event(id)? else { return Ok(None) };
        let at = self.clock.now();
        let post = envelope(webhook, keyring, &delivery.event, body, at);
        let answered = self.poster.post(post).await;
        let duration = self.clock.now().since(at);
        Ok(Some(Made { delivery, at, duration, answered }))
    }

    /// An event's body, and a delivery of it for what there is to know.
    fn event(&self, id: DeliveryId) -> Result<Option<(Delivery, String)>, StoreError> {
        if id.position.notice != 0 {
            let (known, body) = (self.reader.delivery(id)?, self.reader.notice(id)?);
            return Ok(known.zip(body));
        }
        let Some(stored) = self.reader.entry(id.position.seq)? else { return Ok(None) };
        let event = EventView::of(&stored.entry, stored.order.as_ref());
        let body = serde_json::to_string(&event).unwrap_or_default();
        Ok(Some((Delivery::unheard(id.webhook, &stored.entry), body)))
    }
}

/// Erases deliveries that are older than their retention, and those of webhooks that are gone.
async fn sweep(shared: Arc<Shared>) {
    loop {
        let before = shared.clock.now().minus(shared.history_retention);
        let found = match shared.reader.deliveries_to_erase(before, ERASED_PER_COMMAND) {
            Ok(found) if found.is_empty() => break,
            Ok(found) => found,
            Err(why) => {
                tracing::warn!(%why, "old deliveries could not be looked for");
                break;
            }
        };
        let erase = Command::Webhook(WebhookCommand::Erase(found));
        if let Err(why) = shared.handle.submit_patiently(erase).await {
            tracing::warn!(%why, "old deliveries could not be erased");
            break;
        }
    }
}
