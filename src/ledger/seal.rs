//! Seals: signs where the chain stands with the ledger's own Ed25519 key, and reads a kept one back. Pure: the key and
//! the time are passed in, and the same statement by the same key is signed with the same bytes.

use crate::domain::balance::Balances;
use crate::domain::period::{Closing, Mark};
use crate::domain::seal::{PublicKey, Signed};
use crate::domain::time::Time;
use crate::views::seal::{ALGORITHM, FORMAT, SealView, key_text};
use crate::wire::json::Json;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::fmt;

/// Signs for one ledger.
pub struct Sealer {
    pair: Ed25519KeyPair,
    ledger: [u8; 16],
    by: PublicKey,
    previous: Option<PublicKey>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    #[error("the key of seals is no Ed25519 key")]
    Key,
    #[error("the seal has no canonical form: {0}")]
    Form(String),
}

/// A seal that somebody kept, and what to call it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub name: String,
    pub seal: SealView,
}

/// Why some text is no seal to compare anything with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotASeal {
    #[error(
        "it is no seal ({0}); one JSON object is expected, as GET /v1/ledger/head and GET /v1/periods give it"
    )]
    Shape(String),
    #[error("it is a seal of another kind ({found}); this program knows {FORMAT} with {ALGORITHM}")]
    Kind { found: String },
    #[error("its signature does not fit what it says: it was changed after it was signed")]
    Signature,
}

/// Whose key signed a seal, as far as this directory knows. It only informs: what proves is the kept seq and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signer {
    Present,
    Earlier,
    Unknown,
}

impl Sealer {
    /// `known`: the keys that this ledger's seals were signed with so far.
    pub fn new(seed: &[u8; 32], ledger: [u8; 16], known: &[PublicKey]) -> Result<Sealer, SealError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SealError::Key)?;
        let by = pair.public_key().as_ref().try_into().map(PublicKey).map_err(|_| SealError::Key)?;
        let previous = known.iter().rev().find(|key| **key != by).copied();
        Ok(Sealer { pair, ledger, by, previous })
    }

    pub fn public_key(&self) -> PublicKey {
        self.by
    }

    /// What a closing carries before it is signed.
    pub fn unsigned(&self) -> Signed {
        Signed { by: self.by, previous: self.previous, signature: [0; 64] }
    }

    /// A seal of the head alone: whom it is shown to may not see every balance.
    pub fn head(&self, head: Mark, now: Time) -> Result<SealView, SealError> {
        let seal = SealView::of_head(&self.ledger, head, now, &self.unsigned());
        let signature = self.sign(&seal)?;
        Ok(SealView { signature: BASE64_STANDARD.encode(signature), ..seal })
    }

    /// Signs a closing with its balances.
    pub fn close(
        &self,
        closing: &mut Closing,
        at_end: &Balances,
        at_close: &Balances,
    ) -> Result<(), SealError> {
        closing.signed = self.unsigned();
        let seal = SealView::of_closing(&self.ledger, closing, at_end, at_close);
        closing.signed.signature = self.sign(&seal)?;
        Ok(())
    }

    fn sign(&self, seal: &SealView) -> Result<[u8; 64], SealError> {
        let signature = self.pair.sign(signed_text(&json(seal)?).as_bytes());
        signature.as_ref().try_into().map_err(|_| SealError::Key)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", key_text(&self.by))
    }
}

/// A kept seal: the object itself, or the answer that holds it. Its signature fits what it says.
pub fn read(bytes: &[u8]) -> Result<SealView, NotASeal> {
    let shape = |what: String| NotASeal::Shape(what);
    let json = Json::parse(bytes).map_err(|error| shape(error.to_string()))?;
    let json = json.get("seal").filter(|seal| seal.is_object()).unwrap_or(&json);
    let kind = |name: &str| json.get(name).and_then(Json::as_str).unwrap_or("none");
    let found = format!("{} with {}", kind("format"), kind("algorithm"));
    if json.get("signature").is_none() {
        return Err(shape("it has no signature".to_owned()));
    }
    if found != format!("{FORMAT} with {ALGORITHM}") {
        return Err(NotASeal::Kind { found });
    }
    let seal: SealView = serde_json::from_str(&json.to_text()).map_err(|error| shape(error.to_string()))?;
    if fits(json, &seal) { Ok(seal) } else { Err(NotASeal::Signature) }
}

/// Whether a seal's signature fits what it says.
pub fn holds(seal: &SealView) -> bool {
    json(seal).is_ok_and(|json| fits(&json, seal))
}

/// Who signed a seal: with the key of this directory, or with one that its ledger signed with earlier.
pub fn signer(seal: &SealView, present: Option<PublicKey>, known: &[PublicKey]) -> Signer {
    let is = |key: &PublicKey| key_text(key) == seal.public_key;
    match (present.as_ref().is_some_and(is), known.iter().any(is)) {
        (true, _) => Signer::Present,
        (false, true) => Signer::Earlier,
        (false, false) => Signer::Unknown,
    }
}

fn fits(json: &Json, seal: &SealView) -> bool {
    let bytes = |text: &str| BASE64_STANDARD.decode(text).unwrap_or_default();
    let key = UnparsedPublicKey::new(&ED25519, bytes(&seal.public_key));
    key.verify(signed_text(json).as_bytes(), &bytes(&seal.signature)).is_ok()
}

fn json(seal: &SealView) -> Result<Json, SealError> {
    let text = serde_json::to_vec(seal).map_err(|error| SealError::Form(error.to_string()))?;
    Json::parse(&text).map_err(|error| SealError::Form(error.to_string()))
}

/// What is signed: the seal without its signature, keys sorted, without white space. All names and texts are ASCII and
/// the numbers are whole, so this is RFC 8785; a test compares it with a full implementation.
fn signed_text(json: &Json) -> String {
    let mut json = json.clone();
    if let Json::Object(fields) = &mut json {
        fields.remove("signature");
    }
    json.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chain::Hash;
    use crate::domain::ids::Seq;

    fn head(sealer: &Sealer) -> SealView {
        sealer.head(Mark { seq: Seq(7), hash: Hash::genesis() }, Time(1_800_000_000_000_000)).unwrap()
    }

    #[test]
    fn the_key_is_the_one_of_rfc_8032_and_the_text_that_of_rfc_8785() {
        let seed = blake3::Hash::from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let sealer = Sealer::new(seed.unwrap().as_bytes(), [7; 16], &[]).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(sealer.by.0, *blake3::Hash::from_hex(public).unwrap().as_bytes());
        let mut value = serde_json::to_value(head(&sealer)).unwrap();
        value.as_object_mut().unwrap().remove("signature");
        let full = serde_json_canonicalizer::to_string(&value).unwrap();
        assert_eq!(signed_text(&json(&head(&sealer)).unwrap()), full);
        assert_eq!(head(&sealer), head(&sealer), "the same statement has the same signature");
    }

    #[test]
    fn any_change_of_a_kept_seal_is_seen() {
        let sealer = Sealer::new(&[1; 32], [7; 16], &[PublicKey([2; 32])]).unwrap();
        let text = serde_json::to_string_pretty(&head(&sealer)).unwrap();
        let kept = read(text.as_bytes()).unwrap();
        assert_eq!((&kept, kept.previous_key.is_some()), (&head(&sealer), true));
        assert_eq!(read(format!("{{\"seq\":1,\"seal\":{text}}}").as_bytes()), Ok(kept));
        for (place, byte) in text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric()) {
            let mut changed = text.clone().into_bytes();
            changed[place] = if byte == b'1' { b'2' } else { b'1' };
            assert!(read(&changed).is_err(), "byte {place} of {text}");
        }
        let more = text.replacen('{', "{\"note\":\"added\",", 1);
        assert_eq!(read(more.as_bytes()), Err(NotASeal::Signature));
    }

    #[test]
    fn what_is_no_seal_is_said() {
        for (text, slip) in [("", "not JSON"), ("[]", "no signature"), ("{\"seq\":1}", "no signature")] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(slip), "{text}: {error}");
        }
        let other = head(&Sealer::new(&[1; 32], [7; 16], &[]).unwrap());
        let other = SealView { format: "razao seal v2".to_owned(), ..other };
        let error = read(&serde_json::to_vec(&other).unwrap()).unwrap_err();
        assert_eq!(error, NotASeal::Kind { found: "razao seal v2 with Ed25519".to_owned() });
    }

    #[test]
    fn a_key_that_took_the_place_of_another_names_it() {
        let by = |seed, known: &[PublicKey]| Sealer::new(&[seed; 32], [7; 16], known).unwrap();
        let (first, second) = (by(1, &[]).by, by(2, &[]).by);
        assert_eq!(by(1, &[first]).previous, None);
        assert_eq!(by(2, &[first]).previous, Some(first));
        assert_eq!(by(2, &[first, second]).previous, Some(first));
        assert_eq!(by(1, &[first, second]).previous, Some(second));
        let seal = head(&by(1, &[]));
        assert_eq!(signer(&seal, Some(first), &[]), Signer::Present);
        assert_eq!(signer(&seal, Some(second), &[first, second]), Signer::Earlier);
        assert_eq!(signer(&seal, None, &[second]), Signer::Unknown);
        assert!(!format!("{:?}", by(1, &[])).contains("0101"));
    }
}
