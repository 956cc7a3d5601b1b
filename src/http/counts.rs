//! What the door counts, in memory, since the start: callbacks and how they were answered, requests, tokens that were not
//! believed.

use crate::domain::ids::AccountId;
use crate::meter::{QUICK, Spreads, Tally};
use std::time::Duration;

#[derive(Debug)]
pub struct Counts {
    /// Callbacks by account and our status; the account is empty where there is none of that name.
    pub callbacks: Tally<[String; 2]>,
    /// Callbacks that were turned away, by account and reason.
    pub rejected: Tally<[String; 2]>,
    /// How long callbacks waited for their answer, by account.
    pub answers: Spreads<[String; 1]>,
    /// Requests by the class of their status.
    pub requests: Tally<[String; 1]>,
    /// Tokens and tickets that were not believed.
    pub denied: Tally<()>,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            callbacks: Tally::default(),
            rejected: Tally::default(),
            answers: Spreads::over(QUICK),
            requests: Tally::default(),
            denied: Tally::default(),
        }
    }
}

impl Counts {
    /// A callback was answered. `account`: one that is configured.
    pub fn callback(&self, account: Option<&AccountId>, status: u16, took: Duration) {
        let name = account.map(ToString::to_string).unwrap_or_default();
        if account.is_some() {
            self.answers.note_time([name.clone()], took);
        }
        self.callbacks.add([name, status.to_string()]);
    }

    pub fn rejected(&self, account: Option<&AccountId>, reason: &str) {
        self.rejected.add([account.map(ToString::to_string).unwrap_or_default(), reason.to_owned()]);
    }

    pub fn request(&self, status: u16) {
        self.requests.add([format!("{}xx", status / 100)]);
    }
}
