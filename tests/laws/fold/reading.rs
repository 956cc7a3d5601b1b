//! Evidence in few words, and standings and drafts as text that a person can compare.

use razao::domain::bridge::{Draft, Note};
use razao::domain::discrepancy::{Cause, Subject};
use razao::domain::evidence::{Amount, Identity, Origin, Piece, Ruling, Said, Source};
use razao::domain::ids::Token;
use razao::domain::money::Money;
use razao::domain::standing::Standing;
use razao::domain::state::{State, Word};
use razao::domain::time::Time;

pub fn money(minor: i64) -> Money {
    Money::from_minor(minor).unwrap()
}

fn piece(at: i64, said: Said, provider_status: Option<&str>) -> Piece {
    let source = if matches!(said, Said::Ruling(_)) { Source::Operator } else { Source::Callback };
    Piece {
        said,
        provider_status: provider_status.map(str::to_owned),
        gross: Amount::Absent,
        fee: Amount::Absent,
        refunded: Amount::Absent,
        currency: None,
        proof: false,
        date: Time(at),
        occurred: None,
        identity: Identity::Content,
        asked: None,
        origin: Origin { source, receipt: None, actor: None, reason_hash: None },
        details: Vec::new(),
    }
}

/// A provider's word; one that nobody knows is an unknown one.
pub fn reading(at: i64, word: &str) -> Piece {
    let known = Word::ALL.into_iter().find(|known| known.as_str() == word);
    piece(at, known.map_or(Said::Unknown, Said::Word), Some(word))
}

/// A line of a settlement file.
pub fn settled(at: i64) -> Piece {
    piece(at, Said::Settled, None)
}

pub fn keep(at: i64, cause: Cause, subject: Subject) -> Piece {
    piece(at, Said::Ruling(Ruling::Keep { cause, subject }), None)
}

pub fn set_state(at: i64, state: State, cause: Cause, subject: Subject) -> Piece {
    piece(at, Said::Ruling(Ruling::SetState { state, cause, subject }), None)
}

/// What a piece may say besides.
pub trait Tell: Sized {
    fn gross(self, minor: i64) -> Self;
    fn total(self, minor: i64) -> Self;
    fn fee(self, minor: i64) -> Self;
    fn unreadable_fee(self) -> Self;
    fn currency(self, code: &str) -> Self;
    fn proven(self) -> Self;
    fn snapshot(self, asked: i64) -> Self;
    fn change(self, id: u64, asked: i64) -> Self;
    fn event(self, id: &str) -> Self;
    fn at(self, date: i64) -> Self;
}

impl Tell for Piece {
    fn gross(self, minor: i64) -> Self {
        Piece { gross: Amount::Known(money(minor)), ..self }
    }

    fn total(self, minor: i64) -> Self {
        Piece { refunded: Amount::Known(money(minor)), ..self }
    }

    fn fee(self, minor: i64) -> Self {
        Piece { fee: Amount::Known(money(minor)), ..self }
    }

    fn unreadable_fee(self) -> Self {
        Piece { fee: Amount::Unreadable("1.234".to_owned()), ..self }
    }

    fn currency(self, code: &str) -> Self {
        Piece { currency: Some(code.to_owned()), ..self }
    }

    fn proven(self) -> Self {
        Piece { proof: true, ..self }
    }

    fn snapshot(self, asked: i64) -> Self {
        let origin = Origin { source: Source::Poll, ..self.origin };
        Piece { asked: Some(Time(asked)), origin, ..self }
    }

    fn change(self, id: u64, asked: i64) -> Self {
        let identity = Identity::Change { token: Token::parse("token").unwrap(), id };
        let origin = Origin { source: Source::Details, ..self.origin };
        Piece { identity, asked: Some(Time(asked)), origin, ..self }
    }

    fn event(self, id: &str) -> Self {
        Piece { identity: Identity::Event(id.to_owned()), ..self }
    }

    fn at(self, date: i64) -> Self {
        Piece { date: Time(date), ..self }
    }
}

/// What an operator sees of an open discrepancy.
pub fn about(word: &str, gross: Option<i64>, total: Option<i64>) -> Subject {
    let known = Word::ALL.iter().any(|known| known.as_str() == word);
    let word = if known { word.to_owned() } else { format!("?{word}") };
    Subject::Reading { word, gross: gross.map(money), refunded: total.map(money) }
}

/// Such as `completed G100 F3 R50 settled: conflict underpaid`.
pub fn show(standing: &Standing) -> String {
    let sums = &standing.sums;
    let amounts = [("G", sums.gross), ("F", sums.fee), ("R", sums.refunded), ("C", sums.charged_back)];
    let amounts = amounts.into_iter().filter(|(_, amount)| !amount.is_zero());
    let mut text = standing.state.to_string();
    amounts.for_each(|(name, amount)| text += &format!(" {name}{}", amount.minor()));
    if sums.settled {
        text += " settled";
    }
    let causes: Vec<_> = standing.open.keys().map(|cause| cause.as_str()).collect();
    if causes.is_empty() { text } else { format!("{text}: {}", causes.join(" ")) }
}

/// Such as `transition created>paid =100 pending+100 sales-100`.
pub fn show_draft(draft: &Draft) -> String {
    let from = draft.from.map_or("none", State::as_str);
    let mut text = match draft.from == Some(draft.to) {
        true => format!("{} {}", draft.kind.as_str(), draft.to),
        false => format!("{} {from}>{}", draft.kind.as_str(), draft.to),
    };
    if let Some(amount) = draft.amount {
        text += &format!(" ={}", amount.minor());
    }
    for posting in &draft.postings {
        let purpose = format!("{:?}", posting.ledger_account.purpose).to_lowercase();
        text += &format!(" {purpose}{:+}", posting.amount.minor());
    }
    match &draft.note {
        Some(Note::Opens { cause, .. }) => text + &format!(" opens {cause}"),
        Some(Note::Closes { cause, action, .. }) => text + &format!(" closes {cause} {}", action.as_str()),
        None => text,
    }
}
