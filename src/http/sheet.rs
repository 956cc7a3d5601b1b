//! A sheet: events of consecutive entries as one piece of text. Whoever reads it takes slices, never copies, and only of
//! the events its filter wants.

use super::events::{EventFilter, Subject};
use crate::domain::ids::{AccountId, Reference, Seq};
use crate::domain::state::State;
use crate::store::entries::StoredEntry;
use crate::views::event::EventView;
use actix_web::web::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// About what an event takes.
const EVENT_BYTES: usize = 1280;

/// Events of the entries from one seq up to another, encoded.
#[derive(Debug)]
pub struct Sheet {
    /// Frames of Server-Sent Events, one after the other.
    text: Bytes,
    places: Vec<Place>,
    /// The seq after the last entry that was looked at.
    end: Seq,
}

/// An event on a sheet, and what filters ask of it.
#[derive(Clone, Debug)]
struct Place {
    seq: Seq,
    account: AccountId,
    kind: &'static str,
    state: Option<State>,
    order: Option<Reference>,
    frame: Range<usize>,
    json: Range<usize>,
}

/// Some events of a sheet, in seq order.
#[derive(Debug)]
pub struct Picked {
    sheet: Arc<Sheet>,
    indices: Vec<usize>,
}

impl Sheet {
    /// An empty one, to be continued at `start`.
    pub fn starting(start: Seq) -> Sheet {
        Sheet { text: Bytes::new(), places: Vec::new(), end: start }
    }

    /// This sheet and, after it, these entries; everything up to `end` was looked at.
    pub fn with(&self, entries: &[StoredEntry], end: Seq) -> Sheet {
        let mut text = Vec::with_capacity(self.text.len() + entries.len() * EVENT_BYTES);
        text.extend_from_slice(&self.text);
        let mut places = self.places.clone();
        places.extend(entries.iter().map(|stored| write(&mut text, stored)));
        Sheet { text: text.into(), places, end }
    }

    pub fn end(&self) -> Seq {
        self.end
    }

    /// About what it costs to keep.
    pub fn weight(&self) -> usize {
        self.text.len() + self.places.len() * size_of::<Place>()
    }

    /// What a filter wants from a seq on, as many as come to about `bytes_max`, and the seq to go on from.
    pub fn pick(self: &Arc<Sheet>, from: Seq, filter: &EventFilter, bytes_max: usize) -> (Picked, Seq) {
        let (mut indices, mut bytes) = (Vec::new(), 0);
        let begin = self.places.partition_point(|place| place.seq < from);
        for (index, place) in self.places.iter().enumerate().skip(begin) {
            if !filter.wants(place.subject()) {
                continue;
            }
            bytes += place.frame.len();
            if bytes > bytes_max && !indices.is_empty() {
                return (Picked { sheet: Arc::clone(self), indices }, place.seq);
            }
            indices.push(index);
        }
        (Picked { sheet: Arc::clone(self), indices }, self.end)
    }
}

impl Place {
    fn subject(&self) -> Subject<'_> {
        Subject { account: &self.account, kind: self.kind, state: self.state, order: self.order.as_ref() }
    }
}

impl Picked {
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// As frames of Server-Sent Events. Neighbours are one slice; only gaps cost a copy.
    pub fn frames(&self) -> Bytes {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for place in self.places() {
            match runs.last_mut() {
                Some(run) if run.end == place.frame.start => run.end = place.frame.end,
                _ => runs.push(place.frame.clone()),
            }
        }
        match runs.as_slice() {
            [run] => self.sheet.text.slice(run.clone()),
            runs => {
                let slices = runs.iter().filter_map(|run| self.sheet.text.get(run.clone()));
                slices.collect::<Vec<_>>().concat().into()
            }
        }
    }

    /// As JSON, one event each.
    pub fn texts(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.places().map(|place| self.sheet.text.slice(place.json.clone()))
    }

    fn places(&self) -> impl Iterator<Item = &Place> + '_ {
        self.indices.iter().filter_map(|index| self.sheet.places.get(*index))
    }
}

/// Writes an entry's event as a frame, and says where it stands.
fn write(text: &mut Vec<u8>, stored: &StoredEntry) -> Place {
    let entry = &stored.entry;
    let start = text.len();
    text.extend_from_slice(format!("id: {}\ndata: ", entry.seq).as_bytes());
    let json = text.len();
    let event = EventView::of(entry, stored.order.as_ref());
    if serde_json::to_writer(&mut *text, &event).is_err() {
        text.truncate(json);
    }
    let json = json..text.len();
    text.extend_from_slice(b"\n\n");
    Place {
        seq: entry.seq,
        account: entry.account.clone(),
        kind: entry.event_type(),
        state: entry.to,
        order: entry.order.clone(),
        frame: start..text.len(),
        json,
    }
}
