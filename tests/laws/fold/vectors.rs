//! What an independent model of the fold says of some hundred histories (tests/fixtures/fold; vectors.py writes them).

use super::reading::{Tell, about, keep, money, reading, set_state};
use razao::domain::discrepancy::{Cause, Subject};
use razao::domain::evidence::{Evidence, Piece};
use razao::domain::fold::{Rules, Terms, stand_by};
use razao::domain::money::Currency;
use razao::domain::standing::Standing;
use razao::domain::state::State;
use serde::Deserialize;
use std::collections::BTreeMap;

const VECTORS: &str = include_str!("../../fixtures/fold/vectors.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    registered: Option<i64>,
    pieces: Vec<Told>,
    expect: Expect,
}

/// A piece as the file has it: what is not named was not said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    at: i64,
    kind: Option<String>,
    asked: Option<i64>,
    word: Option<String>,
    gross: Option<i64>,
    total: Option<i64>,
    fee: Option<i64>,
    set_state: Option<String>,
    keep: Option<Kept>,
}

/// What an operator keeps: a discrepancy about a reading, or about two amounts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    cause: String,
    amounts: Option<(i64, i64)>,
    word: Option<String>,
    gross: Option<i64>,
    total: Option<i64>,
}

#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
#[expect(non_snake_case, reason = "the letters of the balance function")]
struct Expect {
    state: String,
    G: i64,
    F: i64,
    R: i64,
    C: i64,
    S: bool,
    balances: BTreeMap<String, i64>,
    open: Vec<String>,
}

impl Told {
    fn piece(&self) -> Piece {
        if let Some(state) = &self.set_state {
            return set_state(self.at, State::parse(state).unwrap(), Cause::Conflict, Subject::Nothing);
        }
        if let Some(kept) = &self.keep {
            return keep(self.at, Cause::parse(&kept.cause).unwrap(), kept.subject());
        }
        let piece = reading(self.at, self.word.as_deref().unwrap());
        let piece = self.gross.into_iter().fold(piece, Tell::gross);
        let piece = self.total.into_iter().fold(piece, Tell::total);
        let piece = self.fee.into_iter().fold(piece, Tell::fee);
        match (self.kind.as_deref(), self.asked) {
            (None, None) => piece,
            (Some("s"), Some(asked)) => piece.snapshot(asked),
            // The model's changes have distinct dates, so these may serve as ids.
            (Some("h"), Some(asked)) => piece.change(u64::try_from(self.at).unwrap(), asked),
            (kind, asked) => panic!("no piece is of kind {kind:?} asked {asked:?}"),
        }
    }
}

impl Kept {
    fn subject(&self) -> Subject {
        match (&self.amounts, &self.word) {
            (Some((one, other)), None) => Subject::Amounts(money(*one), money(*other)),
            (None, Some(word)) => about(word, self.gross, self.total),
            both => panic!("a keep is about a word or amounts, not {both:?}"),
        }
    }
}

impl Expect {
    fn of(standing: &Standing) -> Expect {
        let (sums, balances) = (&standing.sums, standing.sums.balances());
        let named = [
            ("pending", balances.pending),
            ("available", balances.available),
            ("sales", balances.sales),
            ("refunds", balances.refunds),
            ("fees", balances.fees),
            ("chargebacks", balances.chargebacks),
        ];
        let mut open: Vec<_> = standing.open.keys().map(Cause::to_string).collect();
        open.sort();
        Expect {
            state: standing.state.to_string(),
            G: sums.gross.minor(),
            F: sums.fee.minor(),
            R: sums.refunded.minor(),
            C: sums.charged_back.minor(),
            S: sums.settled,
            balances: named
                .into_iter()
                .filter(|(_, amount)| !amount.is_zero())
                .map(|(name, amount)| (name.to_owned(), amount.minor()))
                .collect(),
            open,
        }
    }
}

impl Vector {
    fn check(&self, rules: Rules) -> Result<(), String> {
        let registered = self.registered.map(money);
        let terms = Terms { registered, currency: Currency::BRL };
        let pieces: Vec<_> = self.pieces.iter().map(Told::piece).collect();
        let mut evidence = Evidence::default();
        pieces.iter().cloned().for_each(|piece| {
            evidence.insert_by(rules, piece);
        });
        let found = Expect::of(&stand_by(rules, &evidence, terms));
        if found == self.expect { Ok(()) } else { Err(format!("{found:?}\nbut {:?}", self.expect)) }
    }
}

/// The vectors that come out otherwise, with their line.
pub fn differing(rules: Rules) -> Vec<String> {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() > 300, "{} vectors", vectors.len());
    let fault =
        |(line, vector): (i32, &Vector)| vector.check(rules).err().map(|why| format!("line {line}: {why}"));
    (2..).zip(&vectors).filter_map(fault).collect()
}

#[test]
fn the_model_says_the_same() {
    let faults = differing(Rules::ALL);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
