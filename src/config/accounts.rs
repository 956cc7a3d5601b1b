//! Merchant accounts, and what their provider needs of them.

use super::file;
use super::reader::{Reader, shown};
use super::secret;
use super::sections::Poll;
use super::units;
use crate::domain::ids::AccountId;
use crate::domain::money::Currency;
use crate::providers::provider::{Credentials, Merchant, Provider, Spec};
use ipnet::IpNet;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt;

const CALLBACK_KEY_CHARS_MIN: usize = 16;
const CURRENCY: Currency = Currency::BRL;

#[derive(Clone)]
pub struct Account {
    pub merchant: Merchant,
    pub provider: &'static dyn Provider,
    /// The last segment of its callback URL.
    pub callback_key: Option<SecretString>,
    /// Who may post callbacks; empty: anybody.
    pub callback_allow: Vec<IpNet>,
    pub poll: Poll,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("merchant", &self.merchant)
            .field("provider", &self.provider.spec().id)
            .field("callback_key", &self.callback_key)
            .field("callback_allow", &self.callback_allow)
            .field("poll", &self.poll)
            .finish()
    }
}

pub(super) fn read(root: &mut Reader<'_>, poll: Poll, providers: &[&'static dyn Provider]) -> Vec<Account> {
    if !root.has("accounts") {
        root.warn("accounts", "there is none, so no callback is accepted; add [[accounts]]");
    }
    let mut ids = BTreeMap::new();
    root.each("accounts", |entry| account(entry, poll, providers, &mut ids))
}

fn account(
    entry: &mut Reader<'_>,
    poll: Poll,
    providers: &[&'static dyn Provider],
    ids: &mut BTreeMap<AccountId, String>,
) -> Option<Account> {
    let id = id(entry, ids);
    let provider = provider(entry, providers);
    let spec = provider.map(|provider| provider.spec());
    let currency = entry.parsed("currency", CURRENCY, Currency::parse);
    let zone = file::zone(entry);
    let base_url = base_url(entry, spec);
    let callback_key = callback_key(entry, spec);
    let callback_allow = entry.list("callback_allow", units::network);
    let credentials = entry.section("credentials", |section| credentials(section, spec));
    let poll = entry.section("poll", |section| file::poll(section, poll));
    let poll = spec.map_or(poll, |spec| file::suited(poll, spec));
    let merchant = Merchant { id: id?, currency, zone, base_url, credentials };
    Some(Account { merchant, provider: provider?, callback_key, callback_allow, poll })
}

fn id(entry: &mut Reader<'_>, ids: &mut BTreeMap<AccountId, String>) -> Option<AccountId> {
    let Some(text) = entry.text("id") else {
        required(entry, "id", "name the account with a-z, 0-9 and -");
        return None;
    };
    let id = AccountId::parse(&text).map_err(|error| entry.wrong("id", error)).ok()?;
    if let Some(first) = ids.get(&id) {
        entry.wrong("id", format!("{first} has the same; every account needs its own"));
        return None;
    }
    ids.insert(id.clone(), entry.here().to_owned());
    Some(id)
}

fn provider(entry: &mut Reader<'_>, providers: &[&'static dyn Provider]) -> Option<&'static dyn Provider> {
    let known = providers.iter().map(|provider| provider.spec().id).collect::<Vec<_>>().join(", ");
    let Some(text) = entry.text("provider") else {
        required(entry, "provider", &format!("one of {known}"));
        return None;
    };
    let found = providers.iter().copied().find(|provider| provider.spec().id == text);
    if found.is_none() {
        entry.wrong("provider", format!("unknown provider {}; known are {known}", shown(&text)));
    }
    found
}

/// Says that a key is missing, unless it was there and had the wrong type, which was said already.
fn required(entry: &Reader<'_>, name: &str, hint: &str) {
    let key = entry.key(name);
    if !entry.notes.is_wrong(&key) {
        entry.wrong(name, format!("missing; {hint}"));
    }
}

fn base_url(entry: &mut Reader<'_>, spec: Option<&Spec>) -> String {
    let own = entry.address("base_url");
    if own.as_deref().is_some_and(units::travels_in_the_clear) {
        entry.warn("base_url", "credentials travel unencrypted over http; use https");
    }
    own.unwrap_or_else(|| spec.map_or("", |spec| spec.base_url).trim_end_matches('/').to_owned())
}

fn callback_key(entry: &mut Reader<'_>, spec: Option<&Spec>) -> Option<SecretString> {
    let key = entry.filled("callback_key");
    let needed = spec.filter(|spec| spec.needs_callback_key);
    match (&key, needed) {
        (Some(key), _) if !is_segment(key) => {
            entry.wrong("callback_key", "stands in a URL; use letters, digits and - . _ ~ only");
        }
        (Some(key), Some(_)) if key.chars().count() < CALLBACK_KEY_CHARS_MIN => {
            entry.wrong(
                "callback_key",
                format!("too short; at least {CALLBACK_KEY_CHARS_MIN} characters are needed"),
            );
        }
        (None, Some(spec)) if !entry.notes.is_wrong(&entry.key("callback_key")) => {
            let what = format!(
                "missing; a callback of {} proves nothing, so its URL needs a key of at least {CALLBACK_KEY_CHARS_MIN} characters",
                spec.name
            );
            entry.wrong("callback_key", what);
        }
        _ => {}
    }
    key.map(SecretString::from)
}

/// Whether a text is one segment of a path in every URL library, without any encoding.
fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().all(plain) && text != "." && text != ".."
}

fn credentials(section: &mut Reader<'_>, spec: Option<&Spec>) -> Credentials {
    let Some(spec) = spec else {
        // Without a provider nobody knows what belongs here.
        section.leave();
        return Credentials::default();
    };
    let mut found = BTreeMap::new();
    for credential in spec.credentials {
        let values = secret::values(section, credential.name);
        let noted = section.notes.is_wrong(&section.key(credential.name))
            || section.notes.is_wrong(&section.key(&format!("{}_file", credential.name)));
        if values.is_empty() && credential.required && !noted {
            section.wrong(credential.name, format!("missing; {} needs it", spec.name));
        }
        if !values.is_empty() {
            found.insert(credential.name.to_owned(), values);
        }
    }
    Credentials(found)
}
