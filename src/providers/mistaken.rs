//! A deliberate fault: an adapter that takes paid and completed for expired and refunded for paid, so that it can be seen to be noticed.

use super::provider::{
    Findings, Incoming, Known, Merchant, Notice, Provider, Question, Session, Spec, Stranger, Trouble,
    Unreadable,
};
use super::registrar::Registrar;
use crate::domain::state::Word;
use crate::wire::call::{Answer, Call};

pub struct Mistaken(pub &'static dyn Provider);

fn mistake(word: &mut Option<Word>) {
    *word = match *word {
        Some(Word::Paid | Word::Completed) => Some(Word::Expired),
        Some(Word::Refunded) => Some(Word::Paid),
        other => other,
    };
}

impl Provider for Mistaken {
    fn spec(&self) -> &'static Spec {
        self.0.spec()
    }

    fn authenticate(&self, merchant: &Merchant, headers: &[(String, String)]) -> Result<(), Stranger> {
        self.0.authenticate(merchant, headers)
    }

    fn hear(&self, merchant: &Merchant, incoming: &Incoming<'_>) -> Result<Notice, Unreadable> {
        let mut notice = self.0.hear(merchant, incoming)?;
        notice.findings.iter_mut().for_each(|finding| mistake(&mut finding.reading.word));
        Ok(notice)
    }

    fn poll(&self, known: Known<'_>) -> Option<Question> {
        self.0.poll(known)
    }

    fn ask(&self, merchant: &Merchant, session: Option<&Session>, question: &Question) -> Call {
        self.0.ask(merchant, session, question)
    }

    fn read(&self, merchant: &Merchant, question: &Question, answer: &Answer) -> Result<Findings, Trouble> {
        let mut found = self.0.read(merchant, question, answer)?;
        found.findings.iter_mut().for_each(|finding| mistake(&mut finding.reading.word));
        Ok(found)
    }

    fn ask_events(&self, merchant: &Merchant, session: Option<&Session>) -> Option<Call> {
        self.0.ask_events(merchant, session)
    }

    fn read_events(&self, merchant: &Merchant, answer: &Answer) -> Result<Findings, Trouble> {
        let mut found = self.0.read_events(merchant, answer)?;
        found.findings.iter_mut().for_each(|finding| mistake(&mut finding.reading.word));
        Ok(found)
    }

    fn first_session(&self, merchant: &Merchant) -> Option<Session> {
        self.0.first_session(merchant)
    }

    fn login(&self, merchant: &Merchant, old: Option<&Session>) -> Option<Call> {
        self.0.login(merchant, old)
    }

    fn logged_in(&self, merchant: &Merchant, answer: &Answer) -> Result<Session, Trouble> {
        self.0.logged_in(merchant, answer)
    }

    fn registrar(&self) -> Option<&dyn Registrar> {
        self.0.registrar()
    }
}
