//! The merchant accounts as ingest needs them: who they are, and how to speak to their provider.

use crate::domain::ids::AccountId;
use crate::ledger::command::AccountTerms;
use crate::providers::provider::{Merchant, Provider};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

/// A merchant account at one provider.
#[derive(Clone)]
pub struct Account {
    pub provider: &'static dyn Provider,
    pub merchant: Merchant,
    /// The key that its callback URL must hold, if one is configured.
    pub callback_key: Option<SecretString>,
    /// From where callbacks may come; empty: from anywhere.
    pub callback_allow: Vec<ipnet::IpNet>,
}

#[derive(Clone, Default)]
pub struct Accounts(pub BTreeMap<AccountId, Account>);

impl Accounts {
    pub fn get(&self, id: &AccountId) -> Option<&Account> {
        self.0.get(id)
    }
}

impl Account {
    pub fn terms(&self) -> AccountTerms {
        AccountTerms {
            account: self.merchant.id.clone(),
            provider: self.provider.spec().id,
            currency: self.merchant.currency,
        }
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
