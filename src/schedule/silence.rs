//! When time itself is news: an account that is silent for longer than its own last callbacks make usual, and a clock that
//! jumped. Time is an argument.

use crate::domain::time::Time;
use std::time::Duration;

/// So many arrivals say what is usual.
pub const ARRIVALS_MAX: usize = 101;
const DAY: Duration = Duration::from_secs(86_400);
/// Nobody is silent before this …
const SILENT_MIN: Duration = Duration::from_secs(6 * 3600);
/// … nor before so many of its usual gaps.
const USUAL_GAPS: u32 = 8;
/// With fewer gaps than this, little is known of an account.
const GAPS_KNOWN: u32 = 10;
/// A shop may sleep at night and over a weekend: its longest gap counts up to this.
const LONGEST_MAX: Duration = Duration::from_secs(66 * 3600);

/// After how much silence something is wrong, from the arrivals before it, oldest first. `None`: nothing is known.
pub fn patience(arrivals: &[Time]) -> Option<Duration> {
    let (first, last) = (arrivals.first()?, arrivals.last()?);
    let gaps = arrivals.iter().zip(arrivals.iter().skip(1)).map(|(before, after)| after.since(*before));
    let longest = gaps.max().unwrap_or_default().min(LONGEST_MAX);
    let count = u32::try_from(arrivals.len()).unwrap_or(u32::MAX).saturating_sub(1);
    let usual = last.since(*first).checked_div(count).unwrap_or_default();
    let least = if count < GAPS_KNOWN { DAY } else { SILENT_MIN };
    Some(least.max(usual * USUAL_GAPS).max(longest + longest / 2))
}

/// Since when an account is silent for too long, if it is.
pub fn silent_since(arrivals: &[Time], now: Time) -> Option<Time> {
    let last = arrivals.last()?;
    (now.since(*last) > patience(arrivals)?).then_some(*last)
}

/// By how much the wall clock moved more (or less) than a clock that nobody sets, if that is much.
pub fn jump(wall: (Time, Time), steady: Duration) -> Option<Duration> {
    const MUCH: Duration = Duration::from_secs(60);
    let (before, after) = wall;
    let expected = before.plus(steady);
    let off = after.since(expected).max(expected.since(after));
    (off > MUCH).then_some(off)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Arrivals with these gaps, in minutes.
    fn with(gaps: impl IntoIterator<Item = u64>) -> Vec<Time> {
        let mut at = Time(1_700_000_000_000_000);
        let mut arrivals = vec![at];
        for gap in gaps {
            at = at.plus(Duration::from_secs(gap * 60));
            arrivals.push(at);
        }
        arrivals
    }

    #[test]
    fn patience_follows_the_pace() {
        let table: [(&str, Vec<u64>, Duration); 7] = [
            ("a single callback", vec![], DAY),
            ("a few", vec![5, 5, 5], DAY),
            ("a busy shop", vec![1; 100], SILENT_MIN),
            ("one that sleeps eight hours", [vec![5; 50], vec![480], vec![5; 49]].concat(), 12 * HOUR),
            ("one a day", vec![1440; 20], 8 * DAY),
            ("one in two hours", vec![120; 100], 16 * HOUR),
            ("one that was once cut off for a month", [vec![1; 99], vec![43_200]].concat(), {
                (Duration::from_secs((43_200 + 99) * 60) / 100 * USUAL_GAPS).max(99 * HOUR)
            }),
        ];
        for (what, gaps, expected) in table {
            assert_eq!(patience(&with(gaps)), Some(expected), "{what}");
        }
        assert_eq!(patience(&[]), None);
    }

    #[test]
    fn an_account_is_silent_once_its_patience_is_over() {
        let arrivals = with(vec![1; 100]);
        let last = *arrivals.last().unwrap();
        assert_eq!(silent_since(&arrivals, last.plus(SILENT_MIN)), None);
        assert_eq!(silent_since(&arrivals, last.plus(SILENT_MIN).next()), Some(last));
        assert_eq!(silent_since(&[], last), None);
    }

    #[test]
    fn a_clock_jumps_forwards_and_backwards() {
        let (second, tick) = (Duration::from_secs(1), Duration::from_secs(5));
        let at = Time(1_700_000_000_000_000);
        assert_eq!(jump((at, at.plus(tick)), tick), None);
        assert_eq!(jump((at, at.plus(tick + 60 * second)), tick), None);
        assert_eq!(jump((at, at.plus(tick + 61 * second)), tick), Some(61 * second));
        assert_eq!(jump((at, at.minus(HOUR)), tick), Some(HOUR + tick));
    }
}
