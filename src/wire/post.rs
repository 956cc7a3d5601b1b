//! An event on its way to a target, as data, and what came back. Where it goes and what it carries do not print.

use secrecy::SecretString;
use std::fmt;

/// A request with a JSON body. Names of headers are lower-case; all values count as secret.
pub struct Post {
    pub url: SecretString,
    pub headers: Vec<(String, SecretString)>,
    pub body: String,
}

/// A target's answer: its status, and the beginning of its body.
#[derive(Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    /// The Retry-After header as it came.
    pub retry_after: Option<String>,
    pub body_start: Vec<u8>,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)
    }
}
