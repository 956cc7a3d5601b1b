//! Erasing: what is kept of a person with an order, when it is asked for, and what has outlived its retention. Nothing
//! that is hashed is touched, so the ledger verifies as before.

use super::books::Group;
use super::command::{Fault, Reply};
use super::reader::Reader;
use crate::domain::ids::{OrderKey, ReceiptId, Reference, Seq};
use crate::domain::receipt::{EVIDENCE_LISTED_MAX, Progress, Receipt};
use crate::domain::time::Time;
use crate::domain::webhook::{DeliveryId, Position, WebhookId};
use crate::store::engine::Read;
use crate::store::idempotency::{self, RequestKey};
use crate::store::meta::StoreError;
use crate::store::sealed::Body;
use crate::store::{keys, receipts, sealed, webhooks};

/// How many receipts one look goes through.
const SCAN_MAX: usize = 2_000;
/// How many things are erased by one command.
pub const ERASED_PER_COMMAND: usize = 100;

/// What goes with one command.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Erasure {
    /// Receipts whose bodies go.
    pub bodies: Vec<ReceiptId>,
    /// Receipts that go whole.
    pub receipts: Vec<ReceiptId>,
    pub metadata: Option<OrderKey>,
    /// Entries whose operator's reasons go.
    pub reasons: Vec<Seq>,
    /// What targets answered to attempts.
    pub answers: Vec<(DeliveryId, u32)>,
    /// Requests whose kept answers go.
    pub requests: Vec<RequestKey>,
}

/// How much there was of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Erased {
    pub bodies: usize,
    pub receipts: usize,
    pub metadata: usize,
    pub reasons: usize,
    pub answers: usize,
    pub requests: usize,
}

/// A stretch of receipts that was looked through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looked {
    pub found: Vec<ReceiptId>,
    /// Where to go on; `None`: that was all for now.
    pub next: Option<ReceiptId>,
}

/// An order, and the texts that a body may name it by.
#[derive(Clone, Debug)]
pub struct Subject {
    pub key: OrderKey,
    needles: Vec<Vec<u8>>,
}

impl Erasure {
    pub fn is_empty(&self) -> bool {
        *self == Erasure::default()
    }

    /// Cut into commands' sizes.
    pub fn slices(mut self) -> Vec<Erasure> {
        let mut slices = Vec::new();
        while !self.is_empty() {
            slices.push(Erasure {
                bodies: first(&mut self.bodies),
                receipts: first(&mut self.receipts),
                metadata: self.metadata.take(),
                reasons: first(&mut self.reasons),
                answers: first(&mut self.answers),
                requests: first(&mut self.requests),
            });
        }
        slices
    }

    /// About how many bytes it will write.
    pub fn weight(&self) -> usize {
        let all = self.bodies.len() + self.receipts.len() + self.reasons.len();
        1024 + 128 * (all + self.answers.len() + self.requests.len())
    }
}

fn first<T>(from: &mut Vec<T>) -> Vec<T> {
    let rest = from.split_off(from.len().min(ERASED_PER_COMMAND));
    std::mem::replace(from, rest)
}

impl Erased {
    pub fn plus(self, other: Erased) -> Erased {
        Erased {
            bodies: self.bodies + other.bodies,
            receipts: self.receipts + other.receipts,
            metadata: self.metadata + other.metadata,
            reasons: self.reasons + other.reasons,
            answers: self.answers + other.answers,
            requests: self.requests + other.requests,
        }
    }
}

impl Subject {
    /// Each name as it stands in plain text, within JSON, and in a form.
    fn new(key: OrderKey, names: &[&str]) -> Subject {
        let forms = |name: &&str| {
            let json = serde_json::Value::from(*name).to_string();
            let json = json.trim_matches('"').to_owned();
            let form: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
            [(*name).to_owned(), json, form].map(String::into_bytes)
        };
        let mut needles: Vec<Vec<u8>> = names.iter().flat_map(forms).collect();
        needles.sort();
        needles.dedup();
        Subject { key, needles }
    }

    fn is_named_in(&self, bytes: &[u8]) -> bool {
        self.needles.iter().any(|needle| names(bytes, needle))
    }

    fn is_named_by(&self, body: &Body) -> bool {
        self.is_named_in(&body.bytes.0) || body.query.as_ref().is_some_and(|query| self.is_named_in(&query.0))
    }
}

/// Whether the bytes hold a name that is not part of a longer one.
fn names(bytes: &[u8], name: &[u8]) -> bool {
    let apart = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let mut windows = bytes.windows(name.len().max(1)).enumerate();
    windows.any(|(at, window)| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        window == name && apart(before) && apart(bytes.get(at + name.len()))
    })
}

impl Group<'_> {
    pub(super) fn erase_personal(&mut self, erasure: &Erasure) -> Result<Reply, Fault> {
        let mut erased = Erased::default();
        for id in &erasure.bodies {
            erased.bodies += usize::from(self.erase_body(*id)?);
        }
        for id in &erasure.receipts {
            erased.bodies += usize::from(self.erase_body(*id)?);
            erased.receipts += usize::from(self.erase_receipt(*id)?);
        }
        if let Some(order) = &erasure.metadata {
            erased.metadata += usize::from(self.erase_value(keys::metadata(order))?);
        }
        for seq in &erasure.reasons {
            erased.reasons += usize::from(self.erase_value(keys::reason(*seq))?);
        }
        for (delivery, attempt) in &erasure.answers {
            erased.answers += usize::from(self.erase_value(keys::answer(*delivery, *attempt))?);
        }
        for request in &erasure.requests {
            let stored = idempotency::stored_answer(&self.read(), request)?;
            erased.requests += usize::from(!stored.is_empty());
            stored.into_iter().for_each(|key| self.batch.delete(key));
        }
        Ok(Reply::Erased(erased))
    }

    fn erase_body(&mut self, id: ReceiptId) -> Result<bool, Fault> {
        let stored = sealed::stored_body(&self.read(), id)?;
        let found = !stored.is_empty();
        stored.into_iter().for_each(|key| self.batch.delete(key));
        Ok(found)
    }

    /// A receipt that entries name, or that is still to be processed, stays.
    fn erase_receipt(&mut self, id: ReceiptId) -> Result<bool, Fault> {
        let Some(receipt) = receipts::get(&self.read(), id)?.filter(is_over) else { return Ok(false) };
        self.books.queue.count(Some(&receipt.progress), false);
        receipts::delete(&mut self.batch, &receipt);
        Ok(true)
    }

    fn erase_value(&mut self, key: Vec<u8>) -> Result<bool, Fault> {
        let found = self.read().get(&key).map_err(StoreError::from)?.is_some();
        if found {
            self.batch.delete(key);
        }
        Ok(found)
    }
}

/// Whether nothing refers to a receipt any more.
fn is_over(receipt: &Receipt) -> bool {
    !receipt.progress.is_open() && receipt.entries.is_empty()
}

/// Whether a receipt's list of orders may lack one that its body speaks of.
fn may_name_more(receipt: &Receipt) -> bool {
    let listed = receipt.evidence.len();
    !matches!(receipt.progress, Progress::Done(_)) || listed == 0 || listed >= EVIDENCE_LISTED_MAX
}

impl Reader {
    /// An order, known or not, as what is to be erased.
    pub fn subject(&self, key: OrderKey) -> Result<Subject, StoreError> {
        let order = self.order(&key)?;
        let provider_ref = order.as_ref().and_then(|order| order.provider_ref.clone());
        let token = order.and_then(|order| order.token);
        let reference = key.reference.clone();
        let mut names = vec![reference.as_str()];
        names.extend(provider_ref.as_ref().map(|name| name.as_str()));
        names.extend(token.as_ref().map(|name| name.as_str()));
        Ok(Subject::new(key, &names))
    }

    /// What is kept of an order that can be erased, except receipts' bodies.
    pub fn personal_beside_bodies(&self, subject: &Subject) -> Result<Erasure, StoreError> {
        let seqs = self.seqs_of(&subject.key)?;
        let mut answers = Vec::new();
        let mut webhook = webhooks::next_with_deliveries(self.engine(), None)?;
        while let Some(id) = webhook {
            for seq in &seqs {
                answers.extend(self.answered_attempts(id, *seq)?);
            }
            webhook = webhooks::next_with_deliveries(self.engine(), Some(id))?;
        }
        let requests = self.requests_naming(&subject.key.reference)?;
        let metadata = Some(subject.key.clone());
        Ok(Erasure { metadata, reasons: seqs, answers, requests, ..Erasure::default() })
    }

    fn seqs_of(&self, key: &OrderKey) -> Result<Vec<Seq>, StoreError> {
        let Some(order) = self.order(key)? else { return Ok(Vec::new()) };
        Ok(self.history(&order)?.into_iter().map(|stored| stored.entry.seq).collect())
    }

    fn answered_attempts(&self, webhook: WebhookId, seq: Seq) -> Result<Vec<(DeliveryId, u32)>, StoreError> {
        let id = DeliveryId { webhook, position: Position::entry(seq) };
        let delivery = webhooks::delivery(self.engine(), id)?;
        let attempts = delivery.into_iter().flat_map(|delivery| delivery.attempts);
        Ok(attempts.filter(|attempt| attempt.answered).map(|attempt| (id, attempt.number)).collect())
    }

    fn requests_naming(&self, reference: &Reference) -> Result<Vec<RequestKey>, StoreError> {
        let quoted = serde_json::Value::from(reference.as_str()).to_string();
        let mut found = Vec::new();
        for answer in idempotency::answers(self.engine()) {
            let (key, body) = answer?;
            if names(&body.0, quoted.as_bytes()) {
                found.push(key);
            }
        }
        Ok(found)
    }

    /// Receipts with a body that speaks of an order, oldest first: those it is listed in, and of those whose list is not
    /// the last word the ones whose body names it.
    pub fn bodies_about(&self, subject: &Subject, after: ReceiptId) -> Result<Looked, StoreError> {
        let mut found = Vec::new();
        let mut last = after;
        for receipt in receipts::oldest_first(self.engine(), after).take(SCAN_MAX) {
            let receipt = receipt?;
            last = receipt.id;
            if receipt.account == subject.key.account && self.is_about(&receipt, subject)? {
                found.push(receipt.id);
            }
        }
        Ok(Looked { found, next: Some(last).filter(|last| *last != after) })
    }

    fn is_about(&self, receipt: &Receipt, subject: &Subject) -> Result<bool, StoreError> {
        if receipt.evidence.iter().any(|finding| finding.order == subject.key.reference) {
            return Ok(true);
        }
        if !may_name_more(receipt) {
            return Ok(false);
        }
        let body = self.body(receipt.id)?;
        Ok(body.is_some_and(|body| subject.is_named_by(&body)))
    }

    /// Receipts older than `before` that still have a body and need it no more.
    pub fn bodies_beyond(&self, before: Time, after: ReceiptId) -> Result<Looked, StoreError> {
        let mut found = Vec::new();
        let mut last = after;
        for id in sealed::with_body(self.engine(), after).take(SCAN_MAX) {
            let id = id?;
            let receipt = self.receipt(id)?;
            if receipt.as_ref().is_some_and(|receipt| receipt.received_at >= before) {
                return Ok(Looked { found, next: None });
            }
            last = id;
            if receipt.is_none_or(|receipt| !receipt.progress.is_open()) {
                found.push(id);
            }
            if found.len() == ERASED_PER_COMMAND {
                break;
            }
        }
        Ok(Looked { found, next: Some(last).filter(|last| *last != after) })
    }

    /// Receipts older than `before` that nothing refers to.
    pub fn receipts_beyond(&self, before: Time, after: ReceiptId) -> Result<Looked, StoreError> {
        let mut found = Vec::new();
        let mut last = after;
        for receipt in receipts::oldest_first(self.engine(), after).take(SCAN_MAX) {
            let receipt = receipt?;
            if receipt.received_at >= before {
                return Ok(Looked { found, next: None });
            }
            last = receipt.id;
            if is_over(&receipt) {
                found.push(receipt.id);
            }
            if found.len() == ERASED_PER_COMMAND {
                break;
            }
        }
        Ok(Looked { found, next: Some(last).filter(|last| *last != after) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::AccountId;

    fn subject(names: &[&str]) -> Subject {
        let key = OrderKey::new(AccountId::parse("loja").unwrap(), Reference::parse("PED 1/ã").unwrap());
        Subject::new(key, names)
    }

    #[test]
    fn a_body_names_an_order_in_any_writing_and_not_within_another_name() {
        let subject = subject(&["PED 1/ã", "tok-1"]);
        for body in ["{\"a\":\"PED 1/ã\"}", "a=PED+1%2F%C3%A3&b", "tok-1", "x tok-1,", "{\"t\":\"tok-1\"}"] {
            assert!(subject.is_named_in(body.as_bytes()), "{body}");
        }
        for body in ["", "PED 1", "tok-12", "atok-1", "tok-", "a=PED+1%2F%C3%A32"] {
            assert!(!subject.is_named_in(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn an_erasure_is_cut_into_commands_and_nothing_is_left_out() {
        let ids = |count: u64| (1..=count).map(ReceiptId).collect::<Vec<_>>();
        let whole = Erasure { bodies: ids(250), reasons: vec![Seq(1)], ..Erasure::default() };
        let slices = whole.clone().slices();
        assert_eq!(slices.iter().map(|slice| slice.bodies.len()).collect::<Vec<_>>(), [100, 100, 50]);
        let bodies: Vec<_> = slices.iter().flat_map(|slice| slice.bodies.clone()).collect();
        assert_eq!((bodies, slices[0].reasons.clone()), (whole.bodies, whole.reasons));
    }
}
