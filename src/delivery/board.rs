//! How far the deliveries are at this moment, for who asks. In memory: the store lags behind it by what need not be
//! written at once.

use crate::domain::ids::Seq;
use crate::domain::webhook::WebhookId;
use crate::meter::Tally;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub struct Board {
    webhooks: Mutex<BTreeMap<WebhookId, Standing>>,
    /// Attempts by what they came to, since the start.
    pub attempts: Tally<&'static str>,
}

/// One webhook, as of now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Standing {
    /// The course's revision that this is about.
    pub revision: u32,
    /// All up to here is delivered or given up, durably.
    pub cursor: Seq,
    /// The last entry that was looked at.
    pub looked_at: Seq,
    /// Not tried yet, due or in flight, of those looked at.
    pub pending: u64,
    /// Waiting for the next attempt.
    pub retrying: u64,
}

impl Board {
    pub fn set(&self, id: WebhookId, standing: Standing) {
        self.webhooks.lock().unwrap_or_else(PoisonError::into_inner).insert(id, standing);
    }

    pub fn forget(&self, id: WebhookId) {
        self.webhooks.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    pub fn get(&self, id: WebhookId) -> Option<Standing> {
        self.webhooks.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }
}
