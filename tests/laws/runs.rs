//! A reconciliation's records: the first result counts, the end is the end, and what is forgotten leaves nothing behind.

use super::books::{Ledger, key, newborn, register};
use razao::domain::ids::{OrderKey, RunId};
use razao::domain::run::{Finding, Run, RunResult, Scope, Tally};
use razao::domain::time::Time;
use razao::ledger::command::Command;
use razao::ledger::runs::{NewLane, NoteResult, StartRun};
use razao::store::engine::{Direction, Engine, Read, prefix};
use razao::store::memory::Memory;
use std::sync::Arc;

const RUN: RunId = RunId([9; 16]);

fn start(orders: &[&str]) -> Command {
    let account = key("PED-0").account;
    let lanes = vec![NewLane { account, total: orders.len() as u64, unseen: false }];
    let orders = orders.iter().map(|name| key(name)).collect();
    Command::StartRun(StartRun { id: RUN, owner: [0; 32], scope: Scope::Named, lanes, orders })
}

fn note(order: &OrderKey, finding: Finding) -> Command {
    let result = RunResult { finding, reason: None, state: None, entries: Vec::new(), at: Time(5) };
    let after = Some(order.reference.clone());
    Command::NoteResult(Box::new(NoteResult { run: RUN, order: order.clone(), result, sums: None, after }))
}

fn tally(ledger: &Ledger) -> Tally {
    ledger.reader.lanes(RUN).unwrap().remove(0).tally
}

fn run(ledger: &Ledger) -> Run {
    ledger.reader.run(RUN).unwrap().unwrap()
}

fn kept(engine: &Memory) -> usize {
    let count = |kind: &[u8]| {
        let (low, high) = prefix(kind);
        engine.scan(low, high, Direction::Up).count()
    };
    count(b"N") + count(b"U")
}

#[test]
fn the_first_result_counts_and_a_start_again_starts_nothing_anew() {
    let ledger = Ledger::start(newborn());
    ledger.then(start(&["A", "B"]));
    ledger.then(note(&key("A"), Finding::Corrected));
    ledger.then(note(&key("A"), Finding::Matched));
    ledger.then(start(&["A", "B", "C"]));
    assert_eq!(tally(&ledger), Tally { corrected: 1, ..Tally::default() });
    let account = key("A").account;
    let to_ask = ledger.reader.to_ask(&run(&ledger), &account, None, 10).unwrap();
    assert!(to_ask.end && to_ask.orders == [key("B").reference], "{to_ask:?}");
    ledger.then(Command::EndLane { run: RUN, account: account.clone() });
    let ended = run(&ledger).finished_at;
    assert!(ended.is_some());
    ledger.then(Command::EndLane { run: RUN, account });
    assert_eq!(run(&ledger).finished_at, ended);
    ledger.stop();
}

#[test]
fn open_orders_that_came_after_the_start_are_not_asked_about() {
    let ledger = Ledger::start(newborn());
    ledger.then(register("A", 100));
    let lanes = vec![NewLane { account: key("A").account, total: 1, unseen: false }];
    let start = StartRun { id: RUN, owner: [0; 32], scope: Scope::Open, lanes, orders: Vec::new() };
    ledger.then(Command::StartRun(start));
    ledger.then(register("B", 100));
    let to_ask = ledger.reader.to_ask(&run(&ledger), &key("A").account, None, 10).unwrap();
    assert_eq!(to_ask.orders, [key("A").reference]);
    ledger.stop();
}

#[test]
fn a_run_is_forgotten_piece_by_piece_and_only_after_its_end() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    let names: Vec<String> = (0..25).map(|n| format!("PED-{n}")).collect();
    ledger.then(start(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    names.iter().for_each(|name| drop(ledger.then(note(&key(name), Finding::Matched))));
    let far = Time(i64::MAX);
    assert_eq!(ledger.reader.run_to_forget(far, 10).unwrap(), None, "it has not ended");
    ledger.then(Command::EndLane { run: RUN, account: key("A").account });
    assert_eq!(ledger.reader.run_to_forget(run(&ledger).started_at, 10).unwrap(), None, "it ended later");
    let mut pieces = 0;
    while let Some(forget) = ledger.reader.run_to_forget(far, 10).unwrap() {
        assert!(forget.orders.len() <= 10);
        ledger.then(Command::ForgetRun(forget));
        pieces += 1;
    }
    assert_eq!((pieces, kept(&engine)), (4, 0), "10, 10 and 5 results, then the run");
    ledger.stop();
}
