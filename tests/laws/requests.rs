//! Requests with an Idempotency-Key: claimed once, answered the same for a day, then gone without a trace.

use super::books::{Ledger, newborn};
use razao::domain::ids::Nonce;
use razao::domain::receipt::Private;
use razao::ledger::command::{Command, Refusal, Reply, SubmitError};
use razao::ledger::idempotency::{Claim, ClaimRequest, KeepAnswer};
use razao::store::engine::{Direction, Engine, Read, prefix};
use razao::store::idempotency::{ANSWER_BYTES_MAX, Answer, RequestKey};
use razao::store::memory::Memory;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const KEY: RequestKey = RequestKey([1; 32]);
const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

fn claim(key: RequestKey, fingerprint: u8, nonce: u8) -> Command {
    Command::ClaimRequest(ClaimRequest { key, fingerprint: [fingerprint; 32], nonce: Nonce([nonce; 16]) })
}

fn answer(bytes: usize) -> Answer {
    let body = (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect();
    Answer { status: 202, location: Some("/v1/somewhere".to_owned()), body: Private(body) }
}

fn granted(reply: Reply) -> u8 {
    match reply {
        Reply::Claimed(Claim::Granted(nonce)) => nonce.0[0],
        other => panic!("{other:?}"),
    }
}

/// How many keys there are of requests, their answers and their expiries.
fn kept(engine: &Memory) -> usize {
    let (low, high) = prefix(b"I");
    engine.scan(low, high, Direction::Up).count()
}

#[test]
fn a_claim_without_an_answer_is_granted_again_under_its_first_nonce() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    assert_eq!(granted(ledger.then(claim(KEY, 1, 7))), 7);
    assert_eq!(granted(ledger.then(claim(KEY, 1, 8))), 7, "what it makes is named as before");
    let other = ledger.submit(claim(KEY, 2, 9));
    assert!(matches!(other, Err(SubmitError::Refused(Refusal::KeyReused))));
    assert_eq!(granted(ledger.then(claim(RequestKey([2; 32]), 2, 9))), 9, "another key");
    ledger.then(Command::ForgetRequests(vec![KEY]));
    assert_eq!(granted(ledger.then(claim(KEY, 2, 10))), 10, "what came to nothing leaves its key free");
    ledger.stop();
}

#[test]
fn an_answer_is_kept_whole_for_a_day_and_the_first_one_counts() {
    for bytes in [0, 1, 60_000, 60_001, 1_000_000] {
        let engine = newborn();
        let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
        ledger.then(claim(KEY, 1, 7));
        ledger.then(Command::KeepAnswer(KeepAnswer { key: KEY, answer: answer(bytes) }));
        ledger.then(Command::KeepAnswer(KeepAnswer { key: KEY, answer: answer(3) }));
        ledger.then(Command::ForgetRequests(vec![KEY]));
        let Reply::Claimed(Claim::Answered(found)) = ledger.then(claim(KEY, 1, 8)) else { panic!("{bytes}") };
        assert!(found == answer(bytes), "{bytes}");
        let now = || razao::domain::time::Time(ledger.clock.0.load(Ordering::SeqCst));
        assert_eq!(ledger.reader.expired_requests(now(), 10).unwrap(), []);
        ledger.clock.0.fetch_add(DAY_MICROS, Ordering::SeqCst);
        assert_eq!(ledger.reader.expired_requests(now(), 10).unwrap(), [KEY]);
        ledger.then(Command::ForgetRequests(vec![KEY]));
        assert_eq!(kept(&engine), 0, "nothing is left of it");
        ledger.stop();
    }
}

#[test]
fn an_expired_key_is_free_also_before_it_is_forgotten() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    ledger.then(claim(KEY, 1, 7));
    ledger.then(Command::KeepAnswer(KeepAnswer { key: KEY, answer: answer(200_000) }));
    let before = kept(&engine);
    ledger.clock.0.fetch_add(DAY_MICROS, Ordering::SeqCst);
    assert_eq!(granted(ledger.then(claim(KEY, 2, 8))), 8);
    assert!(kept(&engine) < before, "the old answer is gone");
    assert_eq!(kept(&engine), 2);
    ledger.stop();
}

#[test]
fn an_answer_that_is_too_large_is_not_kept_and_harms_nothing() {
    let ledger = Ledger::start(newborn());
    ledger.then(claim(KEY, 1, 7));
    ledger.then(Command::KeepAnswer(KeepAnswer { key: KEY, answer: answer(ANSWER_BYTES_MAX + 1) }));
    assert_eq!(granted(ledger.then(claim(KEY, 1, 8))), 7);
    ledger.stop();
}
