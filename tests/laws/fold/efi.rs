//! Efí: a dated history, read once or twice, and snapshots from before, between and after, in every order of arrival.

use super::books::{Arrival, same_end};
use super::dice::{Dice, orders, products, try_all};
use super::long;
use super::reading::{Tell, reading};
use razao::domain::evidence::Piece;
use razao::domain::fold::Rules;

const WORDS: [&str; 6] = ["created", "in_analysis", "paid", "expired", "chargeback", "refunded"];

/// What one answer brought: recorded piece by piece in its own order, so it arrives as a whole.
type Answer = Vec<Piece>;

/// A history of `words`, every other date, as it read when it was asked for.
fn history(words: &[usize], asked: i64, gross: Option<i64>) -> Answer {
    let change = |(id, word): (u64, &usize)| {
        let piece = reading(2 * i64::try_from(id).unwrap() - 1, WORDS[*word]).change(id, asked);
        gross.into_iter().fold(piece, Tell::gross)
    };
    (1..).zip(words).map(change).collect()
}

/// A snapshot asked for at 10: after a first reading of the history, before the second.
fn snapshot(word: usize, date: i64) -> Answer {
    let piece = reading(date, WORDS[word]).snapshot(10);
    vec![if date % 3 == 0 { piece.gross(100) } else { piece }]
}

/// Answers that may arrive in any order, and the registered amount of all of them.
type Answers = Vec<Answer>;

fn once(lengths: &[usize]) -> Vec<Answers> {
    let histories = lengths.iter().flat_map(|n| products(WORDS.len(), *n));
    let shown = |words: Vec<usize>| {
        let seen = (0..WORDS.len()).flat_map(|word| (0..=6).map(move |date| (word, date)));
        seen.map(move |(word, date)| vec![history(&words, 20, None), snapshot(word, date)])
    };
    histories.flat_map(shown).collect()
}

fn twice(count: usize, seed: u64) -> Vec<Answers> {
    let mut dice = Dice(seed);
    let mut one = || {
        let words: Vec<_> = (0..=dice.below(4)).map(|_| dice.below(WORDS.len())).collect();
        let gross = *dice.pick(&[None, Some(100)]);
        let first = history(&words[..dice.below(words.len() + 1)], 5, gross);
        let between = snapshot(dice.below(WORDS.len()), i64::try_from(dice.below(10)).unwrap());
        let later: Answer = vec![reading(30, WORDS[dice.below(WORDS.len())]).gross(100).snapshot(30)];
        let mut answers = vec![first, between, history(&words, 20, gross)];
        if dice.below(2) == 0 {
            answers.push(later);
        }
        answers
    };
    (0..count).map(|_| one()).collect()
}

fn check(answers: &Answers, rules: Rules) -> Result<(), String> {
    let arrive = |order: Vec<usize>| {
        let pieces = order.into_iter().flat_map(|at| answers[at].clone());
        pieces.map(Arrival::from).collect()
    };
    same_end(rules, orders(answers.len()).into_iter().map(arrive))
}

/// Few enough to run once for every rule.
pub fn small(rules: Rules) -> Result<(), String> {
    try_all(&[once(&[1, 2]), twice(200, 3)].concat(), |answers| check(answers, rules))
}

#[test]
fn a_snapshot_and_a_history_asked_for_later() {
    try_all(&once(&[1, 2, 3]), |answers| check(answers, Rules::ALL))
        .unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn two_readings_of_a_history_and_snapshots_between() {
    let answers = twice(if long() { 20_000 } else { 1_000 }, 5);
    try_all(&answers, |answers| check(answers, Rules::ALL)).unwrap_or_else(|fault| panic!("{fault}"));
}
