//! PicPay e-commerce (wallet API): a callback that only names the order, and a status query that answers a snapshot.
//!
//! Two generations of the API answer at the same address. The legacy one knows `analysis` and `completed` and names no
//! amounts; the current one knows `authorized` and has a `summary` in reais. Both are read, whatever the account uses.
//! No dates are sent, so every answer is a snapshot. What an unknown reference is answered with is not documented:
//! 404 and 422 both count as "not there yet" (ASSUMED).

use super::provider::{
    Columns, Credential, Dating, Finding, Findings, Incoming, Known, Merchant, Notice, Polling, Provider,
    Question, Reading, Search, Session, Spec, Stranger, Trouble, Unreadable, amount, body_json, check_status,
    header,
};
use crate::domain::evidence::{Identity, provider_status};
use crate::domain::ids::{ProviderRef, Reference};
use crate::domain::state::Word;
use crate::wire::call::{Answer, Call, segment};
use crate::wire::json::Json;
use std::time::Duration;

pub struct PicPay;

static SPEC: Spec = Spec {
    id: "picpay",
    name: "PicPay e-commerce",
    base_url: "https://appws.picpay.com",
    credentials: &[
        Credential { name: "picpay_token", required: true },
        Credential { name: "seller_token", required: true },
    ],
    needs_callback_key: false,
    callback_shape: "a JSON object with a text `referenceId`, as PicPay posts it (not a form)",
    callback_entry: "in each payment: `callbackUrl` of `POST /ecommerce/public/payments`, sent by the shop when it creates the payment",
    polling: Polling { pause_min: Duration::from_secs(30), quota: None },
    settlement: Some(Columns::assumed(&[
        ("line_id", "ID da transação"),
        ("reference", "Referência"),
        ("gross", "Valor bruto"),
        ("fee", "Tarifa"),
        ("net", "Valor líquido"),
        ("settled_date", "Data da liberação"),
    ])),
};

/// What PicPay's words mean. `authorized` is money reserved, not moved (AMBIGUOUS in the documents).
const WORDS: &[(&str, Word)] = &[
    ("created", Word::Created),
    ("pending", Word::Created),
    ("expired", Word::Expired),
    ("analysis", Word::InAnalysis),
    ("authorized", Word::InAnalysis),
    ("paid", Word::Paid),
    ("completed", Word::Completed),
    ("refunded", Word::Refunded),
    ("chargeback", Word::Chargeback),
];

impl Provider for PicPay {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn authenticate(&self, merchant: &Merchant, headers: &[(String, String)]) -> Result<(), Stranger> {
        let presented = header(headers, "x-seller-token").ok_or(Stranger)?;
        if merchant.credentials.accepts("seller_token", presented) { Ok(()) } else { Err(Stranger) }
    }

    fn hear(&self, _merchant: &Merchant, incoming: &Incoming<'_>) -> Result<Notice, Unreadable> {
        let unreadable = |found: String| Unreadable { expected: SPEC.callback_shape, found };
        // PicPay's own modules strip control characters before they decode, so such bodies are sent.
        let cleaned: Vec<u8> = incoming.body.iter().copied().filter(|byte| *byte >= b' ').collect();
        let json = Json::parse(&cleaned).map_err(|error| unreadable(error.to_string()))?;
        let name = json.get("referenceId").and_then(Json::literal);
        let name = name.ok_or_else(|| unreadable("there is no text `referenceId`".to_owned()))?;
        let reference = Reference::parse(name).map_err(|error| unreadable(error.to_string()))?;
        Ok(Notice { questions: vec![Question::Reference(reference)], ..Notice::default() })
    }

    fn poll(&self, known: Known<'_>) -> Option<Question> {
        let name = known.provider_ref.map_or(known.reference.as_str(), ProviderRef::as_str);
        Reference::parse(name).ok().map(Question::Reference)
    }

    fn ask(&self, merchant: &Merchant, _session: Option<&Session>, question: &Question) -> Call {
        let url =
            format!("{}/ecommerce/public/payments/{}/status", merchant.base_url, segment(subject(question)));
        Call::get(url).header("x-picpay-token", &merchant.credentials.first("picpay_token"))
    }

    fn read(&self, merchant: &Merchant, question: &Question, answer: &Answer) -> Result<Findings, Trouble> {
        if answer.status == 422 {
            return Err(Trouble::NotThere { status: answer.status });
        }
        check_status(answer)?;
        let json = body_json(answer)?;
        let broken = |what: &str| Trouble::Broken(what.to_owned());
        let named = json.get("referenceId").and_then(Json::literal);
        let named = named.ok_or_else(|| broken("its answer has no `referenceId`"))?;
        if named != subject(question) {
            return Err(broken("its answer names another order than the one asked for"));
        }
        let status = json.get("status").and_then(Json::as_str);
        let status = status.ok_or_else(|| broken("its answer has no `status`"))?;
        let reference = Reference::parse(named).map_err(|error| broken(&error.to_string()))?;
        let finding = Finding {
            provider_ref: Some(ProviderRef::from(&reference)),
            reference: Some(reference),
            token: None,
            reading: reading(merchant, &json, status),
        };
        Ok(Findings { findings: vec![finding], questions: Vec::new() })
    }
}

/// Everything about a PicPay order is asked by its reference.
fn subject(question: &Question) -> &str {
    match question {
        Question::Reference(reference) | Question::Search(Search { reference, .. }) => reference.as_str(),
        Question::ProviderRef(provider_ref) => provider_ref.as_str(),
        Question::Token(token) => token.as_str(),
    }
}

fn reading(merchant: &Merchant, json: &Json, status: &str) -> Reading {
    let summary = json.get("summary");
    let field = |name: &str| amount(summary.and_then(|summary| summary.get(name)), merchant.currency);
    let authorization = json.get("authorizationId").and_then(Json::literal);
    Reading {
        word: WORDS.iter().find(|(theirs, _)| *theirs == status).map(|(_, word)| *word),
        provider_status: provider_status(status),
        gross: field("paid"),
        fee: Default::default(),
        refunded: field("refunded"),
        currency: None,
        proof: false,
        dating: Dating::Snapshot,
        occurred: None,
        identity: Identity::Content,
        details: authorization
            .map(|id| ("authorizationId".to_owned(), provider_status(id)))
            .into_iter()
            .collect(),
    }
}
