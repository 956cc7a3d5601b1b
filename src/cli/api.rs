//! A running daemon's API as a command reaches it: where it answers, and a token for it. Both follow from the
//! configuration, unless they are given.

use crate::auth::{Grant, Keys, mint};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use anyhow::bail;
use secrecy::SecretString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use url::Url;

/// A token lives no longer than a command that only asks something; who follows makes a new one.
const TOKEN_TTL: Duration = Duration::from_secs(900);

/// What a command is to the daemon.
#[derive(Clone, Copy)]
pub struct Caller {
    pub subject: &'static str,
    /// Scopes with spaces between them.
    pub scopes: &'static str,
}

pub struct Api {
    /// Without a slash at its end.
    pub base: String,
    access: Access,
}

enum Access {
    Given(SecretString),
    Own { keys: Keys, issuer: String, audience: String, caller: Caller },
}

impl Api {
    /// What is not given follows from the configuration, which is read only if something is missing.
    pub fn given(
        url: Option<&str>,
        token: Option<&str>,
        config: impl Fn() -> anyhow::Result<Config>,
        caller: Caller,
    ) -> anyhow::Result<Api> {
        let base = match url {
            Some(url) => checked("--url", url)?,
            None => base(&config()?),
        };
        let access = match token {
            Some(token) => Access::Given(token.into()),
            None => Access::own(&config()?, caller)?,
        };
        Ok(Api { base, access })
    }

    /// A token that is valid from now on, as far as that is in our hand.
    pub fn token(&self) -> anyhow::Result<SecretString> {
        match &self.access {
            Access::Given(token) => Ok(token.clone()),
            Access::Own { keys, issuer, audience, caller } => {
                let Caller { subject, scopes } = *caller;
                let grant = Grant { subject, scopes, accounts: &[], ttl: TOKEN_TTL };
                Ok(mint(keys, issuer, audience, &grant, SystemClock.now())?.into())
            }
        }
    }

    /// Whether an expired token is replaced by a new one.
    pub fn renews(&self) -> bool {
        match &self.access {
            Access::Given(_) => false,
            Access::Own { .. } => true,
        }
    }
}

impl Access {
    fn own(config: &Config, caller: Caller) -> anyhow::Result<Access> {
        let keys = Keys::load(&config.auth, &config.data.dir)?.keys;
        let (issuer, audience) = (config.auth.issuer.clone(), config.auth.audience.clone());
        Ok(Access::Own { keys, issuer, audience, caller })
    }
}

fn base(config: &Config) -> String {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", reachable(config.server.listen))
}

/// An address that paths are appended to, as an argument gave it.
pub fn checked(argument: &str, url: &str) -> anyhow::Result<String> {
    let odd = |url: &Url| url.host().is_none() || url.query().is_some() || url.fragment().is_some();
    match Url::parse(url) {
        Ok(parsed) if ["http", "https"].contains(&parsed.scheme()) && !odd(&parsed) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        Ok(_) | Err(_) => {
            bail!("{argument} is an address such as https://razao.example.com, without a query")
        }
    }
}

/// An address that listens everywhere is reached on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
