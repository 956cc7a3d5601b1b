//! New tokens, for `razao token` and the demo.

use super::keys::Keys;
use super::scope::{EVERY_ACCOUNT, Scope};
use super::token::{MICROS, TOKEN_BYTES_MAX, theirs};
use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use jsonwebtoken::Header;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a new token shall say.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    pub subject: &'a str,
    /// Scopes with spaces between them.
    pub scopes: &'a str,
    /// Empty: all.
    pub accounts: &'a [AccountId],
    pub ttl: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MintError {
    #[error(
        "no configured key can sign: public keys only verify; sign where the private key is, or add an HS256 key to [[auth.keys]]"
    )]
    NoSigningKey,
    #[error("unknown scope {0:?}; known are {known}", known = Scope::known())]
    UnknownScope(String),
    #[error("a token needs at least one scope; known are {known}", known = Scope::known())]
    NoScope,
    #[error("a token lives for at least a second and ends before the year 9999")]
    Ttl,
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes; name fewer accounts")]
    TooLong,
    #[error("the token cannot be signed: {0}")]
    Unsigned(String),
}

#[derive(Serialize)]
struct Minted<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    scope: String,
    accounts: Vec<&'a str>,
}

/// A new token, signed with the first key that can sign.
pub fn mint(
    keys: &Keys,
    issuer: &str,
    audience: &str,
    grant: &Grant<'_>,
    now: Time,
) -> Result<String, MintError> {
    let (key, signing) = keys.signer().ok_or(MintError::NoSigningKey)?;
    let iat = now.0.div_euclid(MICROS);
    let ttl = i64::try_from(grant.ttl.as_secs()).ok().filter(|ttl| *ttl > 0);
    let exp = ttl.and_then(|ttl| iat.checked_add(ttl)).filter(|exp| Time::from_seconds(*exp).is_some());
    let accounts = match grant.accounts {
        [] => vec![EVERY_ACCOUNT],
        some => some.iter().map(AccountId::as_str).collect(),
    };
    let claims = Minted {
        iss: issuer,
        aud: audience,
        sub: grant.subject,
        iat,
        exp: exp.ok_or(MintError::Ttl)?,
        scope: scopes(grant.scopes)?,
        accounts,
    };
    let mut header = Header::new(theirs(key.algorithm));
    header.kid = key.kid.clone();
    let token = jsonwebtoken::encode(&header, &claims, signing)
        .map_err(|error| MintError::Unsigned(error.to_string()))?;
    if token.len() > TOKEN_BYTES_MAX { Err(MintError::TooLong) } else { Ok(token) }
}

/// The scopes, each once, if all of them are known: a typing error must not make a token that allows nothing.
fn scopes(text: &str) -> Result<String, MintError> {
    let known = |word: &str| Scope::parse(word).ok_or_else(|| MintError::UnknownScope(word.to_owned()));
    let scopes = text.split_ascii_whitespace().map(known).collect::<Result<BTreeSet<Scope>, _>>()?;
    if scopes.is_empty() {
        return Err(MintError::NoScope);
    }
    Ok(scopes.into_iter().map(Scope::as_str).collect::<Vec<_>>().join(" "))
}
