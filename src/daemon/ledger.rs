//! The ledger with its writer under way: in the daemon, or held by a command where no daemon runs.

use super::data::open_with;
use crate::clock::{Clock, SystemClock, random_bytes};
use crate::config::Config;
use crate::domain::time::Time;
use crate::faults::Fault;
use crate::ledger::books::{Books, Group};
use crate::ledger::command::Command;
use crate::ledger::reader::Reader;
use crate::ledger::seal::Sealer;
use crate::ledger::writer::{self, Handle, Published, Rim, Started};
use crate::store::directory::{self, OpenError};
use crate::store::engine::Engine;
use crate::store::seal_key;
use crate::store::seals;
use crate::views::seal::key_text;
use secrecy::ExposeSecret;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::watch;

/// The daemon's ledger: the way to its writer, and what reads and signs it.
pub(super) struct Ledger {
    pub clock: Arc<dyn Clock>,
    pub handle: Handle,
    pub reader: Reader,
    pub sealer: Arc<Sealer>,
    pub writer: JoinHandle<()>,
}

impl Ledger {
    pub fn start(config: &Config, engine: Arc<dyn Engine>, mut books: Books) -> anyhow::Result<Ledger> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sealer = Arc::new(sealer(&config.data.dir, &*engine, &mut books, clock.now())?);
        let started = writer::start(rim(config, engine, Arc::clone(&clock)), books)?;
        let Started { handle, reader, thread: writer } = started;
        Ok(Ledger { clock, handle, reader, sealer, writer })
    }
}

/// A ledger that no daemon serves, held by a command that writes to it.
pub struct Alone {
    pub handle: Handle,
    pub reader: Reader,
    published: watch::Receiver<Published>,
    writer: JoinHandle<()>,
    dir: PathBuf,
}

/// Opens the configured data directory for a command alone.
pub fn open_alone(config: &Config) -> Result<Alone, OpenError> {
    let dir = config.data.dir.clone();
    let (engine, books) = open_with(&dir, config.data.cache_bytes)?;
    let unusable = |error: std::io::Error| OpenError::Unusable { path: dir.clone(), what: error.to_string() };
    directory::note_head(&dir, &books.meta.database, books.meta.seq, books.meta.hash).map_err(unusable)?;
    let started = writer::start(rim(config, engine, Arc::new(SystemClock)), books).map_err(unusable)?;
    let published = started.reader.subscribe();
    let Started { handle, reader, thread: writer } = started;
    Ok(Alone { handle, reader, published, writer, dir })
}

/// Opens the configured data directory for a command that only reads.
pub fn read_alone(config: &Config) -> Result<Reader, OpenError> {
    let (engine, books) = open_with(&config.data.dir, config.data.cache_bytes)?;
    Ok(writer::prepare(rim(config, engine, Arc::new(SystemClock)), books).reader)
}

impl Alone {
    /// Waits until all is on disk, and notes the head.
    pub fn close(self) -> anyhow::Result<()> {
        drop(self.handle);
        self.writer.join().map_err(|_| anyhow::anyhow!("the writer ended in a panic"))?;
        let last = self.published.borrow().clone();
        Ok(directory::note_head(&self.dir, &last.database, last.seq, last.hash)?)
    }
}

/// What signs this ledger's seals: with the directory's own key, which is made where there is none and noted in the
/// ledger where it is another one than before.
fn sealer(dir: &Path, engine: &dyn Engine, books: &mut Books, now: Time) -> anyhow::Result<Sealer> {
    let fresh = || random_bytes().map_err(|error| std::io::Error::other(error.to_string()));
    let seed = seal_key::load_or_make(dir, fresh)?;
    let sealer = Sealer::new(seed.expose_secret(), books.meta.database, &seals::known(engine)?)?;
    let mut group = Group::new(engine, books, now);
    group.execute(Command::AdoptSealKey(sealer.public_key()))?;
    let batch = group.finish()?;
    if !batch.is_empty() {
        engine.apply(&batch)?;
        engine.sync()?;
        tracing::info!(public_key = key_text(&sealer.public_key()), "seals are signed with a new key");
    }
    Ok(sealer)
}

/// What the writer needs from around it.
fn rim(config: &Config, engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Rim {
    let dir = config.data.dir.clone();
    Rim {
        engine,
        clock,
        free_bytes: Box::new(move || directory::free_bytes(&dir).ok()),
        min_free_bytes: config.data.min_free_bytes,
        acknowledge_before_sync: Fault::EarlyAck.is_on(),
    }
}
