//! No personal data in the ledger: it lives under the keys that can be erased, and nowhere else.

use crate::books::{Ledger, key, newborn, receive, register, seen};
use razao::domain::state::Word;
use razao::ledger::command::{Command, Ruled, RulingRequest};
use razao::store::engine::{Direction, Engine, Read};
use razao::store::keys;
use std::ops::Bound;
use std::sync::Arc;

#[test]
fn personal_data_lies_only_where_it_can_be_erased() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    ledger.then(receive("{\"referenceId\":\"PED-1\",\"cpf\":\"Maria 123.456.789-09\"}"));
    ledger.then(register("PED-1", 100));
    ledger.then(seen("PED-1", Some(Word::Refunded), Some(100), None, 1000));
    ledger.then(seen("PED-1", Some(Word::Paid), Some(100), None, 2000));
    let order = ledger.reader.order(&key("PED-1")).unwrap().unwrap();
    let (_, open) = order.open.first_key_value().unwrap();
    let reason = "Maria called us".to_owned();
    let ruling =
        RulingRequest { discrepancy: open.id, actor: Some("ana".to_owned()), reason, action: Ruled::Keep };
    ledger.then(Command::Rule(ruling));
    ledger.stop();

    let erasable = [keys::BODY, keys::METADATA, keys::REASON];
    let mut found = 0;
    for pair in engine.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up) {
        let (key, value) = pair.unwrap();
        if value.windows(5).any(|window| window == b"Maria") {
            assert!(erasable.contains(&key[0]), "personal data in {}", keys::describe(&key));
            found += 1;
        }
    }
    assert_eq!(found, 3, "body, metadata and reason are kept somewhere");
}
