//! Backups: taken under load, only what is new, whole or refused, through kills; and what a restore makes of them.

use crate::support::place::{assert_one_line_error, both, copy_dir};
use crate::support::{Bank, Client, Daemon, Dice, Place, Setup, run, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

fn manifest(dir: &Path) -> Option<Value> {
    Some(serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).ok()?).unwrap())
}

fn seq(dir: &Path) -> u64 {
    manifest(dir).map_or(0, |manifest| manifest["seq_to"].as_u64().unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn backup(daemon: &Daemon, to: &Path) -> Output {
    let output = daemon.place().cli(&["backup", "--to", text(to)]);
    assert_eq!(output.status.code(), Some(0), "razao backup: {}", both(&output));
    output
}

/// `…; 12 new records, 3456 bytes, 7 ms`
fn new_bytes(output: &Output) -> u64 {
    let text = both(output);
    let words: Vec<&str> = text.split(' ').collect();
    let at = words.iter().position(|word| *word == "bytes,").unwrap_or_else(|| panic!("{text}"));
    words[at - 1].parse().unwrap()
}

fn restore(place: &Place, from: &Path, data: &Path) -> Output {
    place.cli(&["restore", "--from", text(from), "--data", text(data)])
}

fn files(dir: &Path) -> BTreeMap<String, PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), file.path())).collect()
}

/// Connections that each post callbacks and register orders as fast as they are answered.
fn load(client: &Client, connections: usize) -> Vec<JoinHandle<()>> {
    let one = |connection: usize| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let reference = format!("LOAD-{connection}-{}", n / 2);
                match n % 2 {
                    0 => drop(client.register(&reference, "10.00").await),
                    _ => drop(client.callback(&reference).await),
                }
            }
        })
    };
    (0..connections).map(one).collect()
}

/// So many orders that were paid, and nothing more to come.
async fn paid(bank: &Bank, client: &Client, orders: usize) {
    for n in 0..orders {
        bank.says(&format!("PED-{n}"), "paid", "10", "0");
        client.callback(&format!("PED-{n}")).await;
    }
    client.idle().await;
}

async fn in_background(daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = daemon.place().command(arguments);
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
}

/// `RAZAO_BACKUP_ROUNDS` sets the number of backups that continue the first one.
#[tokio::test]
async fn under_load_it_is_the_ledger_of_one_commit() {
    let rounds: u64 = std::env::var("RAZAO_BACKUP_ROUNDS")
        .map_or(2, |text| text.parse().expect("RAZAO_BACKUP_ROUNDS is a number"));
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let to = daemon.place().file("backup");
    let load = load(&client, 64);
    until("some load", async || {
        let head = client.get("/v1/ledger/head").await.ok();
        (head["seq"].as_u64().unwrap() > 200).then_some(())
    })
    .await;
    // A whole one, and others that continue it, all under load.
    let (mut last, mut new) = (0, Vec::new());
    for round in 0..=rounds {
        let before = until("news since the one before", async || {
            let head = client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap();
            (head > last).then_some(head)
        })
        .await;
        let output = in_background(&daemon, &["backup", "--to", text(&to)]).await;
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        assert!(seq(&to) >= before, "what was there before it began is in it");
        last = seq(&to);
        new.push(new_bytes(&output));
        let entry = client.get(&format!("/v1/ledger/{last}")).await.ok();
        assert_eq!(entry["hash"], manifest(&to).unwrap()["head_hash"], "round {round}");
        let verified = in_background(&daemon, &["verify", "--backup", text(&to)]).await;
        assert_eq!(verified.status.code(), Some(0), "{}", both(&verified));
    }
    load.iter().for_each(JoinHandle::abort);
    println!("{last} entries; bytes written, the whole one first: {new:?}");
    let kept = manifest(&to).unwrap();
    let entry = client.get(&format!("/v1/ledger/{}", kept["seq_to"])).await.ok();
    assert_eq!(entry["hash"], kept["head_hash"], "the ledger of that moment");
    // A daemon goes on from it.
    let place = Place::new(Setup::new(&bank));
    let output = restore(&place, &to, &place.data());
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(both(&output).contains(kept["head_hash"].as_str().unwrap()), "{}", both(&output));
    let mut restored = Daemon::at(place);
    assert_eq!(restored.client().get(&format!("/v1/ledger/{}", kept["seq_to"])).await.ok(), entry);
    restored.client().register("AFTER", "1.00").await;
    restored.stop();
    restored.assert_verifies();
}

#[tokio::test]
async fn again_it_writes_only_what_is_new() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for n in 0..300 {
        client.register(&format!("PED-{n}"), "10.00").await;
    }
    let to = daemon.place().file("backup");
    let whole = new_bytes(&backup(&daemon, &to));
    let before = files(&to);
    let inode = |path: &Path| std::fs::metadata(path).map(|it| (it.ino(), it.mtime_nsec(), it.len()));
    let kept: Vec<_> = before.values().map(|path| inode(path).unwrap()).collect();
    assert_eq!(new_bytes(&backup(&daemon, &to)), 0, "nothing happened");
    for n in 0..3 {
        client.register(&format!("NEW-{n}"), "10.00").await;
    }
    let new = new_bytes(&backup(&daemon, &to));
    assert!(new > 0 && new * 20 < whole, "3 of 303 orders: {new} of {whole} bytes");
    for (index, (name, path)) in
        before.iter().enumerate().filter(|(_, (name, _))| name.starts_with("segment"))
    {
        assert_eq!(inode(path).unwrap(), kept[index], "{name} was written again");
    }
    let written: u64 = files(&to)
        .iter()
        .filter(|(name, _)| !before.contains_key(*name))
        .map(|(_, path)| std::fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(written, new, "what it says is what stands there");
    println!("{whole} bytes for 300 orders, {new} for 3 more");
    // Without the daemon the same.
    let mut daemon = daemon;
    daemon.stop();
    assert_eq!(new_bytes(&backup(&daemon, &to)), 0);
    let output = daemon.place().cli(&["backup", "--verify", "--to", text(&to)]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(both(&output).contains("303 entries, 303 orders"), "{}", both(&output));
}

#[tokio::test]
async fn a_flipped_byte_in_any_file_is_refused() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    paid(&bank, &client, 20).await;
    daemon.stop();
    let to = daemon.place().file("backup");
    backup(&daemon, &to);
    daemon.restart();
    daemon.client().register("PED-NEW", "1.00").await;
    backup(&daemon, &to);
    let data = daemon.place().file("restored");
    let mut dice = Dice::new(7);
    let mut flipped = 0;
    for (name, path) in files(&to) {
        let whole = std::fs::read(&path).unwrap();
        if whole.is_empty() {
            continue;
        }
        let inside: Vec<usize> = (0..4).map(|_| dice.below(whole.len() as u64) as usize).collect();
        for place in inside.into_iter().chain([0, whole.len() - 1]) {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << dice.below(8);
            std::fs::write(&path, &damaged).unwrap();
            let output = restore(daemon.place(), &to, &data);
            let message = assert_one_line_error(&output, 1);
            assert!(message.contains("damaged"), "{name} byte {place}: {message}");
            assert!(!data.exists(), "{name} byte {place}: nothing is moved into place");
            flipped += 1;
        }
        // Cut off, and gone.
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_one_line_error(&restore(daemon.place(), &to, &data), 1);
        std::fs::remove_file(&path).unwrap();
        let code = if name == "manifest.json" { 2 } else { 1 };
        assert_one_line_error(&restore(daemon.place(), &to, &data), code);
        let verified = daemon.place().cli(&["verify", "--backup", text(&to)]);
        assert_one_line_error(&verified, code);
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(flipped >= 12, "only {flipped} flips");
    assert_eq!(restore(daemon.place(), &to, &data).status.code(), Some(0));
}

#[tokio::test]
async fn what_is_there_is_never_overwritten() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "10.00").await;
    let to = daemon.place().file("backup");
    backup(&daemon, &to);
    let full = daemon.place().file("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("letter"), "from mother").unwrap();
    let refused = restore(daemon.place(), &to, &full);
    assert!(assert_one_line_error(&refused, 2).contains("not empty"));
    assert_eq!(files(&full).len(), 1);
    assert_one_line_error(&restore(daemon.place(), &to, &daemon.data()), 2);
    let refused = daemon.place().cli(&["backup", "--to", text(&full)]);
    assert_one_line_error(&refused, 2);
    assert_eq!(files(&full).len(), 2, "its lock beside the letter, and nothing else");
    // An empty directory is as good as none.
    let empty = daemon.place().file("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(restore(daemon.place(), &to, &empty).status.code(), Some(0));
    // A backup of another ledger is not continued.
    let other = Daemon::start(&bank);
    other.client().register("PED-2", "10.00").await;
    let mixed = other.place().cli(&["backup", "--to", text(&to)]);
    assert!(assert_one_line_error(&mixed, 2).contains("another ledger"));
    assert_one_line_error(&daemon.place().cli(&["backup", "--to", text(&daemon.data().join("b"))]), 2);
}

#[tokio::test]
async fn no_key_and_no_access_token_is_in_it_and_nobody_else_reads_it() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "10.00").await;
    let to = daemon.place().file("backup");
    backup(&daemon, &to);
    daemon.stop();
    let key = std::fs::read_to_string(daemon.data().join("jwt.key")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&to), 0o700);
    for (name, path) in files(&to).iter().filter(|(name, _)| *name != "lock") {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(mode(path), 0o600, "{name}");
        let found = bytes.windows(key.trim().len()).any(|window| window == key.trim().as_bytes());
        assert!(!found, "{name} holds the signing key");
    }
    let data = daemon.place().file("restored");
    assert_eq!(restore(daemon.place(), &to, &data).status.code(), Some(0));
    assert_eq!(mode(&data), 0o700);
    assert!(!data.join("jwt.key").exists() && !data.join("sessions.json").exists());
}

/// `RAZAO_BACKUP_KILLS` sets the number of kills.
#[tokio::test]
async fn a_kill_at_any_moment_leaves_what_restores_rightly_or_nothing() {
    let kills: u64 =
        std::env::var("RAZAO_BACKUP_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let mut client = daemon.client();
    let to = daemon.place().file("backup");
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    for n in 0..100 {
        client.register(&format!("PED-{n}"), "10.00").await;
    }
    let begun = Instant::now();
    backup(&daemon, &daemon.place().file("measure"));
    let mut took = begun.elapsed().as_micros() as u64;
    let mut hashes: BTreeMap<u64, Value> = BTreeMap::new();
    let (mut complete, mut cut_short) = (0, 0);
    for kill in 0..kills {
        for n in 0..=dice.below(5) {
            bank.says(&format!("KILL-{kill}-{n}"), "paid", "10", "0");
            client.callback(&format!("KILL-{kill}-{n}")).await;
        }
        let mut child = backing_up(&daemon, &to, &[]);
        tokio::time::sleep(Duration::from_micros(dice.below(took * 3 / 2))).await;
        // Every fourth time it is the daemon that dies under the copy.
        let code = if kill % 4 == 3 {
            daemon.kill_9();
            let code = child.wait().unwrap().code();
            assert!(matches!(code, Some(0 | 2)), "kill {kill}: {code:?}");
            daemon.restart();
            client = daemon.client();
            code
        } else {
            child.kill().unwrap();
            child.wait().unwrap().code()
        };
        // The ledger grows and the machine is now busy, now not: about half of the kills shall come in time.
        let counted = if code == Some(0) { &mut complete } else { &mut cut_short };
        *counted += 1;
        took = if code == Some(0) { took * 9 / 10 } else { took * 11 / 10 }.max(1_000);
        if kill % 50 == 49 {
            println!("{} of {kills} kills: {cut_short} were cut short, {complete} were faster", kill + 1);
        }
        let Some(kept) = manifest(&to) else { continue };
        let verified = daemon.place().cli(&["verify", "--backup", text(&to)]);
        assert_eq!(verified.status.code(), Some(0), "kill {kill}: {}", both(&verified));
        let seq = kept["seq_to"].as_u64().unwrap();
        if seq > 0 {
            let entry = client.get(&format!("/v1/ledger/{seq}")).await.ok();
            assert_eq!(entry["hash"], kept["head_hash"], "kill {kill}");
            hashes.insert(seq, kept["head_hash"].clone());
        }
        let last = *hashes.keys().last().unwrap_or(&0);
        assert_eq!(seq, last, "kill {kill}: a backup never goes back");
    }
    println!("{cut_short} were cut short, {complete} were faster");
    backup(&daemon, &to);
    let data = daemon.place().file("restored");
    assert_eq!(restore(daemon.place(), &to, &data).status.code(), Some(0));
    let head = client.get("/v1/ledger/head").await.ok();
    let verified = daemon.place().cli(&["verify", "--data", text(&data)]);
    assert!(both(&verified).contains(head["hash"].as_str().unwrap()), "{}", both(&verified));
    // Leftovers of killed attempts are gone.
    let listed = manifest(&to).unwrap()["files"].as_array().unwrap().len();
    assert_eq!(files(&to).keys().filter(|name| name.starts_with("segment")).count(), listed);
    daemon.stop();
}

fn backing_up(daemon: &Daemon, to: &Path, more: &[&str]) -> Child {
    let mut command = daemon.place().command(&[&["backup", "--to", text(to)], more].concat());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Ended with the test, however that ends.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long the copy takes to have what the ledger has.
async fn caught_up(client: &Client, to: &Path) -> Duration {
    let head = client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap();
    let begun = Instant::now();
    until("the copy to catch up", async || (seq(to) >= head).then_some(())).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_follower_keeps_up_and_survives_kills_of_either_side() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "10.00").await;
    let to = daemon.place().file("backup");
    let mut following = Following(backing_up(&daemon, &to, &["--follow"]));
    let mut lags = Vec::new();
    caught_up(&daemon.client(), &to).await;
    for n in 0..30 {
        daemon.client().register(&format!("LIGHT-{n}"), "10.00").await;
        lags.push(caught_up(&daemon.client(), &to).await);
    }
    lags.sort();
    // A busy machine may hold up one or the other, not half of them.
    println!("behind: median {:?}, worst {:?}", lags[15], lags[29]);
    assert!(lags[15] < Duration::from_secs(1), "{lags:?}");
    daemon.kill_9();
    daemon.restart();
    daemon.client().register("AFTER-KILL", "10.00").await;
    caught_up(&daemon.client(), &to).await;
    following.0.kill().unwrap();
    following.0.wait().unwrap();
    daemon.client().register("MISSED", "10.00").await;
    following = Following(backing_up(&daemon, &to, &["--follow"]));
    caught_up(&daemon.client(), &to).await;
    // Somebody else writing there is refused, and a restore from under the follower is whole.
    assert_one_line_error(&daemon.place().cli(&["backup", "--to", text(&to)]), 2);
    let head = daemon.client().get("/v1/ledger/head").await.ok();
    let data = daemon.place().file("restored");
    let output = restore(daemon.place(), &to, &data);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(both(&output).contains(head["hash"].as_str().unwrap()), "{}", both(&output));
    let count = manifest(&to).unwrap()["files"].as_array().unwrap().len();
    assert!(count < 60, "{count} files: small ones are merged");
    drop(following);
    daemon.stop();
}

#[tokio::test]
async fn by_the_clock_the_last_few_stay_and_share_their_files() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let to = place.file("backups");
    let section = format!("[backup]\nevery = \"1s\"\nto = \"{}\"\nkeep = 2\n", to.display());
    place.write(&(place.setup.toml(&place.data()) + &section));
    let mut daemon = Daemon::at(place);
    let client = daemon.client();
    for n in 0..50 {
        client.register(&format!("PED-{n}"), "10.00").await;
    }
    let asked = until("no backup by the clock at this moment", async || {
        let reply = client.post("/v1/admin/backup", &json!({})).await;
        (reply.status != 409).then(|| reply.is(200))
    })
    .await;
    assert_eq!(asked["seq"], 50, "{asked}");
    let complete = || -> Vec<PathBuf> {
        let all = files(&to).into_iter();
        all.filter(|(name, _)| name.starts_with("razao-")).map(|(_, path)| path).collect()
    };
    let first = complete();
    until("the first ones to be let go of", async || {
        let now = complete();
        first.iter().all(|old| !now.contains(old)).then_some(())
    })
    .await;
    daemon.stop();
    let left = complete();
    assert!((1..=2).contains(&left.len()), "{left:?}");
    for dir in &left {
        let verified = daemon.place().cli(&["verify", "--backup", text(dir)]);
        assert_eq!(verified.status.code(), Some(0), "{}", both(&verified));
        let shared = files(dir).values().any(|path| std::fs::metadata(path).unwrap().nlink() > 1);
        assert!(shared || left.len() == 1, "{dir:?} shares nothing");
    }
    // A failure is seen, and told from none.
    std::fs::rename(&to, daemon.place().file("elsewhere")).unwrap();
    std::fs::write(&to, "a file where the directory was").unwrap();
    daemon.restart();
    let client = daemon.client();
    let error = until("the failure in the status", async || {
        let status = client.get("/v1/admin/status").await.ok();
        status["backup"]["error"]["error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(error.contains("backups"), "{error}");
}

/// What is no backup: files of a running daemon, copied one after the other. It may hold a moment or be refused; it never
/// passes as another ledger.
#[tokio::test]
async fn a_plain_copy_of_the_running_directory_is_whole_or_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "10.00").await;
    let load = load(&client, 8);
    let (mut whole, mut refused) = (0, 0);
    for n in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let copy = daemon.place().file(&format!("copy-{n}"));
        let (from, to) = (daemon.data(), copy.clone());
        let head = client.get("/v1/ledger/head").await.ok()["seq"].as_u64().unwrap();
        tokio::task::spawn_blocking(move || copy_dir(&from, &to)).await.unwrap();
        let output = in_background(&daemon, &["verify", "--data", text(&copy)]).await;
        let said = both(&output);
        assert!(!said.contains("panicked"), "{said}");
        match output.status.code() {
            Some(0) => {
                whole += 1;
                let hash = said.split("; head ").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
                let entries: u64 =
                    said.split("ok: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap();
                let entry = client.get(&format!("/v1/ledger/{}", entries.max(1))).await.ok();
                assert_eq!(entry["hash"], hash, "{said}");
                // Whatever it is missing, it is not silent about less than the noted head.
                println!("a copy ends {} entries before the ledger", head.saturating_sub(entries));
            }
            Some(1 | 2) => refused += 1,
            other => panic!("{other:?}: {said}"),
        }
    }
    load.iter().for_each(JoinHandle::abort);
    println!("{whole} copies were whole, {refused} were refused");
}

/// Backup, restore, verify, compare: the drill as the README has it.
#[tokio::test]
async fn the_drill() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    paid(&bank, &daemon.client(), 10).await;
    let drill = format!(
        "set -e; razao() {{ '{}' --config '{}' \"$@\"; }}; drill=$(mktemp -d -p '{}')\n\
         razao backup --to $drill/backup && razao restore --from $drill/backup --data $drill/data && \
         razao verify --data $drill/data && rm -r $drill",
        env!("CARGO_BIN_EXE_razao"),
        daemon.place().config.display(),
        daemon.place().file("").display(),
    );
    let output = run(std::process::Command::new("sh").args(["-c", &drill]));
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let hash = daemon.client().get("/v1/ledger/head").await.ok()["hash"].as_str().unwrap().to_owned();
    assert_eq!(
        both(&output).matches(&hash).count(),
        3,
        "backup, restore and verify name one head: {}",
        both(&output)
    );
}
