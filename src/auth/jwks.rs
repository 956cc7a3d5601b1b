//! Key sets (RFC 7517): several public keys in one file, each with its own kid.

use super::keys::Key;
use crate::config::Algorithm;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};

/// The keys of a set that tokens can be verified with; of other kinds or for encryption are passed over, as the RFC
/// wants it. `kid` is for keys that have none; `wanted` leaves the others out.
pub(super) fn read(text: &str, kid: Option<&str>, wanted: Option<Algorithm>) -> Result<Vec<Key>, String> {
    // The parser's own words may quote what it read.
    let set: JwkSet = serde_json::from_str(text)
        .map_err(|error| format!("is not a JWK set (line {}, column {})", error.line(), error.column()))?;
    let mut keys: Vec<Key> = Vec::new();
    for (index, jwk) in set.keys.iter().enumerate() {
        let Some(algorithm) =
            algorithm(jwk).filter(|algorithm| wanted.is_none_or(|wanted| wanted == *algorithm))
        else {
            continue;
        };
        let unfit = |what: &str| format!("has a key (keys[{index}]) that {what}");
        let key = DecodingKey::from_jwk(jwk).map_err(|_| unfit("cannot be read"))?;
        let kid = jwk.common.key_id.as_deref().or(kid).map(str::to_owned);
        if kid.is_some() && keys.iter().any(|other| other.kid == kid) {
            return Err(unfit("has the kid of another; each needs its own"));
        }
        keys.push(Key::public(kid, algorithm, key).map_err(|what| unfit(&what))?);
    }
    if keys.is_empty() {
        let wanted = wanted.map_or("RS256, ES256 or EdDSA", Algorithm::as_str);
        return Err(format!("holds no public key for {wanted}"));
    }
    Ok(keys)
}

/// What a key is for: by its kind, unless it says something else itself.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, own) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // Secrets do not belong into a set of public keys, and what else there is cannot be verified with.
        _ => return None,
    };
    jwk.common.key_algorithm.is_none_or(|said| said == own).then_some(algorithm)
}
