//! A ledger in memory for the laws: the real writer over an engine that forgets what was not synced, and a clock that
//! goes on only when told to.

use razao::clock::Clock;
use razao::domain::evidence::{Amount, Identity, Origin, Piece, Said, Source};
use razao::domain::ids::{AccountId, OrderKey, ProviderRef, Reference};
use razao::domain::money::{Currency, Money};
use razao::domain::receipt::Private;
use razao::domain::state::Word;
use razao::domain::time::Time;
use razao::ledger::books::Books;
use razao::ledger::command::{
    AccountTerms, Command, News, Received, Record, Registration, Reply, SubmitError, Verdict,
};
use razao::ledger::payouts::PayoutRequest;
use razao::ledger::reader::Reader;
use razao::ledger::writer::{self, Handle, Rim, Started};
use razao::schedule::cadence::Cadence;
use razao::store::engine::{Batch, Engine};
use razao::store::memory::Memory;
use razao::store::meta::{self, Meta};
use razao::store::sealed::Body;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub struct TestClock(pub AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}

pub struct Ledger {
    pub handle: Handle,
    pub reader: Reader,
    pub clock: Arc<TestClock>,
    thread: JoinHandle<()>,
}

/// An engine that holds a newborn ledger.
pub fn newborn() -> Arc<Memory> {
    let engine = Memory::default();
    let mut batch = Batch::default();
    meta::put(&mut batch, &Meta::newborn([7; 16])).unwrap();
    engine.apply(&batch).unwrap();
    engine.sync().unwrap();
    Arc::new(engine)
}

impl Ledger {
    pub fn start(engine: Arc<dyn Engine>) -> Ledger {
        Ledger::start_with(engine, false)
    }

    pub fn start_with(engine: Arc<dyn Engine>, acknowledge_before_sync: bool) -> Ledger {
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000_000)));
        let books = Books::load(&*engine).unwrap().unwrap();
        let rim = Rim {
            engine,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            free_bytes: Box::new(|| None),
            min_free_bytes: 0,
            acknowledge_before_sync,
        };
        let Started { handle, reader, thread } = writer::start(rim, books).unwrap();
        Ledger { handle, reader, clock, thread }
    }

    pub fn submit(&self, command: Command) -> Result<Reply, SubmitError> {
        wait(self.handle.submit(command))
    }

    /// Lets the clock go on by a millisecond, and submits.
    pub fn then(&self, command: Command) -> Reply {
        self.clock.0.fetch_add(1000, Ordering::SeqCst);
        self.submit(command).unwrap()
    }

    pub fn stop(self) {
        drop(self.handle);
        self.thread.join().unwrap();
    }
}

/// Runs a future to its end on this thread.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub fn terms() -> AccountTerms {
    let cadence = Cadence { pause_min: Duration::from_secs(30), pause_max: Duration::from_secs(21_600) };
    let account = AccountId::parse("loja").unwrap();
    AccountTerms { account, provider: "picpay", currency: Currency::BRL, cadence }
}

pub fn key(reference: &str) -> OrderKey {
    OrderKey::new(terms().account, Reference::parse(reference).unwrap())
}

pub fn cents(minor: i64) -> Money {
    Money::from_minor(minor).unwrap()
}

pub fn receive(body: &str) -> Command {
    Command::Receive(Received {
        terms: terms(),
        received_at: Time(1),
        answer_status: 200,
        content_type: None,
        body: Body { query: None, bytes: Private(body.as_bytes().to_vec()) },
        event: None,
        verdict: Verdict::Ask,
    })
}

pub fn register(reference: &str, amount: i64) -> Command {
    Command::Register(Registration {
        terms: terms(),
        reference: Reference::parse(reference).unwrap(),
        amount: cents(amount),
        expires_at: None,
        provider_ref: None,
        metadata: Some("{\"buyer\":\"Maria\"}".to_owned()),
    })
}

pub fn pay_out(reference: &str, amount: i64) -> Command {
    Command::RecordPayout(PayoutRequest {
        account: terms().account,
        reference: Reference::parse(reference).unwrap(),
        amount: cents(amount),
        currency: Currency::BRL,
        occurred_at: None,
    })
}

/// A poll's answer: the word, the gross and the refund total, asked at `at`.
pub fn seen(
    reference: &str,
    said: Option<Word>,
    gross: Option<i64>,
    refunded: Option<i64>,
    at: i64,
) -> Command {
    let amount = |minor: Option<i64>| minor.map_or(Amount::Absent, |minor| Amount::Known(cents(minor)));
    let piece = Piece {
        said: said.map_or(Said::Unknown, Said::Word),
        provider_status: Some(said.map_or("odd", Word::as_str).to_owned()),
        gross: amount(gross),
        fee: Amount::Absent,
        refunded: amount(refunded),
        currency: None,
        proof: false,
        date: Time(at),
        occurred: None,
        identity: Identity::Content,
        asked: Some(Time(at)),
        origin: Origin { source: Source::Poll, receipt: None, actor: None, reason_hash: None },
        details: vec![("chain_name".to_owned(), "Polygon".to_owned())],
    };
    let reference = Reference::parse(reference).unwrap();
    let news = News { provider_ref: Some(ProviderRef::from(&reference)), reference, token: None, piece };
    Command::Record(Record {
        terms: terms(),
        news: vec![news],
        receipt: None,
        attempts: Vec::new(),
        done: true,
    })
}

/// Six orders that pass every kind of entry there is but payouts: some sixty entries.
pub fn lives() -> Vec<Command> {
    lives_of(6)
}

pub fn lives_of(orders: i64) -> Vec<Command> {
    let mut commands = Vec::new();
    for number in 0..orders {
        let name = format!("PED-{number}");
        let at = |step: i64| 1_000_000 + number * 1000 + step;
        commands.push(receive(&format!("{{\"referenceId\":\"{name}\"}}")));
        commands.push(register(&name, 10_000));
        commands.push(seen(&name, Some(Word::Paid), Some(10_000), None, at(1)));
        commands.push(seen(&name, Some(Word::Paid), Some(10_000), Some(2_500), at(2)));
        commands.push(seen(&name, None, None, None, at(3)));
        commands.push(seen(&name, Some(Word::Completed), Some(10_000), Some(2_500), at(4)));
        commands.push(seen(&name, Some(Word::Chargeback), Some(10_000), None, at(5)));
        commands.push(seen(&name, Some(Word::Refunded), Some(10_000), Some(10_000), at(6)));
        commands.push(seen(&name, Some(Word::Paid), Some(10_000), None, at(7)));
    }
    commands
}
