//! The same commands at the same times give the same entries and hashes, whatever groups they fall into.

use crate::books::{Ledger, lives, newborn, wait};
use razao::store::engine::{Direction, Engine};
use std::ops::Bound;
use std::sync::Arc;

#[test]
fn groups_do_not_matter() {
    let one_by_one = newborn();
    let ledger = Ledger::start(Arc::clone(&one_by_one) as Arc<dyn Engine>);
    lives().into_iter().for_each(|command| drop(ledger.submit(command).unwrap()));
    ledger.stop();

    let together = newborn();
    let ledger = Ledger::start(Arc::clone(&together) as Arc<dyn Engine>);
    wait(async {
        let all = lives().into_iter().map(|command| ledger.handle.submit(command));
        futures_util::future::join_all(all).await.into_iter().for_each(|reply| drop(reply.unwrap()));
    });
    ledger.stop();

    let dump = |engine: &dyn Engine| -> Vec<_> {
        engine.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up).map(|pair| pair.unwrap()).collect()
    };
    assert_eq!(dump(&*one_by_one), dump(&*together), "byte for byte");
}
