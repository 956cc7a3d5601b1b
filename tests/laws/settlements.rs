//! Settlement files over random ledgers: a dry run foretells, posting again adds nothing, and how a file is cut into
//! commands does not matter.

use crate::books::{Ledger, key, newborn, register, seen, terms};
use crate::fold::dice::Dice;
use jiff::tz::TimeZone;
use razao::domain::ids::{Seq, SettlementId};
use razao::domain::settlement::{Applied, FileTerms, LineResult, Numbered, What};
use razao::domain::state::Word;
use razao::domain::time::Time;
use razao::ingest::statement::{File, Form, Mapping, Reading};
use razao::ledger::command::{Command, Reply};
use razao::ledger::settlements::{NewSettlement, SettleLines, SettlementCommand};
use razao::ledger::verify::verify;
use razao::store::engine::Engine;
use std::sync::Arc;

/// Lines of a file in our columns.
pub fn lines(text: &[impl AsRef<str>]) -> Vec<Numbered> {
    let text: Vec<&str> = text.iter().map(AsRef::as_ref).collect();
    let text = format!("line_id,reference,gross,fee\n{}\n", text.join("\n"));
    let mapping = Mapping::parse(None).unwrap();
    let reading = Reading { mapping, currency: terms().currency, zone: TimeZone::UTC };
    File::read(Form::Csv, text.as_bytes(), &reading).unwrap().lines
}

/// The commands that carry a file out, all lines in one.
pub fn settle(id: u8, text: &[impl AsRef<str>]) -> Vec<Command> {
    cut(id, lines(text), usize::MAX)
}

fn cut(id: u8, lines: Vec<Numbered>, at_once: usize) -> Vec<Command> {
    let id = SettlementId([id; 16]);
    let file = FileTerms { mapping: "razao".to_owned(), assumed: false, days: None };
    let begin = NewSettlement { id, account: terms(), terms: file };
    let chunks = lines.chunks(at_once.min(lines.len().max(1)));
    let settle = chunks.map(|lines| SettleLines { id, account: terms(), lines: lines.to_vec() });
    let settle = settle.map(SettlementCommand::Settle);
    let commands = std::iter::once(SettlementCommand::Begin(begin)).chain(settle);
    let commands = commands.chain([SettlementCommand::End { id, only_here: Box::default() }]);
    commands.map(Command::Settlement).collect()
}

/// Orders in all kinds of states, some of them unregistered.
fn orders(dice: &mut Dice) -> Vec<Command> {
    let mut commands = Vec::new();
    for nth in 0..6 {
        let name = format!("PED-{nth}");
        if dice.happens(700) {
            commands.push(register(&name, 10_000));
        }
        for step in 0..dice.between(0, 3) {
            let words = [Word::Paid, Word::Completed, Word::Refunded, Word::Chargeback, Word::Expired];
            let gross = *dice.pick(&[None, Some(10_000), Some(9_000)]);
            let at = i64::try_from(1_000 + step).unwrap();
            commands.push(seen(&name, Some(*dice.pick(&words)), gross, None, at));
        }
    }
    commands
}

fn some_lines(dice: &mut Dice) -> Vec<String> {
    let line = |dice: &mut Dice| {
        let (id, order) = (dice.below(12), dice.below(7));
        let gross = *dice.pick(&["100.00", "100.00", "90.00", "110.00", "x"]);
        let fee = *dice.pick(&["1.00", "1.00", "2.00", "0.00"]);
        format!("L{id},PED-{order},{gross},{fee}")
    };
    (0..dice.between(1, 20)).map(|_| line(dice)).collect()
}

/// What came of the lines, without the entries, which a dry run does not have.
fn carried_out(ledger: &Ledger, commands: Vec<Command>) -> Vec<LineResult> {
    let mut all = Vec::new();
    for command in commands {
        if let Reply::Settled(results) = ledger.then(command) {
            all.extend(results.into_iter().map(|result| LineResult { entries: Vec::new(), ..result }));
        }
    }
    all
}

#[test]
fn a_dry_run_foretells_and_a_repeat_adds_nothing() {
    for seed in 1..=150 {
        let mut dice = Dice(seed);
        let engine = newborn();
        let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
        orders(&mut dice).into_iter().for_each(|command| drop(ledger.then(command)));
        let text = some_lines(&mut dice);
        let before = ledger.reader.published().hash;
        let now = Time(1_800_000_001_000_000);
        let foretold = ledger.reader.try_lines(&terms(), &lines(&text), now).unwrap();
        assert_eq!(ledger.reader.published().hash, before, "seed {seed}: a dry run changed something");
        let done = carried_out(&ledger, cut(1, lines(&text), 1 + dice.below(5)));
        assert_eq!(foretold, done, "seed {seed}: {text:?}");
        let head = ledger.reader.head();
        let again = carried_out(&ledger, cut(2, lines(&text), 3));
        assert_eq!(ledger.reader.head(), head, "seed {seed}: a repeat made an entry");
        for (first, second) in done.iter().zip(&again) {
            let expected = if first.applied == Applied::No { Applied::No } else { Applied::Before };
            assert_eq!((second.applied, second.finding), (expected, first.finding), "seed {seed}: {text:?}");
        }
        ledger.stop();
        verify(&*engine, &mut |_, _| {}).unwrap();
    }
}

/// What an order's oldest evidence came to is settled for ever; a line from before is listed, and never applied in silence.
#[test]
fn a_line_from_before_the_foundation_is_listed() {
    let engine = newborn();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    ledger.then(register("PED-0", 10_000));
    let day = 86_400_000_000;
    for nth in 0..300 {
        ledger.then(seen("PED-0", Some(Word::Paid), Some(10_000 + nth % 2), None, (nth + 10) * day));
    }
    let paid = ledger.reader.order(&key("PED-0")).unwrap().unwrap().gross_known.unwrap().minor();
    let gross = format!("{}.{:02}", paid / 100, paid % 100);
    let text = format!(
        "line_id,reference,gross,fee,settled_date\nL1,PED-0,{gross},1.00,1970-01-20\nL2,PED-0,{gross},1.00,1970-11-01\n"
    );
    let mapping = Mapping::parse(None).unwrap();
    let reading = Reading { mapping, currency: terms().currency, zone: TimeZone::UTC };
    let lines = File::read(Form::Csv, text.as_bytes(), &reading).unwrap().lines;
    let foretold = ledger.reader.try_lines(&terms(), &lines, Time(i64::MAX)).unwrap();
    let done = carried_out(&ledger, cut(1, lines, 1));
    assert_eq!(foretold, done);
    let reasons: Vec<Option<What>> = done.iter().map(|it| it.reason.as_ref().map(|it| it.what)).collect();
    assert_eq!(reasons, [Some(What::TooOld), None], "{done:?}");
    ledger.stop();
    verify(&*engine, &mut |_, _| {}).unwrap();
}

#[test]
fn how_a_file_is_cut_does_not_matter() {
    for seed in 1..=60 {
        let mut heads = Vec::new();
        for at_once in [1, 4, usize::MAX] {
            let mut dice = Dice(seed);
            let ledger = Ledger::start(newborn() as Arc<dyn Engine>);
            orders(&mut dice).into_iter().for_each(|command| drop(ledger.then(command)));
            let text = some_lines(&mut dice);
            let results = carried_out(&ledger, cut(1, lines(&text), at_once));
            let balances = ledger.reader.published().balances.clone();
            heads.push((results, ledger.reader.head(), balances));
            ledger.stop();
        }
        assert!(heads[0].1 > Seq(0) && heads.iter().all(|head| *head == heads[0]), "seed {seed}");
    }
}
