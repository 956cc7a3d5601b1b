//! Who looks over the writer's shoulder: taps, which hear every batch once it is durable, and frozen views, which keep
//! what a batch is about to change. Without any of them a group costs one lock that nobody else wants.

use super::reader::Reader;
use crate::store::engine::{Batch, Direction, Engine, EngineError, Pair};
use crate::store::frozen::Frozen;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// What may wait in a tap: who listens more slowly than the writer writes is cut off, and memory stays bounded.
const WAITING_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How long a tap waits for the sync that is under way before it looks again.
const SYNC_PAUSE: Duration = Duration::from_millis(5);

#[derive(Default)]
pub struct Witnesses(Mutex<Present>);

#[derive(Default)]
struct Present {
    taps: Vec<Weak<Queue>>,
    views: Vec<Weak<Frozen>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    bytes: usize,
    cut_off: Option<TapError>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TapError {
    #[error("the ledger was written faster than the copy; copy to a faster disk, or at a quieter time")]
    TooSlow,
    #[error("the ledger takes no writes: {0}")]
    Stopped(String),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Witnesses {
    /// Makes a batch visible, once every frozen view has what it changes.
    pub fn apply(&self, engine: &dyn Engine, batch: &Batch) -> Result<(), EngineError> {
        let present = self.present();
        present.views.iter().filter_map(Weak::upgrade).for_each(|view| view.note(batch));
        engine.apply(batch)
    }

    /// A batch is durable.
    pub fn pass(&self, batch: &Batch) {
        let mut present = self.present();
        present.views.retain(|view| view.strong_count() > 0);
        present.taps.retain(|tap| tap.strong_count() > 0);
        present.taps.iter().filter_map(Weak::upgrade).for_each(|tap| tap.push(batch));
    }

    /// The store as it is between two batches.
    pub fn freeze(&self, engine: Arc<dyn Engine>) -> Arc<Frozen> {
        let mut present = self.present();
        let view = Arc::new(Frozen::new(engine));
        present.views.push(Arc::downgrade(&view));
        view
    }

    /// Ends every frozen view.
    pub fn thaw(&self, why: &str) {
        self.present().views.iter().filter_map(Weak::upgrade).for_each(|view| view.give_up(why));
    }

    /// Hears every batch that is applied from now on.
    pub fn tap(&self, reader: Reader) -> Tap {
        let queue = Arc::<Queue>::default();
        self.present().taps.push(Arc::downgrade(&queue));
        Tap { reader, queue }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&self, batch: &Batch) {
        let mut waiting = self.waiting();
        if waiting.cut_off.is_some() {
            return;
        }
        waiting.bytes +=
            batch.changes().map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len)).sum::<usize>();
        if waiting.bytes > WAITING_BYTES_MAX {
            waiting.batches.clear();
            waiting.cut_off = Some(TapError::TooSlow);
        } else {
            waiting.batches.push_back(batch.clone());
        }
        self.filled.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener to a ledger's changes, which also reads what was there before.
pub struct Tap {
    reader: Reader,
    queue: Arc<Queue>,
}

impl Tap {
    /// So many pairs from a key on, as the store has them at this moment.
    pub fn page(&self, from: Bound<Vec<u8>>, records: usize) -> Result<Vec<Pair>, TapError> {
        let scan = self.reader.engine().scan(from, Bound::Unbounded, Direction::Up);
        Ok(scan.take(records).collect::<Result<_, _>>()?)
    }

    /// The batches that became durable since the last call, oldest first.
    pub fn drain(&self) -> Result<Vec<Batch>, TapError> {
        let mut waiting = self.queue.waiting();
        if let Some(error) = &waiting.cut_off {
            return Err(error.clone());
        }
        waiting.bytes = 0;
        Ok(waiting.batches.drain(..).collect())
    }

    /// Waits until there is a batch to drain, or for so long.
    pub fn wait(&self, patience: Duration) {
        let waiting = self.queue.waiting();
        let nothing = |waiting: &mut Waiting| waiting.batches.is_empty() && waiting.cut_off.is_none();
        drop(self.queue.filled.wait_timeout_while(waiting, patience, nothing));
    }

    /// Waits until everything that could be read before the call can be drained.
    pub fn settle(&self) -> Result<(), TapError> {
        let visible = self.reader.visible();
        loop {
            let published = self.reader.published();
            if published.group >= visible {
                return Ok(());
            }
            if let Some(why) = published.stopped {
                return Err(TapError::Stopped(why));
            }
            // The sync's batch is passed to this tap right before it is published.
            drop(self.queue.filled.wait_timeout(self.queue.waiting(), SYNC_PAUSE));
        }
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}
