//! The merchant accounts by id, and what ingest asks of one.

use crate::config::Account;
use crate::domain::ids::AccountId;
use crate::ledger::command::AccountTerms;
use crate::schedule::cadence::Cadence;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

#[derive(Clone, Debug, Default)]
pub struct Accounts(BTreeMap<AccountId, Account>);

impl Accounts {
    pub fn new(accounts: Vec<Account>) -> Self {
        Accounts(accounts.into_iter().map(|account| (account.merchant.id.clone(), account)).collect())
    }

    pub fn get(&self, id: &AccountId) -> Option<&Account> {
        self.0.get(id)
    }

    pub fn all(&self) -> impl Iterator<Item = &Account> {
        self.0.values()
    }
}

impl Account {
    pub fn terms(&self) -> AccountTerms {
        AccountTerms {
            account: self.merchant.id.clone(),
            provider: self.provider.spec().id,
            currency: self.merchant.currency,
            cadence: self.cadence(),
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence { pause_min: self.poll.min_interval, pause_max: self.poll.max_interval }
    }

    /// Whether the URL's key is right; an account without a key takes only URLs without one.
    pub fn accepts_key(&self, presented: Option<&str>) -> bool {
        match (&self.callback_key, presented) {
            (Some(key), Some(presented)) => key.expose_secret().as_bytes().ct_eq(presented.as_bytes()).into(),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}
