//! How soon an order is asked about again without any callback: soon after news, and ever more slowly after.

use super::backoff::mix;
use crate::domain::ids::OrderKey;
use crate::domain::order::Order;
use crate::domain::state::State;
use crate::domain::time::Time;
use std::time::Duration;

/// The shortest and the longest pause between two polls of one order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cadence {
    pub pause_min: Duration,
    pub pause_max: Duration,
}

impl Cadence {
    /// The next poll of something that had its last news at `news_at`: pauses grow with its age, by half of it. Up to an
    /// eighth is added by the seed, so that what was made together is not asked about together for ever.
    pub fn next(&self, news_at: Time, now: Time, seed: u64) -> Time {
        let pause = (now.since(news_at) / 2).min(self.pause_max).max(self.pause_min);
        now.plus(pause.saturating_add(part(pause / 8, seed ^ now.0.unsigned_abs())))
    }

    /// When an order is asked about again, if a call sent at `asked` was the last that asked. `None`: its time ran out and it
    /// was asked about after that. Whether a refunded order is asked about at all is not known here.
    pub fn due(&self, order: &Order, asked: Option<Time>, now: Time) -> Option<Time> {
        let seed = seed(&order.key);
        let next = self.next(order.updated_at, now, seed);
        match order.state() {
            State::Paid | State::Completed | State::Chargeback | State::Refunded => Some(next),
            State::Created | State::InAnalysis | State::Expired => match order.expected.expires_at {
                Some(expires_at) if asked.is_some_and(|asked| asked >= expires_at) => None,
                // The provider gets a moment to notice, then it is asked one last time.
                Some(expires_at) => {
                    let last = expires_at.plus(part(self.pause_min, seed)).max(now.plus(self.pause_min));
                    Some(if next < expires_at { next } else { next.min(last) })
                }
                None => Some(next),
            },
        }
    }
}

/// Some part of a pause.
fn part(pause: Duration, seed: u64) -> Duration {
    let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(mix(seed) % micros.saturating_add(1).max(1))
}

/// A number that is the same for an order on every machine.
fn seed(key: &OrderKey) -> u64 {
    let names = key.account.as_str().bytes().chain([0]).chain(key.reference.as_str().bytes());
    names.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CADENCE: Cadence =
        Cadence { pause_min: Duration::from_secs(30), pause_max: Duration::from_secs(21_600) };

    #[test]
    fn pauses_grow_from_the_shortest_to_the_longest() {
        let born = Time(1_800_000_000_000_000);
        let (mut now, mut before) = (born, Duration::ZERO);
        let mut polls_in_a_day = 0;
        while now.since(born) < Duration::from_secs(30 * 86_400) {
            let next = CADENCE.next(born, now, 7);
            let pause = next.since(now);
            assert!(pause >= CADENCE.pause_min && pause <= CADENCE.pause_max * 9 / 8, "{pause:?}");
            assert!(pause >= before * 8 / 9, "{pause:?} after {before:?}");
            polls_in_a_day += u32::from(now.since(born) < Duration::from_secs(86_400));
            (now, before) = (next, pause);
        }
        assert!(before >= CADENCE.pause_max);
        assert!((10..40).contains(&polls_in_a_day), "{polls_in_a_day}");
    }

    #[test]
    fn orders_made_together_drift_apart() {
        let now = Time(1_800_000_000_000_000);
        let dues: std::collections::BTreeSet<_> =
            (0..100).map(|seed| CADENCE.next(now, now, mix(seed))).collect();
        assert!(dues.len() > 90);
    }
}
