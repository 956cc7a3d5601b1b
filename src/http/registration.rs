//! The body of a registration: every field checked, every problem named at once.

use super::problem::{FieldProblem, Problem};
use crate::domain::ids::{ProviderRef, Reference};
use crate::domain::money::Money;
use crate::domain::time::Time;
use crate::ledger::command::{AccountTerms, Registration};
use crate::wire::json::Json;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

const METADATA_KEYS_MAX: usize = 20;
const METADATA_BYTES_MAX: usize = 4096;
/// How many fields that do not belong are named: an answer stays small whatever was sent.
const UNKNOWN_NAMED_MAX: usize = 8;
const KNOWN: [&str; 7] =
    ["account", "reference", "amount", "currency", "expires_at", "provider_ref", "metadata"];

/// What a shop expects of an order. (Documentation: [`read`] reads it, so that numbers stay exact.)
#[derive(Serialize, ToSchema)]
#[schema(as = Registration)]
#[serde(deny_unknown_fields)]
pub struct RegistrationBody {
    /// If given, equal to the path's.
    pub account: Option<String>,
    /// If given, equal to the path's.
    pub reference: Option<String>,
    /// A positive decimal string in major units.
    #[schema(example = "129.90")]
    pub amount: String,
    /// The account's currency.
    #[schema(example = "BRL")]
    pub currency: String,
    #[schema(example = "2026-03-02T18:00:00-03:00")]
    pub expires_at: Option<String>,
    pub provider_ref: Option<String>,
    /// At most 20 keys with text, number or boolean values, and 4 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// A registration out of a JSON object, for the order that the path names.
pub fn read(json: &Json, terms: AccountTerms, reference: Reference) -> Result<Registration, Problem> {
    let mut reader = Fields::of(json, "registration", &KNOWN);
    reader.equal("account", terms.account.as_str());
    reader.equal("reference", reference.as_str());
    let currency = terms.currency;
    let amount = reader.required("amount", |text| {
        let amount = Money::parse(text, currency).map_err(|error| error.to_string())?;
        if amount.is_zero() { Err("an order's amount is more than zero".to_owned()) } else { Ok(amount) }
    });
    reader.required("currency", |text| {
        let own = text == currency.code();
        if own { Ok(()) } else { Err(format!("the account's currency is {currency}")) }
    });
    let expires_at =
        reader.optional("expires_at", |text| Time::parse(text).map_err(|error| error.to_string()));
    let provider_ref =
        reader.optional("provider_ref", |text| ProviderRef::parse(text).map_err(|error| error.to_string()));
    let metadata = reader.metadata();
    match (amount, reader.problems.is_empty()) {
        (Some(amount), true) => {
            Ok(Registration { terms, reference, amount, expires_at, provider_ref, metadata })
        }
        (_, _) => Err(Problem::fields(reader.problems)),
    }
}

/// Reads a body's fields, and notes what is wrong with each.
pub(super) struct Fields<'a> {
    json: &'a Json,
    pub problems: Vec<FieldProblem>,
}

impl<'a> Fields<'a> {
    /// The fields of a body of this kind, which has no others than those known.
    pub fn of(json: &'a Json, kind: &str, known: &[&str]) -> Fields<'a> {
        let mut fields = Fields { json, problems: Vec::new() };
        fields.unknown(kind, known);
        fields
    }

    pub fn problem(&mut self, field: &str, detail: impl Into<String>) {
        let field = field.chars().take(64).collect();
        self.problems.push(FieldProblem { field, detail: detail.into() });
    }

    fn unknown(&mut self, kind: &str, known: &[&str]) {
        if let Json::Object(fields) = self.json {
            let unknown = fields.keys().filter(|name| !known.contains(&name.as_str()));
            for name in unknown.take(UNKNOWN_NAMED_MAX) {
                self.problem(name, format!("not a field of a {kind}"));
            }
        }
    }

    fn equal(&mut self, field: &str, expected: &str) {
        if self.json.get(field).is_some_and(|value| value.as_str() != Some(expected)) {
            self.problem(field, "differs from the path's");
        }
    }

    pub fn required<T>(&mut self, field: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if self.json.get(field).is_none() {
            self.problem(field, "is required");
        }
        self.optional(field, read)
    }

    pub fn optional<T>(&mut self, field: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.json.get(field)?;
        let read = value.as_str().ok_or_else(|| "is text in quotes".to_owned()).and_then(read);
        read.map_err(|detail| self.problem(field, detail)).ok()
    }

    fn metadata(&mut self) -> Option<String> {
        let value = self.json.get("metadata")?;
        let Json::Object(fields) = value else {
            self.problem("metadata", "is an object");
            return None;
        };
        let scalar = |value: &Json| matches!(value, Json::String(_) | Json::Number(_) | Json::Bool(_));
        if fields.len() > METADATA_KEYS_MAX || !fields.values().all(scalar) {
            self.problem(
                "metadata",
                format!("has at most {METADATA_KEYS_MAX} keys, with text, numbers or booleans"),
            );
            return None;
        }
        let text = value.to_text();
        if text.len() > METADATA_BYTES_MAX {
            self.problem("metadata", format!("is at most {METADATA_BYTES_MAX} bytes"));
            return None;
        }
        Some(text)
    }
}
