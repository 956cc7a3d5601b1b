//! A statement, page by page, is what the ledger's entries say: by our dates and by the providers'.

use crate::as_of::fill;
use crate::books::Ledger;
use crate::fold::dice::Dice;
use razao::daemon;
use razao::domain::entry::Entry;
use razao::domain::ids::Seq;
use razao::domain::money::Total;
use razao::domain::posting::LedgerAccount;
use razao::domain::time::Time;
use razao::ledger::reader::Reader;
use razao::ledger::statement::{Asked, Line, Page, Period, Place};
use razao::store::entries;
use std::sync::Arc;

fn amount(entry: &Entry, ledger_account: &LedgerAccount) -> i128 {
    let postings = entry.postings.iter().filter(|posting| posting.ledger_account == *ledger_account);
    postings.map(|posting| i128::from(posting.amount.minor())).sum()
}

/// Opening, lines and closing of a period by looking at every entry.
fn by_hand(ledger: &[Entry], asked: &Asked) -> (i128, Vec<(u64, i128, i128)>, i128) {
    let name = &asked.ledger_account;
    let mut moved: Vec<(Place, i128)> = ledger
        .iter()
        .filter(|entry| entry.postings.iter().any(|posting| posting.ledger_account == *name))
        .map(|entry| match asked.period {
            Period::Recorded { .. } => ((Time(0), entry.seq), amount(entry, name)),
            Period::Occurred { .. } => ((entry.occurred_at.at, entry.seq), amount(entry, name)),
        })
        .collect();
    moved.sort_unstable();
    let early = |(at, seq): Place| match asked.period {
        Period::Recorded { from, .. } => seq < from,
        Period::Occurred { from, .. } => from.is_some_and(|from| at < from),
    };
    let within = |(at, seq): Place| match asked.period {
        Period::Recorded { from, to } => from <= seq && seq <= to,
        Period::Occurred { from, to, .. } => {
            from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to)
        }
    };
    let opening = moved.iter().filter(|(place, _)| early(*place)).map(|(_, amount)| amount).sum();
    let mut balance: i128 = opening;
    let mut lines = Vec::new();
    for (place, amount) in moved.into_iter().filter(|(place, _)| within(*place)) {
        balance += amount;
        lines.push((place.1.0, amount, balance));
    }
    (opening, lines, balance)
}

/// All pages of a statement.
fn paged(reader: &Reader, mut asked: Asked) -> (Page, Vec<Line>) {
    let mut lines = Vec::new();
    loop {
        let page = reader.statement(&asked).unwrap();
        assert!(page.lines.len() <= asked.limit);
        lines.extend(page.lines.clone());
        match page.next {
            Some(next) => asked.after = Some(next),
            None => return (page, lines),
        }
    }
}

fn period(dice: &mut Dice, head: u64) -> Period {
    if dice.happens(500) {
        let from = dice.between(1, head);
        return Period::Recorded { from: Seq(from), to: Seq(dice.between(from - 1, head)) };
    }
    let from = dice.between(1, 50_000);
    let time = |us: u64| Time(i64::try_from(us).unwrap());
    let to = dice.happens(800).then(|| time(dice.between(from, 60_000)));
    Period::Occurred { from: dice.happens(800).then_some(time(from)), to, upto: Seq(head) }
}

#[test]
fn pages_are_what_the_entries_say() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut books) = daemon::open(dir.path()).unwrap();
    fill(&*engine, &mut books, 5, 800);
    let ledger = Ledger::start(Arc::clone(&engine));
    let head = ledger.reader.head();
    let all: Vec<Entry> = entries::range(&*engine, Seq(1), head).map(|item| item.unwrap().1.entry).collect();
    let names: Vec<_> = ledger.reader.published().balances.0.keys().cloned().collect();
    let mut dice = Dice(6);
    let mut seen = 0;
    for round in 0..300 {
        let (ledger_account, currency) = dice.pick(&names).clone();
        let period = period(&mut dice, head.0);
        let limit = dice.below(30) + 1;
        let asked = Asked { ledger_account, currency, period, after: None, limit };
        let (page, lines) = paged(&ledger.reader, asked.clone());
        let lines: Vec<_> =
            lines.into_iter().map(|line| (line.entry.seq.0, line.amount.0, line.balance.0)).collect();
        let expected = by_hand(&all, &asked);
        seen += lines.len();
        assert_eq!((page.opening.0, lines, page.closing.0), expected, "round {round}: {asked:?}");
        assert_eq!(page.closing, Total(expected.2));
    }
    assert!(seen > 1_000, "only {seen} lines were compared");
    ledger.stop();
}
