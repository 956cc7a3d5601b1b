//! Exports of random ledgers: hledger and beancount take them, and their balances are the ledger's, to the cent; tables add
//! up to the same; lines of JSON chain. Whatever a reference holds, no format breaks. The same range gives the same bytes, and
//! no more than a page is held.

use crate::as_of;
use crate::books::{Ledger, cents, newborn};
use crate::fold::dice::Dice;
use crate::journals::{self, Balances};
use proptest::prelude::*;
use razao::daemon;
use razao::domain::balance::Sides;
use razao::domain::chain;
use razao::domain::chart::{Chart, Name};
use razao::domain::entry::{Entry, Kind};
use razao::domain::evidence::{Amount, Origin, Source};
use razao::domain::ids::{AccountId, Reference, Seq};
use razao::domain::money::Currency;
use razao::domain::posting::{LedgerAccount, Posting, Purpose};
use razao::domain::time::{OffsetTime, Time};
use razao::export::{Custom, Ends, Export, Format, Wanted};
use razao::ledger::books::{Books, Group};
use razao::ledger::command::Command;
use razao::ledger::range::{Edge, Range};
use razao::ledger::reader::Reader;
use razao::store::engine::{Batch, Engine};
use razao::store::entries::{self, StoredEntry};
use razao::store::running::Running;
use razao::store::{balances, meta};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ZONE: &str = "America/Sao_Paulo";

/// A step of the clock: some hours, so that ledgers stretch over weeks.
const STEP: i64 = 7_200_000_000;

/// A random command of [`as_of`], in currencies of all scales, with fees and references that hold anything.
fn command(dice: &mut Dice, references: &[Reference]) -> Command {
    let mut command = as_of::command(dice, as_of::ORDERS);
    if let Command::Record(record) = &mut command {
        let code = match record.terms.account.as_str() {
            "loja0" => "KWD",
            "l" => "CLP",
            _ => "BRL",
        };
        record.terms.currency = Currency::parse(code).unwrap();
        for news in &mut record.news {
            if dice.happens(500) {
                news.piece.fee = Amount::Known(cents(i64::try_from(dice.between(1, 400)).unwrap()));
            }
            if !references.is_empty() {
                news.reference = references[dice.below(references.len())].clone();
                news.provider_ref = None;
            }
        }
    }
    command
}

fn fill(engine: &dyn Engine, books: &mut Books, seed: u64, entries: u64, references: &[Reference]) {
    let mut dice = Dice(seed);
    let mut now = Time(1_790_000_000_000_000);
    while books.meta.seq.0 < entries {
        now = Time(now.0 + STEP * i64::try_from(dice.below(20)).unwrap());
        let mut group = Group::new(engine, books, now);
        for _ in 0..=dice.below(5) {
            drop(group.execute(command(&mut dice, references)).unwrap());
        }
        engine.apply(&group.finish().unwrap()).unwrap();
    }
    engine.sync().unwrap();
}

/// Money that left for the bank, as an entry that no order has.
fn pay_out(engine: &dyn Engine, books: &mut Books) {
    let account = AccountId::parse("loja").unwrap();
    let of = |purpose| LedgerAccount { account: account.clone(), purpose };
    let posting = |purpose, minor| Posting { ledger_account: of(purpose), amount: cents(minor) };
    let now = Time(1_890_000_000_000_000);
    let mut entry = Entry {
        seq: books.meta.seq.next(),
        recorded_at: now,
        occurred_at: OffsetTime::parse("2029-11-20T22:30:00-03:00").unwrap(),
        account: account.clone(),
        order: None,
        kind: Kind::Payout,
        from: None,
        to: None,
        amount: Some(cents(12_345)),
        currency: Currency::BRL,
        postings: vec![posting(Purpose::Available, -12_345), posting(Purpose::Bank, 12_345)],
        origin: Origin {
            source: Source::Operator,
            receipt: None,
            actor: Some("ana; =1+1, \"x\"".into()),
            reason_hash: None,
        },
        as_of: now,
        discrepancy: None,
        provider_status: None,
        details: vec![("reference".to_owned(), "TED, \"7\"; \\ = x\ny".to_owned())],
        prev_hash: books.meta.hash,
        hash: books.meta.hash,
    };
    entry.hash = chain::hash(&entry).unwrap();
    let (mut running, mut batch) = (Running::default(), Batch::default());
    books.balances.post(&entry);
    for posting in &entry.postings {
        let key = (posting.ledger_account.clone(), Currency::BRL);
        let sides: Sides = books.balances.0[&key];
        running.set(engine, &key.0, key.1, entry.seq, sides).unwrap();
        balances::put(&mut batch, &key.0, key.1, &sides).unwrap();
    }
    running.write(&mut batch).unwrap();
    books.meta.seq = entry.seq;
    books.meta.hash = entry.hash;
    meta::put(&mut batch, &books.meta).unwrap();
    entries::put(&mut batch, &StoredEntry { entry, order: None, previous: None }).unwrap();
    engine.apply(&batch).unwrap();
    engine.sync().unwrap();
}

/// A random ledger with a payout at its end.
fn ledger(seed: u64, entries: u64, references: &[Reference]) -> Ledger {
    let engine = newborn();
    let mut books = Books::load(&*engine).unwrap().unwrap();
    fill(&*engine, &mut books, seed, entries, references);
    pay_out(&*engine, &mut books);
    Ledger::start(engine)
}

fn zone() -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::get(ZONE).unwrap()
}

/// Two ledger accounts of different merchants under one name, and names that no beancount account may have.
fn chart() -> Chart {
    let mut chart = Chart::default();
    for (ledger_account, name) in [
        ("income:loja:sales", "3.1.01 Receita de vendas"),
        ("income:loja-b:sales", "3.1.01 Receita de vendas"),
        ("income:loja:refunds", "3.2 Devoluções (líquidas) & \"mais\""),
        ("assets:bank:loja", "1.1:Itaú - c/c 0001-2"),
        ("expenses:l:fees", "Liabilities:Taxas"),
    ] {
        chart.call(LedgerAccount::parse(ledger_account).unwrap(), Name::parse(name).unwrap()).unwrap();
    }
    chart
}

fn custom(chart: &Chart) -> Custom {
    Custom { chart: Arc::new(chart.clone()), zone: zone() }
}

fn bytes(reader: &Reader, chart: &Chart, wanted: Wanted) -> Vec<u8> {
    let export = Export::new(reader.clone(), custom(chart), wanted).unwrap();
    export.flat_map(Result::unwrap).collect()
}

fn whole(reader: &Reader, format: Format) -> Wanted {
    Wanted { format, range: reader.range(None, None).unwrap(), accounts: None, ends: None }
}

/// The ledger's own balances by what a journal calls them, zero ones left out.
fn expected(reader: &Reader, seq: Seq, name: impl Fn(&LedgerAccount) -> String) -> Balances {
    let mut sums: BTreeMap<(String, Currency), i128> = BTreeMap::new();
    for ((ledger_account, currency), sides) in &reader.balances_as_of(seq).unwrap().0 {
        *sums.entry((name(ledger_account), *currency)).or_default() += sides.balance().0;
    }
    sums.retain(|_, sum| *sum != 0);
    let shown = |((name, currency), sum): ((String, Currency), i128)| {
        let total = razao::domain::money::Total(sum);
        ((name, currency.code().to_owned()), total.show(currency))
    };
    sums.into_iter().map(shown).collect()
}

fn agree(reader: &Reader, chart: &Chart) {
    let head = reader.head();
    if let Some(found) = journals::hledger(&bytes(reader, chart, whole(reader, Format::Hledger))) {
        assert_eq!(found, expected(reader, head, |ledger_account| chart.name(ledger_account)));
    }
    if let Some(found) = journals::beancount(&bytes(reader, chart, whole(reader, Format::Beancount))) {
        assert_eq!(found, expected(reader, head, |ledger_account| chart.components(ledger_account)));
    }
}

/// Rows of a table by their columns' names.
fn table(text: &str, separator: u8) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let row = |row: csv::StringRecord| {
        columns.iter().map(str::to_owned).zip(row.iter().map(str::to_owned)).collect()
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

#[test]
fn journals_of_random_ledgers_have_the_ledgers_balances() {
    for seed in [11, 12, 13] {
        let ledger = ledger(seed, 700, &[]);
        agree(&ledger.reader, &Chart::default());
        agree(&ledger.reader, &chart());
        ledger.stop();
    }
}

#[test]
fn tables_add_up_to_the_ledgers_balances() {
    let ledger = ledger(14, 1_500, &[]);
    let reader = &ledger.reader;
    let text = |format| String::from_utf8(bytes(reader, &chart(), whole(reader, format))).unwrap();
    let plain = table(&text(Format::Csv), b',');
    let mut sums: BTreeMap<(String, String), i128> = BTreeMap::new();
    let mut seqs = BTreeSet::new();
    for row in &plain {
        seqs.insert(row["seq"].parse::<u64>().unwrap());
        if row["ledger_account"].is_empty() {
            assert!(row["amount"].is_empty() && row["own_ledger_account"].is_empty());
            continue;
        }
        let minor: i128 = row["amount"].replace('.', "").parse().unwrap();
        *sums.entry((row["ledger_account"].clone(), row["currency"].clone())).or_default() += minor;
    }
    assert_eq!(seqs, (1..=reader.head().0).collect(), "every entry has a row");
    let mut found = Balances::new();
    for ((name, code), sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
        let shown = razao::domain::money::Total(sum).show(Currency::parse(&code).unwrap());
        found.insert((name, code), shown);
    }
    assert_eq!(found, expected(reader, reader.head(), |ledger_account| chart().name(ledger_account)));
    assert!(plain.iter().any(|row| row["ledger_account"] == "3.1.01 Receita de vendas"
        && row["own_ledger_account"] == "income:loja-b:sales"));
    let brazilian = text(Format::CsvBr);
    assert!(brazilian.starts_with("\u{feff}seq;recorded_at;"), "{:.60}", brazilian);
    for (row, other) in plain.iter().zip(table(brazilian.trim_start_matches('\u{feff}'), b';')) {
        for (column, value) in row {
            let decimal = ["amount", "entry_amount"].contains(&column.as_str());
            let expected = if decimal { value.replace('.', ",") } else { value.clone() };
            assert_eq!(other[column], expected, "{column}");
        }
    }
    ledger.stop();
}

#[test]
fn lines_of_json_chain_from_the_first_to_the_head() {
    let ledger = ledger(15, 800, &[]);
    let text =
        String::from_utf8(bytes(&ledger.reader, &chart(), whole(&ledger.reader, Format::Ndjson))).unwrap();
    let mut head = blake3::hash(b"razao ledger v1");
    let mut seq = 0;
    for line in text.lines() {
        let mut entry: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let told = |value: Option<serde_json::Value>| value.unwrap().as_str().unwrap().to_owned();
        let (hash, prev) = (told(entry.remove("hash")), told(entry.remove("prev_hash")));
        assert_eq!(prev, head.to_hex().to_string());
        let canonical = serde_json_canonicalizer::to_string(&entry).unwrap();
        head = blake3::Hasher::new().update(head.as_bytes()).update(canonical.as_bytes()).finalize();
        assert_eq!(hash, head.to_hex().to_string());
        seq += 1;
        assert_eq!(entry["seq"], seq);
    }
    let published = ledger.reader.published();
    assert_eq!((seq, head.to_hex().to_string()), (published.seq.0, published.hash.to_hex()));
    ledger.stop();
}

/// Months as an accountant takes them, one after the other: together they are the whole; each alone passes the checks.
#[test]
fn months_fit_together_and_each_stands_alone() {
    let ledger = ledger(16, 900, &[]);
    let (reader, chart) = (&ledger.reader, chart());
    let first = reader.entry(Seq(1)).unwrap().unwrap().entry.recorded_at;
    let last = reader.entry(Seq(reader.head().0 - 1)).unwrap().unwrap().entry.recorded_at;
    let month = |time: Time| time.date(&zone()).first_of_month();
    let mut edges = vec![month(first)];
    while edges[edges.len() - 1] <= month(last) {
        let next = edges[edges.len() - 1].saturating_add(jiff::Span::new().months(1));
        edges.push(next);
    }
    assert!(edges.len() > 4, "the ledger spans only {edges:?}");
    let months: Vec<Range> = edges
        .windows(2)
        .map(|pair| {
            let edge = |date: jiff::civil::Date| Edge::parse(&date.to_string(), &zone()).unwrap();
            reader.range(Some(edge(pair[0])), Some(edge(pair[1]))).unwrap()
        })
        .collect();
    for format in [Format::Hledger, Format::Beancount] {
        let read = |text: &[u8]| match format {
            Format::Hledger => journals::hledger(text),
            _ => journals::beancount(text),
        };
        let named = |seq: Seq| {
            expected(reader, seq, |ledger_account| match format {
                Format::Hledger => chart.name(ledger_account),
                _ => chart.components(ledger_account),
            })
        };
        let text = |range: Range, ends| bytes(reader, &chart, Wanted { format, range, accounts: None, ends });
        let end = months[months.len() - 1].to;
        for ends in [None, Some(Ends::Comment), Some(Ends::Assert)] {
            let all: Vec<u8> = months.iter().flat_map(|month| text(*month, ends)).collect();
            if let Some(found) = read(&all) {
                assert_eq!(found, named(end), "{format:?} {ends:?}");
            }
        }
        for month in &months {
            drop(read(&text(*month, None)));
            // Standing alone it closes with everything that was held at its end.
            if let Some(mut found) = read(&text(*month, Some(Ends::Open))) {
                found.retain(|(name, _), _| !name.to_lowercase().starts_with("equity"));
                assert_eq!(found, named(month.to), "{format:?} {month:?}");
            }
        }
        // Without the month before it, what it asserts is missed.
        let lonely = text(months[2], Some(Ends::Assert));
        assert!(!passes(format, &lonely), "{format:?}");
    }
    ledger.stop();
}

/// Whether a journal passes its program's checks; where the program is not there, nothing does.
fn passes(format: Format, journal: &[u8]) -> bool {
    let checked = match format {
        Format::Hledger => journals::ask("hledger", &["check", "--strict"], journal),
        _ => journals::ask("bean-check", &[], journal),
    };
    checked.is_some_and(|output| output.status.success())
}

/// An assertion that is a cent off fails, in both.
#[test]
fn a_cent_too_much_is_noticed() {
    let ledger = ledger(17, 60, &[]);
    let off = |format, from: &str| {
        let text = String::from_utf8(bytes(&ledger.reader, &Chart::default(), whole(&ledger.reader, format)))
            .unwrap();
        let at = text.rfind(from).unwrap_or_else(|| panic!("no {from:?} in {text}"));
        let (head, tail) = text.split_at(at);
        format!("{head}{}", tail.replacen("123.45", "123.46", 1)).into_bytes()
    };
    assert!(!passes(Format::Hledger, &off(Format::Hledger, "assets:bank:loja")));
    assert!(!passes(Format::Beancount, &off(Format::Beancount, "balance Assets:Bank:Loja")));
    ledger.stop();
}

#[test]
fn one_accounts_export_holds_its_entries_alone() {
    let ledger = ledger(18, 600, &[]);
    let reader = &ledger.reader;
    let account = AccountId::parse("loja-b").unwrap();
    let of = |format| Wanted { accounts: Some([account.clone()].into()), ..whole(reader, format) };
    let text = String::from_utf8(bytes(reader, &Chart::default(), of(Format::Csv))).unwrap();
    let rows = table(&text, b',');
    assert!(!rows.is_empty() && rows.iter().all(|row| row["account"] == "loja-b"));
    if let Some(found) = journals::hledger(&bytes(reader, &Chart::default(), of(Format::Hledger))) {
        let mut own = expected(reader, reader.head(), |ledger_account| ledger_account.to_string());
        own.retain(|(name, _), _| name.contains(":loja-b:"));
        assert_eq!(found, own);
    }
    let nobody = Wanted { accounts: Some(BTreeSet::new()), ..whole(reader, Format::Csv) };
    assert_eq!(bytes(reader, &Chart::default(), nobody).iter().filter(|byte| **byte == b'\n').count(), 1);
    ledger.stop();
}

/// What is held at a time does not grow with the ledger, and neither does what follows the range change a byte of it.
#[test]
fn the_same_range_is_the_same_bytes_in_pieces_of_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut books) = daemon::open(dir.path()).unwrap();
    fill(&*engine, &mut books, 19, 1_600, &[]);
    let short = Ledger::start(Arc::clone(&engine));
    let until = short.reader.head();
    let range = short.reader.range(None, None).unwrap();
    let taken = |reader: &Reader, format| -> Vec<Vec<u8>> {
        let wanted = Wanted { format, range, accounts: None, ends: None };
        Export::new(reader.clone(), custom(&chart()), wanted).unwrap().map(Result::unwrap).collect()
    };
    let before: Vec<_> = Format::ALL.iter().map(|format| taken(&short.reader, *format)).collect();
    short.stop();
    let mut books = Books::load(&*engine).unwrap().unwrap();
    fill(&*engine, &mut books, 20, 2_400, &[]);
    let long = Ledger::start(engine);
    assert!(long.reader.head() > until);
    for (format, before) in Format::ALL.iter().zip(before) {
        let now = taken(&long.reader, *format);
        assert!(now == before, "{format:?}: other bytes of the same range");
        // A beginning, a page of 500 entries each, an end.
        assert_eq!(u64::try_from(now.len()).unwrap(), 2 + until.0.div_ceil(500));
        assert!(now.iter().all(|chunk| chunk.len() < 1_500_000), "{format:?}: a chunk is large");
    }
    long.stop();
}

/// What people, providers and attackers put into references.
const HOSTILE: [&str; 34] = [
    "=HYPERLINK(\"http://x\";\"y\")",
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd",
    "＝1+1",
    "'=1",
    "''",
    "a;b",
    "a,b",
    "a|b",
    "a  b",
    " a ",
    "\"",
    "\"\"\"",
    "\\",
    "\\\"",
    "a\\",
    "; comment",
    "date:2020-01-01",
    "[2020-01-01]",
    "2020-01-01 * x",
    "(x) ! y",
    "a:b, date:2020-01-01, c:",
    "#tag ^link",
    "* {x} @ 1 = 2",
    "PED%2F1/..",
    "\u{2028}x\u{2029}",
    "\u{feff}x",
    "\u{a0}\u{3000}",
    "\u{202e}abc",
    "é́ç ñ 日本 ☃ 👩‍👩‍👧",
    "<script>&amp;",
    "{\"a\":[1]}",
    "~`!@#$%^&*()_+-={}[]|:<>?,./",
];

fn references(texts: &[&str]) -> Vec<Reference> {
    texts.iter().map(|text| Reference::parse(text).unwrap()).collect()
}

/// Each reference comes back from every format as it went in; of the journals their programs say so.
fn come_back(reader: &Reader, expected: &BTreeSet<String>) {
    let text = |format| String::from_utf8(bytes(reader, &Chart::default(), whole(reader, format))).unwrap();
    for (format, separator) in [(Format::Csv, b','), (Format::CsvBr, b';')] {
        let mut found = BTreeSet::new();
        for row in table(text(format).trim_start_matches('\u{feff}'), separator) {
            let cell = &row["order"];
            assert!(!cell.starts_with(['=', '+', '-', '@', '＝']), "{cell} is a formula");
            found.insert(cell.strip_prefix('\'').unwrap_or(cell).to_owned());
            let number = row["amount"].replace(',', ".");
            assert!(number.chars().all(|c| c.is_ascii_digit() || "-.".contains(c)), "{number}");
        }
        found.remove("");
        assert_eq!(&found, expected, "{format:?}");
    }
    let line = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    let orders = text(Format::Ndjson).split_terminator('\n').map(line).collect::<Vec<_>>();
    let orders = orders.iter().filter_map(|entry| entry["order"].as_str()).map(str::to_owned).collect();
    assert_eq!(expected, &orders);
    agree(reader, &Chart::default());
    let wanted = ["tags", "--values", "^order$"];
    if let Some(tags) = journals::ask("hledger", &wanted, text(Format::Hledger).as_bytes()) {
        let plain = |tag: &str| percent_encoding::percent_decode_str(tag).decode_utf8().unwrap().into_owned();
        assert_eq!(expected, &journals::passed(tags).lines().map(plain).collect());
    }
    let wanted = ["select id, any_meta('order')"];
    if let Some(rows) = journals::ask("bean-query", &wanted, text(Format::Beancount).as_bytes()) {
        let trimmed = |text: &String| text.trim().to_owned();
        let rows = journals::rows(&journals::passed(rows));
        let found: BTreeSet<String> =
            rows.iter().map(|row| trimmed(&row[1])).filter(|order| !order.is_empty()).collect();
        // bean-query asks postings.
        let moved = held(reader, |entry| !entry.postings.is_empty());
        let expected = moved.iter().map(trimmed).filter(|order| !order.is_empty()).collect();
        assert_eq!(found, expected);
    }
}

/// The references that a ledger holds; of those `wanted` wants.
fn held(reader: &Reader, wanted: impl Fn(&Entry) -> bool) -> BTreeSet<String> {
    let (entries, _) = reader.entries(Seq(1), 100_000, 100_000, |stored| wanted(&stored.entry)).unwrap();
    entries.iter().filter_map(|stored| stored.entry.order.as_ref()).map(|order| order.to_string()).collect()
}

#[test]
fn hostile_references_come_back_from_every_format() {
    let ledger = ledger(21, 1_200, &references(&HOSTILE));
    let held = held(&ledger.reader, |_| true);
    assert_eq!(
        held,
        HOSTILE.iter().map(|text| (*text).to_owned()).collect(),
        "not every reference was drawn"
    );
    come_back(&ledger.reader, &held);
    ledger.stop();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn any_references_come_back_from_every_format(
        texts in prop::collection::btree_set("\\PC{1,60}", 1..60),
        seed in any::<u64>(),
    ) {
        let references: Vec<Reference> = texts.iter().filter_map(|text| Reference::parse(text).ok()).collect();
        prop_assume!(!references.is_empty());
        let ledger = ledger(seed | 1, 150, &references);
        come_back(&ledger.reader, &held(&ledger.reader, |_| true));
        ledger.stop();
    }
}
