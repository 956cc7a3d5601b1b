//! Replays the whole ledger, and names the first difference.

use super::args::VerifyOptions;
use super::{End, say, usage};
use crate::config;
use crate::daemon;
use crate::ledger::seal::{self, Kept, Sealer, Signer};
use crate::ledger::verify::{Difference, Verified, verify_with};
use crate::store::engine::Engine;
use crate::store::{seal_key, seals};
use secrecy::ExposeSecret;
use std::fs;
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
    let kept = match options.seal.iter().map(|path| kept(path)).collect::<Result<Vec<_>, End>>() {
        Ok(kept) => kept,
        Err(end) => return end,
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
            match signers(&dir, &*engine, &kept) {
                Ok(()) => End::Success,
                Err(error) => usage(error),
            }
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

/// A kept seal whose signature fits what it says.
fn kept(path: &Path) -> Result<Kept, End> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| usage(format!("the seal {name} cannot be read: {error}")))?;
    let seal = seal::read(&bytes).map_err(|error| failed(&format!("seal {name}: {error}")))?;
    Ok(Kept { name, seal })
}

/// Says of each seal, which the ledger bears out, whose key signed it.
fn signers(dir: &Path, engine: &dyn Engine, kept: &[Kept]) -> anyhow::Result<()> {
    let known = seals::known(engine)?;
    let seed = seal_key::load(dir)?;
    let present = seed.map(|seed| Sealer::new(seed.expose_secret(), [0; 16], &[])).transpose()?;
    let present = present.map(|sealer| sealer.public_key());
    for Kept { name, seal } in kept {
        let by = match seal::signer(seal, present, &known) {
            Signer::Present => "the key that this directory signs with now",
            Signer::Earlier => "a key that this ledger signed with earlier",
            Signer::Unknown => "a key that this directory does not know",
        };
        say(format_args!(
            "ok: seal {name} of ledger {} holds at seq {}; signed at {} by {by}",
            seal.ledger, seal.seq, seal.time
        ));
    }
    Ok(())
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
