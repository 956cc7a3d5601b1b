//! Evidence: one reading of one order in canonical terms, dated, with where it comes from; and the set an order keeps.
//!
//! Pieces sort by (date, those with a sequence first, token, sequence, rank, content): a total order that does not
//! depend on when they arrived. The set drops what says nothing new and folds its oldest half into a foundation when
//! it grows too long; neither changes what the rest of the evidence comes to.

use super::discrepancy::{Cause, Subject};
use super::fold::{Rule, Rules, Walk};
use super::ids::{ReceiptId, Token};
use super::money::Money;
use super::state::{State, Word};
use super::time::{OffsetTime, Time};
use bincode::{Decode, Encode};
use std::cmp::Ordering;

/// More pieces than this, and the oldest half becomes the foundation.
pub const PIECES_MAX: usize = 256;

const STATUS_CHARS_MAX: usize = 64;

/// What a piece says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Debug)]
pub enum Said {
    /// A word of the provider that has a canonical meaning.
    Word(Word),
    /// A word of the provider that nobody knows; it is the piece's `provider_status`.
    Unknown,
    /// A line of a settlement file: the money is available, whatever else happened to it.
    Settled,
    /// An operator's word.
    Ruling(Ruling),
}

/// An operator's word about one open discrepancy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Debug)]
pub enum Ruling {
    /// Leave things as they are; silent until something else is said than `subject`.
    Keep { cause: Cause, subject: Subject },
    /// The order is in this state, whatever was said before.
    SetState { state: State, cause: Cause, subject: Subject },
}

/// An amount as the provider named it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Debug, Default)]
pub enum Amount {
    #[default]
    Absent,
    Known(Money),
    /// Its literal text, which is not an exact amount of the order's currency.
    Unreadable(String),
}

/// What makes two pieces the same piece.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Debug)]
pub enum Identity {
    /// What it says and its date.
    Content,
    /// The provider's own id of the event.
    Event(String),
    /// A change in a dated history: ids grow per token, and the ids decide about the order of changes.
    Change { token: Token, id: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum Source {
    /// A callback's body alone.
    Callback,
    /// A call that a callback caused.
    Details,
    Poll,
    Registration,
    /// A line of a settlement file.
    Statement,
    Operator,
}

/// Where a piece comes from. Not part of what it says.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Origin {
    pub source: Source,
    pub receipt: Option<ReceiptId>,
    /// An operator's token subject.
    pub actor: Option<String>,
    /// BLAKE3 of the operator's reason in hex; the reason itself lives beside the ledger.
    pub reason_hash: Option<String>,
}

/// One reading of one order.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Piece {
    pub said: Said,
    pub provider_status: Option<String>,
    pub gross: Amount,
    pub fee: Amount,
    /// The total of finished refunds.
    pub refunded: Amount,
    /// The currency as the provider named it, if it did.
    pub currency: Option<String>,
    /// Proof that money came, for a word that leaves it open.
    pub proof: bool,
    /// The one date it sorts by, fixed when it is recorded.
    pub date: Time,
    /// When the provider says it happened.
    pub occurred: Option<OffsetTime>,
    pub identity: Identity,
    /// When the request that brought it was sent, for answers to calls of ours.
    pub asked: Option<Time>,
    pub origin: Origin,
    /// Allow-listed facts word for word, sorted by name.
    pub details: Vec<(String, String)>,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Callback => "callback",
            Source::Details => "details",
            Source::Poll => "poll",
            Source::Registration => "registration",
            Source::Statement => "statement",
            Source::Operator => "operator",
        }
    }

    /// Whether a call of ours to the provider brought it.
    pub fn is_own_call(self) -> bool {
        match self {
            Source::Details | Source::Poll => true,
            Source::Callback | Source::Registration | Source::Statement | Source::Operator => false,
        }
    }
}

impl Amount {
    pub fn known(&self) -> Option<Money> {
        match self {
            Amount::Known(money) => Some(*money),
            Amount::Absent | Amount::Unreadable(_) => None,
        }
    }

    pub fn is_absent(&self) -> bool {
        *self == Amount::Absent
    }
}

/// A provider's word, fit to be shown and hashed: 64 characters of letters, digits, `_ .:/-` and space.
pub fn provider_status(word: &str) -> String {
    let fit = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '-' | ' ');
    word.chars().filter(fit).take(STATUS_CHARS_MAX).collect()
}

impl Piece {
    pub fn is_ruling(&self) -> bool {
        matches!(self.said, Said::Ruling(_))
    }

    /// Whether a call of ours to the provider brought it: at first, or again after a callback did.
    pub fn is_from_own_call(&self) -> bool {
        self.asked.is_some() || self.origin.source.is_own_call()
    }

    /// Whether it may be dropped between equal neighbours.
    fn may_thin(&self) -> bool {
        !self.is_ruling() && !matches!(self.identity, Identity::Change { .. })
    }

    fn rank(&self) -> u8 {
        match &self.said {
            Said::Word(Word::Created) => 0,
            Said::Word(Word::InAnalysis) => 1,
            Said::Word(Word::Expired | Word::Closed) => 2,
            Said::Word(Word::Paid) => 3,
            Said::Word(Word::Completed) | Said::Settled => 4,
            Said::Word(Word::Chargeback) => 5,
            Said::Word(Word::Refunded) => 6,
            Said::Unknown => 7,
            Said::Ruling(_) => 8,
        }
    }

    /// What it says, without when: equal neighbours in this say nothing new.
    fn content(&self) -> (&Said, &Option<String>, &Amount, &Amount, &Amount, &Option<String>, bool) {
        (
            &self.said,
            &self.provider_status,
            &self.gross,
            &self.fee,
            &self.refunded,
            &self.currency,
            self.proof,
        )
    }

    fn is_same(&self, other: &Piece) -> bool {
        match (&self.identity, &other.identity) {
            (Identity::Content, Identity::Content) => {
                self.date == other.date && self.content() == other.content()
            }
            (mine, theirs) => mine == theirs,
        }
    }

    /// The total order of evidence.
    pub fn order(&self, other: &Piece, rules: Rules) -> Ordering {
        fn sequence(piece: &Piece) -> (bool, Option<(&Token, u64)>) {
            match &piece.identity {
                Identity::Change { token, id } => (false, Some((token, *id))),
                Identity::Content | Identity::Event(_) => (true, None),
            }
        }
        let ranks =
            if rules.keeps(Rule::RankBreaksTies) { self.rank().cmp(&other.rank()) } else { Ordering::Equal };
        self.date
            .cmp(&other.date)
            .then_with(|| sequence(self).cmp(&sequence(other)))
            .then(ranks)
            .then_with(|| self.content().cmp(&other.content()))
            .then_with(|| self.identity.cmp(&other.identity))
    }

    /// What it says as text that stays the same across versions: keys in the store are made of it.
    fn content_text(&self) -> String {
        let said = match &self.said {
            Said::Word(word) => word.as_str().to_owned(),
            Said::Unknown => "?".to_owned(),
            Said::Settled => "settled".to_owned(),
            Said::Ruling(Ruling::Keep { cause, .. }) => format!("keep {cause}"),
            Said::Ruling(Ruling::SetState { state, cause, .. }) => format!("set {state} {cause}"),
        };
        let amount = |amount: &Amount| match amount {
            Amount::Absent => "-".to_owned(),
            Amount::Known(money) => money.minor().to_string(),
            Amount::Unreadable(text) => format!("!{text}"),
        };
        let text = |text: &Option<String>| text.as_deref().unwrap_or("\u{1}").to_owned();
        [
            said,
            text(&self.provider_status),
            amount(&self.gross),
            amount(&self.fee),
            amount(&self.refunded),
            text(&self.currency),
            self.proof.to_string(),
        ]
        .join("\0")
    }

    /// Bytes that name this piece within its order, sorting by date first.
    pub fn key(&self) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new();
        match &self.identity {
            Identity::Content => hasher.update(b"content\0").update(self.content_text().as_bytes()),
            Identity::Event(id) => hasher.update(b"event\0").update(id.as_bytes()),
            Identity::Change { token, id } => {
                hasher.update(b"change\0").update(token.as_str().as_bytes()).update(&id.to_be_bytes())
            }
        };
        let dated = (self.date.0 as u64) ^ (1 << 63);
        let digest = hasher.finalize();
        dated.to_be_bytes().iter().chain(digest.as_bytes().iter().take(12)).copied().collect()
    }
}

/// What the oldest evidence of an order came to, once it was too much to keep piece by piece.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Foundation {
    pub walk: Walk,
    /// Pieces dated before this are stale for ever.
    pub end: Time,
}

/// All that is known of one order but its registration.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Evidence {
    foundation: Option<Foundation>,
    pieces: Vec<Piece>,
}

/// What putting a piece into the set did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inserted {
    New,
    /// It was there already, or says what its neighbour says.
    Duplicate,
    /// It speaks of the time before the foundation.
    BeforeFoundation,
}

impl Evidence {
    /// From what the store holds, in any order.
    pub fn new(foundation: Option<Foundation>, mut pieces: Vec<Piece>) -> Self {
        pieces.sort_by(|a, b| a.order(b, Rules::ALL));
        Evidence { foundation, pieces }
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn foundation(&self) -> Option<&Foundation> {
        self.foundation.as_ref()
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.foundation.is_none()
    }

    /// The newest date of all pieces; our own dates must lie after it.
    pub fn newest(&self) -> Option<Time> {
        let pieces = self.pieces.iter().map(|piece| piece.date).max();
        pieces.max(self.foundation.as_ref().map(|foundation| foundation.end))
    }

    pub fn insert(&mut self, piece: Piece) -> Inserted {
        self.insert_by(Rules::ALL, piece)
    }

    pub fn insert_by(&mut self, rules: Rules, piece: Piece) -> Inserted {
        if self.foundation.as_ref().is_some_and(|foundation| piece.date < foundation.end) {
            return Inserted::BeforeFoundation;
        }
        if let Some(known) = self.pieces.iter_mut().find(|known| known.is_same(&piece)) {
            let Some((better, earlier)) = merged(known, &piece) else { return Inserted::Duplicate };
            *known = better;
            self.pieces.sort_by(|a, b| a.order(b, rules));
            return if earlier { Inserted::New } else { Inserted::Duplicate };
        }
        let at = self.pieces.partition_point(|known| known.order(&piece, rules).is_lt());
        let says_nothing_new = |neighbour: Option<&Piece>| {
            neighbour.is_some_and(|n| n.may_thin() && piece.may_thin() && n.content() == piece.content())
        };
        let duplicate = says_nothing_new(self.pieces.get(at))
            || says_nothing_new(at.checked_sub(1).and_then(|i| self.pieces.get(i)));
        self.pieces.insert(at, piece);
        if rules.keeps(Rule::ThinKeepsFirstAndNewest) {
            thin(&mut self.pieces);
        } else {
            self.pieces.dedup_by(|later, earlier| later.may_thin() && later.content() == earlier.content());
        }
        if duplicate { Inserted::Duplicate } else { Inserted::New }
    }

    /// Folds the oldest half away where there are too many pieces. Says whether it did.
    pub fn settle(&mut self, walk: impl FnOnce(&Evidence) -> Walk) -> bool {
        let middle = self.pieces.get(self.pieces.len() / 2).map(|piece| piece.date);
        let Some(middle) = middle.filter(|_| self.pieces.len() > PIECES_MAX) else { return false };
        // Pieces of one date stay together, and the end lies after them: what is folded is stale if it comes again.
        let rest = self.pieces.split_off(self.pieces.partition_point(|piece| piece.date <= middle));
        let end = middle.next();
        let mut ground = self.foundation.take().unwrap_or(Foundation { walk: Walk::default(), end });
        ground.walk.foresee(&rest);
        self.foundation = Some(ground);
        let walk = walk(self);
        self.foundation = Some(Foundation { walk, end });
        self.pieces = rest;
        true
    }
}

/// Of two pieces with one id the earlier date counts; of two readings of one change the later request is remembered,
/// since it decides which snapshots the history supersedes. `None`: what is known stands. Also says whether the date
/// or the content changed.
fn merged(known: &Piece, piece: &Piece) -> Option<(Piece, bool)> {
    if piece.identity == Identity::Content {
        return None;
    }
    let earlier = (piece.date, piece.content()) < (known.date, known.content());
    let asked = known.asked.max(piece.asked);
    if !earlier && asked == known.asked {
        return None;
    }
    let mut better = if earlier { piece.clone() } else { known.clone() };
    better.asked = asked;
    Some((better, earlier))
}

/// Of equal neighbours the first and the newest are kept, and one that a call of ours brought if neither was.
fn thin(pieces: &mut Vec<Piece>) {
    let mut kept: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces.drain(..) {
        let repeats = match kept.as_slice() {
            [.., first, newest] => {
                let all_thin = first.may_thin() && newest.may_thin() && piece.may_thin();
                // An order counts as confirmed by what a call of ours said: that must not be lost between callbacks.
                let own = Piece::is_from_own_call;
                let confirms = own(newest) && !own(first) && !own(&piece);
                all_thin
                    && !confirms
                    && first.content() == newest.content()
                    && newest.content() == piece.content()
            }
            _ => false,
        };
        if repeats {
            kept.pop();
        }
        kept.push(piece);
    }
    *pieces = kept;
}
