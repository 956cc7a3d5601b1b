//! Which targets may be called: none within somebody's own network, unless that is wanted. Asked when a target is named,
//! and again for every address that is dialled, since a name can change its mind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

const TARGET_CHARS_MAX: usize = 2048;
/// Names that mean this machine or this network without asking anybody.
const PRIVATE_NAMES: [&str; 5] = ["localhost", "local", "internal", "lan", "home.arpa"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    pub allow_private: bool,
    pub require_https: bool,
}

/// Why a target is not called. Says what is wrong with it, never its query.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error("is a URL such as https://shop.example.com/webhooks, of at most {TARGET_CHARS_MAX} characters")]
    Unreadable,
    #[error("begins with https://; webhooks.require_https = false allows http:// too")]
    NotHttps,
    #[error("holds a user name or password; put them into `authorization`")]
    UserInfo,
    #[error("holds a fragment, which is never sent")]
    Fragment,
    #[error("leads to {0}, which is not a public address; webhooks.allow_private = true allows that")]
    Private(String),
}

impl Guard {
    /// What can be said of a target without asking for its addresses.
    pub fn check(&self, target: &str) -> Result<Url, Refused> {
        if target.chars().count() > TARGET_CHARS_MAX || target.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Refused::Unreadable);
        }
        let url = Url::parse(target).map_err(|_| Refused::Unreadable)?;
        match url.scheme() {
            "https" => {}
            "http" if !self.require_https => {}
            "http" => return Err(Refused::NotHttps),
            _ => return Err(Refused::Unreadable),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(Refused::Fragment);
        }
        self.check_host(url.host().ok_or(Refused::Unreadable)?)?;
        Ok(url)
    }

    fn check_host(&self, host: Host<&str>) -> Result<(), Refused> {
        match host {
            Host::Ipv4(address) => self.check_address(address.into()),
            Host::Ipv6(address) => self.check_address(address.into()),
            Host::Domain(name) if !self.allow_private && is_private_name(name) => {
                Err(Refused::Private(name.to_owned()))
            }
            Host::Domain(_) => Ok(()),
        }
    }

    /// Whether this address may be dialled.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refused> {
        let fine = self.allow_private || is_public(address);
        if fine { Ok(()) } else { Err(Refused::Private(address.to_string())) }
    }
}

fn is_private_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below = |private: &&str| {
        name.strip_suffix(*private).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    PRIVATE_NAMES.iter().any(below)
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By IANA's registry of special-purpose addresses: what is not globally reachable is not public.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, _, _)
    );
    !special
}

/// Only 2000::/3 is given out; within it and beside it, forms that carry an IPv4 address are judged by that.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let carried =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b) {
        // ::ffff:0:0/96, mapped; 64:ff9b::/96, NAT64; 2002::/16, 6to4.
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => carried(g, h),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => carried(g, h),
        (0x2002, high) => carried(high, c),
        // Protocol assignments with Teredo, and documentation.
        (0x2001, 0..=0x01ff | 0x0db8) | (0x3fff, 0..=0x0fff) => false,
        (0x2000..=0x3fff, _) => true,
        (_, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Guard = Guard { allow_private: false, require_https: true };

    #[test]
    fn addresses() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ];
        let private = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.2.3",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for (addresses, allowed) in [(&public[..], true), (&private[..], false)] {
            for text in addresses {
                let address: IpAddr = text.parse().unwrap();
                assert_eq!(STRICT.check_address(address).is_ok(), allowed, "{text}");
                let lax = Guard { allow_private: true, ..STRICT };
                assert_eq!(lax.check_address(address), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn targets() {
        let ok = [
            "https://shop.example.com/hooks",
            "https://shop.example.com:8443/?a=b",
            "https://1.1.1.1/",
            "https://[2606:4700::1111]:444/x",
        ];
        for target in ok {
            assert!(STRICT.check(target).is_ok(), "{target}");
        }
        let private = [
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://metadata.google.internal/",
            "https://printer.local",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://①②⑦.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:7f00:1]/",
            "https://169.254.169.254/latest",
            "https://0/",
            "https://127.0.0.1.:443/",
        ];
        for target in private {
            assert!(matches!(STRICT.check(target), Err(Refused::Private(_))), "{target}");
        }
        for (target, why) in [
            ("http://shop.example.com/", Refused::NotHttps),
            ("ftp://shop.example.com/", Refused::Unreadable),
            ("file:///etc/passwd", Refused::Unreadable),
            ("shop.example.com", Refused::Unreadable),
            ("https://", Refused::Unreadable),
            ("https://shop.example.com/a b", Refused::Unreadable),
            ("https://shop.example.com/\n", Refused::Unreadable),
            ("", Refused::Unreadable),
            ("https://ana:secret@shop.example.com/", Refused::UserInfo),
            ("https://ana@shop.example.com/", Refused::UserInfo),
            ("https://shop.example.com/#part", Refused::Fragment),
        ] {
            assert_eq!(STRICT.check(target), Err(why), "{target}");
        }
        let long = format!("https://shop.example.com/{}", "a".repeat(TARGET_CHARS_MAX));
        assert_eq!(STRICT.check(&long), Err(Refused::Unreadable));
        let lax = Guard { allow_private: true, require_https: false };
        assert!(lax.check("http://127.0.0.1:9/").is_ok() && lax.check("http://localhost/").is_ok());
    }
}
