//! Entries are gapless and chained, and never change: whatever is altered afterwards, `verify` names it.

use crate::books::{Ledger, key, lives_of, newborn, pay_out, receive};
use crate::settlements::settle;
use razao::domain::chain::{self, Body};
use razao::domain::ids::{ReceiptId, Seq};
use razao::ledger::command::{Attempted, Command, Ruled, RulingRequest, Then};
use razao::ledger::verify::{Difference, Verified, verify};
use razao::store::agenda::Agenda;
use razao::store::engine::{Batch, Direction, Engine};
use razao::store::memory::Memory;
use razao::store::{codec, entries, keys, meta, orders, receipts};
use std::ops::Bound;
use std::sync::Arc;

fn ledger_of_many_kinds(orders: i64) -> Arc<Memory> {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    lives_of(orders).into_iter().for_each(|command| drop(ledger.then(command)));
    let order = ledger.reader.order(&key("PED-0")).unwrap().unwrap();
    let (_, open) = order.open.first_key_value().expect("an open discrepancy");
    let ruling = RulingRequest {
        discrepancy: open.id,
        actor: Some("ana".to_owned()),
        reason: "the bank says so".to_owned(),
        action: Ruled::SetState(razao::domain::state::State::Paid),
    };
    ledger.then(Command::Rule(ruling));
    ledger.then(pay_out("TED-1", 1_000));
    settle(1, &["L1,PED-0,100.00,2.50", "L2,PED-1,100.00,1.00"])
        .into_iter()
        .for_each(|it| drop(ledger.then(it)));
    ledger.stop();
    engine
}

fn check(engine: &dyn Engine) -> Result<Verified, Difference> {
    verify(engine, &mut |_, _| {})
}

fn all(engine: &dyn Engine) -> Vec<(Vec<u8>, Vec<u8>)> {
    engine.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up).map(|pair| pair.unwrap()).collect()
}

#[test]
fn an_untouched_ledger_passes() {
    let engine = ledger_of_many_kinds(6);
    let verified = check(&*engine).unwrap();
    let head = meta::get(&*engine).unwrap().unwrap();
    assert_eq!((Seq(verified.entries), verified.head), (head.seq, head.hash));
    assert_eq!((verified.orders, verified.receipts), (6, 6));
}

#[test]
fn any_flipped_byte_of_any_entry_is_named() {
    let engine = ledger_of_many_kinds(2);
    for (key, value) in all(&*engine).into_iter().filter(|(key, _)| key.first() == Some(&keys::ENTRY)) {
        let named = format!("entry {}", keys::number(&key).unwrap());
        for place in 0..value.len() {
            engine.tamper(&key, |value| value[place] ^= 0x10);
            let failed = check(&*engine).expect_err("a flipped byte passed").to_string();
            assert!(failed.contains(&named), "byte {place} of {named}: {failed}");
            engine.tamper(&key, |value| value[place] ^= 0x10);
        }
    }
    check(&*engine).unwrap();
}

#[test]
fn any_flipped_byte_of_anything_else_that_is_derived_is_seen() {
    let engine = ledger_of_many_kinds(6);
    let derived = [
        b'M',
        keys::ORDER,
        keys::EVIDENCE,
        keys::BALANCE,
        keys::DISCREPANCY,
        keys::RECEIPT,
        keys::PROVIDER_REF,
        keys::CLAIM,
        keys::PAYOUT,
    ];
    for (key, value) in all(&*engine).into_iter().filter(|(key, _)| derived.contains(&key[0])) {
        for place in [0, value.len() / 2, value.len() - 1] {
            engine.tamper(&key, |value| value[place] ^= 0x01);
            let passed = check(&*engine).is_ok();
            assert!(!passed, "{}, byte {place}", keys::describe(&key));
            engine.tamper(&key, |value| value[place] ^= 0x01);
        }
    }
}

#[test]
fn anything_derived_that_is_missing_is_seen() {
    let derived = [
        b'M',
        keys::ENTRY,
        keys::ORDER,
        keys::EVIDENCE,
        keys::BALANCE,
        keys::DISCREPANCY,
        keys::PROVIDER_REF,
        keys::CLAIM,
        keys::PAYOUT,
    ];
    let whole = ledger_of_many_kinds(6);
    let pairs = all(&*whole);
    for (key, value) in pairs.iter().filter(|(key, _)| derived.contains(&key[0])) {
        let mut batch = Batch::default();
        batch.delete(key.clone());
        whole.apply(&batch).unwrap();
        // Of equal neighbours the first piece is only kept for its date: without it nothing else changes.
        let passed = check(&*whole).is_ok();
        assert!(!passed || key[0] == keys::EVIDENCE, "{} can be taken away", keys::describe(key));
        let mut batch = Batch::default();
        batch.put(key.clone(), value.clone());
        whole.apply(&batch).unwrap();
    }
    check(&*whole).unwrap();
}

#[test]
fn the_agenda_names_exactly_the_receipts_that_are_not_over() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    ["one", "two", "three"].into_iter().for_each(|body| drop(ledger.then(receive(body))));
    let over = ReceiptId(2);
    let ended = Attempted { receipt: over, attempts: Vec::new(), not_found: false, then: Then::Ignored };
    ledger.then(Command::NoteAttempt(ended));
    ledger.stop();
    check(&*engine).unwrap();
    let change = |id: ReceiptId, open: bool, also: &dyn Fn(&mut Batch)| {
        let (mut agenda, mut batch) = (Agenda::default(), Batch::default());
        agenda.set(&*engine, id, open).unwrap();
        agenda.write(&mut batch).unwrap();
        also(&mut batch);
        engine.apply(&batch).unwrap();
    };
    let named = |id: ReceiptId, what: &str| {
        let failed = check(&*engine).expect_err("the agenda was altered").to_string();
        assert!(failed.contains(&format!("receipt {id}: it is {what}")), "{failed}");
    };
    for (id, open, what) in [
        (ReceiptId(1), false, "not over and not on the agenda"),
        (over, true, "on the agenda and over"),
        (ReceiptId(4), true, "on the agenda and not there"),
        (ReceiptId(u64::MAX), true, "on the agenda and not there"),
    ] {
        change(id, open, &|_| {});
        named(id, what);
        change(id, !open, &|_| {});
        check(&*engine).unwrap();
    }
    // A page of numbers that no receipt can have.
    let page = keys::agenda(u64::MAX);
    let mut batch = Batch::default();
    batch.put(page.clone(), codec::encode(&page, &[1_u64; 16]).unwrap());
    engine.apply(&batch).unwrap();
    named(ReceiptId(u64::MAX), "on the agenda and not there");
    let mut batch = Batch::default();
    batch.delete(page);
    engine.apply(&batch).unwrap();
    // The one that is missing is named, and not the next one, which stands on the agenda rightly.
    let receipt = receipts::get(&*engine, over).unwrap().unwrap();
    change(over, true, &|batch| receipts::delete(batch, &receipt));
    named(over, "on the agenda and not there");
}

#[test]
fn what_is_hashed_is_rfc_8785() {
    let engine = ledger_of_many_kinds(6);
    let head = meta::get(&*engine).unwrap().unwrap().seq;
    for item in entries::range(&*engine, Seq(1), head) {
        let (seq, mut stored) = item.unwrap();
        // Text that JSON has to escape, and text that it must not.
        let odd = "\u{0} \u{1f} \u{7f} \" \\ / \n \t \u{2028} é 日本 \u{1f9fe}".to_owned();
        stored.entry.provider_status = Some(odd.clone());
        stored.entry.details = vec![("a".to_owned(), odd), ("B".to_owned(), String::new())];
        let own = chain::canonical(&stored.entry).unwrap();
        let full = serde_json_canonicalizer::to_string(&Body::of(&stored.entry)).unwrap();
        assert_eq!(own, full, "entry {seq}");
    }
}

/// Values that pass their checksum, but say something else: what only the replay can see.
#[test]
fn a_ledger_that_was_rewritten_with_care_is_seen() {
    let engine = ledger_of_many_kinds(6);
    let mut order = orders::get(&*engine, &key("PED-1")).unwrap().unwrap();
    order.ledgered.state = razao::domain::state::State::Completed;
    let mut batch = Batch::default();
    orders::put(&mut batch, &order).unwrap();
    engine.apply(&batch).unwrap();
    let failed = check(&*engine).unwrap_err().to_string();
    assert!(failed.contains("loja/PED-1"), "{failed}");
}
