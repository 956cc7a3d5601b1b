//! Replays the whole ledger, and names the first difference: in the directory itself, through the daemon that has it, or of a
//! backup.

use super::args::VerifyOptions;
use super::kept::{self, Unkept};
use super::progress::Progress;
use super::remote::Remote;
use super::{End, note, say, usage};
use crate::backup::restore;
use crate::config;
use crate::daemon;
use crate::domain::seal::PublicKey;
use crate::http::control::{KeptSeal, Line, Request};
use crate::ledger::seal::Kept;
use crate::ledger::verify::{Difference, Verified, verify_with};
use crate::store::directory::OpenError;
use crate::store::seals;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn run(path: &Path, options: &VerifyOptions) -> End {
    if let Some(backup) = &options.backup {
        return of_backup(backup);
    }
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
        Err(OpenError::Locked(_)) => return of_daemon(&dir, &kept),
        Err(error) if error.is_damage() => return failed(&error.to_string()),
        Err(error) => return usage(error),
    };
    let begun = Instant::now();
    let progress = Progress::new("verif", "entries");
    match verify_with(&*engine, &kept, &mut |done, all| progress.show(done, all)) {
        Ok(verified) => {
            report(&verified, begun);
            seals::known(&*engine).map_or_else(usage, |known| say_signers(&dir, &kept, &known))
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

fn say_signers(dir: &Path, kept: &[Kept], known: &[PublicKey]) -> End {
    kept::say_signers(dir, kept, known).map_or_else(usage, |()| End::Success)
}

/// The daemon verifies the ledger as it is at one moment, and goes on meanwhile.
fn of_daemon(dir: &Path, kept: &[Kept]) -> End {
    let begun = Instant::now();
    let progress = Progress::new("verif", "entries");
    let verified = || -> anyhow::Result<Line> {
        let mut remote =
            Remote::ask(dir, &Request::Verify { seals: kept.iter().map(KeptSeal::of).collect() })?;
        loop {
            match remote.hear()? {
                Line::Progress { done, all } => progress.show(done, all),
                line => return Ok(line),
            }
        }
    };
    match verified() {
        Ok(Line::Verified { entries, orders, receipts, periods, head, known }) => {
            say_ok([entries, orders, receipts, periods], head, begun);
            let known: Vec<_> = known.into_iter().map(PublicKey).collect();
            say_signers(dir, kept, &known)
        }
        Ok(Line::Difference(what)) => failed(&what),
        Ok(_) => usage("the daemon is of another version; restart it"),
        Err(error) => usage(error),
    }
}

/// Also after a backup that is to be verified.
pub fn of_backup(dir: &Path) -> End {
    let begun = Instant::now();
    let progress = Progress::new("", "");
    match restore::verify(dir, &mut |what, done, all| progress.show_stage(what, done, all)) {
        Ok(verified) => {
            report(&verified, begun);
            End::Success
        }
        Err(error) if error.is_damage() => failed(&error.to_string()),
        Err(error) => usage(error),
    }
}

fn failed(what: &str) -> End {
    note(format_args!("razao: verify failed: {what}"));
    End::Failed
}

pub fn report(verified: &Verified, begun: Instant) {
    let Verified { entries, orders, receipts, periods, head } = verified;
    say_ok([*entries, *orders, *receipts, *periods], head, begun);
}

fn say_ok(counts: [u64; 4], head: impl Display, begun: Instant) {
    let [entries, orders, receipts, periods] = counts;
    let millis = begun.elapsed().as_millis().max(1);
    let per_second = u128::from(entries) * 1000 / millis;
    say(format_args!(
        "ok: {entries} entries, {orders} orders, {receipts} receipts, {periods} closed months; head {head}; \
         {per_second} entries/s"
    ));
}
