//! Seeded worlds that prove convergence: whatever lines, disks, clocks, kills and people do, once they stop every order
//! is what its provider knows it to be, or says in what it may differ.
//!
//! The real door, desk, adapters, resolver, writer and codec run against simulated providers under a time that jumps from
//! event to event. No clock, no socket, no thread: the same seed is the same world, to the byte.
//!
//! ```text
//! cargo test --test laws sim                                        a few hundred worlds
//! RAZAO_SEEDS=10000 cargo test --release --test laws sim::worlds    as many as you like
//! RAZAO_SEED=7 cargo test --test laws sim::worlds                   one of them, with its story
//! RAZAO_FAULT=agenda-lost RAZAO_SEEDS=100 cargo test …              the same with a deliberate fault
//! ```

mod bench;
mod checks;
mod daemon;
mod disk;
mod faults;
mod files;
mod network;
mod payments;
mod people;
mod plan;
mod reach;
mod scenarios;
mod shops;
mod traffic;
mod world;

use faults::Fault;
use reach::Reach;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use world::{Outcome, run};

const SEEDS: u64 = 400;

/// What many worlds came to.
struct Tally {
    worlds: u64,
    entries: u64,
    simulated: Duration,
    reach: Reach,
    /// The first world that broke a law.
    broken: Option<(u64, String)>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Other tests take other names from the same variable.
fn fault_asked_for() -> Option<Fault> {
    let name = std::env::var("RAZAO_FAULT").ok()?;
    let fault = Fault::parse(&name);
    if fault.is_none() {
        say(&format!("{name} is no fault of these worlds"));
    }
    fault
}

/// Runs worlds on all cores, each on one thread; stops at the first that breaks a law.
fn run_all(seeds: u64, fault: Option<Fault>, progress: bool) -> Tally {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(8));
    let (next, done) = (AtomicU64::new(1), Mutex::new(BTreeMap::<u64, Outcome>::new()));
    let lowest = AtomicU64::new(u64::MAX);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || seed > lowest.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = run(seed, fault, false);
                    if outcome.result.is_err() {
                        lowest.fetch_min(seed, Ordering::Relaxed);
                    }
                    done.lock().unwrap().insert(seed, outcome);
                    if progress && seed.is_multiple_of(1000) {
                        say(&format!("{seed} of {seeds} seeds after {:.1?}", begun.elapsed()));
                    }
                }
            });
        }
    });
    let mut tally =
        Tally { worlds: 0, entries: 0, simulated: Duration::ZERO, reach: Reach::default(), broken: None };
    for (seed, outcome) in done.into_inner().unwrap() {
        tally.worlds += 1;
        tally.entries += outcome.entries;
        tally.simulated += outcome.simulated;
        tally.reach.merge(outcome.reach);
        if let (Err(why), None) = (outcome.result, &tally.broken) {
            tally.broken = Some((seed, why));
        }
    }
    tally
}

/// Also where the harness keeps a passing test's output to itself.
fn say(what: &str) {
    writeln!(std::io::stdout().lock(), "{what}").unwrap();
}

fn story(seed: u64, fault: Option<Fault>) -> String {
    let outcome = run(seed, fault, true);
    format!("{}\n{:?}", outcome.story.join("\n"), outcome.result)
}

#[test]
fn worlds_converge() {
    let fault = fault_asked_for();
    if let Some(seed) = number("RAZAO_SEED") {
        let outcome = run(seed, fault, true);
        say(&format!("{}\n{}", outcome.story.join("\n"), outcome.reach.table()));
        assert_eq!(outcome.result, Ok(()), "RAZAO_SEED={seed}");
        return;
    }
    let seeds = number("RAZAO_SEEDS").unwrap_or(SEEDS);
    let begun = Instant::now();
    let tally = run_all(seeds, fault, true);
    let millis = begun.elapsed().as_millis().max(1);
    let days = tally.simulated.as_secs() / 86_400;
    let per_second = u128::from(tally.worlds) * 1000 / millis;
    println!("{}", tally.reach.table());
    let (worlds, entries) = (tally.worlds, tally.entries);
    say(&format!("{worlds} seeds, {per_second} seeds/s, {days} simulated days, {entries} entries"));
    if let Some((seed, why)) = tally.broken {
        panic!("RAZAO_SEED={seed}: {why}\n{}", story(seed, fault));
    }
    if seeds >= SEEDS && fault.is_none() {
        let missing = tally.reach.missing(REACHED);
        assert!(missing.is_empty(), "never reached: {missing:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [1, 7, 42] {
        let (one, other) = (run(seed, None, true), run(seed, None, true));
        assert!(one.entries > 0 && one.story.len() > 50, "seed {seed} is hardly a world");
        assert_eq!(one.story, other.story, "seed {seed}");
        assert_eq!((one.head, one.entries), (other.head, other.entries), "seed {seed}");
    }
}

#[test]
fn every_deliberate_fault_is_noticed() {
    let mut unnoticed = Vec::new();
    for (fault, name, seeds) in Fault::ALL {
        match run_all(seeds, Some(fault), false).broken {
            Some((seed, why)) => println!("{name}: noticed at seed {seed}: {why}"),
            None => unnoticed.push(name),
        }
    }
    assert!(unnoticed.is_empty(), "unnoticed: {unnoticed:?}");
}

/// What the default seeds must reach: every legal step, every cause that an adapter's answer can open (none of them names
/// a currency), every way to close one, every kind of retry and of death. Of the table what is not rare.
const REACHED: &[&str] = &[
    "account paused as asked",
    "adjustment",
    "answer overtaken by a later one",
    "apply failed",
    "call answered 429",
    "call answered 5xx",
    "call garbled",
    "call lost",
    "call timed out",
    "call unanswered",
    "callback doubled",
    "callback garbled",
    "callback lost",
    "callback unanswered",
    "closed amount_unknown",
    "closed amount_unreadable",
    "closed by agreed",
    "closed by keep",
    "closed by set_state",
    "closed conflict",
    "closed refund_unclear",
    "closed unknown_status",
    "death with a callback at the door",
    "death with calls under way",
    "death with a file under way",
    "death with commands queued",
    "death with deliveries under way",
    "death within a sync",
    "delivery given up",
    "delivery recorded",
    "delivery resent",
    "event delivered again",
    "line different",
    "line matched",
    "line only_there",
    "line repeated",
    "line unreadable",
    "list of events read",
    "list of events with news",
    "opened amount_unknown",
    "opened amount_unreadable",
    "opened conflict",
    "opened refund_exceeds_gross",
    "opened refund_shrank",
    "opened refund_unclear",
    "opened underpaid",
    "opened unknown_status",
    "order polled when due",
    "our clock goes ahead",
    "our clock goes back",
    "payout recorded",
    "payout repeated",
    "poll answered",
    "poll failed",
    "provider did not know it",
    "provider mistaken",
    "receipt applied",
    "receipt conflict",
    "receipt done after a retry",
    "receipt duplicate",
    "receipt given up",
    "receipt processed again",
    "receipt stale",
    "receipt unreadable",
    "registered Again",
    "registered First",
    "session opened",
    "session renewed",
    "shop asked for a pause",
    "shop confirmed",
    "shop failed",
    "shop gone",
    "shop lied with 200",
    "shop redirected",
    "shop timed out",
    "shop unreachable",
    "step (none) > created",
    "step chargeback > completed",
    "step chargeback > paid",
    "step chargeback > refunded",
    "step completed > chargeback",
    "step completed > refunded",
    "step created > expired",
    "step created > in_analysis",
    "step created > paid",
    "step expired > in_analysis",
    "step expired > paid",
    "step in_analysis > expired",
    "step in_analysis > paid",
    "step paid > chargeback",
    "step paid > completed",
    "step paid > refunded",
    "sync failed",
    "table (none) + chargeback",
    "table (none) + closed",
    "table (none) + completed",
    "table (none) + created",
    "table (none) + expired",
    "table (none) + in_analysis",
    "table (none) + paid",
    "table (none) + refunded",
    "table chargeback + chargeback",
    "table chargeback + paid",
    "table chargeback + refunded",
    "table completed + chargeback",
    "table completed + completed",
    "table completed + paid",
    "table created + chargeback",
    "table created + closed",
    "table created + completed",
    "table created + created",
    "table created + expired",
    "table created + in_analysis",
    "table created + paid",
    "table created + refunded",
    "table expired + closed",
    "table expired + completed",
    "table expired + expired",
    "table expired + in_analysis",
    "table expired + paid",
    "table in_analysis + chargeback",
    "table in_analysis + closed",
    "table in_analysis + completed",
    "table in_analysis + expired",
    "table in_analysis + in_analysis",
    "table in_analysis + paid",
    "table in_analysis + refunded",
    "table paid + chargeback",
    "table paid + closed",
    "table paid + completed",
    "table paid + expired",
    "table paid + paid",
    "table paid + refunded",
    "table refunded + chargeback",
    "table refunded + closed",
    "table refunded + completed",
    "table refunded + paid",
    "table refunded + refunded",
    "unsynced batch is lost",
    "unsynced batch survives",
    "webhook disabled by failures",
    "webhook disabled by hand",
    "webhook enabled",
    "webhook replayed",
    "webhook rotated",
    "webhook tested",
    "writer stopped and was restarted",
];
