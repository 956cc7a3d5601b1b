//! The next try after a failure: growth, jitter from a seed, Retry-After, and the end.

use crate::domain::time::Time;
use std::time::Duration;

/// How pauses grow, and when to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    pub first_pause: Duration,
    pub pause_max: Duration,
    /// Each pause is so many times the one before.
    pub factor: u32,
    pub give_up_after: Duration,
    pub attempts_max: Option<u32>,
}

impl Backoff {
    /// When to try again after `failures` (at least one) since `first_tried`; `None`: not again. `retry_after` is a lower
    /// bound that `pause_max` does not cap. The same seed gives the same jitter.
    pub fn next(
        &self,
        failures: u32,
        first_tried: Time,
        now: Time,
        retry_after: Option<Duration>,
        seed: u64,
    ) -> Option<Time> {
        let spent = self.attempts_max.is_some_and(|most| failures >= most);
        if spent || now.since(first_tried) >= self.give_up_after {
            return None;
        }
        let growth = self.factor.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.first_pause.saturating_mul(growth).min(self.pause_max);
        let pause = jittered(pause, seed ^ u64::from(failures));
        Some(now.plus(pause.max(retry_after.unwrap_or_default())))
    }
}

/// Pauses that grow by a part of themselves, with jitter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    pub first_pause: Duration,
    pub pause_max: Duration,
    /// Each pause is so many hundredths of the one before.
    pub percent: u32,
}

impl Growth {
    /// The pause after `failures` (at least one), without its jitter.
    pub fn plain(&self, failures: u32) -> Duration {
        let mut pause = self.first_pause;
        for _ in 1..failures {
            if pause >= self.pause_max {
                break;
            }
            pause = pause.saturating_mul(self.percent) / 100;
        }
        pause.min(self.pause_max)
    }

    /// The same seed gives the same jitter; it never goes beyond the longest pause.
    pub fn pause(&self, failures: u32, seed: u64) -> Duration {
        jittered(self.plain(failures), seed ^ u64::from(failures)).min(self.pause_max)
    }
}

/// Between three quarters and five quarters of a pause.
fn jittered(pause: Duration, seed: u64) -> Duration {
    let part = mix(seed) % 501;
    let micros = pause.as_micros().saturating_mul(u128::from(750 + part)) / 1000;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// SplitMix64's finaliser: spreads consecutive seeds evenly.
pub(super) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Backoff = Backoff {
        first_pause: Duration::from_millis(500),
        pause_max: Duration::from_secs(3600),
        factor: 2,
        give_up_after: Duration::from_secs(5 * 86_400),
        attempts_max: None,
    };

    #[test]
    fn grows_within_its_jitter_up_to_the_cap() {
        for failures in 1..200 {
            let pause = POLICY.next(failures, Time(0), Time(0), None, 7).unwrap().since(Time(0));
            let plain = Duration::from_millis(500)
                .saturating_mul(2u32.saturating_pow(failures - 1))
                .min(POLICY.pause_max);
            assert!(pause >= plain * 3 / 4 && pause <= plain * 5 / 4, "{failures}: {pause:?} of {plain:?}");
        }
    }

    #[test]
    fn ends_by_time_and_by_count() {
        let late = Time(0).plus(POLICY.give_up_after);
        assert_eq!(POLICY.next(3, Time(0), late, None, 0), None);
        let ten = Backoff { attempts_max: Some(10), ..POLICY };
        assert!(ten.next(9, Time(0), Time(0), None, 0).is_some());
        assert_eq!(ten.next(10, Time(0), Time(0), None, 0), None);
    }

    #[test]
    fn retry_after_is_a_lower_bound_beyond_the_cap() {
        let day = Duration::from_secs(86_400);
        assert_eq!(POLICY.next(1, Time(0), Time(0), Some(day), 0), Some(Time(0).plus(day)));
        assert!(
            POLICY.next(8, Time(0), Time(0), Some(Duration::from_secs(1)), 0).unwrap()
                > Time(0).plus(Duration::from_secs(1))
        );
    }
}
