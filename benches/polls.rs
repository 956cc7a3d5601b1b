//! The poller over ever more open orders on the real engine: how long a start takes, what a look at the index costs, and how
//! much memory that takes. `cargo bench --bench polls` measures up to a million orders; as a test it makes a few.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used)]

mod support;

use razao::domain::ids::{AccountId, Reference};
use razao::domain::money::Money;
use razao::domain::time::Time;
use razao::ingest::poll::{DueTimes, LaneTerms, Poller};
use razao::ledger::books::Books;
use razao::ledger::command::{Command, Registration};
use razao::store::engine::Engine;
use razao::store::journaled::Journaled;
use razao::store::meta::StoreError;
use razao::store::polls;
use razao::store::sled::Durability;
use std::time::{Duration, Instant};

const GROUP: u64 = 64;
const LOOKS: u32 = 10_000;

struct Index<'a>(&'a dyn Engine);

impl DueTimes for Index<'_> {
    fn first(&self, account: &AccountId, limit: usize) -> Result<Vec<(Time, Reference)>, StoreError> {
        polls::due(self.0, account).take(limit).collect()
    }

    fn overdue(&self, account: &AccountId, now: Time, most: usize) -> Result<usize, StoreError> {
        polls::overdue(self.0, account, now, most)
    }
}

fn registered(number: u64) -> Command {
    Command::Register(Registration {
        terms: support::terms(),
        reference: Reference::parse(&format!("PED-{number:09}")).unwrap(),
        amount: Money::from_minor(12_990).unwrap(),
        expires_at: None,
        provider_ref: None,
        metadata: None,
    })
}

/// The process's resident memory in MiB, where the system tells.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn main() {
    let measures = std::env::args().any(|argument| argument == "--bench");
    let sizes: &[u64] = if measures { &[1_000, 100_000, 1_000_000] } else { &[200] };
    println!(
        "{:>9}  {:>12}  {:>12}  {:>14}  {:>12}",
        "orders", "open", "load+start", "a look", "RSS grew by"
    );
    for size in sizes {
        measure(*size);
    }
}

fn measure(size: u64) {
    let dir = tempfile::tempdir().unwrap();
    {
        let engine = Journaled::open(dir.path(), Durability::NoSync).unwrap();
        let mut books = support::bear(&engine);
        for first in (0..size).step_by(usize::try_from(GROUP).unwrap()) {
            let last = (first + GROUP).min(size);
            let batch = support::batch(&engine, &mut books, (first..last).map(registered));
            engine.apply(&batch).unwrap();
        }
        engine.sync().unwrap();
    }
    let opening = Instant::now();
    let engine = Journaled::open(dir.path(), Durability::Full).unwrap();
    let opened = opening.elapsed();
    let before = resident_mib();
    let starting = Instant::now();
    let books = Books::load(&engine).unwrap().unwrap();
    let terms = LaneTerms { cadence: support::terms().cadence, quota: None, has_events: false };
    let account = support::terms().account;
    // A day later everything is overdue: the worst start.
    let mut now = books.meta.recorded_at.plus(Duration::from_secs(86_400));
    let mut poller = Poller::new(vec![(account, terms)], now);
    let index = Index(&engine);
    let taken = poller.next(now, &index, |_| 8).unwrap();
    let started = starting.elapsed();
    assert_eq!(taken.len(), 1, "the first of a spread");
    taken.iter().for_each(|due| poller.finished(due));
    let looking = Instant::now();
    let mut polls = 0;
    for _ in 0..LOOKS {
        now = poller.look_again(now, &index, |_| 8).unwrap().unwrap().max(now.next());
        let taken = poller.next(now, &index, |_| 8).unwrap();
        polls += taken.len();
        taken.iter().for_each(|due| poller.finished(due));
    }
    let look = looking.elapsed() / LOOKS;
    assert!(polls > 0);
    let grown = resident_mib().saturating_sub(before);
    println!("{size:>9}  {opened:>12.1?}  {started:>12.1?}  {look:>14.1?}  {grown:>8} MiB");
}
