//! Ids: parsed once at the edge, never bare strings inside.

use super::time::Time;
use bincode::{Decode, Encode};
use std::fmt;

/// The longest reference, provider_ref or token that is accepted from outside, in characters.
pub const REFERENCE_CHARS_MAX: usize = 200;
/// A second payment's order is named `{reference}~{provider_ref}`, so what is stored may be this long.
const STORED_CHARS_MAX: usize = 2 * REFERENCE_CHARS_MAX + 16;
const ACCOUNT_BYTES_MAX: usize = 64;
/// No account may be called this: the ledger account `assets:bank:pending` would have two meanings.
const BANK: &str = "bank";

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdError {
    #[error("an account id is 1 to {ACCOUNT_BYTES_MAX} characters of a-z, 0-9 and -, and not {BANK:?}")]
    Account,
    #[error(
        "a {0} is 1 to {REFERENCE_CHARS_MAX} characters without control characters, and neither . nor .."
    )]
    Text(&'static str),
}

/// One merchant account at one provider.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AccountId(String);

/// The name an order has here: what shop and provider call it, or what was derived from that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Reference(String);

/// The provider's own name of one payment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ProviderRef(String);

/// What some providers send in place of news: exchanged for details by a call.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Token(String);

/// The provider's own name of one piece of news.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct EventId(String);

/// The position of an entry in the ledger, gapless from 1; 0 is the empty ledger's head.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Seq(pub u64);

/// A received callback, numbered in the order of receipt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct ReceiptId(pub u64);

/// What a request's makings are named by: the same for every repeat of one request, ordered by when it first came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub struct Nonce(pub [u8; 16]);

/// A reconciliation, numbered by when it began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct RunId(pub [u8; 16]);

/// A settlement file that was posted, numbered by when that was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SettlementId(pub [u8; 16]);

/// The provider's own name of one line of its settlement files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LineId(String);

/// Which order: an account and its reference there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub struct OrderKey {
    pub account: AccountId,
    pub reference: Reference,
}

impl AccountId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text == BANK || text.len() > ACCOUNT_BYTES_MAX || !text.bytes().all(allowed) {
            return Err(IdError::Account);
        }
        Ok(AccountId(text.to_owned()))
    }
}

fn bounded(text: &str, what: &'static str, chars_max: usize) -> Result<String, IdError> {
    let dots = text == "." || text == "..";
    let chars = text.chars().take(chars_max + 1).count();
    if text.is_empty() || dots || chars > chars_max || text.chars().any(char::is_control) {
        return Err(IdError::Text(what));
    }
    Ok(text.to_owned())
}

impl Reference {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        bounded(text, "reference", REFERENCE_CHARS_MAX).map(Reference)
    }

    /// A reference as it may stand in a URL of ours: derived names are longer than what providers may send.
    pub fn parse_stored(text: &str) -> Result<Self, IdError> {
        bounded(text, "reference", STORED_CHARS_MAX).map(Reference)
    }

    /// The name of a second payment that arrived with this reference; `nth` from 2 where that is taken too.
    pub fn derived(&self, provider_ref: &ProviderRef, nth: u32) -> Self {
        match nth {
            0 | 1 => Reference(format!("{}~{}", self.0, provider_ref.0)),
            n => Reference(format!("{}~{}~{n}", self.0, provider_ref.0)),
        }
    }
}

impl ProviderRef {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        bounded(text, "provider_ref", REFERENCE_CHARS_MAX).map(ProviderRef)
    }
}

impl Token {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        bounded(text, "token", REFERENCE_CHARS_MAX).map(Token)
    }
}

impl EventId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        bounded(text, "event id", REFERENCE_CHARS_MAX).map(EventId)
    }
}

impl LineId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        bounded(text, "line_id", REFERENCE_CHARS_MAX).map(LineId)
    }
}

macro_rules! text_id {
    ($($name:ident),*) => {$(
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    )*};
}
text_id!(AccountId, Reference, ProviderRef, Token, EventId, LineId);

impl From<&Reference> for ProviderRef {
    /// For providers whose payments go by the merchant's own reference (PicPay).
    fn from(reference: &Reference) -> Self {
        ProviderRef(reference.0.clone())
    }
}

impl Seq {
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// Several in one text, such as `7,8`.
    pub fn list(seqs: &[Seq]) -> String {
        seqs.iter().map(Seq::to_string).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl ReceiptId {
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("rc_")?;
        let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse().ok().map(ReceiptId) } else { None }
    }
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rc_{:020}", self.0)
    }
}

impl fmt::Debug for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Nonce {
    /// A nonce of this moment; `chance` tells apart those of the same one.
    pub fn new(now: Time, chance: [u8; 8]) -> Nonce {
        let mut bytes = [0; 16];
        let moment = now.0.to_be_bytes();
        bytes.iter_mut().zip(moment.into_iter().chain(chance)).for_each(|(to, from)| *to = from);
        Nonce(bytes)
    }
}

/// The 16 bytes of an id that is a prefix and 32 hexadecimal digits.
fn sixteen(text: &str, prefix: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix(prefix).filter(|digits| digits.len() == 32)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    u128::from_str_radix(digits, 16).ok().filter(|_| plain).map(u128::to_be_bytes)
}

impl RunId {
    pub fn parse(text: &str) -> Option<Self> {
        sixteen(text, "run_").map(RunId)
    }
}

impl SettlementId {
    pub fn parse(text: &str) -> Option<Self> {
        sixteen(text, "set_").map(SettlementId)
    }
}

impl fmt::Display for SettlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set_{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SettlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run_{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl OrderKey {
    pub fn new(account: AccountId, reference: Reference) -> Self {
        OrderKey { account, reference }
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.reference)
    }
}
