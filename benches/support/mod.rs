//! What several benches need: a ledger in memory, commands for it, and an entry out of it.
#![allow(dead_code)] // Each bench uses a part.

use razao::clock::{Clock, SystemClock};
use razao::domain::evidence::{Amount, Identity, Origin, Piece, Said, Source};
use razao::domain::ids::{AccountId, ProviderRef, Reference, Seq};
use razao::domain::money::{Currency, Money};
use razao::domain::receipt::Private;
use razao::domain::state::Word;
use razao::domain::time::Time;
use razao::ledger::books::{Books, Group};
use razao::ledger::command::{AccountTerms, Command, News, Received, Record, Verdict};
use razao::schedule::cadence::Cadence;
use razao::store::engine::{Batch, Engine};
use razao::store::entries::{self, StoredEntry};
use razao::store::memory::Memory;
use razao::store::meta::{self, Meta};
use razao::store::sealed::Body;
use std::fs;
use std::path::Path;
use std::time::Duration;

pub fn terms() -> AccountTerms {
    let cadence = Cadence { pause_min: Duration::from_secs(30), pause_max: Duration::from_secs(21_600) };
    let account = AccountId::parse("loja").unwrap();
    AccountTerms { account, provider: "picpay", currency: Currency::BRL, cadence }
}

/// A provider's answer that an order, new or known, is paid.
pub fn paid(number: u64) -> Command {
    let at = Time(1_000_000 + i64::try_from(number).unwrap());
    let reference = Reference::parse(&format!("PED-2026-{number:09}")).unwrap();
    let piece = Piece {
        said: Said::Word(Word::Paid),
        provider_status: Some("paid".to_owned()),
        gross: Amount::Known(Money::from_minor(12_990).unwrap()),
        fee: Amount::Absent,
        refunded: Amount::Known(Money::ZERO),
        currency: None,
        proof: false,
        date: at,
        occurred: None,
        identity: Identity::Content,
        asked: Some(at),
        origin: Origin { source: Source::Details, receipt: None, actor: None, reason_hash: None },
        details: Vec::new(),
    };
    let news = News { provider_ref: Some(ProviderRef::from(&reference)), reference, token: None, piece };
    Command::Record(Record {
        terms: terms(),
        news: vec![news],
        receipt: None,
        attempts: Vec::new(),
        done: true,
    })
}

/// A provider's callback of about 600 bytes that has to be asked about.
pub fn received(number: u64) -> Command {
    let body = format!("{{\"referenceId\":\"PED-2026-{number:09}\",\"x\":\"{}\"}}", "x".repeat(550));
    Command::Receive(Received {
        event: None,
        terms: terms(),
        received_at: Time(1),
        answer_status: 200,
        content_type: Some("application/json".to_owned()),
        body: Body { query: None, bytes: Private(body.into_bytes()) },
        verdict: Verdict::Ask,
    })
}

/// Gives an engine an empty ledger.
pub fn bear(engine: &dyn Engine) -> Books {
    let mut batch = Batch::default();
    meta::put(&mut batch, &Meta::newborn([1; 16])).unwrap();
    engine.apply(&batch).unwrap();
    engine.sync().unwrap();
    Books::load(engine).unwrap().unwrap()
}

/// The batch that a group of commands comes to.
pub fn batch(engine: &dyn Engine, books: &mut Books, commands: impl Iterator<Item = Command>) -> Batch {
    let mut group = Group::new(engine, books, SystemClock.now());
    commands.for_each(|command| drop(group.execute(command).unwrap()));
    group.finish().unwrap()
}

pub fn an_entry() -> StoredEntry {
    let engine = Memory::default();
    let mut books = bear(&engine);
    let batch = batch(&engine, &mut books, std::iter::once(paid(1)));
    engine.apply(&batch).unwrap();
    entries::get(&engine, Seq(2)).unwrap().unwrap()
}

/// The bytes of all files in a directory and below it.
pub fn disk_bytes(dir: &Path) -> u64 {
    let size = |entry: fs::DirEntry| {
        let kind = entry.metadata().unwrap();
        if kind.is_dir() { disk_bytes(&entry.path()) } else { kind.len() }
    };
    fs::read_dir(dir).unwrap().map(|entry| size(entry.unwrap())).sum()
}
