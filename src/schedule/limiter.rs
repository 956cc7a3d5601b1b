//! How much of something may happen now: a rate with a burst, per key. (GCRA: one instant per key says it all.)

use crate::domain::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// More keys than this are not remembered …
const KEYS_MAX: usize = 10_000;
/// … and so often those that have recovered are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// So many per so long; the same number may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    pub count: u32,
    pub per: Duration,
}

pub struct Limiter<K> {
    allowance: Allowance,
    /// However much was taken, nobody waits longer than this.
    wait_max: Duration,
    /// When each key's allowance will be whole again.
    whole_at: BTreeMap<K, Time>,
    forgotten_at: Time,
}

impl<K: Ord + Clone> Limiter<K> {
    pub fn new(allowance: Allowance, wait_max: Duration) -> Self {
        Limiter { allowance, wait_max, whole_at: BTreeMap::new(), forgotten_at: Time::default() }
    }

    /// How long `key` has to wait before it may take one; zero: not at all.
    pub fn wait(&self, key: &K, now: Time) -> Duration {
        let whole_at = self.whole_at.get(key).copied().unwrap_or(now).max(now);
        let after_one = whole_at.plus(self.pause()).since(now);
        after_one.saturating_sub(self.allowance.per).min(self.wait_max)
    }

    /// Takes one, whether it is allowed or not.
    pub fn take(&mut self, key: &K, now: Time) {
        if self.whole_at.len() >= KEYS_MAX && now.since(self.forgotten_at) >= FORGET_EVERY {
            self.forgotten_at = now;
            self.whole_at.retain(|_, whole_at| *whole_at > now);
        }
        let latest = now.plus(self.allowance.per).plus(self.wait_max);
        let whole_at = self.whole_at.get(key).copied().unwrap_or(now).max(now);
        if self.whole_at.len() < KEYS_MAX || self.whole_at.contains_key(key) {
            self.whole_at.insert(key.clone(), whole_at.plus(self.pause()).min(latest));
        }
    }

    /// Takes one if it is allowed; otherwise says how long to wait.
    pub fn try_take(&mut self, key: &K, now: Time) -> Result<(), Duration> {
        let wait = self.wait(key, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.take(key, now);
        Ok(())
    }

    fn pause(&self) -> Duration {
        self.allowance.per / self.allowance.count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> Limiter<&'static str> {
        Limiter::new(Allowance { count: 5, per: Duration::from_secs(1) }, Duration::from_secs(30))
    }

    #[test]
    fn a_burst_then_the_rate_and_each_key_for_itself() {
        let mut limiter = limiter();
        let now = Time(1_000_000_000);
        let taken = (0..20).filter(|_| limiter.try_take(&"a", now).is_ok()).count();
        assert_eq!(taken, 5);
        assert!(limiter.try_take(&"b", now).is_ok());
        let wait = limiter.try_take(&"a", now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(200));
        assert!(limiter.try_take(&"a", now.plus(wait)).is_ok());
        assert!(limiter.try_take(&"a", now.plus(wait)).is_err());
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut limiter = limiter();
        (0..1_000_000).for_each(|_| limiter.take(&"a", Time(0)));
        assert_eq!(limiter.wait(&"a", Time(0)), Duration::from_secs(30));
        assert_eq!(limiter.wait(&"a", Time(0).plus(Duration::from_secs(31))), Duration::ZERO);
    }

    #[test]
    fn keys_are_bounded() {
        let mut limiter: Limiter<u32> =
            Limiter::new(Allowance { count: 1, per: Duration::from_secs(1) }, Duration::ZERO);
        (0..50_000).for_each(|key| limiter.take(&key, Time(0)));
        assert!(limiter.whole_at.len() <= KEYS_MAX);
    }
}
