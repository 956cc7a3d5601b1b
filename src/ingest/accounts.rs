//! The merchant accounts by id, and what ingest asks of one.

use crate::config::Account;
use crate::domain::ids::AccountId;
use crate::ledger::command::AccountTerms;
use crate::schedule::cadence::Cadence;
use crate::swap::Swap;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Clones share what they hold: an exchange is seen by all.
#[derive(Clone, Debug, Default)]
pub struct Accounts(Arc<Swap<ById>>);

type ById = BTreeMap<AccountId, Arc<Account>>;

impl Accounts {
    pub fn new(accounts: Vec<Account>) -> Self {
        Accounts(Arc::new(Swap::new(by_id(accounts))))
    }

    /// Others from now on; who works with one of them goes on with it.
    pub fn exchange(&self, accounts: Vec<Account>) {
        self.0.set(by_id(accounts));
    }

    pub fn get(&self, id: &AccountId) -> Option<Arc<Account>> {
        self.0.get().get(id).cloned()
    }

    pub fn all(&self) -> impl Iterator<Item = Arc<Account>> {
        self.0.get().values().cloned().collect::<Vec<_>>().into_iter()
    }
}

fn by_id(accounts: Vec<Account>) -> ById {
    accounts.into_iter().map(|account| (account.merchant.id.clone(), Arc::new(account))).collect()
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
