//! What is durable in the journal and not yet in the database: changes in memory, over the engine that will take them.
//!
//! Two layers: the upper one takes new changes, the lower one is being written into the database. It goes away once the
//! database has all of it, so a reader who found a key in neither layer finds it there, as it is or newer.

use super::engine::{Batch, Direction, Engine, EngineError, Pair, Scan};
use std::collections::VecDeque;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A scan looks at so many changes first, and at more each time.
const CHUNK_FIRST: usize = 16;
const CHUNK_MAX: usize = 1024;

#[derive(Default)]
pub struct Layers(RwLock<Two>);

#[derive(Default)]
struct Two {
    upper: Batch,
    lower: Option<Arc<Batch>>,
}

type Change = (Vec<u8>, Option<Vec<u8>>);

impl Layers {
    pub fn put(&self, batch: &Batch) {
        self.write().upper.absorb(batch);
    }

    /// What becomes of a key above the database.
    pub fn change(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let two = self.read();
        let lower = || two.lower.as_ref().and_then(|lower| lower.change(key));
        two.upper.change(key).or_else(lower).map(|value| value.map(<[u8]>::to_vec))
    }

    /// Makes the upper layer the lower one, which must be gone.
    pub fn lower(&self) -> Arc<Batch> {
        let mut two = self.write();
        let lower = Arc::new(std::mem::take(&mut two.upper));
        two.lower = Some(Arc::clone(&lower));
        lower
    }

    /// The database has the lower layer.
    pub fn drop_lower(&self) {
        let gone = self.write().lower.take();
        // Many small pieces: not while readers wait.
        drop(gone);
    }

    pub fn scan<'a>(
        &'a self,
        below: &'a dyn Engine,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        direction: Direction,
    ) -> Scan<'a> {
        Box::new(Merged {
            layers: self,
            engine: below,
            from,
            to,
            direction,
            chunk: VecDeque::new(),
            chunk_max: CHUNK_FIRST,
            below: None,
        })
    }

    /// The first changes within what a scan has not answered; fewer than it wants where there are no more.
    fn chunk(&self, scan: &Merged<'_>) -> VecDeque<Change> {
        let two = self.read();
        let (from, to) = (as_slice(&scan.from), as_slice(&scan.to));
        let nothing = Batch::default();
        let lower = two.lower.as_deref().unwrap_or(&nothing);
        match scan.direction {
            Direction::Up => merge(two.upper.range(from, to), lower.range(from, to), scan),
            Direction::Down => merge(two.upper.range(from, to).rev(), lower.range(from, to).rev(), scan),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Two> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Two> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// The first changes of two layers; where both have one of a key, the upper one's.
fn merge<'a>(
    upper: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    lower: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    scan: &Merged<'_>,
) -> VecDeque<Change> {
    let (mut upper, mut lower) = (upper.peekable(), lower.peekable());
    let mut chunk = VecDeque::new();
    while chunk.len() < scan.chunk_max {
        let next = match (upper.peek(), lower.peek()) {
            (Some((above, _)), Some((below, _))) if above == below => {
                lower.next();
                upper.next()
            }
            (Some((above, _)), Some((below, _))) if scan.is_before(below, above) => lower.next(),
            (Some(_), _) => upper.next(),
            (None, _) => lower.next(),
        };
        let Some((key, value)) = next else { break };
        chunk.push_back((key.to_vec(), value.map(<[u8]>::to_vec)));
    }
    chunk
}

/// The pairs of the database with the changes on top. The database is read after the changes were: what left the layers
/// meanwhile is found in it. So with each new chunk its scan begins anew.
struct Merged<'a> {
    layers: &'a Layers,
    engine: &'a dyn Engine,
    /// What is not yet answered.
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    direction: Direction,
    chunk: VecDeque<Change>,
    chunk_max: usize,
    /// None where a new chunk is needed before the database may be read on.
    below: Option<Below<'a>>,
}

struct Below<'a> {
    pairs: Peekable<Scan<'a>>,
    /// The chunk holds every change to the end of the scan.
    whole: bool,
}

impl Merged<'_> {
    fn is_before(&self, one: &[u8], other: &[u8]) -> bool {
        match self.direction {
            Direction::Up => one < other,
            Direction::Down => one > other,
        }
    }

    fn refill(&mut self) {
        self.chunk = self.layers.chunk(self);
        let whole = self.chunk.len() < self.chunk_max;
        self.chunk_max = (self.chunk_max * 4).min(CHUNK_MAX);
        let pairs = self.engine.scan(self.from.clone(), self.to.clone(), self.direction).peekable();
        self.below = Some(Below { pairs, whole });
    }

    /// Everything up to here is answered.
    fn pass(&mut self, key: &[u8]) {
        match self.direction {
            Direction::Up => self.from = Bound::Excluded(key.to_vec()),
            Direction::Down => self.to = Bound::Excluded(key.to_vec()),
        }
    }
}

enum Turn {
    Change,
    Both,
    Below,
}

impl Iterator for Merged<'_> {
    type Item = Result<Pair, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.below.is_none() {
                self.refill();
            }
            let direction = self.direction;
            let below = self.below.as_mut()?;
            let turn = match (self.chunk.front(), below.pairs.peek()) {
                (Some((above, _)), Some(Ok((key, _)))) => match (above.cmp(key), direction) {
                    (std::cmp::Ordering::Equal, _) => Turn::Both,
                    (std::cmp::Ordering::Less, Direction::Up) => Turn::Change,
                    (std::cmp::Ordering::Greater, Direction::Down) => Turn::Change,
                    (std::cmp::Ordering::Less | std::cmp::Ordering::Greater, _) => Turn::Below,
                },
                (Some(_), None) => Turn::Change,
                (Some(_) | None, Some(Err(_))) => Turn::Below,
                (None, Some(Ok(_)) | None) if below.whole => Turn::Below,
                (None, Some(Ok(_)) | None) => {
                    self.below = None;
                    continue;
                }
            };
            if matches!(turn, Turn::Below) {
                return below.pairs.next();
            }
            if matches!(turn, Turn::Both) {
                below.pairs.next();
            }
            let (key, value) = self.chunk.pop_front()?;
            self.pass(&key);
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}
