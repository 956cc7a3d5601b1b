//! GenPag: a callback that is evidence itself, authenticated by the header the webhook was registered with.
//!
//! Nothing documents the envelope, so it is read tolerantly (ASSUMED): `event`, `type` or `name`; `data` or `payment`;
//! or a bare payment. The payment's `status` decides, never the event's name. An order of GenPag's may be paid by
//! several payments, and an order here is one payment: `ORDER.*` events speak of none. Also ASSUMED: the production
//! address, the route of a single payment, and the words for refused, expired and disputed payments. `method` says
//! nothing reliable and is not read. `CANCELLED` leaves open whether money had come: the past decides.
//!
//! An access token lives a week; the configured one is used until it is refused, then renewed with the refresh token.

use super::provider::{
    Columns, Credential, Dating, Finding, Findings, Incoming, Known, Merchant, Notice, Polling, Provider,
    Question, Reading, Search, Session, Spec, Stranger, Trouble, Unreadable, amount, amount_minor, body_json,
    check_status, header,
};
use super::registrar::Registrar;
use crate::domain::evidence::{Amount, Identity, provider_status};
use crate::domain::ids::{EventId, ProviderRef, Reference, Token};
use crate::domain::state::Word;
use crate::domain::time::OffsetTime;
use crate::wire::call::{Answer, Call, segment};
use crate::wire::json::Json;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

mod hooks;

pub struct GenPag;

static SPEC: Spec = Spec {
    id: "genpag",
    name: "GenPag",
    base_url: "https://api.genpag.com.br",
    credentials: &[
        Credential { name: "webhook_authorization", required: true },
        Credential { name: "seller_id", required: true },
        Credential { name: "access_token", required: true },
        Credential { name: "refresh_token", required: false },
    ],
    needs_callback_key: false,
    callback_shape: "a JSON object with an `event` and, as `data`, the payment it is about",
    callback_entry: "once per seller: as `target` of `POST /api/webhooks`, with `events` `[\"PAYMENT.*\"]` and as `authorization` this account's `webhook_authorization`",
    polling: Polling { pause_min: Duration::from_secs(30), quota: None },
    settlement: Some(Columns::assumed(&[
        ("line_id", "id"),
        ("reference", "external_id"),
        ("provider_ref", "payment_id"),
        ("gross", "total"),
        ("fee", "fee"),
        ("net", "net"),
        ("settled_date", "settled_at"),
    ])),
};

/// What GenPag's words mean. `PRE_AUTHORIZED` is money reserved, not moved (AMBIGUOUS).
const WORDS: &[(&str, Word)] = &[
    ("PENDING", Word::Created),
    ("PRE_AUTHORIZED", Word::InAnalysis),
    ("PAID", Word::Paid),
    ("CANCELLED", Word::Closed),
    ("REVERSED", Word::Refunded),
    // ASSUMED, as are those below: no word is documented for these ends.
    ("REFUSED", Word::Expired),
    ("DENIED", Word::Expired),
    ("FAILED", Word::Expired),
    ("EXPIRED", Word::Expired),
];
const BEGINNINGS: &[(&str, Word)] = &[("CHARGEBACK", Word::Chargeback), ("DISPUTE", Word::Chargeback)];

/// Events of V2 (Bolepix, beta), for where the status is no word of the above. The invoice is the payment, and its
/// `amount` is decimal.
const BOLEPIX: &[(&str, Word)] =
    &[("charge-create", Word::Created), ("charge-in", Word::Paid), ("charge-cancelled", Word::Closed)];

const PAYMENT_EVENTS: &str = "PAYMENT";
const ORDER_EVENTS: &str = "ORDER";
/// Fields that payments have and orders have not.
const PAYMENT_MARKS: &[&str] = &["order_id", "session_id", "method"];

/// How long an access token lives.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

impl Provider for GenPag {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    /// The whole header: whether GenPag puts `Bearer ` before the registered text is not documented.
    fn authenticate(&self, merchant: &Merchant, headers: &[(String, String)]) -> Result<(), Stranger> {
        let presented = header(headers, "authorization").ok_or(Stranger)?;
        if merchant.credentials.accepts("webhook_authorization", presented) { Ok(()) } else { Err(Stranger) }
    }

    fn hear(&self, merchant: &Merchant, incoming: &Incoming<'_>) -> Result<Notice, Unreadable> {
        let unreadable = |found: String| Unreadable { expected: SPEC.callback_shape, found };
        let json = Json::parse(incoming.body).map_err(|error| unreadable(error.to_string()))?;
        let Some(event) = Event::of(&json).map_err(|found| unreadable(found.to_owned()))? else {
            return Ok(Notice { event: event_id(&json), ..Notice::default() });
        };
        let named = event.id.and_then(|id| EventId::parse(id).ok());
        let notice = heard(merchant, &event).map_err(unreadable)?;
        Ok(Notice { event: named, ..notice })
    }

    fn poll(&self, known: Known<'_>) -> Option<Question> {
        known.provider_ref.cloned().map(Question::ProviderRef)
    }

    fn ask(&self, merchant: &Merchant, session: Option<&Session>, question: &Question) -> Call {
        let payment = segment(subject(question));
        let url = format!("{}/api/sellers/{}/payments/{payment}", merchant.base_url, seller(merchant));
        Call::get(url).bearer(session.map(|session| &session.token))
    }

    fn read(&self, merchant: &Merchant, question: &Question, answer: &Answer) -> Result<Findings, Trouble> {
        let json = understood(answer)?;
        let payment = json.get("data").unwrap_or(&json);
        let named = payment.get("id").and_then(Json::literal);
        let named =
            named.ok_or_else(|| Trouble::Broken(format!("its answer has no `id`{}", detail(&json))))?;
        if named != subject(question) {
            return Err(Trouble::Broken(
                "its answer names another payment than the one asked for".to_owned(),
            ));
        }
        let spoken = Spoken::status(payment);
        let spoken = spoken.ok_or_else(|| Trouble::Broken("its answer has no `status`".to_owned()))?;
        let gross = amount_minor(payment.get("total_cents"), merchant.currency);
        let reading = reading(spoken, gross, Dating::Snapshot, Identity::Content);
        let finding = finding(payment, named, reading).map_err(Trouble::Broken)?;
        Ok(Findings { findings: vec![finding], questions: Vec::new() })
    }

    fn ask_events(&self, merchant: &Merchant, session: Option<&Session>) -> Option<Call> {
        let call = Call::get(format!("{}/api/events", merchant.base_url));
        Some(call.bearer(session.map(|session| &session.token)))
    }

    /// ASSUMED: `{"data":[…]}` of envelopes as callbacks carry them, in any order, without pages. One that cannot be read
    /// must not hide the others: it is passed over, as are those that speak of no payment.
    fn read_events(&self, merchant: &Merchant, answer: &Answer) -> Result<Findings, Trouble> {
        let json = understood(answer)?;
        let listed = json.get("data");
        let listed =
            listed.ok_or_else(|| Trouble::Broken("its answer holds no list of events".to_owned()))?;
        let mut found = Findings::default();
        for item in listed.items() {
            let notice = Event::of(item).ok().flatten().and_then(|event| heard(merchant, &event).ok());
            let notice = notice.unwrap_or_default();
            found.findings.extend(notice.findings);
            found.questions.extend(notice.questions);
        }
        Ok(found)
    }

    fn first_session(&self, merchant: &Merchant) -> Option<Session> {
        let token = merchant.credentials.first("access_token");
        (!token.expose_secret().is_empty()).then_some(Session { token, lives: WEEK })
    }

    fn login(&self, merchant: &Merchant, _old: Option<&Session>) -> Option<Call> {
        let token = merchant.credentials.first("refresh_token");
        let url = format!("{}/api/{}/tokens", merchant.base_url, seller(merchant));
        let call = Call::post(url, "application/json", "{}").bearer(Some(&token));
        (!token.expose_secret().is_empty()).then_some(call)
    }

    fn logged_in(&self, _merchant: &Merchant, answer: &Answer) -> Result<Session, Trouble> {
        let json = understood(answer)?;
        let token = json.get("data").and_then(Json::as_str).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| Trouble::Broken("its answer holds no access token".to_owned()))?;
        Ok(Session { token: SecretString::from(token), lives: WEEK })
    }

    fn registrar(&self) -> Option<&dyn Registrar> {
        Some(self)
    }
}

/// Everything about a payment is asked by its own id.
fn subject(question: &Question) -> &str {
    match question {
        Question::Reference(reference) | Question::Search(Search { reference, .. }) => reference.as_str(),
        Question::ProviderRef(provider_ref) => provider_ref.as_str(),
        Question::Token(token) => token.as_str(),
    }
}

fn seller(merchant: &Merchant) -> String {
    segment(merchant.credentials.first("seller_id").expose_secret())
}

/// An answer's JSON, unless its HTTP status says what is wrong.
fn understood(answer: &Answer) -> Result<Json, Trouble> {
    let json = body_json(answer);
    check_status(answer).map_err(|trouble| match trouble {
        Trouble::Broken(what) => Trouble::Broken(what + &json.as_ref().map(detail).unwrap_or_default()),
        Trouble::NotThere { .. }
        | Trouble::Credentials { .. }
        | Trouble::TooFast { .. }
        | Trouble::Down { .. } => trouble,
    })?;
    json
}

/// What `errors.detail` says (ASSUMED: the shape that Phoenix gives errors).
fn detail(json: &Json) -> String {
    let detail = json.get("errors").and_then(|errors| errors.get("detail")).and_then(Json::as_str);
    detail.map(|text| format!(": {}", provider_status(text))).unwrap_or_default()
}

/// A callback about a payment.
struct Event<'a> {
    id: Option<&'a str>,
    at: Option<OffsetTime>,
    payment: &'a Json,
    bolepix: Option<(&'a str, Word)>,
}

impl<'a> Event<'a> {
    /// `None`: it is about no payment.
    fn of(json: &'a Json) -> Result<Option<Event<'a>>, &'static str> {
        let name = ["event", "type", "name"].iter().find_map(|key| json.get(key)?.as_str());
        let begins = |with: &str| name.is_some_and(|name| begins(name, with));
        let held = json.get("payment").or_else(|| json.get("data"));
        if begins(ORDER_EVENTS) || (held.is_none() && json.get("order").is_some()) {
            return Ok(None);
        }
        let bolepix = BOLEPIX.iter().find(|(known, _)| Some(*known) == name).copied();
        let expected = begins(PAYMENT_EVENTS) || bolepix.is_some();
        match held {
            // Without a name it may still be a payment of which only the id is sent.
            Some(payment)
                if expected || (name.is_none() && payment.is_object()) || looks_like_payment(payment) =>
            {
                let id = json.get("id").and_then(Json::literal);
                Ok(Some(Event { id, at: time(json, &["inserted_at", "insertedAt"]), payment, bolepix }))
            }
            Some(_) if name.is_some() => Ok(None),
            None if looks_like_payment(json) => {
                Ok(Some(Event { id: None, at: None, payment: json, bolepix }))
            }
            None if expected => Err("there is no payment in it"),
            None if name.is_some() => Ok(None),
            Some(_) | None => Err("there is neither an event nor a payment in it"),
        }
    }
}

fn event_id(json: &Json) -> Option<EventId> {
    json.get("id").and_then(Json::literal).and_then(|id| EventId::parse(id).ok())
}

fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

fn looks_like_payment(json: &Json) -> bool {
    json.get("id").is_some()
        && json.get("status").is_some()
        && PAYMENT_MARKS.iter().any(|mark| json.get(mark).is_some())
}

fn heard(merchant: &Merchant, event: &Event<'_>) -> Result<Notice, String> {
    let payment = event.payment;
    let names: &[&str] = if event.bolepix.is_some() { &["invoiceId", "invoice_id", "id"] } else { &["id"] };
    let id = payment.literal().or_else(|| names.iter().find_map(|name| payment.get(name)?.literal()));
    let id = id.ok_or("its payment has no `id`")?;
    let status = Spoken::status(payment);
    let spoken = match event.bolepix {
        Some((name, word)) => {
            Some(status.filter(|it| it.word.is_some()).unwrap_or(Spoken { text: name, word: Some(word) }))
        }
        None => status,
    };
    let Some(spoken) = spoken else {
        let provider_ref = ProviderRef::parse(id).map_err(|error| error.to_string())?;
        let questions = vec![Question::ProviderRef(provider_ref)];
        return Ok(Notice { questions, ..Notice::default() });
    };
    let gross = match payment.get("total_cents") {
        None if event.bolepix.is_some() => amount(payment.get("amount"), merchant.currency),
        cents => amount_minor(cents, merchant.currency),
    };
    let reading = reading(spoken, gross, dating(event), identity(event, id));
    Ok(Notice { findings: vec![finding(payment, id, reading)?], ..Notice::default() })
}

/// The envelope dates the event; without it the payment's last update does, unless that lies before its creation, as in
/// every example of GenPag's.
fn dating(event: &Event<'_>) -> Dating {
    let created = time(event.payment, &["inserted_at", "insertedAt"]).map(|told| told.at);
    let updated = time(event.payment, &["updated_at", "updatedAt"]);
    let updated = updated.filter(|updated| created.is_none_or(|created| updated.at >= created));
    let told = event.at.or(updated);
    told.map_or(Dating::Snapshot, |at| Dating::Told { at, payment_created: created })
}

/// The event's own id, unless it is the payment's: then it would make all news of the payment one.
fn identity(event: &Event<'_>, payment: &str) -> Identity {
    let own = event.id.filter(|id| *id != payment).and_then(|id| Token::parse(id).ok());
    own.map_or(Identity::Content, |id| Identity::Event(id.as_str().to_owned()))
}

fn time(json: &Json, names: &[&str]) -> Option<OffsetTime> {
    let text = names.iter().find_map(|name| json.get(name)?.as_str())?;
    OffsetTime::parse(text).ok()
}

/// A word of GenPag's and what it means.
struct Spoken<'a> {
    text: &'a str,
    word: Option<Word>,
}

impl Spoken<'_> {
    fn status(payment: &Json) -> Option<Spoken<'_>> {
        let text = payment.get("status").and_then(Json::literal).filter(|text| !text.is_empty())?;
        let whole = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(text));
        let known = whole.or_else(|| BEGINNINGS.iter().find(|(known, _)| begins(text, known)));
        Some(Spoken { text, word: known.map(|(_, word)| *word) })
    }
}

fn finding(payment: &Json, id: &str, reading: Reading) -> Result<Finding, String> {
    let own = payment.get("external_id").and_then(Json::literal).filter(|name| !name.is_empty());
    let reference = Reference::parse(own.unwrap_or(id)).map_err(|error| error.to_string())?;
    let provider_ref = ProviderRef::parse(id).map_err(|error| error.to_string())?;
    Ok(Finding { reference: Some(reference), provider_ref: Some(provider_ref), token: None, reading })
}

fn reading(spoken: Spoken<'_>, gross: Amount, dating: Dating, identity: Identity) -> Reading {
    Reading {
        word: spoken.word,
        provider_status: provider_status(spoken.text),
        gross,
        fee: Amount::Absent,
        refunded: Amount::Absent,
        currency: None,
        proof: false,
        dating,
        occurred: None,
        identity,
        details: Vec::new(),
    }
}
