//! Access that a provider grants for a while: when to log in, when to renew. No I/O; time is an argument.

use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use crate::providers::provider::Session;
use std::collections::BTreeMap;
use std::time::Duration;

/// A session is renewed so long before it ends: a call under way must not find it ended.
const MARGIN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Sessions {
    open: BTreeMap<AccountId, Held>,
}

struct Held {
    session: Session,
    ends: Time,
}

impl Sessions {
    /// The session to use now, if there is one that lasts.
    pub fn usable(&self, account: &AccountId, now: Time) -> Option<Session> {
        self.open.get(account).filter(|held| now.plus(MARGIN) < held.ends).map(|held| held.session.clone())
    }

    pub fn opened(&mut self, account: &AccountId, session: Session, now: Time) {
        let ends = now.plus(session.lives);
        self.open.insert(account.clone(), Held { session, ends });
    }

    /// The provider refused it before its time.
    pub fn refused(&mut self, account: &AccountId) {
        self.open.remove(account);
    }
}
