//! When a dead target is left alone, and when it is tried again. One that fails for a single thing is not dead: only
//! failures of several different things in a row count, so that a poisoned one does not hold up the others.

use super::backoff::Growth;
use crate::domain::time::Time;
use std::collections::BTreeSet;

/// So many different things must fail without a success between them.
pub const THINGS_FAILED: usize = 5;

#[derive(Clone, Debug)]
pub struct Breaker<K> {
    growth: Growth,
    /// What failed since the last success; bounded by the number that opens it.
    failed: BTreeSet<K>,
    /// Probes that failed since it opened, the failure that opened it included; 0: closed.
    probes: u32,
    open_until: Time,
}

/// What may be tried now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    Open,
    /// One at a time, to see whether the target is back.
    Probe,
    ShutUntil(Time),
}

impl<K: Ord + Clone> Breaker<K> {
    pub fn new(growth: Growth) -> Self {
        Breaker { growth, failed: BTreeSet::new(), probes: 0, open_until: Time::default() }
    }

    /// For a target that was dead when we last looked: it is probed at once.
    pub fn probing(growth: Growth) -> Self {
        Breaker { probes: 1, ..Breaker::new(growth) }
    }

    pub fn gate(&self, now: Time) -> Gate {
        match self.probes {
            0 => Gate::Open,
            _ if self.open_until > now => Gate::ShutUntil(self.open_until),
            _ => Gate::Probe,
        }
    }

    pub fn is_dead(&self) -> bool {
        self.probes > 0
    }

    pub fn succeeded(&mut self) {
        self.failed.clear();
        self.probes = 0;
    }

    pub fn failed(&mut self, thing: &K, now: Time, seed: u64) {
        if self.failed.len() < THINGS_FAILED {
            self.failed.insert(thing.clone());
        }
        // What was under way when it opened says nothing new.
        let late = self.probes > 0 && self.open_until > now;
        if late || (self.probes == 0 && self.failed.len() < THINGS_FAILED) {
            return;
        }
        self.probes = self.probes.saturating_add(1);
        self.open_until = now.plus(self.growth.pause(self.probes, seed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const GROWTH: Growth =
        Growth { first_pause: Duration::from_secs(5), pause_max: Duration::from_secs(3600), percent: 190 };

    #[test]
    fn one_poisoned_thing_never_opens_it() {
        let mut breaker = Breaker::new(GROWTH);
        (0..100).for_each(|n| breaker.failed(&"poisoned", Time(n), 0));
        assert_eq!(breaker.gate(Time(100)), Gate::Open);
    }

    #[test]
    fn a_dead_target_is_probed_ever_more_seldom_but_never_given_up() {
        let mut breaker = Breaker::new(GROWTH);
        let mut now = Time(0);
        (0..5).for_each(|n| breaker.failed(&n, now, 0));
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let Gate::ShutUntil(until) = breaker.gate(now) else { panic!("it is dead") };
            pauses.push(until.since(now));
            // What was under way does not make it longer.
            breaker.failed(&9, now, 0);
            assert_eq!(breaker.gate(now), Gate::ShutUntil(until));
            now = until;
            assert_eq!(breaker.gate(now), Gate::Probe);
            breaker.failed(&1, now, 0);
        }
        assert!(pauses.iter().all(|pause| *pause <= GROWTH.pause_max), "{pauses:?}");
        assert!(pauses[5] > pauses[0] * 4 && pauses[39] > GROWTH.pause_max / 2, "{pauses:?}");
        breaker.succeeded();
        assert_eq!(breaker.gate(now), Gate::Open);
        breaker.failed(&1, now, 0);
        assert_eq!(breaker.gate(now), Gate::Open, "it begins to count anew");
    }
}
