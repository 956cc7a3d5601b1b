//! Operators: `set_state` and `keep` among a provider's readings, late ones and ones from a clock ahead of ours.

use super::books::{Arrival, Books};
use super::dice::{orders, products, try_all};
use super::long;
use super::reading::{Tell, keep, reading, set_state};
use razao::domain::discrepancy::Cause;
use razao::domain::evidence::Piece;
use razao::domain::fold::Rules;
use razao::domain::state::{State, Word};
use razao::domain::time::Time;

/// The operator's own clock; readings dated 30 come from a provider whose clock is ahead.
const NOW: i64 = 10;
const DATES: [i64; 3] = [0, 1, 30];

/// Three words of the provider, dated in some order; the third arrives after the operator.
struct Story {
    words: Vec<Word>,
    dates: Vec<i64>,
    amounts: Option<(i64, i64)>,
}

impl Story {
    fn piece(&self, at: usize) -> Piece {
        // An unreadable fee keeps a discrepancy open throughout, so that there is always something to resolve.
        let piece = reading(self.dates[at], self.words[at].as_str()).unreadable_fee();
        match self.amounts {
            Some((gross, total)) => piece.gross(gross).total(total),
            None => piece,
        }
    }

    fn begin(&self) -> Result<Books, String> {
        let mut books = Books::new(Rules::ALL);
        books.hear(&Arrival::from(self.piece(0)))?;
        books.hear(&Arrival::from(self.piece(1)))?;
        Ok(books)
    }

    fn name(&self, fault: String) -> String {
        format!("{:?} dated {:?} with {:?}: {fault}", self.words, self.dates, self.amounts)
    }
}

fn stories() -> Vec<Story> {
    let amounts: &[_] = if long() {
        &[None, Some((100, 0)), Some((100, 50)), Some((100, 100))]
    } else {
        &[None, Some((100, 50))]
    };
    let tell = |words: Vec<usize>| {
        let words: Vec<_> = words.into_iter().map(|at| Word::ALL[at]).collect();
        let dated = move |order: Vec<usize>| {
            let dates: Vec<_> = order.into_iter().map(|at| DATES[at]).collect();
            let words = words.clone();
            amounts.iter().map(move |amounts| Story {
                words: words.clone(),
                dates: dates.clone(),
                amounts: *amounts,
            })
        };
        orders(DATES.len()).into_iter().flat_map(dated)
    };
    products(Word::ALL.len(), 3).flat_map(tell).collect()
}

/// An operator's words lie after everything that was recorded before them.
fn after_all(books: &Books) -> i64 {
    books.evidence.newest().map_or(NOW, |newest| newest.next().0.max(NOW))
}

/// Every piece again: nothing may come of it.
fn repeat(books: &mut Books) -> Result<(), String> {
    for piece in books.evidence.pieces().to_vec() {
        let ruling = piece.is_ruling();
        let drafts = if ruling { Vec::new() } else { books.hear(&Arrival::from(piece))? };
        if !drafts.is_empty() {
            return Err(format!("again wrote {drafts:?}"));
        }
    }
    Ok(())
}

fn check_set_state(story: &Story) -> Result<(), String> {
    for state in State::ALL {
        let begun = story.begin()?;
        let open = begun.standing().open;
        for (cause, discrepancy) in &open {
            let mut books = story.begin()?;
            let ruling = set_state(after_all(&books), state, *cause, discrepancy.subject.clone());
            books.hear(&Arrival::from(ruling))?;
            let stands = books.standing();
            if stands.state != state {
                return Err(format!("set {state}, and it is {}", stands.state));
            }
            if stands.open.contains_key(cause) || stands.open.contains_key(&Cause::Conflict) {
                return Err(format!("set {state} for {cause}, and {:?} are open", stands.open.keys()));
            }
            books.hear(&Arrival::from(story.piece(2)))?;
            repeat(&mut books)?;
        }
    }
    Ok(())
}

fn check_keep(story: &Story) -> Result<(), String> {
    let open = story.begin()?.standing().open;
    for (cause, discrepancy) in &open {
        let mut books = story.begin()?;
        let at = after_all(&books);
        books.hear(&Arrival::from(keep(at, *cause, discrepancy.subject.clone())))?;
        if books.open.contains_key(cause) {
            return Err(format!("{cause} was kept, and is open"));
        }
        // Silence does not hide what is dated before it and arrives late, and must never make a step illegal.
        books.hear(&Arrival::from(story.piece(2)))?;
        repeat(&mut books)?;

        let mut books = story.begin()?;
        books.hear(&Arrival::from(keep(at, *cause, discrepancy.subject.clone())))?;
        let newest = books.evidence.pieces().iter().rev().find(|piece| !piece.is_ruling()).cloned();
        let again = newest.map(|piece| Piece { date: Time(at + 1), ..piece });
        let drafts = again.map_or(Ok(Vec::new()), |piece| books.hear(&Arrival::from(piece)))?;
        if books.open.contains_key(cause) {
            return Err(format!("{cause} was kept, and the same again opened it: {drafts:?}"));
        }
    }
    Ok(())
}

#[test]
fn set_state_sets_any_state_and_the_walk_goes_on_from_there() {
    try_all(&stories(), |story| check_set_state(story).map_err(|fault| story.name(fault)))
        .unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn keep_closes_what_it_is_about_and_nothing_else_moves() {
    try_all(&stories(), |story| check_keep(story).map_err(|fault| story.name(fault)))
        .unwrap_or_else(|fault| panic!("{fault}"));
}
