//! The callbacks that were kept, held to their counter, to the lengths of their bodies, and to the agenda.

use super::{Difference, found};
use crate::domain::ids::ReceiptId;
use crate::store::engine::Engine;
use crate::store::meta::Meta;
use crate::store::{agenda, receipts, sealed};

/// Every receipt can be read, with its body unless that was erased, none was numbered beyond the counter, and the agenda
/// names exactly those that still have to be processed.
pub fn walk(engine: &dyn Engine, meta: &Meta) -> Result<u64, Difference> {
    if receipts::get(engine, ReceiptId(0))?.is_some() {
        return Err(found("receipt 0: receipts are numbered from 1".to_owned()));
    }
    let mut count = 0;
    let mut agenda = agenda::unprocessed(engine);
    let mut listed = agenda.next().transpose()?;
    for receipt in receipts::oldest_first(engine, ReceiptId(0)) {
        let receipt = receipt?;
        let id = receipt.id;
        if id > meta.receipts {
            return Err(found(format!("receipt {id}: it is beyond the counter")));
        }
        if let Some(missing) = listed.filter(|listed| *listed < id) {
            return Err(found(on_the_agenda_alone(missing)));
        }
        let on_agenda = listed == Some(id);
        if receipt.progress.is_open() != on_agenda {
            let what = if on_agenda { "on the agenda and over" } else { "not over and not on the agenda" };
            return Err(found(format!("receipt {id}: it is {what}")));
        }
        if on_agenda {
            listed = agenda.next().transpose()?;
        }
        let body = sealed::body(engine, id)?;
        if body.is_some_and(|body| u32::try_from(body.bytes.0.len()) != Ok(receipt.body_bytes)) {
            return Err(found(format!("receipt {id}: its body has another length than was received")));
        }
        count += 1;
    }
    match listed {
        Some(missing) => Err(found(on_the_agenda_alone(missing))),
        None => Ok(count),
    }
}

fn on_the_agenda_alone(id: ReceiptId) -> String {
    format!("receipt {id}: it is on the agenda and not there")
}
