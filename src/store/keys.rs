//! Every key of the data directory, in one table with who writes it. One tree; the first byte is the kind; ids are
//! big-endian so that key order is id order. Names hold no control characters, so a zero byte ends them.
//!
//! | kind | key | value | changes by |
//! |---|---|---|---|
//! | `M` | | meta: database id, head, counters | every batch |
//! | `E` | seq | entry, the order as of it, the order's entry before | appended, never changed |
//! | `O` | account, reference | order | entries, registrations, sightings |
//! | `P` | account, provider_ref | reference | first time a provider_ref is seen |
//! | `V` | account, reference, date and digest | piece of evidence | evidence |
//! | `F` | account, reference | foundation of the oldest evidence | evidence beyond the limit |
//! | `L` | ledger account, currency | debits and credits | entries |
//! | `S` | ledger account, currency, seq | debits and credits after that entry | appended, never changed |
//! | `D` | seq of the opening entry | order key | discrepancies |
//! | `R` | receipt | receipt without its body | receive, attempts, outcome |
//! | `A` | receipt | nothing: it still has to be processed | receive, outcome |
//! | `X` | receipt | nothing: it was given up | outcome, reprocess |
//! | `B` | receipt, chunk | body: can be erased | receive, erasure |
//! | `T` | account, reference | metadata: can be erased | registration, erasure |
//! | `Y` | seq | an operator's reason: can be erased | resolutions, erasure |
//! | `Q` | account, due time, reference | nothing: the order is polled then | evidence, registrations, polls |
//! | `C` | account | what the poller knows of an account | its first callback, catching up, other pauses |
//! | `I` | `k`, request | a claimed request | requests with an Idempotency-Key, expiry |
//! | `I` | `b`, request, chunk | its answer's body: can be erased | the same |
//! | `I` | `x`, time, request | nothing: it expires then | the same |
//! | `N` | `h`, run | reconciliation | its start and end |
//! | `N` | `l`, run, account | how far it is within one account | its results |
//! | `U` | run, account, reference | its result for one order | its start, its results |
//! | `W` | webhook | where events go, and which ones | subscriptions |
//! | `K` | webhook | its signing secrets and authorization | subscriptions, rotation |
//! | `Z` | webhook | how far it is, whether it fails | deliveries, enabling, replays |
//! | `G` | webhook, seq, notice | delivery without its answers | attempts, resends, retention |
//! | `H` | webhook, seq, notice, attempt | the beginning of an answer: can be erased | attempts, retention |
//! | `J` | webhook, seq, notice | the body of an event that no entry has | alerts, tests, retention |

use super::idempotency::RequestKey;
use crate::domain::evidence::Piece;
use crate::domain::ids::{AccountId, OrderKey, ProviderRef, ReceiptId, Reference, RunId, Seq};
use crate::domain::money::Currency;
use crate::domain::posting::LedgerAccount;
use crate::domain::time::Time;
use crate::domain::webhook::{DeliveryId, WebhookId};

pub const META: &[u8] = b"M";
pub const ENTRY: u8 = b'E';
pub const ORDER: u8 = b'O';
pub const PROVIDER_REF: u8 = b'P';
pub const EVIDENCE: u8 = b'V';
pub const FOUNDATION: u8 = b'F';
pub const BALANCE: u8 = b'L';
pub const RUNNING: u8 = b'S';
pub const DISCREPANCY: u8 = b'D';
pub const RECEIPT: u8 = b'R';
pub const AGENDA: u8 = b'A';
pub const FAILED: u8 = b'X';
pub const BODY: u8 = b'B';
pub const METADATA: u8 = b'T';
pub const REASON: u8 = b'Y';
pub const POLL: u8 = b'Q';
pub const ACCOUNT: u8 = b'C';
pub const REQUEST: u8 = b'I';
pub const RUN: u8 = b'N';
pub const SLOT: u8 = b'U';
pub const WEBHOOK: u8 = b'W';
pub const KEYRING: u8 = b'K';
pub const COURSE: u8 = b'Z';
pub const DELIVERY: u8 = b'G';
pub const ANSWER: u8 = b'H';
pub const NOTICE: u8 = b'J';

/// Kinds whose values can be erased: whoever keeps copies of them must be able to let go of each.
pub const ERASABLE: [u8; 5] = [BODY, METADATA, REASON, REQUEST, ANSWER];

fn numbered(kind: u8, number: u64) -> Vec<u8> {
    std::iter::once(kind).chain(number.to_be_bytes()).collect()
}

fn named(kind: u8, names: [&str; 2]) -> Vec<u8> {
    let [first, second] = names;
    std::iter::once(kind).chain(first.bytes()).chain([0]).chain(second.bytes()).collect()
}

pub fn entry(seq: Seq) -> Vec<u8> {
    numbered(ENTRY, seq.0)
}

pub fn discrepancy(id: Seq) -> Vec<u8> {
    numbered(DISCREPANCY, id.0)
}

pub fn reason(seq: Seq) -> Vec<u8> {
    numbered(REASON, seq.0)
}

pub fn receipt(id: ReceiptId) -> Vec<u8> {
    numbered(RECEIPT, id.0)
}

pub fn agenda(id: ReceiptId) -> Vec<u8> {
    numbered(AGENDA, id.0)
}

pub fn failed(id: ReceiptId) -> Vec<u8> {
    numbered(FAILED, id.0)
}

pub fn body(id: ReceiptId, chunk: u8) -> Vec<u8> {
    let mut key = numbered(BODY, id.0);
    key.push(chunk);
    key
}

pub fn order(key: &OrderKey) -> Vec<u8> {
    named(ORDER, [key.account.as_str(), key.reference.as_str()])
}

/// All orders of one account begin with this.
pub fn orders_of(account: &AccountId) -> Vec<u8> {
    named(ORDER, [account.as_str(), ""])
}

pub fn provider_ref(account: &AccountId, provider_ref: &ProviderRef) -> Vec<u8> {
    named(PROVIDER_REF, [account.as_str(), provider_ref.as_str()])
}

pub fn metadata(key: &OrderKey) -> Vec<u8> {
    named(METADATA, [key.account.as_str(), key.reference.as_str()])
}

pub fn foundation(key: &OrderKey) -> Vec<u8> {
    named(FOUNDATION, [key.account.as_str(), key.reference.as_str()])
}

/// All evidence of one order begins with this.
pub fn evidence_of(key: &OrderKey) -> Vec<u8> {
    let mut bytes = named(EVIDENCE, [key.account.as_str(), key.reference.as_str()]);
    bytes.push(0);
    bytes
}

pub fn evidence(key: &OrderKey, piece: &Piece) -> Vec<u8> {
    let mut bytes = evidence_of(key);
    bytes.extend(piece.key());
    bytes
}

pub fn balance(ledger_account: &LedgerAccount, currency: Currency) -> Vec<u8> {
    named(BALANCE, [&ledger_account.to_string(), currency.code()])
}

/// All running balances of one ledger account begin with this; then comes the seq.
pub fn running_of(ledger_account: &LedgerAccount, currency: Currency) -> Vec<u8> {
    let mut bytes = named(RUNNING, [&ledger_account.to_string(), currency.code()]);
    bytes.push(0);
    bytes
}

pub fn running(ledger_account: &LedgerAccount, currency: Currency, seq: Seq) -> Vec<u8> {
    let mut bytes = running_of(ledger_account, currency);
    bytes.extend(seq.0.to_be_bytes());
    bytes
}

/// The seq that a running balance's key ends with.
pub fn seq_of_running(key: &[u8]) -> Option<Seq> {
    key.last_chunk().map(|bytes| Seq(u64::from_be_bytes(*bytes)))
}

/// All polls of one account begin with this; then comes the time.
pub fn polls_of(account: &AccountId) -> Vec<u8> {
    named(POLL, [account.as_str(), ""])
}

pub fn poll(key: &OrderKey, due: Time) -> Vec<u8> {
    let mut bytes = polls_of(&key.account);
    bytes.extend(u64::try_from(due.0).unwrap_or_default().to_be_bytes());
    bytes.extend(key.reference.as_str().bytes());
    bytes
}

pub fn account(account: &AccountId) -> Vec<u8> {
    std::iter::once(ACCOUNT).chain(account.as_str().bytes()).collect()
}

pub fn request(key: &RequestKey) -> Vec<u8> {
    [&[REQUEST, b'k'], key.0.as_slice()].concat()
}

pub fn request_answer(key: &RequestKey, chunk: u8) -> Vec<u8> {
    [&[REQUEST, b'b'], key.0.as_slice(), &[chunk]].concat()
}

/// All expiries begin with this.
pub fn request_expiries() -> Vec<u8> {
    vec![REQUEST, b'x']
}

pub fn request_expiry(at: Time, key: &RequestKey) -> Vec<u8> {
    // The sign bit flipped: byte order is the order of time.
    let dated = (at.0 as u64) ^ (1 << 63);
    [request_expiries().as_slice(), &dated.to_be_bytes(), &key.0].concat()
}

/// The request that an expiry is about.
pub fn request_of_expiry(key: &[u8]) -> Option<RequestKey> {
    key.get(10..).and_then(|bytes| bytes.try_into().ok()).map(RequestKey)
}

/// All runs begin with this.
pub fn runs() -> Vec<u8> {
    vec![RUN, b'h']
}

pub fn run(id: RunId) -> Vec<u8> {
    [runs().as_slice(), &id.0].concat()
}

/// All lanes of one run begin with this.
pub fn lanes_of(id: RunId) -> Vec<u8> {
    [&[RUN, b'l'], id.0.as_slice()].concat()
}

pub fn lane(id: RunId, account: &AccountId) -> Vec<u8> {
    [lanes_of(id).as_slice(), account.as_str().as_bytes()].concat()
}

/// All records of one run begin with this.
pub fn slots_of(id: RunId) -> Vec<u8> {
    [&[SLOT], id.0.as_slice()].concat()
}

pub fn slots_of_account(id: RunId, account: &AccountId) -> Vec<u8> {
    [slots_of(id).as_slice(), account.as_str().as_bytes(), &[0]].concat()
}

pub fn slot(id: RunId, order: &OrderKey) -> Vec<u8> {
    [slots_of_account(id, &order.account).as_slice(), order.reference.as_str().as_bytes()].concat()
}

/// The order that a run's record is about.
pub fn order_of_slot(key: &[u8]) -> Option<OrderKey> {
    let (account, reference) = std::str::from_utf8(key.get(17..)?).ok()?.split_once('\0')?;
    Some(OrderKey::new(AccountId::parse(account).ok()?, Reference::parse_stored(reference).ok()?))
}

fn hooked(kind: u8, webhook: WebhookId) -> Vec<u8> {
    std::iter::once(kind).chain(webhook.0).collect()
}

fn placed(kind: u8, id: DeliveryId) -> Vec<u8> {
    let mut key = hooked(kind, id.webhook);
    key.extend(id.position.seq.0.to_be_bytes());
    key.extend(id.position.notice.to_be_bytes());
    key
}

pub fn webhook(id: WebhookId) -> Vec<u8> {
    hooked(WEBHOOK, id)
}

pub fn keyring(id: WebhookId) -> Vec<u8> {
    hooked(KEYRING, id)
}

pub fn course(id: WebhookId) -> Vec<u8> {
    hooked(COURSE, id)
}

pub fn delivery(id: DeliveryId) -> Vec<u8> {
    placed(DELIVERY, id)
}

/// All deliveries of one webhook begin with this.
pub fn deliveries_of(webhook: WebhookId) -> Vec<u8> {
    hooked(DELIVERY, webhook)
}

pub fn answer(id: DeliveryId, attempt: u32) -> Vec<u8> {
    let mut key = placed(ANSWER, id);
    key.extend(attempt.to_be_bytes());
    key
}

pub fn notice(id: DeliveryId) -> Vec<u8> {
    placed(NOTICE, id)
}

/// The webhook that a key of one begins with.
pub fn webhook_of(key: &[u8]) -> Option<WebhookId> {
    key.get(1..17).and_then(|bytes| bytes.try_into().ok()).map(WebhookId)
}

/// The number at the end of a numbered key.
pub fn number(key: &[u8]) -> Option<u64> {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

/// The seq up to which the ledger must have come for this key to be there; after that its value never changes. None where
/// values do change.
pub fn appended(key: &[u8]) -> Option<Seq> {
    match key.first() {
        Some(&ENTRY) => number(key).map(Seq),
        Some(&RUNNING) => seq_of_running(key),
        Some(_) | None => None,
    }
}

/// A key in words, for errors.
pub fn describe(key: &[u8]) -> String {
    let number = || number(key).map_or_else(|| "?".to_owned(), |number| number.to_string());
    let names = |parts: usize| {
        let names = key.get(1..).unwrap_or_default().split(|byte| *byte == 0).take(parts);
        names.map(String::from_utf8_lossy).collect::<Vec<_>>().join("/")
    };
    let webhook = || webhook_of(key).map_or_else(|| "?".to_owned(), |id| id.to_string());
    match key.first().copied() {
        Some(b'M') => "the ledger's head".to_owned(),
        Some(ENTRY) => format!("entry {}", number()),
        Some(ORDER) => format!("order {}", names(2)),
        Some(PROVIDER_REF) => format!("provider_ref {}", names(2)),
        Some(EVIDENCE) => format!("evidence of {}", names(2)),
        Some(FOUNDATION) => format!("foundation of {}", names(2)),
        Some(BALANCE) => format!("balance {}", names(2)),
        Some(RUNNING) => format!("running balance {}", names(2)),
        Some(DISCREPANCY) => format!("discrepancy {}", number()),
        Some(RECEIPT) => format!("receipt {}", number()),
        Some(AGENDA) => format!("agenda of receipt {}", number()),
        Some(FAILED) => format!("failed receipt {}", number()),
        Some(BODY) => format!("body of receipt {}", number()),
        Some(METADATA) => format!("metadata of {}", names(2)),
        Some(REASON) => format!("reason of entry {}", number()),
        Some(POLL) => format!("a poll of {}", names(1)),
        Some(ACCOUNT) => format!("account {}", names(1)),
        Some(REQUEST) => "a request with an Idempotency-Key".to_owned(),
        Some(RUN) => "a reconciliation".to_owned(),
        Some(SLOT) => "a reconciliation's result".to_owned(),
        Some(WEBHOOK) => format!("webhook {}", webhook()),
        Some(KEYRING) => format!("secrets of webhook {}", webhook()),
        Some(COURSE) => format!("course of webhook {}", webhook()),
        Some(DELIVERY) => format!("a delivery of webhook {}", webhook()),
        Some(ANSWER) => format!("an answer to webhook {}", webhook()),
        Some(NOTICE) => format!("a notice of webhook {}", webhook()),
        Some(other) => format!("a key of unknown kind {other}"),
        None => "an empty key".to_owned(),
    }
}
