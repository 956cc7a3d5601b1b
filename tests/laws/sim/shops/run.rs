//! What one life of the daemon knows of a shop: the webhook as it is stored, the plan of its deliveries, and what came of
//! them that is not written down yet.

use super::super::faults::Fault;
use super::super::reach::Reach;
use super::shop::{Shop, said};
use razao::delivery::plan::{Line, Outcome, Plan, Policy};
use razao::delivery::runner::stretch;
use razao::domain::receipt::Private;
use razao::domain::time::Time;
use razao::domain::webhook::{Attempt, Delivery, DeliveryId, Position, Stage, Webhook};
use razao::ledger::command::{Command, SubmitError};
use razao::ledger::reader::Reader;
use razao::ledger::webhooks::{Advance, Noted, Notes, WebhookCommand};
use std::time::Duration;

const POLICY: Policy = Policy {
    first_pause: Duration::from_secs(5),
    max_pause: Duration::from_secs(3600),
    max_attempts: 6,
    in_flight_max: 3,
    disable_after: Duration::from_secs(12 * 3600),
};
/// After trouble of our own something is tried again so much later.
pub const AGAIN: Duration = Duration::from_secs(5);

pub struct Run {
    pub webhook: Webhook,
    pub plan: Plan,
    notes: Vec<Noted>,
    /// How many notes are being written down, and how far the plan was.
    writing: Option<(usize, Advance)>,
    write_again_at: Time,
    written: Option<Advance>,
    was_off: bool,
}

impl Shop {
    /// Takes its webhook as it is stored, if it is.
    pub fn load(&mut self, reader: &Reader, now: Time, fault: Option<Fault>) -> Result<(), String> {
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
    pub fn begin(
        &mut self,
        reader: &Reader,
        now: Time,
        fault: Option<Fault>,
    ) -> Result<Vec<Position>, String> {
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

    /// The daemon learns what an attempt came to.
    pub fn hears(
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
    pub fn writes(&mut self, now: Time) -> Option<Command> {
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
    pub fn written(&mut self, result: Result<(), SubmitError>, now: Time, reach: &mut Reach) -> bool {
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
    pub fn due(&self, now: Time) -> Option<Time> {
        let asks = (!self.todo.is_empty() && !self.asked).then_some(self.ask_again_at);
        let run = self.run.as_ref();
        let attempts = run.and_then(|run| run.plan.due(now));
        let unwritten = run.filter(|run| run.writing.is_none() && run.write_again_at > now);
        let writes = unwritten.map(|run| run.write_again_at);
        [asks, attempts, writes].into_iter().flatten().min()
    }
}
