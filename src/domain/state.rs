//! The canonical states, the words providers are translated into, and the step table as one total function.

use bincode::{Decode, Encode};
use std::fmt;

/// Where an order stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum State {
    Created,
    InAnalysis,
    Paid,
    Completed,
    Expired,
    Refunded,
    Chargeback,
}

/// What a reading says. `Closed`: ended, and whether money moved depends on the past.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum Word {
    Created,
    InAnalysis,
    Paid,
    Completed,
    Expired,
    Refunded,
    Chargeback,
    Closed,
}

/// What a reading does to the state so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It says what is known.
    Same,
    /// It is behind what is known; nothing comes of it.
    Stale,
    /// It contradicts what is known; the state stays.
    Conflict,
    /// The states that are passed, each with an entry of its own; the last is where the order then stands.
    Way(&'static [State]),
}

impl State {
    pub const ALL: [State; 7] = [
        State::Created,
        State::InAnalysis,
        State::Paid,
        State::Completed,
        State::Expired,
        State::Refunded,
        State::Chargeback,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Created => "created",
            State::InAnalysis => "in_analysis",
            State::Paid => "paid",
            State::Completed => "completed",
            State::Expired => "expired",
            State::Refunded => "refunded",
            State::Chargeback => "chargeback",
        }
    }

    pub fn parse(text: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether an order in this state has seen its money come.
    pub fn has_money(self) -> bool {
        match self {
            State::Paid | State::Completed | State::Refunded | State::Chargeback => true,
            State::Created | State::InAnalysis | State::Expired => false,
        }
    }
}

impl Word {
    pub const ALL: [Word; 8] = [
        Word::Created,
        Word::InAnalysis,
        Word::Paid,
        Word::Completed,
        Word::Expired,
        Word::Refunded,
        Word::Chargeback,
        Word::Closed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Word::Created => "created",
            Word::InAnalysis => "in_analysis",
            Word::Paid => "paid",
            Word::Completed => "completed",
            Word::Expired => "expired",
            Word::Refunded => "refunded",
            Word::Chargeback => "chargeback",
            Word::Closed => "closed",
        }
    }

    /// Whether the word itself says that money came (`closed` needs proof for that).
    pub fn says_money_came(self) -> bool {
        match self {
            Word::Paid | Word::Completed | Word::Refunded | Word::Chargeback => true,
            Word::Created | Word::InAnalysis | Word::Expired | Word::Closed => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The step table: from the state so far (`None`: nothing is known) by the next reading.
pub fn step(from: Option<State>, word: Word) -> Step {
    use State as S;
    use Step::{Conflict, Same, Stale, Way};
    use Word as W;
    match (from, word) {
        (None, W::Created) => Way(&[S::Created]),
        (None, W::InAnalysis) => Way(&[S::Created, S::InAnalysis]),
        (None, W::Paid) => Way(&[S::Created, S::Paid]),
        (None, W::Completed) => Way(&[S::Created, S::Paid, S::Completed]),
        (None, W::Expired | W::Closed) => Way(&[S::Created, S::Expired]),
        (None, W::Refunded) => Way(&[S::Created, S::Paid, S::Refunded]),
        (None, W::Chargeback) => Way(&[S::Created, S::Paid, S::Chargeback]),

        (Some(S::Created), W::Created) => Same,
        (Some(S::Created), W::InAnalysis) => Way(&[S::InAnalysis]),
        (Some(S::InAnalysis), W::Created) => Stale,
        (Some(S::InAnalysis), W::InAnalysis) => Same,
        (Some(S::Created | S::InAnalysis), W::Expired | W::Closed) => Way(&[S::Expired]),
        (Some(S::Created | S::InAnalysis | S::Expired), W::Paid) => Way(&[S::Paid]),
        (Some(S::Created | S::InAnalysis | S::Expired), W::Completed) => Way(&[S::Paid, S::Completed]),
        (Some(S::Created | S::InAnalysis | S::Expired), W::Refunded) => Way(&[S::Paid, S::Refunded]),
        (Some(S::Created | S::InAnalysis | S::Expired), W::Chargeback) => Way(&[S::Paid, S::Chargeback]),
        (Some(S::Expired), W::Created) => Stale,
        (Some(S::Expired), W::InAnalysis) => Way(&[S::InAnalysis]),
        (Some(S::Expired), W::Expired | W::Closed) => Same,

        (Some(S::Paid | S::Completed | S::Chargeback), W::Created | W::InAnalysis) => Stale,
        (Some(S::Paid | S::Completed | S::Chargeback), W::Expired) => Conflict,
        (Some(S::Paid), W::Paid) => Same,
        (Some(S::Paid), W::Completed) => Way(&[S::Completed]),
        (Some(S::Completed), W::Paid) => Stale,
        (Some(S::Completed), W::Completed) => Same,
        (Some(S::Chargeback), W::Paid) => Way(&[S::Paid]),
        (Some(S::Chargeback), W::Completed) => Way(&[S::Completed]),
        (Some(S::Paid | S::Completed), W::Chargeback) => Way(&[S::Chargeback]),
        (Some(S::Chargeback), W::Chargeback) => Same,
        (Some(S::Paid | S::Completed | S::Chargeback), W::Refunded | W::Closed) => Way(&[S::Refunded]),

        (Some(S::Refunded), W::Created | W::InAnalysis | W::Expired) => Stale,
        (Some(S::Refunded), W::Paid | W::Completed | W::Chargeback) => Conflict,
        (Some(S::Refunded), W::Refunded | W::Closed) => Same,
    }
}

/// Whether the ledger may step from one state to another in a single transition entry.
pub fn legal(from: Option<State>, to: State) -> bool {
    use State as S;
    match (from, to) {
        (None, to) => to == S::Created,
        (Some(S::Created), S::InAnalysis | S::Paid | S::Expired) => true,
        (Some(S::InAnalysis), S::Paid | S::Expired) => true,
        (Some(S::Expired), S::InAnalysis | S::Paid) => true,
        (Some(S::Paid), S::Completed | S::Refunded | S::Chargeback) => true,
        (Some(S::Completed), S::Refunded | S::Chargeback) => true,
        (Some(S::Chargeback), S::Paid | S::Completed | S::Refunded) => true,
        (Some(_), _) => false,
    }
}

/// The steps that lead from one state to another: one legal step, or through `paid` as the table's "via" ways do.
pub fn way(from: Option<State>, to: State) -> Option<Vec<State>> {
    match from {
        None if to == State::Created => Some(vec![State::Created]),
        None => way(Some(State::Created), to).map(|rest| [vec![State::Created], rest].concat()),
        Some(from) if from == to => Some(Vec::new()),
        Some(from) if legal(Some(from), to) => Some(vec![to]),
        Some(State::Created | State::InAnalysis | State::Expired) if legal(Some(State::Paid), to) => {
            Some(vec![State::Paid, to])
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as people read it: `=` same, `-` stale, `!` conflict, else the way.
    const TABLE: &str = "
        none        | created | created,in_analysis | created,paid | created,paid,completed | created,expired | created,paid,refunded | created,paid,chargeback | created,expired
        created     | = | in_analysis | paid | paid,completed | expired | paid,refunded | paid,chargeback | expired
        in_analysis | - | = | paid | paid,completed | expired | paid,refunded | paid,chargeback | expired
        paid        | - | - | = | completed | ! | refunded | chargeback | refunded
        completed   | - | - | - | = | ! | refunded | chargeback | refunded
        expired     | - | in_analysis | paid | paid,completed | = | paid,refunded | paid,chargeback | =
        chargeback  | - | - | paid | completed | ! | refunded | = | refunded
        refunded    | - | - | ! | ! | - | = | ! | =";

    #[test]
    fn every_cell_of_the_table() {
        let mut cells = 0;
        for row in TABLE.trim().lines() {
            let mut columns = row.split('|').map(str::trim);
            let from = columns.next().and_then(State::parse);
            for (word, cell) in Word::ALL.into_iter().zip(columns) {
                let shown = match step(from, word) {
                    Step::Same => "=".to_owned(),
                    Step::Stale => "-".to_owned(),
                    Step::Conflict => "!".to_owned(),
                    Step::Way(way) => way.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(","),
                };
                assert_eq!(shown, cell, "{from:?} by {word}");
                cells += 1;
            }
        }
        assert_eq!(cells, 64);
    }

    #[test]
    fn legal_steps_are_exactly_those_the_table_takes() {
        let mut taken = std::collections::BTreeSet::new();
        for from in State::ALL.into_iter().map(Some).chain([None]) {
            for word in Word::ALL {
                if let Step::Way(way) = step(from, word) {
                    let mut at = from;
                    for to in way {
                        taken.insert((at, *to));
                        at = Some(*to);
                    }
                }
            }
        }
        for from in State::ALL.into_iter().map(Some).chain([None]) {
            for to in State::ALL {
                assert_eq!(legal(from, to), taken.contains(&(from, to)), "{from:?} to {to}");
            }
        }
    }
}
