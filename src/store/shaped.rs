//! An engine over an engine: pairs as sled bears them, numbered neighbours together on pages, large values in pieces.
//!
//! - sled changes one pair by copying the leaf of up to 16 that it stands on, and splits leaves into halves that never fill
//!   where keys only grow. So entries, receipts and bodies, which come in the order of their numbers, stand some on a page,
//!   and a page is one pair of sled's.
//! - sled writes a leaf that comes to more than 128 KiB, however small each of its pairs is, into a file of its own that it
//!   never syncs. So a value of a kind that can be large lies in pieces, each under a key of its own, and no twenty neighbours
//!   come to that much. The other kinds stay below it by what they hold.
//!
//! A value's pieces are written before the page names them, and go away after it does not: who reads beside it finds the value
//! as it was or as it is. What a crash leaves of pieces goes with the first changes after it, which are the same again.
//!
//! Data up to version 5 lies as it is named. It is copied onto pages; then a mark says that they hold, and the rest goes.

use super::codec;
use super::engine::{Batch, Direction, Engine, EngineError, Pair, Read, Scan, behind, is_empty, prefix};
use super::keys;
use super::page::{Apart, Items, Lying, Page, Torn, find};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What keys below this engine begin with, where they are not what they are above it.
const PIECE: u8 = 1;
const PAGE: u8 = 2;
const MARK: &[u8] = &[3];
const NAMED: u8 = 4;
/// What the mark says: pages hold, and what they replaced is still there …
const COPIED: &[u8] = &[1];
/// … or is not.
const SHAPED: &[u8] = &[2];

const PIECE_BYTES: usize = 4096;
/// What is copied onto pages at once, in bytes and in pairs.
const STEP_BYTES: usize = 512 * 1024;
const STEP_PAIRS: usize = 4096;

pub struct Shaped {
    below: Arc<dyn Engine>,
    on_pages: AtomicBool,
    /// Whether what is filled next may be there in part.
    first: AtomicBool,
}

/// A batch as it is below.
#[derive(Default)]
struct Laid {
    pieces: Batch,
    pairs: Batch,
    /// Pieces that nobody names once the pairs are there.
    gone: Batch,
}

impl Laid {
    /// Puts the pieces that a key's value lies in from now on, and lets those go that it lay in.
    fn exchange(&mut self, key: &[u8], before: Option<Apart>, after: Option<Apart>, value: Option<&[u8]>) {
        if let (Some(apart), Some(value)) = (after, value) {
            for (number, piece) in (0..).zip(value.chunks(PIECE_BYTES)) {
                self.pieces.put(piece_key(key, apart, number), piece.to_vec());
            }
        }
        if let Some(apart) = before.filter(|before| after != Some(*before)) {
            (0..pieces(apart)).for_each(|number| self.gone.delete(piece_key(key, apart, number)));
        }
    }
}

impl Shaped {
    pub fn over(below: Arc<dyn Engine>) -> Result<Shaped, EngineError> {
        let mut marked = below.get(MARK)?.is_some();
        if !marked && below.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up).next().is_none() {
            mark(&*below, SHAPED)?;
            marked = true;
        }
        Ok(Shaped { below, on_pages: AtomicBool::new(marked), first: AtomicBool::new(true) })
    }

    fn page_of(&self, key: &[u8]) -> Option<Vec<u8>> {
        if self.on_pages.load(Ordering::Acquire) { keys::page(key) } else { None }
    }

    fn on_page(&self, name: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let mut before = None;
        loop {
            let Some(page) = self.below.get(&page_key(name))? else { return Ok(None) };
            let apart = match find(&page, key).map_err(|Torn| damaged(name))? {
                None => return Ok(None),
                Some(Lying::Here(value)) => return Ok(Some(value.to_vec())),
                Some(Lying::Apart(apart)) => apart,
            };
            match self.value(key, apart)? {
                Some(value) => return Ok(Some(value)),
                // Pieces go away only after the page has been changed.
                None if before == Some(apart) => return Err(damaged(key)),
                None => before = Some(apart),
            }
        }
    }

    /// A value in pieces; none where one of them is missing.
    fn value(&self, key: &[u8], apart: Apart) -> Result<Option<Vec<u8>>, EngineError> {
        let mut value = Vec::new();
        for number in 0..pieces(apart) {
            match self.below.get(&piece_key(key, apart, number))? {
                Some(piece) => value.extend(piece),
                None => return Ok(None),
            }
        }
        if Apart::of(&value) == apart { Ok(Some(value)) } else { Err(damaged(key)) }
    }

    fn lay(&self, batch: &Batch) -> Result<Laid, EngineError> {
        let mut laid = Laid::default();
        if !self.on_pages.load(Ordering::Acquire) {
            laid.pairs = batch.clone();
            return Ok(laid);
        }
        laid.pairs.absorb_those(batch, |key| !keys::is_paged(key));
        let torn = self.first.load(Ordering::Acquire) && self.has_pieces()?;
        let mut changes = batch.changes().filter(|(key, _)| keys::is_paged(key)).peekable();
        while let Some(name) = changes.peek().and_then(|(key, _)| keys::page(key)) {
            let at = page_key(&name);
            let stored = self.below.get(&at)?.unwrap_or_default();
            let mut page = Page::decode(&stored).map_err(|Torn| damaged(&name))?;
            while let Some((key, change)) =
                changes.next_if(|(key, _)| keys::page(key).as_ref() == Some(&name))
            {
                let lying = change.map(Lying::of);
                let before = page.set(key, lying).and_then(Lying::apart);
                let after = lying.and_then(Lying::apart);
                laid.exchange(key, before, after, change);
                if torn {
                    self.left_behind(key, after, &mut laid.gone)?;
                }
            }
            match page.encode() {
                Some(bytes) => laid.pairs.put(at, bytes),
                None => laid.pairs.delete(at),
            }
        }
        Ok(laid)
    }

    fn has_pieces(&self) -> Result<bool, EngineError> {
        let (low, high) = prefix(&[PIECE]);
        Ok(self.below.scan(low, high, Direction::Up).next().transpose()?.is_some())
    }

    /// Pieces of a key that its value, if any, does not consist of.
    fn left_behind(&self, key: &[u8], now: Option<Apart>, gone: &mut Batch) -> Result<(), EngineError> {
        let (low, high) = prefix(&[&[PIECE], key].concat());
        for pair in self.below.scan(low, high, Direction::Up) {
            let (piece, _) = pair?;
            let is_now = |apart| (0..pieces(apart)).any(|number| piece_key(key, apart, number) == piece);
            if piece.len() == 1 + key.len() + 6 && !now.is_some_and(is_now) {
                gone.delete(piece);
            }
        }
        Ok(())
    }
}

impl Read for Shaped {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match self.page_of(key) {
            Some(name) => self.on_page(&name, key),
            None => self.below.get(key),
        }
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        let mut parts = parts(&from, &to, self.on_pages.load(Ordering::Acquire));
        if direction == Direction::Down {
            parts.reverse();
        }
        Box::new(parts.into_iter().flat_map(move |part| match part {
            Part::Named((low, high)) => self.below.scan(low, high, direction),
            Part::Paged((low, high)) => self.scan_pages(low, high, direction),
        }))
    }
}

impl Shaped {
    fn scan_pages(&self, low: Bound<Vec<u8>>, high: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        // A page has the name of the first key that it can hold.
        let from = match &low {
            Bound::Included(key) | Bound::Excluded(key) => {
                Bound::Included(page_key(keys::page(key).as_ref().unwrap_or(key)))
            }
            Bound::Unbounded => Bound::Included(vec![PAGE]),
        };
        let to = high.as_ref().map(|key| page_key(key));
        let pages = self.below.scan(from, to, direction);
        Box::new(pages.flat_map(move |page| {
            let mut pairs = match page {
                Ok((name, page)) => self.pairs(name.get(1..).unwrap_or_default(), &page, &low, &high),
                Err(error) => vec![Err(error)],
            };
            if direction == Direction::Down {
                pairs.reverse();
            }
            pairs
        }))
    }

    fn pairs(
        &self,
        name: &[u8],
        page: &[u8],
        low: &Bound<Vec<u8>>,
        high: &Bound<Vec<u8>>,
    ) -> Vec<Result<Pair, EngineError>> {
        let within = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        let items = Items(page).filter(|item| {
            item.as_ref().map_or(true, |(key, _)| RangeBounds::<[u8]>::contains(&within, *key))
        });
        let pair = |(key, lying): (&[u8], Lying<'_>)| {
            let value = match lying {
                Lying::Here(value) => Some(value.to_vec()),
                Lying::Apart(apart) => match self.value(key, apart)? {
                    None => self.on_page(name, key)?,
                    whole => whole,
                },
            };
            Ok(value.map(|value| (key.to_vec(), value)))
        };
        let read = items.map(|item| item.map_err(|Torn| damaged(name)).and_then(pair));
        read.filter_map(Result::transpose).collect()
    }
}

impl Engine for Shaped {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let Laid { pieces, mut pairs, gone } = self.lay(batch)?;
        pairs.absorb(&pieces);
        pairs.absorb(&gone);
        self.below.apply(&pairs)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.below.sync()
    }

    fn fill(&self, batch: &Batch, breathe: &dyn Fn()) -> Result<(), EngineError> {
        let Laid { pieces, pairs, gone } = self.lay(batch)?;
        for part in [pieces, pairs, gone].iter().filter(|part| !part.is_empty()) {
            self.below.fill(part, breathe)?;
        }
        self.first.store(false, Ordering::Release);
        Ok(())
    }

    fn reshape(&self, moved: &mut dyn FnMut(u64)) -> Result<(), EngineError> {
        let mut done = 0;
        if !self.on_pages.load(Ordering::Acquire) {
            // An attempt that was cut off may have copied what has changed since.
            clear(&*self.below, prefix(&[PIECE]))?;
            clear(&*self.below, prefix(&[PAGE]))?;
            self.on_pages.store(true, Ordering::Release);
            let copied = keys::PAGED.iter().try_for_each(|kind| self.copy(kind, &mut done, moved));
            if let Err(error) = copied.and_then(|()| mark(&*self.below, COPIED)) {
                self.on_pages.store(false, Ordering::Release);
                return Err(error);
            }
        }
        if self.below.get(MARK)?.as_deref() == Some(COPIED) {
            keys::PAGED.iter().try_for_each(|kind| clear(&*self.below, prefix(kind)))?;
            mark(&*self.below, SHAPED)?;
        }
        Ok(())
    }

    fn make_room(&self) -> Result<bool, EngineError> {
        self.below.make_room()
    }
}

impl Shaped {
    /// Copies what lies as it is named onto pages.
    fn copy(&self, kind: &[u8], done: &mut u64, moved: &mut dyn FnMut(u64)) -> Result<(), EngineError> {
        let (mut low, high) = prefix(kind);
        loop {
            let (mut batch, mut bytes, mut pairs) = (Batch::default(), 0, 0);
            for pair in self.below.scan(low.clone(), high.clone(), Direction::Up).take(STEP_PAIRS) {
                let (key, value) = pair?;
                (bytes, pairs) = (bytes + value.len(), pairs + 1);
                low = Bound::Excluded(key.clone());
                batch.put(key, value);
                if bytes >= STEP_BYTES {
                    break;
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            roomy(&*self.below)?;
            self.fill(&batch, &|| ())?;
            *done += pairs;
            moved(*done);
        }
    }
}

fn roomy(below: &dyn Engine) -> Result<(), EngineError> {
    if below.make_room()? {
        return Ok(());
    }
    Err(EngineError { what: "there is no room to bring the data to its new shape".to_owned() })
}

/// Deletes everything within the bounds.
fn clear(below: &dyn Engine, (low, high): Bounds) -> Result<(), EngineError> {
    loop {
        let mut batch = Batch::default();
        for pair in below.scan(low.clone(), high.clone(), Direction::Up).take(STEP_PAIRS) {
            batch.delete(pair?.0);
        }
        if batch.is_empty() {
            return Ok(());
        }
        roomy(below)?;
        below.fill(&batch, &|| ())?;
    }
}

fn mark(below: &dyn Engine, what: &[u8]) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    batch.put(MARK.to_vec(), what.to_vec());
    below.apply(&batch)?;
    below.sync()
}

fn page_key(name: &[u8]) -> Vec<u8> {
    [&[PAGE], name].concat()
}

fn pieces(apart: Apart) -> u16 {
    u16::try_from(apart.bytes.div_ceil(PIECE_BYTES as u32)).unwrap_or(u16::MAX)
}

fn piece_key(key: &[u8], apart: Apart, number: u16) -> Vec<u8> {
    [&[PIECE], key, &apart.checksum.to_be_bytes(), &number.to_be_bytes()].concat()
}

fn damaged(key: &[u8]) -> EngineError {
    EngineError { what: format!("what lies at {} is damaged", codec::shown(key)) }
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A part of a scan: within a kind that lies on pages, or between such kinds.
enum Part {
    Named(Bounds),
    Paged(Bounds),
}

/// The parts of a scan, in key order.
fn parts(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>, on_pages: bool) -> Vec<Part> {
    let within = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
    let mut parts = Vec::new();
    let mut begin = Some(vec![NAMED]);
    for kind in keys::PAGED.iter().filter(|_| on_pages) {
        let Some(low) = begin else { break };
        let end = behind(kind);
        parts.extend(clip(within, &low, Some(kind)).map(Part::Named));
        parts.extend(clip(within, kind, end.as_deref()).map(Part::Paged));
        begin = end;
    }
    let rest = begin.and_then(|low| clip(within, &low, None));
    parts.extend(rest.map(Part::Named));
    parts
}

/// What of these bounds lies from `low` up to, and without, `high`.
fn clip((from, to): (Bound<&[u8]>, Bound<&[u8]>), low: &[u8], high: Option<&[u8]>) -> Option<Bounds> {
    let begin = match from {
        Bound::Included(key) | Bound::Excluded(key) if key >= low => from,
        Bound::Included(_) | Bound::Excluded(_) | Bound::Unbounded => Bound::Included(low),
    };
    let end = match (to, high) {
        (_, None) => to,
        (Bound::Included(key) | Bound::Excluded(key), Some(high)) if key < high => to,
        (_, Some(high)) => Bound::Excluded(high),
    };
    (!is_empty(begin, end)).then(|| (begin.map(<[u8]>::to_vec), end.map(<[u8]>::to_vec)))
}
