//! Acknowledged is durable. The page cache survives a kill, so this is shown on an engine that loses what was not synced.

use crate::books::{Ledger, newborn, receive, register, wait};
use razao::domain::ids::ReceiptId;
use razao::ledger::books::Books;
use razao::ledger::command::{Command, Reply, SubmitError};
use razao::ledger::reader::Reader;
use razao::store::engine::{Batch, Direction, Engine, EngineError, Read, Scan};
use razao::store::memory::Memory;
use razao::store::receipts;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// An engine whose sync waits until it is let through.
struct Gated {
    below: Arc<Memory>,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gated {
    fn new(below: Arc<Memory>) -> Arc<Gated> {
        Arc::new(Gated { below, open: Mutex::new(false), opened: Condvar::new() })
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Read for Gated {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.below.get(key)
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        self.below.scan(from, to, direction)
    }
}

impl Engine for Gated {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        self.below.apply(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        self.below.sync()
    }
}

/// Whether a command is answered, or anything published, while its sync is still under way.
fn leaks_before_sync(acknowledge_before_sync: bool) -> bool {
    let gated = Gated::new(newborn());
    let ledger = Ledger::start_with(Arc::clone(&gated) as Arc<dyn Engine>, acknowledge_before_sync);
    let leaked = wait(async {
        let answer = ledger.handle.submit(register("PED-1", 100));
        tokio::pin!(answer);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut answer).await.is_ok();
        let published = ledger.reader.head().0 > 0;
        gated.open();
        if !early {
            answer.await.unwrap();
        }
        early || published
    });
    ledger.stop();
    leaked
}

#[test]
fn nothing_is_answered_or_published_before_its_sync() {
    assert!(!leaks_before_sync(false));
}

#[test]
fn an_answer_before_the_sync_is_noticed() {
    assert!(leaks_before_sync(true), "this check must be able to fail");
}

#[test]
fn what_is_read_is_answered_once_it_is_durable() {
    let gated = Gated::new(newborn());
    let ledger = Ledger::start(Arc::clone(&gated) as Arc<dyn Engine>);
    wait(async {
        let written = ledger.handle.submit(register("PED-1", 100));
        tokio::pin!(written);
        let patience = Duration::from_millis(300);
        assert!(tokio::time::timeout(patience, &mut written).await.is_err());
        assert!(ledger.reader.order(&crate::books::key("PED-1")).unwrap().is_some(), "it is visible already");
        assert!(tokio::time::timeout(patience, ledger.reader.settled()).await.is_err(), "and not settled");
        gated.open();
        written.await.unwrap();
        ledger.reader.settled().await.unwrap();
    });
    ledger.stop();
}

#[test]
fn a_power_cut_at_any_moment_keeps_everything_acknowledged() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    let acknowledged: Mutex<Vec<ReceiptId>> = Mutex::default();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (ledger, acknowledged) = (&ledger, &acknowledged);
            scope.spawn(move || {
                for number in 0..100 {
                    let reply = ledger.submit(receive(&format!("{client}/{number}"))).unwrap();
                    let Reply::Received { id, .. } = reply else { panic!("{reply:?}") };
                    acknowledged.lock().unwrap().push(id);
                }
            });
        }
        for _ in 0..200 {
            let before = acknowledged.lock().unwrap().clone();
            let head = ledger.reader.head();
            let left = engine.after_power_cut();
            for id in before {
                assert!(receipts::get(&left, id).unwrap().is_some(), "{id} was acknowledged and is gone");
            }
            let books = Books::load(&left).unwrap().unwrap();
            assert!(books.meta.seq >= head, "published {head}, durable {}", books.meta.seq);
        }
    });
    ledger.stop();
    let books = Books::load(&*engine).unwrap().unwrap();
    assert_eq!((books.meta.receipts, books.queue.pending), (ReceiptId(400), 400));
}

#[test]
fn a_failed_write_acknowledges_nothing_and_is_not_tried_again() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    ledger.submit(register("PED-1", 100)).unwrap();
    engine.fail("the disk is gone");
    let failed = ledger.submit(register("PED-2", 100));
    assert!(
        matches!(&failed, Err(SubmitError::Stopped(why)) if why.contains("the disk is gone")),
        "{failed:?}"
    );
    let later = ledger.submit(register("PED-3", 100));
    assert!(matches!(later, Err(SubmitError::Stopped(_))), "{later:?}");
    assert_eq!(ledger.reader.head().0, 1);
    assert!(ledger.reader.published().stopped.is_some());
    ledger.stop();
}

#[test]
fn what_was_refused_leaves_no_trace() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    ledger.submit(register("PED-1", 100)).unwrap();
    let head = ledger.reader.published().hash;
    assert!(matches!(ledger.submit(register("PED-1", 200)), Err(SubmitError::Refused(_))));
    assert!(matches!(ledger.submit(Command::Reprocess(ReceiptId(9))), Err(SubmitError::Refused(_))));
    assert_eq!(ledger.reader.published().hash, head);
    ledger.stop();
}

#[test]
fn a_reader_sees_what_the_writer_made_durable_in_order_from_anywhere() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    crate::books::lives().into_iter().for_each(|command| drop(ledger.then(command)));
    let reader: &Reader = &ledger.reader;
    let head = reader.head().0;
    assert!(head > 40, "only {head} entries");
    for from in 1..=head + 1 {
        let (entries, next) = reader.entries(razao::domain::ids::Seq(from), 1000, 10_000, |_| true).unwrap();
        let seqs: Vec<u64> = entries.iter().map(|stored| stored.entry.seq.0).collect();
        assert_eq!(seqs, (from..=head).collect::<Vec<_>>());
        assert_eq!(next.0, head + 1);
    }
    ledger.stop();
}

/// An engine whose device is full while told so.
struct Full {
    below: Arc<Memory>,
    full: AtomicBool,
}

impl Read for Full {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.below.get(key)
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        self.below.scan(from, to, direction)
    }
}

impl Engine for Full {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        assert!(!self.full.load(Ordering::SeqCst), "nothing is written without room for it");
        self.below.apply(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.below.sync()
    }

    fn make_room(&self) -> Result<bool, EngineError> {
        Ok(!self.full.load(Ordering::SeqCst))
    }
}

#[test]
fn without_room_writes_are_refused_before_they_are_tried_and_taken_again_by_themselves() {
    let full = Arc::new(Full { below: newborn(), full: AtomicBool::new(false) });
    let ledger = Ledger::start(Arc::clone(&full) as Arc<dyn Engine>);
    ledger.submit(register("PED-1", 100)).unwrap();
    full.full.store(true, Ordering::SeqCst);
    let refused = ledger.submit(register("PED-2", 100));
    assert!(
        matches!(&refused, Err(SubmitError::Stopped(why)) if why.contains("free some space")),
        "{refused:?}"
    );
    assert!(ledger.reader.order(&crate::books::key("PED-1")).unwrap().is_some(), "reads go on");
    assert!(ledger.reader.published().short_of_space && !ledger.reader.has_room());
    full.full.store(false, Ordering::SeqCst);
    ledger.submit(register("PED-2", 100)).unwrap();
    assert!(!ledger.reader.published().short_of_space && ledger.reader.published().stopped.is_none());
    assert_eq!(ledger.reader.head().0, 2);
    ledger.stop();
}
