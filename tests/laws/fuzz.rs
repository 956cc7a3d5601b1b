//! Whatever bytes come, from a stranger, a provider gone wrong or a damaged disk: what reads them answers, and never
//! panics or hangs. Each reader is a target; real input is distorted for it again and again.
//!
//! In the suite each gets a short run of its own. `RAZAO_FUZZ_SECONDS=3600 cargo test --release --test laws
//! fuzz::long -- --ignored --nocapture` goes on for so long; `RAZAO_SEED` repeats one, `RAZAO_FUZZ_TARGET` names one target.

mod backups;
mod mutate;
mod targets;

use mutate::Mutator;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use targets::{SHORT, Target, targets};

/// An input of a few kilobytes that takes longer hangs. Wide, for a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was fed to a target so far, and what it made of it.
struct Run {
    target: Target,
    mutator: Mutator,
    inputs: u64,
    slowest: Duration,
}

impl Run {
    fn of(target: Target, seed: u64) -> Run {
        let mutator = Mutator::new(seed, target.seeds.clone());
        Run { target, mutator, inputs: 0, slowest: Duration::ZERO }
    }

    /// Feeds inputs until one is too much.
    fn turn(&mut self) -> Result<(), String> {
        for _ in 0..self.target.inputs {
            let input = self.mutator.input();
            let begun = Instant::now();
            let feed = &self.target.feed;
            let survived = catch_unwind(AssertUnwindSafe(|| feed(&input)));
            let took = begun.elapsed();
            self.inputs += 1;
            self.slowest = self.slowest.max(took);
            if survived.is_err() || took > PATIENCE {
                let what = if survived.is_err() { "panics" } else { "hangs" };
                return Err(format!("{} {what} after {took:?} on {}", self.target.name, shown(&input)));
            }
        }
        Ok(())
    }
}

/// Bytes as a literal to paste into a test.
fn shown(input: &[u8]) -> String {
    format!("b\"{}\"", input.escape_ascii())
}

fn seed() -> u64 {
    std::env::var("RAZAO_SEED").map_or(20_261, |text| text.parse().expect("RAZAO_SEED is a number"))
}

fn runs() -> Vec<Run> {
    let wanted = std::env::var("RAZAO_FUZZ_TARGET").ok();
    let seed = seed();
    let targets = targets().into_iter().filter(|it| wanted.as_ref().is_none_or(|name| *name == it.name));
    targets.map(|target| Run::of(target, seed)).collect()
}

#[test]
fn nothing_that_reads_panics_on_distorted_input() {
    for mut run in runs() {
        run.turn().unwrap_or_else(|found| panic!("RAZAO_SEED={}: {found}", seed()));
    }
}

#[test]
fn a_reader_that_panics_is_found() {
    let feed = |bytes: &[u8]| assert!(!bytes.windows(4).any(|four| four == b"null"), "planted");
    let seeds = vec![b"{\"a\":1}".to_vec()];
    let target = Target { name: "planted".to_owned(), feed: Box::new(feed), seeds, inputs: 10_000 };
    let found = Run::of(target, 1).turn().unwrap_err();
    assert!(found.starts_with("planted panics") && found.contains("null"), "{found}");
}

#[test]
#[ignore = "goes on for RAZAO_FUZZ_SECONDS"]
fn long() {
    let seconds = std::env::var("RAZAO_FUZZ_SECONDS").map_or(60, |text| text.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runs = runs();
    let mut found = Vec::new();
    while Instant::now() < end && !runs.is_empty() {
        // A target that failed is out; the others go on.
        runs.retain_mut(|run| run.turn().map_err(|what| found.push(what)).is_ok());
    }
    let mut said = format!("seed {}, {seconds} s\n", seed());
    for run in &runs {
        writeln!(said, "{:24} {:>12} inputs, slowest {:?}", run.target.name, run.inputs, run.slowest)
            .unwrap();
    }
    println!("{said}{} found", found.len());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_that_reads_panics_on_any_input(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let quick = |target: &&Target| target.inputs >= SHORT;
        TARGETS.with(|targets| targets.iter().filter(quick).for_each(|target| (target.feed)(&bytes)));
    }
}

thread_local! {
    static TARGETS: Vec<Target> = targets();
}
