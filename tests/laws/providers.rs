//! What providers send and what their adapters make of it, case by case from files, and whatever else may come.
//!
//! A case is a directory `tests/fixtures/<provider>/<case>/`: a `callback.*` (with headers if it is `callback.http`) or a
//! `known.json` of an order to poll, then `answer.<status>.*` (`answer-2.<status>.*` …) to the questions in the order
//! they are asked, and `expected.json`. `RAZAO_BLESS=1 cargo test --test laws fixtures` writes what came of them as
//! expected; read it before you keep it.

mod genpag;
mod gerencianet;
mod hostile;

use jiff::tz::TimeZone;
use razao::domain::evidence::{Amount, Identity};
use razao::domain::ids::{AccountId, ProviderRef, Reference, Token};
use razao::domain::money::Currency;
use razao::domain::time::Time;
use razao::providers::provider::{
    Credentials, Dating, Finding, Findings, Incoming, Known, Merchant, Notice, Provider, Question, Search,
    Session, Trouble, Unreadable,
};
use razao::providers::registry::{PROVIDERS, find};
use razao::wire::call::{Answer, Call};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// An account whose credentials are their own names, `seller_token` being `seller-token`.
pub fn merchant(provider: &dyn Provider) -> Merchant {
    let value = |name: &str| vec![name.replace('_', "-").into()];
    let credentials = provider.spec().credentials.iter();
    Merchant {
        id: AccountId::parse("loja").unwrap(),
        currency: Currency::BRL,
        zone: TimeZone::get("America/Sao_Paulo").unwrap(),
        base_url: "https://provider.example".to_owned(),
        credentials: Credentials(credentials.map(|it| (it.name.to_owned(), value(it.name))).collect()),
    }
}

pub fn answer(status: u16, body: impl AsRef<[u8]>) -> Answer {
    Answer { status, content_type: None, retry_after: None, body: body.as_ref().to_vec() }
}

pub fn hear(provider: &str, body: impl AsRef<[u8]>) -> Result<Notice, Unreadable> {
    let provider = find(provider).unwrap();
    let incoming = Incoming { headers: &[], content_type: None, query: None, body: body.as_ref() };
    provider.hear(&merchant(provider), &incoming)
}

pub fn read(provider: &str, question: &Question, status: u16, json: &Value) -> Result<Findings, Trouble> {
    let provider = find(provider).unwrap();
    provider.read(&merchant(provider), question, &answer(status, json.to_string()))
}

pub fn by_token(token: &str) -> Question {
    Question::Token(Token::parse(token).unwrap())
}

pub fn by_provider_ref(name: &str) -> Question {
    Question::ProviderRef(ProviderRef::parse(name).unwrap())
}

/// A call with everything that is secret in it.
pub fn whole(call: &Call) -> Value {
    let headers = call.headers.iter().map(|(name, value)| (*name, value.expose_secret()));
    let headers: Map<String, Value> = headers.map(|(name, value)| (name.to_owned(), value.into())).collect();
    let body = call.body.as_ref().map(|body| json!({ body.content_type: body.bytes.expose_secret() }));
    json!({ "call": format!("{} {}", call.method.as_str(), call.url.expose_secret()), "headers": headers, "body": body })
}

/// The cases of a provider; the directories are sorted, so that failures come in the same order everywhere.
pub fn cases(provider: &str) -> Vec<PathBuf> {
    let directory = Path::new(FIXTURES).join(provider);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|_| panic!("{provider} has no fixtures"));
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "{provider} has no fixtures");
    cases
}

/// The files of a case whose names begin so, with their names.
pub fn files(case: &Path, begin: &str) -> Vec<(String, Vec<u8>)> {
    let names =
        std::fs::read_dir(case).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(begin)).collect();
    names.sort_by_key(|name| nth(name));
    names.into_iter().map(|name| (name.clone(), std::fs::read(case.join(name)).unwrap())).collect()
}

/// `answer-2.200.json` is the second.
fn nth(name: &str) -> u32 {
    let stem = name.split('.').next().unwrap_or_default();
    stem.split_once('-').map_or(1, |(_, nth)| nth.parse().unwrap())
}

/// The headers and the body of a callback's file.
pub fn callback(name: &str, bytes: &[u8]) -> (Vec<(String, String)>, Vec<u8>) {
    if !name.ends_with(".http") {
        return (Vec::new(), bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    let pair = |line: &str| {
        line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).unwrap()
    };
    (head.lines().skip(1).map(pair).collect(), body.as_bytes().to_vec())
}

/// The query in a callback's request line.
fn query(name: &str, bytes: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.lines().next())
        .filter(|_| name.ends_with(".http"))?;
    let target = line.split(' ').nth(1)?;
    target.split_once('?').map(|(_, query)| query.to_owned())
}

fn heard(provider: &dyn Provider, name: &str, bytes: &[u8], open: &mut VecDeque<Question>) -> Value {
    let (headers, body) = callback(name, bytes);
    let merchant = merchant(provider);
    let authentic = provider.authenticate(&merchant, &headers).is_ok();
    let content_type =
        headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
    let query = query(name, bytes);
    let incoming = Incoming { headers: &headers, content_type, query: query.as_deref(), body: &body };
    match provider.hear(&merchant, &incoming) {
        Err(unreadable) => json!({ "authentic": authentic, "unreadable": unreadable.found }),
        Ok(Notice { findings, questions, .. }) => {
            open.extend(questions.clone());
            json!({ "authentic": authentic, "findings": shown(&findings), "questions": asked(&questions) })
        }
    }
}

fn polled(provider: &dyn Provider, known: &[u8], open: &mut VecDeque<Question>) -> Value {
    let known: Value = serde_json::from_slice(known).unwrap();
    let text = |name: &str| known[name].as_str();
    let reference = Reference::parse(text("reference").unwrap()).unwrap();
    let provider_ref = text("provider_ref").map(|name| ProviderRef::parse(name).unwrap());
    let token = text("token").map(|name| Token::parse(name).unwrap());
    let known_since = Time(1_772_000_000_000_000);
    let known = Known {
        reference: &reference,
        provider_ref: provider_ref.as_ref(),
        token: token.as_ref(),
        known_since,
    };
    let question = provider.poll(known);
    open.extend(question.clone());
    json!({ "questions": asked(question.as_slice()) })
}

/// Everything that comes of a case.
fn outcome(provider: &dyn Provider, case: &Path) -> Value {
    let mut open = VecDeque::new();
    let mut outcome = Map::new();
    for (name, bytes) in files(case, "callback.") {
        outcome.insert("callback".to_owned(), heard(provider, &name, &bytes, &mut open));
    }
    for (_, bytes) in files(case, "known.json") {
        outcome.insert("poll".to_owned(), polled(provider, &bytes, &mut open));
    }
    let merchant = merchant(provider);
    let session = Session { token: "session-token".into(), lives: Duration::from_secs(600) };
    let mut answers = Vec::new();
    for (name, body) in files(case, "answer") {
        let question =
            open.pop_front().unwrap_or_else(|| panic!("nobody asks for {name} in {}", case.display()));
        let call = provider.ask(&merchant, Some(&session), &question);
        let status = name.split('.').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let mut came = whole(&call);
        match provider.read(&merchant, &question, &answer(status, body)) {
            Err(trouble) => came["trouble"] = trouble.to_string().into(),
            Ok(Findings { findings, questions }) => {
                came["findings"] = shown(&findings);
                came["questions"] = asked(&questions);
                open.extend(questions);
            }
        }
        came.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        answers.push(came);
    }
    outcome.insert("answers".to_owned(), answers.into());
    outcome.into()
}

fn asked(questions: &[Question]) -> Value {
    let show = |question: &Question| match question {
        Question::Reference(reference) => format!("reference {reference}"),
        Question::ProviderRef(provider_ref) => format!("provider_ref {provider_ref}"),
        Question::Token(token) => format!("token {token}"),
        Question::Search(Search { reference, looked, found: None, .. }) => {
            format!("search for {reference}, list {looked}")
        }
        Question::Search(Search { reference, found: Some(found), .. }) => {
            format!("search for {reference}, found {found}")
        }
    };
    questions.iter().map(show).collect()
}

fn shown(findings: &[Finding]) -> Value {
    findings.iter().map(show).collect()
}

/// A finding without what is absent.
fn show(finding: &Finding) -> Value {
    let reading = &finding.reading;
    let amount = |amount: &Amount| match amount {
        Amount::Absent => None,
        Amount::Known(money) => Some(money.show(Currency::BRL)),
        Amount::Unreadable(text) => Some(format!("unreadable {text}")),
    };
    let (dated, created) = match reading.dating {
        Dating::Snapshot => ("snapshot".to_owned(), None),
        Dating::Told { at, payment_created } => (at.to_string(), payment_created),
    };
    let identity = match &reading.identity {
        Identity::Content => "content".to_owned(),
        Identity::Event(id) => format!("event {id}"),
        Identity::Change { token, id } => format!("change {id} of {token}"),
    };
    let details: Map<String, Value> =
        reading.details.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let mut value = json!({
        "reference": finding.reference.as_ref().map(Reference::as_str),
        "provider_ref": finding.provider_ref.as_ref().map(ProviderRef::as_str),
        "token": finding.token.as_ref().map(Token::as_str),
        "word": reading.word.map_or("unknown", |word| word.as_str()),
        "provider_status": reading.provider_status,
        "gross": amount(&reading.gross),
        "fee": amount(&reading.fee),
        "refunded": amount(&reading.refunded),
        "currency": reading.currency,
        "proof": reading.proof.then_some(true),
        "dated": dated,
        "payment_created": created.map(|created: Time| created.to_string()),
        "occurred": reading.occurred.map(|occurred| occurred.to_string()),
        "identity": identity,
        "details": (!details.is_empty()).then_some(details),
    });
    value.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    value
}

#[test]
fn fixtures_of_every_provider() {
    let bless = std::env::var_os("RAZAO_BLESS").is_some();
    let mut differing = Vec::new();
    for provider in PROVIDERS {
        for case in cases(provider.spec().id) {
            let outcome = outcome(*provider, &case);
            let file = case.join("expected.json");
            if bless {
                std::fs::write(&file, format!("{outcome:#}\n")).unwrap();
            }
            let expected = std::fs::read(&file).unwrap_or_default();
            let expected: Value = serde_json::from_slice(&expected).unwrap_or_default();
            if outcome != expected {
                differing.push(format!("{}: {outcome:#}", case.display()));
            }
        }
    }
    assert!(differing.is_empty(), "other than expected:\n{}", differing.join("\n"));
}
