//! Efí (formerly Gerencianet), API Cobranças: a callback that only carries a token, and a dated history behind it.
//!
//! One token tells the whole life of a charge, or of all charges of a carnê or subscription, so it is asked anew at
//! every callback. Changes are ordered by their id, which grows per token; a change is dated by the latest
//! `created_at` up to it. `GET charge` is a snapshot, for polls without a token and for sums the history leaves open.
//! ASSUMED: times are America/Sao_Paulo (the account's `timezone`), HTTP 404 means "not there yet", and how a partial
//! refund shows. Success is HTTP 200 *and* `code` 200; error codes arrive under any HTTP status.

mod history;
mod search;

use super::provider::{
    Columns, Credential, Dating, Finding, Findings, Incoming, Known, Merchant, Notice, Polling, Provider,
    Question, Reading, Search, Session, Spec, Stranger, Trouble, Unreadable, amount_minor, body_json,
    check_status,
};
use crate::domain::evidence::{Amount, Identity, provider_status};
use crate::domain::ids::{ProviderRef, Reference, Token};
use crate::domain::money::Money;
use crate::domain::state::Word;
use crate::domain::time::OffsetTime;
use crate::schedule::limiter::Allowance;
use crate::wire::call::{Answer, Call, segment};
use crate::wire::json::Json;
use crate::wire::{dates, form};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

pub struct Gerencianet;

static SPEC: Spec = Spec {
    id: "gerencianet",
    name: "Efí (Gerencianet) Cobranças",
    base_url: "https://cobrancas.api.efipay.com.br",
    credentials: &[
        Credential { name: "client_id", required: true },
        Credential { name: "client_secret", required: true },
    ],
    needs_callback_key: true,
    callback_shape: "a form `notification=<token>`, as Efí posts it (or a JSON object with a text `notification`)",
    callback_entry: "in each charge: `metadata.notification_url` (at most 255 characters), sent by the shop when it creates the charge",
    // Efí asks not to poll as a routine, and allows 15,000 look-ups of charges a day. All of the allowance at once and what
    // grows again within a day stay below that.
    polling: Polling {
        pause_min: Duration::from_secs(3600),
        quota: Some(Allowance { count: 7_000, per: Duration::from_secs(86_400) }),
    },
    settlement: Some(Columns::assumed(&[
        ("line_id", "ID do lançamento"),
        ("reference", "custom_id"),
        ("provider_ref", "Cobrança"),
        ("gross", "Valor bruto"),
        ("fee", "Tarifa"),
        ("net", "Valor líquido"),
        ("settled_date", "Data do crédito"),
    ])),
};

/// What Efí's words mean. `identified` and `approved` are money announced, not credited (AMBIGUOUS); `unpaid` and
/// `canceled` may still become `paid`: a refused card is tried again, a printed boleto is paid late (AMBIGUOUS).
const WORDS: &[(&str, Word)] = &[
    ("new", Word::Created),
    ("waiting", Word::Created),
    ("link", Word::Created),
    ("identified", Word::InAnalysis),
    ("approved", Word::InAnalysis),
    ("paid", Word::Paid),
    ("settled", Word::Paid),
    ("unpaid", Word::Expired),
    ("canceled", Word::Expired),
    ("expired", Word::Expired),
    ("refunded", Word::Refunded),
    ("contested", Word::Chargeback),
];
/// What Efí's error codes and names mean.
const ERRORS: &[(&str, Fault)] = &[
    ("3500000", Fault::Internal),
    ("3500001", Fault::Refused),
    ("3500008", Fault::Refused),
    ("3500010", Fault::NotThere),
    ("3500049", Fault::Limit),
    ("3500055", Fault::Limit),
    ("invalid_token", Fault::Refused),
    ("invalid_client", Fault::Refused),
];

#[derive(Clone, Copy)]
enum Fault {
    Internal,
    Refused,
    NotThere,
    Limit,
}

const GRANT: &str = r#"{"grant_type":"client_credentials"}"#;
/// Where a session's length is not named. Sessions end 30 seconds early, as in Efí's own SDK.
const SESSION_SECONDS: u64 = 600;

impl Provider for Gerencianet {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn authenticate(&self, _merchant: &Merchant, _headers: &[(String, String)]) -> Result<(), Stranger> {
        Ok(())
    }

    fn hear(&self, _merchant: &Merchant, incoming: &Incoming<'_>) -> Result<Notice, Unreadable> {
        let unreadable = |found: String| Unreadable { expected: SPEC.callback_shape, found };
        let body = incoming.body.trim_ascii();
        let named = if body.starts_with(b"{") {
            let json = Json::parse(body).map_err(|error| unreadable(error.to_string()))?;
            json.get("notification").and_then(Json::as_str).map(str::to_owned)
        } else {
            form::value(&form::pairs(body), "notification").map(str::to_owned)
        };
        let named = named.ok_or_else(|| unreadable("there is no `notification`".to_owned()))?;
        let token = Token::parse(&named).map_err(|error| unreadable(error.to_string()))?;
        Ok(Notice { questions: vec![Question::Token(token)], ..Notice::default() })
    }

    fn poll(&self, known: Known<'_>) -> Option<Question> {
        let charge = || known.provider_ref.cloned().map(Question::ProviderRef);
        known.token.cloned().map(Question::Token).or_else(charge).or_else(|| Some(search::begin(known)))
    }

    fn ask(&self, merchant: &Merchant, session: Option<&Session>, question: &Question) -> Call {
        let one = |charge: &str| format!("charge/{}", segment(charge));
        let path = match question {
            Question::Token(token) => format!("notification/{}", segment(token.as_str())),
            Question::ProviderRef(charge) | Question::Search(Search { found: Some(charge), .. }) => {
                one(charge.as_str())
            }
            Question::Reference(charge) => one(charge.as_str()),
            Question::Search(search) => search::path(merchant, search),
        };
        let url = format!("{}/v1/{path}", merchant.base_url);
        Call::get(url).bearer(session.map(|session| &session.token))
    }

    fn read(&self, merchant: &Merchant, question: &Question, answer: &Answer) -> Result<Findings, Trouble> {
        let data = data(answer);
        match question {
            Question::Token(token) => history::read(merchant, token, &data?),
            Question::ProviderRef(charge) => charge_now(merchant, Asked::by_id(charge.as_str()), &data?),
            Question::Reference(charge) => charge_now(merchant, Asked::by_id(charge.as_str()), &data?),
            Question::Search(search) => match &search.found {
                Some(charge) => search::read_charge(merchant, search, charge, &data?),
                None => search::read_list(search, data),
            },
        }
    }

    fn login(&self, merchant: &Merchant, _old: Option<&Session>) -> Option<Call> {
        let credential = |name| merchant.credentials.first(name);
        let (id, secret) = (credential("client_id"), credential("client_secret"));
        let pair = SecretString::from(format!("{}:{}", id.expose_secret(), secret.expose_secret()));
        let basic = SecretString::from(format!("Basic {}", BASE64.encode(pair.expose_secret())));
        let url = format!("{}/v1/authorize", merchant.base_url);
        Some(Call::post(url, "application/json", GRANT).header("authorization", &basic))
    }

    fn logged_in(&self, _merchant: &Merchant, answer: &Answer) -> Result<Session, Trouble> {
        let json = explained(answer)?;
        let token = json.get("access_token").and_then(Json::as_str).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| broken("its login answer has no `access_token`"))?;
        let lives = json.get("expires_in").and_then(Json::literal).and_then(|text| text.parse().ok());
        Ok(Session { token: token.into(), lives: Duration::from_secs(lives.unwrap_or(SESSION_SECONDS)) })
    }
}

fn broken(what: &str) -> Trouble {
    Trouble::Broken(what.to_owned())
}

/// What an answer says that means success.
fn data(answer: &Answer) -> Result<Json, Trouble> {
    let json = explained(answer)?;
    let code = json.get("code").and_then(Json::literal).unwrap_or("none");
    if answer.status == 200 && code == "200" {
        return json.get("data").cloned().ok_or_else(|| broken("its answer has no `data`"));
    }
    let what = format!("it answered HTTP {} with code {}", answer.status, provider_status(code));
    Err(Trouble::Broken(what + &description(&json)))
}

/// An answer's JSON, unless its error code, its error name or its HTTP status says what is wrong.
fn explained(answer: &Answer) -> Result<Json, Trouble> {
    let json = body_json(answer);
    let named = |key: &str| json.as_ref().ok().and_then(|json| json.get(key)).and_then(Json::literal);
    let errors = [named("code"), named("error")];
    if let Some((_, fault)) = ERRORS.iter().find(|(error, _)| errors.contains(&Some(*error))) {
        return Err(trouble(*fault, answer));
    }
    check_status(answer).map_err(|trouble| match trouble {
        Trouble::Broken(what) => Trouble::Broken(what + &json.as_ref().map(description).unwrap_or_default()),
        Trouble::NotThere { .. }
        | Trouble::Credentials { .. }
        | Trouble::TooFast { .. }
        | Trouble::Down { .. } => trouble,
    })?;
    json
}

fn trouble(fault: Fault, answer: &Answer) -> Trouble {
    let (status, retry_after) = (answer.status, answer.retry_after);
    match fault {
        Fault::Internal => Trouble::Down { status, retry_after },
        Fault::Refused => Trouble::Credentials { status },
        Fault::NotThere => Trouble::NotThere { status },
        Fault::Limit => Trouble::TooFast { status, retry_after },
    }
}

/// What `error_description` says: it is a text, or an object with a message.
fn description(json: &Json) -> String {
    let described = json.get("error_description");
    let message = described.and_then(|described| described.get("message").or(Some(described)));
    let text = message.and_then(Json::as_str);
    text.map(|text| format!(": {}", provider_status(text))).unwrap_or_default()
}

/// What a reading comes to, apart from its date and name.
struct Sums {
    word: Option<Word>,
    gross: Amount,
    refunded: Amount,
}

fn word(status: &str) -> Option<Word> {
    WORDS.iter().find(|(theirs, _)| *theirs == status).map(|(_, word)| *word)
}

/// A charge that was asked for: by its id, or by the id that a list named for a reference.
struct Asked<'a> {
    charge: &'a str,
    reference: Option<&'a Reference>,
}

impl Asked<'_> {
    fn by_id(charge: &str) -> Asked<'_> {
        Asked { charge, reference: None }
    }
}

/// A charge as it is now. Its answer does not say whether its `custom_id` is a carnê's, so it goes by its own id unless a
/// list told more.
fn charge_now(merchant: &Merchant, asked: Asked<'_>, data: &Json) -> Result<Findings, Trouble> {
    let named = data.get("charge_id").and_then(Json::literal);
    let named = named.ok_or_else(|| broken("its answer has no `charge_id`"))?;
    if named != asked.charge {
        return Err(broken("its answer names another charge than the one asked for"));
    }
    let charge = ProviderRef::parse(named).map_err(|error| Trouble::Broken(error.to_string()))?;
    let status = data.get("status").and_then(Json::as_str);
    let status = status.ok_or_else(|| broken("its answer has no `status`"))?;
    let word = word(status);
    let payment = data.get("payment");
    let mut gross = Amount::Absent;
    if word.is_some_and(Word::says_money_came) {
        // A charge settled by hand may have no `paid_value`, or 0.
        let named = [data.get("paid_value"), payment.and_then(|it| it.get("paid_value")), data.get("total")];
        let mut named = named.into_iter().map(|field| amount_minor(field, merchant.currency));
        let empty = |amount: &Amount| amount.is_absent() || *amount == Amount::Known(Money::ZERO);
        gross = named.find(|amount| !empty(amount)).unwrap_or_default();
    }
    let paid_at = payment.and_then(|payment| payment.get("paid_at")).and_then(Json::as_str);
    let paid_at = paid_at.filter(|_| word == Some(Word::Paid));
    let occurred = paid_at.and_then(|text| dates::seconds(text, &merchant.zone).ok());
    let sums = Sums { word, gross, refunded: Amount::Absent };
    let reading = reading(status, sums, Dating::Snapshot, occurred, Identity::Content);
    let finding =
        Finding { reference: asked.reference.cloned(), provider_ref: Some(charge), token: None, reading };
    Ok(Findings { findings: vec![finding], questions: Vec::new() })
}

fn reading(
    status: &str,
    sums: Sums,
    dating: Dating,
    occurred: Option<OffsetTime>,
    identity: Identity,
) -> Reading {
    Reading {
        word: sums.word,
        provider_status: provider_status(status),
        gross: sums.gross,
        fee: Amount::Absent,
        refunded: sums.refunded,
        currency: None,
        proof: false,
        dating,
        occurred,
        identity,
        details: Vec::new(),
    }
}
