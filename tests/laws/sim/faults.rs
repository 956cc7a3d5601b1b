//! Deliberate faults, each at a seam of the world: the disk forgets some keys, an adapter is bent, the loop forgets a
//! retry, a counter goes back. The laws must notice every one of them.

use razao::config::Account;
use razao::domain::evidence::{Amount, Identity};
use razao::domain::state::Word;
use razao::providers::mistaken::Mistaken;
use razao::providers::provider::{
    Dating, Finding, Findings, Incoming, Known, Merchant, Notice, Provider, Question, Session, Spec,
    Stranger, Trouble, Unreadable,
};
use razao::wire::call::{Answer, Call};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The provider gets its 200 before the sync.
    EarlyAck,
    /// What was published is synced only by the next group.
    StalePublish,
    /// What still has to be processed does not survive a restart.
    AgendaLost,
    /// When an order is polled next does not survive a restart.
    PollLost,
    /// The list of events is not read.
    ListUnread,
    /// Balances are not written.
    PostingForgotten,
    /// What the provider calls an order is not written.
    IndexForgotten,
    /// A retry that was noted is not taken up.
    RetryForgotten,
    /// The head that entries are chained to goes back at a restart.
    PrevHashStale,
    /// Our dates start over instead of going on.
    StampRepeats,
    /// An answer is dated by when it came, not by when it was asked for.
    DatedAfterAnswer,
    /// Events are taken in the order in which they arrive.
    ArrivalOrder,
    /// An event that comes twice counts as two.
    DedupeOff,
    /// A refund total is added to itself.
    RefundAddedTwice,
    /// What does not exist is asked about for ever.
    NotFoundForever,
    /// One word is taken for another.
    WordMistaken,
    /// A chargeback is taken for what it was before.
    ChargebackUnheard,
    /// Who paid is kept with the evidence.
    PayerKept,
    /// A delivery is marked as delivered, whatever the shop answered.
    DeliveredUnconfirmed,
    /// Events of one order do not wait for each other.
    OrderOvertaken,
    /// Deliveries go on one event too far after a restart.
    EventSkipped,
    /// A settlement line that was applied is taken for a new one.
    ClaimForgotten,
    /// Settlement lines are read without their fee.
    FeeForgotten,
}

impl Fault {
    /// Each with the seeds within which it has to be noticed.
    pub const ALL: [(Fault, &str, u64); 23] = [
        (Fault::EarlyAck, "early-ack", 200),
        (Fault::StalePublish, "stale-publish", 200),
        (Fault::AgendaLost, "agenda-lost", 100),
        (Fault::PollLost, "poll-lost", 200),
        (Fault::ListUnread, "list-unread", 200),
        (Fault::PostingForgotten, "posting-forgotten", 50),
        (Fault::IndexForgotten, "index-forgotten", 50),
        (Fault::RetryForgotten, "retry-forgotten", 100),
        (Fault::PrevHashStale, "prev-hash-stale", 100),
        (Fault::StampRepeats, "stamp-repeats", 300),
        (Fault::DatedAfterAnswer, "dated-after-answer", 1000),
        (Fault::ArrivalOrder, "arrival-order", 300),
        (Fault::DedupeOff, "dedupe-off", 200),
        (Fault::RefundAddedTwice, "refund-added-twice", 200),
        (Fault::NotFoundForever, "not-found-forever", 200),
        (Fault::WordMistaken, "word-mistaken", 50),
        (Fault::ChargebackUnheard, "chargeback-unheard", 200),
        (Fault::PayerKept, "payer-kept", 200),
        (Fault::DeliveredUnconfirmed, "delivered-unconfirmed", 100),
        (Fault::OrderOvertaken, "order-overtaken", 200),
        (Fault::EventSkipped, "event-skipped", 300),
        (Fault::ClaimForgotten, "claim-forgotten", 50),
        (Fault::FeeForgotten, "fee-forgotten", 50),
    ];

    pub fn parse(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(fault, ..)| fault)
    }

    /// The account with its adapter bent, if that is where the fault lies.
    pub fn bend(self, account: Account) -> Account {
        let provider: &'static dyn Provider = match self {
            Fault::WordMistaken => Box::leak(Box::new(Mistaken(account.provider))),
            Fault::ArrivalOrder
            | Fault::ListUnread
            | Fault::DedupeOff
            | Fault::RefundAddedTwice
            | Fault::NotFoundForever
            | Fault::ChargebackUnheard
            | Fault::PayerKept => {
                Box::leak(Box::new(Bent { below: account.provider, fault: self, heard: AtomicU64::new(0) }))
            }
            Fault::EarlyAck
            | Fault::StalePublish
            | Fault::AgendaLost
            | Fault::PollLost
            | Fault::PostingForgotten
            | Fault::IndexForgotten
            | Fault::RetryForgotten
            | Fault::PrevHashStale
            | Fault::StampRepeats
            | Fault::DatedAfterAnswer
            | Fault::DeliveredUnconfirmed
            | Fault::OrderOvertaken
            | Fault::EventSkipped
            | Fault::ClaimForgotten
            | Fault::FeeForgotten => return account,
        };
        Account { provider, ..account }
    }
}

/// An adapter that does one thing wrong.
struct Bent {
    below: &'static dyn Provider,
    fault: Fault,
    heard: AtomicU64,
}

impl Bent {
    fn bend(&self, finding: &mut Finding) {
        let reading = &mut finding.reading;
        match self.fault {
            Fault::ArrivalOrder => reading.dating = Dating::Snapshot,
            Fault::DedupeOff => {
                if let Identity::Event(id) = &mut reading.identity {
                    *id = format!("{id}/{}", self.heard.fetch_add(1, Ordering::Relaxed));
                }
            }
            Fault::RefundAddedTwice => {
                if let Amount::Known(total) = reading.refunded {
                    reading.refunded = Amount::Known(total + total);
                }
            }
            Fault::ChargebackUnheard if reading.word == Some(Word::Chargeback) => {
                reading.word = Some(Word::Paid);
            }
            Fault::PayerKept => reading.details.push(("payer".to_owned(), "Maria de Teste".to_owned())),
            _ => {}
        }
    }
}

impl Provider for Bent {
    fn spec(&self) -> &'static Spec {
        self.below.spec()
    }

    fn authenticate(&self, merchant: &Merchant, headers: &[(String, String)]) -> Result<(), Stranger> {
        self.below.authenticate(merchant, headers)
    }

    fn hear(&self, merchant: &Merchant, incoming: &Incoming<'_>) -> Result<Notice, Unreadable> {
        let mut notice = self.below.hear(merchant, incoming)?;
        notice.findings.iter_mut().for_each(|finding| self.bend(finding));
        Ok(notice)
    }

    fn poll(&self, known: Known<'_>) -> Option<Question> {
        self.below.poll(known)
    }

    fn ask(&self, merchant: &Merchant, session: Option<&Session>, question: &Question) -> Call {
        self.below.ask(merchant, session, question)
    }

    fn read(&self, merchant: &Merchant, question: &Question, answer: &Answer) -> Result<Findings, Trouble> {
        let mut found = self.below.read(merchant, question, answer).map_err(|trouble| match trouble {
            Trouble::NotThere { status } if self.fault == Fault::NotFoundForever => {
                Trouble::Down { status, retry_after: None }
            }
            other => other,
        })?;
        found.findings.iter_mut().for_each(|finding| self.bend(finding));
        Ok(found)
    }

    fn ask_events(&self, merchant: &Merchant, session: Option<&Session>) -> Option<Call> {
        self.below.ask_events(merchant, session)
    }

    fn read_events(&self, merchant: &Merchant, answer: &Answer) -> Result<Findings, Trouble> {
        let mut found = self.below.read_events(merchant, answer)?;
        if self.fault == Fault::ListUnread {
            return Ok(Findings::default());
        }
        found.findings.iter_mut().for_each(|finding| self.bend(finding));
        Ok(found)
    }

    fn first_session(&self, merchant: &Merchant) -> Option<Session> {
        self.below.first_session(merchant)
    }

    fn login(&self, merchant: &Merchant, old: Option<&Session>) -> Option<Call> {
        self.below.login(merchant, old)
    }

    fn logged_in(&self, merchant: &Merchant, answer: &Answer) -> Result<Session, Trouble> {
        self.below.logged_in(merchant, answer)
    }
}
