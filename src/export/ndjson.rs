//! A line an entry, exactly as the API gives it: with both hashes, so that a stranger can compute the chain anew. Its
//! ledger accounts keep their own names, because they are hashed.

use super::{ExportError, Form};
use crate::domain::entry::Entry;
use crate::views::entry::EntryView;

pub(super) struct Ndjson;

impl Form for Ndjson {
    fn begin(&mut self, _text: &mut String) {}

    fn entry(&mut self, entry: &Entry, text: &mut String) -> Result<(), ExportError> {
        let line = serde_json::to_string(&EntryView::of(entry));
        text.push_str(&line.map_err(|why| ExportError::NoJson { seq: entry.seq, why })?);
        text.push('\n');
        Ok(())
    }

    fn end(&mut self, _text: &mut String) {}
}
