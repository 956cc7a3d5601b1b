//! A seal as the world keeps it: one JSON object that says where the chain stood, signed with the ledger's own key.
//! schema/seal.md says in words which bytes are signed.

use crate::domain::balance::{Balances, Sides};
use crate::domain::money::Currency;
use crate::domain::period::{Closing, Mark};
use crate::domain::posting::LedgerAccount;
use crate::domain::seal::{PublicKey, Signed};
use crate::domain::time::Time;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Another shape of what is signed gets another name.
pub const FORMAT: &str = "razao seal v1";
pub const ALGORITHM: &str = "Ed25519";

/// A statement of where the chain stood, signed. Whoever keeps it can later prove whether the chain was rewritten.
///
/// The signature is over all other fields in canonical JSON (RFC 8785).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Debug)]
#[schema(as = Seal)]
pub struct SealView {
    #[schema(example = "razao seal v1")]
    pub format: String,
    /// Which ledger: 32 hex digits, drawn when it was born.
    pub ledger: String,
    /// The last entry; 0 for an empty ledger.
    pub seq: u64,
    /// The last entry's hash; for an empty ledger the hash that the first entry is chained to.
    pub hash: String,
    /// Balances at the end of `seq`; null where a head alone is sealed.
    pub balances: Option<Vec<SealedBalance>>,
    /// The month that was closed; null where a head alone is sealed.
    pub period: Option<SealedPeriod>,
    /// When it was sealed.
    pub time: String,
    #[schema(example = "Ed25519")]
    pub algorithm: String,
    /// Base64 of the 32 bytes of the key that signed.
    pub public_key: String,
    /// The key that this ledger signed with before; null for its first one.
    pub previous_key: Option<String>,
    /// Base64 of the 64 bytes of the signature.
    pub signature: String,
}

/// A closed month within a seal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Debug)]
pub struct SealedPeriod {
    #[schema(example = "2026-10")]
    pub month: String,
    /// Where its days begin and end.
    #[schema(example = "America/Sao_Paulo")]
    pub timezone: String,
    /// Inclusive.
    pub from: String,
    /// Exclusive.
    pub to: String,
    /// The last entry recorded before `to`; 0 if there was none.
    pub end_seq: u64,
    pub end_hash: String,
    /// Balances at the end of `end_seq`.
    pub end_balances: Vec<SealedBalance>,
}

/// One ledger account in one currency. A ledger account that nothing was ever posted to is left out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Debug)]
pub struct SealedBalance {
    #[schema(example = "assets:loja-picpay:pending")]
    pub ledger_account: String,
    #[schema(example = "BRL")]
    pub currency: String,
    pub debits: String,
    pub credits: String,
    /// Debits less credits.
    pub balance: String,
}

impl SealView {
    pub fn of_head(ledger: &[u8; 16], head: Mark, time: Time, signed: &Signed) -> SealView {
        SealView {
            format: FORMAT.to_owned(),
            ledger: ledger_id(ledger),
            seq: head.seq.0,
            hash: head.hash.to_hex(),
            balances: None,
            period: None,
            time: time.to_string(),
            algorithm: ALGORITHM.to_owned(),
            public_key: key_text(&signed.by),
            previous_key: signed.previous.as_ref().map(key_text),
            signature: BASE64_STANDARD.encode(signed.signature),
        }
    }

    /// `at_end` and `at_close`: the balances at the closing's two moments.
    pub fn of_closing(
        ledger: &[u8; 16],
        closing: &Closing,
        at_end: &Balances,
        at_close: &Balances,
    ) -> SealView {
        let period = SealedPeriod {
            month: closing.month.to_string(),
            timezone: closing.timezone.clone(),
            from: closing.from.to_string(),
            to: closing.to.to_string(),
            end_seq: closing.end.seq.0,
            end_hash: closing.end.hash.to_hex(),
            end_balances: SealedBalance::all(at_end),
        };
        SealView {
            balances: Some(SealedBalance::all(at_close)),
            period: Some(period),
            ..SealView::of_head(ledger, closing.close, closing.closed_at, &closing.signed)
        }
    }
}

impl SealedBalance {
    pub fn all(balances: &Balances) -> Vec<SealedBalance> {
        let lines = balances.0.iter();
        lines.map(|((account, currency), sides)| SealedBalance::of(account, *currency, sides)).collect()
    }

    fn of(ledger_account: &LedgerAccount, currency: Currency, sides: &Sides) -> SealedBalance {
        SealedBalance {
            ledger_account: ledger_account.to_string(),
            currency: currency.code().to_owned(),
            debits: sides.debits.show(currency),
            credits: sides.credits.show(currency),
            balance: sides.balance().show(currency),
        }
    }
}

pub fn ledger_id(database: &[u8; 16]) -> String {
    database.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn key_text(key: &PublicKey) -> String {
    BASE64_STANDARD.encode(key.0)
}
