//! Durations, sizes, rates, addresses: how they are written.

use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Longer than anything here is meant to last, and short enough for sums.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];
const BYTE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const RATE_UNITS: &[(&str, u64)] = &[("s", 1), ("m", 60), ("h", 3_600)];

/// So many within each such time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnitError {
    #[error("not a duration; write a whole number above 0 and a unit: 500ms, 10s, 5m, 1h, 90d")]
    Duration,
    #[error("longer than 100 years")]
    TooLong,
    #[error("not a size; write a whole number and a unit: 512MiB, 2GiB")]
    Bytes,
    #[error("not a rate; write so many a second, minute or hour: 2000/s, 100/m")]
    Rate,
    #[error("not an address and port, such as 127.0.0.1:8080 or [::1]:8080")]
    Socket,
    #[error("neither an address nor a network, such as 10.0.0.7 or 10.0.0.0/8")]
    Network,
    #[error("not an address such as https://api.example.com, without user, query and fragment")]
    Url,
    #[error("not an origin such as https://shop.example.com, without a path")]
    Origin,
    #[error("not a time zone; write one such as America/Sao_Paulo")]
    Zone,
}

pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let (count, millis) = counted(text, DURATION_UNITS).ok_or(UnitError::Duration)?;
    if count == 0 {
        return Err(UnitError::Duration);
    }
    let millis = count.checked_mul(millis).ok_or(UnitError::TooLong)?;
    Some(Duration::from_millis(millis)).filter(|duration| *duration <= DURATION_MAX).ok_or(UnitError::TooLong)
}

pub fn bytes(text: &str) -> Result<u64, UnitError> {
    let (count, unit) = counted(text, BYTE_UNITS).ok_or(UnitError::Bytes)?;
    count.checked_mul(unit).ok_or(UnitError::Bytes)
}

pub fn rate(text: &str) -> Result<Rate, UnitError> {
    let (count, unit) = text.split_once('/').ok_or(UnitError::Rate)?;
    let (_, seconds) = RATE_UNITS.iter().find(|(known, _)| *known == unit).ok_or(UnitError::Rate)?;
    let count = whole(count).and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
    Ok(Rate { count: count.ok_or(UnitError::Rate)?, per: Duration::from_secs(*seconds) })
}

pub fn socket(text: &str) -> Result<SocketAddr, UnitError> {
    text.parse().map_err(|_| UnitError::Socket)
}

/// A network, or one address as the network of itself.
pub fn network(text: &str) -> Result<IpNet, UnitError> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| UnitError::Network)
}

/// An http or https address, without a trailing slash.
pub fn url(text: &str) -> Result<String, UnitError> {
    let (_, rest) = scheme(text).ok_or(UnitError::Url)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\\"<>".contains(&byte));
    if !plain || host(authority).is_none() {
        return Err(UnitError::Url);
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// What a browser sends as `Origin`, or `*` for all of them.
pub fn origin(text: &str) -> Result<String, UnitError> {
    let bare = scheme(text).is_some_and(|(_, authority)| !authority.contains('/'));
    if text == "*" || (bare && url(text).is_ok()) { Ok(text.to_owned()) } else { Err(UnitError::Origin) }
}

pub fn zone(text: &str) -> Result<TimeZone, UnitError> {
    TimeZone::get(text).map_err(|_| UnitError::Zone)
}

/// Whether an address as [`url`] accepts it is spoken to in the clear, beyond this machine.
pub(super) fn travels_in_the_clear(url: &str) -> bool {
    let Some(("http", rest)) = scheme(url) else { return false };
    let name = host(rest.split('/').next().unwrap_or_default()).unwrap_or_default();
    let local = name == "localhost"
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    !local
}

fn scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
}

/// The host of `host`, `host:port` or `[v6]:port`.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, port.strip_prefix(':').or(port.is_empty().then_some("0"))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "0")),
    };
    let named = !host.is_empty() && !host.contains(['[', ']']);
    (named && whole(port).is_some_and(|port| port <= 65_535)).then_some(host)
}

fn counted(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let (_, size) = units.iter().find(|(known, _)| *known == unit)?;
    Some((whole(digits)?, *size))
}

/// Digits alone: `parse` would take a sign.
fn whole(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("90d", Some(7_776_000_000)),
            ("400d", Some(34_560_000_000)),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
        for bad in [
            "",
            "10",
            "s",
            "0s",
            "-1s",
            "+1s",
            "1.5h",
            "1 h",
            "1h30m",
            "10S",
            "99999999999999999999d",
            "37000d",
        ] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_and_rates() {
        let sizes =
            [("512MiB", 536_870_912), ("2GiB", 2_147_483_648), ("1MB", 1_000_000), ("0B", 0), ("17", 17)];
        for (text, size) in sizes {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for bad in ["", "MiB", "1mib", "1.5GiB", "-1B", "99999999TiB"] {
            assert!(bytes(bad).is_err(), "{bad:?}");
        }
        assert_eq!(rate("2000/s"), Ok(Rate { count: 2000, per: Duration::from_secs(1) }));
        assert_eq!(rate("5/h"), Ok(Rate { count: 5, per: Duration::from_secs(3600) }));
        for bad in ["2000", "2000/", "0/s", "/s", "-1/s", "2/d", "9999999999/s", "2000 / s"] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(network("10.0.0.7").unwrap().to_string(), "10.0.0.7/32");
        assert_eq!(network("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        for bad in ["", "10.0.0", "10.0.0.0/33", "example.com"] {
            assert!(network(bad).is_err(), "{bad:?}");
        }
        assert!(socket("[::1]:8080").is_ok());
        for bad in ["", "8080", ":8080", "localhost:8080", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(socket(bad).is_err(), "{bad:?}");
        }
        assert_eq!(url("https://api.example.com/v3//").unwrap(), "https://api.example.com/v3");
        assert_eq!(url("http://[::1]:9901/").unwrap(), "http://[::1]:9901");
        for bad in [
            "",
            "api.example.com",
            "ftp://example.com",
            "https://",
            "https:///x",
            "https://user:secret@example.com",
            "https://example.com?x=1",
            "https://example.com/#x",
            "https://exa mple.com",
            "https://example.com:port",
            "https://example.com:99999",
            "https://[::1",
        ] {
            assert!(url(bad).is_err(), "{bad:?}");
        }
        assert!(origin("https://shop.example.com").is_ok() && origin("*").is_ok());
        assert!(origin("https://shop.example.com/").is_err() && origin("shop.example.com").is_err());
    }

    #[test]
    fn what_travels_in_the_clear() {
        for local in ["http://127.0.0.1:9901", "http://localhost", "http://[::1]:1/x", "https://example.com"]
        {
            assert!(!travels_in_the_clear(local), "{local}");
        }
        for far in ["http://example.com", "http://10.0.0.7:80", "http://localhost.example.com"] {
            assert!(travels_in_the_clear(far), "{far}");
        }
    }

    #[test]
    fn zones() {
        assert!(zone("America/Sao_Paulo").is_ok() && zone("UTC").is_ok());
        for bad in ["", "Brazil", "-03:00", "America/Sao Paulo"] {
            assert!(zone(bad).is_err(), "{bad:?}");
        }
    }
}
