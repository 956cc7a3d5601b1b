//! Bearer tokens: what one must be to be believed, and what it then says.

use super::keys::{Key, Keys};
use super::scope::{Accounts, Scope};
use crate::config::Algorithm;
use crate::domain::time::Time;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const TOKEN_BYTES_MAX: usize = 8 << 10;
/// How far the clocks of those who make tokens may be off.
const LEEWAY: Duration = Duration::from_secs(60);
pub(super) const MICROS: i64 = 1_000_000;

/// What a verified token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// Empty if it names none.
    pub subject: String,
    pub scopes: BTreeSet<Scope>,
    pub accounts: Accounts,
    /// Its `exp`, without leeway.
    pub expires_at: Time,
}

/// Why a token is not believed. Says nothing about keys that an attacker could use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("the token is not a signed JWT with HS256, RS256, ES256 or EdDSA")]
    Unreadable,
    #[error("the token names a key (kid) that is not known here")]
    UnknownKey,
    #[error("the token names no key (kid), and not exactly one key has its algorithm")]
    NoKey,
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    #[error("the token's signature does not match")]
    Signature,
    #[error("the token's claim {0} is missing")]
    Missing(&'static str),
    #[error("the token's claims are not of the expected types")]
    Claims,
    #[error("the token's issuer (iss) is not the one expected here")]
    Issuer,
    #[error("the token is not meant for this audience (aud)")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet (nbf)")]
    NotYet,
}

/// As they come, for a signature that holds; what is absent or wrong is told apart afterwards.
#[derive(Deserialize)]
struct Told {
    iss: Option<String>,
    exp: Option<serde_json::Number>,
    nbf: Option<serde_json::Number>,
    sub: Option<String>,
    scope: Option<String>,
    accounts: Option<Vec<String>>,
}

impl Claims {
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// What a token says, if it can be believed at `now`.
pub fn verify(keys: &Keys, issuer: &str, audience: &str, token: &str, now: Time) -> Result<Claims, Denied> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Denied::TooLong);
    }
    let header = decode_header(token).map_err(|_| Denied::Unreadable)?;
    let key = key(keys, &header)?;
    let validation = validation(theirs(key.algorithm), issuer, audience);
    let told = decode::<Told>(token, &key.verifying, &validation).map_err(|error| denied(&error))?.claims;
    let expires_at = in_time(&told, now)?;
    // The library also accepts a list here, of which one is ours.
    if told.iss.as_deref() != Some(issuer) {
        return Err(Denied::Issuer);
    }
    Ok(Claims {
        subject: told.sub.unwrap_or_default(),
        scopes: told.scope.unwrap_or_default().split_ascii_whitespace().filter_map(Scope::parse).collect(),
        accounts: Accounts::told(&told.accounts.unwrap_or_default()),
        expires_at,
    })
}

fn key<'a>(keys: &'a Keys, header: &Header) -> Result<&'a Key, Denied> {
    // Extensions that must be understood (RFC 7515, 4.1.11): none is.
    if header.crit.is_some() {
        return Err(Denied::Unreadable);
    }
    let algorithm = ours(header.alg).ok_or(Denied::Unreadable)?;
    let key = match &header.kid {
        Some(kid) => keys.named(kid).ok_or(Denied::UnknownKey)?,
        None => keys.only(algorithm).ok_or(Denied::NoKey)?,
    };
    if key.algorithm == algorithm { Ok(key) } else { Err(Denied::Algorithm) }
}

/// Everything but the times: the library would compare those with a clock of its own.
fn validation(algorithm: jsonwebtoken::Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_required_spec_claims(&["iss", "aud"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation
}

fn denied(error: &Error) -> Denied {
    match error.kind() {
        ErrorKind::InvalidSignature => Denied::Signature,
        ErrorKind::InvalidAlgorithm => Denied::Algorithm,
        ErrorKind::InvalidIssuer => Denied::Issuer,
        ErrorKind::InvalidAudience => Denied::Audience,
        ErrorKind::MissingRequiredClaim(name) if name == "aud" => Denied::Missing("aud"),
        ErrorKind::MissingRequiredClaim(_) => Denied::Missing("iss"),
        ErrorKind::Json(_) => Denied::Claims,
        _ => Denied::Unreadable,
    }
}

/// Its `exp`, if `now` lies within what the token says of time.
fn in_time(told: &Told, now: Time) -> Result<Time, Denied> {
    let exp = told.exp.as_ref().ok_or(Denied::Missing("exp"))?;
    let expires_at = time(exp);
    if now >= expires_at.plus(LEEWAY) {
        return Err(Denied::Expired);
    }
    if told.nbf.as_ref().is_some_and(|nbf| now.plus(LEEWAY) < time(nbf)) {
        return Err(Denied::NotYet);
    }
    Ok(expires_at)
}

/// Seconds since 1970, which may have decimals; those are cut off.
fn time(date: &serde_json::Number) -> Time {
    let seconds = date.as_i64().or_else(|| date.as_f64().map(|seconds| seconds as i64));
    Time(seconds.unwrap_or(i64::MAX).saturating_mul(MICROS))
}

fn ours(algorithm: jsonwebtoken::Algorithm) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|ours| theirs(*ours) == algorithm)
}

pub(super) fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}
