//! Polls: asking about one order, by hand or because it is due, and reading a provider's list of events. Part of the
//! [`Desk`]; no I/O of its own.

use super::agenda::{Done, Treated};
use super::desk::{Asked, Desk, OWN_TROUBLE_PAUSE, PollError};
use super::resolve::Failure;
use super::translate::{self, Context};
use crate::config::Account;
use crate::domain::evidence::Source;
use crate::domain::ids::{AccountId, OrderKey, Reference, Seq};
use crate::domain::time::Time;
use crate::ledger::command::{
    AccountNote, Command, News, Postponed, Record, Recorded, Reply, Rescheduling, SubmitError,
};
use crate::ledger::reader::Reader;
use crate::providers::provider::{Dating, Finding, Findings, Known, Session, Trouble};
use crate::store::meta::StoreError;
use std::time::Duration;

/// Events of a list are recorded in commands of so many.
const NEWS_PER_COMMAND: usize = 64;
/// Events may be listed a little after their date: so much of the list is read again each time.
const EVENTS_OVERLAP: Duration = Duration::from_secs(3600);

impl super::poll::DueTimes for Reader {
    fn first(&self, account: &AccountId, limit: usize) -> Result<Vec<(Time, Reference)>, StoreError> {
        self.polls_due(account, limit)
    }

    fn overdue(&self, account: &AccountId, now: Time, most: usize) -> Result<usize, StoreError> {
        self.polls_overdue(account, now, most)
    }
}

impl Desk {
    /// Asks the provider about one order now, and says how the provider treated the call.
    pub async fn poll(&self, key: &OrderKey) -> (Treated, Result<(), PollError>) {
        let asked = match self.ask_about(key).await {
            Ok((_, asked)) => asked,
            Err(error) => return (Treated::NoCall, Err(error)),
        };
        let treated = asked.treated();
        (treated, self.keep(key, asked).await.map(drop))
    }

    /// Asks about an order that is due, and sees to it that it is due again later.
    pub(super) async fn poll_when_due(&self, key: OrderKey) -> Done {
        let (treated, result) = match self.ask_about(&key).await {
            Ok((sent, asked)) => (asked.treated(), self.keep_and_postpone(&key, sent, asked).await),
            Err(PollError::NotPollable) => (Treated::NoCall, self.postpone(&key, None, false).await),
            Err(error) => (Treated::NoCall, Err(error)),
        };
        let hold = result.err().map(|why| {
            tracing::warn!(order = %key, %why, "a poll could not be seen to");
            self.clock.now().plus(OWN_TROUBLE_PAUSE)
        });
        Done::Poll { key, treated, hold }
    }

    async fn ask_about(&self, key: &OrderKey) -> Result<(Time, Asked), PollError> {
        let order = self.reader.order(key)?.ok_or(PollError::NoSuchOrder)?;
        let account = self.accounts.get(&key.account).ok_or(PollError::NotPollable)?;
        let known = Known {
            reference: &order.key.reference,
            provider_ref: order.provider_ref.as_ref(),
            token: order.token.as_ref(),
            known_since: order.created_at,
        };
        let question = account.provider.poll(known).ok_or(PollError::NotPollable)?;
        let sent = self.clock.now();
        Ok((sent, self.ask_all(&account, vec![question], Source::Poll, None).await?))
    }

    /// Hands what a poll brought to the ledger. Whether the order it was made for is among it.
    async fn keep(&self, key: &OrderKey, asked: Asked) -> Result<bool, PollError> {
        let account = self.accounts.get(&key.account).ok_or(PollError::NotPollable)?;
        let recorded = match asked.news.is_empty() {
            true => Recorded::default(),
            false => self.record_news(&account, asked.news).await?,
        };
        if let Some(refusal) = recorded.left_out.into_iter().next() {
            return Err(SubmitError::Refused(refusal).into());
        }
        match asked.failure {
            Some(failure) => Err(PollError::Provider(failure)),
            None => Ok(recorded.orders.iter().any(|(of, _)| of == key)),
        }
    }

    async fn keep_and_postpone(&self, key: &OrderKey, sent: Time, asked: Asked) -> Result<(), PollError> {
        match self.keep(key, asked).await {
            Ok(true) => Ok(()),
            // The provider answered, but not about this order; or it knows of none.
            Ok(false) | Err(PollError::Provider(Failure::Provider(Trouble::NotThere { .. }))) => {
                self.postpone(key, Some(sent), true).await
            }
            // The whole account pauses; the order stays due.
            Err(PollError::Provider(Failure::Provider(
                Trouble::Credentials { .. } | Trouble::TooFast { .. },
            ))) => Ok(()),
            // It may be this order's trouble alone, so it lets others go first.
            Err(
                PollError::Provider(Failure::Provider(Trouble::Down { .. } | Trouble::Broken(_)))
                | PollError::Provider(Failure::NoAnswer(_)),
            )
            | Err(PollError::Ledger(SubmitError::Refused(_))) => self.postpone(key, None, true).await,
            Err(
                error @ (PollError::NoSuchOrder
                | PollError::NotPollable
                | PollError::Ledger(SubmitError::Busy | SubmitError::Stopped(_))
                | PollError::Store(_)),
            ) => Err(error),
        }
    }

    async fn postpone(&self, key: &OrderKey, asked: Option<Time>, askable: bool) -> Result<(), PollError> {
        let account = self.accounts.get(&key.account).ok_or(PollError::NotPollable)?;
        let postponed = Postponed { terms: account.terms(), key: key.clone(), asked, askable };
        self.handle.submit_patiently(Command::Postpone(postponed)).await?;
        Ok(())
    }

    async fn record_news(&self, account: &Account, news: Vec<News>) -> Result<Recorded, PollError> {
        let record = Record { terms: account.terms(), news, receipt: None, attempts: Vec::new(), done: true };
        let reply = self.handle.submit_patiently(Command::Record(record)).await?;
        let recorded = if let Reply::Recorded(recorded) = reply { recorded } else { Recorded::default() };
        if !recorded.entries.is_empty() {
            let (account, seqs) = (&account.merchant.id, Seq::list(&recorded.entries));
            tracing::info!(%account, seqs, "a poll brought news");
        }
        Ok(recorded)
    }

    /// Reads an account's list of events from where it was read up to.
    pub(super) async fn catch_up(&self, account: AccountId) -> Done {
        let (news, treated, hold) = match self.read_list(&account).await {
            Ok((news, treated)) => (news, treated, None),
            Err(why) => {
                tracing::warn!(%account, %why, "a list of events could not be seen to");
                (false, Treated::NoCall, Some(self.clock.now().plus(OWN_TROUBLE_PAUSE)))
            }
        };
        Done::CatchUp { account, news, treated, hold }
    }

    async fn read_list(&self, id: &AccountId) -> Result<(bool, Treated), PollError> {
        let account = self.accounts.get(id).ok_or(PollError::NotPollable)?;
        let (provider, merchant) = (account.provider, &account.merchant);
        let (sent, mut attempts) = (self.clock.now(), Vec::new());
        let Some(plain) = provider.ask_events(merchant, None) else { return Ok((false, Treated::NoCall)) };
        let call = |session: Option<&Session>| {
            provider.ask_events(merchant, session).unwrap_or_else(|| plain.clone())
        };
        let read = |answer: &_| provider.read_events(merchant, answer);
        let Findings { findings, questions } =
            match self.caller.ask_within(&account, call, read, &mut attempts).await {
                Ok(found) => found,
                Err(failure) => return Ok((false, Treated::Badly(failure))),
            };
        let read_up_to = self.reader.account(id)?.caught_up_to;
        let since = read_up_to.map_or(Time(0), |up_to| up_to.minus(EVENTS_OVERLAP));
        let findings: Vec<_> = findings.into_iter().filter(|finding| told(finding) >= since).collect();
        let newest = findings.iter().map(told).filter(|at| *at <= sent).max();
        let context =
            Context { source: Source::Poll, receipt: None, asked: None, received_at: sent, now: sent };
        let mut brought = translate::news(findings, context);
        let asked = self.ask_all(&account, questions, Source::Poll, None).await?;
        let treated = if asked.failure.is_some() { asked.treated() } else { Treated::Well };
        let whole = asked.failure.is_none();
        brought.extend(asked.news);
        let mut news = false;
        while !brought.is_empty() {
            let rest = brought.split_off(brought.len().min(NEWS_PER_COMMAND));
            let recorded = self.record_news(&account, std::mem::replace(&mut brought, rest)).await?;
            news |= !recorded.entries.is_empty();
        }
        if let Some(newest) = newest.filter(|newest| whole && Some(*newest) > read_up_to) {
            let note = AccountNote { account: id.clone(), caught_up_to: newest };
            self.handle.submit_patiently(Command::NoteAccount(note)).await?;
        }
        Ok((news, treated))
    }

    /// Reckons the due times of accounts anew whose pauses were changed since they were reckoned.
    pub async fn reschedule(&self) -> Result<(), PollError> {
        for account in self.accounts.all() {
            let terms = account.terms();
            let pauses = Some((terms.cadence.pause_min, terms.cadence.pause_max));
            if self.reader.account(&terms.account)?.pauses == pauses {
                continue;
            }
            let mut after = None;
            loop {
                let rescheduling = Rescheduling { terms: terms.clone(), after };
                let reply = self.handle.submit_patiently(Command::Reschedule(rescheduling)).await?;
                let Reply::Rescheduled(Some(last)) = reply else { break };
                after = Some(last);
            }
        }
        Ok(())
    }
}

/// When the provider says that it happened; what it does not date counts as new.
fn told(finding: &Finding) -> Time {
    match finding.reading.dating {
        Dating::Told { at, .. } => at.at,
        Dating::Snapshot => Time(i64::MAX),
    }
}
