//! Replays the whole ledger, and names the first difference.

use super::args::VerifyOptions;
use super::kept::{self, Unkept};
use super::{End, say, usage};
use crate::config;
use crate::daemon;
use crate::ledger::verify::{Difference, Verified, verify_with};
use crate::store::seals;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn run(path: &Path, options: &VerifyOptions) -> End {
    let dir = match directory(path, options) {
        Ok(dir) => dir,
        Err(error) => return usage(error),
    };
    if !dir.join("db").is_dir() {
        return usage(format!("there is no ledger in {}; name its directory with --data", dir.display()));
    }
    let kept = match kept::read(&options.seal) {
        Ok(kept) => kept,
        Err(Unkept::Gone(what)) => return usage(what),
        Err(Unkept::Unfit(what)) => return failed(&what),
    };
    let (engine, _books) = match daemon::open(&dir) {
        Ok(opened) => opened,
        Err(error) if error.is_damage() => return failed(&error.to_string()),
        Err(error) => return usage(error),
    };
    let begun = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let mut show = |done: u64, all: u64| progress(terminal, done, all);
    match verify_with(&*engine, &kept, &mut show) {
        Ok(verified) => {
            report(&verified, begun);
            let known = seals::known(&*engine).map_err(anyhow::Error::from);
            let told = known.and_then(|known| kept::say_signers(&dir, &kept, &known));
            told.map_or_else(usage, |()| End::Success)
        }
        Err(difference @ (Difference::Found(_) | Difference::Store(_))) => failed(&difference.to_string()),
    }
}

fn directory(path: &Path, options: &VerifyOptions) -> anyhow::Result<PathBuf> {
    match &options.data {
        Some(dir) => Ok(dir.clone()),
        None => Ok(config::load(path)?.data.dir),
    }
}

fn failed(what: &str) -> End {
    eprintln!("razao: verify failed: {what}");
    End::Failed
}

/// A line that is written over on a terminal; on a pipe only the end of it.
fn progress(terminal: bool, done: u64, all: u64) {
    let end = done >= all;
    if terminal {
        eprint!("\rverifying entry {done} of {all}{}", if end { "\n" } else { "" });
        drop(std::io::stderr().flush());
    } else if end {
        eprintln!("verified {done} of {all} entries");
    }
}

fn report(verified: &Verified, begun: Instant) {
    let millis = begun.elapsed().as_millis().max(1);
    let per_second = u128::from(verified.entries) * 1000 / millis;
    say(format_args!(
        "ok: {} entries, {} orders, {} receipts, {} closed months; head {}; {per_second} entries/s",
        verified.entries, verified.orders, verified.receipts, verified.periods, verified.head
    ));
}
