//! Everything that reads bytes somebody else wrote, each with real input to begin with.

use super::backups;
use crate::books::{Ledger, lives, newborn, terms};
use crate::providers::{answer, callback, cases, files, merchant};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use razao::auth::{Accounts, Grant, Keys, mint, verify};
use razao::cli::import::sheet::Sheet;
use razao::config::{Algorithm, AuthKey, Material, units};
use razao::domain::balance::Sides;
use razao::domain::entry::Entry;
use razao::domain::evidence::{Foundation, Piece};
use razao::domain::ids::{AccountId, OrderKey, ProviderRef, Reference, RunId, Seq, Token};
use razao::domain::money::{Currency, Money};
use razao::domain::order::Order;
use razao::domain::period::{Closing, Mark, Month};
use razao::domain::receipt::{Private, Receipt};
use razao::domain::run::{Lane, Run, Slot};
use razao::domain::seal::PublicKey;
use razao::domain::time::{OffsetTime, Time};
use razao::domain::webhook::{Course, Delivery, DeliveryId, Keyring, Pattern, Webhook, WebhookId};
use razao::http::webhook_body::{self, Bounds};
use razao::http::{body, orders, page, registration};
use razao::ledger::seal::{self, Sealer};
use razao::net::guard::Guard;
use razao::providers::provider::{Incoming, Provider, Question, Search};
use razao::providers::registry::PROVIDERS;
use razao::store::engine::{Direction, Read};
use razao::store::entries::StoredEntry;
use razao::store::idempotency::{Claimed, Head};
use razao::store::meta::Meta;
use razao::store::polls::AccountRecord;
use razao::store::{codec, keys};
use razao::wire::json::Json;
use razao::wire::{dates, form, sse};
use std::ops::Bound;
use std::time::Duration;

type Feed = Box<dyn Fn(&[u8])>;
/// So many inputs a target gets in the suite, unless each of them is expensive.
pub const SHORT: u64 = 400;

pub struct Target {
    pub name: String,
    pub feed: Feed,
    pub seeds: Vec<Vec<u8>>,
    /// How many inputs it gets in the suite.
    pub inputs: u64,
}

fn target(name: &str, seeds: &[&[u8]], feed: impl Fn(&[u8]) + 'static) -> Target {
    let seeds = seeds.iter().map(|seed| seed.to_vec()).collect();
    Target { name: name.to_owned(), feed: Box::new(feed), seeds, inputs: SHORT }
}

pub fn targets() -> Vec<Target> {
    let mut all: Vec<Target> = PROVIDERS.iter().flat_map(|it| [callbacks(*it), details(*it)]).collect();
    all.extend([
        forms(),
        json(),
        events(),
        token_headers(),
        tokens(),
        records(),
        stored_keys(),
        webhook_targets(),
        sheets(),
        orders_of_a_batch(),
        webhooks(),
        cursors(),
        words(),
        seals(),
    ]);
    all.extend(backups::targets());
    all
}

// --- what providers send ---

/// A callback's body, read as each shape it may claim to have; the same bytes as header and query.
fn callbacks(provider: &'static dyn Provider) -> Target {
    let id = provider.spec().id;
    let sent = cases(id).into_iter().flat_map(|case| files(&case, "callback."));
    let seeds: Vec<Vec<u8>> = sent.map(|(name, bytes)| callback(&name, &bytes).1).collect();
    let merchant = merchant(provider);
    let feed = move |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok();
        let headers: Vec<(String, String)> =
            text.map(|text| ("authorization".to_owned(), text.to_owned())).into_iter().collect();
        let _ = provider.authenticate(&merchant, &headers);
        for content_type in [None, Some("application/json"), Some("application/x-www-form-urlencoded"), text]
        {
            let _ = provider
                .hear(&merchant, &Incoming { headers: &headers, content_type, query: text, body: bytes });
        }
    };
    Target { name: format!("callback-{id}"), feed: Box::new(feed), seeds, inputs: SHORT }
}

/// An answer to each kind of question, and to a login.
fn details(provider: &'static dyn Provider) -> Target {
    let id = provider.spec().id;
    let seeds: Vec<Vec<u8>> =
        cases(id).iter().flat_map(|case| files(case, "answer")).map(|(_, bytes)| bytes).collect();
    let merchant = merchant(provider);
    // Adapters compare what an answer names with what was asked for.
    let names: Vec<String> = seeds.iter().filter_map(|bytes| named(bytes)).chain(["x".to_owned()]).collect();
    let asked: Vec<Question> = names.iter().take(8).flat_map(|name| questions(name)).collect();
    let feed = move |bytes: &[u8]| {
        for status in [200, 422] {
            let answer = answer(status, bytes);
            let _ = provider.logged_in(&merchant, &answer);
            let _ = provider.read_events(&merchant, &answer);
            asked.iter().for_each(|question| drop(provider.read(&merchant, question, &answer)));
        }
    };
    Target { name: format!("details-{id}"), feed: Box::new(feed), seeds, inputs: SHORT }
}

/// What an answer calls its payment.
fn named(bytes: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let charge = json["data"]["charge_id"].as_u64().map(|id| id.to_string());
    let id = json["data"]["id"].as_str().or_else(|| json["referenceId"].as_str());
    charge.or_else(|| id.map(str::to_owned)).filter(|name| Reference::parse(name).is_ok())
}

fn questions(name: &str) -> [Question; 4] {
    let reference = Reference::parse(name).unwrap();
    let search = Search { reference: reference.clone(), known_since: Time(0), looked: 1, found: None };
    [
        Question::Reference(reference),
        Question::ProviderRef(ProviderRef::parse(name).unwrap()),
        Question::Token(Token::parse(name).unwrap()),
        Question::Search(search),
    ]
}

fn forms() -> Target {
    let seeds: [&[u8]; 3] = [
        b"transaction%5Btoken%5D=abc&transaction[order]=S%E3o+Paulo",
        b"a=1&a=2&&=x&%",
        b"notification=tok%2Fen\r\n",
    ];
    target("form", &seeds, |bytes| {
        for (name, value) in form::pairs(bytes) {
            assert!(name.len() + value.len() <= bytes.len() * 2, "more came out than went in");
        }
    })
}

fn json() -> Target {
    let seeds: [&[u8]; 2] =
        [br#"{"a":[1,2.50,-3e2,true,null,"\u00e3"],"b":{"c":{"d":[[[]]]}}}"#, br#"[{"amount":10.10}]"#];
    target("json", &seeds, |bytes| {
        let Ok(json) = Json::parse(bytes) else { return };
        let text = json.to_text();
        assert_eq!(Json::parse(text.as_bytes()), Ok(json), "{text}");
    })
}

/// What a followed daemon streams, in two pieces.
fn events() -> Target {
    let seeds: [&[u8]; 2] =
        [b": seq=3\n\nid: 4\ndata: {\"seq\":4}\n\n", b"id:1\r\ndata:a\r\ndata: b\r\n\r\n"];
    target("event-stream", &seeds, |bytes| {
        let mut parser = sse::Parser::default();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        if parser.feed(first).is_ok() {
            let _ = parser.feed(second);
        }
    })
}

// --- tokens ---

const NOW: Time = Time(1_772_000_000_000_000);
const SECRET: &str = "a secret of this test, and of nothing else";

fn auth_keys() -> Keys {
    let file = |name: &str| {
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/").to_owned() + name).unwrap()
    };
    let pem = |kid: &str, algorithm, name| AuthKey {
        kid: Some(kid.to_owned()),
        algorithm: Some(algorithm),
        material: Material::PublicPem(file(name)),
    };
    let secret = AuthKey {
        kid: Some("hs".to_owned()),
        algorithm: Some(Algorithm::HS256),
        material: Material::Secret(SECRET.into()),
    };
    let all = [
        pem("rs", Algorithm::RS256, "rs256.public.pem"),
        pem("es", Algorithm::ES256, "es256.public.pem"),
        pem("ed", Algorithm::EdDSA, "eddsa.public.pem"),
        secret,
    ];
    Keys::configured(&all).unwrap()
}

fn believed(keys: &Keys, token: &str) -> bool {
    verify(keys, "razao", "razao", token, NOW).is_ok()
}

/// Any bytes as a token's header.
fn token_headers() -> Target {
    let seeds: [&[u8]; 4] = [
        br#"{"alg":"HS256","typ":"JWT","kid":"hs"}"#,
        br#"{"alg":"RS256","kid":"rs","crit":["b64"],"b64":false}"#,
        br#"{"alg":"none"}"#,
        br#"{"alg":"ES256","kid":"es","jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},"x5c":["MII"]}"#,
    ];
    let keys = auth_keys();
    target("token-header", &seeds, move |bytes| {
        let token = format!("{}.e30.c2lnbmVk", URL_SAFE_NO_PAD.encode(bytes));
        assert!(!believed(&keys, &token), "a forged token is believed");
    })
}

/// A real token, distorted: it is believed unchanged alone.
fn tokens() -> Target {
    let keys = auth_keys();
    let grant = Grant { subject: "ana", scopes: "orders:read", accounts: &[], ttl: Duration::from_secs(60) };
    let mine = mint(&keys, "razao", "razao", &grant, NOW).unwrap();
    let whole = mine.clone();
    target("token", &[mine.as_bytes(), b"eyJhbGciOiJub25lIn0.e30."], move |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        assert!(text == whole || !believed(&keys, text), "{text} is believed");
    })
}

// --- the disk ---

/// A record as it would stand under a key, its checksum right: what a checksum alone does not catch.
pub(super) fn sealed(key: &[u8], record: &[u8]) -> Vec<u8> {
    let mut value = vec![1];
    value.extend_from_slice(record);
    let mut sum = crc32fast::Hasher::new();
    sum.update(key);
    sum.update(&value);
    value.extend_from_slice(&sum.finalize().to_le_bytes());
    value
}

/// What decodes is encoded and decoded again, to the same bytes.
fn decoded<T: bincode::Decode<()> + bincode::Encode>(key: &[u8], value: &[u8]) {
    let Ok(record) = codec::decode::<T>(key, value) else { return };
    let again = codec::encode(key, &record).unwrap();
    let record: T = codec::decode(key, &again).unwrap();
    assert_eq!(codec::encode(key, &record).unwrap(), again);
}

fn all_records(key: &[u8], value: &[u8]) {
    decoded::<StoredEntry>(key, value);
    decoded::<Entry>(key, value);
    decoded::<Order>(key, value);
    decoded::<OrderKey>(key, value);
    decoded::<Foundation>(key, value);
    decoded::<Piece>(key, value);
    decoded::<Sides>(key, value);
    decoded::<Receipt>(key, value);
    decoded::<Private>(key, value);
    decoded::<Claimed>(key, value);
    decoded::<Head>(key, value);
    decoded::<Meta>(key, value);
    decoded::<AccountRecord>(key, value);
    decoded::<Run>(key, value);
    decoded::<Lane>(key, value);
    decoded::<Slot>(key, value);
    decoded::<Closing>(key, value);
    decoded::<Vec<PublicKey>>(key, value);
    decoded::<Webhook>(key, value);
    decoded::<Keyring>(key, value);
    decoded::<Course>(key, value);
    decoded::<Delivery>(key, value);
}

/// Every key and value of a ledger that lived a little.
fn stored() -> Vec<(Vec<u8>, Vec<u8>)> {
    let engine = newborn();
    let ledger = Ledger::start(engine.clone());
    lives().into_iter().for_each(|command| drop(ledger.then(command)));
    ledger.stop();
    engine.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up).map(Result::unwrap).collect()
}

/// Any bytes as each kind of record.
fn records() -> Target {
    // Without version byte and checksum.
    let record = |(_, value): (Vec<u8>, Vec<u8>)| value[1..value.len() - 4].to_vec();
    let feed = |bytes: &[u8]| {
        let key = keys::entry(Seq(7));
        all_records(&key, &sealed(&key, bytes));
        assert!(codec::decode::<Order>(&key, bytes).is_err(), "a record without its checksum passes");
    };
    let seeds = stored().into_iter().map(record).collect();
    Target { name: "stored-record".to_owned(), feed: Box::new(feed), seeds, inputs: SHORT }
}

fn stored_keys() -> Target {
    let feed = |bytes: &[u8]| {
        let _ = keys::describe(bytes);
        let _ = keys::number(bytes);
        let _ = keys::webhook_of(bytes);
        let _ = keys::order_of_slot(bytes);
        let _ = keys::page_of_running(bytes);
        let _ = keys::running_before(bytes);
        let _ = keys::seq_of_correction(bytes);
        let _ = keys::request_of_expiry(bytes);
    };
    let seeds = stored().into_iter().map(|(key, _)| key).collect();
    Target { name: "stored-key".to_owned(), feed: Box::new(feed), seeds, inputs: SHORT }
}

// --- what shops and operators send ---

/// A target that is allowed is still the same one, and allowed, when it is read again.
fn webhook_targets() -> Target {
    let seeds: [&[u8]; 5] = [
        b"https://shop.example.com/webhooks?a=b",
        b"http://[::ffff:10.0.0.1]:8080/",
        b"https://user:pass@example.com#x",
        b"https://0x7f.1/",
        "https://ação.example/%2e%2e/".as_bytes(),
    ];
    let strict = Guard { allow_private: false, require_https: true };
    let lax = Guard { allow_private: true, require_https: false };
    target("webhook-target", &seeds, move |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        for guard in [strict, lax] {
            let Ok(url) = guard.check(text) else { continue };
            assert_eq!(guard.check(url.as_str()), Ok(url.clone()), "{text}");
            assert!(url.username().is_empty() && url.password().is_none(), "{text}");
        }
    })
}

/// A file to import, whole.
fn sheets() -> Target {
    let seeds: [&[u8]; 3] = [
        b"account,reference,amount,currency\nloja,PED-1,10.00,BRL\nloja,\"PED\n2\",1,BRL",
        b"\xef\xbb\xbfaccount;reference;amount;currency;expires_at;metadata.note\r\nloja;PED;10;BRL;;\"a;b\"\r\n",
        b"reference,account,amount,currency,provider_ref\n,,,,\n\na,b,c,d,e\n",
    ];
    let dir = tempfile::tempdir().unwrap();
    target("import-file", &seeds, move |bytes| {
        let path = dir.path().join("orders.csv");
        std::fs::write(&path, bytes).unwrap();
        let Ok(sheet) = Sheet::open(&path) else { return };
        for line in sheet.map_while(Result::ok) {
            let Ok(json) = line.json else { continue };
            assert!(Json::parse(json.as_bytes()).is_ok(), "{json}");
        }
    })
}

/// The lines of a batch.
fn orders_of_a_batch() -> Target {
    let seeds: [&[u8]; 2] = [
        br#"{"account":"loja","reference":"PED-1","amount":"10.00","currency":"BRL","metadata":{"a":"b"}}"#,
        b"{\"amount\":\"1\",\"currency\":\"BRL\",\"expires_at\":\"2026-03-02T18:00:00-03:00\",\"provider_ref\":\"x\"}\n{}",
    ];
    target("registration", &seeds, |bytes| {
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(json) = body::json_object(line) else { continue };
            let _ = registration::read(&json, terms(), Reference::parse("PED-1").unwrap());
        }
    })
}

fn webhooks() -> Target {
    let seeds: [&[u8]; 3] = [
        br#"{"target":"https://a.example/","events":["order.*"],"accounts":["loja"],"headers":{"x-a":"b"},"from":1}"#,
        br#"{"status":"disabled","authorization":null,"description":"a"}"#,
        br#"{"from":1,"to":18446744073709551615}"#,
    ];
    target("webhook-body", &seeds, |bytes| {
        let Ok(json) = body::json_object(bytes) else { return };
        let bounds = Bounds { visible: &Accounts::All, is_configured: &|_| true };
        let _ = webhook_body::created(&json, &bounds);
        let _ = webhook_body::changed(&json, &bounds);
        let _ = webhook_body::replay(&json);
    })
}

/// A cursor that is taken is one that a list gives.
fn cursors() -> Target {
    let given = [page::cursor(&["17"]), page::cursor(&["loja", "PED-ç"]), page::cursor(&["", ""])];
    let seeds: Vec<&[u8]> = given.iter().map(String::as_bytes).collect();
    target("cursor", &seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let _ = page::number(Some(text));
        let _ = orders::order_cursor(text);
        let Ok(parts) = page::parts(text) else { return };
        let borrowed: Vec<&str> = parts.iter().map(String::as_str).collect();
        assert_eq!(page::parts(&page::cursor(&borrowed)).ok(), Some(parts));
    })
}

/// The small words of paths, queries, bodies and configuration.
fn words() -> Target {
    let seeds: [&[u8]; 11] = [
        b"2026-03-02T18:00:00.123456-03:00",
        b"2026-11-01",
        b"2026-10",
        b"31/12/2026 23:59:59",
        b"Wed, 21 Oct 2026 07:28:00 GMT",
        b"129.90",
        b"1.1e3",
        b"wh_000660ce58bb82a0705974198412f662",
        b"dl_000660ce58bb82a0705974198412f662_17",
        b"order.*",
        b"512MiB",
    ];
    let zone = jiff::tz::TimeZone::get("America/Sao_Paulo").unwrap();
    target("word", &seeds, move |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(time) = Time::parse(text) {
            assert_eq!(Time::parse(&time.to_string()).ok(), Some(time), "{text}");
        }
        let _ =
            (OffsetTime::parse(text), Time::day(text, &zone), Month::parse(text).map(|it| it.span(&zone)));
        let _ = (dates::pt_br(text, &zone), dates::seconds(text, &zone), dates::retry_after(text, NOW));
        if let Ok(money) = Money::parse(text, Currency::BRL) {
            assert_eq!(Money::parse(&money.show(Currency::BRL), Currency::BRL), Ok(money), "{text}");
        }
        let _ = (Money::from_literal(text, Currency::BRL), Money::from_minor_literal(text, Currency::BRL));
        let _ = (WebhookId::parse(text), DeliveryId::parse(text), RunId::parse(text), Pattern::parse(text));
        let _ =
            (AccountId::parse(text), Reference::parse(text), ProviderRef::parse(text), Token::parse(text));
        let _ = Currency::parse(text);
        let _ = (units::duration(text), units::bytes(text), units::rate(text), units::network(text));
        let _ = (units::socket(text), units::url(text), units::origin(text), units::zone(text));
    })
}

/// A kept seal; one that was changed does not hold.
fn seals() -> Target {
    let sealer = Sealer::new(&[3; 32], [7; 16], &[]).unwrap();
    let mark = Mark { seq: Seq(7), hash: razao::domain::chain::Hash::genesis() };
    let view = sealer.head(mark, NOW).unwrap();
    let text = serde_json::to_vec(&view).unwrap();
    let whole = serde_json::to_value(&view).unwrap();
    target("seal", &[text.as_slice()], move |bytes| {
        let Ok(read) = seal::read(bytes) else { return };
        if seal::holds(&read) {
            assert_eq!(serde_json::to_value(&read).unwrap()["hash"], whole["hash"]);
            assert_eq!(serde_json::to_value(&read).unwrap()["seq"], whole["seq"]);
        }
    })
}
