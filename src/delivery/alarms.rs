//! What operators should know now: raised once, told once, and cleared when it is no longer so. In memory: after a restart
//! what is still so is raised again.

use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use crate::domain::webhook::{Reach, WebhookId};
use crate::ledger::webhooks::Alert;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long one that has cleared is still shown, and how many such.
const CLEARED_SHOWN: Duration = Duration::from_secs(86_400);
const CLEARED_MAX: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// No callback for longer than usual, while orders wait for their money.
    ProviderSilent,
    WebhookDisabled,
    /// Callbacks were given up.
    ReceiptFailed,
    DiskLow,
    ClockJumped,
    CredentialsRefused,
    BackupFailed,
}

/// What it is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum About {
    Daemon,
    Account(AccountId),
    Webhook(WebhookId),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alarm {
    pub kind: Kind,
    pub about: About,
    pub since: Time,
    /// What is so, and what to do.
    pub message: String,
    pub cleared_at: Option<Time>,
}

#[derive(Default)]
pub struct Alarms(Mutex<Known>);

#[derive(Default)]
struct Known {
    raised: BTreeMap<(Kind, About), Alarm>,
    cleared: VecDeque<Alarm>,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::ProviderSilent,
        Kind::WebhookDisabled,
        Kind::ReceiptFailed,
        Kind::DiskLow,
        Kind::ClockJumped,
        Kind::CredentialsRefused,
        Kind::BackupFailed,
    ];

    /// As the event's type.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ProviderSilent => "operator.provider_silent",
            Kind::WebhookDisabled => "operator.webhook_disabled",
            Kind::ReceiptFailed => "operator.receipt_failed",
            Kind::DiskLow => "operator.disk_low",
            Kind::ClockJumped => "operator.clock_jumped",
            Kind::CredentialsRefused => "operator.credentials_refused",
            Kind::BackupFailed => "operator.backup_failed",
        }
    }
}

impl About {
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            About::Account(account) => Some(account),
            About::Daemon | About::Webhook(_) => None,
        }
    }
}

impl Alarms {
    /// Says what is so now; `None`: all is well. Answers what webhooks have to be told: something that was not so before.
    pub fn set(&self, kind: Kind, about: About, message: Option<String>, now: Time) -> Option<Alert> {
        let mut known = self.known();
        let key = (kind, about);
        let Some(message) = message else {
            if let Some(mut alarm) = known.raised.remove(&key) {
                alarm.cleared_at = Some(now);
                known.cleared.truncate(CLEARED_MAX - 1);
                known.cleared.push_front(alarm);
            }
            return None;
        };
        if let Some(alarm) = known.raised.get_mut(&key) {
            alarm.message = message;
            return None;
        }
        let (kind, about) = key.clone();
        let alarm = Alarm { kind, about, since: now, message, cleared_at: None };
        let alert = alarm.alert();
        known.raised.insert(key, alarm);
        alert
    }

    /// Of what a kind is raised about, all but these is well again.
    pub fn keep_only(&self, kind: Kind, about: &BTreeSet<About>, now: Time) {
        let raised = self.raised();
        for alarm in raised.into_iter().filter(|alarm| alarm.kind == kind && !about.contains(&alarm.about)) {
            self.set(kind, alarm.about, None, now);
        }
    }

    /// What is so now.
    pub fn raised(&self) -> Vec<Alarm> {
        self.known().raised.values().cloned().collect()
    }

    /// What was so lately, the last one first.
    pub fn cleared(&self, now: Time) -> Vec<Alarm> {
        let lately = |alarm: &&Alarm| alarm.cleared_at.is_some_and(|at| now.since(at) < CLEARED_SHOWN);
        self.known().cleared.iter().filter(lately).cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alarm {
    /// The event about it. Of a webhook that was disabled the ledger told when it was.
    fn alert(&self) -> Option<Alert> {
        let accounts = match &self.about {
            About::Webhook(_) => return None,
            About::Daemon => Reach::All,
            About::Account(account) => Reach::Only(BTreeSet::from([account.clone()])),
        };
        let data = serde_json::json!({
            "account": self.about.account().map(AccountId::as_str),
            "message": self.message,
            "since": self.since.to_string(),
        });
        Some(Alert { kind: self.kind.as_str(), accounts, about: None, data: data.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_once_until_it_clears() {
        let (alarms, low) = (Alarms::default(), || Some("little is left".to_owned()));
        let set = |message, at| alarms.set(Kind::DiskLow, About::Daemon, message, Time(at)).is_some();
        assert!(!set(None, 1));
        assert!(set(low(), 2) && !set(low(), 3));
        assert_eq!((alarms.raised()[0].since, alarms.cleared(Time(3)).len()), (Time(2), 0));
        assert!(!set(None, 4));
        assert_eq!(alarms.raised(), []);
        assert_eq!(alarms.cleared(Time(5))[0].cleared_at, Some(Time(4)));
        assert!(set(low(), 6), "it is told again when it comes back");
        assert_eq!(alarms.cleared(Time(4).plus(CLEARED_SHOWN)), []);
    }

    #[test]
    fn what_is_gone_clears() {
        let alarms = Alarms::default();
        let about = |name: &str| About::Account(AccountId::parse(name).unwrap());
        for name in ["a", "b"] {
            alarms.set(Kind::CredentialsRefused, about(name), Some("401".to_owned()), Time(1));
        }
        alarms.keep_only(Kind::CredentialsRefused, &BTreeSet::from([about("b")]), Time(2));
        assert_eq!(alarms.raised().into_iter().map(|alarm| alarm.about).collect::<Vec<_>>(), [about("b")]);
    }
}
