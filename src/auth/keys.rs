//! Keys by kid, as configured or made here: HS256, RS256, ES256 and EdDSA.

use super::jwks;
use crate::clock::random_bytes;
use crate::config::{Algorithm, Auth, AuthKey, Material, Problem, Problems, SECRET_BYTES_MIN};
use jsonwebtoken::{DecodingKey, DecodingKeyKind, EncodingKey};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The kid of the key that is made where none is configured.
const AUTO_KID: &str = "auto";
const AUTO_FILE: &str = "jwt.key";
/// A point of P-256, not compressed, and a point of Ed25519.
const P256_BYTES: usize = 65;
const ED25519_BYTES: usize = 32;
/// The shortest RSA key that is verified with has 2048 bits; in DER that is its modulus and a little more.
const RSA_MODULUS_BYTES_MIN: usize = 256;
const RSA_DER_BYTES_MIN: usize = 264;

/// What tokens are verified with, and signed if one of the keys is a secret.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

#[derive(Clone)]
pub(super) struct Key {
    /// None only in a key set that names none: then it serves tokens that name none.
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) verifying: DecodingKey,
    pub(super) signing: Option<EncodingKey>,
}

#[derive(Debug)]
pub struct Loaded {
    pub keys: Keys,
    /// The file that was made just now, because no key is configured and there was none.
    pub made: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Configured(#[from] Problems),
    #[error(
        "{path} cannot be {doing}: {error}; check the directory's owner and mode, or configure [[auth.keys]]"
    )]
    File { path: String, doing: &'static str, error: io::Error },
    #[error("{path} is not a key of at least {SECRET_BYTES_MIN} bytes; remove it to have a new one made")]
    TooShort { path: String },
}

impl Keys {
    /// The configured keys, or the one in the data directory, which is made if it is not there.
    pub fn load(auth: &Auth, data_dir: &Path) -> Result<Loaded, KeysError> {
        if !auth.keys.is_empty() {
            return Ok(Loaded { keys: Keys::configured(&auth.keys)?, made: None });
        }
        let path = data_dir.join(AUTO_FILE);
        let made = make_if_absent(data_dir, &path)?;
        let secret = fs::read_to_string(&path).map_err(failed(&path, "read"))?;
        let secret = SecretString::from(secret.trim());
        if secret.expose_secret().len() < SECRET_BYTES_MIN {
            return Err(KeysError::TooShort { path: path.display().to_string() });
        }
        let keys = Keys(vec![Key::secret(Some(AUTO_KID.to_owned()), &secret)]);
        Ok(Loaded { keys, made: made.then_some(path) })
    }

    /// The configured keys alone; nothing is made. What is wrong with any of them is said at once.
    pub fn configured(entries: &[AuthKey]) -> Result<Keys, Problems> {
        let mut keys: Vec<Key> = Vec::new();
        let mut problems = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let read = read(entry);
            let twice = |read: &[Key]| {
                read.iter().any(|key| key.kid.is_some() && kids(&keys).any(|kid| kid == &key.kid))
            };
            match read {
                Ok(read) if twice(&read) => {
                    problems.push(problem(index, entry, "holds a kid that another key has"))
                }
                Ok(read) => keys.extend(read),
                Err(what) => problems.push(problem(index, entry, &what)),
            }
        }
        if problems.is_empty() { Ok(Keys(keys)) } else { Err(Problems(problems)) }
    }

    pub(super) fn named<'a>(&'a self, kid: &str) -> Option<&'a Key> {
        self.0.iter().find(|key| key.kid.as_deref() == Some(kid))
    }

    /// The only key of an algorithm; none where there are several.
    pub(super) fn only(&self, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// The first key that can sign, with what it signs with.
    pub(super) fn signer(&self) -> Option<(&Key, &EncodingKey)> {
        self.0.iter().find_map(|key| Some((key, key.signing.as_ref()?)))
    }
}

fn kids(keys: &[Key]) -> impl Iterator<Item = &Option<String>> {
    keys.iter().map(|key| &key.kid)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (&key.kid, key.algorithm))).finish()
    }
}

impl Key {
    fn secret(kid: Option<String>, secret: &SecretString) -> Key {
        let bytes = secret.expose_secret().as_bytes();
        Key {
            kid,
            algorithm: Algorithm::HS256,
            verifying: DecodingKey::from_secret(bytes),
            signing: Some(EncodingKey::from_secret(bytes)),
        }
    }

    /// A public key, if it can verify anything: the library says so only when it is too late.
    pub(super) fn public(kid: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Result<Key, String> {
        let long_enough = match (algorithm, key.kind()) {
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == P256_BYTES,
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == ED25519_BYTES,
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => der.len() >= RSA_DER_BYTES_MIN,
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
                n.len() >= RSA_MODULUS_BYTES_MIN
            }
            (Algorithm::HS256 | Algorithm::ES256 | Algorithm::EdDSA, _) => false,
        };
        if !long_enough {
            return Err(format!("is no key for {algorithm}, which needs {}", needs(algorithm)));
        }
        Ok(Key { kid, algorithm, verifying: key, signing: None })
    }
}

fn needs(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "a secret",
        Algorithm::RS256 => "an RSA public key of at least 2048 bits",
        Algorithm::ES256 => "a public key on the curve P-256",
        Algorithm::EdDSA => "an Ed25519 public key",
    }
}

fn read(entry: &AuthKey) -> Result<Vec<Key>, String> {
    match &entry.material {
        Material::Secret(secret) => Ok(vec![Key::secret(entry.kid.clone(), secret)]),
        Material::PublicPem(pem) => {
            let algorithm = entry.algorithm.ok_or("needs an algorithm")?;
            let key = match algorithm {
                Algorithm::HS256 => return Err("does not go with HS256".to_owned()),
                Algorithm::RS256 => DecodingKey::from_rsa_pem(pem),
                Algorithm::ES256 => DecodingKey::from_ec_pem(pem),
                Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
            };
            let unfit = |_| format!("is not PEM of {} (openssl pkey -pubout)", needs(algorithm));
            Key::public(entry.kid.clone(), algorithm, key.map_err(unfit)?).map(|key| vec![key])
        }
        Material::Jwks(text) => jwks::read(text, entry.kid.as_deref(), entry.algorithm),
    }
}

fn problem(index: usize, entry: &AuthKey, what: &str) -> Problem {
    let source = match entry.material {
        Material::Secret(_) => "secret",
        Material::PublicPem(_) => "public_key_file",
        Material::Jwks(_) => "jwks_file",
    };
    Problem { key: format!("auth.keys[{index}].{source}"), what: what.to_owned() }
}

/// Whether the key was made. Of two that make one at the same moment, the second takes the first's.
fn make_if_absent(dir: &Path, path: &Path) -> Result<bool, KeysError> {
    if path.exists() {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir, "made"))?;
    let aside = dir.join(format!("{AUTO_FILE}.{}", std::process::id()));
    let written = write_aside(&aside).and_then(|()| put_in_place(&aside, path));
    // It is left over where somebody was faster or something failed; then that matters, not this.
    drop(fs::remove_file(&aside));
    let made = written.map_err(failed(path, "made"))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir, "flushed"))?;
    Ok(made)
}

fn write_aside(aside: &Path) -> io::Result<()> {
    let bytes = random_bytes::<SECRET_BYTES_MIN>().map_err(|error| io::Error::other(error.to_string()))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // What a process of the same number left behind must lend the key neither its owner nor its mode.
    match fs::remove_file(aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    writeln!(file, "{hex}")?;
    file.sync_all()
}

/// A link, unlike a renaming, never replaces a key that tokens were signed with; a rename where links do not exist.
fn put_in_place(aside: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(aside, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(_) => fs::rename(aside, path).map(|()| true),
    }
}

fn failed(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> KeysError {
    move |error| KeysError::File { path: path.display().to_string(), doing, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn none() -> Auth {
        Auth { issuer: "razao".into(), audience: "razao".into(), keys: Vec::new() }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_and_kept() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/data");
        let path = dir.join("jwt.key");
        let first = Keys::load(&none(), &dir).unwrap();
        assert_eq!(first.made.as_deref(), Some(path.as_path()));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.trim().len() == 64 && text.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!((mode(&dir), mode(&path)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert!(Keys::load(&none(), &dir).unwrap().made.is_none());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(!format!("{first:?}").contains(text.trim()));
        assert_eq!(format!("{:?}", first.keys), r#"[(Some("auto"), HS256)]"#);
    }

    #[test]
    fn two_at_once_get_the_same_key() {
        let temp = tempfile::tempdir().unwrap();
        let (aside, path) = (temp.path().join("aside"), temp.path().join("jwt.key"));
        fs::write(&path, "the first one's").unwrap();
        write_aside(&aside).unwrap();
        assert!(!put_in_place(&aside, &path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "the first one's");
    }

    #[test]
    fn a_broken_key_file_is_named() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("jwt.key"), "short\n").unwrap();
        let error = Keys::load(&none(), temp.path()).unwrap_err();
        assert!(error.to_string().contains("jwt.key is not a key of at least 32 bytes"), "{error}");
        let error = Keys::load(&none(), &temp.path().join("jwt.key/sub")).unwrap_err();
        assert!(matches!(error, KeysError::File { .. }), "{error}");
    }
}
