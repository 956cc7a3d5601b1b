//! What each command does to the books. Deterministic: the same commands at the same times on the same data give the
//! same batch, byte for byte.

use super::books::{Cited, Group};
use super::command::{
    AccountTerms, Attempted, Command, Fault, News, Received, Record, Recorded, Refusal, Registration,
    RegistrationNews, Reply, Ruled, RulingRequest, Then, Verdict,
};
use super::meter::Ended;
use super::polls::Seen;
use crate::domain::bridge::{self, Ledgered, Resolving, bridge};
use crate::domain::chain::Hash;
use crate::domain::discrepancy::Action;
use crate::domain::entry::Kind;
use crate::domain::evidence::{Amount, Identity, Inserted, Origin, Piece, Ruling, Said, Source};
use crate::domain::fold::{self, stand};
use crate::domain::ids::{AccountId, OrderKey, ProviderRef, ReceiptId, Reference, Seq};
use crate::domain::order::{Expectation, Order, Sighting};
use crate::domain::receipt::{self, Outcome, Progress, Receipt};
use crate::domain::standing::{Standing, Sums};
use crate::domain::state::State;
use crate::domain::time::{OffsetTime, Time};
use crate::store::engine::Read;
use crate::store::meta::StoreError;
use crate::store::{evidence, orders, polls, receipts, sealed};
use std::collections::BTreeMap;

impl Group<'_> {
    pub fn execute(&mut self, command: Command) -> Result<Reply, Fault> {
        match command {
            Command::Receive(received) => self.receive(received),
            Command::Register(registration) => self.register(registration),
            Command::Record(record) => self.record(record),
            Command::NoteAttempt(attempted) => self.note_attempt(attempted),
            Command::Rule(request) => self.rule(request),
            Command::Reprocess(id) => self.reprocess(id),
            Command::Postpone(postponed) => self.postpone(postponed),
            Command::Reschedule(rescheduling) => self.reschedule(&rescheduling),
            Command::NoteAccount(note) => self.note_account(&note),
            Command::ClaimRequest(request) => self.claim_request(&request),
            Command::KeepAnswer(keep) => self.keep_answer(&keep),
            Command::ForgetRequests(requests) => self.forget_requests(&requests),
            Command::StartRun(start) => self.start_run(&start),
            Command::NoteResult(note) => self.note_result(*note),
            Command::EndLane { run, account } => self.end_lane(run, &account),
            Command::ForgetRun(forget) => self.forget_run(&forget),
            Command::RecordPayout(request) => self.record_payout(request),
            Command::Settlement(command) => self.settlement(command),
            Command::Webhook(command) => self.webhook(command),
            Command::ClosePeriod(request) => self.close_period(*request),
            Command::AdoptSealKey(key) => self.adopt_seal_key(key),
            Command::Erase(erasure) => self.erase_personal(&erasure),
        }
    }

    fn receive(&mut self, received: Received) -> Result<Reply, Fault> {
        let id = ReceiptId(self.books.meta.receipts.0.saturating_add(1));
        self.books.meta.receipts = id;
        self.note_callback(&received.terms.account, received.received_at)?;
        sealed::put_body(&mut self.batch, id, &received.body)?;
        if let Some(event) = &received.event {
            receipts::put_event(&mut self.batch, id, event)?;
        }
        let mut receipt = Receipt {
            id,
            account: received.terms.account.clone(),
            received_at: received.received_at,
            answer_status: received.answer_status,
            content_type: received.content_type,
            body_bytes: u32::try_from(received.body.bytes.0.len()).unwrap_or(u32::MAX),
            progress: Progress::Pending,
            first_tried: None,
            attempts: Vec::new(),
            attempts_count: 0,
            failures: 0,
            not_found_count: 0,
            evidence: Vec::new(),
            entries: Vec::new(),
        };
        match received.verdict {
            Verdict::Ask => {}
            Verdict::Record { news, ask } => {
                let recorded = self.record_all(&received.terms, news, Some(id))?;
                note_recorded(&mut receipt, &recorded, !ask);
            }
            Verdict::Ignore => receipt.progress = Progress::Done(Outcome::Ignored),
            Verdict::Unreadable { reason } => receipt.progress = Progress::Failed { reason },
        }
        self.put_receipt(&receipt, None)?;
        let Receipt { progress, entries, .. } = receipt;
        Ok(Reply::Received { id, progress, entries })
    }

    fn record(&mut self, record: Record) -> Result<Reply, Fault> {
        let recorded = self.record_all(&record.terms, record.news, record.receipt)?;
        if let Some(id) = record.receipt
            && let Some(mut receipt) = receipts::get(&self.read(), id)?
        {
            let before = receipt.progress.clone();
            record.attempts.into_iter().for_each(|attempt| receipt.note_attempt(attempt));
            note_recorded(&mut receipt, &recorded, record.done);
            self.put_receipt(&receipt, Some(&before))?;
        }
        Ok(Reply::Recorded(recorded))
    }

    fn note_attempt(&mut self, attempted: Attempted) -> Result<Reply, Fault> {
        let mut receipt = receipts::get(&self.read(), attempted.receipt)?.ok_or(Refusal::NoSuchReceipt)?;
        let before = receipt.progress.clone();
        attempted.attempts.into_iter().for_each(|attempt| receipt.note_attempt(attempt));
        receipt.failures = receipt.failures.saturating_add(1);
        receipt.not_found_count += u32::from(attempted.not_found);
        receipt.progress = match attempted.then {
            Then::Retry { next_at } => Progress::Retrying { next_at },
            Then::GiveUp { reason } => Progress::Failed { reason },
            Then::Ignored => Progress::Done(Outcome::Ignored),
        };
        self.put_receipt(&receipt, Some(&before))?;
        Ok(Reply::Noted)
    }

    fn reprocess(&mut self, id: ReceiptId) -> Result<Reply, Fault> {
        let mut receipt = receipts::get(&self.read(), id)?.ok_or(Refusal::NoSuchReceipt)?;
        sealed::body(&self.read(), id)?.ok_or(Refusal::BodyErased)?;
        let before = receipt.progress.clone();
        receipt.progress = Progress::Pending;
        receipt.first_tried = None;
        receipt.not_found_count = 0;
        receipt.failures = 0;
        self.put_receipt(&receipt, Some(&before))?;
        Ok(Reply::Noted)
    }

    fn put_receipt(&mut self, receipt: &Receipt, before: Option<&Progress>) -> Result<(), Fault> {
        self.books.queue.count(before, false);
        self.books.queue.count(Some(&receipt.progress), true);
        self.ended.extend(Ended::of(receipt, self.now).filter(|_| before.is_none_or(Progress::is_open)));
        let open = receipt.progress.is_open();
        if before.is_some_and(Progress::is_open) != open {
            self.set_open(receipt.id, open)?;
        }
        Ok(receipts::put(&mut self.batch, receipt, before)?)
    }

    /// Evidence piece by piece, in its own order. A piece for which there is no legal way is left out and said so in the
    /// log; it must not take the others with it.
    fn record_all(
        &mut self,
        terms: &AccountTerms,
        news: Vec<News>,
        receipt: Option<ReceiptId>,
    ) -> Result<Recorded, Fault> {
        let mut recorded = Recorded::default();
        for mut piece_of_news in news {
            piece_of_news.piece.origin.receipt = receipt;
            match self.record_one(terms, piece_of_news) {
                Ok((key, outcome, seqs)) => {
                    recorded.orders.push((key, outcome));
                    recorded.entries.extend(seqs);
                }
                Err(Fault::Refused(refusal)) => {
                    tracing::error!(account = %terms.account, %refusal, "evidence left out");
                    recorded.left_out.push(refusal);
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(recorded)
    }

    pub(super) fn record_one(
        &mut self,
        terms: &AccountTerms,
        news: News,
    ) -> Result<(OrderKey, Outcome, Vec<Seq>), Fault> {
        let (key, stored) =
            locate(&self.read(), &terms.account, &news.reference, news.provider_ref.as_ref())?;
        // Of an order that is not there nothing is known: the common case, and a scan saved.
        let known = stored.as_ref().map(|_| evidence::load(&self.read(), &key)).transpose()?;
        let before = known.unwrap_or_default();
        let mut after = before.clone();
        let cited = Cited::of(&news.piece);
        let asked = news.piece.asked;
        let inserted = after.insert(news.piece);
        let mut order =
            stored.clone().unwrap_or_else(|| Order::unheard(key.clone(), terms, self.recorded_at()));
        after.settle(|oldest| fold::walk(oldest, order.terms()));
        let standing = stand(&after, order.terms());
        let drafts = self.drafts(stored.as_ref(), &order, &standing, None)?;
        let outcome = outcome_of(&drafts, inserted);

        self.take_names(&mut order, &news.provider_ref)?;
        order.token = news.token.or(order.token.take());
        order.sighting.checked_at = order.sighting.checked_at.max(asked);
        order.sight(&after, &standing);
        self.books.meta.stamp = self.books.meta.stamp.max(asked.unwrap_or_default());
        let seqs = self.append(&mut order, drafts, &cited)?;
        let seen = if asked.is_some() { Seen::Asked } else { Seen::Heard };
        self.schedule(&mut order, stored.as_ref(), terms, seen);
        self.put_order(&order, stored.as_ref())?;
        evidence::put_changes(&mut self.batch, &key, &before, &after)?;
        Ok((key, outcome, seqs))
    }

    pub(super) fn recorded_at(&self) -> Time {
        self.now.max(self.books.meta.recorded_at)
    }

    /// The entries that lead from where the ledger has the order to where the evidence has it.
    fn drafts(
        &self,
        stored: Option<&Order>,
        order: &Order,
        standing: &Standing,
        resolving: Option<Resolving>,
    ) -> Result<Vec<bridge::Draft>, Fault> {
        let from = bridge::From {
            ledgered: stored.map(|order| order.ledgered),
            open: &order.open,
            registered: order.expected.amount,
            account: &order.key.account,
        };
        let drafts = bridge(&from, standing, resolving);
        drafts.map_err(|error| Fault::Refused(Refusal::NoWay(format!("{}: {error}", order.key))))
    }

    pub fn put_order(&mut self, order: &Order, stored: Option<&Order>) -> Result<(), Fault> {
        if stored != Some(order) {
            orders::put(&mut self.batch, order)?;
            let before = stored.and_then(|order| order.poll_at);
            polls::put(&mut self.batch, &order.key, before, order.poll_at)?;
        }
        Ok(())
    }

    /// An order without a provider_ref takes the first that arrives.
    fn take_names(&mut self, order: &mut Order, provider_ref: &Option<ProviderRef>) -> Result<(), Fault> {
        if let (None, Some(provider_ref)) = (&order.provider_ref, provider_ref) {
            let OrderKey { account, reference } = &order.key;
            orders::put_provider_ref(&mut self.batch, account, provider_ref, reference)?;
            order.provider_ref = Some(provider_ref.clone());
        }
        Ok(())
    }

    fn register(&mut self, registration: Registration) -> Result<Reply, Fault> {
        let key = OrderKey::new(registration.terms.account.clone(), registration.reference.clone());
        let stored = orders::get(&self.read(), &key)?;
        let metadata = sealed::metadata(&self.read(), &key)?;
        self.check_registration(&registration, stored.as_ref(), metadata.as_deref())?;
        let mut order = stored
            .clone()
            .unwrap_or_else(|| Order::unheard(key.clone(), &registration.terms, self.recorded_at()));
        let news = if order.registered { RegistrationNews::Again } else { RegistrationNews::First };
        order.registered = true;
        order.expected.amount = order.expected.amount.or(Some(registration.amount));
        order.expected.expires_at = order.expected.expires_at.or(registration.expires_at);
        let known = evidence::load(&self.read(), &key)?;
        let standing = stand(&known, order.terms());
        let drafts = self.drafts(stored.as_ref(), &order, &standing, None)?;
        self.take_names(&mut order, &registration.provider_ref)?;
        order.sight(&known, &standing);
        let cited = Cited::registration(self.recorded_at());
        self.append(&mut order, drafts, &cited)?;
        self.schedule(&mut order, stored.as_ref(), &registration.terms, Seen::Heard);
        self.put_order(&order, stored.as_ref())?;
        if let (None, Some(json)) = (&metadata, &registration.metadata) {
            sealed::put_metadata(&mut self.batch, &key, json)?;
        }
        Ok(Reply::Registered { order: Box::new(order), news })
    }

    /// A registration may fill in what is absent; it never changes anything.
    fn check_registration(
        &self,
        registration: &Registration,
        stored: Option<&Order>,
        metadata: Option<&str>,
    ) -> Result<(), Fault> {
        fn differs<T: PartialEq>(known: Option<T>, given: Option<T>) -> bool {
            matches!((known, given), (Some(known), Some(given)) if known != given)
        }
        let expected = stored.map(|order| order.expected.clone()).unwrap_or_default();
        let named = stored.and_then(|order| order.provider_ref.clone());
        let fields = [
            ("amount", differs(expected.amount, Some(registration.amount))),
            ("currency", differs(stored.map(|order| order.currency), Some(registration.terms.currency))),
            ("expires_at", differs(expected.expires_at, registration.expires_at)),
            ("provider_ref", differs(named, registration.provider_ref.clone())),
            ("metadata", differs(metadata, registration.metadata.as_deref())),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, differs)| *differs) {
            return Err(Refusal::Differs { field }.into());
        }
        if let Some(provider_ref) = &registration.provider_ref
            && let Some(taken) =
                orders::by_provider_ref(&self.read(), &registration.terms.account, provider_ref)?
            && taken != registration.reference
        {
            return Err(Refusal::ProviderRefTaken(taken).into());
        }
        Ok(())
    }

    fn rule(&mut self, request: RulingRequest) -> Result<Reply, Fault> {
        let key =
            orders::discrepancy(&self.read(), request.discrepancy)?.ok_or(Refusal::NoSuchDiscrepancy)?;
        let stored = orders::get(&self.read(), &key)?.ok_or(Refusal::NoSuchDiscrepancy)?;
        let named = stored.open.iter().find(|(_, open)| open.id == request.discrepancy);
        let cause = named.map(|(cause, _)| *cause).ok_or(Refusal::NoSuchDiscrepancy)?;
        let before = evidence::load(&self.read(), &key)?;
        let open = stand(&before, stored.terms()).open.remove(&cause).ok_or(Refusal::NoSuchDiscrepancy)?;
        let subject = open.subject;
        let (ruling, action) = match request.action {
            Ruled::Keep => (Ruling::Keep { cause, subject }, Action::Keep),
            Ruled::SetState(state) => (Ruling::SetState { state, cause, subject }, Action::SetState),
        };
        let piece = Piece {
            said: Said::Ruling(ruling),
            provider_status: None,
            gross: Amount::Absent,
            fee: Amount::Absent,
            refunded: Amount::Absent,
            currency: None,
            proof: false,
            date: self.stamp(before.newest()),
            occurred: None,
            identity: Identity::Content,
            asked: None,
            origin: Origin {
                source: Source::Operator,
                receipt: None,
                actor: request.actor,
                reason_hash: Some(Hash::of(&request.reason).to_hex()),
            },
            details: Vec::new(),
        };
        let cited = Cited::of(&piece);
        let mut after = before.clone();
        after.insert(piece);
        let mut order = stored.clone();
        after.settle(|oldest| fold::walk(oldest, order.terms()));
        let standing = stand(&after, order.terms());
        let drafts = self.drafts(Some(&stored), &order, &standing, Some(Resolving { cause, action }))?;
        order.sight(&after, &standing);
        let seqs = self.append(&mut order, drafts, &cited)?;
        self.put_order(&order, Some(&stored))?;
        evidence::put_changes(&mut self.batch, &key, &before, &after)?;
        if let Some(seq) = seqs.first() {
            sealed::put_reason(&mut self.batch, *seq, &request.reason)?;
        }
        Ok(Reply::Ruled(Box::new(order)))
    }
}

/// Which order a payment is: by its provider_ref first, then by its reference; a second payment under a reference
/// becomes its own order, never a change of the first. Answers its key, and the order if it is there.
pub(super) fn locate(
    read: &dyn Read,
    account: &AccountId,
    reference: &Reference,
    provider_ref: Option<&ProviderRef>,
) -> Result<(OrderKey, Option<Order>), StoreError> {
    let named = |reference: Reference| -> Result<(OrderKey, Option<Order>), StoreError> {
        let key = OrderKey::new(account.clone(), reference);
        let order = orders::get(read, &key)?;
        Ok((key, order))
    };
    let Some(provider_ref) = provider_ref else { return named(reference.clone()) };
    if let Some(known) = orders::by_provider_ref(read, account, provider_ref)? {
        return named(known);
    }
    let mut found = named(reference.clone())?;
    let mut nth = 0;
    while let (_, Some(Order { provider_ref: Some(taken), .. })) = &found
        && taken != provider_ref
    {
        nth += 1;
        found = named(reference.derived(provider_ref, nth))?;
    }
    Ok(found)
}

impl Order {
    /// An order of which nothing is known but its name.
    fn unheard(key: OrderKey, terms: &AccountTerms, now: Time) -> Order {
        Order {
            key,
            provider: terms.provider.to_owned(),
            registered: false,
            provider_ref: None,
            currency: terms.currency,
            expected: Expectation::default(),
            ledgered: Ledgered { state: State::Created, sums: Sums::default() },
            gross_known: None,
            fee_known: None,
            open: BTreeMap::new(),
            sighting: Sighting::default(),
            token: None,
            created_at: now,
            updated_at: now,
            seq: Seq(0),
            newest: None,
            poll_at: None,
        }
    }
}

impl Cited {
    fn of(piece: &Piece) -> Cited {
        Cited {
            origin: piece.origin.clone(),
            occurred: piece.occurred.unwrap_or(OffsetTime::utc(piece.date)),
            as_of: piece.date,
            provider_status: piece.provider_status.clone(),
            details: piece.details.clone(),
        }
    }

    fn registration(at: Time) -> Cited {
        let origin = Origin { source: Source::Registration, receipt: None, actor: None, reason_hash: None };
        Cited { origin, occurred: OffsetTime::utc(at), as_of: at, provider_status: None, details: Vec::new() }
    }
}

fn outcome_of(drafts: &[bridge::Draft], inserted: Inserted) -> Outcome {
    let only_discrepancies = drafts.iter().all(|draft| draft.kind == Kind::Discrepancy);
    match (drafts.is_empty(), only_discrepancies, inserted) {
        (false, false, _) => Outcome::Applied,
        (false, true, _) => Outcome::Conflict,
        (true, _, Inserted::Duplicate) => Outcome::Duplicate,
        (true, _, Inserted::New | Inserted::BeforeFoundation) => Outcome::Stale,
    }
}

/// Notes on a receipt what came of its evidence; `done`: nothing more has to be asked.
fn note_recorded(receipt: &mut Receipt, recorded: &Recorded, done: bool) {
    let finding = |(key, outcome): &(OrderKey, Outcome)| receipt::Finding {
        order: key.reference.clone(),
        outcome: *outcome,
    };
    let room = receipt::EVIDENCE_LISTED_MAX;
    receipt.evidence = recorded.orders.iter().take(room).map(finding).collect();
    let entries_room = room.saturating_sub(receipt.entries.len());
    receipt.entries.extend(recorded.entries.iter().take(entries_room));
    if done {
        let strongest = recorded.orders.iter().map(|(_, outcome)| *outcome).max();
        receipt.progress = match recorded.left_out.first() {
            Some(refusal) => Progress::Failed { reason: refusal.to_string() },
            None => Progress::Done(strongest.unwrap_or(Outcome::Ignored)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_whose_evidence_was_left_out_has_failed_and_says_why() {
        let key = OrderKey::new(AccountId::parse("loja").unwrap(), Reference::parse("PED-1").unwrap());
        let mut receipt = Receipt {
            id: ReceiptId(1),
            account: key.account.clone(),
            received_at: Time(0),
            answer_status: 200,
            content_type: None,
            body_bytes: 0,
            progress: Progress::Pending,
            first_tried: None,
            attempts: Vec::new(),
            attempts_count: 0,
            failures: 0,
            not_found_count: 0,
            evidence: Vec::new(),
            entries: Vec::new(),
        };
        let left_out = vec![Refusal::NoWay("no legal way".to_owned())];
        let recorded = Recorded { orders: vec![(key, Outcome::Applied)], entries: vec![Seq(3)], left_out };
        note_recorded(&mut receipt, &recorded, true);
        assert_eq!(receipt.progress, Progress::Failed { reason: "no legal way".to_owned() });
        assert_eq!(receipt.entries, [Seq(3)], "what the other pieces led to is noted all the same");
        note_recorded(&mut receipt, &Recorded { left_out: Vec::new(), ..recorded }, true);
        assert_eq!(receipt.progress, Progress::Done(Outcome::Applied));
    }
}
