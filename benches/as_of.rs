//! Balances as of a moment at three lengths of one ledger that grows: a hundredth of `RAZAO_AS_OF_ENTRIES`, a tenth, and
//! all of it. The same look by seq and by time of recording at each, and a replay beside it. What the running balances
//! cost is measured over the first tenth: a twin gets the same batches without them, in turns, each made durable.
//! `RAZAO_AS_OF_DIR` keeps the ledger in that directory, and goes on with one that is there already.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used)]

mod support;

use razao::clock::SystemClock;
use razao::domain::balance::Balances;
use razao::domain::ids::{AccountId, Seq};
use razao::domain::time::Time;
use razao::ledger::books::Books;
use razao::ledger::command::Command;
use razao::ledger::reader::Reader;
use razao::ledger::writer::{Rim, prepare};
use razao::store::engine::{Batch, Direction, Engine, prefix};
use razao::store::journaled::Journaled;
use razao::store::keys;
use razao::store::sled::Durability;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ENTRIES: u64 = 1_000_000;
const ENTRIES_TRIED: u64 = 2_000;
const GROUP: u64 = 64;
const ENTRIES_PER_ORDER: u64 = 2;
const LOOKS: u64 = 2_000;
/// Merchant accounts, each with ledger accounts of its own: a look asks for all of them.
const ACCOUNTS: u64 = 4;

struct Grown {
    dir: PathBuf,
    _temporary: Option<TempDir>,
    engine: Arc<dyn Engine>,
    books: Books,
}

/// An engine that gets no running balances, and what each group took here and there.
struct Twin {
    dir: TempDir,
    engine: Journaled,
    with: Vec<Duration>,
    without: Vec<Duration>,
}

/// How long looks took, shortest first.
struct Looks(Vec<Duration>);

fn main() {
    let measures = std::env::args().any(|argument| argument == "--bench");
    let wanted = std::env::var("RAZAO_AS_OF_ENTRIES").ok().and_then(|text| text.parse().ok());
    let wanted: u64 = wanted.unwrap_or(if measures { ENTRIES } else { ENTRIES_TRIED });
    let looks = if measures { LOOKS } else { 10 };
    let mut grown = Grown::new();
    let mut twin = (grown.entries() == 0).then(Twin::new);
    let mut shortest = None;
    let begun_with = grown.entries();
    for entries in [wanted / 100, wanted / 10, wanted].into_iter().filter(|entries| *entries > begun_with) {
        let begun = Instant::now();
        grown.grow(entries, twin.as_mut());
        let built = begun.elapsed();
        let (bytes, peak) = (support::disk_bytes(&grown.dir), peak_memory());
        let entries = grown.entries();
        println!(
            "{entries} entries, after another {built:.0?}: {bytes} bytes on disk, {peak} of memory at most"
        );
        let looked = grown.look(looks);
        let first = shortest.get_or_insert_with(|| looked.each_ref().map(|(_, looks)| looks.mean()));
        looked.iter().zip(first).for_each(|((how, looks), first)| looks.print(how, *first));
        grown.replay();
        if entries >= wanted / 10 {
            twin.take().into_iter().for_each(|twin| twin.compare(&grown));
        }
    }
}

impl Grown {
    fn new() -> Grown {
        let kept = std::env::var_os("RAZAO_AS_OF_DIR").map(PathBuf::from);
        let temporary = kept.is_none().then(|| tempfile::tempdir().unwrap());
        let dir = kept.or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned())).unwrap();
        fs::create_dir_all(&dir).unwrap();
        let engine: Arc<dyn Engine> = Arc::new(Journaled::open(&dir, Durability::Full).unwrap());
        let books = Books::load(&*engine).unwrap().unwrap_or_else(|| support::bear(&*engine));
        Grown { dir, _temporary: temporary, engine, books }
    }

    fn entries(&self) -> u64 {
        self.books.meta.seq.0
    }

    /// Groups of paid orders until there are so many entries. Without a twin to compare with they are made durable at
    /// the end.
    fn grow(&mut self, entries: u64, mut twin: Option<&mut Twin>) {
        while self.entries() < entries {
            let next = self.entries() / ENTRIES_PER_ORDER;
            let batch = support::batch(&*self.engine, &mut self.books, (next..next + GROUP).map(paid));
            match &mut twin {
                Some(twin) => twin.write(&*self.engine, &batch),
                None => self.engine.apply(&batch).unwrap(),
            }
        }
        self.engine.checkpoint().unwrap();
    }

    fn reading(&self, read: impl FnOnce(&Reader)) {
        let rim = Rim {
            engine: Arc::clone(&self.engine),
            clock: Arc::new(SystemClock),
            free_bytes: Box::new(|| None),
            min_free_bytes: 0,
            acknowledge_before_sync: false,
        };
        read(&prepare(rim, self.books.clone()).reader);
    }

    /// Looks at moments from all over the ledger, by seq and by time in turns, each twice: the second look finds in
    /// sled's cache what the first one brought there.
    fn look(&self, looks: u64) -> [(&'static str, Looks); 4] {
        let (mut by_seq, mut by_time) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        self.reading(|reader| {
            let first = reader.entry(Seq(1)).unwrap().unwrap().entry.recorded_at.0;
            let lasted = u64::try_from(self.books.meta.recorded_at.0 - first).unwrap();
            for look in 0..looks {
                let seq = Seq(1 + scattered(2 * look, self.entries()));
                let took = by_seq.iter_mut();
                took.for_each(|took| took.push(timed(|| reader.balances_as_of(seq).unwrap())));
                let until = Time(first + i64::try_from(scattered(2 * look + 1, lasted)).unwrap());
                let took = by_time.iter_mut();
                took.for_each(|took| took.push(timed(|| as_of_time(reader, until))));
            }
        });
        let ([seq, seq_again], [time, time_again]) = (by_seq.map(Looks::new), by_time.map(Looks::new));
        [("by seq", seq), ("the same again", seq_again), ("by time", time), ("the same again", time_again)]
    }

    fn replay(&self) {
        let middle = Seq(self.entries() / 2);
        self.reading(|reader| {
            let begun = Instant::now();
            let replayed: Balances = reader.balances_replayed(middle, |_| true).unwrap();
            println!("  by replay up to the middle: {:?}", begun.elapsed());
            assert_eq!(replayed, reader.balances_as_of(middle).unwrap());
        });
    }

    /// How many running balances there are, and the bytes of their keys and values.
    fn index(&self) -> (usize, usize) {
        let (from, to) = prefix(&[keys::RUNNING]);
        let pairs = self.engine.scan(from, to, Direction::Up).map(Result::unwrap);
        pairs.fold((0, 0), |(count, bytes), (key, value)| (count + 1, bytes + key.len() + value.len()))
    }
}

impl Twin {
    fn new() -> Twin {
        let dir = tempfile::tempdir().unwrap();
        let engine = Journaled::open(dir.path(), Durability::Full).unwrap();
        Twin { dir, engine, with: Vec::new(), without: Vec::new() }
    }

    /// Whoever goes first changes with every group.
    fn write(&mut self, engine: &dyn Engine, batch: &Batch) {
        let bare = without_running(batch);
        if self.with.len().is_multiple_of(2) {
            self.with.push(durable(engine, batch));
            self.without.push(durable(&self.engine, &bare));
        } else {
            self.without.push(durable(&self.engine, &bare));
            self.with.push(durable(engine, batch));
        }
    }

    fn compare(self, grown: &Grown) {
        self.engine.checkpoint().unwrap();
        let (count, bytes) = grown.index();
        let entries = grown.entries();
        println!("  {count} pages of running balances, {bytes} bytes of keys and values");
        let (with, without) = (file_bytes(&grown.dir), file_bytes(self.dir.path()));
        let more = permille(with, without);
        println!("  sled's file: {with} bytes with them, {without} without, +{more} ‰ at {entries} entries");
        let [with, without] = [self.with, self.without].map(Looks::new);
        without.print("a durable group of 64, without", without.mean());
        with.print("a durable group of 64, with", without.mean());
    }
}

impl Looks {
    fn new(mut took: Vec<Duration>) -> Looks {
        took.sort_unstable();
        Looks(took)
    }

    fn mean(&self) -> Duration {
        self.0.iter().sum::<Duration>() / u32::try_from(self.0.len()).unwrap()
    }

    fn at(&self, percent: usize) -> Duration {
        self.0.get((self.0.len() * percent / 100).min(self.0.len() - 1)).copied().unwrap()
    }

    fn print(&self, what: &str, first: Duration) {
        let (mean, middle, slow) = (self.mean(), self.at(50), self.at(99));
        let ratio = mean.as_nanos() * 100 / first.as_nanos();
        let times = format!("{}.{:02}", ratio / 100, ratio % 100);
        println!("  {what}: mean {mean:.1?} (x {times}), p50 {middle:.1?}, p99 {slow:.1?}");
    }
}

fn as_of_time(reader: &Reader, until: Time) -> Balances {
    let last = reader.last_recorded(|at| at <= until).unwrap();
    reader.balances_as_of(last).unwrap()
}

fn paid(number: u64) -> Command {
    let Command::Record(mut record) = support::paid(number) else { unreachable!() };
    record.terms.account = AccountId::parse(&format!("loja-{}", number % ACCOUNTS)).unwrap();
    Command::Record(record)
}

fn without_running(batch: &Batch) -> Batch {
    let mut bare = Batch::default();
    for (key, value) in batch.changes().filter(|(key, _)| key.first() != Some(&keys::RUNNING)) {
        match value {
            Some(value) => bare.put(key.to_vec(), value.to_vec()),
            None => bare.delete(key.to_vec()),
        }
    }
    bare
}

fn durable(engine: &dyn Engine, batch: &Batch) -> Duration {
    timed(|| {
        engine.apply(batch).unwrap();
        engine.sync().unwrap();
    })
}

fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    black_box(run());
    begun.elapsed()
}

/// Below `end`, all over it and in no order, but the same at every run.
fn scattered(nth: u64, end: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    u64::try_from((u128::from(nth.wrapping_mul(GOLDEN)) * u128::from(end)) >> 64).unwrap()
}

fn permille(with: u64, without: u64) -> u64 {
    with.saturating_sub(without) * 1000 / without
}

fn file_bytes(dir: &Path) -> u64 {
    fs::metadata(dir.join("db").join("db")).unwrap().len()
}

/// The most memory that this process ever had, as Linux says it.
fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown", str::trim).to_owned()
}
