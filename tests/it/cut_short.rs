//! Backups and restores that are cut short, by a kill or by a full disk: what they leave behind is never taken for a
//! backup or a data directory, and the next one removes it.

use crate::support::mount::{Mount, fill};
use crate::support::place::{assert_one_line_error, both};
use crate::support::{Bank, Client, Daemon, PATIENCE, Place, Setup, run, until, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// How often a command may be faster than its kill.
const TRIES_MAX: usize = 20;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn manifest(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap()
}

async fn orders(client: &Client, name: &str, count: usize) {
    for n in 0..count {
        client.register(&format!("{name}-{n}"), "10.00").await;
    }
}

fn backed_up(place: &Place, to: &Path) {
    let output = place.cli(&["backup", "--to", text(to)]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
}

/// Kills a command while a directory of this stem is there, and answers what that is called.
fn killed(mut command: Command, folder: &Path, stem: &str, undo: impl Fn()) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let left = || names(folder).into_iter().find(|name| name.starts_with(stem));
    for _ in 0..TRIES_MAX {
        let mut child = command.spawn().unwrap();
        wait_for(PATIENCE, "the command to begin its work", || {
            (left().is_some() || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(left) = left() {
            return left;
        }
        undo();
    }
    panic!("{TRIES_MAX} times the command was faster than its kill");
}

/// What looks as if killed processes had left it, and is somebody's: what another one works in, and other names.
fn others(folder: &Path, stem: &str) -> (File, BTreeSet<String>) {
    let [held, odd, file] = ["4194301", "of-mine", "4194302"].map(|end| format!("{stem}{end}"));
    fs::create_dir(folder.join(&held)).unwrap();
    fs::create_dir(folder.join(&odd)).unwrap();
    fs::write(folder.join(&file), "no directory").unwrap();
    let lock = File::open(folder.join(&held)).unwrap();
    lock.lock().unwrap();
    (lock, BTreeSet::from([held, odd, file]))
}

#[tokio::test]
async fn what_a_killed_restore_left_behind_goes_with_the_next_one() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    orders(&daemon.client(), "PED", 100).await;
    let place = daemon.place();
    let (to, folder) = (place.file("backup"), place.file("restored"));
    backed_up(place, &to);
    fs::create_dir(&folder).unwrap();
    let data = folder.join("data");
    let arguments = ["restore", "--from", text(&to), "--data", text(&data)];
    let left = killed(place.command(&arguments), &folder, "data.restoring-", || {
        // It was faster: the same again.
        fs::remove_dir_all(&data).unwrap();
    });
    assert!(!data.exists(), "nothing half-made is in place");
    let (_lock, others) = others(&folder, "data.restoring-");
    let output = place.cli(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(both(&output).contains("removed leftovers of killed attempts: 1 of 1"), "{}", both(&output));
    let mut expected = others;
    expected.insert("data".to_owned());
    assert_eq!(names(&folder), expected, "{left} is gone, and nothing else");
}

#[tokio::test]
async fn what_a_killed_check_left_behind_goes_with_the_next_one() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    orders(&daemon.client(), "PED", 100).await;
    let place = daemon.place();
    let (to, folder) = (place.file("backup"), place.file("scratch"));
    backed_up(place, &to);
    fs::create_dir(&folder).unwrap();
    let check = || {
        let mut command = place.command(&["verify", "--backup", text(&to)]);
        command.env("TMPDIR", &folder);
        command
    };
    killed(check(), &folder, "razao-verify-", || {});
    let (_lock, others) = others(&folder, "razao-verify-");
    let output = run(&mut check());
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(names(&folder), others);
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_of_a_backup_and_the_one_before_as_it_was() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let (client, place) = (daemon.client(), daemon.place());
    let Some(mount) = Mount::at(&place.file("small"), 4) else { return };
    let (to, other) = (place.file("small/backup"), place.file("small/other"));
    orders(&client, "PED", 20).await;
    backed_up(place, &to);
    let before = manifest(&to);
    orders(&client, "NEW", 20).await;
    fill(&mount.filler());
    for dir in [&to, &other] {
        let refused = place.cli(&["backup", "--to", text(dir)]);
        let message = assert_one_line_error(&refused, 2);
        assert!(message.contains("No space left on device") && message.contains("free space"), "{message}");
        let segments = names(dir).into_iter().filter(|name| name.starts_with("segment")).count();
        let listed = if dir == &to { before["files"].as_array().unwrap().len() } else { 0 };
        assert_eq!(segments, listed, "{:?}", names(dir));
    }
    assert_eq!(manifest(&to), before);
    let verified = place.cli(&["verify", "--backup", text(&to)]);
    assert_eq!(verified.status.code(), Some(0), "{}", both(&verified));
    let none = place.cli(&["verify", "--backup", text(&other)]);
    assert!(assert_one_line_error(&none, 2).contains("there is no backup"));
    // Nor is there half of a data directory.
    let data = place.file("small/data");
    let refused = place.cli(&["restore", "--from", text(&to), "--data", text(&data)]);
    let said = both(&refused);
    assert!(refused.status.code() == Some(2) && !said.contains("panicked"), "{said}");
    assert!(said.contains("free space"), "{said}");
    assert!(!names(&place.file("small")).iter().any(|name| name.starts_with("data")), "{said}");
    mount.free();
    backed_up(place, &to);
    assert_eq!(manifest(&to)["seq_to"], 40);
    let verified = place.cli(&["verify", "--backup", text(&to)]);
    assert_eq!(verified.status.code(), Some(0), "{}", both(&verified));
}

#[tokio::test]
async fn by_the_clock_a_full_disk_is_told_and_what_was_kept_stays() {
    let bank = Bank::open();
    let place = Place::new(Setup::new(&bank));
    let Some(mount) = Mount::at(&place.file("small"), 4) else { return };
    let to = place.file("small/backups");
    let section = format!("[backup]\nevery = \"1s\"\nto = \"{}\"\nkeep = 2\n", to.display());
    place.write(&(place.setup.toml(&place.data()) + &section));
    let daemon = Daemon::at(place);
    // Dropped before the daemon's directory is.
    let mount = mount;
    let client = daemon.client();
    let status = async || client.get("/v1/admin/status").await.ok();
    let kept = async |wanted: u64| {
        until("a backup by the clock", async || {
            let backup = status().await["backup"].clone();
            let done = backup["last"]["seq"].as_u64().is_some_and(|seq| seq >= wanted);
            (done && backup["error"].is_null()).then_some(())
        })
        .await;
    };
    orders(&client, "PED", 20).await;
    kept(20).await;
    fill(&mount.filler());
    orders(&client, "NEW", 20).await;
    until("the failure", async || {
        let error = status().await["backup"]["error"]["error"].clone();
        error.as_str().is_some_and(|text| text.contains("No space left on device")).then_some(())
    })
    .await;
    until("the alert", async || {
        let alerts = status().await["alerts"].as_array().unwrap().clone();
        alerts.iter().any(|alert| alert["type"] == "operator.backup_failed").then_some(())
    })
    .await;
    let complete: Vec<String> = names(&to).into_iter().filter(|name| name.starts_with("razao-")).collect();
    assert!(!complete.is_empty(), "what was kept stays");
    for name in complete {
        let verified = daemon.place().cli(&["verify", "--backup", text(&to.join(&name))]);
        assert_eq!(verified.status.code(), Some(0), "{name}: {}", both(&verified));
    }
    mount.free();
    kept(40).await;
}
