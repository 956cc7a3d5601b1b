//! Counting in memory, for whoever looks now and then: how often, and how long or how many. Whole numbers only; what a
//! count means and what it is called belongs to who shows it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bounds for what takes from half a millisecond to ten seconds, in microseconds.
pub const QUICK: &[u64] =
    &[500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000];
/// Bounds for what may take days where others are slow, in microseconds.
pub const SLOW: &[u64] = &[
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    300_000_000,
    3_600_000_000,
    86_400_000_000,
];
/// Bounds for how many commands share a group.
pub const GROUP: &[u64] = &[1, 2, 4, 8, 16, 32, 64];

/// How often each thing happened.
#[derive(Debug)]
pub struct Tally<K>(Mutex<BTreeMap<K, u64>>);

/// How values of each thing spread over bounds.
#[derive(Debug)]
pub struct Spreads<K> {
    bounds: &'static [u64],
    of: Mutex<BTreeMap<K, Spread>>,
}

/// How values spread: how many lie at or below each bound, beyond the last one, and what they add up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spread {
    pub bounds: &'static [u64],
    /// One more than there are bounds; each counts its own values only.
    pub counts: Vec<u64>,
    pub sum: u64,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Tally(Mutex::new(BTreeMap::new()))
    }
}

impl<K: Ord + Clone> Tally<K> {
    pub fn add(&self, key: K) {
        let mut counts = lock(&self.0);
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    pub fn all(&self) -> BTreeMap<K, u64> {
        lock(&self.0).clone()
    }
}

impl<K: Ord + Clone> Spreads<K> {
    pub fn over(bounds: &'static [u64]) -> Self {
        Spreads { bounds, of: Mutex::new(BTreeMap::new()) }
    }

    pub fn note(&self, key: K, value: u64) {
        lock(&self.of).entry(key).or_insert_with(|| Spread::over(self.bounds)).note(value);
    }

    /// A duration, in microseconds.
    pub fn note_time(&self, key: K, took: Duration) {
        self.note(key, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn all(&self) -> BTreeMap<K, Spread> {
        lock(&self.of).clone()
    }
}

impl Spread {
    fn over(bounds: &'static [u64]) -> Spread {
        Spread { bounds, counts: vec![0; bounds.len() + 1], sum: 0 }
    }

    fn note(&mut self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(value);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_at_the_first_bound_that_holds_it() {
        let spreads = Spreads::over(GROUP);
        [1, 2, 3, 64, 65].into_iter().for_each(|value| spreads.note((), value));
        let spread = spreads.all().remove(&()).unwrap();
        assert_eq!(spread.counts, [1, 1, 1, 0, 0, 0, 1, 1]);
        assert_eq!(spread.sum, 135);
    }
}
