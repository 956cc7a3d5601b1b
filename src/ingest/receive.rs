//! A callback at the door: address, key, credential, shape; then what it comes to.

use super::translate::{self, Context};
use crate::config::Account;
use crate::domain::evidence::Source;
use crate::domain::receipt::Private;
use crate::domain::time::Time;
use crate::ledger::command::{Received, Verdict};
use crate::providers::provider::Incoming;
use crate::store::sealed::Body;
use std::net::IpAddr;

const CONTENT_TYPE_CHARS_MAX: usize = 100;

/// Why a callback is turned away before anything of it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such callback address")]
    UnknownAccount,
    #[error("there is no such callback address")]
    WrongKey,
    #[error("the callback's credential is missing or not this account's")]
    WrongCredential,
    #[error("callbacks from this address are not allowed")]
    AddressNotAllowed,
    #[error("a callback is at most 256 KiB")]
    TooLarge,
}

impl Rejection {
    /// Its kind, in a word.
    pub fn word(self) -> &'static str {
        match self {
            Rejection::UnknownAccount => "unknown_account",
            Rejection::WrongKey => "wrong_key",
            Rejection::WrongCredential => "wrong_credential",
            Rejection::AddressNotAllowed => "address_not_allowed",
            Rejection::TooLarge => "too_large",
        }
    }
}

/// Whether a callback may come in at all; needs no body.
pub fn admit(
    account: &Account,
    key: Option<&str>,
    address: Option<IpAddr>,
    headers: &[(String, String)],
) -> Result<(), Rejection> {
    if !account.accepts_key(key) {
        return Err(Rejection::WrongKey);
    }
    let allowed = &account.callback_allow;
    if !allowed.is_empty() && !address.is_some_and(|address| allowed.iter().any(|net| net.contains(&address)))
    {
        return Err(Rejection::AddressNotAllowed);
    }
    account.provider.authenticate(&account.merchant, headers).map_err(|_| Rejection::WrongCredential)
}

/// What an admitted callback comes to, with the status we answer. 400 is for what this provider never sends; its body
/// is kept all the same, since its credential was right.
pub fn receive(account: &Account, incoming: &Incoming<'_>, now: Time) -> Received {
    let (verdict, answer_status, event) = match account.provider.hear(&account.merchant, incoming) {
        Err(unreadable) => (Verdict::Unreadable { reason: unreadable.to_string() }, 400, None),
        Ok(notice) => {
            let context =
                Context { source: Source::Callback, receipt: None, asked: None, received_at: now, now };
            let ask = !notice.questions.is_empty();
            let news = translate::news(notice.findings, context);
            let verdict = match (news.is_empty(), ask) {
                (true, true) => Verdict::Ask,
                (true, false) => Verdict::Ignore,
                (false, ask) => Verdict::Record { news, ask },
            };
            (verdict, 200, notice.event)
        }
    };
    Received {
        terms: account.terms(),
        received_at: now,
        answer_status,
        content_type: incoming.content_type.map(|text| text.chars().take(CONTENT_TYPE_CHARS_MAX).collect()),
        body: Body {
            query: incoming.query.map(|query| Private(query.as_bytes().to_vec())),
            bytes: Private(incoming.body.to_vec()),
        },
        event,
        verdict,
    }
}
