//! The set of evidence, by chance: repetition, order of arrival, thinning and the foundation change nothing about what
//! an order is.

use super::fold::reading::{Tell, about, keep, money, reading, set_state, settled};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use razao::domain::discrepancy::{Cause, Subject};
use razao::domain::evidence::{Evidence, Identity, Inserted, PIECES_MAX, Piece};
use razao::domain::fold::{Terms, is_confirmed, stand, walk};
use razao::domain::money::{Currency, Money};
use razao::domain::standing::Standing;
use razao::domain::state::State;
use razao::domain::time::Time;

const WORDS: [&str; 10] = [
    "created",
    "in_analysis",
    "paid",
    "completed",
    "expired",
    "refunded",
    "chargeback",
    "closed",
    "odd1",
    "odd2",
];

/// When Efí's history was asked for: snapshots from before it are superseded where it has their word.
const ASKED: i64 = 500;

fn amounts(piece: Piece) -> impl Strategy<Value = Piece> {
    let amount = || of(prop_oneof![prop::sample::select(vec![0, 30, 50, 100]), 1..120i64]);
    (amount(), amount(), of(0..5i64)).prop_map(move |(gross, total, fee)| {
        let piece = gross.into_iter().fold(piece.clone(), Tell::gross);
        let piece = total.into_iter().fold(piece, Tell::total);
        fee.into_iter().fold(piece, Tell::fee)
    })
}

fn said(dates: i64) -> impl Strategy<Value = Piece> {
    (prop::sample::select(WORDS.to_vec()), 0..dates).prop_flat_map(|(word, at)| amounts(reading(at, word)))
}

/// An operator's word about some discrepancy, open or not.
fn ruling(dates: i64) -> impl Strategy<Value = Piece> {
    let cause = prop::sample::select(Cause::ALL.to_vec());
    let subject = prop_oneof![
        Just(Subject::Nothing),
        Just(Subject::Amounts(money(50), money(100))),
        prop::sample::select(WORDS.to_vec()).prop_map(|word| about(word, Some(100), None)),
        prop::sample::select(WORDS.to_vec()).prop_map(|word| about(word, None, None)),
    ];
    let state = prop::option::weighted(0.3, prop::sample::select(State::ALL.to_vec()));
    (0..dates, cause, subject, state).prop_map(|(at, cause, subject, state)| match state {
        Some(state) => set_state(at, state, cause, subject),
        None => keep(at, cause, subject),
    })
}

/// From a provider without a history: callbacks, events, answers, statement lines, operators.
fn plain(dates: i64) -> impl Strategy<Value = Piece> {
    prop_oneof![
        8 => said(dates),
        2 => said(dates).prop_map(|piece| {
            // One id says one thing at one date here; that its date may differ is a law of its own.
            let word = piece.provider_status.as_deref().unwrap();
            reading(piece.date.0, word).gross(100).event(&format!("{} {word}", piece.date.0))
        }),
        1 => said(dates).prop_map(Tell::proven),
        1 => said(dates).prop_map(|piece| piece.currency("USD")),
        1 => said(dates).prop_map(Tell::unreadable_fee),
        1 => (0..dates).prop_flat_map(|at| amounts(settled(at))),
        1 => ruling(dates),
    ]
}

/// From Efí: changes of one history, snapshots, operators. The history's dates grow with its ids.
fn dated(dates: i64) -> impl Strategy<Value = Piece> {
    let ids = dates / 2;
    prop_oneof![
        12 => (0..ids).prop_map(move |id| {
            // One word after the other, so that the later half has words that the earlier half lacks.
            let word = WORDS[usize::try_from(id * 10 / ids).unwrap()];
            let change = reading(id / 2 * 4, word).change(id.unsigned_abs(), ASKED);
            if id % 2 == 0 { change.gross(100) } else { change }
        }),
        12 => said(dates).prop_map(|piece| {
            let asked = piece.date.0;
            piece.snapshot(asked)
        }),
        1 => ruling(dates),
    ]
}

fn history(dates: i64, n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Piece>> {
    prop_oneof![vec(plain(dates), n.clone()), vec(dated(dates), n)]
}

fn terms() -> impl Strategy<Value = Terms> {
    of(prop::sample::select(vec![50, 100]))
        .prop_map(|minor| Terms { registered: minor.map(money), currency: Currency::BRL })
}

fn gather(pieces: &[Piece]) -> Evidence {
    let mut evidence = Evidence::default();
    pieces.iter().cloned().for_each(|piece| {
        evidence.insert(piece);
    });
    evidence
}

fn stands(pieces: &[Piece], terms: Terms) -> Standing {
    stand(&gather(pieces), terms)
}

/// The same said after everything else, and nothing that was told before.
fn much_later(piece: Piece) -> Piece {
    let identity = match piece.identity {
        Identity::Content => Identity::Content,
        Identity::Event(id) => Identity::Event(format!("later {id}")),
        Identity::Change { token, id } => Identity::Change { token, id: id + 1000 },
    };
    Piece { identity, date: Time(piece.date.0 + 1000), ..piece }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn in_any_order_it_is_the_same(
        (pieces, shuffled) in history(20, 0..16).prop_flat_map(|pieces| (Just(pieces.clone()), Just(pieces).prop_shuffle())),
        terms in terms(),
    ) {
        prop_assert_eq!(stands(&pieces, terms), stands(&shuffled, terms));
    }

    #[test]
    fn twice_is_once(pieces in history(20, 1..16), terms in terms(), again in any::<prop::sample::Index>()) {
        let mut evidence = Evidence::default();
        for piece in &pieces {
            evidence.insert(piece.clone());
            let before = evidence.clone();
            prop_assert_eq!(evidence.insert(piece.clone()), Inserted::Duplicate);
            prop_assert_eq!(&evidence, &before);
        }
        let before = stand(&evidence, terms);
        evidence.insert(again.get(&pieces).clone());
        prop_assert_eq!(stand(&evidence, terms), before);
    }

    /// [`Evidence::new`] takes what it is given, so it shows the walk over all that was ever said.
    #[test]
    fn thinning_changes_nothing(pieces in history(12, 0..24), terms in terms()) {
        let thinned = gather(&pieces);
        let all = Evidence::new(None, pieces);
        prop_assert!(thinned.pieces().len() <= all.pieces().len());
        prop_assert_eq!(stand(&thinned, terms), stand(&all, terms));
    }

    #[test]
    fn of_two_dates_of_one_event_the_earlier_counts(
        pieces in vec(said(20), 0..6), event in said(20), dates in (0..20i64, 0..20i64), terms in terms(),
    ) {
        let (earlier, later) = (dates.0.min(dates.1), dates.0.max(dates.1));
        let event = event.event("one");
        // Neighbours that say the same would be thinned, and the id with them.
        let others: Vec<_> = pieces.into_iter().filter(|piece| piece.provider_status != event.provider_status).collect();
        let with = |dates: &[i64]| {
            let told = dates.iter().map(|date| event.clone().at(*date));
            stands(&told.chain(others.clone()).collect::<Vec<_>>(), terms)
        };
        prop_assert_eq!(with(&[earlier, later]), with(&[earlier]));
        prop_assert_eq!(with(&[later, earlier]), with(&[earlier]));
    }

    #[test]
    fn keys_sort_by_date(a in said(1), b in said(1), dates in any::<(i64, i64)>()) {
        let (a, b) = (a.at(dates.0), b.at(dates.1));
        if dates.0 != dates.1 {
            prop_assert_eq!(a.key().cmp(&b.key()), dates.0.cmp(&dates.1));
        }
        prop_assert_eq!(a.key() == b.clone().at(dates.0).key(), a == b.at(dates.0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_foundation_changes_nothing(
        pieces in history(700, 420..560), later in history(40, 0..6), terms in terms(),
    ) {
        let unsettled = gather(&pieces);
        prop_assume!(unsettled.pieces().len() > PIECES_MAX);
        let mut evidence = unsettled.clone();
        prop_assert!(evidence.settle(|evidence| walk(evidence, terms)));
        prop_assert!(evidence.pieces().len() <= unsettled.pieces().len() / 2 + 1);
        let stood = stand(&unsettled, terms);
        prop_assert_eq!(&stand(&evidence, terms), &stood);

        // What was known is known, on either side of the foundation's end.
        let end = evidence.foundation().unwrap().end;
        let (folded, _) = unsettled.pieces().split_at(unsettled.pieces().len() - evidence.pieces().len());
        prop_assert!(folded.iter().all(|piece| piece.date < end));
        for piece in &pieces {
            let inserted = evidence.insert(piece.clone());
            prop_assert_eq!(inserted == Inserted::BeforeFoundation, piece.date < end);
            prop_assert_eq!(&stand(&evidence, terms), &stood);
        }

        // What comes later finds the same.
        let mut all = unsettled;
        for piece in later.into_iter().map(much_later) {
            all.insert(piece.clone());
            evidence.insert(piece);
            prop_assert_eq!(stand(&evidence, terms), stand(&all, terms));
        }
    }
}

#[test]
fn a_small_set_is_left_alone() {
    let alternate = |at: i64| reading(at, if at % 2 == 0 { "paid" } else { "chargeback" });
    let terms = Terms { registered: None, currency: Currency::BRL };
    let most = i64::try_from(PIECES_MAX).unwrap();
    let mut evidence = gather(&(0..most).map(alternate).collect::<Vec<_>>());
    assert!(!evidence.settle(|evidence| walk(evidence, terms)));
    assert_eq!(evidence.pieces().len(), PIECES_MAX);
    evidence.insert(alternate(most));
    assert!(evidence.settle(|evidence| walk(evidence, terms)));
    assert!(evidence.pieces().len() < PIECES_MAX);
    assert_eq!(evidence.newest(), Some(Time(most)));
}

/// 260 pieces, so that the 130 older ones are folded; `say` decides about some, the rest are odd words in turn.
fn many(say: impl Fn(i64) -> Option<Piece>) -> Vec<Piece> {
    let odd = |at: i64| reading(at, if at % 2 == 0 { "odd1" } else { "odd2" });
    (0..260).map(|at| say(at).unwrap_or_else(|| odd(at))).collect()
}

#[test]
fn what_is_folded_is_stale_also_where_it_has_the_date_of_the_end() {
    // A dispute within the second in which the money came, on the edge between the halves.
    let pieces = many(|at| match at {
        128 => Some(reading(129, "paid").change(1, ASKED)),
        129 => Some(reading(129, "chargeback").change(2, ASKED)),
        _ => None,
    });
    let terms = Terms { registered: Some(money(100)), currency: Currency::BRL };
    let mut evidence = gather(&pieces);
    assert!(evidence.settle(|evidence| walk(evidence, terms)));
    assert_eq!(evidence.insert(pieces[128].clone()), Inserted::BeforeFoundation);
    assert_eq!(stand(&evidence, terms).state, State::Chargeback);
}

#[test]
fn a_history_supersedes_snapshots_across_the_foundations_end() {
    let pieces = many(|at| match at {
        1 => Some(reading(1, "completed").gross(100).total(50).snapshot(1)),
        _ if at < 255 => {
            let word = if at % 2 == 0 { "paid" } else { "chargeback" };
            Some(reading(at, word).gross(100).change(at.unsigned_abs(), ASKED))
        }
        255 => Some(reading(at, "completed").change(255, ASKED)),
        _ => None,
    });
    let terms = Terms { registered: None, currency: Currency::BRL };
    let mut evidence = gather(&pieces);
    let stood = stand(&evidence, terms);
    assert_eq!(stood.sums.refunded, Money::ZERO);
    assert!(evidence.settle(|evidence| walk(evidence, terms)));
    assert_eq!(stand(&evidence, terms), stood);
}

#[test]
fn thinning_keeps_what_a_call_of_ours_confirmed() {
    let own = |at| reading(at, "paid").snapshot(at);
    let heard = |at| reading(at, "paid");
    let confirmed = |pieces: &[Piece]| is_confirmed(&gather(pieces), State::Paid);
    assert!(confirmed(&[heard(1), own(2), heard(3)]));
    assert!(confirmed(&[heard(1), heard(3), heard(5), own(2), heard(4)]));
    assert!(!confirmed(&[heard(1), heard(2), heard(3)]));
    let many: Vec<_> = (0..100).map(|at| if at % 3 == 1 { own(at) } else { heard(at) }).collect();
    assert!(confirmed(&many));
    assert!(gather(&many).pieces().len() <= 4);
}
