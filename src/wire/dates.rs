//! Dates as providers write them that name no offset, and HTTP's own.

use crate::domain::time::{NotATime, OffsetTime, Time};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use std::time::Duration;

/// `13/02/2026, 11:46:21` in `zone`: day, month, year and 24 hours, as JavaScript prints pt-BR; older ones without the
/// comma.
pub fn pt_br(text: &str, zone: &TimeZone) -> Result<OffsetTime, NotATime> {
    let (date, time) = text.split_once(' ').ok_or(NotATime)?;
    let [day, month, year] = numbers(date.strip_suffix(',').unwrap_or(date), '/', [2, 2, 4])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let part = |number: i16| i8::try_from(number).map_err(|_| NotATime);
    let civil = DateTime::new(year, part(month)?, part(day)?, part(hour)?, part(minute)?, part(second)?, 0);
    OffsetTime::civil(civil.map_err(|_| NotATime)?, zone)
}

/// `2026-02-20 09:12:23` in a zone.
pub fn seconds(text: &str, zone: &TimeZone) -> Result<OffsetTime, NotATime> {
    const SHAPE: &str = "0000-00-00 00:00:00";
    let fits = |(shape, byte): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    if text.len() != SHAPE.len() || !SHAPE.bytes().zip(text.bytes()).all(fits) {
        return Err(NotATime);
    }
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).map_err(|_| NotATime)?;
    OffsetTime::civil(civil, zone)
}

/// A day as files write it: `2026-02-13`, or day first, `13/02/2026`.
pub fn day(text: &str) -> Result<Date, NotATime> {
    let part = |number: i16| i8::try_from(number).map_err(|_| NotATime);
    let [day, month, year] = match numbers(text, '-', [4, 2, 2]) {
        Ok([year, month, day]) => [day, month, year],
        Err(_) => numbers(text, '/', [2, 2, 4])?,
    };
    Date::new(year, part(month)?, part(day)?).map_err(|_| NotATime)
}

/// The pause that a Retry-After header asks for: seconds, or a date.
pub fn retry_after(text: &str, now: Time) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Time(until.timestamp().as_microsecond()).since(now))
}

/// Exactly `N` numbers of so many digits each.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Result<[i16; N], NotATime> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits).ok_or(NotATime)?;
        let plain = part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| plain).ok_or(NotATime)?;
    }
    if parts.next().is_some() { Err(NotATime) } else { Ok(numbers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (text, expected) in [
            ("2026-02-13", Some("2026-02-13")),
            ("13/02/2026", Some("2026-02-13")),
            ("02/13/2026", None),
            ("2026-2-13", None),
            ("2026-02-30", None),
            ("13-02-2026", None),
            ("13/02/26", None),
            ("", None),
        ] {
            assert_eq!(day(text).map(|day| day.to_string()).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn pt_br_dates() {
        let zone = TimeZone::get("America/Sao_Paulo").unwrap();
        let cases = [
            ("13/02/2026, 11:46:21", Some("2026-02-13T11:46:21.000000-03:00")),
            ("13/02/2026 11:46:21", Some("2026-02-13T11:46:21.000000-03:00")),
            ("01/12/2018, 23:59:59", Some("2018-12-01T23:59:59.000000-02:00")),
            ("29/02/2024, 00:00:00", Some("2024-02-29T00:00:00.000000-03:00")),
            ("29/02/2026, 00:00:00", None),
            ("02/13/2026, 11:46:21", None),
            ("13/02/2026, 24:00:00", None),
            ("13/02/2026, 11:60:00", None),
            ("3/2/2026, 11:46:21", None),
            ("13/02/26, 11:46:21", None),
            ("13/02/2026,11:46:21", None),
            ("13/02/2026, 11:46", None),
            ("13/02/2026, 11:46:21 PM", None),
            ("13/02/2026, +1:-6:21", None),
            ("1²/02/2026, 11:46:21", None),
            ("13/02/2026/1, 11:46:21", None),
            ("2026-02-13 11:46:21", None),
            ("00/00/0000, 00:00:00", None),
            ("", None),
            (" ", None),
        ];
        for (text, expected) in cases {
            let read = pt_br(text, &zone).ok().map(|told| told.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn seconds_in_a_zone() {
        let zone = TimeZone::get("America/Sao_Paulo").unwrap();
        let shown = |text: &str| seconds(text, &zone).map(|told| told.to_string());
        assert_eq!(shown("2026-02-20 09:12:23").as_deref(), Ok("2026-02-20T09:12:23.000000-03:00"));
        assert_eq!(shown("2018-01-20 09:12:23").as_deref(), Ok("2018-01-20T09:12:23.000000-02:00"), "summer");
        for bad in ["", "2026-02-20", "2026-02-20T09:12:23", "2026-02-30 09:12:23", "2026-02-20 25:12:23"] {
            assert_eq!(shown(bad), Err(NotATime), "{bad}");
        }
        for bad in
            ["2026-02-20 09:12:23Z", " 026-02-20 09:12:23", "+026-02-20 09:12:23", "20/02/2026 09:12:23"]
        {
            assert_eq!(shown(bad), Err(NotATime), "{bad}");
        }
    }

    #[test]
    fn retry_after_in_seconds_or_as_a_date() {
        let now = Time::parse("1994-11-06T08:49:00Z").unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:48:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
