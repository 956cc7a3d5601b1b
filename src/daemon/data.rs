//! Opens the data directory: makes it where it is new, checks that it is whole, and brings an older version up to this one.

use crate::clock::{random_bytes, secret};
use crate::domain::chain::Hash;
use crate::faults::Fault;
use crate::ledger::books::Books;
use crate::store::directory::{self, OpenError};
use crate::store::engine::{Batch, Engine};
use crate::store::entries;
use crate::store::meta::{self, DATA_VERSION, Meta};
use crate::store::migrate;
use crate::store::sled::{CACHE_BYTES_USUAL, Durability, Manner};
use crate::store::slots;
use std::path::Path;
use std::sync::Arc;

/// Opens the data directory of a ledger, making it if it is new, and checks that it is whole.
pub fn open(dir: &Path) -> Result<(Arc<dyn Engine>, Books), OpenError> {
    open_with(dir, CACHE_BYTES_USUAL)
}

/// [`open`], with so much of the database kept in memory.
pub fn open_with(dir: &Path, cache_bytes: u64) -> Result<(Arc<dyn Engine>, Books), OpenError> {
    let durability = if Fault::NoSync.is_on() { Durability::NoSync } else { Durability::Full };
    let engine: Arc<dyn Engine> = Arc::new(slots::open(dir, Manner { durability, cache_bytes }, secret)?);
    let meta = meta::get(&*engine)?;
    check(dir, &*engine, meta.as_ref())?;
    match meta {
        None => bear(dir, &*engine)?,
        Some(meta) if meta.data_version < DATA_VERSION => migrate(dir, &*engine, meta)?,
        Some(_) => {}
    }
    // Before anything new is acknowledged an earlier version must find that the data is not its own any more.
    engine.checkpoint().map_err(meta::StoreError::from)?;
    let gone = || OpenError::Damaged { path: dir.to_owned(), what: "its head is missing".to_owned() };
    let books = Books::load(&*engine)?.ok_or_else(gone)?;
    Ok((engine, books))
}

fn check(dir: &Path, engine: &dyn Engine, meta: Option<&Meta>) -> Result<(), OpenError> {
    if let Some(meta) = meta.filter(|meta| meta.data_version > DATA_VERSION) {
        let what = format!("its data has version {}, this program knows {DATA_VERSION}", meta.data_version);
        return Err(OpenError::Newer { path: dir.to_owned(), what });
    }
    let noted = directory::noted_seq(dir)?;
    let entry = noted.map(|seq| entries::get(engine, seq)).transpose()?.flatten();
    let hash: Option<Hash> = entry.map(|stored| stored.entry.hash);
    directory::check_head(dir, meta, hash)
}

/// Brings the data of an older version up to this one.
fn migrate(dir: &Path, engine: &dyn Engine, meta: Meta) -> Result<(), OpenError> {
    let from = meta.data_version;
    tracing::info!(dir = %dir.display(), from, to = DATA_VERSION, "migrating the data directory");
    migrate::forward(engine, meta, &mut |done, all| {
        tracing::info!(done, all, "migrating the data directory: entries");
    })?;
    tracing::info!(dir = %dir.display(), version = DATA_VERSION, "the data directory is migrated");
    Ok(())
}

/// The first batch of a database: which one it is, and that its ledger is empty.
fn bear(dir: &Path, engine: &dyn Engine) -> Result<(), OpenError> {
    let unusable = |what: String| OpenError::Unusable { path: dir.to_owned(), what };
    let database = random_bytes().map_err(|error| unusable(error.to_string()))?;
    let mut batch = Batch::default();
    meta::put(&mut batch, &Meta::newborn(database))?;
    engine.apply(&batch).and_then(|()| engine.sync()).map_err(meta::StoreError::from)?;
    Ok(())
}
