//! What a provider is to this house: read this before any adapter.
//!
//! An adapter knows facts about one provider and nothing else. It performs no calls: it says what to ask ([`Call`] as
//! data) and what an answer means. A callback becomes a [`Notice`]: findings it proves itself (GenPag), questions that
//! must be asked before anything is known (PicPay, Efí, Yapay, 4P), or neither (it speaks of no order).

use super::registrar::Registrar;
use crate::domain::evidence::{Amount, Identity};
use crate::domain::ids::{AccountId, EventId, ProviderRef, Reference, Token};
use crate::domain::money::{Currency, Money, MoneyError};
use crate::domain::state::Word;
use crate::domain::time::{OffsetTime, Time};
use crate::schedule::limiter::Allowance;
use crate::wire::call::{Answer, Call};
use crate::wire::json::Json;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How much of an unreadable literal is kept for people to read.
const LITERAL_CHARS_KEPT: usize = 40;

/// The facts about a provider that configuration, documents and the door need.
#[derive(Debug)]
pub struct Spec {
    /// As `provider = "…"` names it.
    pub id: &'static str,
    /// As people name it.
    pub name: &'static str,
    /// Its production address.
    pub base_url: &'static str,
    pub credentials: &'static [Credential],
    /// Whether its callbacks carry no credential, so that the URL must hold a key of ours.
    pub needs_callback_key: bool,
    /// The shape of its callback in words, for the door's answer to other shapes.
    pub callback_shape: &'static str,
    /// Where the callback URL is entered at the provider, in words for whoever connects an account.
    pub callback_entry: &'static str,
    pub polling: Polling,
    /// What the columns of its settlement file are called, where it has one.
    pub settlement: Option<Columns>,
}

/// Our columns of a settlement file, each with the provider's name for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Columns {
    pub names: &'static [(&'static str, &'static str)],
    /// Whether nobody documents them: a guess, to be compared with a real file.
    pub assumed: bool,
}

#[derive(Debug)]
pub struct Credential {
    pub name: &'static str,
    pub required: bool,
}

impl Columns {
    pub const fn assumed(names: &'static [(&'static str, &'static str)]) -> Columns {
        Columns { names, assumed: true }
    }
}

/// How much asking without a callback a provider bears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Polling {
    /// The shortest pause between two polls of one order, where the configuration chooses none.
    pub pause_min: Duration,
    /// How many polls of one account, at most.
    pub quota: Option<Allowance>,
}

/// One merchant account, as far as its adapter needs it.
#[derive(Clone, Debug)]
pub struct Merchant {
    pub id: AccountId,
    pub currency: Currency,
    /// For provider times without a zone.
    pub zone: TimeZone,
    /// Without a trailing slash.
    pub base_url: String,
    pub credentials: Credentials,
}

/// Credential values by name; of several the first is used, all are accepted.
#[derive(Clone, Default)]
pub struct Credentials(pub BTreeMap<String, Vec<SecretString>>);

/// A callback as it stands at the door.
pub struct Incoming<'a> {
    /// Lower-case names.
    pub headers: &'a [(String, String)],
    pub content_type: Option<&'a str>,
    pub query: Option<&'a str>,
    pub body: &'a [u8],
}

/// Its credential is not the account's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the callback's credential is not this account's")]
pub struct Stranger;

/// Its body is not what this provider sends.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {expected}; {found}")]
pub struct Unreadable {
    pub expected: &'static str,
    pub found: String,
}

/// What a callback comes to. Neither findings nor questions: it speaks of no order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notice {
    pub findings: Vec<Finding>,
    pub questions: Vec<Question>,
    /// The provider's own id of the event, where its callbacks carry one.
    pub event: Option<EventId>,
}

/// Something to ask the provider.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Question {
    /// By the merchant's own reference.
    Reference(Reference),
    /// By the provider's name of the payment.
    ProviderRef(ProviderRef),
    /// By a notification token.
    Token(Token),
    /// Through the provider's lists.
    Search(Search),
}

/// How far the search for an order by the merchant's reference is, where a provider only has lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Search {
    pub reference: Reference,
    /// When the order was first known here: lists go by days.
    pub known_since: Time,
    /// So many lists were looked through; which one is next is the adapter's to know.
    pub looked: u8,
    /// What they named.
    pub found: Option<ProviderRef>,
}

/// What is known of an order that shall be polled.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub reference: &'a Reference,
    pub provider_ref: Option<&'a ProviderRef>,
    pub token: Option<&'a Token>,
    /// When the order was first known here.
    pub known_since: Time,
}

/// One reading of one order, by the names the provider has for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub reference: Option<Reference>,
    pub provider_ref: Option<ProviderRef>,
    /// The notification token that leads to more news of it.
    pub token: Option<Token>,
    pub reading: Reading,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// `None`: a word nobody knows, in `provider_status`.
    pub word: Option<Word>,
    pub provider_status: String,
    pub gross: Amount,
    pub fee: Amount,
    pub refunded: Amount,
    pub currency: Option<String>,
    pub proof: bool,
    pub dating: Dating,
    /// When the provider says it happened, where it says so without dating the change.
    pub occurred: Option<OffsetTime>,
    pub identity: Identity,
    pub details: Vec<(String, String)>,
}

/// How a reading is dated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dating {
    /// A snapshot: it was so when the request for it was sent.
    Snapshot,
    /// The provider dates the change itself; believed if not before the payment's creation (where the same message
    /// names one) and at most a day ahead of our clock.
    Told { at: OffsetTime, payment_created: Option<Time> },
}

/// What an answer comes to: findings, and questions that it leaves open.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    pub findings: Vec<Finding>,
    pub questions: Vec<Question>,
}

/// Access that some providers grant for a while in exchange for the credentials.
#[derive(Clone, Debug)]
pub struct Session {
    pub token: SecretString,
    pub lives: Duration,
}

/// Why an answer brought nothing; decides when to ask again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    #[error("the provider does not know it (HTTP {status})")]
    NotThere { status: u16 },
    #[error("the provider refused our credentials (HTTP {status}); check the account's credentials")]
    Credentials { status: u16 },
    #[error("the provider asks us to slow down (HTTP {status})")]
    TooFast { status: u16, retry_after: Option<Duration> },
    #[error("the provider is in trouble (HTTP {status})")]
    Down { status: u16, retry_after: Option<Duration> },
    #[error("the provider broke its word: {0}")]
    Broken(String),
}

pub trait Provider: Sync + Send {
    fn spec(&self) -> &'static Spec;

    /// Whether a callback carries the account's credential. Providers whose callbacks prove nothing say yes; the key in
    /// the URL was compared before.
    fn authenticate(&self, merchant: &Merchant, headers: &[(String, String)]) -> Result<(), Stranger>;

    /// What a callback says. Called at the door, and again whenever its receipt is processed.
    fn hear(&self, merchant: &Merchant, incoming: &Incoming<'_>) -> Result<Notice, Unreadable>;

    /// What to ask about an order without any callback; `None` where nothing can be asked for what is known.
    fn poll(&self, known: Known<'_>) -> Option<Question>;

    /// The request that asks it.
    fn ask(&self, merchant: &Merchant, session: Option<&Session>, question: &Question) -> Call;

    /// What the answer means.
    fn read(&self, merchant: &Merchant, question: &Question, answer: &Answer) -> Result<Findings, Trouble>;

    /// The request for the provider's own list of what happened lately, where it has one.
    fn ask_events(&self, _merchant: &Merchant, _session: Option<&Session>) -> Option<Call> {
        None
    }

    /// What the list says.
    fn read_events(&self, _merchant: &Merchant, answer: &Answer) -> Result<Findings, Trouble> {
        Err(Trouble::Broken(format!("a list nobody asked for was answered with HTTP {}", answer.status)))
    }

    /// The session that configuration itself holds: used until it is refused.
    fn first_session(&self, _merchant: &Merchant) -> Option<Session> {
        None
    }

    /// The request that opens or renews a session, for providers that need one before they answer.
    fn login(&self, _merchant: &Merchant, _old: Option<&Session>) -> Option<Call> {
        None
    }

    /// What its answer grants.
    fn logged_in(&self, _merchant: &Merchant, answer: &Answer) -> Result<Session, Trouble> {
        Err(Trouble::Broken(format!("a login nobody asked for was answered with HTTP {}", answer.status)))
    }

    /// Where callbacks can be registered by the provider's own API.
    fn registrar(&self) -> Option<&dyn Registrar> {
        None
    }
}

impl Credentials {
    /// The value that is used; empty where none is configured.
    pub fn first(&self, name: &str) -> SecretString {
        self.0.get(name).and_then(|values| values.first()).cloned().unwrap_or_default()
    }

    /// Whether `presented` is one of the accepted values, compared in constant time.
    pub fn accepts(&self, name: &str, presented: &str) -> bool {
        let values = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
        let equal = |value: &SecretString| value.expose_secret().as_bytes().ct_eq(presented.as_bytes());
        values.iter().fold(subtle::Choice::from(0), |any, value| any | equal(value)).into()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Incoming<'_> {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.headers, name)
    }
}

/// A header's value by its lower-case name.
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// What most providers mean by an HTTP status; 2xx is for the adapter to read.
pub fn check_status(answer: &Answer) -> Result<(), Trouble> {
    let (status, retry_after) = (answer.status, answer.retry_after);
    match status {
        200..=299 => Ok(()),
        300..=399 => {
            Err(Trouble::Broken(format!("it redirects (HTTP {status}), and redirects are not followed")))
        }
        401 | 403 => Err(Trouble::Credentials { status }),
        404 | 410 => Err(Trouble::NotThere { status }),
        429 => Err(Trouble::TooFast { status, retry_after }),
        500..=599 => Err(Trouble::Down { status, retry_after }),
        _ => Err(Trouble::Broken(format!("it answered HTTP {status}"))),
    }
}

/// An answer's body as JSON.
pub fn body_json(answer: &Answer) -> Result<Json, Trouble> {
    Json::parse(&answer.body).map_err(|error| match answer.body.first() {
        None => Trouble::Broken("its answer is empty".to_owned()),
        Some(b'<') => Trouble::Broken("its answer is HTML or XML where JSON belongs".to_owned()),
        Some(_) => Trouble::Broken(format!("its answer is {error}")),
    })
}

/// An amount in major units from its literal text; an absent field is no amount.
pub fn amount(field: Option<&Json>, currency: Currency) -> Amount {
    read_amount(field, |text| Money::from_literal(text, currency))
}

/// An amount in minor units from its literal text.
pub fn amount_minor(field: Option<&Json>, currency: Currency) -> Amount {
    read_amount(field, |text| Money::from_minor_literal(text, currency))
}

fn read_amount(field: Option<&Json>, read: impl Fn(&str) -> Result<Money, MoneyError>) -> Amount {
    let Some(field) = field else { return Amount::Absent };
    let Some(text) = field.literal() else { return Amount::Unreadable("not a number".to_owned()) };
    read(text).map_or_else(|_| Amount::Unreadable(shown_literal(text)), Amount::Known)
}

/// An unreadable literal, cut, and without anything that is not part of a number or a word.
fn shown_literal(text: &str) -> String {
    let fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | ',' | '-' | '+');
    text.chars().filter(fit).take(LITERAL_CHARS_KEPT).collect()
}
