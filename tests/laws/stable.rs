//! What the stored data and everyone's copies of it rest on: keys, canonical JSON and hashes stay what they were.

use super::fold::reading::{Tell, money, reading};
use razao::domain::chain::{Hash, canonical, hash};
use razao::domain::discrepancy::{Action, Cause};
use razao::domain::entry::{DiscrepancyNote, Entry, Kind};
use razao::domain::evidence::{Origin, Source};
use razao::domain::ids::{
    AccountId, LineId, Nonce, OrderKey, ProviderRef, ReceiptId, Reference, Seq, SettlementId,
};
use razao::domain::money::Currency;
use razao::domain::payout::Payout;
use razao::domain::posting::{LedgerAccount, Posting, Purpose};
use razao::domain::receipt::Private;
use razao::domain::settlement::{
    Applied, Claim, FileTerms, Finding, LineAmounts, LineResult, Reason, Settlement, Tally, What,
};
use razao::domain::state::State;
use razao::domain::time::{OffsetTime, Time};
use razao::domain::webhook::{
    Attempt, Course, Delivery, DeliveryId, Keyring, Miss, Off, Pattern, Position, Reach, Replay, Stage,
    Trouble, Webhook, WebhookId,
};
use razao::store::{codec, keys};

fn entry() -> Entry {
    let account = AccountId::parse("loja-picpay").unwrap();
    let posting = |purpose, minor| Posting {
        ledger_account: LedgerAccount { account: account.clone(), purpose },
        amount: money(minor),
    };
    let occurred = OffsetTime::parse("2026-03-02T18:00:00-03:00").unwrap();
    Entry {
        seq: Seq(7),
        recorded_at: OffsetTime::parse("2026-03-02T21:00:03.5Z").unwrap().at,
        occurred_at: occurred,
        account: account.clone(),
        order: Some(Reference::parse("pedido \"ç\" 1").unwrap()),
        kind: Kind::Resolution,
        from: Some(State::Refunded),
        to: Some(State::Paid),
        amount: Some(money(-10010)),
        currency: Currency::BRL,
        postings: vec![posting(Purpose::Pending, 10010), posting(Purpose::Refunds, -10010)],
        origin: Origin {
            source: Source::Operator,
            receipt: Some(ReceiptId(42)),
            actor: Some("ana".to_owned()),
            reason_hash: Some(Hash::of("the shop says so").to_hex()),
        },
        as_of: occurred.at,
        discrepancy: Some(DiscrepancyNote {
            id: Seq(5),
            cause: Cause::Conflict,
            expected: Some("refunded".to_owned()),
            found: Some("paid".to_owned()),
            action: Some(Action::SetState),
        }),
        provider_status: Some("6 Paga".to_owned()),
        details: vec![
            ("chain_name".to_owned(), "TRON".to_owned()),
            ("amount_usdt".to_owned(), "1.10".to_owned()),
        ],
        prev_hash: Hash::genesis(),
        hash: Hash::genesis(),
    }
}

/// Computed by a few lines of Python with the `blake3` package, as anyone may who has an export.
const CANONICAL: &str = concat!(
    r#"{"account":"loja-picpay","amount":"-100.10","currency":"BRL","details":{"amount_usdt":"1.1"#,
    r#"0","chain_name":"TRON"},"discrepancy":{"action":"set_state","cause":"conflict","expected":"#,
    r#""refunded","found":"paid","id":"5"},"evidence":{"actor":"ana","as_of":"2026-03-02T21:00:00"#,
    r#".000000Z","reason_hash":"6691432b413a2f6e96467733f3499a1dbc4c2ad297d953074e5d85088e184309""#,
    r#","receipt":"rc_00000000000000000042","source":"operator"},"from":"refunded","kind":"resolu"#,
    r#"tion","occurred_at":"2026-03-02T18:00:00.000000-03:00","order":"pedido \"ç\" 1","postings""#,
    r#":[{"amount":"100.10","ledger_account":"assets:loja-picpay:pending"},{"amount":"-100.10","l"#,
    r#"edger_account":"income:loja-picpay:refunds"}],"provider_status":"6 Paga","recorded_at":"20"#,
    r#"26-03-02T21:00:03.500000Z","seq":7,"to":"paid"}"#,
);
const HASH: &str = "4acb33e8456b6a0f598a8bc97fa2144f88caff08fde88e41b438394dc295b694";

#[test]
fn an_entry_is_hashed_as_ever() {
    assert_eq!(canonical(&entry()).unwrap(), CANONICAL);
    assert_eq!(hash(&entry()).unwrap().to_hex(), HASH);
}

#[test]
fn keys_of_pieces_are_as_ever() {
    let hex = |key: Vec<u8>| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(reading(1, "paid").gross(100).key()), "8000000000000001abe66ff0d8cb6a24b7ae0c03");
    assert_eq!(
        hex(reading(1, "paid").gross(100).event("evt").key()),
        "800000000000000111ddbe71d421456300cf01c3"
    );
    assert_eq!(hex(reading(-1, "paid").change(3, 9).key()), "7fffffffffffffff4b852da28b0af60588357193");
}

/// The keys and values that webhooks are stored under and as, each field filled; the values by their digest.
#[test]
fn stored_webhooks_are_as_ever() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let webhook = WebhookId(Nonce::new(Time(1_800_000_000_000_000), [1, 2, 3, 4, 5, 6, 7, 8]).0);
    let id = DeliveryId { webhook, position: Position { seq: Seq(7), notice: 9 } };
    let name = "00066517289880000102030405060708";
    assert_eq!(webhook.to_string(), format!("wh_{name}"));
    assert_eq!(id.to_string(), format!("dl_{name}_7_9"));
    let place = "00000000000000070000000000000009";
    for (key, expected) in [
        (keys::webhook(webhook), format!("57{name}")),
        (keys::keyring(webhook), format!("4b{name}")),
        (keys::course(webhook), format!("5a{name}")),
        (keys::delivery(id), format!("47{name}{place}")),
        (keys::answer(id, 3), format!("48{name}{place}00000003")),
        (keys::notice(id), format!("4a{name}{place}")),
    ] {
        assert_eq!(hex(&key), expected);
    }
    let (at, some) = (Time(1_800_000_000_000_001), || Private(b"bytes".to_vec()));
    let account = AccountId::parse("loja").unwrap();
    let keyring = Keyring { secret: some(), previous: Some((some(), at)), authorization: Some(some()) };
    let subscription = Webhook {
        id: webhook,
        target: "https://shop.example.com/".to_owned(),
        description: Some("the shop".to_owned()),
        events: vec![Pattern::parse("order.*").unwrap()],
        accounts: Reach::Only([account.clone()].into()),
        headers: vec![("x-shop".to_owned(), "7".to_owned())],
        from: Seq(3),
        created_at: at,
        updated_at: at,
    };
    let course = Course {
        revision: 2,
        again_since: Some(at),
        replays: vec![Replay { asked_at: at, from: Seq(1), to: Seq(5), cursor: Seq(2), single: true }],
        notices: vec![id.position],
        off: Some(Off { why: "gone".to_owned(), since: at }),
        trouble: Some(Trouble {
            since: at,
            failures: 4,
            dead: true,
            status: Some(500),
            miss: Some(Miss::Unmakeable),
            given_up_from: Some(Seq(2)),
        }),
        delivered_count: 6,
        failed_count: 1,
        ..Course::before(Seq(3), at)
    };
    let attempt = Attempt {
        number: 1,
        at,
        duration_ms: 12,
        status: Some(503),
        miss: Some(Miss::ServerError),
        answered: true,
    };
    let delivery = Delivery {
        id,
        event: "evt_0".to_owned(),
        kind: "order.paid".to_owned(),
        account: Some(account),
        order: Some(Reference::parse("PED-1").unwrap()),
        stage: Stage::Failed { at },
        tries: 1,
        attempts_count: 1,
        attempts: vec![attempt],
        updated_at: at,
    };
    let digest = |bytes: Vec<u8>| Hash::of(&hex(&bytes)).to_hex()[..16].to_owned();
    let key = b"M";
    let found = [
        digest(codec::encode(key, &keyring).unwrap()),
        digest(codec::encode(key, &subscription).unwrap()),
        digest(codec::encode(key, &course).unwrap()),
        digest(codec::encode(key, &delivery).unwrap()),
    ];
    assert_eq!(found, ["e05de80bdc9249cd", "92832d9a0e1190b7", "a4cf31979132dd9d", "d4eb8f9207d60fd2"]);
}

/// The same of payouts and settlement files.
#[test]
fn stored_payouts_and_settlement_files_are_as_ever() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let account = AccountId::parse("loja").unwrap();
    let reference = Reference::parse("PED-1").unwrap();
    let line = LineId::parse("L1").unwrap();
    let id = SettlementId(Nonce::new(Time(1_800_000_000_000_000), [1, 2, 3, 4, 5, 6, 7, 8]).0);
    let name = "00066517289880000102030405060708";
    assert_eq!(id.to_string(), format!("set_{name}"));
    for (key, expected) in [
        (keys::payout(&account, &reference), "706c6f6a61005045442d31".to_owned()),
        (keys::claim(&account, &line), "676c6f6a61004c31".to_owned()),
        (keys::settlement(id), format!("6668{name}")),
        (keys::settlement_line(id, 7), format!("666c{name}0000000000000007")),
    ] {
        assert_eq!(hex(&key), expected);
    }
    let (at, told) = (Time(1_800_000_000_000_001), OffsetTime::parse("2026-03-02T18:00:00-03:00").unwrap());
    let payout = Payout {
        account: account.clone(),
        reference: reference.clone(),
        amount: money(10_010),
        currency: Currency::BRL,
        occurred_at: told,
        recorded_at: at,
        seq: Seq(7),
    };
    let amounts = LineAmounts { gross: money(10_010), fee: Some(money(10)), net: Some(money(10_000)) };
    let reason =
        Some(Reason { what: What::Fee, expected: Some("0.20".to_owned()), found: Some("0.10".to_owned()) });
    let order = OrderKey::new(account.clone(), reference.clone());
    let claim = Claim {
        settlement: id,
        order,
        amounts,
        settled: Some(at),
        finding: Finding::Different,
        reason: reason.clone(),
    };
    let result = LineResult {
        number: Some(2),
        id: Some(line),
        reference: Some(reference.clone()),
        provider_ref: Some(ProviderRef::from(&reference)),
        amounts: Some(amounts),
        settled: Some(told),
        finding: Finding::Different,
        reason,
        order: Some(reference),
        applied: Applied::Now,
        entries: vec![Seq(7)],
    };
    let mut tally = Tally::default();
    tally.add(&result);
    let settlement = Settlement {
        id,
        account,
        currency: Currency::BRL,
        terms: FileTerms { mapping: "razao".to_owned(), assumed: true, days: Some((at, at)) },
        begun_at: at,
        finished_at: Some(at),
        tally,
    };
    let digest = |bytes: Vec<u8>| Hash::of(&hex(&bytes)).to_hex()[..16].to_owned();
    let key = b"M";
    let found = [
        digest(codec::encode(key, &payout).unwrap()),
        digest(codec::encode(key, &claim).unwrap()),
        digest(codec::encode(key, &result).unwrap()),
        digest(codec::encode(key, &settlement).unwrap()),
    ];
    assert_eq!(found, ["a5469a976c0d9b47", "c194537654f63cef", "f52e21a2180c277a", "bf42ec86104f3581"]);
}
