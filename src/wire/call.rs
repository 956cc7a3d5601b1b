//! An HTTP request as data, and its answer. What performs it lives in `net/`. Secrets do not print.

use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Post,
    Put,
}

/// A request to be made. The URL and all headers count as secret: some providers take their credential there.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub url: SecretString,
    pub headers: Vec<(&'static str, SecretString)>,
    pub body: Option<Body>,
}

#[derive(Clone)]
pub struct Body {
    pub content_type: &'static str,
    pub bytes: SecretString,
}

/// What came back: at most 1 MiB of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }
}

impl Call {
    pub fn get(url: String) -> Call {
        Call { method: Method::Get, url: url.into(), headers: Vec::new(), body: None }
    }

    pub fn post(url: String, content_type: &'static str, bytes: &str) -> Call {
        let body = Body { content_type, bytes: bytes.into() };
        Call { method: Method::Post, url: url.into(), headers: Vec::new(), body: Some(body) }
    }

    pub fn header(mut self, name: &'static str, value: &SecretString) -> Call {
        self.headers.push((name, value.clone()));
        self
    }

    /// With a bearer token, where there is one.
    pub fn bearer(self, token: Option<&SecretString>) -> Call {
        let value = token.map(|token| SecretString::from(format!("Bearer {}", token.expose_secret())));
        value.iter().fold(self, |call, value| call.header("authorization", value))
    }

    /// The address without its query, where some providers take a credential.
    pub fn shown_url(&self) -> &str {
        self.url.expose_secret().split(['?', '#']).next().unwrap_or("")
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.shown_url())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

/// Hostile text as exactly one path segment. (`.` and `..` are refused long before: URL libraries read `%2E%2E` as
/// `..`, so encoding does not disarm them.)
pub fn segment(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.');
    utf8_percent_encode(text, KEPT).to_string()
}
