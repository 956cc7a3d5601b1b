//! How a provider treats one account: what a failed call means for all its other calls. No I/O; time is an argument.

use super::resolve::Failure;
use crate::domain::time::Time;
use crate::providers::provider::Trouble;
use crate::schedule::backoff::Backoff;
use std::time::Duration;

/// The last calls of one account.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Health {
    /// Failures since the last success that are the account's or the provider's, not one order's.
    failures: u32,
    /// Why its credentials are refused, since they are.
    pub refused: Option<String>,
}

/// What follows from a failure: until when nothing of a kind is asked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pauses {
    pub resolver: Option<Time>,
    pub poller: Option<Time>,
}

/// How pauses of a whole account grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    pub first_pause: Duration,
    pub max_pause: Duration,
}

impl Health {
    pub fn succeeded(&mut self) {
        *self = Health::default();
    }

    pub fn failed(&mut self, failure: &Failure, growth: Growth, now: Time) -> Pauses {
        let asked = failure.retry_after().map(|pause| now.plus(pause));
        match failure {
            // They say something about one order alone.
            Failure::Provider(Trouble::NotThere { .. } | Trouble::Broken(_)) => Pauses::default(),
            Failure::Provider(Trouble::Credentials { .. }) => {
                self.refused = Some(failure.to_string());
                let until = self.grown(growth, now);
                Pauses { resolver: Some(until), poller: Some(until) }
            }
            Failure::Provider(Trouble::TooFast { .. }) => {
                let until = Some(self.grown(growth, now)).max(asked);
                Pauses { resolver: until, poller: until }
            }
            // What a callback asks for has pauses of its own, and must not wait for polls.
            Failure::Provider(Trouble::Down { .. }) | Failure::NoAnswer(_) => {
                Pauses { resolver: asked, poller: Some(self.grown(growth, now)).max(asked) }
            }
        }
    }

    fn grown(&mut self, growth: Growth, now: Time) -> Time {
        self.failures = self.failures.saturating_add(1);
        let backoff = Backoff {
            first_pause: growth.first_pause,
            pause_max: growth.max_pause,
            factor: 2,
            give_up_after: Duration::MAX,
            attempts_max: None,
        };
        let seed = now.0.unsigned_abs();
        backoff.next(self.failures, now, now, None, seed).unwrap_or_else(|| now.plus(growth.max_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth =
        Growth { first_pause: Duration::from_millis(500), max_pause: Duration::from_secs(3600) };

    #[test]
    fn each_failure_pauses_what_it_concerns() {
        let now = Time(1_800_000_000_000_000);
        let retry_after = Some(Duration::from_secs(90));
        let until = now.plus(Duration::from_secs(90));
        let pauses = |trouble| Health::default().failed(&Failure::Provider(trouble), GROWTH, now);
        assert_eq!(pauses(Trouble::NotThere { status: 404 }), Pauses::default());
        assert_eq!(pauses(Trouble::Broken("HTML".to_owned())), Pauses::default());
        let too_fast = pauses(Trouble::TooFast { status: 429, retry_after });
        assert_eq!(too_fast, Pauses { resolver: Some(until), poller: Some(until) });
        let down = pauses(Trouble::Down { status: 503, retry_after: None });
        assert!(down.resolver.is_none() && down.poller.is_some_and(|until| until > now));
        assert!(pauses(Trouble::TooFast { status: 429, retry_after: None }).resolver.is_some());
    }

    #[test]
    fn pauses_grow_until_a_call_succeeds() {
        let (mut health, now) = (Health::default(), Time(0));
        let refused = Failure::Provider(Trouble::Credentials { status: 401 });
        let pause = |health: &mut Health| health.failed(&refused, GROWTH, now).poller.unwrap().since(now);
        let first = pause(&mut health);
        let grown = (0..20).map(|_| pause(&mut health)).max();
        assert!(grown.is_some_and(|grown| grown > first * 1000));
        assert!(health.refused.is_some());
        health.succeeded();
        assert!(health.refused.is_none() && pause(&mut health) < first * 2);
    }
}
