//! Performs a [`Call`]: follows no redirect, asks no proxy, keeps no cookie, reads at most 1 MiB, ends in time. An answer
//! without an end is read piece by piece.

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

/// An answer that is read as it comes.
pub struct Incoming(reqwest::Response);

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
        Client::of(reqwest::Client::builder().timeout(timeout).connect_timeout(timeout))
    }

    /// For answers that go on as long as they like, but are never silent for longer than this.
    pub fn patient(silence_max: Duration) -> Result<Client, NoAnswer> {
        Client::of(reqwest::Client::builder().read_timeout(silence_max).connect_timeout(silence_max))
    }

    fn of(builder: reqwest::ClientBuilder) -> Result<Client, NoAnswer> {
        let builder = builder.redirect(Policy::none()).no_proxy().pool_idle_timeout(Duration::from_secs(30));
        let client = builder.build().map_err(|error| NoAnswer::Unmakeable(cause(&error)))?;
        Ok(Client { client })
    }

    pub async fn perform(&self, call: &Call) -> Result<Answer, NoAnswer> {
        self.open(call).await?.whole().await
    }

    /// The same, with the body still to come.
    pub async fn open(&self, call: &Call) -> Result<Incoming, NoAnswer> {
        let request = self.request(call)?;
        Ok(Incoming(self.client.execute(request).await.map_err(explain)?))
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

impl Incoming {
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub fn content_type(&self) -> Option<&str> {
        self.text(CONTENT_TYPE)
    }

    fn text(&self, name: HeaderName) -> Option<&str> {
        self.0.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The next bytes of the body; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, NoAnswer> {
        Ok(self.0.chunk().await.map_err(explain)?.map(|bytes| bytes.to_vec()))
    }

    /// The rest of the body, and all of the answer.
    pub async fn whole(mut self) -> Result<Answer, NoAnswer> {
        let mut answer = Answer {
            status: self.status(),
            content_type: self.content_type().map(str::to_owned),
            retry_after: self.text(RETRY_AFTER).and_then(retry_after),
            body: Vec::new(),
        };
        while let Some(bytes) = self.0.chunk().await.map_err(explain)? {
            if answer.body.len() + bytes.len() > ANSWER_BYTES_MAX {
                return Err(NoAnswer::TooLarge);
            }
            answer.body.extend_from_slice(&bytes);
        }
        Ok(answer)
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
