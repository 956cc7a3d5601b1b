//! Performs calls to providers, within a session where a provider wants one; notes each as an attempt.
//!
//! Deterministic as the [`super::desk`] is: it reaches the world through [`Calls`] and its [`Clock`] alone.

use super::accounts::Accounts;
use super::activity::Activity;
use super::resolve::Failure;
use super::session::{Access, Sessions};
use crate::clock::Clock;
use crate::config::Account;
use crate::domain::ids::AccountId;
use crate::domain::receipt::Attempt;
use crate::net::client::{Client, NoAnswer};
use crate::providers::provider::{Session, Trouble};
use crate::store::vault::Kept;
use crate::wire::call::{Answer, Call};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::Instrument;
use tracing::field::Empty;

/// Performs calls to providers.
pub trait Calls: Send + Sync {
    fn perform<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, NoAnswer>>;
}

impl Calls for Client {
    fn perform<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
        Box::pin(Client::perform(self, call))
    }
}

/// Keeps renewed sessions where a restart finds them.
pub type KeepSessions = Box<dyn Fn(&[Kept]) + Send + Sync>;

pub struct Caller {
    calls: Box<dyn Calls>,
    clock: Arc<dyn Clock>,
    activity: Arc<Activity>,
    sessions: Mutex<Sessions>,
    keep_sessions: KeepSessions,
    logins: Mutex<BTreeMap<AccountId, Arc<Login>>>,
}

/// Whoever needs a session that is not there logs in, one at a time; the others wait for what comes of it.
#[derive(Default)]
struct Login {
    ended: AtomicU64,
    /// Held during a login; why the last one failed, if it did.
    turn: tokio::sync::Mutex<Option<Failure>>,
}

impl Caller {
    /// With the sessions that were kept.
    pub fn new(
        calls: Box<dyn Calls>,
        clock: Arc<dyn Clock>,
        activity: Arc<Activity>,
        accounts: &Accounts,
        kept: Vec<Kept>,
        keep_sessions: KeepSessions,
    ) -> Caller {
        let sessions = Mutex::new(Sessions::restored(accounts, kept, clock.now()));
        Caller { calls, clock, activity, sessions, keep_sessions, logins: Mutex::default() }
    }

    /// One call, within a session where the provider wants one; a refused session is renewed once.
    pub async fn ask_within<T>(
        &self,
        account: &Account,
        call: impl Fn(Option<&Session>) -> Call,
        read: impl Fn(&Answer) -> Result<T, Trouble>,
        attempts: &mut Vec<Attempt>,
    ) -> Result<T, Failure> {
        let (provider, merchant) = (account.provider, &account.merchant);
        let mut renewed = false;
        loop {
            let session = self.session(account, attempts).await?;
            match (self.perform(account, &call(session.as_ref()), attempts, &read).await, session) {
                (Err(Failure::Provider(Trouble::Credentials { .. })), Some(session))
                    if !renewed && provider.login(merchant, Some(&session)).is_some() =>
                {
                    self.sessions().refused(&merchant.id, &session);
                    renewed = true;
                }
                (result, _) => return result,
            }
        }
    }

    async fn session(
        &self,
        account: &Account,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Option<Session>, Failure> {
        if let Access::Use(session) = self.access(account) {
            return Ok(session);
        }
        let login = self.login(&account.merchant.id);
        let ended = login.ended.load(Ordering::Relaxed);
        let mut failed = login.turn.lock().await;
        let call = match self.access(account) {
            Access::Use(session) => return Ok(session),
            Access::LogIn(call) => call,
        };
        let waited = login.ended.load(Ordering::Relaxed) != ended;
        if let Some(failure) = failed.clone().filter(|_| waited) {
            return Err(failure);
        }
        let opened = self.log_in(account, &call, attempts).await;
        *failed = opened.as_ref().err().cloned();
        login.ended.fetch_add(1, Ordering::Relaxed);
        opened.map(Some)
    }

    async fn log_in(
        &self,
        account: &Account,
        call: &Call,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Session, Failure> {
        let (provider, merchant) = (account.provider, &account.merchant);
        let read = |answer: &Answer| provider.logged_in(merchant, answer);
        let session = self.perform(account, call, attempts, read).await?;
        let kept = {
            let mut sessions = self.sessions();
            let keep = sessions.opened(provider, merchant, session.clone(), self.clock.now());
            keep.then(|| sessions.kept())
        };
        if let Some(kept) = kept {
            (self.keep_sessions)(&kept);
        }
        Ok(session)
    }

    /// Performs a call, reads its answer, and notes both as an attempt.
    async fn perform<T>(
        &self,
        account: &Account,
        call: &Call,
        attempts: &mut Vec<Attempt>,
        read: impl FnOnce(&Answer) -> Result<T, Trouble>,
    ) -> Result<T, Failure> {
        let at = self.clock.now();
        let span = tracing::info_span!("provider call", account = %account.merchant.id, status = Empty);
        let answered = self.calls.perform(call).instrument(span.clone()).await;
        let status = answered.as_ref().ok().map(|answer| answer.status);
        span.record("status", status);
        let result = match answered {
            Ok(answer) => read(&answer).map_err(Failure::Provider),
            Err(error) => Err(Failure::NoAnswer(error.to_string())),
        };
        let took = self.clock.now().since(at);
        self.activity.called(&account.merchant.id, result.as_ref().err(), took);
        attempts.push(Attempt {
            at,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status,
            error: result.as_ref().err().map(|failure| failure.to_string()),
        });
        result
    }

    /// Sessions of accounts whose credentials are others now.
    pub fn forget(&self, accounts: &[AccountId]) {
        let mut sessions = self.sessions();
        accounts.iter().for_each(|account| sessions.forget(account));
    }

    fn access(&self, account: &Account) -> Access {
        self.sessions().access(account.provider, &account.merchant, self.clock.now())
    }

    fn login(&self, account: &AccountId) -> Arc<Login> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(logins.entry(account.clone()).or_default())
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::Poll;
    use crate::domain::money::Currency;
    use crate::providers::provider::{Credentials, Merchant};
    use crate::providers::registry;
    use futures_util::future::join_all;
    use jiff::tz::TimeZone;
    use std::time::Duration;

    /// Answers a login with this status, after everybody else had a turn; whatever else is asked, with 200.
    #[derive(Clone, Default)]
    struct Bank {
        login: u16,
        logins: Arc<AtomicU64>,
        asked: Arc<AtomicU64>,
    }

    impl Calls for Bank {
        fn perform<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
            let is_login = call.shown_url().ends_with("/authorize");
            let (count, status) = if is_login { (&self.logins, self.login) } else { (&self.asked, 200) };
            let body = br#"{"access_token":"one","expires_in":600}"#.to_vec();
            Box::pin(async move {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                count.fetch_add(1, Ordering::SeqCst);
                Ok(Answer { status, content_type: None, retry_after: None, body })
            })
        }
    }

    fn account() -> Account {
        let merchant = Merchant {
            id: AccountId::parse("loja").unwrap(),
            currency: Currency::BRL,
            zone: TimeZone::UTC,
            base_url: "https://provider.example".to_owned(),
            credentials: Credentials::default(),
        };
        let (min_interval, max_interval) = (Duration::from_secs(30), Duration::from_secs(60));
        Account {
            merchant,
            provider: registry::find("gerencianet").unwrap(),
            callback_key: None,
            callback_allow: Vec::new(),
            poll: Poll { enabled: false, min_interval, max_interval },
        }
    }

    /// Ten questions at once: how many were answered.
    async fn ten(caller: &Caller, account: &Account) -> usize {
        let ask = async || {
            let call = |session: Option<&Session>| {
                Call::get("https://provider.example/x".to_owned()).bearer(session.map(|it| &it.token))
            };
            caller.ask_within(account, call, |answer| Ok(answer.status), &mut Vec::new()).await
        };
        let answered = join_all((0..10).map(|_| ask())).await;
        answered.into_iter().filter(Result::is_ok).count()
    }

    async fn logins(bank: &Bank) -> (usize, usize, u64) {
        let account = account();
        let accounts = Accounts::new(vec![account.clone()]);
        let calls = Box::new(bank.clone());
        let caller = Caller::new(
            calls,
            Arc::new(SystemClock),
            Arc::default(),
            &accounts,
            Vec::new(),
            Box::new(|_| {}),
        );
        let first = ten(&caller, &account).await;
        let once = bank.logins.load(Ordering::SeqCst);
        assert_eq!(once, 1, "ten that came together log in once");
        (first, ten(&caller, &account).await, bank.logins.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn those_who_come_during_a_login_wait_for_it() {
        let bank = Bank { login: 200, ..Bank::default() };
        assert_eq!(logins(&bank).await, (10, 10, 1));
        assert_eq!(bank.asked.load(Ordering::SeqCst), 20);
    }

    #[tokio::test]
    async fn a_login_that_fails_fails_for_all_who_waited_and_is_tried_by_the_next() {
        let bank = Bank { login: 503, ..Bank::default() };
        assert_eq!(logins(&bank).await, (0, 0, 2));
        assert_eq!(bank.asked.load(Ordering::SeqCst), 0);
    }
}
