//! A month of the books, and what is recorded when it is closed. Closing freezes nothing, because nothing ever changes: it
//! draws a line, so that what is learnt later about the month can be told apart.

use super::chain::Hash;
use super::ids::Seq;
use super::seal::Signed;
use super::time::{NotATime, Time};
use bincode::{Decode, Encode};
use jiff::tz::TimeZone;
use std::fmt;

/// Months outside of these years are slips of the pen.
const YEARS: std::ops::RangeInclusive<u16> = 1970..=2999;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Debug)]
pub struct Month {
    year: u16,
    month: u8,
}

/// Which of the two moments that a closing records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// After the last entry that was recorded before the month's end.
    End,
    /// After the last entry there was when the month was closed.
    Close,
}

/// A point of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Mark {
    pub seq: Seq,
    pub hash: Hash,
}

/// A closed month. Its balances at both moments lie beside it.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Closing {
    pub month: Month,
    /// Where the month's days begin and end.
    pub timezone: String,
    /// Inclusive.
    pub from: Time,
    /// Exclusive.
    pub to: Time,
    pub closed_at: Time,
    /// The subject of the token that closed it, if it has one.
    pub closed_by: Option<String>,
    pub end: Mark,
    pub close: Mark,
    pub signed: Signed,
}

/// A closed month as far as later entries go: those that happened within it are its corrections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    pub month: Month,
    from: Time,
    to: Time,
}

impl Month {
    /// As `2026-11`.
    pub fn parse(text: &str) -> Option<Month> {
        let (year, month) = text.split_once('-')?;
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        (YEARS.contains(&year) && (1..=12).contains(&month)).then_some(Month { year, month })
    }

    /// When it begins (inclusive) and ends (exclusive) in a zone.
    pub fn span(self, zone: &TimeZone) -> Result<(Time, Time), NotATime> {
        let begins = |month: Month| Time::day(&format!("{month}-01"), zone);
        Ok((begins(self)?, begins(self.next())?))
    }

    fn next(self) -> Month {
        let Month { year, month } = self;
        if month < 12 { Month { year, month: month + 1 } } else { Month { year: year + 1, month: 1 } }
    }

    /// Bytes that sort as months do.
    pub fn key(self) -> [u8; 3] {
        let [high, low] = self.year.to_be_bytes();
        [high, low, self.month]
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl Closed {
    pub fn of(closing: &Closing) -> Closed {
        Closed { month: closing.month, from: closing.from, to: closing.to }
    }

    pub fn holds(&self, time: Time) -> bool {
        self.from <= time && time < self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_strictly_and_end_where_the_next_begins() {
        let zone = TimeZone::get("America/Sao_Paulo").unwrap();
        let span = |text: &str| {
            let (from, to) = Month::parse(text).unwrap().span(&zone).unwrap();
            (from.to_string(), to.to_string())
        };
        let begins = |day: &str| format!("{day}T03:00:00.000000Z");
        assert_eq!(span("2026-11"), (begins("2026-11-01"), begins("2026-12-01")));
        assert_eq!(span("2025-12"), (begins("2025-12-01"), begins("2026-01-01")));
        assert_eq!(Month::parse("2026-02").unwrap().to_string(), "2026-02");
        for bad in [
            "2026-13",
            "2026-00",
            "2026-1",
            "26-01",
            "2026/01",
            "1969-12",
            "3000-01",
            "+026-01",
            "2026-01-01",
            "",
        ] {
            assert_eq!(Month::parse(bad), None, "{bad}");
        }
        assert!(Month::parse("2025-12").unwrap().key() < Month::parse("2026-01").unwrap().key());
    }
}
