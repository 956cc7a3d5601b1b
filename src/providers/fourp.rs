//! 4P Finance: Pix against crypto. A callback that only carries a token, and a query that answers a snapshot.
//!
//! How the callback carries the token is not documented: a JSON `token` is ASSUMED, and the names that integrators
//! try are read from JSON, from a form and from the query string. Callbacks come unsigned from 44.196.63.157; 4P counts
//! one as delivered when its token is asked for.
//!
//! There is no query but the one by token, so an order cannot be polled before its first callback. Two notifications
//! belong to a sale: the Pix was paid, then the crypto was delivered. The second differs by a `transaction_hash` alone.
//! A pay-out by Pix (off-ramp) looks the same as a sale and is read as one (AMBIGUOUS). Refunds are not documented:
//! whatever they are called, they are unknown words here.
//!
//! Money is the Pix charge in reais. The crypto amount is called `amount_usdt` whatever the asset is; it is kept word
//! for word and never counted. Times are ASSUMED to be the merchant's zone (America/Sao_Paulo). The answer's `id` is not
//! compared with the token, since nothing says that they are the same. 4P allows a `custom_id` of 255 characters; one
//! of more than 200 is refused here.

use super::provider::{
    Columns, Credential, Dating, Finding, Findings, Incoming, Known, Merchant, Notice, Polling, Provider,
    Question, Reading, Search, Session, Spec, Stranger, Trouble, Unreadable, amount, body_json, check_status,
};
use crate::domain::evidence::{Amount, Identity, provider_status};
use crate::domain::ids::{ProviderRef, Reference, Token};
use crate::domain::state::Word;
use crate::domain::time::OffsetTime;
use crate::wire::call::{Answer, Call, segment};
use crate::wire::json::Json;
use crate::wire::{dates, form};
use std::time::Duration;

pub struct FourP;

static SPEC: Spec = Spec {
    id: "fourp",
    name: "4P Finance",
    base_url: "https://api.4p.finance",
    credentials: &[Credential { name: "api_key", required: true }],
    needs_callback_key: true,
    callback_shape: "a notification `token`, in a JSON object, a form or the query string",
    callback_entry: "in each transaction: `notification_url` (https only), sent by the shop when it creates the transaction",
    polling: Polling { pause_min: Duration::from_secs(30), quota: None },
    settlement: Some(Columns::assumed(&[
        ("line_id", "id"),
        ("reference", "custom_id"),
        ("provider_ref", "txid"),
        ("gross", "amount"),
        ("fee", "fee"),
        ("net", "net_amount"),
        ("settled_date", "confirmed_at"),
    ])),
};

/// What the token may be called, the likeliest first (ASSUMED) …
const TOKEN_NAMES: &[&str] = &["token", "notification_token", "notificationToken", "notif_token", "id"];
/// … at the top of the body, or inside one of these.
const TOKEN_PLACES: &[&str] = &["data", "info", "notification"];

/// What 4P's words mean before anything is delivered. `success` without a hash is AMBIGUOUS.
const WORDS: &[(&str, Word)] = &[
    ("pending", Word::Created),
    ("ATIVA", Word::Created),
    ("processing", Word::InAnalysis),
    ("paid", Word::Paid),
    ("success", Word::Paid),
    // After it was paid this contradicts, and the ledger says so.
    ("error", Word::Expired),
    ("expired", Word::Expired),
];

/// The only facts that are kept, of `custom_data`; sorted.
const DETAILS: &[&str] = &["amount_usdt", "chain_name", HASH];
/// Its presence says that the crypto was delivered.
const HASH: &str = "transaction_hash";
const DETAIL_CHARS_MAX: usize = 128;

/// An unknown token, whatever the HTTP status.
const RESULT_NOT_THERE: &str = "not_found";

impl Provider for FourP {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn authenticate(&self, _merchant: &Merchant, _headers: &[(String, String)]) -> Result<(), Stranger> {
        Ok(())
    }

    fn hear(&self, _merchant: &Merchant, incoming: &Incoming<'_>) -> Result<Notice, Unreadable> {
        let unreadable = |found: String| Unreadable { expected: SPEC.callback_shape, found };
        let (json, form) = match incoming.body.trim_ascii() {
            json @ [b'{', ..] => (Json::parse(json).map_err(|error| unreadable(error.to_string()))?, &[][..]),
            form => (Json::Null, form),
        };
        let query = incoming.query.unwrap_or_default().as_bytes();
        let pairs = [form::pairs(form), form::pairs(query)].concat();
        let token = token_places().find_map(|(place, name)| {
            let inner = place.map_or(Some(&json), |place| json.get(place));
            let in_json = inner.and_then(|inner| inner.get(name)?.literal());
            let written = place.map_or(name.to_owned(), |place| format!("{place}[{name}]"));
            in_json
                .or_else(|| form::value(&pairs, &written))
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        });
        let token = token.ok_or_else(|| unreadable("there is no `token`".to_owned()))?;
        let token = Token::parse(&token).map_err(|error| unreadable(error.to_string()))?;
        Ok(Notice { questions: vec![Question::Token(token)], ..Notice::default() })
    }

    fn poll(&self, known: Known<'_>) -> Option<Question> {
        known.token.cloned().map(Question::Token)
    }

    fn ask(&self, merchant: &Merchant, _session: Option<&Session>, question: &Question) -> Call {
        let url = format!("{}/v1/notification/{}", merchant.base_url, segment(subject(question)));
        Call::get(url).header("x-api-key", &merchant.credentials.first("api_key"))
    }

    fn read(&self, merchant: &Merchant, question: &Question, answer: &Answer) -> Result<Findings, Trouble> {
        let body = body_json(answer);
        let refusal = body.as_ref().ok().and_then(refusal);
        match check_status(answer) {
            Ok(()) | Err(Trouble::Broken(_)) if refusal == Some(RESULT_NOT_THERE) => {
                return Err(Trouble::NotThere { status: answer.status });
            }
            status => status?,
        }
        if let Some(word) = refusal {
            return Err(broken(&format!("its answer says no success, with {}", provider_status(word))));
        }
        let json = body?;
        let data = told(&json, "data").filter(|data| data.is_object());
        let data = data.ok_or_else(|| broken("its answer has no `data`"))?;
        let finding = finding(merchant, data, question)?;
        Ok(Findings { findings: vec![finding], questions: Vec::new() })
    }
}

/// Everything is asked by token. (No question of this adapter is another.)
fn subject(question: &Question) -> &str {
    match question {
        Question::Token(token) => token.as_str(),
        Question::ProviderRef(provider_ref) => provider_ref.as_str(),
        Question::Reference(reference) | Question::Search(Search { reference, .. }) => reference.as_str(),
    }
}

/// Where the token may stand: a likelier name deep inside comes before a less likely one at the top.
fn token_places() -> impl Iterator<Item = (Option<&'static str>, &'static str)> {
    TOKEN_NAMES.iter().flat_map(|name| {
        let inside = TOKEN_PLACES.iter().map(|place| (Some(*place), *name));
        std::iter::once((None, *name)).chain(inside)
    })
}

/// A field of the answer's envelope, which goes by two names.
fn told<'a>(json: &'a Json, field: &str) -> Option<&'a Json> {
    ["info", "details"].into_iter().find_map(|envelope| json.get(envelope)?.get(field))
}

/// The result word of an answer that says no success: HTTP 200 alone says nothing.
fn refusal(json: &Json) -> Option<&str> {
    let success = json.get("success") == Some(&Json::Bool(true));
    let result = told(json, "result").and_then(Json::as_str);
    if success { None } else { result.or(Some("no result word")) }
}

fn broken(what: &str) -> Trouble {
    Trouble::Broken(what.to_owned())
}

fn finding(merchant: &Merchant, data: &Json, question: &Question) -> Result<Finding, Trouble> {
    let text = |name: &str| data.get(name).and_then(Json::literal).filter(|text| !text.is_empty());
    let txid = text("txid").map(ProviderRef::parse).transpose();
    let txid = txid.map_err(|error| broken(&error.to_string()))?;
    let name = text("custom_id").or(text("txid"));
    let name = name.ok_or_else(|| broken("its answer has neither `custom_id` nor `txid`"))?;
    let status = text("status").ok_or_else(|| broken("its answer has no `status`"))?;
    Ok(Finding {
        reference: Some(Reference::parse(name).map_err(|error| broken(&error.to_string()))?),
        provider_ref: txid,
        token: Token::parse(subject(question)).ok(),
        reading: reading(merchant, data, status),
    })
}

fn reading(merchant: &Merchant, data: &Json, status: &str) -> Reading {
    let details = data.get("custom_data").map(details).unwrap_or_default();
    let delivered = details.iter().any(|(name, _)| name == HASH);
    let word = WORDS.iter().find(|(theirs, _)| *theirs == status).map(|(_, word)| *word);
    let word = if delivered && word == Some(Word::Paid) { Some(Word::Completed) } else { word };
    let date = |name: &str| date(data.get(name)?.as_str()?, merchant);
    Reading {
        word,
        provider_status: provider_status(status),
        gross: amount(data.get("amount"), merchant.currency),
        fee: Amount::Absent,
        refunded: Amount::Absent,
        currency: None,
        proof: false,
        dating: Dating::Snapshot,
        // Both dates are the Pix's: when the crypto was delivered is not told.
        occurred: if word == Some(Word::Paid) {
            date("payment_date_time").or_else(|| date("confirmed_at"))
        } else {
            None
        },
        identity: Identity::Content,
        details,
    }
}

fn date(text: &str, merchant: &Merchant) -> Option<OffsetTime> {
    dates::pt_br(text, &merchant.zone).ok()
}

/// The facts that may be kept, without what is not printable.
fn details(custom_data: &Json) -> Vec<(String, String)> {
    let fit = |c: &char| c.is_ascii_graphic() || *c == ' ';
    let fact = |name: &&str| {
        let text = custom_data.get(name)?.literal()?;
        let text: String = text.chars().filter(fit).take(DETAIL_CHARS_MAX).collect();
        Some(((*name).to_owned(), text)).filter(|(_, text)| !text.trim().is_empty())
    };
    DETAILS.iter().filter_map(fact).collect()
}

#[cfg(test)]
mod tests;
