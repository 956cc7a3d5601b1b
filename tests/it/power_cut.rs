//! The power goes: whatever the devices had of what was never synced, all that was acknowledged is there, and verifies.
//! kill -9 cannot show it, since the page cache survives it. So a daemon's writes are traced, and disks are made as a power cut may
//! leave them at moments of that trace: with everything that a sync covered, and of all else some pages and not others.

use crate::support::client::order_path;
use crate::support::{Bank, Client, Daemon, SELLER_TOKEN, Setup, run, skipped, strace, tracer, wait_for};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::process::Command;

/// `RAZAO_CUTS=1000` tries more.
const CUTS: usize = 60;
/// Enough for the journal's windows to take turns several times.
const ROUNDS: usize = 45;
/// What a device writes whole.
const PAGE: usize = 4096;

/// What was done to a file, and the lines of the trace where it began and where it was done.
struct Step {
    file: usize,
    start: usize,
    end: usize,
    what: What,
}

enum What {
    Write { offset: usize, data: Vec<u8> },
    Truncate(usize),
    Sync,
}

/// What a client was told, when its answer was sent.
struct Told {
    line: usize,
    receipt: u64,
    seq: u64,
}

/// A name that a file got.
struct Named {
    line: usize,
    file: usize,
    path: String,
    before: Option<String>,
}

#[derive(Default)]
struct Trace {
    steps: Vec<Step>,
    names: Vec<Named>,
    told: Vec<Told>,
    lines: usize,
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut() {
    let Some(trace) = traced(&[]).await else { return };
    let lost = cut(&trace, 7);
    assert!(lost.is_empty(), "{} of {} disks: {:#?}", lost.len(), cuts(), &lost[..lost.len().min(5)]);
}

#[tokio::test]
async fn a_daemon_that_does_not_sync_loses_something() {
    if !cfg!(debug_assertions) {
        return skipped("release builds know no deliberate faults");
    }
    let Some(trace) = traced(&[("RAZAO_FAULT", "no-sync")]).await else { return };
    assert!(!cut(&trace, 7).is_empty(), "the fault was not noticed: this check proves nothing");
}

fn cuts() -> usize {
    std::env::var("RAZAO_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS)
}

/// The trace of a daemon that took callbacks of several sizes and registrations, many at once.
async fn traced(env: &[(&str, &str)]) -> Option<Trace> {
    let strace = strace()?;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let bank = Bank::open();
    let mut setup = env.iter().fold(Setup::new(&bank), |setup, (key, value)| setup.env(key, value));
    let calls = "trace=openat,pwrite64,write,writev,sendto,sendmsg,fsync,fdatasync,ftruncate,rename";
    setup.wrapper = tracer(&strace, &["-yy", "-ttt", "-s", "2000000", "-e", calls], &file);
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    for round in 0..ROUNDS {
        join_all((0..16).map(|n| knock(&client, &bank, round, n))).await;
    }
    let (pid, data) = (daemon.pid().to_string(), daemon.data());
    daemon.stop();
    let text = wait_for(crate::support::PATIENCE, "the end of the trace", || {
        let text = String::from_utf8_lossy(&fs::read(&file).ok()?).into_owned();
        let ended = |line: &str| line.split(' ').next() == Some(&pid) && line.contains("+++ exited");
        text.lines().rev().take(50).any(ended).then_some(text)
    });
    Some(Trace::of(&text, data.to_str().unwrap()))
}

async fn knock(client: &Client, bank: &Bank, round: usize, n: usize) {
    let reference = format!("PED-{round}-{n}");
    if n == 0 {
        let order = json!({"amount": "10.00", "currency": "BRL", "metadata": {"note": "x".repeat(300)}});
        client.put(&order_path(&reference), &order).await.is(201);
        return;
    }
    bank.says(&reference, "paid", "10", "0");
    // Two large ones beside each other are more than sled has within its file, if they come to it whole.
    let padding = match n {
        1 | 2 if round.is_multiple_of(5) => 200_000,
        n if n.is_multiple_of(3) => 20_000,
        _ => 50,
    };
    let body = json!({"referenceId": reference, "x": "x".repeat(padding)}).to_string().into_bytes();
    client.send(client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, body)).await.is(200);
}

impl Trace {
    /// `PID TIME call(…) = result`, and calls that were interrupted in two lines; of the files below `data`.
    fn of(text: &str, data: &str) -> Trace {
        let mut trace = Trace { lines: text.lines().count(), ..Trace::default() };
        let mut files: HashMap<String, usize> = HashMap::new();
        let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
        for (line, text) in text.lines().enumerate() {
            let Some((pid, rest)) = text.split_once(' ') else { continue };
            let Some((_time, rest)) = rest.trim_start().split_once(' ') else { continue };
            if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
                unfinished.insert(pid, (line, begun));
            } else if rest.starts_with("<... ") {
                let Some((start, begun)) = unfinished.remove(pid) else { continue };
                let Some((_, end)) = rest.split_once(" resumed>") else { continue };
                trace.note(start, line, &format!("{begun}{end}"), data, &mut files);
            } else {
                trace.note(line, line, rest, data, &mut files);
            }
        }
        trace
    }

    fn note(&mut self, start: usize, end: usize, text: &str, data: &str, files: &mut HashMap<String, usize>) {
        let Some((name, arguments)) = text.split_once('(') else { return };
        let Some((arguments, result)) = arguments.rsplit_once(" = ") else { return };
        if result.trim_start().starts_with(['-', '?']) {
            return;
        }
        let below = |path: &str| path.strip_prefix(data).map(|path| path.trim_start_matches('/').to_owned());
        let mut file_of = |trace: &mut Trace, path: String| {
            *files.entry(path.clone()).or_insert_with(|| {
                let file = trace.names.len();
                trace.names.push(Named { line: end, file, path, before: None });
                file
            })
        };
        // The path behind a descriptor: `9</data/db/db>`.
        let path = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
        let strings = quoted(arguments);
        match name {
            "openat" => {
                let opened = result.split_once('<').and_then(|(_, path)| path.split_once('>'));
                let Some(path) = opened.and_then(|(path, _)| below(path)) else { return };
                if arguments.contains("O_DIRECTORY") || !arguments.contains("O_CREAT") {
                    return;
                }
                file_of(self, path);
            }
            "rename" => {
                let [from, to] = strings.as_slice() else { return };
                let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).ok();
                let (Some(from), Some(to)) = (text(from), text(to)) else { return };
                let (Some(from), Some(to)) = (below(&from), below(&to)) else { return };
                let file = file_of(self, from.clone());
                files.remove(&from);
                files.insert(to.clone(), file);
                self.names.push(Named { line: end, file, path: to, before: Some(from) });
            }
            "pwrite64" | "write" | "ftruncate" | "fsync" | "fdatasync" => {
                let Some(path) = path.and_then(below) else {
                    return self.tell(start, &strings);
                };
                if path.is_empty() || path == "db" && name == "fsync" {
                    return;
                }
                let file = file_of(self, path);
                let number = |text: &str| text.trim_end_matches(')').trim().parse::<usize>().ok();
                let last = arguments.rsplit(',').next().and_then(number);
                let what = match (name, strings.into_iter().next()) {
                    ("pwrite64", Some(data)) => What::Write { offset: last.unwrap(), data },
                    // Files that are written in order are written anew.
                    ("write", Some(data)) => What::Write { offset: self.length(file), data },
                    ("ftruncate", _) => What::Truncate(last.unwrap()),
                    _ => What::Sync,
                };
                self.steps.push(Step { file, start, end, what });
            }
            _ => self.tell(start, &strings),
        }
    }

    fn length(&self, file: usize) -> usize {
        let writes = self.steps.iter().filter(|step| step.file == file);
        let ends = writes.map(|step| match &step.what {
            What::Write { offset, data } => offset + data.len(),
            What::Truncate(_) | What::Sync => 0,
        });
        ends.max().unwrap_or(0)
    }

    /// An answer on its way to a client: from here on it counts.
    fn tell(&mut self, line: usize, strings: &[Vec<u8>]) {
        let text = strings.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect::<String>();
        if !text.starts_with("HTTP/1.1 200") && !text.starts_with("HTTP/1.1 201") {
            return;
        }
        let number = |before: &str| {
            let rest = text.split_once(before)?.1;
            let digits = rest.find(|other: char| !other.is_ascii_digit()).unwrap_or(rest.len());
            rest[..digits].parse::<u64>().ok()
        };
        let (receipt, seq) = (number("\"receipt\":\"rc_"), number("\"seq\":"));
        if receipt.is_some() || seq.is_some() {
            self.told.push(Told { line, receipt: receipt.unwrap_or_default(), seq: seq.unwrap_or_default() });
        }
    }

    /// The files as a power cut at this line may leave them.
    fn disk(&self, line: usize, dice: &mut Dice) -> HashMap<String, Vec<u8>> {
        // Nothing of what was not synced, all of it, or some pages.
        let mood = dice.below(4);
        let mut contents: HashMap<usize, Vec<u8>> = HashMap::new();
        let mut synced: HashMap<usize, usize> = HashMap::new();
        let begun = |step: &&Step| step.start <= line;
        for step in self.steps.iter().filter(begun).filter(|step| step.end <= line) {
            if matches!(step.what, What::Sync) {
                let since = synced.entry(step.file).or_default();
                *since = (*since).max(step.start);
            }
        }
        for step in self.steps.iter().filter(begun) {
            let durable = synced.get(&step.file).is_some_and(|since| step.end < *since);
            let mut stays = || durable || mood == 0 || (mood > 1 && dice.below(2) == 0);
            let content = contents.entry(step.file).or_default();
            match &step.what {
                What::Sync => {}
                What::Truncate(length) if stays() => content.resize(*length, 0),
                What::Truncate(_) => {}
                What::Write { offset, data } => {
                    let mut from = 0;
                    while from < data.len() {
                        let to = data.len().min(from + PAGE - (offset + from) % PAGE);
                        if stays() {
                            let end = content.len().max(offset + to);
                            content.resize(end, 0);
                            content[offset + from..offset + to].copy_from_slice(&data[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        let mut disk = HashMap::new();
        for named in self.names.iter().filter(|named| named.line <= line) {
            if let Some(before) = &named.before {
                disk.remove(before);
            }
            disk.insert(named.path.clone(), contents.get(&named.file).cloned().unwrap_or_default());
        }
        disk
    }
}

/// Every string of a call, as the bytes that strace shows with escapes.
fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    let mut strings = Vec::new();
    let mut bytes = arguments.bytes().peekable();
    while bytes.by_ref().any(|byte| byte == b'"') {
        let mut string = Vec::new();
        while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
            if byte != b'\\' {
                string.push(byte);
                continue;
            }
            let escaped = bytes.next().unwrap();
            string.push(match escaped {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'v' => 0x0B,
                b'f' => 0x0C,
                b'0'..=b'7' => {
                    let mut value = u32::from(escaped - b'0');
                    for _ in 0..2 {
                        let Some(digit) = bytes.next_if(|next| (b'0'..=b'7').contains(next)) else { break };
                        value = value * 8 + u32::from(digit - b'0');
                    }
                    u8::try_from(value).unwrap()
                }
                other => other,
            });
        }
        strings.push(string);
    }
    strings
}

/// Cuts the power at moments after the first answer; what is missing or damaged afterwards.
fn cut(trace: &Trace, seed: u64) -> Vec<String> {
    let windows = |name: &str| trace.names.iter().find(|named| named.path == name).map(|named| named.file);
    let turned = windows("db/journal.1").is_some_and(|file| trace.length(file) > 400_000);
    assert!(turned, "the journal's second file was hardly used: this check proves little");
    assert!(trace.told.len() >= ROUNDS * 16, "{} answers were seen in the trace", trace.told.len());
    let first = trace.told.iter().map(|told| told.line).min().unwrap();
    let mut dice = Dice(seed);
    let mut lost = Vec::new();
    for _ in 0..cuts() {
        let line = first + dice.below(trace.lines - first);
        let disk = trace.disk(line, &mut dice);
        let told = trace.told.iter().filter(|told| told.line <= line);
        let most = told.fold((0, 0), |most, told| (most.0.max(told.receipt), most.1.max(told.seq)));
        if let Err(what) = look(&disk, most) {
            lost.push(format!("power cut at line {line}: {what}"));
        }
    }
    lost
}

/// Verifies a disk, which must know so many receipts and entries: their numbers have no gaps.
fn look(disk: &HashMap<String, Vec<u8>>, (receipts, seq): (u64, u64)) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in disk {
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_razao"));
    command.current_dir(dir.path()).args(["verify", "--data"]).arg(dir.path());
    let output = run(&mut command);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let number = |unit: &str| {
        let before = said.split_once(unit).map(|(before, _)| before.trim_end());
        before.and_then(|before| before.rsplit(' ').next()).and_then(|digits| digits.parse::<u64>().ok())
    };
    let found = (number("receipts").unwrap(), number("entries").unwrap());
    if found.0 < receipts || found.1 < seq {
        return Err(format!("{receipts} receipts and {seq} entries were acknowledged, {found:?} are there"));
    }
    Ok(())
}

#[test]
fn the_images_themselves() {
    let lines = [
        r#"10 1.0 openat(AT_FDCWD</x>, "/x/data/db/db", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 9</x/data/db/db>"#,
        r#"10 1.1 pwrite64(9</x/data/db/db>, "ab\0\1\"\n\303", 7, 0) = 7"#,
        "11 1.2 fdatasync(9</x/data/db/db> <unfinished ...>",
        r#"10 1.3 pwrite64(9</x/data/db/db>, "zz", 2, 1) = 2"#,
        "11 1.4 <... fdatasync resumed>) = 0",
        r#"10 1.5 sendto(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, "HTTP/1.1 200 OK\r\n\r\n{\"receipt\":\"rc_00000000000000000012\"}", 60, 0, NULL, 0) = 60"#,
        r#"10 1.6 rename("/x/data/db/db", "/x/data/db/other") = 0"#,
    ];
    let trace = Trace::of(&lines.join("\n"), "/x/data");
    let mut dice = Dice(1);
    let mut at = |line: usize| -> Vec<Vec<u8>> {
        let mut found: Vec<_> =
            (0..40).map(|_| trace.disk(line, &mut dice).remove("db/db").unwrap_or_default()).collect();
        found.sort();
        found.dedup();
        found
    };
    let (whole, overwritten) = (b"ab\0\x01\"\n\xC3".to_vec(), b"azz\x01\"\n\xC3".to_vec());
    assert_eq!(at(2), [Vec::new(), whole.clone()], "the sync is not done");
    assert_eq!(at(4), [whole.clone(), overwritten.clone()], "what came after its beginning may be lost");
    assert_eq!(at(6), [Vec::<u8>::new()], "it has another name");
    assert!(trace.disk(6, &mut Dice(1)).contains_key("db/other"));
    assert_eq!(trace.told.iter().map(|told| (told.line, told.receipt)).collect::<Vec<_>>(), [(5, 12)]);
}
