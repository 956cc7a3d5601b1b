//! The shelf: sheets of events, read and encoded once for all who stand near each other.
//!
//! A published change wakes every reader, and all want the same entries. The first one has them read, a sheet of
//! consecutive entries at a time; the others wait for that sheet or find it. A sheet is filled up as the ledger grows.
//! What is kept is bounded, and nothing is lost when a sheet goes: entries never change, so it can be read again.

use super::events::{EventFilter, Subject};
use super::sheet::Sheet;
use crate::domain::ids::Seq;
use crate::ledger::reader::Reader;
use crate::store::entries::StoredEntry;
use crate::store::meta::StoreError;
use actix_web::web;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Entries on a full sheet.
const SHEET_ENTRIES: u64 = 64;
/// What is kept at most, about 20,000 events.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// So many sheets are read at the same time, so that readers that catch up leave threads for others.
const LOADS_AT_ONCE: usize = 4;
/// Further behind the head than this, a reader that wants few of the events looks for them by itself …
const NEAR_ENTRIES: u64 = 4096;
/// … through so many entries at a time.
const SCAN_MAX: usize = 2000;

/// Why nothing could be read, in one line for the log.
pub type Trouble = Arc<str>;
type Loaded = Result<Arc<Sheet>, Trouble>;
type Loading = Shared<BoxFuture<'static, Loaded>>;

pub struct Shelf {
    reader: Reader,
    loads: Arc<Semaphore>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_number: BTreeMap<u64, Slot>,
    bytes: usize,
    /// Counts uses: the slot whose last use is the longest ago goes first.
    uses: u64,
}

struct Slot {
    sheet: Arc<Sheet>,
    loading: Option<Loading>,
    used: u64,
}

impl Shelf {
    pub fn new(reader: Reader) -> Shelf {
        Shelf { reader, loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)), slots: Mutex::default() }
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// A sheet with what the filter wants from a seq on, which must not lie beyond the head. Its end lies beyond the seq.
    pub async fn read(&self, from: Seq, filter: &EventFilter) -> Loaded {
        let behind = self.reader.head().0.saturating_sub(from.0);
        if behind > NEAR_ENTRIES && !filter.wants_all() {
            return self.look_for(from, filter.clone()).await;
        }
        loop {
            let sheet = self.shared(from).await?;
            if sheet.end() > from {
                return Ok(sheet);
            }
        }
    }

    /// The common sheet of a seq, as far as it is, or as the one who reads it finds it.
    async fn shared(&self, seq: Seq) -> Loaded {
        let number = seq.0 / SHEET_ENTRIES;
        let loading = match self.slots().find(number, seq, |sheet| self.load(sheet)) {
            Found::Sheet(sheet) => return Ok(sheet),
            Found::Loading(loading) => loading,
        };
        let loaded = loading.clone().await;
        self.slots().settle(number, &loading, &loaded);
        loaded
    }

    /// Reads on where a sheet ends, up to where the next one begins.
    fn load(&self, sheet: Arc<Sheet>) -> Loading {
        let (reader, loads) = (self.reader.clone(), Arc::clone(&self.loads));
        let left = SHEET_ENTRIES - sheet.end().0 % SHEET_ENTRIES;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let read = move || {
            let (entries, end) = reader.entries(sheet.end(), left, left, |_| true)?;
            Ok(sheet.with(&entries, end))
        };
        off_thread(loads, read).boxed().shared()
    }

    /// A sheet of one reader's own.
    async fn look_for(&self, from: Seq, filter: EventFilter) -> Loaded {
        let (reader, loads) = (self.reader.clone(), Arc::clone(&self.loads));
        let limit = usize::try_from(SHEET_ENTRIES).unwrap_or(usize::MAX);
        let read = move || {
            let wants = |stored: &StoredEntry| filter.wants(Subject::of(&stored.entry));
            let (entries, end) = reader.entries(from, limit, SCAN_MAX, wants)?;
            Ok(Sheet::starting(from).with(&entries, end))
        };
        off_thread(loads, read).await
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found {
    Sheet(Arc<Sheet>),
    Loading(Loading),
}

impl Slots {
    /// The sheet, if it knows the seq already; else who is reading it, which begins here if nobody is.
    fn find(&mut self, number: u64, seq: Seq, load: impl FnOnce(Arc<Sheet>) -> Loading) -> Found {
        self.uses += 1;
        let start = Seq(number.saturating_mul(SHEET_ENTRIES).max(1));
        let slot = self.by_number.entry(number).or_insert_with(|| Slot {
            sheet: Arc::new(Sheet::starting(start)),
            loading: None,
            used: 0,
        });
        slot.used = self.uses;
        if slot.sheet.end() > seq {
            return Found::Sheet(Arc::clone(&slot.sheet));
        }
        let sheet = Arc::clone(&slot.sheet);
        Found::Loading(slot.loading.get_or_insert_with(|| load(sheet)).clone())
    }

    /// Keeps what was loaded; only the first of those who waited for it finds something to do.
    fn settle(&mut self, number: u64, loading: &Loading, loaded: &Loaded) {
        let slot = self.by_number.get_mut(&number);
        let Some(slot) = slot.filter(|slot| slot.loading.as_ref().is_some_and(|it| it.ptr_eq(loading)))
        else {
            return;
        };
        slot.loading = None;
        if let Ok(sheet) = loaded {
            self.bytes = self.bytes + sheet.weight() - slot.sheet.weight();
            slot.sheet = Arc::clone(sheet);
        }
        self.make_room(number);
    }

    fn make_room(&mut self, except: u64) {
        while self.bytes > KEPT_BYTES_MAX {
            let others = self.by_number.iter().filter(|(number, _)| **number != except);
            let Some(oldest) = others.min_by_key(|(_, slot)| slot.used).map(|(number, _)| *number) else {
                return;
            };
            if let Some(gone) = self.by_number.remove(&oldest) {
                self.bytes -= gone.sheet.weight();
            }
        }
    }
}

/// Reads where waiting for the disk holds nobody up, when it is its turn.
async fn off_thread(
    loads: Arc<Semaphore>,
    read: impl FnOnce() -> Result<Sheet, StoreError> + Send + 'static,
) -> Loaded {
    let turn = loads.acquire_owned().await.map_err(trouble)?;
    let read = web::block(move || {
        let _turn = turn;
        read()
    });
    match read.await {
        Ok(Ok(sheet)) => Ok(Arc::new(sheet)),
        Ok(Err(error)) => Err(trouble(error)),
        Err(error) => Err(trouble(error)),
    }
}

fn trouble(error: impl ToString) -> Trouble {
    error.to_string().into()
}
