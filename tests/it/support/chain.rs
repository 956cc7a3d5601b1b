//! The hash chain and the sums of the ledger, computed anew from what the API gives: none of the program's own code.

use serde_json::Value;
use std::collections::BTreeMap;

/// Asserts that this is a whole, gapless ledger from seq 1, and answers its head's hash.
pub fn assert_chain(entries: &[Value]) -> String {
    let mut prev = blake3::hash(b"razao ledger v1").to_hex().to_string();
    let mut recorded = String::new();
    for (entry, seq) in entries.iter().zip(1u64..) {
        assert_eq!(entry["seq"], seq, "a gap before {entry}");
        assert_eq!(entry["prev_hash"], prev.as_str(), "the chain breaks at {entry}");
        prev = hash_of(entry);
        assert_eq!(entry["hash"], prev.as_str(), "another hash than the content of {entry} has");
        let now = entry["recorded_at"].as_str().unwrap().to_owned();
        assert!(recorded <= now, "recorded_at goes back at {entry}");
        recorded = now;
        assert_zero(entry);
    }
    prev
}

/// What one entry's hash must be, by its own `prev_hash`.
pub fn hash_of(entry: &Value) -> String {
    let prev = blake3::Hash::from_hex(entry["prev_hash"].as_str().unwrap()).unwrap();
    let mut body = entry.as_object().unwrap().clone();
    body.remove("hash");
    body.remove("prev_hash");
    let mut hasher = blake3::Hasher::new();
    hasher.update(prev.as_bytes());
    hasher.update(canonical(&Value::Object(body)).as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// RFC 8785 for what entries and seals hold: strings, whole numbers, no floats, ASCII keys.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            let shown = sorted.iter().map(|(key, value)| format!("{}:{}", quoted(key), canonical(value)));
            format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::String(text) => quoted(text),
        Value::Number(number) => {
            assert!(number.is_u64(), "{number}: seqs are the only numbers");
            number.to_string()
        }
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn assert_zero(entry: &Value) {
    let sum: i128 = postings(entry).iter().map(|(_, amount)| amount).sum();
    assert_eq!(sum, 0, "the postings of {entry} do not sum to zero");
}

/// An entry's postings in minor units.
pub fn postings(entry: &Value) -> Vec<(String, i128)> {
    let line = |posting: &Value| {
        (posting["ledger_account"].as_str().unwrap().to_owned(), minor(posting["amount"].as_str().unwrap()))
    };
    entry["postings"].as_array().unwrap().iter().map(line).collect()
}

/// The balance of every ledger account that the entries leave, in minor units, zero ones left out.
pub fn sums(entries: &[Value]) -> BTreeMap<String, i128> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for (ledger_account, amount) in entries.iter().flat_map(postings) {
        *sums.entry(ledger_account).or_default() += amount;
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

/// `"-1.10"` of a currency with two decimals.
pub fn minor(text: &str) -> i128 {
    let (whole, decimals) = text.split_once('.').unwrap_or_else(|| panic!("{text} lacks the full scale"));
    assert_eq!(decimals.len(), 2, "{text} has another scale than the currency");
    let digits: i128 = format!("{whole}{decimals}").parse().unwrap_or_else(|_| panic!("{text} is no amount"));
    digits
}
