//! What a simulated provider is: it keeps payments, answers calls about them, and says what it would post.
//!
//! Every amount, date, header and word is in the provider's own way. A persona knows nothing of our adapters, and it is
//! strict: a wrong credential, method or path is refused as the real provider would.

use super::life::Life;
use crate::domain::time::Time;

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Still percent-encoded, without the query.
    pub path: String,
    pub query: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    pub status: u16,
    pub content_type: &'static str,
    /// Seconds.
    pub retry_after: Option<u32>,
    pub body: Vec<u8>,
}

/// A callback as it goes over the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    pub headers: Vec<(&'static str, String)>,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// An address that was registered by the provider's own API, and a callback as it goes there.
pub type Subscribed = (String, Outgoing);

/// Something that happens to a payment at the provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    Created,
    /// Money is seen or reserved, and not certain yet.
    InAnalysis,
    Paid,
    /// The money is at the merchant's disposal.
    Completed,
    /// It ended without money.
    Expired,
    /// So many cents went back to the buyer.
    Refunded(i64),
    Disputed,
    DisputeWon,
}

/// When a callback counts as delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledged {
    /// With an answer of this kind.
    By200,
    By2xx,
    /// Once its token was asked about.
    ByQuery,
}

pub trait Persona: Send {
    /// As configuration names the provider.
    fn provider(&self) -> &'static str;

    /// The credentials that an account of ours needs here.
    fn credentials(&self) -> Vec<(&'static str, &'static str)>;

    /// Whether our callback address needs a key, since its callbacks prove nothing.
    fn wants_callback_key(&self) -> bool;

    fn acknowledged(&self) -> Acknowledged;

    /// Whether its API has words for this.
    fn speaks_of(&self, what: Happening) -> bool;

    /// Whether it has words for such a life at all.
    fn plays(&self, _life: Life) -> bool {
        true
    }

    /// A payment of so many cents is made under the merchant's reference. Answers the provider's own name of it, as the
    /// merchant learns it from the creating call.
    fn create(&mut self, reference: &str, cents: i64, now: Time) -> String;

    /// Something happens to it.
    fn happen(&mut self, reference: &str, what: Happening, now: Time);

    /// The callback about what happened last.
    fn callback(&mut self, reference: &str, now: Time) -> Outgoing;

    /// Whether its last callback's token was asked about since `since`; for [`Acknowledged::ByQuery`].
    fn was_asked(&self, reference: &str, since: Time) -> bool;

    /// Where a callback goes by what was registered. Nothing registered, and it goes where the sandbox was told.
    fn subscribed(&self, _outgoing: &Outgoing) -> Vec<Subscribed> {
        Vec::new()
    }

    /// What a callback was answered there; `None`: nothing came back.
    fn delivered(&mut self, _outgoing: &Outgoing, _target: &str, _status: Option<u16>, _now: Time) {}

    /// Its API.
    fn answer(&mut self, request: &Request, now: Time) -> Response;
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a header has exactly this value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.header(name) == Some(value)
    }

    /// The path's segments, percent-decoded.
    pub fn segments(&self) -> Vec<String> {
        let decode = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        self.path.trim_matches('/').split('/').map(decode).collect()
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl Response {
    pub fn json(status: u16, body: impl Into<String>) -> Response {
        let body: String = body.into();
        Response {
            status,
            content_type: "application/json; charset=utf-8",
            retry_after: None,
            body: body.into_bytes(),
        }
    }
}

/// `129.9`: a JSON number in major units, as providers that think in floats print it.
pub fn reais_number(cents: i64) -> String {
    let text = reais(cents);
    let trimmed = text.trim_end_matches('0').trim_end_matches('.');
    if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }
}

/// `129.90`
pub fn reais(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Text as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
