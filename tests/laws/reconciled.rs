//! How far an order can be believed: `confirmed` if any call of ours named its present state, however much came since.

use super::books::{Ledger, key, newborn, register, seen};
use super::fold::reading::{Tell, reading};
use razao::domain::evidence::{Evidence, PIECES_MAX, Piece, Source};
use razao::domain::fold::is_confirmed;
use razao::domain::order::Reconciliation;
use razao::domain::state::{State, Word};
use razao::ledger::command::{Command, Record};

fn gather(pieces: &[Piece]) -> Evidence {
    let mut evidence = Evidence::default();
    for piece in pieces {
        evidence.insert(piece.clone());
    }
    evidence
}

/// The same news, but from a callback.
fn heard(command: Command) -> Command {
    let Command::Record(Record { terms, mut news, receipt, attempts, done }) = command else {
        panic!("{command:?}")
    };
    for piece in news.iter_mut().map(|news| &mut news.piece) {
        piece.origin.source = Source::Callback;
        piece.asked = None;
    }
    Command::Record(Record { terms, news, receipt, attempts, done })
}

fn believed(ledger: &Ledger) -> Reconciliation {
    ledger.reader.order(&key("PED-1")).unwrap().unwrap().reconciliation()
}

#[test]
fn an_event_that_a_callback_brought_is_confirmed_by_the_call_that_brings_it_again() {
    let called = reading(1, "paid").event("ev-1");
    let polled = reading(1, "paid").event("ev-1").snapshot(5);
    assert!(!is_confirmed(&gather(std::slice::from_ref(&called)), State::Paid));
    for order in [[called.clone(), polled.clone()], [polled, called]] {
        assert!(is_confirmed(&gather(&order), State::Paid));
    }
}

#[test]
fn a_refund_of_everything_names_refunded_whatever_the_word() {
    let polled = |total| reading(1, "paid").gross(100).total(total).snapshot(1);
    assert!(is_confirmed(&gather(&[polled(100)]), State::Refunded));
    assert!(!is_confirmed(&gather(&[polled(99)]), State::Refunded));
    assert!(is_confirmed(&gather(&[polled(99)]), State::Paid));
    let heard = reading(1, "paid").gross(100).total(100);
    assert!(!is_confirmed(&gather(&[heard]), State::Refunded), "a callback confirms nothing");
}

#[test]
fn every_way_into_the_ledger_keeps_it() {
    let ledger = Ledger::start(newborn());
    ledger.then(register("PED-1", 10_000));
    assert_eq!(believed(&ledger), Reconciliation::Unseen);
    ledger.then(heard(seen("PED-1", Some(Word::Paid), Some(10_000), None, 1)));
    assert_eq!(believed(&ledger), Reconciliation::Reported);
    ledger.then(register("PED-1", 10_000));
    assert_eq!(believed(&ledger), Reconciliation::Reported);
    ledger.then(seen("PED-1", Some(Word::Paid), Some(10_000), None, 2));
    assert_eq!(believed(&ledger), Reconciliation::Confirmed);
    ledger.then(heard(seen("PED-1", Some(Word::Chargeback), Some(10_000), None, 3)));
    assert_eq!(believed(&ledger), Reconciliation::Reported, "of this state no call of ours spoke");
    ledger.then(heard(seen("PED-1", Some(Word::Paid), Some(10_000), None, 4)));
    assert_eq!(believed(&ledger), Reconciliation::Confirmed, "of this one a call spoke long ago");
    ledger.then(seen("PED-1", None, None, None, 5));
    assert_eq!(believed(&ledger), Reconciliation::Discrepancy);
    ledger.then(seen("PED-1", Some(Word::Paid), Some(10_000), None, 6));
    assert_eq!(believed(&ledger), Reconciliation::Confirmed);
    ledger.stop();
}

#[test]
fn the_foundation_does_not_forget_what_was_confirmed() {
    let ledger = Ledger::start(newborn());
    ledger.then(seen("PED-1", Some(Word::Paid), Some(10_000), None, 1));
    let many = i64::try_from(PIECES_MAX).unwrap() + 10;
    for at in 2..many {
        // Each names another gross, so that none is thinned.
        ledger.then(heard(seen("PED-1", Some(Word::Paid), Some(10_000 + at), None, at)));
    }
    let evidence = ledger.reader.evidence(&key("PED-1")).unwrap();
    assert!(evidence.foundation().is_some() && !is_confirmed(&evidence, State::Paid));
    assert_eq!(believed(&ledger), Reconciliation::Confirmed);
    ledger.then(heard(seen("PED-1", Some(Word::Chargeback), Some(20_000), None, many)));
    assert_eq!(believed(&ledger), Reconciliation::Reported);
    ledger.stop();
}
