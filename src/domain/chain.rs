//! The hash chain: BLAKE3 over the previous hash and the entry's canonical JSON (RFC 8785).
//!
//! [`Body`] is the entry as the API shows it, less `hash` and `prev_hash`; schema/entry.md says it in words. Amounts are
//! strings and `seq` is the only number, so the canonical form is sorted keys without white space.

use super::entry::{DiscrepancyNote, Entry};
use super::posting::Posting;
use bincode::{Decode, Encode};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// What the first entry is chained to is the hash of this text.
const GENESIS: &[u8] = b"razao ledger v1";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Hash(pub [u8; 32]);

#[derive(Debug, thiserror::Error)]
#[error("entry {seq} has no canonical form: {why}")]
pub struct NoCanonicalForm {
    seq: u64,
    why: String,
}

impl Hash {
    pub fn genesis() -> Hash {
        Hash(*blake3::hash(GENESIS).as_bytes())
    }

    /// BLAKE3 of some text, as `reason_hash` has it.
    pub fn of(text: &str) -> Hash {
        Hash(*blake3::hash(text.as_bytes()).as_bytes())
    }

    pub fn to_hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    pub fn from_hex(text: &str) -> Option<Hash> {
        blake3::Hash::from_hex(text).ok().map(|hash| Hash(*hash.as_bytes()))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// The hashed part of an entry, as JSON has it.
#[derive(Serialize)]
pub struct Body {
    pub seq: u64,
    pub recorded_at: String,
    pub occurred_at: String,
    pub account: String,
    pub order: Option<String>,
    pub kind: &'static str,
    pub from: Option<&'static str>,
    pub to: Option<&'static str>,
    pub amount: Option<String>,
    pub currency: &'static str,
    pub postings: Vec<BodyPosting>,
    pub evidence: BodyEvidence,
    pub discrepancy: Option<BodyDiscrepancy>,
    pub provider_status: Option<String>,
    pub details: BTreeMap<String, String>,
}

// The order of the fields below is the order in which they are hashed: sorted.

#[derive(Serialize)]
pub struct BodyPosting {
    pub amount: String,
    pub ledger_account: String,
}

#[derive(Serialize)]
pub struct BodyEvidence {
    pub actor: Option<String>,
    pub as_of: String,
    pub reason_hash: Option<String>,
    pub receipt: Option<String>,
    pub source: &'static str,
}

#[derive(Serialize)]
pub struct BodyDiscrepancy {
    pub action: Option<&'static str>,
    pub cause: &'static str,
    pub expected: Option<String>,
    pub found: Option<String>,
    pub id: String,
}

impl Body {
    pub fn of(entry: &Entry) -> Body {
        let posting = |posting: &Posting| BodyPosting {
            ledger_account: posting.ledger_account.to_string(),
            amount: posting.amount.show(entry.currency),
        };
        let note = |note: &DiscrepancyNote| BodyDiscrepancy {
            id: note.id.to_string(),
            cause: note.cause.as_str(),
            expected: note.expected.clone(),
            found: note.found.clone(),
            action: note.action.map(|action| action.as_str()),
        };
        Body {
            seq: entry.seq.0,
            recorded_at: entry.recorded_at.to_string(),
            occurred_at: entry.occurred_at.to_string(),
            account: entry.account.to_string(),
            order: entry.order.as_ref().map(|order| order.to_string()),
            kind: entry.kind.as_str(),
            from: entry.from.map(|state| state.as_str()),
            to: entry.to.map(|state| state.as_str()),
            amount: entry.amount.map(|amount| amount.show(entry.currency)),
            currency: entry.currency.code(),
            postings: entry.postings.iter().map(posting).collect(),
            evidence: BodyEvidence {
                source: entry.origin.source.as_str(),
                receipt: entry.origin.receipt.map(|id| id.to_string()),
                as_of: entry.as_of.to_string(),
                actor: entry.origin.actor.clone(),
                reason_hash: entry.origin.reason_hash.clone(),
            },
            discrepancy: entry.discrepancy.as_ref().map(note),
            provider_status: entry.provider_status.clone(),
            details: entry.details.iter().cloned().collect(),
        }
    }
}

/// A body with its fields in RFC 8785's order. All names are ASCII and `seq` is the only number, so sorted names without
/// white space are the canonical form; a law compares it with a full implementation. (That one takes ten times as long,
/// and the writer hashes every entry.)
struct Canonical<'a>(&'a Body);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = self.0;
        let mut fields = serializer.serialize_struct("Entry", 15)?;
        fields.serialize_field("account", &body.account)?;
        fields.serialize_field("amount", &body.amount)?;
        fields.serialize_field("currency", &body.currency)?;
        fields.serialize_field("details", &body.details)?;
        fields.serialize_field("discrepancy", &body.discrepancy)?;
        fields.serialize_field("evidence", &body.evidence)?;
        fields.serialize_field("from", &body.from)?;
        fields.serialize_field("kind", &body.kind)?;
        fields.serialize_field("occurred_at", &body.occurred_at)?;
        fields.serialize_field("order", &body.order)?;
        fields.serialize_field("postings", &body.postings)?;
        fields.serialize_field("provider_status", &body.provider_status)?;
        fields.serialize_field("recorded_at", &body.recorded_at)?;
        fields.serialize_field("seq", &body.seq)?;
        fields.serialize_field("to", &body.to)?;
        fields.end()
    }
}

/// The canonical JSON that is hashed.
pub fn canonical(entry: &Entry) -> Result<String, NoCanonicalForm> {
    serde_json::to_string(&Canonical(&Body::of(entry)))
        .map_err(|why| NoCanonicalForm { seq: entry.seq.0, why: why.to_string() })
}

/// The hash an entry must carry, given the one before it.
pub fn hash(entry: &Entry) -> Result<Hash, NoCanonicalForm> {
    let json = canonical(entry)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&entry.prev_hash.0).update(json.as_bytes());
    Ok(Hash(*hasher.finalize().as_bytes()))
}
