//! Performs a [`Call`]: follows no redirect, asks no proxy, keeps no cookie, reads at most 1 MiB, ends in time.

use crate::wire::call::{Answer, Call, Method};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use secrecy::ExposeSecret;
use std::error::Error;
use std::time::Duration;

/// More than any provider answers to one question.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// A pause that a provider asks for is believed up to a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
}

/// Why no answer came. Says what, never to which query.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("no answer within the time limit")]
    Timeout,
    #[error("no connection: {0}")]
    Connect(String),
    #[error("the answer broke off: {0}")]
    BrokenOff(String),
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the request cannot be made: {0}")]
    Unmakeable(String),
}

impl Client {
    pub fn new(timeout: Duration) -> Result<Client, NoAnswer> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| NoAnswer::Unmakeable(cause(&error)))?;
        Ok(Client { client })
    }

    pub async fn perform(&self, call: &Call) -> Result<Answer, NoAnswer> {
        let request = self.request(call)?;
        let mut response = self.client.execute(request).await.map_err(explain)?;
        let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let mut answer = Answer {
            status: response.status().as_u16(),
            content_type: text(CONTENT_TYPE).map(str::to_owned),
            retry_after: text(RETRY_AFTER).and_then(retry_after),
            body: Vec::new(),
        };
        while let Some(bytes) = response.chunk().await.map_err(explain)? {
            if answer.body.len() + bytes.len() > ANSWER_BYTES_MAX {
                return Err(NoAnswer::TooLarge);
            }
            answer.body.extend_from_slice(&bytes);
        }
        Ok(answer)
    }

    fn request(&self, call: &Call) -> Result<reqwest::Request, NoAnswer> {
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let mut request = self.client.request(method, call.url.expose_secret());
        request = request.header(USER_AGENT, concat!("razao/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &call.headers {
            let unfit =
                || NoAnswer::Unmakeable(format!("the value of header {name} is not fit for a header"));
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| unfit())?;
            value.set_sensitive(true);
            request = request.header(HeaderName::from_static(name), value);
        }
        if let Some(body) = &call.body {
            request =
                request.header(CONTENT_TYPE, body.content_type).body(body.bytes.expose_secret().to_owned());
        }
        request.build().map_err(|error| NoAnswer::Unmakeable(cause(&error)))
    }
}

/// Seconds; the date form is rare among these providers and counts as absent.
fn retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn explain(error: reqwest::Error) -> NoAnswer {
    if error.is_timeout() {
        NoAnswer::Timeout
    } else if error.is_connect() {
        NoAnswer::Connect(cause(&error))
    } else if error.is_builder() {
        NoAnswer::Unmakeable(cause(&error))
    } else {
        NoAnswer::BrokenOff(cause(&error))
    }
}

/// The innermost cause: the outer ones repeat the URL, whose query may be secret.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if innermost.is::<reqwest::Error>() { "unexpected answer".to_owned() } else { innermost.to_string() }
}
