//! The ledger's side of one order, as small as it can be: hears what arrives, writes what the bridge says, and checks
//! every line of it.

use super::reading::show_draft;
use razao::domain::bridge::{Draft, From, Ledgered, Note, Resolving, bridge_by};
use razao::domain::discrepancy::{Action, Cause};
use razao::domain::entry::Kind;
use razao::domain::evidence::{Evidence, Inserted, Piece, Ruling, Said};
use razao::domain::fold::{Rules, Terms, stand_by};
use razao::domain::ids::{AccountId, Seq};
use razao::domain::money::{Currency, Money};
use razao::domain::order::OpenDiscrepancy;
use razao::domain::posting::Purpose;
use razao::domain::standing::{OrderBalances, Standing};
use razao::domain::state::legal;
use razao::domain::time::Time;
use std::collections::BTreeMap;

/// What the books may hear of.
#[derive(Clone, Debug)]
pub enum Arrival {
    Registration(Money),
    Piece(Box<Piece>),
}

impl std::convert::From<Piece> for Arrival {
    fn from(piece: Piece) -> Arrival {
        Arrival::Piece(Box::new(piece))
    }
}

pub struct Books {
    rules: Rules,
    account: AccountId,
    pub evidence: Evidence,
    terms: Terms,
    pub ledgered: Option<Ledgered>,
    pub open: BTreeMap<Cause, OpenDiscrepancy>,
    /// The sum of all postings, per ledger account.
    posted: [i64; Purpose::ALL.len()],
    entries: u64,
}

/// Nobody writes more at once: the steps of the longest way, an adjustment, and every cause closed or opened.
const ENTRIES_MAX: usize = 4 + 2 * Cause::ALL.len();

impl Books {
    pub fn new(rules: Rules) -> Books {
        Books {
            rules,
            account: AccountId::parse("loja").unwrap(),
            evidence: Evidence::default(),
            terms: Terms { registered: None, currency: Currency::BRL },
            ledgered: None,
            open: BTreeMap::new(),
            posted: [0; Purpose::ALL.len()],
            entries: 0,
        }
    }

    /// What the shop registered, in the same breath as the first news.
    pub fn register(&mut self, amount: Money) {
        self.terms.registered = Some(amount);
    }

    pub fn standing(&self) -> Standing {
        stand_by(self.rules, &self.evidence, self.terms)
    }

    /// Takes in what arrived; answers the entries that came of it, or what is wrong with them.
    pub fn hear(&mut self, arrival: &Arrival) -> Result<Vec<Draft>, String> {
        let mut resolving = None;
        let mut inserted = Inserted::New;
        match arrival {
            Arrival::Registration(amount) => self.terms.registered = Some(*amount),
            Arrival::Piece(piece) => {
                resolving = resolved(piece);
                inserted = self.evidence.insert_by(self.rules, piece.as_ref().clone());
            }
        }
        // An operator resolves what the ledger has open; the API answers 404 to anything else.
        if resolving.is_some_and(|resolving| !self.open.contains_key(&resolving.cause)) {
            return Err(format!("{resolving:?} of what is not open"));
        }
        let standing = self.standing();
        let from = From {
            ledgered: self.ledgered,
            open: &self.open,
            registered: self.terms.registered,
            account: &self.account,
        };
        let drafts =
            bridge_by(self.rules, &from, &standing, resolving).map_err(|no_way| no_way.to_string())?;
        // A change read again may supersede a snapshot, which then no longer counts.
        let read_again = matches!(arrival, Arrival::Piece(piece) if piece.asked.is_some());
        if inserted == Inserted::Duplicate && !read_again && !drafts.is_empty() {
            return Err(format!("a duplicate wrote {:?}", shown(&drafts)));
        }
        self.check_sequence(&drafts)?;
        for draft in &drafts {
            self.write(draft).map_err(|fault| format!("{fault} in {:?}", shown(&drafts)))?;
        }
        self.check_end(&standing).map_err(|fault| format!("{fault} after {:?}", shown(&drafts)))?;
        self.ledgered = Some(Ledgered { state: standing.state, sums: standing.sums });
        Ok(drafts)
    }

    /// Steps, one adjustment, resolutions, discrepancies, by cause in their order.
    fn check_sequence(&self, drafts: &[Draft]) -> Result<(), String> {
        let place = |draft: &Draft| match (draft.kind, &draft.note) {
            (Kind::Transition, None) => Some((0, None)),
            (Kind::Adjustment, None) => Some((1, None)),
            (Kind::Resolution, Some(Note::Closes { cause, action: Action::Agreed, .. })) => {
                Some((2, Some(*cause)))
            }
            (Kind::Resolution, Some(Note::Closes { .. })) => Some((0, None)),
            (Kind::Discrepancy, Some(Note::Opens { cause, .. })) => Some((3, Some(*cause))),
            _ => None,
        };
        let places: Vec<_> = drafts.iter().map(place).collect();
        let steps = |pair: &[_]| pair[0] < pair[1] || (pair[0] == pair[1] && pair[0] == Some((0, None)));
        let in_order = places.iter().all(Option::is_some) && places.windows(2).all(steps);
        if in_order && drafts.len() <= ENTRIES_MAX {
            Ok(())
        } else {
            Err(format!("out of order: {:?}", shown(drafts)))
        }
    }

    fn write(&mut self, draft: &Draft) -> Result<(), String> {
        let state = self.ledgered.map(|ledgered| ledgered.state);
        let sum: i64 = draft.postings.iter().map(|posting| posting.amount.minor()).sum();
        let stays = draft.from == Some(draft.to);
        let may = match draft.kind {
            Kind::Transition => legal(draft.from, draft.to),
            Kind::Adjustment => stays && !draft.postings.is_empty(),
            Kind::Discrepancy => stays && draft.postings.is_empty(),
            Kind::Resolution => {
                let set_state = matches!(draft.note, Some(Note::Closes { action: Action::SetState, .. }));
                set_state || (stays && draft.postings.is_empty())
            }
            Kind::Payout => false,
        };
        if draft.from != state || !may {
            return Err(format!("an illegal entry from {state:?}: {}", show_draft(draft)));
        }
        if sum != 0 || draft.postings.iter().any(|posting| posting.amount.is_zero()) {
            return Err(format!("postings that do not sum to zero: {}", show_draft(draft)));
        }
        for posting in &draft.postings {
            let at = Purpose::ALL.iter().position(|purpose| *purpose == posting.ledger_account.purpose);
            self.posted[at.unwrap()] += posting.amount.minor();
        }
        if self.posted != by_purpose(&draft.after.sums.balances()) {
            return Err(format!("postings that do not lead to its balances: {}", show_draft(draft)));
        }
        self.entries += 1;
        self.ledgered = Some(draft.after);
        draft.note.as_ref().map_or(Ok(()), |note| self.note(note))
    }

    fn note(&mut self, note: &Note) -> Result<(), String> {
        let (cause, known, due) = match note {
            Note::Opens { cause, expected, found } => {
                let (expected, found) = (expected.clone(), found.clone());
                let opened = OpenDiscrepancy { id: Seq(self.entries), expected, found, opened_at: Time(0) };
                (cause, self.open.insert(*cause, opened), None)
            }
            Note::Closes { cause, opened, .. } => (cause, self.open.remove(cause), Some(opened)),
        };
        if known.as_ref() == due { Ok(()) } else { Err(format!("{cause} was {known:?}, not {due:?}")) }
    }

    /// Whether the ledger has arrived where the evidence says.
    fn check_end(&self, standing: &Standing) -> Result<(), String> {
        let state = self.ledgered.map(|ledgered| ledgered.state);
        if state != Some(standing.state) {
            return Err(format!("the ledger has {state:?}, the evidence {}", standing.state));
        }
        let due = by_purpose(&standing.sums.balances());
        if self.posted != due {
            return Err(format!("the postings sum to {:?}, the balances are {due:?}", self.posted));
        }
        if !self.open.keys().eq(standing.open.keys()) {
            let (open, due) = (self.open.keys(), standing.open.keys());
            return Err(format!("open in the ledger: {open:?}, by the evidence: {due:?}"));
        }
        Ok(())
    }
}

fn resolved(piece: &Piece) -> Option<Resolving> {
    match &piece.said {
        Said::Ruling(Ruling::Keep { cause, .. }) => Some(Resolving { cause: *cause, action: Action::Keep }),
        Said::Ruling(Ruling::SetState { cause, .. }) => {
            Some(Resolving { cause: *cause, action: Action::SetState })
        }
        Said::Word(_) | Said::Unknown | Said::Settled => None,
    }
}

fn by_purpose(balances: &OrderBalances) -> [i64; Purpose::ALL.len()] {
    Purpose::ALL.map(|purpose| match purpose {
        Purpose::Pending => balances.pending.minor(),
        Purpose::Available => balances.available.minor(),
        Purpose::Bank => 0,
        Purpose::Sales => balances.sales.minor(),
        Purpose::Refunds => balances.refunds.minor(),
        Purpose::Fees => balances.fees.minor(),
        Purpose::Chargebacks => balances.chargebacks.minor(),
    })
}

fn shown(drafts: &[Draft]) -> Vec<String> {
    drafts.iter().map(show_draft).collect()
}

/// Plays what arrives, in this order, from nothing.
pub fn play(rules: Rules, arrivals: &[Arrival]) -> Result<Books, String> {
    let mut books = Books::new(rules);
    for arrival in arrivals {
        books.hear(arrival)?;
    }
    Ok(books)
}

/// Whether every one of these orders of arrival is written without fault and ends at the same standing.
pub fn same_end(rules: Rules, orders: impl Iterator<Item = Vec<Arrival>>) -> Result<(), String> {
    let mut first: Option<(Vec<Arrival>, Standing)> = None;
    for arrivals in orders {
        let books = play(rules, &arrivals).map_err(|fault| format!("{fault}\n  by {}", story(&arrivals)))?;
        let standing = books.standing();
        match &first {
            Some((_, known)) if *known == standing => {}
            Some((other, known)) => {
                let (here, there) = (story(&arrivals), story(other));
                return Err(format!("{standing:?}\n  by {here}\nbut {known:?}\n  by {there}"));
            }
            None => first = Some((arrivals, standing)),
        }
    }
    Ok(())
}

fn story(arrivals: &[Arrival]) -> String {
    let tell = |arrival: &Arrival| match arrival {
        Arrival::Registration(amount) => format!("registered {}", amount.minor()),
        Arrival::Piece(piece) => {
            let (date, amounts) = (piece.date.0, (&piece.gross, &piece.refunded, &piece.fee));
            format!("@{date} {:?} {:?} {amounts:?}", piece.said, piece.provider_status)
        }
    };
    arrivals.iter().map(tell).collect::<Vec<_>>().join("; ")
}
