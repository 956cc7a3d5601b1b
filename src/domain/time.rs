//! Time as data: an instant, and an instant with the offset it was told in. No clock here; times are passed in.

use bincode::{Decode, Encode};
use jiff::tz::{Offset, TimeZone};
use std::fmt;
use std::time::Duration;

/// An instant in microseconds since 1970, shown as RFC 3339 UTC with six decimals (so text sorts as time does).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Time(pub i64);

/// An instant as a provider told it: the offset it used is kept for people to read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct OffsetTime {
    pub at: Time,
    offset_seconds: i32,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a time such as 2026-03-02T18:00:00-03:00")]
pub struct NotATime;

/// Years 0001 to 9998: what RFC 3339 can show.
const SHOWN: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_370_764_800_000_000;

impl Time {
    pub fn plus(self, pause: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, pause: Duration) -> Time {
        Time(self.0.saturating_sub(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to `self`, zero if it is the other way round.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The next instant that can be told apart.
    pub fn next(self) -> Time {
        Time(self.0.saturating_add(1))
    }

    pub fn from_seconds(seconds: i64) -> Option<Time> {
        seconds.checked_mul(1_000_000).filter(|us| SHOWN.contains(us)).map(Time)
    }

    pub fn parse(text: &str) -> Result<Time, NotATime> {
        OffsetTime::parse(text).map(|told| told.at)
    }

    /// When a day such as 2026-11-01 begins in a zone: where clocks skip midnight, at the first instant after.
    pub fn day(text: &str, zone: &TimeZone) -> Result<Time, NotATime> {
        let date = jiff::civil::Date::strptime("%Y-%m-%d", text).map_err(|_| NotATime)?;
        OffsetTime::civil(date.at(0, 0, 0, 0), zone).map(|told| told.at)
    }

    /// When the day that this lies in begins and ends (exclusive) in a zone.
    pub fn day_around(self, zone: &TimeZone) -> Result<(Time, Time), NotATime> {
        let date = zone.to_datetime(self.timestamp()).date();
        let next = date.tomorrow().map_err(|_| NotATime)?;
        let begins = |date: jiff::civil::Date| OffsetTime::civil(date.at(0, 0, 0, 0), zone).map(|it| it.at);
        Ok((begins(date)?, begins(next)?))
    }

    /// The day it lies in, in a zone.
    pub fn date(self, zone: &TimeZone) -> jiff::civil::Date {
        zone.to_datetime(self.timestamp()).date()
    }

    fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0.clamp(*SHOWN.start(), *SHOWN.end())).unwrap_or_default()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.timestamp())
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl OffsetTime {
    pub fn utc(at: Time) -> Self {
        OffsetTime { at, offset_seconds: 0 }
    }

    /// RFC 3339 with an offset or `Z`.
    pub fn parse(text: &str) -> Result<Self, NotATime> {
        if text.len() > 64 {
            return Err(NotATime);
        }
        let pieces = jiff::fmt::temporal::DateTimeParser::new().parse_pieces(text).map_err(|_| NotATime)?;
        let (Some(time), Some(offset)) = (pieces.time(), pieces.to_numeric_offset()) else {
            return Err(NotATime);
        };
        let civil = pieces.date().to_datetime(time);
        let at = offset.to_timestamp(civil).map_err(|_| NotATime)?;
        Ok(OffsetTime { at: checked(at)?, offset_seconds: offset.seconds() })
    }

    /// The last moment of a day such as 2026-11-01 in a zone.
    pub fn end_of_day(date: jiff::civil::Date, zone: &TimeZone) -> Result<Self, NotATime> {
        Self::civil(date.at(23, 59, 59, 999_999_000), zone)
    }

    /// A civil time in a zone, as providers write that name no offset. In a gap or fold: the earlier offset.
    pub fn civil(when: jiff::civil::DateTime, zone: &TimeZone) -> Result<Self, NotATime> {
        let zoned = zone.to_zoned(when).map_err(|_| NotATime)?;
        Ok(OffsetTime { at: checked(zoned.timestamp())?, offset_seconds: zoned.offset().seconds() })
    }
}

fn checked(at: jiff::Timestamp) -> Result<Time, NotATime> {
    let us = at.as_microsecond();
    if SHOWN.contains(&us) { Ok(Time(us)) } else { Err(NotATime) }
}

impl fmt::Display for OffsetTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offset_seconds == 0 {
            return fmt::Display::fmt(&self.at, f);
        }
        let offset = Offset::from_seconds(self.offset_seconds).unwrap_or(Offset::UTC);
        write!(f, "{:.6}", self.at.timestamp().display_with_offset(offset))
    }
}

impl fmt::Debug for OffsetTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_where_it_is() {
        let begins = |day: &str, zone: &str| {
            Time::day(day, &TimeZone::get(zone).unwrap()).map(|time| time.to_string())
        };
        for (day, zone, expected) in [
            ("2026-11-01", "America/Sao_Paulo", "2026-11-01T03:00:00.000000Z"),
            ("2026-11-01", "UTC", "2026-11-01T00:00:00.000000Z"),
            // Summer time began at midnight: the day had none.
            ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00.000000Z"),
            ("2018-11-05", "America/Sao_Paulo", "2018-11-05T02:00:00.000000Z"),
            // Clocks went back from midnight: only the day before was longer.
            ("2019-02-17", "America/Sao_Paulo", "2019-02-17T03:00:00.000000Z"),
            // Clocks went back to midnight: the day had two, and begins at the first.
            ("2025-11-02", "America/Havana", "2025-11-02T04:00:00.000000Z"),
        ] {
            assert_eq!(begins(day, zone).as_deref(), Ok(expected), "{day} in {zone}");
        }
        for bad in ["2026-11", "2026-02-30", "2026-11-01T00:00", "today", ""] {
            assert!(begins(bad, "UTC").is_err(), "{bad}");
        }
    }

    #[test]
    fn keeps_the_offset_it_was_told() {
        let told = OffsetTime::parse("2026-03-02T18:00:00-03:00").unwrap();
        assert_eq!(told.to_string(), "2026-03-02T18:00:00.000000-03:00");
        assert_eq!(told.at.to_string(), "2026-03-02T21:00:00.000000Z");
        assert_eq!(
            OffsetTime::parse("2026-03-02T21:00:00Z").unwrap().to_string(),
            "2026-03-02T21:00:00.000000Z"
        );
        for bad in ["2026-03-02", "2026-03-02T18:00:00", "yesterday", "2026-13-02T18:00:00Z", ""] {
            assert!(OffsetTime::parse(bad).is_err(), "{bad}");
        }
    }
}
