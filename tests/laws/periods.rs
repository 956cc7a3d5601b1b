//! A closed month is what the ledger was at its two moments, and stays it: later entries are corrections, `verify` names
//! whatever was altered, and a kept seal shows a ledger that was rewritten from end to end.

use crate::books::{Ledger, cents, key, lives_of, newborn, register, seen};
use crate::fold::dice::Dice;
use jiff::tz::TimeZone;
use razao::domain::balance::Balances;
use razao::domain::chain::Hash;
use razao::domain::ids::Seq;
use razao::domain::period::{Closed, Closing, Mark, Moment, Month};
use razao::domain::state::Word;
use razao::domain::time::Time;
use razao::ledger::books::{Books, Group};
use razao::ledger::command::{Command, Refusal, Reply, SubmitError};
use razao::ledger::periods::{ClosePeriod, ClosedBooks};
use razao::ledger::seal::{self, Kept, Sealer};
use razao::ledger::verify::{verify, verify_with};
use razao::store::engine::{Batch, Engine};
use razao::store::memory::Memory;
use razao::store::meta::{self, Meta};
use razao::store::{entries, keys, periods};
use razao::views::seal::SealView;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const DATABASE: [u8; 16] = [7; 16];

fn time(text: &str) -> Time {
    Time::parse(text).unwrap()
}

fn set(ledger: &Ledger, text: &str) {
    ledger.clock.0.store(time(text).0, Ordering::SeqCst);
}

fn month(text: &str) -> Month {
    Month::parse(text).unwrap()
}

fn sealer(seed: u8) -> Sealer {
    Sealer::new(&[seed; 32], DATABASE, &[]).unwrap()
}

fn closing(text: &str) -> Command {
    let zone = TimeZone::get("America/Sao_Paulo").unwrap();
    let (from, to) = month(text).span(&zone).unwrap();
    let timezone = "America/Sao_Paulo".to_owned();
    let sealer = Arc::new(sealer(1));
    let request =
        ClosePeriod { month: month(text), timezone, from, to, actor: Some("ana".to_owned()), sealer };
    Command::ClosePeriod(Box::new(request))
}

fn close(ledger: &Ledger, text: &str) -> ClosedBooks {
    match ledger.then(closing(text)) {
        Reply::Closed(closed) => *closed,
        other => panic!("{other:?}"),
    }
}

fn head(ledger: &Ledger) -> (Mark, Balances) {
    let published = ledger.reader.published();
    (Mark { seq: published.seq, hash: published.hash }, (*published.balances).clone())
}

/// A sale of a new order, dated by its provider.
fn sale(reference: &str, at: &str) -> Command {
    seen(reference, Some(Word::Paid), Some(10_000), None, time(at).0)
}

fn kept(seal: SealView) -> Vec<Kept> {
    vec![Kept { name: "kept.json".to_owned(), seal }]
}

fn check(engine: &dyn Engine, kept: &[Kept]) -> Result<(), String> {
    verify_with(engine, kept, &mut |_, _| {}).map(drop).map_err(|difference| difference.to_string())
}

/// October's entries, November's first ones, and October closed.
fn closed_october() -> (Arc<Memory>, Ledger, ClosedBooks) {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    // The last hours of October in São Paulo are November's first in UTC.
    set(&ledger, "2026-11-01T02:59:00Z");
    lives_of(2).into_iter().for_each(|command| drop(ledger.then(command)));
    set(&ledger, "2026-11-01T03:00:00Z");
    drop(ledger.then(sale("NOV-1", "2026-11-01T03:00:00Z")));
    set(&ledger, "2026-11-05T12:00:00Z");
    let closed = close(&ledger, "2026-10");
    (engine, ledger, closed)
}

#[test]
fn a_closing_records_the_months_end_and_the_head() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    set(&ledger, "2026-11-01T02:59:00Z");
    lives_of(2).into_iter().for_each(|command| drop(ledger.then(command)));
    let (end, at_end) = head(&ledger);
    let refused = ledger.submit(closing("2026-10")).unwrap_err();
    assert!(matches!(refused, SubmitError::Refused(Refusal::PeriodNotOver { .. })), "{refused}");
    set(&ledger, "2026-11-01T03:00:00Z");
    drop(ledger.then(sale("NOV-1", "2026-11-01T03:00:00Z")));
    let (at, at_close) = head(&ledger);
    assert!(at.seq > end.seq && at_close != at_end);
    let closed = close(&ledger, "2026-10");
    assert_eq!((closed.closing.end, closed.closing.close), (end, at));
    assert_eq!((&closed.at_end, &closed.at_close), (&at_end, &at_close));
    assert!(closed.news && closed.closing.closed_by.as_deref() == Some("ana"));
    // The first closing stands, whatever came since.
    drop(ledger.then(sale("NOV-2", "2026-11-01T03:00:00Z")));
    let again = close(&ledger, "2026-10");
    assert!(!again.news);
    assert_eq!((&again.closing, &again.at_end, &again.at_close), (&closed.closing, &at_end, &at_close));
    assert!(ledger.submit(closing("2026-11")).is_err(), "November is under way");
    ledger.stop();
    // It was durable before it was answered.
    let engine = engine.after_power_cut();
    assert_eq!(periods::get(&engine, month("2026-10")).unwrap(), Some(closed.closing.clone()));
    assert_eq!(periods::balances(&engine, month("2026-10"), Moment::End).unwrap(), at_end);
    check(&engine, &kept(closed.seal(&DATABASE))).unwrap();
}

#[test]
fn a_month_before_the_first_entry_closes_empty() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    let empty = close(&ledger, "2020-02");
    let nothing = Mark { seq: Seq(0), hash: Hash::genesis() };
    assert_eq!((empty.closing.end, empty.closing.close), (nothing, nothing));
    lives_of(1).into_iter().for_each(|command| drop(ledger.then(command)));
    let later = close(&ledger, "2020-03");
    assert_eq!(later.closing.end, nothing);
    assert!(later.closing.close.seq > Seq(0) && later.at_end.0.is_empty());
    ledger.stop();
    check(&*engine, &[kept(empty.seal(&DATABASE)), kept(later.seal(&DATABASE))].concat()).unwrap();
}

#[test]
fn what_is_learnt_later_is_a_correction() {
    let (engine, mut ledger, closed) = closed_october();
    let of_october = |ledger: &Ledger| {
        let head = ledger.reader.head();
        ledger.reader.corrections_summed(month("2026-10"), head).unwrap()
    };
    assert_eq!(of_october(&ledger).count, 0);
    for (reference, restart) in [("LATE-1", false), ("LATE-2", true)] {
        if restart {
            ledger.stop();
            ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
        }
        drop(ledger.then(sale(reference, "2026-10-31T22:00:00Z")));
    }
    drop(ledger.then(sale("NOV-2", "2026-11-01T03:00:00Z")));
    let corrections = of_october(&ledger);
    // Each of the two was created and paid.
    assert_eq!(corrections.count, 4);
    let sums: Vec<_> = corrections.sums.0.values().map(|sides| sides.balance().0).collect();
    assert_eq!(sums, [i128::from(cents(20_000).minor()), -20_000]);
    let (first, rest) = (closed.closing.close.seq.next(), |limit| {
        let listed = ledger.reader.corrections(month("2026-10"), Seq(0), limit).unwrap();
        listed.iter().map(|stored| stored.entry.seq.0).collect::<Vec<_>>()
    });
    assert_eq!(rest(10), [first.0, first.0 + 1, first.0 + 2, first.0 + 3]);
    assert_eq!(rest(3).len(), 3);
    assert_eq!(close(&ledger, "2026-10").at_end, closed.at_end, "the closing stands");
    ledger.stop();
    check(&*engine, &kept(closed.seal(&DATABASE))).unwrap();
}

#[test]
fn a_clock_that_goes_back_adds_nothing_to_a_closed_month() {
    let (engine, ledger, closed) = closed_october();
    set(&ledger, "2026-10-20T00:00:00Z");
    drop(ledger.then(register("BACK-1", 100)));
    let order = ledger.reader.order(&key("BACK-1")).unwrap().unwrap();
    let entry = ledger.reader.entry(order.seq).unwrap().unwrap().entry;
    assert!(entry.recorded_at >= closed.closing.closed_at);
    ledger.stop();
    check(&*engine, &[]).unwrap();
}

#[test]
fn whatever_is_altered_in_a_closing_is_named() {
    let (engine, ledger, closed) = closed_october();
    drop(ledger.then(sale("LATE-1", "2026-10-31T22:00:00Z")));
    let correction = ledger.reader.head();
    ledger.stop();
    let october = month("2026-10");
    let change = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::default();
        change(&mut batch);
        engine.apply(&batch).unwrap();
    };
    let named = |named: &str| {
        let failed = verify(&*engine, &mut |_, _| {}).unwrap_err().to_string();
        assert!(failed.contains(named), "{failed}");
    };
    let mut other = closed.closing.clone();
    other.end = other.close;
    change(&|batch| periods::put(batch, &other).unwrap());
    named("closing 2026-10: its signature does not fit");
    // Signed anew by whoever holds the disk, with the key that lies on it.
    let mut signed = other.clone();
    sealer(1).close(&mut signed, &closed.at_end, &closed.at_close).unwrap();
    change(&|batch| periods::put(batch, &signed).unwrap());
    named("closing 2026-10: ");
    let mut balances = closed.at_end.clone();
    balances.0.values_mut().next().unwrap().post(cents(1));
    let mut richer = closed.closing.clone();
    sealer(1).close(&mut richer, &balances, &closed.at_close).unwrap();
    change(&|batch| {
        periods::put(batch, &richer).unwrap();
        periods::put_balances(batch, october, Moment::End, &balances).unwrap();
    });
    named("closing 2026-10: balance assets:loja:pending in BRL as of seq");
    change(&|batch| {
        periods::put(batch, &closed.closing).unwrap();
        periods::put_balances(batch, october, Moment::End, &closed.at_end).unwrap();
        batch.delete(keys::correction(october, correction));
    });
    named("is not listed as a correction");
    change(&|batch| {
        periods::put_correction(batch, october, correction).unwrap();
        periods::put_correction(batch, october, Seq(1)).unwrap();
    });
    named("corrections of closed months are listed");
    change(&|batch| batch.delete(keys::correction(october, Seq(1))));
    check(&*engine, &[]).unwrap();
}

/// A ledger of its own history under the same database id, as a forger who has the disk would write it: every entry,
/// chain and projection is whole.
fn forged(commands: impl IntoIterator<Item = Command>) -> Arc<Memory> {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    set(&ledger, "2026-11-01T02:59:00Z");
    commands.into_iter().for_each(|command| drop(ledger.then(command)));
    ledger.stop();
    verify(&*engine, &mut |_, _| {}).unwrap();
    engine
}

#[test]
fn a_kept_seal_shows_a_ledger_that_was_rewritten_or_cut_off() {
    let (_, ledger, closed) = closed_october();
    let (at, _) = head(&ledger);
    let seals = [closed.seal(&DATABASE), sealer(1).head(at, time("2026-11-05T12:00:01Z")).unwrap()];
    ledger.stop();
    let mut others = lives_of(2);
    others.push(sale("NOV-1", "2026-11-01T03:00:00Z"));
    let cut = forged(lives_of(1));
    // One order of many has another name, and what follows is chained to it.
    others.insert(9, register("FORGED", 1));
    let rewritten = forged(others);
    for seal in seals {
        let seal = kept(seal);
        let failed = check(&*cut, &seal).unwrap_err();
        assert!(failed.starts_with("seal kept.json: ") && failed.contains("cut off"), "{failed}");
        let failed = check(&*rewritten, &seal).unwrap_err();
        assert!(failed.starts_with("seal kept.json: ") && failed.contains("rewritten"), "{failed}");
    }
}

#[test]
fn a_seal_of_another_ledger_and_one_with_other_balances_are_refused() {
    let (engine, ledger, closed) = closed_october();
    ledger.stop();
    let mut balances = closed.at_close.clone();
    balances.0.values_mut().next().unwrap().post(cents(1));
    let mut other = closed.closing.clone();
    sealer(9).close(&mut other, &closed.at_end, &balances).unwrap();
    let seal = SealView::of_closing(&DATABASE, &other, &closed.at_end, &balances);
    assert!(seal::holds(&seal), "its signature is in order");
    let failed = check(&*engine, &kept(seal)).unwrap_err();
    assert!(failed.contains("is not the sum of its entries"), "{failed}");
    let stranger = Memory::default();
    let mut batch = Batch::default();
    meta::put(&mut batch, &Meta::newborn([8; 16])).unwrap();
    stranger.apply(&batch).unwrap();
    let failed = check(&stranger, &kept(closed.seal(&DATABASE))).unwrap_err();
    assert!(failed.contains("it is of ledger 0707") && failed.contains("this one is 0808"), "{failed}");
}

#[test]
fn a_closing_that_was_taken_away_or_made_again_is_shown_by_its_kept_seal() {
    let (engine, ledger, closed) = closed_october();
    ledger.stop();
    let seal = kept(closed.seal(&DATABASE));
    let mut batch = Batch::default();
    batch.delete(keys::closing(month("2026-10")));
    engine.apply(&batch).unwrap();
    let failed = check(&*engine, &seal).unwrap_err();
    assert!(failed.contains("the closing of 2026-10 is missing"), "{failed}");
    // Closed again after a late sale, which is no correction any more.
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    set(&ledger, "2026-11-20T00:00:00Z");
    drop(ledger.then(sale("LATE-1", "2026-10-31T22:00:00Z")));
    close(&ledger, "2026-10");
    ledger.stop();
    check(&*engine, &[]).unwrap();
    let failed = check(&*engine, &seal).unwrap_err();
    assert!(failed.contains("the closing of 2026-10 is another one here"), "{failed}");
}

#[test]
fn a_seal_of_the_empty_ledger_holds_for_ever() {
    let (engine, ledger, _) = closed_october();
    ledger.stop();
    let empty = Mark { seq: Seq(0), hash: Hash::genesis() };
    let seal = sealer(1).head(empty, time("2026-10-01T00:00:00Z")).unwrap();
    check(&*engine, &kept(seal)).unwrap();
}

const DAY: i64 = 86_400_000_000;

/// News of one of some orders, dated within half a year.
fn dated(dice: &mut Dice) -> Command {
    let reference = format!("PED-{}", dice.below(40));
    let word = *dice.pick(&[Word::Paid, Word::Completed, Word::Refunded, Word::Chargeback]);
    let at = time("2026-01-01T00:00:00Z").0 + DAY * i64::try_from(dice.below(180)).unwrap();
    seen(&reference, Some(word), Some(5_000), None, at)
}

/// What a closing's list of corrections must be, by looking at every entry.
fn by_hand(engine: &dyn Engine, closing: &Closing) -> Vec<Seq> {
    let all = entries::range(engine, Seq(1), Seq(u64::MAX)).map(|item| item.unwrap().1.entry);
    let later = all.filter(|entry| entry.seq > closing.close.seq);
    later.filter(|entry| Closed::of(closing).holds(entry.occurred_at.at)).map(|entry| entry.seq).collect()
}

/// Half a year in groups of commands, some of which the power takes away before they were acknowledged.
#[test]
fn closings_among_random_entries_and_power_cuts() {
    let (mut closed, mut corrected, mut cuts) = (0, 0, 0);
    for seed in 1..=20 {
        let mut dice = Dice(seed);
        let mut engine = newborn();
        let mut now = time("2026-01-20T00:00:00Z");
        let (mut closings, mut seals): (Vec<Closing>, Vec<Kept>) = (Vec::new(), Vec::new());
        for _ in 0..80 {
            now = Time(now.0 + i64::try_from(dice.below(5)).unwrap() * DAY);
            let mut books = Books::load(&*engine).unwrap().unwrap();
            let mut group = Group::new(&*engine, &mut books, now);
            let news = |group: &mut Group<'_>, dice: &mut Dice| {
                (0..dice.below(5)).for_each(|_| drop(group.execute(dated(dice)).unwrap()));
            };
            news(&mut group, &mut dice);
            let month = format!("2026-0{}", 1 + dice.below(6));
            let reply = dice.happens(300).then(|| group.execute(closing(&month)));
            news(&mut group, &mut dice);
            engine.apply(&group.finish().unwrap()).unwrap();
            if dice.happens(200) {
                engine = Arc::new(engine.after_power_cut());
                cuts += 1;
                continue;
            }
            engine.sync().unwrap();
            let Some(Ok(Reply::Closed(books))) = reply else { continue };
            match closings.iter().find(|before| before.month == books.closing.month) {
                Some(before) => assert_eq!((before, books.news), (&books.closing, false), "seed {seed}"),
                None => closings.push(books.closing.clone()),
            }
            seals.extend(kept(books.seal(&DATABASE)));
        }
        check(&*engine, &seals).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        for closing in &closings {
            let listed = periods::corrections(&*engine, closing.month, Seq(0));
            let listed: Vec<Seq> = listed.map(Result::unwrap).collect();
            assert_eq!(listed, by_hand(&*engine, closing), "seed {seed}, {}", closing.month);
            corrected += listed.len();
        }
        closed += closings.len();
    }
    assert!(closed > 40 && corrected > 100 && cuts > 100, "{closed}, {corrected}, {cuts}");
}
