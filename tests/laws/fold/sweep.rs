//! All short histories without operators, in every order of arrival; longer ones by chance.

use super::books::{Arrival, same_end};
use super::dice::{Dice, orders, products, try_all};
use super::long;
use super::reading::{Tell, money, reading, settled};
use razao::domain::evidence::Piece;
use razao::domain::fold::Rules;

/// Word, gross, total of refunds, fee.
type Said = (&'static str, Option<i64>, Option<i64>, Option<i64>);

/// What a provider may say, as small as it can be while every rule about words and amounts has something to decide.
const SAID: [Said; 26] = [
    ("created", None, None, None),
    ("in_analysis", None, None, None),
    ("paid", None, None, None),
    ("completed", None, None, None),
    ("expired", None, None, None),
    ("refunded", None, None, None),
    ("chargeback", None, None, None),
    ("closed", None, None, None),
    ("odd1", None, None, None),
    ("odd2", None, None, None),
    ("created", Some(100), None, None),
    ("paid", Some(100), None, None),
    ("paid", Some(80), None, None),
    ("paid", Some(50), None, None),
    ("paid", Some(100), Some(50), None),
    ("paid", Some(100), Some(0), None),
    ("paid", Some(50), Some(50), None),
    ("paid", None, Some(50), None),
    ("paid", Some(100), Some(100), None),
    ("completed", Some(100), None, Some(3)),
    ("completed", None, None, Some(4)),
    ("refunded", Some(100), Some(50), None),
    ("refunded", Some(100), Some(100), None),
    ("closed", Some(100), Some(30), None),
    ("chargeback", Some(100), Some(0), None),
    ("paid", Some(50), Some(60), None),
];

const REGISTERED: [Option<i64>; 3] = [None, Some(50), Some(100)];

fn provider() -> Vec<Piece> {
    let piece = |(word, gross, total, fee): Said| {
        let piece = gross.into_iter().fold(reading(0, word), Tell::gross);
        let piece = total.into_iter().fold(piece, Tell::total);
        fee.into_iter().fold(piece, Tell::fee)
    };
    SAID.into_iter().map(piece).collect()
}

/// What other sources and odder answers say, among the plain words.
fn wider() -> Vec<Piece> {
    let plain = ["created", "in_analysis", "paid", "completed", "expired", "refunded", "chargeback", "odd1"];
    let odder = [
        settled(0),
        settled(0).gross(80).fee(4),
        reading(0, "closed").proven(),
        reading(0, "closed").gross(100).total(30).proven(),
        reading(0, "closed").total(30),
        reading(0, "refunded").total(50),
        reading(0, "paid").gross(0),
        reading(0, "paid").gross(70).currency("USD"),
        reading(0, "paid").gross(100).currency("BRL"),
        reading(0, "paid").gross(100).unreadable_fee(),
        reading(0, "paid").gross(100).total(40),
    ];
    plain.into_iter().map(|word| reading(0, word)).chain(odder).collect()
}

/// A history: readings one date apart, and the amount the shop registered.
#[derive(Clone)]
struct History {
    pieces: Vec<Piece>,
    registered: Option<i64>,
}

impl History {
    fn new(pieces: Vec<Piece>, registered: Option<i64>) -> History {
        let pieces = pieces.into_iter().zip(1..).map(|(piece, at)| piece.at(at)).collect();
        History { pieces, registered }
    }

    /// In every order of arrival, each time with the first to arrive repeated at the end.
    fn check(&self, rules: Rules) -> Result<(), String> {
        let registration = self.registered.map(|minor| Arrival::Registration(money(minor)));
        let arrivals: Vec<_> = self.pieces.iter().cloned().map(Arrival::from).chain(registration).collect();
        let arrange =
            |order: Vec<usize>| order.iter().chain(order.first()).map(|at| arrivals[*at].clone()).collect();
        same_end(rules, orders(arrivals.len()).into_iter().map(arrange))
    }
}

fn all(said: &[Piece], n: usize, registered: &[Option<i64>]) -> Vec<History> {
    let choose = |chosen: Vec<usize>| {
        let pieces: Vec<_> = chosen.into_iter().map(|at| said[at].clone()).collect();
        registered.iter().map(move |minor| History::new(pieces.clone(), *minor))
    };
    products(said.len(), n).flat_map(choose).collect()
}

fn some(said: &[Piece], count: usize, lengths: &[usize], seed: u64) -> Vec<History> {
    let mut dice = Dice(seed);
    let mut one = || {
        let pieces = (0..*dice.pick(lengths)).map(|_| dice.pick(said).clone()).collect();
        History::new(pieces, *dice.pick(&REGISTERED))
    };
    (0..count).map(|_| one()).collect()
}

fn check(histories: &[History]) {
    try_all(histories, |history| history.check(Rules::ALL)).unwrap_or_else(|fault| panic!("{fault}"));
}

/// A sweep small enough to run once for every rule.
pub fn small(rules: Rules) -> Result<(), String> {
    let both = [provider(), wider()].concat();
    let histories = [all(&both, 1, &REGISTERED), all(&both, 2, &REGISTERED), some(&both, 400, &[3, 3, 4], 7)];
    try_all(&histories.concat(), |history| history.check(rules))
}

#[test]
fn one_or_two_readings_and_a_registration_in_every_order() {
    check(&all(&provider(), 1, &REGISTERED));
    check(&all(&provider(), 2, &REGISTERED));
}

#[test]
fn three_readings_in_every_order() {
    check(&all(&provider(), 3, if long() { &REGISTERED } else { &[None] }));
}

#[test]
fn statements_proof_and_other_currencies_in_every_order() {
    check(&all(&wider(), 1, &REGISTERED));
    check(&all(&wider(), 2, &REGISTERED));
    check(&all(&wider(), 3, if long() { &REGISTERED } else { &[None] }));
}

#[test]
fn four_or_five_readings_by_chance() {
    let both = [provider(), wider()].concat();
    check(&some(&both, if long() { 6000 } else { 700 }, &[4, 4, 5], 1));
}
