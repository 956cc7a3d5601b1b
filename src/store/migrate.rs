//! From one layout of the data directory to the next, a function a step, always forward.
//!
//! A step may be cut off anywhere. What it writes follows from what is there, and the new version is noted in its
//! last batch: the next start begins the step again and comes to the same.

use super::agenda::Agenda;
use super::engine::{Batch, Direction, Engine, prefix};
use super::meta::{self, Meta, StoreError};
use super::running::{self, Running};
use super::{entries, keys};
use crate::domain::balance::Balances;
use crate::domain::ids::{ReceiptId, Seq};
use std::ops::Bound;

/// Told now and then how far it is: entries done, and all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

type Step = fn(&dyn Engine, &Meta, Progress<'_>) -> Result<(), StoreError>;

/// The version a step starts from, and the step; it ends at the next version.
const STEPS: &[(u32, Step)] = &[(1, running_balances), (2, sealed), (3, paged), (4, packed), (5, reshaped)];

/// About so many bytes that are sealed go into one batch.
const BATCH_BYTES: usize = 512 * 1024;
/// So many receipts are moved to pages of the agenda in one batch.
const BATCH_RECEIPTS: usize = 4_096;
/// So many running balances are moved to pages in one batch.
const BATCH_RUNNING: usize = 4_000;
/// So many entries go into one batch …
const BATCH_ENTRIES: u64 = 1_000;
/// … and after so many it says how far it is.
const TOLD_EVERY: u64 = 100_000;

/// Takes every step from the data's version on.
pub fn forward(engine: &dyn Engine, mut meta: Meta, progress: Progress<'_>) -> Result<Meta, StoreError> {
    while let Some((_, step)) = STEPS.iter().find(|(from, _)| *from == meta.data_version) {
        step(engine, &meta, progress)?;
        meta.data_version += 1;
        let mut batch = Batch::default();
        meta::put(&mut batch, &meta)?;
        write(engine, &batch)?;
    }
    Ok(meta)
}

/// 1 to 2: every entry leaves the running balances of the ledger accounts that it moves.
fn running_balances(engine: &dyn Engine, meta: &Meta, progress: Progress<'_>) -> Result<(), StoreError> {
    let mut balances = Balances::default();
    let (mut running, mut batch) = (Running::default(), Batch::default());
    for item in entries::range(engine, Seq(1), meta.seq) {
        let (seq, stored) = item?;
        balances.post(&stored.entry);
        for (ledger_account, sides) in balances.moved_by(&stored.entry) {
            running.set(engine, ledger_account, stored.entry.currency, seq, sides)?;
        }
        if seq.0.is_multiple_of(BATCH_ENTRIES) {
            running.write(&mut batch)?;
            write(engine, &std::mem::take(&mut batch))?;
        }
        if seq.0.is_multiple_of(TOLD_EVERY) {
            progress(seq.0, meta.seq.0);
        }
    }
    running.write(&mut batch)?;
    write(engine, &batch)?;
    progress(meta.seq.0, meta.seq.0);
    Ok(())
}

/// 2 to 3: what can be erased is sealed. The engine seals whatever is written to it, so writing it again is all; what
/// was sealed before a kill is sealed anew.
fn sealed(engine: &dyn Engine, meta: &Meta, progress: Progress<'_>) -> Result<(), StoreError> {
    for kind in keys::erasable() {
        let mut after = None;
        loop {
            let (low, high) = prefix(&kind);
            let low = after.take().map_or(low, Bound::Excluded);
            let mut batch = Batch::default();
            let mut bytes = 0;
            for pair in engine.scan(low, high, Direction::Up) {
                let (key, value) = pair?;
                bytes += value.len();
                after = Some(key.clone());
                batch.put(key, value);
                if bytes >= BATCH_BYTES {
                    break;
                }
            }
            if batch.is_empty() {
                break;
            }
            write(engine, &batch)?;
        }
    }
    progress(meta.seq.0, meta.seq.0);
    Ok(())
}

/// 3 to 4: the agenda has pages instead of a key for each receipt.
fn paged(engine: &dyn Engine, meta: &Meta, progress: Progress<'_>) -> Result<(), StoreError> {
    loop {
        let (low, high) = prefix(&[keys::AGENDA_BEFORE]);
        let (mut agenda, mut batch) = (Agenda::default(), Batch::default());
        for pair in engine.scan(low, high, Direction::Up).take(BATCH_RECEIPTS) {
            let (key, _) = pair?;
            agenda.set(engine, ReceiptId(keys::number(&key).unwrap_or_default()), true)?;
            batch.delete(key);
        }
        if batch.is_empty() {
            break;
        }
        agenda.write(&mut batch)?;
        write(engine, &batch)?;
    }
    progress(meta.seq.0, meta.seq.0);
    Ok(())
}

/// 4 to 5: running balances stand on pages instead of under a key each. With this version groups are durable in a journal
/// before the database has them, which earlier versions do not look into; it is there already.
fn packed(engine: &dyn Engine, meta: &Meta, progress: Progress<'_>) -> Result<(), StoreError> {
    let mut done = 0;
    loop {
        let (moved, batch) = running::move_to_pages(engine, BATCH_RUNNING)?;
        if moved == 0 {
            break;
        }
        write(engine, &batch)?;
        done += moved as u64;
        if done.is_multiple_of(TOLD_EVERY) {
            // Most entries move two ledger accounts.
            progress(done / 2, meta.seq.0.max(done / 2));
        }
    }
    progress(meta.seq.0, meta.seq.0);
    Ok(())
}

/// 5 to 6: numbered pairs lie together on pages of the database, large values in pieces.
fn reshaped(engine: &dyn Engine, meta: &Meta, progress: Progress<'_>) -> Result<(), StoreError> {
    // Most receipts have a body.
    let all = meta.seq.0 + 2 * meta.receipts.0;
    let mut told = 0;
    engine.reshape(&mut |moved| {
        if moved / TOLD_EVERY > told {
            told = moved / TOLD_EVERY;
            progress(moved.min(all), all);
        }
    })?;
    progress(all, all);
    Ok(())
}

/// Durable before the next batch, so that a later one never stands without an earlier one.
fn write(engine: &dyn Engine, batch: &Batch) -> Result<(), StoreError> {
    engine.apply(batch)?;
    engine.sync()?;
    Ok(())
}
