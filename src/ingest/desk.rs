//! What ingest does about one receipt or one poll: asks the provider, and hands the ledger what came of it.
//!
//! Deterministic: it reaches the world through two seams only, [`super::caller::Calls`] and the ledger's [`Handle`], and reads the time
//! from its [`Clock`]. So its futures can be polled by hand, and at every point where they wait anything else may happen.
//! All of it may die at any moment: what is due stands in the store, and asking again is harmless.

use super::accounts::Accounts;
use super::activity::Activity;
use super::agenda::{Agenda, Done, Treated, Work};
use super::caller::Caller;
use super::health::Growth;
use super::poll::{LaneTerms, Poller};
use super::resolve::{self, Failure, Policy, Resolver};
use super::translate::{self, Context};
use crate::clock::Clock;
use crate::config::Account;
use crate::domain::evidence::Source;
use crate::domain::ids::{AccountId, OrderKey, ProviderRef, ReceiptId, Seq};
use crate::domain::order::Order;
use crate::domain::receipt::{Attempt, Outcome, Progress, Receipt};
use crate::domain::time::Time;
use crate::ledger::command::{Attempted, Command, News, Record, Reply, SubmitError, Then};
use crate::ledger::reader::Reader;
use crate::ledger::writer::Handle;
use crate::providers::provider::{Findings, Incoming, Question, Search, Session, Trouble};
use crate::store::meta::StoreError;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::Instrument;

/// One callback leads to at most so many calls.
const CALLS_PER_RECEIPT_MAX: usize = 64;
/// After trouble with our own store a receipt is tried again so much later.
pub(super) const OWN_TROUBLE_PAUSE: Duration = Duration::from_secs(5);

/// Why a poll brought nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PollError {
    #[error("there is no such order")]
    NoSuchOrder,
    #[error(
        "the provider has no query for what is known of this order; its next callback will bring the news"
    )]
    NotPollable,
    #[error("the provider could not be asked: {0}")]
    Provider(Failure),
    #[error("{0}")]
    Ledger(#[from] SubmitError),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Everything that processing and polling need; shared by their tasks.
pub struct Desk {
    pub accounts: Accounts,
    pub caller: Caller,
    pub clock: Arc<dyn Clock>,
    pub handle: Handle,
    pub reader: Reader,
    pub activity: Arc<Activity>,
    pub policy: Policy,
    /// The last date of ours that a request was given.
    pub stamped: Mutex<Time>,
    /// A deliberate fault for showing that tests notice: an answer is dated by when it came.
    pub dated_after_answer: bool,
}

/// How it went with a receipt.
struct Resolved {
    again: Option<Time>,
    treated: Treated,
}

/// What asking came to: evidence so far, the calls made, and the failure that ended it.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) news: Vec<News>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) failure: Option<Failure>,
}

impl Resolved {
    /// It needs nothing more, and nobody was asked.
    const WITHOUT_CALLS: Resolved = Resolved { again: None, treated: Treated::NoCall };
}

impl Asked {
    pub(super) fn treated(&self) -> Treated {
        match &self.failure {
            Some(failure) => Treated::Badly(failure.clone()),
            None if self.attempts.is_empty() => Treated::NoCall,
            None => Treated::Well,
        }
    }
}

impl Desk {
    /// The agenda as it has to be after a start: everything that was acknowledged and not yet processed, and a lane for
    /// every account that is polled.
    pub fn agenda(&self) -> Result<Agenda, StoreError> {
        let mut resolver = Resolver::new(self.policy);
        for receipt in self.reader.unprocessed()? {
            let due = match receipt.progress {
                Progress::Retrying { next_at } => next_at,
                Progress::Pending | Progress::Done(_) | Progress::Failed { .. } => receipt.received_at,
            };
            resolver.enqueue(receipt.account, receipt.id, due);
        }
        let polled = self.accounts.all().filter(|account| account.poll.enabled);
        let lane = |account: Arc<Account>| {
            let terms = LaneTerms {
                cadence: account.terms().cadence,
                quota: account.provider.spec().polling.quota,
                has_events: account.provider.ask_events(&account.merchant, None).is_some(),
            };
            (account.merchant.id.clone(), terms)
        };
        let poller = Poller::new(polled.map(lane).collect(), self.clock.now());
        let Policy { first_pause, max_pause, per_account, .. } = self.policy;
        Ok(Agenda::new(resolver, poller, Growth { first_pause, max_pause }, per_account))
    }

    /// Does what the agenda named, and says what the agenda has to know of it.
    pub async fn work(&self, work: Work) -> Done {
        match work {
            Work::Receipt(account, id) => self.process(account, id).await,
            Work::Poll(key) => self.poll_when_due(key).await,
            Work::CatchUp(account) => self.catch_up(account).await,
        }
    }

    async fn process(&self, account: AccountId, id: ReceiptId) -> Done {
        let span = tracing::info_span!("callback", %account, receipt = %id);
        match self.resolve(&account, id).instrument(span).await {
            Ok(Resolved { again, treated }) => Done::Receipt { account, id, again, treated },
            Err(why) => {
                tracing::warn!(%account, receipt = %id, %why, "a callback could not be processed yet");
                let again = Some(self.clock.now().plus(OWN_TROUBLE_PAUSE));
                Done::Receipt { account, id, again, treated: Treated::NoCall }
            }
        }
    }

    async fn resolve(&self, account_id: &AccountId, id: ReceiptId) -> Result<Resolved, PollError> {
        let Some(receipt) = self.reader.receipt(id)? else { return Ok(Resolved::WITHOUT_CALLS) };
        if !receipt.progress.is_open() {
            return Ok(Resolved::WITHOUT_CALLS);
        }
        let Some(account) = self.accounts.get(account_id) else {
            return self
                .end(id, Then::GiveUp { reason: "its account is no longer configured".to_owned() })
                .await;
        };
        let Some(body) = self.reader.body(id)? else {
            return self.end(id, Then::GiveUp { reason: "its body was erased".to_owned() }).await;
        };
        let query = body.query.as_ref().and_then(|query| std::str::from_utf8(&query.0).ok());
        let content_type = receipt.content_type.as_deref();
        let incoming = Incoming { headers: &[], content_type, query, body: &body.bytes.0 };
        let notice = match account.provider.hear(&account.merchant, &incoming) {
            Ok(notice) => notice,
            Err(unreadable) => return self.end(id, Then::GiveUp { reason: unreadable.to_string() }).await,
        };
        let own = Context {
            source: Source::Callback,
            receipt: Some(id),
            asked: None,
            received_at: receipt.received_at,
            now: self.clock.now(),
        };
        let mut news = translate::news(notice.findings, own);
        let asked = self.ask_all(&account, notice.questions, Source::Details, Some(&receipt)).await?;
        let treated = asked.treated();
        news.extend(asked.news);
        let again = self.record(&account, &receipt, news, asked.attempts, asked.failure).await?;
        Ok(Resolved { again, treated })
    }

    /// Hands evidence to the ledger, and notes on the receipt how it went. Answers when to process it again, if so.
    async fn record(
        &self,
        account: &Account,
        receipt: &Receipt,
        news: Vec<News>,
        attempts: Vec<Attempt>,
        failure: Option<Failure>,
    ) -> Result<Option<Time>, PollError> {
        let now = self.clock.now();
        let (id, terms) = (receipt.id, account.terms());
        let Some(failure) = failure else {
            let record = Record { terms, news, receipt: Some(id), attempts, done: true };
            let reply = self.handle.submit_patiently(Command::Record(record)).await?;
            log_recorded(account, receipt, &reply);
            return Ok(None);
        };
        if !news.is_empty() {
            let record = Record { terms, news, receipt: Some(id), attempts: Vec::new(), done: false };
            let reply = self.handle.submit_patiently(Command::Record(record)).await?;
            log_recorded(account, receipt, &reply);
        }
        let then = resolve::after(&self.policy, receipt, &failure, now);
        tracing::info!(account = %account.merchant.id, receipt = %id, %failure, ?then, "details call failed");
        let again = match &then {
            Then::Retry { next_at } => Some(*next_at),
            Then::GiveUp { .. } | Then::Ignored => None,
        };
        let attempted = Attempted { receipt: id, attempts, not_found: failure.is_not_found(), then };
        self.handle.submit_patiently(Command::NoteAttempt(attempted)).await?;
        Ok(again)
    }

    async fn end(&self, receipt: ReceiptId, then: Then) -> Result<Resolved, PollError> {
        let attempted = Attempted { receipt, attempts: Vec::new(), not_found: false, then };
        self.handle.submit_patiently(Command::NoteAttempt(attempted)).await?;
        Ok(Resolved::WITHOUT_CALLS)
    }

    /// Asks questions and those that their answers leave open, until one fails.
    pub(super) async fn ask_all(
        &self,
        account: &Account,
        questions: Vec<Question>,
        source: Source,
        receipt: Option<&Receipt>,
    ) -> Result<Asked, StoreError> {
        let mut open = VecDeque::from(questions);
        let mut asked = Asked::default();
        while let Some(question) = open.pop_front() {
            if asked.attempts.len() >= CALLS_PER_RECEIPT_MAX {
                let what = format!("more than {CALLS_PER_RECEIPT_MAX} calls would be needed");
                asked.failure = Some(Failure::Provider(Trouble::Broken(what)));
                break;
            }
            let mut sent = self.stamp(account, &question)?;
            let answered = self.ask(account, &question, &mut asked.attempts).await;
            if self.dated_after_answer {
                sent = self.stamp(account, &question)?;
            }
            match answered {
                Ok(Findings { findings, questions }) => {
                    let context = Context {
                        source,
                        receipt: receipt.map(|receipt| receipt.id),
                        asked: Some(sent),
                        received_at: receipt.map_or(sent, |receipt| receipt.received_at),
                        now: self.clock.now(),
                    };
                    asked.news.extend(translate::news(findings, context));
                    open.extend(questions);
                }
                Err(failure) => {
                    asked.failure = Some(failure);
                    break;
                }
            }
        }
        Ok(asked)
    }

    async fn ask(
        &self,
        account: &Account,
        question: &Question,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Findings, Failure> {
        let (provider, merchant) = (account.provider, &account.merchant);
        let call = |session: Option<&Session>| provider.ask(merchant, session, question);
        self.caller
            .ask_within(account, call, |answer| provider.read(merchant, question, answer), attempts)
            .await
    }

    /// The date of a request that is about to be sent: after everything known of its order, and after every other date
    /// of ours.
    fn stamp(&self, account: &Account, question: &Question) -> Result<Time, StoreError> {
        let newest = self.order_asked(account, question)?.and_then(|order| order.newest);
        let published = self.reader.published().stamp;
        let mut last = self.stamped.lock().unwrap_or_else(PoisonError::into_inner);
        let after = newest.map_or(Time(0), Time::next).max(published.next()).max(last.next());
        *last = self.clock.now().max(after);
        Ok(*last)
    }

    /// The order that a question is about, where it names one that is known.
    fn order_asked(&self, account: &Account, question: &Question) -> Result<Option<Order>, StoreError> {
        let id = &account.merchant.id;
        let (provider_ref, reference) = match question {
            Question::Reference(reference) | Question::Search(Search { reference, .. }) => {
                (Some(ProviderRef::from(reference)), Some(reference.clone()))
            }
            Question::ProviderRef(provider_ref) => (Some(provider_ref.clone()), None),
            Question::Token(_) => (None, None),
        };
        let by_ref = provider_ref.map(|name| self.reader.by_provider_ref(id, &name)).transpose()?.flatten();
        let Some(reference) = by_ref.or(reference) else { return Ok(None) };
        self.reader.order(&OrderKey::new(id.clone(), reference))
    }
}

/// Which entries a callback led to.
fn log_recorded(account: &Account, receipt: &Receipt, reply: &Reply) {
    if let Reply::Recorded(recorded) = reply {
        let outcome = recorded.orders.iter().map(|(_, outcome)| *outcome).max();
        let outcome = outcome.unwrap_or(Outcome::Ignored).as_str();
        let (account, seqs) = (&account.merchant.id, Seq::list(&recorded.entries));
        tracing::info!(%account, receipt = %receipt.id, outcome, seqs, "callback recorded");
    }
}
