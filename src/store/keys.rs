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
//! | `b` | ledger account, currency, page of seqs | debits and credits after each entry of the page | entries |
//! | `S` | ledger account, currency, seq | until data version 4, debits and credits after that entry | never again |
//! | `D` | seq of the opening entry | order key | discrepancies |
//! | `R` | receipt | receipt without its body | receive, attempts, outcome |
//! | `a` | page of receipts | a bit for each that still has to be processed | receive, outcome |
//! | `A` | receipt | until data version 3, nothing: it still has to be processed | never again |
//! | `X` | receipt | nothing: it was given up | outcome, reprocess |
//! | `e` | receipt | the provider's own id of its event | receive, where the provider names one |
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
//! | `c` | `h`, month | closing of a month | closings |
//! | `c` | `b`, month, moment, ledger account, currency | debits and credits at its moment | closings |
//! | `c` | `x`, month, seq | nothing: that entry corrects a closed month | entries |
//! | `j` | | which window of the journal comes next | a window that is in the database |
//! | `s` | | the public keys that seals were signed with | another key than before |
//! | `f` | `h`, settlement | a settlement file and what it came to | its start, its lines, its end |
//! | `f` | `l`, settlement, number | what a line came to; after the lines: an order that none names | the same |
//! | `g` | account, line | a line that became evidence | settlement files |
//! | `p` | account, reference | payout | payouts |
//! | `u` | | how many key slots were used | every batch that seals |
//! | `w` | key slot | nothing: it is to be wiped | erasure, the batch after it |
//!
//! In the database itself some of these stand together on pages, and large values in pieces: [`super::shaped`], by [`PAGED`].
//! What can be erased is stored sealed ([`super::sealing`]); `u` and `w` are seen by no one else, and `j` by
//! [`super::journaled`] alone.

use super::idempotency::RequestKey;
use super::running;
use crate::domain::evidence::Piece;
use crate::domain::ids::{
    AccountId, LineId, OrderKey, ProviderRef, ReceiptId, Reference, RunId, Seq, SettlementId,
};
use crate::domain::money::Currency;
use crate::domain::period::{Moment, Month};
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
pub const RUNNING: u8 = b'b';
/// Up to data version 4, a running balance.
pub const RUNNING_BEFORE: u8 = b'S';
pub const DISCREPANCY: u8 = b'D';
pub const RECEIPT: u8 = b'R';
pub const AGENDA: u8 = b'a';
/// Up to data version 3, a receipt that still has to be processed.
pub const AGENDA_BEFORE: u8 = b'A';
pub const FAILED: u8 = b'X';
pub const EVENT: u8 = b'e';
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
pub const PERIOD: u8 = b'c';
pub const JOURNAL: &[u8] = b"j";
pub const SEAL_KEYS: &[u8] = b"s";
pub const SETTLEMENT: u8 = b'f';
pub const CLAIM: u8 = b'g';
pub const PAYOUT: u8 = b'p';
pub const SLOTS_USED: &[u8] = b"u";
pub const WIPE: u8 = b'w';

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

pub fn agenda(page: u64) -> Vec<u8> {
    numbered(AGENDA, page)
}

pub fn failed(id: ReceiptId) -> Vec<u8> {
    numbered(FAILED, id.0)
}

pub fn event(id: ReceiptId) -> Vec<u8> {
    numbered(EVENT, id.0)
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

/// All running balances of one ledger account begin with this; then comes the page.
pub fn running_of(ledger_account: &LedgerAccount, currency: Currency) -> Vec<u8> {
    let mut bytes = named(RUNNING, [&ledger_account.to_string(), currency.code()]);
    bytes.push(0);
    bytes
}

pub fn running(ledger_account: &LedgerAccount, currency: Currency, page: u64) -> Vec<u8> {
    let mut bytes = running_of(ledger_account, currency);
    bytes.extend(page.to_be_bytes());
    bytes
}

/// The page that a running balance's key ends with.
pub fn page_of_running(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// What a running balance up to data version 4 is of.
pub fn running_before(key: &[u8]) -> Option<(LedgerAccount, Currency, Seq)> {
    let (names, seq) = key.strip_prefix(&[RUNNING_BEFORE])?.split_last_chunk()?;
    let (name, code) = std::str::from_utf8(names.strip_suffix(&[0])?).ok()?.split_once('\0')?;
    let ledger_account = LedgerAccount::parse(name).ok()?;
    Some((ledger_account, Currency::parse(code).ok()?, Seq(u64::from_be_bytes(*seq))))
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

/// All closings begin with this.
pub fn closings() -> Vec<u8> {
    vec![PERIOD, b'h']
}

pub fn closing(month: Month) -> Vec<u8> {
    [closings().as_slice(), &month.key()].concat()
}

/// All balances of one moment of a closing begin with this.
pub fn closed_balances(month: Month, moment: Moment) -> Vec<u8> {
    let moment = match moment {
        Moment::End => b'e',
        Moment::Close => b'h',
    };
    [&[PERIOD, b'b'], month.key().as_slice(), &[moment]].concat()
}

pub fn closed_balance(
    month: Month,
    moment: Moment,
    ledger_account: &LedgerAccount,
    currency: Currency,
) -> Vec<u8> {
    let mut key = closed_balances(month, moment);
    key.extend(ledger_account.to_string().bytes().chain([0]).chain(currency.code().bytes()));
    key
}

/// All corrections of every month begin with this.
pub fn corrections() -> Vec<u8> {
    vec![PERIOD, b'x']
}

/// All corrections of one month begin with this; then comes the seq.
pub fn corrections_of(month: Month) -> Vec<u8> {
    [corrections().as_slice(), &month.key()].concat()
}

pub fn correction(month: Month, seq: Seq) -> Vec<u8> {
    [corrections_of(month).as_slice(), &seq.0.to_be_bytes()].concat()
}

/// The seq that a correction's key ends with.
pub fn seq_of_correction(key: &[u8]) -> Option<Seq> {
    key.last_chunk().map(|bytes| Seq(u64::from_be_bytes(*bytes)))
}

/// All settlement files begin with this.
pub fn settlements() -> Vec<u8> {
    vec![SETTLEMENT, b'h']
}

pub fn settlement(id: SettlementId) -> Vec<u8> {
    [settlements().as_slice(), &id.0].concat()
}

/// All results of one settlement file begin with this.
pub fn settlement_lines_of(id: SettlementId) -> Vec<u8> {
    [&[SETTLEMENT, b'l'], id.0.as_slice()].concat()
}

pub fn settlement_line(id: SettlementId, place: u64) -> Vec<u8> {
    [settlement_lines_of(id).as_slice(), &place.to_be_bytes()].concat()
}

/// The place that a result's key ends with.
pub fn place_of_settlement_line(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

pub fn claim(account: &AccountId, line: &LineId) -> Vec<u8> {
    named(CLAIM, [account.as_str(), line.as_str()])
}

/// All payouts of one account begin with this.
pub fn payouts_of(account: &AccountId) -> Vec<u8> {
    named(PAYOUT, [account.as_str(), ""])
}

pub fn payout(account: &AccountId, reference: &Reference) -> Vec<u8> {
    named(PAYOUT, [account.as_str(), reference.as_str()])
}

pub fn wipe(slot: u64) -> Vec<u8> {
    numbered(WIPE, slot)
}

/// All chunks of one body begin with this.
pub fn chunks_of(id: ReceiptId) -> Vec<u8> {
    numbered(BODY, id.0)
}

/// All bodies begin with this.
pub fn bodies() -> Vec<u8> {
    vec![BODY]
}

/// All answers' bodies begin with this.
pub fn request_answers() -> Vec<u8> {
    vec![REQUEST, b'b']
}

/// All chunks of one answer begin with this.
pub fn chunks_of_answer(key: &RequestKey) -> Vec<u8> {
    [&[REQUEST, b'b'], key.0.as_slice()].concat()
}

/// The request that a body of an answer belongs to.
pub fn request_of_answer(key: &[u8]) -> Option<RequestKey> {
    key.get(2..34).and_then(|bytes| bytes.try_into().ok()).map(RequestKey)
}

/// What the kinds that lie on pages in the database begin with, in key order: those that come in the order of their numbers,
/// and those whose values can be large. A value of any other kind is at most about 5 KiB.
pub const PAGED: [&[u8]; 8] =
    [&[BODY], &[ENTRY], &[REQUEST, b'b'], &[KEYRING], &[RECEIPT], &[WEBHOOK], &[REASON], &[EVENT]];
/// So many numbers share a page.
const PAGE_NUMBERS: u64 = 8;

/// The page that a key of such a kind lies on, named by what its first key can begin with. All keys of a page come before those
/// of the next.
pub fn page(key: &[u8]) -> Option<Vec<u8>> {
    match key {
        [kind @ (BODY | ENTRY | RECEIPT | REASON | EVENT), ..] => {
            Some(number(key).map_or_else(|| key.to_vec(), |number| numbered(*kind, first_beside(number))))
        }
        [REQUEST, b'b', ..] => Some(key.get(..34).unwrap_or(key).to_vec()),
        [KEYRING | WEBHOOK, ..] => Some(key.to_vec()),
        [..] => None,
    }
}

fn first_beside(number: u64) -> u64 {
    number - number % PAGE_NUMBERS
}

pub fn is_paged(key: &[u8]) -> bool {
    PAGED.iter().any(|kind| key.starts_with(kind))
}

/// What all values that can be erased begin with.
pub fn erasable() -> [Vec<u8>; 5] {
    [bodies(), vec![METADATA], vec![REASON], vec![ANSWER], request_answers()]
}

/// Whether a value can be erased: it is stored sealed.
pub fn is_erasable(key: &[u8]) -> bool {
    match key {
        [BODY | METADATA | REASON | ANSWER, ..] | [REQUEST, b'b', ..] => true,
        [..] => false,
    }
}

/// Whether a key belongs to the sealing itself.
pub fn is_of_slots(key: &[u8]) -> bool {
    key == SLOTS_USED || key.first() == Some(&WIPE)
}

/// What the values of one sealing key have in common: they come and go together.
pub fn owner(key: &[u8]) -> &[u8] {
    match key {
        [BODY, ..] | [REQUEST, ..] => key.split_last().map_or(key, |(_, owner)| owner),
        [..] => key,
    }
}

/// Which of its owner's values an erasable one is.
pub fn chunk(key: &[u8]) -> u8 {
    match key {
        [BODY, .., chunk] | [REQUEST, .., chunk] => *chunk,
        [..] => 0,
    }
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
        Some(&RUNNING) => page_of_running(key).map(running::last_of),
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
        Some(RUNNING | RUNNING_BEFORE) => format!("running balance {}", names(2)),
        Some(DISCREPANCY) => format!("discrepancy {}", number()),
        Some(RECEIPT) => format!("receipt {}", number()),
        Some(AGENDA) => format!("page {} of the agenda", number()),
        Some(AGENDA_BEFORE) => format!("agenda of receipt {}", number()),
        Some(FAILED) => format!("failed receipt {}", number()),
        Some(EVENT) => format!("event of receipt {}", number()),
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
        Some(PERIOD) => "a closed period".to_owned(),
        Some(b'j') => "the journal's mark".to_owned(),
        Some(b's') => "the keys of seals".to_owned(),
        Some(SETTLEMENT) => "a settlement file".to_owned(),
        Some(CLAIM) => format!("settlement line {}", names(2)),
        Some(PAYOUT) => format!("payout {}", names(2)),
        Some(b'u') => "the number of key slots".to_owned(),
        Some(WIPE) => format!("key slot {} that is to be wiped", number()),
        Some(other) => format!("a key of unknown kind {other}"),
        None => "an empty key".to_owned(),
    }
}
