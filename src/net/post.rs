//! Posts an event to a target that the guard lets through: follows no redirect, asks no proxy, ends in time. Every
//! address is checked when it is dialled: names are resolved here, once, and only to what may be called.

use super::guard::{Guard, Refused};
use crate::domain::webhook::Miss;
use crate::wire::post::{Answered, Post};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use secrecy::ExposeSecret;
use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Host;

/// The beginning of an answer that is kept …
const ANSWER_KEPT_BYTES: usize = 1024;
/// … and how much of it is read, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// A target's name is looked up this long when it is named; who has no name server can still name it.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECTIONS_KEPT: usize = 16;

#[derive(Clone)]
pub struct Poster {
    client: reqwest::Client,
    guard: Guard,
}

/// A name without an address.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address: {0}")]
struct Unresolved(String);

struct Guarded(Guard);

impl Poster {
    pub fn new(timeout: Duration, guard: Guard) -> Result<Poster, Box<dyn Error + Send + Sync>> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(CONNECTIONS_KEPT)
            .dns_resolver(Arc::new(Guarded(guard)))
            .build()?;
        Ok(Poster { client, guard })
    }

    /// Whether a target may be named: what it says, and where it leads now. A name that nobody knows yet passes; it is
    /// asked again when it is dialled.
    pub async fn check(&self, target: &str) -> Result<(), Refused> {
        let url = self.guard.check(target)?;
        if let Some(Host::Domain(name)) = url.host() {
            let looked_up = tokio::time::timeout(LOOK_UP_TIMEOUT, look_up(name)).await;
            for address in looked_up.ok().and_then(Result::ok).unwrap_or_default() {
                self.guard.check_address(address.ip())?;
            }
        }
        Ok(())
    }

    /// One attempt. The status decides: an answer that breaks off after it is an answer.
    pub async fn post(&self, post: Post) -> Result<Answered, Miss> {
        // Literal addresses never reach the resolver.
        self.guard.check(post.url.expose_secret()).map_err(|refused| match refused {
            Refused::Private(_) | Refused::NotHttps => Miss::Forbidden,
            Refused::Unreadable | Refused::UserInfo | Refused::Fragment => Miss::Unmakeable,
        })?;
        let mut response = self.client.execute(self.request(post)?).await.map_err(|error| explain(&error))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let mut answered = Answered {
            status: response.status().as_u16(),
            retry_after: retry_after.map(str::to_owned),
            body_start: Vec::new(),
        };
        let mut bytes_read = 0;
        while let Ok(Some(bytes)) = response.chunk().await {
            let room = ANSWER_KEPT_BYTES.saturating_sub(answered.body_start.len());
            answered.body_start.extend(bytes.iter().take(room));
            bytes_read += bytes.len();
            if bytes_read > ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(answered)
    }

    fn request(&self, post: Post) -> Result<reqwest::Request, Miss> {
        let mut request = self.client.post(post.url.expose_secret());
        for (name, value) in &post.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Miss::Unmakeable)?;
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| Miss::Unmakeable)?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        request.body(post.body).build().map_err(|_| Miss::Unmakeable)
    }
}

async fn look_up(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0;
        Box::pin(async move {
            let found = look_up(name.as_str()).await.map_err(|error| Unresolved(error.to_string()))?;
            if found.is_empty() {
                return Err(Unresolved("nobody knows it".to_owned()).into());
            }
            // One forbidden address is enough: it would be luck which of them is dialled.
            found.iter().try_for_each(|address| guard.check_address(address.ip()))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What kept the answer away, by the kinds of the errors that caused it.
fn explain(error: &reqwest::Error) -> Miss {
    let mut kinds = Vec::new();
    let mut at: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = at {
        if error.is::<Refused>() {
            return Miss::Forbidden;
        }
        if error.is::<Unresolved>() {
            return Miss::Dns;
        }
        if error.is::<rustls::Error>() {
            return Miss::Tls;
        }
        let io = error.downcast_ref::<std::io::Error>();
        kinds.extend(io.map(std::io::Error::kind));
        // An io::Error hides what it wraps from `source`.
        let wrapped = io.and_then(std::io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        at = wrapped.or_else(|| error.source());
    }
    by_kind(error, &kinds)
}

fn by_kind(error: &reqwest::Error, kinds: &[ErrorKind]) -> Miss {
    let any = |wanted: &[ErrorKind]| kinds.iter().any(|kind| wanted.contains(kind));
    let broken = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
        ErrorKind::NotConnected,
    ];
    if error.is_timeout() || any(&[ErrorKind::TimedOut]) {
        Miss::Timeout
    } else if any(&[ErrorKind::ConnectionRefused]) {
        Miss::Refused
    } else if any(&[ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable, ErrorKind::AddrNotAvailable]) {
        Miss::Unreachable
    } else if error.is_connect() && any(&[ErrorKind::InvalidData]) {
        Miss::Tls
    } else if any(&broken) {
        Miss::Reset
    } else if error.is_connect() {
        Miss::Unreachable
    } else if error.is_builder() {
        Miss::Unmakeable
    } else {
        broken_off(error)
    }
}

/// The client says by its text alone whether the connection ended before an answer or whether the answer was not HTTP.
fn broken_off(error: &reqwest::Error) -> Miss {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    if text.contains("closed") || text.contains("canceled") { Miss::Reset } else { Miss::Unreadable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_into_this_machine_is_not_dialled() {
        let strict = Guard { allow_private: false, require_https: false };
        let resolve = async |guard: Guard| {
            // The file of hosts knows it without any name server.
            Guarded(guard).resolve("localhost".parse().unwrap()).await.map(Iterator::count)
        };
        assert!(resolve(strict).await.unwrap_err().is::<Refused>());
        assert!(resolve(Guard { allow_private: true, ..strict }).await.unwrap() > 0);
    }
}
