//! `[[auth.keys]]`: which keys tokens are checked with, and where each one lies.

use super::reader::Reader;
use super::secret;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::fmt;

pub(crate) const SECRET_BYTES_MIN: usize = 32;
const KID: &str = "main";
/// The four ways to give a key; each entry uses one.
const SOURCES: [&str; 4] = ["secret", "secret_file", "public_key_file", "jwks_file"];

#[derive(Clone, Debug)]
pub struct AuthKey {
    /// None only for a set, whose keys have their own; then that of those that have none.
    pub kid: Option<String>,
    /// None only for a set; then every key of it that can be used is.
    pub algorithm: Option<Algorithm>,
    pub material: Material,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    HS256,
    RS256,
    ES256,
    EdDSA,
}

#[derive(Clone)]
pub enum Material {
    /// At least 32 bytes.
    Secret(SecretString),
    PublicPem(Vec<u8>),
    /// The text of a JWK set.
    Jwks(String),
}

impl Algorithm {
    pub const ALL: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::HS256 => "HS256",
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            Algorithm::EdDSA => "EdDSA",
        }
    }

    fn parse(text: &str) -> Result<Algorithm, &'static str> {
        let found = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or("must be HS256, RS256, ES256 or EdDSA")
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Material::Secret(_) => "Secret(***)",
            Material::PublicPem(_) => "PublicPem",
            // Somebody may have put a private set there.
            Material::Jwks(_) => "Jwks",
        })
    }
}

pub(super) fn read(auth: &mut Reader<'_>) -> Vec<AuthKey> {
    let mut kids = BTreeSet::new();
    auth.each("keys", |entry| key(entry, &mut kids))
}

fn key(entry: &mut Reader<'_>, kids: &mut BTreeSet<String>) -> Option<AuthKey> {
    let kid = entry.filled("kid");
    let algorithm = entry.optional("algorithm", "", Algorithm::parse);
    let given: Vec<_> = SOURCES.iter().filter_map(|name| Some((*name, entry.filled(name)?))).collect();
    let [(source, text)] = given.as_slice() else {
        let name = given.get(1).map_or("secret_file", |(name, _)| name);
        entry.wrong(name, "a key needs exactly one of secret, secret_file, public_key_file and jwks_file");
        return None;
    };
    let set = *source == "jwks_file";
    let kid = kid.or_else(|| (!set).then(|| KID.to_owned()));
    if kid.as_ref().is_some_and(|kid| !kids.insert(kid.clone())) {
        entry.wrong("kid", "another key has the same; each needs its own");
    }
    let symmetric = matches!(*source, "secret" | "secret_file");
    let algorithm = match algorithm {
        None if entry.notes.is_wrong(&entry.key("algorithm")) => return None,
        None if symmetric => Some(Algorithm::HS256),
        None if set => None,
        None => {
            entry.wrong("algorithm", "missing; a public key needs RS256, ES256 or EdDSA");
            return None;
        }
        Some(algorithm) => Some(fitting(entry, algorithm, source, symmetric)?),
    };
    let material = material(entry, source, text)?;
    Some(AuthKey { kid, algorithm, material })
}

fn fitting(entry: &Reader<'_>, algorithm: Algorithm, source: &str, symmetric: bool) -> Option<Algorithm> {
    let belongs = match algorithm {
        Algorithm::HS256 => "secret or secret_file",
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => "public_key_file or jwks_file",
    };
    if symmetric == (algorithm == Algorithm::HS256) {
        return Some(algorithm);
    }
    entry.wrong(source, format!("does not go with {algorithm}, which takes {belongs}"));
    None
}

fn material(entry: &Reader<'_>, source: &str, text: &str) -> Option<Material> {
    if source == "secret" {
        return long_enough(entry, source, text.to_owned());
    }
    let content = secret::file(entry, source, text)?;
    match source {
        "secret_file" => long_enough(entry, source, content),
        "public_key_file" if content.contains("PRIVATE KEY") => {
            entry.wrong(
                source,
                "holds a private key; only the public one belongs here (openssl pkey -pubout)",
            );
            None
        }
        "public_key_file" => Some(Material::PublicPem(content.into_bytes())),
        _ => Some(Material::Jwks(content)),
    }
}

fn long_enough(entry: &Reader<'_>, source: &str, secret: String) -> Option<Material> {
    let length = secret.len();
    if length < SECRET_BYTES_MIN {
        entry.wrong(
            source,
            format!("has {length} bytes; at least {SECRET_BYTES_MIN} are needed (openssl rand -hex 32)"),
        );
        return None;
    }
    Some(Material::Secret(secret.into()))
}
